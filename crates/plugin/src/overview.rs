//! What the page and the figures tell of epochs, swarms, penalties and accusations.

use std::collections::BTreeMap;

use session_core::{NodeId, SwarmId, Time};
use session_protocol::schedule::Schedule;
use session_rpc::vm::rfc3339;
use session_vm::query;
use session_vm::records::{CaseStatus, Cases, Failing, Mark, Marks, NodeStatus, Nodes};
use session_vm::state::State;

use crate::api::{mode, phase};
use crate::page::Table;

/// Rows of each table.
const ROWS_MAX: usize = 50;

/// Returns what the page says of the epoch.
pub(crate) fn facts(state: &State, now: Time) -> Vec<(&'static str, String)> {
    let (epoch, params) = (query::epoch(state), query::params(state));
    let schedule = Schedule { start: epoch.start, length: params.epoch };
    let counts = Counts::of(state);
    vec![
        (
            "epoch",
            format!(
                "{}, {} quarter, until {}",
                epoch.number,
                phase(schedule.phase(now)).word(),
                rfc3339::format(schedule.end())
            ),
        ),
        ("beacon", format!("{} ({})", epoch.beacon, mode(epoch.mode).word())),
        ("service nodes", format!("{} in {} swarms", counts.seats, counts.swarms)),
        ("open accusations", counts.open_cases.to_string()),
        ("treasury", format!("{} LUX", query::treasury(state))),
    ]
}

/// Returns the tables of the page.
pub(crate) fn tables(state: &State) -> Vec<Table> {
    [swarms(state), penalties(state), cases(state)]
        .into_iter()
        .filter(|table| !table.rows.is_empty())
        .collect()
}

/// What there is how often.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) seats: u64,
    pub(crate) swarms: u64,
    pub(crate) open_cases: u64,
    pub(crate) slashed: u64,
    pub(crate) missing: u64,
}

impl Counts {
    pub(crate) fn of(state: &State) -> Self {
        let mut counts = Self::default();
        let mut last = None;
        for (swarm, _) in query::active_nodes(state) {
            counts.seats += 1;
            counts.swarms += u64::from(last.replace(swarm) != Some(swarm));
        }
        let cases = query::entries::<Cases>(state);
        counts.open_cases =
            cases.filter(|(_, case)| case.status == CaseStatus::Open).count() as u64;
        let slashed = |status| matches!(status, NodeStatus::Slashed { .. });
        let nodes = query::entries::<Nodes>(state);
        counts.slashed = nodes.filter(|(_, node)| slashed(node.status)).count() as u64;
        counts.missing =
            last_marks(state).values().filter(|mark| mark.failings != 0).count() as u64;
        counts
    }
}

/// Returns how each node did in the last epoch of which there is a mark.
fn last_marks(state: &State) -> BTreeMap<NodeId, Mark> {
    // In the order of epochs: the last one stays.
    query::entries::<Marks>(state).map(|(at, mark)| (at.node, mark)).collect()
}

fn short(id: &impl ToString) -> String {
    id.to_string().chars().take(16).collect()
}

fn cut(name: &'static str, head: &'static [&'static str], mut rows: Vec<Vec<String>>) -> Table {
    let left_out = rows.len().saturating_sub(ROWS_MAX);
    rows.truncate(ROWS_MAX);
    let note = (left_out > 0).then(|| format!("{left_out} more"));
    Table { name, head, rows, note }
}

fn swarms(state: &State) -> Table {
    let mut members: BTreeMap<SwarmId, Vec<NodeId>> = BTreeMap::new();
    for (swarm, node) in query::active_nodes(state) {
        members.entry(swarm).or_default().push(node);
    }
    let row = |(swarm, nodes): (SwarmId, Vec<NodeId>)| {
        let names: Vec<String> = nodes.iter().map(short).collect();
        vec![swarm.to_string(), nodes.len().to_string(), names.join(" ")]
    };
    cut("Swarms", &["swarm", "members", "nodes"], members.into_iter().map(row).collect())
}

fn penalties(state: &State) -> Table {
    let mut rows = Vec::new();
    for (at, mark) in query::entries::<Marks>(state).filter(|(_, mark)| mark.failings != 0) {
        let failings: Vec<&str> =
            Failing::of(mark.failings).into_iter().map(Failing::name).collect();
        rows.push((
            at.epoch,
            vec![
                at.epoch.to_string(),
                short(&at.node),
                failings.join(", "),
                mark.misses.to_string(),
                format!("{} LUX", mark.penalty),
            ],
        ));
    }
    rows.sort_by_key(|(epoch, _)| core::cmp::Reverse(*epoch));
    let rows = rows.into_iter().map(|(_, row)| row).collect();
    cut("Misses", &["epoch", "node", "what", "in a row", "penalty"], rows)
}

fn cases(state: &State) -> Table {
    let mut rows: Vec<_> = query::entries::<Cases>(state).collect();
    rows.sort_by_key(|(_, case)| core::cmp::Reverse(case.opened));
    let row = |(id, case): (session_core::Digest, session_vm::records::Case)| {
        vec![
            short(&id),
            short(&case.accused),
            case.kind.name().to_owned(),
            case.status.name().to_owned(),
            rfc3339::format(case.until),
        ]
    };
    let rows = rows.into_iter().map(row).collect();
    cut("Accusations", &["case", "accused", "of", "status", "until"], rows)
}
