//! The registry: nodes come, change their keys, and go.

use session_core::{NodeId, Text};
use session_crypto::PublicIdentity;
use session_protocol::chain::Amount;
use session_protocol::membership::ADDRESS_BYTES_MAX;

use super::{Execution, Rejection};
use crate::query;
use crate::records::{
    Endpoints, NodeAliases, NodeKeys, NodeStatus, Nodes, Seat, ServiceNode, SigningKeys,
    SwarmMembers, endpoint_digest, signing_key_digest,
};

/// Returns whether a text is `host:port` in printable ASCII, with one text per port.
#[must_use]
pub fn is_endpoint(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit()) && !port.starts_with('0');
    !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_graphic())
        && digits
        && port.parse::<u16>().is_ok()
}

impl Execution<'_> {
    pub(super) fn register_node(
        &mut self,
        keys: &PublicIdentity,
        endpoint: &Text<ADDRESS_BYTES_MAX>,
        stake: Amount,
    ) -> Result<(), Rejection> {
        let id = keys.node_id();
        if !is_endpoint(endpoint) {
            return Err(Rejection::Endpoint);
        }
        let min = self.params.stake_min;
        if stake < min {
            return Err(Rejection::Stake { got: stake, min });
        }
        self.claim_keys(keys)?;
        let place = endpoint_digest(endpoint);
        if let Some(node) = self.draft.get::<Endpoints>(&place) {
            return Err(Rejection::EndpointRegistered { node });
        }
        self.take(stake)?;
        let (operator, now) = (self.sender(), self.context.time);
        let node = ServiceNode::new(operator, id, endpoint.clone(), stake, now);
        self.draft.put::<Endpoints>(&place, &id);
        self.draft.put::<Nodes>(&id, &node);
        Ok(())
    }

    /// Moves a node to the id of its new keys.
    pub(super) fn rotate_keys(
        &mut self,
        node: &NodeId,
        keys: &PublicIdentity,
    ) -> Result<(), Rejection> {
        let (old, node) = self.own_node(node)?;
        if let NodeStatus::Decommissioning { .. } | NodeStatus::Retired { .. } = node.status {
            return Err(Rejection::NodeNotActive { status: node.status.name() });
        }
        self.claim_keys(keys)?;
        let new = keys.node_id();
        if let NodeStatus::Active { swarm, since } = node.status {
            self.draft.remove::<SwarmMembers>(&Seat { swarm, node: old });
            self.draft.put::<SwarmMembers>(&Seat { swarm, node: new }, &since);
        }
        self.draft.put::<Endpoints>(&endpoint_digest(&node.endpoint), &new);
        self.draft.put::<NodeAliases>(&node.first, &new);
        if old != node.first {
            self.draft.put::<NodeAliases>(&old, &node.first);
        }
        self.draft.remove::<Nodes>(&old);
        self.draft.put::<Nodes>(&new, &node);
        Ok(())
    }

    /// Takes a node out of service at once.
    pub(super) fn decommission(&mut self, node: &NodeId) -> Result<(), Rejection> {
        let (id, mut node) = self.own_node(node)?;
        match node.status {
            NodeStatus::Registered => {}
            NodeStatus::Active { swarm, .. } => {
                self.draft.remove::<SwarmMembers>(&Seat { swarm, node: id });
            }
            status => return Err(Rejection::NodeNotActive { status: status.name() }),
        }
        let until = self.context.time + self.params.unbonding;
        node.status = NodeStatus::Decommissioning { until };
        self.draft.put::<Nodes>(&id, &node);
        Ok(())
    }

    /// Returns what is left of the stake, and frees the endpoint. The keys are never free again.
    pub(super) fn withdraw(&mut self, node: &NodeId) -> Result<(), Rejection> {
        let (id, mut node) = self.own_node(node)?;
        let NodeStatus::Decommissioning { until } = node.status else {
            return Err(Rejection::NotDecommissioned { status: node.status.name() });
        };
        let time = self.context.time;
        if time < until {
            return Err(Rejection::Unbonding { until, time });
        }
        self.give(&node.operator, node.stake);
        node.stake = Amount::ZERO;
        node.status = NodeStatus::Retired { at: time };
        self.draft.remove::<Endpoints>(&endpoint_digest(&node.endpoint));
        self.draft.put::<Nodes>(&id, &node);
        Ok(())
    }

    /// Finds a node of the sender's by any of its ids.
    fn own_node(&self, id: &NodeId) -> Result<(NodeId, ServiceNode), Rejection> {
        let (id, node) =
            query::node(self.draft.base(), id).ok_or(Rejection::UnknownNode { node: *id })?;
        if node.operator != self.sender() {
            return Err(Rejection::NotOwner { owner: node.operator });
        }
        Ok((id, node))
    }

    /// Takes keys that no node ever had: who is slashed cannot come back under them.
    fn claim_keys(&mut self, keys: &PublicIdentity) -> Result<(), Rejection> {
        let id = keys.node_id();
        if self.draft.has::<NodeKeys>(&id) {
            return Err(Rejection::NodeRegistered { node: id });
        }
        let signing = signing_key_digest(keys.dsa());
        if let Some(node) = self.draft.get::<SigningKeys>(&signing) {
            return Err(Rejection::SigningKeyRegistered { node });
        }
        self.draft.put::<NodeKeys>(&id, keys);
        self.draft.put::<SigningKeys>(&signing, &id);
        Ok(())
    }
}
