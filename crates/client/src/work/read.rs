use std::collections::BTreeMap;

use session_core::{Namespace, NodeId};
use session_protocol::owner::OwnerAction;
use session_protocol::request::{Cursor, Operation, Outcome, Select};

use super::{Asking, BATCH_BYTES_MAX, Door, Judging, Sent, Step, bytes_max, genuine, lie};
use crate::command::{Answer, Error, Page};

/// Bytes of a reply with a page of items that goes over hops, before it is known how much there is.
const ROUTED_BYTES: usize = 30_000;

/// The same, once there was more than that.
const ROUTED_BYTES_MORE: usize = 90_000;

/// One page of what is new, from each of some nodes. Over hops it comes in parts.
pub(crate) struct Reading {
    door: Door,
    namespace: Namespace,
    cursors: BTreeMap<NodeId, Cursor>,
    pages: Vec<Page>,
    /// Pages that are not all there yet.
    parts: BTreeMap<NodeId, Page>,
    /// Bytes that were asked for last.
    asked_bytes: usize,
}

impl Reading {
    pub(crate) const fn new(
        door: Door,
        namespace: Namespace,
        cursors: BTreeMap<NodeId, Cursor>,
    ) -> Self {
        let parts = BTreeMap::new();
        Self { door, namespace, cursors, pages: Vec::new(), parts, asked_bytes: 0 }
    }

    pub(super) fn places(&self) -> Vec<NodeId> {
        self.cursors.keys().copied().collect()
    }

    pub(super) const fn is_signed(&self) -> bool {
        self.door.is_signed()
    }

    pub(super) fn room_bytes(&self) -> usize {
        if self.parts.is_empty() { ROUTED_BYTES } else { ROUTED_BYTES_MORE }
    }

    pub(super) fn ask(&mut self, asking: &mut Asking<'_>) -> Result<(Vec<Operation>, Sent), Error> {
        let part = self.parts.get(&asking.node).map(|page| page.cursor);
        let cursor = part.or_else(|| self.cursors.get(&asking.node).copied()).unwrap_or_default();
        self.asked_bytes = asking.room.page_bytes;
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
        let mut page = Page { node, namespace, items, cursor, more };
        if let Some(before) = self.parts.remove(&node) {
            page.items.splice(..0, before.items);
        }
        let bytes: usize = page.items.iter().map(|item| item.data.len()).sum();
        if more && bytes + self.asked_bytes <= BATCH_BYTES_MAX {
            self.parts.insert(node, page);
            return Step::More;
        }
        self.pages.push(page);
        Step::Done
    }

    pub(super) fn answer(&mut self) -> Option<Answer> {
        let mut pages = core::mem::take(&mut self.pages);
        // Of those that did not get to the end.
        pages.extend(core::mem::take(&mut self.parts).into_values());
        if pages.is_empty() { None } else { Some(Answer::Pages(pages)) }
    }
}
