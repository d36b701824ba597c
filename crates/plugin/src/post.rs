//! The thread that owns conversations and their store.
//!
//! Jobs come through a bounded queue. The thread runs all that wait, commits once, and answers
//! when the commit is durable: many messages share one fsync, and no answer precedes it. What comes
//! in the meantime waits for the next round: groups are as large as the load is heavy, and the
//! thread is woken once for each of them.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use session_core::{Context, Time};
use session_runtime::{OsEntropy, SystemClock};
use session_storage::{Durable, StoreError};
use session_vm::mailbox::{self, Counts, Cx, Event, Mailbox, Refusal};
use tokio::sync::{broadcast, mpsc, oneshot};

/// Jobs that wait; more are refused as busy.
const JOBS_MAX: usize = 4096;
/// Jobs in one commit: bounds how long the first one waits.
const GROUP_MAX: usize = 512;
/// Events that a slow subscriber may be behind.
const EVENTS_BEHIND_MAX: usize = 1024;
/// How long the thread sleeps at most before it looks at the clock again.
const TICK: Duration = Duration::from_millis(500);

/// What a job works on.
pub struct Desk<'a> {
    /// The conversations.
    pub mailbox: &'a mut Mailbox,
    /// Time, store, randomness; and what subscribers are told once the job is durable.
    pub cx: Cx<'a>,
}

/// Called when what the job saw or wrote has become durable, or has not.
type Answer = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Job = Box<dyn FnOnce(&mut Desk<'_>) -> Done + Send>;

/// What a job leaves to be done.
enum Done {
    /// It changed nothing: its answer waits for the changes that it may have seen.
    Read(Answer),
    /// It changed something.
    Changed(Answer),
}

/// Why a job has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The conversation, or the rules, say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too much is waiting.
    #[error("{JOBS_MAX} requests are waiting: try again later")]
    Busy,
    /// What was done is not durable.
    #[error("the disk failed: {0}")]
    Disk(#[from] StoreError),
    /// The thread has ended.
    #[error("conversations are closed")]
    Closed,
}

/// Hands jobs to the thread.
pub struct Post {
    jobs: Mutex<Option<mpsc::Sender<Job>>>,
    mailbox: Arc<Mutex<Mailbox>>,
    clock: Arc<SystemClock>,
    events: broadcast::Sender<Event>,
    waiting: Arc<AtomicI64>,
    fault: Arc<Mutex<Option<String>>>,
    counts: Arc<Mutex<Counts>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Starts the thread.
///
/// # Errors
/// When the configuration is wrong, a stored conversation is damaged, or there is no entropy.
pub fn start<S: Durable + Send + 'static>(
    config: mailbox::Config,
    store: S,
) -> Result<Post, Box<dyn std::error::Error>> {
    let clock = Arc::new(SystemClock::new());
    let mut store = store;
    let (mailbox, report) = Mailbox::load(config, &mut store, clock.now())?;
    if report.damaged > 0 {
        tracing::error!(records = report.damaged, "damaged conversations are not served");
    }
    tracing::info!(conversations = report.conversations, "opened the conversations");
    let (jobs, queue) = mpsc::channel(JOBS_MAX);
    let events = broadcast::Sender::new(EVENTS_BEHIND_MAX);
    let (waiting, fault) = (Arc::new(AtomicI64::new(0)), Arc::new(Mutex::new(None)));
    let counts = Arc::new(Mutex::new(mailbox.counts()));
    let mailbox = Arc::new(Mutex::new(mailbox));
    let worker = Worker {
        mailbox: Arc::clone(&mailbox),
        store,
        clock: Arc::clone(&clock),
        rng: OsEntropy::new()?,
        events: events.clone(),
        waiting: Arc::clone(&waiting),
        fault: Arc::clone(&fault),
        counts: Arc::clone(&counts),
    };
    let thread = std::thread::Builder::new()
        .name("conversations".to_owned())
        .spawn(move || worker.run(queue))?;
    let (jobs, thread) = (Mutex::new(Some(jobs)), Mutex::new(Some(thread)));
    Ok(Post { jobs, mailbox, clock, events, waiting, fault, counts, thread })
}

impl Post {
    /// Queues a job that changes conversations. The result comes when what it wrote is durable;
    /// dropping the future does not take the job back.
    ///
    /// # Errors
    /// When the job refuses, too much is waiting, or the disk fails.
    pub fn write<T, F>(&self, job: F) -> impl Future<Output = Result<T, NoAnswer>> + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&mut Desk<'_>) -> Result<T, Refusal> + Send + 'static,
    {
        self.durable(job, Done::Changed)
    }

    /// Queues a job that shows what there is. The result comes when all of it is durable: nobody is
    /// shown what a crash could still take back.
    ///
    /// # Errors
    /// As [`Post::write`].
    pub fn read<T, F>(&self, job: F) -> impl Future<Output = Result<T, NoAnswer>> + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&mut Desk<'_>) -> Result<T, Refusal> + Send + 'static,
    {
        self.durable(job, Done::Read)
    }

    /// Prepares a job, on this thread. What it sees is not to be shown: it may not be durable yet.
    pub fn prepare<T>(&self, look: impl FnOnce(&Mailbox, Time) -> T) -> T {
        look(&locked(&self.mailbox), self.clock.now())
    }

    /// Shows what there is, on this thread, if nothing waits: then all of it is durable, and no call
    /// that came before is passed by. Otherwise it is for [`Post::read`].
    pub fn look<T>(&self, look: impl FnOnce(&Mailbox, Time) -> T) -> Option<T> {
        // No job runs while it is held: what has not been queued by now is not seen.
        let mailbox = locked(&self.mailbox);
        (self.waiting() == 0).then(|| look(&mailbox, self.clock.now()))
    }

    fn durable<T, F>(
        &self,
        job: F,
        kind: fn(Answer) -> Done,
    ) -> impl Future<Output = Result<T, NoAnswer>> + use<T, F>
    where
        T: Send + 'static,
        F: FnOnce(&mut Desk<'_>) -> Result<T, Refusal> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let queued = self.queue(Box::new(move |desk| {
            let result = job(desk).map_err(NoAnswer::from);
            kind(Box::new(move |durable| {
                // Who asked may be gone.
                let _ = answer.send(durable.map_err(NoAnswer::from).and(result));
            }))
        }));
        wait(queued, answered)
    }

    fn queue(&self, job: Job) -> Result<(), NoAnswer> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let jobs = jobs.ok_or(NoAnswer::Closed)?;
        self.waiting.fetch_add(1, Ordering::Relaxed);
        jobs.try_send(job).map_err(|error| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            match error {
                mpsc::error::TrySendError::Full(_) => NoAnswer::Busy,
                mpsc::error::TrySendError::Closed(_) => NoAnswer::Closed,
            }
        })
    }

    /// Follows new messages and changes, durable ones only.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Returns how many requests wait for the disk.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        u64::try_from(self.waiting.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Returns how much there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns why nothing is stored any more, if that is so.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes no more jobs and waits until those that were taken are durable. Blocks.
    pub fn stop(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic there was reported when it happened.
            let _ = thread.join();
        }
    }
}

async fn wait<T>(
    queued: Result<(), NoAnswer>,
    answered: oneshot::Receiver<Result<T, NoAnswer>>,
) -> Result<T, NoAnswer> {
    queued?;
    answered.await.map_err(|_| NoAnswer::Closed)?
}

fn locked(mailbox: &Mutex<Mailbox>) -> MutexGuard<'_, Mailbox> {
    // A panic under the lock is our bug and ends the process in release builds.
    mailbox.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Worker<S> {
    mailbox: Arc<Mutex<Mailbox>>,
    store: S,
    clock: Arc<SystemClock>,
    rng: OsEntropy,
    events: broadcast::Sender<Event>,
    waiting: Arc<AtomicI64>,
    fault: Arc<Mutex<Option<String>>>,
    counts: Arc<Mutex<Counts>>,
}

impl<S: Durable + 'static> Worker<S> {
    fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return self.fail(&format!("cannot wait for requests: {error}")),
        };
        loop {
            let first = runtime.block_on(async { tokio::time::timeout(TICK, queue.recv()).await });
            match first {
                Ok(None) => break,
                Ok(Some(first)) => self.group(first, &mut queue),
                Err(_) => self.tick(),
            }
        }
        let finished = locked(&self.mailbox).finish(&mut self.store);
        if let Err(error) = finished {
            self.fail(&error.to_string());
        }
        self.commit(Vec::new(), Vec::new());
    }

    fn group(&mut self, first: Job, queue: &mut mpsc::Receiver<Job>) {
        let (mut answers, mut events) = (Vec::new(), Vec::new());
        let (mut jobs, mut changed) = (0, false);
        let mut next = Some(first);
        while let Some(job) = next {
            let mut desk = Desk {
                // For one job: others prepare theirs between two.
                mailbox: &mut locked(&self.mailbox),
                cx: Context {
                    now: self.clock.now(),
                    store: &mut self.store,
                    rng: &mut self.rng,
                    effects: &mut events,
                },
            };
            match job(&mut desk) {
                // All commits before this group have ended.
                Done::Read(answer) if !changed => {
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    answer(Ok(()));
                }
                Done::Read(answer) => answers.push(answer),
                Done::Changed(answer) => {
                    changed = true;
                    answers.push(answer);
                }
            }
            jobs += 1;
            next = if jobs < GROUP_MAX { queue.try_recv().ok() } else { None };
        }
        if changed {
            self.count();
        }
        if !answers.is_empty() {
            self.commit(answers, events);
        }
        self.tick();
    }

    /// Commits, answers, and only then returns.
    fn commit(&mut self, answers: Vec<Answer>, events: Vec<Event>) {
        let (sender, waiting) = (self.events.clone(), Arc::clone(&self.waiting));
        let fault = Arc::clone(&self.fault);
        let (done, ended) = std::sync::mpsc::channel::<()>();
        self.store.commit(Box::new(move |durable| {
            let _done = done;
            waiting.fetch_sub(i64::try_from(answers.len()).unwrap_or(0), Ordering::Relaxed);
            if let Err(error) = &durable {
                *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
            } else {
                for event in events {
                    // Nobody may be listening.
                    let _ = sender.send(event);
                }
            }
            for answer in answers {
                answer(durable.clone());
            }
        }));
        // Nothing is sent: the other end is dropped when it is over.
        let _ = ended.recv();
    }

    fn count(&self) {
        let counts = locked(&self.mailbox).counts();
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        if now < locked(&self.mailbox).deadline() {
            return;
        }
        let mut events = Vec::new();
        let mut cx: Cx<'_> =
            Context { now, store: &mut self.store, rng: &mut self.rng, effects: &mut events };
        let ticked = locked(&self.mailbox).tick(&mut cx);
        if let Err(error) = ticked {
            return self.fail(&error.to_string());
        }
        self.count();
        self.commit(Vec::new(), events);
    }

    fn fail(&self, why: &str) {
        tracing::error!("{why}");
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.to_owned());
    }
}

#[cfg(test)]
mod tests;
