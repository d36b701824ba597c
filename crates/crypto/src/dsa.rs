//! ML-DSA-65 (FIPS 204): signatures.
//!
//! *Provided:* who signed, under a context of up to 255 bytes. Signing is hedged: it mixes fresh
//! entropy into the nonce and stays safe when the entropy is bad.
//! *Not provided:* hash-then-sign (HashML-DSA), or anything about when something was signed.

use core::fmt;

use libcrux_ml_dsa::ml_dsa_65::{
    self, MLDSA65Signature, MLDSA65SigningKey, MLDSA65VerificationKey,
};
use session_core::Entropy;
use zeroize::{Zeroize as _, Zeroizing};

use crate::InvalidKey;
use crate::bytes::{public_bytes, sized};

/// Bytes of a verification (public) key.
pub const DSA_PUBLIC_KEY_SIZE: usize = 1952;
/// Bytes of a signing (secret) key in the expanded form of FIPS 204.
pub const DSA_SECRET_KEY_SIZE: usize = 4032;
/// Bytes of a signature.
pub const SIGNATURE_SIZE: usize = 3309;
/// Bytes of the seed from which FIPS 204 generates a key pair.
pub const DSA_SEED_SIZE: usize = 32;
/// The longest FIPS 204 context.
pub const CONTEXT_MAX: usize = 255;

/// Bytes of the matrix seed, which both halves of a key pair begin with.
const MATRIX_SEED: usize = 32;
/// Where the 11 secret polynomials lie: behind two 32-byte seeds and a 64-byte hash, 128 bytes
/// each, two coefficients to the byte.
const SECRET_VECTORS: core::ops::Range<usize> = 128..128 + 11 * 128;
/// Signatures made to check an imported key: about 2 ms, once per start.
const PROBES: u8 = 16;
/// Keeps the probes' signatures from meaning anything elsewhere.
const PROBE_CONTEXT: &[u8] = b"lux-session/key-check/v1";
/// A coefficient is stored as 4 minus itself and is within ±4.
const COEFFICIENT_MAX: u8 = 8;

public_bytes! {
    /// An ML-DSA-65 verification key. Any bytes are one; only some have a signer.
    DsaPublicKey[DSA_PUBLIC_KEY_SIZE],
    /// An ML-DSA-65 signature.
    Signature[SIGNATURE_SIZE],
}

/// The signature does not belong to this key, context and message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// The FIPS 204 context is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature context holds {got} bytes, the limit is {CONTEXT_MAX}")]
pub struct ContextTooLong {
    /// Bytes given.
    pub got: usize,
}

impl DsaPublicKey {
    /// Checks a signature over `message` under a FIPS 204 `context`.
    ///
    /// # Errors
    /// When it does not verify, or the context is longer than any signer could use.
    pub fn verify(
        &self,
        context: &[u8],
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        let key = MLDSA65VerificationKey::new(*self.as_bytes());
        let signature = MLDSA65Signature::new(*signature.as_bytes());
        ml_dsa_65::verify(&key, message, context, &signature).map_err(|_| BadSignature)
    }
}

/// An ML-DSA-65 signing key in its FIPS form. Cleared on drop, never printed.
pub struct DsaSecretKey(Box<MLDSA65SigningKey>);

impl DsaSecretKey {
    /// The length in bytes.
    pub const SIZE: usize = DSA_SECRET_KEY_SIZE;

    /// Generates the key pair of a FIPS 204 seed.
    #[must_use]
    pub fn from_seed(seed: &[u8; DSA_SEED_SIZE]) -> (Self, DsaPublicKey) {
        let mut pair = ml_dsa_65::generate_key_pair(*seed);
        let secret = Self(Box::new(pair.signing_key.clone()));
        pair.signing_key.as_mut_slice().zeroize();
        (secret, DsaPublicKey::from(*pair.verification_key.as_ref()))
    }

    /// Takes the bytes if every secret coefficient is in range.
    ///
    /// Whether the key belongs to a public key is seen in [`crate::Identity::from_parts`].
    ///
    /// # Errors
    /// When a coefficient is out of range: signing with such a key could leak it.
    pub fn new(bytes: &[u8; DSA_SECRET_KEY_SIZE]) -> Result<Self, InvalidKey> {
        let out_of_range = bytes[SECRET_VECTORS].iter().fold(false, |bad, pair| {
            bad | (pair & 0x0f > COEFFICIENT_MAX) | (pair >> 4 > COEFFICIENT_MAX)
        });
        if out_of_range {
            return Err(InvalidKey::Malformed {
                field: "DsaSecretKey",
                why: "a secret coefficient is out of range",
            });
        }
        Ok(Self(Box::new(MLDSA65SigningKey::new(*bytes))))
    }

    /// Returns the secret bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; DSA_SECRET_KEY_SIZE] {
        (*self.0).as_ref()
    }

    /// Signs with fresh entropy mixed in.
    ///
    /// # Errors
    /// When the context is longer than [`CONTEXT_MAX`].
    pub fn sign(
        &self,
        context: &[u8],
        message: &[u8],
        rng: &mut dyn Entropy,
    ) -> Result<Signature, ContextTooLong> {
        self.sign_with(context, message, rng.bytes32())
    }

    /// Signs deterministically: the same key, context and message give the same signature.
    ///
    /// # Errors
    /// When the context is longer than [`CONTEXT_MAX`].
    pub fn sign_deterministic(
        &self,
        context: &[u8],
        message: &[u8],
    ) -> Result<Signature, ContextTooLong> {
        self.sign_with(context, message, [0; 32])
    }

    fn sign_with(
        &self,
        context: &[u8],
        message: &[u8],
        randomness: [u8; 32],
    ) -> Result<Signature, ContextTooLong> {
        if context.len() > CONTEXT_MAX {
            return Err(ContextTooLong { got: context.len() });
        }
        // With coefficients in range an attempt succeeds with probability 1/5; the library makes
        // 814 of them, so giving up has a probability below 2^-250.
        let signature = ml_dsa_65::sign(&self.0, message, context, randomness)
            .expect("the context is short enough and the key's coefficients are in range");
        Ok(Signature::from(*signature.as_ref()))
    }

    /// Checks that signatures of this key verify under `public`.
    ///
    /// An error in the matrix seed, the hash or s1 spoils every signature. One in a coefficient of
    /// s2 or t0 spoils few of them or none, because rounding absorbs it: it is found with a
    /// probability only.
    pub(crate) fn check_public(&self, public: &DsaPublicKey) -> Result<(), InvalidKey> {
        let mismatch = InvalidKey::Mismatch { field: "DsaSecretKey", other: "the DsaPublicKey" };
        if self.expose()[..MATRIX_SEED] != public.as_bytes()[..MATRIX_SEED] {
            return Err(mismatch);
        }
        for probe in 0..PROBES {
            // The key may be foreign, so the library's refusal is an answer and not our bug.
            let signature =
                ml_dsa_65::sign(&self.0, &[probe], PROBE_CONTEXT, [0; 32]).map_err(|_| mismatch)?;
            public
                .verify(PROBE_CONTEXT, &[probe], &Signature::from(*signature.as_ref()))
                .map_err(|_| mismatch)?;
        }
        Ok(())
    }
}

impl TryFrom<&[u8]> for DsaSecretKey {
    type Error = InvalidKey;
    fn try_from(bytes: &[u8]) -> Result<Self, InvalidKey> {
        Self::new(&Zeroizing::new(sized("DsaSecretKey", bytes)?))
    }
}

impl Drop for DsaSecretKey {
    fn drop(&mut self) {
        self.0.as_mut_slice().zeroize();
    }
}

impl fmt::Debug for DsaSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DsaSecretKey")
    }
}
