//! Boxes: the items of a conversation, of seven sizes, that tell nothing to those who keep them.
//!
//! | field | bytes | |
//! |---|---|---|
//! | version | 1 | 1 |
//! | tag | 16 | finds the key; looks random |
//! | nonce | 24 | random |
//! | body | to the end | XChaCha20-Poly1305 of what is said, 0x80 and zeros, the code last |
//!
//! *Provided:* secrecy and integrity under a key that the members share, bound to mailbox, group and
//! epoch; sizes padded to [`BUCKETS`]. *Not provided:* who made a box, or that it is a new one: see
//! [`chain`](crate::chain) and [`mls`](crate::mls).

use session_core::{Domain, Encode, Entropy, InboxAddress};
use session_crypto::aead::{self, NONCE_SIZE, TAG_SIZE};
use session_crypto::{SymmetricKey, equal, kdf};
use session_protocol::request::ItemBytes;

use crate::say::GroupId;

mod piece;

pub use piece::{Assembly, BadPiece, PIECE_BYTES_MAX, PIECES_MAX, Piece, WHOLE_BYTES_MAX, cut};
pub(crate) use piece::{PIECE_HEAD, cut_to};

/// The version byte of boxes.
pub const VERSION: u8 = 1;

/// The sizes of whole boxes.
pub const BUCKETS: [usize; 7] = [1 << 10, 2 << 10, 4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];

/// What a box adds to its content before padding: version, tag, nonce, code, and the mark behind the
/// content.
pub const OVERHEAD: usize = HEAD + TAG_SIZE + 1;

/// Longest content of a box.
pub const CONTENT_BYTES_MAX: usize = BUCKETS[BUCKETS.len() - 1] - OVERHEAD;

const HEAD: usize = 1 + Tag::SIZE + NONCE_SIZE;

/// What ends the content; zeros follow.
const END: u8 = 0x80;

/// Why a box is not made, or not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BoxError {
    /// More than the largest box holds.
    #[error("the content holds {got} bytes, a box holds {limit}")]
    TooLong {
        /// Bytes given.
        got: usize,
        /// The most.
        limit: usize,
    },
    /// Another version, or not the size of a box.
    #[error("not a box")]
    NotABox,
    /// Altered, moved, or not for this key.
    #[error("the box does not open")]
    NotOpened,
    /// The padding is not as it must be: its sender made it so.
    #[error("the padding of the box is wrong")]
    Padding,
}

/// By what a key is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag(pub [u8; 16]);

impl Tag {
    /// Bytes of a tag.
    pub const SIZE: usize = 16;

    /// Keeps the beginning of a derived key or code.
    #[must_use]
    pub fn of(bytes: &[u8; 32]) -> Self {
        Self(*bytes.first_chunk().expect("16 is less than 32"))
    }
}

/// Where a box belongs: it opens nowhere else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The mailbox.
    pub address: InboxAddress,
    /// The group.
    pub group: GroupId,
    /// The epoch whose keys are used.
    pub epoch: u64,
}

/// A box taken apart, not opened.
#[derive(Clone, Copy, Debug)]
pub struct Sealed<'a> {
    /// By what its key is found.
    pub tag: Tag,
    nonce: &'a [u8; NONCE_SIZE],
    body: &'a [u8],
}

/// Takes an item apart.
///
/// # Errors
/// When it has not the version or the size of a box.
pub fn parse(item: &[u8]) -> Result<Sealed<'_>, BoxError> {
    if !BUCKETS.contains(&item.len()) || item[0] != VERSION {
        return Err(BoxError::NotABox);
    }
    let rest = &item[1..];
    let (tag, rest) = rest.split_first_chunk::<{ Tag::SIZE }>().ok_or(BoxError::NotABox)?;
    let (nonce, body) = rest.split_first_chunk::<NONCE_SIZE>().ok_or(BoxError::NotABox)?;
    Ok(Sealed { tag: Tag(*tag), nonce, body })
}

/// Seals under the header key of an epoch: handshakes, signed messages and their pieces.
///
/// # Errors
/// When the content is longer than [`CONTENT_BYTES_MAX`].
pub fn seal_header(
    key: &SymmetricKey,
    place: &Place,
    content: &[u8],
    rng: &mut dyn Entropy,
) -> Result<ItemBytes, BoxError> {
    let nonce = draw_nonce(rng);
    seal(key, header_tag(key, &nonce), nonce, &header_data(place), content)
}

/// Tells whether a box was sealed under this header key, at the cost of one short hash.
#[must_use]
pub fn is_header(key: &SymmetricKey, sealed: &Sealed<'_>) -> bool {
    equal(&header_tag(key, sealed.nonce).0, &sealed.tag.0)
}

/// Opens what [`seal_header`] sealed.
///
/// # Errors
/// When it is not a box, not of this key or place, or altered.
pub fn open_header(key: &SymmetricKey, place: &Place, item: &[u8]) -> Result<Vec<u8>, BoxError> {
    let sealed = parse(item)?;
    if !is_header(key, &sealed) {
        return Err(BoxError::NotOpened);
    }
    open(key, &header_data(place), &sealed)
}

/// Seals content under a key that is used for nothing else.
pub(crate) fn seal_once(
    key: &SymmetricKey,
    tag: Tag,
    data: &[u8],
    content: &[u8],
    rng: &mut dyn Entropy,
) -> Result<ItemBytes, BoxError> {
    seal(key, tag, draw_nonce(rng), data, content)
}

fn seal(
    key: &SymmetricKey,
    tag: Tag,
    nonce: [u8; NONCE_SIZE],
    data: &[u8],
    content: &[u8],
) -> Result<ItemBytes, BoxError> {
    let size = BUCKETS.into_iter().find(|bucket| content.len() + OVERHEAD <= *bucket);
    let size = size.ok_or(BoxError::TooLong { got: content.len(), limit: CONTENT_BYTES_MAX })?;
    let mut item = Vec::with_capacity(size);
    item.push(VERSION);
    item.extend_from_slice(&tag.0);
    item.extend_from_slice(&nonce);
    let padded = pad(content, size - HEAD - TAG_SIZE);
    item.extend(aead::seal(key, &nonce, data, &padded));
    Ok(ItemBytes::new(item).expect("the largest box is below the limit of an item"))
}

/// Opens a box that was taken apart.
pub(crate) fn open(
    key: &SymmetricKey,
    data: &[u8],
    sealed: &Sealed<'_>,
) -> Result<Vec<u8>, BoxError> {
    let plain =
        aead::open(key, sealed.nonce, data, sealed.body).map_err(|_| BoxError::NotOpened)?;
    unpad(plain).ok_or(BoxError::Padding)
}

/// Appends the mark and zeros, up to `size`, which is more than the content.
pub(crate) fn pad(content: &[u8], size: usize) -> zeroize::Zeroizing<Vec<u8>> {
    debug_assert!(content.len() < size);
    let mut padded = Vec::with_capacity(size);
    padded.extend_from_slice(content);
    padded.push(END);
    padded.resize(size, 0);
    padded.into()
}

/// Takes the mark and the zeros off.
pub(crate) fn unpad(mut padded: Vec<u8>) -> Option<Vec<u8>> {
    let end = padded.iter().rposition(|byte| *byte != 0)?;
    if padded[end] != END {
        return None;
    }
    padded.truncate(end);
    Some(padded)
}

fn draw_nonce(rng: &mut dyn Entropy) -> [u8; NONCE_SIZE] {
    let mut nonce = [0; NONCE_SIZE];
    rng.fill(&mut nonce);
    nonce
}

fn header_tag(key: &SymmetricKey, nonce: &[u8; NONCE_SIZE]) -> Tag {
    Tag::of(kdf(Domain::HeaderTag, key.expose(), &[nonce]).expose())
}

fn header_data(place: &Place) -> Vec<u8> {
    let mut data = vec![VERSION];
    place.encode_into(&mut data);
    data
}

impl Place {
    /// Appends address, group and epoch.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        self.address.encode(out);
        self.group.encode(out);
        self.epoch.encode(out);
    }
}

#[cfg(test)]
mod tests;
