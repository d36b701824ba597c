//! Addresses, namespaces, item ids, identity cards.

use session_core::{AccountId, Encode, Namespace, SeededEntropy, Span};
use session_crypto::fake::FakeIdentity;
use session_crypto::hash::SymmetricKey;
use session_crypto::{PublicIdentity, Signer};
use session_protocol::AccessRule;
use session_protocol::inbox::{
    ATTACHMENTS, BOXES, COMMITS, Capability, IDENTITY_CARD, INTRODUCTIONS, MANIFESTS, MESSAGES,
    Mailbox, Policy, is_card_of, message_id, policy, slot_of,
};
use session_protocol::owner::{OwnerAction, OwnerOperation};
use session_protocol::request::Operation;

use crate::codec::{check, tags};
use crate::values::{address, blob, list, mailbox, time};

const ACCOUNT: [u8; 32] = [7; 32];

#[test]
fn rules() {
    check(&AccessRule::Account { account: ACCOUNT.into() }, "01 07*32");
    let (reader, writer, eraser) = ([1; 32].into(), [2; 32].into(), [3; 32].into());
    check(&AccessRule::Mailbox { reader, writer, eraser }, "02 01*32 02*32 03*32");
    tags::<AccessRule>("", 2);
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
fn seven_namespaces_exist() {
    for namespace in 0..=u16::MAX {
        let expected = match namespace {
            0 | 2 => Some(Policy::Deposit),
            1 => Some(Policy::Card),
            3 => Some(Policy::Manifest),
            4 => Some(Policy::Box),
            5 => Some(Policy::Slot),
            6 => Some(Policy::Strangers),
            _ => None,
        };
        assert_eq!(policy(Namespace(namespace)), expected, "namespace {namespace}");
    }
    assert_eq!((MESSAGES.0, IDENTITY_CARD.0, ATTACHMENTS.0), (0, 1, 2));
    assert_eq!((MANIFESTS.0, BOXES.0, COMMITS.0, INTRODUCTIONS.0), (3, 4, 5, 6));
    let public = [IDENTITY_CARD, MANIFESTS];
    let capability = [BOXES, COMMITS, INTRODUCTIONS];
    for namespace in (0..7).map(Namespace) {
        let policy = policy(namespace).expect("it exists");
        assert_eq!(policy.is_public(), public.contains(&namespace));
        assert_eq!(policy.takes_capability(), capability.contains(&namespace));
    }
}

#[test]
fn a_slot_is_the_first_32_bytes() {
    assert_eq!(slot_of(&[7; 31]), None);
    assert_eq!(slot_of(&[7; 32]), Some([7; 32].into()));
    assert_eq!(slot_of(&[[7; 32], [8; 32]].concat()), Some([7; 32].into()));
}

#[test]
fn a_mailbox_follows_from_its_seed_and_parts() {
    let seed = |byte| SymmetricKey::from([byte; 32]);
    let of = |byte, parts: &[&[u8]]| Mailbox::derive(&seed(byte), parts);
    let mailbox = of(1, &[b"lane", b"day"]);
    assert_eq!(mailbox, of(1, &[b"lane", b"day"]));
    for other in [of(2, &[b"lane", b"day"]), of(1, &[b"laned", b"ay"]), of(1, &[b"lane"])] {
        assert_ne!(other.address(), mailbox.address());
        assert_ne!((other.read, other.write), (mailbox.read.clone(), mailbox.write.clone()));
    }
    let AccessRule::Mailbox { reader, writer, eraser } = mailbox.rule() else { panic!() };
    let Mailbox { read, write, erase } = &mailbox;
    let table = [(read, reader), (write, writer), (erase, eraser)];
    for (row, (capability, _)) in table.iter().enumerate() {
        for (column, (_, commitment)) in table.iter().enumerate() {
            assert_eq!(capability.opens(commitment), row == column);
        }
    }
    check(
        &Mailbox {
            read: Capability::new([1; 32]),
            write: Capability::new([2; 32]),
            erase: Capability::new([3; 32]),
        },
        "01*32 02*32 03*32",
    );
}

#[test]
fn a_capability_is_not_printed() {
    let capability = Capability::new([0xab; 32]);
    assert_eq!(format!("{capability:?}"), "Capability");
    let operation = OwnerOperation::with_token(
        mailbox().rule(),
        capability.clone(),
        OwnerAction::Delete { ids: list([]) },
        time(1),
        &mut SeededEntropy::new(1),
    );
    let deposit = Operation::Deposit {
        rule: mailbox().rule(),
        token: capability,
        namespace: BOXES,
        timestamp: time(1),
        ttl: Span::from_secs(10),
        data: blob(b"sealed"),
    };
    for shown in [format!("{operation:?}"), format!("{deposit:?}")] {
        assert!(shown.contains("token: Capability") && !shown.contains("171, 171"), "{shown}");
    }
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
