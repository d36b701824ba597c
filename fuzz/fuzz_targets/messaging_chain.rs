//! Boxes of a chain that come in any order, altered and again: each opens once, and a box that does
//! not open changes nothing.
#![no_main]

use std::collections::BTreeSet;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_core::{Decode, Encode, SeededEntropy};
use session_crypto::SymmetricKey;
use session_messaging::boxes::Place;
use session_messaging::chain::{Chain, SKIP_MAX};
use session_messaging::say::GroupId;

/// More than the window is wide.
const BOXES: u32 = 1500;

static SEALED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let (mut chain, mut rng) = (start(), SeededEntropy::new(1));
    let mut seal =
        |n: u32| chain.seal(&place(), &n.to_be_bytes(), &mut rng).expect("short").into_vec();
    (0..BOXES).map(&mut seal).collect()
});

fn place() -> Place {
    Place { address: [1; 32].into(), group: GroupId { bytes: [2; 32] }, epoch: 3 }
}

fn start() -> Chain {
    Chain::start(&SymmetricKey::from([4; 32]), &place(), 5)
}

/// Five bytes deliver a box: its number, and where it is altered, if at all.
fn deliver(input: &[u8]) {
    let (mut chain, mut opened) = (start(), BTreeSet::new());
    for [high, low, place_high, place_low, change] in input.as_chunks().0 {
        let n = u32::from(u16::from_be_bytes([*high, *low])) % BOXES;
        let mut item = SEALED[n as usize].clone();
        let index = usize::from(u16::from_be_bytes([*place_high, *place_low])) % item.len();
        item[index] ^= change;
        let before = chain.clone();
        match chain.open(&place(), &item) {
            Ok(message) => {
                assert_eq!((message.n, message.content), (n, n.to_be_bytes().to_vec()));
                assert!(*change == 0 && opened.insert(n), "altered, or for the second time");
            }
            Err(_) => {
                assert_eq!(chain, before, "a box that was refused left a trace");
                let ahead = before.next..=before.next.saturating_add(SKIP_MAX as u32);
                let waits = before.skipped.iter().any(|skipped| skipped.n == n);
                assert!(*change != 0 || !(ahead.contains(&n) || waits), "box {n} did not open");
            }
        }
        assert!(chain.skipped.len() <= SKIP_MAX);
    }
    assert_eq!(Chain::decode_exact(&chain.to_bytes()), Ok(chain));
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 3 {
        0 => drop(start().open(&place(), bytes)),
        1 => deliver(bytes),
        _ => {
            if let Ok(mut chain) = Chain::decode_exact(bytes) {
                assert_eq!(chain.to_bytes(), bytes);
                drop(chain.seal(&place(), b"", &mut SeededEntropy::new(1)));
                drop(chain.open(&place(), &SEALED[0]));
            }
        }
    }
});
