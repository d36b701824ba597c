//! Files of receipts from outside, and a true one altered: whatever holds proves what the true one
//! proves.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_client::ReceiptProof;
use session_client::receipts::{BadReceiptFile, ReceiptFile, StoredProof, Verdict};
use session_core::{
    Decode, Encode, InboxAddress, List, MessageId, SeededEntropy, SwarmId, Text, Time,
};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::receipt::{StorageReceipt, sign_receipts};
use session_protocol::{Membership as _, NodeRecord, StaticMembership};

struct World {
    membership: StaticMembership,
    /// A file with as many receipts as make a quorum.
    file: Vec<u8>,
    verdict: Verdict,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let mut rng = SeededEntropy::new(1);
    let nodes: Vec<_> = (0..4).map(|_| FakeIdentity::generate(&mut rng)).collect();
    let records = nodes.iter().enumerate().map(|(index, keys)| NodeRecord {
        keys: keys.public().clone(),
        address: Text::new(format!("192.0.2.1:{index}")).expect("short"),
        swarm: SwarmId(1),
    });
    let membership = StaticMembership::new("fuzz", records).expect("different nodes");
    let (address, message) = (InboxAddress::from([9; 32]), MessageId::from([1; 32]));
    let mut receipts = Vec::new();
    for (number, keys) in (1u64..).zip(&nodes[..3]) {
        let receipt = StorageReceipt {
            node: keys.public().node_id(),
            swarm: SwarmId(1),
            address,
            message,
            expiry: Time::from_millis(5_000 + number),
            stored_at: Time::from_millis(1_000 + number),
        };
        // Others are in the same commit, so that there is a path.
        let other = StorageReceipt { message: MessageId::from([2; 32]), ..receipt };
        let (root, paths) = sign_receipts(membership.network(), keys, &[receipt, other], &mut rng);
        let proof = paths.into_iter().next().expect("one for each");
        receipts.push(ReceiptProof { receipt, root, proof });
    }
    let receipts = List::new(receipts).expect("three");
    let expiry = Time::from_millis(5_001);
    let proof = StoredProof { message, expiry, of: 4, needed: 3, receipts };
    let file = ReceiptFile::new(membership.network(), [proof]).expect("one part");
    let verdict = file.verify(&membership, &FakeVerifier).expect("it holds");
    World { membership, file: file.to_file(), verdict }
});

/// Whatever is read is written the same; whatever holds says what the true file says.
fn read(bytes: &[u8]) {
    let world = &*WORLD;
    match ReceiptFile::from_file(bytes) {
        Ok(file) => {
            assert_eq!(file.to_file(), bytes);
            match file.verify(&world.membership, &FakeVerifier) {
                Ok(verdict) => {
                    for part in &verdict.parts {
                        assert_eq!(*part, world.verdict.parts[0]);
                    }
                }
                Err(why) => assert!(!why.to_string().is_empty()),
            }
        }
        Err(BadReceiptFile::NotReceipts) => {
            assert!(bytes.len() < 10 || !bytes.starts_with(&world.file[..8]));
        }
        Err(why) => assert!(!why.to_string().is_empty()),
    }
}

/// Each four bytes change one byte of the true file.
fn altered(changes: &[u8]) {
    let mut file = WORLD.file.clone();
    for [high, middle, low, change] in changes.as_chunks().0 {
        let place = u32::from_be_bytes([0, *high, *middle, *low]) as usize % file.len();
        file[place] ^= change;
    }
    read(&file);
    let cut = changes.first().map_or(0, |it| usize::from(*it)) % file.len();
    read(&file[..file.len() - cut]);
}

fuzz_target!(|data: &[u8]| {
    let Some((way, data)) = data.split_first() else { return };
    match way % 4 {
        0 => read(data),
        1 => read(&[&WORLD.file[..10], data].concat()),
        2 => altered(data),
        _ => {
            if let Ok(proof) = StoredProof::decode_exact(data) {
                assert_eq!(proof.to_bytes(), data);
                assert_eq!(proof.good(), proof.receipts.len());
            }
        }
    }
});
