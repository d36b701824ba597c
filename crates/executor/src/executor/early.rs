//! Messages that come before their time: about sessions that the chain does not show here yet, that
//! wait for their turn, or that are a few steps behind. Nodes see blocks, and run programs, at
//! different times; what is lost here is said again after a timeout.

use std::collections::BTreeMap;

use session_core::{Encode, NodeId, SessionId, Span, Time};
use session_protocol::workload::Message;

/// How long a message waits.
const LIFE: Span = Span::from_secs(60);
/// Messages of one node for one session.
const OF_NODE_MAX: usize = 24;
/// Messages of one node for all sessions.
const NODE_MAX: usize = 1_024;
/// Messages of all.
const MESSAGES_MAX: usize = 8_192;
/// Bytes of all.
const BYTES_MAX: usize = 64 * 1024 * 1024;

struct Kept {
    at: Time,
    node: NodeId,
    size: usize,
    message: Message,
}

/// Messages that wait.
#[derive(Default)]
pub(super) struct Early {
    sessions: BTreeMap<SessionId, Vec<Kept>>,
    by_node: BTreeMap<NodeId, usize>,
    count: usize,
    bytes: usize,
    sweep: Option<Time>,
}

impl Early {
    /// Keeps a message, unless there are too many.
    pub(super) fn keep(&mut self, at: Time, session: SessionId, node: NodeId, message: Message) {
        let size = message.to_bytes().len();
        let of_node = self.by_node.get(&node).copied().unwrap_or(0);
        if of_node >= NODE_MAX || self.count >= MESSAGES_MAX || self.bytes + size > BYTES_MAX {
            return;
        }
        let kept = self.sessions.entry(session).or_default();
        if kept.iter().filter(|kept| kept.node == node).count() >= OF_NODE_MAX {
            return;
        }
        kept.push(Kept { at, node, size, message });
        self.by_node.insert(node, of_node + 1);
        self.count += 1;
        self.bytes += size;
        self.sweep = self.sweep.or(Some(at + LIFE));
    }

    /// Takes what waits for a session, in the order in which it came.
    pub(super) fn take(&mut self, session: &SessionId) -> Vec<(NodeId, Message)> {
        let kept = self.sessions.remove(session).unwrap_or_default();
        for one in &kept {
            self.count -= 1;
            self.bytes -= one.size;
            if let Some(of_node) = self.by_node.get_mut(&one.node) {
                *of_node -= 1;
                if *of_node == 0 {
                    self.by_node.remove(&one.node);
                }
            }
        }
        kept.into_iter().map(|kept| (kept.node, kept.message)).collect()
    }

    /// Returns when [`Early::tick`] wants to run.
    pub(super) const fn deadline(&self) -> Option<Time> {
        self.sweep
    }

    /// Forgets what waited too long.
    pub(super) fn tick(&mut self, now: Time) {
        if self.sweep.is_none_or(|due| due > now) {
            return;
        }
        let (mut count, mut bytes, mut oldest) = (0, 0, None::<Time>);
        self.by_node.clear();
        for kept in self.sessions.values_mut() {
            kept.retain(|kept| kept.at + LIFE > now);
            for one in kept.iter() {
                count += 1;
                bytes += one.size;
                oldest = Some(oldest.map_or(one.at, |oldest| oldest.min(one.at)));
                *self.by_node.entry(one.node).or_default() += 1;
            }
        }
        self.sessions.retain(|_, kept| !kept.is_empty());
        (self.count, self.bytes) = (count, bytes);
        self.sweep = oldest.map(|at| at + LIFE);
    }
}
