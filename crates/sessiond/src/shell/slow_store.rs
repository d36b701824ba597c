//! A store whose commits end when, and how, a test says.

use core::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

use session_core::{InboxAddress, MessageId, Namespace, Time};
use session_storage::{
    Done, Durable, ItemMeta, MemoryStore, NewItem, Page, PageLimit, Purged, Put, Stats, Store,
    StoreError, StoredItem, Table, Usage,
};

/// Keeps everything in memory, and commits until they are finished.
pub(super) struct SlowStore {
    memory: MemoryStore,
    commits: Commits,
}

/// The commits under way, in order.
#[derive(Clone, Default)]
pub(super) struct Commits(Arc<Mutex<Vec<Done>>>);

impl Commits {
    /// Ends the oldest commit, if there is one.
    pub(super) fn finish(&self, result: Result<(), StoreError>) -> bool {
        let mut commits = self.0.lock().unwrap();
        let oldest = if commits.is_empty() { None } else { Some(commits.remove(0)) };
        drop(commits);
        oldest.map(|done| done(result)).is_some()
    }
}

impl SlowStore {
    pub(super) fn new() -> Self {
        Self { memory: MemoryStore::new(1), commits: Commits::default() }
    }

    pub(super) fn commits(&self) -> Commits {
        self.commits.clone()
    }

    /// Ends the oldest commit.
    pub(super) fn finish(&mut self, result: Result<(), StoreError>) {
        assert!(self.commits.finish(result), "no commit is under way");
    }
}

impl Durable for SlowStore {
    fn commit(&mut self, done: Done) {
        self.commits.0.lock().unwrap().push(done);
    }
}

impl Store for SlowStore {
    fn incarnation(&self) -> u64 {
        self.memory.incarnation()
    }
    fn put_item(&mut self, address: &InboxAddress, item: NewItem<'_>) -> Result<Put, StoreError> {
        self.memory.put_item(address, item)
    }
    fn item(&self, a: &InboxAddress, id: &MessageId) -> Result<Option<StoredItem>, StoreError> {
        self.memory.item(a, id)
    }
    fn meta(&self, address: &InboxAddress, id: &MessageId) -> Option<ItemMeta> {
        self.memory.meta(address, id)
    }
    fn items_after(
        &self,
        address: &InboxAddress,
        namespace: Namespace,
        after: u64,
        limit: PageLimit,
        now: Time,
    ) -> Result<Page, StoreError> {
        self.memory.items_after(address, namespace, after, limit, now)
    }
    fn remove_item(
        &mut self,
        address: &InboxAddress,
        id: &MessageId,
        until: Time,
    ) -> Result<bool, StoreError> {
        self.memory.remove_item(address, id, until)
    }
    fn tombstone(&self, address: &InboxAddress, id: &MessageId) -> Option<Time> {
        self.memory.tombstone(address, id)
    }
    fn set_expiry(
        &mut self,
        address: &InboxAddress,
        id: &MessageId,
        expiry: Time,
    ) -> Result<bool, StoreError> {
        self.memory.set_expiry(address, id, expiry)
    }
    fn put_record(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
        expiry: Time,
    ) -> Result<(), StoreError> {
        self.memory.put_record(table, key, value, expiry)
    }
    fn record(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.memory.record(table, key)
    }
    fn remove_record(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        self.memory.remove_record(table, key)
    }
    fn records(&self, table: Table, prefix: &[u8]) -> Vec<(Vec<u8>, Time)> {
        self.memory.records(table, prefix)
    }
    fn scan(
        &self,
        range: RangeInclusive<InboxAddress>,
        visitor: &mut dyn FnMut(&InboxAddress, &ItemMeta),
    ) {
        self.memory.scan(range, visitor);
    }
    fn scan_tombstones(
        &self,
        range: RangeInclusive<InboxAddress>,
        visitor: &mut dyn FnMut(&InboxAddress, &MessageId, Time),
    ) {
        self.memory.scan_tombstones(range, visitor);
    }
    fn inbox_usage(&self, address: &InboxAddress, namespace: Namespace) -> Usage {
        self.memory.inbox_usage(address, namespace)
    }
    fn purge(&mut self, now: Time) -> Purged {
        self.memory.purge(now)
    }
    fn stats(&self) -> Stats {
        self.memory.stats()
    }
}
