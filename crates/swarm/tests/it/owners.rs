//! What owners sign: reads, subscriptions, deletions, expiries.

use std::collections::BTreeSet;

use session_core::{List, MessageId, Namespace, Span, Time};
use session_protocol::inbox::{ATTACHMENTS, MESSAGES};
use session_protocol::limits::{CLOCK_TOLERANCE, TTL_OWNER_MAX};
use session_protocol::owner::{ExpireMode, OwnerAction};
use session_protocol::request::{Cursor, Item, ItemBytes, Operation, Outcome, Refusal, Select};
use session_storage::Store as _;
use session_swarm::{Input, Requester};

use crate::cluster::{Cluster, Owner};

/// Reads a page; returns the items, where to go on, and whether there is more.
pub(crate) fn retrieve(
    cluster: &mut Cluster,
    owner: &Owner,
    index: usize,
    select: Select,
    bytes_max: u32,
) -> (Vec<Item>, Cursor, bool) {
    let audience = cluster.nodes[index].id;
    let action = OwnerAction::Retrieve { namespace: MESSAGES, select, bytes_max, audience };
    let operation = cluster.signed(owner, action);
    match cluster.ask_one(index, operation) {
        Outcome::Items { items, cursor, more } => (items.into_vec(), cursor, more),
        other => panic!("no items: {other:?}"),
    }
}

fn delete(cluster: &mut Cluster, owner: &Owner, index: usize, ids: &[MessageId]) -> Outcome {
    let action = OwnerAction::Delete { ids: List::new(ids).unwrap() };
    let operation = cluster.signed(owner, action);
    cluster.ask_one(index, operation)
}

fn expire(
    owner: &Owner,
    cluster: &mut Cluster,
    id: MessageId,
    to: Time,
    mode: ExpireMode,
) -> Operation {
    let ids = List::new([id]).unwrap();
    cluster.signed(owner, OwnerAction::Expire { ids, expiry: to, mode })
}

#[test]
fn pages_follow_each_other_without_gap_or_repetition() {
    let mut cluster = Cluster::new(4, 20);
    let alice = Owner::new(1);
    let mut stored = Vec::new();
    for n in 0..50 {
        stored.push(cluster.deposit(n % 4, &alice, &format!("message {n:02}")));
    }
    cluster.run();
    for index in 0..4 {
        let (mut cursor, mut seen, mut pages) = (Cursor::default(), Vec::new(), 0);
        loop {
            let select = Select::After { cursor };
            // Ten bytes each: seven to a page.
            let (items, next, more) = retrieve(&mut cluster, &alice, index, select, 75);
            assert!(items.len() <= 7);
            assert!(items.is_sorted_by_key(|item| item.arrival));
            seen.extend(items.iter().map(|item| item.id));
            (cursor, pages) = (next, pages + 1);
            if !more {
                break;
            }
        }
        assert_eq!(pages, 8);
        assert_eq!(seen.iter().collect::<BTreeSet<_>>(), stored.iter().collect());
        assert_eq!(seen.len(), 50);
        let select = Select::After { cursor };
        assert_eq!(retrieve(&mut cluster, &alice, index, select, 75), (vec![], cursor, false));
        // One item at least, however little is asked for.
        let select = Select::After { cursor: Cursor::default() };
        let (items, _, more) = retrieve(&mut cluster, &alice, index, select, 0);
        assert_eq!((items.len(), more), (1, true));
    }
}

#[test]
fn a_cursor_of_another_store_starts_at_the_beginning() {
    let mut cluster = Cluster::new(4, 21);
    let alice = Owner::new(1);
    cluster.deposit(0, &alice, "one");
    cluster.run();
    let select = Select::After { cursor: Cursor::default() };
    let (_, cursor, _) = retrieve(&mut cluster, &alice, 0, select, 1000);
    for index in 1..4 {
        let select = Select::After { cursor };
        let (items, other, _) = retrieve(&mut cluster, &alice, index, select, 1000);
        assert_eq!(items.len(), 1, "the cursor of node 0 means nothing to node {index}");
        assert_eq!(other.incarnation, cluster.nodes[index].store.incarnation());
    }
}

#[test]
fn one_reply_holds_no_more_than_a_frame() {
    let mut cluster = Cluster::new(4, 22);
    let alice = Owner::new(1);
    for n in 0..20_u8 {
        let data = ItemBytes::new(vec![n; 76_800]).unwrap();
        let operation = Operation::Store {
            address: alice.address(),
            namespace: MESSAGES,
            timestamp: cluster.now,
            ttl: Span::from_days(1),
            data,
        };
        assert!(matches!(cluster.ask_one(0, operation), Outcome::Stored { .. }));
    }
    let audience = cluster.nodes[0].id;
    let mut operations = Vec::new();
    for _ in 0..20 {
        let select = Select::After { cursor: Cursor::default() };
        let bytes_max = u32::MAX;
        let action = OwnerAction::Retrieve { namespace: MESSAGES, select, bytes_max, audience };
        operations.push(cluster.signed(&alice, action));
    }
    // The harness asserts that the reply fits.
    let reply = cluster.ask(0, operations);
    let Outcome::Items { items, more: true, .. } = &reply.outcomes[0] else { panic!() };
    assert_eq!(items.len(), 10);
    for outcome in &reply.outcomes[2..] {
        let Outcome::Items { items, more: true, cursor } = outcome else { panic!("{outcome:?}") };
        assert_eq!((items.len(), cursor.arrival), (0, 0), "asked again, it starts where it was");
    }
}

#[test]
fn signatures_are_fresh_single_use_and_for_one_node() {
    let mut cluster = Cluster::new(4, 23);
    let (alice, bob) = (Owner::new(1), Owner::new(2));
    cluster.deposit(0, &alice, "one");
    let audience = cluster.nodes[0].id;
    let select = || Select::After { cursor: Cursor::default() };
    let action =
        |namespace| OwnerAction::Retrieve { namespace, select: select(), bytes_max: 1, audience };

    let operation = cluster.signed(&alice, action(MESSAGES));
    assert!(matches!(cluster.ask_one(0, operation.clone()), Outcome::Items { .. }));
    assert_eq!(cluster.refused(0, operation.clone()), Refusal::SignatureReused);
    assert_eq!(cluster.refused(1, operation.clone()), Refusal::WrongNode { audience });
    // Old enough to be forgotten, it is too old to be used.
    cluster.advance(CLOCK_TOLERANCE + Span::from_secs(2));
    let Refusal::Clock { server_time, .. } = cluster.refused(0, operation) else { panic!() };
    assert_eq!(server_time, cluster.now);

    let operation = cluster.signed(&alice, action(Namespace(7)));
    assert_eq!(
        cluster.refused(0, operation),
        Refusal::UnknownNamespace { namespace: Namespace(7) }
    );

    // Bob signs for Alice's inbox: with his keys, and with none.
    let Operation::Owner { operation: mut stolen } = cluster.signed(&bob, action(MESSAGES)) else {
        panic!()
    };
    stolen.rule = alice.rule();
    let operation = Operation::Owner { operation: stolen.clone() };
    assert!(matches!(cluster.refused(0, operation), Refusal::BadSignature { .. }));
    stolen.authorization.leave_out_keys();
    let operation = Operation::Owner { operation: stolen.clone() };
    assert!(matches!(cluster.refused(0, operation), Refusal::BadSignature { .. }));
}

#[test]
fn a_deletion_is_everywhere_and_for_good() {
    let mut cluster = Cluster::new(10, 24);
    let (alice, bob) = (Owner::new(1), Owner::new(2));
    let (first, second) = (cluster.deposit(0, &alice, "one"), cluster.deposit(0, &alice, "two"));
    cluster.run();
    let Outcome::Deleted { ids, nodes } = delete(&mut cluster, &alice, 4, &[first]) else {
        panic!()
    };
    assert_eq!(*ids, [first]);
    assert!(nodes >= 7);
    cluster.run();
    assert_eq!(cluster.holders(&alice.address(), &first), 0);
    assert_eq!(cluster.holders(&alice.address(), &second), 10);
    // Neither a client nor a member brings it back.
    let operation = cluster.store_operation(&alice, "one", Span::from_days(14));
    assert_eq!(cluster.refused(6, operation), Refusal::Deleted);
    // Bob deletes in his own inbox only.
    delete(&mut cluster, &bob, 4, &[second]);
    cluster.run();
    assert_eq!(cluster.holders(&alice.address(), &second), 10);
    cluster.assert_same();
}

#[test]
fn a_deletion_needs_a_quorum() {
    let mut cluster = Cluster::new(10, 25);
    let alice = Owner::new(1);
    let id = cluster.deposit(0, &alice, "one");
    for index in [1, 2, 3, 4] {
        cluster.stop(index);
    }
    let outcome = delete(&mut cluster, &alice, 0, &[id]);
    let refusal = Refusal::NotEnoughReplicas { stored: 6, needed: 7 };
    assert_eq!(outcome, Outcome::Refused { refusal });
}

#[test]
fn expiries_come_out_the_same_in_either_order() {
    let mut seen = BTreeSet::new();
    for shorten_first in [true, false] {
        let mut cluster = Cluster::new(4, 26);
        let alice = Owner::new(1);
        let id = cluster.deposit(0, &alice, "one");
        let now = cluster.now;
        let short =
            expire(&alice, &mut cluster, id, now + Span::from_secs(600), ExpireMode::Shorten);
        let long = expire(&alice, &mut cluster, id, now + Span::from_days(20), ExpireMode::Extend);
        let order = if shorten_first { [short, long] } else { [long, short] };
        for operation in order {
            let Outcome::Expiring { nodes, .. } = cluster.ask_one(0, operation) else { panic!() };
            assert!(nodes >= 3);
        }
        cluster.run();
        cluster.assert_same();
        let meta = cluster.nodes[1].store.meta(&alice.address(), &id).unwrap();
        seen.insert(meta.expiry.since(now));
    }
    assert_eq!(seen, BTreeSet::from([Span::from_secs(600)]), "a shortening is never undone");
}

#[test]
fn an_extension_holds_and_is_bounded() {
    let mut cluster = Cluster::new(4, 27);
    let alice = Owner::new(1);
    let id = cluster.deposit(0, &alice, "one");
    let now = cluster.now;
    let to = now + TTL_OWNER_MAX;
    let operation = expire(&alice, &mut cluster, id, to, ExpireMode::Extend);
    let Outcome::Expiring { expiries, .. } = cluster.ask_one(2, operation) else { panic!() };
    assert_eq!((expiries[0].id, expiries[0].expiry), (id, to));
    let to = to + Span::from_millis(1);
    let operation = expire(&alice, &mut cluster, id, to, ExpireMode::Extend);
    let refusal = cluster.refused(2, operation);
    assert!(matches!(refusal, Refusal::TtlOutOfRange { max: TTL_OWNER_MAX, .. }), "{refusal:?}");
    // Storing it again cannot shorten it.
    let operation = cluster.store_operation(&alice, "one", Span::from_days(2));
    let Outcome::Stored { expiry, duplicate, .. } = cluster.ask_one(3, operation) else { panic!() };
    assert_eq!((expiry, duplicate), (now + TTL_OWNER_MAX, true));
}

#[test]
fn operations_on_items_that_are_still_to_come() {
    let mut cluster = Cluster::new(4, 28);
    let alice = Owner::new(1);
    let now = cluster.now;
    // Only the id is known: that of an item which arrives later.
    let id = session_protocol::inbox::message_id(&alice.address(), MESSAGES, b"late");
    let gone = session_protocol::inbox::message_id(&alice.address(), MESSAGES, b"gone");
    let operation =
        expire(&alice, &mut cluster, id, now + Span::from_secs(300), ExpireMode::Shorten);
    let Outcome::Expiring { expiries, .. } = cluster.ask_one(0, operation) else { panic!() };
    assert_eq!(expiries.len(), 0);
    delete(&mut cluster, &alice, 0, &[gone]);
    let operation = cluster.store_operation(&alice, "late", Span::from_days(1));
    let Outcome::Stored { expiry, .. } = cluster.ask_one(1, operation) else { panic!() };
    assert_eq!(expiry, now + Span::from_secs(300));
    let operation = cluster.store_operation(&alice, "gone", Span::from_days(1));
    assert_eq!(cluster.refused(1, operation), Refusal::Deleted);
}

#[test]
fn subscribers_are_told_exactly_once() {
    let mut cluster = Cluster::new(4, 29);
    let (alice, bob) = (Owner::new(1), Owner::new(2));
    cluster.deposit(0, &alice, "before");
    cluster.run();
    let subscribe =
        |cluster: &mut Cluster, owner: &Owner, index: usize, namespaces: &[Namespace]| {
            let audience = cluster.nodes[index].id;
            let namespaces = List::new(namespaces).unwrap();
            cluster.signed(owner, OwnerAction::Subscribe { namespaces, audience })
        };
    // On a member that is not the one that stores come in at.
    let operation = subscribe(&mut cluster, &alice, 2, &[MESSAGES]);
    let requester = cluster.send_as(2, 5000, vec![operation]);
    let Outcome::Subscribed { cursor } = cluster.replies[&requester].outcomes[0] else { panic!() };

    let during = cluster.deposit(0, &alice, "during");
    cluster.deposit(0, &bob, "not for alice");
    let operation = cluster.store_operation(&alice, "during", Span::from_days(1));
    cluster.ask_one(3, operation);
    let operation = Operation::Store {
        address: alice.address(),
        namespace: ATTACHMENTS,
        timestamp: cluster.now,
        ttl: Span::from_days(1),
        data: ItemBytes::new(b"another namespace").unwrap(),
    };
    cluster.ask_one(0, operation);
    cluster.run();
    let pushed: Vec<_> = cluster.pushes.drain(..).collect();
    assert_eq!(pushed.len(), 1, "{pushed:?}");
    let (to, push) = &pushed[0];
    assert_eq!((*to, push.address, push.item.id), (Requester(5000), alice.address(), during));
    assert!(push.item.arrival > cursor.arrival);
    // Reading from the cursor gives what was pushed, and not what was there before.
    let (items, _, _) = retrieve(&mut cluster, &alice, 2, Select::After { cursor }, 1000);
    assert_eq!(items, vec![push.item.clone()]);

    let operation = Operation::Unsubscribe { address: alice.address() };
    cluster.send_as(2, 5001, vec![operation.clone()]);
    cluster.deposit(0, &alice, "still");
    cluster.run();
    assert_eq!(cluster.pushes.len(), 1, "somebody else cannot unsubscribe this one");
    cluster.replies.remove(&5000);
    cluster.send_as(2, 5000, vec![operation]);
    cluster.deposit(0, &alice, "no more");
    cluster.run();
    assert_eq!(cluster.pushes.len(), 1);

    let operation = subscribe(&mut cluster, &alice, 2, &[MESSAGES]);
    cluster.send_as(2, 5002, vec![operation]);
    cluster.feed(2, vec![Input::RequesterGone { from: Requester(5002) }]);
    cluster.deposit(0, &alice, "nobody hears");
    cluster.run();
    assert_eq!(cluster.pushes.len(), 1);
    assert_eq!(cluster.nodes[2].swarm.health().subscriptions, 0);

    let operation = subscribe(&mut cluster, &alice, 2, &[]);
    assert!(matches!(cluster.refused(2, operation), Refusal::BadRequest { .. }));
}

#[test]
fn subscriptions_are_bounded() {
    let mut cluster = Cluster::new(1, 30);
    let audience = cluster.nodes[0].id;
    for n in 0..=64 {
        let owner = Owner::new(n);
        let namespaces = List::new([MESSAGES]).unwrap();
        let operation = cluster.signed(&owner, OwnerAction::Subscribe { namespaces, audience });
        cluster.send_as(0, 9, vec![operation]);
        let reply = cluster.replies.remove(&9).unwrap();
        match (n, &reply.outcomes[0]) {
            (0..64, Outcome::Subscribed { .. }) => {}
            (64, Outcome::Refused { refusal: Refusal::TooLarge { limit: 64, .. } }) => {}
            other => panic!("{other:?}"),
        }
    }
}
