//! The rules of the chain that coordinators depend on, as small as they can be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::seed_ids::beacon_id;
use session_core::{
    BlockId, ChainId, Digest, Encode as _, Epoch, NodeId, SeededEntropy, Span, SwarmId, Text, Time,
};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::NodeRecord;
use session_protocol::attestation::committee_root;
use session_protocol::beacon::{self, Dealing, contribution};
use session_protocol::chain::transaction::{Bitmap, TRANSACTION_VERSION, bit};
use session_protocol::chain::view::{
    BeaconMode, BeaconView, ChainMembership, Commitments, DutyParams, EpochView, NextKey, OpenCase,
    RegisteredKeys, SeatView,
};
use session_protocol::chain::{Action, Amount, ChainView, Transaction};
use session_protocol::commitment::removes;
use session_protocol::membership::network_id;
use session_protocol::roster::{Roster, Target};
use session_protocol::schedule::{Phase, Schedule};

pub(super) const GENESIS: Time = Time::from_millis(1_000_000_000);
pub(super) const LENGTH: Span = Span::from_secs(64);
pub(super) const SETTLE: Span = Span::from_secs(30);
pub(super) const CHAIN: [u8; 32] = [0xc4; 32];
pub(super) const SWARM: SwarmId = SwarmId(7);

/// A ballot of an epoch, by target.
pub(super) type Ballot = BTreeMap<Target, Option<bool>>;

pub(super) struct Chain {
    identities: Vec<Arc<FakeIdentity>>,
    membership: Arc<ChainMembership>,
    seats: Vec<(SwarmId, NodeId)>,
    pub(super) epoch: Epoch,
    randomness: Digest,
    previous: Digest,
    pub(super) mode: BeaconMode,
    keys: BTreeMap<NodeId, RegisteredKeys>,
    pub(super) dealings: BTreeMap<u16, Dealing>,
    pub(super) acknowledged: BTreeMap<u16, BTreeSet<u16>>,
    pub(super) reveals: BTreeMap<u16, Option<[u8; 32]>>,
    pub(super) shown: BTreeMap<(u16, u16), [u8; 32]>,
    pub(super) commitments: BTreeMap<NodeId, Commitments>,
    pub(super) transactions: BTreeMap<(NodeId, Epoch), Vec<u8>>,
    voted: BTreeSet<NodeId>,
    pub(super) draining: BTreeSet<NodeId>,
    pub(super) ballots: BTreeMap<(Epoch, NodeId), Ballot>,
    pub(super) modes: BTreeMap<Epoch, BeaconMode>,
    pub(super) randomnesses: BTreeMap<Epoch, Digest>,
    /// What was refused, except repetitions.
    pub(super) refused: Vec<(NodeId, String)>,
    /// Accusations that wait; the test opens them.
    pub(super) accused: Vec<OpenCase>,
    pub(super) height: u64,
    pub(super) time: Time,
    rng: SeededEntropy,
}

impl Chain {
    pub(super) fn new(identities: Vec<Arc<FakeIdentity>>) -> Self {
        let record = |identity: &Arc<FakeIdentity>| NodeRecord {
            keys: identity.public().clone(),
            address: Text::new("192.0.2.1:7").unwrap(),
            swarm: SWARM,
        };
        let seats: Vec<(SwarmId, NodeId)> =
            identities.iter().map(|identity| (SWARM, identity.public().node_id())).collect();
        let records = identities.iter().map(record);
        let membership = ChainMembership::new(network_id("test"), 1, records, seats.clone());
        Self {
            identities,
            membership: Arc::new(membership),
            seats,
            epoch: Epoch(0),
            randomness: Digest::from([1; 32]),
            previous: Digest::from([2; 32]),
            mode: BeaconMode::Genesis,
            keys: BTreeMap::new(),
            dealings: BTreeMap::new(),
            acknowledged: BTreeMap::new(),
            reveals: BTreeMap::new(),
            shown: BTreeMap::new(),
            commitments: BTreeMap::new(),
            transactions: BTreeMap::new(),
            voted: BTreeSet::new(),
            draining: BTreeSet::new(),
            ballots: BTreeMap::new(),
            modes: BTreeMap::new(),
            randomnesses: BTreeMap::new(),
            refused: Vec::new(),
            accused: Vec::new(),
            height: 0,
            time: GENESIS,
            rng: SeededEntropy::new(1),
        }
    }

    fn schedule(&self) -> Schedule {
        Schedule::of(GENESIS, LENGTH, self.epoch)
    }

    pub(super) fn roster(&self) -> Roster {
        Roster::new(&self.randomness, self.epoch, &self.seats, 3)
    }

    pub(super) fn dealers(&self) -> Vec<NodeId> {
        self.roster().dealers()
    }

    /// Returns whether time alone asks for a block.
    pub(super) fn is_due(&self, now: Time) -> bool {
        let schedule = self.schedule();
        schedule.end() <= now || schedule.phase(self.time) < schedule.phase(now)
    }

    pub(super) fn block(&mut self, now: Time, transactions: Vec<(NodeId, Action)>) {
        while self.schedule().end() <= now {
            self.turn();
        }
        self.time = now;
        self.height += 1;
        for (sender, action) in transactions {
            let name = action.name();
            match self.apply(sender, action) {
                Ok(()) | Err("done") => {}
                Err(why) => self.refused.push((sender, format!("{name}: {why}"))),
            }
        }
    }

    fn apply(&mut self, sender: NodeId, action: Action) -> Result<(), &'static str> {
        let phase = self.schedule().phase(self.time);
        let dealers = self.dealers();
        let place = dealers.binary_search(&sender).ok().map(|place| u16::try_from(place).unwrap());
        let next = Epoch(self.epoch.0 + 1);
        let is_in = |due: Phase| if phase == due { Ok(()) } else { Err("phase") };
        match action {
            Action::RegisterBeaconKey { key } => {
                let from = Epoch(self.epoch.0 + 2);
                key.index(from).map_err(|_| "not for the epoch after the next")?;
                let keys = self.keys.entry(sender).or_default();
                if keys.next.is_some_and(|next| next.key == key || next.from == from) {
                    return Err("done");
                }
                keys.current = keys.next.map(|next| next.key).or(keys.current);
                keys.next = Some(NextKey { key, from });
            }
            Action::BeaconDeal { epoch, dealing } => {
                is_in(Phase::Deal)?;
                let place = place.filter(|_| epoch == next).ok_or("no dealer")?;
                self.keys.get(&sender).and_then(|keys| keys.at(next)).ok_or("no key")?;
                if self.dealings.insert(place, dealing).is_some() {
                    return Err("done");
                }
            }
            Action::BeaconAck { epoch, dealings } => {
                is_in(Phase::Ack)?;
                let place = place.filter(|_| epoch == next).ok_or("no dealer")?;
                let held = (0..dealers.len()).filter(|at| bit(&dealings, *at));
                let held: BTreeSet<u16> = held.map(|at| u16::try_from(at).unwrap()).collect();
                if !held.iter().all(|at| self.dealings.contains_key(at)) {
                    return Err("no such dealing");
                }
                if self.acknowledged.contains_key(&place) {
                    return Err("done");
                }
                self.acknowledged.insert(place, held);
            }
            Action::BeaconReveal { epoch, reveal } => {
                is_in(Phase::Reveal)?;
                let place = place.filter(|_| epoch == next).ok_or("no dealer")?;
                let key = self.keys.get(&sender).and_then(|keys| keys.at(next)).ok_or("no key")?;
                key.verify(next, &reveal).map_err(|_| "not the registered secret")?;
                let secret = contribution(&reveal.secret, &self.previous);
                let dealing = self.dealings.get(&place).ok_or("no dealing")?;
                let good = dealing.verify(&secret, dealers.len()).is_ok();
                if self.reveals.insert(place, good.then_some(secret)).is_some() {
                    return Err("done");
                }
            }
            Action::BeaconShares { epoch, shares } => {
                is_in(Phase::Recover)?;
                let place = place.filter(|_| epoch == next).ok_or("no dealer")?;
                let valid = self.beacon().valid();
                for posted in &shares {
                    let dealing = self.dealings.get(&posted.dealer).ok_or("no dealing")?;
                    let is_needed = valid.contains(&posted.dealer)
                        && self.reveals.get(&posted.dealer).copied().flatten().is_none();
                    if !is_needed {
                        return Err("not needed");
                    }
                    dealing.verify_share(place.into(), &posted.share).map_err(|_| "bad share")?;
                    self.shown.insert((posted.dealer, place), posted.share.value);
                }
            }
            Action::StorageCommitment { commitment } => {
                if phase > Phase::Ack {
                    return Err("phase");
                }
                if commitment.epoch != self.epoch || commitment.swarm != SWARM {
                    return Err("another epoch or swarm");
                }
                self.commitments.entry(sender).or_default().current = Some(commitment);
                let bytes = self.signed(sender, Action::StorageCommitment { commitment });
                self.transactions.insert((sender, self.epoch), bytes);
            }
            Action::UptimeVote { epoch, passed, failed } => {
                is_in(Phase::Recover)?;
                if epoch != self.epoch {
                    return Err("another epoch");
                }
                if !self.voted.insert(sender) {
                    return Err("done");
                }
                let ballot = self.ballot(&sender, &passed, &failed);
                self.ballots.insert((epoch, sender), ballot);
            }
            Action::Drain { epochs } => {
                let is_new = if epochs > 0 {
                    self.draining.insert(sender)
                } else {
                    self.draining.remove(&sender)
                };
                if !is_new {
                    return Err("done");
                }
            }
            Action::Refute { case, operation } => {
                let place = self.accused.iter().position(|open| open.case == case);
                let place = place.ok_or("done")?;
                let OpenCase { missing, lives_until, .. } = self.accused[place];
                let leaf = missing.ok_or("not about an item")?;
                let network = network_id("test");
                removes(&operation, &leaf, lives_until, network, &FakeVerifier)
                    .map_err(|_| "an order about something else")?;
                self.accused.remove(place);
            }
            _ => return Err("no such duty"),
        }
        Ok(())
    }

    fn ballot(&self, sender: &NodeId, passed: &Bitmap, failed: &Bitmap) -> Ballot {
        let targets = self.roster().targets(sender).into_iter().enumerate();
        targets
            .map(|(at, target)| match (bit(passed, at), bit(failed, at)) {
                (true, false) => (target, Some(true)),
                (false, true) => (target, Some(false)),
                (false, false) => (target, None),
                (true, true) => panic!("a vote for and against"),
            })
            .collect()
    }

    fn signed(&mut self, sender: NodeId, action: Action) -> Vec<u8> {
        let mut all = self.identities.iter();
        let keys = all.find(|identity| identity.public().node_id() == sender).unwrap();
        let transaction = Transaction {
            version: TRANSACTION_VERSION,
            chain: ChainId::from(CHAIN),
            sender: keys.public().account_id(),
            nonce: self.height,
            fee_max: Amount(0),
            expires: Time::MAX,
            action,
        };
        transaction.sign(&**keys, false, &mut self.rng).to_bytes()
    }

    fn turn(&mut self) {
        let next = Epoch(self.epoch.0 + 1);
        let count = self.dealers().len();
        let valid = self.beacon().valid();
        let shared = |place: &u16| {
            let revealed = self.reveals.get(place).copied().flatten();
            revealed.or_else(|| {
                let shares = self.shown.iter().filter(|((dealer, _), _)| dealer == place);
                let shares: Vec<(usize, [u8; 32])> =
                    shares.map(|((_, holder), value)| (usize::from(*holder), *value)).collect();
                self.dealings.get(place)?.reconstruct(&shares, count)
            })
        };
        let (mode, secrets) = if valid.len() >= beacon::threshold(count) {
            (BeaconMode::Shared, valid.iter().filter_map(shared).collect::<Vec<_>>())
        } else {
            (BeaconMode::Revealed, self.reveals.values().copied().flatten().collect())
        };
        (self.mode, self.randomness) = if secrets.is_empty() {
            (BeaconMode::Degraded, beacon::degraded(next, &self.previous))
        } else {
            (mode, beacon::output(next, &secrets))
        };
        self.previous = beacon_id(next, &self.randomness, &self.previous);
        self.modes.insert(next, self.mode);
        self.randomnesses.insert(next, self.randomness);
        self.epoch = next;
        self.dealings.clear();
        self.acknowledged.clear();
        self.reveals.clear();
        self.shown.clear();
        self.voted.clear();
        for commitments in self.commitments.values_mut() {
            commitments.previous = commitments.current.take();
        }
    }

    fn beacon(&self) -> BeaconView {
        let dealers = self.dealers();
        let next = Epoch(self.epoch.0 + 1);
        let key = |node: &NodeId| Some((*node, self.keys.get(node)?.at(next)?));
        let good = self.reveals.iter().filter(|(_, secret)| secret.is_some());
        BeaconView {
            keys: dealers.iter().filter_map(key).collect(),
            dealings: self.dealings.clone(),
            acknowledged: self.acknowledged.clone(),
            revealed: good.map(|(place, _)| *place).collect(),
            shown: self.shown.keys().copied().collect(),
            dealers,
        }
    }

    pub(super) fn view(&self) -> Arc<ChainView> {
        let roster = self.roster();
        let key = |node: &NodeId| {
            let mut all = self.identities.iter();
            let keys = all.find(|identity| identity.public().node_id() == *node).unwrap();
            (*node, keys.public().dsa().clone())
        };
        let attesters: Vec<_> = roster.attesters().iter().map(key).collect();
        let seat = |(swarm, node): &(SwarmId, NodeId)| {
            let draining = self.draining.contains(node);
            (*node, SeatView { swarm: *swarm, since: Epoch(0), draining, leaving: false })
        };
        Arc::new(ChainView {
            chain: ChainId::from(CHAIN),
            genesis: GENESIS,
            height: self.height,
            block: BlockId::from([3; 32]),
            time: self.time,
            params: DutyParams { settle: SETTLE, examiners: 3, min_peers: 1, free_bytes_min: 1000 },
            epoch: EpochView {
                number: self.epoch,
                schedule: self.schedule(),
                randomness: self.randomness,
                beacon: self.previous,
                mode: self.mode,
                attesters: committee_root(&attesters),
            },
            membership: Arc::clone(&self.membership),
            former: Arc::clone(&self.membership),
            roster: Arc::new(roster),
            seats: Arc::new(self.seats.iter().map(seat).collect()),
            commitments: Arc::new(self.commitments.clone()),
            beacon: self.beacon(),
            voted: Arc::new(self.voted.clone()),
            beacon_keys: Arc::new(self.keys.clone()),
            accused: Arc::new(self.accused.clone()),
            sessions: Arc::default(),
            read: Vec::new(),
        })
    }
}
