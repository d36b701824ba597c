//! A key from a passphrase: Argon2id.
//!
//! *Provided:* every guess costs memory and time; the same passphrase gives another key under
//! another salt or domain. *Not provided:* strength that the passphrase does not have.

use argon2::{Algorithm, Argon2, Params, Version};
use session_core::{Decode, DecodeError, Domain, Encode, Entropy, Reader};
use zeroize::Zeroizing;

use crate::hash::{SymmetricKey, kdf};

/// Bytes of a salt.
pub(crate) const SALT_SIZE: usize = 16;

/// How costly guessing a passphrase is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) memory_kib: u32,
    pub(crate) passes: u32,
    pub(crate) lanes: u32,
}

/// More work than any of ours asks for.
pub(crate) struct TooCostly {
    pub(crate) field: &'static str,
    pub(crate) got: u32,
    pub(crate) limit: u32,
}

impl Cost {
    /// The second recommendation of RFC 9106, for memory-constrained machines, with one lane.
    pub(crate) const DEFAULT: Self = Self { memory_kib: 64 * 1024, passes: 3, lanes: 1 };
    /// A file of a stranger must not claim all of our memory or minutes of our time.
    const MAX: Self = Self { memory_kib: 512 * 1024, passes: 16, lanes: 16 };

    pub(crate) fn checked(self) -> Result<Self, TooCostly> {
        for (field, got, limit) in [
            ("memory (KiB)", self.memory_kib, Self::MAX.memory_kib),
            ("passes", self.passes, Self::MAX.passes),
            ("lanes", self.lanes, Self::MAX.lanes),
        ] {
            if got > limit {
                return Err(TooCostly { field, got, limit });
            }
        }
        Ok(self)
    }

    /// Returns the key of a passphrase, or `None` if Argon2 has no such parameters.
    pub(crate) fn stretch(
        self,
        domain: Domain,
        passphrase: &[u8],
        salt: &[u8; SALT_SIZE],
    ) -> Option<SymmetricKey> {
        let mut out = Zeroizing::new([0; 32]);
        Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params()?)
            .hash_password_into(passphrase, salt, out.as_mut_slice())
            .ok()?;
        Some(kdf(domain, out.as_slice(), &[]))
    }

    fn params(self) -> Option<Params> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(32)).ok()
    }
}

/// An empty passphrase protects nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an empty passphrase protects nothing")]
pub struct EmptyPassphrase;

/// How a passphrase becomes a key: written in the clear beside what the key protects.
///
/// | field | bytes | |
/// |---|---|---|
/// | memory, passes, lanes | 4 + 4 + 4 | Argon2id, memory in KiB |
/// | salt | 16 | random |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    cost: Cost,
    salt: [u8; SALT_SIZE],
}

impl Stretch {
    /// Bytes of its encoding.
    pub const SIZE: usize = 12 + SALT_SIZE;

    /// Draws a new salt, at the usual cost: 64 MiB and about 0.1 s.
    pub fn generate(rng: &mut dyn Entropy) -> Self {
        let mut salt = [0; SALT_SIZE];
        rng.fill(&mut salt);
        Self { cost: Cost::DEFAULT, salt }
    }

    /// Returns the key of a passphrase, for one purpose.
    ///
    /// # Errors
    /// When the passphrase is empty.
    pub fn key(&self, domain: Domain, passphrase: &[u8]) -> Result<SymmetricKey, EmptyPassphrase> {
        if passphrase.is_empty() {
            return Err(EmptyPassphrase);
        }
        let key = self.cost.stretch(domain, passphrase, &self.salt);
        Ok(key.expect("the parameters were checked when this was made"))
    }
}

impl Encode for Stretch {
    fn encode(&self, out: &mut Vec<u8>) {
        let Cost { memory_kib, passes, lanes } = self.cost;
        [memory_kib, passes, lanes].iter().for_each(|value| value.encode(out));
        self.salt.encode(out);
    }
}

impl Decode for Stretch {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let [memory_kib, passes, lanes] =
            [reader.array()?, reader.array()?, reader.array()?].map(u32::from_be_bytes);
        let cost = Cost { memory_kib, passes, lanes }.checked().map_err(|over| {
            let (got, limit) = (over.got as usize, over.limit as usize);
            DecodeError::OverLimit { field: over.field, got, limit }
        })?;
        if cost.params().is_none() {
            let why = "Argon2 has no such parameters";
            return Err(DecodeError::Invalid { field: "cost of a passphrase", why });
        }
        Ok(Self { cost, salt: reader.array()? })
    }
}

#[cfg(test)]
mod tests;
