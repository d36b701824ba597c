//! Mailboxes: what capabilities allow, and that of the commits of a slot one at most is acknowledged.

use std::collections::BTreeSet;

use session_core::{Encode as _, List, MessageId, Namespace, Span, Time};
use session_crypto::{Signer as _, XWingSecret};
use session_protocol::inbox::{
    ATTACHMENTS, BOXES, COMMITS, Capability, INTRODUCTIONS, MANIFESTS, Mailbox, message_id,
};
use session_protocol::limits::{CLOCK_TOLERANCE, TTL_MAX, TTL_OWNER_MAX};
use session_protocol::manifest::{Directory, IntroRoute, Manifest};
use session_protocol::owner::{ExpireMode, OwnerAction, OwnerOperation};
use session_protocol::puzzle::{Puzzle, Solution, WINDOW, window_of};
use session_protocol::request::{
    Cursor, Expiring, Item, ItemBytes, Operation, Outcome, Refusal, Select,
};
use session_storage::Store as _;

use crate::cluster::{Cluster, Owner};

const DAY: Span = Span::from_days(1);

fn mailbox(seed: u8) -> Mailbox {
    Mailbox::derive(&[seed; 32].into(), &[b"lane"])
}

fn deposit(cluster: &Cluster, mailbox: &Mailbox, namespace: Namespace, data: &[u8]) -> Operation {
    Operation::Deposit {
        rule: mailbox.rule(),
        token: mailbox.write.clone(),
        namespace,
        timestamp: cluster.now,
        ttl: DAY,
        data: ItemBytes::new(data).unwrap(),
    }
}

fn asked(
    cluster: &mut Cluster,
    mailbox: &Mailbox,
    token: &Capability,
    action: OwnerAction,
) -> Operation {
    let (now, rng) = (cluster.now, &mut cluster.rng);
    let operation = OwnerOperation::with_token(mailbox.rule(), token.clone(), action, now, rng);
    Operation::Owner { operation: Box::new(operation) }
}

fn retrieve(
    cluster: &mut Cluster,
    index: usize,
    from: &Mailbox,
    namespace: Namespace,
) -> Operation {
    let (select, audience) = (Select::After { cursor: Cursor::default() }, cluster.nodes[index].id);
    let action = OwnerAction::Retrieve { namespace, select, bytes_max: u32::MAX, audience };
    asked(cluster, from, &from.read, action)
}

fn read(cluster: &mut Cluster, index: usize, from: &Mailbox, namespace: Namespace) -> Vec<Item> {
    let operation = retrieve(cluster, index, from, namespace);
    match cluster.ask_one(index, operation) {
        Outcome::Items { items, .. } => items.into_vec(),
        other => panic!("no items: {other:?}"),
    }
}

fn delete(cluster: &mut Cluster, mailbox: &Mailbox, id: MessageId) -> Operation {
    let action = OwnerAction::Delete { ids: List::new([id]).unwrap() };
    asked(cluster, mailbox, &mailbox.erase, action)
}

#[track_caller]
fn stored(outcome: Outcome) -> (MessageId, bool) {
    match outcome {
        Outcome::Stored { message, duplicate, .. } => (message, duplicate),
        other => panic!("not stored: {other:?}"),
    }
}

fn refusal(outcome: &Outcome) -> Option<&Refusal> {
    match outcome {
        Outcome::Refused { refusal } => Some(refusal),
        _ => None,
    }
}

/// An item of the slot `[slot; 32]`.
fn commit(slot: u8, text: &str) -> Vec<u8> {
    [&[slot; 32], text.as_bytes()].concat()
}

fn id_of(mailbox: &Mailbox, data: &[u8]) -> MessageId {
    message_id(&mailbox.address(), COMMITS, data)
}

#[test]
fn boxes_are_read_with_the_capability_by_whichever_member() {
    let mut cluster = Cluster::new(10, 70);
    let own = mailbox(1);
    let operation = deposit(&cluster, &own, BOXES, b"box");
    let Outcome::Stored { message, receipts, .. } = cluster.ask_one(0, operation) else { panic!() };
    assert!(receipts.len() >= 7);
    cluster.run();
    assert_eq!(cluster.holders(&own.address(), &message), 10);
    for index in 0..10 {
        let items = read(&mut cluster, index, &own, BOXES);
        assert_eq!(items.iter().map(|item| item.id).collect::<Vec<_>>(), [message]);
        assert!(read(&mut cluster, index, &own, COMMITS).is_empty());
    }
    // Nobody reads without it, and another mailbox is another place.
    let public = Operation::RetrievePublic {
        address: own.address(),
        namespace: BOXES,
        select: Select::Ids { ids: List::new([message]).unwrap() },
        bytes_max: 1,
    };
    assert_eq!(cluster.refused(3, public), Refusal::Unauthorized { namespace: BOXES });
    assert!(read(&mut cluster, 3, &mailbox(2), BOXES).is_empty());
    // Pieces of files go where anyone deposits, and only readers read.
    let piece = Operation::Store {
        address: own.address(),
        namespace: ATTACHMENTS,
        timestamp: cluster.now,
        ttl: DAY,
        data: ItemBytes::new(b"piece").unwrap(),
    };
    stored(cluster.ask_one(4, piece));
    assert_eq!(read(&mut cluster, 5, &own, ATTACHMENTS).len(), 1);
}

#[test]
fn repeating_what_a_capability_allows_is_harmless_while_it_is_fresh() {
    let mut cluster = Cluster::new(4, 71);
    let own = mailbox(1);
    let operation = deposit(&cluster, &own, BOXES, b"box");
    let (id, _) = stored(cluster.ask_one(0, operation));
    let (reading, erasing) =
        (retrieve(&mut cluster, 0, &own, BOXES), delete(&mut cluster, &own, id));
    for _ in 0..2 {
        assert!(matches!(cluster.ask_one(0, reading.clone()), Outcome::Items { .. }));
    }
    let audience = cluster.nodes[0].id;
    assert_eq!(cluster.refused(1, reading.clone()), Refusal::WrongNode { audience });
    for removed in [1, 0] {
        let Outcome::Deleted { ids, nodes } = cluster.ask_one(2, erasing.clone()) else { panic!() };
        assert_eq!(ids.len(), removed);
        assert!(nodes >= 3);
    }
    cluster.run();
    assert_eq!(cluster.contents(0).1.len(), 1, "one operation, one record");
    cluster.advance(CLOCK_TOLERANCE + Span::from_secs(2));
    for operation in [reading, erasing] {
        assert!(matches!(cluster.refused(0, operation), Refusal::Clock { .. }));
    }
}

#[test]
fn deletions_with_a_capability_are_everywhere_and_for_good() {
    let mut cluster = Cluster::new(10, 72);
    let own = mailbox(1);
    let (first, second) =
        (deposit(&cluster, &own, BOXES, b"one"), deposit(&cluster, &own, BOXES, b"two"));
    let (one, _) = stored(cluster.ask_one(0, first.clone()));
    let (two, _) = stored(cluster.ask_one(0, second));
    cluster.run();
    cluster.stop(9);
    // Readers and writers do not delete.
    for token in [own.read.clone(), own.write.clone()] {
        let action = OwnerAction::Delete { ids: List::new([one]).unwrap() };
        let operation = asked(&mut cluster, &own, &token, action);
        assert_eq!(cluster.refused(1, operation), Refusal::BadCapability);
    }
    let operation = delete(&mut cluster, &own, one);
    let Outcome::Deleted { ids, nodes } = cluster.ask_one(4, operation) else { panic!() };
    assert_eq!((&*ids, nodes >= 7), (&[one][..], true));
    let expiry = cluster.now + Span::from_secs(3600);
    let ids = List::new([two]).unwrap();
    let action = OwnerAction::Expire { ids, expiry, mode: ExpireMode::Shorten };
    let operation = asked(&mut cluster, &own, &own.erase, action);
    let Outcome::Expiring { expiries, .. } = cluster.ask_one(4, operation) else { panic!() };
    assert_eq!(*expiries, [Expiring { id: two, expiry }]);
    // Who was away is told by reconciliation, and believes it.
    cluster.start(9);
    cluster.advance(Span::from_secs(60));
    cluster.assert_same();
    let address = own.address();
    assert_eq!((cluster.holders(&address, &one), cluster.holders(&address, &two)), (0, 10));
    assert_eq!(cluster.contents(9).1.len(), 2);
    // Nobody brings it back, not after a restart either.
    cluster.stop(9);
    cluster.start(9);
    let Operation::Deposit { rule, token, namespace, ttl, data, .. } = first else { panic!() };
    let timestamp = cluster.now;
    let again = Operation::Deposit { rule, token, namespace, timestamp, ttl, data };
    assert_eq!(cluster.refused(9, again), Refusal::Deleted);
    assert_eq!(cluster.misbehaved, vec![]);
}

#[test]
fn subscribers_of_a_mailbox_are_told() {
    let mut cluster = Cluster::new(4, 73);
    let own = mailbox(1);
    let audience = cluster.nodes[2].id;
    let namespaces = List::new([BOXES, COMMITS]).unwrap();
    let action = OwnerAction::Subscribe { namespaces, audience };
    let wrong = asked(&mut cluster, &own, &own.write, action.clone());
    assert_eq!(cluster.refused(2, wrong), Refusal::BadCapability);
    let right = asked(&mut cluster, &own, &own.read, action);
    assert!(matches!(cluster.ask_one(2, right), Outcome::Subscribed { .. }));
    let commits = [commit(1, "a"), commit(1, "b")];
    for (namespace, data) in [(BOXES, &b"box"[..]), (COMMITS, &commits[0])] {
        let operation = deposit(&cluster, &own, namespace, data);
        stored(cluster.ask_one(0, operation));
    }
    cluster.run();
    let namespaces: Vec<_> = cluster.pushes.iter().map(|(_, push)| push.item.namespace).collect();
    assert_eq!(namespaces, [BOXES, COMMITS]);
}

#[test]
fn times_to_live_are_bounded() {
    let mut cluster = Cluster::new(4, 74);
    let own = mailbox(1);
    let data = commit(1, "long");
    for (namespace, max) in [(BOXES, TTL_MAX), (COMMITS, TTL_MAX)] {
        let mut operation = deposit(&cluster, &own, namespace, &data);
        let Operation::Deposit { ttl, .. } = &mut operation else { panic!() };
        *ttl = max + Span::from_millis(1);
        let refused = cluster.refused(0, operation.clone());
        assert!(matches!(refused, Refusal::TtlOutOfRange { max: limit, .. } if limit == max));
        let Operation::Deposit { ttl, .. } = &mut operation else { panic!() };
        *ttl = max;
        stored(cluster.ask_one(0, operation));
    }
}

#[test]
fn a_slot_is_its_first_items_also_after_restarts_and_deletion() {
    let mut cluster = Cluster::new(4, 75);
    let own = mailbox(1);
    let (first, second) = (commit(1, "first"), commit(1, "second"));
    let operation = deposit(&cluster, &own, COMMITS, &first);
    let (holder, duplicate) = stored(cluster.ask_one(0, operation));
    assert!(!duplicate);
    cluster.run();
    for index in 0..4 {
        cluster.stop(index);
        cluster.start(index);
    }
    let taken = Refusal::SlotTaken { holder };
    for index in 0..4 {
        let operation = deposit(&cluster, &own, COMMITS, &second);
        assert_eq!(cluster.refused(index, operation), taken);
        let again = deposit(&cluster, &own, COMMITS, &first);
        assert_eq!(stored(cluster.ask_one(index, again)), (holder, true));
    }
    assert_eq!(cluster.holders(&own.address(), &id_of(&own, &second)), 0, "it was not kept");
    // Another slot, and the same slot of another mailbox, are others.
    let operation = deposit(&cluster, &own, COMMITS, &commit(2, "second"));
    stored(cluster.ask_one(1, operation));
    let operation = deposit(&cluster, &mailbox(2), COMMITS, &second);
    stored(cluster.ask_one(1, operation));
    // Who deletes the item does not make room for another.
    let operation = delete(&mut cluster, &own, holder);
    assert!(matches!(cluster.ask_one(0, operation), Outcome::Deleted { .. }));
    cluster.run();
    let operation = deposit(&cluster, &own, COMMITS, &second);
    assert_eq!(cluster.refused(2, operation), taken);
    let operation = deposit(&cluster, &own, COMMITS, &first);
    assert_eq!(cluster.refused(2, operation), Refusal::Deleted);
}

/// Sends different commits of one slot to different members at the same time; returns how many were
/// acknowledged, and what the others were told.
fn race(seed: u64, members: usize, rivals: usize, loss: u64) -> (usize, Vec<Refusal>) {
    let mut cluster = Cluster::new(members, seed);
    cluster.loss = loss;
    let own = mailbox(1);
    let commits: Vec<Vec<u8>> = (0..rivals).map(|n| commit(1, &format!("rival {n}"))).collect();
    let sent: Vec<u64> = commits
        .iter()
        .enumerate()
        .map(|(index, data)| {
            let operation = deposit(&cluster, &own, COMMITS, data);
            cluster.send(index, vec![operation])
        })
        .collect();
    cluster.advance(Span::from_secs(6));
    let mut outcomes: Vec<Outcome> = sent
        .iter()
        .map(|request| cluster.replies.remove(request).expect("answered"))
        .map(|reply| reply.outcomes.into_vec().remove(0))
        .collect();
    // A crash and a second attempt change nothing of that.
    cluster.stop(0);
    cluster.start(0);
    for data in &commits {
        for index in 0..members {
            let operation = deposit(&cluster, &own, COMMITS, data);
            let place = commits.iter().position(|it| it == data).unwrap();
            let outcome = cluster.ask_one(index, operation);
            if matches!(outcome, Outcome::Stored { .. }) {
                outcomes[place] = outcome;
            }
        }
    }
    cluster.loss = 0;
    cluster.advance(Span::from_secs(600));
    cluster.assert_same();
    assert_eq!(cluster.misbehaved, vec![]);
    // Every candidate that is anywhere is for everybody to see.
    let shown: BTreeSet<MessageId> =
        read(&mut cluster, 1, &own, COMMITS).iter().map(|item| item.id).collect();
    let kept: Vec<MessageId> = commits.iter().map(|data| id_of(&own, data)).collect();
    for (id, outcome) in kept.iter().zip(&outcomes) {
        assert!(refusal(outcome).is_some() || shown.contains(id), "seed {seed}");
    }
    assert!(loss > 0 || shown.len() == rivals, "seed {seed}: {} are seen", shown.len());
    let refused: Vec<Refusal> = outcomes.iter().filter_map(refusal).cloned().collect();
    (outcomes.len() - refused.len(), refused)
}

#[test]
fn of_concurrent_commits_of_a_slot_one_at_most_is_acknowledged() {
    let mut won = 0;
    for seed in 0..30 {
        for (members, rivals, loss) in [(4, 2, 0), (4, 2, 100), (5, 3, 200), (7, 2, 50)] {
            let (acknowledged, refused) = race(seed, members, rivals, loss);
            assert!(acknowledged <= 1, "seed {seed}: {acknowledged} of {rivals}");
            won += acknowledged;
            for refusal in refused {
                let expected = matches!(
                    refusal,
                    Refusal::SlotTaken { .. } | Refusal::NotEnoughReplicas { .. }
                );
                assert!(expected, "seed {seed}: {refusal:?}");
            }
        }
    }
    assert!(won > 10, "the slot is of use: {won} commits were acknowledged");
}

#[test]
fn who_cannot_win_any_more_is_told_who_holds_the_slot() {
    // Both in flight at once: of four, each has two at best, and a quorum is three.
    let mut cluster = Cluster::new(4, 76);
    let own = mailbox(1);
    let commits = [commit(1, "a"), commit(1, "b")];
    let requests: Vec<u64> = (0..2)
        .map(|index| {
            let operation = deposit(&cluster, &own, COMMITS, &commits[index]);
            cluster.send(index, vec![operation])
        })
        .collect();
    cluster.run();
    let told: Vec<Outcome> = requests
        .iter()
        .map(|request| cluster.replies.remove(request).expect("no waiting for the timeout"))
        .map(|reply| reply.outcomes.into_vec().remove(0))
        .collect();
    let (a, b) = (id_of(&own, &commits[0]), id_of(&own, &commits[1]));
    match (&told[0], &told[1]) {
        (Outcome::Stored { .. }, other) => {
            assert_eq!(refusal(other), Some(&Refusal::SlotTaken { holder: a }));
        }
        (other, Outcome::Stored { .. }) => {
            assert_eq!(refusal(other), Some(&Refusal::SlotTaken { holder: b }));
        }
        (first, second) => {
            assert_eq!(refusal(first), Some(&Refusal::SlotTaken { holder: b }));
            assert_eq!(refusal(second), Some(&Refusal::SlotTaken { holder: a }));
        }
    }
}

/// Brings commits to member 3 by reconciliation only: members 0 to 2 each know one.
fn heard(seed: u64, commits: &[Vec<u8>]) -> (Cluster, Mailbox) {
    let mut cluster = Cluster::new(4, seed);
    let own = mailbox(1);
    cluster.tamper = Some(Box::new(|_, _, message| match message {
        session_swarm::PeerMessageOut::Replicate(_) => None,
        other => Some(other),
    }));
    for (index, data) in commits.iter().enumerate() {
        let operation = deposit(&cluster, &own, COMMITS, data);
        cluster.send(index, vec![operation]);
    }
    cluster.advance(Span::from_secs(600));
    cluster.tamper = None;
    cluster.replies.clear();
    cluster.assert_same();
    assert_eq!(cluster.contents(3).0.len(), commits.len());
    (cluster, own)
}

#[test]
fn the_only_item_heard_of_is_signed_and_of_several_none() {
    let (only, other) = (commit(1, "only"), commit(1, "other"));
    let (mut cluster, own) = heard(77, std::slice::from_ref(&only));
    let operation = deposit(&cluster, &own, COMMITS, &other);
    assert_eq!(cluster.refused(3, operation), Refusal::SlotTaken { holder: id_of(&own, &only) });
    let operation = deposit(&cluster, &own, COMMITS, &only);
    assert!(stored(cluster.ask_one(3, operation)).1);

    // Members 0 and 1 hold the slot for one each, 2 and 3 heard of both and sign for none.
    let commits = [only, other];
    let (mut cluster, own) = heard(78, &commits);
    for index in 0..4 {
        for data in &commits {
            let operation = deposit(&cluster, &own, COMMITS, data);
            let refused = cluster.refused(index, operation);
            assert!(matches!(refused, Refusal::SlotTaken { .. }), "member {index}: {refused:?}");
        }
    }
}

#[test]
fn a_member_that_lost_its_store_signs_for_no_slot_until_it_is_complete() {
    let seats = [(0, (0..4).collect())];
    let mut cluster = Cluster::seated(4, &seats, 79);
    cluster.advance(Span::from_secs(20));
    let own = mailbox(1);
    let operation = deposit(&cluster, &own, COMMITS, &commit(1, "first"));
    let (holder, _) = stored(cluster.ask_one(0, operation));
    cluster.run();
    for index in 1..4 {
        cluster.stop(index);
    }
    cluster.stop(0);
    cluster.lose_disk(3);
    cluster.start(3);
    let operation = deposit(&cluster, &own, COMMITS, &commit(1, "second"));
    assert!(matches!(cluster.refused(3, operation.clone()), Refusal::NotReady { .. }));
    for index in 0..3 {
        cluster.start(index);
    }
    cluster.advance(Span::from_secs(60));
    let operation = deposit(&cluster, &own, COMMITS, &commit(1, "second"));
    assert_eq!(cluster.refused(3, operation), Refusal::SlotTaken { holder });
    let operation = deposit(&cluster, &own, COMMITS, &commit(1, "first"));
    assert_eq!(stored(cluster.ask_one(3, operation)), (holder, true));
}

fn manifest(cluster: &mut Cluster, owner: &Owner, made: Time) -> Operation {
    let (intro, directory) = (mailbox(1), mailbox(2));
    let manifest = Manifest {
        version: 1,
        network: cluster.network(),
        keys: owner.keys.public().clone(),
        seq: 1,
        previous: [0; 32].into(),
        made,
        expiry: made + DAY,
        intro: IntroRoute {
            key_id: 1,
            key: session_core::Blob::new(*XWingSecret::from_seed(&[1; 32]).public().as_bytes())
                .unwrap(),
            rule: intro.rule(),
            write: intro.write,
        },
        directory: Directory { rule: directory.rule(), read: directory.read },
        devices: List::new([]).unwrap(),
        legacy: None,
    };
    let signed = manifest.sign(&owner.keys, &mut cluster.rng);
    Operation::Store {
        address: owner.address(),
        namespace: MANIFESTS,
        timestamp: cluster.now,
        ttl: TTL_OWNER_MAX,
        data: ItemBytes::new(signed.to_bytes()).unwrap(),
    }
}

#[test]
fn manifests_are_kept_for_everybody_to_read() {
    let mut cluster = Cluster::new(4, 80);
    let (alice, bob) = (Owner::new(1), Owner::new(2));
    cluster.stop(3);
    let made = cluster.now;
    let operation = manifest(&mut cluster, &alice, made);
    let (id, _) = stored(cluster.ask_one(0, operation.clone()));
    let Operation::Store { namespace, timestamp, ttl, data, .. } = operation else { panic!() };
    let elsewhere = Operation::Store { address: bob.address(), namespace, timestamp, ttl, data };
    assert!(matches!(cluster.refused(0, elsewhere), Refusal::BadRequest { .. }));
    cluster.start(3);
    cluster.advance(Span::from_secs(60));
    for index in 0..4 {
        let operation = Operation::RetrievePublic {
            address: alice.address(),
            namespace: MANIFESTS,
            select: Select::After { cursor: Cursor::default() },
            bytes_max: u32::MAX,
        };
        let Outcome::Items { items, .. } = cluster.ask_one(index, operation) else { panic!() };
        assert_eq!(items.iter().map(|item| item.id).collect::<Vec<_>>(), [id]);
        assert_eq!(items[0].expiry, timestamp + TTL_OWNER_MAX);
    }
    assert!(cluster.nodes[3].store.meta(&alice.address(), &id).is_some());
}

/// An introduction with a puzzle of so many bits solved, of the item of these bytes.
fn introduce(cluster: &Cluster, mailbox: &Mailbox, data: &[u8], bits: u8, of: &[u8]) -> Operation {
    let (address, window) = (mailbox.address(), window_of(cluster.now));
    let message = message_id(&address, INTRODUCTIONS, of);
    let network = cluster.membership.network();
    let puzzle = Puzzle { network, address, message, window, bits };
    let Solution { window, nonce } = puzzle.solve().expect("in time");
    Operation::Introduce {
        rule: mailbox.rule(),
        token: mailbox.write.clone(),
        solution: Solution { window, nonce },
        timestamp: cluster.now,
        ttl: DAY,
        data: ItemBytes::new(data).unwrap(),
    }
}

#[test]
fn strangers_pay_where_many_come() {
    let mut cluster = Cluster::new(10, 79);
    let (own, other) = (mailbox(1), mailbox(2));
    for number in 0..64 {
        let operation = deposit(&cluster, &own, INTRODUCTIONS, &[number]);
        stored(cluster.ask_one(usize::from(number) % 10, operation));
    }
    cluster.run();
    // Every member has seen them all, whoever was asked.
    let needed = Refusal::PuzzleNeeded { bits: 4, window: WINDOW };
    for index in [0, 5] {
        let operation = deposit(&cluster, &own, INTRODUCTIONS, b"one more");
        assert_eq!(cluster.refused(index, operation), needed);
    }
    // What is there already costs nothing, nor does what those say who know the mailbox, or what is
    // said elsewhere.
    let again = deposit(&cluster, &own, INTRODUCTIONS, &[7]);
    assert!(stored(cluster.ask_one(1, again)).1);
    for operation in [
        deposit(&cluster, &own, BOXES, b"of a contact"),
        deposit(&cluster, &other, INTRODUCTIONS, b"elsewhere"),
    ] {
        stored(cluster.ask_one(2, operation));
    }
    let copied = introduce(&cluster, &own, b"one more", 4, b"another one");
    assert_eq!(cluster.refused(3, copied), needed);
    let solved = introduce(&cluster, &own, b"one more", 4, b"one more");
    let (message, _) = stored(cluster.ask_one(3, solved));
    cluster.run();
    assert_eq!(cluster.holders(&own.address(), &message), 10);

    cluster.advance(Span::from_secs(3600));
    let later = deposit(&cluster, &own, INTRODUCTIONS, b"an hour later");
    stored(cluster.ask_one(4, later));
}
