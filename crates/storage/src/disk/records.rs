//! What a shard keeps in memory of its records: the keys, and where the values lie.

use std::collections::{BTreeMap, BTreeSet};

use session_core::Time;

use super::format::Body;
use crate::store::Table;

/// A table and a key in it.
pub(crate) type Key = (Table, Vec<u8>);

/// Where a value lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) number: u64,
    pub(crate) expiry: Time,
    pub(crate) segment: u32,
    pub(crate) body: Body,
}

/// The records of one shard.
#[derive(Debug, Default)]
pub(crate) struct Records {
    values: BTreeMap<Key, Value>,
    due: BTreeSet<(Time, u64, Key)>,
}

impl Records {
    pub(crate) fn get(&self, key: &Key) -> Option<&Value> {
        self.values.get(key)
    }

    /// Writes a value over the one of the same key, which is returned.
    pub(crate) fn insert(&mut self, key: Key, value: Value) -> Option<Value> {
        let before = self.remove(&key);
        self.due.insert((value.expiry, value.number, key.clone()));
        self.values.insert(key, value);
        before
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Value> {
        let value = self.values.remove(key)?;
        self.due.remove(&(value.expiry, value.number, key.clone()));
        Some(value)
    }

    /// Returns the keys that start with `prefix`, in order.
    pub(crate) fn with_prefix<'a>(
        &'a self,
        table: Table,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = (&'a [u8], Time)> {
        self.values
            .range((table, prefix.to_vec())..)
            .take_while(move |((of, key), _)| *of == table && key.starts_with(prefix))
            .map(|((_, key), value)| (key.as_slice(), value.expiry))
    }

    /// Returns what expires first.
    pub(crate) fn first_due(&self) -> Option<&(Time, u64, Key)> {
        self.due.first()
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}
