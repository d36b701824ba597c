use std::collections::BTreeSet;

use session_core::Entropy;

use super::{BUFFER_BYTES, OsEntropy};

#[test]
fn no_draw_repeats_across_blocks() {
    let mut entropy = OsEntropy::new().unwrap();
    let draws: BTreeSet<_> = (0..1000).map(|_| entropy.bytes32()).collect();
    assert_eq!(draws.len(), 1000);
}

#[test]
fn draws_of_every_size_are_filled_to_the_end() {
    let mut entropy = OsEntropy::new().unwrap();
    for size in [0, 1, BUFFER_BYTES - 1, BUFFER_BYTES, 3 * BUFFER_BYTES + 5] {
        let mut out = vec![0; size];
        entropy.fill(&mut out);
        // 32 zero bytes in a row have a chance of 2^-256.
        assert!(out.chunks_exact(32).all(|chunk| chunk != [0; 32]));
    }
}

#[test]
fn what_was_handed_out_is_erased() {
    let mut entropy = OsEntropy::new().unwrap();
    entropy.bytes32();
    assert_eq!(entropy.block[..32], [0; 32]);
    assert_ne!(entropy.block[32..64], [0; 32]);
}

#[test]
fn two_sources_differ() {
    assert_ne!(OsEntropy::new().unwrap().bytes32(), OsEntropy::new().unwrap().bytes32());
}
