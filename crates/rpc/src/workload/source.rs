//! One `[[source]]` of a manifest file.

use serde_json::{Map, Value};
use session_core::Span;

use super::{flag, narrow, span};
use crate::fields::{BadField, Fields};

/// The time that a source may take if the file says nothing.
const TIMEOUT: Span = Span::from_secs(10);
/// The largest answer if the file says nothing.
const BYTES_MAX: u32 = 256 * 1024;
/// Blocks that must have come after the one that is read if the file says nothing: two epochs of
/// Ethereum.
const CONFIRMATIONS: u16 = 64;

/// Something that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceEntry {
    /// Its name.
    pub name: String,
    /// How it is reached.
    pub connector: Connector,
    /// What is kept of a JSON answer.
    pub paths: Vec<String>,
    /// Headers that are kept.
    pub keep_headers: Vec<String>,
    /// Whether the status is kept.
    pub keep_status: bool,
    /// A function of the module that makes the rest of an answer.
    pub guest: Option<String>,
    /// How answers become one; left out, one is right for the kind.
    pub aggregation: Option<Aggregation>,
    /// Records that must be there; 0 is a quorum.
    pub records_min: u8,
    /// How long one member may take.
    pub timeout: Span,
    /// The largest answer.
    pub bytes_max: u32,
    /// What the program gets without agreement.
    pub fallback: Option<Vec<u8>>,
    /// What is read after a write.
    pub confirm: Option<Confirm>,
}

/// What is read after a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confirm {
    /// The source that is read.
    pub source: String,
    /// Whether it must be what was written.
    pub equals_body: bool,
}

/// How a source is reached: its `kind`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are the keys of the file, as the protocol explains them"
)]
pub enum Connector {
    /// `http`
    Http { method: Method, url: String, headers: Vec<(String, String)>, redirects: u8 },
    /// `evm`
    Evm { url: String, query: EvmQuery, confirmations: u16 },
    /// `sql`
    Sql { database: String, statement: String, parameters: Vec<String> },
    /// `object-get`
    ObjectGet { store: String, key: String },
    /// `object-put`
    ObjectPut { store: String, key: String, content_type: String, if_absent: bool },
    /// `message`
    Message { to: String },
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are HTTP's")]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

/// What is read from an EVM chain: the key `query`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are the keys of the file, as the protocol explains them"
)]
pub enum EvmQuery {
    /// `block`
    Block,
    /// `balance`
    Balance { address: String },
    /// `call`
    Call { to: String, function: String, arguments: Vec<String> },
}

/// How answers become one: the key `aggregation`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are the keys of the file, as the protocol explains them"
)]
pub enum Aggregation {
    /// `identical`
    Identical,
    /// `median`
    Median { field: String },
    /// `mode`
    Mode,
    /// `by_fields`
    ByFields { fields: Vec<(String, Rule)> },
    /// `k_of_n`
    KOfN { k: u8 },
    /// `single`
    Single,
}

/// How one field becomes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `identical`
    Identical,
    /// `median`
    Median,
    /// `mode`
    Mode,
}

impl SourceEntry {
    pub(super) fn read(fields: &mut Fields<'_>) -> Result<Self, BadField> {
        let timeout = match fields.text("timeout")? {
            Some(text) => span(text).map_err(|why| fields.bad("timeout", why))?,
            None => TIMEOUT,
        };
        Ok(Self {
            name: needed(fields, "name")?,
            connector: connector(fields)?,
            paths: texts(fields, "paths")?,
            keep_headers: texts(fields, "keep_headers")?,
            keep_status: flag(fields, "keep_status")?,
            guest: fields.text("guest")?.map(str::to_owned),
            aggregation: aggregation(fields)?,
            records_min: narrow(fields, "records_min")?.unwrap_or(0),
            timeout,
            bytes_max: narrow(fields, "bytes_max")?.unwrap_or(BYTES_MAX),
            fallback: match fields.text("fallback")? {
                Some(text) => Some(text.as_bytes().to_vec()),
                None => fields.base64("fallback_base64")?,
            },
            confirm: confirm(fields)?,
        })
    }
}

fn connector(fields: &mut Fields<'_>) -> Result<Connector, BadField> {
    Ok(match needed(fields, "kind")?.as_str() {
        "http" => Connector::Http {
            method: method(fields)?,
            url: needed(fields, "url")?,
            headers: headers(fields)?,
            redirects: narrow(fields, "redirects")?.unwrap_or(0),
        },
        "evm" => Connector::Evm {
            url: needed(fields, "url")?,
            query: query(fields)?,
            confirmations: narrow(fields, "confirmations")?.unwrap_or(CONFIRMATIONS),
        },
        "sql" => Connector::Sql {
            database: needed(fields, "database")?,
            statement: needed(fields, "statement")?,
            parameters: texts(fields, "parameters")?,
        },
        "object-get" => {
            Connector::ObjectGet { store: needed(fields, "store")?, key: needed(fields, "key")? }
        }
        "object-put" => Connector::ObjectPut {
            store: needed(fields, "store")?,
            key: needed(fields, "key")?,
            content_type: fields
                .text("content_type")?
                .unwrap_or("application/octet-stream")
                .to_owned(),
            if_absent: flag(fields, "if_absent")?,
        },
        "message" => Connector::Message { to: needed(fields, "to")? },
        _ => {
            let kinds = "it must be http, evm, sql, object-get, object-put or message";
            return Err(fields.bad("kind", kinds));
        }
    })
}

fn method(fields: &mut Fields<'_>) -> Result<Method, BadField> {
    Ok(match fields.text("method")? {
        None | Some("GET") => Method::Get,
        Some("POST") => Method::Post,
        Some("PUT") => Method::Put,
        Some("PATCH") => Method::Patch,
        Some("DELETE") => Method::Delete,
        Some(_) => return Err(fields.bad("method", "it must be GET, POST, PUT, PATCH or DELETE")),
    })
}

/// Reads the table of headers, in the order of their names.
fn headers(fields: &mut Fields<'_>) -> Result<Vec<(String, String)>, BadField> {
    let Some(value) = fields.value("headers") else { return Ok(Vec::new()) };
    let why = "it must be a table of texts: { accept = \"application/json\" }";
    let bad = || fields.bad("headers", why);
    let table = value.as_object().ok_or_else(bad)?;
    let header =
        |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    sorted(table).map(header).collect::<Option<_>>().ok_or_else(bad)
}

fn query(fields: &mut Fields<'_>) -> Result<EvmQuery, BadField> {
    Ok(match fields.text("query")? {
        Some("block") => EvmQuery::Block,
        Some("balance") => EvmQuery::Balance { address: needed(fields, "address")? },
        Some("call") => EvmQuery::Call {
            to: needed(fields, "to")?,
            function: needed(fields, "function")?,
            arguments: texts(fields, "arguments")?,
        },
        _ => return Err(fields.bad("query", "it must be block, balance or call")),
    })
}

fn aggregation(fields: &mut Fields<'_>) -> Result<Option<Aggregation>, BadField> {
    Ok(Some(match fields.text("aggregation")? {
        None => return Ok(None),
        Some("identical") => Aggregation::Identical,
        Some("median") => {
            Aggregation::Median { field: fields.text("field")?.unwrap_or_default().to_owned() }
        }
        Some("mode") => Aggregation::Mode,
        Some("by_fields") => Aggregation::ByFields { fields: rules(fields)? },
        Some("k_of_n") => {
            let k = narrow(fields, "k")?;
            Aggregation::KOfN { k: fields.required("k", k)? }
        }
        Some("single") => Aggregation::Single,
        Some(_) => {
            let names = "it must be identical, median, mode, by_fields, k_of_n or single";
            return Err(fields.bad("aggregation", names));
        }
    }))
}

fn rules(fields: &mut Fields<'_>) -> Result<Vec<(String, Rule)>, BadField> {
    let why = "it must be a table of identical, median or mode: { price = \"median\" }";
    let bad = |fields: &Fields<'_>| fields.bad("fields", why);
    let table = fields.value("fields").and_then(Value::as_object).ok_or_else(|| bad(fields))?;
    let rule = |(name, value): (&String, &Value)| {
        let rule = match value.as_str()? {
            "identical" => Rule::Identical,
            "median" => Rule::Median,
            "mode" => Rule::Mode,
            _ => return None,
        };
        Some((name.clone(), rule))
    };
    sorted(table).map(rule).collect::<Option<_>>().ok_or_else(|| bad(fields))
}

fn confirm(fields: &mut Fields<'_>) -> Result<Option<Confirm>, BadField> {
    let Some(source) = fields.text("confirm")? else { return Ok(None) };
    let equals_body = flag(fields, "confirm_equals_body")?;
    Ok(Some(Confirm { source: source.to_owned(), equals_body }))
}

fn needed(fields: &mut Fields<'_>, field: &'static str) -> Result<String, BadField> {
    let text = fields.text(field)?;
    fields.required(field, text).map(str::to_owned)
}

fn texts(fields: &mut Fields<'_>, field: &'static str) -> Result<Vec<String>, BadField> {
    let list = fields.list_of(field, |text| Ok::<_, BadField>(text.to_owned()))?;
    Ok(list.unwrap_or_default())
}

/// Returns the members in one order, however the table keeps them.
fn sorted(table: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    let mut members: Vec<_> = table.iter().collect();
    members.sort_unstable_by_key(|(name, _)| *name);
    members.into_iter()
}
