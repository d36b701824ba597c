//! A chain out of a database: a new one from genesis, or where the last write left it.

use session_core::{BlockId, ChainId, Decode, Encode};
use session_protocol::chain::Block;
use session_storage::kv::{Batch, Database};

use super::layout::{self, FORMAT, LAST_KEY, STAMP_KEY, STATE_PREFIX, Stamp};
use super::tree::Tree;
use super::{BlockInfo, Chain, Config, OpenError};
use crate::genesis::Genesis;
use crate::mempool::Mempool;
use crate::state::State;

impl<D: Database> Chain<D> {
    /// Opens a chain. An empty database is given the genesis first.
    ///
    /// # Errors
    /// When the database belongs to another chain or genesis, has another format, is damaged,
    /// fails, or when the genesis is not acceptable. Nothing was written then, unless the write
    /// itself failed.
    pub fn open(
        mut database: D,
        genesis: &Genesis,
        chain: ChainId,
        config: Config,
    ) -> Result<Self, OpenError> {
        let stamp = Stamp { format: FORMAT, chain, genesis: genesis.chain_id() };
        match database.get(STAMP_KEY)? {
            Some(bytes) => check_stamp(&bytes, &stamp)?,
            None => begin(&mut database, genesis, &stamp)?,
        }
        let last = load_last(&database, &chain)?;
        let state = load_state(&database)?;
        let (got, expected) = (state.root(), last.state_root);
        if got != expected {
            return Err(OpenError::StateRoot { got, expected, height: last.height });
        }
        Ok(Self {
            database,
            id: chain,
            tree: Tree::new(last.id),
            pool: Mempool::new(config.mempool),
            config,
            last,
            state,
            trial: None,
            bootstrapping: false,
            closed: None,
        })
    }
}

fn check_stamp(bytes: &[u8], expected: &Stamp) -> Result<(), OpenError> {
    let damaged = |error| OpenError::Damaged(format!("its stamp: {error}"));
    let got = layout::format_of(bytes).map_err(damaged)?;
    if got != FORMAT {
        return Err(OpenError::Format { got, expected: FORMAT });
    }
    let got = Stamp::decode_exact(bytes).map_err(damaged)?;
    if got.chain != expected.chain {
        return Err(OpenError::Chain { got: got.chain, chain: expected.chain });
    }
    if got.genesis != expected.genesis {
        return Err(OpenError::Genesis { got: got.genesis, genesis: expected.genesis });
    }
    Ok(())
}

/// Writes the genesis block and its state.
fn begin<D: Database>(database: &mut D, genesis: &Genesis, stamp: &Stamp) -> Result<(), OpenError> {
    let mut found = None;
    database.visit(b"", &mut |key, _| {
        found = key.first().copied();
        false
    })?;
    if let Some(table) = found {
        let text = format!("it has no stamp, but a table {table:#04x}: something else is in it");
        return Err(OpenError::Damaged(text));
    }
    let state = genesis.state()?;
    let block = genesis.block(stamp.chain)?;
    let bytes = block.to_bytes();
    let id = session_protocol::chain::block::block_id(&bytes);
    let mut batch = Batch::new();
    batch.put(STAMP_KEY, stamp.to_bytes());
    for (key, value) in state.range(b"") {
        batch.put([STATE_PREFIX, key].concat(), value);
    }
    layout::put_block(&mut batch, &id, block.height, &bytes);
    Ok(database.write(&batch)?)
}

fn load_last<D: Database>(database: &D, chain: &ChainId) -> Result<BlockInfo, OpenError> {
    let damaged = |text: &str| OpenError::Damaged(text.into());
    let id = database.get(LAST_KEY)?.ok_or_else(|| damaged("no block was accepted last"))?;
    let id = BlockId::decode_exact(&id).map_err(|_| damaged("the last accepted id is no id"))?;
    let bytes = database.get(&layout::block_key(&id))?;
    let bytes = bytes.ok_or_else(|| damaged("the last accepted block is missing"))?;
    let block = Block::parse(&bytes, chain)
        .map_err(|error| OpenError::Damaged(format!("the last accepted block: {error}")))?;
    let info = BlockInfo::new(&block, bytes);
    if info.id != id {
        return Err(damaged("the last accepted block has other bytes than it had"));
    }
    Ok(info)
}

fn load_state<D: Database>(database: &D) -> Result<State, OpenError> {
    let mut entries = Vec::new();
    database.visit(STATE_PREFIX, &mut |key, value| {
        entries.push((key[STATE_PREFIX.len()..].to_vec(), value.to_vec()));
        true
    })?;
    Ok(State::from_entries(entries))
}
