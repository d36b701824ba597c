//! What a session has come to: its journal, entry by entry.
//!
//! The same code follows a session while it runs, builds it anew after a crash, and answers
//! questions about one that ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::seed_ids::{Attempt, Attested, request_id};
use session_core::{Decode, Digest, List, NodeId, RequestId, Text, Time};
use session_protocol::attestation::{QuorumCertificate, Vote};
use session_protocol::workload::manifest::Connector;
use session_protocol::workload::message::Decision;
use session_protocol::workload::oracle::RequestKind;
use session_protocol::workload::step::{Step, StepKind, StepLeaf, StepState};
use session_protocol::workload::{OracleCall, OracleResult, Receipt, SignedReceipt, Workload};

use super::state::{Event, NotAllowed, State};
use crate::bundle::Outcome;
use crate::engine;
use crate::facts::{self, Answer};
use crate::journal::{Created, Ending, Entry, Sent};
use crate::report::{Report, STEPS_SHOWN_MAX};

/// Why a journal is none of a session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BadJournal {
    /// It does not begin with what the session is made of.
    #[error("the journal does not begin with what the session is made of")]
    NoBeginning,
    /// It tells what cannot happen.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// It speaks of a step that is not under way.
    #[error("an entry is about a step that is not under way")]
    OutOfOrder,
    /// What the program kept cannot be read.
    #[error("what the program kept cannot be read")]
    BadState,
}

/// A program since its start or its last checkpoint.
#[derive(Clone, Debug, Default)]
pub(crate) struct Segment {
    pub(crate) number: u32,
    pub(crate) state: Arc<facts::State>,
    pub(crate) began: Time,
    pub(crate) first_step: u32,
    pub(crate) answers: Arc<Vec<Answer>>,
    /// Fuel used since it began, as of the last compute step that ended.
    pub(crate) fuel: u64,
}

/// What a session has come to.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) created: Box<Created>,
    pub(crate) state: State,
    pub(crate) steps: Vec<Step>,
    pub(crate) segment: Segment,
    /// The agreed time.
    pub(crate) clock: Time,
    /// What is asked, while it is.
    pub(crate) asked: Option<(RequestKind, OracleCall)>,
    pub(crate) receipts: Vec<Receipt>,
    /// Of decided steps the index of the entry.
    pub(crate) decisions: BTreeMap<u32, u32>,
    pub(crate) outcome: Option<(Outcome, Option<Box<Vote>>)>,
    pub(crate) ending: Option<(Time, Ending)>,
    pub(crate) received: u64,
    fuel_before: u64,
    log_lines: u32,
    entries: u32,
}

impl History {
    /// Begins the history of a session.
    pub(crate) fn new(created: Box<Created>) -> Self {
        let clock = created.created;
        Self {
            created,
            state: State::Pending,
            steps: Vec::new(),
            segment: Segment { began: clock, ..Segment::default() },
            clock,
            asked: None,
            receipts: Vec::new(),
            decisions: BTreeMap::new(),
            outcome: None,
            ending: None,
            received: 0,
            fuel_before: 0,
            log_lines: 0,
            entries: 1,
        }
    }

    /// Reads a history out of a journal. `workload` says which requests send messages; without it
    /// their receipts are left out.
    pub(crate) fn read(
        entries: impl IntoIterator<Item = Entry>,
        workload: Option<&Workload>,
    ) -> Result<Self, BadJournal> {
        let mut entries = entries.into_iter();
        let Some(Entry::Created { facts }) = entries.next() else {
            return Err(BadJournal::NoBeginning);
        };
        let mut history = Self::new(facts);
        for entry in entries {
            history.apply(entry, workload)?;
        }
        Ok(history)
    }

    /// Goes on by one entry.
    pub(crate) fn apply(
        &mut self,
        entry: Entry,
        workload: Option<&Workload>,
    ) -> Result<(), BadJournal> {
        let index = self.entries;
        self.entries += 1;
        match entry {
            Entry::Created { .. } => return Err(BadJournal::OutOfOrder),
            Entry::Round { .. } => {}
            Entry::Received { bytes } => self.received = self.received.saturating_add(bytes),
            Entry::Started { at } => {
                self.state = self.state.after(Event::Started)?;
                self.begin(StepKind::Compute, at);
            }
            Entry::Ran { at, leaf, fuel, sent, logs } => {
                self.ran(at, leaf, fuel, &sent, logs.len())?
            }
            Entry::Asked { at, kind, call } => {
                self.state = self.state.after(Event::Asked)?;
                self.begin(kind.into(), at);
                let request = self.request(self.state.step(), 0);
                let step = self.step()?;
                step.state = StepState::Waiting;
                step.request = request;
                step.input_hash = call.input_hash();
                self.asked = Some((kind, call));
            }
            Entry::Decided { at, step, decision } => {
                self.decided(at, step, *decision, workload)?;
                self.decisions.insert(step, index);
            }
            Entry::Checkpoint { at, state } => self.checkpoint(at, &state)?,
            Entry::Completed { outcome, vote, .. } => {
                if matches!(outcome, Outcome::Failed { .. }) {
                    self.step()?.state = StepState::Failed;
                }
                self.outcome = Some((outcome, vote));
            }
            Entry::Ended { at, ending } => self.ended(at, ending)?,
        }
        Ok(())
    }

    fn begin(&mut self, kind: StepKind, at: Time) {
        self.steps.push(Step {
            index: self.state.step(),
            kind,
            request: RequestId::default(),
            retry: 0,
            tx: self.created.tx,
            input_hash: Digest::default(),
            output_hash: Digest::default(),
            commit_root: Digest::default(),
            attestation: Digest::default(),
            state: StepState::Executing,
            started: at,
            completed: None,
        });
    }

    fn step(&mut self) -> Result<&mut Step, BadJournal> {
        self.steps.last_mut().ok_or(BadJournal::OutOfOrder)
    }

    fn ran(
        &mut self,
        at: Time,
        leaf: StepLeaf,
        fuel: u64,
        sent: &[Sent],
        lines: usize,
    ) -> Result<(), BadJournal> {
        let State::Running { step: index } = self.state else {
            return Err(BadJournal::OutOfOrder);
        };
        let step = self.step()?;
        step.input_hash = leaf.input_hash;
        step.output_hash = leaf.output_hash;
        step.completed = Some(at);
        step.state = StepState::Completed;
        self.segment.fuel = fuel;
        self.log_lines = self.log_lines.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        let receipt = |sent: &Sent| Receipt {
            session: self.created.session,
            step: index,
            message_hash: sent.message_hash,
            sender: *self.created.service.as_bytes(),
            receiver: sent.receiver,
            time: self.clock,
        };
        self.receipts.extend(sent.iter().map(receipt));
        Ok(())
    }

    fn decided(
        &mut self,
        at: Time,
        index: u32,
        decision: Decision,
        workload: Option<&Workload>,
    ) -> Result<(), BadJournal> {
        if (State::WaitingIo { step: index }) != self.state {
            return Err(BadJournal::OutOfOrder);
        }
        let (kind, call) = self.asked.take().ok_or(BadJournal::OutOfOrder)?;
        self.receipts.extend(self.delivered(index, &call, &decision, workload));
        let leaf = decision.leaf(index, kind, call.input_hash());
        let statement = decision.certificate.statement;
        let attested = Attested {
            domain: statement.kind.into(),
            subject: *statement.subject.as_bytes(),
            commit_root: statement.root,
            epoch: statement.epoch,
        };
        let request = self.request(index, leaf.retry);
        let commit = decision.commit;
        let step = self.step()?;
        step.request = request;
        step.retry = leaf.retry;
        step.commit_root = leaf.commit_root;
        step.attestation = attested.id();
        step.output_hash = leaf.output_hash;
        step.completed = Some(at);
        step.state = StepState::Completed;
        self.clock = commit.time;
        let answer = Answer { result: commit.result, time: commit.time };
        Arc::make_mut(&mut self.segment.answers).push(answer);
        self.state = self.state.after(Event::Decided)?;
        self.begin(StepKind::Compute, at);
        Ok(())
    }

    /// Returns the receipt of a message that a write sent.
    fn delivered(
        &self,
        step: u32,
        call: &OracleCall,
        decision: &Decision,
        workload: Option<&Workload>,
    ) -> Option<Receipt> {
        let source = workload?.manifest.sources.get(usize::from(call.source))?;
        let (Connector::Message { .. }, OracleResult::Value { bytes }) =
            (&source.connector, &decision.commit.result)
        else {
            return None;
        };
        let signed = SignedReceipt::decode_exact(bytes).ok()?;
        let ours = signed.receipt.session == self.created.session && signed.receipt.step == step;
        ours.then_some(signed.receipt)
    }

    fn checkpoint(&mut self, at: Time, state: &[u8]) -> Result<(), BadJournal> {
        self.state = self.state.after(Event::Checkpointed)?;
        let state = engine::decode_state(state).map_err(|_| BadJournal::BadState)?;
        self.fuel_before = self.fuel_before.saturating_add(self.segment.fuel);
        self.segment = Segment {
            number: self.segment.number + 1,
            state: Arc::new(state),
            began: self.clock,
            first_step: self.state.step(),
            answers: Arc::default(),
            fuel: 0,
        };
        self.begin(StepKind::Compute, at);
        Ok(())
    }

    fn ended(&mut self, at: Time, ending: Ending) -> Result<(), BadJournal> {
        let well = matches!(ending, Ending::Attested { .. })
            && matches!(self.outcome, Some((Outcome::Finished { .. }, _)));
        let event = if well { Event::Finalized } else { Event::Failed };
        self.state = self.state.after(event)?;
        if event == Event::Failed
            && let Ok(step) = self.step()
            && step.state != StepState::Completed
        {
            step.state = StepState::Failed;
        }
        self.ending = Some((at, ending));
        Ok(())
    }

    /// Returns the id of an attempt.
    pub(crate) fn request(&self, step: u32, retry: u32) -> RequestId {
        let Created { service, session, tx, .. } = &*self.created;
        request_id(service, session, Attempt { step, retry }, tx)
    }

    /// Returns the leaves of all steps that ended.
    pub(crate) fn leaves(&self) -> Vec<StepLeaf> {
        self.steps.iter().filter(|step| step.completed.is_some()).map(Step::leaf).collect()
    }

    /// Returns how many steps there are so far.
    pub(crate) fn steps(&self) -> u32 {
        u32::try_from(self.steps.len()).unwrap_or(u32::MAX)
    }

    /// Returns what a quorum attests of the end, if it does.
    pub(crate) fn certificate(&self) -> Option<&QuorumCertificate> {
        match &self.ending {
            Some((_, Ending::Attested { certificate })) => Some(certificate),
            Some((_, Ending::Diverged { certificate })) => certificate.as_deref(),
            _ => None,
        }
    }

    /// Returns why the session failed.
    pub(crate) fn error(&self) -> Option<String> {
        let (_, ending) = self.ending.as_ref()?;
        match (ending, &self.outcome) {
            (Ending::Attested { .. }, Some((Outcome::Failed { reason }, _))) => {
                Some(reason.to_string())
            }
            (Ending::Attested { .. }, _) => None,
            (Ending::Expired, _) => Some("deadline".to_owned()),
            (Ending::Diverged { .. }, _) => Some(
                "this member computed something else than its journal or the quorum".to_owned(),
            ),
            (Ending::Gone, _) => Some("the chain ended it without this member".to_owned()),
        }
    }

    /// Returns how the session is.
    pub(crate) fn report(&self) -> Report {
        let Created { session, service, epoch, tx, program, input, created, deadline, .. } =
            *self.created;
        let committee: Vec<NodeId> = self.created.members.iter().map(|one| one.node).collect();
        let left_out = self.steps.len().saturating_sub(STEPS_SHOWN_MAX);
        let (output, oracle_root, receipts_root) = match &self.outcome {
            Some((Outcome::Finished { output, oracle_root, receipts_root }, _)) => {
                (Some(output.clone()), Some(*oracle_root), Some(*receipts_root))
            }
            _ => (None, None, None),
        };
        Report {
            session,
            service,
            epoch,
            tx,
            program,
            input,
            committee: List::new(committee).expect("the journal bounds members alike"),
            state: self.state.name(),
            current_step: self.state.step(),
            steps_left_out: u32::try_from(left_out).unwrap_or(u32::MAX),
            steps: List::new(&self.steps[left_out..]).expect("as many as fit were taken"),
            output_hash: self.outcome.as_ref().and_then(|(outcome, _)| outcome.output_hash()),
            output,
            oracle_root,
            receipts_root,
            created,
            deadline,
            finalized: self.ending.as_ref().map(|(at, _)| *at),
            error: self.error().and_then(|why| Text::new(why).ok()),
            fuel: self.fuel_before.saturating_add(self.segment.fuel),
            retries: self.steps.iter().fold(0, |sum: u32, step| sum.saturating_add(step.retry)),
            checkpoints: self.segment.number,
            receipts: u32::try_from(self.receipts.len()).unwrap_or(u32::MAX),
            log_lines: self.log_lines,
        }
    }
}
