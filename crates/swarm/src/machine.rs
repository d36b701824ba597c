//! The swarm machine: its inputs, its effects, and how it routes between its parts.

use std::collections::BTreeSet;
use std::sync::Arc;

use session_core::merkle::Proof;
use session_core::{Context, Epoch, Machine, NodeId, Span, Time};
use session_protocol::inbound::CheckedRequest;
use session_protocol::peer::{
    ItemKey, Operations, Receipts, ReplicaItem, ReplicaOutcome, Replicate, Sync,
};
use session_protocol::receipt::{SignedRoot, StorageReceipt};
use session_protocol::request::{Item, Push, Refusal, Reply};
use session_protocol::{Membership, Verified};
use session_storage::Store;

use crate::batches::Batches;
use crate::complete::Complete;
use crate::coordinator::Promise;
use crate::handover::{Handover, Progress};
use crate::operations::Counts;
use crate::reconcile::Reconcile;
use crate::replay::Replay;
use crate::replication::{Replication, Settled};
use crate::reuse::Reuse;
use crate::stats::Stats;
use crate::strangers::Strangers;
use crate::subscriptions::Subscriptions;
use crate::view::View;

/// Somebody who asks: a client's connection or a local caller, numbered by the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requester(pub u64);

/// A message from another member, checked as far as its bytes alone allow.
#[derive(Clone, Debug)]
pub enum PeerMessage {
    /// Items to keep.
    Replicate(Verified<Replicate>),
    /// The answer to items or operations of ours.
    Receipts(Verified<Receipts>),
    /// Operations to apply.
    Operations(Verified<Operations>),
    /// A step of a reconciliation.
    Sync(Verified<Sync>),
    /// Everything that the sender's swarm keeps is with the sender.
    Taken {
        /// Height of the sender's view of the network, as a number of an epoch.
        epoch: Epoch,
    },
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
    /// Everything that this node's swarm keeps is here.
    Taken {
        /// Height of this node's view of the network, as a number of an epoch.
        epoch: Epoch,
    },
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
    /// The network is another one now.
    ///
    /// To be fed before anything else after a start, and whenever the view changes.
    Membership {
        /// What it is now.
        current: Arc<dyn Membership>,
        /// What it was before the swarms changed last; the same while they never did.
        former: Arc<dyn Membership>,
    },
    /// Compare everything with these members of the swarm now.
    Compare {
        /// Which.
        nodes: Vec<NodeId>,
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
    /// One of the receipts that members sign for items which they took from here, now and then:
    /// worth asking about later.
    Promised {
        /// The receipt.
        promise: Box<Promise>,
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
    /// How far the hand-over of inboxes is, while there is one.
    pub handing_over: Option<Progress>,
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
    pub(crate) strangers: Strangers,
    pub(crate) reconcile: Reconcile,
    pub(crate) handover: Handover,
    pub(crate) complete: Complete,
    /// Nodes that can be reached, members or not.
    pub(crate) up: BTreeSet<NodeId>,
    pub(crate) stats: Stats,
    pub(crate) writable: bool,
    pub(crate) draining: bool,
    next_purge: Time,
}

impl Swarm {
    /// Makes the machine of a node, which may have a seat in a swarm or none.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let view = View::new(Arc::clone(&config.membership), config.node);
        Self {
            config,
            view,
            batches: Batches::default(),
            replication: Replication::default(),
            reuse: Reuse::default(),
            counts: Counts::default(),
            replay: Replay::default(),
            subscriptions: Subscriptions::default(),
            strangers: Strangers::default(),
            reconcile: Reconcile::default(),
            handover: Handover::default(),
            complete: Complete::default(),
            up: BTreeSet::new(),
            stats: Stats::default(),
            writable: true,
            draining: false,
            next_purge: Time::ZERO,
        }
    }

    /// Returns the other members of this node's swarm, ordered by id.
    pub fn mates(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.view.mates.iter().copied()
    }

    /// Returns the nodes to be connected to: the other members, those that inboxes are fetched
    /// from, and those that inboxes are held for.
    pub fn partners(&self) -> impl Iterator<Item = NodeId> + '_ {
        let mut partners = self.handover.partners(&self.view);
        partners.extend(&self.view.mates);
        partners.into_iter()
    }

    /// Returns how far the hand-over of inboxes is; `None` when nothing is left to hand over.
    #[must_use]
    pub fn handing_over(&self) -> Option<Progress> {
        self.handover.progress()
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
            members_up: self.replication.peers_up() + usize::from(self.view.swarm.is_some()),
            members: self.view.size(),
            quorum: self.view.quorum,
            writable: self.writable,
            draining: self.draining,
            waiting: self.replication.waiting(),
            subscriptions: self.subscriptions.len(),
            reconciling: self.reconcile.sessions(),
            handing_over: self.handing_over(),
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
        match message {
            PeerMessage::Sync(sync) => return self.sync_received(cx, node, sync.into_inner()),
            PeerMessage::Taken { epoch } => return self.taken(cx, node, epoch),
            _ => {}
        }
        if !self.view.mates.contains(&node) {
            return self.heard_stranger(cx, node, &message);
        }
        match message {
            PeerMessage::Replicate(replicate) => {
                self.replicated(cx, node, replicate.into_inner());
            }
            PeerMessage::Receipts(receipts) => {
                let receipts = receipts.into_inner();
                let sample = self.sample(cx, node, receipts.outcomes.len());
                match self.replication.answered(&self.view, node, &receipts, sample) {
                    Ok(answer) => {
                        cx.effects
                            .extend(answer.promise.map(|promise| Effect::Promised { promise }));
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
            PeerMessage::Sync(_) | PeerMessage::Taken { .. } => {}
        }
    }

    /// Returns which of an answer's receipts to keep, if any: only chains ask for them later.
    fn sample(&mut self, cx: &mut Cx<'_>, node: NodeId, receipts: usize) -> Option<usize> {
        let is_due = self.view.membership().height() > 0
            && receipts > 0
            && self.replication.may_sample(node, cx.now);
        is_due.then(|| cx.rng.below(receipts as u64) as usize)
    }

    // Nobody learns of a change at the same moment: a node that is no member here may be one in
    // its own view, or may have been one. It is told at once, so that nothing waits for it.
    fn heard_stranger(&mut self, cx: &mut Cx<'_>, node: NodeId, message: &PeerMessage) {
        if self.view.membership().height() == 0 {
            return self.misbehaved(cx, node, "swarm message from a node of another swarm");
        }
        let (id, count) = match message {
            PeerMessage::Replicate(replicate) => (replicate.id, replicate.items.len()),
            PeerMessage::Operations(operations) => (operations.id, operations.operations.len()),
            _ => return,
        };
        let code = Refusal::not_ready("no member of that swarm").code();
        let outcomes = vec![ReplicaOutcome::Refused { code }; count];
        self.replication.answer(cx, node, id, outcomes, Vec::new());
    }

    fn peer_up(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        self.up.insert(node);
        let is_mate = self.view.mates.contains(&node);
        if is_mate {
            self.replication.peer_up(node);
        }
        self.reconcile.peer_up(cx, self.view.node, node, is_mate);
        self.compare_if_incomplete(cx, node);
        self.tell_taken(cx, &[node]);
        self.pump_sync(cx);
    }

    fn peer_down(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        self.up.remove(&node);
        self.end_sessions(node);
        let settled = self.replication.peer_down(node);
        self.deliver(cx, settled);
    }

    pub(crate) fn flush(&mut self, cx: &mut Cx<'_>) {
        let flushed = self.replication.flush(cx, &mut self.stats);
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
        self.recall(cx);
        self.recall_complete(cx);
        match input {
            Input::Request { from, request } => self.request(cx, from, request),
            Input::FromPeer { node, message } => self.heard(cx, node, message),
            Input::PeerUp { node } => self.peer_up(cx, node),
            Input::PeerDown { node } => self.peer_down(cx, node),
            Input::Membership { current, former } => self.membership(cx, current, &*former),
            Input::Compare { nodes } => self.compare(cx, &nodes),
            Input::RequesterGone { from } => {
                self.handover.forget(from);
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
        let parts = [self.replication.deadline(), self.reconcile.deadline()];
        [self.replay.deadline(), self.handover.deadline()]
            .into_iter()
            .chain(parts)
            .flatten()
            .fold(self.next_purge, Time::min)
            .into()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        self.recall(cx);
        self.tick_replay(cx);
        self.flush(cx);
        let overdue = self.replication.overdue(cx.now);
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
        self.tick_handover(cx);
        self.tick_sync(cx);
    }
}
