use session_core::{Epoch, NodeId, Span, Time};
use session_network::onion::{Packet, Size};
use session_network::{ConnId, From};

use crate::relay::circuits::Load;
use crate::relay::held::{Delayed, Held, Queues};
use crate::relay::links::Links;
use crate::relay::{
    CIRCUITS_MAX, CLIENT_CIRCUITS_MAX, DELAYED_BYTES_MAX, DELAYED_MAX, LINK_IDLE_MAX, LINKS_MAX,
    NODE_CIRCUITS_MAX, QUEUE_BYTES_MAX, QUEUE_MAX,
};

const NOW: Time = Time::from_millis(1_000);

fn packet(size: Size) -> Packet {
    let mut bytes = vec![0; size.bytes()];
    bytes[..2].copy_from_slice(&[1, 1]);
    let packet = Packet::try_from(bytes).unwrap();
    assert_eq!(packet.epoch(), Epoch(0));
    packet
}

fn node(number: u16) -> NodeId {
    let mut id = [0; 32];
    id[..2].copy_from_slice(&number.to_be_bytes());
    id.into()
}

fn held(size: Size) -> Held {
    Held::Send { to: From::Node(node(1)), circuit: 1, packet: packet(size) }
}

#[test]
fn links_share_the_table_of_circuits() {
    let mut load = Load::default();
    for link in 0..CIRCUITS_MAX / NODE_CIRCUITS_MAX {
        let from = From::Node(node(u16::try_from(link).unwrap()));
        assert!((0..NODE_CIRCUITS_MAX).all(|_| load.take(from)));
        assert!(!load.take(from));
    }
    let client = From::Client(ConnId(1));
    assert!(!load.take(client), "the whole table is full");
    for _ in 0..=CLIENT_CIRCUITS_MAX {
        load.give(From::Node(node(0)));
    }
    assert!((0..CLIENT_CIRCUITS_MAX).all(|_| load.take(client)));
    assert!(!load.take(client), "this one has its share");
    assert!(load.take(From::Client(ConnId(2))));
    assert_eq!(load.all(), CIRCUITS_MAX);
    // What nobody took is not given back.
    load.give(From::Client(ConnId(3)));
    assert_eq!(load.all(), CIRCUITS_MAX);
}

#[test]
fn what_waits_for_its_time_is_bounded_in_number_and_bytes() {
    let mut delayed = Delayed::default();
    assert!((0..DELAYED_MAX).all(|_| delayed.hold(NOW, held(Size::Small))));
    assert!(!delayed.hold(NOW, held(Size::Small)));
    while delayed.take(NOW).is_some() {}
    assert_eq!((delayed.len(), delayed.deadline()), (0, None));

    let large = DELAYED_BYTES_MAX / Size::Large.bytes();
    assert!(large < DELAYED_MAX);
    assert!((0..large).all(|_| delayed.hold(NOW, held(Size::Large))));
    assert!(!delayed.hold(NOW, held(Size::Large)));
    assert!(delayed.take(NOW).is_some());
    assert!(delayed.hold(NOW, held(Size::Large)), "its bytes were given back");
}

#[test]
fn what_waits_comes_out_in_the_order_of_its_times() {
    let mut delayed = Delayed::default();
    for (at, circuit) in [(3, 1), (1, 2), (3, 3), (2, 4)] {
        let held = Held::Send { to: From::Node(node(1)), circuit, packet: packet(Size::Small) };
        assert!(delayed.hold(Time::from_millis(at), held));
    }
    let mut out = |now| match delayed.take(Time::from_millis(now)) {
        Some(Held::Send { circuit, .. }) => Some(circuit),
        None => None,
        other => panic!("{other:?}"),
    };
    assert_eq!([out(0), out(1), out(1)], [None, Some(2), None]);
    assert_eq!([out(3), out(3), out(3), out(3)], [Some(4), Some(1), Some(3), None]);
}

#[test]
fn what_waits_for_connections_is_bounded_for_each_and_in_all() {
    let mut queues = Queues::default();
    assert!((0..QUEUE_MAX).all(|_| queues.wait(NOW, node(0), 1, packet(Size::Small))));
    assert!(!queues.wait(NOW, node(0), 1, packet(Size::Small)));
    assert!(queues.wait(NOW + Span::from_millis(1), node(1), 2, packet(Size::Small)));
    assert_eq!(queues.expire(NOW), vec![(node(0), 1); QUEUE_MAX]);
    assert_eq!((queues.len(), queues.deadline()), (1, Some(NOW + Span::from_millis(1))));
    assert_eq!(queues.take(node(1)).len(), 1);
    assert_eq!((queues.len(), queues.deadline()), (0, None));

    let large = u16::try_from(QUEUE_BYTES_MAX / Size::Large.bytes()).unwrap();
    assert!((0..large).all(|number| queues.wait(NOW, node(number), 1, packet(Size::Large))));
    assert!(!queues.wait(NOW, node(large), 1, packet(Size::Large)));
}

#[test]
fn the_longest_unused_link_makes_room() {
    let (mut links, up) = (Links::default(), Default::default());
    let max = u16::try_from(LINKS_MAX).unwrap();
    for number in 0..max {
        let now = NOW + Span::from_millis(number.into());
        let change = links.used(now, node(number), &up);
        assert_eq!((change.connect, change.forget), (vec![(node(number), true)], vec![]));
    }
    let later = NOW + Span::from_secs(1);
    links.used(later, node(0), &up);
    assert_eq!(links.used(later, node(max), &up).forget, [node(1)]);
    let change = links.sweep(later + LINK_IDLE_MAX - Span::from_millis(1));
    assert_eq!(change.forget.len(), LINKS_MAX - 2);
    let end = later + LINK_IDLE_MAX + Span::from_secs(60);
    assert_eq!(links.sweep(end).forget, [node(0), node(max)]);
    assert_eq!(links.deadline(), None);
}

#[test]
fn one_node_is_sent_no_more_than_it_takes() {
    let (mut links, up) = (Links::default(), [node(1)].into());
    links.used(NOW, node(1), &up);
    assert!((0..33).all(|_| links.may_send(NOW, node(1), Size::Large)));
    assert!(!links.may_send(NOW, node(1), Size::Large));
    assert!(links.may_send(NOW, node(1), Size::Bulk));
    assert!(!links.may_send(NOW, node(1), Size::Small));
    assert!(links.may_send(NOW + Span::from_millis(1), node(1), Size::Small));
}

#[test]
fn everybody_is_reached_over_the_ring() {
    for count in [1, 2, 3, 10, 100] {
        let nodes: Vec<NodeId> = (0..count).map(node).collect();
        let neighbours = |me: NodeId| {
            let change = Links::default().ring(me, &nodes);
            assert!(change.connect.iter().all(|(node, now)| *node != me && !now));
            change.connect.into_iter().map(|(node, _)| node)
        };
        let mut reached = std::collections::BTreeSet::from([nodes[0]]);
        let mut steps = 0;
        while reached.len() < nodes.len() {
            reached =
                reached.iter().flat_map(|node| neighbours(*node)).chain(reached.clone()).collect();
            steps += 1;
            assert!(steps <= 7, "{} of {count} in {steps} steps", reached.len());
        }
    }
    // Whoever left is forgotten, unless packets go there.
    let (mut links, nodes) = (Links::default(), (0..4).map(node).collect::<Vec<_>>());
    links.ring(node(0), &nodes);
    links.used(NOW, node(1), &Default::default());
    let change = links.ring(node(0), &[node(0), node(3)]);
    assert_eq!((change.connect, change.forget), (vec![(node(3), false)], vec![node(2)]));
    assert_eq!(links.ring(node(9), &nodes).connect, [], "it is none of them");
}
