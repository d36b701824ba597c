//! Hashes, key derivation and authentication codes.
//!
//! SHA-256 for agreed identifiers is [`session_core::digest`]; here are BLAKE2b-256, which the
//! seeds fix for ids, and BLAKE3 for everything that is ours.

use session_core::{Digest, Domain};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

use crate::bytes::secret_bytes;

secret_bytes! {
    /// A 256-bit symmetric key.
    SymmetricKey,
}

/// Returns BLAKE2b-256 (RFC 7693) over the parts, concatenated without framing: the parts must
/// have fixed lengths.
#[must_use]
pub fn blake2b_256(parts: &[&[u8]]) -> [u8; 32] {
    let mut state = blake2b_simd::Params::new().hash_length(32).to_state();
    for part in parts {
        state.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(state.finalize().as_bytes());
    out
}

/// Returns BLAKE3 of `data`, unlabelled.
#[must_use]
pub fn blake3(data: &[u8]) -> [u8; 32] {
    blake3::hash(data).into()
}

/// Derives a key from `secret`, bound to the domain and to every part.
///
/// BLAKE3 in its key derivation mode, the domain's label as the context, and the secret and the
/// parts as key material, each behind its length.
#[must_use]
pub fn kdf(domain: Domain, secret: &[u8], parts: &[&[u8]]) -> SymmetricKey {
    let mut hasher = blake3::Hasher::new_derive_key(domain.label());
    update_framed(&mut hasher, core::iter::once(secret).chain(parts.iter().copied()));
    let mut derived: [u8; 32] = hasher.finalize().into();
    let key = SymmetricKey::from(derived);
    derived.zeroize();
    key
}

/// Returns an authentication code over the domain and the parts: keyed BLAKE3.
#[must_use]
pub fn mac(domain: Domain, key: &SymmetricKey, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_keyed(key.expose());
    let label = core::iter::once(domain.label().as_bytes());
    update_framed(&mut hasher, label.chain(parts.iter().copied()));
    hasher.finalize().into()
}

/// Compares without revealing by its timing where the difference is.
#[must_use]
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

fn update_framed<'a>(hasher: &mut blake3::Hasher, parts: impl Iterator<Item = &'a [u8]>) {
    for part in parts {
        let length = u32::try_from(part.len()).expect("a hashed part is far below 4 GiB");
        hasher.update(&length.to_be_bytes());
        hasher.update(part);
    }
}

/// BLAKE3 over data that comes in pieces, such as a file.
#[derive(Clone)]
pub struct StreamHash(blake3::Hasher);

impl StreamHash {
    /// Starts with the domain's label.
    #[must_use]
    pub fn new(domain: Domain) -> Self {
        let mut hasher = blake3::Hasher::new();
        update_framed(&mut hasher, core::iter::once(domain.label().as_bytes()));
        Self(hasher)
    }

    /// Appends a piece; how the data is cut into pieces does not matter.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Returns the hash of everything so far.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest::from(<[u8; 32]>::from(self.0.finalize()))
    }
}
