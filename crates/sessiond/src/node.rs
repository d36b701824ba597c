//! A node's life: start, run, stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use session_core::{Entropy as _, Text};
use session_crypto::{Identity, RealVerifier};
use session_daemon::{Config, Daemon};
use session_network::limits::Budget;
use session_network::{Rate, Role};
use session_protocol::{Checker, Membership, StaticMembership};
use session_runtime::http::{Limits, Server, serve};
use session_runtime::quic::{Options, Quic};
use session_runtime::{BindError, OsEntropy, SystemClock, files, key_file, logging, signals};
use session_storage::disk::{self, DiskStore};
use session_storage::{Durable, MemoryStore};

use crate::args::Settings;
use crate::http::{Api, BODY_BYTES_MAX};
use crate::network;
use crate::shell::{self, Parts, Running};
use session_runtime::failure::{Failure, Result, chain};
use session_runtime::program::say;

/// What HTTP clients and peers are given to take what was sent to them; together with the shell's
/// own two seconds below the five that a stop may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a usual request weighs: a sealed message or a small batch.
const REQUEST_BYTES: u64 = 16 * 1024;

/// Runs a node until it is asked to stop.
///
/// # Errors
/// When a file is wrong, a port is not free, or the disk fails.
pub fn run(settings: Settings) -> Result<()> {
    logging::init(None).map_err(|error| Failure::usage(error.to_string()))?;
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let keys = Arc::new(keys(&settings)?);
    let network = network::load(&settings, keys.public())?;
    for warning in &network.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format!("cannot start threads: {error}")))?;
    let membership = Arc::new(network.membership);
    let result = match &settings.data_dir {
        None => {
            let mut rng = OsEntropy::new().map_err(|error| Failure::runtime(error.to_string()))?;
            let store = MemoryStore::new(rng.next_u64());
            runtime.block_on(serve_with(&settings, keys, membership, network.name, store))
        }
        Some(dir) => {
            let store = open(&dir.join("store"), settings.data_bytes_max)?;
            runtime.block_on(serve_with(&settings, keys, membership, network.name, store))
        }
    };
    // Nothing that still runs is worth waiting for.
    runtime.shutdown_background();
    result
}

fn keys(settings: &Settings) -> Result<Identity> {
    if let Some(dir) = &settings.data_dir {
        files::create_private_directory(dir)
            .map_err(|error| Failure::usage(format!("the data directory: {error}")))?;
    }
    let path = match (&settings.identity, &settings.data_dir) {
        (Some(path), _) => path.clone(),
        (None, Some(dir)) => dir.join("node.key"),
        (None, None) => return key_file::generate(),
    };
    let passphrase = key_file::passphrase();
    let (keys, made) = key_file::load_or_make(&path, passphrase.as_deref())?;
    if made {
        let how = if passphrase.is_some() { "encrypted" } else { "without a passphrase" };
        tracing::info!("made the node's keys, {how}: {}", path.display());
    }
    Ok(keys)
}

fn open(dir: &Path, bytes_max: Option<u64>) -> Result<DiskStore> {
    let store = DiskStore::open(dir, disk::Options { bytes_max, ..disk::Options::default() })
        .map_err(|error| Failure::usage(format!("the data directory: {}", chain(&error))))?;
    let report = store.report();
    if report.cut_bytes > 0 {
        tracing::info!(bytes = report.cut_bytes, "cut the end of unfinished writes");
    }
    if report.corrupt > 0 {
        let first = report.damaged.first().map(|path| path.display().to_string());
        tracing::error!(
            places = report.corrupt,
            ?first,
            "the store is damaged; lost items are restored by the swarm"
        );
    }
    tracing::info!(items = report.items, "opened the store");
    Ok(store)
}

async fn serve_with<S: Durable + Send + 'static>(
    settings: &Settings,
    keys: Arc<Identity>,
    membership: Arc<StaticMembership>,
    network: String,
    store: S,
) -> Result<()> {
    // Before anything can fail halfway: a stop that is asked for early is not lost.
    let asked = signals::stop_asked().map_err(|error| Failure::runtime(error.to_string()))?;
    let node = keys.public().node_id();
    let record =
        membership.node(&node).ok_or_else(|| Failure::usage("the node left its network"))?;
    let swarm = record.swarm;
    let listen = Text::new(record.address.to_string()).expect("it was an address of this type");
    let membership: Arc<dyn Membership> = membership;
    let checker = Arc::new(Checker::new(Arc::clone(&membership), Arc::new(RealVerifier)));

    let on_frame = Arc::clone(&checker);
    let decode = Arc::new(move |_conn, _class, body: Vec<u8>| on_frame.check(&body));
    let (quic, events) = Quic::bind(Options::new(settings.listen), Some(keys.clone()), decode)
        .map_err(|error| cannot_listen("--listen", &error))?;
    let role = Role::Node { listen };
    let mut network_config =
        session_network::Config::new(role, keys.clone(), Arc::clone(&membership));
    network_config.limits.client = client_budget(settings.client_rate);
    let daemon = Daemon::new(Config {
        network: network_config,
        swarm: session_swarm::Config::new(node, membership),
    })
    .map_err(|error| Failure::usage(error.to_string()))?;
    let clock = Arc::new(SystemClock::new());
    let parts = Parts { node, daemon, store, keys, checker, clock, quic: quic.clone(), events };
    let (handle, running) = shell::start(parts)
        .map_err(|error| Failure::runtime(format!("cannot start threads: {error}")))?;

    let api = Api::new(handle, network, swarm, settings.client_rate);
    let http = match settings.http {
        None => None,
        Some(address) => {
            let limits = Limits { body_bytes_max: BODY_BYTES_MAX, ..Limits::default() };
            let answer = move |request| Arc::clone(&api).answer(request);
            match serve(address, answer, limits).await {
                Ok(server) => Some(server),
                Err(error) => {
                    drop(running.stop().await);
                    return Err(cannot_listen("--http", &error));
                }
            }
        }
    };
    say(&format!("listening on udp {}", quic.local_addr()))?;
    if let Some(server) = &http {
        say(&format!("listening on http {}", server.local_addr()))?;
    }
    tracing::info!(?node, %swarm, "started");
    let result = until_stopped(settings, running, asked, http).await;
    quic.shutdown(CLOSE_TIMEOUT).await;
    result
}

async fn until_stopped(
    settings: &Settings,
    mut running: Running,
    asked: impl Future<Output = &'static str>,
    http: Option<Server>,
) -> Result<()> {
    let why = tokio::select! {
        signal = asked => signal,
        () = signals::stdin_end(settings.stop_with_stdin) => "the end of standard input",
        failed = running.ended() => {
            close(http).await;
            let why = failed.err().map_or("the main loop ended".to_owned(), |error| error.to_string());
            return Err(Failure::runtime(format!("the disk failed a write: {why}")));
        }
    };
    tracing::info!("stopping: {why}");
    // A second signal ends the program at once.
    let again = signals::stop_asked().map_err(|error| Failure::runtime(error.to_string()))?;
    tokio::select! {
        stopped = async {
            let stopped = running.stop().await;
            close(http).await;
            stopped
        } => stopped.map_err(|error| Failure::runtime(format!("the disk failed a write: {error}"))),
        signal = again => Err(Failure::runtime(format!("{signal} again: stopped at once"))),
    }
}

async fn close(http: Option<Server>) {
    if let Some(server) = http {
        server.shutdown(CLOSE_TIMEOUT).await;
    }
}

/// What one client address may send: the default bytes, and more where the requests need them.
fn client_budget(rate: Option<u32>) -> Budget {
    let Some(rate) = rate.map(u64::from) else { return Budget::UNLIMITED };
    let default = session_network::Limits::default().client;
    let bytes = rate * REQUEST_BYTES;
    Budget {
        frames: Rate { per_second: rate, burst: 4 * rate },
        bytes: Rate {
            per_second: bytes.max(default.bytes.per_second),
            burst: (4 * bytes).max(default.bytes.burst),
        },
    }
}

fn cannot_listen(flag: &str, error: &BindError) -> Failure {
    Failure::runtime(format!("{flag}: {error}"))
}
