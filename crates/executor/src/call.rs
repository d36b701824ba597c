//! What programs ask, in JSON, against the manifest.
//!
//! ```json
//! {"source": "price", "params": {"symbol": "BTC"}, "body": "text"}
//! ```
//!
//! `params` may be left out, and so may `body`; `body_base64` holds bytes that are no text. Values
//! of parameters are texts; a number stands for its digits as they are written. A request that is
//! wrong ends the session: the same on every member.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding as _};
use session_core::{Blob, List, Text};
use session_protocol::workload::manifest::{Manifest, NAME_BYTES_MAX, PARAMETERS_MAX};
use session_protocol::workload::oracle::{Parameter, RequestKind};
use session_protocol::workload::template::{self, BadTemplate};
use session_protocol::workload::{BODY_BYTES_MAX, OracleCall, check};

use crate::transform::NotJson;
use crate::transform::json::Json;

/// The longest request: a body in base64 and all parameters.
pub const REQUEST_BYTES_MAX: usize = 128 * 1024;

/// Why a request is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadCall {
    /// It is too long.
    #[error("the request has {got} bytes, the limit is {REQUEST_BYTES_MAX}")]
    TooLong {
        /// Its bytes.
        got: usize,
    },
    /// It is not JSON.
    #[error("the request is {0}")]
    Json(#[from] NotJson),
    /// A field is missing, unknown, or of another type.
    #[error("field {field:?} of the request: {why}")]
    Field {
        /// Which.
        field: String,
        /// What is wrong.
        why: String,
    },
    /// The manifest has no such source.
    #[error("the manifest has no source {name:?}")]
    UnknownSource {
        /// Which.
        name: String,
    },
    /// A source that writes is read, or the other way round.
    #[error("source {name:?} {does}")]
    WrongKind {
        /// Which.
        name: String,
        /// What it does, and what is to be called.
        does: &'static str,
    },
    /// The source has no such parameter.
    #[error("source {source_name:?} has no parameter {name:?}")]
    UnknownParameter {
        /// The source.
        source_name: String,
        /// The parameter.
        name: String,
    },
    /// A parameter that the source needs is not there.
    #[error("source {source_name:?} needs parameter {name:?}")]
    MissingParameter {
        /// The source.
        source_name: String,
        /// The parameter.
        name: String,
    },
    /// A value cannot stand where the source puts it.
    #[error("source {source_name:?}: {bad}")]
    Template {
        /// The source.
        source_name: String,
        /// Why not.
        bad: BadTemplate,
    },
}

/// Reads what a program asks.
///
/// # Errors
/// When it is not JSON, has fields that nobody knows, or does not fit the manifest.
pub fn parse(
    manifest: &Manifest,
    kind: RequestKind,
    request: &[u8],
) -> Result<OracleCall, BadCall> {
    if request.len() > REQUEST_BYTES_MAX {
        return Err(BadCall::TooLong { got: request.len() });
    }
    let Json::Object(mut fields) = Json::parse(request)? else {
        return Err(field("", "the request is not an object"));
    };
    let Some(Json::Text(name)) = fields.remove("source") else {
        return Err(field("source", "it must be there, and a text"));
    };
    let parameters = parameters(fields.remove("params"))?;
    let body = body(fields.remove("body"), fields.remove("body_base64"))?;
    if let Some(unknown) = fields.keys().next() {
        return Err(field(unknown, "nobody knows it"));
    }
    let index = manifest.sources.iter().position(|source| *source.name == name);
    let index = index.ok_or_else(|| BadCall::UnknownSource { name: shown(&name) })?;
    let source = &manifest.sources[index];
    let does = match (kind, source.connector.writes()) {
        (RequestKind::Read, true) => Some("writes: call `write`"),
        (RequestKind::Write, false) => Some("reads: call `read`"),
        _ => None,
    };
    if let Some(does) = does {
        return Err(BadCall::WrongKind { name, does });
    }
    if kind == RequestKind::Read && !body.is_empty() {
        return Err(field("body", "a read has none"));
    }
    fits(manifest, index, &parameters)?;
    let source = u16::try_from(index).expect("a manifest has at most 64 sources");
    Ok(OracleCall { source, parameters, body })
}

/// Checks that a source, and what confirms it, needs exactly these parameters and can use them.
fn fits(manifest: &Manifest, index: usize, given: &[Parameter]) -> Result<(), BadCall> {
    let source = &manifest.sources[index];
    let source_name = source.name.to_string();
    let confirm = source
        .confirm
        .as_ref()
        .and_then(|confirm| manifest.sources.iter().find(|other| other.name == confirm.source));
    let mut needed = std::collections::BTreeSet::new();
    for source in [Some(source), confirm].into_iter().flatten() {
        let bad = |bad| BadCall::Template { source_name: source_name.clone(), bad };
        needed.extend(check::parameters(&source.connector).map_err(bad)?);
    }
    let has = |name: &str| given.iter().any(|parameter| &*parameter.name == name);
    if let Some(name) = needed.iter().find(|name| !has(name)) {
        return Err(BadCall::MissingParameter { source_name, name: (*name).to_owned() });
    }
    if let Some(unknown) = given.iter().find(|parameter| !needed.contains(&*parameter.name)) {
        return Err(BadCall::UnknownParameter { source_name, name: unknown.name.to_string() });
    }
    for source in [Some(source), confirm].into_iter().flatten() {
        for (template, escape) in check::templates(&source.connector) {
            template::render(template, given, escape)
                .map_err(|bad| BadCall::Template { source_name: source_name.clone(), bad })?;
        }
    }
    Ok(())
}

fn parameters(given: Option<Json>) -> Result<List<Parameter, PARAMETERS_MAX>, BadCall> {
    let members = match given {
        None => BTreeMap::new(),
        Some(Json::Object(members)) => members,
        Some(_) => return Err(field("params", "it must be an object")),
    };
    let count = members.len();
    let mut parameters = Vec::with_capacity(count);
    for (name, value) in members {
        let path = format!("params.{name}");
        let (Json::Text(value) | Json::Number(value)) = value else {
            return Err(field(&path, "it must be a text or a number"));
        };
        let over = |over: session_core::codec::OverLimit| field(&path, &over.to_string());
        let value = Text::new(value).map_err(over)?;
        parameters.push(Parameter { name: Text::new(name).map_err(over)?, value });
    }
    List::new(parameters).map_err(|over| field("params", &over.to_string()))
}

fn body(text: Option<Json>, base64: Option<Json>) -> Result<Blob<BODY_BYTES_MAX>, BadCall> {
    let (name, bytes) = match (text, base64) {
        (None, None) => return Ok(Blob::default()),
        (Some(Json::Text(text)), None) => ("body", text.into_bytes()),
        (None, Some(Json::Text(text))) => {
            let bytes = Base64::decode_vec(&text);
            let why = "not base64 (standard alphabet, with padding)";
            ("body_base64", bytes.map_err(|_| field("body_base64", why))?)
        }
        (Some(_), Some(_)) => return Err(field("body", "there is a body_base64, too")),
        (Some(_), None) => return Err(field("body", "it must be a text")),
        (None, Some(_)) => return Err(field("body_base64", "it must be a text")),
    };
    Blob::new(bytes).map_err(|over| field(name, &over.to_string()))
}

fn field(field: &str, why: &str) -> BadCall {
    BadCall::Field { field: shown(field), why: why.to_owned() }
}

/// Cuts a name that a program gave: the reason of a failure is short.
fn shown(name: &str) -> String {
    name[..name.floor_char_boundary(NAME_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests;
