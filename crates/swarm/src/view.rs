//! What a node knows about its place in the network.

use std::collections::BTreeSet;
use std::sync::Arc;

use session_core::{InboxAddress, NodeId, SwarmId, Time};
use session_protocol::membership::{Membership, NO_SWARM, NetworkId};
use session_protocol::peer::{ItemKey, RingRange};
use session_protocol::placement;
use session_protocol::receipt::StorageReceipt;
use session_protocol::request::Refusal;

use crate::layout::Layout;

/// The node is not in a network that does not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node {node} is not a node of this network")]
pub struct NotANode {
    /// The node.
    pub node: NodeId,
}

/// The membership, narrowed to the swarm of one node.
pub(crate) struct View {
    membership: Arc<dyn Membership>,
    pub(crate) layout: Arc<Layout>,
    pub(crate) node: NodeId,
    pub(crate) network: NetworkId,
    /// The swarm in which the node has a seat.
    pub(crate) swarm: Option<SwarmId>,
    /// The places of that swarm.
    pub(crate) range: Option<RingRange>,
    /// The other members of the swarm.
    pub(crate) mates: BTreeSet<NodeId>,
    /// Members that must have committed, this node included; 0 without a seat.
    pub(crate) quorum: usize,
}

impl View {
    pub(crate) fn new(membership: Arc<dyn Membership>, node: NodeId) -> Self {
        let layout = Arc::new(Layout::of(&*membership));
        Self::of(membership, layout, node)
    }

    fn of(membership: Arc<dyn Membership>, layout: Arc<Layout>, node: NodeId) -> Self {
        let swarm = layout.seat(&node);
        let members = swarm.map(|swarm| layout.members(swarm).clone()).unwrap_or_default();
        Self {
            node,
            network: membership.network(),
            swarm,
            range: swarm.and_then(|swarm| layout.range(swarm)),
            quorum: swarm.map_or(0, |swarm| layout.quorum(swarm)),
            mates: members.into_iter().filter(|member| *member != node).collect(),
            membership,
            layout,
        }
    }

    /// Takes over a later membership; returns the layout until now when another one follows.
    pub(crate) fn update(&mut self, membership: Arc<dyn Membership>) -> Option<Arc<Layout>> {
        let layout = Layout::of(&*membership);
        if layout.is_like(&self.layout) {
            self.membership = membership;
            return None;
        }
        let former = Arc::clone(&self.layout);
        *self = Self::of(membership, Arc::new(layout), self.node);
        Some(former)
    }

    /// Takes over the layout of a view that was missed; returns the one until now.
    pub(crate) fn replace(&mut self, layout: Layout) -> Arc<Layout> {
        let former = Arc::clone(&self.layout);
        *self = Self::of(Arc::clone(&self.membership), Arc::new(layout), self.node);
        former
    }

    /// Takes over since when the layout is as it is.
    pub(crate) fn learn(&mut self, since: u64) {
        let mut layout = Layout::clone(&self.layout);
        layout.since = since;
        self.layout = Arc::new(layout);
    }

    /// Tells whether this node keeps an inbox.
    pub(crate) fn keeps(&self, address: &InboxAddress) -> bool {
        self.range.is_some_and(|range| range.contains(place_of(address)))
    }

    /// Returns the swarm that keeps an inbox.
    pub(crate) fn swarm_of(&self, address: &InboxAddress) -> SwarmId {
        self.layout.swarm_of(address).unwrap_or(NO_SWARM)
    }

    /// Refuses an inbox that another swarm keeps.
    pub(crate) fn check_keeps(&self, address: &InboxAddress) -> Result<(), Refusal> {
        if self.keeps(address) {
            return Ok(());
        }
        let swarm = self.swarm_of(address);
        Err(Refusal::WrongSwarm { swarm, members: self.membership.member_list(swarm) })
    }

    /// Returns the swarm as it is told to others.
    pub(crate) fn shown_swarm(&self) -> SwarmId {
        self.swarm.unwrap_or(NO_SWARM)
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
        StorageReceipt { node, swarm: self.shown_swarm(), address, message, expiry, stored_at }
    }

    pub(crate) fn membership(&self) -> &dyn Membership {
        &*self.membership
    }

    /// Members of the swarm, this node included; 0 without a seat.
    pub(crate) fn size(&self) -> usize {
        self.mates.len() + usize::from(self.swarm.is_some())
    }
}

/// Returns the place of an inbox on the ring.
pub(crate) fn place_of(address: &InboxAddress) -> u64 {
    placement::position(address.as_ref())
}
