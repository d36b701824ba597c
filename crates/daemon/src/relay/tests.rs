//! A few relays whose effects are carried by hand, and a client that makes packets.

mod exits;
mod keys;
mod tables;
mod walks;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use session_core::{
    Blob, Context, Decode as _, List, Machine as _, NodeId, SeededEntropy, Span, SwarmId, Text,
    Time,
};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_network::onion::{
    HopKey, Opener, Order, Packet, Path, ReplyKeys, Service, SignedHopKey, Size,
};
use session_network::{ConnId, From};
use session_protocol::inbound::CheckedRequest;
use session_protocol::onion::{ExitAnswer, HopKeys, Onion, service};
use session_protocol::request::{Operation, Outcome, Reply, Request};
use session_protocol::{
    Checker, Frame, Inbound, Kind, Membership as _, NodeRecord, StaticMembership,
};

use super::{Config, Effect, Input, Relay, read};

/// In the first half of an epoch.
const START: Time = Time::from_millis(1_800_000_000_000);

/// The client's connection, to whichever node.
const CLIENT: From = From::Client(ConnId(7));

struct Node {
    id: NodeId,
    identity: Arc<FakeIdentity>,
    relay: Relay,
    opener: Option<Arc<Opener>>,
    up: bool,
}

struct World {
    now: Time,
    rng: SeededEntropy,
    nodes: Vec<Node>,
    membership: Arc<StaticMembership>,
    checker: Checker,
    queue: VecDeque<(usize, From, Vec<u8>)>,
    /// What came to the client.
    got: Vec<(u64, Packet)>,
    /// What exits asked of their swarms.
    asked: Vec<(usize, u64, CheckedRequest)>,
    gone: Vec<(usize, u64)>,
    /// Packets between nodes, as they were sent.
    seen: Vec<Packet>,
    /// Whether connections that are wanted come about.
    connects: bool,
    circuits: u64,
}

impl World {
    fn new(count: usize) -> Self {
        let mut world = Self::unconnected(count);
        world.tick();
        world
    }

    /// Nodes that have not drawn a key yet and are not connected.
    fn unconnected(count: usize) -> Self {
        let mut rng = SeededEntropy::new(count as u64);
        let identities: Vec<_> =
            (0..count).map(|_| Arc::new(FakeIdentity::generate(&mut rng))).collect();
        let records = identities.iter().enumerate().map(|(index, identity)| NodeRecord {
            keys: identity.public().clone(),
            address: Text::new(index.to_string()).unwrap(),
            swarm: SwarmId(0),
        });
        let membership = Arc::new(StaticMembership::new("relays", records).unwrap());
        let nodes = identities.into_iter().map(|identity| started(&identity, &membership));
        Self {
            now: START,
            nodes: nodes.collect(),
            checker: Checker::new(
                Arc::<StaticMembership>::clone(&membership),
                Arc::new(FakeVerifier),
            ),
            membership,
            rng,
            queue: VecDeque::new(),
            got: Vec::new(),
            asked: Vec::new(),
            gone: Vec::new(),
            seen: Vec::new(),
            connects: true,
            circuits: 0,
        }
    }

    fn call(&mut self, index: usize, call: impl FnOnce(&mut Relay, &mut Context<'_, (), Effect>)) {
        let mut effects = Vec::new();
        let mut cx =
            Context { now: self.now, store: &mut (), rng: &mut self.rng, effects: &mut effects };
        call(&mut self.nodes[index].relay, &mut cx);
        for effect in effects {
            self.perform(index, effect);
        }
    }

    fn tell(&mut self, index: usize, input: Input) {
        self.call(index, |relay, cx| relay.handle(cx, input));
        self.run();
    }

    fn perform(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Packet { to: From::Client(_), circuit, packet } => {
                self.got.push((circuit, packet));
            }
            Effect::Packet { to: From::Node(to), circuit, packet } => {
                self.seen.push(packet.clone());
                let body = onion(circuit, packet.into_bytes());
                self.send(index, to, body);
            }
            Effect::Keys { node, message } => {
                self.send(index, node, Frame::encode(Kind::HopKeys, &message));
            }
            Effect::Connect { node, .. } => {
                let other = self.index(node);
                if self.connects && self.nodes[other].up {
                    self.connect(index, other);
                }
            }
            Effect::Ask { id, request } => self.asked.push((index, id, request)),
            Effect::Gone { id } => self.gone.push((index, id)),
            Effect::Opener(opener) => self.nodes[index].opener = Some(opener),
            Effect::Forget { .. } => {}
        }
    }

    fn connect(&mut self, one: usize, other: usize) {
        let (first, second) = (self.nodes[one].id, self.nodes[other].id);
        if !self.nodes[one].relay.up.contains(&second) {
            self.call(one, |relay, cx| relay.handle(cx, Input::PeerUp { node: second }));
            self.call(other, |relay, cx| relay.handle(cx, Input::PeerUp { node: first }));
        }
    }

    fn send(&mut self, from: usize, to: NodeId, body: Vec<u8>) {
        let (to, from) = (self.index(to), From::Node(self.nodes[from].id));
        self.queue.push_back((to, from, body));
    }

    fn index(&self, node: NodeId) -> usize {
        self.nodes.iter().position(|known| known.id == node).unwrap()
    }

    fn run(&mut self) {
        while let Some((to, from, body)) = self.queue.pop_front() {
            self.deliver(to, from, &body);
        }
    }

    /// What the shell and the daemon do with a frame.
    fn deliver(&mut self, to: usize, from: From, body: &[u8]) {
        let opener = self.nodes[to].opener.clone();
        let heard = read(&self.checker, opener.as_deref(), self.now, body);
        let input = match (heard.frame, heard.packet) {
            (Ok(Inbound::Onion(_)), Some(packet)) => Input::Packet { from, packet: *packet },
            (Ok(Inbound::Onion(Onion { circuit, packet })), None) => {
                Input::Answer { from, circuit, packet }
            }
            (Ok(Inbound::HopKeys(message)), _) => match from {
                From::Node(node) => Input::Keys { node, message: message.into_inner() },
                From::Client(_) => panic!("clients say nothing of keys"),
            },
            (other, _) => panic!("{other:?}"),
        };
        if self.nodes[to].up {
            self.call(to, |relay, cx| relay.handle(cx, input));
        }
    }

    /// The client sends bytes to a node.
    fn client_sends(&mut self, to: usize, circuit: u64, packet: &Packet) {
        self.deliver(to, CLIENT, &onion(circuit, packet.as_bytes().to_vec()));
        self.run();
    }

    /// Lets everybody do what is due now.
    fn tick(&mut self) {
        for index in 0..self.nodes.len() {
            let deadline = self.nodes[index].relay.deadline();
            if self.nodes[index].up && deadline.is_some_and(|at| at <= self.now) {
                self.call(index, Relay::tick);
            }
        }
        self.run();
    }

    fn advance(&mut self, span: Span) {
        let end = self.now + span;
        loop {
            let up = self.nodes.iter().filter(|node| node.up);
            let next = up.filter_map(|node| node.relay.deadline()).min();
            let Some(next) = next.filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            self.tick();
        }
        self.now = end;
    }

    /// Returns the key of this epoch that a node publishes, as another node knows it.
    fn key(&self, of: usize, by: usize) -> Option<SignedHopKey> {
        let (relay, node) = (&self.nodes[by].relay, self.nodes[of].id);
        let epoch = relay.keyring.epoch(self.now);
        let keys = relay.directory.of_bucket(node.as_bytes()[0], self.now);
        let mine = |key: &&&SignedHopKey| (key.record.node, key.record.epoch) == (node, epoch);
        keys.iter().find(mine).map(|key| (**key).clone())
    }

    fn path(&self, hops: &[usize]) -> Path {
        let keys = hops.iter().map(|hop| self.hop_key(*hop)).collect();
        Path::new(keys, self.now).unwrap()
    }

    fn hop_key(&self, hop: usize) -> HopKey {
        let signed = self.key(hop, hop).expect("it has drawn one");
        let keys = self.nodes[hop].identity.public();
        signed.verify(&self.membership.network(), keys, &FakeVerifier).unwrap()
    }

    fn build(&mut self, path: &Path, order: &Order<'_>) -> (Packet, ReplyKeys) {
        Packet::build(&mut self.rng, path, order).unwrap()
    }

    /// Sends a request over a path and returns what opens its answer.
    fn ask(&mut self, hops: &[usize], service: u16, payload: &[u8]) -> ReplyKeys {
        let path = self.path(hops);
        self.ask_over(&path, hops[0], service, payload)
    }

    fn ask_over(&mut self, path: &Path, first: usize, number: u16, payload: &[u8]) -> ReplyKeys {
        let service = Service(number);
        let order = Order { size: Size::Small, service, answer: Size::Small, payload };
        let (packet, keys) = self.build(path, &order);
        self.circuits += 1;
        self.client_sends(first, self.circuits, &packet);
        keys
    }

    /// Returns the only answer that came, opened.
    fn answer(&mut self, keys: ReplyKeys) -> Vec<u8> {
        let [(_, packet)] = &self.got[..] else { panic!("{} answers", self.got.len()) };
        let content = keys.open(packet).unwrap();
        self.got.clear();
        content
    }

    fn exit_answer(&mut self, keys: ReplyKeys) -> ExitAnswer {
        ExitAnswer::decode_exact(&self.answer(keys)).unwrap()
    }

    fn stats(&self, index: usize) -> super::Stats {
        self.nodes[index].relay.stats()
    }

    /// Loses everything that a node knew.
    fn restart(&mut self, index: usize) {
        let (node, identity) = (self.nodes[index].id, Arc::clone(&self.nodes[index].identity));
        self.nodes[index] = started(&identity, &self.membership);
        for other in 0..self.nodes.len() {
            self.call(other, |relay, cx| relay.handle(cx, Input::PeerDown { node }));
        }
    }
}

fn started(identity: &Arc<FakeIdentity>, membership: &Arc<StaticMembership>) -> Node {
    let id = identity.public().node_id();
    let config = Config::new(Arc::<FakeIdentity>::clone(identity));
    let relay = Relay::new(id, config, Arc::<StaticMembership>::clone(membership));
    Node { id, identity: Arc::clone(identity), relay, opener: None, up: true }
}

fn onion(circuit: u64, packet: Vec<u8>) -> Vec<u8> {
    Frame::encode(Kind::Onion, &Onion { circuit, packet: Blob::new(packet).unwrap() })
}

fn info() -> Request {
    Request { id: 9, operations: List::new([Operation::Info]).unwrap() }
}

fn reply(outcomes: Vec<Outcome>) -> Reply {
    let outcomes = List::new(outcomes).unwrap();
    Reply { id: 9, server_time: START, roots: List::default(), outcomes }
}

/// Returns whose keys are in a message.
fn nodes_of(message: &HopKeys) -> BTreeSet<NodeId> {
    let HopKeys::Keys { keys } = message else { return BTreeSet::new() };
    keys.iter().map(|key| key.record.node).collect()
}

/// A millisecond less.
const fn but(span: Span) -> Span {
    Span::from_millis(span.as_millis() - 1)
}

const REQUEST: u16 = service::REQUEST;
