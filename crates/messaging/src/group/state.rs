//! What is kept of a group: records, and where they lie in the vault.

use core::ops::Range;

use session_core::{
    AccountId, Blob, Decode, Digest, Encode as _, List, MessageId, Span, Text, Time, choice, record,
};
use session_protocol::request::ItemBytes;

use super::routes::SLOTS_MAX;
use super::{Agreed, Kind, Role};
use crate::say::{DeviceId, Disappear, GroupId, NAME_BYTES_MAX};
use crate::secret::Secret;
use crate::vault::{self, Table, Vault};

/// Epochs whose messages are still opened, the current one included: in conversations of two, whose
/// chains are ours.
pub(super) const EPOCHS_MAX: usize = 16;

/// The same where messages are signed: key agreement keeps no more.
const EPOCHS_SIGNED: usize = 1 + crate::mls::PAST_EPOCHS;

/// A commit that was stored so long after it was made counts after all others. Who makes one tries for
/// a shorter time, so that nothing depends on which try it was.
const LATE: Span = Span::from_secs(300);

/// What a device says that wants to be removed: a proposal of key agreement.
pub(super) type Ask = Blob<16_384>;

/// Items of one commit.
pub(super) const PIECES_MAX: usize = crate::boxes::PIECES_MAX;

/// Leaves of the largest tree.
const LEAVES_MAX: usize = super::MEMBERS_MAX * session_protocol::manifest::DEVICES_MAX;

/// Largest key package, welcome, tree or snapshot that is kept.
const LARGE_MAX: usize = 16 << 20;

record! {
    /// A secret from which the mailboxes of a group derive, and since when.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Route {
        pub(super) seed: Secret,
        /// The first epoch whose commit mailbox derives from it.
        pub(super) epoch: u64,
        /// When another one took its place; until then, [`Time::MAX`].
        pub(super) ended: Time,
    }

    /// What a commit says of itself, signed: the same to everybody who finds it, wherever and
    /// whenever that is.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(super) struct Stamp {
        /// The slot of its epoch.
        pub(super) slot: u32,
        /// When it was made, by the clock of who made it.
        pub(super) made: Time,
    }

    /// What stands beside a commit, signed with it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Aside {
        pub(super) stamp: Stamp,
        /// The wish of the member that it removes, if whoever made it may remove nobody else: so that
        /// everybody who sees the commit can tell, at any time.
        pub(super) asked: Option<Ask>,
    }

    /// What opens the boxes of an epoch.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct EpochKeys {
        pub(super) epoch: u64,
        /// The same on all members of this branch.
        pub(super) authenticator: Digest,
        pub(super) header: Secret,
        /// When this device entered it.
        pub(super) began: Time,
        /// When this device left it; until then, [`Time::MAX`].
        pub(super) ended: Time,
        /// The commit that led here; zero for the first epoch of this device.
        pub(super) commit: Digest,
        /// What it says of itself.
        pub(super) stamp: Stamp,
        /// Whether it was stored much later than it was made.
        pub(super) late: bool,
        /// The key of the device that made it.
        pub(super) by: Digest,
        /// Whether an admin made it.
        pub(super) by_admin: bool,
    }

    /// A commit of ours that the swarm has not confirmed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Flight {
        /// The epoch that it ends.
        pub(super) epoch: u64,
        pub(super) digest: Digest,
        /// The wish behind it.
        pub(super) wish: u64,
        pub(super) stamp: Stamp,
        /// When the slot was to be filled; until then, [`Time::MAX`].
        pub(super) since: Time,
        /// Whether the slot decides: the swarm said that it holds another one, or nothing for long.
        pub(super) taken: bool,
        /// What is to lie in the slot.
        pub(super) item: MessageId,
        /// The devices that it removes for good.
        pub(super) removes: List<Digest, LEAVES_MAX>,
        /// The other pieces that the swarm has not confirmed; the slot is filled after them.
        pub(super) rest: List<MessageId, PIECES_MAX>,
        /// All of them, in the outbox.
        pub(super) sent: List<u64, PIECES_MAX>,
    }

    /// A commit of ours that nobody has been seen to follow.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Unheard {
        /// The epoch that it began.
        pub(super) epoch: u64,
        /// When it was merged.
        pub(super) since: Time,
        /// Messages of others that came from earlier epochs since then, or since it was sent again.
        pub(super) behind: u32,
        /// When it was sent last.
        pub(super) sent: Time,
        /// Whether its owner was told.
        pub(super) told: bool,
        /// The epoch that the newest such commit began, and when.
        pub(super) newest: u64,
        pub(super) renewed: Time,
    }

    /// Something came that this epoch does not open: commits are missing.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Behind {
        pub(super) since: Time,
        pub(super) tries: u32,
        /// Reads that the swarm answered.
        pub(super) answers: u32,
        /// When the slot of the epoch is read again.
        pub(super) next: Time,
        /// Whether there are commits of later epochs: others have gone on.
        pub(super) ahead: bool,
    }

    /// What this device keeps in mind, so that it neither falls behind unnoticed nor works in vain.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub(super) struct Care {
        /// When it was last certain that nothing had ended the epoch.
        pub(super) looked: Time,
        /// Since when that is not certain any more: it looked again later than items are kept.
        pub(super) away: Option<Time>,
        /// Since when the slot that counts holds something that may become acceptable.
        pub(super) doubt: Option<Time>,
        /// Whether a commit waits that came beside its slot.
        pub(super) beside: bool,
        /// The branch on which everything that waits was tried.
        pub(super) tried: Digest,
        /// Items in the outbox that are of no use any more.
        pub(super) stale: List<u64, 256>,
        /// When this device asks again to be let in, and how often it did.
        pub(super) ask: Time,
        pub(super) asked: u32,
    }

    /// When a device came in, or came in again.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Came {
        pub(super) at: Time,
    }

    /// A group on this device.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct State {
        /// Of this record: 1.
        pub(super) version: u16,
        pub(super) agreed: Agreed,
        pub(super) epoch: u64,
        pub(super) own_leaf: u32,
        /// When this device came in.
        pub(super) joined: Time,
        /// The device that let it in; zero if this one made the group.
        pub(super) inviter: Digest,
        /// Since when something may have been said to it: before that, for who was added while away.
        pub(super) since: Time,
        /// Oldest first; the last one is current.
        pub(super) routes: List<Route, 8>,
        /// Oldest first; the last one is current.
        pub(super) epochs: List<EpochKeys, EPOCHS_MAX>,
        pub(super) usage: Usage,
        pub(super) flight: Option<Flight>,
        pub(super) unheard: Option<Unheard>,
        pub(super) behind: Option<Behind>,
        /// Slots of this epoch that hold something that no member accepts.
        pub(super) burned: u32,
        /// Own commits that lost in a row, and when the next one may be made.
        pub(super) lost_races: u32,
        pub(super) commit_after: Time,
        /// The epoch in which this device asked to be removed.
        pub(super) asked: Option<u64>,
        pub(super) phase: Phase,
        pub(super) care: Care,
    }

    /// What decides when keys are renewed.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub(super) struct Usage {
        /// Messages sent since the last commit of ours.
        pub(super) sent: u32,
        /// When something was last said from here.
        pub(super) said: Time,
        /// When the keys are renewed; [`Time::ZERO`] while nothing was said or heard with them.
        pub(super) rotate: Time,
        /// The newest epoch in which somebody else was heard.
        pub(super) heard: u64,
    }

    /// A leaf of the tree.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Leaf {
        /// Its place.
        pub(crate) leaf: u32,
        /// Whose it says it is.
        pub(crate) account: AccountId,
        /// Which device.
        pub(crate) device: DeviceId,
        /// Digest of its signing key.
        pub(crate) key: Digest,
        /// Digest of the manifest that it names.
        pub(crate) manifest: Digest,
    }

    /// The leaves of an epoch.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Roster {
        /// In the order of their places.
        pub(crate) leaves: List<Leaf, LEAVES_MAX>,
    }

    /// A wish, waiting.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Queued {
        pub(super) ticket: u64,
        /// Whether nothing more follows under the ticket.
        pub(super) last: bool,
        pub(super) after: Time,
        pub(super) wish: Wish,
    }

    /// What is sent when the commit in flight is confirmed, and sent again when nobody follows it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Cargo {
        /// The epoch that the commit ends.
        pub(super) epoch: u64,
        pub(super) message: Blob<LARGE_MAX>,
        pub(super) welcome: Option<Blob<LARGE_MAX>>,
        pub(super) tree: Blob<LARGE_MAX>,
        /// The keys of those who are brought in.
        pub(super) joiners: List<Digest, ADDS_MAX>,
        /// What is stored in the slot when the other pieces are.
        pub(super) first: Option<ItemBytes>,
    }

    /// The state of a group right before it entered another epoch, or gave up a commit of ours.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Snapshot {
        pub(super) at: Time,
        pub(super) mls: Blob<LARGE_MAX>,
        pub(super) state: State,
        /// What belongs to the commit in flight, if there is one.
        pub(super) cargo: Option<Cargo>,
        /// The wish that a commit of ours fulfilled: wanted again if that commit loses.
        pub(super) mine: Option<Queued>,
    }

    /// What has arrived of a message in several boxes.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Partial {
        pub(super) at: Time,
        pub(super) assembly: crate::boxes::Assembly,
    }

    /// A box or slot item that cannot be read yet.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Held {
        pub(super) at: Time,
        /// When it was stored, says who stored it.
        pub(super) stored: Time,
        pub(super) place: super::routes::Place,
        pub(super) data: session_protocol::request::ItemBytes,
    }

    /// Something said by a leaf whose account has not been asked yet whether it knows it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Unchecked {
        pub(super) at: Time,
        pub(super) leaf: Leaf,
        pub(super) said: Blob<{ crate::say::SAID_BYTES_MAX }>,
        /// As in [`Heard::Said`](super::Heard::Said).
        pub(super) overlooked: bool,
    }

    /// Something that this device said a short while ago: said again if its epoch loses.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Recent {
        pub(super) at: Time,
        pub(super) epoch: u64,
        pub(super) authenticator: Digest,
        pub(super) purpose: crate::outbox::Purpose,
        pub(super) ttl: session_core::Span,
        pub(super) said: Blob<{ crate::say::SAID_BYTES_MAX }>,
    }

    /// What travels inside the encryption of a message.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Inner {
        /// Of this record: 1.
        pub(super) version: u8,
        /// The epoch in which it is said.
        pub(super) epoch: u64,
        /// The newest epoch in which its author has heard somebody else.
        pub(super) heard: u64,
        pub(super) said: Blob<{ crate::say::SAID_BYTES_MAX }>,
    }

    /// The newest epoch in which a device was heard.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Heed {
        pub(super) epoch: u64,
    }

    /// The device keys that an account lists.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct Known {
        pub(super) keys: List<Digest, 64>,
    }

    /// A device that is to be added: its key package.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Package {
        /// Whose it is.
        pub(crate) account: AccountId,
        /// The bytes.
        pub(crate) bytes: Blob<65_536>,
    }

    /// A role, given or taken.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Seat {
        /// Whose.
        pub(crate) account: AccountId,
        /// Which from now on.
        pub(crate) role: Role,
    }
}

choice! {
    /// Where this device stands in a group.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Phase {
        /// In it.
        1 => Member,
        /// In it, and asks to be let out.
        2 => Leaving,
        /// Out of it.
        3 => Removed,
        /// Cannot follow it any more; waits to be added again.
        4 => Lost,
    }

    /// A change that somebody wants. Wishes are committed one after another.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) enum Wish {
        /// Add devices; those that are in already are passed over.
        1 => Add {
            packages: List<Package, ADDS_MAX>,
        },
        /// Let a device that lost its state in again, under the same key.
        2 => Readd {
            package: Package,
        },
        /// Remove all devices of an account.
        3 => RemoveAccount {
            account: AccountId,
        },
        /// Remove one device.
        4 => RemoveDevice {
            account: AccountId,
            key: Digest,
        },
        /// Change what is agreed on.
        5 => Agree {
            name: Option<Text<NAME_BYTES_MAX>>,
            seat: Option<Seat>,
            disappear: Option<Disappear>,
        },
        /// Draw new keys.
        6 => Update,
    }
}

/// Most devices that one commit adds: each costs a key package in the commit of everyone.
pub(crate) const ADDS_MAX: usize = 5;

/// What is kept of a group beside its state; the byte stands behind that of the table.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    State,
    Roster,
    Wish,
    Cargo,
    Snapshot,
    Fragment,
    Recent,
    Heed,
    Unchecked,
    Held,
    Half,
    Came,
    Leaver,
}

impl Part {
    pub(super) const ALL: [Self; 13] = [
        Self::State,
        Self::Roster,
        Self::Wish,
        Self::Cargo,
        Self::Snapshot,
        Self::Fragment,
        Self::Recent,
        Self::Heed,
        Self::Unchecked,
        Self::Held,
        Self::Half,
        Self::Came,
        Self::Leaver,
    ];

    /// Returns the key of an entry of a group; its number, if there are several.
    pub(super) fn key(self, group: &GroupId, rest: &[u8]) -> Vec<u8> {
        let (table, part) = match self {
            Self::State => (Table::Group, b"s"),
            Self::Roster => (Table::Group, b"m"),
            Self::Wish => (Table::Group, b"w"),
            Self::Cargo => (Table::Group, b"c"),
            Self::Snapshot => (Table::Group, b"x"),
            Self::Recent => (Table::Group, b"r"),
            Self::Heed => (Table::Group, b"h"),
            Self::Fragment => (Table::Pending, b"f"),
            Self::Unchecked => (Table::Pending, b"u"),
            Self::Held => (Table::Pending, b"b"),
            Self::Half => (Table::Pending, b"h"),
            Self::Came => (Table::Group, b"a"),
            Self::Leaver => (Table::Group, b"l"),
        };
        table.key(&[part, &group.bytes, rest])
    }

    /// Lists the entries of a group, oldest first: the rest of the key, and the value.
    pub(super) fn list<T: Decode>(self, vault: &dyn Vault, group: &GroupId) -> Vec<(Vec<u8>, T)> {
        vault::list(vault, &self.key(group, &[]), &[], false, usize::MAX)
    }

    /// Removes all entries of a group.
    pub(super) fn clear(self, vault: &mut dyn Vault, group: &GroupId) {
        super::epochs::remove_all(vault, &self.key(group, &[]));
    }

    /// Whether a group has entries.
    pub(super) fn any(self, vault: &dyn Vault, group: &GroupId) -> bool {
        let mut any = false;
        vault.scan(&self.key(group, &[]), &[], false, &mut |_, _| {
            any = true;
            false
        });
        any
    }

    /// Removes the oldest entries until there are no more than `most`.
    pub(super) fn bound(self, vault: &mut dyn Vault, group: &GroupId, most: usize) {
        let mut keys = Vec::new();
        vault.scan(&self.key(group, &[]), &[], false, &mut |key, _| {
            keys.push(key.to_vec());
            true
        });
        let surplus = keys.len().saturating_sub(most);
        keys[..surplus].iter().for_each(|key| vault.remove(key));
    }

    /// Adds an entry behind the others and returns its number.
    pub(super) fn append<T: session_core::Encode>(
        self,
        vault: &mut dyn Vault,
        group: &GroupId,
        value: &T,
    ) -> u64 {
        let number = crate::counter(vault, b"group");
        vault::save(vault, &self.key(group, &number.to_bytes()), value);
        number
    }
}

impl State {
    pub(super) fn load(vault: &dyn Vault, group: &GroupId) -> Option<Self> {
        vault::load(vault, &Part::State.key(group, &[]))
    }

    pub(super) fn save(&self, vault: &mut dyn Vault, group: &GroupId) {
        vault::save(vault, &Part::State.key(group, &[]), self);
    }

    /// The keys of the current epoch.
    pub(super) fn current(&self) -> Option<&EpochKeys> {
        self.epochs.last()
    }

    /// The seed that names the mailboxes now.
    pub(super) fn route(&self) -> Option<&Route> {
        self.routes.last()
    }

    /// The seed that names the commit mailbox of an epoch.
    pub(super) fn route_of(&self, epoch: u64) -> Option<&Route> {
        self.routes.iter().rev().find(|route| route.epoch <= epoch)
    }

    /// Whether this device was brought into the group, and did not make it.
    pub(super) fn is_welcomed(&self) -> bool {
        self.since < self.joined
    }

    /// How many epochs are kept, the current one included.
    pub(super) fn room(&self) -> usize {
        match self.agreed.kind {
            Kind::Direct { .. } => EPOCHS_MAX,
            Kind::Group | Kind::Devices { .. } => EPOCHS_SIGNED,
        }
    }

    /// The slots of an epoch in which a commit may lie that matters here: of the current one, those
    /// that are not burned; of earlier ones, those around the commit that was taken.
    pub(super) fn slots(&self, epoch: u64) -> Range<u32> {
        let first = if epoch == self.epoch {
            self.burned
        } else {
            let next = self.epochs.iter().find(|keys| keys.epoch == epoch.saturating_add(1));
            next.map_or(0, |keys| keys.stamp.slot)
        };
        let first = first.saturating_sub(SLOTS_MAX / 2);
        first..first.saturating_add(SLOTS_MAX)
    }

    /// The commit in flight is of no use any more; nor are its items.
    pub(super) fn land(&mut self) {
        if let Some(flight) = self.flight.take() {
            super::epochs::edit(&mut self.care.stale, |stale| stale.extend(flight.sent));
        }
    }

    /// Whether this device takes part.
    pub(super) fn is_member(&self) -> bool {
        matches!(self.phase, Phase::Member | Phase::Leaving)
    }
}

impl Stamp {
    /// Whether that time is so much later that others have gone on without it, and some cannot come
    /// back any more.
    pub(super) fn is_late(&self, stored: Time) -> bool {
        stored >= self.made + LATE
    }
}

impl Flight {
    /// Whether this is it.
    pub(super) fn is(&self, message: &[u8]) -> bool {
        self.digest == super::wishes::digest_of(message)
    }
}

impl Default for Roster {
    fn default() -> Self {
        Self { leaves: super::epochs::empty() }
    }
}

impl Roster {
    pub(super) fn load(vault: &dyn Vault, group: &GroupId, authenticator: &Digest) -> Self {
        vault::load(vault, &Part::Roster.key(group, authenticator.as_ref())).unwrap_or_default()
    }

    pub(super) fn save(&self, vault: &mut dyn Vault, group: &GroupId, authenticator: &Digest) {
        vault::save(vault, &Part::Roster.key(group, authenticator.as_ref()), self);
    }

    pub(crate) fn at(&self, leaf: u32) -> Option<&Leaf> {
        self.leaves.iter().find(|it| it.leaf == leaf)
    }

    pub(crate) fn of<'a>(&'a self, account: &'a AccountId) -> impl Iterator<Item = &'a Leaf> {
        self.leaves.iter().filter(move |it| it.account == *account)
    }

    /// The accounts, each once, in the order of their first leaf.
    pub(crate) fn accounts(&self) -> Vec<AccountId> {
        let mut seen = std::collections::BTreeSet::new();
        self.leaves.iter().map(|it| it.account).filter(|account| seen.insert(*account)).collect()
    }
}

impl Known {
    fn key(account: &AccountId) -> Vec<u8> {
        Table::Group.key(&[b"k", account.as_ref()])
    }

    pub(super) fn load(vault: &dyn Vault, account: &AccountId) -> Option<Self> {
        vault::load(vault, &Self::key(account))
    }

    pub(super) fn save(&self, vault: &mut dyn Vault, account: &AccountId) {
        vault::save(vault, &Self::key(account), self);
    }
}

/// Lists all groups of this device.
pub(super) fn all(vault: &dyn Vault) -> Vec<(GroupId, State)> {
    let prefix = Table::Group.key(&[b"s"]);
    vault::list::<State>(vault, &prefix, &[], false, usize::MAX)
        .into_iter()
        .filter_map(|(key, state)| {
            let bytes = *key.get(prefix.len()..)?.first_chunk::<32>()?;
            Some((GroupId { bytes }, state))
        })
        .collect()
}
