//! What happens when: events in the order of their time, those of one time in the order in which
//! they were planned.
//!
//! Times are whole milliseconds and most events are near, so the near future is a ring with one
//! slot for each millisecond: planning and taking are a few instructions, where a heap of tens of
//! thousands of events costs many cache misses. What is further away waits in a map.

use std::collections::{BTreeMap, VecDeque};

use session_core::{Span, Time};

/// Milliseconds of the near future: longer than most timers.
const SLOTS: usize = 1 << 15;

const NEAR: Span = Span::from_millis(SLOTS as u64);

/// Events to come.
pub(crate) struct Queue<E> {
    /// No event is before it; slots hold the events from here to the horizon, which is
    /// [`NEAR`] later.
    now: Time,
    slots: Vec<VecDeque<E>>,
    near: usize,
    far: BTreeMap<Time, VecDeque<E>>,
}

impl<E> Queue<E> {
    pub(crate) fn new(now: Time) -> Self {
        let slots = (0..SLOTS).map(|_| VecDeque::new()).collect();
        Self { now, slots, near: 0, far: BTreeMap::new() }
    }

    /// Plans an event; what is planned for the past happens next.
    pub(crate) fn plan(&mut self, at: Time, event: E) {
        let at = at.max(self.now);
        if at < self.now + NEAR {
            self.near += 1;
            self.slots[slot(at)].push_back(event);
        } else {
            self.far.entry(at).or_default().push_back(event);
        }
    }

    /// Takes the next event if it is not after `until`.
    pub(crate) fn next(&mut self, until: Time) -> Option<(Time, E)> {
        loop {
            if let Some(event) = self.slots[slot(self.now)].pop_front() {
                self.near -= 1;
                return Some((self.now, event));
            }
            let next = match self.near {
                0 => self.far.first_key_value().map(|(at, _)| *at)?,
                _ => self.now + Span::from_millis(1),
            };
            if next > until {
                return None;
            }
            self.advance(next);
        }
    }

    /// Moves on; all slots before `to` are empty.
    fn advance(&mut self, to: Time) {
        self.now = to;
        // They were planned before anything that can now be planned for the same time.
        while let Some(entry) = self.far.first_entry()
            && *entry.key() < to + NEAR
        {
            let (at, events) = entry.remove_entry();
            self.near += events.len();
            self.slots[slot(at)].extend(events);
        }
    }
}

const fn slot(at: Time) -> usize {
    at.as_millis() as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use session_core::{Entropy, SeededEntropy};

    use super::*;

    #[test]
    fn events_come_by_time_and_then_by_plan() {
        let mut queue = Queue::new(Time::from_millis(2));
        for (at, event) in [(5, 'c'), (3, 'a'), (5, 'd'), (1, '!'), (3, 'b'), (9, 'e')] {
            queue.plan(Time::from_millis(at), event);
        }
        let mut seen = String::new();
        while let Some((_, event)) = queue.next(Time::from_millis(8)) {
            seen.push(event);
        }
        assert_eq!(seen, "!abcd");
        assert_eq!(queue.next(Time::MAX), Some((Time::from_millis(9), 'e')));
        assert_eq!(queue.next(Time::MAX), None);
    }

    #[test]
    fn near_and_far_keep_the_order() {
        let (mut rng, mut queue) = (SeededEntropy::new(1), Queue::new(Time::ZERO));
        let (mut planned, mut taken, mut now) = (Vec::new(), Vec::new(), Time::ZERO);
        for number in 0..20_000_u64 {
            let reach = if number % 3 == 0 { 4 * SLOTS as u64 } else { 50 };
            let at = now + Span::from_millis(rng.below(reach));
            planned.push((at, number));
            queue.plan(at, number);
            if number % 2 == 0
                && let Some((at, number)) = queue.next(Time::MAX)
            {
                now = at;
                taken.push((at, number));
            }
        }
        while let Some(event) = queue.next(Time::MAX) {
            taken.push(event);
        }
        planned.sort_unstable();
        assert_eq!(taken, planned);
    }
}
