//! Only what an account signed as it stands is believed, and that has one form and no contradiction.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_core::{Blob, Decode, Digest, Domain, Encode, List, SeededEntropy, Text, Time, digest};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{LegacyKey, Signer, SymmetricKey, XWingSecret};
use session_protocol::AccessRule;
use session_protocol::inbox::Mailbox;
use session_protocol::manifest::{
    Device, Directory, IntroRoute, LIFE_MAX, LegacyLink, Manifest, SignedManifest,
};

static OWNER: LazyLock<FakeIdentity> = LazyLock::new(|| FakeIdentity::new(&[1; 32]));
static SIGNED: LazyLock<SignedManifest> = LazyLock::new(|| sign(manifest()));

fn network() -> Digest {
    [0x4e; 32].into()
}

fn manifest() -> Manifest {
    let mailbox = Mailbox::derive(&SymmetricKey::from([8; 32]), &[b"mailbox"]);
    let device = |byte| {
        let key = digest(Domain::DeviceId, &[&[byte; 1952]]);
        let id = *key.as_bytes().first_chunk().expect("16 of 32");
        Device { id, key, added: Time::from_millis(1), name: Text::new("phone").expect("short") }
    };
    let key = XWingSecret::from_seed(&[9; 32]).public();
    let account = OWNER.public().account_id();
    Manifest {
        version: 1,
        network: network(),
        keys: OWNER.public().clone(),
        seq: 2,
        previous: [3; 32].into(),
        made: Time::from_millis(4),
        expiry: Time::from_millis(5),
        intro: IntroRoute {
            key_id: 1,
            key: Blob::new(key.as_ref()).expect("the size of a key"),
            rule: mailbox.rule(),
            write: mailbox.write.clone(),
        },
        directory: Directory { rule: mailbox.rule(), read: mailbox.read.clone() },
        devices: List::new([device(1), device(2)]).expect("two"),
        legacy: Some(LegacyLink::sign(&LegacyKey::from_seed(&[3; 32]), &network(), &account)),
    }
}

fn sign(manifest: Manifest) -> SignedManifest {
    manifest.sign(&*OWNER, &mut SeededEntropy::new(1))
}

/// Each four bytes change one byte of the original.
fn altered(mut bytes: Vec<u8>, changes: &[u8]) -> Vec<u8> {
    for [a, b, c, change] in changes.as_chunks().0 {
        let place = u32::from_be_bytes([0, *a, *b, *c]) as usize % bytes.len();
        bytes[place] ^= change;
    }
    bytes
}

/// What the account itself signed is believed only if nothing in it contradicts the rest.
fn signed_anew(bytes: &[u8]) {
    let Ok(changed) = Manifest::decode_exact(bytes) else { return };
    assert_eq!(changed.to_bytes(), bytes, "accepted, but not what encoding produces");
    if changed.keys != *OWNER.public() {
        return;
    }
    let signed = sign(changed);
    if signed.check(&network(), &FakeVerifier).is_err() {
        return;
    }
    let Manifest { made, expiry, intro, directory, devices, .. } = &signed.manifest;
    assert!(*made < *expiry && expiry.since(*made) <= LIFE_MAX);
    let mailboxes = [intro.rule, directory.rule];
    assert!(mailboxes.iter().all(|rule| matches!(rule, AccessRule::Mailbox { .. })));
    for device in devices {
        assert_eq!(signed.device(&device.id), Some(device), "an id is there twice");
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    let account = OWNER.public().account_id();
    let read = |bytes: &[u8]| SignedManifest::read(&account, &network(), bytes, &FakeVerifier);
    match kind % 3 {
        0 => drop(read(bytes)),
        1 => {
            let bytes = altered(SIGNED.to_bytes(), bytes);
            assert_eq!(read(&bytes).is_ok(), bytes == SIGNED.to_bytes(), "altered and believed");
        }
        _ => signed_anew(&altered(manifest().to_bytes(), bytes)),
    }
});
