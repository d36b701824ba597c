//! No bytes on disk make the scan panic, and damage never turns into another record.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_core::{InboxAddress, MessageId, Namespace, Time};
use session_storage::disk::decode_segment;
use session_storage::{DiskStore, NewItem, Options, Store};

/// The segments of a store with a few groups of items and removals.
static SEGMENTS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let dir = tempfile::tempdir().expect("a directory");
    let options = Options { shards: 1, segment_bytes: 1024 * 1024, bytes_max: None };
    let mut store = DiskStore::open(dir.path(), options).expect("an empty directory");
    let inbox = InboxAddress::from([1; 32]);
    for number in 1..=6u8 {
        let item = NewItem {
            namespace: Namespace(0),
            id: MessageId::from([number; 32]),
            timestamp: Time::from_millis(1_000),
            expiry: Time::from_millis(61_000),
            data: &[number; 100],
        };
        store.put_item(&inbox, item).expect("room");
        if number.is_multiple_of(2) {
            let until = Time::from_millis(61_000);
            store.remove_item(&inbox, &MessageId::from([number; 32]), until).expect("room");
            store.commit_sync().expect("a disk");
        }
    }
    store.close().expect("a disk");
    let mut segments = Vec::new();
    collect(dir.path(), &mut segments);
    assert!(!segments.is_empty(), "a store has segments");
    segments
});

fn collect(dir: &Path, out: &mut Vec<Vec<u8>>) {
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, out);
            continue;
        }
        let mut bytes = std::fs::read(&path).expect("a file");
        if decode_segment(&bytes).is_ok_and(|segment| !segment.heads.is_empty()) {
            // The zeros behind the last group are room for more: a few show as much as all.
            let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            bytes.truncate(end + 64);
            out.push(bytes);
        }
    }
}

/// Damage of up to four bytes in a row: CRC-32 sees every such burst.
fn damaged(which: u8, place: u16, change: [u8; 4], cut: u16) {
    let original = &SEGMENTS[usize::from(which) % SEGMENTS.len()];
    let whole = decode_segment(original).expect("a segment");
    let mut bytes = original.clone();
    let place = usize::from(place) % bytes.len();
    for (byte, change) in bytes[place..].iter_mut().zip(change) {
        *byte ^= change;
    }
    bytes.truncate(bytes.len().saturating_sub(usize::from(cut)));
    let Ok(segment) = decode_segment(&bytes) else { return };
    assert_eq!(segment.header, whole.header);
    for head in &segment.heads {
        assert!(whole.heads.contains(head), "damage made a record: {head:?}");
    }
}

fuzz_target!(|input: &[u8]| {
    match input {
        [0, which, p0, p1, c0, c1, c2, c3, rest @ ..] => {
            let cut = rest.first_chunk().map_or(0, |cut| u16::from_be_bytes(*cut));
            damaged(*which, u16::from_be_bytes([*p0, *p1]), [*c0, *c1, *c2, *c3], cut);
        }
        [1, bytes @ ..] => {
            // Behind a true header, the checks of groups are reached.
            let mut segment = SEGMENTS[0][..40].to_vec();
            segment.extend_from_slice(bytes);
            let decoded = decode_segment(&segment).expect("the header is whole");
            assert!(decoded.scanned.tail as usize <= segment.len());
        }
        bytes => drop(decode_segment(bytes)),
    }
});
