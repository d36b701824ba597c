//! One command on its way through nodes.
//!
//! A task has one leg, or one for each node that is to be read from. A leg is with one node at a
//! time and moves on to another when that one fails; a round is over when every member failed, and
//! the next one starts after a pause, until the task's time is up.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{Namespace, NodeId, Span, SwarmId, Time};

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
    /// A connection.
    Connecting { node: NodeId, until: Time },
    /// An answer.
    Asked { node: NodeId, request: u64, at: Time, until: Time, sent: Sent },
    /// Nothing.
    Finished,
}

#[derive(Debug)]
pub(crate) struct Leg {
    pub(crate) stage: Stage,
    /// Who must be asked next, instead of whom we would choose.
    pub(crate) stay: Option<NodeId>,
    /// Who failed in this round.
    pub(crate) tried: BTreeSet<NodeId>,
    /// Who was asked again in other words already.
    pub(crate) again: BTreeSet<NodeId>,
    pub(crate) rounds: u32,
}

impl Leg {
    pub(crate) const fn new(stay: Option<NodeId>) -> Self {
        Self {
            stage: Stage::Ready,
            stay,
            tried: BTreeSet::new(),
            again: BTreeSet::new(),
            rounds: 0,
        }
    }

    /// Returns the node it is with.
    pub(crate) const fn node(&self) -> Option<NodeId> {
        match self.stage {
            Stage::Connecting { node, .. } | Stage::Asked { node, .. } => Some(node),
            _ => None,
        }
    }

    /// Leaves a node that failed.
    pub(crate) fn leave(&mut self, node: NodeId) {
        self.tried.insert(node);
        (self.stay, self.stage) = (None, Stage::Ready);
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
        let legs = self.legs.iter().map(|leg| match leg.stage {
            // What is ready and not started waits for somebody else's request to end.
            Stage::Ready | Stage::Finished => Time::MAX,
            Stage::Resting { until }
            | Stage::Connecting { until, .. }
            | Stage::Asked { until, .. } => until,
        });
        legs.fold(self.due, Time::min)
    }
}
