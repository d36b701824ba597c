//! Messages about workload sessions.
//!
//! | message | what is checked |
//! |---|---|
//! | record | the submitter's signature, for this chain and the committee and request that are named |
//! | proposal | every record, for the committee of the session and the request that follows from session, step and the commit's attempt; every advance |
//! | attestation, vote inside an attempt, advance | the node's signature, for this chain |
//! | all others | nothing: they claim nothing that counts without a certificate |
//!
//! Of a session that the chain shows as open, signers must be members and sign for its committee;
//! of another one, nodes of the network. *Not checked here:* that the sender is the signer, that the
//! request is the one that is due, and what a quorum signed (locks, intents, decisions, ends): the
//! machine of the session knows the request and checks those against the committee.

use session_core::seed_ids::{Attempt, request_id};
use session_core::{ChainId, Digest, NodeId, RequestId, SessionId};
use session_crypto::DsaPublicKey;

use super::{Checker, Fault, Inbound};
use crate::chain::view::OpenSession;
use crate::frame::{Frame, Kind};
use crate::membership::Membership;
use crate::verified::Verified;
use crate::workload::message::{Message, RecordOf, Talk};
use crate::workload::{Advance, Proposal};

/// Whose keys count.
struct Signers<'a> {
    membership: &'a dyn Membership,
    open: Option<&'a OpenSession>,
}

impl Signers<'_> {
    fn key(&self, node: &NodeId) -> Result<&DsaPublicKey, Fault> {
        let key = match self.open {
            Some(open) => open.committee.members.iter().find(|(id, _)| id == node).map(|it| &it.1),
            None => self.membership.node(node).map(|record| record.keys.dsa()),
        };
        key.ok_or(Fault::Stranger(*node))
    }

    /// Committees change with their members' keys: whoever is a block behind signs for another one.
    fn committee(&self, session: SessionId, named: &Digest) -> Result<(), Fault> {
        match self.open {
            Some(open) if open.committee.root != *named => Err(Fault::NoSession(session)),
            _ => Ok(()),
        }
    }
}

impl Checker {
    /// Parses and checks a frame about workload sessions.
    pub(super) fn workload(&self, kind: Kind, payload: &[u8]) -> Result<Inbound, Fault> {
        // Without a chain there are no sessions.
        if self.chain().is_none() {
            return Ok(Inbound::NoHandler(kind));
        }
        let message = match kind {
            Kind::SessionCreate => Message::Create(Frame::payload(kind, payload)?),
            Kind::SessionStart => Message::Start(Frame::payload(kind, payload)?),
            Kind::OracleRequest => Message::Request(Frame::payload(kind, payload)?),
            Kind::OracleRecord => Message::Record(Frame::payload(kind, payload)?),
            Kind::OracleCommit => Message::Commit(Frame::payload(kind, payload)?),
            Kind::Attestation => Message::Attestation(Frame::payload(kind, payload)?),
            Kind::Session => Message::Talk(Frame::payload(kind, payload)?),
            other => return Ok(Inbound::NoHandler(other)),
        };
        match self.check_workload(message) {
            Ok(message) => Ok(Inbound::Workload(Box::new(message))),
            Err(Fault::NoSession(_)) => Ok(Inbound::NoSession(kind)),
            Err(fault) => Err(fault),
        }
    }

    /// Checks the signatures of a message about workload sessions: what is checked, the module
    /// `inbound::workload` says.
    ///
    /// # Errors
    /// When a signature does not hold, or is of a node that has no say; and
    /// [`Fault::NoSession`], which is nobody's fault.
    pub fn check_workload(&self, message: Message) -> Result<Verified<Message>, Fault> {
        let (chain, sessions) = self.chain().unwrap_or_default();
        let (id, signed_for) = match &message {
            Message::Record(record) => (record.session, chain),
            Message::Commit(proposal) => (proposal.session, chain),
            Message::Attestation(of) => (of.session, of.vote.statement.chain),
            Message::Talk(talk) => match &**talk {
                Talk::RoundVote { session, vote, .. } => (*session, vote.ballot.chain),
                Talk::Advance { advance, .. } => (advance.head.session, advance.head.chain),
                _ => return Ok(Verified::new(message)),
            },
            Message::Create(_) | Message::Start(_) | Message::Request(_) => {
                return Ok(Verified::new(message));
            }
        };
        if signed_for != chain {
            return Err(Fault::Chain { got: signed_for, chain });
        }
        let membership = self.membership();
        let open = sessions.get(&id).map(|open| &**open);
        let signers = Signers { membership: &*membership, open };
        match &message {
            Message::Record(record) => self.record(chain, &signers, record)?,
            Message::Commit(proposal) => self.proposal(chain, &signers, proposal)?,
            Message::Attestation(of) => {
                signers.committee(id, &of.vote.statement.committee)?;
                let key = signers.key(&of.vote.node)?;
                signed(of.vote.verify(key, &*self.verifier), of.vote.node)?;
            }
            Message::Talk(talk) => match &**talk {
                Talk::RoundVote { vote, .. } => {
                    signers.committee(id, &vote.ballot.committee)?;
                    let key = signers.key(&vote.node)?;
                    signed(vote.verify(key, &*self.verifier), vote.node)?;
                }
                Talk::Advance { advance, .. } => self.advance(&signers, advance)?,
                _ => {}
            },
            _ => {}
        }
        Ok(Verified::new(message))
    }

    fn record(&self, chain: ChainId, signers: &Signers<'_>, of: &RecordOf) -> Result<(), Fault> {
        signers.committee(of.session, &of.committee)?;
        if let Some(open) = signers.open
            && of.request != attempt(open, of.session, of.step, of.retry)
        {
            return Err(Fault::Request(of.request));
        }
        let node = of.record.submitter;
        let head = of.record.head(chain, of.committee, of.request);
        signed(head.verify(signers.key(&node)?, &*self.verifier), node)
    }

    fn proposal(
        &self,
        chain: ChainId,
        signers: &Signers<'_>,
        proposal: &Proposal,
    ) -> Result<(), Fault> {
        let Proposal { session, step, commit, advances, .. } = proposal;
        let open = signers.open.ok_or(Fault::NoSession(*session))?;
        let request = attempt(open, *session, *step, commit.retry);
        for record in &commit.records {
            let head = record.head(chain, open.committee.root, request);
            let key = signers.key(&record.submitter)?;
            signed(head.verify(key, &*self.verifier), record.submitter)?;
        }
        for advance in advances {
            if (advance.head.chain, advance.head.session) != (chain, *session) {
                return Err(Fault::Chain { got: advance.head.chain, chain });
            }
            self.advance(signers, advance)?;
        }
        Ok(())
    }

    fn advance(&self, signers: &Signers<'_>, advance: &Advance) -> Result<(), Fault> {
        signers.committee(advance.head.session, &advance.head.committee)?;
        signed(advance.verify(signers.key(&advance.node)?, &*self.verifier), advance.node)
    }
}

fn attempt(open: &OpenSession, session: SessionId, step: u32, retry: u32) -> RequestId {
    request_id(&open.service, &session, Attempt { step, retry }, &open.tx)
}

fn signed(holds: bool, node: NodeId) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::Signature(node)) }
}
