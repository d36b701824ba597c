//! Records about onion packets: one encoding each, and a hop key that was altered is none.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_core::{Decode, Encode, Epoch, SeededEntropy, Time};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_network::onion::{Hop, HopKeyRecord, ReplyBlock, ReplyBlocks, SignedHopKey};
use session_protocol::NetworkId;

static PUBLISHED: LazyLock<(FakeIdentity, SignedHopKey)> = LazyLock::new(|| {
    let rng = &mut SeededEntropy::new(1);
    let identity = FakeIdentity::generate(rng);
    let mut hop = Hop::new(identity.public().node_id(), 1);
    let life = (Time::ZERO, Time::from_millis(1));
    let signed = hop.rotate(rng, NetworkId::default(), Epoch(1), life).sign(&identity, rng);
    (identity, signed)
});

fn round_trip<T: Decode + Encode>(bytes: &[u8]) {
    if let Ok(value) = T::decode_exact(bytes) {
        assert_eq!(value.to_bytes(), bytes);
    }
}

/// Each three bytes change one byte of a key that was published.
fn altered(changes: &[u8]) {
    let (identity, signed) = &*PUBLISHED;
    let mut bytes = signed.to_bytes();
    for [high, low, change] in changes.as_chunks().0 {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
        bytes[place] ^= change;
    }
    let Ok(changed) = SignedHopKey::decode_exact(&bytes) else { return };
    let untouched = changed == *signed;
    let verified = changed.verify(&NetworkId::default(), identity.public(), &FakeVerifier);
    assert_eq!(verified.is_ok(), untouched, "an altered key was accepted");
}

/// Bytes in front of what makes them long enough to be a record.
fn filled(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(length, 1);
    bytes
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 6 {
        0 => round_trip::<HopKeyRecord>(bytes),
        1 => round_trip::<SignedHopKey>(bytes),
        2 => round_trip::<ReplyBlock>(&filled(bytes, session_network::onion::REPLY_BLOCK_BYTES)),
        3 => round_trip::<ReplyBlocks>(bytes),
        4 => round_trip::<HopKeyRecord>(&filled(bytes, 1_305)),
        _ => altered(bytes),
    }
});
