//! Many mailboxes at once: nothing lost, nothing twice, however many there are and whoever dies.

use std::collections::{BTreeMap, BTreeSet};

use session_client::{Effect, Inbox, InboxReader, Input, Source};
use session_core::{Decode as _, Encode as _, InboxAddress, MessageId, Span, SwarmId};
use session_crypto::SymmetricKey;
use session_protocol::inbox::{BOXES, Mailbox};
use session_protocol::request::Item;

use crate::world::World;

fn mailboxes(count: usize) -> Vec<Mailbox> {
    let seed = SymmetricKey::from([3; 32]);
    (0..count).map(|number| Mailbox::derive(&seed, &[&number.to_be_bytes()])).collect()
}

fn source(of: &Mailbox, reader: InboxReader) -> Source {
    let from = Inbox::Mailbox { rule: of.rule(), token: of.read.clone() };
    Source { from, namespace: BOXES, reader: Box::new(reader) }
}

fn watch(world: &mut World, boxes: &[Mailbox]) {
    let sources = boxes.iter().map(|it| (it.address(), source(it, InboxReader::new()))).collect();
    world.input(Input::Watch { sources });
}

fn arrived(world: &World) -> Vec<(InboxAddress, MessageId)> {
    let mut all = Vec::new();
    for effect in &world.said {
        if let Effect::Arrived { address, items } = effect {
            all.extend(items.iter().map(|item| (*address, item.id)));
        }
    }
    all
}

fn everywhere(world: &mut World, to: &Mailbox, data: &[u8]) -> Item {
    let all: Vec<usize> = (0..world.nodes.len()).collect();
    world.arrive_at(to.address(), data, &all)
}

#[test]
fn what_was_there_and_what_comes_is_reported_once() {
    let mut world = World::new(1, 5);
    let boxes = mailboxes(20);
    let before: BTreeSet<_> =
        boxes.iter().map(|it| (it.address(), everywhere(&mut world, it, b"before").id)).collect();
    watch(&mut world, &boxes);
    world.pass(Span::from_secs(2));
    assert_eq!(arrived(&world).into_iter().collect::<BTreeSet<_>>(), before);
    assert_eq!(arrived(&world).len(), 20, "once");
    assert_eq!(world.client.unread_since(crate::world::START), 0);

    // From now on it is pushed: one way through the air.
    let item = everywhere(&mut world, &boxes[7], b"after");
    world.pass(Span::from_millis(10));
    assert_eq!(arrived(&world).last(), Some(&(boxes[7].address(), item.id)));
    // Readings later find all of it again, and say nothing.
    world.pass(Span::from_secs(600));
    assert_eq!(arrived(&world).len(), 21);
}

#[test]
fn a_thousand_mailboxes_are_read_with_bounded_work() {
    let swarms: Vec<_> = (0..8).map(|swarm| (SwarmId(swarm << 60), 3)).collect();
    let mut world = World::with(2, &swarms, |_| {});
    let boxes = mailboxes(1000);
    let mut out_max = 0;
    watch(&mut world, &boxes);
    for _ in 0..400 {
        world.pass(Span::from_millis(10));
        out_max = out_max.max(world.client.requests_out());
        if world.client.unread_since(crate::world::START) == 0 {
            break;
        }
    }
    assert_eq!(world.client.unread_since(crate::world::START), 0, "within 4 s");
    assert!(out_max <= 16, "{out_max} requests at once");
    let requests: usize = world.nodes.iter().map(|node| node.asked.len()).sum();
    assert!(requests <= 2 * (1000 / 8 + 8), "{requests} requests");
    // Whether pushed or not, what comes is found.
    let items: Vec<_> = boxes
        .iter()
        .map(|it| {
            (it.address(), world.arrive_at(it.address(), b"new", &(0..24).collect::<Vec<_>>()).id)
        })
        .collect();
    world.pass(Span::from_secs(25));
    assert_eq!(
        arrived(&world).into_iter().collect::<BTreeSet<_>>(),
        items.into_iter().collect::<BTreeSet<_>>()
    );
    assert_eq!(arrived(&world).len(), 1000);
}

#[test]
fn what_no_node_pushes_is_polled() {
    let mut world = World::new(3, 3);
    for node in &mut world.nodes {
        node.pushed_max = 0;
    }
    let boxes = mailboxes(10);
    watch(&mut world, &boxes);
    world.pass(Span::from_secs(5));
    let item = everywhere(&mut world, &boxes[3], b"new");
    world.pass(Span::from_millis(50));
    assert!(arrived(&world).is_empty(), "nobody pushes it");
    world.pass(Span::from_secs(20));
    assert_eq!(arrived(&world), [(boxes[3].address(), item.id)]);
}

#[test]
fn the_death_of_the_node_that_pushes_loses_nothing() {
    for seed in 0..10 {
        let mut world = World::new(seed, 4);
        let boxes = mailboxes(12);
        watch(&mut world, &boxes);
        world.pass(Span::from_secs(2));
        let mut sent = BTreeSet::new();
        for round in 0..6u8 {
            let node = usize::from(round) % 4;
            world.kill(node);
            for it in &boxes {
                let up: Vec<usize> = (0..4).filter(|index| world.nodes[*index].up).collect();
                sent.insert((it.address(), world.arrive_at(it.address(), &[round], &up).id));
            }
            world.pass(Span::from_millis(300 * u64::from(round)));
            world.restart(node);
            world.pass(Span::from_secs(3));
        }
        world.pass(Span::from_secs(300));
        let seen = arrived(&world);
        assert_eq!(seen.iter().copied().collect::<BTreeSet<_>>(), sent, "seed {seed}");
        assert_eq!(seen.len(), sent.len(), "seed {seed}: once");
    }
}

#[test]
fn what_one_node_withholds_the_other_has() {
    let mut world = World::new(4, 5);
    let boxes = mailboxes(3);
    watch(&mut world, &boxes);
    world.pass(Span::from_secs(2));
    // Three nodes never get it, so they can neither push nor show it.
    let item = world.arrive_at(boxes[0].address(), b"rare", &[3, 4]);
    world.pass(Span::from_secs(1500));
    assert_eq!(arrived(&world), [(boxes[0].address(), item.id)]);
}

#[test]
fn the_set_is_changed_as_a_whole() {
    let mut world = World::new(5, 3);
    let boxes = mailboxes(10);
    watch(&mut world, &boxes[..6]);
    world.pass(Span::from_secs(2));
    let old = everywhere(&mut world, &boxes[5], b"old");
    world.pass(Span::from_secs(1));
    assert_eq!(arrived(&world), [(boxes[5].address(), old.id)]);
    watch(&mut world, &boxes[5..]);
    assert_eq!(world.client.watched(), 5);
    world.pass(Span::from_secs(2));
    let gone = everywhere(&mut world, &boxes[0], b"gone");
    let new = everywhere(&mut world, &boxes[9], b"new");
    world.pass(Span::from_secs(300));
    // The one that stays is not read again from its beginning, though a new reader was given.
    let seen = arrived(&world);
    assert_eq!(seen, [(boxes[5].address(), old.id), (boxes[9].address(), new.id)]);
    assert!(!seen.iter().any(|(_, id)| *id == gone.id));
    watch(&mut world, &[]);
    assert_eq!((world.client.watched(), world.client.unread_since(world.now)), (0, 0));
    world.pass(Span::from_secs(300));
    assert_eq!(world.client.requests_out(), 0);
}

#[test]
fn reading_goes_on_where_an_earlier_run_stopped() {
    let mut world = World::new(6, 3);
    let boxes = mailboxes(1);
    let address = boxes[0].address();
    let first = everywhere(&mut world, &boxes[0], b"first");
    watch(&mut world, &boxes);
    world.pass(Span::from_secs(2));
    assert_eq!(arrived(&world), [(address, first.id)]);
    let saved = world.client.reader(&address).unwrap().to_bytes();

    let reader = InboxReader::decode_exact(&saved).unwrap();
    watch(&mut world, &[]);
    world.said.clear();
    let second = everywhere(&mut world, &boxes[0], b"second");
    let sources = BTreeMap::from([(address, source(&boxes[0], reader))]);
    world.input(Input::Watch { sources });
    world.pass(Span::from_secs(2));
    assert_eq!(arrived(&world), [(address, second.id)]);
}

#[test]
fn reading_on_demand_ends_also_where_nobody_answers() {
    let mut world = World::new(7, 3);
    let boxes = mailboxes(5);
    watch(&mut world, &boxes);
    world.pass(Span::from_secs(2));
    for node in 0..3 {
        world.vanish(node);
    }
    let asked = world.now;
    world.input(Input::ReadWatched);
    assert_eq!(world.client.unread_since(asked), 5);
    world.pass(Span::from_secs(60));
    assert_eq!(world.client.unread_since(asked), 0, "tried, and given up for now");
    for node in 0..3 {
        world.restart(node);
    }
    let item = everywhere(&mut world, &boxes[2], b"back");
    world.pass(Span::from_secs(240));
    assert_eq!(arrived(&world), [(boxes[2].address(), item.id)]);
}
