//! Introductions: what is said to an account before there is a conversation.
//!
//! | field | bytes | |
//! |---|---|---|
//! | version | 1 | 1 |
//! | ciphertext | 1120 | X-Wing, to the intro key of the account |
//! | nonce | 24 | random |
//! | body | to the end | XChaCha20-Poly1305 of a [`Piece`], 0x80 and zeros, the code last |
//!
//! An item has 32 or 64 KiB. What does not fit into one goes in pieces, all under the one ciphertext.
//!
//! *Provided:* secrecy and integrity, unless ML-KEM-768 and X25519 both fall; the sender hidden from
//! those who keep the item; bound to the intro key and the mailbox. *Not provided:* who made it: that
//! follows from what is inside, once the signatures there are checked; forward secrecy before the
//! intro key is erased (what a Welcome carries has its own); protection from replay.

use session_core::{
    AccountId, Blob, Decode as _, DecodeError, Domain, Encode as _, Entropy, InboxAddress, List,
    Time, choice, record,
};
use session_crypto::aead::{self, NONCE_SIZE, TAG_SIZE};
use session_crypto::xwing::{XWING_CIPHERTEXT_SIZE, XWingCiphertext, XWingPublicKey, XWingSecret};
use session_crypto::{InvalidKey, Signature, SymmetricKey, kdf};
use session_protocol::manifest::{IntroRoute, SignedManifest};
use session_protocol::request::ItemBytes;

use crate::boxes::{self, BadPiece, PIECE_HEAD, Piece};
use crate::say::{DeviceId, GroupId, SAID_BYTES_MAX};
use crate::secret::Secret;

/// The version byte of items.
pub const VERSION: u8 = 1;

/// The sizes of items.
pub const SIZES: [usize; 2] = [32 << 10, 64 << 10];

/// What an item adds to a piece before padding.
pub const OVERHEAD: usize = HEAD + TAG_SIZE + 1;

const HEAD: usize = 1 + XWING_CIPHERTEXT_SIZE + NONCE_SIZE;

/// Most data of a piece.
const PIECE_BYTES_MAX: usize = SIZES[1] - OVERHEAD - PIECE_HEAD;

/// The kind of pieces that make an introduction.
const KIND: u8 = 1;

/// Most messages from before that are shown to those who join.
pub const HISTORY_MAX: usize = 100;

record! {
    /// A message from before, shown to somebody who joins. That its author said so is only the word of
    /// whoever shows it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Past {
        /// Who said it.
        pub author: AccountId,
        /// What: a [`Said`](crate::say::Said).
        pub said: Blob<SAID_BYTES_MAX>,
    }

    /// An introduction.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Intro {
        /// The version of this record: 1.
        pub version: u16,
        /// Who writes. To be checked.
        pub sender: SignedManifest,
        /// On which device.
        pub device: DeviceId,
        /// What about.
        pub body: IntroBody,
    }
}

choice! {
    /// What an introduction is about.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum IntroBody {
        /// The receiving device is a member of a group from now on.
        1 => Welcome {
            /// The group.
            group: GroupId,
            /// The epoch in which it begins.
            epoch: u64,
            /// From what the mailboxes derive: [`crate::mailbox`].
            route: Secret,
            /// The Welcome of MLS.
            welcome: Blob<{ 1 << 18 }>,
            /// The ratchet tree of that epoch.
            tree: Blob<{ 4 << 20 }>,
            /// What was said before.
            history: List<Past, HISTORY_MAX>,
        },
        /// The device has lost its state and asks to be removed and added again.
        2 => Rejoin {
            /// The group.
            group: GroupId,
            /// When it asks.
            at: Time,
            /// A fresh key package of the device.
            key_package: Blob<{ 1 << 14 }>,
            /// By the device, over [`rejoin_statement`], under [`Domain::Rejoin`].
            signature: Signature,
        },
        /// An account tells a new device what it needs, or the device asks for it.
        3 => Link {
            /// See [`crate::account`].
            payload: Blob<{ 1 << 16 }>,
        },
    }
}

/// Why an introduction is not made, or not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IntroError {
    /// The intro key of the account is none.
    #[error("the intro key of the account: {0}")]
    Key(#[from] InvalidKey),
    /// Too long, or the piece inside is not possible.
    #[error("the introduction: {0}")]
    Piece(#[from] BadPiece),
    /// Another version, or not the size of an introduction.
    #[error("not an introduction")]
    NotAnIntro,
    /// Altered, moved, or for another key.
    #[error("the introduction does not open")]
    NotOpened,
    /// Its sender did not follow the format.
    #[error("the introduction is malformed: {0}")]
    Malformed(#[from] DecodeError),
}

/// Returns what a device signs to be added again: to nobody else than `to`, and not for ever.
#[must_use]
pub fn rejoin_statement(group: &GroupId, to: &AccountId, at: Time, key_package: &[u8]) -> Vec<u8> {
    let mut statement = group.to_bytes();
    to.encode(&mut statement);
    at.encode(&mut statement);
    statement.extend_from_slice(key_package);
    statement
}

/// Seals an introduction for the account that has this route: one item, or more if it is large.
///
/// # Errors
/// When the account's key is none, or the introduction is too long for
/// [`PIECES_MAX`](boxes::PIECES_MAX) items.
pub fn seal(
    intro: &Intro,
    to: &IntroRoute,
    rng: &mut dyn Entropy,
) -> Result<Vec<ItemBytes>, IntroError> {
    let public = XWingPublicKey::try_from(&to.key[..])?;
    let address = to.rule.address();
    let pieces = boxes::cut_to(KIND, &intro.to_bytes(), PIECE_BYTES_MAX)?;
    let (ciphertext, secret) = public.encapsulate(rng);
    let key = content_key(secret.expose(), &ciphertext, &public, &address);
    let head = head(&ciphertext);
    Ok(pieces.iter().map(|piece| seal_piece(&key, &head, &address, piece, rng)).collect())
}

fn seal_piece(
    key: &SymmetricKey,
    head: &[u8],
    address: &InboxAddress,
    piece: &Piece,
    rng: &mut dyn Entropy,
) -> ItemBytes {
    let content = piece.to_bytes();
    let size = if content.len() + OVERHEAD <= SIZES[0] { SIZES[0] } else { SIZES[1] };
    let mut nonce = [0; NONCE_SIZE];
    rng.fill(&mut nonce);
    let padded = boxes::pad(&content, size - HEAD - TAG_SIZE);
    let mut item = Vec::with_capacity(size);
    item.extend_from_slice(head);
    item.extend_from_slice(&nonce);
    item.extend(aead::seal(key, &nonce, &data(head, address), &padded));
    ItemBytes::new(item).expect("64 KiB are below the limit of an item")
}

/// Opens an item of the intro mailbox at `address`. What it holds is put together by a
/// [`boxes::Assembly`], and then given to [`read`].
///
/// # Errors
/// When it is not an introduction, not for this key and mailbox, or altered.
pub fn open(
    secret: &XWingSecret,
    address: &InboxAddress,
    item: &[u8],
) -> Result<Piece, IntroError> {
    if !SIZES.contains(&item.len()) || item[0] != VERSION {
        return Err(IntroError::NotAnIntro);
    }
    let (head, rest) = item.split_at(1 + XWING_CIPHERTEXT_SIZE);
    let (nonce, body) = rest.split_first_chunk().ok_or(IntroError::NotAnIntro)?;
    let ciphertext = XWingCiphertext::try_from(&head[1..])?;
    let shared = secret.decapsulate(&ciphertext);
    let key = content_key(shared.expose(), &ciphertext, &secret.public(), address);
    let plain =
        aead::open(&key, nonce, &data(head, address), body).map_err(|_| IntroError::NotOpened)?;
    let malformed = |why| IntroError::Malformed(DecodeError::Invalid { field: "Intro", why });
    let content = boxes::unpad(plain).ok_or_else(|| malformed("its padding is wrong"))?;
    let piece = Piece::decode_exact(&content)?;
    if piece.kind != KIND {
        return Err(malformed("its pieces are of another kind"));
    }
    Ok(piece)
}

/// Reads what the pieces of an introduction make. Nothing in it is checked but its form.
///
/// # Errors
/// When it is not an introduction of version 1.
pub fn read(bytes: &[u8]) -> Result<Intro, IntroError> {
    let intro = Intro::decode_exact(bytes)?;
    if intro.version != 1 {
        let why = "the version is not 1";
        return Err(DecodeError::Invalid { field: "Intro", why }.into());
    }
    Ok(intro)
}

fn content_key(
    shared: &[u8; 32],
    ciphertext: &XWingCiphertext,
    public: &XWingPublicKey,
    address: &InboxAddress,
) -> SymmetricKey {
    let parts = [ciphertext.as_ref(), public.as_ref(), address.as_ref()];
    kdf(Domain::IntroKey, shared, &parts)
}

fn head(ciphertext: &XWingCiphertext) -> Vec<u8> {
    let mut head = vec![VERSION];
    head.extend_from_slice(ciphertext.as_ref());
    head
}

fn data(head: &[u8], address: &InboxAddress) -> Vec<u8> {
    [head, address.as_ref()].concat()
}

#[cfg(test)]
mod tests;
