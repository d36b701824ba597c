//! X-Wing (draft-connolly-cfrg-xwing-kem-06): a secret that only the holder of a key can open, as
//! long as one of ML-KEM-768 and X25519 stands.
//!
//! *Provided:* a 32-byte secret shared with one public key, safe against chosen ciphertexts, bound to
//! the X25519 half of key and ciphertext. *Not provided:* who encapsulated, forward secrecy when the
//! key is long-lived, or binding to the ML-KEM half: whoever needs that mixes key and ciphertext in.

use core::fmt;
use std::sync::Arc;

use session_core::{Decode, DecodeError, Encode, Entropy, Reader};
use x_wing::{
    Decapsulate as _, DecapsulationKey, Decapsulator as _, EncapsulationKey, KeyExport as _,
};
use zeroize::Zeroizing;

use crate::InvalidKey;
use crate::bytes::{public_bytes, sized};
use crate::kem::SharedSecret;

/// Bytes of an encapsulation (public) key.
pub const XWING_PUBLIC_KEY_SIZE: usize = x_wing::ENCAPSULATION_KEY_SIZE;
/// Bytes of a ciphertext.
pub const XWING_CIPHERTEXT_SIZE: usize = x_wing::CIPHERTEXT_SIZE;

const NOT_REDUCED: &str = "a coefficient is not below the modulus";

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
        expand(bytes)?;
        Ok(Self(Arc::new(*bytes)))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; XWING_PUBLIC_KEY_SIZE] {
        &self.0
    }

    /// Makes a secret and the ciphertext that carries it to the holder of this key.
    pub fn encapsulate(&self, rng: &mut dyn Entropy) -> (XWingCiphertext, SharedSecret) {
        let mut randomness = Zeroizing::new([0; x_wing::ENCAPSULATION_RANDOMNESS_SIZE]);
        rng.fill(randomness.as_mut_slice());
        let key = expand(&self.0).expect("the bytes were checked when this key was made");
        let (ciphertext, secret) = key.encapsulate_deterministic((&*randomness).into());
        (XWingCiphertext::from(ciphertext.0), SharedSecret::from(secret.0))
    }
}

fn expand(bytes: &[u8; XWING_PUBLIC_KEY_SIZE]) -> Result<EncapsulationKey, InvalidKey> {
    EncapsulationKey::try_from(bytes.as_slice())
        .map_err(|_| InvalidKey::Malformed { field: "XWingPublicKey", why: NOT_REDUCED })
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

/// An X-Wing decapsulation key: the 32 bytes from which both halves are made. Cleared on drop, never
/// printed.
pub struct XWingSecret(DecapsulationKey);

impl XWingSecret {
    /// Makes the key of 32 secret bytes; the same bytes always give the same key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(DecapsulationKey::from(*seed))
    }

    /// Returns the public half.
    #[must_use]
    pub fn public(&self) -> XWingPublicKey {
        XWingPublicKey(Arc::new(self.0.encapsulation_key().to_bytes().0))
    }

    /// Opens a ciphertext. One made for another key gives an unrelated secret, not an error.
    #[must_use]
    pub fn decapsulate(&self, ciphertext: &XWingCiphertext) -> SharedSecret {
        SharedSecret::from(self.0.decapsulate(ciphertext.as_bytes().into()).0)
    }
}

impl fmt::Debug for XWingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("XWingSecret")
    }
}
