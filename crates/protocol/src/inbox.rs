//! Inboxes: who may do what, under which address, in which namespace.

use session_core::{AccountId, Domain, Encode, InboxAddress, MessageId, Namespace, choice, digest};
use session_crypto::PublicIdentity;

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

/// What a namespace allows to those who do not own the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Anyone deposits, only the owner reads.
    Deposit,
    /// Anyone reads; only the identity card of the owner is accepted.
    Card,
}

/// Returns the rules of a namespace, or `None` for one that does not exist.
#[must_use]
pub const fn policy(namespace: Namespace) -> Option<Policy> {
    match namespace {
        MESSAGES | ATTACHMENTS => Some(Policy::Deposit),
        IDENTITY_CARD => Some(Policy::Card),
        _ => None,
    }
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
    use session_core::Decode;
    PublicIdentity::decode_exact(data)
        .is_ok_and(|card| AccessRule::from(card.account_id()).address() == *address)
}
