//! Where a node keeps inbox items and small records.
//!
//! What it is: one trait, [`Store`], that pure machines write into, and two engines behind it:
//! [`MemoryStore`] for the simulator and for nodes without a disk.
//!
//! | module | holds |
//! |---|---|
//! | [`store`] | the traits [`Store`] and [`Durable`], and their vocabulary |
//! | [`memory`] | [`MemoryStore`] |
//! | [`error`] | [`StoreError`] |

pub mod error;
pub mod memory;
pub mod store;

pub use error::StoreError;
pub use memory::MemoryStore;
pub use store::{
    Done, Durable, ItemMeta, NewItem, Page, PageLimit, Purged, Put, Stats, Store, StoredItem,
    Table, Usage,
};
