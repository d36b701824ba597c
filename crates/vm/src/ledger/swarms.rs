//! Which node serves which swarm: seats are given, taken and moved when an epoch turns.
//!
//! Everything follows from the seats there were and the new randomness, which nobody knows when
//! nodes register: nobody chooses its swarm. The rules and their reasons are in
//! `docs/adr/025-swarms.md`. In the founding epoch, 0, a node takes a seat as soon as it is
//! registered: a network must begin somewhere.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use session_core::{Digest, Domain, Epoch, NodeId, SwarmId, Time, digest};
use session_protocol::limits::SWARM_MEMBERS_MAX;
use session_protocol::membership::NO_SWARM;

use super::draft::Draft;
use super::epochs::first_epoch;
use crate::records::{
    CurrentEpoch, EpochRecord, FormerSeats, NodeStatus, Nodes, Only, Params, Seat, SwarmMembers,
};

/// Gives and takes seats for the epoch that begins. Returns whether there are other swarms now.
pub(super) fn rebalance(
    draft: &mut Draft<'_>,
    params: &Params,
    randomness: &Digest,
    number: Epoch,
    genesis: Time,
) -> bool {
    let before = Seats::read(draft);
    let mut swarms = Swarms::new(params, randomness, &before);
    let mut waiting = Vec::new();
    for (id, node) in draft.entries::<Nodes>() {
        match node.status {
            NodeStatus::Active { .. } | NodeStatus::Suspended { .. } => {}
            NodeStatus::Registered => {
                if first_epoch(genesis, params, node.registered) <= number {
                    waiting.push(id);
                }
            }
            _ => {
                if let Some(swarm) = before.0.get(&id) {
                    swarms.remove(&id, *swarm);
                }
            }
        }
    }
    waiting.into_iter().for_each(|id| swarms.seat(id));
    swarms.settle();
    for (node, _) in draft.entries::<FormerSeats>() {
        draft.remove::<FormerSeats>(&node);
    }
    let after = swarms.seats();
    before.write(draft, &after, number);
    before.swarms() != after.values().copied().collect()
}

/// Gives a node that was registered in the founding epoch its seat at once.
pub(super) fn found(draft: &mut Draft<'_>, params: &Params, epoch: &EpochRecord, id: NodeId) {
    let before = Seats::read(draft);
    let mut swarms = Swarms::new(params, &epoch.randomness, &before);
    swarms.seat(id);
    while swarms.split() {}
    let after = swarms.seats();
    before.write(draft, &after, epoch.number);
    if before.swarms() != after.values().copied().collect() {
        // Inboxes may have moved at any time until the next epoch begins.
        if let Some(mut epoch) = draft.get::<CurrentEpoch>(&Only {}) {
            epoch.swarms_since = Epoch(epoch.number.0 + 1);
            draft.put::<CurrentEpoch>(&Only {}, &epoch);
        }
    }
}

/// The seats there are.
struct Seats(BTreeMap<NodeId, SwarmId>);

impl Seats {
    fn read(draft: &Draft<'_>) -> Self {
        let seats = draft.entries::<SwarmMembers>().into_iter();
        Self(seats.map(|(seat, _)| (seat.node, seat.swarm)).collect())
    }

    fn swarms(&self) -> BTreeSet<SwarmId> {
        self.0.values().copied().collect()
    }

    /// Writes what changed, and who sat where before.
    fn write(&self, draft: &mut Draft<'_>, after: &BTreeMap<NodeId, SwarmId>, since: Epoch) {
        for (node, swarm) in &self.0 {
            if after.get(node) != Some(swarm) {
                draft.remove::<SwarmMembers>(&Seat { swarm: *swarm, node: *node });
                // In the founding epoch a node may move twice: its first place counts.
                if !draft.has::<FormerSeats>(node) {
                    draft.put::<FormerSeats>(node, swarm);
                }
            }
        }
        for (id, swarm) in after {
            if self.0.get(id) == Some(swarm) {
                continue;
            }
            draft.put::<SwarmMembers>(&Seat { swarm: *swarm, node: *id }, &since);
            let mut node = draft.get::<Nodes>(id).expect("who has a seat is a node");
            node.status = match node.status {
                NodeStatus::Suspended { until, .. } => {
                    NodeStatus::Suspended { swarm: *swarm, since, until }
                }
                NodeStatus::Leaving { .. } => NodeStatus::Leaving { swarm: *swarm, since },
                _ => NodeStatus::Active { swarm: *swarm, since },
            };
            draft.put::<Nodes>(id, &node);
        }
    }
}

/// The swarms while seats are given and moved.
struct Swarms {
    /// Members with which a swarm is full.
    size: usize,
    randomness: Digest,
    members: BTreeMap<SwarmId, BTreeSet<NodeId>>,
}

impl Swarms {
    fn new(params: &Params, randomness: &Digest, seats: &Seats) -> Self {
        let mut members: BTreeMap<SwarmId, BTreeSet<NodeId>> = BTreeMap::new();
        for (node, swarm) in &seats.0 {
            members.entry(*swarm).or_default().insert(*node);
        }
        Self { size: usize::from(params.swarm_size), randomness: *randomness, members }
    }

    fn seats(&self) -> BTreeMap<NodeId, SwarmId> {
        let seats = self.members.iter();
        seats.flat_map(|(swarm, nodes)| nodes.iter().map(|node| (*node, *swarm))).collect()
    }

    /// Members with which a swarm splits.
    fn split_size(&self) -> usize {
        (2 * self.size).min(SWARM_MEMBERS_MAX + 1)
    }

    fn remove(&mut self, node: &NodeId, swarm: SwarmId) {
        let Some(members) = self.members.get_mut(&swarm) else { return };
        members.remove(node);
        if members.is_empty() {
            self.members.remove(&swarm);
        }
    }

    /// Gives a node a seat in the smallest swarm; the first of all makes one.
    fn seat(&mut self, node: NodeId) {
        let smallest = self.members.iter().min_by_key(|(swarm, members)| {
            (members.len(), self.draw(Domain::SwarmChoice, &node, **swarm))
        });
        let swarm = smallest.map_or_else(|| self.first(), |(swarm, _)| *swarm);
        self.members.entry(swarm).or_default().insert(node);
    }

    /// Fills small swarms from large ones, dissolves those that stay too small, splits those that
    /// are too large.
    ///
    /// Ends: swarms below half become fewer with each that dissolves, and no other step makes one.
    fn settle(&mut self) {
        while self.steal() || self.dissolve() || self.split() {}
    }

    /// Moves a member of the largest swarm, if that is more than full, to the smallest, if that is
    /// below 70 %.
    fn steal(&mut self) -> bool {
        let smallest = self.members.iter().min_by_key(|(swarm, members)| (members.len(), **swarm));
        let Some((&small, members)) = smallest else { return false };
        if 10 * members.len() >= 7 * self.size {
            return false;
        }
        let largest =
            self.members.iter().max_by_key(|(swarm, members)| (members.len(), Reverse(**swarm)));
        let Some((&large, members)) = largest else { return false };
        if members.len() <= self.size {
            return false;
        }
        let drawn = members.iter().min_by_key(|node| self.draw(Domain::SwarmMove, node, small));
        let Some(node) = drawn.copied() else { return false };
        self.members.entry(large).or_default().remove(&node);
        self.members.entry(small).or_default().insert(node);
        true
    }

    /// Dissolves the smallest swarm into the others if it is below half.
    fn dissolve(&mut self) -> bool {
        let smallest = self.members.iter().min_by_key(|(swarm, members)| (members.len(), **swarm));
        let Some((&small, members)) = smallest else { return false };
        if 2 * members.len() >= self.size || self.members.len() < 2 {
            return false;
        }
        let homeless = self.members.remove(&small).unwrap_or_default();
        homeless.into_iter().for_each(|node| self.seat(node));
        true
    }

    /// Splits a swarm that is twice as large as it should be: half of it serves a new one.
    fn split(&mut self) -> bool {
        let limit = self.split_size();
        let large = self.members.iter().find(|(_, members)| members.len() >= limit);
        let Some((&swarm, members)) = large else { return false };
        let Some(new) = self.place_beside(swarm) else { return false };
        let drawn: BTreeSet<(Digest, NodeId)> =
            members.iter().map(|node| (self.draw(Domain::SwarmMove, node, new), *node)).collect();
        let half = drawn.len() / 2;
        let moved: BTreeSet<NodeId> = drawn.into_iter().take(half).map(|(_, node)| node).collect();
        self.members.entry(swarm).or_default().retain(|node| !moved.contains(node));
        self.members.insert(new, moved);
        true
    }

    /// Returns the id of a new swarm: the middle of the wider gap beside a swarm, or of the widest
    /// gap there is, should that be taken.
    fn place_beside(&self, swarm: SwarmId) -> Option<SwarmId> {
        let ids: Vec<SwarmId> = self.members.keys().copied().collect();
        let begins = ids.iter().copied();
        let ends = ids.iter().copied().cycle().skip(1);
        // A lone swarm has the whole ring for a gap, which no u64 holds.
        let middle = |(begin, end): (SwarmId, SwarmId)| {
            let gap = match end.0.wrapping_sub(begin.0) {
                0 => 1 << 64,
                gap => u128::from(gap),
            };
            let half = u64::try_from(gap / 2).expect("half of the ring is a u64");
            (gap, SwarmId(begin.0.wrapping_add(half)), begin == swarm || end == swarm)
        };
        let free = |id: &SwarmId| *id != NO_SWARM && !self.members.contains_key(id);
        begins
            .zip(ends)
            .map(middle)
            .filter(|(_, id, _)| free(id))
            .max_by_key(|(gap, id, beside)| (*beside, *gap, Reverse(*id)))
            .map(|(_, id, _)| id)
    }

    /// Returns the id of the first swarm.
    fn first(&self) -> SwarmId {
        let drawn = digest(Domain::SwarmChoice, &[self.randomness.as_bytes()]);
        let (place, _) = drawn.as_bytes().split_first_chunk().expect("a digest has 32 bytes");
        SwarmId(u64::from_be_bytes(*place).min(NO_SWARM.0 - 1))
    }

    fn draw(&self, domain: Domain, node: &NodeId, swarm: SwarmId) -> Digest {
        let parts: [&[u8]; 3] =
            [self.randomness.as_bytes(), node.as_bytes(), &swarm.0.to_be_bytes()];
        digest(domain, &parts)
    }
}

#[cfg(test)]
mod tests;
