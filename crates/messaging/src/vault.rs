//! Where a device keeps everything: an ordered map of bytes, written in transactions.
//!
//! Logic sees [`Vault`]. The shell puts an encrypted file behind it, tests and the simulator
//! [`MemoryVault`]. What one call of a machine wrote is committed whole or not at all; after a
//! failure the shell rolls back, drops the effects of the call, and opens the machine again.

use core::ops::Bound;
use std::collections::BTreeMap;

use session_core::{Decode, Encode};

/// A transaction on the store of one device.
///
/// A vault that cannot read or write remembers that it failed, answers as if it were empty, and its
/// owner lets nothing of the transaction become durable: logic need not look.
pub trait Vault {
    /// Returns a value.
    fn get(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// Sets a value.
    fn put(&mut self, key: &[u8], value: &[u8]);

    /// Removes a value, if it is there. The bytes are overwritten as far as the engine can.
    fn remove(&mut self, key: &[u8]);

    /// Shows the entries whose key starts with `prefix` and is at least (with `backwards`: at most)
    /// `from`, in the order of their keys or backwards, until `visit` returns false. An empty `from`
    /// starts at the beginning of the prefix, or backwards at its end.
    fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    );
}

/// The tables of a vault: the first byte of a key. The rest is fixed-width big-endian, so that the
/// order of keys is that of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    /// Things of which a device has one: keys, settings, counters.
    Meta = 1,
    /// Key-agreement state, whatever the library wants to keep.
    Mls = 2,
    /// Cryptographic groups.
    Group = 3,
    /// Sender chains of an epoch of a group.
    Chain = 4,
    /// Threads: what a person sees as a conversation.
    Thread = 5,
    /// Messages of threads.
    Message = 6,
    /// Where a message with an id is.
    MessageIndex = 7,
    /// Items that wait to be stored.
    Outbox = 8,
    /// Proofs that messages are stored.
    Proof = 9,
    /// Accounts that are known: manifests, contacts, blocks.
    Account = 10,
    /// What cannot be read yet.
    Pending = 11,
    /// Secrets of what was published: key packages, intro keys.
    Prekey = 12,
    /// Where reading of a mailbox goes on.
    Reader = 13,
    /// Timers that survive a restart.
    Timer = 14,
    /// Files on their way.
    Transfer = 15,
    /// What was seen and must not be taken twice.
    Seen = 16,
}

impl Table {
    /// Returns the key of an entry of this table.
    #[must_use]
    pub fn key(self, rest: &[&[u8]]) -> Vec<u8> {
        let mut key = vec![self as u8];
        for part in rest {
            key.extend_from_slice(part);
        }
        key
    }
}

/// Reads a value of a table. Bytes that do not decode count as absent: they were written by a later
/// version, or by nobody.
pub fn load<T: Decode>(vault: &dyn Vault, key: &[u8]) -> Option<T> {
    vault.get(key).and_then(|bytes| T::decode_exact(&bytes).ok())
}

/// Writes a value of a table.
pub fn save<T: Encode>(vault: &mut dyn Vault, key: &[u8], value: &T) {
    vault.put(key, &zeroize::Zeroizing::new(value.to_bytes()));
}

/// Collects what a scan shows, decoded, at most `limit` entries.
pub fn list<T: Decode>(
    vault: &dyn Vault,
    prefix: &[u8],
    from: &[u8],
    backwards: bool,
    limit: usize,
) -> Vec<(Vec<u8>, T)> {
    let mut found = Vec::new();
    vault.scan(prefix, from, backwards, &mut |key, value| {
        if found.len() == limit {
            return false;
        }
        if let Ok(value) = T::decode_exact(value) {
            found.push((key.to_vec(), value));
        }
        true
    });
    found
}

/// A vault in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryVault {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl MemoryVault {
    /// Makes an empty one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns all entries, as a thief of the device would find them.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.entries.iter().map(|(key, value)| (key.as_slice(), value.as_slice()))
    }
}

impl Vault for MemoryVault {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.entries.get(key).cloned()
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.entries.insert(key.to_vec(), value.to_vec());
    }

    fn remove(&mut self, key: &[u8]) {
        self.entries.remove(key);
    }

    fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) {
        let mut visit = |(key, value): (&Vec<u8>, &Vec<u8>)| visit(key, value);
        if !backwards {
            let start: (Bound<&[u8]>, _) = (Bound::Included(prefix.max(from)), Bound::Unbounded);
            let inside = self.entries.range::<[u8], _>(start);
            inside.take_while(|(key, _)| key.starts_with(prefix)).all(&mut visit);
            return;
        }
        let behind = behind(prefix);
        let end = match behind.as_deref() {
            Some(behind) if from.is_empty() || from >= behind => Bound::Excluded(behind),
            None if from.is_empty() => Bound::Unbounded,
            _ if from < prefix => return,
            _ => Bound::Included(from),
        };
        self.entries.range::<[u8], _>((Bound::Included(prefix), end)).rev().all(&mut visit);
    }
}

/// Returns the first key behind all that start with `prefix`, if there is one.
fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}

#[cfg(test)]
mod tests;
