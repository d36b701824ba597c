//! Who was disturbed when, who paid for what, who was caught.
//!
//! A node is *disturbed* in an epoch when it was down, or cut off from the chain, for longer than
//! an eighth of it in all, or when it lost its disk in it or in the epoch before. Everybody else
//! must come through an epoch without paying.

use std::collections::BTreeMap;

use session_core::{Epoch, Span, Time};
use session_swarm::coordinator::Lie;

use crate::host::HostId;

/// The part of an epoch that a node may miss without consequences: half of the shortest time that
/// any duty has.
const GRACE: u64 = 8;

/// What the world knows of one node.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Since when it is down or cut off.
    away_since: Option<Time>,
    /// How long it was away in this epoch before that.
    away: Span,
    /// Whether it lost its disk in this epoch.
    robbed: bool,
    /// The same for the epoch before.
    robbed_before: bool,
    /// The last epochs in which it was disturbed; more than a mark can count are not needed.
    disturbed: Vec<Epoch>,
    /// How it lies.
    pub lie: Option<Lie>,
    /// The first epoch in which its lie had consequences for it.
    pub caught: Option<Epoch>,
    /// Epochs in which it had a seat.
    pub served: u64,
}

/// What the world knows of all nodes.
#[derive(Debug, Default)]
pub struct Watch {
    seen: Vec<Seen>,
    epoch: Epoch,
    epoch_began: Time,
    pub(crate) tally: Tally,
    /// Ballots and seats of the last epoch.
    pub(crate) turnout: (usize, usize),
}

/// What happened to nodes, over all epochs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Epochs that ended.
    pub epochs: u64,
    /// How their beacons were made.
    pub modes: BTreeMap<&'static str, u64>,
    /// What honest nodes failed at.
    pub honest_failings: BTreeMap<&'static str, u64>,
    /// What the others failed at.
    pub other_failings: BTreeMap<&'static str, u64>,
    /// Honest nodes that missed an epoch though nothing disturbed them.
    pub undeserved_misses: u64,
    /// Payments of honest nodes, all deserved by long absence.
    pub honest_payments: u64,
    /// Payments of the others.
    pub other_payments: u64,
    /// Seats in all epochs.
    pub seats: u64,
    /// Ballots in all epochs.
    pub ballots: u64,
    /// Swarms that came to be.
    pub swarms_made: u64,
    /// Swarms that are no more.
    pub swarms_gone: u64,
    /// Persons' inboxes that moved, over all epochs.
    pub inboxes_moved: u64,
    /// Persons' inboxes, over all epochs.
    pub inboxes: u64,
    /// Nodes that took a seat after the beginning.
    pub seated: u64,
    /// Nodes that gave one up.
    pub unseated: u64,
    /// Most simulated time from an epoch's turn until no inbox was on its way any more.
    pub hand_over: Span,
}

impl Watch {
    pub(crate) fn new(nodes: usize, began: Time) -> Self {
        let seen = vec![Seen::default(); nodes];
        Self { seen, epoch: Epoch(0), epoch_began: began, tally: Tally::default(), turnout: (0, 0) }
    }

    /// Returns what is known of a node.
    #[must_use]
    pub fn seen(&self, host: HostId) -> Option<&Seen> {
        self.seen.get(host.index())
    }

    /// Returns every node that lies.
    pub fn liars(&self) -> impl Iterator<Item = (Lie, &Seen)> {
        self.seen.iter().filter_map(|seen| seen.lie.map(|lie| (lie, seen)))
    }

    /// Returns what happened.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    pub(crate) fn get_mut(&mut self, host: HostId) -> &mut Seen {
        &mut self.seen[host.index()]
    }

    /// Takes down whether a node is down or cut off from now on.
    pub(crate) fn set_away(&mut self, host: HostId, away: bool, now: Time) {
        let Some(seen) = self.seen.get_mut(host.index()) else { return };
        match (seen.away_since, away) {
            (None, true) => seen.away_since = Some(now),
            (Some(since), false) => {
                seen.away = seen.away + now.since(since.max(self.epoch_began));
                seen.away_since = None;
            }
            _ => {}
        }
    }

    pub(crate) fn set_robbed(&mut self, host: HostId) {
        if let Some(seen) = self.seen.get_mut(host.index()) {
            seen.robbed = true;
        }
    }

    /// Closes the books of an epoch, which `next` follows.
    pub(crate) fn turn(&mut self, now: Time, length: Span, next: Epoch) {
        let limit = length.as_millis() / GRACE;
        for seen in &mut self.seen {
            let open = seen.away_since.map_or(Span::ZERO, |at| now.since(at.max(self.epoch_began)));
            let away = seen.away + open;
            if away.as_millis() > limit || seen.robbed || seen.robbed_before {
                seen.disturbed.push(self.epoch);
            }
            seen.away = Span::ZERO;
            seen.robbed_before = std::mem::take(&mut seen.robbed);
        }
        self.epoch = next;
        self.epoch_began = now;
    }

    /// Returns whether a node was disturbed in an epoch that has ended.
    #[must_use]
    pub fn was_disturbed(&self, host: HostId, epoch: Epoch) -> bool {
        self.seen.get(host.index()).is_some_and(|seen| seen.disturbed.contains(&epoch))
    }

    /// Returns how many voted in the last epoch that ended, and how many could.
    #[must_use]
    pub const fn last_turnout(&self) -> (usize, usize) {
        self.turnout
    }

    /// Returns the epoch that is under way.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns when that epoch's first block came.
    #[must_use]
    pub const fn epoch_began(&self) -> Time {
        self.epoch_began
    }
}
