//! Values that the golden bytes are made of: each is one byte, repeated.

use session_core::merkle::Proof;
use session_core::{Blob, InboxAddress, List, MessageId, Namespace, NodeId, Text, Time};
use session_crypto::{DsaPublicKey, KemCiphertext, KemPublicKey, PublicIdentity, Signature};
use session_protocol::AccessRule;
use session_protocol::membership::Member;
use session_protocol::owner::{Authorization, ExpireMode, OwnerAction, OwnerOperation};
use session_protocol::peer::ReplicaItem;
use session_protocol::receipt::SignedRoot;

/// `0a*32` on the wire.
pub(crate) fn node() -> NodeId {
    [0x0a; 32].into()
}

/// `0b*32` on the wire.
pub(crate) fn address() -> InboxAddress {
    [0x0b; 32].into()
}

/// `0c*32` on the wire.
pub(crate) fn message() -> MessageId {
    [0x0c; 32].into()
}

/// `11*1184 22*1952` on the wire. Bytes of 0x11 make coefficients below the KEM's modulus.
pub(crate) fn keys() -> PublicIdentity {
    let kem = KemPublicKey::new(&[0x11; 1184]).expect("every coefficient is 0x111");
    PublicIdentity::new(kem, DsaPublicKey::from([0x22; 1952]))
}

/// `33*3309` on the wire.
pub(crate) fn signature() -> Signature {
    Signature::from([0x33; 3309])
}

/// `44*1088` on the wire.
pub(crate) fn challenge() -> KemCiphertext {
    KemCiphertext::from([0x44; 1088])
}

pub(crate) fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).expect("short enough")
}

pub(crate) fn blob<const MAX: usize>(bytes: &[u8]) -> Blob<MAX> {
    Blob::new(bytes).expect("short enough")
}

pub(crate) fn list<T, const MAX: usize>(values: impl Into<Vec<T>>) -> List<T, MAX> {
    List::new(values).expect("short enough")
}

pub(crate) const fn time(millis: u64) -> Time {
    Time::from_millis(millis)
}

pub(crate) fn proof() -> Proof {
    Proof { index: 1, count: 2, siblings: list([[0x55; 32].into()]) }
}

pub(crate) fn signed_root() -> SignedRoot {
    SignedRoot { node: node(), root: [0x66; 32].into(), signature: signature() }
}

pub(crate) fn member() -> Member {
    Member { node: node(), address: text("h:1") }
}

pub(crate) fn replica() -> ReplicaItem {
    ReplicaItem {
        address: address(),
        namespace: Namespace(2),
        timestamp: time(3),
        expiry: time(4),
        data: blob(b"sealed"),
    }
}

/// An expiry whose signature is only bytes.
pub(crate) fn operation() -> OwnerOperation {
    OwnerOperation {
        rule: AccessRule::Account { account: [0x07; 32].into() },
        action: OwnerAction::Expire {
            ids: list([message()]),
            expiry: time(0x0102),
            mode: ExpireMode::Extend,
        },
        authorization: Authorization {
            keys: Some(keys()),
            timestamp: time(5),
            nonce: 6,
            signature: signature(),
        },
    }
}

/// The golden bytes of [`operation`].
pub(crate) const OPERATION: &str = "
    01 07*32                             # rule: account
    03 00000001 0c*32 0000000000000102 02 # expire: ids, expiry, extend
    01 11*1184 22*1952                   # keys
    0000000000000005 0000000000000006    # timestamp, nonce
    33*3309                              # signature
";
