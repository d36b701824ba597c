//! Checks of a node before others make them: what keeps a node from serving, found by its own
//! operator.
//!
//! Every check says what it looked at, how that is, and what to do. It runs beside the node or
//! without it; what only the running node can hold (its ports) is then asked of it.
//!
//! | module | holds |
//! |---|---|
//! | [`local`] | this machine: ports, disk |
//! | [`outside`] | what others see: chain, clock, keys, reachability |

use serde_json::{Value, json};
use session_runtime::failure::{Failure, Result};
use session_runtime::program::say;

use crate::args::orders::Checkup;
use crate::commands;

mod local;
mod outside;

/// How a check turned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// As it should be.
    Good,
    /// Not looked at, because something else is missing.
    Skipped,
    /// It works, and may not for long.
    Warning,
    /// Others will find the node failing.
    Bad,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
            Self::Bad => "bad",
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// What was looked at: a stable name.
    pub(crate) check: &'static str,
    pub(crate) verdict: Verdict,
    /// How it is.
    pub(crate) text: String,
    /// What to do about it.
    pub(crate) advice: Option<&'static str>,
}

impl Found {
    pub(crate) fn good(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, text: text.into(), advice: None }
    }

    pub(crate) fn skipped(check: &'static str, text: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Skipped, text: text.into(), advice: None }
    }

    pub(crate) fn warning(
        check: &'static str,
        text: impl Into<String>,
        advice: &'static str,
    ) -> Self {
        Self { check, verdict: Verdict::Warning, text: text.into(), advice: Some(advice) }
    }

    pub(crate) fn bad(check: &'static str, text: impl Into<String>, advice: &'static str) -> Self {
        Self { check, verdict: Verdict::Bad, text: text.into(), advice: Some(advice) }
    }

    fn to_json(&self) -> Value {
        json!({
            "check": self.check,
            "verdict": self.verdict.name(),
            "text": self.text,
            "advice": self.advice,
        })
    }
}

/// Makes every check and prints what was found.
///
/// # Errors
/// When something is bad, after it was printed.
pub(crate) async fn run(checkup: &Checkup) -> Result<()> {
    let keys = commands::existing(&checkup.identity)?;
    let node = keys.public().node_id();
    let health = match checkup.http {
        Some(http) => commands::status::health(http).await,
        None => None,
    };
    let running = health.filter(|health| health["node"] == node.to_string());
    let mut found = vec![local::version(running.as_ref())];
    found.push(local::udp_port(checkup, running.as_ref()));
    found.push(local::http_port(checkup, running.as_ref()));
    let outside = outside::Outside::look(checkup, &node).await;
    let floor = outside.params().map_or(local::FREE_BYTES_MIN, |p| p.duties.free_bytes_min);
    found.push(local::room(&checkup.data_dir, floor));
    found.push(local::write_latency(&checkup.data_dir));
    found.extend(outside.chain());
    found.push(outside.clock());
    found.push(outside.keys(&keys, checkup));
    found.push(outside.reachable(keys, checkup, running.is_some()).await);
    print(checkup.json, &node.to_string(), running.is_some(), &found)?;
    match found.iter().filter(|found| found.verdict == Verdict::Bad).count() {
        0 => Ok(()),
        bad => Err(Failure::runtime(format!("{bad} of {} checks are bad", found.len()))),
    }
}

fn print(json: bool, node: &str, running: bool, found: &[Found]) -> Result<()> {
    if json {
        let checks: Vec<Value> = found.iter().map(Found::to_json).collect();
        let version = env!("CARGO_PKG_VERSION");
        let all = json!({ "node": node, "running": running, "version": version, "checks": checks });
        return say(&all.to_string());
    }
    say(&format!("node {node}, {}", if running { "running" } else { "not running here" }))?;
    for Found { check, verdict, text, advice } in found {
        say(&format!("{:<8} {check:<12} {text}", verdict.name()))?;
        if let Some(advice) = advice {
            say(&format!("{:<21} {advice}", ""))?;
        }
    }
    Ok(())
}
