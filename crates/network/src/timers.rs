//! What is due when: one entry per timer, found without a scan.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{NodeId, Time};

use crate::io::ConnId;

/// What a timer is about; each has at most one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// The deadline of a handshake, or the next heartbeat.
    Connection(ConnId),
    /// The deadline of a dial, or the end of a wait.
    Peer(NodeId),
}

#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Time, Timer)>,
    times: BTreeMap<Timer, Time>,
}

impl Timers {
    /// Sets the time of a timer, in place of the one it had.
    pub(crate) fn set(&mut self, timer: Timer, at: Time) {
        if let Some(before) = self.times.insert(timer, at) {
            self.queue.remove(&(before, timer));
        }
        self.queue.insert((at, timer));
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(before) = self.times.remove(&timer) {
            self.queue.remove(&(before, timer));
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.queue.first().map(|&(at, _)| at)
    }

    /// Takes the earliest timer that is due.
    pub(crate) fn pop(&mut self, now: Time) -> Option<Timer> {
        let &(at, timer) = self.queue.first()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        self.times.remove(&timer);
        Some(timer)
    }
}
