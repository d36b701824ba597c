//! Subscriptions: nothing lost, nothing twice, whoever dies.

use session_client::{Command, Effect, Error, Inbox, InboxReader, Input};
use session_core::{Entropy as _, MessageId, SeededEntropy, Span, SwarmId};
use session_protocol::inbound::CheckedOperation;
use session_protocol::inbox::{ATTACHMENTS, MESSAGES};
use session_protocol::request::{Operation, Push};

use crate::world::World;

fn subscribe(world: &mut World) -> u64 {
    let namespaces = vec![MESSAGES];
    world.command(Command::Subscribe {
        from: Inbox::Own,
        namespaces,
        reader: Box::new(InboxReader::new()),
    })
}

/// A world with a live subscription, and the node that pushes.
fn live(seed: u64) -> (World, u64, usize) {
    let mut world = World::new(seed, 10);
    let id = subscribe(&mut world);
    world.pass(Span::from_secs(1));
    let node = pusher(&world);
    (world, id, node)
}

fn pusher(world: &World) -> usize {
    let live = world.said.iter().rev().find_map(|effect| match effect {
        Effect::Live { node, .. } => Some(*node),
        _ => None,
    });
    world.index(live.expect("it went live"))
}

fn pushed(world: &World) -> Vec<MessageId> {
    let items = world.said.iter().filter_map(|effect| match effect {
        Effect::Pushed { item, .. } => Some(item.id),
        _ => None,
    });
    items.collect()
}

fn send(world: &mut World, number: u64, nodes: &[usize]) -> MessageId {
    let item = world.item(MESSAGES, &number.to_be_bytes());
    world.arrive(&item, nodes);
    item.id
}

const ALL: [usize; 10] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];

#[test]
fn what_came_before_and_what_comes_after_is_reported_once() {
    let mut world = World::new(1, 10);
    let before: Vec<MessageId> = (0..5).map(|number| send(&mut world, number, &ALL)).collect();
    let id = subscribe(&mut world);
    world.pass(Span::from_secs(1));
    assert_eq!(pushed(&world), before);
    let after = send(&mut world, 5, &ALL);
    world.pass(Span::from_millis(10));
    assert_eq!(pushed(&world).last(), Some(&after), "at once");
    // Readings later find all of it again, in two nodes, and say nothing.
    world.pass(Span::from_secs(100));
    assert_eq!(pushed(&world).len(), 6);
    assert!(world.client.stats().duplicates >= 6);
    let last = world.said.iter().rev().find(|effect| matches!(effect, Effect::Pushed { .. }));
    let Some(Effect::Pushed { id: of, address, incarnation: 1, .. }) = last else {
        panic!("{last:?}")
    };
    assert_eq!((*of, *address), (id, world.inbox()));
}

#[test]
fn a_reader_that_saw_it_is_not_told_again() {
    let mut world = World::new(1, 3);
    let seen = world.item(MESSAGES, b"seen");
    world.arrive(&seen, &[0, 1, 2]);
    let new = send(&mut world, 1, &[0, 1, 2]);
    let mut reader = InboxReader::new();
    assert!(reader.absorb_pushed(&seen));
    world.command(Command::Subscribe {
        from: Inbox::Own,
        namespaces: vec![MESSAGES],
        reader: Box::new(reader),
    });
    world.pass(Span::from_secs(1));
    assert_eq!(pushed(&world), [new]);
}

#[test]
fn a_push_that_comes_twice_is_reported_once() {
    let (mut world, _, node) = live(1);
    let mut item = world.item(MESSAGES, b"hello");
    item.arrival = 1;
    let push = Push { address: world.inbox(), incarnation: 1, item };
    let conn = world.subscriber(node).unwrap();
    for _ in 0..3 {
        world.push(node, conn, &push);
    }
    world.pass(Span::from_millis(100));
    assert_eq!(pushed(&world).len(), 1);
    assert_eq!(world.client.stats().duplicates, 2);
}

#[test]
fn a_node_that_drops_pushes_is_read_from() {
    let (mut world, _, node) = live(2);
    world.nodes[node].pushes = false;
    let quiet = send(&mut world, 1, &ALL);
    world.pass(Span::from_secs(5));
    assert_eq!(pushed(&world), []);
    world.pass(Span::from_secs(30));
    assert_eq!(pushed(&world), [quiet]);
}

// Every sweep reads from a second node.
#[test]
fn a_node_that_withholds_is_made_up_for() {
    let (mut world, _, node) = live(3);
    let others: Vec<usize> = ALL.into_iter().filter(|other| *other != node).collect();
    let hidden = send(&mut world, 1, &others);
    world.pass(Span::from_secs(35));
    assert_eq!(pushed(&world), [hidden]);
}

#[test]
fn when_the_node_dies_another_one_pushes_and_the_gap_is_closed() {
    let (mut world, id, node) = live(4);
    let mut sent = vec![send(&mut world, 1, &ALL)];
    world.pass(Span::from_millis(50));
    world.kill(node);
    // While nobody pushes.
    sent.push(send(&mut world, 2, &ALL));
    world.pass(Span::from_secs(2));
    assert!(world.said.contains(&Effect::Lost { id }));
    assert_ne!(pusher(&world), node);
    sent.push(send(&mut world, 3, &ALL));
    world.pass(Span::from_millis(50));
    assert_eq!(pushed(&world), sent);
}

#[test]
fn a_network_that_is_away_is_waited_for() {
    let (mut world, _, _) = live(5);
    ALL.into_iter().for_each(|node| world.kill(node));
    let sent = send(&mut world, 1, &ALL);
    world.pass(Span::from_secs(120));
    assert_eq!(pushed(&world), []);
    ALL.into_iter().for_each(|node| world.restart(node));
    world.pass(Span::from_secs(40));
    assert_eq!(pushed(&world), [sent]);
}

#[test]
fn nodes_die_and_return_at_random_and_nothing_is_lost_or_repeated() {
    for seed in 0..10 {
        let mut world = World::new(seed, 10);
        subscribe(&mut world);
        let mut rng = SeededEntropy::new(seed);
        let mut sent = Vec::new();
        for number in 0..100 {
            let node = rng.below(10) as usize;
            match rng.below(4) {
                0 if world.nodes.iter().filter(|node| node.up).count() > 3 => world.kill(node),
                1 => world.restart(node),
                _ => sent.push(send(&mut world, number, &ALL)),
            }
            world.pass(Span::from_millis(rng.below(3_000)));
        }
        world.pass(Span::from_secs(60));
        let mut got = pushed(&world);
        assert_eq!(got.len(), sent.len(), "seed {seed}");
        got.sort_unstable();
        sent.sort_unstable();
        assert_eq!(got, sent, "seed {seed}");
    }
}

#[test]
fn a_push_that_is_not_what_its_id_says_costs_the_subscription() {
    let (mut world, id, node) = live(6);
    let mut item = world.item(MESSAGES, b"hello");
    item.id = [7; 32].into();
    let push = Push { address: world.inbox(), incarnation: 1, item };
    let conn = world.subscriber(node).unwrap();
    world.push(node, conn, &push);
    world.pass(Span::from_secs(1));
    assert_eq!(pushed(&world), []);
    assert!(world.said.contains(&Effect::Lost { id }));
    assert_ne!(pusher(&world), node, "another one is trusted instead");
    assert!(world.client.lies(&world.id(node)) > 0);
    assert_eq!(world.subscriber(node), None, "it was told to stop");
}

#[test]
fn pushes_that_nobody_asked_for_are_ignored() {
    let (mut world, _, node) = live(7);
    let conn = world.subscriber(node).unwrap();
    let item = world.item(ATTACHMENTS, b"another namespace");
    world.push(node, conn, &Push { address: world.inbox(), incarnation: 1, item });
    let item = world.item(MESSAGES, b"another inbox");
    world.push(node, conn, &Push { address: [1; 32].into(), incarnation: 1, item });
    world.pass(Span::from_secs(1));
    assert_eq!(pushed(&world), []);
}

#[test]
fn a_cancelled_subscription_is_quiet() {
    let (mut world, id, node) = live(8);
    world.input(Input::Cancel { id });
    assert_eq!(world.done.remove(&id), Some(Err(Error::Cancelled)));
    world.pass(Span::from_millis(100));
    send(&mut world, 1, &ALL);
    world.pass(Span::from_secs(100));
    assert_eq!(pushed(&world), []);
    let last = world.nodes[node].asked.last().unwrap();
    assert!(matches!(
        last.operations[0],
        Ok(CheckedOperation::Open(Operation::Unsubscribe { .. }))
    ));
    assert_eq!(world.client.running(), 0);
}

#[test]
fn an_idle_connection_that_pushes_is_kept() {
    let (mut world, _, node) = live(9);
    world.pass(Span::from_secs(600));
    assert!(!world.said.iter().any(|effect| matches!(effect, Effect::Lost { .. })));
    assert_eq!(pusher(&world), node);
    let sent = send(&mut world, 1, &ALL);
    world.pass(Span::from_millis(20));
    assert_eq!(pushed(&world), [sent]);
}

// As above, where nothing but the subscription uses the connection.
#[test]
fn a_quiet_subscription_is_a_use() {
    let mut world = World::with(1, &[(SwarmId(1), 10)], |limits| {
        (limits.idle_time, limits.sweep_interval) = (Span::from_secs(20), Span::from_secs(9999));
    });
    subscribe(&mut world);
    world.pass(Span::from_secs(300));
    assert!(!world.said.iter().any(|effect| matches!(effect, Effect::Lost { .. })));
    assert_eq!(world.client.network().connections(), 1, "the second node's is closed");
}

#[test]
fn a_gap_of_many_pages_is_closed() {
    let mut world = World::new(1, 3);
    let sent: Vec<MessageId> = (0..60_u8)
        .map(|number| {
            let item = world.item(MESSAGES, &vec![number; 60_000]);
            world.arrive(&item, &[0, 1, 2]);
            item.id
        })
        .collect();
    subscribe(&mut world);
    world.pass(Span::from_secs(2));
    assert_eq!(pushed(&world), sent);
}

#[test]
fn namespaces_are_bounded() {
    let mut world = World::new(1, 1);
    for namespaces in [vec![], vec![MESSAGES; 9]] {
        let reader = Box::new(InboxReader::new());
        let id = world.command(Command::Subscribe { from: Inbox::Own, namespaces, reader });
        assert!(matches!(world.done.remove(&id), Some(Err(Error::Invalid(_)))));
    }
}
