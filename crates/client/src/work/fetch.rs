use std::collections::{BTreeMap, BTreeSet};

use session_core::{List, MessageId, Namespace, NodeId};
use session_protocol::limits::{IDS_MAX, ITEM_BYTES_MAX};
use session_protocol::owner::OwnerAction;
use session_protocol::request::{Item, Operation, Outcome, Select};

use super::{Asking, Door, Judging, Sent, Step, bytes_max, genuine, lie, witnesses};
use crate::command::{Answer, Error};

/// Items by their ids.
pub(crate) struct Fetching {
    door: Door,
    namespace: Namespace,
    ids: List<MessageId, IDS_MAX>,
    found: BTreeMap<MessageId, Item>,
    /// Nodes that had none of what was wanted, and so have none of what is wanted still.
    lacking: BTreeSet<NodeId>,
}

impl Fetching {
    pub(crate) const fn new(
        door: Door,
        namespace: Namespace,
        ids: List<MessageId, IDS_MAX>,
    ) -> Self {
        Self { door, namespace, ids, found: BTreeMap::new(), lacking: BTreeSet::new() }
    }

    pub(super) const fn is_signed(&self) -> bool {
        self.door.is_signed()
    }

    fn missing(&self) -> Vec<MessageId> {
        self.ids.iter().filter(|id| !self.found.contains_key(id)).copied().collect()
    }

    pub(super) fn ask(&self, asking: &mut Asking<'_>) -> Result<(Vec<Operation>, Sent), Error> {
        let ids = List::new(self.missing()).expect("some of a list of the same bound");
        let action = OwnerAction::Retrieve {
            namespace: self.namespace,
            select: Select::Ids { ids },
            bytes_max: bytes_max(asking),
            audience: asking.node,
        };
        Ok((vec![self.door.ask(asking, action)?], Sent::default()))
    }

    pub(super) fn judge(&mut self, judging: &mut Judging<'_>, outcome: Outcome) -> Step {
        let Outcome::Items { items, .. } = outcome else {
            return lie(judging.node, "the outcome of another operation");
        };
        let wanted: BTreeSet<MessageId> = self.missing().into_iter().collect();
        let before = self.found.len();
        for item in genuine(judging, &self.door.address, self.namespace, items) {
            if wanted.contains(&item.id) {
                self.found.insert(item.id, item);
            }
        }
        if self.found.len() == wanted.len() + before {
            return Step::Done;
        }
        if self.found.len() > before {
            return Step::More;
        }
        self.lacking.insert(judging.node);
        if self.lacking.len() >= witnesses(judging) {
            return Step::Done;
        }
        Step::Elsewhere(Error::BadAnswer { node: judging.node, why: "it lacks the items" })
    }

    pub(super) fn bytes_max(&self) -> usize {
        (self.ids.len() - self.found.len()) * ITEM_BYTES_MAX
    }

    pub(super) fn answer(&mut self) -> Option<Answer> {
        let missing = self.missing();
        let mut found = core::mem::take(&mut self.found);
        let items = self.ids.iter().filter_map(|id| found.remove(id)).collect();
        Some(Answer::Fetched { items, missing })
    }

    pub(super) fn partial(&mut self) -> Option<Answer> {
        if self.found.is_empty() { None } else { self.answer() }
    }

    pub(super) fn progress(&self) -> (usize, usize) {
        (self.found.len(), self.ids.len())
    }
}
