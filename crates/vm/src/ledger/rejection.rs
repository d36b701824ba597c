use session_core::{
    AccountId, ChainId, ChannelId, ConversationId, NodeId, SessionId, Span, Time, merkle,
};
use session_protocol::chain::Amount;
use session_protocol::chain::certificate::BadCertificate;
use session_protocol::chain::transaction::{CHANNEL_NAME_BYTES_MAX, TRANSACTION_VERSION};

use super::{CHANNEL_MEMBERS_MAX, CONVERSATION_TTL_MAX, CONVERSATION_TTL_MIN, PARTICIPANTS_MAX};
use crate::records::NotAllowed;

macro_rules! rejections {
    ($($(#[$meta:meta])* $code:literal => $name:ident $({ $($(#[$field_meta:meta])* $field:ident: $ty:ty,)* })?
            $(($(#[$source:ident])? $inner:ty))?,)*) => {
        /// Why a transaction cannot be executed. One variant per reason.
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[non_exhaustive]
        pub enum Rejection {
            $(
                $(#[$meta])*
                $name $({ $($(#[$field_meta])* $field: $ty,)* })? $(($(#[$source])? $inner))?,
            )*
        }

        impl Rejection {
            /// Every code, for the test that they are unique.
            pub const CODES: &'static [&'static str] = &[$($code,)*];

            /// Returns the stable name of the reason.
            #[must_use]
            pub const fn code(&self) -> &'static str {
                match self { $(Self::$name { .. } => $code,)* }
            }
        }
    };
}

rejections! {
    /// A version that nobody defined.
    #[error("transaction version {got} is not known, this is {TRANSACTION_VERSION}")]
    "version" => Version {
        /// Its version.
        got: u8,
    },
    /// It is for another chain.
    #[error("the transaction is for chain {got}, this is {chain}")]
    "chain" => Chain {
        /// Its chain.
        got: ChainId,
        /// This chain.
        chain: ChainId,
    },
    /// The sender's keys are neither in it nor in the state.
    #[error("the keys of account {sender} are not known: its first transaction must carry them")]
    "keys_missing" => KeysMissing {
        /// The sender.
        sender: AccountId,
    },
    /// The sender made more or fewer transactions before.
    #[error("nonce {got} is not the sender's next one, {expected}")]
    "nonce" => Nonce {
        /// Its nonce.
        got: u64,
        /// The sender's next one.
        expected: u64,
    },
    /// The block is later than the transaction allows.
    #[error("the transaction expired at {expires}, the block is of {time}")]
    "expired" => Expired {
        /// The last time it allows.
        expires: Time,
        /// The block's.
        time: Time,
    },
    /// It could wait for too long.
    #[error("the transaction expires at {expires}, the latest allowed is {latest}")]
    "distant" => Distant {
        /// When it expires.
        expires: Time,
        /// The latest that the block allows.
        latest: Time,
    },
    /// The sender pays too little.
    #[error("the fee is {needed} LUX, the sender pays at most {max}")]
    "fee" => Fee {
        /// What the sender pays at most.
        max: Amount,
        /// What it costs.
        needed: Amount,
    },
    /// The sender has too little.
    #[error("{needed} LUX are needed, the sender has {balance}")]
    "funds" => Funds {
        /// What the sender has, at this point of the transaction.
        balance: Amount,
        /// What is needed.
        needed: Amount,
    },
    /// A transfer of nothing would only make an account.
    #[error("nothing to transfer: the amount is 0")]
    "nothing" => NothingToTransfer,
    /// It orders what only an owner may.
    #[error("only account {owner} may do this")]
    "not_owner" => NotOwner {
        /// Who may.
        owner: AccountId,
    },
    /// The endpoint is no address.
    #[error("an endpoint is host:port in printable ASCII with a port from 1 to 65535")]
    "endpoint" => Endpoint,
    /// Too little stake.
    #[error("a stake of {got} LUX is too small, the least is {min}")]
    "stake" => Stake {
        /// What was to be staked.
        got: Amount,
        /// The least that is.
        min: Amount,
    },
    /// The node's id is in use, or was.
    #[error("node already registered")]
    "node_registered" => NodeRegistered {
        /// The id.
        node: NodeId,
    },
    /// Another node is reached there.
    #[error("endpoint already registered")]
    "endpoint_registered" => EndpointRegistered {
        /// The other node.
        node: NodeId,
    },
    /// Another node proves itself with this key, or did.
    #[error("signing key already registered")]
    "signing_key_registered" => SigningKeyRegistered {
        /// The node id that was made with it.
        node: NodeId,
    },
    /// Nobody registered the node.
    #[error("node not found")]
    "unknown_node" => UnknownNode {
        /// The id asked for.
        node: NodeId,
    },
    /// The node is out of service.
    #[error("node not active")]
    "node_not_active" => NodeNotActive {
        /// Its status.
        status: &'static str,
    },
    /// The node's stake is not on its way back.
    #[error("the stake of a node that is {status} cannot be withdrawn")]
    "not_decommissioned" => NotDecommissioned {
        /// Its status.
        status: &'static str,
    },
    /// The node's stake is still bound.
    #[error("the stake is bound until {until}, the block is of {time}")]
    "unbonding" => Unbonding {
        /// When it is free.
        until: Time,
        /// The block's time.
        time: Time,
    },
    /// A workload session may not run so long, or not at all.
    #[error("a session of {got} is not possible: more than 0 and at most {max} is")]
    "session_time" => SessionTime {
        /// What was asked for.
        got: Span,
        /// The longest there is.
        max: Span,
    },
    /// Too few nodes are active for a committee.
    #[error("not enough eligible nodes")]
    "not_enough_nodes" => NotEnoughNodes {
        /// Active nodes.
        got: usize,
        /// The smallest committee.
        min: usize,
    },
    /// Nobody created the workload session.
    #[error("session not found")]
    "unknown_session" => UnknownSession {
        /// The id asked for.
        session: SessionId,
    },
    /// The workload session is in another phase.
    #[error("{0}")]
    "session_phase" => SessionPhase(#[from] NotAllowed),
    /// The sender operates no node of the committee.
    #[error("the sender operates no node of the session's committee")]
    "not_in_committee" => NotInCommittee,
    /// The workload session's time is over.
    #[error("the session's time was over at {deadline}, the block is of {time}")]
    "session_over" => SessionOver {
        /// When it was over.
        deadline: Time,
        /// The block's time.
        time: Time,
    },
    /// Before the deadline, only the committee can give up.
    #[error("without a certificate, a session fails at its deadline {deadline}, the block is of {time}")]
    "session_not_over" => SessionNotOver {
        /// When its time is over.
        deadline: Time,
        /// The block's time.
        time: Time,
    },
    /// Without a certificate there is one reason only.
    #[error("without a certificate, the reason of a failure is \"deadline\"")]
    "reason" => Reason,
    /// The certificate proves nothing.
    #[error("{0}")]
    "certificate" => Certificate(#[from] BadCertificate),
    /// Nobody, or too many, would take part.
    #[error("{got} participants are not possible: 1 to {PARTICIPANTS_MAX} are")]
    "participants" => Participants {
        /// Participants.
        got: u16,
    },
    /// A conversation cannot last so long, or so short.
    #[error("a conversation of {got} is not possible: {CONVERSATION_TTL_MIN} to {CONVERSATION_TTL_MAX} is")]
    "ttl" => Ttl {
        /// What was asked for.
        got: Span,
    },
    /// Nobody opened the conversation.
    #[error("unknown conversation")]
    "unknown_conversation" => UnknownConversation {
        /// The id asked for.
        conversation: ConversationId,
    },
    /// The conversation is over.
    #[error("conversation expired")]
    "conversation_expired" => ConversationExpired {
        /// When it was over.
        expires: Time,
    },
    /// A participant closed the conversation.
    #[error("conversation closed")]
    "conversation_closed" => ConversationClosed {
        /// When.
        closed: Time,
    },
    /// The proof is of a tree with another number of participants.
    #[error("the proof is of {got} participants, the conversation has {participants}")]
    "participant_count" => ParticipantCount {
        /// Leaves of the proof's tree.
        got: u64,
        /// Participants of the conversation.
        participants: u16,
    },
    /// The proof does not show that the sender takes part.
    #[error("the sender is not shown to be a participant")]
    "not_participant" => NotParticipant(#[source] merkle::BadProof),
    /// A channel cannot be called that.
    #[error("a channel's name has 1 to {CHANNEL_NAME_BYTES_MAX} bytes without control characters")]
    "channel_name" => ChannelName,
    /// Another channel is called that.
    #[error("the name is that of channel {channel}")]
    "channel_exists" => ChannelExists {
        /// The other channel.
        channel: ChannelId,
    },
    /// Nobody made the channel.
    #[error("unknown channel")]
    "unknown_channel" => UnknownChannel {
        /// The id asked for.
        channel: ChannelId,
    },
    /// The channel is full.
    #[error("the channel has {CHANNEL_MEMBERS_MAX} members, the limit")]
    "channel_full" => ChannelFull,
    /// The sender is in the channel.
    #[error("the sender is a member already")]
    "member" => AlreadyMember,
    /// The sender is not in the channel.
    #[error("the sender is not a member")]
    "not_member" => NotMember,
}

impl Rejection {
    /// Returns whether the sender's transaction of this nonce was executed: it never will be.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        matches!(self, Self::Nonce { got, expected } if *got < *expected)
    }

    /// Returns whether earlier transactions of the sender are missing: it may be executed later.
    #[must_use]
    pub const fn is_early(&self) -> bool {
        matches!(self, Self::Nonce { got, expected } if *got > *expected)
    }
}
