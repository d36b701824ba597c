//! Operations that the owner of an inbox signs.
//!
//! *Provided:* a signature covers network, rule, action, parameters, time and nonce, so it fits no
//! other network, inbox, method or moment; reads also name the node they are meant for. Deletions
//! and expiries travel between nodes with their signature, so no node can invent one.
//!
//! *Not provided:* secrecy of who owns the inbox from the nodes that keep it.

use session_core::{
    Domain, Encode, Entropy, List, MessageId, Namespace, NodeId, Time, choice, digest, record,
};
use session_crypto::{PublicIdentity, Signature, Signer, Verifier};

use crate::inbox::AccessRule;
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

record! {
    /// The owner's proof.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Authorization {
        /// The owner's keys; may be left out when the node has seen them.
        pub keys: Option<PublicIdentity>,
        /// When it was signed.
        pub timestamp: Time,
        /// Tells apart operations signed in the same millisecond.
        pub nonce: u64,
        /// ML-DSA-65 over [`OwnerOperation::signed_bytes`].
        pub signature: Signature,
    }

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
        let authorization = Authorization { keys, timestamp: now, nonce, signature };
        Self { rule, action, authorization }
    }

    /// Returns the 32 bytes that the signature covers; also the operation's id.
    #[must_use]
    pub fn signed_bytes(&self, network: NetworkId) -> [u8; 32] {
        let Authorization { timestamp, nonce, .. } = self.authorization;
        signed_bytes(network, &self.rule, &self.action, timestamp, nonce)
    }

    /// Checks the proof; `known` returns the keys of an account when they were left out.
    ///
    /// The keys are part of the result in either case, so that it can be handed on.
    ///
    /// # Errors
    /// When keys or signature are not those of the owner.
    pub fn verify(
        mut self,
        network: NetworkId,
        verifier: &dyn Verifier,
        known: impl FnOnce(&session_core::AccountId) -> Option<PublicIdentity>,
    ) -> Result<Verified<Self>, BadAuthorization> {
        let AccessRule::Account { account } = self.rule else {
            return Err(BadAuthorization::WrongKeys);
        };
        let keys = match self.authorization.keys.take() {
            // Deriving the id hashes 3 KiB: cheap next to the signature.
            Some(keys) if keys.account_id() == account => keys,
            Some(_) => return Err(BadAuthorization::WrongKeys),
            None => known(&account).ok_or(BadAuthorization::UnknownKeys)?,
        };
        let bytes = self.signed_bytes(network);
        verifier
            .verify(keys.dsa(), Domain::OwnerOperation, &bytes, &self.authorization.signature)
            .map_err(|_| BadAuthorization::Signature)?;
        self.authorization.keys = Some(keys);
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
