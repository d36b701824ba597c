use std::collections::BTreeSet;

use session_core::Span;
use session_crypto::Signer as _;
use session_crypto::fake::FakeVerifier;
use session_protocol::chain::{Action, Amount, ReceivedTransaction};
use session_vm::ledger::{LIFE_MAX, Ledger, Rejection};
use session_vm::query::{self, required_fee};
use session_vm::records::Params;

use super::world::{HOUR, World, checked};

const ALICE: usize = 1;
const BOB: usize = 2;

fn pay(world: &World, amount: u64) -> Action {
    Action::Transfer { to: world.id(BOB), amount: Amount(amount) }
}

#[test]
fn a_transfer_moves_its_amount_and_pays_its_fee() {
    let mut world = World::new(0);
    let before = world.balance(ALICE);
    let tx = world.draft(ALICE, pay(&world, 500));
    let size = world.sign(ALICE, tx.clone()).charged();
    world.try_tx(ALICE, tx).unwrap();
    let fee = required_fee(&query::params(&world.state), size);
    assert_eq!(world.balance(ALICE).0, before.0 - 500 - fee.0);
    assert_eq!(world.balance(BOB).0, before.0 + 500);
    assert_eq!(query::treasury(&world.state), fee);
    let keys = world.people[ALICE].public().clone();
    assert_eq!(query::keys(&world.state, &world.id(ALICE)), Some(keys));
    assert_eq!(query::keys(&world.state, &world.id(BOB)), None);
}

#[test]
fn a_fee_is_for_every_begun_kib() {
    let params = Params::default();
    assert_eq!(required_fee(&params, 0), Amount(1_000));
    assert_eq!(required_fee(&params, 1), Amount(1_100));
    assert_eq!(required_fee(&params, 1024), Amount(1_100));
    assert_eq!(required_fee(&params, 1025), Amount(1_200));
}

#[test]
fn the_head_of_a_transaction_is_checked() {
    let mut world = World::new(0);
    world.run(ALICE, pay(&world, 1)).unwrap();
    let good = world.draft(ALICE, pay(&world, 1));
    let (now, nonce) = (world.now, good.nonce);

    let mut tx = good.clone();
    tx.nonce = 0;
    let stale = world.try_tx(ALICE, tx).unwrap_err();
    assert_eq!(stale, Rejection::Nonce { got: 0, expected: nonce });
    assert!(stale.is_stale() && !stale.is_early());

    let mut tx = good.clone();
    tx.nonce = nonce + 1;
    let early = world.try_tx(ALICE, tx).unwrap_err();
    assert_eq!(early, Rejection::Nonce { got: nonce + 1, expected: nonce });
    assert!(early.is_early() && !early.is_stale());

    let mut tx = good.clone();
    tx.expires = now - Span::from_millis(1);
    assert_eq!(
        world.try_tx(ALICE, tx.clone()),
        Err(Rejection::Expired { expires: tx.expires, time: now })
    );
    let mut tx = good.clone();
    tx.expires = now + LIFE_MAX + Span::from_millis(1);
    assert_eq!(
        world.try_tx(ALICE, tx.clone()),
        Err(Rejection::Distant { expires: tx.expires, latest: now + LIFE_MAX })
    );
    let size = world.sign(ALICE, good.clone()).charged();
    let needed = required_fee(&query::params(&world.state), size);
    let mut tx = good.clone();
    tx.fee_max = Amount(needed.0 - 1);
    assert_eq!(world.try_tx(ALICE, tx.clone()), Err(Rejection::Fee { max: tx.fee_max, needed }));

    // The parser refuses other versions; the ledger does not rely on it.
    let mut tx = good.clone();
    tx.version = 2;
    let signed = tx.sign(&world.people[ALICE], false, &mut world.rng);
    let received = ReceivedTransaction { id: signed.transaction.id(), signed, size };
    let checked = received.check(&world.chain, Some(world.people[ALICE].public()), &FakeVerifier);
    let mut ledger = Ledger::begin(&world.state, world.context());
    let refused = ledger.execute(&checked.unwrap(), &FakeVerifier);
    assert_eq!(refused, Err(Rejection::Version { got: 2 }));

    let mut tx = good.clone();
    tx.chain = [9; 32].into();
    let chain = world.chain;
    assert_eq!(world.try_tx(ALICE, tx), Err(Rejection::Chain { got: [9; 32].into(), chain }));

    // The very limits are allowed.
    let mut tx = good.clone();
    (tx.expires, tx.fee_max) = (now, needed);
    world.try_tx(ALICE, tx).unwrap();
    let mut tx = world.draft(ALICE, pay(&world, 1));
    tx.expires = now + LIFE_MAX;
    world.try_tx(ALICE, tx).unwrap();
}

#[test]
fn nobody_spends_what_he_does_not_have() {
    let mut world = World::new(0);
    let balance = world.balance(ALICE);
    let Err(Rejection::Funds { balance: left, needed }) = world.run(ALICE, pay(&world, balance.0))
    else {
        panic!("the fee is not there any more");
    };
    assert_eq!(needed, balance);
    assert!(left < balance);
    world.run(ALICE, pay(&world, left.0)).unwrap();
    assert_eq!(world.balance(ALICE), Amount::ZERO);

    let refused = world.run(ALICE, pay(&world, 1)).unwrap_err();
    assert!(matches!(refused, Rejection::Funds { balance: Amount(0), .. }), "{refused}");
    assert_eq!(world.run(BOB, pay(&world, 0)), Err(Rejection::NothingToTransfer));
}

#[test]
fn paying_oneself_costs_the_fee_only() {
    let mut world = World::new(0);
    let before = world.balance(BOB);
    let treasury = query::treasury(&world.state);
    world.run(BOB, pay(&world, 700)).unwrap();
    let fee = query::treasury(&world.state).0 - treasury.0;
    assert_eq!(world.balance(BOB).0, before.0 - fee);
}

#[test]
fn a_first_transaction_carries_the_keys() {
    let mut world = World::new(0);
    let tx = world.draft(ALICE, pay(&world, 1));
    let without = checked(tx, &world.people[ALICE], false, &mut world.rng);
    let mut ledger = Ledger::begin(&world.state, world.context());
    let sender = world.id(ALICE);
    assert_eq!(ledger.execute(&without, &FakeVerifier), Err(Rejection::KeysMissing { sender }));
    assert!(ledger.finish().1.is_empty());
}

#[test]
fn codes_are_unique_names() {
    let codes: BTreeSet<_> = Rejection::CODES.iter().collect();
    assert_eq!(codes.len(), Rejection::CODES.len());
    let name = |code: &&str| code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    assert!(Rejection::CODES.iter().all(name));
    assert_eq!(Rejection::ChannelFull.code(), "channel_full");
}

#[test]
fn a_transaction_is_executed_once() {
    let mut world = World::new(0);
    let tx = world.draft(ALICE, pay(&world, 1));
    world.try_tx(ALICE, tx.clone()).unwrap();
    assert!(world.try_tx(ALICE, tx.clone()).unwrap_err().is_stale());
    world.pass(HOUR + Span::from_millis(1));
    assert!(matches!(world.try_tx(ALICE, tx), Err(Rejection::Expired { .. })));
}
