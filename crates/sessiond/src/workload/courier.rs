//! Messages of workload sessions: sealed by the node that was chosen to write, kept by the swarm of
//! whoever gets them.
//!
//! *Provided:* the receipt counts nodes of the receiver's swarm that signed that they keep the
//! message; a message that this process sent already is not sent again. *Not provided:* that a
//! message arrives only once: another member may have to send it again. Each one says its session,
//! step and key, by which readers know it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use session_client::{Answer, Client, Command, Config, Effect, Input, NewItem};
use session_core::{
    AccountId, ChainId, Context, Digest, Encode as _, Machine as _, NodeId, SessionId, sha256,
};
use session_crypto::{AccountRef, Identity, PublicIdentity, RealVerifier};
use session_messaging::content::{Content, seal_message};
use session_protocol::inbox::MESSAGES;
use session_protocol::limits::TTL_MAX;
use session_protocol::workload::Receipt;
use session_protocol::workload::oracle::{Fault, RawAnswer};
use session_protocol::{AccessRule, Checker, Membership};
use session_runtime::clock::SystemClock;
use session_runtime::entropy::OsEntropy;
use session_runtime::quic::{Decode, Events, Options, Quic};
use tokio::sync::{mpsc, oneshot, watch};

use crate::shell::{Checked, Connections, checked, of_network};

/// Messages under way.
const ORDERS_MAX: usize = 64;

/// Messages that are known to be sent.
const SENT_MAX: usize = 1024;

/// Longest sleep of the task.
const SLEEP_MAX: Duration = Duration::from_secs(1);

type Result<T> = std::result::Result<T, Fault>;
type Stored = std::result::Result<Answer, session_client::Error>;

/// Something to send.
#[derive(Clone, Copy)]
pub(super) struct Letter<'a> {
    pub(super) chain: ChainId,
    pub(super) session: SessionId,
    pub(super) step: u32,
    pub(super) workload: &'a str,
    pub(super) to: &'a str,
    pub(super) body: &'a [u8],
    /// The same for every attempt and every writer.
    pub(super) key: Digest,
}

/// Sends messages as this node.
pub(super) struct Courier {
    keys: Arc<Identity>,
    node: NodeId,
    members: watch::Sender<Arc<dyn Membership>>,
    /// The task, once something was sent.
    task: Mutex<Option<mpsc::Sender<Order>>>,
    sent: Mutex<BTreeMap<Digest, Vec<u8>>>,
    clock: SystemClock,
}

struct Order {
    command: Command,
    done: oneshot::Sender<Stored>,
}

impl Courier {
    pub(super) fn new(keys: Arc<Identity>, node: NodeId, members: Arc<dyn Membership>) -> Self {
        let (members, _) = watch::channel(members);
        let (task, sent) = (Mutex::default(), Mutex::default());
        Self { keys, node, members, task, sent, clock: SystemClock::new() }
    }

    /// Notes who the nodes are now.
    pub(super) fn membership(&self, membership: Arc<dyn Membership>) {
        self.members.send_replace(membership);
    }

    /// Sends a letter; the answer is the encoding of a
    /// [`SignedReceipt`](session_protocol::workload::SignedReceipt).
    pub(super) async fn send(&self, letter: Letter<'_>) -> Result<RawAnswer> {
        if let Some(body) = self.sent().get(&letter.key) {
            return Ok(answer(body.clone()));
        }
        let AccountRef(to) = letter.to.parse().map_err(|_| Fault::Denied)?;
        let text = std::str::from_utf8(letter.body).map_err(|_| Fault::Malformed)?;
        let keys = match self.run(Command::GetCard { account: to }).await? {
            Answer::Card(keys) => keys,
            _ => return Err(Fault::Malformed),
        };
        let stored = self.store(&letter, text, &keys).await?;
        let receipt = self.receipt(&letter, to, stored)?;
        let mut sent = self.sent();
        if sent.len() >= SENT_MAX {
            sent.pop_first();
        }
        sent.insert(letter.key, receipt.clone());
        Ok(answer(receipt))
    }

    async fn store(&self, letter: &Letter<'_>, text: &str, to: &PublicIdentity) -> Result<u16> {
        let Letter { session, step, workload, key, .. } = letter;
        let signed =
            format!("{text}\n\n(workload {workload}, session {session}, step {step}, {key})");
        let content = Content::text(self.clock.now(), signed).map_err(|_| Fault::TooLarge)?;
        let network = self.members.borrow().network();
        let mut rng = OsEntropy::new().map_err(|_| Fault::Unreachable)?;
        let data = seal_message(&*self.keys, to, network, &content, &mut rng)
            .map_err(|_| Fault::TooLarge)?;
        let item = NewItem { namespace: MESSAGES, ttl: TTL_MAX, data };
        let address = AccessRule::from(to.account_id()).address();
        match self.run(Command::Store { address, item }).await? {
            Answer::Stored(proofs) => {
                let proof = proofs.first().ok_or(Fault::Malformed)?;
                Ok(u16::try_from(proof.good()).unwrap_or(u16::MAX))
            }
            _ => Err(Fault::Malformed),
        }
    }

    fn receipt(&self, letter: &Letter<'_>, to: AccountId, stored: u16) -> Result<Vec<u8>> {
        let receipt = Receipt {
            session: letter.session,
            step: letter.step,
            message_hash: sha256(letter.body).into(),
            sender: *self.node.as_bytes(),
            receiver: *to.as_bytes(),
            time: self.clock.now(),
        };
        let mut rng = OsEntropy::new().map_err(|_| Fault::Unreachable)?;
        Ok(receipt.sign(letter.chain, stored, &*self.keys, &mut rng).to_bytes())
    }

    fn sent(&self) -> std::sync::MutexGuard<'_, BTreeMap<Digest, Vec<u8>>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(&self, command: Command) -> Result<Answer> {
        let orders = self.task().map_err(|error| {
            tracing::warn!(%error, "messages of sessions cannot be sent");
            Fault::Unreachable
        })?;
        let (done, stored) = oneshot::channel();
        if orders.send(Order { command, done }).await.is_err() {
            return Err(Fault::Unreachable);
        }
        let stored = stored.await.unwrap_or(Err(session_client::Error::Cancelled));
        stored.map_err(|error| {
            tracing::debug!(%error, "a message of a session was not sent");
            fault(&error)
        })
    }

    /// Returns the way to the task, which begins with the first message.
    fn task(&self) -> std::result::Result<mpsc::Sender<Order>, String> {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(orders) = &*task {
            return Ok(orders.clone());
        }
        let members = self.members.subscribe();
        let membership = Arc::clone(&members.borrow());
        let checker = Arc::new(Checker::new(Arc::clone(&membership), Arc::new(RealVerifier)));
        let on_frame = Arc::clone(&checker);
        let decode: Decode<Checked> = Arc::new(move |_, _, body| checked(&on_frame, &body));
        let options = Options::new(SocketAddr::from(([0, 0, 0, 0], 0)));
        let (quic, events) =
            Quic::bind(options, None, decode).map_err(|error| error.to_string())?;
        let mut config = Config::new(self.keys.clone(), membership, Arc::new(RealVerifier));
        // It only stores, and looks up cards.
        config.account = None;
        let carrier = Carrier {
            client: Client::new(config),
            connections: Connections::new(quic.clone()),
            quic,
            checker,
            waiting: BTreeMap::new(),
            last: 0,
            rng: OsEntropy::new().map_err(|error| error.to_string())?,
        };
        let (orders, inbox) = mpsc::channel(ORDERS_MAX);
        tokio::spawn(carrier.run(events, inbox, members));
        *task = Some(orders.clone());
        Ok(orders)
    }
}

fn answer(body: Vec<u8>) -> RawAnswer {
    let received = body.len() as u64;
    RawAnswer { status: 200, headers: Vec::new(), body, received }
}

fn fault(error: &session_client::Error) -> Fault {
    use session_client::Error;
    match error {
        Error::TimedOut { last: Some(last), .. } => fault(last),
        Error::TimedOut { last: None, .. } | Error::NoAnswer { .. } | Error::Cancelled => {
            Fault::Timeout
        }
        Error::Refused { .. } | Error::Invalid(_) => Fault::Denied,
        _ => Fault::Unreachable,
    }
}

/// One task owns the client and its endpoint.
struct Carrier {
    client: Client,
    quic: Quic<Checked>,
    connections: Connections,
    checker: Arc<Checker>,
    waiting: BTreeMap<u64, oneshot::Sender<Stored>>,
    last: u64,
    rng: OsEntropy,
}

impl Carrier {
    async fn run(
        mut self,
        mut events: Events<Checked>,
        mut orders: mpsc::Receiver<Order>,
        mut members: watch::Receiver<Arc<dyn Membership>>,
    ) {
        let clock = SystemClock::new();
        loop {
            let due = self.client.deadline().map(|at| Duration::from(at.since(clock.now())));
            let input = tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => Some(self.begin(order)),
                    None => break,
                },
                Some(event) = events.recv() => self.connections
                    .input(event)
                    .and_then(of_network)
                    .map(Input::Network),
                input = self.connections.looked_up() => input.map(Input::Network),
                Ok(()) = members.changed() => {
                    let membership = Arc::clone(&members.borrow_and_update());
                    self.checker.set_membership(Arc::clone(&membership));
                    Some(Input::Membership(membership))
                }
                () = tokio::time::sleep(due.unwrap_or(SLEEP_MAX).min(SLEEP_MAX)) => None,
            };
            let mut next: Vec<Input> = input.into_iter().collect();
            while let Some(input) = next.pop() {
                next.extend(self.feed(clock.now(), Some(input)));
            }
            if self.client.deadline().is_some_and(|at| at <= clock.now()) {
                let mut next = self.feed(clock.now(), None);
                while let Some(input) = next.pop() {
                    next.extend(self.feed(clock.now(), Some(input)));
                }
            }
        }
        self.quic.shutdown(SLEEP_MAX).await;
    }

    fn begin(&mut self, order: Order) -> Input {
        self.last += 1;
        self.waiting.insert(self.last, order.done);
        Input::Command { id: self.last, command: order.command }
    }

    /// Gives the client an input, or its tick; returns what came of it at once.
    fn feed(&mut self, now: session_core::Time, input: Option<Input>) -> Vec<Input> {
        let mut effects = Vec::new();
        let mut cx = Context { now, store: &mut (), rng: &mut self.rng, effects: &mut effects };
        match input {
            Some(input) => self.client.handle(&mut cx, input),
            None => self.client.tick(&mut cx),
        }
        let mut more = Vec::new();
        for effect in effects {
            match effect {
                Effect::Send { conn, class, frame } => {
                    // No onion packets go this way: nothing is dropped.
                    self.connections.send(conn, class, frame);
                }
                Effect::Dial { dial, address, key } => {
                    more.extend(self.connections.dial(dial, address, &key).map(Input::Network));
                }
                Effect::Close { conn, why } => self.connections.close(conn, why),
                Effect::Done { id, result } => {
                    if let Some(done) = self.waiting.remove(&id) {
                        // Whoever waited may have given up.
                        drop(done.send(result));
                    }
                }
                // Nothing is subscribed to.
                _ => {}
            }
        }
        more
    }
}
