//! Machines joined by wires that delay, lose and reorder, on one clock.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use session_core::{
    Context, Entropy as _, List, Machine as _, NodeId, SeededEntropy, Span, SwarmId, Text, Time,
};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{Identity, RealVerifier, Signer, Verifier};
use session_network::{Class, Config, ConnId, Effect, From, Input, Network, Role};
use session_protocol::peer::Replicate;
use session_protocol::request::Request;
use session_protocol::{Checker, Kind, Membership, NodeRecord, StaticMembership};

/// Where the clock starts: far from zero, as in life.
pub(crate) const START: Time = Time::from_millis(1_800_000_000_000);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) delay_min: u64,
    pub(crate) delay_max: u64,
    /// Of a hundred datagrams, how many are lost, and how many arrive twice.
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
}

impl Wire {
    pub(crate) const GOOD: Self = Self { delay_min: 10, delay_max: 10, lost: 0, doubled: 0 };
    pub(crate) const BAD: Self = Self { delay_min: 1, delay_max: 200, lost: 20, doubled: 5 };
}

pub(crate) struct Host {
    pub(crate) network: Network,
    config: Config,
    pub(crate) alive: bool,
    ip: IpAddr,
}

struct Pipe {
    host: usize,
    /// The same connection at its other end.
    other: ConnId,
    /// When the last frame of a reliable class arrives there: they stay in order.
    arrival: BTreeMap<Class, Time>,
}

enum Event {
    Input(usize, Input),
    Deliver(usize, ConnId, Class, Vec<u8>),
}

pub(crate) struct World {
    pub(crate) now: Time,
    pub(crate) hosts: Vec<Host>,
    pub(crate) wire: Wire,
    pub(crate) log: Vec<(Time, usize, Effect)>,
    /// Hosts whose frames vanish, and who hears nothing.
    pub(crate) cut: Vec<usize>,
    pub(crate) rng: SeededEntropy,
    checker: Checker,
    keys: Vec<Arc<dyn Signer>>,
    queue: BTreeMap<(Time, u64), Event>,
    pipes: BTreeMap<ConnId, Pipe>,
    serial: u64,
}

pub(crate) fn fake(number: usize) -> Arc<dyn Signer> {
    Arc::new(FakeIdentity::new(&seed(number)))
}

pub(crate) fn real(number: usize) -> Arc<dyn Signer> {
    Arc::new(Identity::from_seed(&seed(number)))
}

/// A request with nothing in it.
pub(crate) fn request(id: u64) -> Request {
    Request { id, operations: List::new(Vec::new()).unwrap() }
}

/// A replication of nothing.
pub(crate) fn replicate(id: u64) -> Replicate {
    Replicate { id, items: List::new(Vec::new()).unwrap() }
}

fn seed(number: usize) -> [u8; 32] {
    let mut seed = [0x5e; 32];
    seed[..8].copy_from_slice(&(number as u64).to_be_bytes());
    seed
}

pub(crate) fn members(name: &str, keys: &[Arc<dyn Signer>]) -> Arc<StaticMembership> {
    let records = keys.iter().enumerate().map(|(number, keys)| NodeRecord {
        keys: keys.public().clone(),
        address: Text::new(format!("node-{number}:9651")).unwrap(),
        swarm: SwarmId(0),
    });
    Arc::new(StaticMembership::new(name, records).unwrap())
}

/// Keys of `count` nodes, lowest id first: host 0 dials everybody.
pub(crate) fn ordered(count: usize, make: fn(usize) -> Arc<dyn Signer>) -> Vec<Arc<dyn Signer>> {
    let mut keys: Vec<_> = (0..count).map(make).collect();
    keys.sort_by_key(|keys| keys.public().node_id());
    keys
}

impl World {
    /// Fake nodes `0..nodes`, and after them clients.
    pub(crate) fn new(seed: u64, nodes: usize, clients: usize) -> Self {
        Self::with(seed, ordered(nodes, fake), clients, Arc::new(FakeVerifier), fake)
    }

    pub(crate) fn real(seed: u64, nodes: usize, clients: usize) -> Self {
        Self::with(seed, ordered(nodes, real), clients, Arc::new(RealVerifier), real)
    }

    fn with(
        seed: u64,
        mut keys: Vec<Arc<dyn Signer>>,
        clients: usize,
        verifier: Arc<dyn Verifier>,
        make: fn(usize) -> Arc<dyn Signer>,
    ) -> Self {
        let members = members("test", &keys);
        let nodes = keys.len();
        keys.extend((0..clients).map(|number| make(1000 + number)));
        let hosts = keys.iter().enumerate().map(|(number, keys)| {
            let listen = Text::new(format!("node-{number}:9651")).unwrap();
            let role = if number < nodes { Role::Node { listen } } else { Role::Client };
            let view: Arc<dyn Membership> = members.clone();
            let config = Config::new(role, Arc::clone(keys), view);
            let ip = IpAddr::V4(Ipv4Addr::new(192, 0, 2, u8::try_from(number).unwrap()));
            Host { network: Network::new(config.clone()), config, alive: true, ip }
        });
        Self {
            now: START,
            hosts: hosts.collect(),
            wire: Wire::GOOD,
            checker: Checker::new(members, verifier),
            log: Vec::new(),
            cut: Vec::new(),
            rng: SeededEntropy::new(seed),
            keys,
            queue: BTreeMap::new(),
            pipes: BTreeMap::new(),
            serial: 0,
        }
    }

    pub(crate) fn id(&self, host: usize) -> NodeId {
        self.keys[host].public().node_id()
    }

    pub(crate) fn network(&self, host: usize) -> &Network {
        &self.hosts[host].network
    }

    /// Everybody among `nodes` wants everybody else.
    pub(crate) fn mesh(&mut self, nodes: usize) {
        for host in 0..nodes {
            for other in (0..nodes).filter(|&other| other != host) {
                let node = self.id(other);
                self.input(host, Input::Connect { node });
            }
        }
    }

    pub(crate) fn connect(&mut self, host: usize, to: usize) {
        let node = self.id(to);
        self.input(host, Input::Connect { node });
    }

    pub(crate) fn input(&mut self, host: usize, input: Input) {
        self.call(host, |network, cx| network.handle(cx, input));
    }

    pub(crate) fn send(
        &mut self,
        host: usize,
        to: From,
        class: Class,
        kind: Kind,
        message: &impl session_core::Encode,
    ) -> bool {
        self.call(host, |network, cx| network.send_to(cx, to, class, kind, message))
    }

    /// The process is gone; the others find out by themselves.
    pub(crate) fn crash(&mut self, host: usize) {
        self.hosts[host].alive = false;
        self.pipes.retain(|_, pipe| pipe.host != host);
    }

    pub(crate) fn restart(&mut self, host: usize) {
        let config = self.hosts[host].config.clone();
        self.hosts[host].network = Network::new(config);
        self.hosts[host].alive = true;
    }

    /// Breaks a connection at both ends.
    pub(crate) fn break_connection(&mut self, conn: ConnId) {
        let Some(pipe) = self.pipes.remove(&conn) else { return };
        let other = self.pipes.remove(&pipe.other);
        self.input(pipe.host, Input::Disconnected { conn });
        if let Some(other) = other {
            self.input(other.host, Input::Disconnected { conn: pipe.other });
        }
    }

    pub(crate) fn connections(&self) -> Vec<ConnId> {
        self.pipes.keys().copied().collect()
    }

    pub(crate) fn run(&mut self, span: Span) {
        let end = self.now + span;
        loop {
            let event = self.queue.first_key_value().map(|(&(at, _), _)| at);
            let deadlines = self.hosts.iter().filter(|host| host.alive);
            let tick = deadlines.filter_map(|host| host.network.deadline()).min();
            let next = event.unwrap_or(Time::MAX).min(tick.unwrap_or(Time::MAX));
            if next > end {
                break;
            }
            self.now = self.now.max(next);
            if event == Some(next) {
                if let Some((_, event)) = self.queue.pop_first() {
                    self.perform(event);
                }
            } else {
                self.tick_all();
            }
        }
        self.now = end;
    }

    fn tick_all(&mut self) {
        for host in 0..self.hosts.len() {
            let due = self.hosts[host].network.deadline().is_some_and(|at| at <= self.now);
            if self.hosts[host].alive && due {
                self.call(host, |network, cx| network.tick(cx));
                let next = self.hosts[host].network.deadline();
                assert!(next.is_none_or(|at| at > self.now), "a tick leaves nothing that is due");
            }
        }
    }

    fn perform(&mut self, event: Event) {
        match event {
            Event::Input(host, input) if self.hosts[host].alive => self.input(host, input),
            Event::Deliver(host, conn, class, bytes)
                if self.hosts[host].alive && self.pipes.contains_key(&conn) =>
            {
                let frame = self.checker.check(&bytes);
                self.input(host, Input::Frame { conn, class, size: bytes.len(), frame });
            }
            _ => {}
        }
    }

    fn call<T>(
        &mut self,
        host: usize,
        act: impl FnOnce(&mut Network, &mut Context<'_, (), Effect>) -> T,
    ) -> T {
        let mut effects = Vec::new();
        let mut cx =
            Context { now: self.now, store: &mut (), rng: &mut self.rng, effects: &mut effects };
        let result = act(&mut self.hosts[host].network, &mut cx);
        for effect in effects {
            self.effect(host, effect);
        }
        result
    }

    fn delay(&mut self) -> Span {
        let Wire { delay_min, delay_max, .. } = self.wire;
        Span::from_millis(delay_min + self.rng.below(delay_max - delay_min + 1))
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.serial += 1;
        self.queue.insert((at, self.serial), event);
    }

    fn effect(&mut self, host: usize, effect: Effect) {
        match &effect {
            Effect::Send { conn, class, frame } => self.transmit(host, *conn, *class, frame),
            Effect::Close { conn, .. } => {
                let at = self.now + Span::from_millis(self.wire.delay_max);
                if let Some(pipe) = self.pipes.remove(conn)
                    && let Some(other) = self.pipes.get(&pipe.other)
                {
                    let conn = pipe.other;
                    let host = other.host;
                    self.schedule(at, Event::Input(host, Input::Disconnected { conn }));
                }
            }
            Effect::Dial { dial, address, key } => {
                let target = self
                    .hosts
                    .iter()
                    .enumerate()
                    .position(|(number, _)| *address == format!("node-{number}:9651"));
                let there = target.filter(|&to| {
                    self.hosts[to].alive
                        && self.keys[to].public().dsa() == key
                        && !self.cut.contains(&to)
                        && !self.cut.contains(&host)
                });
                match there {
                    Some(to) => self.join(host, to, *dial),
                    None => {
                        let at = self.now + self.delay();
                        let why = "connection refused".to_owned();
                        let input = Input::DialFailed { dial: *dial, why };
                        self.schedule(at, Event::Input(host, input));
                    }
                }
            }
            _ => {}
        }
        if !matches!(effect, Effect::Send { .. }) {
            self.log.push((self.now, host, effect));
        }
    }

    fn join(&mut self, from: usize, to: usize, dial: u64) {
        self.serial += 2;
        let (dialled, accepted) = (ConnId(self.serial), ConnId(self.serial + 1));
        self.serial += 1;
        let pipe = |host, other| Pipe { host, other, arrival: BTreeMap::new() };
        self.pipes.insert(dialled, pipe(from, accepted));
        self.pipes.insert(accepted, pipe(to, dialled));
        let exporter = self.rng.bytes32();
        let there = self.now + self.delay();
        let back = there + self.delay();
        let key = |host: usize| Some(self.keys[host].public().dsa().clone());
        let at_acceptor = Input::Connected {
            conn: accepted,
            inbound: true,
            remote: self.hosts[from].ip,
            peer_key: key(from),
            exporter,
            dial: None,
        };
        let at_dialer = Input::Connected {
            conn: dialled,
            inbound: false,
            remote: self.hosts[to].ip,
            peer_key: key(to),
            exporter,
            dial: Some(dial),
        };
        self.schedule(there, Event::Input(to, at_acceptor));
        self.schedule(back, Event::Input(from, at_dialer));
    }

    fn transmit(&mut self, host: usize, conn: ConnId, class: Class, frame: &[u8]) {
        let datagram = class == Class::Datagram;
        let delay = self.delay();
        let lost = datagram && self.rng.below(100) < self.wire.lost;
        let doubled = datagram && self.rng.below(100) < self.wire.doubled;
        let Some(pipe) = self.pipes.get_mut(&conn) else { return };
        let mut at = self.now + delay;
        if !datagram {
            let last = pipe.arrival.entry(class).or_insert(at);
            at = at.max(*last);
            *last = at;
        }
        let other = pipe.other;
        let Some(to) = self.pipes.get(&other).map(|pipe| pipe.host) else { return };
        if lost || self.cut.contains(&host) || self.cut.contains(&to) {
            return;
        }
        self.schedule(at, Event::Deliver(to, other, class, frame.to_vec()));
        if doubled {
            let again = self.now + self.delay();
            self.schedule(again, Event::Deliver(to, other, class, frame.to_vec()));
        }
    }
}
