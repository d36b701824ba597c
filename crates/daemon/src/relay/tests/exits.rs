use session_core::merkle::Proof;
use session_core::{Blob, Encode as _, List, MessageId, Namespace, Span};
use session_crypto::Signature;
use session_protocol::AccessRule;
use session_protocol::inbox::Capability;
use session_protocol::onion::{ExitAnswer, WAIT_MAX, Wait, service};
use session_protocol::owner::{Authorization, OwnerAction, OwnerOperation};
use session_protocol::receipt::{ReceiptPath, SignedRoot};
use session_protocol::request::{
    Cursor, Item, Operation, Outcome, Push, Refusal, Reply, Request, Select,
};

use super::{REQUEST, START, World, info, reply};
use crate::relay::answer::{encoded, fitted};
use crate::relay::{EXIT_TIME, Input};

const BOXES: Namespace = Namespace(4);

fn mailbox() -> (AccessRule, Capability) {
    let reader = Capability::new([1; 32]);
    let [reader_digest, writer, eraser] =
        [&reader, &Capability::new([2; 32]), &Capability::new([3; 32])].map(Capability::commitment);
    (AccessRule::Mailbox { reader: reader_digest, writer, eraser }, reader)
}

fn operation(action: OwnerAction) -> Operation {
    let (rule, token) = mailbox();
    let authorization = Authorization::Token { token, timestamp: START, nonce: 1 };
    Operation::Owner { operation: Box::new(OwnerOperation { rule, action, authorization }) }
}

/// Subscribes and reads, at the node that is the exit.
fn wait(world: &World, wait: Span) -> Vec<u8> {
    let audience = world.nodes[2].id;
    let namespaces = List::new([BOXES]).unwrap();
    let select = Select::After { cursor: Cursor::default() };
    let (namespace, bytes_max) = (BOXES, 9);
    let operations = [
        operation(OwnerAction::Subscribe { namespaces, audience }),
        operation(OwnerAction::Retrieve { namespace, select, bytes_max, audience }),
    ];
    let request = Request { id: 9, operations: List::new(operations).unwrap() };
    Wait { wait, request }.to_bytes()
}

fn page(items: Vec<Item>, arrival: u64, more: bool) -> Outcome {
    let cursor = Cursor { incarnation: 5, arrival };
    Outcome::Items { items: List::new(items).unwrap(), cursor, more }
}

fn answered(page: Outcome) -> Reply {
    let subscribed = Outcome::Subscribed { cursor: Cursor { incarnation: 5, arrival: 1 } };
    reply(vec![subscribed, page])
}

fn item(arrival: u64, bytes: usize) -> Item {
    let data = Blob::new(vec![7; bytes]).unwrap();
    let id = MessageId::default();
    Item { id, namespace: BOXES, timestamp: START, expiry: START, arrival, data }
}

fn push(item: Item) -> Push {
    Push { address: mailbox().0.address(), incarnation: 5, item }
}

#[test]
fn who_waits_is_answered_at_once_if_there_is_something() {
    let mut world = World::new(3);
    for reply in [
        answered(page(vec![item(2, 10)], 2, false)),
        answered(page(vec![], 1, true)),
        reply(vec![Outcome::Refused { refusal: Refusal::BadCapability }]),
        // Nothing was subscribed to: there is nothing to wait for.
        reply(vec![page(vec![], 1, false)]),
        reply(vec![]),
    ] {
        let payload = wait(&world, WAIT_MAX);
        let keys = world.ask(&[0, 1, 2], service::WAIT, &payload);
        let (_, id, request) = world.asked.pop().unwrap();
        assert!(request.operations.iter().all(Result::is_ok));
        world.tell(2, Input::Replied { id, reply: reply.clone(), quorum: 3 });
        assert_eq!(world.exit_answer(keys), ExitAnswer::Reply { reply });
        assert_eq!(world.gone.pop(), Some((2, id)));
    }
}

#[test]
fn who_waits_is_answered_when_an_item_comes() {
    let mut world = World::new(3);
    let payload = wait(&world, WAIT_MAX);
    let keys = world.ask(&[0, 1, 2], service::WAIT, &payload);
    let (_, id, _) = world.asked.pop().unwrap();
    let reply = answered(page(vec![], 1, false));
    world.tell(2, Input::Replied { id, reply, quorum: 3 });
    world.advance(Span::from_secs(59));
    assert!(world.got.is_empty() && world.gone.is_empty());

    // Of something else that the subscription brings nobody hears.
    let mut other = push(item(2, 10));
    other.item.namespace = Namespace(0);
    world.tell(2, Input::Pushed { id, push: other });
    assert!(world.got.is_empty());
    world.tell(2, Input::Pushed { id, push: push(item(3, 10)) });
    let reply = answered(page(vec![item(3, 10)], 3, false));
    assert_eq!(world.exit_answer(keys), ExitAnswer::Reply { reply });
    assert_eq!(world.gone, [(2, id)]);
    world.tell(2, Input::Pushed { id, push: push(item(4, 10)) });
    assert!(world.got.is_empty());
}

#[test]
fn an_item_without_room_is_announced() {
    let mut world = World::new(3);
    let payload = wait(&world, WAIT_MAX);
    let keys = world.ask(&[0, 1, 2], service::WAIT, &payload);
    let (_, id, _) = world.asked.pop().unwrap();
    world.tell(2, Input::Replied { id, reply: answered(page(vec![], 1, false)), quorum: 3 });
    world.tell(2, Input::Pushed { id, push: push(item(3, 9_000)) });
    let reply = answered(page(vec![], 1, true));
    assert_eq!(world.exit_answer(keys), ExitAnswer::Reply { reply });
}

#[test]
fn who_waits_for_nothing_hears_so_when_the_time_is_over_a_minute_at_most() {
    let mut world = World::new(3);
    for (asked, given) in [(5, 5), (60, 60), (100, 60)].map(|(a, b)| (a * 1_000, b * 1_000)) {
        let payload = wait(&world, Span::from_millis(asked));
        let keys = world.ask(&[0, 1, 2], service::WAIT, &payload);
        let (_, id, _) = world.asked.pop().unwrap();
        let reply = answered(page(vec![], 1, false));
        world.tell(2, Input::Replied { id, reply: reply.clone(), quorum: 3 });
        world.advance(Span::from_millis(given - 1));
        assert!(world.got.is_empty());
        world.advance(Span::from_millis(1));
        assert_eq!(world.exit_answer(keys), ExitAnswer::Reply { reply });
    }
}

#[test]
fn a_swarm_that_says_nothing_leaves_nothing_behind() {
    let mut world = World::new(3);
    drop(world.ask(&[0, 1, 2], REQUEST, &info().to_bytes()));
    let (_, id, _) = world.asked.pop().unwrap();
    world.advance(EXIT_TIME);
    assert_eq!(world.gone, [(2, id)]);
    let stats = world.stats(2);
    assert_eq!((stats.circuits, stats.expired, world.got.len()), (0, 1, 0));
    world.tell(2, Input::Replied { id, reply: reply(vec![]), quorum: 3 });
    assert!(world.got.is_empty());
}

/// A reply about so many stores, each with a receipt of each member.
fn stored(stores: u8, members: u8) -> Reply {
    let root = |node: u8| SignedRoot {
        node: [node; 32].into(),
        root: [node; 32].into(),
        signature: Signature::from([node; 3309]),
    };
    let proof = || Proof { index: 0, count: 1, siblings: List::default() };
    let receipts = || {
        let receipt = |root: u8| ReceiptPath {
            root: root.into(),
            expiry: START,
            stored_at: START,
            proof: proof(),
        };
        List::new((0..members).map(receipt).collect::<Vec<_>>()).unwrap()
    };
    let message = MessageId::default();
    let outcome =
        || Outcome::Stored { message, expiry: START, duplicate: false, receipts: receipts() };
    let roots = List::new((0..members).map(root).collect::<Vec<_>>()).unwrap();
    Reply { roots, ..reply((0..stores).map(|_| outcome()).collect()) }
}

#[test]
fn receipts_beyond_a_quorum_are_left_out_if_there_is_no_room_for_them() {
    let whole = stored(2, 10);
    let length = encoded(&whole).len();
    assert_eq!(fitted(whole.clone(), 7, length), encoded(&whole));
    let cut = fitted(whole.clone(), 7, length - 1);
    assert_eq!(cut, encoded(&stored(2, 7)));
    let bytes = u32::try_from(cut.len()).unwrap();
    assert_eq!(fitted(whole, 7, cut.len() - 1), ExitAnswer::TooLarge { bytes }.to_bytes());
}

#[test]
fn signatures_that_no_receipt_needs_are_left_out_and_the_others_found_again() {
    let mut reply = stored(2, 4);
    let mut outcomes = reply.outcomes.into_vec();
    // Of the first item only the last two members have receipts.
    if let Outcome::Stored { receipts, .. } = &mut outcomes[0] {
        *receipts = List::new(receipts[2..].to_vec()).unwrap();
    }
    reply.outcomes = List::new(outcomes).unwrap();
    let room = encoded(&reply).len() - 1;
    let ExitAnswer::Reply { reply } =
        session_core::Decode::decode_exact(&fitted(reply, 2, room)).unwrap()
    else {
        panic!("it fits")
    };
    let nodes: Vec<_> = reply.roots.iter().map(|root| root.node).collect();
    assert_eq!(nodes, [[2; 32].into(), [3; 32].into()]);
    for outcome in &reply.outcomes {
        let Outcome::Stored { receipts, .. } = outcome else { panic!("{outcome:?}") };
        let roots: Vec<_> = receipts.iter().map(|receipt| receipt.root).collect();
        assert_eq!(roots, [0, 1]);
    }
}

#[test]
fn a_reply_without_room_says_how_much_it_needs() {
    let mut world = World::new(3);
    let keys = world.ask(&[0, 1, 2], REQUEST, &info().to_bytes());
    let (_, id, _) = world.asked.pop().unwrap();
    let long = reply(vec![page(vec![item(1, 9_000)], 1, false)]);
    let bytes = u32::try_from(encoded(&long).len()).unwrap();
    world.tell(2, Input::Replied { id, reply: long, quorum: 3 });
    assert_eq!(world.exit_answer(keys), ExitAnswer::TooLarge { bytes });
}
