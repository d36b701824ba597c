use session_core::testing::{check_codec, check_round_trip};
use session_core::{Blob, Decode as _, SeededEntropy};

use super::*;

fn key() -> SymmetricKey {
    SymmetricKey::from([7; 32])
}

fn place() -> Place {
    Place { address: [0xad; 32].into(), group: GroupId { bytes: [0x62; 32] }, epoch: 3 }
}

fn rng() -> SeededEntropy {
    SeededEntropy::new(1)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn sealed(content: &[u8]) -> ItemBytes {
    seal_header(&key(), &place(), content, &mut rng()).expect("fits")
}

#[test]
fn golden_bytes() {
    let item = sealed(b"hello");
    assert_eq!(item.len(), 1024);
    let head = "01a5e0182c82b6324a750dc2937931c8de9a3744504560639ec670b7a17d492b273e077b0a96bef58b";
    assert_eq!(
        [hex(&item[..HEAD]), hex(&session_core::sha256(&item))],
        [head, "2b685b75678336f5e408d48f737781bb4182818e63370f8aad1c0bbdfc03950d"]
    );
    assert_eq!(open_header(&key(), &place(), &item), Ok(b"hello".to_vec()));
}

/// The layout, opened with nothing but the cipher and the key derivation.
#[test]
fn layout() {
    let item = sealed(b"hello");
    let (tag, nonce, body) = (&item[1..17], &item[17..41], &item[41..]);
    assert_eq!(item[0], 1);
    assert_eq!(tag, &kdf(Domain::HeaderTag, &[7; 32], &[nonce]).expose()[..16]);
    let data = [&[1][..], &[0xad; 32], &[0x62; 32], &3u64.to_be_bytes()].concat();
    let plain = aead::open(&key(), nonce.try_into().expect("24"), &data, body).expect("opens");
    assert_eq!(&plain[..6], b"hello\x80");
    assert_eq!(plain[6..], vec![0; 1024 - 57 - 6]);
}

#[test]
fn sizes_and_overhead() {
    const { assert!(OVERHEAD <= 60) };
    assert_eq!(OVERHEAD, 58);
    for (index, bucket) in BUCKETS.into_iter().enumerate() {
        assert_eq!(bucket, 1024 << index);
        let fits = bucket - OVERHEAD;
        assert_eq!(sealed(&vec![1; fits]).len(), bucket, "the most that fits");
        let before = if index == 0 { 0 } else { BUCKETS[index - 1] - OVERHEAD + 1 };
        assert_eq!(sealed(&vec![1; before]).len(), bucket, "the least that is put there");
        let content = vec![0; fits];
        assert_eq!(open_header(&key(), &place(), &sealed(&content)), Ok(content), "of zeros");
    }
    let too_long = vec![1; CONTENT_BYTES_MAX + 1];
    assert_eq!(
        seal_header(&key(), &place(), &too_long, &mut rng()),
        Err(BoxError::TooLong { got: 65_479, limit: 65_478 })
    );
    const { assert!(CONTENT_BYTES_MAX >= crate::say::SAID_BYTES_MAX) };
}

#[test]
fn no_size_but_those_of_boxes() {
    let item = sealed(b"hello");
    for length in (0..item.len()).chain([1025, 2047, 2048, 65_536, 65_537, 76_800]) {
        let mut bytes = item.to_vec();
        bytes.resize(length, 0);
        let refused = open_header(&key(), &place(), &bytes).expect_err("cut or extended");
        let of_a_size = BUCKETS.contains(&length);
        assert_eq!(refused, if of_a_size { BoxError::NotOpened } else { BoxError::NotABox });
    }
}

#[test]
fn every_changed_byte_is_refused() {
    let item = sealed(b"hello");
    for place_in in 0..item.len() {
        let mut bytes = item.to_vec();
        bytes[place_in] ^= 1;
        let refused = open_header(&key(), &place(), &bytes).expect_err("changed");
        assert_eq!(refused, if place_in == 0 { BoxError::NotABox } else { BoxError::NotOpened });
    }
}

#[test]
fn a_box_opens_where_it_belongs_only() {
    let item = sealed(b"hello");
    let elsewhere = [
        Place { address: [0xae; 32].into(), ..place() },
        Place { group: GroupId { bytes: [0x63; 32] }, ..place() },
        Place { epoch: 4, ..place() },
    ];
    for place in elsewhere {
        assert_eq!(open_header(&key(), &place, &item), Err(BoxError::NotOpened));
    }
    let other = SymmetricKey::from([8; 32]);
    assert_eq!(open_header(&other, &place(), &item), Err(BoxError::NotOpened));
    let parsed = parse(&item).expect("a box");
    assert!(is_header(&key(), &parsed) && !is_header(&other, &parsed));
}

#[test]
fn the_same_content_never_looks_the_same() {
    let mut rng = rng();
    let mut seal = || seal_header(&key(), &place(), b"hello", &mut rng).expect("fits");
    let (one, other) = (seal(), seal());
    let same = one.iter().zip(other.iter()).filter(|(one, other)| one == other).count();
    // The version, and as many as chance makes equal: 4 in 1023, hardly ever 30.
    assert!(same < 30, "{same} bytes are the same");
}

#[test]
fn padding_that_is_not_ours_is_refused() {
    let data = header_data(&place());
    for padded in [vec![0; 967], vec![1; 967], [b"hello".to_vec(), vec![0; 962]].concat()] {
        let nonce = [5; 24];
        let mut item = vec![VERSION];
        item.extend_from_slice(&header_tag(&key(), &nonce).0);
        item.extend_from_slice(&nonce);
        item.extend(aead::seal(&key(), &nonce, &data, &padded));
        assert_eq!(open_header(&key(), &place(), &item), Err(BoxError::Padding));
    }
}

fn whole(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    rng().fill(&mut bytes);
    bytes
}

#[test]
fn golden_bytes_of_pieces() {
    let piece = Piece {
        id: [0x1d; 16],
        index: 1,
        count: 2,
        kind: 3,
        data: Blob::new(b"part".to_vec()).expect("short"),
    };
    check_codec(
        &piece,
        "1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d # id
         0001 0002 03                     # index, count, kind
         00000004 70617274                # data",
    );
    let mut assembly = Assembly::new(&piece).expect("possible");
    check_codec(&assembly, "1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d 0002 03 0000");
    assert_eq!(assembly.add(piece), Ok(None));
    check_codec(&assembly, "1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d1d 0002 03 0001 0001 00000004 70617274");
}

#[test]
fn pieces_come_together_in_any_order() {
    let lengths = [0, 1, PIECE_BYTES_MAX, PIECE_BYTES_MAX + 1, 3 * PIECE_BYTES_MAX + 7];
    for length in lengths {
        let bytes = whole(length);
        let mut pieces = cut(9, &bytes).expect("not too long");
        assert_eq!(pieces.len(), length.div_ceil(PIECE_BYTES_MAX).max(1));
        assert_eq!(pieces, cut(9, &bytes).expect("not too long"), "resent, they are the same");
        assert!(pieces.iter().all(|piece| sealed(&piece.to_bytes()).len() <= 65_536));
        for _ in 0..pieces.len() {
            pieces.rotate_left(1);
            assert_eq!(assemble(&pieces), Ok(Some(bytes.clone())));
        }
        pieces.reverse();
        // Each comes twice.
        let twice: Vec<Piece> = pieces.iter().flat_map(|it| [it.clone(), it.clone()]).collect();
        assert_eq!(assemble(&twice), Ok(Some(bytes.clone())));
        assert_eq!(assemble(&pieces[1..]), Ok(None));
    }
    assert_eq!(
        cut(9, &whole(WHOLE_BYTES_MAX + 1)),
        Err(BadPiece::TooLong { got: WHOLE_BYTES_MAX + 1, limit: WHOLE_BYTES_MAX })
    );
    assert_eq!(cut(9, &whole(WHOLE_BYTES_MAX)).expect("the most").len(), PIECES_MAX);
}

fn assemble(pieces: &[Piece]) -> Result<Option<Vec<u8>>, BadPiece> {
    let Some(first) = pieces.first() else { return Ok(None) };
    let mut assembly = Assembly::new(first)?;
    let mut last = None;
    for piece in pieces {
        // Stored and loaded in between.
        assembly = Assembly::decode_exact(&assembly.to_bytes()).expect("as it was");
        last = assembly.add(piece.clone())?.or(last);
    }
    Ok(last)
}

#[test]
fn pieces_that_do_not_belong_are_refused() {
    let pieces = cut(9, &whole(2 * PIECE_BYTES_MAX)).expect("not too long");
    let others = cut(9, &whole(2 * PIECE_BYTES_MAX - 1)).expect("not too long");
    let mut assembly = Assembly::new(&pieces[0]).expect("possible");
    assert_eq!(assembly.add(pieces[0].clone()), Ok(None));
    let before = assembly.clone();
    assert_eq!(assembly.add(others[1].clone()), Err(BadPiece::Another));
    for (kind, count) in [(8, 2), (9, 3)] {
        let piece = Piece { kind, count, ..pieces[1].clone() };
        assert_eq!(assembly.add(piece), Err(BadPiece::Another));
    }
    let moved = Piece { index: 0, ..pieces[1].clone() };
    assert_eq!(assembly.add(moved), Err(BadPiece::Conflict { index: 0 }));
    let outside = Piece { index: 2, ..pieces[1].clone() };
    assert_eq!(assembly.add(outside), Err(BadPiece::Number { index: 2, count: 2 }));
    assert_eq!(assembly, before, "a piece that was refused left a trace");
    check_round_trip(&Piece { data: Blob::new([1]).expect("short"), ..pieces[1].clone() });

    let mut forged = pieces[1].clone();
    forged.data = others[1].data.clone();
    assert_eq!(assembly.add(forged), Err(BadPiece::Digest));
    for (index, count) in [(0, 0), (1, 1), (0, 65), (64, 64), (u16::MAX, u16::MAX)] {
        let first = Piece { index, count, ..pieces[0].clone() };
        assert_eq!(Assembly::new(&first), Err(BadPiece::Number { index, count }));
    }
}
