//! Reading the state: what the drivers, the RPC and auditors ask.
//!
//! Everything here reads one state, which never changes under the reader. For a proof of what was
//! read, make the entry's key with [`Table::key`] and ask [`State::prove`].

use std::cmp::Reverse;
use std::collections::BTreeMap;

use session_core::{
    AccountId, ChannelId, ConversationId, Decode, Digest, Epoch, NodeId, SessionId, SwarmId, Time,
};
use session_crypto::{DsaPublicKey, PublicIdentity};
use session_protocol::chain::Amount;
use session_protocol::chain::view::{BeaconView, RegisteredKeys};
use session_protocol::roster::Roster;
use session_protocol::schedule::{Phase, Schedule};

use crate::records::{
    Account, AccountKeys, Accounts, Authority, BeaconKeys, Case, Cases, Chain, ChainRecord,
    Channel, ChannelMembers, ChannelNames, Channels, Commitments, Conversation, Conversations,
    CurrentEpoch, EpochRecord, FormerSeats, ManifestAnchor, Manifests, Mark, MarkAt, Marks,
    Membership, NetworkChanged, NodeAliases, NodeKeys, NodeStatus, Nodes, Only, Parameters, Params,
    PastEpochs, Sequencer, ServiceNode, Sessions, StorageCommitments, SwarmMembers, Table,
    Treasury, WorkloadSession, channel_name_digest,
};
use crate::state::State;

/// Returns the entry of one key of a table.
#[must_use]
pub fn get<T: Table>(state: &State, key: &T::Key) -> Option<T::Value> {
    state.get(&T::key(key)).map(T::value)
}

/// Returns every entry of a table, in the order of keys.
pub fn entries<T: Table>(state: &State) -> impl Iterator<Item = (T::Key, T::Value)> {
    state.range(&[T::TAG]).map(|(key, value)| (key_of::<T>(key), T::value(value)))
}

pub(crate) fn key_of<T: Table>(key: &[u8]) -> T::Key {
    T::Key::decode_exact(&key[1..]).expect("the ledger wrote every key")
}

fn only<T: Table<Key = Only>>(state: &State) -> T::Value {
    get::<T>(state, &Only {}).expect("genesis writes it and nothing removes it")
}

/// Returns what never changes.
///
/// # Panics
/// As the other readers of single entries: when the state does not come from a genesis.
#[must_use]
pub fn chain(state: &State) -> ChainRecord {
    only::<Chain>(state)
}

/// Returns the numbers that the rules use.
#[must_use]
pub fn params(state: &State) -> Params {
    only::<Parameters>(state)
}

/// Returns the epoch that the last block was in.
#[must_use]
pub fn epoch(state: &State) -> EpochRecord {
    only::<CurrentEpoch>(state)
}

/// Returns an epoch: the current one, or one of the last 1,024.
#[must_use]
pub fn epoch_numbered(state: &State, number: Epoch) -> Option<EpochRecord> {
    let current = epoch(state);
    if current.number == number { Some(current) } else { get::<PastEpochs>(state, &number) }
}

/// Returns what happens when in the epoch that the last block was in.
#[must_use]
pub fn schedule(state: &State) -> Schedule {
    Schedule { start: epoch(state).start, length: params(state).epoch }
}

/// Returns when the next epoch begins: the first block from then on turns it.
#[must_use]
pub fn next_turn(state: &State) -> Time {
    epoch(state).start + params(state).epoch
}

/// Returns when time alone asks for a block above one of the time `last`: when the epoch turns, and,
/// as long as there are nodes, at each quarter of it, because their duties change then.
#[must_use]
pub fn next_due(state: &State, last: Time) -> Time {
    let schedule = schedule(state);
    let due = Phase::ALL.into_iter().map(|phase| schedule.begin(phase)).find(|due| *due > last);
    let has_seats = active_nodes(state).next().is_some();
    due.filter(|_| has_seats).unwrap_or_else(|| schedule.end())
}

/// Returns all LUX there is.
#[must_use]
pub fn supply(state: &State) -> Amount {
    chain(state).supply
}

/// Returns the fees taken so far.
#[must_use]
pub fn treasury(state: &State) -> Amount {
    only::<Treasury>(state)
}

/// Returns the keys that blocks are sealed with while the chain runs alone.
#[must_use]
pub fn sequencer(state: &State) -> Option<PublicIdentity> {
    get::<Sequencer>(state, &Only {})
}

/// Returns the height of the last block that changed who is a node, where it is reached, or which
/// swarm it serves.
#[must_use]
pub fn network_changed(state: &State) -> u64 {
    only::<NetworkChanged>(state)
}

/// Returns what a transaction of `size` bytes costs.
#[must_use]
pub fn required_fee(params: &Params, size: usize) -> Amount {
    let kib = size.div_ceil(1024) as u64;
    Amount(params.fee_base.0.saturating_add(params.fee_per_kib.0.saturating_mul(kib)))
}

/// Returns an account; one that nobody used is empty.
#[must_use]
pub fn account(state: &State, id: &AccountId) -> Account {
    get::<Accounts>(state, id).unwrap_or_default()
}

/// Returns the keys of an account, if the chain knows them.
#[must_use]
pub fn keys(state: &State, id: &AccountId) -> Option<PublicIdentity> {
    get::<AccountKeys>(state, id)
}

/// Returns the current id of a node from any id that it ever had.
#[must_use]
pub fn current_id(state: &State, id: &NodeId) -> Option<NodeId> {
    let exists = |id: &NodeId| state.get(&Nodes::key(id)).is_some();
    let mut id = *id;
    // At most two steps: to the first id, and from there to the current one.
    for _ in 0..2 {
        if exists(&id) {
            break;
        }
        id = get::<NodeAliases>(state, &id)?;
    }
    exists(&id).then_some(id)
}

/// Returns a node and its current id from any id that it ever had.
#[must_use]
pub fn node(state: &State, id: &NodeId) -> Option<(NodeId, ServiceNode)> {
    let id = current_id(state, id)?;
    get::<Nodes>(state, &id).map(|node| (id, node))
}

/// Returns the keys that make a node's id; of a former id, the former keys.
#[must_use]
pub fn node_keys(state: &State, id: &NodeId) -> Option<PublicIdentity> {
    get::<NodeKeys>(state, id)
}

/// Returns the members of a workload session's committee by the ids that they have now.
pub fn session_members(
    state: &State,
    session: &WorkloadSession,
) -> impl Iterator<Item = NodeId> + use<> {
    let current = |member| current_id(state, member).expect("nodes stay in the state");
    session.committee.iter().map(current).collect::<Vec<_>>().into_iter()
}

/// Returns the committee of a workload session, in the order in which it was chosen: its members by
/// the ids and with the signing keys that they have now.
#[must_use]
pub fn session_committee(state: &State, session: &WorkloadSession) -> Vec<(NodeId, DsaPublicKey)> {
    with_keys(state, session_members(state, session))
}

pub(crate) fn with_keys(
    state: &State,
    members: impl IntoIterator<Item = NodeId>,
) -> Vec<(NodeId, DsaPublicKey)> {
    let key = |member: &NodeId| {
        let keys = node_keys(state, member).expect("every node has keys");
        keys.dsa().clone()
    };
    members.into_iter().map(|member| (member, key(&member))).collect()
}

/// Returns up to `limit` nodes behind the id `after`, in the order of ids.
#[must_use]
pub fn nodes(state: &State, after: Option<&NodeId>, limit: usize) -> Vec<(NodeId, ServiceNode)> {
    page::<Nodes, _>(state, &[], after.map(Nodes::key), limit, |id| *id)
}

/// Returns every active node, swarm by swarm.
pub fn active_nodes(state: &State) -> impl Iterator<Item = (SwarmId, NodeId)> {
    entries::<SwarmMembers>(state).map(|(seat, _)| (seat.swarm, seat.node))
}

/// Returns the swarms, their members, and the epochs in which those took their seats.
#[must_use]
pub fn swarms(state: &State) -> BTreeMap<SwarmId, Vec<(NodeId, Epoch)>> {
    let mut swarms: BTreeMap<SwarmId, Vec<(NodeId, Epoch)>> = BTreeMap::new();
    for (seat, since) in entries::<SwarmMembers>(state) {
        swarms.entry(seat.swarm).or_default().push((seat.node, since));
    }
    swarms
}

/// Returns the swarms that nodes had until the last epoch turned, if they have another or none now.
pub fn former_seats(state: &State) -> impl Iterator<Item = (NodeId, SwarmId)> {
    entries::<FormerSeats>(state)
}

/// Returns the first epoch in which a node that waits serves, and when it begins; nothing for a
/// node that does not wait.
#[must_use]
pub fn first_seat(state: &State, id: &NodeId) -> Option<(Epoch, Time)> {
    let (_, node) = node(state, id)?;
    if !matches!(node.status, NodeStatus::Registered) {
        return None;
    }
    let (chain, params, now) = (chain(state), params(state), epoch(state).number);
    let first = crate::ledger::first_epoch(chain.genesis, &params, node.registered);
    let first = first.max(Epoch(now.0.saturating_add(1)));
    Some((first, Schedule::of(chain.genesis, params.epoch, first).start))
}

/// Returns how the beacon of the next epoch stands.
#[must_use]
pub fn beacon(state: &State) -> BeaconView {
    crate::view::beacon_view(state, &epoch(state))
}

/// Returns the one-time secrets that a node registered.
#[must_use]
pub fn beacon_keys(state: &State, node: &NodeId) -> RegisteredKeys {
    get::<BeaconKeys>(state, node).unwrap_or_default()
}

/// Returns what a node committed to.
#[must_use]
pub fn commitments(state: &State, node: &NodeId) -> Commitments {
    get::<StorageCommitments>(state, node).unwrap_or_default()
}

/// Returns what the nodes committed to, those of one swarm or all.
pub fn commitments_of(
    state: &State,
    swarm: Option<SwarmId>,
) -> impl Iterator<Item = (NodeId, SwarmId, Commitments)> {
    active_nodes(state)
        .filter(move |(of, _)| swarm.is_none_or(|swarm| swarm == *of))
        .map(|(swarm, node)| (node, swarm, commitments(state, &node)))
}

/// Returns up to `limit` marks of a node, the last epoch first. Marks stay with the id that a node
/// had then: these are those of the id asked for, and those of its current one.
#[must_use]
pub fn marks(state: &State, id: &NodeId, limit: usize) -> Vec<(MarkAt, Mark)> {
    let current = current_id(state, id).filter(|current| current != id);
    let mut marks: Vec<(MarkAt, Mark)> = Vec::new();
    for id in current.iter().chain([id]) {
        marks.extend(page::<Marks, _>(state, id.as_bytes(), None, usize::MAX, |at| *at));
    }
    marks.sort_by_key(|(at, _)| Reverse(at.epoch));
    marks.truncate(limit);
    marks
}

/// Returns an accusation.
#[must_use]
pub fn case(state: &State, id: &Digest) -> Option<Case> {
    get::<Cases>(state, id)
}

/// Returns every accusation, in the order of ids.
pub fn cases(state: &State) -> impl Iterator<Item = (Digest, Case)> {
    entries::<Cases>(state)
}

/// Returns who may drop accusations.
#[must_use]
pub fn authority(state: &State) -> Option<AccountId> {
    get::<Authority>(state, &Only {})
}

/// Returns who does what in the epoch that the last block was in.
#[must_use]
pub fn roster(state: &State) -> Roster {
    let (epoch, params) = (epoch(state), params(state));
    let seats: Vec<(SwarmId, NodeId)> = active_nodes(state).collect();
    Roster::new(&epoch.randomness, epoch.number, &seats, usize::from(params.duties.examiners))
}

/// Returns a workload session.
#[must_use]
pub fn session(state: &State, id: &SessionId) -> Option<WorkloadSession> {
    get::<Sessions>(state, id)
}

/// Returns a conversation.
#[must_use]
pub fn conversation(state: &State, id: &ConversationId) -> Option<Conversation> {
    get::<Conversations>(state, id)
}

/// Returns the newest manifest that an account anchored.
#[must_use]
pub fn manifest(state: &State, account: &AccountId) -> Option<ManifestAnchor> {
    get::<Manifests>(state, account)
}

/// Returns a channel.
#[must_use]
pub fn channel(state: &State, id: &ChannelId) -> Option<Channel> {
    get::<Channels>(state, id)
}

/// Returns the id of the channel of a name.
#[must_use]
pub fn channel_named(state: &State, name: &str) -> Option<ChannelId> {
    get::<ChannelNames>(state, &channel_name_digest(name))
}

/// Returns up to `limit` members of a channel behind the account `after`, and when they joined.
#[must_use]
pub fn channel_members(
    state: &State,
    channel: &ChannelId,
    after: Option<&AccountId>,
    limit: usize,
) -> Vec<(AccountId, Time)> {
    let seat = |account: &AccountId| Membership { channel: *channel, account: *account };
    let after = after.map(|account| ChannelMembers::key(&seat(account)));
    page::<ChannelMembers, _>(state, channel.as_bytes(), after, limit, |key| key.account)
}

fn page<T: Table, K>(
    state: &State,
    part: &[u8],
    after: Option<Vec<u8>>,
    limit: usize,
    name: impl Fn(&T::Key) -> K,
) -> Vec<(K, T::Value)> {
    let prefix = [&[T::TAG], part].concat();
    let behind = |key: &[u8]| after.as_deref().is_none_or(|after| key > after);
    state
        .range(&prefix)
        .skip_while(|(key, _)| !behind(key))
        .take(limit)
        .map(|(key, value)| (name(&key_of::<T>(key)), T::value(value)))
        .collect()
}
