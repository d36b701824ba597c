//! Where a node stands: the last view of the chain, the time, and the times that follow from both.

use session_core::{Epoch, NodeId, Span, Time};
use session_protocol::chain::view::ChainView;
use session_protocol::evidence::Ground;
use session_protocol::membership::Membership as _;
use session_protocol::schedule::{Phase, Schedule};

use super::Config;

/// Longest time to wait for an answer; short epochs give a part of themselves.
const ANSWER_MAX: Span = Span::from_secs(10);

/// Shortest time after which what the chain does not show is posted again: a few blocks.
const PATIENCE_MIN: Span = Span::from_secs(2);

/// Longest time to let pass after a phase began: the clock of whoever makes blocks may be behind.
const SLACK_MAX: Span = Span::from_millis(500);

/// A moment in an epoch.
#[derive(Clone, Copy)]
pub(super) struct Scene<'a> {
    pub(super) config: &'a Config,
    pub(super) view: &'a ChainView,
    /// The node's clock, or the chain's where that is ahead.
    pub(super) now: Time,
}

impl<'a> Scene<'a> {
    pub(super) fn new(config: &'a Config, view: &'a ChainView, clock: Time) -> Self {
        Self { config, view, now: clock.max(view.time) }
    }

    pub(super) const fn me(&self) -> NodeId {
        self.config.node
    }

    pub(super) const fn epoch(&self) -> Epoch {
        self.view.epoch.number
    }

    pub(super) const fn schedule(&self) -> Schedule {
        self.view.epoch.schedule
    }

    /// Returns whether the epoch of the view still runs: a node that catches up has no duties in
    /// epochs that are over.
    pub(super) fn is_current(&self) -> bool {
        self.now < self.schedule().end()
    }

    /// Returns a share of the epoch's length.
    pub(super) const fn share(&self, of: u64) -> Span {
        Span::from_millis(self.schedule().length.as_millis() / of)
    }

    pub(super) fn patience(&self) -> Span {
        PATIENCE_MIN.max(self.share(16))
    }

    pub(super) fn answer_time(&self) -> Span {
        ANSWER_MAX.min(self.share(16))
    }

    pub(super) fn slack(&self) -> Span {
        SLACK_MAX.min(self.share(64))
    }

    /// Returns when work of a phase begins here.
    pub(super) fn begin(&self, phase: Phase) -> Time {
        self.schedule().begin(phase) + self.slack()
    }

    /// Returns when a phase ends.
    pub(super) fn end(&self, phase: Phase) -> Time {
        let after = Phase::ALL.into_iter().find(|later| *later > phase);
        after.map_or_else(|| self.schedule().end(), |later| self.schedule().begin(later))
    }

    /// Returns whether it is time for what belongs to a phase, and has itself woken when it is.
    pub(super) fn is_in(&self, phase: Phase, alarm: &mut Alarm) -> bool {
        let begin = self.begin(phase);
        alarm.at(begin);
        begin <= self.now && self.now < self.end(phase)
    }

    /// Returns whether the chain itself, by the time of its last block, has come to a phase.
    pub(super) fn chain_reached(&self, phase: Phase) -> bool {
        self.schedule().begin(phase) <= self.view.time
    }

    /// Returns what evidence is checked against.
    pub(super) fn ground(&self) -> Ground<'a> {
        Ground {
            chain: self.view.chain,
            network: self.view.membership.network(),
            genesis: self.view.genesis,
            epoch: self.schedule().length,
            settle: self.view.params.settle,
            verifier: &*self.config.verifier,
        }
    }
}

/// The earliest of the times at which something is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alarm {
    now: Time,
    next: Option<Time>,
}

impl Alarm {
    pub(super) const fn new(now: Time) -> Self {
        Self { now, next: None }
    }

    /// Rings at `time`; what is due already needs no alarm.
    pub(super) fn at(&mut self, time: Time) {
        if time > self.now {
            self.next = Some(self.next.map_or(time, |next| next.min(time)));
        }
    }

    pub(super) const fn next(&self) -> Option<Time> {
        self.next
    }
}
