use session_core::testing::check_codec;
use session_core::{SeededEntropy, Time, digest, sha256};
use session_crypto::fake::FakeIdentity;
use session_crypto::{Signer, xwing};
use session_protocol::inbox::Mailbox;
use session_protocol::manifest::{Directory, Manifest};

use super::*;
use crate::boxes::Assembly;

fn secret() -> XWingSecret {
    XWingSecret::from_seed(&[9; 32])
}

fn mailbox(byte: u8) -> Mailbox {
    Mailbox::derive(&SymmetricKey::from([byte; 32]), &[b"intro"])
}

fn address() -> InboxAddress {
    mailbox(1).address()
}

fn route() -> IntroRoute {
    let key = Blob::new(secret().public().as_ref()).expect("the size of a key");
    IntroRoute { key_id: 1, key, rule: mailbox(1).rule(), write: mailbox(1).write }
}

fn sender() -> SignedManifest {
    let identity = FakeIdentity::new(&[1; 32]);
    let manifest = Manifest {
        version: 1,
        network: [0x4e; 32].into(),
        keys: identity.public().clone(),
        seq: 1,
        previous: [0; 32].into(),
        made: Time::from_millis(1),
        expiry: Time::from_millis(2),
        intro: route(),
        directory: Directory { rule: mailbox(2).rule(), read: mailbox(2).read },
        devices: List::new([]).expect("none"),
        legacy: None,
    };
    manifest.sign(&identity, &mut SeededEntropy::new(1))
}

fn intro(body: IntroBody) -> Intro {
    Intro { version: 1, sender: sender(), device: DeviceId([0xde; 16]), body }
}

/// A Welcome of the size that one has for two devices, with a tree of `tree` bytes.
fn welcome(tree: usize) -> Intro {
    intro(IntroBody::Welcome {
        group: GroupId { bytes: [0x62; 32] },
        epoch: 3,
        route: Secret::from([0x72; 32]),
        welcome: Blob::new(vec![0x77; 4776]).expect("short"),
        tree: Blob::new(vec![0x74; tree]).expect("short"),
        history: List::new([Past {
            author: [0xa0; 32].into(),
            said: Blob::new(b"said".to_vec()).expect("short"),
        }])
        .expect("one"),
    })
}

fn sealed(intro: &Intro) -> Vec<ItemBytes> {
    seal(intro, &route(), &mut SeededEntropy::new(1)).expect("a key, and not too long")
}

fn put_together(items: &[ItemBytes]) -> Option<Intro> {
    let mut assembly = None;
    let mut whole = None;
    for item in items {
        let piece = open(&secret(), &address(), item).expect("opens");
        let assembly =
            assembly.get_or_insert_with(|| Assembly::new(&piece).expect("possible numbers"));
        whole = assembly.add(piece).expect("of this introduction").or(whole);
    }
    whole.map(|bytes| read(&bytes).expect("an introduction"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_bytes_of_bodies() {
    let IntroBody::Welcome { group, epoch, route, history, .. } = welcome(0).body else {
        unreachable!("it is made as a Welcome")
    };
    let body = IntroBody::Welcome {
        group,
        epoch,
        route,
        welcome: Blob::new([0x77; 2]).expect("short"),
        tree: Blob::new([0x74; 3]).expect("short"),
        history,
    };
    let (b62, b72, ba0) = ("62".repeat(32), "72".repeat(32), "a0".repeat(32));
    check_codec(
        &body,
        &format!(
            "01 {b62} 0000000000000003 {b72} # welcome: group, epoch, route
             00000002 7777                   # welcome
             00000003 747474                 # tree
             00000001 {ba0} 00000004 73616964 # history: one, author, said"
        ),
    );
    let rejoin = IntroBody::Rejoin {
        group,
        at: Time::from_millis(7),
        key_package: Blob::new([0x6b; 2]).expect("short"),
        signature: Signature::from([0x33; 3309]),
    };
    check_codec(&rejoin, &format!("02 {b62} 0000000000000007 00000002 6b6b {}", "33".repeat(3309)));
    let link = IntroBody::Link { payload: Blob::new([0x6c; 2]).expect("short") };
    check_codec(&link, "03 00000002 6c6c");
}

#[test]
fn an_introduction_is_its_fields_in_order() {
    let intro = intro(IntroBody::Link { payload: Blob::new([0x6c; 2]).expect("short") });
    let parts = [&[0, 1][..], &intro.sender.to_bytes(), &[0xde; 16], &intro.body.to_bytes()];
    check_codec(&intro, &hex(&parts.concat()));
}

#[test]
fn golden_item() {
    let items = sealed(&welcome(14_309));
    assert_eq!(items.len(), 1, "a first contact is one item");
    assert_eq!(items[0].len(), 32 << 10);
    let head = "011c42edf1ce58238a1aaca63a06383175";
    assert_eq!(
        [hex(&items[0][..17]), hex(&sha256(&items[0]))],
        [head, "b2cfb3100bc0a299c73999c8463967f407e4406bdff962d169ad96236fba395f"]
    );
}

/// The layout, opened with nothing but the primitives.
#[test]
fn layout() {
    let intro = welcome(14_309);
    let item = &sealed(&intro)[0];
    assert_eq!(item[0], 1);
    let ciphertext = XWingCiphertext::try_from(&item[1..1121]).expect("1120 bytes");
    let shared = secret().decapsulate(&ciphertext);
    let (public, address) = (secret().public(), address());
    let parts = [ciphertext.as_ref(), public.as_ref(), address.as_ref()];
    let key = kdf(Domain::IntroKey, shared.expose(), &parts);
    let nonce = item[1121..1145].try_into().expect("24 bytes");
    let data = [&item[..1121], address.as_ref()].concat();
    let plain = aead::open(&key, nonce, &data, &item[1145..]).expect("opens");
    let bytes = intro.to_bytes();
    let name = digest(Domain::Pieces, &[&[1], &bytes]);
    let length = (bytes.len() as u32).to_be_bytes();
    let piece = [&name.as_bytes()[..16], &[0, 0, 0, 1, 1], &length, &bytes, &[0x80]].concat();
    assert_eq!(plain[..piece.len()], piece);
    assert!(plain[piece.len()..].iter().all(|byte| *byte == 0));
    assert_eq!(OVERHEAD, 1162);
}

#[test]
fn what_is_sealed_is_opened() {
    for tree in [0, 14_309, 20_000, 60_000, 130_000, 1_800_000] {
        let intro = welcome(tree);
        let items = sealed(&intro);
        let bytes = intro.to_bytes().len();
        assert_eq!(items.len(), bytes.div_ceil(PIECE_BYTES_MAX), "{bytes} bytes");
        assert!(items.iter().all(|item| SIZES.contains(&item.len())));
        assert_eq!(put_together(&items), Some(intro.clone()));
        let backwards: Vec<ItemBytes> = items.iter().rev().cloned().collect();
        assert_eq!(put_together(&backwards), Some(intro));
        assert_eq!(put_together(&items[1..]), None);
    }
}

#[test]
fn the_pieces_share_a_ciphertext_and_no_nonce() {
    let items = sealed(&welcome(130_000));
    let [first, second, ..] = items.as_slice() else { panic!("{} items", items.len()) };
    assert_eq!(first[..1121], second[..1121]);
    assert_ne!(first[1121..1145], second[1121..1145]);
}

#[test]
fn too_large_is_refused() {
    let largest = boxes::PIECES_MAX * PIECE_BYTES_MAX;
    let other = welcome(0).to_bytes().len();
    assert_eq!(sealed(&welcome(largest - other)).len(), boxes::PIECES_MAX);
    let error = seal(&welcome(largest - other + 1), &route(), &mut SeededEntropy::new(1));
    let refused = BadPiece::TooLong { got: largest + 1, limit: largest };
    assert_eq!(error, Err(IntroError::Piece(refused)));
}

#[test]
fn every_changed_byte_is_refused() {
    let item = &sealed(&welcome(100))[0];
    assert_eq!(item.len(), 32 << 10);
    let head = 0..1200;
    // A key pair is expanded and 32 KiB are authenticated for each: the body by samples.
    for place in head.step_by(7).chain((1200..item.len()).step_by(331)).chain([item.len() - 1]) {
        let mut bytes = item.to_vec();
        bytes[place] ^= 1;
        let expected = if place == 0 { IntroError::NotAnIntro } else { IntroError::NotOpened };
        assert_eq!(open(&secret(), &address(), &bytes), Err(expected), "byte {place}");
    }
    for length in [0, 1, 1121, 1145, (32 << 10) - 1, (32 << 10) + 1, (64 << 10) - 1, 76_800] {
        let mut bytes = item.to_vec();
        bytes.resize(length, 0);
        assert_eq!(open(&secret(), &address(), &bytes), Err(IntroError::NotAnIntro));
    }
    let longer = [&item[..], &[0; 32 << 10]].concat();
    assert_eq!(open(&secret(), &address(), &longer), Err(IntroError::NotOpened));
}

#[test]
fn another_mailbox_or_key_is_refused() {
    let item = &sealed(&welcome(100))[0];
    let elsewhere = mailbox(3).address();
    assert_eq!(open(&secret(), &elsewhere, item), Err(IntroError::NotOpened));
    let other = XWingSecret::from_seed(&[8; 32]);
    assert_eq!(open(&other, &address(), item), Err(IntroError::NotOpened));
}

#[test]
fn a_route_without_a_key_is_refused() {
    for key in [vec![], vec![0xff; xwing::XWING_PUBLIC_KEY_SIZE], vec![0; 1215]] {
        let route = IntroRoute { key: Blob::new(key).expect("within the limit"), ..route() };
        let refused = seal(&welcome(0), &route, &mut SeededEntropy::new(1));
        assert!(matches!(refused, Err(IntroError::Key(_))));
    }
}

/// A sender who knows the format and does not follow it.
#[test]
fn what_a_stranger_seals_is_checked() {
    let mut rng = SeededEntropy::new(1);
    let (ciphertext, shared) = secret().public().encapsulate(&mut rng);
    let key = content_key(shared.expose(), &ciphertext, &secret().public(), &address());
    let head = head(&ciphertext);
    let piece = boxes::cut(KIND, b"no introduction").expect("short").remove(0);
    let mut seal = |piece: &Piece| {
        let item = seal_piece(&key, &head, &address(), piece, &mut rng);
        open(&secret(), &address(), &item)
    };
    assert_eq!(seal(&piece), Ok(piece.clone()));
    let error = seal(&Piece { kind: 2, ..piece.clone() }).expect_err("another kind");
    assert!(matches!(error, IntroError::Malformed(_)));
    assert!(matches!(read(&piece.data), Err(IntroError::Malformed(_))));
    let later = Intro { version: 2, ..welcome(0) };
    assert!(matches!(read(&later.to_bytes()), Err(IntroError::Malformed(_))));

    let nonce = [5; NONCE_SIZE];
    for plain in [vec![0; (32 << 10) - HEAD - TAG_SIZE], vec![1; (32 << 10) - HEAD - TAG_SIZE]] {
        let body = aead::seal(&key, &nonce, &data(&head, &address()), &plain);
        let item = [&head[..], &nonce, &body].concat();
        let error = open(&secret(), &address(), &item).expect_err("padding of another form");
        assert!(matches!(error, IntroError::Malformed(_)));
    }
}

#[test]
fn a_rejoin_is_for_one_group_and_package() {
    let (one, other) = (GroupId { bytes: [1; 32] }, GroupId { bytes: [2; 32] });
    let (to, at) = (AccountId::from([9; 32]), Time::from_millis(7));
    let said = |group, to, at| rejoin_statement(group, to, at, b"package");
    let whole = [&[1; 32][..], &[9; 32], &7_u64.to_be_bytes(), b"package"].concat();
    assert_eq!(said(&one, &to, at), whole);
    assert_ne!(said(&one, &to, at), said(&other, &to, at));
}
