//! The chain as this node has it: a copy that it executes itself.
//!
//! *Provided:* the node acts on blocks that the sequencer of its genesis sealed and that it
//! executed; sources only carry them. One that serves something else is named, and left alone for
//! a while. *Not provided:* progress while every source withholds blocks; health tells how old the
//! last one is.
//!
//! | module | holds |
//! |---|---|
//! | [`genesis`] | the genesis file |
//! | [`source`] | one place to fetch blocks from and to hand transactions to |
//! | [`follow`] | fetching, with several sources at once |
//! | [`publish`] | what the node sees of each block |
//! | [`submit`] | the node's own transactions |
//! | [`facts`] | what it says of nodes, for people |
//! | [`certificates`] | the last certificates |
//! | [`errands`] | what the node wants done with the chain |

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use session_core::{ChainId, Time};
use session_crypto::RealVerifier;
use session_protocol::chain::{Block, SealedBlock};
use session_runtime::SystemClock;
use session_runtime::failure::{Failure, Result, chain as chained};
use session_runtime::workers::Threads;
use session_storage::kv::{Database, DiskDatabase, MemoryDatabase};
use session_vm::chain::{BlockInfo, Chain, Config};
use session_vm::genesis::Genesis;
use session_vm::solo::{self, Refusal, Taken};
use session_vm::state::State;

pub(crate) mod certificates;
pub(crate) mod errands;
pub(crate) mod facts;
pub(crate) mod follow;
pub(crate) mod genesis;
pub(crate) mod publish;
pub(crate) mod source;
pub(crate) mod submit;

/// The copy, below the node's data directory.
const DIRECTORY: &str = "chain";
/// Blocks and state.
const DATABASE: &str = "chain.redb";

/// The copy of the chain.
pub(crate) struct Local {
    chain: Mutex<Chain<Box<dyn Database>>>,
    id: ChainId,
    clock: SystemClock,
}

/// The last block and the state after it.
#[derive(Clone)]
pub(crate) struct Tip {
    pub(crate) block: BlockInfo,
    pub(crate) state: State,
}

/// Why a block that a source served was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotTaken {
    /// It is another one than was asked for.
    #[error("it served block {got} for block {asked}")]
    Other { asked: u64, got: u64 },
    /// It does not follow.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Local {
    /// Opens the copy below a node's data directory, or begins one in memory.
    ///
    /// # Errors
    /// When it is damaged, is of another genesis, or another program has it.
    pub(crate) fn open(data_dir: Option<&Path>, genesis: &Genesis) -> Result<Arc<Self>> {
        let database: Box<dyn Database> = match data_dir {
            None => Box::new(MemoryDatabase::default()),
            Some(dir) => {
                let dir = dir.join(DIRECTORY);
                session_runtime::files::create_private_directory(&dir)
                    .map_err(|error| Failure::usage(error.to_string()))?;
                let database = DiskDatabase::open(&dir.join(DATABASE)).map_err(|error| {
                    Failure::usage(format!("the copy of the chain: {}", chained(&error)))
                })?;
                Box::new(database)
            }
        };
        if genesis.sequencer.is_none() {
            return Err(Failure::usage("the genesis names no sequencer: nobody seals blocks"));
        }
        let id = genesis.chain_id();
        let mut config = Config::new(Arc::new(RealVerifier));
        config.workers = Arc::new(Threads::new());
        let chain = Chain::open(database, genesis, id, config)
            .map_err(|error| Failure::usage(format!("the copy of the chain: {error}")))?;
        let last = chain.last_accepted();
        tracing::info!(chain = %id, height = last.height, "opened the copy of the chain");
        Ok(Arc::new(Self { chain: Mutex::new(chain), id, clock: SystemClock::new() }))
    }

    /// Returns the chain's id.
    pub(crate) const fn id(&self) -> &ChainId {
        &self.id
    }

    /// Returns the time.
    pub(crate) fn now(&self) -> Time {
        self.clock.now()
    }

    /// Locks the chain. Nothing that waits may happen under the lock.
    pub(crate) fn chain(&self) -> MutexGuard<'_, Chain<Box<dyn Database>>> {
        // A panic under the lock is our bug and ends the process in release builds.
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the last block and its state.
    pub(crate) fn tip(&self) -> Tip {
        let chain = self.chain();
        Tip { block: chain.last_accepted().clone(), state: chain.state().clone() }
    }

    /// Checks what a source served for a height, executes it if it is the next block, and keeps
    /// it. Returns whether it was new.
    pub(crate) fn take(
        &self,
        asked: u64,
        sealed: &SealedBlock,
    ) -> std::result::Result<bool, NotTaken> {
        let got = Block::parse(&sealed.block, &self.id).map_err(Refusal::from)?.height;
        if got != asked {
            return Err(NotTaken::Other { asked, got });
        }
        // Sources deliver the same block at the same time: it is taken under one lock.
        let mut chain = self.chain();
        let now = self.clock.now();
        match solo::verify_sealed(&mut chain, sealed, now, &RealVerifier)? {
            Taken::Known => Ok(false),
            Taken::Verified { id, extra } => {
                chain.accept(&id, extra).map_err(Refusal::from)?;
                Ok(true)
            }
        }
    }
}
