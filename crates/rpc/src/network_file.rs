//! The network file: who is a node, with which keys, where, in which swarm.

use core::fmt::Write as _;

use serde_json::{Map, Value};
use session_core::{AccountId, NodeId, SwarmId};

use crate::address::HostPort;
use crate::fields::{BadField, Fields, identity_id};

/// Bytes of an ML-KEM-768 public key.
pub const KEM_PUBLIC_KEY_BYTES: usize = 1184;
/// Bytes of an ML-DSA-65 public key.
pub const DSA_PUBLIC_KEY_BYTES: usize = 1952;

/// How inboxes are assigned to swarms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Placement {
    /// To the nearest swarm on the ring: adding one moves only its neighbours.
    #[default]
    Ring,
    /// By the remainder of the division by the number of swarms, as the seed's first version.
    Mod,
}

/// A parsed network file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkFile {
    /// The network's name; its id is derived from it.
    pub network: String,
    /// How inboxes are assigned to swarms.
    pub placement: Placement,
    /// Every node.
    pub nodes: Vec<NodeEntry>,
}

/// One `[[node]]` of a network file. That the id is the hash of the keys is for the consumer to
/// check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeEntry {
    /// The node's id.
    pub id: NodeId,
    /// ML-KEM-768, 1184 bytes.
    pub kem_public_key: Vec<u8>,
    /// ML-DSA-65, 1952 bytes.
    pub dsa_public_key: Vec<u8>,
    /// Where it is reached.
    pub address: HostPort,
    /// The swarm it serves.
    pub swarm: SwarmId,
    /// The account that registered it, where that is known: nodes of one operator are in one hand.
    pub operator: Option<AccountId>,
    /// What is at stake with it, in the smallest unit.
    pub stake: Option<u64>,
}

/// Why a text is not a network file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadNetworkText {
    /// It is not TOML.
    #[error("not TOML: {0}")]
    Syntax(String),
    /// A field is missing or wrong.
    #[error(transparent)]
    Field(#[from] BadField),
}

impl NetworkFile {
    /// Makes the file of a network with the default placement.
    #[must_use]
    pub fn new(network: impl Into<String>, nodes: Vec<NodeEntry>) -> Self {
        Self { network: network.into(), placement: Placement::Ring, nodes }
    }

    /// Parses a network file. Returns it with the names of the keys that nobody knows.
    ///
    /// # Errors
    /// When the text is not TOML, or a field is missing or wrong.
    pub fn parse(text: &str) -> Result<(Self, Vec<String>), BadNetworkText> {
        let table: Map<String, Value> = toml::from_str(text)
            .map_err(|error| BadNetworkText::Syntax(error.to_string().trim().to_owned()))?;
        let mut fields = Fields::new("", &table);
        let network = fields.text("network")?;
        let network = fields.required("network", network)?.to_owned();
        let placement = match fields.text("placement")? {
            None | Some("ring") => Placement::Ring,
            Some("mod") => Placement::Mod,
            Some(_) => {
                return Err(fields.bad("placement", "it must be \"ring\" or \"mod\"").into());
            }
        };
        let list = fields.list("node")?;
        let list = fields.required("node", list)?;
        let mut unknown = fields.unknown();
        let mut nodes = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let path = format!("node[{index}]");
            let table = value
                .as_object()
                .ok_or_else(|| BadField::new(path.as_str(), "it must be a table, [[node]]"))?;
            let mut fields = Fields::new(path, table);
            nodes.push(NodeEntry::read(&mut fields)?);
            unknown.extend(fields.unknown());
        }
        Ok((Self { network, placement, nodes }, unknown))
    }

    /// Returns the text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = format!("network = {}\n", quoted(&self.network));
        if self.placement == Placement::Mod {
            out.push_str("placement = \"mod\"\n");
        }
        for node in &self.nodes {
            out.push('\n');
            out.push_str(&node.to_toml());
        }
        out
    }
}

impl NodeEntry {
    fn read(fields: &mut Fields<'_>) -> Result<Self, BadField> {
        let id = fields.text("id")?;
        let id = identity_id(fields.required("id", id)?)
            .map_err(|error| fields.bad("id", error.to_string()))?;
        let kem = fields.hex_of("kem_public_key", KEM_PUBLIC_KEY_BYTES)?;
        let dsa = fields.hex_of("dsa_public_key", DSA_PUBLIC_KEY_BYTES)?;
        let address = fields.parsed("address")?;
        let swarm = match fields.value("swarm") {
            Some(Value::String(text)) => Some(
                swarm_id(text)
                    .ok_or_else(|| fields.bad("swarm", "a text must be 1 to 16 hex digits"))?,
            ),
            _ => fields.integer("swarm")?.map(SwarmId),
        };
        let operator = fields.text("operator")?.map(identity_id).transpose();
        let operator = operator.map_err(|error| fields.bad("operator", error.to_string()))?;
        let stake = fields.integer("stake")?;
        Ok(Self {
            id,
            kem_public_key: fields.required("kem_public_key", kem)?,
            dsa_public_key: fields.required("dsa_public_key", dsa)?,
            address: fields.required("address", address)?,
            swarm: fields.required("swarm", swarm)?,
            operator,
            stake,
        })
    }

    /// Returns the text of one `[[node]]`, to be pasted into a network file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::from("[[node]]\n");
        let lines = [
            ("id", self.id.to_string()),
            ("address", self.address.to_string()),
            ("swarm", self.swarm.to_string()),
            ("kem_public_key", hex::encode(&self.kem_public_key)),
            ("dsa_public_key", hex::encode(&self.dsa_public_key)),
        ];
        let operator = self.operator.map(|account| ("operator", format!("07{account}")));
        for (key, value) in lines.into_iter().chain(operator) {
            writeln!(out, "{key} = {}", quoted(&value)).expect("a String takes every write");
        }
        // What TOML cannot hold is left out: it is a hint only.
        if let Some(stake) = self.stake.filter(|stake| i64::try_from(*stake).is_ok()) {
            writeln!(out, "stake = {stake}").expect("a String takes every write");
        }
        out
    }
}

/// Parses a swarm id: up to 16 hex digits, with or without `0x`.
#[must_use]
pub fn swarm_id(text: &str) -> Option<SwarmId> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    let whole = (1..=16).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_hexdigit());
    whole.then(|| u64::from_str_radix(digits, 16).ok().map(SwarmId)).flatten()
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests;
