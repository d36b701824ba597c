//! One task owns the client machine and its endpoint; everyone else holds a handle.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use session_client::{Answer, Client, Command, Config, Effect, Input};
use session_core::{Context, Machine, NodeId};
use session_crypto::{Identity, RealVerifier};
use session_network::ConnId;
use session_protocol::Checker;
use session_protocol::request::Item;
use session_runtime::entropy::OsEntropy;
use session_runtime::quic::{self, Events, Quic};
use tokio::net::lookup_host;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::exit::Result;
use crate::link::{self, Payload};
use crate::members::Members;
use crate::person;

/// Orders that wait for the task; more than one person types.
const ORDERS_MAX: usize = 64;

/// Pushed items that wait for the printer; a full queue makes the task wait, and with it the node.
const PUSHED_MAX: usize = 1024;

/// How often the chain is asked who the nodes are.
const REFRESH: Duration = Duration::from_secs(60);

/// How long the endpoint may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

type Done = std::result::Result<Answer, session_client::Error>;

enum Order {
    Refresh(oneshot::Sender<bool>),
    Run(Command, oneshot::Sender<Done>),
    Follow(Command, mpsc::Sender<Followed>),
}

/// What a subscription reports.
#[derive(Debug)]
pub(crate) enum Followed {
    /// A node pushes from now on.
    Live(NodeId),
    /// An item that was not seen before.
    Item(Box<Item>),
    /// The subscription ended.
    Ended(session_client::Error),
}

/// A handle on the client; dropping the last one ends its task.
#[derive(Clone)]
pub(crate) struct Agent {
    orders: mpsc::Sender<Order>,
    task: Arc<JoinHandle<()>>,
}

impl Agent {
    /// Starts a client for `identity` on the network.
    pub(crate) fn start(identity: Arc<Identity>, members: Members) -> Result<Self> {
        let membership = members.view().clone();
        let checker = Arc::new(Checker::new(membership.clone(), Arc::new(RealVerifier)));
        let (quic, events) = link::bind(checker.clone())?;
        let config = Config::new(identity, membership, Arc::new(RealVerifier));
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        let (resolved, resolutions) = mpsc::channel(ORDERS_MAX);
        let (viewed, views) = mpsc::channel(1);
        let shell = Shell {
            client: Client::new(config),
            quic,
            conns: BTreeMap::new(),
            waiting: BTreeMap::new(),
            following: BTreeMap::new(),
            next: 1,
            rng: person::entropy()?,
            resolved,
            checker,
            members,
            viewed,
            waiting_for_view: Vec::new(),
        };
        let task = Arc::new(tokio::spawn(shell.run(events, inbox, resolutions, views)));
        Ok(Self { orders, task })
    }

    /// Carries out a command and waits for what comes of it.
    pub(crate) async fn run(&self, command: Command) -> Done {
        let (done, answer) = oneshot::channel();
        let sent = self.orders.send(Order::Run(command, done)).await;
        if sent.is_err() {
            return Err(session_client::Error::Cancelled);
        }
        answer.await.unwrap_or(Err(session_client::Error::Cancelled))
    }

    /// Asks the chain who the nodes are; returns whether they are others than before.
    pub(crate) async fn refresh(&self) -> bool {
        let (done, answer) = oneshot::channel();
        if self.orders.send(Order::Refresh(done)).await.is_err() {
            return false;
        }
        answer.await.unwrap_or(false)
    }

    /// Starts a subscription; its reports come until the receiver is dropped.
    pub(crate) async fn follow(&self, command: Command) -> mpsc::Receiver<Followed> {
        let (reports, receiver) = mpsc::channel(PUSHED_MAX);
        // When the task is gone the receiver sees a closed channel.
        let _ = self.orders.send(Order::Follow(command, reports)).await;
        receiver
    }

    /// Closes the connections; waits a moment so that the nodes hear of it.
    pub(crate) async fn stop(self) {
        let Self { orders, task } = self;
        drop(orders);
        if let Some(task) = Arc::into_inner(task) {
            let _ = tokio::time::timeout(2 * GOODBYE, task).await;
        }
    }
}

/// A dial whose address was looked up.
struct Resolved {
    dial: u64,
    address: std::result::Result<std::net::SocketAddr, String>,
    key: quic::PeerKey,
}

struct Shell {
    client: Client,
    quic: Quic<Payload>,
    conns: BTreeMap<ConnId, quic::ConnId>,
    waiting: BTreeMap<u64, oneshot::Sender<Done>>,
    following: BTreeMap<u64, mpsc::Sender<Followed>>,
    next: u64,
    rng: OsEntropy,
    resolved: mpsc::Sender<Resolved>,
    checker: Arc<Checker>,
    members: Members,
    /// What the chain said of the nodes, and whether that is news.
    viewed: mpsc::Sender<(Members, bool)>,
    /// Who asked for it; nobody is waited for twice.
    waiting_for_view: Vec<oneshot::Sender<bool>>,
}

impl Shell {
    async fn run(
        mut self,
        mut events: Events<Payload>,
        mut orders: mpsc::Receiver<Order>,
        mut resolutions: mpsc::Receiver<Resolved>,
        mut views: mpsc::Receiver<(Members, bool)>,
    ) {
        let mut refresh = tokio::time::interval(REFRESH);
        // The first tick is now, and the members are new.
        refresh.tick().await;
        loop {
            let deadline = self.client.deadline();
            let wake = async {
                match deadline {
                    Some(time) => person::until(time).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => self.order(order).await,
                    None => break,
                },
                Some(event) = events.recv() => self.event(event).await,
                Some(resolved) = resolutions.recv() => self.dial(resolved).await,
                Some((members, changed)) = views.recv() => self.view(members, changed).await,
                _ = refresh.tick() => self.ask_view(),
                () = wake => self.tick().await,
            }
        }
        self.quic.shutdown(GOODBYE).await;
    }

    async fn order(&mut self, order: Order) {
        let id = self.next;
        self.next += 1;
        let command = match order {
            Order::Refresh(done) => {
                let first = self.waiting_for_view.is_empty();
                self.waiting_for_view.push(done);
                if first {
                    self.ask_view();
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
        self.feed(Input::Command { id, command }).await;
    }

    // Asked beside the task, so that a slow chain stops nothing else.
    fn ask_view(&self) {
        let (mut members, viewed) = (self.members.clone(), self.viewed.clone());
        tokio::spawn(async move {
            let changed = members.refresh().await;
            // Nobody is left to tell when the program ends.
            let _ = viewed.send((members, changed)).await;
        });
    }

    async fn view(&mut self, members: Members, changed: bool) {
        if changed {
            let view = members.view().clone();
            self.checker.set_membership(view.clone());
            self.members = members;
            self.feed(Input::Membership(view)).await;
        }
        for waiting in std::mem::take(&mut self.waiting_for_view) {
            // Whoever asked may have stopped waiting.
            let _ = waiting.send(changed);
        }
    }

    async fn event(&mut self, event: quic::Event<Payload>) {
        match &event {
            quic::Event::Connected { conn, .. } => {
                self.conns.insert(ConnId((*conn).into()), *conn);
            }
            quic::Event::Disconnected { conn, .. } => {
                self.conns.remove(&ConnId((*conn).into()));
            }
            _ => {}
        }
        self.feed(Input::Network(link::input(event))).await;
    }

    async fn dial(&mut self, resolved: Resolved) {
        let Resolved { dial, address, key } = resolved;
        let dialed = address.and_then(|address| {
            self.quic.dial(dial, address, Some(key)).map_err(|error| error.to_string())
        });
        if let Err(why) = dialed {
            let input = session_network::Input::DialFailed { dial, why };
            self.feed(Input::Network(input)).await;
        }
    }

    async fn feed(&mut self, input: Input) {
        let effects = self.call(|client, cx| client.handle(cx, input));
        self.perform(effects).await;
    }

    async fn tick(&mut self) {
        let effects = self.call(Machine::tick);
        self.perform(effects).await;
    }

    fn call(&mut self, run: impl FnOnce(&mut Client, &mut Context<'_, (), Effect>)) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut cx = Context {
            now: person::now(),
            store: &mut (),
            rng: &mut self.rng,
            effects: &mut effects,
        };
        run(&mut self.client, &mut cx);
        effects
    }

    async fn perform(&mut self, effects: Vec<Effect>) {
        let mut cancelled = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send { conn, class, frame } => {
                    if let Some(conn) = self.conns.get(&conn) {
                        // A full queue closes the connection, which is an event of its own.
                        let _ = self.quic.send(*conn, link::class_out(class), frame);
                    }
                }
                Effect::Dial { dial, address, key } => {
                    self.resolve(dial, address, link::peer_key(&key))
                }
                Effect::Close { conn, why } => {
                    if let Some(conn) = self.conns.get(&conn) {
                        self.quic.close(*conn, why);
                    }
                }
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

    // Names are looked up beside the task, so that a slow name server stops nothing else.
    fn resolve(&self, dial: u64, address: String, key: quic::PeerKey) {
        let resolved = self.resolved.clone();
        tokio::spawn(async move {
            let address = match lookup_host(&address).await {
                Ok(mut found) => found.next().ok_or_else(|| format!("{address} has no address")),
                Err(error) => Err(format!("{address}: {error}")),
            };
            // Nobody is left to tell when the program ends.
            let _ = resolved.send(Resolved { dial, address, key }).await;
        });
    }
}
