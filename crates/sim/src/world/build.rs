//! How a world comes to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::{Entropy, InboxAddress, SeededEntropy, Span, SwarmId, Text};
use session_crypto::Signer;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_network::Role;
use session_protocol::{AccessRule, Membership, NodeRecord, StaticMembership};

use super::{Event, Seat, Swarms, World};
use crate::fault::FaultCounts;
use crate::host::{BEGINNING, HostId};
use crate::ledger::Ledger;
use crate::link::Link;
use crate::net::Net;
use crate::node::Node;
use crate::person::{Habits, Person};
use crate::queue::Queue;
use crate::trace::Trace;

/// What a world is made from.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Everything follows from it.
    pub seed: u64,
    /// Swarms of the network.
    pub swarms: usize,
    /// Nodes of each swarm.
    pub members: usize,
    /// Persons.
    pub persons: usize,
    /// What persons do.
    pub habits: Habits,
    /// The quality of the network.
    pub link: Link,
    /// How often a node compares a few buckets with a random member; see
    /// [`session_swarm::Config`].
    pub sweep_every: Span,
    /// Time between two checks of the whole world.
    pub checkpoint_every: Span,
}

impl World {
    /// Makes a world in which everybody is about to start.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let mut rng = SeededEntropy::new(plan.seed);
        let nodes = plan.swarms * plan.members;
        let hosts = nodes + plan.persons;
        let mut net = Net::new(plan.link, hosts, fork(&mut rng));
        let (membership, keys) = network(plan, &mut net, &mut rng);
        let mut world = Self {
            seed: plan.seed,
            now: BEGINNING,
            queue: Queue::new(BEGINNING),
            trace: Trace::new(),
            net,
            nodes: Vec::with_capacity(nodes),
            persons: Vec::with_capacity(plan.persons),
            seats: vec![Seat::default(); hosts],
            swarms: Swarms { ids: membership.swarms(), members: BTreeMap::new() },
            ledger: Ledger::default(),
            checks: 0,
            penalties: 0,
            faults: FaultCounts::default(),
            healed: false,
            checkpoint_every: plan.checkpoint_every,
            departures: Vec::new(),
        };
        for (host, (identity, record)) in (0..).map(HostId).zip(keys) {
            world.swarms.members.entry(record.swarm).or_default().push(host);
            world.add_node(host, identity, &record, (&membership, plan), &mut rng);
        }
        world.add_persons(plan, &membership, &mut rng);
        world.queue.plan(BEGINNING + plan.checkpoint_every, Event::Checkpoint);
        world
    }

    fn add_node(
        &mut self,
        host: HostId,
        identity: Arc<FakeIdentity>,
        record: &NodeRecord,
        (membership, plan): (&Arc<StaticMembership>, &Plan),
        rng: &mut SeededEntropy,
    ) {
        let shared: Arc<dyn Membership> = Arc::clone(membership) as Arc<dyn Membership>;
        let role = Role::Node { listen: record.address.clone() };
        let keys: Arc<dyn Signer> = Arc::clone(&identity) as Arc<dyn Signer>;
        let config = session_daemon::Config {
            network: session_network::Config::new(role, keys, Arc::clone(&shared)),
            swarm: session_swarm::Config {
                sweep_every: plan.sweep_every,
                ..session_swarm::Config::new(record.id(), Arc::clone(&shared))
            },
        };
        let mut node = Node::new(host, identity, config, shared, fork(rng));
        node.start();
        self.nodes.push(node);
        // Not all in the same millisecond, as nodes are not.
        let at = self.now + Span::from_millis(rng.below(500));
        self.wake_at(host, at);
    }

    fn add_persons(
        &mut self,
        plan: &Plan,
        membership: &Arc<StaticMembership>,
        rng: &mut SeededEntropy,
    ) {
        let first = self.nodes.len();
        for index in first..first + plan.persons {
            let host = HostId(u32::try_from(index).expect("fewer than 2^32 hosts"));
            let shared: Arc<dyn Membership> = Arc::clone(membership) as Arc<dyn Membership>;
            let account = Arc::new(FakeIdentity::generate(rng));
            let address = AccessRule::from(account.public().account_id()).address();
            let verifier = Arc::new(FakeVerifier);
            let client = session_client::Config::new(account, Arc::clone(&shared), verifier);
            let person = Person::new(host, address, client, shared, plan.habits, fork(rng));
            self.persons.push(person);
            self.arm(host);
        }
        let contacts: Arc<Vec<InboxAddress>> =
            Arc::new(self.persons.iter().map(Person::address).collect());
        for person in &mut self.persons {
            person.meet(Arc::clone(&contacts));
        }
    }
}

fn fork(rng: &mut SeededEntropy) -> SeededEntropy {
    SeededEntropy::from_bytes(rng.bytes32())
}

type Keys = Vec<(Arc<FakeIdentity>, NodeRecord)>;

fn network(plan: &Plan, net: &mut Net, rng: &mut SeededEntropy) -> (Arc<StaticMembership>, Keys) {
    let mut keys = Keys::new();
    for swarm in 0..plan.swarms {
        // Spread evenly over the ring.
        let id = SwarmId((u64::MAX / plan.swarms.max(1) as u64).wrapping_mul(swarm as u64));
        for _ in 0..plan.members {
            let host = HostId(u32::try_from(keys.len()).expect("fewer than 2^32 hosts"));
            let identity = Arc::new(FakeIdentity::generate(rng));
            let address = format!("{}:9651", host.ip());
            net.listen(address.clone(), host);
            let address = Text::new(address).expect("an IPv4 address and a port are short");
            let record = NodeRecord { keys: identity.public().clone(), address, swarm: id };
            keys.push((identity, record));
        }
    }
    let records = keys.iter().map(|(_, record)| record.clone());
    let membership = StaticMembership::new("simulation", records)
        .expect("keys and addresses differ, swarms are small");
    (Arc::new(membership), keys)
}
