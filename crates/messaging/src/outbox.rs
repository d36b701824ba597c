//! Items that wait to be stored: kept until the swarm has them, sent again with the same bytes.
//!
//! What is said is sealed for the mailbox of a day and for the keys of an epoch. If it cannot be stored
//! for so long that nobody would look there any more, it is sealed again: a [`Batch`] remembers what
//! its items hold until then.

use session_core::{Blob, Encode as _, List, Span, Time, choice, record};
use session_protocol::inbox::{AccessRule, Capability};
use session_protocol::request::ItemBytes;

use crate::Cx;
use crate::mailbox;
use crate::messenger::api::{Effect, Target};
use crate::say::{GroupId, SAID_BYTES_MAX, SayId};
use crate::thread::ThreadId;
use crate::vault::{self, Table, Vault};

/// How long the first repetition waits; later ones wait longer, up to [`AGAIN_MAX`].
const AGAIN: Span = Span::from_secs(2);

/// How long a repetition waits at most.
const AGAIN_MAX: Span = Span::from_secs(300);

/// Most items of one thing said.
const ITEMS_MAX: usize = 64;

/// What is stored so long after it was sealed may have been sealed for keys that are gone.
const LONG: Span = Span::from_secs(3600);

/// How long that is watched.
const WATCHED: Span = Span::from_secs(600);

/// How often things that were said and could not be stored are looked at.
const LOOK: Span = Span::from_secs(60);

/// What is kept for a shorter time is not worth being sealed again.
const WORTH: Span = Span::from_secs(3600);

/// Items on their way at once; the others wait.
const FLYING_MAX: usize = 16;

choice! {
    /// What an item is for: who is told when it is stored.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Purpose {
        /// A part of a message of ours.
        1 => Said {
            thread: ThreadId,
            id: SayId,
        },
        /// A receipt or another thing that nobody waits for.
        2 => Quiet,
        /// The commit that ends an epoch.
        3 => Commit {
            group: GroupId,
            epoch: u64,
        },
        /// An introduction: a welcome for an account.
        4 => Intro {
            group: GroupId,
        },
        /// What the account publishes.
        5 => Published,
    }
}

record! {
    /// An item that waits.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Waiting {
        pub(crate) purpose: Purpose,
        pub(crate) rule: AccessRule,
        pub(crate) write: Option<Capability>,
        pub(crate) namespace: session_core::Namespace,
        pub(crate) ttl: Span,
        pub(crate) tries: u32,
        /// What it is a part of, if that can be sealed again.
        pub(crate) batch: Option<u64>,
        pub(crate) data: ItemBytes,
    }

    /// Something said, as it was sealed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Batch {
        pub(crate) group: GroupId,
        /// The keys it is sealed under: their epoch.
        pub(crate) epoch: u64,
        /// When it was sealed; it lies in the mailbox of that day.
        pub(crate) at: Time,
        pub(crate) purpose: Purpose,
        pub(crate) ttl: Span,
        /// What: a [`Said`](crate::say::Said).
        pub(crate) said: Blob<SAID_BYTES_MAX>,
        /// Its items that are not stored yet.
        pub(crate) items: List<u64, ITEMS_MAX>,
        /// When the last one was stored, if that was long after it was sealed: others may have gone on
        /// meanwhile, which shows soon.
        pub(crate) stored: Option<Time>,
    }
}

impl Purpose {
    /// Whether the item is sealed under keys that a copy of this device has, too.
    const fn is_of_a_group(&self) -> bool {
        matches!(self, Self::Said { .. } | Self::Quiet | Self::Commit { .. })
    }
}

impl Batch {
    /// Whether nobody looks any more where it lies: the day is over, and clocks differ.
    fn is_late(&self, now: Time) -> bool {
        mailbox::day_of(now - mailbox::SKEW) > mailbox::day_of(self.at)
    }
}

/// What is on its way, and what waits for another try. Only ids: the items stay in the vault.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    flying: std::collections::BTreeSet<u64>,
    again: session_core::timers::Timers<u64>,
    /// Waits for a place among those on their way.
    queued: std::collections::VecDeque<u64>,
    /// When batches are looked at; never, if there are none.
    look_at: Option<Time>,
    /// Whether what was said may leave: it is certain that no copy of this device uses its keys.
    open: bool,
    /// What waits for that.
    parked: Vec<u64>,
}

fn batch_key(batch: u64) -> Vec<u8> {
    Table::Pending.key(&[b"s", &batch.to_bytes()])
}

fn key(id: u64) -> Vec<u8> {
    Table::Outbox.key(&[&id.to_bytes()])
}

impl Outbox {
    /// Takes up what an earlier run left.
    pub(crate) fn open(vault: &dyn Vault) -> Self {
        let mut outbox = Self::default();
        vault.scan(&Table::Outbox.key(&[]), &[], false, &mut |key, _| {
            if let Some(id) = key.get(1..).and_then(|rest| rest.first_chunk::<8>()) {
                outbox.queued.push_back(u64::from_be_bytes(*id));
            }
            true
        });
        outbox.look_at = Some(Time::ZERO);
        outbox
    }

    /// As [`open`](Self::open), for tests of what does not leave marks.
    #[cfg(test)]
    pub(crate) fn certain(vault: &dyn Vault) -> Self {
        Self { open: true, ..Self::open(vault) }
    }

    /// Keeps an item and sends it as soon as there is a place.
    pub(crate) fn send(
        &mut self,
        cx: &mut Cx<'_>,
        purpose: Purpose,
        to: Target,
        ttl: Span,
        data: ItemBytes,
    ) -> u64 {
        let id = self.keep(cx, purpose, to, ttl, None, data);
        self.fly(cx);
        id
    }

    /// As [`send`](Self::send), for all items of something said.
    pub(crate) fn send_said(
        &mut self,
        cx: &mut Cx<'_>,
        mut batch: Batch,
        to: &Target,
        items: Vec<ItemBytes>,
    ) {
        let number = (batch.ttl >= WORTH).then(|| crate::counter(cx.store, b"batch"));
        let (purpose, ttl) = (batch.purpose, batch.ttl);
        let ids: Vec<u64> = items
            .into_iter()
            .map(|item| self.keep(cx, purpose, to.clone(), ttl, number, item))
            .collect();
        if let (Some(number), Ok(ids)) = (number, List::new(ids)) {
            batch.items = ids;
            vault::save(cx.store, &batch_key(number), &batch);
            let look = cx.now + LOOK;
            self.look_at = Some(self.look_at.map_or(look, |at| at.min(look)));
        }
        self.fly(cx);
    }

    fn keep(
        &mut self,
        cx: &mut Cx<'_>,
        purpose: Purpose,
        to: Target,
        ttl: Span,
        batch: Option<u64>,
        data: ItemBytes,
    ) -> u64 {
        let id = crate::counter(cx.store, b"outbox");
        let Target { rule, write, namespace } = to;
        let waiting = Waiting { purpose, rule, write, namespace, ttl, tries: 0, batch, data };
        vault::save(cx.store, &key(id), &waiting);
        self.queued.push_back(id);
        id
    }

    /// Takes out what was said and has to be sealed again, oldest first: nobody looks any more where
    /// it would be stored, or its group has gone on while it could not be. `epoch` tells the current
    /// epoch of a group.
    pub(crate) fn take_late(
        &mut self,
        cx: &mut Cx<'_>,
        epoch: impl Fn(&dyn Vault, &GroupId) -> Option<u64>,
    ) -> Vec<Batch> {
        if self.look_at.is_none_or(|at| cx.now < at) {
            return Vec::new();
        }
        let prefix = Table::Pending.key(&[b"s"]);
        let all = vault::list::<Batch>(cx.store, &prefix, &[], false, usize::MAX);
        let (mut late, mut left) = (Vec::new(), false);
        for (key, batch) in all {
            let flies = batch.items.iter().any(|id| self.flying.contains(id));
            let passed = epoch(cx.store, &batch.group).is_none_or(|it| it > batch.epoch);
            let again = match batch.stored {
                Some(_) => passed,
                None => batch.is_late(cx.now) || (passed && cx.now >= batch.at + LONG),
            };
            if again && !flies {
                cx.store.remove(&key);
                batch.items.iter().for_each(|id| self.drop_item(cx, *id));
                late.push(batch);
            } else if batch.stored.is_some_and(|at| cx.now >= at + WATCHED) {
                cx.store.remove(&key);
            } else {
                left = true;
            }
        }
        self.look_at = left.then_some(cx.now + LOOK);
        late
    }

    fn drop_item(&mut self, cx: &mut Cx<'_>, id: u64) {
        self.again.cancel(id);
        self.queued.retain(|it| *it != id);
        self.parked.retain(|it| *it != id);
        cx.store.remove(&key(id));
    }

    /// An item of something said is stored.
    fn part_stored(cx: &mut Cx<'_>, id: u64, number: u64) {
        let key = batch_key(number);
        let Some(mut batch) = vault::load::<Batch>(cx.store, &key) else { return };
        let left: Vec<u64> = batch.items.iter().copied().filter(|it| *it != id).collect();
        batch.items = List::new(left).expect("fewer than before");
        if batch.items.is_empty() {
            if cx.now < batch.at + LONG {
                return cx.store.remove(&key);
            }
            batch.stored = Some(cx.now);
        }
        vault::save(cx.store, &key, &batch);
    }

    /// Sends what waits, as far as there are places.
    pub(crate) fn fly(&mut self, cx: &mut Cx<'_>) {
        while let Some(id) = self.again.pop(cx.now) {
            self.queued.push_back(id);
        }
        while self.flying.len() < FLYING_MAX {
            let Some(id) = self.queued.pop_front() else { return };
            let Some(it) = vault::load::<Waiting>(cx.store, &key(id)) else { continue };
            if !self.open && it.purpose.is_of_a_group() {
                self.parked.push(id);
                continue;
            }
            self.flying.insert(id);
            let to = Target { rule: it.rule, write: it.write, namespace: it.namespace };
            cx.effects.push(Effect::Store { id, to, ttl: it.ttl, data: it.data });
        }
    }

    /// Whether something waits until it is certain that no copy of this device uses its keys.
    pub(crate) fn waits_for_mark(&self) -> bool {
        !self.parked.is_empty()
    }

    /// It is certain.
    pub(crate) fn open_up(&mut self, cx: &mut Cx<'_>) {
        self.open = true;
        for id in core::mem::take(&mut self.parked).into_iter().rev() {
            self.queued.push_front(id);
        }
        self.fly(cx);
    }

    /// It is no longer certain.
    pub(crate) fn close(&mut self) {
        self.open = false;
    }

    /// Takes out everything that is sealed under keys of groups; returns what was said, oldest first.
    pub(crate) fn take_all(&mut self, cx: &mut Cx<'_>) -> Vec<Batch> {
        let items =
            vault::list::<Waiting>(cx.store, &Table::Outbox.key(&[]), &[], false, usize::MAX);
        for (key, _) in items.iter().filter(|(_, it)| it.purpose.is_of_a_group()) {
            if let Some(id) = key.get(1..).and_then(|rest| rest.first_chunk::<8>()) {
                let id = u64::from_be_bytes(*id);
                self.flying.remove(&id);
                self.drop_item(cx, id);
            }
        }
        self.parked.clear();
        let prefix = Table::Pending.key(&[b"s"]);
        let all = vault::list::<Batch>(cx.store, &prefix, &[], false, usize::MAX);
        all.iter().for_each(|(key, _)| cx.store.remove(key));
        all.into_iter().map(|(_, batch)| batch).collect()
    }

    /// Returns what an effect was for, if it is one of ours.
    pub(crate) fn waiting(&self, vault: &dyn Vault, id: u64) -> Option<Waiting> {
        if self.flying.contains(&id) { vault::load(vault, &key(id)) } else { None }
    }

    /// The item, a part of `batch`, is stored, or nobody wants it any more.
    pub(crate) fn done(&mut self, cx: &mut Cx<'_>, id: u64, batch: Option<u64>) {
        self.flying.remove(&id);
        self.again.cancel(id);
        cx.store.remove(&key(id));
        if let Some(batch) = batch {
            Self::part_stored(cx, id, batch);
        }
        self.fly(cx);
    }

    /// The item was not stored: it is tried again, with the same bytes.
    pub(crate) fn again(&mut self, cx: &mut Cx<'_>, id: u64) {
        self.flying.remove(&id);
        if let Some(mut it) = vault::load::<Waiting>(cx.store, &key(id)) {
            it.tries = it.tries.saturating_add(1);
            vault::save(cx.store, &key(id), &it);
            let wait = AGAIN.as_millis() << it.tries.min(10);
            let wait = Span::from_millis(wait.min(AGAIN_MAX.as_millis()));
            self.again.set(id, cx.now + wait);
        }
        self.fly(cx);
    }

    /// Returns when something is to be tried again.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.again.next()
    }

    /// Returns when [`take_late`](Self::take_late) is due.
    pub(crate) const fn late_deadline(&self) -> Option<Time> {
        self.look_at
    }

    /// Returns how many items wait, those on their way included.
    pub(crate) fn len(&self) -> usize {
        self.flying.len() + self.again.len() + self.queued.len() + self.parked.len()
    }
}
