//! The coordination chain on its own: one sequencer, followers, and people who use it.
//!
//! The chain of `session-vm` runs as the shells of `sessionvm` run it, over links that lose,
//! repeat, reorder and delay, over disks that stop in the middle of a write, with clocks that are
//! wrong, and in one story with liars: a sequencer that seals two blocks for a height, seals what
//! does not follow, or withholds; a follower that serves garbage; somebody on the way who changes
//! bits and plays old answers again. [`invariants`] are checked after every event.
//!
//! It is a world of its own beside [`crate::World`]: nothing here has connections or inboxes. What
//! both need they share: the queue, links, faults, clocks, the trace.
//!
//! | module | holds |
//! |---|---|
//! | [`invariants`] | what must hold |
//! | [`world`] | nodes, people, network, events |
//! | [`node`] | the shell around a chain |
//! | [`person`] | who uses it |
//! | [`liar`] | who lies |

pub mod invariants;
pub mod liar;
mod message;
pub mod node;
pub mod person;
pub mod world;

use std::fmt;

use session_core::{Entropy, SeededEntropy, Span};
use session_storage::kv;

use crate::fault::Fault;
use crate::host::{BEGINNING, HostId};
use crate::link::Link;
use crate::person::Tally as Messages;
use crate::run::Report;
use crate::scenario::{Scenario, Story};
use crate::violation::Violation;

use liar::Lie;
use node::{Node, SEQUENCER};
use world::{Plan, World};

pub(crate) use message::kind_name;

/// How long everything may take to come to rest after it healed.
const LIVENESS_MAX: Span = Span::from_secs(10 * 60);
/// Time between two looks at whether it has.
const LIVENESS_STEP: Span = Span::from_secs(2);

/// What a run of the chain came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The sequencer's last block.
    pub height: u64,
    /// Transactions in its blocks.
    pub transactions: usize,
    /// What people did.
    pub people: person::Tally,
    /// Nodes that ended by themselves: a disk stopped in a write, or a clock was set back too far.
    pub died: u64,
    /// Packets changed on the way.
    pub meddled: u64,
    /// Blocks made and answers given by liars.
    pub lies: u64,
    /// Followers that stopped because of the sequencer.
    pub stopped: u64,
    /// Those of them that saw a fork.
    pub forks: u64,
    /// Kinds of actions in blocks.
    pub kinds: usize,
}

/// Runs a story of the chain: things go wrong, then everything heals and must come to rest.
///
/// # Errors
/// When an invariant is broken, or the world does not come to rest.
pub(crate) fn play(scenario: &Scenario, seed: u64) -> Result<Report, Box<Violation>> {
    let (nodes, persons) = (scenario.nodes.max(2), scenario.persons.max(1));
    let mut world = World::new(&Plan { seed, nodes, persons, link: Link::lossy() });
    let mut author = Author {
        rng: SeededEntropy::new(seed ^ 0xc4a1_fa17),
        world: &mut world,
        end_ms: scenario.minutes * 60_000,
        hosts: nodes + persons,
        nodes: u32::try_from(nodes).expect("fewer than 2^32 hosts"),
    };
    author.write(scenario.story, seed);
    world.run_until(Span::from_secs(scenario.minutes * 60))?;
    let settled_after = settle(&mut world)?;
    Ok(report(&world, scenario, seed, settled_after))
}

/// Plans what goes wrong.
struct Author<'a> {
    rng: SeededEntropy,
    world: &'a mut World,
    end_ms: u64,
    hosts: usize,
    nodes: u32,
}

impl Author<'_> {
    fn write(&mut self, story: Story, seed: u64) {
        let rarely = if story == Story::ChainLiars { 3 } else { 1 };
        for node in (0..self.nodes).map(HostId) {
            self.crashes(node, rarely);
            self.trips(node, rarely);
            self.skews(node);
        }
        self.partitions();
        if story == Story::ChainLiars {
            self.liars(seed);
        }
    }

    fn crashes(&mut self, node: HostId, rarely: u64) {
        let mut at = self.between(5_000, 30_000 * rarely);
        while at < self.end_ms {
            self.plan(at, Fault::Crash { node, disk_lost: false });
            at += self.between(200, 12_000);
            self.plan(at, Fault::Restart { node });
            at += self.between(5_000, 40_000 * rarely);
        }
    }

    fn trips(&mut self, node: HostId, rarely: u64) {
        let faults = [kv::Fault::Fail, kv::Fault::StopBefore, kv::Fault::StopAfter];
        let mut at = self.between(1_000, 20_000 * rarely);
        while at < self.end_ms {
            let fault = faults[self.rng.below(faults.len() as u64) as usize];
            self.world.plan_trip(Span::from_millis(at), node, fault);
            at += self.between(5_000, 30_000 * rarely);
        }
    }

    fn skews(&mut self, node: HostId) {
        let mut at = 0;
        while at < self.end_ms {
            // Two clocks that are further apart than a block may be ahead do occur.
            let ahead_ms = self.rng.below(16_001) as i64 - 8_000;
            self.plan(at, Fault::Skew { host: node, ahead_ms });
            at += self.between(10_000, 60_000);
        }
    }

    fn partitions(&mut self) {
        let mut at = self.between(5_000, 20_000);
        while at < self.end_ms {
            let share = self.between(10, 60);
            let hosts = 0..self.hosts;
            let apart = hosts.map(|host| host > 0 && self.rng.below(100) < share).collect();
            self.plan(at, Fault::Split { apart });
            at += self.between(2_000, 25_000);
            self.plan(at, Fault::Heal);
            at += self.between(5_000, 30_000);
        }
    }

    /// A lie of the sequencer, one follower that serves garbage, and somebody on the way.
    fn liars(&mut self, seed: u64) {
        let lie = Lie::ALL[(seed % Lie::ALL.len() as u64) as usize];
        let at = self.between(5_000, self.end_ms / 3);
        self.world.plan_lie(Span::from_millis(at), lie);
        let at = self.between(0, 10_000);
        self.world.plan_meddling(Span::from_millis(at));
        if self.nodes > 2 {
            let node = HostId(1 + self.rng.below(u64::from(self.nodes) - 1) as u32);
            self.world.plan_garbage(Span::from_secs(1), node);
        }
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.rng.below(most.saturating_sub(least) + 1)
    }

    fn plan(&mut self, at_ms: u64, fault: Fault) {
        self.world.plan(Span::from_millis(at_ms), fault);
    }
}

fn settle(world: &mut World) -> Result<Span, Box<Violation>> {
    let begin = world.now().since(BEGINNING);
    world.heal();
    let mut after = Span::ZERO;
    while let Some(unrest) = unrest(world) {
        if after >= LIVENESS_MAX {
            return Err(Box::new(world.violation("followers_reach_the_tip", unrest)));
        }
        after = after + LIVENESS_STEP;
        world.run_until(begin + after)?;
    }
    Ok(after)
}

/// Says who has not reached the sequencer's last block, or still waits for a transaction.
fn unrest(world: &World) -> Option<String> {
    let Some(tip) = world.nodes()[SEQUENCER.index()].chain.as_ref().map(|it| it.last_accepted())
    else {
        return Some("the sequencer is down".into());
    };
    let followers = world.nodes().iter().filter(|node| node.honest && node.stopped.is_none());
    for node in followers {
        let Some(last) = node.chain.as_ref().map(|chain| chain.last_accepted()) else {
            return Some(format!("{:?} is down", node.host));
        };
        if last.id != tip.id {
            let (host, has) = (node.host, last.height);
            return Some(format!("{host:?} has block {has}, the sequencer {}", tip.height));
        }
    }
    let busy = world.busy();
    (busy > 0).then(|| format!("{busy} people wait for transactions"))
}

fn report(world: &World, scenario: &Scenario, seed: u64, settled_after: Span) -> Report {
    let counts = world.counts();
    let nodes = world.nodes();
    let sequencer = &world.seen(&nodes[SEQUENCER.index()]);
    let follows = |node: &&Node| node.honest && node.stopped.is_none();
    let everywhere = nodes.iter().filter(follows).map(|node| world.seen(node).places.len()).min();
    let summary = Summary {
        height: sequencer.blocks.len().saturating_sub(1) as u64,
        transactions: sequencer.places.len(),
        people: world.tally(),
        died: counts.died,
        meddled: counts.meddled,
        lies: counts.lies,
        stopped: counts.stops,
        forks: counts.forks,
        kinds: counts.kinds.len(),
    };
    Report {
        story: scenario.story,
        seed,
        digest: world.digest(),
        nodes: nodes.len(),
        persons: scenario.persons,
        simulated: world.now().since(BEGINNING),
        settled_after,
        events: world.events(),
        checks: counts.checks,
        traffic: counts.traffic,
        faults: counts.faults,
        penalties: 0,
        tally: Messages::default(),
        acknowledged: summary.transactions,
        retrieved: everywhere.unwrap_or_default(),
        deleted: 0,
        chain: Some(summary),
        coordination: None,
        workload: None,
        messaging: None,
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { height, transactions, people, died, meddled, lies, stopped, forks, kinds } =
            self;
        let person::Tally { signed, seen, refused, replaced, expired } = people;
        writeln!(
            f,
            "  chain         {height} blocks, {transactions} transactions of {kinds} kinds"
        )?;
        writeln!(
            f,
            "  people        {signed} signed, {seen} seen in blocks, {refused} refused, \
             {replaced} replaced, {expired} too old"
        )?;
        writeln!(f, "  nodes         {died} ended in a write or for their clock")?;
        writeln!(
            f,
            "  liars         {lies} lies, {meddled} packets changed; followers stopped {stopped} times, \
             {forks} of them at a fork"
        )
    }
}
