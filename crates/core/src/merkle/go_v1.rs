//! Profile `go-v1`: the tree of the Go reference, for its vectors and nothing else.
//!
//! Leaves are hashes as given, a node is SHA-256(left ‖ right), an odd leaf moves up as it is.
//!
//! # Security
//! Nothing new may be committed to with this tree:
//!
//! - A leaf and a node are hashed alike. Whoever proves the leaf `left ‖ right` proves 64 bytes
//!   that nobody submitted: in a tree over a, b, c, d the node over (a, b) verifies as leaf 0 of a
//!   tree of two.
//! - The root binds no leaf count, so that proof is as good as the real one.
//! - In the reference a leaf is the hash of an oracle's data alone. It names neither request nor
//!   submitter, duplicates pass, and nodes that received the records in different orders disagree.
//!
//! What an implementation can mend is mended here: sides follow from index and count instead of a
//! list beside the siblings that may be shorter, the depth is exact, and nothing panics. The holes
//! above are in the bytes; they are why our own trees are [`Tree`](super::Tree).

use super::{BadProof, climb, expect_root, levels, path};
use crate::domain::sha256_parts;
use crate::id::Digest;

/// The path from one leaf hash to the root. It has no encoding: it must not travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Position of the leaf, from 0.
    pub index: u64,
    /// Leaves in the tree. The root does not bind it: take it from elsewhere, not from the prover.
    pub count: u64,
    /// Siblings from the leaf upwards.
    pub siblings: Vec<Digest>,
}

/// Returns the root over leaf hashes, or `None` when there are none.
#[must_use]
pub fn root(leaves: &[Digest]) -> Option<Digest> {
    levels(leaves.to_vec(), join).last()?.first().copied()
}

/// Returns the proof of the leaf at `index`, or `None` when there is no such leaf.
#[must_use]
pub fn prove(leaves: &[Digest], index: u64) -> Option<Proof> {
    let siblings = path(&levels(leaves.to_vec(), join), index)?;
    Some(Proof { index, count: leaves.len() as u64, siblings })
}

impl Proof {
    /// Returns the root that the path leads to from a leaf hash.
    ///
    /// # Errors
    /// When the index is outside the tree, or the siblings are not exactly those of its path.
    pub fn root_of(&self, leaf: &Digest) -> Result<Digest, BadProof> {
        climb(self.index, self.count, &self.siblings, *leaf, join)
    }

    /// Checks that the path leads from a leaf hash to the root.
    ///
    /// # Errors
    /// As [`Proof::root_of`], and when the path leads to another root.
    pub fn verify(&self, leaf: &Digest, root: &Digest) -> Result<(), BadProof> {
        expect_root(self.root_of(leaf)?, root)
    }
}

fn join(left: &Digest, right: &Digest) -> Digest {
    sha256_parts(&[left.as_bytes(), right.as_bytes()]).into()
}
