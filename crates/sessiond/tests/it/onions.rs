//! Requests over three processes: what comes back, what if one of them is killed, and what is seen on
//! the lines between them.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use session_core::{Blob, Decode as _, Encode as _, Entropy as _, List, SeededEntropy, Span};
use session_crypto::{Identity, RealVerifier};
use session_network::onion::{HopKey, Order, Packet, Path, Service, Size};
use session_protocol::inbox::{AccessRule, MESSAGES};
use session_protocol::network_file::membership;
use session_protocol::onion::{ExitAnswer, service};
use session_protocol::owner::{OwnerAction, OwnerOperation};
use session_protocol::request::{Cursor, Operation, Outcome, Reply, Request, Select};
use session_protocol::{Membership, StaticMembership};
use session_rpc::NetworkFile;
use tempfile::TempDir;

use crate::support::{Asker, Node, Seen, Tap, eventually, now, request, sessiond};

const NODES: usize = 5;

/// How long an answer may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// Five nodes of one swarm, each behind a tap.
struct World {
    nodes: Vec<Node>,
    taps: Vec<Tap>,
    membership: Arc<StaticMembership>,
    keys: Vec<HopKey>,
    asker: Asker,
    owner: Identity,
    _dir: TempDir,
}

/// Starts the nodes and returns when all of them know everybody's key.
fn nodes(dir: &TempDir, taps: &[Tap]) -> (Vec<Node>, StaticMembership) {
    let mut text = "network = \"test\"\n\n".to_owned();
    let places: Vec<_> = (0..NODES).map(|index| dir.path().join(index.to_string())).collect();
    for (tap, place) in taps.iter().zip(&places) {
        let (place, address) = (place.to_str().unwrap(), tap.address().to_string());
        let made = sessiond(&["keygen", "--data-dir", place, "--address", &address]).output();
        text.push_str(&String::from_utf8(made.unwrap().stdout).unwrap());
    }
    let file = dir.path().join("network.toml");
    std::fs::write(&file, &text).unwrap();
    let started = places.iter().zip(taps).map(|(place, tap)| {
        let (place, file) = (place.to_str().unwrap(), file.to_str().unwrap());
        let args = ["-listen", "127.0.0.1:0", "-http", "127.0.0.1:0", "-data-dir", place];
        let mut command = sessiond(&args);
        command.args(["-network", file]);
        let node = Node::start(command);
        tap.leads_to(node.udp);
        node
    });
    let nodes: Vec<Node> = started.collect();
    for node in &nodes {
        eventually("everybody's hop key is known", || {
            let health = request(node.http, "GET", "/health", "", b"").json();
            let known = health["onions"]["nodes_known"] == NODES;
            (known && health["status"] == "ok").then_some(())
        });
    }
    (nodes, membership(&NetworkFile::parse(&text).unwrap().0).unwrap())
}

impl World {
    async fn start() -> Self {
        let (dir, taps) =
            (TempDir::new().unwrap(), (0..NODES).map(|_| Tap::new()).collect::<Vec<_>>());
        let (nodes, members) = nodes(&dir, &taps);
        let members = Arc::new(members);
        let view = Arc::clone(&members) as Arc<dyn Membership>;
        // In the order of the file, which is that of the processes.
        let first = node_at(&members, &taps[0]);
        let mut asker = Asker::connect(view, first).await;
        let all = Operation::HopKeys { bits: 0, bucket: 0, after: None, bytes_max: u32::MAX };
        let reply = asker.ask(&batch(all)).await;
        let [Outcome::HopKeys { keys, more: false }] = &reply.outcomes[..] else {
            panic!("{reply:?}")
        };
        let verified = keys.iter().map(|key| {
            let record = members.node(&key.record.node).expect("registered");
            key.clone().verify(&members.network(), &record.keys, &RealVerifier).unwrap()
        });
        let (keys, owner) = (verified.collect(), Identity::from_seed(&[5; 32]));
        Self { nodes, taps, membership: members, keys, asker, owner, _dir: dir }
    }

    fn id(&self, index: usize) -> session_core::NodeId {
        node_at(&self.membership, &self.taps[index])
    }

    /// Asks the last of three nodes.
    async fn ask(
        &mut self,
        hops: [usize; 3],
        operation: Operation,
        patience: Duration,
    ) -> Option<Reply> {
        let key = |hop: usize| {
            let id = self.id(hop);
            self.keys.iter().find(|key| key.node() == id).expect("everybody's").clone()
        };
        let path = Path::new(hops.map(key).to_vec(), now()).unwrap();
        let payload = batch(operation).to_bytes();
        let fits = payload.len() <= Size::Small.payload_bytes_max(3);
        let (size, answer) = (if fits { Size::Small } else { Size::Bulk }, Size::Bulk);
        let order = Order { size, answer, service: Service(service::REQUEST), payload: &payload };
        let (packet, keys) = Packet::build(&mut self.asker.rng, &path, &order).unwrap();
        let answer = self.asker.carry(packet, patience).await?;
        match ExitAnswer::decode_exact(&keys.open(&answer).unwrap()).unwrap() {
            ExitAnswer::Reply { reply } => Some(reply),
            other => panic!("{other:?}"),
        }
    }

    fn store(&self, data: &[u8]) -> Operation {
        Operation::Store {
            address: AccessRule::from(self.owner.public().account_id()).address(),
            namespace: MESSAGES,
            timestamp: now(),
            ttl: Span::from_secs(600),
            data: Blob::new(data).unwrap(),
        }
    }

    fn read(&mut self, at: usize) -> Operation {
        let (select, audience) = (Select::After { cursor: Cursor::default() }, self.id(at));
        let (namespace, bytes_max) = (MESSAGES, 20_000);
        let action = OwnerAction::Retrieve { namespace, select, bytes_max, audience };
        let (network, rng) = (self.membership.network(), &mut self.asker.rng);
        let operation = OwnerOperation::sign(network, &self.owner, action, now(), rng);
        Operation::Owner { operation: Box::new(operation) }
    }

    /// Returns the bytes of datagrams between the client and its node, out and back.
    fn client_bytes(&self) -> [usize; 2] {
        let client = self.asker.address();
        let seen = self.taps[0].seen();
        [true, false].map(|inward| {
            let ours = |seen: &&Seen| (seen.0, seen.1) == (client, inward);
            seen.iter().filter(ours).map(|(.., bytes)| bytes.len()).sum()
        })
    }

    /// Returns the fewest bytes of several stores of so many bytes: what is sent again, and pings,
    /// only add to them.
    async fn cost(&mut self, bytes: usize) -> [usize; 2] {
        let mut least = [usize::MAX; 2];
        for _ in 0..6 {
            let mut data = vec![0; bytes];
            SeededEntropy::new(self.asker.rng.next_u64()).fill(&mut data);
            let before = self.client_bytes();
            let reply = self.ask([0, 1, 2], self.store(&data), PATIENCE).await.expect("an answer");
            assert!(matches!(reply.outcomes[0], Outcome::Stored { .. }));
            // The last acknowledgements are under way.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let after = self.client_bytes();
            least = [0, 1].map(|way| least[way].min(after[way] - before[way]));
        }
        least
    }
}

fn node_at(members: &StaticMembership, tap: &Tap) -> session_core::NodeId {
    let address = tap.address().to_string();
    let nodes = members.nodes().into_iter();
    let mut found = nodes.filter(|(_, record)| *record.address == *address).map(|(node, _)| node);
    found.next().expect("it is in the file")
}

fn batch(operation: Operation) -> Request {
    Request { id: 7, operations: List::new([operation]).unwrap() }
}

fn contains(datagram: &[u8], secret: &[u8]) -> bool {
    datagram.windows(secret.len()).any(|window| window == secret)
}

#[tokio::test(flavor = "multi_thread")]
async fn three_processes_carry_requests_and_the_lines_show_no_more_than_their_size() {
    let mut world = World::start().await;
    let reply = world.ask([0, 1, 2], world.store(b"a message to be found"), PATIENCE).await;
    let Some(Outcome::Stored { message, receipts, .. }) =
        reply.map(|reply| reply.outcomes.into_iter().next().expect("one"))
    else {
        panic!("not stored")
    };
    assert!(receipts.len() >= 4, "a quorum of five");

    // A hundred times as long, and nothing more is seen of it.
    let (short, long) = (world.cost(30).await, world.cost(3_000).await);
    for way in [0, 1] {
        let difference = short[way].abs_diff(long[way]);
        assert!(difference < 600, "{short:?} bytes for 30, {long:?} for 3,000");
    }
    assert!(short[0] > 8_192 && short[1] > 32_768, "{short:?}");

    // Killed, with a connection that the others take for alive.
    world.nodes[1].signal(Signal::KILL);
    world.nodes[1].wait();
    let lost = world.ask([0, 1, 2], world.store(b"lost"), Duration::from_secs(2)).await;
    assert_eq!(lost, None);
    let operation = world.read(4);
    let reply = world.ask([0, 3, 4], operation, PATIENCE).await.expect("an answer");
    let Outcome::Items { items, .. } = &reply.outcomes[0] else { panic!("{reply:?}") };
    assert!(items.iter().any(|item| item.id == message), "{} items", items.len());
    let health = request(world.nodes[0].http, "GET", "/health", "", b"").json();
    assert!(health["onions"]["forwarded"].as_u64().unwrap() >= 14, "{health}");

    // Whoever watches all lines sees none of these in clear.
    let address = AccessRule::from(world.owner.public().account_id()).address();
    let account = world.owner.public().account_id();
    let mut secrets = vec![
        b"a message to be found".to_vec(),
        message.as_bytes().to_vec(),
        address.as_bytes().to_vec(),
        account.as_bytes().to_vec(),
        account.to_string().into_bytes(),
    ];
    secrets.extend((0..NODES).map(|index| world.id(index).as_bytes().to_vec()));
    let mut datagrams = 0;
    for tap in &world.taps {
        for (_, _, datagram) in tap.seen() {
            datagrams += 1;
            assert!(secrets.iter().all(|secret| !contains(&datagram, secret)));
        }
    }
    assert!(datagrams > 500, "{datagrams} datagrams");
}
