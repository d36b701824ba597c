//! Key agreement: MLS (RFC 9420) behind one trait, so that the library under it can be exchanged.
//!
//! *Provided:* for the members of a group secrets that others do not know; forward secrecy per
//! message, healing with each commit; who signed. All of it against quantum computers as well:
//! ML-KEM-768 and ML-DSA-65.
//!
//! *Not provided:* whether a device belongs to its account (compare [`Member::key_hash`] with the
//! account's manifest), who may change a group, an order of commits, padding, or the hiding of
//! group id and epoch: that is [`group`](crate::group)'s.
//!
//! Only private messages are made and taken. Nothing is read from a clock: what the library asks
//! of it has no influence, because lifetimes are unbounded and past epochs are counted. All
//! randomness comes from [`Doors::rng`]: the same seed gives the same bytes.
//!
//! | module | holds |
//! |---|---|
//! | `error` | [`MlsError`] |
//! | `id` | [`DeviceKey`], [`Credential`] |
//! | `rules` | what of MLS is used, and what of a message is refused |
//! | `provider` | the library's doors to cryptography and entropy |
//! | `store` | the library's door to the vault |
//! | `secrets` | message secrets in pieces, so that little is written for a message |
//! | `cache` | groups that stay in memory |
//! | `open` | [`OpenMls`] |

mod cache;
mod error;
mod id;
mod open;
mod provider;
mod rules;
mod secrets;
mod store;

use session_core::{Digest, Entropy};
use session_crypto::DsaPublicKey;

pub use error::MlsError;
pub use id::{Again, Credential, DeviceKey};
pub use open::OpenMls;

use crate::Secret;
use crate::group::Agreed;
use crate::say::GroupId;
use crate::vault::Vault;

/// The cipher suite: `MLS_192_MLKEM768_AES256GCM_SHA384_MLDSA65`. The number is not assigned yet;
/// it is part of [`Agreed::version`] 1.
pub const SUITE: u16 = 0x0051;

/// The group-context extension that holds [`Agreed`]. From the private range.
pub const AGREED_EXTENSION: u16 = 0xF0A6;

/// The component under which [`KeyAgreement::export_once`] exports. From the private range.
pub const CHAIN_COMPONENT: u16 = 0xFF01;

/// Epochs before the current one whose messages still open.
pub const PAST_EPOCHS: usize = 15;

/// A message opens as long as it is among so many latest ones of its sender in the epoch.
pub const TOLERANCE: u32 = 64;

/// Messages of a sender that may be missing before one that arrives.
pub const FORWARD: u32 = 2000;

/// The world of one call: the vault and randomness. There is no clock.
pub struct Doors<'a> {
    /// The vault of the device.
    pub vault: &'a mut dyn Vault,
    /// Randomness.
    pub rng: &'a mut dyn Entropy,
}

/// A member of a group: one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its place in the tree. Free again once the member is removed.
    pub leaf: u32,
    /// What it says it is.
    pub credential: Credential,
    /// The hash of its signing key, as manifests list it.
    pub key_hash: Digest,
}

/// A device that a commit adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joiner {
    /// What it says it is.
    pub credential: Credential,
    /// The hash of its signing key, as manifests list it.
    pub key_hash: Digest,
}

/// A group that this device was brought into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcomed {
    /// Which.
    pub group: GroupId,
    /// The reference of the key package that was used.
    pub key_package: Digest,
    /// Whose welcome it is: the leaf that signed it.
    pub by: u32,
}

/// What is known of the current epoch of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochInfo {
    /// Its number.
    pub epoch: u64,
    /// Our place in the tree.
    pub own_leaf: u32,
    /// Everybody, ourselves included, by leaf.
    pub members: Vec<Member>,
    /// The same on all members that are in the same state.
    pub authenticator: Digest,
    /// What everybody agreed on.
    pub agreed: Agreed,
    /// Whether a commit of ours waits for [`KeyAgreement::merge`].
    pub pending: bool,
}

/// What a commit changes beside our own keys.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Key packages of those who join.
    pub add: Vec<Vec<u8>>,
    /// Leaves of those who go.
    pub remove: Vec<u32>,
    /// What is agreed from then on.
    pub agreed: Option<Agreed>,
    /// What the commit says beside that, signed: the authenticated data of its message.
    pub aside: Vec<u8>,
}

/// A commit of ours that is not merged yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// For the members.
    pub message: Vec<u8>,
    /// For those who join.
    pub welcome: Option<Vec<u8>>,
    /// The ratchet tree that those who join need; empty if nobody does.
    pub tree: Vec<u8>,
}

/// What a message was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Processed {
    /// Content, signed by a member. Each message is given out once.
    Said {
        /// Who: a leaf of the epoch in which it was said.
        leaf: u32,
        /// The epoch in which it was said: the current one, or up to [`PAST_EPOCHS`] before.
        epoch: u64,
        /// Who, if the leaf is another's by now.
        author: Credential,
        /// What.
        bytes: Vec<u8>,
    },
    /// The end of the epoch, if it is [accepted](KeyAgreement::accept).
    Commit(Summary),
    /// A member asks that members be removed. It is not kept: whoever agrees commits the removal.
    Proposal {
        /// Who asks.
        leaf: u32,
        /// Who is to go.
        leaves: Vec<u32>,
    },
}

/// What a commit of another member does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Whose it is: a leaf of the epoch that it ends.
    pub by: u32,
    /// Who joins.
    pub added: Vec<Joiner>,
    /// Who goes.
    pub removed: Vec<Member>,
    /// What is agreed afterwards.
    pub agreed: Agreed,
    /// Whether we are among those who go.
    pub removes_me: bool,
    /// The epoch that it begins.
    pub epoch: u64,
    /// What it says beside that: [`Change::aside`].
    pub aside: Vec<u8>,
}

/// Key agreement of a device with others. State is in the vault, under
/// [`Table::Mls`](crate::vault::Table::Mls); a call that fails has changed nothing there.
pub trait KeyAgreement {
    /// Makes a key package. The private half stays in the vault until
    /// [`forget_key_package`](Self::forget_key_package). Returns the package and its reference.
    ///
    /// # Errors
    /// When the library fails.
    fn key_package(
        &self,
        d: &mut Doors<'_>,
        me: &DeviceKey,
        who: &Credential,
    ) -> Result<(Vec<u8>, Digest), MlsError>;

    /// Removes the private half of a key package: no welcome for it opens any more.
    fn forget_key_package(&self, d: &mut Doors<'_>, reference: &Digest);

    /// Reads and checks a key package. Returns what the device says it is, the hash of its signing
    /// key, and the package's reference.
    ///
    /// # Errors
    /// When it is malformed, not signed, or of another kind than ours.
    fn read_key_package(&self, bytes: &[u8]) -> Result<(Credential, Digest, Digest), MlsError>;

    /// Returns the signing key of the device that a key package is of, if it can be read.
    fn signing_key(&self, key_package: &[u8]) -> Option<DsaPublicKey>;

    /// Makes a group of which this device is the only member.
    ///
    /// # Errors
    /// When there is one with that id.
    fn create(
        &self,
        d: &mut Doors<'_>,
        me: &DeviceKey,
        who: &Credential,
        group: &GroupId,
        agreed: &Agreed,
    ) -> Result<(), MlsError>;

    /// Joins a group. The private half of the key package that was used is still there, so that the
    /// same welcome could be read again. Call [`forget_key_package`](Self::forget_key_package) when
    /// that must end. Whether the leaf that signed is whose it says it is, the caller has to find out.
    ///
    /// # Errors
    /// When the welcome is not for us, or not in order; [`MlsError::Exists`] when the group is
    /// known: to join again, [`forget`](Self::forget) it first.
    fn join(&self, d: &mut Doors<'_>, welcome: &[u8], tree: &[u8]) -> Result<Welcomed, MlsError>;

    /// Returns what is known of a group; `None` if this device is not, or no longer, in it.
    fn info(&self, vault: &dyn Vault, group: &GroupId) -> Option<EpochInfo>;

    /// Makes a commit with new keys for this device, and keeps it pending: publish it, then
    /// [`merge`](Self::merge) or [`discard`](Self::discard) it.
    ///
    /// # Errors
    /// When one is pending already, or the change is impossible.
    fn commit(
        &self,
        d: &mut Doors<'_>,
        me: &DeviceKey,
        group: &GroupId,
        change: &Change,
    ) -> Result<Made, MlsError>;

    /// Begins the epoch of our pending commit.
    ///
    /// # Errors
    /// When there is none.
    fn merge(&self, d: &mut Doors<'_>, group: &GroupId) -> Result<(), MlsError>;

    /// Drops our pending commit, if there is one.
    fn discard(&self, d: &mut Doors<'_>, group: &GroupId);

    /// Asks the others to remove this device.
    ///
    /// # Errors
    /// When a commit of ours is pending.
    fn leave(
        &self,
        d: &mut Doors<'_>,
        me: &DeviceKey,
        group: &GroupId,
    ) -> Result<Vec<u8>, MlsError>;

    /// Whether a message is a commit or a proposal, by what it says outside its encryption. Content
    /// that is [processed](Self::process) is given out once: it must not be taken for something else.
    fn is_handshake(&self, message: &[u8]) -> bool;

    /// Takes a message of another member. A commit is checked and remembered for
    /// [`accept`](Self::accept); it may be processed any number of times until then.
    ///
    /// # Errors
    /// When it does not open, or breaks a rule.
    fn process(
        &self,
        d: &mut Doors<'_>,
        group: &GroupId,
        message: &[u8],
    ) -> Result<Processed, MlsError>;

    /// Begins the epoch of the commit that was processed last. A pending commit of ours is
    /// dropped. If the commit removes this device, the group is forgotten.
    ///
    /// # Errors
    /// When there is none.
    fn accept(&self, d: &mut Doors<'_>, group: &GroupId) -> Result<(), MlsError>;

    /// Forgets the commit that was processed last.
    fn refuse(&self, d: &mut Doors<'_>, group: &GroupId);

    /// Encrypts and signs content for the members of the current epoch.
    ///
    /// # Errors
    /// When this device is not a member.
    fn encrypt(
        &self,
        d: &mut Doors<'_>,
        me: &DeviceKey,
        group: &GroupId,
        plain: &[u8],
    ) -> Result<Vec<u8>, MlsError>;

    /// Derives a secret of the epoch, as often as wanted. It can be derived again by whoever
    /// steals the vault during the epoch.
    ///
    /// # Errors
    /// When this device is not a member.
    fn export(&self, d: &mut Doors<'_>, group: &GroupId, label: &str) -> Result<Secret, MlsError>;

    /// Derives the secret of the epoch that can be had once: the state that leads to it is erased.
    ///
    /// # Errors
    /// [`MlsError::Exported`] the second time in an epoch.
    fn export_once(&self, d: &mut Doors<'_>, group: &GroupId) -> Result<Secret, MlsError>;

    /// Returns the whole state of a group, secrets included; empty if there is none.
    ///
    /// # Security
    /// Forward secrecy is suspended while it exists.
    fn snapshot(&self, vault: &dyn Vault, group: &GroupId) -> zeroize::Zeroizing<Vec<u8>>;

    /// Puts the state of a group back to a snapshot.
    ///
    /// # Errors
    /// When it is not one; nothing is changed then.
    fn restore(&self, d: &mut Doors<'_>, group: &GroupId, snapshot: &[u8]) -> Result<(), MlsError>;

    /// Removes everything of a group.
    fn forget(&self, d: &mut Doors<'_>, group: &GroupId);
}
