//! `session sim`: the network in the simulator.

use std::time::Instant;

use serde_json::json;
use session_sim::Options;

use crate::args::Sim;
use crate::exit::{Failure, Result};
use crate::out::Out;

/// Even a small network has people enough to disagree about what they were promised.
const PERSONS_MIN: usize = 12;

/// Members of a swarm; only committees are smaller.
const NODES_MIN: usize = 10;

/// One person for so many nodes of a large network.
const NODES_PER_PERSON: usize = 3;

pub(crate) fn run(out: Out, args: &Sim) -> Result<()> {
    let nodes = args.nodes as usize;
    if nodes < NODES_MIN && !args.scenario.is_of_committees() {
        let name = args.scenario.name();
        return Err(Failure::usage(format!("{name} needs at least {NODES_MIN} nodes: a swarm")));
    }
    let options = Options {
        seed: args.seed,
        nodes,
        persons: (nodes / NODES_PER_PERSON).max(PERSONS_MIN),
        minutes: args.hours.map_or(args.minutes, |hours| hours * 60).into(),
        story: args.scenario,
    };
    let started = now();
    let report = session_sim::run(&options).map_err(Failure::failed)?;
    let took = started.elapsed();
    out.result(
        || format!("{report}\ntook {:.1} s", took.as_secs_f64()),
        || {
            json!({
                "scenario": report.story.name(),
                "seed": report.seed,
                "digest": report.digest.to_string(),
                "nodes": report.nodes,
                "persons": report.persons,
                "simulated_ms": report.simulated.as_millis(),
                "events": report.events,
                "checks": report.checks,
                "acknowledged": report.acknowledged,
                "retrieved": report.retrieved,
                "wall_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            })
        },
    );
    Ok(())
}

#[allow(clippy::disallowed_methods, reason = "how long a simulation takes is the user's question")]
fn now() -> Instant {
    Instant::now()
}
