//! One secret for each value, in places that are overwritten where they are.
//!
//! SQLite overwrites what it deletes, but not the copies that stay behind in a page when the entries
//! of a full one are moved to others. So a value is sealed under a secret of its own, and that
//! secret lies in a row of fixed size that is never moved: overwriting it there is the end of every
//! copy of the value.

use std::collections::BTreeMap;

use rusqlite::Connection;
use zeroize::{Zeroize as _, Zeroizing};

/// Secrets in one row, which fills a page.
const PER_ROW: usize = 124;

/// Bytes of a secret. All zero: the place is free.
const SECRET: usize = 32;

/// The secret of a value.
pub(super) type Secret = [u8; SECRET];

const FREE: Secret = [0; SECRET];

/// All secrets, as the transaction sees them.
#[derive(Default)]
pub(super) struct Slots {
    secrets: Zeroizing<Vec<Secret>>,
    free: Vec<u32>,
    /// What was there at the beginning of the transaction, where it is changed.
    before: BTreeMap<u32, Secret>,
    /// Rows in the file at the beginning of the transaction.
    rows: usize,
}

impl Slots {
    /// Reads all of them.
    pub(super) fn load(db: &Connection) -> rusqlite::Result<Self> {
        let mut slots = Self::default();
        let mut statement = db.prepare("SELECT bytes FROM slots ORDER BY id")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            let (secrets, _) = row.get_ref(0)?.as_blob()?.as_chunks::<SECRET>();
            slots.secrets.extend(secrets.iter().take(PER_ROW));
            slots.rows += 1;
            // A row that was cut must not shift those behind it.
            slots.secrets.resize(slots.rows * PER_ROW, FREE);
        }
        slots.find_free();
        Ok(slots)
    }

    fn find_free(&mut self) {
        let all = (0..).zip(self.secrets.iter());
        self.free = all.filter(|(_, secret)| **secret == FREE).map(|(slot, _)| slot).collect();
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Secret> {
        self.secrets.get(slot as usize).filter(|secret| **secret != FREE)
    }

    /// Finds a place for a secret.
    pub(super) fn add(&mut self, secret: Secret) -> u32 {
        if self.free.is_empty() {
            let all = self.secrets.len();
            self.secrets.resize(all + PER_ROW, FREE);
            self.free = (0..).take(all + PER_ROW).skip(all).collect();
        }
        let slot = self.free.pop().expect("a new row has free places");
        self.set(slot, secret);
        slot
    }

    /// Overwrites a secret.
    pub(super) fn set(&mut self, slot: u32, secret: Secret) {
        if let Some(place) = self.secrets.get_mut(slot as usize) {
            self.before.entry(slot).or_insert(*place);
            *place = secret;
        }
    }

    /// Overwrites a secret for good, and frees its place.
    pub(super) fn remove(&mut self, slot: u32) {
        self.set(slot, FREE);
        self.free.push(slot);
    }

    /// Writes what has changed into the transaction of the database.
    pub(super) fn write(&mut self, db: &Connection) -> rusqlite::Result<()> {
        let rows = self.secrets.len() / PER_ROW;
        for row in self.rows..rows {
            let empty = [0u8; PER_ROW * SECRET];
            db.execute("INSERT INTO slots VALUES (?1, ?2)", (id(row), &empty[..]))?;
        }
        let mut changed = self.before.keys().peekable();
        while let Some(first) = changed.peek() {
            let row = **first as usize / PER_ROW;
            let mut blob = db.blob_open("main", "slots", "bytes", id(row), false)?;
            while let Some(slot) = changed.next_if(|slot| **slot as usize / PER_ROW == row) {
                let slot = *slot as usize;
                blob.write_at(&self.secrets[slot], slot % PER_ROW * SECRET)?;
            }
            blob.close()?;
        }
        Ok(())
    }

    /// The transaction is durable.
    pub(super) fn committed(&mut self) {
        self.rows = self.secrets.len() / PER_ROW;
        self.forget_before();
    }

    /// The transaction did not happen.
    pub(super) fn rolled_back(&mut self) {
        for (slot, secret) in &self.before {
            self.secrets[*slot as usize] = *secret;
        }
        self.secrets.truncate(self.rows * PER_ROW);
        self.forget_before();
        self.find_free();
    }

    fn forget_before(&mut self) {
        self.before.values_mut().for_each(|secret| secret.zeroize());
        self.before.clear();
    }
}

fn id(row: usize) -> i64 {
    i64::try_from(row).unwrap_or(i64::MAX)
}
