//! Sending and reading messages.

use session_core::{AccountId, ConversationId, Decode, Domain, MessageId, Namespace, Time};
use session_crypto::signer::Verifier;
use session_crypto::{DsaPublicKey, Signature};
use session_storage::{NewItem, Put, Store, StoreError, StoredItem};

use super::check::{Check, Proved};
use super::config::CIPHERTEXT_BYTES_MAX;
use super::error::{Refusal, Unauthorized, within};
use super::record::{MessageRecord, inbox_of, message_id, message_record};
use super::signed::message_bytes;
use super::table::{Entry, Slot, Standing};
use super::{Cx, Event, Mailbox};

/// Bytes of what is signed before the ciphertext begins.
const SIGNED_HEAD: usize = 32 * 3 + 8 + 4;
/// How far ahead of its turn a message is prepared: a sender may have this many on their way.
const AHEAD_MAX: u64 = 64;
/// Damaged messages in a row behind which those that are held are still found.
const HOLE_MAX: u64 = 4;
/// Messages that one page holds.
const PAGE_MESSAGES_MAX: usize = 1000;
/// Bytes of ciphertexts and signatures that one page holds, or one message.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// A message to be sent.
#[derive(Clone, Debug)]
pub struct SendRequest {
    /// The conversation.
    pub conversation: ConversationId,
    /// Who sends.
    pub sender: AccountId,
    /// The sender's counter in this conversation; `None` when it is the next one.
    pub counter: Option<u64>,
    /// What is sent.
    pub ciphertext: Vec<u8>,
    /// Over [`message_bytes`] under `Domain::ConversationMessage`.
    pub signature: Signature,
    /// The signing key, unless it is known already.
    pub key: Option<DsaPublicKey>,
}

/// A message between preparing and applying.
#[derive(Clone, Copy, Debug)]
pub struct MessageIntent {
    conversation: ConversationId,
    member: usize,
    counter: u64,
}

/// A message that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Its id.
    pub message: MessageId,
    /// Its place in the conversation.
    pub sequence: u64,
}

/// A message read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Its place in the conversation.
    pub sequence: u64,
    /// Who sent it.
    pub sender: AccountId,
    /// The sender's counter.
    pub counter: u64,
    /// What was sent.
    pub ciphertext: Vec<u8>,
    /// The signature, for readers to check themselves.
    pub signature: Vec<u8>,
    /// When it came.
    pub received: Time,
    /// When it is forgotten.
    pub expires: Time,
}

/// Messages of one conversation in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MessagePage {
    /// The messages. One that the disk has damaged is left out.
    pub messages: Vec<Message>,
    /// The first sequence number that is still held; those before it are forgotten.
    pub first_sequence: u64,
    /// The sequence number that the next message will have.
    pub next_sequence: u64,
    /// Whether there are more after the last.
    pub more: bool,
}

impl Mailbox {
    /// Checks a message, all but the signature.
    ///
    /// # Errors
    /// When the conversation is unknown or over, the sender takes no part in it, its signing key
    /// is needed or wrong, the counter was used or is too far ahead, or the ciphertext is too long.
    pub fn prepare_send(
        &self,
        now: Time,
        request: SendRequest,
    ) -> Result<Check<MessageIntent>, Refusal> {
        let SendRequest { conversation, sender, counter, ciphertext, signature, key } = request;
        check_ciphertext(&ciphertext)?;
        let slot = self.open_slot(&conversation, now)?;
        let entry = self.entries.entry(slot);
        let member = self.member(entry, &sender)?;
        let (key, binding) = self.signing_key(entry, member, key)?;
        let expected = entry.members[member].counter;
        let counter = counter.unwrap_or(expected);
        check_counter(expected, counter, AHEAD_MAX)?;
        let message =
            message_bytes(&self.config.scope, &conversation, &sender, counter, &ciphertext);
        Ok(Check {
            intent: MessageIntent { conversation, member, counter },
            domain: Domain::ConversationMessage,
            message,
            key,
            signature,
            binding,
        })
    }

    /// Takes a message: gives it the next number and stores it. A message to a pending conversation
    /// waits there for the participants who are not in yet; its own sender is in by sending.
    ///
    /// # Errors
    /// When the conversation is over by now, it is not this counter's turn, the conversation holds
    /// as many messages as it may, or the store fails.
    pub fn apply_send(
        &mut self,
        cx: &mut Cx<'_>,
        proved: Proved<MessageIntent>,
    ) -> Result<Sent, Refusal> {
        let MessageIntent { conversation, member, counter } = proved.intent;
        let slot = self.open_slot(&conversation, cx.now)?;
        check_counter(self.entries.entry(slot).members[member].counter, counter, 0)?;
        self.make_room(cx.store, slot, cx.now)?;
        self.accept(cx, slot, member, &proved.key)?;
        let ciphertext = &proved.message[SIGNED_HEAD..];
        self.append(cx, slot, member, proved.signature.as_bytes(), ciphertext)
    }

    /// Prepares, verifies and applies in one call.
    ///
    /// # Errors
    /// As each of the three.
    pub fn send(
        &mut self,
        cx: &mut Cx<'_>,
        verifier: &dyn Verifier,
        request: SendRequest,
    ) -> Result<Sent, Refusal> {
        let proved = self.prepare_send(cx.now, request)?.verify(verifier)?;
        self.apply_send(cx, proved)
    }

    /// Refuses when the conversation is full, after forgetting what has expired.
    pub(super) fn make_room(
        &mut self,
        store: &dyn Store,
        slot: Slot,
        now: Time,
    ) -> Result<(), Refusal> {
        let limit = self.config.messages_max;
        let entry = self.entries.entry(slot);
        if entry.next - entry.first < limit {
            return Ok(());
        }
        let (first, next) = (first_held(store, entry, now), entry.next);
        self.entries.entry_mut(slot).first = first;
        if next - first < limit {
            return Ok(());
        }
        Err(Refusal::Limit { field: "messages", got: next - first + 1, limit })
    }

    /// Stores a message with the counter that is due.
    pub(super) fn append(
        &mut self,
        cx: &mut Cx<'_>,
        slot: Slot,
        member: usize,
        signature: &[u8],
        ciphertext: &[u8],
    ) -> Result<Sent, Refusal> {
        let entry = self.entries.entry(slot);
        let (conversation, sequence) = (entry.id, entry.next);
        let counter = entry.members[member].counter;
        // Expiries never go back in a conversation: what is held is one run of numbers.
        let expiry = (cx.now + self.config.retention).max(entry.last_expiry).min(entry.keep_until);
        let index = u16::try_from(member).expect("at most 1000 participants");
        let data = message_record(index, counter, cx.now, signature, ciphertext);
        let id = message_id(&conversation, sequence);
        let item = NewItem { namespace: Namespace(0), id, timestamp: cx.now, expiry, data: &data };
        if !matches!(cx.store.put_item(&inbox_of(&conversation), item)?, Put::Stored { .. }) {
            // Left over from a write that was never acknowledged: it has the number now.
            self.adopt(cx.store, slot, cx.now, 0)?;
            let expected = self.entries.entry(slot).members[member].counter;
            check_counter(expected, counter, 0)?;
            return Err(Refusal::Damaged { what: "a conversation's progress" });
        }
        let entry = self.entries.entry_mut(slot);
        entry.next += 1;
        entry.last_expiry = expiry;
        entry.members[member].counter += 1;
        self.mark_dirty(slot, cx.now);
        self.messages += 1;
        cx.effects.push(Event::Message { conversation, sequence });
        Ok(Sent { message: id, sequence })
    }

    pub(super) fn mark_dirty(&mut self, slot: Slot, now: Time) {
        let entry = self.entries.entry_mut(slot);
        if !entry.dirty {
            entry.dirty = true;
            self.dirty.push_back((now, slot));
        }
    }

    /// Counts messages that are stored behind the last one counted, up to the first hole at
    /// `through` or behind it. Returns how many.
    pub(super) fn adopt(
        &mut self,
        store: &dyn Store,
        slot: Slot,
        now: Time,
        through: u64,
    ) -> Result<u64, Refusal> {
        let id = self.entries.entry(slot).id;
        let inbox = inbox_of(&id);
        let mut adopted = 0;
        loop {
            let sequence = self.entries.entry(slot).next;
            let message = message_id(&id, sequence);
            let Some(meta) = store.meta(&inbox, &message) else {
                if sequence >= through {
                    break;
                }
                self.entries.entry_mut(slot).next += 1;
                continue;
            };
            let record = read(store.item(&inbox, &message))?;
            let entry = self.entries.entry_mut(slot);
            entry.next += 1;
            entry.last_expiry = entry.last_expiry.max(meta.expiry);
            adopted += 1;
            let Some((record, _)) = record else { continue };
            if let Some(member) = entry.members.get_mut(usize::from(record.member)) {
                member.counter = member.counter.max(record.counter.saturating_add(1));
                // Its signature was verified before it was stored.
                if !entry.compat && member.standing != Standing::Accepted {
                    member.standing = Standing::Accepted;
                    entry.count_invited();
                }
            }
        }
        if adopted > 0 {
            self.mark_dirty(slot, now);
        }
        Ok(adopted)
    }

    /// Reads the messages after a sequence number, whether the conversation is open or over.
    ///
    /// # Errors
    /// When the conversation is unknown or the store fails.
    pub fn messages(
        &self,
        store: &dyn Store,
        now: Time,
        conversation: &ConversationId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<MessagePage, Refusal> {
        let slot = self.entries.slot(conversation).ok_or(Refusal::UnknownConversation)?;
        let entry = self.entries.entry(slot);
        let first = first_held(store, entry, now);
        let start = after.map_or(0, |after| after.saturating_add(1)).max(first);
        let limit = limit.clamp(1, PAGE_MESSAGES_MAX);
        let mut page = MessagePage {
            first_sequence: first,
            next_sequence: entry.next,
            ..MessagePage::default()
        };
        let mut bytes = 0;
        for sequence in start..entry.next {
            if page.messages.len() == limit || bytes >= PAGE_BYTES_MAX {
                page.more = true;
                break;
            }
            if let Some(message) = self.read_message(store, entry, sequence, now)? {
                bytes += message.ciphertext.len() + message.signature.len();
                page.messages.push(message);
            }
        }
        Ok(page)
    }

    /// Reads one message; `None` when it is not there (yet, or any longer).
    ///
    /// # Errors
    /// When the conversation is unknown or the store fails.
    pub fn message(
        &self,
        store: &dyn Store,
        now: Time,
        conversation: &ConversationId,
        sequence: u64,
    ) -> Result<Option<Message>, Refusal> {
        let slot = self.entries.slot(conversation).ok_or(Refusal::UnknownConversation)?;
        self.read_message(store, self.entries.entry(slot), sequence, now)
    }

    fn read_message(
        &self,
        store: &dyn Store,
        entry: &Entry,
        sequence: u64,
        now: Time,
    ) -> Result<Option<Message>, Refusal> {
        // What lies behind the last number was never acknowledged.
        if sequence >= entry.next {
            return Ok(None);
        }
        let id = message_id(&entry.id, sequence);
        let Some((record, item)) = read(store.item(&inbox_of(&entry.id), &id))? else {
            return Ok(None);
        };
        let Some(member) = entry.members.get(usize::from(record.member)) else { return Ok(None) };
        Ok((item.meta.expiry > now).then(|| Message {
            id,
            sequence,
            sender: self.people.get(member.person).account,
            counter: record.counter,
            ciphertext: record.ciphertext.into_vec(),
            signature: record.signature.into_vec(),
            received: record.received,
            expires: item.meta.expiry,
        }))
    }
}

pub(super) fn check_ciphertext(ciphertext: &[u8]) -> Result<(), Refusal> {
    if ciphertext.is_empty() {
        return Err(Refusal::Invalid { field: "ciphertext", why: "it is empty" });
    }
    within("ciphertext", ciphertext.len(), CIPHERTEXT_BYTES_MAX)
}

fn check_counter(expected: u64, got: u64, ahead: u64) -> Result<(), Refusal> {
    if got < expected {
        Err(Refusal::Replayed { expected, got })
    } else if got - expected > ahead {
        Err(Refusal::CounterGap { expected, got })
    } else {
        Ok(())
    }
}

/// Returns the first message that is held. Expiries never go back within a conversation, so those
/// that are gone come first: half of the rest is excluded at each look. A message that the disk has
/// lost says nothing; the next one that is there speaks for it.
fn first_held(store: &dyn Store, entry: &Entry, now: Time) -> u64 {
    let inbox = inbox_of(&entry.id);
    let meta = |sequence| store.meta(&inbox, &message_id(&entry.id, sequence));
    let is_held = |sequence| meta(sequence).is_some_and(|meta| meta.expiry > now);
    if entry.first == entry.next || is_held(entry.first) {
        return entry.first;
    }
    let (mut gone, mut held) = (entry.first, entry.next);
    while held - gone > 1 {
        let middle = gone + (held - gone) / 2;
        let speaker = (middle..held.min(middle + HOLE_MAX)).find_map(meta);
        if speaker.is_some_and(|meta| meta.expiry > now) { held = middle } else { gone = middle }
    }
    while held < entry.next && !is_held(held) {
        held += 1;
    }
    held
}

/// Decodes an item; `None` when it is not there or damaged: the others are still worth reading.
fn read(
    item: Result<Option<StoredItem>, StoreError>,
) -> Result<Option<(MessageRecord, StoredItem)>, Refusal> {
    match item {
        Ok(Some(item)) => {
            let record = MessageRecord::decode_exact(&item.data);
            Ok(record.ok().map(|record| (record, item)))
        }
        Ok(None) | Err(StoreError::Corrupt { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Unauthorized {
    pub(super) const fn unless(self, allowed: bool) -> Result<(), Refusal> {
        if allowed { Ok(()) } else { Err(Refusal::Unauthorized(self)) }
    }
}
