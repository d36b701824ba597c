//! Reply blocks: a way back that whoever uses it does not know.
//!
//! The client makes a header that leads to itself and gives it away with a key. Whoever has both
//! can send one packet along it: hops take layers off the header and lay a key stream over the
//! content, the last one hands it to the client by a [`Handle`]. The header was made before the
//! content, so its codes cannot cover it; the content is sealed under the block's key instead.

use std::collections::VecDeque;

use session_core::{Decode, DecodeError, Encode, Entropy, NodeId, Reader};
use session_crypto::SymmetricKey;
use session_crypto::aead::{self, NotOpened};

use super::geometry::{Kind, PREFIX, Prefix, RETURN_HEADER, Size};
use super::layer::{self, Keys, NONCE};
use super::packet::{Packet, TooLong};
use super::path::{BadPath, Path};
use super::reply::{Layers, seal_padded};
use super::routing::{Command, Handle, ReturnId};

/// Most reply blocks that one request carries: what a bulk request over three hops has room for.
pub const REPLY_BLOCKS_MAX: usize = 7;

/// Where nothing is left of the header when a packet is handed over: behind the id.
const BLANK: usize = PREFIX + 16;

/// A way back for one packet. Who has it can use it, so it travels inside requests only; never
/// printed or copied.
pub struct ReplyBlock {
    first: NodeId,
    key: SymmetricKey,
    header: Vec<u8>,
}

/// What opens the one packet that comes by a reply block. Never printed or copied.
#[derive(Debug)]
pub struct BlockKeys {
    id: ReturnId,
    prefix: Prefix,
    layers: Layers,
}

impl ReplyBlock {
    /// Makes a block for a path whose last hop knows the client by `handle`.
    ///
    /// # Errors
    /// When the path has more than [`RETURN_HOPS_MAX`](super::RETURN_HOPS_MAX) hops.
    pub fn build(
        rng: &mut dyn Entropy,
        path: &Path,
        handle: Handle,
    ) -> Result<(Self, BlockKeys), BadPath> {
        let steps = path.return_steps()?;
        let mut id = ReturnId([0; 16]);
        rng.fill(&mut id.0);
        let sealed = rng.bytes32();
        let prefix = Prefix { kind: Kind::Return, epoch: path.epoch() };
        let errand = Command::Hand { handle, id };
        let lengths = (RETURN_HEADER, RETURN_HEADER);
        let (header, keys) = layer::wrap(rng, prefix, lengths, (steps, errand), &[]);
        let over = keys.iter().map(Keys::back).collect();
        let layers = Layers { over, sealed: SymmetricKey::from(sealed) };
        let block = Self { first: path.first(), key: SymmetricKey::from(sealed), header };
        Ok((block, BlockKeys { id, prefix, layers }))
    }

    /// Makes the one packet that goes by this block, and says which node to give it to.
    ///
    /// # Errors
    /// When the content is longer than [`Size::return_bytes_max`]; there is no second attempt.
    pub fn seal(self, size: Size, content: &[u8]) -> Result<(NodeId, Packet), TooLong> {
        let limit = size.return_bytes_max();
        TooLong::check(content, limit)?;
        let prefix = Prefix::parse(&self.header).expect("checked when the block was made or read");
        let sealed = seal_padded(&self.key, prefix, content, limit);
        Ok((self.first, Packet::join(size, prefix, &[&self.header[PREFIX..], &sealed])))
    }
}

impl Encode for ReplyBlock {
    fn encode(&self, out: &mut Vec<u8>) {
        self.first.encode(out);
        self.key.expose().encode(out);
        out.extend_from_slice(&self.header);
    }
}

impl Decode for ReplyBlock {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let first = NodeId::decode(reader)?;
        let key = SymmetricKey::from(<[u8; 32]>::decode(reader)?);
        let header = reader.take(RETURN_HEADER)?.to_vec();
        if Prefix::parse(&header)?.kind != Kind::Return {
            return Err(DecodeError::Invalid { field: "ReplyBlock", why: "another kind" });
        }
        Ok(Self { first, key, header })
    }
}

impl core::fmt::Debug for ReplyBlock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ReplyBlock")
    }
}

impl BlockKeys {
    /// Returns by what the packet is recognised.
    #[must_use]
    pub const fn id(&self) -> ReturnId {
        self.id
    }

    /// Opens the packet that the last hop handed over.
    ///
    /// # Errors
    /// When it is not what the owner of the block sealed, laid over by each hop once.
    pub fn open(self, packet: &Packet) -> Result<Vec<u8>, NotOpened> {
        if packet.return_id() != Some(self.id) || packet.epoch() != self.prefix.epoch {
            return Err(NotOpened);
        }
        let (header, body) = packet.as_bytes().split_at(RETURN_HEADER);
        if header[BLANK..].iter().any(|byte| *byte != 0) {
            return Err(NotOpened);
        }
        self.layers.open(self.prefix, body)
    }
}

impl Packet {
    /// Returns which reply block this is the end of, if it is one.
    #[must_use]
    pub fn return_id(&self) -> Option<ReturnId> {
        let id = self.rest().first_chunk().filter(|_| self.kind() == Kind::Handed)?;
        Some(ReturnId(*id))
    }

    /// Moves a returning packet on: another header, and a layer over its content.
    pub(super) fn returned(&self, next: Next<'_>, keys: &Keys) -> Self {
        let (_, body) = self.as_bytes().split_at(RETURN_HEADER);
        let mut body = body.to_vec();
        aead::apply_keystream(&keys.back(), &NONCE, 0, &mut body);
        match next {
            Next::Hop { header } => {
                Self::join(self.size(), self.prefix(), &[&header[PREFIX..], &body])
            }
            Next::Client { id } => {
                let prefix = Prefix { kind: Kind::Handed, ..self.prefix() };
                // As long as on the links before.
                let blank = [0; RETURN_HEADER - BLANK];
                Self::join(self.size(), prefix, &[&id.0, &blank, &body])
            }
        }
    }
}

/// Where a returning packet goes.
pub(super) enum Next<'a> {
    Hop { header: &'a [u8] },
    Client { id: ReturnId },
}

/// The reply blocks that came with a request, used one after another.
#[derive(Debug, Default)]
pub struct ReplyBlocks(VecDeque<ReplyBlock>);

/// There is no reply block left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("every reply block is used up")]
pub struct Exhausted;

impl ReplyBlocks {
    /// Takes at most [`REPLY_BLOCKS_MAX`] blocks.
    ///
    /// # Errors
    /// When there are more.
    pub fn new(blocks: Vec<ReplyBlock>) -> Result<Self, session_core::codec::OverLimit> {
        if blocks.len() > REPLY_BLOCKS_MAX {
            return Err(session_core::codec::OverLimit {
                got: blocks.len(),
                limit: REPLY_BLOCKS_MAX,
            });
        }
        Ok(Self(blocks.into()))
    }

    /// Returns how many are left.
    #[must_use]
    pub fn left(&self) -> usize {
        self.0.len()
    }

    /// Takes the next one out.
    ///
    /// # Errors
    /// When none is left: nobody can be answered then.
    pub fn take(&mut self) -> Result<ReplyBlock, Exhausted> {
        self.0.pop_front().ok_or(Exhausted)
    }
}

impl Encode for ReplyBlocks {
    fn encode(&self, out: &mut Vec<u8>) {
        u32::try_from(self.0.len()).expect("at most seven").encode(out);
        for block in &self.0 {
            block.encode(out);
        }
    }
}

impl Decode for ReplyBlocks {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.length("ReplyBlocks", REPLY_BLOCKS_MAX)?;
        (0..count).map(|_| ReplyBlock::decode(reader)).collect::<Result<_, _>>().map(Self)
    }
}
