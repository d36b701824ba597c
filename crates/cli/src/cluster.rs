//! A whole network on one machine: real processes in one directory.
//!
//! ```text
//! DIR/genesis.json      how the chain began, with all nodes; see `local_chain`
//! DIR/network.toml      who the nodes are, as the chain says
//! DIR/node-00/          data directory and key of the first node
//! DIR/node-00.log       what it says
//! ```

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use session_core::{NodeId, SwarmId};
use session_crypto::{Identity, identity_file};
use session_protocol::{Membership, StaticMembership, network_file};
use session_rpc::network_file::NetworkFile;
use session_runtime::http::client::{Client, Options};
use tokio::time::Instant;

use crate::args::Up;
use crate::chain::network;
use crate::exit::{Doing, Failure, Result};
use crate::home;
use crate::local_chain::{self, LocalChain};
use crate::out::Out;
use crate::process::{self, Process};

/// How long a node may take from its start to being ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a program may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a node may take to say how it is.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

/// How many nodes a network gets when nobody says otherwise.
const NODES: u16 = 10;

/// The name of the networks that `session up` makes.
const NETWORK_NAME: &str = "local";

/// The nodes of a local network and their chain, and their processes.
pub(crate) struct Cluster {
    dir: PathBuf,
    chain: LocalChain,
    nodes: Vec<Local>,
    client_rate: Option<u32>,
}

struct Local {
    id: NodeId,
    address: SocketAddr,
    http: SocketAddr,
    data: PathBuf,
    process: Process,
}

/// What a node says of itself over `/health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) ready: bool,
    pub(crate) items: u64,
    pub(crate) members_up: u64,
}

impl Cluster {
    /// Opens the network in `dir`, or makes one there. Its chain runs afterwards, its nodes not.
    pub(crate) async fn open(dir: &Path, args: &Up, out: Out) -> Result<Self> {
        let sessiond = process::find("sessiond", args.sessiond.as_deref())?;
        let sessionvm = process::find("sessionvm", args.sessionvm.as_deref())?;
        std::fs::create_dir_all(dir).doing(|| format!("cannot make {}", dir.display()))?;
        let file = dir.join("network.toml");
        let old = local_chain::genesis_file(dir).exists();
        if !old {
            let nodes = if file.exists() {
                // Made before networks had a chain: it gets one that knows its nodes.
                out.warn(&format!("the network in {} had no chain: it gets one", dir.display()));
                nodes_made_here(dir, &file)?
            } else {
                make_nodes(dir, usize::from(args.nodes.unwrap_or(NODES)))?
            };
            local_chain::make_genesis(dir, nodes)?;
        }
        let keys = node_keys(dir)?;
        if let Some(nodes) = args.nodes.filter(|nodes| old && usize::from(*nodes) != keys.len()) {
            out.remark(&format!(
                "the network in {} keeps its number of nodes, {}: --nodes {nodes} is for a new one",
                dir.display(),
                keys.len()
            ));
        }
        let mut ports = free_tcp_ports(keys.len() + 1)?;
        let http = ports.pop().ok_or_else(|| Failure::failed("no free TCP port"))?;
        let mut chain = LocalChain::open(dir, sessionvm, http);
        chain.start().await?;
        network::write(&file, &network::fetch(&chain.rpc()?).await?)?;
        let membership = home::read_network(&file)?;
        let mut nodes = Vec::new();
        for ((index, id), http) in keys.into_iter().zip(ports) {
            let Some(record) = membership.node(&id) else {
                out.warn(&format!("node {index} is not active on the chain: it is not started"));
                continue;
            };
            let address = record.address.parse().doing(|| format!("node {id}: address"))?;
            let log = dir.join(format!("node-{index:02}.log"));
            let process = Process::new(format!("node {index}"), sessiond.clone(), log);
            nodes.push(Local { id, address, http, data: node_dir(dir, index), process });
        }
        if nodes.is_empty() {
            return Err(not_made_here(&file));
        }
        Ok(Self { dir: dir.to_owned(), chain, nodes, client_rate: args.client_rate })
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

    pub(crate) fn pid(&self, index: usize) -> Option<u32> {
        self.nodes[index].process.pid()
    }

    /// Starts one node; it stops by itself when this program ends, however it ends.
    pub(crate) fn start(&mut self, index: usize) -> Result<()> {
        let network = self.network_file();
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
            "--network".into(),
            network.into(),
        ]);
        node.process.start(&args)
    }

    /// Ends one node the hard way, with SIGKILL.
    pub(crate) async fn kill(&mut self, index: usize) -> Result<()> {
        self.nodes[index].process.kill().await
    }

    /// Waits until every running node sees every other running node.
    pub(crate) async fn wait_ready(&mut self) -> Result<Duration> {
        let started = Instant::now();
        let running = self.nodes.iter().filter(|node| node.process.is_started()).count() as u64;
        for index in 0..self.nodes.len() {
            loop {
                if !self.nodes[index].process.is_started() {
                    break;
                }
                self.nodes[index].process.check_alive()?;
                if self.health(index).await.is_some_and(|it| it.ready && it.members_up >= running) {
                    break;
                }
                if started.elapsed() > START_TIMEOUT {
                    return Err(Failure::failed(format!(
                        "node {index} is not ready after {} s; see {}",
                        START_TIMEOUT.as_secs(),
                        self.nodes[index].process.log().display()
                    )));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(started.elapsed())
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

/// Makes the keys of `count` nodes, each with a free port.
fn make_nodes(dir: &Path, count: usize) -> Result<NetworkFile> {
    let mut entries = Vec::with_capacity(count);
    let sockets = (0..count)
        .map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<std::io::Result<Vec<_>>>()
        .doing(|| "cannot find free UDP ports".to_owned())?;
    for (index, socket) in sockets.iter().enumerate() {
        let address = socket.local_addr().doing(|| "cannot find a free UDP port".to_owned())?;
        let identity = Identity::generate(&mut crate::person::entropy()?);
        let data = node_dir(dir, index);
        std::fs::create_dir_all(&data).doing(|| format!("cannot make {}", data.display()))?;
        let key = data.join("node.key");
        home::write_secret(&key, &identity_file::encode_plain(&identity))?;
        let address = address.to_string().parse().doing(|| "a node's address".to_owned())?;
        entries.push(network_file::entry(identity.public(), address, SwarmId(0)));
    }
    Ok(NetworkFile::new(NETWORK_NAME, entries))
}

/// Reads the network file of a network that has no chain yet, and whose nodes' keys are all here.
fn nodes_made_here(dir: &Path, file: &Path) -> Result<NetworkFile> {
    let membership = home::read_network(file)?;
    let keys = node_keys(dir)?;
    let here = |id: &NodeId| keys.iter().any(|(_, key)| key == id);
    if !membership.nodes().iter().all(|(id, _)| here(id)) {
        return Err(not_made_here(file));
    }
    let text = std::fs::read_to_string(file).doing(|| format!("cannot read {}", file.display()))?;
    let (network, _) = NetworkFile::parse(&text).doing(|| file.display().to_string())?;
    Ok(network)
}

fn not_made_here(file: &Path) -> Failure {
    Failure::usage(format!(
        "{} is a network file without node keys beside it: this network was not made here",
        file.display()
    ))
}

/// Returns the nodes whose keys are in the directory, by their numbers.
fn node_keys(dir: &Path) -> Result<Vec<(usize, NodeId)>> {
    let mut nodes = Vec::new();
    for index in 0.. {
        let key = node_dir(dir, index).join("node.key");
        if !key.exists() {
            break;
        }
        let bytes = std::fs::read(&key).doing(|| format!("cannot read {}", key.display()))?;
        let identity = identity_file::decode(&bytes, None)
            .doing(|| format!("{} is not a node key", key.display()))?;
        nodes.push((index, identity.public().node_id()));
    }
    Ok(nodes)
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

fn node_dir(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("node-{index:02}"))
}

/// A membership that tasks share.
pub(crate) type SharedMembership = Arc<StaticMembership>;
