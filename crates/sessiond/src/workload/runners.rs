//! Threads that run programs. A session always comes to the same one, where its program waits.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::Arc;
use std::{io, thread};

use session_core::SessionId;
use session_daemon::Input;
use session_executor::engine::{Job, Runner};
use session_executor::facts::Facts;
use session_executor::transform;
use session_protocol::workload::Source;
use session_protocol::workload::oracle::{Fault, Observation, RawAnswer};
use tokio::sync::{mpsc, oneshot};

use super::Done;

/// Threads: programs must not take all cores from the network and the disk.
const THREADS_MAX: usize = 4;

/// Work that waits at a thread; more waits with the loop.
const WORK_MAX: usize = 64;

/// Programs that a thread keeps where they wait; others are run again from their journals. Each
/// takes the memory that it asked for.
const LIVE_MAX: usize = 64;

/// What a thread does.
enum Work {
    Run(Box<Job>),
    Forget(SessionId),
    /// Make an observation with a function of the module.
    Observe(Box<Observing>),
}

/// An answer of the world, and who waits for the observation.
struct Observing {
    raw: Raw,
    seen: oneshot::Sender<Observation>,
}

/// An answer of the world, and what is made of it.
pub(super) struct Raw {
    pub(super) facts: Arc<Facts>,
    pub(super) source: Source,
    pub(super) answer: Result<RawAnswer, Fault>,
}

/// The loop's end of the threads.
pub(super) struct Runners {
    threads: Vec<Thread>,
}

struct Thread {
    work: mpsc::Sender<Work>,
    waiting: VecDeque<Work>,
}

/// What tasks need of the threads.
#[derive(Clone)]
pub(super) struct Observers(Vec<mpsc::Sender<Work>>);

impl Runners {
    /// Starts the threads; they end when this value and all its observers are dropped.
    pub(super) fn start(done: &mpsc::Sender<Done>) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let start = |number: usize| {
            let (work, todo) = mpsc::channel(WORK_MAX);
            let done = done.clone();
            let name = format!("program-{number}");
            thread::Builder::new().name(name).spawn(move || run(todo, &done))?;
            Ok(Thread { work, waiting: VecDeque::new() })
        };
        // Two at least: one long program must not stop all others.
        let threads: io::Result<_> = (0..cores.clamp(2, THREADS_MAX)).map(start).collect();
        Ok(Self { threads: threads? })
    }

    /// Returns what tasks need.
    pub(super) fn observers(&self) -> Observers {
        Observers(self.threads.iter().map(|thread| thread.work.clone()).collect())
    }

    /// Runs a program on.
    pub(super) fn run(&mut self, job: Box<Job>) {
        let session = job.facts.session;
        self.give(&session, Work::Run(job));
    }

    /// Drops what is kept of a session, and what was still to be done for it.
    pub(super) fn forget(&mut self, session: SessionId) {
        let index = place(&session, self.threads.len());
        self.threads[index].waiting.retain(|work| match work {
            Work::Run(job) => job.facts.session != session,
            Work::Forget(other) => *other != session,
            Work::Observe(_) => true,
        });
        self.give(&session, Work::Forget(session));
    }

    /// Hands over what waits, as far as there is room.
    pub(super) fn go_on(&mut self) {
        self.threads.iter_mut().for_each(Thread::go_on);
    }

    fn give(&mut self, session: &SessionId, work: Work) {
        let index = place(session, self.threads.len());
        let thread = &mut self.threads[index];
        thread.waiting.push_back(work);
        thread.go_on();
    }
}

impl Thread {
    fn go_on(&mut self) {
        while !self.waiting.is_empty() {
            // A thread ends only with us, or in a panic, which ends the process.
            let Ok(place) = self.work.try_reserve() else { return };
            if let Some(work) = self.waiting.pop_front() {
                place.send(work);
            }
        }
    }
}

impl Observers {
    /// Makes an observation of an answer.
    pub(super) async fn observe(&self, raw: Raw) -> Observation {
        let gone = Observation::Failed { fault: Fault::Unreachable };
        let (seen, observation) = oneshot::channel();
        if raw.source.transform.guest.is_none() {
            let observed = tokio::task::spawn_blocking(move || observe(raw, None)).await;
            return observed.unwrap_or(gone);
        }
        let thread = &self.0[place(&raw.facts.session, self.0.len())];
        if thread.send(Work::Observe(Box::new(Observing { raw, seen }))).await.is_err() {
            return gone;
        }
        observation.await.unwrap_or(gone)
    }
}

/// Session ids are hashes: their bytes are as good as random.
fn place(session: &SessionId, threads: usize) -> usize {
    usize::from(session.as_bytes()[0]) % threads
}

fn run(mut todo: mpsc::Receiver<Work>, done: &mpsc::Sender<Done>) {
    let mut runner = Runner::new(LIVE_MAX);
    while let Some(work) = todo.blocking_recv() {
        match work {
            Work::Run(job) => {
                let input = Input::Ran(Box::new(runner.run(&job)));
                if done.blocking_send(Done { input, failed: false }).is_err() {
                    return;
                }
            }
            Work::Forget(session) => runner.forget(&session),
            Work::Observe(observing) => {
                let Observing { raw, seen } = *observing;
                // Nobody waits any more when the attempt is over.
                drop(seen.send(observe(raw, Some(&mut runner))));
            }
        }
    }
}

fn observe(raw: Raw, runner: Option<&mut Runner>) -> Observation {
    let Raw { facts, source, answer } = raw;
    let manifest = &facts.workload.manifest;
    match runner {
        None => {
            let mut none = |_: &str, _: &[u8]| Err("no function is named".to_owned());
            transform::observe(manifest, &source, answer, &mut none)
        }
        Some(runner) => {
            let mut guest = |function: &str, input: &[u8]| {
                runner.transform(&facts.module, &manifest.limits, function, input)
            };
            transform::observe(manifest, &source, answer, &mut guest)
        }
    }
}
