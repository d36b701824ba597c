//! Choosing a node, asking it, judging its answer, going on.

use session_core::{Machine as _, NodeId, Span, Time};
use session_network::Class;
use session_protocol::puzzle::{Puzzle, Solution};
use session_protocol::request::{Operation, Reply};

use super::{Client, Cx, Effect};
use crate::command::{Answer, Error};
use crate::nodes::Preference;
use crate::task::{Leg, Route, Stage, Task, TaskId, Try, Wait};
use crate::work::{Asking, Judging, Sent, Step, Work, request};

/// A request over this many item bytes travels as bulk, so that it delays nothing else.
const BULK_BYTES_MIN: usize = 32 * 1024;

/// Bytes per second of the slowest link on which large requests are still waited for.
pub(super) const SLOWEST_LINK: u64 = 128 * 1024;

/// Bytes per second of a usual link: a second node is not asked while one is just transferring.
pub(super) const USUAL_LINK: u64 = 512 * 1024;

/// A node may take so many times its usual round trip before a second one is asked.
const PATIENCE_FACTOR: u64 = 4;

/// Shortest wait that a node can ask for.
const WAIT_MIN: Span = Span::from_millis(50);

impl Client {
    /// Starts every leg that is ready, within the bound; tells whether there was any.
    pub(super) fn start_ready(&mut self, cx: &mut Cx<'_>) -> bool {
        let legs = self.tasks.values().flat_map(|task| &task.legs);
        let mut out = legs.filter(|leg| leg.is_out()).count();
        let mut started = false;
        let ids: Vec<TaskId> = self.tasks.keys().copied().collect();
        for id in ids {
            let legs = self.tasks.get(&id).map_or(0, |task| task.legs.len());
            for leg in 0..legs {
                let this = self.tasks.get(&id).and_then(|task| task.legs.get(leg));
                let Some(this) = this.filter(|leg| matches!(leg.stage, Stage::Ready)) else {
                    continue;
                };
                let is_out = this.is_out();
                if is_out || out < self.config.limits.requests_max {
                    self.start(cx, id, leg);
                    started = true;
                    out += usize::from(!is_out);
                }
            }
        }
        started
    }

    fn start(&mut self, cx: &mut Cx<'_>, id: TaskId, leg: usize) {
        let Some(task) = self.tasks.get(&id) else { return };
        let Some(node) = self.pick(cx, task, leg) else { return self.nobody(cx, id, leg) };
        if self.routes.is_some() {
            return self.start_routed(cx, id, leg, node);
        }
        if self.nodes.is_up(&node) {
            return self.ask(cx, id, leg, node);
        }
        // A connection takes some round trips.
        let patience = Span::from_millis(self.config.limits.patience.as_millis() * 3 / 2);
        let until = cx.now + self.config.limits.try_time;
        let patient_until = cx.now + patience;
        let trying = Try { patient_until, ..Try::new(node, cx.now, until, Wait::Connection) };
        self.give_chance(id, leg, trying);
        self.nodes.used(node, cx.now);
        let input = session_network::Input::Connect { node };
        self.overlay(cx, |network, cx| network.handle(cx, input));
    }

    pub(super) fn give_chance(&mut self, id: TaskId, leg: usize, mut trying: Try) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if !task.work.may_hedge() {
            trying.patient_until = Time::MAX;
        }
        task.legs[leg].stage = Stage::Trying(trying);
    }

    pub(super) fn members(&self, route: Route) -> Vec<NodeId> {
        match route {
            Route::Swarm(swarm) => self.config.membership.members(swarm),
            Route::Node(node) => vec![node],
        }
    }

    fn pick(&self, cx: &mut Cx<'_>, task: &Task, leg: usize) -> Option<NodeId> {
        let this = &task.legs[leg];
        if let Some(node) = this.stay.filter(|node| !this.is_with(node)) {
            return Some(node);
        }
        let taken = |node: &NodeId| {
            task.served.contains(node) || task.legs.iter().any(|other| other.is_with(node))
        };
        let candidates: Vec<NodeId> = self
            .members(task.route)
            .into_iter()
            .filter(|node| !this.tried.contains(node) && !taken(node))
            .collect();
        if self.routes.is_some() {
            return self.pick_routed(cx, task, leg, &candidates);
        }
        let preference = if leg == 0 { Preference::Fastest } else { Preference::Any };
        self.nodes.choose(&candidates, preference, cx.now, &mut *cx.rng)
    }

    // Every member failed, or is busy with another leg of the same task.
    fn nobody(&mut self, cx: &mut Cx<'_>, id: TaskId, leg: usize) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if task.legs[leg].tried.is_empty() {
            if !task.legs[leg].settle_for_rival() {
                task.legs[leg].stage = Stage::Finished;
                self.finish_if_done(cx, id);
            }
        } else {
            task.legs[leg].pause(cx.now);
        }
    }

    /// Makes what a node is asked for a task, as of a time; `None` if there is no such task.
    pub(super) fn make(
        &mut self,
        cx: &mut Cx<'_>,
        id: TaskId,
        node: NodeId,
        now: Time,
    ) -> Option<Result<(Vec<Operation>, Sent), Error>> {
        let room = self.room(self.tasks.get(&id)?);
        let mut asking = Asking {
            network: self.config.membership.network(),
            account: self.config.account.as_deref(),
            nodes: &self.nodes,
            puzzles: &self.puzzles,
            node,
            now,
            room,
            rng: &mut *cx.rng,
        };
        Some(self.tasks.get_mut(&id)?.work.ask(&mut asking))
    }

    pub(super) fn ask(&mut self, cx: &mut Cx<'_>, id: TaskId, leg: usize, node: NodeId) {
        let (operations, sent) = match self.make(cx, id, node, cx.now) {
            Some(Ok(made)) => made,
            Some(Err(error)) => return self.end(cx, id, Err(error)),
            None => return,
        };
        let number = self.next_request();
        let bytes = item_bytes(&operations);
        if self.routes.is_some() {
            let asked = Asked { id, leg, node, number, bytes };
            return self.ask_routed(cx, &asked, operations, sent);
        }
        let class = if bytes < BULK_BYTES_MIN { Class::Interactive } else { Class::Bulk };
        if !self.send(cx, node, class, &request(number, operations)) {
            let why = "the connection does not take the request".to_owned();
            return self.try_failed(cx, id, leg, node, Error::Unreachable { node, why });
        }
        self.stats.requests += 1;
        self.requests.insert(number, (id, leg));
        let expected = self.tasks.get(&id).map_or(0, |task| task.work.reply_bytes());
        let patience = self.patience(&node) + transfer_time(bytes + expected, USUAL_LINK);
        let until = cx.now + self.config.limits.try_time + transfer_time(bytes, SLOWEST_LINK);
        let wait = Wait::Answer { request: number, sent };
        let patient_until = cx.now + patience;
        let trying = Try { patient_until, ..Try::new(node, cx.now, until, wait) };
        self.give_chance(id, leg, trying);
    }

    pub(super) fn patience(&self, node: &NodeId) -> Span {
        let default = self.config.limits.patience;
        if let Some(routes) = &self.routes {
            return routes.patience(default);
        }
        let usual = self.nodes.latency(node).unwrap_or_default().as_millis();
        default.max(Span::from_millis(usual.saturating_mul(PATIENCE_FACTOR)))
    }

    /// Asks second nodes where the first ones take their time.
    pub(super) fn hedge(&mut self, cx: &mut Cx<'_>) {
        for (id, leg) in self.legs_where(|leg| leg.is_impatient(cx.now)) {
            let Some(task) = self.tasks.get(&id) else { continue };
            let Some(slow) = task.legs[leg].tries().next() else { continue };
            let (node, waited, until) = (slow.node, cx.now.since(slow.since), slow.until);
            let alone = self.members(task.route).iter().all(|node| {
                task.served.contains(node) || task.legs.iter().any(|leg| leg.is_with(node))
            });
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            if alone {
                task.legs[leg].be_patient();
                continue;
            }
            let unreached = task.legs[leg].seek_rival();
            self.stats.hedges += 1;
            self.doubt_keys(cx.now);
            if self.routes.is_some() {
                // It may be the path: that says nothing about how long the node takes.
                self.nodes.rest(node, until);
            } else {
                self.nodes.slow(node, waited, until);
            }
            if let Some(unreached) = unreached {
                self.release(unreached);
            }
        }
    }

    pub(super) fn is_asked(&self, node: &NodeId) -> bool {
        self.tasks.values().flat_map(|task| &task.legs).any(|leg| leg.is_with(node))
    }

    /// A connection stands: asks what waited for it.
    pub(super) fn ask_waiting(&mut self, cx: &mut Cx<'_>, up: NodeId) {
        let waits = |trying: &Try| trying.node == up && matches!(trying.wait, Wait::Connection);
        for (id, leg) in self.legs_where(|leg| leg.tries().any(waits)) {
            let Some(task) = self.tasks.get_mut(&id) else { continue };
            let this = &mut task.legs[leg];
            if this.rival.as_ref().is_some_and(waits) && !this.promote_rival() {
                // Another node was reached meanwhile, and has been asked.
                this.rival = None;
            } else {
                self.ask(cx, id, leg, up);
            }
        }
    }

    /// A connection is gone, or did not come about.
    pub(super) fn lost(&mut self, cx: &mut Cx<'_>, node: NodeId, why: &str) {
        for (id, leg) in self.legs_where(|leg| leg.is_with(&node)) {
            let why = why.to_owned();
            self.try_failed(cx, id, leg, node, Error::Unreachable { node, why });
        }
        // What the node knew of us went with the connection, as far as we know.
        self.nodes.set_knows_keys(node, false);
        self.resubscribe_from(cx, node);
    }

    fn legs_where(&self, wanted: impl Fn(&Leg) -> bool) -> Vec<(TaskId, usize)> {
        let legs = self.tasks.iter().flat_map(|(id, task)| {
            task.legs.iter().enumerate().map(move |(index, leg)| (*id, index, leg))
        });
        legs.filter(|(.., leg)| wanted(leg)).map(|(id, index, _)| (id, index)).collect()
    }

    pub(super) fn try_failed(
        &mut self,
        cx: &mut Cx<'_>,
        id: TaskId,
        leg: usize,
        node: NodeId,
        error: Error,
    ) {
        self.nodes.failed(node, cx.now);
        self.move_on(id, leg, node, error);
    }

    fn move_on(&mut self, id: TaskId, leg: usize, node: NodeId, error: Error) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        self.stats.failovers += 1;
        let this = &mut task.legs[leg];
        let request = this.take(|trying| trying.node == node).and_then(|left| left.request());
        this.leave(node);
        task.last = Some(error);
        if let Some(request) = request {
            self.requests.remove(&request);
        }
    }

    /// Ends a chance that is not needed any more: an answer will be late.
    pub(super) fn release(&mut self, trying: Try) {
        if let Some(request) = trying.request() {
            self.requests.remove(&request);
        }
        // A packet may be lost without the node having seen it: then it owes nothing.
        if self.routes.is_none() {
            self.nodes.abandoned(trying.node, trying.until);
        }
    }

    fn end_tries(&mut self, id: TaskId, leg: usize) {
        let ended = self.tasks.get_mut(&id).map(|task| task.legs[leg].end_tries());
        for trying in ended.into_iter().flatten() {
            self.release(trying);
        }
    }

    /// A reply came.
    pub(super) fn replied(&mut self, cx: &mut Cx<'_>, node: NodeId, reply: Reply) {
        if self.is_about_keys(reply.id) {
            return self.keys_came(cx, node, reply);
        }
        self.nodes.heard(node);
        let Some((id, leg, since, sent)) = self.take_asked(node, reply.id) else {
            self.stats.late += 1;
            return;
        };
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let round_trip = cx.now.since(since);
        if task.work.waits().is_none() {
            self.nodes.answered(node, round_trip);
        }
        let mut judging = Judging {
            membership: &*self.config.membership,
            auditor: &mut self.auditor,
            nodes: &mut self.nodes,
            puzzles: &mut self.puzzles,
            node,
            swarm: task.swarm(),
            now: cx.now,
            round_trip,
        };
        let lies = judging.nodes.lies(&node);
        let step = task.work.judge(&mut judging, &sent, reply);
        self.stats.lies += u64::from(self.nodes.lies(&node) - lies);
        let wanted = self.puzzles.take_wanted();
        cx.effects.extend(wanted.into_iter().map(|puzzle| Effect::Solve { puzzle }));
        self.go_on(cx, id, leg, node, step);
    }

    // Finds who waits for this reply of this node, and ends the waiting.
    pub(super) fn take_asked(
        &mut self,
        node: NodeId,
        reply: u64,
    ) -> Option<(TaskId, usize, Time, Sent)> {
        let (id, leg) = *self.requests.get(&reply)?;
        let asked = |trying: &Try| trying.node == node && trying.request() == Some(reply);
        let trying = self.tasks.get_mut(&id)?.legs[leg].take(asked)?;
        self.requests.remove(&reply);
        match trying.wait {
            Wait::Answer { sent, .. } => Some((id, leg, trying.since, sent)),
            Wait::Connection => None,
        }
    }

    pub(super) fn go_on(
        &mut self,
        cx: &mut Cx<'_>,
        id: TaskId,
        leg: usize,
        node: NodeId,
        step: Step,
    ) {
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let members = match task.route {
            Route::Swarm(swarm) => self.config.membership.members(swarm).len(),
            Route::Node(_) => 1,
        };
        match step {
            Step::Done => self.leg_done(cx, id, leg, node),
            Step::More => {
                // A rival was asked for the same part.
                self.end_tries(id, leg);
                let Some(task) = self.tasks.get_mut(&id) else { return };
                let this = &mut task.legs[leg];
                (this.stay, this.stage, this.hedges) = (Some(node), Stage::Ready, 0);
                // A second opinion is waited for as long as it comes, and no longer.
                let second = task.work.is_read() && !task.served.is_empty();
                let span = if second { self.config.limits.second_page_time } else { task.span };
                task.due = cx.now + span;
                self.nodes.served(node);
                self.report_progress(cx, id);
            }
            Step::Again(error) if task.legs[leg].again.insert(node) => {
                task.legs[leg].stay = Some(node);
                task.last = Some(error);
                self.stats.resigned += 1;
            }
            Step::After(wait, error) if cx.now + wait < task.due => {
                let until = cx.now + wait.max(WAIT_MIN);
                // While another node is trying, there is no need to wait for this one.
                if matches!(task.legs[leg].stage, Stage::Ready) {
                    task.legs[leg].stay = Some(node);
                    task.legs[leg].stage = Stage::Resting { until };
                }
                task.last = Some(error);
                self.stats.rate_limited += 1;
            }
            Step::Again(error) | Step::After(_, error) | Step::Other(error) => {
                self.try_failed(cx, id, leg, node, error)
            }
            Step::Elsewhere(error) => self.move_on(id, leg, node, error),
            Step::Fatal(error) => {
                if task.refuses(node, members) {
                    self.end(cx, id, Err(error));
                } else {
                    self.move_on(id, leg, node, error);
                }
            }
            Step::Lie(error) => {
                self.nodes.lied(node);
                self.stats.lies += 1;
                self.try_failed(cx, id, leg, node, error);
            }
            Step::Redirect(swarm, error) => {
                // Who is asked alone is believed: there is nowhere else to go.
                if let Route::Node(_) = task.route {
                    return self.end(cx, id, Err(error));
                }
                let known = !self.config.membership.members(swarm).is_empty();
                if task.redirects(node, swarm, members, known) {
                    self.stats.redirects += 1;
                    task.last = Some(error);
                    task.legs[leg].stay = None;
                    // Others are asked now, and their answers are judged as theirs.
                    self.end_tries(id, leg);
                    if let Some(task) = self.tasks.get_mut(&id) {
                        task.legs[leg].stage = Stage::Ready;
                    }
                } else {
                    self.move_on(id, leg, node, error);
                }
            }
        }
    }

    fn leg_done(&mut self, cx: &mut Cx<'_>, id: TaskId, leg: usize, node: NodeId) {
        self.nodes.served(node);
        self.end_tries(id, leg);
        let grace = cx.now + self.config.limits.second_page_time;
        let Some(task) = self.tasks.get_mut(&id) else { return };
        if task.work.is_signed() {
            self.nodes.set_knows_keys(node, true);
        }
        task.served.insert(node);
        task.legs[leg].stage = Stage::Finished;
        if task.work.is_read() {
            task.due = task.due.min(grace);
        }
        self.finish_if_done(cx, id);
    }

    fn finish_if_done(&mut self, cx: &mut Cx<'_>, id: TaskId) {
        let Some(task) = self.tasks.get_mut(&id).filter(|task| task.is_finished()) else { return };
        let result = match task.work.answer() {
            Some(answer) => Ok(answer),
            None => Err(Error::TimedOut { span: task.span, last: task.last.take().map(Box::new) }),
        };
        self.end(cx, id, result);
    }

    fn report_progress(&self, cx: &mut Cx<'_>, id: TaskId) {
        let progress = self.tasks.get(&id).and_then(|task| task.work.progress());
        if let (TaskId::Command(id), Some((done, of))) = (id, progress) {
            cx.effects.push(Effect::Progress { id, done, of });
        }
    }

    fn end(&mut self, cx: &mut Cx<'_>, id: TaskId, result: Result<Answer, Error>) {
        let task = self.drop_task(id);
        let served = task.as_ref().and_then(|task| task.served.first().copied());
        match id {
            TaskId::Command(id) => {
                *(if result.is_ok() {
                    &mut self.stats.answered
                } else {
                    &mut self.stats.failed
                }) += 1;
                cx.effects.push(Effect::Done { id, result });
            }
            TaskId::Subscribe(_) | TaskId::Sweep(..) => {
                self.subscription_task_ended(cx, id, served, result)
            }
            TaskId::Listen(id) => self.listened(cx, id, served, result),
            TaskId::Wait(address) => self.waited(cx, address, task.as_ref(), result),
            TaskId::Poll(poll) => {
                if let Some(Task { work: Work::Poll(polling), .. }) = task {
                    self.polled(cx, poll, polling);
                }
            }
        }
    }

    /// Does what is due in tasks.
    pub(super) fn tasks_due(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now;
        let due: Vec<TaskId> =
            self.tasks.iter().filter(|(_, task)| task.due <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.time_is_up(cx, id);
        }
        for (id, leg) in self.legs_where(|leg| leg.tries().any(|trying| trying.until <= now)) {
            self.hangs(cx, id, leg);
        }
        for node in self.nodes.overdue(now) {
            self.nodes.heard(node);
            // Where it is being asked, it has its time.
            if !self.is_asked(&node) {
                self.stats.timeouts += 1;
                self.nodes.failed(node, now);
                self.drop_link(cx, node);
            }
        }
        for leg in self.tasks.values_mut().flat_map(|task| &mut task.legs) {
            if matches!(leg.stage, Stage::Resting { until } if until <= now) {
                leg.stage = Stage::Ready;
            }
        }
    }

    /// A puzzle is solved: whoever waits for it asks again.
    pub(super) fn puzzle_solved(&mut self, puzzle: &Puzzle, solution: Option<Solution>, now: Time) {
        self.puzzles.solved(puzzle, solution);
        for task in self.tasks.values_mut() {
            if !matches!(&task.work, Work::Store(it) if it.stores(&puzzle.message)) {
                continue;
            }
            task.due = now + task.span;
            for leg in &mut task.legs {
                if matches!(leg.stage, Stage::Resting { .. }) {
                    leg.stage = Stage::Ready;
                }
            }
        }
    }

    fn time_is_up(&mut self, cx: &mut Cx<'_>, id: TaskId) {
        let no_path = self.tasks.get(&id).and_then(|task| self.why_it_waits(task, cx.now));
        let Some(task) = self.tasks.get_mut(&id) else { return };
        let last = no_path.or_else(|| task.last.take()).map(Box::new);
        let result = match task.work.partial() {
            Some(answer) => Ok(answer),
            None => Err(Error::TimedOut { span: task.span, last }),
        };
        self.end(cx, id, result);
    }

    // A node that does not answer is likely gone: its connection would be the fastest one for as
    // long as nobody notices.
    fn hangs(&mut self, cx: &mut Cx<'_>, id: TaskId, leg: usize) {
        let now = cx.now;
        let late = |leg: &Leg| leg.tries().find(|t| t.until <= now).map(|t| t.node);
        while let Some(node) = self.tasks.get(&id).and_then(|task| late(&task.legs[leg])) {
            self.stats.timeouts += 1;
            let waited = self.config.limits.try_time;
            self.try_failed(cx, id, leg, node, Error::NoAnswer { node, waited });
            self.drop_link(cx, node);
        }
    }
}

/// A request that is about to be sent.
pub(super) struct Asked {
    pub(super) id: TaskId,
    pub(super) leg: usize,
    pub(super) node: NodeId,
    pub(super) number: u64,
    /// Of items in it.
    pub(super) bytes: usize,
}

fn item_bytes(operations: &[Operation]) -> usize {
    let data = operations.iter().map(|operation| match operation {
        Operation::Store { data, .. }
        | Operation::Deposit { data, .. }
        | Operation::Introduce { data, .. } => data.len(),
        _ => 0,
    });
    data.sum()
}

pub(super) fn transfer_time(bytes: usize, bytes_per_second: u64) -> Span {
    Span::from_millis(bytes as u64 * 1000 / bytes_per_second)
}
