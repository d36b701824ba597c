//! Nodes that take their time: a second one is asked, and the first good answer counts.

use session_client::{Answer, Command, NewItem};
use session_core::{Entropy as _, SeededEntropy, Span};
use session_protocol::inbox::{ATTACHMENTS, MESSAGES};
use session_protocol::request::{ItemBytes, Refusal};

use crate::asks::{bob, read, stored, timed};
use crate::world::World;

fn store() -> Command {
    let data = ItemBytes::new(*b"hello").unwrap();
    let item = NewItem { namespace: MESSAGES, ttl: Span::from_days(1), data };
    Command::Store { address: bob(), item }
}

/// A world that is connected to its fastest node.
fn acquainted(seed: u64) -> (World, usize) {
    let mut world = World::new(seed, 10);
    stored(&world.run(store()));
    let first = only_asked(&world);
    (world, first)
}

fn only_asked(world: &World) -> usize {
    (0..world.nodes.len()).find(|node| !world.nodes[*node].asked.is_empty()).unwrap()
}

fn silence(world: &mut World, node: usize) {
    world.nodes[node].twist = Some(Box::new(|_, _| None));
}

fn asked(world: &World) -> usize {
    world.nodes.iter().map(|node| node.asked.len()).sum()
}

#[test]
fn a_second_node_answers_for_a_silent_one() {
    for seed in 0..20 {
        let (mut world, first) = acquainted(seed);
        silence(&mut world, first);
        let (result, took) = timed(&mut world, store());
        stored(&result);
        assert!((1_000..1_200).contains(&took), "seed {seed}: {took} ms");
        assert_eq!((world.client.stats().hedges, asked(&world)), (1, 3));
        // The connection is given up when the node has had its time, and not before.
        world.pass(Span::from_millis(4_800));
        assert_eq!((world.client.network().connections(), world.client.stats().timeouts), (2, 0));
        world.pass(Span::from_millis(400));
        assert_eq!((world.client.network().connections(), world.client.stats().timeouts), (1, 1));
    }
}

#[test]
fn a_node_that_vanished_costs_one_short_wait() {
    let (mut world, first) = acquainted(1);
    world.vanish(first);
    let (result, took) = timed(&mut world, store());
    stored(&result);
    assert!((1_000..1_200).contains(&took), "{took} ms");
    for number in 0..30 {
        let (result, took) = timed(&mut world, store());
        stored(&result);
        assert!(took < 200, "command {number}: {took} ms");
        world.pass(Span::from_millis(700));
    }
    assert_eq!((world.client.stats().hedges, world.client.stats().timeouts), (1, 1));
}

#[test]
fn a_batch_of_chunks_waits_little_longer() {
    let (mut world, first) = acquainted(1);
    world.vanish(first);
    let chunk = |number: u8| NewItem {
        namespace: ATTACHMENTS,
        ttl: Span::from_days(1),
        data: ItemBytes::new(vec![number; 65_577]).unwrap(),
    };
    let items: Vec<NewItem> = (0..30).map(chunk).collect();
    let (result, took) = timed(&mut world, Command::StoreMany { address: bob(), items });
    assert!(matches!(&result, Ok(Answer::Stored(proofs)) if proofs.len() == 30), "{result:?}");
    assert!((2_000..2_800).contains(&took), "{took} ms for three batches, the first one twice");
}

#[test]
fn a_slow_answer_is_an_answer() {
    let (mut world, first) = acquainted(1);
    world.nodes[first].slow = Span::from_millis(2_000);
    for node in (0..10).filter(|node| *node != first) {
        silence(&mut world, node);
    }
    let (result, took) = timed(&mut world, store());
    stored(&result);
    assert!((2_000..2_100).contains(&took), "{took} ms");
    assert_eq!((asked(&world), world.client.stats().hedges), (3, 1), "two at once, not more");
    assert_eq!(world.client.stats().late, 0);
    assert_eq!(world.client.requests_out(), 0);
    world.pass(Span::from_secs(20));
    assert!(world.done.is_empty(), "it is done once");
}

#[test]
fn an_answer_that_comes_too_late_is_a_sign_of_life() {
    let (mut world, first) = acquainted(1);
    world.nodes[first].slow = Span::from_millis(2_000);
    let (result, took) = timed(&mut world, store());
    stored(&result);
    assert!((1_000..1_200).contains(&took), "{took} ms");
    // It is not asked while others are faster.
    for _ in 0..5 {
        world.pass(Span::from_secs(3));
        let (result, took) = timed(&mut world, store());
        stored(&result);
        assert!(took < 200, "{took} ms");
    }
    assert_eq!(world.nodes[first].asked.len(), 2);
    assert_eq!((world.client.stats().late, world.client.stats().timeouts), (1, 0));
    assert_eq!(world.client.network().connections(), 2, "nobody is left for being slow");
    assert!(world.done.is_empty());
}

// Where every node takes two seconds, asking two each time would only double the load.
#[test]
fn what_is_usual_is_waited_for() {
    let mut world = World::new(1, 10);
    stored(&world.run(store()));
    for node in &mut world.nodes {
        node.slow = Span::from_millis(2_000);
    }
    let before = world.client.stats().hedges;
    for _ in 0..30 {
        stored(&world.run(store()));
    }
    let hedges = world.client.stats().hedges - before;
    assert!(hedges < 15, "{hedges} of 30");
    let before = world.client.stats().hedges;
    for _ in 0..30 {
        stored(&world.run(store()));
    }
    assert_eq!(world.client.stats().hedges, before, "it was learned");
}

#[test]
fn readings_of_two_nodes_have_two_pages_of_two_nodes() {
    for seed in 0..20 {
        let (mut world, first) = acquainted(seed);
        silence(&mut world, first);
        let item = world.item(MESSAGES, b"for us");
        world.arrive(&item, &(0..10).collect::<Vec<_>>());
        let (result, took) = timed(&mut world, read(2));
        let Ok(Answer::Pages(pages)) = result else { panic!("{result:?}") };
        let nodes: Vec<usize> = pages.iter().map(|page| world.index(page.node)).collect();
        assert_eq!(nodes.len(), 2, "seed {seed}");
        assert!(nodes[0] != nodes[1] && !nodes.contains(&first), "seed {seed}: {nodes:?}");
        assert!(pages.iter().all(|page| page.items.len() == 1));
        assert!((1_000..2_000).contains(&took), "seed {seed}: {took} ms");
    }
}

// The second one fails while the first one is still being waited for: a third one is asked.
#[test]
fn a_second_node_that_fails_is_replaced() {
    let (mut world, first) = acquainted(1);
    silence(&mut world, first);
    let told = std::rc::Rc::new(std::cell::Cell::new(false));
    for node in (0..10).filter(|node| *node != first) {
        let told = std::rc::Rc::clone(&told);
        world.nodes[node].refuse =
            Some(Box::new(move |_, _| (!told.replace(true)).then_some(Refusal::DiskFull)));
    }
    let (result, took) = timed(&mut world, store());
    stored(&result);
    assert!((1_000..1_400).contains(&took), "{took} ms");
    assert_eq!(asked(&world), 4);
}

// Both are silent: when the first one has had its time, the second one has been waited for too.
#[test]
fn two_silent_nodes_cost_one_full_wait() {
    let (mut world, first) = acquainted(1);
    silence(&mut world, first);
    let told = std::rc::Rc::new(std::cell::Cell::new(0));
    for node in (0..10).filter(|node| *node != first) {
        let told = std::rc::Rc::clone(&told);
        world.nodes[node].twist = Some(Box::new(move |_, reply| {
            told.set(told.get() + 1);
            (told.get() > 1).then_some(reply)
        }));
    }
    let (result, took) = timed(&mut world, store());
    stored(&result);
    assert!((6_000..6_300).contains(&took), "{took} ms");
}

#[test]
fn a_node_that_is_alone_is_waited_for() {
    let mut world = World::new(1, 1);
    stored(&world.run(store()));
    world.nodes[0].slow = Span::from_millis(4_000);
    let (result, took) = timed(&mut world, store());
    stored(&result);
    assert!((4_000..4_100).contains(&took), "{took} ms");
    assert_eq!((world.client.stats().hedges, asked(&world)), (0, 2));
    // The same where one particular node is asked.
    let node = world.id(0);
    assert!(matches!(world.run(Command::Ping { node }), Ok(Answer::Pong { .. })));
    assert_eq!(world.client.stats().hedges, 0);
}

#[test]
fn a_slow_connection_is_not_waited_for_alone() {
    let (twin, first) = acquainted(1);
    drop(twin);
    let mut world = World::new(1, 10);
    world.nodes[first].slow = Span::from_millis(2_500);
    let (result, took) = timed(&mut world, store());
    stored(&result);
    assert!((1_500..1_700).contains(&took), "{took} ms");
    world.pass(Span::from_secs(20));
    assert!(world.nodes[first].asked.is_empty(), "it came too late to be asked");
    assert_eq!(asked(&world), 1);
}

// The node is silent and most others cannot even be reached: they are passed by one after another.
#[test]
fn nodes_that_cannot_be_reached_are_passed_by() {
    let mut longest = 0;
    for seed in 0..20 {
        let (mut world, first) = acquainted(seed);
        silence(&mut world, first);
        let others: Vec<usize> = (0..10).filter(|node| *node != first).collect();
        for &node in &others[..3] {
            world.nodes[node].slow = Span::from_secs(60);
        }
        let (result, took) = timed(&mut world, store());
        stored(&result);
        assert!((1_000..5_900).contains(&took), "seed {seed}: {took} ms");
        assert!((took - 1_000) % 1_500 < 200, "seed {seed}: {took} ms");
        longest = longest.max(took);
    }
    assert!(longest > 2_400, "some seeds meet them: {longest} ms");
}

#[test]
fn where_all_connections_are_slow_the_first_one_is_used() {
    let mut world = World::new(1, 10);
    for node in &mut world.nodes {
        node.slow = Span::from_millis(1_600);
    }
    let (result, took) = timed(&mut world, store());
    stored(&result);
    assert!(took < 4_000, "{took} ms");
    assert!(world.client.stats().hedges > 0);
    assert_eq!(asked(&world), 1, "the other one's connection came second");
}

// Whatever the nodes do, a command has at most two of them at it, and ends once.
#[test]
fn among_slow_silent_and_dying_nodes_everything_gets_done() {
    let mut hedges = 0;
    for seed in 0..40 {
        let mut world = World::new(seed, 10);
        let mut rng = SeededEntropy::new(seed);
        let mut commands = Vec::new();
        for round in 0..12_u8 {
            let node = usize::try_from(rng.below(10)).unwrap();
            match rng.below(4) {
                0 => silence(&mut world, node),
                1 => world.nodes[node].slow = Span::from_millis(rng.below(3_000)),
                2 => world.vanish(node),
                _ => {
                    world.restart(node);
                    (world.nodes[node].twist, world.nodes[node].slow) = (None, Span::ZERO);
                }
            }
            // A quorum is there, and well.
            for node in 0..7 {
                if !world.nodes[node].up {
                    world.restart(node);
                }
            }
            (world.nodes[0].twist, world.nodes[0].slow) = (None, Span::ZERO);
            let items = (0..30).map(|number| NewItem {
                namespace: MESSAGES,
                ttl: Span::from_days(1),
                data: ItemBytes::new([round, number]).unwrap(),
            });
            let items = items.collect();
            commands.push(world.command(Command::StoreMany { address: bob(), items }));
            commands.push(world.command(read(2)));
            for _ in 0..100 {
                world.pass(Span::from_millis(10));
                let most = 2 * 3 * (commands.len() - world.done.len());
                assert!(world.client.requests_out() <= most, "seed {seed}");
            }
        }
        world.pass(Span::from_secs(40));
        for id in commands {
            assert!(matches!(world.done.get(&id), Some(Ok(_))), "seed {seed}: {:?}", world.done);
        }
        assert_eq!((world.client.running(), world.client.requests_out()), (0, 0));
        hedges += world.client.stats().hedges;
    }
    assert!(hedges > 100, "{hedges}");
}
