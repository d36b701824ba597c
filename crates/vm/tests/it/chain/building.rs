use session_core::Encode;
use session_protocol::chain::block::BLOCK_BYTES_MAX;
use session_protocol::chain::{Amount, Transaction};
use session_storage::kv::{Batch, MemoryDatabase};
use session_vm::chain::{BuildError, InvalidBlock};
use session_vm::mempool::Limits;
use session_vm::query;

use super::harness::{World, accept, at, id_of, ids, step};

#[test]
fn nothing_to_build_is_an_answer_and_changes_nothing() {
    let mut chain = World::new(1).chain();
    assert!(!chain.pending(at(1)));
    assert_eq!(chain.build(at(1)), Err(BuildError::NothingToBuild));
    assert_eq!(chain.undecided(), 0);
}

#[test]
fn an_empty_block_only_turns_an_epoch() {
    let world = World::new(2);
    let mut chain = world.chain();
    let turn = chain.next_due();
    assert_eq!(turn, at(3_600));
    assert!(!chain.pending(at(3_599)) && chain.pending(turn));
    let block = step(&mut chain, turn);
    assert_eq!((block.transactions, block.time), (0, turn));
    assert_eq!(query::epoch(chain.state()).number.0, 1);
    assert!(!chain.pending(turn));
    assert_eq!(chain.build(turn), Err(BuildError::NothingToBuild));
}

#[test]
fn what_offers_more_comes_first_and_nonces_keep_their_order() {
    let mut world = World::new(3);
    let mut chain = world.chain();
    let cheap = world.transfer_for(0, 0, Amount::lux(1));
    let equal = world.transfer_for(2, 0, Amount::lux(1));
    // The best offer waits for a worse one of the same sender.
    let first = world.transfer_for(4, 0, Amount::lux(2));
    let second = world.transfer_for(4, 1, Amount::lux(9));
    for bytes in [&second, &cheap, &equal, &first] {
        chain.submit(bytes, at(1)).expect("it is fine");
    }
    let block = chain.build(at(1)).expect("four wait");
    assert_eq!(ids(&block), [&first, &second, &cheap, &equal].map(|bytes| id_of(bytes)));
}

#[test]
fn the_built_block_is_returned_until_it_is_decided() {
    let mut world = World::new(4);
    let mut chain = world.chain();
    chain.submit(&world.transfer(0, 0), at(1)).expect("it is fine");
    let block = chain.build(at(1)).expect("one waits");
    chain.submit(&world.transfer(2, 0), at(2)).expect("it is fine");
    assert_eq!(chain.build(at(2)), Ok(block.clone()), "built twice");
    assert_eq!(chain.build(at(5_000)), Ok(block.clone()), "an epoch turned, still undecided");

    // On the built block the rest is built, and both are kept.
    chain.set_preference(&block.id).expect("it is verified");
    let next = chain.build(at(3)).expect("one more waits");
    assert_eq!((next.parent, next.height), (block.id, 2));
    chain.set_preference(&block.parent).expect("it is the last accepted");
    assert_eq!(chain.build(at(3)), Ok(block.clone()));

    accept(&mut chain, &block);
    assert_eq!(*chain.preferred(), block.id, "the preference follows what was accepted");
    assert_eq!(chain.build(at(4)), Ok(next.clone()));
    chain.reject(&next.id, at(4)).expect("the chain is open");
    let again = chain.build(at(5)).expect("its transaction came back");
    assert_eq!(ids(&again), ids(&next));
    assert_ne!(again.id, next.id, "it has another time");
}

#[test]
fn a_built_block_is_verified_without_checking_a_signature_again() {
    let mut world = World::new(5);
    let (mut chain, mut other) = (world.chain(), world.chain());
    for person in 0..4 {
        chain.submit(&world.transfer(person, 0), at(1)).expect("it is fine");
    }
    assert_eq!(world.verifier.count(), 4);
    let block = chain.build(at(1)).expect("four wait");
    chain.verify(&block.bytes, at(1)).expect("it was built here");
    assert_eq!(world.verifier.count(), 4, "checked at admission");
    other.verify(&block.bytes, at(1)).expect("it is valid everywhere");
    assert_eq!(world.verifier.count(), 8, "somebody else's block is checked");
}

#[test]
fn what_became_impossible_is_dropped_and_the_rest_is_built() {
    let mut world = World::new(6);
    let mut chain = world.chain();
    // Both can be paid alone; the transaction that offers more goes first.
    let mut big = |nonce, fee_max| {
        let body = world.body(0, nonce, world.give(1, 700));
        let body = Transaction { fee_max, ..body };
        world.sign(0, body)
    };
    let (first, second) = (big(0, Amount::lux(2)), big(1, Amount::lux(1)));
    let other = world.transfer(2, 0);
    for bytes in [&first, &second, &other] {
        chain.submit(bytes, at(1)).expect("it can be paid alone");
    }
    let block = step(&mut chain, at(1));
    assert_eq!(ids(&block), [id_of(&first), id_of(&other)]);
    assert!(chain.waiting(&id_of(&second)).is_none(), "the money is gone");
    assert!(!chain.pending(at(1)));
}

#[test]
fn what_is_impossible_on_an_undecided_block_waits_for_another() {
    let mut world = World::new(7);
    let mut chain = world.chain();
    let spend = world.body(0, 0, world.give(1, 990));
    let spend = world.sign(0, spend);
    chain.submit(&spend, at(1)).expect("it is fine");
    let block = chain.build(at(1)).expect("one waits");
    let rest = world.body(0, 1, world.give(2, 900));
    let rest = world.sign(0, rest);
    chain.submit(&rest, at(1)).expect("the last accepted state has the money");
    chain.set_preference(&block.id).expect("it is verified");
    assert!(chain.pending(at(1)));
    assert_eq!(chain.build(at(1)), Err(BuildError::NothingToBuild));
    assert!(!chain.pending(at(1)), "or the driver would ask for ever");
    assert!(chain.waiting(&id_of(&rest)).is_some(), "the block may still be rejected");
}

#[test]
fn blocks_are_as_large_as_they_may_be_and_no_larger() {
    let mut world = World::new(8);
    let limits = Limits { sender_bytes_max: 64 << 20, bytes_max: 256 << 20, ..Default::default() };
    let mut chain = world.open_with(MemoryDatabase::default(), limits);
    let mut total = 0;
    for person in 0..8 {
        for nonce in 0..64 {
            // With keys in each, they are longer than a block together.
            let body = world.body(person, nonce, world.give(0, 1));
            let bytes = body.sign(&world.people[person], true, &mut world.rng).to_bytes();
            total += bytes.len();
            chain.submit(&bytes, at(1)).expect("it is fine");
        }
    }
    let mut bytes = 0;
    let mut blocks = 0;
    while chain.pending(at(1)) {
        let block = step(&mut chain, at(1));
        assert!(block.bytes.len() <= BLOCK_BYTES_MAX);
        bytes += block.bytes.len();
        blocks += 1;
    }
    assert!(bytes > total && blocks == 2, "{blocks} blocks");
    assert_eq!(chain.mempool_stats().transactions, 0);
}

#[test]
fn a_parent_of_the_future_is_not_built_on() {
    let mut world = World::new(9);
    let mut chain = world.chain();
    chain.submit(&world.transfer(0, 0), at(100)).expect("it is fine");
    let block = chain.build(at(100)).expect("one waits");
    chain.accept(&block.id, Batch::new()).expect("it is the next one");
    chain.submit(&world.transfer(2, 0), at(50)).expect("it is fine");
    let built = chain.build(at(50));
    assert!(matches!(built, Err(BuildError::Invalid(InvalidBlock::Future { .. }))), "{built:?}");
    let block = chain.build(at(95)).expect("five seconds are within the limit");
    assert_eq!(block.time, at(100), "never before its parent");
}

#[test]
fn the_built_block_outlives_a_rejected_sibling() {
    let mut world = World::new(10);
    let (mut chain, mut other) = (world.chain(), world.chain());
    chain.submit(&world.transfer(0, 0), at(1)).expect("it is fine");
    other.submit(&world.transfer(2, 0), at(1)).expect("it is fine");
    let (own, theirs) = (chain.build(at(1)), other.build(at(1)).expect("one waits"));
    chain.verify(&theirs.bytes, at(1)).expect("it is valid");
    chain.reject(&theirs.id, at(1)).expect("the chain is open");
    assert_eq!(chain.build(at(2)), own, "with the transaction that came back it were another");
}
