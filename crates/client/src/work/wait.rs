use std::collections::BTreeMap;

use session_core::{List, Namespace, NodeId, Span};
use session_protocol::limits::SUBSCRIBED_NAMESPACES_MAX;
use session_protocol::owner::OwnerAction;
use session_protocol::request::{Cursor, Operation, Outcome, Reply, Select};

use super::{Asking, Door, Judging, Sent, Step, genuine, lie, refused, share_of};
use crate::command::{Answer, Error, Page};

/// What is to be waited for in one compartment.
#[derive(Clone, Debug)]
pub(crate) struct Awaited {
    pub(crate) namespace: Namespace,
    /// Where reading goes on, on each node that was read before.
    pub(crate) cursors: BTreeMap<NodeId, Cursor>,
}

/// Some compartments of one inbox, which a node is asked to tell of as soon as something arrives.
pub(crate) struct Waiting {
    door: Door,
    awaited: Vec<Awaited>,
    wait: Span,
    pages: Vec<Page>,
}

impl Waiting {
    pub(crate) const fn new(door: Door, awaited: Vec<Awaited>, wait: Span) -> Self {
        Self { door, awaited, wait, pages: Vec::new() }
    }

    pub(super) const fn wait(&self) -> Span {
        self.wait
    }

    // Those that were read in every compartment.
    pub(super) fn places(&self) -> Vec<NodeId> {
        let Some((first, others)) = self.awaited.split_first() else { return Vec::new() };
        let in_all = |node: &&NodeId| others.iter().all(|it| it.cursors.contains_key(node));
        first.cursors.keys().filter(in_all).copied().collect()
    }

    pub(super) fn ask(&self, asking: &mut Asking<'_>) -> Result<(Vec<Operation>, Sent), Error> {
        let audience = asking.node;
        let namespaces: Vec<Namespace> = self.awaited.iter().map(|it| it.namespace).collect();
        let namespaces: List<Namespace, SUBSCRIBED_NAMESPACES_MAX> =
            List::new(namespaces).expect("a subscription has no more");
        let subscribe = OwnerAction::Subscribe { namespaces, audience };
        let mut operations = vec![self.door.ask(asking, subscribe)?];
        for Awaited { namespace, cursors } in &self.awaited {
            let cursor = cursors.get(&asking.node).copied().unwrap_or_default();
            let action = OwnerAction::Retrieve {
                namespace: *namespace,
                select: Select::After { cursor },
                bytes_max: share_of(asking, self.awaited.len()),
                audience,
            };
            operations.push(self.door.ask(asking, action)?);
        }
        Ok((operations, Sent::default()))
    }

    pub(super) fn judge(&mut self, judging: &mut Judging<'_>, reply: Reply) -> Step {
        let node = judging.node;
        let mut outcomes = reply.outcomes.into_vec();
        // Whether it subscribed is its business: what counts is what it read.
        if outcomes.len() > self.awaited.len() {
            match outcomes.remove(0) {
                Outcome::Subscribed { .. } => {}
                Outcome::Refused { refusal } => return refused(judging, refusal),
                _ => return lie(node, "the outcome of another operation"),
            }
        }
        if outcomes.len() != self.awaited.len() {
            return lie(node, "one outcome for each compartment was due");
        }
        let mut pages = Vec::new();
        for (awaited, outcome) in self.awaited.iter().zip(outcomes) {
            let (items, cursor, more) = match outcome {
                Outcome::Items { items, cursor, more } => (items, cursor, more),
                Outcome::Refused { refusal } => return refused(judging, refusal),
                _ => return lie(node, "the outcome of another operation"),
            };
            let namespace = awaited.namespace;
            let items = genuine(judging, &self.door.address, namespace, items);
            pages.push(Page { node, namespace, items, cursor, more });
        }
        self.pages = pages;
        Step::Done
    }

    pub(super) fn answer(&mut self) -> Option<Answer> {
        let pages = core::mem::take(&mut self.pages);
        if pages.is_empty() { None } else { Some(Answer::Pages(pages)) }
    }
}
