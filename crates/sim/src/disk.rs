//! The store of a simulated node: a memory store that knows what is not committed yet.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use session_core::{InboxAddress, MessageId, Namespace, Time};
use session_storage::{
    ItemMeta, MemoryStore, NewItem, Page, PageLimit, Purged, Put, Stats, Store, StoreError,
    StoredItem, Table, Usage,
};

/// A disk that can be looked into, and that survives its node.
#[derive(Debug)]
pub struct Disk {
    store: MemoryStore,
    /// Whether something was written since the last commit.
    written: bool,
    /// Items put since the last commit.
    fresh: BTreeSet<(InboxAddress, MessageId)>,
}

impl Disk {
    /// Makes an empty disk.
    #[must_use]
    pub fn new(incarnation: u64) -> Self {
        Self { store: MemoryStore::new(incarnation), written: false, fresh: BTreeSet::new() }
    }

    /// Returns whether a commit would change anything.
    #[must_use]
    pub const fn is_written(&self) -> bool {
        self.written
    }

    /// Makes what was written durable.
    pub fn commit(&mut self) {
        self.store.commit_now();
        self.fresh.clear();
        self.written = false;
    }

    /// Loses what was not committed.
    pub fn crash(&mut self) {
        self.store.crash();
        self.fresh.clear();
        self.written = false;
    }

    /// Returns what is known of an item if a crash would not lose it.
    #[must_use]
    pub fn durable(&self, address: &InboxAddress, id: &MessageId) -> Option<ItemMeta> {
        self.store.meta(address, id).filter(|_| !self.fresh.contains(&(*address, *id)))
    }

    const fn write(&mut self) -> &mut MemoryStore {
        self.written = true;
        &mut self.store
    }
}

impl Store for Disk {
    fn incarnation(&self) -> u64 {
        self.store.incarnation()
    }

    fn latest_arrival(&self) -> u64 {
        self.store.latest_arrival()
    }

    fn put_item(&mut self, address: &InboxAddress, item: NewItem<'_>) -> Result<Put, StoreError> {
        let put = self.store.put_item(address, item)?;
        if matches!(put, Put::Stored { .. }) {
            self.written = true;
            self.fresh.insert((*address, item.id));
        }
        Ok(put)
    }

    fn item(
        &self,
        address: &InboxAddress,
        id: &MessageId,
    ) -> Result<Option<StoredItem>, StoreError> {
        self.store.item(address, id)
    }

    fn meta(&self, address: &InboxAddress, id: &MessageId) -> Option<ItemMeta> {
        self.store.meta(address, id)
    }

    fn items_after(
        &self,
        address: &InboxAddress,
        namespace: Namespace,
        after: u64,
        limit: PageLimit,
        now: Time,
    ) -> Result<Page, StoreError> {
        self.store.items_after(address, namespace, after, limit, now)
    }

    fn remove_item(
        &mut self,
        address: &InboxAddress,
        id: &MessageId,
        tombstone_until: Time,
    ) -> Result<bool, StoreError> {
        self.write().remove_item(address, id, tombstone_until)
    }

    fn tombstone(&self, address: &InboxAddress, id: &MessageId) -> Option<Time> {
        self.store.tombstone(address, id)
    }

    fn set_expiry(
        &mut self,
        address: &InboxAddress,
        id: &MessageId,
        expiry: Time,
    ) -> Result<bool, StoreError> {
        self.write().set_expiry(address, id, expiry)
    }

    fn put_record(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
        expiry: Time,
    ) -> Result<(), StoreError> {
        self.write().put_record(table, key, value, expiry)
    }

    fn record(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.record(table, key)
    }

    fn remove_record(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        self.write().remove_record(table, key)
    }

    fn records(&self, table: Table, prefix: &[u8]) -> Vec<(Vec<u8>, Time)> {
        self.store.records(table, prefix)
    }

    fn scan(
        &self,
        range: RangeInclusive<InboxAddress>,
        visitor: &mut dyn FnMut(&InboxAddress, &ItemMeta),
    ) {
        self.store.scan(range, visitor);
    }

    fn scan_tombstones(
        &self,
        range: RangeInclusive<InboxAddress>,
        visitor: &mut dyn FnMut(&InboxAddress, &MessageId, Time),
    ) {
        self.store.scan_tombstones(range, visitor);
    }

    fn inbox_usage(&self, address: &InboxAddress, namespace: Namespace) -> Usage {
        self.store.inbox_usage(address, namespace)
    }

    // Forgetting what has expired needs no commit: a crash may forget it again.
    fn purge(&mut self, now: Time) -> Purged {
        self.store.purge(now)
    }

    fn stats(&self) -> Stats {
        self.store.stats()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_durable_from_its_commit_on() {
        let (address, id) = (InboxAddress::from([1; 32]), MessageId::from([2; 32]));
        let item = NewItem {
            namespace: Namespace(0),
            id,
            timestamp: Time::ZERO,
            expiry: Time::from_millis(9),
            data: b"x",
        };
        let mut disk = Disk::new(7);
        disk.put_item(&address, item).unwrap();
        assert!(disk.is_written() && disk.meta(&address, &id).is_some());
        assert_eq!(disk.durable(&address, &id), None);
        disk.crash();
        assert!(!disk.is_written() && disk.meta(&address, &id).is_none());
        disk.put_item(&address, item).unwrap();
        disk.commit();
        disk.crash();
        assert!(disk.durable(&address, &id).is_some());
    }
}
