//! Who a device is: its signing key, and what it says of itself in its leaf.

use session_core::{
    AccountId, Decode as _, Digest, Domain, Encode as _, Entropy, Time, digest, record,
};
use session_crypto::signer::SIGNATURE_CONTEXT;
use session_crypto::{DsaPublicKey, DsaSecretKey, Signature};

use super::MlsError;
use crate::Secret;
use crate::say::{DeviceId, GroupId};

/// The signing key of a device: ML-DSA-65, from a seed. It signs the device's leaves, messages
/// and requests, never for the account.
pub struct DeviceKey {
    secret: DsaSecretKey,
    public: DsaPublicKey,
    hash: Digest,
}

impl DeviceKey {
    /// Derives the key of a seed.
    #[must_use]
    pub fn from_seed(seed: &Secret) -> Self {
        let (secret, public) = DsaSecretKey::from_seed(seed.expose());
        let hash = key_hash(public.as_ref());
        Self { secret, public, hash }
    }

    /// Returns the public half.
    #[must_use]
    pub fn public(&self) -> &DsaPublicKey {
        &self.public
    }

    /// Returns the id of the device.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        id_of(&self.hash)
    }

    /// Returns the hash of the public half, as manifests list it.
    #[must_use]
    pub fn key_hash(&self) -> Digest {
        self.hash
    }

    /// Signs `digest(domain, [message])` under [`SIGNATURE_CONTEXT`].
    pub fn sign(&self, domain: Domain, message: &[u8], rng: &mut dyn Entropy) -> Signature {
        let digest = digest(domain, &[message]);
        self.secret
            .sign(SIGNATURE_CONTEXT, digest.as_ref(), rng)
            .expect("the context is a short constant")
    }

    pub(super) fn secret(&self) -> &DsaSecretKey {
        &self.secret
    }
}

impl core::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "DeviceKey({})", self.id())
    }
}

/// Returns the hash under which a signing key of a device is known.
pub(super) fn key_hash(public: &[u8]) -> Digest {
    digest(Domain::DeviceId, &[public])
}

/// Returns the id of the device whose signing key has this hash.
pub(super) fn id_of(key_hash: &Digest) -> DeviceId {
    let bytes = key_hash.as_ref();
    DeviceId(bytes[..16].try_into().expect("a digest has 32 bytes"))
}

record! {
    /// What a device says of itself. Whether it is true, the account's manifest tells.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Credential {
        /// The account that it belongs to.
        pub account: AccountId,
        /// Its id.
        pub device: DeviceId,
        /// The digest of the manifest in which it knew itself when it joined.
        pub manifest: Digest,
        /// What it asks for, in a key package that was made to take the place of its own leaf.
        pub again: Option<Again>,
    }

    /// A device that lost a group asks to be let in again.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Again {
        /// Which group.
        pub group: GroupId,
        /// When it asks: what it asked before does not count any more.
        pub at: Time,
    }
}

/// The first byte of an identity: accounts with post-quantum keys.
const KIND: u8 = 0x07;

impl Credential {
    /// Returns it as the identity of a basic credential.
    pub(super) fn identity(&self) -> Vec<u8> {
        let mut bytes = vec![KIND];
        self.encode(&mut bytes);
        bytes
    }

    /// Reads an identity, and checks that the device id is that of the signing key. Returns the
    /// hash of the key with it.
    pub(super) fn read(identity: &[u8], key: &[u8]) -> Result<(Self, Digest), MlsError> {
        let this = Self::unbound(identity)?;
        let hash = key_hash(key);
        if this.device != id_of(&hash) {
            return Err(MlsError::refused("a credential", "its device id is another key's"));
        }
        Ok((this, hash))
    }

    /// Returns it for a key package that asks for the own leaf in a group to be replaced.
    pub(crate) fn again(&self, group: GroupId, at: Time) -> Self {
        Self { again: Some(Again { group, at }), ..*self }
    }

    /// Whether this, in a key package, asks for a leaf of the same device in the group to be replaced:
    /// the device signed so, after it came in there.
    pub(crate) fn asks_for(&self, group: &GroupId, leaf: &Self) -> bool {
        let before = leaf.again.map(|it| it.at);
        (self.account, self.device) == (leaf.account, leaf.device)
            && self.again.is_some_and(|it| it.group == *group && Some(it.at) > before)
    }

    /// Reads an identity whose key has been checked before.
    pub(super) fn unbound(identity: &[u8]) -> Result<Self, MlsError> {
        let Some((&KIND, rest)) = identity.split_first() else {
            return Err(MlsError::refused("a credential", "its account is of another kind"));
        };
        Self::decode_exact(rest).map_err(|why| MlsError::malformed("a credential", why))
    }
}
