//! Who this device is, what its account publishes, whom it knows, and first contact.
//!
//! An account is a pair of keys, made from the 32 bytes that its owner keeps as words. What it says
//! of itself is a [`Manifest`](session_protocol::manifest::Manifest): numbered, signed, each naming
//! the one before. A device has a signing key of its own, which the manifest lists by its hash; it
//! holds the keys of the account, or belongs to it because a device that holds them has said so.
//!
//! What it does not do: it keeps no conversation, and whether a device belongs to a group is not its
//! business; it reports what there is to do.
//!
//! *Provided:* manifests that go back, contradict each other or come from nowhere are noticed; first
//! contact under a key that is drawn anew every week and erased; key packages of devices that the
//! manifest lists only. *Not provided:* anything against a thief of the words; whether the swarm
//! hands out each key package once.

mod audit;
mod contacts;
mod intro;
mod keys;
mod known;
mod link;
mod manifest;
mod packages;

use session_core::{AccountId, DecodeError, Entropy, Span, Text, Time, choice, record};
use session_crypto::Identity;
use session_protocol::NetworkId;
use session_protocol::inbox::{AccessRule, BOXES, MANIFESTS};
use session_protocol::manifest::{BadManifest, SignedManifest};

use crate::boxes::BadPiece;
use crate::intro::IntroError;
use crate::messenger::api::{Error, Source};
use crate::mls::{Credential, DeviceKey};
use crate::say::DeviceId;
use crate::secret::Secret;
use crate::vault::{self, Table, Vault};

pub use audit::{Finding, audit};
pub use contacts::{Contact, contact, contacts, is_blocked, safety_number};
pub(crate) use contacts::{meet, restore as restore_contact, set_contact};
pub(crate) use intro::{Incoming, arrived_intro, make_intro};
pub(crate) use keys::{export_keys, import_keys, sources};
pub use known::known;
pub(crate) use known::{Learned, learn, listing};
pub(crate) use link::{add_device, link_legacy, revoke_device};
pub use link::{arrived_link, linking, new_device};
pub(crate) use manifest::{next_due, publish};
pub(crate) use packages::{choose_packages, keep_shown_once, published, used_package};

/// Longest name of a device, in bytes: what a manifest has room for.
pub const DEVICE_NAME_BYTES_MAX: usize = 64;

/// How long secrets are kept after the last moment at which somebody may have used the public half:
/// the longest time that an item waits in a swarm, and two days for a device that was away.
pub(crate) const HOLD: Span = Span::from_secs((14 + 2) * 86_400);

/// This device, and the account that it belongs to.
#[derive(Debug)]
pub(crate) struct Me {
    pub(crate) account: AccountId,
    pub(crate) device: DeviceId,
    pub(crate) key: DeviceKey,
    pub(crate) network: NetworkId,
    /// What new leaves of this device say; names the newest manifest.
    pub(crate) credential: Credential,
    /// The keys of the account, on devices that hold them.
    keys: Option<Identity>,
}

impl Me {
    /// Returns this device as groups know it.
    pub(crate) fn author(&self) -> crate::group::Author<'_> {
        crate::group::Author { key: &self.key, credential: &self.credential }
    }

    /// Tells whether this device signs for the account.
    pub(crate) fn holds_keys(&self) -> bool {
        self.keys.is_some()
    }

    fn keys(&self) -> Result<&Identity, Error> {
        self.keys.as_ref().ok_or(Error::NoAccountKeys)
    }

    /// Takes over what the newest manifest is.
    fn follow(&mut self, newest: &SignedManifest) {
        self.credential.manifest = newest.digest();
    }
}

/// What a device with the keys of an account begins with.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The seed of the account: what its words stand for.
    pub seed: Secret,
    /// The network.
    pub network: NetworkId,
    /// The name of the device.
    pub device_name: String,
    /// Whether the account may have published before. Then nothing is published until the newest
    /// manifest was looked up; the next one has this device only, and the others are linked again.
    pub restored: bool,
}

/// What is to be done about conversations after the account has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Todo {
    /// Tell the other devices of the account [`export_keys`].
    ShareKeys,
    /// Add a device to the device group and to all conversations.
    Admit { device: DeviceId },
    /// Remove a device from all groups.
    Exclude { device: DeviceId },
    /// Read the manifests of the own account and hand them to [`learn`]: nothing is published before.
    LookUpSelf,
}

/// Why something from outside is not taken. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Not what it should be.
    #[error("{what} is malformed")]
    Malformed {
        /// What.
        what: &'static str,
        /// Why.
        #[source]
        why: DecodeError,
    },
    /// The manifest of its sender is not one.
    #[error("the manifest of a sender is not believed")]
    Manifest(#[from] BadManifest),
    /// It was not sealed for this account, or it was altered.
    #[error("an introduction does not open")]
    NotOpened,
    /// It opens, and its sender did not follow the format.
    #[error("an introduction is malformed")]
    Introduction(#[from] IntroError),
    /// It came in pieces that do not fit together.
    #[error("the pieces of an introduction do not fit together")]
    Pieces(#[from] BadPiece),
    /// A manifest is too old.
    #[error("the manifest of {account} expired at {expiry}")]
    Expired {
        /// Whose.
        account: AccountId,
        /// When.
        expiry: Time,
    },
    /// A device claims to belong to an account that does not list it.
    #[error("device {device} says that it belongs to {account}, which does not know it")]
    Impostor {
        /// The device.
        device: DeviceId,
        /// The account.
        account: AccountId,
    },
    /// A field contradicts another.
    #[error("{field}: {why}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong.
        why: &'static str,
    },
}

choice! {
    /// Whether this device has made, or been given, a manifest that lists it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Begun {
        /// The account may have published before: not before that was looked up.
        1 => MustLookUp,
        /// It was looked up; the manifest is made next.
        2 => LookedUp,
        3 => Yes,
    }
}

record! {
    /// What makes this device, as it is kept.
    struct Own {
        version: u16,
        account: AccountId,
        network: NetworkId,
        /// From which the signing key of the device is made.
        device: Secret,
        /// From which the keys of the account are made.
        seed: Option<Secret>,
        begun: Begun,
        name: Text<DEVICE_NAME_BYTES_MAX>,
    }

    /// A device of the own account, for whoever shows them.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct OwnDevice {
        /// Its id.
        pub id: DeviceId,
        /// Its name.
        pub name: Text<DEVICE_NAME_BYTES_MAX>,
        /// When it was added.
        pub added: Time,
        /// Whether it is this one.
        pub here: bool,
    }
}

impl Own {
    fn key() -> Vec<u8> {
        Table::Meta.key(&[b"account/own"])
    }

    fn load(vault: &dyn Vault) -> Option<Self> {
        vault::load(vault, &Self::key())
    }

    fn save(&self, vault: &mut dyn Vault) {
        vault::save(vault, &Self::key(), self);
    }

    fn me(&self, vault: &dyn Vault) -> Me {
        let key = DeviceKey::from_seed(&self.device);
        let device = key.id();
        let manifest = known(vault, &self.account).map(|it| it.digest()).unwrap_or_default();
        Me {
            account: self.account,
            device,
            network: self.network,
            credential: Credential { account: self.account, device, manifest, again: None },
            keys: self.seed.as_ref().map(|seed| Identity::from_seed(seed.expose())),
            key,
        }
    }
}

/// Makes the first device of an account: draws its key, and makes the manifest unless the account is
/// restored. Nothing is published before [`publish`].
///
/// # Errors
/// When the vault has a device already, or the name is too long.
pub(crate) fn create(
    vault: &mut dyn Vault,
    rng: &mut dyn Entropy,
    now: Time,
    setup: &Setup,
) -> Result<Me, Error> {
    vacant(vault)?;
    let own = Own {
        version: 1,
        account: Identity::from_seed(setup.seed.expose()).public().account_id(),
        network: setup.network,
        device: Secret::generate(rng),
        seed: Some(setup.seed.clone()),
        begun: if setup.restored { Begun::MustLookUp } else { Begun::Yes },
        name: device_name(&setup.device_name)?,
    };
    own.save(vault);
    let mut me = own.me(vault);
    if !setup.restored {
        manifest::begin(vault, rng, now, &mut me)?;
    }
    Ok(me)
}

/// Returns who this device is, if it is anybody yet.
pub(crate) fn open(vault: &dyn Vault) -> Option<Me> {
    Own::load(vault).map(|own| own.me(vault))
}

/// Returns the account of this device.
#[must_use]
pub fn account(vault: &dyn Vault) -> Option<AccountId> {
    Own::load(vault).map(|own| own.account)
}

/// Returns the seed of the account, on devices that hold its keys: what its words stand for.
#[must_use]
pub fn seed(vault: &dyn Vault) -> Option<Secret> {
    Own::load(vault)?.seed
}

/// Returns the devices of the own account, in the order in which they were added.
#[must_use]
pub fn devices(vault: &dyn Vault) -> Vec<OwnDevice> {
    let Some(own) = Own::load(vault) else { return Vec::new() };
    let here = DeviceKey::from_seed(&own.device).id();
    let manifest = known(vault, &own.account);
    let listed = manifest.iter().flat_map(|it| &it.manifest.devices);
    listed
        .map(|device| OwnDevice {
            id: DeviceId(device.id),
            name: device.name.clone(),
            added: device.added,
            here: DeviceId(device.id) == here,
        })
        .collect()
}

/// Returns where the manifests of an account lie.
pub(crate) fn find_source(account: &AccountId) -> Source {
    Source { rule: AccessRule::from(*account), read: None, namespace: MANIFESTS }
}

/// Returns where the key packages of an account lie.
pub(crate) fn package_source(manifest: &SignedManifest) -> Source {
    let directory = &manifest.manifest.directory;
    Source { rule: directory.rule, read: Some(directory.read.clone()), namespace: BOXES }
}

fn vacant(vault: &dyn Vault) -> Result<(), Error> {
    if Own::load(vault).is_some() {
        let why = "this device belongs to an account already".to_owned();
        return Err(Error::Invalid { field: "device", why });
    }
    Ok(())
}

fn device_name(name: &str) -> Result<Text<DEVICE_NAME_BYTES_MAX>, Error> {
    Text::new(name).map_err(|over| Error::TooMany {
        field: "bytes of the device's name",
        got: over.got,
        limit: over.limit,
    })
}

#[cfg(test)]
mod tests;
