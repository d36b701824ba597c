//! The chain's world: nodes, people, the network between them, and the checks after every event.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::{BlockId, Digest, Entropy, SeededEntropy, Span, SwarmId, Text, Time};
use session_crypto::fake::FakeIdentity;
use session_crypto::{PublicIdentity, Signer};
use session_protocol::chain::block::block_id;
use session_protocol::chain::{Amount, SealedBlock};
use session_storage::kv;
use session_vm::genesis::{Genesis, GenesisAccount, GenesisNode};
use session_vm::records::Params;
use session_vm::solo::Refusal;

use super::invariants::{AFTER_EVENTS, News, Seen, is_fork, news};
use super::liar::{Liar, Lie, Meddler, garbage};
use super::message::Message;
use super::node::{Died, Node, Outbox, SEQUENCER, Setting, TICK};
use super::person::{Keyring, Person, Tally};
use crate::fault::{Fault, FaultCounts};
use crate::host::{BEGINNING, HostId, Skew};
use crate::link::Link;
use crate::net::Traffic;
use crate::queue::Queue;
use crate::trace::{Step, Trace, What};
use crate::violation::Violation;

/// Service nodes of the beginning: enough for a committee with members to spare.
const SERVICE_NODES: usize = 7;
/// Until somebody starts a node again that ended by itself.
const SUPERVISOR: Span = Span::from_secs(1);
const BALANCE: Amount = Amount::lux(2_000);

/// What is planned.
enum Event {
    Tick {
        host: HostId,
        life: u32,
    },
    Packet {
        from: HostId,
        to: HostId,
        bytes: Vec<u8>,
    },
    Fault(Fault),
    /// The next write of a node's disk goes wrong.
    Trip {
        node: HostId,
        fault: kv::Fault,
    },
    Lie(Lie),
    Meddle,
    Garbage(HostId),
    /// Somebody starts a node.
    Start {
        host: HostId,
        planned: Option<kv::Fault>,
    },
}

/// What the sequencer sealed.
#[derive(Default)]
pub struct Registry {
    valid: BTreeMap<u64, BTreeSet<BlockId>>,
    invalid: BTreeMap<u64, BTreeSet<BlockId>>,
    fork: Option<u64>,
}

impl Registry {
    /// Returns whether the sequencer sealed this for a height, and it follows the rules.
    #[must_use]
    pub fn is_valid(&self, height: u64, id: &BlockId) -> bool {
        self.valid.get(&height).is_some_and(|ids| ids.contains(id))
    }

    /// Returns whether the sequencer sealed this for a height.
    #[must_use]
    pub fn is_sealed(&self, height: u64, id: &BlockId) -> bool {
        let invalid = self.invalid.get(&height).is_some_and(|ids| ids.contains(id));
        invalid || height == 0 || self.is_valid(height, id)
    }

    /// Returns whether the sequencer sealed for a height what does not follow.
    #[must_use]
    pub fn has_invalid(&self, height: u64) -> bool {
        self.invalid.contains_key(&height)
    }

    /// Returns the first height at which the sequencer made a second block.
    #[must_use]
    pub const fn fork(&self) -> Option<u64> {
        self.fork
    }
}

/// How large a world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) nodes: usize,
    pub(crate) persons: usize,
    pub(crate) link: Link,
}

/// Every node and person and everything between them.
pub struct World {
    seed: u64,
    now: Time,
    queue: Queue<Event>,
    trace: Trace,
    link: Link,
    places: Vec<u16>,
    apart: Option<Vec<bool>>,
    setting: Arc<Setting>,
    nodes: Vec<Node>,
    people: Vec<Person>,
    ring: Keyring,
    seen: Vec<Seen>,
    /// How often each node was started when it was last looked at.
    lives: Vec<Option<u32>>,
    firsts: Vec<BlockId>,
    sealed: Registry,
    liar: Option<Liar>,
    meddler: Option<Meddler>,
    rng: SeededEntropy,
    /// Whether the event under way showed a node two seals for a height.
    shown_fork: bool,
    silent: bool,
    healed: bool,
    counts: Counts,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) checks: u64,
    pub(crate) faults: FaultCounts,
    pub(crate) traffic: Traffic,
    /// Disks that stopped in a write, processes that ended by themselves.
    pub(crate) died: u64,
    pub(crate) lies: u64,
    pub(crate) meddled: u64,
    /// Followers that stopped because of the sequencer; those of them that saw a fork.
    pub(crate) stops: u64,
    pub(crate) forks: u64,
    /// Kinds of actions in blocks.
    pub(crate) kinds: BTreeSet<&'static str>,
}

type Broken = (&'static str, String);

impl World {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut rng = SeededEntropy::new(plan.seed);
        let keys: Vec<_> = (0..plan.persons).map(|_| FakeIdentity::generate(&mut rng)).collect();
        let ring: Vec<_> = (0..SERVICE_NODES).map(|_| FakeIdentity::generate(&mut rng)).collect();
        let sequencer = FakeIdentity::generate(&mut rng);
        let genesis = genesis(plan.seed, &keys, &ring, &sequencer);
        let chain = genesis.chain_id();
        let setting = Arc::new(Setting { genesis, chain, sequencer, nodes: plan.nodes });
        let own = |rng: &mut SeededEntropy| SeededEntropy::from_bytes(rng.bytes32());
        let hosts = (0..).map(HostId).take(plan.nodes);
        let node = |host| Node::new(host, Arc::clone(&setting), own(&mut rng));
        let nodes: Vec<_> = hosts.map(node).collect();
        let people: Vec<_> =
            keys.into_iter().map(|keys| Person::new(keys, own(&mut rng))).collect();
        let hosts = nodes.len() + people.len();
        let mut world = Self {
            seed: plan.seed,
            now: BEGINNING,
            queue: Queue::new(BEGINNING),
            trace: Trace::new(),
            link: plan.link,
            places: (0..hosts).map(|_| (rng.next_u64() % 1024) as u16).collect(),
            apart: None,
            seen: nodes.iter().map(|_| Seen::default()).collect(),
            lives: vec![None; nodes.len()],
            setting,
            nodes,
            people,
            ring: ring.into_iter().map(|node| (node.public().node_id(), node)).collect(),
            firsts: Vec::new(),
            sealed: Registry::default(),
            liar: None,
            meddler: None,
            rng,
            shown_fork: false,
            silent: false,
            healed: false,
            counts: Counts::default(),
        };
        for index in 0..hosts {
            let host = host_id(index);
            let at = BEGINNING + Span::from_millis(world.rng.below(TICK.as_millis()));
            let event = if index < world.nodes.len() {
                // Some stop while they write genesis.
                let dice = world.rng.below(12);
                let planned = [kv::Fault::StopBefore, kv::Fault::StopAfter].get(dice as usize);
                Event::Start { host, planned: planned.copied() }
            } else {
                Event::Tick { host, life: 0 }
            };
            world.queue.plan(at, event);
        }
        world
    }

    pub(crate) const fn now(&self) -> Time {
        self.now
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) const fn counts(&self) -> &Counts {
        &self.counts
    }

    pub(crate) fn digest(&self) -> Digest {
        self.trace.digest()
    }

    pub(crate) const fn events(&self) -> u64 {
        self.trace.steps()
    }

    pub(crate) fn tally(&self) -> Tally {
        self.people.iter().fold(Tally::default(), |sum, person| sum.plus(&person.tally))
    }

    pub(crate) fn busy(&self) -> usize {
        self.people.iter().filter(|person| !person.is_idle()).count()
    }

    pub(crate) fn seen(&self, node: &Node) -> &Seen {
        &self.seen[node.host.index()]
    }

    /// Returns what the sequencer sealed.
    #[must_use]
    pub const fn sealed(&self) -> &Registry {
        &self.sealed
    }

    /// Returns the keys that the genesis names.
    #[must_use]
    pub fn sequencer_keys(&self) -> &PublicIdentity {
        self.setting.sequencer.public()
    }

    /// Returns all LUX of the genesis.
    #[must_use]
    pub fn supply(&self) -> Amount {
        let balances = self.setting.genesis.accounts.iter().map(|it| it.balance.0);
        let stakes = self.setting.genesis.nodes.iter().map(|it| it.stake.0);
        Amount(balances.chain(stakes).sum())
    }

    /// Returns the first block that any node was seen to have at a height.
    #[must_use]
    pub fn first_at(&self, height: u64) -> Option<BlockId> {
        self.firsts.get(usize::try_from(height).ok()?).copied()
    }

    pub(crate) fn plan(&mut self, after: Span, fault: Fault) {
        self.queue.plan(BEGINNING + after, Event::Fault(fault));
    }

    pub(crate) fn plan_trip(&mut self, after: Span, node: HostId, fault: kv::Fault) {
        self.queue.plan(BEGINNING + after, Event::Trip { node, fault });
    }

    pub(crate) fn plan_lie(&mut self, after: Span, lie: Lie) {
        self.queue.plan(BEGINNING + after, Event::Lie(lie));
    }

    pub(crate) fn plan_meddling(&mut self, after: Span) {
        self.queue.plan(BEGINNING + after, Event::Meddle);
    }

    pub(crate) fn plan_garbage(&mut self, after: Span, node: HostId) {
        self.queue.plan(BEGINNING + after, Event::Garbage(node));
    }

    /// Ends everything that goes wrong, but for a follower that serves garbage; nobody orders
    /// anything new.
    pub(crate) fn heal(&mut self) {
        (self.silent, self.healed) = (true, true);
        self.link = Link::good();
        self.apart = None;
        self.liar = None;
        self.counts.meddled = self.meddler.take().map_or(0, |meddler| meddler.changed);
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            node.skew = Skew::default();
            if node.chain.is_some() {
                node.disk.restart();
            } else {
                let host = node.host;
                self.queue.plan(self.now, Event::Start { host, planned: None });
            }
        }
    }

    pub(crate) fn run_until(&mut self, after: Span) -> Result<(), Box<Violation>> {
        let until = BEGINNING + after;
        while let Some((at, event)) = self.queue.next(until) {
            self.now = at;
            self.happen(event).map_err(|(name, what)| Box::new(self.violation(name, what)))?;
        }
        self.now = until;
        Ok(())
    }

    pub(crate) fn violation(&self, invariant: &'static str, what: String) -> Violation {
        let after = self.now.since(BEGINNING);
        Violation { invariant, what, seed: self.seed, after, events: self.trace.to_string() }
    }

    fn happen(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Tick { host, life } => self.tick(host, life),
            Event::Packet { from, to, bytes } => self.deliver(from, to, &bytes),
            Event::Start { host, planned } => self.start(host, planned),
            _ if self.healed => Ok(()),
            Event::Fault(fault) => {
                self.record(What::Fault, SEQUENCER, u64::from(fault.code()), &[]);
                self.counts.faults.count(&fault);
                self.strike(fault)
            }
            Event::Trip { node, fault } => {
                self.record(What::Fault, node, 100, &[]);
                self.nodes[node.index()].disk.plan(1, fault);
                Ok(())
            }
            Event::Lie(lie) => {
                self.begin_to_lie(lie);
                Ok(())
            }
            Event::Meddle => {
                let rng = SeededEntropy::from_bytes(self.rng.bytes32());
                self.meddler = Some(Meddler::new(rng));
                Ok(())
            }
            Event::Garbage(node) => {
                self.nodes[node.index()].honest = false;
                self.counts.faults.byzantine += 1;
                Ok(())
            }
        }
    }

    fn strike(&mut self, fault: Fault) -> Result<(), Broken> {
        match fault {
            Fault::Crash { node, .. } => self.nodes[node.index()].crash(),
            Fault::Restart { node } => return self.start(node, None),
            Fault::Split { apart } => self.apart = Some(apart),
            Fault::Heal => self.apart = None,
            Fault::Skew { host, ahead_ms } => {
                if let Some(node) = self.nodes.get_mut(host.index()) {
                    node.skew = Skew { ahead_ms };
                }
            }
            // No connections, no inboxes, no duties: no story of the chain alone has them.
            Fault::Break { .. }
            | Fault::Rot { .. }
            | Fault::Misbehave { .. }
            | Fault::Lie { .. }
            | Fault::Join { .. }
            | Fault::Leave { .. } => {}
        }
        Ok(())
    }

    fn start(&mut self, host: HostId, planned: Option<kv::Fault>) -> Result<(), Broken> {
        let node = &mut self.nodes[host.index()];
        if node.chain.is_some() {
            return Ok(());
        }
        if !node.start(planned) {
            return self.died(host);
        }
        let life = node.life;
        self.record(What::Woken, host, u64::from(life), &[]);
        self.queue.plan(self.now + TICK, Event::Tick { host, life });
        self.look(host)
    }

    /// A process ended by itself; somebody starts it again.
    fn died(&mut self, host: HostId) -> Result<(), Broken> {
        self.counts.died += 1;
        self.shown_fork = false;
        self.nodes[host.index()].crash();
        self.queue.plan(self.now + SUPERVISOR, Event::Start { host, planned: None });
        Ok(())
    }

    fn begin_to_lie(&mut self, lie: Lie) {
        let rng = SeededEntropy::from_bytes(self.rng.bytes32());
        let sequencer = &self.nodes[SEQUENCER.index()];
        if sequencer.chain.is_none() {
            // It lies as soon as it is back.
            return self.queue.plan(self.now + SUPERVISOR, Event::Lie(lie));
        }
        self.liar = Some(Liar::new(lie, sequencer, Arc::clone(&self.setting), rng));
        self.counts.faults.byzantine += 1;
    }

    fn tick(&mut self, host: HostId, life: u32) -> Result<(), Broken> {
        let Some(index) = host.index().checked_sub(self.nodes.len()) else {
            return self.tick_node(host, life);
        };
        self.record(What::Woken, host, 0, &[]);
        self.tick_person(index, host);
        let wait = Span::from_millis(400 + self.rng.below(1_600));
        self.queue.plan(self.now + wait, Event::Tick { host, life });
        Ok(())
    }

    fn tick_node(&mut self, host: HostId, life: u32) -> Result<(), Broken> {
        let node = &mut self.nodes[host.index()];
        if node.life != life || node.chain.is_none() {
            return Ok(());
        }
        let mut out = Outbox::new();
        let ticked = node.tick(self.now, &mut out);
        self.record(What::Woken, host, 1, &[]);
        self.queue.plan(self.now + TICK, Event::Tick { host, life });
        if host == SEQUENCER && self.liar.is_some() {
            self.tick_liar();
        }
        self.after(host, ticked, out)
    }

    fn tick_liar(&mut self) {
        let local = self.nodes[SEQUENCER.index()].skew.local(self.now);
        let Some(liar) = &mut self.liar else { return };
        let before = liar.shadow.as_ref().map(|shadow| shadow.last_accepted().height);
        liar.tick(local);
        if let Some(last) = liar.shadow.as_ref().map(|shadow| shadow.last_accepted())
            && before != Some(last.height)
        {
            self.sealed.valid.entry(last.height).or_default().insert(last.id);
            self.sealed.fork.get_or_insert(last.height);
            self.counts.lies += 1;
        }
    }

    fn tick_person(&mut self, index: usize, host: HostId) {
        let up: Vec<usize> = (0..self.nodes.len())
            .filter(|at| self.nodes[*at].chain.is_some() && self.nodes[*at].stopped.is_none())
            .collect();
        let (person, now) = (&mut self.people[index], self.now);
        if let Some(at) = up.get(self.rng.below(up.len() as u64) as usize)
            && let Some(chain) = &self.nodes[*at].chain
        {
            let included = |id: &_| matches!(chain.transaction(id), Ok(Some(_)));
            person.look(chain.state(), now, included);
            let (state, ring, silent) = (chain.state(), &mut self.ring, self.silent);
            person.order(&self.setting.chain, state, now, ring, silent);
        }
        for message in self.people[index].submissions() {
            let to = host_id(self.rng.below(self.nodes.len() as u64) as usize);
            self.send(host, to, &message);
        }
    }

    /// Puts a packet on its way.
    fn send(&mut self, from: HostId, to: HostId, message: &Message) {
        let bytes = message.bytes();
        let Counts { traffic, .. } = &mut self.counts;
        traffic.frames += 1;
        traffic.bytes += bytes.len() as u64;
        let apart = |host: HostId| {
            self.apart.as_ref().and_then(|apart| apart.get(host.index())).copied().unwrap_or(false)
        };
        if apart(from) != apart(to) || self.link.loses(&mut self.rng) {
            traffic.lost += 1;
            return;
        }
        let twice = self.link.repeats(&mut self.rng);
        traffic.repeated += u64::from(twice);
        for _ in 0..1 + usize::from(twice) {
            let bytes = match &mut self.meddler {
                Some(meddler) => meddler.meddle(bytes.clone()),
                None => bytes.clone(),
            };
            let (here, there) = (self.places[from.index()], self.places[to.index()]);
            let delay = self.link.delay(here, there, &mut self.rng);
            self.queue.plan(self.now + delay, Event::Packet { from, to, bytes });
        }
    }

    fn deliver(&mut self, from: HostId, to: HostId, bytes: &[u8]) -> Result<(), Broken> {
        self.record(What::Packet, to, u64::from(from.0), bytes);
        let Some(message) = Message::parse(bytes) else { return Ok(()) };
        if let Some(index) = to.index().checked_sub(self.nodes.len()) {
            if let Message::Refused { transaction } = message {
                self.people[index].refused(&transaction);
            }
            return Ok(());
        }
        let (now, mut out) = (self.now, Outbox::new());
        if self.nodes[to.index()].chain.is_none() {
            return Ok(());
        }
        let mut done = Ok(());
        match message {
            Message::Submit { transaction } => {
                if self.reaches_main_chain(to, &transaction) {
                    self.nodes[to.index()].submit(from, &transaction, now, &mut out);
                }
            }
            Message::Ask { number, height } => {
                if let Some(sealed) = self.serve(to, from, height) {
                    out.push((from, Message::Answer { number, sealed }));
                }
            }
            Message::Answer { number, sealed } => {
                let node = &self.nodes[to.index()];
                self.shown_fork = node.awaits(number)
                    && sealed.as_ref().is_some_and(|sealed| is_fork(self, node, sealed));
                let node = &mut self.nodes[to.index()];
                done = node.answered(number, sealed.as_ref(), now, &mut out);
            }
            Message::Refused { .. } => {}
        }
        self.after(to, done, out)
    }

    fn reaches_main_chain(&mut self, to: HostId, transaction: &[u8]) -> bool {
        let local = self.nodes[to.index()].skew.local(self.now);
        match &mut self.liar {
            Some(liar) if to == SEQUENCER => liar.submit(transaction, local),
            _ => true,
        }
    }

    /// Returns what a node answers; nothing when it does not answer at all.
    fn serve(&mut self, at: HostId, from: HostId, height: u64) -> Option<Option<SealedBlock>> {
        let node = &mut self.nodes[at.index()];
        if !node.honest {
            self.counts.lies += 1;
            return Some(garbage(node, &self.setting, height, self.now, &mut self.rng));
        }
        match &mut self.liar {
            Some(liar) if at == SEQUENCER && liar.is_victim(from) => {
                let told = liar.serve(node, height, node.skew.local(self.now));
                self.counts.lies += u64::from(liar.lie != Lie::Equivocate);
                if let (Lie::SealInvalid, Some(Some(sealed))) = (liar.lie, &told) {
                    let id = block_id(&sealed.block);
                    if !self.sealed.is_valid(height, &id) {
                        self.sealed.invalid.entry(height).or_default().insert(id);
                    }
                }
                told
            }
            _ => Some(node.serve(height)),
        }
    }

    fn after(&mut self, host: HostId, done: Result<(), Died>, out: Outbox) -> Result<(), Broken> {
        if done.is_err() {
            return self.died(host);
        }
        self.look(host)?;
        for (to, message) in out {
            self.send(host, to, &message);
        }
        Ok(())
    }

    /// Looks at what a node accepted since the last time, and checks every invariant.
    fn look(&mut self, host: HostId) -> Result<(), Broken> {
        let index = host.index();
        let node = &self.nodes[index];
        let Some(chain) = &node.chain else { return Ok(()) };
        let started = self.lives[index] != Some(node.life);
        let known = self.seen[index].blocks.len() as u64;
        let mut news: News =
            news(chain, known, started).map_err(|what| ("accepted_is_never_lost", what))?;
        news.shown_fork = std::mem::take(&mut self.shown_fork);
        if host == SEQUENCER {
            for new in &news.blocks {
                self.sealed.valid.entry(new.block.height).or_default().insert(new.id);
            }
        }
        for (name, invariant) in AFTER_EVENTS {
            self.counts.checks += 1;
            invariant(self, &self.nodes[index], &news).map_err(|what| (*name, what))?;
        }
        self.remember(host, news);
        Ok(())
    }

    fn remember(&mut self, host: HostId, news: News) {
        let index = host.index();
        let node = &self.nodes[index];
        self.lives[index] = Some(node.life);
        let last = node.chain.as_ref().map(|chain| chain.last_accepted().id);
        let stopped = node.stopped.is_some();
        let fork = matches!(node.stopped, Some(Refusal::Fork { .. }));
        for new in news.blocks {
            let height = new.block.height;
            if self.firsts.len() as u64 == height {
                self.firsts.push(new.id);
            }
            let seen = &mut self.seen[index];
            seen.blocks.push(new.id);
            for (at, transaction) in (0_u32..).zip(&new.transactions) {
                seen.places.insert(transaction.id, (height, at));
                *seen.counts.entry(transaction.sender()).or_default() += 1;
                self.counts.kinds.insert(transaction.signed.transaction.action.name());
            }
            self.record(What::Accepted, host, height, new.id.as_bytes());
        }
        let seen = &mut self.seen[index];
        if stopped && seen.stopped_at.is_none() {
            seen.stopped_at = last;
            self.counts.stops += 1;
            self.counts.forks += u64::from(fork);
            self.record(What::Stopped, host, 0, &[]);
        } else if !stopped {
            seen.stopped_at = None;
        }
    }

    fn record(&mut self, what: What, host: HostId, number: u64, bytes: &[u8]) {
        let kind = bytes.first().copied().unwrap_or_default();
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.trace.record(Step { at: self.now, what, host, number, kind, size }, bytes);
    }
}

fn genesis(
    seed: u64,
    people: &[FakeIdentity],
    nodes: &[FakeIdentity],
    sequencer: &FakeIdentity,
) -> Genesis {
    let accounts = people.iter().map(|keys| GenesisAccount {
        account: keys.public().account_id(),
        balance: BALANCE,
        keys: None,
    });
    let operators = people.iter().cycle();
    let nodes = (0..).zip(nodes).zip(operators).map(|((number, node), operator)| GenesisNode {
        operator: operator.public().account_id(),
        keys: node.public().clone(),
        endpoint: Text::new(format!("genesis{number}:9651")).expect("it is short"),
        stake: Amount::lux(100),
        swarm: SwarmId(7),
    });
    Genesis {
        name: Text::new(format!("sim-{seed}")).expect("it is short"),
        time: BEGINNING,
        params: Params {
            epoch: Span::from_secs(20),
            unbonding: Span::from_secs(20),
            swarm_size: 5,
            ..Params::default()
        },
        sequencer: Some(sequencer.public().clone()),
        accounts: accounts.collect(),
        nodes: nodes.collect(),
        authority: None,
        supply: None,
    }
}

fn host_id(index: usize) -> HostId {
    HostId(u32::try_from(index).expect("fewer than 2^32 hosts"))
}
