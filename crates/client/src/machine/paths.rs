//! Guards and hop keys: links that are wanted, questions for keys, and what is due for both.

use session_core::{Decode as _, Encode as _, Machine as _, NodeId, Span, Time};
use session_network::Class;
use session_network::onion::Size;
use session_protocol::onion::{ExitAnswer, service};
use session_protocol::request::{Operation, Outcome, Reply};

use super::{Client, Cx, Effect};
use crate::command::Error;
use crate::onion::{Circuit, Errand, Purpose, Question, Unready};
use crate::task::{Stage, Task, Try, Wait};
use crate::work::request;

/// Bytes of keys that a guard is asked for at once: 55 of them.
const PAGE_BYTES: u32 = 256 * 1024;

/// Bytes of keys that an exit is asked for at once: they fit the longest answer.
const HIDDEN_PAGE_BYTES: u32 = 90_000;

/// Time for a question that goes over hops.
const HIDDEN_TIME: Span = Span::from_secs(8);

/// Shortest wait until guards and keys are looked at again.
const LOOK_MIN: Span = Span::from_millis(250);

impl Client {
    /// Says why nothing can be sent over hops, now or ever, in this network.
    pub(super) fn no_path_ever(&self) -> Option<Error> {
        let routes = self.routes.as_ref()?;
        let hops = usize::from(routes.mode().hops());
        let fitting = routes.fitting_ever();
        let (known, nodes) = (0, routes.map().len());
        (fitting < hops).then_some(Error::TooFewHops { hops, fitting, known, nodes })
    }

    /// Says why a task waits for a path, if it does.
    pub(super) fn why_it_waits(&self, task: &Task, now: Time) -> Option<Error> {
        let routes = self.routes.as_ref()?;
        let waits = |trying: &&Try| matches!(trying.wait, Wait::Connection);
        let node = task.legs.iter().find_map(|leg| leg.tries().find(waits))?.node;
        Some(self.unready(node, routes.missing(&node, now)?, now))
    }

    pub(super) fn unready(&self, node: NodeId, unready: Unready, now: Time) -> Error {
        let Some(routes) = &self.routes else { return Error::Lost { node } };
        match unready {
            Unready::NoGuard => Error::NoGuard { guards: routes.guards.iter().count() },
            Unready::NoKey => Error::NoHopKey { node },
            Unready::TooFew { fitting } => Error::TooFewHops {
                hops: routes.mode().hops().into(),
                fitting,
                known: routes.report(now).hops_known,
                nodes: routes.map().len(),
            },
            Unready::Full => Error::NoRoom,
            Unready::TooLong => Error::BadAnswer { node, why: "the request fits no packet" },
        }
    }

    /// Sees that guards are connected and keys are known, so that somebody can be asked.
    pub(super) fn seek_paths(&mut self, cx: &mut Cx<'_>, exit: Option<NodeId>) {
        let Some(routes) = &mut self.routes else { return };
        let now = cx.now;
        if let Some(exit) = exit {
            routes.want(now, &mut *cx.rng);
            if !routes.directory.has(&exit, now) {
                routes.miss(&exit, now);
            }
        }
        routes.restore((&*self.config.membership, &*self.config.verifier), now);
        let gone = routes.let_go(now);
        let wanted = routes.wanted_links(exit, now, &mut *cx.rng);
        let missing: Vec<NodeId> =
            wanted.iter().filter(|node| !routes.is_linked(node)).copied().collect();
        routes.refresh(now, &mut *cx.rng);
        for node in gone {
            self.forget(cx, node);
        }
        for node in missing {
            self.nodes.used(node, now);
            let input = session_network::Input::Connect { node };
            self.overlay(cx, |network, cx| network.handle(cx, input));
        }
        self.ask_for_keys(cx);
    }

    /// A link to a guard stands.
    pub(super) fn link_up(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        self.nodes.came_up(node, cx.now);
        if let Some(routes) = &mut self.routes {
            routes.came_up(node, cx.now);
        }
        self.ask_for_keys(cx);
        self.try_again();
    }

    /// A link to a guard is gone, or did not come about; the overlay goes on dialling. Whatever was
    /// out over it is asked once more, and no hop is blamed.
    pub(super) fn link_down(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        self.nodes.went_down(node);
        self.nodes.set_knows_keys(node, false);
        let idle = self.config.limits.idle_time;
        let Some(routes) = &mut self.routes else { return };
        let lost = routes.went_down(&node, cx.now);
        routes.directory.went_down(&node);
        if !routes.is_active(cx.now, idle) {
            routes.guards.rest(&node);
        }
        for circuit in lost {
            self.ask_once_more(cx, &circuit);
        }
        self.ask_for_keys(cx);
    }

    /// Makes a link anew that seems to be dead.
    pub(super) fn renew_link(&mut self, cx: &mut Cx<'_>, guard: NodeId) {
        self.forget(cx, guard);
        let input = session_network::Input::Connect { node: guard };
        self.overlay(cx, |network, cx| network.handle(cx, input));
    }

    /// A node that was asked is likely gone: so is its link, where it was asked over one.
    pub(super) fn drop_link(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        if self.routes.is_none() {
            self.forget(cx, node);
        }
    }

    // Whoever waits for a path looks again, at whoever can be asked now.
    fn try_again(&mut self) {
        for leg in self.tasks.values_mut().flat_map(|task| &mut task.legs) {
            leg.take(|trying| matches!(trying.wait, Wait::Connection));
        }
    }

    /// Asks for the next hop keys, if any are wanted and somebody can be asked.
    fn ask_for_keys(&mut self, cx: &mut Cx<'_>) {
        let Some(routes) = &mut self.routes else { return };
        let question = routes.directory.question().or_else(|| routes.directory.overdue(cx.now));
        let Some(question) = question else { return };
        if question.hidden {
            return self.ask_hidden(cx, &question);
        }
        let mut links: Vec<NodeId> = routes.linked();
        let lies = links.iter().map(|node| self.nodes.lies(node)).min();
        links.retain(|node| Some(self.nodes.lies(node)) == lies);
        let Some(node) = routes.directory.best(links, &mut *cx.rng) else { return };
        let number = self.next_request();
        let request = request(number, vec![operation(&question, PAGE_BYTES)]);
        if self.send(cx, node, Class::Bulk, &request)
            && let Some(routes) = &mut self.routes
        {
            routes.directory.asked(number, node, cx.now);
        }
    }

    // Of somebody who does not know who asks.
    fn ask_hidden(&mut self, cx: &mut Cx<'_>, question: &Question) {
        let number = self.next_request();
        let Some(routes) = &mut self.routes else { return };
        let Some(exit) = routes.anybody(cx.now, &mut *cx.rng) else { return };
        let extra = Span::from_millis(routes.expected_delay().as_millis() * 3);
        let payload = &request(0, vec![operation(question, HIDDEN_PAGE_BYTES)]).to_bytes();
        let (answer_bytes, purpose) = (Size::Large.answer_bytes_max(), Purpose::Keys { number });
        let (service, until) = (service::REQUEST, cx.now + HIDDEN_TIME + extra);
        let late_at = Time::MAX;
        let errand = Errand { exit, service, payload, answer_bytes, purpose, late_at, until };
        if self.dispatch(cx, &errand, &[]).is_ok()
            && let Some(routes) = &mut self.routes
        {
            routes.directory.asked_hidden(number, cx.now, HIDDEN_TIME + extra);
        }
    }

    pub(super) fn is_about_keys(&self, number: u64) -> bool {
        self.routes.as_ref().is_some_and(|routes| routes.directory.is_asked(number))
    }

    /// Hop keys came.
    pub(super) fn keys_came(&mut self, cx: &mut Cx<'_>, node: NodeId, reply: Reply) {
        self.nodes.heard(node);
        let Some(routes) = &mut self.routes else { return };
        let number = reply.id;
        let mut outcomes = reply.outcomes.into_iter();
        let (Some(Outcome::HopKeys { keys, more }), None) = (outcomes.next(), outcomes.next())
        else {
            return routes.directory.lost(number, cx.now);
        };
        routes.directory.heard(&node);
        let context = (&*self.config.membership, &*self.config.verifier);
        let learned = routes.directory.answered(keys, more, context, cx.now, &mut *cx.rng);
        routes.stats.keys += learned.new as u64;
        routes.stats.bad_keys += learned.bad as u64;
        if learned.bad > 0 {
            self.nodes.lied(node);
            self.stats.lies += 1;
        }
        if learned.new > 0 {
            self.try_again();
        }
        self.ask_for_keys(cx);
    }

    pub(super) fn keys_came_hidden(&mut self, cx: &mut Cx<'_>, circuit: &Circuit, content: &[u8]) {
        let Purpose::Keys { number } = circuit.purpose else { return };
        if !self.is_about_keys(number) {
            return;
        }
        match ExitAnswer::decode_exact(content) {
            Ok(ExitAnswer::Reply { mut reply }) => {
                reply.id = number;
                self.keys_came(cx, circuit.exit(), reply);
            }
            _ => self.keys_lost(cx, number),
        }
    }

    /// A question for keys was lost.
    pub(super) fn keys_lost(&mut self, cx: &mut Cx<'_>, number: u64) {
        if let Some(routes) = &mut self.routes {
            routes.directory.lost(number, cx.now);
        }
    }

    /// Does what is due for paths.
    pub(super) fn routes_due(&mut self, cx: &mut Cx<'_>) {
        let (now, idle) = (cx.now, self.config.limits.idle_time);
        let Some(routes) = &mut self.routes else { return };
        if routes.note_late(now) {
            routes.directory.hurry(now);
        }
        let expired = routes.expire(now);
        routes.directory.expire(now);
        for circuit in expired {
            self.packet_lost(cx, &circuit);
        }
        if self.routes.as_ref().is_some_and(|routes| routes.is_active(now, idle)) {
            self.seek_paths(cx, None);
        }
        if let Some(routes) = &mut self.routes
            && let Some(packed) = routes.turn(now, &mut *cx.rng)
        {
            self.send_packet(cx, packed);
        }
    }

    /// Gives out what is to be kept for the next start.
    pub(super) fn keep(&mut self, cx: &mut Cx<'_>) {
        let Some(routes) = &mut self.routes else { return };
        let guards = routes.guards.take_changed().map(Effect::Guards);
        let keys = routes.directory.take_changed().map(Effect::HopKeys);
        let health = routes.take_health(cx.now).map(Effect::Health);
        cx.effects.extend([guards, keys, health].into_iter().flatten());
    }

    /// Notes when guards and keys are looked at again.
    pub(super) fn look_ahead(&mut self, now: Time) {
        let idle = self.config.limits.idle_time;
        let waits = self.tasks.values().flat_map(|task| &task.legs);
        let waits = waits.filter(|leg| matches!(leg.stage, Stage::Trying(_))).count() > 0;
        if let Some(routes) = &mut self.routes {
            routes.look_ahead(now, waits || routes.is_active(now, idle), LOOK_MIN);
        }
    }
}

fn operation(question: &Question, bytes_max: u32) -> Operation {
    let &Question { bits, bucket, after, .. } = question;
    Operation::HopKeys { bits, bucket, after, bytes_max }
}
