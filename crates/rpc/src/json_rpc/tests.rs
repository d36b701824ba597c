use serde_json::{Map, Value, json};

use super::{
    BATCH_MAX, BadCall, Call, ErrorObject, INVALID_REQUEST, Incoming, PARSE_ERROR, Response,
    batch_json, parse,
};
use crate::fields::BadField;

fn single(body: Value) -> Result<Call, BadCall> {
    match parse(body.to_string().as_bytes()) {
        Ok(Incoming::Single(call)) => call,
        other => panic!("not a single call: {other:?}"),
    }
}

#[test]
fn lenient_in_what_is_taken() {
    let strict = json!({"jsonrpc": "2.0", "id": 1, "method": "info", "params": {"a": 1}});
    let wrapped = json!({"id": 1, "method": "info", "params": [{"a": 1}]});
    assert_eq!(single(strict).unwrap(), single(wrapped).unwrap());
    for params in [json!(null), json!([]), json!({}), json!([{}])] {
        let call = single(json!({"id": "x", "method": "info", "params": params})).unwrap();
        assert_eq!(call.params, Map::new());
    }
    assert_eq!(single(json!({"method": "info"})).unwrap().id, None);
    assert_eq!(single(json!({"method": "info", "id": null})).unwrap().id, Some(Value::Null));
}

#[test]
fn a_bad_call_names_its_field_and_keeps_its_id() {
    let cases = [
        (json!(7), Value::Null, "call"),
        (json!({"id": 1}), json!(1), "method"),
        (json!({"id": 1, "method": 7}), json!(1), "method"),
        (json!({"id": [], "method": "info"}), Value::Null, "id"),
        (json!({"id": 1, "method": "info", "jsonrpc": "1.0"}), json!(1), "jsonrpc"),
        (json!({"id": 1, "method": "info", "params": 7}), json!(1), "params"),
        (json!({"id": 1, "method": "info", "params": [{}, {}]}), json!(1), "params"),
    ];
    for (body, id, field) in cases {
        let bad = single(body).unwrap_err();
        assert_eq!((bad.id, bad.error.code), (id, INVALID_REQUEST));
        assert_eq!(bad.error.data.field.as_deref(), Some(field));
    }
}

#[test]
fn batches_are_bounded() {
    let batch = |calls: usize| json!(vec![json!({"id": 1, "method": "info"}); calls]).to_string();
    assert_eq!(parse(batch(0).as_bytes()).unwrap_err().code, INVALID_REQUEST);
    match parse(batch(BATCH_MAX).as_bytes()).unwrap() {
        Incoming::Batch(calls) => assert_eq!(calls.len(), BATCH_MAX),
        Incoming::Single(_) => panic!("a list is a batch"),
    }
    let over = parse(batch(BATCH_MAX + 1).as_bytes()).unwrap_err();
    assert_eq!((over.data.got, over.data.limit), (Some(21), Some(20)));
}

#[test]
fn garbage_is_a_parse_error() {
    let deep = "[".repeat(100_000);
    for body in ["", "{", "\u{0}", "nul", deep.as_str()] {
        assert_eq!(parse(body.as_bytes()).unwrap_err().code, PARSE_ERROR);
    }
    assert_eq!(parse(&[0xff, 0xfe]).unwrap_err().code, PARSE_ERROR);
}

#[test]
fn responses_are_strict() {
    let ok = Response::new(json!(7), Ok(json!({"a": 1})));
    assert_eq!(ok.to_json(), br#"{"jsonrpc":"2.0","id":7,"result":{"a":1}}"#);
    let error = ErrorObject::from(BadField::over("data", 9, 8)).with("extra", 1);
    let refused = Response::new(Value::Null, Err(error));
    let expected = json!({
        "jsonrpc": "2.0", "id": null,
        "error": {
            "code": -32602, "message": "data: it is 9, the limit is 8",
            "data": {"name": "invalid_params", "field": "data", "got": 9, "limit": 8, "extra": 1},
        },
    });
    assert_eq!(serde_json::from_slice::<Value>(&refused.to_json()).unwrap(), expected);
    assert_eq!(batch_json(&[]), None);
    assert!(batch_json(&[ok]).unwrap().starts_with(b"[{"));
}
