//! `session up`: a whole network on this machine.

mod board;
mod postman;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;
use session_client::Mode;
use session_client::onion::HOPS;

use crate::args::Up;
use crate::cluster::Cluster;
use crate::demo;
use crate::exit::{Doing, Failure, Result};
use crate::local_chain;
use crate::out::Out;

use board::Board;

/// Where the network lives when nobody says otherwise.
pub(crate) const DIR: &str = "lux-session-network";

/// How often the programs are looked at.
const WATCH: Duration = Duration::from_secs(1);

pub(crate) async fn run(out: Out, args: &Up) -> Result<()> {
    if args.demo {
        let scratch = tempfile::tempdir().doing(|| "cannot make a scratch directory".to_owned())?;
        let dir = args.dir.clone().unwrap_or_else(|| scratch.path().to_owned());
        let args =
            &Up { epoch: args.epoch.or(Some(demo::EPOCH)), bad: args.bad.max(1), ..args.clone() };
        let mut cluster = open(args, &dir, out).await?;
        let told = tokio::select! {
            told = demo::tell(&mut cluster, &dir, out) => told,
            _ = tokio::signal::ctrl_c() => Err(Failure::failed("stopped by Ctrl-C")),
        };
        cluster.stop().await;
        return told;
    }
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(DIR));
    let mut cluster = open(args, &dir, out).await?;
    let served = serve(&mut cluster, &dir, out).await;
    let killed = cluster.stop().await;
    if served.is_ok() {
        out.remark(&match killed {
            0 => "the chain and all nodes stopped".to_owned(),
            killed => {
                format!("the chain and all nodes stopped, {killed} of them had to be killed")
            }
        });
    }
    served
}

/// Returns how people travel where the usual way is none: over hops, if there are enough.
pub(crate) fn mode(cluster: &Cluster) -> Option<Mode> {
    let hops = Mode::default().hops().min(HOPS);
    (cluster.len() < usize::from(hops)).then_some(Mode::Direct)
}

async fn open(args: &Up, dir: &Path, out: Out) -> Result<Cluster> {
    let dir = std::path::absolute(dir).doing(|| format!("cannot find {}", dir.display()))?;
    Cluster::open(&dir, args, out).await
}

async fn serve(cluster: &mut Cluster, dir: &Path, out: Out) -> Result<()> {
    let mut terminate = terminate()?;
    for index in 0..cluster.len() {
        cluster.start(index)?;
    }
    let took = tokio::select! {
        took = cluster.wait_ready() => took?,
        _ = tokio::signal::ctrl_c() => return Ok(()),
        _ = terminate.recv() => return Ok(()),
    };
    print_table(cluster, out);
    out.remark(&format!(
        "\n{} nodes are ready after {:.1} s, {} of them registered now with their stakes.\n\
         Their chain: {}/ and the network, drawn: http://{}/ (pages for the browser).\n\
         Try, in another terminal:\n{}\nCtrl-C stops them all.",
        cluster.len(),
        took.as_secs_f64(),
        cluster.registered(),
        cluster.chain().url(),
        cluster.http_address(0),
        commands(cluster)
    ));
    if mode(cluster).is_some() {
        out.remark(&format!(
            "{} nodes make no path of {HOPS} hops: with --mode direct they are asked themselves.",
            cluster.len()
        ));
    }
    let lying = (0..cluster.len()).filter_map(|index| Some((index, cluster.lie(index)?)));
    let lying: Vec<String> =
        lying.map(|(index, lie)| format!("node {index} lies ({lie})")).collect();
    if !lying.is_empty() {
        out.remark(&format!("{}: watch them being caught.", lying.join(", ")));
        postman::start(cluster, local_chain::epoch_length(dir)?.into())?;
    }
    let stopped = async {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
    };
    tokio::select! {
        () = stopped => Ok(()),
        () = watch(cluster, out) => Ok(()),
    }
}

/// Says which programs end by themselves and what the chain says of the nodes, for as long as it
/// is asked.
async fn watch(cluster: &mut Cluster, out: Out) {
    let mut board = Board::new(out);
    let mut silent = false;
    loop {
        tokio::time::sleep(WATCH).await;
        for ended in cluster.ended() {
            out.remark(&ended);
        }
        match board.look(cluster).await {
            Ok(()) => silent = false,
            Err(failure) => {
                // Once, not every second.
                if !std::mem::replace(&mut silent, true) {
                    out.warn(&format!("the chain cannot be looked at: {failure}"));
                }
            }
        }
    }
}

fn terminate() -> Result<tokio::signal::unix::Signal> {
    tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .doing(|| "cannot listen for SIGTERM".to_owned())
}

fn print_table(cluster: &Cluster, out: Out) {
    out.remark("node  id                udp                    http                   pid");
    for index in 0..cluster.len() {
        let id = cluster.id(index);
        let (address, http) = (cluster.address(index), cluster.http_address(index));
        let pid = cluster.pid(index);
        out.result(
            || {
                format!(
                    "{index:>4}  {}  {address:<21}  {http:<21}  {}",
                    &id.to_string()[..16],
                    pid.map_or_else(String::new, |pid| pid.to_string())
                )
            },
            || {
                json!({ "index": index, "node": id.to_string(), "address": address,
                        "http": http, "pid": pid, "network": cluster.network_file() })
            },
        );
    }
    // Programs find the chain behind the nodes; people are told of it below the table.
    if out.is_json() {
        let (url, process) = (cluster.chain().url(), cluster.chain().pid());
        out.result(String::new, || json!({ "chain": url, "process": process }));
    }
}

fn commands(cluster: &Cluster) -> String {
    let session = std::env::current_exe()
        .map_or_else(|_| "session".to_owned(), |path| path.display().to_string());
    let network = cluster.network_file();
    let folder = network.parent().map(|path| path.display().to_string()).unwrap_or_default();
    let mode = if mode(cluster).is_some() { " --mode direct" } else { "" };
    format!(
        "  export SESSION_NETWORK={}\n  \
           {session} --home {folder}/alice account new --plain\n  \
           {session} --home {folder}/bob account new --plain\n  \
           {session} --home {folder}/alice{mode} chat send BOBS_ID 'hello'\n  \
           {session} --home {folder}/bob{mode} chat             # ? shows the keys\n  \
           {session} node list\n  \
           {session} chain status\n  \
           {session} chain nodes\n  \
           {session} chain epoch\n  \
           {session} chain swarms\n  \
           {session} node why {first}\n  \
           {session} --home {folder}/operator chain tx transfer BOBS_ID 100\n  \
           {session} --home {folder}/operator chain account\n  \
           {session} workload run FOLDER                  # of a workload: 'session workload new'",
        network.display(),
        first = &cluster.id(0).to_string()[..16],
    )
}
