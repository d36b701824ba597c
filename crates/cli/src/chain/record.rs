//! Entries of the state, for people and programs.

mod duties;

use serde_json::{Map, Value, json};
use session_core::{Decode, NodeId, Time};
use session_crypto::{AccountRef, PublicIdentity};
use session_protocol::chain::Amount;
use session_rpc::vm::rfc3339;
use session_vm::records::{
    Account, AccountKeys, Accounts, Acknowledgements, Authority, Ballots, BeaconKeys, Cases, Chain,
    ChainRecord, Channel, ChannelMembers, ChannelNames, Channels, Conversation, Conversations,
    CurrentEpoch, Dealers, Dealings, Endpoints, EpochRecord, FormerSeats, Marks, NodeAliases,
    NodeKeys, NodeStatus, Nodes, Parameters, Params, PastEpochs, Reveals, Sequencer, ServiceNode,
    SessionState, Sessions, ShownShares, SigningKeys, StorageCommitments, SwarmMembers, TABLES,
    Table, Treasury, WorkloadSession,
};

/// Names and values, in the order in which people read them.
type Rows = Vec<(&'static str, Cell)>;

/// A value, as people and as programs read it.
enum Cell {
    /// The same for both.
    Plain(Value),
    /// LUX for people, base units for programs, as in the chain's API.
    Lux(Amount),
}

macro_rules! plain {
    ($($from:ty)*) => {$(
        impl From<$from> for Cell {
            fn from(value: $from) -> Self {
                Self::Plain(value.into())
            }
        }
    )*};
}

plain! { Value String &str u16 u64 }

impl From<Amount> for Cell {
    fn from(amount: Amount) -> Self {
        Self::Lux(amount)
    }
}

impl Cell {
    fn line(&self) -> String {
        match self {
            Self::Plain(Value::String(text)) => text.clone(),
            Self::Plain(Value::Array(list)) => {
                let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                texts.join(" ")
            }
            Self::Plain(value) => value.to_string(),
            Self::Lux(amount) => format!("{amount} LUX"),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Plain(value) => value.clone(),
            Self::Lux(amount) => amount.0.to_string().into(),
        }
    }
}

/// An entry of the state in words.
pub(super) struct Entry {
    /// Which table it is of, for programs.
    pub(super) table: &'static str,
    /// What it is, for people.
    pub(super) what: &'static str,
    /// Whose entry it is.
    key: Rows,
    /// What it holds; nothing if there is no such entry.
    record: Option<Rows>,
}

/// Reads an entry by its raw key.
///
/// # Errors
/// With what is wrong, when the key is of no table or the value is no record of its table.
pub(super) fn read(key: &[u8], value: Option<&[u8]>) -> Result<Entry, String> {
    let tag = key.first().copied().ok_or("the key is empty")?;
    match tag {
        Chain::TAG => entry::<Chain>(key, value, |_| vec![], chain),
        Parameters::TAG => entry::<Parameters>(key, value, |_| vec![], parameters),
        CurrentEpoch::TAG => entry::<CurrentEpoch>(key, value, |_| vec![], epoch),
        Treasury::TAG => {
            entry::<Treasury>(key, value, |_| vec![], |fees| vec![("fees", fees.into())])
        }
        Sequencer::TAG => entry::<Sequencer>(key, value, |_| vec![], keys),
        Accounts::TAG => {
            entry::<Accounts>(key, value, |id| vec![("account", text(AccountRef(id)))], account)
        }
        AccountKeys::TAG => {
            entry::<AccountKeys>(key, value, |id| vec![("account", text(AccountRef(id)))], keys)
        }
        PastEpochs::TAG => {
            entry::<PastEpochs>(key, value, |number| vec![("epoch", number.0.into())], epoch)
        }
        Authority::TAG => entry::<Authority>(
            key,
            value,
            |_| vec![],
            |account| vec![("account", text(AccountRef(account)))],
        ),
        Nodes::TAG => entry::<Nodes>(key, value, node_key, node),
        NodeKeys::TAG => entry::<NodeKeys>(key, value, node_key, keys),
        NodeAliases::TAG => entry::<NodeAliases>(key, value, node_key, node_key),
        Endpoints::TAG => {
            entry::<Endpoints>(key, value, |digest| vec![("endpoint", text(digest))], node_key)
        }
        SigningKeys::TAG => {
            entry::<SigningKeys>(key, value, |digest| vec![("signingKey", text(digest))], node_key)
        }
        SwarmMembers::TAG => entry::<SwarmMembers>(
            key,
            value,
            |seat| vec![("swarmId", text(seat.swarm)), ("nodeId", text(seat.node))],
            |since| vec![("since", since.0.into())],
        ),
        Sessions::TAG => {
            entry::<Sessions>(key, value, |id| vec![("sessionId", text(id))], workload)
        }
        Conversations::TAG => entry::<Conversations>(
            key,
            value,
            |id| vec![("conversationId", text(id))],
            conversation,
        ),
        Channels::TAG => entry::<Channels>(key, value, |id| vec![("channelId", text(id))], channel),
        ChannelNames::TAG => entry::<ChannelNames>(
            key,
            value,
            |digest| vec![("name", text(digest))],
            |id| vec![("channelId", text(id))],
        ),
        ChannelMembers::TAG => entry::<ChannelMembers>(
            key,
            value,
            |seat| {
                vec![("channelId", text(seat.channel)), ("account", text(AccountRef(seat.account)))]
            },
            |joined| vec![("joined", time(joined))],
        ),
        tag => read_duty(tag, key, value),
    }
}

/// The tables about the duties of nodes.
fn read_duty(tag: u8, key: &[u8], value: Option<&[u8]>) -> Result<Entry, String> {
    match tag {
        FormerSeats::TAG => entry::<FormerSeats>(key, value, node_key, duties::former_seat),
        BeaconKeys::TAG => entry::<BeaconKeys>(key, value, node_key, duties::beacon_keys),
        Dealers::TAG => entry::<Dealers>(key, value, |_| vec![], duties::dealers),
        Dealings::TAG => entry::<Dealings>(key, value, duties::place, duties::dealing),
        Acknowledgements::TAG => entry::<Acknowledgements>(key, value, duties::place, |held| {
            vec![("dealings", duties::bits(&held))]
        }),
        Reveals::TAG => entry::<Reveals>(key, value, duties::place, duties::revealed),
        ShownShares::TAG => entry::<ShownShares>(key, value, duties::shown_at, |share| {
            vec![("share", hex::encode(share).into())]
        }),
        Ballots::TAG => entry::<Ballots>(key, value, node_key, duties::ballot),
        StorageCommitments::TAG => {
            entry::<StorageCommitments>(key, value, node_key, duties::commitments)
        }
        Marks::TAG => entry::<Marks>(key, value, duties::mark_at, duties::mark),
        Cases::TAG => entry::<Cases>(key, value, |id| vec![("caseId", text(id))], duties::case),
        tag => Err(format!("no table has the tag {tag:02x}")),
    }
}

fn entry<T: Table>(
    key: &[u8],
    value: Option<&[u8]>,
    of: impl Fn(T::Key) -> Rows,
    holds: impl Fn(T::Value) -> Rows,
) -> Result<Entry, String> {
    let table = TABLES.iter().find(|(tag, _)| *tag == T::TAG).map_or("?", |(_, name)| *name);
    let what = what(T::TAG);
    let id = T::Key::decode_exact(&key[1..]).map_err(|error| format!("{what}: key: {error}"))?;
    let read = |bytes| T::Value::decode_exact(bytes);
    let value = value.map(read).transpose().map_err(|error| format!("{what}: value: {error}"))?;
    Ok(Entry { table, what, key: of(id), record: value.map(holds) })
}

/// Returns what the entries of a table are.
fn what(tag: u8) -> &'static str {
    match tag {
        Chain::TAG => "the chain",
        Parameters::TAG => "the rules' numbers",
        CurrentEpoch::TAG => "the epoch",
        Treasury::TAG => "the treasury",
        Sequencer::TAG => "the sequencer",
        Accounts::TAG => "account",
        AccountKeys::TAG => "keys of an account",
        Nodes::TAG => "node",
        NodeKeys::TAG => "keys of a node",
        NodeAliases::TAG => "former id of a node",
        Endpoints::TAG => "endpoint of a node",
        SigningKeys::TAG => "signing key of a node",
        SwarmMembers::TAG => "member of a swarm",
        Sessions::TAG => "workload session",
        Conversations::TAG => "conversation",
        Channels::TAG => "channel",
        ChannelNames::TAG => "name of a channel",
        ChannelMembers::TAG => "member of a channel",
        PastEpochs::TAG => "epoch of the past",
        Authority::TAG => "who may drop accusations",
        FormerSeats::TAG => "former place of a node",
        BeaconKeys::TAG => "one-time secrets of a node",
        Dealers::TAG => "the dealers of the next beacon",
        Dealings::TAG => "dealing",
        Acknowledgements::TAG => "acknowledgement of dealings",
        Reveals::TAG => "what a dealer revealed",
        ShownShares::TAG => "share that was shown",
        Ballots::TAG => "votes of a node in this epoch",
        StorageCommitments::TAG => "what a node says it keeps",
        Marks::TAG => "how a node did in an epoch",
        Cases::TAG => "accusation",
        _ => "entry",
    }
}

impl Entry {
    /// Returns the lines that people read.
    pub(super) fn lines(&self) -> Vec<(&'static str, String)> {
        let rows = self.key.iter().chain(self.record.iter().flatten());
        rows.map(|(name, value)| (*name, value.line())).collect()
    }

    /// Returns what it holds, for programs; null if there is no such entry.
    pub(super) fn to_json(&self) -> Value {
        self.record.as_ref().map_or(Value::Null, object)
    }

    /// Returns whose entry it is, for programs.
    pub(super) fn key_json(&self) -> Value {
        object(&self.key)
    }
}

fn object(rows: &Rows) -> Value {
    let members: Map<String, Value> =
        rows.iter().map(|(name, value)| ((*name).to_owned(), value.to_json())).collect();
    Value::Object(members)
}

fn text(id: impl ToString) -> Cell {
    id.to_string().into()
}

fn time(time: Time) -> Cell {
    rfc3339::format(time).into()
}

fn node_key(id: NodeId) -> Rows {
    vec![("nodeId", text(id))]
}

fn chain(chain: ChainRecord) -> Rows {
    let ChainRecord { name, genesis, supply } = chain;
    vec![("name", text(&*name)), ("genesis", time(genesis)), ("supply", supply.into())]
}

fn parameters(params: Params) -> Rows {
    vec![
        ("epochMs", params.epoch.as_millis().into()),
        ("stakeMin", params.stake_min.into()),
        ("feeBase", params.fee_base.into()),
        ("feePerKib", params.fee_per_kib.into()),
        ("unbondingMs", params.unbonding.as_millis().into()),
        ("swarmSize", params.swarm_size.into()),
        ("sessionTimeMaxMs", params.session_time_max.as_millis().into()),
        ("settleMs", params.duties.settle.as_millis().into()),
        ("examiners", u16::from(params.duties.examiners).into()),
        ("minPeers", u16::from(params.duties.min_peers).into()),
        ("freeBytesMin", params.duties.free_bytes_min.into()),
        ("activationEpochs", u16::from(params.activation_epochs).into()),
        ("penaltyBps", params.penalty_bps.into()),
        ("penaltyBpsMax", params.penalty_max_bps.into()),
        ("missesFree", u16::from(params.misses_free).into()),
        ("slashBps", params.slash_bps.into()),
        ("vetoWindowMs", params.veto_window.as_millis().into()),
        ("drainEpochsMax", u16::from(params.drain_epochs_max).into()),
    ]
}

fn epoch(epoch: EpochRecord) -> Rows {
    vec![
        ("epoch", epoch.number.0.into()),
        ("start", time(epoch.start)),
        ("randomness", text(epoch.randomness)),
        ("beacon", text(epoch.beacon)),
        ("previousBeacon", text(epoch.previous_beacon)),
        ("mode", format!("{:?}", epoch.mode).to_lowercase().into()),
        ("attestersRoot", text(epoch.attesters)),
        ("swarmsSince", epoch.swarms_since.0.into()),
    ]
}

fn account(account: Account) -> Rows {
    vec![("balance", account.balance.into()), ("nonce", account.nonce.into())]
}

fn keys(keys: PublicIdentity) -> Rows {
    vec![
        ("id", text(keys.node_id())),
        ("publicKey", hex::encode(keys.kem()).into()),
        ("signingKey", hex::encode(keys.dsa()).into()),
    ]
}

fn node(node: ServiceNode) -> Rows {
    let mut rows = vec![
        ("operator", text(AccountRef(node.operator))),
        ("endpoint", text(&*node.endpoint)),
        ("stake", node.stake.into()),
        ("originalStake", node.stake_original.into()),
        ("status", node.status.name().into()),
    ];
    match node.status {
        NodeStatus::Registered => {}
        NodeStatus::Active { swarm, since } | NodeStatus::Leaving { swarm, since } => {
            rows.extend([("swarmId", text(swarm)), ("since", since.0.into())]);
        }
        NodeStatus::Suspended { swarm, since, until } => rows.extend([
            ("swarmId", text(swarm)),
            ("since", since.0.into()),
            ("back", until.0.into()),
        ]),
        NodeStatus::Decommissioning { until } | NodeStatus::Slashed { until } => {
            rows.push(("stakeFree", time(until)))
        }
        NodeStatus::Retired { at } => rows.push(("retired", time(at))),
    }
    rows.extend([
        ("registered", time(node.registered)),
        ("lastPing", time(node.last_ping)),
        ("uptimeBps", node.uptime_bps.into()),
        ("first", text(node.first)),
    ]);
    rows
}

fn workload(session: WorkloadSession) -> Rows {
    let committee: Vec<String> = session.committee.iter().map(ToString::to_string).collect();
    let mut rows = vec![
        ("serviceId", text(session.service)),
        ("epoch", session.epoch.0.into()),
        ("txId", text(session.tx)),
        ("creator", text(AccountRef(session.creator))),
        ("program", text(session.program)),
        ("input", text(session.input)),
        ("committee", json!(committee).into()),
        ("created", time(session.created)),
        ("deadline", time(session.deadline)),
        ("state", text(session.state.phase())),
    ];
    match session.state {
        SessionState::Pending => {}
        SessionState::Running { started } => rows.push(("started", time(started))),
        SessionState::Finalized {
            started,
            ended,
            output,
            oracle_root,
            receipts_root,
            attestation,
        } => rows.extend([
            ("started", time(started)),
            ("ended", time(ended)),
            ("output", text(output)),
            ("oracleRoot", text(oracle_root)),
            ("receiptsRoot", text(receipts_root)),
            ("attestation", text(attestation)),
        ]),
        SessionState::Failed { started, ended, reason } => {
            rows.extend(started.map(|started| ("started", time(started))));
            rows.extend([("ended", time(ended)), ("reason", text(&*reason))]);
        }
    }
    rows
}

fn conversation(conversation: Conversation) -> Rows {
    let mut rows = vec![
        ("participantsRoot", text(conversation.participants_root)),
        ("participants", conversation.participants.into()),
        ("opener", text(AccountRef(conversation.opened_by))),
        ("opened", time(conversation.created)),
        ("expires", time(conversation.expires)),
    ];
    rows.extend(conversation.closed.map(|closed| ("closed", time(closed))));
    rows
}

fn channel(channel: Channel) -> Rows {
    vec![
        ("name", text(&*channel.name)),
        ("owner", text(AccountRef(channel.owner))),
        ("members", channel.members.into()),
        ("created", time(channel.created)),
    ]
}
