//! What nodes say to each other, and the handshake that clients share with them.

use session_core::merkle::Proof;
use session_core::{
    Blob, Digest, InboxAddress, List, MessageId, Namespace, NodeId, Text, Time, choice, record,
};
use session_crypto::KemCiphertext;

use crate::limits::{REPLICA_ITEMS_MAX, SYNC_KEYS_MAX, SYNC_ROUND_BYTES_MAX};
use crate::membership::ADDRESS_BYTES_MAX;
use crate::owner::OwnerOperation;
use crate::receipt::SignedRoot;
use crate::request::ItemBytes;

choice! {
    /// Opens a connection: TLS has proven the ML-DSA-65 keys, this proves the ML-KEM-768 keys and
    /// binds everything to the channel through its exporter value.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Handshake {
        /// The dialer speaks first.
        1 => Hello {
            /// The network it is on.
            network: Digest,
            /// Its id; none for a client.
            node: Option<NodeId>,
            /// Optional abilities; none are defined yet.
            features: u64,
            /// Freshness.
            nonce: [u8; 32],
            /// Encapsulated to the acceptor's registered ML-KEM key.
            challenge: KemCiphertext,
            /// Where it listens; empty for a client.
            listen: Text<ADDRESS_BYTES_MAX>,
            /// The height of its view of the network.
            height: u64,
        },
        /// The acceptor proves its key and, to a node, sets its own challenge.
        2 => Welcome {
            /// The acceptor.
            node: NodeId,
            /// Optional abilities.
            features: u64,
            /// Freshness.
            nonce: [u8; 32],
            /// Encapsulated to the dialer's registered ML-KEM key; none for a client.
            challenge: Option<KemCiphertext>,
            /// MAC under the secret of the dialer's challenge.
            proof: [u8; 32],
            /// The height of its view of the network.
            height: u64,
            /// Its clock.
            time: Time,
        },
        /// The dialer proves its key; clients do not send it.
        3 => Finish {
            /// MAC under the secret of the acceptor's challenge.
            proof: [u8; 32],
        },
        /// The acceptor declines, and closes.
        4 => Declined {
            /// Why.
            reason: DeclineReason,
        },
    }

    /// Why a handshake is declined.
    #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
    #[non_exhaustive]
    pub enum DeclineReason {
        /// Another network.
        #[error("wrong network")]
        1 => WrongNetwork,
        /// Not a registered node, or a key that is not the registered one.
        #[error("node is not registered with this key")]
        2 => NotRegistered,
        /// A proof that does not fit this channel.
        #[error("proof of the encryption key does not fit")]
        3 => BadProof,
        /// No room.
        #[error("maximum peers reached")]
        4 => TooManyPeers,
        /// A frame that does not belong here.
        #[error("out of order")]
        5 => OutOfOrder,
        /// Connected twice.
        #[error("already connected")]
        6 => Duplicate,
    }
}

record! {
    /// A node is alive.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Heartbeat {
        /// Its clock.
        pub time: Time,
        /// Whether it takes new items.
        pub writable: bool,
        /// Items it keeps.
        pub items: u64,
    }

    /// Measures latency.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Ping {
        /// Repeated in the pong.
        pub nonce: u64,
    }

    /// Answers a ping.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Pong {
        /// The ping's.
        pub nonce: u64,
    }

    /// An item as it travels between the members of a swarm.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ReplicaItem {
        /// The inbox.
        pub address: InboxAddress,
        /// The compartment.
        pub namespace: Namespace,
        /// When the sender says it was sent.
        pub timestamp: Time,
        /// When it is forgotten.
        pub expiry: Time,
        /// The bytes.
        pub data: ItemBytes,
    }

    /// Items to keep, each answered with a receipt.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Replicate {
        /// Repeated in the receipts.
        pub id: u64,
        /// The items.
        pub items: List<ReplicaItem, REPLICA_ITEMS_MAX>,
    }

    /// The answer to a [`Replicate`] or [`Operations`].
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Receipts {
        /// The id it answers.
        pub id: u64,
        /// The signature over the receipts; none when every item was refused.
        pub root: Option<SignedRoot>,
        /// One for each item or operation, in order.
        pub outcomes: List<ReplicaOutcome, REPLICA_ITEMS_MAX>,
    }

    /// Owner operations to apply.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Operations {
        /// Repeated in the receipts.
        pub id: u64,
        /// The operations with their proofs: only deletions and expiries travel.
        pub operations: List<OwnerOperation, 64>,
    }
}

choice! {
    /// What a member did with one item or operation.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum ReplicaOutcome {
        /// An item is on its disk.
        1 => Stored {
            /// When it is forgotten.
            expiry: Time,
            /// When it was committed.
            stored_at: Time,
            /// The way to the signed root.
            proof: Proof,
        },
        /// An operation is on its disk.
        2 => Applied,
        /// The item is deleted here: the operation that did it will follow by reconciliation.
        3 => Deleted,
        /// Not kept.
        4 => Refused {
            /// Why: the code of a [`Refusal`](crate::request::Refusal).
            code: u8,
        },
        /// The item is on its disk, but its slot is another item's: no receipt.
        5 => SlotTaken {
            /// The item that has, or would have, the receipt.
            holder: MessageId,
        },
    }

    /// An element of the set that the members of a swarm reconcile.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Element {
        /// A live item.
        1 => Item {
            /// The item.
            item: ReplicaItem,
        },
        /// A deletion or expiry.
        2 => Operation {
            /// The operation with its proof.
            operation: Box<OwnerOperation>,
        },
    }

    /// One step of a reconciliation over one bucket of inboxes (first byte of the address).
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Sync {
        /// Starts, with a fingerprint of the initiator's bucket.
        1 => Open {
            /// Chosen by the initiator.
            session: u64,
            /// First byte of the addresses.
            bucket: u8,
            /// The initiator's half of the key that element ids are hashed under.
            nonce: [u8; 32],
            /// Digest of the initiator's sorted elements.
            fingerprint: Digest,
            /// How many there are.
            count: u64,
            /// Which inboxes of the bucket are compared, by their place on the ring.
            range: RingRange,
            /// The height of the view of the network in which the initiator came to keep them: of
            /// what the acceptor kept in earlier views the answer says whether it is whole.
            since: u64,
        },
        /// The acceptor has the same set.
        2 => Same {
            /// The session.
            session: u64,
            /// Whether the acceptor has all there is of the bucket and range.
            whole: bool,
        },
        /// The acceptor has another set.
        3 => Differs {
            /// The session.
            session: u64,
            /// The acceptor's half of the key.
            nonce: [u8; 32],
            /// Whether the acceptor has all there is of the bucket and range.
            whole: bool,
        },
        /// A message of the range-based reconciliation.
        4 => Round {
            /// The session.
            session: u64,
            /// The message.
            message: Blob<SYNC_ROUND_BYTES_MAX>,
        },
        /// Elements that the sender lacks, by keyed id.
        5 => Want {
            /// The session.
            session: u64,
            /// The keyed ids.
            keys: List<[u8; 32], SYNC_KEYS_MAX>,
        },
        /// Elements that the other side lacks.
        6 => Give {
            /// The session.
            session: u64,
            /// The elements.
            elements: List<Element, REPLICA_ITEMS_MAX>,
            /// Whether these were the last.
            last: bool,
        },
        /// The session ends early.
        7 => Stop {
            /// The session.
            session: u64,
        },
    }
}

record! {
    /// Places on the ring of 2^64 on which inboxes and swarms lie: from `first` upwards to `last`,
    /// both included, beyond the highest place on to 0.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct RingRange {
        /// The first place.
        pub first: u64,
        /// The last place.
        pub last: u64,
    }

    /// A pointer to an item in an inbox.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct ItemKey {
        /// The inbox.
        pub address: InboxAddress,
        /// The item.
        pub message: MessageId,
    }
}

impl RingRange {
    /// The whole ring.
    pub const ALL: Self = Self { first: 0, last: u64::MAX };

    /// Tells whether a place lies in the range.
    #[must_use]
    pub const fn contains(&self, place: u64) -> bool {
        place.wrapping_sub(self.first) <= self.last.wrapping_sub(self.first)
    }
}
