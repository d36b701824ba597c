//! Storage commitments: what a node says it keeps, and how it shows it.
//!
//! In each epoch a node commits to the items of its swarm in the settled window: those old enough
//! that every member has them, and not about to expire. Whether an item is in the window follows
//! from the item alone. The leaves are `inbox ‖ item`, sorted, in a tree of
//! [`merkle`](session_core::merkle); an item's id is the hash of its inbox, namespace and bytes, so
//! whoever opens a leaf shows the bytes.
//!
//! *Provided:* a node that shows a leaf had the item when it was asked, or the owner's signed
//! deletion. *Not provided:* that it keeps a copy of its own: it may fetch it from a mate in time.

use session_core::merkle::{Proof, Tree};
use session_core::{
    ChainId, Digest, Domain, Encode, Entropy, Epoch, InboxAddress, List, MessageId, Namespace,
    NodeId, Span, SwarmId, Time, choice, digest, record,
};
use session_crypto::{DsaPublicKey, Signature, Signer, Verifier};

use crate::inbox::message_id;
use crate::membership::NetworkId;
use crate::owner::OwnerOperation;
use crate::request::ItemBytes;
use crate::roster::AUDIT_LEAVES;
use crate::schedule::Schedule;

record! {
    /// What a node says it keeps.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Commitment {
        /// In which epoch.
        pub epoch: Epoch,
        /// Of which swarm.
        pub swarm: SwarmId,
        /// Items in the window.
        pub count: u64,
        /// Bytes of them.
        pub bytes: u64,
        /// Root over them.
        pub root: Digest,
    }

    /// One item of a commitment.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Leaf {
        /// The inbox.
        pub address: InboxAddress,
        /// The item.
        pub message: MessageId,
    }

    /// A leaf, its place, and what is behind it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Opening {
        /// The leaf.
        pub leaf: Leaf,
        /// Its way to the root.
        pub path: Proof,
        /// What is behind it.
        pub shown: Shown,
    }

    /// What a node answers to an audit, signed, so that a wrong answer is evidence.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Answer {
        /// The epoch of the commitment.
        pub epoch: Epoch,
        /// The leaves, or those of them that fit.
        pub openings: List<Opening, AUDIT_LEAVES>,
        /// Over the commitment and the root of the openings' digests: see [`SignedOpening`].
        pub signature: Signature,
    }

    /// One opening of an answer, provable to others: without the bytes of the item, which are
    /// nobody else's business, and too long for a transaction.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SignedOpening {
        /// Who answered.
        pub node: NodeId,
        /// The leaf.
        pub leaf: Leaf,
        /// Its way to the committed root.
        pub path: Proof,
        /// What was shown behind it.
        pub witness: Witness,
        /// From the opening's digest to the root that is signed.
        pub signed_path: Proof,
        /// Over the commitment and that root.
        pub signature: Signature,
    }

    /// Shows that a commitment has no leaf for an item: its neighbours stand side by side.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Absence {
        /// The leaf before, and its way; none at the beginning.
        pub before: Option<Place>,
        /// The leaf after, and its way; none at the end.
        pub after: Option<Place>,
    }

    /// A leaf and its way to the root.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Place {
        /// The leaf.
        pub leaf: Leaf,
        /// Its way to the root.
        pub path: Proof,
    }
}

choice! {
    /// What is behind a leaf.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Shown {
        /// The item.
        1 => Item {
            /// The compartment.
            namespace: Namespace,
            /// The bytes.
            data: ItemBytes,
        },
        /// The owner removed it since.
        2 => Removed {
            /// The owner's order.
            operation: Box<OwnerOperation>,
        },
    }
}

choice! {
    /// What stands for [`Shown`] where the bytes of the item do not go.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Witness {
        /// The item.
        1 => Item {
            /// The id of the bytes that were shown.
            message: MessageId,
        },
        /// The owner removed it since.
        2 => Removed {
            /// The owner's order.
            operation: Box<OwnerOperation>,
        },
    }
}

/// Which items belong to the commitment of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Their senders' times are not later.
    pub sent_until: Time,
    /// They expire later.
    pub expire_after: Time,
}

impl Window {
    /// Returns the window of an epoch: items must outlive the next one, in which they are audited.
    #[must_use]
    pub fn of(schedule: &Schedule, settle: Span) -> Self {
        Self {
            sent_until: schedule.start - settle,
            expire_after: schedule.end() + schedule.length + settle,
        }
    }

    /// Returns whether an item belongs to it.
    #[must_use]
    pub fn holds(&self, timestamp: Time, expiry: Time) -> bool {
        timestamp <= self.sent_until && expiry > self.expire_after
    }
}

/// Returns the tree over leaves, which must be sorted and different.
#[must_use]
pub fn tree(leaves: &[Leaf]) -> Tree {
    Tree::new(leaves.iter().map(Leaf::to_bytes))
}

/// Why an opening, an absence or its signature proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadOpening {
    /// The way does not lead from the leaf to the root.
    #[error("the path of the opening does not lead to the committed root: {0}")]
    Path(#[from] session_core::merkle::BadProof),
    /// The tree has another number of leaves than the node committed to.
    #[error("the tree has {got} leaves, the commitment names {committed}")]
    Count {
        /// Leaves of the tree.
        got: u64,
        /// Leaves committed to.
        committed: u64,
    },
    /// The bytes are not those of the item.
    #[error("the bytes shown are not those of item {0}")]
    Bytes(MessageId),
    /// The order is not one that removes the item.
    #[error("the owner's order does not remove item {0}: {1}")]
    Order(MessageId, String),
    /// The node did not sign it.
    #[error("node {0} did not sign the opening")]
    Signature(NodeId),
    /// The neighbours are not neighbours, or not on both sides.
    #[error("the neighbours do not show that the item is absent")]
    NotAbsent,
}

impl Opening {
    /// Returns what stands for it where the bytes of the item do not go.
    #[must_use]
    pub fn witness(&self) -> Witness {
        match &self.shown {
            Shown::Item { namespace, data } => {
                Witness::Item { message: message_id(&self.leaf.address, *namespace, data) }
            }
            Shown::Removed { operation } => Witness::Removed { operation: operation.clone() },
        }
    }

    /// Returns what stands for it in an answer's tree.
    #[must_use]
    pub fn digest(&self) -> Digest {
        opening_digest(&self.leaf, &self.path, &self.witness())
    }

    /// Checks that it is a leaf of a commitment with this window, and what is behind it.
    ///
    /// # Errors
    /// When one of both is not so.
    pub fn verify(
        &self,
        commitment: &Commitment,
        window: &Window,
        network: NetworkId,
        verifier: &dyn Verifier,
    ) -> Result<(), BadOpening> {
        committed(&self.leaf, &self.path, commitment)?;
        self.witness().verify(&self.leaf, window, network, verifier)
    }
}

impl Witness {
    fn verify(
        &self,
        leaf: &Leaf,
        window: &Window,
        network: NetworkId,
        verifier: &dyn Verifier,
    ) -> Result<(), BadOpening> {
        match self {
            Self::Item { message } if *message == leaf.message => Ok(()),
            Self::Item { .. } => Err(BadOpening::Bytes(leaf.message)),
            Self::Removed { operation } => {
                removes(operation, leaf, window.expire_after, network, verifier)
            }
        }
    }
}

fn opening_digest(leaf: &Leaf, path: &Proof, witness: &Witness) -> Digest {
    let parts: [&[u8]; 3] = [&leaf.to_bytes(), &path.to_bytes(), &witness.to_bytes()];
    digest(Domain::Opening, &parts)
}

fn committed(leaf: &Leaf, path: &Proof, commitment: &Commitment) -> Result<(), BadOpening> {
    path.verify(&leaf.to_bytes(), &commitment.root)?;
    // The root fixes the count of its tree. A node that names a smaller one is audited less.
    if path.count != commitment.count {
        let (got, committed) = (path.count, commitment.count);
        return Err(BadOpening::Count { got, committed });
    }
    Ok(())
}

/// Checks that an owner's order removes an item, at the latest by `until`: an order that shortens
/// its life to a later time does not.
///
/// # Security
/// Of a mailbox, the order carries the capability that erases. Whoever is shown the order can use it,
/// and a node that was shown it for one item can make an order for another.
///
/// # Errors
/// When it does not, or the owner did not sign it or showed another capability.
pub fn removes(
    operation: &OwnerOperation,
    leaf: &Leaf,
    until: Time,
    network: NetworkId,
    verifier: &dyn Verifier,
) -> Result<(), BadOpening> {
    use crate::owner::{ExpireMode, OwnerAction};
    let bad = |why: &str| BadOpening::Order(leaf.message, why.to_owned());
    if operation.rule.address() != leaf.address {
        return Err(bad("it is about another inbox"));
    }
    let ids = match &operation.action {
        OwnerAction::Delete { ids } => ids,
        OwnerAction::Expire { expiry, mode: ExpireMode::Shorten, .. } if *expiry > until => {
            return Err(bad("it lets the item live on"));
        }
        OwnerAction::Expire { ids, mode: ExpireMode::Shorten, .. } => ids,
        _ => return Err(bad("it removes nothing")),
    };
    if !ids.contains(&leaf.message) {
        return Err(bad("it is about other items"));
    }
    operation
        .clone()
        .verify(network, verifier, |_| None)
        .map(drop)
        .map_err(|error| BadOpening::Order(leaf.message, error.to_string()))
}

impl Absence {
    /// Checks that the tree with this root has no leaf for an item.
    ///
    /// # Errors
    /// When it does not show that.
    pub fn verify(&self, wanted: &Leaf, root: &Digest) -> Result<(), BadOpening> {
        let check = |place: &Place| place.path.verify(&place.leaf.to_bytes(), root);
        let shown = match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                check(before)?;
                check(after)?;
                before.leaf < *wanted
                    && *wanted < after.leaf
                    && before.path.index.checked_add(1) == Some(after.path.index)
            }
            (Some(before), None) => {
                check(before)?;
                before.leaf < *wanted && before.path.index.checked_add(1) == Some(before.path.count)
            }
            (None, Some(after)) => {
                check(after)?;
                *wanted < after.leaf && after.path.index == 0
            }
            (None, None) => *root == Tree::new(Vec::<Vec<u8>>::new()).root(),
        };
        if shown { Ok(()) } else { Err(BadOpening::NotAbsent) }
    }
}

/// Makes a signed answer about a commitment.
///
/// # Security
/// What a node signs here is evidence against it if it does not fit the commitment: check the
/// openings with [`Opening::verify`] before, a disk may have failed.
pub fn answer(
    chain: &ChainId,
    commitment: &Commitment,
    openings: List<Opening, AUDIT_LEAVES>,
    signer: &dyn Signer,
    rng: &mut dyn Entropy,
) -> Answer {
    let root = answer_tree(&openings).root();
    let node = signer.public().node_id();
    let bytes = answer_bytes(chain, &node, commitment, &root);
    let signature = signer.sign(Domain::Opening, &bytes, rng);
    Answer { epoch: commitment.epoch, openings, signature }
}

impl Answer {
    /// Checks that a node signed it about this commitment.
    ///
    /// # Errors
    /// When it did not.
    pub fn verify(
        &self,
        chain: &ChainId,
        commitment: &Commitment,
        (node, key): (NodeId, &DsaPublicKey),
        verifier: &dyn Verifier,
    ) -> Result<(), BadOpening> {
        let bytes = answer_bytes(chain, &node, commitment, &answer_tree(&self.openings).root());
        verifier
            .verify(key, Domain::Opening, &bytes, &self.signature)
            .map_err(|_| BadOpening::Signature(node))
    }

    /// Returns one opening as others can check it; nothing beyond the last.
    #[must_use]
    pub fn signed(&self, node: NodeId, index: usize) -> Option<SignedOpening> {
        let opening = self.openings.get(index)?;
        Some(SignedOpening {
            node,
            leaf: opening.leaf,
            path: opening.path.clone(),
            witness: opening.witness(),
            signed_path: answer_tree(&self.openings).prove(index as u64)?,
            signature: self.signature.clone(),
        })
    }
}

impl SignedOpening {
    /// Checks that the node signed it about this commitment, whatever it shows.
    ///
    /// # Errors
    /// When it did not.
    pub fn verify_signature(
        &self,
        chain: &ChainId,
        commitment: &Commitment,
        key: &DsaPublicKey,
        verifier: &dyn Verifier,
    ) -> Result<(), BadOpening> {
        let digest = opening_digest(&self.leaf, &self.path, &self.witness);
        let root = self.signed_path.root_of(digest.as_bytes())?;
        let bytes = answer_bytes(chain, &self.node, commitment, &root);
        verifier
            .verify(key, Domain::Opening, &bytes, &self.signature)
            .map_err(|_| BadOpening::Signature(self.node))
    }

    /// Checks what it shows, as [`Opening::verify`].
    ///
    /// # Errors
    /// When it does not fit the commitment.
    pub fn verify(
        &self,
        commitment: &Commitment,
        window: &Window,
        network: NetworkId,
        verifier: &dyn Verifier,
    ) -> Result<(), BadOpening> {
        committed(&self.leaf, &self.path, commitment)?;
        self.witness.verify(&self.leaf, window, network, verifier)
    }
}

fn answer_tree(openings: &[Opening]) -> Tree {
    Tree::new(openings.iter().map(|opening| *opening.digest().as_bytes()))
}

// A node may commit twice in an epoch: an opening of one commitment is none of the other.
fn answer_bytes(chain: &ChainId, node: &NodeId, commitment: &Commitment, root: &Digest) -> Vec<u8> {
    let commitment = commitment.to_bytes();
    [chain.as_bytes().as_slice(), node.as_bytes(), &commitment, root.as_bytes()].concat()
}
