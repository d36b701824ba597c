//! The limits of an endpoint, each with the reason for its default.

use std::net::SocketAddr;
use std::time::Duration;

/// The largest frame body.
pub const FRAME_BYTES_MAX: usize = 1 << 20;

/// What an endpoint is bound to and what it tolerates.
///
/// The defaults are for a service node; a client changes little but `listen`.
#[derive(Clone, Debug)]
pub struct Options {
    /// The UDP address; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Inbound connections and handshakes at once. Each costs about 100 KiB at rest.
    pub inbound_max: usize,
    /// Inbound connections and handshakes at once from one IPv4 address or IPv6 /64.
    ///
    /// Many clients share one address behind a carrier's NAT; one address must still not take
    /// every place.
    pub inbound_per_ip_max: usize,
    /// Outbound connections and dials at once.
    pub outbound_max: usize,
    /// Handshakes in progress above which a dialer must first prove its address (QUIC Retry).
    pub unproven_handshakes_max: usize,
    /// A handshake takes three flights; one that takes longer holds a place for nothing.
    pub handshake_timeout: Duration,
    /// An accepted connection must deliver its first whole frame within this time; `None` waits
    /// for ever.
    pub first_frame_timeout: Option<Duration>,
    /// A frame that was begun must be complete within this time: 1 MiB at 140 kbit/s.
    pub frame_timeout: Duration,
    /// A connection on which nothing arrives for this long is dead.
    pub idle_timeout: Duration,
    /// How often to send something on a quiet connection: four tries within the idle timeout, and
    /// below the 30 s after which common NATs forget a UDP flow.
    pub keep_alive: Duration,
    /// Events waiting for the application. When full, connections stop reading their sockets.
    pub events_max: usize,
    /// Bytes of frames waiting for the application, all connections together. When full,
    /// connections stop reading their sockets. At least [`FRAME_BYTES_MAX`].
    pub received_bytes_max: usize,
    /// Bytes of frames waiting to be sent, all connections together. Above it, a connection that
    /// has more than [`TIGHT_BYTES`](super::TIGHT_BYTES) waiting is disconnected.
    pub queued_bytes_max: usize,
    /// The size to ask for the socket's kernel buffers. The default 208 KiB of Linux overflows in
    /// milliseconds under load; the kernel caps the wish at `net.core.{r,w}mem_max`.
    pub socket_buffer_bytes: usize,
}

impl Options {
    /// Makes the default options for `listen`.
    #[must_use]
    pub fn new(listen: SocketAddr) -> Self {
        Self {
            listen,
            inbound_max: 4096,
            inbound_per_ip_max: 256,
            outbound_max: 1024,
            unproven_handshakes_max: 64,
            handshake_timeout: Duration::from_secs(5),
            first_frame_timeout: Some(Duration::from_secs(10)),
            frame_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(15),
            events_max: 1024,
            received_bytes_max: 64 << 20,
            queued_bytes_max: 256 << 20,
            socket_buffer_bytes: 4 << 20,
        }
    }
}
