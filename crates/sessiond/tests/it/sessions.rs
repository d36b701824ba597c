//! Workload sessions on a committee of four nodes, and nothing in between that is not real.

use rustix::process::Signal;
use serde_json::json;
use session_core::{Decode as _, Digest, NodeId, sha256};
use session_messaging::content::Content;
use session_protocol::workload::SignedReceipt;
use session_protocol::workload::manifest::{Aggregation, HttpMethod};

use crate::support::{
    Committee, Owner, Place, Program, World, ended, eventually, get, post, read_all, refusal,
};

/// Takes its input and gives it back.
const ECHO: &str = r#"(module
  (import "lux_session_v1" "input" (func $input (param i32 i32) (result i32)))
  (import "lux_session_v1" "output" (func $output (param i32 i32)))
  (import "lux_session_v1" "log" (func $log (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "echo")
  (func (export "run")
    (call $log (i32.const 0) (i32.const 4))
    (call $output (i32.const 1024) (call $input (i32.const 1024) (i32.const 1024)))))"#;

/// Reads a source six times, and ends with the last answer.
const READS: &str = r#"(module
  (import "lux_session_v1" "read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "lux_session_v1" "output" (func $output (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{\"source\":\"counter\"}")
  (func (export "run") (local $length i32) (local $left i32)
    (local.set $left (i32.const 6))
    (loop $again
      (local.set $length (call $read (i32.const 0) (i32.const 20) (i32.const 1024) (i32.const 1024)))
      (if (i32.load8_u (i32.const 1024)) (then (unreachable)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $again (local.get $left)))
    (call $output (i32.const 1025) (i32.sub (local.get $length) (i32.const 1)))))"#;

/// Sends a message, and ends with its receipt.
const MAIL: &str = r#"(module
  (import "lux_session_v1" "write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "lux_session_v1" "output" (func $output (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{\"source\":\"mail\",\"body\":\"it changed\"}")
  (func (export "run") (local $length i32)
    (local.set $length (call $write (i32.const 0) (i32.const 37) (i32.const 1024) (i32.const 8192)))
    (if (i32.load8_u (i32.const 1024)) (then (unreachable)))
    (call $output (i32.const 1025) (i32.sub (local.get $length) (i32.const 1)))))"#;

/// Traps.
const TRAP: &str = r#"(module (memory (export "memory") 1) (func (export "run") (unreachable)))"#;

#[test]
fn a_committee_runs_programs_and_goes_on_without_one_of_its_members() {
    let world = World::start();
    let mut committee = Committee::start(&world);
    a_program_without_questions_ends_the_same_everywhere(&committee);
    a_program_that_traps_fails_with_a_certificate(&committee);
    garbage_is_refused_by_name(&committee);
    a_message_is_delivered_and_receipted(&committee);
    one_that_is_killed_comes_back_and_agrees(&mut committee, &world);
}

fn a_program_without_questions_ends_the_same_everywhere(committee: &Committee) {
    let session = committee.create(&Program::new(ECHO), b"hello committee");
    let output = hex::encode("hello committee");
    let mut roots = Vec::new();
    for node in &committee.nodes {
        let seen = ended(node.http, &session);
        assert_eq!(
            (&seen["state"], &seen["output"]),
            (&json!("finalized"), &json!(output)),
            "{seen}"
        );
        assert_eq!(seen["committee"].as_array().unwrap().len(), 4);
        assert_eq!(seen["steps"].as_array().unwrap().len(), 1);
        roots.push((seen["oracleRoot"].clone(), seen["fuel"].clone()));
    }
    assert!(roots.windows(2).all(|two| two[0] == two[1]), "{roots:?}");
    committee.chain_says(&session, "finalized");

    let logs = json!({"id": 1, "method": "session.GetLogs", "params": {"sessionId": session}});
    let logs = &post(committee.nodes[1].http, &logs)["result"];
    assert_eq!((&logs["lines"], &logs["next"]), (&json!(["echo"]), &json!(1)));
    let params = json!({"sessionId": session, "encoding": "base64"});
    let bundle =
        post(committee.nodes[2].http, &json!({"id": 1, "method": "GetBundle", "params": params}));
    assert!(bundle["result"]["total"].as_u64() > Some(1000), "{bundle}");
    assert_eq!(bundle["result"]["encoding"], "base64");
}

fn a_program_that_traps_fails_with_a_certificate(committee: &Committee) {
    let session = committee.create(&Program::new(TRAP), b"");
    let seen = ended(committee.nodes[0].http, &session);
    assert_eq!(seen["state"], "failed", "{seen}");
    assert!(seen["error"].as_str().unwrap().contains("unreachable"), "{seen}");
    committee.chain_says(&session, "failed");
}

fn garbage_is_refused_by_name(committee: &Committee) {
    let node = committee.nodes[0].http;
    let nowhere = "ab".repeat(32);
    let (code, name, message) = refusal(node, "GetSession", json!({"sessionId": nowhere}));
    assert_eq!((code, &*name, &*message), (-32_101, "session_not_found", "session not found"));
    let (code, ..) = refusal(node, "GetSession", json!({"sessionId": "zz"}));
    assert_eq!(code, -32_602);
    let (code, ..) = refusal(node, "PutBlob", json!({"data": 7}));
    assert_eq!(code, -32_602);
    let (code, ..) = refusal(node, "CreateSession", json!({}));
    assert_eq!(code, -32_602);
    let params = json!({
        "service": nowhere, "epoch": 1, "tx": nowhere, "program": nowhere, "input": nowhere,
    });
    let (_, name, _) = refusal(node, "CreateSession", params);
    assert!(["blob_missing", "session_not_found"].contains(&&*name), "{name}");

    let stranger = Place::new();
    let stranger = stranger.start();
    let (code, name, _) = refusal(stranger.http, "PutBlob", json!({"data": "00"}));
    assert_eq!((code, &*name), (-32_109, "no_chain"));
}

fn a_message_is_delivered_and_receipted(committee: &Committee) {
    let mut owner = Owner::new(5);
    let node = committee.nodes[1].http;
    eventually("the receiver's keys", || {
        let stored = post(node, &json!({"id": 1, "method": "store", "params": owner.card()}));
        stored["result"]["id"].is_string().then_some(())
    });
    let program = Program::new(MAIL).writes_to("mail", &format!("07{}", owner.account()));
    let session = committee.create(&program, b"");
    let seen = ended(node, &session);
    assert_eq!(seen["state"], "finalized", "{seen}");
    let receipt = hex::decode(seen["output"].as_str().unwrap()).unwrap();
    let receipt = SignedReceipt::decode_exact(&receipt).unwrap();
    assert_eq!(receipt.receipt.session.to_string(), session);
    assert_eq!(receipt.receipt.receiver, *owner.account().as_bytes());
    assert_eq!(*receipt.receipt.message_hash.as_bytes(), sha256(b"it changed"));
    assert!(receipt.stored >= 3, "a quorum of the swarm keeps it: {}", receipt.stored);

    let audience: NodeId = committee.nodes[1].health()["node"].as_str().unwrap().parse().unwrap();
    let params = owner.prove(read_all(audience));
    let read = post(node, &json!({"id": 1, "method": "retrieve", "params": params}));
    let items = read["result"]["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "one message for one write: {read}");
    let message = owner.open(&hex::decode(items[0]["data"].as_str().unwrap()).unwrap());
    assert_eq!(message.sender.node_id(), receipt.node);
    let Content::Text { body, .. } = message.content else { panic!("it is a text") };
    assert!(body.starts_with("it changed\n") && body.contains(&session), "{body}");
}

fn one_that_is_killed_comes_back_and_agrees(committee: &mut Committee, world: &World) {
    let program =
        Program::new(READS).reads("counter", world, HttpMethod::Get, Aggregation::Identical);
    let session = committee.create(&program, b"");
    eventually("the second question", || {
        (get(committee.nodes[0].http, &session)["currentStep"].as_u64() >= Some(3)).then_some(())
    });
    committee.nodes[3].signal(Signal::KILL);
    committee.nodes[3].wait();
    let seen = ended(committee.nodes[0].http, &session);
    assert_eq!(seen["state"], "finalized", "{seen}");
    assert_eq!(seen["output"], hex::encode("the answer"), "{seen}");
    committee.chain_says(&session, "finalized");

    committee.restart(3);
    let back = ended(committee.nodes[3].http, &session);
    for field in ["state", "output", "oracleRoot", "fuel"] {
        assert_eq!(back[field], seen[field], "{field}: {back}");
    }
    let steps = seen["steps"].as_array().unwrap();
    assert_eq!(steps.iter().filter(|step| step["kind"] == "read_external").count(), 6);
    let zeros = Digest::from([0; 32]).to_string();
    for step in steps.iter().filter(|step| step["kind"] == "read_external") {
        assert_ne!(step["attestationId"], zeros, "no question goes without an attestation: {step}");
    }
    assert!(world.asked() >= 6 * 3, "a quorum asked each time, and not only one member");
    let health = committee.nodes[0].health();
    assert!(health["sessions"]["rounds"].as_u64() >= Some(6), "{health}");
    assert!(health["sessions"]["fetches"].as_u64() >= Some(6), "{health}");
}
