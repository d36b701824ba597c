//! Why a request is refused. The four texts of the seed are kept to the letter.

use session_storage::StoreError;

/// Why a participant's word does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Unauthorized {
    /// The account takes no part in the conversation.
    NotAParticipant,
    /// The account is no member of the channel.
    NotAMember,
    /// The signature does not verify.
    Signature,
    /// The signing key and the ML-KEM key do not hash to the account.
    WrongKey,
    /// A conversation of the compatibility profile, and the call is not of it, or the reverse.
    OtherProfile,
    /// The compatibility profile is switched off.
    CompatOff,
}

impl Unauthorized {
    /// Returns the reason in a stable short form, for the data of an error reply.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotAParticipant => "not_a_participant",
            Self::NotAMember => "not_a_member",
            Self::Signature => "signature",
            Self::WrongKey => "wrong_key",
            Self::OtherProfile => "other_profile",
            Self::CompatOff => "compat_off",
        }
    }
}

/// Why a request was not done. Nothing was changed, except that a key or an acceptance that was
/// proved may stay written when the store fails at what follows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No conversation has this id, or it is forgotten.
    #[error("unknown session")]
    UnknownConversation,
    /// The conversation's time is over.
    #[error("session expired")]
    Expired,
    /// A participant has closed the conversation.
    #[error("session closed")]
    Closed,
    /// Whoever asks may not.
    #[error("unauthorized")]
    Unauthorized(Unauthorized),
    /// The counter was used before.
    #[error("replayed: counter {got} is used, the next one is {expected}")]
    Replayed {
        /// The counter that is due.
        expected: u64,
        /// The counter given.
        got: u64,
    },
    /// The counter leaves some out.
    #[error("counter {got} is too early, the next one is {expected}")]
    CounterGap {
        /// The counter that is due.
        expected: u64,
        /// The counter given.
        got: u64,
    },
    /// More than a limit allows.
    #[error("{field} is {got}, the limit is {limit}")]
    Limit {
        /// What is limited.
        field: &'static str,
        /// How much it would be.
        got: u64,
        /// The most it may be.
        limit: u64,
    },
    /// A value that makes no sense.
    #[error("{field} is not valid: {why}")]
    Invalid {
        /// The parameter.
        field: &'static str,
        /// What is wrong.
        why: &'static str,
    },
    /// The participant's signing key is not known here and must be given.
    #[error("the signing key of this account is not known yet: give it")]
    KeyNeeded,
    /// No channel has this id.
    #[error("unknown channel")]
    UnknownChannel,
    /// The channel has changed since the request was signed.
    #[error("the channel is at revision {expected}, the request is for {got}")]
    Revision {
        /// The channel's revision.
        expected: u64,
        /// The revision that was signed.
        got: u64,
    },
    /// The store did not take or give something.
    #[error("the store failed: {0}")]
    Store(#[source] StoreError),
    /// A stored record is not what was written.
    #[error("a stored record of {what} is damaged")]
    Damaged {
        /// What the record is of.
        what: &'static str,
    },
}

impl Refusal {
    /// Returns a stable name of this kind of refusal.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::UnknownConversation => "unknown_session",
            Self::Expired => "session_expired",
            Self::Closed => "session_closed",
            Self::Unauthorized(_) => "unauthorized",
            Self::Replayed { .. } => "replayed",
            Self::CounterGap { .. } => "counter_gap",
            Self::Limit { .. } => "limit",
            Self::Invalid { .. } => "invalid",
            Self::KeyNeeded => "key_needed",
            Self::UnknownChannel => "unknown_channel",
            Self::Revision { .. } => "revision",
            Self::Store(_) => "store",
            Self::Damaged { .. } => "damaged",
        }
    }

    pub(crate) const fn unauthorized(why: Unauthorized) -> Self {
        Self::Unauthorized(why)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

pub(crate) fn within(field: &'static str, got: usize, limit: usize) -> Result<(), Refusal> {
    if got <= limit {
        Ok(())
    } else {
        Err(Refusal::Limit { field, got: got as u64, limit: limit as u64 })
    }
}
