//! Counters, and what is known of each peer.

use session_core::{NodeId, Time};
use session_protocol::peer::DeclineReason;

use crate::io::ConnId;

/// Counters since the start; the runtime exports them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Frames and bytes over all connections.
    pub traffic: Traffic,
    /// Dials begun.
    pub dials: u64,
    /// Dials that came to nothing.
    pub dials_failed: u64,
    /// Handshakes that were completed, as dialer or acceptor.
    pub handshakes: u64,
    /// Handshakes that were not.
    pub failures: Failures,
    /// Nodes that were up and then not.
    pub peers_lost: u64,
    /// Connections that a new one of the same node took the place of.
    pub replaced: u64,
    /// What was refused.
    pub refused: Refused,
}

/// Why handshakes failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures {
    /// Another network.
    pub wrong_network: u64,
    /// Not the registered key, or not registered at all.
    pub not_registered: u64,
    /// A proof of another key or another channel.
    pub bad_proof: u64,
    /// `maximum peers reached`.
    pub too_many_peers: u64,
    /// A frame that did not belong there.
    pub out_of_order: u64,
    /// Connected already.
    pub duplicate: u64,
    /// Not through in time.
    pub timeout: u64,
    /// The connection broke.
    pub disconnected: u64,
    /// The other side declined us.
    pub declined: u64,
}

impl Failures {
    pub(crate) fn count(&mut self, reason: &DeclineReason) {
        let counter = match reason {
            DeclineReason::WrongNetwork => &mut self.wrong_network,
            DeclineReason::NotRegistered => &mut self.not_registered,
            DeclineReason::BadProof => &mut self.bad_proof,
            DeclineReason::TooManyPeers => &mut self.too_many_peers,
            DeclineReason::Duplicate => &mut self.duplicate,
            _ => &mut self.out_of_order,
        };
        *counter += 1;
    }
}

/// What was refused, and what was done about it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Malformed frames; each closed its connection.
    pub malformed: u64,
    /// Frames of a kind that nobody handles, or not from this sender.
    pub unhandled: u64,
    /// Clients' requests over their limits.
    pub limited: u64,
    /// Other frames over the limits, dropped.
    pub over_limit: u64,
    /// Frames of connections that were closed already.
    pub stale: u64,
    /// Connections closed at once because a bound was reached.
    pub connections: u64,
    /// Nodes that were wanted while `maximum peers reached`.
    pub peers: u64,
    /// Connections closed for breaking the rules.
    pub penalized: u64,
    /// Messages of ours that were too large to send.
    pub too_large: u64,
}

/// Frames and bytes of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames received.
    pub frames_in: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Frames sent.
    pub frames_out: u64,
    /// Bytes sent.
    pub bytes_out: u64,
}

impl Traffic {
    pub(crate) const fn received(&mut self, bytes: usize) {
        self.frames_in += 1;
        self.bytes_in += bytes as u64;
    }

    pub(crate) const fn sent(&mut self, bytes: usize) {
        self.frames_out += 1;
        self.bytes_out += bytes as u64;
    }

    pub(crate) const fn add(&mut self, other: &Self) {
        self.frames_in += other.frames_in;
        self.bytes_in += other.bytes_in;
        self.frames_out += other.frames_out;
        self.bytes_out += other.bytes_out;
    }
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PeerState {
    /// It is the other node's turn to dial; we dial only if it does not.
    Waiting,
    /// A dial is under way.
    Connecting,
    /// Keys are being proven over a connection that we dialled.
    Handshaking,
    /// Connected, and both keys proven.
    Up,
    /// The last attempt failed; the next is not due yet.
    BackingOff,
}

/// What is known of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerSnapshot {
    /// The node.
    pub node: NodeId,
    /// Where it stands.
    pub state: PeerState,
    /// Its connection, while it is up.
    pub conn: Option<ConnId>,
    /// Whether a connection is wanted; otherwise the node came by itself.
    pub wanted: bool,
    /// Attempts since the last connection that lasted.
    pub attempts: u32,
    /// Moving average of the round trip, 7/8 old and 1/8 new, in microseconds.
    pub latency_us: Option<u32>,
    /// When the last frame of it arrived. Sending changes nothing here.
    pub last_seen: Option<Time>,
    /// Whether it says that it takes new items.
    pub writable: bool,
    /// How many items it says it keeps.
    pub items: u64,
    /// The height of its view of the network, when it connected.
    pub height: u64,
    /// Its clock minus ours in milliseconds when it last told, transit included.
    pub clock_ahead_ms: i64,
    /// Frames and bytes, over all its connections.
    pub traffic: Traffic,
}
