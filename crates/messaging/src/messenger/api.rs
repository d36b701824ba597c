//! What a [`Messenger`](super::Messenger) is told, what it answers, and what it orders.

use std::collections::BTreeMap;

use session_core::{AccountId, Digest, InboxAddress, MessageId, Namespace, Span, Time};
use session_protocol::inbox::{AccessRule, Capability};
use session_protocol::request::{Item, ItemBytes};

use crate::group::Role;
use crate::say::{DeviceId, Disappear, GroupId, Peer, SayId, Standing};
use crate::thread::{Status, ThreadId};

/// Something to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Publish manifest and key packages, whatever their age. Answered by [`Answer::Done`].
    Publish,
    /// Say something to an account or a group; the first message to an account makes a
    /// conversation. Answered by [`Answer::Said`] as soon as it is kept here; how it goes on is
    /// reported by [`Event::Status`].
    Say {
        /// To whom.
        to: Peer,
        /// What. Receipts and copies are refused: they are the messenger's own business.
        say: crate::say::Say,
    },
    /// Messages have been looked at. Answered by [`Answer::Done`].
    MarkRead {
        /// Where.
        thread: ThreadId,
        /// Everything up to this place in the thread.
        up_to: u64,
    },
    /// Forget messages here and on the own other devices. Answered by [`Answer::Done`].
    Forget {
        /// Where.
        thread: ThreadId,
        /// Which; all if empty.
        ids: Vec<SayId>,
    },
    /// Accept, block or name an account. Answered by [`Answer::Done`].
    SetContact {
        /// The account.
        account: AccountId,
        /// How it is treated.
        standing: Standing,
        /// The name under which it is shown; `None` leaves it.
        name: Option<String>,
        /// Whether its safety number was compared; `None` leaves it.
        verified: Option<bool>,
    },
    /// Accept a group into which a stranger brought this account, or decline it: it is left then.
    /// Answered by [`Answer::Done`].
    SetGroup {
        /// The group.
        group: GroupId,
        /// [`Standing::Accepted`], or [`Standing::Blocked`] to decline.
        standing: Standing,
    },
    /// Fetch the manifest of an account. Answered by [`Answer::Account`].
    LookUp {
        /// The account.
        account: AccountId,
    },
    /// Make a group. Answered by [`Answer::Group`]; the members are added one by one.
    CreateGroup {
        /// Its name.
        name: String,
        /// Who else is in it.
        members: Vec<AccountId>,
        /// Messages that those who join later are shown, at most.
        history: u16,
    },
    /// Add accounts to a group. Admins only. Answered by [`Answer::Done`] once it is agreed.
    Invite {
        /// The group.
        group: GroupId,
        /// Who.
        accounts: Vec<AccountId>,
    },
    /// Remove an account from a group; with the own account, leave it. Answered by [`Answer::Done`]
    /// once it is agreed (leaving: once it is asked for).
    Remove {
        /// The group.
        group: GroupId,
        /// Who.
        account: AccountId,
    },
    /// Change name, roles or timer of a group. Admins only. Answered by [`Answer::Done`] once agreed.
    ChangeGroup {
        /// The group.
        group: GroupId,
        /// A new name.
        name: Option<String>,
        /// A new role of a member.
        role: Option<(AccountId, Role)>,
        /// How messages disappear.
        disappear: Option<Disappear>,
    },
    /// Draw new keys now. Answered by [`Answer::Done`] once it is agreed.
    Rotate {
        /// Where.
        peer: Peer,
    },
    /// Make a device part of the account, from what it shows. Answered by [`Answer::Done`].
    AddDevice {
        /// What the new device printed.
        request: String,
        /// Its name.
        name: String,
    },
    /// Exclude a device from the account and, after that, from all groups.
    /// Answered by [`Answer::Done`].
    RevokeDevice {
        /// The device.
        device: DeviceId,
    },
    /// Publish that a classical `05` account is the same person's: both keys sign it. Answered by
    /// [`Answer::Done`].
    LinkLegacy {
        /// The seed of its Ed25519 key.
        seed: crate::Secret,
    },
    /// Send receipts that wait for company now: before a program ends. Answered by [`Answer::Done`].
    Flush,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// It is done.
    Done,
    /// It is said, and kept here.
    Said {
        /// Where.
        thread: ThreadId,
        /// Its name.
        id: SayId,
    },
    /// The group is made.
    Group {
        /// Its id.
        group: GroupId,
        /// Where it is shown.
        thread: ThreadId,
        /// Who could not be added, and why.
        missing: Vec<(AccountId, String)>,
    },
    /// What is known of an account.
    Account {
        /// Its manifest.
        manifest: Box<session_protocol::manifest::SignedManifest>,
        /// Twelve groups of five digits, the same on both sides.
        safety_number: String,
    },
}

/// Why a command came to nothing. Nothing was changed, unless the variant says so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The account has published nothing on this network, or nobody answers.
    #[error("{account} cannot be reached: {why}")]
    Unreachable {
        /// The account.
        account: AccountId,
        /// Why.
        why: String,
    },
    /// There is no such conversation.
    #[error("there is no conversation with {0:?}")]
    NoConversation(Peer),
    /// There is no such thread or message.
    #[error("there is no {what}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
    },
    /// The account is blocked.
    #[error("{0} is blocked: unblock it first")]
    Blocked(AccountId),
    /// Only an admin may do this.
    #[error("only an admin of the group may do this")]
    NotAdmin,
    /// This device may not sign for the account.
    #[error(
        "this device does not hold the keys of the account: use the one that does, or restore it from the words"
    )]
    NoAccountKeys,
    /// Not for people.
    #[error("{what} is not something to say")]
    NotSayable {
        /// What.
        what: &'static str,
    },
    /// A field is wrong.
    #[error("{field}: {why}")]
    Invalid {
        /// Which.
        field: &'static str,
        /// What is wrong.
        why: String,
    },
    /// Over a limit.
    #[error("{field} is {got}, the limit is {limit}")]
    TooMany {
        /// Of what.
        field: &'static str,
        /// How much it was.
        got: usize,
        /// How much is allowed.
        limit: usize,
    },
    /// Somebody else's change came first, several times.
    #[error("others change the conversation at the same time; try again")]
    Conflict,
    /// The swarm did not take it; it is tried again, if the variant of the command says so.
    #[error("not stored: {0}")]
    NotStored(String),
    /// The state of the conversation on this device is behind: it waits to be added again.
    #[error("this device has lost the conversation and waits to be added again")]
    Lost,
}

/// Why an item was not stored, or nothing was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetFailure {
    /// The slot has another commit.
    #[error("the slot is taken")]
    SlotTaken,
    /// There is nothing of that kind.
    #[error("nothing is there")]
    Missing,
    /// Nobody could be reached in time. It may be stored nevertheless.
    #[error("{0}")]
    Unreachable(String),
    /// It will never be taken.
    #[error("refused: {0}")]
    Refused(String),
}

/// What a swarm promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The item.
    pub item: MessageId,
    /// Until when it is kept.
    pub expiry: Time,
    /// Members that signed.
    pub good: u16,
    /// Members that make a quorum.
    pub needed: u16,
    /// Members of the swarm.
    pub of: u16,
    /// The signatures and paths: an encoded `session_client::StoredProof`.
    pub proof: Vec<u8>,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Input {
    /// Somebody wants something.
    Command {
        /// Repeated in the answer.
        id: u64,
        /// What.
        command: Command,
    },
    /// What came of [`Effect::Store`].
    Stored {
        /// The effect's.
        id: u64,
        /// What came of it.
        outcome: Result<Stored, NetFailure>,
    },
    /// What came of [`Effect::Read`]: every item that two nodes or more have, in any order.
    Read {
        /// The effect's.
        id: u64,
        /// What came of it.
        outcome: Result<Vec<Item>, NetFailure>,
    },
    /// Everything that lay in the watched mailboxes at a time has been handed over.
    CaughtUp {
        /// When the reading began that was the last one to end.
        at: Time,
    },
    /// New items of a watched mailbox. Handed over once they are read, kept nowhere else.
    Arrived {
        /// Where.
        address: InboxAddress,
        /// They.
        items: Vec<Item>,
    },
}

/// A place from which is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The rule of the inbox.
    pub rule: AccessRule,
    /// What opens it; `None` for namespaces that everyone may read.
    pub read: Option<Capability>,
    /// Which compartment.
    pub namespace: Namespace,
}

/// A place in which is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The rule of the inbox.
    pub rule: AccessRule,
    /// What opens it; `None` for namespaces into which anyone may store.
    pub write: Option<Capability>,
    /// Which compartment.
    pub namespace: Namespace,
}

/// What the shell does once the transaction is durable.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Store an item. Answered by [`Input::Stored`], always; the messenger repeats what fails.
    Store {
        /// Repeated in the answer.
        id: u64,
        /// Where.
        to: Target,
        /// How long it is kept.
        ttl: Span,
        /// The item.
        data: ItemBytes,
    },
    /// Read everything that is there now, once. Answered by [`Input::Read`], always.
    Read {
        /// Repeated in the answer.
        id: u64,
        /// Where.
        from: Source,
    },
    /// Watch exactly these mailboxes from now on: read what is new at once and whenever something
    /// arrives, reported by [`Input::Arrived`].
    Watch {
        /// All of them.
        sources: BTreeMap<InboxAddress, Source>,
    },
    /// Delete items, best effort.
    Erase {
        /// The rule of the mailbox.
        rule: AccessRule,
        /// What deletes.
        erase: Capability,
        /// Which items.
        ids: Vec<MessageId>,
    },
    /// Answer a command.
    Answer {
        /// The command's.
        id: u64,
        /// What came of it.
        result: Result<Answer, Error>,
    },
    /// Tell whoever watches.
    Event(Event),
}

/// Something to show.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A thread has something new, or something in it changed.
    Changed {
        /// Which.
        thread: ThreadId,
        /// Places in it that are new or changed; none if it is about the thread itself.
        places: Vec<u64>,
        /// Whether somebody else said something that is worth a sound.
        alert: bool,
    },
    /// A message of ours went a step further.
    Status {
        /// Where.
        thread: ThreadId,
        /// Its place.
        place: u64,
        /// What is known.
        status: Status,
    },
    /// A stranger wrote.
    Request {
        /// Who.
        account: AccountId,
        /// Where it is shown.
        thread: ThreadId,
    },
    /// Somebody types, or ceases to.
    Typing {
        /// Where.
        thread: ThreadId,
        /// Who.
        account: AccountId,
        /// Which of both.
        on: bool,
    },
    /// Something that its owner should know.
    Warning(Warning),
}

/// Something that its owner should know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Warning {
    /// A device belongs to the account that this one did not know of.
    #[error("device {device} ({name:?}) was added to your account")]
    DeviceAdded {
        /// The device.
        device: DeviceId,
        /// Its name.
        name: String,
    },
    /// This device was excluded.
    #[error("this device was excluded from the account")]
    Revoked,
    /// Two manifests of an account contradict each other.
    #[error("account {account} has shown two different manifests number {seq}")]
    ForkedManifest {
        /// The account.
        account: AccountId,
        /// The number that both have.
        seq: u64,
    },
    /// An account has other keys than when its safety number was compared.
    #[error("{account} has changed its devices since you compared safety numbers")]
    SafetyNumberChanged {
        /// The account.
        account: AccountId,
    },
    /// The last-resort key package was used: somebody drains the others, or many wrote.
    #[error("{hits} introductions used the last-resort key package")]
    LastResort {
        /// How many since it was made.
        hits: u64,
    },
    /// A device claims to belong to an account whose manifest does not know it.
    #[error("device {device} says that it belongs to {account}, which does not know it")]
    Impostor {
        /// The device.
        device: DeviceId,
        /// The account.
        account: AccountId,
    },
    /// Own commits do not come through.
    #[error("the keys of a conversation could not be renewed since {since}: healing is blocked")]
    HealingBlocked {
        /// Where.
        thread: ThreadId,
        /// Since when.
        since: Time,
    },
    /// This device, or a copy of it, has gone back in time.
    #[error(
        "another copy of this device is in use, or it was restored: conversations are joined again"
    )]
    RolledBack,
    /// A conversation could not be followed and is joined again.
    #[error(
        "a conversation was lost on this device and is joined again; messages in between are missing"
    )]
    Lost {
        /// Where.
        thread: ThreadId,
    },
    /// Something came that is not what it should be; nothing was changed.
    #[error("refused: {what}")]
    Refused {
        /// What, in one sentence.
        what: String,
    },
}

/// What identifies a state of keys, for tests and invariants: the same on all members of an epoch.
pub type Authenticator = Digest;
