//! Restart: memory is rebuilt from the store, and progress from the messages themselves.

use std::collections::VecDeque;

use session_core::{ChannelId, ConversationId, Decode, Time};
use session_storage::{Store, StoreError, Table};

use super::channel::Channels;
use super::config::{Config, ConfigError};
use super::error::Refusal;
use super::people::People;
use super::record::{
    ChannelRecord, CheckpointRecord, ConversationRecord, StandingRecord, Tally, inbox_of, key,
    message_id,
};
use super::table::{Entries, Entry, Extras, Member, Standing};
use super::{Mailbox, ParticipantKey};

/// What was found at the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Conversations.
    pub conversations: u64,
    /// Channels.
    pub channels: u64,
    /// Messages that were stored but not yet counted.
    pub adopted: u64,
    /// Messages that were counted but, never having been acknowledged, not stored.
    pub rolled_back: u64,
    /// Records that could not be read, or whose people are not known, and were removed.
    pub damaged: u64,
}

/// Why a mailbox cannot start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Refusal),
}

impl Mailbox {
    /// Rebuilds the mailbox that a store holds; an empty store holds an empty one.
    ///
    /// What it writes belongs to the next commit. Call it before the store's first purge.
    ///
    /// # Errors
    /// When the configuration is refused or the store fails. Damaged records are no failure.
    pub fn load(
        config: Config,
        store: &mut dyn Store,
        now: Time,
    ) -> Result<(Self, LoadReport), LoadError> {
        config.check()?;
        let mut report = LoadReport::default();
        let (people, damaged) = People::load(store)?;
        report.damaged += damaged;
        let mut mailbox = Self {
            config,
            people,
            entries: Entries::default(),
            channels: Channels::default(),
            dirty: VecDeque::new(),
            purge_at: now,
            open: 0,
            messages: 0,
        };
        mailbox.load_channels(store, &mut report)?;
        // A part at a time: a list of a million keys is not small either.
        for part in 0..=u8::MAX {
            for (name, _) in store.records(Table::Conversation, &[key::CONVERSATION, part]) {
                mailbox.load_conversation(store, &name, now, &mut report)?;
            }
        }
        mailbox.people.finish_load(store);
        // Heals the progress that was written down, before anything is purged.
        mailbox.finish(store)?;
        Ok((mailbox, report))
    }

    fn load_channels(
        &mut self,
        store: &mut dyn Store,
        report: &mut LoadReport,
    ) -> Result<(), Refusal> {
        for (name, _) in store.records(Table::Conversation, &[key::CHANNEL]) {
            let record = read::<ChannelRecord>(store, Table::Conversation, &name)?;
            let kept = match (id_of(&name), record) {
                (Some(id), Some(record)) => {
                    self.channels.restore(ChannelId::from(id), record, &mut self.people)
                }
                _ => false,
            };
            if kept {
                report.channels += 1;
            } else {
                report.damaged += 1;
                store.remove_record(Table::Conversation, &name)?;
            }
        }
        Ok(())
    }

    fn load_conversation(
        &mut self,
        store: &mut dyn Store,
        name: &[u8],
        now: Time,
        report: &mut LoadReport,
    ) -> Result<(), Refusal> {
        let record = read::<ConversationRecord>(store, Table::Conversation, name)?;
        if record.as_ref().is_some_and(|record| record.keep_until <= now) {
            return Ok(()); // expired with its record; the store's purge removes it
        }
        let id = id_of(name).map(ConversationId::from);
        let entry = id.zip(record).and_then(|(id, record)| self.restore(id, record));
        let Some(mut entry) = entry else {
            report.damaged += 1;
            store.remove_record(Table::Conversation, name)?;
            return Ok(());
        };
        let id = entry.id;
        if let Some(standing) =
            read::<StandingRecord>(store, Table::ConversationHead, &key::standing(&id))?
        {
            entry.closed = standing.closed;
            for member in &standing.accepted {
                if let Some(member) = entry.members.get_mut(usize::from(*member)) {
                    member.standing = Standing::Accepted;
                }
            }
        }
        entry.count_invited();
        let checkpoint =
            read::<CheckpointRecord>(store, Table::ConversationHead, &key::checkpoint(&id))?;
        let resumed =
            checkpoint.map_or_else(Resumed::default, |found| resume(store, &mut entry, found, now));
        entry.told = entry.expires <= now;
        let slot = self.insert_entry(entry);
        if resumed.rolled_back > 0 {
            self.mark_dirty(slot, now);
        }
        report.conversations += 1;
        report.rolled_back += resumed.rolled_back;
        report.adopted += self.adopt(store, slot, now, resumed.through)?;
        Ok(())
    }

    /// Makes the entry of a record, if all its people are still the same ones.
    fn restore(&mut self, id: ConversationId, record: ConversationRecord) -> Option<Entry> {
        let mut members = Vec::with_capacity(record.members.len());
        for member in &record.members {
            let person = self.people.refer_loaded(member.person)?;
            let raw = matches!(self.people.get(person).key, ParticipantKey::Raw { .. });
            let standing = if member.proved { Standing::Proved } else { Standing::Invited };
            members.push(Member { person, standing, counter: 0 });
            if raw != record.compat {
                return None;
            }
        }
        let metadata: Vec<_> = record
            .metadata
            .iter()
            .map(|entry| (Box::from(&*entry.key), Box::from(&*entry.value)))
            .collect();
        let some = record.channel.is_some() || !metadata.is_empty();
        Some(Entry {
            id,
            created: record.created,
            expires: record.expires,
            keep_until: record.keep_until,
            closed: None,
            next: 0,
            first: 0,
            last_expiry: Time::ZERO,
            members: members.into(),
            extras: some.then(|| Box::new(Extras { channel: record.channel, metadata })),
            invited: 0,
            compat: record.compat,
            dirty: false,
            told: false,
        })
    }
}

/// What was made of a checkpoint.
#[derive(Clone, Copy, Default)]
struct Resumed {
    /// Counted messages that were never stored.
    rolled_back: u64,
    /// Up to where the messages from the entry's next one on are to be counted anew.
    through: u64,
}

/// Sets how far a conversation has come.
///
/// A crash may keep a checkpoint and lose messages that it counts. That is so when the last of
/// them is not there although it cannot have expired; none of the lost was acknowledged.
fn resume(store: &dyn Store, entry: &mut Entry, found: CheckpointRecord, now: Time) -> Resumed {
    let CheckpointRecord { reached, before, since, .. } = found;
    let inbox = inbox_of(&entry.id);
    let is_stored = |sequence| store.meta(&inbox, &message_id(&entry.id, sequence)).is_some();
    let counted = before.next..reached.next;
    let is_lost = !counted.is_empty() && reached.expiry > now && !is_stored(reached.next - 1);
    let last = if is_lost { counted.rev().find(|sequence| is_stored(*sequence)) } else { None };
    // With nothing left of the run, only a run that cannot have begun to expire was lost.
    let none_held = last.is_none() && since <= now;
    if !is_lost || none_held {
        count(entry, &reached);
        return Resumed::default();
    }
    count(entry, &before);
    let through = last.map_or(before.next, |last| last + 1);
    Resumed { rolled_back: reached.next - through, through }
}

fn count(entry: &mut Entry, tally: &Tally) {
    entry.next = tally.next;
    entry.last_expiry = tally.expiry;
    for counter in &tally.counters {
        if let Some(member) = entry.members.get_mut(usize::from(counter.member)) {
            member.counter = counter.next;
        }
    }
}

fn id_of(name: &[u8]) -> Option<[u8; 32]> {
    name.get(1..)?.try_into().ok()
}

/// Reads a record; `None` when it is not there or does not decode.
fn read<T: Decode>(store: &dyn Store, table: Table, name: &[u8]) -> Result<Option<T>, Refusal> {
    match store.record(table, name) {
        Ok(bytes) => Ok(bytes.and_then(|bytes| T::decode_exact(&bytes).ok())),
        Err(StoreError::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
