//! What a key holds, or that it holds nothing, for somebody who knows only the root.

use session_core::{Blob, Digest, List, record};

use super::node::{hash_inner, hash_leaf};
use super::{DEPTH_MAX, KEY_BYTES_MAX, State, VALUE_BYTES_MAX, bits, root_of};

/// Why a proof does not show what a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadProof {
    /// The number of entries does not fit the leaf and the siblings.
    #[error("a state of {count} entries cannot have a leaf and {siblings} siblings on its path")]
    Count {
        /// The number of entries claimed.
        count: u64,
        /// Siblings in the proof.
        siblings: usize,
    },
    /// The bits do not ascend, or are not bits of a key.
    #[error("bit {bit} follows bit {before}: bits ascend from 1 to {DEPTH_MAX}")]
    Order {
        /// The bit before, or 0.
        before: u16,
        /// The bit out of order.
        bit: u16,
    },
    /// The search for the key would not have ended at the leaf: the proof is for another key.
    #[error("the key and the leaf's key are on different sides at bit {bit}")]
    OtherKey {
        /// Where they part.
        bit: u16,
    },
    /// The path is well-formed but leads to another root.
    #[error("the path leads to root {got:?}, not to {expected:?}")]
    Root {
        /// The root that the path leads to.
        got: Digest,
        /// The root asked for.
        expected: Digest,
    },
    /// They may all be there, but others are there too, or some are not.
    #[error("these {count} entries are not all that begin so, and nothing else")]
    NotAll {
        /// How many were given.
        count: usize,
    },
}

record! {
    /// The path from the top to the leaf at which the search for a key ends.
    ///
    /// If that is the leaf of the key, it shows the value. If it is another key's, the key holds
    /// nothing: the search for a key that is there ends nowhere else.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Proof {
        /// Entries of the state.
        pub count: u64,
        /// Where the search ends; none only if there are no entries.
        pub leaf: Option<Leaf>,
        /// What the search passed by, from the top.
        pub siblings: List<Sibling, DEPTH_MAX>,
    }

    /// An entry.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Leaf {
        /// Its key.
        pub key: Blob<KEY_BYTES_MAX>,
        /// Its value.
        pub value: Blob<VALUE_BYTES_MAX>,
    }

    /// The side of a node that the search did not take.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Sibling {
        /// The bit of the node.
        pub bit: u16,
        /// The hash of the side.
        pub hash: Digest,
    }
}

impl Proof {
    /// Returns what `key` holds in the state with this root; `None` is proven absence.
    ///
    /// # Security
    /// The root must be that of a state, from a block whose acceptance was checked: a root made up
    /// by somebody need not have the entries of a tree in order. For a given root and key, exactly
    /// one proof passes.
    ///
    /// # Errors
    /// When the proof is not the path of this key to this root.
    pub fn verify(&self, key: &[u8], root: &Digest) -> Result<Option<&[u8]>, BadProof> {
        let count = BadProof::Count { count: self.count, siblings: self.siblings.len() };
        let top = match &self.leaf {
            // Each sibling stands for one entry at least, and so does the leaf.
            Some(leaf) if self.count > self.siblings.len() as u64 => self.climb(key, leaf)?,
            None if self.count == 0 && self.siblings.is_empty() => Digest::default(),
            _ => return Err(count),
        };
        let got = root_of(self.count, &top);
        if got != *root {
            return Err(BadProof::Root { got, expected: *root });
        }
        Ok(self.leaf.as_ref().filter(|leaf| *leaf.key == *key).map(|leaf| &*leaf.value))
    }

    /// Checks that in the state with this root, the keys that begin with `prefix` are those of
    /// `entries`, with their values, and there are no others. The proof is that of the first of
    /// them; that there are none is not shown so.
    ///
    /// # Security
    /// As [`Self::verify`].
    ///
    /// # Errors
    /// When the proof is not the path of the first entry to this root, or `entries` has more or less
    /// than the state.
    pub fn verify_all(
        &self,
        prefix: &[u8],
        entries: &State,
        root: &Digest,
    ) -> Result<(), BadProof> {
        let not_all = BadProof::NotAll { count: entries.len() };
        let (first, value) = entries.range(prefix).next().ok_or(not_all)?;
        if self.verify(first, root)? != Some(value) {
            return Err(not_all);
        }
        // Below the last node that tells the prefix's bits apart are the keys that begin with it, and
        // the shape of a state depends on its entries only: the same path there is the same entries.
        let below = |it: &&Sibling| usize::from(it.bit) >= 9 * prefix.len();
        let alone = entries.prove(first);
        let same = self.siblings.iter().filter(below).eq(alone.siblings.iter());
        if same && entries.range(prefix).count() == entries.len() { Ok(()) } else { Err(not_all) }
    }

    /// Returns the hash of the top node, above `leaf` on the way that `key` takes.
    fn climb(&self, key: &[u8], leaf: &Leaf) -> Result<Digest, BadProof> {
        let mut before = 0;
        for &Sibling { bit, .. } in &self.siblings {
            if bit <= before || usize::from(bit) > DEPTH_MAX {
                return Err(BadProof::Order { before, bit });
            }
            if bits::side(key, bit) != bits::side(&leaf.key, bit) {
                return Err(BadProof::OtherKey { bit });
            }
            before = bit;
        }
        let climbed = hash_leaf(&leaf.key, &leaf.value);
        Ok(self.siblings.iter().rev().fold(climbed, |hash, sibling| {
            match bits::side(key, sibling.bit) {
                0 => hash_inner(sibling.bit, &hash, &sibling.hash),
                _ => hash_inner(sibling.bit, &sibling.hash, &hash),
            }
        }))
    }
}
