//! Packets that wait: for the time that they ask for, or for a connection.

use std::collections::{BTreeMap, VecDeque};

use session_core::{NodeId, Time};
use session_network::From;
use session_network::onion::{Packet, Size};

use super::arrived::Errand;
use super::{DELAYED_BYTES_MAX, DELAYED_MAX, QUEUE_BYTES_MAX, QUEUE_MAX};

/// What is done after a delay.
#[derive(Debug)]
pub(super) enum Held {
    Send { to: From, circuit: u64, packet: Packet },
    Begin { id: u64, errand: Errand, size: Size },
}

impl Held {
    const fn bytes(&self) -> usize {
        match self {
            Self::Send { packet, .. } => packet.size().bytes(),
            Self::Begin { size, .. } => size.bytes(),
        }
    }
}

/// What waits for its time.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    /// By time, and among those of one time in the order in which they came.
    held: BTreeMap<(Time, u64), Held>,
    bytes: usize,
    count: u64,
}

impl Delayed {
    /// Returns whether there was room.
    pub(super) fn hold(&mut self, at: Time, held: Held) -> bool {
        let bytes = self.bytes + held.bytes();
        if self.held.len() >= DELAYED_MAX || bytes > DELAYED_BYTES_MAX {
            return false;
        }
        self.bytes = bytes;
        self.count += 1;
        self.held.insert((at, self.count), held);
        true
    }

    pub(super) fn take(&mut self, now: Time) -> Option<Held> {
        let entry = self.held.first_entry().filter(|entry| entry.key().0 <= now)?;
        let held = entry.remove();
        self.bytes -= held.bytes();
        Some(held)
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.held.first_key_value().map(|((at, _), _)| *at)
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }
}

#[derive(Debug)]
struct Waiting {
    until: Time,
    circuit: u64,
    packet: Packet,
}

/// What waits for connections. All wait equally long, so each queue is in the order of its ends.
#[derive(Debug, Default)]
pub(super) struct Queues {
    queues: BTreeMap<NodeId, VecDeque<Waiting>>,
    bytes: usize,
    len: usize,
}

impl Queues {
    /// Returns whether there was room.
    pub(super) fn wait(&mut self, until: Time, node: NodeId, circuit: u64, packet: Packet) -> bool {
        let bytes = self.bytes + packet.size().bytes();
        let queue = self.queues.get(&node).map_or(0, VecDeque::len);
        if queue >= QUEUE_MAX || bytes > QUEUE_BYTES_MAX {
            return false;
        }
        (self.bytes, self.len) = (bytes, self.len + 1);
        let waiting = Waiting { until, circuit, packet };
        self.queues.entry(node).or_default().push_back(waiting);
        true
    }

    /// Takes out what waits for a node.
    pub(super) fn take(&mut self, node: NodeId) -> Vec<(u64, Packet)> {
        let queue = self.queues.remove(&node).unwrap_or_default();
        self.len -= queue.len();
        self.bytes -= queue.iter().map(|waiting| waiting.packet.size().bytes()).sum::<usize>();
        queue.into_iter().map(|waiting| (waiting.circuit, waiting.packet)).collect()
    }

    /// Drops what has waited too long, and says what it was.
    pub(super) fn expire(&mut self, now: Time) -> Vec<(NodeId, u64)> {
        let mut expired = Vec::new();
        for (node, queue) in &mut self.queues {
            while let Some(waiting) = queue.pop_front_if(|waiting| waiting.until <= now) {
                self.len -= 1;
                self.bytes -= waiting.packet.size().bytes();
                expired.push((*node, waiting.circuit));
            }
        }
        self.queues.retain(|_, queue| !queue.is_empty());
        expired
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.queues.values().filter_map(|queue| Some(queue.front()?.until)).min()
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }
}
