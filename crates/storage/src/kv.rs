//! An ordered map of bytes whose writes come in atomic batches: where a chain keeps its blocks and
//! its state.
//!
//! *Provided:* a batch is there whole or not at all, also after a crash; a write that returned is
//! durable as far as the engine can make it so. *Not provided:* snapshots, or reads of a batch
//! that was not written.
//!
//! | engine | for |
//! |---|---|
//! | [`MemoryDatabase`] | tests, and chains without a disk |
//! | [`DiskDatabase`] | a chain that runs alone: one file |
//! | a host's, elsewhere | a chain that a host drives |

use std::collections::BTreeMap;

mod disk;
#[cfg(feature = "test-support")]
mod faulty;

pub use disk::{DiskDatabase, OpenError};
#[cfg(feature = "test-support")]
pub use faulty::{Fault, FaultyDatabase};

/// The longest key.
pub const KV_KEY_BYTES_MAX: usize = 512;

/// Why a database failed; it may be another process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KvError {
    /// The database was closed, or an earlier failure closed it.
    #[error("the database is closed: {why}")]
    Closed {
        /// Why it is closed.
        why: String,
    },
    /// A key is too long; nothing was written.
    #[error("a key is {got} bytes long, the limit is {limit}")]
    KeyTooLong {
        /// Its length.
        got: usize,
        /// The longest that is taken.
        limit: usize,
    },
    /// An operation failed.
    #[error("{doing} the database failed: {why}")]
    Failed {
        /// What was being done: "reading", "writing", "opening".
        doing: &'static str,
        /// The engine's words.
        why: String,
    },
}

/// Changes that happen together. A later change of a key replaces an earlier one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
}

impl Batch {
    /// Makes an empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a key.
    pub fn put(&mut self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        self.changes.insert(key.into(), Some(value.into()));
    }

    /// Removes a key, if it is there.
    pub fn delete(&mut self, key: impl Into<Vec<u8>>) {
        self.changes.insert(key.into(), None);
    }

    /// Returns the changes, ordered by key; `None` removes.
    pub fn changes(&self) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
        self.changes.iter().map(|(key, value)| (key.as_slice(), value.as_deref()))
    }

    /// Returns the number of changes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.len()
    }

    /// Returns whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    fn check(&self) -> Result<(), KvError> {
        let longest = self.changes.keys().map(Vec::len).max().unwrap_or_default();
        if longest > KV_KEY_BYTES_MAX {
            return Err(KvError::KeyTooLong { got: longest, limit: KV_KEY_BYTES_MAX });
        }
        Ok(())
    }
}

/// An ordered map of bytes with atomic batches.
pub trait Database: Send {
    /// Reads the value of a key.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError>;

    /// Makes a batch durable: after an error, or a crash, either all of it is there or nothing.
    ///
    /// # Errors
    /// When it was not written.
    fn write(&mut self, batch: &Batch) -> Result<(), KvError>;

    /// Visits the entries whose keys start with `prefix`, in the order of keys, until the visitor
    /// returns `false`.
    ///
    /// # Errors
    /// When the database cannot be read.
    fn visit(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError>;
}

impl<D: Database + ?Sized> Database for Box<D> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        (**self).get(key)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), KvError> {
        (**self).write(batch)
    }

    fn visit(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        (**self).visit(prefix, visitor)
    }
}

/// A database that ends with the process.
#[derive(Clone, Debug, Default)]
pub struct MemoryDatabase {
    entries: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Database for MemoryDatabase {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        Ok(self.entries.get(key).cloned())
    }

    fn write(&mut self, batch: &Batch) -> Result<(), KvError> {
        batch.check()?;
        for (key, value) in batch.changes() {
            match value {
                Some(value) => self.entries.insert(key.to_vec(), value.to_vec()),
                None => self.entries.remove(key),
            };
        }
        Ok(())
    }

    fn visit(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        for (key, value) in self.entries.range(prefix.to_vec()..) {
            if !key.starts_with(prefix) || !visitor(key, value) {
                break;
            }
        }
        Ok(())
    }
}
