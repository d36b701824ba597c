//! Accusations about items that their owners removed, and who answers them.

use session_core::{Digest, Encode as _, InboxAddress, List, MessageId, SeededEntropy, Span, Time};
use session_crypto::Signer as _;
use session_crypto::fake::FakeIdentity;
use session_protocol::chain::Action;
use session_protocol::chain::view::OpenCase;
use session_protocol::commitment::Leaf;
use session_protocol::inbox::AccessRule;
use session_protocol::membership::network_id;
use session_protocol::owner::{ExpireMode, OwnerAction, OwnerOperation};
use session_protocol::schedule::Phase;
use session_storage::{Store as _, Table};

use super::chain::GENESIS;
use super::world::World;
use crate::coordinator::Note;

const CASE: [u8; 32] = [0xca; 32];
const LIVES_UNTIL: Time = Time::from_millis(GENESIS.as_millis() + 1_000_000);

fn owner() -> FakeIdentity {
    FakeIdentity::new(&[3; 32])
}

pub(super) fn leaf() -> Leaf {
    let address: InboxAddress = AccessRule::from(owner().public().account_id()).address();
    Leaf { address, message: MessageId::from([9; 32]) }
}

/// Gives a node the owner's order about the item.
pub(super) fn give_order(world: &mut World, index: usize, action: OwnerAction) {
    let network = network_id("test");
    let order =
        OwnerOperation::sign(network, &owner(), action, world.now, &mut SeededEntropy::new(1));
    let key = [leaf().address.as_ref(), &order.signed_bytes(network)[..]].concat();
    let store = &mut world.nodes[index].store;
    store.put_record(Table::Operation, &key, &order.to_bytes(), Time::MAX).unwrap();
    store.commit_now();
}

fn delete() -> OwnerAction {
    OwnerAction::Delete { ids: List::new([leaf().message]).unwrap() }
}

fn accuse(world: &mut World, accused: usize) {
    let accused = world.nodes[accused].id;
    let (case, missing) = (Digest::from(CASE), Some(leaf()));
    world.chain.accused.push(OpenCase { case, accused, missing, lives_until: LIVES_UNTIL });
}

fn answers(world: &World) -> Vec<usize> {
    let refutes = |action: &Action| matches!(action, Action::Refute { .. });
    let all = world.submitted.iter().filter(|(_, _, action)| refutes(action));
    all.map(|(index, ..)| *index).collect()
}

#[test]
fn the_accused_shows_the_order_at_once() {
    let mut world = World::new(4, 70);
    for index in 0..4 {
        give_order(&mut world, index, delete());
    }
    accuse(&mut world, 1);
    world.run_to(0, Phase::Reveal);
    assert_eq!(answers(&world), [1], "mates leave it to the accused");
    assert_eq!(world.chain.accused, []);
    let node = world.nodes[1].id;
    assert!(world.notes.contains(&(1, Note::Refuted { case: CASE.into(), node })));
}

#[test]
fn mates_answer_for_a_node_that_is_away() {
    let mut world = World::new(4, 71);
    for index in 0..4 {
        give_order(&mut world, index, delete());
    }
    world.stop(1);
    accuse(&mut world, 1);
    world.run_to(1, Phase::Ack);
    assert_eq!(world.chain.accused, []);
    let answers = answers(&world);
    assert!(!answers.is_empty() && answers.len() <= 2, "{answers:?}");
}

#[test]
fn an_answer_that_is_lost_is_given_again_and_an_order_may_come_late() {
    let mut world = World::new(3, 72);
    accuse(&mut world, 0);
    world.run_to(0, Phase::Reveal);
    assert_eq!(answers(&world), Vec::<usize>::new(), "nobody has an order");
    world.loss = 700;
    give_order(&mut world, 0, delete());
    world.run_to(2, Phase::Deal);
    assert_eq!(world.chain.accused, []);
    assert!(answers(&world).iter().all(|index| *index == 0));
}

#[test]
fn no_order_about_something_else_is_shown() {
    let mut world = World::new(3, 73);
    let ids = List::new([leaf().message]).unwrap();
    let expiry = LIVES_UNTIL + Span::from_millis(1);
    let later = OwnerAction::Expire { ids, expiry, mode: ExpireMode::Shorten };
    give_order(&mut world, 0, later);
    let other = List::new([MessageId::from([8; 32])]).unwrap();
    give_order(&mut world, 0, OwnerAction::Delete { ids: other });
    accuse(&mut world, 0);
    // A case that is about no item has no answer.
    let (case, accused) = (Digest::from([1; 32]), world.nodes[0].id);
    world.chain.accused.push(OpenCase { case, accused, missing: None, lives_until: LIVES_UNTIL });
    world.run_to(1, Phase::Deal);
    assert_eq!(answers(&world), Vec::<usize>::new());
    assert_eq!(world.chain.accused.len(), 2);
}
