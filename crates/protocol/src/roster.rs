//! Who does what in an epoch: examiners, auditors, dealers of the beacon, attesters.
//!
//! Everybody computes the same from the epoch's randomness and the seats, so nobody can choose
//! whom it examines or who examines it. The nodes stand in a ring, in the order of
//! SHA-256(randomness ‖ node): a node examines those behind it, and is examined by those before
//! it, so all have the same work. Storage is audited by the other members of the swarm alone:
//! nobody else is to see ciphertexts.

use std::collections::{BTreeMap, BTreeSet};

use session_core::committee::{Committee, MEMBERS_MIN};
use session_core::{Digest, Domain, Epoch, NodeId, ServiceId, SwarmId, digest};

/// Members that deal a beacon: with 20 % of all nodes bad, a third of 64 is bad in 4 of 1,000
/// epochs.
pub const BEACON_MEMBERS_MAX: usize = 64;

/// Leaves of a storage commitment that a node must show in each epoch: whoever dropped a tenth is
/// caught with 97 %.
pub const AUDIT_LEAVES: usize = 32;

/// Most nodes that examine one node, and that one node examines.
pub const EXAMINERS_MAX: usize = 32;

/// Most nodes that one node votes about: those it examines and the other members of its swarm.
pub const TARGETS_MAX: usize = EXAMINERS_MAX + crate::limits::SWARM_MEMBERS_MAX;

/// What a node looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Duty {
    /// Whether the other node is there, with room to spare.
    Reach,
    /// Whether it keeps what it committed to.
    Keep,
}

/// One thing that an examiner votes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The node examined.
    pub node: NodeId,
    /// What is examined.
    pub duty: Duty,
}

/// The duties of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roster {
    randomness: Digest,
    epoch: Epoch,
    examiners: usize,
    ring: Vec<NodeId>,
    places: BTreeMap<NodeId, usize>,
    swarm_of: BTreeMap<NodeId, SwarmId>,
    swarms: BTreeMap<SwarmId, Vec<NodeId>>,
}

impl Roster {
    /// Computes the duties of an epoch from its randomness and its seats, one for each node;
    /// `examiners` for each node, or as many as there are. A swarm has at most
    /// [`SWARM_MEMBERS_MAX`](crate::limits::SWARM_MEMBERS_MAX) members.
    #[must_use]
    pub fn new(
        randomness: &Digest,
        epoch: Epoch,
        seats: &[(SwarmId, NodeId)],
        examiners: usize,
    ) -> Self {
        let drawn =
            |node: &NodeId| digest(Domain::ExaminerRing, &[randomness.as_bytes(), node.as_bytes()]);
        let order: BTreeSet<(Digest, NodeId)> =
            seats.iter().map(|(_, node)| (drawn(node), *node)).collect();
        let ring: Vec<NodeId> = order.into_iter().map(|(_, node)| node).collect();
        let places = ring.iter().enumerate().map(|(place, node)| (*node, place)).collect();
        let mut swarms: BTreeMap<SwarmId, Vec<NodeId>> = BTreeMap::new();
        for (swarm, node) in seats {
            swarms.entry(*swarm).or_default().push(*node);
        }
        swarms.values_mut().for_each(|members| members.sort_unstable());
        let swarm_of = seats.iter().map(|(swarm, node)| (*node, *swarm)).collect();
        let examiners = examiners.min(EXAMINERS_MAX).min(ring.len().saturating_sub(1));
        Self { randomness: *randomness, epoch, examiners, ring, places, swarm_of, swarms }
    }

    /// Returns the epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns the epoch's randomness.
    #[must_use]
    pub const fn randomness(&self) -> &Digest {
        &self.randomness
    }

    /// Returns every node with a seat, in the order of the ring.
    #[must_use]
    pub fn nodes(&self) -> &[NodeId] {
        &self.ring
    }

    /// Returns the swarms and their members, ordered by id.
    #[must_use]
    pub const fn swarms(&self) -> &BTreeMap<SwarmId, Vec<NodeId>> {
        &self.swarms
    }

    /// Returns the swarm of a node.
    #[must_use]
    pub fn swarm_of(&self, node: &NodeId) -> Option<SwarmId> {
        self.swarm_of.get(node).copied()
    }

    /// Returns whom a node probes.
    #[must_use]
    pub fn reaches(&self, examiner: &NodeId) -> Vec<NodeId> {
        self.walk(examiner, |place, step, ring| (place + step) % ring)
    }

    /// Returns who probes a node.
    #[must_use]
    pub fn examiners(&self, node: &NodeId) -> Vec<NodeId> {
        self.walk(node, |place, step, ring| (place + ring - step) % ring)
    }

    fn walk(&self, node: &NodeId, to: impl Fn(usize, usize, usize) -> usize) -> Vec<NodeId> {
        let Some(place) = self.places.get(node) else { return Vec::new() };
        let ring = self.ring.len();
        (1..=self.examiners).map(|step| self.ring[to(*place, step, ring)]).collect()
    }

    /// Returns the other members of a node's swarm: they audit each other.
    #[must_use]
    pub fn mates(&self, node: &NodeId) -> Vec<NodeId> {
        let members = self.swarm_of.get(node).and_then(|swarm| self.swarms.get(swarm));
        members.into_iter().flatten().filter(|member| *member != node).copied().collect()
    }

    /// Returns who votes on a duty of a node.
    #[must_use]
    pub fn voters(&self, target: &Target) -> Vec<NodeId> {
        match target.duty {
            Duty::Reach => self.examiners(&target.node),
            Duty::Keep => self.mates(&target.node),
        }
    }

    /// Returns what a node votes about: bit i of its ballot is about the i-th.
    #[must_use]
    pub fn targets(&self, examiner: &NodeId) -> Vec<Target> {
        let reach = self.reaches(examiner).into_iter();
        let keep = self.mates(examiner).into_iter();
        reach
            .map(|node| Target { node, duty: Duty::Reach })
            .chain(keep.map(|node| Target { node, duty: Duty::Keep }))
            .take(TARGETS_MAX)
            .collect()
    }

    /// Returns who deals the beacon of the next epoch, in the order of ids.
    #[must_use]
    pub fn dealers(&self) -> Vec<NodeId> {
        let score = |node: &NodeId| {
            digest(Domain::BeaconCommittee, &[self.randomness.as_bytes(), node.as_bytes()])
        };
        let scored: BTreeSet<(Digest, NodeId)> =
            self.ring.iter().map(|node| (score(node), *node)).collect();
        let mut chosen: Vec<NodeId> =
            scored.into_iter().take(BEACON_MEMBERS_MAX).map(|(_, node)| node).collect();
        chosen.sort_unstable();
        chosen
    }

    /// Returns who attests the epoch's beacon: the seed's committee of [`beacon_service`], or
    /// everybody when there are too few for one.
    #[must_use]
    pub fn attesters(&self) -> Vec<NodeId> {
        if self.ring.len() < MEMBERS_MIN {
            let mut all = self.ring.clone();
            all.sort_unstable();
            return all;
        }
        Committee::assign(&self.randomness, &beacon_service(), self.epoch, &self.ring)
            .map(|committee| committee.members().to_vec())
            .unwrap_or_default()
    }
}

/// Returns the service whose committee attests beacons.
#[must_use]
pub fn beacon_service() -> ServiceId {
    ServiceId::from(session_core::sha256(b"epoch/beacon"))
}

/// Returns which leaves of a commitment of `count` leaves a node must show, in order: all of them
/// when there are not more than [`AUDIT_LEAVES`].
#[must_use]
pub fn audit_leaves(randomness: &Digest, node: &NodeId, count: u64) -> Vec<u64> {
    let wanted = AUDIT_LEAVES as u64;
    if count <= wanted {
        return (0..count).collect();
    }
    let mut leaves = BTreeSet::new();
    let draws = (0_u64..).map(|draw| {
        let parts: [&[u8]; 3] = [randomness.as_bytes(), node.as_bytes(), &draw.to_be_bytes()];
        let drawn = digest(Domain::AuditLeaf, &parts);
        let (first, _) = drawn.as_bytes().split_first_chunk().expect("a digest has 32 bytes");
        u64::from_be_bytes(*first) % count
    });
    // Ends: there are more leaves than wanted.
    for leaf in draws {
        leaves.insert(leaf);
        if leaves.len() == AUDIT_LEAVES {
            break;
        }
    }
    leaves.into_iter().collect()
}
