//! One run from beginning to end, and what it came to.

use std::fmt;

use session_core::{Digest, Span};
use session_storage::Store;

use crate::chain;
use crate::coordination;
use crate::fault::FaultCounts;
use crate::messaging;
use crate::net::Traffic;
use crate::node::Node;
use crate::person::Tally;
use crate::scenario::{Scenario, Story};
use crate::violation::Violation;
use crate::workload;
use crate::world::World;

/// How long everything may take to come to rest after it healed.
const LIVENESS_MAX: Span = Span::from_secs(20 * 60);

/// From this many minutes on an epoch lasts an hour.
const LONG_MINUTES: u64 = 6 * 60;

/// Time between two looks at whether it has.
const LIVENESS_STEP: Span = Span::from_secs(5);

/// What a user can choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Everything follows from it.
    pub seed: u64,
    /// Nodes, in swarms of ten.
    pub nodes: usize,
    /// Persons.
    pub persons: usize,
    /// Simulated minutes in which things go wrong.
    pub minutes: u64,
    /// What goes wrong.
    pub story: Story,
}

impl Default for Options {
    fn default() -> Self {
        Self { seed: 1, nodes: 10, persons: 12, minutes: 5, story: Story::Everything }
    }
}

/// What a run came to. The same for the same options, on every machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What went wrong.
    pub story: Story,
    /// The seed.
    pub seed: u64,
    /// Over everything that happened, in order.
    pub digest: Digest,
    /// Nodes.
    pub nodes: usize,
    /// Persons.
    pub persons: usize,
    /// Simulated time, both parts together.
    pub simulated: Span,
    /// How long it took to come to rest after healing.
    pub settled_after: Span,
    /// Events.
    pub events: u64,
    /// Checks of invariants.
    pub checks: u64,
    /// What the network carried.
    pub traffic: Traffic,
    /// What went wrong on purpose.
    pub faults: FaultCounts,
    /// How often an honest node disconnected another one for breaking the rules.
    pub penalties: u64,
    /// What persons did.
    pub tally: Tally,
    /// Messages whose senders were shown a quorum of receipts.
    pub acknowledged: usize,
    /// Those of them that their recipients have seen.
    pub retrieved: usize,
    /// Those of them that were deleted by their recipients.
    pub deleted: usize,
    /// In a story of the chain, what happened there; acknowledged are then the transactions in
    /// blocks, retrieved those of them that every honest follower executed.
    pub chain: Option<chain::Summary>,
    /// In a story of swarms on a chain, what happened to the nodes.
    pub coordination: Option<coordination::Summary>,
    /// In a story of committees, what became of their sessions; acknowledged are then those that
    /// were finalized, retrieved the files of members that were run again.
    pub workload: Option<workload::Summary>,
    /// In a story of conversations, what became of them; acknowledged are then the texts of which
    /// their authors were shown that they are stored, retrieved those that were shown to others.
    pub messaging: Option<messaging::Summary>,
}

/// Runs a story in a world of the usual size.
///
/// # Errors
/// When an invariant is broken, or the world does not come to rest.
pub fn run(options: &Options) -> Result<Report, Box<Violation>> {
    let mut scenario = Scenario {
        nodes: options.nodes,
        persons: options.persons,
        minutes: options.minutes,
        ..Scenario::new(options.story)
    };
    // In a larger world each person does less, and the whole is looked at less often: a thousand
    // nodes for an hour shall take a minute.
    // Long runs have the epochs of real networks, short ones at least a few.
    let long = options.minutes >= LONG_MINUTES;
    if long {
        scenario.epoch = Span::from_secs(3600);
    }
    let longer = |span: Span, times: usize| Span::from_millis(span.as_millis() * times as u64);
    let crowd = (options.persons / 24).max(1);
    scenario.habits.send_every = longer(scenario.habits.send_every, crowd);
    scenario.habits.read_every = longer(scenario.habits.read_every, crowd);
    scenario.checkpoint_every = longer(scenario.checkpoint_every, (options.nodes / 40).max(1));
    if options.story.is_coordinated() && long {
        // A day's messages of a large world shall fit into the memory of a small machine.
        scenario.habits.send_every = longer(scenario.habits.send_every, 4);
        scenario.habits.bytes_max = 512;
        scenario.checkpoint_every = scenario.checkpoint_every.max(Span::from_secs(180));
    }
    play(&scenario, options.seed)
}

/// Runs a scenario.
///
/// # Errors
/// When an invariant is broken, or the world does not come to rest.
pub fn play(scenario: &Scenario, seed: u64) -> Result<Report, Box<Violation>> {
    if scenario.story.is_of_the_chain() {
        return chain::play(scenario, seed);
    }
    if scenario.story.is_of_committees() {
        return workload::play(scenario, seed);
    }
    if scenario.story.is_of_conversations() {
        return messaging::play(scenario, seed);
    }
    let mut world = scenario.world(seed);
    world.run_until(Span::from_secs(scenario.minutes * 60))?;
    let settled_after = settle(&mut world)?;
    Ok(report(&world, scenario, seed, settled_after))
}

/// Heals everything and waits until nobody waits for anything.
///
/// # Errors
/// When an invariant is broken, or it takes too long.
pub fn settle(world: &mut World) -> Result<Span, Box<Violation>> {
    let begin = world.now().since(crate::host::BEGINNING);
    world.fall_silent();
    world.heal();
    let mut after = Span::ZERO;
    // A chain must show that it goes on: two epochs begin and end.
    if let Some(chain) = world.chain() {
        let epoch = chain.blocks().view().epoch.schedule.length;
        after = Span::from_millis(3 * epoch.as_millis());
        world.run_until(begin + after)?;
        if let Some(stuck) = world.chain().and_then(coordination::Coordination::stuck) {
            return Err(Box::new(world.violation("epochs_go_on", stuck)));
        }
    }
    let limit = after + LIVENESS_MAX;
    while let Some(unrest) = unrest(world) {
        if after >= limit {
            return Err(Box::new(world.violation("everything_comes_to_rest", unrest)));
        }
        after = after + LIVENESS_STEP;
        world.run_until(begin + after)?;
    }
    Ok(after)
}

/// Returns what is not at rest.
fn unrest(world: &World) -> Option<String> {
    let busy = world.persons().iter().filter(|person| !person.is_idle()).count();
    if busy > 0 {
        return Some(format!("{busy} persons wait for answers"));
    }
    if let Some((id, _)) = unread(world).next() {
        let count = unread(world).count();
        return Some(format!("{count} messages were not read, one of them {id:?}"));
    }
    undeleted(world).or_else(|| world.handing_over()).or_else(|| world.disagreement())
}

/// Says which deleted message is still kept, in a swarm of honest members.
fn undeleted(world: &World) -> Option<String> {
    let honest = |members: &[_]| {
        members.iter().filter_map(|member| world.node(*member)).all(Node::is_honest)
    };
    world.ledger().messages().filter(|(_, message)| message.deleted).find_map(|(id, message)| {
        let (keepers, _) = world.keepers(&message.address);
        let mut members = keepers.iter();
        let keeper = members.find_map(|member| {
            world.node(*member).filter(|node| node.disk().meta(&message.address, id).is_some())
        })?;
        honest(keepers).then(|| format!("{:?} keeps {id:?}, which was deleted", keeper.id()))
    })
}

/// Acknowledged messages that should still be there and that their recipients have not seen.
fn unread(world: &World) -> impl Iterator<Item = (&session_core::MessageId, usize)> {
    let owners: std::collections::BTreeMap<_, _> = world
        .persons()
        .iter()
        .enumerate()
        .map(|(index, person)| (person.address(), index))
        .collect();
    let soon = world.now() + Span::from_secs(180);
    world.ledger().messages().filter_map(move |(id, message)| {
        let owner = *owners.get(&message.address)?;
        let due = !message.deleting && message.keep_until > soon;
        (due && !world.persons()[owner].has_seen(id)).then_some((id, owner))
    })
}

pub(crate) fn report(world: &World, scenario: &Scenario, seed: u64, settled_after: Span) -> Report {
    let seen = |id| world.persons().iter().any(|person| person.has_seen(id));
    Report {
        story: scenario.story,
        seed,
        digest: world.digest(),
        nodes: world.nodes().len(),
        persons: world.persons().len(),
        simulated: world.now().since(crate::host::BEGINNING),
        settled_after,
        events: world.events(),
        checks: world.checks(),
        traffic: world.traffic(),
        faults: world.faults(),
        penalties: world.penalties(),
        tally: world.tally(),
        acknowledged: world.ledger().messages().count(),
        retrieved: world.ledger().messages().filter(|(id, _)| seen(id)).count(),
        deleted: world.ledger().messages().filter(|(_, message)| message.deleted).count(),
        chain: None,
        coordination: world.chain().map(|chain| coordination::Summary::of(chain, world.nodes())),
        workload: None,
        messaging: None,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { story, seed, nodes, persons, events, checks, .. } = self;
        let minutes = self.simulated.as_millis() / 60_000;
        writeln!(f, "{story}, seed {seed}: {nodes} nodes, {persons} persons, {minutes} minutes")?;
        writeln!(f, "  events        {events}, {checks} checks of invariants, none failed")?;
        let Traffic { frames, bytes, lost, repeated, resent, connections, .. } = self.traffic;
        let mib = bytes >> 20;
        writeln!(f, "  network       {frames} frames, {mib} MiB, {connections} connections")?;
        writeln!(f, "  on the way    {lost} lost, {repeated} repeated, {resent} sent again")?;
        let FaultCounts { crashes, disks_lost, splits, broken, skews, byzantine, .. } = self.faults;
        writeln!(
            f,
            "  faults        {crashes} crashes ({disks_lost} with the disk), {splits} splits, \
             {broken} broken connections, {skews} clocks set"
        )?;
        writeln!(
            f,
            "  byzantine     {byzantine} nodes, disconnected {} times by honest ones",
            self.penalties
        )?;
        if let Some(chain) = &self.chain {
            write!(f, "{chain}")?;
            return self.end(f);
        }
        if let Some(workload) = &self.workload {
            write!(f, "{workload}")?;
            return self.end(f);
        }
        if let Some(messaging) = &self.messaging {
            write!(f, "{messaging}")?;
            return self.end(f);
        }
        let Tally { sent, retried, given_up, pushed } = self.tally;
        writeln!(
            f,
            "  messages      {sent} sent, {} acknowledged, {} of them retrieved, {} deleted; \
             {pushed} pushed",
            self.acknowledged, self.retrieved, self.deleted
        )?;
        writeln!(f, "  commands      {retried} tried again, {given_up} given up")?;
        if let Some(coordination) = &self.coordination {
            write!(f, "{coordination}")?;
        }
        self.end(f)
    }
}

impl Report {
    fn end(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  at rest       {} s after healing", self.settled_after.as_millis() / 1000)?;
        write!(f, "  digest        {}", self.digest)
    }
}
