//! A chain that runs alone: a sequencer that makes and seals blocks, or a follower of one.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use session_core::{Encode as _, Entropy as _, Time};
use session_crypto::Identity;
use session_rpc::vm::{Config as ChainConfig, Genesis as GenesisFile, Profile};
use session_runtime::failure::{Failure, Result, chain as chained};
use session_runtime::files::Existing;
use session_runtime::http::{Limits, serve};
use session_runtime::program::say;
use session_runtime::{OsEntropy, SystemClock, files, key_file, logging, signals};
use session_storage::kv::{Database as _, DiskDatabase, MemoryDatabase};
use session_vm::chain::layout;
use session_vm::genesis_file;
use tokio::sync::watch;

use crate::args::Settings;
use crate::engine::{AnyDatabase, Engine, Parts};
use crate::follow::{self, Forward};
use crate::hosted::HostedError;
use crate::http::{App, Role};
use crate::sequence;

/// What HTTP clients are given to take what was sent to them.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// The file of the chain's blocks and state, in the data directory.
const DATABASE: &str = "chain.redb";
/// The genesis, in the data directory.
const GENESIS: &str = "genesis.json";
/// Followers' operators take it from there.
const GENESIS_MODE: u32 = 0o644;
/// Two sealed blocks that contradict each other, in the data directory of a follower.
const EVIDENCE: &str = "fork.evidence";
/// The sequencer's keys, in the data directory.
const KEY: &str = "sequencer.key";
/// Connections at once: browsers, tools, followers, and one for each WebSocket.
const CONNECTIONS_MAX: usize = 1024;

/// Runs a chain until it is asked to stop.
///
/// # Errors
/// When a file is wrong, the port is not free, or the disk fails.
pub fn run(settings: Settings) -> Result<()> {
    logging::init(None).map_err(|error| Failure::usage(error.to_string()))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::runtime(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(live(settings));
    // Nothing that still runs is worth waiting for.
    runtime.shutdown_background();
    result
}

async fn live(settings: Settings) -> Result<()> {
    // Before anything can fail halfway: a stop that is asked for early is not lost.
    let asked = signals::stop_asked().map_err(|error| Failure::runtime(error.to_string()))?;
    if let Some(dir) = &settings.data_dir {
        files::create_private_directory(dir)
            .map_err(|error| Failure::usage(format!("the data directory: {error}")))?;
    }
    let config = load_config(&settings)?;
    let given = given_genesis(&settings)?;
    // It locks the directory: nothing is written there before.
    let database = database(settings.data_dir.as_deref())?;
    let (file, keys) = begin(&settings, given, &database)?;
    let configured = Duration::from_millis(config.block_time.as_millis());
    let block_time = settings.block_time.unwrap_or(configured);
    let forward = settings.follow.clone().map(|upstream| Arc::new(Forward::start(upstream)));
    let engine = Engine::open(Parts {
        chain_id: None,
        database,
        data_dir: settings.data_dir.clone(),
        genesis: file,
        config,
        gossip: forward.clone().map(|forward| forward as _),
    })
    .map_err(from_hosted)?;

    let role = if keys.is_some() { Role::Sequencer } else { Role::Follower };
    let app = App::new(Arc::clone(&engine), role, settings.client_rate);
    let (fault, faulted) = watch::channel(None);
    let work = match (keys, settings.follow.clone().zip(forward)) {
        (Some(keys), _) => {
            let run = sequence::run(Arc::clone(&engine), keys, block_time, fault);
            tokio::spawn(run)
        }
        (None, Some((upstream, forward))) => {
            let evidence = settings.data_dir.as_ref().map(|dir| dir.join(EVIDENCE));
            tokio::spawn(follow::run(app.clone(), upstream, forward, evidence, fault))
        }
        (None, None) => return Err(Failure::usage("a chain needs a sequencer or whom to follow")),
    };
    let limits = Limits {
        connections_max: CONNECTIONS_MAX,
        body_bytes_max: session_rpc::vm::api::BODY_BYTES_MAX,
        ..Limits::default()
    };
    let handler = {
        let app = app.clone();
        move |request| app.clone().answer(request)
    };
    let server = serve(settings.listen, handler, limits)
        .await
        .map_err(|error| Failure::runtime(format!("--listen: {error}")))?;
    say(&format!("listening on http {}", server.local_addr()))?;
    let result = until_stopped(&settings, asked, faulted).await;
    work.abort();
    server.shutdown(CLOSE_TIMEOUT).await;
    let engine_ending = tokio::task::spawn_blocking(move || engine.post().stop());
    engine_ending.await.map_err(|error| Failure::runtime(error.to_string()))?;
    result
}

async fn until_stopped(
    settings: &Settings,
    asked: impl Future<Output = &'static str>,
    mut faulted: watch::Receiver<Option<String>>,
) -> Result<()> {
    let why = tokio::select! {
        signal = asked => signal,
        () = signals::stdin_end(settings.stop_with_stdin) => "the end of standard input",
        fault = faulted.wait_for(Option::is_some) => {
            let why = fault.ok().and_then(|why| why.clone());
            return Err(Failure::runtime(why.unwrap_or_else(|| "the main loop ended".to_owned())));
        }
    };
    tracing::info!("stopping: {why}");
    Ok(())
}

fn key_path(settings: &Settings) -> Option<PathBuf> {
    let beside = || settings.data_dir.as_ref().map(|dir| dir.join(KEY));
    settings.sequencer_key.clone().or_else(beside)
}

fn keys(settings: &Settings) -> Result<Identity> {
    let Some(path) = key_path(settings) else { return key_file::generate() };
    let passphrase = key_file::passphrase();
    let (keys, made) = key_file::load_or_make(&path, passphrase.as_deref())?;
    if made {
        let how = if passphrase.is_some() { "encrypted" } else { "without a passphrase" };
        tracing::info!("made the sequencer's keys, {how}: {}", path.display());
    }
    Ok(keys)
}

fn database(dir: Option<&Path>) -> Result<AnyDatabase> {
    match dir {
        None => Ok(Box::new(MemoryDatabase::default())),
        Some(dir) => {
            let path = dir.join(DATABASE);
            let database = DiskDatabase::open(&path).map_err(|error| {
                Failure::usage(format!("the data directory: {}", chained(&error)))
            })?;
            Ok(Box::new(database))
        }
    }
}

/// Reads the genesis that was asked for, or the one in the data directory.
fn given_genesis(settings: &Settings) -> Result<Option<GenesisFile>> {
    let beside = settings.data_dir.as_ref().map(|dir| dir.join(GENESIS));
    let given = settings.genesis.clone().or_else(|| beside.filter(|file| file.exists()));
    if let Some(path) = given {
        return read_genesis(&path).map(Some);
    }
    if settings.follow.is_some() {
        let why = "--follow needs the genesis of the chain: --genesis FILE (the sequencer serves \
                   it at /genesis; check it with whoever runs it)";
        return Err(Failure::usage(why));
    }
    Ok(None)
}

/// Returns the genesis, and the keys of a sequencer; one that was given no genesis begins a chain
/// of its own.
fn begin(
    settings: &Settings,
    given: Option<GenesisFile>,
    database: &AnyDatabase,
) -> Result<(GenesisFile, Option<Arc<Identity>>)> {
    let Some(file) = given else {
        if holds_a_chain(database)? {
            let why = format!(
                "the data directory holds a chain and no {GENESIS}: name the chain's with \
                 --genesis, and whom to follow with --follow if this is a copy"
            );
            return Err(Failure::usage(why));
        }
        let keys = keys(settings)?;
        let beside = settings.data_dir.as_ref().map(|dir| dir.join(GENESIS));
        let file = own_genesis(&keys, beside)?;
        return Ok((file, Some(Arc::new(keys))));
    };
    if settings.follow.is_some() {
        if file.sequencer.is_none() {
            let why = "the genesis names no sequencer: there is nobody to follow";
            return Err(Failure::usage(why));
        }
        return Ok((file, None));
    }
    let Some(named) = &file.sequencer else {
        tracing::warn!("the genesis names no sequencer: nobody can follow this chain");
        let keys = keys(settings)?;
        return Ok((file, Some(Arc::new(keys))));
    };
    let hint = "--sequencer-key names its key file, --follow follows another one";
    if let Some(path) = key_path(settings).filter(|path| !path.exists()) {
        let at = path.display();
        let why = format!("the genesis names a sequencer, and {at} is not there ({hint})");
        return Err(Failure::usage(why));
    }
    let keys = keys(settings)?;
    if *named != keys.public().to_bytes() {
        return Err(Failure::usage(format!(
            "the genesis names another sequencer than {} ({hint})",
            keys.public().account_ref()
        )));
    }
    Ok((file, Some(Arc::new(keys))))
}

fn holds_a_chain(database: &AnyDatabase) -> Result<bool> {
    let stamp = database.get(layout::STAMP_KEY);
    stamp.map(|stamp| stamp.is_some()).map_err(|error| Failure::runtime(error.to_string()))
}

fn read_genesis(path: &Path) -> Result<GenesisFile> {
    let at = path.display();
    let text = std::fs::read(path)
        .map_err(|error| Failure::usage(format!("cannot read the genesis {at}: {error}")))?;
    let (file, warnings) = GenesisFile::parse(&text)
        .map_err(|error| Failure::usage(format!("the genesis {at}: {error}")))?;
    for warning in warnings {
        tracing::warn!("the genesis {at}: nobody knows the key {warning}");
    }
    Ok(file)
}

fn own_genesis(keys: &Identity, path: Option<PathBuf>) -> Result<GenesisFile> {
    let mut rng = OsEntropy::new().map_err(|error| Failure::runtime(error.to_string()))?;
    // Chains of the same program at the same moment are still different ones.
    let name = format!("solo-{:08x}", rng.next_u64() >> 32);
    let now: Time = SystemClock::new().now();
    let file = genesis_file::of_one(&name, now, keys.public());
    tracing::warn!("no genesis: this is a chain of its own, called {name}");
    if let Some(path) = path {
        files::write_atomic(&path, file.to_json().as_bytes(), GENESIS_MODE, Existing::Keep)
            .map_err(|error| Failure::usage(format!("the genesis: {error}")))?;
        tracing::info!("its genesis, for followers, is {}", path.display());
    }
    Ok(file)
}

fn load_config(settings: &Settings) -> Result<ChainConfig> {
    let (mut config, warnings) = match &settings.config {
        None => (ChainConfig::default(), Vec::new()),
        Some(path) => {
            let at = path.display();
            let text = std::fs::read(path).map_err(|error| {
                Failure::usage(format!("cannot read the configuration {at}: {error}"))
            })?;
            ChainConfig::parse(&text)
                .map_err(|error| Failure::usage(format!("the configuration {at}: {error}")))?
        }
    };
    for warning in warnings {
        tracing::warn!("the configuration: nobody knows the key {warning}");
    }
    if settings.compat {
        config.profile = Profile::Go;
    }
    Ok(config)
}

fn from_hosted(error: HostedError) -> Failure {
    match error {
        HostedError::Refused(why) => Failure::usage(why),
        other => Failure::runtime(other.to_string()),
    }
}
