//! How the node is, in one word and some numbers.

use std::time::Duration;

use serde_json::{Value, json};
use session_core::NodeId;
use session_protocol::chain::view::ChainView;
use session_protocol::schedule::Phase;
use session_swarm::coordinator::Done;

use super::{Api, Of, OfChain};
use crate::chain::facts;
use crate::chain::publish::Seen;
use crate::shell::{NoReply, Status};
use crate::workload::Stats;

/// How much later than an epoch's end its turn may be seen: blocks are made and fetched in between.
const STALE_AFTER: Duration = Duration::from_secs(30);

/// A word for how the node is, and why it is not `ok`.
type Judgement = (&'static str, Vec<String>);

/// Returns the HTTP status and the body.
pub(super) fn report(api: &Api, status: Result<Status, NoReply>) -> (u16, Value) {
    let uptime = u64::try_from(api.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut json = json!({
        "node": api.node.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_ms": uptime,
    });
    let own = match &status {
        Ok(status) => judge(status),
        Err(NoReply::Stopping) => ("draining", Vec::new()),
        Err(NoReply::Starting) => {
            ("starting", vec!["blocks of the chain are being fetched".to_owned()])
        }
        Err(NoReply::Busy) => ("degraded", vec!["the main loop does not answer".to_owned()]),
    };
    let (word, reasons) = match &api.of {
        Of::File { name, swarm } => {
            (json["network"], json["swarm"]) = (name.as_str().into(), swarm.to_string().into());
            own
        }
        Of::Chain(chain) => {
            let seen = chain.following.publisher().last();
            let swarm = seen.view.roster.swarm_of(&api.node);
            json["network"] = session_vm::query::chain(&seen.tip.state).name.to_string().into();
            json["swarm"] = swarm.map(|swarm| swarm.to_string()).into();
            json["chain"] = of_chain(chain, &seen, &api.node, status.as_ref().ok());
            if let Some(lie) = chain.lie {
                json["lie"] = format!("{lie:?}").into();
            }
            judge_chain(chain, &seen, &api.node, own)
        }
    };
    json["status"] = word.into();
    json["reasons"] = reasons.into();
    if let Ok(status) = status {
        let health = &status.health;
        json["members"] = health.swarm.members.into();
        json["onions"] = health.onions.as_ref().map(onions).into();
        json["members_up"] = health.swarm.members_up.into();
        json["quorum"] = health.swarm.quorum.into();
        json["items"] = health.store.items.into();
        json["stores_waiting"] = health.swarm.waiting.into();
        json["sessions"] = status.sessions.as_ref().map(sessions).into();
    }
    (if word == "ok" { 200 } else { 503 }, json)
}

/// How workload sessions are: those here now, and what was done since the start.
fn sessions(stats: &Stats) -> Value {
    json!({
        "pending": stats.pending,
        "running": stats.running,
        "waiting_io": stats.waiting_io,
        "ended": stats.finalized + stats.failed,
        "failed": stats.failed,
        "rounds": stats.rounds,
        "retries": stats.retries,
        "fetches": stats.fetches,
        "fetches_failed": stats.fetches_failed,
    })
}

/// What a node says of itself as a hop: sums, nothing of anybody.
fn onions(stats: &session_daemon::relay::Stats) -> Value {
    json!({
        "epoch": stats.epoch.0,
        "nodes_known": stats.nodes_known,
        "forwarded": stats.forwarded,
        "delivered": stats.delivered,
        "answered": stats.answered,
        "refused": stats.refused,
        "dropped": stats.full + stats.unreachable,
        "circuits": stats.circuits,
        "taken": stats.taken,
        "taken_max": stats.packets_max,
    })
}

fn judge(status: &Status) -> Judgement {
    let swarm = &status.health.swarm;
    let mut reasons = Vec::new();
    if let Some(why) = &status.failed {
        reasons.push(format!("the disk failed a write: {why}"));
    }
    if !swarm.writable {
        reasons.push("the store takes no new items".to_owned());
    }
    if swarm.members_up < swarm.quorum {
        let (up, members, quorum) = (swarm.members_up, swarm.members, swarm.quorum);
        reasons.push(format!("{up} of {members} members reachable, {quorum} needed"));
    }
    let word = match (&status.failed, reasons.is_empty()) {
        (Some(_), _) => "degraded",
        (None, _) if swarm.draining => "draining",
        (None, true) => "ok",
        (None, false) if !status.seen_quorum => "starting",
        (None, false) => "degraded",
    };
    (word, reasons)
}

/// What the chain adds: a node without a seat waits, one that sees no new blocks is in trouble.
fn judge_chain(chain: &OfChain, seen: &Seen, node: &NodeId, own: Judgement) -> Judgement {
    let following = &chain.following;
    let (mut word, mut reasons) = own;
    let mut trouble = Vec::new();
    if let Some(why) = following.halted() {
        trouble.push(format!("the chain is not followed: {why}"));
    } else {
        let standings = following.standings();
        if standings.iter().all(|standing| standing.fault.is_some()) {
            for standing in standings {
                let why = standing.fault.unwrap_or_default();
                trouble.push(format!("the source {}: {why}", standing.name));
            }
        }
        let late = following.local().now().since(seen.view.epoch.schedule.end());
        if Duration::from(late) > STALE_AFTER {
            trouble.push(format!(
                "epoch {} ended {} s ago, and no block of the next one came",
                seen.view.epoch.number,
                late.as_millis() / 1000
            ));
        }
    }
    if !trouble.is_empty() && word != "draining" {
        word = if following.is_synced() { "degraded" } else { "starting" };
    }
    reasons.extend(trouble);
    if word != "draining" && !seen.view.seats.contains_key(node) {
        // Of a swarm that it is not in, it needs no member.
        reasons.retain(|reason| !reason.contains("members reachable"));
        reasons.extend(facts::why_no_seat(seen, node));
        if matches!(word, "ok" | "starting") && following.is_synced() {
            word = "waiting";
        }
    }
    (word, reasons)
}

fn of_chain(chain: &OfChain, seen: &Seen, node: &NodeId, status: Option<&Status>) -> Value {
    let following = &chain.following;
    let now = following.local().now();
    let sources: Vec<Value> = following
        .standings()
        .into_iter()
        .map(|standing| {
            json!({
                "at": standing.name,
                "height": standing.height,
                "fault": standing.fault,
                "lied": standing.lied,
            })
        })
        .collect();
    let health = status.and_then(|status| status.health.chain.as_ref());
    let handing = health.and_then(|chain| chain.handing_over.as_ref()).map(super::network::handing);
    let duties = health.and_then(|chain| chain.duties.as_ref());
    json!({
        "id": following.local().id().to_string(),
        "height": seen.tip.block.height,
        "age_ms": now.since(seen.tip.block.time).as_millis(),
        "synced": following.is_synced(),
        "epoch": facts::epoch(seen, now),
        "registered": facts::node(seen, node),
        "handing_over": handing,
        "done": duties.map(|duties| done(&duties.done)),
        "next": duties.map(|duties| next(&seen.view, node, &duties.done, now)),
        "certificate": chain.certificates.last(),
        "sources": sources,
    })
}

fn done(done: &Done) -> Value {
    json!({
        "registered": done.registered,
        "dealt": done.dealt,
        "acknowledged": done.acknowledged,
        "revealed": done.revealed,
        "committed": done.committed,
        "voted": done.voted,
    })
}

/// Returns what the node has still to do in this epoch, and in which quarter.
fn next(view: &ChainView, node: &NodeId, done: &Done, now: session_core::Time) -> Vec<String> {
    let phase = view.epoch.schedule.phase(now);
    let (seated, dealer) = (view.seats.contains_key(node), view.beacon.dealers.contains(node));
    let all = [
        (seated && !done.registered, Phase::Recover, "register one-time secrets"),
        (dealer && !done.dealt, Phase::Deal, "deal for the next beacon"),
        (seated && !done.committed, Phase::Ack, "commit to what it keeps"),
        (dealer && !done.acknowledged, Phase::Ack, "acknowledge shares"),
        (dealer && done.dealt && !done.revealed, Phase::Reveal, "reveal"),
        (seated && !done.voted, Phase::Recover, "vote about its targets"),
    ];
    all.into_iter()
        .filter(|(due, last, _)| *due && phase <= *last)
        .map(|(_, last, what)| format!("{what} ({})", facts::phase(last)))
        .collect()
}
