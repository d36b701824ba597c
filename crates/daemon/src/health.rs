//! How a node is, for people and monitoring.

use session_core::{Epoch, NodeId, SwarmId, Time};
use session_network::PeerSnapshot;

/// A snapshot of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// The node.
    pub node: NodeId,
    /// Whether a store can reach its quorum now and the node takes requests.
    pub ready: bool,
    /// The swarm machine.
    pub swarm: session_swarm::Health,
    /// What the swarm machine has done.
    pub swarm_stats: session_swarm::Stats,
    /// What the network machine has done.
    pub network_stats: session_network::Stats,
    /// Every node that is known, with its state and latency, ordered by id.
    pub peers: Vec<PeerSnapshot>,
    /// Clients that are connected.
    pub clients: usize,
    /// The store.
    pub store: session_storage::Stats,
    /// What the chain says of the node; nothing where a network file does.
    pub chain: Option<ChainHealth>,
    /// What the node does with onion packets, if it is a hop.
    pub onions: Option<crate::relay::Stats>,
}

/// A node as the chain sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHealth {
    /// Blocks below the last one that is known here.
    pub height: u64,
    /// That block's time.
    pub time: Time,
    /// The epoch.
    pub epoch: Epoch,
    /// The swarm that the node serves; none while it waits for a seat, or has left its own.
    pub swarm: Option<SwarmId>,
    /// Whether the node said that it will be away.
    pub draining: bool,
    /// Whether the node gives up its seat when the epoch ends.
    pub leaving: bool,
    /// Inboxes that move between swarms, if any do.
    pub handing_over: Option<session_swarm::Progress>,
    /// How the duties of the epoch stand, if the node has any.
    pub duties: Option<session_swarm::coordinator::Status>,
}
