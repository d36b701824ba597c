//! What the checker lets in, what it refuses, and whom it blames.

use std::sync::Arc;

use session_core::{Encode, SeededEntropy, Span, SwarmId};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{Identity, PublicIdentity, RealVerifier, Signer, Verifier};
use session_protocol::frame::BadFrame;
use session_protocol::inbound::{CheckedOperation, CheckedRequest, Fault, check_clock};
use session_protocol::limits::CLOCK_TOLERANCE;
use session_protocol::membership::{NodeRecord, StaticMembership, network_id};
use session_protocol::owner::{BadAuthorization, ExpireMode, OwnerAction, OwnerOperation};
use session_protocol::peer::{
    DeclineReason, Element, Handshake, Heartbeat, Operations, Ping, Pong, Receipts, ReplicaOutcome,
    Replicate, Sync,
};
use session_protocol::receipt::{BadReceipt, SignedRoot, sign_receipts};
use session_protocol::request::{Operation, Push, Refusal, Reply, Request};
use session_protocol::{AccessRule, Checker, Frame, Inbound, Kind};

use crate::values::{
    address, blob, list, message, node, operation, replica, signature, signed_of, text, time,
};

/// Account keys that a checker remembers.
const KNOWN_KEYS: u64 = 4096;

fn member() -> FakeIdentity {
    FakeIdentity::new(&[1; 32])
}

fn owner() -> FakeIdentity {
    FakeIdentity::new(&[2; 32])
}

fn checker_of(keys: &PublicIdentity, verifier: impl Verifier + 'static) -> Checker {
    let record = NodeRecord { keys: keys.clone(), address: text("h:1"), swarm: SwarmId(0) };
    let network = StaticMembership::new("test", [record]).expect("one node");
    Checker::new(Arc::new(network), Arc::new(verifier))
}

fn checker() -> Checker {
    checker_of(member().public(), FakeVerifier)
}

fn sign(signer: &dyn Signer, action: OwnerAction) -> OwnerOperation {
    OwnerOperation::sign(network_id("test"), signer, action, time(1), &mut SeededEntropy::new(1))
}

fn delete() -> OwnerAction {
    OwnerAction::Delete { ids: list([message()]) }
}

fn subscribe() -> OwnerAction {
    OwnerAction::Subscribe { namespaces: list([]), audience: node() }
}

fn without_keys(mut operation: OwnerOperation) -> OwnerOperation {
    operation.authorization.leave_out_keys();
    operation
}

fn forged(mut operation: OwnerOperation) -> OwnerOperation {
    *signed_of(&mut operation).signature = signature();
    operation
}

/// Sends a batch of owner operations through bytes and checker.
fn ask(checker: &Checker, operations: &[OwnerOperation]) -> CheckedRequest {
    let operations: Vec<_> = operations
        .iter()
        .map(|operation| Operation::Owner { operation: Box::new(operation.clone()) })
        .collect();
    let body = Frame::encode(Kind::Request, &Request { id: 9, operations: list(operations) });
    match checker.check(&body) {
        Ok(Inbound::Request(request)) => request,
        other => panic!("a client is never at fault: {other:?}"),
    }
}

fn refusal(request: &CheckedRequest, place: usize) -> Option<&Refusal> {
    request.operations[place].as_ref().err()
}

fn bad_signature(why: &str) -> Refusal {
    Refusal::BadSignature { why: text(why) }
}

#[test]
fn every_kind_arrives_as_itself() {
    let checker = checker();
    let declined = Handshake::Declined { reason: DeclineReason::TooManyPeers };
    let heartbeat = Heartbeat { time: time(1), writable: true, items: 2 };
    let reply = Reply { id: 1, server_time: time(2), roots: list([]), outcomes: list([]) };
    let push = Push {
        address: address(),
        incarnation: 1,
        item: session_protocol::request::Item {
            id: message(),
            namespace: session_core::Namespace(0),
            timestamp: time(1),
            expiry: time(2),
            arrival: 3,
            data: blob(b"sealed"),
        },
    };
    let replicate = Replicate { id: 1, items: list([replica()]) };
    let body = Frame::encode(Kind::Replicate, &replicate);
    match checker.check(&body) {
        Ok(Inbound::Replicate(checked)) => assert_eq!(checked.into_inner(), replicate),
        other => panic!("{other:?}"),
    }
    for (kind, bytes, expected) in [
        (Kind::Handshake, declined.to_bytes(), Inbound::Handshake(declined)),
        (Kind::Heartbeat, heartbeat.to_bytes(), Inbound::Heartbeat(heartbeat)),
        (Kind::Ping, Ping { nonce: 1 }.to_bytes(), Inbound::Ping(Ping { nonce: 1 })),
        (Kind::Pong, Pong { nonce: 1 }.to_bytes(), Inbound::Pong(Pong { nonce: 1 })),
        (Kind::Reply, reply.to_bytes(), Inbound::Reply(reply)),
        (Kind::Push, push.to_bytes(), Inbound::Push(push)),
    ] {
        assert_eq!(checker.check(&[&[1, kind.code()][..], &bytes].concat()), Ok(expected));
    }
}

#[test]
fn without_a_chain_kinds_of_sessions_have_no_handler_and_are_not_parsed() {
    for kind in [
        Kind::SessionCreate,
        Kind::SessionStart,
        Kind::OracleRequest,
        Kind::OracleRecord,
        Kind::OracleCommit,
        Kind::Attestation,
        Kind::Session,
    ] {
        assert_eq!(checker().check(&[1, kind.code(), 0xff]), Ok(Inbound::NoHandler(kind)));
    }
}

#[test]
fn what_is_no_message_is_a_fault() {
    let checker = checker();
    assert_eq!(checker.check(&[2, 10]), Err(Fault::Frame(BadFrame::Version { got: 2 })));
    assert_eq!(checker.check(&[1, 0]), Err(Fault::Frame(BadFrame::Kind { got: 0 })));
    assert_eq!(checker.check(&[1, 12]), Err(Fault::Frame(BadFrame::Kind { got: 12 })));
    // Those of workload sessions are not parsed without a chain.
    let parsed = |kind: &&Kind| matches!(kind.code(), 1 | 8..=22 | 24..);
    for kind in Kind::ALL.iter().filter(parsed) {
        let short = checker.check(&[1, kind.code()]);
        assert!(
            matches!(&short, Err(Fault::Frame(BadFrame::Payload { kind: named, .. })) if named == kind),
            "an empty {kind:?} is {short:?}"
        );
    }
}

#[test]
fn a_bad_signature_refuses_that_operation_only() {
    let good = sign(&owner(), delete());
    let request = ask(&checker(), &[good.clone(), forged(good.clone()), good.clone()]);
    assert_eq!(request.id, 9);
    for place in [0, 2] {
        match &request.operations[place] {
            Ok(CheckedOperation::Owner(checked)) => assert_eq!(***checked, good),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(refusal(&request, 1), Some(&bad_signature("the signature does not verify")));
}

#[test]
fn operations_that_need_no_signature_stay_open() {
    let operations = list([Operation::Info, Operation::GetSwarm { address: address() }]);
    let checked = checker().check_request(Request { id: 1, operations: operations.clone() });
    let open = operations.into_iter().map(|operation| Ok(CheckedOperation::Open(operation)));
    assert_eq!(checked.operations, open.collect::<Vec<_>>());
}

#[test]
fn keys_may_be_left_out_once_they_are_known() {
    let checker = checker();
    let full = sign(&owner(), delete());
    let short = without_keys(full.clone());
    assert_eq!(
        refusal(&ask(&checker, std::slice::from_ref(&short)), 0),
        Some(&Refusal::UnknownKeys)
    );

    // A signature that fails teaches nothing: the keys may be right, but nobody proved them.
    ask(&checker, &[forged(full.clone())]);
    assert_eq!(
        refusal(&ask(&checker, std::slice::from_ref(&short)), 0),
        Some(&Refusal::UnknownKeys)
    );

    // Within one batch already.
    let request = ask(&checker, &[full.clone(), short.clone()]);
    match &request.operations[1] {
        Ok(CheckedOperation::Owner(checked)) => assert_eq!(***checked, full, "keys are filled in"),
        other => panic!("{other:?}"),
    }
    let request = ask(&checker, &[forged(short)]);
    assert_eq!(refusal(&request, 0), Some(&bad_signature("the signature does not verify")));
}

#[test]
fn keys_of_another_account_are_refused() {
    let mut stolen = sign(&FakeIdentity::new(&[3; 32]), delete());
    stolen.rule = AccessRule::from(owner().public().account_id());
    let why = "the keys do not belong to the account that owns the inbox";
    assert_eq!(refusal(&ask(&checker(), &[stolen]), 0), Some(&bad_signature(why)));
}

#[test]
fn another_networks_signature_is_refused() {
    let elsewhere = OwnerOperation::sign(
        network_id("another"),
        &owner(),
        delete(),
        time(1),
        &mut SeededEntropy::new(1),
    );
    let request = ask(&checker(), &[elsewhere]);
    assert_eq!(refusal(&request, 0), Some(&bad_signature("the signature does not verify")));
}

#[test]
fn the_table_of_known_keys_is_bounded() {
    let checker = checker();
    let mut rng = SeededEntropy::new(1);
    let first = sign(&FakeIdentity::generate(&mut rng), delete());
    let known = |operation: &OwnerOperation| {
        refusal(&ask(&checker, &[without_keys(operation.clone())]), 0).is_none()
    };
    let teach = |operation: &OwnerOperation| {
        assert_eq!(refusal(&ask(&checker, std::slice::from_ref(operation)), 0), None);
    };
    teach(&first);
    for _ in 1..KNOWN_KEYS {
        teach(&sign(&FakeIdentity::generate(&mut rng), delete()));
    }
    assert!(known(&first), "the table has room for {KNOWN_KEYS}");
    // Whoever is in a full table already takes no room.
    teach(&first);
    let last = sign(&FakeIdentity::generate(&mut rng), delete());
    assert!(known(&first) && !known(&last));
    teach(&last);
    assert!(known(&last) && !known(&first), "one over the bound makes room by forgetting");
}

fn forward(operations: &[OwnerOperation]) -> Result<Inbound, Fault> {
    let operations = Operations { id: 1, operations: list(operations) };
    checker().check(&Frame::encode(Kind::Operations, &operations))
}

fn give(operations: &[OwnerOperation]) -> Result<Inbound, Fault> {
    let mut elements = vec![Element::Item { item: replica() }];
    elements.extend(
        operations
            .iter()
            .map(|operation| Element::Operation { operation: Box::new(operation.clone()) }),
    );
    let give = Sync::Give { session: 1, elements: list(elements), last: true };
    checker().check(&Frame::encode(Kind::Sync, &give))
}

/// A way in which a peer hands operations on.
type Road = fn(&[OwnerOperation]) -> Result<Inbound, Fault>;

const ROADS: [Road; 2] = [forward, give];

#[test]
fn deletions_and_expiries_travel() {
    let expire = OwnerAction::Expire { ids: list([]), expiry: time(1), mode: ExpireMode::Extend };
    let signed = [sign(&owner(), delete()), sign(&owner(), expire)];
    match forward(&signed) {
        Ok(Inbound::Operations(checked)) => assert_eq!(*checked.operations, signed),
        other => panic!("{other:?}"),
    }
    match give(&signed) {
        Ok(Inbound::Sync(checked)) => {
            let Sync::Give { elements, .. } = &*checked else { panic!("{checked:?}") };
            assert_eq!(elements.len(), 3);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn reads_do_not_travel() {
    let retrieve = OwnerAction::Retrieve {
        namespace: session_core::Namespace(0),
        select: session_protocol::request::Select::Ids { ids: list([]) },
        bytes_max: 1,
        audience: node(),
    };
    for action in [subscribe(), retrieve] {
        let read = sign(&owner(), action);
        for road in ROADS {
            assert_eq!(road(&[sign(&owner(), delete()), read.clone()]), Err(Fault::NotForwardable));
        }
    }
}

#[test]
fn a_peer_is_to_blame_for_an_operation_that_does_not_verify() {
    let good = sign(&owner(), delete());
    let mut stolen = good.clone();
    stolen.rule = AccessRule::from(member().public().account_id());
    let keyless = without_keys(good.clone());
    for (operation, why) in [
        (forged(good.clone()), BadAuthorization::Signature),
        (operation(), BadAuthorization::WrongKeys),
        (stolen, BadAuthorization::WrongKeys),
        (keyless, BadAuthorization::UnknownKeys),
    ] {
        for road in ROADS {
            assert_eq!(road(&[good.clone(), operation.clone()]), Err(Fault::Operation(why)));
        }
    }
}

/// Copies prove themselves: keys that this node knows do not stand in for those left out.
#[test]
fn copies_carry_their_keys_even_for_known_owners() {
    let checker = checker();
    let good = sign(&owner(), delete());
    assert_eq!(refusal(&ask(&checker, std::slice::from_ref(&good)), 0), None);
    let operations = Operations { id: 1, operations: list([without_keys(good)]) };
    let body = Frame::encode(Kind::Operations, &operations);
    assert_eq!(checker.check(&body), Err(Fault::Operation(BadAuthorization::UnknownKeys)));
}

#[test]
fn other_steps_of_a_reconciliation_pass() {
    for step in [
        Sync::Same { session: 1, whole: true },
        Sync::Round { session: 1, message: blob(b"any") },
        Sync::Want { session: 1, keys: list([[1; 32]]) },
    ] {
        match checker().check(&Frame::encode(Kind::Sync, &step)) {
            Ok(Inbound::Sync(checked)) => assert_eq!(checked.into_inner(), step),
            other => panic!("{other:?}"),
        }
    }
}

fn root_of(signer: &dyn Signer) -> SignedRoot {
    sign_receipts(network_id("test"), signer, &[], &mut SeededEntropy::new(1)).0
}

fn receipts(root: Option<SignedRoot>) -> Receipts {
    Receipts { id: 1, root, outcomes: list([ReplicaOutcome::Applied]) }
}

#[test]
fn receipts_are_signed_by_a_node_of_the_network() {
    let check = |root| checker().check(&Frame::encode(Kind::Receipt, &receipts(root)));
    for root in [None, Some(root_of(&member()))] {
        match check(root.clone()) {
            Ok(Inbound::Receipts(checked)) => assert_eq!(checked.into_inner(), receipts(root)),
            other => panic!("{other:?}"),
        }
    }
    let stranger = owner().public().node_id();
    let fault = Err(Fault::Receipt(BadReceipt::NotAMember(stranger)));
    assert_eq!(check(Some(root_of(&owner()))), fault);

    // In the name of a member, but not with its key.
    let member = member().public().node_id();
    let fault = Err(Fault::Receipt(BadReceipt::Signature(member)));
    assert_eq!(check(Some(SignedRoot { node: member, ..root_of(&owner()) })), fault);
}

#[test]
fn true_signatures_pass_the_true_verifier() {
    let node = Identity::from_seed(&[1; 32]);
    let owner = Identity::from_seed(&[2; 32]);
    let checker = checker_of(node.public(), RealVerifier);
    let good = sign(&owner, delete());
    let request = ask(&checker, &[good.clone(), without_keys(good.clone()), forged(good)]);
    assert_eq!((refusal(&request, 0), refusal(&request, 1)), (None, None));
    assert_eq!(refusal(&request, 2), Some(&bad_signature("the signature does not verify")));
    let body = Frame::encode(Kind::Receipt, &receipts(Some(root_of(&node))));
    assert!(matches!(checker.check(&body), Ok(Inbound::Receipts(_))));
}

#[test]
fn clocks_may_differ_by_the_tolerance_and_no_more() {
    let now = time(1_000_000);
    let tolerance = CLOCK_TOLERANCE;
    let more = tolerance + Span::from_millis(1);
    for signed in [now, now - tolerance, now + tolerance] {
        assert_eq!(check_clock(signed, now, tolerance), Ok(()));
    }
    for signed in [now - more, now + more, time(0), session_core::Time::MAX] {
        let refused = Refusal::Clock { signed, server_time: now, tolerance };
        assert_eq!(check_clock(signed, now, tolerance), Err(refused));
    }
    assert_eq!(check_clock(time(0), time(0), Span::ZERO), Ok(()));
    let extremes = check_clock(time(0), session_core::Time::MAX, Span::from_days(1_000_000));
    assert!(extremes.is_err(), "distances do not wrap around");
}

#[test]
fn whoever_joins_the_network_is_known_from_then_on() {
    let (joined, checker) = (FakeIdentity::new(&[9; 32]), checker());
    let body = Frame::encode(Kind::Receipt, &receipts(Some(root_of(&joined))));
    let stranger = BadReceipt::NotAMember(joined.public().node_id());
    assert_eq!(checker.check(&body), Err(Fault::Receipt(stranger)));
    let record =
        NodeRecord { keys: joined.public().clone(), address: text("h:2"), swarm: SwarmId(0) };
    let network = StaticMembership::new("test", [record]).expect("one node");
    checker.set_membership(Arc::new(network));
    assert!(matches!(checker.check(&body), Ok(Inbound::Receipts(_))));
    // And whoever left is not.
    let body = Frame::encode(Kind::Receipt, &receipts(Some(root_of(&member()))));
    assert!(checker.check(&body).is_err());
}
