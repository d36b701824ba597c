//! What a command asks of a node, and how it judges the answer.

use session_core::{Entropy, InboxAddress, List, Namespace, NodeId, Span, SwarmId, Time};
use session_crypto::Signer;
use session_protocol::inbox::{AccessRule, Capability, message_id};
use session_protocol::limits::{ITEM_BYTES_MAX, OPERATIONS_MAX, PAGE_BYTES_MAX};
use session_protocol::owner::{OwnerAction, OwnerOperation};
use session_protocol::request::{Cursor, Item, Operation, Outcome, Refusal, Reply, Request};
use session_protocol::{Membership, NetworkId};

use crate::command::{Answer, Error, Inbox};
use crate::nodes::Nodes;
use crate::puzzles::Puzzles;
use crate::receipts::Auditor;

mod fetch;
mod one;
mod poll;
mod read;
mod store;
mod wait;

pub(crate) use fetch::Fetching;
pub(crate) use one::{One, Wish};
pub(crate) use poll::{Polling, Query};
pub(crate) use read::Reading;
pub(crate) use store::Storing;
pub(crate) use wait::{Awaited, Waiting};

/// Most item bytes that a node is asked for, and sent, at once.
pub(crate) const BATCH_BYTES_MAX: usize = PAGE_BYTES_MAX;

/// Items of one request that goes over hops: more receipts would not fit a usual answer.
pub(crate) const ROUTED_ITEMS_MAX: usize = 4;

/// What a command does, and how far it is.
pub(crate) enum Work {
    Store(Storing),
    Read(Reading),
    Fetch(Fetching),
    Poll(Polling),
    Wait(Waiting),
    One(One),
}

/// How much one request may hold, and its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Item bytes of a reply.
    pub(crate) page_bytes: usize,
    /// Item bytes of a request; one item may be longer.
    pub(crate) store_bytes: usize,
    /// Items of a request.
    pub(crate) store_items: usize,
}

impl Room {
    /// Of a request to the node itself.
    pub(crate) const DIRECT: Self = Self {
        page_bytes: BATCH_BYTES_MAX,
        store_bytes: BATCH_BYTES_MAX,
        store_items: OPERATIONS_MAX,
    };
}

/// Bytes of a reply with the receipts of one member: a signed root.
const ROOT_BYTES: usize = 3_700;

/// Bytes of a receipt beside it, where a member signed for a few items at once.
const RECEIPT_BYTES: usize = 400;

/// Bytes of a reply besides.
const REPLY_BYTES: usize = 512;

/// What is at hand when a node is asked.
pub(crate) struct Asking<'a> {
    pub(crate) network: NetworkId,
    pub(crate) account: Option<&'a dyn Signer>,
    pub(crate) nodes: &'a Nodes,
    pub(crate) puzzles: &'a Puzzles,
    pub(crate) node: NodeId,
    pub(crate) now: Time,
    pub(crate) room: Room,
    pub(crate) rng: &'a mut dyn Entropy,
}

/// What is at hand when a node has answered.
pub(crate) struct Judging<'a> {
    pub(crate) membership: &'a dyn Membership,
    pub(crate) auditor: &'a mut Auditor,
    pub(crate) nodes: &'a mut Nodes,
    pub(crate) puzzles: &'a mut Puzzles,
    pub(crate) node: NodeId,
    pub(crate) swarm: Option<SwarmId>,
    pub(crate) now: Time,
    pub(crate) round_trip: Span,
}

/// What must be remembered of a request until its reply.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sent {
    /// The timestamp in it.
    pub(crate) timestamp: Time,
    /// Which of the items it was about.
    pub(crate) indexes: Vec<usize>,
    /// Where reading was to start.
    pub(crate) cursor: Cursor,
}

/// How it goes on after an answer.
#[derive(Debug)]
pub(crate) enum Step {
    /// This node has given what was wanted of it.
    Done,
    /// It gave a part: ask it for the rest.
    More,
    /// Ask it again, in other words; once.
    Again(Error),
    /// Ask it again after a while.
    After(Span, Error),
    /// It cannot now: ask another one.
    Other(Error),
    /// It is fine, but does not have what is wanted.
    Elsewhere(Error),
    /// It says that nobody would do this: ask one more, who may disagree.
    Fatal(Error),
    /// It did what no honest node does.
    Lie(Error),
    /// It says that another swarm is responsible.
    Redirect(SwarmId, Error),
}

impl Work {
    /// Makes the operations for one request, or says why there are none.
    pub(crate) fn ask(&mut self, asking: &mut Asking<'_>) -> Result<(Vec<Operation>, Sent), Error> {
        match self {
            Self::Store(storing) => Ok(storing.ask(asking)),
            Self::Read(reading) => reading.ask(asking),
            Self::Fetch(fetching) => fetching.ask(asking),
            Self::Poll(polling) => polling.ask(asking),
            Self::Wait(waiting) => waiting.ask(asking),
            Self::One(one) => one.ask(asking),
        }
    }

    /// Judges a reply. The number of outcomes may still be wrong.
    pub(crate) fn judge(&mut self, judging: &mut Judging<'_>, sent: &Sent, reply: Reply) -> Step {
        match self {
            Self::Store(storing) => storing.judge(judging, sent, reply),
            Self::Read(reading) => single(judging, reply, |j, o| reading.judge(j, sent, o)),
            Self::Fetch(fetching) => single(judging, reply, |j, o| fetching.judge(j, o)),
            Self::Poll(polling) => polling.judge(judging, reply),
            Self::Wait(waiting) => waiting.judge(judging, reply),
            Self::One(one) => single(judging, reply, |j, o| one.judge(j, o)),
        }
    }

    /// Returns the answer once every part of it is there.
    pub(crate) fn answer(&mut self) -> Option<Answer> {
        match self {
            Self::Store(storing) => storing.answer(),
            Self::Read(reading) => reading.answer(),
            Self::Fetch(fetching) => fetching.answer(),
            Self::Poll(_) => Some(Polling::answer()),
            Self::Wait(waiting) => waiting.answer(),
            Self::One(one) => one.answer.take(),
        }
    }

    /// Returns what there is when time is up, if that is worth anything.
    pub(crate) fn partial(&mut self) -> Option<Answer> {
        match self {
            Self::Read(reading) => reading.answer(),
            Self::Fetch(fetching) => fetching.partial(),
            Self::Poll(_) => Some(Polling::answer()),
            Self::Store(_) | Self::Wait(_) | Self::One(_) => None,
        }
    }

    /// Returns how many items are done, of how many, where that is counted.
    pub(crate) fn progress(&self) -> Option<(usize, usize)> {
        match self {
            Self::Store(storing) => Some(storing.progress()),
            Self::Fetch(fetching) => Some(fetching.progress()),
            Self::Read(_) | Self::Poll(_) | Self::Wait(_) | Self::One(_) => None,
        }
    }

    /// Tells whether two nodes may be asked at once. Not to push: both would. Nor to wait, which
    /// takes as long as it takes.
    pub(crate) const fn may_hedge(&self) -> bool {
        !matches!(self, Self::Wait(_) | Self::One(One { wish: Wish::Subscribe { .. }, .. }))
    }

    /// Returns how long a node is asked to wait, where it is.
    pub(crate) const fn waits(&self) -> Option<Span> {
        match self {
            Self::Wait(waiting) => Some(waiting.wait()),
            _ => None,
        }
    }

    /// Returns how many bytes a reply takes, where its length is fixed before it is asked for.
    pub(crate) fn room_bytes(&self, quorum: usize) -> usize {
        match self {
            Self::Store(storing) => {
                let items = storing.progress().1.min(ROUTED_ITEMS_MAX);
                REPLY_BYTES + quorum * (ROOT_BYTES + items * RECEIPT_BYTES)
            }
            Self::Read(reading) => reading.room_bytes(),
            Self::Fetch(fetching) => REPLY_BYTES + fetching.bytes_max().min(ITEM_BYTES_MAX),
            Self::Poll(polling) => polling.room_bytes(),
            Self::Wait(_) => REPLY_BYTES,
            Self::One(one) => one.room_bytes(),
        }
    }

    /// Returns the nodes that were read from before: what they tell is not all of it again.
    pub(crate) fn known_places(&self) -> Vec<NodeId> {
        match self {
            Self::Read(reading) => reading.places(),
            Self::Poll(polling) => polling.places(),
            Self::Wait(waiting) => waiting.places(),
            Self::Store(_) | Self::Fetch(_) | Self::One(_) => Vec::new(),
        }
    }

    /// Returns how many item bytes a reply is likely to bring at most.
    pub(crate) fn reply_bytes(&self) -> usize {
        match self {
            // Most readings are polls: what is longer is learned from how long it takes.
            Self::Read(_) | Self::Poll(_) => BATCH_BYTES_MAX / 4,
            Self::Fetch(fetching) => fetching.bytes_max().min(BATCH_BYTES_MAX),
            Self::Store(_) | Self::Wait(_) | Self::One(_) => 0,
        }
    }

    /// Tells whether a node that did it has seen the account's keys.
    pub(crate) const fn is_signed(&self) -> bool {
        match self {
            Self::Read(reading) => reading.is_signed(),
            Self::Fetch(fetching) => fetching.is_signed(),
            Self::One(one) => one.is_signed(),
            Self::Store(_) | Self::Poll(_) | Self::Wait(_) => false,
        }
    }

    /// Tells whether the parts of this work are to be asked of different nodes, the first of which
    /// answers alone if it must.
    pub(crate) const fn is_read(&self) -> bool {
        matches!(self, Self::Read(_) | Self::Poll(_))
    }
}

fn single(
    judging: &mut Judging<'_>,
    reply: Reply,
    judge: impl FnOnce(&mut Judging<'_>, Outcome) -> Step,
) -> Step {
    let mut outcomes = reply.outcomes.into_iter();
    match (outcomes.next(), outcomes.next()) {
        (Some(Outcome::Refused { refusal }), None) => refused(judging, refusal),
        (Some(outcome), None) => judge(judging, outcome),
        _ => lie(judging.node, "one outcome was due"),
    }
}

fn lie(node: NodeId, why: &'static str) -> Step {
    Step::Lie(Error::BadAnswer { node, why })
}

/// What a refusal means for the way on; what it says of clock and keys is noted.
fn refused(judging: &mut Judging<'_>, refusal: Refusal) -> Step {
    let node = judging.node;
    let error = Error::Refused { node, refusal: refusal.clone() };
    match refusal {
        Refusal::Clock { server_time, .. } => {
            judging.nodes.set_clock(node, server_time, judging.now);
            Step::Again(error)
        }
        Refusal::UnknownKeys => {
            judging.nodes.set_knows_keys(node, false);
            Step::Again(error)
        }
        Refusal::SignatureReused => Step::Again(error),
        Refusal::RateLimited { retry_after } => Step::After(retry_after, error),
        Refusal::WrongSwarm { swarm, .. } => Step::Redirect(swarm, error),
        Refusal::NotReady { .. }
        | Refusal::NotEnoughReplicas { .. }
        | Refusal::DiskFull
        | Refusal::WrongNode { .. }
        | Refusal::Internal { .. } => Step::Other(error),
        _ => Step::Fatal(error),
    }
}

/// An inbox that is asked for something, and its proof of being allowed to.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) address: InboxAddress,
    key: Key,
}

#[derive(Clone, Debug)]
enum Key {
    /// The client's account signs.
    Account,
    Token(AccessRule, Capability),
    /// None is needed, or none is there.
    Open,
}

impl Door {
    /// Finds the way into an inbox; `own` is that of the client's account.
    pub(crate) fn new(inbox: Inbox, own: Option<InboxAddress>) -> Result<Self, Error> {
        Ok(match inbox {
            Inbox::Own => Self { address: own.ok_or(Error::NoAccount)?, key: Key::Account },
            Inbox::Mailbox { rule, token } => {
                Self { address: rule.address(), key: Key::Token(rule, token) }
            }
            Inbox::Public { address } => Self { address, key: Key::Open },
        })
    }

    pub(crate) const fn is_signed(&self) -> bool {
        matches!(self.key, Key::Account)
    }

    /// Tells whether something can be done that not everyone may do.
    pub(crate) const fn has_key(&self) -> bool {
        !matches!(self.key, Key::Open)
    }

    /// Asks for an action, with a proof for the node that is asked; by its clock, if it complained
    /// about ours.
    fn ask(&self, asking: &mut Asking<'_>, action: OwnerAction) -> Result<Operation, Error> {
        let now = asking.nodes.time_at(&asking.node, asking.now);
        let operation = match &self.key {
            Key::Account => {
                let account = asking.account.ok_or(Error::NoAccount)?;
                let mut operation =
                    OwnerOperation::sign(asking.network, account, action, now, &mut *asking.rng);
                if asking.nodes.knows_keys(&asking.node) {
                    operation.authorization.leave_out_keys();
                }
                operation
            }
            Key::Token(rule, token) => {
                OwnerOperation::with_token(*rule, token.clone(), action, now, &mut *asking.rng)
            }
            Key::Open => {
                return match action {
                    OwnerAction::Retrieve { namespace, select, bytes_max, .. } => {
                        let address = self.address;
                        Ok(Operation::RetrievePublic { address, namespace, select, bytes_max })
                    }
                    _ => Err(Error::NotPublic),
                };
            }
        };
        Ok(Operation::Owner { operation: Box::new(operation) })
    }
}

/// Most item bytes of one of several readings in one request.
fn share_of(asking: &Asking<'_>, readings: usize) -> u32 {
    u32::try_from(asking.room.page_bytes / readings.max(1)).expect("below a frame")
}

fn bytes_max(asking: &Asking<'_>) -> u32 {
    share_of(asking, 1)
}

/// Keeps the items that are what their id says; notes a node that sent others.
fn genuine(
    judging: &mut Judging<'_>,
    address: &InboxAddress,
    namespace: Namespace,
    items: impl IntoIterator<Item = Item>,
) -> Vec<Item> {
    let mut all = true;
    let mut good = Vec::new();
    for item in items {
        if is_genuine(address, namespace, &item) {
            good.push(item);
        } else {
            all = false;
        }
    }
    if !all {
        judging.nodes.lied(judging.node);
    }
    good
}

/// Tells whether an item is what its id says.
pub(crate) fn is_genuine(address: &InboxAddress, namespace: Namespace, item: &Item) -> bool {
    item.namespace == namespace && item.id == message_id(address, namespace, &item.data)
}

/// Returns how many members must lack an item before it is certain that no quorum has it.
fn witnesses(judging: &Judging<'_>) -> usize {
    let members = judging.swarm.map_or(0, |swarm| judging.membership.members(swarm).len());
    members - session_core::committee::quorum(members).map_or(members, |quorum| quorum - 1)
}

/// Joins operations to a request.
pub(crate) fn request(id: u64, operations: Vec<Operation>) -> Request {
    Request { id, operations: List::new(operations).expect("cut to batches of the limit") }
}
