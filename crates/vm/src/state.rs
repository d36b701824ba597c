//! The state: ordered entries under one root.
//!
//! A [`State`] is a persistent map from keys to values. A clone costs one pointer and shares every
//! entry; a change copies only the path to its entry, and not even that while nobody else holds
//! the path. So each block of a tree of blocks can have a state of its own.
//!
//! The entries are the leaves of a binary crit-bit tree, which has one shape per set of entries:
//!
//! - A key is read as bits: for each byte a 1 and then its eight bits, highest first; behind the
//!   last byte zeros. Two different keys differ in a bit even if one begins with the other, and
//!   the order of keys is the order of their bits.
//! - An inner node stands for the first bit in which the keys below it differ: keys with 0 there
//!   are on the left, keys with 1 on the right. From the top downwards these bits ascend.
//! - leaf: [`digest`] of [`Domain::StateLeaf`] over key and value
//! - inner node: [`digest`] of [`Domain::StateNode`] over bit (`u16`), left hash and right hash
//! - root: [`digest`] of [`Domain::StateRoot`] over the number of entries (`u64`) and the top hash,
//!   32 zero bytes if there is none
//!
//! Hashes are computed when they are asked for and kept: the root after a block costs the paths
//! that the block touched.
//!
//! *Provided*: the root depends on the entries alone, not on how they came about; a [`Proof`] shows
//! what a key holds, or that it holds nothing. *Not provided*: secrecy; a proof of absence shows
//! one neighbouring entry.
//!
//! ```
//! use session_vm::state::State;
//! let mut state = State::new();
//! state.put(b"a1", b"one".to_vec());
//! let before = state.clone();
//! state.put(b"a2", b"two".to_vec());
//! assert_eq!(state.range(b"a").count(), 2);
//! assert_eq!(before.get(b"a2"), None);
//!
//! let proof = state.prove(b"a2");
//! assert_eq!(proof.verify(b"a2", &state.root()), Ok(Some(&b"two"[..])));
//! assert_eq!(before.prove(b"a2").verify(b"a2", &before.root()), Ok(None));
//! ```

use core::fmt;
use std::sync::Arc;

use session_core::{Blob, Digest, Domain, List, digest};

mod bits;
mod node;
mod proof;

pub use proof::{BadProof, Leaf, Proof, Sibling};

use node::{Kind, Node};

/// The longest key: room for a tag, two identifiers and some numbers.
pub const KEY_BYTES_MAX: usize = 96;

/// The longest value, that of the longest transaction.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;

/// The longest way from the top to a leaf: the bits of the longest key, but for the first, which is
/// a 1 in every key.
pub const DEPTH_MAX: usize = 9 * KEY_BYTES_MAX - 1;

/// All entries at one moment.
#[derive(Clone, Default)]
pub struct State {
    top: Option<Arc<Node>>,
    count: usize,
}

impl State {
    /// Makes the state without entries.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Builds the state with these entries, in linear time if their keys ascend.
    ///
    /// From the first key that does not ascend, entries are put one by one: the last one wins.
    ///
    /// # Panics
    /// As [`State::put`].
    pub fn from_entries<K: AsRef<[u8]>, V: AsRef<[u8]>>(
        entries: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut entries = entries.into_iter();
        let Some((key, value)) = entries.next() else { return Self::new() };
        let mut state = Self { top: None, count: 1 };
        // The last leaf, and what is above it on the way to the top: bit and finished left side.
        let mut last = Arc::new(Node::leaf(key.as_ref(), value.as_ref()));
        let mut open: Vec<(u16, Arc<Node>)> = Vec::new();
        let mut stray = None;
        for (key, value) in entries.by_ref() {
            let (key, value) = (key.as_ref(), value.as_ref());
            let before = last.first_leaf().0;
            let Some(bit) = bits::first_difference(before, key).filter(|_| before < key) else {
                stray = Some((key.to_vec(), value.to_vec()));
                break;
            };
            let leaf = Arc::new(Node::leaf(key, value));
            let left = close(&mut open, last, bit);
            open.push((bit, left));
            last = leaf;
            state.count += 1;
        }
        state.top = Some(close(&mut open, last, 0));
        if let Some((key, value)) = stray {
            state.put(&key, value);
        }
        for (key, value) in entries {
            state.put(key.as_ref(), value.as_ref().to_vec());
        }
        state
    }

    /// Returns the number of entries.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Returns whether there are no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Returns the value of a key.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let (found, value) = self.search(key)?;
        (found == key).then_some(value)
    }

    /// Returns the entry at which the search for a key ends, which need not be that key's.
    fn search(&self, key: &[u8]) -> Option<(&[u8], &[u8])> {
        let mut node = self.top.as_deref()?;
        loop {
            match node.kind() {
                Kind::Leaf { .. } => return node.entry(),
                Kind::Inner { bit, sides } => node = &sides[bits::side(key, *bit)],
            }
        }
    }

    /// Sets the value of a key. A value that is there already costs nothing.
    ///
    /// # Panics
    /// When the key is empty or longer than [`KEY_BYTES_MAX`], or the value is longer than
    /// [`VALUE_BYTES_MAX`]: who makes keys and values keeps them within their bounds.
    pub fn put(&mut self, key: &[u8], value: Vec<u8>) {
        let bit = match self.search(key) {
            Some((found, kept)) if found == key && kept == value => return,
            Some((found, _)) => bits::first_difference(found, key),
            None => None,
        };
        let leaf = Arc::new(Node::leaf(key, &value));
        let Some(mut link) = self.top.as_mut() else {
            *self = Self { top: Some(leaf), count: 1 };
            return;
        };
        // Without a different bit the way ends at the leaf of this key, with one above that bit.
        let end = bit.unwrap_or(u16::MAX);
        while link.bit().is_some_and(|bit| bit < end) {
            link = Node::descend(link, key);
        }
        if let Some(bit) = bit {
            let mut sides = [Arc::clone(link), leaf];
            if bits::side(key, bit) == 0 {
                sides.reverse();
            }
            *link = Arc::new(Node::inner(bit, sides));
            self.count += 1;
        } else {
            *link = leaf;
        }
    }

    /// Removes a key; returns whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        if self.get(key).is_none() {
            return false;
        }
        let Some(mut link) = self.top.as_mut() else { return false };
        self.count -= 1;
        // The other side of the node above the leaf takes that node's place.
        while let Kind::Inner { bit, sides } = link.kind() {
            let side = bits::side(key, *bit);
            if sides[side].bit().is_none() {
                *link = Arc::clone(&sides[1 - side]);
                return true;
            }
            link = Node::descend(link, key);
        }
        self.top = None;
        true
    }

    /// Returns the entries whose keys begin with `prefix`, in the order of keys.
    pub fn range(&self, prefix: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
        Entries { waiting: self.below(prefix).into_iter().collect() }
    }

    /// Returns a digest of the entries whose keys begin with `prefix`; zeros if there are none.
    /// After [`State::root`] it costs no more than a search.
    #[must_use]
    pub fn digest_of(&self, prefix: &[u8]) -> Digest {
        self.below(prefix).map(Node::hash).unwrap_or_default()
    }

    /// Returns the node above all keys that begin with `prefix`.
    fn below(&self, prefix: &[u8]) -> Option<&Node> {
        let mut node = self.top.as_deref();
        // Below the last node that tells the prefix's bits apart, all begin with it or none.
        while let Some(Kind::Inner { bit, sides }) = node.map(Node::kind) {
            if usize::from(*bit) >= 9 * prefix.len() {
                break;
            }
            node = Some(&sides[bits::side(prefix, *bit)]);
        }
        node.filter(|node| node.first_leaf().0.starts_with(prefix))
    }

    /// Returns the root over all entries.
    #[must_use]
    pub fn root(&self) -> Digest {
        let top = self.top.as_ref().map_or_else(Digest::default, |top| top.hash());
        root_of(self.count as u64, &top)
    }

    /// Returns the proof of what a key holds, be it nothing.
    #[must_use]
    pub fn prove(&self, key: &[u8]) -> Proof {
        let (mut leaf, mut siblings) = (None, Vec::new());
        let mut next = self.top.as_deref();
        while let Some(node) = next.take() {
            leaf = node.entry();
            if let Kind::Inner { bit, sides } = node.kind() {
                let side = bits::side(key, *bit);
                siblings.push(Sibling { bit: *bit, hash: sides[1 - side].hash() });
                next = Some(&sides[side]);
            }
        }
        Proof {
            count: self.count as u64,
            leaf: leaf.map(|(key, value)| Leaf {
                key: Blob::new(key).expect("a leaf is not made over the bounds"),
                value: Blob::new(value).expect("a leaf is not made over the bounds"),
            }),
            siblings: List::new(siblings).expect("bits ascend, and no key has more"),
        }
    }
}

// Millions of entries are no help in a log.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({} entries)", self.count)
    }
}

/// Closes the open nodes whose bits are behind `bit`, lowest first; returns the highest of them.
fn close(open: &mut Vec<(u16, Arc<Node>)>, lowest: Arc<Node>, bit: u16) -> Arc<Node> {
    let mut right = lowest;
    while let Some((at, left)) = open.pop_if(|(at, _)| *at > bit) {
        right = Arc::new(Node::inner(at, [left, right]));
    }
    right
}

/// Binds the number of entries to the hash of the top node.
fn root_of(count: u64, top: &Digest) -> Digest {
    digest(Domain::StateRoot, &[&count.to_be_bytes(), top.as_ref()])
}

/// The entries below some nodes, the last node first.
struct Entries<'a> {
    waiting: Vec<&'a Node>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut node = self.waiting.pop()?;
        while let Kind::Inner { sides: [left, right], .. } = node.kind() {
            self.waiting.push(right);
            node = left;
        }
        node.entry()
    }
}

#[cfg(test)]
mod tests;
