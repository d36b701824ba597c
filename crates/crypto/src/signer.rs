//! The two doors through which the rest of the system signs and verifies, so that a simulation
//! can put something cheaper behind them.

use session_core::{Domain, Entropy, digest};

use crate::dsa::{BadSignature, DsaPublicKey, Signature};
use crate::hash::{SymmetricKey, kdf};
use crate::identity::{Identity, PublicIdentity};
use crate::kem::{KemCiphertext, KemPublicKey, SharedSecret};

/// The FIPS 204 context of every signature of ours. What distinguishes them is the [`Domain`].
pub const SIGNATURE_CONTEXT: &[u8] = b"lux-session/v1";

/// Somebody who holds the secret keys of an identity.
pub trait Signer: Send + Sync {
    /// Returns the public half.
    fn public(&self) -> &PublicIdentity;

    /// Signs `digest(domain, [message])` under [`SIGNATURE_CONTEXT`].
    fn sign(&self, domain: Domain, message: &[u8], rng: &mut dyn Entropy) -> Signature;

    /// Makes a secret for the holder of `to`.
    fn encapsulate(
        &self,
        to: &KemPublicKey,
        rng: &mut dyn Entropy,
    ) -> (KemCiphertext, SharedSecret);

    /// Opens a secret that was made for this identity; garbage gives an unrelated secret.
    fn decapsulate(&self, ciphertext: &KemCiphertext) -> SharedSecret;

    /// Derives a secret that only the holder of the secret keys can know, always the same for a
    /// purpose.
    fn derive(&self, domain: Domain, purpose: &[u8]) -> SymmetricKey;
}

/// Somebody who checks what a [`Signer`] signed.
pub trait Verifier: Send + Sync {
    /// Checks a signature over `digest(domain, [message])` under [`SIGNATURE_CONTEXT`].
    ///
    /// # Errors
    /// When it does not verify.
    fn verify(
        &self,
        key: &DsaPublicKey,
        domain: Domain,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature>;
}

/// Checks ML-DSA-65 signatures.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealVerifier;

impl Verifier for RealVerifier {
    fn verify(
        &self,
        key: &DsaPublicKey,
        domain: Domain,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        key.verify(SIGNATURE_CONTEXT, digest(domain, &[message]).as_bytes(), signature)
    }
}

impl Signer for Identity {
    fn public(&self) -> &PublicIdentity {
        Self::public(self)
    }

    fn sign(&self, domain: Domain, message: &[u8], rng: &mut dyn Entropy) -> Signature {
        self.dsa_secret()
            .sign(SIGNATURE_CONTEXT, digest(domain, &[message]).as_bytes(), rng)
            .expect("the context is a short constant")
    }

    fn encapsulate(
        &self,
        to: &KemPublicKey,
        rng: &mut dyn Entropy,
    ) -> (KemCiphertext, SharedSecret) {
        to.encapsulate(rng)
    }

    fn decapsulate(&self, ciphertext: &KemCiphertext) -> SharedSecret {
        Self::decapsulate(self, ciphertext)
    }

    fn derive(&self, domain: Domain, purpose: &[u8]) -> SymmetricKey {
        kdf(domain, self.dsa_secret().expose(), &[purpose])
    }
}
