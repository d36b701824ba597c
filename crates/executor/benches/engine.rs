//! What the engine costs: `cargo bench -p session-executor --bench engine`.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use session_core::{Blob, Digest, Epoch, List, Span, Text, Time};
use session_executor::engine::{Job, Program, Runner, Stop, profile};
use session_executor::facts::{Answer, Facts, State};
use session_protocol::workload::manifest::{
    Aggregation, Connector, HttpMethod, Limits, Manifest, Source, Transform,
};
use session_protocol::workload::{OracleResult, Workload, blob_id};

const LIMITS: Limits = Limits {
    fuel: 1_000_000_000,
    memory_pages: 16,
    state_bytes: 65_536,
    log_bytes: 65_536,
    calls: 100_000,
    egress_bytes: 0,
};
/// Answers of a long session.
const STEPS: u32 = 1000;
/// Calls of ours in one run.
const CALLS: u32 = 100_000;

/// Asks until as many answers came as the four bytes of the input say, and keeps each of them.
const ASKING: &str = r#"(module
    (import "lux_session_v1" "read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "lux_session_v1" "input" (func $input (param i32 i32) (result i32)))
    (import "lux_session_v1" "state_put" (func $state_put (param i32 i32 i32 i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "{\"source\":\"price\"}")
    (func (export "run")
        (local $i i32)
        (drop (call $input (i32.const 0) (i32.const 4)))
        (block $done
            (loop $again
                (br_if $done (i32.ge_u (local.get $i) (i32.load (i32.const 0))))
                (drop (call $read (i32.const 16) (i32.const 18) (i32.const 64) (i32.const 64)))
                (i32.store (i32.const 8) (i32.and (local.get $i) (i32.const 15)))
                (call $state_put (i32.const 8) (i32.const 4) (i32.const 64) (i32.const 32))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $again)))))"#;

/// Asks for the time as often as the four bytes of the input say.
const CALLING: &str = r#"(module
    (import "lux_session_v1" "now" (func $now (result i64)))
    (import "lux_session_v1" "input" (func $input (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "run")
        (local $i i32)
        (drop (call $input (i32.const 0) (i32.const 4)))
        (local.set $i (i32.load (i32.const 0)))
        (loop $again
            (drop (call $now))
            (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))))"#;

/// Counts down from what the four bytes of the input say.
const COUNTING: &str = r#"(module
    (import "lux_session_v1" "input" (func $input (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "run")
        (local $i i32)
        (drop (call $input (i32.const 0) (i32.const 4)))
        (local.set $i (i32.load (i32.const 0)))
        (loop $again
            (i32.store (i32.const 8)
                (i32.add (i32.mul (i32.load (i32.const 8)) (i32.const 31)) (local.get $i)))
            (br_if $again (local.tee $i (i32.sub (local.get $i) (i32.const 1)))))))"#;

/// Does nothing.
const IDLE: &str = r#"(module (memory (export "memory") 1) (func (export "run")))"#;

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).expect("short")
}

fn job(module: &str, input: u32, answers: u32) -> Job {
    let module = wat::parse_str(module).expect("it is text");
    let price = Source {
        name: text("price"),
        connector: Connector::Http {
            method: HttpMethod::Get,
            url: text("https://example.org/"),
            headers: List::new(Vec::new()).expect("none"),
            redirects: 0,
        },
        transform: Transform::default(),
        aggregation: Aggregation::Identical,
        records_min: 0,
        timeout: Span::from_secs(5),
        bytes_max: 1000,
        fallback: None,
        confirm: None,
    };
    let manifest = Manifest {
        name: text("bench"),
        egress: List::new(Vec::new()).expect("none"),
        sources: List::new(vec![price]).expect("one"),
        limits: LIMITS,
        retries_max: 3,
    };
    let facts = Facts {
        chain: [1; 32].into(),
        session: [2; 32].into(),
        service: [3; 32].into(),
        epoch: Epoch(4),
        tx: [5; 32].into(),
        randomness: Digest::from([6; 32]),
        created: Time::from_millis(1),
        deadline: Time::MAX,
        committee: Digest::from([7; 32]),
        members: Arc::default(),
        workload: Workload { version: 1, module: blob_id(&module), profile: profile(), manifest },
        module: module.into(),
        input: input.to_le_bytes().as_slice().into(),
    };
    let answer = |n: u32| {
        let bytes = Blob::new(n.to_be_bytes().repeat(8)).expect("short");
        let time = Time::from_millis(u64::from(n) + 2);
        Answer { result: OracleResult::Value { bytes }, time }
    };
    Job {
        facts: Arc::new(facts),
        segment: 0,
        state: Arc::new(State::new()),
        began: Time::from_millis(1),
        first_step: 0,
        answers: Arc::new((0..answers).map(answer).collect()),
    }
}

/// A runner that has compiled the module of a job.
fn warm(job: &Job, live_max: usize) -> Runner {
    let mut runner = Runner::new(live_max);
    black_box(runner.run(job));
    runner
}

fn engine(c: &mut Criterion) {
    let asking = job(ASKING, STEPS, 0);
    let module = &asking.facts.module;
    c.bench_function("compile 300 bytes", |b| {
        b.iter(|| Program::compile(black_box(module), &LIMITS).is_ok());
    });

    let idle = job(IDLE, 0, 0);
    let mut runner = warm(&idle, 0);
    c.bench_function("instantiate, run nothing, report", |b| {
        b.iter(|| runner.run(black_box(&idle)));
    });

    let mut runner = warm(&asking, 1);
    let one = job(ASKING, STEPS, 1);
    c.bench_function("go on with one answer", |b| {
        b.iter_batched_ref(
            || {
                runner.forget(&asking.facts.session);
                runner.run(&asking);
                std::mem::replace(&mut runner, Runner::new(1))
            },
            |runner| runner.run(black_box(&one)),
            BatchSize::PerIteration,
        );
    });

    let replayed = job(ASKING, STEPS, STEPS);
    let mut runner = warm(&replayed, 0);
    c.bench_function("replay 1,000 answers", |b| {
        b.iter(|| {
            let ran = runner.run(black_box(&replayed));
            assert!(matches!(ran.stop, Stop::Finished { .. }));
        });
    });

    let mut group = c.benchmark_group("each");
    group.throughput(Throughput::Elements(CALLS.into()));
    let calling = job(CALLING, CALLS, 0);
    let mut runner = warm(&calling, 0);
    group.bench_function("host call", |b| b.iter(|| runner.run(black_box(&calling))));
    let counting = job(COUNTING, CALLS, 0);
    let mut runner = warm(&counting, 0);
    group.bench_function("turn of a loop of 8 instructions", |b| {
        b.iter(|| runner.run(black_box(&counting)));
    });
    group.finish();
}

criterion_group!(benches, engine);
criterion_main!(benches);
