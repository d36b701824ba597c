use session_core::{BlockId, Encode, List, Time};
use session_protocol::chain::block::BadBlock;
use session_protocol::chain::transaction::BadTransaction;
use session_protocol::chain::{Amount, Block};
use session_storage::kv::MemoryDatabase;
use session_vm::chain::{Chain, InvalidBlock, UNDECIDED_MAX};
use session_vm::ledger::Rejection;

use super::harness::{World, accept, at, id_of, parsed, step};

/// A chain, and a valid block of two transactions built by another one.
fn offered(world: &mut World) -> (Chain<MemoryDatabase>, Block) {
    let mut other = world.chain();
    for person in [0, 1] {
        other.submit(&world.transfer(person, 0), at(5)).expect("it is fine");
    }
    let block = other.build(at(5)).expect("two wait");
    (world.chain(), parsed(&block))
}

fn refusal(chain: &mut Chain<MemoryDatabase>, block: &Block, now: Time) -> InvalidBlock {
    let root = chain.state().root();
    let refused = chain.verify(&block.to_bytes(), now).expect_err("it is not valid");
    assert_eq!((chain.undecided(), chain.state().root()), (0, root), "nothing changed");
    refused
}

#[test]
fn verification_is_idempotent() {
    let mut world = World::new(1);
    let (mut chain, block) = offered(&mut world);
    let checked = world.verifier.count();
    let info = chain.verify(&block.to_bytes(), at(5)).expect("it is valid");
    assert_eq!(chain.verify(&block.to_bytes(), at(5)), Ok(info.clone()));
    assert_eq!((chain.undecided(), world.verifier.count()), (1, checked + 2));
    assert_eq!(chain.parse(&block.to_bytes()), Ok(info.clone()));
    accept(&mut chain, &info);
    assert_eq!(chain.verify(&block.to_bytes(), at(5)), Ok(info), "also when it is accepted");
    assert_eq!(chain.undecided(), 0);
}

#[test]
fn a_block_must_follow_its_parent() {
    let mut world = World::new(2);
    let (mut chain, good) = offered(&mut world);
    let unknown = Block { parent: BlockId::from([7; 32]), ..good.clone() };
    let refused = refusal(&mut chain, &unknown, at(5));
    assert_eq!(refused, InvalidBlock::Parent { parent: unknown.parent, last: good.parent });
    for height in [0, 2, u64::MAX] {
        let refused = refusal(&mut chain, &Block { height, ..good.clone() }, at(5));
        assert_eq!(refused, InvalidBlock::Height { got: height, expected: 1 });
    }
    let early = Block { time: Time::from_millis(at(0).as_millis() - 1), ..good.clone() };
    assert!(matches!(refusal(&mut chain, &early, at(5)), InvalidBlock::Past { .. }));
    let chain_id = Block { chain: [1; 32].into(), ..good.clone() };
    assert!(matches!(
        refusal(&mut chain, &chain_id, at(5)),
        InvalidBlock::Bad(BadBlock::Chain { .. })
    ));
    let version = Block { version: 2, ..good.clone() };
    assert!(matches!(
        refusal(&mut chain, &version, at(5)),
        InvalidBlock::Bad(BadBlock::Version { got: 2 })
    ));
    let state_root = Block { state_root: [3; 32].into(), ..good };
    assert!(matches!(refusal(&mut chain, &state_root, at(5)), InvalidBlock::StateRoot { .. }));
}

#[test]
fn a_block_of_the_future_waits_for_its_time_unless_the_past_is_fetched() {
    let mut world = World::new(3);
    let (mut chain, block) = offered(&mut world);
    let late = Time::from_millis(block.time.as_millis() - 10_001);
    let refused = refusal(&mut chain, &block, late);
    assert!(
        matches!(refused, InvalidBlock::Future { got, now, .. } if got == at(5) && now == late)
    );
    chain.set_bootstrapping(true);
    chain.verify(&block.to_bytes(), late).expect("the clock does not matter now");
    chain.set_bootstrapping(false);

    let mut chain = world.chain();
    let in_time = Time::from_millis(block.time.as_millis() - 10_000);
    chain.verify(&block.to_bytes(), in_time).expect("ten seconds are within the limit");
}

#[test]
fn what_is_in_a_block_must_be_signed_and_possible() {
    let mut world = World::new(4);
    let (mut chain, good) = offered(&mut world);
    let with = |transactions: Vec<_>| Block {
        transactions: List::new(transactions).expect("few"),
        ..good.clone()
    };
    let txs: Vec<_> = good.transactions.to_vec();
    assert_eq!(refusal(&mut chain, &with(vec![]), at(5)), InvalidBlock::Empty);

    let twice = with(vec![txs[0].clone(), txs[1].clone(), txs[0].clone()]);
    let why = Rejection::Nonce { got: 0, expected: 1 };
    let expected = InvalidBlock::Rejected { index: 2, id: id_of(&txs[0]), why };
    assert_eq!(refusal(&mut chain, &twice, at(5)), expected);

    let mut cut = txs[1].to_vec();
    cut.pop();
    let cut = with(vec![txs[0].clone(), session_core::Blob::new(cut).expect("short")]);
    let refused = refusal(&mut chain, &cut, at(5));
    assert!(matches!(
        refused,
        InvalidBlock::Unreadable { index: 1, why: BadTransaction::Malformed(_) }
    ));
    let root_only = with(vec![txs[0].clone()]);
    assert!(matches!(refusal(&mut chain, &root_only, at(5)), InvalidBlock::StateRoot { .. }));
}

/// The id of a transaction covers neither its signature nor its keys.
#[test]
fn a_known_id_with_another_signature_is_not_believed() {
    let mut world = World::new(5);
    let mut chain = world.chain();
    let good = world.transfer(0, 0);
    chain.submit(&good, at(1)).expect("it is fine");
    let mut other = world.chain();
    other.submit(&good, at(1)).expect("it is fine");
    let block = parsed(&other.build(at(1)).expect("one waits"));
    let mut forged = good.clone();
    *forged.last_mut().expect("it is long") ^= 1;
    assert_eq!(id_of(&forged), id_of(&good));
    let forged = List::new(vec![session_core::Blob::new(forged).expect("short")]).expect("few");
    let refused = refusal(&mut chain, &Block { transactions: forged, ..block.clone() }, at(1));
    assert!(matches!(
        refused,
        InvalidBlock::Unsigned { index: 0, why: BadTransaction::Signature { .. }, .. }
    ));
    chain.verify(&block.to_bytes(), at(1)).expect("the honest one is valid");
}

/// Nodes agree on a block although one has the missing keys in its pool.
#[test]
fn keys_that_only_wait_in_a_pool_do_not_count() {
    let mut world = World::new(6);
    let body = world.body(1, 0, world.give(0, 1));
    let with = body.clone().sign(&world.people[1], true, &mut world.rng).to_bytes();
    let without = body.sign(&world.people[1], false, &mut world.rng).to_bytes();
    let mut chain = world.chain();
    chain.submit(&with, at(1)).expect("it is fine");
    let block = parsed(&chain.build(at(1)).expect("one waits"));
    let keyless = List::new(vec![session_core::Blob::new(without).expect("short")]).expect("few");
    let block = Block { transactions: keyless, ..block };
    for chain in [&mut world.chain(), &mut chain] {
        let refused = chain.verify(&block.to_bytes(), at(1)).expect_err("the keys are missing");
        let InvalidBlock::Unsigned { why, .. } = refused else { panic!("{refused}") };
        assert!(matches!(why, BadTransaction::KeysMissing { .. }), "{why}");
    }
}

#[test]
fn a_flipped_bit_anywhere_spoils_the_block() {
    let mut world = World::new(7);
    let (mut chain, good) = offered(&mut world);
    let good = good.to_bytes();
    let original = chain.parse(&good).expect("it is one").id;
    for place in 0..good.len() {
        let mut bytes = good.clone();
        bytes[place] ^= 1 << (place % 8);
        match chain.verify(&bytes, at(5)) {
            Err(_) => {}
            // With another time it may be another valid block, but never the same one.
            Ok(info) => {
                assert_ne!(info.id, original, "bit {} of byte {place}", place % 8);
                let time = 1 + 32 + 32 + 8..1 + 32 + 32 + 8 + 8;
                assert!(time.contains(&place), "byte {place} does not matter");
                chain.reject(&info.id, at(5)).expect("the chain is open");
            }
        }
    }
    for length in (0..good.len()).step_by(97) {
        assert!(chain.verify(&good[..length], at(5)).is_err(), "{length} bytes");
    }
    assert!(chain.verify(&[&good[..], &[0]].concat(), at(5)).is_err());
    chain.verify(&good, at(5)).expect("it is valid as it was");
}

#[test]
fn undecided_blocks_are_bounded() {
    let mut world = World::new(8);
    let mut chain = world.chain();
    let mut others: Vec<_> = (0..=UNDECIDED_MAX as u64)
        .map(|secs| {
            let mut other = world.chain();
            let bytes = world.transfer_for(0, 0, Amount(10_000 + secs));
            other.submit(&bytes, at(1)).expect("it is fine");
            other.build(at(1)).expect("one waits")
        })
        .collect();
    let over = others.pop().expect("there is one");
    for block in &others {
        chain.verify(&block.bytes, at(1)).expect("there is room");
    }
    let refused = chain.verify(&over.bytes, at(1));
    assert_eq!(refused, Err(InvalidBlock::TooManyUndecided));
    // A decision makes room; what was decided against is kept until the driver says so.
    accept(&mut chain, &others[0]);
    assert_eq!(chain.undecided(), 0);
    assert!(chain.block(&others[1].id).expect("memory").is_some());
    for block in &others[1..] {
        chain.reject(&block.id, at(1)).expect("the chain is open");
        assert_eq!(chain.block(&block.id), Ok(None));
    }
    chain.submit(&world.transfer(0, 1), at(1)).expect("it is fine");
    step(&mut chain, at(1));
}
