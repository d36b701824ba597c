//! The swarm machine: its inputs, its effects, and how it routes between its parts.

use std::sync::Arc;

use session_core::merkle::Proof;
use session_core::{Context, Machine, NodeId, Span, Time};
use session_protocol::inbound::CheckedRequest;
use session_protocol::peer::{ItemKey, Operations, Receipts, ReplicaItem, Replicate, Sync};
use session_protocol::receipt::{SignedRoot, StorageReceipt};
use session_protocol::request::{Item, Push, Reply};
use session_protocol::{Membership, Verified};
use session_storage::Store;

use crate::batches::Batches;
use crate::operations::Counts;
use crate::reconcile::Reconcile;
use crate::replay::Replay;
use crate::replication::{Replication, Settled};
use crate::reuse::Reuse;
use crate::stats::Stats;
use crate::subscriptions::Subscriptions;
use crate::view::{NotANode, View};

/// Somebody who asks: a client's connection or a local caller, numbered by the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requester(pub u64);

/// A message from another member, checked as far as its bytes alone allow.
#[derive(Clone, Debug)]
pub enum PeerMessage {
    /// Items to keep.
    Replicate(Replicate),
    /// The answer to items or operations of ours.
    Receipts(Verified<Receipts>),
    /// Operations to apply.
    Operations(Verified<Operations>),
    /// A step of a reconciliation.
    Sync(Verified<Sync>),
}

/// A message for other members.
#[derive(Clone, Debug)]
pub enum PeerMessageOut {
    /// Items to keep.
    Replicate(Replicate),
    /// The answer to items or operations of theirs.
    Receipts(Receipts),
    /// Operations to apply.
    Operations(Operations),
    /// A step of a reconciliation.
    Sync(Sync),
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A client asked.
    Request {
        /// Who.
        from: Requester,
        /// What.
        request: CheckedRequest,
    },
    /// Another node spoke.
    FromPeer {
        /// Who, known from the connection.
        node: NodeId,
        /// What it said.
        message: PeerMessage,
    },
    /// A node can be reached.
    PeerUp {
        /// Which.
        node: NodeId,
    },
    /// A node can no longer be reached.
    PeerDown {
        /// Which.
        node: NodeId,
    },
    /// A client is gone: its subscriptions and waiting replies are dropped.
    RequesterGone {
        /// Which.
        from: Requester,
    },
    /// The shell signed the receipts of a ticket, after their commit.
    ReceiptsSigned {
        /// The ticket of [`Effect::SignReceipts`].
        ticket: u64,
        /// The signature over all receipts of the commit.
        root: SignedRoot,
        /// One for each receipt of the ticket, in order.
        proofs: Vec<Proof>,
    },
    /// The group of inputs that will be committed together is complete.
    ///
    /// Sent once at the end of each group. Until then items for the other members are gathered, so
    /// that many stores travel in few messages; [`Machine::tick`] does the same.
    Flush,
}

/// What the shell is to do once the transaction is committed.
#[derive(Debug)]
pub enum Effect {
    /// Answer a client.
    Reply {
        /// Whom.
        to: Requester,
        /// With what.
        reply: Reply,
    },
    /// Push an item to a subscriber.
    Push {
        /// Whom.
        to: Requester,
        /// The item.
        push: Push,
    },
    /// Send one message to other members.
    ToPeers {
        /// To whom; all of them were reported up.
        nodes: Vec<NodeId>,
        /// Whether it may wait behind what clients wait for.
        bulk: bool,
        /// The message.
        message: PeerMessageOut,
    },
    /// Sign receipts and answer with [`Input::ReceiptsSigned`].
    ///
    /// The shell gathers the receipts of one commit, signs one root over them after the commit,
    /// and answers each ticket with its own proofs.
    SignReceipts {
        /// Repeated in the answer.
        ticket: u64,
        /// What to sign, at least one.
        receipts: Vec<StorageReceipt>,
    },
    /// A member broke the protocol.
    Misbehaved {
        /// Which.
        node: NodeId,
        /// How.
        why: &'static str,
    },
}

/// The context of every call.
pub(crate) type Cx<'a> = Context<'a, dyn Store, Effect>;

/// What a swarm machine is made for.
#[derive(Clone)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// The network.
    pub membership: Arc<dyn Membership>,
    /// Told to clients that ask for it.
    pub version: String,
    /// How long a store waits for its quorum.
    pub quorum_timeout: Span,
    /// How often expired things are purged.
    pub purge_every: Span,
    /// How often a few buckets are compared with one of the members, in turn.
    pub sweep_every: Span,
}

impl Config {
    /// Returns the usual configuration of a node.
    #[must_use]
    pub fn new(node: NodeId, membership: Arc<dyn Membership>) -> Self {
        Self {
            node,
            membership,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            quorum_timeout: Span::from_secs(5),
            purge_every: Span::from_secs(1),
            sweep_every: Span::from_secs(15),
        }
    }
}

/// How a swarm machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// Members of the swarm that can be reached, this node included.
    pub members_up: usize,
    /// Members of the swarm.
    pub members: usize,
    /// Members that must commit a store.
    pub quorum: usize,
    /// Whether the store takes new items.
    pub writable: bool,
    /// Whether new requests are declined because the node is stopping.
    pub draining: bool,
    /// Stores and operations that wait for other members.
    pub waiting: usize,
    /// Inboxes that are subscribed to.
    pub subscriptions: usize,
    /// Reconciliations under way.
    pub reconciling: usize,
}

/// One node's part in its swarm.
pub struct Swarm {
    pub(crate) config: Config,
    pub(crate) view: View,
    pub(crate) batches: Batches,
    pub(crate) replication: Replication,
    pub(crate) reuse: Reuse,
    pub(crate) counts: Counts,
    pub(crate) replay: Replay,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) reconcile: Reconcile,
    pub(crate) stats: Stats,
    pub(crate) writable: bool,
    pub(crate) draining: bool,
    next_purge: Time,
}

impl Swarm {
    /// Makes the machine of a node of the network.
    ///
    /// # Errors
    /// When the membership does not know the node.
    pub fn new(config: Config) -> Result<Self, NotANode> {
        let view = View::new(Arc::clone(&config.membership), config.node)?;
        Ok(Self {
            config,
            view,
            batches: Batches::default(),
            replication: Replication::default(),
            reuse: Reuse::default(),
            counts: Counts::default(),
            replay: Replay::default(),
            subscriptions: Subscriptions::default(),
            reconcile: Reconcile::default(),
            stats: Stats::default(),
            writable: true,
            draining: false,
            next_purge: Time::ZERO,
        })
    }

    /// Returns the other members of this node's swarm, ordered by id.
    pub fn mates(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.view.mates.iter().copied()
    }

    /// Declines new requests from here on; what is under way is finished.
    pub const fn drain(&mut self) {
        self.draining = true;
    }

    /// Returns what the machine has done so far.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Returns how the machine is.
    #[must_use]
    pub fn health(&self) -> Health {
        Health {
            members_up: self.replication.peers_up() + 1,
            members: self.view.size(),
            quorum: self.view.quorum,
            writable: self.writable,
            draining: self.draining,
            waiting: self.replication.waiting(),
            subscriptions: self.subscriptions.len(),
            reconciling: self.reconcile.sessions(),
        }
    }

    /// Pushes a newly stored item to those who subscribed to its inbox.
    pub(crate) fn push(
        &mut self,
        cx: &mut Cx<'_>,
        item: &ReplicaItem,
        key: &ItemKey,
        arrival: u64,
        expiry: Time,
    ) {
        let ReplicaItem { address, namespace, timestamp, .. } = *item;
        let incarnation = cx.store.incarnation();
        for to in self.subscriptions.of(&address, namespace) {
            self.stats.items_pushed += 1;
            let (id, data) = (key.message, item.data.clone());
            let item = Item { id, namespace, timestamp, expiry, arrival, data };
            cx.effects.push(Effect::Push { to, push: Push { address, incarnation, item } });
        }
    }

    /// Hands settled stores and operations to the replies that wait for them.
    pub(crate) fn deliver(&mut self, cx: &mut Cx<'_>, settled: Vec<Settled>) {
        for Settled { slot, done } in settled {
            self.stats.quorum_missed += u64::from(done.is_missed());
            self.batches.finish(cx, &mut self.stats, slot, done);
        }
    }

    pub(crate) fn misbehaved(&mut self, cx: &mut Cx<'_>, node: NodeId, why: &'static str) {
        self.stats.misbehaved += 1;
        cx.effects.push(Effect::Misbehaved { node, why });
    }

    fn heard(&mut self, cx: &mut Cx<'_>, node: NodeId, message: PeerMessage) {
        if !self.view.mates.contains(&node) {
            return self.misbehaved(cx, node, "swarm message from a node of another swarm");
        }
        match message {
            PeerMessage::Replicate(replicate) => self.replicated(cx, node, replicate),
            PeerMessage::Receipts(receipts) => {
                let receipts = receipts.into_inner();
                match self.replication.answered(&self.view, node, &receipts) {
                    Ok(answer) => {
                        for bucket in answer.behind {
                            self.reconcile.want(node, bucket, cx.now);
                        }
                        for bucket in answer.refused {
                            self.reconcile.want_later(node, bucket, cx.now);
                        }
                        self.deliver(cx, answer.settled);
                    }
                    Err(fault) => {
                        self.deliver(cx, fault.settled);
                        self.misbehaved(cx, node, fault.why);
                    }
                }
            }
            PeerMessage::Operations(operations) => {
                self.operations_received(cx, node, operations.into_inner());
            }
            PeerMessage::Sync(sync) => self.sync_received(cx, node, sync.into_inner()),
        }
    }

    fn peer_up(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        if self.view.mates.contains(&node) {
            self.replication.peer_up(node);
            self.reconcile.peer_up(cx, self.view.node, node);
            self.pump_sync(cx);
        }
    }

    fn peer_down(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        self.reconcile.peer_down(node);
        let settled = self.replication.peer_down(&self.view, node);
        self.deliver(cx, settled);
    }

    pub(crate) fn flush(&mut self, cx: &mut Cx<'_>) {
        let flushed = self.replication.flush(cx, &self.view, &mut self.stats);
        for (node, bucket) in flushed.behind {
            self.reconcile.want(node, bucket, cx.now);
        }
        self.deliver(cx, flushed.settled);
    }
}

impl Machine for Swarm {
    type Store = dyn Store;
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, cx: &mut Cx<'_>, input: Input) {
        match input {
            Input::Request { from, request } => self.request(cx, from, request),
            Input::FromPeer { node, message } => self.heard(cx, node, message),
            Input::PeerUp { node } => self.peer_up(cx, node),
            Input::PeerDown { node } => self.peer_down(cx, node),
            Input::RequesterGone { from } => {
                self.batches.forget(from);
                self.subscriptions.forget(from);
            }
            Input::ReceiptsSigned { ticket, root, proofs } => {
                let settled = self.replication.signed(cx, &self.view, ticket, &root, proofs);
                self.deliver(cx, settled);
            }
            Input::Flush => self.flush(cx),
        }
    }

    fn deadline(&self) -> Option<Time> {
        [self.replication.deadline(), self.reconcile.deadline(), self.replay.deadline()]
            .into_iter()
            .flatten()
            .fold(self.next_purge, Time::min)
            .into()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        self.view.refresh();
        self.tick_replay(cx);
        self.flush(cx);
        let overdue = self.replication.overdue(cx.now, &self.view);
        for (node, bucket) in overdue.behind {
            self.reconcile.want(node, bucket, cx.now);
        }
        self.deliver(cx, overdue.settled);
        if self.next_purge <= cx.now {
            let purged = cx.store.purge(cx.now);
            self.stats.purged += purged.items + purged.records;
            self.reuse.purge(cx.now);
            // With more to purge the next tick follows at once, after other work had its turn.
            let pause = if purged.more { Span::from_millis(1) } else { self.config.purge_every };
            self.next_purge = cx.now + pause;
        }
        self.tick_sync(cx);
    }
}
