//! What happens when: a wheel of milliseconds, for there are more events than a heap is good for.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::draw::Micros;

/// Microseconds of a slot.
const SLOT: Micros = 1_000;

/// Slots of the wheel: two minutes, more than most events are ahead.
const SLOTS: u64 = 1 << 17;

/// An event, its time, and a number that decides between events of one time.
type Entry<E> = Reverse<(Micros, u64, E)>;

/// Events in the order of their times.
pub(super) struct Agenda<E> {
    number: u64,
    /// The slot that is being played.
    slot: u64,
    near: BinaryHeap<Entry<E>>,
    wheel: Vec<Vec<Entry<E>>>,
    /// What is more than a turn of the wheel ahead.
    late: BinaryHeap<Entry<E>>,
}

impl<E: Ord> Agenda<E> {
    pub(super) fn new() -> Self {
        let wheel = (0..SLOTS).map(|_| Vec::new()).collect();
        Self { number: 0, slot: 0, near: BinaryHeap::new(), wheel, late: BinaryHeap::new() }
    }

    pub(super) fn add(&mut self, due: Micros, event: E) {
        self.number += 1;
        let (slot, entry) = (due / SLOT, Reverse((due, self.number, event)));
        if slot <= self.slot {
            self.near.push(entry);
        } else if slot < self.slot + SLOTS {
            self.wheel[(slot % SLOTS) as usize].push(entry);
        } else {
            self.late.push(entry);
        }
    }

    /// Returns what is due next, if that is before `end`.
    pub(super) fn next(&mut self, end: Micros) -> Option<(Micros, E)> {
        loop {
            if let Some(Reverse((due, _, _))) = self.near.peek() {
                if *due >= end {
                    return None;
                }
                return self.near.pop().map(|Reverse((due, _, event))| (due, event));
            }
            if (self.slot + 1) * SLOT >= end {
                return None;
            }
            self.slot += 1;
            self.near.extend(self.wheel[(self.slot % SLOTS) as usize].drain(..));
            while let Some(Reverse((due, _, _))) = self.late.peek()
                && due / SLOT <= self.slot
            {
                self.near.extend(self.late.pop());
            }
        }
    }
}
