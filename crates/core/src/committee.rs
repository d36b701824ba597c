//! Which nodes run the workload sessions of a service in an epoch, and how many of them decide.
//!
//! seed = SHA-256(randomness ‖ service ‖ epoch u64); a node's score is SHA-256(seed ‖ node); the
//! lowest scores are chosen. Everyone who knows the beacon computes the same committee. It is a
//! different thing from a storage swarm, which keeps inboxes.

use std::collections::BTreeSet;

use crate::domain::sha256_parts;
use crate::id::{Digest, Epoch, NodeId, ServiceId};

/// Fewer members cannot outvote even one of them.
pub const MEMBERS_MIN: usize = 3;

/// More members make certificates of individual signatures too large (15 signatures of 3,309 bytes
/// at this size).
pub const MEMBERS_MAX: usize = 21;

/// Why there is no committee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommitteeError {
    /// A quorum of nobody would let anything pass.
    #[error("a committee without members has no quorum")]
    Empty,
    /// There are too few nodes to choose from.
    #[error("{got} nodes are too few for a committee, which has at least {min}")]
    TooFew {
        /// Different nodes given.
        got: usize,
        /// The smallest committee.
        min: usize,
    },
}

/// Returns how many of `members` must agree: more than two thirds, in integers.
///
/// # Errors
/// When there are no members.
pub const fn quorum(members: usize) -> Result<usize, CommitteeError> {
    if members == 0 {
        return Err(CommitteeError::Empty);
    }
    // floor(2n/3) + 1, without forming 2n.
    Ok(members / 3 * 2 + members % 3 * 2 / 3 + 1)
}

/// The nodes chosen for a service in an epoch, lowest score first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committee {
    members: Vec<NodeId>,
}

impl Committee {
    /// Chooses up to [`MEMBERS_MAX`] of `nodes`; their order and repetitions do not matter.
    ///
    /// # Errors
    /// When there are fewer than [`MEMBERS_MIN`] different nodes.
    pub fn assign(
        randomness: &Digest,
        service: &ServiceId,
        epoch: Epoch,
        nodes: &[NodeId],
    ) -> Result<Self, CommitteeError> {
        let epoch = epoch.0.to_be_bytes();
        let seed = sha256_parts(&[randomness.as_bytes(), service.as_bytes(), &epoch]);
        let scored: BTreeSet<([u8; 32], NodeId)> =
            nodes.iter().map(|node| (sha256_parts(&[&seed, node.as_bytes()]), *node)).collect();
        if scored.len() < MEMBERS_MIN {
            return Err(CommitteeError::TooFew { got: scored.len(), min: MEMBERS_MIN });
        }
        Ok(Self { members: scored.into_iter().take(MEMBERS_MAX).map(|(_, node)| node).collect() })
    }

    /// Returns the members, lowest score first.
    #[must_use]
    pub fn members(&self) -> &[NodeId] {
        &self.members
    }

    /// Returns how many members must agree.
    #[must_use]
    pub fn quorum(&self) -> usize {
        quorum(self.members.len()).expect("a committee has at least three members")
    }

    /// Returns how many members may be silent; none in a committee of three.
    #[must_use]
    pub fn silent_max(&self) -> usize {
        self.members.len() - self.quorum()
    }
}

#[cfg(test)]
mod tests;
