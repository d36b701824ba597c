//! Sessions that a world, a database or their own programs make hard: a committee of four nodes
//! comes to one end all the same.

use rustix::process::Signal;
use serde_json::{Value, json};
use session_core::{Decode as _, Digest, Encode as _, Inline, List, SessionId, Span, Text};
use session_crypto::RealVerifier;
use session_executor::bundle::{self, Bundle, Ground, Outcome};
use session_protocol::workload::manifest::{Aggregation, Connector, HttpMethod};
use session_protocol::workload::message::Decision;
use session_protocol::workload::oracle::write_key;

use crate::support::{Committee, Ledger, Program, ended, eventually, get, post, refusal};

#[path = "../../../connectors/src/sql/tests/cluster.rs"]
mod cluster;

use cluster::Cluster;

/// Never ends.
const LOOP: &str = r#"(module (memory (export "memory") 1)
  (func (export "run") (loop $again (br $again))))"#;

/// Wants more than there is.
const IMPORTS: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "run")))"#;

/// Says too much.
const TALKS: &str = r#"(module
  (import "lux_session_v1" "output" (func $output (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "run") (call $output (i32.const 0) (i32.const 32769))))"#;

/// Makes NaNs of which WebAssembly leaves sign and payload open.
const NANS: &str = r#"(module
  (import "lux_session_v1" "output" (func $output (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "run") (local $zero f64) (local $loud f64)
    (local.set $loud (f64.reinterpret_i64 (i64.const 0xfff0000000000123)))
    (f64.store (i32.const 0) (f64.div (local.get $zero) (local.get $zero)))
    (f64.store (i32.const 8) (f64.sqrt (f64.const -1)))
    (f64.store (i32.const 16) (f64.add (local.get $loud) (f64.const 1)))
    (f64.store (i32.const 24) (f64.min (local.get $loud) (local.get $zero)))
    (f64.store (i32.const 32) (f64.promote_f32 (f32.const -nan:0x200001)))
    (f32.store (i32.const 40) (f32.sub (f32.const inf) (f32.const inf)))
    (f32.store (i32.const 44) (f32.demote_f64 (local.get $loud)))
    (call $output (i32.const 0) (i32.const 48))))"#;

/// Programs that fail, and their reasons.
const FAILURES: [(&str, &str); 3] = [
    (LOOP, "the fuel is used up"),
    (
        IMPORTS,
        "there is no import wasi_snapshot_preview1.fd_write: only the functions of \
         lux_session_v1 can be imported",
    ),
    (TALKS, "an output of 32769 bytes, the limit is 32768"),
];

/// What members must agree on.
const AGREED: [&str; 7] =
    ["state", "output", "outputHash", "oracleRoot", "receiptsRoot", "fuel", "error"];

/// Returns a program that makes one request, and ends with the answer, its tag included.
fn asks(function: &str, request: &Value) -> String {
    let request = request.to_string();
    let (length, quoted) = (request.len(), request.replace('"', "\\\""));
    format!(
        r#"(module
  (import "lux_session_v1" "{function}" (func $ask (param i32 i32 i32 i32) (result i32)))
  (import "lux_session_v1" "output" (func $output (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{quoted}")
  (func (export "run")
    (call $output (i32.const 1024)
      (call $ask (i32.const 0) (i32.const {length}) (i32.const 1024) (i32.const 8192)))))"#
    )
}

/// Returns the whole bundle that a node gives out, checked.
fn checked_bundle(node: std::net::SocketAddr, session: &str) -> (Bundle, Outcome) {
    let mut bytes = Vec::new();
    loop {
        let params = json!({"sessionId": session, "offset": bytes.len()});
        let answer = post(node, &json!({"id": 1, "method": "GetBundle", "params": params}));
        let part = &answer["result"];
        let data = part["data"].as_str().unwrap_or_else(|| panic!("{answer}"));
        bytes.extend(hex::decode(data).unwrap());
        if bytes.len() as u64 >= part["total"].as_u64().unwrap() {
            break;
        }
    }
    let bundle = Bundle::decode_exact(&bytes).unwrap();
    let ground = Ground { verifier: &RealVerifier, workers: &Inline, known: None };
    let verdict = bundle::verify(&bundle, &ground).unwrap();
    (bundle, verdict.outcome)
}

/// Waits until all nodes report the end of a session, and all the same; returns it.
fn same_everywhere(committee: &Committee, session: &str) -> Value {
    let first = ended(committee.nodes[0].http, session);
    for node in &committee.nodes[1..] {
        same(&ended(node.http, session), &first);
    }
    first
}

fn same(seen: &Value, other: &Value) {
    for field in AGREED {
        assert_eq!(seen[field], other[field], "{field}: {seen} {other}");
    }
}

#[test]
fn what_is_hard_for_a_committee_ends_in_one_way() {
    let ledger = Ledger::start();
    let database = Cluster::start();
    let more = database.as_ref().map(|cluster| {
        cluster.order(
            "CREATE TABLE coins (name text, price numeric(12, 2), held bigint);
             INSERT INTO coins VALUES ('sol', NULL, 0), ('lux', 0.10, 9007199254740993);
             CREATE ROLE reader LOGIN; GRANT SELECT ON coins TO reader;",
        );
        format!("[databases.coins]\naddress = \"{}\"\n", cluster.address("reader"))
    });
    let mut committee = Committee::connected(&[ledger.http], more.as_deref().unwrap_or(""));
    let nobodys = a_session_that_nobody_can_run(&committee);
    bad_programs_fail_with_their_reason(&committee);
    floats_are_the_same_everywhere(&committee);
    what_cannot_run_is_refused(&committee);
    private_addresses_are_not_reached(&committee);
    if database.is_some() {
        rows_of_a_database_are_agreed_on(&committee);
    }
    a_write_whose_writer_is_killed_happens_once(&mut committee, &ledger);
    let nobodys = committee.chain_says(&nobodys, "failed");
    assert_eq!(nobodys["error"], "deadline", "{nobodys}");
}

/// Has the chain create a session whose program nobody has; returns its id.
fn a_session_that_nobody_can_run(committee: &Committee) -> String {
    let (nothing, input) = (Digest::from([7; 32]), committee.upload(b"input"));
    let ordered = committee.order(nothing, input, Span::from_secs(8));
    let node = committee.nodes[0].http;
    let (_, name, _) = refusal(node, "CreateSession", ordered.with(nothing, input));
    assert_eq!(name, "blob_missing");

    let other = Program::new(LOOP);
    committee.upload(other.module());
    let other = committee.upload(&other.workload().to_bytes());
    eventually("a refusal of another program", || {
        let (_, name, text) = refusal(node, "CreateSession", ordered.with(other, input));
        assert_eq!(name, "session_refused", "{text}");
        text.contains("has another program or another input").then_some(())
    });
    let session = ordered.session().to_string();
    assert_eq!(get(node, &session)["state"], "pending");
    let (_, name, _) = refusal(node, "StartSession", json!({"sessionId": session}));
    assert_eq!(name, "blob_missing");
    session
}

fn bad_programs_fail_with_their_reason(committee: &Committee) {
    let sessions = FAILURES.map(|(text, _)| committee.create(&Program::new(text), b""));
    for (session, (_, reason)) in sessions.iter().zip(FAILURES) {
        let seen = same_everywhere(committee, session);
        assert_eq!((&seen["state"], &seen["error"]), (&json!("failed"), &json!(reason)), "{seen}");
        assert_eq!((&seen["output"], &seen["oracleRoot"]), (&Value::Null, &Value::Null), "{seen}");
        if reason.contains("fuel") {
            assert_eq!(seen["fuel"], 10_000_000, "all of it, and no more: {seen}");
        }
        // The reason is what a quorum attests.
        let (_, outcome) = checked_bundle(committee.nodes[3].http, session);
        let Outcome::Failed { reason: attested } = outcome else { panic!("{outcome:?}") };
        assert_eq!(&*attested, reason);
        let anchored = committee.chain_says(session, "failed");
        assert_eq!(anchored["error"], reason, "{anchored}");
    }
}

fn floats_are_the_same_everywhere(committee: &Committee) {
    let session = committee.create(&Program::new(NANS), b"");
    let seen = same_everywhere(committee, &session);
    let (double, single) = (f64::NAN.to_bits(), f32::NAN.to_bits());
    assert_eq!((double, single), (0x7ff8_0000_0000_0000, 0x7fc0_0000));
    let canonical = [double.to_le_bytes().repeat(5), single.to_le_bytes().repeat(2)].concat();
    assert_eq!(seen["output"], hex::encode(canonical), "{seen}");
}

fn what_cannot_run_is_refused(committee: &Committee) {
    let node = committee.nodes[0].http;
    let (input, nowhere) = (committee.upload(b""), "ab".repeat(32));
    let create = |program: Digest| {
        json!({
            "service": nowhere, "epoch": 1, "tx": nowhere,
            "program": program.to_string(), "input": input.to_string(),
        })
    };
    let refused = |program: Digest| {
        let (_, name, text) = refusal(node, "CreateSession", create(program));
        (name, text)
    };

    let program = Program::new(LOOP).egress("10.0.0.0/8", 80);
    committee.upload(program.module());
    let (name, text) = refused(committee.upload(&program.workload().to_bytes()));
    assert_eq!(name, "bad_workload");
    assert_eq!(
        text,
        "the workload cannot be run: egress[0].host: \"10.0.0.0/8\" is no host: \
         ranges of addresses cannot be reached, only hosts"
    );

    let (name, text) = refused(committee.upload(b"no workload"));
    assert_eq!(name, "bad_workload");
    assert!(text.contains("the program is no workload"), "{text}");

    let mut workload = program.workload();
    workload.manifest.egress = List::new([]).unwrap();
    workload.profile = Digest::from([1; 32]);
    let (name, text) = refused(committee.upload(&workload.to_bytes()));
    assert_eq!(name, "bad_workload");
    assert!(text.contains("it is made for engine profile 0101"), "{text}");

    let lost = Program::new(r#"(module (memory (export "memory") 1) (func (export "run") nop))"#);
    let program = committee.upload(&lost.workload().to_bytes());
    let call = json!({"id": 1, "method": "CreateSession", "params": create(program)});
    let error = &post(node, &call)["error"];
    let module = lost.workload().module.to_string();
    assert_eq!(error["data"]["name"], "blob_missing", "{error}");
    assert_eq!(error["data"]["blob"], module, "{error}");
}

fn private_addresses_are_not_reached(committee: &Committee) {
    let at = "10.0.0.1:80".parse().unwrap();
    let program = Program::new(&asks("read", &json!({"source": "inside"}))).http(
        "inside",
        at,
        HttpMethod::Get,
        Aggregation::Identical,
        Span::from_secs(1),
    );
    let seen = same_everywhere(committee, &committee.create(&program, b""));
    let answer = hex::encode("\u{1}the address may not be reached");
    assert_eq!((&seen["state"], &seen["output"]), (&json!("finalized"), &json!(answer)), "{seen}");
}

fn rows_of_a_database_are_agreed_on(committee: &Committee) {
    let statement = "SELECT name, price, held FROM coins WHERE name <> $1 ORDER BY name";
    let connector = Connector::Sql {
        database: Text::new("coins").unwrap(),
        statement: Text::new(statement).unwrap(),
        parameters: List::new([Text::new("other").unwrap()]).unwrap(),
    };
    let request = json!({"source": "coins", "params": {"other": "btc"}});
    let program = Program::new(&asks("read", &request)).source(
        "coins",
        connector,
        Aggregation::Identical,
        Span::from_secs(5),
    );
    let session = committee.create(&program, b"");
    let seen = same_everywhere(committee, &session);
    let rows = r#"[{"name":"lux","price":"0.10","held":9007199254740993},{"name":"sol","price":null,"held":0}]"#;
    let output = hex::decode(seen["output"].as_str().unwrap()).unwrap();
    assert_eq!(String::from_utf8(output).unwrap(), format!("\0{rows}"));
    let (bundle, _) = checked_bundle(committee.nodes[1].http, &session);
    let records = |(step, it): (u32, &Decision)| (step, it.commit.records.len() >= 3);
    assert_eq!(bundle.decisions().map(records).collect::<Vec<_>>(), [(1, true)]);
}

fn a_write_whose_writer_is_killed_happens_once(committee: &mut Committee, ledger: &Ledger) {
    let request = json!({"source": "book", "body": "one coin"});
    let program = Program::new(&asks("write", &request)).http(
        "book",
        ledger.http,
        HttpMethod::Put,
        Aggregation::Single,
        Span::from_secs(2),
    );
    let session = committee.create(&program, b"");
    let writer = ledger.first_writer();
    committee.nodes[writer].signal(Signal::KILL);
    committee.nodes[writer].wait();
    assert_eq!(ledger.page().requests.len(), 1, "its answer was still held back");

    let others: Vec<usize> = (0..4).filter(|number| *number != writer).collect();
    let seen = ended(committee.nodes[others[0]].http, &session);
    let answer = hex::encode("\0entry 0");
    assert_eq!((&seen["state"], &seen["output"]), (&json!("finalized"), &json!(answer)), "{seen}");
    for number in &others {
        same(&ended(committee.nodes[*number].http, &session), &seen);
    }
    let anchored = committee.chain_says(&session, "finalized");
    for field in ["outputHash", "oracleRoot", "receiptsRoot"] {
        assert_eq!(anchored[field], seen[field], "{field}: {anchored}");
    }
    assert!(seen["retries"].as_u64() >= Some(1), "{seen}");

    let id: SessionId = session.parse().unwrap();
    let key = hex::encode(write_key(&id, 1).as_bytes());
    let written_once = || {
        let page = ledger.page();
        assert_eq!(page.effects, [(key.clone(), "one coin".to_owned())]);
        assert!(page.requests.iter().all(|(_, with)| *with == key), "{page:?}");
        assert_eq!(page.requests[0].0, writer);
        page.requests
    };
    let requests = written_once();
    assert!(requests.iter().any(|(node, _)| others.contains(node)), "{requests:?}");

    committee.restart(writer);
    same(&ended(committee.nodes[writer].http, &session), &seen);
    let (_, outcome) = checked_bundle(committee.nodes[writer].http, &session);
    assert!(matches!(outcome, Outcome::Finished { .. }), "{outcome:?}");
    // It does not write again: by now that could be an old value over a new one.
    assert_eq!(written_once(), requests);
}
