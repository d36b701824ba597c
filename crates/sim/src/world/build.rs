//! How a world comes to be.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_client::Mode;
use session_core::Domain;
use session_core::{Entropy, InboxAddress, SeededEntropy, Span, SwarmId, Text};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{BadSignature, DsaPublicKey, RealVerifier, Signature, Signer, Verifier};
use session_daemon::relay;
use session_network::Role;
use session_protocol::chain::Amount;
use session_protocol::{AccessRule, Checker, Membership, NodeRecord, StaticMembership};
use session_vm::genesis::{Genesis, GenesisAccount, GenesisNode};
use session_vm::records::Params;

use super::{Event, Seat, World};
use crate::coordination::blocks::Blocks;
use crate::coordination::watch::Watch;
use crate::coordination::{Coordination, Swarms};
use crate::fault::FaultCounts;
use crate::host::{BEGINNING, HostId};
use crate::ledger::Ledger;
use crate::link::Link;
use crate::net::Net;
use crate::node::Node;
use crate::person::{Habits, Person};
use crate::queue::Queue;
use crate::trace::Trace;

/// One-time secrets that a node registers: more than there are epochs in a run.
const ONE_TIME_SECRETS: u32 = 128;

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
    /// Devices that talk, and how they behave; not all are somebody's from the beginning.
    pub devices: Option<(usize, session_messaging::messenger::Config)>,
    /// Whether nodes are hops and exits of onion packets. Their hop keys are real, and so is the
    /// work: a tenth of a millisecond for each packet and hop.
    pub onions: bool,
    /// The chain that the nodes live on, if they live on one.
    pub chain: Option<ChainPlan>,
}

/// What a chain is made from.
#[derive(Clone, Debug)]
pub struct ChainPlan {
    /// The numbers of the rules.
    pub params: Params,
    /// Members of each swarm of the beginning, in place of [`Plan::swarms`] and
    /// [`Plan::members`].
    pub sizes: Vec<usize>,
    /// Nodes that are there and are not registered.
    pub spares: usize,
    /// Time between two attempts to make a block.
    pub block_every: Span,
    /// How late persons may hear of a change.
    pub rumour: Span,
}

impl Plan {
    fn sizes(&self) -> Vec<usize> {
        match &self.chain {
            Some(chain) => chain.sizes.clone(),
            None => vec![self.members; self.swarms],
        }
    }
}

impl World {
    /// Makes a world in which everybody is about to start.
    #[must_use]
    pub fn new(plan: &Plan) -> Self {
        let mut rng = SeededEntropy::new(plan.seed);
        let registered: usize = plan.sizes().iter().sum();
        let nodes = registered + plan.chain.as_ref().map_or(0, |chain| chain.spares);
        let hosts = nodes + plan.persons + plan.devices.as_ref().map_or(0, |(count, _)| *count);
        let mut net = Net::new(plan.link, hosts, fork(&mut rng));
        let keys = keys(plan, &mut net, &mut rng);
        let chain = plan
            .chain
            .as_ref()
            .map(|chain| Box::new(coordination(chain, &keys, registered, &mut rng)));
        let membership: Arc<dyn Membership> = match &chain {
            Some(chain) => Arc::clone(&chain.blocks().view().membership) as Arc<dyn Membership>,
            None => static_network(&keys),
        };
        let mut world = Self {
            seed: plan.seed,
            now: BEGINNING,
            queue: Queue::new(BEGINNING),
            trace: Trace::new(),
            net,
            nodes: Vec::with_capacity(nodes),
            persons: Vec::with_capacity(plan.persons),
            devices: Vec::new(),
            seats: vec![Seat::default(); hosts],
            swarms: Swarms { ids: membership.swarms(), members: BTreeMap::new() },
            chain,
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
            if host.index() < registered {
                world.begin(host, &mut rng);
            }
        }
        world.add_persons(plan, &membership, &mut rng);
        if let Some((count, config)) = &plan.devices {
            world.add_devices((*count, config), &membership, &mut rng);
        }
        world.queue.plan(BEGINNING + plan.checkpoint_every, Event::Checkpoint);
        if let Some(chain) = &plan.chain {
            world.queue.plan(BEGINNING + chain.block_every, Event::Block);
            world.show_all();
        }
        world
    }

    fn add_node(
        &mut self,
        host: HostId,
        identity: Arc<FakeIdentity>,
        record: &NodeRecord,
        (membership, plan): (&Arc<dyn Membership>, &Plan),
        rng: &mut SeededEntropy,
    ) {
        let shared = Arc::clone(membership);
        let role = Role::Node { listen: record.address.clone() };
        let keys: Arc<dyn Signer> = Arc::clone(&identity) as Arc<dyn Signer>;
        let coordinator = plan.chain.as_ref().map(|_| session_swarm::coordinator::Config {
            node: record.id(),
            keys: Arc::clone(&keys),
            verifier: Arc::new(FakeVerifier),
            one_time_secrets: ONE_TIME_SECRETS,
            version: "simulation".to_owned(),
            lie: None,
        });
        let config = session_daemon::Config {
            coordinator,
            sessions: None,
            onions: plan.onions.then(|| relay::Config::new(Arc::clone(&keys))),
            network: session_network::Config::new(role, keys, Arc::clone(&shared)),
            swarm: session_swarm::Config {
                sweep_every: plan.sweep_every,
                ..session_swarm::Config::new(record.id(), Arc::clone(&shared))
            },
        };
        let verifier: Arc<dyn Verifier> = match plan.devices {
            Some(_) => Arc::new(EitherVerifier),
            None => Arc::new(FakeVerifier),
        };
        let checker = Checker::new(shared, verifier);
        self.nodes.push(Node::new(host, identity, config, checker, fork(rng)));
    }

    fn begin(&mut self, host: HostId, rng: &mut SeededEntropy) {
        if let Some(chain) = &self.chain {
            self.nodes[host.index()].set_view(chain.blocks().view());
        }
        self.nodes[host.index()].start(self.now);
        self.seats[host.index()].begun = true;
        // Not all in the same millisecond, as nodes are not.
        let at = self.now + Span::from_millis(rng.below(500));
        self.wake_at(host, at);
    }

    fn add_persons(
        &mut self,
        plan: &Plan,
        membership: &Arc<dyn Membership>,
        rng: &mut SeededEntropy,
    ) {
        let first = self.nodes.len();
        for index in first..first + plan.persons {
            let host = HostId(u32::try_from(index).expect("fewer than 2^32 hosts"));
            let shared = Arc::clone(membership);
            let account = Arc::new(FakeIdentity::generate(rng));
            let address = AccessRule::from(account.public().account_id()).address();
            let verifier = Arc::new(FakeVerifier);
            let mode = if plan.onions { Mode::onion() } else { Mode::Direct };
            let client = session_client::Config::new(account, Arc::clone(&shared), verifier);
            let client = session_client::Config { mode, ..client };
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

pub(super) fn fork(rng: &mut SeededEntropy) -> SeededEntropy {
    SeededEntropy::from_bytes(rng.bytes32())
}

/// Takes the fakes of nodes, and what accounts that talk truly sign.
struct EitherVerifier;

impl Verifier for EitherVerifier {
    fn verify(
        &self,
        key: &DsaPublicKey,
        domain: Domain,
        message: &[u8],
        signature: &Signature,
    ) -> Result<(), BadSignature> {
        FakeVerifier
            .verify(key, domain, message, signature)
            .or_else(|_| RealVerifier.verify(key, domain, message, signature))
    }
}

type Keys = Vec<(Arc<FakeIdentity>, NodeRecord)>;

/// Makes the keys, addresses and swarms of all nodes, also of those that are not registered.
fn keys(plan: &Plan, net: &mut Net, rng: &mut SeededEntropy) -> Keys {
    let mut keys = Keys::new();
    let sizes = plan.sizes();
    let spares = plan.chain.as_ref().map_or(0, |chain| chain.spares);
    for (swarm, size) in sizes.iter().copied().chain([spares]).enumerate() {
        // Spread evenly over the ring.
        let id = SwarmId((u64::MAX / sizes.len().max(1) as u64).wrapping_mul(swarm as u64));
        for _ in 0..size {
            let host = HostId(u32::try_from(keys.len()).expect("fewer than 2^32 hosts"));
            let identity = Arc::new(FakeIdentity::generate(rng));
            let address = format!("{}:9651", host.ip());
            net.listen(address.clone(), host);
            let address = Text::new(address).expect("an IPv4 address and a port are short");
            let record = NodeRecord { keys: identity.public().clone(), address, swarm: id };
            keys.push((identity, record));
        }
    }
    keys
}

fn static_network(keys: &Keys) -> Arc<dyn Membership> {
    let records = keys.iter().map(|(_, record)| record.clone());
    let membership = StaticMembership::new("simulation", records)
        .expect("keys and addresses differ, swarms are small");
    Arc::new(membership)
}

fn coordination(
    plan: &ChainPlan,
    keys: &Keys,
    registered: usize,
    rng: &mut SeededEntropy,
) -> Coordination {
    let operator = Arc::new(FakeIdentity::generate(rng));
    let account = operator.public().account_id();
    let stake = plan.params.stake_min;
    let nodes = keys.iter().take(registered).map(|(_, record)| GenesisNode {
        operator: account,
        keys: record.keys.clone(),
        endpoint: record.address.clone(),
        stake,
        swarm: record.swarm,
    });
    let balance = Amount::lux(1_000_000);
    let keys_of = Some(operator.public().clone());
    let genesis = Genesis {
        name: Text::new("simulation").expect("ten letters"),
        time: BEGINNING,
        params: plan.params,
        sequencer: None,
        authority: None,
        accounts: vec![GenesisAccount { account, balance, keys: keys_of }],
        nodes: nodes.collect(),
        supply: None,
    };
    let identities = keys.iter().map(|(identity, _)| Arc::clone(identity));
    let blocks = Blocks::new(&genesis, operator, identities)
        .expect("keys and addresses differ, swarms are small");
    let hosts = (0..).map(HostId).zip(keys).map(|(host, (_, record))| (record.id(), host));
    let mut coordination = Coordination {
        blocks,
        watch: Watch::new(keys.len(), BEGINNING),
        hosts: hosts.collect(),
        swarms: Swarms::default(),
        former: Swarms::default(),
        block_every: plan.block_every,
        rumour: plan.rumour,
        certified: BTreeMap::new(),
    };
    coordination.look();
    coordination
}
