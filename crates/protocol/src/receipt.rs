//! Storage receipts: a node's signed promise that an item is on its disk.
//!
//! A node commits many items with one disk write, so it signs them together: the receipts of one
//! commit are the leaves of a Merkle tree, one ML-DSA-65 signature covers the root, and each
//! receipt carries its path. Thousands of promises a second then cost a few signatures.
//!
//! The identity of a receipt is that of the seed (`LUX:Receipt:v1`): session = the swarm, step 0,
//! message hash = the item's id, sender = the node, receiver = the inbox.
//!
//! *Provided:* nobody but the node can make one; it names network, swarm, node, inbox, item,
//! expiry and time. *Not provided:* that the node still has the item later (audits come later).

use session_core::merkle::{Proof, Tree};
use session_core::{
    Digest, Domain, Encode, Entropy, InboxAddress, MessageId, NodeId, SessionId, SwarmId, Time,
    digest, record, seed_ids,
};
use session_crypto::{DsaPublicKey, Signature, Signer, Verifier};

use crate::membership::NetworkId;

record! {
    /// What a receipt promises.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct StorageReceipt {
        /// Who promises.
        pub node: NodeId,
        /// For which swarm.
        pub swarm: SwarmId,
        /// The inbox.
        pub address: InboxAddress,
        /// The item.
        pub message: MessageId,
        /// When the item may be forgotten.
        pub expiry: Time,
        /// When it was committed, by the node's clock.
        pub stored_at: Time,
    }

    /// A node's signature over the root of one commit.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SignedRoot {
        /// Who signed.
        pub node: NodeId,
        /// The root of the commit's receipts.
        pub root: Digest,
        /// ML-DSA-65 over the root, bound to the network.
        pub signature: Signature,
    }

    /// A receipt inside a reply, which knows the inbox and item from its outcome.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ReceiptPath {
        /// Which of the reply's roots.
        pub root: u16,
        /// When the item may be forgotten.
        pub expiry: Time,
        /// When it was committed.
        pub stored_at: Time,
        /// The way to the root.
        pub proof: Proof,
    }
}

/// Why a receipt is worth nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadReceipt {
    /// Signed by somebody who is not a member of the swarm.
    #[error("node {0} is not a member of the swarm")]
    NotAMember(NodeId),
    /// The signature does not verify.
    #[error("the signature of node {0} over its receipts does not verify")]
    Signature(NodeId),
    /// The path does not lead to the signed root.
    #[error("the receipt of node {0} is not under its signed root")]
    Path(NodeId),
    /// A reference to a root that is not there.
    #[error("the receipt refers to root {0}, which the reply does not have")]
    NoRoot(u16),
}

impl StorageReceipt {
    /// Returns the seed's receipt id, `LUX:Receipt:v1`.
    #[must_use]
    pub fn id(&self, network: NetworkId) -> Digest {
        let session = digest(Domain::StorageSwarm, &[network.as_ref(), &self.swarm.to_bytes()]);
        seed_ids::receipt_id(&seed_ids::Delivery {
            session: SessionId::from(*session.as_bytes()),
            step: 0,
            message_hash: Digest::from(*self.message.as_bytes()),
            sender: *self.node.as_bytes(),
            receiver: *self.address.as_bytes(),
        })
    }

    /// Returns the leaf that goes into the tree of a commit.
    #[must_use]
    pub fn leaf(&self, network: NetworkId) -> Digest {
        let id = self.id(network);
        let parts: [&[u8]; 4] =
            [network.as_ref(), id.as_ref(), &self.expiry.to_bytes(), &self.stored_at.to_bytes()];
        digest(Domain::StorageReceipt, &parts)
    }
}

/// Signs the receipts of one commit together.
///
/// Returns the signed root and one proof for each receipt, in order.
#[must_use]
pub fn sign_receipts(
    network: NetworkId,
    signer: &dyn Signer,
    receipts: &[StorageReceipt],
    rng: &mut dyn Entropy,
) -> (SignedRoot, Vec<Proof>) {
    let leaves: Vec<Digest> = receipts.iter().map(|receipt| receipt.leaf(network)).collect();
    let tree = Tree::new(&leaves);
    let root = tree.root();
    let message = root_message(network, &root);
    let signature = signer.sign(Domain::StorageReceiptRoot, &message, rng);
    let proofs = (0..tree.count())
        .map(|index| tree.prove(index).expect("the index is below the number of leaves"))
        .collect();
    (SignedRoot { node: signer.public().node_id(), root, signature }, proofs)
}

impl SignedRoot {
    /// Checks the signature with the node's key.
    ///
    /// # Errors
    /// When it does not verify.
    pub fn verify(
        &self,
        network: NetworkId,
        key: &DsaPublicKey,
        verifier: &dyn Verifier,
    ) -> Result<(), BadReceipt> {
        let message = root_message(network, &self.root);
        verifier
            .verify(key, Domain::StorageReceiptRoot, &message, &self.signature)
            .map_err(|_| BadReceipt::Signature(self.node))
    }

    /// Checks that `receipt` is under this root; the signature is checked apart, once.
    ///
    /// # Errors
    /// When the path leads elsewhere or the receipt names another node.
    pub fn covers(
        &self,
        network: NetworkId,
        receipt: &StorageReceipt,
        proof: &Proof,
    ) -> Result<(), BadReceipt> {
        let under = proof.verify(receipt.leaf(network).as_ref(), &self.root).is_ok();
        if under && receipt.node == self.node { Ok(()) } else { Err(BadReceipt::Path(self.node)) }
    }
}

fn root_message(network: NetworkId, root: &Digest) -> Vec<u8> {
    [network.as_ref(), root.as_ref()].concat()
}
