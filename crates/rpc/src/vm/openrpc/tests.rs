use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::super::{ErrorCode, Method, Profile};
use super::document;
use crate::json_rpc::{Call, Incoming, parse};

const DOCUMENTATION: &str = include_str!("../../../../../docs/wire/vm-json-rpc.md");

fn methods() -> Vec<Value> {
    document("1.2.3")["methods"].as_array().unwrap().clone()
}

fn call(name: &str, params: Map<String, Value>) -> Call {
    Call { id: Some(json!(1)), method: name.to_owned(), params }
}

#[test]
fn the_document_and_the_parser_know_the_same_methods() {
    let listed: Vec<String> =
        methods().iter().map(|method| method["name"].as_str().unwrap().to_owned()).collect();
    let known: Vec<String> =
        Method::NAMES.iter().map(|name| super::super::api::full_name(name)).collect();
    assert_eq!(listed, known);
    let mut names = BTreeSet::new();
    for method in methods() {
        let aliases = method["x-aliases"].as_array().cloned().unwrap_or_default();
        for name in aliases.iter().chain([&method["name"]]) {
            let name = name.as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} is there twice");
            let outcome = Method::parse(&call(name, Map::new()), Profile::Strict);
            assert!(outcome.is_ok() || outcome.is_err_and(|error| error.code == -32602), "{name}");
        }
    }
    assert_eq!(names.len(), 2 * (known.len() - 1) + 1 + 2 * 5);
}

#[test]
fn every_example_of_the_document_is_taken() {
    let mut examples = 0;
    for method in methods() {
        for example in method["examples"].as_array().into_iter().flatten() {
            let given = example["params"].as_array().unwrap().iter();
            let params = given
                .map(|param| (param["name"].as_str().unwrap().to_owned(), param["value"].clone()))
                .collect();
            let name = method["name"].as_str().unwrap();
            let read = Method::parse(&call(name, params), Profile::Strict).unwrap();
            assert!(name.ends_with(read.name()));
            examples += 1;
        }
    }
    assert!(examples > 12, "{examples}");
}

#[test]
fn every_reference_leads_somewhere() {
    fn references(value: &Value, out: &mut Vec<String>) {
        match value {
            Value::Object(table) => {
                out.extend(table.get("$ref").and_then(Value::as_str).map(str::to_owned));
                table.values().for_each(|value| references(value, out));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, out)),
            _ => {}
        }
    }
    let document = document("1.2.3");
    assert_eq!(document["info"]["version"], "1.2.3");
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 30);
    for reference in found.iter().filter(|reference| reference.starts_with('#')) {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
}

#[test]
fn parameters_are_described() {
    for method in methods() {
        assert!(!method["summary"].as_str().unwrap().is_empty());
        for param in method["params"].as_array().unwrap() {
            assert!(!param["description"].as_str().unwrap().is_empty());
            assert!(param["schema"]["type"].is_string() || param["schema"]["type"].is_array());
        }
    }
    let create = &methods()[0];
    assert_eq!(create["name"], "sessionvm.CreateSession");
    assert_eq!(
        create["params"][0],
        json!({
            "name": "participants", "required": true,
            "description": "Who takes part; nobody twice.",
            "schema": {
                "type": "array", "minItems": 1, "maxItems": 1000, "uniqueItems": true,
                "items": {
                    "type": "string", "maxLength": 68,
                    "description": "07 and 64 hex digits, 64 hex digits, or CB58 of the 32 bytes",
                },
            },
        })
    );
    assert_eq!(
        create["errors"][0],
        json!({"code": -32016, "message": "bad key", "data": {"name": "bad_key"}})
    );
}

// The page shows keys and signatures as shell variables.
fn filled(text: &str) -> String {
    let sizes =
        [("$SIGNATURE", 3309), ("$KEYS", 3136), ("$KEM", 1184), ("$DSA", 1952), ("$ID", 32)];
    sizes.iter().fold(text.to_owned(), |text, (name, size)| text.replace(name, &"5e".repeat(*size)))
}

#[test]
fn every_call_of_the_page_is_taken() {
    let mut seen = BTreeSet::new();
    for line in DOCUMENTATION.lines().filter(|line| line.contains(r#""method":"#)) {
        let Some(start) = line.find('{') else { continue };
        let end = line.rfind('}').expect("a call ends on its line");
        let body = filled(&line[start..=end]);
        if body.contains("sessionvm.event") {
            continue;
        }
        let parsed = parse(body.as_bytes()).unwrap_or_else(|error| panic!("{line}: {error}"));
        let Incoming::Single(Ok(call)) = parsed else { panic!("{line}: not one call") };
        let read = Method::parse(&call, Profile::Strict);
        seen.insert(read.unwrap_or_else(|error| panic!("{line}: {error}")).name());
    }
    let missing: Vec<_> = Method::NAMES.iter().filter(|name| !seen.contains(**name)).collect();
    assert!(missing.is_empty(), "the page has no call of {missing:?}");
}

#[test]
fn the_page_lists_every_refusal_and_parameter() {
    for code in ErrorCode::ALL {
        let row = format!("| {} | `{}` | {}", code.code(), code.name(), code.message());
        assert!(DOCUMENTATION.contains(&row), "{row}");
    }
    for method in methods() {
        for param in method["params"].as_array().unwrap() {
            let name = param["name"].as_str().unwrap();
            assert!(DOCUMENTATION.contains(&format!("`{name}`")), "{name}");
        }
    }
}
