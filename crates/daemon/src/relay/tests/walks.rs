use session_core::{Encode as _, Span};
use session_network::From;
use session_network::onion::{Cover, Order, Packet, ReturnId, Service, Size};
use session_protocol::onion::{ExitAnswer, service};

use super::{CLIENT, REQUEST, World, but, info, onion, reply};
use crate::relay::{CIRCUIT_TIME, CLIENT_CIRCUITS_MAX, CONNECTION_WAIT, Input};

#[test]
fn a_request_goes_over_three_nodes_and_its_answer_comes_back() {
    let mut world = World::new(3);
    let keys = world.ask(&[0, 1, 2], REQUEST, &info().to_bytes());
    let (at, id, request) = world.asked.pop().unwrap();
    assert_eq!((at, request.id, request.operations.len()), (2, 9, 1));
    assert!(world.got.is_empty());
    world.tell(2, Input::Replied { id, reply: reply(vec![]), quorum: 3 });
    assert_eq!(world.got[0].0, 1, "under the number that the client gave it");
    assert_eq!(world.exit_answer(keys), ExitAnswer::Reply { reply: reply(vec![]) });
    assert_eq!(world.gone, [(2, id)]);
    // Nothing is left open anywhere.
    for node in 0..3 {
        assert_eq!((world.stats(node).circuits, world.stats(node).waiting), (0, 0));
    }
    assert_eq!(world.seen.len(), 4, "each link, each way");
    assert!(world.seen.iter().all(|packet| packet.size() == Size::Small));
}

#[test]
fn an_exit_answers_what_it_does_not_understand_sealed() {
    let mut world = World::new(3);
    for (service, payload, expected) in [
        (REQUEST, &b"nonsense"[..], ExitAnswer::Malformed),
        (service::WAIT, b"nonsense", ExitAnswer::Malformed),
        (0, b"", ExitAnswer::NoService),
        (9, b"", ExitAnswer::NoService),
    ] {
        let keys = world.ask(&[0, 1, 2], service, payload);
        assert_eq!(world.exit_answer(keys), expected);
    }
    let keys = world.ask(&[0, 1, 2], service::ECHO, b"ignored");
    assert_eq!(world.answer(keys), b"");
    // A path of one hop is an exit behind a link.
    let keys = world.ask(&[1], service::ECHO, b"");
    assert_eq!(world.answer(keys), b"");
}

#[test]
fn what_is_altered_or_sent_again_is_dropped_without_a_word() {
    let mut world = World::new(3);
    let path = world.path(&[0, 1, 2]);
    let order = Order { size: Size::Small, service: Service(3), answer: Size::Small, payload: b"" };
    let (packet, keys) = world.build(&path, &order);
    for place in [10, 1_130, 1_146, 8_191] {
        let mut bytes = packet.as_bytes().to_vec();
        bytes[place] ^= 1;
        world.client_sends(0, 1, &Packet::try_from(bytes).unwrap());
    }
    assert_eq!(world.stats(0).refused, 4);
    world.client_sends(1, 1, &packet);
    assert_eq!(world.stats(1).refused, 1, "made for another hop");
    assert!(world.got.is_empty() && world.seen.is_empty());

    world.client_sends(0, 2, &packet);
    let answer = world.got.pop().unwrap().1;
    assert_eq!(keys.open(&answer).unwrap(), b"");
    // The same again: by the client, and by whoever saw it between the nodes.
    world.client_sends(0, 3, &packet);
    let between = world.seen[0].clone();
    let first = From::Node(world.nodes[0].id);
    world.deliver(1, first, &onion(77, between.into_bytes()));
    world.run();
    assert_eq!((world.stats(0).refused, world.stats(1).refused), (5, 2));
    assert!(world.got.is_empty());
}

#[test]
fn answers_are_taken_from_the_node_that_was_asked_and_once() {
    let mut world = World::new(3);
    world.ask(&[0, 1, 2], REQUEST, &info().to_bytes());
    let (_, id, _) = world.asked.pop().unwrap();
    let held = world.nodes[0].relay.circuits.open_numbers();
    let [(second, number)] = held[..] else { panic!("{held:?}") };
    assert_eq!(second, world.nodes[1].id);
    let mut forged = vec![7; 8_192];
    forged[..10].copy_from_slice(&[1, 3, 0, 0, 0, 0, 0, 0, 0, 7]);
    let stranger = From::Node(world.nodes[2].id);
    for (from, circuit) in [(stranger, number), (From::Node(second), number + 1), (CLIENT, number)]
    {
        world.deliver(0, from, &onion(circuit, forged.clone()));
    }
    assert_eq!((world.stats(0).stray, world.got.len()), (3, 0));
    // The right node may answer anything of any size: the client sees that it is not the exit's.
    let mut long = forged.clone();
    long.resize(98_304, 0);
    world.deliver(0, From::Node(second), &onion(number, long));
    assert_eq!(world.got.len(), 1);
    world.tell(2, Input::Replied { id, reply: reply(vec![]), quorum: 3 });
    assert_eq!((world.stats(0).stray, world.got.len()), (4, 1), "it was answered already");
}

#[test]
fn cover_is_counted_and_goes_no_further() {
    let mut world = World::new(3);
    let path = world.path(&[0, 1, 2]);
    for cover in [Cover::Drop, Cover::Loop { id: ReturnId([1; 16]) }] {
        let packet = Packet::cover(&mut world.rng, &path, Size::Small, cover);
        world.client_sends(0, 1, &packet);
    }
    assert_eq!((world.stats(2).cover, world.seen.len()), (2, 4));
    assert!(world.got.is_empty() && world.asked.is_empty());
}

#[test]
fn a_circuit_without_an_answer_ends_and_leaves_room() {
    let mut world = World::new(3);
    let keys = world.ask(&[0, 1, 2], REQUEST, &info().to_bytes());
    world.nodes[2].up = false;
    world.advance(CIRCUIT_TIME);
    let stats = world.stats(0);
    assert_eq!((stats.circuits, stats.expired), (0, 1));
    world.nodes[2].up = true;
    let (_, id, _) = world.asked.pop().unwrap();
    world.tell(2, Input::Replied { id, reply: reply(vec![]), quorum: 3 });
    assert_eq!((world.stats(1).stray, world.got.len()), (1, 0));
    drop(keys);
}

#[test]
fn one_client_has_so_many_circuits_and_others_have_room() {
    let mut world = World::new(2);
    let path = world.path(&[0, 1]);
    let payload = info().to_bytes();
    for _ in 0..=CLIENT_CIRCUITS_MAX {
        drop(world.ask_over(&path, 0, REQUEST, &payload));
    }
    let stats = world.stats(0);
    assert_eq!((stats.circuits, stats.full), (CLIENT_CIRCUITS_MAX, 1));
    assert_eq!(world.asked.len(), CLIENT_CIRCUITS_MAX);
    let order = Order { size: Size::Small, service: Service(3), answer: Size::Small, payload: b"" };
    let (packet, _) = world.build(&path, &order);
    let other = From::Client(session_network::ConnId(8));
    world.deliver(0, other, &onion(1, packet.into_bytes()));
    world.run();
    assert_eq!(world.got.len(), 1);
}

#[test]
fn packets_wait_for_a_connection_and_no_longer() {
    let mut world = World::unconnected(3);
    world.connects = false;
    world.tick();
    let keys = world.ask(&[0, 1], service::ECHO, b"");
    assert_eq!(world.stats(0).waiting, 1);
    world.advance(but(CONNECTION_WAIT));
    world.connect(0, 1);
    world.run();
    assert_eq!(world.answer(keys), b"");

    drop(world.ask(&[0, 2], service::ECHO, b""));
    world.advance(CONNECTION_WAIT);
    world.connect(0, 2);
    world.run();
    assert_eq!((world.stats(0).unreachable, world.stats(0).waiting, world.got.len()), (1, 0, 0));
    assert_eq!(world.stats(0).circuits, 0, "its place is free again");
}

#[test]
fn a_node_that_is_none_is_not_dialled() {
    let mut world = World::new(3);
    let path = world.path(&[0, 2]);
    let two = world.membership.clone();
    let without = {
        use session_protocol::Membership as _;
        let records = two.nodes().into_iter().filter(|(node, _)| *node != world.nodes[2].id);
        let records: Vec<_> = records.map(|(_, record)| record.clone()).collect();
        session_protocol::StaticMembership::new("relays", records).unwrap()
    };
    world.tell(0, Input::Membership(std::sync::Arc::new(without)));
    drop(world.ask_over(&path, 0, service::ECHO, b""));
    let stats = world.stats(0);
    assert_eq!((stats.unreachable, stats.waiting, stats.circuits), (1, 0, 0));
    assert!(world.seen.is_empty());
}

#[test]
fn each_hop_waits_on_the_way_out_and_again_on_the_way_back() {
    let mut world = World::new(3);
    let delays = [100, 20, 3].map(Span::from_millis);
    let path = world.path(&[0, 1, 2]).with_delays(&delays).unwrap();
    let sent = world.now;
    let keys = world.ask_over(&path, 0, service::ECHO, b"");
    let at = |world: &mut World, when: u64| {
        let now = sent + Span::from_millis(when);
        world.advance(now.since(world.now));
        (world.seen.len(), world.got.len())
    };
    assert_eq!(at(&mut world, 99), (0, 0));
    assert_eq!(at(&mut world, 100), (1, 0));
    assert_eq!(at(&mut world, 119), (1, 0));
    assert_eq!(at(&mut world, 120), (2, 0));
    // The exit waits before it asks, and before it answers.
    assert_eq!(at(&mut world, 125), (2, 0));
    assert_eq!(at(&mut world, 126), (3, 0));
    assert_eq!(at(&mut world, 146), (4, 0));
    assert_eq!(at(&mut world, 245), (4, 0));
    assert_eq!(at(&mut world, 246), (4, 1));
    assert_eq!(world.answer(keys), b"");
}
