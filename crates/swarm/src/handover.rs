//! Inboxes that move to another swarm when the network changes.
//!
//! Whoever comes to keep a part of the ring that it did not keep before *fills* it: it compares
//! every bucket of that part with members of the swarm that kept it, and refuses to read from a
//! bucket until it has compared it with so many of them that nothing acknowledged can be missing.
//! Whoever keeps a part no more refuses clients, but goes on to give it to those that fill it,
//! until a quorum of the swarm that has it now said that it is whole there.
//!
//! What a node kept in which views are its *claims*, what it fills its *sources*. Both survive a
//! restart; how far the filling was does not, and filling again changes nothing. A part that moves
//! on before it is filled is filled nevertheless, for those that fill it from here: so a chain of
//! changes ends with everything in its last place. `docs/adr/027-hand-over.md` has the reasons.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use session_core::{Epoch, InboxAddress, List, NodeId, Span, Time, record};
use session_protocol::Membership;
use session_protocol::peer::RingRange;

use crate::layout::{Layout, covers, overlap};
use crate::machine::{Cx, Effect, PeerMessageOut, Requester, Swarm};
use crate::view::{View, place_of};
use reads::Reads;
use release::Release;
use source::{Around, Room, Source};

pub(crate) mod buckets;
mod journal;
pub(crate) mod reads;
mod release;
pub(crate) mod source;

/// Views in which a node kept something else than now that it remembers: with epochs of 30 s,
/// four minutes of nothing but change.
const CLAIMS_MAX: usize = 8;

/// Parts of the ring that are filled at a time.
const SOURCES_MAX: usize = 64;

/// Ranges of one claim that are with others: as many as a part may be cut into.
const RELEASED_MAX: usize = 64;

/// When to look again whether something is filled now.
const LOOK_AGAIN: Span = Span::from_millis(500);

/// How long after the first time that it is whole a node says so again; then twice as long.
const TELL_AGAIN: Span = Span::from_secs(10);

/// The longest time between two such messages.
const TELL_AGAIN_MAX: Span = Span::from_secs(480);

/// How far the hand-over of inboxes is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Buckets to fill.
    pub to_fill: usize,
    /// Those that are filled.
    pub filled: usize,
    /// Swarms for which this node still holds inboxes that it kept before them.
    pub held_for: usize,
    /// Buckets filled since the start from fewer of their former keepers than is safe, because
    /// the others were gone for good.
    pub short: u64,
}

record! {
    /// What a node keeps, or kept.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Claim {
        /// Height of the first view in which it did.
        since: u64,
        range: RingRange,
        /// When it was lost; none for the one that is kept now.
        lost: Option<Time>,
        /// Parts that are no longer here.
        released: List<RingRange, RELEASED_MAX>,
    }
}

impl Claim {
    fn new(since: u64, range: RingRange) -> Self {
        let released = List::new(Vec::new()).expect("nothing is below any limit");
        Self { since, range, lost: None, released }
    }

    /// Notes that a part is not here any more; one too many, and the claim is given up.
    fn release(&mut self, part: RingRange) {
        let mut released = self.released.to_vec();
        if released.contains(&part) {
            return;
        }
        released.push(part);
        let all = || vec![RingRange::ALL];
        self.released =
            List::new(released).or_else(|_| List::new(all())).expect("one is below the limit");
    }

    fn has(&self, range: RingRange) -> bool {
        let gone = |released: &RingRange| !overlap(*released, range).is_empty();
        covers(self.range, range) && !self.released.iter().any(gone)
    }
}

/// The members of a swarm of an earlier view.
#[derive(Debug)]
struct Keepers {
    range: RingRange,
    nodes: BTreeSet<NodeId>,
}

/// What a node takes over, and what it hands over.
#[derive(Debug, Default)]
pub(crate) struct Handover {
    /// Whether the record of an earlier run was looked for.
    recalled: bool,
    /// Whether there was none, and nobody has said yet how the network was before.
    fresh: bool,
    generation: u64,
    /// Oldest first.
    claims: Vec<Claim>,
    /// Who was to keep in earlier views what was here, oldest first: they may still ask for it.
    keepers: VecDeque<Vec<Keepers>>,
    sources: BTreeMap<u64, Source>,
    numbered: u64,
    short: u64,
    next_look: Option<Time>,
    next_tell: Option<Time>,
    tell_pause: Span,
    release: Release,
    reads: Reads,
}

impl Handover {
    pub(crate) fn progress(&self) -> Option<Progress> {
        let held_for = self.release.held_for();
        if self.sources.is_empty() && held_for == 0 {
            return None;
        }
        let mut progress = Progress { held_for, short: self.short, ..Progress::default() };
        for source in self.sources.values() {
            progress.to_fill += 256;
            progress.filled += 256 - source.left();
        }
        Some(progress)
    }

    /// Returns those that something is fetched from or held for, as far as they are nodes.
    pub(crate) fn partners(&self, view: &View) -> BTreeSet<NodeId> {
        let mut partners: BTreeSet<NodeId> =
            self.sources.values().flat_map(|source| source.members.iter().copied()).collect();
        for swarm in self.release.swarms() {
            partners.extend(view.layout.members(swarm));
        }
        partners.remove(&view.node);
        partners.retain(|node| view.membership().node(node).is_some());
        partners
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let parts =
            [self.next_look, self.next_tell, self.release.deadline(), self.reads.deadline()];
        parts.into_iter().flatten().min()
    }

    /// Tells whether something of an inbox may still be missing here.
    pub(crate) fn is_blocked(&self, address: &InboxAddress) -> bool {
        if self.sources.is_empty() {
            return false;
        }
        let (place, bucket) = (place_of(address), address.as_bytes()[0]);
        let lacks = |source: &Source| {
            source.is_hard && source.range.contains(place) && !source.is_filled(bucket)
        };
        self.sources.values().any(lacks)
    }

    /// Tells whether everything that was acknowledged of a bucket and range is here: of what was
    /// kept before the view `since`, or of what is kept now.
    pub(crate) fn is_whole(&self, range: RingRange, bucket: u8, since: u64) -> bool {
        let before = self
            .claims
            .iter()
            .rev()
            .find(|claim| claim.since < since && covers(claim.range, range));
        let now = self.claims.last().filter(|claim| claim.lost.is_none());
        before
            .into_iter()
            .chain(now)
            .any(|claim| claim.has(range) && self.is_filled(claim, range, bucket))
    }

    fn is_filled(&self, claim: &Claim, range: RingRange, bucket: u8) -> bool {
        let lacks = |source: &Source| {
            source.is_hard
                && source.since <= claim.since
                && !source.is_filled(bucket)
                && !overlap(source.range, range).is_empty()
        };
        !self.sources.values().any(lacks)
    }

    /// Tells whether a node is a member of the swarm that keeps a range, now or in an earlier view.
    pub(crate) fn is_entitled(&self, view: &View, node: NodeId, range: RingRange) -> bool {
        let seat = view.layout.seat(&node).and_then(|swarm| view.layout.range(swarm));
        let kept =
            |keepers: &Keepers| covers(keepers.range, range) && keepers.nodes.contains(&node);
        seat.is_some_and(|kept| covers(kept, range)) || self.keepers.iter().flatten().any(kept)
    }

    /// Tells whether nothing is to be filled.
    pub(crate) fn is_done(&self) -> bool {
        self.sources.is_empty()
    }

    /// Returns what to compare with a node next.
    pub(crate) fn next(
        &mut self,
        node: NodeId,
        now: Time,
        view: &View,
        room: &Room,
    ) -> Option<(u64, u8)> {
        let around = Around::new(now, view);
        let wanted = self.reads.buckets();
        self.sources
            .iter_mut()
            .find_map(|(id, source)| Some((*id, source.next(node, &around, &wanted, room)?)))
    }

    /// Returns what is compared for a source: its range, and the view in which it came here.
    pub(crate) fn compares(&self, source: u64) -> Option<(RingRange, u64)> {
        self.sources.get(&source).map(|source| (source.range, source.since))
    }

    /// Tells whether anything is left to compare with a node, and from when on.
    pub(crate) fn waits_for(&self, node: &NodeId) -> Option<Time> {
        self.sources.values().filter_map(|source| source.waits_for(*node)).min()
    }

    pub(crate) fn forget(&mut self, requester: Requester) {
        self.reads.forget(requester);
    }

    /// Goes on with what an earlier run left behind.
    fn resume(&mut self, now: Time, view: &View) {
        self.release.turn(&self.claims, view);
        self.next_look = Some(now);
        self.next_tell = Some(now);
        self.tell_pause = TELL_AGAIN;
    }

    /// Follows a change of the network from `former` to what `view` shows.
    fn turn(&mut self, now: Time, former: &Layout, view: &View) {
        let ranges: Vec<RingRange> = self.claims.iter().map(|claim| claim.range).collect();
        let concerned = former.swarms().filter_map(|(swarm, members)| {
            let range = former.range(swarm)?;
            let is_ours = ranges.iter().any(|ours| !overlap(*ours, range).is_empty());
            is_ours.then(|| Keepers { range, nodes: members.clone() })
        });
        self.keepers.push_back(concerned.collect());
        if self.keepers.len() > CLAIMS_MAX {
            self.keepers.pop_front();
        }
        let before = former.seat(&view.node);
        let range_before = before.and_then(|swarm| former.range(swarm));
        let stays = before == view.swarm && range_before == view.range;
        if !stays {
            if let Some(claim) = self.claims.last_mut().filter(|claim| claim.lost.is_none()) {
                claim.lost = Some(now);
            }
            if let Some(range) = view.range {
                self.claims.push(Claim::new(view.layout.since, range));
            }
        }
        for (swarm, members) in former.swarms() {
            let (Some(from), Some(to)) = (former.range(swarm), view.range) else { continue };
            for piece in overlap(from, to) {
                if before != Some(swarm) {
                    self.add(Source::hard(now, view, piece, members));
                } else {
                    // What those have that left, and nobody else yet.
                    let left = members.difference(&view.mates).copied();
                    self.add(Source::soft(now, view, piece, left));
                }
            }
        }
        if self.claims.len() > CLAIMS_MAX + 1 {
            self.claims.remove(0);
        }
        self.resume(now, view);
    }

    fn add(&mut self, source: Source) {
        if source.members.is_empty() {
            return;
        }
        if self.sources.len() >= SOURCES_MAX {
            self.sources.pop_first();
            self.short += 256;
        }
        self.numbered += 1;
        self.sources.insert(self.numbered, source);
    }

    /// Counts what is filled by now, and ends what is filled entirely; returns whether any is.
    fn look(&mut self, now: Time, view: &View) -> bool {
        let around = Around::new(now, view);
        let before = self.sources.len();
        for source in self.sources.values_mut() {
            self.short += source.settle(&around);
        }
        let release = &self.release;
        self.sources.retain(|_, source| {
            // What moved on and is whole in its new place needs no filling on the way.
            let is_mine = view.range.is_some_and(|own| !overlap(own, source.range).is_empty());
            source.left() > 0 && (is_mine || !release.is_elsewhere(view, source.range))
        });
        self.next_look = (!self.sources.is_empty()).then_some(now + LOOK_AGAIN);
        self.sources.len() != before
    }
}

impl Swarm {
    /// Follows the network.
    pub(crate) fn membership(
        &mut self,
        cx: &mut Cx<'_>,
        current: Arc<dyn Membership>,
        former: &dyn Membership,
    ) {
        let is_first = core::mem::take(&mut self.handover.fresh);
        let height = current.height();
        if !is_first && height > 0 && height == self.view.membership().height() {
            return;
        }
        let (next, mut before) = (Layout::of(&*current), Layout::of(former));
        before.since = before.since.min(next.since.saturating_sub(1));
        if is_first && !before.is_like(&next) {
            // The first that is heard of the network: what it was before counts as known.
            self.handover.found(&before, self.view.node);
            let _ = self.view.update(Arc::clone(&current));
            self.look_whether_complete(cx);
            self.turned(cx, &before);
            return;
        }
        let missed = !before.is_like(&self.view.layout) && !before.is_like(&next);
        if missed && !next.is_like(&self.view.layout) {
            let (swarm, last) = (self.view.swarm, self.view.replace(before));
            self.handover.turn(cx.now, &last, &self.view);
            if self.view.swarm != swarm {
                let settled = self.replication.turn(|_| false);
                self.deliver(cx, settled);
            }
        }
        let last = self.view.update(current);
        self.look_whether_complete(cx);
        if let Some(last) = last {
            self.turned(cx, &last);
        } else if !self.handover.is_saved() {
            self.save(cx);
        }
        self.pump_sync(cx);
    }

    /// Does what follows from a change of the network.
    fn turned(&mut self, cx: &mut Cx<'_>, former: &Layout) {
        let same_swarm = former.seat(&self.view.node) == self.view.swarm;
        self.flush(cx);
        self.handover.turn(cx.now, former, &self.view);
        let view = &self.view;
        let settled = self.replication.turn(|address| same_swarm && view.keeps(address));
        self.deliver(cx, settled);
        for node in self.up.clone() {
            let is_mate = self.view.mates.contains(&node);
            if is_mate == self.reconcile.is_mate(&node) {
                continue;
            }
            if is_mate {
                self.replication.peer_up(node);
            } else {
                let settled = self.replication.peer_down(node);
                self.deliver(cx, settled);
            }
            self.end_sessions(node);
            self.reconcile.peer_up(cx, self.view.node, node, is_mate);
            self.compare_if_incomplete(cx, node);
        }
        self.save(cx);
        self.look_at_handover(cx);
    }

    /// Does what is due.
    pub(crate) fn tick_handover(&mut self, cx: &mut Cx<'_>) {
        if self.handover.next_look.is_some_and(|at| at <= cx.now) {
            self.look_at_handover(cx);
            self.pump_sync(cx);
        }
        if self.handover.next_tell.is_some_and(|at| at <= cx.now) {
            self.tell_all(cx);
        }
        self.tick_release(cx);
        self.answer_reads(cx);
    }

    /// Notes that a bucket was compared.
    pub(crate) fn compared(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        bucket: u8,
        node: NodeId,
        whole: bool,
    ) {
        let around = Around::new(cx.now, &self.view);
        if let Some(source) = self.handover.sources.get_mut(&id) {
            self.handover.short += source.compared(&around, bucket, node, whole);
            if source.left() == 0 {
                self.look_at_handover(cx);
            }
        }
        self.answer_reads(cx);
    }

    fn look_at_handover(&mut self, cx: &mut Cx<'_>) {
        let ended = self.handover.look(cx.now, &self.view);
        self.stats.filled_short = self.handover.short;
        if ended {
            self.save(cx);
            if self.handover.sources.is_empty() {
                self.handover.next_tell = Some(cx.now);
                self.handover.tell_pause = TELL_AGAIN;
                self.tell_all(cx);
            }
        }
        self.answer_reads(cx);
    }

    fn tell_all(&mut self, cx: &mut Cx<'_>) {
        let nodes: Vec<NodeId> = self.up.difference(&self.view.mates).copied().collect();
        self.tell_taken(cx, &nodes);
        let pause = self.handover.tell_pause.max(TELL_AGAIN);
        self.handover.tell_pause = (pause + pause).min(TELL_AGAIN_MAX);
        self.handover.next_tell = Some(cx.now + pause);
    }

    /// Tells nodes of other swarms that everything is here, once it is.
    pub(crate) fn tell_taken(&self, cx: &mut Cx<'_>, nodes: &[NodeId]) {
        let height = self.view.membership().height();
        if height == 0 || self.view.swarm.is_none() || !self.handover.sources.is_empty() {
            return;
        }
        let nodes: Vec<NodeId> =
            nodes.iter().filter(|node| !self.view.mates.contains(*node)).copied().collect();
        if !nodes.is_empty() {
            let message = PeerMessageOut::Taken { epoch: Epoch(height) };
            cx.effects.push(Effect::ToPeers { nodes, bulk: true, message });
        }
    }
}
