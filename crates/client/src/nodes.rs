//! What is known of each node, and which one is asked next.
//!
//! Among nodes that neither lied nor failed lately, the fastest is asked again; where none is
//! connected, a random one, so that clients spread.

use std::collections::BTreeMap;

use session_core::{Entropy, NodeId, Span, Time};

/// How long a node that failed is asked only if there is nobody else; doubled each time.
const REST_MIN: Span = Span::from_secs(2);

/// Most doublings of the rest: about two minutes.
const REST_DOUBLINGS_MAX: u32 = 6;

/// More lies than this make a node no worse.
const LIES_MAX: u32 = 16;

/// Which of equally good nodes is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Preference {
    /// The one with the shortest round trip.
    Fastest,
    /// Any: a second opinion should not come from where everybody asks.
    Any,
}

#[derive(Debug, Default)]
struct Node {
    up: bool,
    latency: Option<Span>,
    rest_until: Time,
    failures: u32,
    lies: u32,
    /// A moment by the node's clock and by ours, once it complained about ours.
    clock: Option<(Time, Time)>,
    knows_keys: bool,
    last_used: Time,
    /// When at the latest it shows that it is there: by answering what nobody waits for any more.
    owes: Option<Time>,
}

/// Every node that was ever asked; as many as the network has at most.
#[derive(Debug, Default)]
pub(crate) struct Nodes(BTreeMap<NodeId, Node>);

impl Nodes {
    pub(crate) fn is_up(&self, node: &NodeId) -> bool {
        self.0.get(node).is_some_and(|node| node.up)
    }

    pub(crate) fn came_up(&mut self, node: NodeId, now: Time) {
        let node = self.0.entry(node).or_default();
        (node.up, node.last_used, node.rest_until, node.owes) = (true, now, Time::ZERO, None);
    }

    pub(crate) fn went_down(&mut self, node: NodeId) {
        let node = self.0.entry(node).or_default();
        (node.up, node.owes) = (false, None);
    }

    pub(crate) fn used(&mut self, node: NodeId, now: Time) {
        self.0.entry(node).or_default().last_used = now;
    }

    pub(crate) fn answered(&mut self, node: NodeId, round_trip: Span) {
        let node = self.0.entry(node).or_default();
        // As for peers: 7/8 old, 1/8 new.
        let new = round_trip.as_millis();
        let average = node.latency.map_or(new, |old| (old.as_millis() * 7 + new) / 8);
        node.latency = Some(Span::from_millis(average));
    }

    /// Returns how long the node usually takes.
    pub(crate) fn latency(&self, node: &NodeId) -> Option<Span> {
        self.0.get(node)?.latency
    }

    /// The node has let us wait, and may still answer: until then, others are asked first.
    pub(crate) fn slow(&mut self, node: NodeId, waited: Span, until: Time) {
        // So long at least is its round trip.
        self.answered(node, waited);
        let node = self.0.entry(node).or_default();
        node.rest_until = node.rest_until.max(until);
    }

    /// Others are asked first until then.
    pub(crate) fn rest(&mut self, node: NodeId, until: Time) {
        let node = self.0.entry(node).or_default();
        node.rest_until = node.rest_until.max(until);
    }

    /// An answer of the node is not waited for any more. A sign of life is, until then.
    pub(crate) fn abandoned(&mut self, node: NodeId, until: Time) {
        let node = self.0.entry(node).or_default();
        node.owes = Some(node.owes.map_or(until, |earlier| earlier.min(until)));
    }

    /// The node is there.
    pub(crate) fn heard(&mut self, node: NodeId) {
        if let Some(node) = self.0.get_mut(&node) {
            node.owes = None;
        }
    }

    /// Returns the nodes that gave no sign of life in time.
    pub(crate) fn overdue(&self, now: Time) -> Vec<NodeId> {
        let overdue = |node: &Node| node.owes.is_some_and(|until| until <= now);
        self.0.iter().filter(|(_, node)| overdue(node)).map(|(id, _)| *id).collect()
    }

    /// Returns when the next sign of life is due.
    pub(crate) fn next_owed(&self) -> Option<Time> {
        self.0.values().filter_map(|node| node.owes).min()
    }

    /// The node did what was asked of it.
    pub(crate) fn served(&mut self, node: NodeId) {
        let node = self.0.entry(node).or_default();
        (node.failures, node.rest_until) = (0, Time::ZERO);
    }

    pub(crate) fn failed(&mut self, node: NodeId, now: Time) {
        let node = self.0.entry(node).or_default();
        let rest = REST_MIN.as_millis() << node.failures.min(REST_DOUBLINGS_MAX);
        node.rest_until = now + Span::from_millis(rest);
        node.failures = node.failures.saturating_add(1);
    }

    /// Tells whether nothing speaks against asking a node.
    pub(crate) fn is_well(&self, node: &NodeId, now: Time) -> bool {
        self.0.get(node).is_none_or(|node| node.lies == 0 && node.rest_until <= now)
    }

    pub(crate) fn lied(&mut self, node: NodeId) {
        let node = self.0.entry(node).or_default();
        node.lies = (node.lies + 1).min(LIES_MAX);
    }

    pub(crate) fn lies(&self, node: &NodeId) -> u32 {
        self.0.get(node).map_or(0, |node| node.lies)
    }

    pub(crate) fn set_clock(&mut self, node: NodeId, theirs: Time, ours: Time) {
        self.0.entry(node).or_default().clock = Some((theirs, ours));
    }

    /// Returns what the node's clock is likely to say at `now`.
    pub(crate) fn time_at(&self, node: &NodeId, now: Time) -> Time {
        match self.0.get(node).and_then(|node| node.clock) {
            None => now,
            Some((theirs, ours)) if theirs >= ours => now + theirs.since(ours),
            Some((theirs, ours)) => now - ours.since(theirs),
        }
    }

    pub(crate) fn knows_keys(&self, node: &NodeId) -> bool {
        self.0.get(node).is_some_and(|node| node.knows_keys)
    }

    pub(crate) fn set_knows_keys(&mut self, node: NodeId, knows: bool) {
        self.0.entry(node).or_default().knows_keys = knows;
    }

    /// Returns the connected nodes that were last used before `time`.
    pub(crate) fn idle_since(&self, time: Time) -> Vec<NodeId> {
        self.0.iter().filter(|(_, n)| n.up && n.last_used < time).map(|(id, _)| *id).collect()
    }

    /// Returns when the connection that has been idle longest was last used.
    pub(crate) fn idlest(&self) -> Option<Time> {
        self.0.values().filter(|node| node.up).map(|node| node.last_used).min()
    }

    /// Picks who is asked next, or `None` when there are no candidates.
    pub(crate) fn choose(
        &self,
        candidates: &[NodeId],
        preference: Preference,
        now: Time,
        rng: &mut dyn Entropy,
    ) -> Option<NodeId> {
        let blemish = |id: &NodeId| match self.0.get(id) {
            None => (0, false),
            Some(node) => (node.lies, node.rest_until > now),
        };
        let best = candidates.iter().map(blemish).min()?;
        let good: Vec<NodeId> =
            candidates.iter().copied().filter(|id| blemish(id) == best).collect();
        // A connection that was never used is still better than one that has to be made.
        let latency = |id: &NodeId| {
            let node = self.0.get(id).filter(|node| node.up)?;
            Some(node.latency.unwrap_or(Span::from_millis(u64::MAX)))
        };
        let fastest = good.iter().filter_map(|id| Some((latency(id)?, *id))).min();
        match (preference, fastest) {
            (Preference::Fastest, Some((_, id))) => Some(id),
            _ => good.get(usize::try_from(rng.below(good.len() as u64)).ok()?).copied(),
        }
    }
}
