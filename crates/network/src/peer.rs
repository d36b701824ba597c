//! One node that we know, whether or not it is connected.

use session_core::{Entropy, NodeId, Span, Time};

use crate::io::ConnId;
use crate::limits::{BACKOFF_MAX, BACKOFF_MIN};
use crate::stats::{PeerSnapshot, PeerState, Traffic};

/// Where a node stands. An inbound connection counts from the moment it is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    /// The node is to dial us, until the peer's timer fires.
    Waiting,
    Connecting {
        dial: u64,
    },
    Handshaking {
        conn: ConnId,
    },
    Up {
        conn: ConnId,
        since: Time,
    },
    /// Until the peer's timer fires.
    BackingOff,
}

/// What a node last said about itself.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Reported {
    pub(crate) writable: bool,
    pub(crate) items: u64,
    pub(crate) height: u64,
    pub(crate) clock_ahead_ms: i64,
}

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) wanted: bool,
    pub(crate) link: Link,
    pub(crate) attempts: u32,
    /// It broke the rules: not let in before this.
    pub(crate) barred_until: Time,
    pub(crate) latency: Latency,
    pub(crate) last_seen: Option<Time>,
    pub(crate) reported: Reported,
    /// Of connections that ended.
    pub(crate) traffic: Traffic,
}

impl Peer {
    pub(crate) fn new(wanted: bool) -> Self {
        Self {
            wanted,
            link: Link::Waiting,
            attempts: 0,
            barred_until: Time::ZERO,
            latency: Latency::default(),
            last_seen: None,
            reported: Reported { writable: true, ..Reported::default() },
            traffic: Traffic::default(),
        }
    }

    /// Returns the connection while the node is up.
    pub(crate) const fn conn(&self) -> Option<ConnId> {
        match self.link {
            Link::Up { conn, .. } => Some(conn),
            _ => None,
        }
    }

    /// Notes the node's clock.
    pub(crate) fn told_time(&mut self, theirs: Time, now: Time) {
        let distance = i64::try_from(theirs.distance(now).as_millis()).unwrap_or(i64::MAX);
        self.reported.clock_ahead_ms = if theirs < now { -distance } else { distance };
    }

    pub(crate) const fn snapshot(&self, node: NodeId) -> PeerSnapshot {
        let state = match self.link {
            Link::Waiting => PeerState::Waiting,
            Link::Connecting { .. } => PeerState::Connecting,
            Link::Handshaking { .. } => PeerState::Handshaking,
            Link::Up { .. } => PeerState::Up,
            Link::BackingOff => PeerState::BackingOff,
        };
        PeerSnapshot {
            node,
            state,
            conn: self.conn(),
            wanted: self.wanted,
            attempts: self.attempts,
            latency_us: self.latency.0,
            last_seen: self.last_seen,
            writable: self.reported.writable,
            items: self.reported.items,
            height: self.reported.height,
            clock_ahead_ms: self.reported.clock_ahead_ms,
            traffic: self.traffic,
        }
    }
}

/// A moving average of round trips in microseconds: 7/8 old, 1/8 new; the first counts whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Latency(pub(crate) Option<u32>);

impl Latency {
    pub(crate) fn sample(&mut self, round_trip: Span) {
        let new = round_trip.as_millis().saturating_mul(1000);
        let average = match self.0 {
            None => new,
            Some(old) => (u64::from(old) * 7).saturating_add(new) / 8,
        };
        self.0 = Some(u32::try_from(average).unwrap_or(u32::MAX));
    }
}

/// Returns the wait after `attempts` failed ones: doubled each time, and between half and all of it,
/// so that nodes that lost the same peer do not come back together.
pub(crate) fn backoff(attempts: u32, rng: &mut dyn Entropy) -> Span {
    let doubled = BACKOFF_MIN.as_millis() << attempts.min(16);
    let longest = doubled.min(BACKOFF_MAX.as_millis());
    let half = longest / 2;
    Span::from_millis(half + rng.below(longest - half + 1))
}

#[cfg(test)]
mod tests;
