//! Values that the golden bytes are made of: each is one byte, repeated.

use session_core::merkle::Proof;
use session_core::{
    Blob, Epoch, InboxAddress, List, MessageId, Namespace, NodeId, SwarmId, Text, Time,
};
use session_crypto::hash::SymmetricKey;
use session_crypto::{DsaPublicKey, KemCiphertext, KemPublicKey, PublicIdentity, Signature};
use session_protocol::AccessRule;
use session_protocol::attestation::{Kind, QuorumCertificate, Scheme, Statement};
use session_protocol::commitment::{Commitment, Leaf};
use session_protocol::inbox::Mailbox;
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
        authorization: Authorization::Signed {
            keys: Some(keys()),
            timestamp: time(5),
            nonce: 6,
            signature: signature(),
        },
    }
}

/// What a signed authorization is made of.
pub(crate) struct Signed<'a> {
    pub(crate) keys: &'a mut Option<PublicIdentity>,
    pub(crate) timestamp: &'a mut Time,
    pub(crate) nonce: &'a mut u64,
    pub(crate) signature: &'a mut Signature,
}

/// Opens the authorization of a signed operation, for tests that change it.
pub(crate) fn signed_of(operation: &mut OwnerOperation) -> Signed<'_> {
    match &mut operation.authorization {
        Authorization::Signed { keys, timestamp, nonce, signature } => {
            Signed { keys, timestamp, nonce, signature }
        }
        other => panic!("no signature: {other:?}"),
    }
}

/// The mailbox whose seed is `08*32`.
pub(crate) fn mailbox() -> Mailbox {
    Mailbox::derive(&SymmetricKey::from([8; 32]), &[b"lane"])
}

/// The golden bytes of [`operation`].
pub(crate) const OPERATION: &str = "
    01 07*32                             # rule: account
    03 00000001 0c*32 0000000000000102 02 # expire: ids, expiry, extend
    01                                   # signed
    01 11*1184 22*1952                   # keys
    0000000000000005 0000000000000006    # timestamp, nonce
    33*3309                              # signature
";

pub(crate) fn statement() -> Statement {
    Statement {
        chain: [0xc1; 32].into(),
        committee: [0x0d; 32].into(),
        kind: Kind::SessionComplete,
        subject: [0x0e; 32].into(),
        root: [0x0f; 32].into(),
        epoch: Epoch(5),
    }
}

/// The golden bytes of [`statement`].
pub(crate) const STATEMENT: &str = "
    c1*32 0d*32      # chain, committee
    03               # session/complete
    0e*32 0f*32      # subject, root
    0000000000000005 # epoch
";

/// A certificate whose signature is only bytes.
pub(crate) fn certificate() -> QuorumCertificate {
    QuorumCertificate {
        scheme: Scheme::MlDsa65List,
        statement: statement(),
        signers: blob(&[1]),
        signatures: list([signature()]),
    }
}

/// The golden bytes of [`certificate`].
pub(crate) fn certificate_bytes() -> String {
    format!("01 {STATEMENT} 00000001 01 00000001 33*3309")
}

pub(crate) fn leaf() -> Leaf {
    Leaf { address: address(), message: message() }
}

pub(crate) fn commitment() -> Commitment {
    Commitment { epoch: Epoch(5), swarm: SwarmId(3), count: 2, bytes: 9, root: [0x66; 32].into() }
}

/// The golden bytes of [`commitment`].
pub(crate) const COMMITMENT: &str = "
    0000000000000005 0000000000000003 # epoch, swarm
    0000000000000002 0000000000000009 # items, bytes
    66*32                             # root
";

/// The golden bytes of [`proof`].
pub(crate) const PROOF: &str = "0000000000000001 0000000000000002 00000001 55*32";
