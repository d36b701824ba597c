//! What holds in every state, as functions that tests run after every block.

use std::collections::BTreeMap;

use session_core::NodeId;
use session_protocol::chain::Amount;
use session_protocol::roster::TARGETS_MAX;

use super::penalties::share;
use crate::query::{self, entries, get};
use crate::records::{
    AccountKeys, Accounts, Ballots, ChannelMembers, ChannelNames, Channels, Commitments,
    EPOCHS_KEPT, Endpoints, MarkAt, Marks, NodeAliases, NodeKeys, NodeStatus, Nodes, OpenSessions,
    Seat, SeatOf, ServiceNode, SessionState, Sessions, SigningKeys, StorageCommitments,
    SwarmMembers, channel_name_digest, endpoint_digest, signing_key_digest,
};
use crate::state::State;

/// Somebody made or destroyed LUX.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("balances {balances} + stakes {stakes} + treasury {treasury} are not the supply, {supply}")]
pub struct NotConserved {
    /// Base units in all accounts.
    pub balances: u128,
    /// Base units staked.
    pub stakes: u128,
    /// Base units taken as fees and penalties.
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

/// Checks that balances, stakes, fees and penalties taken are the supply.
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
    duties_agree(state)?;
    sessions_agree(state)?;
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
        if let Some(SeatOf { swarm, since }) = node.status.seat() {
            let seat = get::<SwarmMembers>(state, &Seat { swarm, node: id });
            agree(seat == Some(since), "SwarmMembers", id)?;
            seats += 1;
        }
        agree(query::current_id(state, &node.first) == Some(id), "NodeAliases", node.first)?;
        let next = node.next.is_none_or(|next| query::current_id(state, &next) == Some(id));
        agree(next, "NodeAliases", id)?;
        agree(stake_is_exact(&node), "Nodes", id)?;
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
        let account = get::<AccountKeys>(state, &keys.account_id());
        agree(account.as_ref() == Some(&keys), "AccountKeys", id)?;
    }
    agree(entries::<SigningKeys>(state).count() == ids, "SigningKeys", "the number of entries")?;
    let aliases = entries::<NodeAliases>(state).count();
    agree(entries::<Nodes>(state).count() + aliases == ids, "NodeAliases", "the number of ids")
}

/// What is left of a stake is what was not lost, to the unit, until it was withdrawn.
fn stake_is_exact(node: &ServiceNode) -> bool {
    let left = node.stake_original.checked_sub(share(node.stake_original, node.lost_bps));
    match node.status {
        NodeStatus::Retired { .. } => node.stake == Amount::ZERO,
        _ => left == Some(node.stake),
    }
}

fn duties_agree(state: &State) -> Result<(), Disagreement> {
    let epoch = query::epoch(state).number;
    let has_seat =
        |id: &NodeId| get::<Nodes>(state, id).is_some_and(|node| node.status.seat().is_some());
    for (examiner, ballot) in entries::<Ballots>(state) {
        agree(has_seat(&examiner) && ballot.epoch == epoch, "Ballots", examiner)?;
    }
    for (id, Commitments { current, .. }) in entries::<StorageCommitments>(state) {
        let fits = current.is_none_or(|current| has_seat(&id) && current.epoch == epoch);
        agree(fits, "StorageCommitments", id)?;
    }
    for (MarkAt { node, epoch: of }, mark) in entries::<Marks>(state) {
        let kept = of < epoch && mark.votes.len() <= TARGETS_MAX;
        agree(kept && query::current_id(state, &node).is_some(), "Marks", node)?;
    }
    marks_are_bounded(state)
}

fn marks_are_bounded(state: &State) -> Result<(), Disagreement> {
    let mut counts: BTreeMap<NodeId, u64> = BTreeMap::new();
    for (at, _) in entries::<Marks>(state) {
        *counts.entry(at.node).or_default() += 1;
    }
    counts.into_iter().try_for_each(|(id, count)| agree(count <= EPOCHS_KEPT, "Marks", id))
}

fn sessions_agree(state: &State) -> Result<(), Disagreement> {
    let mut open = 0;
    for (id, session) in entries::<Sessions>(state) {
        let started = match session.state {
            SessionState::Pending => None,
            SessionState::Running { started } => Some(started),
            SessionState::Finalized { .. } | SessionState::Failed { .. } => continue,
        };
        let anchor = get::<OpenSessions>(state, &id);
        agree(anchor.is_some_and(|anchor| anchor.started == started), "OpenSessions", id)?;
        let epoch = query::epoch_numbered(state, session.epoch);
        let its = epoch.is_none_or(|it| anchor.is_some_and(|a| a.randomness == it.randomness));
        agree(its, "OpenSessions", id)?;
        open += 1;
    }
    agree(entries::<OpenSessions>(state).count() == open, "OpenSessions", "the number of entries")
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
