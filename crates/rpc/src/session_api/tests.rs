use serde_json::{Value, json};
use session_core::{Digest, Epoch, SessionId, Time};

use super::{Method, result};
use crate::api::Encoding;
use crate::json_rpc::{Call, ErrorObject, INVALID_PARAMS};

fn parse(method: &str, params: Value) -> Option<Result<Method, ErrorObject>> {
    let Value::Object(params) = params else { panic!("{params} is not a table") };
    Method::parse(&Call { id: None, method: method.to_owned(), params })
}

fn refused(method: &str, params: Value) -> String {
    let error = parse(method, params).unwrap().unwrap_err();
    assert_eq!(error.code, INVALID_PARAMS);
    error.data.field.unwrap()
}

#[test]
fn every_name_is_known_with_and_without_its_prefix() {
    let id = "ab".repeat(32);
    for prefix in ["", "session.", "session_"] {
        for name in super::METHODS {
            let params = json!({
                "data": "00", "service": id, "epoch": 1, "tx": id, "program": id, "input": id,
                "sessionId": id,
            });
            assert!(parse(&format!("{prefix}{name}"), params).unwrap().is_ok(), "{name}");
        }
    }
    assert_eq!(parse("store", json!({})), None);
    assert_eq!(parse("getsession", json!({})), None);
}

#[test]
fn blobs_come_in_hex_or_base64_and_once() {
    let data = |params| match parse("PutBlob", params) {
        Some(Ok(Method::PutBlob { data })) => data,
        other => panic!("{other:?}"),
    };
    assert_eq!(data(json!({"data": "0102"})), [1, 2]);
    assert_eq!(data(json!({"data": "AQI=", "encoding": "base64"})), [1, 2]);
    assert_eq!(data(json!({"data_base64": "AQI="})), [1, 2]);
    assert_eq!(refused("PutBlob", json!({})), "data");
    assert_eq!(refused("PutBlob", json!({"data": "xy"})), "data");
    assert_eq!(refused("PutBlob", json!({"data": "AQI="})), "data");
    assert_eq!(refused("PutBlob", json!({"data": "00", "data_base64": "AQI="})), "data_base64");
    assert_eq!(refused("PutBlob", json!({"data": "00", "encoding": "utf8"})), "encoding");
}

#[test]
fn wrong_parameters_are_named() {
    let id = "ab".repeat(32);
    assert_eq!(refused("GetSession", json!({})), "sessionId");
    assert_eq!(refused("GetSession", json!({"sessionId": "short"})), "sessionId");
    assert_eq!(refused("GetLogs", json!({"sessionId": id, "from": -1})), "from");
    assert_eq!(refused("GetBundle", json!({"sessionId": id, "offset": 1_u64 << 32})), "offset");
    let create = json!({"service": id, "epoch": "7", "tx": id, "program": id});
    assert_eq!(refused("CreateSession", create.clone()), "input");
    let mut whole = create;
    whole["input"] = json!("cd".repeat(32));
    let Some(Ok(Method::CreateSession { epoch, input, .. })) = parse("CreateSession", whole) else {
        panic!("it is whole")
    };
    assert_eq!((epoch, input), (Epoch(7), Digest::from([0xcd; 32])));
}

#[test]
fn a_session_has_the_seeds_fields() {
    let session = result::Session {
        id: SessionId::from([1; 32]),
        service_id: [2; 32].into(),
        epoch: Epoch(3),
        tx_id: [4; 32].into(),
        program: [8; 32].into(),
        input: [9; 32].into(),
        committee: vec![[5; 32].into()],
        state: "running",
        current_step: 1,
        steps_left_out: 0,
        steps: vec![result::Step {
            step_index: 0,
            kind: "compute",
            request_id: [0; 32].into(),
            retry_index: 0,
            tx_id: [4; 32].into(),
            input_hash: Digest::from([0; 32]),
            output_hash: Digest::from([0; 32]),
            oracle_commit_root: Digest::from([0; 32]),
            attestation_id: Digest::from([0; 32]),
            state: "completed",
            started_at: Time::from_millis(6),
            completed_at: Some(Time::from_millis(7)),
        }],
        output_hash: None,
        oracle_root: None,
        receipts_root: None,
        output: Some(vec![0xff]),
        created_at: Time::from_millis(5),
        deadline: Time::from_millis(9),
        finalized_at: None,
        error: None,
        fuel: 10,
        retries: 11,
        checkpoints: 12,
        receipts: 13,
        log_lines: 14,
    };
    let json = result::to_json(&session);
    let zeros = "00".repeat(32);
    assert_eq!(
        json,
        json!({
            "id": "01".repeat(32), "serviceId": "02".repeat(32), "epoch": 3, "txId": "04".repeat(32),
            "committee": ["05".repeat(32)], "state": "running", "currentStep": 1,
            "program": "08".repeat(32), "input": "09".repeat(32), "stepsLeftOut": 0, "fuel": 10,
            "retries": 11, "checkpoints": 12, "receipts": 13, "logLines": 14,
            "steps": [{
                "stepIndex": 0, "kind": "compute", "requestId": zeros, "retryIndex": 0,
                "txId": "04".repeat(32), "inputHash": zeros, "outputHash": zeros,
                "oracleCommitRoot": zeros, "attestationId": zeros, "state": "completed",
                "startedAt": 6, "completedAt": 7,
            }],
            "outputHash": null, "oracleRoot": null, "receiptsRoot": null, "output": "ff",
            "createdAt": 5, "deadline": 9, "finalizedAt": null, "error": null,
        })
    );
}

#[test]
fn pieces_of_bundles_are_written_as_asked() {
    let id = "ab".repeat(32);
    let parsed = parse("GetBundle", json!({"sessionId": id, "encoding": "base64"}));
    let Some(Ok(Method::GetBundle { offset, encoding, .. })) = parsed else { panic!() };
    assert_eq!((offset, encoding), (0, Encoding::Base64));
    let data = result::Data { bytes: vec![1], encoding };
    let part = result::BundlePart { total: 1, id: Digest::from([0; 32]), offset, data };
    let json = result::to_json(&part);
    assert_eq!(
        json,
        json!({"total": 1, "id": "00".repeat(32), "offset": 0, "data": "AQ==", "encoding": "base64"})
    );
}
