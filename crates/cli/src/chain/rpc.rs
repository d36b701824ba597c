//! Questions to a node of the chain, and its answers.

use serde_json::{Map, Value, json};
use session_core::{Decode, Digest};
use session_protocol::chain::Amount;
use session_rpc::fields::{BadField, Fields};
use session_rpc::json_rpc::METHOD_NOT_FOUND;
use session_runtime::failure::chain as chained;
use session_runtime::http::client::{Client, ClientError, Endpoint, Options};
use session_vm::records::Table;
use session_vm::state::Proof;

use crate::exit::{Code, Failure, Result};

/// A node of the chain that is asked.
pub(crate) struct Rpc {
    client: Client,
}

impl Rpc {
    pub(crate) fn new(url: Endpoint) -> Self {
        Self { client: Client::new(url, Options::default()) }
    }

    /// Asks for one thing.
    pub(crate) async fn call(&self, method: &'static str, params: Value) -> Result<Answer> {
        let call = json!({
            "jsonrpc": "2.0", "id": 1, "method": format!("sessionvm.{method}"), "params": params,
        });
        let answered = self.client.post("/rpc", "application/json", call.to_string()).await;
        let (status, body) = answered.map_err(|error| self.unreachable(&error))?;
        let at = self.client.endpoint();
        let other = |why: &str| {
            Failure::new(Code::Network, format!("{at} is not a chain (sessionvm): {why}"))
        };
        let body: Value = serde_json::from_slice(&body)
            .map_err(|_| other(&format!("it answers HTTP {status} without JSON")))?;
        if body.pointer("/error/code").and_then(Value::as_i64) == Some(METHOD_NOT_FOUND.into()) {
            return Err(other(&format!("it does not know the method sessionvm.{method}")));
        }
        if let Some(error) = body.get("error").filter(|error| !error.is_null()) {
            return Err(refusal(error));
        }
        match body.get("result") {
            Some(Value::Object(table)) => Ok(Answer::new(method, table.clone())),
            _ => Err(other("its answer has neither a result nor an error")),
        }
    }

    /// Returns an entry of the state, with the word of the node for the state's root.
    pub(crate) async fn entry<T: Table>(&self, key: &T::Key) -> Result<Option<T::Value>> {
        let key = T::key(key);
        let answer = self.call("GetProof", json!({ "key": hex::encode(&key) })).await?;
        let root: Digest = answer.parsed("stateRoot")?;
        let proof = Proof::decode_exact(&answer.bytes("proof")?)
            .map_err(|error| answer.wrong(&format!("proof: {error}")))?;
        let value = proof.verify(&key, &root).map_err(|error| answer.wrong(&error))?;
        let read = |value| T::Value::decode_exact(value);
        value.map(read).transpose().map_err(|error| answer.wrong(&error))
    }

    fn unreachable(&self, error: &ClientError) -> Failure {
        let hint = match error {
            ClientError::Connect { .. } => {
                ": start a chain with 'session up' or 'sessionvm', or name another with --url"
            }
            _ => "",
        };
        let at = self.client.endpoint();
        let why = format!("the chain at {at} does not answer: {}{hint}", chained(error));
        Failure::new(Code::Network, why)
    }
}

/// What a refusal means for scripts, and for people.
fn refusal(error: &Value) -> Failure {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let data = error.get("data");
    let name = text(data.and_then(|data| data.get("name"))).unwrap_or_default();
    let message = text(error.get("message")).unwrap_or_else(|| "no reason given".to_owned());
    let why = match text(data.and_then(|data| data.get("reason"))) {
        Some(reason) => format!("{message}: {reason}"),
        None => message,
    };
    let code = match name.as_str() {
        unknown if unknown.starts_with("unknown_") => Code::NotFound,
        "invalid_params" => Code::Usage,
        "not_ready" => Code::Network,
        "internal" => Code::Failed,
        _ => Code::Refused,
    };
    Failure::new(code, crate::out::harmless(&why))
}

/// An answer whose members are taken by type.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    of: String,
    table: Map<String, Value>,
}

impl Answer {
    /// Takes the answer to a method.
    pub(crate) fn new(of: &str, table: Map<String, Value>) -> Self {
        Self { of: of.to_owned(), table }
    }

    /// Returns the whole of it.
    pub(crate) fn json(&self) -> Value {
        Value::Object(self.table.clone())
    }

    pub(crate) fn has(&self, field: &'static str) -> bool {
        self.fields().value(field).is_some()
    }

    pub(crate) fn text(&self, field: &'static str) -> Result<&str> {
        self.needed(field, self.fields().text(field))
    }

    pub(crate) fn number(&self, field: &'static str) -> Result<u64> {
        self.needed(field, self.fields().integer(field))
    }

    pub(crate) fn amount(&self, field: &'static str) -> Result<Amount> {
        self.number(field).map(Amount)
    }

    pub(crate) fn flag(&self, field: &'static str) -> Result<bool> {
        let value = self.fields().value(field).and_then(Value::as_bool);
        value.ok_or_else(|| self.wrong(&format!("{field}: it must be true or false")))
    }

    pub(crate) fn parsed<T>(&self, field: &'static str) -> Result<T>
    where
        T: core::str::FromStr,
        T::Err: core::fmt::Display,
    {
        self.needed(field, self.fields().parsed(field))
    }

    /// Returns bytes that are written in hex.
    pub(crate) fn bytes(&self, field: &'static str) -> Result<Vec<u8>> {
        hex::decode(self.text(field)?).map_err(|error| self.wrong(&format!("{field}: {error}")))
    }

    /// Returns the texts of a list.
    pub(crate) fn texts(&self, field: &'static str) -> Result<Vec<String>> {
        let list = self.fields().list(field).map_err(|error| self.wrong(&error))?;
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let texts: Option<Vec<String>> = list.unwrap_or_default().iter().map(text).collect();
        texts.ok_or_else(|| self.wrong(&format!("{field}: it must be a list of texts")))
    }

    /// Returns a text that may be missing.
    pub(crate) fn maybe_text(&self, field: &'static str) -> Result<Option<&str>> {
        self.fields().text(field).map_err(|error| self.wrong(&error))
    }

    /// Returns an object that is a member of this one.
    pub(crate) fn inner(&self, field: &'static str) -> Result<Self> {
        match self.fields().value(field) {
            Some(Value::Object(table)) => Ok(self.below(field, table)),
            _ => Err(self.wrong(&format!("{field}: it must be an object"))),
        }
    }

    /// Returns the objects of a list.
    pub(crate) fn list(&self, field: &'static str) -> Result<Vec<Self>> {
        let list = self.fields().list(field).map_err(|error| self.wrong(&error))?;
        let list = list.unwrap_or_default().iter();
        list.map(|value| match value {
            Value::Object(table) => Ok(self.below(field, table)),
            _ => Err(self.wrong(&format!("{field}: it must be a list of objects"))),
        })
        .collect()
    }

    /// Says that the node answered something that makes no sense.
    pub(crate) fn wrong(&self, why: &dyn core::fmt::Display) -> Failure {
        Failure::failed(format!("the answer of {} is wrong: {why}", self.of))
    }

    fn below(&self, field: &str, table: &Map<String, Value>) -> Self {
        Self { of: format!("{}.{field}", self.of), table: table.clone() }
    }

    fn fields(&self) -> Fields<'_> {
        Fields::new("", &self.table)
    }

    fn needed<T>(
        &self,
        field: &'static str,
        value: std::result::Result<Option<T>, BadField>,
    ) -> Result<T> {
        let value = value.map_err(|error| self.wrong(&error))?;
        value.ok_or_else(|| self.wrong(&format!("{field}: it is missing")))
    }
}
