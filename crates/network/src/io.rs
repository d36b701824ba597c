//! What goes into the machine and what comes out.

use std::net::IpAddr;
use std::sync::Arc;

use session_core::{NodeId, Span, Text};
use session_crypto::{DsaPublicKey, Signer};
use session_protocol::inbound::Fault;
use session_protocol::membership::ADDRESS_BYTES_MAX;
use session_protocol::{Inbound, Membership};

use crate::limits::Limits;

/// A connection, as the shell numbers them; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// How a frame travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Reliable, ahead of bulk. Handshakes travel here.
    Interactive,
    /// Reliable, behind everything else. Not ordered with the other classes.
    Bulk,
    /// May be lost, repeated or reordered.
    Datagram,
}

/// Which side of the network this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// A registered node: accepts connections, and dials first the nodes with a higher id.
    Node {
        /// Where it listens, as told to peers.
        listen: Text<ADDRESS_BYTES_MAX>,
    },
    /// A client: only dials, and proves nothing about itself.
    Client,
}

/// What a [`Network`](crate::Network) is made from.
#[derive(Clone)]
pub struct Config {
    /// Node or client.
    pub role: Role,
    /// The node's keys. A client's are used to encapsulate only: nobody learns them.
    pub keys: Arc<dyn Signer>,
    /// Who is a node.
    pub membership: Arc<dyn Membership>,
    /// Bounds that an operator may change.
    pub limits: Limits,
}

impl Config {
    /// Makes a configuration with the default limits.
    #[must_use]
    pub fn new(role: Role, keys: Arc<dyn Signer>, membership: Arc<dyn Membership>) -> Self {
        Self { role, keys, membership, limits: Limits::default() }
    }
}

/// Who sent a message, proven by the connection it came over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum From {
    /// A registered node.
    Node(NodeId),
    /// Somebody unknown, for as long as the connection lasts.
    Client(ConnId),
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum Input {
    /// A TLS connection stands.
    Connected {
        /// Its number.
        conn: ConnId,
        /// Whether the other side opened it.
        inbound: bool,
        /// Where the other side is.
        remote: IpAddr,
        /// The key that TLS proved, if any.
        peer_key: Option<DsaPublicKey>,
        /// What both ends of this channel, and nobody else, derive from it.
        exporter: [u8; 32],
        /// The [`Effect::Dial`] that it answers; none when inbound.
        dial: Option<u64>,
    },
    /// A frame came, parsed and checked.
    Frame {
        /// Over which connection.
        conn: ConnId,
        /// How it travelled.
        class: Class,
        /// Bytes of its body.
        size: usize,
        /// The message, or what is wrong with it.
        frame: Result<Inbound, Fault>,
    },
    /// A connection is gone. Expected after [`Effect::Close`] too, and then ignored.
    Disconnected {
        /// Which one.
        conn: ConnId,
    },
    /// A dial came to nothing.
    DialFailed {
        /// Which one.
        dial: u64,
        /// Why.
        why: String,
    },
    /// A connection to this node is wanted until it is forgotten.
    Connect {
        /// The node.
        node: NodeId,
    },
    /// The same, and it is not waited for the node to dial: something is to be sent to it now.
    Dial {
        /// The node.
        node: NodeId,
    },
    /// No connection to this node is wanted any more.
    Forget {
        /// The node.
        node: NodeId,
    },
    /// A layer above caught this node at something no honest node does.
    Misbehaved {
        /// The node.
        node: NodeId,
        /// What it did.
        why: String,
    },
    /// Who is a node has changed. Whoever is none any more is disconnected.
    Membership(Arc<dyn Membership>),
}

/// What the shell is to do, and what the layers above are to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Send a frame body.
    Send {
        /// Over which connection.
        conn: ConnId,
        /// How.
        class: Class,
        /// The body.
        frame: Vec<u8>,
    },
    /// Open a connection; answered by [`Input::Connected`] or [`Input::DialFailed`].
    Dial {
        /// Repeated in the answer.
        dial: u64,
        /// `host:port`.
        address: String,
        /// The only key that TLS may accept there.
        key: DsaPublicKey,
    },
    /// Close a connection, after what was sent over it before.
    Close {
        /// Which one.
        conn: ConnId,
        /// Why, in at most [`REASON_BYTES_MAX`](crate::limits::REASON_BYTES_MAX) bytes.
        why: String,
    },
    /// A node is connected and has proven both keys.
    PeerUp {
        /// The node.
        node: NodeId,
        /// Its connection.
        conn: ConnId,
    },
    /// A node that was up is not any more.
    PeerDown {
        /// The node.
        node: NodeId,
    },
    /// One attempt to connect to a wanted node failed; the next follows by itself.
    Unreachable {
        /// The node.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// A client is connected.
    ClientUp {
        /// Its connection.
        conn: ConnId,
        /// Where it is.
        remote: IpAddr,
    },
    /// A client is gone.
    ClientDown {
        /// Its connection.
        conn: ConnId,
    },
    /// A message within the limits.
    Message {
        /// Who sent it.
        from: From,
        /// What it says.
        message: Inbound,
    },
    /// A client's request over its limits: to be answered as rate limited, and not performed.
    Limited {
        /// Who sent it.
        from: From,
        /// Which request.
        request_id: u64,
        /// How many operations it has: each wants its outcome.
        operations: usize,
        /// When one of this size would be within the limits again.
        retry_after: Span,
    },
    /// Somebody was disconnected for breaking the rules.
    Penalized {
        /// Who.
        from: From,
        /// How.
        why: String,
    },
}
