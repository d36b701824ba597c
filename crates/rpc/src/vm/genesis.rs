//! How a chain begins: our own JSON, and the shape seen in the wild.
//!
//! Ours has `version`; the other has `vmID`, `config` and `timestamp` and makes a chain without
//! accounts and nodes. Amounts are base units of LUX, as decimal texts or numbers. Keys that nobody
//! knows are returned, to be warned of.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use session_core::{AccountId, Span, SwarmId, Time};

use super::config::{LimitsGiven, limits, object, within};
use super::jsonc::{self, BadText};
use super::{BadVmId, VMID, check_vmid, rfc3339};
use crate::address::{BadAddress, HostPort};
use crate::fields::{BadField, Fields};
use crate::network_file::{DSA_PUBLIC_KEY_BYTES, KEM_PUBLIC_KEY_BYTES, swarm_id};

mod duties;

pub use duties::Duties;

/// The version of our form.
pub const GENESIS_VERSION: u64 = 1;
/// Longest genesis.
pub const GENESIS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Most accounts of a genesis.
pub const ACCOUNTS_MAX: usize = 100_000;
/// Most nodes of a genesis.
pub const NODES_MAX: usize = 10_000;
/// Longest name of a network.
pub const NETWORK_BYTES_MAX: usize = 64;

/// 100 LUX.
const STAKE_MIN: u64 = 100_000_000;
/// The proposal's epoch: about an hour.
const EPOCH_SECONDS: u64 = 3600;
const EPOCH_SECONDS_RANGE: (u64, u64) = (1, 30 * 86_400);
/// The proposal's swarm: about ten nodes.
const SWARM_SIZE: u16 = 10;
const SWARM_SIZE_RANGE: (u64, u64) = (1, 32);
/// As long as items live: whoever lost one can say so before.
const UNBONDING_SECONDS: u64 = 14 * 86_400;
const UNBONDING_SECONDS_RANGE: (u64, u64) = (0, 365 * 86_400);
/// A day.
const WORKLOAD_SECONDS: u64 = 86_400;
const WORKLOAD_SECONDS_RANGE: (u64, u64) = (1, 30 * 86_400);
/// Dear enough to make floods cost something.
const FEE: Fee = Fee { base: 1000, per_kib: 100 };
/// Numbers below are seconds, not milliseconds: this many milliseconds after 1970 is still 1973.
const MILLIS_MIN: u64 = 100_000_000_000;
/// The name of a network whose genesis gives none.
const NETWORK_UNNAMED: &str = "lux-session";

/// What a transaction costs, in base units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fee {
    /// Every transaction.
    pub base: u64,
    /// Every KiB of it that was begun.
    pub per_kib: u64,
}

/// An account at the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisAccount {
    /// Its id.
    pub account: AccountId,
    /// What it can spend.
    pub balance: u64,
    /// ML-KEM-768 and ML-DSA-65 public keys, 3136 bytes, if they are known.
    pub keys: Option<Vec<u8>>,
}

/// A service node at the beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenesisNode {
    /// The account that owns it.
    pub operator: AccountId,
    /// ML-KEM-768, 1184 bytes.
    pub kem_public_key: Vec<u8>,
    /// ML-DSA-65, 1952 bytes.
    pub dsa_public_key: Vec<u8>,
    /// Where it is reached.
    pub endpoint: HostPort,
    /// What it stakes.
    pub stake: u64,
    /// The swarm it serves.
    pub swarm: SwarmId,
}

/// A genesis, in whatever form it was written. That ids are the hashes of keys is for the consumer
/// to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Genesis {
    /// The network's name.
    pub network: String,
    /// The time of the first block.
    pub time: Time,
    /// How long an epoch lasts.
    pub epoch: Span,
    /// The smallest stake.
    pub stake_min: u64,
    /// What transactions cost.
    pub fee: Fee,
    /// Nodes of a swarm.
    pub swarm_size: u16,
    /// How long a stake is held after its node left.
    pub unbonding: Span,
    /// The longest a workload session may run.
    pub workload_max: Span,
    /// What nodes must do, and what it costs them not to.
    pub duties: Duties,
    /// Who may drop accusations while they wait.
    pub authority: Option<AccountId>,
    /// The public keys of the one who decides blocks on a chain that runs alone: ML-KEM-768 and
    /// ML-DSA-65, 3136 bytes.
    pub sequencer: Option<Vec<u8>>,
    /// Accounts.
    pub accounts: Vec<GenesisAccount>,
    /// Nodes.
    pub nodes: Vec<GenesisNode>,
    /// Everything there is: balances and stakes.
    pub supply: u64,
    /// The seed's keys.
    pub limits: LimitsGiven,
}

/// Why a text is not a genesis.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadGenesis {
    /// It is not a JSON table.
    #[error(transparent)]
    Text(#[from] BadText),
    /// A field is missing, of the wrong type or out of range.
    #[error(transparent)]
    Field(#[from] BadField),
    /// It has neither form.
    #[error("it has neither version (our form) nor vmID, config or timestamp (the other one)")]
    Form,
    /// It is for another virtual machine.
    #[error("vmID: {0}")]
    VmId(#[from] BadVmId),
    /// Balances and stakes are not what `supply` says.
    #[error("supply: it is {supply}, balances and stakes are {sum}")]
    Supply {
        /// What it says.
        supply: u64,
        /// What there is.
        sum: u64,
    },
    /// Balances and stakes are more than any amount.
    #[error("{field}: the sum of balances and stakes is over {}", u64::MAX)]
    Overflow {
        /// Where the sum became too large.
        field: String,
    },
}

impl Genesis {
    /// Returns a genesis without accounts and nodes, with every default.
    #[must_use]
    pub fn new(network: impl Into<String>, time: Time) -> Self {
        Self {
            network: network.into(),
            time,
            epoch: Span::from_secs(EPOCH_SECONDS),
            stake_min: STAKE_MIN,
            fee: FEE,
            swarm_size: SWARM_SIZE,
            unbonding: Span::from_secs(UNBONDING_SECONDS),
            workload_max: Span::from_secs(WORKLOAD_SECONDS),
            duties: Duties::default(),
            authority: None,
            sequencer: None,
            accounts: Vec::new(),
            nodes: Vec::new(),
            supply: 0,
            limits: LimitsGiven::default(),
        }
    }

    /// Parses a genesis of either form. Returns it with the names of the keys that nobody knows.
    ///
    /// # Errors
    /// When the text is not a JSON table, a field is missing or wrong, the virtual machine is
    /// another one, or the sums differ.
    pub fn parse(text: &[u8]) -> Result<(Self, Vec<String>), BadGenesis> {
        let table = jsonc::table(text, GENESIS_BYTES_MAX)?;
        let mut fields = Fields::new("", &table);
        if let Some(id) = fields.text("vmID")? {
            check_vmid(id)?;
        }
        if table.contains_key("version") {
            return ours(fields);
        }
        // Whoever writes these means our form.
        let ours_without = ["network", "time", "accounts", "nodes", "supply"];
        if ours_without.iter().any(|key| table.contains_key(*key)) {
            return Err(fields
                .bad("version", "it is missing: this form begins with version 1")
                .into());
        }
        let wild = ["vmID", "config", "timestamp"].iter().any(|key| table.contains_key(*key));
        if wild { Ok(other(fields)?) } else { Err(BadGenesis::Form) }
    }

    /// Returns the sum of balances and stakes.
    ///
    /// # Errors
    /// When it is more than any amount.
    pub fn sum(&self) -> Result<u64, BadGenesis> {
        let balances = self.accounts.iter().enumerate();
        let balances =
            balances.map(|(at, account)| (format!("accounts[{at}].balance"), account.balance));
        let stakes = self.nodes.iter().enumerate();
        let stakes = stakes.map(|(at, node)| (format!("nodes[{at}].stake"), node.stake));
        balances.chain(stakes).try_fold(0_u64, |sum, (field, amount)| {
            sum.checked_add(amount).ok_or(BadGenesis::Overflow { field })
        })
    }

    /// Returns the text of our form: the same for the same genesis. Times after the year 9999 and
    /// fractions of seconds in spans have no text.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut table = json!({
            "version": GENESIS_VERSION,
            "vmID": VMID,
            "network": self.network,
            "time": rfc3339::format(self.time),
            "epochSeconds": self.epoch.as_millis() / 1000,
            "stakeMin": self.stake_min.to_string(),
            "fee": {"base": self.fee.base.to_string(), "perKib": self.fee.per_kib.to_string()},
            "swarmSize": self.swarm_size,
            "unbondingSeconds": self.unbonding.as_millis() / 1000,
            "workloadSecondsMax": self.workload_max.as_millis() / 1000,
            "accounts": self.accounts.iter().map(GenesisAccount::to_json).collect::<Vec<_>>(),
            "nodes": self.nodes.iter().map(GenesisNode::to_json).collect::<Vec<_>>(),
            "supply": self.supply.to_string(),
        });
        if let Some(keys) = &self.sequencer {
            table["sequencer"] = hex::encode(keys).into();
        }
        if let Some(authority) = &self.authority {
            table["authority"] = format!("07{authority}").into();
        }
        if let Value::Object(table) = &mut table {
            self.duties.write(table);
        }
        let config = limits_json(&self.limits);
        if !config.is_empty() {
            table["config"] = config.into();
        }
        let mut text =
            serde_json::to_string_pretty(&table).expect("texts, numbers and lists are JSON");
        text.push('\n');
        text
    }
}

fn ours(mut fields: Fields<'_>) -> Result<(Genesis, Vec<String>), BadGenesis> {
    let version = fields.integer("version")?;
    if version != Some(GENESIS_VERSION) {
        return Err(fields.bad("version", format!("it must be {GENESIS_VERSION}")).into());
    }
    let network = fields.text("network")?;
    let network = network_name(&fields, fields.required("network", network)?)?;
    let mut unknown = Vec::new();
    let genesis = Genesis {
        network,
        time: time(&mut fields)?,
        epoch: Span::from_secs(
            within(&mut fields, "epochSeconds", EPOCH_SECONDS_RANGE)?.unwrap_or(EPOCH_SECONDS),
        ),
        stake_min: fields.integer("stakeMin")?.unwrap_or(STAKE_MIN),
        fee: fee(&mut fields, &mut unknown)?,
        swarm_size: swarm_size(&mut fields)?,
        unbonding: Span::from_secs(
            within(&mut fields, "unbondingSeconds", UNBONDING_SECONDS_RANGE)?
                .unwrap_or(UNBONDING_SECONDS),
        ),
        workload_max: Span::from_secs(
            within(&mut fields, "workloadSecondsMax", WORKLOAD_SECONDS_RANGE)?
                .unwrap_or(WORKLOAD_SECONDS),
        ),
        duties: Duties::read(&mut fields)?,
        authority: optional_account(&mut fields, "authority")?,
        sequencer: fields.hex_of("sequencer", KEM_PUBLIC_KEY_BYTES + DSA_PUBLIC_KEY_BYTES)?,
        accounts: accounts(&mut fields, &mut unknown)?,
        nodes: nodes(&mut fields, &mut unknown)?,
        supply: {
            let supply = fields.integer("supply")?;
            fields.required("supply", supply)?
        },
        limits: given_limits(&mut fields, &mut unknown)?,
    };
    unknown.extend(fields.unknown());
    check(&genesis)?;
    Ok((genesis, unknown))
}

fn check(genesis: &Genesis) -> Result<(), BadGenesis> {
    for (index, node) in genesis.nodes.iter().enumerate() {
        if node.stake < genesis.stake_min {
            let why = format!("it is {}, stakeMin is {}", node.stake, genesis.stake_min);
            return Err(BadField::new(format!("nodes[{index}].stake"), why).into());
        }
    }
    let mut seen = BTreeSet::new();
    if let Some(index) = genesis.accounts.iter().position(|one| !seen.insert(one.account)) {
        return Err(BadField::new(format!("accounts[{index}].account"), "it is given twice").into());
    }
    // Either key alone would let two nodes answer for one.
    let mut seen = BTreeSet::new();
    for (index, node) in genesis.nodes.iter().enumerate() {
        let keys = [("kemPublicKey", &node.kem_public_key), ("dsaPublicKey", &node.dsa_public_key)];
        for (name, key) in keys {
            if !seen.insert(key) {
                let field = format!("nodes[{index}].{name}");
                return Err(BadField::new(field, "another node has it").into());
            }
        }
    }
    match genesis.sum()? {
        sum if sum == genesis.supply => Ok(()),
        sum => Err(BadGenesis::Supply { supply: genesis.supply, sum }),
    }
}

fn other(mut fields: Fields<'_>) -> Result<(Genesis, Vec<String>), BadField> {
    let time = match fields.value("timestamp") {
        None => return Err(fields.bad("timestamp", "it is missing")),
        Some(Value::String(text)) if !text.bytes().all(|byte| byte.is_ascii_digit()) => {
            rfc3339::parse(text).map_err(|error| fields.bad("timestamp", error.to_string()))?
        }
        Some(_) => {
            let seconds = fields.integer("timestamp")?.unwrap_or_default();
            if seconds >= MILLIS_MIN {
                let why = format!("{seconds} is not in seconds: give seconds or RFC 3339");
                return Err(fields.bad("timestamp", why));
            }
            Time::ZERO + Span::from_secs(seconds)
        }
    };
    let mut unknown = Vec::new();
    let limits = given_limits(&mut fields, &mut unknown)?;
    let network = match fields.text("network")? {
        Some(name) => network_name(&fields, name)?,
        None => NETWORK_UNNAMED.to_owned(),
    };
    unknown.extend(fields.unknown());
    Ok((Genesis { limits, ..Genesis::new(network, time) }, unknown))
}

fn network_name(fields: &Fields<'_>, name: &str) -> Result<String, BadField> {
    if name.len() > NETWORK_BYTES_MAX {
        let (got, limit) = (name.len() as u64, NETWORK_BYTES_MAX as u64);
        return Err(BadField::over(fields.name("network"), got, limit));
    }
    if name.is_empty() || name.chars().any(char::is_control) {
        return Err(fields.bad("network", "it must be a name without control characters"));
    }
    Ok(name.to_owned())
}

fn time(fields: &mut Fields<'_>) -> Result<Time, BadField> {
    match fields.value("time") {
        Some(Value::String(text)) if !text.bytes().all(|byte| byte.is_ascii_digit()) => {
            rfc3339::parse(text).map_err(|error| fields.bad("time", error.to_string()))
        }
        _ => {
            let millis = fields.integer("time")?;
            let millis = fields.required("time", millis)?;
            if millis != 0 && millis < MILLIS_MIN {
                let why = format!("{millis} is not in milliseconds: give milliseconds or RFC 3339");
                return Err(fields.bad("time", why));
            }
            if millis >= rfc3339::END_MILLIS {
                let limit = rfc3339::END_MILLIS - 1;
                return Err(BadField::over(fields.name("time"), millis, limit));
            }
            Ok(Time::from_millis(millis))
        }
    }
}

fn swarm_size(fields: &mut Fields<'_>) -> Result<u16, BadField> {
    let size = within(fields, "swarmSize", SWARM_SIZE_RANGE)?;
    Ok(size.map_or(SWARM_SIZE, |size| u16::try_from(size).expect("the range ends at 32")))
}

fn fee(fields: &mut Fields<'_>, unknown: &mut Vec<String>) -> Result<Fee, BadField> {
    let Some(value) = fields.value("fee") else { return Ok(FEE) };
    let mut inner = Fields::new(fields.name("fee"), object(fields, "fee", value)?);
    let fee = Fee {
        base: inner.integer("base")?.unwrap_or(FEE.base),
        per_kib: inner.integer("perKib")?.unwrap_or(FEE.per_kib),
    };
    unknown.extend(inner.unknown());
    Ok(fee)
}

fn given_limits(
    fields: &mut Fields<'_>,
    unknown: &mut Vec<String>,
) -> Result<LimitsGiven, BadField> {
    let Some(value) = fields.value("config") else { return Ok(LimitsGiven::default()) };
    let mut inner = Fields::new(fields.name("config"), object(fields, "config", value)?);
    let (given, deeper) = limits(&mut inner)?;
    unknown.extend(inner.unknown());
    unknown.extend(deeper);
    Ok(given)
}

// Reads a list of tables one by one; an absent list is empty.
fn tables<T>(
    fields: &mut Fields<'_>,
    (field, max): (&'static str, usize),
    unknown: &mut Vec<String>,
    read: impl Fn(&mut Fields<'_>) -> Result<T, BadField>,
) -> Result<Vec<T>, BadField> {
    let list = fields.list(field)?.unwrap_or_default();
    if list.len() > max {
        return Err(BadField::over(fields.name(field), list.len() as u64, max as u64));
    }
    let mut things = Vec::with_capacity(list.len());
    for (index, value) in list.iter().enumerate() {
        let path = format!("{field}[{index}]");
        let table = value
            .as_object()
            .ok_or_else(|| BadField::new(path.as_str(), "it must be an object"))?;
        let mut inner = Fields::new(path, table);
        things.push(read(&mut inner)?);
        unknown.extend(inner.unknown());
    }
    Ok(things)
}

fn accounts(
    fields: &mut Fields<'_>,
    unknown: &mut Vec<String>,
) -> Result<Vec<GenesisAccount>, BadField> {
    tables(fields, ("accounts", ACCOUNTS_MAX), unknown, |fields| {
        let balance = fields.integer("balance")?;
        Ok(GenesisAccount {
            account: account(fields, "account")?,
            balance: fields.required("balance", balance)?,
            keys: fields.hex_of("keys", KEM_PUBLIC_KEY_BYTES + DSA_PUBLIC_KEY_BYTES)?,
        })
    })
}

fn account(fields: &mut Fields<'_>, field: &'static str) -> Result<AccountId, BadField> {
    let account = optional_account(fields, field)?;
    fields.required(field, account)
}

fn optional_account(
    fields: &mut Fields<'_>,
    field: &'static str,
) -> Result<Option<AccountId>, BadField> {
    let Some(text) = fields.text(field)? else { return Ok(None) };
    let name = fields.name(field);
    let at = super::kind::At { field: &name, index: None };
    super::kind::identity_text(at, text).map(Some)
}

fn nodes(fields: &mut Fields<'_>, unknown: &mut Vec<String>) -> Result<Vec<GenesisNode>, BadField> {
    tables(fields, ("nodes", NODES_MAX), unknown, |fields| {
        let kem = fields.hex_of("kemPublicKey", KEM_PUBLIC_KEY_BYTES)?;
        let dsa = fields.hex_of("dsaPublicKey", DSA_PUBLIC_KEY_BYTES)?;
        let stake = fields.integer("stake")?;
        let endpoint = fields.text("endpoint")?;
        let endpoint = fields
            .required("endpoint", endpoint)?
            .parse()
            .map_err(|error: BadAddress| fields.bad("endpoint", error.to_string()))?;
        Ok(GenesisNode {
            operator: account(fields, "operator")?,
            kem_public_key: fields.required("kemPublicKey", kem)?,
            dsa_public_key: fields.required("dsaPublicKey", dsa)?,
            endpoint,
            stake: fields.required("stake", stake)?,
            swarm: swarm(fields)?,
        })
    })
}

// 16 hex digits in a text, or a number.
fn swarm(fields: &mut Fields<'_>) -> Result<SwarmId, BadField> {
    let swarm = match fields.value("swarm") {
        Some(Value::String(text)) => Some(
            swarm_id(text)
                .ok_or_else(|| fields.bad("swarm", "a text must be 1 to 16 hex digits"))?,
        ),
        _ => fields.integer("swarm")?.map(SwarmId),
    };
    fields.required("swarm", swarm)
}

impl GenesisAccount {
    fn to_json(&self) -> Value {
        let mut account = json!({
            "account": format!("07{}", self.account), "balance": self.balance.to_string(),
        });
        if let Some(keys) = &self.keys {
            account["keys"] = hex::encode(keys).into();
        }
        account
    }
}

impl GenesisNode {
    fn to_json(&self) -> Value {
        json!({
            "operator": format!("07{}", self.operator),
            "kemPublicKey": hex::encode(&self.kem_public_key),
            "dsaPublicKey": hex::encode(&self.dsa_public_key),
            "endpoint": self.endpoint.to_string(),
            "stake": self.stake.to_string(),
            "swarm": self.swarm.to_string(),
        })
    }
}

fn limits_json(limits: &LimitsGiven) -> Map<String, Value> {
    let seconds = |span: Span| span.as_millis() / 1000;
    let keys = [
        ("sessionTTL", limits.session_ttl.map(seconds)),
        ("maxMessages", limits.messages_max),
        ("maxChannels", limits.channels_max),
        ("retentionDays", limits.retention.map(|span| seconds(span) / 86_400)),
    ];
    let given = keys.into_iter().filter_map(|(key, value)| Some((key, value?)));
    given.map(|(key, value)| (key.to_owned(), value.into())).collect()
}

#[cfg(test)]
mod tests;
