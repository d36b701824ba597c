//! Reading the state: what the drivers, the RPC and auditors ask.
//!
//! Everything here reads one state, which never changes under the reader. For a proof of what was
//! read, make the entry's key with [`Table::key`] and ask [`State::prove`].

use session_core::{
    AccountId, ChannelId, ConversationId, Decode, NodeId, SessionId, SwarmId, Time,
};
use session_crypto::PublicIdentity;
use session_protocol::chain::Amount;

use crate::records::{
    Account, AccountKeys, Accounts, Chain, ChainRecord, Channel, ChannelMembers, ChannelNames,
    Channels, Conversation, Conversations, CurrentEpoch, EpochRecord, Membership, NodeAliases,
    NodeKeys, Nodes, Only, Parameters, Params, Sequencer, ServiceNode, Sessions, SwarmMembers,
    Table, Treasury, WorkloadSession, channel_name_digest,
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

fn key_of<T: Table>(key: &[u8]) -> T::Key {
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

/// Returns when the next epoch begins: the first block from then on turns it.
#[must_use]
pub fn next_turn(state: &State) -> Time {
    epoch(state).start + params(state).epoch
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

/// Returns up to `limit` nodes behind the id `after`, in the order of ids.
#[must_use]
pub fn nodes(state: &State, after: Option<&NodeId>, limit: usize) -> Vec<(NodeId, ServiceNode)> {
    page::<Nodes, _>(state, &[], after.map(Nodes::key), limit, |id| *id)
}

/// Returns every active node, swarm by swarm.
pub fn active_nodes(state: &State) -> impl Iterator<Item = (SwarmId, NodeId)> {
    entries::<SwarmMembers>(state).map(|(seat, _)| (seat.swarm, seat.node))
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
