//! No envelope, identity file, old format or id text makes anything panic, and what was altered
//! does not open.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_core::{Decode, Encode, SeededEntropy};
use session_crypto::identity_file::{self, Protection};
use session_crypto::{
    AccountRef, Identity, KemPublicKey, LegacyId, PublicIdentity, envelope, seed,
};

static ALICE: LazyLock<Identity> = LazyLock::new(|| Identity::from_seed(&[1; 32]));
static BOB: LazyLock<Identity> = LazyLock::new(|| Identity::from_seed(&[2; 32]));
static SEALED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = SeededEntropy::new(1);
    envelope::seal(&*ALICE, BOB.public(), b"context", b"content", &mut rng).expect("short")
});

/// Each three bytes change one byte of the original; the last may cut it.
fn altered(original: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    let (changes, cut) = changes.as_chunks::<3>();
    for [high, low, value] in changes {
        let place = usize::from(u16::from_be_bytes([*high, *low]));
        if let Some(byte) = bytes.get_mut(place) {
            *byte ^= value;
        }
    }
    bytes.truncate(bytes.len() - cut.iter().map(|byte| usize::from(*byte)).sum::<usize>());
    bytes
}

fn envelopes(input: &[u8]) {
    let bytes = altered(&SEALED, input);
    let opened = envelope::open(&BOB, b"context", &bytes);
    assert_eq!(opened.is_ok(), bytes == *SEALED, "an altered envelope opened");
}

fn files(bytes: &[u8]) {
    let protection = identity_file::protection(bytes);
    let decoded = identity_file::decode(bytes, None);
    match (protection, decoded) {
        (Ok(Protection::Plain), Ok(identity)) => {
            assert_eq!(&identity_file::encode_plain(&identity)[..], bytes);
        }
        (Ok(Protection::Passphrase) | Err(_), Ok(_)) => panic!("opened without a passphrase"),
        (_, Err(error)) => assert!(!error.to_string().is_empty()),
    }
}

fn text(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else { return };
    if let Ok(account) = text.parse::<AccountRef>() {
        assert_eq!(account.to_string().parse(), Ok(account));
    }
    if let Ok(legacy) = text.parse::<LegacyId>() {
        assert_eq!(legacy.to_string().parse(), Ok(legacy));
        assert!(text.parse::<AccountRef>().is_err(), "a classical id was taken");
    }
}

fn keys(bytes: &[u8]) {
    if let Ok(keys) = PublicIdentity::decode_exact(bytes) {
        assert_eq!(keys.to_bytes(), bytes);
    }
    if let Ok(key) = KemPublicKey::try_from(bytes) {
        let (ciphertext, _) = key.encapsulate(&mut SeededEntropy::new(1));
        drop(BOB.decapsulate(&ciphertext));
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 8 {
        0 => drop(envelope::open(&BOB, b"", bytes)),
        1 => envelopes(bytes),
        2 => files(bytes),
        3 => files(&altered(&identity_file::encode_plain(&ALICE), bytes)),
        4 => text(bytes),
        5 => drop(seed::decrypt_from_sender(&BOB, bytes)),
        6 => drop(seed::verify_message(ALICE.public().dsa(), bytes)),
        _ => keys(bytes),
    }
});
