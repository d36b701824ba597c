//! What can be wrong with a block, a transaction, a database.

use session_core::{BlockId, ChainId, DecodeError, Digest, SessionId, Span, Time, TxId};
use session_protocol::chain::block::BadBlock;
use session_protocol::chain::transaction::BadTransaction;
use session_storage::kv::KvError;

use super::{FUTURE_MAX, NONCE_AHEAD_MAX, UNDECIDED_MAX};
use crate::genesis::BadGenesis;
use crate::ledger::Rejection;
use crate::mempool::Refused;

/// The chain takes nothing any more: a write failed, and whether it happened is not known.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the chain is closed to everything but reads: {why}; start again")]
pub struct Closed {
    /// What failed.
    pub why: KvError,
}

/// Why a database cannot be opened as the chain that was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The genesis contradicts itself.
    #[error("the genesis is not acceptable: {0}")]
    BadGenesis(#[from] BadGenesis),
    /// It was written by another version of this program.
    #[error("the database has format {got}, this program reads {expected}")]
    Format {
        /// Of the database.
        got: u16,
        /// Of this program.
        expected: u16,
    },
    /// It belongs to another chain.
    #[error("the database belongs to chain {got}, not to {chain}")]
    Chain {
        /// Of the database.
        got: ChainId,
        /// The one asked for.
        chain: ChainId,
    },
    /// It was made from another genesis.
    #[error("the database was made from the genesis {got}, not from {genesis}")]
    Genesis {
        /// Hash of the database's.
        got: ChainId,
        /// Hash of the one given.
        genesis: ChainId,
    },
    /// The state is not the one that its last block names.
    #[error(
        "the state has root {got}, the last accepted block at height {height} names {expected}"
    )]
    StateRoot {
        /// Of the entries in the database.
        got: Digest,
        /// Of the block.
        expected: Digest,
        /// Of the block.
        height: u64,
    },
    /// It holds what no chain of ours writes, or something is missing.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// It cannot be read or written.
    #[error(transparent)]
    Database(#[from] KvError),
}

/// Why something accepted cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] KvError),
    /// What it holds is not what was written.
    #[error("the database is damaged: {what}: {why}")]
    Damaged {
        /// What was read.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

impl ReadError {
    pub(super) fn missing(what: &'static str) -> Self {
        Self::Damaged { what, why: "it is missing".into() }
    }

    pub(super) fn malformed(what: &'static str, why: &DecodeError) -> Self {
        Self::Damaged { what, why: why.to_string() }
    }
}

/// Why a transaction is not taken into the mempool. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// It is no transaction of this chain, or not signed.
    #[error(transparent)]
    Bad(#[from] BadTransaction),
    /// It could not be executed now.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// It is too far ahead of the sender's account.
    #[error("nonce {got} is more than {NONCE_AHEAD_MAX} ahead of the account's {account}")]
    NonceAhead {
        /// The transaction's.
        got: u64,
        /// The account's.
        account: u64,
    },
    /// A member of a session's committee did this, and it waits for its block.
    #[error("the {action} of session {session} waits already, as transaction {by}")]
    SessionWaits {
        /// The session.
        session: SessionId,
        /// What is done to it.
        action: &'static str,
        /// The transaction that waits.
        by: TxId,
    },
    /// It is in a block.
    #[error("transaction {id} was accepted at height {height}")]
    Included {
        /// Its id.
        id: TxId,
        /// The height of its block.
        height: u64,
    },
    /// The pool has no room for it, or has it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The database failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The chain is closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a block is not valid. Nothing changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBlock {
    /// It is no block of this chain.
    #[error(transparent)]
    Bad(#[from] BadBlock),
    /// Its parent is neither the last accepted block nor verified and undecided.
    #[error(
        "the parent {parent} is not known, or was decided against; the last accepted is {last}"
    )]
    Parent {
        /// The parent.
        parent: BlockId,
        /// The last accepted block.
        last: BlockId,
    },
    /// It is not one above its parent.
    #[error("height {got} does not follow the parent: {expected} does")]
    Height {
        /// Its height.
        got: u64,
        /// One above its parent.
        expected: u64,
    },
    /// It claims to be older than its parent.
    #[error("time {got} is before the parent's {parent}")]
    Past {
        /// Its time.
        got: Time,
        /// Its parent's.
        parent: Time,
    },
    /// It claims to be of the future.
    #[error("time {got} is {ahead} ahead of {now}, the limit is {FUTURE_MAX}")]
    Future {
        /// Its time.
        got: Time,
        /// By how much.
        ahead: Span,
        /// The time here.
        now: Time,
    },
    /// It changes nothing.
    #[error("the block has no transactions, and no epoch or quarter of one turns in it")]
    Empty,
    /// A transaction cannot be read.
    #[error("transaction {index} is not acceptable: {why}")]
    Unreadable {
        /// Its place.
        index: usize,
        /// What is wrong.
        why: BadTransaction,
    },
    /// A transaction is not signed by whom it names.
    #[error("transaction {index}, {id}, is not acceptable: {why}")]
    Unsigned {
        /// Its place.
        index: usize,
        /// Its id.
        id: TxId,
        /// What is wrong.
        why: BadTransaction,
    },
    /// A transaction cannot be executed after those before it.
    #[error("transaction {index}, {id}, cannot be executed: {why}")]
    Rejected {
        /// Its place.
        index: usize,
        /// Its id.
        id: TxId,
        /// Why.
        why: Rejection,
    },
    /// The state after it is another one.
    #[error("the block names state root {got}, its transactions lead to {computed}")]
    StateRoot {
        /// Of the block.
        got: Digest,
        /// Of its execution.
        computed: Digest,
    },
    /// Too many blocks wait for a decision; the driver may ask again after one.
    #[error("{UNDECIDED_MAX} verified blocks are undecided, that is the limit")]
    TooManyUndecided,
    /// The database failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The chain is closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why there is no block to build.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No transaction can be executed and no epoch turns: a normal answer.
    #[error("no transaction waits that can be executed, and no epoch turns")]
    NothingToBuild,
    /// The block was not valid by our own rules; the first field is why.
    #[error("the built block is not valid: {0}")]
    Invalid(InvalidBlock),
    /// The chain is closed.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Why a block was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// It is the last accepted block already.
    #[error("block {id} was accepted before")]
    Already {
        /// The block.
        id: BlockId,
    },
    /// It was never verified, or given up after another decision.
    #[error("block {id} is not verified and undecided")]
    NotVerified {
        /// The block.
        id: BlockId,
    },
    /// Its parent comes first.
    #[error("the parent {parent} of block {id} is not accepted yet, the last accepted is {last}")]
    NotNext {
        /// The block.
        id: BlockId,
        /// Its parent.
        parent: BlockId,
        /// The last accepted block.
        last: BlockId,
    },
    /// The shell's entries must have keys of their own.
    #[error("an extra entry has a key that does not begin with `x`")]
    ExtraKey,
    /// The write failed; the chain is closed now.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// A block to build on that is neither the last accepted one nor verified and undecided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("block {id} is not the last accepted one, nor verified and undecided")]
pub struct UnknownBlock {
    /// The block.
    pub id: BlockId,
}
