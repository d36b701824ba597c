//! A session that runs, watched until it ends.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use session_core::SessionId;
use tokio::time::Instant;

use super::node::Node;
use crate::chain::rpc::Answer;
use crate::exit::{Code, Failure, Result};
use crate::out::{Out, harmless};

/// How soon the node is asked again first: most sessions are over at once.
pub(super) const POLL_FIRST: Duration = Duration::from_millis(20);

/// How often the node is asked at least.
const POLL_MAX: Duration = Duration::from_millis(250);

/// How long a session may take to be known to its committee.
const CREATION: Duration = Duration::from_secs(30);

/// How long after its deadline a session may take to be told as failed.
const GRACE: Duration = Duration::from_secs(30);

/// How often in a row a node may fail to answer.
const SILENCE_MAX: u32 = 40;

/// The longest step name in the list of steps.
const KIND_WIDTH: usize = 14;

/// A session as it was last seen.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) answer: Answer,
    pub(super) state: String,
    pub(super) steps: Vec<StepSeen>,
}

/// A step as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StepSeen {
    pub(super) index: u64,
    pub(super) kind: String,
    pub(super) retry: u64,
    pub(super) state: String,
}

impl Seen {
    pub(super) fn read(answer: Answer) -> Result<Self> {
        let step = |step: &Answer| {
            Ok(StepSeen {
                index: step.number("stepIndex")?,
                kind: step.text("kind")?.to_owned(),
                retry: step.number("retryIndex")?,
                state: step.text("state")?.to_owned(),
            })
        };
        let steps = answer.list("steps")?.iter().map(step).collect::<Result<_>>()?;
        Ok(Self { state: answer.text("state")?.to_owned(), steps, answer })
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(&*self.state, "finalized" | "failed")
    }

    /// Returns the output of a session that ended well.
    pub(super) fn output(&self) -> Result<Vec<u8>> {
        match &*self.state {
            "finalized" => self.answer.bytes("output"),
            "failed" => {
                let why = self.answer.maybe_text("error")?.unwrap_or("nobody said why").to_owned();
                Err(Failure::refused(format!("the session failed: {}", harmless(&why))))
            }
            state => Err(Failure::refused(format!("the session is {state}: it has no result yet"))),
        }
    }

    /// Rounds in which the world was asked, and attempts beyond the first ones.
    pub(super) fn rounds(&self) -> (usize, u64) {
        let asked: Vec<_> = self.steps.iter().filter(|step| step.kind != "compute").collect();
        (asked.len(), asked.iter().map(|step| step.retry).sum())
    }

    /// Says in a line how far it is.
    fn line(&self) -> String {
        let (rounds, retries) = self.rounds();
        let plural = |number: usize| if number == 1 { "" } else { "s" };
        format!(
            "{}: {} step{}, {rounds} oracle round{}, {retries} retr{}",
            self.state,
            self.steps.len(),
            plural(self.steps.len()),
            plural(rounds),
            if retries == 1 { "y" } else { "ies" },
        )
    }

    /// The session for programs.
    pub(super) fn to_json(&self) -> Value {
        self.answer.json()
    }

    pub(super) fn step_lines(&self) -> Vec<String> {
        self.steps.iter().map(StepSeen::line).collect()
    }
}

impl StepSeen {
    fn line(&self) -> String {
        let Self { index, kind, retry, state } = self;
        let tried = match retry {
            0 => String::new(),
            retry => format!(", attempt {}", retry + 1),
        };
        format!("{index:>4}  {kind:KIND_WIDTH$}  {state}{tried}")
    }
}

/// How a session is watched.
pub(super) struct Watch<'a> {
    pub(super) node: &'a Node,
    pub(super) session: SessionId,
    /// How long it may run.
    pub(super) time_max: Duration,
    /// Whether steps and logs are shown as they come.
    pub(super) verbose: bool,
    pub(super) out: Out,
}

impl Watch<'_> {
    /// Watches until the session ends; returns how it ended.
    pub(super) async fn until_over(&self) -> Result<Seen> {
        let bar = bar(!self.out.is_json());
        let ended = self.watch(&bar).await;
        bar.finish_and_clear();
        ended
    }

    async fn watch(&self, bar: &ProgressBar) -> Result<Seen> {
        let began = Instant::now();
        let (mut told, mut log, mut silent) = (0, 0, 0);
        let mut pause = POLL_FIRST;
        loop {
            match self.node.session(&self.session).await {
                Ok(answer) => {
                    silent = 0;
                    let seen = Seen::read(answer)?;
                    bar.set_message(format!(
                        "{}  {:.1} s",
                        seen.line(),
                        began.elapsed().as_secs_f64()
                    ));
                    if self.verbose {
                        told = self.tell_steps(bar, &seen, told);
                        log = self.tell_log(bar, log).await?;
                    }
                    if seen.is_over() {
                        return Ok(seen);
                    }
                }
                // Its committee may be about to hear of it.
                Err(unknown) if unknown.code == Code::NotFound && began.elapsed() < CREATION => {}
                Err(away) if away.code == Code::Network && silent < SILENCE_MAX => silent += 1,
                Err(failure) => return Err(failure),
            }
            if began.elapsed() > self.time_max + GRACE {
                return Err(Failure::failed(format!(
                    "session {} is not over although its time is; 'session workload status' tells more",
                    self.session
                )));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 3 / 2).min(POLL_MAX);
        }
    }

    /// Tells of steps that ended; returns how many were told of.
    fn tell_steps(&self, bar: &ProgressBar, seen: &Seen, told: usize) -> usize {
        let ended = |step: &&StepSeen| matches!(&*step.state, "completed" | "failed");
        let new: Vec<_> = seen.steps.iter().skip(told).take_while(ended).collect();
        for step in &new {
            self.print(bar, step.line(), || {
                json!({ "step": step.index, "kind": step.kind, "retries": step.retry,
                        "state": step.state })
            });
        }
        told + new.len()
    }

    async fn tell_log(&self, bar: &ProgressBar, from: u32) -> Result<u32> {
        let (lines, next) = match self.node.logs(&self.session, from).await {
            Ok(logs) => logs,
            // What is asked of a member may be lost; the next time comes soon.
            Err(_) => return Ok(from),
        };
        for line in lines {
            self.print(bar, format!("      log: {}", harmless(&line)), || json!({ "log": line }));
        }
        Ok(next.max(from))
    }

    fn print(&self, bar: &ProgressBar, text: String, object: impl FnOnce() -> Value) {
        bar.suspend(|| self.out.result(|| text, object));
    }
}

/// The line that shows how far a session is, for people who look.
fn bar(visible: bool) -> ProgressBar {
    if !visible {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg}").expect("a fixed template");
    ProgressBar::new_spinner().with_style(style)
}
