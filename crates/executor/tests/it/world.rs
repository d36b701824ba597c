//! A committee, a chain that does what it is told, and a network that delays. One seed makes it all.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::seed_ids::session_id;
use session_core::{
    BlockId, ChainId, Context, Decode, Digest, Entropy, Epoch, Inline, Machine, NodeId,
    SeededEntropy, ServiceId, SessionId, Span, SwarmId, Text, Time, TxId,
};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{DsaPublicKey, Signer};
use session_executor::engine::Runner;
use session_executor::facts::Fetch;
use session_executor::report::Report;
use session_executor::{Config, Effect, Executor, Input, Note, Outcome};
use session_protocol::attestation::committee_root;
use session_protocol::chain::Action;
use session_protocol::chain::view::{
    BeaconMode, ChainMembership, ChainView, DutyParams, EpochView, OpenSession, SessionCommittee,
};
use session_protocol::evidence::Evidence;
use session_protocol::inbound::Checker;
use session_protocol::membership::{NodeRecord, network_id};
use session_protocol::roster::Roster;
use session_protocol::schedule::Schedule;
use session_protocol::workload::message::{Answer, Question, SessionRefusal};
use session_protocol::workload::oracle::Observation;
use session_protocol::workload::{Message, blob_id};
use session_storage::{MemoryStore, Store, Table};

use crate::program::Program;

pub(crate) const START: Time = Time::from_millis(1_700_000_000_000);
const CHAIN: [u8; 32] = [1; 32];

/// What the world says to a node that asks.
pub(crate) type Outside = Box<dyn FnMut(usize, &Fetch) -> Outcome>;
/// What a liar makes of what a node sends to another one: nothing, the same, or something else.
pub(crate) type Tongue = Box<dyn FnMut(&FakeIdentity, NodeId, Message) -> Vec<Message>>;

/// A node, alive or not.
pub(crate) struct Node {
    pub(crate) keys: Arc<FakeIdentity>,
    pub(crate) id: NodeId,
    pub(crate) exec: Option<Executor>,
    pub(crate) store: MemoryStore,
    runner: Runner,
    answers: BTreeMap<u64, Answer>,
    stored: BTreeMap<u64, Result<Digest, SessionRefusal>>,
    pub(crate) notes: Vec<Note>,
    /// Dies once its journals have so many records, and comes back a little later.
    pub(crate) dies_at: Option<usize>,
    pub(crate) tongue: Option<Tongue>,
    /// What of all sent messages it may not hear.
    pub(crate) deaf: bool,
}

enum Event {
    Input(usize, Input),
    Deliver { to: usize, from: NodeId, message: Message },
    Revive(usize),
    Block,
}

/// What became of a session on the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Finalized { output: Digest, oracle_root: Digest, receipts_root: Digest },
    Failed { reason: String, attested: bool },
}

pub(crate) struct World {
    pub(crate) rng: SeededEntropy,
    pub(crate) now: Time,
    pub(crate) nodes: Vec<Node>,
    /// The nodes of every committee.
    members: usize,
    checker: Checker,
    pub(crate) membership: Arc<ChainMembership>,
    pub(crate) sessions: BTreeMap<SessionId, Arc<OpenSession>>,
    pub(crate) fates: BTreeMap<SessionId, Fate>,
    height: u64,
    block_due: bool,
    events: BTreeMap<(Time, u64), Event>,
    next: u64,
    pub(crate) outside: Outside,
    pub(crate) fetched: Vec<(usize, Fetch)>,
    /// Milliseconds that the world takes for an answer, at least.
    pub(crate) answers_after: u64,
    pub(crate) accused: Vec<Evidence>,
    pub(crate) misbehaved: Vec<(NodeId, &'static str)>,
    /// Whether faults are part of the test.
    pub(crate) liars: bool,
    question: u64,
}

pub(crate) fn value(bytes: &[u8]) -> Outcome {
    let bytes = session_core::Blob::new(bytes).unwrap();
    Outcome::Observed { observation: Observation::Value { bytes }, received: 10 }
}

impl World {
    /// Makes `members` members of every committee and one node that is none.
    pub(crate) fn new(seed: u64, members: usize) -> Self {
        Self::with(seed, members, 8)
    }

    pub(crate) fn with(seed: u64, members: usize, sessions_max: usize) -> Self {
        let mut rng = SeededEntropy::new(seed);
        let nodes: Vec<Node> = (0..=members).map(|_| Node::new(&mut rng, sessions_max)).collect();
        let record = |node: &Node| NodeRecord {
            keys: node.keys.public().clone(),
            address: Text::new("127.0.0.1:1").unwrap(),
            swarm: SwarmId(1),
        };
        let network = network_id("test");
        let records = nodes.iter().map(record);
        let membership = Arc::new(ChainMembership::new(network, 1, records, []));
        let checker = Checker::new(Arc::clone(&membership) as _, Arc::new(FakeVerifier));
        let mut world = Self {
            rng,
            now: START,
            nodes,
            members,
            checker,
            membership,
            sessions: BTreeMap::new(),
            fates: BTreeMap::new(),
            height: 0,
            block_due: false,
            events: BTreeMap::new(),
            next: 0,
            outside: Box::new(|_, _| value(b"42")),
            fetched: Vec::new(),
            answers_after: 5,
            accused: Vec::new(),
            misbehaved: Vec::new(),
            liars: false,
            question: 0,
        };
        world.block();
        for node in 0..world.nodes.len() {
            world.connect(node);
        }
        world.run_for(Span::from_millis(100));
        world
    }

    fn connect(&mut self, node: usize) {
        let ids: Vec<NodeId> = self.nodes.iter().map(|node| node.id).collect();
        for (other, id) in ids.iter().enumerate() {
            if other != node {
                self.later(1, Event::Input(node, Input::PeerUp { node: *id }));
                self.later(1, Event::Input(other, Input::PeerUp { node: ids[node] }));
            }
        }
    }

    fn later(&mut self, delay: u64, event: Event) {
        let at = self.now + Span::from_millis(delay);
        self.events.insert((at, self.next), event);
        self.next += 1;
    }

    fn view(&self) -> ChainView {
        let (genesis, epoch) = (START, Epoch(3));
        let randomness = Digest::from([4; 32]);
        ChainView {
            chain: ChainId::from(CHAIN),
            genesis,
            height: self.height,
            block: BlockId::from([3; 32]),
            time: self.now,
            params: DutyParams {
                settle: Span::from_secs(1),
                examiners: 1,
                min_peers: 1,
                free_bytes_min: 1,
            },
            epoch: EpochView {
                number: epoch,
                schedule: Schedule::of(genesis, Span::from_secs(3600), epoch),
                randomness,
                beacon: Digest::default(),
                mode: BeaconMode::Genesis,
                attesters: Digest::default(),
            },
            membership: Arc::clone(&self.membership),
            former: Arc::clone(&self.membership),
            roster: Arc::new(Roster::new(&randomness, epoch, &[], 0)),
            seats: Arc::default(),
            commitments: Arc::default(),
            beacon: Default::default(),
            voted: Arc::default(),
            beacon_keys: Arc::default(),
            accused: Arc::default(),
            sessions: Arc::new(self.sessions.clone()),
            read: Vec::new(),
        }
    }

    /// Makes a block: every node sees it, each a little later.
    pub(crate) fn block(&mut self) {
        self.height += 1;
        self.block_due = false;
        let view = Arc::new(self.view());
        self.checker.set_view(&view);
        for node in 0..self.nodes.len() {
            let delay = 1 + self.rng.below(20);
            self.later(delay, Event::Input(node, Input::View(Arc::clone(&view))));
        }
    }

    /// Opens a session on the chain.
    pub(crate) fn open(&mut self, program: &Program, input: &[u8], time_max: Span) -> SessionId {
        let members: Vec<(NodeId, DsaPublicKey)> = self.nodes[..self.members]
            .iter()
            .map(|node| (node.id, node.keys.public().dsa().clone()))
            .collect();
        let (service, epoch) = (ServiceId::from([6; 32]), Epoch(3));
        let tx = TxId::from(self.rng.bytes32());
        let id = session_id(&service, epoch, &tx);
        let committee =
            SessionCommittee { root: committee_root(&members), members: Arc::new(members) };
        let open = OpenSession {
            service,
            epoch,
            tx,
            program: blob_id(&program.workload),
            input: blob_id(input),
            committee: Arc::new(committee),
            randomness: Digest::from([4; 32]),
            created: self.now,
            deadline: self.now + time_max,
            started: None,
        };
        self.sessions.insert(id, Arc::new(open));
        id
    }

    /// Uploads a program and an input at a node, opens a session, and tells its committee.
    pub(crate) fn create(&mut self, at: usize, program: &Program, input: &[u8]) -> SessionId {
        self.upload(at, program, input);
        let id = self.open(program, input, Span::from_secs(300));
        self.block();
        let (workload, input) = (blob_id(&program.workload), blob_id(input));
        match self.order(at, |id_| Input::Create { id: id_, session: id, program: workload, input })
        {
            Answer::Session { .. } => id,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn upload(&mut self, at: usize, program: &Program, input: &[u8]) {
        for bytes in [&program.module[..], &program.workload, input] {
            let id = self.next_question();
            self.input(at, Input::Put { id, bytes: bytes.to_vec() });
            assert_eq!(self.nodes[at].stored.remove(&id), Some(Ok(blob_id(bytes))));
        }
    }

    fn next_question(&mut self) -> u64 {
        self.question += 1;
        self.question
    }

    /// Gives an order, and runs the world until it is answered.
    pub(crate) fn order(&mut self, at: usize, input: impl FnOnce(u64) -> Input) -> Answer {
        let id = self.next_question();
        self.input(at, input(id));
        let end = self.now + Span::from_secs(60);
        while !self.nodes[at].answers.contains_key(&id) && self.now < end && self.step() {}
        self.nodes[at].answers.remove(&id).expect("an answer within a minute")
    }

    pub(crate) fn ask(&mut self, at: usize, question: Question) -> Answer {
        self.order(at, |id| Input::Ask { id, question })
    }

    pub(crate) fn report(&mut self, at: usize, session: SessionId) -> Report {
        match self.ask(at, Question::Session { session }) {
            Answer::Session { report } => Report::decode_exact(&report).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Lets one thing happen; `false` if nothing would ever.
    pub(crate) fn step(&mut self) -> bool {
        let tick = self
            .nodes
            .iter()
            .enumerate()
            .filter_map(|(index, node)| Some((node.exec.as_ref()?.deadline()?, index)));
        let tick = tick.min();
        let event = self.events.first_key_value().map(|(key, _)| *key);
        match (tick, event) {
            (Some((at, node)), event) if event.is_none_or(|(due, _)| at <= due) => {
                // Far ends of keeping are not waited for.
                if at > self.now + Span::from_days(30) {
                    return false;
                }
                self.now = self.now.max(at);
                self.call(node, |exec, cx| exec.tick(cx));
            }
            (_, Some(key)) => {
                let event = self.events.remove(&key).unwrap();
                self.now = self.now.max(key.0);
                self.happen(event);
            }
            _ => return false,
        }
        true
    }

    pub(crate) fn run_for(&mut self, span: Span) {
        let end = self.now + span;
        loop {
            let tick = self.nodes.iter().filter_map(|node| node.exec.as_ref()?.deadline()).min();
            let event = self.events.first_key_value().map(|((at, _), _)| *at);
            if tick.into_iter().chain(event).min().is_none_or(|at| at > end) || !self.step() {
                self.now = end;
                return;
            }
        }
    }

    /// Runs until the chain has the end of every session, at most ten minutes.
    pub(crate) fn run_to_end(&mut self) {
        let end = self.now + Span::from_secs(600);
        while !self.sessions.is_empty() && self.now < end {
            assert!(self.step(), "nothing happens any more");
        }
        assert!(self.sessions.is_empty(), "sessions hang: {:?}", self.sessions.keys());
        self.run_for(Span::from_secs(20));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Input(node, input) => self.input(node, input),
            Event::Deliver { to, from, message } => {
                if self.nodes[to].exec.is_none() || self.nodes[to].deaf {
                    return;
                }
                match self.checker.check_workload(message) {
                    Ok(message) => {
                        let message = Box::new(message);
                        self.input(to, Input::FromPeer { node: from, message });
                    }
                    Err(session_protocol::inbound::Fault::NoSession(_)) => {}
                    Err(fault) => assert!(self.liars, "an honest node sent a bad message: {fault}"),
                }
            }
            Event::Revive(node) => {
                self.revive(node);
            }
            Event::Block => self.block(),
        }
    }

    pub(crate) fn input(&mut self, node: usize, input: Input) {
        self.call(node, |exec, cx| exec.handle(cx, input));
    }

    /// Calls a machine, keeps what it wrote, and does what it wants, unless it dies in between.
    fn call(
        &mut self,
        index: usize,
        act: impl FnOnce(&mut Executor, &mut Context<'_, dyn Store, Effect>),
    ) {
        let (now, node) = (self.now, &mut self.nodes[index]);
        let Some(exec) = &mut node.exec else { return };
        let mut effects = Vec::new();
        let store: &mut dyn Store = &mut node.store;
        act(exec, &mut Context { now, store, rng: &mut self.rng, effects: &mut effects });
        node.store.commit_now();
        if node.dies_at.is_some_and(|at| node.journal_records() >= at) {
            node.dies_at = None;
            return self.kill(index);
        }
        for effect in effects {
            self.perform(index, effect);
        }
    }

    /// Kills a node after its commit, before its effects; it comes back a second later.
    pub(crate) fn kill(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.exec = None;
        node.runner = Runner::new(8);
        let id = node.id;
        for other in 0..self.nodes.len() {
            if other != index {
                self.later(1, Event::Input(other, Input::PeerDown { node: id }));
            }
        }
        self.later(1000, Event::Revive(index));
    }

    fn revive(&mut self, index: usize) {
        self.nodes[index].exec = Some(Executor::new(self.config(index)));
        self.connect(index);
        let view = Arc::new(self.view());
        self.later(2, Event::Input(index, Input::View(view)));
    }

    fn perform(&mut self, index: usize, effect: Effect) {
        match effect {
            Effect::Send { nodes, message } => self.send(index, &nodes, message),
            Effect::Run(job) => {
                let ran = Box::new(self.nodes[index].runner.run(&job));
                let delay = self.rng.below(5);
                self.later(delay, Event::Input(index, Input::Ran(ran)));
            }
            Effect::Forget { session } => self.nodes[index].runner.forget(&session),
            Effect::Fetch(fetch) => {
                let outcome = (self.outside)(index, &fetch);
                let (session, request) = (fetch.facts.session, fetch.request);
                self.fetched.push((index, *fetch));
                let delay = self.answers_after + self.rng.below(50);
                let input = Input::Fetched { session, request, outcome };
                self.later(delay, Event::Input(index, input));
            }
            Effect::Submit { action } => self.submit(action),
            Effect::Accuse { evidence } => self.accused.push(*evidence),
            Effect::Stored { id, result } => {
                self.nodes[index].stored.insert(id, result);
            }
            Effect::Answer { id, answer } => {
                let before = self.nodes[index].answers.insert(id, answer);
                assert!(before.is_none(), "answered twice");
            }
            Effect::Misbehaved { node, why } => {
                assert!(self.liars, "an honest node is blamed: {why}");
                self.misbehaved.push((node, why));
            }
            Effect::Note(note) => {
                assert!(
                    !matches!(note, Note::Diverged { .. } | Note::BadJournal { .. }),
                    "{note:?}"
                );
                self.nodes[index].notes.push(note);
            }
            Effect::Connect { .. } => {}
        }
    }

    fn send(&mut self, from: usize, nodes: &[NodeId], message: Message) {
        let sender = self.nodes[from].id;
        for id in nodes {
            let Some(to) = self.nodes.iter().position(|node| node.id == *id) else { continue };
            assert_ne!(to, from, "a node speaks to itself");
            let node = &mut self.nodes[from];
            let messages = match &mut node.tongue {
                Some(tongue) => tongue(&node.keys, *id, message.clone()),
                None => vec![message.clone()],
            };
            for message in messages {
                let delay = 1 + self.rng.below(20);
                self.later(delay, Event::Deliver { to, from: sender, message });
            }
        }
    }

    /// The chain, as far as sessions go: it takes what its rules allow, and makes a block soon.
    fn submit(&mut self, action: Action) {
        let (id, fate) = match action {
            Action::StartSession { session } => {
                if let Some(open) = self.sessions.get_mut(&session)
                    && open.started.is_none()
                    && self.now < open.deadline
                {
                    Arc::make_mut(open).started = Some(self.now);
                }
                return self.soon();
            }
            Action::FinalizeSession {
                session,
                output,
                oracle_root,
                receipts_root,
                certificate,
            } => {
                let Some(open) = self.sessions.get(&session) else { return };
                if open.started.is_none() || self.now >= open.deadline {
                    return;
                }
                let members = &open.committee.members;
                certificate.verify(members, &FakeVerifier, &Inline).unwrap();
                (session, Fate::Finalized { output, oracle_root, receipts_root })
            }
            Action::FailSession { session, reason, certificate } => {
                let Some(open) = self.sessions.get(&session) else { return };
                let attested = certificate.is_some();
                match certificate {
                    Some(certificate) => {
                        let members = &open.committee.members;
                        certificate.verify(members, &FakeVerifier, &Inline).unwrap();
                    }
                    None => assert!(self.now >= open.deadline && &*reason == "deadline"),
                }
                (session, Fate::Failed { reason: reason.to_string(), attested })
            }
            other => panic!("{other:?}"),
        };
        self.sessions.remove(&id);
        self.fates.insert(id, fate);
        self.soon();
    }

    fn soon(&mut self) {
        if !self.block_due {
            self.block_due = true;
            self.later(100, Event::Block);
        }
    }

    /// Returns what all members say that a session came to; they must say the same.
    pub(crate) fn agreed(&mut self, session: SessionId) -> Report {
        let reports: Vec<Report> =
            (0..self.members).map(|node| self.report(node, session)).collect();
        let essence = |report: &Report| {
            let leaves: Vec<_> =
                report.steps.iter().map(session_protocol::workload::Step::leaf).collect();
            let Report { state, output, oracle_root, receipts_root, error, fuel, .. } = report;
            (*state, output.clone(), *oracle_root, *receipts_root, error.clone(), *fuel, leaves)
        };
        for report in &reports[1..] {
            assert_eq!(essence(report), essence(&reports[0]));
        }
        reports.into_iter().next().unwrap()
    }

    pub(crate) fn running(&self) -> Vec<usize> {
        self.nodes.iter().filter_map(|node| Some(node.exec.as_ref()?.running())).collect()
    }

    pub(crate) fn config(&self, node: usize) -> Config {
        config(&self.nodes[node].keys, 8)
    }

    pub(crate) fn ids(&self) -> BTreeSet<NodeId> {
        self.nodes.iter().map(|node| node.id).collect()
    }
}

fn config(keys: &Arc<FakeIdentity>, sessions_max: usize) -> Config {
    Config {
        node: keys.public().node_id(),
        keys: Arc::clone(keys) as _,
        verifier: Arc::new(FakeVerifier),
        sessions_max,
    }
}

impl Node {
    fn new(rng: &mut SeededEntropy, sessions_max: usize) -> Self {
        let keys = Arc::new(FakeIdentity::generate(rng));
        Self {
            id: keys.public().node_id(),
            exec: Some(Executor::new(config(&keys, sessions_max))),
            keys,
            store: MemoryStore::new(rng.next_u64()),
            runner: Runner::new(8),
            answers: BTreeMap::new(),
            stored: BTreeMap::new(),
            notes: Vec::new(),
            dies_at: None,
            tongue: None,
            deaf: false,
        }
    }

    pub(crate) fn journal_records(&self) -> usize {
        self.store.records(Table::Journal, &[]).len()
    }
}
