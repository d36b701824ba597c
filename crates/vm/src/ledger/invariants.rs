//! What holds in every state, as functions that tests run after every block.

use std::collections::BTreeMap;

use crate::query::{self, entries, get};
use crate::records::{
    Accounts, ChannelMembers, ChannelNames, Channels, Endpoints, NodeAliases, NodeKeys, NodeStatus,
    Nodes, Seat, SigningKeys, SwarmMembers, channel_name_digest, endpoint_digest,
    signing_key_digest,
};
use crate::state::State;

/// Somebody made or destroyed LUX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("balances {balances} + stakes {stakes} + fees {treasury} are not the supply, {supply}")]
pub struct NotConserved {
    /// Base units in all accounts.
    pub balances: u128,
    /// Base units staked.
    pub stakes: u128,
    /// Base units taken as fees.
    pub treasury: u128,
    /// Base units that there are.
    pub supply: u128,
}

/// Two tables of the state contradict each other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{table} disagrees about {entry}")]
pub struct Disagreement {
    /// The table that should follow from another one.
    pub table: &'static str,
    /// The entry.
    pub entry: String,
}

/// Checks that balances, stakes and fees taken are the supply.
///
/// # Errors
/// When they are not.
pub fn supply_is_conserved(state: &State) -> Result<(), NotConserved> {
    let sum = NotConserved {
        balances: entries::<Accounts>(state).map(|(_, a)| u128::from(a.balance.0)).sum(),
        stakes: entries::<Nodes>(state).map(|(_, node)| u128::from(node.stake.0)).sum(),
        treasury: query::treasury(state).0.into(),
        supply: query::supply(state).0.into(),
    };
    if sum.balances + sum.stakes + sum.treasury == sum.supply { Ok(()) } else { Err(sum) }
}

/// Checks that every index agrees with the records that it is about.
///
/// # Errors
/// When one does not; it is named.
pub fn indexes_agree(state: &State) -> Result<(), Disagreement> {
    nodes_agree(state)?;
    channels_agree(state)
}

fn agree(holds: bool, table: &'static str, entry: impl ToString) -> Result<(), Disagreement> {
    if holds { Ok(()) } else { Err(Disagreement { table, entry: entry.to_string() }) }
}

fn nodes_agree(state: &State) -> Result<(), Disagreement> {
    let (mut endpoints, mut seats) = (0, 0);
    for (id, node) in entries::<Nodes>(state) {
        let at = get::<Endpoints>(state, &endpoint_digest(&node.endpoint));
        if !matches!(node.status, NodeStatus::Retired { .. }) {
            agree(at == Some(id), "Endpoints", id)?;
            endpoints += 1;
        }
        if let NodeStatus::Active { swarm, since } = node.status {
            let seat = get::<SwarmMembers>(state, &Seat { swarm, node: id });
            agree(seat == Some(since), "SwarmMembers", id)?;
            seats += 1;
        }
        agree(query::current_id(state, &node.first) == Some(id), "NodeAliases", node.first)?;
    }
    agree(entries::<Endpoints>(state).count() == endpoints, "Endpoints", "the number of entries")?;
    agree(entries::<SwarmMembers>(state).count() == seats, "SwarmMembers", "the number of seats")?;

    let mut ids = 0;
    for (id, keys) in entries::<NodeKeys>(state) {
        ids += 1;
        agree(keys.node_id() == id, "NodeKeys", id)?;
        let signing = get::<SigningKeys>(state, &signing_key_digest(keys.dsa()));
        agree(signing == Some(id), "SigningKeys", id)?;
        agree(query::current_id(state, &id).is_some(), "NodeAliases", id)?;
    }
    agree(entries::<SigningKeys>(state).count() == ids, "SigningKeys", "the number of entries")?;
    let aliases = entries::<NodeAliases>(state).count();
    agree(entries::<Nodes>(state).count() + aliases == ids, "NodeAliases", "the number of ids")
}

fn channels_agree(state: &State) -> Result<(), Disagreement> {
    let mut members = BTreeMap::new();
    for (place, _) in entries::<ChannelMembers>(state) {
        *members.entry(place.channel).or_insert(0_u16) += 1;
    }
    for (id, channel) in entries::<Channels>(state) {
        let counted = members.remove(&id).unwrap_or_default();
        agree(channel.members > 0 && counted == channel.members, "ChannelMembers", id)?;
        let named = get::<ChannelNames>(state, &channel_name_digest(&channel.name));
        agree(named == Some(id), "ChannelNames", id)?;
    }
    agree(members.is_empty(), "ChannelMembers", "members of no channel")?;
    let names = entries::<ChannelNames>(state).count();
    agree(names == entries::<Channels>(state).count(), "ChannelNames", "the number of names")
}
