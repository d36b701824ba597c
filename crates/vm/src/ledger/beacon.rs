//! The beacon on the chain: what dealers post, and the randomness that comes of it.
//!
//! What a dealing contributes is fixed when the first secret is revealed: by the dealing itself
//! and by who acknowledged it. Whatever a dealer does afterwards decides only whether it is
//! punished.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{Digest, Epoch, NodeId};
use session_protocol::beacon::{
    self, BadBeacon, BeaconKey, Dealing, Reveal, acknowledgements, contribution, threshold,
};
use session_protocol::chain::transaction::{Bitmap, PostedShare, bit};
use session_protocol::chain::view::{BeaconMode, NextKey};
use session_protocol::schedule::{Phase, Schedule};

use super::draft::Draft;
use super::{Execution, Rejection};
use crate::records::{
    Acknowledgements, BeaconKeys, Dealers, Dealings, EpochRecord, Failing, NodeStatus, Nodes, Only,
    Revealed, Reveals, SeedStatus, ShownAt, ShownShares, Table,
};

/// The least epochs for which a node registers one-time secrets at a time.
const KEY_EPOCHS_MIN: u64 = 16;

/// A dealer that does something about the beacon of the next epoch.
struct Dealer {
    place: u16,
    id: NodeId,
    dealers: usize,
}

impl Execution<'_> {
    /// Registers one-time secrets. They count from the second epoch after this one: the next
    /// beacon is being made.
    pub(super) fn register_beacon_key(&mut self, key: &BeaconKey) -> Result<(), Rejection> {
        let sender = self.sender();
        let id = NodeId::from(*sender.as_bytes());
        let node = self.draft.get::<Nodes>(&id).ok_or(Rejection::NotANode { sender })?;
        if let SeedStatus::Exited | SeedStatus::Slashed = NodeStatus::seed(Some(&node.status)) {
            return Err(Rejection::NodeNotActive { status: node.status.name() });
        }
        let from = Epoch(self.epoch.number.0.saturating_add(2));
        let BeaconKey { first, count, .. } = *key;
        let bad = |why| Rejection::BeaconKey { first, count, why };
        if key.index(from).is_err() {
            return Err(bad("there is none for the epoch after the next one"));
        }
        if first.0.saturating_add(count.into()) < from.0.saturating_add(KEY_EPOCHS_MIN) {
            return Err(bad("they are for too few epochs to come"));
        }
        let mut keys = self.draft.get::<BeaconKeys>(&id).unwrap_or_default();
        // One registration in an epoch: it costs nothing.
        let known = keys.current == Some(*key) || keys.next.is_some_and(|next| next.key == *key);
        if known || keys.next.is_some_and(|next| next.from == from) {
            return Err(Rejection::DutyDone);
        }
        keys.current = keys.next.map(|next| next.key).or(keys.current);
        keys.next = Some(NextKey { key: *key, from });
        self.draft.put::<BeaconKeys>(&id, &keys);
        Ok(())
    }

    /// Posts a dealing.
    pub(super) fn beacon_deal(&mut self, epoch: Epoch, dealing: &Dealing) -> Result<(), Rejection> {
        let dealer = self.dealer("dealing", epoch, Phase::Deal)?;
        self.one_time_key(&dealer.id, epoch)?;
        self.post::<Dealings>(&dealer.place, dealing)
    }

    /// Says of which dealings the dealer holds good shares.
    pub(super) fn beacon_ack(&mut self, epoch: Epoch, held: &Bitmap) -> Result<(), Rejection> {
        let dealer = self.dealer("acknowledgement", epoch, Phase::Ack)?;
        let bits = dealer.dealers;
        if held.len() != bits.div_ceil(8) || (bits..8 * held.len()).any(|index| bit(held, index)) {
            return Err(Rejection::Bitmap { bits });
        }
        for place in (0_u16..).take(bits).filter(|place| bit(held, usize::from(*place))) {
            self.dealing(place)?;
        }
        self.post::<Acknowledgements>(&dealer.place, held)
    }

    /// Reveals a one-time secret. One that does not make the dealing counts as silence, or its
    /// dealer could still choose between both.
    pub(super) fn beacon_reveal(&mut self, epoch: Epoch, reveal: &Reveal) -> Result<(), Rejection> {
        let dealer = self.dealer("reveal", epoch, Phase::Reveal)?;
        let dealing = self.dealing(dealer.place)?;
        self.one_time_key(&dealer.id, epoch)?.verify(epoch, reveal)?;
        let contribution = contribution(&reveal.secret, &self.epoch.beacon);
        let good = dealing.verify(&contribution, dealer.dealers).is_ok();
        let revealed = Revealed { contribution: good.then_some(contribution) };
        self.post::<Reveals>(&dealer.place, &revealed)
    }

    /// Shows the dealer's shares of those that did not reveal.
    pub(super) fn beacon_shares(
        &mut self,
        epoch: Epoch,
        shares: &[PostedShare],
    ) -> Result<(), Rejection> {
        let holder = self.dealer("share", epoch, Phase::Recover)?;
        if shares.is_empty() || !shares.is_sorted_by(|a, b| a.dealer < b.dealer) {
            return Err(Rejection::ShareOrder);
        }
        for PostedShare { dealer: place, share } in shares {
            let dealing = self.dealing(*place)?;
            let bad = |why| Rejection::Dealing { place: *place, why };
            if self.held(*place) < acknowledgements(holder.dealers) {
                return Err(bad("was acknowledged by too few"));
            }
            let revealed = self.draft.get::<Reveals>(place);
            if revealed.is_some_and(|revealed| revealed.contribution.is_some()) {
                return Err(bad("needs no shares, its dealer revealed"));
            }
            dealing.verify_share(usize::from(holder.place), share)?;
            let at = ShownAt { dealer: *place, holder: holder.place };
            self.post::<ShownShares>(&at, &share.value)?;
        }
        Ok(())
    }

    /// Checks that this is the epoch and the phase for what a dealer does, and that the sender is
    /// one.
    fn dealer(&self, what: &'static str, got: Epoch, due: Phase) -> Result<Dealer, Rejection> {
        let next = Epoch(self.epoch.number.0.saturating_add(1));
        if got != next {
            return Err(Rejection::BeaconEpoch { what, got, due: next });
        }
        let schedule = Schedule { start: self.epoch.start, length: self.params.epoch };
        let phase = schedule.phase(self.context.time);
        if phase != due {
            return Err(Rejection::WrongPhase { phase });
        }
        let id = NodeId::from(*self.sender().as_bytes());
        let list = self.draft.get::<Dealers>(&Only {}).unwrap_or_default();
        let place = list.dealers.binary_search(&id).map_err(|_| BadBeacon::NotADealer(id))?;
        let place = u16::try_from(place).expect("there are at most 64 dealers");
        Ok(Dealer { place, id, dealers: list.dealers.len() })
    }

    fn one_time_key(&self, id: &NodeId, epoch: Epoch) -> Result<BeaconKey, Rejection> {
        let keys = self.draft.get::<BeaconKeys>(id).unwrap_or_default();
        keys.at(epoch).ok_or(Rejection::NoBeaconKey { epoch })
    }

    fn dealing(&self, place: u16) -> Result<Dealing, Rejection> {
        let dealing = self.draft.get::<Dealings>(&place);
        dealing.ok_or(Rejection::Dealing { place, why: "was not posted" })
    }

    /// Returns how many dealers hold shares of a dealing.
    fn held(&self, place: u16) -> usize {
        let held = self.draft.entries::<Acknowledgements>();
        held.iter().filter(|(_, held)| bit(held, usize::from(place))).count()
    }

    /// Writes what can be posted once.
    fn post<T: Table>(&mut self, key: &T::Key, value: &T::Value) -> Result<(), Rejection> {
        if self.draft.has::<T>(key) {
            return Err(Rejection::DutyDone);
        }
        self.draft.put::<T>(key, value);
        Ok(())
    }
}

/// How the beacon of an epoch ended.
pub(super) struct Outcome {
    pub(super) randomness: Digest,
    pub(super) mode: BeaconMode,
    /// What dealers failed at.
    pub(super) failings: BTreeMap<NodeId, u8>,
}

/// Ends the making of the beacon in epoch `last`, for the epoch `number`, and clears its tables.
pub(super) fn finish(draft: &mut Draft<'_>, last: &EpochRecord, number: Epoch) -> Outcome {
    let table = Posted::read(draft, Epoch(last.number.0.saturating_add(1)));
    let (randomness, mode) = table.randomness(number, &last.beacon);
    clear::<Dealings>(draft);
    clear::<Acknowledgements>(draft);
    clear::<Reveals>(draft);
    clear::<ShownShares>(draft);
    Outcome { randomness, mode, failings: table.failings() }
}

fn clear<T: Table>(draft: &mut Draft<'_>) {
    for (key, _) in draft.entries::<T>() {
        draft.remove::<T>(&key);
    }
}

/// Everything that was posted for one beacon.
struct Posted {
    dealers: Vec<NodeId>,
    /// Places of the dealers that had one-time secrets for it.
    with_keys: BTreeSet<u16>,
    dealings: BTreeMap<u16, Dealing>,
    acknowledged: Vec<Bitmap>,
    reveals: BTreeMap<u16, Revealed>,
    /// By dealer: places of the holders, and their shares.
    shares: BTreeMap<u16, Vec<(usize, [u8; 32])>>,
}

impl Posted {
    fn read(draft: &Draft<'_>, epoch: Epoch) -> Self {
        let dealers = draft.get::<Dealers>(&Only {}).unwrap_or_default().dealers.into_vec();
        let has_key =
            |id: &NodeId| draft.get::<BeaconKeys>(id).is_some_and(|keys| keys.at(epoch).is_some());
        let with_keys = (0_u16..).zip(&dealers).filter(|(_, id)| has_key(id));
        let with_keys = with_keys.map(|(place, _)| place).collect();
        let mut shares: BTreeMap<u16, Vec<(usize, [u8; 32])>> = BTreeMap::new();
        for (at, share) in draft.entries::<ShownShares>() {
            shares.entry(at.dealer).or_default().push((at.holder.into(), share));
        }
        let acknowledged = draft.entries::<Acknowledgements>();
        Self {
            with_keys,
            dealings: draft.entries::<Dealings>().into_iter().collect(),
            acknowledged: acknowledged.into_iter().map(|(_, held)| held).collect(),
            reveals: draft.entries::<Reveals>().into_iter().collect(),
            shares,
            dealers,
        }
    }

    /// Returns the randomness that all this makes, and how.
    fn randomness(&self, epoch: Epoch, previous: &Digest) -> (Digest, BeaconMode) {
        let dealers = self.dealers.len();
        let needed = acknowledgements(dealers);
        let held = |place: u16| {
            self.acknowledged.iter().filter(|held| bit(held, usize::from(place))).count()
        };
        let valid: Vec<u16> =
            self.dealings.keys().copied().filter(|place| held(*place) >= needed).collect();
        if valid.len() >= threshold(dealers) {
            let shared: Vec<[u8; 32]> =
                valid.iter().filter_map(|place| self.contribution(*place)).collect();
            if !shared.is_empty() {
                return (beacon::output(epoch, &shared), BeaconMode::Shared);
            }
        }
        let revealed: Vec<[u8; 32]> =
            self.reveals.values().filter_map(|revealed| revealed.contribution).collect();
        if revealed.is_empty() {
            return (beacon::degraded(epoch, previous), BeaconMode::Degraded);
        }
        (beacon::output(epoch, &revealed), BeaconMode::Revealed)
    }

    /// Returns what a dealing contributes: what was revealed, or what the shares make. Both are
    /// the same, or there is nothing.
    fn contribution(&self, place: u16) -> Option<[u8; 32]> {
        let revealed = self.reveals.get(&place).and_then(|revealed| revealed.contribution);
        revealed.or_else(|| {
            let shares = self.shares.get(&place)?;
            self.dealings.get(&place)?.reconstruct(shares, self.dealers.len())
        })
    }

    fn failings(&self) -> BTreeMap<NodeId, u8> {
        let failing = |place: u16| match self.reveals.get(&place) {
            Some(Revealed { contribution: Some(_) }) => None,
            Some(Revealed { contribution: None }) => Some(Failing::BeaconBad),
            None => self.with_keys.contains(&place).then_some(Failing::BeaconSilent),
        };
        (0_u16..)
            .zip(&self.dealers)
            .filter_map(|(place, id)| failing(place).map(|failing| (*id, failing as u8)))
            .collect()
    }
}
