//! How the node is, for people: what the node itself says, or the chain if it does not run.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use session_crypto::Identity;
use session_runtime::failure::{Failure, Result};
use session_runtime::http::client::{Client, Endpoint, Options};
use session_runtime::program::say;

use super::ledger::Ledger;
use crate::args::OnChain;

/// The node answers within two seconds, or not at all.
const PATIENCE: Duration = Duration::from_secs(3);

/// Returns the health of the node that answers there, if one does.
pub(crate) async fn health(http: SocketAddr) -> Option<Value> {
    let endpoint = Endpoint::parse(&format!("http://{http}")).ok()?;
    let options = Options { total_timeout: PATIENCE, ..Options::default() };
    let (_, body) = Client::new(endpoint, options).get("/health").await.ok()?;
    serde_json::from_slice::<Value>(&body).ok().filter(|health| health["node"].is_string())
}

pub(super) async fn run(
    node: &Identity,
    http: SocketAddr,
    chain: Option<&OnChain>,
    json: bool,
) -> Result<()> {
    let id = node.public().node_id().to_string();
    let running = health(http).await.filter(|health| health["node"] == id);
    if let Some(health) = running {
        return say(&if json { health.to_string() } else { tell_running(&health) });
    }
    let Some(chain) = chain else {
        let why = format!("node {id} does not answer at http://{http}; --chain asks the chain");
        return Err(Failure::runtime(why));
    };
    let ledger = Ledger::open(chain).await?;
    let said = ledger.node(&node.public().node_id()).await?;
    if json {
        return say(&json!({ "node": id, "running": false, "registered": said }).to_string());
    }
    say(&tell_stopped(&id, said.as_ref()))
}

/// What the node that runs says, from blocks that it checked itself.
fn tell_running(health: &Value) -> String {
    let mut out = String::new();
    line(&mut out, "node", text(&health["node"]));
    line(&mut out, "running", format!("{}, {}", text(&health["version"]), text(&health["status"])));
    for reason in health["reasons"].as_array().into_iter().flatten() {
        line(&mut out, "", text(reason));
    }
    let onions = &health["onions"];
    if onions.is_object() {
        let (nodes, taken, max) = (&onions["nodes_known"], &onions["taken"], &onions["taken_max"]);
        let what = format!("hop and exit; {nodes} nodes known, {taken} of {max} packets taken");
        line(&mut out, "onions", what);
    }
    let chain = &health["chain"];
    if !chain.is_object() {
        line(&mut out, "network", format!("{} (of a network file)", text(&health["network"])));
        return out.trim_end().to_owned();
    }
    line(&mut out, "network", text(&health["network"]));
    line(&mut out, "block", format!("{}, {} s old", chain["height"], seconds(&chain["age_ms"])));
    let epoch = &chain["epoch"];
    line(
        &mut out,
        "epoch",
        format!(
            "{}, {} ({} of {} s), beacon {}",
            epoch["number"],
            text(&epoch["phase"]),
            seconds(&epoch["passed_ms"]),
            seconds(&epoch["length_ms"]),
            text(&epoch["mode"]),
        ),
    );
    let record = &chain["registered"];
    if record.is_object() {
        tell_record(&mut out, record);
    }
    if let Some(moved) = chain["handing_over"].as_object() {
        line(&mut out, "hand-over", Value::Object(moved.clone()).to_string());
    }
    let next = chain["next"].as_array().into_iter().flatten().map(text);
    let next: Vec<String> = next.collect();
    if !next.is_empty() {
        line(&mut out, "next duties", next.join(", "));
    }
    out.trim_end().to_owned()
}

fn tell_record(out: &mut String, record: &Value) {
    line(
        out,
        "status",
        format!(
            "{} (reference: {}, proposal: {})",
            text(&record["status"]),
            text(&record["seed_status"]),
            text(&record["lp_status"]),
        ),
    );
    let seat = match record["swarm"].as_str() {
        Some(swarm) => format!("swarm {swarm} since epoch {}", record["since_epoch"]),
        None => "none".to_owned(),
    };
    line(out, "seat", seat);
    line(out, "reached at", text(&record["endpoint"]));
    let uptime = record["uptime_bps"].as_u64().unwrap_or_default();
    let percent = format!("{}.{:02} %", uptime / 100, uptime % 100);
    line(out, "uptime", format!("{percent}, {} misses in a row", record["misses"]));
    line(
        out,
        "stake",
        format!("{} of {} LUX", text(&record["stake"]), text(&record["stake_original"]),),
    );
}

fn tell_stopped(id: &str, said: Option<&Value>) -> String {
    let mut out = String::new();
    line(&mut out, "node", id.to_owned());
    line(&mut out, "running", "no; the rest is what a source of the chain says".to_owned());
    let Some(said) = said else {
        line(&mut out, "status", "not registered (reference: unknown)".to_owned());
        return out.trim_end().to_owned();
    };
    let names = &said["statusNames"];
    let words = if names.is_object() { format!(" {names}") } else { String::new() };
    line(&mut out, "status", format!("{}{words}", text(&said["status"])));
    line(&mut out, "seat", said["swarmId"].as_str().map_or("none", |swarm| swarm).to_owned());
    line(&mut out, "reached at", text(&said["endpoint"]));
    line(
        &mut out,
        "uptime",
        format!("{} of 10000, {} misses in a row", said["uptimeScore"], said["misses"]),
    );
    line(
        &mut out,
        "stake",
        format!("{} of {}", text(&said["stake"]), text(&said["originalStake"])),
    );
    out.trim_end().to_owned()
}

fn line(out: &mut String, name: &str, value: String) {
    // Writing to a String cannot fail.
    let _ = writeln!(out, "{name:<12} {value}");
}

fn text(value: &Value) -> String {
    match value.as_str() {
        // What others wrote must not steer the terminal.
        Some(text) => text.chars().filter(|character| !character.is_control()).collect(),
        None => value.to_string(),
    }
}

fn seconds(value: &Value) -> String {
    value.as_u64().map_or("?".to_owned(), |ms| (ms / 1000).to_string())
}
