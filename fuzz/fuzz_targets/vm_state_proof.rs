//! No proof lies: what passes is canonical and says what the state holds.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_core::{Decode, Digest, Encode, Entropy, SeededEntropy};
use session_vm::state::{Proof, State};

/// Entries under short keys of few different bytes: deep, and with keys that begin with others.
static STATE: LazyLock<(State, Digest)> = LazyLock::new(|| {
    let mut rng = SeededEntropy::new(1);
    let mut state = State::new();
    for value in 0..100 {
        let key: Vec<u8> =
            (0..=rng.below(4)).map(|_| b"\x00\x01\x80\xff"[rng.below(4) as usize]).collect();
        state.put(&key, vec![value]);
    }
    let root = state.root();
    (state, root)
});

/// Accepted bytes are the bytes that the value encodes to.
fn proof(bytes: &[u8]) -> Option<Proof> {
    let proof = Proof::decode_exact(bytes).ok()?;
    assert_eq!(proof.to_bytes(), bytes, "accepted, but not what encoding produces");
    Some(proof)
}

/// A proof from outside, for a key from outside.
fn any(key: &[u8], bytes: &[u8]) {
    let Some(proof) = proof(bytes) else { return };
    let (state, root) = &*STATE;
    for key in [key, proof.leaf.as_ref().map_or(&[][..], |leaf| &leaf.key)] {
        if let Ok(value) = proof.verify(key, root) {
            assert_eq!(value, state.get(key), "the proof lies about {key:x?}");
            assert_eq!(proof, state.prove(key), "one key has two proofs");
        }
    }
}

/// A true proof, altered by three bytes each, asked for another key.
fn altered(key: &[u8], proven: &[u8], changes: &[u8]) {
    let mut bytes = STATE.0.prove(proven).to_bytes();
    for [high, low, change] in changes.as_chunks::<3>().0 {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
        bytes[place] ^= change;
    }
    any(key, &bytes);
}

/// Changes made by the input: the state is an ordered map, and proves what it holds.
fn model(changes: &[u8]) {
    let (mut state, mut model) = (State::new(), BTreeMap::new());
    let mut left = changes;
    while let Some(([kind, value], rest)) = left.split_first_chunk::<2>() {
        let length = usize::from(kind % 8).min(rest.len());
        let (key, rest) = rest.split_at(length);
        left = rest;
        if key.is_empty() {
            let _ = state.root();
        } else if kind & 0x80 == 0 {
            state.put(key, vec![*value]);
            model.insert(key, vec![*value]);
        } else {
            assert_eq!(state.remove(key), model.remove(key).is_some());
        }
    }
    assert!(state.range(b"").eq(model.iter().map(|(key, value)| (*key, value.as_slice()))));
    assert_eq!(State::from_entries(&model).root(), state.root(), "the root depends on the way");
    for (key, value) in &model {
        let absent = [key, &b"\0"[..]].concat();
        let root = state.root();
        assert_eq!(state.prove(key).verify(key, &root), Ok(Some(value.as_slice())));
        assert_eq!(state.prove(&absent).verify(&absent, &root), Ok(state.get(&absent)));
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    let Some((length, bytes)) = bytes.split_first() else { return };
    let (key, bytes) = bytes.split_at(usize::from(length % 6).min(bytes.len()));
    match kind % 4 {
        0 => any(key, bytes),
        1 => altered(key, key, bytes),
        2 => {
            let (proven, changes) = bytes.split_at(usize::from(length / 6 % 6).min(bytes.len()));
            altered(key, proven, changes);
        }
        _ => model(bytes),
    }
});
