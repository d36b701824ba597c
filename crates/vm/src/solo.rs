//! A chain without a host: one sequencer decides and seals, everybody else checks and follows.
//!
//! *Provided:* a follower executes every block itself, takes only what the sequencer of the
//! genesis sealed, and stops at the first block that contradicts one it has: both seals together
//! are evidence that anybody can check. *Not provided:* progress without the sequencer; that is
//! what hosts with consensus are for.

use session_core::{Blob, BlockId, ChainId, Decode, Encode, Entropy, record};
use session_crypto::{DsaPublicKey, Signature, Signer, Verifier};
use session_protocol::chain::block::{BadBlock, Sealed, block_id};
use session_protocol::chain::{Block, SealedBlock};
use session_storage::kv::{Batch, Database};

use crate::chain::layout::EXTRA_PREFIX;
use crate::chain::{AcceptError, BlockInfo, Chain, InvalidBlock, ReadError};
use crate::query;

/// Below [`EXTRA_PREFIX`]: the seal of the block at a height.
const SEAL: u8 = b's';

/// What became of a sealed block.
#[derive(Debug)]
pub enum Taken {
    /// It is in the chain already.
    Known,
    /// It is verified, and to be accepted together with `extra`.
    Verified {
        /// The block.
        id: BlockId,
        /// Its seal, for [`Chain::accept`].
        extra: Batch,
    },
}

/// Why a sealed block is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The genesis names nobody whose seals count.
    #[error("the genesis names no sequencer")]
    NoSequencer,
    /// It is no block of this chain.
    #[error(transparent)]
    Bad(#[from] BadBlock),
    /// The sequencer did not seal it.
    #[error("the seal of block {height} is not the sequencer's")]
    Seal {
        /// The height it claims.
        height: u64,
    },
    /// The sequencer sealed two blocks for one height.
    #[error("FORK at height {height}: the sequencer sealed {theirs} and {ours}")]
    Fork {
        /// The height.
        height: u64,
        /// The block that this chain has there.
        ours: BlockId,
        /// The other one.
        theirs: BlockId,
    },
    /// Blocks before it are missing.
    #[error("block {got} came, {expected} is next")]
    Gap {
        /// Its height.
        got: u64,
        /// The height that is next.
        expected: u64,
    },
    /// The sequencer sealed what cannot follow.
    #[error("block {height} was sealed and is not valid: {why}")]
    Invalid {
        /// Its height.
        height: u64,
        /// What is wrong.
        why: Box<InvalidBlock>,
    },
    /// The own database failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The own database failed, or the block was not verified.
    #[error(transparent)]
    Accept(#[from] AcceptError),
}

impl Refusal {
    /// Returns whether asking again cannot help: the sequencer contradicts itself or the rules, or
    /// the own disk failed.
    #[must_use]
    pub fn is_final(&self) -> bool {
        match self {
            // A clock that is behind catches up; a connection may bring other bytes next time.
            Self::Invalid { why, .. } => {
                !matches!(**why, InvalidBlock::Future { .. } | InvalidBlock::TooManyUndecided)
            }
            Self::NoSequencer | Self::Fork { .. } => true,
            Self::Bad(_) | Self::Seal { .. } | Self::Gap { .. } => false,
            Self::Read(_) | Self::Accept(_) => true,
        }
    }

    /// Returns whether it is this node's own fault.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        match self {
            Self::Read(_) | Self::Accept(_) => true,
            Self::Invalid { why, .. } => {
                matches!(**why, InvalidBlock::Read(_) | InvalidBlock::Closed(_))
            }
            _ => false,
        }
    }
}

record! {
    /// Two sealed blocks that cannot both be of one chain.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ForkEvidence {
        /// The one that was accepted first.
        pub ours: SealedBlock,
        /// The one that contradicts it.
        pub theirs: SealedBlock,
    }
}

/// Why two blocks are no evidence of a fork.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoFork {
    /// One is no block of the chain.
    #[error(transparent)]
    Bad(#[from] BadBlock),
    /// One was not sealed by the sequencer.
    #[error("the seal of block {height} is not the sequencer's")]
    Seal {
        /// The height it claims.
        height: u64,
    },
    /// A chain can have both.
    #[error("blocks {ours} and {theirs} do not contradict each other")]
    Compatible {
        /// The height of the first.
        ours: u64,
        /// The height of the second.
        theirs: u64,
    },
}

impl ForkEvidence {
    /// Checks that `sequencer` sealed both blocks and that they contradict each other: two of one
    /// height, or one that names another parent than the one below it. Returns the height.
    ///
    /// # Errors
    /// When it proves nothing.
    pub fn check(
        &self,
        chain: &ChainId,
        sequencer: &DsaPublicKey,
        verifier: &dyn Verifier,
    ) -> Result<u64, NoFork> {
        let opened = |sealed: &SealedBlock| {
            let block = Block::parse(&sealed.block, chain)?;
            let (id, height) = (block_id(&sealed.block), block.height);
            Sealed { chain: *chain, height, block: id }
                .verify(sequencer, &sealed.seal, verifier)
                .map_err(|_| NoFork::Seal { height })?;
            Ok::<_, NoFork>((id, block))
        };
        let ((our_id, ours), (their_id, theirs)) = (opened(&self.ours)?, opened(&self.theirs)?);
        let contradict = (ours.height == theirs.height && our_id != their_id)
            || (ours.height + 1 == theirs.height && theirs.parent != our_id);
        if contradict {
            Ok(ours.height)
        } else {
            Err(NoFork::Compatible { ours: ours.height, theirs: theirs.height })
        }
    }
}

/// Signs a block as its sequencer.
pub fn seal(
    chain: &ChainId,
    block: &BlockInfo,
    sequencer: &dyn Signer,
    rng: &mut dyn Entropy,
) -> Signature {
    Sealed { chain: *chain, height: block.height, block: block.id }.sign(sequencer, rng)
}

/// Returns what is written beside a sealed block.
#[must_use]
pub fn seal_entry(height: u64, seal: &Signature) -> Batch {
    let mut batch = Batch::new();
    batch.put(seal_key(height), seal.to_bytes());
    batch
}

fn seal_key(height: u64) -> Vec<u8> {
    let mut key = EXTRA_PREFIX.to_vec();
    key.push(SEAL);
    key.extend_from_slice(&height.to_be_bytes());
    key
}

/// Returns the sealed block at a height; nothing where there is none, genesis included.
///
/// # Errors
/// When the database fails.
pub fn sealed_at<D: Database>(
    chain: &Chain<D>,
    height: u64,
) -> Result<Option<SealedBlock>, ReadError> {
    let Some(seal) = seal_at(chain, height)? else { return Ok(None) };
    let Some(id) = chain.id_at_height(height)? else { return Ok(None) };
    let Some(block) = chain.block(&id)? else { return Ok(None) };
    let block = Blob::new(block.bytes.to_vec()).expect("an accepted block is within its limit");
    Ok(Some(SealedBlock { block, seal }))
}

/// Returns the seal of the block at a height.
///
/// # Errors
/// When the database fails.
pub fn seal_at<D: Database>(chain: &Chain<D>, height: u64) -> Result<Option<Signature>, ReadError> {
    let Some(bytes) = chain.extra(&seal_key(height))? else { return Ok(None) };
    let damaged = |error: session_core::DecodeError| ReadError::Damaged {
        what: "a seal",
        why: error.to_string(),
    };
    Signature::decode_exact(&bytes).map(Some).map_err(damaged)
}

/// Checks a sealed block, and executes it if it is the next one.
///
/// # Errors
/// When it is not the sequencer's, not the next, not valid, or contradicts what is accepted.
pub fn verify_sealed<D: Database>(
    chain: &mut Chain<D>,
    sealed: &SealedBlock,
    now: session_core::Time,
    verifier: &dyn Verifier,
) -> Result<Taken, Refusal> {
    let sequencer = query::sequencer(chain.state()).ok_or(Refusal::NoSequencer)?;
    let block = Block::parse(&sealed.block, chain.id())?;
    let id = block_id(&sealed.block);
    let height = block.height;
    Sealed { chain: *chain.id(), height, block: id }
        .verify(sequencer.dsa(), &sealed.seal, verifier)
        .map_err(|_| Refusal::Seal { height })?;
    let last = chain.last_accepted().height;
    if height <= last {
        return match chain.id_at_height(height)? {
            Some(ours) if ours == id => Ok(Taken::Known),
            Some(ours) => Err(Refusal::Fork { height, ours, theirs: id }),
            None => {
                Err(ReadError::Damaged { what: "a height", why: "it is missing".into() }.into())
            }
        };
    }
    if height != last + 1 {
        return Err(Refusal::Gap { got: height, expected: last + 1 });
    }
    let ours = chain.last_accepted().id;
    if block.parent != ours {
        // Whoever seals a block seals what is below it.
        return Err(Refusal::Fork { height: last, ours, theirs: block.parent });
    }
    chain
        .verify(&sealed.block, now)
        .map_err(|why| Refusal::Invalid { height, why: Box::new(why) })?;
    Ok(Taken::Verified { id, extra: seal_entry(height, &sealed.seal) })
}
