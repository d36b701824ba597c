//! What is larger than a box, in pieces.

use std::collections::BTreeMap;

use session_core::{Blob, Decode, DecodeError, Domain, Encode, Reader, digest, record};

use super::CONTENT_BYTES_MAX;

/// Most pieces of one whole.
pub const PIECES_MAX: usize = 64;

/// What a piece needs beside its data: id, index, count, kind, and the length of the data.
pub(crate) const PIECE_HEAD: usize = 16 + 2 + 2 + 1 + 4;

/// Most data of one piece: it fills the largest box.
pub const PIECE_BYTES_MAX: usize = CONTENT_BYTES_MAX - PIECE_HEAD;

/// Most bytes that are cut into pieces.
pub const WHOLE_BYTES_MAX: usize = PIECES_MAX * PIECE_BYTES_MAX;

record! {
    /// A part of something that does not fit into one box.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Piece {
        /// Names the whole: the beginning of its digest.
        pub id: [u8; 16],
        /// Which part, from 0.
        pub index: u16,
        /// How many there are.
        pub count: u16,
        /// What the whole is; the caller's business.
        pub kind: u8,
        /// The part.
        pub data: Blob<PIECE_BYTES_MAX>,
    }
}

/// Why pieces are not put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPiece {
    /// More than can be cut.
    #[error("{got} bytes are to be cut, the limit is {limit}")]
    TooLong {
        /// Bytes given.
        got: usize,
        /// The most.
        limit: usize,
    },
    /// Index and count contradict each other or the limit.
    #[error("piece {index} of {count}, the limit is {PIECES_MAX}")]
    Number {
        /// The index.
        index: u16,
        /// The count.
        count: u16,
    },
    /// Of another whole than the first one.
    #[error("the piece belongs to something else")]
    Another,
    /// There already, with other data.
    #[error("piece {index} is there already, with other data")]
    Conflict {
        /// The index.
        index: u16,
    },
    /// All are there, and they are not what the id names.
    #[error("the pieces do not make what they are named after")]
    Digest,
}

/// Cuts bytes into pieces of about equal size, as few as possible; the same bytes always give the
/// same pieces.
///
/// # Errors
/// When there are more than [`WHOLE_BYTES_MAX`].
pub fn cut(kind: u8, bytes: &[u8]) -> Result<Vec<Piece>, BadPiece> {
    cut_to(kind, bytes, PIECE_BYTES_MAX)
}

/// As [`cut`], into pieces with at most `most` bytes of data, which is at most [`PIECE_BYTES_MAX`].
pub(crate) fn cut_to(kind: u8, bytes: &[u8], most: usize) -> Result<Vec<Piece>, BadPiece> {
    let count = bytes.len().div_ceil(most).max(1);
    if count > PIECES_MAX {
        return Err(BadPiece::TooLong { got: bytes.len(), limit: PIECES_MAX * most });
    }
    let size = bytes.len().div_ceil(count);
    let id = id_of(kind, bytes);
    let piece = |index: usize| Piece {
        id,
        index: index as u16,
        count: count as u16,
        kind,
        data: Blob::new(part(bytes, size, index)).expect("a piece is cut to its limit"),
    };
    Ok((0..count).map(piece).collect())
}

fn part(bytes: &[u8], size: usize, index: usize) -> &[u8] {
    &bytes[(index * size).min(bytes.len())..((index + 1) * size).min(bytes.len())]
}

fn id_of(kind: u8, bytes: &[u8]) -> [u8; 16] {
    let digest = digest(Domain::Pieces, &[&[kind], bytes]);
    *digest.as_bytes().first_chunk().expect("16 is less than 32")
}

/// The pieces of one whole that have arrived. Can be stored in between.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembly {
    id: [u8; 16],
    count: u16,
    kind: u8,
    parts: BTreeMap<u16, Blob<PIECE_BYTES_MAX>>,
}

impl Assembly {
    /// Starts with nothing, for the whole that this piece belongs to.
    ///
    /// # Errors
    /// When the numbers of the piece are impossible.
    pub fn new(first: &Piece) -> Result<Self, BadPiece> {
        let Piece { id, index, count, kind, .. } = *first;
        if index >= count || usize::from(count) > PIECES_MAX {
            return Err(BadPiece::Number { index, count });
        }
        Ok(Self { id, count, kind, parts: BTreeMap::new() })
    }

    /// Adds a piece; returns the whole once all are there. The same piece again changes nothing.
    ///
    /// # Errors
    /// When the piece does not belong here; nothing has changed then. When all are there and are not
    /// what their id names: the assembly is worth nothing then.
    pub fn add(&mut self, piece: Piece) -> Result<Option<Vec<u8>>, BadPiece> {
        let Piece { id, index, count, kind, data } = piece;
        if (id, count, kind) != (self.id, self.count, self.kind) {
            return Err(BadPiece::Another);
        }
        if index >= count {
            return Err(BadPiece::Number { index, count });
        }
        if self.parts.get(&index).is_some_and(|there| *there != data) {
            return Err(BadPiece::Conflict { index });
        }
        self.parts.insert(index, data);
        if self.parts.len() < usize::from(count) {
            return Ok(None);
        }
        let whole: Vec<u8> = self.parts.values().flat_map(|part| part.iter().copied()).collect();
        if id_of(kind, &whole) != id {
            return Err(BadPiece::Digest);
        }
        Ok(Some(whole))
    }

    /// Returns what names the whole.
    #[must_use]
    pub const fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// Returns the bytes that have arrived.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.values().map(|part| part.len()).sum()
    }
}

impl Encode for Assembly {
    fn encode(&self, out: &mut Vec<u8>) {
        self.id.encode(out);
        self.count.encode(out);
        self.kind.encode(out);
        (self.parts.len() as u16).encode(out);
        for (index, part) in &self.parts {
            index.encode(out);
            part.encode(out);
        }
    }
}

impl Decode for Assembly {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let invalid = |why| DecodeError::Invalid { field: "Assembly", why };
        let (id, count, kind) = (reader.array()?, u16::decode(reader)?, u8::decode(reader)?);
        let held = u16::decode(reader)?;
        if usize::from(count) > PIECES_MAX || held > count {
            return Err(invalid("there are more pieces than possible"));
        }
        let mut parts = BTreeMap::new();
        for _ in 0..held {
            let index = u16::decode(reader)?;
            let after = parts.last_key_value().is_none_or(|(last, _)| index > *last);
            if !after || index >= count {
                return Err(invalid("the pieces are not in order"));
            }
            parts.insert(index, Blob::decode(reader)?);
        }
        Ok(Self { id, count, kind, parts })
    }
}
