//! Nodes that are hops of onion packets: whatever happens, everybody learns everybody's keys.

use session_core::Span;
use session_sim::run::settle;
use session_sim::{Scenario, Story, World};

fn world(story: Story, minutes: u64) -> World {
    let nodes = if story.is_coordinated() { 14 } else { 8 };
    let world =
        Scenario { nodes, members: 4, persons: 0, minutes, onions: true, ..Scenario::new(story) };
    world.world(3)
}

fn run(world: &mut World, seconds: u64) {
    let after = world.now().since(session_sim::host::BEGINNING) + Span::from_secs(seconds);
    world.run_until(after).unwrap_or_else(|violation| panic!("{violation}"));
}

/// Returns how many keys each running node knows, and of which epoch.
fn known(world: &World) -> Vec<(usize, u64)> {
    let health = world.nodes().iter().filter_map(|node| node.health());
    let onions = health.map(|health| health.onions.expect("every node is a hop"));
    onions.map(|onions| (onions.nodes_known, onions.epoch.0)).collect()
}

#[test]
fn keys_reach_other_swarms() {
    let mut world = world(Story::Calm, 1);
    run(&mut world, 20);
    let known = known(&world);
    assert_eq!(known.len(), 8);
    assert!(known.iter().all(|(nodes, _)| *nodes == 8), "{known:?}");
}

#[test]
fn keys_are_whole_again_after_crashes_and_partitions() {
    let mut world = world(Story::Everything, 3);
    run(&mut world, 180);
    assert!(world.faults().crashes > 0);
    settle(&mut world).unwrap_or_else(|violation| panic!("{violation}"));
    // Two comparisons of each node with a peer.
    run(&mut world, 130);
    let known = known(&world);
    assert!(known.iter().all(|(nodes, _)| *nodes == 8), "{known:?}");
}

#[test]
fn on_a_chain_keys_follow_its_epochs() {
    let mut world = world(Story::CoordinationFaults, 30);
    run(&mut world, 1_800);
    settle(&mut world).unwrap_or_else(|violation| panic!("{violation}"));
    run(&mut world, 130);
    let view = world.chain().expect("they live on one").blocks().view().clone();
    let registered = session_protocol::Membership::nodes(&*view.membership).len();
    let nodes = world.nodes().iter().filter(|node| view.seats.contains_key(&node.id()));
    let mut seen = 0;
    for node in nodes.filter_map(|node| node.health()) {
        let onions = node.onions.expect("every node is a hop");
        assert!(onions.epoch.0.abs_diff(view.epoch.number.0) <= 1, "{:?}", onions.epoch);
        assert_eq!(onions.nodes_known, registered);
        seen += 1;
    }
    assert!(seen > 8 && view.epoch.number.0 >= 4, "{seen} nodes in epoch {}", view.epoch.number);
}
