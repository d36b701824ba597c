//! Where a node keeps inbox items and small records.
//!
//! What it is: one trait, [`Store`], that pure machines write into, and two engines behind it:
//! [`MemoryStore`] for the simulator and for nodes without a disk, [`DiskStore`] for all others.
//! [`Durable`] is what a shell needs of an engine: to make what was written survive.
//!
//! What it does not do: it knows no access rules, no limits of inboxes, no clock. It performs no
//! replication; it only remembers enough for others to do so.
//!
//! ```
//! use session_core::{InboxAddress, MessageId, Namespace, Time};
//! use session_storage::{MemoryStore, NewItem, Put, Store};
//!
//! let mut store = MemoryStore::new(7);
//! let (inbox, id) = (InboxAddress::from([1; 32]), MessageId::from([2; 32]));
//! let item = NewItem {
//!     namespace: Namespace(0),
//!     id,
//!     timestamp: Time::from_millis(1_000),
//!     expiry: Time::from_millis(61_000),
//!     data: b"sealed bytes",
//! };
//! assert!(matches!(store.put_item(&inbox, item)?, Put::Stored { .. }));
//! assert!(matches!(store.put_item(&inbox, item)?, Put::Duplicate { .. }));
//! assert!(store.remove_item(&inbox, &id, Time::from_millis(61_000))?);
//! assert_eq!(store.put_item(&inbox, item)?, Put::Deleted);
//! # Ok::<(), session_storage::StoreError>(())
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | the traits [`Store`] and [`Durable`], and their vocabulary |
//! | [`memory`] | [`MemoryStore`] |
//! | [`disk`] | [`DiskStore`], the sharded segment log |
//! | [`kv`] | [`Database`](kv::Database): atomic batches over an ordered map, for a chain |
//! | [`error`] | [`StoreError`] |

pub mod disk;
pub mod error;
pub mod kv;
pub mod memory;
pub mod store;

pub use disk::{DiskStore, OpenError, OpenReport, Options};
pub use error::StoreError;
pub use memory::MemoryStore;
pub use store::{
    Done, Durable, ItemMeta, NewItem, Page, PageLimit, Purged, Put, Stats, Store, StoredItem,
    Table, Usage,
};
