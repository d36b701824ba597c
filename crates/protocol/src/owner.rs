//! Operations that the owner of an inbox signs, or that whoever holds a capability of a mailbox
//! asks for.
//!
//! *Provided:* a signature covers network, rule, action, parameters, time and nonce, so it fits no
//! other network, inbox, method or moment; reads also name the node they are meant for. Deletions
//! and expiries travel between nodes with their proof, so no node can invent one for an inbox of
//! an account. A capability names nobody and fits one mailbox, and one of reading and erasing.
//!
//! *Not provided:* secrecy of who owns an inbox of an account from the nodes that keep it. A
//! capability covers no action: a node that was shown it can do with it what it allows.

use session_core::{
    AccountId, Domain, Encode, Entropy, List, MessageId, Namespace, NodeId, Time, choice, digest,
    record,
};
use session_crypto::{PublicIdentity, Signature, Signer, Verifier};

use crate::inbox::{AccessRule, Capability};
use crate::limits::{IDS_MAX, SUBSCRIBED_NAMESPACES_MAX};
use crate::membership::NetworkId;
use crate::request::Select;
use crate::verified::Verified;

choice! {
    /// Which way an expiry may move.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum ExpireMode {
        /// Earlier only, and for good: a promise to forget is not taken back.
        1 => Shorten,
        /// Later only, and never past an earlier shortening.
        2 => Extend,
    }

    /// What the owner wants.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum OwnerAction {
        /// Read items.
        1 => Retrieve {
            /// Where from.
            namespace: Namespace,
            /// Which items.
            select: Select,
            /// At most this many item bytes, though at least one item.
            bytes_max: u32,
            /// The node asked: a signed read is of no use elsewhere.
            audience: NodeId,
        },
        /// Forget items everywhere, for good.
        2 => Delete {
            /// Which items.
            ids: List<MessageId, IDS_MAX>,
        },
        /// Move the expiry of items.
        3 => Expire {
            /// Which items.
            ids: List<MessageId, IDS_MAX>,
            /// The new expiry.
            expiry: Time,
            /// Which way it may move.
            mode: ExpireMode,
        },
        /// Push new items over this connection.
        4 => Subscribe {
            /// Which namespaces.
            namespaces: List<Namespace, SUBSCRIBED_NAMESPACES_MAX>,
            /// The node asked.
            audience: NodeId,
        },
    }
}

choice! {
    /// The proof that an action is allowed.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum Authorization {
        /// The account that owns the inbox signed.
        1 => Signed {
            /// The owner's keys; may be left out when the node has seen them.
            keys: Option<PublicIdentity>,
            /// When it was signed.
            timestamp: Time,
            /// Tells apart operations signed in the same millisecond.
            nonce: u64,
            /// ML-DSA-65 over [`OwnerOperation::signed_bytes`].
            signature: Signature,
        },
        /// A capability of the mailbox.
        2 => Token {
            /// The one that the action takes: what reads, or what erases.
            token: Capability,
            /// When it was asked.
            timestamp: Time,
            /// Tells apart operations of the same millisecond.
            nonce: u64,
        },
    }
}

record! {
    /// An action, the inbox it is about, and the proof.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct OwnerOperation {
        /// Whose inbox.
        pub rule: AccessRule,
        /// What to do.
        pub action: OwnerAction,
        /// The proof.
        pub authorization: Authorization,
    }
}

/// Why an owner operation is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadAuthorization {
    /// Keys were left out and are not known here.
    #[error("the owner's keys are not known to this node: send them along")]
    UnknownKeys,
    /// The keys belong to another account.
    #[error("the keys do not belong to the account that owns the inbox")]
    WrongKeys,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    Signature,
    /// A signature for a mailbox, or a capability for the inbox of an account.
    #[error("an account signs for its inbox, and a mailbox takes a capability: not the other way")]
    WrongProof,
    /// Not the capability that the rule asks for.
    #[error("the capability is not the one that the rule of the mailbox asks for")]
    Capability,
}

impl Authorization {
    /// Returns when it was made.
    #[must_use]
    pub const fn timestamp(&self) -> Time {
        match self {
            Self::Signed { timestamp, .. } | Self::Token { timestamp, .. } => *timestamp,
        }
    }

    /// Returns what tells it apart from others of the same millisecond.
    #[must_use]
    pub const fn nonce(&self) -> u64 {
        match self {
            Self::Signed { nonce, .. } | Self::Token { nonce, .. } => *nonce,
        }
    }

    /// Returns the keys of the account, if they came along.
    #[must_use]
    pub const fn keys(&self) -> Option<&PublicIdentity> {
        match self {
            Self::Signed { keys, .. } => keys.as_ref(),
            Self::Token { .. } => None,
        }
    }

    /// Leaves the keys out: for a node that has seen them.
    pub fn leave_out_keys(&mut self) {
        if let Self::Signed { keys, .. } = self {
            *keys = None;
        }
    }

    /// Tells whether it is a signature, which is good for one use.
    #[must_use]
    pub const fn is_signed(&self) -> bool {
        matches!(self, Self::Signed { .. })
    }
}

impl OwnerOperation {
    /// Signs an action for `rule` at `now`.
    #[must_use]
    pub fn sign(
        network: NetworkId,
        signer: &dyn Signer,
        action: OwnerAction,
        now: Time,
        rng: &mut dyn Entropy,
    ) -> Self {
        let rule = AccessRule::from(signer.public().account_id());
        let nonce = rng.next_u64();
        let bytes = signed_bytes(network, &rule, &action, now, nonce);
        let signature = signer.sign(Domain::OwnerOperation, &bytes, rng);
        let keys = Some(signer.public().clone());
        let authorization = Authorization::Signed { keys, timestamp: now, nonce, signature };
        Self { rule, action, authorization }
    }

    /// Asks for an action on the mailbox of `rule` at `now` with the capability that it takes: what
    /// reads for a retrieve or a subscription, what erases for a deletion or an expiry.
    #[must_use]
    pub fn with_token(
        rule: AccessRule,
        token: Capability,
        action: OwnerAction,
        now: Time,
        rng: &mut dyn Entropy,
    ) -> Self {
        let authorization = Authorization::Token { token, timestamp: now, nonce: rng.next_u64() };
        Self { rule, action, authorization }
    }

    /// Returns the 32 bytes that a signature covers; also the operation's id. A capability is not
    /// part of them.
    #[must_use]
    pub fn signed_bytes(&self, network: NetworkId) -> [u8; 32] {
        let (timestamp, nonce) = (self.authorization.timestamp(), self.authorization.nonce());
        signed_bytes(network, &self.rule, &self.action, timestamp, nonce)
    }

    /// Checks the proof; `known` returns the keys of an account when they were left out.
    ///
    /// The keys are part of the result in either case, so that it can be handed on.
    ///
    /// # Errors
    /// When keys or signature are not those of the owner, or the capability not that of the rule.
    pub fn verify(
        mut self,
        network: NetworkId,
        verifier: &dyn Verifier,
        known: impl FnOnce(&AccountId) -> Option<PublicIdentity>,
    ) -> Result<Verified<Self>, BadAuthorization> {
        let bytes = self.signed_bytes(network);
        match (&self.rule, &mut self.authorization) {
            (AccessRule::Account { account }, Authorization::Signed { keys, signature, .. }) => {
                let owner = match keys.take() {
                    // Deriving the id hashes 3 KiB: cheap next to the signature.
                    Some(keys) if keys.account_id() == *account => keys,
                    Some(_) => return Err(BadAuthorization::WrongKeys),
                    None => known(account).ok_or(BadAuthorization::UnknownKeys)?,
                };
                verifier
                    .verify(owner.dsa(), Domain::OwnerOperation, &bytes, signature)
                    .map_err(|_| BadAuthorization::Signature)?;
                *keys = Some(owner);
            }
            (AccessRule::Mailbox { reader, eraser, .. }, Authorization::Token { token, .. }) => {
                let asked = match self.action {
                    OwnerAction::Retrieve { .. } | OwnerAction::Subscribe { .. } => reader,
                    OwnerAction::Delete { .. } | OwnerAction::Expire { .. } => eraser,
                };
                if !token.opens(asked) {
                    return Err(BadAuthorization::Capability);
                }
            }
            _ => return Err(BadAuthorization::WrongProof),
        }
        Ok(Verified::new(self))
    }
}

fn signed_bytes(
    network: NetworkId,
    rule: &AccessRule,
    action: &OwnerAction,
    timestamp: Time,
    nonce: u64,
) -> [u8; 32] {
    let parts: [&[u8]; 5] = [
        network.as_ref(),
        &rule.to_bytes(),
        &action.to_bytes(),
        &timestamp.to_bytes(),
        &nonce.to_bytes(),
    ];
    *digest(Domain::OwnerOperation, &parts).as_bytes()
}
