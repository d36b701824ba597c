//! Nodes of a network file: processes, and places for nodes that a test plays itself.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use session_client::onion::{Guard, GuardList, Mode};
use session_core::{Encode as _, List, NodeId, Span};
use session_crypto::{Identity, RealVerifier};
use session_network::onion::{HopKey, Path};
use session_protocol::network_file::membership;
use session_protocol::request::{Operation, Outcome};
use session_protocol::{Membership as _, StaticMembership};
use session_rpc::NetworkFile;
use session_runtime::files::{self, Existing, SECRET_MODE};
use session_runtime::key_file;
use session_sdk::Network;

use session_sdk::agent::Agent;
use session_sdk::kept::GUARDS_FILE;
use tempfile::TempDir;

use super::{Asker, Node, Tap, batch, eventually, now, request, sessiond};

/// What to start.
#[derive(Default)]
pub(crate) struct Plan {
    /// What stands before the port of each process; nothing before those that have none.
    pub(crate) taps: Vec<Option<Tap>>,
    /// The swarms of the processes; the first one, where nothing is said.
    pub(crate) swarms: &'static [u64],
    /// Nodes that the test plays, by their swarms.
    pub(crate) played: Vec<u64>,
    /// More arguments of each process.
    pub(crate) args: &'static [&'static str],
}

/// The processes run until this is dropped.
pub(crate) struct Processes {
    pub(crate) nodes: Vec<Node>,
    pub(crate) membership: Arc<StaticMembership>,
    /// Those of the processes, and behind them those that the test plays.
    pub(crate) ids: Vec<NodeId>,
    /// Keys and addresses of those that the test plays.
    pub(crate) played: Vec<(Arc<Identity>, SocketAddr)>,
    pub(crate) file: PathBuf,
    pub(crate) dir: TempDir,
}

/// A place of a node: its directory, its address for others, its swarm.
type Place = (PathBuf, SocketAddr, u64);

/// Ports below those that the system hands out by itself: nobody gets one of them meanwhile.
const PORTS: std::ops::Range<u32> = 12_000..32_000;

/// Finds a port for a node whose address has to be known before it starts.
fn free_port() -> SocketAddr {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    // Tests of other processes begin elsewhere.
    let begin = std::process::id().wrapping_mul(97);
    loop {
        let number = begin.wrapping_add(TAKEN.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + number % (PORTS.end - PORTS.start);
        let address = SocketAddr::from(([127, 0, 0, 1], u16::try_from(port).unwrap()));
        if UdpSocket::bind(address).is_ok() {
            return address;
        }
    }
}

impl Processes {
    /// Makes the network file and starts the processes.
    pub(crate) fn start(plan: &Plan) -> Self {
        let dir = TempDir::new().unwrap();
        let address = |tap: &Option<Tap>| tap.as_ref().map_or_else(free_port, Tap::address);
        let ours = plan.played.iter().map(|swarm| (free_port(), *swarm));
        let swarms = plan.swarms.iter().copied().chain(std::iter::repeat(0));
        let all =
            plan.taps.iter().zip(swarms).map(|(tap, swarm)| (address(tap), swarm)).chain(ours);
        let all: Vec<(SocketAddr, u64)> = all.collect();
        let place = |(index, (address, swarm)): (usize, &(SocketAddr, u64))| {
            (dir.path().join(index.to_string()), *address, *swarm)
        };
        let places: Vec<Place> = all.iter().enumerate().map(place).collect();
        let text = network_file(&places);
        let file = dir.path().join("network.toml");
        std::fs::write(&file, &text).unwrap();
        let membership = Arc::new(membership(&NetworkFile::parse(&text).unwrap().0).unwrap());
        let ids = places.iter().map(|(_, address, _)| node_at(&membership, *address)).collect();
        let started = places.iter().zip(&plan.taps).map(|((place, address, _), tap)| {
            let listen = tap.as_ref().map_or(*address, |_| "127.0.0.1:0".parse().unwrap());
            let mut command = sessiond(&["-listen", &listen.to_string(), "-http", "127.0.0.1:0"]);
            command.arg("-data-dir").arg(place).arg("-network").arg(&file).args(plan.args);
            let node = Node::start(command);
            if let Some(tap) = tap {
                tap.leads_to(node.udp);
            }
            node
        });
        let nodes = started.collect();
        let played = places[plan.taps.len()..].iter().map(|(place, address, _)| {
            (Arc::new(key_file::load_or_make(&place.join("node.key"), None).unwrap().0), *address)
        });
        let played = played.collect();
        Self { nodes, membership, ids, played, file, dir }
    }

    /// Waits until every process is well and knows so many hop keys.
    pub(crate) fn wait_for_keys(&self, count: usize) {
        for node in &self.nodes {
            eventually("everybody's hop key is known", || {
                let health = request(node.http, "GET", "/health", "", b"").json();
                let known = health["onions"]["nodes_known"] == count;
                (known && health["status"] == "ok").then_some(())
            });
        }
    }

    /// Returns a counter of the relay of a process.
    pub(crate) fn relayed(&self, index: usize, counter: &str) -> u64 {
        let health = request(self.nodes[index].http, "GET", "/health", "", b"").json();
        health["onions"][counter].as_u64().unwrap()
    }

    /// Returns the path over these nodes.
    pub(crate) fn path(&self, keys: &[HopKey], hops: &[usize]) -> Path {
        let key = |hop: &usize| {
            let of = |key: &&HopKey| key.node() == self.ids[*hop];
            keys.iter().find(of).expect("everybody's").clone()
        };
        Path::new(hops.iter().map(key).collect(), now()).unwrap()
    }

    /// Starts a client over three hops, which gives its packets to these processes.
    pub(crate) fn agent(&self, account: Identity, guards: [usize; 2]) -> Agent {
        let guard = |index: usize| Guard {
            node: self.ids[index],
            since: now(),
            until: now() + Span::from_days(40),
        };
        let guards = GuardList { guards: List::new(guards.map(guard)).unwrap() };
        // Nobody has told it how hops are.
        let kept = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        let file = kept.join(GUARDS_FILE);
        files::write_atomic(&file, &guards.to_bytes(), SECRET_MODE, Existing::Replace).unwrap();
        let nodes = Network::from_file(&self.file).unwrap().with_mode(Mode::onion(), Some(kept));
        assert_eq!(nodes.broken(), [""; 0]);
        Agent::start(Arc::new(account), &nodes).unwrap()
    }

    /// Connects a client to a process, and reads the hop keys there.
    pub(crate) async fn asker(&self, index: usize) -> (Asker, Vec<HopKey>) {
        let mut asker = Asker::connect(self.membership.clone(), self.ids[index]).await;
        let all = Operation::HopKeys { bits: 0, bucket: 0, after: None, bytes_max: u32::MAX };
        let reply = asker.ask(&batch(all)).await;
        let [Outcome::HopKeys { keys, more: false }] = &reply.outcomes[..] else {
            panic!("{reply:?}")
        };
        let verified = keys.iter().map(|key| {
            let record = self.membership.node(&key.record.node).expect("registered");
            key.clone().verify(&self.membership.network(), &record.keys, &RealVerifier).unwrap()
        });
        let keys = verified.collect();
        (asker, keys)
    }
}

/// Makes keys in each place; returns the network file.
fn network_file(places: &[Place]) -> String {
    let mut text = "network = \"test\"\n\n".to_owned();
    for (place, address, swarm) in places {
        let mut command = sessiond(&["keygen", "--address", &address.to_string()]);
        command.args(["--swarm", &format!("{swarm:x}"), "--data-dir"]).arg(place);
        text.push_str(&String::from_utf8(command.output().unwrap().stdout).unwrap());
    }
    text
}

fn node_at(members: &StaticMembership, address: SocketAddr) -> NodeId {
    let address = address.to_string();
    let mut nodes = members.nodes().into_iter();
    nodes.find(|(_, record)| *record.address == *address).expect("it is in the file").0
}
