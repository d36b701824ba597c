//! Whatever a stranger seals into a message is refused or canonical, and file names are safe.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_core::{Decode, Encode, SeededEntropy};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{Signer, envelope};
use session_messaging::attachment::{CHUNK_BYTES, Pieces, chunk_length};
use session_messaging::{Content, FileName, Manifest, open_message_with, read_card, seal_message};
use session_protocol::NetworkId;

static ALICE: LazyLock<FakeIdentity> = LazyLock::new(|| FakeIdentity::new(&[1; 32]));
static BOB: LazyLock<FakeIdentity> = LazyLock::new(|| FakeIdentity::new(&[2; 32]));

fn canonical<T: Decode + Encode>(bytes: &[u8]) -> Option<T> {
    let value = T::decode_exact(bytes).ok()?;
    assert_eq!(value.to_bytes(), bytes, "accepted, but not what encoding produces");
    Some(value)
}

fn manifest(manifest: &Manifest) {
    let (size, chunks) = (manifest.size(), manifest.chunks());
    let whole: u64 = (0..chunks).map(|index| chunk_length(size, index) as u64).sum();
    assert_eq!(whole, size, "the chunks do not make the file");
    assert!(chunks == 0 || (1..=CHUNK_BYTES).contains(&chunk_length(size, chunks - 1)));
    match manifest.pieces() {
        Pieces::Chunks { ids } => assert_eq!(ids.len(), chunks as usize),
        Pieces::Indexes { ids } => assert!(ids.len() < chunks as usize),
    }
    safe(manifest.name());
}

fn safe(name: &FileName) {
    let text = name.as_str();
    assert!(!text.is_empty() && text.len() <= 255);
    assert!(!text.starts_with('.') && !text.contains(['/', '\\', '\0', '\n']));
    assert_eq!(&FileName::sanitise(text), name, "cleaning again changes it");
    assert_eq!(FileName::decode_exact(&name.to_bytes()).as_ref(), Ok(name));
}

/// The content of an authentic message is still a stranger's.
fn message(plain: &[u8]) {
    let network = NetworkId::default();
    let mut rng = SeededEntropy::new(1);
    let sealed = envelope::seal(&*ALICE, BOB.public(), network.as_ref(), plain, &mut rng);
    let Ok(sealed) = sealed else { return };
    let opened = open_message_with(&*BOB, &FakeVerifier, network, &sealed);
    if let Ok(message) = opened {
        assert_eq!(&message.sender, ALICE.public());
        let mut rng = SeededEntropy::new(1);
        let again = seal_message(&*ALICE, BOB.public(), network, &message.content, &mut rng);
        assert_eq!(&again.expect("it fitted before")[..], sealed, "two forms of one message");
        if let Content::File { manifest: file, .. } = &message.content {
            manifest(file);
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 6 {
        0 => message(bytes),
        1 => drop(canonical::<Content>(bytes)),
        2 => {
            if let Some(file) = canonical::<Manifest>(bytes) {
                manifest(&file);
            }
        }
        3 => safe(&FileName::sanitise(&String::from_utf8_lossy(bytes))),
        4 => drop(canonical::<FileName>(bytes)),
        _ => drop(read_card(&BOB.public().account_id(), bytes)),
    }
});
