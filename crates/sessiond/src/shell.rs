//! One thread owns the node's machine and its store.
//!
//! Others hold a cheap [`Handle`]. Inputs come from the QUIC endpoint (parsed and checked on the
//! tasks of their connections), from local callers, from the clock, and from the thread that signs
//! receipts. The loop makes as many calls as there are inputs, ends the group with
//! [`Input::Flush`], and commits it; the effects of a group are performed in order once its commit
//! is durable, and never if it fails.
//!
//! | queue | bound | when full |
//! |---|---|---|
//! | events of the endpoint | [`Options::events_max`](session_runtime::quic::Options) | connections stop reading |
//! | local calls | `ASKS_MAX` | the caller is told to come back |
//! | commits under way, calls in the open group | `COMMITS_MAX`, `CALLS_MAX` | inputs wait in their queues |
//! | programs and questions of workload sessions | see `workload` | |
//! | onion packets for one connection | half of the endpoint's queue for it | they are dropped |
//! | receipts to be signed | those of the commits since the last signature | inputs wait, as commits do |
//! | pushes to one local subscriber | `PUSHES_MAX` | the subscriber is cut off |

use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use session_core::{Context, Machine as _, NodeId};
use session_daemon::{Daemon, Effect, Health, Input, Report};
use session_network::From;
use session_protocol::inbound::CheckedRequest;
use session_protocol::{Checker, Membership};
use session_runtime::clock::SystemClock;
use session_runtime::entropy::OsEntropy;
use session_runtime::quic::{self, Event, Events, Quic};
use session_storage::{Durable, StoreError};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::chain::errands::Found;
use crate::workload::{self, Done, Workloads};

mod calls;
mod chain;
mod connections;
mod pipeline;
mod reader;
mod signer;
#[cfg(test)]
mod slow_store;

pub(crate) use calls::Wished;
pub use calls::{Handle, NoReply, Submitted};
pub(crate) use chain::{ChainSide, Room};
pub(crate) use connections::{Checked, Connections, checked, of_network};
pub(crate) use reader::Reader;

use calls::{Ask, Calls};
use chain::News;
use connections::Sent;
use pipeline::Pipeline;
use signer::{Signed, Signer};

/// Inputs taken before the loop looks at commits and timers again.
const INPUTS_MAX: usize = 512;

/// Longest sleep: how soon a local subscriber that is gone is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// How long work that is under way may take when the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// How often a stopping node looks whether its work is done.
const DRAIN_PAUSE: Duration = Duration::from_millis(10);

/// How long a node whose disk failed still says so over HTTP.
const FAILED_GRACE: Duration = Duration::from_secs(1);

/// How the node is.
#[derive(Clone, Debug)]
pub struct Status {
    /// The machine.
    pub health: Health,
    /// Whether a quorum of the swarm has been reachable since the start.
    pub seen_quorum: bool,
    /// Why the store failed, if it did.
    pub failed: Option<String>,
    /// Open connections.
    pub connections: usize,
    /// The endpoint.
    pub quic: quic::Stats,
    /// The loop.
    pub shell: Stats,
    /// Local callers that wait for a reply.
    pub calls_waiting: usize,
    /// Local subscribers.
    pub subscribers: usize,
    /// Workload sessions, where there is a chain.
    pub sessions: Option<workload::Stats>,
}

/// Counters of the loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Calls of the machine.
    pub calls: u64,
    /// Groups of calls that became durable.
    pub commits: u64,
    /// Signatures over the receipts of one or more commits.
    pub roots_signed: u64,
    /// Receipts under them.
    pub receipts_signed: u64,
    /// Onion packets that were not sent because half of a connection's queue was taken.
    pub onions_dropped: u64,
}

/// What the loop is made from.
pub(crate) struct Parts<S> {
    pub(crate) node: NodeId,
    pub(crate) daemon: Daemon,
    pub(crate) store: S,
    pub(crate) keys: Arc<dyn session_crypto::Signer>,
    pub(crate) checker: Arc<Checker>,
    pub(crate) reader: Arc<Reader>,
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) quic: Quic<Checked>,
    pub(crate) events: Events<Checked>,
    /// What the loop needs of the chain; nothing where a network file says who is a node.
    pub(crate) chain: Option<ChainSide>,
    /// What runs programs and asks the world, where there is a chain.
    pub(crate) workloads: Option<Workloads>,
}

/// The loop on its thread.
pub(crate) struct Running {
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<Result<(), StoreError>>,
}

impl Running {
    /// Waits for the loop to end by itself: when the disk fails.
    ///
    /// Dropping the future loses nothing.
    pub(crate) async fn ended(&mut self) -> Result<(), StoreError> {
        match (&mut self.ended).await {
            Ok(result) => result,
            // Ended without a word: a panic, which was reported where it happened.
            Err(_) => Err(StoreError::Closed { why: "the main loop ended".to_owned() }),
        }
    }

    /// Lets work under way finish, and ends the loop.
    pub(crate) async fn stop(mut self) -> Result<(), StoreError> {
        // A loop that has ended already needs no telling.
        let _ = self.stop.send(true);
        self.ended().await
    }
}

/// Starts the loop. Must be called inside a tokio runtime with more than one thread.
pub(crate) fn start<S>(parts: Parts<S>) -> io::Result<(Handle, Running)>
where
    S: Durable + Send + 'static,
{
    let (asks, asked) = mpsc::channel(calls::ASKS_MAX);
    let (stop, stopped) = watch::channel(false);
    let (end, ended) = oneshot::channel();
    let handle = Handle {
        asks,
        checker: Arc::clone(&parts.checker),
        clock: Arc::clone(&parts.clock),
        node: parts.node,
    };
    let network = parts.checker.membership().network();
    let mut shell = Shell {
        checker: parts.checker,
        reader: parts.reader,
        chain: parts.chain,
        workloads: parts.workloads,
        daemon: parts.daemon,
        store: parts.store,
        rng: OsEntropy::new().map_err(io::Error::other)?,
        clock: parts.clock,
        connections: Connections::new(parts.quic.clone()),
        quic: parts.quic,
        events: parts.events,
        asked,
        calls: Calls::default(),
        pipeline: Pipeline::new(),
        signer: Signer::start(network, parts.keys)?,
        seen_quorum: false,
        draining: None,
        stats: Stats::default(),
    };
    let runtime = tokio::runtime::Handle::current();
    // A thread of its own: the store may wait for the disk, which no async task may.
    thread::Builder::new().name("node".into()).spawn(move || {
        let result = runtime.block_on(shell.run(stopped));
        // The store lets go of its files before anybody hears that it is over.
        drop(shell);
        drop(end.send(result));
    })?;
    Ok((handle, Running { stop, ended }))
}

struct Shell<S> {
    checker: Arc<Checker>,
    reader: Arc<Reader>,
    chain: Option<ChainSide>,
    workloads: Option<Workloads>,
    daemon: Daemon,
    store: S,
    rng: OsEntropy,
    clock: Arc<SystemClock>,
    connections: Connections,
    quic: Quic<Checked>,
    events: Events<Checked>,
    asked: mpsc::Receiver<Ask>,
    calls: Calls,
    pipeline: Pipeline<Effect>,
    signer: Signer,
    seen_quorum: bool,
    draining: Option<Instant>,
    stats: Stats,
}

/// Why the loop woke up.
enum Wake {
    Committed(Result<Vec<Effect>, StoreError>),
    Signed(Vec<Signed>),
    LookedUp(Option<session_network::Input>),
    Asked(Ask),
    Event(Event<Checked>),
    Chain(News),
    Worked(Done),
    Due,
    Stop,
}

impl<S: Durable + 'static> Shell<S> {
    async fn run(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), StoreError> {
        let result = self.serve(&mut stop).await;
        if let Err(error) = &result {
            tracing::error!(%error, "the disk failed a write; nothing after it is acknowledged");
            self.confess(error.to_string(), &mut stop).await;
        }
        result
    }

    async fn serve(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), StoreError> {
        loop {
            match self.wake(stop).await {
                Wake::Committed(effects) => self.committed(effects?),
                Wake::Signed(answers) => self.signed(answers),
                Wake::LookedUp(input) => self.network(input),
                Wake::Asked(ask) => self.asked(ask),
                Wake::Event(event) => self.event(event),
                Wake::Chain(news) => self.news(news),
                Wake::Worked(done) => self.worked(done),
                Wake::Due => self.sweep(),
                Wake::Stop => self.drain(),
            }
            self.take_what_waits()?;
            self.tick();
            while self.pipeline.may_commit() {
                self.commit();
                // The memory store is done at once.
                while let Some(effects) = self.pipeline.try_next() {
                    self.committed(effects?);
                }
            }
            if self.is_drained() {
                return Ok(());
            }
        }
    }

    async fn wake(&mut self, stop: &mut watch::Receiver<bool>) -> Wake {
        let room = self.pipeline.has_room();
        let pause = self.pause();
        let running = self.draining.is_none();
        tokio::select! {
            biased;
            effects = self.pipeline.next() => Wake::Committed(effects),
            answers = self.signer.answer() => Wake::Signed(answers),
            Ok(()) = stop.changed(), if running => Wake::Stop,
            input = self.connections.looked_up() => Wake::LookedUp(input),
            // Before messages: those of an epoch make no sense before it began here.
            news = ChainSide::news(self.chain.as_mut()), if room => Wake::Chain(news),
            done = Workloads::done(self.workloads.as_mut()), if room => Wake::Worked(done),
            Some(ask) = self.asked.recv(), if room => Wake::Asked(ask),
            Some(event) = self.events.recv(), if room => Wake::Event(event),
            () = tokio::time::sleep(pause) => Wake::Due,
        }
    }

    fn pause(&self) -> Duration {
        let due = self.daemon.deadline().map(|at| Duration::from(at.since(self.clock.now())));
        let longest = if self.draining.is_some() { DRAIN_PAUSE } else { SLEEP_MAX };
        due.unwrap_or(longest).min(longest)
    }

    // More inputs make larger groups, and larger groups fewer writes.
    fn take_what_waits(&mut self) -> Result<(), StoreError> {
        for _ in 0..INPUTS_MAX {
            while let Some(effects) = self.pipeline.try_next() {
                self.committed(effects?);
            }
            if !self.pipeline.has_room() {
                break;
            }
            let (ask, event) = (self.asked.try_recv().ok(), self.events.try_recv());
            if ask.is_none() && event.is_none() {
                break;
            }
            if let Some(ask) = ask {
                self.asked(ask);
            }
            if let Some(event) = event {
                self.event(event);
            }
        }
        Ok(())
    }

    fn handle(&mut self, input: Input) {
        self.stats.calls += 1;
        self.pipeline.called();
        let mut cx = Context {
            now: self.clock.now(),
            store: &mut self.store as &mut dyn session_storage::Store,
            rng: &mut self.rng,
            effects: &mut self.pipeline.open,
        };
        self.daemon.handle(&mut cx, input);
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        if self.daemon.deadline().is_none_or(|at| at > now) {
            return;
        }
        self.stats.calls += 1;
        self.pipeline.called();
        let mut cx = Context {
            now,
            store: &mut self.store as &mut dyn session_storage::Store,
            rng: &mut self.rng,
            effects: &mut self.pipeline.open,
        };
        self.daemon.tick(&mut cx);
    }

    fn commit(&mut self) {
        self.handle(Input::Flush);
        self.pipeline.commit(&mut self.store);
    }

    fn committed(&mut self, effects: Vec<Effect>) {
        self.stats.commits += 1;
        for effect in effects {
            self.perform(effect);
        }
        self.signer.submit();
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send { conn, class, frame } => {
                if self.connections.send(conn, class, frame) == Sent::Dropped {
                    self.stats.onions_dropped += 1;
                }
            }
            Effect::Dial { dial, address, key } => {
                let failed = self.connections.dial(dial, address, &key);
                self.network(failed);
            }
            Effect::Close { conn, why } => self.connections.close(conn, why),
            Effect::SignReceipts { ticket, receipts } => self.signer.add(ticket, receipts),
            Effect::OpenOnions(opener) => self.reader.open_with(opener),
            Effect::OnionRate { conn, rate } => {
                if let Some(conn) = self.connections.socket(conn) {
                    self.reader.set_rate(conn, rate);
                }
            }
            Effect::LocalReply { id, reply } => {
                if self.calls.reply(id, reply) {
                    self.handle(Input::LocalGone { id });
                }
            }
            Effect::LocalPush { id, push } => {
                if self.calls.push(id, push) {
                    self.handle(Input::LocalGone { id });
                }
            }
            Effect::Report(report) => {
                log(&report);
                if let (Report::Session(note), Some(workloads)) = (&report, &mut self.workloads) {
                    workloads.note(note);
                }
                self.note_quorum();
            }
            other => {
                let other = match &self.chain {
                    Some(chain) => chain.run(other),
                    None => Some(other),
                };
                let other = match (other, &mut self.workloads) {
                    (Some(other), Some(workloads)) => workloads.perform(other),
                    (other, _) => other,
                };
                if let Some(other) = other {
                    tracing::error!(effect = ?other, "an effect that this program does not know");
                }
            }
        }
    }

    fn news(&mut self, news: News) {
        let input = match news {
            News::View(view) => {
                self.checker.set_view(&view);
                if let Some(workloads) = &self.workloads {
                    workloads.membership(Arc::clone(&view.membership) as Arc<dyn Membership>);
                }
                Input::View(view)
            }
            News::Found(Found { node, epoch, bytes }) => Input::CommitmentTx { node, epoch, bytes },
            News::Look => {
                let used = self.store.stats().disk_bytes;
                let Some(chain) = &self.chain else { return };
                chain.room(used)
            }
        };
        self.handle(input);
    }

    fn worked(&mut self, done: Done) {
        if let Some(workloads) = &mut self.workloads {
            let input = workloads.input(done);
            self.handle(input);
        }
    }

    fn signed(&mut self, answers: Vec<Signed>) {
        self.stats.roots_signed += 1;
        for Signed { number: ticket, root, proofs } in answers {
            self.stats.receipts_signed += proofs.len() as u64;
            self.handle(Input::ReceiptsSigned { ticket, root, proofs });
        }
        self.signer.submit();
    }

    fn event(&mut self, event: Event<Checked>) {
        if let Event::Disconnected { conn, .. } = &event {
            self.reader.forget(*conn);
        }
        if let Some(input) = self.connections.input(event) {
            self.handle(input);
        }
    }

    fn network(&mut self, input: Option<session_network::Input>) {
        if let Some(input) = input {
            self.handle(Input::Network(input));
        }
    }

    fn asked(&mut self, ask: Ask) {
        match ask {
            Ask::Status(to) => drop(to.send(self.status(None))),
            Ask::Session(wish, caller) => {
                // Without a chain nothing waits here: who asks is told before.
                let Some(workloads) = &mut self.workloads else { return };
                if let Some(input) = workloads.call(wish, caller) {
                    self.handle(input);
                }
            }
            Ask::Call(call) => {
                let begun: Option<(u64, CheckedRequest)> = self.calls.begin(call);
                if let Some((id, request)) = begun {
                    self.handle(Input::Local { id, request });
                }
            }
        }
    }

    fn sweep(&mut self) {
        for id in self.calls.gone() {
            self.handle(Input::LocalGone { id });
        }
    }

    // "Starting" ends when the first quorum is there, whether or not somebody asks then.
    fn note_quorum(&mut self) {
        if !self.seen_quorum {
            let swarm = self.daemon.health(&self.store).swarm;
            self.seen_quorum = swarm.members_up >= swarm.quorum;
        }
    }

    fn status(&mut self, failed: Option<String>) -> Status {
        self.note_quorum();
        let health = self.daemon.health(&self.store);
        Status {
            health,
            seen_quorum: self.seen_quorum,
            failed,
            connections: self.connections.len(),
            quic: self.quic.stats(),
            shell: self.stats,
            calls_waiting: self.calls.waiting(),
            subscribers: self.calls.subscribers(),
            sessions: self.sessions(),
        }
    }

    fn sessions(&self) -> Option<workload::Stats> {
        let (workloads, executor) = (self.workloads.as_ref()?, self.daemon.executor()?);
        let (running, pending) = (executor.running(), executor.waiting());
        Some(workload::Stats { running, pending, ..workloads.stats() })
    }

    fn drain(&mut self) {
        self.draining = Some(Instant::now());
        self.daemon.drain();
        self.calls.end_subscriptions();
    }

    // What clients wait for may take until the timeout; what was called is committed in any case.
    fn is_drained(&mut self) -> bool {
        let Some(since) = self.draining else { return false };
        if !self.pipeline.is_idle() {
            return false;
        }
        let waiting = self.calls.waiting() > 0
            || !self.signer.is_idle()
            || self.daemon.health(&self.store).swarm.waiting > 0;
        !waiting || since.elapsed() > DRAIN_TIMEOUT
    }

    /// After a failed write: answers health questions for a moment, and nothing else.
    async fn confess(&mut self, why: String, stop: &mut watch::Receiver<bool>) {
        self.daemon.drain();
        let until = Instant::now() + FAILED_GRACE;
        loop {
            let ask = tokio::select! {
                ask = self.asked.recv() => ask,
                _ = stop.changed() => None,
                () = tokio::time::sleep_until(until) => None,
            };
            match ask {
                None => return,
                Some(Ask::Status(to)) => drop(to.send(self.status(Some(why.clone())))),
                // Dropped, which tells the caller that the node stops.
                Some(Ask::Call(_) | Ask::Session(..)) => {}
            }
        }
    }
}

fn log(report: &Report) {
    match report {
        Report::PeerUp { node } => tracing::info!(?node, "connected"),
        Report::PeerDown { node } => tracing::info!(?node, "disconnected"),
        Report::Unreachable { node, why } => tracing::debug!(?node, why, "not reachable"),
        Report::Penalized { from: From::Node(node), why } => {
            tracing::warn!(?node, why, "disconnected for a fault");
        }
        // Strangers must not be able to fill the log.
        Report::Penalized { from, why } => tracing::debug!(?from, why, "disconnected for a fault"),
        Report::Duty(note) => chain::log(note),
        Report::Session(note) => workload::log(note),
        other => tracing::debug!(report = ?other),
    }
}

#[cfg(test)]
mod tests;
