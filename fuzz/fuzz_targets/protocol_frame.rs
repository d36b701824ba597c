//! Whatever the protocol accepts is canonical, and no frame makes the checker panic.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use session_core::{Decode, Encode, List, MessageId, SeededEntropy, SwarmId, Text, Time};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{RealVerifier, Signer, Verifier};
use session_protocol::inbound::{CheckedOperation, CheckedRequest};
use session_protocol::inbox::{BOXES, COMMITS, INTRODUCTIONS, MANIFESTS};
use session_protocol::manifest::SignedManifest;
use session_protocol::owner::{Authorization, ExpireMode, OwnerAction, OwnerOperation};
use session_protocol::onion::{ExitAnswer, HopKeys, Onion, Wait};
use session_protocol::receipt::{ReceiptPath, SignedRoot, StorageReceipt};
use session_protocol::request::{Info, Item, Operation, Outcome, Push, Refusal, Reply, Request};
use session_protocol::workload::Proposal;
use session_protocol::workload::message::{OpenRequest, RecordOf, Talk, VoteOf};
use session_protocol::{
    AccessRule, Checker, Frame, Inbound, Kind, NodeRecord, StaticMembership, peer,
};

fn checker(verifier: impl Verifier + 'static) -> Checker {
    let record = NodeRecord {
        keys: FakeIdentity::new(&[1; 32]).public().clone(),
        address: Text::new("h:1").expect("short"),
        swarm: SwarmId(0),
    };
    let network = StaticMembership::new("fuzz", [record]).expect("one node");
    let checker = Checker::new(Arc::new(network), Arc::new(verifier));
    // Of a chain, so that messages about workload sessions are looked at.
    checker.set_sessions([0xc1; 32].into(), Arc::default());
    checker
}

static REAL: LazyLock<Checker> = LazyLock::new(|| checker(RealVerifier));
static FAKE: LazyLock<Checker> = LazyLock::new(|| checker(FakeVerifier));

/// What an owner signed.
static OPERATIONS: LazyLock<Vec<OwnerOperation>> = LazyLock::new(|| {
    let (owner, mut rng) = (FakeIdentity::new(&[2; 32]), SeededEntropy::new(1));
    let network = REAL.membership().network();
    let ids = || List::new([MessageId::default(); 2]).expect("short");
    let expiry = Time::from_millis(2);
    [
        OwnerAction::Delete { ids: ids() },
        OwnerAction::Expire { ids: ids(), expiry, mode: ExpireMode::Extend },
    ]
    .into_iter()
    .map(|action| OwnerOperation::sign(network, &owner, action, Time::ZERO, &mut rng))
    .collect()
});

/// The same, on each of the roads that it travels.
static FRAMES: LazyLock<[Vec<u8>; 3]> = LazyLock::new(|| {
    let boxed = || OPERATIONS.iter().cloned().map(Box::new);
    let ask = boxed().map(|operation| Operation::Owner { operation }).collect::<Vec<_>>();
    let give = boxed().map(|operation| peer::Element::Operation { operation }).collect::<Vec<_>>();
    let request = Request { id: 1, operations: List::new(ask).expect("short") };
    let operations = List::new(OPERATIONS.clone()).expect("short");
    let elements = List::new(give).expect("short");
    [
        Frame::encode(Kind::Request, &request),
        Frame::encode(Kind::Operations, &peer::Operations { id: 1, operations }),
        Frame::encode(Kind::Sync, &peer::Sync::Give { session: 1, elements, last: true }),
    ]
});

/// Changes a true frame, each time by three bytes: nothing passes but what the owner signed.
fn altered(which: u8, changes: &[u8]) {
    let mut body = FRAMES[usize::from(which) % FRAMES.len()].clone();
    for [high, low, change] in changes.as_chunks::<3>().0 {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % body.len();
        body[place] ^= change;
    }
    frame(&FAKE, &body);
    let passed: Vec<OwnerOperation> = match FAKE.check(&body) {
        Ok(Inbound::Operations(checked)) => checked.into_inner().operations.into_vec(),
        Ok(Inbound::Sync(checked)) => match checked.into_inner() {
            peer::Sync::Give { elements, .. } => elements.into_iter().filter_map(element).collect(),
            _ => return,
        },
        Ok(Inbound::Request(request)) => {
            request.operations.into_iter().filter_map(Result::ok).filter_map(owner).collect()
        }
        _ => return,
    };
    for operation in &passed {
        assert!(OPERATIONS.contains(operation), "nobody signed {operation:?}");
    }
}

fn element(element: peer::Element) -> Option<OwnerOperation> {
    match element {
        peer::Element::Operation { operation } => Some(*operation),
        peer::Element::Item { .. } => None,
    }
}

fn owner(checked: CheckedOperation) -> Option<OwnerOperation> {
    match checked {
        CheckedOperation::Owner(operation) => Some((*operation).into_inner()),
        _ => None,
    }
}

/// Accepted bytes are the bytes that the value encodes to.
fn canonical<T: Decode + Encode>(bytes: &[u8]) {
    if let Ok(value) = T::decode_exact(bytes) {
        assert_eq!(value.to_bytes(), bytes, "accepted, but not what encoding produces");
    }
}

/// What is let in is what was sent, with keys filled in at most.
fn frame(checker: &Checker, body: &[u8]) {
    let Ok(inbound) = checker.check(body) else { return };
    let (kind, payload) = Frame::split(body).expect("checked");
    assert_ne!(kind, Kind::Unknown);
    let bytes = match inbound {
        Inbound::Handshake(message) => message.to_bytes(),
        Inbound::Heartbeat(message) => message.to_bytes(),
        Inbound::Ping(message) => message.to_bytes(),
        Inbound::Pong(message) => message.to_bytes(),
        Inbound::Reply(message) => message.to_bytes(),
        Inbound::Push(message) => message.to_bytes(),
        Inbound::Replicate(message) => message.into_inner().to_bytes(),
        Inbound::Receipts(message) => message.into_inner().to_bytes(),
        Inbound::Operations(message) => message.into_inner().to_bytes(),
        Inbound::Sync(message) => message.into_inner().to_bytes(),
        Inbound::Duty(message) => message.to_bytes(),
        Inbound::Onion(message) => message.to_bytes(),
        Inbound::Workload(message) => message.into_inner().to_bytes(),
        Inbound::Request(request) => return checked(checker, &request, payload),
        _ => return,
    };
    assert_eq!(bytes, payload);
}

fn checked(checker: &Checker, request: &CheckedRequest, payload: &[u8]) {
    let sent = Request::decode_exact(payload).expect("checked");
    assert_eq!((request.id, request.operations.len()), (sent.id, sent.operations.len()));
    for (checked, sent) in request.operations.iter().zip(&sent.operations) {
        match (checked, sent) {
            (Ok(CheckedOperation::Owner(operation)), Operation::Owner { operation: sent }) => {
                let network = checker.membership().network();
                assert_eq!(operation.signed_bytes(network), sent.signed_bytes(network));
                match &operation.authorization {
                    Authorization::Signed { keys, .. } => {
                        let keys = keys.as_ref().expect("filled in");
                        assert_eq!(operation.rule, AccessRule::from(keys.account_id()));
                    }
                    Authorization::Token { token, .. } => {
                        let AccessRule::Mailbox { reader, eraser, .. } = &operation.rule else {
                            panic!("an account takes no token")
                        };
                        assert!(token.opens(reader) || token.opens(eraser));
                    }
                    other => panic!("{other:?}"),
                }
            }
            (Ok(CheckedOperation::Open(operation)), sent) => {
                assert_eq!(operation, sent);
                let needs_proof = matches!(
                    sent,
                    Operation::Owner { .. }
                        | Operation::Deposit { .. }
                        | Operation::Introduce { .. }
                        | Operation::Store {
                            namespace: MANIFESTS | BOXES | COMMITS | INTRODUCTIONS,
                            ..
                        }
                );
                assert!(!needs_proof, "nobody proved this");
            }
            (
                Ok(CheckedOperation::Deposit(deposit)),
                Operation::Deposit { rule, token, .. } | Operation::Introduce { rule, token, .. },
            ) => {
                let AccessRule::Mailbox { writer, .. } = rule else { panic!("no mailbox") };
                assert!(token.opens(writer));
                assert_eq!(deposit.address, rule.address());
            }
            (Ok(CheckedOperation::Deposit(deposit)), Operation::Store { address, data, .. }) => {
                assert_eq!((deposit.namespace, deposit.address), (MANIFESTS, *address));
                let manifest = SignedManifest::decode_exact(data).expect("checked");
                assert_eq!(AccessRule::from(manifest.account()).address(), *address);
            }
            (
                Err(_),
                Operation::Owner { .. } | Operation::Deposit { .. } | Operation::Store { .. },
            ) => {}
            other => panic!("{other:?}"),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 28 {
        0 => frame(&REAL, bytes),
        1..=3 => frame(&FAKE, bytes),
        4 => canonical::<peer::Handshake>(bytes),
        5 => canonical::<peer::Heartbeat>(bytes),
        6 => canonical::<peer::Replicate>(bytes),
        7 => canonical::<peer::Receipts>(bytes),
        8 => canonical::<peer::Operations>(bytes),
        9 => canonical::<peer::Sync>(bytes),
        10 => canonical::<Request>(bytes),
        11 => canonical::<Reply>(bytes),
        12 => canonical::<Push>(bytes),
        13 => canonical::<Operation>(bytes),
        14 => canonical::<Outcome>(bytes),
        15 => canonical::<Refusal>(bytes),
        16 => canonical::<OwnerOperation>(bytes),
        17 => canonical::<OwnerAction>(bytes),
        18 => canonical::<AccessRule>(bytes),
        19 => canonical::<SignedRoot>(bytes),
        20 => canonical::<ReceiptPath>(bytes),
        21 => canonical::<StorageReceipt>(bytes),
        22 => canonical::<NodeRecord>(bytes),
        23..=26 => {
            if let Some((which, changes)) = bytes.split_first() {
                altered(*which, changes);
            }
        }
        _ => {
            canonical::<Info>(bytes);
            canonical::<Talk>(bytes);
            canonical::<RecordOf>(bytes);
            canonical::<Proposal>(bytes);
            canonical::<VoteOf>(bytes);
            canonical::<OpenRequest>(bytes);
            canonical::<Item>(bytes);
            canonical::<peer::Element>(bytes);
            canonical::<peer::ReplicaOutcome>(bytes);
            canonical::<HopKeys>(bytes);
            canonical::<Onion>(bytes);
            canonical::<Wait>(bytes);
            canonical::<ExitAnswer>(bytes);
        }
    }
});
