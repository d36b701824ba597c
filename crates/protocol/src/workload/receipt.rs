//! Delivery receipts of what a session relays.
//!
//! The id of a receipt is the seed's; a proof is checked against the receipt's *contents*, never
//! against an id that came with it.

use session_core::merkle::{BadProof, Proof, Tree};
use session_core::seed_ids::{Delivery, receipt_id};
use session_core::{
    ChainId, Digest, Domain, Encode, Entropy, Epoch, NodeId, SessionId, Time, record,
};
use session_crypto::{DsaPublicKey, Signature, Signer, Verifier};

record! {
    /// In a session, at a step, a message went from one to the other.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Receipt {
        /// The session.
        pub session: SessionId,
        /// The step.
        pub step: u32,
        /// SHA-256 of the message.
        pub message_hash: Digest,
        /// The 32-byte id of who sent it: the writer's node, or the service for what a program
        /// emits.
        pub sender: [u8; 32],
        /// The 32-byte id of who gets it.
        pub receiver: [u8; 32],
        /// When.
        pub time: Time,
    }

    /// What is signed of a receipt.
    struct SignedPart {
        chain: ChainId,
        receipt: Receipt,
        node: NodeId,
    }

    /// A receipt that the writer signed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SignedReceipt {
        /// It.
        pub receipt: Receipt,
        /// Who sent the message.
        pub node: NodeId,
        /// Nodes of the receiver's swarm that signed that they keep it.
        pub stored: u16,
        /// Over chain, receipt and node.
        pub signature: Signature,
    }

    /// What a session commits to: the root over the ids of its receipts, in their order.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ReceiptCommit {
        /// The session.
        pub session: SessionId,
        /// The epoch of its committee.
        pub epoch: Epoch,
        /// How many.
        pub count: u32,
        /// The root.
        pub root: Digest,
    }

    /// Shows that a receipt is among those of a session.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ReceiptProof {
        /// The receipt.
        pub receipt: Receipt,
        /// From its id to the root.
        pub path: Proof,
    }
}

impl Receipt {
    /// Returns its id, from its contents.
    #[must_use]
    pub fn id(&self) -> Digest {
        let Self { session, step, message_hash, sender, receiver, .. } = *self;
        receipt_id(&Delivery { session, step, message_hash, sender, receiver })
    }

    /// Signs it as the node that sent the message.
    pub fn sign(
        self,
        chain: ChainId,
        stored: u16,
        member: &dyn Signer,
        rng: &mut dyn Entropy,
    ) -> SignedReceipt {
        let node = member.public().node_id();
        let bytes = SignedPart { chain, receipt: self, node }.to_bytes();
        let signature = member.sign(Domain::WorkloadReceipt, &bytes, rng);
        SignedReceipt { receipt: self, node, stored, signature }
    }
}

impl SignedReceipt {
    /// Checks the signature.
    #[must_use]
    pub fn verify(&self, chain: ChainId, key: &DsaPublicKey, verifier: &dyn Verifier) -> bool {
        let bytes = SignedPart { chain, receipt: self.receipt, node: self.node }.to_bytes();
        verifier.verify(key, Domain::WorkloadReceipt, &bytes, &self.signature).is_ok()
    }
}

fn tree(receipts: &[Receipt]) -> Tree {
    Tree::new(receipts.iter().map(Receipt::id))
}

/// Returns the receipts root of a session.
#[must_use]
pub fn receipts_root(receipts: &[Receipt]) -> Digest {
    tree(receipts).root()
}

/// Returns the proof of one of the receipts.
#[must_use]
pub fn prove(receipts: &[Receipt], index: u64) -> Option<ReceiptProof> {
    let receipt = *receipts.get(usize::try_from(index).ok()?)?;
    Some(ReceiptProof { receipt, path: tree(receipts).prove(index)? })
}

impl ReceiptProof {
    /// Checks that the receipt is under the root. The time of the receipt is not part of its id.
    ///
    /// # Errors
    /// When it is not.
    pub fn verify(&self, root: &Digest) -> Result<(), BadProof> {
        self.path.verify(self.receipt.id().as_bytes(), root)
    }
}
