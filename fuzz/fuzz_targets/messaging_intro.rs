//! No introduction makes anything panic; what was altered does not open; what opens has one form.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_core::{Blob, Decode, Encode, List, SeededEntropy, Time};
use session_crypto::fake::FakeIdentity;
use session_crypto::{Signer, SymmetricKey, XWingSecret};
use session_messaging::boxes::Assembly;
use session_messaging::intro::{self, Intro, IntroBody};
use session_messaging::say::DeviceId;
use session_protocol::inbox::Mailbox;
use session_protocol::manifest::{Directory, IntroRoute, Manifest, SignedManifest};

static SECRET: LazyLock<XWingSecret> = LazyLock::new(|| XWingSecret::from_seed(&[9; 32]));
static SENDER: LazyLock<SignedManifest> = LazyLock::new(sender);
static ITEM: LazyLock<Vec<u8>> = LazyLock::new(|| seal(&link(b"payload")).remove(0));

fn mailbox() -> Mailbox {
    Mailbox::derive(&SymmetricKey::from([8; 32]), &[b"intro"])
}

fn route() -> IntroRoute {
    let key = Blob::new(SECRET.public().as_ref()).expect("the size of a key");
    IntroRoute { key_id: 1, key, rule: mailbox().rule(), write: mailbox().write }
}

fn sender() -> SignedManifest {
    let identity = FakeIdentity::new(&[1; 32]);
    let manifest = Manifest {
        version: 1,
        network: [2; 32].into(),
        keys: identity.public().clone(),
        seq: 1,
        previous: [0; 32].into(),
        made: Time::from_millis(1),
        expiry: Time::from_millis(2),
        intro: route(),
        directory: Directory { rule: mailbox().rule(), read: mailbox().read },
        devices: List::new([]).expect("none"),
        legacy: None,
    };
    manifest.sign(&identity, &mut SeededEntropy::new(1))
}

fn link(payload: &[u8]) -> Intro {
    let payload = Blob::new(payload).expect("short");
    let body = IntroBody::Link { payload };
    Intro { version: 1, sender: SENDER.clone(), device: DeviceId([3; 16]), body }
}

fn seal(intro: &Intro) -> Vec<Vec<u8>> {
    let items = intro::seal(intro, &route(), &mut SeededEntropy::new(1)).expect("not too long");
    items.into_iter().map(Blob::into_vec).collect()
}

/// Each three bytes change one byte of the original.
fn altered(changes: &[u8]) {
    let mut item = ITEM.clone();
    for [high, low, change] in changes.as_chunks().0 {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % item.len();
        item[place] ^= change;
    }
    let opened = intro::open(&SECRET, &mailbox().address(), &item);
    assert_eq!(opened.is_ok(), item == *ITEM, "an altered introduction opened");
}

fn read(bytes: &[u8]) {
    if let Ok(intro) = intro::read(bytes) {
        assert_eq!(intro.to_bytes(), bytes, "accepted, but not what encoding produces");
        round_trip(&intro);
    }
}

fn round_trip(intro: &Intro) {
    let mut whole = None;
    let mut assembly: Option<Assembly> = None;
    for item in seal(intro) {
        let piece = intro::open(&SECRET, &mailbox().address(), &item).expect("opens");
        let assembly =
            assembly.get_or_insert_with(|| Assembly::new(&piece).expect("possible numbers"));
        whole = assembly.add(piece).expect("of this introduction").or(whole);
    }
    assert_eq!(intro::read(&whole.expect("all pieces")).as_ref(), Ok(intro));
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 5 {
        0 => drop(intro::open(&SECRET, &mailbox().address(), bytes)),
        1 => altered(bytes),
        2 => read(bytes),
        // Behind a true beginning, the body is the input's.
        3 => read(&[&link(b"").to_bytes()[..2 + SENDER.to_bytes().len() + 16], bytes].concat()),
        _ => {
            if let Ok(body) = IntroBody::decode_exact(bytes) {
                assert_eq!(body.to_bytes(), bytes);
            }
        }
    }
});
