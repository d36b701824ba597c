//! Files, cut into chunks that are encrypted one by one and stored as items.
//!
//! Sealing is deterministic: the same file under the same key gives the same items, so an
//! interrupted transfer is resumed by sealing again and skipping what was acknowledged, and a chunk
//! that is stored twice is one item. The nonce is derived from the plaintext: a file that changed
//! between two attempts does not use a nonce twice.
//!
//! Chunks of one file fill 64 KiB; a file that fits into one is padded to a power of two. The ids
//! of up to [`DIRECT_IDS_MAX`] chunks stand in the manifest. More ids are packed into index items,
//! which look like chunks, and the manifest lists those.
//!
//! *Provided:* secrecy and integrity of every chunk and its place in the file; a hash of the whole.
//! *Not provided:* hiding of the number of chunks from the nodes that keep them.

use core::fmt;
use std::sync::Arc;

use session_core::{
    Decode, DecodeError, Digest, Domain, Encode, Entropy, List, MessageId, Reader, choice, record,
};
use session_crypto::{StreamHash, SymmetricKey, equal};

use crate::file_name::FileName;

mod opener;
mod piece;
mod sealer;

pub use opener::Opener;
pub use sealer::{SealedPiece, Sealer};

/// Bytes of a file in one chunk.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Most chunks whose ids stand in the manifest itself: 32 KiB of ids.
pub const DIRECT_IDS_MAX: usize = 1024;

/// Chunk ids in one index item.
pub const INDEX_IDS: usize = CHUNK_BYTES / 32;

/// Most index items of one file. The format thus reaches 128 GiB.
pub const INDEXES_MAX: usize = 1024;

/// Largest file: its items leave a sixteenth of an inbox of 1 GiB for everything else.
pub const FILE_BYTES_MAX: u64 = 960 * 1024 * 1024;

/// Why a file cannot be sealed, or an item is not the piece of the file it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttachmentError {
    /// The file is too large.
    #[error("the file holds {got} bytes, the limit is {FILE_BYTES_MAX}")]
    FileTooLarge {
        /// Bytes of the file.
        got: u64,
    },
    /// The caller cut the file wrongly, or it changed its size meanwhile.
    #[error("chunk {chunk} must hold {expected} bytes, got {got}")]
    ChunkLength {
        /// The chunk.
        chunk: u32,
        /// Bytes given.
        got: usize,
        /// Bytes that belong there.
        expected: usize,
    },
    /// The file was not read to its end.
    #[error("{sealed} of {chunks} chunks were sealed")]
    Unfinished {
        /// Chunks sealed.
        sealed: u32,
        /// Chunks of the file.
        chunks: u32,
    },
    /// The file has fewer chunks or index items.
    #[error("there is no {kind} {index}, the file has {count}")]
    NoSuchPiece {
        /// `chunk` or `index`.
        kind: &'static str,
        /// The number asked for.
        index: u32,
        /// How many there are.
        count: u32,
    },
    /// An item of a version that this program does not know.
    #[error("attachment version {got} is not supported")]
    Version {
        /// The version byte.
        got: u8,
    },
    /// The item is cut, altered, of another file, or of another place in this file.
    #[error("{kind} {index} does not open: it was altered, cut, or belongs elsewhere")]
    NotOpened {
        /// `chunk` or `index`.
        kind: &'static str,
        /// Which one.
        index: u32,
    },
    /// The sender sealed a piece that the sealing here would not make.
    #[error("{kind} {index} is authentic, but its padding is not as specified")]
    Padding {
        /// `chunk` or `index`.
        kind: &'static str,
        /// Which one.
        index: u32,
    },
    /// Every chunk opened, and yet the file is not the one announced.
    #[error("the file's hash is {got:?}, the manifest says {expected:?}")]
    WrongHash {
        /// The hash of what was opened.
        got: Digest,
        /// The hash in the manifest.
        expected: Digest,
    },
}

/// The secret under which every piece of one file is sealed. Never printed, cleared on drop.
#[derive(Clone)]
pub struct FileKey(Arc<SymmetricKey>);

impl FileKey {
    /// Makes the key of a new file.
    pub fn generate(rng: &mut dyn Entropy) -> Self {
        Self::from(rng.bytes32())
    }

    /// Returns the secret bytes, to resume a transfer later.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

impl From<[u8; 32]> for FileKey {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Arc::new(SymmetricKey::from(bytes)))
    }
}

impl PartialEq for FileKey {
    fn eq(&self, other: &Self) -> bool {
        equal(self.expose(), other.expose())
    }
}

impl Eq for FileKey {}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey")
    }
}

impl Encode for FileKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.expose());
    }
}

impl Decode for FileKey {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self::from)
    }
}

/// The hash of a whole file, fed in order.
#[derive(Clone)]
pub struct FileHash(StreamHash);

impl Default for FileHash {
    fn default() -> Self {
        Self::new()
    }
}

impl FileHash {
    /// Starts.
    #[must_use]
    pub fn new() -> Self {
        Self(StreamHash::new(Domain::Attachment))
    }

    /// Appends the next bytes of the file.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the hash of everything so far.
    #[must_use]
    pub fn finish(&self) -> Digest {
        self.0.finish()
    }
}

choice! {
    /// Where the pieces of a file lie.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Pieces {
        /// Up to [`DIRECT_IDS_MAX`] chunks.
        1 => Chunks {
            /// Their ids, in order.
            ids: List<MessageId, DIRECT_IDS_MAX>,
        },
        /// Index items with [`INDEX_IDS`] chunk ids each.
        2 => Indexes {
            /// Their ids, in order.
            ids: List<MessageId, INDEXES_MAX>,
        },
    }
}

record! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Fields {
        name: FileName,
        size: u64,
        key: FileKey,
        hash: Digest,
        pieces: Pieces,
    }
}

/// All that the recipient needs to fetch and open a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest(Fields);

impl Manifest {
    /// Returns the name under which the file may be saved.
    #[must_use]
    pub const fn name(&self) -> &FileName {
        &self.0.name
    }

    /// Returns the bytes of the file.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.0.size
    }

    /// Returns the hash of the file, as [`FileHash`] computes it.
    #[must_use]
    pub const fn hash(&self) -> Digest {
        self.0.hash
    }

    /// Returns where the pieces lie.
    #[must_use]
    pub const fn pieces(&self) -> &Pieces {
        &self.0.pieces
    }

    /// Returns the number of chunks.
    #[must_use]
    pub const fn chunks(&self) -> u32 {
        chunk_count(self.0.size)
    }

    /// Checks the hash of everything that was opened.
    ///
    /// # Errors
    /// When it is not the hash that the sender announced.
    pub fn check_hash(&self, hash: &FileHash) -> Result<(), AttachmentError> {
        let (got, expected) = (hash.finish(), self.0.hash);
        if got == expected { Ok(()) } else { Err(AttachmentError::WrongHash { got, expected }) }
    }
}

impl Encode for Manifest {
    fn encode(&self, out: &mut Vec<u8>) {
        self.0.encode(out);
    }
}

impl Decode for Manifest {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let fields = Fields::decode(reader)?;
        if fields.size > FILE_BYTES_MAX {
            let why = "over the limit of 960 MiB";
            return Err(DecodeError::Invalid { field: "file size", why });
        }
        let chunks = chunk_count(fields.size) as usize;
        let fits = match &fields.pieces {
            Pieces::Chunks { ids } => ids.len() == chunks,
            Pieces::Indexes { ids } => {
                chunks > DIRECT_IDS_MAX && ids.len() == chunks.div_ceil(INDEX_IDS)
            }
        };
        if fits {
            Ok(Self(fields))
        } else {
            let why = "the number of ids does not fit the size of the file";
            Err(DecodeError::Invalid { field: "file pieces", why })
        }
    }
}

/// Returns the number of chunks of a file within the limit.
#[must_use]
pub const fn chunk_count(size: u64) -> u32 {
    let count = size.div_ceil(CHUNK_BYTES as u64);
    // Sizes are checked against the limit first; beyond it, the count only has to stay large.
    if count > u32::MAX as u64 { u32::MAX } else { count as u32 }
}

/// Returns the bytes of the file that chunk `index` holds, without padding.
#[must_use]
pub const fn chunk_length(size: u64, index: u32) -> usize {
    let left = size.saturating_sub(index as u64 * CHUNK_BYTES as u64);
    if left > CHUNK_BYTES as u64 { CHUNK_BYTES } else { left as usize }
}

#[cfg(test)]
mod tests;
