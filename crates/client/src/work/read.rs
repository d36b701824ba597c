use std::collections::BTreeMap;

use session_core::{Namespace, NodeId};
use session_protocol::owner::OwnerAction;
use session_protocol::request::{Cursor, Operation, Outcome, Select};

use super::{Asking, Door, Judging, Sent, Step, bytes_max, genuine, lie};
use crate::command::{Answer, Error, Page};

/// One page of what is new, from each of some nodes.
pub(crate) struct Reading {
    door: Door,
    namespace: Namespace,
    cursors: BTreeMap<NodeId, Cursor>,
    pages: Vec<Page>,
}

impl Reading {
    pub(crate) const fn new(
        door: Door,
        namespace: Namespace,
        cursors: BTreeMap<NodeId, Cursor>,
    ) -> Self {
        Self { door, namespace, cursors, pages: Vec::new() }
    }

    pub(super) fn places(&self) -> Vec<NodeId> {
        self.cursors.keys().copied().collect()
    }

    pub(super) const fn is_signed(&self) -> bool {
        self.door.is_signed()
    }

    pub(super) fn ask(&self, asking: &mut Asking<'_>) -> Result<(Vec<Operation>, Sent), Error> {
        let cursor = self.cursors.get(&asking.node).copied().unwrap_or_default();
        let action = OwnerAction::Retrieve {
            namespace: self.namespace,
            select: Select::After { cursor },
            bytes_max: bytes_max(asking),
            audience: asking.node,
        };
        Ok((vec![self.door.ask(asking, action)?], Sent { cursor, ..Sent::default() }))
    }

    pub(super) fn judge(
        &mut self,
        judging: &mut Judging<'_>,
        sent: &Sent,
        outcome: Outcome,
    ) -> Step {
        let Outcome::Items { items, cursor, more } = outcome else {
            return lie(judging.node, "the outcome of another operation");
        };
        // A store that lost its disk counts from the start again, under a new incarnation.
        if more && cursor.incarnation == sent.cursor.incarnation && cursor <= sent.cursor {
            return lie(judging.node, "there is more, but the cursor stands still");
        }
        let (node, namespace) = (judging.node, self.namespace);
        let items = genuine(judging, &self.door.address, namespace, items);
        self.pages.push(Page { node, namespace, items, cursor, more });
        Step::Done
    }

    pub(super) fn answer(&mut self) -> Option<Answer> {
        let pages = core::mem::take(&mut self.pages);
        if pages.is_empty() { None } else { Some(Answer::Pages(pages)) }
    }
}
