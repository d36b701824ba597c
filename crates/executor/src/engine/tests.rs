//! Tests of the engine: every bad module, every import, every limit, and the two ways to run.

use std::sync::Arc;

use session_core::{Blob, Digest, Epoch, List, Span, Text, Time};
use session_protocol::workload::manifest::{
    Aggregation, Connector, HttpMethod, Limits, Manifest, Source, Transform,
};
use session_protocol::workload::{OracleResult, Workload, blob_id};

use super::{Job, Ran, Runner, Stop, profile};
use crate::facts::{Answer, Facts, State};

mod imports;
mod limits;
mod modules;
mod replay;

const BEGAN: Time = Time::from_millis(1_700_000_000_000);

const LIMITS: Limits = Limits {
    fuel: 10_000_000,
    memory_pages: 4,
    state_bytes: 4096,
    log_bytes: 1024,
    calls: 64,
    egress_bytes: 0,
};

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).expect("short")
}

fn none<T, const MAX: usize>() -> List<T, MAX> {
    List::new(Vec::new()).expect("none is few")
}

fn source(name: &str, method: HttpMethod) -> Source {
    Source {
        name: text(name),
        connector: Connector::Http {
            method,
            url: text("https://example.org/"),
            headers: none(),
            redirects: 0,
        },
        transform: Transform::default(),
        aggregation: match method {
            HttpMethod::Get => Aggregation::Identical,
            _ => Aggregation::Single,
        },
        records_min: 0,
        timeout: Span::from_secs(5),
        bytes_max: 1000,
        fallback: None,
        confirm: None,
    }
}

/// A manifest with one source that reads, `price`, and one that writes, `post`.
fn manifest(limits: Limits) -> Manifest {
    let sources = vec![source("price", HttpMethod::Get), source("post", HttpMethod::Post)];
    Manifest {
        name: text("test"),
        egress: none(),
        sources: List::new(sources).expect("two"),
        limits,
        retries_max: 3,
    }
}

fn facts(module: &[u8], input: &[u8], limits: Limits) -> Facts {
    Facts {
        chain: [1; 32].into(),
        session: [2; 32].into(),
        service: [3; 32].into(),
        epoch: Epoch(4),
        tx: [5; 32].into(),
        randomness: Digest::from([6; 32]),
        created: BEGAN,
        deadline: BEGAN + Span::from_secs(300),
        committee: Digest::from([7; 32]),
        members: Arc::default(),
        workload: Workload {
            version: 1,
            module: blob_id(module),
            profile: profile(),
            manifest: manifest(limits),
        },
        module: module.into(),
        input: input.into(),
    }
}

fn job_of(facts: Facts, answers: Vec<Answer>) -> Job {
    Job {
        facts: Arc::new(facts),
        segment: 0,
        state: Arc::new(State::new()),
        began: BEGAN,
        first_step: 0,
        answers: Arc::new(answers),
    }
}

/// A module with our imports, two pages of memory and these definitions.
fn module(definitions: &str) -> Vec<u8> {
    let mut source = String::from("(module\n");
    for import in super::IMPORTS {
        let parameters = "i32 ".repeat(import.parameters.len());
        let result = match import.result {
            None => "",
            Some(super::NumberType::I32) => "(result i32)",
            Some(super::NumberType::I64) => "(result i64)",
        };
        let name = import.name;
        source += &format!(
            r#"(import "lux_session_v1" "{name}" (func ${name} (param {parameters}) {result}))"#
        );
        source.push('\n');
    }
    source += &format!("(memory (export \"memory\") 2)\n{definitions})");
    wat::parse_str(&source).unwrap_or_else(|error| panic!("{error}"))
}

/// A module whose `run` is this.
fn run_module(body: &str) -> Vec<u8> {
    module(&format!("(func (export \"run\") {body})"))
}

fn job(module: &[u8]) -> Job {
    job_of(facts(module, b"the input", LIMITS), Vec::new())
}

/// Runs a program whose `run` is this, with these answers.
fn run_with(body: &str, answers: Vec<Answer>) -> Ran {
    let module = run_module(body);
    Runner::new(1).run(&job_of(facts(&module, b"the input", LIMITS), answers))
}

fn run(body: &str) -> Ran {
    run_with(body, Vec::new())
}

#[track_caller]
fn fails(body: &str) -> String {
    match run(body).stop {
        Stop::Failed { reason } => reason,
        stop => panic!("{stop:?}"),
    }
}

#[track_caller]
fn output(ran: &Ran) -> &[u8] {
    match &ran.stop {
        Stop::Finished { output } => output,
        stop => panic!("{stop:?}"),
    }
}

fn value(bytes: &[u8], seconds: u64) -> Answer {
    let bytes = Blob::new(bytes).expect("short");
    Answer { result: OracleResult::Value { bytes }, time: BEGAN + Span::from_secs(seconds) }
}
