//! What clients ask, and what nodes answer.
//!
//! A request is a batch of up to twenty operations; each has its own outcome, in order, so one bad
//! operation does not spoil the others.

use session_core::{
    Blob, Digest, InboxAddress, List, MessageId, Namespace, NodeId, Span, SwarmId, Text, Time,
    choice, record,
};

use crate::inbox::{AccessRule, Capability};
use crate::limits::{IDS_MAX, ITEM_BYTES_MAX, OPERATIONS_MAX, PAGE_ITEMS_MAX, SWARM_MEMBERS_MAX};
use crate::membership::Member;
use crate::onion::{HOP_KEYS_MAX, SignedHopKey};
use crate::owner::OwnerOperation;
use crate::puzzle::Solution;
use crate::receipt::{ReceiptPath, SignedRoot};

/// Bytes of an item as they are stored: ciphertext, never looked into.
pub type ItemBytes = Blob<ITEM_BYTES_MAX>;

/// Most signed roots in one reply: every member of a swarm, for a few commits each.
pub const ROOTS_MAX: usize = 4 * SWARM_MEMBERS_MAX;

record! {
    /// A place in the order in which one node received the items of an inbox.
    ///
    /// It means nothing on another node, nor on the same node after its disk was lost: then the
    /// incarnation differs and reading starts at the beginning.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Cursor {
        /// The store that counted.
        pub incarnation: u64,
        /// The last arrival that was seen.
        pub arrival: u64,
    }

    /// A stored item.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Item {
        /// Digest of place and bytes.
        pub id: MessageId,
        /// Where in the inbox.
        pub namespace: Namespace,
        /// When the sender says it was sent.
        pub timestamp: Time,
        /// When it is forgotten.
        pub expiry: Time,
        /// The node's arrival count, for cursors.
        pub arrival: u64,
        /// The bytes.
        pub data: ItemBytes,
    }

    /// A batch.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Request {
        /// Chosen by the client, repeated in the reply.
        pub id: u64,
        /// What to do, in order.
        pub operations: List<Operation, OPERATIONS_MAX>,
    }

    /// The answer to a batch.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Reply {
        /// The request's.
        pub id: u64,
        /// The node's clock when it answered.
        pub server_time: Time,
        /// Signatures that the receipts in the outcomes refer to.
        pub roots: List<SignedRoot, ROOTS_MAX>,
        /// One for each operation, in order.
        pub outcomes: List<Outcome, OPERATIONS_MAX>,
    }

    /// An item for a subscriber.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Push {
        /// The inbox it arrived in.
        pub address: InboxAddress,
        /// The store that counted its arrival.
        pub incarnation: u64,
        /// The item.
        pub item: Item,
    }
}

choice! {
    /// Which items to read.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Select {
        /// Those that arrived after a place.
        1 => After {
            /// The place.
            cursor: Cursor,
        },
        /// Those with these ids.
        2 => Ids {
            /// The ids.
            ids: List<MessageId, IDS_MAX>,
        },
    }

    /// One thing to do.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum Operation {
        /// Keep an item in somebody's inbox; needs no identity.
        1 => Store {
            /// Where.
            address: InboxAddress,
            /// Which compartment.
            namespace: Namespace,
            /// When the sender says it was sent; must be close to the node's clock.
            timestamp: Time,
            /// How long to keep it.
            ttl: Span,
            /// The item.
            data: ItemBytes,
        },
        /// What only the owner of an inbox may do, or who has a capability of a mailbox.
        2 => Owner {
            /// The operation with its proof.
            operation: Box<OwnerOperation>,
        },
        /// Read a namespace that is open to everyone.
        3 => RetrievePublic {
            /// Where.
            address: InboxAddress,
            /// Which compartment.
            namespace: Namespace,
            /// Which items.
            select: Select,
            /// At most this many item bytes, though at least one item.
            bytes_max: u32,
        },
        /// Which nodes keep an inbox.
        4 => GetSwarm {
            /// The inbox.
            address: InboxAddress,
        },
        /// How the node is.
        5 => Info,
        /// Stop pushing an inbox over this connection.
        6 => Unsubscribe {
            /// The inbox.
            address: InboxAddress,
        },
        /// Keep an item in a mailbox, with the capability of its writers.
        7 => Deposit {
            /// The rule of the mailbox; its digest is the address.
            rule: AccessRule,
            /// What stores.
            token: Capability,
            /// Which compartment: one that only writers deposit in.
            namespace: Namespace,
            /// When the sender says it was sent; must be close to the node's clock.
            timestamp: Time,
            /// How long to keep it.
            ttl: Span,
            /// The item.
            data: ItemBytes,
        },
        /// The hop keys of all nodes whose ids begin alike: whoever asks names no node.
        8 => HopKeys {
            /// How many bits they have in common; at most
            /// [`BUCKET_BITS_MAX`](crate::onion::BUCKET_BITS_MAX).
            bits: u8,
            /// These bits, as a number.
            bucket: u16,
            /// Where the next page starts: behind this node.
            after: Option<NodeId>,
            /// At most this many bytes of keys, though at least those of one node.
            bytes_max: u32,
        },
        /// Keep an introduction in a mailbox that asked for a [puzzle](crate::puzzle). Where none is
        /// asked for, a [`Deposit`](Self::Deposit) does.
        9 => Introduce {
            /// The rule of the mailbox; its digest is the address.
            rule: AccessRule,
            /// What stores.
            token: Capability,
            /// The puzzle of this item, solved.
            solution: Solution,
            /// When the sender says it was sent; must be close to the node's clock.
            timestamp: Time,
            /// How long to keep it.
            ttl: Span,
            /// The item.
            data: ItemBytes,
        },
    }

    /// What came of one operation.
    #[derive(Clone, Debug, PartialEq, Eq)]
    #[non_exhaustive]
    pub enum Outcome {
        /// The item is on the disks of a quorum of the swarm.
        1 => Stored {
            /// The item's id.
            message: MessageId,
            /// When it is forgotten.
            expiry: Time,
            /// Whether it was there before.
            duplicate: bool,
            /// One receipt for each member that has it.
            receipts: List<ReceiptPath, SWARM_MEMBERS_MAX>,
        },
        /// A page of items.
        2 => Items {
            /// In order of arrival.
            items: List<Item, PAGE_ITEMS_MAX>,
            /// Where the next page starts.
            cursor: Cursor,
            /// Whether there is a next page.
            more: bool,
        },
        /// A deletion is on the disks of a quorum of the swarm.
        3 => Deleted {
            /// The items that this node had.
            ids: List<MessageId, IDS_MAX>,
            /// Members that committed it.
            nodes: u16,
        },
        /// New expiries are on the disks of a quorum of the swarm.
        4 => Expiring {
            /// Each item this node has, and when it is forgotten now.
            expiries: List<Expiring, IDS_MAX>,
            /// Members that committed it.
            nodes: u16,
        },
        /// The nodes that keep an inbox.
        5 => Swarm {
            /// Which swarm.
            swarm: SwarmId,
            /// Its members.
            members: List<Member, SWARM_MEMBERS_MAX>,
        },
        /// How the node is.
        6 => Info {
            /// Facts about the node.
            info: Info,
        },
        /// New items will be pushed from here on.
        7 => Subscribed {
            /// Where reading must start so that nothing is missed.
            cursor: Cursor,
        },
        /// No more pushes.
        8 => Unsubscribed,
        /// Nothing was done.
        9 => Refused {
            /// Why.
            refusal: Refusal,
        },
        /// A page of hop keys, those of a node all on one page.
        10 => HopKeys {
            /// In the order of the nodes' ids, and of epochs.
            keys: List<SignedHopKey, HOP_KEYS_MAX>,
            /// Whether there is a next page.
            more: bool,
        },
    }
}

record! {
    /// The new expiry of one item.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Expiring {
        /// The item.
        pub id: MessageId,
        /// When it is forgotten.
        pub expiry: Time,
    }

    /// Facts about a node.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Info {
        /// Its id.
        pub node: NodeId,
        /// The network it serves.
        pub network: Digest,
        /// The swarm it serves.
        pub swarm: SwarmId,
        /// Its software version.
        pub version: Text<64>,
        /// Its clock.
        pub time: Time,
        /// Items it keeps.
        pub items: u64,
        /// Members of its swarm, itself included, that it is connected to.
        pub members_up: u16,
        /// Members of its swarm.
        pub members: u16,
    }
}

choice! {
    /// Why an operation was refused. Codes are stable; [`Refusal::code`] returns them.
    #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
    #[non_exhaustive]
    pub enum Refusal {
        /// A field is wrong.
        #[error("bad request: {field}: {why}")]
        1 => BadRequest {
            /// The field.
            field: Text<64>,
            /// What is wrong with it.
            why: Text<256>,
        },
        /// The signature, or the keys it came with, are not the owner's.
        #[error("bad signature: {why}")]
        2 => BadSignature {
            /// What is wrong.
            why: Text<256>,
        },
        /// The timestamp is too far from the node's clock: sign again with its time.
        #[error("clock: the request says {signed}, this node's clock says {server_time}, the tolerance is {tolerance}")]
        3 => Clock {
            /// The timestamp of the request.
            signed: Time,
            /// The node's clock.
            server_time: Time,
            /// How far they may be apart.
            tolerance: Span,
        },
        /// Another swarm keeps this inbox.
        #[error("wrong swarm: swarm {swarm} keeps this inbox")]
        4 => WrongSwarm {
            /// The right swarm.
            swarm: SwarmId,
            /// Its members.
            members: List<Member, SWARM_MEMBERS_MAX>,
        },
        /// Over a limit.
        #[error("too large: {field} is {got}, the limit is {limit}")]
        5 => TooLarge {
            /// The field.
            field: Text<64>,
            /// How much it was.
            got: u64,
            /// How much is allowed.
            limit: u64,
        },
        /// Too much at once.
        #[error("rate limited: try again in {retry_after}")]
        6 => RateLimited {
            /// When to come back.
            retry_after: Span,
        },
        /// The node cannot serve this yet, or any more.
        #[error("not ready: {why}")]
        7 => NotReady {
            /// Why.
            why: Text<256>,
        },
        /// The same signature was used before.
        #[error("this signature was used before: sign again")]
        8 => SignatureReused,
        /// The keys were left out and are not known.
        #[error("the owner's keys are not known to this node: send them along")]
        9 => UnknownKeys,
        /// No such namespace.
        #[error("namespace {namespace} does not exist")]
        10 => UnknownNamespace {
            /// The namespace.
            namespace: Namespace,
        },
        /// The time-to-live is out of range.
        #[error("ttl {got} is out of range: {min} to {max}")]
        11 => TtlOutOfRange {
            /// What was asked.
            got: Span,
            /// The shortest.
            min: Span,
            /// The longest.
            max: Span,
        },
        /// The disk is full; what is stored is still served.
        #[error("the node's disk is full: it serves what it has and stores nothing new")]
        12 => DiskFull,
        /// Too few members answered in time. What was stored stays; storing again is harmless.
        #[error("only {stored} of the {needed} members needed have committed")]
        13 => NotEnoughReplicas {
            /// Members that committed.
            stored: u16,
            /// Members needed.
            needed: u16,
        },
        /// A signed read that names another node.
        #[error("the signature is for node {audience}, not for this one")]
        14 => WrongNode {
            /// The node it is for.
            audience: NodeId,
        },
        /// Only the owner may do this, or who has a capability.
        #[error("namespace {namespace} is not open to everyone: sign as the owner, or show a capability")]
        15 => Unauthorized {
            /// The namespace.
            namespace: Namespace,
        },
        /// The owner deleted this item: it is not taken again.
        #[error("the owner deleted this item")]
        16 => Deleted,
        /// The inbox is at its bound.
        #[error("the inbox is full: {limit} {field}")]
        17 => InboxFull {
            /// Of what.
            field: Text<64>,
            /// The bound.
            limit: u64,
        },
        /// The node's own fault.
        #[error("internal error: {why}")]
        18 => Internal {
            /// What failed.
            why: Text<256>,
        },
        /// The slot of the commit is another item's: read the slot.
        #[error("the slot is taken by item {holder}")]
        19 => SlotTaken {
            /// The item that this node has, or would have, signed a receipt for.
            holder: MessageId,
        },
        /// Not the capability that the rule of the mailbox asks for.
        #[error("the capability is not the one that the rule of the mailbox asks for")]
        20 => BadCapability,
        /// Many strangers write to this mailbox: each item costs a solved puzzle now.
        #[error("many write to this mailbox: a puzzle of {bits} bits is to be solved first")]
        21 => PuzzleNeeded {
            /// Zero bits that are asked for now.
            bits: u8,
            /// How long a window is in which a solution counts.
            window: Span,
        },
    }
}

impl Refusal {
    /// Returns the stable code: the tag on the wire.
    #[must_use]
    pub fn code(&self) -> u8 {
        session_core::Encode::to_bytes(self)[0]
    }

    /// Returns a short stable name for scripts and metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BadRequest { .. } => "bad_request",
            Self::BadSignature { .. } => "bad_signature",
            Self::Clock { .. } => "clock",
            Self::WrongSwarm { .. } => "wrong_swarm",
            Self::TooLarge { .. } => "too_large",
            Self::RateLimited { .. } => "rate_limited",
            Self::NotReady { .. } => "not_ready",
            Self::SignatureReused => "signature_reused",
            Self::UnknownKeys => "unknown_keys",
            Self::UnknownNamespace { .. } => "unknown_namespace",
            Self::TtlOutOfRange { .. } => "ttl_out_of_range",
            Self::DiskFull => "disk_full",
            Self::NotEnoughReplicas { .. } => "not_enough_replicas",
            Self::WrongNode { .. } => "wrong_node",
            Self::Unauthorized { .. } => "unauthorized",
            Self::Deleted => "deleted",
            Self::InboxFull { .. } => "inbox_full",
            Self::Internal { .. } => "internal",
            Self::SlotTaken { .. } => "slot_taken",
            Self::BadCapability => "bad_capability",
            Self::PuzzleNeeded { .. } => "puzzle_needed",
        }
    }

    /// Refuses a field, cutting a text that is over its bound.
    #[must_use]
    pub fn bad_request(field: &str, why: &str) -> Self {
        Self::BadRequest { field: cut(field), why: cut(why) }
    }

    /// Reports a fault of the node itself.
    #[must_use]
    pub fn internal(why: &str) -> Self {
        Self::Internal { why: cut(why) }
    }

    /// Says that the node is not ready.
    #[must_use]
    pub fn not_ready(why: &str) -> Self {
        Self::NotReady { why: cut(why) }
    }

    /// Says that a field is over its limit.
    #[must_use]
    pub fn too_large(field: &str, got: u64, limit: u64) -> Self {
        Self::TooLarge { field: cut(field), got, limit }
    }
}

impl From<crate::owner::BadAuthorization> for Refusal {
    fn from(bad: crate::owner::BadAuthorization) -> Self {
        match bad {
            crate::owner::BadAuthorization::UnknownKeys => Self::UnknownKeys,
            crate::owner::BadAuthorization::Capability => Self::BadCapability,
            bad => Self::BadSignature { why: cut(&bad.to_string()) },
        }
    }
}

fn cut<const MAX: usize>(text: &str) -> Text<MAX> {
    let mut end = text.len().min(MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Text::new(&text[..end]).expect("cut to the bound")
}
