//! Coordinators, their stores, the chain, and links that lose and delay messages.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::{Context, Entropy as _, Epoch, Machine as _, NodeId, SeededEntropy, Span, Time};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::attestation::QuorumCertificate;
use session_protocol::chain::Action;
use session_protocol::duty::Duty;
use session_protocol::evidence::Evidence;
use session_protocol::limits::FRAME_BYTES_MAX;
use session_protocol::roster::Target;
use session_protocol::schedule::{Phase, Schedule};
use session_protocol::{Frame, Kind};
use session_storage::{MemoryStore, Store};

use super::chain::{Chain, GENESIS, LENGTH};
use crate::coordinator::{Config, Coordinator, Effect, Input, Lie, Note, Verdict};

const BLOCK_TIME: Span = Span::from_millis(250);
const DELAY: Span = Span::from_millis(20);
const UNREACHABLE_AFTER: Span = Span::from_millis(500);

pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) keys: Arc<FakeIdentity>,
    pub(super) coordinator: Coordinator,
    pub(super) store: MemoryStore,
    pub(super) is_up: bool,
    /// What its clock is ahead.
    pub(super) ahead: Span,
    lie: Option<Lie>,
}

/// What comes to a node.
#[derive(Debug)]
enum Event {
    Said { from: usize, body: Vec<u8> },
    Up { node: usize },
    Down { node: usize },
    Unreachable { node: usize },
    CommitmentTx { node: NodeId, epoch: Epoch },
}

pub(super) struct World {
    pub(super) now: Time,
    pub(super) chain: Chain,
    pub(super) nodes: Vec<Node>,
    rng: SeededEntropy,
    queue: BTreeMap<(Time, u64), (usize, Event)>,
    sequence: u64,
    pool: Vec<(NodeId, Action)>,
    next_block: Time,
    wanted: BTreeSet<(usize, usize)>,
    linked: BTreeSet<(usize, usize)>,
    /// Messages of 1,000 that are lost.
    pub(super) loss: u64,
    /// Whether blocks are made only for transactions.
    pub(super) is_chain_lazy: bool,
    pub(super) submitted: Vec<(usize, Time, Action)>,
    pub(super) accused: Vec<(usize, Evidence)>,
    pub(super) certified: BTreeMap<(usize, Epoch), QuorumCertificate>,
    pub(super) compared: Vec<(usize, Time, Vec<NodeId>)>,
    pub(super) notes: Vec<(usize, Note)>,
    pub(super) sent: BTreeMap<&'static str, usize>,
}

fn name(duty: &Duty) -> &'static str {
    match duty {
        Duty::Share { .. } => "share",
        Duty::WantShare { .. } => "want share",
        Duty::Probe { .. } => "probe",
        Duty::Alive { .. } => "alive",
        Duty::Audit { .. } => "audit",
        Duty::Opened { .. } => "opened",
        Duty::Voted { .. } => "voted",
        Duty::Certified { .. } => "certified",
        Duty::Holds { .. } => "holds",
        Duty::Absent { .. } => "absent",
        _ => "other",
    }
}

fn coordinator(keys: &Arc<FakeIdentity>, lie: Option<Lie>) -> Coordinator {
    Coordinator::new(Config {
        node: keys.public().node_id(),
        keys: Arc::<FakeIdentity>::clone(keys),
        verifier: Arc::new(FakeVerifier),
        one_time_secrets: 64,
        version: "test".to_owned(),
        lie,
    })
}

impl World {
    pub(super) fn new(count: usize, seed: u64) -> Self {
        Self::with_lies(count, seed, &[])
    }

    /// Makes a network in which some lie, by index.
    pub(super) fn with_lies(count: usize, seed: u64, lies: &[(usize, Lie)]) -> Self {
        let mut rng = SeededEntropy::new(seed);
        let mut all: Vec<Arc<FakeIdentity>> =
            (0..count).map(|_| Arc::new(FakeIdentity::generate(&mut rng))).collect();
        // So that index and place among the dealers are the same.
        all.sort_by_key(|keys| keys.public().node_id());
        let node = |(index, keys): (usize, &Arc<FakeIdentity>)| {
            let lie = lies.iter().find(|(liar, _)| *liar == index).map(|(_, lie)| *lie);
            Node {
                id: keys.public().node_id(),
                keys: Arc::clone(keys),
                coordinator: coordinator(keys, lie),
                store: MemoryStore::new(index as u64),
                is_up: true,
                ahead: Span::ZERO,
                lie,
            }
        };
        let mut world = Self {
            now: GENESIS,
            nodes: all.iter().enumerate().map(node).collect(),
            chain: Chain::new(all),
            rng,
            queue: BTreeMap::new(),
            sequence: 0,
            pool: Vec::new(),
            next_block: GENESIS,
            wanted: BTreeSet::new(),
            linked: BTreeSet::new(),
            loss: 0,
            is_chain_lazy: false,
            submitted: Vec::new(),
            accused: Vec::new(),
            certified: BTreeMap::new(),
            compared: Vec::new(),
            notes: Vec::new(),
            sent: BTreeMap::new(),
        };
        for index in 0..count {
            world.give(index, Input::FreeBytes(1_000_000));
            world.give(index, Input::Complete(true));
        }
        world.show(0..count);
        world
    }

    pub(super) fn index(&self, id: &NodeId) -> usize {
        self.nodes.iter().position(|node| node.id == *id).unwrap()
    }

    /// Shows the chain to some nodes.
    fn show(&mut self, nodes: impl IntoIterator<Item = usize>) {
        let view = self.chain.view();
        for index in nodes {
            if self.nodes[index].is_up {
                self.give(index, Input::View(Arc::clone(&view)));
            }
        }
    }

    pub(super) fn give(&mut self, index: usize, input: Input) {
        self.call(index, |coordinator, cx| coordinator.handle(cx, input));
    }

    /// Runs one call of a machine, commits, and performs the effects.
    pub(super) fn call(
        &mut self,
        index: usize,
        call: impl FnOnce(&mut Coordinator, &mut Context<'_, dyn Store, Effect>),
    ) {
        let mut effects = Vec::new();
        let node = &mut self.nodes[index];
        let mut cx = Context {
            now: self.now + node.ahead,
            store: &mut node.store as &mut dyn Store,
            rng: &mut self.rng,
            effects: &mut effects,
        };
        call(&mut node.coordinator, &mut cx);
        node.store.commit_now();
        for effect in effects {
            self.perform(index, effect);
        }
    }

    fn later(&mut self, span: Span, to: usize, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + span, self.sequence), (to, event));
    }

    fn perform(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Send { node, duty, .. } => {
                let to = self.index(&node);
                *self.sent.entry(name(&duty)).or_default() += 1;
                let is_lost = self.rng.below(1000) < self.loss;
                if !is_lost && self.linked.contains(&link(index, to)) {
                    let body = Frame::encode(Kind::Duty, &duty);
                    assert!(body.len() <= FRAME_BYTES_MAX, "{} bytes", body.len());
                    let jitter =
                        Span::from_millis(self.rng.below(if self.loss > 0 { 800 } else { 5 }));
                    self.later(DELAY + jitter, to, Event::Said { from: index, body });
                }
            }
            Effect::Connect { node } => {
                let to = self.index(&node);
                self.wanted.insert((index, to));
                if !self.nodes[to].is_up {
                    self.later(UNREACHABLE_AFTER, index, Event::Unreachable { node: to });
                } else if self.linked.insert(link(index, to)) {
                    self.later(DELAY, index, Event::Up { node: to });
                    self.later(DELAY, to, Event::Up { node: index });
                }
            }
            Effect::Forget { node } => {
                let to = self.index(&node);
                self.wanted.remove(&(index, to));
                let is_unwanted = !self.wanted.contains(&(to, index));
                if is_unwanted && self.linked.remove(&link(index, to)) {
                    self.later(DELAY, index, Event::Down { node: to });
                    self.later(DELAY, to, Event::Down { node: index });
                }
            }
            Effect::Submit { action } => {
                self.submitted.push((index, self.now, action.clone()));
                // The link to the chain loses as much as any other.
                if self.rng.below(1000) >= self.loss {
                    self.pool.push((self.nodes[index].id, action));
                }
            }
            Effect::Compare { nodes } => self.compared.push((index, self.now, nodes)),
            Effect::Accuse { evidence } => self.accused.push((index, *evidence)),
            Effect::Certified { certificate } => {
                let epoch = certificate.statement.epoch;
                let before = self.certified.insert((index, epoch), *certificate);
                assert!(before.is_none(), "certified twice");
            }
            Effect::FetchCommitment { node, epoch } => {
                self.later(DELAY, index, Event::CommitmentTx { node, epoch });
            }
            Effect::Note(note) => self.notes.push((index, note)),
        }
    }

    fn happen(&mut self, to: usize, event: Event) {
        if !self.nodes[to].is_up {
            return;
        }
        let input = match event {
            Event::Said { from, body } => {
                let (kind, payload) = Frame::split(&body).unwrap();
                let duty = Frame::payload(kind, payload).unwrap();
                Input::FromPeer { node: self.nodes[from].id, duty }
            }
            Event::Up { node } if !self.linked.contains(&link(node, to)) => return,
            Event::Up { node } => Input::PeerUp { node: self.nodes[node].id },
            Event::Down { node } if self.linked.contains(&link(node, to)) => return,
            Event::Down { node } => Input::PeerDown { node: self.nodes[node].id },
            Event::Unreachable { node } => Input::Unreachable { node: self.nodes[node].id },
            Event::CommitmentTx { node, epoch } => {
                let Some(bytes) = self.chain.transactions.get(&(node, epoch)).cloned() else {
                    return;
                };
                Input::CommitmentTx { node, epoch, bytes }
            }
        };
        self.give(to, input);
    }

    /// Lets a node stop without a word; its store stays.
    pub(super) fn stop(&mut self, index: usize) {
        self.nodes[index].is_up = false;
        for other in 0..self.nodes.len() {
            if self.linked.remove(&link(index, other)) {
                self.later(DELAY, other, Event::Down { node: index });
            }
        }
        self.wanted.retain(|(from, _)| *from != index);
    }

    /// Starts a node with nothing but its store.
    pub(super) fn start(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.is_up = true;
        node.coordinator = coordinator(&node.keys, node.lie);
        self.certified.retain(|(of, _), _| *of != index);
        self.give(index, Input::FreeBytes(1_000_000));
        self.give(index, Input::Complete(true));
        self.show([index]);
    }

    pub(super) fn run_until(&mut self, end: Time) {
        while self.now < end {
            self.now = self.next_time().min(end).max(self.now);
            while let Some(entry) = self.queue.first_entry().filter(|e| e.key().0 <= self.now) {
                let (to, event) = entry.remove();
                self.happen(to, event);
            }
            for index in 0..self.nodes.len() {
                let clock = self.now + self.nodes[index].ahead;
                let deadline = self.nodes[index].coordinator.deadline();
                if self.nodes[index].is_up && deadline.is_some_and(|time| time <= clock) {
                    self.call(index, |coordinator, cx| coordinator.tick(cx));
                    let next = self.nodes[index].coordinator.deadline();
                    assert!(next.is_none_or(|next| next > clock), "a tick leaves nothing due");
                }
            }
            if self.next_block <= self.now {
                self.next_block = self.now + BLOCK_TIME;
                let is_due = !self.is_chain_lazy && self.chain.is_due(self.now);
                if is_due || !self.pool.is_empty() {
                    let transactions = std::mem::take(&mut self.pool);
                    self.chain.block(self.now, transactions);
                    self.show(0..self.nodes.len());
                }
            }
        }
    }

    fn next_time(&self) -> Time {
        let messages = self.queue.first_key_value().map(|((time, _), _)| *time);
        let up = self.nodes.iter().filter(|node| node.is_up);
        let deadlines = up.filter_map(|node| Some(node.coordinator.deadline()? - node.ahead)).min();
        [messages, deadlines].into_iter().flatten().fold(self.next_block, Time::min)
    }

    /// Runs to the beginning of a phase of an epoch.
    pub(super) fn run_to(&mut self, epoch: u64, phase: Phase) {
        self.run_until(Schedule::of(GENESIS, LENGTH, Epoch(epoch)).begin(phase));
    }

    /// Runs to the end of an epoch, just before the next begins.
    pub(super) fn run_to_end(&mut self, epoch: u64) {
        self.run_until(Schedule::of(GENESIS, LENGTH, Epoch(epoch)).end() - BLOCK_TIME);
    }

    /// Returns what each voter said of a target in an epoch.
    pub(super) fn votes(&self, epoch: u64, target: &Target) -> Vec<Option<bool>> {
        let ballots = self.chain.ballots.iter().filter(|((of, _), _)| of.0 == epoch);
        ballots.filter_map(|(_, ballot)| ballot.get(target).copied()).collect()
    }

    pub(super) fn verdicts(&self, index: usize) -> Vec<(Target, Verdict)> {
        self.nodes[index].coordinator.status().examined
    }

    pub(super) fn submissions(&self, index: usize, wanted: impl Fn(&Action) -> bool) -> usize {
        self.submitted.iter().filter(|(of, _, action)| *of == index && wanted(action)).count()
    }
}

fn link(one: usize, other: usize) -> (usize, usize) {
    (one.min(other), one.max(other))
}
