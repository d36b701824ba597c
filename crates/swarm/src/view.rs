//! What a node knows about its place in the network.

use std::collections::BTreeSet;
use std::sync::Arc;

use session_core::committee::quorum;
use session_core::{InboxAddress, NodeId, SwarmId, Time};
use session_protocol::membership::{Membership, NetworkId};
use session_protocol::peer::ItemKey;
use session_protocol::receipt::StorageReceipt;
use session_protocol::request::Refusal;

use crate::placement;

/// The node is not in the network file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node} is not a node of this network")]
pub struct NotANode {
    /// The node.
    pub node: NodeId,
}

/// The membership, narrowed to the swarm of one node.
pub(crate) struct View {
    membership: Arc<dyn Membership>,
    pub(crate) height: u64,
    pub(crate) node: NodeId,
    pub(crate) network: NetworkId,
    pub(crate) swarm: SwarmId,
    swarms: Vec<SwarmId>,
    /// The other members of the swarm.
    pub(crate) mates: BTreeSet<NodeId>,
    /// Members that must have committed, this node included.
    pub(crate) quorum: usize,
}

impl View {
    pub(crate) fn new(membership: Arc<dyn Membership>, node: NodeId) -> Result<Self, NotANode> {
        let swarm = membership.node(&node).ok_or(NotANode { node })?.swarm;
        let members = membership.members(swarm);
        Ok(Self {
            height: membership.height(),
            node,
            network: membership.network(),
            swarm,
            swarms: membership.swarms(),
            quorum: quorum(members.len()).map_err(|_| NotANode { node })?,
            mates: members.into_iter().filter(|member| *member != node).collect(),
            membership,
        })
    }

    /// Looks again when the membership has changed.
    pub(crate) fn refresh(&mut self) {
        if self.membership.height() == self.height {
            return;
        }
        // A node that was taken out of the network keeps its last view and serves what it has.
        if let Ok(view) = Self::new(Arc::clone(&self.membership), self.node) {
            *self = view;
        }
    }

    /// Returns the swarm that keeps an inbox.
    pub(crate) fn swarm_of(&self, address: &InboxAddress) -> SwarmId {
        placement::nearest(address, &self.swarms).unwrap_or(self.swarm)
    }

    /// Refuses an inbox that another swarm keeps.
    pub(crate) fn check_keeps(&self, address: &InboxAddress) -> Result<(), Refusal> {
        let swarm = self.swarm_of(address);
        if swarm == self.swarm {
            return Ok(());
        }
        Err(Refusal::WrongSwarm { swarm, members: self.membership.member_list(swarm) })
    }

    /// Returns what a member promises when it stores an item.
    pub(crate) fn receipt_of(
        &self,
        node: NodeId,
        key: &ItemKey,
        expiry: Time,
        stored_at: Time,
    ) -> StorageReceipt {
        let ItemKey { address, message } = *key;
        StorageReceipt { node, swarm: self.swarm, address, message, expiry, stored_at }
    }

    pub(crate) fn membership(&self) -> &dyn Membership {
        &*self.membership
    }

    /// Members of the swarm, this node included.
    pub(crate) fn size(&self) -> usize {
        self.mates.len() + 1
    }
}
