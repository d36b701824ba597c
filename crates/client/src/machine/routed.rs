//! Packets over hops instead of frames to nodes: asking, and what comes back.
//!
//! What is asked and how it is judged is the same as ever; the node that is asked is the exit.

use session_core::{Blob, Decode as _, Encode as _, NodeId, Span, Time, committee};
use session_network::{Class, From};
use session_protocol::Kind;
use session_protocol::onion::{ExitAnswer, Onion, Wait, service};
use session_protocol::request::{Operation, Refusal};

use super::legs::{Asked, SLOWEST_LINK, USUAL_LINK, transfer_time};
use super::{Client, Cx};
use crate::command::Error;
use crate::nodes::Preference;
use crate::onion::{Circuit, Errand, Packed, Purpose, Taken, Unready, answer_size};
use crate::task::{self, Stage, Task, TaskId, Try};
use crate::work::{ROUTED_ITEMS_MAX, Room, Sent, Step, Work, request};

/// Times that a node is asked once more because a packet to it was lost, before it is left.
const REROUTES_MAX: u32 = 4;

/// Of so many readings from one node alone, one is from any.
const OTHERS_OF: u64 = 4;

/// Most doublings of the time that a node has before another one is asked.
const HEDGE_DOUBLINGS_MAX: u32 = 4;

/// Wait until there may be room for another packet.
const FULL_WAIT: Span = Span::from_millis(200);

/// Wait after an exit that has as much to do as it takes on.
const BUSY_WAIT: Span = Span::from_millis(500);

/// Of an answer, what may be items; the rest is left for what is said about each.
const PAGE_SHARE: (usize, usize) = (3, 4);

/// Bytes of a request besides its items.
const REQUEST_BYTES: usize = 2_048;

/// A reply that does not fit the longest answer is asked for in parts, down to this.
const NARROW_MAX: usize = 64;

/// When a packet takes longer than others do, and when it counts as lost.
#[derive(Clone, Copy)]
struct Times {
    late_at: Time,
    until: Time,
}

impl Client {
    /// Chooses who is asked: of those that a packet can get to one that was read from before, and
    /// otherwise any; the fastest ones would be asked by everybody, and about everything.
    pub(super) fn pick_routed(
        &self,
        cx: &mut Cx<'_>,
        task: &Task,
        leg: usize,
        candidates: &[NodeId],
    ) -> Option<NodeId> {
        let routes = self.routes.as_ref()?;
        let mut reachable: Vec<NodeId> = candidates
            .iter()
            .copied()
            .filter(|node| routes.missing(node, cx.now).is_none())
            .collect();
        if reachable.is_empty() {
            reachable = candidates.to_vec();
        }
        reachable = routes.without_suspects(reachable, cx.now);
        // Who is read from alone is not always the same: it could withhold something for good.
        let alone = matches!(task.work, Work::Poll(_)) && task.legs.len() == 1;
        if leg == 0 && !(alone && cx.rng.below(OTHERS_OF) == 0) {
            let known = task.work.known_places();
            let known: Vec<NodeId> = reachable
                .iter()
                .copied()
                .filter(|node| known.contains(node) && self.nodes.is_well(node, cx.now))
                .collect();
            if !known.is_empty() {
                reachable = known;
            }
        }
        self.nodes.choose(&reachable, Preference::Any, cx.now, &mut *cx.rng)
    }

    /// Asks a node, or waits until a packet can get to it.
    pub(super) fn start_routed(&mut self, cx: &mut Cx<'_>, id: TaskId, leg: usize, node: NodeId) {
        let Some(routes) = &self.routes else { return };
        if routes.missing(&node, cx.now).is_none() {
            return self.ask(cx, id, leg, node);
        }
        self.seek_paths(cx, Some(node));
        // Whose fault it is that there is no path is not known: the task's time is all that counts.
        let trying = Try::new(node, cx.now, Time::MAX, task::Wait::Connection);
        self.give_chance(id, leg, trying);
    }

    /// Returns how much a request of a task may hold, and its reply.
    pub(super) fn room(&self, task: &Task) -> Room {
        let Some(routes) = &self.routes else { return Room::DIRECT };
        let answer = answer_size(self.answer_bytes(task)).answer_bytes_max();
        let hops = routes.mode().hops().into();
        let longest = session_network::onion::Size::Large.payload_bytes_max(hops);
        Room {
            page_bytes: answer * PAGE_SHARE.0 / PAGE_SHARE.1 / task.narrow,
            store_bytes: longest.saturating_sub(REQUEST_BYTES),
            store_items: ROUTED_ITEMS_MAX,
        }
    }

    fn answer_bytes(&self, task: &Task) -> usize {
        let members = self.members(task.route).len();
        let quorum = committee::quorum(members).unwrap_or(members);
        task.work.room_bytes(quorum).max(task.room_bytes)
    }

    /// Sends a request over hops.
    pub(super) fn ask_routed(
        &mut self,
        cx: &mut Cx<'_>,
        asked: &Asked,
        operations: Vec<Operation>,
        sent: Sent,
    ) {
        let &Asked { id, leg, node, number, bytes } = asked;
        let Some(task) = self.tasks.get(&id) else { return };
        let (mut shun, expected) = (task.legs[leg].shun.clone(), task.work.reply_bytes());
        // Whatever is late for this must not be late once more.
        if let Some(routes) = &self.routes {
            let out = task.legs[leg].tries().filter_map(Try::request);
            shun.extend(out.flat_map(|request| routes.hops_of(request)));
        }
        let extra = self.extra_time(task);
        let waits = task.work.waits();
        let until =
            cx.now + self.config.limits.try_time + transfer_time(bytes, SLOWEST_LINK) + extra;
        let patience = self.patience(&node)
            + transfer_time(bytes + expected.min(bytes), USUAL_LINK)
            + waits.unwrap_or_default();
        let late_at = if waits.is_some() { Time::MAX } else { cx.now + patience };
        // Whoever is asked later has more time: it may be us.
        let hedges = (task.legs[leg].hedges / 2).min(HEDGE_DOUBLINGS_MAX);
        let patience = Span::from_millis(patience.as_millis() << hedges);
        let times = Times { late_at, until };
        if let Err(unready) = self.send_routed(cx, id, node, number, operations, times, &shun) {
            return self.not_sent(cx, id, leg, node, unready);
        }
        self.stats.requests += 1;
        self.requests.insert(number, (id, leg));
        let wait = task::Wait::Answer { request: number, sent };
        let trying = Try {
            patient_until: cx.now + patience,
            resend_at: cx.now + Span::from_millis(patience.as_millis() * 3 / 2),
            goes_on: true,
            ..Try::new(node, cx.now, until, wait)
        };
        self.give_chance(id, leg, trying);
    }

    // What hops add on purpose, three times over because it is drawn; and what the exit is asked to
    // wait.
    fn extra_time(&self, task: &Task) -> Span {
        let delays = self.routes.as_ref().map_or(Span::ZERO, |routes| routes.expected_delay());
        Span::from_millis(delays.as_millis() * 3) + task.work.waits().unwrap_or_default()
    }

    #[expect(clippy::too_many_arguments, reason = "one packet, described once")]
    fn send_routed(
        &mut self,
        cx: &mut Cx<'_>,
        id: TaskId,
        exit: NodeId,
        number: u64,
        operations: Vec<Operation>,
        Times { late_at, until }: Times,
        shun: &[NodeId],
    ) -> Result<(), Unready> {
        let Some(task) = self.tasks.get(&id) else { return Ok(()) };
        let answer_bytes = self.answer_bytes(task);
        // Numbers would tell an exit which requests are of one client.
        let request = request(0, operations);
        let (service, purpose, payload) = match task.work.waits() {
            Some(wait) => {
                let wait = Wait { wait, request };
                (service::WAIT, Purpose::Wait { number }, wait.to_bytes())
            }
            None => (service::REQUEST, Purpose::Request { number }, request.to_bytes()),
        };
        let payload = &payload;
        let errand = Errand { exit, service, payload, answer_bytes, purpose, late_at, until };
        self.dispatch(cx, &errand, shun)
    }

    /// Makes a packet and sends it, now or when its time comes.
    pub(super) fn dispatch(
        &mut self,
        cx: &mut Cx<'_>,
        errand: &Errand<'_>,
        shun: &[NodeId],
    ) -> Result<(), Unready> {
        let Some(routes) = &mut self.routes else { return Err(Unready::NoGuard) };
        routes.want(cx.now, &mut *cx.rng);
        let packed = routes.pack(errand, shun, cx.now, &mut *cx.rng)?;
        if let Some(packed) = routes.leave(packed) {
            self.send_packet(cx, packed);
        }
        Ok(())
    }

    /// Gives a packet to its guard. Where the link went meanwhile, it is lost with the others.
    pub(super) fn send_packet(&mut self, cx: &mut Cx<'_>, packed: Packed) {
        let Packed { guard, circuit, packet, .. } = packed;
        if let Some(routes) = &mut self.routes {
            routes.left(&packet);
        }
        let small = packet.size() == session_network::onion::Size::Small;
        let class = if small { Class::Interactive } else { Class::Bulk };
        let packet = Blob::new(packet.into_bytes()).expect("no packet is longer than the longest");
        let onion = Onion { circuit, packet };
        self.nodes.used(guard, cx.now);
        self.overlay(cx, |network, cx| {
            network.send_to(cx, From::Node(guard), class, Kind::Onion, &onion)
        });
    }

    // A request that could not be sent.
    fn not_sent(
        &mut self,
        cx: &mut Cx<'_>,
        id: TaskId,
        leg: usize,
        node: NodeId,
        unready: Unready,
    ) {
        let error = self.unready(node, unready, cx.now);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if unready == Unready::Full {
            task.legs[leg].stage = Stage::Resting { until: cx.now + FULL_WAIT };
            task.last = Some(error);
        } else {
            self.try_failed(cx, id, leg, node, error);
        }
    }

    /// Something came over a guard's link.
    pub(super) fn came_back(&mut self, cx: &mut Cx<'_>, guard: NodeId, onion: Onion) {
        let Some(routes) = &mut self.routes else { return };
        self.nodes.heard(guard);
        match routes.take(&guard, onion.circuit, onion.packet.into_vec(), cx.now) {
            Taken::Nobody => self.stats.late += 1,
            Taken::Spoilt(circuit) => self.packet_lost(cx, &circuit),
            Taken::Answer(circuit, content) => match circuit.purpose {
                Purpose::Cover => {}
                Purpose::Keys { .. } => self.keys_came_hidden(cx, &circuit, &content),
                Purpose::Request { number } | Purpose::Wait { number } => {
                    self.exit_answered(cx, number, circuit.exit(), &content);
                }
            },
        }
    }

    fn exit_answered(&mut self, cx: &mut Cx<'_>, number: u64, exit: NodeId, content: &[u8]) {
        let step = match ExitAnswer::decode_exact(content) {
            Ok(ExitAnswer::Reply { mut reply }) => {
                reply.id = number;
                return self.replied(cx, exit, reply);
            }
            Ok(ExitAnswer::TooLarge { bytes }) => return self.too_large(cx, number, exit, bytes),
            Ok(ExitAnswer::Busy) => {
                let refusal = Refusal::RateLimited { retry_after: BUSY_WAIT };
                Step::After(BUSY_WAIT, Error::Refused { node: exit, refusal })
            }
            Ok(_) => Step::Other(Error::BadAnswer { node: exit, why: "it has no such service" }),
            Err(_) => Step::Lie(Error::BadAnswer { node: exit, why: "not an answer" }),
        };
        match self.take_asked(exit, number) {
            Some((id, leg, ..)) => self.go_on(cx, id, leg, exit, step),
            None => self.stats.late += 1,
        }
    }

    // The reply needs a longer answer, or has to come in parts.
    fn too_large(&mut self, cx: &mut Cx<'_>, number: u64, exit: NodeId, bytes: u32) {
        let Some((id, leg, ..)) = self.take_asked(exit, number) else {
            self.stats.late += 1;
            return;
        };
        let Some(task) = self.tasks.get(&id) else { return };
        let had = answer_size(self.answer_bytes(task));
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if bytes <= had.answer_bytes_max() {
            let error = Error::BadAnswer { node: exit, why: "its answer would have fit" };
            return self.go_on(cx, id, leg, exit, Step::Lie(error));
        }
        if answer_size(bytes) == had {
            task.narrow *= 2;
        } else {
            task.room_bytes = bytes;
        }
        if task.narrow > NARROW_MAX {
            let error = Error::BadAnswer { node: exit, why: "its answer fits no packet" };
            return self.go_on(cx, id, leg, exit, Step::Other(error));
        }
        if matches!(task.legs[leg].stage, Stage::Ready) {
            task.legs[leg].stay = Some(exit);
        }
    }

    /// A packet did not come back, or not whole: its hops are blamed, and whoever waits for it asks
    /// once more.
    pub(super) fn packet_lost(&mut self, cx: &mut Cx<'_>, circuit: &Circuit) {
        let Some(routes) = &mut self.routes else { return };
        let dead = routes.blame(circuit, cx.now);
        self.ask_once_more(cx, circuit);
        if let Some(guard) = dead {
            self.renew_link(cx, guard);
        }
    }

    /// Asks the same node over another path, unless another packet for it is still out.
    pub(super) fn ask_once_more(&mut self, cx: &mut Cx<'_>, circuit: &Circuit) {
        let number = match circuit.purpose {
            Purpose::Request { number } | Purpose::Wait { number } => number,
            Purpose::Keys { number } => return self.keys_lost(cx, number),
            Purpose::Cover => return,
        };
        let out = self.routes.as_ref().map(|routes| routes.hops_of(number));
        if out.is_some_and(|hops| !hops.is_empty()) {
            return;
        }
        let exit = circuit.exit();
        let Some((id, leg, ..)) = self.take_asked(exit, number) else { return };
        let Some(this) = self.tasks.get_mut(&id).map(|task| &mut task.legs[leg]) else { return };
        this.reroutes += 1;
        if this.reroutes > REROUTES_MAX {
            return self.try_failed(cx, id, leg, exit, Error::Lost { node: exit });
        }
        this.shun = circuit.hops[..circuit.hops.len() - 1].to_vec();
        if matches!(this.stage, Stage::Ready) {
            this.stay = Some(exit);
        }
        if let Some(routes) = &mut self.routes {
            routes.stats.rerouted += 1;
        }
    }

    /// Hop keys may be out of date: nodes have others after a restart.
    pub(super) fn doubt_keys(&mut self, now: Time) {
        if let Some(routes) = &mut self.routes {
            routes.directory.hurry(now);
        }
    }

    /// Sends once more, over other paths, what takes its time: it may be the path that does.
    pub(super) fn resend_due(&mut self, cx: &mut Cx<'_>) {
        let mut due = Vec::new();
        for (id, task) in &self.tasks {
            for (leg, this) in task.legs.iter().enumerate() {
                let late = this.tries().filter(|trying| trying.resend_at <= cx.now);
                due.extend(late.filter_map(|trying| Some((*id, leg, trying.request()?))));
            }
        }
        for (id, leg, number) in due {
            self.doubt_keys(cx.now);
            self.resend(cx, id, leg, number);
        }
    }

    fn resend(&mut self, cx: &mut Cx<'_>, id: TaskId, leg: usize, number: u64) {
        let Some(routes) = &self.routes else { return };
        let (has_room, shun) = (routes.has_room(), routes.hops_of(number));
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let Some(trying) = task.legs[leg].asked_mut(number) else { return };
        let (node, until, since) = (trying.node, trying.until, trying.since);
        // Each time twice as late: it may be us.
        let waited = cx.now.since(since);
        trying.resend_at = cx.now + Span::from_millis(waited.as_millis() * 2);
        let late_at = if task.work.waits().is_some() { Time::MAX } else { cx.now + waited };
        let times = Times { late_at, until };
        if !has_room {
            return;
        }
        // Stores are judged by the time that is in them; what is signed must not be signed twice.
        let now = if matches!(task.work, Work::Store(_)) { since } else { cx.now };
        let Some(Ok((operations, _))) = self.make(cx, id, node, now) else { return };
        // Where there is no second path, the first one is waited for.
        if self.send_routed(cx, id, node, number, operations, times, &shun).is_ok()
            && let Some(routes) = &mut self.routes
        {
            routes.stats.rerouted += 1;
        }
    }
}
