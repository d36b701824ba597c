use session_core::{Encode, Span};
use session_protocol::chain::transaction::BadTransaction;
use session_protocol::chain::{Action, Amount, SignedTransaction, Transaction};
use session_vm::chain::SubmitError;
use session_vm::ledger::Rejection;
use session_vm::mempool::{Limits, Refused};

use super::harness::{World, at, id_of, step};

#[test]
fn admission_names_what_is_wrong() {
    let mut world = World::new(1);
    let mut chain = world.chain();
    let mut attempt = |change: &dyn Fn(&mut SignedTransaction), now| {
        let body = world.body(0, 0, world.give(1, 1));
        let mut signed = body.sign(&world.people[0], false, &mut world.rng);
        change(&mut signed);
        chain.submit(&signed.to_bytes(), now).expect_err("it is not acceptable")
    };
    let unsigned = attempt(&|tx| tx.transaction.nonce = 1, at(1));
    assert!(matches!(unsigned, SubmitError::Bad(BadTransaction::Signature { .. })), "{unsigned}");
    let chain_id = attempt(&|tx| tx.transaction.chain = [9; 32].into(), at(1));
    assert!(matches!(chain_id, SubmitError::Bad(BadTransaction::Chain { .. })), "{chain_id}");
    let version = attempt(&|tx| tx.transaction.version = 2, at(1));
    assert!(matches!(version, SubmitError::Bad(BadTransaction::Version { got: 2 })), "{version}");
    let expired = attempt(&|_| {}, at(20_001));
    assert!(matches!(expired, SubmitError::Refused(Refused::Expired { .. })), "{expired}");
    let fee = attempt(&|tx| tx.transaction.fee_max = Amount(10), at(1));
    assert!(matches!(fee, SubmitError::Rejected(Rejection::Fee { .. })), "{fee}");
    let ahead = attempt(&|tx| tx.transaction.nonce = 65, at(1));
    assert_eq!(ahead, SubmitError::NonceAhead { got: 65, account: 0 });
    let amount = |tx: &mut SignedTransaction| {
        let to = [1; 32].into();
        tx.transaction.action = Action::Transfer { to, amount: Amount::lux(1_000) };
    };
    let funds = attempt(&amount, at(1));
    assert!(matches!(funds, SubmitError::Rejected(Rejection::Funds { .. })), "{funds}");
    assert_eq!(world.verifier.count(), 1, "all but one were refused before their signature");
    assert_eq!(chain.mempool_stats().transactions, 0);
}

#[test]
fn the_next_transaction_is_tried_before_it_is_taken() {
    let mut world = World::new(2);
    let mut chain = world.chain();
    let body = world.body(0, 0, world.give(1, 0));
    let nothing = world.sign(0, body);
    let refused = chain.submit(&nothing, at(1));
    assert_eq!(refused, Err(SubmitError::Rejected(Rejection::NothingToTransfer)));
    // Also behind the turn of an epoch, and after it was turned for another trial.
    assert_eq!(chain.submit(&nothing, at(3_700)), refused);
    let fine = world.transfer(0, 0);
    chain.submit(&fine, at(3_800)).expect("it is fine");
    // What was tried on is forgotten with the next block.
    step(&mut chain, at(3_800));
    chain.submit(&world.transfer(0, 1), at(3_900)).expect("it is the next one now");
}

#[test]
fn keys_come_with_the_first_transaction_or_wait_before_it() {
    let mut world = World::new(3);
    let mut chain = world.chain();
    let (first, second) = (world.transfer(1, 0), world.transfer(1, 1));
    let early = chain.submit(&second, at(1));
    assert!(
        matches!(early, Err(SubmitError::Bad(BadTransaction::KeysMissing { .. }))),
        "{early:?}"
    );
    chain.submit(&first, at(1)).expect("it has the keys");
    chain.submit(&second, at(1)).expect("the keys wait before it");
    // Keys behind a transaction do not help it: a block would lack them.
    let keyless = world.body(3, 0, world.give(0, 1)).sign(&world.people[3], false, &mut world.rng);
    let with_keys = world.body(3, 1, world.give(0, 1)).sign(&world.people[3], true, &mut world.rng);
    chain.submit(&with_keys.to_bytes(), at(1)).expect("it waits for nonce 0");
    let refused = chain.submit(&keyless.to_bytes(), at(1));
    assert!(matches!(refused, Err(SubmitError::Bad(BadTransaction::KeysMissing { .. }))));
    assert_eq!(step(&mut chain, at(1)).transactions, 2);
    assert_eq!(chain.submit(&world.transfer(1, 2), at(1)).map(drop), Ok(()));
}

#[test]
fn one_transaction_per_nonce_and_none_twice() {
    let mut world = World::new(4);
    let mut chain = world.chain();
    let first = world.transfer_for(0, 0, Amount::lux(1));
    let richer = world.transfer_for(0, 0, Amount::lux(5));
    let id = chain.submit(&first, at(1)).expect("it is fine");
    assert_eq!(chain.submit(&first, at(1)), Err(Refused::Known { id }.into()));
    assert_eq!(chain.submit(&richer, at(1)), Err(Refused::NonceTaken { nonce: 0, by: id }.into()));
    step(&mut chain, at(1));
    assert_eq!(chain.submit(&first, at(1)), Err(SubmitError::Included { id, height: 1 }));
    let stale = Rejection::Nonce { got: 0, expected: 1 };
    assert_eq!(chain.submit(&richer, at(1)), Err(stale.into()));
}

#[test]
fn a_sender_has_a_share_of_the_pool() {
    let mut world = World::new(5);
    let limits = Limits { sender_transactions_max: 3, ..Limits::default() };
    let mut chain = world.open_with(session_storage::kv::MemoryDatabase::default(), limits);
    for nonce in 0..3 {
        chain.submit(&world.transfer(0, nonce), at(1)).expect("three may wait");
    }
    let refused = chain.submit(&world.transfer(0, 3), at(1));
    assert_eq!(refused, Err(Refused::SenderTransactions { limit: 3 }.into()));
    chain.submit(&world.transfer(2, 0), at(1)).expect("others have shares of their own");

    let limits = Limits { sender_bytes_max: 40_000, ..Limits::default() };
    let mut chain = world.open_with(session_storage::kv::MemoryDatabase::default(), limits);
    let taken = (0..64).take_while(|&nonce| chain.submit(&world.transfer(0, nonce), at(1)).is_ok());
    assert!(taken.count() < 12, "each takes more than its wire bytes");
    let bytes = chain.mempool_stats().bytes;
    assert!(bytes <= 40_000, "{bytes}");
}

#[test]
fn a_full_pool_keeps_those_that_offer_most() {
    let mut world = World::new(6);
    let limits = Limits { bytes_max: 120_000, ..Limits::default() };
    let mut chain = world.open_with(session_storage::kv::MemoryDatabase::default(), limits);
    let mut waiting = Vec::new();
    let full = 'fill: loop {
        for nonce in 0..64 {
            for person in [0, 2, 4] {
                let bytes = world.transfer_for(person, nonce, Amount::lux(1));
                match chain.submit(&bytes, at(1)) {
                    Ok(id) => waiting.push((person, id)),
                    Err(refused) => break 'fill refused,
                }
            }
        }
    };
    assert!(matches!(full, SubmitError::Refused(Refused::Full { .. })), "{full}");
    // The newest of those that offer least belongs to the last sender: it loses its last one.
    let (loser, _) = *waiting.last().expect("some wait");
    let last_of_loser = waiting.iter().rfind(|(person, _)| *person == loser).expect("it has one");
    chain.submit(&world.transfer_for(6, 0, Amount::lux(2)), at(1)).expect("it offers more");
    assert!(chain.waiting(&last_of_loser.1).is_none());
    let stats = chain.mempool_stats();
    assert!(stats.bytes <= 120_000 && stats.evicted == 1, "{stats:?}");
    // All that is left can still be built: no queue has a hole.
    let left = stats.transactions;
    assert_eq!(step(&mut chain, at(1)).transactions, left);
}

#[test]
fn transactions_wait_ten_minutes_or_until_they_expire() {
    let mut world = World::new(7);
    let mut chain = world.chain();
    let long = world.transfer(0, 0);
    let short = Transaction { expires: at(60), ..world.body(2, 0, world.give(1, 1)) };
    let short = world.sign(2, short);
    chain.submit(&long, at(1)).expect("it is fine");
    chain.submit(&short, at(1)).expect("it is fine");
    assert_eq!(chain.waiting(&id_of(&short)).expect("it waits").end, at(60));
    assert_eq!(chain.waiting(&id_of(&long)).expect("it waits").end, at(1) + Span::from_secs(600));
    assert!(chain.pending(at(601)) && !chain.pending(at(602)));
    assert!(chain.build(at(602)).is_err());
    assert_eq!(chain.mempool_stats().expired, 2);
}

#[test]
fn an_accepted_block_of_others_makes_waiting_transactions_stale() {
    let mut world = World::new(8);
    let (mut chain, mut other) = (world.chain(), world.chain());
    let (mine, theirs) = (world.transfer(0, 0), world.transfer_for(0, 0, Amount::lux(3)));
    let next = world.transfer(0, 1);
    chain.submit(&mine, at(1)).expect("it is fine");
    chain.submit(&next, at(1)).expect("it is fine");
    other.submit(&theirs, at(1)).expect("it is fine");
    let block = other.build(at(1)).expect("one waits");
    chain.verify(&block.bytes, at(1)).expect("it is valid");
    assert_eq!(chain.mempool_stats().transactions, 2, "they stay until a block is accepted");
    super::harness::accept(&mut chain, &block);
    assert!(chain.waiting(&id_of(&mine)).is_none());
    assert_eq!(super::harness::ids(&step(&mut chain, at(1))), [id_of(&next)]);
}
