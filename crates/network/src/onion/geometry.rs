//! How many bytes everything of a packet takes, and what is left for a payload.
//!
//! Everything is the same at each hop: a layer that is taken off in front is made up for behind.

use session_core::{DecodeError, Encode, Epoch, Reader};
use session_crypto::XWingCiphertext;
use session_crypto::aead::TAG_SIZE;
use session_protocol::onion::{PACKET_BYTES, VERSION};

/// Most hops of a request. Three are usual; more than five leave little room for a payload.
pub const HOPS_MAX: usize = 5;

/// Most hops of a reply block, whose size does not tell how many they are.
pub const RETURN_HOPS_MAX: usize = 3;

/// Version, kind and epoch, in clear.
pub(super) const PREFIX: usize = 10;

/// What a hop is told.
pub(super) const ROUTING: usize = 64;

/// What one hop takes of a packet: an encapsulated secret, a code over all the rest, routing.
pub const LAYER_BYTES: usize = XWingCiphertext::SIZE + TAG_SIZE + ROUTING;

/// A length before whatever is padded.
pub(super) const LENGTH: usize = 4;

/// The header of a request of either size: room for six layers at most, whoever builds it.
pub(super) const REQUEST_HEADER: usize = Size::Small.bytes();

/// The header of a packet that travels by a reply block.
pub(super) const RETURN_HEADER: usize = PREFIX + RETURN_HOPS_MAX * LAYER_BYTES;

/// Bytes of a reply block: its first hop, its key, the header.
pub const REPLY_BLOCK_BYTES: usize = 32 + 32 + RETURN_HEADER;

/// How long packets are. There is nothing between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// Operations, and whatever else fits.
    Small,
    /// Pages of items, and replies with the receipts of a swarm.
    Bulk,
    /// The longest item there is, on its way out or back.
    Large,
}

impl Size {
    /// Every size, the smallest first.
    pub const ALL: [Self; 3] = [Self::Small, Self::Bulk, Self::Large];

    /// Returns how many bytes a packet has, on every link.
    #[must_use]
    pub const fn bytes(self) -> usize {
        let [small, bulk, large] = PACKET_BYTES;
        match self {
            Self::Small => small,
            Self::Bulk => bulk,
            Self::Large => large,
        }
    }

    /// Returns the longest payload of a request over so many hops; 0 for an impossible number.
    #[must_use]
    pub const fn payload_bytes_max(self, hops: usize) -> usize {
        if hops == 0 || hops > HOPS_MAX {
            return 0;
        }
        self.bytes() - PREFIX - hops * LAYER_BYTES - LENGTH
    }

    /// Returns the longest answer over the path that a request came by.
    #[must_use]
    pub const fn answer_bytes_max(self) -> usize {
        self.bytes() - PREFIX - TAG_SIZE - LENGTH
    }

    /// Returns the longest answer by a reply block.
    #[must_use]
    pub const fn return_bytes_max(self) -> usize {
        self.bytes() - RETURN_HEADER - TAG_SIZE - LENGTH
    }

    pub(super) const fn code(self) -> u8 {
        match self {
            Self::Small => 1,
            Self::Bulk => 2,
            Self::Large => 3,
        }
    }

    pub(super) fn of_code(code: u8) -> Result<Self, DecodeError> {
        Self::ALL
            .into_iter()
            .find(|size| size.code() == code)
            .ok_or(DecodeError::UnknownTag { field: "onion::Size", got: code.into() })
    }

    pub(super) fn of_bytes(bytes: usize) -> Result<Self, DecodeError> {
        Self::ALL
            .into_iter()
            .find(|size| size.bytes() == bytes)
            .ok_or(DecodeError::Invalid { field: "onion::Packet", why: "no size of packets" })
    }
}

/// What a packet is, as far as a hop has to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// On its way from whoever made it, its payload included.
    Request,
    /// On its way back by a reply block: the header was made before the content.
    Return,
    /// On its way back over the links that the request came by.
    Answer,
    /// A [`Kind::Return`] at the end of its way, for the client.
    Handed,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Request, Self::Return, Self::Answer, Self::Handed];

    const fn code(self) -> u8 {
        match self {
            Self::Request => 1,
            Self::Return => 2,
            Self::Answer => 3,
            Self::Handed => 4,
        }
    }
}

/// What every packet starts with. The epoch is that of all hop keys of the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefix {
    pub(super) kind: Kind,
    pub(super) epoch: Epoch,
}

impl Prefix {
    pub(super) fn bytes(self) -> [u8; PREFIX] {
        let mut out = [VERSION; PREFIX];
        out[1] = self.kind.code();
        out[2..].copy_from_slice(&self.epoch.0.to_be_bytes());
        out
    }

    pub(super) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let [version, kind] = reader.array()?;
        if version != VERSION {
            return Err(DecodeError::UnknownTag { field: "onion version", got: version.into() });
        }
        let kind = Kind::ALL
            .into_iter()
            .find(|known| known.code() == kind)
            .ok_or(DecodeError::UnknownTag { field: "onion::Kind", got: kind.into() })?;
        Ok(Self { kind, epoch: Epoch(u64::from_be_bytes(reader.array()?)) })
    }
}

impl Encode for Prefix {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.bytes());
    }
}
