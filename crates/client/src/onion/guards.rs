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

#[cfg(test)]
mod tests {
    use session_core::{SeededEntropy, SwarmId, Text};
    use session_crypto::Signer as _;
    use session_crypto::fake::FakeIdentity;
    use session_protocol::{NodeRecord, StaticMembership};

    use super::*;

    fn map(nodes: usize) -> Map {
        let mut rng = SeededEntropy::new(9);
        let records = (0..nodes).map(|index| NodeRecord {
            keys: FakeIdentity::generate(&mut rng).public().clone(),
            address: Text::new(format!("198.{}.0.1:{index}", index / 2)).unwrap(),
            swarm: SwarmId(1),
        });
        Map::of(&StaticMembership::new("test", records.collect::<Vec<_>>()).unwrap())
    }

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn both_guards_are_in_different_nets_and_the_list_is_given_out_once() {
        let map = map(20);
        for seed in 0..50 {
            let (mut guards, mut rng) = (Guards::default(), SeededEntropy::new(seed));
            let wanted = guards.wanted(&map, at(0), &mut rng);
            assert_eq!(wanted.len(), GUARDS);
            assert!(map.fit(&wanted[0], &wanted[1]), "seed {seed}");
            let list = guards.take_changed().expect("new");
            assert_eq!((list.guards.len(), guards.take_changed()), (GUARDS, None));
            let mut again = Guards::new(&list);
            assert_eq!(again.wanted(&map, at(5), &mut rng), wanted);
            assert_eq!(again.take_changed(), None);
        }
    }

    #[test]
    fn stand_ins_are_bounded_and_the_first_ones_are_preferred_again() {
        let (map, mut rng) = (map(20), SeededEntropy::new(1));
        let mut guards = Guards::default();
        let first = guards.wanted(&map, at(0), &mut rng);
        for second in 1..300 {
            guards.wanted(&map, at(second), &mut rng);
        }
        assert_eq!(guards.iter().count(), GUARDS_KEPT_MAX);
        let last = guards.iter().last().unwrap().0.node;
        guards.came_up(&last, at(300));
        assert_eq!(guards.up(), [last]);
        guards.came_up(&first[0], at(301));
        guards.came_up(&first[1], at(302));
        assert_eq!(guards.up(), first, "stand-ins are not used any more");
        assert_eq!(guards.wanted(&map, at(303), &mut rng), first);
    }

    #[test]
    fn one_that_is_gone_is_replaced_while_another_one_works() {
        let (map, mut rng) = (map(20), SeededEntropy::new(1));
        let mut guards = Guards::default();
        let first = guards.wanted(&map, at(0), &mut rng);
        assert!(guards.replace(at(1_000)).is_empty(), "it may be our own link");
        guards.came_up(&first[0], at(1_000));
        assert!(guards.replace(at(1_599)).is_empty(), "counted from when our link was back");
        guards.wanted(&map, at(1_600), &mut rng);
        assert_eq!(guards.replace(at(1_600)), [first[1]]);
        assert!(!guards.is_guard(&first[1]));
        // Losing everything is being gone.
        let second = guards.wanted(&map, at(1_600), &mut rng)[1];
        guards.came_up(&second, at(1_601));
        let anew = (0..LOSSES_FAILING).filter(|_| guards.lost(&second, at(1_700))).count();
        assert_eq!(anew, 2, "the link is made anew now and again");
        assert_eq!(guards.up()[0], first[0]);
        assert!(guards.replace(at(2_299)).is_empty());
        assert_eq!(guards.replace(at(2_300)), [second]);
    }

    #[test]
    fn guards_end_after_their_time() {
        let (map, mut rng) = (map(20), SeededEntropy::new(1));
        let mut guards = Guards::default();
        let first = guards.wanted(&map, at(0), &mut rng);
        assert!(guards.retire(&map, at(30 * 86_400 - 1)).is_empty());
        let mut retired = guards.retire(&map, at(60 * 86_400 + 1));
        retired.sort_unstable();
        let mut all = first.clone();
        all.sort_unstable();
        assert_eq!(retired, all);
        // Whoever is no node any more is none either.
        let second = guards.wanted(&map, at(60 * 86_400 + 1), &mut rng);
        let few = self::map(1);
        let gone = guards.retire(&few, at(60 * 86_400 + 2));
        assert!(gone.iter().all(|node| !few.has(node)));
        assert_eq!(gone.len() + guards.iter().count(), second.len());
    }
}
