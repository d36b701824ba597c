//! What every decoder is put through, in one call (feature `test-support`).
//!
//! Add `session-core = { workspace = true, features = ["test-support"] }` to the
//! `[dev-dependencies]` of a crate and call [`check_codec`] once per wire type.

use core::fmt::Debug;

use crate::codec::{Decode, DecodeError, Encode};

/// Asserts everything that holds for a canonical codec, for one value and its golden bytes.
///
/// The value encodes to `golden_hex`, decodes to itself, and is refused when any number of bytes is
/// cut off its end or one byte follows it. Spaces and line breaks in `golden_hex` are skipped, and
/// so is what follows a `#` on its line: golden bytes can be annotated.
///
/// # Panics
/// When one of these does not hold; the message has the actual bytes in hex.
#[track_caller]
pub fn check_codec<T: Encode + Decode + PartialEq + Debug>(value: &T, golden_hex: &str) {
    let bytes = value.to_bytes();
    let golden = annotated(golden_hex);
    assert_eq!(hex::encode(&bytes), golden, "{value:?} is not encoded as its golden bytes");
    check_refusals(value, &bytes);
}

/// Asserts what [`check_codec`] does except for the golden bytes: for generated values.
///
/// # Panics
/// When the value does not survive its own encoding, or an altered length is accepted.
#[track_caller]
pub fn check_round_trip<T: Encode + Decode + PartialEq + Debug>(value: &T) {
    check_refusals(value, &value.to_bytes());
}

#[track_caller]
fn check_refusals<T: Encode + Decode + PartialEq + Debug>(value: &T, bytes: &[u8]) {
    match T::decode_exact(bytes) {
        Ok(decoded) => {
            assert_eq!(decoded, *value, "decoding {} gives another value", hex::encode(bytes));
            // `Debug` and `==` may leave out a field; the bytes cannot.
            assert_eq!(decoded.to_bytes(), bytes, "{value:?} is encoded anew with other bytes");
        }
        Err(error) => panic!("{value:?} does not decode from {}: {error}", hex::encode(bytes)),
    }
    for length in 0..bytes.len() {
        if let Ok(decoded) = T::decode_exact(&bytes[..length]) {
            panic!("{length} of {} bytes were accepted as {decoded:?}", bytes.len());
        }
    }
    let mut longer = bytes.to_vec();
    longer.push(0);
    match T::decode_exact(&longer) {
        Err(DecodeError::Trailing { left: 1 }) => {}
        other => panic!("one byte too many is not reported as such but as {other:?}"),
    }
}

#[track_caller]
fn annotated(golden_hex: &str) -> String {
    let golden: String = golden_hex
        .lines()
        .flat_map(|line| line.split('#').next())
        .flat_map(str::chars)
        .filter(|character| !character.is_whitespace())
        .collect();
    assert!(golden.len().is_multiple_of(2), "golden hex has an odd number of digits");
    assert!(
        golden.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')),
        "golden hex may hold only 0-9 and a-f: {golden}"
    );
    golden
}

#[cfg(test)]
mod tests;
