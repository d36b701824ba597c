//! The nodes of the tree, each with the hash that was last asked for.

use std::sync::{Arc, OnceLock};

use session_core::{Digest, Domain, digest};

use super::{KEY_BYTES_MAX, VALUE_BYTES_MAX, bits};

/// A leaf or an inner node. Recursion over nodes is at most [`super::DEPTH_MAX`] deep.
#[derive(Clone)]
pub(super) struct Node {
    hash: OnceLock<Digest>,
    kind: Kind,
}

#[derive(Clone)]
pub(super) enum Kind {
    /// Key and value in one piece: one allocation less for each of millions of entries.
    Leaf { key_bytes: u8, entry: Box<[u8]> },
    /// The first bit in which the keys below differ; those with a 0 there, those with a 1.
    Inner { bit: u16, sides: [Arc<Node>; 2] },
}

impl Node {
    /// # Panics
    /// When the key or the value is out of bounds.
    pub(super) fn leaf(key: &[u8], value: &[u8]) -> Self {
        assert!(
            (1..=KEY_BYTES_MAX).contains(&key.len()),
            "a key has 1 to {KEY_BYTES_MAX} bytes, not {}",
            key.len()
        );
        assert!(
            value.len() <= VALUE_BYTES_MAX,
            "a value has at most {VALUE_BYTES_MAX} bytes, not {}",
            value.len()
        );
        let key_bytes = u8::try_from(key.len()).expect("checked above");
        Self::new(Kind::Leaf { key_bytes, entry: [key, value].concat().into() })
    }

    pub(super) const fn inner(bit: u16, sides: [Arc<Self>; 2]) -> Self {
        Self::new(Kind::Inner { bit, sides })
    }

    const fn new(kind: Kind) -> Self {
        Self { hash: OnceLock::new(), kind }
    }

    pub(super) const fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns the bit of an inner node.
    pub(super) const fn bit(&self) -> Option<u16> {
        match self.kind {
            Kind::Leaf { .. } => None,
            Kind::Inner { bit, .. } => Some(bit),
        }
    }

    /// Returns key and value of a leaf.
    pub(super) fn entry(&self) -> Option<(&[u8], &[u8])> {
        match &self.kind {
            Kind::Leaf { key_bytes, entry } => Some(entry.split_at(usize::from(*key_bytes))),
            Kind::Inner { .. } => None,
        }
    }

    /// Returns key and value of the leftmost leaf from here.
    pub(super) fn first_leaf(&self) -> (&[u8], &[u8]) {
        let mut node = self;
        loop {
            match &node.kind {
                Kind::Leaf { key_bytes, entry } => return entry.split_at(usize::from(*key_bytes)),
                Kind::Inner { sides, .. } => node = &sides[0],
            }
        }
    }

    /// Steps to the side of `key` in order to change what is there: the node is no longer shared
    /// and has no hash. A leaf stays where it is.
    pub(super) fn descend<'a>(link: &'a mut Arc<Self>, key: &[u8]) -> &'a mut Arc<Self> {
        if link.bit().is_none() {
            return link;
        }
        let node = Arc::make_mut(link);
        node.hash.take();
        match &mut node.kind {
            Kind::Inner { bit, sides } => &mut sides[bits::side(key, *bit)],
            Kind::Leaf { .. } => unreachable!("a leaf has no bit"),
        }
    }

    pub(super) fn hash(&self) -> Digest {
        // Not inside `get_or_init`: that would double the frames of the recursion.
        if let Some(hash) = self.hash.get() {
            return *hash;
        }
        let hash = match &self.kind {
            Kind::Leaf { key_bytes, entry } => {
                let (key, value) = entry.split_at(usize::from(*key_bytes));
                hash_leaf(key, value)
            }
            Kind::Inner { bit, sides: [left, right] } => {
                hash_inner(*bit, &left.hash(), &right.hash())
            }
        };
        *self.hash.get_or_init(|| hash)
    }
}

pub(super) fn hash_leaf(key: &[u8], value: &[u8]) -> Digest {
    digest(Domain::StateLeaf, &[key, value])
}

pub(super) fn hash_inner(bit: u16, left: &Digest, right: &Digest) -> Digest {
    digest(Domain::StateNode, &[&bit.to_be_bytes(), left.as_ref(), right.as_ref()])
}
