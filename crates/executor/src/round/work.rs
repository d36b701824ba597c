//! What a member does in an attempt: whatever can be done now, once.
//!
//! Everything here asks what was done already and does the next thing, so that it makes no
//! difference whether it goes on after a message, a timeout or a crash.

use session_core::{Digest, List, NodeId, RequestId, Span};
use session_protocol::limits::CLOCK_TOLERANCE;
use session_protocol::workload::message::Decision;
use session_protocol::workload::oracle::{
    Commit, Observation, Pin, RecordHead, SignedRecord, write_key,
};
use session_protocol::workload::round::{Lock, LockedTo, Phase, Prepared, Proposal};

use super::attempt::{Asked, Attempt};
use super::pace::Mandate;
use super::{ASK_FIRST, Cx, LEADER_SPAN, Round, RoundEffect, RoundEntry};
use crate::executor::Outcome;
use crate::facts::Purpose;

impl Round {
    /// Does all that can be done.
    pub(super) fn progress(&mut self, cx: &mut Cx<'_>) {
        if self.decided.is_some() {
            return;
        }
        self.intend(cx);
        loop {
            let before = (self.pace.current, self.pace.target);
            self.keep_pace(cx);
            if self.pace.votes() {
                self.lead(cx);
                self.observe(cx);
                self.prepare(cx);
                self.attest(cx);
                self.give_up_on_records(cx);
                self.follow_the_leader(cx);
            }
            if before == (self.pace.current, self.pace.target) {
                break;
            }
        }
        self.decide(cx);
    }

    fn current(&mut self) -> &mut Attempt {
        self.attempts.entry(self.pace.current).or_default()
    }

    fn intend(&mut self, cx: &mut Cx<'_>) {
        if !self.scene.writes() {
            return;
        }
        let (me, ballot) = (self.scene.me, self.scene.intent());
        if !self.intents.contains_key(&me) {
            let vote = ballot.sign(&*self.scene.keys, cx.rng);
            cx.out.push(RoundEffect::Journal(RoundEntry::Intended { vote: vote.clone() }));
            cx.out.push(RoundEffect::ToAll(self.scene.voting(0, &vote)));
            self.intents.insert(me, vote);
        }
        if self.intent.is_none() {
            let votes = self.intents.values();
            if let Some(prepared) = Prepared::assemble(&ballot, self.scene.members(), votes) {
                self.learn_intent(cx, prepared);
            }
        }
    }

    fn learn_intent(&mut self, cx: &mut Cx<'_>, prepared: Prepared) {
        if self.intent.is_none() {
            let entry = RoundEntry::Intent { prepared: prepared.clone() };
            cx.out.push(RoundEffect::Journal(entry));
            self.intent = Some(prepared);
        }
    }

    fn keep_pace(&mut self, cx: &mut Cx<'_>) {
        let pulled = self.pace.pulled_to(&self.scene);
        if pulled > self.pace.target {
            self.advance(cx, pulled);
        }
        if self.pace.begins(&self.scene) {
            self.begin(cx, self.pace.target);
        }
    }

    fn begin(&mut self, cx: &mut Cx<'_>, retry: u32) {
        self.pace.began(retry);
        self.prune();
        self.ends = Some(cx.now + self.scene.attempt_span(retry));
        self.ask_span = ASK_FIRST;
        self.asks = Some(cx.now + self.ask_span);
    }

    /// Moves on from the current attempt.
    pub(super) fn move_on(&mut self, cx: &mut Cx<'_>) {
        if let Some(next) = self.pace.current.checked_add(1).filter(|_| self.pace.votes()) {
            self.advance(cx, next);
        }
    }

    /// Moves on: from here on this member has no vote in attempts before.
    fn advance(&mut self, cx: &mut Cx<'_>, retry: u32) {
        let locked = self
            .lock
            .as_ref()
            .map(|lock| LockedTo { retry: lock.retry, root: self.scene.root(&lock.commit) });
        let advance = self.scene.advance_head(retry, locked).sign(&*self.scene.keys, cx.rng);
        cx.out.push(RoundEffect::Journal(RoundEntry::Advanced { advance: advance.clone() }));
        cx.out.push(RoundEffect::ToAll(self.scene.moving(&advance, self.lock.as_ref())));
        self.pace.moved(advance, self.lock.clone());
    }

    /// Does what the leader of the current attempt does until it proposes.
    fn lead(&mut self, cx: &mut Cx<'_>) {
        let retry = self.pace.current;
        if !self.scene.leads(retry) || self.current().proposed.is_some() {
            return;
        }
        let Some(mandate) = self.pace.mandate(&self.scene, retry) else { return };
        if let Some(lock) = mandate.lock.clone() {
            let lacks_intent =
                self.scene.writes() && self.intent.is_none() && !lock.commit.records.is_empty();
            if !lacks_intent {
                self.propose(cx, mandate, lock.commit.clone());
            }
        } else if self.scene.gives_up(retry) {
            let (result, time) = (self.scene.given_up(), self.scene.before);
            let records = List::new([]).expect("nothing is within every bound");
            let commit = Commit { retry, records, result, time };
            self.propose(cx, mandate, commit);
        } else if self.scene.writes() {
            self.lead_write(cx, mandate);
        } else {
            self.lead_read(cx, mandate);
        }
    }

    fn lead_write(&mut self, cx: &mut Cx<'_>, mandate: Mandate) {
        let (me, retry) = (self.scene.me, self.pace.current);
        if self.current().records.contains_key(&me) {
            if let Some(commit) = self.commit_of(retry, |it| it.submitter == me) {
                self.propose(cx, mandate, commit);
            }
        } else if self.intent.is_some() && self.current().asked.is_none() {
            cx.out.push(RoundEffect::Journal(RoundEntry::Writing { retry }));
            let key = write_key(&self.scene.facts.session, self.scene.step);
            self.ask(cx, Asked::Write, Purpose::Write { key });
        }
    }

    fn lead_read(&mut self, cx: &mut Cx<'_>, mandate: Mandate) {
        let retry = self.pace.current;
        if self.current().opened.is_none() {
            if !self.scene.pins() {
                self.open(cx, None);
            } else if self.current().asked.is_none() {
                self.ask(cx, Asked::Pin, Purpose::Pin);
            }
        }
        let opened = self.current().opened;
        if let Some(commit) = self.commit_of(retry, |it| opened == Some(it.pin)) {
            self.propose(cx, mandate, commit);
        }
    }

    fn open(&mut self, cx: &mut Cx<'_>, pin: Option<Pin>) {
        self.current().opened = Some(pin);
        cx.out.push(RoundEffect::ToAll(self.scene.opening(self.pace.current, pin)));
    }

    fn ask(&mut self, cx: &mut Cx<'_>, asked: Asked, purpose: Purpose) {
        let retry = self.pace.current;
        self.current().asked = Some(asked);
        let request = self.scene.request(retry);
        cx.out.push(RoundEffect::Fetch { retry, request, purpose });
    }

    /// Returns what those records of an attempt come to that count, once they agree.
    fn commit_of(&self, retry: u32, counts: impl Fn(&SignedRecord) -> bool) -> Option<Commit> {
        let records = &self.attempts.get(&retry)?.records;
        let mut records: Vec<&SignedRecord> = records.values().filter(|it| counts(it)).collect();
        let result = self.scene.decide(records.iter().copied())?;
        let time = self.scene.agreed_time(records.iter().copied());
        let request = self.scene.request(retry);
        records.sort_by_cached_key(|record| record.id(&request));
        let records = List::new(records.into_iter().cloned().collect::<Vec<_>>()).ok()?;
        Some(Commit { retry, records, result, time })
    }

    fn propose(&mut self, cx: &mut Cx<'_>, mandate: Mandate, commit: Commit) {
        let Ok(root) = self.scene.check_commit(&commit) else { return };
        let Ok(advances) = List::new(mandate.advances) else { return };
        let written = self.scene.writes() && !commit.records.is_empty();
        let proposal = Box::new(Proposal {
            session: self.scene.facts.session,
            step: self.scene.step,
            retry: self.pace.current,
            commit: commit.clone(),
            advances,
            lock: mandate.lock.map(|lock| lock.prepared.clone()),
            intent: self.intent.clone().filter(|_| written),
        });
        let entry = RoundEntry::Proposed { proposal: proposal.clone() };
        cx.out.push(RoundEffect::Journal(entry));
        cx.out.push(RoundEffect::ToAll(session_protocol::workload::Message::Commit(
            proposal.clone(),
        )));
        let attempt = self.current();
        attempt.proposed = Some(proposal);
        attempt.commit = Some((root, commit));
    }

    fn observe(&mut self, cx: &mut Cx<'_>) {
        let (me, retry) = (self.scene.me, self.pace.current);
        let (reads, pins) = (!self.scene.writes(), self.scene.pins());
        let attempt = self.current();
        let done = attempt.commit.is_some() || attempt.records.contains_key(&me);
        let pin = if pins { attempt.opened } else { Some(None) };
        let idle = attempt.asked.is_none();
        if let Some(pin) = pin.filter(|_| reads && !done && idle && !self.scene.gives_up(retry)) {
            self.ask(cx, Asked::Observation, Purpose::Observe { pin });
        }
    }

    /// Takes what the world answered.
    pub(super) fn on_fetched(&mut self, cx: &mut Cx<'_>, request: RequestId, outcome: Outcome) {
        let waits = self.decided.is_none() && self.pace.votes();
        if !waits || request != self.scene.request(self.pace.current) {
            return;
        }
        let retry = self.pace.current;
        let asked = self.current().asked.take();
        match (asked, outcome) {
            (Some(Asked::Pin), Outcome::Pinned(Ok(pin))) => {
                cx.out.push(RoundEffect::Journal(RoundEntry::Pinned { retry, pin }));
                self.open(cx, Some(pin));
            }
            (Some(Asked::Observation), Outcome::Observed { observation, .. }) => {
                let pin = self.current().opened.flatten();
                let record = self.sign_record(cx, observation, pin);
                cx.out.push(RoundEffect::ToAll(self.scene.observing(retry, &record)));
            }
            (Some(Asked::Write), Outcome::Observed { observation, .. }) => match observation {
                Observation::Value { .. } => {
                    self.sign_record(cx, observation, None);
                }
                Observation::Failed { .. } => self.move_on(cx),
            },
            (Some(Asked::Confirmation), Outcome::Confirmed(Ok(()))) => {
                self.current().confirmed = true;
            }
            (Some(Asked::Pin), Outcome::Pinned(Err(_)))
            | (Some(Asked::Confirmation), Outcome::Confirmed(Err(_))) => self.move_on(cx),
            (asked, _) => self.current().asked = asked,
        }
    }

    /// Signs the one record of the current attempt.
    fn sign_record(
        &mut self,
        cx: &mut Cx<'_>,
        observation: Observation,
        pin: Option<Pin>,
    ) -> SignedRecord {
        let (me, retry) = (self.scene.me, self.pace.current);
        let head = RecordHead {
            chain: self.scene.facts.chain,
            committee: self.scene.facts.committee,
            request: self.scene.request(retry),
            submitter: me,
            data_hash: observation.data_hash(),
            pin,
            time: cx.now,
        };
        let record = SignedRecord::sign(head, observation, &*self.scene.keys, cx.rng);
        let entry = RoundEntry::Record { retry, record: record.clone() };
        cx.out.push(RoundEffect::Journal(entry));
        self.current().records.insert(me, record.clone());
        record
    }

    /// Takes a leader's proposal.
    pub(super) fn on_proposal(&mut self, cx: &mut Cx<'_>, from: NodeId, proposal: Proposal) {
        let retry = proposal.retry;
        if self.decided.is_some() {
            return self.answer(cx, from);
        }
        if from == self.scene.me || retry < self.pace.current {
            return;
        }
        let known = self.attempts.get(&retry).and_then(|it| it.commit.as_ref());
        if known.is_some_and(|(_, commit)| *commit == proposal.commit) {
            return;
        }
        let root = match self.scene.check_proposal(from, &proposal) {
            Ok(root) => root,
            Err(why) => return cx.out.push(RoundEffect::Misbehaved { node: from, why }),
        };
        self.note_records(cx, &proposal.commit);
        if retry > self.pace.current {
            if retry < self.pace.target {
                return;
            }
            if retry > self.pace.target {
                self.advance(cx, retry);
            }
            self.begin(cx, retry);
        }
        self.accept(cx, from, root, proposal);
    }

    fn note_records(&mut self, cx: &mut Cx<'_>, commit: &Commit) {
        for record in &commit.records {
            self.note_record(cx, commit.retry, record.clone());
        }
    }

    fn accept(&mut self, cx: &mut Cx<'_>, from: NodeId, root: Digest, proposal: Proposal) {
        let Proposal { retry, commit, intent, .. } = proposal;
        // Only a quorum's median is bound to honest clocks.
        let late = commit.time > (cx.now + CLOCK_TOLERANCE).max(self.scene.before);
        if commit.retry == retry && late {
            return;
        }
        if let Some(intent) = intent.filter(|_| self.scene.writes() && !commit.records.is_empty()) {
            self.learn_intent(cx, intent);
        }
        let attempt = self.current();
        match &attempt.commit {
            None => attempt.commit = Some((root, commit)),
            Some((first, _)) if *first != root => {
                cx.out.push(RoundEffect::Misbehaved { node: from, why: "proposes two commits" });
            }
            Some(_) => {}
        }
    }

    fn prepare(&mut self, cx: &mut Cx<'_>) {
        let (me, retry) = (self.scene.me, self.pace.current);
        let confirms = self.scene.writes() && self.scene.source().confirm.is_some();
        let attempt = self.current();
        let Some((root, commit)) = &attempt.commit else { return };
        if attempt.prepares.contains_key(&me) {
            return;
        }
        let fresh_write = commit.retry == retry && !commit.records.is_empty();
        if confirms && fresh_write && !attempt.confirmed {
            if attempt.asked.is_none() {
                self.ask(cx, Asked::Confirmation, Purpose::Confirm);
            }
            return;
        }
        let (root, commit) = (*root, Box::new(commit.clone()));
        let vote = self.scene.ballot(retry, Phase::Prepare, root).sign(&*self.scene.keys, cx.rng);
        let entry = RoundEntry::Prepared { retry, commit, vote: vote.clone() };
        cx.out.push(RoundEffect::Journal(entry));
        cx.out.push(RoundEffect::ToAll(self.scene.voting(retry, &vote)));
        self.current().prepares.insert(me, vote);
    }

    /// Locks what a quorum prepared, and attests it.
    fn attest(&mut self, cx: &mut Cx<'_>) {
        let (me, retry) = (self.scene.me, self.pace.current);
        let Some(attempt) = self.attempts.get(&retry) else { return };
        let Some((root, commit)) = &attempt.commit else { return };
        if attempt.votes.contains_key(&me) {
            return;
        }
        let ballot = self.scene.ballot(retry, Phase::Prepare, *root);
        let Some(prepared) = attempt.prepared(&self.scene, &ballot) else { return };
        let lock = Lock { retry, commit: commit.clone(), prepared };
        let vote = self.scene.statement(retry, *root).sign(&*self.scene.keys, cx.rng);
        let entry = RoundEntry::Locked { lock: Box::new(lock.clone()) };
        cx.out.push(RoundEffect::Journal(entry));
        let entry = RoundEntry::Attested { retry, vote: vote.clone() };
        cx.out.push(RoundEffect::Journal(entry));
        cx.out.push(RoundEffect::ToAll(self.scene.attesting(retry, &vote)));
        self.lock = Some(lock);
        self.current().votes.insert(me, vote);
    }

    /// Moves on when the records cannot agree any more.
    fn give_up_on_records(&mut self, cx: &mut Cx<'_>) {
        let retry = self.pace.current;
        if self.scene.writes() || self.scene.gives_up(retry) || self.pace.any_lock() {
            return;
        }
        let Some(attempt) = self.attempts.get(&retry).filter(|it| it.commit.is_none()) else {
            return;
        };
        if self.scene.hopeless(attempt.records.values()) {
            self.move_on(cx);
        } else {
            self.expect_a_proposal(cx);
        }
    }

    /// Moves on with a leader that moved on and left nothing behind: a writer whose write failed.
    fn follow_the_leader(&mut self, cx: &mut Cx<'_>) {
        let retry = self.pace.current;
        let leader = self.scene.leader(retry);
        let left = self.pace.latest(&leader).is_some_and(|(it, _)| it.head.retry > retry);
        if left && self.pace.votes() && self.current().commit.is_none() {
            self.move_on(cx);
        }
    }

    /// Waits no longer for a leader than it needs, once the records agree: one that was killed would
    /// cost the whole time of the attempt.
    fn expect_a_proposal(&mut self, cx: &Cx<'_>) {
        let patience = LEADER_SPAN.as_millis().saturating_mul(u64::from(self.pace.current) + 1);
        let soon = cx.now + Span::from_millis(patience);
        if self.ends.is_none_or(|ends| ends <= soon) {
            return;
        }
        let attempt = self.attempts.get(&self.pace.current);
        let agree = attempt.is_some_and(|it| self.scene.decide(it.records.values()).is_some());
        if agree {
            self.ends = Some(soon);
        }
    }

    fn decide(&mut self, cx: &mut Cx<'_>) {
        let decision = self.attempts.iter().find_map(|(retry, attempt)| {
            let (root, commit) = attempt.commit.as_ref()?;
            let statement = self.scene.statement(*retry, *root);
            let certificate = attempt.certificate(&self.scene, &statement)?;
            let written = self.scene.writes() && !commit.records.is_empty();
            let intent = self.intent.clone().filter(|_| written);
            let commit = commit.clone();
            Some(Box::new(Decision { retry: *retry, commit, certificate, intent }))
        });
        if let Some(decision) = decision {
            self.settle(cx, decision);
        }
    }
}
