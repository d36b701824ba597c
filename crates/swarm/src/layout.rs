//! Which swarm keeps which part of the ring, and who its members are, at one time.

use std::collections::{BTreeMap, BTreeSet};

use session_core::committee::quorum;
use session_core::{InboxAddress, NodeId, SwarmId};
use session_protocol::Membership;
use session_protocol::peer::RingRange;
use session_protocol::placement;

/// The swarms of one view of the network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// Height of the first view that was like this.
    pub(crate) since: u64,
    ids: Vec<SwarmId>,
    swarms: BTreeMap<SwarmId, BTreeSet<NodeId>>,
}

impl Layout {
    pub(crate) fn of(membership: &dyn Membership) -> Self {
        let swarms =
            membership.swarms().into_iter().map(|swarm| (swarm, membership.members(swarm)));
        Self::new(membership.height(), swarms)
    }

    pub(crate) fn new(
        since: u64,
        swarms: impl IntoIterator<Item = (SwarmId, Vec<NodeId>)>,
    ) -> Self {
        let swarms: BTreeMap<SwarmId, BTreeSet<NodeId>> = swarms
            .into_iter()
            .filter(|(_, members)| !members.is_empty())
            .map(|(swarm, members)| (swarm, members.into_iter().collect()))
            .collect();
        Self { since, ids: swarms.keys().copied().collect(), swarms }
    }

    /// Tells whether the same nodes keep the same.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.swarms == other.swarms
    }

    pub(crate) fn swarms(&self) -> impl Iterator<Item = (SwarmId, &BTreeSet<NodeId>)> {
        self.swarms.iter().map(|(swarm, members)| (*swarm, members))
    }

    /// Returns the swarm in which a node has a seat.
    pub(crate) fn seat(&self, node: &NodeId) -> Option<SwarmId> {
        self.swarms().find(|(_, members)| members.contains(node)).map(|(swarm, _)| swarm)
    }

    pub(crate) fn members(&self, swarm: SwarmId) -> &BTreeSet<NodeId> {
        static NOBODY: BTreeSet<NodeId> = BTreeSet::new();
        self.swarms.get(&swarm).unwrap_or(&NOBODY)
    }

    /// Returns the members of a swarm that must agree; 0 for an unknown swarm.
    pub(crate) fn quorum(&self, swarm: SwarmId) -> usize {
        quorum(self.members(swarm).len()).unwrap_or(0)
    }

    /// Returns the swarm that keeps an inbox.
    pub(crate) fn swarm_of(&self, address: &InboxAddress) -> Option<SwarmId> {
        placement::nearest(address, &self.ids)
    }

    /// Returns the places of a swarm: those nearer to it than to any other.
    pub(crate) fn range(&self, swarm: SwarmId) -> Option<RingRange> {
        let index = self.ids.binary_search(&swarm).ok()?;
        let count = self.ids.len();
        if count == 1 {
            return Some(RingRange::ALL);
        }
        let (below, above) = (self.ids[(index + count - 1) % count], self.ids[(index + 1) % count]);
        Some(RingRange {
            first: swarm.0.wrapping_sub(reach(swarm.0.wrapping_sub(below.0), swarm < below)),
            last: swarm.0.wrapping_add(reach(above.0.wrapping_sub(swarm.0), swarm < above)),
        })
    }
}

/// Returns how far a swarm reaches into the gap to a neighbour; the lower id has the middle.
const fn reach(gap: u64, is_lower: bool) -> u64 {
    if is_lower { gap / 2 } else { (gap - 1) / 2 }
}

/// Returns what two ranges have in common: up to two pieces.
pub(crate) fn overlap(left: RingRange, right: RingRange) -> Vec<RingRange> {
    let mut pieces = Vec::new();
    // A common piece begins where one of the two begins.
    for (one, other) in [(left, right), (right, left)] {
        let first = one.first;
        if other.contains(first) {
            let ends = [one.last.wrapping_sub(first), other.last.wrapping_sub(first)];
            let piece = RingRange { first, last: first.wrapping_add(ends[0].min(ends[1])) };
            if !pieces.contains(&piece) {
                pieces.push(piece);
            }
        }
    }
    pieces
}

/// Tells whether all places of one range lie in another.
pub(crate) const fn covers(outer: RingRange, inner: RingRange) -> bool {
    let length = inner.last.wrapping_sub(inner.first);
    let offset = inner.first.wrapping_sub(outer.first);
    let room = outer.last.wrapping_sub(outer.first);
    // The whole ring may begin anywhere.
    room == u64::MAX || (offset <= room && length <= room - offset)
}

#[cfg(test)]
mod tests;
