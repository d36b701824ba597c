use session_core::{
    AccountId, ChainId, ChannelId, ConversationId, Digest, Epoch, NodeId, SessionId, Span, SwarmId,
    Time, merkle,
};
use session_protocol::attestation::BadCertificate;
use session_protocol::beacon::BadBeacon;
use session_protocol::chain::Amount;
use session_protocol::chain::transaction::{CHANNEL_NAME_BYTES_MAX, TRANSACTION_VERSION};
use session_protocol::commitment::BadOpening;
use session_protocol::evidence::BadEvidence;
use session_protocol::schedule::Phase;

use super::cases::OPEN_CASES_MAX;
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
    /// The node gets other keys already when the epoch ends.
    #[error("the node takes the keys of {next} when the epoch ends: it can rotate again then")]
    "rotation_waits" => RotationWaits {
        /// The id that it takes.
        next: NodeId,
    },
    /// A duty of somebody who is no node.
    #[error("account {sender} is not the account of a node's keys: duties are for nodes")]
    "not_a_node" => NotANode {
        /// The sender.
        sender: AccountId,
    },
    /// A duty of another epoch.
    #[error("this is for epoch {got}, what is due is for epoch {due}")]
    "wrong_epoch" => WrongEpoch {
        /// The epoch that it is for.
        got: Epoch,
        /// The epoch for which it is due now.
        due: Epoch,
    },
    /// A duty that is not due in this part of the epoch.
    #[error("this is not due in the part \"{phase:?}\" of an epoch")]
    "wrong_phase" => WrongPhase {
        /// The part that the block is in.
        phase: Phase,
    },
    /// A duty that was done.
    #[error("the node did this already")]
    "duty_done" => DutyDone,
    /// A duty towards another swarm.
    #[error("this is for swarm {got}, the node serves swarm {swarm}")]
    "wrong_swarm" => WrongSwarm {
        /// The swarm that it is for.
        got: SwarmId,
        /// The node's.
        swarm: SwarmId,
    },
    /// A bitmap of another size, or with bits behind its end.
    #[error("the bitmap does not fit: {bits} bits are due, in as few bytes as they need")]
    "bitmap" => Bitmap {
        /// Bits that there should be.
        bits: usize,
    },
    /// A target both passed and failed.
    #[error("the vote says of target {target} that it passed and that it failed")]
    "vote_both" => VoteBoth {
        /// The target's place.
        target: usize,
    },
    /// The node was, or would be, away for too long.
    #[error("the node would be away in {got} of {within} epochs, at most {max} are allowed")]
    "drain_budget" => DrainBudget {
        /// Epochs in which it would be away.
        got: usize,
        /// Of how many epochs.
        within: u64,
        /// How many are allowed.
        max: usize,
    },
    /// A node that is not away cannot come back.
    #[error("node cannot be activated from current status")]
    "not_suspended" => NotSuspended {
        /// Its status.
        status: &'static str,
    },
    /// A part of the beacon that does not belong to it.
    #[error("{0}")]
    "beacon" => Beacon(#[from] BadBeacon),
    /// A part of the beacon of another epoch.
    #[error("beacon {what} for the wrong epoch: it is for epoch {got}, the beacon of {due} is made")]
    "beacon_epoch" => BeaconEpoch {
        /// What was posted.
        what: &'static str,
        /// The epoch that it is for.
        got: Epoch,
        /// The epoch whose beacon is made.
        due: Epoch,
    },
    /// A dealer without one-time secrets for this epoch.
    #[error("the node has no one-time secrets for the beacon of epoch {epoch}")]
    "no_beacon_key" => NoBeaconKey {
        /// The epoch.
        epoch: Epoch,
    },
    /// One-time secrets that nobody could use.
    #[error("one-time secrets for {count} epochs from {first} on are not possible: {why}")]
    "beacon_key" => BeaconKey {
        /// The first epoch that they are for.
        first: Epoch,
        /// For how many.
        count: u32,
        /// What is wrong.
        why: &'static str,
    },
    /// A dealing that is not there, or not what is needed of it.
    #[error("the dealing of dealer {place} {why}")]
    "dealing" => Dealing {
        /// The dealer's place.
        place: u16,
        /// What is wrong.
        why: &'static str,
    },
    /// Shares that are not in the order of dealers, or none at all.
    #[error("shares are shown in the order of dealers, at least one, each once")]
    "share_order" => ShareOrder,
    /// The evidence shows nothing.
    #[error("the evidence shows nothing: {0}")]
    "evidence" => Evidence(#[from] BadEvidence),
    /// The receipt may be about an inbox that moved to another swarm.
    #[error("the receipt is no promise of this seat: {why}")]
    "inbox_moved" => InboxMoved {
        /// What may have happened.
        why: &'static str,
    },
    /// The deed is known.
    #[error("case {case} is known already, it is {status}")]
    "case_known" => CaseKnown {
        /// The case.
        case: Digest,
        /// Its status.
        status: &'static str,
    },
    /// Too many accusations of one node wait.
    #[error("{OPEN_CASES_MAX} cases against node {node} are open, that is the limit")]
    "too_many_cases" => TooManyCases {
        /// The node.
        node: NodeId,
    },
    /// Nobody opened the case.
    #[error("case not found")]
    "unknown_case" => UnknownCase {
        /// The id asked for.
        case: Digest,
    },
    /// The case is decided.
    #[error("the case is {status}")]
    "case_closed" => CaseClosed {
        /// Its status.
        status: &'static str,
    },
    /// No owner's order is an answer to this.
    #[error("a case of {kind} is not about an item: no order refutes it")]
    "not_about_item" => NotAboutItem {
        /// What the case is about.
        kind: &'static str,
    },
    /// The owner's order does not explain why the item is missing.
    #[error("the order does not refute the case: {0}")]
    "order" => Order(#[source] BadOpening),
    /// Only the authority may drop cases.
    #[error("the sender is not the chain's authority")]
    "not_authority" => NotAuthority,
    /// The node is accused.
    #[error("the stake is bound while case {case} against the node is open")]
    "accused" => Accused {
        /// The case.
        case: Digest,
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
    /// The sender neither is nor operates a node of the committee.
    #[error("the sender neither is nor operates a node of the session's committee")]
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
    /// A manifest is anchored by rising numbers.
    #[error("manifest {got} is not newer than number {before}, which is anchored")]
    "manifest_seq" => ManifestSeq {
        /// Its number.
        got: u64,
        /// The number of the one that is anchored.
        before: u64,
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
