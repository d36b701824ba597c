//! Mailboxes that are opened with capabilities: stored in, read, erased, with slots.

use std::cell::Cell;
use std::rc::Rc;

use session_client::{Answer, Command, Effect, Error, Inbox, NewItem};
use session_core::{List, Span};
use session_crypto::SymmetricKey;
use session_protocol::inbound::CheckedOperation;
use session_protocol::inbox::{BOXES, COMMITS, Capability, INTRODUCTIONS, MANIFESTS, Mailbox};
use session_protocol::owner::Authorization;
use session_protocol::puzzle::{BITS_MAX, WINDOW};
use session_protocol::request::{Cursor, ItemBytes, Operation, Refusal};

use crate::world::{World, ids};

pub(crate) fn mailbox(number: u8) -> Mailbox {
    Mailbox::derive(&SymmetricKey::from([number; 32]), &[b"test"])
}

fn item(namespace: session_core::Namespace, data: &[u8]) -> NewItem {
    NewItem { namespace, ttl: Span::from_days(1), data: ItemBytes::new(data).unwrap() }
}

fn deposit(to: &Mailbox, token: &Capability, items: Vec<NewItem>) -> Command {
    Command::Deposit { rule: to.rule(), token: token.clone(), items }
}

pub(crate) fn reading(from: &Mailbox) -> Inbox {
    Inbox::Mailbox { rule: from.rule(), token: from.read.clone() }
}

fn retrieve(from: Inbox, namespace: session_core::Namespace) -> Command {
    Command::Retrieve { from, namespace, cursors: Default::default(), nodes: 2 }
}

#[test]
fn a_writer_stores_and_a_reader_reads_and_neither_does_the_others_part() {
    let mut world = World::new(1, 5);
    let it = mailbox(1);
    let items = vec![item(BOXES, b"one"), item(BOXES, b"two")];
    let Ok(Answer::Stored(proofs)) = world.run(deposit(&it, &it.write, items)) else { panic!() };
    assert!(
        proofs
            .iter()
            .all(|proof| proof.good() == 5 && proof.receipts[0].receipt.address == it.address())
    );

    let Ok(Answer::Pages(pages)) = world.run(retrieve(reading(&it), BOXES)) else { panic!() };
    assert_eq!(pages.len(), 2);
    for page in &pages {
        assert_eq!(ids(&page.items), proofs.iter().map(|proof| proof.message).collect::<Vec<_>>());
    }
    let wanted = List::new([proofs[1].message]).unwrap();
    let fetch = Command::Fetch { from: reading(&it), namespace: BOXES, ids: wanted.clone() };
    let Ok(Answer::Fetched { items, missing }) = world.run(fetch) else { panic!() };
    assert_eq!((ids(&items), missing), (vec![proofs[1].message], vec![]));

    // What reads does not store, what stores does not read, and neither deletes.
    let refused = world.run(deposit(&it, &it.read, vec![item(BOXES, b"three")]));
    assert!(matches!(refused, Err(Error::Refused { refusal: Refusal::BadCapability, .. })));
    for token in [&it.write, &it.erase] {
        let from = Inbox::Mailbox { rule: it.rule(), token: token.clone() };
        let refused = world.run(retrieve(from, BOXES));
        assert!(matches!(refused, Err(Error::Refused { refusal: Refusal::BadCapability, .. })));
    }
    let delete = |token: &Capability| {
        let from = Inbox::Mailbox { rule: it.rule(), token: token.clone() };
        Command::Delete { from, ids: wanted.clone() }
    };
    let refused = world.run(delete(&it.write));
    assert!(matches!(refused, Err(Error::Refused { refusal: Refusal::BadCapability, .. })));
    assert!(matches!(world.run(delete(&it.erase)), Ok(Answer::Deleted { .. })));
}

#[test]
fn no_request_about_a_mailbox_says_whose_it_is() {
    let mut world = World::new(2, 3);
    let it = mailbox(1);
    world.run(deposit(&it, &it.write, vec![item(BOXES, b"one")])).unwrap();
    world.run(retrieve(reading(&it), BOXES)).unwrap();
    let asked = world.nodes.iter().flat_map(|node| &node.asked).flat_map(|asked| &asked.operations);
    let mut seen = 0;
    for operation in asked {
        seen += 1;
        match operation {
            Ok(CheckedOperation::Deposit(_)) => {}
            Ok(CheckedOperation::Owner(owner)) => {
                assert!(matches!(owner.authorization, Authorization::Token { .. }));
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(seen >= 3);
}

#[test]
fn a_clock_that_is_off_costs_one_repetition() {
    let mut world = World::new(3, 3);
    for node in 0..3 {
        world.nodes[node].ahead = Span::from_secs(7200);
        world.nodes[node].refuse = Some(Box::new(|request, server_time| {
            let signed = match request.operations.first() {
                Some(Ok(CheckedOperation::Owner(owner))) => owner.authorization.timestamp(),
                Some(Ok(CheckedOperation::Deposit(deposit))) => deposit.timestamp,
                _ => return None,
            };
            let tolerance = Span::from_secs(60);
            let late = signed.distance(server_time) > tolerance;
            late.then_some(Refusal::Clock { signed, server_time, tolerance })
        }));
    }
    let it = mailbox(1);
    let Ok(Answer::Stored(proofs)) = world.run(deposit(&it, &it.write, vec![item(BOXES, b"one")]))
    else {
        panic!()
    };
    assert_eq!(world.client.stats().resigned, 1);
    let Ok(Answer::Pages(pages)) = world.run(retrieve(reading(&it), BOXES)) else { panic!() };
    assert_eq!(ids(&pages[0].items), [proofs[0].message]);
    let erase = Inbox::Mailbox { rule: it.rule(), token: it.erase.clone() };
    let delete = Command::Delete { from: erase, ids: List::new([proofs[0].message]).unwrap() };
    assert!(matches!(world.run(delete), Ok(Answer::Deleted { .. })));
    // At most once for each node, whatever is asked of it.
    assert!(world.client.stats().resigned <= 3);
}

#[test]
fn a_slot_belongs_to_the_first_item() {
    let mut world = World::new(4, 5);
    let it = mailbox(1);
    let commit = |last: u8| item(COMMITS, &[&[7; 32][..], &[last]].concat());
    let Ok(Answer::Stored(first)) = world.run(deposit(&it, &it.write, vec![commit(1)])) else {
        panic!()
    };
    let refused = world.run(deposit(&it, &it.write, vec![commit(2)]));
    let Err(Error::Refused { refusal: Refusal::SlotTaken { holder }, .. }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(holder, first[0].message);
    // The same item again is no second one.
    let again = world.run(deposit(&it, &it.write, vec![commit(1)]));
    assert!(matches!(again, Ok(Answer::Stored(proofs)) if proofs[0].message == holder));
}

#[test]
fn one_node_alone_cannot_say_that_a_slot_is_taken() {
    let mut world = World::new(5, 5);
    let it = mailbox(1);
    let holder = session_core::MessageId::from([9; 32]);
    let said = Rc::new(Cell::new(0));
    let counter = said.clone();
    world.nodes[2].refuse = Some(Box::new(move |_, _| {
        counter.set(counter.get() + 1);
        Some(Refusal::SlotTaken { holder })
    }));
    for number in 0..30 {
        let data = [&[number; 32][..], b"x"].concat();
        let stored = world.run(deposit(&it, &it.write, vec![item(COMMITS, &data)]));
        assert!(matches!(stored, Ok(Answer::Stored(_))), "{stored:?}");
        world.pass(Span::from_secs(130)); // connections are closed, so that any may be chosen
    }
    assert!(said.get() > 0, "it was asked");
}

#[test]
fn what_everyone_may_read_is_read_without_a_key() {
    let mut world = World::new(6, 3);
    let address = mailbox(1).address();
    let from = Inbox::Public { address };
    let Ok(Answer::Pages(pages)) = world.run(retrieve(from.clone(), MANIFESTS)) else { panic!() };
    assert!(pages.iter().all(|page| page.items.is_empty()));
    let asked = world.nodes.iter().flat_map(|node| &node.asked).flat_map(|asked| &asked.operations);
    for operation in asked {
        assert!(matches!(
            operation,
            Ok(CheckedOperation::Open(Operation::RetrievePublic { namespace: MANIFESTS, .. }))
        ));
    }
    let first = world.id(0);
    let cursor = Some(Cursor::default());
    let one =
        Command::RetrieveFrom { node: first, from: from.clone(), namespace: MANIFESTS, cursor };
    assert!(matches!(world.run(one), Ok(Answer::Pages(_))));
    // Nothing else can be done without one; nobody is asked.
    let ids = List::new([session_core::MessageId::from([1; 32])]).unwrap();
    assert_eq!(world.run(Command::Delete { from: from.clone(), ids }), Err(Error::NotPublic));
    let reader = Box::default();
    let subscribe = Command::Subscribe { from, namespaces: vec![MANIFESTS], reader };
    assert_eq!(world.run(subscribe), Err(Error::NotPublic));
}

/// Makes every node ask for a puzzle of so many bits.
fn ask_for(world: &mut World, bits: u8) {
    for node in &mut world.nodes {
        node.refuse = Some(Box::new(move |request, _| {
            let solved = match request.operations.first() {
                Some(Ok(CheckedOperation::Deposit(deposit))) => deposit.solved,
                other => panic!("{other:?}"),
            };
            (solved < bits).then_some(Refusal::PuzzleNeeded { bits, window: WINDOW })
        }));
    }
}

#[test]
fn a_stranger_solves_what_is_asked_for() {
    let mut world = World::new(1, 5);
    ask_for(&mut world, 4);
    let it = mailbox(1);
    let before = world.now;
    let items = vec![item(INTRODUCTIONS, b"hello"), item(INTRODUCTIONS, b"are you there?")];
    let done = world.run(deposit(&it, &it.write, items));
    assert!(matches!(done, Ok(Answer::Stored(_))), "{done:?}");
    assert_eq!(world.solved, 2);
    assert!(world.now < before + Span::from_secs(2), "nobody waits longer than the puzzle takes");
}

#[test]
fn what_nobody_solves_ends_in_time_and_what_no_honest_node_asks_is_not_solved() {
    let mut world = World::new(1, 5);
    let it = mailbox(1);
    ask_for(&mut world, 4);
    world.solves = false;
    let late = world.run(deposit(&it, &it.write, vec![item(INTRODUCTIONS, b"hello")]));
    assert!(matches!(late, Err(Error::TimedOut { .. })), "{late:?}");
    let asked = world.said.iter().filter(|it| matches!(it, Effect::Solve { .. })).count();
    assert_eq!(asked, 1, "the same puzzle once");

    world.solves = true;
    ask_for(&mut world, BITS_MAX + 1);
    let refused = world.run(deposit(&it, &it.write, vec![item(INTRODUCTIONS, b"hello?")]));
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(world.solved, 0);
    assert!(world.client.stats().lies > 0);
}
