//! Evidence is canonical, and true evidence altered anywhere shows nothing.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_core::{
    Blob, ChainId, Decode as _, Digest, Encode as _, Epoch, List, Namespace, SeededEntropy, Span,
    SwarmId, Time,
};
use session_crypto::Signer as _;
use session_crypto::fake::{CredulousVerifier, FakeIdentity, FakeVerifier};
use session_crypto::{PublicIdentity, Verifier};
use session_protocol::AccessRule;
use session_protocol::attestation::{Kind, Statement};
use session_protocol::chain::transaction::TRANSACTION_BYTES_MAX;
use session_protocol::chain::{Action, Amount, Transaction};
use session_protocol::commitment::{
    Absence, Commitment, Leaf, Opening, Place, Shown, answer, tree,
};
use session_protocol::evidence::{Evidence, Ground};
use session_protocol::membership::network_id;
use session_protocol::receipt::{StorageReceipt, sign_receipts};
use session_protocol::workload::oracle::RecordHead;
use session_protocol::workload::round::{Ballot, Phase};

const CHAIN: [u8; 32] = [0xc1; 32];

static ACCUSED: LazyLock<FakeIdentity> = LazyLock::new(|| FakeIdentity::new(&[1; 32]));

fn ground(verifier: &dyn Verifier) -> Ground<'_> {
    Ground {
        chain: ChainId::from(CHAIN),
        network: network_id("fuzz"),
        genesis: Time::ZERO,
        epoch: Span::from_secs(3600),
        settle: Span::from_secs(600),
        verifier,
    }
}

fn rng() -> SeededEntropy {
    SeededEntropy::new(1)
}

fn committed(root: Digest) -> (Commitment, Blob<TRANSACTION_BYTES_MAX>) {
    let commitment = Commitment { epoch: Epoch(5), swarm: SwarmId(1), count: 2, bytes: 9, root };
    let transaction = Transaction {
        version: 1,
        chain: ChainId::from(CHAIN),
        sender: ACCUSED.public().account_id(),
        nonce: 0,
        fee_max: Amount::ZERO,
        expires: Time::ZERO,
        action: Action::StorageCommitment { commitment },
    };
    let bytes = transaction.sign(&*ACCUSED, false, &mut rng()).to_bytes();
    (commitment, Blob::new(bytes).expect("it is short"))
}

/// One of each kind.
static EVIDENCE: LazyLock<[Evidence; 5]> = LazyLock::new(|| {
    let node = ACCUSED.public().node_id();
    let vote = |root: [u8; 32]| {
        let statement = Statement {
            chain: ChainId::from(CHAIN),
            committee: Digest::default(),
            kind: Kind::EpochBeacon,
            subject: Digest::default(),
            root: root.into(),
            epoch: Epoch(5),
        };
        Box::new(statement.sign(&*ACCUSED, &mut rng()))
    };
    let record = |data: [u8; 32]| {
        let head = RecordHead {
            chain: ChainId::from(CHAIN),
            committee: Digest::default(),
            request: [4; 32].into(),
            submitter: node,
            data_hash: data.into(),
            pin: None,
            time: Time::ZERO,
        };
        Box::new(head.sign(&*ACCUSED, &mut rng()))
    };
    let round_vote = |root: [u8; 32]| {
        let ballot = Ballot {
            chain: ChainId::from(CHAIN),
            committee: Digest::default(),
            request: [4; 32].into(),
            phase: Phase::Prepare,
            root: root.into(),
        };
        Box::new(ballot.sign(&*ACCUSED, &mut rng()))
    };
    let address = AccessRule::from(FakeIdentity::new(&[2; 32]).public().account_id()).address();
    let leaf = |n: u8| Leaf { address, message: [n; 32].into() };
    let tree = tree(&[leaf(1), leaf(3)]);
    let path = |index| tree.prove(index).expect("there are two");
    let (commitment, transaction) = committed(tree.root());

    let shown = Shown::Item { namespace: Namespace(0), data: Blob::default() };
    let opening = Opening { leaf: leaf(1), path: path(0), shown };
    let openings = List::new([opening.clone(), opening]).expect("two");
    let answer = answer(&ChainId::from(CHAIN), &commitment, openings, &*ACCUSED, &mut rng());

    let receipt = StorageReceipt {
        node,
        swarm: SwarmId(1),
        address,
        message: [2; 32].into(),
        expiry: Time::from_millis(100_000_000),
        stored_at: Time::ZERO,
    };
    let (root, mut paths) = sign_receipts(network_id("fuzz"), &*ACCUSED, &[receipt; 3], &mut rng());
    let absence = Absence {
        before: Some(Place { leaf: leaf(1), path: path(0) }),
        after: Some(Place { leaf: leaf(3), path: path(1) }),
    };
    [
        Evidence::Equivocation { first: vote([1; 32]), second: vote([2; 32]) },
        Evidence::BadOpening {
            commitment: transaction.clone(),
            opening: Box::new(answer.signed(node, 1).expect("there are two")),
        },
        Evidence::FalseReceipt {
            receipt,
            root: Box::new(root),
            path: paths.swap_remove(1),
            commitment: transaction,
            absence: Box::new(absence),
        },
        Evidence::Records { first: record([1; 32]), second: record([2; 32]) },
        Evidence::RoundVotes { first: round_vote([1; 32]), second: round_vote([2; 32]) },
    ]
});

/// Accepted bytes are the bytes that the evidence encodes to; looking at it never panics.
fn any(bytes: &[u8]) -> Option<Evidence> {
    let evidence = Evidence::decode_exact(bytes).ok()?;
    assert_eq!(evidence.to_bytes(), bytes, "accepted, but not what encoding produces");
    let keys: &PublicIdentity = ACCUSED.public();
    if let Ok(finding) = evidence.verify(keys, &ground(&CredulousVerifier)) {
        assert_eq!(finding.accused, keys.node_id(), "somebody else");
        assert_eq!(finding.accused, evidence.accused());
    }
    Some(evidence)
}

/// True evidence, altered by three bytes each.
fn altered(which: u8, changes: &[u8]) {
    let truth = &EVIDENCE[usize::from(which) % EVIDENCE.len()];
    let before = truth.to_bytes();
    let mut bytes = before.clone();
    for [high, low, change] in changes.as_chunks::<3>().0 {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
        bytes[place] ^= change;
    }
    let Some(evidence) = any(&bytes) else { return };
    let found = evidence.verify(ACCUSED.public(), &ground(&FakeVerifier));
    assert_eq!(found.is_ok(), bytes == before, "{}: {found:?}", evidence.name());
}

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((kind, bytes)) if kind % 6 == 5 => {
            any(bytes);
        }
        Some((kind, bytes)) => altered(*kind, bytes),
        None => {}
    }
});
