//! One part of the ring that is filled, from those that kept it.

use std::collections::{BTreeMap, BTreeSet};

use session_core::committee::quorum;
use session_core::{NodeId, Span, Time};
use session_protocol::Membership;
use session_protocol::peer::RingRange;

use super::buckets::Buckets;
use crate::view::View;

/// How long to wait for the rest of a quorum once as many former members answered as must.
const GRACE: Span = Span::from_secs(2);

/// From when on the other members of the new swarm are asked too: perhaps they have filled it,
/// and those that kept it have dropped it.
const MATES_AFTER: Span = Span::from_secs(5);

/// How long to leave a node alone that has not filled the part itself.
const NOT_WHOLE_RETRY: Span = Span::from_secs(1);

/// How long to wait for former members that are nodes still and cannot be reached.
const PATIENCE: Span = Span::from_secs(600);

/// The same for those that a swarm goes on without.
const SOFT_PATIENCE: Span = Span::from_secs(120);

/// What the counting depends on.
pub(super) struct Around<'a> {
    now: Time,
    membership: &'a dyn Membership,
    mates: &'a BTreeSet<NodeId>,
    /// Members of the swarm of which one holds everything at least.
    mates_least: usize,
}

impl<'a> Around<'a> {
    pub(super) fn new(now: Time, view: &'a View) -> Self {
        let mates_least = (view.size() + 1).saturating_sub(view.quorum).max(1);
        Self { now, membership: view.membership(), mates: &view.mates, mates_least }
    }
}

/// A part of the ring, those that kept it, and what was compared with them.
#[derive(Debug)]
pub(super) struct Source {
    /// Height of the view in which the part came here.
    pub(super) since: u64,
    pub(super) range: RingRange,
    /// Those that kept it, without this node.
    pub(super) members: BTreeSet<NodeId>,
    /// Whether nothing of the part was here before, so that it is not read until it is filled.
    pub(super) is_hard: bool,
    /// So many of them that every acknowledged item is with one.
    pub(super) least: usize,
    /// So many that one of those is honest.
    pub(super) enough: usize,
    pub(super) begun: Time,
    filled: Buckets,
    /// What each node was compared in.
    seen: BTreeMap<NodeId, Buckets>,
    /// When as many were seen as must be.
    reached: BTreeMap<u8, Time>,
    pauses: BTreeMap<NodeId, Time>,
    cursor: u8,
}

impl Source {
    pub(super) fn new(
        (since, range, is_hard): (u64, RingRange, bool),
        members: BTreeSet<NodeId>,
        (least, enough): (usize, usize),
        begun: Time,
    ) -> Self {
        Self {
            since,
            range,
            members,
            is_hard,
            least,
            enough,
            begun,
            filled: Buckets::default(),
            seen: BTreeMap::new(),
            reached: BTreeMap::new(),
            pauses: BTreeMap::new(),
            cursor: 0,
        }
    }

    /// A part that another swarm kept.
    pub(super) fn hard(
        now: Time,
        view: &View,
        range: RingRange,
        members: &BTreeSet<NodeId>,
    ) -> Self {
        let enough = quorum(members.len()).unwrap_or(0);
        let counts = (members.len() + 1 - enough, enough);
        let others = members.iter().copied().filter(|node| *node != view.node).collect();
        Self::new((view.layout.since, range, true), others, counts, now)
    }

    /// A part that this node kept together with some that have left.
    pub(super) fn soft(
        now: Time,
        view: &View,
        range: RingRange,
        left: impl Iterator<Item = NodeId>,
    ) -> Self {
        let members: BTreeSet<NodeId> = left.filter(|node| *node != view.node).collect();
        let count = members.len();
        Self::new((view.layout.since, range, false), members, (count, count), now)
    }

    /// Buckets that are not filled.
    pub(super) fn left(&self) -> usize {
        256 - self.filled.len()
    }

    pub(super) fn is_filled(&self, bucket: u8) -> bool {
        self.filled.contains(bucket)
    }

    fn asks(&self, node: &NodeId, around: &Around<'_>) -> bool {
        self.members.contains(node)
            || (around.mates.contains(node) && self.begun + MATES_AFTER <= around.now)
    }

    /// What was not compared with a node and is not filled.
    fn lacks(&self, node: NodeId) -> Buckets {
        self.filled.outside(&self.seen.get(&node).copied().unwrap_or_default())
    }

    /// Returns the next bucket to compare with a node, those first that somebody waits for.
    pub(super) fn next(
        &mut self,
        node: NodeId,
        around: &Around<'_>,
        wanted: &Buckets,
        room: &Room,
    ) -> Option<u8> {
        if !self.asks(&node, around) || self.pauses.get(&node).is_some_and(|at| *at > around.now) {
            return None;
        }
        let lacks = self.lacks(node);
        let first = lacks.and(wanted).without(&room.held).first_from(0);
        let any = lacks.without(&room.busy);
        let bucket = first.or_else(|| any.first_from(self.cursor).filter(|_| !room.is_full))?;
        self.cursor = bucket.wrapping_add(1);
        Some(bucket)
    }

    /// Tells from when on a former member can be asked, if it was not asked for everything.
    pub(super) fn waits_for(&self, node: NodeId) -> Option<Time> {
        let waits = self.members.contains(&node) && self.lacks(node) != Buckets::default();
        waits.then(|| self.pauses.get(&node).copied().unwrap_or(Time::ZERO))
    }

    /// Notes that a bucket was compared; returns 1 if it is filled now from too few.
    pub(super) fn compared(
        &mut self,
        around: &Around<'_>,
        bucket: u8,
        node: NodeId,
        whole: bool,
    ) -> u64 {
        // Of those that left, nobody knows more than they say.
        if !whole && self.is_hard {
            self.pauses.insert(node, around.now + NOT_WHOLE_RETRY);
            return 0;
        }
        self.seen.entry(node).or_default().insert(bucket);
        let present = self.present(around);
        self.settle_bucket(around, bucket, &present)
    }

    /// Counts again; returns how many buckets are filled now from too few.
    pub(super) fn settle(&mut self, around: &Around<'_>) -> u64 {
        let present = self.present(around);
        (0..=u8::MAX).map(|bucket| self.settle_bucket(around, bucket, &present)).sum()
    }

    /// Former members that are nodes still.
    fn present(&self, around: &Around<'_>) -> BTreeSet<NodeId> {
        let is_node = |node: &&NodeId| around.membership.node(node).is_some();
        self.members.iter().filter(is_node).copied().collect()
    }

    fn settle_bucket(
        &mut self,
        around: &Around<'_>,
        bucket: u8,
        present: &BTreeSet<NodeId>,
    ) -> u64 {
        if self.filled.contains(bucket) {
            return 0;
        }
        let (mut seen, mut available, mut mates) = (0, present.len(), 0);
        for (node, _) in self.seen.iter().filter(|(_, buckets)| buckets.contains(bucket)) {
            if self.members.contains(node) {
                seen += 1;
                available += usize::from(!present.contains(node));
            } else {
                mates += 1;
            }
        }
        let now = around.now;
        if seen >= self.least.min(available) {
            self.reached.entry(bucket).or_insert(now);
        }
        let patience = if self.is_hard { PATIENCE } else { SOFT_PATIENCE };
        let by_mates = mates >= around.mates_least;
        let is_filled = seen >= self.enough.min(available)
            || self.reached.get(&bucket).is_some_and(|at| *at + GRACE <= now)
            || by_mates
            || self.begun + patience <= now;
        if !is_filled {
            return 0;
        }
        self.filled.insert(bucket);
        self.reached.remove(&bucket);
        u64::from(self.is_hard && seen < self.least && !by_mates)
    }
}

/// Which buckets may be compared now.
#[derive(Debug, Default)]
pub(crate) struct Room {
    /// Whether there is room only for those that somebody waits for.
    pub(crate) is_full: bool,
    /// In a session already.
    pub(crate) busy: Buckets,
    /// The same, without sessions with other nodes that are slow: nobody who waits is held up.
    pub(crate) held: Buckets,
}

#[cfg(test)]
mod tests;
