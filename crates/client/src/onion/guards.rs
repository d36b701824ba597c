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

/// Packets in a row that were lost behind a link before somebody stands in for the guard, and before
/// it is replaced if that goes on: it may be the guard that drops them.
const LOSSES_FAILING: u32 = 8;

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
    /// Packets in a row that nothing came back of, and since when.
    losses: u32,
    losing_since: Option<Time>,
}

impl Kept {
    const fn new(guard: Guard) -> Self {
        Self { guard, up: false, down_since: None, losses: 0, losing_since: None }
    }

    const fn is_failing(&self) -> bool {
        self.losses >= LOSSES_FAILING
    }

    fn is_missing(&self, now: Time) -> bool {
        let down = self.down_since.is_some_and(|since| now.since(since) >= STAND_IN_AFTER);
        down || self.is_failing()
    }

    fn is_gone(&self, now: Time) -> bool {
        let losing = self.losing_since.filter(|_| self.is_failing());
        let since = self.down_since.or(losing);
        since.is_some_and(|since| now.since(since) >= GONE_AFTER)
    }
}

/// The guards, and how their links are.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    list: Vec<Kept>,
    changed: bool,
}

impl Guards {
    pub(crate) fn new(saved: &GuardList) -> Self {
        let list = saved.guards.iter().map(|guard| Kept::new(*guard)).collect();
        Self { list, changed: false }
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
        // One is enough to go on with; the search for the second one may take longer.
        let mut wanted = Vec::new();
        let mut hopeful = 0;
        let mut place = 0;
        while hopeful < GUARDS {
            if place == self.list.len() && !self.draw(map, now, rng) {
                break;
            }
            hopeful += usize::from(!self.list[place].is_missing(now));
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
        self.list.push(Kept::new(guard));
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
            (kept.up, kept.down_since) = (true, None);
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
            (kept.up, kept.down_since) = (false, None);
        }
    }

    pub(crate) fn came_back(&mut self, node: &NodeId) {
        if let Some(kept) = self.get_mut(node) {
            (kept.losses, kept.losing_since) = (0, None);
        }
    }

    /// A packet that was given to a guard did not come back. Tells whether the link is to be made
    /// anew: it may be dead without anybody having noticed.
    pub(crate) fn lost(&mut self, node: &NodeId, now: Time) -> bool {
        let Some(kept) = self.get_mut(node) else { return false };
        kept.losses = kept.losses.saturating_add(1);
        kept.losing_since.get_or_insert(now);
        kept.losses % LOSSES_MAX == 0
    }

    /// Lets go of those that could not be reached for long, or lost everything, while another one did
    /// its work: returns them. Where nobody does, it is our own link that fails.
    pub(crate) fn replace(&mut self, now: Time) -> Vec<NodeId> {
        if !self.list.iter().any(|kept| kept.up && !kept.is_failing()) {
            return Vec::new();
        }
        let gone = self.list.extract_if(.., |kept| kept.is_gone(now));
        let replaced: Vec<NodeId> = gone.map(|kept| kept.guard.node).collect();
        self.changed |= !replaced.is_empty();
        replaced
    }

    /// Returns those that packets can be given to, the preferred ones first; whoever loses everything
    /// is asked only if there is nobody else.
    pub(crate) fn up(&self) -> Vec<NodeId> {
        let mut up: Vec<&Kept> = self.list.iter().filter(|kept| kept.up).collect();
        up.sort_by_key(|kept| kept.is_failing());
        up.into_iter().take(GUARDS).map(|kept| kept.guard.node).collect()
    }

    /// Tells whether the last packets over a guard came back.
    pub(crate) fn is_well(&self, node: &NodeId) -> bool {
        self.list.iter().any(|kept| kept.guard.node == *node && kept.losses < 2)
    }

    /// Returns when somebody has to stand in, or to be replaced.
    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        let downs = self.list.iter().filter_map(|kept| kept.down_since);
        let losing = self.list.iter().filter_map(|kept| kept.losing_since);
        let stand_ins = downs.clone().map(|since| since + STAND_IN_AFTER);
        let times = stand_ins.chain(downs.chain(losing).map(|since| since + GONE_AFTER));
        let ends = self.list.iter().map(|kept| kept.guard.until);
        times.chain(ends).filter(|time| *time > now).min()
    }
}
