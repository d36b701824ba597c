//! XChaCha20-Poly1305: encryption that detects every change.
//!
//! *Provided:* secrecy and integrity of the content, integrity of the associated data; a random
//! 24-byte nonce never repeats in practice. *Not provided:* key commitment (a ciphertext can be
//! made that opens under two keys), padding, replay protection.

use chacha20::XChaCha20;
use chacha20::cipher::{KeyIvInit as _, StreamCipher as _, StreamCipherSeek as _};
use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};

use crate::SymmetricKey;

/// Bytes of a nonce.
pub const NONCE_SIZE: usize = 24;
/// Bytes of an authentication tag.
pub const TAG_SIZE: usize = 16;

/// Bytes of the key stream that go into the authentication code, before those that encrypt.
const AUTHENTICATION_BLOCK: usize = 64;

/// The ciphertext, its associated data, nonce or key was altered, or is another's. One error for
/// all of them: which one it was is nobody's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext does not open")]
pub struct NotOpened;

/// Encrypts and appends the tag.
///
/// # Security
/// A nonce must never be used twice with one key.
#[must_use]
pub fn seal(key: &SymmetricKey, nonce: &[u8; NONCE_SIZE], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    XChaCha20Poly1305::new(key.expose().into())
        .encrypt(XNonce::from_slice(nonce), Payload { msg: plain, aad })
        .expect("a message in memory is below the 256 GiB limit of the cipher")
}

/// Decrypts a ciphertext that ends with its tag.
///
/// # Errors
/// When anything differs from what was sealed.
pub fn open(
    key: &SymmetricKey,
    nonce: &[u8; NONCE_SIZE],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, NotOpened> {
    XChaCha20Poly1305::new(key.expose().into())
        .decrypt(XNonce::from_slice(nonce), Payload { msg: sealed, aad })
        .map_err(|_| NotOpened)
}

/// Exchanges bytes for what [`seal`] makes of them at `offset` of a message, and back: the cipher
/// alone, XChaCha20.
///
/// # Security
/// Nothing is authenticated: whoever changes a bit of the ciphertext changes the same bit of the
/// content. A key and nonce must never serve for two messages.
pub fn apply_keystream(
    key: &SymmetricKey,
    nonce: &[u8; NONCE_SIZE],
    offset: usize,
    bytes: &mut [u8],
) {
    let mut cipher = XChaCha20::new(key.expose().into(), nonce.into());
    cipher.seek(AUTHENTICATION_BLOCK.saturating_add(offset));
    cipher.apply_keystream(bytes);
}

#[cfg(test)]
mod tests;
