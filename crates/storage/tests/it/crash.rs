//! Crashes and damage: what was acknowledged stays, what is torn is cut, what is flipped is
//! reported and not served, what was removed does not come back.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use session_core::{InboxAddress, Namespace};
use session_storage::disk::{SegmentRecord, decode_segment};
use session_storage::{
    DiskStore, Durable, OpenError, Options, PageLimit, Put, Store, StoreError, Table,
};
use tempfile::TempDir;

use crate::world::{DAY, HOUR, NOW, at, data, id, inbox, item, options};

/// One shard, so that a test knows where its items are.
fn single() -> Options {
    Options { shards: 1, ..options() }
}

fn fresh(options: Options) -> (TempDir, DiskStore) {
    let dir = TempDir::new().expect("a temporary directory");
    let store = DiskStore::open(dir.path(), options).expect("a new store opens");
    (dir, store)
}

fn put(
    store: &mut DiskStore,
    address: &InboxAddress,
    number: u64,
    expiry: u64,
    size: usize,
) -> u64 {
    let bytes = data(number, size);
    match store.put_item(address, item(number, expiry, &bytes)) {
        Ok(Put::Stored { arrival }) => arrival,
        other => panic!("{number} was not stored: {other:?}"),
    }
}

fn holds(store: &DiskStore, address: &InboxAddress, number: u64, size: usize) -> bool {
    match store.item(address, &id(number)) {
        Ok(Some(found)) => {
            assert_eq!(found.data, data(number, size), "item {number}");
            true
        }
        Ok(None) | Err(StoreError::Corrupt { .. }) => false,
        Err(other) => panic!("item {number}: {other}"),
    }
}

/// What a crash leaves: a copy of the files as they are now.
fn copy(from: &Path) -> TempDir {
    let to = TempDir::new().expect("a temporary directory");
    copy_into(from, to.path());
    to
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("listed");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).expect("made");
            copy_into(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).expect("copied");
        }
    }
}

/// The segments of a store that hold items.
fn item_segments(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .expect("listed")
        .map(|entry| entry.expect("listed").path())
        .filter(|path| path.is_dir())
        .flat_map(|shard| fs::read_dir(shard).expect("listed"))
        .map(|entry| entry.expect("listed").path())
        .filter(|path| {
            let bytes = fs::read(path).expect("read");
            let heads = decode_segment(&bytes).expect("whole").heads;
            matches!(heads.first(), Some(SegmentRecord::Item { .. }))
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_crash_at_any_time_keeps_what_was_acknowledged() {
    let (dir, mut store) = fresh(options());
    for number in 0..20_u64 {
        let address = inbox(u8::try_from(number % 5).expect("small"));
        put(&mut store, &address, number, NOW + DAY, 3000);
        store.commit_sync().expect("commits");
        // Never committed, so never acknowledged.
        put(&mut store, &address, 1000 + number, NOW + DAY, 3000);
        let copy = copy(dir.path());
        let after = DiskStore::open(copy.path(), options()).expect("opens");
        assert_eq!((after.report().corrupt, after.report().cut_bytes), (0, 0));
        for acknowledged in 0..=number {
            let address = inbox(u8::try_from(acknowledged % 5).expect("small"));
            assert!(holds(&after, &address, acknowledged, 3000), "{acknowledged} of {number}");
        }
        assert_eq!(after.meta(&address, &id(1000 + number)), None);
    }
}

#[test]
fn a_torn_tail_is_cut_wherever_it_tears() {
    let (dir, mut store) = fresh(single());
    let address = inbox(1);
    put(&mut store, &address, 1, NOW + DAY, 100);
    store.commit_sync().expect("commits");
    let segment = item_segments(dir.path()).remove(0);
    let first = decode_segment(&fs::read(&segment).expect("read")).expect("whole").scanned.tail;
    put(&mut store, &address, 2, NOW + DAY, 50);
    put(&mut store, &address, 3, NOW + DAY, 50);
    store.commit_sync().expect("commits");
    let second = decode_segment(&fs::read(&segment).expect("read")).expect("whole").scanned.tail;
    drop(store);

    // Every single length is tried on bytes in memory, where a segment is scanned.
    for length in (first..second).step_by(7).chain([second - 1, second]) {
        let copy = copy(dir.path());
        let segment = item_segments(copy.path()).remove(0);
        let file = fs::File::options().write(true).open(&segment).expect("opens");
        file.set_len(length.into()).expect("cut");
        // A file system may as well have kept the length and lost the contents.
        if length % 2 == 0 {
            file.set_len(u64::from(second) + 4096).expect("extended");
        }
        let mut store = DiskStore::open(copy.path(), single()).expect("opens");
        assert!(holds(&store, &address, 1, 100), "cut at {length}");
        let report = store.report().clone();
        if length == second {
            assert!(holds(&store, &address, 2, 50) && holds(&store, &address, 3, 50));
        } else if length > first {
            assert!(report.cut_bytes > 0 || report.corrupt > 0, "cut at {length}: {report:?}");
        }
        // What comes next is stored behind the cut, and found again.
        put(&mut store, &address, 4, NOW + DAY, 70);
        store.commit_sync().expect("commits");
        drop(store);
        let store = DiskStore::open(copy.path(), single()).expect("opens again");
        assert!(holds(&store, &address, 1, 100) && holds(&store, &address, 4, 70));
    }
}

/// A store with one segment of seven items in four groups, and what is in each.
fn seven_items(sealed: bool) -> (TempDir, InboxAddress) {
    let (dir, mut store) = fresh(single());
    let address = inbox(1);
    for (number, commit) in [(1, true), (2, false), (3, false), (4, true), (5, true), (6, false)] {
        put(&mut store, &address, number, NOW + 30 * DAY, 40);
        if commit {
            store.commit_sync().expect("commits");
        }
    }
    put(&mut store, &address, 7, NOW + 30 * DAY, 40);
    store.commit_sync().expect("commits");
    if sealed {
        store.purge(at(NOW));
        store.purge(at(NOW + 4 * DAY));
        store.commit_sync().expect("commits");
    }
    (dir, address)
}

#[test]
fn a_flipped_bit_costs_at_most_its_own_record() {
    for sealed in [false, true] {
        let (dir, address) = seven_items(sealed);
        let segment = item_segments(dir.path()).remove(0);
        let whole = fs::read(&segment).expect("read");
        let tail = decode_segment(&whole).expect("whole").scanned.tail as usize;
        assert_eq!(decode_segment(&whole).expect("whole").scanned.sealed, sealed);
        for at in 40..tail {
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            let decoded = decode_segment(&flipped).expect("the header is whole");
            let scanned = decoded.scanned;
            assert!(decoded.heads.len() >= 6, "flipped at {at}: {scanned:?}");
            assert!(scanned.corrupt + scanned.cut_bytes > 0, "flipped at {at}: {scanned:?}");
        }
        for at in (0..tail).step_by(29) {
            let copy = copy(dir.path());
            let mut flipped = whole.clone();
            flipped[at] ^= 0x10;
            let damaged = copy.path().join(segment.strip_prefix(dir.path()).expect("inside"));
            fs::write(&damaged, &flipped).expect("written");
            let store = DiskStore::open(copy.path(), single()).expect("opens");
            let found = (1..=7).filter(|number| holds(&store, &address, *number, 40)).count();
            assert!(found >= 6, "flipped at {at}: {found} left");
            let limit = PageLimit { items: 100, bytes: 100_000 };
            let page =
                store.items_after(&address, Namespace(0), 0, limit, at_now()).expect("reads");
            assert_eq!(page.items.len(), found, "flipped at {at}: pages leave damage out");
            let noticed = store.stats().corrupt + store.report().cut_bytes;
            assert!(noticed > 0, "flipped at {at}: {:?}", store.report());
        }
    }
}

fn at_now() -> session_core::Time {
    at(NOW)
}

#[test]
fn a_flipped_bit_is_reported_when_it_is_read() {
    let (dir, mut store) = fresh(single());
    let address = inbox(1);
    put(&mut store, &address, 1, NOW + DAY, 500);
    put(&mut store, &address, 2, NOW + DAY, 500);
    store.commit_sync().expect("commits");
    let segment = item_segments(dir.path()).remove(0);
    let mut bytes = fs::read(&segment).expect("read");
    bytes[40 + 16 + 7] ^= 1;
    fs::write(&segment, &bytes).expect("written");
    // Bytes that are in flight are read from memory; a later commit lets go of them.
    put(&mut store, &address, 3, NOW + DAY, 500);
    store.commit_sync().expect("commits");
    assert!(matches!(
        store.item(&address, &id(1)),
        Err(StoreError::Corrupt { what: "item", shard: 0, offset: 56, .. })
    ));
    assert!(holds(&store, &address, 2, 500));
    assert_eq!(store.stats().corrupt, 1);
}

#[test]
fn a_store_file_that_is_damaged_missing_or_of_another_version_is_refused() {
    let (dir, mut store) = fresh(single());
    put(&mut store, &inbox(1), 1, NOW + DAY, 10);
    store.commit_sync().expect("commits");
    drop(store);
    let path = dir.path().join("STORE");
    let whole = fs::read(&path).expect("read");
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 4;
        fs::write(&path, &flipped).expect("written");
        let refused = DiskStore::open(dir.path(), single());
        assert!(matches!(refused, Err(OpenError::StoreFile { .. })), "flipped at {at}");
    }
    fs::remove_file(&path).expect("removed");
    let refused = DiskStore::open(dir.path(), single());
    assert!(matches!(refused, Err(OpenError::StoreFileMissing { .. })));
    fs::write(&path, &whole).expect("written");
    let store = DiskStore::open(dir.path(), single()).expect("opens");
    assert!(holds(&store, &inbox(1), 1, 10));
}

#[test]
fn a_directory_has_one_owner_and_keeps_others_out() {
    use std::os::unix::fs::PermissionsExt;
    let parent = TempDir::new().expect("a temporary directory");
    let dir = parent.path().join("node/store");
    let store = DiskStore::open(&dir, options()).expect("opens");
    let refused = DiskStore::open(&dir, options()).expect_err("it is open");
    assert!(matches!(&refused, OpenError::Locked { dir: named } if *named == dir));
    assert!(refused.to_string().contains("node/store"), "{refused}");
    for path in [dir.clone(), dir.join("00")] {
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700, "{}", path.display());
    }
    drop(store);
    DiskStore::open(&dir, options()).expect("free again");
}

#[test]
fn options_out_of_range_are_refused() {
    let dir = TempDir::new().expect("a temporary directory");
    let refused = DiskStore::open(dir.path(), Options { shards: 0, ..options() });
    assert!(matches!(refused, Err(OpenError::Option { name: "shards", got: 0, .. })));
    let refused = DiskStore::open(dir.path(), Options { segment_bytes: 1, ..options() });
    assert!(matches!(refused, Err(OpenError::Option { name: "segment_bytes", .. })));
}

#[test]
fn arrival_numbers_are_never_used_twice() {
    let (dir, mut store) = fresh(options());
    let incarnation = store.incarnation();
    let first = put(&mut store, &inbox(1), 1, NOW + 1000, 10);
    store.commit_sync().expect("commits");
    // Stored but lost: whoever was told would have been told after the commit, yet be careful.
    let lost = put(&mut store, &inbox(2), 2, NOW + 1000, 10);
    drop(store);
    let mut store = DiskStore::open(dir.path(), options()).expect("opens");
    let second = put(&mut store, &inbox(1), 3, NOW + 1000, 10);
    assert!(first < lost && lost < second);
    // The newest expires, its segment goes, and the store is closed in order.
    for late in 1..4 {
        store.purge(at(NOW + late * 5 * DAY));
        store.commit_sync().expect("commits");
    }
    assert_eq!(store.stats().items, 0);
    store.close().expect("closes");
    let mut store = DiskStore::open(dir.path(), options()).expect("opens");
    assert_eq!(store.incarnation(), incarnation);
    let third = put(&mut store, &inbox(1), 4, NOW + 30 * DAY, 10);
    assert_eq!(third, second + 1, "an orderly close wastes no numbers");
}

#[test]
fn a_full_store_refuses_items_and_serves_on() {
    let options = Options { bytes_max: Some(8 * 1024 * 1024), ..options() };
    let (dir, mut store) = fresh(options);
    let address = inbox(1);
    let mut stored = 0;
    let full = loop {
        let bytes = data(stored, 10_000);
        match store.put_item(&address, item(stored, NOW + 5 * DAY, &bytes)) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        if stored % 50 == 0 {
            store.commit_sync().expect("commits");
        }
    };
    assert!(matches!(full, StoreError::Full { needed, free } if needed > 0 && free < 1 << 20));
    assert!(stored > 500, "{stored} were stored");
    assert!(store.stats().disk_bytes <= 8 * 1024 * 1024);
    // Reads, removals, changes and records go on.
    store.commit_sync().expect("commits");
    assert!(holds(&store, &address, 0, 10_000));
    store.put_record(Table::Operation, b"signed", b"removal", at(NOW + DAY)).expect("has room");
    for number in 0..stored {
        assert_eq!(store.remove_item(&address, &id(number), at(NOW + DAY)), Ok(true), "{number}");
    }
    store.commit_sync().expect("commits");
    // Whole segments are dead now: the sealed ones go at once.
    store.purge(at(NOW));
    store.commit_sync().expect("commits");
    for number in 0..200 {
        put(&mut store, &address, 10_000 + number, NOW + 5 * DAY, 10_000);
    }
    store.commit_sync().expect("commits");
    drop(store);
    let store = DiskStore::open(dir.path(), options).expect("opens");
    assert_eq!(store.inbox_usage(&address, Namespace(0)).items, 200);
    assert_eq!(store.meta(&address, &id(0)), None);
}

#[test]
fn what_was_removed_stays_removed_when_its_tombstone_ends_first() {
    let (dir, mut store) = fresh(single());
    let address = inbox(1);
    for number in 0..10 {
        put(&mut store, &address, number, NOW + 30 * DAY, 2000);
    }
    store.commit_sync().expect("commits");
    store.remove_item(&address, &id(3), at(NOW + HOUR)).expect("removed");
    store.set_expiry(&address, &id(4), at(NOW + HOUR)).expect("changed");
    store.commit_sync().expect("commits");
    for day in 0..12 {
        store.purge(at(NOW + 2 * HOUR + day * DAY));
        store.commit_sync().expect("commits");
        assert_eq!(store.tombstone(&address, &id(3)), None, "ended");
        let copy = copy(dir.path());
        let mut after = DiskStore::open(copy.path(), single()).expect("opens");
        after.purge(at(NOW + 2 * HOUR + day * DAY));
        assert_eq!(after.meta(&address, &id(3)), None, "day {day}");
        assert_eq!(after.meta(&address, &id(4)), None, "day {day}");
        assert_eq!(after.inbox_usage(&address, Namespace(0)).items, 8);
    }
}

#[test]
fn emptying_a_segment_survives_a_crash_at_every_step() {
    let (dir, mut store) = fresh(single());
    let address = inbox(1);
    for number in 0..180 {
        put(&mut store, &address, number, NOW + 30 * DAY, 50_000);
    }
    store.commit_sync().expect("commits");
    let full = store.stats().disk_bytes;
    for number in (0..180).filter(|number| number % 4 != 0) {
        store.remove_item(&address, &id(number), at(NOW + HOUR)).expect("removed");
    }
    store.set_expiry(&address, &id(8), at(NOW + 20 * DAY)).expect("changed");
    store.commit_sync().expect("commits");
    let mut steps = 0;
    while store.stats().disk_bytes > full / 2 {
        store.purge(at(NOW + 2 * HOUR));
        store.commit_sync().expect("commits");
        steps += 1;
        assert!(steps < 100, "{:?}", store.stats());
        if steps % 3 == 1 {
            let copy = copy(dir.path());
            let mut after = DiskStore::open(copy.path(), single()).expect("opens");
            after.purge(at(NOW + 2 * HOUR));
            after.commit_sync().expect("commits");
            for number in 0..180 {
                assert_eq!(holds(&after, &address, number, 50_000), number % 4 == 0, "{number}");
            }
            let expiry = after.meta(&address, &id(8)).map(|meta| meta.expiry);
            assert_eq!(expiry, Some(at(NOW + 20 * DAY)));
        }
    }
    assert!(steps > 3, "it is done in steps");
    for number in (0..180).step_by(4) {
        assert!(holds(&store, &address, number, 50_000), "{number}");
    }
}

#[test]
fn callbacks_come_in_order_and_writes_are_read_before_they_are_durable() {
    let (_dir, mut store) = fresh(options());
    let (sender, receiver) = mpsc::channel();
    for number in 0..300_u64 {
        let address = inbox(u8::try_from(number % 7).expect("small"));
        // Every third commit has nothing to write.
        if number % 3 != 0 {
            put(&mut store, &address, number, NOW + DAY, 100);
            assert!(holds(&store, &address, number, 100), "not committed yet");
        }
        let sender = sender.clone();
        store.commit(Box::new(move |result| {
            result.expect("durable");
            sender.send(number).expect("received below");
        }));
        if number % 3 != 0 {
            assert!(holds(&store, &address, number, 100), "in flight");
        }
    }
    drop(sender);
    let order: Vec<u64> = (0..300).map(|_| receiver.recv().expect("called back")).collect();
    assert!(order.is_sorted());
    assert_eq!(store.in_flight(), 0);
}

#[test]
fn what_is_too_long_is_refused_by_name() {
    let (_dir, mut store) = fresh(options());
    let long = vec![0; 128 * 1024 + 1];
    assert_eq!(
        store.put_item(&inbox(1), item(1, NOW + DAY, &long)),
        Err(StoreError::TooLarge { field: "item", got: 131_073, limit: 131_072 })
    );
    let put = store.put_record(Table::Peer, &long[..129], b"", at(NOW));
    assert!(matches!(put, Err(StoreError::TooLarge { field: "record key", got: 129, .. })));
    let put = store.put_record(Table::Peer, b"key", &long[..65_537], at(NOW));
    assert!(matches!(put, Err(StoreError::TooLarge { field: "record value", .. })));
    let largest = &long[..128 * 1024];
    assert!(matches!(
        store.put_item(&inbox(1), item(1, NOW + DAY, largest)),
        Ok(Put::Stored { .. })
    ));
}
