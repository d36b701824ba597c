//! What goes into a node and what comes out.

use std::sync::Arc;

use session_core::merkle::Proof;
use session_core::{Digest, Epoch, NodeId, RequestId, SessionId};
use session_crypto::DsaPublicKey;
use session_executor::engine::{Job, Ran};
use session_executor::facts::Fetch;
use session_network::onion::Opener;
use session_network::{Class, ConnId, From, Rate};
use session_protocol::attestation::QuorumCertificate;
use session_protocol::chain::Action;
use session_protocol::chain::view::ChainView;
use session_protocol::evidence::Evidence;
use session_protocol::inbound::CheckedRequest;
use session_protocol::receipt::{SignedRoot, StorageReceipt};
use session_protocol::request::{Push, Reply};
use session_protocol::workload::message::{Answer, Question, SessionRefusal};
use session_swarm::coordinator;

use crate::relay;

/// What a node is made from.
#[derive(Clone)]
pub struct Config {
    /// Connections; in the role of a node.
    pub network: session_network::Config,
    /// Inboxes.
    pub swarm: session_swarm::Config,
    /// The duties of a node of a chain; none where a network file says who is a node.
    pub coordinator: Option<coordinator::Config>,
    /// Workload sessions; none where there is no chain, or the node takes part in none.
    pub sessions: Option<session_executor::Config>,
    /// Onion packets; none where the node is neither hop nor exit.
    pub onions: Option<relay::Config>,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Something about connections.
    Network(session_network::Input),
    /// A frame came, read by [`relay::read`]. Nodes that are no hops may get frames as
    /// [`Input::Network`] as well.
    Frame {
        /// Over which connection.
        conn: ConnId,
        /// How it travelled.
        class: Class,
        /// Bytes of its body.
        size: usize,
        /// What it says.
        heard: relay::Heard,
    },
    /// A local caller asks.
    Local {
        /// Chosen by the caller, one for as long as it may be pushed to; below 2^62.
        id: u64,
        /// What.
        request: CheckedRequest,
    },
    /// A local caller wants no more answers or pushes.
    LocalGone {
        /// Which.
        id: u64,
    },
    /// The answer to [`Effect::SignReceipts`], after the commit.
    ReceiptsSigned {
        /// The ticket.
        ticket: u64,
        /// The signature over all receipts of the commit.
        root: SignedRoot,
        /// One for each receipt of the ticket, in order.
        proofs: Vec<Proof>,
    },
    /// The chain has another block, and this is what it says now. Who is a node and what it keeps
    /// follows from it, also without a coordinator.
    View(Arc<ChainView>),
    /// How many bytes the disk can still take.
    FreeBytes(u64),
    /// The answer to [`Effect::FetchCommitment`].
    CommitmentTx {
        /// Who committed.
        node: NodeId,
        /// In which epoch.
        epoch: Epoch,
        /// The signed transaction of the last commitment that counts, as it is in its block.
        bytes: Vec<u8>,
    },
    /// The node will be away for up to so many epochs, or is back (0): said on the chain, so that it
    /// is not punished. Requests are answered as before; see [`Daemon::drain`](crate::Daemon::drain).
    Away {
        /// How many.
        epochs: u8,
    },
    /// A local caller brings a program or an input of a workload session; answered by
    /// [`Effect::BlobStored`].
    PutBlob {
        /// Repeated in the answer.
        id: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// A local caller brought all of a workload session: its committee is told. Answered by
    /// [`Effect::SessionAnswer`].
    CreateSession {
        /// Repeated in the answer.
        id: u64,
        /// Which; the chain knows it, or will soon.
        session: SessionId,
        /// The workload.
        program: Digest,
        /// The input.
        input: Digest,
    },
    /// A local caller asks about a workload session; answered by [`Effect::SessionAnswer`].
    AskSession {
        /// Repeated in the answer.
        id: u64,
        /// What.
        question: Question,
    },
    /// The answer to [`Effect::RunProgram`].
    Ran(Box<Ran>),
    /// The answer to [`Effect::Fetch`].
    Fetched {
        /// The session.
        session: SessionId,
        /// The attempt.
        request: RequestId,
        /// What came of it.
        outcome: session_executor::Outcome,
    },
    /// The group of inputs that will be committed together is complete: sent once for each group.
    Flush,
}

/// What the shell is to do once the transaction is committed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Effect {
    /// Send a frame body.
    Send {
        /// Over which connection.
        conn: ConnId,
        /// How.
        class: Class,
        /// The body.
        frame: Vec<u8>,
    },
    /// Open a connection.
    Dial {
        /// Repeated in the answer.
        dial: u64,
        /// `host:port`.
        address: String,
        /// The only key that may answer there.
        key: DsaPublicKey,
    },
    /// Close a connection, after what was sent over it before.
    Close {
        /// Which one.
        conn: ConnId,
        /// Why.
        why: String,
    },
    /// Sign receipts: all of one commit under one root, after that commit.
    SignReceipts {
        /// Repeated in the answer.
        ticket: u64,
        /// What to sign, at least one.
        receipts: Vec<StorageReceipt>,
    },
    /// Answer a local caller.
    LocalReply {
        /// Which.
        id: u64,
        /// With what.
        reply: Reply,
    },
    /// Push an item to a local subscriber.
    LocalPush {
        /// Which.
        id: u64,
        /// The item.
        push: Push,
    },
    /// Hand the chain a transaction of the node's own account, without a fee. It is asked for again
    /// after a while if the chain does not show it.
    Submit {
        /// What it orders.
        action: Action,
    },
    /// Keep evidence, and hand it to the chain.
    Accuse {
        /// What a node signed.
        evidence: Box<Evidence>,
    },
    /// Keep a certificate that a quorum signed.
    Certified {
        /// It.
        certificate: Box<QuorumCertificate>,
    },
    /// Look up the signed transaction of a storage commitment; answered by
    /// [`Input::CommitmentTx`], or never.
    FetchCommitment {
        /// Who committed.
        node: NodeId,
        /// In which epoch.
        epoch: Epoch,
    },
    /// Run a program of a workload session on; answered by [`Input::Ran`].
    RunProgram(Box<Job>),
    /// Nobody needs what is held in memory of a session's program.
    ForgetProgram {
        /// Which.
        session: SessionId,
    },
    /// Ask the world for a workload session; answered by [`Input::Fetched`].
    Fetch(Box<Fetch>),
    /// The answer to [`Input::PutBlob`].
    BlobStored {
        /// The caller's.
        id: u64,
        /// The name of what was brought, or why it was not taken.
        result: Result<Digest, SessionRefusal>,
    },
    /// The answer to [`Input::CreateSession`] and [`Input::AskSession`].
    SessionAnswer {
        /// The caller's.
        id: u64,
        /// What.
        answer: Answer,
    },
    /// Open onion packets with these keys from here on; until the first ones none can be opened.
    OpenOnions(Arc<Opener>),
    /// Open onion packets of this connection at this rate from here on: a node has proved itself
    /// there. All others have the rate of clients.
    OnionRate {
        /// Which.
        conn: ConnId,
        /// In small packets.
        rate: Rate,
    },
    /// Something worth a line in the log.
    Report(Report),
}

/// What happened to the node's connections, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// A node is connected and proven.
    PeerUp {
        /// Which.
        node: NodeId,
    },
    /// A node is no longer connected.
    PeerDown {
        /// Which.
        node: NodeId,
    },
    /// A node could not be reached; it is tried again.
    Unreachable {
        /// Which.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// Somebody was disconnected for breaking the rules.
    Penalized {
        /// Who.
        from: From,
        /// How.
        why: String,
    },
    /// A duty was done, or somebody else did not do his.
    Duty(coordinator::Note),
    /// A workload session went on, or ended.
    Session(session_executor::Note),
}
