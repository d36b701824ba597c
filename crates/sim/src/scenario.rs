//! Stories: how large a world is, what its people do, and what goes wrong when.
//!
//! Each has two parts. In the first one things go wrong and the invariants must hold. Then
//! everything heals, and within a bounded time all honest members of a swarm must keep the same,
//! and everybody must have got an answer: a network that is safe but stuck is of no use.

use std::fmt;
use std::str::FromStr;

use session_core::{Entropy, SeededEntropy, Span, committee};
use session_protocol::chain::view::DutyParams;
use session_swarm::coordinator::Lie;
use session_vm::records::Params;

use crate::byzantine::Kind;
use crate::fault::Fault;
use crate::host::HostId;
use crate::link::Link;
use crate::messaging;
use crate::node::Shell;
use crate::person::Habits;
use crate::world::{ChainPlan, Plan, World};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Story {
    /// Nothing.
    Calm,
    /// Packets are lost, repeated and late; connections break.
    Lossy,
    /// Nodes crash and come back; never more of a swarm at a time than a quorum can spare.
    Crashes,
    /// Nodes crash and come back; at times more of a swarm than a quorum can spare.
    Outage,
    /// The network falls in two, several times.
    Partition,
    /// As many members of each swarm as it can bear lie, withhold, equivocate or flood.
    Byzantine,
    /// Clocks are wrong by up to 50 seconds, and are set while everything runs.
    Skewed,
    /// Nodes crash and lose their disks, one of a swarm after the other.
    DiskLoss,
    /// All of it, but no misbehaviour.
    Everything,
    /// One member of each swarm misbehaves, up to two others crash at a time, over bad links.
    Siege,
    /// A chain that runs alone: crashes, also in writes, partitions, wrong clocks, bad links.
    Chain,
    /// The same with liars: the sequencer, a follower, somebody on the way.
    ChainLiars,
    /// Swarms whose nodes live on a chain: nodes register and leave, swarms split and merge.
    Coordination,
    /// The same with crashes, lost disks, partitions and bad links.
    CoordinationFaults,
    /// The same with up to a third of each swarm lying about its duties.
    CoordinationLiars,
    /// Committees that run workload sessions: crashes, partitions, bad links, a world that
    /// contradicts itself.
    Workload,
    /// The same with as many liars as a committee can bear.
    WorkloadLiars,
    /// People talk on devices that crash, over nodes that crash; partitions, bad links.
    Messaging,
    /// The same with as many bad nodes as a swarm can bear.
    MessagingLiars,
    /// As messaging, and devices are put back to old images of themselves, or copied.
    MessagingRestored,
    /// Requests travel over hops: nodes crash, partitions, broken connections.
    Onion,
    /// The same without crashes, with as many hops that mark, repeat or drop packets as swarms can
    /// bear silent members.
    OnionLiars,
}

impl Story {
    /// Every story.
    pub const ALL: [Self; 22] = [
        Self::Calm,
        Self::Lossy,
        Self::Crashes,
        Self::Outage,
        Self::Partition,
        Self::Byzantine,
        Self::Skewed,
        Self::DiskLoss,
        Self::Everything,
        Self::Siege,
        Self::Chain,
        Self::ChainLiars,
        Self::Coordination,
        Self::CoordinationFaults,
        Self::CoordinationLiars,
        Self::Workload,
        Self::WorkloadLiars,
        Self::Messaging,
        Self::MessagingLiars,
        Self::MessagingRestored,
        Self::Onion,
        Self::OnionLiars,
    ];

    /// Returns the name that [`FromStr`] takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Lossy => "lossy",
            Self::Crashes => "crashes",
            Self::Outage => "outage",
            Self::Partition => "partition",
            Self::Byzantine => "byzantine",
            Self::Skewed => "skewed",
            Self::DiskLoss => "disk-loss",
            Self::Everything => "everything",
            Self::Siege => "siege",
            Self::Chain => "chain",
            Self::ChainLiars => "chain-liars",
            Self::Coordination => "coordination",
            Self::CoordinationFaults => "coordination-faults",
            Self::CoordinationLiars => "coordination-liars",
            Self::Workload => "workload",
            Self::WorkloadLiars => "workload-liars",
            Self::Messaging => "messaging",
            Self::MessagingLiars => "messaging-liars",
            Self::MessagingRestored => "messaging-restored",
            Self::Onion => "onion",
            Self::OnionLiars => "onion-liars",
        }
    }

    /// Returns whether the nodes of the swarms live on a chain.
    #[must_use]
    pub const fn is_coordinated(self) -> bool {
        matches!(self, Self::Coordination | Self::CoordinationFaults | Self::CoordinationLiars)
    }

    /// Returns whether it happens to the coordination chain, a world of its own
    /// ([`crate::chain`]), and not to swarms.
    #[must_use]
    pub const fn is_of_the_chain(self) -> bool {
        matches!(self, Self::Chain | Self::ChainLiars)
    }

    /// Returns whether it happens to committees of workload sessions, a world of their own
    /// ([`crate::workload`]).
    #[must_use]
    pub const fn is_of_committees(self) -> bool {
        matches!(self, Self::Workload | Self::WorkloadLiars)
    }

    /// Returns whether it happens to people who talk ([`crate::messaging`]).
    #[must_use]
    pub const fn is_of_conversations(self) -> bool {
        matches!(self, Self::Messaging | Self::MessagingLiars | Self::MessagingRestored)
    }

    /// Returns whether requests travel over hops.
    #[must_use]
    pub const fn is_over_hops(self) -> bool {
        matches!(self, Self::Onion | Self::OnionLiars)
    }
}

impl fmt::Display for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text is not the name of a story.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a scenario is calm, lossy, crashes, outage, partition, byzantine, skewed, disk-loss, everything, siege, chain, chain-liars, coordination, coordination-faults, coordination-liars, workload, workload-liars, messaging, messaging-liars, messaging-restored, onion or onion-liars"
)]
pub struct UnknownStory;

impl FromStr for Story {
    type Err = UnknownStory;
    fn from_str(name: &str) -> Result<Self, UnknownStory> {
        Self::ALL.into_iter().find(|story| story.name() == name).ok_or(UnknownStory)
    }
}

/// A story and the world that it happens to.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What goes wrong.
    pub story: Story,
    /// Nodes in all, rounded up to whole swarms.
    pub nodes: usize,
    /// Nodes of each swarm.
    pub members: usize,
    /// Persons.
    pub persons: usize,
    /// How long the first part lasts, in simulated minutes.
    pub minutes: u64,
    /// What persons do.
    pub habits: Habits,
    /// Time between two checks of the whole world.
    pub checkpoint_every: Span,
    /// See [`Plan::sweep_every`].
    pub sweep_every: Span,
    /// How long an epoch lasts, where nodes live on a chain.
    pub epoch: Span,
    /// See [`Plan::onions`].
    pub onions: bool,
}

impl Scenario {
    /// Makes a story of one swarm of ten nodes and twelve persons, for a few minutes.
    #[must_use]
    pub fn new(story: Story) -> Self {
        // Epochs take long: looking at everything all the time would take longer.
        let (sweep, checkpoint) = if story.is_coordinated() { (60, 10) } else { (15, 2) };
        Self {
            story,
            nodes: 10,
            members: 10,
            persons: 12,
            minutes: 5,
            habits: Habits {
                subscribes: story != Story::Byzantine,
                rolls_back: story == Story::MessagingRestored,
                ..Habits::default()
            },
            checkpoint_every: Span::from_secs(checkpoint),
            // 15 s is what a node is made with when nobody says otherwise.
            sweep_every: Span::from_secs(sweep),
            epoch: Span::from_secs(600),
            onions: false,
        }
    }

    /// Makes the world of a seed, with everything planned that will go wrong. In a story of the
    /// chain or of committees nothing goes wrong with the swarms.
    #[must_use]
    pub fn world(&self, seed: u64) -> World {
        let members = self.members.clamp(1, self.nodes.max(1));
        let plan = Plan {
            seed,
            swarms: self.nodes.max(1).div_ceil(members),
            members,
            persons: if self.story.is_of_conversations() { 0 } else { self.persons },
            habits: self.habits,
            devices: self.story.is_of_conversations().then(|| messaging::devices(self.persons)),
            onions: self.onions || self.story.is_over_hops(),
            link: match self.story {
                Story::Lossy
                | Story::Everything
                | Story::Siege
                | Story::CoordinationFaults
                | Story::Messaging
                | Story::MessagingLiars
                | Story::MessagingRestored => Link::lossy(),
                _ => Link::good(),
            },
            checkpoint_every: self.checkpoint_every,
            sweep_every: self.sweep_every,
            chain: self.story.is_coordinated().then(|| self.chain_plan(members)),
        };
        let mut world = World::new(&plan);
        // Another generator than the world's: the same people, whatever goes wrong.
        let mut author = Author {
            rng: SeededEntropy::new(seed ^ 0x5eed_fa17),
            world: &mut world,
            end_ms: self.minutes * 60_000,
            epoch_ms: self.epoch.as_millis(),
        };
        author.write(self.story);
        world
    }
}

impl Scenario {
    fn chain_plan(&self, members: usize) -> ChainPlan {
        let mut sizes = vec![members; self.nodes.max(1).div_ceil(members)];
        if self.story != Story::CoordinationLiars && sizes.len() > 2 {
            // One swarm splits at the first turn, another one is small enough to dissolve when some
            // of its members leave, and not so small that it would take members from the first.
            let last = sizes.len() - 1;
            (sizes[0], sizes[last]) = (2 * members, (members * 7).div_ceil(10));
        }
        let params = Params {
            epoch: self.epoch,
            swarm_size: u16::try_from(members).unwrap_or(u16::MAX),
            // Wide enough that every member has an item before it must have committed to it.
            duties: DutyParams {
                settle: Span::from_millis(self.epoch.as_millis() / 10),
                ..Params::default().duties
            },
            // Cases come to their end within a run.
            veto_window: self.epoch,
            ..Params::default()
        };
        ChainPlan {
            params,
            spares: (self.nodes / SPARES).max(2),
            sizes,
            // In larger worlds each block costs more, and holds more.
            block_every: Span::from_millis(self.epoch.as_millis() / BLOCKS_PER_EPOCH),
            rumour: Span::from_millis(self.epoch.as_millis() / 20),
        }
    }
}

/// One node for so many joins in the course of a run.
const SPARES: usize = 12;

/// Chances of a block in an epoch: every 4 seconds of ten minutes, every 24 of an hour.
const BLOCKS_PER_EPOCH: u64 = 150;

/// Plans what goes wrong in a world.
struct Author<'a> {
    rng: SeededEntropy,
    world: &'a mut World,
    end_ms: u64,
    epoch_ms: u64,
}

impl Author<'_> {
    fn write(&mut self, story: Story) {
        match story {
            Story::Calm
            | Story::Chain
            | Story::ChainLiars
            | Story::Workload
            | Story::WorkloadLiars => {}
            Story::Messaging | Story::MessagingRestored => {
                self.broken_connections();
                self.crashes(spare_of, false);
                self.partitions();
            }
            Story::MessagingLiars => {
                self.broken_connections();
                self.misbehaviour(Kind::OF_CONVERSATIONS, spare_of);
                self.partitions();
            }
            Story::Coordination => {
                self.churn();
                self.shrink();
            }
            Story::CoordinationFaults => {
                self.churn();
                self.shrink();
                self.broken_connections();
                self.outages();
                self.cut_offs();
            }
            Story::CoordinationLiars => {
                self.churn();
                self.lies();
            }
            Story::Onion => {
                self.broken_connections();
                self.crashes(spare_of, false);
                self.partitions();
            }
            Story::OnionLiars => {
                self.broken_connections();
                self.misbehaviour(Kind::OF_PATHS, spare_of);
            }
            Story::Lossy => self.broken_connections(),
            Story::Crashes => self.crashes(spare_of, false),
            Story::Outage => self.crashes(|members| members, false),
            Story::Partition => self.partitions(),
            Story::Byzantine => self.misbehaviour(Kind::ALL, spare_of),
            Story::Skewed => self.skews(),
            Story::DiskLoss => self.crashes(|_| 1, true),
            Story::Everything => {
                self.broken_connections();
                self.crashes(spare_of, false);
                self.partitions();
                self.skews();
            }
            Story::Siege => {
                self.broken_connections();
                self.misbehaviour(Kind::ALL, |members| spare_of(members).min(1));
                self.crashes(|members| spare_of(members).min(2), false);
            }
        }
    }

    fn broken_connections(&mut self) {
        let mut at = 20_000;
        while at < self.end_ms {
            self.plan(at, Fault::Break { share: 1_000 });
            at += self.between(10_000, 60_000);
        }
    }

    /// Swarm by swarm, rounds of crashes; all of a round are back before the next one.
    fn crashes(&mut self, most: impl Fn(usize) -> usize, disks_lost: bool) {
        for node in 0..self.world.nodes().len() {
            let node = HostId(u32::try_from(node).expect("fewer than 2^32 hosts"));
            // Slow disks: a crash shall often come in the middle of a commit.
            let commit_after = Span::from_millis(self.between(1, 60));
            self.world.set_shell(node, Shell { commit_after, ..Shell::default() });
        }
        for swarm in self.world.swarms().to_vec() {
            let members = self.world.members(swarm).to_vec();
            let most = most(members.len()) as u64;
            let mut at = self.between(20_000, 40_000);
            while at < self.end_ms && most > 0 {
                let victims = 1 + self.rng.below(most);
                let mut last = at;
                for node in self.choose(&members, victims) {
                    let down = at + self.between(0, 5_000);
                    let up = down + self.between(1_000, 45_000);
                    self.plan(down, Fault::Crash { node, disk_lost: disks_lost });
                    self.plan(up, Fault::Restart { node });
                    last = last.max(up);
                }
                at = last + self.between(30_000, 60_000);
            }
        }
    }

    fn partitions(&mut self) {
        let hosts = self.world.hosts();
        let mut at = self.between(20_000, 40_000);
        while at < self.end_ms {
            // From a few hosts cut off to a half.
            let share = self.between(10, 50);
            let apart = (0..hosts).map(|_| self.rng.below(100) < share).collect();
            self.plan(at, Fault::Split { apart });
            at += self.between(5_000, 90_000);
            self.plan(at, Fault::Heal);
            at += self.between(30_000, 60_000);
        }
    }

    fn misbehaviour<const N: usize>(
        &mut self,
        kinds: [Kind; N],
        how_many: impl Fn(usize) -> usize,
    ) {
        for (number, swarm) in self.world.swarms().to_vec().into_iter().enumerate() {
            let members = self.world.members(swarm).to_vec();
            let bad = self.choose(&members, how_many(members.len()) as u64);
            let first = number + self.rng.below(N as u64) as usize;
            for (node, kind) in bad.into_iter().zip(kinds.into_iter().cycle().skip(first)) {
                self.plan(0, Fault::Misbehave { node, kind });
            }
        }
    }

    fn skews(&mut self) {
        let hosts = self.world.hosts();
        for host in (0..).map(HostId).take(hosts) {
            let mut at = 0;
            while at < self.end_ms {
                // Two clocks that are further apart than the tolerance of 60 s do occur.
                let ahead_ms = self.rng.below(100_001) as i64 - 50_000;
                self.plan(at, Fault::Skew { host, ahead_ms });
                at += self.between(60_000, 600_000);
            }
        }
    }

    /// Nodes join, and others leave, all through the story.
    fn churn(&mut self) {
        let swarms = self.world.swarms().to_vec();
        let seats = swarms.iter().map(|swarm| self.world.members(*swarm).len()).sum();
        let hosts: Vec<HostId> = hosts(self.world.nodes().len()).collect();
        let (registered, spares) = hosts.split_at(seats);
        let leavers = self.choose(registered, spares.len() as u64);
        // Not in the founding epoch, and early enough to be seated before the end.
        let (first, last) = (self.epoch_ms, self.end_ms.saturating_sub(3 * self.epoch_ms));
        let last = last.max(first + 1);
        for (node, leaver) in spares.iter().copied().zip(leavers) {
            let at = self.between(first, last);
            self.plan(at, Fault::Join { node });
            let at = self.between(first, last);
            self.plan(at, Fault::Leave { node: leaver });
        }
    }

    /// The last swarm shrinks until it is dissolved, before anybody joins it.
    fn shrink(&mut self) {
        let Some(swarm) = self.world.swarms().last().copied() else { return };
        let members = self.world.members(swarm).to_vec();
        let leave = members.len() / 2;
        for node in members.into_iter().take(leave) {
            // After the first swarm has split: before, it would give members to this one.
            let at = self.epoch_ms + self.between(self.epoch_ms / 4, self.epoch_ms * 3 / 4);
            self.plan(at, Fault::Leave { node });
        }
    }

    /// Swarm by swarm, nodes go down for a while, some of them for more than an epoch, some without
    /// their disks.
    fn outages(&mut self) {
        for swarm in self.world.swarms().to_vec() {
            let members = self.world.members(swarm).to_vec();
            let most = (spare_of(members.len()) as u64).saturating_sub(1).max(1);
            let mut at = self.between(20_000, self.epoch_ms);
            while at < self.end_ms {
                let victims = 1 + self.rng.below(most);
                // One of many stays away long enough to pay.
                let long = self.rng.below(6) == 0;
                let longest = if long { 3 * self.epoch_ms } else { self.epoch_ms / 10 };
                let mut last = at;
                for node in self.choose(&members, victims) {
                    let down = at + self.between(0, 5_000);
                    let up = down + self.between(1_000, longest);
                    let disk_lost = victims == 1 && self.rng.below(4) == 0;
                    self.plan(down, Fault::Crash { node, disk_lost });
                    self.plan(up, Fault::Restart { node });
                    last = last.max(up);
                }
                at = last + self.between(self.epoch_ms / 4, self.epoch_ms);
            }
        }
    }

    /// Some hosts, less than a third, are cut off from the others and the chain for a while.
    fn cut_offs(&mut self) {
        let hosts = self.world.hosts();
        let mut at = self.between(20_000, self.epoch_ms);
        while at < self.end_ms {
            let share = self.between(5, 25);
            let apart = (0..hosts).map(|_| self.rng.below(100) < share).collect();
            self.plan(at, Fault::Split { apart });
            at += self.between(5_000, self.epoch_ms / 5);
            self.plan(at, Fault::Heal);
            at += self.between(self.epoch_ms / 5, self.epoch_ms);
        }
    }

    /// As many members of each swarm lie as it can bear, each in a way of its own.
    fn lies(&mut self) {
        let mut ways = LIES.into_iter().cycle().skip(self.rng.below(LIES.len() as u64) as usize);
        for swarm in self.world.swarms().to_vec() {
            let members = self.world.members(swarm).to_vec();
            let bad = members.len().saturating_sub(1) as u64 / 3;
            for node in self.choose(&members, bad) {
                let lie = ways.next().expect("a cycle has no end");
                self.plan(0, Fault::Lie { node, lie });
            }
        }
    }

    fn choose(&mut self, from: &[HostId], count: u64) -> Vec<HostId> {
        let mut left = from.to_vec();
        let count = count.min(left.len() as u64);
        (0..count).map(|_| left.swap_remove(self.rng.below(left.len() as u64) as usize)).collect()
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.rng.below(most - least + 1)
    }

    fn plan(&mut self, at_ms: u64, fault: Fault) {
        self.world.plan(Span::from_millis(at_ms), fault);
    }
}

/// How nodes lie.
const LIES: [Lie; 10] = [
    Lie::DropItems { percent: 10 },
    Lie::FalseFail,
    Lie::Equivocate,
    Lie::BadDealer,
    Lie::CommitElse,
    Lie::SilentDealer,
    Lie::DropItems { percent: 50 },
    Lie::LateReveal,
    Lie::CopyDealer,
    Lie::FalseReceipt,
];

fn hosts(count: usize) -> impl Iterator<Item = HostId> {
    (0..).map(HostId).take(count)
}

/// Members that may fail while the others still make a quorum.
fn spare_of(members: usize) -> usize {
    committee::quorum(members).map_or(0, |quorum| members - quorum)
}
