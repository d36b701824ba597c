//! Two nodes, a client, and an enemy who owns the wires: nothing makes a machine panic, nobody is
//! up without the keys, and effects stay within reason.
#![no_main]

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use session_core::{Context, Machine as _, NodeId, SeededEntropy, Span, SwarmId, Text, Time};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{DsaPublicKey, Signer};
use session_network::{Class, Config, ConnId, Effect, Input, Network, Role};
use session_protocol::{Checker, NodeRecord, StaticMembership};

/// Two nodes, the lower id first, and a client.
static KEYS: LazyLock<[Arc<FakeIdentity>; 3]> = LazyLock::new(|| {
    let mut keys = [1, 2, 3].map(|seed| Arc::new(FakeIdentity::new(&[seed; 32])));
    keys[..2].sort_by_key(|keys| keys.public().node_id());
    keys
});

static MEMBERS: LazyLock<Arc<StaticMembership>> = LazyLock::new(|| {
    let records = KEYS[..2].iter().enumerate().map(|(number, keys)| NodeRecord {
        keys: keys.public().clone(),
        address: Text::new(format!("n{number}:1")).expect("short"),
        swarm: SwarmId(0),
    });
    Arc::new(StaticMembership::new("fuzz", records).expect("two nodes"))
});

static CHECKER: LazyLock<Checker> =
    LazyLock::new(|| Checker::new(MEMBERS.clone(), Arc::new(FakeVerifier)));

fn id(host: usize) -> NodeId {
    KEYS[host].public().node_id()
}

/// A connection as both ends number it: the end of host `h` is known there as `ConnId(number)`.
struct Wire {
    ends: [usize; 2],
    conn: ConnId,
    open: bool,
    /// Whether both ends are of one TLS channel: if not, somebody sits in the middle.
    whole: bool,
}

struct World {
    now: Time,
    rng: SeededEntropy,
    hosts: Vec<Network>,
    wires: Vec<Wire>,
    dials: VecDeque<(usize, u64, DsaPublicKey)>,
    frames: VecDeque<(usize, ConnId, Class, Vec<u8>)>,
    effects: u64,
}

impl World {
    fn new() -> Self {
        let hosts = (0..3).map(|host| {
            let role = if host < 2 {
                Role::Node { listen: Text::new(format!("n{host}:1")).expect("short") }
            } else {
                Role::Client
            };
            Network::new(Config::new(role, KEYS[host].clone(), MEMBERS.clone()))
        });
        let mut world = Self {
            now: Time::from_millis(1_800_000_000_000),
            rng: SeededEntropy::new(1),
            hosts: hosts.collect(),
            wires: Vec::new(),
            dials: VecDeque::new(),
            frames: VecDeque::new(),
            effects: 0,
        };
        for host in 0..3 {
            for node in (0..2).filter(|node| *node != host) {
                world.handle(host, Input::Connect { node: id(node) });
            }
        }
        world
    }

    fn run(&mut self, host: usize, call: impl FnOnce(&mut Network, &mut Context<'_, (), Effect>)) {
        let mut effects = Vec::new();
        let mut cx =
            Context { now: self.now, store: &mut (), rng: &mut self.rng, effects: &mut effects };
        call(&mut self.hosts[host], &mut cx);
        self.effects += effects.len() as u64;
        for effect in effects {
            match effect {
                Effect::Dial { dial, key, .. } => self.dials.push_back((host, dial, key)),
                Effect::Send { conn, class, frame } => {
                    self.frames.push_back((host, conn, class, frame));
                }
                Effect::Close { conn, .. } => self.cut(host, conn),
                Effect::PeerUp { node, conn } => {
                    let wire = self.wires.iter().find(|wire| wire.conn == conn).expect("known");
                    assert!(wire.whole, "up through somebody in the middle");
                    assert!(node != id(host) && wire.ends.iter().any(|end| id(*end) == node));
                }
                _ => {}
            }
        }
    }

    fn handle(&mut self, host: usize, input: Input) {
        self.run(host, |network, cx| network.handle(cx, input));
    }

    /// Nothing more travels; the other end learns of it when a later step hangs up.
    fn cut(&mut self, host: usize, conn: ConnId) {
        for wire in self.wires.iter_mut().filter(|w| w.conn == conn && w.ends.contains(&host)) {
            wire.open = false;
        }
    }

    fn wire(&self, choice: u8) -> Option<(usize, [usize; 2], ConnId)> {
        let place = usize::from(choice).checked_rem(self.wires.len())?;
        let wire = &self.wires[place];
        Some((place, wire.ends, wire.conn))
    }

    /// Connects a dial to the host that it means, or both ends to somebody in the middle.
    fn answer(&mut self, whole: bool) {
        let Some((from, dial, key)) = self.dials.pop_front() else { return };
        let to = (0..2).find(|node| KEYS[*node].public().dsa() == &key).expect("a node's key");
        let conn = ConnId(self.wires.len() as u64);
        self.wires.push(Wire { ends: [from, to], conn, open: true, whole });
        let own_key = (from < 2).then(|| KEYS[from].public().dsa().clone());
        let exporter = |end: u8| [if whole { 7 } else { end }; 32];
        self.connected(to, conn, true, own_key, exporter(1), None);
        self.connected(from, conn, false, Some(key), exporter(2), Some(dial));
    }

    fn connected(
        &mut self,
        host: usize,
        conn: ConnId,
        inbound: bool,
        peer_key: Option<DsaPublicKey>,
        exporter: [u8; 32],
        dial: Option<u64>,
    ) {
        let remote = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let input = Input::Connected { conn, inbound, remote, peer_key, exporter, dial };
        self.handle(host, input);
    }

    fn arrive(&mut self, host: usize, conn: ConnId, class: Class, body: &[u8]) {
        let frame = CHECKER.check(body);
        self.handle(host, Input::Frame { conn, class, size: body.len(), frame });
    }

    /// Delivers the oldest frame, changed by up to two bytes.
    fn deliver(&mut self, place: u8, change: u8, keep: bool) {
        let Some((from, conn, class, mut body)) = self.frames.pop_front() else { return };
        let Some(wire) = self.wires.iter().find(|wire| wire.conn == conn) else { return };
        if !wire.open {
            return;
        }
        let to = if wire.ends[0] == from { wire.ends[1] } else { wire.ends[0] };
        if keep {
            self.frames.push_back((from, conn, class, body.clone()));
        }
        let place = usize::from(place) * 5;
        if let Some(byte) = body.get_mut(place) {
            *byte ^= change;
        }
        self.arrive(to, conn, class, &body);
    }

    fn hang_up(&mut self, choice: u8) {
        if let Some((place, ends, conn)) = self.wire(choice) {
            self.wires[place].open = false;
            self.handle(ends[usize::from(choice >> 7)], Input::Disconnected { conn });
        }
    }

    fn inject(&mut self, choice: u8, body: &[u8]) {
        if let Some((_, ends, conn)) = self.wire(choice) {
            let class = [Class::Interactive, Class::Bulk, Class::Datagram];
            let class = class[usize::from(choice) % 3];
            self.arrive(ends[usize::from(choice >> 7)], conn, class, body);
        }
    }

    fn tick(&mut self, units: u8) {
        self.now = self.now + Span::from_millis(u64::from(units).pow(2));
        for host in 0..3 {
            if self.hosts[host].deadline().is_some_and(|due| due <= self.now) {
                self.run(host, |network, cx| network.tick(cx));
                let due = self.hosts[host].deadline();
                assert!(due.is_none_or(|due| due > self.now), "a tick leaves work that was due");
            }
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let mut world = World::new();
    let mut input = input;
    let mut steps = 0;
    while let [step, a, b, rest @ ..] = input {
        input = rest;
        steps += 1;
        match step % 10 {
            0 | 1 => world.answer(*a < 200),
            2..=4 => world.deliver(*a, 0, *b > 250),
            5 => world.deliver(*a, *b, false),
            6 => world.tick(*a),
            7 => world.hang_up(*a),
            8 => {
                let (body, rest) = input.split_at(input.len().min(usize::from(*b)));
                input = rest;
                world.inject(*a, body);
            }
            _ => {
                if let Some((host, dial, _)) = world.dials.pop_front() {
                    world.handle(host, Input::DialFailed { dial, why: "refused".into() });
                }
            }
        }
    }
    assert!(world.effects <= 1_000 + 200 * steps, "{} effects in {steps} steps", world.effects);
});
