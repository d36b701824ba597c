//! Every bound and interval of the overlay, with the reason.

use session_core::Span;
use session_protocol::limits::{FRAME_BYTES_MAX, OPERATIONS_MAX};
use session_protocol::onion::{PACKET_BYTES, PACKET_BYTES_MAX};

use crate::io::From;

/// Longest handshake: three messages over a link of 300 ms, four times over.
pub const HANDSHAKE_TIME_MAX: Span = Span::from_secs(5);

/// Longest dial, TLS included; the shell usually gives up earlier.
pub const DIAL_TIME_MAX: Span = Span::from_secs(10);

/// Time between two heartbeats, and between two pings.
pub const HEARTBEAT_INTERVAL: Span = Span::from_secs(10);

/// How much earlier than that the first ones may be, so that peers do not beat in step.
pub const HEARTBEAT_JITTER: Span = Span::from_secs(2);

/// Silence after which a node counts as down: three heartbeats.
pub const SILENCE_MAX: Span = Span::from_secs(30);

/// Silence after which a client is disconnected: six of its pings; phones sleep.
pub const CLIENT_SILENCE_MAX: Span = Span::from_secs(60);

/// Wait before the first retry.
pub const BACKOFF_MIN: Span = Span::from_millis(200);

/// Longest wait between two attempts.
pub const BACKOFF_MAX: Span = Span::from_secs(15);

/// How much longer the node with the higher id waits to be dialled before it dials itself: the other
/// one may take a connection for alive that a crash of ours has ended.
pub const DIAL_PATIENCE: Span = Span::from_secs(3);

/// A connection that lasted this long starts the backoff anew when it breaks.
pub const STABLE_AFTER: Span = Span::from_secs(10);

/// How long a node that broke the rules is not let in again.
pub const PENALTY: Span = Span::from_secs(15);

/// A younger connection is not replaced by a new one from the same node: churn costs the layers
/// above.
pub const REPLACE_AGE_MIN: Span = Span::from_secs(1);

/// Frames taken before the handshake is through; only pings may come early.
pub const EARLY_FRAMES_MAX: u32 = 8;

/// Frames nobody handles that one connection may send: a newer version may know more kinds.
pub const UNHANDLED_MAX: u32 = 16;

/// Messages about duties that one node may send: each may cost a read of the disk or a signature
/// check. A mate asks once for 32 leaves and twice more, and shows a few items in doubt.
pub const DUTIES: Rate = Rate { per_second: 50, burst: 500 };

/// Signatures in messages about workload sessions that one node may have us check; a message
/// without any counts as one. An oracle round takes about six messages of each member and one
/// proposal of up to 36 signatures: two hundred such rounds in a second, at 0.1 ms a check a fifth
/// of a processor.
pub const SESSIONS: Rate = Rate { per_second: 2_000, burst: 10_000 };

/// Frames over the limits that are dropped or answered before the connection is closed.
pub const OVERRUNS: Rate = Rate { per_second: 20, burst: 200 };

/// What opening a connection costs a client address, in frames: the handshake is that much work.
pub const CONNECTION_FRAMES: u64 = 4;

/// Longest frame that fits into a datagram on every path that QUIC runs over.
pub const DATAGRAM_BYTES_MAX: usize = 1_100;

/// Longest reason given for closing a connection.
pub const REASON_BYTES_MAX: usize = 200;

/// Tokens per second, and how many can be saved up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens that are added each second.
    pub per_second: u64,
    /// Tokens that a rested bucket holds.
    pub burst: u64,
}

impl Rate {
    /// More than anybody can use; for load tests.
    pub const UNLIMITED: Self =
        Self { per_second: u64::MAX / 1_000_000, burst: u64::MAX / 1_000_000 };
}

/// How much one sender may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Frames; a request counts as many as it has operations. The burst is at least the largest
    /// request.
    pub frames: Rate,
    /// Bytes of frame bodies. The burst is at least the longest frame.
    pub bytes: Rate,
}

impl Budget {
    /// More than anybody can use; for load tests.
    pub const UNLIMITED: Self = Self { frames: Rate::UNLIMITED, bytes: Rate::UNLIMITED };

    // What is allowed at all must fit into a full bucket, or it could never be sent.
    pub(crate) fn normalized(mut self) -> Self {
        self.bytes.burst = self.bytes.burst.max(FRAME_BYTES_MAX as u64);
        self.frames.burst = self.frames.burst.max(OPERATIONS_MAX as u64);
        self
    }
}

/// Bounds that an operator may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most nodes known at a time, connected or wanted.
    pub peers_max: usize,
    /// Most connected clients.
    pub clients_max: usize,
    /// Most inbound connections whose handshake is not through.
    pub handshakes_max: usize,
    /// Most connections from one client address (one `/64` of IPv6).
    pub address_connections_max: u32,
    /// Most client addresses remembered; those without a connection are forgotten first.
    pub addresses_max: usize,
    /// What one node may send.
    pub peer: Budget,
    /// What one client address may send, over all its connections.
    pub client: Budget,
    /// Onion packets that one node may send, in small ones: a bulk packet counts as four, a large
    /// one as twelve.
    pub peer_onions: Rate,
    /// The same for one client connection.
    pub client_onions: Rate,
}

/// Onion packets that a node takes from one client connection if nobody says otherwise, in small
/// ones. Clients keep to nine tenths of it.
pub const CLIENT_ONIONS: Rate = Rate { per_second: 400, burst: 3_200 };

impl Limits {
    /// Returns what a link may send of onion packets, in small ones. The largest packet fits into a
    /// full bucket, or it could never be sent.
    #[must_use]
    pub fn onions(&self, from: From) -> Rate {
        let rate = match from {
            From::Node(_) => self.peer_onions,
            From::Client(_) => self.client_onions,
        };
        Rate { burst: rate.burst.max((PACKET_BYTES_MAX / PACKET_BYTES[0]) as u64), ..rate }
    }
}

/// Returns what an onion frame counts as: a bulk packet is as much work as four small ones, and a
/// large one as twelve.
#[must_use]
pub const fn onion_weight(frame_bytes: usize) -> u64 {
    (frame_bytes / PACKET_BYTES[0]) as u64
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // 64 dealers of a beacon, 21 attesters, 32 nodes to examine and 32 that examine, a swarm
            // of 32, and as many partners of a hand-over: 213, and those that came late. As many
            // again for workload sessions: the members of a dozen committees of 21.
            peers_max: 512,
            // At about 30 KiB each in the transport.
            clients_max: 10_000,
            // A flood of 200 new connections a second, each as slow as allowed.
            handshakes_max: 1_000,
            // An office behind one address.
            address_connections_max: 256,
            addresses_max: 16_384,
            // A replication storm after an outage, on a fast local network.
            peer: Budget {
                frames: Rate { per_second: 10_000, burst: 20_000 },
                bytes: Rate { per_second: 128 << 20, burst: 256 << 20 },
            },
            // The longest item ten times a second, and a large file at the start.
            client: Budget {
                frames: Rate { per_second: 500, burst: 2_000 },
                bytes: Rate { per_second: 8 << 20, burst: 64 << 20 },
            },
            // A fifth of a processor at 0.1 ms each, and 16 MB/s.
            peer_onions: Rate { per_second: 2_000, burst: 10_000 },
            // A file of 2.5 MB a second, which is a fifteenth of a processor; a person who reads and
            // writes, cover included, takes a tenth of it.
            client_onions: CLIENT_ONIONS,
        }
    }
}
