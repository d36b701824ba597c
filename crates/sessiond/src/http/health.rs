//! How the node is, in one word and some numbers.

use serde_json::{Value, json};

use super::Api;
use crate::shell::{NoReply, Status};

/// Returns the HTTP status and the body.
pub(super) fn report(api: &Api, status: Result<Status, NoReply>) -> (u16, Value) {
    let uptime = u64::try_from(api.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut json = json!({
        "node": api.handle.node().to_string(),
        "network": api.network,
        "swarm": api.swarm.to_string(),
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_ms": uptime,
    });
    let (word, reasons) = match &status {
        Ok(status) => judge(status),
        Err(NoReply::Stopping) => ("draining", Vec::new()),
        Err(NoReply::Busy) => ("degraded", vec!["the main loop does not answer".to_owned()]),
    };
    json["status"] = word.into();
    json["reasons"] = reasons.into();
    if let Ok(status) = status {
        let health = &status.health;
        json["members"] = health.swarm.members.into();
        json["members_up"] = health.swarm.members_up.into();
        json["quorum"] = health.swarm.quorum.into();
        json["items"] = health.store.items.into();
    }
    (if word == "ok" { 200 } else { 503 }, json)
}

fn judge(status: &Status) -> (&'static str, Vec<String>) {
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
