//! Who sees everything: what was certified, what was asked, who contradicted itself to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::committee::quorum;
use session_core::{Digest, Encode as _, Inline, NodeId, SessionId};
use session_crypto::fake::FakeVerifier;
use session_executor::engine::{Job, Ran, Stop};
use session_executor::facts::{Fetch, Purpose};
use session_protocol::attestation::{QuorumCertificate, failure_root, outcome_root};
use session_protocol::chain::Action;
use session_protocol::chain::view::{ChainView, OpenSession};
use session_protocol::workload::Message;
use session_protocol::workload::message::Talk;

use super::world::Broken;

/// What somebody signs once: a node, the request or subject, and what kind of thing it is.
type Once = (NodeId, Digest, u8);

/// What was seen.
#[derive(Default)]
pub(crate) struct Witness {
    /// Every session that was ever open.
    pub(crate) sessions: BTreeMap<SessionId, Arc<OpenSession>>,
    /// Whose programs came to ask what.
    asked: BTreeMap<(SessionId, u32), BTreeSet<usize>>,
    /// What quorums attest of steps, and (without a step) of ends.
    certified: BTreeMap<(SessionId, Option<u32>), Digest>,
    /// What was said to an honest node in one of its lives.
    said: BTreeMap<(usize, u32, Once), Digest>,
    /// How often somebody said two different things to one honest node.
    pub(crate) overheard: BTreeMap<NodeId, u64>,
    pub(crate) accused: BTreeSet<NodeId>,
    pub(crate) evidence: u64,
    /// Steps that members decided, and attempts at them after the first.
    pub(crate) decisions: u64,
    pub(crate) retries: u64,
}

impl Witness {
    pub(crate) fn opened(&mut self, view: &ChainView) {
        for (id, open) in view.sessions.iter() {
            self.sessions.entry(*id).or_insert_with(|| Arc::clone(open));
        }
    }

    pub(crate) fn decided(&mut self, retry: u32) {
        self.decisions += 1;
        self.retries += u64::from(retry);
    }

    pub(crate) fn certificates(&self) -> usize {
        self.certified.len()
    }

    /// A program ran on a node.
    pub(crate) fn ran(&mut self, node: usize, job: &Job, ran: &Ran) {
        if matches!(ran.stop, Stop::Asks { .. }) {
            let step = job.first_step + 2 * ran.answers + 1;
            self.asked.entry((ran.session, step)).or_default().insert(node);
        }
    }

    /// An honest node writes only what the programs of a quorum ask for, of which liars may be a
    /// part.
    pub(crate) fn writes_are_intended(
        &self,
        fetch: &Fetch,
        (members, liars): (usize, usize),
    ) -> Result<(), Broken> {
        if !matches!(fetch.purpose, Purpose::Write { .. }) {
            return Ok(());
        }
        let at = (fetch.facts.session, fetch.step);
        let asked = self.asked.get(&at).map_or(0, BTreeSet::len);
        let needed = quorum(members).unwrap_or(members).saturating_sub(liars);
        if asked < needed {
            let what = format!("{at:?} is written, {asked} programs ask for it, not {needed}");
            return Err(("writes_are_intended", what));
        }
        Ok(())
    }

    /// A node hands the chain what came of a session.
    pub(crate) fn submitted(&mut self, action: &Action) -> Result<(), Broken> {
        match action {
            Action::FinalizeSession {
                session,
                output,
                oracle_root,
                receipts_root,
                certificate,
            } => {
                let root = outcome_root(output, oracle_root, receipts_root);
                self.certifies(*session, None, root, certificate)
            }
            Action::FailSession { session, reason, certificate: Some(certificate) } => {
                self.certifies(*session, None, failure_root(reason), certificate)
            }
            _ => Ok(()),
        }
    }

    /// A node was told something.
    pub(crate) fn heard(
        &mut self,
        to: usize,
        life: u32,
        honest: bool,
        message: &Message,
    ) -> Result<(), Broken> {
        if honest && let Some((once, what)) = signed(message) {
            let before = self.said.entry((to, life, once)).or_insert(what);
            if *before != what {
                *self.overheard.entry(once.0).or_default() += 1;
            }
        }
        let Message::Talk(talk) = message else { return Ok(()) };
        match &**talk {
            Talk::Decided { session, step, decision } => {
                let root = decision.certificate.statement.root;
                self.certifies(*session, Some(*step), root, &decision.certificate)
            }
            Talk::Ended { session, certificate } => {
                self.certifies(*session, None, certificate.statement.root, certificate)
            }
            _ => Ok(()),
        }
    }

    /// No two certificates of one step, or of one end, name different roots.
    fn certifies(
        &mut self,
        session: SessionId,
        step: Option<u32>,
        root: Digest,
        certificate: &QuorumCertificate,
    ) -> Result<(), Broken> {
        let known = self.certified.get(&(session, step));
        if known == Some(&root) && certificate.statement.root == root {
            return Ok(());
        }
        let Some(open) = self.sessions.get(&session) else { return Ok(()) };
        let holds = certificate.verify(&open.committee.members, &FakeVerifier, &Inline).is_ok();
        if !holds || certificate.statement.root != root {
            return Ok(());
        }
        if let Some(known) = known {
            let what = format!("session {session}, step {step:?}: {known} and {root}");
            return Err(("no_two_certificates_conflict", what));
        }
        self.certified.insert((session, step), root);
        Ok(())
    }
}

/// What a message says that its sender may say once only.
fn signed(message: &Message) -> Option<(Once, Digest)> {
    match message {
        Message::Record(of) => {
            let once = (of.record.submitter, Digest::from(*of.request.as_bytes()), 0);
            Some((once, of.record.observation.data_hash()))
        }
        Message::Attestation(of) => {
            let statement = of.vote.statement;
            let kind = 10 + statement.kind.to_bytes()[0];
            Some(((of.vote.node, statement.subject, kind), statement.root))
        }
        Message::Talk(talk) => match &**talk {
            Talk::RoundVote { vote, .. } => {
                let kind = 20 + vote.ballot.phase.to_bytes()[0];
                let request = Digest::from(*vote.ballot.request.as_bytes());
                Some(((vote.node, request, kind), vote.ballot.root))
            }
            _ => None,
        },
        _ => None,
    }
}
