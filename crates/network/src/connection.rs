//! One connection and the stage it is in.

use std::net::IpAddr;

use session_core::{NodeId, Time};

use crate::addresses::Block;
use crate::bucket::{Bucket, Meter};
use crate::handshake::{Answering, Channel, Opening};
use crate::limits::{Budget, DUTIES, OVERRUNS, SESSIONS};
use crate::stats::Traffic;

/// Named by what it waits for.
pub(crate) enum Stage {
    /// Inbound: whoever it is speaks first.
    WaitingHello(Channel),
    /// We dialled and said hello.
    WaitingWelcome(Opening),
    /// An inbound node has to prove its key.
    WaitingFinish(Answering),
    /// We dialled and proved our key; the first frame that comes back shows that we are let in.
    /// Until then we send nothing, because it could overtake the proof on another stream.
    WaitingWord(NodeId),
    /// A node, proven.
    Node(NodeId),
    /// A client, about whom nothing is known.
    Client,
}

pub(crate) struct Connection {
    pub(crate) inbound: bool,
    pub(crate) remote: IpAddr,
    pub(crate) stage: Stage,
    /// The client address that pays for what it sends.
    pub(crate) block: Option<Block>,
    /// What a node may still send.
    pub(crate) meter: Meter,
    /// How many messages about duties a node may still send.
    pub(crate) duties: Bucket,
    /// How much a node may still say about workload sessions.
    pub(crate) sessions: Bucket,
    /// How many onion packets it may still send, once it has sent one.
    pub(crate) onions: Option<Bucket>,
    /// Patience with frames over the limits.
    pub(crate) overruns: Bucket,
    /// Frames before the handshake was through.
    pub(crate) early: u32,
    /// Frames that nobody handles.
    pub(crate) unhandled: u32,
    pub(crate) traffic: Traffic,
    pub(crate) last_seen: Time,
    pub(crate) next_beat: Time,
    /// The ping that is out.
    pub(crate) ping: Option<(u64, Time)>,
}

impl Connection {
    pub(crate) fn new(
        inbound: bool,
        remote: IpAddr,
        stage: Stage,
        budget: &Budget,
        now: Time,
    ) -> Self {
        Self {
            inbound,
            remote,
            stage,
            block: None,
            meter: Meter::full(budget, now),
            duties: Bucket::full(DUTIES, now),
            sessions: Bucket::full(SESSIONS, now),
            onions: None,
            overruns: Bucket::full(OVERRUNS, now),
            early: 0,
            unhandled: 0,
            traffic: Traffic::default(),
            last_seen: now,
            next_beat: now,
            ping: None,
        }
    }

    /// Returns the node at the other end, proven or not; nothing for clients and strangers.
    pub(crate) const fn node(&self) -> Option<NodeId> {
        match &self.stage {
            Stage::WaitingHello(_) | Stage::Client => None,
            Stage::WaitingWelcome(opening) => Some(opening.to()),
            Stage::WaitingFinish(answering) => Some(answering.node()),
            Stage::WaitingWord(node) | Stage::Node(node) => Some(*node),
        }
    }

    /// Whether it is inbound and takes a place among the handshakes.
    pub(crate) const fn is_handshaking_in(&self) -> bool {
        matches!(self.stage, Stage::WaitingHello(_) | Stage::WaitingFinish(_))
    }
}

/// How a connection comes to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The other side or the network took it away.
    Lost,
    /// We close it.
    Closed(String),
    /// We close it, and do not want to hear of the other side for a while.
    Penalized(String),
}

impl Ending {
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Lost => "connection lost",
            Self::Closed(why) | Self::Penalized(why) => why,
        }
    }
}
