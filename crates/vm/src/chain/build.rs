//! Blocks out of the mempool.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use session_core::{AccountId, Blob, BlockId, Encode, List, Time, TxId};
use session_protocol::chain::Block;
use session_protocol::chain::block::{
    BLOCK_BYTES_MAX, BLOCK_HEAD_BYTES, BLOCK_VERSION, TRANSACTIONS_MAX,
};
use session_storage::kv::Database;

use super::{BlockInfo, BuildError, Chain, InvalidBlock};
use crate::ledger::Ledger;
use crate::mempool::{self, Class, Entry, Mempool};
use crate::query;
use crate::state::State;

/// How often a transaction that spoils a built block is thrown out and another block built.
const ATTEMPTS: usize = 4;
/// Bytes of a block up to which free transactions come before those that pay.
const FREE_BYTES_FIRST: usize = BLOCK_BYTES_MAX / 2;
/// What a block adds to each transaction: its length.
const TRANSACTION_FRAMING_BYTES: usize = 4;

impl<D: Database> Chain<D> {
    /// Builds a block on the preferred one, or returns the one that was built there and is
    /// undecided. The block is verified already.
    ///
    /// What nodes do for free comes first, up to a half of the block: it is due at certain times,
    /// and there is only so much of it in an epoch. Then transactions come in the order of what
    /// they offer per byte, then of arrival; those of one sender in the order of nonces. Those that
    /// cannot be executed leave the pool.
    ///
    /// # Errors
    /// [`BuildError::NothingToBuild`]; or when the block would not be valid, for example because
    /// the parent is too far in the future.
    pub fn build(&mut self, now: Time) -> Result<BlockInfo, BuildError> {
        self.check_open()?;
        let parent = self.tree.preferred;
        if let Some(block) = self.tree.built_on(&parent) {
            return Ok(block.clone());
        }
        self.pool.sweep(now);
        let mut spoiled = None;
        for _ in 0..ATTEMPTS {
            let block = self.assemble(now)?;
            let why = match self.verify(&block.to_bytes(), now) {
                Ok(info) => {
                    self.tree.built.insert(parent, info.id);
                    return Ok(info);
                }
                Err(why) => why,
            };
            // Should our two ways through the rules ever differ, the chain goes on without the
            // transaction.
            match &why {
                InvalidBlock::Unsigned { id, .. } | InvalidBlock::Rejected { id, .. } => {
                    self.pool.remove(id);
                }
                _ => return Err(BuildError::Invalid(why)),
            }
            spoiled = Some(why);
        }
        Err(spoiled.map_or(BuildError::NothingToBuild, BuildError::Invalid))
    }

    /// Returns whether [`build`](Self::build) has something to put into a block: a transaction
    /// that is its sender's next one, or the turn of an epoch or a quarter of one.
    #[must_use]
    pub fn pending(&self, now: Time) -> bool {
        let (block, state) = self.preferred_tip();
        query::next_due(state, block.time) <= now.max(block.time)
            || self
                .pool
                .senders()
                .filter_map(|sender| next_of(&self.pool, state, sender, &block.id))
                .any(|entry| entry.end >= now)
    }

    /// Returns the block to build on and the state after it.
    pub(super) fn preferred_tip(&self) -> (&BlockInfo, &State) {
        self.tip(&self.tree.preferred).unwrap_or((&self.last, &self.state))
    }

    /// Fills a block with what can be executed.
    fn assemble(&mut self, now: Time) -> Result<Block, BuildError> {
        let (parent, state) = self.preferred_tip();
        let time = now.max(parent.time);
        let context = self.context(parent, time);
        let is_due = query::next_due(state, parent.time) <= time;
        let verifier = &*self.config.verifier;
        let mut ledger = Ledger::begin(state, context);
        let mut queue = Candidates::new(&self.pool, state, parent.id);
        let (mut chosen, mut refused) = (Vec::new(), Vec::new());
        let mut bytes = BLOCK_HEAD_BYTES;
        while chosen.len() < TRANSACTIONS_MAX {
            let Some(entry) =
                queue.next(bytes < FREE_BYTES_FIRST && chosen.len() < TRANSACTIONS_MAX / 2)
            else {
                break;
            };
            let transaction = &entry.transaction;
            let size = TRANSACTION_FRAMING_BYTES + transaction.size;
            if bytes + size > BLOCK_BYTES_MAX {
                // The sender's later ones wait for it; others may be shorter.
                continue;
            }
            match ledger.execute(transaction, verifier) {
                Ok(()) => {
                    bytes += size;
                    chosen.push(transaction.signed.to_bytes());
                    queue.follow(entry);
                }
                Err(_) => refused.push(transaction.id),
            }
        }
        let (parent, height) = (context.parent, context.height);
        let (state, _) = ledger.finish();
        self.leave_out(&refused, &parent);
        if chosen.is_empty() && !is_due {
            return Err(BuildError::NothingToBuild);
        }
        let blobs: Vec<_> = chosen
            .into_iter()
            .map(|bytes| Blob::new(bytes).expect("the pool holds none that is too long"))
            .collect();
        let transactions = List::new(blobs).expect("no more were chosen");
        let (version, chain, state_root) = (BLOCK_VERSION, self.id, state.root());
        Ok(Block { version, chain, parent, height, time, state_root, transactions })
    }

    /// What cannot follow the last accepted block is dropped. What cannot follow an undecided one
    /// may still follow another: it is left out for this parent only.
    fn leave_out(&mut self, refused: &[TxId], parent: &BlockId) {
        for id in refused {
            if *parent == self.last.id {
                let free = self.pool.get(id).map(|entry| mempool::class(&entry.transaction));
                match free {
                    // Its sender does the next duty without it.
                    Some(Class::Free) => self.pool.remove_from(id),
                    _ => drop(self.pool.remove(id)),
                }
            } else {
                self.pool.set_impossible(id, *parent);
            }
        }
    }
}

/// Returns a sender's next transaction after `state`, unless it was found impossible there.
fn next_of<'a>(
    pool: &'a Mempool,
    state: &State,
    sender: &AccountId,
    parent: &BlockId,
) -> Option<&'a Entry> {
    let nonce = query::account(state, sender).nonce;
    pool.at(sender, nonce).filter(|entry| entry.impossible_on != Some(*parent))
}

/// The next transaction of every sender.
struct Candidates<'a> {
    pool: &'a Mempool,
    /// Those that pay, the best one first.
    paying: BTreeSet<Rank>,
    /// Those that do not, the oldest one first.
    free: BTreeSet<Rank>,
}

type Rank = (Reverse<u64>, u64, TxId);

impl<'a> Candidates<'a> {
    fn new(pool: &'a Mempool, state: &State, parent: BlockId) -> Self {
        let mut candidates = Self { pool, paying: BTreeSet::new(), free: BTreeSet::new() };
        let heads = pool.senders().filter_map(|sender| next_of(pool, state, sender, &parent));
        heads.for_each(|entry| candidates.add(entry));
        candidates
    }

    fn next(&mut self, free_first: bool) -> Option<&'a Entry> {
        let free = if free_first { self.free.pop_first() } else { None };
        let next = free.or_else(|| self.paying.pop_first()).or_else(|| self.free.pop_first());
        next.and_then(|(.., id)| self.pool.get(&id))
    }

    /// Lets the sender's transaction after `entry` take part.
    fn follow(&mut self, entry: &Entry) {
        let nonce = entry.transaction.signed.transaction.nonce;
        let next = nonce.checked_add(1);
        let next = next.and_then(|nonce| self.pool.at(&entry.transaction.sender(), nonce));
        next.into_iter().for_each(|entry| self.add(entry));
    }

    fn add(&mut self, entry: &Entry) {
        let transaction = &entry.transaction;
        match mempool::class(transaction) {
            Class::Paying => {
                let rank = (Reverse(mempool::rate(transaction)), entry.arrival, transaction.id);
                self.paying.insert(rank);
            }
            // What a free one offers changes nothing.
            Class::Free => drop(self.free.insert((Reverse(0), entry.arrival, transaction.id))),
        }
    }
}
