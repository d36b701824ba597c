//! What was sealed opens, what was altered does not; pieces make the whole they are named after.
#![no_main]

use libfuzzer_sys::fuzz_target;
use session_core::{Decode, Encode, SeededEntropy};
use session_crypto::SymmetricKey;
use session_messaging::boxes::{
    self, Assembly, BUCKETS, CONTENT_BYTES_MAX, PIECES_MAX, Piece, Place,
};
use session_messaging::say::GroupId;

fn key() -> SymmetricKey {
    SymmetricKey::from([7; 32])
}

fn place() -> Place {
    Place { address: [1; 32].into(), group: GroupId { bytes: [2; 32] }, epoch: 3 }
}

fn seal(content: &[u8]) -> Vec<u8> {
    let mut rng = SeededEntropy::new(1);
    let item = boxes::seal_header(&key(), &place(), content, &mut rng).expect("it fits");
    item.into_vec()
}

fn round_trip(content: &[u8]) {
    let content = &content[..content.len().min(CONTENT_BYTES_MAX)];
    let item = seal(content);
    assert!(BUCKETS.contains(&item.len()));
    assert_eq!(boxes::open_header(&key(), &place(), &item).as_deref(), Ok(content));
}

/// Each three bytes change one byte of the original.
fn altered(changes: &[u8]) {
    let original = seal(b"content");
    let mut item = original.clone();
    for [high, low, change] in changes.as_chunks().0 {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % item.len();
        item[place] ^= change;
    }
    let opened = boxes::open_header(&key(), &place(), &item);
    assert_eq!(opened.is_ok(), item == original, "an altered box opened");
}

/// Pieces from outside, one behind another.
fn pieces(bytes: &[u8]) {
    let mut reader = session_core::Reader::new(bytes);
    let mut assembly: Option<Assembly> = None;
    while let Ok(piece) = Piece::decode(&mut reader) {
        let Some(assembly) = &mut assembly else {
            let Ok(mut first) = Assembly::new(&piece) else { return };
            drop(first.add(piece));
            assembly = Some(first);
            continue;
        };
        let before = assembly.clone();
        let kind = piece.kind;
        match assembly.add(piece) {
            Ok(Some(whole)) => {
                let again = boxes::cut(kind, &whole).expect("it was cut before");
                assert_eq!(again[0].id, *assembly.id(), "a whole that is not named so");
            }
            Ok(None) => assert!(assembly.bytes() >= before.bytes()),
            Err(boxes::BadPiece::Digest) => return,
            Err(_) => assert_eq!(*assembly, before, "a piece that was refused left a trace"),
        }
        assert_eq!(Assembly::decode_exact(&assembly.to_bytes()).as_ref(), Ok(&*assembly));
    }
}

/// Cut, and put together in an order that the input gives.
fn order(bytes: &[u8]) {
    let Some(([kind, size], order)) = bytes.split_first_chunk() else { return };
    let whole = vec![*kind; usize::from(*size) << 10];
    let pieces = boxes::cut(*kind, &whole).expect("at most 255 KiB");
    assert!(pieces.len() <= PIECES_MAX);
    let mut assembly = Assembly::new(&pieces[0]).expect("possible numbers");
    let order = order.iter().map(|index| usize::from(*index) % pieces.len());
    let mut done = None;
    for index in order.chain(0..pieces.len()) {
        done = assembly.add(pieces[index].clone()).expect("of this whole").or(done);
    }
    assert_eq!(done, Some(whole));
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 6 {
        0 => drop(boxes::open_header(&key(), &place(), bytes)),
        1 => round_trip(bytes),
        2 => altered(bytes),
        3 => pieces(bytes),
        4 => order(bytes),
        _ => {
            if let Ok(assembly) = Assembly::decode_exact(bytes) {
                assert_eq!(assembly.to_bytes(), bytes);
            }
        }
    }
});
