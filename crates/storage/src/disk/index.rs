//! What a shard keeps in memory of its items and tombstones: 72 bytes each, a hash table of 4-byte
//! slots to find them, 4 bytes for the order in the inbox and 4 for the order of expiry.

use core::ops::RangeInclusive;
use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::BuildHasher;

use session_core::{InboxAddress, MessageId, Namespace, Time};

use super::wheel::Wheel;
use crate::store::{ItemMeta, Usage};

const NONE: u32 = u32::MAX;
const TOMBSTONE: u32 = u32::MAX;
/// Entries are allocated in chunks, so that growing neither copies nor doubles.
const CHUNK: usize = 4096;
/// Fewer stale entries than this in the wheel are not worth a rebuild.
const STALE_MIN: usize = 4096;

/// An item or a tombstone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    id: MessageId,
    /// The arrival of an item, the number of the removal of a tombstone.
    pub(crate) number: u64,
    timestamp: [u8; 6],
    /// The expiry of an item, the end of a tombstone.
    expiry: [u8; 6],
    namespace: u16,
    size: u32,
    /// The segment that holds the item; 0 for a tombstone.
    pub(crate) segment: u32,
    /// Where its data starts in the segment.
    pub(crate) offset: u32,
    inbox: u32,
}

impl Entry {
    /// Makes the entry of an item.
    pub(crate) fn item(meta: &ItemMeta, segment: u32, offset: u32) -> Self {
        Self {
            id: meta.id,
            number: meta.arrival,
            timestamp: pack(meta.timestamp),
            expiry: pack(meta.expiry),
            namespace: meta.namespace.0,
            size: meta.size,
            segment,
            offset,
            inbox: NONE,
        }
    }

    /// Makes the entry of a tombstone.
    pub(crate) fn tombstone(id: MessageId, number: u64, until: Time) -> Self {
        Self {
            id,
            number,
            timestamp: [0; 6],
            expiry: pack(until),
            namespace: 0,
            size: TOMBSTONE,
            segment: 0,
            offset: 0,
            inbox: NONE,
        }
    }

    pub(crate) const fn is_tombstone(&self) -> bool {
        self.size == TOMBSTONE
    }

    pub(crate) fn expiry(&self) -> Time {
        unpack(self.expiry)
    }

    pub(crate) const fn size(&self) -> u32 {
        self.size
    }

    pub(crate) fn meta(&self) -> ItemMeta {
        ItemMeta {
            id: self.id,
            namespace: Namespace(self.namespace),
            timestamp: unpack(self.timestamp),
            expiry: unpack(self.expiry),
            arrival: self.number,
            size: self.size,
        }
    }
}

#[derive(Debug)]
struct Inbox {
    address: InboxAddress,
    /// What each namespace holds that holds anything: one or two, as a rule.
    usage: Vec<(u16, Usage)>,
    /// Slots of items, by arrival.
    order: VecDeque<u32>,
    /// Slots of tombstones.
    graves: Vec<u32>,
}

impl Inbox {
    fn add(&mut self, entry: &Entry) {
        let place = self.usage.iter().position(|(namespace, _)| *namespace == entry.namespace);
        let place = place.unwrap_or_else(|| {
            self.usage.reserve_exact(1);
            self.usage.push((entry.namespace, Usage::default()));
            self.usage.len() - 1
        });
        self.usage[place].1.add(entry.size);
    }

    fn subtract(&mut self, entry: &Entry) {
        let place = self.usage.iter().position(|(namespace, _)| *namespace == entry.namespace);
        let place = place.expect("it was added");
        self.usage[place].1.remove(entry.size);
        if self.usage[place].1.items == 0 {
            self.usage.swap_remove(place);
        }
    }
}

/// The index of one shard.
#[derive(Debug, Default)]
pub(crate) struct Index {
    chunks: Vec<Box<[Entry]>>,
    used: u32,
    free: Vec<u32>,
    table: SlotTable,
    inboxes: Vec<Inbox>,
    inboxes_free: Vec<u32>,
    by_address: BTreeMap<InboxAddress, u32>,
    wheel: Wheel,
    items: u64,
    item_bytes: u64,
    tombstones: u64,
}

impl Index {
    pub(crate) fn find(&self, address: &InboxAddress, id: &MessageId) -> Option<u32> {
        let inbox = *self.by_address.get(address)?;
        self.table.find(inbox, id, |slot| self.entry(slot))
    }

    pub(crate) fn entry(&self, slot: u32) -> &Entry {
        &self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    /// Returns the item of this name, not its tombstone.
    pub(crate) fn item(&self, address: &InboxAddress, id: &MessageId) -> Option<&Entry> {
        self.find(address, id).map(|slot| self.entry(slot)).filter(|entry| !entry.is_tombstone())
    }

    /// Says where an item lies now.
    pub(crate) fn relocate(&mut self, slot: u32, segment: u32, offset: u32) {
        let entry = self.entry_mut(slot);
        entry.segment = segment;
        entry.offset = offset;
    }

    /// Adds an entry that is not there, with the largest number so far in its inbox.
    pub(crate) fn insert(&mut self, address: &InboxAddress, entry: Entry) -> u32 {
        let inbox = self.inbox_of(address);
        let slot = self.insert_into(inbox, entry);
        self.wheel.insert(entry.expiry().as_millis(), entry.number, slot);
        slot
    }

    /// Adds an item, or returns the slot of the one of that name that is there. [`Index::sort`]
    /// must follow before anything is read.
    pub(crate) fn insert_unsorted(&mut self, address: &InboxAddress, item: Entry) -> Option<u32> {
        let inbox = self.inbox_of(address);
        let known = self.table.find(inbox, &item.id, |slot| self.entry(slot));
        if known.is_none() {
            self.insert_into(inbox, item);
        }
        known
    }

    fn insert_into(&mut self, inbox: u32, mut entry: Entry) -> u32 {
        entry.inbox = inbox;
        let slot = self.allocate(entry);
        let Self { chunks, table, .. } = self;
        let entry_at = |slot: u32| &chunks[slot as usize / CHUNK][slot as usize % CHUNK];
        table.insert(slot, entry_at);
        let home = &mut self.inboxes[inbox as usize];
        if entry.is_tombstone() {
            home.graves.push(slot);
            self.tombstones += 1;
        } else {
            home.add(&entry);
            home.order.push_back(slot);
            self.items += 1;
            self.item_bytes += u64::from(entry.size);
        }
        slot
    }

    /// Puts an item in the place of another of the same name; [`Index::sort`] must follow.
    pub(crate) fn replace_unsorted(&mut self, slot: u32, entry: Entry) {
        let before = *self.entry(slot);
        self.inboxes[before.inbox as usize].add(&entry);
        self.inboxes[before.inbox as usize].subtract(&before);
        self.item_bytes += u64::from(entry.size);
        self.item_bytes -= u64::from(before.size);
        *self.entry_mut(slot) = Entry { inbox: before.inbox, ..entry };
    }

    /// Ends a run of [`Index::insert_unsorted`] and [`Index::replace_unsorted`].
    pub(crate) fn sort(&mut self) {
        let Self { chunks, inboxes, .. } = self;
        let number = |slot: u32| chunks[slot as usize / CHUNK][slot as usize % CHUNK].number;
        for inbox in inboxes {
            let slots = inbox.order.make_contiguous();
            if !slots.is_sorted_by_key(|slot| number(*slot)) {
                slots.sort_by_key(|slot| number(*slot));
            }
            inbox.order.shrink_to_fit();
        }
        self.rebuild_wheel();
    }

    /// Takes one item out.
    pub(crate) fn remove(&mut self, slot: u32) -> Entry {
        let entry = *self.entry(slot);
        debug_assert!(!entry.is_tombstone(), "tombstones only ever expire");
        let number = entry.number;
        let Self { chunks, inboxes, .. } = self;
        let order = &mut inboxes[entry.inbox as usize].order;
        let at = order.partition_point(|slot| {
            chunks[*slot as usize / CHUNK][*slot as usize % CHUNK].number < number
        });
        debug_assert_eq!(order.get(at), Some(&slot), "orders are sorted and complete");
        order.remove(at);
        self.detach(slot);
        self.forget_empty(entry.inbox);
        self.rebuild_if_stale();
        entry
    }

    /// Changes when an item expires.
    pub(crate) fn set_expiry(&mut self, slot: u32, expiry: Time) {
        let before = *self.entry(slot);
        self.entry_mut(slot).expiry = pack(expiry);
        self.wheel.forget(before.expiry().as_millis(), before.number, slot);
        self.wheel.insert(expiry.as_millis(), before.number, slot);
        self.rebuild_if_stale();
    }

    /// Prolongs a tombstone.
    pub(crate) fn set_tombstone(&mut self, slot: u32, number: u64, until: Time) {
        let before = *self.entry(slot);
        let entry = self.entry_mut(slot);
        entry.expiry = pack(until);
        entry.number = number;
        self.wheel.forget(before.expiry().as_millis(), before.number, slot);
        self.wheel.insert(until.as_millis(), number, slot);
        self.rebuild_if_stale();
    }

    /// Readies [`Index::first_due`] for `now`.
    pub(crate) fn advance(&mut self, now: Time) {
        let Self { chunks, used, wheel, .. } = self;
        wheel.advance(now.as_millis(), |slot| {
            let entry = &chunks[slot as usize / CHUNK][slot as usize % CHUNK];
            (slot < *used && entry.inbox != NONE)
                .then(|| (entry.expiry().as_millis(), entry.number))
        });
    }

    /// Returns what expires first: its time, its number, its slot.
    pub(crate) fn first_due(&self) -> Option<(u64, u64, u32)> {
        self.wheel.first()
    }

    /// Takes out an entry that has expired, leaving its place in the order of its inbox to
    /// [`Index::sweep`], which must follow before anything else. Returns the inbox's number.
    pub(crate) fn expire(&mut self, slot: u32) -> (Entry, u32) {
        let entry = *self.entry(slot);
        self.detach(slot);
        (entry, entry.inbox)
    }

    /// Closes the gaps that [`Index::expire`] left in the orders of these inboxes.
    pub(crate) fn sweep(&mut self, inboxes: &BTreeSet<u32>) {
        for &number in inboxes {
            let Self { chunks, inboxes, .. } = self;
            let inbox = &mut inboxes[number as usize];
            let stays =
                |slot: &u32| chunks[*slot as usize / CHUNK][*slot as usize % CHUNK].inbox == number;
            inbox.order.retain(stays);
            inbox.graves.retain(stays);
            self.forget_empty(number);
        }
        self.rebuild_if_stale();
    }

    /// Returns items of one namespace after an arrival, in order.
    pub(crate) fn after(
        &self,
        address: &InboxAddress,
        namespace: Namespace,
        after: u64,
    ) -> impl Iterator<Item = &Entry> {
        let order = self.by_address.get(address).map(|n| &self.inboxes[*n as usize].order);
        let first = order
            .map_or(0, |order| order.partition_point(|slot| self.entry(*slot).number <= after));
        order
            .into_iter()
            .flat_map(move |order| order.range(first..))
            .map(|slot| self.entry(*slot))
            .filter(move |entry| entry.namespace == namespace.0)
    }

    /// Returns the addresses of a range and their numbers, in order.
    pub(crate) fn addresses(
        &self,
        range: RangeInclusive<InboxAddress>,
    ) -> impl Iterator<Item = (InboxAddress, u32)> {
        (!range.is_empty())
            .then(|| self.by_address.range(range))
            .into_iter()
            .flatten()
            .map(|(address, number)| (*address, *number))
    }

    /// Returns the items of an inbox in the order of arrival.
    pub(crate) fn items_of(&self, inbox: u32) -> impl Iterator<Item = &Entry> {
        self.inboxes[inbox as usize].order.iter().map(|slot| self.entry(*slot))
    }

    /// Returns the names and ends of the tombstones of an inbox, by name.
    pub(crate) fn tombstones_of(&self, inbox: u32) -> Vec<(MessageId, Time)> {
        let graves = self.inboxes[inbox as usize].graves.iter();
        let mut found: Vec<_> =
            graves.map(|slot| self.entry(*slot)).map(|entry| (entry.id, entry.expiry())).collect();
        found.sort_unstable();
        found
    }

    pub(crate) fn usage(&self, address: &InboxAddress, namespace: Namespace) -> Usage {
        let inbox = self.by_address.get(address).map(|number| &self.inboxes[*number as usize]);
        let mut used = inbox.into_iter().flat_map(|inbox| &inbox.usage);
        let found = used.find(|(used, _)| *used == namespace.0);
        found.map(|(_, usage)| *usage).unwrap_or_default()
    }

    /// Returns the numbers of items, of bytes of their data, and of tombstones.
    pub(crate) const fn totals(&self) -> (u64, u64, u64) {
        (self.items, self.item_bytes, self.tombstones)
    }

    fn entry_mut(&mut self, slot: u32) -> &mut Entry {
        &mut self.chunks[slot as usize / CHUNK][slot as usize % CHUNK]
    }

    fn allocate(&mut self, entry: Entry) -> u32 {
        if let Some(slot) = self.free.pop() {
            *self.entry_mut(slot) = entry;
            return slot;
        }
        let slot = self.used;
        if slot as usize == self.chunks.len() * CHUNK {
            self.chunks.push(vec![Entry { inbox: NONE, ..entry }; CHUNK].into_boxed_slice());
        }
        self.used += 1;
        *self.entry_mut(slot) = entry;
        slot
    }

    fn inbox_of(&mut self, address: &InboxAddress) -> u32 {
        if let Some(number) = self.by_address.get(address) {
            return *number;
        }
        let inbox = Inbox {
            address: *address,
            usage: Vec::new(),
            order: VecDeque::new(),
            graves: Vec::new(),
        };
        let number = if let Some(number) = self.inboxes_free.pop() {
            self.inboxes[number as usize] = inbox;
            number
        } else {
            self.inboxes.push(inbox);
            u32::try_from(self.inboxes.len() - 1).expect("memory ends before 2^32 inboxes")
        };
        self.by_address.insert(*address, number);
        number
    }

    fn detach(&mut self, slot: u32) {
        let Self { chunks, table, .. } = self;
        table.remove(slot, |slot| &chunks[slot as usize / CHUNK][slot as usize % CHUNK]);
        let entry = *self.entry(slot);
        let inbox = &mut self.inboxes[entry.inbox as usize];
        if entry.is_tombstone() {
            self.tombstones -= 1;
        } else {
            inbox.subtract(&entry);
            self.items -= 1;
            self.item_bytes -= u64::from(entry.size);
        }
        self.wheel.forget(entry.expiry().as_millis(), entry.number, slot);
        self.entry_mut(slot).inbox = NONE;
        self.free.push(slot);
    }

    fn forget_empty(&mut self, number: u32) {
        let inbox = &mut self.inboxes[number as usize];
        if inbox.order.is_empty() && inbox.graves.is_empty() {
            self.by_address.remove(&inbox.address);
            inbox.usage = Vec::new();
            inbox.order = VecDeque::new();
            inbox.graves = Vec::new();
            self.inboxes_free.push(number);
        }
    }

    fn rebuild_if_stale(&mut self) {
        let live = usize::try_from(self.items + self.tombstones).unwrap_or(usize::MAX);
        if self.wheel.stale() > STALE_MIN.max(live / 2) {
            self.rebuild_wheel();
        }
    }

    fn rebuild_wheel(&mut self) {
        let Self { chunks, used, wheel, .. } = self;
        wheel.rebuild((0..*used).filter_map(|slot| {
            let entry = &chunks[slot as usize / CHUNK][slot as usize % CHUNK];
            (entry.inbox != NONE).then(|| (entry.expiry().as_millis(), entry.number, slot))
        }));
    }
}

/// An open-addressing hash table of slots: the standard map would store the keys once more.
///
/// Its hash is keyed, because ids come from outside; nothing depends on its order.
#[derive(Debug, Default)]
struct SlotTable {
    slots: Vec<u32>,
    used: usize,
    hasher: RandomState,
}

impl SlotTable {
    fn find<'a>(
        &self,
        inbox: u32,
        id: &MessageId,
        entry: impl Fn(u32) -> &'a Entry,
    ) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = self.home(inbox, id);
        while self.slots[at] != NONE {
            let found = entry(self.slots[at]);
            if found.id == *id && found.inbox == inbox {
                return Some(self.slots[at]);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
        None
    }

    fn insert<'a>(&mut self, slot: u32, entry: impl Fn(u32) -> &'a Entry) {
        // At most seven eighths full.
        if (self.used + 1) * 8 > self.slots.len() * 7 {
            let grown = (self.slots.len() * 2).max(64);
            for old in core::mem::replace(&mut self.slots, vec![NONE; grown]) {
                if old != NONE {
                    self.place(old, entry(old));
                }
            }
        }
        self.place(slot, entry(slot));
        self.used += 1;
    }

    fn remove<'a>(&mut self, slot: u32, entry: impl Fn(u32) -> &'a Entry) {
        let mask = self.slots.len() - 1;
        let gone = entry(slot);
        let mut hole = self.home(gone.inbox, &gone.id);
        while self.slots[hole] != slot {
            hole = (hole + 1) & mask;
        }
        // Pull back what was pushed past the hole, so that no probe ends early.
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            if self.slots[at] == NONE {
                break;
            }
            let moved = entry(self.slots[at]);
            let home = self.home(moved.inbox, &moved.id);
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.slots[hole] = self.slots[at];
                hole = at;
            }
        }
        self.slots[hole] = NONE;
        self.used -= 1;
    }

    fn place(&mut self, slot: u32, entry: &Entry) {
        let mut at = self.home(entry.inbox, &entry.id);
        while self.slots[at] != NONE {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = slot;
    }

    fn home(&self, inbox: u32, id: &MessageId) -> usize {
        let hash = self.hasher.hash_one((inbox, id.as_bytes()));
        usize::try_from(hash & (self.slots.len() as u64 - 1)).expect("below the table's length")
    }
}

fn pack(time: Time) -> [u8; 6] {
    let [_, _, packed @ ..] = time.as_millis().to_be_bytes();
    packed
}

fn unpack(packed: [u8; 6]) -> Time {
    let mut bytes = [0; 8];
    bytes[2..].copy_from_slice(&packed);
    Time::from_millis(u64::from_be_bytes(bytes))
}
