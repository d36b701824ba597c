//! The registry: nodes come, change their keys, and go.

use session_core::{Epoch, NodeId, Text};
use session_crypto::PublicIdentity;
use session_protocol::chain::Amount;
use session_protocol::membership::ADDRESS_BYTES_MAX;

use super::draft::Draft;
use super::{Execution, Rejection, cases, swarms};
use crate::query;
use crate::records::{
    AccountKeys, BeaconKeys, Endpoints, NodeAliases, NodeKeys, NodeStatus, Nodes, Seat, SeatOf,
    ServiceNode, SigningKeys, StorageCommitments, SwarmMembers, endpoint_digest,
    signing_key_digest,
};

/// The epoch in which a node takes its seat as soon as it is registered.
const FOUNDING_EPOCH: Epoch = Epoch(0);

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
        if self.epoch.number == FOUNDING_EPOCH {
            swarms::found(&mut self.draft, self.params, self.epoch, id);
        }
        Ok(())
    }

    /// Gives a node new keys, and so a new id. Who does what in an epoch follows from the ids of
    /// those with seats, so a node with a seat takes its new id when the epoch ends.
    pub(super) fn rotate_keys(
        &mut self,
        node: &NodeId,
        keys: &PublicIdentity,
    ) -> Result<(), Rejection> {
        let (old, mut node) = self.own_node(node)?;
        let (new, status) = (keys.node_id(), node.status.name());
        match node.status {
            NodeStatus::Registered => {
                self.claim_keys(keys)?;
                take_id(&mut self.draft, old, &node, new);
            }
            NodeStatus::Active { .. } | NodeStatus::Suspended { .. } => {
                if let Some(next) = node.next {
                    return Err(Rejection::RotationWaits { next });
                }
                self.claim_keys(keys)?;
                node.next = Some(new);
                self.draft.put::<NodeAliases>(&new, &node.first);
                self.draft.put::<Nodes>(&old, &node);
            }
            _ => return Err(Rejection::NodeNotActive { status }),
        }
        Ok(())
    }

    /// Takes a node out of service: one with a seat when the epoch ends, another one at once.
    pub(super) fn decommission(&mut self, node: &NodeId) -> Result<(), Rejection> {
        let (id, mut node) = self.own_node(node)?;
        node.status = match node.status {
            NodeStatus::Registered => {
                let until = self.context.time + self.params.unbonding;
                NodeStatus::Decommissioning { until }
            }
            NodeStatus::Active { swarm, since } | NodeStatus::Suspended { swarm, since, .. } => {
                NodeStatus::Leaving { swarm, since }
            }
            status => return Err(Rejection::NodeNotActive { status: status.name() }),
        };
        self.draft.put::<Nodes>(&id, &node);
        if self.epoch.number == FOUNDING_EPOCH {
            swarms::found(&mut self.draft, self.params, self.epoch, id);
        }
        Ok(())
    }

    /// Returns what is left of the stake, and frees the endpoint. The keys are never free again.
    pub(super) fn withdraw(&mut self, node: &NodeId) -> Result<(), Rejection> {
        let (id, mut node) = self.own_node(node)?;
        let (NodeStatus::Decommissioning { until } | NodeStatus::Slashed { until }) = node.status
        else {
            return Err(Rejection::NotDecommissioned { status: node.status.name() });
        };
        let time = self.context.time;
        if time < until {
            return Err(Rejection::Unbonding { until, time });
        }
        if let Some(case) = cases::open_case_of(&self.draft, &id) {
            return Err(Rejection::Accused { case });
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
        // The node signs its duties with them, from an account that pays nothing.
        self.draft.put::<AccountKeys>(&keys.account_id(), keys);
        self.draft.put::<NodeKeys>(&id, keys);
        self.draft.put::<SigningKeys>(&signing, &id);
        Ok(())
    }
}

/// Moves a node to the id of its new keys. What it did under the old ones stays there: nobody
/// audits a commitment that other keys signed, and one-time secrets come from the keys.
pub(super) fn take_id(draft: &mut Draft<'_>, old: NodeId, node: &ServiceNode, new: NodeId) {
    if let Some(SeatOf { swarm, since }) = node.status.seat() {
        draft.remove::<SwarmMembers>(&Seat { swarm, node: old });
        draft.put::<SwarmMembers>(&Seat { swarm, node: new }, &since);
    }
    draft.remove::<BeaconKeys>(&old);
    draft.remove::<StorageCommitments>(&old);
    draft.put::<Endpoints>(&endpoint_digest(&node.endpoint), &new);
    draft.remove::<NodeAliases>(&new);
    draft.put::<NodeAliases>(&node.first, &new);
    if old != node.first {
        draft.put::<NodeAliases>(&old, &node.first);
    }
    draft.remove::<Nodes>(&old);
    draft.put::<Nodes>(&new, node);
}
