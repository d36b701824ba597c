//! A node's part in the beacon of the next epoch: one-time secrets, dealing, shares, reveal.
//!
//! What this node deals follows from its keys and the chain alone, so nothing of it is stored.
//! Shares of others that were found good are stored until the epoch ends; those that a crash lost
//! are asked for again.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{Decode as _, Encode as _, Epoch, List, NodeId, Span, Time};
use session_protocol::beacon::{BeaconKey, Dealing, OneTimeSecrets, Reveal, SealedShare, Share};
use session_protocol::chain::Action;
use session_protocol::chain::transaction::{PostedShare, bitmap};
use session_protocol::duty::Duty;
use session_protocol::membership::Membership as _;
use session_protocol::schedule::Phase;
use session_storage::Table;

use super::desk::{Desk, Post, Why};
use super::lie::{self, Hand};
use super::note::{Done, Note, fault};
use super::scene::{Alarm, Scene};
use super::{Cx, Effect, Lie};

/// Epochs before the last one-time secret in which others are registered, and the fewest for which
/// the chain takes any.
const RENEW_BEFORE: u64 = 16;

/// From the registration of one-time secrets to the first beacon that they make.
const IN_FORCE_AFTER: u64 = 2;

/// How often one dealer's bad share is opened, or one holder's wish granted, in an epoch.
const PATIENCE_TIMES: u8 = 8;

/// Where good shares are stored.
const SHARE_PREFIX: &[u8] = b"duty/share/";

/// A node's part in beacons.
#[derive(Default)]
pub(super) struct Beacon {
    secrets: Vec<OneTimeSecrets>,
    making: Option<Making>,
    pub(super) wake: Option<Time>,
}

/// The beacon that is being made.
struct Making {
    epoch: Epoch,
    place: u16,
    /// What this node deals and reveals; nothing if it has no one-time secret for the epoch.
    own: Option<(Hand, Reveal)>,
    /// Shares that came and were not looked at yet.
    come: BTreeMap<u16, Come>,
    /// Good shares.
    held: BTreeMap<u16, Share>,
    bad: BTreeMap<u16, u8>,
    ask_at: BTreeMap<u16, Time>,
    sent: BTreeSet<NodeId>,
    granted: BTreeMap<NodeId, u8>,
}

enum Come {
    Sealed(Box<SealedShare>),
    /// From the own store.
    Opened(Share),
}

impl Beacon {
    pub(super) fn drive(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk) {
        let mut alarm = Alarm::new(scene.now);
        self.register(cx, scene, desk, &mut alarm);
        self.begin(cx, scene, desk);
        if let Some(making) = &mut self.making {
            making.deal(cx, scene, desk, &mut alarm);
            making.hold(cx, scene, desk, &mut alarm);
            making.acknowledge(cx, scene, desk, &mut alarm);
            making.reveal(cx, scene, desk, &mut alarm);
            making.recover(cx, scene, desk, &mut alarm);
        }
        self.wake = alarm.next();
    }

    /// Takes a sealed share, to be looked at when its dealing is in the chain.
    pub(super) fn share_came(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        node: NodeId,
        epoch: Epoch,
        share: Box<SealedShare>,
    ) {
        // One that is ahead of this node is asked again later.
        let Some(making) = self.making.as_mut().filter(|making| making.epoch == epoch) else {
            return;
        };
        match place_of(scene, &node) {
            Some(dealer) if dealer != making.place && !making.held.contains_key(&dealer) => {
                making.come.insert(dealer, Come::Sealed(share));
            }
            Some(_) => {}
            None => fault(cx, node, "a share from a node that deals nothing"),
        }
    }

    /// Sends a share once more.
    pub(super) fn share_wanted(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &Desk,
        node: NodeId,
        epoch: Epoch,
    ) {
        let Some(making) = self.making.as_mut().filter(|making| making.epoch == epoch) else {
            return;
        };
        if place_of(scene, &node).is_none() {
            return fault(cx, node, "a share is wanted by a node that deals nothing");
        }
        let granted = making.granted.entry(node).or_default();
        if *granted < PATIENCE_TIMES {
            *granted += 1;
            making.send_share(cx, scene, desk, node);
        }
    }

    pub(super) fn done(&self, scene: &Scene<'_>, done: &mut Done) {
        let view = &scene.view.beacon;
        done.registered = !needs_key(scene);
        if let Some(place) = place_of(scene, &scene.me()) {
            done.dealt = view.dealings.contains_key(&place);
            done.acknowledged = view.acknowledged.contains_key(&place);
            done.revealed = view.revealed.contains(&place);
        }
    }

    pub(super) fn shares(&self) -> usize {
        self.making.as_ref().map_or(0, |making| making.held.len())
    }

    fn register(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk, alarm: &mut Alarm) {
        let known = scene.view.membership.node(&scene.me()).is_some();
        if !known || !needs_key(scene) {
            return;
        }
        let first = Epoch(scene.epoch().0 + IN_FORCE_AFTER);
        let until = Epoch(first.0 + renew_before(scene).max(RENEW_BEFORE - 1));
        let usable = |secrets: &&OneTimeSecrets| {
            secrets.key().index(first).is_ok() && secrets.key().index(until).is_ok()
        };
        let key = match self.secrets.iter().find(usable) {
            Some(secrets) => secrets.key(),
            None => self.derive(scene, first, scene.config.one_time_secrets),
        };
        desk.offer(cx, scene, alarm, Post::Register, || Action::RegisterBeaconKey { key });
    }

    /// Derives one-time secrets; only the last two are kept, those in force and those to come.
    fn derive(&mut self, scene: &Scene<'_>, first: Epoch, count: u32) -> BeaconKey {
        let secrets = OneTimeSecrets::new(&*scene.config.keys, &scene.view.chain, first, count);
        let key = secrets.key();
        if self.secrets.len() >= 2 {
            self.secrets.remove(0);
        }
        self.secrets.push(secrets);
        key
    }

    fn reveal_for(&mut self, scene: &Scene<'_>, key: BeaconKey, epoch: Epoch) -> Option<Reveal> {
        if !self.secrets.iter().any(|secrets| secrets.key() == key) {
            self.derive(scene, key.first, key.count);
        }
        self.secrets.iter().find(|secrets| secrets.key() == key)?.reveal(epoch)
    }

    /// Takes up the beacon of the view's next epoch.
    fn begin(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk) {
        let round = scene.view.round();
        if self.making.as_ref().is_some_and(|making| making.epoch == round.epoch) {
            return;
        }
        desk.release_all(cx, Why::Beacon);
        self.making = None;
        let Some(place) = place_of(scene, &scene.me()) else { return };
        let key = scene.view.beacon.keys.get(&scene.me()).copied();
        let reveal = key.and_then(|key| self.reveal_for(scene, key, round.epoch));
        let own = reveal.map(|reveal| (lie::hand(scene, &reveal), reveal));
        self.making = Some(Making {
            epoch: round.epoch,
            place,
            own,
            come: stored(cx, round.epoch),
            held: BTreeMap::new(),
            bad: BTreeMap::new(),
            ask_at: BTreeMap::new(),
            sent: BTreeSet::new(),
            granted: BTreeMap::new(),
        });
    }
}

impl Making {
    fn dealers<'a>(&self, scene: &Scene<'a>) -> impl Iterator<Item = (u16, NodeId)> + 'a {
        let me = self.place;
        let places = (0_u16..).zip(scene.view.beacon.dealers.iter().copied());
        places.filter(move |(place, _)| *place != me)
    }

    /// Posts the dealing, and sends its shares.
    fn deal(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk, alarm: &mut Alarm) {
        if scene.schedule().begin(Phase::Reveal) <= scene.now {
            return desk.release_all(cx, Why::Beacon);
        }
        alarm.at(scene.schedule().begin(Phase::Reveal));
        if scene.now < scene.begin(Phase::Deal) {
            return alarm.at(scene.begin(Phase::Deal));
        }
        for (_, node) in self.dealers(scene) {
            desk.want(cx, node, Why::Beacon);
        }
        let Some((hand, _)) = &self.own else { return };
        let is_dealt = scene.view.beacon.dealings.contains_key(&self.place);
        if !is_dealt && scene.is_in(Phase::Deal, alarm) {
            let epoch = self.epoch;
            if let Some(dealing) = lie::dealing(scene, self.place, hand) {
                let action = || Action::BeaconDeal { epoch, dealing };
                desk.offer(cx, scene, alarm, Post::Deal, action);
            }
        }
        for (_, node) in self.dealers(scene) {
            if desk.is_up(&node) && self.sent.insert(node) {
                self.send_share(cx, scene, desk, node);
            }
        }
    }

    fn send_share(&self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &Desk, node: NodeId) {
        let Some((hand, _)) = &self.own else { return };
        let (Some(place), Some(record)) =
            (place_of(scene, &node), scene.view.membership.node(&node))
        else {
            return;
        };
        let Some(share) = hand.shares.share(usize::from(place)) else { return };
        let holder = (&node, record.keys.kem());
        let sealed = scene.view.round().seal(&*scene.config.keys, holder, &share, cx.rng);
        let duty = Duty::Share { epoch: self.epoch, share: Box::new(sealed) };
        desk.send(cx, node, false, duty);
    }

    /// Checks the shares of dealings that are in the chain, and asks for those that did not come.
    fn hold(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk, alarm: &mut Alarm) {
        for (dealer, dealing) in &scene.view.beacon.dealings {
            if self.held.contains_key(dealer) {
                continue;
            }
            let came = match self.come.remove(dealer) {
                _ if *dealer == self.place => self.own_share(),
                Some(Come::Opened(share)) => Some(share),
                Some(Come::Sealed(sealed)) => self.open(cx, scene, *dealer, &sealed),
                None => None,
            };
            let place = usize::from(self.place);
            match came.filter(|share| dealing.verify_share(place, share).is_ok()) {
                Some(share) => self.keep(cx, scene, *dealer, share),
                None => self.ask(cx, scene, desk, alarm, *dealer),
            }
        }
    }

    fn own_share(&self) -> Option<Share> {
        self.own.as_ref().and_then(|(hand, _)| hand.shares.share(usize::from(self.place)))
    }

    fn open(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        dealer: u16,
        sealed: &SealedShare,
    ) -> Option<Share> {
        let node = *scene.view.beacon.dealers.get(usize::from(dealer))?;
        let dealing: &Dealing = scene.view.beacon.dealings.get(&dealer)?;
        let tries = self.bad.entry(dealer).or_default();
        if *tries >= PATIENCE_TIMES {
            return None;
        }
        let opened = scene.view.round().open(&*scene.config.keys, &node, sealed).ok();
        let good =
            opened.filter(|share| dealing.verify_share(usize::from(self.place), share).is_ok());
        if good.is_none() {
            *tries += 1;
            fault(cx, node, "a share that is not of its dealing");
        }
        good
    }

    fn keep(&mut self, cx: &mut Cx<'_>, scene: &Scene<'_>, dealer: u16, share: Share) {
        let key = share_key(self.epoch, dealer);
        let until = scene.schedule().end();
        if cx.store.put_record(Table::Meta, &key, &share.to_bytes(), until).is_err() {
            // It is good now, and can be asked for again after a restart.
            cx.effects.push(Effect::Note(Note::StoreFailed { doing: "keeping a share" }));
        }
        self.held.insert(dealer, share);
    }

    fn ask(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &mut Desk,
        alarm: &mut Alarm,
        dealer: u16,
    ) {
        let Some(node) = scene.view.beacon.dealers.get(usize::from(dealer)).copied() else {
            return;
        };
        if dealer == self.place || scene.schedule().begin(Phase::Reveal) <= scene.now {
            return;
        }
        let patience = scene.patience();
        let first = scene.now + Span::from_millis(patience.as_millis() / 2);
        let at = self.ask_at.entry(dealer).or_insert(first);
        if *at <= scene.now {
            *at = scene.now + patience;
            let wanted = Duty::WantShare { epoch: self.epoch };
            if !desk.send(cx, node, false, wanted) {
                desk.want_again(cx, node, Why::Beacon);
            }
        }
        alarm.at(*at);
    }

    /// Acknowledges all good shares, once: as soon as no more can come, or in the middle of the
    /// phase.
    fn acknowledge(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        desk: &mut Desk,
        alarm: &mut Alarm,
    ) {
        let view = &scene.view.beacon;
        let is_done = view.acknowledged.contains_key(&self.place);
        if is_done || !scene.is_in(Phase::Ack, alarm) {
            return;
        }
        let middle = scene.schedule().begin(Phase::Ack) + scene.share(8);
        alarm.at(middle);
        let able = view.keys.len();
        let fixed = scene.chain_reached(Phase::Ack) || view.dealings.len() >= able;
        let complete = view.dealings.keys().all(|dealer| self.held.contains_key(dealer));
        if self.held.is_empty() || !(fixed && complete || middle <= scene.now) {
            return;
        }
        for dealer in view.dealings.keys().filter(|dealer| !self.held.contains_key(dealer)) {
            if let Some(node) = view.dealers.get(usize::from(*dealer)) {
                let note = Note::ShareMissing { epoch: self.epoch, dealer: *node };
                cx.effects.push(Effect::Note(note));
            }
        }
        let epoch = self.epoch;
        let dealings = bitmap(view.dealers.len(), self.held.keys().map(|at| usize::from(*at)));
        let action = || Action::BeaconAck { epoch, dealings };
        desk.offer(cx, scene, alarm, Post::Acknowledge, action);
    }

    /// Reveals when the chain itself takes no more acknowledgements.
    fn reveal(&self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk, alarm: &mut Alarm) {
        let view = &scene.view.beacon;
        let Some((_, reveal)) = &self.own else { return };
        let is_due =
            view.dealings.contains_key(&self.place) && !view.revealed.contains(&self.place);
        let phase = match scene.config.lie {
            Some(Lie::SilentDealer) => return,
            Some(Lie::LateReveal) => Phase::Recover,
            _ => Phase::Reveal,
        };
        if is_due && scene.is_in(phase, alarm) && scene.chain_reached(Phase::Reveal) {
            let (epoch, reveal) = (self.epoch, reveal.clone());
            let action = || Action::BeaconReveal { epoch, reveal };
            desk.offer(cx, scene, alarm, Post::Reveal, action);
        }
    }

    /// Shows the shares of valid dealings that were not revealed well.
    fn recover(&self, cx: &mut Cx<'_>, scene: &Scene<'_>, desk: &mut Desk, alarm: &mut Alarm) {
        if !scene.is_in(Phase::Recover, alarm) {
            return;
        }
        let view = &scene.view.beacon;
        let is_wanted = |dealer: &u16| {
            !view.revealed.contains(dealer) && !view.shown.contains(&(*dealer, self.place))
        };
        let shares: Vec<PostedShare> = view
            .valid()
            .into_iter()
            .filter(is_wanted)
            .filter_map(|dealer| {
                self.held.get(&dealer).map(|share| PostedShare { dealer, share: share.clone() })
            })
            .collect();
        if shares.is_empty() {
            return;
        }
        let epoch = self.epoch;
        let Ok(shares) = List::new(shares) else { return };
        let action = || Action::BeaconShares { epoch, shares };
        desk.offer(cx, scene, alarm, Post::Shares, action);
    }
}

fn place_of(scene: &Scene<'_>, node: &NodeId) -> Option<u16> {
    let place = scene.view.beacon.dealers.binary_search(node).ok()?;
    u16::try_from(place).ok()
}

fn renew_before(scene: &Scene<'_>) -> u64 {
    RENEW_BEFORE.min(u64::from(scene.config.one_time_secrets) / 4)
}

/// Returns whether the registered one-time secrets do not reach far enough.
fn needs_key(scene: &Scene<'_>) -> bool {
    let far = Epoch(scene.epoch().0 + IN_FORCE_AFTER + renew_before(scene));
    let keys = scene.view.beacon_keys.get(&scene.me());
    keys.and_then(|keys| keys.at(far)).is_none()
}

fn share_key(epoch: Epoch, dealer: u16) -> Vec<u8> {
    [SHARE_PREFIX, &epoch.0.to_be_bytes(), &dealer.to_be_bytes()].concat()
}

/// Returns the good shares that were stored before a restart; they are checked again.
fn stored(cx: &Cx<'_>, epoch: Epoch) -> BTreeMap<u16, Come> {
    let prefix = [SHARE_PREFIX, &epoch.0.to_be_bytes()].concat();
    let read = |(key, _): (Vec<u8>, Time)| {
        let dealer = u16::from_be_bytes(key.get(prefix.len()..)?.try_into().ok()?);
        let value = cx.store.record(Table::Meta, &key).ok()??;
        Some((dealer, Come::Opened(Share::decode_exact(&value).ok()?)))
    };
    cx.store.records(Table::Meta, &prefix).into_iter().filter_map(read).collect()
}
