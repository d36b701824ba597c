use std::sync::Arc;

use session_core::{Epoch, NodeId, Span, Time};
use session_network::onion::SignedHopKey;
use session_protocol::onion::{HopKeys, service};
use session_protocol::request::{Outcome, Refusal};
use session_protocol::schedule::Schedule;
use session_protocol::{Membership as _, StaticMembership};

use super::{World, but, nodes_of};
use crate::relay::{EPOCH_LENGTH, Input, KEY_OVERLAP};

fn half() -> Span {
    Span::from_millis(EPOCH_LENGTH.as_millis() / 2)
}

#[test]
fn everybody_learns_the_keys_of_everybody() {
    let world = World::new(9);
    for by in 0..9 {
        assert!((0..9).all(|of| world.key(of, by) == world.key(of, of)), "as {by} knows them");
        assert_eq!(world.stats(by).nodes_known, 9);
    }
}

#[test]
fn whoever_starts_late_learns_them_too() {
    let mut world = World::unconnected(9);
    world.nodes[4].up = false;
    world.tick();
    world.nodes[4].up = true;
    world.tick();
    assert_eq!(world.stats(4).nodes_known, 9);
    assert!((0..9).all(|by| world.key(4, by).is_some()));
}

#[test]
fn a_node_that_lost_its_key_is_known_by_the_new_one() {
    let mut world = World::new(5);
    let path = world.path(&[0, 1, 2]);
    let before = world.key(1, 0);
    world.advance(Span::from_secs(61));
    world.restart(1);
    world.tick();
    for by in 0..5 {
        assert_eq!(world.key(1, by), world.key(1, 1), "as {by} knows it");
    }
    assert_ne!(world.key(1, 0), before);
    drop(world.ask_over(&path, 0, service::ECHO, b""));
    assert_eq!((world.stats(1).refused, world.got.len()), (1, 0), "nobody can open it any more");
    let keys = world.ask(&[0, 1, 2], service::ECHO, b"");
    assert_eq!(world.answer(keys), b"");
}

#[test]
fn the_next_key_is_drawn_in_the_middle_and_the_last_one_outlives_its_epoch() {
    let mut world = World::new(3);
    let first = world.nodes[0].relay.keyring.epoch(world.now);
    assert_eq!(first, Epoch(world.now.as_millis() / EPOCH_LENGTH.as_millis()));
    let begun = Time::from_millis(first.0 * EPOCH_LENGTH.as_millis());
    assert!(world.now < begun + half(), "the tests begin in the first half");
    let path = world.path(&[0, 1, 2]);
    let count = |world: &World| {
        let id = world.nodes[1].id.as_bytes()[0];
        world.nodes[0].relay.directory.of_bucket(id, world.now).len()
    };
    world.advance(but((begun + half()).since(world.now)));
    assert_eq!(count(&world), 1);
    world.advance(Span::from_millis(1));
    assert_eq!(count(&world), 2, "published before anybody needs it");

    // The next epoch: both keys work, until the old one is over.
    world.advance(but(half() + KEY_OVERLAP));
    assert_eq!(world.nodes[0].relay.keyring.epoch(world.now), Epoch(first.0 + 1));
    let keys = world.ask_over(&path, 0, service::ECHO, b"");
    assert_eq!(world.answer(keys), b"");
    let keys = world.ask(&[0, 1, 2], service::ECHO, b"");
    assert_eq!(world.answer(keys), b"");
    world.advance(Span::from_millis(1));
    drop(world.ask_over(&path, 0, service::ECHO, b""));
    assert_eq!((world.stats(0).refused, world.got.len()), (1, 0));
    assert_eq!(world.stats(0).nodes_known, 3);
}

#[test]
fn a_chain_says_when_epochs_are_and_they_go_on_where_it_halts() {
    for number in [12, 1_000_000] {
        let mut world = World::new(3);
        let schedule = Schedule { start: world.now, length: Span::from_secs(600) };
        for node in 0..3 {
            world.tell(node, Input::Epoch { epoch: Epoch(number), schedule });
        }
        // What came before its receiver was told is asked for again.
        world.advance(Span::from_secs(60));
        assert_eq!((world.stats(0).epoch, world.stats(0).nodes_known), (Epoch(number), 3));
        world.advance(Span::from_secs(2_940));
        let stats = world.stats(0);
        assert_eq!((stats.epoch, stats.nodes_known), (Epoch(number + 5), 3));
        let keys = world.ask(&[2, 1, 0], service::ECHO, b"");
        assert_eq!(world.answer(keys), b"");
    }
}

#[test]
fn a_node_publishes_when_it_is_registered() {
    let mut world = World::unconnected(4);
    let (everybody, node) = (Arc::clone(&world.membership), world.nodes[3].id);
    let others = everybody.nodes().into_iter().filter(|(known, _)| *known != node);
    let others: Vec<_> = others.map(|(_, record)| record.clone()).collect();
    let others = Arc::new(StaticMembership::new("relays", others).unwrap());
    for index in 0..4 {
        world.tell(index, Input::Membership(Arc::<StaticMembership>::clone(&others)));
    }
    world.tick();
    world.connect(0, 3);
    world.run();
    assert!((0..4).all(|by| world.key(3, by).is_none()));
    for index in 0..4 {
        world.tell(index, Input::Membership(Arc::<StaticMembership>::clone(&everybody)));
    }
    world.tick();
    assert!((0..4).all(|by| world.key(3, by).is_some()));
}

#[test]
fn only_keys_that_can_be_of_use_are_kept() {
    let mut world = World::new(2);
    let epoch = world.nodes[0].relay.keyring.epoch(world.now);
    let own = world.key(1, 1).unwrap();
    let with = |change: &dyn Fn(&mut SignedHopKey)| {
        let mut key = own.clone();
        change(&mut key);
        key
    };
    let now = world.now;
    let mut takes = |key: &SignedHopKey| world.nodes[0].relay.directory.insert(key, epoch, now);
    assert!(!takes(&own), "known");
    assert!(!takes(&with(&|key| key.record.epoch = Epoch(epoch.0 + 2))));
    assert!(!takes(&with(&|key| key.record.until = now)));
    assert!(!takes(&with(&|key| key.record.from = now + Span::from_secs(301))));
    // One that replaces another comes at least a minute after it.
    assert!(!takes(&with(&|key| key.record.from = now + Span::from_secs(59))));
    assert!(takes(&with(&|key| key.record.from = now + Span::from_secs(60))));
}

#[test]
fn nobody_replaces_the_key_of_the_node_that_is_told() {
    let mut world = World::new(2);
    let (mut key, node) = (world.key(1, 1).unwrap(), world.nodes[0].id);
    key.record.from = key.record.from + Span::from_secs(120);
    let keys = session_core::List::new([key.clone()]).unwrap();
    world.tell(1, Input::Keys { node, message: HopKeys::Keys { keys } });
    assert_ne!(world.key(1, 1), Some(key));
}

#[test]
fn a_peer_is_given_whole_buckets_now_and_then_only() {
    let mut world = World::new(2);
    let node = world.nodes[1].id;
    let bucket = world.nodes[0].id.as_bytes()[0];
    world.advance(Span::from_secs(10));
    let ask = |world: &mut World| {
        let buckets = session_core::List::new([bucket]).unwrap();
        let input = Input::Keys { node, message: HopKeys::Want { buckets } };
        let mut effects = Vec::new();
        let mut cx = session_core::Context {
            now: world.now,
            store: &mut (),
            rng: &mut world.rng,
            effects: &mut effects,
        };
        session_core::Machine::handle(&mut world.nodes[0].relay, &mut cx, input);
        let given = effects.iter().map(|effect| match effect {
            crate::relay::Effect::Keys { message, .. } => nodes_of(message).len(),
            other => panic!("{other:?}"),
        });
        given.sum::<usize>()
    };
    assert_eq!((ask(&mut world), ask(&mut world)), (1, 0));
    world.now = world.now + Span::from_secs(5);
    assert_eq!(ask(&mut world), 1);
}

/// Asks a directory as clients do, page by page.
fn pages(world: &World, bits: u8, bucket: u16, bytes_max: u32) -> Vec<Vec<NodeId>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let directory = world.nodes[0].relay.directory();
        match directory.page((bits, bucket), after, bytes_max, world.now).unwrap() {
            Outcome::HopKeys { keys, more } => {
                let nodes: Vec<_> = keys.iter().map(|key| key.record.node).collect();
                after = nodes.last().copied();
                pages.push(nodes);
                if !more {
                    return pages;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn clients_read_the_directory_in_buckets_and_pages() {
    let world = World::new(20);
    let mut ids: Vec<NodeId> = world.nodes.iter().map(|node| node.id).collect();
    ids.sort_unstable();
    assert_eq!(pages(&world, 0, 0, u32::MAX), [&ids[..]]);
    let small = pages(&world, 0, 0, 3 * 4_614);
    assert!(small.iter().all(|page| page.len() <= 3) && small.len() == 7);
    assert_eq!(small.concat(), ids);
    assert_eq!(pages(&world, 0, 0, 0).len(), 20, "at least one node on each");
    for bits in [1, 4, 8, 16] {
        for id in &ids {
            let first = u16::from_be_bytes([id.as_bytes()[0], id.as_bytes()[1]]);
            let bucket = first >> (16 - bits);
            let alike = ids.iter().filter(|other| {
                let other = u16::from_be_bytes([other.as_bytes()[0], other.as_bytes()[1]]);
                other >> (16 - bits) == bucket
            });
            let expected: Vec<NodeId> = alike.copied().collect();
            assert_eq!(pages(&world, bits, bucket, u32::MAX), [expected]);
        }
    }
    let directory = world.nodes[0].relay.directory();
    let ask = |bits, bucket| directory.page((bits, bucket), None, 0, world.now);
    assert_eq!(ask(17, 0), Err(Refusal::too_large("bits", 17, 16)));
    for (bits, bucket) in [(0, 1), (4, 16), (15, 0x8000)] {
        assert!(matches!(ask(bits, bucket), Err(Refusal::BadRequest { .. })));
    }
}
