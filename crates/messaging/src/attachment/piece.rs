//! One encrypted item of a file: a chunk of it, or a part of the list of chunk ids.
//!
//! | field | bytes | |
//! |---|---|---|
//! | version | 1 | 1 |
//! | nonce | 24 | from the plaintext |
//! | body | padded length + 16 | XChaCha20-Poly1305, associated data: the version |

use session_core::Domain;
use session_crypto::aead::{self, NONCE_SIZE};
use session_crypto::{SymmetricKey, kdf, mac};
use session_protocol::request::ItemBytes;

use super::{AttachmentError, CHUNK_BYTES, FileKey};

/// The version byte of pieces.
const VERSION: u8 = 1;

/// Smallest padded plaintext.
const PADDED_BYTES_MIN: usize = 1024;

/// What a piece holds; part of its key, so that one kind does not pass for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Chunk,
    Index,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Chunk => "chunk",
            Self::Index => "index",
        }
    }
}

/// A place in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) kind: Kind,
    pub(super) index: u32,
    pub(super) count: u32,
}

impl Place {
    pub(super) const fn check(self) -> Result<(), AttachmentError> {
        let Self { kind, index, count } = self;
        if index < count {
            Ok(())
        } else {
            Err(AttachmentError::NoSuchPiece { kind: kind.name(), index, count })
        }
    }

    fn derive(self, key: &FileKey, purpose: &[u8]) -> SymmetricKey {
        let (index, count) = (self.index.to_be_bytes(), self.count.to_be_bytes());
        let parts = [purpose, self.kind.name().as_bytes(), &index, &count];
        kdf(Domain::AttachmentChunk, key.expose(), &parts)
    }

    // Files of one chunk vary in size; in larger ones the count says it all.
    fn padded_length(self, length: usize) -> usize {
        if self.kind == Kind::Chunk && self.count == 1 {
            length.next_power_of_two().clamp(PADDED_BYTES_MIN, CHUNK_BYTES)
        } else {
            CHUNK_BYTES
        }
    }

    const fn not_opened(self) -> AttachmentError {
        AttachmentError::NotOpened { kind: self.kind.name(), index: self.index }
    }
}

/// Seals what belongs at a place; at most a chunk of bytes.
pub(super) fn seal(key: &FileKey, place: Place, plain: &[u8]) -> ItemBytes {
    debug_assert!(plain.len() <= CHUNK_BYTES);
    let mut padded = plain.to_vec();
    padded.resize(place.padded_length(plain.len()), 0);
    let nonce = nonce(key, place, &padded);
    let mut item = Vec::with_capacity(1 + NONCE_SIZE + padded.len() + aead::TAG_SIZE);
    item.push(VERSION);
    item.extend_from_slice(&nonce);
    item.extend(aead::seal(&place.derive(key, b"key"), &nonce, &[VERSION], &padded));
    ItemBytes::new(item).expect("a chunk is below the limit of an item")
}

/// Opens what was sealed for a place, and takes off the padding.
pub(super) fn open(
    key: &FileKey,
    place: Place,
    length: usize,
    item: &[u8],
) -> Result<Vec<u8>, AttachmentError> {
    let (version, rest) = item.split_first().ok_or(place.not_opened())?;
    if *version != VERSION {
        return Err(AttachmentError::Version { got: *version });
    }
    let (nonce, body) = rest.split_first_chunk::<NONCE_SIZE>().ok_or(place.not_opened())?;
    let mut plain = aead::open(&place.derive(key, b"key"), nonce, &[VERSION], body)
        .map_err(|_| place.not_opened())?;
    let as_specified =
        plain.len() == place.padded_length(length) && plain[length..].iter().all(|byte| *byte == 0);
    if !as_specified {
        let (kind, index) = (place.kind.name(), place.index);
        return Err(AttachmentError::Padding { kind, index });
    }
    plain.truncate(length);
    Ok(plain)
}

fn nonce(key: &FileKey, place: Place, padded: &[u8]) -> [u8; NONCE_SIZE] {
    let code = mac(Domain::AttachmentChunk, &place.derive(key, b"nonce"), &[padded]);
    let (nonce, _) = code.split_first_chunk().expect("a code is longer than a nonce");
    *nonce
}
