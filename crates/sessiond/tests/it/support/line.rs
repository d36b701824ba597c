//! One end of connections, worked by hand: a client's, or a node's.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use session_core::{Context, Encode, Machine as _, NodeId, SeededEntropy, Text};
use session_crypto::{DsaPublicKey, Identity, RealVerifier};
use session_network::onion::Packet;
use session_network::{self as network, Class, Effect, From, Limits, Network, Role};
use session_protocol::inbound::Fault;
use session_protocol::{Checker, Inbound, Kind, Membership};
use session_runtime::quic::{self, ConnId, Event, Events, Options, PeerKey, Quic, TlsSigner};

use super::now;

type Frame = Result<Inbound, Fault>;

/// Lines of this process so far.
static LINES: AtomicU64 = AtomicU64::new(7);

/// What happened on a line.
pub(crate) enum Heard {
    /// A node is connected.
    Up(NodeId),
    /// Somebody said something.
    Message(From, Inbound),
}

/// Connections of one client or node.
pub(crate) struct Line {
    network: Network,
    quic: Quic<Frame>,
    events: Events<Frame>,
    conns: BTreeMap<network::ConnId, ConnId>,
    pub(crate) rng: SeededEntropy,
    heard: VecDeque<Heard>,
}

impl Line {
    /// Makes a client. Must be called inside a tokio runtime.
    pub(crate) fn client(membership: Arc<dyn Membership>) -> Self {
        let keys = Arc::new(Identity::from_seed(&[9; 32]));
        let listen = "127.0.0.1:0".parse().unwrap();
        Self::new((Role::Client, keys), membership, listen, None)
    }

    /// Makes a node that listens.
    pub(crate) fn node(
        keys: Arc<Identity>,
        membership: Arc<dyn Membership>,
        listen: SocketAddr,
    ) -> Self {
        let role = Role::Node { listen: Text::new(listen.to_string()).unwrap() };
        let signer: Arc<dyn TlsSigner> = Arc::<Identity>::clone(&keys);
        Self::new((role, keys), membership, listen, Some(signer))
    }

    fn new(
        (role, keys): (Role, Arc<Identity>),
        membership: Arc<dyn Membership>,
        listen: SocketAddr,
        signer: Option<Arc<dyn TlsSigner>>,
    ) -> Self {
        let checker = Checker::new(Arc::clone(&membership), Arc::new(RealVerifier));
        let decode = Arc::new(move |_, _, body: Vec<u8>| checker.check(&body));
        let (quic, events) = Quic::bind(Options::new(listen), signer, decode).unwrap();
        let mut config = network::Config::new(role, keys, membership);
        config.limits =
            Limits { peer_onions: network::Rate::UNLIMITED, ..network::Limits::default() };
        let network = Network::new(config);
        // Two that drew the same would make the same packets, and hops take each once.
        let seed = LINES.fetch_add(1, Ordering::Relaxed);
        let (rng, heard) = (SeededEntropy::new(seed), VecDeque::new());
        Self { network, quic, events, conns: BTreeMap::new(), rng, heard }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.quic.local_addr()
    }

    /// Wants a connection to a node.
    pub(crate) fn connect(&mut self, node: NodeId) {
        self.tell(network::Input::Connect { node });
    }

    /// Connects, and waits until it stands.
    pub(crate) async fn connected(&mut self, node: NodeId) {
        self.connect(node);
        while !self.network.is_up(&node) {
            self.take(Duration::from_millis(100)).await;
        }
    }

    /// Sends a message; returns whether anybody is there.
    pub(crate) fn send(
        &mut self,
        to: From,
        class: Class,
        kind: Kind,
        message: &impl Encode,
    ) -> bool {
        self.call(|network, cx| network.send_to(cx, to, class, kind, message))
    }

    /// Sends a packet as nodes do.
    pub(crate) fn send_packet(&mut self, to: From, circuit: u64, packet: Packet) -> bool {
        use session_network::onion::Size;
        let class = match packet.size() {
            Size::Small => Class::Interactive,
            Size::Bulk | Size::Large => Class::Bulk,
        };
        let packet = session_core::Blob::new(packet.into_bytes()).unwrap();
        self.send(to, class, Kind::Onion, &session_protocol::onion::Onion { circuit, packet })
    }

    /// Returns the next thing that happens within a time.
    pub(crate) async fn next(&mut self, patience: Duration) -> Option<Heard> {
        if self.heard.is_empty() {
            self.take(patience).await;
        }
        self.heard.pop_front()
    }

    /// Takes what comes, for a while at most.
    async fn take(&mut self, patience: Duration) {
        if let Ok(Some(event)) = tokio::time::timeout(patience, self.events.recv()).await {
            let input = self.input(event);
            self.tell(input);
        }
        if self.network.deadline().is_some_and(|at| at <= now()) {
            self.call(|network, cx| network.tick(cx));
        }
    }

    fn input(&mut self, event: Event<Frame>) -> network::Input {
        let number = |conn: ConnId| network::ConnId(conn.into());
        match event {
            Event::Connected { conn, inbound, remote, peer_key, exporter, dial } => {
                self.conns.insert(number(conn), conn);
                let key = |key: PeerKey| DsaPublicKey::try_from(key.as_slice()).unwrap();
                let (conn, remote, peer_key) = (number(conn), remote.ip(), peer_key.map(key));
                network::Input::Connected { conn, inbound, remote, peer_key, exporter, dial }
            }
            Event::Frame { conn, class, size, payload } => {
                let class = match class {
                    quic::Class::Interactive => Class::Interactive,
                    quic::Class::Bulk => Class::Bulk,
                    quic::Class::Datagram => Class::Datagram,
                };
                network::Input::Frame { conn: number(conn), class, size, frame: payload }
            }
            Event::Disconnected { conn, .. } => network::Input::Disconnected { conn: number(conn) },
            Event::DialFailed { dial, why } => {
                network::Input::DialFailed { dial, why: why.to_string() }
            }
        }
    }

    fn tell(&mut self, input: network::Input) {
        self.call(|network, cx| network.handle(cx, input));
    }

    fn call<R>(&mut self, call: impl FnOnce(&mut Network, &mut Context<'_, (), Effect>) -> R) -> R {
        let mut effects = Vec::new();
        let (now, rng) = (now(), &mut self.rng);
        let mut cx = Context { now, store: &mut (), rng, effects: &mut effects };
        let result = call(&mut self.network, &mut cx);
        for effect in effects {
            self.perform(effect);
        }
        result
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send { conn, class, frame } => {
                let class = match class {
                    Class::Interactive => quic::Class::Interactive,
                    Class::Bulk => quic::Class::Bulk,
                    Class::Datagram => quic::Class::Datagram,
                };
                if let Some(conn) = self.conns.get(&conn) {
                    // A connection that has just ended says so by itself.
                    let _ = self.quic.send(*conn, class, frame);
                }
            }
            Effect::Dial { dial, address, key } => {
                let key: PeerKey = Box::new(*key.as_bytes());
                self.quic.dial(dial, address.parse().unwrap(), Some(key)).unwrap();
            }
            Effect::Close { conn, why } => {
                if let Some(conn) = self.conns.get(&conn) {
                    self.quic.finish(*conn, why, Duration::from_secs(1));
                }
            }
            Effect::PeerUp { node, .. } => self.heard.push_back(Heard::Up(node)),
            Effect::Message { from, message } => {
                self.heard.push_back(Heard::Message(from, message));
            }
            _ => {}
        }
    }
}
