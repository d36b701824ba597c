//! Which attempt is current, and who moved on to which.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::NodeId;
use session_protocol::workload::round::{Advance, Lock, LockedTo};

use super::Scene;
use super::check::Bad;

/// The attempts of a step in their order. Of each member the latest move is kept, and no other: who
/// moved on has no vote before.
#[derive(Default)]
pub(super) struct Pace {
    /// The attempt that began here last.
    pub(super) current: u32,
    /// The attempt to which this member moved on; it has no vote in those before.
    pub(super) target: u32,
    moves: BTreeMap<NodeId, Move>,
}

struct Move {
    advance: Advance,
    /// Proves what the advance is locked to.
    lock: Option<Arc<Lock>>,
}

/// What a leader shows to be allowed to propose.
pub(super) struct Mandate {
    pub(super) advances: Vec<Advance>,
    /// The latest lock among them: it is what must be proposed.
    pub(super) lock: Option<Arc<Lock>>,
}

impl Pace {
    /// Returns whether this member has a vote in the current attempt.
    pub(super) const fn votes(&self) -> bool {
        self.current == self.target
    }

    /// Takes note that an attempt began here.
    pub(super) fn began(&mut self, retry: u32) {
        self.current = self.current.max(retry);
    }

    /// Takes note of a move, if it is the member's latest.
    pub(super) fn note(
        &mut self,
        scene: &Scene,
        advance: Advance,
        lock: Option<Box<Lock>>,
    ) -> Result<(), Bad> {
        let late = advance.head.retry < self.current;
        let known = self.moves.get(&advance.node);
        if late || known.is_some_and(|it| it.advance.head.retry >= advance.head.retry) {
            return Ok(());
        }
        scene.check_advance(&advance)?;
        let lock = match advance.head.locked {
            None => None,
            Some(locked) => Some(self.proof(scene, locked, lock)?),
        };
        self.moves.insert(advance.node, Move { advance, lock });
        Ok(())
    }

    fn proof(
        &self,
        scene: &Scene,
        locked: LockedTo,
        lock: Option<Box<Lock>>,
    ) -> Result<Arc<Lock>, Bad> {
        let same = |it: &&Move| it.advance.head.locked == Some(locked);
        if let Some(known) = self.moves.values().find(same).and_then(|it| it.lock.as_ref()) {
            return Ok(Arc::clone(known));
        }
        let lock = lock.ok_or("an advance without the lock that it names")?;
        scene.check_lock(&lock, locked)?;
        Ok(Arc::from(lock))
    }

    /// Takes note of this member's own move.
    pub(super) fn moved(&mut self, advance: Advance, lock: Option<Lock>) {
        self.target = self.target.max(advance.head.retry);
        self.moves.insert(advance.node, Move { advance, lock: lock.map(Arc::new) });
    }

    /// Returns a member's latest move with what it is locked to.
    pub(super) fn latest(&self, node: &NodeId) -> Option<(&Advance, Option<&Lock>)> {
        self.moves.get(node).map(|it| (&it.advance, it.lock.as_deref()))
    }

    /// Returns whether any member is known to be locked.
    pub(super) fn any_lock(&self) -> bool {
        self.moves.values().any(|it| it.lock.is_some())
    }

    /// Returns the attempt to which so many members moved on that one of them is honest.
    pub(super) fn pulled_to(&self, scene: &Scene) -> u32 {
        let mut retries: Vec<u32> = self.moves.values().map(|it| it.advance.head.retry).collect();
        retries.sort_unstable_by_key(|retry| std::cmp::Reverse(*retry));
        retries.get(scene.honest() - 1).copied().unwrap_or(0)
    }

    /// Returns whether the attempt to which this member moved on begins: a quorum is there, or
    /// further.
    pub(super) fn begins(&self, scene: &Scene) -> bool {
        let there = |it: &&Move| it.advance.head.retry >= self.target;
        self.target > self.current && self.moves.values().filter(there).count() >= scene.quorum()
    }

    /// Returns what entitles the leader of an attempt to propose, once a quorum moved on to it.
    pub(super) fn mandate(&self, scene: &Scene, retry: u32) -> Option<Mandate> {
        if retry == 0 {
            return Some(Mandate { advances: Vec::new(), lock: None });
        }
        let mut moves: Vec<&Move> =
            self.moves.values().filter(|it| it.advance.head.retry == retry).collect();
        // Whoever knows of a later lock comes first: it is proposed rather than passed over.
        moves.sort_by_key(|it| std::cmp::Reverse(it.advance.head.locked));
        moves.truncate(scene.quorum());
        if moves.len() < scene.quorum() {
            return None;
        }
        let lock = moves.first().and_then(|it| it.lock.clone());
        Some(Mandate { advances: moves.into_iter().map(|it| it.advance.clone()).collect(), lock })
    }
}
