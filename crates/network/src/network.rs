//! The machine: connections, peers and timers joined.
//!
//! | module | holds |
//! |---|---|
//! | `opening` | connections until both sides are proven |
//! | `traffic` | frames of proven connections, limits, heartbeats |
//! | `links` | which nodes are wanted, when to dial them, what follows an end |

use std::collections::BTreeMap;

use session_core::timers::Timers;
use session_core::{Context, Encode, Machine, NodeId, Text, Time};
use session_protocol::membership::ADDRESS_BYTES_MAX;
use session_protocol::{Frame, Kind};

use crate::addresses::Addresses;
use crate::connection::{Connection, Stage};
use crate::handshake::{Channel, Local};
use crate::io::{Class, Config, ConnId, Effect, From, Input, Role};
use crate::limits::{Budget, DATAGRAM_BYTES_MAX, Limits, REASON_BYTES_MAX};
use crate::peer::Peer;
use crate::stats::{PeerSnapshot, Stats};
use crate::timers::Timer;

mod links;
mod opening;
mod traffic;

type Cx<'a> = Context<'a, (), Effect>;

/// The overlay of one node or client.
pub struct Network {
    config: Config,
    /// Our id; none for a client.
    me: Option<NodeId>,
    listen: Text<ADDRESS_BYTES_MAX>,
    peer_budget: Budget,
    conns: BTreeMap<ConnId, Connection>,
    peers: BTreeMap<NodeId, Peer>,
    dials: BTreeMap<u64, NodeId>,
    dials_begun: u64,
    addresses: Addresses,
    timers: Timers<Timer>,
    /// Inbound connections that are not proven yet.
    handshaking: usize,
    clients: usize,
    health: Health,
    stats: Stats,
}

/// What our heartbeats say.
#[derive(Clone, Copy, Debug)]
struct Health {
    writable: bool,
    items: u64,
}

impl Network {
    /// Makes a network without any connection.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let (me, listen) = match &config.role {
            Role::Node { listen } => (Some(config.keys.public().node_id()), listen.clone()),
            Role::Client => (None, Text::default()),
        };
        Self {
            me,
            listen,
            peer_budget: config.limits.peer.normalized(),
            conns: BTreeMap::new(),
            peers: BTreeMap::new(),
            dials: BTreeMap::new(),
            dials_begun: 0,
            addresses: Addresses::new(&config.limits),
            timers: Timers::default(),
            handshaking: 0,
            clients: 0,
            health: Health { writable: true, items: 0 },
            stats: Stats::default(),
            config,
        }
    }

    /// Returns this node's id; none for a client.
    #[must_use]
    pub const fn id(&self) -> Option<NodeId> {
        self.me
    }

    /// Returns the limits that count.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.config.limits
    }

    /// Sets what the next heartbeats say.
    pub const fn set_health(&mut self, writable: bool, items: u64) {
        self.health = Health { writable, items };
    }

    /// Sends a message to a node that is up or a client that is connected.
    ///
    /// Returns whether it was sent: not when nobody is there or the frame would be too large.
    pub fn send_to(
        &mut self,
        cx: &mut Cx<'_>,
        to: From,
        class: Class,
        kind: Kind,
        message: &impl Encode,
    ) -> bool {
        let conn = match to {
            From::Node(node) => self.peers.get(&node).and_then(Peer::conn),
            From::Client(conn) => Some(conn),
        };
        let proven = conn.filter(|conn| {
            let stage = self.conns.get(conn).map(|connection| &connection.stage);
            matches!(stage, Some(Stage::Node(_) | Stage::Client))
        });
        proven.is_some_and(|conn| self.send(cx, conn, class, kind, message))
    }

    /// Returns what is known of a node.
    #[must_use]
    pub fn peer(&self, node: &NodeId) -> Option<PeerSnapshot> {
        self.peers.get(node).map(|peer| self.snapshot(*node, peer))
    }

    /// Returns every node that is known, ordered by id.
    pub fn peers(&self) -> impl Iterator<Item = PeerSnapshot> {
        self.peers.iter().map(|(node, peer)| self.snapshot(*node, peer))
    }

    /// Returns whether a node is up.
    #[must_use]
    pub fn is_up(&self, node: &NodeId) -> bool {
        self.peers.get(node).and_then(Peer::conn).is_some()
    }

    /// Returns how many clients are connected.
    #[must_use]
    pub const fn clients(&self) -> usize {
        self.clients
    }

    /// Returns how many connections there are, proven or not.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.conns.len()
    }

    /// Returns the counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    fn snapshot(&self, node: NodeId, peer: &Peer) -> PeerSnapshot {
        let mut snapshot = peer.snapshot(node);
        if let Some(connection) = peer.conn().and_then(|conn| self.conns.get(&conn)) {
            snapshot.traffic.add(&connection.traffic);
            snapshot.last_seen = Some(connection.last_seen);
        }
        snapshot
    }

    fn local(&self) -> Local<'_> {
        Local {
            keys: &*self.config.keys,
            membership: &*self.config.membership,
            node: self.me,
            listen: &self.listen,
        }
    }

    fn send(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnId,
        class: Class,
        kind: Kind,
        message: &impl Encode,
    ) -> bool {
        let Some(connection) = self.conns.get_mut(&conn) else { return false };
        let frame = Frame::encode(kind, message);
        let bytes_max = match class {
            Class::Datagram => DATAGRAM_BYTES_MAX,
            Class::Interactive | Class::Bulk => session_protocol::limits::FRAME_BYTES_MAX,
        };
        if frame.len() > bytes_max {
            self.stats.refused.too_large += 1;
            return false;
        }
        connection.traffic.sent(frame.len());
        self.stats.traffic.sent(frame.len());
        cx.effects.push(Effect::Send { conn, class, frame });
        true
    }

    /// Closes a connection that never became one of ours.
    fn refuse(&mut self, cx: &mut Cx<'_>, conn: ConnId, why: impl Into<String>) {
        self.stats.refused.connections += 1;
        cx.effects.push(Effect::Close { conn, why: bounded(why.into()) });
    }
}

impl Machine for Network {
    type Store = ();
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Connected { conn, inbound: true, remote, peer_key, exporter, .. } => {
                self.accepted(cx, conn, remote, Channel { exporter, key: peer_key });
            }
            Input::Connected { conn, inbound: false, remote, peer_key, exporter, dial } => {
                let channel = Channel { exporter, key: peer_key };
                self.dialled(cx, conn, remote, channel, dial);
            }
            Input::Frame { conn, class, size, frame } => self.frame(cx, conn, class, size, frame),
            Input::Disconnected { conn } => self.disconnected(cx, conn),
            Input::DialFailed { dial, why } => self.dial_failed(cx, dial, &why),
            Input::Connect { node } => self.connect(cx, node),
            Input::Dial { node } => self.dial_now(cx, node),
            Input::Forget { node } => self.forget(cx, node),
            Input::Misbehaved { node, why } => self.misbehaved(cx, node, why),
            Input::Membership(members) => self.membership(cx, members),
        }
    }

    fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        while let Some(timer) = self.timers.pop(cx.now) {
            match timer {
                Timer::Connection(conn) => self.connection_due(cx, conn),
                Timer::Peer(node) => self.peer_due(cx, node),
            }
        }
    }
}

fn bounded(mut why: String) -> String {
    if why.len() > REASON_BYTES_MAX {
        why.truncate(why.floor_char_boundary(REASON_BYTES_MAX));
    }
    why
}
