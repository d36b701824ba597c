//! The order of expiry, cheap for the far future and exact for the near one.

use std::collections::{BTreeMap, BTreeSet};

/// Buckets of 2^20 ms, about 17 minutes: few enough buckets, and a short exact queue.
const BUCKET_BITS: u32 = 20;

/// Slots by when they expire.
///
/// Entries are never taken out, only found stale later: a popped entry is checked by the caller
/// against what it knows of the slot, and [`Wheel::stale`] says when a rebuild pays.
#[derive(Debug, Default)]
pub(crate) struct Wheel {
    /// Far: slots per bucket, unordered; 4 bytes each.
    far: BTreeMap<u64, Vec<u32>>,
    /// Near: everything in buckets below `frontier`, by expiry and number.
    near: BTreeSet<(u64, u64, u32)>,
    frontier: u64,
    stale: usize,
}

impl Wheel {
    pub(crate) fn insert(&mut self, expiry: u64, number: u64, slot: u32) {
        let bucket = expiry >> BUCKET_BITS;
        if bucket < self.frontier {
            self.near.insert((expiry, number, slot));
        } else {
            self.far.entry(bucket).or_default().push(slot);
        }
    }

    /// Notes that an entry no longer says the truth.
    pub(crate) fn forget(&mut self, expiry: u64, number: u64, slot: u32) {
        if expiry >> BUCKET_BITS < self.frontier {
            self.near.remove(&(expiry, number, slot));
        } else {
            self.stale += 1;
        }
    }

    /// Returns how many entries are known to be stale.
    pub(crate) const fn stale(&self) -> usize {
        self.stale
    }

    /// Orders exactly everything that may be due at `now`. `current` returns what a slot's expiry
    /// and number are now, if it is in use.
    pub(crate) fn advance(&mut self, now: u64, current: impl Fn(u32) -> Option<(u64, u64)>) {
        while let Some(entry) = self.far.first_entry() {
            let bucket = *entry.key();
            if bucket > now >> BUCKET_BITS {
                break;
            }
            for slot in entry.remove() {
                match current(slot) {
                    Some((expiry, number)) if expiry >> BUCKET_BITS == bucket => {
                        // A slot that was freed and used again may be listed twice.
                        if !self.near.insert((expiry, number, slot)) {
                            self.stale = self.stale.saturating_sub(1);
                        }
                    }
                    _ => self.stale = self.stale.saturating_sub(1),
                }
            }
        }
        self.frontier = self.frontier.max((now >> BUCKET_BITS) + 1);
    }

    /// Returns the expiry, number and slot that expire first, of those made exact so far.
    pub(crate) fn first(&self) -> Option<(u64, u64, u32)> {
        self.near.first().copied()
    }

    /// Starts anew from everything that is in use.
    pub(crate) fn rebuild(&mut self, entries: impl Iterator<Item = (u64, u64, u32)>) {
        let frontier = self.frontier;
        *self = Self { frontier, ..Self::default() };
        for (expiry, number, slot) in entries {
            self.insert(expiry, number, slot);
        }
    }
}
