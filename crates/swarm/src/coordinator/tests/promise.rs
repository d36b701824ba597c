//! Receipts of mates, and what becomes of those whose items are not kept.

use session_core::{Epoch, Span, Time};
use session_crypto::Signer as _;
use session_crypto::fake::FakeIdentity;
use session_protocol::commitment::{Absence, Leaf};
use session_protocol::duty::Duty;
use session_protocol::evidence::Evidence;
use session_protocol::inbox::{AccessRule, MESSAGES, message_id};
use session_protocol::membership::network_id;
use session_protocol::owner::OwnerAction;
use session_protocol::receipt::{StorageReceipt, sign_receipts};
use session_protocol::roster::{Duty as Examined, Target};
use session_protocol::schedule::Phase;
use session_storage::{NewItem, Store as _, Table};

use super::chain::{LENGTH, SWARM};
use super::dispute;
use super::world::World;
use crate::coordinator::{Input, Lie, Note, Promise};

const LIFE: Span = Span::from_days(1);

/// The first epoch whose commitments must hold what is stored at the beginning, and the one in
/// which they are audited.
const HELD: u64 = 2;
const AUDITED: u64 = 3;

fn promise(world: &World, by: usize, leaf: Leaf) -> Promise {
    let node = &world.nodes[by];
    let Leaf { address, message } = leaf;
    let (stored_at, expiry) = (world.now, world.now + LIFE);
    let receipt =
        StorageReceipt { node: node.id, swarm: SWARM, address, message, expiry, stored_at };
    let mut rng = session_core::SeededEntropy::new(5);
    let (root, mut paths) = sign_receipts(network_id("test"), &*node.keys, &[receipt], &mut rng);
    Promise { receipt, root, path: paths.remove(0) }
}

/// Each node takes the same items, and everybody has everybody's receipts for them.
fn store(world: &mut World, items: u8) -> Vec<Leaf> {
    let owner = FakeIdentity::new(&[77; 32]);
    let address = AccessRule::from(owner.public().account_id()).address();
    let leaves: Vec<Leaf> = (0..items)
        .map(|n| Leaf { address, message: message_id(&address, MESSAGES, &[n]) })
        .collect();
    for (n, leaf) in leaves.iter().enumerate() {
        let data = [u8::try_from(n).unwrap()];
        let (timestamp, expiry) = (world.now, world.now + LIFE);
        let item =
            NewItem { namespace: MESSAGES, id: leaf.message, timestamp, expiry, data: &data };
        for node in &mut world.nodes {
            node.store.put_item(&address, item).unwrap();
            node.store.commit_now();
        }
        promised(world, *leaf);
    }
    leaves
}

/// Gives everybody the receipts of all others for an item.
fn promised(world: &mut World, leaf: Leaf) {
    let count = world.nodes.len();
    for (by, to) in (0..count).flat_map(|by| (0..count).map(move |to| (by, to))) {
        if by != to {
            let promise = Box::new(promise(world, by, leaf));
            world.give(to, Input::Promised { promise });
        }
    }
}

fn begin(count: usize, seed: u64, lies: &[(usize, Lie)]) -> World {
    let mut world = World::with_lies(count, seed, lies);
    // Seats count from behind the beginning of an epoch on.
    world.run_until(world.now + Span::from_secs(1));
    world
}

fn keep(world: &World, index: usize) -> Target {
    Target { node: world.nodes[index].id, duty: Examined::Keep }
}

fn count(world: &World, name: &str) -> usize {
    world.sent.get(name).copied().unwrap_or(0)
}

#[test]
fn honest_mates_are_not_even_asked() {
    let mut world = begin(4, 80, &[]);
    store(&mut world, 20);
    world.run_to_end(AUDITED);
    assert_eq!(count(&world, "holds"), 0);
    assert_eq!(world.accused, []);
    assert_eq!(world.votes(AUDITED, &keep(&world, 0)), [Some(true); 3]);
}

#[test]
fn who_signs_receipts_and_forgets_is_accused_with_its_own_words() {
    let mut world = begin(4, 81, &[(2, Lie::FalseReceipt)]);
    store(&mut world, 20);
    world.run_to_end(AUDITED);
    assert!(count(&world, "absent") > 0);
    let liar = world.nodes[2].id;
    assert!(!world.accused.is_empty());
    let view = world.chain.view();
    let ground = session_protocol::evidence::Ground {
        chain: view.chain,
        network: network_id("test"),
        genesis: view.genesis,
        epoch: LENGTH,
        settle: view.params.settle,
        verifier: &session_crypto::fake::FakeVerifier,
    };
    for (accuser, evidence) in &world.accused {
        assert_ne!(*accuser, 2);
        assert!(matches!(evidence, Evidence::FalseReceipt { .. }));
        let finding = evidence.verify(world.nodes[2].keys.public(), &ground).unwrap();
        assert_eq!((finding.accused, finding.epoch), (liar, Some(Epoch(HELD))));
    }
    // It keeps what it committed to, and says what it does not: the votes are against it, too.
    let votes = world.votes(AUDITED, &keep(&world, 2));
    assert!(votes.iter().filter(|vote| **vote == Some(false)).count() >= 2, "{votes:?}");
    for honest in [0, 1, 3] {
        assert_eq!(world.votes(AUDITED, &keep(&world, honest)).len(), 3);
        assert!(!world.votes(AUDITED, &keep(&world, honest))[..2].contains(&Some(false)));
    }
}

#[test]
fn an_item_that_its_owner_removed_is_no_broken_promise() {
    let mut world = begin(3, 82, &[]);
    store(&mut world, 6);
    // All signed for it, and it is nowhere; two know why.
    let leaf = dispute::leaf();
    promised(&mut world, leaf);
    let ids = session_core::List::new([leaf.message]).unwrap();
    for index in 0..2 {
        dispute::give_order(&mut world, index, OwnerAction::Delete { ids: ids.clone() });
    }
    // Another root, so that promises matter.
    let owner = FakeIdentity::new(&[78; 32]);
    let address = AccessRule::from(owner.public().account_id()).address();
    for index in 0..3 {
        let data = [u8::try_from(index).unwrap()];
        let id = message_id(&address, MESSAGES, &data);
        let (timestamp, expiry) = (world.now, world.now + LIFE);
        let item = NewItem { namespace: MESSAGES, id, timestamp, expiry, data: &data };
        world.nodes[index].store.put_item(&address, item).unwrap();
        world.nodes[index].store.commit_now();
    }
    world.run_to_end(AUDITED);
    assert!(count(&world, "holds") > 0, "the others' promises are asked about");
    let by_those_who_know = world.accused.iter().filter(|(by, _)| *by != 2);
    assert_eq!(by_those_who_know.count(), 0);
    assert!(world.accused.iter().any(|(by, _)| *by == 2), "who knows no order accuses");
}

#[test]
fn receipts_are_a_small_sample_that_expires() {
    let mut world = begin(3, 83, &[]);
    let address = dispute::leaf().address;
    for n in 0..100_u8 {
        let leaf = Leaf { address, message: [n; 32].into() };
        promised(&mut world, leaf);
    }
    let kept = world.nodes[0].store.records(Table::Receipt, b"duty/promise/");
    assert_eq!(kept.len(), 2 * 4, "four of each mate");
    assert!(kept.iter().all(|(_, until)| *until < world.now + LIFE));
    // Those of other swarms, and of nodes of which nobody knows, are nothing to keep.
    let mut other = promise(&world, 1, dispute::leaf());
    other.receipt.swarm = session_core::SwarmId(1);
    world.give(0, Input::Promised { promise: Box::new(other.clone()) });
    other.receipt.node = [1; 32].into();
    other.receipt.swarm = SWARM;
    world.give(0, Input::Promised { promise: Box::new(other) });
    assert_eq!(world.nodes[0].store.records(Table::Receipt, b"duty/promise/"), kept);
    assert_eq!(
        kept.iter().map(|(_, until)| *until).min().map(|until| until > Time::ZERO),
        Some(true)
    );
}

#[test]
fn a_mate_is_answered_a_bounded_number_of_times_and_strangers_never() {
    let mut world = begin(3, 84, &[]);
    store(&mut world, 3);
    world.run_to(AUDITED, Phase::Deal);
    world.run_until(world.now + Span::from_secs(1));
    let (mate, stranger) = (world.nodes[1].id, session_core::NodeId::from([5; 32]));
    let holds = || Box::new(Duty::Holds { epoch: Epoch(HELD), leaf: dispute::leaf() });
    world.give(0, Input::FromPeer { node: stranger, duty: holds() });
    for _ in 0..20 {
        world.give(0, Input::FromPeer { node: mate, duty: holds() });
    }
    assert!(count(&world, "absent") <= 16);
    let faults = world.notes.iter();
    let faults = faults.filter(|(at, note)| *at == 0 && matches!(note, Note::PeerFault { .. }));
    assert_eq!(faults.count(), 1 + 4);
}

#[test]
fn what_nobody_asked_for_is_ignored() {
    let mut world = begin(3, 85, &[]);
    store(&mut world, 3);
    world.run_to(AUDITED, Phase::Deal);
    world.run_until(world.now + Span::from_secs(1));
    let absence = Box::new(Absence { before: None, after: None });
    let duty = Box::new(Duty::Absent { epoch: Epoch(HELD), leaf: dispute::leaf(), absence });
    let mate = world.nodes[1].id;
    world.give(0, Input::FromPeer { node: mate, duty });
    world.run_to_end(AUDITED);
    assert_eq!(world.accused, []);
    assert_eq!(world.votes(AUDITED, &keep(&world, 1)), [Some(true); 2]);
}
