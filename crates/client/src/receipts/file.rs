//! A file that shows that a message is, or was, on the disks of a quorum: for others, later, offline.

use std::collections::BTreeSet;

use session_core::{
    Blob, Decode as _, DecodeError, Encode as _, InboxAddress, List, MessageId, NodeId, SwarmId,
    Time, committee, record,
};
use session_crypto::Verifier;
use session_protocol::receipt::BadReceipt;
use session_protocol::{Membership, NetworkId};

use super::StoredProof;

/// The version of the file that this program writes.
const VERSION: u16 = 1;

/// How a file begins.
const MAGIC: &[u8; 8] = b"LUXRCPT\0";

/// Most items of one message: a box for every device of a large group, and more.
pub const PARTS_MAX: usize = 1024;

/// Largest proof of who the members of the swarms were.
pub const ANCHOR_BYTES_MAX: usize = 8 * 1024 * 1024;

record! {
    /// One item of a message.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Part {
        /// The inbox in which it is kept.
        pub address: InboxAddress,
        /// The receipts for it.
        pub proof: StoredProof,
    }

    /// The receipts of all items of a message.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ReceiptFile {
        /// The network whose nodes signed.
        pub network: NetworkId,
        /// The items, in order.
        pub parts: List<Part, PARTS_MAX>,
        /// What shows on a chain who the members of the swarms were; whoever knows the chain reads
        /// it, and makes of it the membership for [`ReceiptFile::verify`].
        pub anchor: Option<Blob<ANCHOR_BYTES_MAX>>,
    }
}

/// What a file of receipts proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The items, in order.
    pub parts: Vec<Proven>,
    /// Signatures that were checked.
    pub signatures: usize,
}

/// What was proven of an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The item.
    pub item: MessageId,
    /// The swarm that keeps it.
    pub swarm: SwarmId,
    /// Members that signed.
    pub good: usize,
    /// Members that make a quorum.
    pub needed: usize,
    /// Members of the swarm.
    pub of: usize,
    /// When a quorum had it, by the clocks of the members that completed it.
    pub stored_at: Time,
    /// Until when a quorum keeps it.
    pub expiry: Time,
}

/// Why a file proves nothing. Parts and receipts are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadReceiptFile {
    /// Not such a file.
    #[error("it is no file of receipts")]
    NotReceipts,
    /// A later program wrote it.
    #[error("its version is {got}, this program knows {VERSION}")]
    NewerVersion {
        /// The version.
        got: u16,
    },
    /// It is cut, or something was added.
    #[error("it is damaged: {0}")]
    Damaged(#[from] DecodeError),
    /// Of another network.
    #[error("it is of network {got}, not of {expected}")]
    OtherNetwork {
        /// The file's.
        got: NetworkId,
        /// The one that it was checked against.
        expected: NetworkId,
    },
    /// There is nothing in it.
    #[error("it holds no receipts{}", of_part(part))]
    Empty {
        /// The part; none if there are no parts.
        part: Option<usize>,
    },
    /// A receipt is for something else.
    #[error("receipt {receipt} of part {part}, of node {node}, is for another {what}")]
    Stray {
        /// The part.
        part: usize,
        /// The receipt.
        receipt: usize,
        /// Who signed.
        node: NodeId,
        /// `item`, `inbox` or `swarm`.
        what: &'static str,
    },
    /// The same node twice.
    #[error("receipt {receipt} of part {part} is the second one of node {node}")]
    Twice {
        /// The part.
        part: usize,
        /// The receipt.
        receipt: usize,
        /// Who signed.
        node: NodeId,
    },
    /// The receipts are not in the order of the nodes' ids.
    #[error("receipt {receipt} of part {part}, of node {node}, is out of order")]
    Order {
        /// The part.
        part: usize,
        /// The receipt.
        receipt: usize,
        /// Who signed.
        node: NodeId,
    },
    /// A receipt does not hold.
    #[error("receipt {receipt} of part {part}: {why}")]
    Receipt {
        /// The part.
        part: usize,
        /// The receipt.
        receipt: usize,
        /// What is wrong.
        #[source]
        why: BadReceipt,
    },
    /// Every receipt holds, and there are too few.
    #[error("part {part} has {good} good receipts, a quorum of {swarm} is {needed}")]
    NoQuorum {
        /// The part.
        part: usize,
        /// The swarm.
        swarm: SwarmId,
        /// Receipts that hold.
        good: usize,
        /// Receipts that make a quorum.
        needed: usize,
    },
    /// The file promises something else than the receipts.
    #[error("part {part} claims to be kept until {claimed}, a quorum promised {proven}")]
    Expiry {
        /// The part.
        part: usize,
        /// What the file says.
        claimed: Time,
        /// What the receipts say.
        proven: Time,
    },
    /// The file counts otherwise than who the members are.
    #[error("part {part} claims a {what} of {claimed}, it is {counted}")]
    Count {
        /// The part.
        part: usize,
        /// `swarm` or `quorum`.
        what: &'static str,
        /// What the file says.
        claimed: u16,
        /// What was counted.
        counted: usize,
    },
}

fn of_part(part: &Option<usize>) -> String {
    part.map_or_else(String::new, |part| format!(" for part {part}"))
}

impl ReceiptFile {
    /// Joins the receipts of the items of a message; `None` if there are none, or too many.
    #[must_use]
    pub fn new(network: NetworkId, proofs: impl IntoIterator<Item = StoredProof>) -> Option<Self> {
        let part = |proof: StoredProof| {
            Some(Part { address: proof.receipts.first()?.receipt.address, proof })
        };
        let parts: Vec<Part> = proofs.into_iter().map(part).collect::<Option<_>>()?;
        let parts = List::new(parts).ok().filter(|parts| !parts.is_empty())?;
        Some(Self { network, parts, anchor: None })
    }

    /// Returns the bytes of the file.
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        VERSION.encode(&mut out);
        self.encode(&mut out);
        out
    }

    /// Reads the bytes of a file; proves nothing yet.
    ///
    /// # Errors
    /// When it is something else, of a later version, or damaged.
    pub fn from_file(bytes: &[u8]) -> Result<Self, BadReceiptFile> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(BadReceiptFile::NotReceipts)?;
        let (version, rest) = rest.split_first_chunk().ok_or(BadReceiptFile::NotReceipts)?;
        match u16::from_be_bytes(*version) {
            VERSION => Ok(Self::decode_exact(rest)?),
            got => Err(BadReceiptFile::NewerVersion { got }),
        }
    }

    /// Checks every receipt against who the members are, and that each part has a quorum.
    ///
    /// # Errors
    /// When one receipt does not hold, or there are too few; the error names which.
    pub fn verify(
        &self,
        membership: &dyn Membership,
        verifier: &dyn Verifier,
    ) -> Result<Verdict, BadReceiptFile> {
        let (got, expected) = (self.network, membership.network());
        if got != expected {
            return Err(BadReceiptFile::OtherNetwork { got, expected });
        }
        if self.parts.is_empty() {
            return Err(BadReceiptFile::Empty { part: None });
        }
        let mut verdict = Verdict { parts: Vec::new(), signatures: 0 };
        for (number, part) in (1..).zip(&self.parts) {
            let proven = part.verify(number, membership, verifier)?;
            verdict.signatures += proven.good;
            verdict.parts.push(proven);
        }
        Ok(verdict)
    }
}

impl Part {
    fn verify(
        &self,
        part: usize,
        membership: &dyn Membership,
        verifier: &dyn Verifier,
    ) -> Result<Proven, BadReceiptFile> {
        let receipts = &self.proof.receipts;
        let first = receipts.first().ok_or(BadReceiptFile::Empty { part: Some(part) })?;
        let (item, swarm) = (self.proof.message, first.receipt.swarm);
        let mut signers = BTreeSet::new();
        for (receipt, proof) in (1..).zip(receipts) {
            let promised = &proof.receipt;
            let node = promised.node;
            for (what, same) in [
                ("item", promised.message == item),
                ("inbox", promised.address == self.address),
                ("swarm", promised.swarm == swarm),
            ] {
                if !same {
                    return Err(BadReceiptFile::Stray { part, receipt, node, what });
                }
            }
            if !signers.insert(node) {
                return Err(BadReceiptFile::Twice { part, receipt, node });
            }
            // One order only, so that a file is the same whoever joins it.
            if signers.last() != Some(&node) {
                return Err(BadReceiptFile::Order { part, receipt, node });
            }
            let checked = proof.verify(membership, verifier);
            checked.map_err(|why| BadReceiptFile::Receipt { part, receipt, why })?;
        }
        let (good, of) = (signers.len(), membership.members(swarm).len());
        // A swarm without members has no quorum: one out of reach then.
        let needed = committee::quorum(of).unwrap_or(usize::MAX);
        if good < needed {
            return Err(BadReceiptFile::NoQuorum { part, swarm, good, needed });
        }
        let mut expiries: Vec<Time> = receipts.iter().map(|it| it.receipt.expiry).collect();
        expiries.sort_unstable_by(|left, right| right.cmp(left));
        let mut times: Vec<Time> = receipts.iter().map(|it| it.receipt.stored_at).collect();
        times.sort_unstable();
        let (expiry, stored_at) = (expiries[needed - 1], times[needed - 1]);
        let claimed = self.proof.expiry;
        if claimed != expiry {
            return Err(BadReceiptFile::Expiry { part, claimed, proven: expiry });
        }
        for (what, claimed, counted) in
            [("swarm", self.proof.of, of), ("quorum", self.proof.needed, needed)]
        {
            if usize::from(claimed) != counted {
                return Err(BadReceiptFile::Count { part, what, claimed, counted });
            }
        }
        Ok(Proven { item, swarm, good, needed, of, stored_at, expiry })
    }
}

#[cfg(test)]
mod tests;
