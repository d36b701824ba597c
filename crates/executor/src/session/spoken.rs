//! What other members say to a session that runs.

use session_core::NodeId;
use session_protocol::attestation::Kind;
use session_protocol::workload::Message;
use session_protocol::workload::message::{RecordOf, Talk, VoteOf};

use super::{AHEAD_MAX, Cx, RoundInput, Session, State, Work, decided_message, send};

/// What became of a message.
pub(crate) enum Heard {
    /// It was used, or is of no use.
    Done,
    /// It is about a step to come: to be said again then.
    Early(Message),
    /// Who sent it may not say it.
    Foreign(&'static str),
}

impl Session {
    /// Hears a member. Whoever is none is not let in here.
    pub(crate) fn hear(&mut self, cx: &mut Cx<'_>, from: NodeId, message: Message) -> Heard {
        let mut heard = Heard::Done;
        self.guarded(cx, |session, cx| heard = session.sort(cx, from, message));
        heard
    }

    fn sort(&mut self, cx: &mut Cx<'_>, from: NodeId, message: Message) -> Heard {
        if let Err(why) = may_say(from, &message) {
            return Heard::Foreign(why);
        }
        match message {
            Message::Attestation(of) if of.vote.statement.kind == Kind::SessionComplete => {
                self.voted(cx, of.vote);
            }
            Message::Talk(talk) => match *talk {
                Talk::Ended { certificate, .. } => self.shown(cx, from, certificate),
                Talk::At { step, .. } => self.answer_at(cx, from, step),
                other => return self.about_step(cx, from, Message::Talk(Box::new(other))),
            },
            other => return self.about_step(cx, from, other),
        }
        Heard::Done
    }

    fn about_step(&mut self, cx: &mut Cx<'_>, from: NodeId, message: Message) -> Heard {
        let Some(step) = step_of(&message) else { return Heard::Done };
        let now = self.history.state.step();
        if step < now {
            // Who still moves from attempt to attempt has missed the decision.
            if matches!(&message, Message::Talk(talk) if matches!(**talk, Talk::Advance { .. })) {
                self.send_decision(cx, from, step);
            }
            return Heard::Done;
        }
        if !matches!(self.work, Work::Asking(_)) || step > now {
            let far = step > now.saturating_add(AHEAD_MAX) || matches!(self.work, Work::Attesting);
            return if far { Heard::Done } else { Heard::Early(message) };
        }
        if let Some(input) = round_input(from, message) {
            self.with_round(cx, |round, rcx| round.handle(rcx, input));
        }
        Heard::Done
    }

    /// A member says where it is: it gets what it lacks.
    fn answer_at(&mut self, cx: &mut Cx<'_>, from: NodeId, step: u32) {
        let now = self.history.state.step();
        match (&self.work, self.history.state) {
            (Work::Asking(_), State::WaitingIo { step: here }) if here == step => {
                self.with_round(cx, |round, rcx| round.handle(rcx, RoundInput::At { from }));
            }
            (Work::Attesting, _) if step > now => self.send_vote(cx, vec![from]),
            _ => self.send_decision(cx, from, step),
        }
    }

    fn send_decision(&self, cx: &mut Cx<'_>, to: NodeId, step: u32) {
        if let Some(index) = self.history.decisions.get(&step)
            && let Some(message) = decided_message(cx.store, self.id(), step, *index)
        {
            send(cx, vec![to], message);
        }
    }
}

/// Checks that what was signed by a member came from it.
fn may_say(from: NodeId, message: &Message) -> Result<(), &'static str> {
    let own = match message {
        Message::Record(of) => of.record.submitter == from,
        Message::Attestation(of) => of.vote.node == from,
        Message::Talk(talk) => match &**talk {
            Talk::RoundVote { vote, .. } => vote.node == from,
            Talk::Advance { advance, .. } => advance.node == from,
            _ => true,
        },
        _ => true,
    };
    if own { Ok(()) } else { Err("it hands on what another member signed") }
}

fn step_of(message: &Message) -> Option<u32> {
    Some(match message {
        Message::Request(request) => request.step,
        Message::Record(of) => of.step,
        Message::Commit(proposal) => proposal.step,
        Message::Attestation(of) => of.step,
        Message::Talk(talk) => match &**talk {
            Talk::RoundVote { step, .. } | Talk::Decided { step, .. } => *step,
            Talk::Advance { advance, .. } => advance.head.step,
            _ => return None,
        },
        Message::Create(_) | Message::Start(_) => return None,
    })
}

fn round_input(from: NodeId, message: Message) -> Option<RoundInput> {
    Some(match message {
        Message::Request(request) => RoundInput::Open { from, request },
        Message::Record(of) => record_input(from, of),
        Message::Commit(proposal) => RoundInput::Proposal { from, proposal },
        Message::Attestation(of) => {
            let VoteOf { retry, vote, .. } = *of;
            RoundInput::Vote { retry, vote }
        }
        Message::Talk(talk) => match *talk {
            Talk::RoundVote { retry, vote, .. } => RoundInput::RoundVote { retry, vote },
            Talk::Advance { advance, lock } => RoundInput::Advance { advance, lock },
            Talk::Decided { decision, .. } => RoundInput::Decided { from, decision },
            _ => return None,
        },
        Message::Create(_) | Message::Start(_) => return None,
    })
}

fn record_input(from: NodeId, of: Box<RecordOf>) -> RoundInput {
    RoundInput::Record { from, of }
}
