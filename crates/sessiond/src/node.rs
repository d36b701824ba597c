//! A node's life: start, run, stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use session_connectors::Connectors;
use session_core::{Entropy as _, Text};
use session_crypto::{Identity, RealVerifier};
use session_daemon::{Config, Daemon, relay};
use session_network::limits::{Budget, CLIENT_ONIONS};
use session_network::{ConnId, From, Rate, Role};
use session_protocol::beacon::ONE_TIME_SECRETS;
use session_protocol::{Checker, Membership, StaticMembership};
use session_runtime::http::{Limits, Server, serve};
use session_runtime::quic::{Events, Options, Quic};
use session_runtime::{BindError, OsEntropy, SystemClock, files, key_file, logging, signals};
use session_storage::disk::{self, DiskStore};
use session_storage::{Durable, MemoryStore};
use session_swarm::coordinator;
use tokio::sync::mpsc;

use crate::args::Settings;
use crate::chain::certificates::Certificates;
use crate::chain::errands::{ERRANDS_MAX, Runner};
use crate::chain::follow::Following;
use crate::chain::{Local, genesis};
use crate::http::{Api, BODY_BYTES_MAX, Of, OfChain};
use crate::network;
use crate::shell::{self, ChainSide, Checked, Parts, Reader, Room, Running};
use crate::workload::Workloads;
use session_runtime::failure::{Failure, Result, chain};
use session_runtime::program::say;

/// What HTTP clients and peers are given to take what was sent to them; together with the shell's
/// own two seconds below the five that a stop may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a usual request weighs: a sealed message or a small batch.
const REQUEST_BYTES: u64 = 16 * 1024;

/// Items, in the data directory.
const STORE: &str = "store";

/// How long a node that starts waits for the last block of the chain.
const SYNC_TIMEOUT: Duration = Duration::from_secs(10);

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
    if let Some(lie) = &settings.lie {
        tracing::warn!("THIS NODE LIES ({lie:?}), for a demonstration: it will lose its stake");
    }
    let origin = origin(&settings, &keys)?;
    let connectors = connectors(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format!("cannot start threads: {error}")))?;
    let result = match &settings.data_dir {
        None => {
            let mut rng = OsEntropy::new().map_err(|error| Failure::runtime(error.to_string()))?;
            let store = MemoryStore::new(rng.next_u64());
            runtime.block_on(serve_with(&settings, keys, origin, connectors, store))
        }
        Some(dir) => {
            let store = open(&dir.join(STORE), settings.data_bytes_max)?;
            runtime.block_on(serve_with(&settings, keys, origin, connectors, store))
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
    let mut store =
        DiskStore::open(dir, disk::Options { bytes_max, ..disk::Options::default() })
            .map_err(|error| Failure::usage(format!("the data directory: {}", chain(&error))))?;
    let report = store.report().clone();
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
        // What is promised and gone must not be committed to before it is back.
        session_swarm::declare_incomplete(&mut store)
            .map_err(|error| Failure::runtime(format!("the data directory: {error}")))?;
    }
    tracing::info!(items = report.items, "opened the store");
    Ok(store)
}

/// Who says which nodes there are.
enum Origin {
    /// A network file.
    File { membership: Arc<StaticMembership>, name: String },
    /// The chain.
    Chain(Chain),
}

/// The node's following of the chain, before it has begun.
struct Chain {
    local: Arc<Local>,
    certificates: Arc<Certificates>,
}

fn origin(settings: &Settings, keys: &Identity) -> Result<Origin> {
    let Some(chain) = &settings.chain else {
        let network = network::load(settings, keys.public())?;
        for warning in &network.warnings {
            tracing::warn!("{warning}");
        }
        let (membership, name) = (Arc::new(network.membership), network.name);
        return Ok(Origin::File { membership, name });
    };
    let (genesis, _) = genesis::read(&chain.genesis)?;
    let local = Local::open(settings.data_dir.as_deref(), &genesis)?;
    let certificates = Certificates::open(settings.data_dir.clone())
        .map_err(|error| Failure::usage(format!("the certificates: {error}")))?;
    Ok(Origin::Chain(Chain { local, certificates: Arc::new(certificates) }))
}

/// Reads what workload sessions may reach.
fn connectors(settings: &Settings) -> Result<session_connectors::Config> {
    let Some(path) = &settings.connectors else {
        return Ok(session_connectors::Config::default());
    };
    if settings.chain.is_none() {
        tracing::warn!("--connectors does nothing without --chain: no workload sessions run");
    }
    session_connectors::Config::load(path)
        .map_err(|error| Failure::usage(format!("--connectors {}: {error}", path.display())))
}

async fn serve_with<S: Durable + Send + 'static>(
    settings: &Settings,
    keys: Arc<Identity>,
    origin: Origin,
    connectors: session_connectors::Config,
    store: S,
) -> Result<()> {
    // Before anything can fail halfway: a stop that is asked for early is not lost.
    let asked = signals::stop_asked().map_err(|error| Failure::runtime(error.to_string()))?;
    let mut asked = std::pin::pin!(asked);
    let node = keys.public().node_id();
    let (membership, of) = match origin {
        Origin::File { membership, name } => {
            let record = membership.node(&node);
            let record = record.ok_or_else(|| Failure::usage("the node left its network"))?;
            let of = Of::File { name, swarm: record.swarm };
            (membership as Arc<dyn Membership>, of)
        }
        Origin::Chain(Chain { local, certificates }) => {
            let sources = settings.chain.as_ref().map_or(&[][..], |chain| &chain.sources);
            let following = Following::start(local, sources, settings.data_dir.clone());
            let membership = Arc::clone(&following.publisher().last().view.membership);
            let of = Of::Chain(OfChain { following, certificates, lie: settings.lie });
            (membership as Arc<dyn Membership>, of)
        }
    };
    let checker = Arc::new(Checker::new(Arc::clone(&membership), Arc::new(RealVerifier)));
    let clock = Arc::new(SystemClock::new());
    let rate = limits(settings).onions(From::Client(ConnId(0)));
    let reader = Arc::new(Reader::new(Arc::clone(&checker), Arc::clone(&clock), rate));
    let on_frame = Arc::clone(&reader);
    let decode = Arc::new(move |conn, _class, body: Vec<u8>| on_frame.read(conn, &body));
    let (quic, events) = Quic::bind(Options::new(settings.listen), Some(keys.clone()), decode)
        .map_err(|error| cannot_listen("--listen", &error))?;

    let api = Api::new(node, of, settings.client_rate);
    let start = Start {
        settings,
        keys,
        membership,
        checker,
        reader,
        clock,
        store,
        quic: quic.clone(),
        events,
        connectors,
        http: None,
    };
    let mut start = Some(start);
    let mut running = None;
    // A node of a chain is heard before it serves: fetching blocks may take long.
    if let Some(start) = start.take_if(|_| api.chain().is_none()) {
        running = Some(start.start(&api).await?);
    }
    let http = match serve_http(settings.http, &api).await {
        Ok(http) => http,
        Err(failure) => {
            if let Some(running) = running {
                drop(running.stop().await);
            }
            return Err(failure);
        }
    };
    say(&format!("listening on udp {}", quic.local_addr()))?;
    if let Some(server) = &http {
        if let Some(start) = &mut start {
            start.http = Some(server.local_addr());
        }
        say(&format!("listening on http {}", server.local_addr()))?;
    }
    if let Some(chain) = api.chain() {
        // What the copy says may be long past: duties and inboxes of then are nobody's now.
        tokio::select! {
            signal = &mut asked => {
                tracing::info!("stopping: {signal}");
                close(http).await;
                return Ok(());
            }
            synced = chain.following.sync(SYNC_TIMEOUT) => if !synced {
                tracing::warn!("no source of the chain is of use yet; going on with the copy");
            }
        }
    }
    if let Some(start) = start {
        match start.start(&api).await {
            Ok(begun) => running = Some(begun),
            Err(failure) => {
                close(http).await;
                return Err(failure);
            }
        }
    }
    let running = running.ok_or_else(|| Failure::runtime("the node did not begin"))?;
    tracing::info!(?node, "started");
    let result = until_stopped(settings, running, asked, http, api.chain()).await;
    quic.shutdown(CLOSE_TIMEOUT).await;
    result
}

async fn serve_http(address: Option<SocketAddr>, api: &Arc<Api>) -> Result<Option<Server>> {
    let Some(address) = address else { return Ok(None) };
    let limits = Limits { body_bytes_max: BODY_BYTES_MAX, ..Limits::default() };
    let api = Arc::clone(api);
    let answer = move |request| Arc::clone(&api).answer(request);
    let server = serve(address, answer, limits).await;
    server.map(Some).map_err(|error| cannot_listen("--http", &error))
}

/// What a node's loop is started with.
struct Start<'a, S> {
    settings: &'a Settings,
    keys: Arc<Identity>,
    membership: Arc<dyn Membership>,
    checker: Arc<Checker>,
    reader: Arc<Reader>,
    clock: Arc<SystemClock>,
    store: S,
    quic: Quic<Checked>,
    events: Events<Checked>,
    connectors: session_connectors::Config,
    /// Where HTTP is heard.
    http: Option<SocketAddr>,
}

impl<S: Durable + Send + 'static> Start<'_, S> {
    async fn start(self, api: &Api) -> Result<Running> {
        let Self { settings, keys, mut membership, checker, store, quic, events, .. } = self;
        let Self { connectors, http, reader, clock, .. } = self;
        let node = keys.public().node_id();
        let mut side = None;
        if let Some(chain) = api.chain() {
            let (view, views) = chain.following.publisher().subscribe().await;
            membership = Arc::clone(&view.membership) as Arc<dyn Membership>;
            checker.set_view(&view);
            let (errands, waiting) = mpsc::channel(ERRANDS_MAX);
            let (found, looked_up) = mpsc::channel(1);
            let runner = Runner {
                following: Arc::clone(&chain.following),
                keys: keys.clone(),
                certificates: Arc::clone(&chain.certificates),
                data_dir: settings.data_dir.clone(),
                found,
            };
            tokio::spawn(runner.run(waiting));
            let path = settings.data_dir.as_ref().map(|dir| dir.join(STORE));
            let room = Room { path, bytes_max: settings.data_bytes_max };
            side = Some(ChainSide::new(views, looked_up, errands, room));
        }
        let record = membership.node(&node);
        let listen = match record {
            Some(record) => record.address.clone(),
            // Nobody is told before the node is registered.
            None => Text::new(settings.listen.to_string()).expect("an address is short"),
        };
        let role = Role::Node { listen };
        let mut network = session_network::Config::new(role, keys.clone(), Arc::clone(&membership));
        network.limits = limits(settings);
        let onions = settings.onion.then(|| relay::Config {
            packets_max: settings.onion_packets,
            ..relay::Config::new(keys.clone())
        });
        let coordinator = side.is_some().then(|| coordinator::Config {
            node,
            keys: keys.clone(),
            verifier: Arc::new(RealVerifier),
            one_time_secrets: ONE_TIME_SECRETS,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lie: settings.lie,
        });
        let mut workloads = None;
        if side.is_some() {
            // A session must not call the node that runs it.
            let own = http.into_iter().chain([quic.local_addr()]);
            let connectors = Connectors::new(connectors).with_own(own);
            let started = Workloads::start(keys.clone(), node, Arc::clone(&membership), connectors);
            workloads = Some(started.map_err(|error| cannot_start(&error))?);
        }
        let sessions = side.is_some().then(|| session_executor::Config {
            node,
            keys: keys.clone(),
            verifier: Arc::new(RealVerifier),
            sessions_max: usize::try_from(settings.max_sessions).unwrap_or(usize::MAX),
        });
        let swarm = session_swarm::Config::new(node, membership);
        let daemon = Daemon::new(Config { network, swarm, coordinator, sessions, onions })
            .map_err(|error| Failure::usage(error.to_string()))?;
        let chain = side;
        let parts = Parts {
            node,
            daemon,
            store,
            keys,
            checker,
            reader,
            clock,
            quic,
            events,
            chain,
            workloads,
        };
        let (handle, running) = shell::start(parts).map_err(|error| cannot_start(&error))?;
        api.let_in(handle);
        Ok(running)
    }
}

async fn until_stopped(
    settings: &Settings,
    mut running: Running,
    asked: impl Future<Output = &'static str>,
    http: Option<Server>,
    chain: Option<&OfChain>,
) -> Result<()> {
    let lost = async {
        match chain {
            Some(chain) => chain.following.failed().await,
            None => std::future::pending().await,
        }
    };
    let why = tokio::select! {
        signal = asked => signal,
        () = signals::stdin_end(settings.stop_with_stdin) => "the end of standard input",
        failed = running.ended() => {
            close(http).await;
            let why = failed.err().map_or("the main loop ended".to_owned(), |error| error.to_string());
            return Err(Failure::runtime(format!("the disk failed a write: {why}")));
        }
        why = lost => {
            drop(running.stop().await);
            close(http).await;
            return Err(Failure::runtime(format!("the copy of the chain failed: {why}")));
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

fn limits(settings: &Settings) -> session_network::Limits {
    session_network::Limits {
        client: client_budget(settings.client_rate),
        client_onions: onion_rate(settings.onion_rate),
        ..session_network::Limits::default()
    }
}

/// Onion packets of one client connection: in a burst as many times more as by default.
fn onion_rate(per_second: Option<u32>) -> Rate {
    per_second.map_or(Rate::UNLIMITED, |rate| Rate {
        per_second: rate.into(),
        burst: u64::from(rate) * (CLIENT_ONIONS.burst / CLIENT_ONIONS.per_second),
    })
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

fn cannot_start(error: &std::io::Error) -> Failure {
    Failure::runtime(format!("cannot start threads: {error}"))
}

fn cannot_listen(flag: &str, error: &BindError) -> Failure {
    Failure::runtime(format!("{flag}: {error}"))
}
