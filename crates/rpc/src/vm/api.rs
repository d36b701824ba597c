//! The methods of the chain and its conversations: what they take.
//!
//! One table makes the types, their parsers, and the description that `rpc.discover` gives.

use serde_json::Value;
use session_core::{
    AccountId, ChannelId, ConversationId, Digest, NodeId, SessionId, SwarmId, TxId,
};

use super::ErrorCode::{self, *};
use super::Profile;
use super::group::{
    Asker, BlockAt, BlockChoice, Key, KeyChoice, KeyPair, Keys, Signed, Topic, TopicChoice,
};
use super::kind::{
    ANY_NUMBER, Distinct, Hex, List, Number, OneOf, Optional, Or, Parameter, Required, Swarm, Take,
    Texts, Words, id, identity,
};
use super::result::{self, CaseStatus, NodeStatus, SessionStatus, Shape};
use crate::fields::{BadField, Fields};
use crate::json_rpc::{Call, ErrorObject, METHOD_NOT_FOUND};

/// Bytes of an ML-KEM-768 public key.
pub const KEM_KEY_BYTES: usize = 1184;
/// Bytes of an ML-DSA-65 public key.
pub const DSA_KEY_BYTES: usize = 1952;
/// Bytes of an ML-DSA-65 signature.
pub const SIGNATURE_BYTES: usize = 3309;
/// Most participants of a conversation.
pub const PARTICIPANTS_MAX: usize = 1000;
/// Longest message of a conversation.
pub const CIPHERTEXT_BYTES_MAX: usize = 65_536;
/// Longest signed transaction.
pub const TRANSACTION_BYTES_MAX: usize = 64 * 1024;
/// Most metadata entries of a conversation.
pub const METADATA_ENTRIES_MAX: usize = 16;
/// Longest name of a metadata entry.
pub const METADATA_KEY_BYTES_MAX: usize = 64;
/// Longest metadata entry.
pub const METADATA_VALUE_BYTES_MAX: usize = 256;
/// Longest name of a channel.
pub const CHANNEL_NAME_BYTES_MAX: usize = 64;
/// Most things in one page.
pub const PAGE_MAX: u64 = 200;
/// Things in a page when the caller does not say.
pub const PAGE_DEFAULT: u64 = 50;
/// Epochs for which the chain keeps how a node did.
pub const MARKS_MAX: u64 = 24;
/// Longest body: a conversation of [`PARTICIPANTS_MAX`] with all keys in hex is 6.3 MB.
pub const BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The longest key of the chain's state that is asked for.
const STATE_KEY_BYTES_MAX: usize = 128;

/// How the bytes of a block are written in a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As JSON members.
    #[default]
    Json,
    /// As the canonical bytes, in hex.
    Hex,
}

impl From<Encoding> for Value {
    fn from(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Json => "json".into(),
            Encoding::Hex => "hex".into(),
        }
    }
}

const PAGE: Or<Number, u64> = Or(Number { min: 1, max: PAGE_MAX }, PAGE_DEFAULT);
const MARKS: Or<Number, u64> = Or(Number { min: 1, max: MARKS_MAX }, MARKS_MAX);
const SIGNATURE: Required<Hex> = Required(Hex::exactly(SIGNATURE_BYTES));
const SESSION_STATUS: OneOf<SessionStatus> = OneOf(&[
    ("pending", SessionStatus::Pending),
    ("active", SessionStatus::Active),
    ("expired", SessionStatus::Expired),
    ("closed", SessionStatus::Closed),
]);
const NODE_STATUS: OneOf<NodeStatus> = OneOf(&[
    ("registered", NodeStatus::Registered),
    ("active", NodeStatus::Active),
    ("suspended", NodeStatus::Suspended),
    ("leaving", NodeStatus::Leaving),
    ("decommissioning", NodeStatus::Decommissioning),
    ("slashed", NodeStatus::Slashed),
    ("retired", NodeStatus::Retired),
]);
const CASE_STATUS: OneOf<CaseStatus> = OneOf(&[
    ("open", CaseStatus::Open),
    ("paid", CaseStatus::Paid),
    ("vetoed", CaseStatus::Vetoed),
    ("refuted", CaseStatus::Refuted),
]);
const ENCODING: Or<OneOf<Encoding>, Encoding> =
    Or(OneOf(&[("json", Encoding::Json), ("hex", Encoding::Hex)]), Encoding::Json);
const METADATA: Optional<Texts> = Optional(Texts {
    entries_max: METADATA_ENTRIES_MAX,
    key: Words { min: 1, max: METADATA_KEY_BYTES_MAX },
    value: Words { min: 0, max: METADATA_VALUE_BYTES_MAX },
});

const fn keys(size: usize) -> List<Hex> {
    List { of: Hex::exactly_or_go(size), min: 0, max: PARTICIPANTS_MAX }
}

/// A method, as the API's description shows it.
pub(crate) struct Entry {
    /// The name behind the prefix, or the whole of `rpc.discover`.
    pub(crate) name: &'static str,
    /// Its short name in the reference's documents.
    pub(crate) alias: Option<&'static str>,
    pub(crate) text: Lines,
    pub(crate) parameters: Vec<(Parameter, Lines)>,
    pub(crate) result: Value,
    pub(crate) errors: &'static [ErrorCode],
}

macro_rules! methods {
    ($(
        $(#[doc = $doc:literal])+
        $method:ident = $name:literal $(or $alias:literal)? -> $result:ty,
        refused as [$($error:ident),*] $(, checked by $check:path)? {
            $($(#[doc = $field_doc:literal])+ $field:ident: $type:ty = $parameter:literal, $take:expr;)*
        }
    )*) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $method {
                $($(#[doc = $field_doc])+ pub $field: $type,)*
            }

            impl $method {
                #[allow(unused_variables, reason = "some methods take nothing")]
                fn read(fields: &mut Fields<'_>, profile: Profile) -> Result<Self, BadField> {
                    let read = Self { $($field: $take.take($parameter, fields, profile)?,)* };
                    $($check(&read)?;)?
                    Ok(read)
                }
            }
        )*

        /// A call whose parameters have the right types.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Method { $($(#[doc = $doc])+ $method($method),)* }

        impl Method {
            /// Every name, without its prefix.
            pub const NAMES: &'static [&'static str] = &[$($name,)*];

            fn read(
                name: &str,
                fields: &mut Fields<'_>,
                profile: Profile,
            ) -> Option<Result<Self, BadField>> {
                match name {
                    $($name $(| $alias)? => Some($method::read(fields, profile).map(Self::$method)),)*
                    _ => None,
                }
            }

            /// Returns the name of the method, without its prefix.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$method(_) => $name,)* }
            }
        }

        pub(crate) fn entries() -> Vec<Entry> {
            vec![$(Entry {
                name: $name,
                alias: [$($alias,)?].first().copied(),
                text: &[$($doc,)+],
                parameters: described(vec![
                    $(($take.parameters($parameter), &[$($field_doc,)+]),)*
                ]),
                result: <$result>::schema(),
                errors: &[$($error,)*],
            },)*]
        }
    };
}

/// The lines of a text.
type Lines = &'static [&'static str];

fn described(groups: Vec<(Vec<Parameter>, Lines)>) -> Vec<(Parameter, Lines)> {
    let groups = groups.into_iter();
    groups.flat_map(|(group, text)| group.into_iter().map(move |one| (one, text))).collect()
}

methods! {
    /// Opens a conversation; it is pending until each participant has accepted it.
    CreateSession = "CreateSession" or "create" -> result::SessionCreated,
    refused as [BadKey, TooManySessions, UnknownChannel, DiskFull, RateLimited, NotReady],
    checked by one_key_for_each {
        /// Who takes part; nobody twice.
        participants: Vec<AccountId> = "participants", Required(Distinct(List {
            of: identity::<AccountId>(), min: 1, max: PARTICIPANTS_MAX,
        }));
        /// The ML-KEM-768 public key of each participant, in the same order.
        public_keys: Vec<Vec<u8>> = "publicKeys", Required(keys(KEM_KEY_BYTES));
        /// The ML-DSA-65 public key of each participant, in the same order; without it, participants
        /// give theirs when they accept.
        signing_keys: Option<Vec<Vec<u8>>> = "signingKeys", Optional(keys(DSA_KEY_BYTES));
        /// The channel that it belongs to.
        channel: Option<ChannelId> = "channelId", Optional(id::<ChannelId>());
        /// Texts for the participants; the node does not read them.
        metadata: Option<std::collections::BTreeMap<String, String>> = "metadata", METADATA;
    }

    /// Accepts a conversation, and proves the participant's keys.
    AcceptSession = "AcceptSession" -> result::SessionReply,
    refused as [UnknownSession, SessionExpired, SessionClosed, Unauthorized, BadKey, KeyNeeded] {
        /// The conversation.
        session: ConversationId = "sessionId", Required(id::<ConversationId>());
        /// Who accepts it.
        participant: AccountId = "participant", Required(identity::<AccountId>());
        /// The participant's ML-DSA-65 public key, if the node has not seen it.
        signing_key: Option<Vec<u8>> = "signingKey", Optional(Hex::exactly(DSA_KEY_BYTES));
        /// The participant's signature over the acceptance.
        signature: Vec<u8> = "signature", SIGNATURE;
    }

    /// Returns a conversation.
    GetSession = "GetSession" or "get" -> result::SessionReply,
    refused as [UnknownSession, Unauthorized, KeyNeeded] {
        /// The conversation.
        session: ConversationId = "sessionId", Required(id::<ConversationId>());
        /// The participant who asks, its signature over the question, and its ML-DSA-65 public key
        /// if the node has not seen it.
        asker: Option<Asker> = "participant", Signed;
    }

    /// Sends a message within a conversation.
    SendMessage = "SendMessage" or "send" -> result::MessageSent,
    refused as [
        UnknownSession, SessionExpired, SessionClosed, Unauthorized,
        ReplayedCounter, CounterGap, KeyNeeded, SessionFull, TooLarge, DiskFull, RateLimited
    ] {
        /// The conversation.
        session: ConversationId = "sessionId", Required(id::<ConversationId>());
        /// The participant who sends it.
        sender: AccountId = "sender", Required(identity::<AccountId>());
        /// The message; the node cannot read it.
        ciphertext: Vec<u8> = "ciphertext", Required(Hex::between(1, CIPHERTEXT_BYTES_MAX));
        /// The sender's signature over conversation, sender, counter and ciphertext.
        signature: Vec<u8> = "signature", Required(Hex::exactly_or_go(SIGNATURE_BYTES));
        /// The sender's count of its messages in this conversation, from 0; never used twice.
        counter: Option<u64> = "counter", Optional(ANY_NUMBER);
        /// The sender's ML-DSA-65 public key, if the node has not seen it.
        signing_key: Option<Vec<u8>> = "signingKey", Optional(Hex::exactly(DSA_KEY_BYTES));
    }

    /// Closes a conversation.
    CloseSession = "CloseSession" or "close" -> result::Success,
    refused as [UnknownSession, SessionExpired, SessionClosed, Unauthorized, KeyNeeded] {
        /// The conversation.
        session: ConversationId = "sessionId", Required(id::<ConversationId>());
        /// The participant who closes it, its signature over the closing, and its ML-DSA-65 public
        /// key if the node has not seen it. Without them the call is unauthorized.
        asker: Option<Asker> = "participant", Signed;
    }

    /// Returns how the node is.
    Health = "Health" or "health" -> result::Health, refused as [] {}

    /// Returns messages of a conversation in the order of their sequence numbers.
    GetMessages = "GetMessages" -> result::Messages,
    refused as [UnknownSession, Unauthorized, KeyNeeded] {
        /// The conversation.
        session: ConversationId = "sessionId", Required(id::<ConversationId>());
        /// The last sequence number that was seen; the beginning when left out.
        after: Option<u64> = "after", Optional(ANY_NUMBER);
        /// Most messages in the page.
        limit: u64 = "limit", PAGE;
        /// The participant who asks, its signature over the question, and its ML-DSA-65 public key
        /// if the node has not seen it.
        asker: Option<Asker> = "participant", Signed;
    }

    /// Lists conversations in an order of the node's own, without their keys.
    ListSessions = "ListSessions" -> result::SessionPage, refused as [] {
        /// Only those in which this account takes part.
        participant: Option<AccountId> = "participant", Optional(identity::<AccountId>());
        /// Only those in this state.
        status: Option<SessionStatus> = "status", Optional(SESSION_STATUS);
        /// The last id of the page before.
        after: Option<ConversationId> = "after", Optional(id::<ConversationId>());
        /// Most conversations in the page.
        limit: u64 = "limit", PAGE;
    }

    /// Pushes new messages of a conversation, or new blocks, over the WebSocket that asks.
    Subscribe = "Subscribe" -> result::Subscribed,
    refused as [UnknownSession, Unauthorized, KeyNeeded, NeedsWebSocket, TooManySubscriptions] {
        /// What to push: this conversation's messages, or instead of it `"topic": "blocks"`.
        topic: Topic = "sessionId", TopicChoice;
        /// For a conversation: push from the message after this sequence number on.
        after: Option<u64> = "after", Optional(ANY_NUMBER);
        /// The participant who asks, its signature over the question, and its ML-DSA-65 public key
        /// if the node has not seen it.
        asker: Option<Asker> = "participant", Signed;
    }

    /// Ends a subscription of this WebSocket.
    Unsubscribe = "Unsubscribe" -> result::Success,
    refused as [UnknownSubscription, NeedsWebSocket] {
        /// The number that Subscribe returned.
        subscription: u64 = "subscription", Required(ANY_NUMBER);
    }

    /// Makes a channel; the owner is its first member.
    CreateChannel = "CreateChannel" -> result::ChannelReply,
    refused as [Unauthorized, BadKey, ChannelExists, TooManyChannels, DiskFull] {
        /// Its name.
        name: String = "name", Required(Words { min: 1, max: CHANNEL_NAME_BYTES_MAX });
        /// Who makes it.
        owner: AccountId = "owner", Required(identity::<AccountId>());
        /// The owner's keys: `ownerKeys`, or `publicKey` and `signingKey`.
        keys: KeyPair = "ownerKeys", KeyChoice;
        /// The owner's signature over the making.
        signature: Vec<u8> = "signature", SIGNATURE;
    }

    /// Joins a channel.
    JoinChannel = "JoinChannel" -> result::ChannelReply,
    refused as [UnknownChannel, Unauthorized, BadKey, AlreadyMember, ChannelFull, Revision] {
        /// The channel.
        channel: ChannelId = "channelId", Required(id::<ChannelId>());
        /// Who joins.
        member: AccountId = "member", Required(identity::<AccountId>());
        /// The member's keys: `memberKeys`, or `publicKey` and `signingKey`.
        keys: KeyPair = "memberKeys", KeyChoice;
        /// The channel's revision, which the signature covers; the current one when left out.
        revision: Option<u64> = "revision", Optional(ANY_NUMBER);
        /// The member's signature over the joining.
        signature: Vec<u8> = "signature", SIGNATURE;
    }

    /// Leaves a channel; the last member takes it away.
    LeaveChannel = "LeaveChannel" -> result::Success,
    refused as [UnknownChannel, Unauthorized, BadKey, Revision] {
        /// The channel.
        channel: ChannelId = "channelId", Required(id::<ChannelId>());
        /// Who leaves.
        member: AccountId = "member", Required(identity::<AccountId>());
        /// The member's keys: `memberKeys`, or `publicKey` and `signingKey`.
        keys: KeyPair = "memberKeys", KeyChoice;
        /// The channel's revision, which the signature covers; the current one when left out.
        revision: Option<u64> = "revision", Optional(ANY_NUMBER);
        /// The member's signature over the leaving.
        signature: Vec<u8> = "signature", SIGNATURE;
    }

    /// Returns a channel.
    GetChannel = "GetChannel" -> result::ChannelReply, refused as [UnknownChannel] {
        /// The channel.
        channel: ChannelId = "channelId", Required(id::<ChannelId>());
    }

    /// Lists channels in the order of their ids.
    ListChannels = "ListChannels" -> result::ChannelPage, refused as [] {
        /// Only those that this account is a member of.
        member: Option<AccountId> = "member", Optional(identity::<AccountId>());
        /// The last id of the page before.
        after: Option<ChannelId> = "after", Optional(id::<ChannelId>());
        /// Most channels in the page.
        limit: u64 = "limit", PAGE;
    }

    /// Gives the chain a signed transaction.
    IssueTx = "IssueTx" -> result::TxIssued,
    refused as [TransactionRefused, MempoolFull, NotReady, RateLimited] {
        /// The canonical bytes of the signed transaction.
        tx: Vec<u8> = "tx", Required(Hex::between(1, TRANSACTION_BYTES_MAX));
    }

    /// Returns a transaction, waiting or executed.
    GetTx = "GetTx" -> result::TxReply, refused as [UnknownTransaction] {
        /// The transaction.
        tx: TxId = "txId", Required(id::<TxId>());
    }

    /// Returns an accepted block; the last one when neither height nor id is given.
    GetBlock = "GetBlock" -> result::BlockReply, refused as [UnknownBlock] {
        /// Which block: its `height` or its `blockId`.
        block: BlockAt = "height", BlockChoice;
        /// How to write it.
        encoding: Encoding = "encoding", ENCODING;
    }

    /// Returns the height of the chain.
    GetHeight = "GetHeight" -> result::Height, refused as [] {}

    /// Returns a service node.
    GetNode = "GetNode" -> result::NodeReply, refused as [UnknownNode] {
        /// The node.
        node: NodeId = "nodeId", Required(identity::<NodeId>());
    }

    /// Lists service nodes in the order of their ids.
    ListNodes = "ListNodes" -> result::NodePage, refused as [] {
        /// Only those in this state.
        status: Option<NodeStatus> = "status", Optional(NODE_STATUS);
        /// The last id of the page before.
        after: Option<NodeId> = "after", Optional(identity::<NodeId>());
        /// Most nodes in the page.
        limit: u64 = "limit", PAGE;
    }

    /// Returns an entry of the state with a proof that it is there, or that it is not.
    GetProof = "GetProof" -> result::Proof, refused as [NotReady] {
        /// Which entry: its raw `key`, or a `table` and an `id`.
        key: Key = "key", Keys(Hex::between(1, STATE_KEY_BYTES_MAX));
    }

    /// Returns an epoch: the current one, with the beacon of the next one as far as it is, or one
    /// of the past.
    GetEpoch = "GetEpoch" -> result::EpochReply, refused as [UnknownEpoch] {
        /// Which one; the current one when left out.
        epoch: Option<u64> = "epoch", Optional(ANY_NUMBER);
    }

    /// Returns how a node did in the last epochs, the last one first.
    GetMarks = "GetMarks" -> result::MarksReply, refused as [UnknownNode] {
        /// The node.
        node: NodeId = "nodeId", Required(identity::<NodeId>());
        /// Most epochs in the reply.
        limit: u64 = "limit", MARKS;
    }

    /// Returns what nodes say they keep, in the order of their ids.
    GetCommitments = "GetCommitments" -> result::CommitmentPage, refused as [UnknownSwarm] {
        /// Only the members of this swarm.
        swarm: Option<SwarmId> = "swarm", Optional(Swarm);
        /// The last id of the page before.
        after: Option<NodeId> = "after", Optional(identity::<NodeId>());
        /// Most nodes in the page.
        limit: u64 = "limit", PAGE;
    }

    /// Returns every swarm with its members and the share of all inboxes that it keeps.
    GetSwarms = "GetSwarms" -> result::SwarmsReply, refused as [] {}

    /// Lists accusations in the order of their ids.
    GetCases = "GetCases" -> result::CasePage, refused as [] {
        /// Only those that stand so.
        status: Option<CaseStatus> = "status", Optional(CASE_STATUS);
        /// Only those against this node.
        accused: Option<NodeId> = "accused", Optional(identity::<NodeId>());
        /// The last id of the page before.
        after: Option<Digest> = "after", Optional(id::<Digest>());
        /// Most accusations in the page.
        limit: u64 = "limit", PAGE;
    }

    /// Returns an accusation.
    GetCase = "GetCase" -> result::CaseReply, refused as [UnknownCase] {
        /// The accusation.
        case: Digest = "caseId", Required(id::<Digest>());
    }

    /// Returns an account.
    GetAccount = "GetAccount" -> result::AccountReply, refused as [] {
        /// The account.
        account: AccountId = "account", Required(identity::<AccountId>());
    }

    /// Returns what the chain holds of a workload session.
    GetWorkload = "GetWorkload" -> result::WorkloadReply, refused as [UnknownWorkload] {
        /// The workload session.
        session: SessionId = "sessionId", Required(id::<SessionId>());
    }

    /// Returns what the chain holds of a conversation.
    GetConversation = "GetConversation" -> result::ConversationReply,
    refused as [UnknownConversation] {
        /// The conversation.
        conversation: ConversationId = "conversationId", Required(id::<ConversationId>());
    }

    /// Returns this description.
    Discover = "rpc.discover" -> result::Description, refused as [] {}
}

fn one_key_for_each(call: &CreateSession) -> Result<(), BadField> {
    let members = call.participants.len();
    let lists =
        [("publicKeys", Some(&call.public_keys)), ("signingKeys", call.signing_keys.as_ref())];
    for (field, keys) in lists {
        if let Some(count) = keys.map(Vec::len).filter(|count| *count != members) {
            let why = format!("it holds {count} keys for {members} participants");
            return Err(BadField::new(field, why));
        }
    }
    Ok(())
}

/// The prefixes of every method but `rpc.discover`.
pub const PREFIXES: [&str; 2] = ["sessionvm.", "session."];

impl Method {
    /// Reads the parameters of a call.
    ///
    /// # Errors
    /// When nobody knows the method, or a parameter is missing or of another type.
    pub fn parse(call: &Call, profile: Profile) -> Result<Self, ErrorObject> {
        let mut fields = Fields::new("", &call.params);
        let bare = PREFIXES.iter().find_map(|prefix| call.method.strip_prefix(prefix));
        let known = match bare {
            Some(name) if !name.starts_with("rpc.") => Self::read(name, &mut fields, profile),
            None if call.method.starts_with("rpc.") => {
                Self::read(&call.method, &mut fields, profile)
            }
            _ => None,
        };
        match known {
            Some(read) => Ok(read?),
            None => Err(unknown_method(&call.method)),
        }
    }
}

fn unknown_method(method: &str) -> ErrorObject {
    // The name comes from outside: do not repeat more of it than a name has.
    let name: String = method.chars().take(64).collect();
    let names: Vec<String> = Method::NAMES.iter().map(|name| full_name(name)).collect();
    ErrorObject::new(METHOD_NOT_FOUND, "method_not_found", format!("method {name:?} is not known"))
        .with("methods", names)
}

/// Returns the name under which a method is called.
#[must_use]
pub fn full_name(name: &str) -> String {
    if name.starts_with("rpc.") { name.to_owned() } else { format!("sessionvm.{name}") }
}

#[cfg(test)]
mod tests;
