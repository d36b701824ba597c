//! Checks one's own node with `sessiond doctor`, and shows what it found.

use std::ffi::OsString;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::exit::{Doing, Failure, Result};
use crate::out::{Out, harmless};
use crate::process;

pub(super) async fn run(out: Out, sessiond: Option<&Path>, flags: &[OsString]) -> Result<()> {
    let program = process::find("sessiond", sessiond)?;
    let output = Command::new(&program)
        .args(["doctor", "--json"])
        .args(flags)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .await
        .doing(|| format!("cannot start {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let checks = checks(&text);
    if checks.is_empty() {
        return Err(Failure::failed(format!(
            "{} doctor said nothing that is understood ({})",
            program.display(),
            output.status
        )));
    }
    let mut failed = 0;
    for check in &checks {
        failed += usize::from(check.is_bad());
        out.result(|| harmless(&check.line()), || check.object.clone());
    }
    match failed {
        0 if output.status.success() => Ok(()),
        0 => Err(Failure::failed(format!("sessiond doctor ended with {}", output.status))),
        failed => Err(Failure::failed(format!("{failed} of {} checks failed", checks.len()))),
    }
}

/// One thing that was looked at.
struct Check {
    name: String,
    verdict: String,
    text: String,
    advice: Option<String>,
    object: Value,
}

impl Check {
    fn read(object: &Value) -> Option<Self> {
        let text = |field| object.get(field).and_then(Value::as_str).map(str::to_owned);
        Some(Self {
            name: text("check")?,
            verdict: text("verdict")?,
            text: text("text").unwrap_or_default(),
            advice: text("advice"),
            object: object.clone(),
        })
    }

    fn is_bad(&self) -> bool {
        self.verdict == "bad"
    }

    fn line(&self) -> String {
        let word = match self.verdict.as_str() {
            "good" => "ok  ",
            "warning" => "WARN",
            "bad" => "FAIL",
            "skipped" => "-   ",
            other => other,
        };
        let mut line = format!("{word}  {:<14}  {}", self.name, self.text);
        if let Some(advice) = &self.advice {
            line.push_str(&format!("\n{:22}{advice}", ""));
        }
        line
    }
}

/// Reads what the program found.
fn checks(text: &str) -> Vec<Check> {
    let whole: Value = serde_json::from_str(text.trim()).unwrap_or_default();
    let list = whole.get("checks").and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Check::read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_program_found_is_shown_with_its_advice() {
        let good = r#"{"check":"clock","verdict":"good","text":"3 ms off","advice":null}"#;
        let bad = r#"{"check":"disk","verdict":"bad","text":"full","advice":"make room"}"#;
        let read = checks(&format!(r#"{{"node":"5e","checks":[{good},{bad}]}}"#));
        let lines: Vec<String> = read.iter().map(Check::line).collect();
        assert_eq!(lines[0], "ok    clock           3 ms off");
        assert!(lines[1].starts_with("FAIL  disk            full\n") && lines[1].ends_with("room"));
        assert!(!read[0].is_bad() && read[1].is_bad());
        assert!(checks("nothing").is_empty());
    }
}
