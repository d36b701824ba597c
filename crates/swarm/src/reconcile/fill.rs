//! Sessions by which inboxes that moved are fetched.

use session_core::{NodeId, Span, Time};

use super::elements::Scope;
use super::{About, Due, Peer, Reconcile, SERVED_MAX, SERVED_PER_PEER_MAX};
use crate::handover::source::Room;
use crate::machine::{Cx, Swarm};

/// Sessions with one node at a time while inboxes are filled; the last is for those that somebody
/// waits for.
const FILLED_PER_PEER_MAX: usize = SERVED_PER_PEER_MAX;

/// Sessions at a time while inboxes are filled.
const FILLED_MAX: usize = 32;

/// After so long without a word a node is slow.
const SLOW: Span = Span::from_millis(500);

impl Reconcile {
    /// Returns what may be filled from a node now, if anything.
    fn room(&self, node: NodeId, now: Time) -> Option<Room> {
        let of_node = self.count(Some(node), false);
        if of_node >= FILLED_PER_PEER_MAX || self.count(None, false) >= FILLED_MAX {
            return None;
        }
        let mut room = Room { is_full: of_node + 1 >= FILLED_PER_PEER_MAX, ..Room::default() };
        for ((with, _), session) in self.sessions.iter().filter(|(_, it)| it.about.takes) {
            room.busy.insert(session.about.scope.bucket);
            if *with == node || session.heard + SLOW > now {
                room.held.insert(session.about.scope.bucket);
            }
        }
        Some(room)
    }
}

impl Swarm {
    /// Begins to fill what is new here; it comes before what may differ.
    pub(super) fn pump_fill(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        loop {
            let may = |peer: &Peer| peer.not_before <= cx.now;
            if !self.reconcile.peers.get(&node).is_some_and(may) || self.handover.is_done() {
                return;
            }
            let Some(room) = self.reconcile.room(node, cx.now) else { return };
            let next = self.handover.next(node, cx.now, &self.view, &room);
            let Some((source, bucket)) = next else { return };
            let Some((range, since)) = self.handover.compares(source) else { return };
            if self.replay(cx, bucket).is_err() {
                return;
            }
            let scope = Scope { bucket, range };
            let source = Some(source);
            let about = About { scope, since, source, takes: true, whole: false, sound: true };
            self.open(cx, node, about, Due::Always);
        }
    }

    /// Tells whether a session of another node is served, and whether its elements are taken.
    ///
    /// Whoever has a seat in the swarm that a range belongs to is given what is here of it.
    pub(super) fn serves(&self, node: NodeId, scope: Scope, since: u64) -> Option<bool> {
        let reconcile = &self.reconcile;
        let takes = self.view.mates.contains(&node);
        let is_due = reconcile.peers.contains_key(&node)
            // What is acknowledged after the change must not be missed: it has to be known here.
            && (takes || self.view.membership().height() >= since)
            && (takes || self.handover.is_entitled(&self.view, node, scope.range))
            && !(takes && reconcile.is_busy(scope.bucket))
            && reconcile.count(Some(node), true) < SERVED_PER_PEER_MAX
            && reconcile.count(None, true) < SERVED_MAX;
        is_due.then_some(takes)
    }

    /// Tells whether everything that was acknowledged of what a session compares is here.
    // A mate that does not know the change yet may still be about to acknowledge something.
    pub(super) fn is_whole(&self, about: &About) -> bool {
        let About { scope, since, .. } = *about;
        self.view.membership().height() >= since
            && self.handover.is_whole(scope.range, scope.bucket, since)
    }
}
