//! Packets, and how requests and cover are made.

use core::fmt;

use session_core::{DecodeError, Entropy, Epoch};

use super::geometry::{Kind, PREFIX, Prefix, REQUEST_HEADER, Size};
use super::layer;
use super::path::Path;
use super::reply::ReplyKeys;
use super::routing::{Command, ReturnId, Service};

/// A packet: a kind, an epoch, and bytes that look like noise. It has the size of its class.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    size: Size,
    prefix: Prefix,
    bytes: Vec<u8>,
}

/// What the exit of a path is to do.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// How long the packet is.
    pub size: Size,
    /// What the exit does with the payload.
    pub service: Service,
    /// How long the answer is.
    pub answer: Size,
    /// At most [`Size::payload_bytes_max`] bytes.
    pub payload: &'a [u8],
}

/// Traffic that is there to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// The last hop drops it.
    Drop,
    /// The last hop is whoever made it, and knows it again.
    Loop {
        /// By what.
        id: ReturnId,
    },
}

/// A content is longer than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the content has {got} bytes, this packet has room for {limit}")]
pub struct TooLong {
    /// Bytes given.
    pub got: usize,
    /// Most that fit.
    pub limit: usize,
}

impl TooLong {
    pub(super) fn check(content: &[u8], limit: usize) -> Result<(), Self> {
        if content.len() > limit { Err(Self { got: content.len(), limit }) } else { Ok(()) }
    }
}

impl Packet {
    /// Makes a request over a path, and what opens its answer.
    ///
    /// # Errors
    /// When the payload does not fit.
    pub fn build(
        rng: &mut dyn Entropy,
        path: &Path,
        order: &Order<'_>,
    ) -> Result<(Self, ReplyKeys), TooLong> {
        TooLong::check(order.payload, order.size.payload_bytes_max(path.hops()))?;
        let errand = Command::Deliver { service: order.service, answer: order.answer };
        let (packet, keys) = Self::request(rng, path, order.size, errand, order.payload);
        Ok((packet, ReplyKeys::of_request(path.epoch(), order.answer, &keys)))
    }

    /// Makes a packet without a meaning; only the last hop can tell it from a request.
    pub fn cover(rng: &mut dyn Entropy, path: &Path, size: Size, cover: Cover) -> Self {
        let errand = match cover {
            Cover::Drop => Command::Drop,
            Cover::Loop { id } => Command::Loop { id },
        };
        Self::request(rng, path, size, errand, &[]).0
    }

    fn request(
        rng: &mut dyn Entropy,
        path: &Path,
        size: Size,
        errand: Command,
        payload: &[u8],
    ) -> (Self, Vec<layer::Keys>) {
        let prefix = Prefix { kind: Kind::Request, epoch: path.epoch() };
        let content = layer::framed(payload);
        let route = (path.steps(), errand);
        let lengths = (size.bytes(), REQUEST_HEADER);
        let (bytes, keys) = layer::wrap(rng, prefix, lengths, route, &content);
        (Self { size, prefix, bytes }, keys)
    }

    /// Joins a prefix and what belongs behind it, which the caller has cut to the size.
    pub(super) fn join(size: Size, prefix: Prefix, parts: &[&[u8]]) -> Self {
        let bytes = [&prefix.bytes()[..], &parts.concat()].concat();
        debug_assert_eq!(bytes.len(), size.bytes());
        Self { size, prefix, bytes }
    }

    /// Moves a request on.
    pub(super) fn moved(&self, onward: Vec<u8>) -> Self {
        Self { bytes: onward, ..*self }
    }

    /// Returns the size of its class.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// Returns what it is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.prefix.kind
    }

    /// Returns the epoch of the keys that it was made for.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.prefix.epoch
    }

    /// Returns all of it, as it goes over a link.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns all of it, given up.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(super) const fn prefix(&self) -> Prefix {
        self.prefix
    }

    /// Returns what lies behind the prefix.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes[PREFIX..]
    }
}

impl TryFrom<Vec<u8>> for Packet {
    type Error = DecodeError;

    /// Takes bytes from a link: one of the sizes, and a prefix that is defined. This depends on no
    /// secret, so it may say what is wrong.
    fn try_from(bytes: Vec<u8>) -> Result<Self, DecodeError> {
        let size = Size::of_bytes(bytes.len())?;
        Ok(Self { size, prefix: Prefix::parse(&bytes)?, bytes })
    }
}

// Where a packet came from and went to is seen by its bytes: they are not for logs.
impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Packet({:?}, {:?})", self.prefix.kind, self.size)
    }
}
