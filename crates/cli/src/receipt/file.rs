//! The receipts of a message as a file: the swarm's signatures, and the way from each to its item.
//!
//! | field | bytes | |
//! |---|---|---|
//! | magic | 8 | `LUXRCPT1` |
//! | network | 32 | |
//! | proofs | | for each item of the message: its id, until when, members, quorum, receipts |
//!
//! *Provided:* whoever knows the nodes of the network knows that so many of them have signed for each
//! item; nothing else in the file is believed. *Not provided:* what the items say: they are sealed,
//! and the file does not open them.

use session_client::StoredProof;
use session_core::codec::OverLimit;
use session_core::{Decode as _, DecodeError, Encode as _, List, NodeId, Time, committee, record};
use session_crypto::RealVerifier;
use session_protocol::Membership;
use session_protocol::membership::NetworkId;
use session_protocol::receipt::BadReceipt;

const MAGIC: &[u8; 8] = b"LUXRCPT1";

/// Items of one message: a box for every device of a large group, and more.
const PROOFS_MAX: usize = 1024;

record! {
    /// What the swarm has signed for, for one message.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub(super) struct ReceiptFile {
        network: NetworkId,
        proofs: List<StoredProof, PROOFS_MAX>,
    }
}

/// Why a file is not believed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotProven {
    /// The bytes begin differently.
    #[error("not a file of receipts")]
    NotReceipts,
    /// The bytes are not what they should be.
    #[error("damaged: {0}")]
    Malformed(#[from] DecodeError),
    /// Nothing is in it.
    #[error("it proves nothing: there is no proof in it")]
    Empty,
    /// The nodes are of another network.
    #[error("it is of another network than the nodes that it was checked with")]
    OtherNetwork,
    /// One receipt is of another item, inbox or swarm than the others, or there twice.
    #[error("the receipt of node {node} is of something else, or there twice")]
    Mixed {
        /// Whose.
        node: NodeId,
    },
    /// A receipt is not signed.
    #[error("a receipt is not what a node of this network signed: {0}")]
    Receipt(#[from] BadReceipt),
    /// Too few.
    #[error("{good} nodes have signed, {needed} make a quorum")]
    NoQuorum {
        /// Receipts.
        good: usize,
        /// Members that make a quorum.
        needed: usize,
    },
    /// It says of itself what the receipts do not say.
    #[error("the {field} that it tells is not what its receipts say")]
    Claim {
        /// What.
        field: &'static str,
    },
}

impl ReceiptFile {
    pub(super) fn new(network: NetworkId, proofs: Vec<StoredProof>) -> Result<Self, OverLimit> {
        Ok(Self { network, proofs: List::new(proofs)? })
    }

    /// Returns the bytes of the file.
    pub(super) fn to_file(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        self.encode(&mut bytes);
        bytes
    }

    pub(super) fn read(bytes: &[u8]) -> Result<Self, NotProven> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(NotProven::NotReceipts)?;
        Ok(Self::decode_exact(rest)?)
    }

    /// Checks everything in it against the nodes of a network; returns what is proven.
    pub(super) fn verify(&self, membership: &dyn Membership) -> Result<&[StoredProof], NotProven> {
        if self.network != membership.network() {
            return Err(NotProven::OtherNetwork);
        }
        if self.proofs.is_empty() {
            return Err(NotProven::Empty);
        }
        self.proofs.iter().try_for_each(|proof| check(proof, membership))?;
        Ok(&self.proofs)
    }
}

fn check(proof: &StoredProof, membership: &dyn Membership) -> Result<(), NotProven> {
    let first = proof.receipts.first().ok_or(NotProven::Empty)?.receipt;
    let mut before = None;
    for it in proof.receipts.iter() {
        let (receipt, node) = (&it.receipt, it.receipt.node);
        let same = (receipt.swarm, receipt.address) == (first.swarm, first.address)
            && receipt.message == proof.message;
        if !same || before.is_some_and(|before| before >= node) {
            return Err(NotProven::Mixed { node });
        }
        before = Some(node);
        it.verify(membership, &RealVerifier)?;
    }
    let (of, good) = (membership.members(first.swarm).len(), proof.good());
    let needed = committee::quorum(of).unwrap_or(usize::MAX);
    if good < needed {
        return Err(NotProven::NoQuorum { good, needed });
    }
    let mut expiries: Vec<Time> = proof.receipts.iter().map(|it| it.receipt.expiry).collect();
    expiries.sort_unstable();
    for (field, right) in [
        ("number of nodes", usize::from(proof.of) == of),
        ("quorum", usize::from(proof.needed) == needed),
        ("expiry", proof.expiry == expiries[good - needed]),
    ] {
        if !right {
            return Err(NotProven::Claim { field });
        }
    }
    Ok(())
}
