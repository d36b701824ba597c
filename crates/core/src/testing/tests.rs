use super::{annotated, check_codec, check_round_trip};
use crate::codec::{Decode, DecodeError, Encode, Reader};
use crate::{Blob, Text};

crate::record! {
    #[derive(Debug, PartialEq)]
    struct Sample {
        kind: u8,
        name: Text<8>,
    }
}

/// Decodes from any number of bytes: not canonical.
#[derive(Debug, PartialEq)]
struct Lax;

impl Encode for Lax {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([1, 2]);
    }
}

impl Decode for Lax {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.take(reader.left())?;
        Ok(Self)
    }
}

fn sample() -> Sample {
    Sample { kind: 3, name: Text::new("ab").unwrap() }
}

#[test]
fn a_canonical_codec_passes() {
    check_codec(
        &sample(),
        "03           # kind
         00000002     # bytes of the name
         6162         # name",
    );
    check_round_trip(&Blob::<4>::new([1, 2, 3]).unwrap());
}

#[test]
#[should_panic(expected = "not encoded as its golden bytes")]
fn other_golden_bytes_fail() {
    check_codec(&sample(), "03 00000002 6163");
}

#[test]
#[should_panic(expected = "were accepted")]
fn a_lax_decoder_fails() {
    check_round_trip(&Lax);
}

#[test]
fn annotations_are_skipped() {
    assert_eq!(annotated("0a # ten, not ff\n 0b"), "0a0b");
}

#[test]
#[should_panic(expected = "odd number")]
fn half_a_byte_fails() {
    let _ = annotated("0a0");
}
