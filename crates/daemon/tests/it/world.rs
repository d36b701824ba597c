//! Whole nodes and one client, joined by wires that lose nothing and take no time.

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use session_core::{
    Blob, Context, Digest, Entropy as _, List, Machine as _, NodeId, SeededEntropy, Span, SwarmId,
    Text, Time,
};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{DsaPublicKey, Signer};
use session_daemon::{Config, Daemon, Effect, Input, relay};
use session_network::onion::{Opener, Packet};
use session_network::{Class, ConnId, Network, Rate, Role};
use session_protocol::onion::Onion;
use session_protocol::receipt::sign_receipts;
use session_protocol::request::{Operation, Push, Reply, Request};
use session_protocol::workload::Message;
use session_protocol::workload::message::{Answer, SessionRefusal, Talk};
use session_protocol::{Checker, Frame, Inbound, Kind, Membership, NodeRecord, StaticMembership};
use session_storage::{MemoryStore, Store};

pub(crate) struct Node {
    pub(crate) id: NodeId,
    keys: Arc<FakeIdentity>,
    pub(crate) daemon: Daemon,
    pub(crate) store: MemoryStore,
    pub(crate) is_up: bool,
    opener: Option<Arc<Opener>>,
}

/// What a node makes of an onion packet that it should send.
pub(crate) type Harm = fn(Onion) -> Vec<Onion>;

/// One end of a connection: a node, or the client.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Node(usize),
    Client,
}

enum Event {
    Input(End, session_network::Input),
    Frame(End, ConnId, Class, Vec<u8>),
}

/// What some nodes have and others do not.
type Parts = (Option<session_executor::Config>, Option<relay::Config>);

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) nodes: Vec<Node>,
    pub(crate) membership: Arc<StaticMembership>,
    pub(crate) checker: Checker,
    pub(crate) rng: SeededEntropy,
    client: Network,
    queue: VecDeque<Event>,
    /// Both ends of each connection, by the number it has at one end.
    wires: BTreeMap<ConnId, (End, ConnId)>,
    conns: u64,
    pub(crate) client_conn: Option<ConnId>,
    pub(crate) replies: Vec<Reply>,
    pub(crate) pushes: Vec<Push>,
    pub(crate) local: Vec<(u64, Reply)>,
    pub(crate) local_pushes: Vec<(u64, Push)>,
    pub(crate) blobs: Vec<(u64, Result<Digest, SessionRefusal>)>,
    pub(crate) answers: Vec<(u64, Answer)>,
    /// What nodes said to each other about workload sessions.
    pub(crate) talk: Vec<Talk>,
    /// Onion packets that came to the client.
    pub(crate) onions: Vec<Onion>,
    /// Connections of which packets are opened at another rate than a client's.
    pub(crate) rates: Vec<(ConnId, Rate)>,
    /// A node that does harm to packets.
    pub(crate) harm: Option<(usize, Harm)>,
}

fn config(keys: &Arc<FakeIdentity>, membership: &Arc<StaticMembership>) -> Config {
    let view: Arc<dyn Membership> = Arc::<StaticMembership>::clone(membership);
    let signer: Arc<dyn Signer> = Arc::<FakeIdentity>::clone(keys);
    let node = keys.public().node_id();
    let role = Role::Node { listen: Text::new("anywhere").unwrap() };
    let network = session_network::Config::new(role, signer, Arc::clone(&view));
    let swarm = session_swarm::Config::new(node, view);
    Config { network, swarm, coordinator: None, sessions: None, onions: None }
}

impl World {
    pub(crate) fn new(count: usize) -> Self {
        Self::of(count, |_| (None, None))
    }

    /// Nodes that are hops and exits.
    pub(crate) fn with_onions(count: usize) -> Self {
        Self::of(count, |keys| (None, Some(relay::Config::new(Arc::<FakeIdentity>::clone(keys)))))
    }

    /// Nodes that take part in workload sessions.
    pub(crate) fn with_sessions(count: usize) -> Self {
        let sessions = |keys: &Arc<FakeIdentity>| {
            let config = session_executor::Config {
                node: keys.public().node_id(),
                keys: Arc::<FakeIdentity>::clone(keys),
                verifier: Arc::new(FakeVerifier),
                sessions_max: 4,
            };
            (Some(config), None)
        };
        let world = Self::of(count, sessions);
        world.checker.set_sessions([0xc1; 32].into(), Arc::default());
        world
    }

    fn of(count: usize, parts: fn(&Arc<FakeIdentity>) -> Parts) -> Self {
        let mut rng = SeededEntropy::new(count as u64);
        let keys: Vec<Arc<FakeIdentity>> =
            (0..count).map(|_| Arc::new(FakeIdentity::generate(&mut rng))).collect();
        let records = keys.iter().enumerate().map(|(index, keys)| NodeRecord {
            keys: keys.public().clone(),
            address: Text::new(index.to_string()).unwrap(),
            swarm: SwarmId(0),
        });
        let membership = Arc::new(StaticMembership::new("test", records).unwrap());
        let view: Arc<dyn Membership> = Arc::<StaticMembership>::clone(&membership);
        let nodes = keys
            .into_iter()
            .map(|keys| {
                let (sessions, onions) = parts(&keys);
                let config = Config { sessions, onions, ..config(&keys, &membership) };
                Node {
                    id: keys.public().node_id(),
                    daemon: Daemon::new(config).unwrap(),
                    store: MemoryStore::new(rng.next_u64()),
                    is_up: true,
                    opener: None,
                    keys,
                }
            })
            .collect();
        let anyone: Arc<dyn Signer> = Arc::new(FakeIdentity::generate(&mut rng));
        let network = session_network::Config::new(Role::Client, anyone, Arc::clone(&view));
        Self {
            now: Time::from_millis(1_800_000_000_000),
            nodes,
            membership,
            checker: Checker::new(view, Arc::new(FakeVerifier)),
            rng,
            client: Network::new(network),
            queue: VecDeque::new(),
            wires: BTreeMap::new(),
            conns: 0,
            client_conn: None,
            replies: Vec::new(),
            pushes: Vec::new(),
            local: Vec::new(),
            local_pushes: Vec::new(),
            blobs: Vec::new(),
            answers: Vec::new(),
            talk: Vec::new(),
            onions: Vec::new(),
            rates: Vec::new(),
            harm: None,
        }
    }

    /// Runs a group of inputs on a node: flush, commit, perform, sign.
    pub(crate) fn feed(&mut self, index: usize, mut inputs: Vec<Input>, tick: bool) {
        inputs.push(Input::Flush);
        loop {
            let node = &mut self.nodes[index];
            let mut effects = Vec::new();
            let store: &mut (dyn Store + 'static) = &mut node.store;
            let (now, rng) = (self.now, &mut self.rng);
            let mut cx = Context { now, store, rng, effects: &mut effects };
            if tick {
                node.daemon.tick(&mut cx);
            }
            for input in inputs.drain(..) {
                node.daemon.handle(&mut cx, input);
            }
            node.store.commit_now();
            inputs = self.perform(index, effects);
            if inputs.is_empty() {
                return;
            }
        }
    }

    fn perform(&mut self, index: usize, effects: Vec<Effect>) -> Vec<Input> {
        let (mut tickets, mut all) = (Vec::new(), Vec::new());
        for effect in effects {
            match effect {
                Effect::Send { conn, class, frame } => {
                    for frame in self.harmed(index, frame) {
                        self.carry(conn, class, frame);
                    }
                }
                Effect::OpenOnions(opener) => self.nodes[index].opener = Some(opener),
                Effect::OnionRate { conn, rate } => self.rates.push((conn, rate)),
                Effect::Dial { dial, address, key } => {
                    self.dial(End::Node(index), dial, &address, &key);
                }
                Effect::Close { conn, .. } => self.close(conn),
                Effect::SignReceipts { ticket, receipts } => {
                    tickets.push((ticket, receipts.len()));
                    all.extend(receipts);
                }
                Effect::LocalReply { id, reply } => self.local.push((id, reply)),
                Effect::LocalPush { id, push } => self.local_pushes.push((id, push)),
                Effect::BlobStored { id, result } => self.blobs.push((id, result)),
                Effect::SessionAnswer { id, answer } => self.answers.push((id, answer)),
                _ => {}
            }
        }
        if all.is_empty() {
            return Vec::new();
        }
        let network = self.membership.network();
        let (root, proofs) = sign_receipts(network, &*self.nodes[index].keys, &all, &mut self.rng);
        let mut proofs = proofs.into_iter();
        let signed = tickets.into_iter().map(|(ticket, count)| {
            let proofs = proofs.by_ref().take(count).collect();
            Input::ReceiptsSigned { ticket, root: root.clone(), proofs }
        });
        signed.collect()
    }

    fn harmed(&self, index: usize, frame: Vec<u8>) -> Vec<Vec<u8>> {
        match (self.harm, Frame::split(&frame)) {
            (Some((bad, harm)), Ok((Kind::Onion, payload))) if bad == index => {
                let onion = Frame::payload(Kind::Onion, payload).expect("a node sent it");
                harm(onion).iter().map(|onion| Frame::encode(Kind::Onion, onion)).collect()
            }
            _ => vec![frame],
        }
    }

    fn client_call(
        &mut self,
        call: impl FnOnce(&mut Network, &mut Context<'_, (), session_network::Effect>),
    ) {
        let mut effects = Vec::new();
        let mut cx =
            Context { now: self.now, store: &mut (), rng: &mut self.rng, effects: &mut effects };
        call(&mut self.client, &mut cx);
        for effect in effects {
            use session_network::Effect as Net;
            match effect {
                Net::Send { conn, class, frame } => self.carry(conn, class, frame),
                Net::Dial { dial, address, key } => self.dial(End::Client, dial, &address, &key),
                Net::Close { conn, .. } => self.close(conn),
                Net::PeerUp { conn, .. } => self.client_conn = Some(conn),
                Net::Message { message: Inbound::Reply(reply), .. } => self.replies.push(reply),
                Net::Message { message: Inbound::Push(push), .. } => self.pushes.push(push),
                Net::Message { message: Inbound::Onion(onion), .. } => self.onions.push(onion),
                _ => {}
            }
        }
    }

    fn dial(&mut self, from: End, dial: u64, address: &str, key: &DsaPublicKey) {
        let to: usize = address.parse().unwrap();
        let node = &self.nodes[to];
        if !node.is_up || node.keys.public().dsa() != key {
            let why = "nobody answers".to_owned();
            let failed = session_network::Input::DialFailed { dial, why };
            return self.queue.push_back(Event::Input(from, failed));
        }
        let (here, there) = (ConnId(self.conns + 1), ConnId(self.conns + 2));
        self.conns += 2;
        self.wires.insert(here, (End::Node(to), there));
        self.wires.insert(there, (from, here));
        let exporter = self.rng.bytes32();
        let remote = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let from_key = match from {
            End::Node(index) => Some(self.nodes[index].keys.public().dsa().clone()),
            End::Client => None,
        };
        let connected = |conn, inbound, peer_key, dial| session_network::Input::Connected {
            conn,
            inbound,
            remote,
            peer_key,
            exporter,
            dial,
        };
        let ours = connected(here, false, Some(key.clone()), Some(dial));
        let theirs = connected(there, true, from_key, None);
        self.queue.push_back(Event::Input(End::Node(to), theirs));
        self.queue.push_back(Event::Input(from, ours));
    }

    /// One node says something to another one, over the connection that they have.
    pub(crate) fn say(&mut self, from: usize, to: usize, message: &Message) {
        let at = |conn: &ConnId, end| self.wires.get(conn).is_some_and(|(other, _)| *other == end);
        let between = |(_, (other, there)): &(&ConnId, &(End, ConnId))| {
            *other == End::Node(to) && at(there, End::Node(from))
        };
        let (conn, _) = self.wires.iter().find(between).expect("they are connected");
        self.carry(*conn, Class::Interactive, Frame::encode(message.kind(), message));
        self.run();
    }

    fn carry(&mut self, conn: ConnId, class: Class, frame: Vec<u8>) {
        if let Ok((Kind::Session, payload)) = Frame::split(&frame) {
            self.talk.push(Frame::payload(Kind::Session, payload).expect("a node said it"));
        }
        if let Some((to, conn)) = self.wires.get(&conn) {
            self.queue.push_back(Event::Frame(*to, *conn, class, frame));
        }
    }

    fn close(&mut self, conn: ConnId) {
        if let Some((other, there)) = self.wires.remove(&conn) {
            self.wires.remove(&there);
            let gone = session_network::Input::Disconnected { conn: there };
            self.queue.push_back(Event::Input(other, gone));
        }
    }

    pub(crate) fn run(&mut self) {
        while let Some(event) = self.queue.pop_front() {
            match event {
                Event::Input(End::Client, input) => {
                    self.client_call(|client, cx| client.handle(cx, input));
                }
                Event::Frame(End::Client, conn, class, body) => {
                    let (frame, size) = (self.checker.check(&body), body.len());
                    let input = session_network::Input::Frame { conn, class, size, frame };
                    self.client_call(|client, cx| client.handle(cx, input));
                }
                Event::Input(End::Node(index), _) | Event::Frame(End::Node(index), ..)
                    if !self.nodes[index].is_up => {}
                Event::Input(End::Node(index), input) => {
                    self.feed(index, vec![Input::Network(input)], false);
                }
                Event::Frame(End::Node(index), conn, class, body) => {
                    let opener = self.nodes[index].opener.as_deref();
                    let heard = relay::read(&self.checker, opener, self.now, &body);
                    let size = body.len();
                    self.feed(index, vec![Input::Frame { conn, class, size, heard }], false);
                }
            }
        }
    }

    pub(crate) fn advance(&mut self, span: Span) {
        self.run();
        let end = self.now + span;
        loop {
            let nodes = self.nodes.iter().filter(|node| node.is_up);
            let next = nodes
                .filter_map(|node| node.daemon.deadline())
                .chain(self.client.deadline())
                .min()
                .filter(|at| *at <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            for index in 0..self.nodes.len() {
                let due = self.nodes[index].daemon.deadline().is_some_and(|at| at <= self.now);
                if self.nodes[index].is_up && due {
                    self.feed(index, Vec::new(), true);
                }
            }
            if self.client.deadline().is_some_and(|at| at <= self.now) {
                self.client_call(|client, cx| client.tick(cx));
            }
            self.run();
        }
        self.now = end;
    }

    pub(crate) fn stop(&mut self, index: usize) {
        self.nodes[index].is_up = false;
        let ours: Vec<ConnId> = self
            .wires
            .iter()
            .filter(|(_, (end, _))| *end == End::Node(index))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in ours {
            // The far end of each of its connections sees it end.
            if let Some((_, there)) = self.wires.get(&conn).copied() {
                self.close(there);
            }
        }
    }

    pub(crate) fn start(&mut self, index: usize) {
        let daemon = Daemon::new(config(&self.nodes[index].keys, &self.membership)).unwrap();
        self.nodes[index].daemon = daemon;
        self.nodes[index].is_up = true;
    }

    /// The same for a node that is a hop.
    pub(crate) fn restart_with_onions(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let onions = Some(relay::Config::new(Arc::<FakeIdentity>::clone(&node.keys)));
        let config = Config { onions, ..config(&node.keys, &self.membership) };
        node.daemon = Daemon::new(config).unwrap();
        node.is_up = true;
    }

    /// Connects the client to a node.
    pub(crate) fn connect_client(&mut self, index: usize) {
        let node = self.nodes[index].id;
        self.client_call(|client, cx| {
            client.handle(cx, session_network::Input::Connect { node });
        });
        self.advance(Span::from_secs(1));
    }

    /// Sends a request over the client's connection.
    pub(crate) fn ask(&mut self, index: usize, id: u64, operations: Vec<Operation>) {
        let to = session_network::From::Node(self.nodes[index].id);
        let request = Request { id, operations: List::new(operations).unwrap() };
        self.client_call(|client, cx| {
            assert!(client.send_to(cx, to, Class::Interactive, Kind::Request, &request));
        });
        self.run();
    }

    /// Sends a packet over the client's connection.
    pub(crate) fn send_onion(&mut self, index: usize, circuit: u64, packet: Packet) {
        let to = session_network::From::Node(self.nodes[index].id);
        let onion = Onion { circuit, packet: Blob::new(packet.into_bytes()).unwrap() };
        self.client_call(|client, cx| {
            assert!(client.send_to(cx, to, Class::Bulk, Kind::Onion, &onion));
        });
        self.run();
    }

    pub(crate) fn ask_locally(&mut self, index: usize, id: u64, operations: Vec<Operation>) {
        let request = Request { id: 1, operations: List::new(operations).unwrap() };
        let request = self.checker.check_request(request);
        self.feed(index, vec![Input::Local { id, request }], false);
        self.run();
    }
}
