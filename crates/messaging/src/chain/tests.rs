use session_core::testing::check_codec;
use session_core::{Decode as _, SeededEntropy, sha256};

use super::*;
use crate::boxes::BUCKETS;
use crate::say::GroupId;

const LEAF: u32 = 5;

fn place() -> Place {
    Place { address: [0xad; 32].into(), group: GroupId { bytes: [0x62; 32] }, epoch: 3 }
}

fn start() -> Chain {
    Chain::start(&SymmetricKey::from([7; 32]), &place(), LEAF)
}

/// Seals `count` boxes; box `n` says the number `n`.
fn sealed(count: u32) -> Vec<ItemBytes> {
    let (mut chain, mut rng) = (start(), SeededEntropy::new(1));
    (0..count).map(|n| chain.seal(&place(), &n.to_be_bytes(), &mut rng).expect("short")).collect()
}

fn opened(n: u32) -> Result<Opened, ChainError> {
    Ok(Opened { n, content: n.to_be_bytes().to_vec() })
}

/// Opens what must not open, and checks that nothing has changed.
#[track_caller]
fn refused(chain: &mut Chain, place: &Place, item: &[u8]) -> ChainError {
    let before = chain.clone();
    let error = chain.open(place, item).expect_err("it opened");
    assert_eq!(*chain, before, "a box that was refused left a trace");
    error
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn golden_bytes() {
    let mut chain = start();
    let item = &sealed(2)[1];
    assert_eq!(chain.open(&place(), item), opened(1));
    check_codec(
        &chain,
        "00000005 # leaf
         6aa790c21bfb0cc9e8481df48444920ef6d33a2150ace06fa3b5388e4031b5b1 # key of the next
         00000002 00000001 # next; skipped: one
         00000000 b1196217e5d38bdc6159c657f0016aa9 # number, tag
         9931de1c9eda3ef8b9c244b44cd07d4ee74b73d2e2d4e8718bbf2e5dc2620e71 # key",
    );
    assert_eq!(item.len(), 1024);
    assert_eq!(
        [hex(&item[1..17]), hex(&sha256(item))],
        [
            "d326daa8a49d8d49b9fc9ecb12741af6",
            "93b3200ff514d3f9822f7893acb45cb6f65ff644f2b23843934301aca7a9c46f"
        ]
    );
}

/// The keys, derived with nothing but the key derivation.
#[test]
fn derivation() {
    let parts: [&[u8]; 3] = [&[0x62; 32], &3u64.to_be_bytes(), &5u32.to_be_bytes()];
    let first = kdf(Domain::ChainRoot, &[7; 32], &parts);
    let second = kdf(Domain::ChainStep, first.expose(), &[]);
    let tag = kdf(Domain::ChainTag, second.expose(), &[]);
    let key = kdf(Domain::ChainMessage, second.expose(), &[]);
    let item = &sealed(2)[1];
    assert_eq!(item[1..17], tag.expose()[..16]);
    let data = [
        &[1][..],
        &[0xad; 32],
        &[0x62; 32],
        &3u64.to_be_bytes(),
        &5u32.to_be_bytes(),
        &1u32.to_be_bytes(),
    ];
    let sealed = boxes::parse(item).expect("a box");
    assert_eq!(boxes::open(&key, &data.concat(), &sealed), Ok(1u32.to_be_bytes().to_vec()));
}

#[test]
fn in_order() {
    let mut chain = start();
    for (n, item) in (0..).zip(sealed(50)) {
        assert_eq!(chain.open(&place(), &item), opened(n));
        assert!(chain.skipped.is_empty());
    }
}

#[test]
fn in_every_order_of_five() {
    let items = sealed(5);
    for order in permutations(&[0, 1, 2, 3, 4]) {
        let mut chain = start();
        for n in &order {
            assert_eq!(chain.open(&place(), &items[*n as usize]), opened(*n), "in {order:?}");
            // Stored and loaded in between.
            chain = Chain::decode_exact(&chain.to_bytes()).expect("as it was");
        }
        assert!(chain.skipped.is_empty(), "keys are left after {order:?}");
        for item in &items {
            assert_eq!(refused(&mut chain, &place(), item), ChainError::NoKey);
        }
    }
}

fn permutations(of: &[u32]) -> Vec<Vec<u32>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for first in of {
        let rest: Vec<u32> = of.iter().copied().filter(|other| other != first).collect();
        all.extend(permutations(&rest).into_iter().map(|rest| [&[*first][..], &rest].concat()));
    }
    all
}

#[test]
fn shuffled_with_gaps_and_repeats() {
    let items = sealed(300);
    for seed in 0..20 {
        let (mut chain, mut rng) = (start(), SeededEntropy::new(seed));
        let mut taken = std::collections::BTreeSet::new();
        for _ in 0..400 {
            let n = rng.below(300) as u32;
            let item = &items[n as usize];
            if taken.insert(n) {
                assert_eq!(chain.open(&place(), item), opened(n));
            } else {
                assert_eq!(refused(&mut chain, &place(), item), ChainError::NoKey, "again");
            }
        }
        let last = taken.last().copied().expect("some");
        assert_eq!(chain.next, last + 1);
        assert_eq!(chain.skipped.len() + taken.len(), last as usize + 1);
    }
}

#[test]
fn the_window_ends_after_a_thousand() {
    let items = sealed(SKIP_MAX as u32 + 3);
    let mut chain = start();
    let (far, farthest) = (&items[SKIP_MAX + 1], &items[SKIP_MAX]);
    assert_eq!(refused(&mut chain, &place(), far), ChainError::NoKey);
    assert!(!chain.knows(&boxes::parse(far).expect("a box").tag));
    assert!(chain.knows(&boxes::parse(farthest).expect("a box").tag));
    assert_eq!(chain.open(&place(), farthest), opened(SKIP_MAX as u32));
    assert_eq!(chain.skipped.len(), SKIP_MAX);
    // One more is skipped: the oldest key gives way.
    assert_eq!(chain.open(&place(), &items[SKIP_MAX + 2]), opened(SKIP_MAX as u32 + 2));
    assert_eq!(chain.skipped.len(), SKIP_MAX);
    assert_eq!(refused(&mut chain, &place(), &items[0]), ChainError::NoKey);
    for n in 1..SKIP_MAX as u32 {
        assert_eq!(chain.open(&place(), &items[n as usize]), opened(n));
    }
    assert_eq!(chain.open(&place(), far), opened(SKIP_MAX as u32 + 1));
    assert!(chain.skipped.is_empty());
}

#[test]
fn every_changed_byte_is_refused() {
    let items = sealed(2);
    for item in &items {
        let mut chain = start();
        for index in 0..item.len() {
            let mut bytes = item.to_vec();
            bytes[index] ^= 1;
            let expected = match index {
                0 => ChainError::Box(BoxError::NotABox),
                1..17 => ChainError::NoKey,
                _ => ChainError::Box(BoxError::NotOpened),
            };
            // The walk for an unknown tag is long: one place of the tag stands for all.
            if !(2..17).contains(&index) {
                assert_eq!(refused(&mut chain, &place(), &bytes), expected, "byte {index}");
            }
        }
        for length in [0, 1, 1023, 1025, 2048] {
            let mut bytes = item.to_vec();
            bytes.resize(length, 0);
            assert!(chain.open(&place(), &bytes).is_err());
        }
        assert!(chain.open(&place(), item).is_ok(), "after all this the true one opens");
    }
}

/// The same for one whose key was kept when a later one came first.
#[test]
fn a_skipped_key_outlives_forgeries() {
    let items = sealed(2);
    let mut chain = start();
    assert_eq!(chain.open(&place(), &items[1]), opened(1));
    for index in 17..1024 {
        let mut bytes = items[0].to_vec();
        bytes[index] ^= 0x80;
        let error = refused(&mut chain, &place(), &bytes);
        assert_eq!(error, ChainError::Box(BoxError::NotOpened));
    }
    assert_eq!(chain.open(&place(), &items[0]), opened(0));
}

#[test]
fn a_box_opens_where_it_belongs_only() {
    let item = &sealed(1)[0];
    let elsewhere = [
        Place { address: [0xae; 32].into(), ..place() },
        Place { group: GroupId { bytes: [0x63; 32] }, ..place() },
        Place { epoch: 4, ..place() },
    ];
    let root = SymmetricKey::from([7; 32]);
    for there in elsewhere {
        let error = refused(&mut start(), &there, item);
        assert_eq!(error, ChainError::Box(BoxError::NotOpened), "the chain of here");
        if there.address == place().address {
            let mut chain = Chain::start(&root, &there, LEAF);
            assert_eq!(refused(&mut chain, &there, item), ChainError::NoKey, "the chain of there");
        }
    }
    let mut other = Chain::start(&root, &place(), LEAF + 1);
    assert_eq!(refused(&mut other, &place(), item), ChainError::NoKey, "another sender");
    let mut renamed = Chain { leaf: LEAF + 1, ..start() };
    let error = refused(&mut renamed, &place(), item);
    assert_eq!(error, ChainError::Box(BoxError::NotOpened));
}

/// What a thief finds after a box was sealed or opened does not open it.
#[test]
fn used_keys_are_gone() {
    let items = sealed(10);
    let (mut sender, mut rng) = (start(), SeededEntropy::new(1));
    let mut receiver = start();
    for item in &items {
        sender.seal(&place(), b"", &mut rng).expect("short");
        receiver.open(&place(), item).expect("in order");
        for thief in [&sender, &receiver] {
            let mut stolen = Chain::decode_exact(&thief.to_bytes()).expect("as it was");
            assert_eq!(refused(&mut stolen, &place(), item), ChainError::NoKey);
        }
    }
}

/// A device that was set back seals two contents under one key: the nonces differ.
#[test]
fn a_rolled_back_sender_repeats_no_nonce() {
    let mut rng = SeededEntropy::new(2);
    let mut seal = || start().seal(&place(), b"said", &mut rng).expect("short");
    let (one, other) = (seal(), seal());
    assert_eq!(one[1..17], other[1..17], "the tag is that of the number");
    assert_ne!(one[17..41], other[17..41]);
}

#[test]
fn sizes_and_ends() {
    let (mut chain, mut rng) = (start(), SeededEntropy::new(1));
    for bucket in BUCKETS {
        let content = vec![0; bucket - boxes::OVERHEAD];
        let item = chain.seal(&place(), &content, &mut rng).expect("fits");
        assert_eq!(item.len(), bucket);
    }
    let before = chain.clone();
    let too_long = vec![0; boxes::CONTENT_BYTES_MAX + 1];
    let error = chain.seal(&place(), &too_long, &mut rng).expect_err("too long");
    assert!(matches!(error, ChainError::Box(BoxError::TooLong { .. })));
    assert_eq!(chain, before, "a content that was refused used a key up");

    chain.next = u32::MAX - 1;
    chain.seal(&place(), b"last", &mut rng).expect("the last number");
    assert_eq!(chain.seal(&place(), b"", &mut rng), Err(ChainError::Exhausted));
    assert_eq!(refused(&mut chain, &place(), &sealed(1)[0]), ChainError::NoKey);
}
