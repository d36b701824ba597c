use session_core::{InboxAddress, Span, Time};
use session_protocol::limits::INBOX_OPERATIONS_MAX;
use session_storage::{MemoryStore, Store as _, Table};

use super::{COUNTED_MAX, Counts, RECOUNT, record_key};

const NOW: Time = Time::from_millis(1_700_000_000_000);

fn numbered(number: usize) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&(number as u64).to_be_bytes());
    bytes
}

#[test]
fn a_full_inbox_has_room_again_when_operations_expire() {
    let (mut store, mut counts) = (MemoryStore::new(1), Counts::default());
    let address = InboxAddress::from([7; 32]);
    let put = |store: &mut MemoryStore, number: usize, expiry: Time| {
        let key = record_key(&address, &numbered(number));
        store.put_record(Table::Operation, &key, b"", expiry).expect("memory takes it");
    };
    put(&mut store, 0, NOW + Span::from_secs(10));
    for number in 1..INBOX_OPERATIONS_MAX {
        assert!(counts.has_room(&store, &address, NOW), "{number}");
        put(&mut store, number, NOW + Span::from_secs(100));
        counts.note(&address);
    }
    assert!(!counts.has_room(&store, &address, NOW));
    let now = NOW + Span::from_secs(10);
    assert_eq!(store.purge(now).records, 1);
    // Not counted again for every attempt.
    assert!(!counts.has_room(&store, &address, now));
    let later = NOW + RECOUNT;
    assert!(counts.has_room(&store, &address, later));
    put(&mut store, 0, NOW + Span::from_secs(100));
    counts.note(&address);
    assert!(!counts.has_room(&store, &address, later));
}

#[test]
fn counts_are_bounded() {
    let (store, mut counts) = (MemoryStore::new(1), Counts::default());
    for number in 0..2 * COUNTED_MAX + 1 {
        assert!(counts.has_room(&store, &InboxAddress::from(numbered(number)), NOW));
        assert!(counts.inboxes.len() <= COUNTED_MAX);
    }
    assert_eq!(counts.inboxes.len(), 1);
}
