//! Who may be in one path: nobody twice, no two nodes of one operator or of one network.
//!
//! Where no node has an address that is seen from elsewhere, as in `session up`, nothing tells nodes
//! apart: they all are in one hand, and paths of them hide nothing from it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use session_core::{AccountId, Entropy, NodeId};
use session_protocol::Membership;

/// Orders in which middle hops are tried; only where nearly all nodes exclude each other does the
/// first one fail.
const TRIES: usize = 8;

/// Steps in the search for as many nodes as fit into one path, before what was found is enough.
const STEPS_MAX: usize = 20_000;

/// A node's stake makes it likelier as a guard, up to so many times the smallest stake there is: who
/// has much of it shall not be everybody's guard.
const WEIGHT_MAX: u64 = 8;

/// What tells that two nodes are in one hand, as far as that can be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ground {
    operator: Option<AccountId>,
    net: Option<Net>,
}

/// The `/16` of an IPv4 address, the `/32` of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Net {
    V4([u8; 2]),
    V6([u8; 4]),
}

impl Ground {
    fn of(operator: Option<AccountId>, address: &str) -> Self {
        Self { operator, net: host(address).and_then(net) }
    }

    const fn is_known(&self) -> bool {
        self.operator.is_some() || self.net.is_some()
    }

    fn is_shared_with(&self, other: &Self) -> bool {
        (self.operator.is_some() && self.operator == other.operator)
            || (self.net.is_some() && self.net == other.net)
    }
}

fn host(address: &str) -> Option<IpAddr> {
    let (host, _) = address.rsplit_once(':')?;
    host.trim_matches(['[', ']']).parse().ok()
}

// Addresses that are not seen from elsewhere tell nothing about who has them.
fn net(address: IpAddr) -> Option<Net> {
    match address.to_canonical() {
        IpAddr::V4(v4) => (!is_local_v4(v4)).then(|| {
            let [first, second, ..] = v4.octets();
            Net::V4([first, second])
        }),
        IpAddr::V6(v6) => (!is_local_v6(v6)).then(|| {
            let [a, b, c, d, ..] = v6.octets();
            Net::V6([a, b, c, d])
        }),
    }
}

const fn is_local_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    let shared = first == 100 && second & 0xc0 == 0x40;
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_documentation()
        || shared
}

const fn is_local_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    let documentation = first == 0x2001 && second == 0x0db8;
    address.is_loopback()
        || address.is_unspecified()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        || documentation
}

/// A node, as far as paths are concerned.
#[derive(Clone, Copy, Debug)]
struct Place {
    ground: Ground,
    /// How likely it is as a guard, in proportion.
    weight: u64,
}

/// Where all nodes are, and in whose hands, found once for each view of the network.
#[derive(Debug, Default)]
pub(crate) struct Map(BTreeMap<NodeId, Place>);

impl Map {
    pub(crate) fn of(membership: &dyn Membership) -> Self {
        let nodes = membership.nodes();
        // A network that is not seen from elsewhere is in one hand, whatever its nodes are called.
        let is_seen = |address: &str| host(address).is_none_or(|host| net(host).is_some());
        let is_public = nodes.iter().any(|(_, record)| is_seen(&record.address));
        let least = nodes.iter().filter_map(|(id, _)| membership.stake(id)).min().unwrap_or(0);
        let place = |(id, record): (NodeId, &session_protocol::NodeRecord)| {
            let operator = membership.operator(&id).filter(|_| is_public);
            let shares = membership.stake(&id).map_or(1, |stake| stake / least.max(1));
            let weight = shares.clamp(1, WEIGHT_MAX);
            (id, Place { ground: Ground::of(operator, &record.address), weight })
        };
        Self(nodes.into_iter().map(place).collect())
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.keys().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn has(&self, node: &NodeId) -> bool {
        self.0.contains_key(node)
    }

    /// Draws one of these nodes by their weights.
    pub(crate) fn draw(&self, nodes: &[NodeId], rng: &mut dyn Entropy) -> Option<NodeId> {
        let weight = |node: &NodeId| self.0.get(node).map_or(0, |place| place.weight);
        let total: u64 = nodes.iter().map(weight).sum();
        if total == 0 {
            return None;
        }
        let mut left = rng.below(total);
        nodes.iter().copied().find(|node| match left.checked_sub(weight(node)) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        })
    }

    fn ground(&self, node: &NodeId) -> Option<&Ground> {
        self.0.get(node).map(|place| &place.ground)
    }

    /// Tells whether two nodes may be in one path.
    pub(crate) fn fit(&self, one: &NodeId, other: &NodeId) -> bool {
        match (self.ground(one), self.ground(other)) {
            (Some(first), Some(second)) => one != other && !first.is_shared_with(second),
            _ => false,
        }
    }

    fn fits_all(&self, node: &NodeId, path: &[NodeId]) -> bool {
        path.iter().all(|other| self.fit(node, other))
    }

    /// Returns how many nodes of these may be in one path; `most` at most.
    pub(crate) fn fitting(&self, nodes: impl Iterator<Item = NodeId>, most: usize) -> usize {
        // Of those with the same operator and network one is as good as another.
        let mut grounds: Vec<Ground> = Vec::new();
        for ground in nodes.filter_map(|node| self.ground(&node).copied()) {
            if !ground.is_known() || !grounds.contains(&ground) {
                grounds.push(ground);
            }
        }
        // Those that exclude few others first: the search then seldom goes back.
        let sharing =
            |ground: &Ground| grounds.iter().filter(|it| it.is_shared_with(ground)).count();
        let mut order = grounds.clone();
        order.sort_by_key(sharing);
        let mut search = Search { order: &order, most, best: 0, steps: 0 };
        search.run(0, &mut Vec::new());
        search.best
    }

    /// Adds `count` hops to a path, drawn from the candidates; `None` if there are not so many.
    fn extend(
        &self,
        path: &[NodeId],
        count: usize,
        candidates: &[NodeId],
        rng: &mut dyn Entropy,
    ) -> Option<Vec<NodeId>> {
        for _ in 0..TRIES {
            let mut order = candidates.to_vec();
            let mut taken = path.to_vec();
            while taken.len() < path.len() + count && !order.is_empty() {
                let place = usize::try_from(rng.below(order.len() as u64)).unwrap_or(0);
                let node = order.swap_remove(place);
                if self.fits_all(&node, &taken) {
                    taken.push(node);
                }
            }
            if taken.len() == path.len() + count {
                return Some(taken.split_off(path.len()));
            }
        }
        None
    }
}

/// A search for as many grounds as may be in one path.
struct Search<'a> {
    order: &'a [Ground],
    most: usize,
    best: usize,
    steps: usize,
}

impl Search<'_> {
    fn run(&mut self, from: usize, taken: &mut Vec<Ground>) {
        self.best = self.best.max(taken.len());
        for (place, ground) in self.order.iter().enumerate().skip(from) {
            self.steps += 1;
            let hopeless = taken.len() + (self.order.len() - place) <= self.best;
            if self.best >= self.most || self.steps > STEPS_MAX || hopeless {
                return;
            }
            if !taken.iter().any(|other| other.is_shared_with(ground)) {
                taken.push(*ground);
                self.run(place + 1, taken);
                taken.pop();
            }
        }
    }
}

/// What a path is chosen from.
pub(crate) struct Choice<'a> {
    pub(crate) map: &'a Map,
    /// Hops of the path, the exit included; two at least.
    pub(crate) hops: usize,
    /// Who is asked.
    pub(crate) exit: NodeId,
    /// Who packets may be given to, the preferred one first.
    pub(crate) guards: &'a [NodeId],
    /// Who may stand between them.
    pub(crate) middles: &'a [NodeId],
}

impl Choice<'_> {
    /// Draws a path; `None` if there is none.
    pub(crate) fn draw(&self, rng: &mut dyn Entropy) -> Option<Vec<NodeId>> {
        let between = self.hops.checked_sub(2)?;
        // A guard knows the client by its link, and should not see others of its packets pass by.
        let is_guard = |node: &NodeId| self.guards.contains(node);
        let others: Vec<NodeId> =
            self.middles.iter().copied().filter(|node| !is_guard(node)).collect();
        for guard in self.guards {
            if !self.map.fit(guard, &self.exit) {
                continue;
            }
            let ends = [*guard, self.exit];
            let middles = self.map.extend(&ends, between, &others, rng);
            let middles = middles.or_else(|| self.map.extend(&ends, between, self.middles, rng));
            if let Some(middles) = middles {
                let path = [&[*guard][..], &middles, &[self.exit]].concat();
                return Some(path);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use session_core::SeededEntropy;

    use super::*;

    fn node(byte: u8) -> NodeId {
        NodeId::from([byte; 32])
    }

    fn map(nodes: &[(u8, Option<u8>, &str)]) -> Map {
        let ground = |&(id, operator, address): &(u8, Option<u8>, &str)| {
            let operator = operator.map(|byte| AccountId::from([byte; 32]));
            (node(id), Ground::of(operator, address))
        };
        let place = |(id, ground)| (id, Place { ground, weight: 1 });
        Map(nodes.iter().map(ground).map(place).collect())
    }

    #[test]
    fn nets_are_those_of_public_addresses() {
        let same = [
            ("198.41.0.4:1", "198.41.77.5:2"),
            ("[2606:4700::1]:1", "[2606:4700:ffff::2]:1"),
            ("198.41.0.4:1", "[::ffff:198.41.9.9]:1"),
        ];
        for (one, other) in same {
            assert!(!map(&[(1, None, one), (2, None, other)]).fit(&node(1), &node(2)));
        }
        let different = [
            ("198.41.0.4:1", "198.42.0.4:1"),
            ("[2606:4700::1]:1", "[2606:4701::1]:1"),
            ("127.0.0.1:1", "127.0.0.1:2"),
            ("10.0.0.1:1", "10.0.0.2:1"),
            ("192.168.0.1:1", "192.168.0.2:1"),
            ("100.64.0.1:1", "100.64.0.2:1"),
            ("[fd00::1]:1", "[fd00::2]:1"),
            ("[::1]:1", "[::1]:2"),
            ("a.example:1", "b.example:1"),
        ];
        for (one, other) in different {
            assert!(
                map(&[(1, None, one), (2, None, other)]).fit(&node(1), &node(2)),
                "{one} {other}"
            );
        }
    }

    #[test]
    fn no_path_has_two_nodes_in_one_hand() {
        let all: Vec<(u8, Option<u8>, String)> = (0..40)
            .map(|id| (id, Some(id / 4), format!("198.{}.0.{id}:1", 10 + id % 10)))
            .collect();
        let all: Vec<(u8, Option<u8>, &str)> =
            all.iter().map(|(id, operator, address)| (*id, *operator, address.as_str())).collect();
        let map = map(&all);
        let everybody: Vec<NodeId> = map.nodes().collect();
        let mut rng = SeededEntropy::new(3);
        let mut seen = BTreeSet::new();
        for round in 0..400_u16 {
            let exit = node(u8::try_from(round % 40).unwrap());
            let hops = 2 + usize::from(round % 4);
            let guards = [node(5), node(18)];
            let choice = Choice { map: &map, hops, exit, guards: &guards, middles: &everybody };
            let Some(path) = choice.draw(&mut rng) else {
                assert!(guards.iter().all(|guard| !map.fit(guard, &exit)), "there is a path");
                continue;
            };
            assert_eq!((path.len(), path.last()), (hops, Some(&exit)));
            assert!(guards.contains(&path[0]));
            assert_eq!(map.fitting(path.iter().copied(), hops), hops, "all of them fit");
            seen.extend(path[1..hops - 1].iter().copied());
        }
        assert!(seen.len() > 30, "anybody may be in the middle: {}", seen.len());
    }

    #[test]
    fn guards_stand_in_the_middle_only_where_nobody_else_can() {
        let names: Vec<String> = (0..6).map(|id| format!("h:{id}")).collect();
        let nodes: Vec<(u8, Option<u8>, &str)> =
            names.iter().zip(0..).map(|(name, id)| (id, None, name.as_str())).collect();
        let map = map(&nodes);
        let all: Vec<NodeId> = map.nodes().collect();
        let guards = [node(0), node(1)];
        let mut rng = SeededEntropy::new(4);
        for _ in 0..50 {
            let exit = node(5);
            let three = Choice { map: &map, hops: 3, exit, guards: &guards, middles: &all };
            let path = three.draw(&mut rng).expect("there are others");
            assert!(!guards.contains(&path[1]), "{path:?}");
            let six = Choice { hops: 6, ..three };
            assert!(six.draw(&mut rng).is_some(), "all of them are needed");
        }
    }

    #[test]
    fn a_guard_is_not_its_own_exit() {
        let map = map(&[(1, None, "h:1"), (2, None, "h:2"), (3, None, "h:3")]);
        let all: Vec<NodeId> = map.nodes().collect();
        let mut rng = SeededEntropy::new(1);
        let guards = [node(1), node(2)];
        let choice = Choice { map: &map, hops: 3, exit: node(1), guards: &guards, middles: &all };
        assert_eq!(choice.draw(&mut rng), Some(vec![node(2), node(3), node(1)]));
        let alone = Choice { guards: &guards[..1], ..choice };
        assert_eq!(alone.draw(&mut rng), None);
        let long = Choice { hops: 4, guards: &guards, ..alone };
        assert_eq!(long.draw(&mut rng), None, "there are three nodes");
    }
}
