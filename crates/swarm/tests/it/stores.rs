//! Stores, receipts, and what is refused.

use std::collections::BTreeSet;

use session_core::{Entropy as _, InboxAddress, MessageId, Namespace, SeededEntropy, Span, Time};
use session_crypto::Signer as _;
use session_crypto::fake::FakeVerifier;
use session_protocol::inbox::{ATTACHMENTS, IDENTITY_CARD, MESSAGES};
use session_protocol::limits::*;
use session_protocol::peer::ReplicaOutcome;
use session_protocol::receipt::StorageReceipt;
use session_protocol::request::{
    Cursor, Item, ItemBytes, Operation, Outcome, Refusal, Reply, Select,
};
use session_storage::{MemoryStore, Store as _};
use session_swarm::{PeerMessageOut, placement};

use crate::cluster::{Cluster, OURS, Owner};

/// Checks the receipts of a stored outcome as a client does; returns who signed.
fn verify(cluster: &Cluster, reply: &Reply, index: usize, address: InboxAddress) -> usize {
    let Outcome::Stored { message, receipts, .. } = &reply.outcomes[index] else {
        panic!("not stored: {:?}", reply.outcomes[index]);
    };
    let network = cluster.membership.network();
    let mut signers = BTreeSet::new();
    for path in receipts {
        let root = &reply.roots[usize::from(path.root)];
        let record = cluster.membership.node(&root.node).expect("signed by a node");
        assert_eq!(record.swarm, OURS);
        root.verify(network, record.keys.dsa(), &FakeVerifier).expect("the signature holds");
        let receipt = StorageReceipt {
            node: root.node,
            swarm: OURS,
            address,
            message: *message,
            expiry: path.expiry,
            stored_at: path.stored_at,
        };
        root.covers(network, &receipt, &path.proof).expect("the path holds");
        signers.insert(root.node);
    }
    signers.len()
}

#[test]
fn a_store_reaches_everybody_and_its_receipts_hold() {
    let mut cluster = Cluster::new(10, 1);
    let alice = Owner::new(1);
    let operation = cluster.store_operation(&alice, "hello", Span::from_days(1));
    let reply = cluster.ask(3, vec![operation]);
    assert!(verify(&cluster, &reply, 0, alice.address()) >= 7);
    assert_eq!(reply.server_time, cluster.now);
    cluster.run();
    let Outcome::Stored { message, expiry, duplicate, .. } = reply.outcomes[0] else { panic!() };
    assert_eq!(expiry, cluster.now + Span::from_days(1));
    assert!(!duplicate);
    assert_eq!(cluster.holders(&alice.address(), &message), 10);
    cluster.assert_same();
}

#[test]
fn a_swarm_of_one_is_its_own_quorum() {
    let mut cluster = Cluster::new(1, 2);
    let alice = Owner::new(1);
    let operation = cluster.store_operation(&alice, "hello", Span::from_days(1));
    let reply = cluster.ask(0, vec![operation]);
    assert_eq!(verify(&cluster, &reply, 0, alice.address()), 1);
}

#[test]
fn a_batch_travels_in_few_messages_and_few_roots() {
    let mut cluster = Cluster::new(10, 3);
    let alice = Owner::new(1);
    let operations = (0..20)
        .map(|n| cluster.store_operation(&alice, &format!("message {n}"), Span::from_days(1)))
        .collect();
    let reply = cluster.ask(0, operations);
    for index in 0..20 {
        assert!(verify(&cluster, &reply, index, alice.address()) >= 7);
    }
    assert!(reply.roots.len() <= 10, "{} roots", reply.roots.len());
    assert_eq!(cluster.sent["replicate"], 9, "one message for each of nine members");
}

#[test]
fn large_items_are_split_over_messages() {
    let mut cluster = Cluster::new(4, 4);
    let alice = Owner::new(1);
    let operations: Vec<Operation> = (0..20_u8)
        .map(|n| Operation::Store {
            address: alice.address(),
            namespace: ATTACHMENTS,
            timestamp: cluster.now,
            ttl: Span::from_days(14),
            data: ItemBytes::new(vec![n; ITEM_BYTES_MAX]).unwrap(),
        })
        .collect();
    let reply = cluster.ask(0, operations);
    for index in 0..20 {
        assert!(verify(&cluster, &reply, index, alice.address()) >= 3);
    }
    assert_eq!(cluster.sent["replicate"], 3 * 4, "six items of 75 KiB in each message");
}

#[test]
fn three_may_be_down_but_not_four() {
    let mut cluster = Cluster::new(10, 5);
    let alice = Owner::new(1);
    for index in [2, 5, 9] {
        cluster.stop(index);
    }
    let operation = cluster.store_operation(&alice, "with seven", Span::from_days(1));
    let reply = cluster.ask(0, vec![operation]);
    assert_eq!(verify(&cluster, &reply, 0, alice.address()), 7);

    cluster.stop(7);
    let operation = cluster.store_operation(&alice, "with six", Span::from_days(1));
    let refusal = cluster.refused(0, operation);
    assert_eq!(refusal, Refusal::NotEnoughReplicas { stored: 6, needed: 7 });

    // Storing again when enough are back is harmless and succeeds.
    cluster.start(7);
    let operation = cluster.store_operation(&alice, "with six", Span::from_days(1));
    let reply = cluster.ask(1, vec![operation]);
    assert_eq!(verify(&cluster, &reply, 0, alice.address()), 7);
    let Outcome::Stored { duplicate: true, .. } = reply.outcomes[0] else { panic!("{reply:?}") };
}

#[test]
fn silent_members_end_the_wait_after_five_seconds() {
    let mut cluster = Cluster::new(10, 6);
    let alice = Owner::new(1);
    cluster.tamper = Some(Box::new(|from, _, message| {
        let silent = from > 5 && matches!(message, PeerMessageOut::Receipts(_));
        (!silent).then_some(message)
    }));
    let operation = cluster.store_operation(&alice, "hello", Span::from_days(1));
    let requester = cluster.send(0, vec![operation]);
    cluster.advance(Span::from_millis(4_999));
    assert!(!cluster.replies.contains_key(&requester));
    cluster.advance(Span::from_millis(1));
    let reply = &cluster.replies[&requester];
    let Outcome::Refused { refusal } = &reply.outcomes[0] else { panic!("{reply:?}") };
    assert_eq!(*refusal, Refusal::NotEnoughReplicas { stored: 6, needed: 7 });
}

#[test]
fn a_duplicate_is_kept_once_and_gets_receipts() {
    let mut cluster = Cluster::new(10, 7);
    let alice = Owner::new(1);
    let first = cluster.deposit(0, &alice, "hello");
    let operation = cluster.store_operation(&alice, "hello", Span::from_days(1));
    let reply = cluster.ask(4, vec![operation]);
    assert!(verify(&cluster, &reply, 0, alice.address()) >= 7);
    let Outcome::Stored { message, duplicate, .. } = reply.outcomes[0] else { panic!() };
    assert_eq!((message, duplicate), (first, true));
    assert_eq!(cluster.contents(4).0.len(), 1);

    // The longer life of the two is kept, everywhere.
    let operation = cluster.store_operation(&alice, "hello", Span::from_days(3));
    let reply = cluster.ask(5, vec![operation]);
    let Outcome::Stored { expiry, .. } = reply.outcomes[0] else { panic!() };
    assert_eq!(expiry, cluster.now + Span::from_days(3));
    cluster.run();
    cluster.assert_same();
}

#[test]
fn what_a_client_gets_wrong_is_named() {
    let mut cluster = Cluster::with_others(4, 3, 8);
    let alice = Owner::new(1);
    let mut rng = SeededEntropy::new(9);
    let elsewhere = core::iter::repeat_with(|| InboxAddress::from(rng.bytes32()))
        .find(|address| placement::nearest(address, &cluster.membership.swarms()) != Some(OURS))
        .unwrap();
    let ours = core::iter::repeat_with(|| InboxAddress::from(rng.bytes32()))
        .find(|address| placement::nearest(address, &cluster.membership.swarms()) == Some(OURS))
        .unwrap();
    let store = |address, namespace, timestamp, ttl| Operation::Store {
        address,
        namespace,
        timestamp,
        ttl,
        data: ItemBytes::new(b"x").unwrap(),
    };
    let (now, day) = (cluster.now, Span::from_days(1));

    let refusal = cluster.refused(0, store(elsewhere, MESSAGES, now, day));
    let Refusal::WrongSwarm { swarm, members } = refusal else { panic!("{refusal:?}") };
    assert_eq!(swarm, session_core::SwarmId(1 << 63));
    assert_eq!(members.len(), 3);
    let answer = cluster.ask_one(0, Operation::GetSwarm { address: elsewhere });
    assert_eq!(answer, Outcome::Swarm { swarm, members });

    for (ttl, min) in
        [(Span::from_millis(9_999), TTL_MIN), (Span::from_secs(14 * 86_400 + 1), TTL_MIN)]
    {
        let refusal = cluster.refused(0, store(ours, MESSAGES, now, ttl));
        assert_eq!(refusal, Refusal::TtlOutOfRange { got: ttl, min, max: TTL_MAX });
    }
    for ttl in [TTL_MIN, TTL_MAX] {
        let outcome = cluster.ask_one(0, store(ours, MESSAGES, now, ttl));
        assert!(matches!(outcome, Outcome::Stored { .. }), "{ttl}: {outcome:?}");
    }

    let namespace = Namespace(9);
    let refusal = cluster.refused(0, store(ours, namespace, now, day));
    assert_eq!(refusal, Refusal::UnknownNamespace { namespace });

    for signed in [now + Span::from_millis(60_001), now - Span::from_millis(60_001)] {
        let refusal = cluster.refused(0, store(ours, MESSAGES, signed, day));
        let tolerance = CLOCK_TOLERANCE;
        assert_eq!(refusal, Refusal::Clock { signed, server_time: now, tolerance });
    }
    let outcome = cluster.ask_one(0, store(ours, MESSAGES, now - CLOCK_TOLERANCE, day));
    assert!(matches!(outcome, Outcome::Stored { .. }));

    // Expired on arrival: the time since it was sent counts.
    let late = now - Span::from_secs(30);
    let refusal = cluster.refused(0, store(ours, MESSAGES, late, Span::from_secs(20)));
    let Refusal::TtlOutOfRange { min, .. } = refusal else { panic!("{refusal:?}") };
    assert_eq!(min, Span::from_secs(40));

    let refusal = cluster.refused(0, store(ours, IDENTITY_CARD, now, day));
    assert!(matches!(refusal, Refusal::BadRequest { ref field, .. } if &**field == "data"));
    let read = Operation::RetrievePublic {
        address: alice.address(),
        namespace: MESSAGES,
        select: Select::After { cursor: Cursor::default() },
        bytes_max: 1,
    };
    if placement::nearest(&alice.address(), &cluster.membership.swarms()) == Some(OURS) {
        assert_eq!(cluster.refused(0, read), Refusal::Unauthorized { namespace: MESSAGES });
    }
    // One bad operation does not spoil the others.
    let batch =
        vec![store(ours, namespace, now, day), Operation::Info, store(ours, ATTACHMENTS, now, day)];
    let reply = cluster.ask(0, batch);
    assert!(matches!(reply.outcomes[0], Outcome::Refused { .. }));
    let Outcome::Info { info } = &reply.outcomes[1] else { panic!("{reply:?}") };
    assert_eq!((info.members, info.members_up, info.node), (4, 4, cluster.nodes[0].id));
    assert!(matches!(reply.outcomes[2], Outcome::Stored { .. }));
}

#[test]
fn an_identity_card_is_for_everyone_but_from_nobody_else() {
    let mut cluster = Cluster::new(4, 10);
    let (alice, bob) = (Owner::new(1), Owner::new(2));
    let card = |owner: &Owner| session_core::Encode::to_bytes(owner.keys.public());
    let store = |cluster: &Cluster, data: Vec<u8>| Operation::Store {
        address: alice.address(),
        namespace: IDENTITY_CARD,
        timestamp: cluster.now,
        ttl: TTL_OWNER_MAX,
        data: ItemBytes::new(data).unwrap(),
    };
    let operation = store(&cluster, card(&bob));
    assert!(matches!(cluster.refused(0, operation), Refusal::BadRequest { .. }));
    let operation = store(&cluster, card(&alice));
    assert!(matches!(cluster.ask_one(0, operation), Outcome::Stored { .. }));
    cluster.run();
    let read = Operation::RetrievePublic {
        address: alice.address(),
        namespace: IDENTITY_CARD,
        select: Select::After { cursor: Cursor::default() },
        bytes_max: 100_000,
    };
    let Outcome::Items { items, more, .. } = cluster.ask_one(3, read) else { panic!() };
    assert_eq!((items.len(), more), (1, false));
    assert_eq!(*items[0].data, *card(&alice));
}

#[test]
fn a_full_disk_refuses_stores_and_serves_the_rest() {
    let mut cluster = Cluster::new(10, 11);
    let alice = Owner::new(1);
    cluster.nodes[0].store = MemoryStore::new(5).with_limit(10);
    let kept = cluster.deposit(0, &alice, "fits");
    let operation = cluster.store_operation(&alice, "does not fit", Span::from_days(1));
    assert_eq!(cluster.refused(0, operation.clone()), Refusal::DiskFull);
    assert!(!cluster.nodes[0].swarm.health().writable);
    assert!(cluster.nodes[0].store.meta(&alice.address(), &kept).is_some());
    // The others have a quorum without it.
    let reply = cluster.ask(1, vec![operation]);
    assert!(verify(&cluster, &reply, 0, alice.address()) >= 7);
    cluster.run();
    let Outcome::Stored { message, .. } = reply.outcomes[0] else { panic!() };
    assert_eq!(cluster.holders(&alice.address(), &message), 9);
}

#[test]
fn lying_receipts_are_not_counted() {
    type Lie = fn(&mut session_protocol::peer::Receipts);
    let lies: [(&str, Lie); 3] = [
        ("not under its signed root", |receipts| {
            receipts.outcomes = changed(receipts, |outcome| {
                if let ReplicaOutcome::Stored { expiry, .. } = outcome {
                    *expiry = *expiry + Span::from_days(1);
                }
            });
        }),
        ("without a signature", |receipts| receipts.root = None),
        ("answered as an operation", |receipts| {
            receipts.outcomes = changed(receipts, |outcome| *outcome = ReplicaOutcome::Applied);
        }),
    ];
    for (what, lie) in lies {
        let mut cluster = Cluster::new(10, 12);
        let alice = Owner::new(1);
        // Four liars, so that their lies would make the quorum.
        cluster.tamper = Some(Box::new(move |from, _, message| {
            Some(match message {
                PeerMessageOut::Receipts(mut receipts) if from >= 6 => {
                    lie(&mut receipts);
                    PeerMessageOut::Receipts(receipts)
                }
                message => message,
            })
        }));
        let operation = cluster.store_operation(&alice, "hello", Span::from_days(1));
        let refusal = cluster.refused(0, operation);
        assert_eq!(refusal, Refusal::NotEnoughReplicas { stored: 6, needed: 7 }, "{what}");
        assert_eq!(cluster.misbehaved.len(), 4, "{what}");
        assert!(cluster.misbehaved.iter().all(|(_, _, why)| why.contains(what)), "{what}");
    }
}

fn changed(
    receipts: &session_protocol::peer::Receipts,
    change: impl Fn(&mut ReplicaOutcome),
) -> session_core::List<ReplicaOutcome, REPLICA_ITEMS_MAX> {
    let mut outcomes = receipts.outcomes.clone().into_vec();
    outcomes.iter_mut().for_each(change);
    session_core::List::new(outcomes).unwrap()
}

#[test]
fn a_member_cannot_pass_on_the_receipts_of_another() {
    let mut cluster = Cluster::new(10, 13);
    let alice = Owner::new(1);
    // Node 9 answers with what it saw node 8 sign earlier.
    let mut seen = None;
    cluster.tamper = Some(Box::new(move |from, _, message| {
        if let PeerMessageOut::Receipts(receipts) = &message {
            if from == 8 {
                seen = Some(receipts.clone());
            } else if from == 9
                && let Some(mut stolen) = seen.clone()
            {
                stolen.id = receipts.id;
                return Some(PeerMessageOut::Receipts(stolen));
            }
        }
        Some(message)
    }));
    cluster.deposit(0, &alice, "hello");
    cluster.deposit(0, &alice, "hello again");
    cluster.run();
    let thief = cluster.nodes[9].id;
    assert!(
        cluster
            .misbehaved
            .iter()
            .any(|(_, node, why)| *node == thief && why.contains("another node")),
        "{:?}",
        cluster.misbehaved
    );
}

#[test]
fn nothing_is_served_after_its_expiry() {
    let mut cluster = Cluster::new(4, 14);
    let alice = Owner::new(1);
    let operation = cluster.store_operation(&alice, "short-lived", Span::from_secs(10));
    let Outcome::Stored { message, .. } = cluster.ask_one(0, operation) else { panic!() };
    let read = |cluster: &mut Cluster, select| {
        crate::owners::retrieve(cluster, &alice, 1, select, 100_000)
    };
    let all = || Select::After { cursor: Cursor::default() };
    let ids = || Select::Ids { ids: session_core::List::new([message]).unwrap() };
    cluster.advance(Span::from_millis(9_999));
    assert_eq!(read(&mut cluster, all()).0.len(), 1);
    assert_eq!(read(&mut cluster, ids()).0.len(), 1);
    // At the very moment, and before any purge.
    cluster.now = cluster.now + Span::from_millis(1);
    assert!(cluster.nodes[1].store.meta(&alice.address(), &message).is_some());
    assert_eq!(read(&mut cluster, all()).0, Vec::<Item>::new());
    assert_eq!(read(&mut cluster, ids()).0, Vec::<Item>::new());
    cluster.advance(Span::from_secs(3));
    assert_eq!(cluster.holders(&alice.address(), &message), 0, "purged");
}

#[test]
fn items_outside_the_bounds_are_refused_by_members() {
    use session_protocol::peer::{ReplicaItem, Replicate};
    use session_protocol::{Frame, Inbound, Kind};
    use session_swarm::{Input, PeerMessage};
    let replicate = |cluster: &Cluster, message: Replicate| {
        let checked = cluster.checker.check(&Frame::encode(Kind::Replicate, &message));
        let Ok(Inbound::Replicate(message)) = checked else { panic!("{checked:?}") };
        PeerMessage::Replicate(message)
    };
    let mut cluster = Cluster::with_others(4, 1, 15);
    let alice = Owner::new(1);
    let now = cluster.now;
    let good = ReplicaItem {
        address: alice.address(),
        namespace: MESSAGES,
        timestamp: now,
        expiry: now + Span::from_days(1),
        data: ItemBytes::new(b"x").unwrap(),
    };
    let cases: [(ReplicaItem, &str); 5] = [
        (ReplicaItem { expiry: now, ..good.clone() }, "ttl_out_of_range"),
        (ReplicaItem { expiry: now + Span::from_days(31), ..good.clone() }, "ttl_out_of_range"),
        (ReplicaItem { expiry: Time::MAX, ..good.clone() }, "ttl_out_of_range"),
        (ReplicaItem { timestamp: now + Span::from_secs(71), ..good.clone() }, "clock"),
        (ReplicaItem { namespace: Namespace(77), ..good.clone() }, "unknown_namespace"),
    ];
    for (item, why) in cases {
        let before = cluster.contents(0);
        let node = cluster.nodes[1].id;
        let items = session_core::List::new([item]).unwrap();
        let message = replicate(&cluster, Replicate { id: 1, items });
        cluster.feed(0, vec![Input::FromPeer { node, message }]);
        assert_eq!(cluster.contents(0), before, "{why}");
    }
    // A node of another swarm has nothing to say here.
    let stranger = *cluster.membership.members(session_core::SwarmId(1 << 63)).first().unwrap();
    let items = session_core::List::new([good]).unwrap();
    let message = replicate(&cluster, Replicate { id: 1, items });
    cluster.feed(0, vec![Input::FromPeer { node: stranger, message }]);
    assert_eq!(cluster.misbehaved.last().map(|(_, node, _)| *node), Some(stranger));
    assert!(cluster.contents(0).0.is_empty());
}

#[test]
fn a_stopping_node_says_so() {
    let mut cluster = Cluster::new(4, 16);
    let alice = Owner::new(1);
    cluster.nodes[0].swarm.drain();
    let operation = cluster.store_operation(&alice, "late", Span::from_days(1));
    assert!(matches!(cluster.refused(0, operation), Refusal::NotReady { .. }));
    let _: MessageId = cluster.deposit(1, &alice, "elsewhere");
}
