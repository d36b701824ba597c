//! The chain: one core that builds, verifies and accepts blocks, whoever drives it.
//!
//! *Provided:* a block that is verified was executed in full; a block that is built was verified;
//! a block that is accepted is in the database with all its effects in one atomic write. *Not
//! provided:* the choice between blocks: that is the driver's (a host's consensus, a sequencer).
//!
//! Everything is an argument: the time, the threads that check signatures ([`Workers`]), the
//! database. After a write that failed the chain is closed to everything but reads: whether the
//! write happened is known only after it was opened again.
//!
//! | module | holds |
//! |---|---|
//! | [`layout`] | what is in the database, under which keys |
//! | [`error`] | what can be wrong |
//! | `open` | a chain out of a database |
//! | `submit` | the way into the mempool |
//! | `build` | blocks out of the mempool |
//! | `verify` | whether a block follows from its parent |
//! | `decide` | accept, reject, preference |
//! | `read` | blocks, transactions, ancestors, proofs |
//! | `tree` | blocks that are verified and undecided |

mod build;
mod decide;
pub mod error;
pub mod layout;
mod open;
mod read;
mod submit;
mod tree;
mod verify;

use std::sync::Arc;

use session_core::{BlockId, ChainId, Digest, Span, Time, TxId};
use session_crypto::Verifier;
use session_storage::kv::Database;

use crate::mempool::{self, Mempool};
use crate::state::State;

pub use session_core::{Inline, Workers};

pub use error::{
    AcceptError, BuildError, Closed, InvalidBlock, OpenError, ReadError, SubmitError, UnknownBlock,
};
use tree::Tree;

/// How far a block's time may be ahead of the clock of whoever verifies it. A validator with a
/// clock that is wrong by more cannot build; one that is right by less is not refused.
pub const FUTURE_MAX: Span = Span::from_secs(10);
/// Most blocks that are verified and undecided at a time. Hosts keep about ten; each may hold 2 MiB
/// twice, as bytes and as transactions.
pub const UNDECIDED_MAX: usize = 64;
/// How far a transaction's nonce may be ahead of its account's.
pub const NONCE_AHEAD_MAX: u64 = 64;
/// Most bytes of ancestors in one answer: a host's frame of 16 MiB, less room for its own fields.
pub const ANCESTORS_BYTES_MAX: usize = 16 * 1024 * 1024 - 1024;
/// What the frame adds to each block in an answer of ancestors.
pub const ANCESTOR_FRAMING_BYTES: usize = 4;

/// What a chain needs from its shell.
#[derive(Clone)]
pub struct Config {
    /// Checks signatures.
    pub verifier: Arc<dyn Verifier>,
    /// Checks several at a time.
    pub workers: Arc<dyn Workers>,
    /// Bounds of the mempool.
    pub mempool: mempool::Limits,
}

impl Config {
    /// Makes a configuration with the usual bounds, and without threads.
    #[must_use]
    pub fn new(verifier: Arc<dyn Verifier>) -> Self {
        Self { verifier, workers: Arc::new(Inline), mempool: mempool::Limits::default() }
    }
}

/// A block of this chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Its id.
    pub id: BlockId,
    /// The block below.
    pub parent: BlockId,
    /// How many blocks are below.
    pub height: u64,
    /// When it was built.
    pub time: Time,
    /// Root of the state after it.
    pub state_root: Digest,
    /// How many transactions it holds.
    pub transactions: usize,
    /// Its bytes.
    pub bytes: Arc<[u8]>,
}

/// What became durable with a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The block.
    pub block: BlockInfo,
    /// Its transactions, in order.
    pub transactions: Vec<TxId>,
}

/// A transaction that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    /// The height of its block.
    pub height: u64,
    /// Its place in the block.
    pub index: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A chain over a database.
pub struct Chain<D: Database> {
    database: D,
    id: ChainId,
    config: Config,
    /// The last accepted block, and the state after it.
    last: BlockInfo,
    state: State,
    tree: Tree,
    pool: Mempool,
    /// What new transactions are tried on, if that is not `state`: see `submit`.
    trial: Option<State>,
    bootstrapping: bool,
    closed: Option<Closed>,
}

impl<D: Database> Chain<D> {
    /// Returns the chain's id.
    #[must_use]
    pub fn id(&self) -> &ChainId {
        &self.id
    }

    /// Returns the last accepted block.
    #[must_use]
    pub fn last_accepted(&self) -> &BlockInfo {
        &self.last
    }

    /// Returns the state after the last accepted block.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Returns the block to build on.
    #[must_use]
    pub fn preferred(&self) -> &BlockId {
        &self.tree.preferred
    }

    /// Says whether blocks of the past are being fetched: their times are not compared with the
    /// clock, because a clock that is behind must not stop a validator from catching up.
    pub fn set_bootstrapping(&mut self, bootstrapping: bool) {
        self.bootstrapping = bootstrapping;
    }

    /// Returns why the chain takes nothing any more, if that is so.
    #[must_use]
    pub fn closed(&self) -> Option<&Closed> {
        self.closed.as_ref()
    }

    /// Returns figures of the mempool.
    #[must_use]
    pub fn mempool_stats(&self) -> mempool::Stats {
        self.pool.stats()
    }

    /// Returns how many blocks are verified and undecided.
    #[must_use]
    pub fn undecided(&self) -> usize {
        self.tree.live.len()
    }

    fn check_open(&self) -> Result<(), Closed> {
        self.closed.clone().map_or(Ok(()), Err)
    }

    /// Returns an undecided block's, or the last accepted block's, header and state.
    fn tip(&self, id: &BlockId) -> Option<(&BlockInfo, &State)> {
        if *id == self.last.id {
            return Some((&self.last, &self.state));
        }
        self.tree.live.get(id).map(|undecided| (&undecided.block, &undecided.state))
    }
}

// A shell moves a chain between threads, whichever database it has.
const _: () = {
    const fn moves<T: Send>() {}
    moves::<Chain<Box<dyn Database>>>();
};
