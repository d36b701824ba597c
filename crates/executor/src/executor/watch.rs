//! What is to be known of all sessions that run without looking at each.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{NodeId, SessionId, Time};

/// When sessions want to run, and with whom they run.
#[derive(Default)]
pub(super) struct Watch {
    due: BTreeSet<(Time, SessionId)>,
    at: BTreeMap<SessionId, Time>,
    /// Sessions of each member.
    members: BTreeMap<NodeId, u32>,
}

impl Watch {
    /// A session runs from here on.
    pub(super) fn begin(&mut self, members: impl Iterator<Item = NodeId>) {
        for node in members {
            *self.members.entry(node).or_default() += 1;
        }
    }

    /// A session runs no longer.
    pub(super) fn end(&mut self, id: &SessionId, members: impl Iterator<Item = NodeId>) {
        if let Some(at) = self.at.remove(id) {
            self.due.remove(&(at, *id));
        }
        for node in members {
            let Some(sessions) = self.members.get_mut(&node) else { continue };
            *sessions -= 1;
            if *sessions == 0 {
                self.members.remove(&node);
            }
        }
    }

    /// A session wants to run at a time.
    pub(super) fn set(&mut self, id: SessionId, at: Time) {
        match self.at.insert(id, at) {
            Some(before) if before == at => return,
            Some(before) => drop(self.due.remove(&(before, id))),
            None => {}
        }
        self.due.insert((at, id));
    }

    /// Returns when the next session wants to run.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Returns the sessions that want to run by now.
    pub(super) fn due(&self, now: Time) -> Vec<SessionId> {
        self.due.iter().take_while(|(at, _)| *at <= now).map(|(_, id)| *id).collect()
    }

    /// Returns everybody with whom a session runs.
    pub(super) fn members(&self) -> impl Iterator<Item = NodeId> {
        self.members.keys().copied()
    }
}
