//! Who had which seat in an epoch of the past, as far as the chain still tells.
//!
//! There is a mark of every node with a seat in every epoch, so the marks tell who had one. Which
//! swarm it was in, its seat of now tells if it is that old; of nodes that have left, nothing does,
//! unless there is one swarm only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use session_core::{NodeId, SwarmId};

use crate::chain::duties::marks_of;
use crate::chain::network;
use crate::chain::rpc::Rpc;
use crate::exit::Result;

/// Above this, asking for the marks of all takes too long for somebody who waits.
const NODES_MAX: usize = 256;

/// Epochs that marks are kept for.
const EPOCHS: u64 = 24;

/// What is known of the seats of the last epochs.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Who had a seat in which epoch.
    seated: BTreeMap<u64, BTreeSet<NodeId>>,
    /// The seats of now, and since when.
    now: BTreeMap<NodeId, (SwarmId, u64)>,
    swarms: BTreeSet<SwarmId>,
    /// Since when these are the swarms.
    swarms_since: u64,
}

impl Past {
    /// Asks for what is needed.
    pub(super) async fn learn(rpc: &Rpc) -> Result<Self> {
        let mut past = Self::default();
        let answer = rpc.call("GetSwarms", json!({})).await?;
        past.swarms_since = answer.number("swarmsSince")?;
        for swarm in answer.list("swarms")? {
            let id = session_rpc::network_file::swarm_id(swarm.text("swarmId")?)
                .ok_or_else(|| swarm.wrong(&"swarmId: it must be hex digits"))?;
            past.swarms.insert(id);
            for member in swarm.list("members")? {
                past.now.insert(member.parsed("nodeId")?, (id, member.number("since")?));
            }
        }
        let nodes = network::list(rpc, json!({})).await?;
        for node in nodes.iter().filter(|_| nodes.len() <= NODES_MAX) {
            let id: NodeId = node.parsed("nodeId")?;
            for mark in marks_of(rpc, &id, EPOCHS).await?.list("marks")? {
                past.seated.entry(mark.number("epoch")?).or_default().insert(id);
            }
        }
        Ok(past)
    }

    /// Returns the seats of an epoch; nothing if they are not all known.
    pub(super) fn seats(&self, epoch: u64) -> Option<Vec<(SwarmId, NodeId)>> {
        let seated = self.seated.get(&epoch)?;
        seated.iter().map(|node| Some((self.swarm(node, epoch)?, *node))).collect()
    }

    fn swarm(&self, node: &NodeId, epoch: u64) -> Option<SwarmId> {
        match self.now.get(node) {
            Some((swarm, since)) if *since <= epoch => Some(*swarm),
            _ if self.swarms.len() == 1 && self.swarms_since <= epoch => {
                self.swarms.first().copied()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_of_those_who_left_are_only_known_with_one_swarm() {
        let node = |byte: u8| NodeId::from([byte; 32]);
        let mut past = Past {
            seated: BTreeMap::from([(5, BTreeSet::from([node(1), node(2)]))]),
            now: BTreeMap::from([(node(1), (SwarmId(7), 2))]),
            swarms: BTreeSet::from([SwarmId(7)]),
            swarms_since: 3,
        };
        assert_eq!(past.seats(5), Some(vec![(SwarmId(7), node(1)), (SwarmId(7), node(2))]));
        assert_eq!(past.seats(4), None);
        past.swarms.insert(SwarmId(9));
        assert_eq!(past.seats(5), None);
        past.now.insert(node(2), (SwarmId(9), 5));
        assert_eq!(past.seats(5).unwrap()[1], (SwarmId(9), node(2)));
        past.now.insert(node(2), (SwarmId(9), 6));
        assert_eq!(past.seats(5), None);
    }
}
