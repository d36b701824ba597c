//! All workload sessions of a node.

use std::collections::BTreeSet;
use std::sync::Arc;

use session_core::{Digest, NodeId, RequestId, SessionId};
use session_crypto::{Signer, Verifier};
use session_protocol::Verified;
use session_protocol::chain::Action;
use session_protocol::chain::view::ChainView;
use session_protocol::evidence::Evidence;
use session_protocol::workload::Message;
use session_protocol::workload::message::{Answer, Question, SessionRefusal};
use session_protocol::workload::oracle::{Fault, Observation, Pin};

use crate::engine::{Job, Ran};
use crate::facts::Fetch;

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
    /// The store failed.
    StoreFailed {
        /// What was being done.
        doing: &'static str,
    },
}

/// The machine.
pub struct Executor {}
