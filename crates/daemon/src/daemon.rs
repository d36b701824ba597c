//! The machine that joins network and swarm.

use std::collections::BTreeSet;
use std::sync::Arc;

use session_core::{Context, Encode, List, Machine, NodeId, Time};
use session_executor::Executor;
use session_network::{Class, ConnId, From, Network};
use session_protocol::chain::view::ChainView;
use session_protocol::duty::Duty;
use session_protocol::limits::OPERATIONS_MAX;
use session_protocol::request::{Outcome, Refusal, Reply};
use session_protocol::{Inbound, Kind};
use session_storage::Store;
use session_swarm::coordinator::{self, Coordinator};
use session_swarm::{NotANode, PeerMessage, PeerMessageOut, Requester, Swarm};

use crate::health::Health;
use crate::io::{Config, Effect, Input, Report};
use crate::relay::{self, Arrived, Relay};

mod duties;
mod onions;
mod sessions;

type Cx<'a> = Context<'a, dyn Store, Effect>;

/// A service node.
pub struct Daemon {
    node: NodeId,
    network: Network,
    swarm: Swarm,
    coordinator: Option<Coordinator>,
    executor: Option<Executor>,
    relay: Option<Relay>,
    /// The packet of the frame that the network machine looks at.
    arrived: Option<Box<Arrived>>,
    chain: Option<Arc<ChainView>>,
    links: Links,
    started: bool,
    /// What the coordinator was told of the store.
    complete: bool,
}

/// Whom to be connected to.
#[derive(Default)]
struct Links {
    /// For the swarm: its members, and partners of a hand-over.
    partners: BTreeSet<NodeId>,
    /// For duties.
    duties: BTreeSet<NodeId>,
    /// For workload sessions: the members of their committees.
    sessions: BTreeSet<NodeId>,
    /// For onion packets and hop keys.
    onions: BTreeSet<NodeId>,
}

impl Daemon {
    /// Makes a node without connections.
    ///
    /// # Errors
    /// When a network file says who is a node, and it is none.
    pub fn new(config: Config) -> Result<Self, NotANode> {
        let node = config.swarm.node;
        // On a chain a node may wait for its seat; in a network file it is there or it is not.
        if config.coordinator.is_none() && config.swarm.membership.node(&node).is_none() {
            return Err(NotANode { node });
        }
        let membership = Arc::clone(&config.swarm.membership);
        Ok(Self {
            node,
            swarm: Swarm::new(config.swarm),
            coordinator: config.coordinator.map(Coordinator::new),
            executor: config.sessions.map(Executor::new),
            relay: config.onions.map(|onions| Relay::new(node, onions, membership)),
            arrived: None,
            chain: None,
            links: Links::default(),
            network: Network::new(config.network),
            started: false,
            complete: false,
        })
    }

    /// Answers new requests with `not ready` from here on; what is under way is finished.
    pub const fn drain(&mut self) {
        self.swarm.drain();
    }

    /// Returns the duties of the node, if a chain gives it any.
    #[must_use]
    pub const fn coordinator(&self) -> Option<&Coordinator> {
        self.coordinator.as_ref()
    }

    /// Returns the workload sessions of the node, if it takes part in any.
    #[must_use]
    pub const fn executor(&self) -> Option<&Executor> {
        self.executor.as_ref()
    }

    /// Returns how far the hand-over of inboxes is, while there is one.
    #[must_use]
    pub fn handing_over(&self) -> Option<session_swarm::Progress> {
        self.swarm.handing_over()
    }

    /// Returns what the chain said last.
    #[must_use]
    pub const fn chain(&self) -> Option<&Arc<ChainView>> {
        self.chain.as_ref()
    }

    /// Returns how the node is.
    #[must_use]
    pub fn health(&self, store: &dyn Store) -> Health {
        let swarm = self.swarm.health();
        Health {
            node: self.node,
            ready: swarm.members_up >= swarm.quorum && !swarm.draining,
            swarm,
            swarm_stats: *self.swarm.stats(),
            network_stats: *self.network.stats(),
            peers: self.network.peers().collect(),
            clients: self.network.clients(),
            store: store.stats(),
            chain: self.chain_health(),
            onions: self.relay.as_ref().map(Relay::stats),
        }
    }

    /// Lends the doors to the network machine, and follows what it leaves behind.
    fn network<R>(
        &mut self,
        cx: &mut Cx<'_>,
        call: impl FnOnce(&mut Network, &mut Context<'_, (), session_network::Effect>) -> R,
    ) -> R {
        let mut effects = Vec::new();
        let mut inner =
            Context { now: cx.now, store: &mut (), rng: &mut *cx.rng, effects: &mut effects };
        let result = call(&mut self.network, &mut inner);
        for effect in effects {
            self.network_effect(cx, effect);
        }
        result
    }

    /// The same for the swarm machine.
    fn swarm(&mut self, cx: &mut Cx<'_>, input: session_swarm::Input) {
        let mut effects = Vec::new();
        self.swarm.handle(&mut cx.lend(&mut effects), input);
        self.swarm_effects(cx, effects);
    }

    fn network_effect(&mut self, cx: &mut Cx<'_>, effect: session_network::Effect) {
        use session_network::Effect as Net;
        match effect {
            Net::Send { conn, class, frame } => {
                cx.effects.push(Effect::Send { conn, class, frame });
            }
            Net::Dial { dial, address, key } => {
                cx.effects.push(Effect::Dial { dial, address, key });
            }
            Net::Close { conn, why } => cx.effects.push(Effect::Close { conn, why }),
            Net::PeerUp { node, conn } => {
                self.note_rate(cx, node, conn);
                cx.effects.push(Effect::Report(Report::PeerUp { node }));
                self.swarm(cx, session_swarm::Input::PeerUp { node });
                self.coordinate(cx, coordinator::Input::PeerUp { node });
                self.execute(cx, session_executor::Input::PeerUp { node });
                self.relay(cx, relay::Input::PeerUp { node });
            }
            Net::PeerDown { node } => {
                cx.effects.push(Effect::Report(Report::PeerDown { node }));
                self.swarm(cx, session_swarm::Input::PeerDown { node });
                self.coordinate(cx, coordinator::Input::PeerDown { node });
                self.execute(cx, session_executor::Input::PeerDown { node });
                self.relay(cx, relay::Input::PeerDown { node });
            }
            Net::ClientDown { conn } => {
                let from = client(conn);
                self.swarm(cx, session_swarm::Input::RequesterGone { from });
            }
            Net::Message { from, message } => self.message(cx, from, message),
            Net::Limited { from, request_id, operations, retry_after } => {
                let refusal = Refusal::RateLimited { retry_after };
                self.refuse(cx, from, request_id, operations, &refusal);
            }
            Net::Unreachable { node, why } => {
                cx.effects.push(Effect::Report(Report::Unreachable { node, why }));
                self.coordinate(cx, coordinator::Input::Unreachable { node });
            }
            Net::Penalized { from, why } => {
                cx.effects.push(Effect::Report(Report::Penalized { from, why }));
            }
            // Clients are counted by the network machine.
            _ => {}
        }
    }

    fn message(&mut self, cx: &mut Cx<'_>, from: From, message: Inbound) {
        let message = match (from, message) {
            (From::Client(conn), Inbound::Request(request)) => {
                return self.request(cx, client(conn), request);
            }
            (From::Node(_), Inbound::Request(request)) => {
                let refusal = Refusal::not_ready("a node asks over a client's connection");
                return self.refuse(cx, from, request.id, request.operations.len(), &refusal);
            }
            (From::Node(node), Inbound::Duty(duty)) => return self.duty(cx, node, duty),
            (from, Inbound::Onion(onion)) => return self.onion(cx, from, onion),
            (From::Node(node), Inbound::HopKeys(message)) => {
                let message = message.into_inner();
                return self.relay(cx, relay::Input::Keys { node, message });
            }
            (From::Node(node), Inbound::Workload(message)) => {
                return self.execute(cx, session_executor::Input::FromPeer { node, message });
            }
            (_, Inbound::Replicate(replicate)) => PeerMessage::Replicate(replicate),
            (_, Inbound::Receipts(receipts)) => PeerMessage::Receipts(receipts),
            (_, Inbound::Operations(operations)) => PeerMessage::Operations(operations),
            (_, Inbound::Sync(sync)) => PeerMessage::Sync(sync),
            // Answers to requests that a node never made.
            _ => return,
        };
        // The network machine lets no client send these; if it did, nothing would come of it.
        if let From::Node(node) = from {
            self.swarm(cx, session_swarm::Input::FromPeer { node, message });
        }
    }

    /// Answers every operation of a request with the same refusal.
    fn refuse(&mut self, cx: &mut Cx<'_>, to: From, id: u64, operations: usize, refusal: &Refusal) {
        let refused = Outcome::Refused { refusal: refusal.clone() };
        let outcomes =
            List::new(vec![refused; operations.min(OPERATIONS_MAX)]).expect("cut to the limit");
        let reply =
            Reply { id, server_time: cx.now, roots: List::new([]).expect("none are"), outcomes };
        self.send(cx, to, Class::Interactive, Kind::Reply, &reply);
    }

    fn swarm_effects(&mut self, cx: &mut Cx<'_>, effects: Vec<session_swarm::Effect>) {
        for effect in effects {
            self.swarm_effect(cx, effect);
        }
        if self.complete != self.swarm.is_complete() {
            self.complete = !self.complete;
            self.coordinate(cx, coordinator::Input::Complete(self.complete));
        }
    }

    fn swarm_effect(&mut self, cx: &mut Cx<'_>, effect: session_swarm::Effect) {
        use session_swarm::Effect as Swarm;
        match effect {
            Swarm::Reply { to, reply } => self.reply(cx, to, reply),
            Swarm::Push { to, push } => match requester(to) {
                Asker::Local(id) => cx.effects.push(Effect::LocalPush { id, push }),
                Asker::Client(conn) => {
                    self.send(cx, From::Client(conn), Class::Interactive, Kind::Push, &push);
                }
                Asker::Onion(id) => self.relay(cx, relay::Input::Pushed { id, push }),
            },
            Swarm::ToPeers { nodes, bulk, message } => {
                let class = if bulk { Class::Bulk } else { Class::Interactive };
                for node in nodes {
                    let to = From::Node(node);
                    match &message {
                        PeerMessageOut::Replicate(m) => {
                            self.send(cx, to, class, Kind::Replicate, m)
                        }
                        PeerMessageOut::Receipts(m) => self.send(cx, to, class, Kind::Receipt, m),
                        PeerMessageOut::Operations(m) => {
                            self.send(cx, to, class, Kind::Operations, m)
                        }
                        PeerMessageOut::Sync(m) => self.send(cx, to, class, Kind::Sync, m),
                        PeerMessageOut::Taken { epoch } => {
                            let taken = Duty::Taken { epoch: *epoch };
                            self.send(cx, to, class, Kind::Duty, &taken)
                        }
                    };
                }
            }
            Swarm::SignReceipts { ticket, receipts } => {
                cx.effects.push(Effect::SignReceipts { ticket, receipts });
            }
            Swarm::Promised { promise } => {
                self.coordinate(cx, coordinator::Input::Promised { promise });
            }
            Swarm::Misbehaved { node, why } => {
                let why = why.to_owned();
                let input = session_network::Input::Misbehaved { node, why };
                self.network(cx, |network, cx| network.handle(cx, input));
            }
        }
    }

    fn reply(&mut self, cx: &mut Cx<'_>, to: Requester, reply: Reply) {
        match requester(to) {
            Asker::Local(id) => cx.effects.push(Effect::LocalReply { id, reply }),
            Asker::Client(conn) => {
                self.send(cx, From::Client(conn), Class::Interactive, Kind::Reply, &reply);
            }
            Asker::Onion(id) => {
                let quorum = self.swarm.health().quorum;
                self.relay(cx, relay::Input::Replied { id, reply, quorum });
            }
        }
    }

    // Whoever is gone by now misses it, as if it were lost on the way.
    fn send(
        &mut self,
        cx: &mut Cx<'_>,
        to: From,
        class: Class,
        kind: Kind,
        message: &impl Encode,
    ) -> bool {
        self.network(cx, |network, cx| network.send_to(cx, to, class, kind, message))
    }

    fn start(&mut self, cx: &mut Cx<'_>) {
        self.started = true;
        self.keep_links(cx);
    }

    fn update_heartbeat(&mut self, cx: &Cx<'_>) {
        let health = self.swarm.health();
        let writable = health.writable && !health.draining;
        self.network.set_health(writable, cx.store.stats().items);
    }
}

impl Machine for Daemon {
    type Store = dyn Store;
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Network(input) => {
                self.network(cx, |network, cx| network.handle(cx, input));
            }
            Input::Frame { conn, class, size, heard } => {
                self.arrived = heard.packet;
                let frame = session_network::Input::Frame { conn, class, size, frame: heard.frame };
                self.network(cx, |network, cx| network.handle(cx, frame));
                // Over a limit, it was not handed up.
                self.arrived = None;
            }
            Input::Local { id, request } => self.request(cx, local(id), request),
            Input::LocalGone { id } => {
                self.swarm(cx, session_swarm::Input::RequesterGone { from: local(id) });
            }
            Input::ReceiptsSigned { ticket, root, proofs } => {
                self.swarm(cx, session_swarm::Input::ReceiptsSigned { ticket, root, proofs });
            }
            Input::View(view) => self.view(cx, view),
            Input::FreeBytes(bytes) => {
                self.coordinate(cx, coordinator::Input::FreeBytes(bytes));
            }
            Input::CommitmentTx { node, epoch, bytes } => {
                self.coordinate(cx, coordinator::Input::CommitmentTx { node, epoch, bytes });
            }
            Input::Away { epochs } => self.announce(cx, epochs),
            Input::PutBlob { id, bytes } => self.put_blob(cx, id, bytes),
            Input::CreateSession { id, session, program, input } => {
                let create = session_executor::Input::Create { id, session, program, input };
                self.ask_sessions(cx, id, create);
            }
            Input::AskSession { id, question } => {
                self.ask_sessions(cx, id, session_executor::Input::Ask { id, question });
            }
            Input::Ran(ran) => self.execute(cx, session_executor::Input::Ran(ran)),
            Input::Fetched { session, request, outcome } => {
                let fetched = session_executor::Input::Fetched { session, request, outcome };
                self.execute(cx, fetched);
            }
            Input::Flush => {
                self.swarm(cx, session_swarm::Input::Flush);
                self.update_heartbeat(cx);
            }
        }
    }

    fn deadline(&self) -> Option<Time> {
        if !self.started {
            return Some(Time::ZERO);
        }
        let duties = self.coordinator.as_ref().and_then(Machine::deadline);
        let sessions = self.executor.as_ref().and_then(Machine::deadline);
        let onions = self.relay.as_ref().and_then(Machine::deadline);
        let all = [self.network.deadline(), self.swarm.deadline(), duties, sessions, onions];
        all.into_iter().flatten().min()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        if !self.started {
            self.start(cx);
        }
        if self.network.deadline().is_some_and(|at| at <= cx.now) {
            self.update_heartbeat(cx);
            self.network(cx, |network, cx| network.tick(cx));
        }
        if self.swarm.deadline().is_some_and(|at| at <= cx.now) {
            let mut effects = Vec::new();
            self.swarm.tick(&mut cx.lend(&mut effects));
            self.swarm_effects(cx, effects);
            // Partners are done with each other one by one.
            self.keep_links(cx);
        }
        let duties = self.coordinator.as_ref().and_then(Machine::deadline);
        if duties.is_some_and(|at| at <= cx.now) {
            self.tick_coordinator(cx);
        }
        let sessions = self.executor.as_ref().and_then(Machine::deadline);
        if sessions.is_some_and(|at| at <= cx.now) {
            self.tick_executor(cx);
        }
        let onions = self.relay.as_ref().and_then(Machine::deadline);
        if onions.is_some_and(|at| at <= cx.now) {
            self.tick_relay(cx);
        }
    }
}

/// Who is behind a requester's number.
enum Asker {
    Client(ConnId),
    Local(u64),
    /// A request at the end of its path.
    Onion(u64),
}

// The lowest two bits tell them apart; none numbers beyond 2^62.
const fn client(conn: ConnId) -> Requester {
    Requester(conn.0 << 2)
}

const fn local(id: u64) -> Requester {
    Requester((id << 2) | 1)
}

const fn onion(id: u64) -> Requester {
    Requester((id << 2) | 2)
}

const fn requester(Requester(number): Requester) -> Asker {
    match number & 3 {
        0 => Asker::Client(ConnId(number >> 2)),
        1 => Asker::Local(number >> 2),
        _ => Asker::Onion(number >> 2),
    }
}
