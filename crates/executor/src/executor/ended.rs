//! Sessions that ended here: their journals are kept for a while, for those who ask.

use session_core::timers::Timers;
use session_core::{NodeId, SessionId, Time};
use session_protocol::attestation::QuorumCertificate;
use session_protocol::workload::Message;
use session_protocol::workload::message::Talk;
use session_storage::{Store, Table};

use super::{Cx, Effect, Note};
use crate::bundle::Outcome;
use crate::journal::{self, Entry, RETENTION};
use crate::session::history::History;
use crate::session::{decided_message, ended_message, send};

/// Sessions that ended here, and until when they are kept.
#[derive(Default)]
pub(super) struct Ended {
    until: Timers<SessionId>,
}

impl Ended {
    /// Keeps a session that ended at a time.
    pub(super) fn note(&mut self, id: SessionId, at: Time) {
        self.note_until(id, at + RETENTION);
    }

    /// Keeps a session until a time.
    pub(super) fn note_until(&mut self, id: SessionId, until: Time) {
        self.until.set(id, until);
    }

    /// Returns whether a session ended here.
    pub(super) fn has(&self, id: &SessionId) -> bool {
        self.until.time(id).is_some()
    }

    /// Returns when [`Ended::tick`] wants to run.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.until.next()
    }

    /// Forgets what was kept long enough.
    pub(super) fn tick(&mut self, cx: &mut Cx<'_>) {
        while let Some(id) = self.until.pop(cx.now) {
            if journal::remove(cx.store, &id).is_err() {
                let doing = "forgetting the journal of a session";
                cx.effects.push(Effect::Note(Note::StoreFailed { doing }));
            }
        }
    }
}

/// Returns when a session ended, if the last entry of its journal says so.
pub(super) fn ended_at(store: &dyn Store, id: &SessionId) -> Option<Time> {
    let keys = store.records(Table::Journal, id.as_bytes());
    let index = keys.last()?.0.get(32..36)?.try_into().ok().map(u32::from_be_bytes)?;
    match journal::read(store, id, index)? {
        Entry::Ended { at, .. } => Some(at),
        _ => None,
    }
}

/// Returns what a session ended with, if a quorum attests it.
pub(super) fn outcome(store: &dyn Store, id: &SessionId) -> Option<(Outcome, QuorumCertificate)> {
    let history = read(store, *id)?;
    let certificate = history.certificate()?.clone();
    let (outcome, _) = history.outcome?;
    (certificate.statement.root == outcome.root()).then_some((outcome, certificate))
}

/// Reads what a session came to. Receipts of messages that it sent are not among it: they need its
/// workload.
pub(super) fn read(store: &dyn Store, id: SessionId) -> Option<History> {
    History::read(journal::entries(store, id), None).ok()
}

/// Answers a member that is behind.
pub(super) fn answer(cx: &mut Cx<'_>, node: NodeId, id: SessionId, message: &Message) {
    let step = match message {
        Message::Talk(talk) => match &**talk {
            Talk::At { step, .. } => *step,
            Talk::Advance { advance, .. } => advance.head.step,
            _ => return,
        },
        _ => return,
    };
    let Some(history) = read(cx.store, id) else { return };
    if !history.created.members.iter().any(|member| member.node == node) {
        return;
    }
    if let Some(index) = history.decisions.get(&step)
        && let Some(message) = decided_message(cx.store, id, step, *index)
    {
        send(cx, vec![node], message);
    }
    if let Some(certificate) = history.certificate() {
        send(cx, vec![node], ended_message(id, certificate));
    }
}
