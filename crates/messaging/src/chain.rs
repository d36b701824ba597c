//! Sender chains: a key for each message, derived one after another and forgotten when used.
//!
//! ```text
//! first key   = kdf(lux-session/chain-root/v1, secret of the epoch, [group, epoch, leaf])
//! message key = kdf(lux-session/chain-message/v1, key, [])
//! tag         = kdf(lux-session/chain-tag/v1, key, []), its first 16 bytes
//! next key    = kdf(lux-session/chain-step/v1, key, [])
//! ```
//!
//! *Provided:* who steals a device opens nothing that was sealed or opened before; each box opens
//! once; boxes may arrive in any order, with up to [`SKIP_MAX`] missing. No signature: every member
//! of the group could have made any box, so nobody can prove to others who did. *Not provided:*
//! secrecy from members, or healing after a theft: that is the next epoch's.

use session_core::{Domain, Encode as _, Entropy, List, record};
use session_crypto::{SymmetricKey, kdf};
use session_protocol::request::ItemBytes;

use crate::boxes::{self, BoxError, Place, Tag};
use crate::secret::Secret;

/// Most messages that may be missing before one that opens, and most keys that wait for them.
pub const SKIP_MAX: usize = 1000;

record! {
    /// The key of a message that has not arrived.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Skipped {
        /// Its number.
        pub n: u32,
        /// By what it is found.
        pub tag: [u8; 16],
        /// Its key.
        pub key: Secret,
    }

    /// The chain of one sender in one epoch: for the sender what seals, for the others what opens.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Chain {
        /// The leaf of the sender.
        pub leaf: u32,
        /// From what the keys of the next message derive.
        pub key: Secret,
        /// The number of the next message.
        pub next: u32,
        /// Keys of messages before it that have not arrived, by their numbers.
        pub skipped: List<Skipped, SKIP_MAX>,
    }
}

/// A message of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub n: u32,
    /// What is said.
    pub content: Vec<u8>,
}

/// Why a chain does not seal or open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The box cannot be made, or is none.
    #[error(transparent)]
    Box(#[from] BoxError),
    /// No key waits under the tag: used already, too far ahead, or of another chain.
    #[error("the chain has no key for this box")]
    NoKey,
    /// The last number is used.
    #[error("the chain has no numbers left")]
    Exhausted,
}

impl Chain {
    /// Starts the chain of a leaf, from the secret of an epoch.
    #[must_use]
    pub fn start(root: &SymmetricKey, place: &Place, leaf: u32) -> Self {
        let parts: [&[u8]; 3] =
            [&place.group.bytes, &place.epoch.to_be_bytes(), &leaf.to_be_bytes()];
        let key = kdf(Domain::ChainRoot, root.expose(), &parts);
        Self { leaf, key: Secret::from(key), next: 0, skipped: none() }
    }

    /// Seals the next message and forgets its key.
    ///
    /// # Errors
    /// When the content is too long or no numbers are left; the chain is as it was.
    pub fn seal(
        &mut self,
        place: &Place,
        content: &[u8],
        rng: &mut dyn Entropy,
    ) -> Result<ItemBytes, ChainError> {
        let after = self.next.checked_add(1).ok_or(ChainError::Exhausted)?;
        let data = self.data(place, self.next);
        let item = boxes::seal_once(&message_key(&self.key), tag(&self.key), &data, content, rng)?;
        self.key = step(&self.key);
        self.next = after;
        Ok(item)
    }

    /// Tells whether a key waits under this tag: among the skipped, or at most [`SKIP_MAX`] ahead.
    #[must_use]
    pub fn knows(&self, tag: &Tag) -> bool {
        self.skipped.iter().any(|skipped| skipped.tag == tag.0) || self.ahead(tag).is_some()
    }

    /// Opens a box and forgets its key.
    ///
    /// A box without a key costs at most [`SKIP_MAX`] steps of the chain.
    ///
    /// # Errors
    /// When it is not a box, no key waits for it, or it was altered or moved; the chain is as it was.
    pub fn open(&mut self, place: &Place, item: &[u8]) -> Result<Opened, ChainError> {
        let sealed = boxes::parse(item)?;
        let mut skipped = self.skipped.iter();
        if let Some(index) = skipped.position(|skipped| skipped.tag == sealed.tag.0) {
            let Skipped { n, key, .. } = &self.skipped[index];
            let n = *n;
            let content = boxes::open(&key.key(), &self.data(place, n), &sealed)?;
            let mut left = core::mem::replace(&mut self.skipped, none()).into_vec();
            left.remove(index);
            self.skipped = List::new(left).expect("it is shorter than before");
            return Ok(Opened { n, content });
        }
        let passed = self.ahead(&sealed.tag).ok_or(ChainError::NoKey)?;
        let (last, before) = passed.split_last().ok_or(ChainError::NoKey)?;
        let content = boxes::open(&message_key(&last.key), &self.data(place, last.n), &sealed)?;
        self.pass(before);
        (self.key, self.next) = (step(&last.key), last.n + 1);
        Ok(Opened { n: last.n, content })
    }

    /// Walks to the place that has this tag.
    fn ahead(&self, wanted: &Tag) -> Option<Vec<Link>> {
        let mut passed = Vec::new();
        let mut key = self.key.clone();
        // The last number is never used: there would be none after it.
        for n in (self.next..u32::MAX).take(SKIP_MAX + 1) {
            let (tag, next) = (tag(&key), step(&key));
            passed.push(Link { n, tag, key });
            if tag == *wanted {
                return Some(passed);
            }
            key = next;
        }
        None
    }

    /// Keeps the keys of messages that were passed; the oldest ones give way.
    fn pass(&mut self, before: &[Link]) {
        let mut kept = core::mem::replace(&mut self.skipped, none()).into_vec();
        kept.extend(before.iter().map(|link| Skipped {
            n: link.n,
            tag: link.tag.0,
            key: Secret::from(message_key(&link.key)),
        }));
        kept.drain(..kept.len().saturating_sub(SKIP_MAX));
        self.skipped = List::new(kept).expect("it was cut to its limit");
    }

    fn data(&self, place: &Place, n: u32) -> Vec<u8> {
        let mut data = vec![boxes::VERSION];
        place.encode_into(&mut data);
        self.leaf.encode(&mut data);
        n.encode(&mut data);
        data
    }
}

/// A place of a chain that was walked over.
struct Link {
    n: u32,
    tag: Tag,
    key: Secret,
}

fn none() -> List<Skipped, SKIP_MAX> {
    List::new([]).expect("nothing is within every limit")
}

fn message_key(key: &Secret) -> SymmetricKey {
    kdf(Domain::ChainMessage, key.expose(), &[])
}

fn tag(key: &Secret) -> Tag {
    Tag::of(kdf(Domain::ChainTag, key.expose(), &[]).expose())
}

fn step(key: &Secret) -> Secret {
    Secret::from(kdf(Domain::ChainStep, key.expose(), &[]))
}

#[cfg(test)]
mod tests;
