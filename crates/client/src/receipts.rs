//! Proof that an item is on the disks of a quorum.
//!
//! The node that answers a store hands on the receipts of all members. It is believed no further
//! than those receipts reach: each must be signed by a different member of the swarm that keeps
//! the inbox, and must name exactly the item that was sent, under the id computed here.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::merkle::Proof;
use session_core::{
    Digest, InboxAddress, List, MessageId, NodeId, SwarmId, Time, committee, record,
};
use session_crypto::{Signature, Verifier};
use session_protocol::Membership;
use session_protocol::limits::{CLOCK_TOLERANCE, SWARM_MEMBERS_MAX, TTL_OWNER_MAX};
use session_protocol::receipt::{BadReceipt, ReceiptPath, SignedRoot, StorageReceipt};

mod file;

pub use file::{ANCHOR_BYTES_MAX, BadReceiptFile, PARTS_MAX, Part, Proven, ReceiptFile, Verdict};

/// Signed roots remembered: a root that many receipts share is checked once. Enough for many
/// replies at once; 3.4 KB each.
const ROOTS_MAX: usize = 512;

record! {
    /// One member's promise, complete: it convinces anyone who knows the member's key.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ReceiptProof {
        /// What is promised.
        pub receipt: StorageReceipt,
        /// The signature that covers it.
        pub root: SignedRoot,
        /// The way from the receipt to the root.
        pub proof: Proof,
    }

    /// Proof that a quorum of a swarm has an item.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct StoredProof {
        /// The item.
        pub message: MessageId,
        /// Until when a quorum keeps it. Earlier than asked when the item was stored before.
        pub expiry: Time,
        /// Members of the swarm.
        pub of: u16,
        /// Members that make a quorum.
        pub needed: u16,
        /// The receipts, checked, of different members.
        pub receipts: List<ReceiptProof, SWARM_MEMBERS_MAX>,
    }
}

impl StoredProof {
    /// Returns how many members promised.
    #[must_use]
    pub fn good(&self) -> usize {
        self.receipts.len()
    }
}

impl ReceiptProof {
    /// Checks the promise again, from nothing but the network's records.
    ///
    /// # Errors
    /// When the node is not a member of the swarm, or did not sign this.
    pub fn verify(
        &self,
        membership: &dyn Membership,
        verifier: &dyn Verifier,
    ) -> Result<(), BadReceipt> {
        let (node, network) = (self.root.node, membership.network());
        let member = membership.node(&node).filter(|record| record.swarm == self.receipt.swarm);
        let record = member.ok_or(BadReceipt::NotAMember(node))?;
        self.root.verify(network, record.keys.dsa(), verifier)?;
        self.root.covers(network, &self.receipt, &self.proof)
    }
}

/// What was asked to be stored.
pub(crate) struct Asked {
    pub(crate) swarm: SwarmId,
    pub(crate) address: InboxAddress,
    pub(crate) message: MessageId,
    /// The timestamp in the request.
    pub(crate) timestamp: Time,
}

/// How many good receipts there were, when there were too few.
pub(crate) struct TooFew {
    pub(crate) good: usize,
    pub(crate) needed: usize,
}

/// Checks receipts, and remembers which signature over which root was good.
pub(crate) struct Auditor {
    membership: Arc<dyn Membership>,
    verifier: Arc<dyn Verifier>,
    verified: BTreeMap<(NodeId, Digest), Signature>,
}

impl Auditor {
    pub(crate) fn new(membership: Arc<dyn Membership>, verifier: Arc<dyn Verifier>) -> Self {
        Self { membership, verifier, verified: BTreeMap::new() }
    }

    pub(crate) fn set_membership(&mut self, membership: Arc<dyn Membership>) {
        self.membership = membership;
    }

    /// Checks the receipts of one item.
    pub(crate) fn audit(
        &mut self,
        asked: &Asked,
        roots: &[SignedRoot],
        paths: &[ReceiptPath],
    ) -> Result<StoredProof, TooFew> {
        let members = self.membership.members(asked.swarm);
        let mut good = BTreeMap::new();
        for path in paths {
            if let Some(proof) = self.check(asked, &members, roots, path) {
                good.entry(proof.receipt.node).or_insert(proof);
            }
        }
        // An unknown swarm has no members and no quorum: a quorum out of reach then.
        let needed = committee::quorum(members.len()).unwrap_or(usize::MAX);
        if good.len() < needed {
            return Err(TooFew { good: good.len(), needed });
        }
        let mut expiries: Vec<Time> = good.values().map(|proof| proof.receipt.expiry).collect();
        expiries.sort_unstable_by(|left, right| right.cmp(left));
        let count = |n: usize| u16::try_from(n).expect("a swarm has at most 32 members");
        Ok(StoredProof {
            message: asked.message,
            expiry: expiries[needed - 1],
            of: count(members.len()),
            needed: count(needed),
            receipts: List::new(good.into_values().collect::<Vec<_>>())
                .expect("different members of one swarm"),
        })
    }

    fn check(
        &mut self,
        asked: &Asked,
        members: &[NodeId],
        roots: &[SignedRoot],
        path: &ReceiptPath,
    ) -> Option<ReceiptProof> {
        let root = roots.get(usize::from(path.root))?;
        let receipt = StorageReceipt {
            node: root.node,
            swarm: asked.swarm,
            address: asked.address,
            message: asked.message,
            expiry: path.expiry,
            stored_at: path.stored_at,
        };
        let latest = asked.timestamp + TTL_OWNER_MAX + CLOCK_TOLERANCE;
        let plausible = asked.timestamp < path.expiry && path.expiry <= latest;
        if !plausible || !members.contains(&root.node) {
            return None;
        }
        // The path is cheap and goes first: signatures are checked for receipts that fit only.
        root.covers(self.membership.network(), &receipt, &path.proof).ok()?;
        self.check_signature(root).ok()?;
        Some(ReceiptProof { receipt, root: root.clone(), proof: path.proof.clone() })
    }

    fn check_signature(&mut self, root: &SignedRoot) -> Result<(), BadReceipt> {
        let claim = (root.node, root.root);
        // A proof is handed on with its signature: another one over the same root is checked anew.
        if self.verified.get(&claim) == Some(&root.signature) {
            return Ok(());
        }
        let record = self.membership.node(&root.node).ok_or(BadReceipt::NotAMember(root.node))?;
        root.verify(self.membership.network(), record.keys.dsa(), &*self.verifier)?;
        // A full table forgets everything: a signature is then checked once more.
        if self.verified.len() >= ROOTS_MAX {
            self.verified.clear();
        }
        self.verified.insert(claim, root.signature.clone());
        Ok(())
    }
}
