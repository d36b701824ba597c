//! What lies in the vault: threads, messages, and where they are found.

use session_core::{AccountId, Encode as _, List, Text, Time, choice, record};

use super::{Body, Message, Status, ThreadId};
use crate::say::{DeviceId, Disappear, NAME_BYTES_MAX, Peer, REACTION_BYTES_MAX, SayId, Standing};
use crate::vault::{self, Table, Vault};

/// Changes of the timer that are remembered: for messages that were sent before the last one and
/// arrive after it.
const TIMERS_MAX: usize = 16;

/// Reactions of one account to one message, those that it took back included.
pub(super) const REACTIONS_EACH: usize = 16;

/// Reactions to one message: four of each member of the largest group.
const REACTIONS_MAX: usize = 1024;

/// Accounts that one message is said to: the largest group.
pub(crate) const AUDIENCE_MAX: usize = 256;

/// Messages that several authors gave the same name; only an enemy does that.
const SAME_ID_MAX: usize = 8;

record! {
    /// When something was decided, and a tie-breaker: the later one holds.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct Version {
        pub(crate) at: Time,
        pub(crate) by: SayId,
    }

    /// A change of the timer.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct TimerSet {
        pub(crate) version: Version,
        pub(crate) disappear: Disappear,
    }

    /// A thread.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Thread {
        pub(crate) peer: Peer,
        pub(crate) name: Text<NAME_BYTES_MAX>,
        pub(crate) standing: Standing,
        pub(crate) muted: bool,
        pub(crate) members: u32,
        /// When something was added last.
        pub(crate) active: Time,
        /// The place of the newest message that ever was.
        pub(crate) last: u64,
        /// Everything up to here has been read.
        pub(crate) seen: u64,
        pub(crate) unread: u32,
        /// Messages that something waits for: see `early`.
        pub(crate) early: u32,
        /// The number of the newest audience.
        pub(crate) audience: u32,
        /// Changes of the timer, oldest first.
        pub(crate) timers: List<TimerSet, TIMERS_MAX>,
    }

    /// A message. The body comes first: search looks no further.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Kept {
        pub(crate) body: Body,
        pub(crate) id: SayId,
        pub(crate) author: AccountId,
        pub(crate) device: DeviceId,
        pub(crate) own: bool,
        pub(crate) sent_at: Time,
        pub(crate) received_at: Time,
        pub(crate) reply_to: Option<SayId>,
        pub(crate) edited: Option<Version>,
        /// When it was read here; for own messages, never.
        pub(crate) read_at: Option<Time>,
        pub(crate) disappear: Disappear,
        pub(crate) expires: Option<Time>,
        pub(crate) reactions: List<Reaction, REACTIONS_MAX>,
        pub(crate) progress: Option<Box<Progress>>,
    }

    /// What an account last said about an emoji on a message.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Reaction {
        pub(crate) author: AccountId,
        pub(crate) emoji: Text<REACTION_BYTES_MAX>,
        pub(crate) on: bool,
        pub(crate) version: Version,
    }

    /// How far an own message has come.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Progress {
        /// The number of its audience: see [`audience`].
        pub(crate) audience: u32,
        pub(crate) accounts: u16,
        /// Bit `i`: account `i` of the audience has it.
        pub(crate) delivered: Bits,
        /// Bit `i`: account `i` of the audience has read it.
        pub(crate) read: Bits,
        /// Items that it was handed to the outbox as.
        pub(crate) items: u32,
        pub(crate) stored: Option<Time>,
        pub(crate) good: u16,
        pub(crate) needed: u16,
        pub(crate) of: u16,
        pub(crate) failed: bool,
    }

    /// A set of accounts of an audience.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct Bits {
        bytes: [u8; AUDIENCE_MAX / 8],
    }
}

choice! {
    /// What became of a message with an id.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Found {
        /// It is at a place.
        1 => At {
            place: u64,
        },
        /// It is deleted, and does not come back.
        2 => Gone {
            at: Time,
        },
    }
}

impl Bits {
    /// Adds an account; tells whether it is new.
    pub(super) fn add(&mut self, index: usize) -> bool {
        let Some(byte) = self.bytes.get_mut(index / 8) else { return false };
        let before = *byte;
        *byte |= 1 << (index % 8);
        *byte != before
    }

    /// Returns how many accounts are in this set or the other.
    pub(super) fn count_with(&self, other: &Self) -> u16 {
        let both = self.bytes.iter().zip(&other.bytes).map(|(one, two)| one | two);
        both.map(|byte| u16::from(byte.count_ones() as u8)).sum()
    }
}

impl Progress {
    pub(super) fn status(&self) -> Status {
        Status {
            stored: self.stored,
            good: self.good,
            needed: self.needed,
            of: self.of,
            // Whoever has read it has it.
            delivered: self.delivered.count_with(&self.read),
            read: self.read.count_with(&Bits::default()),
            audience: self.accounts,
            failed: self.failed,
        }
    }
}

impl Thread {
    pub(super) fn new(peer: Peer, now: Time) -> Self {
        Self {
            peer,
            name: Text::default(),
            standing: Standing::default(),
            muted: false,
            members: 0,
            active: now,
            last: 0,
            seen: 0,
            unread: 0,
            early: 0,
            audience: 0,
            timers: List::default(),
        }
    }

    /// Returns how messages that are sent now disappear.
    pub(super) fn disappear(&self) -> Disappear {
        self.disappear_at(Time::MAX)
    }

    /// Returns how messages that were sent at `sent_at` disappear.
    pub(super) fn disappear_at(&self, sent_at: Time) -> Disappear {
        let mut earlier = self.timers.iter().filter(|set| set.version.at <= sent_at);
        earlier.next_back().map(|set| set.disappear).unwrap_or_default()
    }

    /// Remembers a change of the timer. Returns whether it is new.
    pub(super) fn set_timer(&mut self, version: Version, disappear: Disappear) -> bool {
        let mut timers = core::mem::take(&mut self.timers).into_vec();
        let place = timers.partition_point(|set| set.version < version);
        let new = timers.get(place).is_none_or(|set| set.version != version);
        if new {
            timers.insert(place, TimerSet { version, disappear });
            let over = timers.len().saturating_sub(TIMERS_MAX);
            timers.drain(..over);
        }
        self.timers = List::new(timers).expect("what is over the limit was removed");
        new
    }
}

impl Kept {
    /// Returns whether it counts as unread.
    pub(super) fn is_unread(&self) -> bool {
        self.may_be_read() && !matches!(self.body, Body::Unsent)
    }

    /// Returns whether looking at it makes a difference.
    pub(super) fn may_be_read(&self) -> bool {
        !self.own && self.read_at.is_none() && !matches!(self.body, Body::Line { .. })
    }

    /// Returns when it disappears. The author's clock cannot make it stay longer.
    pub(super) fn expiry(&self) -> Option<Time> {
        let sent = self.sent_at.min(self.received_at);
        match self.disappear {
            Disappear::Never => None,
            Disappear::AfterSend { span } => Some(sent + span),
            Disappear::AfterRead { span } if self.own => Some(sent + span),
            Disappear::AfterRead { span } => self.read_at.map(|read| read + span),
        }
    }

    /// Sets what an account says about an emoji. Returns whether anything changed.
    pub(super) fn react(&mut self, reaction: Reaction) -> bool {
        let mut all = core::mem::take(&mut self.reactions).into_vec();
        let before = all.clone();
        let same = |it: &Reaction| it.author == reaction.author && it.emoji == reaction.emoji;
        match all.iter_mut().find(|it| same(it)) {
            Some(it) if it.version < reaction.version => *it = reaction,
            Some(_) => {}
            None => insert_reaction(&mut all, reaction),
        }
        let changed = all != before;
        self.reactions = List::new(all).expect("it grows only below its limit");
        changed
    }

    /// Returns it as it is shown.
    pub(super) fn show(self, place: u64) -> Message {
        let here = self.reactions.into_iter().filter(|reaction| reaction.on);
        Message {
            place,
            id: self.id,
            author: self.author,
            device: self.device,
            own: self.own,
            sent_at: self.sent_at,
            received_at: self.received_at,
            reply_to: self.reply_to,
            edited: self.edited.map(|version| version.at),
            reactions: here.map(|it| (it.author, it.emoji.to_string())).collect(),
            expires: self.expires,
            status: self.progress.map(|progress| progress.status()).unwrap_or_default(),
            read: self.own || self.read_at.is_some() || matches!(self.body, Body::Line { .. }),
            body: self.body,
        }
    }
}

/// Adds a reaction in order, and keeps only the newest of its author: in whatever order they
/// arrive, the same ones stay.
fn insert_reaction(all: &mut Vec<Reaction>, reaction: Reaction) {
    let author = reaction.author;
    let order = |it: &Reaction| (it.author, it.emoji.clone());
    let key = order(&reaction);
    if all.len() < REACTIONS_MAX {
        all.insert(all.partition_point(|it| order(it) < key), reaction);
    }
    if all.iter().filter(|it| it.author == author).count() > REACTIONS_EACH {
        let his = all.iter().enumerate().filter(|(_, it)| it.author == author);
        if let Some((oldest, _)) = his.min_by_key(|(_, it)| it.version) {
            all.remove(oldest);
        }
    }
}

/// The rows of a thread.
pub(crate) fn thread_key(thread: ThreadId) -> Vec<u8> {
    Table::Thread.key(&[b"t", &thread.to_bytes()])
}

/// Returns the thread from the key of its row.
pub(super) fn thread_of_key(key: &[u8]) -> Option<ThreadId> {
    let number = key.get(2..)?.try_into().ok()?;
    Some(ThreadId { number: u32::from_be_bytes(number) })
}

pub(super) fn peer_key(peer: &Peer) -> Vec<u8> {
    Table::Thread.key(&[b"p", &peer.to_bytes()])
}

fn audience_key(thread: ThreadId, number: u32) -> Vec<u8> {
    Table::Thread.key(&[b"a", &thread.to_bytes(), &number.to_bytes()])
}

pub(crate) fn message_key(thread: ThreadId, place: u64) -> Vec<u8> {
    Table::Message.key(&[&thread.to_bytes(), &place.to_bytes()])
}

/// The beginning of the keys of all messages of a thread.
pub(crate) fn messages_prefix(thread: ThreadId) -> Vec<u8> {
    Table::Message.key(&[&thread.to_bytes()])
}

/// Returns thread and place from the key of a message.
pub(crate) fn place_of(key: &[u8]) -> Option<(ThreadId, u64)> {
    let (number, place) = key.get(1..)?.split_first_chunk::<4>()?;
    let place = u64::from_be_bytes(place.try_into().ok()?);
    Some((ThreadId { number: u32::from_be_bytes(*number) }, place))
}

/// Where the message of an author is found. The author is part of the key: nobody can take the
/// place of another's message by using its name first.
pub(crate) fn index_key(thread: ThreadId, id: SayId, author: AccountId) -> Vec<u8> {
    Table::MessageIndex.key(&[&thread.to_bytes(), &id.to_bytes(), author.as_ref()])
}

/// Remembers that lines up to a place are gone: they have no name, so that one entry stands for all
/// of them, under the name that none has. What it holds as a time is the place.
pub(crate) fn forget_lines(vault: &mut dyn Vault, thread: ThreadId, up_to: u64) {
    if lines_gone(vault, thread).is_none_or(|before| before < up_to) {
        let key = index_key(thread, SayId::default(), AccountId::default());
        vault::save(vault, &key, &Found::Gone { at: Time::from_millis(up_to) });
    }
}

/// Returns the place up to which lines are gone, if any are.
pub(super) fn lines_gone(vault: &dyn Vault, thread: ThreadId) -> Option<u64> {
    match find(vault, thread, SayId::default(), AccountId::default())? {
        Found::Gone { at } => Some(at.as_millis()),
        Found::At { .. } => None,
    }
}

/// The beginning of the keys of all index entries of a thread.
pub(crate) fn index_prefix(thread: ThreadId) -> Vec<u8> {
    Table::MessageIndex.key(&[&thread.to_bytes()])
}

/// Returns id and author from the key of an index entry.
pub(crate) fn id_of(key: &[u8]) -> Option<(SayId, AccountId)> {
    let (id, author) = key.get(5..)?.split_first_chunk::<16>()?;
    Some((SayId(*id), AccountId::from(<[u8; 32]>::try_from(author).ok()?)))
}

pub(super) fn timer_key(at: Time, thread: ThreadId, place: u64) -> Vec<u8> {
    Table::Timer.key(&[b"x", &at.to_bytes(), &thread.to_bytes(), &place.to_bytes()])
}

/// Returns time, thread and place from the key of a timer.
pub(super) fn timer_of(key: &[u8]) -> Option<(Time, ThreadId, u64)> {
    let (at, rest) = key.get(2..)?.split_first_chunk::<8>()?;
    let (number, place) = rest.split_first_chunk::<4>()?;
    let thread = ThreadId { number: u32::from_be_bytes(*number) };
    let at = Time::from_millis(u64::from_be_bytes(*at));
    Some((at, thread, u64::from_be_bytes(place.try_into().ok()?)))
}

pub(crate) fn load_thread(vault: &dyn Vault, thread: ThreadId) -> Option<Thread> {
    vault::load(vault, &thread_key(thread))
}

pub(crate) fn save_thread(vault: &mut dyn Vault, thread: ThreadId, it: &Thread) {
    vault::save(vault, &thread_key(thread), it);
}

pub(super) fn load_message(vault: &dyn Vault, thread: ThreadId, place: u64) -> Option<Kept> {
    vault::load(vault, &message_key(thread, place))
}

pub(super) fn save_message(vault: &mut dyn Vault, thread: ThreadId, place: u64, it: &Kept) {
    vault::save(vault, &message_key(thread, place), it);
}

/// Sets when a message disappears, in the message and in the index by time.
pub(super) fn set_expiry(vault: &mut dyn Vault, thread: ThreadId, place: u64, it: &mut Kept) {
    let expires = it.expiry();
    if expires == it.expires {
        return;
    }
    if let Some(before) = it.expires {
        vault.remove(&timer_key(before, thread, place));
    }
    if let Some(at) = expires {
        vault.put(&timer_key(at, thread, place), &[]);
    }
    it.expires = expires;
}

/// Returns what became of the message of an author.
pub(super) fn find(
    vault: &dyn Vault,
    thread: ThreadId,
    id: SayId,
    author: AccountId,
) -> Option<Found> {
    vault::load(vault, &index_key(thread, id, author))
}

/// Returns what became of the messages with a name: one, if nobody plays tricks.
pub(super) fn find_all(vault: &dyn Vault, thread: ThreadId, id: SayId) -> Vec<(AccountId, Found)> {
    let prefix = Table::MessageIndex.key(&[&thread.to_bytes(), &id.to_bytes()]);
    let found = vault::list::<Found>(vault, &prefix, &[], false, SAME_ID_MAX);
    found.into_iter().filter_map(|(key, found)| Some((id_of(&key)?.1, found))).collect()
}

/// Returns the accounts of an audience, in order.
pub(crate) fn audience(vault: &dyn Vault, thread: ThreadId, number: u32) -> Vec<AccountId> {
    let key = audience_key(thread, number);
    vault::load::<List<AccountId, AUDIENCE_MAX>>(vault, &key).unwrap_or_default().into_vec()
}

/// Returns the number of an audience, kept once for all messages until it changes. `author` is
/// left out: it tells nobody anything by having its own message.
pub(crate) fn keep_audience(
    vault: &mut dyn Vault,
    id: ThreadId,
    thread: &mut Thread,
    author: AccountId,
    accounts: &[AccountId],
) -> (u32, u16) {
    let mut others: Vec<_> = accounts.iter().copied().filter(|it| *it != author).collect();
    others.sort_unstable();
    others.dedup();
    others.truncate(AUDIENCE_MAX);
    let count = u16::try_from(others.len()).unwrap_or(u16::MAX);
    if thread.audience == 0 || audience(vault, id, thread.audience) != others {
        thread.audience += 1;
        let others = List::<_, AUDIENCE_MAX>::new(others).expect("truncated above");
        vault::save(vault, &audience_key(id, thread.audience), &others);
    }
    (thread.audience, count)
}
