//! A whole network on one machine: real node processes in one directory.
//!
//! ```text
//! DIR/network.toml      who the nodes are
//! DIR/node-00/          data directory and key of the first node
//! DIR/node-00.log       what it says
//! ```

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use session_core::{NodeId, SwarmId};
use session_crypto::{Identity, identity_file};
use session_protocol::{Membership, StaticMembership, network_file};
use session_rpc::network_file::NetworkFile;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::exit::{Doing, Failure, Result};
use crate::{home, http};

/// How long a node may take from its start to being ready.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a node may take to stop before it is killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// The name of the networks that `session up` makes.
const NETWORK_NAME: &str = "local";

/// The nodes of a local network, and their processes.
pub(crate) struct Cluster {
    sessiond: PathBuf,
    dir: PathBuf,
    nodes: Vec<Local>,
    client_rate: Option<u32>,
}

struct Local {
    id: NodeId,
    address: SocketAddr,
    http: SocketAddr,
    process: Option<Child>,
}

/// What a node says of itself over `/health`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    pub(crate) ready: bool,
    pub(crate) items: u64,
    pub(crate) members_up: u64,
}

impl Cluster {
    /// Opens the network in `dir`, or makes one of `count` nodes there.
    pub(crate) fn open(dir: &Path, count: usize, sessiond: Option<&Path>) -> Result<Self> {
        let sessiond = find_sessiond(sessiond)?;
        std::fs::create_dir_all(dir).doing(|| format!("cannot make {}", dir.display()))?;
        let file = dir.join("network.toml");
        if !file.exists() {
            make_network(dir, count)?;
        }
        let membership = home::read_network(&file)?;
        let mut nodes = Vec::new();
        for index in 0.. {
            let key = node_dir(dir, index).join("node.key");
            if !key.exists() {
                break;
            }
            nodes.push(read_node(&key, &membership)?);
        }
        if nodes.is_empty() {
            return Err(Failure::usage(format!(
                "{} is a network file without node keys beside it: this network was not made here",
                file.display()
            )));
        }
        let http = free_tcp_ports(nodes.len())?;
        for (node, http) in nodes.iter_mut().zip(http) {
            node.http = http;
        }
        Ok(Self { sessiond, dir: dir.to_owned(), nodes, client_rate: None })
    }

    /// Sets how many requests a second a node takes from one address; 0 for no limit.
    pub(crate) const fn with_client_rate(mut self, rate: Option<u32>) -> Self {
        self.client_rate = rate;
        self
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
        self.nodes[index].process.as_ref().and_then(Child::id)
    }

    /// Starts one node; it stops by itself when this program ends, however it ends.
    pub(crate) fn start(&mut self, index: usize) -> Result<()> {
        let dir = node_dir(&self.dir, index);
        let log = log_file(&self.dir, index);
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .doing(|| format!("cannot open {}", log.display()))?;
        let errors = output.try_clone().doing(|| format!("cannot open {}", log.display()))?;
        let node = &mut self.nodes[index];
        let mut command = Command::new(&self.sessiond);
        if let Some(rate) = self.client_rate {
            command.arg("--client-rate").arg(rate.to_string());
        }
        let process = command
            .arg("--listen")
            .arg(node.address.to_string())
            .arg("--http")
            .arg(node.http.to_string())
            .arg("--data-dir")
            .arg(&dir)
            .arg("--network")
            .arg(self.dir.join("network.toml"))
            .arg("--stop-with-stdin")
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            .kill_on_drop(true)
            .spawn()
            .doing(|| format!("cannot start {}", self.sessiond.display()))?;
        node.process = Some(process);
        Ok(())
    }

    /// Ends one node the hard way, with SIGKILL.
    pub(crate) async fn kill(&mut self, index: usize) -> Result<()> {
        if let Some(mut process) = self.nodes[index].process.take() {
            process.kill().await.doing(|| format!("cannot kill node {index}"))?;
        }
        Ok(())
    }

    /// Waits until every running node sees every other running node.
    pub(crate) async fn wait_ready(&mut self) -> Result<Duration> {
        let started = Instant::now();
        let running = self.nodes.iter().filter(|node| node.process.is_some()).count() as u64;
        for index in 0..self.nodes.len() {
            loop {
                if self.nodes[index].process.is_none() {
                    break;
                }
                self.check_alive(index)?;
                if self.health(index).await.is_some_and(|it| it.ready && it.members_up >= running) {
                    break;
                }
                if started.elapsed() > START_TIMEOUT {
                    return Err(Failure::failed(format!(
                        "node {index} is not ready after {} s; see {}",
                        START_TIMEOUT.as_secs(),
                        log_file(&self.dir, index).display()
                    )));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        Ok(started.elapsed())
    }

    /// Asks a node how it is; `None` when it does not answer.
    pub(crate) async fn health(&self, index: usize) -> Option<Health> {
        let body = http::get(self.nodes[index].http, "/health").await.ok()?;
        let value: serde_json::Value = serde_json::from_slice(&body).ok()?;
        Some(Health {
            ready: value.get("status")? == "ok",
            items: value.get("items")?.as_u64()?,
            members_up: value.get("members_up")?.as_u64()?,
        })
    }

    /// Stops every node: SIGTERM, five seconds, SIGKILL. Returns how many had to be killed.
    pub(crate) async fn stop(&mut self) -> usize {
        for node in &self.nodes {
            if let Some(pid) = node.process.as_ref().and_then(Child::id) {
                terminate(pid);
            }
        }
        let deadline = Instant::now() + STOP_TIMEOUT;
        let mut killed = 0;
        for node in &mut self.nodes {
            let Some(mut process) = node.process.take() else { continue };
            if tokio::time::timeout_at(deadline, process.wait()).await.is_err() {
                killed += 1;
                // The process may end by itself right now: nothing to do then.
                let _ = process.kill().await;
            }
        }
        killed
    }

    fn check_alive(&mut self, index: usize) -> Result<()> {
        let log = log_file(&self.dir, index);
        let Some(process) = &mut self.nodes[index].process else { return Ok(()) };
        match process.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Failure::failed(format!(
                "node {index} ended at once ({status}): {}",
                last_line(&log)
            ))),
            Err(error) => Err(Failure::failed(format!("cannot watch node {index}: {error}"))),
        }
    }
}

fn terminate(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // Fails only when the process is gone already.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn make_network(dir: &Path, count: usize) -> Result<()> {
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
    let text = NetworkFile::new(NETWORK_NAME, entries).to_toml();
    let file = dir.join("network.toml");
    std::fs::write(&file, text).doing(|| format!("cannot write {}", file.display()))
}

fn read_node(key: &Path, membership: &StaticMembership) -> Result<Local> {
    let bytes = std::fs::read(key).doing(|| format!("cannot read {}", key.display()))?;
    let identity = identity_file::decode(&bytes, None)
        .doing(|| format!("{} is not a node key", key.display()))?;
    let id = identity.public().node_id();
    let record = membership.node(&id).ok_or_else(|| {
        Failure::usage(format!("{} is not a node of the network file", key.display()))
    })?;
    let address = record.address.parse().doing(|| format!("node {id}: address"))?;
    Ok(Local { id, address, http: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), process: None })
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

fn find_sessiond(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let own = std::env::current_exe().doing(|| "cannot find this program's folder".to_owned())?;
    let beside = own.with_file_name("sessiond");
    if beside.exists() {
        return Ok(beside);
    }
    Err(Failure::not_found(format!(
        "{} is not there: build it with 'cargo build --release', or name it with --sessiond",
        beside.display()
    )))
}

fn node_dir(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("node-{index:02}"))
}

fn log_file(dir: &Path, index: usize) -> PathBuf {
    dir.join(format!("node-{index:02}.log"))
}

fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    text.lines().last().unwrap_or("it said nothing").to_owned()
}

/// A membership that tasks share.
pub(crate) type SharedMembership = Arc<StaticMembership>;
