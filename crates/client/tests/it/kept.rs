//! What is kept from one start to the next, and in whose hands hops are.

use std::collections::BTreeSet;

use session_client::onion::{HopKeyList, Kept, Mode};
use session_client::{Client, Config, Effect, Error};
use session_core::{AccountId, List, NodeId, Span, SwarmId};
use session_protocol::membership::Holder;

use crate::asks::{stored, timed};
use crate::hops::{acquainted, guards, routes, store};
use crate::world::World;

const SWARM: [(SwarmId, usize); 1] = [(SwarmId(1), 10)];

/// What a world's client gave out to be kept.
fn kept(world: &World) -> Kept {
    let mut kept = Kept::default();
    for said in &world.said {
        match said {
            Effect::Guards(guards) => kept.guards = guards.clone(),
            Effect::Health(health) => kept.health = health.clone(),
            Effect::HopKeys(keys) => kept.hop_keys = keys.clone(),
            _ => {}
        }
    }
    kept
}

/// The same network some time later, and a client that kept something.
fn again(seed: u64, kept: Kept) -> World {
    let mut world = World::over_with(seed, &SWARM, Mode::onion(), kept);
    world.pass(Span::from_secs(90));
    world
}

#[test]
fn with_keys_that_were_kept_nobody_is_asked_for_them() {
    let first = acquainted(1, 10, Mode::onion());
    let before = kept(&first);
    assert_eq!(before.hop_keys.keys.len(), 20, "of this epoch and the next one");
    let mut world = again(1, before.clone());
    for _ in 0..10 {
        stored(&world.run(store()));
    }
    assert_eq!((routes(&world).keys, routes(&world).lost), (0, 0));
    // Keys that are not their nodes' are read anew, as if they had never been there.
    let mut keys: Vec<_> = before.hop_keys.keys.iter().cloned().collect();
    let last = keys[0].record.node;
    keys.iter_mut().for_each(|key| key.record.node = last);
    let hop_keys = HopKeyList { keys: List::new(keys).unwrap(), ..before.hop_keys.clone() };
    let mut world = again(1, Kept { hop_keys, ..before.clone() });
    stored(&world.run(store()));
    assert!(routes(&world).keys >= 18, "{:?}", routes(&world));
    // When they have ended, too.
    let mut world = again(1, before);
    world.pass(Span::from_secs(3 * 3600));
    world.publish_keys();
    stored(&world.run(store()));
    assert!(routes(&world).keys >= 20, "{:?}", routes(&world));
}

#[test]
fn keys_of_nodes_that_were_all_restarted_cost_one_short_wait() {
    let first = acquainted(2, 10, Mode::onion());
    let mut world = again(2, kept(&first));
    world.pass(Span::from_secs(60));
    for node in 0..10 {
        world.renew_keys(node);
    }
    let (result, took) = timed(&mut world, store());
    stored(&result);
    assert!(took < 2_000, "{took} ms");
    for _ in 0..10 {
        let (result, took) = timed(&mut world, store());
        stored(&result);
        assert!(took < 300, "{took} ms");
    }
}

#[test]
fn who_was_found_dead_is_passed_by_at_the_next_start() {
    for seed in 0..10 {
        let mut world = acquainted(seed, 10, Mode::onion());
        let guards = guards(&world);
        let others = (0..10).filter(|node| !guards.contains(&world.id(*node)));
        let dead: Vec<usize> = others.take(2).collect();
        dead.iter().for_each(|node| world.vanish(*node));
        let mut slow = 0;
        for _ in 0..20 {
            let (result, took) = timed(&mut world, store());
            stored(&result);
            assert!(took < 1_000, "seed {seed}: {took} ms");
            slow += usize::from(took > 250);
        }
        assert!(slow <= 6, "seed {seed}: {slow}");
        world.pass(Span::from_secs(1));
        let mut next = again(seed, kept(&world));
        dead.iter().for_each(|node| next.vanish(*node));
        for _ in 0..20 {
            let (result, took) = timed(&mut next, store());
            stored(&result);
            assert!(took < 250, "seed {seed}: {took} ms");
        }
    }
}

#[test]
fn guards_that_were_missing_are_stood_in_for_at_once() {
    let mut world = acquainted(3, 10, Mode::onion());
    let before = guards(&world);
    for guard in &before {
        let dead = world.index(*guard);
        world.kill(dead);
    }
    world.pass(Span::from_secs(30));
    let (result, took) = timed(&mut world, store());
    stored(&result);
    assert!(took < 2_500, "both are gone: {took} ms");
    world.pass(Span::from_secs(2));
    let mut next = again(3, kept(&world));
    for guard in &before {
        let dead = next.index(*guard);
        next.kill(dead);
    }
    let (result, took) = timed(&mut next, store());
    stored(&result);
    assert!(took < 250, "{took} ms");
    assert!(guards(&next).starts_with(&before), "they keep their place");
}

/// Nodes of some operators, at addresses that are seen from everywhere, or from here only.
fn owned(seed: u64, operators: &[u8], address: impl Fn(usize) -> String) -> World {
    let place = |index: usize| {
        let operator = Some(AccountId::from([operators[index]; 32]));
        (address(index), Holder { operator, stake: Some(100) })
    };
    let swarms = [(SwarmId(1), operators.len())];
    let make = |config| Client::new(Config { mode: Mode::onion(), ..config });
    let mut world = World::placed(seed, &swarms, place, make);
    world.publish_keys();
    world
}

fn public(index: usize) -> String {
    format!("198.{index}.0.1:{index}")
}

#[test]
fn no_two_hops_are_of_one_operator() {
    let operators = [1, 1, 1, 1, 2, 2, 2, 3, 3, 4];
    for seed in 0..5 {
        let mut world = owned(seed, &operators, public);
        let of = |world: &World, node: &NodeId| operators[world.index(*node)];
        for _ in 0..40 {
            stored(&world.run(store()));
            world.pass(Span::from_secs(1));
        }
        let report = world.client.paths(world.now).unwrap();
        assert!(!report.paths.is_empty());
        for path in &report.paths {
            let hands: BTreeSet<u8> = path.hops.iter().map(|hop| of(&world, hop)).collect();
            assert_eq!(hands.len(), 3, "seed {seed}: {path:?}");
        }
        let guards = guards(&world);
        assert_ne!(of(&world, &guards[0]), of(&world, &guards[1]), "nor both guards");
    }
}

#[test]
fn a_network_in_one_hand_makes_no_path_unless_it_is_here() {
    let operators = [1; 10];
    let mut world = owned(1, &operators, public);
    let (result, took) = timed(&mut world, store());
    let expected = Error::TooFewHops { hops: 3, fitting: 1, known: 0, nodes: 10 };
    assert_eq!((result, took), (Err(expected), 0));
    assert_eq!(world.client.network().connections(), 0);
    // On one machine everything is in one hand anyhow.
    let mut world = owned(1, &operators, |index| format!("127.0.0.1:{index}"));
    for _ in 0..10 {
        stored(&world.run(store()));
    }
    // One node that is elsewhere, and the others are told apart again.
    let elsewhere = |index| if index == 0 { public(0) } else { format!("127.0.0.1:{index}") };
    let mut world = owned(1, &operators, elsewhere);
    assert!(matches!(world.run(store()), Err(Error::TooFewHops { fitting: 1, .. })));
}

#[test]
fn a_guard_that_dies_silently_is_soon_not_used_any_more() {
    let mut slow = 0;
    for seed in 0..10 {
        let mut world = acquainted(seed, 11, Mode::onion());
        let guards = guards(&world);
        let first = world.index(guards[0]);
        let others: Vec<usize> = (0..11).filter(|it| !guards.contains(&world.id(*it))).collect();
        for dead in [first, others[0], others[1]] {
            world.vanish(dead);
        }
        let took: Vec<u64> = (0..40).map(|_| timed(&mut world, store()).1).collect();
        assert!(took.iter().all(|took| *took < 3_000), "seed {seed}: {took:?}");
        slow += took.iter().filter(|took| **took > 250).count();
    }
    // Of four hundred, with a guard and two others of eleven nodes dead.
    assert!(slow <= 80, "{slow}");
}
