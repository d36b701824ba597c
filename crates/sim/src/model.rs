//! Exhaustive exploration of one honest node among three and a liar: whatever is done to it, it
//! never signs what could be used against it.
//!
//! The machines are the real ones, the rules are the chain's. The liar is a mate and an attester:
//! it hands over items, asks for any leaves, sees everything that is signed, and tries every pair
//! of it as evidence. Somebody else crashes nodes at the worst moments and shows one of them
//! another history of the chain.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use session_core::merkle::Proof;
use session_core::{
    Blob, Context, Digest, Domain, Encode, Entropy, List, Machine, NodeId, SeededEntropy, Span,
    SwarmId, Text, Time, digest,
};
use session_crypto::Signer;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::attestation::Vote;
use session_protocol::chain::transaction::{TRANSACTION_VERSION, Transaction};
use session_protocol::chain::view::ChainView;
use session_protocol::chain::{Action, Amount};
use session_protocol::commitment::{
    Absence, Commitment, Leaf, Place, SignedOpening, Window, removes, tree,
};
use session_protocol::duty::Duty;
use session_protocol::evidence::{Evidence, Ground};
use session_protocol::inbox::{AccessRule, MESSAGES, message_id};
use session_protocol::membership::Membership as _;
use session_protocol::owner::{ExpireMode, OwnerAction, OwnerOperation};
use session_protocol::peer::{ReplicaItem, Replicate};
use session_protocol::receipt::{SignedRoot, StorageReceipt, sign_receipts};
use session_protocol::request::{ItemBytes, Operation, Request};
use session_protocol::schedule::Phase;
use session_protocol::{Checker, Frame, Inbound, Kind};
use session_storage::{MemoryStore, Store, Table};
use session_swarm::coordinator::{self, Coordinator, Note, scan};
use session_swarm::{PeerMessage, PeerMessageOut, Requester, Swarm};
use session_vm::genesis::{Genesis, GenesisAccount, GenesisNode};
use session_vm::records::Params;
use stateright::{Checker as _, Model, Property};

use crate::coordination::blocks::Blocks;

const HONEST: usize = 3;
const LIAR: usize = HONEST;
const EPOCH: Span = Span::from_secs(1200);
const SETTLE: Span = Span::from_secs(120);
const BEGINNING: Time = Time::from_millis(1_800_000_000_000);
/// Ticks and messages of one step; more would be a loop.
const EVENTS_MAX: usize = 4000;
/// Fewer are no exploration.
const STATES_MIN: usize = 500;

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// The next quarter of an epoch passes.
    Quarter,
    /// A node stops.
    Crash(usize),
    /// A node stops in the middle of what it does next: before or after it is durable.
    CrashAt(usize, Moment),
    /// It comes back.
    Restart(usize),
    /// A node is shown another randomness of the epoch.
    OtherHistory(usize),
    /// The liar hands over an item.
    Item(u8),
    /// The owner deletes it.
    Delete(u8),
    /// The owner shortens its life to less than an epoch.
    Shorten(u8),
    /// The liar asks for every leaf of both commitments.
    Audit(usize),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    BeforeCommit,
    AfterCommit,
}

/// What happened so far. Two pasts that led to the same are the same.
#[derive(Clone, Debug)]
struct Past {
    steps: Vec<Step>,
    /// Steps besides quarters and restarts.
    deeds: usize,
    crashed: BTreeSet<usize>,
    summary: Digest,
    slashable: Option<String>,
}

impl PartialEq for Past {
    fn eq(&self, other: &Self) -> bool {
        self.summary == other.summary
    }
}

impl Hash for Past {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.summary.hash(state);
    }
}

struct Deeds {
    quarters: usize,
    deeds: usize,
    /// Whether a second node crashes too, and there is a second item.
    wide: bool,
}

impl Model for Deeds {
    type State = Past;
    type Action = Step;

    fn init_states(&self) -> Vec<Past> {
        vec![play(Vec::new())]
    }

    fn actions(&self, past: &Past, actions: &mut Vec<Step>) {
        let quarters = past.steps.iter().filter(|step| **step == Step::Quarter).count();
        if quarters < self.quarters {
            actions.push(Step::Quarter);
        }
        actions.extend(past.crashed.iter().map(|node| Step::Restart(*node)));
        if past.deeds >= self.deeds {
            return;
        }
        // Honest nodes differ in nothing but their ids: the first is what it is all about, the
        // second stands for the others.
        let many = 1 + u8::from(self.wide);
        for node in (0..usize::from(many)).filter(|node| !past.crashed.contains(node)) {
            actions.push(Step::Crash(node));
            actions.push(Step::CrashAt(node, Moment::BeforeCommit));
            actions.push(Step::CrashAt(node, Moment::AfterCommit));
        }
        if !past.crashed.contains(&0) {
            actions.extend([Step::OtherHistory(0), Step::Audit(0)]);
        }
        for item in 0..many {
            let stored = past.steps.contains(&Step::Item(item));
            if stored {
                actions.extend([Step::Delete(item), Step::Shorten(item)]);
            } else {
                actions.push(Step::Item(item));
            }
        }
    }

    fn next_state(&self, past: &Past, step: Step) -> Option<Past> {
        let mut steps = past.steps.clone();
        steps.push(step);
        Some(play(steps))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no honest node is slashable", |_, past: &Past| {
                past.slashable.is_none()
            }),
            // What is explored is worth something only if these happen.
            Property::sometimes("an item is audited", |_, past: &Past| {
                past.steps.contains(&Step::Audit(0)) && past.steps.contains(&Step::Item(0))
            }),
        ]
    }
}

/// Everything that honest nodes signed.
#[derive(Default)]
struct Signed {
    votes: Vec<Vote>,
    openings: Vec<SignedOpening>,
    receipts: Vec<(StorageReceipt, SignedRoot, Proof)>,
    commitments: Vec<(NodeId, Commitment, Vec<u8>)>,
    leaves: BTreeMap<Digest, Vec<Leaf>>,
}

struct Shell {
    keys: Arc<FakeIdentity>,
    store: MemoryStore,
    machines: Option<(Swarm, Coordinator)>,
    crash_at: Option<Moment>,
}

enum Event {
    View(Arc<ChainView>),
    Duty(NodeId, Duty),
    Swarm(session_swarm::Input),
    Tick,
}

struct Stage {
    now: Time,
    rng: SeededEntropy,
    blocks: Blocks,
    checker: Checker,
    nodes: Vec<Shell>,
    liar: Arc<FakeIdentity>,
    owner: FakeIdentity,
    queue: VecDeque<(usize, Event)>,
    signed: Signed,
    slashable: Option<String>,
}

fn play(steps: Vec<Step>) -> Past {
    let mut stage = Stage::new();
    for step in &steps {
        stage.step(*step);
    }
    let crashed = (0..HONEST).filter(|node| stage.nodes[*node].machines.is_none()).collect();
    let quiet = |step: &&Step| matches!(step, Step::Quarter | Step::Restart(_));
    let deeds = steps.len() - steps.iter().filter(quiet).count();
    let summary = stage.summary(deeds);
    Past { steps, deeds, crashed, summary, slashable: stage.slashable }
}

impl Stage {
    fn new() -> Self {
        let identity = |seed: u8| Arc::new(FakeIdentity::new(&[seed; 32]));
        let keys: Vec<_> = (1..=4).map(identity).collect();
        let operator = identity(9);
        let genesis = genesis(&keys, &operator);
        let blocks = Blocks::new(&genesis, operator, keys.iter().cloned()).expect("a good genesis");
        let membership = Arc::clone(&blocks.view().membership);
        let mut stage = Self {
            now: BEGINNING,
            rng: SeededEntropy::new(7),
            checker: Checker::new(membership, Arc::new(FakeVerifier)),
            blocks,
            liar: Arc::clone(&keys[LIAR]),
            owner: FakeIdentity::new(&[5; 32]),
            nodes: keys[..HONEST].iter().map(|keys| Shell::new(Arc::clone(keys))).collect(),
            queue: VecDeque::new(),
            signed: Signed::default(),
            slashable: None,
        };
        for node in 0..HONEST {
            stage.start(node);
        }
        // The first epoch is for founding: nobody is asked for anything in it.
        (0..4).for_each(|_| stage.quarter());
        stage
    }

    fn ids(&self) -> Vec<NodeId> {
        let nodes = self.nodes.iter().map(|node| &node.keys);
        nodes.chain([&self.liar]).map(|keys| keys.public().node_id()).collect()
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Quarter => self.quarter(),
            Step::Crash(node) => self.nodes[node].crash(),
            Step::CrashAt(node, moment) => self.nodes[node].crash_at = Some(moment),
            Step::Restart(node) => self.start(node),
            Step::OtherHistory(node) => {
                let mut view = ChainView::clone(self.blocks.view());
                view.epoch.randomness = digest(Domain::Simulation, &[b"other"]);
                self.queue.push_back((node, Event::View(Arc::new(view))));
            }
            Step::Item(item) => self.hand_over(item),
            Step::Delete(item) => {
                let ids = List::new([self.message(item)]).expect("one");
                self.order(OwnerAction::Delete { ids });
            }
            Step::Shorten(item) => {
                let ids = List::new([self.message(item)]).expect("one");
                let expiry = self.now + Span::from_secs(60);
                self.order(OwnerAction::Expire { ids, expiry, mode: ExpireMode::Shorten });
            }
            Step::Audit(node) => {
                let ids = self.ids();
                let of = self.blocks.view().commitments.get(&ids[node]).copied();
                let both = of.map(|of| [of.previous, of.current]).into_iter().flatten().flatten();
                for commitment in both {
                    let leaves: Vec<u64> = (0..commitment.count.min(32)).collect();
                    let leaves = List::new(leaves).expect("at most 32");
                    let duty = Duty::Audit { epoch: commitment.epoch, leaves };
                    self.queue.push_back((node, Event::Duty(ids[LIAR], duty)));
                }
            }
        }
        self.settle();
    }

    /// Lets the rest of a quarter pass, with everything that is due in it.
    fn quarter(&mut self) {
        let schedule = self.blocks.view().epoch.schedule;
        let next = Phase::ALL.into_iter().map(|phase| schedule.begin(phase));
        let until = next.chain([schedule.end()]).find(|at| *at > self.now);
        let until = until.unwrap_or(self.now + Span::from_secs(1));
        for _ in 0..EVENTS_MAX {
            self.settle();
            let due = (0..HONEST).filter_map(|node| Some((self.nodes[node].deadline()?, node)));
            let Some((at, node)) = due.min().filter(|(at, _)| *at < until) else { break };
            self.now = self.now.max(at) + Span::from_millis(1);
            self.queue.push_back((node, Event::Tick));
        }
        self.now = self.now.max(until);
        self.settle();
    }

    /// Handles what is queued, and makes blocks, until nothing is left.
    fn settle(&mut self) {
        for _ in 0..EVENTS_MAX {
            if let Some((node, event)) = self.queue.pop_front() {
                self.happen(node, event);
            } else if self.blocks.produce(self.now, &mut self.rng).is_some() {
                for node in 0..HONEST {
                    let view = Arc::clone(self.blocks.view());
                    self.queue.push_back((node, Event::View(view)));
                }
            } else {
                return;
            }
        }
        panic!("something never ends");
    }

    fn start(&mut self, node: usize) {
        let (ids, view) = (self.ids(), Arc::clone(self.blocks.view()));
        let shell = &mut self.nodes[node];
        let membership = Arc::clone(&view.membership);
        let config = session_swarm::Config::new(ids[node], membership);
        let swarm = Swarm::new(config);
        let coordinator = Coordinator::new(coordinator::Config {
            node: ids[node],
            keys: Arc::clone(&shell.keys) as Arc<dyn Signer>,
            verifier: Arc::new(FakeVerifier),
            one_time_secrets: 16,
            version: "model".to_owned(),
            lie: None,
        });
        shell.machines = Some((swarm, coordinator));
        shell.crash_at = None;
        self.queue.push_back((node, Event::View(view)));
        for mate in (0..ids.len()).filter(|mate| *mate != node) {
            let up = session_swarm::Input::PeerUp { node: ids[mate] };
            self.queue.push_back((node, Event::Swarm(up)));
        }
    }

    fn happen(&mut self, node: usize, event: Event) {
        let (now, ids) = (self.now, self.ids());
        let shell = &mut self.nodes[node];
        let Some((swarm, coordinator)) = &mut shell.machines else { return };
        let (mut stored, mut duties) = (Vec::new(), Vec::new());
        let store: &mut dyn Store = &mut shell.store;
        let mut rng = SeededEntropy::from_bytes(self.rng.bytes32());
        let is_view = matches!(event, Event::View(_));
        match event {
            Event::View(view) => {
                let (current, former) = (Arc::clone(&view.membership), Arc::clone(&view.former));
                let input = session_swarm::Input::Membership { current, former };
                let mut cx =
                    Context { now, store: &mut *store, rng: &mut rng, effects: &mut stored };
                swarm.handle(&mut cx, input);
                let mut cx =
                    Context { now, store: &mut *store, rng: &mut rng, effects: &mut duties };
                let complete = coordinator::Input::Complete(swarm.is_complete());
                coordinator.handle(&mut cx, complete);
                coordinator.handle(&mut cx, coordinator::Input::View(view));
            }
            Event::Duty(from, duty) => {
                let input = coordinator::Input::FromPeer { node: from, duty: Box::new(duty) };
                let mut cx =
                    Context { now, store: &mut *store, rng: &mut rng, effects: &mut duties };
                coordinator.handle(&mut cx, input);
            }
            Event::Swarm(input) => {
                let up = match &input {
                    session_swarm::Input::PeerUp { node } => Some(*node),
                    _ => None,
                };
                let mut cx =
                    Context { now, store: &mut *store, rng: &mut rng, effects: &mut stored };
                swarm.handle(&mut cx, input);
                swarm.handle(&mut cx, session_swarm::Input::Flush);
                if let Some(node) = up {
                    let mut cx =
                        Context { now, store: &mut *store, rng: &mut rng, effects: &mut duties };
                    coordinator.handle(&mut cx, coordinator::Input::PeerUp { node });
                }
            }
            Event::Tick => {
                let mut cx =
                    Context { now, store: &mut *store, rng: &mut rng, effects: &mut duties };
                if coordinator.deadline().is_some_and(|at| at <= now) {
                    coordinator.tick(&mut cx);
                }
                let mut cx =
                    Context { now, store: &mut *store, rng: &mut rng, effects: &mut stored };
                if swarm.deadline().is_some_and(|at| at <= now) {
                    swarm.tick(&mut cx);
                }
            }
        }
        // A node that was shown a view and did nothing is no place to crash at.
        let idle = is_view && stored.is_empty() && duties.is_empty();
        match shell.crash_at.filter(|_| !idle) {
            Some(Moment::BeforeCommit) => return shell.crash(),
            Some(Moment::AfterCommit) => {
                shell.store.commit_now();
                return shell.crash();
            }
            None => shell.store.commit_now(),
        }
        for effect in duties {
            self.duty(node, &ids, effect);
        }
        for effect in stored {
            self.stored(node, &ids, effect);
        }
    }

    fn duty(&mut self, node: usize, ids: &[NodeId], effect: coordinator::Effect) {
        use coordinator::Effect as Do;
        match effect {
            Do::Send { node: to, duty, .. } => {
                match &duty {
                    Duty::Voted { vote } if vote.node == ids[node] => self.voted(vote),
                    Duty::Opened { answer } => {
                        for index in 0..answer.openings.len() {
                            let signed = answer.signed(ids[node], index);
                            self.opened(signed.expect("below their number"));
                        }
                    }
                    _ => {}
                }
                let to = ids.iter().position(|id| *id == to).filter(|to| *to < HONEST);
                if let Some(to) = to {
                    self.queue.push_back((to, Event::Duty(ids[node], duty)));
                }
            }
            Do::Submit { action } => {
                if let Action::StorageCommitment { commitment } = &action {
                    self.committed(node, *commitment);
                }
                self.blocks.order(&ids[node], action);
            }
            Do::Note(Note::Committed { root, epoch, .. }) => {
                let view = self.blocks.view();
                let Some(swarm) = view.roster.swarm_of(&ids[node]) else { return };
                let mut schedule = view.epoch.schedule;
                if view.epoch.number != epoch {
                    schedule.start = schedule.start - schedule.length;
                }
                let window = Window::of(&schedule, SETTLE);
                let (leaves, _) = scan(&self.nodes[node].store, &*view.membership, swarm, &window);
                if tree(&leaves).root() == root {
                    self.signed.leaves.insert(root, leaves);
                }
            }
            Do::Compare { nodes } => {
                let input = session_swarm::Input::Compare { nodes };
                self.queue.push_back((node, Event::Swarm(input)));
            }
            Do::Accuse { evidence } => {
                let accused = evidence.accused();
                if accused != ids[LIAR] {
                    self.slashable = Some(format!("{accused} was accused by an honest node"));
                }
            }
            // Everybody is connected with everybody; nobody but the liar signs bad openings.
            _ => {}
        }
    }

    fn stored(&mut self, node: usize, ids: &[NodeId], effect: session_swarm::Effect) {
        match effect {
            session_swarm::Effect::ToPeers { nodes, message, .. } => {
                let body = match &message {
                    PeerMessageOut::Replicate(message) => Frame::encode(Kind::Replicate, message),
                    PeerMessageOut::Receipts(message) => Frame::encode(Kind::Receipt, message),
                    PeerMessageOut::Operations(message) => Frame::encode(Kind::Operations, message),
                    PeerMessageOut::Sync(message) => Frame::encode(Kind::Sync, message),
                    PeerMessageOut::Taken { .. } => return,
                };
                for to in nodes {
                    let to = ids.iter().position(|id| *id == to).filter(|to| *to < HONEST);
                    if let Some(to) = to {
                        self.send(to, ids[node], &body);
                    }
                }
            }
            session_swarm::Effect::SignReceipts { ticket, receipts } => {
                let network = self.blocks.view().membership.network();
                let keys = Arc::clone(&self.nodes[node].keys);
                let (root, proofs) = sign_receipts(network, &*keys, &receipts, &mut self.rng);
                for (receipt, proof) in receipts.iter().zip(&proofs) {
                    self.promised(*receipt, root.clone(), proof.clone());
                }
                let input = session_swarm::Input::ReceiptsSigned { ticket, root, proofs };
                self.queue.push_back((node, Event::Swarm(input)));
            }
            session_swarm::Effect::Misbehaved { node, why } if node != ids[LIAR] => {
                self.slashable = Some(format!("{node} is honest and was blamed: {why}"));
            }
            _ => {}
        }
    }

    fn send(&mut self, to: usize, node: NodeId, body: &[u8]) {
        let message = match self.checker.check(body).expect("it was just encoded") {
            Inbound::Replicate(message) => PeerMessage::Replicate(message),
            Inbound::Receipts(message) => PeerMessage::Receipts(message),
            Inbound::Operations(message) => PeerMessage::Operations(message),
            Inbound::Sync(message) => PeerMessage::Sync(message),
            other => panic!("nodes do not say {other:?} here"),
        };
        let input = session_swarm::Input::FromPeer { node, message };
        self.queue.push_back((to, Event::Swarm(input)));
    }

    fn address(&self) -> session_core::InboxAddress {
        AccessRule::from(self.owner.public().account_id()).address()
    }

    fn message(&self, item: u8) -> session_core::MessageId {
        message_id(&self.address(), MESSAGES, &[item])
    }

    /// The liar gives an item to the first two, who hand it on when they compare.
    fn hand_over(&mut self, item: u8) {
        let item = ReplicaItem {
            address: self.address(),
            namespace: MESSAGES,
            timestamp: self.now,
            expiry: self.now + Span::from_days(10),
            data: ItemBytes::new([item]).expect("short"),
        };
        let items = List::new([item]).expect("one");
        let body = Frame::encode(Kind::Replicate, &Replicate { id: 1, items });
        let liar = self.ids()[LIAR];
        (0..2).for_each(|to| self.send(to, liar, &body));
    }

    /// The owner orders something, of the second node.
    fn order(&mut self, action: OwnerAction) {
        let network = self.blocks.view().membership.network();
        let mut rng = SeededEntropy::new(self.now.as_millis());
        let signed = OwnerOperation::sign(network, &self.owner, action, self.now, &mut rng);
        let operation = Operation::Owner { operation: Box::new(signed) };
        let operations = List::new([operation]).expect("one");
        let request = self.checker.check_request(Request { id: 1, operations });
        let input = session_swarm::Input::Request { from: Requester(1), request };
        self.queue.push_back((1, Event::Swarm(input)));
    }

    fn voted(&mut self, vote: &Vote) {
        for known in self.signed.votes.clone() {
            let (first, second) = (Box::new(known), Box::new(vote.clone()));
            self.try_evidence(Evidence::Equivocation { first, second });
        }
        if !self.signed.votes.contains(vote) {
            self.signed.votes.push(vote.clone());
        }
    }

    fn opened(&mut self, opening: SignedOpening) {
        for (_, _, bytes) in self.signed.commitments.clone() {
            self.try_opening(&bytes, &opening);
        }
        self.signed.openings.push(opening);
    }

    fn promised(&mut self, receipt: StorageReceipt, root: SignedRoot, path: Proof) {
        let promise = (receipt, root, path);
        for (node, commitment, bytes) in self.signed.commitments.clone() {
            if node == promise.0.node {
                self.try_receipt(&commitment, &bytes, &promise);
            }
        }
        self.signed.receipts.push(promise);
    }

    fn committed(&mut self, node: usize, commitment: Commitment) {
        let keys = Arc::clone(&self.nodes[node].keys);
        let transaction = Transaction {
            version: TRANSACTION_VERSION,
            chain: self.blocks.view().chain,
            sender: keys.public().account_id(),
            nonce: 0,
            fee_max: Amount::ZERO,
            expires: self.now + Span::from_secs(60),
            action: Action::StorageCommitment { commitment },
        };
        let bytes = transaction.sign(&*keys, false, &mut self.rng).to_bytes();
        for opening in self.signed.openings.clone() {
            self.try_opening(&bytes, &opening);
        }
        let id = keys.public().node_id();
        for promise in self.signed.receipts.clone() {
            if promise.0.node == id {
                self.try_receipt(&commitment, &bytes, &promise);
            }
        }
        self.signed.commitments.push((id, commitment, bytes));
    }

    fn try_opening(&mut self, bytes: &[u8], opening: &SignedOpening) {
        let commitment = Blob::new(bytes).expect("it is a transaction");
        let opening = Box::new(opening.clone());
        self.try_evidence(Evidence::BadOpening { commitment, opening });
    }

    fn try_receipt(
        &mut self,
        commitment: &Commitment,
        bytes: &[u8],
        (receipt, root, path): &(StorageReceipt, SignedRoot, Proof),
    ) {
        let wanted = Leaf { address: receipt.address, message: receipt.message };
        let Some(leaves) = self.signed.leaves.get(&commitment.root) else { return };
        let Err(at) = leaves.binary_search(&wanted) else { return };
        let all = tree(leaves);
        let place = |at: usize| {
            let path = all.prove(at as u64)?;
            Some(Place { leaf: leaves[at], path })
        };
        let before = at.checked_sub(1).and_then(place);
        let after = Some(at).filter(|at| *at < leaves.len()).and_then(place);
        self.try_evidence(Evidence::FalseReceipt {
            receipt: *receipt,
            root: Box::new(root.clone()),
            path: path.clone(),
            commitment: Blob::new(bytes).expect("it is a transaction"),
            absence: Box::new(Absence { before, after }),
        });
    }

    /// What any evidence of the liar's leads to.
    fn try_evidence(&mut self, evidence: Evidence) {
        let accused = evidence.accused();
        let view = self.blocks.view();
        let ground = Ground {
            chain: view.chain,
            network: view.membership.network(),
            genesis: view.genesis,
            epoch: EPOCH,
            settle: SETTLE,
            verifier: &FakeVerifier,
        };
        let Some(node) = self.nodes.iter().find(|it| it.keys.public().node_id() == accused) else {
            return;
        };
        let Ok(finding) = evidence.verify(node.keys.public(), &ground) else { return };
        // An honest node that was accused of a missing item shows the owner's order.
        let refuted = finding.missing.is_some_and(|leaf| {
            let keys = node.store.records(Table::Operation, leaf.address.as_ref());
            keys.into_iter().any(|(key, _)| {
                use session_core::Decode as _;
                let value = node.store.record(Table::Operation, &key).ok().flatten();
                let order = value.and_then(|value| OwnerOperation::decode_exact(&value).ok());
                let window = finding.commitment.map(|commitment| ground.window(&commitment));
                let until = window.map_or(Time::ZERO, |window| window.expire_after);
                order.is_some_and(|order| {
                    removes(&order, &leaf, until, ground.network, &FakeVerifier).is_ok()
                })
            })
        });
        if !refuted {
            self.slashable = Some(format!("{accused}: {}", evidence.name()));
        }
    }

    /// What decides about everything that can follow.
    fn summary(&self, deeds: usize) -> Digest {
        let mut parts: Vec<Vec<u8>> = vec![
            self.now.to_bytes(),
            self.blocks.state().root().to_bytes(),
            (deeds as u64).to_bytes(),
            vec![u8::from(self.slashable.is_some())],
        ];
        for node in &self.nodes {
            parts.push(vec![
                u8::from(node.machines.is_some()),
                node.crash_at.map_or(0, |at| 1 + at as u8),
            ]);
            let mut held = Vec::new();
            let all = session_core::InboxAddress::from([0; 32])
                ..=session_core::InboxAddress::from([0xff; 32]);
            node.store.scan(all, &mut |address, meta| {
                held.extend_from_slice(address.as_bytes());
                held.extend_from_slice(meta.id.as_bytes());
                meta.expiry.encode(&mut held);
            });
            for table in [Table::Operation, Table::Meta] {
                for (key, _) in node.store.records(table, &[]) {
                    held.extend_from_slice(&key);
                    held.extend(node.store.record(table, &key).ok().flatten().unwrap_or_default());
                }
            }
            parts.push(held);
        }
        parts.extend(self.signed.votes.iter().map(|vote| vote.statement.to_bytes()));
        parts.extend(self.signed.openings.iter().map(Encode::to_bytes));
        parts.extend(self.signed.receipts.iter().map(|(receipt, ..)| receipt.to_bytes()));
        parts
            .extend(self.signed.commitments.iter().map(|(_, commitment, _)| commitment.to_bytes()));
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        digest(Domain::Simulation, &parts)
    }
}

impl Shell {
    fn new(keys: Arc<FakeIdentity>) -> Self {
        let mut store = MemoryStore::new(1);
        // Crashes lose no disk here: nobody has to be asked for what was on it.
        session_swarm::declare_complete(&mut store).expect("memory has room");
        store.commit_now();
        Self { keys, store, machines: None, crash_at: None }
    }

    fn crash(&mut self) {
        self.store.crash();
        (self.machines, self.crash_at) = (None, None);
    }

    fn deadline(&self) -> Option<Time> {
        // What a swarm does all the time (purges, sweeps) is not what this is about; comparing is
        // asked for.
        self.machines.as_ref().and_then(|(_, coordinator)| coordinator.deadline())
    }
}

fn genesis(keys: &[Arc<FakeIdentity>], operator: &FakeIdentity) -> Genesis {
    let mut params = Params { epoch: EPOCH, ..Params::default() };
    params.duties.settle = SETTLE;
    params.duties.free_bytes_min = 0;
    let nodes = keys.iter().enumerate().map(|(index, keys)| GenesisNode {
        operator: operator.public().account_id(),
        keys: keys.public().clone(),
        endpoint: Text::new(format!("192.0.2.{}:9651", index + 1)).expect("short"),
        stake: Amount::lux(100),
        swarm: SwarmId(0),
    });
    Genesis {
        name: Text::new("model").expect("short"),
        time: BEGINNING,
        params,
        sequencer: None,
        authority: None,
        accounts: vec![GenesisAccount {
            account: operator.public().account_id(),
            balance: Amount::lux(1000),
            keys: Some(operator.public().clone()),
        }],
        nodes: nodes.collect(),
        supply: None,
    }
}

fn explore(deeds: Deeds) {
    let checker = deeds.checker().threads(2).spawn_bfs().join();
    if let Some(path) = checker.discovery("no honest node is slashable") {
        let last = path.last_state().clone();
        panic!("{:?}: {:?}", last.slashable, last.steps);
    }
    checker.assert_properties();
    let states = checker.unique_state_count();
    assert!(states >= STATES_MIN, "{states} states are hardly an exploration");
}

/// `SESSION_MODEL_DEEDS=3` makes it three deeds instead of two, with a second node that crashes and
/// a second item; that takes far longer than the minute of this.
#[test]
fn an_honest_node_is_never_slashable() {
    let deeds = std::env::var("SESSION_MODEL_DEEDS").ok().and_then(|deeds| deeds.parse().ok());
    let (deeds, wide) = deeds.map_or((2, false), |deeds| (deeds, true));
    explore(Deeds { quarters: 8, deeds, wide });
}
