//! Seats through many epochs of comings and goings.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{BlockId, Digest, Entropy as _, Epoch, NodeId, SwarmId};
use session_crypto::fake::FakeVerifier;
use session_protocol::chain::Action;
use session_protocol::placement;
use session_vm::genesis::Genesis;
use session_vm::ledger::{BlockContext, Ledger};
use session_vm::query;
use session_vm::records::{NodeStatus, Params, SeedStatus};
use session_vm::state::State;

use super::world::{Checked, HOUR, PEOPLE, World, genesis};

fn small(nodes: usize) -> Genesis {
    let mut genesis = genesis(nodes);
    genesis.params = Params { swarm_size: 4, ..Params::default() };
    genesis
}

fn seats(state: &State) -> BTreeMap<NodeId, SwarmId> {
    query::active_nodes(state).map(|(swarm, node)| (node, swarm)).collect()
}

fn ids(state: &State) -> BTreeSet<SwarmId> {
    query::swarms(state).into_keys().collect()
}

/// What must hold whenever an epoch has turned.
fn check_turn(before: &State, after: &State, size: usize) {
    let swarms = query::swarms(after);
    for members in swarms.values() {
        assert!(members.len() < 2 * size, "{swarms:?}");
        assert!(swarms.len() == 1 || 2 * members.len() >= size, "{swarms:?}");
    }
    let now = query::epoch(after).number;
    let taken = seats(after);
    assert_eq!(taken.len(), query::active_nodes(after).count(), "one seat each");
    for (id, node) in query::nodes(after, None, usize::MAX) {
        let seat = node.status.seat();
        assert_eq!(seat.map(|seat| seat.swarm), taken.get(&id).copied());
        let serves = matches!(
            NodeStatus::seed(Some(&node.status)),
            SeedStatus::Active | SeedStatus::Suspended
        );
        assert_eq!(serves, seat.is_some(), "who left has no seat any more, who serves has one");
        if node.status == NodeStatus::Registered {
            assert!(query::first_seat(after, &id).unwrap().0 > now, "it waits for its time only");
        }
    }
    // Former seats are exactly those that changed; an id that was rotated is the same seat.
    let (old, former) = (seats(before), query::former_seats(after).collect::<BTreeMap<_, _>>());
    for (id, swarm) in &former {
        assert_ne!(taken.get(id), Some(swarm));
        let first = query::node(after, id).unwrap().1.first;
        let was = old.iter().find(|(old, _)| query::node(before, old).unwrap().1.first == first);
        assert_eq!(was.map(|(_, swarm)| swarm), Some(swarm));
    }
    let moved = old.iter().filter(|(id, swarm)| {
        let current = query::current_id(after, id).unwrap();
        taken.get(&current) != Some(swarm)
    });
    assert_eq!(moved.count(), former.len());
    // The epoch says since when there are these swarms.
    let (last, epoch) = (query::epoch(before), query::epoch(after));
    let expected = if ids(before) == ids(after) { last.swarms_since } else { epoch.number };
    assert_eq!(epoch.swarms_since, expected);
    assert_eq!(query::epoch_numbered(after, last.number).map(|it| it.beacon), Some(last.beacon));
    assert_eq!(query::epoch_numbered(after, epoch.number), Some(epoch));
}

struct Block {
    context: BlockContext,
    executed: Vec<Checked>,
    root: Digest,
}

fn execute(state: &State, context: BlockContext, txs: &[Checked]) -> State {
    let mut ledger = Ledger::begin(state, context);
    for tx in txs {
        ledger.execute(tx, &FakeVerifier).unwrap();
    }
    ledger.finish().0
}

/// Epochs in which nodes come, go, rest and change their keys.
fn walk(seed: u64, epochs: usize) -> (World, Vec<Block>) {
    let genesis = small(5);
    let mut world = World::of(&genesis, 5, seed);
    let mut blocks = Vec::new();
    let mut made = 0;
    for _ in 0..epochs {
        // Growth, then decline, then both.
        let phase = [0, 1, 1, 2][(blocks.len() / 12) % 4];
        let mut executed = Vec::new();
        let context = world.context();
        let mut ledger = Ledger::begin(&world.state, context);
        for who in 0..PEOPLE {
            let action = match (world.rng.below(4), phase) {
                (0 | 1, 0) | (0, 2) => {
                    made += 1;
                    let node = world.make_node();
                    world.register(who, &node, &format!("n{made}:1"))
                }
                (0 | 1, 1) | (1, 2) => {
                    let own = query::nodes(&world.state, None, usize::MAX);
                    let own: Vec<NodeId> = own
                        .iter()
                        .filter(|(_, node)| node.operator == world.id(who))
                        .map(|(id, _)| *id)
                        .collect();
                    if own.is_empty() {
                        continue;
                    }
                    let node = own[world.rng.below(own.len() as u64) as usize];
                    if world.rng.below(6) == 0 {
                        let new = world.make_node();
                        world.rotate(who, node, &new)
                    } else {
                        Action::Decommission { node }
                    }
                }
                _ => continue,
            };
            let tx = world.draft(who, action);
            let tx = world.sign(who, tx);
            if ledger.execute(&tx, &FakeVerifier).is_ok() {
                executed.push(tx);
            }
        }
        let turned = ledger.turned();
        let (state, _) = ledger.finish();
        let before = world.state.clone();
        if turned {
            let turn = Ledger::begin(&before, context).finish().0;
            check_turn(&before, &turn, 4);
        }
        blocks.push(Block { context, executed, root: state.root() });
        world.adopt(state);
        world.now = world.now + HOUR;
    }
    (world, blocks)
}

#[test]
fn seats_keep_their_rules_through_growth_and_decline() {
    let (mut most, mut splits, mut merges) = (0, 0, 0);
    for seed in 0..5 {
        let (_, blocks) = walk(seed, 96);
        // Replayed, everything is the same.
        let mut state = small(5).state().unwrap();
        for Block { context, executed, root } in &blocks {
            let before = ids(&state);
            let next = execute(&state, *context, executed);
            assert_eq!(next.root(), *root);
            state = next;
            let after = ids(&state);
            most = most.max(after.len());
            splits += after.difference(&before).count();
            merges += before.difference(&after).count();
        }
    }
    assert!(most > 4 && splits > 20 && merges > 20, "{most} {splits} {merges}");
}

#[test]
fn the_order_of_registrations_makes_no_difference() {
    let mut world = World::of(&small(5), 5, 1);
    world.pass(HOUR);
    let txs: Vec<Checked> = (0..PEOPLE)
        .map(|who| {
            let node = world.make_node();
            let action = world.register(who, &node, &format!("n{who}:1"));
            let tx = world.draft(who, action);
            world.sign(who, tx)
        })
        .collect();
    let turned = |txs: &[Checked]| {
        let context = world.context();
        let mut state = execute(&world.state, context, txs);
        for hours in [2, 3] {
            let time = context.time + session_core::Span::from_secs(3600 * (hours - 1));
            let next = BlockContext { time, height: context.height + hours, ..context };
            state = execute(&state, next, &[]);
        }
        state
    };
    let reversed: Vec<Checked> = txs.iter().rev().cloned().collect();
    assert_eq!(turned(&txs).root(), turned(&reversed).root());
    assert_eq!(seats(&turned(&txs)).len(), 5 + PEOPLE);
}

#[test]
fn a_node_waits_for_randomness_that_nobody_knew_when_it_registered() {
    let mut world = World::of(&small(5), 5, 1);
    world.pass(HOUR);
    let node = world.make_node();
    let action = world.register(1, &node, "n:1");
    world.run(1, action).unwrap();
    let first = query::first_seat(&world.state, &node);
    assert_eq!(first, Some((Epoch(3), world.now + HOUR + HOUR)));
    world.pass(HOUR);
    assert_eq!(world.node(&node).status, NodeStatus::Registered);
    world.pass(HOUR);
    let seat = world.node(&node).status.seat().unwrap();
    assert_eq!((seat.swarm, seat.since), (SwarmId(7), Epoch(3)));
    assert_eq!(query::first_seat(&world.state, &node), None);
    assert_eq!(query::former_seats(&world.state).count(), 0, "it had no seat before");
}

#[test]
fn in_the_founding_epoch_a_seat_is_taken_at_once() {
    let mut world = World::of(&small(0), 0, 1);
    let mut sizes = Vec::new();
    for number in 0..9 {
        let node = world.make_node();
        let action = world.register(number % PEOPLE, &node, &format!("n{number}:1"));
        world.run(number % PEOPLE, action).unwrap();
        assert!(world.node(&node).status.seat().is_some());
        sizes = query::swarms(&world.state).values().map(Vec::len).collect();
    }
    sizes.sort_unstable();
    assert_eq!(sizes, [4, 5]);
    let epoch = query::epoch(&world.state);
    assert_eq!(epoch.swarms_since, Epoch(1), "inboxes moved while the epoch ran");
    let former: Vec<(NodeId, SwarmId)> = query::former_seats(&world.state).collect();
    // Half of eight moved; the eighth itself may be among them, and had no seat before.
    assert!((3..=4).contains(&former.len()), "{former:?}");
    assert!(former.iter().all(|(id, swarm)| seats(&world.state)[id] != *swarm));
    world.pass(HOUR);
    assert_eq!(query::former_seats(&world.state).count(), 0);
    assert_eq!(query::epoch(&world.state).swarms_since, Epoch(1));
}

#[test]
fn a_swarm_never_begins_with_one_node() {
    // A full network of swarms of ten: the next node joins one of them, and the tenth after that
    // makes one split.
    let mut world = World::of(&genesis(10), 10, 1);
    let mut counts = Vec::new();
    for number in 0..12 {
        let node = world.make_node();
        let action = world.register(number % PEOPLE, &node, &format!("n{number}:1"));
        world.run(number % PEOPLE, action).unwrap();
        counts.push(query::swarms(&world.state).values().map(Vec::len).min().unwrap());
    }
    assert_eq!(counts, [11, 12, 13, 14, 15, 16, 17, 18, 19, 10, 10, 11]);
}

#[test]
fn the_share_of_inboxes_that_a_split_moves_is_a_quarter_of_the_ring_at_most() {
    let mut world = World::of(&small(4), 4, 1);
    let mut number = 0;
    while ids(&world.state).len() < 9 {
        let before: Vec<SwarmId> = ids(&world.state).into_iter().collect();
        let node = world.make_node();
        let action = world.register(number % PEOPLE, &node, &format!("n{number}:1"));
        world.run(number % PEOPLE, action).unwrap();
        number += 1;
        let after: Vec<SwarmId> = ids(&world.state).into_iter().collect();
        if before == after {
            continue;
        }
        let count = before.len() as u64;
        let (ring, modulo) = (
            placement::moved_between(&before, &after),
            placement::moved_by_modulo(&before, &after),
        );
        assert!(ring <= if count == 1 { 500_000 } else { 250_000 }, "{count}: {ring}");
        assert!(modulo >= 500_000, "{count}: {modulo}");
    }
}

#[test]
fn empty_epochs_give_seats_at_the_next_turn() {
    let mut world = World::of(&small(5), 5, 1);
    world.pass(HOUR);
    let node = world.make_node();
    let action = world.register(1, &node, "n:1");
    world.run(1, action).unwrap();
    world.pass(session_core::Span::from_secs(3600 * 7));
    let seat = world.node(&node).status.seat().unwrap();
    assert_eq!(seat.since, Epoch(8));
    // The end of time is an epoch as any other.
    world.now = session_core::Time::MAX;
    world.pass(session_core::Span::ZERO);
    let context = BlockContext { parent: BlockId::default(), ..world.context() };
    assert!(!Ledger::begin(&world.state, context).turned());
}
