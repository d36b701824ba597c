//! The Merkle tree of everything we commit to: RFC 6962's, with the leaf count in the root.
//!
//! - leaf: SHA-256(0x00 ‖ bytes); node: SHA-256(0x01 ‖ left ‖ right); an odd node moves up as it is
//! - the hash of no leaves is SHA-256 of nothing
//! - root: [`digest`] of [`Domain::MerkleRoot`] over the leaf count (`u64`) and the tree hash
//!
//! *Provided*: a proof shows that exactly these leaf bytes are at exactly this index of a tree of
//! exactly this many leaves. A node cannot pass for a leaf, and one tree cannot pass for another of
//! a different size. *Not provided*: proofs that a leaf is absent, or that one tree extends another.
//!
//! ```
//! use session_core::merkle::Tree;
//! let tree = Tree::new(["a", "b", "c"]);
//! let proof = tree.prove(2).unwrap();
//! assert_eq!(proof.verify(b"c", &tree.root()), Ok(()));
//! assert!(proof.verify(b"b", &tree.root()).is_err());
//! ```

use crate::codec::List;
use crate::domain::{Domain, digest, sha256, sha256_parts};
use crate::id::Digest;
use crate::record;

pub mod go_v1;

/// The deepest tree whose leaf count fits a `u64`.
pub const SIBLINGS_MAX: usize = 64;

/// Why a proof does not show what it claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadProof {
    /// The tree has no leaf at this index.
    #[error("leaf index {index} is outside a tree of {count} leaves")]
    Index {
        /// The index claimed.
        index: u64,
        /// The leaf count claimed.
        count: u64,
    },
    /// The path is shorter or longer than the index and the count demand.
    #[error("the path has {got} siblings where exactly {needed} belong")]
    Siblings {
        /// Siblings on the path of this index.
        needed: usize,
        /// Siblings in the proof.
        got: usize,
    },
    /// The path is well-formed but leads to another root.
    #[error("the path leads to root {got}, not to {expected}")]
    Root {
        /// The root that the path leads to.
        got: Digest,
        /// The root asked for.
        expected: Digest,
    },
}

/// A tree with all its nodes, ready to prove any leaf.
#[derive(Clone, Debug)]
pub struct Tree {
    levels: Vec<Vec<Digest>>,
}

impl Tree {
    /// Builds the tree over `leaves` in their order.
    pub fn new<L: AsRef<[u8]>>(leaves: impl IntoIterator<Item = L>) -> Self {
        let leaves = leaves.into_iter().map(|leaf| hash_leaf(leaf.as_ref())).collect();
        Self { levels: levels(leaves, hash_nodes) }
    }

    /// Returns the number of leaves.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.levels.first().map_or(0, Vec::len) as u64
    }

    /// Returns the root, which binds the leaf count.
    #[must_use]
    pub fn root(&self) -> Digest {
        let tree_hash = match self.levels.last().and_then(|level| level.first()) {
            Some(top) => *top,
            None => Digest::from(sha256(&[])),
        };
        bind_count(self.count(), &tree_hash)
    }

    /// Returns the proof of the leaf at `index`, or `None` when the tree has no such leaf.
    #[must_use]
    pub fn prove(&self, index: u64) -> Option<Proof> {
        let siblings = path(&self.levels, index)?;
        let siblings = List::new(siblings).expect("a u64 count makes at most 64 levels");
        Some(Proof { index, count: self.count(), siblings })
    }
}

record! {
    /// The path from one leaf to the root.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Proof {
        /// Position of the leaf, from 0.
        pub index: u64,
        /// Leaves in the tree.
        pub count: u64,
        /// Siblings from the leaf upwards; where the node moves up alone there is none.
        pub siblings: List<Digest, SIBLINGS_MAX>,
    }
}

impl Proof {
    /// Returns the root of the tree in which `leaf` is at this index.
    ///
    /// # Errors
    /// When the index is outside the tree, or the siblings are not exactly those of its path.
    pub fn root_of(&self, leaf: &[u8]) -> Result<Digest, BadProof> {
        let top = climb(self.index, self.count, &self.siblings, hash_leaf(leaf), hash_nodes)?;
        Ok(bind_count(self.count, &top))
    }

    /// Checks that `leaf` is at this index of the tree with this root.
    ///
    /// # Errors
    /// As [`Proof::root_of`], and when the path leads to another root.
    pub fn verify(&self, leaf: &[u8], root: &Digest) -> Result<(), BadProof> {
        expect_root(self.root_of(leaf)?, root)
    }
}

fn expect_root(got: Digest, expected: &Digest) -> Result<(), BadProof> {
    if got == *expected { Ok(()) } else { Err(BadProof::Root { got, expected: *expected }) }
}

/// Hashes level by level until one node is left; an odd node moves up as it is.
///
/// Pairing from the left makes the same tree as RFC 6962's split at the largest power of two.
fn levels(leaves: Vec<Digest>, join: fn(&Digest, &Digest) -> Digest) -> Vec<Vec<Digest>> {
    let mut levels = vec![leaves];
    while let Some(level) = levels.last().filter(|level| level.len() > 1) {
        let above = level
            .chunks(2)
            .map(|pair| match pair {
                [left, right] => join(left, right),
                alone => alone[0],
            })
            .collect();
        levels.push(above);
    }
    levels
}

fn path(levels: &[Vec<Digest>], index: u64) -> Option<Vec<Digest>> {
    let mut position = usize::try_from(index).ok()?;
    levels.first()?.get(position)?;
    let mut siblings = Vec::new();
    for level in levels {
        siblings.extend(level.get(position ^ 1));
        position >>= 1;
    }
    Some(siblings)
}

/// Hashes from a leaf hash to the top. Which side a sibling is on, and whether there is one,
/// follows from the index and the count: the proof cannot choose.
fn climb(
    index: u64,
    count: u64,
    siblings: &[Digest],
    leaf: Digest,
    join: fn(&Digest, &Digest) -> Digest,
) -> Result<Digest, BadProof> {
    if index >= count {
        return Err(BadProof::Index { index, count });
    }
    let wrong = BadProof::Siblings { needed: path_length(index, count), got: siblings.len() };
    let mut unused = siblings.iter();
    let mut node = leaf;
    let (mut position, mut last) = (index, count - 1);
    while last > 0 {
        if position % 2 == 1 {
            node = join(unused.next().ok_or(wrong)?, &node);
        } else if position < last {
            node = join(&node, unused.next().ok_or(wrong)?);
        }
        position /= 2;
        last /= 2;
    }
    if unused.next().is_some() { Err(wrong) } else { Ok(node) }
}

fn path_length(index: u64, count: u64) -> usize {
    let (mut position, mut last) = (index, count.saturating_sub(1));
    let mut length = 0;
    while last > 0 {
        length += usize::from(position % 2 == 1 || position < last);
        position /= 2;
        last /= 2;
    }
    length
}

fn hash_leaf(bytes: &[u8]) -> Digest {
    sha256_parts(&[&[0], bytes]).into()
}

fn hash_nodes(left: &Digest, right: &Digest) -> Digest {
    sha256_parts(&[&[1], left.as_bytes(), right.as_bytes()]).into()
}

fn bind_count(count: u64, tree_hash: &Digest) -> Digest {
    digest(Domain::MerkleRoot, &[&count.to_be_bytes(), tree_hash.as_bytes()])
}

#[cfg(test)]
mod tests;
