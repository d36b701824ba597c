//! Sealed envelope, version 1: one message from one identity to one other.
//!
//! *Provided:* secrecy and integrity of the content; the sender's authenticity to the recipient;
//! the sender hidden from everybody else; binding to sender, recipient, KEM ciphertext, version
//! and the caller's context, so that an envelope that was copied into another context,
//! re-addressed, truncated or altered does not open; sizes padded to buckets.
//!
//! *Not provided:* forward secrecy (the recipient's key is long-lived), deniability (the
//! signature convinces third parties to whom the recipient shows it), replay protection (the same
//! envelope opens as often as it is delivered in the same context), or hiding of the recipient
//! from whoever routes it.
//!
//! | field | bytes | |
//! |---|---|---|
//! | version | 1 | 1 |
//! | KEM ciphertext | 1088 | ML-KEM-768, to the recipient |
//! | nonce | 24 | random |
//! | body | to the bucket | XChaCha20-Poly1305, with its 16-byte tag |
//!
//! The body decrypts to:
//!
//! | field | bytes | |
//! |---|---|---|
//! | sender's keys | 3136 | ML-KEM-768 ‖ ML-DSA-65 |
//! | signature | 3309 | ML-DSA-65, over the transcript |
//! | length | 4 | of the content, big-endian |
//! | content | length | |
//! | padding | rest | zeros |
//!
//! - key: `kdf(EnvelopeKey, shared secret, [version, recipient id, KEM ciphertext])`
//! - associated data: version ‖ context
//! - transcript: sender id ‖ recipient id ‖ KEM ciphertext ‖ version ‖ length of the context (4) ‖
//!   context ‖ length of the content (4) ‖ content, signed under `EnvelopeSignature`
//!
//! The sender's id cannot enter the outer key, as it would have to be known before decryption and
//! thus be visible; the signature binds it instead. The transcript has both ids, so a recipient
//! cannot pass the signature on to somebody else inside a new envelope.

use session_core::{Decode as _, DecodeError, Domain, Encode as _, Entropy, Reader};
use zeroize::Zeroizing;

use crate::aead::{self, NONCE_SIZE, TAG_SIZE};
use crate::dsa::{SIGNATURE_SIZE, Signature};
use crate::hash::{SymmetricKey, kdf};
use crate::identity::{Identity, PublicIdentity};
use crate::kem::{KEM_CIPHERTEXT_SIZE, KemCiphertext, SharedSecret};
use crate::signer::{RealVerifier, Signer, Verifier};

/// The version byte.
pub const VERSION: u8 = 1;
/// The largest envelope: the largest item that an inbox stores.
pub const MAX_SEALED: usize = 76_800;
/// The largest content of an envelope.
pub const MAX_CONTENT: usize = MAX_SEALED - OVERHEAD;
/// The longest context.
pub const MAX_CONTEXT: usize = 1024;
/// What sealing adds before padding.
pub const OVERHEAD: usize = OUTER + TAG_SIZE + INNER;

/// Bytes before the body.
const OUTER: usize = 1 + KEM_CIPHERTEXT_SIZE + NONCE_SIZE;
/// Bytes of the body before the content.
const INNER: usize = PublicIdentity::SIZE + SIGNATURE_SIZE + 4;

/// Why an envelope was not made or not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The content does not fit.
    #[error("the content holds {got} bytes, an envelope takes {limit}")]
    ContentTooLong {
        /// Bytes given.
        got: usize,
        /// The longest accepted.
        limit: usize,
    },
    /// The context does not fit.
    #[error("the context holds {got} bytes, an envelope takes {limit}")]
    ContextTooLong {
        /// Bytes given.
        got: usize,
        /// The longest accepted.
        limit: usize,
    },
    /// A version that this program does not know.
    #[error("envelope version {got} is not supported, this program knows {VERSION}")]
    Version {
        /// The version byte.
        got: u8,
    },
    /// Not for this recipient, not for this context, or altered on the way. One error for all.
    #[error("the envelope does not open")]
    NotOpened,
}

/// A message and who sent it.
#[derive(Debug)]
pub struct Opened {
    /// The sender, proven by signature.
    pub sender: PublicIdentity,
    /// The message, cleared on drop.
    pub content: Content,
}

/// Decrypted content: cleared on drop; only its length is printed.
pub struct Content(Zeroizing<Vec<u8>>);

impl Content {
    /// Returns the bytes; from here on they are the caller's to protect.
    #[must_use]
    pub fn into_vec(mut self) -> Vec<u8> {
        core::mem::take(&mut *self.0)
    }
}

impl core::ops::Deref for Content {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl core::fmt::Debug for Content {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Content({} bytes)", self.0.len())
    }
}

/// Returns the size of the envelope of `content` bytes, if there is one.
///
/// Buckets grow with the size, so that padding stays below an eighth beyond 16 KiB: steps of
/// 512 bytes up to 16 KiB, of 2 KiB up to 32 KiB, of 4 KiB up to 64 KiB, then 72 KiB and 75 KiB.
#[must_use]
pub const fn sealed_size(content: usize) -> Option<usize> {
    if content > MAX_CONTENT {
        return None;
    }
    let needed = OVERHEAD + content;
    let step = match needed {
        0..=16_384 => 512,
        16_385..=32_768 => 2_048,
        32_769..=65_536 => 4_096,
        _ => 8_192,
    };
    let bucket = needed.next_multiple_of(step);
    Some(if bucket < MAX_SEALED { bucket } else { MAX_SEALED })
}

/// Signs the content as `sender` and encrypts it to `recipient`.
///
/// # Errors
/// When the content or the context is too long.
pub fn seal(
    sender: &dyn Signer,
    recipient: &PublicIdentity,
    context: &[u8],
    content: &[u8],
    rng: &mut dyn Entropy,
) -> Result<Vec<u8>, EnvelopeError> {
    check_context(context)?;
    let size = sealed_size(content.len())
        .ok_or(EnvelopeError::ContentTooLong { got: content.len(), limit: MAX_CONTENT })?;
    let (ciphertext, secret) = sender.encapsulate(recipient.kem(), rng);
    let transcript = transcript(sender.public(), recipient, &ciphertext, context, content);
    let signature = sender.sign(Domain::EnvelopeSignature, &transcript, rng);

    let body_size = size - OUTER - TAG_SIZE;
    let mut body = Zeroizing::new(Vec::with_capacity(body_size));
    sender.public().encode(&mut body);
    signature.encode(&mut body);
    length(content).encode(&mut body);
    body.extend_from_slice(content);
    body.resize(body_size, 0);

    let mut nonce = [0; NONCE_SIZE];
    rng.fill(&mut nonce);
    let key = content_key(&secret, recipient, &ciphertext);
    let mut out = Vec::with_capacity(size);
    VERSION.encode(&mut out);
    ciphertext.encode(&mut out);
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&aead::seal(&key, &nonce, &associated_data(context), &body));
    Ok(out)
}

/// Opens an envelope for `recipient` and proves its sender.
///
/// # Errors
/// When the version is unknown, or the envelope is not for this recipient and context, unaltered.
pub fn open(recipient: &Identity, context: &[u8], bytes: &[u8]) -> Result<Opened, EnvelopeError> {
    open_with(recipient, &RealVerifier, context, bytes)
}

/// As [`open`], with any signer and verifier: the simulator's, or a verifier with a cache.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    recipient: &dyn Signer,
    verifier: &dyn Verifier,
    context: &[u8],
    bytes: &[u8],
) -> Result<Opened, EnvelopeError> {
    check_context(context)?;
    match bytes.first() {
        Some(&VERSION) => {}
        Some(&got) => return Err(EnvelopeError::Version { got }),
        None => return Err(EnvelopeError::NotOpened),
    }
    let outer = Outer::split(&bytes[1..]).map_err(|_| EnvelopeError::NotOpened)?;
    let secret = recipient.decapsulate(&outer.ciphertext);
    let key = content_key(&secret, recipient.public(), &outer.ciphertext);
    let body = aead::open(&key, &outer.nonce, &associated_data(context), outer.sealed)
        .map(Zeroizing::new)
        .map_err(|_| EnvelopeError::NotOpened)?;
    let inner = Inner::split(&body).map_err(|_| EnvelopeError::NotOpened)?;
    // Padding is checked too: an envelope has one form.
    if sealed_size(inner.content.len()) != Some(bytes.len())
        || inner.padding.iter().any(|b| *b != 0)
    {
        return Err(EnvelopeError::NotOpened);
    }
    let transcript =
        transcript(&inner.sender, recipient.public(), &outer.ciphertext, context, inner.content);
    verifier
        .verify(inner.sender.dsa(), Domain::EnvelopeSignature, &transcript, &inner.signature)
        .map_err(|_| EnvelopeError::NotOpened)?;
    Ok(Opened { content: Content(Zeroizing::new(inner.content.to_vec())), sender: inner.sender })
}

const fn check_context(context: &[u8]) -> Result<(), EnvelopeError> {
    if context.len() > MAX_CONTEXT {
        return Err(EnvelopeError::ContextTooLong { got: context.len(), limit: MAX_CONTEXT });
    }
    Ok(())
}

struct Outer<'a> {
    ciphertext: KemCiphertext,
    nonce: [u8; NONCE_SIZE],
    sealed: &'a [u8],
}

impl<'a> Outer<'a> {
    fn split(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        Ok(Self {
            ciphertext: KemCiphertext::decode(&mut reader)?,
            nonce: reader.array()?,
            sealed: reader.take(reader.left())?,
        })
    }
}

struct Inner<'a> {
    sender: PublicIdentity,
    signature: Signature,
    content: &'a [u8],
    padding: &'a [u8],
}

impl<'a> Inner<'a> {
    fn split(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let sender = PublicIdentity::decode(&mut reader)?;
        let signature = Signature::decode(&mut reader)?;
        let length = reader.length("content", MAX_CONTENT)?;
        let content = reader.take(length)?;
        let padding = reader.take(reader.left())?;
        Ok(Self { sender, signature, content, padding })
    }
}

fn content_key(
    secret: &SharedSecret,
    recipient: &PublicIdentity,
    ciphertext: &KemCiphertext,
) -> SymmetricKey {
    let recipient = recipient.account_id();
    let parts = [&[VERSION][..], recipient.as_ref(), ciphertext.as_ref()];
    kdf(Domain::EnvelopeKey, secret.expose(), &parts)
}

fn associated_data(context: &[u8]) -> Vec<u8> {
    [&[VERSION], context].concat()
}

fn transcript(
    sender: &PublicIdentity,
    recipient: &PublicIdentity,
    ciphertext: &KemCiphertext,
    context: &[u8],
    content: &[u8],
) -> Zeroizing<Vec<u8>> {
    let fixed = 32 + 32 + KEM_CIPHERTEXT_SIZE + 1 + 4 + 4;
    let mut out = Zeroizing::new(Vec::with_capacity(fixed + context.len() + content.len()));
    sender.account_id().encode(&mut out);
    recipient.account_id().encode(&mut out);
    ciphertext.encode(&mut out);
    VERSION.encode(&mut out);
    length(context).encode(&mut out);
    out.extend_from_slice(context);
    length(content).encode(&mut out);
    out.extend_from_slice(content);
    out
}

fn length(part: &[u8]) -> u32 {
    u32::try_from(part.len()).expect("checked against limits far below 4 GiB")
}

#[cfg(test)]
mod tests;
