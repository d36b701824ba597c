//! Finding and repairing differences between members.
//!
//! The inboxes of a swarm fall into 256 buckets by the first byte of their address. A session
//! compares one bucket with one other member: first one digest each; where they differ, negentropy
//! finds which elements differ, the initiator fetches what it lacks and gives what the other
//! lacks. `docs/wire/sync.md` has the messages.
//!
//! When a member comes up, every bucket is compared with it; when a member could not be given
//! something, that bucket; and a sweep goes round all members and buckets again and again. Whoever
//! has something in a bucket compares it, so a difference is found by at least one side. A bucket
//! takes part in one session at a time, so that a member that lost its disk is not given
//! everything by all others at once.

use std::collections::{BTreeMap, BTreeSet};

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use session_core::{Blob, Digest, Entropy, List, NodeId, Span, Time};
use session_protocol::limits::REPLICA_ITEMS_MAX;
use session_protocol::peer::{Element, Sync};
use session_protocol::request::Refusal;

use crate::layout::covers;
use crate::machine::{Cx, Effect, PeerMessageOut, Swarm};
use elements::{Index, Name, Scope, fingerprint};

mod elements;
mod fill;

/// Sessions that this node begins with one member at a time.
const BEGUN_PER_PEER_MAX: usize = 2;

/// Sessions that this node begins at a time.
const BEGUN_MAX: usize = 8;

/// Sessions that one member may have begun with this node.
const SERVED_PER_PEER_MAX: usize = 4;

/// Sessions that this node serves at a time; each names the elements of a bucket.
const SERVED_MAX: usize = 32;

/// How long a session waits for the other side.
const SESSION_TIMEOUT: Span = Span::from_secs(15);

/// Messages of one session: 4,096 times 512 KB is more than a bucket should ever differ by. What
/// is left is found by the next session.
const STEPS_MAX: u32 = 4096;

/// How long a member that is to be asked must wait, so that what is under way arrives first.
const SETTLE: Span = Span::from_secs(1);

/// How often blocked sessions are looked at again.
const RETRY: Span = Span::from_millis(100);

/// Buckets that one step of the background sweep walks past; it compares those that hold anything.
const SWEEP_BUCKETS: u8 = 64;

/// When to compare a bucket with a member that refused something in it, or brought something that
/// was refused here: until then a full disk or a wrong clock may have been put right.
const REFUSED_RETRY: Span = Span::from_secs(30);

/// Why a bucket is to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// The member came up, or its turn in the sweep: what is empty here the other side brings up.
    Filled,
    /// Even if it is empty here.
    Always,
}

struct Peer {
    /// Whether it keeps the same inboxes; others only hand inboxes over.
    is_mate: bool,
    /// Buckets to compare.
    todo: BTreeMap<u8, Due>,
    /// Buckets to compare when their time has come.
    later: BTreeMap<u8, Time>,
    /// Where in the circle of buckets to go on.
    from: u8,
    not_before: Time,
    /// Sessions in a row that the member declined.
    declined: u32,
}

struct Session {
    about: About,
    heard: Time,
    steps: u32,
    phase: Phase,
}

/// What a session is for.
#[derive(Clone, Copy)]
struct About {
    scope: Scope,
    /// Height of the view in which the initiator came to keep the range.
    since: u64,
    /// What is filled by it, if this node began it for that.
    source: Option<u64>,
    /// Whether this node takes what the other side has.
    takes: bool,
    /// Whether the other side has all there is.
    whole: bool,
    /// Whether everything given was taken.
    sound: bool,
}

type Comparison = Negentropy<'static, NegentropyStorageVector>;

/// What a session waits for. The first four are the initiator's.
enum Phase {
    Digest {
        nonce: [u8; 32],
    },
    Comparison {
        index: Index,
        comparison: Comparison,
        have: BTreeSet<Name>,
        need: BTreeSet<Name>,
    },
    Elements {
        index: Index,
        have: BTreeSet<Name>,
        need: BTreeSet<Name>,
        asked: Vec<Name>,
    },
    Acceptance {
        index: Index,
        have: BTreeSet<Name>,
    },
    /// Served for the other side.
    Initiator {
        index: Index,
        comparison: Comparison,
    },
}

/// Why a session cannot go on.
enum Broken {
    /// A step that does not fit, such as one that came twice: nobody's fault, begin anew.
    OutOfStep,
    /// Something no honest member sends.
    Fault(&'static str),
}

impl Session {
    const fn is_served(&self) -> bool {
        matches!(self.phase, Phase::Initiator { .. })
    }
}

/// The sessions of a node, and what is still to be compared.
#[derive(Default)]
pub(crate) struct Reconcile {
    peers: BTreeMap<NodeId, Peer>,
    sessions: BTreeMap<(NodeId, u64), Session>,
    begun: u64,
    next_pump: Option<Time>,
    /// Not later than the first session times out: steps in between leave it as it is.
    next_late: Option<Time>,
    next_later: Option<Time>,
    next_sweep: Option<Time>,
    sweep_from: u8,
    /// The member that was swept last.
    swept: Option<NodeId>,
}

impl Reconcile {
    pub(crate) fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// Has a bucket compared with a member that lacks something, or has more.
    pub(crate) fn want(&mut self, node: NodeId, bucket: u8, now: Time) {
        if let Some(peer) = self.peers.get_mut(&node) {
            if peer.todo.is_empty() {
                peer.not_before = peer.not_before.max(now + SETTLE);
            }
            peer.todo.insert(bucket, Due::Always);
            let at = peer.not_before;
            sooner(&mut self.next_pump, at);
        }
    }

    /// Has a bucket compared with a member after a refusal that may be for now only.
    pub(crate) fn want_later(&mut self, node: NodeId, bucket: u8, now: Time) {
        if let Some(peer) = self.peers.get_mut(&node) {
            let at = *peer.later.entry(bucket).or_insert(now + REFUSED_RETRY);
            sooner(&mut self.next_later, at);
        }
    }

    /// Has those buckets compared whose time has come.
    fn wake(&mut self, now: Time) {
        if self.next_later.is_none_or(|at| at > now) {
            return;
        }
        self.next_later = None;
        for peer in self.peers.values_mut() {
            let due = peer.later.iter().filter(|(_, at)| **at <= now).map(|(bucket, _)| *bucket);
            for bucket in due.collect::<Vec<u8>>() {
                peer.later.remove(&bucket);
                peer.todo.insert(bucket, Due::Always);
                sooner(&mut self.next_pump, now);
            }
            if let Some(at) = peer.later.values().min() {
                sooner(&mut self.next_later, *at);
            }
        }
    }

    /// Has every bucket compared with a member that came up.
    pub(crate) fn peer_up(&mut self, cx: &mut Cx<'_>, me: NodeId, node: NodeId, is_mate: bool) {
        self.peer_down(node);
        let stats = cx.store.stats();
        let todo = if is_mate && stats.items + stats.records > 0 {
            (0..=u8::MAX).map(|bucket| (bucket, Due::Filled)).collect()
        } else {
            BTreeMap::new()
        };
        // One side goes first; the other then has only those buckets left that the first lacks.
        let not_before = if me < node { cx.now } else { cx.now + SETTLE };
        let from = cx.rng.bytes32()[0];
        let later = BTreeMap::new();
        let peer = Peer { is_mate, todo, later, from, not_before, declined: 0 };
        self.peers.insert(node, peer);
    }

    fn peer_down(&mut self, node: NodeId) {
        self.peers.remove(&node);
        self.sessions.retain(|(with, _), _| *with != node);
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let sweep = self.next_sweep.filter(|_| self.peers.values().any(|peer| peer.is_mate));
        [self.next_late, self.next_later, sweep, self.next_pump].into_iter().flatten().min()
    }

    // Of sessions in which this node only gives there may be many.
    fn is_busy(&self, bucket: u8) -> bool {
        self.sessions.values().any(|it| it.about.scope.bucket == bucket && it.about.takes)
    }

    pub(crate) fn is_mate(&self, node: &NodeId) -> bool {
        self.peers.get(node).is_some_and(|peer| peer.is_mate)
    }

    fn count(&self, node: Option<NodeId>, served: bool) -> usize {
        let of = |with: &NodeId| node.is_none_or(|node| node == *with);
        let counted = self.sessions.iter();
        counted.filter(|((with, _), session)| of(with) && session.is_served() == served).count()
    }

    /// Takes the next bucket that may be compared with a member now.
    fn next(&mut self, node: NodeId, now: Time) -> Option<(u8, Due)> {
        let peer = self.peers.get(&node)?;
        if peer.todo.is_empty() || peer.not_before > now {
            return None;
        }
        if self.count(Some(node), false) >= BEGUN_PER_PEER_MAX
            || self.count(None, false) >= BEGUN_MAX
        {
            return None;
        }
        let mut circle = peer.todo.range(peer.from..).chain(peer.todo.range(..peer.from));
        let (&bucket, &due) = circle.find(|(bucket, _)| !self.is_busy(**bucket))?;
        let peer = self.peers.get_mut(&node)?;
        peer.todo.remove(&bucket);
        peer.from = bucket.wrapping_add(1);
        Some((bucket, due))
    }

    fn insert(&mut self, node: NodeId, id: u64, session: Session) {
        sooner(&mut self.next_late, session.heard + SESSION_TIMEOUT);
        self.sessions.insert((node, id), session);
    }

    /// Returns the sessions whose other side was silent for too long.
    fn late(&mut self, now: Time) -> Vec<(NodeId, u64)> {
        if self.next_late.is_none_or(|at| at > now) {
            return Vec::new();
        }
        self.next_late = None;
        let mut late = Vec::new();
        for (key, session) in &self.sessions {
            let due = session.heard + SESSION_TIMEOUT;
            if due <= now {
                late.push(*key);
            } else {
                sooner(&mut self.next_late, due);
            }
        }
        late
    }

    /// Notes a session of ours that ended too early.
    fn put_back(&mut self, node: NodeId, about: &About, now: Time, rng: &mut dyn Entropy) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if about.source.is_none() {
            peer.todo.insert(about.scope.bucket, Due::Always);
        }
        peer.declined = peer.declined.saturating_add(1);
        // The first few times another bucket is tried at once.
        if let Some(over) = peer.declined.checked_sub(4) {
            // Whoever has not heard of a change yet will soon.
            let most = if about.source.is_some() { 3 } else { 7 };
            let pause = (200_u64 << over.min(most)) + rng.below(200);
            peer.not_before = now + Span::from_millis(pause);
        }
        let at = peer.not_before.max(now);
        sooner(&mut self.next_pump, at);
    }

    /// Notes that a bucket is the same here and there.
    fn settled(&mut self, node: NodeId, about: &About) {
        if let Some(peer) = self.peers.get_mut(&node) {
            if about.source.is_none() {
                peer.todo.remove(&about.scope.bucket);
            }
            peer.declined = 0;
        }
    }

    /// Goes on with the next member; after the last one with the next buckets.
    fn sweep(&mut self, cx: &mut Cx<'_>, every: Span) {
        match self.next_sweep {
            Some(at) if at <= cx.now => {}
            Some(_) => return,
            None => {
                self.next_sweep = Some(cx.now + every);
                return;
            }
        }
        // A random pause keeps the members from sweeping in step.
        let jitter = cx.rng.below(every.as_millis() / 4);
        self.next_sweep = Some(cx.now + every + Span::from_millis(jitter));
        let next = self.swept.and_then(|swept| {
            let after = (core::ops::Bound::Excluded(swept), core::ops::Bound::Unbounded);
            self.peers.range(after).find(|(_, peer)| peer.is_mate).map(|(node, _)| *node)
        });
        let first = self.peers.iter().find(|(_, peer)| peer.is_mate).map(|(node, _)| *node);
        let Some(node) = next.or(first) else { return };
        if next.is_none() {
            self.sweep_from = self.sweep_from.wrapping_add(SWEEP_BUCKETS);
        }
        self.swept = Some(node);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        for offset in 0..SWEEP_BUCKETS {
            peer.todo.entry(self.sweep_from.wrapping_add(offset)).or_insert(Due::Filled);
        }
        sooner(&mut self.next_pump, cx.now);
    }
}

fn sooner(next: &mut Option<Time>, at: Time) {
    *next = Some(next.map_or(at, |next| next.min(at)));
}

impl Swarm {
    /// Begins the sessions that there is room for.
    pub(crate) fn pump_sync(&mut self, cx: &mut Cx<'_>) {
        let nodes: Vec<NodeId> = self.reconcile.peers.keys().copied().collect();
        for node in nodes {
            self.pump_fill(cx, node);
            while let Some((bucket, due)) = self.reconcile.next(node, cx.now) {
                self.begin(cx, node, bucket, due);
            }
        }
        let retry = cx.now + RETRY;
        let (reconcile, handover) = (&mut self.reconcile, &self.handover);
        let times = reconcile.peers.iter().filter_map(|(node, peer)| {
            let todo = (!peer.todo.is_empty()).then_some(retry);
            let fill = handover.waits_for(node).map(|at| at.max(retry));
            Some([todo, fill].into_iter().flatten().min()?.max(peer.not_before))
        });
        reconcile.next_pump = times.min();
    }

    /// Compares everything with members of the swarm now.
    pub(crate) fn compare(&mut self, cx: &mut Cx<'_>, nodes: &[NodeId]) {
        for node in nodes {
            let Some(peer) = self.reconcile.peers.get_mut(node).filter(|it| it.is_mate) else {
                continue;
            };
            peer.todo.extend((0..=u8::MAX).map(|bucket| (bucket, Due::Always)));
            peer.not_before = cx.now;
            peer.declined = 0;
        }
        self.pump_sync(cx);
    }

    /// Ends what is under way with a node.
    pub(crate) fn end_sessions(&mut self, node: NodeId) {
        self.reconcile.peer_down(node);
    }

    pub(crate) fn tick_sync(&mut self, cx: &mut Cx<'_>) {
        for (node, id) in self.reconcile.late(cx.now) {
            self.end_early(cx, node, id);
            send(cx, node, Sync::Stop { session: id });
        }
        self.reconcile.wake(cx.now);
        self.reconcile.sweep(cx, self.config.sweep_every);
        if self.reconcile.next_pump.is_some_and(|at| at <= cx.now) {
            self.pump_sync(cx);
        }
    }

    pub(crate) fn sync_received(&mut self, cx: &mut Cx<'_>, node: NodeId, sync: Sync) {
        match sync {
            Sync::Open { session, bucket, nonce, fingerprint, range, since, .. } => {
                let scope = Scope { bucket, range };
                self.opened(cx, node, session, (scope, since), (&nonce, fingerprint));
            }
            Sync::Stop { session } => self.end_early(cx, node, session),
            Sync::Same { session, .. }
            | Sync::Differs { session, .. }
            | Sync::Round { session, .. }
            | Sync::Want { session, .. }
            | Sync::Give { session, .. } => self.stepped(cx, node, session, sync),
        }
        self.pump_sync(cx);
    }

    fn end_early(&mut self, cx: &mut Cx<'_>, node: NodeId, id: u64) {
        if let Some(session) = self.reconcile.sessions.remove(&(node, id))
            && !session.is_served()
        {
            self.reconcile.put_back(node, &session.about, cx.now, cx.rng);
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>, node: NodeId, bucket: u8, due: Due) {
        let Some(range) = self.view.range else { return };
        if self.replay(cx, bucket).is_err() {
            return self.reconcile.want_later(node, bucket, cx.now);
        }
        let (scope, since) = (Scope { bucket, range }, self.view.layout.since);
        let about = About { scope, since, source: None, takes: true, whole: false, sound: true };
        self.open(cx, node, about, due);
    }

    fn open(&mut self, cx: &mut Cx<'_>, node: NodeId, about: About, due: Due) {
        let nonce = cx.rng.bytes32();
        let About { scope, since, .. } = about;
        let Scope { bucket, range } = scope;
        let (fingerprint, count) = fingerprint(cx.store, scope, cx.now, &nonce);
        if count == 0 && due == Due::Filled {
            return;
        }
        self.reconcile.begun += 1;
        let session = (self.reconcile.begun << 1) | parity(self.view.node, node);
        let phase = Phase::Digest { nonce };
        let state = Session { about, heard: cx.now, steps: 0, phase };
        self.reconcile.insert(node, session, state);
        send(cx, node, Sync::Open { session, bucket, nonce, fingerprint, count, range, since });
    }

    fn opened(
        &mut self,
        cx: &mut Cx<'_>,
        node: NodeId,
        session: u64,
        (scope, since): (Scope, u64),
        (theirs, digest): (&[u8; 32], Digest),
    ) {
        if session & 1 != parity(node, self.view.node) {
            return self.misbehaved(cx, node, "a session number of the wrong side");
        }
        let Some(takes) = self.serves(node, scope, since) else {
            return send(cx, node, Sync::Stop { session });
        };
        if self.replay(cx, scope.bucket).is_err() {
            return send(cx, node, Sync::Stop { session });
        }
        let about = About { scope, since, source: None, takes, whole: false, sound: true };
        let whole = self.is_whole(&about);
        if fingerprint(cx.store, scope, cx.now, theirs).0 == digest {
            self.stats.in_sync += 1;
            self.reconcile.settled(node, &about);
            self.note_compared(cx, node, &about);
            return send(cx, node, Sync::Same { session, whole });
        }
        let nonce = cx.rng.bytes32();
        let index = Index::new(cx.store, scope, cx.now, theirs, &nonce);
        let Ok(comparison) = index.comparison() else {
            return send(cx, node, Sync::Stop { session });
        };
        let phase = Phase::Initiator { index, comparison };
        let state = Session { about, heard: cx.now, steps: 0, phase };
        self.reconcile.insert(node, session, state);
        send(cx, node, Sync::Differs { session, nonce, whole });
    }

    fn stepped(&mut self, cx: &mut Cx<'_>, node: NodeId, id: u64, sync: Sync) {
        let Some(mut session) = self.reconcile.sessions.remove(&(node, id)) else {
            // Ended here, or never begun: the other side need not wait for its timeout.
            return send(cx, node, Sync::Stop { session: id });
        };
        session.heard = cx.now;
        session.steps += 1;
        if session.steps > STEPS_MAX {
            if !session.is_served() {
                self.reconcile.put_back(node, &session.about, cx.now, cx.rng);
            }
            return send(cx, node, Sync::Stop { session: id });
        }
        let (mut about, initiated) = (session.about, !session.is_served());
        match self.step(cx, node, id, &mut about, session.phase, sync) {
            Ok(Some(phase)) => {
                let (heard, steps) = (session.heard, session.steps);
                self.reconcile.insert(node, id, Session { about, heard, steps, phase });
            }
            Ok(None) => self.ended(cx, node, &about),
            Err(broken) => {
                if initiated {
                    self.reconcile.put_back(node, &about, cx.now, cx.rng);
                }
                send(cx, node, Sync::Stop { session: id });
                if let Broken::Fault(why) = broken {
                    self.misbehaved(cx, node, why);
                }
            }
        }
    }

    /// Notes that what this node keeps of a bucket is the same with a mate.
    fn note_compared(&mut self, cx: &mut Cx<'_>, node: NodeId, about: &About) {
        let is_all = self.view.range.is_some_and(|own| covers(about.scope.range, own));
        if is_all && about.takes && about.sound {
            self.bucket_compared(cx, node, about.scope.bucket);
        }
    }

    fn ended(&mut self, cx: &mut Cx<'_>, node: NodeId, about: &About) {
        self.note_compared(cx, node, about);
        match about.source {
            // Not taken for now, for the clock or a full disk: compared again after a pause.
            Some(_) if !about.sound => self.reconcile.put_back(node, about, cx.now, cx.rng),
            Some(source) => {
                self.reconcile.settled(node, about);
                self.compared(cx, source, about.scope.bucket, node, about.whole);
            }
            None => self.reconcile.settled(node, about),
        }
    }

    // Returns what the session waits for next, or `None` when both sides are the same.
    fn step(
        &mut self,
        cx: &mut Cx<'_>,
        node: NodeId,
        session: u64,
        about: &mut About,
        phase: Phase,
        sync: Sync,
    ) -> Result<Option<Phase>, Broken> {
        Ok(Some(match (phase, sync) {
            (Phase::Digest { .. }, Sync::Same { whole, .. }) => {
                self.stats.in_sync += 1;
                about.whole = whole;
                return Ok(None);
            }
            (Phase::Digest { nonce }, Sync::Differs { nonce: theirs, whole, .. }) => {
                about.whole = whole;
                let index = Index::new(cx.store, about.scope, cx.now, &nonce, &theirs);
                let mut comparison = index.comparison().map_err(|_| Broken::OutOfStep)?;
                let message = comparison.initiate().map_err(|_| Broken::OutOfStep)?;
                send_round(cx, node, session, message)?;
                let (have, need) = (BTreeSet::new(), BTreeSet::new());
                Phase::Comparison { index, comparison, have, need }
            }
            (
                Phase::Comparison { index, mut comparison, mut have, mut need },
                Sync::Round { message, .. },
            ) => {
                let (mut ours, mut theirs) = (Vec::new(), Vec::new());
                let next = comparison
                    .reconcile_with_ids(&message, &mut ours, &mut theirs)
                    .map_err(|_| Broken::Fault("a comparison that makes no sense"))?;
                // What is being filled is not given back to where it comes from.
                if about.source.is_none() {
                    have.extend(ours.into_iter().map(Id::to_bytes));
                }
                need.extend(theirs.into_iter().map(Id::to_bytes));
                match next {
                    Some(message) => {
                        send_round(cx, node, session, message)?;
                        Phase::Comparison { index, comparison, have, need }
                    }
                    None => ask(cx, node, session, index, have, need),
                }
            }
            (
                Phase::Elements { index, have, mut need, asked },
                Sync::Give { elements, last, .. },
            ) => {
                let before = need.len();
                for element in &elements {
                    need.remove(&index.name_of(self.view.network, element));
                }
                // What is gone over there, or has changed since, is not asked for again.
                if last || need.len() == before {
                    for name in asked {
                        need.remove(&name);
                    }
                }
                self.take_elements(cx, node, about, elements.into_vec())?;
                ask(cx, node, session, index, have, need)
            }
            (Phase::Acceptance { index, have }, Sync::Want { keys, .. }) if keys.is_empty() => {
                give(cx, node, session, index, have)
            }
            (Phase::Acceptance { .. }, Sync::Same { whole, .. }) => {
                // It may have begun to drop the range meanwhile.
                about.whole &= whole;
                self.stats.repairs += 1;
                return Ok(None);
            }
            (Phase::Initiator { index, mut comparison }, Sync::Round { message, .. }) => {
                let answer = comparison
                    .reconcile(&message)
                    .map_err(|_| Broken::Fault("a comparison that makes no sense"))?;
                send_round(cx, node, session, answer)?;
                Phase::Initiator { index, comparison }
            }
            (Phase::Initiator { index, comparison }, Sync::Want { keys, .. })
                if !keys.is_empty() =>
            {
                let mut names: BTreeSet<Name> = keys.into_iter().collect();
                let elements = index.take(cx.store, cx.now, &mut names);
                send_give(cx, node, session, elements, names.is_empty());
                Phase::Initiator { index, comparison }
            }
            (Phase::Initiator { index, comparison }, Sync::Give { elements, last, .. }) => {
                if about.takes {
                    self.take_elements(cx, node, about, elements.into_vec())?;
                }
                if last {
                    let whole = self.is_whole(about);
                    send(cx, node, Sync::Same { session, whole });
                    self.stats.repairs += 1;
                    return Ok(None);
                }
                send(cx, node, Sync::Want { session, keys: List::default() });
                Phase::Initiator { index, comparison }
            }
            _ => return Err(Broken::OutOfStep),
        }))
    }

    fn take_elements(
        &mut self,
        cx: &mut Cx<'_>,
        node: NodeId,
        about: &mut About,
        elements: Vec<Element>,
    ) -> Result<(), Broken> {
        let bucket = about.scope.bucket;
        for element in elements {
            let address = match &element {
                Element::Item { item } => item.address,
                Element::Operation { operation } => operation.rule.address(),
            };
            if !about.scope.holds(&address) {
                return Err(Broken::Fault("an element of another bucket"));
            }
            // The other side may see another network than this one.
            if !self.view.keeps(&address) && !self.handover.is_blocked(&address) {
                continue;
            }
            // A refusal is no fault: what the other side took in time may be late here.
            let taken = match element {
                Element::Item { item } => self.keep_compared(cx, &item),
                Element::Operation { operation } => self.apply_forwarded(cx, &operation),
            };
            match taken {
                Err(Refusal::Clock { .. } | Refusal::DiskFull) => {
                    about.sound = false;
                    self.reconcile.want_later(node, bucket, cx.now);
                }
                Err(Refusal::Internal { .. }) => about.sound = false,
                _ => {}
            }
        }
        Ok(())
    }
}

// Tells apart the sessions that two nodes begin with each other.
fn parity(initiator: NodeId, acceptor: NodeId) -> u64 {
    u64::from(initiator > acceptor)
}

/// Asks for what is lacking, or goes on to give what the other side lacks.
fn ask(
    cx: &mut Cx<'_>,
    node: NodeId,
    session: u64,
    index: Index,
    have: BTreeSet<Name>,
    need: BTreeSet<Name>,
) -> Phase {
    if need.is_empty() {
        return give(cx, node, session, index, have);
    }
    // As many as one answer may hold. Operations come first in this order.
    let asked: Vec<Name> = need.iter().copied().take(REPLICA_ITEMS_MAX).collect();
    let keys = List::new(asked.clone()).expect("an answer holds fewer elements than a want");
    send(cx, node, Sync::Want { session, keys });
    Phase::Elements { index, have, need, asked }
}

fn give(
    cx: &mut Cx<'_>,
    node: NodeId,
    session: u64,
    index: Index,
    mut have: BTreeSet<Name>,
) -> Phase {
    let elements = index.take(cx.store, cx.now, &mut have);
    send_give(cx, node, session, elements, have.is_empty());
    Phase::Acceptance { index, have }
}

fn send_give(cx: &mut Cx<'_>, node: NodeId, session: u64, elements: Vec<Element>, last: bool) {
    let elements = List::new(elements).expect("taken up to the limit");
    send(cx, node, Sync::Give { session, elements, last });
}

fn send_round(cx: &mut Cx<'_>, node: NodeId, session: u64, message: Vec<u8>) -> Result<(), Broken> {
    let message = Blob::new(message).map_err(|_| Broken::OutOfStep)?;
    send(cx, node, Sync::Round { session, message });
    Ok(())
}

fn send(cx: &mut Cx<'_>, node: NodeId, sync: Sync) {
    let message = PeerMessageOut::Sync(sync);
    cx.effects.push(Effect::ToPeers { nodes: vec![node], bulk: true, message });
}
