use session_storage::kv::{Batch, Database, Fault, FaultyDatabase, MemoryDatabase};
use session_vm::chain::{AcceptError, BuildError, Chain, InvalidBlock, SubmitError};

use super::harness::{World, at, ids, step};

const BLOCKS: u64 = 4;

fn seal(height: u64) -> Batch {
    let mut extra = Batch::new();
    extra.put([b"x/seal/", &height.to_be_bytes()[..]].concat(), height.to_be_bytes());
    extra
}

/// Fills the pool and accepts a block with a seal.
fn advance<D: Database>(
    world: &mut World,
    chain: &mut Chain<D>,
    height: u64,
) -> Result<(), AcceptError> {
    for person in 0..4 {
        chain.submit(&world.transfer(person, height - 1), at(height)).expect("it is fine");
    }
    let block = chain.build(at(height)).expect("four wait");
    chain.accept(&block.id, seal(height)).map(drop)
}

/// Everything that an accept writes is there, up to the last accepted block and not beyond.
fn check_whole(world: &World, chain: &Chain<FaultyDatabase<MemoryDatabase>>) {
    let last = chain.last_accepted();
    assert_eq!(chain.state().root(), last.state_root);
    for height in 0..=BLOCKS {
        let id = chain.id_at_height(height).expect("memory");
        let seal = chain.extra(&[b"x/seal/", &height.to_be_bytes()[..]].concat()).expect("memory");
        assert_eq!(id.is_some(), height <= last.height, "height {height}");
        assert_eq!(seal.is_some(), (1..=last.height).contains(&height), "height {height}");
        let Some(id) = id else { continue };
        let block = chain.block(&id).expect("memory").expect("it was accepted");
        for transaction in ids(&block) {
            let found = chain.transaction(&transaction).expect("memory");
            assert_eq!(found.expect("it was accepted").height, height);
        }
    }
    let again = replay(world, chain);
    assert_eq!(again.last_accepted(), last, "executed anew from genesis");
}

/// Executes all blocks anew.
fn replay<D: Database>(world: &World, chain: &Chain<D>) -> Chain<MemoryDatabase> {
    let mut again = world.chain();
    again.set_bootstrapping(true);
    for height in 1..=chain.last_accepted().height {
        let id = chain.id_at_height(height).expect("memory").expect("it was accepted");
        let block = chain.block(&id).expect("memory").expect("it was accepted");
        again.verify(&block.bytes, at(0)).expect("it was valid");
        again.accept(&id, Batch::new()).expect("it is the next one");
    }
    again
}

#[test]
fn a_crash_at_any_write_leaves_the_old_block_or_the_new_one() {
    for fault in [Fault::Fail, Fault::StopBefore, Fault::StopAfter] {
        for at_block in 1..=BLOCKS {
            let mut world = World::new(at_block);
            let database = FaultyDatabase::new(MemoryDatabase::default());
            let mut chain = world.open(database.clone());
            for height in 1..at_block {
                advance(&mut world, &mut chain, height).expect("no fault is planned");
            }
            database.plan(1, fault);
            let failed = advance(&mut world, &mut chain, at_block);
            assert!(matches!(failed, Err(AcceptError::Closed(_))), "{failed:?}");
            assert_eq!(chain.last_accepted().height, at_block - 1, "memory keeps the old one");
            drop(chain);

            database.restart();
            let mut chain = world.open(database);
            let expected = if fault == Fault::StopAfter { at_block } else { at_block - 1 };
            assert_eq!(chain.last_accepted().height, expected, "{fault:?} at {at_block}");
            check_whole(&world, &chain);
            for height in expected + 1..=BLOCKS {
                advance(&mut world, &mut chain, height).expect("no fault is planned");
            }
            check_whole(&world, &chain);
        }
    }
}

#[test]
fn after_a_failed_write_only_reading_is_left() {
    let mut world = World::new(9);
    let database = FaultyDatabase::new(MemoryDatabase::default());
    let mut chain = world.open(database.clone());
    advance(&mut world, &mut chain, 1).expect("no fault is planned");
    chain.submit(&world.transfer(0, 1), at(2)).expect("it is fine");
    let block = chain.build(at(2)).expect("one waits");
    database.plan(1, Fault::Fail);
    let failed = chain.accept(&block.id, Batch::new());
    let Err(AcceptError::Closed(closed)) = failed else { panic!("{failed:?}") };
    assert_eq!(chain.closed(), Some(&closed));
    assert!(closed.to_string().contains("a planned fault"), "{closed}");

    // The database works again; the chain does not trust it.
    let writes = database.writes();
    assert_eq!(chain.accept(&block.id, Batch::new()), Err(AcceptError::Closed(closed.clone())));
    assert_eq!(chain.build(at(2)), Err(BuildError::Closed(closed.clone())));
    assert_eq!(chain.verify(&block.bytes, at(2)), Err(InvalidBlock::Closed(closed.clone())));
    assert_eq!(chain.reject(&block.id, at(2)), Err(closed.clone()));
    let refused = chain.submit(&world.transfer(2, 1), at(2));
    assert_eq!(refused, Err(SubmitError::Closed(closed)));
    assert_eq!(database.writes(), writes);

    let last = chain.last_accepted().clone();
    assert_eq!((last.height, chain.id_at_height(1)), (1, Ok(Some(last.id))));
    assert_eq!(chain.ancestors(&last.id, 9, usize::MAX).map(|blocks| blocks.len()), Ok(2));
}

/// A disk that says it wrote and did not: the chain of the past is there, whole.
#[test]
fn a_lost_write_is_an_older_chain_or_refused() {
    let mut world = World::new(10);
    let database = FaultyDatabase::new(MemoryDatabase::default());
    let mut chain = world.open(database.clone());
    advance(&mut world, &mut chain, 1).expect("no fault is planned");
    database.plan(1, Fault::Lose);
    advance(&mut world, &mut chain, 2).expect("the disk says so");
    assert_eq!(chain.last_accepted().height, 2);
    drop(chain);
    let chain = world.open(database);
    assert_eq!(chain.last_accepted().height, 1);
    check_whole(&world, &chain);
}

#[test]
fn a_restarted_chain_goes_on_where_it_was() {
    let mut world = World::new(11);
    let database = FaultyDatabase::new(MemoryDatabase::default());
    for height in 1..=BLOCKS {
        let mut chain = world.open(database.clone());
        assert_eq!(chain.last_accepted().height, height - 1);
        advance(&mut world, &mut chain, height).expect("no fault is planned");
    }
    let mut chain = world.open(database);
    check_whole(&world, &chain);
    chain.submit(&world.transfer(0, BLOCKS), at(9)).expect("nonces go on too");
    assert_eq!(step(&mut chain, at(9)).height, BLOCKS + 1);
}
