use session_core::{ChainId, Encode, Text};
use session_protocol::chain::Amount;
use session_storage::kv::{Batch, Database, Fault, FaultyDatabase, MemoryDatabase};
use session_vm::chain::layout::{self, LAST_KEY, STAMP_KEY, Stamp};
use session_vm::chain::{Chain, OpenError};
use session_vm::genesis::Genesis;

use super::harness::{World, at, step};

/// A database with two blocks on genesis.
fn written(world: &mut World) -> FaultyDatabase<MemoryDatabase> {
    let database = FaultyDatabase::new(MemoryDatabase::default());
    let mut chain = world.open(database.clone());
    for nonce in 0..2 {
        chain.submit(&world.transfer(0, nonce), at(nonce)).expect("it is fine");
        step(&mut chain, at(nonce));
    }
    database
}

fn refusal(
    world: &World,
    database: &FaultyDatabase<MemoryDatabase>,
    genesis: &Genesis,
    chain: ChainId,
) -> OpenError {
    let writes = database.writes();
    let opened = Chain::open(database.clone(), genesis, chain, world.config());
    assert_eq!(database.writes(), writes, "a refused database is not written to");
    opened.err().expect("it is not acceptable")
}

#[test]
fn a_database_opens_as_it_was_left() {
    let mut world = World::new(1);
    let database = written(&mut world);
    let chain = world.open(database.clone());
    assert_eq!(chain.last_accepted().height, 2);
    assert_eq!(chain.state().root(), chain.last_accepted().state_root);
    assert_eq!(database.writes(), 3, "genesis and two blocks, one write each");
    assert_eq!((chain.undecided(), chain.mempool_stats().transactions), (0, 0));
}

#[test]
fn another_chain_genesis_or_format_is_named() {
    let mut world = World::new(2);
    let mut database = written(&mut world);
    let id = world.genesis.chain_id();
    let error = refusal(&world, &database, &world.genesis, [9; 32].into());
    let OpenError::Chain { got, chain } = error else { panic!("{error}") };
    assert_eq!((got, chain), (id, [9; 32].into()));

    let renamed = Genesis { name: Text::new("other").expect("short"), ..world.genesis.clone() };
    let error = refusal(&world, &database, &renamed, id);
    let OpenError::Genesis { got, genesis } = error else { panic!("{error}") };
    assert_eq!((got, genesis), (id, renamed.chain_id()));

    let wrong = Genesis { supply: Some(Amount(1)), ..world.genesis.clone() };
    let fresh = FaultyDatabase::new(MemoryDatabase::default());
    let error = refusal(&world, &fresh, &wrong, id);
    assert!(matches!(error, OpenError::BadGenesis(_)), "{error}");

    let mut batch = Batch::new();
    batch.put(STAMP_KEY, Stamp { format: 2, chain: id, genesis: id }.to_bytes());
    database.write(&batch).expect("memory");
    let error = refusal(&world, &database, &world.genesis, id);
    assert!(matches!(error, OpenError::Format { got: 2, expected: 1 }), "{error}");
}

#[test]
fn damage_is_found_before_anything_is_built_on_it() {
    let mut world = World::new(3);
    let id = world.genesis.chain_id();
    let last = {
        let database = written(&mut world);
        world.open(database).last_accepted().id
    };
    let damage = |change: &dyn Fn(&mut Batch)| {
        let mut world = World::new(3);
        let mut database = written(&mut world);
        let mut batch = Batch::new();
        change(&mut batch);
        database.write(&batch).expect("memory");
        refusal(&world, &database, &world.genesis, id)
    };
    let error = damage(&|batch| batch.put(*b"s\x04", Amount(5).to_bytes()));
    assert!(matches!(error, OpenError::StateRoot { height: 2, .. }), "{error}");
    let error = damage(&|batch| batch.put(*b"s\xfe", *b"an entry too many"));
    assert!(matches!(error, OpenError::StateRoot { .. }), "{error}");
    let error = damage(&|batch| batch.delete(LAST_KEY));
    assert!(matches!(error, OpenError::Damaged(_)), "{error}");
    let error = damage(&|batch| batch.delete(layout::block_key(&last)));
    assert!(matches!(error, OpenError::Damaged(_)), "{error}");
    let error = damage(&|batch| batch.put(layout::block_key(&last), vec![1; 500]));
    assert!(matches!(error, OpenError::Damaged(_)), "{error}");
    let error = damage(&|batch| batch.delete(STAMP_KEY));
    assert!(matches!(error, OpenError::Damaged(_)), "something else is in it: {error}");
    let error = damage(&|batch| batch.put(STAMP_KEY, *b"\0"));
    assert!(matches!(error, OpenError::Damaged(_)), "{error}");
}

#[test]
fn genesis_is_written_whole_or_not_at_all() {
    let world = World::new(4);
    for fault in [Fault::Fail, Fault::StopBefore, Fault::StopAfter] {
        let database = FaultyDatabase::new(MemoryDatabase::default());
        database.plan(1, fault);
        let id = world.genesis.chain_id();
        let opened = Chain::open(database.clone(), &world.genesis, id, world.config());
        assert!(matches!(opened, Err(OpenError::Database(_))), "{fault:?}");
        database.restart();
        assert_eq!(world.open(database).last_accepted().height, 0);
    }
}
