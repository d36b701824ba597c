//! The nodes that packets are given to. They know who we are, so they are few, and kept for weeks:
//! whoever draws new ones each time meets an enemy's soon.

use session_core::{Entropy, List, NodeId, Span, Time, record};

use super::selection::Map;

/// Guards that are used.
const GUARDS: usize = 2;

/// Guards that are remembered: two, and whoever stood in for them while they could not be reached.
pub const GUARDS_KEPT_MAX: usize = 6;

/// Shortest and longest time that a guard is kept.
const KEPT: (Span, Span) = (Span::from_days(30), Span::from_days(60));

/// A guard whose link fails for so long, while that of another one stands, is replaced.
const GONE_AFTER: Span = Span::from_secs(600);

/// A link that does not come about for so long has somebody stand in for the guard.
const STAND_IN_AFTER: Span = Span::from_secs(3);

/// Packets in a row that were lost behind a link before the link is made anew.
const LOSSES_MAX: u32 = 4;

record! {
    /// A guard, for its owner's disk.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Guard {
        /// The node.
        pub node: NodeId,
        /// When it was chosen.
        pub since: Time,
        /// Until when it is kept.
        pub until: Time,
    }

    /// All guards, the preferred ones first.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct GuardList {
        /// They.
        pub guards: List<Guard, GUARDS_KEPT_MAX>,
    }
}

/// A guard and its link.
#[derive(Debug)]
struct Kept {
    guard: Guard,
    up: bool,
    /// Since when a link is wanted and not there.
    down_since: Option<Time>,
    /// Packets in a row that nothing came back of.
    losses: u32,
}

/// The guards, and how their links are.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    list: Vec<Kept>,
    changed: bool,
}

impl Guards {
    pub(crate) fn new(saved: &GuardList) -> Self {
        let kept = |guard: &Guard| Kept { guard: *guard, up: false, down_since: None, losses: 0 };
        Self { list: saved.guards.iter().map(kept).collect(), changed: false }
    }

    pub(crate) fn is_guard(&self, node: &NodeId) -> bool {
        self.list.iter().any(|kept| kept.guard.node == *node)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Guard, bool)> + '_ {
        self.list.iter().map(|kept| (kept.guard, kept.up))
    }

    /// Returns the list if it has to be written.
    pub(crate) fn take_changed(&mut self) -> Option<GuardList> {
        core::mem::take(&mut self.changed).then(|| {
            let guards: Vec<Guard> = self.list.iter().map(|kept| kept.guard).collect();
            GuardList { guards: List::new(guards).expect("never more than the bound are kept") }
        })
    }

    /// Forgets whoever is no node any more, or was a guard for long enough. Returns them.
    pub(crate) fn retire(&mut self, map: &Map, now: Time) -> Vec<NodeId> {
        let mut retired = Vec::new();
        self.list.retain(|kept| {
            let stays = map.has(&kept.guard.node) && now < kept.guard.until;
            if !stays {
                retired.push(kept.guard.node);
            }
            stays
        });
        self.changed |= !retired.is_empty();
        retired
    }

    /// Makes sure that there are enough, and that somebody stands in for those that cannot be
    /// reached. Returns to whom links are wanted.
    pub(crate) fn wanted(&mut self, map: &Map, now: Time, rng: &mut dyn Entropy) -> Vec<NodeId> {
        while self.list.len() < GUARDS && self.draw(map, now, rng) {}
        let missing = |kept: &Kept| {
            kept.down_since.is_some_and(|since| now.since(since) >= STAND_IN_AFTER)
        };
        // One is enough to go on with; the search for the second one may take longer.
        let mut wanted = Vec::new();
        let mut hopeful = 0;
        let mut place = 0;
        while hopeful < GUARDS {
            if place == self.list.len() && !self.draw(map, now, rng) {
                break;
            }
            hopeful += usize::from(!missing(&self.list[place]));
            wanted.push(self.list[place].guard.node);
            place += 1;
        }
        for (index, kept) in self.list.iter_mut().enumerate() {
            // Nobody dials those behind: they do not fail.
            kept.down_since = match kept.down_since {
                _ if kept.up || index >= place => None,
                since => since.or(Some(now)),
            };
        }
        wanted
    }

    fn draw(&mut self, map: &Map, now: Time, rng: &mut dyn Entropy) -> bool {
        if self.list.len() >= GUARDS_KEPT_MAX {
            return false;
        }
        let others: Vec<NodeId> = map.nodes().filter(|node| !self.is_guard(node)).collect();
        // Guards in one hand would be one.
        let apart = |node: &NodeId| self.list.iter().all(|kept| map.fit(node, &kept.guard.node));
        let mut best: Vec<NodeId> = others.iter().copied().filter(apart).collect();
        if best.is_empty() {
            best = others;
        }
        let Ok(place) = usize::try_from(rng.below(best.len() as u64)) else { return false };
        let Some(&node) = best.get(place) else { return false };
        let more = rng.below((KEPT.1.as_millis() - KEPT.0.as_millis()).saturating_add(1));
        let until = now + KEPT.0 + Span::from_millis(more);
        let guard = Guard { node, since: now, until };
        self.list.push(Kept { guard, up: false, down_since: None, losses: 0 });
        self.changed = true;
        true
    }

    fn get_mut(&mut self, node: &NodeId) -> Option<&mut Kept> {
        self.list.iter_mut().find(|kept| kept.guard.node == *node)
    }

    /// A link stands.
    pub(crate) fn came_up(&mut self, node: &NodeId, now: Time) {
        // If there was none before, it was our own link that failed: the others may be well.
        if !self.list.iter().any(|kept| kept.up) {
            let down = self.list.iter_mut().filter(|kept| kept.down_since.is_some());
            down.for_each(|kept| kept.down_since = Some(now));
        }
        if let Some(kept) = self.get_mut(node) {
            (kept.up, kept.down_since, kept.losses) = (true, None, 0);
        }
    }

    pub(crate) fn went_down(&mut self, node: &NodeId, now: Time) {
        if let Some(kept) = self.get_mut(node) {
            kept.up = false;
            kept.down_since.get_or_insert(now);
        }
    }

    /// No link is wanted at the moment.
    pub(crate) fn rest(&mut self, node: &NodeId) {
        if let Some(kept) = self.get_mut(node) {
            (kept.up, kept.down_since, kept.losses) = (false, None, 0);
        }
    }

    pub(crate) fn came_back(&mut self, node: &NodeId) {
        if let Some(kept) = self.get_mut(node) {
            kept.losses = 0;
        }
    }

    /// A packet that was given to a guard did not come back. Tells whether the link is to be made
    /// anew: it may be dead without anybody having noticed.
    pub(crate) fn lost(&mut self, node: &NodeId) -> bool {
        let Some(kept) = self.get_mut(node) else { return false };
        kept.losses += 1;
        let dead = kept.losses >= LOSSES_MAX;
        if dead {
            kept.losses = 0;
        }
        dead
    }

    /// Lets go of those that could not be reached for long, while another one could: returns them.
    /// Where nobody can be reached it is our own link that fails.
    pub(crate) fn replace(&mut self, now: Time) -> Vec<NodeId> {
        if !self.list.iter().any(|kept| kept.up) {
            return Vec::new();
        }
        let gone = |kept: &Kept| {
            kept.down_since.is_some_and(|since| now.since(since) >= GONE_AFTER)
        };
        let replaced: Vec<NodeId> =
            self.list.extract_if(.., |kept| gone(kept)).map(|kept| kept.guard.node).collect();
        self.changed |= !replaced.is_empty();
        replaced
    }

    /// Returns those that packets can be given to, the preferred one first. A link that packets were
    /// lost behind comes last.
    pub(crate) fn up(&self) -> Vec<NodeId> {
        let mut up: Vec<&Kept> = self.list.iter().filter(|kept| kept.up).take(GUARDS).collect();
        up.sort_by_key(|kept| kept.losses);
        up.into_iter().map(|kept| kept.guard.node).collect()
    }

    /// Returns when somebody has to stand in, or to be replaced.
    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        let downs = self.list.iter().filter_map(|kept| kept.down_since);
        let times = downs.flat_map(|since| [since + STAND_IN_AFTER, since + GONE_AFTER]);
        let ends = self.list.iter().map(|kept| kept.guard.until);
        times.chain(ends).filter(|time| *time > now).min()
    }
}
