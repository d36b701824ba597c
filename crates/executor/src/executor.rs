//! All workload sessions of a node: its inputs, its effects, and how it routes between its parts.
//!
//! A session that waits for its turn is a few words here and the chain's view of it; its program and
//! its input are read when it begins. What ended is read from its journal when somebody asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::{Digest, Machine, NodeId, RequestId, SessionId, Time};
use session_crypto::{Signer, Verifier};
use session_protocol::Verified;
use session_protocol::chain::Action;
use session_protocol::chain::view::ChainView;
use session_protocol::evidence::Evidence;
use session_protocol::workload::Message;
use session_protocol::workload::message::{Answer, Question, SessionRefusal, Talk};
use session_protocol::workload::oracle::{Fault, Observation, Pin};
use session_storage::Store;

use crate::blobs::Blobs;
use crate::engine::{Job, Ran};
use crate::facts::Fetch;
use crate::session::{Heard, Session};

mod answers;
mod begin;
mod cache;
mod chain;
mod early;
mod ended;
mod forward;
mod proof;
mod queue;
mod watch;

use cache::Cache;
use chain::Submissions;
use early::Early;
use ended::Ended;
use forward::Forwards;
use proof::Proofs;
use queue::Queue;
use watch::Watch;

pub(crate) use crate::session::Cx;

/// What an executor is made for.
#[derive(Clone)]
pub struct Config {
    /// This node.
    pub node: NodeId,
    /// Its keys.
    pub keys: Arc<dyn Signer>,
    /// Checks what others signed.
    pub verifier: Arc<dyn Verifier>,
    /// Most sessions that run at once; others wait in their pending state.
    pub sessions_max: usize,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A block was accepted.
    View(Arc<ChainView>),
    /// Another node spoke of sessions; its signatures were checked.
    FromPeer {
        /// Who, known from the connection.
        node: NodeId,
        /// What it said.
        message: Box<Verified<Message>>,
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
    /// A local caller brings a program or an input; answered by [`Effect::Stored`].
    Put {
        /// Repeated in the answer.
        id: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A local caller brought all of a session: its committee is told. The seed's `CreateSession`.
    /// Answered by [`Effect::Answer`].
    Create {
        /// Repeated in the answer.
        id: u64,
        /// Which; the chain must know it, or will soon.
        session: SessionId,
        /// The workload.
        program: Digest,
        /// The input.
        input: Digest,
    },
    /// A local caller asks; the node asks a member if it is none itself. Answered by
    /// [`Effect::Answer`].
    Ask {
        /// Repeated in the answer.
        id: u64,
        /// What.
        question: Question,
    },
    /// The answer to [`Effect::Run`].
    Ran(Box<Ran>),
    /// The answer to [`Effect::Fetch`].
    Fetched {
        /// The session.
        session: SessionId,
        /// The attempt.
        request: RequestId,
        /// What came of it.
        outcome: Outcome,
    },
}

/// What came of asking the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An observation, or what came of a write.
    Observed {
        /// It.
        observation: Observation,
        /// Bytes that were received for it.
        received: u64,
    },
    /// The block to look at.
    Pinned(Result<Pin, Fault>),
    /// Whether the write happened.
    Confirmed(Result<(), Fault>),
}

/// What the shell is to do once the transaction is committed.
#[derive(Debug)]
pub enum Effect {
    /// Send a message; to nodes that are not connected it is lost.
    Send {
        /// To whom.
        nodes: Vec<NodeId>,
        /// What.
        message: Message,
    },
    /// Be connected to these nodes, and to no others for sessions.
    Connect {
        /// Which.
        nodes: BTreeSet<NodeId>,
    },
    /// Run a program on; answered by [`Input::Ran`].
    Run(Box<Job>),
    /// Nobody needs what the runner holds of a session.
    Forget {
        /// Which.
        session: SessionId,
    },
    /// Ask the world; answered by [`Input::Fetched`].
    Fetch(Box<Fetch>),
    /// Hand the chain a transaction of the node's own account.
    Submit {
        /// What it orders.
        action: Action,
    },
    /// Keep evidence, and hand it to the chain.
    Accuse {
        /// What a node signed.
        evidence: Box<Evidence>,
    },
    /// The answer to [`Input::Put`].
    Stored {
        /// The caller's.
        id: u64,
        /// The name of what was brought, or why it was not taken.
        result: Result<Digest, SessionRefusal>,
    },
    /// The answer to [`Input::Ask`] and [`Input::Create`].
    Answer {
        /// The caller's.
        id: u64,
        /// What.
        answer: Answer,
    },
    /// A node broke the rules.
    Misbehaved {
        /// Who.
        node: NodeId,
        /// How.
        why: &'static str,
    },
    /// Something to tell people.
    Note(Note),
}

/// What an executor tells people.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// A session began.
    Started {
        /// Which.
        session: SessionId,
    },
    /// A step that asked the world was decided.
    Decided {
        /// The session.
        session: SessionId,
        /// The step.
        step: u32,
        /// The attempt.
        retry: u32,
    },
    /// A session ended.
    Ended {
        /// Which.
        session: SessionId,
        /// Why it failed, if it did.
        failed: Option<String>,
    },
    /// This member computed something else than its own journal or a quorum says: its engine or its
    /// memory is broken, or that of the others.
    Diverged {
        /// The session.
        session: SessionId,
    },
    /// A journal cannot be read; its session is given up here.
    BadJournal {
        /// The session.
        session: SessionId,
        /// Why.
        why: String,
    },
    /// The store failed.
    StoreFailed {
        /// What was being done.
        doing: &'static str,
    },
}

/// The machine: all workload sessions of a node.
pub struct Executor {
    config: Arc<Config>,
    /// Whether the journals were read.
    recovered: bool,
    view: Option<Arc<ChainView>>,
    up: BTreeSet<NodeId>,
    /// The nodes of the last [`Effect::Connect`].
    connected: BTreeSet<NodeId>,
    blobs: Blobs,
    cache: Cache,
    queue: Queue,
    active: BTreeMap<SessionId, Box<Session>>,
    watch: Watch,
    ended: Ended,
    early: Early,
    submissions: Submissions,
    forwards: Forwards,
    proofs: Proofs,
}

impl Executor {
    /// Makes the machine. It reads the journals of its store with its first input or tick.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config: Arc::new(config),
            recovered: false,
            view: None,
            up: BTreeSet::new(),
            connected: BTreeSet::new(),
            blobs: Blobs::default(),
            cache: Cache::default(),
            queue: Queue::default(),
            active: BTreeMap::new(),
            watch: Watch::default(),
            ended: Ended::default(),
            early: Early::default(),
            submissions: Submissions::default(),
            forwards: Forwards::default(),
            proofs: Proofs::default(),
        }
    }

    /// Returns how many sessions run here.
    #[must_use]
    pub fn running(&self) -> usize {
        self.active.len()
    }

    /// Returns how many sessions wait here for their programs or their turn.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.queue.len()
    }

    fn heard(&mut self, cx: &mut Cx<'_>, node: NodeId, message: Message) {
        match message {
            Message::Create(create) => self.offered(cx, node, &create),
            Message::Start(_) => {
                // Members begin by themselves; this only says that nobody need wait.
            }
            Message::Talk(talk) => match *talk {
                Talk::Want { blob, offset } => self.blobs.wanted(cx, node, blob, offset),
                Talk::Lacks { blob } => self.blobs.lacks(cx, &self.up, node, blob),
                Talk::Part { blob, total, offset, bytes } => {
                    let at = (blob, total, offset);
                    if let Some(blob) = self.blobs.arrived(cx, &self.up, node, at, &bytes) {
                        self.blob_came(cx, &blob);
                    }
                }
                Talk::Ask { id, question } => self.asked_by_peer(cx, node, id, &question),
                Talk::Answer { id, answer } => self.forwards.answered(cx, node, id, answer),
                other => self.pass_on(cx, node, Message::Talk(Box::new(other))),
            },
            other => self.pass_on(cx, node, other),
        }
    }

    /// A member of a committee speaks to the others.
    fn pass_on(&mut self, cx: &mut Cx<'_>, node: NodeId, message: Message) {
        let Some(id) = session_of(&message) else { return };
        let Some(session) = self.active.get_mut(&id) else {
            return self.nobody_runs(cx, node, id, message);
        };
        if !session.facts().members.iter().any(|(member, _)| *member == node) {
            let why = "it speaks in a session of which it is no member";
            return cx.effects.push(Effect::Misbehaved { node, why });
        }
        let before = session.history().state;
        match session.hear(cx, node, message) {
            Heard::Done => {}
            Heard::Early(message) => self.early.keep(cx.now, id, node, message),
            Heard::Foreign(why) => cx.effects.push(Effect::Misbehaved { node, why }),
        }
        self.moved(cx, id, before);
    }

    /// Somebody speaks to a session that does not run here: it has ended, or is still to begin.
    fn nobody_runs(&mut self, cx: &mut Cx<'_>, node: NodeId, id: SessionId, message: Message) {
        if self.ended.has(&id) {
            ended::answer(cx, node, id, &message);
        } else {
            self.early.keep(cx.now, id, node, message);
        }
    }

    fn with_session(
        &mut self,
        cx: &mut Cx<'_>,
        id: SessionId,
        act: impl FnOnce(&mut Session, &mut Cx<'_>),
    ) {
        let Some(session) = self.active.get_mut(&id) else { return };
        let before = session.history().state;
        act(session, cx);
        self.moved(cx, id, before);
    }

    /// Follows up a change of a session: what was said too early is said again, an end is told.
    fn moved(&mut self, cx: &mut Cx<'_>, id: SessionId, before: crate::session::state::State) {
        let mut before = before;
        while let Some(session) = self.active.get_mut(&id) {
            if session.is_over() {
                return self.over(cx, id);
            }
            let now = session.history().state;
            if now == before {
                return self.watch.set(id, session.deadline());
            }
            before = now;
            for (node, message) in self.early.take(&id) {
                if let Heard::Early(message) = session.hear(cx, node, message) {
                    self.early.keep(cx.now, id, node, message);
                }
            }
        }
    }

    fn peer_up(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        self.up.insert(node);
        self.blobs.peer_up(cx, &self.up, node);
        self.forwards.peer_up(cx, node);
        let with: Vec<SessionId> = self
            .active
            .iter()
            .filter(|(_, session)| session.facts().members.iter().any(|(one, _)| *one == node))
            .map(|(id, _)| *id)
            .collect();
        for id in with {
            self.with_session(cx, id, |session, cx| session.peer_up(cx, node));
        }
    }

    /// What follows every call: sessions begin where there is room, and the right nodes are
    /// connected.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        self.fill(cx);
        self.pull_missing(cx);
        self.connect(cx);
    }

    fn connect(&mut self, cx: &mut Cx<'_>) {
        let mut nodes: BTreeSet<NodeId> = self.blobs.sources().collect();
        nodes.extend(self.forwards.nodes());
        nodes.extend(self.watch.members());
        nodes.remove(&self.config.node);
        if nodes != self.connected {
            self.connected.clone_from(&nodes);
            cx.effects.push(Effect::Connect { nodes });
        }
    }
}

impl Machine for Executor {
    type Store = dyn Store;
    type Input = Input;
    type Effect = Effect;

    fn handle(&mut self, cx: &mut Cx<'_>, input: Input) {
        self.recover(cx);
        match input {
            Input::View(view) => self.viewed(cx, view),
            Input::FromPeer { node, message } => self.heard(cx, node, message.into_inner()),
            Input::PeerUp { node } => self.peer_up(cx, node),
            Input::PeerDown { node } => {
                self.up.remove(&node);
            }
            Input::Put { id, bytes } => {
                let result = self.blobs.upload(cx.store, cx.now, &bytes);
                if let Ok(blob) = &result {
                    self.blob_came(cx, blob);
                }
                let result = result.map_err(|error| answers::other(&error.to_string()));
                cx.effects.push(Effect::Stored { id, result });
            }
            Input::Create { id, session, program, input } => {
                self.create(cx, id, session, program, input);
            }
            Input::Ask { id, question } => self.asked(cx, id, question),
            Input::Ran(ran) => {
                self.with_session(cx, ran.session, |session, cx| session.ran(cx, *ran));
            }
            Input::Fetched { session, request, outcome } => {
                self.with_session(cx, session, |session, cx| {
                    session.fetched(cx, request, outcome);
                });
            }
        }
        self.settle(cx);
    }

    fn deadline(&self) -> Option<Time> {
        if !self.recovered {
            return Some(Time::ZERO);
        }
        let due = [
            self.watch.deadline(),
            self.blobs.deadline(),
            self.ended.deadline(),
            self.early.deadline(),
            self.submissions.deadline(),
            self.forwards.deadline(),
        ];
        due.into_iter().flatten().min()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        self.recover(cx);
        for id in self.watch.due(cx.now) {
            self.with_session(cx, id, Session::tick);
        }
        self.blobs.tick(cx, &self.up);
        self.ended.tick(cx);
        self.early.tick(cx.now);
        self.submit_due(cx);
        self.forward_due(cx);
        self.settle(cx);
    }
}

fn session_of(message: &Message) -> Option<SessionId> {
    Some(match message {
        Message::Create(create) => create.session,
        Message::Start(start) => start.session,
        Message::Request(request) => request.session,
        Message::Record(of) => of.session,
        Message::Commit(proposal) => proposal.session,
        Message::Attestation(of) => of.session,
        Message::Talk(talk) => match &**talk {
            Talk::RoundVote { session, .. }
            | Talk::At { session, .. }
            | Talk::Decided { session, .. }
            | Talk::Ended { session, .. } => *session,
            Talk::Advance { advance, .. } => advance.head.session,
            Talk::Want { .. }
            | Talk::Part { .. }
            | Talk::Lacks { .. }
            | Talk::Ask { .. }
            | Talk::Answer { .. } => return None,
        },
    })
}
