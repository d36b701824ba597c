//! The passing of time: checkpoints, expiry, forgetting.

use session_core::{Decode, Encode, List, Span, Time};
use session_storage::{Store, Table};

use super::error::Refusal;
use super::record::{CheckpointRecord, CounterRecord, Tally, VERSION, inbox_of, key, message_id};
use super::table::{Entry, Slot};
use super::{Cx, Event, Mailbox, Status};

/// How long after its first new message a conversation's progress is written down. By then the
/// messages themselves are durable, and a busy conversation costs one small record per interval.
const CHECKPOINT_AFTER: Span = Span::from_secs(10);
/// Checkpoints that one tick writes.
const CHECKPOINTS_MAX: usize = 2000;
/// Conversations whose time one tick looks at.
const DUE_MAX: usize = 2000;
/// How often the store forgets what has expired.
const PURGE_EVERY: Span = Span::from_secs(60);

impl Mailbox {
    /// Returns when [`Mailbox::tick`] wants to run next.
    #[must_use]
    pub fn deadline(&self) -> Time {
        let checkpoint = self.dirty.front().map(|(since, _)| *since + CHECKPOINT_AFTER);
        let due = self.entries.first_due().map(|(due, _)| due);
        [checkpoint, due].into_iter().flatten().fold(self.purge_at, Time::min)
    }

    /// Does a bounded piece of what is due; the deadline stays in the past while more is left.
    ///
    /// # Errors
    /// When the store fails; what was not done is tried again.
    pub fn tick(&mut self, cx: &mut Cx<'_>) -> Result<(), Refusal> {
        let checkpoints = self.write_checkpoints(cx.store, cx.now);
        self.pass(cx);
        if self.purge_at <= cx.now {
            // Items go with their expiry, and so do the records of conversations.
            let purged = cx.store.purge(cx.now);
            self.purge_at = if purged.more { cx.now } else { cx.now + PURGE_EVERY };
        }
        checkpoints
    }

    /// Writes down the progress of everything, as a last act before an orderly end.
    ///
    /// # Errors
    /// When the store fails.
    pub fn finish(&mut self, store: &mut dyn Store) -> Result<(), Refusal> {
        while !self.dirty.is_empty() {
            self.write_checkpoints(store, Time::MAX)?;
        }
        Ok(())
    }

    fn write_checkpoints(&mut self, store: &mut dyn Store, now: Time) -> Result<(), Refusal> {
        for _ in 0..CHECKPOINTS_MAX {
            let due = self.dirty.front().filter(|(since, _)| *since + CHECKPOINT_AFTER <= now);
            let Some(&(_, slot)) = due else { break };
            // The conversation may be forgotten by now.
            if let Some(entry) = self.entries.at(slot).filter(|entry| entry.dirty) {
                write_checkpoint(store, entry)?;
                self.entries.entry_mut(slot).dirty = false;
            }
            self.dirty.pop_front();
        }
        Ok(())
    }

    fn pass(&mut self, cx: &mut Cx<'_>) {
        for _ in 0..DUE_MAX {
            let Some((due, slot)) = self.entries.first_due().filter(|(due, _)| *due <= cx.now)
            else {
                break;
            };
            if self.entries.entry(slot).told {
                self.forget(cx, slot);
                continue;
            }
            let entry = self.entries.entry_mut(slot);
            entry.told = true;
            let (conversation, keep_until) = (entry.id, entry.keep_until);
            if entry.closed.is_none() {
                self.open = self.open.saturating_sub(1);
                let status = Status::Expired;
                cx.effects.push(Event::Status { conversation, status });
            }
            self.entries.postpone(slot, due, keep_until);
        }
    }

    fn forget(&mut self, cx: &mut Cx<'_>, slot: Slot) {
        let entry = self.entries.entry(slot);
        let members = entry.members.iter();
        let accounts: Vec<_> =
            members.map(|member| self.people.get(member.person).account).collect();
        let due = entry.due();
        let Some(entry) = self.entries.remove(slot, due, accounts.into_iter()) else { return };
        for member in &entry.members {
            self.people.release(cx.store, member.person);
        }
        cx.effects.push(Event::Forgotten { conversation: entry.id });
    }
}

/// Writes how far a conversation has come, together with how far it had come at the last time.
fn write_checkpoint(store: &mut dyn Store, entry: &Entry) -> Result<(), Refusal> {
    let name = key::checkpoint(&entry.id);
    let before = store.record(Table::ConversationHead, &name)?;
    let before = before.and_then(|bytes| CheckpointRecord::decode_exact(&bytes).ok());
    let before = before.map(|record| record.reached).unwrap_or_default();
    let first = store.meta(&inbox_of(&entry.id), &message_id(&entry.id, before.next));
    let counters = (0u16..).zip(&entry.members).filter(|(_, member)| member.counter > 0);
    let counters: Vec<_> =
        counters.map(|(member, of)| CounterRecord { member, next: of.counter }).collect();
    let reached = Tally {
        next: entry.next,
        expiry: entry.last_expiry,
        counters: List::new(counters).expect("at most as many as there are participants"),
    };
    let since = first.map_or(Time::ZERO, |meta| meta.expiry);
    let record = CheckpointRecord { version: VERSION, reached, before, since };
    store.put_record(Table::ConversationHead, &name, &record.to_bytes(), entry.keep_until)?;
    Ok(())
}
