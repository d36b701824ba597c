//! What there is to show of how requests travel. For the owner's eyes: it names paths, and is never
//! logged.

use std::collections::VecDeque;

use session_core::{Epoch, NodeId, Span, Time};

use super::guards::Guard;
use super::mode::Mode;

/// Paths remembered to be shown.
const PATHS_MAX: usize = 16;

/// Round trips remembered.
const ROUND_TRIPS_MAX: usize = 128;

/// Counters since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RouteStats {
    /// Packets sent, cover included.
    pub packets: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Answers, cover included.
    pub answers: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Packets of cover.
    pub cover: u64,
    /// Packets of cover that came back.
    pub cover_back: u64,
    /// Packets that nothing came back of in time.
    pub lost: u64,
    /// Packets that took longer than others do.
    pub slow: u64,
    /// Answers that somebody on the way had spoilt.
    pub spoilt: u64,
    /// Answers that nobody waited for any more.
    pub late: u64,
    /// Requests that were sent once more, over another path.
    pub rerouted: u64,
    /// Guards that were replaced because they could not be reached.
    pub guards_replaced: u64,
    /// Hop keys learned.
    pub keys: u64,
    /// Hop keys that were not their nodes'.
    pub bad_keys: u64,
}

/// A guard, and how its link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GuardReport {
    /// Which, and since when.
    pub guard: Guard,
    /// Whether it is connected.
    pub up: bool,
}

/// A path that an answer came back over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTaken {
    /// The guard first, the node that was asked last.
    pub hops: Vec<NodeId>,
    /// When the answer came.
    pub at: Time,
    /// From packet to answer.
    pub round_trip: Span,
}

/// How requests travel at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathReport {
    /// How.
    pub mode: Mode,
    /// The guards, the preferred ones first.
    pub guards: Vec<GuardReport>,
    /// The epoch that paths are made in.
    pub epoch: Option<Epoch>,
    /// Nodes of the network.
    pub nodes: usize,
    /// Those whose hop keys are known.
    pub hops_known: usize,
    /// Bytes of packets that leave in a second whatever is said, and as many that come back at most.
    pub cover_rate: u64,
    /// Those that others are preferred to because packets were lost with them.
    pub avoided: usize,
    /// The last paths that answers came back over, the newest last.
    pub paths: Vec<PathTaken>,
    /// What hops and the queue add to each request and its answer on average, on purpose.
    pub expected_delay: Span,
    /// Round trips of the last requests: how many, the middle one, the hundredth longest.
    pub measured: Option<Measured>,
    /// Counters.
    pub stats: RouteStats,
}

/// Round trips.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measured {
    /// How many.
    pub count: usize,
    /// Half of them were shorter.
    pub median: Span,
    /// Ninety-nine of a hundred were shorter.
    pub p99: Span,
}

/// The last paths and round trips.
#[derive(Debug, Default)]
pub(super) struct Memory {
    paths: VecDeque<PathTaken>,
    round_trips: VecDeque<Span>,
}

impl Memory {
    pub(super) fn note(&mut self, hops: &[NodeId], at: Time, round_trip: Span) {
        self.paths.push_back(PathTaken { hops: hops.to_vec(), at, round_trip });
        self.round_trips.push_back(round_trip);
        while self.paths.len() > PATHS_MAX {
            self.paths.pop_front();
        }
        while self.round_trips.len() > ROUND_TRIPS_MAX {
            self.round_trips.pop_front();
        }
    }

    pub(super) fn paths(&self) -> Vec<PathTaken> {
        self.paths.iter().cloned().collect()
    }

    fn sorted(&self) -> Vec<Span> {
        let mut sorted: Vec<Span> = self.round_trips.iter().copied().collect();
        sorted.sort_unstable();
        sorted
    }

    /// Returns what nine of ten answers did not take longer than; not more than three times what half
    /// of them took, so that a few that were lost at first do not make everybody else patient.
    pub(super) fn usual(&self) -> Option<Span> {
        let sorted = self.sorted();
        let last = sorted.len().checked_sub(1)?;
        let (nine_of_ten, half) = (sorted[last * 9 / 10], sorted[last / 2]);
        Some(nine_of_ten.min(Span::from_millis(half.as_millis().max(1) * 3)))
    }

    pub(super) fn measured(&self) -> Option<Measured> {
        let sorted = self.sorted();
        let count = sorted.len();
        let median = *sorted.get(count / 2)?;
        let p99 = *sorted.get((count * 99 / 100).min(count.checked_sub(1)?))?;
        Some(Measured { count, median, p99 })
    }
}
