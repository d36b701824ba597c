//! What the owner signs, and everything that the signature is bound to.

use session_core::{Namespace, SeededEntropy, Time};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{Identity, PublicIdentity, RealVerifier, Signature, Signer};
use session_protocol::limits::{IDS_MAX, SUBSCRIBED_NAMESPACES_MAX};
use session_protocol::membership::network_id;
use session_protocol::owner::{
    Authorization, BadAuthorization, ExpireMode, OwnerAction, OwnerOperation,
};
use session_protocol::request::{Cursor, Select};
use session_protocol::{AccessRule, NetworkId};

use crate::codec::{check, flag, limit, tags};
use crate::values::{OPERATION, keys, list, message, node, operation, signature, signed_of, time};

const NOW: Time = time(1_000_000);

fn network() -> NetworkId {
    network_id("test")
}

fn alice() -> FakeIdentity {
    FakeIdentity::new(&[1; 32])
}

fn delete() -> OwnerAction {
    OwnerAction::Delete { ids: list([message()]) }
}

fn signed(action: OwnerAction) -> OwnerOperation {
    OwnerOperation::sign(network(), &alice(), action, NOW, &mut SeededEntropy::new(1))
}

fn verify(operation: OwnerOperation, network: NetworkId) -> Result<(), BadAuthorization> {
    operation.verify(network, &FakeVerifier, |_| None).map(drop)
}

#[test]
fn actions() {
    let retrieve = OwnerAction::Retrieve {
        namespace: Namespace(2),
        select: Select::After { cursor: Cursor { incarnation: 1, arrival: 2 } },
        bytes_max: 3,
        audience: node(),
    };
    check(
        &retrieve,
        "01
         0002                                 # namespace
         01 0000000000000001 0000000000000002 # after a cursor
         00000003                             # at most so many bytes
         0a*32                                # audience",
    );
    check(&delete(), "02 00000001 0c*32");
    limit::<OwnerAction>("02", IDS_MAX);
    let expire = OwnerAction::Expire { ids: list([]), expiry: time(1), mode: ExpireMode::Shorten };
    check(&expire, "03 00000000 0000000000000001 01");
    limit::<OwnerAction>("03", IDS_MAX);
    let subscribe =
        OwnerAction::Subscribe { namespaces: list([Namespace(0), Namespace(2)]), audience: node() };
    check(&subscribe, "04 00000002 0000 0002 0a*32");
    limit::<OwnerAction>("04", SUBSCRIBED_NAMESPACES_MAX);
    tags::<OwnerAction>("", 4);
    tags::<OwnerAction>("03 00000000 00*8", 2);
    check(&ExpireMode::Shorten, "01");
    check(&ExpireMode::Extend, "02");
}

#[test]
fn operations() {
    check(&operation(), OPERATION);
    let short =
        Authorization::Signed { keys: None, timestamp: time(1), nonce: 2, signature: signature() };
    check(&short, "01 00 0000000000000001 0000000000000002 33*3309");
    flag::<Authorization>("01");
    tags::<Authorization>("", 2);
    tags::<OwnerOperation>("", 2);
}

/// Computed apart: SHA-256 of label, network, rule, action, time and nonce behind their lengths.
#[test]
fn the_signed_bytes_are_fixed() {
    let operation = OwnerOperation {
        rule: AccessRule::Account { account: [7; 32].into() },
        action: delete(),
        authorization: Authorization::Signed {
            keys: Some(keys()),
            timestamp: time(0x0102),
            nonce: 0x0304,
            signature: signature(),
        },
    };
    assert_eq!(
        hex::encode(operation.signed_bytes(network())),
        "a5d2c7890b166c8479d14875bdd0df899cdb3621ae64889998a7b985f735efa2"
    );
}

#[test]
fn what_the_owner_signed_verifies() {
    let checked = signed(delete()).verify(network(), &FakeVerifier, |_| panic!("keys are there"));
    assert_eq!(checked.expect("the owner's").into_inner(), signed(delete()));
}

#[test]
fn true_signatures_verify_and_flipped_ones_do_not() {
    let alice = Identity::from_seed(&[1; 32]);
    let sign = |seed| {
        OwnerOperation::sign(network(), &alice, delete(), NOW, &mut SeededEntropy::new(seed))
    };
    let real =
        |operation: OwnerOperation| operation.verify(network(), &RealVerifier, |_| None).map(drop);
    assert_eq!(real(sign(1)), Ok(()));
    // Two signatures of one moment differ in nonce, so neither passes for a repetition.
    assert_ne!(sign(1).signed_bytes(network()), sign(2).signed_bytes(network()));
    for byte in [0, 48, 3308] {
        let mut flipped = sign(1);
        let mut bytes = *signed_of(&mut flipped).signature.as_bytes();
        bytes[byte] ^= 1;
        *signed_of(&mut flipped).signature = Signature::from(bytes);
        assert_eq!(real(flipped), Err(BadAuthorization::Signature), "byte {byte}");
    }
}

/// A change to an operation, and what it is called when the test fails.
type Change = (&'static str, fn(&mut OwnerOperation));

#[test]
fn the_signature_is_bound_to_everything() {
    let changes: &[Change] = &[
        ("action", |operation| operation.action = OwnerAction::Delete { ids: list([]) }),
        ("ids", |operation| {
            operation.action = OwnerAction::Delete { ids: list([[0x0d; 32].into()]) };
        }),
        ("time", |operation| {
            *signed_of(operation).timestamp = NOW + session_core::Span::from_millis(1)
        }),
        ("nonce", |operation| *signed_of(operation).nonce ^= 1),
        ("signature", |operation| *signed_of(operation).signature = signature()),
    ];
    for (what, change) in changes {
        let mut changed = signed(delete());
        change(&mut changed);
        assert_eq!(verify(changed, network()), Err(BadAuthorization::Signature), "{what}");
    }
    assert_eq!(verify(signed(delete()), network()), Ok(()));
    let elsewhere = verify(signed(delete()), network_id("another"));
    assert_eq!(elsewhere, Err(BadAuthorization::Signature));
}

#[test]
fn every_field_of_an_action_is_signed() {
    let retrieve = |namespace, arrival, bytes_max, audience: u8| OwnerAction::Retrieve {
        namespace: Namespace(namespace),
        select: Select::After { cursor: Cursor { incarnation: 1, arrival } },
        bytes_max,
        audience: [audience; 32].into(),
    };
    let expire = |expiry, mode| OwnerAction::Expire { ids: list([]), expiry: time(expiry), mode };
    let families = [
        vec![
            retrieve(0, 0, 0, 0),
            retrieve(2, 0, 0, 0),
            retrieve(0, 1, 0, 0),
            retrieve(0, 0, 1, 0),
            retrieve(0, 0, 0, 1),
        ],
        vec![
            expire(1, ExpireMode::Shorten),
            expire(2, ExpireMode::Shorten),
            expire(1, ExpireMode::Extend),
        ],
        vec![
            OwnerAction::Subscribe { namespaces: list([Namespace(0)]), audience: node() },
            OwnerAction::Subscribe { namespaces: list([]), audience: node() },
            OwnerAction::Subscribe { namespaces: list([Namespace(0)]), audience: [9; 32].into() },
        ],
    ];
    for actions in families {
        let (first, others) = actions.split_first().expect("a family has members");
        for other in others {
            let mut changed = signed(first.clone());
            changed.action = other.clone();
            assert_eq!(
                verify(changed, network()),
                Err(BadAuthorization::Signature),
                "{other:?} passes for {first:?}"
            );
        }
    }
}

/// With keys of her own, Mallory signs for Alice's inbox; with Alice's keys, she cannot sign.
#[test]
fn nobody_signs_for_another_inbox() {
    let mallory = FakeIdentity::new(&[2; 32]);
    let sign =
        || OwnerOperation::sign(network(), &mallory, delete(), NOW, &mut SeededEntropy::new(1));
    let rule = AccessRule::from(alice().public().account_id());
    let mut hers = sign();
    hers.rule = rule;
    assert_eq!(verify(hers, network()), Err(BadAuthorization::WrongKeys));
    let mut with_my_keys = sign();
    with_my_keys.rule = rule;
    *signed_of(&mut with_my_keys).keys = Some(alice().public().clone());
    assert_eq!(verify(with_my_keys, network()), Err(BadAuthorization::Signature));
    // The id covers both keys: one of Alice's is not enough.
    let mut halves = sign();
    halves.rule = rule;
    let mixed = PublicIdentity::new(alice().public().kem().clone(), mallory.public().dsa().clone());
    *signed_of(&mut halves).keys = Some(mixed);
    assert_eq!(verify(halves, network()), Err(BadAuthorization::WrongKeys));
}

#[test]
fn keys_that_were_left_out_are_filled_in() {
    let mut short = signed(delete());
    *signed_of(&mut short).keys = None;
    assert_eq!(verify(short.clone(), network()), Err(BadAuthorization::UnknownKeys));
    let account = alice().public().account_id();
    let checked = short
        .verify(network(), &FakeVerifier, |asked| {
            (*asked == account).then(|| alice().public().clone())
        })
        .expect("the owner's");
    assert_eq!(checked.into_inner(), signed(delete()), "copies carry the keys");
}

#[test]
fn signatures_of_other_domains_do_not_fit() {
    let mut operation = signed(delete());
    let bytes = operation.signed_bytes(network());
    let other = session_core::Domain::StorageReceiptRoot;
    *signed_of(&mut operation).signature = alice().sign(other, &bytes, &mut SeededEntropy::new(1));
    assert_eq!(verify(operation, network()), Err(BadAuthorization::Signature));
}
