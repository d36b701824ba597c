//! What the driver decides: accept, reject, preference.

use session_core::{BlockId, Encode, Time};
use session_storage::kv::{Batch, Database};

use super::layout::{self, EXTRA_PREFIX, Place};
use super::tree::Undecided;
use super::{AcceptError, Accepted, Chain, Closed, UnknownBlock};
use crate::ledger;
use crate::query;

impl<D: Database> Chain<D> {
    /// Makes a verified block the last accepted one: one atomic write of its changes of the state,
    /// its bytes, its indices, and the shell's `extra` entries, whose keys begin with `x`.
    ///
    /// Blocks that do not descend from it can never be accepted any more. They are kept, without
    /// their states, until they are rejected, at most
    /// [`UNDECIDED_MAX`](super::UNDECIDED_MAX) of them: the lowest are forgotten first, as if
    /// they had been rejected.
    ///
    /// # Errors
    /// When the block is not a verified child of the last accepted one: nothing changed. When the
    /// write failed: the chain is closed.
    pub fn accept(&mut self, id: &BlockId, extra: Batch) -> Result<Accepted, AcceptError> {
        self.check_open()?;
        let last = self.last.id;
        if *id == last {
            return Err(AcceptError::Already { id: *id });
        }
        let undecided = self.tree.live.get(id).ok_or(AcceptError::NotVerified { id: *id })?;
        let parent = undecided.block.parent;
        if parent != last {
            return Err(AcceptError::NotNext { id: *id, parent, last });
        }
        let batch = batch_of(undecided, extra)?;
        if let Err(why) = self.database.write(&batch) {
            let closed = Closed { why };
            self.closed = Some(closed.clone());
            return Err(closed.into());
        }
        Ok(self.settle(id).expect("it was verified a moment ago"))
    }

    /// Follows in memory what is durable.
    fn settle(&mut self, id: &BlockId) -> Option<Accepted> {
        let Undecided { block, state, transactions, .. } = self.tree.take(id)?;
        self.last = block.clone();
        self.state = state;
        self.trial = None;
        for transaction in &transactions {
            let sender = transaction.sender();
            self.pool.remove_below(&sender, query::account(&self.state, &sender).nonce);
        }
        self.pool.sweep(block.time);
        let state = &self.state;
        self.pool.remove_undue(|free| ledger::check_due(state, free, block.time).is_ok());
        for forgotten in self.tree.keep_descendants(id) {
            self.give_back(forgotten.transactions, block.time);
        }
        let transactions = transactions.iter().map(|transaction| transaction.id).collect();
        Some(Accepted { block, transactions })
    }

    /// Drops a block that was decided against, and takes its transactions back into the pool. Its
    /// descendants can never be accepted any more. A block that is not known is no error: hosts
    /// reject what was never verified here.
    ///
    /// # Errors
    /// When the chain is closed.
    pub fn reject(&mut self, id: &BlockId, now: Time) -> Result<(), Closed> {
        self.check_open()?;
        let transactions = match self.tree.take(id) {
            Some(undecided) => undecided.transactions,
            None => self.tree.lost.remove(id).map(|lost| lost.transactions).unwrap_or_default(),
        };
        for forgotten in self.tree.keep_descendants(&self.last.id) {
            self.give_back(forgotten.transactions, now);
        }
        self.give_back(transactions, now);
        Ok(())
    }

    /// Says on which block to build.
    ///
    /// # Errors
    /// When it is neither the last accepted block nor verified and undecided.
    pub fn set_preference(&mut self, id: &BlockId) -> Result<(), UnknownBlock> {
        self.tip(id).ok_or(UnknownBlock { id: *id })?;
        self.tree.preferred = *id;
        Ok(())
    }
}

fn batch_of(undecided: &Undecided, extra: Batch) -> Result<Batch, AcceptError> {
    if extra.changes().any(|(key, _)| !key.starts_with(EXTRA_PREFIX)) {
        return Err(AcceptError::ExtraKey);
    }
    let block = &undecided.block;
    let mut batch = extra;
    layout::put_changes(&mut batch, &undecided.changes);
    layout::put_block(&mut batch, &block.id, block.height, &block.bytes);
    for (index, transaction) in undecided.transactions.iter().enumerate() {
        let index = u32::try_from(index).expect("a block holds a few hundred");
        let place = Place { height: block.height, index };
        batch.put(layout::transaction_key(&transaction.id), place.to_bytes());
    }
    Ok(batch)
}
