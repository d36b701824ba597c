use core::cell::Cell;

use super::{Blob, Decode, DecodeError, Encode, List, OverLimit, Reader, Text};
use crate::testing::{check_codec, check_round_trip};
use crate::{Digest, Entropy, SeededEntropy};

crate::record! {
    /// Two records in one call, one of them empty.
    #[derive(Debug, PartialEq)]
    struct Everything {
        flag: bool,
        byte: u8,
        short: u16,
        word: u32,
        long: u64,
        signed: i16,
        fixed: [u8; 3],
        maybe: Option<u16>,
        boxed: Box<u8>,
        blob: Blob<8>,
        text: Text<8>,
        list: List<Text<4>, 3>,
        shape: Shape,
    }

    #[derive(Debug, PartialEq)]
    struct Nothing {}
}

crate::choice! {
    #[derive(Debug, PartialEq)]
    enum Shape {
        1 => Point,
        7 => Circle { radius: u32, },
    }
}

fn everything() -> Everything {
    Everything {
        flag: true,
        byte: 2,
        short: 0x0304,
        word: 0x0506_0708,
        long: 0x090a_0b0c_0d0e_0f10,
        signed: -2,
        fixed: [17, 18, 19],
        maybe: Some(20),
        boxed: Box::new(21),
        blob: Blob::new([22, 23]).unwrap(),
        text: Text::new("ü").unwrap(),
        list: List::new([Text::new("").unwrap(), Text::new("ab").unwrap()]).unwrap(),
        shape: Shape::Circle { radius: 24 },
    }
}

#[test]
fn golden_bytes_of_everything() {
    check_codec(
        &everything(),
        "01                             # bool
         02                             # u8
         0304                           # u16
         05060708                       # u32
         090a0b0c0d0e0f10               # u64
         fffe                           # i16, two's complement
         111213                         # fixed bytes: no length
         01 0014                        # Some
         15                             # boxed: no trace of the box
         00000002 1617                  # blob
         00000002 c3bc                  # text: length in bytes, not characters
         00000002 00000000 00000002 6162 # list of two texts
         07 00000018                    # tag and fields of a choice",
    );
}

#[test]
fn golden_bytes_of_the_shortest_values() {
    check_codec(&Nothing {}, "");
    check_codec(&Shape::Point, "01");
    check_codec(&None::<u64>, "00");
    check_codec(&false, "00");
    check_codec(&Blob::<0>::default(), "00000000");
    check_codec(&Text::<4>::default(), "00000000");
    check_codec(&List::<u8, 4>::default(), "00000000");
    check_codec(&[0_u8; 0], "");
}

#[test]
fn extreme_integers_survive() {
    check_codec(&u64::MAX, "ffffffffffffffff");
    check_codec(&i16::MIN, "8000");
    check_codec(&u32::MAX, "ffffffff");
    check_codec(&u16::MAX, "ffff");
}

#[test]
fn values_at_their_limit_survive_and_above_it_cannot_exist() {
    check_round_trip(&Blob::<5>::new([1; 5]).unwrap());
    check_round_trip(&Text::<5>::new("12345").unwrap());
    check_round_trip(&List::<u16, 5>::new([1; 5]).unwrap());
    let refused = OverLimit { got: 6, limit: 5 };
    assert_eq!(Blob::<5>::new([1; 6]), Err(refused));
    assert_eq!(Text::<5>::new("123456"), Err(refused));
    assert_eq!(Text::<1>::new("ü"), Err(OverLimit { got: 2, limit: 1 }));
    assert_eq!(List::<u16, 5>::new([1; 6]), Err(refused));
}

#[test]
fn a_length_over_its_limit_is_refused_unread() {
    // All bytes are there: only the limit refuses.
    let bytes = [&6_u32.to_be_bytes()[..], b"123456"].concat();
    let refused = |field| DecodeError::OverLimit { field, got: 6, limit: 5 };
    assert_eq!(Blob::<5>::decode_exact(&bytes), Err(refused("bytes")));
    assert_eq!(Text::<5>::decode_exact(&bytes), Err(refused("text")));
    assert_eq!(List::<u8, 5>::decode_exact(&bytes), Err(refused("list")));
}

thread_local! { static DECODED: Cell<u32> = const { Cell::new(0) }; }

/// 4 KiB that count how often they are decoded.
#[derive(Debug, PartialEq)]
struct Huge([u8; 4096]);

impl Decode for Huge {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        DECODED.set(DECODED.get() + 1);
        reader.array().map(Self)
    }
}

#[test]
fn a_length_beyond_the_bytes_costs_nothing() {
    const NO_LIMIT: usize = u32::MAX as usize;
    let needed = NO_LIMIT;
    let bytes = [&u32::MAX.to_be_bytes()[..], b"abc"].concat();
    let refused = DecodeError::TooShort { needed, left: 3 };
    assert_eq!(Blob::<NO_LIMIT>::decode_exact(&bytes), Err(refused.clone()));
    assert_eq!(Text::<NO_LIMIT>::decode_exact(&bytes), Err(refused.clone()));
    // 16 TiB of list: refused before its first value, so before room for one was made.
    assert_eq!(List::<Huge, NO_LIMIT>::decode_exact(&bytes), Err(refused));
    assert_eq!(DECODED.get(), 0);
}

#[test]
fn unknown_tags_are_named() {
    for got in (0..=255).filter(|tag| ![1, 7].contains(tag)) {
        let refused = DecodeError::UnknownTag { field: "Shape", got: u64::from(got) };
        assert_eq!(Shape::decode_exact(&[got]), Err(refused));
    }
    for got in 2..=255 {
        let refused = DecodeError::UnknownTag { field: "bool", got: u64::from(got) };
        assert_eq!(bool::decode_exact(&[got]), Err(refused.clone()));
        assert_eq!(Option::<u8>::decode_exact(&[got, 0]), Err(refused));
    }
}

#[test]
fn text_is_utf8() {
    // A lone continuation byte, an overlong slash, a surrogate, a cut character.
    for bad in [&[0x80][..], &[0xc0, 0xaf], &[0xed, 0xa0, 0x80], &[0xc3]] {
        let bytes = Blob::<4>::new(bad).unwrap().to_bytes();
        let refused = DecodeError::Invalid { field: "text", why: "not UTF-8" };
        assert_eq!(Text::<4>::decode_exact(&bytes), Err(refused));
    }
}

#[test]
fn errors_say_what_is_missing_and_what_is_left() {
    let short = u64::decode_exact(&[0; 5]);
    assert_eq!(short, Err(DecodeError::TooShort { needed: 8, left: 5 }));
    assert_eq!(short.unwrap_err().to_string(), "data too short: 8 bytes needed, 5 left");
    let long = u8::decode_exact(&[0; 5]);
    assert_eq!(long, Err(DecodeError::Trailing { left: 4 }));
    assert_eq!(long.unwrap_err().to_string(), "4 bytes left over after the last field");
    let over = Blob::<2>::decode_exact(&[0, 0, 0, 3, 1, 2, 3]);
    assert_eq!(over.unwrap_err().to_string(), "bytes holds 3, the limit is 2");
}

#[test]
fn a_refused_take_leaves_the_reader_where_it_was() {
    let mut reader = Reader::new(&[1, 2, 3]);
    assert!(reader.take(4).is_err());
    assert!(reader.array::<4>().is_err());
    assert_eq!(reader.take(2), Ok(&[1, 2][..]));
    assert_eq!(reader.left(), 1);
    assert_eq!(reader.clone().finish(), Err(DecodeError::Trailing { left: 1 }));
    assert_eq!(reader.array(), Ok([3]));
    assert_eq!(reader.finish(), Ok(()));
}

#[test]
fn debug_of_a_blob_shows_no_contents() {
    assert_eq!(format!("{:?}", Blob::<9>::new(*b"secret").unwrap()), "Blob(6 bytes)");
}

/// Whatever decodes is canonical: it encodes to the bytes it came from.
#[test]
fn random_bytes_decode_canonically_or_not_at_all() {
    let mut rng = SeededEntropy::new(1);
    let golden = everything().to_bytes();
    let mut accepted = 0;
    for _ in 0..20_000 {
        let mut bytes = golden.clone();
        for _ in 0..=rng.below(3) {
            let place = rng.below(bytes.len() as u64) as usize;
            bytes[place] = rng.next_u64() as u8;
        }
        if let Ok(value) = Everything::decode_exact(&bytes) {
            assert_eq!(value.to_bytes(), bytes);
            accepted += 1;
        }
    }
    assert!(
        accepted > 1000,
        "most changes hit a field without structure, {accepted} were accepted"
    );
    assert!(accepted < 19_000, "many changes break a tag or a length, {accepted} were accepted");
}

#[test]
fn lists_of_many_values_grow_past_their_first_allocation() {
    let digests: Vec<_> = (0..3000_u16).map(|n| crate::sha256(&n.to_be_bytes()).into()).collect();
    let list = List::<Digest, 3000>::new(digests).unwrap();
    assert_eq!(List::decode_exact(&list.to_bytes()), Ok(list));
}
