//! Cryptographic groups: who may read what is said, and how boxes are sealed and opened.
//!
//! A conversation of two accounts, a group of many and the devices of one account are the same
//! here; they differ in [`Kind`].
//!
//! What it does: it seals what is said and opens what arrives; lets devices in and out; renews keys
//! by itself; follows the commits of others, one slot after another, and heals forks. It reports
//! what it heard, and leaves everything that people see to others.
//!
//! *Publish before merge:* a commit is stored in the slot of its epoch, and becomes real only when a
//! quorum of the swarm has signed for it. Who loses the race reads the slot and follows the winner.
//!
//! *Provided:* secrecy from everyone who is not in the roster of an epoch; forward secrecy of each
//! message, except for what a way back of ten minutes after each commit keeps; healing with the first
//! commit of a device after its state was stolen. *Not provided:* whether a device belongs to its
//! account, which the account's manifest tells (`Heard::Check`, `Groups::known`); an order of
//! what different members say.
//!
//! | file | holds |
//! |---|---|
//! | `state` | what is kept, and where |
//! | `routes` | mailboxes, slots, what is watched |
//! | `policy` | who may change what |
//! | `epochs` | how an epoch begins and ends |
//! | `seal`, `open` | messages |
//! | `wishes`, `slots`, `commits` | own commits, where they lie, which one counts |
//! | `fork` | the way back to a better branch |
//! | `lost` | who cannot follow any more |
//! | `trust` | what devices say whose account has not confirmed them |
//! | `upkeep` | what becomes due |

mod commits;
mod epochs;
mod fork;
mod lost;
mod open;
mod policy;
mod routes;
mod seal;
mod slots;
mod state;
#[cfg(test)]
mod tests;
mod trust;
mod upkeep;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};

use session_core::timers::Timers;
use session_core::{AccountId, Digest, InboxAddress, List, Span, Text, Time, choice, record};

use crate::Cx;
use crate::messenger::api::{Error, Source, Warning};
use crate::mls::{Credential, DeviceKey, Doors, KeyAgreement as _, OpenMls};
use crate::say::{DeviceId, Disappear, GroupId, NAME_BYTES_MAX};
use crate::secret::Secret;
use crate::vault::Vault;

pub(crate) use policy::is_admin;
pub(crate) use state::{ADDS_MAX, Leaf, Package, Phase, Roster, Seat, Wish};
pub(crate) use trust::Listing;
pub(crate) use wishes::adds;

use state::State;

/// Most accounts in a group; see `docs/performance.md` for what larger ones would cost.
pub const MEMBERS_MAX: usize = 250;

/// How long messages of an earlier epoch, and of mailboxes that changed, are still taken.
pub const RETAIN: Span = Span::from_secs(48 * 3600);

/// How long there is a way back from an epoch to one that turns out to be better. Short, because it
/// suspends forward secrecy.
pub const HORIZON: Span = Span::from_secs(600);

choice! {
    /// What a group is for. Agreed by all members, fixed when it is made.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Kind {
        /// Two accounts: content under symmetric chains, deniable.
        1 => Direct {
            /// Who made it.
            creator: AccountId,
            /// The other one.
            other: AccountId,
        },
        /// Many accounts: content signed by its author.
        2 => Group,
        /// The devices of one account: content signed by its author.
        3 => Devices {
            /// The account.
            account: AccountId,
        },
    }

    /// What an account may do in a group.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub enum Role {
        /// Talk.
        #[default]
        1 => Member,
        /// Also add, remove, and change the group.
        2 => Admin,
    }
}

record! {
    /// What all members agree on beside keys. Part of the group's context, so that every epoch
    /// authenticates it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Agreed {
        /// The version of this record and of everything below: 1.
        pub version: u16,
        /// What the group is for.
        pub kind: Kind,
        /// Its name; empty for two.
        pub name: Text<NAME_BYTES_MAX>,
        /// Accounts that are admins; everyone else is a member.
        pub admins: List<AccountId, 32>,
        /// How messages disappear.
        pub disappear: Disappear,
        /// Messages that those who join later are shown, at most.
        pub history: u16,
    }
}

impl Kind {
    /// Whether it is a conversation of two accounts.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        matches!(self, Self::Direct { .. })
    }
}

/// When keys are renewed without anybody asking.
#[derive(Clone, Copy, Debug)]
pub struct Rotation {
    /// After so many messages sent.
    pub messages: u32,
    /// After keys have been in use for so long; up to an eighth later.
    pub age: Span,
    /// With the first message after so long a silence.
    pub idle: Span,
    /// A commit that nobody has followed for so long is sent again.
    pub resend: Span,
    /// Or after so many messages from epochs before it.
    pub resend_messages: u32,
    /// A commit that nobody has followed for so long: healing is blocked, and its owner is told.
    pub blocked: Span,
}

impl Default for Rotation {
    fn default() -> Self {
        Self {
            messages: 100,
            age: Span::from_days(1),
            idle: Span::from_secs(6 * 3600),
            resend: Span::from_days(3),
            resend_messages: 20,
            blocked: Span::from_days(7),
        }
    }
}

/// This device, as groups know it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Author<'a> {
    pub(crate) key: &'a DeviceKey,
    pub(crate) credential: &'a Credential,
}

impl Author<'_> {
    fn account(&self) -> &AccountId {
        &self.credential.account
    }
}

/// What came of something that arrived or became due.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    /// Somebody said something: the bytes of a [`Said`](crate::say::Said).
    Said {
        group: GroupId,
        author: AccountId,
        device: DeviceId,
        said: Vec<u8>,
        /// Whether own devices are in the group that could not read it: it was said before its
        /// author knew of them.
        overlooked: bool,
    },
    /// A commit of ours brought devices in: each gets all of this in an introduction.
    Welcome(Box<Welcome>),
    /// Another epoch began: keys changed, and perhaps more.
    Changed(Box<Changed>),
    /// A wish came true, or it will not.
    Done { ticket: u64, result: Result<(), Error> },
    /// A device takes part of which it is not known whether its account lists it: look up the
    /// manifest and call [`Groups::known`]. What it says waits until then.
    Check { account: AccountId },
    /// This device is out; everything about the group is gone.
    Removed { group: GroupId, by: Option<AccountId> },
    /// This device cannot follow any more: ask a member to add it again.
    Lost { group: GroupId },
    /// It is not back yet: ask again, perhaps somebody else. How often it is said that.
    StillLost { group: GroupId, times: u32 },
    /// A commit of ours is stored and nobody follows it.
    HealingBlocked { group: GroupId, since: Time },
    /// Something that its owner should know.
    Warning(Warning),
}

/// What devices need that join a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) group: GroupId,
    pub(crate) joiners: Vec<Leaf>,
    pub(crate) welcome: Vec<u8>,
    pub(crate) tree: Vec<u8>,
    pub(crate) route: Secret,
    pub(crate) epoch: u64,
}

/// What an epoch brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Changed {
    pub(crate) group: GroupId,
    pub(crate) epoch: u64,
    /// Who made the commit; `None` for the own device when it just came in.
    pub(crate) by: Option<Leaf>,
    pub(crate) added: Vec<Leaf>,
    pub(crate) removed: Vec<Leaf>,
    pub(crate) before: Agreed,
    pub(crate) agreed: Agreed,
}

/// Who sent a welcome: a device that the newest manifest of its account lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Inviter {
    pub(crate) account: AccountId,
    /// Digest of the device's signing key.
    pub(crate) key: Digest,
}

/// Why a group is not joined. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JoinError {
    /// This device is in it.
    #[error("this device is in the group already")]
    There,
    /// The welcome is for a key package that is not, or no longer, here: another own device's.
    #[error("the welcome is for none of our key packages")]
    NotForUs,
    /// The welcome, or the group, is not what it should be.
    #[error("{0}")]
    Refused(Error),
}

/// A group that this device came into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(crate) group: GroupId,
    pub(crate) epoch: u64,
    pub(crate) agreed: Agreed,
    /// The key package that was used: it must not be used again.
    pub(crate) key_package: Digest,
    /// Whether this device was in it before, and had lost it.
    pub(crate) again: bool,
    /// Accounts with devices of which it is not known whether they list them: to be looked up, and
    /// [`Groups::known`] called.
    pub(crate) unknown: Vec<AccountId>,
}

/// What a read on its way is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// The slots of an epoch.
    Slots { group: GroupId, epoch: u64 },
    /// The other pieces of the commit with this name.
    Rest { group: GroupId, epoch: u64, id: [u8; 16] },
    /// Whether anything ends an epoch after this one.
    Ahead { group: GroupId, epoch: u64 },
}

/// All groups of this device. State is in the vault; here are only what is watched and what is due,
/// rebuilt by [`Groups::open`].
pub(crate) struct Groups {
    mls: OpenMls,
    rotation: Rotation,
    timers: Timers<GroupId>,
    watch: routes::Watch,
    reads: BTreeMap<u64, Reading>,
    /// Whether the commit that is looked at is an old one: this device catches up.
    late: bool,
}

impl Groups {
    /// Takes up what an earlier run left.
    pub(crate) fn open(vault: &dyn Vault, now: Time) -> Self {
        let mut groups = Self {
            mls: OpenMls::default(),
            rotation: Rotation::default(),
            timers: Timers::default(),
            watch: routes::Watch::default(),
            reads: BTreeMap::new(),
            late: false,
        };
        for (group, _) in state::all(vault) {
            groups.watch.touch(group);
            groups.timers.set(group, now);
        }
        groups
    }

    /// Returns what makes and reads key packages.
    pub(crate) fn agreement(&self) -> &OpenMls {
        &self.mls
    }

    /// Keys are renewed by another rule.
    pub(crate) fn rotate_by(&mut self, rotation: Rotation) {
        self.rotation = rotation;
    }

    /// Returns when [`tick`](Self::tick) has something to do, or [`sources`](Self::sources) changes.
    /// Every call below may make that the present.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let watch = (!self.timers.is_empty()).then(|| self.watch.deadline());
        self.timers.next().into_iter().chain(watch).min()
    }

    /// Whether [`sources`](Self::sources) would answer something new.
    pub(crate) fn sources_changed(&self, now: Time) -> bool {
        self.watch.is_stale(now)
    }

    /// Returns the mailboxes to watch, those of past days as far back as `since`: when this device
    /// was last up to date.
    pub(crate) fn sources(
        &mut self,
        vault: &dyn Vault,
        own: &AccountId,
        now: Time,
        since: Time,
    ) -> BTreeMap<InboxAddress, Source> {
        self.watch.all(vault, own, now, since)
    }

    /// A copy of this device may use the keys of all groups: none is used here any more, but of those
    /// that it came back to since this run began.
    pub(crate) fn lose_all(&mut self, cx: &mut Cx<'_>, since: Time) -> Vec<Heard> {
        let mut heard = Vec::new();
        for (group, mut state) in state::all(cx.store) {
            if state.is_member() && !self.is_back(cx, &group, since) {
                self.lose(cx, &group, &mut state, &mut heard);
                state.save(cx.store, &group);
            }
        }
        heard
    }

    /// Whether this device was let in again with a key package that it made since then.
    fn is_back(&self, cx: &Cx<'_>, group: &GroupId, since: Time) -> bool {
        let info = self.mls.info(cx.store, group);
        info.is_some_and(|info| {
            let own = info.members.iter().find(|member| member.leaf == info.own_leaf);
            own.and_then(|own| own.credential.again).is_some_and(|again| again.at >= since)
        })
    }

    /// The mailboxes of all groups may be others now.
    pub(crate) fn touch_all(&mut self, vault: &dyn Vault) {
        state::all(vault).into_iter().for_each(|(group, _)| self.watch.touch(group));
    }

    /// Something was written: look at the group again, soon, and at its mailboxes.
    fn touch(&mut self, group: GroupId, now: Time) {
        self.timers.set(group, now);
        self.watch.touch(group);
    }
}

/// Returns the groups of this device, with what was agreed and where it stands.
pub(crate) fn list(vault: &dyn Vault) -> Vec<(GroupId, Agreed, Phase)> {
    let all = state::all(vault).into_iter();
    all.map(|(group, state)| (group, state.agreed, state.phase)).collect()
}

/// Returns what was agreed in a group.
#[must_use]
pub fn agreed(vault: &dyn Vault, group: &GroupId) -> Option<Agreed> {
    State::load(vault, group).map(|state| state.agreed)
}

/// Returns where this device stands in a group; `None` if it was never in it.
pub(crate) fn phase(vault: &dyn Vault, group: &GroupId) -> Option<Phase> {
    State::load(vault, group).map(|state| state.phase)
}

/// Returns the current epoch of a group, and what is the same on all members in it.
#[must_use]
pub fn epoch(vault: &dyn Vault, group: &GroupId) -> Option<(u64, Digest)> {
    let state = State::load(vault, group)?;
    Some((state.epoch, state.current()?.authenticator))
}

/// Whether somebody else has been heard in a group; in a conversation of two, the other account.
pub(crate) fn is_heard(vault: &dyn Vault, group: &GroupId) -> bool {
    state::Part::Heed.any(vault, group)
}

/// Returns the devices in a group.
pub(crate) fn roster(vault: &dyn Vault, group: &GroupId) -> Roster {
    let state = State::load(vault, group);
    let current = state.as_ref().and_then(State::current);
    current.map(|keys| Roster::load(vault, group, &keys.authenticator)).unwrap_or_default()
}

/// Whether changes of a group wait, or are on their way.
pub(crate) fn is_changing(vault: &dyn Vault, group: &GroupId) -> bool {
    let flies = State::load(vault, group).is_some_and(|state| state.flight.is_some());
    flies || state::Part::Wish.any(vault, group)
}

/// Returns the accounts about whose devices it is not known whether they belong to them, although
/// they have said something.
pub(crate) fn unchecked(vault: &dyn Vault) -> BTreeSet<AccountId> {
    trust::unchecked(vault)
}

/// Returns the accounts in a group and their roles.
#[must_use]
pub fn members(vault: &dyn Vault, group: &GroupId) -> Vec<(AccountId, Role)> {
    let Some(agreed) = agreed(vault, group) else { return Vec::new() };
    let role = |account: AccountId| {
        let role = if is_admin(&agreed, &account) { Role::Admin } else { Role::Member };
        (account, role)
    };
    roster(vault, group).accounts().into_iter().map(role).collect()
}

/// Lends vault and randomness to key agreement.
fn doors<'b>(cx: &'b mut Cx<'_>) -> Doors<'b> {
    Doors { vault: &mut *cx.store, rng: &mut *cx.rng }
}

fn refused(what: impl core::fmt::Display) -> Heard {
    Heard::Warning(Warning::Refused { what: what.to_string() })
}
