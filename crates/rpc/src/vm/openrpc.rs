//! The OpenRPC document, made from the table of methods.

use serde_json::{Map, Value, json};

use super::ErrorCode;
use super::api::{Entry, PREFIXES, entries, full_name};
use super::result;

/// The version of OpenRPC that the document follows.
pub const OPENRPC_VERSION: &str = "1.3.2";

/// Longest example in the document: keys and signatures would make it unreadable.
const EXAMPLE_BYTES_MAX: usize = 512;

/// Returns the document that `rpc.discover` gives; `version` is the program's.
#[must_use]
pub fn document(version: &str) -> Value {
    let methods: Vec<Value> = entries().iter().map(method).collect();
    json!({
        "openrpc": OPENRPC_VERSION,
        "info": {
            "title": "SessionVM", "version": version,
            "description": "Conversations, and the coordination chain of Lux Session.",
            "license": {"name": "BSD-3-Clause"},
        },
        "servers": [{"name": "standalone", "url": "http://127.0.0.1:9652/rpc"}],
        "methods": methods,
        "components": {"schemas": result::schemas()},
    })
}

/// Returns parameters that a method takes, as examples are made of.
#[must_use]
pub(crate) fn sample(entry: &Entry) -> Map<String, Value> {
    let given = entry.parameters.iter().map(|(parameter, _)| parameter);
    given
        .filter(|parameter| !parameter.sample.is_null())
        .map(|parameter| (parameter.name.to_owned(), parameter.sample.clone()))
        .collect()
}

fn method(entry: &Entry) -> Value {
    let text = words(entry.text);
    let mut method = json!({
        "name": full_name(entry.name),
        "summary": text,
        "paramStructure": "by-name",
        "params": entry.parameters.iter().map(parameter).collect::<Vec<_>>(),
        "result": {"name": "result", "schema": entry.result},
        "errors": entry.errors.iter().copied().map(error).collect::<Vec<_>>(),
    });
    let aliases = aliases(entry);
    if !aliases.is_empty() {
        method["x-aliases"] = aliases.into();
    }
    let params = sample(entry);
    let small = Value::Object(params.clone()).to_string().len() <= EXAMPLE_BYTES_MAX;
    if small {
        let params: Vec<Value> =
            params.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        method["examples"] = json!([{"name": "call", "params": params}]);
    }
    method
}

fn words(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
}

fn parameter((parameter, text): &(super::kind::Parameter, &'static [&'static str])) -> Value {
    json!({
        "name": parameter.name, "description": words(text), "required": parameter.required,
        "schema": parameter.schema,
    })
}

fn error(code: ErrorCode) -> Value {
    json!({"code": code.code(), "message": code.message(), "data": {"name": code.name()}})
}

// Every name of a method but the first.
fn aliases(entry: &Entry) -> Vec<String> {
    if entry.name.starts_with("rpc.") {
        return Vec::new();
    }
    let names = core::iter::once(entry.name).chain(entry.alias);
    let prefixed = names.flat_map(|name| PREFIXES.map(|prefix| format!("{prefix}{name}")));
    prefixed.skip(1).collect()
}

#[cfg(test)]
mod tests;
