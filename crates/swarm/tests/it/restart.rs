//! Members whose crash kept the record of an owner operation and lost what it did.

use session_core::{Encode as _, List, MessageId, Span, Time};
use session_protocol::inbox::MESSAGES;
use session_protocol::limits::TOMBSTONE_TTL;
use session_protocol::owner::{ExpireMode, OwnerAction};
use session_protocol::request::{Cursor, Operation, Outcome, Refusal, Select};
use session_storage::{MemoryStore, NewItem, Store as _, Table};

use crate::cluster::{Cluster, Owner};
use crate::owners::retrieve;

const LIFE: Span = Span::from_days(1);

/// Stops the first member of a cluster whose members all know `operation`, and has it start with
/// the record of it, and the items as they were before.
fn crash_between(cluster: &mut Cluster, owner: &Owner, texts: &[&str], operation: &Operation) {
    let Operation::Owner { operation } = operation else { panic!() };
    cluster.stop(0);
    let mut store = MemoryStore::new(7);
    for text in texts {
        let id = id_of(owner, text);
        let (timestamp, expiry) = (cluster.now, cluster.now + LIFE);
        let data = text.as_bytes();
        let item = NewItem { namespace: MESSAGES, id, timestamp, expiry, data };
        store.put_item(&owner.address(), item).unwrap();
    }
    let id = operation.signed_bytes(cluster.network());
    let key = [owner.address().as_ref(), &id[..]].concat();
    let until = operation.authorization.timestamp() + TOMBSTONE_TTL;
    store.put_record(Table::Operation, &key, &operation.to_bytes(), until).unwrap();
    store.commit_now();
    cluster.nodes[0].store = store;
}

fn id_of(owner: &Owner, text: &str) -> MessageId {
    session_protocol::inbox::message_id(&owner.address(), MESSAGES, text.as_bytes())
}

fn read(cluster: &mut Cluster, owner: &Owner) -> Vec<(MessageId, Time)> {
    let select = Select::After { cursor: Cursor::default() };
    let (items, _, _) = retrieve(cluster, owner, 0, select, u32::MAX);
    items.into_iter().map(|item| (item.id, item.expiry)).collect()
}

#[test]
fn half_a_deletion_is_completed_before_anything_is_served() {
    let mut cluster = Cluster::new(4, 60);
    let alice = Owner::new(1);
    let (gone, stays) = (cluster.deposit(0, &alice, "gone"), cluster.deposit(0, &alice, "stays"));
    cluster.run();
    let operation = cluster.signed(&alice, OwnerAction::Delete { ids: List::new([gone]).unwrap() });
    assert!(matches!(cluster.ask_one(1, operation.clone()), Outcome::Deleted { .. }));
    cluster.run();
    crash_between(&mut cluster, &alice, &["gone", "stays"], &operation);
    cluster.start(0);
    // At once: no tick, no other member.
    let served: Vec<MessageId> = read(&mut cluster, &alice).iter().map(|(id, _)| *id).collect();
    assert_eq!(served, [stays]);
    cluster.advance(Span::from_secs(30));
    cluster.assert_same();
    assert_eq!(cluster.holders(&alice.address(), &gone), 0);
}

#[test]
fn half_a_shortening_is_completed_before_anything_is_served() {
    let mut cluster = Cluster::new(4, 61);
    let alice = Owner::new(1);
    let id = cluster.deposit(0, &alice, "short");
    cluster.run();
    let expiry = cluster.now + Span::from_secs(600);
    let (ids, mode) = (List::new([id]).unwrap(), ExpireMode::Shorten);
    let operation = cluster.signed(&alice, OwnerAction::Expire { ids, expiry, mode });
    assert!(matches!(cluster.ask_one(1, operation.clone()), Outcome::Expiring { .. }));
    cluster.run();
    crash_between(&mut cluster, &alice, &["short"], &operation);
    cluster.start(0);
    assert_eq!(read(&mut cluster, &alice), [(id, expiry)]);
}

#[test]
fn half_a_deletion_is_completed_before_the_item_is_taken_again() {
    let mut cluster = Cluster::new(4, 62);
    let alice = Owner::new(1);
    let id = cluster.deposit(0, &alice, "gone");
    let operation = cluster.signed(&alice, OwnerAction::Delete { ids: List::new([id]).unwrap() });
    assert!(matches!(cluster.ask_one(1, operation.clone()), Outcome::Deleted { .. }));
    cluster.run();
    crash_between(&mut cluster, &alice, &[], &operation);
    cluster.start(0);
    let again = cluster.store_operation(&alice, "gone", LIFE);
    assert_eq!(cluster.refused(0, again), Refusal::Deleted);
}

#[test]
fn what_nobody_asks_for_is_completed_too() {
    let mut cluster = Cluster::new(1, 63);
    let mut operations = Vec::new();
    for n in 0..20 {
        let owner = Owner::new(n);
        let id = id_of(&owner, "gone");
        let action = OwnerAction::Delete { ids: List::new([id]).unwrap() };
        operations.push((owner, cluster.signed(&Owner::new(n), action)));
    }
    let mut store = MemoryStore::new(8);
    for (owner, operation) in &operations {
        crash_between(&mut cluster, owner, &["gone"], operation);
        let node = &cluster.nodes[0].store;
        let address = owner.address();
        let stored = node.item(&address, &id_of(owner, "gone")).unwrap().unwrap();
        let (id, data) = (stored.meta.id, &stored.data[..]);
        let (timestamp, expiry) = (stored.meta.timestamp, stored.meta.expiry);
        let item = NewItem { namespace: MESSAGES, id, timestamp, expiry, data };
        store.put_item(&address, item).unwrap();
        for (key, until) in node.records(Table::Operation, &[]) {
            let value = node.record(Table::Operation, &key).unwrap().unwrap();
            store.put_record(Table::Operation, &key, &value, until).unwrap();
        }
    }
    // One that cannot be read is given up, so that the others send it again.
    let until = cluster.now + LIFE;
    store.put_record(Table::Operation, &[1; 64], b"not an operation", until).unwrap();
    store.commit_now();
    cluster.nodes[0].store = store;
    cluster.start(0);
    cluster.advance(Span::from_secs(1));
    let stats = cluster.nodes[0].store.stats();
    assert_eq!((stats.items, stats.tombstones, stats.records), (0, 20, 20));
    // A second start writes nothing.
    let before = cluster.nodes[0].store.latest_arrival();
    cluster.stop(0);
    cluster.start(0);
    cluster.advance(Span::from_secs(1));
    assert_eq!(cluster.nodes[0].store.latest_arrival(), before);
}
