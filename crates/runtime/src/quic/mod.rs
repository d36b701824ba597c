//! The QUIC endpoint: authenticated connections that carry opaque frames in three classes.
//!
//! *Provided*: TLS 1.3 with raw ML-DSA-65 keys and X25519MLKEM768 (see [`TlsSigner`]), a channel
//! binding, frames of at most [`FRAME_BYTES_MAX`] in order within a class, best-effort datagrams,
//! bounded memory towards fast writers and slow readers, limits per address.
//! *Not provided*: delivery across connections, a check that a peer may be here, padding, anonymity.
//!
//! Bounds, and what happens when they are reached:
//!
//! | what | bound | then |
//! |---|---|---|
//! | frame | [`FRAME_BYTES_MAX`] | the connection is closed with that reason |
//! | frames waiting for the peer | [`INTERACTIVE_BYTES_MAX`], [`BULK_BYTES_MAX`], [`QUEUE_FRAMES_MAX`] | the connection is closed |
//! | those of them that may be lost | half of that | they are dropped |
//! | all frames waiting for peers | [`Options::queued_bytes_max`] | only [`TIGHT_BYTES`] per connection |
//! | datagrams waiting for the peer | [`DATAGRAM_BYTES_MAX`] | the oldest is dropped |
//! | events and bytes waiting for us | [`Options::events_max`], [`Options::received_bytes_max`] | sockets are not read; datagrams are dropped |
//! | connections | [`Options::inbound_max`], [`Options::inbound_per_ip_max`], [`Options::outbound_max`] | refused |
//!
//! The wire format is in `docs/wire/transport.md`.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

mod connection;
mod endpoint;
mod frame;
mod identity;
mod options;
mod queue;
mod reason;
mod slots;
mod tls;

pub use connection::DATAGRAM_BYTES_MAX;
pub use options::{FRAME_BYTES_MAX, Options};
pub use queue::{BULK_BYTES_MAX, INTERACTIVE_BYTES_MAX, QUEUE_FRAMES_MAX, TIGHT_BYTES};
pub use reason::{CloseReason, DialError, SendError};
pub use tls::{ALPN, EXPORTER_LABEL, PUBLIC_KEY_BYTES, PeerKey, TlsError, TlsSigner};

use crate::bind::BindError;
use connection::Conn;
use endpoint::{Owner, Sent, Shared};

/// A connection of one endpoint; numbers are never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

impl From<ConnId> for u64 {
    fn from(conn: ConnId) -> Self {
        conn.0
    }
}

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {}", self.0)
    }
}

/// How a frame travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// In order on a stream of its own, ahead of bulk.
    Interactive,
    /// In order on a stream of its own.
    Bulk,
    /// In one packet, without order, perhaps never.
    Datagram,
}

/// What happened on an endpoint. For one connection: `Connected`, then frames, then `Disconnected`.
#[derive(Debug)]
pub enum Event<P> {
    /// A connection stands.
    Connected {
        /// Its name from now on.
        conn: ConnId,
        /// Whether the peer dialed.
        inbound: bool,
        /// Where the peer is.
        remote: SocketAddr,
        /// The key that the peer holds; `None` for a client that showed none.
        peer_key: Option<PeerKey>,
        /// The channel binding: equal on both sides, and on no other connection.
        exporter: [u8; 32],
        /// The dial that this answers.
        dial: Option<u64>,
    },
    /// A frame arrived.
    Frame {
        /// Where from.
        conn: ConnId,
        /// How it travelled.
        class: Class,
        /// The length of its body.
        size: usize,
        /// What `decode` made of it.
        payload: P,
    },
    /// A connection ended; its name is free of meaning from now on.
    Disconnected {
        /// Which.
        conn: ConnId,
        /// Why.
        why: CloseReason,
    },
    /// A dial came to nothing.
    DialFailed {
        /// The number given to [`Quic::dial`].
        dial: u64,
        /// Why.
        why: DialError,
    },
}

/// Turns the body of a frame into what the application wants to see.
///
/// It runs on the connection's task, so that the expensive part (parsing, signatures) of many
/// connections runs in parallel. It must not block.
pub type Decode<P> = Arc<dyn Fn(ConnId, Class, Vec<u8>) -> P + Send + Sync>;

/// The events of an endpoint.
pub struct Events<P> {
    inner: mpsc::Receiver<Sent<P>>,
}

impl<P> Events<P> {
    /// Waits for the next event; `None` once the endpoint has stopped.
    ///
    /// Dropping the future loses nothing.
    pub async fn recv(&mut self) -> Option<Event<P>> {
        self.inner.recv().await.map(|(event, _held_until_here)| event)
    }

    /// Returns the next event if one waits.
    pub fn try_recv(&mut self) -> Option<Event<P>> {
        self.inner.try_recv().ok().map(|(event, _held_until_here)| event)
    }
}

/// Counters of an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Inbound connections and handshakes now.
    pub inbound: usize,
    /// Outbound connections and dials now.
    pub outbound: usize,
    /// Bytes of frames that wait to be sent now.
    pub queued_bytes: usize,
    /// Frames received, datagrams included.
    pub frames_in: u64,
    /// Bytes of bodies received.
    pub bytes_in: u64,
    /// Frames taken for sending, datagrams included.
    pub frames_out: u64,
    /// Bytes of bodies taken for sending.
    pub bytes_out: u64,
    /// Datagrams dropped because the application did not keep up.
    pub datagrams_dropped: u64,
    /// Inbound connections refused for lack of a place.
    pub refused: u64,
    /// Inbound handshakes that failed.
    pub handshakes_failed: u64,
}

/// A cheap handle on an endpoint; when the last one is dropped, the endpoint closes at once.
pub struct Quic<P: Send + 'static> {
    owner: Arc<Owner<P>>,
}

impl<P: Send + 'static> Clone for Quic<P> {
    fn clone(&self) -> Self {
        Self { owner: self.owner.clone() }
    }
}

impl<P: Send + 'static> Quic<P> {
    /// Opens the socket and starts accepting. Without a signer the endpoint only dials, without a
    /// key. Must be called inside a tokio runtime, which then runs the endpoint.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub fn bind(
        options: Options,
        signer: Option<Arc<dyn TlsSigner>>,
        decode: Decode<P>,
    ) -> Result<(Self, Events<P>), BindError> {
        let (shared, inner) = endpoint::bind(options, signer, decode)?;
        Ok((Self { owner: Arc::new(Owner(shared)) }, Events { inner }))
    }

    /// Returns the bound address.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.shared().local
    }

    /// Begins to connect; `Connected` or `DialFailed` with the number `dial` follows.
    ///
    /// # Errors
    /// [`DialError::TooMany`] at once when all outbound places are taken; no event follows.
    pub fn dial(
        &self,
        dial: u64,
        address: SocketAddr,
        expected_key: Option<PeerKey>,
    ) -> Result<(), DialError> {
        endpoint::dial(self.shared(), dial, address, expected_key)
    }

    /// Hands a frame over for sending; never blocks.
    ///
    /// # Errors
    /// When the frame is too large or the connection is gone. When the peer reads too slowly, the
    /// connection is closed as well.
    pub fn send(
        &self,
        conn: ConnId,
        class: Class,
        frame: impl Into<Bytes>,
    ) -> Result<(), SendError> {
        self.hand_over(conn, frame.into(), |connection, frame| connection.send(class, frame))
    }

    /// Hands over a frame that may be lost, on one of the streams. It is dropped where half of the
    /// queue is taken, and the connection stays: it is not the fault of either side that others
    /// want to send so much.
    ///
    /// # Errors
    /// When it was dropped, is too large, or the connection is gone.
    pub fn offer(
        &self,
        conn: ConnId,
        class: Class,
        frame: impl Into<Bytes>,
    ) -> Result<(), SendError> {
        self.hand_over(conn, frame.into(), |connection, frame| connection.offer(class, frame))
    }

    fn hand_over(
        &self,
        conn: ConnId,
        frame: Bytes,
        how: impl FnOnce(&Conn, Bytes) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let shared = self.shared();
        let connection = shared.connection(conn).ok_or(SendError::NotConnected(conn))?;
        let size = frame.len();
        how(&connection, frame)?;
        shared.counters.out(size);
        Ok(())
    }

    /// Closes a connection now; frames that still wait are dropped. `Disconnected` follows.
    ///
    /// The peer usually hears why, but QUIC promises it to nobody: where congestion holds back what
    /// is on its way, the reason is held back with it, and the peer sees [`CloseReason::Reset`].
    /// [`Quic::finish`] is for reasons that must arrive.
    pub fn close(&self, conn: ConnId, reason: impl Into<String>) {
        if let Some(connection) = self.shared().connection(conn) {
            connection.close(CloseReason::Asked(reason.into()));
        }
    }

    /// Closes a connection once everything that waits is acknowledged, or after `deadline`.
    pub fn finish(&self, conn: ConnId, reason: impl Into<String>, deadline: Duration) {
        let shared = self.shared();
        if let Some(connection) = shared.connection(conn) {
            let reason = CloseReason::Asked(reason.into());
            shared.runtime.spawn(async move {
                connection.drain(deadline).await;
                connection.close(reason);
            });
        }
    }

    /// Returns the bytes that wait to be sent in a class, so that a sender of much can hold back
    /// before [`Quic::send`] must close the connection. Datagrams never wait for long: 0.
    #[must_use]
    pub fn waiting(&self, conn: ConnId, class: Class) -> Option<usize> {
        self.shared().connection(conn).map(|connection| connection.waiting(class))
    }

    /// Returns the smoothed round-trip time of a connection.
    #[must_use]
    pub fn rtt(&self, conn: ConnId) -> Option<Duration> {
        self.shared().connection(conn).map(|connection| connection.rtt())
    }

    /// Returns the counters.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared().stats()
    }

    /// Stops accepting, lets what waits be acknowledged, closes, and returns within `deadline`.
    pub async fn shutdown(&self, deadline: Duration) {
        endpoint::shutdown(self.shared(), deadline).await;
    }

    fn shared(&self) -> &Arc<Shared<P>> {
        &self.owner.0
    }
}
