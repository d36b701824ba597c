//! Members that were away, lost their disk, or lie.

use std::collections::BTreeMap;

use session_core::{Entropy as _, List, MessageId, Span, Time};
use session_protocol::limits::TOMBSTONE_TTL;
use session_protocol::owner::{ExpireMode, OwnerAction};
use session_protocol::peer::{Element, RingRange, Sync};
use session_protocol::request::{Operation, Outcome};
use session_storage::Store as _;
use session_swarm::{Input, PeerMessageOut};

use crate::cluster::{Cluster, Owner};

fn delete(cluster: &mut Cluster, owner: &Owner, index: usize, ids: &[MessageId]) -> Outcome {
    let operation = cluster.signed(owner, OwnerAction::Delete { ids: List::new(ids).unwrap() });
    cluster.ask_one(index, operation)
}

fn expire(
    cluster: &mut Cluster,
    owner: &Owner,
    index: usize,
    id: MessageId,
    change: (Time, ExpireMode),
) -> Outcome {
    let (expiry, mode) = change;
    let ids = List::new([id]).unwrap();
    let operation = cluster.signed(owner, OwnerAction::Expire { ids, expiry, mode });
    cluster.ask_one(index, operation)
}

#[test]
fn a_member_that_was_away_catches_up_and_brings_nothing_back() {
    let mut cluster = Cluster::new(10, 40);
    let (alice, bob) = (Owner::new(1), Owner::new(2));
    let deleted = cluster.deposit(0, &alice, "to be deleted");
    let shortened = cluster.deposit(0, &alice, "to be shortened");
    let extended = cluster.deposit(0, &bob, "to be extended");
    cluster.run();
    cluster.stop(9);
    cluster.advance(Span::from_secs(3600));
    delete(&mut cluster, &alice, 1, &[deleted]);
    let soon = cluster.now + Span::from_secs(7200);
    let late = cluster.now + Span::from_days(20);
    expire(&mut cluster, &alice, 2, shortened, (soon, ExpireMode::Shorten));
    expire(&mut cluster, &bob, 3, extended, (late, ExpireMode::Extend));
    let mut missed = Vec::new();
    for n in 0..200 {
        let owner = if n % 2 == 0 { &alice } else { &bob };
        missed.push((owner.address(), cluster.deposit(n % 9, owner, &format!("while away {n}"))));
    }
    cluster.run();

    cluster.start(9);
    cluster.advance(Span::from_secs(10));
    cluster.assert_same();
    let store = &cluster.nodes[9].store;
    assert!(missed.iter().all(|(address, id)| store.meta(address, id).is_some()));
    assert!(store.meta(&alice.address(), &deleted).is_none(), "deleted stays deleted");
    assert_eq!(store.meta(&alice.address(), &shortened).unwrap().expiry, soon);
    assert_eq!(store.meta(&bob.address(), &extended).unwrap().expiry, late);
    assert_eq!(cluster.holders(&alice.address(), &deleted), 0);
    assert_eq!(cluster.misbehaved, vec![]);
}

#[test]
fn a_member_that_lost_its_disk_is_refilled_with_operations() {
    let mut cluster = Cluster::new(10, 41);
    let owners: Vec<Owner> = (0..20).map(Owner::new).collect();
    let mut stored = Vec::new();
    for n in 0..300 {
        let owner = &owners[n % owners.len()];
        stored.push((n % owners.len(), cluster.deposit(n % 10, owner, &format!("item {n}"))));
    }
    for (owner, id) in stored.iter().step_by(10) {
        delete(&mut cluster, &owners[*owner], 0, &[*id]);
    }
    cluster.run();
    cluster.stop(4);
    cluster.lose_disk(4);
    cluster.start(4);
    cluster.advance(Span::from_secs(20));
    cluster.assert_same();
    assert_eq!(cluster.contents(4).0.len(), 270);
    assert_eq!(cluster.contents(4).1.len(), 30);
    // The tombstones came along: what was deleted is not taken.
    let operation = cluster.store_operation(&owners[0], "item 0", Span::from_days(1));
    let refusal = cluster.refused(4, operation);
    assert_eq!(refusal, session_protocol::request::Refusal::Deleted);
    // Not everybody gave everything.
    let duplicates = cluster.nodes[4].swarm.stats().items_duplicate;
    assert!(duplicates < 100, "{duplicates} of 270 items came more than once");
}

#[test]
fn a_large_bucket_takes_several_messages() {
    let mut cluster = Cluster::without_sweep(2, 42);
    let alice = Owner::new(1);
    cluster.stop(1);
    // Two members need both for a quorum; what is stored stays nevertheless.
    for n in 0..600 {
        let operation = cluster.store_operation(&alice, &format!("{n:04000}"), Span::from_days(1));
        assert!(matches!(cluster.ask_one(0, operation), Outcome::Refused { .. }));
    }
    for (gives, takes) in [(0, 1), (1, 0)] {
        cluster.stop(takes);
        cluster.lose_disk(takes);
        cluster.start(takes);
        let before = cluster.sent.get("sync").copied().unwrap_or(0);
        cluster.advance(Span::from_secs(10));
        assert_eq!(cluster.contents(takes).0.len(), 600, "from {gives} to {takes}");
        let messages = cluster.sent["sync"] - before;
        assert!(messages < 40, "{messages} messages for 5 pages");
    }
    assert_eq!(cluster.misbehaved, vec![]);
}

#[test]
fn members_that_are_the_same_say_little() {
    let mut cluster = Cluster::without_sweep(2, 43);
    for n in 0..10 {
        cluster.deposit(0, &Owner::new(n), "hello");
    }
    cluster.run();
    cluster.stop(1);
    cluster.start(1);
    cluster.advance(Span::from_secs(5));
    // An open and a same for each of ten buckets; the other side finds nothing left to do.
    assert_eq!(cluster.sent["sync"], 20);
    assert_eq!(cluster.nodes[0].swarm.health().reconciling, 0);
}

#[test]
fn a_member_cannot_bring_back_what_was_deleted() {
    let mut cluster = Cluster::new(10, 44);
    let alice = Owner::new(1);
    let id = cluster.deposit(0, &alice, "deleted");
    cluster.run();
    cluster.stop(9);
    delete(&mut cluster, &alice, 0, &[id]);
    cluster.run();
    // The member stays deaf to the deletion and offers its copy to everybody, again and again.
    cluster.tamper = Some(Box::new(|_, to, message| match message {
        PeerMessageOut::Operations(_) if to == 9 => None,
        PeerMessageOut::Sync(Sync::Give { session, elements, last }) if to == 9 => {
            let mut elements = elements.into_vec();
            elements.retain(|element| matches!(element, Element::Item { .. }));
            let elements = List::new(elements).unwrap();
            Some(PeerMessageOut::Sync(Sync::Give { session, elements, last }))
        }
        message => Some(message),
    }));
    cluster.start(9);
    cluster.advance(Span::from_secs(1200));
    assert_eq!(cluster.holders(&alice.address(), &id), 1, "nobody else took it");
    let offers = cluster.nodes[0].swarm.stats().repairs;
    assert!(offers > 1, "it was offered");
}

#[test]
fn an_element_of_another_bucket_is_a_fault() {
    let mut cluster = Cluster::new(2, 45);
    let alice = Owner::new(1);
    cluster.stop(1);
    let operation = cluster.store_operation(&alice, "hello", Span::from_days(1));
    cluster.ask_one(0, operation);
    let bucket = alice.address().as_bytes()[0];
    let other = session_core::InboxAddress::from([bucket.wrapping_add(1); 32]);
    cluster.tamper = Some(Box::new(move |_, _, message| {
        Some(match message {
            PeerMessageOut::Sync(Sync::Give { session, elements, last }) => {
                let mut elements = elements.into_vec();
                for element in &mut elements {
                    if let Element::Item { item } = element {
                        item.address = other;
                    }
                }
                let elements = List::new(elements).unwrap();
                PeerMessageOut::Sync(Sync::Give { session, elements, last })
            }
            message => message,
        })
    }));
    cluster.start(1);
    cluster.advance(Span::from_millis(500));
    let liar = cluster.nodes[0].id;
    assert!(cluster.misbehaved.iter().all(|(by, node, _)| (*by, *node) == (1, liar)));
    assert!(!cluster.misbehaved.is_empty());
    assert!(cluster.contents(1).0.is_empty());
}

#[test]
fn garbage_is_a_fault_and_a_step_out_of_order_is_not() {
    let mut cluster = Cluster::new(2, 46);
    let from = cluster.nodes[1].id;
    let feed = |cluster: &mut Cluster, sync: Sync| {
        let frame = session_protocol::Frame::encode(session_protocol::Kind::Sync, &sync);
        let Ok(session_protocol::Inbound::Sync(sync)) = cluster.checker.check(&frame) else {
            panic!()
        };
        let message = session_swarm::PeerMessage::Sync(sync);
        cluster.feed(0, vec![Input::FromPeer { node: from, message }]);
        cluster.misbehaved.drain(..).count()
    };
    let parity = u64::from(from > cluster.nodes[0].id);
    let open = |session| Sync::Open {
        session,
        bucket: 3,
        nonce: [1; 32],
        fingerprint: [2; 32].into(),
        count: 1,
        range: RingRange::ALL,
        since: 0,
    };
    assert_eq!(feed(&mut cluster, Sync::Same { session: 99, whole: true }), 0);
    assert_eq!(feed(&mut cluster, open(2 | (1 - parity))), 1, "a number of the wrong side");
    assert_eq!(feed(&mut cluster, open(2 | parity)), 0);
    assert_eq!(cluster.nodes[0].swarm.health().reconciling, 1);
    // What comes twice, or late, ends the session without blame.
    assert_eq!(feed(&mut cluster, Sync::Same { session: 2 | parity, whole: true }), 0);
    assert_eq!(cluster.nodes[0].swarm.health().reconciling, 0);
    assert_eq!(feed(&mut cluster, open(4 | parity)), 0);
    let garbage = Sync::Round {
        session: 4 | parity,
        message: session_core::Blob::new([0x00, 0xff, 0xff, 0xff]).unwrap(),
    };
    assert_eq!(feed(&mut cluster, garbage), 1, "garbage instead of a comparison");
    assert_eq!(cluster.nodes[0].swarm.health().reconciling, 0);
}

#[test]
fn operations_are_forgotten_by_all_at_the_same_time() {
    let mut cluster = Cluster::new(4, 47);
    let alice = Owner::new(1);
    let id = cluster.deposit(0, &alice, "hello");
    delete(&mut cluster, &alice, 0, &[id]);
    let signed = cluster.now;
    cluster.now = cluster.now + Span::from_days(30);
    cluster.stop(3);
    cluster.lose_disk(3);
    cluster.start(3);
    cluster.advance(Span::from_secs(60));
    cluster.assert_same();
    assert_eq!(cluster.contents(3).1.len(), 1);
    cluster.now = signed + TOMBSTONE_TTL;
    cluster.advance(Span::from_secs(300));
    for index in 0..4 {
        assert_eq!(cluster.contents(index).1.len(), 0, "node {index}");
        assert_eq!(cluster.nodes[index].store.stats().tombstones, 0, "node {index}");
    }
}

/// What clients were promised.
#[derive(Default)]
struct Promises {
    stored: BTreeMap<(usize, MessageId), Time>,
    deleted: Vec<(usize, MessageId)>,
}

fn act(cluster: &mut Cluster, owners: &[Owner], promises: &mut Promises) {
    let owner = cluster.rng.below(owners.len() as u64) as usize;
    let mut index = cluster.rng.below(10) as usize;
    while !cluster.nodes[index].is_up {
        index = (index + 1) % 10;
    }
    match cluster.rng.below(10) {
        0..6 => {
            let text = format!("{}", cluster.rng.below(300));
            let hours = 1 + cluster.rng.below(48);
            let ttl = Span::from_secs(hours * 3600);
            let operation = cluster.store_operation(&owners[owner], &text, ttl);
            if let Outcome::Stored { message, expiry, .. } = cluster.ask_one(index, operation) {
                let promised = promises.stored.entry((owner, message)).or_insert(expiry);
                *promised = expiry.max(*promised);
            }
        }
        6..8 => {
            let chosen = promises.stored.keys().find(|(of, _)| *of == owner);
            let Some(&(_, id)) = chosen else { return };
            // Even a deletion that misses its quorum may have been heard.
            promises.stored.remove(&(owner, id));
            let action = OwnerAction::Delete { ids: List::new([id]).unwrap() };
            let operation: Operation = cluster.signed(&owners[owner], action);
            if let Outcome::Deleted { .. } = cluster.ask_one(index, operation) {
                promises.deleted.push((owner, id));
            }
        }
        _ => {
            let chosen = promises.stored.keys().rfind(|(of, _)| *of == owner);
            let Some(&(_, id)) = chosen else { return };
            let to = cluster.now + Span::from_secs(3600 * (1 + cluster.rng.below(100)));
            let mode =
                if cluster.rng.below(2) == 0 { ExpireMode::Shorten } else { ExpireMode::Extend };
            if mode == ExpireMode::Shorten {
                // What was shortened, by whomever it was heard, is promised to nobody.
                promises.stored.remove(&(owner, id));
            }
            expire(cluster, &owners[owner], index, id, (to, mode));
        }
    }
}

fn live(seed: u64, loss: u64) -> (usize, usize) {
    let mut cluster = Cluster::new(10, seed);
    let owners: Vec<Owner> = (0..4).map(Owner::new).collect();
    let mut promises = Promises::default();
    cluster.loss = loss;
    for _ in 0..120 {
        let down: Vec<usize> = (0..10).filter(|index| !cluster.nodes[*index].is_up).collect();
        match cluster.rng.below(12) {
            0 if down.len() < 3 => {
                let index = cluster.rng.below(10) as usize;
                if cluster.nodes[index].is_up {
                    cluster.stop(index);
                }
            }
            1 if !down.is_empty() => cluster.start(down[0]),
            2 => {
                let pause = Span::from_secs(cluster.rng.below(120));
                cluster.advance(pause);
            }
            _ => act(&mut cluster, &owners, &mut promises),
        }
    }
    cluster.loss = 0;
    for index in 0..10 {
        if !cluster.nodes[index].is_up {
            cluster.start(index);
        }
    }
    cluster.advance(Span::from_secs(1200));
    cluster.assert_same();
    let now = cluster.now;
    let mut kept = 0;
    for ((owner, id), expiry) in &promises.stored {
        if *expiry > now {
            let address = owners[*owner].address();
            assert_eq!(cluster.holders(&address, id), 10, "seed {seed}: a stored item is gone");
            kept += 1;
        }
    }
    for (owner, id) in &promises.deleted {
        let address = owners[*owner].address();
        assert_eq!(cluster.holders(&address, id), 0, "seed {seed}: a deleted item is back");
    }
    assert_eq!(cluster.misbehaved, vec![], "seed {seed}: honest members are not blamed");
    (kept, promises.deleted.len())
}

#[test]
fn members_converge_after_crashes_and_loss() {
    let (mut kept, mut deleted) = (0, 0);
    for seed in 100..112 {
        let loss = [0, 30, 150][seed as usize % 3];
        let (some, gone) = live(seed, loss);
        (kept, deleted) = (kept + some, deleted + gone);
    }
    assert!(kept > 100 && deleted > 20, "{kept} kept, {deleted} deleted: too little to tell");
}
