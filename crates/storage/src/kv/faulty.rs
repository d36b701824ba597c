//! A database that fails when a test says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Batch, Database, KvError};

/// What happens instead of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails, nothing is written, and the database goes on.
    Fail,
    /// It is reported as done, and nothing is written: a disk that lies.
    Lose,
    /// The power goes before it was written.
    StopBefore,
    /// The power goes when it was written, before anybody is told.
    StopAfter,
}

/// A database with faults. Clones are the same database, so that a test keeps one while a machine
/// has the other, and lives on when the machine is gone.
#[derive(Clone, Debug)]
pub struct FaultyDatabase<D>(Arc<Mutex<Inner<D>>>);

#[derive(Debug)]
struct Inner<D> {
    database: D,
    /// By the number of the write, from 1.
    faults: BTreeMap<u64, Fault>,
    writes: u64,
    stopped: bool,
}

impl<D: Database> FaultyDatabase<D> {
    /// Makes a database without faults.
    pub fn new(database: D) -> Self {
        let inner = Inner { database, faults: BTreeMap::new(), writes: 0, stopped: false };
        Self(Arc::new(Mutex::new(inner)))
    }

    /// Has the `nth` write from now meet a fault; the next one is the first.
    ///
    /// # Panics
    /// When `nth` is 0.
    pub fn plan(&self, nth: u64, fault: Fault) {
        assert!(nth > 0, "the next write is the first");
        let mut inner = self.inner();
        let write = inner.writes + nth;
        inner.faults.insert(write, fault);
    }

    /// Returns how many writes were tried.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.inner().writes
    }

    /// Returns whether the power is gone.
    #[must_use]
    pub fn stopped(&self) -> bool {
        self.inner().stopped
    }

    /// Gives the power back, with no faults planned.
    pub fn restart(&self) {
        let mut inner = self.inner();
        inner.stopped = false;
        inner.faults.clear();
    }

    fn inner(&self) -> MutexGuard<'_, Inner<D>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> Result<MutexGuard<'_, Inner<D>>, KvError> {
        let inner = self.inner();
        if inner.stopped { Err(stopped()) } else { Ok(inner) }
    }
}

fn stopped() -> KvError {
    KvError::Closed { why: "a planned fault stopped it".to_owned() }
}

impl<D: Database> Database for FaultyDatabase<D> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.running()?.database.get(key)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), KvError> {
        let mut inner = self.running()?;
        inner.writes += 1;
        let nth = inner.writes;
        match inner.faults.remove(&nth) {
            None => inner.database.write(batch),
            Some(Fault::Fail) => {
                let why = "a planned fault".to_owned();
                Err(KvError::Failed { doing: "writing", why })
            }
            Some(Fault::Lose) => Ok(()),
            Some(Fault::StopBefore) => {
                inner.stopped = true;
                Err(stopped())
            }
            Some(Fault::StopAfter) => {
                inner.database.write(batch)?;
                inner.stopped = true;
                Err(stopped())
            }
        }
    }

    fn visit(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        // The visitor may read too, so it runs when the lock is free again.
        let mut found = Vec::new();
        self.running()?.database.visit(prefix, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            true
        })?;
        for (key, value) in found {
            if !visitor(&key, &value) {
                break;
            }
        }
        Ok(())
    }
}
