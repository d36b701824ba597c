//! A client that makes its packets by hand.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use session_core::{Blob, Context, Encode, Machine as _, NodeId, SeededEntropy};
use session_crypto::{DsaPublicKey, Identity, RealVerifier};
use session_network::onion::Packet;
use session_network::{self as network, Class, Effect, From, Network, Role};
use session_protocol::inbound::Fault;
use session_protocol::onion::Onion;
use session_protocol::request::{Reply, Request};
use session_protocol::{Checker, Inbound, Kind, Membership};
use session_runtime::quic::{self, ConnId, Event, Events, Options, PeerKey, Quic};

use super::now;

type Frame = Result<Inbound, Fault>;

/// A client with a connection to one node.
pub(crate) struct Asker {
    network: Network,
    quic: Quic<Frame>,
    events: Events<Frame>,
    conns: BTreeMap<network::ConnId, ConnId>,
    pub(crate) rng: SeededEntropy,
    node: NodeId,
    replies: Vec<Reply>,
    onions: Vec<Onion>,
}

impl Asker {
    /// Connects to a node.
    pub(crate) async fn connect(membership: Arc<dyn Membership>, node: NodeId) -> Self {
        let checker = Checker::new(Arc::clone(&membership), Arc::new(RealVerifier));
        let decode = Arc::new(move |_, _, body: Vec<u8>| checker.check(&body));
        let options = Options::new("127.0.0.1:0".parse().unwrap());
        let (quic, events) = Quic::bind(options, None, decode).unwrap();
        let keys = Arc::new(Identity::from_seed(&[9; 32]));
        let network = Network::new(network::Config::new(Role::Client, keys, membership));
        let mut asker = Self {
            network,
            quic,
            events,
            conns: BTreeMap::new(),
            rng: SeededEntropy::new(7),
            node,
            replies: Vec::new(),
            onions: Vec::new(),
        };
        asker.tell(network::Input::Connect { node });
        while !asker.network.is_up(&node) {
            asker.wait(Duration::from_millis(100)).await;
        }
        asker
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.quic.local_addr()
    }

    /// Asks the node itself.
    pub(crate) async fn ask(&mut self, request: &Request) -> Reply {
        self.send(Kind::Request, request);
        loop {
            if let Some(reply) = self.replies.pop() {
                return reply;
            }
            self.wait(Duration::from_millis(100)).await;
        }
    }

    /// Sends a packet and returns what comes back within a time.
    pub(crate) async fn carry(&mut self, packet: Packet, patience: Duration) -> Option<Packet> {
        let circuit = session_core::Entropy::next_u64(&mut self.rng);
        let packet = Blob::new(packet.into_bytes()).unwrap();
        self.send(Kind::Onion, &Onion { circuit, packet });
        let step = Duration::from_millis(20);
        for _ in 0..patience.as_millis() / step.as_millis() {
            if let Some(onion) = self.onions.pop() {
                assert_eq!(onion.circuit, circuit);
                return Some(Packet::try_from(onion.packet.into_vec()).unwrap());
            }
            self.wait(step).await;
        }
        None
    }

    fn send(&mut self, kind: Kind, message: &impl Encode) {
        let to = From::Node(self.node);
        let sent = self.call(|network, cx| network.send_to(cx, to, Class::Bulk, kind, message));
        assert!(sent, "the node is there");
    }

    /// Takes what comes, for a while at most.
    async fn wait(&mut self, patience: Duration) {
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
            Effect::Message { message: Inbound::Reply(reply), .. } => self.replies.push(reply),
            Effect::Message { message: Inbound::Onion(onion), .. } => self.onions.push(onion),
            _ => {}
        }
    }
}
