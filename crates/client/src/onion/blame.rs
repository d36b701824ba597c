//! Hops that packets were lost with. Nobody can tell which hop of a path it was, so all are noted;
//! whoever is innocent is cleared by the next packet that comes back.

use std::collections::BTreeMap;

use session_core::{NodeId, Span, Time};

/// Losses in a row before a hop is avoided.
const LOSSES_MAX: u32 = 3;

/// How long it is avoided.
const AVOID: Span = Span::from_secs(600);

#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    losses: u32,
    until: Time,
}

/// As many entries as the network has nodes at most.
#[derive(Debug, Default)]
pub(crate) struct Blame(BTreeMap<NodeId, Noted>);

impl Blame {
    /// A packet over these hops did not come back. Tells whether one of them is avoided from now on.
    pub(crate) fn lost(&mut self, hops: &[NodeId], now: Time) -> bool {
        let mut avoided = false;
        for hop in hops {
            let noted = self.0.entry(*hop).or_default();
            noted.losses += 1;
            if noted.losses >= LOSSES_MAX {
                *noted = Noted { losses: 0, until: now + AVOID };
                avoided = true;
            }
        }
        avoided
    }

    /// A packet over these hops came back. One that is avoided stays so: others are as good.
    pub(crate) fn came_back(&mut self, hops: &[NodeId], now: Time) {
        for hop in hops {
            if self.0.get(hop).is_some_and(|noted| noted.until <= now) {
                self.0.remove(hop);
            }
        }
    }

    pub(crate) fn is_avoided(&self, hop: &NodeId, now: Time) -> bool {
        self.0.get(hop).is_some_and(|noted| now < noted.until)
    }

    /// Returns how many hops are avoided.
    pub(crate) fn avoided(&self, now: Time) -> usize {
        self.0.values().filter(|noted| now < noted.until).count()
    }

    /// Forgets whoever is no node any more.
    pub(crate) fn keep(&mut self, is_node: impl Fn(&NodeId) -> bool) {
        self.0.retain(|node, _| is_node(node));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn three_losses_in_a_row_are_too_many() {
        let mut blame = Blame::default();
        let [a, b] = [1, 2].map(|byte| NodeId::from([byte; 32]));
        assert!(!blame.lost(&[a, b], at(0)));
        blame.came_back(&[b], at(1));
        assert!(!blame.lost(&[a, b], at(1)));
        assert!(blame.lost(&[a], at(2)));
        assert!(blame.is_avoided(&a, at(2)) && !blame.is_avoided(&b, at(2)));
        // Coming back once does not clear it; time does.
        blame.came_back(&[a], at(3));
        assert!(blame.is_avoided(&a, at(601)) && !blame.is_avoided(&a, at(602)));
        blame.came_back(&[a], at(602));
        assert!(!blame.lost(&[a], at(603)), "it starts anew");
    }

    #[test]
    fn whoever_is_no_node_is_forgotten() {
        let (mut blame, a) = (Blame::default(), NodeId::from([1; 32]));
        assert_eq!((0..3).map(|_| blame.lost(&[a], at(0))).last(), Some(true));
        assert_eq!(blame.avoided(at(1)), 1);
        blame.keep(|node| *node != a);
        assert_eq!(blame.avoided(at(1)), 0);
    }
}
