use session_protocol::chain::Amount;
use session_storage::kv::{Batch, MemoryDatabase};
use session_vm::chain::{
    ANCESTOR_FRAMING_BYTES, AcceptError, Chain, InvalidBlock, UNDECIDED_MAX, UnknownBlock,
};
use session_vm::query;

use super::harness::{World, accept, at, id_of, ids, step};

#[test]
fn only_a_verified_child_of_the_last_accepted_block_is_accepted() {
    let mut world = World::new(1);
    let mut chain = world.chain();
    let genesis = chain.last_accepted().clone();
    assert_eq!(
        chain.accept(&genesis.id, Batch::new()),
        Err(AcceptError::Already { id: genesis.id })
    );
    let id = [5; 32].into();
    assert_eq!(chain.accept(&id, Batch::new()), Err(AcceptError::NotVerified { id }));
    assert_eq!(chain.set_preference(&id), Err(UnknownBlock { id }));

    chain.submit(&world.transfer(0, 0), at(1)).expect("it is fine");
    chain.submit(&world.transfer(2, 0), at(1)).expect("it is fine");
    let first = chain.build(at(1)).expect("two wait");
    chain.set_preference(&first.id).expect("it is verified");
    chain.submit(&world.transfer(0, 1), at(2)).expect("it is fine");
    let second = chain.build(at(2)).expect("one waits");
    let (parent, last) = (first.id, genesis.id);
    assert_eq!(
        chain.accept(&second.id, Batch::new()),
        Err(AcceptError::NotNext { id: second.id, parent, last })
    );
    let mut extra = Batch::new();
    extra.put(*b"sneaky", *b"value");
    assert_eq!(chain.accept(&first.id, extra), Err(AcceptError::ExtraKey));
    assert_eq!(*chain.last_accepted(), genesis);

    let mut extra = Batch::new();
    extra.put(*b"x/seal/1", *b"seal");
    let accepted = chain.accept(&first.id, extra).expect("it is the next one");
    assert_eq!((accepted.block.id, accepted.transactions), (first.id, ids(&first)));
    assert_eq!(chain.extra(b"x/seal/1"), Ok(Some(b"seal".to_vec())));
    assert_eq!(chain.extra(b"f"), Ok(None), "the chain's own entries are not the shell's");
    accept(&mut chain, &second);
}

#[test]
fn what_was_accepted_can_be_read() {
    let mut world = World::new(2);
    let mut chain = world.chain();
    let mut blocks = vec![chain.last_accepted().clone()];
    for nonce in 0..3 {
        for person in 0..3 {
            chain.submit(&world.transfer(person, nonce), at(nonce + 1)).expect("it is fine");
        }
        blocks.push(step(&mut chain, at(nonce + 1)));
    }
    for (height, block) in blocks.iter().enumerate() {
        assert_eq!(chain.id_at_height(height as u64), Ok(Some(block.id)));
        assert_eq!(chain.block(&block.id), Ok(Some(block.clone())));
        for (index, id) in ids(block).iter().enumerate() {
            let found = chain.transaction(id).expect("memory").expect("it was accepted");
            assert_eq!((found.height, found.index), (height as u64, index as u32));
            assert_eq!(id_of(&found.bytes), *id);
        }
    }
    assert_eq!(chain.id_at_height(4), Ok(None));
    assert_eq!(chain.block(&[1; 32].into()), Ok(None));
    assert_eq!(chain.transaction(&[1; 32].into()), Ok(None));

    let downwards: Vec<_> = blocks.iter().rev().map(|block| block.bytes.to_vec()).collect();
    let from = blocks[3].id;
    assert_eq!(chain.ancestors(&from, 100, usize::MAX).as_ref(), Ok(&downwards));
    assert_eq!(chain.ancestors(&from, 2, usize::MAX).as_deref(), Ok(&downwards[..2]));
    let two = downwards[..2].iter().map(|bytes| bytes.len() + ANCESTOR_FRAMING_BYTES).sum();
    assert_eq!(chain.ancestors(&from, 100, two).as_deref(), Ok(&downwards[..2]));
    assert_eq!(chain.ancestors(&from, 100, two - 1).as_deref(), Ok(&downwards[..1]));
    assert_eq!(chain.ancestors(&from, 100, 1).as_deref(), Ok(&downwards[..1]), "the first always");
    assert_eq!(chain.ancestors(&from, 0, usize::MAX), Ok(vec![]));
    assert_eq!(chain.ancestors(&[1; 32].into(), 9, usize::MAX), Ok(vec![]));
    let one = chain.ancestors_while(&from, 100, usize::MAX, &mut || false);
    assert_eq!(one.as_deref(), Ok(&downwards[..1]), "the time is over");

    let key = <session_vm::records::Treasury as session_vm::records::Table>::key(
        &session_vm::records::Only {},
    );
    let root = chain.last_accepted().state_root;
    let proof = chain.prove(&key);
    let proven = proof.verify(&key, &root).expect("it is of this root");
    assert_eq!(proven, chain.state().get(&key));
}

/// Two proposers, two blocks of one height.
#[test]
fn the_loser_of_a_fork_gives_its_transactions_back() {
    let mut world = World::new(3);
    let (mut chain, mut other) = (world.chain(), world.chain());
    let (mine, shared, theirs) = (world.transfer(0, 0), world.transfer(2, 0), world.transfer(4, 0));
    for bytes in [&mine, &shared] {
        chain.submit(bytes, at(1)).expect("it is fine");
    }
    for bytes in [&shared, &theirs] {
        other.submit(bytes, at(1)).expect("it is fine");
    }
    let ours = chain.build(at(1)).expect("two wait");
    let winner = other.build(at(1)).expect("two wait");
    // A child of the loser can never be accepted either.
    chain.set_preference(&ours.id).expect("it is verified");
    let child_only = world.transfer(0, 1);
    chain.submit(&child_only, at(2)).expect("it is fine");
    let child = chain.build(at(2)).expect("one waits");

    chain.verify(&winner.bytes, at(1)).expect("it is valid too");
    assert_eq!(chain.undecided(), 3);
    accept(&mut chain, &winner);
    assert_eq!((chain.undecided(), *chain.preferred()), (0, winner.id));
    for lost in [&ours, &child] {
        let refused = chain.accept(&lost.id, Batch::new());
        assert_eq!(refused, Err(AcceptError::NotVerified { id: lost.id }));
        assert!(chain.set_preference(&lost.id).is_err());
    }
    assert!(matches!(chain.verify(&child.bytes, at(2)), Err(InvalidBlock::Parent { .. })));
    chain.reject(&child.id, at(2)).expect("the chain is open");
    chain.reject(&ours.id, at(2)).expect("the chain is open");

    let next = step(&mut chain, at(2));
    let mut included = ids(&next);
    included.sort();
    let mut expected = [id_of(&mine), id_of(&child_only)];
    expected.sort();
    assert_eq!(included, expected, "what the winner did not have");

    // The other validator saw the loser only as a block: rejected, its transactions come to it.
    let mut third = world.chain();
    third.verify(&ours.bytes, at(1)).expect("it is valid");
    third.verify(&winner.bytes, at(1)).expect("it is valid");
    accept(&mut third, &winner);
    assert_eq!(third.mempool_stats().transactions, 0);
    third.reject(&ours.id, at(1)).expect("the chain is open");
    assert_eq!(ids(&step(&mut third, at(2))), [id_of(&mine)]);
    third.reject(&ours.id, at(1)).expect("again is no error");
    assert_eq!(third.mempool_stats().transactions, 0);
}

#[test]
fn a_rejected_parent_takes_its_descendants_along() {
    let mut world = World::new(4);
    let mut chain = world.chain();
    chain.submit(&world.transfer(0, 0), at(1)).expect("it is fine");
    let first = chain.build(at(1)).expect("one waits");
    chain.set_preference(&first.id).expect("it is verified");
    chain.submit(&world.transfer(0, 1), at(1)).expect("it is fine");
    let second = chain.build(at(1)).expect("one waits");
    chain.set_preference(&second.id).expect("it is verified");
    chain.reject(&first.id, at(1)).expect("the chain is open");
    assert_eq!(chain.undecided(), 0);
    assert_eq!(*chain.preferred(), chain.last_accepted().id);
    chain.reject(&second.id, at(1)).expect("the chain is open");
    assert_eq!(step(&mut chain, at(2)).transactions, 2);
}

#[test]
fn accepted_states_are_what_undecided_blocks_said() {
    let mut world = World::new(5);
    let mut chain = world.chain();
    chain.submit(&world.transfer_for(0, 0, Amount::lux(1)), at(1)).expect("it is fine");
    let block = chain.build(at(1)).expect("one waits");
    let before = chain.state().clone();
    assert_ne!(before.root(), block.state_root);
    accept(&mut chain, &block);
    assert_eq!(chain.state().root(), block.state_root);
    let sender = session_crypto::Signer::public(&world.people[0]).account_id();
    assert_eq!(query::account(&before, &sender).nonce, 0, "the old state is as it was");
    assert_eq!(query::account(chain.state(), &sender).nonce, 1);
}

/// A driver that never says what it decided against does not fill the memory.
#[test]
fn blocks_that_lost_are_forgotten_in_the_end() {
    let mut world = World::new(6);
    let mut chain = world.chain();
    let mut lost = Vec::new();
    for height in 1..=2 {
        let winner = world.transfer(0, height - 1);
        let losers: Vec<_> =
            (0..40).map(|fee| world.transfer_for(2, 0, Amount(50_000 + fee))).collect();
        for bytes in losers {
            let mut other = replica(&world, &chain);
            other.submit(&bytes, at(height)).expect("it is fine");
            let block = other.build(at(height)).expect("one waits");
            lost.push(chain.verify(&block.bytes, at(height)).expect("it is valid").id);
        }
        chain.submit(&winner, at(height)).expect("it is fine");
        step(&mut chain, at(height));
    }
    let kept = lost.iter().filter(|id| chain.block(id).expect("memory").is_some()).count();
    assert_eq!((lost.len(), kept), (80, UNDECIDED_MAX));
    // The lowest went first, as if they had been rejected: one transaction per nonce came back.
    assert_eq!(chain.block(&lost[79]).expect("memory").map(|block| block.height), Some(2));
    assert_eq!(chain.mempool_stats().transactions, 1);
    assert_eq!(step(&mut chain, at(4)).transactions, 1);
}

/// Another validator with the same accepted blocks.
fn replica(world: &World, chain: &Chain<MemoryDatabase>) -> Chain<MemoryDatabase> {
    let mut replica = world.chain();
    for bytes in
        chain.ancestors(&chain.last_accepted().id, 99, usize::MAX).expect("memory").iter().rev()
    {
        let block = replica.verify(bytes, at(9)).expect("it was valid");
        if block.height > 0 {
            accept(&mut replica, &block);
        }
    }
    replica
}
