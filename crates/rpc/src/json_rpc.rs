//! JSON-RPC 2.0: strict in what is sent, lenient in what is taken.
//!
//! A call may leave out `jsonrpc`, and give its parameters by name, as a list of one table, or not
//! at all. A call without `id` is a notification and gets no response.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::fields::BadField;

/// Most calls in one batch; the same as operations in one request of the binary protocol.
pub const BATCH_MAX: usize = 20;

/// The body is not JSON.
pub const PARSE_ERROR: i32 = -32700;
/// The JSON is not a call.
pub const INVALID_REQUEST: i32 = -32600;
/// Nobody knows the method.
pub const METHOD_NOT_FOUND: i32 = -32601;
/// A parameter is missing or wrong.
pub const INVALID_PARAMS: i32 = -32602;
/// The node's own fault.
pub const INTERNAL_ERROR: i32 = -32603;
/// Refusals of the service are this minus their code in the binary protocol.
pub const REFUSED: i32 = -32000;

/// One call.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// Repeated in the response; `None` for a notification.
    pub id: Option<Value>,
    /// What to do.
    pub method: String,
    /// With what, by name.
    pub params: Map<String, Value>,
}

/// A call that cannot be understood, with as much of its id as could be.
#[derive(Clone, Debug, PartialEq)]
pub struct BadCall {
    /// The id, or null.
    pub id: Value,
    /// What is wrong.
    pub error: ErrorObject,
}

/// A parsed body.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    /// One call: one response.
    Single(Result<Call, BadCall>),
    /// Several calls: a list of responses.
    Batch(Vec<Result<Call, BadCall>>),
}

/// What went wrong, in a form for programs.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ErrorData {
    /// A short stable name.
    pub name: String,
    /// The field that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// How much there was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub got: Option<u64>,
    /// How much is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// What else belongs to this error.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// The `error` member of a response.
#[derive(Clone, Debug, PartialEq, Serialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct ErrorObject {
    /// A code of JSON-RPC or of the service.
    pub code: i32,
    /// For people.
    pub message: String,
    /// For programs.
    pub data: Box<ErrorData>,
}

impl ErrorObject {
    /// Makes an error with a code, a stable name and a message.
    #[must_use]
    pub fn new(code: i32, name: &str, message: impl Into<String>) -> Self {
        let data = ErrorData { name: name.to_owned(), ..ErrorData::default() };
        Self { code, message: message.into(), data: Box::new(data) }
    }

    /// The body or call is not JSON-RPC.
    #[must_use]
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(INVALID_REQUEST, "invalid_request", message)
    }

    /// Names the field that was refused.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.data.field = Some(field.into());
        self
    }

    /// Says how much there was and how much is allowed.
    #[must_use]
    pub fn limit(mut self, got: u64, limit: u64) -> Self {
        self.data.got = Some(got);
        self.data.limit = Some(limit);
        self
    }

    /// Adds a fact that belongs to this error.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.more.insert(name.to_owned(), value.into());
        self
    }
}

impl From<BadField> for ErrorObject {
    fn from(bad: BadField) -> Self {
        let mut error = Self::new(INVALID_PARAMS, "invalid_params", bad.to_string());
        (error.data.field, error.data.got, error.data.limit) =
            (Some(bad.field), bad.got, bad.limit);
        error
    }
}

/// Parses a body.
///
/// # Errors
/// When nothing in it can be answered call by call: it is not JSON, an empty batch, or a batch
/// over [`BATCH_MAX`].
pub fn parse(body: &[u8]) -> Result<Incoming, ErrorObject> {
    let value: Value = serde_json::from_slice(body).map_err(|error| {
        ErrorObject::new(PARSE_ERROR, "parse_error", format!("not JSON: {error}"))
    })?;
    match value {
        Value::Array(calls) if calls.is_empty() => {
            Err(ErrorObject::invalid_request("the batch is empty"))
        }
        Value::Array(calls) if calls.len() > BATCH_MAX => {
            let message = format!("{} calls in one batch, the limit is {BATCH_MAX}", calls.len());
            Err(ErrorObject::invalid_request(message)
                .field("batch")
                .limit(calls.len() as u64, BATCH_MAX as u64))
        }
        Value::Array(calls) => Ok(Incoming::Batch(calls.into_iter().map(parse_call).collect())),
        call => Ok(Incoming::Single(parse_call(call))),
    }
}

fn parse_call(value: Value) -> Result<Call, BadCall> {
    let refuse = |id: Value, field: &str, why: &str| BadCall {
        id,
        error: ErrorObject::invalid_request(format!("{field}: {why}")).field(field),
    };
    let Value::Object(mut call) = value else {
        return Err(refuse(Value::Null, "call", "it must be an object"));
    };
    let id = call.remove("id");
    if !matches!(id, None | Some(Value::Null | Value::String(_) | Value::Number(_))) {
        return Err(refuse(Value::Null, "id", "it must be a text, a number or null"));
    }
    let known = || id.clone().unwrap_or(Value::Null);
    match call.get("jsonrpc") {
        None => {}
        Some(version) if version == "2.0" => {}
        Some(_) => return Err(refuse(known(), "jsonrpc", "it must be \"2.0\"")),
    }
    let Some(Value::String(method)) = call.remove("method") else {
        return Err(refuse(known(), "method", "it must be a text"));
    };
    let params = match call.remove("params") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(params)) => params,
        Some(Value::Array(list)) => match <[Value; 1]>::try_from(list) {
            Ok([Value::Object(params)]) => params,
            Err(list) if list.is_empty() => Map::new(),
            _ => return Err(refuse(known(), "params", "a list must hold one object")),
        },
        Some(_) => return Err(refuse(known(), "params", "it must be an object")),
    };
    Ok(Call { id, method, params })
}

/// The answer to one call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Response {
    jsonrpc: &'static str,
    id: Value,
    #[serde(flatten)]
    body: Body,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Body {
    Result(Value),
    Error(ErrorObject),
}

impl Response {
    /// Answers the call with this id.
    #[must_use]
    pub fn new(id: Value, outcome: Result<Value, ErrorObject>) -> Self {
        let body = match outcome {
            Ok(result) => Body::Result(result),
            Err(error) => Body::Error(error),
        };
        Self { jsonrpc: "2.0", id, body }
    }

    /// Returns the error, if the call failed.
    #[must_use]
    pub const fn error(&self) -> Option<&ErrorObject> {
        match &self.body {
            Body::Error(error) => Some(error),
            Body::Result(_) => None,
        }
    }

    /// Returns the JSON text.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts, numbers and string keys are always JSON")
    }
}

/// Returns the JSON text of the answer to a batch, or `None` when it had notifications only.
#[must_use]
pub fn batch_json(responses: &[Response]) -> Option<Vec<u8>> {
    (!responses.is_empty()).then(|| {
        serde_json::to_vec(responses).expect("texts, numbers and string keys are always JSON")
    })
}

#[cfg(test)]
mod tests;
