//! One command on its way through nodes.
//!
//! A task has one leg, or one for each node that is to be read from. A leg is with one node and
//! moves on to another when that one fails; a round is over when every member failed, and the next
//! one starts after a pause, until the task's time is up.
//!
//! A node that takes its time is not a node that fails: after a while a second one is asked the
//! same, and whoever gives a good answer first has answered. Never are more than two asked at once;
//! one that cannot even be reached makes room for a third. So does, over hops, one whose packets are
//! late: both may be gone, and nothing tells.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{InboxAddress, Namespace, NodeId, Span, SwarmId, Time};

use crate::command::Error;
use crate::work::{Sent, Work};

/// Pause after the first round in which every member failed; doubled each time.
const PAUSE_MIN: Span = Span::from_millis(250);

/// Most doublings of the pause: four seconds.
const PAUSE_DOUBLINGS_MAX: u32 = 4;

/// How many nodes must agree before what they say against our own view is followed.
const AGREEING: usize = 2;

/// Whose task it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TaskId {
    /// A command's.
    Command(u64),
    /// A subscription's, to be pushed to.
    Subscribe(u64),
    /// A subscription's, to close gaps in one namespace.
    Sweep(u64, Namespace),
    /// A reading of some watched inboxes.
    Poll(u64),
    /// A wait for something new in a watched inbox.
    Wait(InboxAddress),
    /// A wait for something new in a subscription.
    Listen(u64),
}

/// Who can do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    Swarm(SwarmId),
    Node(NodeId),
}

/// Where a leg stands, named by what it waits for.
#[derive(Debug)]
pub(crate) enum Stage {
    /// A node has to be chosen and asked.
    Ready,
    /// A moment to pass.
    Resting { until: Time },
    /// A node.
    Trying(Try),
    /// Nothing.
    Finished,
}

/// One node's chance.
#[derive(Debug)]
pub(crate) struct Try {
    pub(crate) node: NodeId,
    pub(crate) since: Time,
    /// When a second node is asked; never, if there is none.
    pub(crate) patient_until: Time,
    /// When it is given up.
    pub(crate) until: Time,
    /// When the same is sent once more over another path; never, where there are no paths.
    pub(crate) resend_at: Time,
    pub(crate) wait: Wait,
    /// Whether the one before makes room for a third when this one takes its time, too.
    pub(crate) goes_on: bool,
}

/// What a node lets us wait for.
#[derive(Debug)]
pub(crate) enum Wait {
    Connection,
    Answer { request: u64, sent: Sent },
}

impl Try {
    /// A chance that begins now, of which nothing is due but its end.
    pub(crate) const fn new(node: NodeId, since: Time, until: Time, wait: Wait) -> Self {
        let [patient_until, resend_at] = [Time::MAX; 2];
        Self { node, since, patient_until, until, resend_at, wait, goes_on: false }
    }

    /// Returns the number of the request that it is to answer.
    pub(crate) const fn request(&self) -> Option<u64> {
        match self.wait {
            Wait::Answer { request, .. } => Some(request),
            Wait::Connection => None,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) stage: Stage,
    /// The other node that is trying at the same time.
    pub(crate) rival: Option<Try>,
    /// Who must be asked next, instead of whom we would choose.
    pub(crate) stay: Option<NodeId>,
    /// Who failed in this round.
    pub(crate) tried: BTreeSet<NodeId>,
    /// Who was asked again in other words already.
    pub(crate) again: BTreeSet<NodeId>,
    pub(crate) rounds: u32,
    /// How often it was asked once more because a packet was lost.
    pub(crate) reroutes: u32,
    /// The hops that it was lost with.
    pub(crate) shun: Vec<NodeId>,
    /// How often another node was asked because the ones before took their time, since one answered.
    pub(crate) hedges: u32,
}

impl Leg {
    pub(crate) const fn new(stay: Option<NodeId>) -> Self {
        Self {
            stage: Stage::Ready,
            rival: None,
            stay,
            tried: BTreeSet::new(),
            again: BTreeSet::new(),
            rounds: 0,
            reroutes: 0,
            shun: Vec::new(),
            hedges: 0,
        }
    }

    const fn current(&self) -> Option<&Try> {
        match &self.stage {
            Stage::Trying(current) => Some(current),
            _ => None,
        }
    }

    /// Returns the chances that are being given, two at most.
    pub(crate) fn tries(&self) -> impl Iterator<Item = &Try> {
        self.current().into_iter().chain(&self.rival)
    }

    /// Returns the chance that waits for this request.
    pub(crate) fn asked_mut(&mut self, request: u64) -> Option<&mut Try> {
        let current = match &mut self.stage {
            Stage::Trying(current) => Some(current),
            _ => None,
        };
        let mut tries = current.into_iter().chain(&mut self.rival);
        tries.find(|trying| trying.request() == Some(request))
    }

    pub(crate) fn is_with(&self, node: &NodeId) -> bool {
        self.tries().any(|trying| trying.node == *node)
    }

    /// Tells whether some node is working on it.
    pub(crate) fn is_out(&self) -> bool {
        self.tries().next().is_some()
    }

    /// Ends one chance; the other one goes on.
    pub(crate) fn take(&mut self, which: impl Fn(&Try) -> bool) -> Option<Try> {
        if self.rival.as_ref().is_some_and(&which) {
            return self.rival.take();
        }
        if self.current().is_some_and(which)
            && let Stage::Trying(current) = core::mem::replace(&mut self.stage, Stage::Ready)
        {
            return Some(current);
        }
        None
    }

    /// Makes the node that is trying the rival of one that is still to be chosen. Where there are
    /// two already, one that could not be reached yet has to go, or the one before.
    pub(crate) fn seek_rival(&mut self) -> Option<Try> {
        self.stay = None;
        let unreached = self.rival.is_some().then(|| self.take(|t| t.request().is_none()));
        let mut left = unreached.flatten();
        if self.current().is_some_and(|current| current.goes_on) && self.rival.is_some() {
            left = self.rival.take();
        }
        if self.rival.is_none() {
            self.rival = self.take(|_| true);
        }
        self.hedges = self.hedges.saturating_add(1);
        left
    }

    /// Makes the rival the one that is tried, because there is nobody else; tells whether there
    /// was one.
    pub(crate) fn settle_for_rival(&mut self) -> bool {
        let rival = self.rival.take();
        let found = rival.is_some();
        if let Some(rival) = rival {
            self.stage = Stage::Trying(Try { patient_until: Time::MAX, ..rival });
        }
        found
    }

    /// Lets the rival take the lead of one that is no further; tells whether it did.
    pub(crate) fn promote_rival(&mut self) -> bool {
        if self.current().is_some_and(|current| current.request().is_some()) {
            return false;
        }
        let slower = match core::mem::replace(&mut self.stage, Stage::Ready) {
            Stage::Trying(slower) => Some(slower),
            _ => None,
        };
        self.settle_for_rival();
        self.rival = slower;
        true
    }

    /// Has nobody try any more.
    pub(crate) fn end_tries(&mut self) -> Vec<Try> {
        let ended = [self.take(|_| true), self.take(|_| true)];
        ended.into_iter().flatten().collect()
    }

    /// Waits for the node that is trying alone as long as it has.
    pub(crate) fn be_patient(&mut self) {
        if let Stage::Trying(current) = &mut self.stage {
            current.patient_until = Time::MAX;
        }
    }

    /// Tells whether a second node is to be asked now.
    pub(crate) fn is_impatient(&self, now: Time) -> bool {
        self.patient_until() <= now
    }

    // Two nodes that were asked both have their time, but over hops.
    fn patient_until(&self) -> Time {
        let both_asked = self.rival.is_some() && self.tries().all(|t| t.request().is_some());
        match self.current() {
            Some(current) if !both_asked || current.goes_on => current.patient_until,
            _ => Time::MAX,
        }
    }

    /// Returns when something is due; never, where somebody else's request has to end first.
    fn deadline(&self) -> Time {
        let rest = match self.stage {
            Stage::Resting { until } => until,
            _ => Time::MAX,
        };
        let first = rest.min(self.patient_until());
        self.tries().map(|trying| trying.until.min(trying.resend_at)).fold(first, Time::min)
    }

    /// Does not come back to a node in this round.
    pub(crate) fn leave(&mut self, node: NodeId) {
        self.tried.insert(node);
        if self.stay == Some(node) {
            self.stay = None;
        }
    }

    /// Starts another round after a pause.
    pub(crate) fn pause(&mut self, now: Time) {
        let pause = PAUSE_MIN.as_millis() << self.rounds.min(PAUSE_DOUBLINGS_MAX);
        self.rounds = self.rounds.saturating_add(1);
        self.tried.clear();
        self.stage = Stage::Resting { until: now + Span::from_millis(pause) };
    }
}

pub(crate) struct Task {
    pub(crate) work: Work,
    pub(crate) route: Route,
    pub(crate) legs: Vec<Leg>,
    /// The time that it has, counted from the last progress.
    pub(crate) span: Span,
    pub(crate) due: Time,
    /// What went wrong last.
    pub(crate) last: Option<Error>,
    /// Who refused for good.
    refusing: BTreeSet<NodeId>,
    /// Who named which other swarm.
    redirecting: BTreeMap<SwarmId, BTreeSet<NodeId>>,
    redirected: bool,
    /// Bytes that an answer over hops must have room for, as an exit has said.
    pub(crate) room_bytes: usize,
    /// A reply that does not fit the longest answer is asked for in so many times smaller parts.
    pub(crate) narrow: usize,
    /// Who has answered a part of it, so that every part comes from another node.
    pub(crate) served: BTreeSet<NodeId>,
}

impl Task {
    pub(crate) fn new(work: Work, route: Route, legs: Vec<Leg>, span: Span, now: Time) -> Self {
        Self {
            work,
            route,
            legs,
            span,
            due: now + span,
            last: None,
            refusing: BTreeSet::new(),
            redirecting: BTreeMap::new(),
            redirected: false,
            room_bytes: 0,
            narrow: 1,
            served: BTreeSet::new(),
        }
    }

    pub(crate) const fn swarm(&self) -> Option<SwarmId> {
        match self.route {
            Route::Swarm(swarm) => Some(swarm),
            Route::Node(_) => None,
        }
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.legs.iter().all(|leg| matches!(leg.stage, Stage::Finished))
    }

    /// Notes a refusal for good, and tells whether enough nodes agree.
    ///
    /// One node alone must not be able to end a command by lying about it.
    pub(crate) fn refuses(&mut self, node: NodeId, members: usize) -> bool {
        self.refusing.insert(node);
        self.refusing.len() >= AGREEING.min(members)
    }

    /// Notes that a node named another swarm, and goes there once enough nodes agree.
    ///
    /// Our view of the network may be old. It is given up once at most, and never on one node's
    /// word: items stored in a wrong swarm are lost.
    pub(crate) fn redirects(
        &mut self,
        node: NodeId,
        swarm: SwarmId,
        members: usize,
        target_is_known: bool,
    ) -> bool {
        let naming = self.redirecting.entry(swarm).or_default();
        naming.insert(node);
        let follow = naming.len() >= AGREEING.min(members)
            && target_is_known
            && !self.redirected
            && self.swarm().is_some_and(|current| current != swarm);
        if follow {
            self.redirected = true;
            self.route = Route::Swarm(swarm);
            for leg in &mut self.legs {
                leg.tried.clear();
            }
        }
        follow
    }

    /// Returns when something is due, whatever happens.
    pub(crate) fn deadline(&self) -> Time {
        self.legs.iter().map(Leg::deadline).fold(self.due, Time::min)
    }
}
