//! One session of one member, while it runs.
//!
//! What it has come to is its [`History`]; what it waits for is its [`Work`]. Every change of the
//! history is an entry of the journal first.

use std::sync::Arc;

use session_core::{Blob, Context, List, NodeId, SessionId, Span, Text, Time};
use session_protocol::attestation::QuorumCertificate;
use session_protocol::evidence::Evidence;
use session_protocol::workload::Message;
use session_protocol::workload::message::{Decision, Talk};
use session_protocol::workload::receipt::receipts_root;
use session_protocol::workload::step::{StepLeaf, oracle_root};
use session_storage::Store;

use crate::bundle::Outcome;
use crate::engine::{self, Job, Ran, Stop};
use crate::executor::{Config, Effect, Note, Outcome as Fetched};
use crate::facts::{Facts, Fetch};
use crate::journal::{self, Created, Ending, Entry, Journal, Sent};
use crate::round::{self, Round, RoundEffect, RoundEntry, RoundInput, Scene};

pub(crate) mod history;
mod outcome;
mod spoken;
pub(crate) mod state;

use history::{BadJournal, History};
use outcome::Tally;
use state::State;

pub(crate) use spoken::Heard;

/// The context of every call.
pub(crate) type Cx<'a> = Context<'a, dyn Store, Effect>;

/// How long after its deadline a session may still hear what a quorum attested before.
const GRACE: Span = Span::from_secs(10);
/// How long a member that knows that its session ended well may take to come to the end itself.
const CATCH_UP: Span = Span::from_secs(300);
/// How often a member that waits for the end tells the others where it is.
const ASK_EVERY: Span = Span::from_secs(3);
/// Steps that another member may be ahead for its messages to be kept.
const AHEAD_MAX: u32 = 8;

/// What a session waits for.
enum Work {
    /// The program runs.
    Computing,
    /// The committee agrees on what the world said.
    Asking(Box<Round>),
    /// The program ended; a quorum is to attest what came of it.
    Attesting,
    /// Nothing any more.
    Ended,
}

/// One session of one member.
pub(crate) struct Session {
    config: Arc<Config>,
    facts: Arc<Facts>,
    journal: Journal,
    history: History,
    work: Work,
    tally: Tally,
    /// What the last compute step before a crash must come to again.
    recheck: Option<StepLeaf>,
    /// When to tell the others where it is.
    next_at: Time,
    /// Whether the chain no longer has it.
    gone: bool,
    /// Whether the store failed: nothing that was not written down may be heard.
    halted: bool,
}

impl Session {
    /// Begins a session.
    pub(crate) fn begin(
        cx: &mut Cx<'_>,
        config: Arc<Config>,
        facts: Arc<Facts>,
        created: Box<Created>,
    ) -> Self {
        let journal = Journal::new(facts.session, facts.deadline);
        let history = History::new(created.clone());
        let mut session = Self::with(cx, config, facts, journal, history);
        session.guarded(cx, |session, cx| {
            session.journal_only(cx, &Entry::Created { facts: created });
            session.write(cx, Entry::Started { at: cx.now });
            cx.effects.push(Effect::Note(Note::Started { session: session.facts.session }));
            session.run(cx);
        });
        session
    }

    /// Goes on with a session after a start.
    pub(crate) fn resume(
        cx: &mut Cx<'_>,
        config: Arc<Config>,
        facts: Arc<Facts>,
        (journal, entries): (Journal, Vec<Entry>),
    ) -> Result<Self, BadJournal> {
        let (mut leaf, mut rounds): (Option<StepLeaf>, Vec<RoundEntry>) = (None, Vec::new());
        for entry in &entries {
            match entry {
                Entry::Ran { leaf: ran, .. } => leaf = Some(*ran),
                Entry::Round { entry, .. } => rounds.push((**entry).clone()),
                Entry::Decided { .. } => {
                    rounds.clear();
                    leaf = None;
                }
                Entry::Checkpoint { .. } => leaf = None,
                _ => {}
            }
        }
        let history = History::read(entries, Some(&facts.workload))?;
        let mut session = Self::with(cx, config, facts, journal, history);
        session.recheck = leaf;
        session.guarded(cx, |session, cx| session.go_on(cx, rounds));
        Ok(session)
    }

    fn with(
        cx: &Cx<'_>,
        config: Arc<Config>,
        facts: Arc<Facts>,
        journal: Journal,
        history: History,
    ) -> Self {
        Self {
            config,
            facts,
            journal,
            history,
            work: Work::Computing,
            tally: Tally::default(),
            recheck: None,
            next_at: cx.now,
            gone: false,
            halted: false,
        }
    }

    /// Takes up what was under way. The program is run again in any case: it must come to the same.
    fn go_on(&mut self, cx: &mut Cx<'_>, rounds: Vec<RoundEntry>) {
        match (self.history.state, &self.history.outcome) {
            (State::Pending, _) => self.write(cx, Entry::Started { at: cx.now }),
            (State::WaitingIo { .. }, _) => {
                let Some(scene) = self.scene() else { return };
                self.work = Work::Asking(Box::new(Round::restore(scene, rounds)));
                // After the deadline nothing may be asked or written any more.
                if cx.now < self.facts.deadline {
                    self.with_round(cx, |round, rcx| round.start(rcx));
                }
            }
            (State::Running { .. }, Some((_, vote))) => {
                self.work = Work::Attesting;
                if let Some(vote) = vote.clone() {
                    self.tally.add(*vote);
                }
                self.attest(cx);
            }
            _ => {}
        }
        self.run(cx);
    }

    /// Returns the session's id.
    pub(crate) fn id(&self) -> SessionId {
        self.facts.session
    }

    /// Returns what it is made of.
    pub(crate) const fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// Returns what it has come to.
    pub(crate) const fn history(&self) -> &History {
        &self.history
    }

    /// Returns whether it ended, or can do nothing any more.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.work, Work::Ended) || self.halted
    }

    /// Returns the other members.
    pub(crate) fn others(&self) -> Vec<NodeId> {
        let me = self.config.node;
        self.facts.members.iter().map(|(node, _)| *node).filter(|node| *node != me).collect()
    }

    /// Returns when it wants [`Session::tick`] to run.
    pub(crate) fn deadline(&self) -> Time {
        let due = match &self.work {
            Work::Asking(round) => round.deadline(),
            Work::Attesting => Some(self.next_at),
            Work::Computing => self.gone.then_some(self.next_at),
            Work::Ended => None,
        };
        due.unwrap_or(Time::MAX).min(self.last_moment())
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, cx: &mut Cx<'_>) {
        self.guarded(cx, |session, cx| {
            if cx.now >= session.last_moment() {
                let ending = if session.gone { Ending::Gone } else { Ending::Expired };
                return session.end(cx, ending);
            }
            if session.next_at <= cx.now
                && (session.gone || matches!(session.work, Work::Attesting))
            {
                session.tell_where(cx);
            }
            if let Work::Asking(round) = &session.work
                && round.deadline().is_some_and(|due| due <= cx.now)
            {
                session.with_round(cx, |round, rcx| round.tick(rcx));
            }
        });
    }

    /// The chain no longer has it: whoever knows why is asked, until the deadline.
    pub(crate) fn vanished(&mut self, cx: &mut Cx<'_>) {
        if !self.gone {
            self.gone = true;
            self.next_at = cx.now;
        }
    }

    /// The chain's time is over.
    pub(crate) fn expire(&mut self, cx: &mut Cx<'_>) {
        if !self.knows_end() {
            self.guarded(cx, |session, cx| session.end(cx, Ending::Expired));
        }
    }

    /// The program ran on.
    pub(crate) fn ran(&mut self, cx: &mut Cx<'_>, ran: Ran) {
        self.guarded(cx, |session, cx| session.went_on(cx, ran));
    }

    /// The world answered.
    pub(crate) fn fetched(
        &mut self,
        cx: &mut Cx<'_>,
        request: session_core::RequestId,
        outcome: Fetched,
    ) {
        self.guarded(cx, |session, cx| {
            if let Fetched::Observed { received, .. } = &outcome
                && *received > 0
            {
                session.write(cx, Entry::Received { bytes: *received });
            }
            let input = RoundInput::Fetched { request, outcome };
            session.with_round(cx, |round, rcx| round.handle(rcx, input));
        });
    }

    /// Another member can be reached.
    pub(crate) fn peer_up(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        self.guarded(cx, |session, cx| match &session.work {
            Work::Asking(_) => {
                session.with_round(cx, |round, rcx| {
                    round.handle(rcx, RoundInput::PeerUp { node });
                });
            }
            Work::Attesting => session.send_vote(cx, vec![node]),
            Work::Computing | Work::Ended => {}
        });
    }

    /// Runs `work`, and takes back what it wants the world to hear if the store failed meanwhile.
    fn guarded(&mut self, cx: &mut Cx<'_>, work: impl FnOnce(&mut Self, &mut Cx<'_>)) {
        if self.halted {
            return;
        }
        let before = cx.effects.len();
        work(self, cx);
        if self.halted {
            cx.effects.truncate(before);
            let doing = "writing the journal of a session";
            cx.effects.push(Effect::Note(Note::StoreFailed { doing }));
            cx.effects.push(Effect::Forget { session: self.facts.session });
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, entry: Entry) {
        self.journal_only(cx, &entry);
        let applied = self.history.apply(entry, Some(&self.facts.workload));
        // What is written follows from the state that it is written in.
        debug_assert_eq!(applied, Ok(()));
        self.halted |= applied.is_err();
    }

    fn journal_only(&mut self, cx: &mut Cx<'_>, entry: &Entry) {
        self.halted |= self.journal.append(cx.store, entry).is_err();
    }

    fn job(&self) -> Job {
        let segment = &self.history.segment;
        Job {
            facts: Arc::clone(&self.facts),
            segment: segment.number,
            state: Arc::clone(&segment.state),
            began: segment.began,
            first_step: segment.first_step,
            answers: Arc::clone(&segment.answers),
        }
    }

    fn run(&self, cx: &mut Cx<'_>) {
        cx.effects.push(Effect::Run(Box::new(self.job())));
    }

    fn went_on(&mut self, cx: &mut Cx<'_>, ran: Ran) {
        let segment = &self.history.segment;
        if ran.segment != segment.number || ran.answers as usize != segment.answers.len() {
            return;
        }
        let index = segment.first_step.saturating_add(ran.answers.saturating_mul(2));
        let leaf = ran.leaf(&self.job(), index);
        if let Some(before) = self.recheck.take()
            && before != leaf
        {
            cx.effects.push(Effect::Note(Note::Diverged { session: self.facts.session }));
            return self.end(cx, Ending::Diverged { certificate: None });
        }
        // Of a step that was written down before a crash nothing is left to do.
        let written = self.history.steps.last().is_some_and(|step| step.completed.is_some());
        if !matches!(self.work, Work::Computing) || (written && self.history.outcome.is_some()) {
            return;
        }
        if !written {
            self.write(cx, ran_entry(cx.now, leaf, &ran));
        }
        match ran.stop {
            Stop::Asks { kind, call } => {
                self.write(cx, Entry::Asked { at: cx.now, kind, call });
                let Some(scene) = self.scene() else { return };
                self.work = Work::Asking(Box::new(Round::new(scene)));
                self.with_round(cx, |round, rcx| round.start(rcx));
            }
            Stop::Checkpoint { state } => {
                let state = Blob::new(engine::encode_state(&state))
                    .expect("the engine bounds what programs keep to half of this");
                self.write(cx, Entry::Checkpoint { at: cx.now, state });
                self.run(cx);
            }
            Stop::Finished { output } => match Blob::new(output) {
                Ok(output) => {
                    let oracle_root = oracle_root(&self.history.leaves());
                    let receipts_root = receipts_root(&self.history.receipts);
                    self.complete(cx, Outcome::Finished { output, oracle_root, receipts_root });
                }
                Err(_) => self.fail(cx, "the output is too long"),
            },
            Stop::Failed { reason } => self.fail(cx, &reason),
        }
    }

    fn fail(&mut self, cx: &mut Cx<'_>, reason: &str) {
        let mut end = reason.len().min(256);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let reason = Text::new(&reason[..end]).expect("it was cut to the bound");
        self.complete(cx, Outcome::Failed { reason });
    }

    fn scene(&self) -> Option<Scene> {
        let (kind, call) = self.history.asked.clone()?;
        Some(Scene {
            facts: Arc::clone(&self.facts),
            me: self.config.node,
            keys: Arc::clone(&self.config.keys),
            verifier: Arc::clone(&self.config.verifier),
            step: self.history.state.step(),
            kind,
            call,
            before: self.history.clock,
        })
    }

    /// Lets the agreement on the current step do something, and does what it wants.
    fn with_round(&mut self, cx: &mut Cx<'_>, act: impl FnOnce(&mut Round, &mut round::Cx<'_>)) {
        let Work::Asking(round) = &mut self.work else { return };
        let mut out = Vec::new();
        act(round, &mut round::Cx { now: cx.now, rng: cx.rng, out: &mut out });
        let mut decided = None;
        for effect in out {
            match effect {
                RoundEffect::Decided(decision) => decided = Some(decision),
                other => self.perform(cx, other),
            }
        }
        if let Some(decision) = decided {
            self.decide(cx, decision);
        }
    }

    fn perform(&mut self, cx: &mut Cx<'_>, effect: RoundEffect) {
        let step = self.history.state.step();
        match effect {
            RoundEffect::Journal(entry) => {
                self.write(cx, Entry::Round { step, entry: Box::new(entry) });
            }
            RoundEffect::ToAll(message) => send(cx, self.others(), message),
            RoundEffect::To(node, message) => send(cx, vec![node], message),
            RoundEffect::Fetch { retry, request, purpose } => {
                let Some((_, call)) = self.history.asked.clone() else { return };
                let bytes_max = self.facts.workload.manifest.limits.egress_bytes;
                cx.effects.push(Effect::Fetch(Box::new(Fetch {
                    facts: Arc::clone(&self.facts),
                    step,
                    retry,
                    request,
                    call,
                    purpose,
                    bytes_left: bytes_max.saturating_sub(self.history.received),
                })));
            }
            RoundEffect::Accuse(evidence) => cx.effects.push(Effect::Accuse { evidence }),
            RoundEffect::Misbehaved { node, why } => {
                cx.effects.push(Effect::Misbehaved { node, why });
            }
            // Taken out by the caller.
            RoundEffect::Decided(_) => {}
        }
    }

    fn decide(&mut self, cx: &mut Cx<'_>, decision: Box<Decision>) {
        let (step, retry) = (self.history.state.step(), decision.retry);
        self.write(cx, Entry::Decided { at: cx.now, step, decision });
        let session = self.facts.session;
        cx.effects.push(Effect::Note(Note::Decided { session, step, retry }));
        self.work = Work::Computing;
        self.recheck = None;
        self.run(cx);
    }

    /// Tells the other members where it is: who is further on answers.
    fn tell_where(&mut self, cx: &mut Cx<'_>) {
        self.next_at = cx.now + ASK_EVERY;
        let step = match self.work {
            Work::Attesting => self.history.steps(),
            _ => self.history.state.step(),
        };
        let session = self.facts.session;
        send(cx, self.others(), Message::Talk(Box::new(Talk::At { session, step })));
    }

    fn end(&mut self, cx: &mut Cx<'_>, ending: Ending) {
        if self.history.state.is_ended() {
            return;
        }
        self.write(cx, Entry::Ended { at: cx.now, ending });
        self.work = Work::Ended;
        let session = self.facts.session;
        cx.effects.push(Effect::Forget { session });
        cx.effects.push(Effect::Note(Note::Ended { session, failed: self.history.error() }));
    }

    fn accuse(cx: &mut Cx<'_>, evidence: Evidence) {
        cx.effects.push(Effect::Accuse { evidence: Box::new(evidence) });
    }
}

/// Sends a message, unless there is nobody to send it to.
pub(crate) fn send(cx: &mut Cx<'_>, nodes: Vec<NodeId>, message: Message) {
    if !nodes.is_empty() {
        cx.effects.push(Effect::Send { nodes, message });
    }
}

/// Returns the message that says what a step came to.
pub(crate) fn decided_message(
    store: &dyn Store,
    session: SessionId,
    step: u32,
    index: u32,
) -> Option<Message> {
    let Some(Entry::Decided { decision, .. }) = journal::read(store, &session, index) else {
        return None;
    };
    Some(Message::Talk(Box::new(Talk::Decided { session, step, decision })))
}

/// Returns the message that says what a session ended with.
pub(crate) fn ended_message(session: SessionId, certificate: &QuorumCertificate) -> Message {
    let certificate = Box::new(certificate.clone());
    Message::Talk(Box::new(Talk::Ended { session, certificate }))
}

fn ran_entry(at: Time, leaf: StepLeaf, ran: &Ran) -> Entry {
    let sent: Vec<Sent> = ran
        .emitted
        .iter()
        .map(|one| Sent { receiver: one.receiver, message_hash: one.message_hash })
        .collect();
    let lines: Vec<Text<{ journal::LINE_BYTES_MAX }>> =
        ran.logs.iter().filter_map(|line| Text::new(line.as_str()).ok()).collect();
    Entry::Ran {
        at,
        leaf,
        fuel: ran.fuel,
        sent: List::new(sent).expect("the engine bounds what a program emits alike"),
        logs: List::new(lines).expect("the engine bounds what a program logs to as many bytes"),
    }
}
