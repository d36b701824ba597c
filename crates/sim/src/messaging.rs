//! People who talk: their devices, their groups, and a network that does its worst.
//!
//! Every device is the true messenger with the true client, over a vault that knows what is not
//! committed yet; the nodes are those of all stories. Devices crash and come back, the network loses
//! and delays and falls apart, nodes crash or lie. Meanwhile people write to each other, make groups,
//! invite, remove and leave, change groups at the same time, link second devices and exclude them.
//!
//! Keys and signatures of people are real here. Those of nodes are fakes, as everywhere.
//!
//! | module | holds |
//! |---|---|
//! | [`device`] | messenger and client with a shell |
//! | `journal` | the vault, which a crash takes back |
//! | `people` | what people do |
//! | `accidents` | devices that go back in time, and copies of devices |
//! | `witness` | who said what to whom, and what must be shown where |

mod accidents;
pub mod device;
mod journal;
mod people;
mod witness;

use std::collections::BTreeMap;
use std::fmt;

use session_core::{Entropy, SeededEntropy, Span};
use session_messaging::group::Rotation;
use session_messaging::messenger::Config;

use crate::fault::Fault;
use crate::host::BEGINNING;
use crate::run::{self, Report};
use crate::scenario::Scenario;
use crate::violation::Violation;
use crate::world::World;

use people::People;

/// How long everything may take to come to rest after it healed.
const LIVENESS_MAX: Span = Span::from_secs(20 * 60);
/// Time between two looks at whether it has.
const LIVENESS_STEP: Span = Span::from_secs(10);

/// What a run of people who talk came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Texts said.
    pub said: usize,
    /// Those that had to be shown somewhere, counted for each device, and were.
    pub shown: usize,
    /// Those that did not have to be, for a reason.
    pub excused: usize,
    /// Groups of more than two.
    pub groups: usize,
    /// Second devices that were linked.
    pub linked: usize,
    /// Devices that were excluded.
    pub excluded: usize,
    /// Devices that were taken back to an old image.
    pub rolled_back: usize,
    /// Accounts that were removed or left.
    pub removed: usize,
    /// The furthest epoch of any conversation.
    pub epochs: u64,
    /// Commands answered with an error, by the error.
    pub refusals: BTreeMap<String, usize>,
    /// What devices warned of.
    pub warnings: BTreeMap<String, usize>,
}

/// Returns how many devices so many people may have, and how they behave.
pub(crate) fn devices(people: usize) -> (usize, Config) {
    let rotation = Rotation {
        messages: 12,
        age: Span::from_secs(600),
        idle: Span::from_secs(120),
        ..Rotation::default()
    };
    let config = Config { rotation, receipt_delay: Span::from_secs(5), read_receipts: true };
    (people + people.div_ceil(2), config)
}

/// Runs a story of people who talk: things go wrong, then everything heals and must come to rest.
///
/// # Errors
/// When an invariant is broken, or the world does not come to rest.
pub(crate) fn play(scenario: &Scenario, seed: u64) -> Result<Report, Box<Violation>> {
    let mut world = scenario.world(seed);
    let mut rng = SeededEntropy::new(seed ^ 0x7a1c_5eed);
    let end = Span::from_secs(scenario.minutes * 60);
    crashes(&mut world, scenario, &mut rng);
    let mut people = People::new(scenario.persons.max(2), scenario.habits.rolls_back, rng);
    let settled_after = act_out(&mut world, &mut people, end).map_err(|mut violation| {
        violation.events = format!("{}{}", people.log(), violation.events);
        violation
    })?;
    let mut report = run::report(&world, scenario, seed, settled_after);
    let summary = people.summary(&world);
    report.persons = scenario.persons;
    report.acknowledged = summary.said;
    report.retrieved = summary.shown;
    report.messaging = Some(summary);
    Ok(report)
}

fn act_out(world: &mut World, people: &mut People, end: Span) -> Result<Span, Box<Violation>> {
    people.move_in(world)?;
    people.live(world, end)?;
    let settled_after = settle(world, people)?;
    people.at_rest(world)?;
    Ok(settled_after)
}

/// Devices crash, often in the middle of something, and come back.
fn crashes(world: &mut World, scenario: &Scenario, rng: &mut SeededEntropy) {
    let end_ms = scenario.minutes * 60_000;
    for device in 0..world.devices().len() {
        let node = world.host_of_device(device);
        let mut at = 20_000 + rng.below(60_000);
        while at < end_ms {
            world.plan(Span::from_millis(at), Fault::Crash { node, disk_lost: false });
            at += 500 + rng.below(40_000);
            world.plan(Span::from_millis(at), Fault::Restart { node });
            at += 20_000 + rng.below(120_000);
        }
    }
}

fn settle(world: &mut World, people: &mut People) -> Result<Span, Box<Violation>> {
    let begin = world.now().since(BEGINNING);
    people.fall_silent(world);
    world.heal();
    let mut after = Span::ZERO;
    while let Some(unrest) = people.unrest(world) {
        if after >= LIVENESS_MAX {
            return Err(Box::new(world.violation("conversations_come_to_rest", unrest)));
        }
        after = after + LIVENESS_STEP;
        people.live(world, begin + after)?;
    }
    Ok(after)
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { said, shown, excused, groups, removed, epochs, .. } = self;
        writeln!(
            f,
            "  texts         {said} said, {shown} times shown to others, {excused} times excused"
        )?;
        writeln!(f, "  groups        {groups} made, {removed} removals, up to epoch {epochs}")?;
        let Self { linked, excluded, rolled_back, .. } = self;
        writeln!(
            f,
            "  devices       {linked} linked, {excluded} excluded, {rolled_back} rolled back"
        )?;
        for (what, times) in &self.refusals {
            writeln!(f, "  refused       {times} times: {what}")?;
        }
        for (what, times) in &self.warnings {
            writeln!(f, "  warned        {times} times: {what}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
