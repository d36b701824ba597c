//! `session path`: over which nodes requests travel, and what that costs.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use session_client::onion::{Measured, Mode, PathReport, PathTaken};
use session_client::{Answer, Command};
use session_core::{NodeId, Span, Time};
use session_crypto::Identity;
use session_network::onion::Size;
use session_protocol::Membership as _;
use session_sdk::agent::Agent;
use tokio::time::Instant;

use crate::args::Paths;
use crate::exit::{Code, Failure, Result};
use crate::home::Home;
use crate::members::Members;
use crate::out::{self, Out};
use crate::{person, span};

/// A day, for what cover costs.
const DAY: Span = Span::from_days(1);

/// How long one node is waited for.
const PROBE: Duration = Duration::from_secs(5);

/// Round trips that this may take where hops wait.
const PROBE_TRIPS: u32 = 4;

pub(crate) async fn run(home: &Home, out: Out, command: &Paths) -> Result<()> {
    let Paths::Show { probes } = command;
    let mode = home.mode()?;
    if mode == Mode::Direct {
        out.result(
            || {
                "direct: requests go to the nodes themselves, which see from where; 'session \
                 profile mode onion' has them go over hops"
                    .to_owned()
            },
            || json!({ "mode": mode.name() }),
        );
        return Ok(());
    }
    let members = Members::find(home).await?;
    let nodes: Vec<NodeId> = members.view().nodes().into_iter().map(|(id, _)| id).collect();
    // Nothing is asked that needs an account: a throw-away identity tells nobody anything.
    let identity = Arc::new(Identity::generate(&mut person::entropy()?));
    let network = members.into_network(home)?;
    network.broken().iter().for_each(|why| out.warn(why));
    let agent = Agent::start(identity, &network).map_err(Failure::failed)?;
    let shown = show(&agent, out, &nodes, *probes, PROBE + home.slack(PROBE_TRIPS)).await;
    agent.stop().await;
    shown
}

async fn show(
    agent: &Agent,
    out: Out,
    nodes: &[NodeId],
    probes: u32,
    patience: Duration,
) -> Result<()> {
    let mut times = Vec::new();
    let mut last = None;
    for probe in 0..probes {
        let node = nodes[probe as usize % nodes.len()];
        let started = Instant::now();
        match tokio::time::timeout(patience, agent.run(Command::Ping { node })).await {
            Ok(Ok(_)) => times.push(started.elapsed().as_micros()),
            Ok(Err(error)) => last = Some(person::explained(&error)),
            // What is asked next has nothing to do with it.
            Err(_) => last = Some(format!("node {} does not answer", short(&node))),
        }
    }
    let report = match agent.run(Command::Paths).await {
        Ok(Answer::Paths(Some(report))) => *report,
        Ok(_) => return Err(Failure::failed("the client answered something else")),
        Err(error) => return Err(person::failure(error)),
    };
    if let Some(error) = last {
        if times.is_empty() {
            return Err(Failure::new(Code::Network, error));
        }
        out.warn(&format!(
            "{} of {probes} requests failed: {error}",
            probes as usize - times.len()
        ));
    }
    out.result(|| text(&report, &times), || object(&report, &times));
    Ok(())
}

/// Bytes of packets that one request and its answer take on the client's link, at least.
const fn least_bytes() -> usize {
    2 * Size::Small.bytes()
}

fn cover_a_day(mode: Mode) -> Option<u64> {
    let every = mode.every()?.as_millis().max(1);
    Some(DAY.as_millis() / every * least_bytes() as u64)
}

fn text(report: &PathReport, times: &[u128]) -> String {
    let guards: Vec<String> = report
        .guards
        .iter()
        .map(|it| {
            let up = if it.up { "connected" } else { "not connected" };
            let rest = span::rough(it.guard.until.since(person::now()));
            format!("{}  {up}, kept for {rest}", short(&it.guard.node))
        })
        .collect();
    let paths: Vec<String> = report.paths.iter().rev().take(8).map(path).collect();
    let cover = cover_a_day(report.mode).map(|bytes| {
        format!(
            "{} kB a second in each direction while it runs, {} MB a day",
            report.cover_rate / 1000,
            bytes / 2_000_000
        )
    });
    out::rows(&[
        ("mode", report.mode.to_string()),
        ("guards", guards.join("\n")),
        ("hop keys", format!("{} of {} nodes", report.hops_known, report.nodes)),
        ("avoided", if report.avoided == 0 { String::new() } else { report.avoided.to_string() }),
        ("epoch", report.epoch.map(|epoch| epoch.to_string()).unwrap_or_default()),
        ("last paths", paths.join("\n")),
        ("delay", format!("{} on purpose", report.expected_delay)),
        ("measured", measured(times)),
        (
            "a request",
            format!(
                "{} bytes out and as many back, at least; {} hops",
                Size::Small.bytes(),
                report.mode.hops()
            ),
        ),
        ("cover", cover.unwrap_or_default()),
        ("so far", so_far(report)),
    ])
}

fn so_far(report: &PathReport) -> String {
    let stats = &report.stats;
    format!(
        "{} packets ({} cover), {} answers, {} lost, {} spoilt, {} sent again; {} kB out, {} kB in",
        stats.packets,
        stats.cover,
        stats.answers,
        stats.lost,
        stats.spoilt,
        stats.rerouted,
        stats.bytes_out / 1000,
        stats.bytes_in / 1000
    )
}

fn measured(times: &[u128]) -> String {
    match quantiles(times) {
        None => "nothing".to_owned(),
        Some((median, slowest)) => format!(
            "{} requests: half within {}, all within {}",
            times.len(),
            millis(median),
            millis(slowest)
        ),
    }
}

fn quantiles(times: &[u128]) -> Option<(u128, u128)> {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    Some((*sorted.get(sorted.len() / 2)?, *sorted.last()?))
}

fn millis(micros: u128) -> String {
    format!("{}.{} ms", micros / 1000, micros % 1000 / 100)
}

fn path(taken: &PathTaken) -> String {
    let hops: Vec<String> = taken.hops.iter().map(short).collect();
    format!("{}  {}", hops.join(" > "), taken.round_trip)
}

fn short(node: &NodeId) -> String {
    node.to_string()[..16].to_owned()
}

fn object(report: &PathReport, times: &[u128]) -> Value {
    let guards: Vec<Value> = report
        .guards
        .iter()
        .map(|it| {
            json!({ "node": it.guard.node.to_string(), "up": it.up,
                    "since_ms": time(it.guard.since), "until_ms": time(it.guard.until) })
        })
        .collect();
    let paths: Vec<Value> = report
        .paths
        .iter()
        .map(|it| {
            let hops: Vec<String> = it.hops.iter().map(ToString::to_string).collect();
            json!({ "hops": hops, "at_ms": time(it.at),
                    "round_trip_ms": it.round_trip.as_millis() })
        })
        .collect();
    let measured = report.measured.map(|Measured { count, median, p99 }| {
        json!({ "count": count, "median_ms": median.as_millis(), "p99_ms": p99.as_millis() })
    });
    let quantiles = quantiles(times).map(|(median, slowest)| {
        json!({ "count": times.len(), "median_us": number(median), "slowest_us": number(slowest) })
    });
    let stats = &report.stats;
    json!({
        "mode": report.mode.name(),
        "hops": report.mode.hops(),
        "guards": guards,
        "epoch": report.epoch.map(|epoch| epoch.0),
        "nodes": report.nodes,
        "hop_keys": report.hops_known,
        "avoided": report.avoided,
        "paths": paths,
        "expected_delay_ms": report.expected_delay.as_millis(),
        "probes": quantiles,
        "round_trips": measured,
        "bytes_per_request": least_bytes(),
        "cover_bytes_per_second": report.cover_rate,
        "cover_bytes_per_day": cover_a_day(report.mode),
        "packets": stats.packets, "bytes_out": stats.bytes_out,
        "answers": stats.answers, "bytes_in": stats.bytes_in,
        "cover": stats.cover, "cover_back": stats.cover_back,
        "lost": stats.lost, "spoilt": stats.spoilt, "late": stats.late,
        "rerouted": stats.rerouted, "guards_replaced": stats.guards_replaced,
        "bad_keys": stats.bad_keys,
    })
}

fn number(micros: u128) -> u64 {
    u64::try_from(micros).unwrap_or(u64::MAX)
}

const fn time(time: Time) -> u64 {
    time.as_millis()
}
