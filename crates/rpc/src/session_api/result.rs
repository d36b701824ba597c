//! What the methods about workload sessions give.

use base64ct::{Base64, Encoding as _};
use serde::Serialize;
use serde::ser::SerializeMap as _;
use session_core::{Digest, Epoch, NodeId, RequestId, ServiceId, SessionId, Time, TxId};

use crate::api::Encoding;
pub use crate::api::result::to_json;
use crate::api::result::{millis, text, texts};

/// A blob is kept.
#[derive(Clone, Debug, Serialize)]
pub struct Kept {
    /// Its name: whoever has the bytes can check it.
    #[serde(serialize_with = "text")]
    pub blob: Digest,
    /// Its length.
    pub bytes: u64,
}

/// What was ordered of a session is done, or under way.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ordered {
    /// Which.
    #[serde(serialize_with = "text")]
    pub session_id: SessionId,
    /// Its state, where it is known: a session that was just created is `pending`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
}

/// A session, with the seed's fields.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Session {
    /// Its id.
    #[serde(serialize_with = "text")]
    pub id: SessionId,
    /// The service.
    #[serde(serialize_with = "text")]
    pub service_id: ServiceId,
    /// The epoch in which it was created.
    #[serde(serialize_with = "number")]
    pub epoch: Epoch,
    /// The transaction that created it.
    #[serde(serialize_with = "text")]
    pub tx_id: TxId,
    /// The workload.
    #[serde(serialize_with = "text")]
    pub program: Digest,
    /// The input.
    #[serde(serialize_with = "text")]
    pub input: Digest,
    /// Its members.
    #[serde(serialize_with = "texts")]
    pub committee: Vec<NodeId>,
    /// `pending`, `running`, `waiting_io`, `finalized` or `failed`.
    pub state: &'static str,
    /// The step that it is at.
    pub current_step: u32,
    /// Steps before the first one that is shown.
    pub steps_left_out: u32,
    /// Its steps.
    pub steps: Vec<Step>,
    /// SHA-256 of the output.
    #[serde(serialize_with = "maybe_text")]
    pub output_hash: Option<Digest>,
    /// The root over its steps.
    #[serde(serialize_with = "maybe_text")]
    pub oracle_root: Option<Digest>,
    /// The root over its receipts.
    #[serde(serialize_with = "maybe_text")]
    pub receipts_root: Option<Digest>,
    /// The output, in hex.
    #[serde(serialize_with = "maybe_hex")]
    pub output: Option<Vec<u8>>,
    /// When it was created.
    #[serde(serialize_with = "millis")]
    pub created_at: Time,
    /// When it must have ended.
    #[serde(serialize_with = "millis")]
    pub deadline: Time,
    /// When it ended.
    #[serde(serialize_with = "maybe_millis")]
    pub finalized_at: Option<Time>,
    /// Why it failed.
    pub error: Option<String>,
    /// Fuel that the program used.
    pub fuel: u64,
    /// Attempts at its requests after the first ones.
    pub retries: u32,
    /// How often the program went on as new.
    pub checkpoints: u32,
    /// Delivery receipts.
    pub receipts: u32,
    /// Lines that the program logged.
    pub log_lines: u32,
}

/// A step, with the seed's fields.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its place, from 0.
    pub step_index: u32,
    /// `compute`, `write_external` or `read_external`.
    pub kind: &'static str,
    /// The attempt that was decided; of a compute step zeros.
    #[serde(serialize_with = "text")]
    pub request_id: RequestId,
    /// How often it was tried before.
    pub retry_index: u32,
    /// The transaction that created the session.
    #[serde(serialize_with = "text")]
    pub tx_id: TxId,
    /// Of what it was given.
    #[serde(serialize_with = "text")]
    pub input_hash: Digest,
    /// Of what it made.
    #[serde(serialize_with = "text")]
    pub output_hash: Digest,
    /// The root of the commit; of a compute step zeros.
    #[serde(serialize_with = "text")]
    pub oracle_commit_root: Digest,
    /// The id of what the committee attested; of a compute step zeros.
    #[serde(serialize_with = "text")]
    pub attestation_id: Digest,
    /// `pending`, `executing`, `waiting`, `completed` or `failed`.
    pub state: &'static str,
    /// When it began at the node that answers.
    #[serde(serialize_with = "millis")]
    pub started_at: Time,
    /// When it ended there.
    #[serde(serialize_with = "maybe_millis")]
    pub completed_at: Option<Time>,
}

/// The answer to `GetSession`.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The session.
    pub session: Session,
}

/// Lines that a program logged.
#[derive(Clone, Debug, Serialize)]
pub struct Logs {
    /// They.
    pub lines: Vec<String>,
    /// The number of the line after them.
    pub next: u32,
}

/// A piece of a bundle.
#[derive(Clone, Debug, Serialize)]
pub struct BundlePart {
    /// The bundle's length.
    pub total: u32,
    /// The name of the whole.
    #[serde(serialize_with = "text")]
    pub id: Digest,
    /// The first byte of the piece.
    pub offset: u32,
    /// The piece, in the encoding that was asked for.
    #[serde(flatten)]
    pub data: Data,
}

/// Bytes under the name `data`, as the caller wants them.
#[derive(Clone, Debug)]
pub struct Data {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// How they are written.
    pub encoding: Encoding,
}

impl Serialize for Data {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (text, encoding) = match self.encoding {
            Encoding::Hex => (hex::encode(&self.bytes), "hex"),
            Encoding::Base64 => (Base64::encode_string(&self.bytes), "base64"),
        };
        let mut map = serializer.serialize_map(Some(2))?;
        map.serialize_entry("data", &text)?;
        map.serialize_entry("encoding", encoding)?;
        map.end()
    }
}

fn number<S: serde::Serializer>(epoch: &Epoch, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(epoch.0)
}

fn maybe_text<S: serde::Serializer>(
    value: &Option<Digest>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => serializer.collect_str(value),
        None => serializer.serialize_none(),
    }
}

fn maybe_hex<S: serde::Serializer>(
    value: &Option<Vec<u8>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(bytes) => serializer.serialize_str(&hex::encode(bytes)),
        None => serializer.serialize_none(),
    }
}

fn maybe_millis<S: serde::Serializer>(
    value: &Option<Time>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(time) => millis(time, serializer),
        None => serializer.serialize_none(),
    }
}
