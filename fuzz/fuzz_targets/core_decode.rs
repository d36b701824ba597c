//! Whatever core accepts is canonical, and nothing it is given makes it panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use session_core::merkle::{Proof, go_v1};
use session_core::{
    Blob, Decode, Digest, Encode, Epoch, List, Namespace, NodeId, Reader, SwarmId, Text, Time,
};

/// Accepted bytes are the bytes that the value encodes to.
fn canonical<T: Decode + Encode>(bytes: &[u8]) -> Option<T> {
    let value = T::decode_exact(bytes).ok()?;
    assert_eq!(value.to_bytes(), bytes, "accepted, but not what encoding produces");
    Some(value)
}

fn merkle(bytes: &[u8]) {
    let Some(proof) = canonical::<Proof>(bytes) else { return };
    if let Ok(root) = proof.root_of(bytes) {
        assert!(proof.index < proof.count);
        assert_eq!(proof.verify(bytes, &root), Ok(()));
        assert!(proof.verify(b"another leaf", &root).is_err());
    }
    let Proof { index, count, siblings } = proof;
    let path = go_v1::Proof { index, count, siblings: siblings.into_vec() };
    let leaf = Digest::default();
    if let Ok(root) = path.root_of(&leaf) {
        assert_eq!(path.verify(&leaf, &root), Ok(()));
    }
}

fn text(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(id) = text.parse::<NodeId>() {
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(id.to_cb58().parse(), Ok(id));
        // CB58 has one text per id; hex has one per choice of capitals.
        assert!(text == id.to_cb58() || text.eq_ignore_ascii_case(&id.to_string()));
    }
}

/// A reader hands out exactly the bytes it was given, in order.
fn reader(bytes: &[u8]) {
    let mut reader = Reader::new(bytes);
    let mut read = Vec::new();
    while let Ok(length) = u8::decode(&mut reader) {
        read.push(length);
        let left = reader.left();
        match reader.take(length.into()) {
            Ok(taken) => read.extend_from_slice(taken),
            Err(_) => assert_eq!(reader.left(), left, "a refused take moved the reader"),
        }
    }
    assert_eq!(read, bytes);
    assert_eq!(reader.finish(), Ok(()));
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 8 {
        0 => merkle(bytes),
        1 => text(bytes),
        2 => reader(bytes),
        3 => drop(canonical::<Option<Blob<64>>>(bytes)),
        4 => drop(canonical::<Text<64>>(bytes)),
        5 => drop(canonical::<List<List<Option<Text<8>>, 4>, 16>>(bytes)),
        6 => drop(canonical::<List<Digest, 64>>(bytes)),
        _ => {
            canonical::<NodeId>(bytes);
            canonical::<SwarmId>(bytes);
            canonical::<Namespace>(bytes);
            canonical::<Epoch>(bytes);
            canonical::<Time>(bytes);
            canonical::<bool>(bytes);
        }
    }
});
