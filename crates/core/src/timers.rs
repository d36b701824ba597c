//! What is due when: one entry per timer, found without a scan.

use std::collections::{BTreeMap, BTreeSet};

use crate::time::Time;

/// Timers by name, each with at most one time.
#[derive(Clone, Debug)]
pub struct Timers<K> {
    queue: BTreeSet<(Time, K)>,
    times: BTreeMap<K, Time>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { queue: BTreeSet::new(), times: BTreeMap::new() }
    }
}

impl<K: Copy + Ord> Timers<K> {
    /// Sets the time of a timer, in place of the one it had.
    pub fn set(&mut self, timer: K, at: Time) {
        if let Some(before) = self.times.insert(timer, at) {
            self.queue.remove(&(before, timer));
        }
        self.queue.insert((at, timer));
    }

    /// Forgets a timer.
    pub fn cancel(&mut self, timer: K) {
        if let Some(before) = self.times.remove(&timer) {
            self.queue.remove(&(before, timer));
        }
    }

    /// Returns the time of a timer, if it has one.
    #[must_use]
    pub fn time(&self, timer: &K) -> Option<Time> {
        self.times.get(timer).copied()
    }

    /// Returns how many timers have a time.
    #[must_use]
    pub fn len(&self) -> usize {
        self.times.len()
    }

    /// Returns whether no timer has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// Returns the earliest time.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.queue.first().map(|&(at, _)| at)
    }

    /// Takes the earliest timer that is due.
    pub fn pop(&mut self, now: Time) -> Option<K> {
        let &(at, timer) = self.queue.first()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        self.times.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests;
