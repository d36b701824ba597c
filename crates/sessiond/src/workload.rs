//! Workload sessions: what their machine asks of threads and of the world.
//!
//! Nothing here waits: programs run on threads of their own (`runners`), questions to the world
//! are tasks (`world`); the loop hears of both when they are done.
//!
//! | queue | bound | when full |
//! |---|---|---|
//! | programs to run | one for each session that runs: the machine asks for no second | — |
//! | answers of programs and of the world | `DONE_MAX` | threads and tasks wait |
//! | questions to the world | one for each session; `ASKED_MAX` at once | they wait their turn |
//! | local callers | `CALLERS_MAX` | the caller is told to come back |

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use session_connectors::Connectors;
use session_core::{Digest, NodeId, SessionId};
use session_crypto::Identity;
use session_daemon::{Effect, Input};
use session_executor::Note;
use session_protocol::Membership;
use session_protocol::workload::message::{Answer, Question, SessionRefusal};
use tokio::sync::{mpsc, oneshot};

use crate::shell::NoReply;
use runners::Runners;
use world::World;

mod courier;
mod runners;
mod world;

/// Answers that wait for the loop.
const DONE_MAX: usize = 256;

/// Local callers that wait for an answer.
const CALLERS_MAX: usize = 1024;

/// What a local caller wants.
pub(crate) enum Wish {
    /// Keep bytes.
    Put(Vec<u8>),
    /// Tell the committee of a session where its program and input are.
    Create {
        /// Which.
        session: SessionId,
        /// The workload.
        program: Digest,
        /// The input.
        input: Digest,
    },
    /// Something about a session.
    Ask(Question),
}

/// What a local caller gets.
pub(crate) enum Given {
    /// The name of the bytes, or why they are not kept.
    Stored(Result<Digest, SessionRefusal>),
    /// The answer.
    Answer(Answer),
}

/// Where the answer to a local caller goes.
pub(crate) type Caller = oneshot::Sender<Result<Given, NoReply>>;

/// What workload sessions have done here since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sessions that run here.
    pub running: usize,
    /// Sessions that wait for their program, their input, or their turn.
    pub pending: usize,
    /// Questions to the world that are under way here.
    pub waiting_io: usize,
    /// Sessions that began.
    pub started: u64,
    /// Sessions that ended well.
    pub finalized: u64,
    /// Sessions that failed.
    pub failed: u64,
    /// Steps that asked the world and were decided.
    pub rounds: u64,
    /// Attempts before the one that was decided.
    pub retries: u64,
    /// Stretches of programs that were run.
    pub runs: u64,
    /// Questions that the world was asked.
    pub fetches: u64,
    /// Those without an answer.
    pub fetches_failed: u64,
}

/// What the loop has for workload sessions.
pub(crate) struct Workloads {
    runners: Runners,
    world: World,
    done: mpsc::Receiver<Done>,
    last: u64,
    callers: BTreeMap<u64, Caller>,
    stats: Stats,
}

/// What a thread or a task has done.
pub(crate) struct Done {
    input: Input,
    failed: bool,
}

impl Workloads {
    /// Starts the threads.
    pub(crate) fn start(
        keys: Arc<Identity>,
        node: NodeId,
        membership: Arc<dyn Membership>,
        connectors: Connectors,
    ) -> io::Result<Self> {
        let (tell, done) = mpsc::channel(DONE_MAX);
        let runners = Runners::start(&tell)?;
        let courier = courier::Courier::new(keys, node, membership);
        let world = World::new(connectors, courier, runners.observers(), tell);
        let callers = BTreeMap::new();
        Ok(Self { runners, world, done, last: 0, callers, stats: Stats::default() })
    }

    /// Waits until something is done. Dropping the future loses nothing.
    pub(crate) async fn done(side: Option<&mut Self>) -> Done {
        match side {
            // The threads and tasks live as long as this value.
            Some(side) => match side.done.recv().await {
                Some(done) => done,
                None => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Returns what the machine is to know of it.
    pub(crate) fn input(&mut self, done: Done) -> Input {
        match &done.input {
            Input::Ran(_) => {
                self.stats.runs += 1;
                self.runners.go_on();
            }
            _ => {
                self.stats.waiting_io = self.stats.waiting_io.saturating_sub(1);
                self.stats.fetches_failed += u64::from(done.failed);
            }
        }
        done.input
    }

    /// Numbers a local caller; `None`, and the caller is told, when there are too many.
    pub(crate) fn call(&mut self, wish: Wish, caller: Caller) -> Option<Input> {
        self.callers.retain(|_, caller| !caller.is_closed());
        if self.callers.len() >= CALLERS_MAX {
            drop(caller.send(Err(NoReply::Busy)));
            return None;
        }
        self.last += 1;
        let id = self.last;
        self.callers.insert(id, caller);
        Some(match wish {
            Wish::Put(bytes) => Input::PutBlob { id, bytes },
            Wish::Create { session, program, input } => {
                Input::CreateSession { id, session, program, input }
            }
            Wish::Ask(question) => Input::AskSession { id, question },
        })
    }

    /// Does what an effect asks for; returns it if it is not about workload sessions.
    pub(crate) fn perform(&mut self, effect: Effect) -> Option<Effect> {
        match effect {
            Effect::RunProgram(job) => self.runners.run(job),
            Effect::ForgetProgram { session } => self.runners.forget(session),
            Effect::Fetch(fetch) => {
                self.stats.fetches += 1;
                self.stats.waiting_io += 1;
                self.world.fetch(fetch);
            }
            Effect::BlobStored { id, result } => self.answer(id, Given::Stored(result)),
            Effect::SessionAnswer { id, answer } => self.answer(id, Given::Answer(answer)),
            other => return Some(other),
        }
        None
    }

    /// Notes who the nodes are now.
    pub(crate) fn membership(&self, membership: Arc<dyn Membership>) {
        self.world.membership(membership);
    }

    /// Counts what the machine tells.
    pub(crate) fn note(&mut self, note: &Note) {
        match note {
            Note::Started { .. } => self.stats.started += 1,
            Note::Decided { retry, .. } => {
                self.stats.rounds += 1;
                self.stats.retries += u64::from(*retry);
            }
            Note::Ended { failed: None, .. } => self.stats.finalized += 1,
            Note::Ended { failed: Some(_), .. } => self.stats.failed += 1,
            _ => {}
        }
    }

    /// Returns the counters; what is now is the machine's to say.
    pub(crate) const fn stats(&self) -> Stats {
        self.stats
    }

    fn answer(&mut self, id: u64, given: Given) {
        if let Some(caller) = self.callers.remove(&id) {
            // A caller that is gone has missed nothing that it could still use.
            drop(caller.send(Ok(given)));
        }
    }
}

/// Writes what the machine tells into the log: what an operator must see loudly, the rest quietly.
pub(crate) fn log(note: &Note) {
    match note {
        Note::Started { session } => tracing::debug!(?session, "a session began"),
        Note::Decided { session, step, retry } => {
            tracing::debug!(?session, step, retry, "a step was decided");
        }
        Note::Ended { session, failed } => {
            tracing::debug!(?session, failed = failed.is_some(), "a session ended");
        }
        Note::StoreFailed { doing } => tracing::error!(doing, "the store failed a session"),
        other => tracing::error!(note = ?other, "a session cannot go on here"),
    }
}
