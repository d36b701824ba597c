//! The checks that every wire type goes through.

use std::fmt::Debug;

use session_core::{Decode, DecodeError, Encode, testing};

/// Writes `5a*4` out as `5a5a5a5a` and drops comments, so that keys and signatures of true size
/// fit into golden bytes that people can read.
fn expand(golden: &str) -> String {
    let mut hex = String::new();
    for line in golden.lines() {
        let bytes = line.split('#').next().unwrap_or_default();
        for word in bytes.split_whitespace() {
            match word.split_once('*') {
                Some((byte, times)) => {
                    hex.push_str(&byte.repeat(times.parse().expect("a count behind the star")));
                }
                None => hex.push_str(word),
            }
        }
    }
    hex
}

/// Returns the bytes of golden hex.
#[track_caller]
pub(crate) fn bytes(golden: &str) -> Vec<u8> {
    hex::decode(expand(golden)).expect("golden bytes are hex")
}

/// Asserts golden bytes, round trip, every truncation and a trailing byte.
#[track_caller]
pub(crate) fn check<T: Encode + Decode + PartialEq + Debug>(value: &T, golden: &str) {
    testing::check_codec(value, &expand(golden));
}

/// Asserts that the length behind `prefix` is refused over `limit`, and taken at it.
#[track_caller]
pub(crate) fn limit<T: Decode + Debug>(prefix: &str, limit: usize) {
    let with_length = |length: usize| {
        let mut bytes = bytes(prefix);
        bytes.extend(u32::try_from(length).expect("a limit fits").to_be_bytes());
        T::decode_exact(&bytes).expect_err("a length alone is not a value")
    };
    for over in [limit + 1, u32::MAX as usize] {
        let error = with_length(over);
        assert!(
            matches!(error, DecodeError::OverLimit { got, limit: at, .. } if (got, at) == (over, limit)),
            "a length of {over} is refused with {error}"
        );
    }
    let error = with_length(limit);
    assert!(matches!(error, DecodeError::TooShort { .. }), "the limit is refused with {error}");
}

/// Asserts that behind `prefix` only the tags up to `last` are known.
#[track_caller]
pub(crate) fn tags<T: Decode + Debug>(prefix: &str, last: u8) {
    for tag in 0..=u8::MAX {
        let mut bytes = bytes(prefix);
        bytes.push(tag);
        let unknown = matches!(T::decode_exact(&bytes), Err(DecodeError::UnknownTag { got, .. }) if got == u64::from(tag));
        assert_eq!(unknown, !(1..=last).contains(&tag), "tag {tag}");
    }
}

/// Asserts that the byte behind `prefix` must be 0 or 1.
#[track_caller]
pub(crate) fn flag<T: Decode + Debug>(prefix: &str) {
    for value in 2..=u8::MAX {
        let mut bytes = bytes(prefix);
        bytes.push(value);
        assert_eq!(
            T::decode_exact(&bytes).unwrap_err(),
            DecodeError::UnknownTag { field: "bool", got: value.into() }
        );
    }
}
