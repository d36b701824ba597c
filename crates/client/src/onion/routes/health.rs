//! What is known of hops and guards at the moment, and what of it is kept for the next start.

use session_core::{List, NodeId, Span, Time};
use session_crypto::Verifier;
use session_protocol::Membership;

use super::super::blame::{self, Role};
use super::super::kept::Health;
use super::Routes;

/// Shortest time after which the same is sent over another path.
const PATIENCE_MIN: Span = Span::from_millis(300);

/// So many times longer than nine of ten answers take a packet may be out before it counts as late;
/// less where hops wait, because that is most of it.
const PATIENCE_FACTOR: u64 = 3;
const PATIENCE_FACTOR_MIX: u64 = 2;

/// Shortest time between two times that [`Health`] is given out.
const HEALTH_EVERY: Span = Span::from_millis(250);

/// Whether there is something new to be kept.
#[derive(Debug, Default)]
pub(super) struct HealthState {
    pub(super) changed: bool,
    told_at: Option<Time>,
    usual: Option<Span>,
}

impl Routes {
    /// Goes on where an earlier start ended, once. Hop keys are checked as if somebody had sent them.
    pub(crate) fn restore(&mut self, context: (&dyn Membership, &dyn Verifier), now: Time) {
        let Some((health, keys)) = self.before.take() else { return };
        self.directory.restore(keys, context, now);
        if health.is_fresh(now) {
            self.blame.restore(&health.suspects, now);
            let map = &self.map;
            self.blame.keep(|node| map.has(node));
            self.guards.restore(&health.missing, now);
            (self.usual_before, self.health.usual) = (health.usual, health.usual);
        }
    }

    /// Returns how hops and guards are, if that is to be kept for the next start.
    pub(crate) fn take_health(&mut self, now: Time) -> Option<Health> {
        let usual = self.memory.usual();
        // What is twice as long, or half, is something else.
        let differs = match (usual, self.health.usual) {
            (Some(new), Some(old)) => {
                new.as_millis() > old.as_millis() * 2 + 1
                    || old.as_millis() > new.as_millis() * 2 + 1
            }
            (new, old) => new.is_some() && old.is_none(),
        };
        let blamed = self.blame.take_changed();
        let missing = self.guards.take_missing_changed(now);
        self.health.changed |= blamed || missing || differs;
        if !self.health.changed || self.health_due().is_some_and(|due| now < due) {
            return None;
        }
        let usual = usual.or(self.health.usual);
        self.health = HealthState { changed: false, told_at: Some(now), usual };
        Some(Health {
            seen: now,
            usual,
            suspects: blame::kept(self.blame.suspects(now)),
            missing: List::new(self.guards.missing(now)).expect("never more than guards are kept"),
        })
    }

    pub(super) fn health_due(&self) -> Option<Time> {
        self.health.told_at.map(|at| at + HEALTH_EVERY)
    }

    /// Returns how long the answer to a request may take before it is asked for elsewhere; `default`,
    /// where nothing was measured yet.
    pub(crate) fn patience(&self, default: Span) -> Span {
        let times = |span: Span, factor| Span::from_millis(span.as_millis() * factor);
        let delays = self.expected_delay();
        match (self.memory.usual().or(self.usual_before), delays) {
            (Some(usual), Span::ZERO) => PATIENCE_MIN.max(times(usual, PATIENCE_FACTOR)),
            (Some(usual), _) => times(usual, PATIENCE_FACTOR_MIX).max(default + times(delays, 2)),
            (None, _) => default + times(delays, 3),
        }
    }

    pub(super) fn is_doubtful(&self, role: Role, node: &NodeId, now: Time) -> bool {
        self.blame.is_suspect(role, node, now) || self.guards.is_missing(node, now)
    }

    /// Returns those of some nodes that no packet was lost with lately; all, if there are none.
    pub(crate) fn without_suspects(&self, nodes: Vec<NodeId>, now: Time) -> Vec<NodeId> {
        let is_well = |node: &NodeId| !self.is_doubtful(Role::Exit, node, now);
        let is_near = |node: &NodeId| {
            self.hops() == 1 || self.starts(node, now).iter().any(|it| self.guards.is_well(it, now))
        };
        let nodes = those(nodes, is_well);
        those(nodes, is_near)
    }

    /// Notes the packets that take longer than others do; tells whether there are any.
    pub(crate) fn note_late(&mut self, now: Time) -> bool {
        let late = self.circuits.late(now);
        for hops in &late {
            // Behind a guard that loses packets, while another one does not, nobody else is to blame.
            let others = self.guards.up(now);
            let better = others.iter().any(|guard| self.guards.is_well(guard, now));
            if self.guards.is_well(&hops[0], now) || !better {
                self.blame.lost(hops, self.map.len(), now);
            }
            self.guards.is_late(&hops[0], now);
            self.stats.slow += 1;
        }
        !late.is_empty()
    }
}

/// Returns those of some nodes that something is true of; all, if there are none.
fn those(nodes: Vec<NodeId>, wanted: impl Fn(&NodeId) -> bool) -> Vec<NodeId> {
    let found: Vec<NodeId> = nodes.iter().copied().filter(|node| wanted(node)).collect();
    if found.is_empty() { nodes } else { found }
}
