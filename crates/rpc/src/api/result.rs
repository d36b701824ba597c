//! What the methods give.

use core::fmt::Display;

use base64ct::{Base64, Encoding as _};
use serde::{Serialize, Serializer};
use serde_json::Value;
use session_core::{Digest, MessageId, NodeId, SwarmId, Time};

use super::{Cursor, Encoding};

/// The item is on the disks of a quorum.
#[derive(Clone, Debug, Serialize)]
pub struct Stored {
    /// The item's id.
    #[serde(serialize_with = "text")]
    pub id: MessageId,
    /// When it is forgotten.
    #[serde(serialize_with = "millis")]
    pub expiry: Time,
    /// Whether it was there before.
    pub duplicate: bool,
    /// One for each member that has it.
    pub receipts: Vec<Receipt>,
    /// The signatures that the receipts refer to.
    pub roots: Vec<Root>,
    /// The node's clock.
    #[serde(serialize_with = "millis")]
    pub server_time: Time,
}

/// A member's promise.
#[derive(Clone, Debug, Serialize)]
pub struct Receipt {
    /// Who promises.
    #[serde(serialize_with = "text")]
    pub node: NodeId,
    /// Which of the roots.
    pub root: u16,
    /// When the item may be forgotten.
    #[serde(serialize_with = "millis")]
    pub expiry: Time,
    /// When it was committed.
    #[serde(serialize_with = "millis")]
    pub stored_at: Time,
    /// The canonical encoding of the Merkle path.
    #[serde(serialize_with = "hex")]
    pub proof: Vec<u8>,
}

/// A signature over the receipts of one commit.
#[derive(Clone, Debug, Serialize)]
pub struct Root {
    /// Who signed.
    #[serde(serialize_with = "text")]
    pub node: NodeId,
    /// The Merkle root.
    #[serde(serialize_with = "text")]
    pub root: Digest,
    /// ML-DSA-65 over it.
    #[serde(serialize_with = "hex")]
    pub signature: Vec<u8>,
}

/// A page of items.
#[derive(Clone, Debug, Serialize)]
pub struct Items {
    /// In order of arrival.
    pub items: Vec<Item>,
    /// Where the next page starts.
    #[serde(serialize_with = "text")]
    pub cursor: Cursor,
    /// Whether there is a next page.
    pub more: bool,
    /// The node's clock.
    #[serde(serialize_with = "millis")]
    pub server_time: Time,
}

/// A stored item.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    /// Its id.
    #[serde(serialize_with = "text")]
    pub id: MessageId,
    /// Its compartment.
    pub namespace: u16,
    /// When the sender says it was sent.
    #[serde(serialize_with = "millis")]
    pub timestamp: Time,
    /// When it is forgotten.
    #[serde(serialize_with = "millis")]
    pub expiry: Time,
    /// The place just after it.
    #[serde(serialize_with = "text")]
    pub cursor: Cursor,
    /// Its bytes.
    #[serde(flatten)]
    pub data: Data,
}

/// The bytes of an item, as the caller wants them.
#[derive(Clone, Debug)]
pub struct Data {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How they are written.
    pub encoding: Encoding,
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(Some(1))?;
        match self.encoding {
            Encoding::Hex => map.serialize_entry("data", &hex::encode(&self.bytes))?,
            Encoding::Base64 => {
                map.serialize_entry("data_base64", &Base64::encode_string(&self.bytes))?;
            }
        }
        map.end()
    }
}

/// A deletion is on the disks of a quorum.
#[derive(Clone, Debug, Serialize)]
pub struct Deleted {
    /// The items that this node had.
    #[serde(serialize_with = "texts")]
    pub deleted: Vec<MessageId>,
    /// Members that committed it.
    pub nodes: u16,
    /// The node's clock.
    #[serde(serialize_with = "millis")]
    pub server_time: Time,
}

/// New expiries are on the disks of a quorum.
#[derive(Clone, Debug, Serialize)]
pub struct Expiring {
    /// Each item this node has, and when it is forgotten now.
    pub expiries: Vec<Expiry>,
    /// Members that committed it.
    pub nodes: u16,
    /// The node's clock.
    #[serde(serialize_with = "millis")]
    pub server_time: Time,
}

/// When one item is forgotten.
#[derive(Clone, Debug, Serialize)]
pub struct Expiry {
    /// The item.
    #[serde(serialize_with = "text")]
    pub id: MessageId,
    /// When it is forgotten.
    #[serde(serialize_with = "millis")]
    pub expiry: Time,
}

/// The nodes that keep an inbox.
#[derive(Clone, Debug, Serialize)]
pub struct Swarm {
    /// Which swarm.
    #[serde(serialize_with = "text")]
    pub swarm: SwarmId,
    /// Its members.
    pub members: Vec<Member>,
    /// The node's clock.
    #[serde(serialize_with = "millis")]
    pub server_time: Time,
}

/// A member of a swarm.
#[derive(Clone, Debug, Serialize)]
pub struct Member {
    /// The node.
    #[serde(serialize_with = "text")]
    pub node: NodeId,
    /// Where it is reached.
    pub address: String,
}

/// How the node is.
#[derive(Clone, Debug, Serialize)]
pub struct Info {
    /// Its id.
    #[serde(serialize_with = "text")]
    pub node: NodeId,
    /// The network it serves.
    #[serde(serialize_with = "text")]
    pub network: Digest,
    /// The swarm it serves.
    #[serde(serialize_with = "text")]
    pub swarm: SwarmId,
    /// Its software version.
    pub version: String,
    /// Items it keeps.
    pub items: u64,
    /// Members of its swarm, itself included, that it is connected to.
    pub members_up: u16,
    /// Members of its swarm.
    pub members: u16,
    /// The node's clock.
    #[serde(serialize_with = "millis")]
    pub server_time: Time,
}

/// New items will be pushed from here on.
#[derive(Clone, Debug, Serialize)]
pub struct Subscribed {
    /// Where reading must start so that nothing is missed.
    #[serde(serialize_with = "text")]
    pub cursor: Cursor,
    /// The node's clock.
    #[serde(serialize_with = "millis")]
    pub server_time: Time,
}

/// Returns a result as JSON.
#[must_use]
pub fn to_json(result: &impl Serialize) -> Value {
    serde_json::to_value(result).expect("texts, numbers and string keys are always JSON")
}

pub(crate) fn text<S: Serializer>(value: &impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub(crate) fn texts<S: Serializer>(
    values: &[impl Display],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(values.iter().map(ToString::to_string))
}

pub(crate) fn millis<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(time.as_millis())
}

fn hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex::encode(bytes))
}
