//! What happens when: events in the order of their time, those of one time in the order in which
//! they were planned.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use session_core::Time;

/// Events to come.
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Planned<E>>,
    planned: u64,
}

struct Planned<E> {
    at: Time,
    number: u64,
    event: E,
}

impl<E> Queue<E> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), planned: 0 }
    }

    pub(crate) fn plan(&mut self, at: Time, event: E) {
        self.planned += 1;
        self.heap.push(Planned { at, number: self.planned, event });
    }

    /// Takes the next event if it is not after `until`.
    pub(crate) fn next(&mut self, until: Time) -> Option<(Time, E)> {
        if self.heap.peek()?.at > until {
            return None;
        }
        self.heap.pop().map(|planned| (planned.at, planned.event))
    }
}

// The heap gives the greatest first: the earliest must be the greatest.
impl<E> Ord for Planned<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<E> PartialOrd for Planned<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Planned<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Planned<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_and_then_by_plan() {
        let mut queue = Queue::new();
        for (at, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (3, 'b'), (9, 'e')] {
            queue.plan(Time::from_millis(at), event);
        }
        let mut seen = String::new();
        while let Some((_, event)) = queue.next(Time::from_millis(8)) {
            seen.push(event);
        }
        assert_eq!(seen, "abcd");
        assert_eq!(queue.next(Time::MAX), Some((Time::from_millis(9), 'e')));
    }
}
