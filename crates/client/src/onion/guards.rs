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

/// A link that does not come about for so long has somebody stand in for the guard; sooner, where
/// there is no other one.
const STAND_IN_AFTER: Span = Span::from_secs(3);
const STAND_IN_ALONE_AFTER: Span = Span::from_millis(1_500);

/// How much later than the first one another guard may be reached.
const FOLLOW: Span = Span::from_millis(300);

/// How long it is remembered, from one start to the next, that a guard could not be reached.
const REMEMBERED: Span = GONE_AFTER;

/// Packets in a row that were lost behind a link before the link is made anew.
const LOSSES_MAX: u32 = 4;

/// Packets in a row that were lost or late behind a link before the other guard is preferred.
const LATE_MAX: u32 = 2;

/// Packets in a row that were late over some seconds before somebody stands in for the guard.
const STALLED_MIN: u32 = 6;

/// How long it is preferred, unless something comes back before.
const LATE_FOR: Span = Span::from_secs(60);

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

    /// A guard that could not be reached lately, for its owner's disk.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Missing {
        /// The node.
        pub node: NodeId,
        /// Since when it cannot be reached.
        pub since: Time,
        /// When that was last so.
        pub seen: Time,
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
    /// Since when it could not be reached, as an earlier start has found.
    missing_since: Option<Time>,
    /// Packets in a row that nothing came back of, and since when.
    losses: u32,
    losing_since: Option<Time>,
    /// Packets in a row that took their time, and when the last one did.
    late: u32,
    late_at: Time,
    late_since: Time,
}

impl Kept {
    const fn new(guard: Guard) -> Self {
        Self {
            guard,
            up: false,
            down_since: None,
            missing_since: None,
            losses: 0,
            losing_since: None,
            late: 0,
            late_at: Time::ZERO,
            late_since: Time::ZERO,
        }
    }

    const fn is_failing(&self) -> bool {
        self.losses >= LOSSES_FAILING
    }

    // A node that died is noticed by its packets long before its link ends; sooner, if nothing comes
    // back over anybody's.
    fn is_stalled(&self, nobody_answers: bool, now: Time) -> bool {
        let least = if nobody_answers { LATE_MAX } else { STALLED_MIN };
        let long = now.since(self.late_since) >= STAND_IN_AFTER;
        self.late >= least && long && self.is_late(now)
    }

    fn is_late(&self, now: Time) -> bool {
        self.late > 0 && now.since(self.late_at) < LATE_FOR
    }

    fn is_down_for(&self, span: Span, now: Time) -> bool {
        self.down_since.is_some_and(|since| now.since(since) >= span)
    }

    fn is_missing(&self, patience: Span, nobody_answers: bool, now: Time) -> bool {
        let down = self.missing_since.is_some() || self.is_down_for(patience, now);
        down || self.is_failing() || self.is_stalled(nobody_answers, now)
    }

    fn is_gone(&self, now: Time) -> bool {
        let losing = self.losing_since.filter(|_| self.is_failing());
        // It has its chance with each start, whatever was found before.
        let missing = self.missing_since.filter(|_| self.is_down_for(STAND_IN_AFTER, now));
        let since = missing.or(self.down_since).or(losing);
        since.is_some_and(|since| now.since(since) >= GONE_AFTER)
    }
}

/// The guards, and how their links are.
#[derive(Debug, Default)]
pub(crate) struct Guards {
    list: Vec<Kept>,
    changed: bool,
    /// Who was missing when that was last told.
    told_missing: Vec<NodeId>,
}

impl Guards {
    pub(crate) fn new(saved: &GuardList) -> Self {
        let list = saved.guards.iter().map(|guard| Kept::new(*guard)).collect();
        Self { list, changed: false, told_missing: Vec::new() }
    }

    /// Goes on where the last start ended.
    pub(crate) fn restore(&mut self, missing: &[Missing], now: Time) {
        for it in missing.iter().filter(|it| it.seen <= now && it.since <= it.seen) {
            if now.since(it.seen) < REMEMBERED
                && let Some(kept) = self.get_mut(&it.node).filter(|kept| !kept.up)
            {
                kept.missing_since = Some(it.since);
                self.told_missing.push(it.node);
            }
        }
    }

    /// Returns those that cannot be reached, for the next start.
    pub(crate) fn missing(&self, now: Time) -> Vec<Missing> {
        let down =
            |kept: &Kept| kept.down_since.filter(|_| kept.is_down_for(STAND_IN_ALONE_AFTER, now));
        let since = |kept: &Kept| kept.missing_since.or_else(|| down(kept));
        let missing = self.list.iter().filter_map(|kept| Some((kept.guard.node, since(kept)?)));
        missing.map(|(node, since)| Missing { node, since, seen: now }).collect()
    }

    /// Tells whether a node is a guard that cannot be reached: as a hop it is likely gone, too.
    pub(crate) fn is_missing(&self, node: &NodeId, now: Time) -> bool {
        let missing = |kept: &&Kept| kept.guard.node == *node && !kept.up;
        let (kept, nobody) = (self.list.iter().find(missing), self.nobody_answers(now));
        kept.is_some_and(|it| it.is_missing(STAND_IN_ALONE_AFTER, nobody, now))
    }

    /// Tells whether the last packets over all links are late.
    fn nobody_answers(&self, now: Time) -> bool {
        self.list.iter().filter(|kept| kept.up).all(|kept| kept.is_late(now))
    }

    /// Tells whether others are missing than when this was last asked. Where no link stands, it is
    /// our own that fails, and nobody is.
    pub(crate) fn take_missing_changed(&mut self, now: Time) -> bool {
        if !self.list.iter().any(|kept| kept.up) {
            return false;
        }
        let missing: Vec<NodeId> = self.missing(now).iter().map(|it| it.node).collect();
        let changed = missing != self.told_missing;
        self.told_missing = missing;
        changed
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
        let alone = !self.list.iter().any(|kept| kept.up);
        let patience = if alone { STAND_IN_ALONE_AFTER } else { STAND_IN_AFTER };
        let nobody = self.nobody_answers(now);
        let mut wanted = Vec::new();
        let mut hopeful = 0;
        let mut place = 0;
        while hopeful < GUARDS {
            if place == self.list.len() && !self.draw(map, now, rng) {
                break;
            }
            hopeful += usize::from(!self.list[place].is_missing(patience, nobody, now));
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
        let Some(node) = map.draw(&best, rng) else { return false };
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
        // If there was none before, it was our own link that failed: the others may be well, and have
        // a moment to follow.
        if !self.list.iter().any(|kept| kept.up) {
            let at_most = STAND_IN_ALONE_AFTER.as_millis() - FOLLOW.as_millis();
            for since in self.list.iter_mut().filter_map(|kept| kept.down_since.as_mut()) {
                *since = (*since).max(now - Span::from_millis(at_most));
            }
        }
        if let Some(kept) = self.get_mut(node) {
            (kept.up, kept.down_since, kept.missing_since) = (true, None, None);
            kept.late = 0;
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
            (kept.losses, kept.losing_since, kept.late) = (0, None, 0);
        }
    }

    /// A packet that was given to a guard takes its time.
    pub(crate) fn is_late(&mut self, node: &NodeId, now: Time) {
        if let Some(kept) = self.get_mut(node) {
            if kept.late == 0 {
                kept.late_since = now;
            }
            (kept.late, kept.late_at) = (kept.late.saturating_add(1), now);
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

    /// Returns those that packets can be given to, the preferred ones first; whoever loses everything,
    /// or does not answer, is asked only if there is nobody else.
    pub(crate) fn up(&self, now: Time) -> Vec<NodeId> {
        let mut up: Vec<&Kept> = self.list.iter().filter(|kept| kept.up).collect();
        up.sort_by_key(|kept| (kept.is_failing(), kept.is_stalled(true, now)));
        up.into_iter().take(GUARDS).map(|kept| kept.guard.node).collect()
    }

    /// Tells whether the last packets over a guard came back.
    pub(crate) fn is_well(&self, node: &NodeId, now: Time) -> bool {
        self.losing(node, now) == 0
    }

    /// Returns how many packets over a guard were lost or late in a row; 0, where that is few.
    pub(crate) fn losing(&self, node: &NodeId, now: Time) -> u32 {
        let kept = self.list.iter().find(|kept| kept.guard.node == *node);
        let losses = kept.map_or(0, |kept| {
            if now.since(kept.late_at) < LATE_FOR { kept.losses.max(kept.late) } else { 0 }
        });
        if losses < LATE_MAX { 0 } else { losses }
    }

    /// Returns when somebody has to stand in, or to be replaced.
    pub(crate) fn deadline(&self, now: Time) -> Option<Time> {
        let downs = self.list.iter().filter_map(|kept| kept.down_since);
        let losing = self.list.iter().filter_map(|kept| kept.losing_since);
        let alone = downs.clone().map(|since| since + STAND_IN_ALONE_AFTER);
        let stand_ins = downs.clone().map(|since| since + STAND_IN_AFTER);
        let times =
            alone.chain(stand_ins).chain(downs.chain(losing).map(|since| since + GONE_AFTER));
        let ends = self.list.iter().map(|kept| kept.guard.until);
        times.chain(ends).filter(|time| *time > now).min()
    }
}

#[cfg(test)]
mod tests {
    use session_core::{SeededEntropy, SwarmId, Text};
    use session_crypto::Signer as _;
    use session_crypto::fake::FakeIdentity;
    use session_protocol::membership::Holder;
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
        assert_eq!(guards.up(at(300)), [last]);
        guards.came_up(&first[0], at(301));
        guards.came_up(&first[1], at(302));
        assert_eq!(guards.up(at(302)), first, "stand-ins are not used any more");
        assert_eq!(guards.wanted(&map, at(303), &mut rng), first);
    }

    #[test]
    fn one_that_is_gone_is_replaced_while_another_one_works() {
        let (map, mut rng) = (map(20), SeededEntropy::new(1));
        let mut guards = Guards::default();
        let first = guards.wanted(&map, at(0), &mut rng);
        assert!(guards.replace(at(1_000)).is_empty(), "it may be our own link");
        guards.came_up(&first[0], at(1_000));
        assert!(guards.replace(at(1_598)).is_empty(), "counted from when our link was back");
        guards.wanted(&map, at(1_600), &mut rng);
        assert_eq!(guards.replace(at(1_600)), [first[1]]);
        assert!(!guards.is_guard(&first[1]));
        // Losing everything is being gone.
        let second = guards.wanted(&map, at(1_600), &mut rng)[1];
        guards.came_up(&second, at(1_601));
        let anew = (0..LOSSES_FAILING).filter(|_| guards.lost(&second, at(1_700))).count();
        assert_eq!(anew, 2, "the link is made anew now and again");
        assert_eq!(guards.up(at(1_700))[0], first[0]);
        assert!(guards.replace(at(2_299)).is_empty());
        assert_eq!(guards.replace(at(2_300)), [second]);
    }

    #[test]
    fn who_was_missing_is_stood_in_for_at_once_and_has_its_chance() {
        let (map, mut rng) = (map(20), SeededEntropy::new(1));
        let mut guards = Guards::default();
        let first = guards.wanted(&map, at(0), &mut rng);
        assert!(!guards.take_missing_changed(at(5)), "it may be our own link");
        let second = guards.wanted(&map, at(2), &mut rng);
        assert_eq!(second.len(), 4, "nobody is there, so others are tried soon: {second:?}");
        guards.came_up(&second[2], at(2));
        guards.wanted(&map, at(5), &mut rng);
        assert!(guards.take_missing_changed(at(5)) && !guards.take_missing_changed(at(6)));
        let missing = guards.missing(at(5));
        assert!(first.iter().all(|node| missing.iter().any(|it| it.node == *node)));
        let list = guards.take_changed().expect("new");

        let mut again = Guards::new(&list);
        again.restore(&missing, at(60));
        let wanted = again.wanted(&map, at(60), &mut rng);
        assert!(wanted.starts_with(&first) && wanted.contains(&second[2]), "all at once");
        again.came_up(&first[0], at(60));
        again.came_up(&second[2], at(60));
        assert!(again.missing(at(60)).iter().all(|it| it.node != first[0]), "it is back");
        // Over several starts: gone for ten minutes, and not reached now either.
        let mut later = Guards::new(&list);
        later.restore(&missing, at(604));
        later.wanted(&map, at(604), &mut rng);
        later.came_up(&second[2], at(604));
        assert!(later.replace(at(605)).is_empty(), "it has its chance");
        let replaced = later.replace(at(608));
        assert!(replaced.contains(&first[0]) && replaced.contains(&first[1]), "{replaced:?}");
        let mut forgotten = Guards::new(&list);
        forgotten.restore(&missing, at(606));
        assert!(forgotten.missing(at(606)).is_empty(), "that is too long ago");
    }

    #[test]
    fn stake_makes_guards_likelier_within_a_bound() {
        let mut rng = SeededEntropy::new(5);
        let records: Vec<NodeRecord> = (0..10)
            .map(|index| NodeRecord {
                keys: FakeIdentity::generate(&mut rng).public().clone(),
                address: Text::new(format!("198.{index}.0.1:1")).unwrap(),
                swarm: SwarmId(1),
            })
            .collect();
        let rich = records[0].id();
        let stake = |node| if node == rich { 1_000_000 } else { 100 };
        let holders: Vec<_> = records
            .iter()
            .map(|it| (it.id(), Holder { operator: None, stake: Some(stake(it.id())) }))
            .collect();
        let network = StaticMembership::new("test", records).unwrap().with_holders(holders);
        let map = Map::of(&network);
        let all: Vec<NodeId> = map.nodes().collect();
        let drawn = (0..1700).filter(|_| map.draw(&all, &mut rng) == Some(rich)).count();
        // Eight of seventeen shares.
        assert!((700..900).contains(&drawn), "{drawn}");
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
