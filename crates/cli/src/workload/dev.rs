//! `session workload dev`: four nodes, a chain and a scripted world, for one session.

use std::path::Path;
use std::time::Duration;

use serde_json::json;
use session_core::Span;
use session_executor::bundle::Bundle;
use session_protocol::workload::Observation;
use tokio::time::Instant;

use super::follow::Watch;
use super::node::Node;
use super::people::People;
use super::project::{MANIFEST, Package, Project};
use super::run::{begin, service_id, tell};
use super::world::{Served, World, Write};
use super::{anchored, build, connectors};
use crate::args::{Dev, Up};
use crate::cluster::Cluster;
use crate::exit::{Doing, Failure, Result};
use crate::out::{Out, harmless};
use crate::verify;

/// The nodes of the committee: the fewest of which one may lie.
const NODES: u16 = 4;

/// Short enough that nodes are in service soon, long enough that a session sees one epoch or two.
const EPOCH: Span = Span::from_secs(5);

/// What is shown of an observation.
const SHOWN_CHARS: usize = 120;

pub(super) async fn run(out: Out, args: &Dev) -> Result<()> {
    let project = Project::open(&args.dir)?;
    build::ensure(&project)?;
    let world = World::read(&args.dir)?;
    let package = Package::find(&args.dir, None, args.input.as_deref())?;
    let scratch = tempfile::tempdir().doing(|| "cannot make a scratch directory".to_owned())?;
    let dir = args.keep.clone().unwrap_or_else(|| scratch.path().join("network"));
    let dir = std::path::absolute(&dir).doing(|| format!("cannot find {}", dir.display()))?;
    let mut cluster = open(args, &dir, out).await?;
    let ran = tokio::select! {
        ran = with_world(&mut cluster, &package, world, args, out) => ran,
        _ = tokio::signal::ctrl_c() => Err(Failure::failed("stopped by Ctrl-C")),
    };
    cluster.stop().await;
    if ran.is_err() && args.keep.is_none() {
        out.remark("--keep DIR keeps the logs of the nodes");
    }
    ran
}

async fn open(args: &Dev, dir: &Path, out: Out) -> Result<Cluster> {
    let up = Up {
        nodes: Some(NODES),
        dir: None,
        demo: false,
        bad: 0,
        epoch: Some(EPOCH),
        client_rate: Some(0),
        sessiond: args.sessiond.clone(),
        sessionvm: args.sessionvm.clone(),
    };
    Cluster::open(dir, &up, out).await
}

async fn with_world(
    cluster: &mut Cluster,
    package: &Package,
    world: World,
    args: &Dev,
    out: Out,
) -> Result<()> {
    let began = Instant::now();
    let script = world.clone();
    let served = Served::start(world).await?;
    let package = &connectors::mapped(package, served.address())?;
    for index in 0..cluster.len() {
        let data = cluster.data(index).to_owned();
        for database in &script.database {
            connectors::fill(database, &args.dir, &data)?;
        }
        cluster.connect(index, &connectors::text(&script, served.address(), index, &data))?;
        cluster.start(index)?;
    }
    cluster.wait_ready().await?;
    let people = People::start(&script.person, cluster).await?;
    let package = &Package { input: people.fill(&package.input), ..package.clone() };
    out.remark(&format!(
        "{} nodes, their chain and the world of {} are ready after {:.1} s",
        cluster.len(),
        args.dir.join(MANIFEST).display(),
        began.elapsed().as_secs_f64()
    ));
    let outcome = session(cluster, package, args, out).await;
    tell_world(&served, out);
    people.tell(out).await?;
    outcome
}

/// Runs the session, shows what the members saw, and writes the bundle.
async fn session(cluster: &Cluster, package: &Package, args: &Dev, out: Out) -> Result<()> {
    let url = format!("http://{}", cluster.http_address(0)).parse();
    let node = Node::new(url.doing(|| "the node's address".to_owned())?);
    let (rpc, operator) = (cluster.chain().rpc()?, cluster.chain().operator()?);
    let service = service_id(&package.manifest.name);
    let began = Instant::now();
    let created = begin(&node, &rpc, &operator, package, service, args.time_max).await?;
    let time_max: Duration = args.time_max.into();
    let watch = Watch { node: &node, session: created.session, time_max, verbose: true, out };
    let seen = watch.until_over().await?;
    let took = began.elapsed();
    match anchored::fetch(&node, &rpc, &created.session).await {
        Ok(bundle) => {
            tell_divergence(&bundle, cluster, out);
            let file = args.out.clone().unwrap_or_else(|| args.dir.join("bundle.json"));
            anchored::write(&bundle, &file)?;
            let verdict = verify::bundle::check(&bundle, None)?;
            out.result(
                || {
                    format!(
                        "bundle: {}; checked: {} steps, {} signatures ('session verify' says more)",
                        file.display(),
                        verdict.steps,
                        verdict.signatures
                    )
                },
                || json!({ "bundle": file, "signatures": verdict.signatures }),
            );
        }
        // What came of the session is told all the same.
        Err(failure) => out.warn(&format!("there is no bundle: {failure}")),
    }
    tell(out, &created, &seen, took)
}

/// Shows what the members saw of the world where they saw different things.
fn tell_divergence(bundle: &Bundle, cluster: &Cluster, out: Out) {
    for (step, decision) in bundle.decisions() {
        let records = &decision.commit.records;
        let first = records.iter().next().map(|record| record.observation.data_hash());
        if records.iter().all(|record| Some(record.observation.data_hash()) == first) {
            continue;
        }
        out.remark(&format!("step {step}: the members saw different things"));
        for record in records.iter() {
            let node = cluster.number(&record.submitter);
            let name = node.map_or_else(|| "a stranger".to_owned(), |node| format!("node {node}"));
            let seen = shown(&record.observation);
            out.result(
                || format!("      {name} saw {seen}"),
                || json!({ "step": step, "node": node, "saw": seen }),
            );
        }
    }
}

fn shown(observation: &Observation) -> String {
    match observation {
        Observation::Value { bytes } => {
            let text: String = String::from_utf8_lossy(bytes).chars().take(SHOWN_CHARS).collect();
            harmless(&text)
        }
        Observation::Failed { fault } => format!("nothing: {fault}"),
    }
}

/// Shows what was written, and what was asked for that the script does not have.
fn tell_world(world: &Served, out: Out) {
    for Write { target, key, requests, effects, body, .. } in world.writes() {
        let text: String = String::from_utf8_lossy(&body).chars().take(SHOWN_CHARS).collect();
        let short = key.get(..16).unwrap_or(&key);
        out.result(
            || {
                let key = if key.is_empty() { String::new() } else { format!(", key {short}…") };
                let of = if effects == 1 { "effect" } else { "effects" };
                let asked = if requests == 1 { "request" } else { "requests" };
                let body = harmless(text.trim_end()).replace('\n', " ⏎ ");
                format!("world: {target}: {effects} {of} of {requests} {asked}{key}: {body}")
            },
            || {
                json!({ "write": target, "key": key, "requests": requests, "effects": effects,
                        "body": String::from_utf8_lossy(&body) })
            },
        );
    }
    for (target, told) in world.divergent() {
        out.remark(&format!("world: {target} answered differently:"));
        for (node, body) in told {
            let text: String = body.chars().take(SHOWN_CHARS).collect();
            out.remark(&format!("      to node {node}: {}", harmless(&text)));
        }
    }
    for miss in world.misses() {
        out.warn(&format!("world.toml has no answer to {}", harmless(&miss)));
    }
}
