//! Workload sessions: committees that run programs, ask a world that contradicts itself, and lie.
//!
//! Every member is the true machine of `session-executor` with the true engine; a chain of
//! `session-vm` chooses committees and takes what they attest. Between them are links that lose,
//! repeat, reorder and delay, and around them an outside world whose answers differ from member to
//! member, change, fail and take their time. Members crash, also right after a commit and before
//! anything it led to; the network falls apart. In one story as many members as a committee can
//! bear lie, each in a way of its own. `invariants` says what must hold.
//!
//! It is a world of its own beside [`crate::World`]: connections are those of the sessions only.
//!
//! | module | holds |
//! |---|---|
//! | `invariants` | what must hold |
//! | `world` | nodes, chain, network, events |
//! | `node` | the shell around an executor |
//! | [`outside`] | what programs ask |
//! | `programs` | what committees run |
//! | `people` | who brings sessions |
//! | [`liar`] | who lies |
//! | `witness` | what was certified, asked and said |

mod invariants;
pub mod liar;
mod node;
pub mod outside;
mod people;
mod programs;
mod witness;
mod world;

use std::fmt;

use session_core::{Entropy, SeededEntropy, Span, committee};

use crate::fault::FaultCounts;
use crate::host::BEGINNING;
use crate::link::Link;
use crate::person::Tally;
use crate::run::Report;
use crate::scenario::{Scenario, Story};
use crate::violation::Violation;

use invariants::Found;
use liar::Lie;
use world::{DOORS, Plan, Strike, World};

/// How long everything may take to come to rest after it healed: all deadlines, and some.
const LIVENESS_MAX: Span = Span::from_secs(15 * 60);
/// Time between two looks at whether it has.
const LIVENESS_STEP: Span = Span::from_secs(5);
/// Of 100 questions to the outside world, how many go wrong.
const TROUBLE: u64 = 4;

/// Of so many seeds of liars, one has more than a committee can bear.
const OVERRUN_EVERY: u64 = 8;

/// What a run of committees came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Sessions that ended well.
    pub finalized: usize,
    /// Those that failed for what their programs did.
    pub failed: usize,
    /// Those whose time was over.
    pub deadline: usize,
    /// Their steps.
    pub steps: u64,
    /// Files of members that were run again.
    pub replayed: usize,
    /// Steps that members decided.
    pub decisions: u64,
    /// Attempts at them after the first.
    pub retries: u64,
    /// Steps and ends of which a certificate was seen.
    pub certificates: usize,
    /// What the world was asked.
    pub outside: outside::Counts,
    /// Times that members said something else than the truth.
    pub lies: u64,
    /// Messages that were not let in.
    pub refused: u64,
    /// Times that somebody signed two things and an honest node heard both.
    pub contradictions: u64,
    /// Evidence that honest members kept.
    pub evidence: u64,
    /// Against how many nodes.
    pub accused: usize,
    /// Conflicts that more liars than a committee can bear brought about.
    pub conflicts: u64,
}

/// Runs a story of committees: things go wrong, then everything heals and must come to rest.
///
/// # Errors
/// When an invariant is broken, or the world does not come to rest.
pub(crate) fn play(scenario: &Scenario, seed: u64) -> Result<Report, Box<Violation>> {
    let members = scenario.nodes.clamp(committee::MEMBERS_MIN + 1, committee::MEMBERS_MAX);
    let people = scenario.persons.max(1);
    let mut world =
        World::new(&Plan { seed, members, people, link: Link::lossy(), trouble: TROUBLE });
    let mut author = Author {
        rng: SeededEntropy::new(seed ^ 0x3e55_10f5),
        world: &mut world,
        end_ms: scenario.minutes * 60_000,
        members,
        overrun: seed % OVERRUN_EVERY == OVERRUN_EVERY - 1,
    };
    author.write(scenario.story);
    world.run_until(Span::from_secs(scenario.minutes * 60))?;
    let settled_after = settle(&mut world)?;
    let found = invariants::at_rest(&mut world)
        .map_err(|(name, what)| Box::new(world.violation(name, what)))?;
    Ok(report(&world, scenario, found, settled_after))
}

fn settle(world: &mut World) -> Result<Span, Box<Violation>> {
    let begin = world.now.since(BEGINNING);
    world.heal();
    let mut after = Span::ZERO;
    while let Some(unrest) = invariants::unrest(world) {
        if after >= LIVENESS_MAX {
            return Err(Box::new(world.violation("every_session_ends", unrest)));
        }
        after = after + LIVENESS_STEP;
        world.run_until(begin + after)?;
    }
    Ok(after)
}

/// Plans what goes wrong.
struct Author<'a> {
    rng: SeededEntropy,
    world: &'a mut World,
    end_ms: u64,
    members: usize,
    /// Whether more lie than a committee can bear.
    overrun: bool,
}

impl Author<'_> {
    fn write(&mut self, story: Story) {
        let spare = self.members - committee::quorum(self.members).unwrap_or(self.members);
        if story == Story::WorkloadLiars {
            if self.overrun {
                let liars = self.between(spare as u64 + 1, self.members as u64 - 1);
                for node in self.choose(liars as usize) {
                    self.world.make_liar(node, Lie::Equivocate);
                }
                return self.crashes(1);
            }
            let mut lies = Lie::ALL.into_iter().cycle().skip(self.rng.below(6) as usize);
            for node in self.choose(spare) {
                let lie = lies.next().expect("a cycle has no end");
                self.world.make_liar(node, lie);
            }
        }
        self.crashes(spare);
        self.partitions();
    }

    /// Rounds of crashes, now and then of more members than a quorum can spare.
    fn crashes(&mut self, spare: usize) {
        let mut at = self.between(3_000, 15_000);
        while at < self.end_ms {
            let many = self.rng.below(6) == 0;
            let most = if many { self.members } else { spare };
            let victims = 1 + self.rng.below(most as u64) as usize;
            for node in self.choose(victims) {
                let commits = self.rng.below(12);
                let at = at + self.between(0, 3_000);
                self.plan(at, Strike::Crash { node, commits });
            }
            at += self.between(4_000, 20_000);
        }
    }

    fn partitions(&mut self) {
        let mut at = self.between(10_000, 40_000);
        while at < self.end_ms {
            let share = self.between(10, 50);
            let apart = (0..self.members + DOORS).map(|_| self.rng.below(100) < share).collect();
            self.plan(at, Strike::Split { apart });
            at += self.between(2_000, 20_000);
            self.plan(at, Strike::Heal);
            at += self.between(10_000, 40_000);
        }
    }

    fn choose(&mut self, count: usize) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.members).collect();
        let mut one = |_| left.swap_remove(self.rng.below(left.len() as u64) as usize);
        (0..count.min(self.members)).map(&mut one).collect()
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.rng.below(most - least + 1)
    }

    fn plan(&mut self, at_ms: u64, strike: Strike) {
        self.world.plan(Span::from_millis(at_ms), strike);
    }
}

fn report(world: &World, scenario: &Scenario, found: Found, settled_after: Span) -> Report {
    let (counts, witness) = (world.counts, &world.witness);
    let liars = world.nodes.iter().filter_map(|node| node.liar.as_ref());
    let summary = Summary {
        finalized: found.finalized,
        failed: found.failed,
        deadline: found.deadline,
        steps: found.steps,
        replayed: found.replayed,
        decisions: witness.decisions,
        retries: witness.retries,
        certificates: witness.certificates(),
        outside: world.outside.counts,
        lies: liars.map(|liar| liar.told).sum(),
        refused: counts.refused,
        contradictions: witness.overheard.values().sum(),
        evidence: witness.evidence,
        accused: witness.accused.len(),
        conflicts: counts.conflicts,
    };
    let faults = FaultCounts {
        crashes: counts.crashes,
        splits: counts.splits,
        byzantine: world.liars() as u64,
        ..FaultCounts::default()
    };
    Report {
        story: scenario.story,
        seed: world.seed,
        digest: world.digest(),
        nodes: world.members,
        persons: scenario.persons,
        simulated: world.now.since(BEGINNING),
        settled_after,
        events: world.events(),
        checks: counts.checks,
        traffic: counts.traffic,
        faults,
        penalties: counts.blamed,
        tally: Tally::default(),
        acknowledged: found.finalized,
        retrieved: found.replayed,
        deleted: 0,
        chain: None,
        coordination: None,
        workload: Some(summary),
        messaging: None,
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { finalized, failed, deadline, steps, replayed, .. } = self;
        writeln!(
            f,
            "  sessions      {finalized} finalized, {failed} failed, {deadline} ran out of time; \
             {steps} steps; {replayed} files run again"
        )?;
        let Self { decisions, retries, certificates, .. } = self;
        writeln!(
            f,
            "  agreement     {decisions} decisions of members, {retries} attempts more than one \
             each, {certificates} certificates seen"
        )?;
        let outside::Counts { reads, writes, effects, failed } = self.outside;
        writeln!(
            f,
            "  the world     {reads} reads, {writes} writes with {effects} effects, {failed} \
             questions without an answer"
        )?;
        let Self { lies, refused, contradictions, evidence, accused, conflicts, .. } = self;
        writeln!(
            f,
            "  liars         {lies} lies, {refused} messages not let in, {contradictions} \
             contradictions overheard, {evidence} times evidence against {accused} nodes, \
             {conflicts} conflicts"
        )
    }
}

#[cfg(test)]
mod tests;
