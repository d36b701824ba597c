use std::sync::Arc;

use session_core::{SeededEntropy, SwarmId, Text};
use session_crypto::Signer as _;
use session_crypto::fake::FakeIdentity;
use session_protocol::NodeRecord;
use session_protocol::chain::view::ChainMembership;
use session_protocol::membership::network_id;

use super::*;

const START: Time = Time::from_millis(1_000_000);

/// Four that kept a part until now, and four with which this node keeps it from now on; `gone` of
/// the former are no nodes any more.
fn scene(gone: usize) -> (View, Vec<NodeId>, Vec<NodeId>) {
    let mut rng = SeededEntropy::new(5);
    let records: Vec<NodeRecord> = (0..9)
        .map(|index| NodeRecord {
            keys: FakeIdentity::generate(&mut rng).public().clone(),
            address: Text::new(format!("10.0.0.{index}:1")).unwrap(),
            swarm: SwarmId(0),
        })
        .collect();
    let ids: Vec<NodeId> = records.iter().map(NodeRecord::id).collect();
    let seats = ids[4..].iter().map(|node| (SwarmId(0), *node));
    let left = records.into_iter().skip(gone);
    let membership = ChainMembership::new(network_id("test"), 7, left, seats);
    let view = View::new(Arc::new(membership), ids[8]);
    (view, ids[..4].to_vec(), ids[4..8].to_vec())
}

fn source(view: &View, former: &[NodeId]) -> Source {
    Source::hard(START, view, RingRange::ALL, &former.iter().copied().collect())
}

fn after(view: &View, seconds: u64) -> Around<'_> {
    Around::new(START + Span::from_secs(seconds), view)
}

#[test]
fn a_quorum_fills_at_once_and_fewer_after_a_while() {
    let (view, former, _) = scene(0);
    let mut source = source(&view, &former);
    assert_eq!((source.least, source.enough), (2, 3));
    source.compared(&after(&view, 0), 7, former[0], true);
    source.compared(&after(&view, 1), 7, former[1], true);
    source.settle(&after(&view, 2));
    assert!(!source.is_filled(7), "a third may answer yet");
    source.settle(&after(&view, 3));
    assert!(source.is_filled(7) && !source.is_filled(8));
    for node in &former[..3] {
        assert!(!source.is_filled(8));
        assert_eq!(source.compared(&after(&view, 3), 8, *node, true), 0);
    }
    assert!(source.is_filled(8));
    assert_eq!(source.left(), 254);
}

#[test]
fn the_same_one_twice_and_one_that_is_not_whole_count_for_nothing() {
    let (view, former, _) = scene(0);
    let mut source = source(&view, &former);
    let now = after(&view, 0);
    for _ in 0..4 {
        source.compared(&now, 7, former[0], true);
        source.compared(&now, 7, former[1], false);
    }
    source.settle(&after(&view, 60));
    assert!(!source.is_filled(7));
    let (free, none) = (Room::default(), Buckets::default());
    assert_eq!(source.next(former[1], &now, &none, &free), None, "left alone for a moment");
    assert!(source.next(former[1], &after(&view, 1), &none, &free).is_some());
}

#[test]
fn members_of_the_new_swarm_that_are_whole_do_as_well() {
    let (view, former, mates) = scene(0);
    let mut source = source(&view, &former);
    let (free, none) = (Room::default(), Buckets::default());
    assert_eq!(source.next(mates[0], &after(&view, 4), &none, &free), None, "not yet");
    assert!(source.next(mates[0], &after(&view, 5), &none, &free).is_some());
    // Two of five: a quorum is four.
    source.compared(&after(&view, 5), 7, mates[0], true);
    assert!(!source.is_filled(7));
    assert_eq!(source.compared(&after(&view, 5), 7, mates[1], true), 0);
    assert!(source.is_filled(7));
}

#[test]
fn those_that_are_gone_are_not_waited_for() {
    let (view, former, _) = scene(3);
    let mut source = source(&view, &former);
    source.settle(&after(&view, 30));
    assert!(!source.is_filled(7), "one is there still");
    assert_eq!(source.compared(&after(&view, 30), 7, former[3], true), 1, "too few");
    assert!(source.is_filled(7));
    let (view, former, _) = scene(4);
    let mut source = self::source(&view, &former);
    assert_eq!(source.settle(&after(&view, 0)), 256);
    assert_eq!(source.left(), 0);
}

#[test]
fn what_somebody_waits_for_comes_first() {
    let (view, former, _) = scene(0);
    let mut source = source(&view, &former);
    let wanted = Buckets::from_iter([9, 200]);
    let now = after(&view, 0);
    let next = |source: &mut Source| source.next(former[0], &now, &wanted, &Room::default());
    assert_eq!(next(&mut source), Some(9));
    source.compared(&now, 9, former[0], true);
    assert_eq!(next(&mut source), Some(200));
    let only_wanted =
        source.next(former[0], &now, &wanted, &Room { is_full: true, ..Room::default() });
    assert_eq!(only_wanted, Some(200));
    source.compared(&now, 200, former[0], true);
    assert_eq!(next(&mut source), Some(201), "on from there");
}

#[test]
fn patience_ends() {
    let (view, former, _) = scene(0);
    let mut source = source(&view, &former);
    assert_eq!(source.settle(&after(&view, 599)), 0);
    assert_eq!(source.settle(&after(&view, 600)), 256);
    let mut soft = Source::soft(START, &view, RingRange::ALL, former.iter().copied());
    assert_eq!((soft.members.len(), soft.is_hard), (4, false));
    assert_eq!(soft.settle(&after(&view, 120)), 0);
    assert_eq!(soft.left(), 0, "nobody lacks anything for sure");
}
