//! Connections to other nodes: those that packets go over, and those that keys spread over.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{NodeId, Span, Time};
use session_network::onion::Size;
use session_network::{Bucket, Rate};

use super::{LINK_IDLE_MAX, LINKS_MAX};

/// How often it is looked which connections are unused.
const SWEEP_EVERY: Span = Span::from_secs(60);

/// What one node is sent, in small packets: what it takes from us, and no more at a time than fits
/// into the queue of a connection.
const OUTGOING: Rate = Rate { per_second: 2_000, burst: 400 };

/// Connections to open and to give up; the flag says whether something waits.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) connect: Vec<(NodeId, bool)>,
    pub(super) forget: Vec<NodeId>,
}

#[derive(Debug)]
struct Link {
    used: Time,
    outgoing: Bucket,
}

/// Whom connections are wanted to.
#[derive(Debug, Default)]
pub(super) struct Links {
    /// Neighbours on the ring of all nodes, over which keys spread.
    ring: BTreeSet<NodeId>,
    /// Nodes that packets were sent to not long ago.
    used: BTreeMap<NodeId, Link>,
    sweep_at: Option<Time>,
}

impl Links {
    /// Picks those 1, 2, 4, … places behind this node in the order of ids: everybody is reached
    /// over few links, with no swarm in common.
    pub(super) fn ring(&mut self, me: NodeId, nodes: &[NodeId]) -> Change {
        let mut ring = BTreeSet::new();
        if let Ok(at) = nodes.binary_search(&me) {
            let steps = std::iter::successors(Some(1_usize), |step| step.checked_mul(2));
            let steps = steps.take_while(|step| *step < nodes.len());
            ring.extend(steps.map(|step| nodes[(at + step) % nodes.len()]));
        }
        let before = std::mem::replace(&mut self.ring, ring);
        let connect = self.ring.difference(&before).map(|node| (*node, false)).collect();
        let gone = before.difference(&self.ring).filter(|node| !self.used.contains_key(node));
        Change { connect, forget: gone.copied().collect() }
    }

    /// Notes that a packet goes to a node.
    pub(super) fn used(&mut self, now: Time, node: NodeId, up: &BTreeSet<NodeId>) -> Change {
        let mut change = Change::default();
        if !up.contains(&node) {
            change.connect.push((node, true));
        }
        if !self.used.contains_key(&node) && self.used.len() >= LINKS_MAX {
            let oldest = self.used.iter().min_by_key(|(_, link)| link.used).map(|(node, _)| *node);
            change.forget.extend(oldest.and_then(|oldest| self.give_up(oldest)));
        }
        let link = self.used.entry(node);
        let new = || Link { used: now, outgoing: Bucket::full(OUTGOING, now) };
        link.or_insert_with(new).used = now;
        self.sweep_at.get_or_insert(now + SWEEP_EVERY);
        change
    }

    /// Pays for a packet to a node.
    pub(super) fn may_send(&mut self, now: Time, node: NodeId, size: Size) -> bool {
        let weight = (size.bytes() / Size::Small.bytes()) as u64;
        let link = self.used.get_mut(&node);
        link.is_none_or(|link| link.outgoing.take(OUTGOING, now, weight).is_ok())
    }

    fn give_up(&mut self, node: NodeId) -> Option<NodeId> {
        self.used.remove(&node);
        (!self.ring.contains(&node)).then_some(node)
    }

    /// Gives up what was not used for long.
    pub(super) fn sweep(&mut self, now: Time) -> Change {
        let mut change = Change::default();
        if self.sweep_at.is_none_or(|at| at > now) {
            return change;
        }
        let idle = self.used.iter().filter(|(_, link)| now >= link.used + LINK_IDLE_MAX);
        let idle: Vec<NodeId> = idle.map(|(node, _)| *node).collect();
        change.forget = idle.into_iter().filter_map(|node| self.give_up(node)).collect();
        self.sweep_at = (!self.used.is_empty()).then_some(now + SWEEP_EVERY);
        change
    }

    pub(super) const fn deadline(&self) -> Option<Time> {
        self.sweep_at
    }
}
