//! A client, some scripted nodes, and time.
//!
//! Each node has a real overlay and a real checker; what it does with requests is an ideal swarm's
//! behaviour, which a test can refuse or twist.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use session_client::Mode;
use session_client::{Answer, Client, Command, Config, Effect, Error, Input, Limits};
use session_core::merkle::Proof;
use session_core::{
    Context, Entropy as _, InboxAddress, List, Machine, MessageId, NodeId, SeededEntropy, Span,
    SwarmId, Text, Time,
};
use session_crypto::Signer;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_network::onion::{AnswerKey, BackKey, Packet, Service};
use session_network::{Class, ConnId, From, Network, Role};
use session_protocol::inbound::{CheckedOperation, CheckedRequest, Deposit};
use session_protocol::inbox::{BOXES, COMMITS, message_id, slot_of};
use session_protocol::membership::Holder;
use session_protocol::owner::{OwnerAction, OwnerOperation};
use session_protocol::receipt::{ReceiptPath, SignedRoot, StorageReceipt, sign_receipts};
use session_protocol::request::{
    Cursor, Expiring, Info, Item, Operation, Outcome, Push, Refusal, Reply, Select,
};
use session_protocol::{
    AccessRule, Checker, Frame, Inbound, Kind, Membership, NodeRecord, StaticMembership,
};

pub(crate) mod relay;

use relay::{Relay, Trail, Waiting};

/// One way through the air.
const LATENCY: Span = Span::from_millis(10);

/// The client's clock at the start.
pub(crate) const START: Time = Time::from_millis(1_800_000_000_000);

/// Refuses a request before anything is done.
type Refuse = Box<dyn FnMut(&CheckedRequest, Time) -> Option<Refusal>>;

/// Changes an honest reply; `None` is silence.
type Twist = Box<dyn FnMut(&CheckedRequest, Reply) -> Option<Reply>>;

pub(crate) struct Node {
    pub(crate) keys: Arc<FakeIdentity>,
    pub(crate) up: bool,
    pub(crate) refuse: Option<Refuse>,
    pub(crate) twist: Option<Twist>,
    /// What it keeps, in order of arrival.
    pub(crate) shelf: Vec<(InboxAddress, Item)>,
    pub(crate) incarnation: u64,
    /// Requests it got.
    pub(crate) asked: Vec<CheckedRequest>,
    /// Whether it pushes to its subscribers.
    pub(crate) pushes: bool,
    /// How far its clock is ahead.
    pub(crate) ahead: Span,
    /// How much longer than usual everything takes that it says.
    pub(crate) slow: Span,
    /// Who wants which inbox pushed.
    subscribers: BTreeSet<(ConnId, InboxAddress)>,
    /// Most inboxes that it pushes to one connection.
    pub(crate) pushed_max: usize,
    pub(crate) relay: Relay,
    overlay: Network,
    checker: Checker,
}

enum Event {
    Client(session_network::Input),
    Node(usize, session_network::Input),
    /// A packet is at a hop.
    Packet(usize, Vec<u8>, Trail),
    /// A payload is with its exit.
    Exit(usize, Service, Vec<u8>, AnswerKey, Trail),
    /// An answer is at a hop.
    Back(usize, Vec<u8>, BackKey, Trail),
    /// An answer leaves a hop that kept it.
    Late(usize, Packet, Trail),
    /// Nothing came that an exit was to wait for.
    WaitOver(u64),
}

/// What runs in a world: a client, or something around one.
pub(crate) trait Driven: Machine<Store = (), Input = Input, Effect = Effect> {}

impl<C: Machine<Store = (), Input = Input, Effect = Effect>> Driven for C {}

pub(crate) struct World<C = Client> {
    pub(crate) now: Time,
    pub(crate) client: C,
    pub(crate) account: Arc<FakeIdentity>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) membership: Arc<StaticMembership>,
    pub(crate) done: BTreeMap<u64, Result<Answer, Error>>,
    pub(crate) said: Vec<Effect>,
    pub(crate) largest_frame: usize,
    /// Whether puzzles are solved, and how many were.
    pub(crate) solves: bool,
    pub(crate) solved: usize,
    rng: SeededEntropy,
    events: BTreeMap<(Time, u64), Event>,
    events_made: u64,
    conns: BTreeMap<ConnId, usize>,
    conns_made: u64,
    commands: u64,
    client_checker: Checker,
    /// Requests that exits answer when something arrives.
    waiting: Vec<Waiting>,
}

fn overlay(keys: &Arc<FakeIdentity>, membership: &Arc<StaticMembership>) -> Network {
    let keys: Arc<dyn Signer> = keys.clone();
    let role = Role::Node { listen: Text::default() };
    Network::new(session_network::Config::new(role, keys, membership.clone()))
}

fn checker(membership: &Arc<StaticMembership>) -> Checker {
    Checker::new(membership.clone(), Arc::new(FakeVerifier))
}

impl World {
    /// A swarm of some nodes and a client with an account.
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        Self::with(seed, &[(SwarmId(1), nodes)], |_| {})
    }

    pub(crate) fn with(
        seed: u64,
        swarms: &[(SwarmId, usize)],
        change: impl FnOnce(&mut Limits),
    ) -> Self {
        Self::around(seed, swarms, |mut config| {
            change(&mut config.limits);
            Client::new(config)
        })
    }
}

impl<C: Driven> World<C> {
    /// Some swarms, and what is made of the configuration of a client.
    pub(crate) fn around(
        seed: u64,
        swarms: &[(SwarmId, usize)],
        make: impl FnOnce(Config) -> C,
    ) -> Self {
        let place = |index| (format!("192.0.2.1:{index}"), Holder::default());
        Self::placed(seed, swarms, place, make)
    }

    /// The same, with nodes that are somewhere and somebody's.
    pub(crate) fn placed(
        seed: u64,
        swarms: &[(SwarmId, usize)],
        place: impl Fn(usize) -> (String, Holder),
        make: impl FnOnce(Config) -> C,
    ) -> Self {
        let mut rng = SeededEntropy::new(seed);
        let mut all = Vec::new();
        for &(swarm, count) in swarms {
            all.extend((0..count).map(|_| (Arc::new(FakeIdentity::generate(&mut rng)), swarm)));
        }
        let records = all.iter().enumerate().map(|(index, (keys, swarm))| NodeRecord {
            keys: keys.public().clone(),
            address: Text::new(place(index).0).unwrap(),
            swarm: *swarm,
        });
        let membership = StaticMembership::new("test", records).unwrap();
        let holders = all.iter().enumerate();
        let holders = holders.map(|(index, (keys, _))| (keys.public().node_id(), place(index).1));
        let membership = Arc::new(membership.with_holders(holders));
        let nodes = all
            .iter()
            .map(|(keys, _)| Node {
                keys: keys.clone(),
                up: true,
                refuse: None,
                twist: None,
                shelf: Vec::new(),
                incarnation: 1,
                asked: Vec::new(),
                pushes: true,
                ahead: Span::ZERO,
                slow: Span::ZERO,
                subscribers: BTreeSet::new(),
                pushed_max: 64,
                relay: Relay::new(keys.public().node_id()),
                overlay: overlay(keys, &membership),
                checker: checker(&membership),
            })
            .collect();
        let account = Arc::new(FakeIdentity::generate(&mut rng));
        let config = Config::new(account.clone(), membership.clone(), Arc::new(FakeVerifier));
        // Most tests look at what each node is asked.
        let config = Config { mode: Mode::Direct, ..config };
        Self {
            now: START,
            client: make(config),
            account,
            nodes,
            client_checker: checker(&membership),
            membership,
            done: BTreeMap::new(),
            said: Vec::new(),
            largest_frame: 0,
            solves: true,
            solved: 0,
            rng,
            events: BTreeMap::new(),
            events_made: 0,
            conns: BTreeMap::new(),
            conns_made: 0,
            commands: 0,
            waiting: Vec::new(),
        }
    }

    pub(crate) fn inbox(&self) -> InboxAddress {
        AccessRule::from(self.account.public().account_id()).address()
    }

    pub(crate) fn id(&self, node: usize) -> NodeId {
        self.nodes[node].keys.public().node_id()
    }

    pub(crate) fn index(&self, node: NodeId) -> usize {
        (0..self.nodes.len()).find(|index| self.id(*index) == node).expect("a node of ours")
    }

    pub(crate) fn command(&mut self, command: Command) -> u64 {
        self.commands += 1;
        self.input(Input::Command { id: self.commands, command });
        self.commands
    }

    /// Runs a command to its end.
    pub(crate) fn run(&mut self, command: Command) -> Result<Answer, Error> {
        let id = self.command(command);
        while !self.done.contains_key(&id) {
            assert!(self.step(Time::MAX), "nothing happens any more and command {id} is not done");
        }
        self.done.remove(&id).expect("seen above")
    }

    /// Lets some time pass.
    pub(crate) fn pass(&mut self, span: Span) {
        let until = self.now + span;
        while self.step(until) {}
        self.now = until;
    }

    /// Puts an item into some nodes' shelves, and has them push it.
    pub(crate) fn arrive(&mut self, item: &Item, nodes: &[usize]) {
        for &node in nodes {
            self.keep(node, self.inbox(), item.clone());
        }
    }

    /// Puts an item into an inbox on some nodes' shelves, and has them push it.
    pub(crate) fn arrive_at(
        &mut self,
        address: InboxAddress,
        data: &[u8],
        nodes: &[usize],
    ) -> Item {
        let mut item = self.item(BOXES, data);
        item.id = message_id(&address, BOXES, data);
        for &node in nodes {
            self.keep(node, address, item.clone());
        }
        item
    }

    pub(crate) fn item(&self, namespace: session_core::Namespace, data: &[u8]) -> Item {
        let data = session_protocol::request::ItemBytes::new(data).unwrap();
        Item {
            id: message_id(&self.inbox(), namespace, &data),
            namespace,
            timestamp: self.now,
            expiry: self.now + Span::from_days(1),
            arrival: 0,
            data,
        }
    }

    /// Ends a node with SIGKILL, so to say; its shelf stays.
    pub(crate) fn kill(&mut self, node: usize) {
        let fresh = overlay(&self.nodes[node].keys, &self.membership);
        let this = &mut self.nodes[node];
        (this.up, this.overlay, this.checker) = (false, fresh, checker(&self.membership));
        this.subscribers.clear();
        let gone: Vec<ConnId> =
            self.conns.iter().filter(|(_, at)| **at == node).map(|(conn, _)| *conn).collect();
        for conn in gone {
            self.conns.remove(&conn);
            self.after(LATENCY, Event::Client(session_network::Input::Disconnected { conn }));
        }
    }

    /// Ends a node so that nobody is told: its machine is off.
    pub(crate) fn vanish(&mut self, node: usize) {
        self.conns.retain(|_, at| *at != node);
        self.kill(node);
    }

    /// Restarts a node, so that it has forgotten everything but its shelf.
    pub(crate) fn restart(&mut self, node: usize) {
        self.kill(node);
        self.nodes[node].up = true;
    }

    /// Makes a node forget the keys of every account.
    pub(crate) fn forget_keys(&mut self, node: usize) {
        self.nodes[node].checker = checker(&self.membership);
    }

    pub(crate) fn input(&mut self, input: Input) {
        let mut effects = Vec::new();
        let mut cx =
            Context { now: self.now, store: &mut (), rng: &mut self.rng, effects: &mut effects };
        self.client.handle(&mut cx, input);
        self.perform(effects);
    }

    // Does the next thing that is due until then; tells whether there was one.
    fn step(&mut self, until: Time) -> bool {
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let alarm = self.client.deadline();
        let nodes = self.nodes.iter().filter(|n| n.up).filter_map(|n| n.overlay.deadline()).min();
        let Some(next) = [event, alarm, nodes].into_iter().flatten().min() else { return false };
        if next > until {
            return false;
        }
        self.now = self.now.max(next);
        if event.is_some_and(|at| at <= self.now) {
            let (_, event) = self.events.pop_first().expect("seen above");
            match event {
                Event::Client(input) => self.input(Input::Network(input)),
                Event::Node(node, input) => self.node_input(node, Some(input)),
                Event::Packet(node, bytes, trail) => self.hop(node, bytes, trail),
                Event::Exit(node, service, payload, answer, trail) => {
                    if self.nodes[node].up {
                        self.exit(node, service, &payload, answer, trail);
                    }
                }
                Event::Back(node, bytes, back, trail) => self.back(node, bytes, back, trail),
                Event::Late(node, packet, trail) => self.late(node, packet, trail),
                Event::WaitOver(number) => self.wait_over(number),
            }
        } else if alarm.is_some_and(|at| at <= self.now) {
            let mut effects = Vec::new();
            let mut cx = Context {
                now: self.now,
                store: &mut (),
                rng: &mut self.rng,
                effects: &mut effects,
            };
            self.client.tick(&mut cx);
            self.perform(effects);
            assert!(self.client.deadline().is_none_or(|at| at > self.now), "a tick leaves work");
        } else {
            for node in 0..self.nodes.len() {
                if self.nodes[node].up {
                    self.node_input(node, None);
                }
            }
        }
        true
    }

    fn after(&mut self, span: Span, event: Event) {
        self.events_made += 1;
        self.events.insert((self.now + span, self.events_made), event);
    }

    fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Dial { dial, address, .. } => self.dial(dial, &address),
                Effect::Send { conn, class, frame } => {
                    self.largest_frame = self.largest_frame.max(frame.len());
                    let Some(&node) = self.conns.get(&conn) else { continue };
                    let size = frame.len();
                    let frame = self.nodes[node].checker.check(&frame);
                    let input = session_network::Input::Frame { conn, class, size, frame };
                    self.after(LATENCY, Event::Node(node, input));
                }
                Effect::Close { conn, .. } => {
                    if let Some(node) = self.conns.remove(&conn) {
                        let input = session_network::Input::Disconnected { conn };
                        self.after(LATENCY, Event::Node(node, input));
                    }
                }
                Effect::Done { id, result } => {
                    assert!(self.done.insert(id, result).is_none(), "command {id} ended twice");
                }
                Effect::Solve { puzzle } if self.solves => {
                    let solution = puzzle.solve();
                    self.solved += 1;
                    self.input(Input::Solved { puzzle, solution });
                }
                other => self.said.push(other),
            }
        }
    }

    fn dial(&mut self, dial: u64, address: &str) {
        let node: usize = address.rsplit_once(':').expect("host:port").1.parse().expect("an index");
        if !self.nodes[node].up {
            let why = "connection refused".into();
            return self
                .after(LATENCY, Event::Client(session_network::Input::DialFailed { dial, why }));
        }
        self.conns_made += 1;
        let conn = ConnId(self.conns_made);
        self.conns.insert(conn, node);
        let remote = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let exporter = self.rng.bytes32();
        let connected = |inbound, peer_key, dial| session_network::Input::Connected {
            conn,
            inbound,
            remote,
            peer_key,
            exporter,
            dial,
        };
        let key = self.nodes[node].keys.public().dsa().clone();
        self.after(LATENCY, Event::Node(node, connected(true, None, None)));
        self.after(LATENCY, Event::Client(connected(false, Some(key), Some(dial))));
    }

    fn node_input(&mut self, node: usize, input: Option<session_network::Input>) {
        if !self.nodes[node].up {
            return;
        }
        let effects = self.overlay(node, |overlay, cx| match input {
            Some(input) => overlay.handle(cx, input),
            None => overlay.tick(cx),
        });
        for effect in effects {
            match effect {
                session_network::Effect::ClientDown { conn } => {
                    self.nodes[node].subscribers.retain(|(of, _)| *of != conn);
                }
                session_network::Effect::Message { from, message: Inbound::Request(request) } => {
                    let From::Client(conn) = from else { panic!("clients only") };
                    self.requested(node, conn, &request);
                }
                session_network::Effect::Message {
                    from: From::Client(conn),
                    message: Inbound::Onion(onion),
                } => self.packet_came(node, conn, onion),
                _ => {}
            }
        }
    }

    // Runs a node's overlay, carries its frames, and returns the rest.
    fn overlay(
        &mut self,
        node: usize,
        run: impl FnOnce(&mut Network, &mut Context<'_, (), session_network::Effect>),
    ) -> Vec<session_network::Effect> {
        let mut effects = Vec::new();
        let mut cx = Context {
            now: self.now + self.nodes[node].ahead,
            store: &mut (),
            rng: &mut self.rng,
            effects: &mut effects,
        };
        run(&mut self.nodes[node].overlay, &mut cx);
        let mut rest = Vec::new();
        for effect in effects {
            match effect {
                session_network::Effect::Send { conn, class, frame } => {
                    let size = frame.len();
                    let frame = self.client_checker.check(&frame);
                    let input = session_network::Input::Frame { conn, class, size, frame };
                    let takes = LATENCY + self.nodes[node].slow;
                    self.after(takes, Event::Client(input));
                }
                session_network::Effect::Close { conn, .. } => {
                    self.conns.remove(&conn);
                    let input = session_network::Input::Disconnected { conn };
                    self.after(LATENCY, Event::Client(input));
                }
                other => rest.push(other),
            }
        }
        rest
    }

    pub(crate) fn tell(
        &mut self,
        node: usize,
        conn: ConnId,
        kind: Kind,
        message: &impl session_core::Encode,
    ) {
        assert!(Frame::encode(kind, message).len() <= 1 << 20, "a node keeps to the limits");
        self.overlay(node, |overlay, cx| {
            overlay.send_to(cx, From::Client(conn), Class::Interactive, kind, message);
        });
    }

    fn requested(&mut self, node: usize, conn: ConnId, request: &CheckedRequest) {
        if let Some(reply) = self.answer_to(node, conn, request) {
            self.tell(node, conn, Kind::Reply, &reply);
        }
    }

    fn answer_to(&mut self, node: usize, conn: ConnId, request: &CheckedRequest) -> Option<Reply> {
        self.nodes[node].asked.push(request.clone());
        let server_time = self.now + self.nodes[node].ahead;
        let refusal = match &mut self.nodes[node].refuse {
            Some(refuse) => refuse(request, server_time),
            None => None,
        };
        let (roots, outcomes) = match refusal {
            Some(refusal) => {
                let refused = Outcome::Refused { refusal };
                (vec![], vec![refused; request.operations.len()])
            }
            None => self.serve(node, conn, request),
        };
        let reply = Reply {
            id: request.id,
            server_time,
            roots: List::new(roots).unwrap(),
            outcomes: List::new(outcomes).unwrap(),
        };
        match &mut self.nodes[node].twist {
            Some(twist) => twist(request, reply),
            None => Some(reply),
        }
    }

    // What an ideal swarm does: everything is everywhere at once.
    fn serve(
        &mut self,
        node: usize,
        conn: ConnId,
        request: &CheckedRequest,
    ) -> (Vec<SignedRoot>, Vec<Outcome>) {
        let mut stored = Vec::new();
        let mut outcomes = Vec::new();
        for operation in &request.operations {
            outcomes.push(match operation {
                Err(refusal) => Outcome::Refused { refusal: refusal.clone() },
                Ok(
                    CheckedOperation::Open(Operation::Store { .. }) | CheckedOperation::Deposit(_),
                ) => {
                    let deposit = deposit_of(operation);
                    if let Some(holder) = self.slot_holder(node, &deposit) {
                        let refusal = Refusal::SlotTaken { holder };
                        outcomes.push(Outcome::Refused { refusal });
                        continue;
                    }
                    let (receipt, duplicate) = self.store(node, deposit);
                    stored.push((outcomes.len(), receipt));
                    Outcome::Stored {
                        message: receipt.message,
                        expiry: receipt.expiry,
                        duplicate,
                        receipts: List::new(vec![]).unwrap(),
                    }
                }
                Ok(CheckedOperation::Open(operation)) => self.serve_open(node, conn, operation),
                Ok(CheckedOperation::Owner(operation)) => self.serve_owner(node, conn, operation),
            });
        }
        let receipts: Vec<StorageReceipt> = stored.iter().map(|(_, receipt)| *receipt).collect();
        let (roots, mut paths) = self.sign(node, &receipts);
        for (place, _) in stored.iter().rev() {
            let Outcome::Stored { receipts, .. } = &mut outcomes[*place] else { unreachable!() };
            *receipts = List::new(paths.pop().expect("one for each")).unwrap();
        }
        (roots, outcomes)
    }

    fn slot_holder(&self, node: usize, deposit: &Deposit) -> Option<MessageId> {
        let slot = slot_of(&deposit.data).filter(|_| deposit.namespace == COMMITS)?;
        let mut shelf = self.nodes[node].shelf.iter();
        let other = shelf.find(|(at, item)| {
            *at == deposit.address && item.data != deposit.data && slot_of(&item.data) == Some(slot)
        });
        other.map(|(_, item)| item.id)
    }

    fn store(&mut self, node: usize, deposit: Deposit) -> (StorageReceipt, bool) {
        let Deposit { address, namespace, timestamp, ttl, data, .. } = deposit;
        let message = message_id(&address, namespace, &data);
        let expiry = timestamp + ttl;
        let item = Item { id: message, namespace, timestamp, expiry, arrival: 0, data };
        let mut duplicate = false;
        for member in self.live_members(node) {
            let new = self.keep(member, address, item.clone());
            duplicate |= member == node && !new;
        }
        let (node, shelf) = (self.id(node), &self.nodes[node].shelf);
        let swarm = self.membership.node(&node).unwrap().swarm;
        let (_, Item { expiry, .. }) = shelf.iter().find(|(_, item)| item.id == message).unwrap();
        let (stored_at, expiry) = (self.now, *expiry);
        (StorageReceipt { node, swarm, address, message, expiry, stored_at }, duplicate)
    }

    fn live_members(&self, node: usize) -> Vec<usize> {
        let swarm = self.membership.node(&self.id(node)).unwrap().swarm;
        let members = self.membership.members(swarm);
        members.into_iter().map(|id| self.index(id)).filter(|at| self.nodes[*at].up).collect()
    }

    /// Signs receipts in the name of every living member of the node's swarm.
    fn sign(
        &mut self,
        node: usize,
        receipts: &[StorageReceipt],
    ) -> (Vec<SignedRoot>, Vec<Vec<ReceiptPath>>) {
        let mut paths = vec![Vec::new(); receipts.len()];
        let mut roots = Vec::new();
        if receipts.is_empty() {
            return (roots, paths);
        }
        for member in self.live_members(node) {
            let keys = self.nodes[member].keys.clone();
            let own: Vec<StorageReceipt> = receipts
                .iter()
                .map(|receipt| StorageReceipt { node: keys.public().node_id(), ..*receipt })
                .collect();
            let (root, proofs) =
                sign_receipts(self.membership.network(), &*keys, &own, &mut self.rng);
            for ((path, proof), receipt) in paths.iter_mut().zip(proofs).zip(&own) {
                path.push(path_of(roots.len(), receipt, proof));
            }
            roots.push(root);
        }
        (roots, paths)
    }

    fn keep(&mut self, node: usize, address: InboxAddress, mut item: Item) -> bool {
        let this = &mut self.nodes[node];
        if this.shelf.iter().any(|(at, kept)| *at == address && kept.id == item.id) {
            return false;
        }
        item.arrival = this.shelf.len() as u64 + 1;
        this.shelf.push((address, item.clone()));
        self.wake(node);
        let this = &mut self.nodes[node];
        if this.up && this.pushes {
            let incarnation = this.incarnation;
            for (conn, _) in this.subscribers.clone().into_iter().filter(|(_, of)| *of == address) {
                self.push(node, conn, &Push { address, incarnation, item: item.clone() });
            }
        }
        true
    }

    pub(crate) fn push(&mut self, node: usize, conn: ConnId, push: &Push) {
        self.tell(node, conn, Kind::Push, push);
    }

    pub(crate) fn subscriber(&self, node: usize) -> Option<ConnId> {
        self.nodes[node].subscribers.first().map(|(conn, _)| *conn)
    }

    fn serve_open(&mut self, node: usize, conn: ConnId, operation: &Operation) -> Outcome {
        match operation {
            Operation::RetrievePublic { address, namespace, select, bytes_max } => {
                self.page(node, *address, *namespace, select, *bytes_max)
            }
            Operation::GetSwarm { .. } => {
                let swarm = self.membership.node(&self.id(node)).unwrap().swarm;
                Outcome::Swarm { swarm, members: self.membership.member_list(swarm) }
            }
            Operation::Info => Outcome::Info {
                info: Info {
                    node: self.id(node),
                    network: self.membership.network(),
                    swarm: SwarmId(1),
                    version: Text::new("test").unwrap(),
                    time: self.now,
                    items: self.nodes[node].shelf.len() as u64,
                    members_up: 1,
                    members: 1,
                },
            },
            Operation::HopKeys { bits, bucket, after, bytes_max } => {
                self.hop_keys(node, (*bits, *bucket), *after, *bytes_max)
            }
            Operation::Unsubscribe { address } => {
                self.nodes[node].subscribers.remove(&(conn, *address));
                Outcome::Unsubscribed
            }
            other => panic!("not open: {other:?}"),
        }
    }

    fn serve_owner(&mut self, node: usize, conn: ConnId, operation: &OwnerOperation) -> Outcome {
        let address = operation.rule.address();
        match &operation.action {
            OwnerAction::Retrieve { namespace, select, bytes_max, audience } => {
                assert_eq!(*audience, self.id(node), "signed for the node that is asked");
                self.page(node, address, *namespace, select, *bytes_max)
            }
            OwnerAction::Subscribe { audience, .. } => {
                assert_eq!(*audience, self.id(node), "signed for the node that is asked");
                let this = &mut self.nodes[node];
                let got = this.subscribers.iter().filter(|(of, _)| *of == conn).count();
                if got >= this.pushed_max && !this.subscribers.contains(&(conn, address)) {
                    let limit = this.pushed_max as u64;
                    let refusal = Refusal::too_large("subscriptions", got as u64 + 1, limit);
                    return Outcome::Refused { refusal };
                }
                this.subscribers.insert((conn, address));
                Outcome::Subscribed { cursor: Cursor::default() }
            }
            OwnerAction::Delete { ids } => {
                for other in &mut self.nodes {
                    other.shelf.retain(|(at, item)| *at != address || !ids.contains(&item.id));
                }
                Outcome::Deleted { ids: ids.clone(), nodes: 10 }
            }
            OwnerAction::Expire { ids, expiry, .. } => {
                let expiry = *expiry;
                let expiries: Vec<Expiring> =
                    ids.iter().map(|id| Expiring { id: *id, expiry }).collect();
                Outcome::Expiring { expiries: List::new(expiries).unwrap(), nodes: 10 }
            }
            other => panic!("unknown action {other:?}"),
        }
    }

    fn page(
        &self,
        node: usize,
        address: InboxAddress,
        namespace: session_core::Namespace,
        select: &Select,
        bytes_max: u32,
    ) -> Outcome {
        let this = &self.nodes[node];
        let start = match select {
            Select::After { cursor } if cursor.incarnation == this.incarnation => cursor.arrival,
            _ => 0,
        };
        let wanted = |item: &Item| match select {
            Select::After { .. } => item.arrival > start,
            Select::Ids { ids } => ids.contains(&item.id),
        };
        let mut items: Vec<Item> = Vec::new();
        let (mut bytes, mut more) = (0, false);
        for (at, item) in &this.shelf {
            if *at != address || item.namespace != namespace || !wanted(item) {
                continue;
            }
            bytes += item.data.len();
            if !items.is_empty() && bytes > bytes_max as usize {
                more = true;
                break;
            }
            items.push(item.clone());
        }
        let arrival = items.last().map_or(start, |item| item.arrival);
        let cursor = Cursor { incarnation: this.incarnation, arrival };
        Outcome::Items { items: List::new(items).unwrap(), cursor, more }
    }
}

// What is stored without a capability is stored as what is stored with one.
fn deposit_of(operation: &Result<CheckedOperation, Refusal>) -> Deposit {
    match operation.clone() {
        Ok(CheckedOperation::Deposit(deposit)) => deposit.into_inner(),
        Ok(CheckedOperation::Open(Operation::Store {
            address,
            namespace,
            timestamp,
            ttl,
            data,
        })) => Deposit { address, namespace, timestamp, ttl, data, solved: 0 },
        other => panic!("only stores come here: {other:?}"),
    }
}

pub(crate) fn path_of(root: usize, receipt: &StorageReceipt, proof: Proof) -> ReceiptPath {
    let root = u16::try_from(root).unwrap();
    ReceiptPath { root, expiry: receipt.expiry, stored_at: receipt.stored_at, proof }
}

/// The ids of items, in order.
pub(crate) fn ids(items: &[Item]) -> Vec<MessageId> {
    items.iter().map(|item| item.id).collect()
}
