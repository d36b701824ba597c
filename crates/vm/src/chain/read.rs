//! Reading: blocks, transactions, ancestors, the shell's entries.

use std::sync::Arc;

use session_core::{AccountId, BlockId, Decode, Time, TxId};
use session_crypto::PublicIdentity;
use session_protocol::chain::Block;
use session_protocol::chain::block::{BLOCK_BYTES_MAX, BadBlock, block_id};
use session_storage::kv::Database;

use super::layout::{self, EXTRA_PREFIX, Place};
use super::{ANCESTOR_FRAMING_BYTES, ANCESTORS_BYTES_MAX, BlockInfo, Chain, Included, ReadError};
use crate::mempool::Entry;
use crate::query;
use crate::state::Proof;

// Every block can be answered with.
const _: () = assert!(BLOCK_BYTES_MAX + ANCESTOR_FRAMING_BYTES <= ANCESTORS_BYTES_MAX);

impl BlockInfo {
    pub(super) fn new(block: &Block, bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self {
            id: block_id(&bytes),
            parent: block.parent,
            height: block.height,
            time: block.time,
            state_root: block.state_root,
            transactions: block.transactions.len(),
            bytes,
        }
    }
}

impl<D: Database> Chain<D> {
    /// Reads bytes as a block of this chain, without judging it.
    ///
    /// # Errors
    /// When they are none.
    pub fn parse(&self, bytes: &[u8]) -> Result<BlockInfo, BadBlock> {
        Block::parse(bytes, &self.id).map(|block| BlockInfo::new(&block, bytes))
    }

    /// Returns a block that was accepted, or that was verified and not rejected.
    ///
    /// # Errors
    /// When the database fails.
    pub fn block(&self, id: &BlockId) -> Result<Option<BlockInfo>, ReadError> {
        let kept = self.tip(id).map(|(block, _)| block);
        let kept = kept.or_else(|| self.tree.lost.get(id).map(|lost| &lost.block));
        if let Some(block) = kept {
            return Ok(Some(block.clone()));
        }
        let Some(bytes) = self.database.get(&layout::block_key(id))? else { return Ok(None) };
        let block = self
            .parse(&bytes)
            .map_err(|error| ReadError::Damaged { what: "a block", why: error.to_string() })?;
        Ok(Some(block))
    }

    /// Returns the id of the accepted block at a height.
    ///
    /// # Errors
    /// When the database fails.
    pub fn id_at_height(&self, height: u64) -> Result<Option<BlockId>, ReadError> {
        let Some(id) = self.database.get(&layout::height_key(height))? else { return Ok(None) };
        BlockId::decode_exact(&id)
            .map(Some)
            .map_err(|error| ReadError::malformed("the id at a height", &error))
    }

    /// Returns an accepted transaction.
    ///
    /// # Errors
    /// When the database fails.
    pub fn transaction(&self, id: &TxId) -> Result<Option<Included>, ReadError> {
        let Some(Place { height, index }) = self.place(id)? else { return Ok(None) };
        let block = self.id_at_height(height)?.ok_or(ReadError::missing("the id at a height"))?;
        let bytes = self.database.get(&layout::block_key(&block))?;
        let bytes = bytes.ok_or(ReadError::missing("a block"))?;
        let block =
            Block::decode_exact(&bytes).map_err(|error| ReadError::malformed("a block", &error))?;
        let transaction = block.transactions.into_iter().nth(index as usize);
        let bytes = transaction.ok_or(ReadError::missing("a transaction"))?.into_vec();
        Ok(Some(Included { height, index, bytes }))
    }

    pub(super) fn place(&self, id: &TxId) -> Result<Option<Place>, ReadError> {
        let Some(place) = self.database.get(&layout::transaction_key(id))? else {
            return Ok(None);
        };
        Place::decode_exact(&place)
            .map(Some)
            .map_err(|error| ReadError::malformed("the place of a transaction", &error))
    }

    /// Returns a transaction that waits in the mempool.
    #[must_use]
    pub fn waiting(&self, id: &TxId) -> Option<&Entry> {
        self.pool.get(id)
    }

    /// Returns the keys of an account, for checking a transaction of it with this nonce: from the
    /// state, or from a transaction that waits before it.
    #[must_use]
    pub fn keys_for(&self, sender: &AccountId, nonce: u64) -> Option<PublicIdentity> {
        query::keys(&self.state, sender).or_else(|| self.pool.keys_below(sender, nonce).cloned())
    }

    /// Returns the bytes of a block and of those below it, downwards to genesis, within limits;
    /// nothing for an unknown id. No answer is larger than [`ANCESTORS_BYTES_MAX`]; the first
    /// block is there even if it alone is over `bytes_max`, or no peer could ever get it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn ancestors(
        &self,
        id: &BlockId,
        blocks_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Vec<u8>>, ReadError> {
        self.ancestors_while(id, blocks_max, bytes_max, &mut || true)
    }

    /// As [`ancestors`](Self::ancestors); asks before each block but the first whether to go on:
    /// the shell has the clock.
    ///
    /// # Errors
    /// When the database fails.
    pub fn ancestors_while(
        &self,
        id: &BlockId,
        blocks_max: usize,
        bytes_max: usize,
        go_on: &mut dyn FnMut() -> bool,
    ) -> Result<Vec<Vec<u8>>, ReadError> {
        let bytes_max = bytes_max.min(ANCESTORS_BYTES_MAX);
        let (mut blocks, mut bytes, mut next) = (Vec::new(), 0, *id);
        while blocks.len() < blocks_max && (blocks.is_empty() || go_on()) {
            let Some(block) = self.block(&next)? else { break };
            bytes += ANCESTOR_FRAMING_BYTES + block.bytes.len();
            if bytes > bytes_max && !blocks.is_empty() {
                break;
            }
            blocks.push(block.bytes.to_vec());
            if block.height == 0 {
                break;
            }
            next = block.parent;
        }
        Ok(blocks)
    }

    /// Returns the proof of what a key of the accepted state holds, be it nothing.
    #[must_use]
    pub fn prove(&self, key: &[u8]) -> Proof {
        self.state.prove(key)
    }

    /// Returns an entry that the shell wrote with a block. Its key begins with `x`; no other is
    /// there.
    ///
    /// # Errors
    /// When the database fails.
    pub fn extra(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ReadError> {
        if !key.starts_with(EXTRA_PREFIX) {
            return Ok(None);
        }
        Ok(self.database.get(key)?)
    }

    /// Returns when a block may be built above the preferred one even if no transaction waits: at
    /// the turn of the epoch and, if there are nodes, at each quarter of it.
    #[must_use]
    pub fn next_due(&self) -> Time {
        let (block, state) = self.preferred_tip();
        query::next_due(state, block.time)
    }
}
