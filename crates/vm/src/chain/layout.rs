//! What is in the database, under which keys. Byte tables: `docs/wire/block.md`.
//!
//! The first byte of a key is its table. A host's database has only this chain in it; a database
//! of our own too.

use session_core::{BlockId, ChainId, Decode, DecodeError, TxId, record};
use session_storage::kv::Batch;

use crate::ledger::Changes;

/// The version of everything that this module says.
pub const FORMAT: u16 = 1;

/// Where the [`Stamp`] is.
pub const STAMP_KEY: &[u8] = b"f";
/// Where the id of the last accepted block is.
pub const LAST_KEY: &[u8] = b"l";
/// Before the entries of the state.
pub const STATE_PREFIX: &[u8] = b"s";
/// Before the shell's own entries.
pub const EXTRA_PREFIX: &[u8] = b"x";

record! {
    /// What the database belongs to.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Stamp {
        /// [`FORMAT`].
        pub format: u16,
        /// The chain.
        pub chain: ChainId,
        /// Hash of its genesis.
        pub genesis: ChainId,
    }

    /// Where an accepted transaction is.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Place {
        /// The height of its block.
        pub height: u64,
        /// Its place in the block.
        pub index: u32,
    }
}

fn join(table: u8, key: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(1 + key.len());
    joined.push(table);
    joined.extend_from_slice(key);
    joined
}

/// Returns where a block is.
#[must_use]
pub fn block_key(id: &BlockId) -> Vec<u8> {
    join(b'b', id.as_bytes())
}

/// Returns where the id of the block at a height is.
#[must_use]
pub fn height_key(height: u64) -> Vec<u8> {
    join(b'h', &height.to_be_bytes())
}

/// Returns where the [`Place`] of a transaction is.
#[must_use]
pub fn transaction_key(id: &TxId) -> Vec<u8> {
    join(b't', id.as_bytes())
}

/// Reads the format number alone: other formats may have other fields behind it.
///
/// # Errors
/// When there are fewer bytes.
pub fn format_of(stamp: &[u8]) -> Result<u16, DecodeError> {
    u16::decode(&mut session_core::Reader::new(stamp))
}

/// Adds changes of the state to a batch.
pub fn put_changes(batch: &mut Batch, changes: &Changes) {
    for (key, value) in changes {
        let key = join(STATE_PREFIX[0], key);
        match value {
            Some(value) => batch.put(key, value.clone()),
            None => batch.delete(key),
        }
    }
}

/// Adds a block, the index of its height, and that it is the last one to a batch.
pub fn put_block(batch: &mut Batch, id: &BlockId, height: u64, bytes: &[u8]) {
    batch.put(block_key(id), bytes);
    batch.put(height_key(height), *id.as_bytes());
    batch.put(LAST_KEY, *id.as_bytes());
}

#[cfg(test)]
mod tests;
