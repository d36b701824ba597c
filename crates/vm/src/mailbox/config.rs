//! The limits of a mailbox, checked once.

use session_core::{Digest, Span};

/// Participants of a conversation, and members of a channel, at most.
pub const PARTICIPANTS_MAX: usize = 1000;
/// Bytes of a message's ciphertext at most.
pub const CIPHERTEXT_BYTES_MAX: usize = 65_536;
/// Entries of a conversation's metadata at most.
pub const METADATA_ENTRIES_MAX: usize = 16;
/// Bytes of a metadata key, and of a channel's name, at most.
pub const NAME_BYTES_MAX: usize = 64;
/// Bytes of a metadata value at most.
pub const METADATA_VALUE_BYTES_MAX: usize = 256;
/// Bytes of a key or signature under the compatibility profile at most.
pub const COMPAT_BYTES_MAX: usize = 4096;
/// The only prefix of ids there is: post-quantum ones.
pub const ID_PREFIX: &str = "07";

/// Beyond ten years a span is a typing error.
const DAYS_MAX: u64 = 3650;
const SECONDS_MAX: u64 = DAYS_MAX * 86_400;
/// Sixteen million conversations are about 4 GB of memory: more is a machine we do not know.
const CONVERSATIONS_LIMIT: u64 = 16_000_000;

/// What the operator chooses. [`Config::check`] makes it usable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `sessionTTL`: how long a conversation lives.
    pub session_ttl: Span,
    /// `maxMessages`: messages that one conversation holds at a time.
    pub messages_max: u64,
    /// `maxChannels`: channels of this node.
    pub channels_max: u64,
    /// `retentionDays`: how long a message is kept.
    pub retention: Span,
    /// `idPrefix`: always `07`.
    pub id_prefix: String,
    /// Conversations of this node, those included that are over but not yet forgotten.
    pub conversations_max: u64,
    /// Pairs of an account and its key that conversations and channels refer to.
    pub people_max: u64,
    /// Whether calls of the Go reference are taken, which prove nothing.
    pub compat: bool,
    /// What signatures are bound to, so that they mean nothing in another network.
    pub scope: Digest,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            session_ttl: Span::from_secs(86_400),
            messages_max: 10_000,
            channels_max: 1000,
            retention: Span::from_days(30),
            id_prefix: ID_PREFIX.to_owned(),
            conversations_max: 2_000_000,
            people_max: 2_000_000,
            compat: false,
            scope: Digest::default(),
        }
    }
}

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A number outside its range.
    #[error("{key} is {got} {unit}, it lies between {min} and {max}")]
    OutOfRange {
        /// The key in the configuration file.
        key: &'static str,
        /// The unit of the numbers.
        unit: &'static str,
        /// The value given.
        got: u64,
        /// The least value.
        min: u64,
        /// The greatest value.
        max: u64,
    },
    /// Another prefix than that of post-quantum ids.
    #[error("idPrefix is {got:?}, only \"07\" names post-quantum ids")]
    Prefix {
        /// The prefix given.
        got: String,
    },
}

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    /// The first value that is out of its range, by the name of its key.
    pub fn check(&self) -> Result<(), ConfigError> {
        let within = |key, unit, got, min, max| {
            if (min..=max).contains(&got) {
                Ok(())
            } else {
                Err(ConfigError::OutOfRange { key, unit, got, min, max })
            }
        };
        within("sessionTTL", "ms", self.session_ttl.as_millis(), 1000, SECONDS_MAX * 1000)?;
        within("maxMessages", "messages", self.messages_max, 1, 10_000_000)?;
        within("maxChannels", "channels", self.channels_max, 0, 1_000_000)?;
        // Shorter than a minute a message could be gone before it is counted durably.
        within("retentionDays", "ms", self.retention.as_millis(), 60_000, SECONDS_MAX * 1000)?;
        if self.id_prefix != ID_PREFIX {
            return Err(ConfigError::Prefix { got: self.id_prefix.clone() });
        }
        within(
            "maxConversations",
            "conversations",
            self.conversations_max,
            1,
            CONVERSATIONS_LIMIT,
        )?;
        within("maxPeople", "people", self.people_max, 1, CONVERSATIONS_LIMIT)
    }
}
