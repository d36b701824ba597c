//! The engine that keeps everything in memory: for the simulator, and for nodes without a disk.

use core::mem;
use core::ops::RangeInclusive;
use std::collections::BTreeMap;

use session_core::{InboxAddress, MessageId, Namespace, Time};

use crate::error::StoreError;
use crate::store::{
    Done, Durable, ITEM_BYTES_MAX, ItemMeta, KEY_BYTES_MAX, NewItem, PURGE_MAX, Page, PageLimit,
    Purged, Put, Stats, Store, StoredItem, TIME_MAX, Table, Usage, VALUE_BYTES_MAX, within,
};

/// A store in memory, the same in every run, that can play a crash.
///
/// [`MemoryStore::crash`] undoes what was written since the last commit, as losing power does to
/// a disk: what was purged in between is known again until the next purge.
#[derive(Debug)]
pub struct MemoryStore {
    incarnation: u64,
    next: u64,
    inboxes: BTreeMap<InboxAddress, Inbox>,
    records: BTreeMap<(Table, Vec<u8>), Record>,
    items_due: BTreeMap<(Time, u64), (InboxAddress, MessageId)>,
    records_due: BTreeMap<(Time, u64), (Table, Vec<u8>)>,
    undo: Vec<Undo>,
    limit_bytes: u64,
    stats: Stats,
}

#[derive(Debug, Default)]
struct Inbox {
    items: BTreeMap<MessageId, StoredItem>,
    order: BTreeMap<(Namespace, u64), MessageId>,
    tombstones: BTreeMap<MessageId, Tombstone>,
    usage: BTreeMap<Namespace, Usage>,
}

#[derive(Clone, Copy, Debug)]
struct Tombstone {
    until: Time,
    number: u64,
}

#[derive(Clone, Debug)]
struct Record {
    value: Vec<u8>,
    expiry: Time,
    number: u64,
}

/// How to take one write back.
#[derive(Debug)]
enum Undo {
    Item(InboxAddress, MessageId, Option<Box<StoredItem>>),
    Tombstone(InboxAddress, MessageId, Option<Tombstone>),
    Expiry(InboxAddress, MessageId, Time),
    Record(Table, Vec<u8>, Option<Record>),
}

impl MemoryStore {
    /// Makes an empty store of the given incarnation.
    #[must_use]
    pub fn new(incarnation: u64) -> Self {
        Self {
            incarnation,
            next: 1,
            inboxes: BTreeMap::new(),
            records: BTreeMap::new(),
            items_due: BTreeMap::new(),
            records_due: BTreeMap::new(),
            undo: Vec::new(),
            limit_bytes: u64::MAX,
            stats: Stats::default(),
        }
    }

    /// Refuses new items once their data would be more than `bytes`.
    #[must_use]
    pub fn with_limit(mut self, bytes: u64) -> Self {
        self.limit_bytes = bytes;
        self
    }

    /// Keeps everything written so far through later crashes.
    pub fn commit_now(&mut self) {
        self.undo.clear();
    }

    /// Undoes everything written since the last commit.
    pub fn crash(&mut self) {
        for undo in mem::take(&mut self.undo).into_iter().rev() {
            match undo {
                Undo::Item(address, id, before) => {
                    self.take_item(&address, &id);
                    if let Some(item) = before {
                        self.insert_item(address, *item);
                    }
                }
                Undo::Tombstone(address, id, before) => {
                    self.set_tombstone(address, id, before);
                }
                Undo::Expiry(address, id, before) => {
                    self.change_expiry(&address, &id, before);
                }
                Undo::Record(table, key, before) => {
                    self.set_record(table, key, before);
                }
            }
        }
    }

    const fn number(&mut self) -> u64 {
        let number = self.next;
        self.next += 1;
        number
    }

    fn insert_item(&mut self, address: InboxAddress, item: StoredItem) {
        let inbox = self.inboxes.entry(address).or_default();
        inbox.usage.entry(item.meta.namespace).or_default().add(item.meta.size);
        inbox.order.insert((item.meta.namespace, item.meta.arrival), item.meta.id);
        self.items_due.insert((item.meta.expiry, item.meta.arrival), (address, item.meta.id));
        self.stats.items += 1;
        self.stats.item_bytes += u64::from(item.meta.size);
        inbox.items.insert(item.meta.id, item);
    }

    fn take_item(&mut self, address: &InboxAddress, id: &MessageId) -> Option<StoredItem> {
        let inbox = self.inboxes.get_mut(address)?;
        let item = inbox.items.remove(id)?;
        inbox.usage.entry(item.meta.namespace).or_default().remove(item.meta.size);
        inbox.order.remove(&(item.meta.namespace, item.meta.arrival));
        self.items_due.remove(&(item.meta.expiry, item.meta.arrival));
        self.stats.items -= 1;
        self.stats.item_bytes -= u64::from(item.meta.size);
        self.forget_empty(address);
        Some(item)
    }

    fn forget_empty(&mut self, address: &InboxAddress) {
        if self.inboxes.get(address).is_some_and(|i| i.items.is_empty() && i.tombstones.is_empty())
        {
            self.inboxes.remove(address);
        }
    }

    fn change_expiry(&mut self, address: &InboxAddress, id: &MessageId, to: Time) -> Option<Time> {
        let meta = &mut self.inboxes.get_mut(address)?.items.get_mut(id)?.meta;
        let before = mem::replace(&mut meta.expiry, to);
        self.items_due.remove(&(before, meta.arrival));
        self.items_due.insert((to, meta.arrival), (*address, *id));
        Some(before)
    }

    fn set_tombstone(
        &mut self,
        address: InboxAddress,
        id: MessageId,
        to: Option<Tombstone>,
    ) -> Option<Tombstone> {
        let inbox = self.inboxes.entry(address).or_default();
        let before = inbox.tombstones.remove(&id);
        if let Some(old) = before {
            self.items_due.remove(&(old.until, old.number));
            self.stats.tombstones -= 1;
        }
        if let Some(new) = to {
            inbox.tombstones.insert(id, new);
            self.items_due.insert((new.until, new.number), (address, id));
            self.stats.tombstones += 1;
        }
        self.forget_empty(&address);
        before
    }

    fn set_record(&mut self, table: Table, key: Vec<u8>, to: Option<Record>) -> Option<Record> {
        let before = self.records.remove(&(table, key.clone()));
        if let Some(old) = &before {
            self.records_due.remove(&(old.expiry, old.number));
        }
        if let Some(new) = to {
            self.records_due.insert((new.expiry, new.number), (table, key.clone()));
            self.records.insert((table, key), new);
        }
        before
    }

    fn get(&self, address: &InboxAddress, id: &MessageId) -> Option<&StoredItem> {
        self.inboxes.get(address)?.items.get(id)
    }
}

impl Store for MemoryStore {
    fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn latest_arrival(&self) -> u64 {
        self.next.saturating_sub(1)
    }

    fn put_item(&mut self, address: &InboxAddress, item: NewItem<'_>) -> Result<Put, StoreError> {
        within("item", item.data.len(), ITEM_BYTES_MAX)?;
        if let Some(held) = self.get(address, &item.id) {
            return Ok(Put::Duplicate { arrival: held.meta.arrival, expiry: held.meta.expiry });
        }
        if self.tombstone(address, &item.id).is_some() {
            return Ok(Put::Deleted);
        }
        let needed = item.data.len() as u64;
        let free = self.limit_bytes.saturating_sub(self.stats.item_bytes);
        if needed > free {
            return Err(StoreError::Full { needed, free });
        }
        let arrival = self.number();
        let meta = ItemMeta {
            id: item.id,
            namespace: item.namespace,
            timestamp: item.timestamp.min(TIME_MAX),
            expiry: item.expiry.min(TIME_MAX),
            arrival,
            size: u32::try_from(item.data.len()).expect("checked against ITEM_BYTES_MAX"),
        };
        self.insert_item(*address, StoredItem { meta, data: item.data.to_vec() });
        self.undo.push(Undo::Item(*address, item.id, None));
        Ok(Put::Stored { arrival })
    }

    fn item(
        &self,
        address: &InboxAddress,
        id: &MessageId,
    ) -> Result<Option<StoredItem>, StoreError> {
        Ok(self.get(address, id).cloned())
    }

    fn meta(&self, address: &InboxAddress, id: &MessageId) -> Option<ItemMeta> {
        self.get(address, id).map(|item| item.meta)
    }

    fn items_after(
        &self,
        address: &InboxAddress,
        namespace: Namespace,
        after: u64,
        limit: PageLimit,
        now: Time,
    ) -> Result<Page, StoreError> {
        let mut page = Page::default();
        let Some(inbox) = self.inboxes.get(address) else { return Ok(page) };
        let Some(first) = after.checked_add(1) else { return Ok(page) };
        let mut bytes = 0;
        for id in inbox.order.range((namespace, first)..=(namespace, u64::MAX)).map(|(_, id)| id) {
            let Some(item) = inbox.items.get(id).filter(|item| item.meta.expiry > now) else {
                continue;
            };
            bytes += item.data.len();
            let first = page.items.is_empty();
            if page.items.len() >= limit.items || (bytes > limit.bytes && !first) {
                page.more = true;
                break;
            }
            page.items.push(item.clone());
        }
        Ok(page)
    }

    fn remove_item(
        &mut self,
        address: &InboxAddress,
        id: &MessageId,
        tombstone_until: Time,
    ) -> Result<bool, StoreError> {
        let until = tombstone_until.min(TIME_MAX);
        let before = self.inboxes.get(address).and_then(|inbox| inbox.tombstones.get(id)).copied();
        if before.is_some_and(|tombstone| tombstone.until >= until) {
            return Ok(false);
        }
        let number = self.number();
        let removed = self.take_item(address, id);
        let was_present = removed.is_some();
        if let Some(item) = removed {
            self.undo.push(Undo::Item(*address, *id, Some(Box::new(item))));
        }
        self.set_tombstone(*address, *id, Some(Tombstone { until, number }));
        self.undo.push(Undo::Tombstone(*address, *id, before));
        Ok(was_present)
    }

    fn tombstone(&self, address: &InboxAddress, id: &MessageId) -> Option<Time> {
        Some(self.inboxes.get(address)?.tombstones.get(id)?.until)
    }

    fn set_expiry(
        &mut self,
        address: &InboxAddress,
        id: &MessageId,
        expiry: Time,
    ) -> Result<bool, StoreError> {
        let expiry = expiry.min(TIME_MAX);
        let Some(meta) = self.meta(address, id) else { return Ok(false) };
        if meta.expiry != expiry {
            self.number();
            self.change_expiry(address, id, expiry);
            self.undo.push(Undo::Expiry(*address, *id, meta.expiry));
        }
        Ok(true)
    }

    fn put_record(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
        expiry: Time,
    ) -> Result<(), StoreError> {
        within("record key", key.len(), KEY_BYTES_MAX)?;
        within("record value", value.len(), VALUE_BYTES_MAX)?;
        let number = self.number();
        let record = Record { value: value.to_vec(), expiry: expiry.min(TIME_MAX), number };
        let before = self.set_record(table, key.to_vec(), Some(record));
        self.undo.push(Undo::Record(table, key.to_vec(), before));
        Ok(())
    }

    fn record(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.records.get(&(table, key.to_vec())).map(|record| record.value.clone()))
    }

    fn remove_record(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        let before = self.set_record(table, key.to_vec(), None);
        let was_present = before.is_some();
        if was_present {
            self.number();
            self.undo.push(Undo::Record(table, key.to_vec(), before));
        }
        Ok(was_present)
    }

    fn records(&self, table: Table, prefix: &[u8]) -> Vec<(Vec<u8>, Time)> {
        self.records
            .range((table, prefix.to_vec())..)
            .take_while(|((of, key), _)| *of == table && key.starts_with(prefix))
            .map(|((_, key), record)| (key.clone(), record.expiry))
            .collect()
    }

    fn scan(
        &self,
        range: RangeInclusive<InboxAddress>,
        visitor: &mut dyn FnMut(&InboxAddress, &ItemMeta),
    ) {
        if range.is_empty() {
            return;
        }
        for (address, inbox) in self.inboxes.range(range) {
            let mut metas: Vec<&ItemMeta> = inbox.items.values().map(|item| &item.meta).collect();
            metas.sort_by_key(|meta| meta.arrival);
            for meta in metas {
                visitor(address, meta);
            }
        }
    }

    fn scan_tombstones(
        &self,
        range: RangeInclusive<InboxAddress>,
        visitor: &mut dyn FnMut(&InboxAddress, &MessageId, Time),
    ) {
        if range.is_empty() {
            return;
        }
        for (address, inbox) in self.inboxes.range(range) {
            for (id, tombstone) in &inbox.tombstones {
                visitor(address, id, tombstone.until);
            }
        }
    }

    fn inbox_usage(&self, address: &InboxAddress, namespace: Namespace) -> Usage {
        let inbox = self.inboxes.get(address);
        inbox.and_then(|inbox| inbox.usage.get(&namespace)).copied().unwrap_or_default()
    }

    fn purge(&mut self, now: Time) -> Purged {
        let mut purged = Purged::default();
        for _ in 0..PURGE_MAX {
            let Some((&(expiry, number), &(address, id))) = self.items_due.first_key_value() else {
                break;
            };
            if expiry > now {
                break;
            }
            let is_item = self.get(&address, &id).is_some_and(|item| item.meta.arrival == number);
            if is_item {
                let item = self.take_item(&address, &id).map(Box::new);
                self.undo.push(Undo::Item(address, id, item));
                purged.items += 1;
            } else {
                let before = self.set_tombstone(address, id, None);
                self.undo.push(Undo::Tombstone(address, id, before));
                purged.tombstones += 1;
            }
        }
        for _ in 0..PURGE_MAX {
            let Some((&(expiry, _), (table, key))) = self.records_due.first_key_value() else {
                break;
            };
            if expiry > now {
                break;
            }
            let (table, key) = (*table, key.clone());
            let before = self.set_record(table, key.clone(), None);
            self.undo.push(Undo::Record(table, key, before));
            purged.records += 1;
        }
        let due = |queue: Option<&(Time, u64)>| queue.is_some_and(|(expiry, _)| *expiry <= now);
        purged.more = due(self.items_due.keys().next()) || due(self.records_due.keys().next());
        purged
    }

    fn stats(&self) -> Stats {
        Stats { records: self.records.len() as u64, ..self.stats }
    }
}

impl Durable for MemoryStore {
    fn commit(&mut self, done: Done) {
        self.commit_now();
        done(Ok(()));
    }
}

#[cfg(test)]
mod tests;
