use session_core::seed_ids::beacon_id;
use session_core::{Domain, Epoch, Span, Time, digest};
use session_vm::ledger::Ledger;
use session_vm::query;
use session_vm::records::{NodeStatus, Params};

use super::world::{HOUR, START, World, genesis};

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
    assert_eq!(changes.len(), 1);
    let second = query::epoch(&state);
    assert_eq!((second.number, second.start), (Epoch(1), START + HOUR));
    let parts: [&[u8]; 3] =
        [first.randomness.as_bytes(), &1_u64.to_be_bytes(), context.parent.as_bytes()];
    assert_eq!(second.randomness, digest(Domain::EpochRandomness, &parts));
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
fn new_nodes_fill_swarms_evenly_and_then_make_new_ones() {
    let mut genesis = genesis(2);
    genesis.params = Params { swarm_size: 3, ..Params::default() };
    let mut world = World::of(&genesis, 2, 0);
    for number in 0..8 {
        let node = world.make_node();
        let action = world.register(1, &node, &format!("n{number}:1"));
        world.run(1, action).unwrap();
    }
    assert_eq!(query::active_nodes(&world.state).count(), 2);
    world.pass(HOUR);
    let mut swarms = std::collections::BTreeMap::new();
    for (swarm, _) in query::active_nodes(&world.state) {
        *swarms.entry(swarm).or_insert(0) += 1;
    }
    let mut sizes: Vec<usize> = swarms.into_values().collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 3, 3, 3]);
    assert!(
        query::nodes(&world.state, None, 100)
            .iter()
            .all(|(_, node)| matches!(node.status, NodeStatus::Active { .. }))
    );
}
