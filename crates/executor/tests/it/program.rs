//! Programs for the tests.

use session_core::{Encode, List, Span, Text};
use session_executor::engine::{IMPORTS, NumberType, profile};
use session_protocol::workload::manifest::{
    Aggregation, Connector, Egress, HttpMethod, Limits, Manifest, Source, Transform,
    WORKLOAD_VERSION,
};
use session_protocol::workload::{Workload, blob_id};

/// A program, as it is uploaded.
#[derive(Clone)]
pub(crate) struct Program {
    pub(crate) module: Vec<u8>,
    pub(crate) workload: Vec<u8>,
}

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).unwrap()
}

fn source(name: &str, method: HttpMethod) -> Source {
    Source {
        name: text(name),
        connector: Connector::Http {
            method,
            url: text("https://example.org/"),
            headers: List::new([]).unwrap(),
            redirects: 0,
        },
        transform: Transform::default(),
        aggregation: match method {
            HttpMethod::Get => Aggregation::Identical,
            _ => Aggregation::Single,
        },
        records_min: 0,
        timeout: Span::from_secs(2),
        bytes_max: 1000,
        fallback: None,
        confirm: None,
    }
}

/// A program whose `run` is this, with 64 KiB of memory in which `(data ..)` may stand.
pub(crate) fn program(definitions: &str, body: &str) -> Program {
    let mut source_text = String::from("(module\n");
    for import in IMPORTS {
        let parameters = "i32 ".repeat(import.parameters.len());
        let result = match import.result {
            None => "",
            Some(NumberType::I32) => "(result i32)",
            Some(NumberType::I64) => "(result i64)",
        };
        let name = import.name;
        source_text += &format!(
            "(import \"lux_session_v1\" \"{name}\" (func ${name} (param {parameters}) {result}))\n"
        );
    }
    source_text +=
        &format!("(memory (export \"memory\") 2)\n{definitions}\n(func (export \"run\") {body}))");
    let module = wat::parse_str(&source_text).unwrap_or_else(|error| panic!("{error}"));
    let sources = [source("price", HttpMethod::Get), source("post", HttpMethod::Post)];
    let workload = Workload {
        version: WORKLOAD_VERSION,
        module: blob_id(&module),
        profile: profile(),
        manifest: Manifest {
            name: text("test"),
            egress: List::new([Egress { host: text("example.org"), port: 443, plain: false }])
                .unwrap(),
            sources: List::new(sources).unwrap(),
            limits: Limits {
                fuel: 10_000_000,
                memory_pages: 4,
                state_bytes: 4096,
                log_bytes: 4096,
                calls: 1024,
                egress_bytes: 1 << 20,
            },
            retries_max: 2,
        },
    };
    Program { module, workload: workload.to_bytes() }
}

/// Logs a line, emits a message, and ends with its input as its output.
pub(crate) fn echo() -> Program {
    program(
        r#"(data (i32.const 0) "hello")"#,
        "(local $length i32)
         (call $log (i32.const 0) (i32.const 5))
         (call $emit (i32.const 0) (i32.const 0) (i32.const 5))
         (local.set $length (call $input (i32.const 1024) (i32.const 1024)))
         (call $output (i32.const 1024) (local.get $length))",
    )
}

/// Asks for the price so many times, and ends with the last answer.
pub(crate) fn reads(times: u32) -> Program {
    let request = r#"{"source":"price"}"#;
    program(
        &format!("(data (i32.const 0) {request:?})"),
        &format!(
            "(local $left i32) (local $length i32)
             (local.set $left (i32.const {times}))
             (loop $again
               (local.set $length
                 (call $read (i32.const 0) (i32.const {}) (i32.const 1024) (i32.const 4096)))
               (local.set $left (i32.sub (local.get $left) (i32.const 1)))
               (br_if $again (local.get $left)))
             (call $output (i32.const 1024) (local.get $length))",
            request.len()
        ),
    )
}

/// Writes once, and ends with the answer.
pub(crate) fn writes() -> Program {
    let request = r#"{"source":"post","body":"pay 5"}"#;
    program(
        &format!("(data (i32.const 0) {request:?})"),
        &format!(
            "(local $length i32)
             (local.set $length
               (call $write (i32.const 0) (i32.const {}) (i32.const 1024) (i32.const 4096)))
             (call $output (i32.const 1024) (local.get $length))",
            request.len()
        ),
    )
}

/// Reads, keeps how often it went on as new under "n", and goes on so many times.
pub(crate) fn checkpoints(times: u32) -> Program {
    let request = r#"{"source":"price"}"#;
    program(
        &format!("(data (i32.const 0) {request:?}) (data (i32.const 100) \"n\")"),
        &format!(
            "(local $n i32)
             (drop (call $state_get
               (i32.const 100) (i32.const 1) (i32.const 200) (i32.const 4)))
             (local.set $n (i32.load (i32.const 200)))
             (drop (call $read (i32.const 0) (i32.const {}) (i32.const 1024) (i32.const 4096)))
             (if (i32.eq (local.get $n) (i32.const {times})) (then
               (call $output (i32.const 200) (i32.const 4))
               (return)))
             (i32.store (i32.const 200) (i32.add (local.get $n) (i32.const 1)))
             (call $state_put (i32.const 100) (i32.const 1) (i32.const 200) (i32.const 4))
             (call $checkpoint (i32.const 0) (i32.const 1))",
            request.len()
        ),
    )
}
