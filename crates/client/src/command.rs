//! What a client can be told to do, and what comes of it.

use std::collections::BTreeMap;

use session_core::{
    AccountId, InboxAddress, List, MessageId, Namespace, NodeId, Span, SwarmId, Time,
};
use session_crypto::PublicIdentity;
use session_protocol::inbox::{AccessRule, Capability};
use session_protocol::limits::IDS_MAX;
use session_protocol::membership::Member;
use session_protocol::owner::ExpireMode;
use session_protocol::request::{Cursor, Expiring, Info, Item, ItemBytes, Refusal};

use crate::onion::PathReport;
use crate::reader::InboxReader;
use crate::receipts::StoredProof;

/// Most items in one [`Command::StoreMany`]: what a batch of chunks needs, many times over.
pub const STORE_ITEMS_MAX: usize = 256;

/// Most namespaces and nodes asked at once for what is new.
pub const READ_NODES_MAX: usize = 4;

/// An item to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewItem {
    /// Which compartment of the inbox.
    pub namespace: Namespace,
    /// How long it is kept.
    pub ttl: Span,
    /// The bytes.
    pub data: ItemBytes,
}

/// An inbox, and by what right it is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inbox {
    /// That of the client's account, which signs.
    Own,
    /// A mailbox, with the capability for what is asked: what reads, or what erases.
    Mailbox {
        /// Its rule.
        rule: AccessRule,
        /// The capability.
        token: Capability,
    },
    /// Any inbox; only the namespaces that everyone may read open so.
    Public {
        /// Where.
        address: InboxAddress,
    },
}

/// Something to do.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Store one item. Answered by [`Answer::Stored`].
    Store {
        /// In which inbox.
        address: InboxAddress,
        /// The item.
        item: NewItem,
    },
    /// Store items in one inbox, in batches as large as the protocol allows, one after another.
    /// Answered by [`Answer::Stored`]; after an error some may be stored, and storing them again is
    /// harmless.
    StoreMany {
        /// In which inbox.
        address: InboxAddress,
        /// At most [`STORE_ITEMS_MAX`] items.
        items: Vec<NewItem>,
    },
    /// Store items in one mailbox, with the capability of its writers. As [`Command::StoreMany`];
    /// a slot that is another item's is an [`Error::Refused`] with [`Refusal::SlotTaken`].
    Deposit {
        /// The rule of the mailbox.
        rule: AccessRule,
        /// What stores.
        token: Capability,
        /// At most [`STORE_ITEMS_MAX`] items.
        items: Vec<NewItem>,
    },
    /// Read one page of what is new from each of some nodes. Answered by [`Answer::Pages`].
    ///
    /// Two nodes are better than one: what one of them withholds, the other one has.
    Retrieve {
        /// Of which inbox.
        from: Inbox,
        /// Which compartment.
        namespace: Namespace,
        /// Where reading goes on, on each node that was read before; see [`InboxReader::cursors`].
        cursors: BTreeMap<NodeId, Cursor>,
        /// How many nodes, 1 to [`READ_NODES_MAX`].
        nodes: usize,
    },
    /// Read one page of what is new from exactly this node. Answered by [`Answer::Pages`] with one
    /// page; no other node is asked, whatever happens, and every error names this one.
    RetrieveFrom {
        /// The node.
        node: NodeId,
        /// Of which inbox.
        from: Inbox,
        /// Which compartment.
        namespace: Namespace,
        /// Where reading goes on; none is the beginning.
        cursor: Option<Cursor>,
    },
    /// Read items by their ids. Answered by [`Answer::Fetched`].
    Fetch {
        /// Of which inbox.
        from: Inbox,
        /// Which compartment.
        namespace: Namespace,
        /// Which items.
        ids: List<MessageId, IDS_MAX>,
    },
    /// Forget items everywhere. Answered by [`Answer::Deleted`].
    Delete {
        /// Of which inbox.
        from: Inbox,
        /// Which items.
        ids: List<MessageId, IDS_MAX>,
    },
    /// Move the expiry of items. Answered by [`Answer::Expiring`].
    Expire {
        /// Of which inbox.
        from: Inbox,
        /// Which items.
        ids: List<MessageId, IDS_MAX>,
        /// The new expiry.
        expiry: Time,
        /// Which way it may move.
        mode: ExpireMode,
    },
    /// Find the keys of an account. Answered by [`Answer::Card`].
    GetCard {
        /// The account.
        account: AccountId,
    },
    /// Report new items as they come, until cancelled; what `reader` has seen is left out.
    ///
    /// Answered by [`Effect::Live`](crate::Effect::Live) and
    /// [`Effect::Pushed`](crate::Effect::Pushed), any number of times.
    Subscribe {
        /// Of which inbox.
        from: Inbox,
        /// Which compartments, 1 to 8.
        namespaces: Vec<Namespace>,
        /// What was read before.
        reader: Box<InboxReader>,
    },
    /// Ask how a node is. Answered by [`Answer::Info`].
    Info {
        /// The node.
        node: NodeId,
    },
    /// Measure how long a node takes to answer. Answered by [`Answer::Pong`].
    Ping {
        /// The node.
        node: NodeId,
    },
    /// Tell how requests travel. Answered by [`Answer::Paths`], at once.
    Paths,
    /// Ask who keeps an inbox. Answered by [`Answer::Swarm`].
    GetSwarm {
        /// The inbox.
        address: InboxAddress,
    },
}

/// A page of an inbox, as one node has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The node.
    pub node: NodeId,
    /// The compartment.
    pub namespace: Namespace,
    /// The items that are what their id says, in order of arrival.
    pub items: Vec<Item>,
    /// Where the next page of this node starts.
    pub cursor: Cursor,
    /// Whether there is a next page.
    pub more: bool,
}

/// What came of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Every item is stored; one proof each, in order.
    Stored(Vec<StoredProof>),
    /// Pages of as many nodes as could be reached, at least one.
    Pages(Vec<Page>),
    /// Items by their ids, in the order asked.
    Fetched {
        /// Those that were found.
        items: Vec<Item>,
        /// Those that so many members do not have that no quorum can ever have had them, or that
        /// nobody had before time was up.
        missing: Vec<MessageId>,
    },
    /// Items are deleted. The numbers are what the node says.
    Deleted {
        /// The node that was asked.
        node: NodeId,
        /// The items that it had.
        ids: Vec<MessageId>,
        /// Members that committed it.
        nodes: u16,
    },
    /// Items have new expiries. The numbers are what the node says.
    Expiring {
        /// The node that was asked.
        node: NodeId,
        /// The items that it has, and when they are forgotten now.
        expiries: Vec<Expiring>,
        /// Members that committed it.
        nodes: u16,
    },
    /// The keys of an account; their hash is the account's id.
    Card(PublicIdentity),
    /// How a node says it is.
    Info(Info),
    /// A node answered.
    Pong {
        /// From request to reply.
        round_trip: Span,
    },
    /// How requests travel; nothing, where they go to the nodes themselves.
    Paths(Option<Box<PathReport>>),
    /// Who keeps an inbox, says the node that was asked.
    Swarm {
        /// Which swarm.
        swarm: SwarmId,
        /// Its members.
        members: Vec<Member>,
    },
}

/// Why a command came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The client has no account.
    #[error("only the owner of an inbox may do this, and this client has no account")]
    NoAccount,
    /// An inbox that was named without a key for it.
    #[error("everyone may read some namespaces of an inbox, and that is all: a key is needed")]
    NotPublic,
    /// A number that is in use.
    #[error("command {0} is still running")]
    Running(u64),
    /// Too many commands at once.
    #[error("{limit} commands are running, which is the limit")]
    Busy {
        /// Most commands at once.
        limit: usize,
    },
    /// Refused before anybody was asked: no node would take it.
    #[error("{0}")]
    Invalid(Refusal),
    /// The network has no swarms.
    #[error("no swarm keeps inbox {0:?}: the network has none")]
    NoSwarm(InboxAddress),
    /// Not a node of the network.
    #[error("{0} is not a node of this network")]
    UnknownNode(NodeId),
    /// A node refused, and there was no second one to ask or it refused too.
    #[error("node {node:?}: {refusal}")]
    Refused {
        /// The last node that refused.
        node: NodeId,
        /// Why.
        refusal: Refusal,
    },
    /// A node could not be reached.
    #[error("node {node:?} cannot be reached: {why}")]
    Unreachable {
        /// The node.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// A node did not answer.
    #[error("node {node:?} did not answer within {waited}")]
    NoAnswer {
        /// The node.
        node: NodeId,
        /// How long it was given at least.
        waited: Span,
    },
    /// A node says that an item is stored, and cannot prove it.
    #[error("node {node:?} showed {good} good receipts where {needed} are needed")]
    NotEnoughReceipts {
        /// The node.
        node: NodeId,
        /// Receipts that hold.
        good: usize,
        /// Receipts that make a quorum.
        needed: usize,
    },
    /// A node answered something that no honest node answers.
    #[error("node {node:?} gave a bad answer: {why}")]
    BadAnswer {
        /// The node.
        node: NodeId,
        /// What was wrong.
        why: &'static str,
    },
    /// So many members do not have the card that no quorum can ever have had it.
    #[error("account {0} has published no identity card, or it expired")]
    NoCard(AccountId),
    /// No guard is connected, so that nothing can be sent over hops.
    #[error("none of the {guards} guards can be reached")]
    NoGuard {
        /// Guards there are.
        guards: usize,
    },
    /// The key under which a node opens packets is not known.
    #[error("node {node:?} has published no hop key")]
    NoHopKey {
        /// The node.
        node: NodeId,
    },
    /// There is no path: nodes of one operator, or of one part of the Internet, are not in one.
    #[error(
        "a path needs {hops} nodes of different operators and networks, and there are {fitting} \
         among the {nodes} nodes of this network{}",
        with_keys(*known)
    )]
    TooFewHops {
        /// Hops of a path.
        hops: usize,
        /// Nodes that fit into one path, as far as they are known.
        fitting: usize,
        /// Nodes whose hop keys are known; 0, where nobody was asked for them.
        known: usize,
        /// Nodes of the network.
        nodes: usize,
    },
    /// As many packets are out as may be.
    #[error("as many packets are on their way as may be")]
    NoRoom,
    /// A packet did not come back.
    #[error("a packet to node {node:?} was lost on its way")]
    Lost {
        /// The node.
        node: NodeId,
    },
    /// Time was up.
    #[error("not done within {span}{}", because(last))]
    TimedOut {
        /// The time that the command was given.
        span: Span,
        /// What went wrong last.
        last: Option<Box<Self>>,
    },
    /// Cancelled by the caller.
    #[error("cancelled")]
    Cancelled,
}

fn with_keys(known: usize) -> String {
    if known == 0 { String::new() } else { format!(", {known} of which have published hop keys") }
}

fn because(last: &Option<Box<Error>>) -> String {
    last.as_ref().map_or_else(String::new, |last| format!("; last: {last}"))
}
