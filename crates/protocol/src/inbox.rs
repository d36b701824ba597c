//! Inboxes: who may do what, under which address, in which namespace.

use core::fmt;

use session_core::{
    AccountId, Decode, DecodeError, Digest, Domain, Encode, InboxAddress, MessageId, Namespace,
    Reader, choice, digest, record,
};
use session_crypto::PublicIdentity;
use session_crypto::hash::{SymmetricKey, equal, kdf};
use zeroize::Zeroizing;

choice! {
    /// Who owns an inbox. The address is a digest of the rule, so a rule shown later proves itself.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    #[non_exhaustive]
    pub enum AccessRule {
        /// The ML-DSA-65 key behind this account id signs.
        1 => Account {
            /// The owner.
            account: AccountId,
        },
        /// Whoever shows a capability whose digest is here. Names nobody.
        2 => Mailbox {
            /// What reads, and subscribes.
            reader: Digest,
            /// What stores.
            writer: Digest,
            /// What deletes, and moves expiries.
            eraser: Digest,
        },
    }
}

/// Thirty-two secret bytes: whoever shows them may do what a rule allows. Cleared on drop, compared
/// in constant time, not printed.
#[derive(Clone)]
pub struct Capability(Zeroizing<[u8; 32]>);

impl Capability {
    /// Wraps the bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns what a rule knows of it.
    #[must_use]
    pub fn commitment(&self) -> Digest {
        digest(Domain::Capability, &[&self.0[..]])
    }

    /// Tells whether it is the capability behind a commitment, in time that says nothing of either.
    #[must_use]
    pub fn opens(&self, commitment: &Digest) -> bool {
        equal(self.commitment().as_bytes(), commitment.as_bytes())
    }
}

impl PartialEq for Capability {
    fn eq(&self, other: &Self) -> bool {
        equal(&self.0[..], &other.0[..])
    }
}

impl Eq for Capability {}

impl fmt::Debug for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Capability")
    }
}

impl Encode for Capability {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0[..]);
    }
}

impl Decode for Capability {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        reader.array().map(Self::new)
    }
}

record! {
    /// Everything about one mailbox: who holds this may read, store and delete.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Mailbox {
        /// What reads.
        pub read: Capability,
        /// What stores.
        pub write: Capability,
        /// What deletes.
        pub erase: Capability,
    }
}

impl Mailbox {
    /// Derives a mailbox from the seed of a route; `parts` say which (lane, day, epoch).
    #[must_use]
    pub fn derive(seed: &SymmetricKey, parts: &[&[u8]]) -> Self {
        let capability = |what: &[u8]| {
            let parts: Vec<&[u8]> = core::iter::once(what).chain(parts.iter().copied()).collect();
            Capability::new(*kdf(Domain::Mailbox, seed.expose(), &parts).expose())
        };
        Self { read: capability(b"read"), write: capability(b"write"), erase: capability(b"erase") }
    }

    /// Returns the rule, which names nobody and shows none of the capabilities.
    #[must_use]
    pub fn rule(&self) -> AccessRule {
        AccessRule::Mailbox {
            reader: self.read.commitment(),
            writer: self.write.commitment(),
            eraser: self.erase.commitment(),
        }
    }

    /// Returns where it is.
    #[must_use]
    pub fn address(&self) -> InboxAddress {
        self.rule().address()
    }
}

impl AccessRule {
    /// Returns the address that this rule guards.
    #[must_use]
    pub fn address(&self) -> InboxAddress {
        InboxAddress::from(*digest(Domain::InboxAddress, &[&self.to_bytes()]).as_bytes())
    }
}

impl From<AccountId> for AccessRule {
    fn from(account: AccountId) -> Self {
        Self::Account { account }
    }
}

/// Sealed messages: anyone deposits, the owner reads.
pub const MESSAGES: Namespace = Namespace(0);

/// The owner's public keys: proves itself, so anyone deposits and anyone reads.
pub const IDENTITY_CARD: Namespace = Namespace(1);

/// Chunks of attachments: anyone deposits, the owner reads.
pub const ATTACHMENTS: Namespace = Namespace(2);

/// The manifests of an account: signed by it, so anyone deposits and anyone reads.
pub const MANIFESTS: Namespace = Namespace(3);

/// Boxes of a mailbox: its writers deposit, its readers read.
pub const BOXES: Namespace = Namespace(4);

/// Commits of a group, in a mailbox: the first 32 bytes name a slot, and a member of the swarm
/// signs a receipt for the first item of a slot only. Two quorums intersect: no slot has two items
/// that a quorum signed.
pub const COMMITS: Namespace = Namespace(5);

/// Introductions of strangers, in a mailbox whose writers' capability a manifest tells everyone. Where
/// many come, each costs a [puzzle](crate::puzzle).
pub const INTRODUCTIONS: Namespace = Namespace(6);

/// What a namespace allows to those who do not own the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Anyone deposits, only the owner reads.
    Deposit,
    /// Anyone reads; only the identity card of the owner is accepted.
    Card,
    /// Anyone reads; only manifests that the owner signed are accepted.
    Manifest,
    /// A mailbox: who shows its capability for it.
    Box,
    /// The same, one item for each slot.
    Slot,
    /// The same, open to everyone who solves a puzzle if one is asked for.
    Strangers,
}

impl Policy {
    /// Tells whether anyone reads.
    #[must_use]
    pub const fn is_public(self) -> bool {
        matches!(self, Self::Card | Self::Manifest)
    }

    /// Tells whether only the writers of a mailbox deposit.
    #[must_use]
    pub const fn takes_capability(self) -> bool {
        matches!(self, Self::Box | Self::Slot | Self::Strangers)
    }
}

/// Returns the namespaces whose items are counted together: whoever may deposit in one of them may
/// in the others too. Room that one class takes is not missing to the others, so that nobody keeps
/// out those who have a capability or the key of the account.
#[must_use]
pub const fn room_of(policy: Policy) -> &'static [Namespace] {
    match policy {
        Policy::Deposit => &[MESSAGES, ATTACHMENTS],
        Policy::Card | Policy::Manifest => &[IDENTITY_CARD, MANIFESTS],
        Policy::Box | Policy::Slot => &[BOXES, COMMITS],
        Policy::Strangers => &[INTRODUCTIONS],
    }
}

/// Returns the rules of a namespace, or `None` for one that does not exist.
#[must_use]
pub const fn policy(namespace: Namespace) -> Option<Policy> {
    match namespace {
        MESSAGES | ATTACHMENTS => Some(Policy::Deposit),
        IDENTITY_CARD => Some(Policy::Card),
        MANIFESTS => Some(Policy::Manifest),
        BOXES => Some(Policy::Box),
        COMMITS => Some(Policy::Slot),
        INTRODUCTIONS => Some(Policy::Strangers),
        _ => None,
    }
}

/// Returns the slot of an item of [`COMMITS`], if it is long enough to have one.
#[must_use]
pub fn slot_of(data: &[u8]) -> Option<Digest> {
    data.first_chunk::<32>().map(|slot| Digest::from(*slot))
}

/// Returns the id of an item: the same bytes in the same place are the same item.
#[must_use]
pub fn message_id(address: &InboxAddress, namespace: Namespace, data: &[u8]) -> MessageId {
    let parts = [address.as_ref(), &namespace.to_bytes(), data];
    MessageId::from(*digest(Domain::MessageId, &parts).as_bytes())
}

/// Tells whether `data` is the identity card of the account that owns `address`.
#[must_use]
pub fn is_card_of(address: &InboxAddress, data: &[u8]) -> bool {
    PublicIdentity::decode_exact(data)
        .is_ok_and(|card| AccessRule::from(card.account_id()).address() == *address)
}
