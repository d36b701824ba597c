//! Whether a block follows from its parent.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use session_core::{AccountId, Time};
use session_crypto::PublicIdentity;
use session_protocol::chain::transaction::BadTransaction;
use session_protocol::chain::{Block, ReceivedTransaction};
use session_storage::kv::Database;

use super::tree::Undecided;
use super::{BlockInfo, Chain, FUTURE_MAX, InvalidBlock, UNDECIDED_MAX};
use crate::ledger::{BlockContext, Ledger};
use crate::mempool::Pooled;
use crate::query;
use crate::state::State;

impl<D: Database> Chain<D> {
    /// Checks a block by executing it, and keeps it until it is decided. A block that was verified
    /// or accepted before is known at once.
    ///
    /// # Errors
    /// When the block is not valid, or its parent is not there; nothing changed.
    pub fn verify(&mut self, bytes: &[u8], now: Time) -> Result<BlockInfo, InvalidBlock> {
        self.check_open()?;
        let block = Block::parse(bytes, &self.id)?;
        let info = BlockInfo::new(&block, bytes);
        if self.tree.live.contains_key(&info.id) || self.is_accepted(&info)? {
            return Ok(info);
        }
        let undecided = self.examine(&block, info, now)?;
        let info = undecided.block.clone();
        self.tree.live.insert(info.id, undecided);
        Ok(info)
    }

    fn is_accepted(&self, block: &BlockInfo) -> Result<bool, InvalidBlock> {
        let decided = block.height <= self.last.height;
        Ok(decided && self.id_at_height(block.height)? == Some(block.id))
    }

    /// Goes through all rules, the cheap ones first.
    fn examine(
        &self,
        block: &Block,
        info: BlockInfo,
        now: Time,
    ) -> Result<Undecided, InvalidBlock> {
        let unknown = InvalidBlock::Parent { parent: block.parent, last: self.last.id };
        let (parent, parent_state) = self.tip(&block.parent).ok_or(unknown)?;
        self.check_head(block, parent, now)?;
        if self.tree.live.len() >= UNDECIDED_MAX {
            return Err(InvalidBlock::TooManyUndecided);
        }
        let is_due = query::next_due(parent_state, parent.time) <= block.time;
        if block.transactions.is_empty() && !is_due {
            return Err(InvalidBlock::Empty);
        }
        let mut ledger = Ledger::begin(parent_state, self.context(parent, block.time));
        let transactions = self.check_signatures(block, parent_state)?;
        for (index, transaction) in transactions.iter().enumerate() {
            ledger
                .execute(transaction, &*self.config.verifier)
                .map_err(|why| InvalidBlock::Rejected { index, id: transaction.id, why })?;
        }
        let (state, changes) = ledger.finish();
        let (got, computed) = (block.state_root, state.root());
        if got != computed {
            return Err(InvalidBlock::StateRoot { got, computed });
        }
        Ok(Undecided { block: info, state, changes, transactions })
    }

    fn check_head(&self, block: &Block, parent: &BlockInfo, now: Time) -> Result<(), InvalidBlock> {
        let (got, expected) = (block.height, parent.height.saturating_add(1));
        if got != expected {
            return Err(InvalidBlock::Height { got, expected });
        }
        let got = block.time;
        if got < parent.time {
            return Err(InvalidBlock::Past { got, parent: parent.time });
        }
        let ahead = got.since(now);
        if ahead > FUTURE_MAX && !self.bootstrapping {
            return Err(InvalidBlock::Future { got, ahead, now });
        }
        Ok(())
    }

    /// Returns what a block on `parent` is executed in.
    pub(super) fn context(&self, parent: &BlockInfo, time: Time) -> BlockContext {
        let height = parent.height.saturating_add(1);
        BlockContext { chain: self.id, parent: parent.id, height, time }
    }

    /// Reads the transactions and checks their signatures, several at a time.
    ///
    /// # Security
    /// A signature is not checked again if the pool holds *the same* transaction: compared whole,
    /// with its keys and signature, because the id covers neither. What was checked at admission
    /// depends on nothing that can change since: the chain's id, the body, and keys that hash to
    /// the sender's id. That the keys are *available* does depend on the state before, and is
    /// judged here for every transaction, the same on every node, whatever its pool holds.
    fn check_signatures(&self, block: &Block, parent: &State) -> Result<Vec<Pooled>, InvalidBlock> {
        let mut received = Vec::with_capacity(block.transactions.len());
        for (index, bytes) in block.transactions.iter().enumerate() {
            let transaction = ReceivedTransaction::parse(bytes)
                .map_err(|why| InvalidBlock::Unreadable { index, why })?;
            received.push(transaction);
        }
        let keys = Keyring::gather(&received, parent)?;
        let mut checked: Vec<Option<Pooled>> = Vec::with_capacity(received.len());
        for transaction in &received {
            let pooled = self.pool.get(&transaction.id).map(|entry| &entry.transaction);
            checked.push(pooled.filter(|pooled| pooled.signed == transaction.signed).cloned());
        }
        let open: Vec<usize> = (0..received.len()).filter(|i| checked[*i].is_none()).collect();
        let results: Vec<OnceLock<_>> = open.iter().map(|_| OnceLock::new()).collect();
        let (chain, verifier) = (&self.id, &*self.config.verifier);
        self.config.workers.run(open.len(), &|job| {
            let transaction = &received[open[job]];
            let known = keys.of(&transaction.sender());
            let result = transaction.clone().check(chain, known, verifier);
            // Whoever calls a job twice gets the same result twice.
            results[job].get_or_init(|| result);
        });
        for (index, result) in open.into_iter().zip(results) {
            let result = result.into_inner().expect("the workers ran every job");
            let verified = result.map_err(|why| InvalidBlock::Unsigned {
                index,
                id: received[index].id,
                why,
            })?;
            checked[index] = Some(Arc::new(verified));
        }
        Ok(checked.into_iter().map(|it| it.expect("each came from the pool or a job")).collect())
    }
}

/// The keys of a block's senders.
struct Keyring(BTreeMap<AccountId, PublicIdentity>);

impl Keyring {
    /// Finds the keys that each transaction is checked with if it brings none: those in the state
    /// before the block, or those that came earlier in the block.
    fn gather(received: &[ReceivedTransaction], parent: &State) -> Result<Self, InvalidBlock> {
        let mut keys = BTreeMap::new();
        for (index, transaction) in received.iter().enumerate() {
            let sender = transaction.sender();
            if keys.contains_key(&sender) {
                continue;
            }
            let own = transaction.signed.keys.as_ref().filter(|own| own.account_id() == sender);
            let found = query::keys(parent, &sender).or_else(|| own.cloned());
            let why = BadTransaction::KeysMissing { sender };
            let missing = InvalidBlock::Unsigned { index, id: transaction.id, why };
            match found {
                Some(found) => drop(keys.insert(sender, found)),
                // Others' keys: `check` says so.
                None if transaction.signed.keys.is_some() => {}
                None => return Err(missing),
            }
        }
        Ok(Self(keys))
    }

    fn of(&self, sender: &AccountId) -> Option<&PublicIdentity> {
        self.0.get(sender)
    }
}
