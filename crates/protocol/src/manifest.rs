//! Manifests: what an account says of itself. Signed by the account, numbered, each naming the one
//! before.

use session_core::{AccountId, DecodeError, Decode as _, Digest, Domain, Encode, List, Text, Time};
use session_core::{digest, record};
use session_crypto::{PublicIdentity, Signature, Verifier};

use crate::inbox::{AccessRule, Capability};

/// Most devices of an account.
pub const DEVICES_MAX: usize = 10;

/// Bytes of an X-Wing public key.
pub const INTRO_KEY_BYTES: usize = 1216;

record! {
    /// A device of an account.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Device {
        /// The beginning of the digest of its signing key; see `session_messaging::DeviceId`.
        pub id: [u8; 16],
        /// SHA-256 digest of its ML-DSA-65 public key, under [`Domain::DeviceId`].
        pub key: Digest,
        /// When it was added.
        pub added: Time,
        /// Its name.
        pub name: Text<64>,
    }

    /// Where and how strangers write to an account.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct IntroRoute {
        /// Tells keys apart that follow each other.
        pub key_id: u32,
        /// X-Wing public key, 1,216 bytes.
        pub key: session_core::Blob<INTRO_KEY_BYTES>,
        /// The mailbox into which introductions go.
        pub rule: AccessRule,
        /// What stores in it.
        pub write: Capability,
    }

    /// Where the key packages of an account lie.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Directory {
        /// The mailbox.
        pub rule: AccessRule,
        /// What reads it.
        pub read: Capability,
    }

    /// A classical `05` account that the same person holds: signed by both keys.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LegacyLink {
        /// The Ed25519 public key; the `05` id derives from it.
        pub key: [u8; 32],
        /// Ed25519 over the link statement; see [`SignedManifest::check`].
        pub signature: [u8; 64],
    }

    /// What an account says of itself.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Manifest {
        /// The version of this record: 1.
        pub version: u16,
        /// The network that it is meant for.
        pub network: Digest,
        /// The keys of the account; their hash is its id.
        pub keys: PublicIdentity,
        /// Counts up by one.
        pub seq: u64,
        /// Digest of the signed manifest before; zero for the first one that is known.
        pub previous: Digest,
        /// When it was made, says the account.
        pub made: Time,
        /// When it is to be believed no longer.
        pub expiry: Time,
        /// Where strangers write.
        pub intro: IntroRoute,
        /// Where key packages lie.
        pub directory: Directory,
        /// The devices, in the order in which they were added.
        pub devices: List<Device, DEVICES_MAX>,
        /// A classical account of the same person.
        pub legacy: Option<LegacyLink>,
    }

    /// A manifest under the signature of its account.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SignedManifest {
        /// What is said.
        pub manifest: Manifest,
        /// ML-DSA-65 by the account over the encoding.
        pub signature: Signature,
    }
}

/// Why a manifest is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadManifest {
    /// Not a manifest.
    #[error("not a manifest: {0}")]
    Malformed(#[from] DecodeError),
    /// Of another account.
    #[error("the manifest is that of {got:?}, not of {expected:?}")]
    WrongAccount {
        /// Whose it is.
        got: AccountId,
        /// Whose was asked for.
        expected: AccountId,
    },
    /// Another version than 1, another network, or a field that contradicts another.
    #[error("manifest: {field}: {why}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// A signature does not verify.
    #[error("the {whose} signature does not verify")]
    Signature {
        /// Which one.
        whose: &'static str,
    },
}

impl SignedManifest {
    /// Returns the account.
    #[must_use]
    pub fn account(&self) -> AccountId {
        self.manifest.keys.account_id()
    }

    /// Returns the digest that the next manifest, and the chain, name it by.
    #[must_use]
    pub fn digest(&self) -> Digest {
        digest(Domain::ManifestDigest, &[&self.to_bytes()])
    }

    /// Reads and checks the manifest of `account` on `network`.
    ///
    /// # Errors
    /// When it is not one.
    pub fn read(
        account: &AccountId,
        network: &Digest,
        bytes: &[u8],
        verifier: &dyn Verifier,
    ) -> Result<Self, BadManifest> {
        let manifest = Self::decode_exact(bytes)?;
        if manifest.account() != *account {
            return Err(BadManifest::WrongAccount { got: manifest.account(), expected: *account });
        }
        manifest.check(network, verifier)?;
        Ok(manifest)
    }

    /// Checks version, network, fields and signatures.
    ///
    /// # Errors
    /// When something is wrong; the error names it.
    pub fn check(&self, network: &Digest, verifier: &dyn Verifier) -> Result<(), BadManifest> {
        let Manifest { version, network: of, keys, .. } = &self.manifest;
        if *version != 1 {
            return Err(BadManifest::Invalid { field: "version", why: "it is not 1" });
        }
        if of != network {
            return Err(BadManifest::Invalid { field: "network", why: "it is another one" });
        }
        let bytes = self.manifest.to_bytes();
        verifier
            .verify(keys.dsa(), Domain::AccountManifest, &bytes, &self.signature)
            .map_err(|_| BadManifest::Signature { whose: "account's" })
    }
}
