//! Whether this device is what it was: a copy of its vault, or an older state of it, would use keys a
//! second time.
//!
//! Before a device says anything it leaves a mark in a mailbox of its own: a number, one higher each
//! time, in a slot that takes one item. A number that is taken, or a higher one that lies there, was
//! left by a copy, or by what this device was before its vault was put back. Then nothing is sent; what
//! arrived is read; and all conversations are joined again, under new keys.
//!
//! *Not provided:* marks lie there for 14 days. What was put back after a longer silence is not noticed,
//! nor where nobody who keeps the mailbox answers.

use session_core::{Digest, Domain, Span, Time, digest, record};
use session_crypto::aead::{self, NONCE_SIZE};
use session_protocol::inbox::{COMMITS, Mailbox};
use session_protocol::limits::TTL_MAX;
use session_protocol::request::{Item, ItemBytes};

use super::api::{Effect, Error, NetFailure, Source, Stored, Target, Warning};
use super::links::Link;
use super::{Messenger, commands, links};
use crate::Cx;
use crate::group::{self, Phase};
use crate::outbox::{Batch, Purpose};
use crate::say::{GroupId, Peer};
use crate::secret::Secret;
use crate::thread;
use crate::vault::{self, Table, Vault};

/// How often a device that keeps running leaves another mark.
const RENEW: Span = Span::from_days(7);

/// How long a device that was put back waits until everything that arrived is read.
const PATIENCE: Span = Span::from_secs(60);

record! {
    /// The last mark of this device.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Marks {
        /// From which mailbox, slots and key derive.
        seed: Secret,
        number: u64,
    }
}

impl Marks {
    fn key() -> Vec<u8> {
        Table::Meta.key(&[b"m/marks"])
    }

    fn load(cx: &mut Cx<'_>) -> Self {
        let found = vault::load(cx.store, &Self::key());
        found.unwrap_or_else(|| Self { seed: Secret::generate(cx.rng), number: 0 })
    }

    fn save(&self, vault: &mut dyn Vault) {
        vault::save(vault, &Self::key(), self);
    }

    fn mailbox(&self) -> Mailbox {
        Mailbox::derive(&self.seed.key(), &[b"marks"])
    }

    fn slot(&self) -> Digest {
        digest(Domain::CommitSlot, &[b"mark", self.seed.expose(), &self.number.to_be_bytes()])
    }

    fn seal(&self, cx: &mut Cx<'_>) -> ItemBytes {
        let mut nonce = [0; NONCE_SIZE];
        cx.rng.fill(&mut nonce);
        let slot = self.slot();
        let number = self.number.to_be_bytes();
        let sealed = aead::seal(&self.seed.key(), &nonce, slot.as_ref(), &number);
        ItemBytes::new([slot.as_ref(), &nonce, &sealed].concat()).expect("a hundred bytes")
    }

    /// Returns the number of a mark.
    fn open(&self, item: &Item) -> Option<u64> {
        let (slot, rest) = item.data.split_first_chunk::<32>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_SIZE>()?;
        let number = aead::open(&self.seed.key(), nonce, slot, sealed).ok()?;
        Some(u64::from_be_bytes(*number.first_chunk()?))
    }
}

/// How far this device is with its mark.
#[derive(Debug, Default)]
enum Stage {
    /// Nothing was sent yet.
    #[default]
    Unmarked,
    /// The mark is on its way.
    Asking,
    /// Nobody else is this device, as of then.
    Sure(Time),
    /// Somebody else was, or is. Since then, what arrived is read.
    RolledBack(Time),
}

/// The mark of this run.
#[derive(Debug, Default)]
pub(super) struct Marking {
    stage: Stage,
    /// When this run began.
    began: Option<Time>,
    /// What was ordered and not answered.
    store: Option<u64>,
    read: Option<u64>,
    /// Whether the mark was there, or a later one.
    taken: bool,
    /// The highest number that was seen.
    seen: u64,
}

impl Marking {
    /// Returns when [`Messenger::join_again`] is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        match self.stage {
            Stage::RolledBack(since) => Some(since + PATIENCE),
            Stage::Unmarked | Stage::Asking | Stage::Sure(_) => None,
        }
    }
}

impl Messenger {
    /// Leaves a mark if something waits for it, or the last one is old.
    pub(super) fn mark(&mut self, cx: &mut Cx<'_>) {
        self.marking.began.get_or_insert(cx.now);
        let due = match self.marking.stage {
            Stage::Unmarked => self.outbox.waits_for_mark(),
            Stage::Sure(at) => cx.now >= at + RENEW,
            Stage::Asking | Stage::RolledBack(_) => false,
        };
        if due {
            self.marking.stage = Stage::Asking;
            self.leave_mark(cx);
        }
    }

    fn leave_mark(&mut self, cx: &mut Cx<'_>) {
        let mut marks = Marks::load(cx);
        marks.number = marks.number.max(self.marking.seen) + 1;
        marks.save(cx.store);
        let mailbox = marks.mailbox();
        let (store, read) =
            (crate::counter(cx.store, b"outbox"), crate::counter(cx.store, b"read"));
        (self.marking.store, self.marking.read, self.marking.taken) =
            (Some(store), Some(read), false);
        let to =
            Target { rule: mailbox.rule(), write: Some(mailbox.write.clone()), namespace: COMMITS };
        let data = marks.seal(cx);
        cx.effects.push(Effect::Store { id: store, to, ttl: TTL_MAX, data });
        let from = Source { rule: mailbox.rule(), read: Some(mailbox.read), namespace: COMMITS };
        cx.effects.push(Effect::Read { id: read, from });
    }

    /// Takes what came of storing a mark; false if it was something else.
    pub(super) fn mark_stored(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        outcome: &Result<Stored, NetFailure>,
    ) -> bool {
        if self.marking.store != Some(id) {
            return false;
        }
        self.marking.store = None;
        self.marking.taken |= *outcome == Err(NetFailure::SlotTaken);
        self.marked(cx);
        true
    }

    /// Takes what lay in the mailbox of marks; false if it was read for something else.
    pub(super) fn marks_read(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        outcome: &Result<Vec<Item>, NetFailure>,
    ) -> bool {
        if self.marking.read != Some(id) {
            return false;
        }
        self.marking.read = None;
        let marks = Marks::load(cx);
        let mut old = Vec::new();
        for item in outcome.as_deref().unwrap_or_default() {
            let Some(number) = marks.open(item) else { continue };
            self.marking.seen = self.marking.seen.max(number);
            self.marking.taken |= number > marks.number;
            if number < marks.number {
                old.push(item.id);
            }
        }
        if !old.is_empty() {
            let mailbox = marks.mailbox();
            let (rule, erase) = (mailbox.rule(), mailbox.erase);
            cx.effects.push(Effect::Erase { rule, erase, ids: old });
        }
        self.marked(cx);
        true
    }

    /// Both answers are there, perhaps.
    fn marked(&mut self, cx: &mut Cx<'_>) {
        if self.marking.store.is_some() || self.marking.read.is_some() {
            return;
        }
        match self.marking.stage {
            // The number that follows was taken as well: the next one.
            Stage::RolledBack(_) if self.marking.taken => self.leave_mark(cx),
            Stage::RolledBack(_) => {}
            _ if self.marking.taken => {
                self.warn(cx, Warning::RolledBack);
                self.marking.stage = Stage::RolledBack(cx.now);
                self.outbox.close();
                self.leave_mark(cx);
            }
            _ => {
                self.marking.stage = Stage::Sure(cx.now);
                self.outbox.open_up(cx);
            }
        }
    }

    /// Everything that arrived until `at` is read: whoever was put back joins its conversations again.
    pub(super) fn join_again(&mut self, cx: &mut Cx<'_>, at: Time) {
        let Stage::RolledBack(since) = self.marking.stage else { return };
        if at < since {
            return;
        }
        self.marking.stage = Stage::Sure(cx.now);
        let unsent = self.outbox.take_all(cx);
        let heard = self.groups.lose_all(cx, self.marking.began.unwrap_or(cx.now));
        self.heard(cx, heard);
        self.outbox.open_up(cx);
        for batch in unsent {
            self.say_batch(cx, &batch);
        }
    }

    /// Says again, under the keys and in the mailbox of today, what could not be stored.
    pub(super) fn say_batch(&mut self, cx: &mut Cx<'_>, batch: &Batch) {
        let Some(said) = commands::decoded(&batch.said) else {
            return self.given_up(cx, batch.purpose);
        };
        if let Purpose::Said { thread, id } = batch.purpose {
            if thread::by_id(cx.store, thread, id).is_none() {
                // Forgotten or over meanwhile.
                return;
            }
            thread::sealed_again(cx.store, thread, id);
        }
        // What cannot be said now waits for the conversation, unless this account is in it no more.
        let said = match links::link(cx.store, &batch.group) {
            Some(Link { peer: Peer::Group { group }, .. }) if is_out(cx.store, &group) => {
                Err(Error::Lost)
            }
            Some(link) => self.send_or_wait(cx, link.peer, batch.purpose, &said),
            None => self.send(cx, &batch.group, batch.purpose, &said),
        };
        if said.is_err() {
            self.given_up(cx, batch.purpose);
        }
    }
}

/// Whether this account is not in a group, and nothing will bring it back.
fn is_out(vault: &dyn Vault, group: &GroupId) -> bool {
    !matches!(group::phase(vault, group), Some(Phase::Member | Phase::Lost))
}
