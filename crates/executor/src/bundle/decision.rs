//! What a committee decided about one request.

use std::collections::BTreeSet;

use session_core::committee::quorum;
use session_core::seed_ids::{Attempt, request_id};
use session_core::{Digest, NodeId, RequestId, Time};
use session_crypto::DsaPublicKey;
use session_protocol::attestation::Statement;
use session_protocol::workload::message::{Decision, leaders};
use session_protocol::workload::oracle::{Commit, Observation, RequestKind};
use session_protocol::workload::round::{Ballot, Phase};
use session_protocol::workload::{OracleCall, OracleResult, SignedRecord, Source};

use super::{Ground, Wrong};
use crate::aggregate;
use crate::facts::Facts;

/// A request, and what is known before its decision.
pub(super) struct Asked<'a> {
    pub(super) facts: &'a Facts,
    pub(super) step: u32,
    pub(super) kind: RequestKind,
    pub(super) call: &'a OracleCall,
    /// The agreed time of the step before.
    pub(super) before: Time,
}

impl Asked<'_> {
    fn source(&self) -> &Source {
        // The program's request was parsed against this manifest.
        &self.facts.workload.manifest.sources[usize::from(self.call.source)]
    }

    fn request(&self, retry: u32) -> RequestId {
        let Facts { service, session, tx, .. } = self.facts;
        request_id(service, session, Attempt { step: self.step, retry }, tx)
    }

    fn key(&self, node: &NodeId) -> Option<&DsaPublicKey> {
        self.facts.members.iter().find(|(id, _)| id == node).map(|(_, key)| key)
    }

    /// Checks a decision; returns the root of its commit, and how many signatures that took.
    pub(super) fn check(
        &self,
        decision: &Decision,
        ground: &Ground<'_>,
    ) -> Result<(Digest, u32), Wrong> {
        let Decision { retry, commit, certificate, intent } = decision;
        if commit.retry > *retry {
            return Err(Wrong::Commit("it is of a later attempt than the one that decided it"));
        }
        let request = self.request(commit.retry);
        if commit.records.is_empty() {
            self.check_given_up(commit)?;
        } else {
            self.check_records(commit, &request, ground)?;
        }
        let facts = self.facts;
        let mut quorums = 1;
        match (intent, self.kind) {
            (Some(_), RequestKind::Read) => {
                return Err(Wrong::Commit("a read needs no intent"));
            }
            (None, RequestKind::Write) if !commit.records.is_empty() => {
                return Err(Wrong::Commit("a write without an intent"));
            }
            (None, _) => {}
            (Some(intent), RequestKind::Write) => {
                let ballot = Ballot {
                    chain: facts.chain,
                    committee: facts.committee,
                    request: self.request(0),
                    phase: Phase::Intent,
                    root: self.call.input_hash(),
                };
                intent
                    .verify(&ballot, &facts.members, ground.verifier, ground.workers)
                    .map_err(Wrong::Intent)?;
                quorums += 1;
            }
        }
        let root = commit.root(&request);
        let statement = Statement {
            chain: facts.chain,
            committee: facts.committee,
            kind: self.kind.attested_as(),
            subject: Digest::from(*self.request(*retry).as_bytes()),
            root,
            epoch: facts.epoch,
        };
        certificate
            .check_statement(&statement)
            .and_then(|()| certificate.verify(&facts.members, ground.verifier, ground.workers))
            .map_err(Wrong::Certificate)?;
        let signatures = commit.records.len() + quorums * quorum(facts.members.len()).unwrap_or(0);
        Ok((root, u32::try_from(signatures).unwrap_or(u32::MAX)))
    }

    /// Checks that the world was asked often enough before nothing was agreed on.
    fn check_given_up(&self, commit: &Commit) -> Result<(), Wrong> {
        if !self.gives_up(commit.retry) {
            return Err(Wrong::Commit("it has no records although the world could be asked again"));
        }
        let given = match &self.source().fallback {
            Some(bytes) => OracleResult::Value { bytes: bytes.clone() },
            None => OracleResult::NoConsensus,
        };
        if commit.result != given {
            return Err(Wrong::Result);
        }
        self.check_time(commit, self.before)
    }

    fn check_records(
        &self,
        commit: &Commit,
        request: &RequestId,
        ground: &Ground<'_>,
    ) -> Result<(), Wrong> {
        if self.gives_up(commit.retry) {
            return Err(Wrong::Commit("it has records of an attempt after the last one"));
        }
        let records: Vec<&SignedRecord> = commit.records.iter().collect();
        let facts = self.facts;
        for record in &records {
            let submitter = record.submitter;
            let key = self.key(&submitter).ok_or(Wrong::Commit("a record of a stranger"))?;
            let head = record.head(facts.chain, facts.committee, *request);
            if !head.verify(key, ground.verifier) {
                return Err(Wrong::Record { submitter });
            }
        }
        let submitters: BTreeSet<NodeId> = records.iter().map(|one| one.submitter).collect();
        if submitters.len() != records.len() {
            return Err(Wrong::Commit("two records of one member"));
        }
        if !records.is_sorted_by(|a, b| a.id(request) < b.id(request)) {
            return Err(Wrong::Commit("the records are out of order"));
        }
        let pins = self.kind == RequestKind::Read && self.source().connector.pins();
        let pin = records[0].pin;
        if pin.is_some() != pins || records.iter().any(|record| record.pin != pin) {
            return Err(Wrong::Commit("the records are not of one block"));
        }
        if self.kind == RequestKind::Write {
            self.check_writer(commit.retry, &records)?;
        }
        let result = aggregate::decide(self.source(), facts.members.len(), &records);
        if result.as_ref() != Some(&commit.result) {
            return Err(Wrong::Result);
        }
        let mut times: Vec<Time> = records.iter().map(|record| record.time).collect();
        times.sort_unstable();
        self.check_time(commit, times[(times.len() - 1) / 2].max(self.before))
    }

    /// Checks that a write is its writer's, and happened.
    fn check_writer(&self, retry: u32, records: &[&SignedRecord]) -> Result<(), Wrong> {
        let nodes = self.facts.members.iter().map(|(node, _)| *node);
        let writer = leaders(&self.facts.randomness, &self.request(retry), nodes).first().copied();
        let [record] = records else {
            return Err(Wrong::Commit("a write has one writer, so one record"));
        };
        if Some(record.submitter) != writer {
            return Err(Wrong::Commit("the record is not the writer's"));
        }
        match record.observation {
            Observation::Value { .. } => Ok(()),
            Observation::Failed { .. } => Err(Wrong::Commit("a write that failed is tried again")),
        }
    }

    fn check_time(&self, commit: &Commit, expected: Time) -> Result<(), Wrong> {
        if commit.time == expected {
            return Ok(());
        }
        Err(Wrong::Differs {
            what: "the agreed time",
            says: "the records make it",
            got: commit.time.as_millis().to_string(),
            expected: expected.as_millis().to_string(),
        })
    }

    fn gives_up(&self, retry: u32) -> bool {
        retry > u32::from(self.facts.workload.manifest.retries_max)
    }
}
