//! The trait that logic sees, and its vocabulary.

use core::ops::RangeInclusive;

use session_core::{InboxAddress, MessageId, Namespace, Time};

use crate::error::StoreError;

/// The longest item. Clients may send 76,800 bytes; the rest is room for what the daemon adds.
pub const ITEM_BYTES_MAX: usize = 128 * 1024;
/// The longest key of a record.
pub const KEY_BYTES_MAX: usize = 128;
/// The longest value of a record.
pub const VALUE_BYTES_MAX: usize = 64 * 1024;
/// Expired things that one call of [`Store::purge`] forgets at most, so that a tick stays short.
pub const PURGE_MAX: usize = 20_000;
/// The latest time a store keeps (in the year 10889); later ones are stored as this one.
pub const TIME_MAX: Time = Time::from_millis((1 << 48) - 1);

/// An item to be stored.
#[derive(Clone, Copy, Debug)]
pub struct NewItem<'a> {
    /// The compartment of the inbox.
    pub namespace: Namespace,
    /// The item's name, unique in its inbox.
    pub id: MessageId,
    /// When its sender says it was made.
    pub timestamp: Time,
    /// When it is no longer to be served.
    pub expiry: Time,
    /// The bytes.
    pub data: &'a [u8],
}

/// What is known of a stored item without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemMeta {
    /// The item's name.
    pub id: MessageId,
    /// The compartment of the inbox.
    pub namespace: Namespace,
    /// When its sender says it was made.
    pub timestamp: Time,
    /// When it is no longer to be served.
    pub expiry: Time,
    /// Its place in the order of arrival, of all items of this store.
    pub arrival: u64,
    /// The length of its data.
    pub size: u32,
}

/// An item read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredItem {
    /// What is known of it.
    pub meta: ItemMeta,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// What became of an item given to [`Store::put_item`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is new and was written.
    Stored {
        /// Its place in the order of arrival.
        arrival: u64,
    },
    /// The inbox holds it already; nothing was written.
    Duplicate {
        /// The place of the one that is held.
        arrival: u64,
        /// The expiry of the one that is held.
        expiry: Time,
    },
    /// It was deleted, and its tombstone is still known; nothing was written.
    Deleted,
}

/// How much one page may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageLimit {
    /// Items at most.
    pub items: usize,
    /// Bytes of data at most; a first item that is larger is returned nevertheless.
    pub bytes: usize,
}

/// A run of items in the order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The items.
    pub items: Vec<StoredItem>,
    /// Whether there is at least one more after the last of them.
    pub more: bool,
}

/// What a namespace of an inbox holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Items.
    pub items: u64,
    /// Bytes of their data.
    pub bytes: u64,
}

impl Usage {
    pub(crate) fn add(&mut self, size: u32) {
        self.items += 1;
        self.bytes += u64::from(size);
    }

    pub(crate) fn remove(&mut self, size: u32) {
        self.items -= 1;
        self.bytes -= u64::from(size);
    }
}

/// The tables of small records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Table {
    /// Operations that owners signed (deletions, expiries), kept to show to other members.
    Operation = 1,
    /// Storage receipts.
    Receipt = 2,
    /// What is known of peers.
    Peer = 3,
    /// Anything of which a node has one.
    Meta = 4,
    /// Conversations and channels of the coordination node, and who takes part.
    Conversation = 5,
    /// What changes in a conversation while it lives.
    ConversationHead = 6,
    /// Journals of workload sessions.
    Journal = 7,
    /// Pieces of programs and inputs of workload sessions.
    Blob = 8,
}

impl Table {
    /// Every table, in order.
    pub const ALL: [Self; 8] = [
        Self::Operation,
        Self::Receipt,
        Self::Peer,
        Self::Meta,
        Self::Conversation,
        Self::ConversationHead,
        Self::Journal,
        Self::Blob,
    ];

    pub(crate) fn from_tag(tag: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|table| *table as u8 == tag)
    }
}

/// What one call of [`Store::purge`] forgot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Items.
    pub items: u64,
    /// Tombstones.
    pub tombstones: u64,
    /// Records.
    pub records: u64,
    /// Whether expired things are left for another call.
    pub more: bool,
}

/// Figures of a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Items known, expired ones included until they are purged.
    pub items: u64,
    /// Bytes of their data.
    pub item_bytes: u64,
    /// Tombstones known.
    pub tombstones: u64,
    /// Records known.
    pub records: u64,
    /// Segment files; 0 in memory.
    pub segments: u64,
    /// Bytes of all segment files, preallocated tails included; 0 in memory.
    pub disk_bytes: u64,
    /// Stored bytes found corrupt since the store was opened, at opening or when read.
    pub corrupt: u64,
}

/// A transaction on inboxes and records.
///
/// Reads see what the same transaction wrote. What is durable when is the engine's business, see
/// [`Durable`]. Expired things stay known, but unserved, until [`Store::purge`] forgets them;
/// after a reopening they may be known again until the next purge.
pub trait Store {
    /// Returns the random number drawn when this store was created.
    ///
    /// Arrival numbers, and so cursors, mean something only inside one incarnation.
    fn incarnation(&self) -> u64;

    /// Returns an arrival number that no item had yet exceeded: reading from there misses nothing
    /// that arrives later.
    ///
    /// An engine that counts answers at once; otherwise all items are looked through.
    fn latest_arrival(&self) -> u64 {
        let mut latest = 0;
        let all = InboxAddress::from([0; 32])..=InboxAddress::from([0xff; 32]);
        self.scan(all, &mut |_, meta| latest = latest.max(meta.arrival));
        latest
    }

    /// Stores an item unless the inbox holds it or a tombstone of it.
    ///
    /// Arrival numbers grow strictly and are never used again within an incarnation.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], [`StoreError::Full`], or a failure of the disk.
    fn put_item(&mut self, address: &InboxAddress, item: NewItem<'_>) -> Result<Put, StoreError>;

    /// Reads one item, expired or not.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the bytes are not what was written, or a failure of the disk.
    fn item(
        &self,
        address: &InboxAddress,
        id: &MessageId,
    ) -> Result<Option<StoredItem>, StoreError>;

    /// Returns what is known of one item, without touching the disk.
    fn meta(&self, address: &InboxAddress, id: &MessageId) -> Option<ItemMeta>;

    /// Reads items of one namespace that arrived after `after` and expire after `now`.
    ///
    /// A corrupt item is left out: one bad sector must not make the rest of an inbox unreadable.
    /// It is reported by [`Store::item`] and counted by the engine.
    ///
    /// # Errors
    /// A failure of the disk.
    fn items_after(
        &self,
        address: &InboxAddress,
        namespace: Namespace,
        after: u64,
        limit: PageLimit,
        now: Time,
    ) -> Result<Page, StoreError>;

    /// Removes an item, and remembers until `tombstone_until` that it was removed, whether it was
    /// there or not. Returns whether it was there. An existing tombstone is only ever prolonged.
    ///
    /// # Errors
    /// [`StoreError::Full`] when even the reserve is used up, or a failure of the disk.
    fn remove_item(
        &mut self,
        address: &InboxAddress,
        id: &MessageId,
        tombstone_until: Time,
    ) -> Result<bool, StoreError>;

    /// Returns until when the removal of `id` is remembered.
    fn tombstone(&self, address: &InboxAddress, id: &MessageId) -> Option<Time>;

    /// Sets when an item expires, sooner or later than before. Returns whether it is there.
    ///
    /// # Errors
    /// [`StoreError::Full`] when even the reserve is used up, or a failure of the disk.
    fn set_expiry(
        &mut self,
        address: &InboxAddress,
        id: &MessageId,
        expiry: Time,
    ) -> Result<bool, StoreError>;

    /// Writes a record, over the one of the same key.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`], [`StoreError::Full`], or a failure of the disk.
    fn put_record(
        &mut self,
        table: Table,
        key: &[u8],
        value: &[u8],
        expiry: Time,
    ) -> Result<(), StoreError>;

    /// Reads the value of a record, expired or not.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the bytes are not what was written, or a failure of the disk.
    fn record(&self, table: Table, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Removes a record. Returns whether it was there.
    ///
    /// # Errors
    /// [`StoreError::Full`] when even the reserve is used up, or a failure of the disk.
    fn remove_record(&mut self, table: Table, key: &[u8]) -> Result<bool, StoreError>;

    /// Returns the keys that start with `prefix`, in order, and when they expire.
    fn records(&self, table: Table, prefix: &[u8]) -> Vec<(Vec<u8>, Time)>;

    /// Visits all items of a range of inboxes, by address and arrival, expired ones included.
    fn scan(
        &self,
        range: RangeInclusive<InboxAddress>,
        visitor: &mut dyn FnMut(&InboxAddress, &ItemMeta),
    );

    /// Visits all tombstones of a range of inboxes, by address and id.
    fn scan_tombstones(
        &self,
        range: RangeInclusive<InboxAddress>,
        visitor: &mut dyn FnMut(&InboxAddress, &MessageId, Time),
    );

    /// Returns what a namespace of an inbox holds, expired items included until they are purged.
    fn inbox_usage(&self, address: &InboxAddress, namespace: Namespace) -> Usage;

    /// Forgets what has expired at `now`, at most [`PURGE_MAX`] of items and tombstones together
    /// and as many records, in the order of expiry.
    ///
    /// On disk it also does a bounded piece of tidying; space is given back by the next commit.
    fn purge(&mut self, now: Time) -> Purged;

    /// Returns the figures of the store.
    fn stats(&self) -> Stats;
}

/// Called when a commit has become durable, or never will.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;

/// A store whose writes can be made durable.
pub trait Durable: Store {
    /// Makes everything written since the last commit durable, then calls `done`.
    ///
    /// The callbacks of successive commits run in their order, on any thread, each after its own
    /// writes and those of all commits before it are durable. They must not block: the next
    /// commits wait behind them. After a failure all later ones are told of it.
    ///
    /// A commit is not atomic: a crash before its callback may leave some of its writes and not
    /// others. Those it acknowledged are all there.
    fn commit(&mut self, done: Done);
}

pub(crate) fn within(field: &'static str, got: usize, limit: usize) -> Result<(), StoreError> {
    if got > limit { Err(StoreError::TooLarge { field, got, limit }) } else { Ok(()) }
}
