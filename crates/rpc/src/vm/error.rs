//! Every refusal of the chain's API, with a code and a name that stay.

use crate::json_rpc::ErrorObject;

macro_rules! refusals {
    ($($(#[$meta:meta])* $variant:ident = $code:literal, $name:literal, $message:literal;)*) => {
        /// Why a call was refused. The first four texts are the reference's.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ErrorCode { $($(#[$meta])* $variant,)* }

        impl ErrorCode {
            /// Every refusal, in the order of the codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Returns the number in `error.code`.
            #[must_use]
            pub const fn code(self) -> i32 {
                match self { $(Self::$variant => $code,)* }
            }

            /// Returns the name in `error.data.name`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Returns the text in `error.message`.
            #[must_use]
            pub const fn message(self) -> &'static str {
                match self { $(Self::$variant => $message,)* }
            }
        }
    };
}

refusals! {
    /// No conversation has this id, or it was forgotten after its retention.
    UnknownSession = -32011, "unknown_session", "unknown session";
    /// The conversation's time is over.
    SessionExpired = -32012, "session_expired", "session expired";
    /// A participant closed the conversation.
    SessionClosed = -32013, "session_closed", "session closed";
    /// The caller is no participant, owner or member, or the signature does not verify.
    Unauthorized = -32014, "unauthorized", "unauthorized";
    /// A key has the right size and is no key.
    BadKey = -32016, "bad_key", "bad key";
    /// The sender used this counter, or a higher one, before.
    ReplayedCounter = -32017, "replayed_counter", "replayed counter";
    /// The conversation holds as many messages as `maxMessages` allows.
    SessionFull = -32018, "session_full", "session full";
    /// The node holds as many conversations as it takes.
    TooManySessions = -32019, "too_many_sessions", "too many sessions";
    /// No channel has this id.
    UnknownChannel = -32020, "unknown_channel", "unknown channel";
    /// The node holds as many channels as `maxChannels` allows.
    TooManyChannels = -32021, "too_many_channels", "too many channels";
    /// Another channel has this name.
    ChannelExists = -32022, "channel_exists", "channel exists";
    /// The account is a member already.
    AlreadyMember = -32023, "already_member", "already a member";
    /// The channel has as many members as a channel may have.
    ChannelFull = -32025, "channel_full", "channel full";
    /// The counter leaves some out; `expected` is the next one.
    CounterGap = -32026, "counter_gap", "counter gap";
    /// The node has not seen this account's signing key: it must be given.
    KeyNeeded = -32027, "key_needed", "key needed";
    /// The channel has changed since it was signed; `expected` is its revision.
    Revision = -32028, "revision", "revision";
    /// Neither the chain nor the mempool has this transaction.
    UnknownTransaction = -32031, "unknown_transaction", "unknown transaction";
    /// No accepted block has this id or height.
    UnknownBlock = -32032, "unknown_block", "unknown block";
    /// No service node has this id.
    UnknownNode = -32033, "unknown_node", "unknown node";
    /// The chain anchors no workload session of this id.
    UnknownWorkload = -32035, "unknown_workload", "unknown workload";
    /// The chain anchors no conversation of this id.
    UnknownConversation = -32036, "unknown_conversation", "unknown conversation";
    /// The mempool has no room, or none for this sender.
    MempoolFull = -32037, "mempool_full", "mempool full";
    /// The transaction cannot be executed; `reason` says why.
    TransactionRefused = -32038, "transaction_refused", "transaction refused";
    /// The chain is starting or fetching its past.
    NotReady = -32041, "not_ready", "not ready";
    /// The client calls too often; `retry_after` says when to come back, in seconds.
    RateLimited = -32042, "rate_limited", "rate limited";
    /// What was sent is too large.
    TooLarge = -32043, "too_large", "too large";
    /// The disk is full.
    DiskFull = -32044, "disk_full", "disk full";
    /// Pushes need a WebSocket.
    NeedsWebSocket = -32045, "needs_websocket", "needs a WebSocket";
    /// The connection has as many subscriptions as it may have.
    TooManySubscriptions = -32046, "too_many_subscriptions", "too many subscriptions";
    /// The connection has no such subscription.
    UnknownSubscription = -32047, "unknown_subscription", "unknown subscription";
    /// No such epoch began, or it is longer ago than the chain remembers.
    UnknownEpoch = -32048, "unknown_epoch", "unknown epoch";
    /// Nobody was accused under this id.
    UnknownCase = -32049, "unknown_case", "unknown case";
    /// No swarm has this id.
    UnknownSwarm = -32050, "unknown_swarm", "unknown swarm";
}

impl ErrorCode {
    /// Makes the error of a response.
    #[must_use]
    pub fn error(self) -> ErrorObject {
        ErrorObject::new(self.code(), self.name(), self.message())
    }

    /// Makes the error of a response, with the reason in its data: the message stays as it is, so
    /// that programs may compare it.
    #[must_use]
    pub fn because(self, reason: impl core::fmt::Display) -> ErrorObject {
        self.error().with("reason", reason.to_string())
    }
}

impl From<ErrorCode> for ErrorObject {
    fn from(code: ErrorCode) -> Self {
        code.error()
    }
}

#[cfg(test)]
mod tests;
