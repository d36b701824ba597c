use session_core::testing::check_codec;
use session_core::{Span, Time};
use session_protocol::inbox::{ATTACHMENTS, MESSAGES};
use session_protocol::request::ItemBytes;

use super::*;

fn item(number: u64) -> Item {
    let mut id = [0; 32];
    id[24..].copy_from_slice(&number.to_be_bytes());
    Item {
        id: id.into(),
        namespace: MESSAGES,
        timestamp: Time::ZERO,
        expiry: Time::ZERO + Span::from_days(1),
        arrival: number,
        data: ItemBytes::default(),
    }
}

fn page(node: u8, namespace: Namespace, arrival: u64, numbers: &[u64]) -> Page {
    Page {
        node: [node; 32].into(),
        namespace,
        items: numbers.iter().map(|number| item(*number)).collect(),
        cursor: Cursor { incarnation: 3, arrival },
        more: false,
    }
}

#[test]
fn golden_bytes() {
    let mut reader = InboxReader::new();
    reader.absorb(page(0xaa, ATTACHMENTS, 5, &[2]));
    reader.absorb(page(0xbb, MESSAGES, 9, &[1]));
    check_codec(
        &reader,
        "01 00000002                      # version, places
         0000                             # namespace
         bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb
         0000000000000003 0000000000000009 # cursor
         0002                             # namespace
         aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
         0000000000000003 0000000000000005 # cursor
         00000002                         # seen, oldest first
         0000000000000000000000000000000000000000000000000000000000000002
         0000000000000000000000000000000000000000000000000000000000000001",
    );
}

#[test]
fn only_canonical_bytes_are_read() {
    let place = |node: u8| Place {
        namespace: MESSAGES,
        node: [node; 32].into(),
        cursor: Cursor::default(),
    };
    let saved = |places: Vec<Place>, seen: Vec<MessageId>| {
        let (places, seen) = (List::new(places).unwrap(), List::new(seen).unwrap());
        InboxReader::decode_exact(&Saved::V1 { places, seen }.to_bytes())
    };
    assert!(saved(vec![place(1), place(2)], vec![]).is_ok());
    for wrong in [vec![place(2), place(1)], vec![place(1), place(1)]] {
        let error = saved(wrong, vec![]).unwrap_err();
        assert_eq!(error, DecodeError::Invalid { field: "cursors", why: "not in order" });
    }
    let twice = saved(vec![], vec![[1; 32].into(), [1; 32].into()]).unwrap_err();
    assert_eq!(twice, DecodeError::Invalid { field: "seen ids", why: "one stands there twice" });
}

#[test]
fn pages_overlap_and_items_do_not() {
    let mut reader = InboxReader::new();
    let ids = |items: Vec<Item>| items.iter().map(|item| item.arrival).collect::<Vec<_>>();
    assert_eq!(ids(reader.absorb(page(1, MESSAGES, 2, &[1, 2]))), [1, 2]);
    assert_eq!(ids(reader.absorb(page(2, MESSAGES, 7, &[2, 3]))), [3]);
    assert!(!reader.absorb_pushed(&item(3)));
    assert!(reader.absorb_pushed(&item(4)));
    let cursors = reader.cursors(MESSAGES);
    assert_eq!(cursors[&[1; 32].into()].arrival, 2);
    assert_eq!(cursors[&[2; 32].into()].arrival, 7, "a push moves no cursor");
    assert!(reader.cursors(ATTACHMENTS).is_empty());
}

#[test]
fn memory_is_bounded_and_the_oldest_is_forgotten() {
    let mut reader = InboxReader::new();
    for number in 0..=SEEN_MAX as u64 {
        assert!(reader.absorb_pushed(&item(number)));
    }
    assert_eq!(reader.seen(), SEEN_MAX);
    assert!(!reader.absorb_pushed(&item(1)));
    assert!(reader.absorb_pushed(&item(0)), "the oldest one");
    for node in 0..=255 {
        for namespace in 0..5 {
            reader.absorb(page(node, Namespace(namespace), 1, &[]));
        }
    }
    assert_eq!(reader.places.len(), CURSORS_MAX);
    assert!(InboxReader::decode_exact(&reader.to_bytes()).is_ok_and(|read| read == reader));
}
