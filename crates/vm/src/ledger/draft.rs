use std::collections::BTreeMap;

use session_core::Encode;

use super::Changes;
use crate::query;
use crate::records::Table;
use crate::state::State;

/// Changes above a state that may still be dropped.
pub(super) struct Draft<'a> {
    state: &'a State,
    writes: Changes,
}

impl<'a> Draft<'a> {
    pub(super) const fn new(state: &'a State) -> Self {
        Self { state, writes: BTreeMap::new() }
    }

    /// Returns the state below, without the draft's own changes.
    pub(super) const fn base(&self) -> &'a State {
        self.state
    }

    pub(super) fn get<T: Table>(&self, key: &T::Key) -> Option<T::Value> {
        match self.writes.get(&T::key(key)) {
            Some(written) => written.as_deref().map(T::value),
            None => query::get::<T>(self.state, key),
        }
    }

    pub(super) fn has<T: Table>(&self, key: &T::Key) -> bool {
        let key = T::key(key);
        match self.writes.get(&key) {
            Some(written) => written.is_some(),
            None => self.state.get(&key).is_some(),
        }
    }

    /// Returns every entry of a table with the draft's own changes, in the order of keys.
    pub(super) fn entries<T: Table>(&self) -> Vec<(T::Key, T::Value)> {
        let mut entries: BTreeMap<&[u8], Option<&[u8]>> =
            self.state.range(&[T::TAG]).map(|(key, value)| (key, Some(value))).collect();
        let written = self.writes.range(vec![T::TAG]..vec![T::TAG + 1]);
        entries.extend(written.map(|(key, value)| (key.as_slice(), value.as_deref())));
        let entry = |(key, value): (&[u8], Option<&[u8]>)| {
            value.map(|value| (query::key_of::<T>(key), T::value(value)))
        };
        entries.into_iter().filter_map(entry).collect()
    }

    pub(super) fn put<T: Table>(&mut self, key: &T::Key, value: &T::Value) {
        self.writes.insert(T::key(key), Some(value.to_bytes()));
    }

    pub(super) fn remove<T: Table>(&mut self, key: &T::Key) {
        self.writes.insert(T::key(key), None);
    }

    pub(super) fn into_writes(self) -> Changes {
        self.writes
    }
}
