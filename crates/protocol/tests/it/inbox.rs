//! Addresses, namespaces, item ids, identity cards.

use session_core::{AccountId, Encode, Namespace};
use session_crypto::fake::FakeIdentity;
use session_crypto::{PublicIdentity, Signer};
use session_protocol::AccessRule;
use session_protocol::inbox::{
    ATTACHMENTS, IDENTITY_CARD, MESSAGES, Policy, is_card_of, message_id, policy,
};

use crate::codec::{check, tags};
use crate::values::address;

const ACCOUNT: [u8; 32] = [7; 32];

#[test]
fn rules() {
    check(&AccessRule::Account { account: ACCOUNT.into() }, "01 07*32");
    tags::<AccessRule>("", 1);
}

/// Computed apart: SHA-256 of label and rule, each behind its length.
#[test]
fn an_address_is_the_digest_of_its_rule() {
    let address = AccessRule::from(AccountId::from(ACCOUNT)).address();
    assert_eq!(
        address.to_string(),
        "a8707fcff075365bf09883f68433be01118eef53755f541929826e87a2a7a8ed"
    );
}

/// Computed apart: SHA-256 of label, address, namespace and bytes, each behind its length.
#[test]
fn a_message_id_is_the_digest_of_place_and_bytes() {
    let id = message_id(&address(), Namespace(2), b"sealed");
    assert_eq!(id.to_string(), "6473274696145f3854972677c878ebf29d57b4c5dcccfa9c1fcf918da3b0e4d8");
    let others = [
        message_id(&[0x0d; 32].into(), Namespace(2), b"sealed"),
        message_id(&address(), Namespace(0), b"sealed"),
        message_id(&address(), Namespace(2), b"sealed "),
        message_id(&address(), Namespace(2), b""),
    ];
    assert!(!others.contains(&id));
}

#[test]
fn three_namespaces_exist() {
    for namespace in 0..=u16::MAX {
        let expected = match namespace {
            0 | 2 => Some(Policy::Deposit),
            1 => Some(Policy::Card),
            _ => None,
        };
        assert_eq!(policy(Namespace(namespace)), expected, "namespace {namespace}");
    }
    assert_eq!((MESSAGES.0, IDENTITY_CARD.0, ATTACHMENTS.0), (0, 1, 2));
}

#[test]
fn a_card_is_its_owners_and_nobody_elses() {
    let (alice, bob) = (FakeIdentity::new(&[1; 32]), FakeIdentity::new(&[2; 32]));
    let home = |identity: &FakeIdentity| AccessRule::from(identity.public().account_id()).address();
    let card = alice.public().to_bytes();
    assert_eq!(card.len(), PublicIdentity::SIZE);
    assert!(is_card_of(&home(&alice), &card));
    assert!(!is_card_of(&home(&bob), &card));

    for byte in [0, 1183, 1184, card.len() - 1] {
        let mut other = card.clone();
        other[byte] ^= 1;
        assert!(!is_card_of(&home(&alice), &other), "byte {byte} is not part of the id");
    }
    assert!(!is_card_of(&home(&alice), &card[..card.len() - 1]));
    assert!(!is_card_of(&home(&alice), &[&card[..], &[0]].concat()));
    assert!(!is_card_of(&home(&alice), &[]));
}
