//! What the chain shows of sessions, and what it is told.
//!
//! Every member may tell the chain how a session goes; they do it in the order in which they would
//! lead, a few seconds apart, until the chain shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::seed_ids::{Attempt, request_id};
use session_core::timers::Timers;
use session_core::{Digest, NodeId, ServiceId, SessionId, Span, Text, Time, TxId, sha256};
use session_crypto::DsaPublicKey;
use session_protocol::chain::Action;
use session_protocol::chain::view::{ChainView, OpenSession};
use session_protocol::workload::message::leaders;

use super::{Cx, Effect, Executor};
use crate::bundle::Outcome;
use crate::facts::Facts;
use crate::session::Session;

/// How much later the next member tells the chain.
const TURN: Span = Span::from_secs(4);
/// How much later than its deadline a session is given up for lack of a block that says so.
const LATE: Span = Span::from_secs(2);
/// The reason of a failure that needs no certificate.
const DEADLINE: &str = "deadline";

/// What the chain is to be told, and when.
#[derive(Default)]
pub(super) struct Submissions {
    due: Timers<SessionId>,
    /// When this node said that a session began.
    started: BTreeMap<SessionId, Time>,
}

impl Submissions {
    /// Looks after a session at a time, or earlier if that was meant already.
    pub(super) fn add(&mut self, id: SessionId, at: Time) {
        if self.due.time(&id).is_none_or(|before| at < before) {
            self.due.set(id, at);
        }
    }

    fn has(&self, id: &SessionId) -> bool {
        self.due.time(id).is_some()
    }

    /// Returns when something is due.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.due.next()
    }
}

/// Returns a member's place in the order in which they tell the chain.
fn rank(
    (service, session, tx): (&ServiceId, &SessionId, &TxId),
    randomness: &Digest,
    me: &NodeId,
    members: &[(NodeId, DsaPublicKey)],
) -> usize {
    let request = request_id(service, session, Attempt::default(), tx);
    let order = leaders(randomness, &request, members.iter().map(|(node, _)| *node));
    order.iter().position(|node| node == me).unwrap_or(order.len())
}

/// The same of a session that runs here.
pub(super) fn rank_of(facts: &Facts, me: &NodeId) -> usize {
    let of = (&facts.service, &facts.session, &facts.tx);
    rank(of, &facts.randomness, me, &facts.members)
}

/// The same of a session that the chain shows.
fn rank_in(open: &OpenSession, id: &SessionId, me: &NodeId) -> usize {
    rank((&open.service, id, &open.tx), &open.randomness, me, &open.committee.members)
}

/// Returns when the member of a rank tells the chain what it may be told from `now` on.
pub(super) fn turn(now: Time, rank: usize) -> Time {
    now + Span::from_millis(TURN.as_millis().saturating_mul(rank as u64))
}

impl Executor {
    /// A block was accepted.
    pub(super) fn viewed(&mut self, cx: &mut Cx<'_>, view: Arc<ChainView>) {
        let before = self.view.replace(Arc::clone(&view));
        if let Some(before) = before {
            self.forwards.ended(before.sessions.iter(), &view.sessions);
        }
        for (id, open) in view.sessions.iter() {
            if open.committee.members.iter().any(|(node, _)| *node == self.config.node) {
                self.shown(cx, id, open, view.time);
            }
        }
        let gone: Vec<SessionId> = self
            .queue
            .iter()
            .map(|(id, _)| *id)
            .filter(|id| !view.sessions.contains_key(id))
            .collect();
        for id in gone {
            self.queue.remove(&id);
        }
        let shown = |id: &&SessionId| view.sessions.contains_key(id);
        let vanished: Vec<SessionId> =
            self.active.keys().filter(|id| !shown(id)).copied().collect();
        for id in vanished {
            self.with_session(cx, id, Session::vanished);
        }
        self.forward_created(cx);
    }

    /// The chain shows a session of which this node is a member.
    fn shown(&mut self, cx: &mut Cx<'_>, id: &SessionId, open: &Arc<OpenSession>, time: Time) {
        let over = time.max(cx.now) >= open.deadline;
        if self.active.contains_key(id) {
            if time >= open.deadline {
                self.with_session(cx, *id, |session, cx| session.expire(cx));
            }
        } else if over {
            self.queue.remove(id);
            if !self.submissions.has(id) {
                let rank = rank_in(open, id, &self.config.node);
                self.submissions.add(*id, turn(cx.now.max(open.deadline + LATE), rank));
            }
        } else if self.ended.has(id) {
            // It ended before a restart, and the chain was not told, or did not hear it.
            if !self.submissions.has(id) {
                self.submissions.add(*id, turn(cx.now, rank_in(open, id, &self.config.node)));
            }
        } else if !self.queue.has(id) {
            self.wait(cx, *id, open);
            // Nobody may bring its program, and no block may follow its deadline.
            let rank = rank_in(open, id, &self.config.node);
            self.submissions.add(*id, turn(open.deadline + LATE, rank));
        }
    }

    /// A session is over here: its slot is free, and the chain is told.
    pub(super) fn over(&mut self, cx: &mut Cx<'_>, id: SessionId) {
        let Some(session) = self.active.remove(&id) else { return };
        self.watch.end(&id, session.facts().members.iter().map(|(node, _)| *node));
        self.early.take(&id);
        let history = session.history();
        if let Some((at, _)) = &history.ending {
            self.ended.note(id, *at);
            let rank = rank_of(session.facts(), &self.config.node);
            self.submissions.add(id, turn(cx.now, rank));
        }
    }

    /// Tells the chain what is due.
    pub(super) fn submit_due(&mut self, cx: &mut Cx<'_>) {
        while let Some(id) = self.submissions.due.pop(cx.now) {
            match self.submit(cx, id) {
                Some(at) => self.submissions.due.set(id, at),
                None => drop(self.submissions.started.remove(&id)),
            }
        }
    }

    /// Tells the chain of a session; returns when to look after it again, if ever.
    fn submit(&mut self, cx: &mut Cx<'_>, id: SessionId) -> Option<Time> {
        let Some(view) = self.view.clone() else { return Some(cx.now + TURN) };
        let open = view.sessions.get(&id)?;
        let members = open.committee.members.len();
        let again = turn(cx.now, members.max(2));
        let rank = rank_in(open, &id, &self.config.node);
        let late = view.time >= open.deadline || cx.now >= open.deadline + LATE;
        if late {
            let reason = Text::new(DEADLINE).expect("it is short");
            let action = Action::FailSession { session: id, reason, certificate: None };
            cx.effects.push(Effect::Submit { action });
            return Some(again);
        }
        let outcome = super::ended::outcome(cx.store, &id).filter(|_| self.ended.has(&id));
        let wanted = outcome.is_some() || self.active.contains_key(&id);
        let started = self.submissions.started.get(&id);
        let recently = started.is_some_and(|at| cx.now < *at + TURN);
        if wanted && open.started.is_none() && !recently {
            self.submissions.started.insert(id, cx.now);
            cx.effects.push(Effect::Submit { action: Action::StartSession { session: id } });
        }
        let to_do = open.started.is_none() || outcome.is_some();
        if let Some(outcome) = outcome {
            cx.effects.push(Effect::Submit { action: ending(id, outcome) });
        }
        // Then nothing is left to be told but that its time is over.
        Some(if wanted && to_do { again } else { turn(open.deadline + LATE, rank) })
    }
}

fn ending(
    session: SessionId,
    (outcome, certificate): (Outcome, session_protocol::attestation::QuorumCertificate),
) -> Action {
    match outcome {
        Outcome::Finished { output, oracle_root, receipts_root } => {
            let output = sha256(&output).into();
            Action::FinalizeSession { session, output, oracle_root, receipts_root, certificate }
        }
        Outcome::Failed { reason } => {
            Action::FailSession { session, reason, certificate: Some(certificate) }
        }
    }
}
