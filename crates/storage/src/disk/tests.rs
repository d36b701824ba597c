use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;

use session_core::{Entropy, SeededEntropy};
use tempfile::TempDir;

use super::committer::{SegmentFile, Task};
use super::index::Index;
use super::*;

#[test]
fn a_failed_write_is_told_once_and_closes_the_store() {
    let dir = TempDir::new().expect("a temporary directory");
    let options = Options { shards: 1, ..Options::default() };
    let mut store = DiskStore::open(dir.path(), options).expect("opens");
    let address = InboxAddress::from([1; 32]);
    let put = |store: &mut DiskStore, number: u8| {
        let item = NewItem {
            namespace: Namespace(0),
            id: MessageId::from([number; 32]),
            timestamp: Time::from_millis(1),
            expiry: Time::from_millis(1000),
            data: b"bytes",
        };
        store.put_item(&address, item)
    };
    put(&mut store, 1).expect("stored");
    store.commit_sync().expect("commits");

    // A file that cannot be written stands for a disk that failed.
    let path = dir.path().join("STORE");
    let file = File::open(&path).expect("opens for reading");
    let file = Arc::new(SegmentFile { file, path, written: AtomicU32::new(0) });
    store.shards[0].tasks.push(Task::Write { file, at: 0, bytes: Arc::new(vec![1]) });
    let failed = store.commit_sync().expect_err("the write failed");
    assert!(matches!(failed, StoreError::Io { doing: "writing a segment", .. }), "{failed:?}");

    let closed = put(&mut store, 2).expect_err("closed");
    assert!(matches!(&closed, StoreError::Closed { why } if why.contains("writing a segment")));
    assert_eq!(
        store.remove_item(&address, &MessageId::from([1; 32]), TIME_MAX),
        Err(closed.clone())
    );
    assert_eq!(store.commit_sync(), Err(closed));
    let item = store.item(&address, &MessageId::from([1; 32])).expect("reads go on");
    assert_eq!(item.map(|item| item.data), Some(b"bytes".to_vec()));
}

#[test]
fn the_index_finds_what_a_map_finds() {
    let mut rng = SeededEntropy::new(5);
    let mut index = Index::default();
    let mut model: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    let address = |number: u64| InboxAddress::from([u8::try_from(number).expect("small"); 32]);
    let id = |number: u64| {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        MessageId::from(bytes)
    };
    for number in 1..60_000 {
        let key = (rng.below(20), rng.below(800));
        let (home, name) = (address(key.0), id(key.1));
        match index.find(&home, &name) {
            Some(slot) => {
                assert_eq!(model.remove(&key), Some(index.entry(slot).number));
                index.remove(slot);
            }
            None => {
                let meta = ItemMeta {
                    id: name,
                    namespace: Namespace(0),
                    timestamp: Time::ZERO,
                    expiry: Time::from_millis(rng.below(1 << 40)),
                    arrival: number,
                    size: 1,
                };
                index.insert(&home, Entry::item(&meta, 1, 0));
                assert_eq!(model.insert(key, number), None);
            }
        }
    }
    for home in 0..20 {
        for name in 0..800 {
            let found = index.item(&address(home), &id(name)).map(|entry| entry.number);
            assert_eq!(found, model.get(&(home, name)).copied());
        }
        let home_address = address(home);
        let order = index.after(&home_address, Namespace(0), 0).map(|entry| entry.number);
        let mut expected: Vec<_> = model.range((home, 0)..(home + 1, 0)).map(|e| *e.1).collect();
        expected.sort_unstable();
        assert!(order.eq(expected));
    }
    assert_eq!(index.totals().0, model.len() as u64);
    // Everything comes out of the wheel in the order of expiry.
    index.advance(TIME_MAX);
    let (mut before, mut touched) = ((0, 0), BTreeSet::new());
    while let Some((expiry, number, slot)) = index.first_due() {
        assert!((expiry, number) > before);
        before = (expiry, number);
        touched.insert(index.expire(slot).1);
    }
    index.sweep(&touched);
    assert_eq!(index.totals(), (0, 0, 0));
}

#[test]
fn an_entry_takes_72_bytes() {
    assert_eq!(size_of::<Entry>(), 72);
}

#[test]
fn a_store_can_move_to_the_thread_of_its_machine() {
    fn assert_send<T: Send>() {}
    assert_send::<DiskStore>();
    assert_send::<crate::MemoryStore>();
}
