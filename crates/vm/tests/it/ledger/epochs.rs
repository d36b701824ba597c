use session_core::seed_ids::beacon_id;
use session_core::{Epoch, NodeId, Span, Time};
use session_protocol::attestation::committee_root;
use session_protocol::beacon;
use session_protocol::chain::view::BeaconMode;
use session_protocol::schedule::Schedule;
use session_vm::ledger::Ledger;
use session_vm::query;
use session_vm::records::{CurrentEpoch, Dealers, PastEpochs, Table};

use super::world::{HOUR, START, World};

#[test]
fn the_first_block_after_a_boundary_turns_the_epoch() {
    let mut world = World::new(0);
    let first = query::epoch(&world.state);
    assert_eq!((first.number, first.start), (Epoch(0), START));
    assert_eq!(query::next_turn(&world.state), START + HOUR);

    world.now = START + Span::from_millis(HOUR.as_millis() - 1);
    assert!(!Ledger::begin(&world.state, world.context()).turned());
    world.now = START + HOUR;
    let context = world.context();
    let ledger = Ledger::begin(&world.state, context);
    assert!(ledger.turned());
    let (state, changes) = ledger.finish();
    let tags: Vec<u8> = changes.keys().map(|key| key[0]).collect();
    assert_eq!(tags, [CurrentEpoch::TAG, PastEpochs::TAG, Dealers::TAG]);
    let second = query::epoch(&state);
    assert_eq!((second.number, second.start), (Epoch(1), START + HOUR));
    assert_eq!((first.mode, second.mode), (BeaconMode::Genesis, BeaconMode::Degraded));
    assert_eq!(second.randomness, beacon::degraded(Epoch(1), &first.beacon));
    assert_eq!(second.previous_beacon, first.beacon);
    assert_eq!(second.beacon, beacon_id(Epoch(1), &second.randomness, &first.beacon));
    world.adopt(state);
    assert!(!Ledger::begin(&world.state, world.context()).turned());
}

#[test]
fn epochs_without_blocks_are_skipped() {
    let mut world = World::new(0);
    world.pass(Span::from_millis(HOUR.as_millis() * 5 / 2));
    let epoch = query::epoch(&world.state);
    assert_eq!((epoch.number, epoch.start), (Epoch(2), START + Span::from_secs(7200)));
    assert_eq!(query::next_turn(&world.state), START + Span::from_secs(3 * 3600));
    // The end of time is an epoch as any other.
    world.now = Time::MAX;
    world.pass(Span::ZERO);
    assert!(query::epoch(&world.state).number > Epoch(2));
}

#[test]
fn the_state_keeps_a_thousand_epochs() {
    let mut world = World::new(0);
    let mut beacons = vec![query::epoch(&world.state).beacon];
    for _ in 0..1030 {
        world.pass(HOUR);
        beacons.push(query::epoch(&world.state).beacon);
    }
    let kept = query::entries::<PastEpochs>(&world.state).count();
    assert_eq!(kept, 1024);
    let of = |number| query::epoch_numbered(&world.state, Epoch(number)).map(|it| it.beacon);
    assert_eq!((of(5), of(1031)), (None, None));
    for number in [6, 1000, 1029, 1030] {
        assert_eq!(of(number), Some(beacons[number as usize]));
    }
    let schedule = Schedule::of(START, HOUR, Epoch(1030));
    assert_eq!(query::schedule(&world.state), schedule);
}

#[test]
fn an_epoch_names_who_deals_and_who_attests() {
    let mut world = World::new(30);
    for _ in 0..3 {
        let roster = query::roster(&world.state);
        assert_eq!(query::beacon(&world.state).dealers, roster.dealers());
        let member = |node: NodeId| {
            let keys = query::node_keys(&world.state, &node).unwrap();
            (node, keys.dsa().clone())
        };
        let attesters: Vec<_> = roster.attesters().into_iter().map(member).collect();
        assert_eq!(attesters.len(), 21);
        assert_eq!(query::epoch(&world.state).attesters, committee_root(&attesters));
        world.pass(HOUR);
    }
}
