//! The world of the committees: nodes, a chain, the network between them, and people who bring
//! sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::{
    Digest, Entropy, Machine, NodeId, SeededEntropy, SessionId, Span, SwarmId, Text, Time,
    committee,
};
use session_crypto::Signer;
use session_crypto::fake::FakeIdentity;
use session_executor::{Effect, Executor, Input, Note};
use session_protocol::chain::view::{ChainView, OpenSession};
use session_protocol::chain::{Action, Amount};
use session_protocol::evidence::Evidence;
use session_protocol::workload::Message;
use session_protocol::{Inbound, Kind};
use session_vm::genesis::{Genesis, GenesisAccount, GenesisNode};
use session_vm::records::Params;

use super::liar::{Liar, Lie, encode};
use super::node::{Called, Node};
use super::outside::Outside;
use super::people::{Errand, People};
use super::witness::Witness;
use crate::coordination::blocks::Blocks;
use crate::disk::Disk;
use crate::host::{BEGINNING, HostId};
use crate::link::Link;
use crate::net::Traffic;
use crate::queue::Queue;
use crate::trace::{Step, Trace, What};
use crate::violation::Violation;

/// Nodes that are no members and take what people bring.
pub(super) const DOORS: usize = 1;
/// Time between two attempts to make a block.
const BLOCK_EVERY: Span = Span::from_secs(1);
/// Until somebody starts a node again.
const RESTART_MS: u64 = 4_000;
/// Until a connection that failed is tried again.
const REDIAL_MS: u64 = 2_000;

pub(crate) type Broken = (&'static str, String);

/// What is planned.
pub(crate) enum Event {
    Wake { node: usize },
    Input { node: usize, life: u32, input: Box<Input> },
    Packet { from: usize, to: usize, bytes: Vec<u8> },
    Dial { from: usize, to: usize },
    Down { node: usize, life: u32, other: usize },
    View { node: usize, life: u32 },
    Order { node: usize, action: Box<Action> },
    Block,
    Start { node: usize },
    Errand(usize),
    Strike(Strike),
}

/// What goes wrong.
#[derive(Clone, Debug)]
pub(crate) enum Strike {
    /// A node dies now, or after a few more commits.
    Crash {
        node: usize,
        commits: u64,
    },
    /// Nodes that do not hear the others, and not the chain.
    Split {
        apart: Vec<bool>,
    },
    Heal,
}

/// How large a world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) members: usize,
    pub(crate) people: usize,
    pub(crate) link: Link,
    /// Of 100 questions to the world, how many go wrong.
    pub(crate) trouble: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) checks: u64,
    pub(crate) traffic: Traffic,
    pub(crate) crashes: u64,
    pub(crate) splits: u64,
    /// Messages that were not let in.
    pub(crate) refused: u64,
    /// Times that liars were disconnected for breaking the rules.
    pub(crate) blamed: u64,
    /// Conflicts that too many liars brought about.
    pub(crate) conflicts: u64,
}

pub(crate) struct World {
    pub(super) seed: u64,
    pub(super) now: Time,
    pub(super) queue: Queue<Event>,
    trace: Trace,
    link: Link,
    places: Vec<u16>,
    links: BTreeSet<(usize, usize)>,
    apart: Option<Vec<bool>>,
    pub(super) nodes: Vec<Node>,
    by_id: BTreeMap<NodeId, usize>,
    pub(super) members: usize,
    pub(super) blocks: Blocks,
    pub(super) genesis: Genesis,
    pub(super) outside: Outside,
    pub(super) people: People,
    pub(super) witness: Witness,
    pub(super) rng: SeededEntropy,
    healed: bool,
    /// Who loses its disk whenever it dies. Nobody does in any story: it is there to show that the
    /// invariants find it.
    pub(super) forgetful: Option<usize>,
    pub(super) counts: Counts,
}

impl World {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut rng = SeededEntropy::new(plan.seed);
        let keys: Vec<_> =
            (0..plan.members + DOORS).map(|_| FakeIdentity::generate(&mut rng)).collect();
        let operator = Arc::new(FakeIdentity::generate(&mut rng));
        let genesis = genesis(&keys[..plan.members], &operator);
        let members = keys[..plan.members].iter().map(|keys| Arc::new(keys.clone()));
        let blocks = Blocks::new(&genesis, operator, members).expect("keys and addresses differ");
        let view = Arc::clone(blocks.view());
        let nodes: Vec<Node> =
            keys.into_iter().map(|keys| Node::new(keys, &view, &mut rng)).collect();
        let by_id = nodes.iter().enumerate().map(|(index, node)| (node.id, index)).collect();
        let outside = Outside::new(SeededEntropy::from_bytes(rng.bytes32()), plan.trouble);
        let mut world = Self {
            seed: plan.seed,
            now: BEGINNING,
            queue: Queue::new(BEGINNING),
            trace: Trace::new(),
            link: plan.link,
            places: nodes.iter().map(|_| (rng.next_u64() % 1024) as u16).collect(),
            links: BTreeSet::new(),
            apart: None,
            nodes,
            by_id,
            members: plan.members,
            blocks,
            genesis,
            outside,
            people: People::new(plan.people),
            witness: Witness::default(),
            rng,
            healed: false,
            forgetful: None,
            counts: Counts::default(),
        };
        for node in 0..world.nodes.len() {
            world.queue.plan(BEGINNING, Event::Wake { node });
            world.show(node);
        }
        world.queue.plan(BEGINNING + BLOCK_EVERY, Event::Block);
        world.begin_errands();
        world
    }

    pub(crate) fn digest(&self) -> Digest {
        self.trace.digest()
    }

    pub(crate) const fn events(&self) -> u64 {
        self.trace.steps()
    }

    pub(crate) fn make_liar(&mut self, node: usize, lie: Lie) {
        let (chain, rng) = (self.view().chain, SeededEntropy::from_bytes(self.rng.bytes32()));
        self.nodes[node].liar = Some(Liar::new(lie, chain, rng));
    }

    pub(crate) fn plan(&mut self, after: Span, strike: Strike) {
        self.queue.plan(BEGINNING + after, Event::Strike(strike));
    }

    pub(super) fn view(&self) -> &Arc<ChainView> {
        self.blocks.view()
    }

    /// Returns whether more members lie than a committee can bear: then safety may be lost, but not
    /// without evidence.
    pub(super) fn is_overrun(&self) -> bool {
        let needed = committee::quorum(self.members).unwrap_or(self.members);
        self.liars() > self.members - needed
    }

    fn excuse(&mut self, seen: Result<(), Broken>) -> Result<(), Broken> {
        if seen.is_err() && self.is_overrun() {
            self.counts.conflicts += 1;
            return Ok(());
        }
        seen
    }

    pub(super) fn liars(&self) -> usize {
        self.nodes.iter().filter(|node| !node.is_honest()).count()
    }

    /// Ends everything that goes wrong, but for liars; nobody opens another session.
    pub(crate) fn heal(&mut self) {
        (self.healed, self.people.silent) = (true, true);
        self.link = Link::good();
        self.apart = None;
        self.outside.trouble = 0;
        for node in 0..self.nodes.len() {
            self.nodes[node].dies_after = None;
            self.show(node);
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
            Event::Wake { node } => self.wake(node),
            Event::Input { node, life, input } if self.nodes[node].life == life => {
                self.input(node, *input)
            }
            Event::Input { .. } => Ok(()),
            Event::Packet { from, to, bytes } => self.deliver(from, to, &bytes),
            Event::Dial { from, to } => self.dial(from, to),
            Event::Down { node, life, other } => self.down(node, life, other),
            Event::View { node, life } => self.viewed(node, life),
            Event::Order { node, action } => self.ordered(node, *action),
            Event::Block => self.block(),
            Event::Start { node } => self.start(node),
            Event::Errand(number) => self.errand(number),
            Event::Strike(_) if self.healed => Ok(()),
            Event::Strike(strike) => self.strike(strike),
        }
    }

    pub(super) fn record(&mut self, what: What, node: usize, number: u64, kind: u8, bytes: &[u8]) {
        let host = HostId(u32::try_from(node).expect("fewer than 2^32 nodes"));
        let size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.trace.record(Step { at: self.now, what, host, number, kind, size }, bytes);
    }

    // The machines.

    fn wake(&mut self, node: usize) -> Result<(), Broken> {
        // Whoever is to be woken earlier meanwhile is not woken twice.
        if self.nodes[node].tick.is_some_and(|tick| tick != self.now) {
            return Ok(());
        }
        self.nodes[node].tick = None;
        let due = self.nodes[node].exec.as_ref().and_then(Executor::deadline);
        if due.is_some_and(|due| due <= self.now) {
            self.record(What::Woken, node, 0, 0, &[]);
            return self.call(node, |exec, cx| exec.tick(cx));
        }
        self.plan_wake(node);
        Ok(())
    }

    pub(super) fn input(&mut self, node: usize, input: Input) -> Result<(), Broken> {
        self.call(node, |exec, cx| exec.handle(cx, input))
    }

    fn call(
        &mut self,
        node: usize,
        act: impl FnOnce(
            &mut Executor,
            &mut session_core::Context<'_, dyn session_storage::Store, Effect>,
        ),
    ) -> Result<(), Broken> {
        match self.nodes[node].call(self.now, act) {
            Called::Down => {}
            Called::Died => self.crash(node),
            Called::Effects(effects) => {
                for effect in effects {
                    self.perform(node, effect)?;
                }
                self.plan_wake(node);
            }
        }
        Ok(())
    }

    fn plan_wake(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let Some(due) = node.exec.as_ref().and_then(Executor::deadline) else { return };
        // Something is always done first: a machine that is due at once cannot stop the clock.
        let due = due.max(self.now + Span::from_millis(1));
        if node.tick.is_none_or(|tick| due < tick) {
            node.tick = Some(due);
            self.queue.plan(due, Event::Wake { node: index });
        }
    }

    fn perform(&mut self, node: usize, effect: Effect) -> Result<(), Broken> {
        match effect {
            Effect::Send { nodes, message } => self.send(node, &nodes, &message)?,
            Effect::Connect { nodes } => self.connect(node, nodes),
            Effect::Run(job) => {
                let ran = self.nodes[node].runner.run(&job);
                self.witness.ran(node, &job, &ran);
                let delay = Span::from_millis(self.rng.below(20));
                self.plan_input(node, delay, Input::Ran(Box::new(ran)));
            }
            Effect::Forget { session } => self.nodes[node].runner.forget(&session),
            Effect::Fetch(fetch) => {
                let allowed = (self.members, self.liars());
                if self.nodes[node].is_honest() {
                    self.counts.checks += 1;
                    self.witness.writes_are_intended(&fetch, allowed)?;
                }
                let (takes, reply) = self.outside.ask(node, &fetch, self.now);
                self.counts.checks += 1;
                super::invariants::writes_happen_once(&self.outside)?;
                let outcome = self.nodes[node].look(&fetch, reply);
                let (session, request) = (fetch.facts.session, fetch.request);
                self.plan_input(node, takes, Input::Fetched { session, request, outcome });
            }
            Effect::Submit { action } => {
                self.counts.checks += 1;
                let seen = self.witness.submitted(&action);
                self.excuse(seen)?;
                let delay = self.delay(node, node) + Span::from_millis(self.rng.below(300));
                let action = Box::new(action);
                self.queue.plan(self.now + delay, Event::Order { node, action });
            }
            Effect::Accuse { evidence } => self.accused(node, *evidence)?,
            Effect::Stored { id, result } => {
                self.nodes[node].stored.insert(id, result);
            }
            Effect::Answer { id, answer } => {
                self.nodes[node].answers.insert(id, answer);
            }
            Effect::Misbehaved { node: blamed, why } => self.blamed(node, blamed, why)?,
            Effect::Note(note) => self.noted(node, &note)?,
        }
        Ok(())
    }

    fn accused(&mut self, node: usize, evidence: Evidence) -> Result<(), Broken> {
        if !self.nodes[node].is_honest() {
            return Ok(());
        }
        self.counts.checks += 1;
        let accused = self.by_id.get(&evidence.accused()).copied();
        super::invariants::evidence_convicts_liars(self, accused, &evidence)?;
        self.witness.accused.insert(evidence.accused());
        self.witness.evidence += 1;
        Ok(())
    }

    fn blamed(&mut self, by: usize, blamed: NodeId, why: &str) -> Result<(), Broken> {
        let honest = |node: usize| self.nodes[node].is_honest();
        let blamed = self.by_id.get(&blamed).copied();
        if honest(by) && blamed.is_some_and(honest) {
            let what = format!("node {by} blames {blamed:?}: {why}");
            return Err(("the_honest_are_not_blamed", what));
        }
        self.counts.blamed += 1;
        Ok(())
    }

    fn noted(&mut self, node: usize, note: &Note) -> Result<(), Broken> {
        match note {
            Note::Diverged { .. } | Note::BadJournal { .. } | Note::StoreFailed { .. }
                if self.nodes[node].is_honest() =>
            {
                self.excuse(Err(("replay_equals_live", format!("node {node}: {note:?}"))))
            }
            Note::Decided { retry, .. } => {
                self.witness.decided(*retry);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn plan_input(&mut self, node: usize, delay: Span, input: Input) {
        let life = self.nodes[node].life;
        self.queue.plan(self.now + delay, Event::Input { node, life, input: Box::new(input) });
    }

    // The network.

    fn are_apart(&self, one: usize, other: usize) -> bool {
        self.apart.as_ref().is_some_and(|apart| apart[one] != apart[other])
    }

    fn is_cut_off(&self, node: usize) -> bool {
        self.apart.as_ref().is_some_and(|apart| apart[node])
    }

    fn delay(&mut self, from: usize, to: usize) -> Span {
        self.link.delay(self.places[from], self.places[to], &mut self.rng)
    }

    fn send(&mut self, from: usize, nodes: &[NodeId], message: &Message) -> Result<(), Broken> {
        let truth = encode(message);
        for id in nodes {
            let Some(&to) = self.by_id.get(id) else { continue };
            if to == from {
                return Err(("nobody_speaks_to_itself", format!("node {from}: {message:?}")));
            }
            let node = &mut self.nodes[from];
            let spoken = match &mut node.liar {
                Some(liar) => liar.speak(&node.keys, message),
                None => vec![(Span::ZERO, truth.clone())],
            };
            for (late, bytes) in spoken {
                self.dispatch(from, to, late, bytes);
            }
        }
        Ok(())
    }

    fn dispatch(&mut self, from: usize, to: usize, late: Span, bytes: Vec<u8>) {
        self.counts.traffic.frames += 1;
        self.counts.traffic.bytes += bytes.len() as u64;
        let linked = self.links.contains(&(from.min(to), from.max(to)));
        if !linked || self.are_apart(from, to) || self.link.loses(&mut self.rng) {
            self.counts.traffic.lost += 1;
            return;
        }
        if self.link.repeats(&mut self.rng) {
            self.counts.traffic.repeated += 1;
            let at = self.now + late + self.delay(from, to);
            self.queue.plan(at, Event::Packet { from, to, bytes: bytes.clone() });
        }
        let at = self.now + late + self.delay(from, to);
        self.queue.plan(at, Event::Packet { from, to, bytes });
    }

    fn deliver(&mut self, from: usize, to: usize, bytes: &[u8]) -> Result<(), Broken> {
        let kind = bytes.get(1).copied().unwrap_or_default();
        self.record(What::Frame, to, from as u64, kind, bytes);
        let receiver = &self.nodes[to];
        if !receiver.is_up() {
            return Ok(());
        }
        match receiver.checker.check(bytes) {
            Ok(Inbound::Workload(message)) => {
                self.counts.checks += 1;
                let (life, honest) = (receiver.life, receiver.is_honest());
                let seen = self.witness.heard(to, life, honest, &message);
                self.excuse(seen)?;
                let node = self.nodes[from].id;
                self.input(to, Input::FromPeer { node, message })
            }
            // The receiver is behind, or ahead.
            Ok(Inbound::NoSession(_)) => Ok(()),
            Ok(Inbound::NoHandler(_)) if receiver.life > 0 => Ok(()),
            Ok(other) if self.nodes[from].is_honest() => {
                Err(("honest_messages_are_taken", format!("{from} to {to}: {other:?}")))
            }
            Err(fault) if self.nodes[from].is_honest() => {
                let kind = Kind::from_code(kind);
                Err(("honest_messages_are_taken", format!("{kind:?} {from} to {to}: {fault}")))
            }
            _ => {
                self.counts.refused += 1;
                Ok(())
            }
        }
    }

    fn connect(&mut self, from: usize, nodes: BTreeSet<NodeId>) {
        self.nodes[from].wants = nodes;
        let wanted: Vec<usize> =
            self.nodes[from].wants.iter().filter_map(|id| self.by_id.get(id).copied()).collect();
        for to in wanted {
            let at = self.now + self.delay(from, to) + self.delay(to, from);
            self.queue.plan(at, Event::Dial { from, to });
        }
        let id = self.nodes[from].id;
        let idle: Vec<_> = self
            .links
            .iter()
            .copied()
            .filter(|pair| pair.0 == from || pair.1 == from)
            .filter(|pair| {
                let other = if pair.0 == from { pair.1 } else { pair.0 };
                let (here, there) = (&self.nodes[from], &self.nodes[other]);
                !here.wants.contains(&there.id) && !there.wants.contains(&id)
            })
            .collect();
        idle.into_iter().for_each(|pair| self.unlink(pair));
    }

    /// Ends a connection; both ends hear of it, each in its own time.
    fn unlink(&mut self, pair: (usize, usize)) {
        if !self.links.remove(&pair) {
            return;
        }
        for (end, other) in [pair, (pair.1, pair.0)] {
            let node = self.nodes[other].id;
            let delay = Span::from_millis(self.rng.below(2_000));
            let life = self.nodes[end].life;
            self.queue.plan(self.now + delay, Event::Down { node: end, life, other });
            if self.nodes[end].wants.contains(&node) {
                let redial = delay + Span::from_millis(self.rng.below(REDIAL_MS));
                self.queue.plan(self.now + redial, Event::Dial { from: end, to: other });
            }
        }
    }

    fn down(&mut self, node: usize, life: u32, other: usize) -> Result<(), Broken> {
        let again = self.links.contains(&(node.min(other), node.max(other)));
        if again || self.nodes[node].life != life {
            return Ok(());
        }
        let other = self.nodes[other].id;
        self.input(node, Input::PeerDown { node: other })
    }

    fn dial(&mut self, from: usize, to: usize) -> Result<(), Broken> {
        let pair = (from.min(to), from.max(to));
        let (here, there) = (&self.nodes[from], &self.nodes[to]);
        if self.links.contains(&pair) || !here.is_up() || !here.wants.contains(&there.id) {
            return Ok(());
        }
        if !there.is_up() || self.are_apart(from, to) {
            let redial = Span::from_millis(1_000 + self.rng.below(REDIAL_MS));
            self.queue.plan(self.now + redial, Event::Dial { from, to });
            return Ok(());
        }
        self.links.insert(pair);
        self.counts.traffic.connections += 1;
        let (here, there) = (here.id, there.id);
        self.record(What::Connected, from, to as u64, 0, &[]);
        self.input(from, Input::PeerUp { node: there })?;
        self.input(to, Input::PeerUp { node: here })
    }

    // What goes wrong.

    fn strike(&mut self, strike: Strike) -> Result<(), Broken> {
        self.record(What::Fault, 0, 0, 0, format!("{strike:?}").as_bytes());
        match strike {
            Strike::Crash { node, commits: 0 } => self.crash(node),
            Strike::Crash { node, commits } => {
                let node = &mut self.nodes[node];
                node.dies_after = Some(node.commits + commits);
            }
            Strike::Split { apart } => {
                self.counts.splits += 1;
                self.apart = Some(apart);
                let across: Vec<_> =
                    self.links.iter().copied().filter(|&(a, b)| self.are_apart(a, b)).collect();
                across.into_iter().for_each(|pair| self.unlink(pair));
            }
            Strike::Heal => {
                self.apart = None;
                (0..self.nodes.len()).for_each(|node| self.show(node));
            }
        }
        Ok(())
    }

    pub(super) fn crash(&mut self, node: usize) {
        if !self.nodes[node].is_up() {
            return;
        }
        self.counts.crashes += 1;
        self.record(What::Fault, node, 1, 0, &[]);
        self.nodes[node].crash();
        if self.forgetful == Some(node) {
            self.nodes[node].disk = Disk::new(self.rng.next_u64());
        }
        let own: Vec<_> =
            self.links.iter().copied().filter(|pair| pair.0 == node || pair.1 == node).collect();
        own.into_iter().for_each(|pair| self.unlink(pair));
        let later = Span::from_millis(200 + self.rng.below(RESTART_MS));
        self.queue.plan(self.now + later, Event::Start { node });
    }

    pub(super) fn start(&mut self, node: usize) -> Result<(), Broken> {
        if !self.nodes[node].is_up() {
            self.nodes[node].start();
            self.record(What::Woken, node, 1, 0, &[]);
            self.show(node);
            self.plan_wake(node);
        }
        Ok(())
    }

    // The chain.

    fn show(&mut self, node: usize) {
        let delay = self.delay(node, node) + Span::from_millis(self.rng.below(500));
        let life = self.nodes[node].life;
        self.queue.plan(self.now + delay, Event::View { node, life });
    }

    pub(super) fn viewed(&mut self, node: usize, life: u32) -> Result<(), Broken> {
        if self.nodes[node].life != life || self.is_cut_off(node) {
            return Ok(());
        }
        let view = Arc::clone(self.view());
        self.record(What::Viewed, node, view.height, 0, &[]);
        self.nodes[node].checker.set_view(&view);
        self.input(node, Input::View(view))
    }

    fn ordered(&mut self, node: usize, action: Action) -> Result<(), Broken> {
        if node < self.members && !self.is_cut_off(node) && !self.link.loses(&mut self.rng) {
            self.record(What::Ordered, node, 0, 0, action.name().as_bytes());
            let id = self.nodes[node].id;
            self.blocks.order(&id, action);
        }
        Ok(())
    }

    fn block(&mut self) -> Result<(), Broken> {
        self.queue.plan(self.now + BLOCK_EVERY, Event::Block);
        if self.blocks.produce(self.now, &mut self.rng).is_none() {
            return Ok(());
        }
        let view = Arc::clone(self.view());
        self.record(What::Accepted, 0, view.height, 0, view.block.as_bytes());
        self.witness.opened(&view);
        (0..self.nodes.len()).for_each(|node| self.show(node));
        Ok(())
    }

    /// Returns what is open, by its input.
    pub(super) fn open_with(&self, errand: &Errand) -> Option<(SessionId, Arc<OpenSession>)> {
        let mut open = self.view().sessions.iter();
        let (id, open) = open.find(|(_, open)| open.input == errand.input_id())?;
        Some((*id, Arc::clone(open)))
    }
}

fn genesis(members: &[FakeIdentity], operator: &FakeIdentity) -> Genesis {
    let account = operator.public().account_id();
    let params = Params {
        // No epoch turns: this world has no duties.
        epoch: Span::from_days(1),
        swarm_size: u16::try_from(members.len()).unwrap_or(u16::MAX),
        ..Params::default()
    };
    let nodes = (0_u32..).zip(members).map(|(number, keys)| GenesisNode {
        operator: account,
        keys: keys.public().clone(),
        endpoint: Text::new(format!("{}:9651", HostId(number).ip())).expect("it is short"),
        stake: params.stake_min,
        swarm: SwarmId(7),
    });
    Genesis {
        name: Text::new("workload").expect("it is short"),
        time: BEGINNING,
        params,
        sequencer: None,
        authority: None,
        accounts: vec![GenesisAccount {
            account,
            balance: Amount::lux(1_000_000),
            keys: Some(operator.public().clone()),
        }],
        nodes: nodes.collect(),
        supply: None,
    }
}
