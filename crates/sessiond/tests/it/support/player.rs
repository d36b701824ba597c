//! A registered node that a test plays: it passes packets on with a bad habit, and lies as an exit.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_core::{Blob, Decode as _, Encode as _, Entropy as _, Epoch, List, NodeId, Span, Time};
use session_crypto::Identity;
use session_network::onion::{
    BackKey, Hop, Kind as PacketKind, Packet, Peeled, Service, SignedHopKey,
};
use session_network::{Class, From};
use session_protocol::inbox::message_id;
use session_protocol::onion::{ExitAnswer, HopKeys, Onion, Wait, service};
use session_protocol::owner::OwnerAction;
use session_protocol::receipt::{StorageReceipt, sign_receipts};
use session_protocol::request::{Cursor, Item, Operation, Outcome, Reply, Request};
use session_protocol::{Inbound, Kind, Membership, StaticMembership};

use super::line::{Heard, Line};
use super::now;

/// What it does with a packet that it should pass on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
    /// What it should.
    Honest,
    /// Waits first, with answers too.
    Delays(Duration),
    /// Changes a bit of it.
    Tags,
    /// Sends it twice.
    Replays,
    /// Keeps it.
    Drops,
}

/// A node on a task of its own.
pub(crate) struct Player {
    habit: Arc<Mutex<Habit>>,
    counts: Arc<Counts>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    connected: Mutex<BTreeSet<NodeId>>,
    passed: AtomicU64,
    lies: AtomicU64,
}

impl Player {
    /// Joins the network. Must be called inside a tokio runtime.
    pub(crate) fn start(
        (keys, listen): (Arc<Identity>, SocketAddr),
        membership: Arc<StaticMembership>,
    ) -> Self {
        let (habit, counts) = (Arc::new(Mutex::new(Habit::Honest)), Arc::<Counts>::default());
        let view = Arc::clone(&membership) as Arc<dyn Membership>;
        let me = keys.public().node_id();
        let mut stage = Stage {
            line: Line::node(Arc::clone(&keys), view, listen),
            keys,
            hop: Hop::new(me, 10_000),
            published: Vec::new(),
            circuits: BTreeMap::new(),
            held: Vec::new(),
            membership,
            habit: Arc::clone(&habit),
            counts: Arc::clone(&counts),
        };
        stage.draw();
        let task = tokio::spawn(async move { stage.play(me).await });
        Self { habit, counts, task }
    }

    pub(crate) fn set(&self, habit: Habit) {
        *self.habit.lock().unwrap() = habit;
    }

    /// Returns how many nodes it has had a connection with.
    pub(crate) fn connected(&self) -> usize {
        self.counts.connected.lock().unwrap().len()
    }

    /// Returns how many packets came that it should pass on.
    pub(crate) fn passed(&self) -> u64 {
        self.counts.passed.load(Ordering::Relaxed)
    }

    /// Returns how many requests it answered falsely.
    pub(crate) fn lies(&self) -> u64 {
        self.counts.lies.load(Ordering::Relaxed)
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A packet that is sent later: when, to whom, and in which circuit.
type Held = (Time, From, u64, Packet);

struct Stage {
    line: Line,
    keys: Arc<Identity>,
    hop: Hop,
    published: Vec<SignedHopKey>,
    circuits: BTreeMap<(NodeId, u64), (From, u64, BackKey)>,
    held: Vec<Held>,
    membership: Arc<StaticMembership>,
    habit: Arc<Mutex<Habit>>,
    counts: Arc<Counts>,
}

impl Stage {
    /// Draws the keys of this hour and the next.
    fn draw(&mut self) {
        let (hour, network) = (3_600_000, self.membership.network());
        let epoch = now().as_millis() / hour;
        for epoch in [epoch, epoch + 1] {
            let until = Time::from_millis((epoch + 1) * hour) + Span::from_secs(600);
            let rng = &mut self.line.rng;
            let record = self.hop.rotate(rng, network, Epoch(epoch), (now(), until));
            self.published.push(record.sign(&*self.keys, rng));
        }
    }

    async fn play(&mut self, me: NodeId) {
        for (node, _) in Arc::clone(&self.membership).nodes() {
            if node != me {
                self.line.connect(node);
            }
        }
        loop {
            match self.line.next(Duration::from_millis(20)).await {
                Some(Heard::Up(node)) => {
                    self.counts.connected.lock().unwrap().insert(node);
                    let keys = List::new(self.published.clone()).unwrap();
                    let message = HopKeys::Keys { keys };
                    self.line.send(From::Node(node), Class::Bulk, Kind::HopKeys, &message);
                }
                Some(Heard::Message(from, Inbound::Onion(onion))) => self.packet(from, onion),
                _ => {}
            }
            let (due, held) = self.held.drain(..).partition(|held| held.0 <= now());
            self.held = held;
            for (_, to, circuit, packet) in due as Vec<Held> {
                self.line.send_packet(to, circuit, packet);
            }
        }
    }

    fn habit(&self) -> Habit {
        *self.habit.lock().unwrap()
    }

    fn packet(&mut self, from: From, Onion { circuit, packet }: Onion) {
        let Ok(packet) = Packet::try_from(packet.into_vec()) else { return };
        if packet.kind() == PacketKind::Answer {
            let From::Node(node) = from else { return };
            let Some((to, circuit, back)) = self.circuits.remove(&(node, circuit)) else { return };
            return self.send(to, circuit, back.wrap_reply(&packet).unwrap());
        }
        match self.hop.peel(now(), &packet) {
            Ok(Peeled::Forward { next, packet, back: Some(back), .. }) => {
                self.counts.passed.fetch_add(1, Ordering::Relaxed);
                let ours = self.line.rng.next_u64();
                self.circuits.insert((next, ours), (from, circuit, back));
                self.pass_on(From::Node(next), ours, packet);
            }
            Ok(Peeled::Deliver { service: Service(number), payload, answer, .. }) => {
                let asked = match number {
                    service::REQUEST => Request::decode_exact(&payload).ok(),
                    service::WAIT => Wait::decode_exact(&payload).ok().map(|wait| wait.request),
                    _ => None,
                };
                let Some(request) = asked else { return };
                self.counts.lies.fetch_add(1, Ordering::Relaxed);
                let reply = ExitAnswer::Reply { reply: self.lie(request) }.to_bytes();
                self.send(from, circuit, answer.seal_reply(&reply).unwrap());
            }
            _ => {}
        }
    }

    fn pass_on(&mut self, to: From, circuit: u64, packet: Packet) {
        match self.habit() {
            Habit::Honest | Habit::Delays(_) => self.send(to, circuit, packet),
            Habit::Tags => {
                let mut bytes = packet.into_bytes();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                self.send(to, circuit, Packet::try_from(bytes).unwrap());
            }
            Habit::Replays => {
                let other = self.line.rng.next_u64();
                self.send(to, circuit, packet.clone());
                self.send(to, other, packet);
            }
            Habit::Drops => {}
        }
    }

    fn send(&mut self, to: From, circuit: u64, packet: Packet) {
        match self.habit() {
            Habit::Delays(delay) => {
                let at = now() + Span::from_millis(u64::try_from(delay.as_millis()).unwrap());
                self.held.push((at, to, circuit, packet));
            }
            _ => drop(self.line.send_packet(to, circuit, packet)),
        }
    }

    /// Says that everything is stored, and by everybody; shows items that nobody stored.
    fn lie(&mut self, request: Request) -> Reply {
        let mut roots = Vec::new();
        let outcomes = request.operations.into_vec().into_iter().map(|operation| match operation {
            Operation::Store { address, namespace, timestamp, ttl, data } => {
                let message = message_id(&address, namespace, &data);
                let expiry = timestamp + ttl;
                let receipts = self.forge(&mut roots, (address, message), expiry);
                Outcome::Stored { message, expiry, duplicate: false, receipts }
            }
            Operation::Owner { operation } => match operation.action {
                OwnerAction::Retrieve { namespace, .. } => {
                    let data = Blob::new(*b"nobody wrote this").unwrap();
                    let id = session_core::MessageId::from([5; 32]);
                    let (timestamp, expiry) = (now(), now() + Span::from_secs(600));
                    let item = Item { id, namespace, timestamp, expiry, arrival: 1, data };
                    let (cursor, items) = (Cursor::default(), List::new([item]).unwrap());
                    Outcome::Items { items, cursor, more: false }
                }
                _ => Outcome::Refused { refusal: busy() },
            },
            _ => Outcome::Refused { refusal: busy() },
        });
        let outcomes = List::new(outcomes.collect::<Vec<_>>()).unwrap();
        let roots = List::new(roots).unwrap();
        Reply { id: request.id, server_time: now(), roots, outcomes }
    }

    /// Makes receipts of all members: right in everything but in who signed.
    fn forge(
        &mut self,
        roots: &mut Vec<session_protocol::receipt::SignedRoot>,
        (address, message): (session_core::InboxAddress, session_core::MessageId),
        expiry: Time,
    ) -> List<session_protocol::receipt::ReceiptPath, 32> {
        let network = self.membership.network();
        let me = self.membership.node(&self.keys.public().node_id()).expect("it is registered");
        let (swarm, stored_at) = (me.swarm, now());
        let members = self.membership.members(swarm).into_iter();
        let receipts = members.map(|node| {
            let receipt = StorageReceipt { node, swarm, address, message, expiry, stored_at };
            let rng = &mut self.line.rng;
            let (mut root, proofs) = sign_receipts(network, &*self.keys, &[receipt], rng);
            root.node = node;
            roots.push(root);
            let (root, proof) = (u16::try_from(roots.len() - 1).unwrap(), proofs[0].clone());
            session_protocol::receipt::ReceiptPath { root, expiry, stored_at, proof }
        });
        List::new(receipts.collect::<Vec<_>>()).unwrap()
    }
}

fn busy() -> session_protocol::request::Refusal {
    session_protocol::request::Refusal::not_ready("no")
}
