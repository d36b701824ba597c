//! Identities for the simulator: true sizes, no cost, **no security at all**.
//!
//! Whoever knows a public key can sign and decapsulate for it. Honest code cannot tell the
//! difference: a signature verifies for its key, domain and message only.

use session_core::{Domain, Entropy, digest};

use crate::dsa::{BadSignature, DSA_PUBLIC_KEY_SIZE, DsaPublicKey, SIGNATURE_SIZE, Signature};
use crate::hash::{SymmetricKey, kdf};
use crate::identity::PublicIdentity;
use crate::kem::{
    KEM_CIPHERTEXT_SIZE, KEM_PUBLIC_KEY_SIZE, KemCiphertext, KemPublicKey, SharedSecret,
};
use crate::signer::{Signer, Verifier};

/// An identity whose keys do nothing.
#[derive(Clone, Debug)]
pub struct FakeIdentity(PublicIdentity);

impl FakeIdentity {
    /// Makes the identity of a seed.
    #[must_use]
    pub fn new(seed: &[u8; 32]) -> Self {
        let mut bytes = [0; KEM_PUBLIC_KEY_SIZE + DSA_PUBLIC_KEY_SIZE];
        blake3::Hasher::new_keyed(seed).finalize_xof().fill(&mut bytes);
        let (kem, dsa) = bytes.split_at_mut(KEM_PUBLIC_KEY_SIZE);
        // Keeps every 12-bit coefficient below the modulus, 3329 = 0xd01.
        kem.iter_mut().for_each(|byte| *byte &= 0x77);
        let kem = KemPublicKey::try_from(&*kem).expect("the size is right, coefficients are small");
        Self(PublicIdentity::new(kem, DsaPublicKey::try_from(&*dsa).expect("the size is right")))
    }

    /// Makes a random identity.
    pub fn generate(rng: &mut dyn Entropy) -> Self {
        Self::new(&rng.bytes32())
    }
}

impl Signer for FakeIdentity {
    fn public(&self) -> &PublicIdentity {
        &self.0
    }

    fn sign(&self, domain: Domain, message: &[u8], _rng: &mut dyn Entropy) -> Signature {
        signature(self.0.dsa(), domain, message)
    }

    fn encapsulate(
        &self,
        to: &KemPublicKey,
        rng: &mut dyn Entropy,
    ) -> (KemCiphertext, SharedSecret) {
        let ciphertext = repeat::<KEM_CIPHERTEXT_SIZE>(&rng.bytes32());
        let secret = shared(to, &ciphertext);
        (KemCiphertext::from(ciphertext), secret)
    }

    fn decapsulate(&self, ciphertext: &KemCiphertext) -> SharedSecret {
        shared(self.0.kem(), ciphertext.as_bytes())
    }

    fn derive(&self, domain: Domain, purpose: &[u8]) -> SymmetricKey {
        kdf(domain, self.0.dsa().as_bytes(), &[purpose])
    }
}

/// Checks the signatures of [`FakeIdentity`].
#[derive(Clone, Copy, Debug, Default)]
pub struct FakeVerifier;

impl Verifier for FakeVerifier {
    fn verify(
        &self,
        key: &DsaPublicKey,
        domain: Domain,
        message: &[u8],
        given: &Signature,
    ) -> Result<(), BadSignature> {
        if signature(key, domain, message) == *given { Ok(()) } else { Err(BadSignature) }
    }
}

/// Takes every signature: for measuring all but the verification, and for reaching what lies behind
/// it.
#[derive(Clone, Copy, Debug, Default)]
pub struct CredulousVerifier;

impl Verifier for CredulousVerifier {
    fn verify(
        &self,
        _: &DsaPublicKey,
        _: Domain,
        _: &[u8],
        _: &Signature,
    ) -> Result<(), BadSignature> {
        Ok(())
    }
}

fn signature(key: &DsaPublicKey, domain: Domain, message: &[u8]) -> Signature {
    let code = blake3::keyed_hash(&head(key.as_bytes()), digest(domain, &[message]).as_bytes());
    Signature::from(repeat::<SIGNATURE_SIZE>(code.as_bytes()))
}

fn shared(key: &KemPublicKey, ciphertext: &[u8; KEM_CIPHERTEXT_SIZE]) -> SharedSecret {
    let code = blake3::keyed_hash(&head(key.as_bytes()), ciphertext);
    SharedSecret::from(<[u8; 32]>::from(code))
}

// Keys are random from the first byte on: 32 of them tell two apart, and hashing all would cost.
fn head<const N: usize>(key: &[u8; N]) -> [u8; 32] {
    let mut head = [0; 32];
    head.copy_from_slice(&key[..32]);
    head
}

fn repeat<const N: usize>(code: &[u8; 32]) -> [u8; N] {
    let mut out = [0; N];
    for piece in out.chunks_mut(32) {
        piece.copy_from_slice(&code[..piece.len()]);
    }
    out
}
