//! Whole clusters over wires that delay, lose, repeat and reorder, while connections break and
//! nodes crash.

use std::collections::BTreeMap;

use session_core::{Encode as _, Entropy as _, NodeId, Span, sha256};
use session_network::{Class, Effect, From};
use session_protocol::Kind;

use crate::world::{Wire, World, replicate, request};

const NODES: usize = 5;
const CLIENTS: usize = 2;

/// What the layers above would see: `PeerUp` and `PeerDown` in turns, messages only between.
fn check_log(world: &World, seed: u64) {
    let mut up: BTreeMap<(usize, NodeId), bool> = BTreeMap::new();
    let mut clients = BTreeMap::new();
    for (_, host, effect) in &world.log {
        match effect {
            Effect::PeerUp { node, .. } => {
                let before = up.insert((*host, *node), true);
                assert_ne!(before, Some(true), "seed {seed}: up twice");
            }
            Effect::PeerDown { node } => {
                let before = up.insert((*host, *node), false);
                assert_eq!(before, Some(true), "seed {seed}: down without up");
            }
            Effect::ClientUp { conn, .. } => assert_eq!(clients.insert(*conn, true), None),
            Effect::ClientDown { conn } => assert_eq!(clients.insert(*conn, false), Some(true)),
            Effect::Message { from: From::Node(node), .. } => {
                assert_eq!(up.get(&(*host, *node)), Some(&true), "seed {seed}");
            }
            Effect::Message { from: From::Client(conn), .. } => {
                assert_eq!(clients.get(conn), Some(&true), "seed {seed}");
            }
            Effect::Penalized { .. } | Effect::Limited { .. } => {
                panic!("seed {seed}: the honest are punished: {effect:?}")
            }
            _ => {}
        }
    }
}

fn chatter(world: &mut World) {
    for host in 0..NODES + CLIENTS {
        let to = usize::try_from(world.rng.below(NODES as u64)).unwrap();
        let class = if world.rng.below(2) == 0 { Class::Interactive } else { Class::Bulk };
        let node = From::Node(world.id(to));
        if host < NODES {
            // The id tells who sent it, so that a wrong sender would show.
            world.send(host, node, class, Kind::Replicate, &replicate(host as u64));
        } else {
            world.send(host, node, class, Kind::Request, &request(host as u64));
        }
    }
}

fn run(seed: u64) -> (World, [u8; 32]) {
    let mut world = World::new(seed, NODES, CLIENTS);
    world.wire = Wire::BAD;
    world.mesh(NODES);
    for client in NODES..NODES + CLIENTS {
        world.connect(client, 0);
        world.connect(client, 3);
    }
    let mut trouble = Vec::new();
    for _ in 0..120 {
        world.run(Span::from_millis(500));
        chatter(&mut world);
        let conns = world.connections();
        if !conns.is_empty() && world.rng.below(4) == 0 {
            let index = usize::try_from(world.rng.below(conns.len() as u64)).unwrap();
            trouble.push(conns[index]);
            world.break_connection(conns[index]);
        }
    }
    // No crashes so far, so the log has to be whole.
    check_log(&world, seed);
    assert!(trouble.len() > 5, "seed {seed}: something happened");
    let mut trace = Vec::new();
    for (at, host, effect) in &world.log {
        at.encode(&mut trace);
        trace.extend(format!("{host} {effect:?}").into_bytes());
    }
    let digest = sha256(&trace);
    (world, digest)
}

#[test]
fn everybody_finds_everybody_in_the_end() {
    for seed in 0..40 {
        let (mut world, _) = run(seed);
        let crashed = usize::try_from(seed).unwrap() % NODES;
        world.crash(crashed);
        world.run(Span::from_secs(40));
        for other in (0..NODES).filter(|&other| other != crashed) {
            assert!(!world.network(other).is_up(&world.id(crashed)), "seed {seed}");
        }
        world.restart(crashed);
        for other in (0..NODES).filter(|&other| other != crashed) {
            world.connect(crashed, other);
        }
        world.wire = Wire::GOOD;
        world.run(Span::from_secs(60));
        for host in 0..NODES {
            let others = (0..NODES).filter(|&other| other != host);
            for other in others {
                assert!(
                    world.network(host).is_up(&world.id(other)),
                    "seed {seed}: {host} has lost {other}"
                );
            }
            let failures = world.network(host).stats().failures;
            assert_eq!(failures.bad_proof, 0, "seed {seed}");
            assert_eq!(failures.out_of_order, 0, "seed {seed}");
            assert_eq!(world.network(host).stats().refused.malformed, 0, "seed {seed}");
            assert_eq!(world.network(host).stats().refused.unhandled, 0, "seed {seed}");
            let clients = if host == 0 || host == 3 { CLIENTS } else { 0 };
            assert_eq!(world.network(host).clients(), clients, "seed {seed}");
            assert_eq!(world.network(host).connections(), NODES - 1 + clients, "seed {seed}");
        }
    }
}

#[test]
fn messages_come_from_whom_they_say() {
    let (world, _) = run(100);
    let mut seen = 0;
    for (_, _, effect) in &world.log {
        if let Effect::Message { from: From::Node(node), message } = effect {
            let session_protocol::Inbound::Replicate(replicate) = message else { panic!() };
            assert_eq!(world.id(usize::try_from(replicate.id).unwrap()), *node);
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} messages");
}

#[test]
fn the_same_seed_gives_the_same_story() {
    for seed in [1, 2] {
        assert_eq!(run(seed).1, run(seed).1);
    }
    assert_ne!(run(1).1, run(2).1);
}

#[test]
fn a_partition_heals() {
    for seed in 0..10 {
        let mut world = World::new(seed, 4, 0);
        world.mesh(4);
        world.run(Span::from_secs(5));
        world.cut = vec![0, 1];
        world.run(Span::from_secs(40));
        for host in 0..4 {
            let up = world.network(host).peers().filter(|peer| peer.conn.is_some()).count();
            let expected = usize::from(!world.cut.contains(&host));
            assert_eq!(up, expected, "seed {seed}: only 2 and 3 still hear each other");
        }
        world.cut.clear();
        world.run(Span::from_secs(20));
        for host in 0..4 {
            let up = world.network(host).peers().filter(|peer| peer.conn.is_some()).count();
            assert_eq!(up, 3, "seed {seed}: {host}");
        }
    }
}
