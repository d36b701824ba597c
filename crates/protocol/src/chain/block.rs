//! Blocks, their ids, and the seals that a sequencer puts on them.
//!
//! Nobody signs a block itself: inside a host, the host's consensus decides; alone, a sequencer
//! seals the blocks that it decided.

use session_core::{
    Blob, BlockId, ChainId, Decode, DecodeError, Digest, Domain, Encode, Entropy, List, Time,
    digest, record,
};
use session_crypto::{BadSignature, DsaPublicKey, Signature, Signer, Verifier};

use super::transaction::TRANSACTION_BYTES_MAX;

/// The longest block; hosts carry frames of 16 MiB and keep several blocks in one.
pub const BLOCK_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Most transactions of a block: one cannot be shorter than its signature of 3,309 bytes.
pub const TRANSACTIONS_MAX: usize = BLOCK_BYTES_MAX / 3_309;
/// The version of every block.
pub const BLOCK_VERSION: u8 = 1;
/// Bytes of a block without transactions.
pub const BLOCK_HEAD_BYTES: usize = 1 + 32 + 32 + 8 + 8 + 32 + 4;

record! {
    /// What the chain agrees on, step by step.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Block {
        /// [`BLOCK_VERSION`].
        pub version: u8,
        /// The chain.
        pub chain: ChainId,
        /// The block below.
        pub parent: BlockId,
        /// How many blocks are below; genesis has 0.
        pub height: u64,
        /// When it was built: milliseconds since the Unix epoch.
        pub time: Time,
        /// Root of the state after it.
        pub state_root: Digest,
        /// Signed transactions, in the order of their execution.
        pub transactions: List<Blob<TRANSACTION_BYTES_MAX>, TRANSACTIONS_MAX>,
    }

    /// A block that a sequencer decided.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SealedBlock {
        /// The block's bytes.
        pub block: Blob<BLOCK_BYTES_MAX>,
        /// The sequencer's signature over chain, height and id.
        pub seal: Signature,
    }

    /// What a sequencer signs: two of them for one height are evidence against it.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Sealed {
        /// The chain.
        pub chain: ChainId,
        /// The height.
        pub height: u64,
        /// The one block that the sequencer decided for it.
        pub block: BlockId,
    }
}

/// Why bytes are not a block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadBlock {
    /// They are too many.
    #[error("a block of {got} bytes is too large, the limit is {BLOCK_BYTES_MAX}")]
    TooLarge {
        /// How many.
        got: usize,
    },
    /// They are something else.
    #[error("the block is malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// A version that nobody defined.
    #[error("block version {got} is not known, this is {BLOCK_VERSION}")]
    Version {
        /// Its version.
        got: u8,
    },
    /// It is of another chain.
    #[error("the block is of chain {got}, this is {chain}")]
    Chain {
        /// Its chain.
        got: ChainId,
        /// This chain.
        chain: ChainId,
    },
}

/// Returns the id of a block from its bytes.
#[must_use]
pub fn block_id(bytes: &[u8]) -> BlockId {
    BlockId::from(*digest(Domain::Block, &[bytes]).as_bytes())
}

impl Block {
    /// Parses a block of `chain`.
    ///
    /// # Errors
    /// When the bytes are too many, no block, or of another version or chain.
    pub fn parse(bytes: &[u8], chain: &ChainId) -> Result<Self, BadBlock> {
        if bytes.len() > BLOCK_BYTES_MAX {
            return Err(BadBlock::TooLarge { got: bytes.len() });
        }
        if let Some(&got) = bytes.first().filter(|&&version| version != BLOCK_VERSION) {
            return Err(BadBlock::Version { got });
        }
        let block = Self::decode_exact(bytes)?;
        if block.chain != *chain {
            return Err(BadBlock::Chain { got: block.chain, chain: *chain });
        }
        Ok(block)
    }

    /// Returns the id.
    #[must_use]
    pub fn id(&self) -> BlockId {
        block_id(&self.to_bytes())
    }
}

impl Sealed {
    /// Signs it.
    pub fn sign(&self, sequencer: &dyn Signer, rng: &mut dyn Entropy) -> Signature {
        sequencer.sign(Domain::BlockSeal, &self.to_bytes(), rng)
    }

    /// Checks that the sequencer signed it.
    ///
    /// # Errors
    /// When it did not.
    pub fn verify(
        &self,
        sequencer: &DsaPublicKey,
        seal: &Signature,
        verifier: &dyn Verifier,
    ) -> Result<(), BadSignature> {
        verifier.verify(sequencer, Domain::BlockSeal, &self.to_bytes(), seal)
    }
}
