//! What follows from a step alone: ids, leaders, statements, spans.

use session_core::committee::quorum;
use session_core::seed_ids::{Attempt, request_id};
use session_core::{Digest, NodeId, RequestId, Span, Time};
use session_crypto::DsaPublicKey;
use session_protocol::attestation::{Statement, Vote};
use session_protocol::workload::Source;
use session_protocol::workload::message::{
    Decision, Message, OpenRequest, RecordOf, Talk, VoteOf, leaders,
};
use session_protocol::workload::oracle::{Commit, OracleResult, Pin, RequestKind, SignedRecord};
use session_protocol::workload::round::{
    Advance, AdvanceHead, Ballot, Lock, LockedTo, Phase, RoundVote,
};

use super::Scene;
use crate::aggregate;

/// What an attempt may take besides asking the world: some rounds of messages.
const TALK_SPAN: Span = Span::from_secs(3);
/// The longest attempt, unless the source alone may take longer.
const ATTEMPT_SPAN_MAX: Span = Span::from_secs(60);

impl Scene {
    pub(super) fn members(&self) -> &[(NodeId, DsaPublicKey)] {
        &self.facts.members
    }

    /// Returns how many members must agree.
    pub(super) fn quorum(&self) -> usize {
        quorum(self.members().len()).unwrap_or(usize::MAX)
    }

    /// Returns how many members are surely not all liars: one more than may be silent.
    pub(super) fn honest(&self) -> usize {
        self.members().len().saturating_sub(self.quorum()) + 1
    }

    pub(super) fn key(&self, node: &NodeId) -> Option<&DsaPublicKey> {
        self.members().iter().find(|(id, _)| id == node).map(|(_, key)| key)
    }

    pub(super) fn source(&self) -> &Source {
        let sources = &self.facts.workload.manifest.sources;
        sources.get(usize::from(self.call.source)).expect("calls are parsed against the manifest")
    }

    pub(super) fn request(&self, retry: u32) -> RequestId {
        let attempt = Attempt { step: self.step, retry };
        request_id(&self.facts.service, &self.facts.session, attempt, &self.facts.tx)
    }

    pub(super) fn leader(&self, retry: u32) -> NodeId {
        let nodes = self.members().iter().map(|(node, _)| *node);
        let order = leaders(&self.facts.randomness, &self.request(retry), nodes);
        order.first().copied().unwrap_or(self.me)
    }

    pub(super) fn leads(&self, retry: u32) -> bool {
        self.leader(retry) == self.me
    }

    pub(super) fn writes(&self) -> bool {
        self.kind == RequestKind::Write
    }

    /// Returns whether the leader of the attempt fixes what everybody looks at.
    pub(super) fn pins(&self) -> bool {
        !self.writes() && self.source().connector.pins()
    }

    /// Returns whether the world was asked often enough when this attempt begins.
    pub(super) fn gives_up(&self, retry: u32) -> bool {
        retry > u32::from(self.facts.workload.manifest.retries_max)
    }

    /// Returns what the program gets then.
    pub(super) fn given_up(&self) -> OracleResult {
        match &self.source().fallback {
            Some(bytes) => OracleResult::Value { bytes: bytes.clone() },
            None => OracleResult::NoConsensus,
        }
    }

    /// Returns how long an attempt may take.
    pub(super) fn attempt_span(&self, retry: u32) -> Span {
        let source = self.source();
        let timeout = source.timeout.as_millis();
        let second = if self.pins() {
            timeout
        } else {
            source.confirm.as_ref().map_or(0, |confirm| {
                let sources = &self.facts.workload.manifest.sources;
                let read = sources.iter().find(|it| it.name == confirm.source);
                read.map_or(timeout, |read| read.timeout.as_millis())
            })
        };
        let base = timeout.saturating_add(second).saturating_add(TALK_SPAN.as_millis());
        let most = base.max(ATTEMPT_SPAN_MAX.as_millis());
        let grown = (0..retry).try_fold(base, |span, _| {
            let next = span.saturating_add(span / 2);
            if next < most { Ok(next) } else { Err(most) }
        });
        Span::from_millis(grown.unwrap_or_else(|most| most))
    }

    pub(super) fn ballot(&self, retry: u32, phase: Phase, root: Digest) -> Ballot {
        Ballot {
            chain: self.facts.chain,
            committee: self.facts.committee,
            request: self.request(retry),
            phase,
            root,
        }
    }

    /// Returns what members vote for before anybody writes.
    pub(super) fn intent(&self) -> Ballot {
        self.ballot(0, Phase::Intent, self.call.input_hash())
    }

    pub(super) fn statement(&self, retry: u32, root: Digest) -> Statement {
        Statement {
            chain: self.facts.chain,
            committee: self.facts.committee,
            kind: self.kind.attested_as(),
            subject: Digest::from(*self.request(retry).as_bytes()),
            root,
            epoch: self.facts.epoch,
        }
    }

    pub(super) fn advance_head(&self, retry: u32, locked: Option<LockedTo>) -> AdvanceHead {
        AdvanceHead {
            chain: self.facts.chain,
            committee: self.facts.committee,
            session: self.facts.session,
            step: self.step,
            retry,
            locked,
        }
    }

    pub(super) fn root(&self, commit: &Commit) -> Digest {
        commit.root(&self.request(commit.retry))
    }

    /// Returns what the records come to, if they agree.
    pub(super) fn decide<'a>(
        &self,
        records: impl IntoIterator<Item = &'a SignedRecord>,
    ) -> Option<OracleResult> {
        let records: Vec<&SignedRecord> = records.into_iter().collect();
        aggregate::decide(self.source(), self.members().len(), &records)
    }

    /// Returns whether the records cannot agree any more, whatever the other members see.
    pub(super) fn hopeless<'a>(&self, records: impl IntoIterator<Item = &'a SignedRecord>) -> bool {
        let records: Vec<&SignedRecord> = records.into_iter().collect();
        let missing = self.members().len().saturating_sub(records.len());
        aggregate::hopeless(self.source(), self.members().len(), &records, missing)
    }

    /// Returns the time that the program sees: the lower median, but never before what it saw.
    pub(super) fn agreed_time<'a>(
        &self,
        records: impl IntoIterator<Item = &'a SignedRecord>,
    ) -> Time {
        let mut times: Vec<Time> = records.into_iter().map(|record| record.time).collect();
        times.sort_unstable();
        let middle = times.len().saturating_sub(1) / 2;
        times.get(middle).copied().unwrap_or(self.before).max(self.before)
    }

    pub(super) fn at(&self) -> Message {
        talk(Talk::At { session: self.facts.session, step: self.step })
    }

    pub(super) fn moving(&self, advance: &Advance, lock: Option<&Lock>) -> Message {
        talk(Talk::Advance { advance: advance.clone(), lock: lock.cloned().map(Box::new) })
    }

    pub(super) fn voting(&self, retry: u32, vote: &RoundVote) -> Message {
        let (session, step) = (self.facts.session, self.step);
        talk(Talk::RoundVote { session, step, retry, vote: vote.clone() })
    }

    pub(super) fn attesting(&self, retry: u32, vote: &Vote) -> Message {
        let (session, step) = (self.facts.session, self.step);
        Message::Attestation(Box::new(VoteOf { session, step, retry, vote: vote.clone() }))
    }

    pub(super) fn observing(&self, retry: u32, record: &SignedRecord) -> Message {
        Message::Record(Box::new(RecordOf {
            session: self.facts.session,
            step: self.step,
            retry,
            committee: self.facts.committee,
            request: self.request(retry),
            record: record.clone(),
        }))
    }

    pub(super) fn opening(&self, retry: u32, pin: Option<Pin>) -> Message {
        let (session, step) = (self.facts.session, self.step);
        let input_hash = self.call.input_hash();
        Message::Request(OpenRequest { session, step, retry, input_hash, pin })
    }

    pub(super) fn settled(&self, decision: &Decision) -> Message {
        let (session, step) = (self.facts.session, self.step);
        talk(Talk::Decided { session, step, decision: Box::new(decision.clone()) })
    }
}

fn talk(talk: Talk) -> Message {
    Message::Talk(Box::new(talk))
}
