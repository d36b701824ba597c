//! Why key agreement came to nothing.

use crate::say::GroupId;

/// Why a call came to nothing. The vault is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MlsError {
    /// Bytes that are not what they should be.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// What should have been there.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// In order for the library, but not among us.
    #[error("{what} is refused: {why}")]
    Refused {
        /// What it is.
        what: &'static str,
        /// Which rule it breaks.
        why: String,
    },
    /// The message belongs to an epoch that has not begun here, or has been forgotten.
    #[error("the message belongs to epoch {got}, the current one is {current}")]
    Epoch {
        /// The message's.
        got: u64,
        /// Ours.
        current: u64,
    },
    /// The message is encrypted for a group other than the one given.
    #[error("the message belongs to another group")]
    WrongGroup,
    /// We wrote it.
    #[error("the message is our own")]
    Own,
    /// It was altered, was read before, is too old, or is not for us: which of these is nobody's
    /// business.
    #[error("the message does not open")]
    NotOpened,
    /// This device is not, or no longer, in the group.
    #[error("this device is not in the group")]
    NoGroup,
    /// This device is in the group already.
    #[error("this device is in the group already")]
    Exists(GroupId),
    /// None of our key packages opens the welcome.
    #[error("the welcome is for none of our key packages")]
    NoKeyPackage,
    /// A commit of ours is pending.
    #[error("a commit of this device is pending")]
    Pending,
    /// There is no commit to merge or accept.
    #[error("there is no commit to go on with")]
    NothingPending,
    /// The secret of the epoch was given out before.
    #[error("the secret of this epoch was exported before")]
    Exported,
    /// What the vault holds, or what the library did, is not as it should be.
    #[error("key agreement failed: {0}")]
    Internal(String),
}

impl MlsError {
    pub(super) fn malformed(what: &'static str, why: impl ToString) -> Self {
        Self::Malformed { what, why: why.to_string() }
    }

    pub(super) fn refused(what: &'static str, why: impl ToString) -> Self {
        Self::Refused { what, why: why.to_string() }
    }

    pub(super) fn internal(why: impl ToString) -> Self {
        Self::Internal(why.to_string())
    }
}
