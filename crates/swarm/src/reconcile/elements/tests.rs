use session_core::{MessageId, Namespace};
use session_storage::{MemoryStore, NewItem};

use super::*;

const NOW: Time = Time::from_millis(1_000);

const fn all(bucket: u8) -> Scope {
    Scope { bucket, range: RingRange::ALL }
}

fn put(store: &mut MemoryStore, first: u8, id: u8, expiry: u64) {
    let mut address = [9; 32];
    address[0] = first;
    let item = NewItem {
        namespace: Namespace(0),
        id: MessageId::from([id; 32]),
        timestamp: NOW,
        expiry: Time::from_millis(expiry),
        data: b"data",
    };
    store.put_item(&InboxAddress::from(address), item).unwrap();
}

fn sample() -> MemoryStore {
    let mut store = MemoryStore::new(1);
    put(&mut store, 7, 1, 2_000);
    put(&mut store, 7, 2, 3_000);
    put(&mut store, 7, 3, 1_000);
    put(&mut store, 8, 4, 2_000);
    store.put_record(Table::Operation, &[7; 64], b"operation", Time::from_millis(9_000)).unwrap();
    store.put_record(Table::Operation, &[8; 64], b"operation", Time::from_millis(9_000)).unwrap();
    store
}

/// Computed apart, from docs/wire/sync.md.
#[test]
fn digests_are_fixed() {
    let digest = |bucket| fingerprint(&sample(), all(bucket), NOW, &[5; 32]);
    let (empty, none) = digest(6);
    let (full, three) = digest(7);
    assert_eq!((none, three), (0, 3), "the expired item is left out");
    assert_eq!(
        empty.to_string(),
        "3166e21a47f54551b8040774a033b63e152c6c1fe5ace4b1571980059a67c4ec"
    );
    assert_eq!(
        full.to_string(),
        "61499c4281e587c1df51d269e46a6389a05f8df2397203d2d41076a9a1f372aa"
    );
}

#[test]
fn a_digest_depends_on_everything_but_the_order() {
    let digest = |store: &MemoryStore, nonce| fingerprint(store, all(7), NOW, &[nonce; 32]).0;
    let original = digest(&sample(), 5);
    assert_ne!(digest(&sample(), 6), original, "the nonce");
    let mut reversed = MemoryStore::new(2);
    reversed.put_record(Table::Operation, &[7; 64], b"", Time::from_millis(8_000)).unwrap();
    put(&mut reversed, 7, 2, 3_000);
    put(&mut reversed, 7, 1, 2_000);
    assert_eq!(digest(&reversed, 5), original);
    let address = InboxAddress::from({
        let mut address = [9; 32];
        address[0] = 7;
        address
    });
    reversed.set_expiry(&address, &MessageId::from([1; 32]), Time::from_millis(2_001)).unwrap();
    assert_ne!(digest(&reversed, 5), original, "an expiry");
}

#[test]
fn operations_sort_before_items() {
    let index = Index::new(&sample(), all(7), NOW, &[1; 32], &[2; 32]);
    let tags: Vec<u8> = index.places.keys().map(|name| name[0]).collect();
    assert_eq!(tags, [OPERATION, ITEM, ITEM]);
    let other = Index::new(&sample(), all(7), NOW, &[1; 32], &[3; 32]);
    assert!(other.places.keys().all(|name| !index.places.contains_key(name)));
}

#[test]
fn a_range_leaves_out_other_inboxes() {
    let place = place_of(&InboxAddress::from({
        let mut address = [9; 32];
        address[0] = 7;
        address
    }));
    let (mut store, key) = (sample(), [7; 64]);
    let counted = |store: &MemoryStore, first, last| {
        let range = RingRange { first, last };
        fingerprint(store, Scope { bucket: 7, range }, NOW, &[5; 32]).1
    };
    assert_eq!(counted(&store, place, place), 2, "the items of the one inbox");
    assert_eq!(counted(&store, place + 1, place - 1), 1, "the operation of another one");
    store.remove_record(Table::Operation, &key).unwrap();
    assert_eq!(counted(&store, place + 1, place - 1), 0);
}
