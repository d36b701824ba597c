//! Answers to local callers and to nodes that ask for theirs.

use std::collections::BTreeSet;

use session_core::{Digest, Encode, List, NodeId, SessionId, Text};
use session_protocol::chain::view::OpenSession;
use session_protocol::workload::Message;
use session_protocol::workload::message::{
    ANSWER_BYTES_MAX, Answer, Question, SessionCreate, SessionRefusal, Talk,
};

use super::queue::Need;
use super::{Cx, Effect, Executor, ended, forward};
use crate::journal::{self, Entry};
use crate::report::{Report, SessionState};
use crate::session::send;

/// Lines of a log in one answer, and their bytes.
const LINES_MAX: usize = 1024;
const LINE_BYTES_MAX: usize = ANSWER_BYTES_MAX / 2;

/// Makes a refusal out of a text.
pub(super) fn other(why: &str) -> SessionRefusal {
    SessionRefusal::Other { why: cut(why) }
}

fn cut(why: &str) -> Text<1024> {
    let mut end = why.len().min(1024);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    Text::new(&why[..end]).expect("it was cut to the bound")
}

fn refused(refusal: SessionRefusal) -> Answer {
    Answer::Refused { refusal }
}

impl Executor {
    /// A local caller brought all of a session.
    pub(super) fn create(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        session: SessionId,
        program: Digest,
        input: Digest,
    ) {
        let create = SessionCreate { session, program, input };
        let answer = match self.may_create(cx, &create) {
            Err(refusal) => refused(refusal),
            Ok(false) => return self.forwards.await_chain(cx, id, create),
            Ok(true) => self.created(cx, create),
        };
        cx.effects.push(Effect::Answer { id, answer });
    }

    /// Returns whether the chain shows the session already.
    fn may_create(
        &mut self,
        cx: &mut Cx<'_>,
        create: &SessionCreate,
    ) -> Result<bool, SessionRefusal> {
        let Some(view) = self.view.clone() else { return Err(SessionRefusal::NoChain) };
        if self.ended.has(&create.session) || self.forwards.past(&create.session).is_some() {
            return Err(SessionRefusal::Exists);
        }
        for blob in forward::blobs_of(create) {
            if !self.blobs.has(&blob) {
                return Err(SessionRefusal::BlobMissing { blob });
            }
        }
        match self.cache.workload(&mut self.blobs, cx.store, &create.program) {
            Some(Ok(workload)) if self.blobs.has(&workload.module) => {}
            Some(Ok(workload)) => {
                return Err(SessionRefusal::BlobMissing { blob: workload.module });
            }
            Some(Err(why)) => return Err(SessionRefusal::BadWorkload { why: cut(&why) }),
            None => return Err(SessionRefusal::BlobMissing { blob: create.program }),
        }
        match view.sessions.get(&create.session) {
            None => Ok(false),
            Some(open) if (open.program, open.input) == (create.program, create.input) => Ok(true),
            Some(_) => Err(other("the chain's session has another program or another input")),
        }
    }

    /// Tells the members of a session that the chain shows where its program is.
    fn created(&mut self, cx: &mut Cx<'_>, create: SessionCreate) -> Answer {
        let session = create.session;
        let shown = self.view.as_ref().and_then(|view| view.sessions.get(&session).cloned());
        let Some(open) = shown else { return refused(SessionRefusal::NotFound) };
        let me = self.config.node;
        let members: BTreeSet<NodeId> = open
            .committee
            .members
            .iter()
            .map(|(node, _)| *node)
            .filter(|node| *node != me)
            .collect();
        self.forwards.create(cx, &self.up, create, members, open.deadline);
        match self.local(cx, &Question::Session { session }) {
            Some(answer) => answer,
            None => session_answer(&self.pending(&session, &open)),
        }
    }

    /// The chain shows more sessions: whoever waited for one of them is answered.
    pub(super) fn forward_created(&mut self, cx: &mut Cx<'_>) {
        let Some(view) = self.view.clone() else { return };
        for (caller, create) in self.forwards.take_shown(&view.sessions) {
            self.create(cx, caller, create.session, create.program, create.input);
        }
    }

    /// Asks the next members, and gives up what took too long.
    pub(super) fn forward_due(&mut self, cx: &mut Cx<'_>) {
        self.forwards.tick(cx, &self.up);
    }

    /// A local caller asks.
    pub(super) fn asked(&mut self, cx: &mut Cx<'_>, id: u64, question: Question) {
        if let Some(answer) = self.local(cx, &question) {
            return cx.effects.push(Effect::Answer { id, answer });
        }
        let Some(view) = &self.view else {
            let answer = refused(SessionRefusal::NoChain);
            return cx.effects.push(Effect::Answer { id, answer });
        };
        let session = forward::session_of(&question);
        let members = match view.sessions.get(&session) {
            Some(open) => Some(open.committee.members.iter().map(|(node, _)| *node).collect()),
            None => self.forwards.past(&session),
        };
        let me = self.config.node;
        match members.map(|nodes: Vec<NodeId>| nodes.into_iter().filter(|node| *node != me)) {
            Some(nodes) => self.forwards.ask(cx, &self.up, id, question, nodes.collect()),
            None => {
                let answer = refused(SessionRefusal::NotFound);
                cx.effects.push(Effect::Answer { id, answer });
            }
        }
    }

    /// Another node asks for somebody that it serves.
    pub(super) fn asked_by_peer(
        &mut self,
        cx: &mut Cx<'_>,
        node: NodeId,
        id: u64,
        question: &Question,
    ) {
        let answer = self.local(cx, question).unwrap_or(refused(SessionRefusal::NotFound));
        send(cx, vec![node], Message::Talk(Box::new(Talk::Answer { id, answer })));
    }

    /// Answers what this node knows itself.
    fn local(&mut self, cx: &mut Cx<'_>, question: &Question) -> Option<Answer> {
        let session = forward::session_of(question);
        let known = self.queue.has(&session)
            || self.active.contains_key(&session)
            || self.ended.has(&session);
        if !known {
            return None;
        }
        Some(match question {
            Question::Session { session } => match self.report(cx, session) {
                Some(report) => session_answer(&report),
                None => refused(SessionRefusal::NotFound),
            },
            Question::Logs { session, from } => logs(cx, *session, *from),
            Question::Bundle { session, offset } => self.bundle(cx, *session, *offset),
            Question::Start { session } => self.start(cx, session),
            Question::Finalize { session } => self.finalize(cx, session),
        })
    }

    fn report(&mut self, cx: &mut Cx<'_>, session: &SessionId) -> Option<Report> {
        if let Some(active) = self.active.get(session) {
            return Some(active.history().report());
        }
        if let Some(open) = self.queue.get(session).cloned() {
            return Some(self.pending(session, &open));
        }
        let mut history = ended::read(cx.store, *session)?;
        let program = history.created.program;
        if let Some(Ok(workload)) = self.cache.workload(&mut self.blobs, cx.store, &program) {
            // With the workload the receipts of messages are among it, too.
            let entries = journal::entries(cx.store, *session);
            history = crate::session::history::History::read(entries, Some(&workload)).ok()?;
        }
        Some(history.report())
    }

    /// Returns how a session is that has not begun.
    fn pending(&self, session: &SessionId, open: &OpenSession) -> Report {
        let committee: Vec<NodeId> = open.committee.members.iter().map(|(node, _)| *node).collect();
        let why = self.queue.is_bad(session).then_some("the workload cannot be run by this node");
        Report {
            session: *session,
            service: open.service,
            epoch: open.epoch,
            tx: open.tx,
            program: open.program,
            input: open.input,
            committee: List::new(committee).unwrap_or_default(),
            state: SessionState::Pending,
            current_step: 0,
            steps_left_out: 0,
            steps: List::new([]).expect("nothing is within every bound"),
            output_hash: None,
            output: None,
            oracle_root: None,
            receipts_root: None,
            created: open.created,
            deadline: open.deadline,
            finalized: None,
            error: why.and_then(|why| Text::new(why).ok()),
            fuel: 0,
            retries: 0,
            checkpoints: 0,
            receipts: 0,
            log_lines: 0,
        }
    }

    /// The seed's `StartSession`. Members begin by themselves, so it says why one has not.
    fn start(&mut self, cx: &mut Cx<'_>, session: &SessionId) -> Answer {
        if self.active.contains_key(session) {
            return Answer::Done;
        }
        let Some(open) = self.queue.get(session).cloned() else {
            return refused(SessionRefusal::NotPending);
        };
        match self.need(cx, &open) {
            Need::Turn if self.active.len() < self.config.sessions_max => Answer::Done,
            Need::Turn => refused(SessionRefusal::Full),
            Need::Blob(blob) => refused(SessionRefusal::BlobMissing { blob }),
            Need::Never => {
                let workload = self.cache.workload(&mut self.blobs, cx.store, &open.program);
                let why = workload.and_then(Result::err);
                let why = cut(why.as_deref().unwrap_or("its module or its input is too long"));
                refused(SessionRefusal::BadWorkload { why })
            }
        }
    }

    /// The seed's `FinalizeSession`: the chain is told again.
    fn finalize(&mut self, cx: &mut Cx<'_>, session: &SessionId) -> Answer {
        if let Some(active) = self.active.get(session) {
            let step = active.history().state.step();
            return refused(SessionRefusal::StepNotCompleted { step });
        }
        if !self.ended.has(session) {
            return refused(SessionRefusal::NotRunning);
        }
        self.submissions.add(*session, cx.now);
        Answer::Done
    }
}

fn session_answer(report: &Report) -> Answer {
    match session_core::Blob::new(report.to_bytes()) {
        Ok(report) => Answer::Session { report },
        Err(_) => refused(other("the session has more steps than fit an answer")),
    }
}

/// Returns lines of the log, from one on.
fn logs(cx: &Cx<'_>, session: SessionId, from: u32) -> Answer {
    let (mut lines, mut bytes, mut number) = (Vec::new(), 0, 0_u32);
    'entries: for entry in journal::entries(cx.store, session) {
        let Entry::Ran { logs, .. } = entry else { continue };
        for line in logs {
            if number >= from {
                bytes += line.len();
                if lines.len() >= LINES_MAX || bytes > LINE_BYTES_MAX {
                    break 'entries;
                }
                lines.push(line);
            }
            number = number.saturating_add(1);
        }
    }
    let next = number.max(from);
    Answer::Logs { lines: List::new(lines).expect("they were counted"), next }
}
