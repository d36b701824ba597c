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
