//! Whatever sits at the end of a wire: a node or a person, each its own shell around one machine.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use session_core::{Epoch, NodeId, Span, Time};
use session_crypto::DsaPublicKey;
use session_network::{Class, ConnId};
use session_protocol::attestation::QuorumCertificate;
use session_protocol::chain::Action;
use session_protocol::chain::view::ChainView;

/// The time at which every run begins (in January 2027).
pub const BEGINNING: Time = Time::from_millis(1_800_000_000_000);

/// A host, numbered from 0: nodes first, then persons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub u32);

impl HostId {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }

    /// Returns an address of its own, from a range that belongs to nobody.
    pub(crate) fn ip(self) -> IpAddr {
        let [_, b, c, d] = self.0.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(10, b, c, d))
    }
}

/// What a host is told by the world around it.
pub(crate) enum Arrival {
    Connected {
        conn: ConnId,
        inbound: bool,
        remote: IpAddr,
        peer_key: Option<DsaPublicKey>,
        exporter: [u8; 32],
        dial: Option<u64>,
    },
    Frame {
        conn: ConnId,
        class: Class,
        body: Vec<u8>,
    },
    Disconnected {
        conn: ConnId,
    },
    DialFailed {
        dial: u64,
        why: &'static str,
    },
    /// The chain has another block.
    View(Arc<ChainView>),
    /// The signed transaction that was asked for.
    CommitmentTx {
        node: NodeId,
        epoch: Epoch,
        bytes: Vec<u8>,
    },
}

/// What a host does to the world around it.
pub(crate) enum Departure {
    Send {
        conn: ConnId,
        class: Class,
        body: Vec<u8>,
    },
    Dial {
        dial: u64,
        address: String,
        key: DsaPublicKey,
    },
    Close {
        conn: ConnId,
    },
    /// To the chain.
    Submit {
        action: Box<Action>,
    },
    /// Asks the chain for a signed transaction.
    Fetch {
        node: NodeId,
        epoch: Epoch,
    },
    /// Kept by the shell.
    Certified {
        certificate: Box<QuorumCertificate>,
    },
}

/// A machine with its shell. Times are the world's; each host has a clock of its own beside it.
pub(crate) trait Host {
    /// Tells it what arrived.
    fn arrived(&mut self, now: Time, arrival: Arrival, out: &mut Vec<Departure>);

    /// Returns when it next wants to be woken.
    fn deadline(&self) -> Option<Time>;

    /// Wakes it.
    fn woken(&mut self, now: Time, out: &mut Vec<Departure>);

    /// Returns the key that TLS proves for it; persons have none.
    fn transport_key(&self) -> Option<&DsaPublicKey>;
}

/// A clock that differs from the world's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Skew {
    /// How far it is ahead; behind when negative.
    pub ahead_ms: i64,
}

impl Skew {
    /// Returns what the clock shows.
    #[must_use]
    pub const fn local(self, now: Time) -> Time {
        Time::from_millis(now.as_millis().saturating_add_signed(self.ahead_ms))
    }

    /// Returns the world's time when the clock shows `local`.
    #[must_use]
    pub const fn world(self, local: Time) -> Time {
        Time::from_millis(local.as_millis().saturating_add_signed(self.ahead_ms.saturating_neg()))
    }

    /// Returns how far it is off.
    #[must_use]
    pub const fn error(self) -> Span {
        Span::from_millis(self.ahead_ms.unsigned_abs())
    }
}
