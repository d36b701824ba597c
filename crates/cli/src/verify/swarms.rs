//! What shows who the members of swarms are: their seats in the state of a sealed block, all of them,
//! and their keys, whose hashes are the ids in the seats.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use session_core::{Epoch, List, NodeId, SwarmId, Text, record};
use session_crypto::PublicIdentity;
use session_protocol::limits::SWARM_MEMBERS_MAX;
use session_protocol::{NodeRecord, StaticMembership};
use session_rpc::network_file;
use session_vm::genesis::Genesis;
use session_vm::records::{NodeKeys, Seat, SwarmMembers, Table};
use session_vm::state::State;

use super::anchor::Shown;
use super::not;
use crate::chain::proof::Trust;
use crate::chain::rpc::Rpc;
use crate::exit::{Failure, Result};

/// Swarms that the items of one message are spread over.
const SWARMS_MAX: usize = 64;

/// How often the chain is asked again when the epoch turns between two questions.
const ATTEMPTS: usize = 3;

/// What a swarm's id fills in the key of a seat, with the table's byte before it.
const SWARM_PREFIX: usize = 1 + 8;

record! {
    /// What the chain shows of swarms.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(crate) struct Swarms {
        swarms: List<Swarm, SWARMS_MAX>,
    }

    /// A swarm.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Swarm {
        id: SwarmId,
        members: List<Seated, SWARM_MEMBERS_MAX>,
        /// Shows the seat of the first member, and so that there are no other seats.
        shown: Shown,
    }

    /// A member.
    #[derive(Clone, Debug, PartialEq, Eq)]
    struct Seated {
        keys: PublicIdentity,
        /// The epoch in which it took the seat.
        since: Epoch,
    }
}

impl Swarms {
    /// Asks the chain who the members are now.
    pub(crate) async fn fetch(rpc: &Rpc, wanted: &BTreeSet<SwarmId>) -> Result<Self> {
        let mut swarms = Vec::with_capacity(wanted.len());
        for id in wanted {
            swarms.push(Swarm::fetch(rpc, *id).await?);
        }
        Ok(Self { swarms: List::new(swarms).map_err(Failure::failed)? })
    }

    /// Checks everything against the genesis of the chain. Returns the swarms as a network of their
    /// members, and the height of the oldest block that shows one.
    pub(crate) fn verify(&self, genesis: Genesis) -> Result<(StaticMembership, u64)> {
        let name = genesis.name.to_string();
        let trust = Trust::Genesis(Box::new(genesis));
        let mut heights = Vec::with_capacity(self.swarms.len());
        let mut known = BTreeSet::new();
        for swarm in &self.swarms {
            if !known.insert(swarm.id) {
                return Err(not(&format!("swarm {} is shown twice", swarm.id)));
            }
            heights.push(swarm.verify(&trust)?);
        }
        let height = heights.into_iter().min().ok_or_else(|| not("no swarm is shown"))?;
        Ok((self.membership(&name)?, height))
    }

    /// Returns the swarms as a network of their members, unproven.
    pub(crate) fn membership(&self, name: &str) -> Result<StaticMembership> {
        let records = self.swarms.iter().flat_map(|swarm| {
            swarm.members.iter().map(|member| NodeRecord {
                keys: member.keys.clone(),
                // Nobody is dialled: any two that differ will do.
                address: Text::new(member.keys.node_id().to_string()).expect("an id is short"),
                swarm: swarm.id,
            })
        });
        StaticMembership::new(name, records).map_err(|error| not(&error.to_string()))
    }
}

impl Swarm {
    async fn fetch(rpc: &Rpc, id: SwarmId) -> Result<Self> {
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let seats = seats(rpc, id).await?;
            let Some(first) = seats.keys().next() else { break };
            let shown = Shown::fetch(rpc, &seat_key(id, *first)).await?;
            let mut members = Vec::with_capacity(seats.len());
            for (node, since) in &seats {
                let keys = rpc.entry::<NodeKeys>(node).await?;
                let keys = keys.ok_or_else(|| {
                    Failure::failed(format!("the chain does not know the keys of node {node}"))
                })?;
                members.push(Seated { keys, since: *since });
            }
            let swarm = Self { id, members: List::new(members).map_err(Failure::failed)?, shown };
            // The seats and the proof were asked for one after the other.
            match swarm.verify_under(&swarm.shown.claimed_root()?) {
                Ok(()) => return Ok(swarm),
                Err(failure) => last = Some(failure),
            }
        }
        Err(last.unwrap_or_else(|| {
            Failure::not_found(format!("the chain knows no members of swarm {id}"))
        }))
    }

    /// Returns the height of the block that shows it.
    fn verify(&self, trust: &Trust) -> Result<u64> {
        let (root, height) = self.shown.sealed(trust)?;
        self.verify_under(&root)?;
        Ok(height)
    }

    fn verify_under(&self, root: &session_core::Digest) -> Result<()> {
        let seats = self.members.iter().map(|member| {
            let key = seat_key(self.id, member.keys.node_id());
            (key, session_core::Encode::to_bytes(&member.since))
        });
        let seats: BTreeMap<Vec<u8>, Vec<u8>> = seats.collect();
        let prefix = seat_key(self.id, NodeId::default());
        let all = State::from_entries(&seats);
        let shown = self.shown.proof().verify_all(&prefix[..SWARM_PREFIX], &all, root);
        shown.map_err(|error| not(&format!("the members of swarm {}: {error}", self.id)))
    }
}

fn seat_key(swarm: SwarmId, node: NodeId) -> Vec<u8> {
    SwarmMembers::key(&Seat { swarm, node })
}

/// Returns the members of a swarm, with the epochs in which they took their seats.
async fn seats(rpc: &Rpc, id: SwarmId) -> Result<BTreeMap<NodeId, Epoch>> {
    let answer = rpc.call("GetSwarms", json!({})).await?;
    for swarm in answer.list("swarms")? {
        let named = network_file::swarm_id(swarm.text("swarmId")?);
        if named.ok_or_else(|| swarm.wrong(&"swarmId: it must be hex digits"))? == id {
            let members = swarm.list("members")?;
            let seat = |it: &crate::chain::rpc::Answer| {
                Ok((it.parsed("nodeId")?, Epoch(it.number("since")?)))
            };
            return members.iter().map(seat).collect();
        }
    }
    Ok(BTreeMap::new())
}
