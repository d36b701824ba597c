//! The chain as a program runs it: one core behind every driver, and what people ask it.
//!
//! One lock guards the chain: it is single-threaded by design, and calls are short. What is costly
//! happens outside of it: signatures of transactions are checked before they are submitted,
//! conversations have a thread of their own ([`crate::post`]).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use session_core::{BlockId, ChainId, Digest, Time, TxId};
use session_crypto::RealVerifier;
use session_protocol::chain::ReceivedTransaction;
use session_rpc::vm::config::Limits;
use session_rpc::vm::{Config as ChainConfig, Genesis as GenesisFile, Profile};
use session_runtime::{OsEntropy, SystemClock};
use session_storage::disk::{self, DiskStore};
use session_storage::kv::{Batch, Database};
use session_storage::{Durable, MemoryStore};
use session_vm::chain::{Accepted, BuildError, Chain, Config, FUTURE_MAX, SubmitError};
use session_vm::genesis::Genesis;
use session_vm::{chain, genesis_file, mailbox};
use tokio::sync::{broadcast, watch};

use crate::hosted::{BlockInfo, Gossip, Health, HostedError, Phase, Result};
use crate::post::{self, Post};
use session_runtime::workers::Threads;

/// Blocks that a slow subscriber may be behind before it is told that it missed some.
const BLOCKS_BEHIND_MAX: usize = 256;
/// Where the mailbox is kept, below the directory that a host gives: hosts keep files there too.
const MAILBOX_DIR: &str = "sessionvm/mailbox";
/// One program writes them, and each shard costs a thread that waits for the disk.
const MAILBOX_OPTIONS: disk::Options =
    disk::Options { shards: 2, segment_bytes: 64 * 1024 * 1024, bytes_max: None };

/// The database behind a chain: the host's, our own on disk, or memory.
pub type AnyDatabase = Box<dyn Database>;

/// What an engine is opened with.
pub struct Parts {
    /// The chain's id, if a host gives one.
    pub chain_id: Option<ChainId>,
    /// Where blocks and state are kept.
    pub database: AnyDatabase,
    /// Where conversations are kept; memory without it.
    pub data_dir: Option<PathBuf>,
    /// How the chain began.
    pub genesis: GenesisFile,
    /// Limits.
    pub config: ChainConfig,
    /// How to tell others of a transaction.
    pub gossip: Option<Arc<dyn Gossip>>,
}

/// A running chain.
pub struct Engine {
    chain: Mutex<Chain<AnyDatabase>>,
    chain_id: ChainId,
    genesis_json: String,
    network: String,
    config: ChainConfig,
    clock: SystemClock,
    post: Post,
    gossip: Option<Arc<dyn Gossip>>,
    phase: RwLock<Phase>,
    /// Counts what may let a block be built: transactions, decisions.
    changed: watch::Sender<u64>,
    accepted: broadcast::Sender<Arc<Accepted>>,
}

/// Why a transaction was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// It is no good transaction.
    #[error(transparent)]
    Bad(#[from] session_protocol::chain::transaction::BadTransaction),
    /// The mempool does not take it.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

impl Engine {
    /// Opens a chain.
    ///
    /// # Errors
    /// When genesis or configuration are wrong, or a database cannot be opened.
    pub fn open(parts: Parts) -> Result<Arc<Self>> {
        let Parts { chain_id, database, data_dir, genesis: file, config, gossip } = parts;
        let (network, genesis_json) = (file.network.clone(), file.to_json());
        let genesis = genesis_file::from_file(&file)
            .map_err(|error| HostedError::Refused(format!("the genesis: {error}")))?;
        let chain_id = chain_id.unwrap_or_else(|| genesis.chain_id());
        let clock = SystemClock::new();
        let ahead = genesis.time.since(clock.now());
        if ahead > FUTURE_MAX {
            let why =
                format!("the genesis: its time is {} s in the future", ahead.as_millis() / 1000);
            return Err(HostedError::Refused(why));
        }
        let chain = open_chain(database, &genesis, chain_id)?;
        let post = open_post(&chain_id, data_dir.as_deref(), &config, &file)?;
        let last = chain.last_accepted();
        tracing::info!(height = last.height, block = ?last.id, "opened the chain");
        Ok(Arc::new(Self {
            chain: Mutex::new(chain),
            chain_id,
            genesis_json,
            network,
            config,
            clock,
            post,
            gossip,
            phase: RwLock::new(Phase::Ready),
            changed: watch::Sender::new(0),
            accepted: broadcast::Sender::new(BLOCKS_BEHIND_MAX),
        }))
    }

    /// Returns the chain's id.
    #[must_use]
    pub const fn chain_id(&self) -> &ChainId {
        &self.chain_id
    }

    /// Returns the network's name.
    #[must_use]
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Returns the genesis, as its file.
    #[must_use]
    pub fn genesis_json(&self) -> &str {
        &self.genesis_json
    }

    /// Returns the limits.
    #[must_use]
    pub const fn config(&self) -> &ChainConfig {
        &self.config
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Returns the conversations.
    #[must_use]
    pub const fn post(&self) -> &Post {
        &self.post
    }

    /// Returns where the chain is in its life.
    #[must_use]
    pub fn phase(&self) -> Phase {
        *self.phase.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the chain. Nothing that waits may happen under the lock.
    pub fn chain(&self) -> MutexGuard<'_, Chain<AnyDatabase>> {
        // A panic under the lock is our bug and ends the process in release builds.
        self.chain.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows accepted blocks.
    #[must_use]
    pub fn accepted(&self) -> broadcast::Receiver<Arc<Accepted>> {
        self.accepted.subscribe()
    }

    /// Takes a transaction, and tells others of it.
    ///
    /// # Errors
    /// When it is not good, or there is no room for it.
    pub fn submit(&self, bytes: &[u8]) -> std::result::Result<TxId, Refused> {
        let id = self.submit_quietly(bytes)?;
        if let Some(gossip) = &self.gossip {
            gossip.push(bytes.to_vec());
        }
        Ok(id)
    }

    /// Takes a transaction that others have been told of.
    ///
    /// # Errors
    /// As [`Engine::submit`].
    pub fn submit_quietly(&self, bytes: &[u8]) -> std::result::Result<TxId, Refused> {
        let received = ReceivedTransaction::parse(bytes)?;
        let known = {
            let chain = self.chain();
            chain.screen(&received, self.now())?;
            chain.keys_for(&received.sender(), received.signed.transaction.nonce)
        };
        // The signature is the costly part: no lock is held for it.
        let checked = received.check(&self.chain_id, known.as_ref(), &RealVerifier)?;
        let id = self.chain().submit_checked(checked, self.now())?;
        self.touch();
        Ok(id)
    }

    /// Waits until a block can be built.
    pub async fn wait_pending(&self) {
        let mut changed = self.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let due = {
                let chain = self.chain();
                if chain.pending(self.now()) {
                    return;
                }
                chain.next_due()
            };
            tokio::select! {
                // The sender lives as long as `self`.
                _ = changed.changed() => {}
                () = self.clock.sleep_until(due) => {}
            }
        }
    }

    /// Makes a verified block part of the chain. `extra` is written in the same batch.
    ///
    /// # Errors
    /// When it was not verified, is no child of the last one, or the database fails.
    pub fn accept(
        &self,
        id: &BlockId,
        extra: Batch,
    ) -> std::result::Result<Arc<Accepted>, chain::AcceptError> {
        let accepted = Arc::new(self.chain().accept(id, extra)?);
        self.touch();
        // Nobody may be listening.
        let _ = self.accepted.send(Arc::clone(&accepted));
        Ok(accepted)
    }

    /// Says that something changed.
    pub(crate) fn touch(&self) {
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    pub(crate) fn last_accepted(&self) -> BlockInfo {
        info(self.chain().last_accepted())
    }

    pub(crate) fn set_phase(&self, phase: Phase) -> BlockInfo {
        let mut chain = self.chain();
        if !matches!(phase, Phase::Other(_)) {
            chain.set_bootstrapping(phase == Phase::Bootstrapping);
            *self.phase.write().unwrap_or_else(PoisonError::into_inner) = phase;
        }
        info(chain.last_accepted())
    }

    /// Says whether blocks of the past are being fetched. They are checked as all others are.
    pub(crate) fn set_fetching(&self, fetching: bool) {
        let phase = if fetching { Phase::Bootstrapping } else { Phase::Ready };
        *self.phase.write().unwrap_or_else(PoisonError::into_inner) = phase;
    }

    pub(crate) fn build(&self) -> Result<BlockInfo> {
        let built = self.chain().build(self.now());
        built.map(|block| info(&block)).map_err(|error| match error {
            BuildError::NothingToBuild => HostedError::NothingToBuild(error.to_string()),
            error => HostedError::Failed(error.to_string()),
        })
    }

    /// Returns how the chain is, in figures.
    #[must_use]
    pub fn health(&self) -> Health {
        let chain = self.chain();
        let pool = chain.mempool_stats();
        let fault = chain.closed().map(ToString::to_string).or_else(|| self.post.fault());
        let mut details = vec![
            ("height".to_owned(), chain.last_accepted().height.to_string()),
            ("mempool".to_owned(), pool.transactions.to_string()),
            ("undecided".to_owned(), chain.undecided().to_string()),
        ];
        let healthy = fault.is_none();
        details.extend(fault.map(|fault| ("fault".to_owned(), fault)));
        Health { healthy, details }
    }
}

/// A block in the words of hosts.
pub(crate) fn info(block: &chain::BlockInfo) -> BlockInfo {
    BlockInfo {
        id: block.id,
        parent: block.parent,
        height: block.height,
        time: block.time,
        bytes: block.bytes.to_vec(),
    }
}

fn open_chain(database: AnyDatabase, genesis: &Genesis, id: ChainId) -> Result<Chain<AnyDatabase>> {
    let mut config = Config::new(Arc::new(RealVerifier));
    config.workers = Arc::new(Threads::new());
    Chain::open(database, genesis, id, config)
        .map_err(|error| HostedError::Refused(format!("the chain cannot be opened: {error}")))
}

fn open_post(
    chain: &ChainId,
    dir: Option<&Path>,
    config: &ChainConfig,
    genesis: &GenesisFile,
) -> Result<Post> {
    // What the operator says wins over what the chain began with.
    let given = Limits::default().with(&genesis.limits).with(&config.limits);
    let limits = mailbox::Config {
        session_ttl: given.session_ttl,
        messages_max: given.messages_max,
        channels_max: given.channels_max,
        retention: given.retention,
        conversations_max: config.sessions_max,
        compat: config.profile == Profile::Go,
        // A signature made for a conversation of another chain means nothing here.
        scope: Digest::from(*chain.as_bytes()),
        ..mailbox::Config::default()
    };
    let failed = |error: String| HostedError::Failed(format!("the conversations: {error}"));
    let rng = OsEntropy::new().map_err(|error| failed(error.to_string()))?;
    match dir {
        None => {
            let store = MemoryStore::new(session_core::Entropy::next_u64(&mut { rng }));
            start(limits, store, failed)
        }
        Some(dir) => {
            let dir = dir.join(MAILBOX_DIR);
            session_runtime::files::create_private_directory(&dir)
                .map_err(|error| failed(error.to_string()))?;
            let store = DiskStore::open(&dir, MAILBOX_OPTIONS)
                .map_err(|error| failed(session_runtime::failure::chain(&error)))?;
            start(limits, store, failed)
        }
    }
}

fn start<S: Durable + Send + 'static>(
    limits: mailbox::Config,
    store: S,
    failed: impl Fn(String) -> HostedError,
) -> Result<Post> {
    post::start(limits, store).map_err(|error| failed(error.to_string()))
}
