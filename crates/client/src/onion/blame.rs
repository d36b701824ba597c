//! Hops that packets were lost with, or that took their time. Nobody can tell which hop of a path it
//! was, so all are noted; whoever is innocent is cleared by the next packet that comes back.
//!
//! Standing in the middle and answering at the end are told apart: who drops what it is to pass on
//! may answer what it is asked.

use std::collections::BTreeMap;

use session_core::{List, NodeId, Span, Time, record};

/// Losses in a row before a hop is avoided.
const LOSSES_MAX: u32 = 3;

/// How long it is avoided.
const AVOID: Span = Span::from_secs(600);

/// How long others are preferred after fewer losses.
const SUSPECT: Span = Span::from_secs(180);

/// Of the nodes, the part that is suspected at most; half, where that is few. A first hop that drops
/// packets could otherwise have us avoid everybody but its friends.
const PART: usize = 3;
const FEW: usize = 6;

/// Hops that are kept for the next start.
pub const SUSPECTS_MAX: usize = 128;

record! {
    /// A hop that packets were lost with, for its owner's disk.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Suspect {
        /// The node.
        pub node: NodeId,
        /// Whether as the one that is asked, or in the middle.
        pub asked: bool,
        /// Packets in a row.
        pub losses: u32,
        /// Until when others are preferred.
        pub until: Time,
    }
}

/// What a hop does in a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    Middle,
    Exit,
}

impl Role {
    const BOTH: [Self; 2] = [Self::Middle, Self::Exit];
}

#[derive(Clone, Copy, Debug, Default)]
struct Noted {
    losses: u32,
    until: Time,
}

impl Noted {
    const fn is_avoided(&self) -> bool {
        self.losses >= LOSSES_MAX
    }
}

/// For each role a part of the network at most.
#[derive(Debug, Default)]
pub(crate) struct Blame {
    noted: BTreeMap<(Role, NodeId), Noted>,
    changed: bool,
}

// Whoever stands behind the first hop, with what it does there.
fn roles(hops: &[NodeId]) -> impl Iterator<Item = (Role, NodeId)> + '_ {
    let last = hops.len().saturating_sub(1);
    let role = move |place| if place == last { Role::Exit } else { Role::Middle };
    hops.iter().enumerate().skip(1).map(move |(place, node)| (role(place), *node))
}

impl Blame {
    /// Goes on where the last start ended.
    pub(crate) fn restore(&mut self, suspects: &[Suspect], now: Time) {
        for it in suspects {
            // A clock that was wrong must not have somebody avoided for years.
            if it.losses > 0 && now < it.until && it.until <= now + AVOID {
                let role = if it.asked { Role::Exit } else { Role::Middle };
                let noted = Noted { losses: it.losses.min(LOSSES_MAX), until: it.until };
                self.noted.insert((role, it.node), noted);
            }
        }
    }

    /// Returns what is to be kept for the next start; those that lost most first.
    pub(crate) fn suspects(&self, now: Time) -> Vec<Suspect> {
        let noted = self.noted.iter().filter(|(_, noted)| now < noted.until);
        let mut suspects: Vec<Suspect> = noted
            .map(|(&(role, node), &Noted { losses, until })| Suspect {
                node,
                asked: role == Role::Exit,
                losses,
                until,
            })
            .collect();
        suspects.sort_by_key(|it| core::cmp::Reverse((it.losses, it.until)));
        suspects.truncate(SUSPECTS_MAX);
        suspects
    }

    /// Tells whether what is kept has changed since it was asked.
    pub(crate) fn take_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    /// A packet over these hops, of a network of so many nodes, did not come back in time. The first
    /// of them is the guard, whose link is looked after elsewhere.
    pub(crate) fn lost(&mut self, hops: &[NodeId], nodes: usize, now: Time) {
        self.changed = true;
        for (_, node) in roles(hops) {
            // Whoever is gone is gone in both roles; a packet that comes back clears one.
            for role in Role::BOTH {
                let noted = self.noted.entry((role, node)).or_default();
                if noted.until <= now {
                    noted.losses = 0;
                }
                noted.losses = (noted.losses + 1).min(LOSSES_MAX);
                let wait = if noted.is_avoided() { AVOID } else { SUSPECT };
                noted.until = noted.until.max(now + wait);
            }
        }
        self.bound((nodes / PART).max((nodes / 2).min(FEW)), now);
    }

    // Lets those go that lost least, the ones before that were noted first.
    fn bound(&mut self, most: usize, now: Time) {
        self.noted.retain(|_, noted| now < noted.until);
        for role in Role::BOTH {
            let of_role = self.noted.iter().filter(|((it, _), _)| *it == role);
            let mut all: Vec<(Noted, NodeId)> =
                of_role.map(|((_, node), noted)| (*noted, *node)).collect();
            all.sort_by_key(|(noted, node)| (noted.losses, noted.until, *node));
            for (_, node) in all.iter().take(all.len().saturating_sub(most)) {
                self.noted.remove(&(role, *node));
            }
        }
    }

    /// A packet over these hops came back. One that is avoided stays so: others are as good.
    pub(crate) fn came_back(&mut self, hops: &[NodeId], now: Time) {
        for at in roles(hops) {
            if self.noted.get(&at).is_some_and(|noted| !noted.is_avoided() || noted.until <= now) {
                self.noted.remove(&at);
                self.changed = true;
            }
        }
    }

    pub(crate) fn is_avoided(&self, role: Role, hop: &NodeId, now: Time) -> bool {
        let noted = self.noted.get(&(role, *hop));
        noted.is_some_and(|noted| noted.is_avoided() && now < noted.until)
    }

    /// Tells whether the last packet with a hop was lost: others are preferred.
    pub(crate) fn is_suspect(&self, role: Role, hop: &NodeId, now: Time) -> bool {
        self.noted.get(&(role, *hop)).is_some_and(|noted| now < noted.until)
    }

    /// Returns how many hops others are preferred to.
    pub(crate) fn avoided(&self, now: Time) -> usize {
        let avoided = |node: &NodeId| Role::BOTH.iter().any(|it| self.is_suspect(*it, node, now));
        let mut nodes: Vec<NodeId> = self.noted.keys().map(|(_, node)| *node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        nodes.iter().filter(|node| avoided(node)).count()
    }

    /// Forgets whoever is no node any more.
    pub(crate) fn keep(&mut self, is_node: impl Fn(&NodeId) -> bool) {
        self.noted.retain(|(_, node), _| is_node(node));
    }
}

/// Takes as many as are kept.
pub(crate) fn kept(suspects: Vec<Suspect>) -> List<Suspect, SUSPECTS_MAX> {
    List::new(suspects).expect("cut to the bound by whoever made the list")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODES: usize = 30;

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    fn nodes() -> [NodeId; 4] {
        [1, 2, 3, 4].map(|byte| NodeId::from([byte; 32]))
    }

    #[test]
    fn three_losses_in_a_row_are_too_many() {
        let mut blame = Blame::default();
        let [guard, a, b, c] = nodes();
        blame.lost(&[guard, a, b], NODES, at(0));
        assert!(blame.is_suspect(Role::Middle, &a, at(1)), "others are preferred at once");
        assert!(!blame.is_suspect(Role::Middle, &guard, at(1)));
        blame.came_back(&[guard, c, b], at(1));
        assert!(!blame.is_suspect(Role::Exit, &b, at(1)), "it was the other one");
        blame.lost(&[guard, a, b], NODES, at(1));
        assert!(!blame.is_avoided(Role::Middle, &a, at(1)));
        blame.lost(&[guard, a, c], NODES, at(2));
        assert!(blame.is_avoided(Role::Middle, &a, at(2)));
        assert!(!blame.is_avoided(Role::Middle, &b, at(2)));
        // Coming back once does not clear it; time does.
        blame.came_back(&[guard, a, b], at(3));
        assert!(blame.is_avoided(Role::Middle, &a, at(601)));
        assert!(!blame.is_avoided(Role::Middle, &a, at(602)));
        blame.lost(&[guard, a, b], NODES, at(603));
        assert!(!blame.is_avoided(Role::Middle, &a, at(603)), "it starts anew");
    }

    #[test]
    fn whoever_answers_may_still_drop_what_it_is_to_pass_on() {
        let mut blame = Blame::default();
        let [guard, a, b, c] = nodes();
        for (second, exit) in [b, c, b].into_iter().enumerate() {
            blame.lost(&[guard, a, exit], NODES, at(second as u64));
            blame.came_back(&[guard, b, a], at(second as u64));
            blame.came_back(&[guard, c, exit], at(second as u64));
        }
        assert!(blame.is_avoided(Role::Middle, &a, at(3)));
        assert!(!blame.is_suspect(Role::Exit, &a, at(3)));
        assert!(!blame.is_suspect(Role::Exit, &b, at(3)));
    }

    #[test]
    fn a_part_of_the_network_is_suspected_at_most() {
        let mut blame = Blame::default();
        let [guard, a, ..] = nodes();
        for round in 0..3 {
            blame.lost(&[guard, a], NODES, at(round));
        }
        for byte in 10..200 {
            let other = NodeId::from([byte; 32]);
            blame.lost(&[guard, other], NODES, at(byte.into()));
        }
        let suspects = blame.suspects(at(200));
        assert_eq!(suspects.iter().filter(|it| it.asked).count(), NODES / PART);
        assert_eq!((suspects[0].node, suspects[0].losses), (a, LOSSES_MAX), "the worst stay");
    }

    #[test]
    fn what_is_kept_is_believed_for_a_while() {
        let mut blame = Blame::default();
        let [guard, a, b, _] = nodes();
        for second in 0..3 {
            blame.lost(&[guard, a, b], NODES, at(second));
        }
        assert!(blame.take_changed() && !blame.take_changed());
        let suspects = blame.suspects(at(3));
        let mut again = Blame::default();
        again.restore(&suspects, at(100));
        assert!(again.is_avoided(Role::Middle, &a, at(100)));
        assert_eq!(again.suspects(at(100)), suspects);
        let mut late = Blame::default();
        late.restore(&suspects, at(700));
        assert_eq!(late.suspects(at(700)), []);
        let mut wrong = Blame::default();
        let until = at(1_000_000);
        wrong.restore(&[Suspect { until, ..suspects[0] }], at(100));
        assert_eq!(wrong.avoided(at(101)), 0, "no longer than it is avoided at most");
    }

    #[test]
    fn whoever_is_no_node_is_forgotten() {
        let (mut blame, [guard, a, ..]) = (Blame::default(), nodes());
        for _ in 0..3 {
            blame.lost(&[guard, a], NODES, at(0));
        }
        assert_eq!(blame.avoided(at(1)), 1);
        blame.keep(|node| *node != a);
        assert_eq!(blame.avoided(at(1)), 0);
    }
}
