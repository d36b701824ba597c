//! Keys of hops: one for each node and epoch, signed by the node, erased after use.

use session_core::{Domain, Encode as _, Entropy, Epoch, NodeId, Span, Time, record};
use session_crypto::{BadSignature, PublicIdentity, Signature, Signer, Verifier, XWingPublicKey};

use super::VERSION;
use crate::membership::NetworkId;

/// Longest time that a hop key may be used: a day's epoch, the one before for whoever is late, and
/// as much to publish it in advance. A key that lives long opens what was recorded long ago.
pub const KEY_LIFE_MAX: Span = Span::from_days(3);

record! {
    /// What a node says of a key of its own.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct HopKeyRecord {
        /// The version of this record: 1.
        pub version: u8,
        /// Where it counts.
        pub network: NetworkId,
        /// The node.
        pub node: NodeId,
        /// The epoch that packets name.
        pub epoch: Epoch,
        /// From when on packets may be made for it. Of two records for one epoch, the one with the
        /// later time counts: the node has lost the other key.
        pub from: Time,
        /// When the node erases it.
        pub until: Time,
        /// The key.
        pub key: XWingPublicKey,
    }

    /// A hop key as it is published.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SignedHopKey {
        /// What is said of it.
        pub record: HopKeyRecord,
        /// By the node, over the record, under [`Domain::HopKey`].
        pub signature: Signature,
    }
}

impl HopKeyRecord {
    /// Signs the record as the node that it names.
    #[must_use]
    pub fn sign(self, node: &dyn Signer, rng: &mut dyn Entropy) -> SignedHopKey {
        let signature = node.sign(Domain::HopKey, &self.to_bytes(), rng);
        SignedHopKey { record: self, signature }
    }
}

/// Why a published key is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadHopKey {
    /// A version that nobody defined.
    #[error("version {got} of hop keys is not known")]
    Version {
        /// The version it claims.
        got: u8,
    },
    /// It counts elsewhere.
    #[error("the hop key belongs to another network")]
    Network,
    /// It names another node than the one whose keys are at hand.
    #[error("the hop key names {got:?}, not {expected:?}")]
    Node {
        /// The node that it names.
        got: NodeId,
        /// The one expected.
        expected: NodeId,
    },
    /// It ends before it begins, or lives too long.
    #[error("the hop key is valid from {from} until {until}, at most {KEY_LIFE_MAX} is possible")]
    Life {
        /// When it begins.
        from: Time,
        /// When it ends.
        until: Time,
    },
    /// The node did not sign this.
    #[error("the signature of the hop key does not verify")]
    Signature(#[source] BadSignature),
}

impl SignedHopKey {
    /// Checks that the node with these registered keys published this one.
    ///
    /// # Errors
    /// When it is malformed, somebody else's, or not signed by the node.
    pub fn verify(
        self,
        network: &NetworkId,
        keys: &PublicIdentity,
        verifier: &dyn Verifier,
    ) -> Result<HopKey, BadHopKey> {
        let Self { record, signature } = self;
        let expected = keys.node_id();
        if record.version != VERSION {
            return Err(BadHopKey::Version { got: record.version });
        }
        if record.network != *network {
            return Err(BadHopKey::Network);
        }
        if record.node != expected {
            return Err(BadHopKey::Node { got: record.node, expected });
        }
        let (from, until) = (record.from, record.until);
        if until <= from || until.since(from) > KEY_LIFE_MAX {
            return Err(BadHopKey::Life { from, until });
        }
        verifier
            .verify(keys.dsa(), Domain::HopKey, &record.to_bytes(), &signature)
            .map_err(BadHopKey::Signature)?;
        Ok(HopKey(record))
    }
}

/// A hop key that its node signed; only [`SignedHopKey::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HopKey(HopKeyRecord);

impl HopKey {
    /// Returns the node.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.0.node
    }

    /// Returns the epoch that packets for it name.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.0.epoch
    }

    /// Returns when it was, or will be, first used.
    #[must_use]
    pub const fn valid_from(&self) -> Time {
        self.0.from
    }

    /// Tells whether packets may be made for it.
    #[must_use]
    pub fn valid_at(&self, now: Time) -> bool {
        self.0.from <= now && now < self.0.until
    }

    /// Returns the key itself.
    #[must_use]
    pub const fn public(&self) -> &XWingPublicKey {
        &self.0.key
    }
}
