//! Why connections end, why dials and sends fail.

use std::net::SocketAddr;
use std::time::Duration;

use quinn::{ConnectionError, VarInt};

use super::{Class, ConnId, FRAME_BYTES_MAX};

/// The most of a peer's close reason that is kept; it may end up in a log.
const PEER_REASON_CHARS_MAX: usize = 200;

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer ended both of its streams.
    #[error("finished")]
    Finished,
    /// Our application asked for it.
    #[error("{0}")]
    Asked(String),
    /// Our endpoint stops.
    #[error("shutting down")]
    ShuttingDown,
    /// The peer announced a frame above the limit.
    #[error("frame too large: {size}, limit {FRAME_BYTES_MAX}")]
    FrameTooLarge {
        /// The announced size.
        size: u32,
    },
    /// The peer opened a stream with a byte that names no class, or a class twice.
    #[error("stream header {0} is unknown or repeated")]
    StreamHeader(u8),
    /// A stream was reset, or ended inside a frame.
    #[error("stream broken inside a frame")]
    StreamBroken,
    /// The peer connected and then sent no whole frame.
    #[error("no whole frame within {within:?}")]
    NoFirstFrame {
        /// How long it had.
        within: Duration,
    },
    /// The peer began a frame and did not end it.
    #[error("frame incomplete after {within:?}")]
    FrameStalled {
        /// How long it had.
        within: Duration,
    },
    /// The peer reads more slowly than we must send.
    #[error("{class:?} queue full: {waiting} bytes wait")]
    QueueFull {
        /// The stream.
        class: Class,
        /// What waited for it.
        waiting: usize,
    },
    /// The peer closed the connection.
    #[error("closed by peer ({code}): {reason}")]
    ByPeer {
        /// The peer's code.
        code: u64,
        /// The peer's words, cut and made printable.
        reason: String,
    },
    /// Nothing arrived for the idle timeout.
    #[error("idle timeout")]
    IdleTimeout,
    /// The peer does not know the connection any more; it has probably restarted.
    #[error("reset by peer")]
    Reset,
    /// QUIC itself failed.
    #[error("transport: {0}")]
    Transport(String),
}

impl CloseReason {
    /// Returns the application error code that tells the peer; see `docs/wire/transport.md`.
    #[must_use]
    pub fn code(&self) -> u32 {
        match self {
            Self::Asked(_) => 1,
            Self::ShuttingDown => 2,
            Self::FrameTooLarge { .. } => 3,
            Self::StreamHeader(_) => 4,
            Self::StreamBroken => 5,
            Self::NoFirstFrame { .. } => 6,
            Self::FrameStalled { .. } => 7,
            Self::QueueFull { .. } => 8,
            Self::Finished
            | Self::ByPeer { .. }
            | Self::IdleTimeout
            | Self::Reset
            | Self::Transport(_) => 0,
        }
    }

    pub(super) fn var_code(&self) -> VarInt {
        VarInt::from_u32(self.code())
    }
}

impl From<ConnectionError> for CloseReason {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => {
                Self::ByPeer { code: close.error_code.into_inner(), reason: clean(&close.reason) }
            }
            ConnectionError::TimedOut => Self::IdleTimeout,
            ConnectionError::Reset => Self::Reset,
            ConnectionError::LocallyClosed => Self::ShuttingDown,
            other => Self::Transport(clean(other.to_string().as_bytes())),
        }
    }
}

/// Why a dial failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// The peer holds another key than the expected one.
    #[error("the peer's key is not the expected one")]
    WrongKey,
    /// Nothing answered in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The peer has no place for us.
    #[error("refused by peer")]
    Refused,
    /// The handshake failed.
    #[error("handshake: {0}")]
    Handshake(String),
    /// The address cannot be dialed from this socket.
    #[error("cannot dial {0}")]
    Address(SocketAddr),
    /// Too many outbound connections and dials.
    #[error("too many outbound connections, limit {limit}")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The endpoint has stopped.
    #[error("the endpoint has stopped")]
    Stopped,
}

impl From<ConnectionError> for DialError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ConnectionClosed(close)
                if close.error_code == quinn::TransportErrorCode::CONNECTION_REFUSED =>
            {
                Self::Refused
            }
            ConnectionError::LocallyClosed => Self::Stopped,
            other => Self::Handshake(clean(other.to_string().as_bytes())),
        }
    }
}

/// Why a frame was not sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// There is no such connection, or not any more.
    #[error("{0} is not connected")]
    NotConnected(ConnId),
    /// The frame is above the limit of its class.
    #[error("frame too large: {size}, limit {limit}")]
    TooLarge {
        /// The size of the frame.
        size: usize,
        /// The limit; for datagrams, what fits one packet of the path.
        limit: usize,
    },
    /// The peer reads too slowly; the connection is being closed.
    #[error("{class:?} queue full: {waiting} bytes wait")]
    QueueFull {
        /// The stream.
        class: Class,
        /// What waits for it.
        waiting: usize,
    },
}

/// Makes a peer's words fit for a log: printable and short.
fn clean(text: &[u8]) -> String {
    let head = &text[..text.len().min(4 * PEER_REASON_CHARS_MAX)];
    let text = String::from_utf8_lossy(head);
    let printable = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    printable.take(PEER_REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
