//! Classical `05` ids: an X25519 public key, made from an Ed25519 key.
//!
//! *Provided:* deriving, parsing and validating them, so that a user who types one gets a clear
//! answer; signatures by which the holder of one links it to an account. *Not provided:* sending to
//! them or any security against a quantum computer.

use core::fmt;
use core::str::FromStr;

use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};
use session_core::{Domain, digest};

use crate::account::{LEGACY_PREFIX, TEXT_SIZE};
use crate::dsa::BadSignature;

/// Bytes of an Ed25519 signature.
pub const LEGACY_SIGNATURE_SIZE: usize = 64;

/// The prime of the curve, 2^255 - 19, little-endian.
const PRIME: [u8; 32] = {
    let mut prime = [0xff; 32];
    prime[0] = 0xed;
    prime[31] = 0x7f;
    prime
};

/// The reduced coordinates of points whose order divides 8: they agree on the same secret with
/// everybody, so nobody's key is one of them.
const LOW_ORDER: [[u8; 32]; 5] = [
    [0; 32],
    {
        let mut one = [0; 32];
        one[0] = 1;
        one
    },
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
    {
        let mut minus_one = PRIME;
        minus_one[0] = 0xec;
        minus_one
    },
];

/// Why bytes or a text are not a classical id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseLegacyError {
    /// Another number of characters.
    #[error("a classical id has {TEXT_SIZE} characters, got {got}")]
    Length {
        /// Bytes of the text.
        got: usize,
    },
    /// Another prefix.
    #[error("a classical id begins with 05")]
    Prefix,
    /// Not hex behind the prefix.
    #[error("the 64 characters after 05 are hex digits in a classical id")]
    NotHex,
    /// Not reduced, or of low order.
    #[error("the bytes are not a usable X25519 public key")]
    NotAKey,
    /// The Ed25519 public key is not a point of the curve.
    #[error("the bytes are not an Ed25519 public key")]
    NotAPoint,
}

/// A classical id: a reduced X25519 public key that is not of low order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegacyId([u8; 32]);

impl LegacyId {
    /// Takes the bytes if they are a usable X25519 public key.
    ///
    /// # Errors
    /// When the coordinate is not reduced or the point has a low order.
    pub fn new(key: [u8; 32]) -> Result<Self, ParseLegacyError> {
        let reduced = key.iter().rev().lt(PRIME.iter().rev());
        if !reduced || LOW_ORDER.contains(&key) {
            return Err(ParseLegacyError::NotAKey);
        }
        Ok(Self(key))
    }

    /// Derives the id of an Ed25519 seed.
    #[must_use]
    pub fn from_ed25519_seed(seed: &[u8; 32]) -> Self {
        let public = SigningKey::from_bytes(seed).verifying_key();
        Self(public.to_montgomery().to_bytes())
    }

    /// Derives the id of an Ed25519 public key.
    ///
    /// # Errors
    /// When the bytes are not a point, or one of low order.
    pub fn from_ed25519_public(key: &[u8; 32]) -> Result<Self, ParseLegacyError> {
        let public = VerifyingKey::from_bytes(key).map_err(|_| ParseLegacyError::NotAPoint)?;
        Self::new(public.to_montgomery().to_bytes())
    }

    /// Returns the X25519 public key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for LegacyId {
    type Err = ParseLegacyError;

    fn from_str(text: &str) -> Result<Self, ParseLegacyError> {
        if text.len() != TEXT_SIZE {
            return Err(ParseLegacyError::Length { got: text.len() });
        }
        let digits = text.strip_prefix(LEGACY_PREFIX).ok_or(ParseLegacyError::Prefix)?;
        let mut key = [0; 32];
        hex::decode_to_slice(digits, &mut key).map_err(|_| ParseLegacyError::NotHex)?;
        Self::new(key)
    }
}

impl fmt::Display for LegacyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{LEGACY_PREFIX}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for LegacyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::bytes::debug("LegacyId", &self.0, f)
    }
}

/// The Ed25519 key of a classical account. Cleared on drop, never printed.
pub struct LegacyKey(SigningKey);

impl LegacyKey {
    /// Makes the key of an Ed25519 seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    /// Returns the Ed25519 public key.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// Returns the classical id.
    #[must_use]
    pub fn id(&self) -> LegacyId {
        LegacyId::from_ed25519_seed(self.0.as_bytes())
    }

    /// Signs `digest(domain, [message])`.
    #[must_use]
    pub fn sign(&self, domain: Domain, message: &[u8]) -> [u8; LEGACY_SIGNATURE_SIZE] {
        self.0.sign(digest(domain, &[message]).as_bytes()).to_bytes()
    }
}

impl fmt::Debug for LegacyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LegacyKey")
    }
}

/// Checks what [`LegacyKey::sign`] made, by the strict rules: keys of low order and signatures that
/// were altered without becoming invalid for everybody are refused.
///
/// # Errors
/// When it does not verify.
pub fn verify(
    public: &[u8; 32],
    domain: Domain,
    message: &[u8],
    signature: &[u8; LEGACY_SIGNATURE_SIZE],
) -> Result<(), BadSignature> {
    let key = VerifyingKey::from_bytes(public).map_err(|_| BadSignature)?;
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    key.verify_strict(digest(domain, &[message]).as_bytes(), &signature).map_err(|_| BadSignature)
}
