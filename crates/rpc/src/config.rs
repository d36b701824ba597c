//! The configuration file of `sessiond`: the names of the flags, in TOML.

use serde_json::{Map, Value};

use crate::fields::{BadField, Fields};

/// Most workload sessions that may be allowed at once.
pub const SESSIONS_MAX: u64 = 1_000_000;

/// The smallest store: room for a few items in each of its logs.
pub const DATA_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// Most onion packets in an epoch: what 6.4 GB remember.
pub const ONION_PACKETS_MAX: u64 = 1 << 27;

/// What a configuration file says; a flag on the command line wins over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// UDP address for nodes and clients.
    pub listen: Option<String>,
    /// TCP address for HTTP.
    pub http: Option<String>,
    /// Where data is kept; empty or `:memory:` for memory.
    pub data_dir: Option<String>,
    /// Bytes that the store may take.
    pub data_bytes_max: Option<u64>,
    /// The network file.
    pub network: Option<String>,
    /// Where the network's chain is, separated by commas.
    pub chain: Option<String>,
    /// The chain's genesis file.
    pub genesis: Option<String>,
    /// The file of the node's keys.
    pub identity: Option<String>,
    /// Other nodes' addresses.
    pub bootstrap: Option<String>,
    /// Most workload sessions at once.
    pub max_sessions: Option<u64>,
    /// The file that says what workload sessions may reach.
    pub connectors: Option<String>,
    /// Requests a second from one client address; 0 for no limit.
    pub client_rate: Option<u32>,
    /// Whether the node is a hop of onion packets: `on` or `off`.
    pub onion: Option<String>,
    /// Onion packets a second from one client connection; 0 for no limit.
    pub onion_rate: Option<u32>,
    /// Onion packets taken in an epoch.
    pub onion_packets: Option<u64>,
}

/// Why a text is not a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadConfig {
    /// It is not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A field is of the wrong type or out of range.
    #[error(transparent)]
    Field(#[from] BadField),
}

impl Config {
    /// Parses a configuration file. Returns it with the names of the keys that nobody knows.
    ///
    /// Names are those of the flags, with `-` or `_`.
    ///
    /// # Errors
    /// When the text is not TOML, or a value has the wrong type or is out of range.
    pub fn parse(text: &str) -> Result<(Self, Vec<String>), BadConfig> {
        let table: Map<String, Value> = toml::from_str(text)
            .map_err(|error| BadConfig::Syntax(error.to_string().trim().to_owned()))?;
        let mut renamed = Map::new();
        for (key, value) in table {
            let name = key.replace('-', "_");
            if renamed.insert(name, value).is_some() {
                return Err(BadField::new(key, "it is given twice").into());
            }
        }
        let mut fields = Fields::new("", &renamed);
        let config = Self {
            listen: fields.text("listen")?.map(str::to_owned),
            http: fields.text("http")?.map(str::to_owned),
            data_dir: fields.text("data_dir")?.map(str::to_owned),
            data_bytes_max: fields.integer("data_bytes_max")?.map(data_bytes_max).transpose()?,
            network: fields.text("network")?.map(str::to_owned),
            chain: fields.text("chain")?.map(str::to_owned),
            genesis: fields.text("genesis")?.map(str::to_owned),
            identity: fields.text("identity")?.map(str::to_owned),
            bootstrap: bootstrap(&mut fields)?,
            max_sessions: fields.integer("max_sessions")?.map(max_sessions).transpose()?,
            connectors: fields.text("connectors")?.map(str::to_owned),
            client_rate: fields
                .integer("client_rate")?
                .map(|got| rate("client_rate", got))
                .transpose()?,
            onion: fields.text("onion")?.map(str::to_owned),
            onion_rate: fields
                .integer("onion_rate")?
                .map(|got| rate("onion_rate", got))
                .transpose()?,
            onion_packets: fields.integer("onion_packets")?.map(onion_packets).transpose()?,
        };
        Ok((config, fields.unknown()))
    }
}

/// Checks the number of workload sessions.
///
/// # Errors
/// When it is 0 or above [`SESSIONS_MAX`].
pub fn max_sessions(got: u64) -> Result<u64, BadField> {
    match got {
        0 => Err(BadField::new("max_sessions", "it must be at least 1")),
        1..=SESSIONS_MAX => Ok(got),
        _ => Err(BadField::over("max_sessions", got, SESSIONS_MAX)),
    }
}

/// Checks the bytes that the store may take.
///
/// # Errors
/// When they are fewer than [`DATA_BYTES_MIN`].
pub fn data_bytes_max(got: u64) -> Result<u64, BadField> {
    if got >= DATA_BYTES_MIN {
        return Ok(got);
    }
    let why = format!("it is {got}, it must be at least {DATA_BYTES_MIN}");
    Err(BadField::new("data_bytes_max", why))
}

/// Checks the number of onion packets that are taken in an epoch.
///
/// # Errors
/// When it is 0 or above [`ONION_PACKETS_MAX`].
pub fn onion_packets(got: u64) -> Result<u64, BadField> {
    match got {
        0 => Err(BadField::new("onion_packets", "it must be at least 1")),
        1..=ONION_PACKETS_MAX => Ok(got),
        _ => Err(BadField::over("onion_packets", got, ONION_PACKETS_MAX)),
    }
}

fn rate(field: &str, got: u64) -> Result<u32, BadField> {
    u32::try_from(got).map_err(|_| BadField::over(field, got, u32::MAX.into()))
}

// A list in TOML, or the comma-separated text of the flag.
fn bootstrap(fields: &mut Fields<'_>) -> Result<Option<String>, BadField> {
    match fields.value("bootstrap") {
        Some(Value::String(text)) => Ok(Some(text.clone())),
        None => Ok(None),
        Some(_) => {
            let list = fields.list_of("bootstrap", |text| Ok::<_, BadField>(text.to_owned()))?;
            Ok(list.map(|list| list.join(",")))
        }
    }
}

#[cfg(test)]
mod tests;
