use session_core::{Entropy, InboxAddress, MessageId, Namespace, SeededEntropy, Time};

use super::super::format::Class;
use super::*;

fn header() -> SegmentHeader {
    SegmentHeader { incarnation: 1, salt: 2, shard: 3, class: Class::Long, number: 4 }
}

/// A segment of groups with so many items each.
fn segment(groups: &[u64], sealed: bool) -> Vec<u8> {
    let seed = header().seed();
    let mut out = header().encode().to_vec();
    let mut number = 0;
    for items in groups {
        let start = out.len();
        let (mut bodies, mut heads) = (Vec::new(), Vec::new());
        for _ in 0..*items {
            number += 1;
            let offset = u32::try_from(start + 16 + bodies.len()).expect("small");
            let data = [7; 30];
            bodies.extend_from_slice(&data);
            bodies.extend_from_slice(&body_check(seed, offset, &data).to_be_bytes());
            let head = Head::Item {
                number,
                address: InboxAddress::from([1; 32]),
                id: MessageId::from([2; 32]),
                namespace: Namespace(0),
                timestamp: Time::ZERO,
                expiry: Time::ZERO,
                body: Body { offset, size: 30 },
            };
            head.encode(seed, &mut heads);
        }
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("small");
        let group = GroupHeader::Group { bodies: length(&bodies), heads: length(&heads) };
        out.extend_from_slice(&group.encode(seed, u32::try_from(start).expect("small")));
        out.extend_from_slice(&bodies);
        out.extend_from_slice(&heads);
    }
    if sealed {
        let at = u32::try_from(out.len()).expect("small");
        out.extend_from_slice(&GroupHeader::Seal.encode(seed, at));
    }
    out
}

#[test]
fn whole_segments_are_read_whole() {
    for sealed in [false, true] {
        let bytes = segment(&[1, 3, 2], sealed);
        let decoded = decode_segment(&bytes).expect("whole");
        assert_eq!(decoded.header, header());
        assert_eq!(decoded.heads.iter().map(Head::number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
        let tail = u32::try_from(bytes.len()).expect("small") - if sealed { 16 } else { 0 };
        assert_eq!(decoded.scanned, Scanned { tail, sealed, corrupt: 0, cut_bytes: 0 });
        assert_eq!(is_sealed(bytes.as_slice(), header().seed()).expect("read"), sealed);
    }
}

#[test]
fn every_truncation_keeps_whole_groups_and_never_panics() {
    let bytes = segment(&[1, 3, 2], false);
    let ends: Vec<usize> =
        [1_usize, 4, 6].iter().zip(1..).map(|(n, g)| 40 + g * 16 + n * 133).collect();
    for length in 0..bytes.len() {
        match decode_segment(&bytes[..length]) {
            Err(_) => assert!(length < 40, "{length}"),
            Ok(decoded) => {
                let groups = ends.iter().filter(|end| **end <= length).count();
                assert!(decoded.heads.len() >= [0, 1, 4, 6][groups], "{length}");
                let at_end = length == 40 || ends.contains(&length);
                let clean = decoded.scanned.cut_bytes == 0 && decoded.scanned.corrupt == 0;
                assert_eq!(clean, at_end, "{length}: {:?}", decoded.scanned);
            }
        }
    }
}

#[test]
fn records_of_another_segment_are_not_taken() {
    let bytes = segment(&[2, 2], false);
    let mut other = SegmentHeader { number: 5, ..header() }.encode().to_vec();
    other.extend_from_slice(&bytes[40..]);
    let decoded = decode_segment(&other).expect("the header is whole");
    assert_eq!(decoded.heads, []);
    // Nor the right bytes in the wrong place.
    let mut moved = bytes[..40].to_vec();
    moved.push(0);
    moved.extend_from_slice(&bytes[40..]);
    assert_eq!(decode_segment(&moved).expect("the header is whole").heads, []);
}

#[test]
fn any_bytes_are_read_without_panic() {
    let mut rng = SeededEntropy::new(3);
    let whole = segment(&[2, 1, 4], true);
    let mut lost = 0;
    for _ in 0..3000 {
        let mut bytes = whole.clone();
        for _ in 0..=rng.below(6) {
            let at = usize::try_from(rng.below(bytes.len() as u64 - 40)).expect("small") + 40;
            let length = usize::try_from(rng.below(40)).expect("small").min(bytes.len() - at);
            rng.fill(&mut bytes[at..at + length]);
        }
        let decoded = decode_segment(&bytes).expect("the header is whole");
        lost += 7 - decoded.heads.len();
    }
    assert!(lost > 3000, "damage was done");
}
