//! Everything that a client keeps to have its requests travel over hops.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{Entropy, Epoch, NodeId, Span, Time};
use session_network::limits::{CLIENT_ONIONS, onion_weight};
use session_network::onion::{Cover, HOPS_MAX, Order, Packet, Path, Service, Size};
use session_network::{Bucket, Rate};
use session_protocol::Membership;
use session_protocol::onion::service;

use super::blame::{Blame, Role};
use super::circuits::{Circuit, Circuits, Purpose};
use super::directory::{Directory, HopKeyList};
use super::guards::Guards;
use super::kept::{Health, Kept};
use super::mode::Mode;
use super::pace::{Pace, Turn, exponential};
use super::report::{GuardReport, Memory, PathReport, RouteStats};
use super::selection::{Choice, Map};
use health::HealthState;

mod health;

/// Of four packets of cover that come back, those with a long answer, as replies to stores have.
const LONG_ANSWERS_OF_4: u64 = 1;

/// Nodes that are drawn before it is given up to find one that can be asked.
const DRAWS: usize = 64;

/// What is given to one guard: it drops what is more than it takes, and says nothing.
const RATE: Rate =
    Rate { per_second: CLIENT_ONIONS.per_second * 9 / 10, burst: CLIENT_ONIONS.burst * 9 / 10 };

/// How long cover is waited for, besides what hops are asked to wait.
const COVER_TIME: Span = Span::from_secs(20);

/// Why there is no packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unready {
    /// No guard is connected.
    NoGuard,
    /// The hop key of who is asked is not known.
    NoKey,
    /// Fewer nodes fit into one path than it has hops.
    TooFew {
        /// How many fit.
        fitting: usize,
    },
    /// As many packets are out, or wait, as may be.
    Full,
    /// The content is longer than the longest packet takes.
    TooLong,
}

/// What the exit is to do.
pub(crate) struct Errand<'a> {
    pub(crate) exit: NodeId,
    pub(crate) service: u16,
    pub(crate) payload: &'a [u8],
    /// Bytes that the answer should have room for.
    pub(crate) answer_bytes: usize,
    pub(crate) purpose: Purpose,
    /// When it takes longer than others do; never, where that is as it should be.
    pub(crate) late_at: Time,
    /// When it counts as lost.
    pub(crate) until: Time,
}

/// A packet for a guard.
#[derive(Debug)]
pub(crate) struct Packed {
    pub(crate) guard: NodeId,
    pub(crate) circuit: u64,
    pub(crate) packet: Packet,
    /// Whether it lets others go first.
    pub(crate) is_patient: bool,
}

/// What came back.
pub(crate) enum Taken {
    /// An answer.
    Answer(Circuit, Vec<u8>),
    /// Something that the exit did not seal.
    Spoilt(Circuit),
    /// Nobody waits for it.
    Nobody,
}

/// Guards, keys, paths and packets of a client.
pub(crate) struct Routes {
    mode: Mode,
    map: Map,
    pub(crate) guards: Guards,
    pub(crate) directory: Directory,
    blame: Blame,
    circuits: Circuits,
    pace: Option<Pace<Packed>>,
    memory: Memory,
    pub(crate) stats: RouteStats,
    /// Links that stand, to guards and others.
    links: BTreeSet<NodeId>,
    /// What each of them takes at the moment.
    budgets: BTreeMap<NodeId, Bucket>,
    /// When somebody last wanted something.
    wanted_at: Option<Time>,
    /// When guards and keys are looked at again.
    look_at: Option<Time>,
    /// How many nodes fit into one path, whether or not their keys are known; as far as it matters.
    fitting_ever: usize,
    /// What an earlier start has left, until somebody wants something.
    before: Option<(Health, HopKeyList)>,
    /// What nine of ten answers took at an earlier start.
    usual_before: Option<Span>,
    health: HealthState,
}

impl Routes {
    /// `None` where requests go to the nodes themselves.
    pub(crate) fn new(mode: Mode, kept: &Kept, membership: &dyn Membership) -> Option<Self> {
        (mode != Mode::Direct).then(|| Self {
            mode,
            map: Map::of(membership),
            guards: Guards::new(&kept.guards),
            directory: Directory::default(),
            blame: Blame::default(),
            circuits: Circuits::default(),
            pace: mode.every().map(Pace::new),
            memory: Memory::default(),
            stats: RouteStats::default(),
            links: BTreeSet::new(),
            budgets: BTreeMap::new(),
            wanted_at: None,
            look_at: None,
            fitting_ever: fitting(&Map::of(membership)),
            before: Some((kept.health.clone(), kept.hop_keys.clone())),
            usual_before: None,
            health: HealthState::default(),
        })
    }

    pub(crate) const fn mode(&self) -> Mode {
        self.mode
    }

    fn hops(&self) -> usize {
        self.mode.hops().into()
    }

    /// Takes another view of the network.
    pub(crate) fn set_membership(&mut self, membership: &dyn Membership) {
        self.map = Map::of(membership);
        self.fitting_ever = fitting(&self.map);
        let map = &self.map;
        self.blame.keep(|node| map.has(node));
    }

    pub(crate) const fn map(&self) -> &Map {
        &self.map
    }

    /// Notes that somebody wants something; without that nothing is asked for, and no link is kept.
    pub(crate) fn want(&mut self, now: Time, rng: &mut dyn Entropy) {
        self.wanted_at = Some(now);
        if let Some(pace) = &mut self.pace {
            pace.begin(now, rng);
        }
    }

    /// Tells whether links and keys are to be kept fresh.
    pub(crate) fn is_active(&self, now: Time, idle: Span) -> bool {
        let wanted = self.wanted_at.is_some_and(|at| now.since(at) < idle);
        wanted || self.circuits.len() > 0 || self.paces()
    }

    /// Tells whether packets leave whatever is wanted.
    fn paces(&self) -> bool {
        self.pace.as_ref().is_some_and(|pace| pace.next().is_some())
    }

    pub(crate) fn came_up(&mut self, node: NodeId, now: Time) {
        self.links.insert(node);
        self.budgets.insert(node, Bucket::full(RATE, now));
        self.guards.came_up(&node, now);
    }

    /// A link is gone; returns what was out over it.
    pub(crate) fn went_down(&mut self, node: &NodeId, now: Time) -> Vec<Circuit> {
        self.links.remove(node);
        self.budgets.remove(node);
        self.guards.went_down(node, now);
        self.circuits.close_all(node)
    }

    /// Notes that the key of a node is missing.
    pub(crate) fn miss(&mut self, node: &NodeId, now: Time) {
        self.directory.miss(node, self.map.len(), now);
    }

    /// Begins to read hop keys anew, if it is time.
    pub(crate) fn refresh(&mut self, now: Time, rng: &mut dyn Entropy) {
        let guards: Vec<NodeId> = self.guards.iter().map(|(guard, _)| guard.node).collect();
        self.directory.refresh(self.map.len(), &guards, now, rng);
    }

    /// Lets guards go that are none any more. Returns them.
    pub(crate) fn let_go(&mut self, now: Time) -> Vec<NodeId> {
        let mut gone = self.guards.retire(&self.map, now);
        let replaced = self.guards.replace(now);
        self.stats.guards_replaced += replaced.len() as u64;
        gone.extend(replaced);
        gone
    }

    /// Returns to whom links stand.
    pub(crate) fn linked(&self) -> Vec<NodeId> {
        self.links.iter().copied().collect()
    }

    /// Draws a node that can be asked anything.
    pub(crate) fn anybody(&self, now: Time, rng: &mut dyn Entropy) -> Option<NodeId> {
        let nodes: Vec<NodeId> = self.map.nodes().collect();
        let draw = |_| nodes.get(usize::try_from(rng.below(nodes.len() as u64)).ok()?).copied();
        (0..DRAWS).filter_map(draw).find(|node| self.missing(node, now).is_none())
    }

    pub(crate) fn is_linked(&self, node: &NodeId) -> bool {
        self.links.contains(node)
    }

    /// Tells whether a link carries something.
    pub(crate) fn is_used(&self, node: &NodeId) -> bool {
        self.circuits.is_used(node) || (self.paces() && self.guards.is_guard(node))
    }

    /// Returns to whom links are wanted, so that a node can be asked.
    pub(crate) fn wanted_links(
        &mut self,
        exit: Option<NodeId>,
        now: Time,
        rng: &mut dyn Entropy,
    ) -> Vec<NodeId> {
        match (self.hops(), exit) {
            (1, exit) => exit.into_iter().collect(),
            _ => self.guards.wanted(&self.map, now, rng),
        }
    }

    /// Says what is missing for a packet to a node; nothing, where one can be tried.
    pub(crate) fn missing(&self, exit: &NodeId, now: Time) -> Option<Unready> {
        let mut starts = self.starts(exit, now);
        if !self.directory.has(exit, now) {
            return Some(if starts.is_empty() { Unready::NoGuard } else { Unready::NoKey });
        }
        let linked = !starts.is_empty();
        starts.retain(|guard| self.directory.has(guard, now));
        if starts.is_empty() && linked {
            return Some(Unready::NoKey);
        }
        if starts.is_empty() {
            let other = self.guards.up(now).iter().any(|guard| *guard != *exit);
            return Some(if other { self.too_few(now) } else { Unready::NoGuard });
        }
        let epochs = self.directory.epochs(now);
        let enough = epochs.iter().any(|epoch| {
            self.directory.key(*epoch, exit, now).is_some()
                && self.directory.nodes(*epoch, now).take(self.hops()).count() == self.hops()
        });
        (!enough).then(|| self.too_few(now))
    }

    /// Returns how many nodes fit into one path, if all keys were known; not more than hops can be.
    pub(crate) const fn fitting_ever(&self) -> usize {
        self.fitting_ever
    }

    fn too_few(&self, now: Time) -> Unready {
        Unready::TooFew { fitting: self.fitting(now) }
    }

    fn fitting(&self, now: Time) -> usize {
        let epochs = self.directory.epochs(now);
        let nodes = |epoch: &Epoch| self.directory.nodes(*epoch, now);
        epochs.iter().map(|epoch| self.map.fitting(nodes(epoch), HOPS_MAX)).max().unwrap_or(0)
    }

    /// Returns whom a packet to a node can be given to.
    fn starts(&self, exit: &NodeId, now: Time) -> Vec<NodeId> {
        if self.hops() == 1 {
            return self.links.iter().filter(|node| *node == exit).copied().collect();
        }
        let mut guards = self.guards.up(now);
        guards.retain(|guard| self.map.fit(guard, exit));
        guards
    }

    fn takes(&self, guard: &NodeId, size: Size, now: Time) -> bool {
        let budget = self.budgets.get(guard).copied();
        budget.is_none_or(|mut budget| budget.take(RATE, now, onion_weight(size.bytes())).is_ok())
    }

    fn spend(&mut self, guard: &NodeId, size: Size, now: Time) {
        if let Some(budget) = self.budgets.get_mut(guard) {
            // There is enough: whoever made the path has looked.
            let _ = budget.take(RATE, now, onion_weight(size.bytes()));
        }
    }

    // Hops of `shun`, which the same was tried with before, are taken only if there are no others.
    fn path(
        &self,
        exit: NodeId,
        size: Size,
        shun: &[NodeId],
        now: Time,
        rng: &mut dyn Entropy,
    ) -> Result<(Path, Vec<NodeId>), Unready> {
        let mut starts = self.starts(&exit, now);
        let linked = !starts.is_empty();
        starts.retain(|guard| self.takes(guard, size, now));
        if linked && starts.is_empty() {
            return Err(Unready::Full);
        }
        if starts.len() > 1 && rng.below(2) == 1 {
            starts.swap(0, 1);
        }
        // Whoever loses packets is no better for not having been tried with this one.
        starts.sort_by_key(|guard| (self.guards.losing(guard, now), shun.contains(guard)));
        if starts.is_empty() {
            return Err(self.missing(&exit, now).unwrap_or(Unready::NoGuard));
        }
        for epoch in self.directory.epochs(now) {
            if self.directory.key(epoch, &exit, now).is_none() {
                continue;
            }
            let known: Vec<NodeId> = self.directory.nodes(epoch, now).collect();
            let is_avoided = |node: &NodeId| self.blame.is_avoided(Role::Middle, node, now);
            let is_doubtful = |node: &NodeId| self.is_doubtful(Role::Middle, node, now);
            let fair: Vec<NodeId> =
                known.iter().filter(|node| !is_avoided(node)).copied().collect();
            let good: Vec<NodeId> =
                fair.iter().filter(|node| !shun.contains(node)).copied().collect();
            let best: Vec<NodeId> =
                good.iter().filter(|node| !is_doubtful(node)).copied().collect();
            let guards: Vec<NodeId> =
                starts.iter().filter(|guard| known.contains(guard)).copied().collect();
            let draw = |middles: &[NodeId], rng: &mut dyn Entropy| {
                if self.hops() == 1 {
                    return Some(vec![exit]);
                }
                let (map, hops, guards) = (&self.map, self.hops(), &guards[..]);
                Choice { map, hops, exit, guards, middles }.draw(rng)
            };
            let tiers = [&best, &good, &fair, &known];
            let drawn = tiers.into_iter().find_map(|middles| draw(middles, rng));
            let Some(hops) = drawn else { continue };
            let keys = hops.iter().filter_map(|node| self.directory.key(epoch, node, now).cloned());
            if let Ok(path) = Path::new(keys.collect(), now) {
                return Ok((self.delayed(path, rng), hops));
            }
        }
        Err(self.too_few(now))
    }

    fn delayed(&self, path: Path, rng: &mut dyn Entropy) -> Path {
        let mean = self.mode.delay();
        if mean == Span::ZERO {
            return path;
        }
        let delays: Vec<Span> = (0..path.hops()).map(|_| exponential(rng, mean)).collect();
        path.with_delays(&delays).expect("one for each, and ten means are below the longest")
    }

    /// Makes a packet. Over other hops than `shun`, where there are any.
    pub(crate) fn pack(
        &mut self,
        errand: &Errand<'_>,
        shun: &[NodeId],
        now: Time,
        rng: &mut dyn Entropy,
    ) -> Result<Packed, Unready> {
        let waits = self.pace.as_ref().is_some_and(|pace| !pace.has_room());
        if !self.circuits.has_room() || waits {
            return Err(Unready::Full);
        }
        let fits = |size: &Size| errand.payload.len() <= size.payload_bytes_max(self.hops());
        let size = Size::ALL.into_iter().find(fits).ok_or(Unready::TooLong)?;
        let (path, hops) = self.path(errand.exit, size, shun, now, rng)?;
        let order = Order {
            size,
            service: Service(errand.service),
            answer: answer_size(errand.answer_bytes),
            payload: errand.payload,
        };
        let (packet, keys) = Packet::build(rng, &path, &order).map_err(|_| Unready::TooLong)?;
        let guard = path.first();
        self.spend(&guard, size, now);
        let &Errand { purpose, late_at, until, .. } = errand;
        let circuit = Circuit { purpose, hops, sent: now, late_at, until, blamed: false };
        let circuit = self.circuits.open(circuit, keys, rng);
        // Who is asked to wait may begin to do so a little later.
        let is_patient = matches!(purpose, Purpose::Wait { .. });
        Ok(Packed { guard, circuit, packet, is_patient })
    }

    /// Lets a packet wait for its time, where packets have times; otherwise it leaves now.
    pub(crate) fn leave(&mut self, packed: Packed) -> Option<Packed> {
        match &mut self.pace {
            // There is room: `pack` has looked.
            Some(pace) => {
                let is_patient = packed.is_patient;
                pace.push(packed, is_patient).err()
            }
            None => Some(packed),
        }
    }

    /// Returns the packet whose time it is.
    pub(crate) fn turn(&mut self, now: Time, rng: &mut dyn Entropy) -> Option<Packed> {
        let turn = self.pace.as_mut()?.turn(now, rng)?;
        match turn {
            Turn::Real(packed) => Some(packed),
            Turn::Loop => self.cover(true, now, rng),
            Turn::Drop => self.cover(false, now, rng),
        }
    }

    fn cover(&mut self, comes_back: bool, now: Time, rng: &mut dyn Entropy) -> Option<Packed> {
        let exit = self.anybody(now, rng)?;
        let packed = if comes_back {
            let long = rng.below(4) < LONG_ANSWERS_OF_4;
            let answer_bytes = if long { Size::Bulk } else { Size::Small }.answer_bytes_max();
            let delays = self.expected_delay().as_millis() * 4;
            let until = now + COVER_TIME + Span::from_millis(delays);
            let (service, purpose) = (service::ECHO, Purpose::Cover);
            let (payload, late_at) = (&[][..], Time::MAX);
            let errand = Errand { exit, service, payload, answer_bytes, purpose, late_at, until };
            self.pack(&errand, &[], now, rng).ok()?
        } else {
            let (path, _) = self.path(exit, Size::Small, &[], now, rng).ok()?;
            self.spend(&path.first(), Size::Small, now);
            let packet = Packet::cover(rng, &path, Size::Small, Cover::Drop);
            Packed { guard: path.first(), circuit: rng.next_u64(), packet, is_patient: false }
        };
        self.stats.cover += 1;
        Some(packed)
    }

    /// Notes that a packet has left.
    pub(crate) fn left(&mut self, packet: &Packet) {
        self.stats.packets += 1;
        self.stats.bytes_out += packet.size().bytes() as u64;
    }

    /// Takes what came over a guard's link.
    pub(crate) fn take(
        &mut self,
        guard: &NodeId,
        circuit: u64,
        bytes: Vec<u8>,
        now: Time,
    ) -> Taken {
        self.stats.bytes_in += bytes.len() as u64;
        let Some((circuit, keys)) = self.circuits.close(circuit, guard) else {
            self.stats.late += 1;
            return Taken::Nobody;
        };
        let opened = Packet::try_from(bytes).ok().and_then(|packet| keys.open(&packet).ok());
        let Some(content) = opened else {
            self.stats.spoilt += 1;
            return Taken::Spoilt(circuit);
        };
        self.stats.answers += 1;
        self.blame.came_back(&circuit.hops, now);
        self.guards.came_back(guard);
        match circuit.purpose {
            Purpose::Cover => self.stats.cover_back += 1,
            Purpose::Request { .. } => {
                self.memory.note(&circuit.hops, now, now.since(circuit.sent));
            }
            Purpose::Wait { .. } | Purpose::Keys { .. } => {}
        }
        Taken::Answer(circuit, content)
    }

    /// Blames the hops of a packet that was lost; returns the guard if its link is to be made anew.
    pub(crate) fn blame(&mut self, circuit: &Circuit, now: Time) -> Option<NodeId> {
        self.stats.lost += 1;
        let guard = circuit.guard();
        if !circuit.blamed {
            self.blame.lost(&circuit.hops, self.map.len(), now);
        }
        // A node that was restarted has another key.
        self.directory.hurry(now);
        self.guards.lost(&guard, now).then_some(guard)
    }

    /// Returns the packets whose time is over.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<Circuit> {
        self.circuits.expire(now)
    }

    /// Returns the hops of the packets that are out for a request.
    pub(crate) fn hops_of(&self, request: u64) -> Vec<NodeId> {
        self.circuits.of_request(request).flat_map(|circuit| circuit.hops.clone()).collect()
    }

    pub(crate) fn has_room(&self) -> bool {
        self.circuits.has_room() && self.pace.as_ref().is_none_or(Pace::has_room)
    }

    /// Returns what hops and the queue add to a request and its answer on average.
    pub(crate) fn expected_delay(&self) -> Span {
        self.pace.as_ref().map_or(Span::ZERO, Pace::wait) + self.mode.delay_of_hops()
    }

    /// Notes when guards and keys are looked at again, where they matter at all.
    pub(crate) fn look_ahead(&mut self, now: Time, matters: bool, least: Span) {
        let health = self.health_due().filter(|_| self.health.changed);
        let times = [self.directory.deadline(), self.guards.deadline(now), health];
        let first = times.into_iter().flatten().min().filter(|_| matters);
        self.look_at = first.map(|at| at.max(now + least));
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let pace = self.pace.as_ref().and_then(Pace::next);
        [pace, self.circuits.deadline(), self.look_at].into_iter().flatten().min()
    }

    pub(crate) fn report(&self, now: Time) -> PathReport {
        let guards = self.guards.iter().map(|(guard, up)| GuardReport { guard, up }).collect();
        let epoch = self.directory.epochs(now).first().copied();
        let hops_known = epoch.map_or(0, |epoch| self.directory.nodes(epoch, now).count());
        PathReport {
            mode: self.mode,
            guards,
            epoch,
            nodes: self.map.len(),
            hops_known,
            cover_rate: self.mode.cover_rate(),
            avoided: self.blame.avoided(now),
            paths: self.memory.paths(),
            expected_delay: self.expected_delay(),
            measured: self.memory.measured(),
            stats: self.stats,
        }
    }
}

fn fitting(map: &Map) -> usize {
    map.fitting(map.nodes(), HOPS_MAX)
}

/// Returns the smallest answer with so much room; the largest, where none has.
pub(crate) fn answer_size(bytes: usize) -> Size {
    let fits = |size: &Size| bytes <= size.answer_bytes_max();
    Size::ALL.into_iter().find(fits).unwrap_or(Size::Large)
}
