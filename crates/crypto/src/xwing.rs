//! X-Wing (draft-connolly-cfrg-xwing-kem-06): a secret that only the holder of a key can open, as
//! long as one of ML-KEM-768 and X25519 stands.
//!
//! *Provided:* a 32-byte secret shared with one public key, safe against chosen ciphertexts, bound to
//! the X25519 half of key and ciphertext. *Not provided:* who encapsulated, forward secrecy when the
//! key is long-lived, or binding to the ML-KEM half: whoever needs that mixes key and ciphertext in.
//!
//! Both halves are the libraries'; what joins them, one hash, is here, because a key that keeps its
//! halves expanded opens in a third of the time.

use core::fmt;
use std::sync::Arc;

use libcrux_sha3::{sha256 as sha3_256, shake256};
use session_core::{Decode, DecodeError, Encode, Entropy, Reader};
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

use crate::InvalidKey;
use crate::bytes::{public_bytes, sized};
use crate::kem::{
    KEM_CIPHERTEXT_SIZE, KEM_PUBLIC_KEY_SIZE, KEM_SEED_SIZE, KemCiphertext, KemPublicKey,
    KemSecretKey, PreparedKemSecret, SharedSecret,
};

/// Bytes of each public value of X25519.
const CURVE: usize = 32;
/// Bytes of an encapsulation (public) key.
pub const XWING_PUBLIC_KEY_SIZE: usize = KEM_PUBLIC_KEY_SIZE + CURVE;
/// Bytes of a ciphertext.
pub const XWING_CIPHERTEXT_SIZE: usize = KEM_CIPHERTEXT_SIZE + CURVE;

const NOT_REDUCED: &str = "a coefficient is not below the modulus";

/// What the draft ends its hash with.
const LABEL: &[u8; 6] = br"\.//^\";

public_bytes! {
    /// An X-Wing ciphertext: an encapsulated secret. Any bytes decapsulate to something.
    XWingCiphertext[XWING_CIPHERTEXT_SIZE],
}

/// An X-Wing encapsulation key whose ML-KEM half passed the modulus check of FIPS 203.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct XWingPublicKey(Arc<[u8; XWING_PUBLIC_KEY_SIZE]>);

impl XWingPublicKey {
    /// The length in bytes.
    pub const SIZE: usize = XWING_PUBLIC_KEY_SIZE;

    /// Takes the bytes if they are an encapsulation key.
    ///
    /// # Errors
    /// When a coefficient is not reduced.
    pub fn new(bytes: &[u8; XWING_PUBLIC_KEY_SIZE]) -> Result<Self, InvalidKey> {
        halves(bytes)?;
        Ok(Self(Arc::new(*bytes)))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; XWING_PUBLIC_KEY_SIZE] {
        &self.0
    }

    /// Makes a secret and the ciphertext that carries it to the holder of this key.
    pub fn encapsulate(&self, rng: &mut dyn Entropy) -> (XWingCiphertext, SharedSecret) {
        let (lattice, curve) = halves(&self.0).expect("checked when this key was made");
        let (lattice_ciphertext, lattice_secret) = lattice.encapsulate(rng);
        let ephemeral = StaticSecret::from(*Zeroizing::new(rng.bytes32()));
        let curve_ciphertext = PublicKey::from(&ephemeral);
        let curve_secret = ephemeral.diffie_hellman(&curve);
        let mut ciphertext = [0; XWING_CIPHERTEXT_SIZE];
        ciphertext[..KEM_CIPHERTEXT_SIZE].copy_from_slice(lattice_ciphertext.as_ref());
        ciphertext[KEM_CIPHERTEXT_SIZE..].copy_from_slice(curve_ciphertext.as_bytes());
        let secret = join(&lattice_secret, curve_secret.as_bytes(), &curve_ciphertext, &curve);
        (XWingCiphertext::from(ciphertext), secret)
    }
}

fn halves(bytes: &[u8; XWING_PUBLIC_KEY_SIZE]) -> Result<(KemPublicKey, PublicKey), InvalidKey> {
    let (lattice, curve) = bytes.split_at(KEM_PUBLIC_KEY_SIZE);
    let lattice = KemPublicKey::try_from(lattice)
        .map_err(|_| InvalidKey::Malformed { field: "XWingPublicKey", why: NOT_REDUCED })?;
    Ok((lattice, PublicKey::from(sized::<CURVE>("XWingPublicKey", curve)?)))
}

/// The combiner of the draft: SHA3-256 over both secrets and the X25519 half of what is public.
fn join(
    lattice: &SharedSecret,
    curve: &[u8; 32],
    ciphertext: &PublicKey,
    key: &PublicKey,
) -> SharedSecret {
    let mut joined = Zeroizing::new([0; 4 * 32 + LABEL.len()]);
    let parts = [&lattice.expose()[..], curve, ciphertext.as_bytes(), key.as_bytes(), LABEL];
    let mut left = joined.as_mut_slice();
    for part in parts {
        let (place, rest) = left.split_at_mut(part.len());
        place.copy_from_slice(part);
        left = rest;
    }
    SharedSecret::from(sha3_256(joined.as_slice()))
}

impl TryFrom<&[u8]> for XWingPublicKey {
    type Error = InvalidKey;
    fn try_from(bytes: &[u8]) -> Result<Self, InvalidKey> {
        Self::new(&sized("XWingPublicKey", bytes)?)
    }
}

impl AsRef<[u8]> for XWingPublicKey {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

impl fmt::Debug for XWingPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::bytes::debug("XWingPublicKey", self.as_ref(), f)
    }
}

impl Encode for XWingPublicKey {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_ref());
    }
}

impl Decode for XWingPublicKey {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(&reader.array()?)
            .map_err(|_| DecodeError::Invalid { field: "XWingPublicKey", why: NOT_REDUCED })
    }
}

/// An X-Wing decapsulation key: both halves, expanded, about 9 KiB. Cleared on drop as far as the
/// libraries do, never printed.
pub struct XWingSecret {
    lattice: PreparedKemSecret,
    curve: StaticSecret,
    curve_public: PublicKey,
    public: XWingPublicKey,
}

impl XWingSecret {
    /// Makes the key of 32 secret bytes; the same bytes always give the same key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let expanded = Zeroizing::new(shake256::<{ KEM_SEED_SIZE + CURVE }>(seed));
        let (lattice_seed, curve) = expanded.split_at(KEM_SEED_SIZE);
        let lattice_seed = Zeroizing::new(lattice_seed.try_into().expect("split at its length"));
        let (lattice, lattice_public) = KemSecretKey::from_seed(&lattice_seed);
        let curve = StaticSecret::from(<[u8; CURVE]>::try_from(curve).expect("the rest of it"));
        let curve_public = PublicKey::from(&curve);
        let mut public = [0; XWING_PUBLIC_KEY_SIZE];
        public[..KEM_PUBLIC_KEY_SIZE].copy_from_slice(lattice_public.as_ref());
        public[KEM_PUBLIC_KEY_SIZE..].copy_from_slice(curve_public.as_bytes());
        let (lattice, public) =
            (PreparedKemSecret::new(&lattice), XWingPublicKey(Arc::new(public)));
        Self { lattice, curve, curve_public, public }
    }

    /// Returns the public half.
    #[must_use]
    pub fn public(&self) -> XWingPublicKey {
        self.public.clone()
    }

    /// Opens a ciphertext. One made for another key gives an unrelated secret, not an error.
    #[must_use]
    pub fn decapsulate(&self, ciphertext: &XWingCiphertext) -> SharedSecret {
        let bytes = ciphertext.as_bytes();
        let (lattice, curve) = bytes.split_at(KEM_CIPHERTEXT_SIZE);
        let lattice = KemCiphertext::try_from(lattice).expect("split at its length");
        let curve = PublicKey::from(<[u8; CURVE]>::try_from(curve).expect("the rest of it"));
        let lattice_secret = self.lattice.decapsulate(&lattice);
        let curve_secret = self.curve.diffie_hellman(&curve);
        join(&lattice_secret, curve_secret.as_bytes(), &curve, &self.curve_public)
    }
}

impl fmt::Debug for XWingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("XWingSecret")
    }
}
