//! What all duties share: connections that are wanted, and transactions under way.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{NodeId, Time};
use session_protocol::chain::Action;
use session_protocol::duty::Duty;

use super::scene::{Alarm, Scene};
use super::{Cx, Effect};

/// What a connection is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    Beacon,
    Attest,
    Probe,
    Audit,
}

/// A transaction that an epoch asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Post {
    Register,
    Deal,
    Acknowledge,
    Reveal,
    Shares,
    Commitment,
    Vote,
    Drain,
}

/// Connections and transactions.
#[derive(Debug, Default)]
pub(super) struct Desk {
    up: BTreeSet<NodeId>,
    wanted: BTreeMap<NodeId, BTreeSet<Why>>,
    posted: BTreeMap<Post, Time>,
}

impl Desk {
    pub(super) fn peer_up(&mut self, node: NodeId) {
        self.up.insert(node);
    }

    pub(super) fn peer_down(&mut self, node: &NodeId) {
        self.up.remove(node);
    }

    pub(super) fn is_up(&self, node: &NodeId) -> bool {
        self.up.contains(node)
    }

    /// Asks for a connection.
    pub(super) fn want(&mut self, cx: &mut Cx<'_>, node: NodeId, why: Why) {
        let reasons = self.wanted.entry(node).or_default();
        if reasons.insert(why) && reasons.len() == 1 {
            cx.effects.push(Effect::Connect { node });
        }
    }

    /// Asks again, after a connection did not come about or was lost.
    pub(super) fn want_again(&mut self, cx: &mut Cx<'_>, node: NodeId, why: Why) {
        self.wanted.entry(node).or_default().insert(why);
        if !self.is_up(&node) {
            cx.effects.push(Effect::Connect { node });
        }
    }

    /// Gives a connection back, unless it is wanted for something else.
    pub(super) fn release(&mut self, cx: &mut Cx<'_>, node: NodeId, why: Why) {
        let Some(reasons) = self.wanted.get_mut(&node) else { return };
        if reasons.remove(&why) && reasons.is_empty() {
            self.wanted.remove(&node);
            cx.effects.push(Effect::Forget { node });
        }
    }

    /// Gives back all connections that were wanted for one thing.
    pub(super) fn release_all(&mut self, cx: &mut Cx<'_>, why: Why) {
        let holders: Vec<NodeId> = self
            .wanted
            .iter()
            .filter(|(_, reasons)| reasons.contains(&why))
            .map(|(node, _)| *node)
            .collect();
        for node in holders {
            self.release(cx, node, why);
        }
    }

    /// Sends to a node that is up; returns whether it is.
    pub(super) fn send(&self, cx: &mut Cx<'_>, node: NodeId, bulk: bool, duty: Duty) -> bool {
        let is_up = self.is_up(&node);
        if is_up {
            cx.effects.push(Effect::Send { node, bulk, duty });
        }
        is_up
    }

    /// Posts a transaction, again whenever the patience for the last one is over. To be called as
    /// long as the chain does not show it.
    pub(super) fn offer(
        &mut self,
        cx: &mut Cx<'_>,
        scene: &Scene<'_>,
        alarm: &mut Alarm,
        post: Post,
        action: impl FnOnce() -> Action,
    ) {
        let patience = scene.patience();
        let due = self.posted.get(&post).map_or(scene.now, |last| *last + patience);
        if due > scene.now {
            return alarm.at(due);
        }
        cx.effects.push(Effect::Submit { action: action() });
        self.posted.insert(post, scene.now);
        alarm.at(scene.now + patience);
    }

    /// Posts the next transaction of a kind at once: it says something else than the last.
    pub(super) fn renew(&mut self, post: Post) {
        self.posted.remove(&post);
    }

    /// Forgets what was posted: another epoch asks for it anew.
    pub(super) fn turn(&mut self) {
        self.posted.clear();
    }
}
