//! Frames: version, kind, payload.
//!
//! On a stream each body follows its length as a `u32`; datagrams carry bodies alone. The sender
//! is whoever the connection belongs to: a frame has no sender field to lie in.

use session_core::{Decode, DecodeError, Encode, Reader};

use crate::limits::{FRAME_BYTES_MAX, PROTOCOL_VERSION};

macro_rules! kinds {
    ($($(#[$meta:meta])* $code:literal => $name:ident,)*) => {
        /// What a frame carries. Codes 0–11 are those of seed 000.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Kind { $($(#[$meta])* $name = $code,)* }

        impl Kind {
            /// Every kind, in the order of the codes.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns the kind of a code, or `None` for a code nobody defined.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$name),)* _ => None }
            }

            /// Returns the byte on the wire.
            #[must_use]
            pub const fn code(self) -> u8 {
                self as u8
            }
        }
    };
}

kinds! {
    /// Never sent.
    0 => Unknown,
    /// Opens a connection and proves both keys.
    1 => Handshake,
    /// Creates a workload session.
    2 => SessionCreate,
    /// Starts a workload session.
    3 => SessionStart,
    /// Asks for external input or output.
    4 => OracleRequest,
    /// One member's observation.
    5 => OracleRecord,
    /// The observations agreed on.
    6 => OracleCommit,
    /// A committee member's vote.
    7 => Attestation,
    /// Signed storage receipts, in answer to a replication.
    8 => Receipt,
    /// A node is alive, and how it feels.
    9 => Heartbeat,
    /// Measures latency.
    10 => Ping,
    /// Answers a ping.
    11 => Pong,
    /// A client's batch of operations.
    16 => Request,
    /// The answer to a batch.
    17 => Reply,
    /// An item for a subscriber.
    18 => Push,
    /// Items for the other members of a swarm.
    19 => Replicate,
    /// Owner operations for the other members of a swarm.
    20 => Operations,
    /// One step of a reconciliation.
    21 => Sync,
    /// One message about the duties of an epoch.
    22 => Duty,
    /// One message about a workload session.
    23 => Session,
    /// Hop keys of nodes, for other nodes.
    24 => HopKeys,
    /// An onion packet.
    25 => Onion,
}

/// One message of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: Kind,
    /// The encoded message.
    pub payload: Vec<u8>,
}

/// Why a frame is refused before its payload is looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadFrame {
    /// Over the limit.
    #[error("message too large: {got} bytes, the limit is {FRAME_BYTES_MAX}")]
    TooLarge {
        /// Bytes of the body.
        got: usize,
    },
    /// Another protocol version.
    #[error("protocol version {got}, this node speaks {PROTOCOL_VERSION}")]
    Version {
        /// The version on the wire.
        got: u8,
    },
    /// A code nobody defined.
    #[error("message type {got} is not known")]
    Kind {
        /// The code on the wire.
        got: u8,
    },
    /// A payload that is not what the kind says.
    #[error("{kind:?}: {source}")]
    Payload {
        /// The kind of the frame.
        kind: Kind,
        /// What was wrong.
        source: DecodeError,
    },
}

impl Frame {
    /// Encodes a message under its kind.
    #[must_use]
    pub fn encode(kind: Kind, message: &impl Encode) -> Vec<u8> {
        let mut out = vec![PROTOCOL_VERSION, kind.code()];
        message.encode(&mut out);
        debug_assert!(out.len() <= FRAME_BYTES_MAX, "{kind:?} frame of {} bytes", out.len());
        out
    }

    /// Splits a body into kind and payload.
    ///
    /// # Errors
    /// When the body is too large, too short, of another version, or of an unknown kind.
    pub fn split(body: &[u8]) -> Result<(Kind, &[u8]), BadFrame> {
        if body.len() > FRAME_BYTES_MAX {
            return Err(BadFrame::TooLarge { got: body.len() });
        }
        let &[version, code, ref payload @ ..] = body else {
            let source = DecodeError::TooShort { needed: 2, left: body.len() };
            return Err(BadFrame::Payload { kind: Kind::Unknown, source });
        };
        if version != PROTOCOL_VERSION {
            return Err(BadFrame::Version { got: version });
        }
        match Kind::from_code(code) {
            None | Some(Kind::Unknown) => Err(BadFrame::Kind { got: code }),
            Some(kind) => Ok((kind, payload)),
        }
    }

    /// Decodes a payload that must be exactly one message.
    ///
    /// # Errors
    /// When it is not.
    pub fn payload<T: Decode>(kind: Kind, payload: &[u8]) -> Result<T, BadFrame> {
        let mut reader = Reader::new(payload);
        T::decode(&mut reader)
            .and_then(|message| reader.finish().map(|()| message))
            .map_err(|source| BadFrame::Payload { kind, source })
    }
}
