//! Whether a node has what its swarm acknowledged, or may have lost its store.
//!
//! A node whose store says nothing of an earlier run compares every bucket with its mates first.
//! Once that is done with so many of them that every quorum has one among them, everything
//! acknowledged is here, and the store says so from then on.

use std::collections::BTreeMap;

use session_core::{NodeId, Time};
use session_storage::{Store, StoreError, Table};

use crate::machine::{Cx, Swarm};
use crate::view::View;

/// Where the store says that it is complete.
const KEY: &[u8] = b"complete";

/// Buckets of a swarm.
const BUCKETS: usize = 256;

/// How far a node is with comparing its store.
#[derive(Debug, Default)]
pub(crate) struct Complete {
    recalled: bool,
    is_complete: bool,
    /// Buckets of each mate that were compared.
    compared: BTreeMap<NodeId, [bool; BUCKETS]>,
}

impl Complete {
    /// Returns whether enough mates were compared with: whoever acknowledged an item, this node
    /// aside, is one of a quorum.
    fn is_enough(&self, view: &View) -> bool {
        let done = view.mates.iter().filter(|mate| {
            self.compared.get(*mate).is_some_and(|buckets| buckets.iter().all(|done| *done))
        });
        done.count() >= view.mates.len().min(view.size() + 1 - view.quorum)
    }
}

/// Says in a store that nothing is missing in it: for those who know it without asking, as in
/// models of networks whose stores are never lost.
///
/// # Errors
/// When the store does not take it.
pub fn declare_complete(store: &mut dyn Store) -> Result<(), StoreError> {
    store.put_record(Table::Meta, KEY, &[1], Time::MAX)
}

/// Says in a store that something may be missing in it: after damage was found.
///
/// # Errors
/// When the store does not take it.
pub fn declare_incomplete(store: &mut dyn Store) -> Result<(), StoreError> {
    store.remove_record(Table::Meta, KEY).map(drop)
}

impl Swarm {
    /// Returns whether everything that the swarm acknowledged while this node was a member is here.
    /// A node that lost its store is not complete until it has compared it with its mates.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete.is_complete
    }

    /// Looks for what an earlier run found out.
    pub(crate) fn recall_complete(&mut self, cx: &Cx<'_>) {
        if !core::mem::replace(&mut self.complete.recalled, true) {
            self.complete.is_complete = matches!(cx.store.record(Table::Meta, KEY), Ok(Some(_)));
        }
    }

    /// Compares everything with a member that came up, if anything may be missing.
    pub(crate) fn compare_if_incomplete(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        let is_on_chain = self.view.membership().height() > 0;
        if is_on_chain && !self.is_complete() && self.reconcile.is_mate(&node) {
            self.compare(cx, &[node]);
        }
    }

    /// Notes that a bucket is the same here and with a mate.
    pub(crate) fn bucket_compared(&mut self, cx: &mut Cx<'_>, node: NodeId, bucket: u8) {
        if self.complete.is_complete || !self.view.mates.contains(&node) {
            return;
        }
        let buckets = self.complete.compared.entry(node).or_insert([false; BUCKETS]);
        buckets[usize::from(bucket)] = true;
        self.look_whether_complete(cx);
    }

    /// Ends the search once enough is compared; without mates there is nothing to compare.
    pub(crate) fn look_whether_complete(&mut self, cx: &mut Cx<'_>) {
        let complete = &mut self.complete;
        if complete.is_complete || self.view.swarm.is_none() || !complete.is_enough(&self.view) {
            return;
        }
        complete.is_complete = true;
        complete.compared = BTreeMap::new();
        if declare_complete(cx.store).is_err() {
            self.stats.store_errors += 1;
        }
    }
}
