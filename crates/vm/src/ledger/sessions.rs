//! Anchors of workload sessions: the chain chooses the committee and keeps what it attests.

use session_core::committee::{Committee, CommitteeError, MEMBERS_MIN};
use session_core::seed_ids::{AttestationDomain, Attested, session_id};
use session_core::{Digest, Inline, List, NodeId, ServiceId, SessionId, Span, Text};
use session_protocol::attestation::{
    Kind, QuorumCertificate, Statement, committee_root, failure_root, outcome_root,
};
use session_protocol::chain::transaction::REASON_BYTES_MAX;

use super::{Execution, Rejection};
use crate::query;
use crate::records::{SessionEvent, SessionState, Sessions, WorkloadSession};

/// The one reason of a failure that needs no certificate.
const DEADLINE: &str = "deadline";

impl Execution<'_> {
    pub(super) fn create_session(
        &mut self,
        service: &ServiceId,
        program: &Digest,
        input: &Digest,
        time_max: Span,
    ) -> Result<(), Rejection> {
        let max = self.params.session_time_max;
        if time_max == Span::ZERO || time_max > max {
            return Err(Rejection::SessionTime { got: time_max, max });
        }
        let epoch = self.epoch.number;
        let nodes: Vec<NodeId> =
            query::active_nodes(self.draft.base()).map(|(_, node)| node).collect();
        let committee = Committee::assign(&self.epoch.randomness, service, epoch, &nodes).map_err(
            |_: CommitteeError| Rejection::NotEnoughNodes { got: nodes.len(), min: MEMBERS_MIN },
        )?;
        let committee = List::new(committee.members()).expect("a committee is within its bound");
        let created = self.context.time;
        let session = WorkloadSession {
            service: *service,
            epoch,
            tx: self.tx.id,
            creator: self.sender(),
            program: *program,
            input: *input,
            committee,
            created,
            deadline: created + time_max,
            state: SessionState::Pending,
        };
        self.draft.put::<Sessions>(&session_id(service, epoch, &self.tx.id), &session);
        Ok(())
    }

    pub(super) fn start_session(&mut self, id: &SessionId) -> Result<(), Rejection> {
        let session = self.session(id)?;
        let sender = self.sender();
        let operates = |member: &NodeId| {
            query::node(self.draft.base(), member).is_some_and(|(_, node)| node.operator == sender)
        };
        if !session.committee.iter().any(operates) {
            return Err(Rejection::NotInCommittee);
        }
        let state = session.state.clone().after(SessionEvent::Started { at: self.context.time })?;
        self.check_time_left(&session)?;
        self.draft.put::<Sessions>(id, &WorkloadSession { state, ..session });
        Ok(())
    }

    pub(super) fn finalize_session(
        &mut self,
        id: &SessionId,
        [output, oracle_root, receipts_root]: [&Digest; 3],
        certificate: &QuorumCertificate,
    ) -> Result<(), Rejection> {
        let session = self.session(id)?;
        let root = outcome_root(output, oracle_root, receipts_root);
        let attested = Attested {
            domain: AttestationDomain::SessionComplete,
            subject: *id.as_bytes(),
            commit_root: root,
            epoch: session.epoch,
        };
        let state = session.state.clone().after(SessionEvent::Finalized {
            at: self.context.time,
            output: *output,
            oracle_root: *oracle_root,
            receipts_root: *receipts_root,
            attestation: attested.id(),
        })?;
        self.check_time_left(&session)?;
        self.check_certificate(id, &session, root, certificate)?;
        self.draft.put::<Sessions>(id, &WorkloadSession { state, ..session });
        Ok(())
    }

    pub(super) fn fail_session(
        &mut self,
        id: &SessionId,
        reason: &Text<REASON_BYTES_MAX>,
        certificate: Option<&QuorumCertificate>,
    ) -> Result<(), Rejection> {
        let session = self.session(id)?;
        let time = self.context.time;
        let event = SessionEvent::Failed { at: time, reason: reason.clone() };
        let state = session.state.clone().after(event)?;
        match certificate {
            Some(certificate) => {
                self.check_certificate(id, &session, failure_root(reason), certificate)?;
            }
            None if time < session.deadline => {
                return Err(Rejection::SessionNotOver { deadline: session.deadline, time });
            }
            None if **reason != *DEADLINE => return Err(Rejection::Reason),
            None => {}
        }
        self.draft.put::<Sessions>(id, &WorkloadSession { state, ..session });
        Ok(())
    }

    fn session(&self, id: &SessionId) -> Result<WorkloadSession, Rejection> {
        self.draft.get::<Sessions>(id).ok_or(Rejection::UnknownSession { session: *id })
    }

    fn check_time_left(&self, session: &WorkloadSession) -> Result<(), Rejection> {
        let (deadline, time) = (session.deadline, self.context.time);
        if time < deadline { Ok(()) } else { Err(Rejection::SessionOver { deadline, time }) }
    }

    /// Checks what a committee attested against the keys that its members have now.
    fn check_certificate(
        &self,
        id: &SessionId,
        session: &WorkloadSession,
        root: Digest,
        certificate: &QuorumCertificate,
    ) -> Result<(), Rejection> {
        let committee = query::session_committee(self.draft.base(), session);
        certificate.check_statement(&Statement {
            chain: self.context.chain,
            committee: committee_root(&committee),
            kind: Kind::SessionComplete,
            subject: Digest::from(*id.as_bytes()),
            root,
            epoch: session.epoch,
        })?;
        Ok(certificate.verify(&committee, self.verifier, &Inline)?)
    }
}
