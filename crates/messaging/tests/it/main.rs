//! Messages and files from one identity to another, as nodes and enemies may treat them.

mod limits;
mod mls;
mod mls_interop;
mod mls_memory;

use session_core::{Encode as _, Entropy as _, InboxAddress, SeededEntropy, Time};
use session_crypto::envelope::EnvelopeError;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{Identity, Signer as _};
use session_messaging::attachment::CHUNK_BYTES;
use session_messaging::card::BadCard;
use session_messaging::content::{OpenError, TEXT_BYTES_MAX, TextTooLong};
use session_messaging::{
    Content, FileHash, FileKey, FileName, Opener, Sealer, card_item, open_message,
    open_message_with, read_card, seal_message,
};
use session_protocol::inbox::{ATTACHMENTS, is_card_of, message_id};
use session_protocol::limits::ITEM_BYTES_MAX;
use session_protocol::membership::network_id;
use session_protocol::{AccessRule, NetworkId};

fn people() -> (Identity, Identity, NetworkId, SeededEntropy) {
    let mut rng = SeededEntropy::new(1);
    let (alice, bob) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
    (alice, bob, network_id("test"), rng)
}

fn inbox(owner: &Identity) -> InboxAddress {
    AccessRule::from(owner.public().account_id()).address()
}

#[test]
fn a_text_arrives() {
    let (alice, bob, network, mut rng) = people();
    for length in [0, 1, 1000, TEXT_BYTES_MAX] {
        let content = Content::text(Time::from_millis(5), "x".repeat(length)).unwrap();
        let item = seal_message(&alice, bob.public(), network, &content, &mut rng).unwrap();
        assert!(item.len() <= ITEM_BYTES_MAX);
        let message = open_message(&bob, network, &item).unwrap();
        assert_eq!(&message.sender, alice.public());
        assert_eq!(message.content, content);
        assert_eq!(message.content.sent_at(), Time::from_millis(5));
    }
}

#[test]
fn a_longer_text_is_to_be_sent_as_a_file() {
    let error = Content::text(Time::ZERO, "x".repeat(TEXT_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(error, TextTooLong { got: 60_001 });
    assert!(error.to_string().contains("send it as a file"), "{error}");
}

#[test]
fn texts_of_similar_length_look_alike() {
    let (alice, bob, network, mut rng) = people();
    let mut size = |text: &str| {
        let content = Content::text(Time::ZERO, text).unwrap();
        seal_message(&alice, bob.public(), network, &content, &mut rng).unwrap().len()
    };
    assert_eq!(size("yes"), size("no, not at all"));
}

#[test]
fn only_the_recipient_on_this_network_opens_it() {
    let (alice, bob, network, mut rng) = people();
    let content = Content::text(Time::ZERO, "secret").unwrap();
    let item = seal_message(&alice, bob.public(), network, &content, &mut rng).unwrap();
    let refused = Err(OpenError::Envelope(EnvelopeError::NotOpened));
    assert_eq!(open_message(&alice, network, &item), refused);
    assert_eq!(open_message(&bob, network_id("another"), &item), refused);
    assert!(!item.windows(6).any(|window| window == b"secret"));
}

#[test]
fn an_altered_or_cut_item_does_not_open() {
    let (alice, bob, network, mut rng) = people();
    let content = Content::text(Time::ZERO, "hello").unwrap();
    let item = seal_message(&alice, bob.public(), network, &content, &mut rng).unwrap().to_vec();
    for _ in 0..200 {
        let mut altered = item.clone();
        let place = rng.below(altered.len() as u64) as usize;
        altered[place] ^= 1 << rng.below(8);
        assert!(open_message(&bob, network, &altered).is_err(), "byte {place}");
        let length = rng.below(item.len() as u64) as usize;
        assert!(open_message(&bob, network, &item[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn the_simulator_uses_the_same_door() {
    let (alice, bob) = (FakeIdentity::new(&[1; 32]), FakeIdentity::new(&[2; 32]));
    let (network, mut rng) = (network_id("test"), SeededEntropy::new(1));
    let content = Content::text(Time::ZERO, "hello").unwrap();
    let item = seal_message(&alice, bob.public(), network, &content, &mut rng).unwrap();
    let message = open_message_with(&bob, &FakeVerifier, network, &item).unwrap();
    assert_eq!((&message.sender, &message.content), (alice.public(), &content));
}

#[test]
fn a_file_arrives_whatever_the_order_of_its_chunks() {
    let (alice, bob, network, mut rng) = people();
    let mut bytes = vec![0; 5 * CHUNK_BYTES + 77];
    rng.fill(&mut bytes);

    let key = FileKey::generate(&mut rng);
    let mut sealer = Sealer::new(key, bytes.len() as u64, inbox(&bob)).unwrap();
    let mut chunks: Vec<_> =
        (0..).zip(bytes.chunks(CHUNK_BYTES).map(|c| sealer.seal_next(c).unwrap())).collect();
    for (_, chunk) in &chunks {
        assert_eq!(chunk.id, message_id(&inbox(&bob), ATTACHMENTS, &chunk.item));
    }
    let (manifest, indexes) = sealer.finish(FileName::sanitise("../photo.jpg")).unwrap();
    assert!(indexes.is_empty());
    let content = Content::File { sent_at: Time::ZERO, manifest };
    let item = seal_message(&alice, bob.public(), network, &content, &mut rng).unwrap();

    let Content::File { manifest, .. } = open_message(&bob, network, &item).unwrap().content else {
        panic!("a file was sent")
    };
    assert_eq!(manifest.name().as_str(), "_photo.jpg");
    let opener = Opener::new(manifest);
    let mut written = vec![0; bytes.len()];
    chunks.reverse();
    for (number, chunk) in &chunks {
        let start = *number as usize * CHUNK_BYTES;
        let plain = opener.open_chunk(*number, &chunk.item).unwrap();
        written[start..start + plain.len()].copy_from_slice(&plain);
    }
    assert_eq!(written, bytes);
    let mut hash = FileHash::new();
    hash.update(&written);
    assert_eq!(opener.manifest().check_hash(&hash), Ok(()));
}

#[test]
fn a_card_proves_itself() {
    let (alice, bob, ..) = people();
    let account = alice.public().account_id();
    let item = card_item(alice.public());
    assert!(is_card_of(&inbox(&alice), &item), "nodes accept it");
    assert_eq!(read_card(&account, &item).as_ref(), Ok(alice.public()));
    let (got, expected) = (bob.public().account_id(), account);
    let foreign = read_card(&account, &card_item(bob.public()));
    assert_eq!(foreign, Err(BadCard::WrongAccount { got, expected }));
    let mut altered = item.to_vec();
    altered[3000] ^= 1;
    assert!(matches!(read_card(&account, &altered), Err(BadCard::WrongAccount { .. })));
    assert!(matches!(read_card(&account, &item[1..]), Err(BadCard::Malformed(_))));
    assert_eq!(item.to_vec(), alice.public().to_bytes());
}
