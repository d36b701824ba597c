//! A bundle as a JSON text: what people read, and the canonical bytes in hex.
//!
//! The text follows from the bytes alone. Reading one takes the bytes and writes the text again:
//! a text that differs anywhere is refused, so nobody is shown what the bytes do not say.

use std::collections::BTreeMap;

use session_core::{Decode as _, Encode as _, sha256};
use session_protocol::workload::oracle::{Observation, OracleResult};

use super::{Bundle, Outcome, ShownStep};
use crate::transform::json::Json;

/// What the text says that it is.
const FORMAT: &str = "lux-session-bundle";
/// Bytes of a value that are shown.
const SHOWN_BYTES: usize = 200;
/// What stands right before the bytes.
const BYTES_KEY: &str = "\n  \"bytes\": \"";
/// What stands right behind them.
const END: &str = "\"\n}\n";

/// Why a text is not a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadText {
    /// It has no bytes at its end.
    #[error("it is no bundle: it does not end with the field \"bytes\"")]
    NoBytes,
    /// The bytes are not hex.
    #[error("the field \"bytes\" is not hex")]
    Hex,
    /// The bytes are no bundle.
    #[error("the field \"bytes\" is no bundle: {0}")]
    Decode(#[from] session_core::DecodeError),
    /// The text says something else than the bytes.
    #[error("line {line} says something else than the bytes: it must be {expected:?}")]
    Altered {
        /// The first line that differs.
        line: usize,
        /// What the bytes say.
        expected: String,
    },
}

/// Returns the text of a bundle.
#[must_use]
pub fn to_json(bundle: &Bundle) -> String {
    let mut out = String::from("{\n");
    for (name, value) in shown(bundle) {
        out.push_str(&format!("  \"{name}\": "));
        write(&value, 1, &mut out);
        out.push_str(",\n");
    }
    out.pop();
    out.push_str(BYTES_KEY);
    out.push_str(&hex::encode(bundle.to_bytes()));
    out.push_str(END);
    out
}

/// Reads the text of a bundle. It must still be verified.
///
/// # Errors
/// When it is none, or says anywhere something else than its bytes.
pub fn from_json(text: &str) -> Result<Bundle, BadText> {
    let place = text.rfind(BYTES_KEY).ok_or(BadText::NoBytes)?;
    let digits = text[place + BYTES_KEY.len()..].strip_suffix(END).ok_or(BadText::NoBytes)?;
    let bytes = hex::decode(digits).map_err(|_| BadText::Hex)?;
    let bundle = Bundle::decode_exact(&bytes)?;
    let expected = to_json(&bundle);
    if expected == text {
        return Ok(bundle);
    }
    let mut lines = expected.lines().zip(text.lines().map(Some).chain(std::iter::repeat(None)));
    let differs = lines.position(|(expected, got)| got != Some(expected));
    let line = differs.unwrap_or_else(|| expected.lines().count());
    let right: String = expected.lines().nth(line).unwrap_or("").chars().take(120).collect();
    Err(BadText::Altered { line: line + 1, expected: right })
}

/// Returns what people are shown, in order.
fn shown(bundle: &Bundle) -> Vec<(&'static str, Json)> {
    let members = bundle.members.iter().map(|member| {
        let key = sha256(member.key.as_ref());
        object([("node", text(&member.node)), ("keySha256", text(&hex::encode(key)))])
    });
    vec![
        ("format", text(&FORMAT)),
        ("version", number(bundle.version)),
        ("chain", text(&bundle.chain)),
        ("session", text(&bundle.session)),
        ("service", text(&bundle.service)),
        ("epoch", number(bundle.epoch.0)),
        ("transaction", text(&bundle.tx)),
        ("randomness", text(&bundle.randomness)),
        ("createdMs", number(bundle.created.as_millis())),
        ("deadlineMs", number(bundle.deadline.as_millis())),
        ("committee", Json::List(members.collect())),
        ("name", text(&bundle.workload.manifest.name)),
        ("program", text(&bundle.program())),
        ("module", text(&bundle.workload.module)),
        ("engine", text(&bundle.workload.profile)),
        ("input", value(&bundle.input)),
        ("steps", Json::List(bundle.steps.iter().map(shown_step).collect())),
        ("receipts", Json::List(bundle.receipts.iter().map(receipt).collect())),
        ("outcome", outcome(&bundle.outcome)),
        ("attested", text(&bundle.certificate.statement.root)),
        ("attestedBy", number(bundle.certificate.signatures.len() as u64)),
        ("anchorBytes", number(bundle.anchor.len() as u64)),
    ]
}

fn shown_step(step: &ShownStep) -> Json {
    let leaf = &step.leaf;
    let mut fields = vec![
        ("index", number(leaf.index)),
        ("kind", text(&format!("{:?}", leaf.kind))),
        ("inputHash", text(&leaf.input_hash)),
        ("outputHash", text(&leaf.output_hash)),
    ];
    if let Some(decision) = &step.decision {
        let commit = &decision.commit;
        let records = commit.records.iter().map(|record| {
            let seen = match &record.observation {
                Observation::Value { bytes } => ("value", value(bytes)),
                Observation::Failed { fault } => ("failed", text(fault)),
            };
            let time = number(record.time.as_millis());
            object([("node", text(&record.submitter)), ("timeMs", time), seen])
        });
        fields.extend([
            ("retry", number(decision.retry)),
            ("commitRoot", text(&leaf.commit_root)),
            ("records", Json::List(records.collect())),
            ("result", result(&commit.result)),
            ("timeMs", number(commit.time.as_millis())),
            ("attestedBy", number(decision.certificate.signatures.len() as u64)),
        ]);
    }
    object(fields)
}

fn receipt(receipt: &session_protocol::workload::Receipt) -> Json {
    object([
        ("id", text(&receipt.id())),
        ("step", number(receipt.step)),
        ("messageHash", text(&receipt.message_hash)),
        ("sender", text(&hex::encode(receipt.sender))),
        ("receiver", text(&hex::encode(receipt.receiver))),
        ("timeMs", number(receipt.time.as_millis())),
    ])
}

fn result(result: &OracleResult) -> Json {
    match result {
        OracleResult::Value { bytes } => object([("value", value(bytes))]),
        OracleResult::Failed { fault } => object([("failed", text(fault))]),
        OracleResult::NoConsensus => object([("failed", text(&"no consensus"))]),
    }
}

fn outcome(outcome: &Outcome) -> Json {
    match outcome {
        Outcome::Finished { output, oracle_root, receipts_root } => object([
            ("output", value(output)),
            ("outputHash", text(&hex::encode(sha256(output)))),
            ("oracleRoot", text(oracle_root)),
            ("receiptsRoot", text(receipts_root)),
        ]),
        Outcome::Failed { reason } => object([("failed", text(reason))]),
    }
}

/// Shows bytes: a text as it is, others in hex, long ones cut.
fn value(bytes: &[u8]) -> Json {
    let cut = |shown: &str, shown_bytes: usize| {
        let more = bytes.len() - shown_bytes;
        if more == 0 { shown.to_owned() } else { format!("{shown}… and {more} bytes more") }
    };
    match core::str::from_utf8(bytes) {
        Ok(all) => {
            let shown = &all[..all.floor_char_boundary(SHOWN_BYTES)];
            object([("text", text(&cut(shown, shown.len())))])
        }
        Err(_) => {
            let shown = &bytes[..bytes.len().min(SHOWN_BYTES)];
            object([("hex", text(&cut(&hex::encode(shown), shown.len())))])
        }
    }
}

fn text(value: &impl ToString) -> Json {
    Json::Text(value.to_string())
}

fn number(value: impl Into<u64>) -> Json {
    Json::Number(value.into().to_string())
}

fn object(fields: impl IntoIterator<Item = (&'static str, Json)>) -> Json {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    Json::Object(fields.collect::<BTreeMap<_, _>>())
}

/// Writes a value over several lines; what is simple stays on one.
fn write(json: &Json, depth: usize, out: &mut String) {
    let simple = |json: &Json| !matches!(json, Json::List(_) | Json::Object(_));
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.push_str(&"  ".repeat(depth));
    };
    match json {
        Json::List(values) if !values.is_empty() => {
            for (index, value) in values.iter().enumerate() {
                out.push(if index == 0 { '[' } else { ',' });
                line(out, depth + 1);
                write(value, depth + 1, out);
            }
            line(out, depth);
            out.push(']');
        }
        Json::Object(fields) if !fields.values().all(simple) => {
            for (index, (name, value)) in fields.iter().enumerate() {
                out.push(if index == 0 { '{' } else { ',' });
                line(out, depth + 1);
                out.push_str(&Json::Text(name.clone()).to_text());
                out.push_str(": ");
                write(value, depth + 1, out);
            }
            line(out, depth);
            out.push('}');
        }
        other => out.push_str(&other.to_text()),
    }
}
