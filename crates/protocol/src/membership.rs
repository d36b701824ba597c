//! Who is a node of the network, which swarm it belongs to, and where it is reached.
//!
//! A static network file answers today; the chain will answer behind the same trait.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use session_core::{AccountId, Domain, List, NodeId, SwarmId, Text, digest, record};
use session_crypto::{DsaPublicKey, PublicIdentity};

use crate::limits::SWARM_MEMBERS_MAX;

pub use session_core::Digest as NetworkId;

/// The swarm of nodes that have no seat in any. No swarm is called that.
pub const NO_SWARM: SwarmId = SwarmId(u64::MAX);

/// Longest address text, `host:port`.
pub const ADDRESS_BYTES_MAX: usize = 256;

record! {
    /// A service node as the network knows it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct NodeRecord {
        /// Both public keys; the node's id is their hash.
        pub keys: PublicIdentity,
        /// Where it is reached, `host:port` of UDP.
        pub address: Text<ADDRESS_BYTES_MAX>,
        /// The swarm it serves.
        pub swarm: SwarmId,
    }

    /// A member of a swarm, as told to clients.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Member {
        /// The node.
        pub node: NodeId,
        /// Where it is reached.
        pub address: Text<ADDRESS_BYTES_MAX>,
    }
}

impl NodeRecord {
    /// Returns the node's id.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.keys.node_id()
    }
}

/// The view of the network that a node or client acts on.
pub trait Membership: Send + Sync {
    /// Returns the network's identifier, part of everything that is signed.
    fn network(&self) -> NetworkId;
    /// Returns a counter that grows whenever the view changes.
    fn height(&self) -> u64;
    /// Returns a node's record.
    fn node(&self, id: &NodeId) -> Option<&NodeRecord>;
    /// Returns every node, ordered by id.
    fn nodes(&self) -> Vec<(NodeId, &NodeRecord)>;
    /// Returns every swarm, ordered by id.
    fn swarms(&self) -> Vec<SwarmId>;
    /// Returns the members of a swarm, ordered by id; empty for an unknown swarm.
    fn members(&self, swarm: SwarmId) -> Vec<NodeId>;

    /// Returns who runs a node, where that is known: nodes of one operator are in one hand.
    fn operator(&self, _node: &NodeId) -> Option<AccountId> {
        None
    }

    /// Returns what is at stake with a node, where that is known.
    fn stake(&self, _node: &NodeId) -> Option<u64> {
        None
    }

    /// Returns the node that owns a transport key.
    fn node_of_key(&self, key: &DsaPublicKey) -> Option<NodeId> {
        self.nodes().into_iter().find(|(_, record)| record.keys.dsa() == key).map(|(id, _)| id)
    }

    /// Returns the members of a swarm as told to clients.
    fn member_list(&self, swarm: SwarmId) -> List<Member, SWARM_MEMBERS_MAX> {
        let members: Vec<Member> = self
            .members(swarm)
            .into_iter()
            .filter_map(|node| {
                self.node(&node).map(|record| Member { node, address: record.address.clone() })
            })
            .take(SWARM_MEMBERS_MAX)
            .collect();
        List::new(members).expect("taken up to the limit")
    }
}

impl fmt::Debug for dyn Membership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Membership at {}", self.height())
    }
}

/// Why a list of nodes is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadMembership {
    /// No nodes at all.
    #[error("the network has no nodes")]
    Empty,
    /// A network without a name.
    #[error("the network's name must have 1 to 64 characters, got {got}")]
    Name {
        /// Characters of the name.
        got: usize,
    },
    /// The same node twice.
    #[error("node {0} is listed twice")]
    Duplicate(NodeId),
    /// Two nodes at one address.
    #[error("endpoint {address} already registered by node {node}")]
    Endpoint {
        /// The address.
        address: String,
        /// Who has it.
        node: NodeId,
    },
    /// Two nodes that prove themselves with one signing key.
    #[error("signing key already registered by node {node}")]
    SharedKey {
        /// Who has it.
        node: NodeId,
    },
    /// A swarm over its limit.
    #[error("swarm {swarm} has {got} members, the limit is {SWARM_MEMBERS_MAX}")]
    SwarmTooLarge {
        /// The swarm.
        swarm: SwarmId,
        /// Its members.
        got: usize,
    },
}

/// A network that does not change while the program runs.
#[derive(Clone, Debug)]
pub struct StaticMembership {
    network: NetworkId,
    nodes: BTreeMap<NodeId, NodeRecord>,
    by_key: BTreeMap<[u8; 32], NodeId>,
    swarms: BTreeMap<SwarmId, BTreeSet<NodeId>>,
    holders: BTreeMap<NodeId, Holder>,
}

/// In whose hand a node is, as the registry says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// The account that registered it.
    pub operator: Option<AccountId>,
    /// What is at stake with it, in the smallest unit.
    pub stake: Option<u64>,
}

/// Returns the identifier of the network called `name`.
#[must_use]
pub fn network_id(name: &str) -> NetworkId {
    digest(Domain::NetworkId, &[name.as_bytes()])
}

// Keys of 1,952 bytes are compared by hash.
pub(crate) fn key_hash(key: &DsaPublicKey) -> [u8; 32] {
    session_core::sha256(key.as_bytes())
}

impl StaticMembership {
    /// Makes the view of a network from its name and nodes.
    ///
    /// # Errors
    /// When a node, a signing key or an address is listed twice, a swarm is over its limit, or
    /// nothing is listed.
    pub fn new(
        name: &str,
        records: impl IntoIterator<Item = NodeRecord>,
    ) -> Result<Self, BadMembership> {
        let characters = name.chars().count();
        if !(1..=64).contains(&characters) {
            return Err(BadMembership::Name { got: characters });
        }
        let mut nodes = BTreeMap::new();
        let mut by_key = BTreeMap::new();
        let mut swarms: BTreeMap<SwarmId, BTreeSet<NodeId>> = BTreeMap::new();
        let mut addresses: BTreeMap<String, NodeId> = BTreeMap::new();
        for record in records {
            let id = record.id();
            if let Some(node) = addresses.insert(record.address.to_string(), id) {
                let address = record.address.to_string();
                return Err(if node == id {
                    BadMembership::Duplicate(id)
                } else {
                    BadMembership::Endpoint { address, node }
                });
            }
            swarms.entry(record.swarm).or_default().insert(id);
            let key = key_hash(record.keys.dsa());
            if nodes.insert(id, record).is_some() {
                return Err(BadMembership::Duplicate(id));
            }
            if let Some(node) = by_key.insert(key, id) {
                return Err(BadMembership::SharedKey { node });
            }
        }
        if nodes.is_empty() {
            return Err(BadMembership::Empty);
        }
        for (&swarm, members) in &swarms {
            if members.len() > SWARM_MEMBERS_MAX {
                return Err(BadMembership::SwarmTooLarge { swarm, got: members.len() });
            }
        }
        let holders = BTreeMap::new();
        Ok(Self { network: network_id(name), nodes, by_key, swarms, holders })
    }

    /// Says in whose hands nodes are; those that are not named are in anybody's.
    #[must_use]
    pub fn with_holders(mut self, holders: impl IntoIterator<Item = (NodeId, Holder)>) -> Self {
        self.holders.extend(holders.into_iter().filter(|(node, _)| self.nodes.contains_key(node)));
        self
    }
}

impl Membership for StaticMembership {
    fn network(&self) -> NetworkId {
        self.network
    }

    fn height(&self) -> u64 {
        0
    }

    fn node(&self, id: &NodeId) -> Option<&NodeRecord> {
        self.nodes.get(id)
    }

    fn nodes(&self) -> Vec<(NodeId, &NodeRecord)> {
        self.nodes.iter().map(|(id, record)| (*id, record)).collect()
    }

    fn swarms(&self) -> Vec<SwarmId> {
        self.swarms.keys().copied().collect()
    }

    fn members(&self, swarm: SwarmId) -> Vec<NodeId> {
        self.swarms.get(&swarm).into_iter().flatten().copied().collect()
    }

    fn operator(&self, node: &NodeId) -> Option<AccountId> {
        self.holders.get(node)?.operator
    }

    fn stake(&self, node: &NodeId) -> Option<u64> {
        self.holders.get(node)?.stake
    }

    fn node_of_key(&self, key: &DsaPublicKey) -> Option<NodeId> {
        self.by_key.get(&key_hash(key)).copied()
    }
}
