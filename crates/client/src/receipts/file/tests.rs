use std::sync::Arc;

use session_core::{Encode, SeededEntropy, Span, Text};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::receipt::{StorageReceipt, sign_receipts};
use session_protocol::{NodeRecord, StaticMembership};

use super::*;
use crate::receipts::ReceiptProof;

const START: Time = Time::from_millis(1_800_000_000_000);

struct World {
    nodes: Vec<FakeIdentity>,
    membership: Arc<StaticMembership>,
    rng: SeededEntropy,
}

impl World {
    fn new(name: &str) -> Self {
        let mut rng = SeededEntropy::new(1);
        let mut nodes: Vec<_> = (0..6).map(|_| FakeIdentity::generate(&mut rng)).collect();
        nodes.sort_by_key(|it| it.public().node_id());
        // Five members, and a node of another swarm.
        let records = nodes.iter().enumerate().map(|(index, keys)| NodeRecord {
            keys: keys.public().clone(),
            address: Text::new(format!("192.0.2.1:{index}")).unwrap(),
            swarm: SwarmId(if index < 5 { 1 } else { u64::MAX / 2 }),
        });
        let membership = Arc::new(StaticMembership::new(name, records).unwrap());
        Self { nodes, membership, rng }
    }

    fn receipt(&mut self, node: usize, message: u8, expiry: Time) -> ReceiptProof {
        let keys = &self.nodes[node];
        let receipt = StorageReceipt {
            node: keys.public().node_id(),
            swarm: SwarmId(1),
            address: InboxAddress::from([9; 32]),
            message: MessageId::from([message; 32]),
            expiry,
            stored_at: START + Span::from_secs(node as u64),
        };
        let network = self.membership.network();
        let (root, proofs) = sign_receipts(network, keys, &[receipt], &mut self.rng);
        ReceiptProof { receipt, root, proof: proofs.into_iter().next().unwrap() }
    }

    fn proof(&mut self, message: u8, signers: &[usize]) -> StoredProof {
        let expiry = |node: usize| START + Span::from_days(10 + node as u64);
        let receipts: Vec<_> =
            signers.iter().map(|&node| self.receipt(node, message, expiry(node))).collect();
        let message = MessageId::from([message; 32]);
        let receipts = List::new(receipts).unwrap();
        // What four of them promised.
        let days = 10 + receipts.len().saturating_sub(4) as u64;
        StoredProof { message, expiry: START + Span::from_days(days), of: 5, needed: 4, receipts }
    }

    fn file(&mut self) -> ReceiptFile {
        let proofs = vec![self.proof(1, &[0, 1, 2, 3]), self.proof(2, &[0, 1, 2, 3, 4])];
        ReceiptFile::new(self.membership.network(), proofs).unwrap()
    }

    fn verify(&self, file: &ReceiptFile) -> Result<Verdict, BadReceiptFile> {
        file.verify(&*self.membership, &FakeVerifier)
    }
}

fn change(
    file: &ReceiptFile,
    change: impl FnOnce(&mut Part, &mut Vec<ReceiptProof>),
) -> ReceiptFile {
    let mut parts = file.parts.to_vec();
    let mut receipts = parts[1].proof.receipts.to_vec();
    change(&mut parts[1], &mut receipts);
    parts[1].proof.receipts = List::new(receipts).unwrap();
    ReceiptFile { parts: List::new(parts).unwrap(), ..file.clone() }
}

#[test]
fn a_file_proves_what_its_receipts_say() {
    let mut world = World::new("test");
    let file = ReceiptFile::from_file(&world.file().to_file()).unwrap();
    let verdict = world.verify(&file).unwrap();
    assert_eq!(verdict.signatures, 9);
    let [first, second] = &verdict.parts[..] else { panic!() };
    assert_eq!((first.good, first.needed, first.of), (4, 4, 5));
    assert_eq!((second.good, second.swarm), (5, SwarmId(1)));
    // What a quorum did and promised, not what the best or the first member did.
    assert_eq!(first.stored_at, START + Span::from_secs(3));
    assert_eq!(first.expiry, START + Span::from_days(10));
    assert_eq!(second.expiry, START + Span::from_days(11));
}

#[test]
fn the_receipt_that_fails_is_named() {
    let mut world = World::new("test");
    let file = world.file();
    let node = |index: usize| world.nodes[index].public().node_id();
    let bad = change(&file, |_, receipts| receipts[2].receipt.expiry = START);
    let why = BadReceipt::Path(node(2));
    assert_eq!(world.verify(&bad), Err(BadReceiptFile::Receipt { part: 2, receipt: 3, why }));

    let bad = change(&file, |_, receipts| {
        receipts[1].root.signature = receipts[0].root.signature.clone()
    });
    let why = BadReceipt::Signature(node(1));
    assert_eq!(world.verify(&bad), Err(BadReceiptFile::Receipt { part: 2, receipt: 2, why }));

    let bad = change(&file, |_, receipts| receipts[4] = receipts[0].clone());
    let twice = BadReceiptFile::Twice { part: 2, receipt: 5, node: node(0) };
    assert_eq!(world.verify(&bad), Err(twice));

    let bad = change(&file, |part, _| part.proof.message = MessageId::from([7; 32]));
    let stray = BadReceiptFile::Stray { part: 2, receipt: 1, node: node(0), what: "item" };
    assert_eq!(world.verify(&bad), Err(stray));
    let bad = change(&file, |part, _| part.address = InboxAddress::from([7; 32]));
    let stray = BadReceiptFile::Stray { part: 2, receipt: 1, node: node(0), what: "inbox" };
    assert_eq!(world.verify(&bad), Err(stray));
    let bad = change(&file, |_, receipts| receipts[3].receipt.swarm = SwarmId(8));
    let stray = BadReceiptFile::Stray { part: 2, receipt: 4, node: node(3), what: "swarm" };
    assert_eq!(world.verify(&bad), Err(stray));
}

#[test]
fn strangers_and_too_few_members_prove_nothing() {
    let mut world = World::new("test");
    let few = world.proof(1, &[0, 1, 2]);
    let file = ReceiptFile::new(world.membership.network(), [few]).unwrap();
    let swarm = SwarmId(1);
    let refused = BadReceiptFile::NoQuorum { part: 1, swarm, good: 3, needed: 4 };
    assert_eq!(world.verify(&file), Err(refused));

    let other = world.proof(1, &[0, 1, 2, 5]);
    let file = ReceiptFile::new(world.membership.network(), [other]).unwrap();
    let why = BadReceipt::NotAMember(world.nodes[5].public().node_id());
    assert_eq!(world.verify(&file), Err(BadReceiptFile::Receipt { part: 1, receipt: 4, why }));

    let file = world.file();
    let elsewhere = World::new("elsewhere");
    let refused = elsewhere.verify(&file);
    assert!(matches!(refused, Err(BadReceiptFile::OtherNetwork { .. })), "{refused:?}");
}

#[test]
fn a_file_promises_no_more_than_its_receipts() {
    let mut world = World::new("test");
    let file = world.file();
    let longer = START + Span::from_days(12);
    let bad = change(&file, |part, _| part.proof.expiry = longer);
    let proven = START + Span::from_days(11);
    assert_eq!(
        world.verify(&bad),
        Err(BadReceiptFile::Expiry { part: 2, claimed: longer, proven })
    );
    let shorter = START + Span::from_days(10);
    let bad = change(&file, |part, _| part.proof.expiry = shorter);
    let claimed = shorter;
    assert_eq!(world.verify(&bad), Err(BadReceiptFile::Expiry { part: 2, claimed, proven }));
    // Counts in the file are not believed: they are counted.
    let bad = change(&file, |part, _| part.proof.of = 1);
    let count = BadReceiptFile::Count { part: 2, what: "swarm", claimed: 1, counted: 5 };
    assert_eq!(world.verify(&bad), Err(count));
    let bad = change(&file, |part, _| part.proof.needed = 1);
    let count = BadReceiptFile::Count { part: 2, what: "quorum", claimed: 1, counted: 4 };
    assert_eq!(world.verify(&bad), Err(count));
    // One order only.
    let bad = change(&file, |_, receipts| receipts.swap(0, 1));
    let node = world.nodes[0].public().node_id();
    assert_eq!(world.verify(&bad), Err(BadReceiptFile::Order { part: 2, receipt: 2, node }));
}

#[test]
fn other_bytes_are_no_file() {
    let mut world = World::new("test");
    let bytes = world.file().to_file();
    assert_eq!(ReceiptFile::from_file(b""), Err(BadReceiptFile::NotReceipts));
    assert_eq!(ReceiptFile::from_file(&bytes[1..]), Err(BadReceiptFile::NotReceipts));
    let mut newer = bytes.clone();
    newer[9] = 2;
    assert_eq!(ReceiptFile::from_file(&newer), Err(BadReceiptFile::NewerVersion { got: 2 }));
    for end in (10..bytes.len()).step_by(97) {
        assert!(matches!(ReceiptFile::from_file(&bytes[..end]), Err(BadReceiptFile::Damaged(_))));
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(matches!(ReceiptFile::from_file(&longer), Err(BadReceiptFile::Damaged(_))));
    let mut empty = world.file();
    empty.parts = List::new([]).unwrap();
    assert_eq!(world.verify(&empty), Err(BadReceiptFile::Empty { part: None }));
    let none = change(&world.file(), |_, receipts| receipts.clear());
    assert_eq!(world.verify(&none), Err(BadReceiptFile::Empty { part: Some(2) }));
    assert_eq!(ReceiptFile::new(world.membership.network(), []), None);
    session_core::testing::check_round_trip(&ReceiptFile::from_file(&bytes).unwrap());
    assert_eq!(&bytes[..10], b"LUXRCPT\0\0\x01");
    assert!(world.file().to_bytes().len() + 10 == bytes.len());
}
