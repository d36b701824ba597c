use session_core::testing::check_codec;
use session_core::{List, SeededEntropy};

use super::*;
use crate::attachment::{FileKey, Sealer};
use crate::file_name::FileName;

fn manifest() -> Manifest {
    let mut sealer = Sealer::new(FileKey::from([7; 32]), 3, [9; 32].into()).unwrap();
    sealer.seal_next(b"abc").unwrap();
    sealer.finish(FileName::sanitise("a.txt")).unwrap().0
}

#[test]
fn golden_bytes_of_a_text() {
    let content = Content::text(Time::from_millis(0x0102), "hé").unwrap();
    check_codec(
        &Versioned::V1 { content },
        "01                # version
         01                # text
         0000000000000102  # sent at
         00000003 68c3a9   # body",
    );
}

// The id in it binds every byte of the sealed chunk.
#[test]
fn golden_bytes_of_a_file() {
    let content = Content::File { sent_at: Time::from_millis(2), manifest: manifest() };
    check_codec(
        &Versioned::V1 { content },
        "01                   # version
         02                   # file
         0000000000000002     # sent at
         00000005 612e747874  # name
         0000000000000003     # size
         0707070707070707070707070707070707070707070707070707070707070707 # key
         1ca0135b92918302323308f8a803236ec7cce5343059a60af479cce372d23769 # hash
         01                   # ids of chunks
         00000001             # one
         44150906bb867507c21c39c276d5b95f55b90ebbb57404918c3ecbeac198a11b",
    );
}

#[test]
fn the_version_is_checked() {
    let mut bytes = Versioned::V1 { content: Content::text(Time::ZERO, "x").unwrap() }.to_bytes();
    bytes[0] = 2;
    assert_eq!(
        Versioned::decode_exact(&bytes),
        Err(DecodeError::UnknownTag { field: "Versioned", got: 2 })
    );
}

#[test]
fn a_sealed_message_with_unknown_content_says_so() {
    let mut rng = SeededEntropy::new(1);
    let (alice, bob) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
    let network = session_protocol::membership::network_id("test");
    let sealed =
        envelope::seal(&alice, bob.public(), network.as_ref(), &[1, 99], &mut rng).unwrap();
    assert_eq!(
        open_message(&bob, network, &sealed),
        Err(OpenError::Content(DecodeError::UnknownTag { field: "Content", got: 99 }))
    );
}

// The largest contents there are fit into an item.
#[test]
fn the_bounds_fit_into_an_item() {
    let text = Content::text(Time::ZERO, "x".repeat(TEXT_BYTES_MAX)).unwrap();
    let plain = Versioned::V1 { content: text }.to_bytes().len();
    assert!(envelope::sealed_size(plain).is_some());
    let ids = List::<session_core::MessageId, 1024>::new(vec![[0; 32].into(); 1024]).unwrap();
    let largest_manifest = 4 + 255 + 8 + 32 + 32 + 1 + ids.to_bytes().len();
    assert!(envelope::sealed_size(2 + 8 + largest_manifest).is_some());
}
