//! Requests over three processes: what comes back, what if one of them is killed, and what is seen on
//! the lines between them.

use std::time::Duration;

use rustix::process::Signal;
use session_core::{Blob, Entropy as _, SeededEntropy, Span};
use session_crypto::Identity;
use session_network::onion::HopKey;
use session_protocol::Membership as _;
use session_protocol::inbox::{AccessRule, MESSAGES};
use session_protocol::owner::{OwnerAction, OwnerOperation};
use session_protocol::request::{Cursor, Operation, Outcome, Reply, Select};

use crate::support::{Asker, Plan, Processes, Seen, Tap, now, request};

const NODES: usize = 5;

/// How long an answer may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(20);

/// Five nodes of one swarm, each behind a tap.
struct World {
    processes: Processes,
    taps: Vec<Tap>,
    keys: Vec<HopKey>,
    asker: Asker,
    owner: Identity,
}

impl World {
    async fn start() -> Self {
        let taps: Vec<Tap> = (0..NODES).map(|_| Tap::new()).collect();
        let plan = Plan { taps: taps.iter().cloned().map(Some).collect(), ..Plan::default() };
        let processes = Processes::start(&plan);
        processes.wait_for_keys(NODES);
        let (asker, keys) = processes.asker(0).await;
        Self { processes, taps, keys, asker, owner: Identity::from_seed(&[5; 32]) }
    }

    fn id(&self, index: usize) -> session_core::NodeId {
        self.processes.ids[index]
    }

    /// Asks the last of three nodes.
    async fn ask(
        &mut self,
        hops: [usize; 3],
        operation: Operation,
        patience: Duration,
    ) -> Option<Reply> {
        let path = self.processes.path(&self.keys, &hops);
        self.asker.ask_over(&path, operation, patience).await
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
        let (network, rng) = (self.processes.membership.network(), self.asker.rng());
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
            SeededEntropy::new(self.asker.rng().next_u64()).fill(&mut data);
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
    world.processes.nodes[1].signal(Signal::KILL);
    world.processes.nodes[1].wait();
    let lost = world.ask([0, 1, 2], world.store(b"lost"), Duration::from_secs(2)).await;
    assert_eq!(lost, None);
    let operation = world.read(4);
    let reply = world.ask([0, 3, 4], operation, PATIENCE).await.expect("an answer");
    let Outcome::Items { items, .. } = &reply.outcomes[0] else { panic!("{reply:?}") };
    assert!(items.iter().any(|item| item.id == message), "{} items", items.len());
    let health = request(world.processes.nodes[0].http, "GET", "/health", "", b"").json();
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
