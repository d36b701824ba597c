//! How hop keys spread: what is new is sent on once; nodes that meet, and a pair of them now and
//! then, compare what they have.

use std::collections::BTreeMap;

use session_core::{List, NodeId, Span, Time};
use session_network::onion::SignedHopKey;
use session_protocol::onion::{HOP_KEYS_MAX, HopKeys};

use super::{Cx, Effect, Relay};

/// How often a node compares with one of its peers.
const COMPARE_EVERY: Span = Span::from_secs(60);

/// How long a bucket is not asked for again.
const PATIENCE: Span = Span::from_secs(10);

/// How often one node is given whole buckets.
const GIVE_EVERY: Span = Span::from_secs(5);

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct Gossip {
    /// Buckets that were asked for, and until when the answer is waited for.
    asked: BTreeMap<u8, Time>,
    /// When which peer was given buckets last.
    given: BTreeMap<NodeId, Time>,
    compare_at: Option<Time>,
}

impl Gossip {
    pub(super) const fn deadline(&self) -> Option<Time> {
        self.compare_at
    }
}

impl Relay {
    /// Draws what keys are due, and tells everybody.
    pub(super) fn draw(&mut self, cx: &mut Cx<'_>) {
        let network = self.membership.network();
        let drawn = self.keyring.draw(cx.rng, network, cx.now);
        self.directory.forget(cx.now);
        if drawn {
            cx.effects.push(Effect::Opener(self.keyring.opener()));
            self.publish(cx);
        }
    }

    /// Tells everybody of keys that nobody was told of; not while the node is not registered.
    pub(super) fn publish(&mut self, cx: &mut Cx<'_>) {
        if self.membership.node(&self.node).is_none() {
            return;
        }
        let epoch = self.keyring.epoch(cx.now);
        let mut new = self.keyring.published().to_vec();
        new.retain(|key| self.directory.insert(key, epoch, cx.now));
        if !new.is_empty() {
            self.spread(cx, new, None);
        }
    }

    /// Sends keys to all peers but the one that they came from.
    fn spread(&self, cx: &mut Cx<'_>, keys: Vec<SignedHopKey>, from: Option<NodeId>) {
        let Ok(keys) = List::new(keys) else { return };
        for node in self.up.iter().filter(|node| Some(**node) != from) {
            let message = HopKeys::Keys { keys: keys.clone() };
            cx.effects.push(Effect::Keys { node: *node, message });
        }
    }

    /// A node is there: what does each of us lack?
    pub(super) fn greet(&self, cx: &mut Cx<'_>, node: NodeId) {
        let sums = List::new(self.directory.sums(cx.now)).expect("one for each bucket");
        cx.effects.push(Effect::Keys { node, message: HopKeys::Have { sums } });
    }

    pub(super) fn compare_at_times(&mut self, cx: &mut Cx<'_>) {
        if self.gossip.compare_at.is_some_and(|at| at > cx.now) {
            return;
        }
        self.gossip.compare_at = Some(cx.now + COMPARE_EVERY);
        self.gossip.given.retain(|node, _| self.up.contains(node));
        if self.up.is_empty() {
            return;
        }
        let one = cx.rng.below(self.up.len() as u64) as usize;
        if let Some(node) = self.up.iter().nth(one).copied() {
            self.greet(cx, node);
        }
    }

    pub(super) fn told(&mut self, cx: &mut Cx<'_>, node: NodeId, message: HopKeys) {
        match message {
            HopKeys::Keys { keys } => {
                let epoch = self.keyring.epoch(cx.now);
                let mut new = keys.into_vec();
                // Nobody else knows better which keys this node has.
                new.retain(|key| {
                    key.record.node != self.node && self.directory.insert(key, epoch, cx.now)
                });
                if !new.is_empty() {
                    self.spread(cx, new, Some(node));
                }
            }
            HopKeys::Have { sums } => self.compare(cx, node, &sums),
            HopKeys::Want { buckets } => self.give(cx, node, &buckets),
        }
    }

    fn compare(&mut self, cx: &mut Cx<'_>, node: NodeId, theirs: &[u64]) {
        self.gossip.asked.retain(|_, until| *until > cx.now);
        let ours = self.directory.sums(cx.now);
        let pairs = (0..=u8::MAX).zip(ours.iter().zip(theirs));
        let differ = pairs.filter(|(_, (ours, theirs))| ours != theirs && **theirs != 0);
        let buckets: Vec<u8> = differ
            .map(|(bucket, _)| bucket)
            .filter(|bucket| !self.gossip.asked.contains_key(bucket))
            .collect();
        if buckets.is_empty() {
            return;
        }
        let until = cx.now + PATIENCE;
        self.gossip.asked.extend(buckets.iter().map(|bucket| (*bucket, until)));
        let buckets = List::new(buckets).expect("there are no more");
        cx.effects.push(Effect::Keys { node, message: HopKeys::Want { buckets } });
    }

    fn give(&mut self, cx: &mut Cx<'_>, node: NodeId, buckets: &[u8]) {
        let last = self.gossip.given.get(&node);
        if last.is_some_and(|last| cx.now < *last + GIVE_EVERY) {
            return;
        }
        self.gossip.given.insert(node, cx.now);
        let buckets: std::collections::BTreeSet<u8> = buckets.iter().copied().collect();
        let keys = buckets.into_iter().flat_map(|bucket| self.directory.of_bucket(bucket, cx.now));
        let keys: Vec<SignedHopKey> = keys.cloned().collect();
        for some in keys.chunks(HOP_KEYS_MAX) {
            let keys = List::new(some).expect("cut to the limit");
            cx.effects.push(Effect::Keys { node, message: HopKeys::Keys { keys } });
        }
    }
}
