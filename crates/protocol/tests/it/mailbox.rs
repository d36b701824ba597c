//! What capabilities allow: deposits, reads and deletions in mailboxes; and manifests.

use std::sync::Arc;

use session_core::{Encode, InboxAddress, Namespace, SeededEntropy, Span, SwarmId};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{Signer, XWingSecret};
use session_protocol::inbound::{CheckedOperation, Deposit, Fault};
use session_protocol::inbox::{
    ATTACHMENTS, BOXES, COMMITS, Capability, IDENTITY_CARD, INTRODUCTIONS, MANIFESTS, MESSAGES,
    Mailbox,
};
use session_protocol::manifest::{BadManifest, Directory, IntroRoute, Manifest};
use session_protocol::membership::{NodeRecord, StaticMembership, network_id};
use session_protocol::owner::{
    Authorization, BadAuthorization, ExpireMode, OwnerAction, OwnerOperation,
};
use session_protocol::peer::{Element, Operations, ReplicaItem, Replicate, Sync};
use session_protocol::request::{Cursor, ItemBytes, Operation, Refusal, Request, Select};
use session_protocol::{AccessRule, Checker, Frame, Inbound, Kind};

use crate::codec::{check, tags};
use crate::values::{blob, list, mailbox, message, node, signature, text, time};

fn alice() -> FakeIdentity {
    FakeIdentity::new(&[2; 32])
}

fn checker() -> Checker {
    let keys = FakeIdentity::new(&[1; 32]).public().clone();
    let record = NodeRecord { keys, address: text("h:1"), swarm: SwarmId(0) };
    let network = StaticMembership::new("test", [record]).expect("one node");
    Checker::new(Arc::new(network), Arc::new(FakeVerifier))
}

fn actions() -> [(OwnerAction, bool); 4] {
    let select = Select::After { cursor: Cursor::default() };
    let (ids, audience) = (list([message()]), node());
    [
        (OwnerAction::Retrieve { namespace: BOXES, select, bytes_max: 1, audience }, false),
        (OwnerAction::Subscribe { namespaces: list([BOXES]), audience }, false),
        (OwnerAction::Delete { ids: ids.clone() }, true),
        (OwnerAction::Expire { ids, expiry: time(9), mode: ExpireMode::Shorten }, true),
    ]
}

fn with(token: &Capability, action: OwnerAction) -> OwnerOperation {
    let rng = &mut SeededEntropy::new(1);
    OwnerOperation::with_token(mailbox().rule(), token.clone(), action, time(1), rng)
}

fn verify(operation: OwnerOperation) -> Result<(), BadAuthorization> {
    operation.verify(network_id("test"), &FakeVerifier, |_| None).map(drop)
}

/// Checks one operation of a client.
fn ask(operation: Operation) -> Result<CheckedOperation, Refusal> {
    let request = Request { id: 1, operations: list([operation]) };
    let body = Frame::encode(Kind::Request, &request);
    match checker().check(&body) {
        Ok(Inbound::Request(mut request)) => request.operations.remove(0),
        other => panic!("a client is never at fault: {other:?}"),
    }
}

fn deposit(mailbox: &Mailbox, token: &Capability, namespace: Namespace, data: &[u8]) -> Operation {
    Operation::Deposit {
        rule: mailbox.rule(),
        token: token.clone(),
        namespace,
        timestamp: time(3),
        ttl: Span::from_secs(60),
        data: blob(data),
    }
}

fn store(address: InboxAddress, namespace: Namespace, data: ItemBytes) -> Operation {
    Operation::Store { address, namespace, timestamp: time(3), ttl: Span::from_secs(60), data }
}

fn bad_field(checked: Result<CheckedOperation, Refusal>) -> String {
    match checked {
        Err(Refusal::BadRequest { field, .. }) => field.to_string(),
        other => panic!("not a bad request: {other:?}"),
    }
}

#[test]
fn golden_bytes_of_a_token() {
    let token = Capability::new([0x24; 32]);
    check(
        &Authorization::Token { token: token.clone(), timestamp: time(1), nonce: 2 },
        "02
         24*32            # token
         0000000000000001 # timestamp
         0000000000000002 # nonce",
    );
    tags::<Authorization>("", 2);
    let rule = AccessRule::Mailbox {
        reader: [0x21; 32].into(),
        writer: [0x22; 32].into(),
        eraser: [0x23; 32].into(),
    };
    let authorization = Authorization::Token { token, timestamp: time(1), nonce: 2 };
    let action = OwnerAction::Delete { ids: list([message()]) };
    check(
        &OwnerOperation { rule, action, authorization },
        "02 21*32 22*32 23*32                 # rule: mailbox
         02 00000001 0c*32                    # delete
         02 24*32                             # token
         0000000000000001 0000000000000002    # timestamp, nonce",
    );
}

#[test]
fn each_action_takes_its_capability_and_no_other() {
    let Mailbox { read, write, erase } = mailbox();
    for (action, erases) in actions() {
        for (token, reads, may_erase) in [
            (&read, true, false),
            (&write, false, false),
            (&erase, false, true),
            (&Capability::new([0; 32]), false, false),
        ] {
            let allowed = if erases { may_erase } else { reads };
            let expected = if allowed { Ok(()) } else { Err(BadAuthorization::Capability) };
            assert_eq!(verify(with(token, action.clone())), expected, "{action:?}");
        }
    }
}

#[test]
fn a_capability_of_another_mailbox_opens_nothing() {
    let other = Mailbox::derive(&[9; 32].into(), &[b"lane"]);
    for (action, erases) in actions() {
        let token = if erases { &other.erase } else { &other.read };
        assert_eq!(verify(with(token, action.clone())), Err(BadAuthorization::Capability));
        // Under the rule of its own mailbox it does, and so it is for another address.
        let mut theirs = with(token, action);
        theirs.rule = other.rule();
        assert_ne!(theirs.rule.address(), mailbox().address());
        assert_eq!(verify(theirs), Ok(()));
    }
}

#[test]
fn an_account_takes_no_capability_and_a_mailbox_no_signature() {
    let (network, rng) = (network_id("test"), &mut SeededEntropy::new(1));
    for (action, _) in actions() {
        let mut signed = OwnerOperation::sign(network, &alice(), action.clone(), time(1), rng);
        assert_eq!(verify(signed.clone()), Ok(()));
        signed.rule = mailbox().rule();
        assert_eq!(verify(signed), Err(BadAuthorization::WrongProof));
        let mut token = with(&mailbox().erase, action);
        token.rule = AccessRule::from(alice().public().account_id());
        assert_eq!(verify(token), Err(BadAuthorization::WrongProof));
    }
}

#[test]
fn a_client_is_told_that_the_capability_is_wrong() {
    for (action, erases) in actions() {
        let Mailbox { read, erase, .. } = mailbox();
        let (good, bad) = if erases { (erase, read) } else { (read, erase) };
        let of = |token| Operation::Owner { operation: Box::new(with(token, action.clone())) };
        assert!(matches!(ask(of(&good)), Ok(CheckedOperation::Owner(_))));
        assert_eq!(ask(of(&bad)), Err(Refusal::BadCapability));
    }
}

#[test]
fn deletions_with_a_capability_travel_and_reads_do_not() {
    let Mailbox { read, erase, .. } = mailbox();
    for (action, erases) in actions() {
        let send = |token| {
            let operation = with(token, action.clone());
            let element = Element::Operation { operation: Box::new(operation.clone()) };
            let operations = Operations { id: 1, operations: list([operation]) };
            let give = Sync::Give { session: 1, elements: list([element]), last: true };
            [
                checker().check(&Frame::encode(Kind::Operations, &operations)),
                checker().check(&Frame::encode(Kind::Sync, &give)),
            ]
        };
        if erases {
            assert!(send(&erase).iter().all(Result::is_ok));
            let fault = Err(Fault::Operation(BadAuthorization::Capability));
            assert_eq!(send(&read), [fault.clone(), fault]);
        } else {
            assert_eq!(send(&read), [Err(Fault::NotForwardable), Err(Fault::NotForwardable)]);
        }
    }
}

#[test]
fn writers_deposit_in_boxes_commits_and_introductions_only() {
    let own = mailbox();
    let commit = [[5; 32], [6; 32]].concat();
    let takes = [(BOXES, &b"box"[..]), (COMMITS, &commit[..]), (INTRODUCTIONS, &b"hello"[..])];
    for (namespace, data) in takes {
        match ask(deposit(&own, &own.write, namespace, data)) {
            Ok(CheckedOperation::Deposit(checked)) => assert_eq!(
                checked.into_inner(),
                Deposit {
                    address: own.address(),
                    namespace,
                    timestamp: time(3),
                    ttl: Span::from_secs(60),
                    data: blob(data),
                    solved: 0,
                }
            ),
            other => panic!("{other:?}"),
        }
        let other = Mailbox::derive(&[9; 32].into(), &[b"lane"]);
        for token in [&own.read, &own.erase, &other.write] {
            let refused = ask(deposit(&own, token, namespace, data));
            assert_eq!(refused, Err(Refusal::BadCapability));
        }
        // Without a capability nothing is stored there.
        let plain = store(own.address(), namespace, blob(data));
        assert_eq!(ask(plain), Err(Refusal::Unauthorized { namespace }));
    }
    for namespace in [MESSAGES, IDENTITY_CARD, ATTACHMENTS, MANIFESTS] {
        let refused = ask(deposit(&own, &own.write, namespace, b"x"));
        assert_eq!(bad_field(refused), "namespace");
    }
    let namespace = Namespace(7);
    let unknown = ask(deposit(&own, &own.write, namespace, b"x"));
    assert_eq!(unknown, Err(Refusal::UnknownNamespace { namespace }));
    let short = ask(deposit(&own, &own.write, COMMITS, &[5; 31]));
    assert_eq!(bad_field(short), "data");
    // Files go to a mailbox as to any other address.
    let chunk = store(own.address(), ATTACHMENTS, blob(b"chunk"));
    assert_eq!(ask(chunk.clone()), Ok(CheckedOperation::Open(chunk)));
}

#[test]
fn a_deposit_names_a_mailbox() {
    let account = Operation::Deposit {
        rule: AccessRule::from(alice().public().account_id()),
        token: mailbox().write,
        namespace: BOXES,
        timestamp: time(3),
        ttl: Span::from_secs(60),
        data: blob(b"x"),
    };
    assert_eq!(bad_field(ask(account)), "rule");
}

fn manifest(network: &str) -> Manifest {
    let (intro, directory) = (mailbox(), Mailbox::derive(&[9; 32].into(), &[b"directory"]));
    let key = XWingSecret::from_seed(&[1; 32]).public();
    Manifest {
        version: 1,
        network: network_id(network),
        keys: alice().public().clone(),
        seq: 1,
        previous: [0; 32].into(),
        made: time(1),
        expiry: time(2),
        intro: IntroRoute {
            key_id: 1,
            key: blob(key.as_bytes()),
            rule: intro.rule(),
            write: intro.write,
        },
        directory: Directory { rule: directory.rule(), read: directory.read },
        devices: list([]),
        legacy: None,
    }
}

fn signed(network: &str) -> ItemBytes {
    blob(&manifest(network).sign(&alice(), &mut SeededEntropy::new(1)).to_bytes())
}

fn home() -> InboxAddress {
    AccessRule::from(alice().public().account_id()).address()
}

#[test]
fn only_the_owners_manifest_is_stored() {
    match ask(store(home(), MANIFESTS, signed("test"))) {
        Ok(CheckedOperation::Deposit(checked)) => {
            assert_eq!((checked.address, checked.namespace), (home(), MANIFESTS));
            assert_eq!(checked.data, signed("test"));
        }
        other => panic!("{other:?}"),
    }
    let mut forged = manifest("test").sign(&alice(), &mut SeededEntropy::new(1));
    forged.signature = signature();
    let bob = AccessRule::from(FakeIdentity::new(&[3; 32]).public().account_id()).address();
    for (address, data) in [
        (bob, signed("test")),
        (home(), signed("another")),
        (home(), blob(&forged.to_bytes())),
        (home(), blob(&signed("test")[1..])),
        (home(), blob(&[&signed("test")[..], &[0]].concat())),
        (home(), blob(b"")),
    ] {
        assert_eq!(bad_field(ask(store(address, MANIFESTS, data))), "data");
    }
}

#[test]
fn a_peer_is_to_blame_for_a_manifest_that_is_not_its_owners() {
    let replica = |namespace, data| ReplicaItem {
        address: home(),
        namespace,
        timestamp: time(3),
        expiry: time(4),
        data,
    };
    let send = |item: ReplicaItem| {
        let replicate = Replicate { id: 1, items: list([item.clone()]) };
        let elements = list([Element::Item { item }]);
        let give = Sync::Give { session: 1, elements, last: true };
        [
            checker().check(&Frame::encode(Kind::Replicate, &replicate)),
            checker().check(&Frame::encode(Kind::Sync, &give)),
        ]
    };
    assert!(send(replica(MANIFESTS, signed("test"))).iter().all(Result::is_ok));
    assert!(send(replica(MESSAGES, blob(b"anything"))).iter().all(Result::is_ok));
    for refused in send(replica(MANIFESTS, signed("another"))) {
        let fault =
            Fault::Manifest(BadManifest::Invalid { field: "network", why: "it is another one" });
        assert_eq!(refused, Err(fault));
    }
}
