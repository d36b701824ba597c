//! Manifests: what an account says of itself. Signed by the account, numbered, each naming the one
//! before.
//!
//! *Provided:* whoever follows the numbers and digests sees when an account says two different things;
//! devices, intro key and key packages are those that the account named. *Not provided:* who is behind
//! the account; that there is no newer manifest.

use session_core::{AccountId, Decode as _, DecodeError, Digest, Domain, Encode, Entropy, List};
use session_core::{Span, Text, Time, digest, record};
use session_crypto::legacy::{self, LEGACY_SIGNATURE_SIZE, LegacyId, LegacyKey};
use session_crypto::xwing::XWING_PUBLIC_KEY_SIZE;
use session_crypto::{PublicIdentity, Signature, Signer, Verifier, XWingPublicKey};

use crate::inbox::{AccessRule, Capability};

/// Most devices of an account.
pub const DEVICES_MAX: usize = 10;

/// Bytes of an X-Wing public key.
pub const INTRO_KEY_BYTES: usize = XWING_PUBLIC_KEY_SIZE;

/// Longest life of a manifest: who is silent for so long has lost the keys, or interest.
pub const LIFE_MAX: Span = Span::from_days(90);

/// The version of manifests.
const VERSION: u16 = 1;

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
        /// Ed25519 over the network and the account id, under [`Domain::LegacyLink`].
        pub signature: [u8; LEGACY_SIGNATURE_SIZE],
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
        self.manifest.check(network)?;
        let (key, bytes) = (self.manifest.keys.dsa(), self.manifest.to_bytes());
        verifier
            .verify(key, Domain::AccountManifest, &bytes, &self.signature)
            .map_err(|_| BadManifest::Signature { whose: "account's" })
    }

    /// Tells whether it is to be believed no longer.
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        now >= self.manifest.expiry
    }

    /// Returns the device with this id.
    #[must_use]
    pub fn device(&self, id: &[u8; 16]) -> Option<&Device> {
        self.manifest.devices.iter().find(|device| device.id == *id)
    }
}

impl Manifest {
    /// Signs it for the account.
    ///
    /// # Panics
    /// When the keys in it are not those of the signer: nobody would believe it.
    pub fn sign(self, signer: &dyn Signer, rng: &mut dyn Entropy) -> SignedManifest {
        assert_eq!(self.keys, *signer.public(), "an account signs its own manifest");
        let signature = signer.sign(Domain::AccountManifest, &self.to_bytes(), rng);
        SignedManifest { manifest: self, signature }
    }

    fn check(&self, network: &Digest) -> Result<(), BadManifest> {
        expect(self.version == VERSION, "version", "it is not 1")?;
        expect(self.network == *network, "network", "it is another one")?;
        expect(self.expiry > self.made, "expiry", "it is not later than made")?;
        let life = self.expiry.since(self.made);
        expect(life <= LIFE_MAX, "expiry", "it is more than 90 days later than made")?;
        self.intro.check()?;
        self.directory.check()?;
        check_devices(&self.devices)?;
        self.legacy.as_ref().map_or(Ok(()), |link| link.check(network, &self.keys.account_id()))
    }
}

impl IntroRoute {
    fn check(&self) -> Result<(), BadManifest> {
        let is_key = XWingPublicKey::try_from(&self.key[..]).is_ok();
        expect(is_key, "intro.key", "it is not an X-Wing key")?;
        let AccessRule::Mailbox { writer, .. } = self.rule else {
            return Err(BadManifest::Invalid { field: "intro.rule", why: NOT_A_MAILBOX });
        };
        let opens = self.write.commitment() == writer;
        expect(opens, "intro.write", "it is not what stores in the mailbox")
    }
}

impl Directory {
    fn check(&self) -> Result<(), BadManifest> {
        let AccessRule::Mailbox { reader, .. } = self.rule else {
            return Err(BadManifest::Invalid { field: "directory.rule", why: NOT_A_MAILBOX });
        };
        let opens = self.read.commitment() == reader;
        expect(opens, "directory.read", "it is not what reads the mailbox")
    }
}

impl LegacyLink {
    /// Signs for the classical account that `account` is the same person's.
    #[must_use]
    pub fn sign(key: &LegacyKey, network: &Digest, account: &AccountId) -> Self {
        let signature = key.sign(Domain::LegacyLink, &link_statement(network, account));
        Self { key: key.public(), signature }
    }

    /// Returns the classical id, if the key makes one.
    #[must_use]
    pub fn id(&self) -> Option<LegacyId> {
        LegacyId::from_ed25519_public(&self.key).ok()
    }

    fn check(&self, network: &Digest, account: &AccountId) -> Result<(), BadManifest> {
        expect(self.id().is_some(), "legacy.key", "it makes no classical id")?;
        let statement = link_statement(network, account);
        legacy::verify(&self.key, Domain::LegacyLink, &statement, &self.signature)
            .map_err(|_| BadManifest::Signature { whose: "classical account's" })
    }
}

const NOT_A_MAILBOX: &str = "it is not that of a mailbox";

fn link_statement(network: &Digest, account: &AccountId) -> Vec<u8> {
    [network.as_ref(), account.as_ref()].concat()
}

fn check_devices(devices: &[Device]) -> Result<(), BadManifest> {
    for (index, device) in devices.iter().enumerate() {
        let named = device.key.as_bytes().starts_with(&device.id);
        expect(named, "devices", "an id is not the beginning of the digest of its key")?;
        let again = devices[..index].iter().any(|before| before.id == device.id);
        expect(!again, "devices", "one is there twice")?;
    }
    Ok(())
}

fn expect(holds: bool, field: &'static str, why: &'static str) -> Result<(), BadManifest> {
    if holds { Ok(()) } else { Err(BadManifest::Invalid { field, why }) }
}
