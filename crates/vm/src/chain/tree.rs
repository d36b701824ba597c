//! Blocks that are verified and undecided, each with the state after it.

use std::collections::{BTreeMap, BTreeSet};

use session_core::BlockId;

use super::{BlockInfo, UNDECIDED_MAX};
use crate::ledger::Changes;
use crate::mempool::Pooled;
use crate::state::State;

/// A verified block whose chain of parents ends at the last accepted block.
pub(super) struct Undecided {
    pub(super) block: BlockInfo,
    /// Shares everything that the block did not change with the states of other blocks.
    pub(super) state: State,
    pub(super) changes: Changes,
    pub(super) transactions: Vec<Pooled>,
}

/// A verified block that cannot be accepted any more, because another one was accepted or its
/// parent was rejected; kept until the driver says so too.
pub(super) struct Lost {
    pub(super) block: BlockInfo,
    pub(super) transactions: Vec<Pooled>,
}

pub(super) struct Tree {
    pub(super) live: BTreeMap<BlockId, Undecided>,
    pub(super) lost: BTreeMap<BlockId, Lost>,
    /// Own blocks, by parent: the same one is returned until it is decided.
    pub(super) built: BTreeMap<BlockId, BlockId>,
    pub(super) preferred: BlockId,
}

impl Tree {
    pub(super) fn new(preferred: BlockId) -> Self {
        let (live, lost, built) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { live, lost, built, preferred }
    }

    /// Returns the own block on `parent` that is undecided.
    pub(super) fn built_on(&self, parent: &BlockId) -> Option<&BlockInfo> {
        self.live.get(self.built.get(parent)?).map(|undecided| &undecided.block)
    }

    /// Takes a block out of those that can be accepted.
    pub(super) fn take(&mut self, id: &BlockId) -> Option<Undecided> {
        let undecided = self.live.remove(id)?;
        if self.built.get(&undecided.block.parent) == Some(id) {
            self.built.remove(&undecided.block.parent);
        }
        Some(undecided)
    }

    /// Gives up the blocks that do not descend from `last`, and returns blocks that are kept no
    /// longer because too many were given up before.
    pub(super) fn keep_descendants(&mut self, last: &BlockId) -> Vec<Lost> {
        let mut by_height: Vec<_> =
            self.live.values().map(|it| (it.block.height, it.block.id, it.block.parent)).collect();
        by_height.sort_unstable();
        let mut kept = BTreeSet::from([*last]);
        for (_, id, parent) in by_height {
            if kept.contains(&parent) {
                kept.insert(id);
            } else if let Some(Undecided { block, transactions, .. }) = self.take(&id) {
                self.lost.insert(id, Lost { block, transactions });
            }
        }
        if !kept.contains(&self.preferred) {
            self.preferred = *last;
        }
        let mut forgotten = Vec::new();
        while self.lost.len() > UNDECIDED_MAX {
            let oldest = self.lost.values().min_by_key(|it| (it.block.height, it.block.id));
            let oldest = oldest.map(|it| it.block.id);
            forgotten.extend(oldest.and_then(|id| self.lost.remove(&id)));
        }
        forgotten
    }
}
