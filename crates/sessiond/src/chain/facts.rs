//! What the chain says of nodes, for people: in our words, the reference's and the proposal's.

use serde_json::{Value, json};
use session_core::{Epoch, NodeId, Time};
use session_protocol::chain::view::ChainView;
use session_protocol::schedule::Phase;
use session_vm::query;
use session_vm::records::{
    Cases, EPOCHS_KEPT, Failing, FormerSeats, Mark, MarkAt, Marks, NodeStatus, ServiceNode,
};
use session_vm::state::State;

use super::publish::Seen;

/// Why a node does not serve, and what its operator can do.
pub(crate) fn why_no_seat(seen: &Seen, node: &NodeId) -> Option<String> {
    let state = &seen.tip.state;
    let Some((_, record)) = query::node(state, node) else {
        return Some(format!(
            "node {node} is not registered on the chain: sessiond register does it"
        ));
    };
    Some(match record.status {
        NodeStatus::Registered => {
            let params = query::params(state);
            let registered = epoch_of(state, record.registered);
            let from = registered.0 + u64::from(params.activation_epochs);
            format!("registered: it gets a seat with epoch {from} or a later one")
        }
        NodeStatus::Decommissioning { until } => {
            format!("decommissioned: its stake is free at {until}")
        }
        NodeStatus::Retired { .. } => "retired: register new keys to serve again".to_owned(),
        NodeStatus::Slashed { until } => {
            format!("slashed: what is left of its stake is free at {until}")
        }
        NodeStatus::Active { .. } | NodeStatus::Suspended { .. } | NodeStatus::Leaving { .. } => {
            return None;
        }
    })
}

fn epoch_of(state: &State, time: Time) -> Epoch {
    let passed = time.since(query::chain(state).genesis).as_millis();
    Epoch(passed / query::params(state).epoch.as_millis().max(1))
}

/// Returns the epoch: its place in time, and how far the next beacon is.
pub(crate) fn epoch(seen: &Seen, now: Time) -> Value {
    let (view, schedule) = (&seen.view, &seen.view.epoch.schedule);
    let passed = now.since(schedule.start).as_millis().min(schedule.length.as_millis());
    let beacon = &view.beacon;
    json!({
        "number": view.epoch.number.0,
        "start": schedule.start.as_millis(),
        "length_ms": schedule.length.as_millis(),
        "passed_ms": passed,
        "phase": phase(schedule.phase(now)),
        "mode": format!("{:?}", view.epoch.mode).to_lowercase(),
        "beacon": view.epoch.beacon.to_string(),
        "next_beacon": {
            "dealers": beacon.dealers.len(),
            "dealt": beacon.dealings.len(),
            "acknowledged": beacon.acknowledged.len(),
            "valid": beacon.valid().len(),
            "revealed": beacon.revealed.len(),
            "shares_shown": beacon.shown.len(),
        },
    })
}

/// Returns what people call a quarter of an epoch.
pub(crate) const fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Deal => "deal",
        Phase::Ack => "acknowledge",
        Phase::Reveal => "reveal",
        Phase::Recover => "recover",
    }
}

/// Returns a node as the chain has it.
pub(crate) fn node(seen: &Seen, id: &NodeId) -> Option<Value> {
    let (id, record) = query::node(&seen.tip.state, id)?;
    Some(describe(seen, &id, &record))
}

fn describe(seen: &Seen, id: &NodeId, record: &ServiceNode) -> Value {
    let (state, view) = (&seen.tip.state, &seen.view);
    let seat = record.status.seat();
    let committed = view.commitments.get(id).copied().unwrap_or_default();
    let marks = marks(state, view, id);
    let paid: u64 = marks.iter().map(|(_, mark)| mark.penalty.0).sum();
    json!({
        "node": id.to_string(),
        "endpoint": record.endpoint.to_string(),
        "operator": record.operator.to_string(),
        "status": record.status.name(),
        "seed_status": NodeStatus::seed(Some(&record.status)).to_string(),
        "lp_status": record.status.lp().to_string(),
        "swarm": seat.map(|seat| seat.swarm.to_string()),
        "since_epoch": seat.map(|seat| seat.since.0),
        "uptime_bps": record.uptime_bps,
        "last_ping": record.last_ping.as_millis(),
        "misses": record.misses,
        "stake": record.stake.to_string(),
        "stake_original": record.stake_original.to_string(),
        "lost_bps": record.lost_bps,
        "paid_lately": session_protocol::chain::Amount(paid).to_string(),
        "away": record.is_away(view.epoch.number),
        "dealer": view.beacon.dealers.contains(id),
        "voted": view.voted.contains(id),
        "committed": committed.current.map(|commitment| commitment.count),
        "audited": committed.previous.map(|commitment| commitment.count),
        "marks": marks.iter().map(|(epoch, mark)| mark_json(*epoch, mark)).collect::<Vec<_>>(),
    })
}

fn marks(state: &State, view: &ChainView, node: &NodeId) -> Vec<(Epoch, Mark)> {
    let current = view.epoch.number.0;
    (current.saturating_sub(EPOCHS_KEPT)..current)
        .map(Epoch)
        .filter_map(|epoch| {
            query::get::<Marks>(state, &MarkAt { node: *node, epoch }).map(|mark| (epoch, mark))
        })
        .collect()
}

fn mark_json(epoch: Epoch, mark: &Mark) -> Value {
    let failed: Vec<&str> = Failing::of(mark.failings).into_iter().map(Failing::name).collect();
    let penalty = (mark.penalty.0 > 0).then(|| mark.penalty.to_string());
    json!({
        "epoch": epoch.0,
        "failed": failed,
        "reach": [mark.reach.assigned, mark.reach.passed, mark.reach.failed],
        "keep": [mark.keep.assigned, mark.keep.passed, mark.keep.failed],
        "penalty": penalty,
    })
}

/// Returns the whole network, for the page.
pub(crate) fn network(seen: &Seen, now: Time) -> Value {
    let (state, view) = (&seen.tip.state, &seen.view);
    let nodes: Vec<Value> = query::nodes(state, None, usize::MAX)
        .iter()
        .map(|(id, node)| describe(seen, id, node))
        .collect();
    let swarms: Vec<Value> = view
        .roster
        .swarms()
        .iter()
        .map(|(swarm, members)| {
            let members: Vec<String> = members.iter().map(ToString::to_string).collect();
            json!({ "swarm": swarm.to_string(), "members": members })
        })
        .collect();
    let moved: Vec<Value> = query::entries::<FormerSeats>(state)
        .map(|(node, former)| {
            let to = view.roster.swarm_of(&node).map(|swarm| swarm.to_string());
            json!({ "node": node.to_string(), "from": former.to_string(), "to": to })
        })
        .collect();
    let cases: Vec<Value> = query::entries::<Cases>(state)
        .map(|(id, case)| {
            json!({
                "case": id.to_string(),
                "accused": case.accused.to_string(),
                "kind": case.kind.name(),
                "status": case.status.name(),
                "opened": case.opened.as_millis(),
                "until": case.until.as_millis(),
            })
        })
        .collect();
    json!({
        "network": query::chain(state).name.to_string(),
        "chain": view.chain.to_string(),
        "height": view.height,
        "time": view.time.as_millis(),
        "now": now.as_millis(),
        "treasury": query::treasury(state).to_string(),
        "epoch": epoch(seen, now),
        "swarms": swarms,
        "nodes": nodes,
        "moved": moved,
        "cases": cases,
    })
}
