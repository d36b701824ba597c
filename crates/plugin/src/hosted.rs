//! A chain as a host drives it: what both drivers call, whatever their wire.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use session_core::{BlockId, ChainId, Time};
use session_runtime::http::{Request, Response};
use session_storage::kv::Database;

/// A future that a driver awaits; dropping it gives the call up and changes nothing.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What a host says when it starts a chain.
pub struct Initialize {
    /// The host's network number.
    pub network_id: u32,
    /// The chain's id, given by the host.
    pub chain_id: ChainId,
    /// The host's node id (20 bytes on both hosts).
    pub node_id: Vec<u8>,
    /// Where the chain may keep files; the host keeps files there too.
    pub data_dir: Option<PathBuf>,
    /// The genesis, JSON.
    pub genesis: Vec<u8>,
    /// The chain's configuration, JSON; may be empty.
    pub config: Vec<u8>,
    /// The host's database; `None` when it offers none.
    pub database: Option<Box<dyn Database>>,
    /// How to tell other validators of a transaction; `None` when the host has no such network.
    pub gossip: Option<Arc<dyn Gossip>>,
}

/// Tells other validators.
pub trait Gossip: Send + Sync {
    /// Sends bytes to other validators' plugins, without waiting and without a promise.
    fn push(&self, bytes: Vec<u8>);
}

/// Where a chain is in its life, in the words of both hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Blocks of the past are being fetched: block times are not compared with the clock.
    Bootstrapping,
    /// The chain is at its frontier.
    Ready,
    /// Any other word of the host: nothing changes.
    Other(u32),
}

/// A block as hosts see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// Its id.
    pub id: BlockId,
    /// The id of the block below it.
    pub parent: BlockId,
    /// Its height; genesis is 0.
    pub height: u64,
    /// Its time.
    pub time: Time,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// How much of a chain's past one answer holds.
#[derive(Clone, Copy, Debug)]
pub struct AncestorLimits {
    /// Blocks at most.
    pub blocks_max: usize,
    /// Bytes at most, each block with 4 bytes of framing.
    pub bytes_max: usize,
    /// How long may be spent on reading them.
    pub time_max: std::time::Duration,
}

/// What [`Hosted::wait_event`] waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A block can be built.
    PendingTransactions,
}

/// How the chain is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    /// Whether it works.
    pub healthy: bool,
    /// Figures, by name.
    pub details: Vec<(String, String)>,
}

/// Why a call failed, in words for the host's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostedError {
    /// A call came before the chain was initialized, or after it was shut down.
    #[error("the chain is not running: {0}")]
    NotRunning(&'static str),
    /// There is nothing to put into a block: a normal answer.
    #[error("no block to build: {0}")]
    NothingToBuild(String),
    /// The block, genesis or configuration is not acceptable.
    #[error("{0}")]
    Refused(String),
    /// The database or the disk failed: the chain takes no more blocks.
    #[error("{0}")]
    Failed(String),
}

/// What calls of a host return.
pub type Result<T> = std::result::Result<T, HostedError>;

/// A chain that a host drives. Calls block (on the disk, on the host's database, on signature
/// checks); drivers make them from threads that may block, several at a time.
///
/// `shutdown` and `version` work at any time; everything else needs `initialize` first.
pub trait Hosted: Send + Sync + 'static {
    /// Returns the program's version.
    fn version(&self) -> String;

    /// Opens the chain and returns the last accepted block.
    ///
    /// # Errors
    /// When genesis or configuration are wrong, or the database fails.
    fn initialize(&self, with: Initialize) -> Result<BlockInfo>;

    /// Enters a phase and returns the last accepted block.
    ///
    /// # Errors
    /// When the chain does not run.
    fn set_phase(&self, phase: Phase) -> Result<BlockInfo>;

    /// Ends everything; may be called at any time, and again.
    ///
    /// # Errors
    /// When something could not be made durable.
    fn shutdown(&self) -> Result<()>;

    /// Builds a block on the preferred one. Until it is decided, the same block is returned.
    ///
    /// # Errors
    /// [`HostedError::NothingToBuild`], or a failure.
    fn build_block(&self) -> Result<BlockInfo>;

    /// Reads a block without judging it.
    ///
    /// # Errors
    /// When the bytes are no block of this chain.
    fn parse_block(&self, bytes: &[u8]) -> Result<BlockInfo>;

    /// Returns a block that was accepted, or is verified and undecided.
    ///
    /// # Errors
    /// When the database fails.
    fn block(&self, id: &BlockId) -> Result<Option<BlockInfo>>;

    /// Says on which block to build.
    ///
    /// # Errors
    /// When the block is not known.
    fn set_preference(&self, id: &BlockId) -> Result<()>;

    /// Checks a block by executing it, and keeps it until it is decided.
    ///
    /// # Errors
    /// When the block is not valid.
    fn verify_block(&self, bytes: &[u8]) -> Result<BlockInfo>;

    /// Makes a verified block part of the chain, durably.
    ///
    /// # Errors
    /// When it was not verified, or the database fails.
    fn accept_block(&self, id: &BlockId) -> Result<()>;

    /// Drops a verified block and takes its transactions back.
    ///
    /// # Errors
    /// When the chain does not run.
    fn reject_block(&self, id: &BlockId) -> Result<()>;

    /// Returns the accepted block at a height.
    ///
    /// # Errors
    /// When the database fails.
    fn block_id_at_height(&self, height: u64) -> Result<Option<BlockId>>;

    /// Returns the bytes of a block and those below it, as far as the limits go; nothing for an
    /// unknown id.
    ///
    /// # Errors
    /// When the database fails.
    fn ancestors(&self, id: &BlockId, limits: AncestorLimits) -> Result<Vec<Vec<u8>>>;

    /// Returns how the chain is.
    fn health(&self) -> Health;

    /// Waits until a block can be built; at once when one can. Never ends before `initialize`.
    fn wait_event(&self) -> Pending<Event>;

    /// Answers an HTTP request; any path that ends in a known one is served.
    fn answer(&self, request: Request) -> Pending<Response>;

    /// Takes what another validator's plugin pushed; garbage is dropped.
    fn gossip(&self, bytes: Vec<u8>);
}
