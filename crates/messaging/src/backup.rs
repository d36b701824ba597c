//! What a device remembers, as a file: threads, messages, contacts, and what was deleted.
//!
//! *Provided:* secrecy and integrity under one key; a file that was cut, reordered, extended or
//! altered is refused before anything of it is taken; what was deleted does not come back.
//!
//! *Not provided:* keys of conversations and what waits to be sent: a restored device is added to
//! its conversations as a new one. Proofs of storage are left out: they are large, and soon past.
//! The length shows how much there is, to 64 KiB. A key from a passphrase is
//! [`session_crypto::passphrase`]'s business.
//!
//! | field | bytes | |
//! |---|---|---|
//! | magic | 8 | `LUXBACKP` |
//! | version | 1 | 1 |
//! | salt | 32 | random; with the key and all before it, it gives the key of this file |
//! | chunks | n × 65,552 | XChaCha20-Poly1305; nonce: number of the chunk; associated data: number and whether it is the last |
//!
//! The chunks hold 64 KiB each of one stream: when it was made, the entries, an end, zeros.

use session_core::{DecodeError, Entropy, Time};
use session_crypto::SymmetricKey;

use crate::vault::Vault;

mod entries;
mod file;

/// The version that is written, and the newest that is read.
pub const VERSION: u8 = 1;

/// Why a backup was not taken. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The bytes begin differently.
    #[error("not a backup")]
    NotABackup,
    /// A newer program wrote it.
    #[error("backup version {got} is newer than this program, which knows {VERSION}")]
    NewerVersion {
        /// The file's.
        got: u8,
    },
    /// The file ends too early, or goes on too long.
    #[error(
        "the backup was cut, or something was added: it holds {got} bytes, which is not a whole number of chunks"
    )]
    Length {
        /// Bytes of the file.
        got: usize,
    },
    /// Whole chunks are missing at the end.
    #[error("the backup was cut: more chunks belong behind the {got} that are there")]
    Cut {
        /// Chunks that are there.
        got: usize,
    },
    /// The first chunk does not open.
    #[error(
        "the backup does not open: the key or passphrase is another one, or its beginning was altered"
    )]
    WrongKey,
    /// A chunk does not open, although the first one does.
    #[error("chunk {chunk} of the backup was altered, or is in another place than it was written")]
    Altered {
        /// Which.
        chunk: usize,
    },
    /// It is whole, and yet something in it is not known here.
    #[error("the backup is authentic, but entry {entry} is not understood: {source}")]
    Entry {
        /// Which entry.
        entry: usize,
        /// What is wrong with it.
        source: DecodeError,
    },
}

/// What a restore did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// When the backup was made.
    pub made_at: Time,
    /// Threads that were not there before.
    pub threads: usize,
    /// Messages that were not there before.
    pub messages: usize,
    /// Messages that were there already.
    pub known: usize,
    /// Messages that were deleted here, or whose time is over.
    pub gone: usize,
    /// Contacts and settings that were not there before.
    pub rows: usize,
}

/// Returns the backup of a device under a key.
#[must_use]
pub fn export(vault: &dyn Vault, key: &SymmetricKey, rng: &mut dyn Entropy, now: Time) -> Vec<u8> {
    let mut out = file::Writer::new(key, rng);
    entries::gather(vault, now, &mut out);
    out.finish()
}

/// Adds what a backup holds and is not here. What is here stays as it is; doing it twice changes
/// nothing. A machine that runs over the vault is opened again afterwards.
///
/// # Errors
/// When the bytes are not a whole backup under this key.
pub fn import(
    vault: &mut dyn Vault,
    key: &SymmetricKey,
    now: Time,
    bytes: &[u8],
) -> Result<Report, BackupError> {
    let plain = file::open(key, bytes)?;
    entries::check(&plain)?;
    Ok(entries::merge(vault, now, &plain))
}

#[cfg(test)]
mod tests;
