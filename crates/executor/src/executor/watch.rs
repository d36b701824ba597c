//! What is to be known of all sessions that run without looking at each.

use std::collections::BTreeMap;

use session_core::timers::Timers;
use session_core::{NodeId, SessionId, Time};

/// When sessions want to run, and with whom they run.
#[derive(Default)]
pub(super) struct Watch {
    timers: Timers<SessionId>,
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
        self.timers.cancel(*id);
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
        self.timers.set(id, at);
    }

    /// Returns when the next session wants to run.
    pub(super) fn deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Takes the sessions that want to run by now; whoever runs them sets when they want to again.
    pub(super) fn due(&mut self, now: Time) -> Vec<SessionId> {
        std::iter::from_fn(|| self.timers.pop(now)).collect()
    }

    /// Returns everybody with whom a session runs.
    pub(super) fn members(&self) -> impl Iterator<Item = NodeId> {
        self.members.keys().copied()
    }
}
