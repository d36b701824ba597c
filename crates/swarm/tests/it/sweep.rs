//! Differences that nobody was told of, and members that cannot keep up for a while.

use std::cell::Cell;
use std::rc::Rc;

use session_core::{List, Span};
use session_protocol::inbox::MESSAGES;
use session_protocol::peer::{ReplicaOutcome, Sync};
use session_protocol::request::Outcome;
use session_storage::{NewItem, Store as _};
use session_swarm::PeerMessageOut;

use crate::cluster::{Cluster, Owner};

/// Puts an item into one member's store behind its back.
fn slip(cluster: &mut Cluster, index: usize, owner: &Owner, text: &str) {
    let (address, data) = (owner.address(), text.as_bytes());
    let id = session_protocol::inbox::message_id(&address, MESSAGES, data);
    let (timestamp, expiry) = (cluster.now, cluster.now + Span::from_days(1));
    let item = NewItem { namespace: MESSAGES, id, timestamp, expiry, data };
    let store = &mut cluster.nodes[index].store;
    store.put_item(&address, item).unwrap();
    store.commit_now();
}

#[test]
fn rare_differences_are_repaired_within_minutes() {
    let mut cluster = Cluster::new(10, 70);
    // Most of these are in buckets that are empty everywhere else.
    for n in 0..40 {
        slip(&mut cluster, usize::from(n) % 10, &Owner::new(n), "with one member only");
    }
    cluster.advance(Span::from_secs(12 * 60));
    cluster.assert_same();
    assert_eq!(cluster.contents(0).0.len(), 40);
}

#[test]
fn a_sweep_costs_as_much_as_there_is_to_compare() {
    let mut cluster = Cluster::new(10, 71);
    let sent = |cluster: &Cluster| cluster.sent.get("sync").copied().unwrap_or(0);
    cluster.advance(Span::from_secs(12 * 60));
    assert_eq!(sent(&cluster), 0, "nobody has anything");
    for index in 0..10 {
        slip(&mut cluster, index, &Owner::new(1), "with every member");
    }
    cluster.advance(Span::from_secs(12 * 60));
    // An open and a same for one bucket, of each of 10 members to 9 others, once in 10 minutes.
    let messages = sent(&cluster);
    assert!((180..300).contains(&messages), "{messages} messages");
}

#[test]
fn a_copy_that_was_refused_is_offered_again() {
    let mut cluster = Cluster::without_sweep(2, 72);
    // Node 1 is 80 s behind, and for it the item lies too far ahead.
    cluster.nodes[0].ahead = Span::from_secs(80);
    let alice = Owner::new(1);
    cluster.now = cluster.now + Span::from_secs(80);
    let operation = cluster.store_operation(&alice, "from the future", Span::from_days(1));
    cluster.now = cluster.now - Span::from_secs(80);
    let outcome = cluster.ask_one(0, operation);
    assert!(matches!(outcome, Outcome::Refused { .. }), "{outcome:?}");
    cluster.run();
    assert_eq!(cluster.contents(1).0.len(), 0);
    cluster.advance(Span::from_secs(20));
    assert_eq!(cluster.contents(1).0.len(), 0, "not at once");
    cluster.advance(Span::from_secs(60));
    assert_eq!(cluster.contents(1).0.len(), 1);
}

#[test]
fn a_session_that_never_ends_is_taken_up_again() {
    let mut cluster = Cluster::without_sweep(2, 73);
    let alice = Owner::new(1);
    cluster.stop(1);
    let operation = cluster.store_operation(&alice, "hello", Span::from_days(1));
    cluster.ask_one(0, operation);
    let (opens, steps) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
    let (seen, counted) = (Rc::clone(&opens), Rc::clone(&steps));
    // Once it was given everything, the other side says "go on" for ever.
    cluster.tamper = Some(Box::new(move |from, _, message| {
        Some(match message {
            PeerMessageOut::Sync(Sync::Open { .. }) if from == 0 => {
                seen.set(seen.get() + 1);
                message
            }
            PeerMessageOut::Sync(Sync::Same { session, .. } | Sync::Stop { session })
                if from == 1 && seen.get() == 1 =>
            {
                counted.set(counted.get() + 1);
                let keys = List::default();
                PeerMessageOut::Sync(Sync::Want { session, keys })
            }
            message => message,
        })
    }));
    cluster.start(1);
    cluster.run();
    assert!(steps.get() > 4_000, "{} steps", steps.get());
    cluster.advance(Span::from_secs(5));
    assert_eq!(opens.get(), 2, "compared again");
    assert_eq!(cluster.misbehaved, vec![]);
}

#[test]
fn a_slow_signer_blames_nobody() {
    let mut cluster = Cluster::new(2, 74);
    let alice = Owner::new(1);
    cluster.stalled = Some(1);
    let refused = Rc::new(Cell::new(0));
    let counted = Rc::clone(&refused);
    cluster.tamper = Some(Box::new(move |_, _, message| {
        if let PeerMessageOut::Receipts(receipts) = &message {
            let refused =
                |outcome: &&ReplicaOutcome| matches!(outcome, ReplicaOutcome::Refused { .. });
            counted.set(counted.get() + receipts.outcomes.iter().filter(refused).count());
        }
        Some(message)
    }));
    // 64 messages stay in flight; every 10 s they are given up and others are sent.
    for n in 0..400 {
        let operation = cluster.store_operation(&alice, &format!("{n}"), Span::from_days(1));
        cluster.send(0, vec![operation]);
        cluster.run();
        cluster.advance(Span::from_millis(150));
    }
    assert!(refused.get() > 0, "the bound was never reached");
    assert_eq!(cluster.misbehaved, vec![]);
    cluster.stalled = None;
    cluster.advance(Span::from_secs(120));
    assert_eq!(cluster.contents(1).0.len(), 400);
}
