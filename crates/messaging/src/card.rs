//! Identity cards: the keys of an account, stored in its own inbox for everyone to read.
//!
//! *Provided:* the keys are those of the account asked for, whoever stored them and whoever
//! answered: the account id is their hash. *Not provided:* that the account is who it says it is.

use session_core::{AccountId, Decode as _, DecodeError, Encode as _};
use session_crypto::PublicIdentity;
use session_protocol::request::ItemBytes;

/// Why bytes are not the card of an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadCard {
    /// Not two public keys.
    #[error("not an identity card: {0}")]
    Malformed(#[from] DecodeError),
    /// The keys of another account.
    #[error("the card is that of {got:?}, not of {expected:?}")]
    WrongAccount {
        /// The account whose keys these are.
        got: AccountId,
        /// The account asked for.
        expected: AccountId,
    },
}

/// Returns the item in which an account publishes its keys.
#[must_use]
pub fn card_item(public: &PublicIdentity) -> ItemBytes {
    ItemBytes::new(public.to_bytes()).expect("two public keys are far below the limit of an item")
}

/// Reads the card of `account`.
///
/// # Errors
/// When the bytes are not two keys, or the keys are not those of `account`.
pub fn read_card(account: &AccountId, bytes: &[u8]) -> Result<PublicIdentity, BadCard> {
    let card = PublicIdentity::decode_exact(bytes)?;
    if card.account_id() == *account {
        Ok(card)
    } else {
        Err(BadCard::WrongAccount { got: card.account_id(), expected: *account })
    }
}
