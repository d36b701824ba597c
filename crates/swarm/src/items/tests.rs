use std::collections::BTreeSet;

use session_core::Namespace;
use session_storage::MemoryStore;

use super::*;

const NOW: Time = Time::from_millis(1_000_000);
const UNTIL: Time = Time::from_millis(100_000_000);

#[derive(Clone, Copy, Debug)]
enum Event {
    Deposit(u64),
    Cap(u64),
    Floor(u64),
}

fn at(offset: u64) -> Time {
    NOW + Span::from_secs(offset)
}

fn item(expiry: Time) -> (ReplicaItem, MessageId) {
    let address = InboxAddress::from([1; 32]);
    let (namespace, data) = (Namespace(0), ItemBytes::new(b"x").unwrap());
    let id = inbox::message_id(&address, namespace, &data);
    (ReplicaItem { address, namespace, timestamp: NOW, expiry, data }, id)
}

fn happen(store: &mut MemoryStore, event: Event) {
    let (some, id) = item(NOW);
    match event {
        Event::Deposit(offset) => {
            keep(store, &item(at(offset)).0, &id, NOW).unwrap();
        }
        Event::Cap(offset) => {
            move_expiry(store, &some.address, &id, Move::Cap(at(offset)), UNTIL).unwrap();
        }
        Event::Floor(offset) => {
            move_expiry(store, &some.address, &id, Move::Floor(at(offset)), UNTIL).unwrap();
        }
    }
}

fn expiry(store: &MemoryStore) -> Option<Time> {
    let (some, id) = item(NOW);
    store.meta(&some.address, &id).map(|meta| meta.expiry)
}

fn orders(events: &[Event]) -> Vec<Vec<Event>> {
    if events.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for index in 0..events.len() {
        let mut rest = events.to_vec();
        let first = rest.remove(index);
        for mut order in orders(&rest) {
            order.insert(0, first);
            all.push(order);
        }
    }
    all
}

#[test]
fn every_order_gives_the_same_expiry() {
    use Event::{Cap, Deposit, Floor};
    let cases: [(&[Event], u64); 6] = [
        (&[Deposit(10), Deposit(30), Deposit(20)], 30),
        (&[Deposit(10), Deposit(30), Cap(20)], 20),
        (&[Deposit(10), Floor(50), Floor(40)], 50),
        (&[Deposit(10), Floor(50), Cap(20), Deposit(60)], 20),
        (&[Deposit(10), Floor(15), Cap(20), Cap(40), Deposit(12)], 15),
        (&[Deposit(30), Cap(5), Floor(8), Cap(7), Deposit(9)], 5),
    ];
    for (events, expected) in cases {
        for order in orders(events) {
            let mut store = MemoryStore::new(1);
            order.iter().for_each(|event| happen(&mut store, *event));
            assert_eq!(expiry(&store), Some(at(expected)), "{order:?}");
        }
    }
}

#[test]
fn a_copy_that_carries_its_outcome_converges_with_the_original() {
    use Event::{Cap, Deposit, Floor};
    // A member is given an item with the expiry it has elsewhere, not with what led to it.
    let first = [Cap(5), Cap(25), Floor(15), Floor(40)];
    let then = [Cap(3), Cap(20), Cap(35), Floor(8), Floor(30), Floor(60)];
    for before in first {
        for after in then {
            let mut original = MemoryStore::new(1);
            for event in [Deposit(10), before] {
                happen(&mut original, event);
            }
            let carried = expiry(&original).unwrap().since(NOW).as_millis() / 1000;
            happen(&mut original, after);
            let mut seen = BTreeSet::from([expiry(&original)]);
            for order in orders(&[Deposit(carried), before, after]) {
                let mut copy = MemoryStore::new(2);
                order.iter().for_each(|event| happen(&mut copy, *event));
                seen.insert(expiry(&copy));
            }
            assert_eq!(seen.len(), 1, "{before:?} then {after:?}: {seen:?}");
        }
    }
}

#[test]
fn an_item_shortened_into_the_past_is_not_taken() {
    let (some, id) = item(at(100));
    let mut store = MemoryStore::new(1);
    let past = NOW - Span::from_secs(1);
    move_expiry(&mut store, &some.address, &id, Move::Cap(past), UNTIL).unwrap();
    assert_eq!(keep(&mut store, &some, &id, NOW), Ok(Kept::Deleted));
    assert_eq!(expiry(&store), None);
}

/// Fills the room of one namespace of an inbox.
fn fill(store: &mut MemoryStore, address: &InboxAddress, namespace: Namespace) {
    for n in 0..INBOX_ITEMS_MAX {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        id[8] = namespace.0 as u8;
        let (timestamp, expiry, data) = (NOW, at(100), &b""[..]);
        let new = NewItem { namespace, id: id.into(), timestamp, expiry, data };
        store.put_item(address, new).unwrap();
    }
}

#[test]
fn an_inbox_has_a_bound() {
    let mut store = MemoryStore::new(1);
    let (more, id) = item(at(100));
    fill(&mut store, &more.address, Namespace(0));
    let refused = keep(&mut store, &more, &id, NOW).unwrap_err();
    assert_eq!(refused.to_string(), "the inbox is full: 100000 items");
}

#[test]
fn what_anybody_deposits_keeps_nobody_out() {
    let mut store = MemoryStore::new(1);
    let (some, _) = item(at(100));
    let into = |namespace| {
        let item = ReplicaItem { namespace, ..some.clone() };
        let id = inbox::message_id(&item.address, namespace, &item.data);
        (item, id)
    };
    // Messages and attachments share their room.
    fill(&mut store, &some.address, inbox::ATTACHMENTS);
    for namespace in [inbox::MESSAGES, inbox::ATTACHMENTS] {
        let (item, id) = into(namespace);
        let refused = keep(&mut store, &item, &id, NOW).unwrap_err();
        assert!(matches!(refused, Refusal::InboxFull { .. }), "{namespace:?}: {refused}");
    }
    for namespace in [inbox::IDENTITY_CARD, inbox::MANIFESTS, inbox::BOXES, inbox::COMMITS] {
        let (item, id) = into(namespace);
        let kept = keep(&mut store, &item, &id, NOW);
        assert!(matches!(kept, Ok(Kept::Stored { .. })), "{namespace:?}: {kept:?}");
    }
}
