//! ML-KEM-768 (FIPS 203): a secret that only the holder of a key can open.
//!
//! *Provided:* a 32-byte secret shared with one public key, safe against chosen ciphertexts.
//! *Not provided:* who encapsulated, or forward secrecy when the key is long-lived.

use core::fmt;
use core::hint::black_box;
use std::sync::Arc;

use libcrux_ml_kem::mlkem768::{
    self, MlKem768Ciphertext, MlKem768PrivateKey, MlKem768PublicKey, portable,
};
use session_core::{Decode, DecodeError, Encode, Entropy, Reader};
use zeroize::{Zeroize as _, Zeroizing};

use crate::InvalidKey;
use crate::bytes::{public_bytes, secret_bytes, sized};

#[cfg(target_arch = "x86_64")]
use libcrux_ml_kem::mlkem768::avx2 as vector;
#[cfg(target_arch = "aarch64")]
use libcrux_ml_kem::mlkem768::neon as vector;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
use libcrux_ml_kem::mlkem768::portable as vector;

/// Bytes of an encapsulation (public) key.
pub const KEM_PUBLIC_KEY_SIZE: usize = 1184;
/// Bytes of a decapsulation (secret) key in the expanded form of FIPS 203.
pub const KEM_SECRET_KEY_SIZE: usize = 2400;
/// Bytes of a ciphertext.
pub const KEM_CIPHERTEXT_SIZE: usize = 1088;
/// Bytes of the seed `d ‖ z` from which FIPS 203 generates a key pair.
pub const KEM_SEED_SIZE: usize = 64;

/// Where the public key lies inside the secret one: behind the 3 secret polynomials of 384 bytes.
const PUBLIC_IN_SECRET: core::ops::Range<usize> = 1152..1152 + KEM_PUBLIC_KEY_SIZE;

public_bytes! {
    /// An ML-KEM-768 ciphertext: an encapsulated secret. Any bytes decapsulate to something.
    KemCiphertext[KEM_CIPHERTEXT_SIZE],
}

secret_bytes! {
    /// What both sides of an encapsulation hold.
    SharedSecret,
}

/// An ML-KEM-768 encapsulation key that passed the modulus check of FIPS 203.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KemPublicKey(Arc<[u8; KEM_PUBLIC_KEY_SIZE]>);

impl KemPublicKey {
    /// The length in bytes.
    pub const SIZE: usize = KEM_PUBLIC_KEY_SIZE;

    /// Takes the bytes if they are an encapsulation key.
    ///
    /// # Errors
    /// When a coefficient is not reduced.
    pub fn new(bytes: &[u8; KEM_PUBLIC_KEY_SIZE]) -> Result<Self, InvalidKey> {
        if !mlkem768::validate_public_key(&MlKem768PublicKey::from(bytes)) {
            return Err(InvalidKey::Malformed {
                field: "KemPublicKey",
                why: "a coefficient is not below the modulus",
            });
        }
        Ok(Self(Arc::new(*bytes)))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; KEM_PUBLIC_KEY_SIZE] {
        &self.0
    }

    /// Makes a secret and the ciphertext that carries it to the holder of this key.
    pub fn encapsulate(&self, rng: &mut dyn Entropy) -> (KemCiphertext, SharedSecret) {
        let key = MlKem768PublicKey::from(&*self.0);
        finish(mlkem768::encapsulate(&key, rng.bytes32()))
    }
}

impl TryFrom<&[u8]> for KemPublicKey {
    type Error = InvalidKey;
    fn try_from(bytes: &[u8]) -> Result<Self, InvalidKey> {
        Self::new(&sized("KemPublicKey", bytes)?)
    }
}

impl AsRef<[u8]> for KemPublicKey {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl fmt::Debug for KemPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::bytes::debug("KemPublicKey", self.as_ref(), f)
    }
}

impl Encode for KemPublicKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_ref());
    }
}

impl Decode for KemPublicKey {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(&reader.array()?).map_err(|_| DecodeError::Invalid {
            field: "KemPublicKey",
            why: "a coefficient is not below the modulus",
        })
    }
}

/// An ML-KEM-768 decapsulation key in its FIPS form. Cleared on drop, never printed.
pub struct KemSecretKey(Box<MlKem768PrivateKey>);

impl KemSecretKey {
    /// The length in bytes.
    pub const SIZE: usize = KEM_SECRET_KEY_SIZE;

    /// Generates the key pair of a FIPS 203 seed, `d ‖ z`.
    #[must_use]
    pub fn from_seed(seed: &[u8; KEM_SEED_SIZE]) -> (Self, KemPublicKey) {
        let (mut secret, public) = mlkem768::generate_key_pair(*seed).into_parts();
        let boxed = Self(Box::new(secret.clone()));
        secret[0..KEM_SECRET_KEY_SIZE].zeroize();
        (boxed, KemPublicKey(Arc::new(*public.as_slice())))
    }

    /// Takes the bytes if they are a decapsulation key: the public key inside is well formed, its
    /// hash is right, and it belongs to the secret part.
    ///
    /// # Errors
    /// When one of these does not hold.
    pub fn new(bytes: &[u8; KEM_SECRET_KEY_SIZE]) -> Result<Self, InvalidKey> {
        let key = Self(Box::new(MlKem768PrivateKey::from(bytes)));
        if !portable::validate_private_key_only(&key.0) {
            return Err(InvalidKey::Malformed {
                field: "KemSecretKey",
                why: "the hash of the public key inside differs",
            });
        }
        // The hash covers the public half only; a round trip covers the secret one.
        let public = key.public()?;
        let (ciphertext, sent) = finish(mlkem768::encapsulate(
            &MlKem768PublicKey::from(public.as_bytes()),
            crate::hash::blake3(public.as_ref()),
        ));
        let got = key.decapsulate(&ciphertext);
        if !crate::hash::equal(sent.expose(), got.expose()) {
            return Err(InvalidKey::Mismatch { field: "KemSecretKey", other: "its public key" });
        }
        Ok(key)
    }

    /// Returns the public key, which the FIPS form contains.
    ///
    /// # Errors
    /// When its coefficients are not reduced, which [`KemSecretKey::new`] excludes.
    pub(crate) fn public(&self) -> Result<KemPublicKey, InvalidKey> {
        KemPublicKey::try_from(&self.0.as_slice()[PUBLIC_IN_SECRET])
    }

    /// Returns the secret bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEM_SECRET_KEY_SIZE] {
        self.0.as_slice()
    }

    /// Opens a ciphertext. A ciphertext made for another key gives an unrelated secret, not an
    /// error: that is the implicit rejection of FIPS 203.
    #[must_use]
    pub fn decapsulate(&self, ciphertext: &KemCiphertext) -> SharedSecret {
        let ciphertext = MlKem768Ciphertext::from(ciphertext.as_bytes());
        SharedSecret::from(mlkem768::decapsulate(&self.0, &ciphertext))
    }

    /// Checks that `public` is the public key of this secret key.
    ///
    /// # Errors
    /// When it is another one.
    pub(crate) fn check_public(&self, public: &KemPublicKey) -> Result<(), InvalidKey> {
        if self.0.as_slice()[PUBLIC_IN_SECRET] == public.as_bytes()[..] {
            Ok(())
        } else {
            Err(InvalidKey::Mismatch { field: "KemSecretKey", other: "the KemPublicKey" })
        }
    }
}

impl TryFrom<&[u8]> for KemSecretKey {
    type Error = InvalidKey;
    fn try_from(bytes: &[u8]) -> Result<Self, InvalidKey> {
        Self::new(&Zeroizing::new(sized("KemSecretKey", bytes)?))
    }
}

impl Drop for KemSecretKey {
    fn drop(&mut self) {
        self.0[0..KEM_SECRET_KEY_SIZE].zeroize();
    }
}

impl fmt::Debug for KemSecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KemSecretKey")
    }
}

// The vector code may only run where the CPU has it; a build for x86-64-v3 folds this to `true`.
fn has_vector() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx2")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        cfg!(target_arch = "aarch64")
    }
}

fn finish((ciphertext, secret): (MlKem768Ciphertext, [u8; 32])) -> (KemCiphertext, SharedSecret) {
    (KemCiphertext::from(*ciphertext.as_slice()), SharedSecret::from(secret))
}

/// A peer's key with its matrix expanded: encapsulating again to the same peer costs half.
pub struct PreparedKemKey(PreparedPublic);

enum PreparedPublic {
    Vector(Box<vector::unpacked::MlKem768PublicKeyUnpacked>),
    Portable(Box<portable::unpacked::MlKem768PublicKeyUnpacked>),
}

impl PreparedKemKey {
    /// Expands the key; it holds about 6 KiB.
    #[must_use]
    pub fn new(key: &KemPublicKey) -> Self {
        let key = MlKem768PublicKey::from(key.as_bytes());
        Self(if has_vector() {
            let mut out = Box::new(vector::unpacked::init_public_key());
            vector::unpacked::unpacked_public_key(&key, &mut out);
            PreparedPublic::Vector(out)
        } else {
            let mut out = Box::new(portable::unpacked::init_public_key());
            portable::unpacked::unpacked_public_key(&key, &mut out);
            PreparedPublic::Portable(out)
        })
    }

    /// Makes a secret and the ciphertext that carries it.
    pub fn encapsulate(&self, rng: &mut dyn Entropy) -> (KemCiphertext, SharedSecret) {
        let randomness = rng.bytes32();
        finish(match &self.0 {
            PreparedPublic::Vector(key) => vector::unpacked::encapsulate(key, randomness),
            PreparedPublic::Portable(key) => portable::unpacked::encapsulate(key, randomness),
        })
    }
}

impl fmt::Debug for PreparedKemKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PreparedKemKey")
    }
}

/// A secret key with its matrix expanded. Overwritten on drop, as far as the library allows.
pub(crate) enum PreparedKemSecret {
    Vector(Box<vector::unpacked::MlKem768KeyPairUnpacked>),
    Portable(Box<portable::unpacked::MlKem768KeyPairUnpacked>),
}

impl PreparedKemSecret {
    pub(crate) fn new(key: &KemSecretKey) -> Self {
        if has_vector() {
            let mut out = Box::new(vector::unpacked::init_key_pair());
            vector::unpacked::key_pair_from_private_mut(&key.0, &mut out);
            Self::Vector(out)
        } else {
            let mut out = Box::new(portable::unpacked::init_key_pair());
            portable::unpacked::key_pair_from_private_mut(&key.0, &mut out);
            Self::Portable(out)
        }
    }

    pub(crate) fn decapsulate(&self, ciphertext: &KemCiphertext) -> SharedSecret {
        let ciphertext = MlKem768Ciphertext::from(ciphertext.as_bytes());
        SharedSecret::from(match self {
            Self::Vector(key) => vector::unpacked::decapsulate(key, &ciphertext),
            Self::Portable(key) => portable::unpacked::decapsulate(key, &ciphertext),
        })
    }
}

impl Drop for PreparedKemSecret {
    fn drop(&mut self) {
        // The library's fields are private, so the key is overwritten with an empty one; the
        // black box keeps the compiler from dropping the store.
        match self {
            Self::Vector(key) => {
                **key = vector::unpacked::init_key_pair();
                black_box(&**key);
            }
            Self::Portable(key) => {
                **key = portable::unpacked::init_key_pair();
                black_box(&**key);
            }
        }
    }
}
