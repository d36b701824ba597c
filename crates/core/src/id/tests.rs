use super::{ParseIdError, from_cb58, to_cb58};
use crate::testing::check_codec;
use crate::{Digest, Epoch, Namespace, NodeId, SwarmId};

/// "sessionvm", filled up with zeros.
const VM_ID: &str = "speKUgLBX6WRD5cfGeEfLa43LxTXUBckvtv4td6F3eTXvRP48";

/// The other VM id that the seeds give.
const BROKEN_VM_ID: &str = "2ZbQaVuXHtT7vfJt8FmWEQKAT4NgtPqWEZHg5m3tUvEiSMnQNt";

#[test]
fn the_vm_id_is_its_name() {
    let mut name = [0; 32];
    name[..9].copy_from_slice(b"sessionvm");
    assert_eq!(to_cb58(&name), VM_ID);
    assert_eq!(from_cb58(VM_ID), Ok(name));
}

#[test]
fn the_broken_vm_id_fails_its_checksum() {
    assert_eq!(from_cb58(BROKEN_VM_ID), Err(ParseIdError::Checksum));
    assert_eq!(BROKEN_VM_ID.parse::<Digest>(), Err(ParseIdError::Checksum));
}

#[test]
fn hex_and_cb58_name_the_same_id() {
    let id = NodeId::from([0xab; 32]);
    assert_eq!(id.to_string(), "ab".repeat(32));
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(id.to_string().to_uppercase().parse(), Ok(id));
    assert_eq!(id.to_cb58().parse(), Ok(id));
}

#[test]
fn every_single_changed_character_is_refused() {
    for place in 0..VM_ID.len() {
        let mut altered = VM_ID.as_bytes().to_vec();
        altered[place] = if altered[place] == b'2' { b'3' } else { b'2' };
        let altered = String::from_utf8(altered).unwrap();
        assert!(from_cb58(&altered).is_err(), "{altered}");
    }
}

#[test]
fn texts_of_other_lengths_are_refused() {
    assert_eq!(from_cb58(""), Err(ParseIdError::NotAnId { length: 0 }));
    for length in 1..VM_ID.len() - 1 {
        assert!(from_cb58(&VM_ID[..length]).is_err(), "{length}");
    }
    // 31 and 33 bytes whose checksums match.
    for bytes in [&[1_u8; 31][..], &[1; 33]] {
        let checked = [bytes, &crate::sha256(bytes)[28..]].concat();
        let length = checked.len();
        let text = bs58::encode(checked).into_string();
        assert_eq!(from_cb58(&text), Err(ParseIdError::Length { length }));
    }
}

#[test]
fn over_long_text_is_refused_by_its_length() {
    for length in [51, 63, 65, 66, 1 << 20] {
        let text = "1".repeat(length);
        assert_eq!(text.parse::<NodeId>(), Err(ParseIdError::NotAnId { length }));
    }
    let largest = to_cb58(&[0xff; 32]);
    assert_eq!(largest.len(), 50, "the limit is the longest id");
    assert_eq!(from_cb58(&largest), Ok([0xff; 32]));
}

#[test]
fn characters_outside_the_alphabets_are_refused() {
    for text in ["g".repeat(64), "0x".to_owned() + &"a".repeat(62), "é".repeat(32)] {
        assert_eq!(text.parse::<NodeId>(), Err(ParseIdError::NotAnId { length: 64 }));
    }
    for foreign in ['0', 'O', 'I', 'l', ' ', '+', '\u{1}', 'é'] {
        let text = format!("{foreign}{}", &VM_ID[2..]);
        assert_eq!(text.parse::<NodeId>(), Err(ParseIdError::NotAnId { length: text.len() }));
    }
}

#[test]
fn debug_prints_four_bytes() {
    assert_eq!(format!("{:?}", NodeId::from([0xab; 32])), "NodeId(abababab)");
}

#[test]
fn golden_bytes() {
    check_codec(&NodeId::from([7; 32]), &"07".repeat(32));
    check_codec(&SwarmId(0x0102), "0000000000000102");
    check_codec(&Namespace(0x0102), "0102");
    check_codec(&Epoch(0x0102), "0000000000000102");
    assert_eq!(SwarmId(0x0102).to_string(), "0000000000000102");
    assert_eq!(Namespace(258).to_string(), "258");
    assert_eq!(Epoch(258).to_string(), "258");
}
