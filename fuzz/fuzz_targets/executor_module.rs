//! No module makes the engine panic, and whatever a module does, it does it twice: once waiting for
//! each answer, once run again from the start.
//!
//! The input is a module from outside or, behind a first byte that is odd, changes to a true one.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use session_core::{Blob, Digest, Epoch, List, Span, Text, Time};
use session_executor::engine::{
    Job, Program, REASON_BYTES_MAX, Ran, Runner, Stop, decode_state, encode_state, profile,
};
use session_executor::facts::{Answer, Facts, State};
use session_protocol::workload::manifest::{
    Aggregation, Connector, HttpMethod, Limits, Manifest, Source, Transform,
};
use session_protocol::workload::{OUTPUT_BYTES_MAX, OracleResult, Workload, blob_id};

const LIMITS: Limits = Limits {
    fuel: 200_000,
    memory_pages: 4,
    state_bytes: 4096,
    log_bytes: 1024,
    calls: 8,
    egress_bytes: 0,
};

/// Uses every import.
static TRUE_MODULE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    wat::parse_str(
        r#"(module
        (import "lux_session_v1" "read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "lux_session_v1" "write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "lux_session_v1" "state_get" (func $state_get (param i32 i32 i32 i32) (result i32)))
        (import "lux_session_v1" "state_put" (func $state_put (param i32 i32 i32 i32)))
        (import "lux_session_v1" "emit" (func $emit (param i32 i32 i32)))
        (import "lux_session_v1" "log" (func $log (param i32 i32)))
        (import "lux_session_v1" "random" (func $random (param i32 i32)))
        (import "lux_session_v1" "now" (func $now (result i64)))
        (import "lux_session_v1" "abort" (func $abort (param i32 i32)))
        (import "lux_session_v1" "input" (func $input (param i32 i32) (result i32)))
        (import "lux_session_v1" "output" (func $output (param i32 i32)))
        (import "lux_session_v1" "checkpoint" (func $checkpoint (param i32 i32)))
        (memory (export "memory") 1)
        (table 2 funcref) (elem (i32.const 0) $read $write)
        (type $ask (func (param i32 i32 i32 i32) (result i32)))
        (data (i32.const 0) "{\"source\":\"price\"}")
        (data (i32.const 32) "{\"source\":\"post\"}")
        (func (export "run") (local $i i32)
            (drop (call $input (i32.const 900) (i32.const 16)))
            (loop $again
                (drop (call_indirect (type $ask) (i32.const 0) (i32.const 18) (i32.const 64)
                    (i32.const 100) (i32.const 0)))
                (drop (call $write (i32.const 32) (i32.const 17) (i32.const 200) (i32.const 20)))
                (call $random (i32.const 300) (i32.const 40))
                (call $log (i32.const 64) (i32.const 20))
                (call $emit (i32.const 300) (i32.const 64) (i32.const 9))
                (i64.store (i32.const 400) (call $now))
                (f64.store (i32.const 408) (f64.sqrt (f64.load (i32.const 300))))
                (call $state_put (i32.const 300) (i32.const 2) (i32.const 400) (i32.const 8))
                (br_if $again (i32.lt_u
                    (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2))))
            (if (i32.eq (i32.const -1) (call $state_get (i32.const 0) (i32.const 0) (i32.const 0)
                    (i32.const 0)))
                (then (call $checkpoint (i32.const 300) (i32.const 30))))
            (if (i32.eqz (local.get $i)) (then (call $abort (i32.const 0) (i32.const 5))))
            (call $output (i32.const 300) (i32.const 200))))"#,
    )
    .expect("it is text")
});

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).expect("short")
}

fn source(name: &str, method: HttpMethod, aggregation: Aggregation) -> Source {
    Source {
        name: text(name),
        connector: Connector::Http {
            method,
            url: text("https://example.org/"),
            headers: List::new(Vec::new()).expect("none"),
            redirects: 0,
        },
        transform: Transform::default(),
        aggregation,
        records_min: 0,
        timeout: Span::from_secs(5),
        bytes_max: 1000,
        fallback: None,
        confirm: None,
    }
}

fn job(module: &[u8]) -> Job {
    let sources = vec![
        source("price", HttpMethod::Get, Aggregation::Identical),
        source("post", HttpMethod::Post, Aggregation::Single),
    ];
    let manifest = Manifest {
        name: text("fuzz"),
        egress: List::new(Vec::new()).expect("none"),
        sources: List::new(sources).expect("two"),
        limits: LIMITS,
        retries_max: 0,
    };
    let module_id = blob_id(module);
    let facts = Facts {
        chain: [1; 32].into(),
        session: [2; 32].into(),
        service: [3; 32].into(),
        epoch: Epoch(4),
        tx: [5; 32].into(),
        randomness: Digest::from([6; 32]),
        created: Time::ZERO,
        deadline: Time::MAX,
        committee: Digest::default(),
        members: Arc::default(),
        workload: Workload { version: 1, module: module_id, profile: profile(), manifest },
        module: module.into(),
        input: b"the input".as_slice().into(),
    };
    Job {
        facts: Arc::new(facts),
        segment: 0,
        state: Arc::new(State::new()),
        began: Time::ZERO,
        first_step: 0,
        answers: Arc::default(),
    }
}

fn within_limits(ran: &Ran) {
    assert!(ran.fuel <= LIMITS.fuel);
    assert!(ran.logs.iter().map(String::len).sum::<usize>() <= LIMITS.log_bytes as usize + 64);
    match &ran.stop {
        Stop::Finished { output } => assert!(output.len() <= OUTPUT_BYTES_MAX),
        Stop::Failed { reason } => assert!(reason.len() <= REASON_BYTES_MAX),
        Stop::Checkpoint { state } => {
            let bytes = encode_state(state);
            assert_eq!(decode_state(&bytes).as_ref(), Ok(&**state));
        }
        Stop::Asks { .. } => {}
    }
}

fn run(module: &[u8]) {
    let mut job = job(module);
    let mut waiting = Runner::new(1);
    for step in 0..24_u8 {
        let ran = waiting.run(&job);
        within_limits(&ran);
        assert_eq!(Runner::new(0).run(&job), ran, "run again, it is another");
        match ran.stop {
            Stop::Asks { .. } => {
                let result = match step % 3 {
                    0 => OracleResult::NoConsensus,
                    _ => OracleResult::Value { bytes: Blob::new(vec![step; 30]).expect("short") },
                };
                let time = Time::from_millis(step.into());
                Arc::make_mut(&mut job.answers).push(Answer { result, time });
            }
            Stop::Checkpoint { state } => {
                job.segment += 1;
                job.first_step = u32::from(step) + 1;
                job.state = state;
                job.answers = Arc::default();
            }
            Stop::Finished { .. } | Stop::Failed { .. } => return,
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    if choice & 1 == 0 {
        if Program::compile(bytes, &LIMITS).is_ok() {
            run(bytes);
        }
        return;
    }
    let mut module = TRUE_MODULE.clone();
    for [high, low, value] in bytes.as_chunks::<3>().0 {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % module.len();
        module[place] = *value;
    }
    run(&module);
});
