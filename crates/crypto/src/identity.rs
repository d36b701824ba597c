//! An identity: one ML-KEM-768 and one ML-DSA-65 key pair, and the id that both make.

use core::fmt;
use std::sync::OnceLock;

use session_core::{AccountId, Decode, DecodeError, Domain, Encode, Entropy, NodeId, Reader};
use zeroize::Zeroizing;

use crate::account::AccountRef;
use crate::dsa::{ContextTooLong, DSA_SEED_SIZE, DsaPublicKey, DsaSecretKey, Signature};
use crate::hash::{blake2b_256, kdf};
use crate::kem::{
    KEM_SEED_SIZE, KemCiphertext, KemPublicKey, KemSecretKey, PreparedKemSecret, SharedSecret,
};

/// Why bytes are not a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// Another number of bytes than the kind has.
    #[error("{field} holds {got} bytes, it has {expected}")]
    Length {
        /// The kind of key.
        field: &'static str,
        /// Bytes given.
        got: usize,
        /// Bytes it has.
        expected: usize,
    },
    /// Bytes that no key of this kind has.
    #[error("{field} is malformed: {why}")]
    Malformed {
        /// The kind of key.
        field: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// Two halves that are not of one key pair.
    #[error("{field} does not belong to {other}")]
    Mismatch {
        /// The secret half.
        field: &'static str,
        /// The public half.
        other: &'static str,
    },
}

/// The public half of an identity. Its id is always the hash of its keys.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicIdentity {
    id: [u8; 32],
    kem: KemPublicKey,
    dsa: DsaPublicKey,
}

impl PublicIdentity {
    /// Bytes of the encoding: the two keys.
    pub const SIZE: usize = KemPublicKey::SIZE + DsaPublicKey::SIZE;

    /// Joins two keys and derives their id.
    #[must_use]
    pub fn new(kem: KemPublicKey, dsa: DsaPublicKey) -> Self {
        Self { id: blake2b_256(&[kem.as_ref(), dsa.as_ref()]), kem, dsa }
    }

    /// Returns the id as that of a person or bot: BLAKE2b-256 over both keys.
    #[must_use]
    pub fn account_id(&self) -> AccountId {
        AccountId::from(self.id)
    }

    /// Returns the id as that of a node; the same 32 bytes.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        NodeId::from(self.id)
    }

    /// Returns the id in its text form, `07…`.
    #[must_use]
    pub fn account_ref(&self) -> AccountRef {
        AccountRef(self.account_id())
    }

    /// Returns the key that secrets are encapsulated to.
    #[must_use]
    pub const fn kem(&self) -> &KemPublicKey {
        &self.kem
    }

    /// Returns the key that signatures verify under.
    #[must_use]
    pub const fn dsa(&self) -> &DsaPublicKey {
        &self.dsa
    }
}

impl fmt::Debug for PublicIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::bytes::debug("PublicIdentity", &self.id, f)
    }
}

impl Encode for PublicIdentity {
    fn encode(&self, out: &mut Vec<u8>) {
        self.kem.encode(out);
        self.dsa.encode(out);
    }
}

impl Decode for PublicIdentity {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self::new(Decode::decode(reader)?, Decode::decode(reader)?))
    }
}

/// An identity with its secret keys. Cleared on drop, never printed, copied or compared.
pub struct Identity {
    public: PublicIdentity,
    kem: KemSecretKey,
    dsa: DsaSecretKey,
    /// Made at the first decapsulation: whoever only signs or shows an id does not pay for it.
    prepared: OnceLock<PreparedKemSecret>,
}

impl Identity {
    /// Generates an identity from 32 bytes of entropy.
    pub fn generate(rng: &mut dyn Entropy) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill(seed.as_mut_slice());
        Self::from_seed(&seed)
    }

    /// Derives an identity from a seed of ours; the same seed always gives the same identity.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let derive = |part: &[u8]| kdf(Domain::IdentitySeed, seed, &[part]);
        let mut kem = Zeroizing::new([0; KEM_SEED_SIZE]);
        kem[..32].copy_from_slice(derive(b"ml-kem-768 d").expose());
        kem[32..].copy_from_slice(derive(b"ml-kem-768 z").expose());
        Self::from_fips_seeds(&kem, derive(b"ml-dsa-65").expose())
    }

    /// Generates both key pairs from the seeds that FIPS 203 (`d ‖ z`) and FIPS 204 define.
    #[must_use]
    pub fn from_fips_seeds(kem: &[u8; KEM_SEED_SIZE], dsa: &[u8; DSA_SEED_SIZE]) -> Self {
        let (kem, kem_public) = KemSecretKey::from_seed(kem);
        let (dsa, dsa_public) = DsaSecretKey::from_seed(dsa);
        Self::join(PublicIdentity::new(kem_public, dsa_public), kem, dsa)
    }

    /// Joins imported keys after checking that the halves belong together.
    ///
    /// # Errors
    /// When a secret key is not of the same pair as its public key.
    pub fn from_parts(
        kem: KemSecretKey,
        dsa: DsaSecretKey,
        kem_public: KemPublicKey,
        dsa_public: DsaPublicKey,
    ) -> Result<Self, InvalidKey> {
        kem.check_public(&kem_public)?;
        dsa.check_public(&dsa_public)?;
        Ok(Self::join(PublicIdentity::new(kem_public, dsa_public), kem, dsa))
    }

    /// As [`Identity::from_parts`], from bytes in the sizes of FIPS 203 and 204.
    ///
    /// # Errors
    /// When a key has another size, is malformed, or the halves do not belong together.
    pub fn import(
        kem_secret: &[u8],
        dsa_secret: &[u8],
        kem_public: &[u8],
        dsa_public: &[u8],
    ) -> Result<Self, InvalidKey> {
        Self::from_parts(
            kem_secret.try_into()?,
            dsa_secret.try_into()?,
            kem_public.try_into()?,
            dsa_public.try_into()?,
        )
    }

    fn join(public: PublicIdentity, kem: KemSecretKey, dsa: DsaSecretKey) -> Self {
        Self { public, kem, dsa, prepared: OnceLock::new() }
    }

    /// Returns the public half.
    #[must_use]
    pub const fn public(&self) -> &PublicIdentity {
        &self.public
    }

    /// Returns the secret KEM key, for export.
    #[must_use]
    pub const fn kem_secret(&self) -> &KemSecretKey {
        &self.kem
    }

    /// Returns the secret signing key, for export and for TLS.
    #[must_use]
    pub const fn dsa_secret(&self) -> &DsaSecretKey {
        &self.dsa
    }

    /// Opens a secret encapsulated to this identity, with the prepared key.
    #[must_use]
    pub fn decapsulate(&self, ciphertext: &KemCiphertext) -> SharedSecret {
        self.prepared.get_or_init(|| PreparedKemSecret::new(&self.kem)).decapsulate(ciphertext)
    }

    /// Signs raw bytes under a FIPS 204 context. Ours go through [`crate::Signer::sign`], which
    /// adds a domain.
    ///
    /// # Errors
    /// When the context is longer than 255 bytes.
    pub fn sign_raw(
        &self,
        context: &[u8],
        message: &[u8],
        rng: &mut dyn Entropy,
    ) -> Result<Signature, ContextTooLong> {
        self.dsa.sign(context, message, rng)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::bytes::debug("Identity", &self.public.id, f)
    }
}
