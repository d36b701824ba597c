//! The client machine alone: one task owns it and its endpoint, everyone else holds a handle.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use session_client::{Answer, Client, Command, Config, Effect, Input};
use session_core::{Context, Machine, NodeId, Time};
use session_crypto::{RealVerifier, Signer};
use session_protocol::request::Item;
use session_runtime::BindError;
use session_runtime::clock::SystemClock;
use session_runtime::entropy::{NoEntropy, OsEntropy};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::kept::KeptFiles;
use crate::link::{Happened, Incoming, Link};
use crate::network::Network;

/// Orders that wait for the task; more than one person types.
const ORDERS_MAX: usize = 64;

/// Pushed items that wait for their reader; a full queue makes the task wait, and with it the node.
const PUSHED_MAX: usize = 1024;

/// How long [`Agent::stop`] waits.
const GOODBYE: Duration = Duration::from_secs(1);

/// One clock for the whole program, so that its time never goes backwards.
static CLOCK: LazyLock<SystemClock> = LazyLock::new(SystemClock::new);

type Done = Result<Answer, session_client::Error>;

enum Order {
    Refresh(oneshot::Sender<bool>),
    Run(Box<Command>, oneshot::Sender<Done>),
    Follow(Box<Command>, mpsc::Sender<Followed>),
}

/// Why no client starts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// No socket.
    #[error("cannot open a UDP socket: {0}")]
    Socket(#[from] BindError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] NoEntropy),
}

/// What a subscription reports.
#[derive(Debug)]
#[non_exhaustive]
pub enum Followed {
    /// A node pushes from now on.
    Live(NodeId),
    /// An item that was not seen before.
    Item(Box<Item>),
    /// The subscription ended.
    Ended(session_client::Error),
}

/// A handle on a client; dropping the last one ends its task.
#[derive(Clone)]
pub struct Agent {
    orders: mpsc::Sender<Order>,
    task: Arc<JoinHandle<()>>,
}

impl Agent {
    /// Starts a client for an account. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the system gives no socket or no randomness.
    pub fn start(account: Arc<dyn Signer>, network: &Network) -> Result<Self, StartError> {
        let config = Config {
            mode: network.mode,
            kept: network.kept.load_or_warn(),
            ..Config::new(account, network.membership.clone(), Arc::new(RealVerifier))
        };
        let (link, incoming) = Link::open(network)?;
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let shell = Shell {
            client: Client::new(config),
            kept: network.kept.clone(),
            link,
            waiting: BTreeMap::new(),
            following: BTreeMap::new(),
            next: 1,
            rng: OsEntropy::new()?,
            waiting_for_view: Vec::new(),
        };
        let task = Arc::new(tokio::spawn(shell.run(incoming, inbox)));
        Ok(Self { orders, task })
    }

    /// Carries out a command and waits for what comes of it.
    ///
    /// # Errors
    /// As the client says.
    pub async fn run(&self, command: Command) -> Done {
        let (done, answer) = oneshot::channel();
        let sent = self.orders.send(Order::Run(Box::new(command), done)).await;
        if sent.is_err() {
            return Err(session_client::Error::Cancelled);
        }
        answer.await.unwrap_or(Err(session_client::Error::Cancelled))
    }

    /// Asks the directory who the nodes are; returns whether they are others than before.
    pub async fn refresh(&self) -> bool {
        let (done, answer) = oneshot::channel();
        if self.orders.send(Order::Refresh(done)).await.is_err() {
            return false;
        }
        answer.await.unwrap_or(false)
    }

    /// Starts a subscription; its reports come until the receiver is dropped.
    pub async fn follow(&self, command: Command) -> mpsc::Receiver<Followed> {
        let (reports, receiver) = mpsc::channel(PUSHED_MAX);
        // When the task is gone the receiver sees a closed channel.
        let _ = self.orders.send(Order::Follow(Box::new(command), reports)).await;
        receiver
    }

    /// Closes the connections; waits a moment so that the nodes hear of it.
    pub async fn stop(self) {
        let Self { orders, task } = self;
        drop(orders);
        if let Some(task) = Arc::into_inner(task) {
            let _ = tokio::time::timeout(GOODBYE, task).await;
        }
    }
}

struct Shell {
    client: Client,
    kept: KeptFiles,
    link: Link,
    waiting: BTreeMap<u64, oneshot::Sender<Done>>,
    following: BTreeMap<u64, mpsc::Sender<Followed>>,
    next: u64,
    rng: OsEntropy,
    /// Who asked for the nodes; nobody is waited for twice.
    waiting_for_view: Vec<oneshot::Sender<bool>>,
}

impl Shell {
    async fn run(mut self, mut incoming: Incoming, mut orders: mpsc::Receiver<Order>) {
        loop {
            let deadline = self.client.deadline().unwrap_or(Time::MAX);
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.order(order).await,
                    None => break,
                },
                raw = incoming.next() => {
                    let Some(raw) = raw else { break };
                    if let Some(happened) = self.link.take(raw) {
                        self.happened(happened).await;
                    }
                }
                () = CLOCK.sleep_until(deadline) => {
                    let effects = self.call(Machine::tick);
                    self.perform(effects).await;
                }
            }
        }
        self.link.shutdown().await;
    }

    async fn order(&mut self, order: Order) {
        let id = self.next;
        self.next += 1;
        let command = match order {
            Order::Refresh(done) => {
                let first = self.waiting_for_view.is_empty();
                self.waiting_for_view.push(done);
                if first && !self.link.ask_directory() {
                    self.tell_waiting(false);
                }
                return;
            }
            Order::Run(command, done) => {
                self.waiting.insert(id, done);
                command
            }
            Order::Follow(command, reports) => {
                self.following.insert(id, reports);
                command
            }
        };
        self.feed(Input::Command { id, command: *command }).await;
    }

    async fn happened(&mut self, happened: Happened) {
        match happened {
            Happened::Network(input) => self.feed(Input::Network(input)).await,
            Happened::Membership(view) => {
                self.feed(Input::Membership(view)).await;
                self.tell_waiting(true);
            }
            Happened::SameMembership => self.tell_waiting(false),
            Happened::Solved { puzzle, solution } => {
                self.feed(Input::Solved { puzzle, solution }).await;
            }
        }
    }

    fn tell_waiting(&mut self, changed: bool) {
        for waiting in std::mem::take(&mut self.waiting_for_view) {
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(changed);
        }
    }

    async fn feed(&mut self, input: Input) {
        let effects = self.call(|client, cx| client.handle(cx, input));
        self.perform(effects).await;
    }

    fn call(&mut self, run: impl FnOnce(&mut Client, &mut Context<'_, (), Effect>)) -> Vec<Effect> {
        let mut effects = Vec::new();
        let (now, rng) = (CLOCK.now(), &mut self.rng);
        let mut cx = Context { now, store: &mut (), rng, effects: &mut effects };
        run(&mut self.client, &mut cx);
        effects
    }

    async fn perform(&mut self, effects: Vec<Effect>) {
        let mut cancelled = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send { conn, class, frame } => self.link.send(conn, class, frame),
                Effect::Dial { dial, address, key } => self.link.dial(dial, address, &key),
                Effect::Close { conn, why } => self.link.close(conn, why),
                Effect::Solve { puzzle } => self.link.solve(puzzle),
                Effect::Guards(guards) => self.kept.save_guards(&guards),
                Effect::Health(health) => self.kept.save_health(&health),
                Effect::HopKeys(keys) => self.kept.save_hop_keys(&keys),
                Effect::Done { id, result } => {
                    if let Some(done) = self.waiting.remove(&id) {
                        // Whoever asked may have stopped waiting.
                        let _ = done.send(result);
                    } else if let (Some(reports), Err(error)) = (self.following.remove(&id), result)
                    {
                        let _ = reports.send(Followed::Ended(error)).await;
                    }
                }
                Effect::Live { id, node } => {
                    if let Some(reports) = self.following.get(&id) {
                        let _ = reports.send(Followed::Live(node)).await;
                    }
                }
                Effect::Pushed { id, item, .. } => {
                    if let Some(reports) = self.following.get(&id)
                        && reports.send(Followed::Item(Box::new(item))).await.is_err()
                    {
                        self.following.remove(&id);
                        cancelled.push(id);
                    }
                }
                _ => {}
            }
        }
        for id in cancelled {
            Box::pin(self.feed(Input::Cancel { id })).await;
        }
    }
}
