//! What the committees run: small programs in WebAssembly text, written from scripts.

use std::fmt::Write as _;
use std::sync::Arc;

use session_core::{Blob, Encode, List, Span, Text};
use session_executor::engine::{IMPORTS, NumberType, profile};
use session_protocol::workload::manifest::{
    Aggregation, Confirm, Connector, Egress, FieldRule, HttpMethod, Limits, Manifest, Rule, Source,
    Transform, WORKLOAD_VERSION,
};
use session_protocol::workload::{Workload, blob_id};

/// Where answers are collected; requests and texts are below.
const COLLECTED: usize = 8192;
/// Room for one answer.
const ANSWER_BYTES: usize = 1024;

/// A program as it is uploaded.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) module: Arc<[u8]>,
    pub(crate) workload: Vec<u8>,
}

/// One thing that a program does.
#[derive(Clone, Copy)]
enum Deed {
    Read(&'static str),
    Write(&'static str, &'static str),
    Emit,
    Log,
    Now,
    Random,
    Abort,
    Trap,
    Spin,
    /// Begins anew, so many times in all.
    Checkpoint(u32),
}

use Deed::{Abort, Checkpoint, Emit, Log, Now, Random, Read, Spin, Trap, Write};

const SCRIPTS: [&[Deed]; 8] = [
    &[Log, Emit, Random, Now],
    &[Read("price"), Now, Read("page"), Read("vote")],
    &[Read("list"), Emit, Read("fields"), Read("clean"), Now],
    &[Read("price"), Write("pay", "first"), Write("pay-surely", "second"), Now],
    &[Read("price"), Write("pay", "each time"), Log, Checkpoint(2), Now],
    &[Read("torn"), Read("guess"), Now],
    &[Read("price"), Write("pay", "in vain"), Abort],
    &[Log, Read("page"), Spin, Trap],
];

/// Makes all programs.
pub(crate) fn all() -> Vec<Program> {
    SCRIPTS.iter().map(|script| program(script)).collect()
}

fn program(script: &[Deed]) -> Program {
    let module = wat::parse_str(text_of(script)).expect("the text below is a module");
    let workload = Workload {
        version: WORKLOAD_VERSION,
        module: blob_id(&module),
        profile: profile(),
        manifest: manifest(),
    };
    Program { module: module.into(), workload: workload.to_bytes() }
}

/// Writes a module that does what the script says, and ends with all answers as its output.
fn text_of(script: &[Deed]) -> String {
    let (mut data, mut end) = (String::from("(data (i32.const 0) \"n\")"), 64);
    let mut place = |text: &str| {
        let at = end;
        end += text.len().next_multiple_of(8);
        assert!(end < COLLECTED, "the texts of a script are short");
        write!(data, "(data (i32.const {at}) {text:?})").expect("a text takes all");
        format!("(i32.const {at}) (i32.const {})", text.len())
    };
    let mut body = String::new();
    for deed in script {
        let code = match deed {
            Read(source) => asks("read", &place(&format!("{{\"source\":\"{source}\"}}"))),
            Write(source, what) => {
                let request = format!("{{\"source\":\"{source}\",\"body\":\"{what}\"}}");
                asks("write", &place(&request))
            }
            Emit => format!("(call $emit (i32.const 0) {})", place("delivered")),
            Log => format!("(call $log {})", place("a line for people")),
            Now => "(i64.store (local.get $end) (call $now))
                    (local.set $end (i32.add (local.get $end) (i32.const 8)))"
                .into(),
            Random => "(call $random (local.get $end) (i32.const 16))
                       (local.set $end (i32.add (local.get $end) (i32.const 16)))"
                .into(),
            Abort => format!("(call $abort {})", place("as its author wished")),
            Trap => "(unreachable)".into(),
            Spin => "(loop $round (br $round))".into(),
            Checkpoint(times) => again(*times),
        };
        body += &code;
    }
    let imports: String = IMPORTS
        .iter()
        .map(|import| {
            let parameters = "i32 ".repeat(import.parameters.len());
            let result = match import.result {
                None => "",
                Some(NumberType::I32) => "(result i32)",
                Some(NumberType::I64) => "(result i64)",
            };
            let name = import.name;
            format!("(import \"lux_session_v1\" \"{name}\" (func ${name} (param {parameters}) {result}))\n")
        })
        .collect();
    format!(
        "(module {imports} (memory (export \"memory\") 2) {data}
           (func (export \"run\") (local $end i32) (local $n i32)
             (local.set $end (i32.const {COLLECTED}))
             (local.set $end (i32.add (local.get $end)
               (call $input (local.get $end) (i32.const 1024))))
             {body}
             (call $output (i32.const {COLLECTED})
               (i32.sub (local.get $end) (i32.const {COLLECTED}))))
           (func (export \"trim\") (local $length i32)
             (local.set $length (call $input (i32.const {COLLECTED}) (i32.const 4)))
             (call $output (i32.const {COLLECTED}) (i32.const 4))))"
    )
}

fn asks(import: &str, request: &str) -> String {
    format!(
        "(local.set $end (i32.add (local.get $end)
           (call ${import} {request} (local.get $end) (i32.const {ANSWER_BYTES}))))"
    )
}

/// Keeps how often the program began under "n", at 8, and begins again until it is enough.
fn again(times: u32) -> String {
    format!(
        "(drop (call $state_get (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 4)))
         (local.set $n (i32.load (i32.const 8)))
         (if (i32.lt_u (local.get $n) (i32.const {times})) (then
           (i32.store (i32.const 8) (i32.add (local.get $n) (i32.const 1)))
           (call $state_put (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 4))
           (call $checkpoint (i32.const 0) (i32.const 1))))"
    )
}

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).expect("names here are short")
}

fn manifest() -> Manifest {
    let read = |name, aggregation| source(name, HttpMethod::Get, aggregation);
    let write = |name| source(name, HttpMethod::Post, Aggregation::Single);
    let guessed = Blob::new("nobody knows").expect("it is short");
    let sure = Confirm { source: text("seen"), equals_body: true };
    let whole = |paths: &[&str]| Transform {
        paths: List::new(paths.iter().map(|path| text(path)).collect::<Vec<_>>())
            .expect("one path"),
        ..Transform::default()
    };
    let rules = [("price", Rule::Median), ("name", Rule::Identical), ("mood", Rule::Mode)];
    let rules = rules.map(|(field, rule)| FieldRule { field: text(field), rule });
    let by_fields = Aggregation::ByFields { rules: List::new(rules).expect("three rules") };
    let trim = Transform { guest: Some(text("trim")), ..Transform::default() };
    let sources = [
        read("price", Aggregation::Median { field: Text::default() }),
        read("page", Aggregation::Identical),
        read("vote", Aggregation::Mode),
        read("list", Aggregation::KOfN { k: 3 }),
        Source { transform: whole(&["$"]), ..read("fields", by_fields) },
        Source { transform: trim, ..read("clean", Aggregation::Identical) },
        read("torn", Aggregation::Identical),
        Source { fallback: Some(guessed), ..read("guess", Aggregation::Identical) },
        read("seen", Aggregation::Identical),
        write("pay"),
        Source { confirm: Some(sure), ..write("pay-surely") },
    ];
    let host = Egress { host: text("world.example"), port: 443, plain: false };
    Manifest {
        name: text("simulation"),
        egress: List::new([host]).expect("one host"),
        sources: List::new(sources).expect("a dozen sources"),
        limits: Limits {
            // Enough for every script; whoever spins has it used up soon.
            fuel: 500_000,
            memory_pages: 4,
            state_bytes: 1024,
            log_bytes: 4096,
            calls: 64,
            egress_bytes: 1 << 20,
        },
        retries_max: 2,
    }
}

fn source(name: &str, method: HttpMethod, aggregation: Aggregation) -> Source {
    Source {
        name: text(name),
        connector: Connector::Http {
            method,
            url: text(&format!("https://world.example/{name}")),
            headers: List::new([]).expect("none"),
            redirects: 0,
        },
        transform: Transform::default(),
        aggregation,
        records_min: 0,
        timeout: Span::from_secs(2),
        bytes_max: 512,
        fallback: None,
        confirm: None,
    }
}

#[cfg(test)]
mod tests {
    use session_core::Decode;
    use session_executor::{engine, transform};
    use session_protocol::workload::check;

    use super::*;

    #[test]
    fn every_program_can_be_run() {
        for program in all() {
            let workload = Workload::decode_exact(&program.workload).unwrap();
            check::check(&workload).unwrap();
            transform::check(&workload.manifest).unwrap();
            engine::check(&program.module, &workload.manifest).unwrap();
        }
    }
}
