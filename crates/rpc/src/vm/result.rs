//! What the methods give.
//!
//! Bytes are hex, ids 64 hex digits, accounts `07` and 64 hex digits. Counts, heights and sequence
//! numbers are numbers; amounts are decimal texts. Members that end in `At` are seconds since the
//! Unix epoch; `created`, `expires` and `timestamp` of an object are RFC 3339, as the reference
//! writes them. The one exception is the seed's: `expires` in the reply of `CreateSession` is
//! seconds.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use session_core::{
    AccountId, BlockId, ChainId, ChannelId, ConversationId, Digest, Epoch, MessageId, NodeId,
    ServiceId, SessionId, SwarmId, Time, TxId,
};

mod duties;

pub use super::shape::Shape;
use super::shape::{
    Amount, Form, Maybe, Plain, Rfc3339, Unix, UnixMillis, explained, objects, words,
};
pub use duties::*;

words! {
    /// Where a conversation is in its life.
    SessionStatus {
        /// Not every participant has accepted it.
        Pending = "pending",
        /// Messages can be sent.
        Active = "active",
        /// Its time is over.
        Expired = "expired",
        /// A participant closed it.
        Closed = "closed",
    }

    /// Where a service node is in its life.
    NodeStatus {
        /// It serves from the next epoch on.
        Registered = "registered",
        /// It serves.
        Active = "active",
        /// It said that it is away for a while; it keeps its place.
        Suspended = "suspended",
        /// It serves until the epoch ends, and then no more.
        Leaving = "leaving",
        /// It left or was dismissed; its stake is unbonding.
        Decommissioning = "decommissioning",
        /// It lost stake and its place; the rest of the stake is unbonding.
        Slashed = "slashed",
        /// Its stake was withdrawn.
        Retired = "retired",
    }

    /// Where a transaction is.
    TxStatus {
        /// In the mempool.
        Pending = "pending",
        /// In an accepted block.
        Accepted = "accepted",
    }

    /// Where a workload session is in its life.
    WorkloadStatus {
        /// It was created.
        Pending = "pending",
        /// The committee began.
        Running = "running",
        /// It waits for an oracle.
        WaitingIo = "waiting_io",
        /// It ended well.
        Finalized = "finalized",
        /// It ended badly.
        Failed = "failed",
    }

    /// What the chain knows of a conversation's life.
    AnchorStatus {
        /// It is open.
        Open = "open",
        /// Its time is over.
        Expired = "expired",
        /// A participant closed it.
        Closed = "closed",
    }

    /// What a node does with the chain.
    ChainPhase {
        /// It opens its database.
        Starting = "starting",
        /// It fetches blocks of the past.
        Bootstrapping = "bootstrapping",
        /// It is at the frontier.
        Ready = "ready",
        /// A fault stopped it; it takes no more blocks.
        Failed = "failed",
    }
}

impl NodeStatus {
    /// Returns the word that the proposal has for it.
    #[must_use]
    pub const fn lp_word(self) -> &'static str {
        match self {
            Self::Registered | Self::Active | Self::Suspended => "active",
            Self::Leaving | Self::Decommissioning | Self::Slashed => "decommissioning",
            Self::Retired => "retired",
        }
    }

    /// Returns the word that the Go reference has for it.
    #[must_use]
    pub const fn go_word(self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Slashed => "slashed",
            Self::Leaving | Self::Decommissioning | Self::Retired => "exited",
        }
    }

    /// Returns the word that the Session network has for it.
    #[must_use]
    pub const fn session_word(self) -> &'static str {
        match self {
            Self::Registered => "awaiting",
            Self::Active | Self::Leaving => "active",
            Self::Suspended | Self::Decommissioning => "decommissioned",
            Self::Slashed | Self::Retired => "deregistered",
        }
    }
}

objects! {
    /// The reply of CreateSession.
    SessionCreated {
        /// The conversation's id.
        session: ConversationId = "sessionId" as Plain;
        /// When it expires; participants sign the milliseconds.
        expires: Time = "expires" as Unix, "expiresAt" as Unix, "expiresMs" as UnixMillis;
        /// Where it is in its life.
        status: SessionStatus = "status" as Plain;
    }

    /// The reply of GetSession and AcceptSession.
    SessionReply {
        /// The conversation.
        session: Session = "session" as Plain;
    }

    /// A conversation; the seed calls it a session.
    Session {
        /// Its id.
        id: ConversationId = "id" as Plain, "sessionId" as Plain;
        /// Who takes part.
        participants: Vec<AccountId> = "participants" as Plain;
        /// ML-KEM-768 public keys, in the order of the participants; left out in lists.
        public_keys: Option<Vec<Vec<u8>>> = "publicKeys" as Maybe<Plain>;
        /// ML-DSA-65 public keys, in the same order, empty where none is known; left out in lists.
        signing_keys: Option<Vec<Vec<u8>>> = "signingKeys" as Maybe<Plain>;
        /// The counter that each participant's next message must have, in the same order.
        counters: Vec<u64> = "counters" as Plain;
        /// Who has accepted it or proved its key.
        accepted: Vec<AccountId> = "accepted" as Plain;
        /// The channel that it belongs to.
        channel: Option<ChannelId> = "channelId" as Maybe<Plain>;
        /// When it was created.
        created: Time = "created" as Rfc3339, "createdAt" as Unix;
        /// When it expires.
        expires: Time = "expires" as Rfc3339, "expiresAt" as Unix;
        /// Where it is in its life.
        status: SessionStatus = "status" as Plain;
        /// Texts of whoever created it.
        metadata: BTreeMap<String, String> = "metadata" as Plain;
        /// The sequence number of the next message.
        next_sequence: u64 = "nextSequence" as Plain;
        /// When a participant closed it.
        closed: Option<Time> = "closedAt" as Maybe<Unix>;
        /// Whether it was made by an unproved call of the Go reference, and proves nothing.
        compat: bool = "compat" as Plain;
    }

    /// The reply of ListSessions. A page may be short, even empty, and not be the last one.
    SessionPage {
        /// In an order of the node's own.
        sessions: Vec<Session> = "sessions" as Plain;
        /// What to give as `after` for the next page; left out on the last one.
        next: Option<ConversationId> = "next" as Maybe<Plain>;
    }

    /// The reply of SendMessage.
    MessageSent {
        /// The message's id.
        message: MessageId = "messageId" as Plain;
        /// Its place in the conversation, from 0 without gaps.
        sequence: u64 = "sequence" as Plain;
        /// When the node took it.
        received: Time = "timestamp" as Rfc3339, "receivedAt" as Unix;
    }

    /// A message of a conversation.
    Message {
        /// Its id.
        id: MessageId = "id" as Plain, "messageId" as Plain;
        /// The conversation.
        session: ConversationId = "sessionId" as Plain;
        /// The participant who sent it.
        sender: AccountId = "sender" as Plain;
        /// The message; the node cannot read it.
        ciphertext: Vec<u8> = "ciphertext" as Plain;
        /// The sender's signature.
        signature: Vec<u8> = "signature" as Plain;
        /// The sender's counter, which the signature covers.
        counter: u64 = "counter" as Plain;
        /// When the node took it.
        received: Time = "timestamp" as Rfc3339, "receivedAt" as Unix;
        /// When the node forgets it.
        expires: Time = "expires" as Rfc3339, "expiresAt" as Unix;
        /// Its place in the conversation.
        sequence: u64 = "sequence" as Plain;
    }

    /// The reply of GetMessages.
    Messages {
        /// In the order of their sequence numbers.
        messages: Vec<Message> = "messages" as Plain;
        /// The first sequence number that is still kept.
        first_sequence: u64 = "firstSequence" as Plain;
        /// The sequence number of the next message.
        next_sequence: u64 = "nextSequence" as Plain;
        /// What to give as `after` for the next page; left out on the last one.
        next: Option<u64> = "next" as Maybe<Plain>;
    }

    /// Something was done.
    Success {
        /// True: whatever was not done is an error.
        success: bool = "success" as Plain;
    }

    /// The reply of Subscribe.
    Subscribed {
        /// Names the subscription on this connection.
        subscription: u64 = "subscription" as Plain;
    }

    /// The parameters of a notification `sessionvm.event`; either message or block is there.
    Event {
        /// Which subscription it belongs to.
        subscription: u64 = "subscription" as Plain;
        /// A new message.
        message: Option<Message> = "message" as Maybe<Plain>;
        /// A new block.
        block: Option<Block> = "block" as Maybe<Plain>;
    }

    /// The reply of CreateChannel, JoinChannel and GetChannel.
    ChannelReply {
        /// The channel.
        channel: Channel = "channel" as Plain;
    }

    /// A channel.
    Channel {
        /// Its id.
        id: ChannelId = "id" as Plain, "channelId" as Plain;
        /// Its name.
        name: String = "name" as Plain;
        /// Who made it.
        owner: AccountId = "owner" as Plain;
        /// Who is in it.
        members: Vec<AccountId> = "members" as Plain;
        /// When it was made.
        created: Time = "created" as Rfc3339, "createdAt" as Unix;
        /// How often its members have changed: what the next joining or leaving signs.
        revision: u64 = "revision" as Plain;
        /// Messages of its conversations, where the node counts them.
        message_count: Option<u64> = "messageCount" as Maybe<Plain>;
    }

    /// The reply of ListChannels.
    ChannelPage {
        /// In the order of their ids.
        channels: Vec<Channel> = "channels" as Plain;
        /// What to give as `after` for the next page; left out on the last one.
        next: Option<ChannelId> = "next" as Maybe<Plain>;
    }

    /// The reply of IssueTx.
    TxIssued {
        /// The transaction's id.
        tx: TxId = "txId" as Plain;
    }

    /// The reply of GetTx.
    TxReply {
        /// The transaction.
        tx: Tx = "tx" as Plain;
    }

    /// A transaction.
    Tx {
        /// Its id.
        id: TxId = "txId" as Plain;
        /// What it orders.
        action: String = "action" as Plain;
        /// Who ordered it.
        sender: AccountId = "sender" as Plain;
        /// How many transactions the sender made before.
        nonce: u64 = "nonce" as Plain;
        /// The most that the sender pays for it.
        fee_max: u64 = "feeMax" as Amount;
        /// What it cost, once it was executed.
        fee: Option<u64> = "fee" as Maybe<Amount>;
        /// The last block time at which it may be executed.
        expires: Time = "expires" as Rfc3339, "expiresAt" as Unix;
        /// Bytes of its encoding.
        size: u64 = "size" as Plain;
        /// Where it is.
        status: TxStatus = "status" as Plain;
        /// The height of its block.
        height: Option<u64> = "height" as Maybe<Plain>;
        /// The block that holds it.
        block: Option<BlockId> = "blockId" as Maybe<Plain>;
        /// Its canonical bytes; left out in lists.
        bytes: Option<Vec<u8>> = "bytes" as Maybe<Plain>;
        /// What the order says, member by member.
        details: Option<Map<String, Value>> = "details" as Maybe<Plain>;
    }

    /// The reply of GetBlock.
    BlockReply {
        /// The block, when JSON was asked for.
        block: Option<Block> = "block" as Maybe<Plain>;
        /// The block's canonical bytes, when hex was asked for.
        bytes: Option<Vec<u8>> = "bytes" as Maybe<Plain>;
    }

    /// An accepted block.
    Block {
        /// Its id.
        id: BlockId = "blockId" as Plain;
        /// The chain.
        chain: ChainId = "chainId" as Plain;
        /// The block below.
        parent: BlockId = "parentId" as Plain;
        /// How many blocks are below.
        height: u64 = "height" as Plain;
        /// When it was built.
        time: Time = "timestamp" as Rfc3339, "builtAt" as Unix, "unixMs" as UnixMillis;
        /// The root of the state after it.
        state_root: Digest = "stateRoot" as Plain;
        /// Bytes of its encoding.
        size: u64 = "size" as Plain;
        /// The sequencer's signature, on a chain that has one.
        seal: Option<Vec<u8>> = "seal" as Maybe<Plain>;
        /// Its transactions, in the order of their execution.
        txs: Vec<Tx> = "txs" as Plain;
    }

    /// The reply of GetHeight.
    Height {
        /// The height of the last accepted block.
        height: u64 = "height" as Plain;
        /// Its id.
        block: BlockId = "blockId" as Plain;
        /// Its time.
        time: Time = "timestamp" as Rfc3339, "builtAt" as Unix;
        /// The root of the state after it.
        state_root: Digest = "stateRoot" as Plain;
    }

    /// The reply of GetNode.
    NodeReply {
        /// The node.
        node: Node = "node" as Plain;
    }

    /// The reply of ListNodes.
    NodePage {
        /// In the order of their ids.
        nodes: Vec<Node> = "nodes" as Plain;
        /// What to give as `after` for the next page; left out on the last one.
        next: Option<NodeId> = "next" as Maybe<Plain>;
    }

    /// A service node.
    Node {
        /// Its id.
        id: NodeId = "nodeId" as Plain;
        /// The account that registered it.
        operator: AccountId = "operator" as Plain;
        /// ML-DSA-65.
        public_key: Vec<u8> = "publicKey" as Plain;
        /// ML-KEM-768.
        encryption_key: Vec<u8> = "encryptionKey" as Plain;
        /// What is left of its stake.
        stake: u64 = "stake" as Amount;
        /// What it staked.
        stake_original: u64 = "originalStake" as Amount;
        /// The swarm it serves, while it serves.
        swarm: Option<SwarmId> = "swarmId" as Maybe<Plain>;
        /// Where it is in its life, in our words and in those of the others.
        status: NodeStatus = "status" as Plain, "statusNames" as InEveryWord;
        /// The epoch in which it took its place in the swarm.
        since: Option<Epoch> = "since" as Maybe<Plain>;
        /// The epoch in which it will be back.
        suspended_until: Option<Epoch> = "suspendedUntil" as Maybe<Plain>;
        /// Epochs in a row, up to the last one, in which it missed a duty.
        misses: u32 = "misses" as Plain;
        /// When it was registered.
        registered: Time = "registeredAt" as Unix;
        /// When it last answered for its uptime.
        last_ping: Time = "lastPingAt" as Unix;
        /// When its stake can be withdrawn.
        unbonds: Option<Time> = "unbondsAt" as Maybe<Unix>;
        /// 0 to 10000 basis points.
        uptime_score: u32 = "uptimeScore" as Plain;
        /// Where it is reached.
        endpoint: String = "endpoint" as Plain;
    }

    /// The reply of GetProof.
    Proof {
        /// The raw key.
        key: Vec<u8> = "key" as Plain;
        /// Whether the state has it.
        exists: bool = "exists" as Plain;
        /// Its value, when the state has it.
        value: Option<Vec<u8>> = "value" as Maybe<Plain>;
        /// The canonical bytes of the proof, of presence or of absence.
        proof: Vec<u8> = "proof" as Plain;
        /// What the proof is checked against.
        state_root: Digest = "stateRoot" as Plain;
        /// The height of the block that has this root.
        height: u64 = "height" as Plain;
        /// Its id.
        block: BlockId = "blockId" as Plain;
    }

    /// The reply of GetAccount.
    AccountReply {
        /// The account.
        account: Account = "account" as Plain;
    }

    /// An account of the chain.
    Account {
        /// Its id.
        id: AccountId = "account" as Plain;
        /// What it can spend.
        balance: u64 = "balance" as Amount;
        /// The nonce of its next transaction.
        nonce: u64 = "nonce" as Plain;
        /// Whether the chain knows its keys.
        has_keys: bool = "hasKeys" as Plain;
        /// ML-KEM-768, if the chain knows it.
        public_key: Option<Vec<u8>> = "publicKey" as Maybe<Plain>;
        /// ML-DSA-65, if the chain knows it.
        signing_key: Option<Vec<u8>> = "signingKey" as Maybe<Plain>;
    }

    /// The reply of GetWorkload.
    WorkloadReply {
        /// The workload session.
        workload: Workload = "workload" as Plain;
    }

    /// What the chain holds of a workload session.
    Workload {
        /// Its id.
        id: SessionId = "sessionId" as Plain;
        /// The service that it belongs to.
        service: ServiceId = "serviceId" as Plain;
        /// The epoch in which it was created.
        epoch: Epoch = "epoch" as Plain;
        /// The transaction that created it.
        tx: TxId = "txId" as Plain;
        /// Who created it.
        creator: AccountId = "creator" as Plain;
        /// Who runs it.
        committee: Vec<NodeId> = "committee" as Plain;
        /// Where it is in its life.
        status: WorkloadStatus = "state" as Plain;
        /// Hash of the program.
        program: Digest = "program" as Plain;
        /// Hash of the input.
        input: Digest = "input" as Plain;
        /// Hash of the output.
        output: Option<Digest> = "outputHash" as Maybe<Plain>;
        /// Root over the oracle commits.
        oracle_root: Option<Digest> = "oracleRoot" as Maybe<Plain>;
        /// Root over the delivery receipts.
        receipts_root: Option<Digest> = "receiptsRoot" as Maybe<Plain>;
        /// Id of what the committee attests.
        attestation: Option<Digest> = "attestation" as Maybe<Plain>;
        /// When it was created.
        created: Time = "createdAt" as Unix;
        /// When the committee began.
        started: Option<Time> = "startedAt" as Maybe<Unix>;
        /// When it must have ended.
        deadline: Time = "deadlineAt" as Unix;
        /// When it ended.
        finalized: Option<Time> = "finalizedAt" as Maybe<Unix>;
        /// Why it failed.
        error: Option<String> = "error" as Maybe<Plain>;
    }

    /// The reply of GetConversation.
    ConversationReply {
        /// The conversation.
        conversation: Conversation = "conversation" as Plain;
    }

    /// What the chain holds of a conversation: it does not know who takes part.
    Conversation {
        /// Its id.
        id: ConversationId = "conversationId" as Plain;
        /// Who opened it.
        opener: AccountId = "opener" as Plain;
        /// Root of the tree over the hidden participants.
        participants_root: Digest = "participantsRoot" as Plain;
        /// How many participants there are.
        participants: u16 = "participants" as Plain;
        /// When it was opened.
        opened: Time = "openedAt" as Unix;
        /// When it expires.
        expires: Time = "expiresAt" as Unix;
        /// When a participant closed it.
        closed: Option<Time> = "closedAt" as Maybe<Unix>;
        /// Where it is in its life.
        status: AnchorStatus = "status" as Plain;
    }

    /// The reply of Health.
    Health {
        /// Whether the node works.
        healthy: bool = "healthy" as Plain;
        /// Conversations that are pending or active.
        sessions: u64 = "sessions" as Plain;
        /// Channels.
        channels: u64 = "channels" as Plain;
        /// Messages that are not yet durable.
        pending: u64 = "pending" as Plain;
        /// The height of the last accepted block.
        height: u64 = "height" as Plain;
        /// Transactions in the mempool.
        mempool: u64 = "mempool" as Plain;
        /// What the node does with the chain.
        phase: ChainPhase = "phase" as Plain;
        /// The chain.
        chain: ChainId = "chainId" as Plain;
        /// The program's version.
        version: String = "version" as Plain;
        /// `"go"` while unsigned calls of the reference are taken; left out otherwise.
        compat: Option<String> = "compat" as Maybe<Plain>;
        /// Why it is not healthy.
        fault: Option<String> = "fault" as Maybe<Plain>;
    }
}

struct InEveryWord;

impl Form<NodeStatus> for InEveryWord {
    fn write(status: &NodeStatus) -> Option<Value> {
        Some(json!({
            "lp": status.lp_word(), "go": status.go_word(), "session": status.session_word(),
        }))
    }

    fn schema() -> Value {
        json!({"type": "object", "required": ["lp", "go", "session"]})
    }
}

/// The reply of `rpc.discover`, which [`super::openrpc::document`] makes.
pub(crate) struct Description;

impl Description {
    pub(crate) fn schema() -> Value {
        json!({"$ref": "https://meta.open-rpc.org/"})
    }
}

/// Returns the schema of every object, by name.
pub(crate) fn schemas() -> Map<String, Value> {
    let mut all = definitions();
    all.extend(duties::definitions());
    all
}

#[cfg(test)]
mod tests;
