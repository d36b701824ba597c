//! How a node is, for people and monitoring.

use session_core::NodeId;
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
}
