//! Text forms of ids: `07` and 64 hex digits for ours, `05` for those of the classical network.

use core::fmt;
use core::str::FromStr;

use session_core::AccountId;
use session_core::id::ParseIdError;

use crate::legacy::{LegacyId, ParseLegacyError};

/// The two digits before a post-quantum id.
pub const POST_QUANTUM_PREFIX: &str = "07";
/// The two digits before a classical id.
pub const LEGACY_PREFIX: &str = "05";
/// Characters of an id in its hex form.
pub const TEXT_SIZE: usize = 66;

/// An account as people write it: prints `07` and hex, parses that or CB58.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountRef(pub AccountId);

/// Why a text is not the id of an account.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseAccountError {
    /// A valid classical id: nothing post-quantum can be sent to it.
    #[error(
        "{0} is a classical (05) id: it has no post-quantum keys; ask for the id that begins with 07"
    )]
    Legacy(LegacyId),
    /// A classical id that is not even valid.
    #[error("an account id begins with 07; this one begins with 05 and is no valid classical id")]
    BrokenLegacy(#[source] ParseLegacyError),
    /// 66 characters with a prefix that nobody defined.
    #[error("an account id begins with 07, this text does not")]
    Prefix,
    /// 66 characters that are not hex.
    #[error("the 64 characters after 07 are hex digits in an account id")]
    NotHex,
    /// Neither 66 characters nor CB58.
    #[error("an account id is 07 and 64 hex digits, or CB58 text")]
    Cb58(#[source] ParseIdError),
}

impl FromStr for AccountRef {
    type Err = ParseAccountError;

    fn from_str(text: &str) -> Result<Self, ParseAccountError> {
        if text.len() != TEXT_SIZE {
            return session_core::id::from_cb58(text)
                .map(|id| Self(AccountId::from(id)))
                .map_err(ParseAccountError::Cb58);
        }
        if text.starts_with(LEGACY_PREFIX) {
            return Err(match text.parse() {
                Ok(legacy) => ParseAccountError::Legacy(legacy),
                Err(error) => ParseAccountError::BrokenLegacy(error),
            });
        }
        let digits = text.strip_prefix(POST_QUANTUM_PREFIX).ok_or(ParseAccountError::Prefix)?;
        let mut id = [0; 32];
        hex::decode_to_slice(digits, &mut id).map_err(|_| ParseAccountError::NotHex)?;
        Ok(Self(AccountId::from(id)))
    }
}

impl fmt::Display for AccountRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{POST_QUANTUM_PREFIX}{}", self.0)
    }
}

impl fmt::Debug for AccountRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::bytes::debug("AccountRef", self.0.as_ref(), f)
    }
}

impl From<AccountId> for AccountRef {
    fn from(id: AccountId) -> Self {
        Self(id)
    }
}
