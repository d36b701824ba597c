//! Primitives: what is taken, what is refused, and which field the refusal names.

use session_core::BlockId;

use super::{Bytes, Field, Message, PlatformHeight, Reader, WireError};

messages! {
    /// One of everything.
    Sample {
        /// A byte.
        small: u8,
        /// A truth.
        truth: bool,
        /// A number.
        number: u32,
        /// A long number.
        long: u64,
        /// A signed number.
        signed: i32,
        /// A long signed number.
        long_signed: i64,
        /// Text.
        text: String,
        /// Bytes.
        bytes: Bytes,
        /// An id.
        id: BlockId,
        /// A list.
        list: Vec<Bytes>,
        /// Newer fields.
        newer: Option<String>,
        /// Newer still.
        newest: Option<u64>,
    }
}

fn sample() -> Sample {
    Sample {
        small: 1,
        truth: true,
        number: 2,
        long: 3,
        signed: -1,
        long_signed: -2,
        text: "é".to_owned(),
        bytes: vec![9, 8].into(),
        id: [7; 32].into(),
        list: vec![vec![1].into(), vec![].into()],
        newer: Some("n".to_owned()),
        newest: Some(5),
    }
}

const SAMPLE: &str = concat!(
    "01",                                                               // small
    "01",                                                               // truth
    "00000002",                                                         // number
    "0000000000000003",                                                 // long
    "ffffffff",                                                         // signed
    "fffffffffffffffe",                                                 // long_signed
    "00000002c3a9",                                                     // text
    "000000020908",                                                     // bytes
    "00000020",                                                         // id: length
    "0707070707070707070707070707070707070707070707070707070707070707", // id
    "00000002",                                                         // list: count
    "0000000101",                                                       // list: first
    "00000000",                                                         // list: second
    "000000016e",                                                       // newer
    "0000000000000005",                                                 // newest
);

#[test]
fn golden() {
    let bytes = hex::decode(SAMPLE).expect("hex");
    assert_eq!(sample().encode(), bytes);
    assert_eq!(Sample::decode(&bytes), Ok(sample()));
}

#[test]
fn only_newer_fields_may_be_missing() {
    let bytes = sample().encode();
    let older = bytes.len() - 8 - 5;
    for length in 0..bytes.len() {
        let read = Sample::decode(&bytes[..length]);
        if length < older {
            assert!(read.is_err(), "{length} bytes");
        } else if length < older + 4 {
            let expected = Sample { newer: None, newest: None, ..sample() };
            assert_eq!(read, Ok(expected), "{length} bytes: without both");
        } else if length < older + 5 {
            let error = WireError::Ends { field: "newer", needed: 1, left: 0 };
            assert_eq!(read, Err(error), "{length} bytes: a field that is there must be whole");
        } else {
            assert_eq!(read, Ok(Sample { newest: None, ..sample() }), "{length} bytes");
        }
    }
}

#[test]
fn what_is_newer_than_we_are_is_ignored() {
    let mut bytes = sample().encode();
    bytes.extend([1, 2, 3]);
    assert_eq!(Sample::decode(&bytes), Ok(sample()));
}

#[test]
fn refusals_name_the_field() {
    fn read<T: Field>(bytes: &[u8]) -> Result<T, WireError> {
        T::read(&mut Reader::new(bytes), "f")
    }
    let ends = |needed, left| WireError::Ends { field: "f", needed, left };
    assert_eq!(read::<u32>(&[0, 0]), Err(ends(4, 2)));
    assert_eq!(read::<Bytes>(&[255, 255, 255, 255, 1]), Err(ends(u32::MAX as usize, 1)));
    assert_eq!(read::<String>(&[0, 0, 0, 1, 255]), Err(WireError::NotText { field: "f" }));
    assert_eq!(read::<BlockId>(&[0; 4]), Err(WireError::NotAnId { field: "f", length: 0 }));
    // Two byte strings take eight bytes at least: seven cannot hold them.
    let list = [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0];
    let count = WireError::Count { field: "f", count: 2, left: 7 };
    assert_eq!(read::<Vec<Bytes>>(&list), Err(count));
    assert_eq!(read::<bool>(&[2]), Ok(true), "anything but zero is true");
}

#[test]
fn a_platform_height_may_be_absent_in_two_ways() {
    let read = |bytes: &[u8]| PlatformHeight::read(&mut Reader::new(bytes), "f");
    assert_eq!(read(&[]), Ok(PlatformHeight(None)));
    assert_eq!(read(&[0]), Ok(PlatformHeight(None)));
    assert_eq!(read(&[1, 0, 0, 0, 0, 0, 0, 0, 9]), Ok(PlatformHeight(Some(9))));
    assert_eq!(read(&[1, 0]), Err(WireError::Ends { field: "f", needed: 8, left: 1 }));
}
