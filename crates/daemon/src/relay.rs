//! A node as a hop and an exit of onion packets.
//!
//! What it is: the relay takes packets that were opened beside it ([`read`]), sends them on, keeps
//! for each request how its answer goes back, waits where a packet asks for it, and does at the end
//! of a path what a client over a connection would ask for. It draws the node's hop keys, and keeps
//! and spreads those of the others.
//!
//! What it does not do: it chooses no path, opens no connection and stores nothing. It counts, and
//! logs nothing: neither circuits nor who sent what to whom is written down anywhere.
//!
//! | what | bound | when full |
//! |---|---|---|
//! | circuits and requests at this exit | [`CIRCUITS_MAX`]; of one link [`CLIENT_CIRCUITS_MAX`] or [`NODE_CIRCUITS_MAX`] | the packet is dropped |
//! | requests at this exit | [`EXITS_MAX`] | answered as busy |
//! | packets that wait because they ask to | [`DELAYED_MAX`], [`DELAYED_BYTES_MAX`] | the packet is dropped |
//! | packets that wait for a connection | [`QUEUE_MAX`] for a node, [`CONNECTION_WAIT`] long | the packet is dropped |
//! | connections for packets | [`LINKS_MAX`] | the longest unused one ends |
//! | hop keys | three epochs of each registered node | the oldest epoch goes |
//! | packets taken under one key | [`Config::packets_max`] | no more of this epoch are taken |
//!
//! | module | holds |
//! |---|---|
//! | `arrived` | what is done with a frame before the machine sees it |
//! | `circuits` | how answers go back |
//! | `held` | packets that wait |
//! | `exit` | requests at the end of their path |
//! | `answer` | replies cut to what an answer has room for |
//! | `keyring` | this node's keys, and when they are drawn |
//! | `directory` | everybody's keys |
//! | `gossip` | how keys spread |
//! | `links` | connections for packets, and those that keys spread over |

use std::collections::BTreeSet;
use std::sync::Arc;

use session_core::{Blob, Context, Epoch, Machine, NodeId, Span, Time};
use session_crypto::Signer;
use session_network::From;
use session_network::onion::{Kind, Opener, Packet, Peeled, TAGS_MAX};
use session_protocol::Membership;
use session_protocol::inbound::CheckedRequest;
use session_protocol::onion::{HopKeys, PACKET_BYTES_MAX};
use session_protocol::request::{Push, Reply};
use session_protocol::schedule::Schedule;

mod answer;
mod arrived;
mod circuits;
mod directory;
mod exit;
mod gossip;
mod held;
mod keyring;
mod links;
#[cfg(test)]
mod tests;

pub use arrived::{Arrived, Heard, read, read_within};

use circuits::{Circuits, Load};
use directory::Directory;
use exit::Exits;
use gossip::Gossip;
use held::{Delayed, Queues};
use keyring::Keyring;
use links::Links;

/// Circuits and requests at this exit, 150 bytes each.
pub const CIRCUITS_MAX: usize = 65_536;

/// Those of one client: a hundred conversations that are listened to, and what is sent beside.
pub const CLIENT_CIRCUITS_MAX: usize = 256;

/// Those of one node, which may be many people's first hop.
pub const NODE_CIRCUITS_MAX: usize = 16_384;

/// How long an answer is waited for. No hop but the exit knows whether a request is one that waits
/// for a minute, so all of them are given as long.
pub const CIRCUIT_TIME: Span = Span::from_secs(120);

/// Requests at this exit.
pub const EXITS_MAX: usize = 16_384;

/// How long a request at this exit may take; the swarm answers within five seconds.
pub const EXIT_TIME: Span = Span::from_secs(30);

/// Packets that wait because they ask to.
pub const DELAYED_MAX: usize = 4_096;

/// Bytes of them.
pub const DELAYED_BYTES_MAX: usize = 128 << 20;

/// Packets that wait for a connection to one node.
pub const QUEUE_MAX: usize = 256;

/// Bytes of those that wait for a connection to any node.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;

/// How long a packet waits for a connection.
pub const CONNECTION_WAIT: Span = Span::from_secs(5);

/// Connections that are open because packets went over them.
pub const LINKS_MAX: usize = 256;

/// How long such a connection stays without a packet.
pub const LINK_IDLE_MAX: Span = Span::from_secs(600);

/// How long an epoch of hop keys is where no chain says.
pub const EPOCH_LENGTH: Span = Span::from_secs(3_600);

/// How long a key outlives its epoch, for packets that are late.
pub const KEY_OVERLAP: Span = Span::from_secs(600);

type Cx<'a> = Context<'a, (), Effect>;

/// What a relay is made from.
#[derive(Clone)]
pub struct Config {
    /// Whose keys sign hop keys.
    pub keys: Arc<dyn Signer>,
    /// Packets that are taken under one hop key; each is remembered in 50 bytes.
    pub packets_max: usize,
}

impl Config {
    /// Makes a configuration with the default bound.
    #[must_use]
    pub fn new(keys: Arc<dyn Signer>) -> Self {
        Self { keys, packets_max: TAGS_MAX }
    }
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// Who is a node has changed.
    Membership(Arc<dyn Membership>),
    /// A chain says when epochs are.
    Epoch { epoch: Epoch, schedule: Schedule },
    /// A node is connected.
    PeerUp { node: NodeId },
    /// A node is not any more.
    PeerDown { node: NodeId },
    /// A packet on its way out, opened.
    Packet { from: From, packet: Arrived },
    /// Any other packet.
    Answer { from: From, circuit: u64, packet: Blob<PACKET_BYTES_MAX> },
    /// A node speaks of hop keys.
    Keys { node: NodeId, message: HopKeys },
    /// The answer to [`Effect::Ask`]; of receipts the client needs so many.
    Replied { id: u64, reply: Reply, quorum: usize },
    /// An item for a request that waits.
    Pushed { id: u64, push: Push },
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Effect {
    /// Send a packet.
    Packet { to: From, circuit: u64, packet: Packet },
    /// Tell a node about hop keys.
    Keys { node: NodeId, message: HopKeys },
    /// A connection to a node is wanted; at once if something waits for it.
    Connect { node: NodeId, now: bool },
    /// No connection to a node is wanted any more.
    Forget { node: NodeId },
    /// Do what a request asks for, on nobody's behalf.
    Ask { id: u64, request: CheckedRequest },
    /// Nothing more is wanted for a request.
    Gone { id: u64 },
    /// Open packets with these keys from here on.
    Opener(Arc<Opener>),
}

/// Counters since the start, and what there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests and returns that were sent on.
    pub forwarded: u64,
    /// Requests that ended here.
    pub delivered: u64,
    /// Answers that went back.
    pub answered: u64,
    /// Cover that ended here.
    pub cover: u64,
    /// Packets that were not for this node, not whole, not new, or over the bound of their key.
    pub refused: u64,
    /// Answers that nobody waits for, and what comes by a reply block, which has no reader yet.
    pub stray: u64,
    /// Packets dropped because a table or queue was full.
    pub full: u64,
    /// Packets for nodes that could not be reached in time, or are none.
    pub unreachable: u64,
    /// Circuits that ended without an answer.
    pub expired: u64,
    /// Circuits that wait for an answer, and requests at this exit.
    pub circuits: usize,
    /// Packets that wait, for their time or for a connection.
    pub waiting: usize,
    /// Packets taken under the key of this epoch.
    pub taken: usize,
    /// How many can be.
    pub packets_max: usize,
    /// Registered nodes whose hop key of this epoch is known.
    pub nodes_known: usize,
    /// The epoch of hop keys.
    pub epoch: Epoch,
}

/// A hop and exit.
pub(crate) struct Relay {
    node: NodeId,
    membership: Arc<dyn Membership>,
    keyring: Keyring,
    directory: Directory,
    gossip: Gossip,
    circuits: Circuits,
    load: Load,
    exits: Exits,
    delayed: Delayed,
    queues: Queues,
    links: Links,
    up: BTreeSet<NodeId>,
    /// The time of the last call.
    now: Time,
    stats: Stats,
}

impl Relay {
    pub(crate) fn new(node: NodeId, config: Config, membership: Arc<dyn Membership>) -> Self {
        Self {
            node,
            membership,
            keyring: Keyring::new(node, config),
            directory: Directory::default(),
            gossip: Gossip::default(),
            circuits: Circuits::default(),
            load: Load::default(),
            exits: Exits::default(),
            delayed: Delayed::default(),
            queues: Queues::default(),
            links: Links::default(),
            up: BTreeSet::new(),
            now: Time::ZERO,
            stats: Stats::default(),
        }
    }

    /// Returns what opens packets now.
    pub(crate) fn opener(&self) -> Arc<Opener> {
        self.keyring.opener()
    }

    /// Returns the counters.
    pub(crate) fn stats(&self) -> Stats {
        let epoch = self.keyring.epoch(self.now);
        Stats {
            circuits: self.load.all(),
            waiting: self.delayed.len() + self.queues.len(),
            taken: self.keyring.taken(epoch),
            packets_max: self.keyring.packets_max(),
            nodes_known: self.directory.nodes_of(epoch),
            epoch,
            ..self.stats
        }
    }

    /// Returns the keys of hops that are known.
    pub(crate) const fn directory(&self) -> &Directory {
        &self.directory
    }

    fn packet(&mut self, cx: &mut Cx<'_>, from: From, arrived: Arrived) {
        let Arrived { circuit, size, opened, errand } = arrived;
        let Ok(peeled) = self.keyring.admit(opened) else {
            self.stats.refused += 1;
            return;
        };
        match peeled {
            Peeled::Forward { next, delay, packet, back } => {
                let ours = cx.rng.next_u64();
                if let Some(back) = back {
                    if !self.load.take(from) {
                        self.stats.full += 1;
                        return;
                    }
                    let until = cx.now + CIRCUIT_TIME;
                    let circuit = circuits::Circuit { from, circuit, back, delay, until };
                    self.circuits.open((next, ours), circuit);
                }
                self.stats.forwarded += 1;
                self.send_after(cx, delay, From::Node(next), ours, packet);
            }
            Peeled::Deliver { delay, answer, .. } => {
                self.stats.delivered += 1;
                let Some(errand) = errand else { return };
                let way = exit::Way { from, circuit, delay, answer };
                self.delivered(cx, way, errand, size);
            }
            Peeled::Loop { .. } | Peeled::Drop => self.stats.cover += 1,
            // Nobody has told this node a handle: there is no way to.
            Peeled::Hand { .. } => self.stats.stray += 1,
        }
    }

    fn answer(&mut self, cx: &mut Cx<'_>, from: From, ours: u64, packet: Blob<PACKET_BYTES_MAX>) {
        let packet = Packet::try_from(packet.into_vec()).ok();
        let packet = packet.filter(|packet| packet.kind() == Kind::Answer);
        let (From::Node(node), Some(packet)) = (from, packet) else {
            self.stats.stray += 1;
            return;
        };
        let Some(circuit) = self.circuits.close((node, ours)) else {
            self.stats.stray += 1;
            return;
        };
        self.load.give(circuit.from);
        let wrapped = circuit.back.wrap_reply(&packet).expect("an answer, as was looked at");
        self.stats.answered += 1;
        self.send_after(cx, circuit.delay, circuit.from, circuit.circuit, wrapped);
    }

    /// Sends a packet after the time that it asks for.
    fn send_after(&mut self, cx: &mut Cx<'_>, delay: Span, to: From, circuit: u64, packet: Packet) {
        if delay == Span::ZERO {
            return self.send(cx, to, circuit, packet);
        }
        let held = held::Held::Send { to, circuit, packet };
        if !self.delayed.hold(cx.now + delay, held) {
            self.stats.full += 1;
            self.lost(to, circuit);
        }
    }

    fn send(&mut self, cx: &mut Cx<'_>, to: From, circuit: u64, packet: Packet) {
        let From::Node(node) = to else {
            return cx.effects.push(Effect::Packet { to, circuit, packet });
        };
        if self.membership.node(&node).is_none() || node == self.node {
            self.stats.unreachable += 1;
            return self.lost(to, circuit);
        }
        let link = self.links.used(cx.now, node, &self.up);
        self.follow(cx, link);
        let room = if !self.up.contains(&node) {
            self.queues.wait(cx.now + CONNECTION_WAIT, node, circuit, packet)
        } else if self.links.may_send(cx.now, node, packet.size()) {
            cx.effects.push(Effect::Packet { to, circuit, packet });
            true
        } else {
            false
        };
        if !room {
            self.stats.full += 1;
            self.lost(to, circuit);
        }
    }

    /// A packet goes nowhere: no answer will come. The client is not told, but has its place back.
    fn lost(&mut self, to: From, circuit: u64) {
        let From::Node(node) = to else { return };
        if let Some(circuit) = self.circuits.close((node, circuit)) {
            self.load.give(circuit.from);
        }
    }

    fn follow(&self, cx: &mut Cx<'_>, change: links::Change) {
        let links::Change { connect, forget } = change;
        cx.effects.extend(forget.into_iter().map(|node| Effect::Forget { node }));
        cx.effects.extend(connect.into_iter().map(|(node, now)| Effect::Connect { node, now }));
    }

    fn peer_up(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        self.up.insert(node);
        for (circuit, packet) in self.queues.take(node) {
            self.send(cx, From::Node(node), circuit, packet);
        }
        self.greet(cx, node);
    }

    fn members(&mut self, cx: &mut Cx<'_>, membership: Arc<dyn Membership>) {
        self.membership = membership;
        self.directory.keep(|node| self.membership.node(node).is_some());
        self.publish(cx);
        self.keep_ring(cx);
    }

    fn keep_ring(&mut self, cx: &mut Cx<'_>) {
        let nodes = self.membership.nodes().into_iter().map(|(node, _)| node).collect::<Vec<_>>();
        let change = self.links.ring(self.node, &nodes);
        self.follow(cx, change);
    }

    fn due(&mut self, cx: &mut Cx<'_>) {
        while let Some(held) = self.delayed.take(cx.now) {
            match held {
                held::Held::Send { to, circuit, packet } => self.send(cx, to, circuit, packet),
                held::Held::Begin { id, errand, .. } => self.begin(cx, id, errand),
            }
        }
        for (node, circuit) in self.queues.expire(cx.now) {
            self.stats.unreachable += 1;
            self.lost(From::Node(node), circuit);
        }
        for circuit in self.circuits.expire(cx.now) {
            self.load.give(circuit.from);
            self.stats.expired += 1;
        }
        self.overdue(cx);
        let change = self.links.sweep(cx.now);
        self.follow(cx, change);
        if self.keyring.deadline().is_none_or(|at| at <= cx.now) {
            self.draw(cx);
        }
        self.compare_at_times(cx);
    }
}

impl Machine for Relay {
    type Store = ();
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, cx: &mut Cx<'_>, input: Input) {
        self.now = cx.now;
        match input {
            Input::Membership(membership) => self.members(cx, membership),
            Input::Epoch { epoch, schedule } => {
                self.keyring.told(epoch, schedule, cx.now);
                self.draw(cx);
            }
            Input::PeerUp { node } => self.peer_up(cx, node),
            Input::PeerDown { node } => {
                self.up.remove(&node);
            }
            Input::Packet { from, packet } => self.packet(cx, from, packet),
            Input::Answer { from, circuit, packet } => self.answer(cx, from, circuit, packet),
            Input::Keys { node, message } => self.told(cx, node, message),
            Input::Replied { id, reply, quorum } => self.replied(cx, id, reply, quorum),
            Input::Pushed { id, push } => self.pushed(cx, id, &push),
        }
    }

    /// The first one is due at once: it draws the first key.
    fn deadline(&self) -> Option<Time> {
        let drawn = self.keyring.deadline().or(Some(Time::ZERO));
        let all = [
            drawn,
            self.delayed.deadline(),
            self.queues.deadline(),
            self.circuits.deadline(),
            self.exits.deadline(),
            self.links.deadline(),
            self.gossip.deadline(),
        ];
        all.into_iter().flatten().min()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        self.now = cx.now;
        if self.keyring.deadline().is_none() {
            self.keep_ring(cx);
        }
        self.due(cx);
    }
}
