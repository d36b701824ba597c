//! Receipts: signed together, each proven alone.

use session_core::merkle::Proof;
use session_core::{Digest, SeededEntropy, SwarmId};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{Identity, RealVerifier, Signer};
use session_protocol::NetworkId;
use session_protocol::membership::network_id;
use session_protocol::receipt::{
    BadReceipt, ReceiptPath, SignedRoot, StorageReceipt, sign_receipts,
};

use crate::codec::{check, limit};
use crate::values::{address, message, node, proof, signed_root, time};

fn network() -> NetworkId {
    network_id("test")
}

fn receipt() -> StorageReceipt {
    StorageReceipt {
        node: node(),
        swarm: SwarmId(3),
        address: address(),
        message: message(),
        expiry: time(0x0102),
        stored_at: time(0x0304),
    }
}

fn signer() -> FakeIdentity {
    FakeIdentity::new(&[1; 32])
}

/// The receipts of one commit of `count` items.
fn receipts(count: u8) -> Vec<StorageReceipt> {
    let node = signer().public().node_id();
    (0..count).map(|n| StorageReceipt { node, message: [n; 32].into(), ..receipt() }).collect()
}

fn sign(receipts: &[StorageReceipt]) -> (SignedRoot, Vec<Proof>) {
    sign_receipts(network(), &signer(), receipts, &mut SeededEntropy::new(1))
}

#[test]
fn golden_bytes() {
    check(
        &receipt(),
        "0a*32            # node
         0000000000000003 # swarm
         0b*32            # address
         0c*32            # message
         0000000000000102 # expiry
         0000000000000304 # stored at",
    );
    check(&signed_root(), "0a*32 66*32 33*3309");
    check(
        &ReceiptPath { root: 7, expiry: time(8), stored_at: time(9), proof: proof() },
        "0007                              # root
         0000000000000008 0000000000000009 # expiry, stored at
         0000000000000001 0000000000000002 # index, leaves
         00000001 55*32                    # siblings",
    );
    limit::<ReceiptPath>("0007 00*16 00*16", 64);
}

/// Computed apart, from the bytes that the seed and docs/wire/inbox.md list.
#[test]
fn ids_and_leaves_are_fixed() {
    assert_eq!(
        receipt().id(network()).to_string(),
        "f8cde935b2ecd32384a9858eb10c3a90bc3619a2ab422983b75a37789e307c8c"
    );
    assert_eq!(
        receipt().leaf(network()).to_string(),
        "c411a0581c64a647254fa18c8f15d0dc55f926b680c6afb32f015ddc07a67d92"
    );
}

#[test]
fn every_receipt_of_every_commit_is_proven() {
    for count in 1..=20 {
        let receipts = receipts(count);
        let (root, proofs) = sign(&receipts);
        assert_eq!(proofs.len(), receipts.len());
        assert_eq!(root.verify(network(), signer().public().dsa(), &FakeVerifier), Ok(()));
        for (place, (receipt, proof)) in receipts.iter().zip(&proofs).enumerate() {
            assert_eq!(root.covers(network(), receipt, proof), Ok(()), "{place} of {count}");
        }
        // A proof fits its own receipt only.
        for (place, proof) in proofs.iter().enumerate() {
            for (other, receipt) in receipts.iter().enumerate().filter(|(n, _)| *n != place) {
                let fits = root.covers(network(), receipt, proof).is_ok();
                assert!(!fits, "the proof of {place} fits {other} of {count}");
            }
        }
    }
}

/// A change to a receipt, and what it is called when the test fails.
type Change = (&'static str, fn(&mut StorageReceipt));

#[test]
fn no_field_can_be_changed() {
    let changes: &[Change] = &[
        ("node", |receipt| receipt.node = node()),
        ("swarm", |receipt| receipt.swarm = SwarmId(4)),
        ("address", |receipt| receipt.address = [9; 32].into()),
        ("message", |receipt| receipt.message = [99; 32].into()),
        ("expiry", |receipt| receipt.expiry = time(1)),
        ("stored_at", |receipt| receipt.stored_at = time(1)),
    ];
    let receipts = receipts(5);
    let (root, proofs) = sign(&receipts);
    for (what, change) in changes {
        let mut changed = receipts[3];
        change(&mut changed);
        let refused = root.covers(network(), &changed, &proofs[3]);
        assert_eq!(refused, Err(BadReceipt::Path(root.node)), "{what}");
    }
    let elsewhere = root.covers(network_id("another"), &receipts[3], &proofs[3]);
    assert_eq!(elsewhere, Err(BadReceipt::Path(root.node)));
}

#[test]
fn the_signature_is_bound_to_network_node_and_root() {
    let (root, _) = sign(&receipts(3));
    let key = signer().public().dsa().clone();
    let refused = Err(BadReceipt::Signature(root.node));
    assert_eq!(root.verify(network_id("another"), &key, &FakeVerifier), refused);
    let other = FakeIdentity::new(&[2; 32]);
    assert_eq!(root.verify(network(), other.public().dsa(), &FakeVerifier), refused);
    let swapped = SignedRoot { root: Digest::default(), ..root.clone() };
    assert_eq!(swapped.verify(network(), &key, &FakeVerifier), refused);
}

/// A node cannot show another node's commit as its own, nor its own under another's name.
#[test]
fn another_nodes_root_does_not_cover() {
    let receipts = receipts(3);
    let (mine, proofs) = sign(&receipts);
    let other = FakeIdentity::new(&[2; 32]);
    let (theirs, _) = sign_receipts(network(), &other, &receipts, &mut SeededEntropy::new(1));
    // The tree is the same; the name in the receipts is not the signer's.
    assert_eq!(theirs.root, mine.root);
    let refused = theirs.covers(network(), &receipts[0], &proofs[0]);
    assert_eq!(refused, Err(BadReceipt::Path(other.public().node_id())));

    let renamed = SignedRoot { node: receipts[0].node, ..theirs };
    assert_eq!(renamed.covers(network(), &receipts[0], &proofs[0]), Ok(()));
    let key = signer().public().dsa().clone();
    let refused = renamed.verify(network(), &key, &FakeVerifier);
    assert_eq!(refused, Err(BadReceipt::Signature(receipts[0].node)));
}

#[test]
fn proofs_of_other_commits_do_not_fit() {
    let five = receipts(5);
    let (root, _) = sign(&five);
    let (_, four) = sign(&five[..4]);
    for (receipt, proof) in five.iter().zip(&four) {
        assert_eq!(root.covers(network(), receipt, proof), Err(BadReceipt::Path(root.node)));
    }
}

#[test]
fn true_signatures_verify() {
    let node = Identity::from_seed(&[1; 32]);
    let receipts = [StorageReceipt { node: node.public().node_id(), ..receipt() }];
    let (root, proofs) = sign_receipts(network(), &node, &receipts, &mut SeededEntropy::new(1));
    assert_eq!(root.verify(network(), node.public().dsa(), &RealVerifier), Ok(()));
    assert_eq!(root.covers(network(), &receipts[0], &proofs[0]), Ok(()));
    let elsewhere = root.verify(network_id("another"), node.public().dsa(), &RealVerifier);
    assert_eq!(elsewhere, Err(BadReceipt::Signature(root.node)));
}
