//! Requests at the end of their path: what is asked of the swarm, and what is answered.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{Encode as _, InboxAddress, List, Namespace, Span, Time};
use session_network::From;
use session_network::onion::{AnswerKey, Size};
use session_protocol::onion::ExitAnswer;
use session_protocol::request::{Cursor, Outcome, Push, Reply};

use super::answer::{encoded, fitted};
use super::arrived::Errand;
use super::held::Held;
use super::{Cx, EXIT_TIME, EXITS_MAX, Effect, Relay};

/// How an answer goes back.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) from: From,
    pub(super) circuit: u64,
    pub(super) delay: Span,
    pub(super) answer: AnswerKey,
}

/// Of each operation: what it reads.
type Reads = Vec<Option<(InboxAddress, Namespace)>>;

#[derive(Debug)]
enum State {
    /// It waits for the time that it asks for.
    Held,
    /// The swarm was asked. What is to be waited for, and how long, if there is nothing yet.
    Asked(Option<(Span, Reads)>),
    /// There was nothing; an item, or the end of the time, brings the answer.
    Waiting { reply: Reply, reads: Reads, quorum: usize },
}

#[derive(Debug)]
struct Exit {
    way: Way,
    state: State,
    until: Time,
}

/// Requests that end here.
#[derive(Debug, Default)]
pub(super) struct Exits {
    open: BTreeMap<u64, Exit>,
    ends: BTreeSet<(Time, u64)>,
    begun: u64,
}

impl Exits {
    fn insert(&mut self, way: Way, until: Time) -> u64 {
        self.begun += 1;
        let exit = Exit { way, state: State::Held, until };
        self.ends.insert((until, self.begun));
        self.open.insert(self.begun, exit);
        self.begun
    }

    fn remove(&mut self, id: u64) -> Option<Exit> {
        let exit = self.open.remove(&id)?;
        self.ends.remove(&(exit.until, id));
        Some(exit)
    }

    /// Goes on in another way, until another time.
    fn put(&mut self, id: u64, exit: Exit) {
        self.ends.insert((exit.until, id));
        self.open.insert(id, exit);
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.ends.first().map(|(until, _)| *until)
    }
}

impl Relay {
    /// A packet ends here. The answer says if this is more than the exit takes on; whether a link
    /// has too much open, nobody is told.
    pub(super) fn delivered(&mut self, cx: &mut Cx<'_>, way: Way, errand: Errand, size: Size) {
        if !self.load.take(way.from) {
            self.stats.full += 1;
            return;
        }
        if self.exits.open.len() >= EXITS_MAX {
            return self.finish(cx, way, &ExitAnswer::Busy.to_bytes());
        }
        let (from, delay) = (way.from, way.delay);
        let id = self.exits.insert(way, cx.now + delay + EXIT_TIME);
        if delay == Span::ZERO {
            return self.begin(cx, id, errand);
        }
        if !self.delayed.hold(cx.now + delay, Held::Begin { id, errand, size }) {
            self.exits.remove(id);
            self.load.give(from);
            self.stats.full += 1;
        }
    }

    /// It has waited as long as it asked to.
    pub(super) fn begin(&mut self, cx: &mut Cx<'_>, id: u64, errand: Errand) {
        let Some(mut exit) = self.exits.remove(id) else { return };
        let (request, waits) = match errand {
            Errand::Request(request) => (request, None),
            Errand::Wait { wait, request, reads } => (request, Some((wait, reads))),
            Errand::Echo => return self.finish(cx, exit.way, &[]),
            Errand::NoService => {
                return self.finish(cx, exit.way, &ExitAnswer::NoService.to_bytes());
            }
            Errand::Malformed => {
                return self.finish(cx, exit.way, &ExitAnswer::Malformed.to_bytes());
            }
        };
        exit.state = State::Asked(waits);
        self.exits.put(id, exit);
        cx.effects.push(Effect::Ask { id, request });
    }

    /// The swarm has answered.
    pub(super) fn replied(&mut self, cx: &mut Cx<'_>, id: u64, reply: Reply, quorum: usize) {
        let Some(exit) = self.exits.remove(id) else { return };
        let Exit { way, state, .. } = exit;
        match state {
            State::Asked(Some((wait, reads))) if has_nothing(&reply) => {
                let state = State::Waiting { reply, reads, quorum };
                self.exits.put(id, Exit { way, state, until: cx.now + wait });
            }
            _ => self.reply(cx, (id, way), reply, quorum),
        }
    }

    /// An item came for a request that waits.
    pub(super) fn pushed(&mut self, cx: &mut Cx<'_>, id: u64, push: &Push) {
        let Some(Exit { state: State::Waiting { reads, .. }, .. }) = self.exits.open.get(&id)
        else {
            return;
        };
        let place = (push.address, push.item.namespace);
        let Some(index) = reads.iter().position(|read| *read == Some(place)) else { return };
        let Some(Exit { way, state: State::Waiting { reply, quorum, .. }, .. }) =
            self.exits.remove(id)
        else {
            return;
        };
        let room = way.answer.size().answer_bytes_max();
        let whole = with_item(reply.clone(), index, Some(push));
        let fits = encoded(&whole).len() <= room;
        // What does not fit is read by a request with more room.
        let reply = if fits { whole } else { with_item(reply, index, None) };
        self.reply(cx, (id, way), reply, quorum);
    }

    /// Ends what has waited long enough, and what nobody answered.
    pub(super) fn overdue(&mut self, cx: &mut Cx<'_>) {
        while let Some(&(_, id)) = self.exits.ends.first().filter(|(until, _)| *until <= cx.now) {
            let Some(Exit { way, state, .. }) = self.exits.remove(id) else { return };
            if let State::Waiting { reply, quorum, .. } = state {
                self.reply(cx, (id, way), reply, quorum);
            } else {
                cx.effects.push(Effect::Gone { id });
                self.load.give(way.from);
                self.stats.expired += 1;
            }
        }
    }

    fn reply(&mut self, cx: &mut Cx<'_>, (id, way): (u64, Way), reply: Reply, quorum: usize) {
        // Subscriptions end with the request that made them.
        cx.effects.push(Effect::Gone { id });
        let answer = fitted(reply, quorum, way.answer.size().answer_bytes_max());
        self.finish(cx, way, &answer);
    }

    /// Seals the answer and sends it back.
    fn finish(&mut self, cx: &mut Cx<'_>, way: Way, content: &[u8]) {
        let Way { from, circuit, delay, answer } = way;
        self.load.give(from);
        let packet = answer.seal_reply(content).expect("cut to what there is room for");
        self.stats.answered += 1;
        self.send_after(cx, delay, from, circuit, packet);
    }
}

/// Tells whether a reply is worth waiting for a better one: subscribed, nothing read, nothing refused.
fn has_nothing(reply: &Reply) -> bool {
    let is = |wanted: fn(&Outcome) -> bool| reply.outcomes.iter().any(wanted);
    let subscribed = is(|outcome| matches!(outcome, Outcome::Subscribed { .. }));
    let read = is(|outcome| matches!(outcome, Outcome::Items { .. }));
    let news = is(|outcome| match outcome {
        Outcome::Items { items, more, .. } => !items.is_empty() || *more,
        Outcome::Subscribed { .. } => false,
        _ => true,
    });
    subscribed && read && !news
}

/// Puts an item into a page that had none, or says that there is one.
fn with_item(reply: Reply, index: usize, push: Option<&Push>) -> Reply {
    let mut outcomes = reply.outcomes.into_vec();
    if let Some(Outcome::Items { items, cursor, more }) = outcomes.get_mut(index) {
        match push {
            Some(push) => {
                *items = List::new([push.item.clone()]).expect("one item");
                let (incarnation, arrival) = (push.incarnation, push.item.arrival);
                *cursor = Cursor { incarnation, arrival };
            }
            None => *more = true,
        }
    }
    let outcomes = List::new(outcomes).expect("as many as before");
    Reply { outcomes, ..reply }
}
