//! Secrets that are kept from one run to the next.

use core::fmt;

use session_core::{Decode, DecodeError, Encode, Entropy, Reader};
use session_crypto::SymmetricKey;
use zeroize::Zeroizing;

/// Thirty-two secret bytes that may be written to the [`Vault`](crate::vault::Vault), and nowhere
/// else. Cleared on drop, not printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; 32]>);

impl Secret {
    /// Draws a new one.
    pub fn generate(rng: &mut dyn Entropy) -> Self {
        Self(Zeroizing::new(rng.bytes32()))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns it as a key.
    #[must_use]
    pub fn key(&self) -> SymmetricKey {
        SymmetricKey::from(*self.0)
    }
}

impl From<[u8; 32]> for Secret {
    fn from(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<SymmetricKey> for Secret {
    fn from(key: SymmetricKey) -> Self {
        Self(Zeroizing::new(*key.expose()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        session_crypto::equal(&self.0[..], &other.0[..])
    }
}

impl Eq for Secret {}

impl Encode for Secret {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0[..]);
    }
}

impl Decode for Secret {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self::from)
    }
}
