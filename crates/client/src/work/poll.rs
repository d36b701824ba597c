use std::collections::{BTreeMap, BTreeSet};

use session_core::{List, Namespace, NodeId};
use session_protocol::owner::OwnerAction;
use session_protocol::request::{Cursor, Operation, Outcome, Reply, Select};

use super::{Asking, Door, Judging, Sent, Step, genuine, lie, refused, share_of};
use crate::command::{Answer, Error, Page};

/// What one inbox of several is asked.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    pub(crate) door: Door,
    pub(crate) namespace: Namespace,
    /// Where reading goes on, on each node that was read before.
    pub(crate) cursors: BTreeMap<NodeId, Cursor>,
    /// Whether the node that is listened to is to push from now on.
    pub(crate) listen: bool,
    /// Bytes that a reply should have room for, where that is fixed before.
    pub(crate) room_bytes: usize,
}

/// One page of what is new in each of some inboxes of one swarm, from each of some nodes; one of the
/// nodes is asked to push as well.
pub(crate) struct Polling {
    queries: Vec<Query>,
    /// Who is to push.
    listen_to: Option<NodeId>,
    /// What came, by node and query.
    pages: BTreeMap<(NodeId, usize), Page>,
    /// Queries whose inboxes are pushed now.
    live: BTreeSet<usize>,
}

impl Polling {
    pub(crate) const fn new(queries: Vec<Query>, listen_to: Option<NodeId>) -> Self {
        Self { queries, listen_to, pages: BTreeMap::new(), live: BTreeSet::new() }
    }

    pub(super) fn room_bytes(&self) -> usize {
        self.queries.iter().map(|query| query.room_bytes).sum()
    }

    pub(super) fn places(&self) -> Vec<NodeId> {
        let known = self.queries.iter().flat_map(|query| query.cursors.keys().copied());
        known.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Returns what came for a query, and whether its inbox is pushed now.
    pub(crate) fn take(&mut self, query: usize) -> (Vec<Page>, Option<NodeId>) {
        let all = core::mem::take(&mut self.pages);
        let (mine, rest) = all.into_iter().partition(|((_, of), _)| *of == query);
        self.pages = rest;
        let mine: BTreeMap<_, _> = mine;
        (mine.into_values().collect(), self.listen_to.filter(|_| self.live.contains(&query)))
    }

    // A node that stands in for the one that is to push is only read from.
    fn listens(&self, query: &Query, node: NodeId) -> bool {
        query.listen && self.listen_to == Some(node)
    }

    pub(super) fn ask(&self, asking: &mut Asking<'_>) -> Result<(Vec<Operation>, Sent), Error> {
        let audience = asking.node;
        let mut operations = Vec::new();
        for query in &self.queries {
            let Query { door, namespace, cursors, .. } = query;
            // First, so that nothing arrives between both.
            if self.listens(query, asking.node) {
                let namespaces = List::new([*namespace]).expect("one is within the bound");
                operations.push(door.ask(asking, OwnerAction::Subscribe { namespaces, audience })?);
            }
            let cursor = cursors.get(&asking.node).copied().unwrap_or_default();
            let action = OwnerAction::Retrieve {
                namespace: *namespace,
                select: Select::After { cursor },
                bytes_max: share_of(asking, self.queries.len()),
                audience,
            };
            operations.push(door.ask(asking, action)?);
        }
        Ok((operations, Sent::default()))
    }

    pub(super) fn judge(&mut self, judging: &mut Judging<'_>, reply: Reply) -> Step {
        let node = judging.node;
        let due = self.queries.iter().map(|query| 1 + usize::from(self.listens(query, node)));
        if reply.outcomes.len() != due.sum::<usize>() {
            return lie(node, "one outcome for each operation was due");
        }
        let mut outcomes = reply.outcomes.into_iter();
        for index in 0..self.queries.len() {
            if self.listens(&self.queries[index], node) {
                match outcomes.next() {
                    Some(Outcome::Subscribed { .. }) => {
                        self.live.insert(index);
                    }
                    // It has too many already: what is not pushed is read more often.
                    Some(Outcome::Refused { .. }) => {}
                    _ => return lie(node, "the outcome of another operation"),
                }
            }
            let step = match outcomes.next() {
                Some(outcome) => self.read(judging, index, outcome),
                None => Some(lie(node, "the outcome of another operation")),
            };
            if let Some(step) = step {
                return step;
            }
        }
        Step::Done
    }

    // Returns what to do if the node cannot be gone on with.
    fn read(&mut self, judging: &mut Judging<'_>, index: usize, outcome: Outcome) -> Option<Step> {
        let node = judging.node;
        let (items, cursor, more) = match outcome {
            Outcome::Items { items, cursor, more } => (items, cursor, more),
            Outcome::Refused { refusal } => {
                return match refused(judging, refusal) {
                    // About this inbox alone: the others are read nevertheless.
                    Step::Fatal(_) => None,
                    step => Some(step),
                };
            }
            _ => return Some(lie(node, "the outcome of another operation")),
        };
        let Query { door, namespace, cursors, .. } = &self.queries[index];
        let before = cursors.get(&node).copied().unwrap_or_default();
        if more && cursor.incarnation == before.incarnation && cursor <= before {
            return Some(lie(node, "there is more, but the cursor stands still"));
        }
        let namespace = *namespace;
        let items = genuine(judging, &door.address, namespace, items);
        self.pages.insert((node, index), Page { node, namespace, items, cursor, more });
        None
    }

    /// Says that it is done: the pages are taken by whoever asked, with [`Polling::take`].
    pub(super) const fn answer() -> Answer {
        Answer::Pages(Vec::new())
    }
}
