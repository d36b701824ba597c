//! From bytes to checked messages: the costly, pure work that runs before a machine sees anything,
//! on as many threads as there are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use session_core::{AccountId, ChainId, NodeId, RequestId, SessionId, Span, Time};
use session_crypto::{PublicIdentity, Verifier};

use crate::chain::view::{ChainView, OpenSession};
use crate::duty::Duty;
use crate::frame::{BadFrame, Frame, Kind};
use crate::limits::OPERATIONS_MAX;
use crate::manifest::BadManifest;
use crate::membership::Membership;
use crate::onion::{BadHopKey, HopKeys, Onion};
use crate::owner::{OwnerAction, OwnerOperation};
use crate::peer::{
    Element, Handshake, Heartbeat, Operations, Ping, Pong, Receipts, Replicate, Sync,
};
use crate::puzzle;
use crate::receipt::BadReceipt;
use crate::request::{Operation, Push, Refusal, Reply, Request};
use crate::verified::Verified;
use crate::workload::Message;

mod items;
mod keys;
mod workload;

pub use items::Deposit;

/// Account keys remembered, 3.2 KiB each.
const KNOWN_KEYS_MAX: usize = 4096;

/// A message that may enter a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Inbound {
    /// Checked by the handshake itself.
    Handshake(Handshake),
    /// From a peer.
    Heartbeat(Heartbeat),
    /// From anyone.
    Ping(Ping),
    /// From anyone.
    Pong(Pong),
    /// From a client.
    Request(CheckedRequest),
    /// For a client; its receipts are checked against what was asked.
    Reply(Reply),
    /// For a client.
    Push(Push),
    /// From a member; the manifests in it were checked.
    Replicate(Verified<Replicate>),
    /// From a member; the signature over the root was checked, the paths were not.
    Receipts(Verified<Receipts>),
    /// From a member; every signature was checked.
    Operations(Verified<Operations>),
    /// From a member; every operation and manifest inside was checked.
    Sync(Verified<Sync>),
    /// About the duties of an epoch; what it claims is checked by whoever knows the epoch.
    Duty(Box<Duty>),
    /// From a node; each key was signed by the node that it names, and those of nodes that this
    /// view of the network does not show were left out.
    HopKeys(Verified<HopKeys>),
    /// From anyone; only the length was checked.
    Onion(Onion),
    /// About workload sessions; the signatures of whoever speaks were checked, see
    /// [`Checker::check_workload`].
    Workload(Box<Verified<Message>>),
    /// About a workload session that the chain does not show here, yet or any more: the sender may
    /// be a block ahead. Nothing was checked, and nothing is in it.
    NoSession(Kind),
    /// A kind that nothing here handles yet.
    NoHandler(Kind),
}

/// A batch in which every operation that needs a proof carries a checked one, or why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedRequest {
    /// The request's id.
    pub id: u64,
    /// The operations, in order.
    pub operations: Vec<Result<CheckedOperation, Refusal>>,
}

/// An operation whose proof, if it needs one, was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckedOperation {
    /// Needs no proof; never [`Operation::Owner`], [`Operation::Deposit`] or
    /// [`Operation::Introduce`], and no store of a
    /// manifest or in a namespace that takes a capability.
    Open(Operation),
    /// Signed by the owner, or with the capability that it takes.
    Owner(Box<Verified<OwnerOperation>>),
    /// A deposit in a mailbox, or a store of a manifest.
    Deposit(Box<Verified<Deposit>>),
}

/// Why a frame is not let in; the sender's fault in every case but one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// Not a frame of this protocol.
    #[error(transparent)]
    Frame(#[from] BadFrame),
    /// A peer's receipts are not signed by a node of the network.
    #[error(transparent)]
    Receipt(#[from] BadReceipt),
    /// A peer handed on an operation that its owner did not sign.
    #[error("an operation handed on by a peer is not its owner's: {0}")]
    Operation(crate::owner::BadAuthorization),
    /// A peer handed on a manifest that is not one of the inbox's owner.
    #[error("a copy of a manifest is not its owner's: {0}")]
    Manifest(#[from] BadManifest),
    /// A peer handed on an operation that does not travel.
    #[error("only deletions and expiries travel between nodes")]
    NotForwardable,
    /// Signed for another chain, or for another session of it.
    #[error("it is signed for another session, or for chain {got}; this is {chain}")]
    Chain {
        /// What was signed for.
        got: ChainId,
        /// This chain.
        chain: ChainId,
    },
    /// Signed by nobody who has a say in the session.
    #[error("node {0} has no say in the session")]
    Stranger(NodeId),
    /// A record for a request that does not follow from session, step and attempt.
    #[error("request {0} is not that of the session, step and attempt")]
    Request(RequestId),
    /// A peer handed on a hop key that its node did not publish.
    #[error("a hop key handed on by a peer is not its node's: {0}")]
    HopKey(#[from] BadHopKey),
    /// A node did not sign what is said to be its.
    #[error("the signature of node {0} does not verify")]
    Signature(NodeId),
    /// Not a fault: the chain does not show the session here, yet or any more, or another committee.
    #[error("session {0} is not open here")]
    NoSession(SessionId),
}

/// Turns bytes into [`Inbound`] messages.
pub struct Checker {
    membership: RwLock<Arc<dyn Membership>>,
    /// What the chain says of workload sessions; nothing where there is no chain.
    chain: RwLock<Option<(ChainId, Sessions)>>,
    verifier: Arc<dyn Verifier>,
    known: Mutex<BTreeMap<AccountId, PublicIdentity>>,
    hop_keys: keys::Seen,
    puzzles: puzzle::Desk,
}

/// The workload sessions of a chain that have not ended.
pub type Sessions = Arc<BTreeMap<SessionId, Arc<OpenSession>>>;

impl Checker {
    /// Makes a checker for a network.
    #[must_use]
    pub fn new(membership: Arc<dyn Membership>, verifier: Arc<dyn Verifier>) -> Self {
        let (membership, chain) = (RwLock::new(membership), RwLock::default());
        Self {
            membership,
            chain,
            verifier,
            known: Mutex::default(),
            hop_keys: keys::Seen::default(),
            puzzles: puzzle::Desk::default(),
        }
    }

    /// Returns the view of the network it checks against.
    #[must_use]
    pub fn membership(&self) -> Arc<dyn Membership> {
        // Whoever panicked while it held the lock did not change half of a pointer.
        Arc::clone(&self.membership.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Checks against another view of the network from here on.
    pub fn set_membership(&self, membership: Arc<dyn Membership>) {
        *self.membership.write().unwrap_or_else(PoisonError::into_inner) = membership;
    }

    /// Checks against what the chain says after another block from here on: its nodes and its
    /// workload sessions.
    pub fn set_view(&self, view: &ChainView) {
        self.set_membership(Arc::clone(&view.membership) as Arc<dyn Membership>);
        self.set_sessions(view.chain, Arc::clone(&view.sessions));
    }

    /// Checks messages about the open workload sessions of a chain against these from here on.
    pub fn set_sessions(&self, chain: ChainId, sessions: Sessions) {
        let sessions = Some((chain, sessions));
        *self.chain.write().unwrap_or_else(PoisonError::into_inner) = sessions;
    }

    fn chain(&self) -> Option<(ChainId, Sessions)> {
        self.chain.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the signature verifier.
    #[must_use]
    pub fn verifier(&self) -> &Arc<dyn Verifier> {
        &self.verifier
    }

    /// Parses and checks one frame body.
    ///
    /// # Errors
    /// When the bytes are not a message, or a peer's signature does not hold. A client's bad
    /// signature is not a fault: it becomes the refusal of that operation.
    pub fn check(&self, body: &[u8]) -> Result<Inbound, Fault> {
        let (kind, payload) = Frame::split(body)?;
        Ok(match kind {
            Kind::Handshake => Inbound::Handshake(Frame::payload(kind, payload)?),
            Kind::Heartbeat => Inbound::Heartbeat(Frame::payload(kind, payload)?),
            Kind::Ping => Inbound::Ping(Frame::payload(kind, payload)?),
            Kind::Pong => Inbound::Pong(Frame::payload(kind, payload)?),
            Kind::Request => Inbound::Request(self.check_request(Frame::payload(kind, payload)?)),
            Kind::Reply => Inbound::Reply(Frame::payload(kind, payload)?),
            Kind::Push => Inbound::Push(Frame::payload(kind, payload)?),
            Kind::Replicate => {
                Inbound::Replicate(self.check_replicate(Frame::payload(kind, payload)?)?)
            }
            Kind::Receipt => {
                Inbound::Receipts(self.check_receipts(Frame::payload(kind, payload)?)?)
            }
            Kind::Operations => {
                Inbound::Operations(self.check_operations(Frame::payload(kind, payload)?)?)
            }
            Kind::Sync => Inbound::Sync(self.check_sync(Frame::payload(kind, payload)?)?),
            Kind::Duty => Inbound::Duty(Frame::payload(kind, payload)?),
            Kind::HopKeys => Inbound::HopKeys(self.check_hop_keys(Frame::payload(kind, payload)?)?),
            Kind::Onion => {
                let onion: Onion = Frame::payload(kind, payload)?;
                onion.check_size().map_err(|source| BadFrame::Payload { kind, source })?;
                Inbound::Onion(onion)
            }
            other => self.workload(other, payload)?,
        })
    }

    /// Checks the proofs of a batch.
    #[must_use]
    pub fn check_request(&self, request: Request) -> CheckedRequest {
        let mut operations = Vec::with_capacity(OPERATIONS_MAX.min(request.operations.len()));
        let mut budget = puzzle::CHECKED_MAX;
        for operation in request.operations {
            operations.push(match operation {
                Operation::Owner { operation } => self
                    .check_owner(*operation)
                    .map(|checked| CheckedOperation::Owner(Box::new(checked)))
                    .map_err(Refusal::from),
                open => self.check_open(open, &mut budget),
            });
        }
        CheckedRequest { id: request.id, operations }
    }

    fn check_owner(
        &self,
        operation: OwnerOperation,
    ) -> Result<Verified<OwnerOperation>, crate::owner::BadAuthorization> {
        let network = self.membership().network();
        let checked = operation.verify(network, &*self.verifier, |account| self.known(account))?;
        if let Some(keys) = checked.authorization.keys() {
            self.remember(keys);
        }
        Ok(checked)
    }

    fn check_receipts(&self, receipts: Receipts) -> Result<Verified<Receipts>, Fault> {
        if let Some(root) = &receipts.root {
            let membership = self.membership();
            let record = membership.node(&root.node).ok_or(BadReceipt::NotAMember(root.node))?;
            root.verify(membership.network(), record.keys.dsa(), &*self.verifier)?;
        }
        Ok(Verified::new(receipts))
    }

    fn check_operations(&self, operations: Operations) -> Result<Verified<Operations>, Fault> {
        for operation in &operations.operations {
            self.check_forwarded(operation)?;
        }
        Ok(Verified::new(operations))
    }

    fn check_sync(&self, sync: Sync) -> Result<Verified<Sync>, Fault> {
        if let Sync::Give { elements, .. } = &sync {
            for element in elements {
                match element {
                    Element::Operation { operation } => self.check_forwarded(operation)?,
                    Element::Item { item } => self.check_copy(item)?,
                }
            }
        }
        Ok(Verified::new(sync))
    }

    // Copies of what an account signed always carry the keys: they must prove themselves years later too.
    fn check_forwarded(&self, operation: &OwnerOperation) -> Result<(), Fault> {
        if !matches!(operation.action, OwnerAction::Delete { .. } | OwnerAction::Expire { .. }) {
            return Err(Fault::NotForwardable);
        }
        let network = self.membership().network();
        operation
            .clone()
            .verify(network, &*self.verifier, |_| None)
            .map(drop)
            .map_err(Fault::Operation)
    }

    fn known(&self, account: &AccountId) -> Option<PublicIdentity> {
        self.known.lock().ok()?.get(account).cloned()
    }

    fn remember(&self, keys: &PublicIdentity) {
        let Ok(mut known) = self.known.lock() else { return };
        let account = keys.account_id();
        if known.contains_key(&account) {
            return;
        }
        // A full table forgets everything: owners send their keys again, at the cost of bytes.
        if known.len() >= KNOWN_KEYS_MAX {
            known.clear();
        }
        known.insert(account, keys.clone());
    }
}

/// Checks a timestamp against the node's clock.
///
/// # Errors
/// When they are further apart than `tolerance`.
pub fn check_clock(signed: Time, now: Time, tolerance: Span) -> Result<(), Refusal> {
    if signed.distance(now) <= tolerance {
        Ok(())
    } else {
        Err(Refusal::Clock { signed, server_time: now, tolerance })
    }
}
