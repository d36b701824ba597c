//! A whole network on one machine: real processes in one directory.
//!
//! ```text
//! DIR/genesis.json      how the chain began, without nodes; see `local_chain`
//! DIR/network.toml      who the nodes are, as the chain says; for clients without the chain
//! DIR/nodes.url         where they are asked over HTTP, one a line; new at each start
//! DIR/node-00/          data directory and key of the first node
//! DIR/node-00/connectors.toml   how it reaches the outside world, if the file is there
//! DIR/node-00.log       what it says
//! DIR/node-00.lie       how it lies, if it does
//! ```

mod enroll;
mod keys;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use session_core::NodeId;
use session_rpc::network_file::NetworkFile;
use session_runtime::files::{self, Existing, SECRET_MODE};
use session_runtime::http::client::{Client, Endpoint, Options};
use tokio::time::Instant;

use crate::args::Up;
use crate::chain::network;
use crate::exit::{Code, Doing, Failure, Result};
use crate::local_chain::{self, LocalChain, Rules};
use crate::members::Members;
use crate::out::Out;
use crate::process::{self, Process};

use enroll::Known;

/// How long a node may take from its start to being ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a program may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a node may take to say how it is.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// Epochs that nodes that registered late may wait for their places.
const SEAT_EPOCHS: u32 = 3;

/// How many nodes a network gets when nobody says otherwise.
const NODES: u16 = 10;

/// The most nodes of a network, those that lie included.
const NODES_MAX: usize = 32;

/// Where the nodes of a network are asked.
pub(crate) const URLS_FILE: &str = "nodes.url";

/// All addresses of a network are shorter.
const URLS_BYTES_MAX: usize = 16 * 1024;

/// What a node knows of the outside world, in its data directory.
const CONNECTORS_FILE: &str = "connectors.toml";

/// Addresses are public.
const MODE: u32 = 0o644;

/// The name of the networks that `session up` makes.
const NETWORK_NAME: &str = "local";

/// The nodes of a local network and their chain, and their processes.
pub(crate) struct Cluster {
    dir: PathBuf,
    chain: LocalChain,
    nodes: Vec<Local>,
    client_rate: Option<u32>,
    network: NetworkFile,
    registered: usize,
}

struct Local {
    index: usize,
    id: NodeId,
    address: SocketAddr,
    http: SocketAddr,
    data: PathBuf,
    lie: Option<String>,
    process: Process,
}

/// What a node says of itself over `/health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) ready: bool,
    pub(crate) items: u64,
    pub(crate) members_up: u64,
    pub(crate) swarm: Option<String>,
}

impl Cluster {
    /// Opens the network in `dir`, or makes one there. Its chain runs afterwards and knows its
    /// nodes, which do not run.
    pub(crate) async fn open(dir: &Path, args: &Up, out: Out) -> Result<Self> {
        let sessiond = process::find("sessiond", args.sessiond.as_deref())?;
        let sessionvm = process::find("sessionvm", args.sessionvm.as_deref())?;
        std::fs::create_dir_all(dir).doing(|| format!("cannot make {}", dir.display()))?;
        let file = dir.join("network.toml");
        let old = local_chain::genesis_file(dir).exists();
        let (good, bad) = (usize::from(args.nodes.unwrap_or(NODES)), usize::from(args.bad));
        if !old {
            if file.exists() {
                // Made before networks had a chain: it gets one, which comes to know its nodes.
                out.warn(&format!("the network in {} had no chain: it gets one", dir.display()));
            } else if good + bad > NODES_MAX {
                return Err(Failure::usage(format!(
                    "{good} nodes and {bad} that lie are more than {NODES_MAX}"
                )));
            } else {
                keys::make(dir, good, bad)?;
            }
        }
        let keys =
            keys::read(dir, Some(&file).filter(|file| !old && file.exists()).map(|it| &**it))?;
        if keys.is_empty() {
            return Err(keys::not_made_here(&file));
        }
        if old {
            remark_on_old(dir, args, keys.len(), out);
        } else {
            // In the demo honest nodes are dead for a while: on a slow machine for many epochs.
            let dear = !args.demo && keys.iter().any(|keys| keys.lie.is_some());
            local_chain::make_genesis(dir, NETWORK_NAME, Rules::new(args.epoch, dear))?;
        }
        let mut ports = free_tcp_ports(keys.len() + 1)?;
        let http = ports.pop().ok_or_else(|| Failure::failed("no free TCP port"))?;
        let mut chain = LocalChain::open(dir, sessionvm, http);
        chain.start().await?;
        let (known, registered) = enroll::all(&chain.rpc()?, &chain.operator()?, &keys).await?;
        let mut nodes = Vec::new();
        for ((keys, known), http) in keys.into_iter().zip(known).zip(ports) {
            let (id, index) = (keys.id(), keys.index);
            let address = match known {
                Known::At(address) => address,
                Known::Out(status) => {
                    out.warn(&format!("node {index} is {status} on the chain: it is not started"));
                    continue;
                }
            };
            let log = dir.join(format!("node-{index:02}.log"));
            let process = Process::new(format!("node {index}"), sessiond.clone(), log);
            let data = keys::node_dir(dir, index);
            nodes.push(Local { index, id, address, http, data, lie: keys.lie, process });
        }
        if nodes.is_empty() {
            return Err(Failure::failed("no node of this network is in service any more"));
        }
        let network = wait_for_seats(&chain, dir).await?;
        network::write(&file, &network)?;
        write_urls(dir, &nodes)?;
        let dir = dir.to_owned();
        Ok(Self { dir, chain, nodes, client_rate: args.client_rate, network, registered })
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Returns how many nodes were registered when the network was opened.
    pub(crate) const fn registered(&self) -> usize {
        self.registered
    }

    /// Writes the network file again if the chain knows other nodes now; returns whether it does.
    pub(crate) async fn refresh(&mut self) -> Result<bool> {
        let network = network::fetch(&self.chain.rpc()?).await?;
        if network == self.network {
            return Ok(false);
        }
        network::write(&self.network_file(), &network)?;
        self.network = network;
        Ok(true)
    }

    /// Returns the nodes as the chain says, and where it is asked again.
    pub(crate) fn members(&self) -> Result<Members> {
        let chain = self.chain.url().parse().doing(|| "the chain's address".to_owned())?;
        Members::new(self.network.clone(), &self.network_file(), Some(chain))
    }

    /// Returns how a node lies, if it does.
    pub(crate) fn lie(&self, index: usize) -> Option<&str> {
        self.nodes[index].lie.as_deref()
    }

    /// Returns the number of a node in the directory, by its id.
    pub(crate) fn number(&self, id: &NodeId) -> Option<usize> {
        self.nodes.iter().find(|node| node.id == *id).map(|node| node.index)
    }

    pub(crate) const fn chain(&self) -> &LocalChain {
        &self.chain
    }

    pub(crate) const fn chain_mut(&mut self) -> &mut LocalChain {
        &mut self.chain
    }

    pub(crate) fn network_file(&self) -> PathBuf {
        self.dir.join("network.toml")
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn id(&self, index: usize) -> NodeId {
        self.nodes[index].id
    }

    pub(crate) fn address(&self, index: usize) -> SocketAddr {
        self.nodes[index].address
    }

    pub(crate) fn http_address(&self, index: usize) -> SocketAddr {
        self.nodes[index].http
    }

    /// Says how a node reaches the outside world, before it is started.
    pub(crate) fn connect(&self, index: usize, connectors: &str) -> Result<()> {
        let path = self.nodes[index].data.join(CONNECTORS_FILE);
        files::write_atomic(&path, connectors.as_bytes(), SECRET_MODE, Existing::Replace)
            .map_err(Failure::failed)
    }

    /// Returns where a node keeps its things.
    pub(crate) fn data(&self, index: usize) -> &Path {
        &self.nodes[index].data
    }

    pub(crate) fn pid(&self, index: usize) -> Option<u32> {
        self.nodes[index].process.pid()
    }

    /// Starts one node; it stops by itself when this program ends, however it ends.
    pub(crate) fn start(&mut self, index: usize) -> Result<()> {
        let (chain, genesis) = (self.chain.url(), local_chain::genesis_file(&self.dir));
        let node = &mut self.nodes[index];
        let mut args: Vec<OsString> = Vec::new();
        if let Some(rate) = self.client_rate {
            args.extend(["--client-rate".into(), rate.to_string().into()]);
        }
        args.extend([
            "--listen".into(),
            node.address.to_string().into(),
            "--http".into(),
            node.http.to_string().into(),
            "--data-dir".into(),
            node.data.clone().into(),
            "--chain".into(),
            chain.into(),
            "--genesis".into(),
            genesis.into(),
        ]);
        let connectors = node.data.join(CONNECTORS_FILE);
        if connectors.exists() {
            args.extend(["--connectors".into(), connectors.into()]);
        }
        if let Some(lie) = &node.lie {
            args.extend(["--lie".into(), lie.into()]);
        }
        node.process.start(&args)
    }

    /// Ends one node the hard way, with SIGKILL.
    pub(crate) async fn kill(&mut self, index: usize) -> Result<()> {
        self.nodes[index].process.kill().await
    }

    /// Waits until every running node sees every other running node of its swarm.
    pub(crate) async fn wait_ready(&mut self) -> Result<Duration> {
        let started = Instant::now();
        loop {
            let Some(late) = self.late().await? else { return Ok(started.elapsed()) };
            if started.elapsed() > START_TIMEOUT {
                return Err(Failure::failed(format!(
                    "node {late} is not ready after {} s; see {}",
                    START_TIMEOUT.as_secs(),
                    self.nodes[late].process.log().display()
                )));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Returns a running node that is not ready, or does not see its running mates.
    async fn late(&mut self) -> Result<Option<usize>> {
        let mut all = Vec::new();
        let mut mates: BTreeMap<String, u64> = BTreeMap::new();
        for index in 0..self.nodes.len() {
            // Who lies may be out already: it is never ready then, and nobody is connected with it.
            if !self.nodes[index].process.is_started() || self.lie(index).is_some() {
                continue;
            }
            self.nodes[index].process.check_alive()?;
            let Some(health) = self.health(index).await.filter(|health| health.ready) else {
                return Ok(Some(index));
            };
            *mates.entry(health.swarm.clone().unwrap_or_default()).or_default() += 1;
            all.push((index, health));
        }
        let sees = |health: &Health| {
            let swarm = health.swarm.clone().unwrap_or_default();
            health.members_up >= mates.get(&swarm).copied().unwrap_or_default()
        };
        Ok(all.iter().find(|(_, health)| !sees(health)).map(|(index, _)| *index))
    }

    /// Asks a node how it is; `None` when it does not answer.
    pub(crate) async fn health(&self, index: usize) -> Option<Health> {
        let options = Options { total_timeout: HEALTH_TIMEOUT, ..Options::default() };
        let endpoint = format!("http://{}", self.nodes[index].http).parse().ok()?;
        let (_, body) = Client::new(endpoint, options).get("/health").await.ok()?;
        let value: serde_json::Value = serde_json::from_slice(&body).ok()?;
        Some(Health {
            ready: value.get("status")? == "ok",
            items: value.get("items")?.as_u64()?,
            members_up: value.get("members_up")?.as_u64()?,
            swarm: value.get("swarm").and_then(|swarm| swarm.as_str()).map(str::to_owned),
        })
    }

    /// Tells, once for each, which programs ended by themselves, and how.
    pub(crate) fn ended(&mut self) -> Vec<String> {
        let nodes = self.nodes.iter_mut().map(|node| node.process.ended());
        std::iter::once(self.chain.ended()).chain(nodes).flatten().collect()
    }

    /// Stops every program: SIGTERM, five seconds, SIGKILL. Returns how many had to be killed.
    pub(crate) async fn stop(&mut self) -> usize {
        self.nodes.iter().for_each(|node| node.process.terminate());
        self.chain.terminate();
        let deadline = Instant::now() + STOP_TIMEOUT;
        let mut killed = 0;
        for node in &mut self.nodes {
            killed += usize::from(node.process.wait_stopped(deadline).await);
        }
        killed + usize::from(self.chain.wait_stopped(deadline).await)
    }
}

fn remark_on_old(dir: &Path, args: &Up, nodes: usize, out: Out) {
    let asked = args.nodes.map(|good| usize::from(good) + usize::from(args.bad));
    if asked.is_some_and(|asked| asked != nodes) || (asked.is_none() && args.bad > 0) {
        out.remark(&format!(
            "the network in {} keeps its number of nodes, {nodes}: --nodes and --bad are for a new one",
            dir.display()
        ));
    }
}

/// Returns the network once a node has a place: at once where the chain has just begun.
async fn wait_for_seats(chain: &LocalChain, dir: &Path) -> Result<NetworkFile> {
    let epoch: Duration = local_chain::epoch_length(dir)?.into();
    let deadline = Instant::now() + epoch * SEAT_EPOCHS;
    loop {
        match network::fetch(&chain.rpc()?).await {
            Err(none) if none.code == Code::NotFound && Instant::now() < deadline => {}
            fetched => return fetched,
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Writes where the nodes are asked, for those who have the network file.
fn write_urls(dir: &Path, nodes: &[Local]) -> Result<()> {
    let text: String = nodes.iter().map(|node| format!("http://{}\n", node.http)).collect();
    files::write_atomic(&dir.join(URLS_FILE), text.as_bytes(), MODE, Existing::Replace)
        .map_err(Failure::failed)
}

/// Returns where the nodes of a local network are asked; nothing if nobody wrote it down.
pub(crate) fn urls_beside(network: &Path) -> Result<Vec<Endpoint>> {
    let path = network.with_file_name(URLS_FILE);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let bytes = files::read(&path, URLS_BYTES_MAX).map_err(Failure::usage)?;
    let urls = String::from_utf8_lossy(&bytes);
    let parse = |url: &str| url.parse().doing(|| format!("{}: {url}", path.display()));
    urls.lines().map(parse).collect()
}

fn free_tcp_ports(count: usize) -> Result<Vec<SocketAddr>> {
    let listeners = (0..count)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<Vec<_>>>()
        .doing(|| "cannot find free TCP ports".to_owned())?;
    listeners
        .iter()
        .map(|listener| listener.local_addr().doing(|| "cannot find a free TCP port".to_owned()))
        .collect()
}
