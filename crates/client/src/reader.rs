//! What was read of an inbox already.
//!
//! Every node counts arrivals by itself, so a place in one node's order says nothing about
//! another's. The reader keeps a cursor for each node and the ids of what it has handed out:
//! reading may move to another node, which is then read from its beginning, and nothing is lost or
//! handed out twice.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use session_core::{
    Decode, DecodeError, Encode, List, MessageId, Namespace, NodeId, Reader, choice, record,
};
use session_protocol::limits::INBOX_ITEMS_MAX;
use session_protocol::request::{Cursor, Item};

use crate::command::Page;

/// Ids remembered; the oldest are forgotten first. As many as an inbox can hold.
pub const SEEN_MAX: usize = INBOX_ITEMS_MAX as usize;

/// Cursors remembered: every node of a large swarm, in every namespace. A node without one is read
/// from its beginning.
pub const CURSORS_MAX: usize = 1024;

record! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct Place {
        namespace: Namespace,
        node: NodeId,
        cursor: Cursor,
    }
}

choice! {
    #[derive(Clone, Debug, PartialEq, Eq)]
    enum Saved {
        1 => V1 {
            places: List<Place, CURSORS_MAX>,
            seen: List<MessageId, SEEN_MAX>,
        },
    }
}

/// The state of reading one inbox. Its encoding is for the owner's disk only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InboxReader {
    places: BTreeMap<(Namespace, NodeId), Cursor>,
    seen: BTreeSet<MessageId>,
    order: VecDeque<MessageId>,
}

impl InboxReader {
    /// Starts with nothing read.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns where reading goes on, on each node that was read before.
    #[must_use]
    pub fn cursors(&self, namespace: Namespace) -> BTreeMap<NodeId, Cursor> {
        let of_namespace = self.places.iter().filter(|((place, _), _)| *place == namespace);
        of_namespace.map(|((_, node), cursor)| (*node, *cursor)).collect()
    }

    /// Takes a page, and returns the items that were not handed out before.
    pub fn absorb(&mut self, page: Page) -> Vec<Item> {
        let place = (page.namespace, page.node);
        if self.places.contains_key(&place) || self.places.len() < CURSORS_MAX {
            self.places.insert(place, page.cursor);
        }
        page.items.into_iter().filter(|item| self.absorb_pushed(item)).collect()
    }

    /// Takes a pushed item, and tells whether it was not handed out before.
    ///
    /// Cursors stay where they are: a node may drop pushes, so only pages move them.
    pub fn absorb_pushed(&mut self, item: &Item) -> bool {
        if !self.seen.insert(item.id) {
            return false;
        }
        self.order.push_back(item.id);
        if self.order.len() > SEEN_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }

    /// Returns how many ids are remembered.
    #[must_use]
    pub fn seen(&self) -> usize {
        self.seen.len()
    }
}

impl Encode for InboxReader {
    fn encode(&self, out: &mut Vec<u8>) {
        let places: Vec<Place> = self
            .places
            .iter()
            .map(|(&(namespace, node), &cursor)| Place { namespace, node, cursor })
            .collect();
        Saved::V1 {
            places: List::new(places).expect("kept within the bound"),
            seen: List::new(Vec::from(self.order.clone())).expect("kept within the bound"),
        }
        .encode(out);
    }
}

impl Decode for InboxReader {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Saved::V1 { places, seen } = Saved::decode(reader)?;
        let keys: Vec<_> = places.iter().map(|place| (place.namespace, place.node)).collect();
        if !keys.is_sorted_by(|left, right| left < right) {
            return Err(DecodeError::Invalid { field: "cursors", why: "not in order" });
        }
        let order = VecDeque::from(seen.into_vec());
        let seen: BTreeSet<MessageId> = order.iter().copied().collect();
        if seen.len() != order.len() {
            return Err(DecodeError::Invalid { field: "seen ids", why: "one stands there twice" });
        }
        let places = keys.into_iter().zip(places.iter().map(|place| place.cursor)).collect();
        Ok(Self { places, seen, order })
    }
}

#[cfg(test)]
mod tests;
