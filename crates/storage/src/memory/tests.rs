use session_core::{InboxAddress, MessageId, Namespace, Time};

use super::*;

const ADDRESS: [u8; 32] = [1; 32];

fn at(millis: u64) -> Time {
    Time::from_millis(millis)
}

fn address() -> InboxAddress {
    InboxAddress::from(ADDRESS)
}

fn id(number: u8) -> MessageId {
    MessageId::from([number; 32])
}

fn put(store: &mut MemoryStore, number: u8, expiry: u64) -> Put {
    let item = NewItem {
        namespace: Namespace(0),
        id: id(number),
        timestamp: at(1),
        expiry: at(expiry),
        data: &[number; 10],
    };
    store.put_item(&address(), item).expect("memory takes it")
}

#[test]
fn a_crash_undoes_exactly_what_was_not_committed() {
    let mut store = MemoryStore::new(1);
    for number in 0..4 {
        put(&mut store, number, 1000);
    }
    store.put_record(Table::Meta, b"kept", b"old", at(1000)).expect("written");
    store.put_record(Table::Meta, b"gone", b"old", at(1000)).expect("written");
    store.commit_now();
    let before = store.stats();

    put(&mut store, 9, 1000);
    assert_eq!(store.remove_item(&address(), &id(0), at(5000)), Ok(true));
    assert_eq!(store.remove_item(&address(), &id(77), at(5000)), Ok(false));
    assert_eq!(store.set_expiry(&address(), &id(1), at(50)), Ok(true));
    store.put_record(Table::Meta, b"kept", b"new", at(2000)).expect("written");
    assert_eq!(store.remove_record(Table::Meta, b"gone"), Ok(true));
    assert_eq!(store.purge(at(60)), Purged { items: 1, ..Purged::default() });
    store.crash();

    assert_eq!(store.stats(), before);
    assert_eq!(store.meta(&address(), &id(9)), None);
    assert_eq!(store.tombstone(&address(), &id(0)), None);
    assert_eq!(store.tombstone(&address(), &id(77)), None);
    let data = |number| store.item(&address(), &id(number)).map(|item| item.map(|i| i.data));
    assert_eq!(data(0), Ok(Some(vec![0; 10])));
    assert_eq!(store.meta(&address(), &id(1)).map(|meta| meta.expiry), Some(at(1000)));
    assert_eq!(store.record(Table::Meta, b"kept"), Ok(Some(b"old".to_vec())));
    assert_eq!(store.record(Table::Meta, b"gone"), Ok(Some(b"old".to_vec())));
    // A crash gives no arrival numbers back.
    let newest = store.meta(&address(), &id(3)).expect("kept").arrival;
    assert!(matches!(put(&mut store, 10, 1000), Put::Stored { arrival } if arrival > newest + 1));
}

#[test]
fn a_limit_refuses_items_and_nothing_else() {
    let mut store = MemoryStore::new(1).with_limit(15);
    put(&mut store, 1, 1000);
    let item = NewItem {
        namespace: Namespace(0),
        id: id(2),
        timestamp: at(1),
        expiry: at(1000),
        data: &[0; 10],
    };
    assert_eq!(store.put_item(&address(), item), Err(StoreError::Full { needed: 10, free: 5 }));
    assert_eq!(store.remove_item(&address(), &id(1), at(1)), Ok(true));
    assert!(matches!(store.put_item(&address(), item), Ok(Put::Stored { .. })));
}

#[test]
fn purging_stops_at_its_bound_and_says_so() {
    let mut store = MemoryStore::new(1);
    for number in 0..=PURGE_MAX as u64 {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        store.remove_item(&address(), &MessageId::from(bytes), at(10)).expect("removed");
    }
    let purged = store.purge(at(10));
    assert_eq!(purged, Purged { tombstones: PURGE_MAX as u64, more: true, ..Purged::default() });
    assert_eq!(store.purge(at(10)), Purged { tombstones: 1, ..Purged::default() });
    assert_eq!(store.stats(), Stats::default());
}
