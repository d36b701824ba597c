//! Sessions that have not begun, in the order in which they were created.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::{Digest, NodeId, SessionId, Time};
use session_protocol::chain::view::OpenSession;

/// Sessions that wait at most; more than one chain has at a time.
pub(super) const WAITING_MAX: usize = 100_000;
/// Nodes that are remembered as having the program of one session.
const OFFERS_MAX: usize = 4;

/// A session that waits.
#[derive(Clone, Debug)]
struct Waiting {
    open: Arc<OpenSession>,
    /// What it still needs; without it, it waits for its turn.
    lacks: Option<Digest>,
    /// Why it can never begin.
    bad: bool,
}

/// Sessions that wait.
#[derive(Default)]
pub(super) struct Queue {
    sessions: BTreeMap<SessionId, Waiting>,
    ready: BTreeSet<(Time, SessionId)>,
    lacking: BTreeSet<(Time, SessionId)>,
    by_blob: BTreeMap<Digest, BTreeSet<SessionId>>,
    offers: BTreeMap<SessionId, Vec<NodeId>>,
}

/// What a session that waits needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Its turn.
    Turn,
    /// A blob.
    Blob(Digest),
    /// It can never begin.
    Never,
}

impl Queue {
    /// Returns how many wait.
    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Returns a session that waits.
    pub(super) fn get(&self, id: &SessionId) -> Option<&Arc<OpenSession>> {
        self.sessions.get(id).map(|waiting| &waiting.open)
    }

    /// Returns whether a session waits.
    pub(super) fn has(&self, id: &SessionId) -> bool {
        self.sessions.contains_key(id)
    }

    /// Takes in a session, or what it needs now.
    pub(super) fn put(&mut self, id: SessionId, open: Arc<OpenSession>, need: Need) {
        self.unlist(&id);
        if self.sessions.len() >= WAITING_MAX {
            return;
        }
        let at = (open.created, id);
        let lacks = match need {
            Need::Turn => {
                self.ready.insert(at);
                None
            }
            Need::Blob(blob) => {
                self.lacking.insert(at);
                self.by_blob.entry(blob).or_default().insert(id);
                Some(blob)
            }
            Need::Never => None,
        };
        self.sessions.insert(id, Waiting { open, lacks, bad: need == Need::Never });
    }

    fn unlist(&mut self, id: &SessionId) -> Option<Waiting> {
        let waiting = self.sessions.remove(id)?;
        let at = (waiting.open.created, *id);
        self.ready.remove(&at);
        self.lacking.remove(&at);
        if let Some(blob) = waiting.lacks
            && let Some(sessions) = self.by_blob.get_mut(&blob)
        {
            sessions.remove(id);
            if sessions.is_empty() {
                self.by_blob.remove(&blob);
            }
        }
        Some(waiting)
    }

    /// Takes a session out.
    pub(super) fn remove(&mut self, id: &SessionId) -> Option<Arc<OpenSession>> {
        self.offers.remove(id);
        self.unlist(id).map(|waiting| waiting.open)
    }

    /// Takes out the oldest session that has all it needs.
    pub(super) fn next(&mut self) -> Option<(SessionId, Arc<OpenSession>)> {
        let (_, id) = *self.ready.first()?;
        self.remove(&id).map(|open| (id, open))
    }

    /// Returns the sessions that need a blob.
    pub(super) fn needing(&self, blob: &Digest) -> Vec<(SessionId, Arc<OpenSession>)> {
        let ids = self.by_blob.get(blob).into_iter().flatten();
        ids.filter_map(|id| Some((*id, Arc::clone(self.get(id)?)))).collect()
    }

    /// Returns the oldest sessions that need blobs, and which.
    pub(super) fn oldest_lacking(
        &self,
        count: usize,
    ) -> Vec<(SessionId, Arc<OpenSession>, Digest)> {
        let of = |id: &SessionId| {
            let waiting = self.sessions.get(id)?;
            Some((*id, Arc::clone(&waiting.open), waiting.lacks?))
        };
        self.lacking.iter().take(count).filter_map(|(_, id)| of(id)).collect()
    }

    /// Remembers that a node has the program of a session.
    pub(super) fn offer(&mut self, id: SessionId, node: NodeId) {
        let offers = self.offers.entry(id).or_default();
        if offers.len() < OFFERS_MAX && !offers.contains(&node) {
            offers.push(node);
        }
    }

    /// Returns who has the program of a session.
    pub(super) fn offers(&self, id: &SessionId) -> &[NodeId] {
        self.offers.get(id).map_or(&[], Vec::as_slice)
    }

    /// Returns whether a session can never begin.
    pub(super) fn is_bad(&self, id: &SessionId) -> bool {
        self.sessions.get(id).is_some_and(|waiting| waiting.bad)
    }

    /// Returns all that wait.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&SessionId, &Arc<OpenSession>)> {
        self.sessions.iter().map(|(id, waiting)| (id, &waiting.open))
    }
}
