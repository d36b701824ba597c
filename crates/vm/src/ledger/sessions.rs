//! Anchors of workload sessions: the chain chooses the committee and keeps what it attests.

use session_core::committee::{Committee, CommitteeError, MEMBERS_MIN};
use session_core::seed_ids::{AttestationDomain, Attested, session_id};
use session_core::{
    AccountId, Digest, Inline, List, NodeId, ServiceId, SessionId, Span, Text, Time,
};
use session_protocol::attestation::{
    Kind, QuorumCertificate, Statement, committee_root, failure_root, outcome_root,
};
use session_protocol::chain::transaction::REASON_BYTES_MAX;
use session_protocol::chain::{Action, ReceivedTransaction};

use super::{Execution, Rejection};
use crate::query;
use crate::records::{
    NotAllowed, OpenAnchor, OpenSessions, SessionEvent, SessionPhase, SessionState, Sessions,
    WorkloadSession,
};
use crate::state::State;

/// The one reason of a failure that needs no certificate.
const DEADLINE: &str = "deadline";

/// Returns whether an account is the own one of a member of the committee: that of its keys.
fn is_member(state: &State, session: &WorkloadSession, account: &AccountId) -> bool {
    query::session_members(state, session).any(|member| member.as_bytes() == account.as_bytes())
}

/// Says whether what a member does to its session for free may still be done in a block of this
/// time or later. To end a session that has not begun is early: its beginning may wait as well.
pub(super) fn check_due(
    state: &State,
    tx: &ReceivedTransaction,
    id: &SessionId,
    time: Time,
) -> Result<(), Rejection> {
    let session = query::session(state, id).ok_or(Rejection::UnknownSession { session: *id })?;
    let body = &tx.signed.transaction;
    // Whoever else may do it pays.
    if !is_member(state, &session, &body.sender) {
        let needed = query::required_fee(&query::params(state), tx.charged());
        return Err(Rejection::Fee { max: body.fee_max, needed });
    }
    let phase = session.state.phase();
    let open = matches!(phase, SessionPhase::Pending | SessionPhase::Running);
    let (event, possible) = match body.action {
        Action::StartSession { .. } => ("started", phase == SessionPhase::Pending),
        Action::FinalizeSession { .. } => ("finalized", open),
        _ => ("failed", open),
    };
    if !possible {
        return Err(NotAllowed { phase, event }.into());
    }
    let (deadline, fails) = (session.deadline, matches!(body.action, Action::FailSession { .. }));
    if fails || time < deadline { Ok(()) } else { Err(Rejection::SessionOver { deadline, time }) }
}

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
        let id = session_id(service, epoch, &self.tx.id);
        self.put_session(&id, &session);
        Ok(())
    }

    /// Writes a session, and keeps the index of open ones.
    fn put_session(&mut self, id: &SessionId, session: &WorkloadSession) {
        self.draft.put::<Sessions>(id, session);
        let started = match session.state {
            SessionState::Pending => None,
            SessionState::Running { started } => Some(started),
            SessionState::Finalized { .. } | SessionState::Failed { .. } => {
                return self.draft.remove::<OpenSessions>(id);
            }
        };
        // The randomness is that of the session's epoch: who looks later need not look for it.
        let open = self.draft.get::<OpenSessions>(id);
        let randomness = open.map_or(self.epoch.randomness, |open| open.randomness);
        self.draft.put::<OpenSessions>(id, &OpenAnchor { randomness, started });
    }

    /// Returns whether the sender is the own account of a member of a session's committee.
    pub(super) fn is_chosen(&self, id: &SessionId) -> bool {
        let session = self.draft.get::<Sessions>(id);
        session.is_some_and(|session| is_member(self.draft.base(), &session, &self.sender()))
    }

    pub(super) fn start_session(&mut self, id: &SessionId) -> Result<(), Rejection> {
        let session = self.session(id)?;
        let (sender, base) = (self.sender(), self.draft.base());
        let operates = |member: &NodeId| {
            query::node(base, member).is_some_and(|(_, node)| node.operator == sender)
        };
        if !is_member(base, &session, &sender) && !session.committee.iter().any(operates) {
            return Err(Rejection::NotInCommittee);
        }
        let state = session.state.clone().after(SessionEvent::Started { at: self.context.time })?;
        self.check_time_left(&session)?;
        self.put_session(id, &WorkloadSession { state, ..session });
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
        self.put_session(id, &WorkloadSession { state, ..session });
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
        self.put_session(id, &WorkloadSession { state, ..session });
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
