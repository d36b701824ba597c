//! A swarm of machines over memory stores, joined by a loop that encodes and checks every message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use session_core::{
    Context, Digest, Entropy as _, InboxAddress, List, Machine as _, MessageId, NodeId,
    SeededEntropy, Span, SwarmId, Text, Time,
};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::duty::Duty;
use session_protocol::inbox::{AccessRule, COMMITS, slot_of};
use session_protocol::owner::{OwnerAction, OwnerOperation};
use session_protocol::receipt::{StorageReceipt, sign_receipts};
use session_protocol::request::{ItemBytes, Operation, Outcome, Push, Refusal, Reply, Request};
use session_protocol::{Checker, Frame, Inbound, Kind, Membership, NodeRecord, StaticMembership};
use session_storage::{MemoryStore, Store, Table};
use session_swarm::coordinator::Promise;
use session_swarm::{Config, Effect, Input, PeerMessage, PeerMessageOut, Requester, Swarm};

/// Where the members' swarm is on the ring.
pub(crate) const OURS: SwarmId = SwarmId(0);

pub(crate) struct Node {
    pub(crate) id: NodeId,
    keys: FakeIdentity,
    pub(crate) swarm: Swarm,
    pub(crate) store: MemoryStore,
    pub(crate) is_up: bool,
    /// What its clock is ahead.
    pub(crate) ahead: Span,
}

/// What becomes of a message that `from` sends to `to`.
pub(crate) type Tamper = Box<dyn FnMut(usize, usize, PeerMessageOut) -> Option<PeerMessageOut>>;

/// An item and its expiry.
pub(crate) type Kept = (InboxAddress, MessageId, Time);

pub(crate) fn record((index, keys): (usize, &FakeIdentity)) -> NodeRecord {
    NodeRecord {
        keys: keys.public().clone(),
        address: Text::new(format!("10.0.0.{index}:9651")).unwrap(),
        swarm: OURS,
    }
}

pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Node>,
    pub(crate) records: Vec<NodeRecord>,
    /// Who is connected with whom, the lower place first.
    pub(crate) links: BTreeSet<(usize, usize)>,
    pub(crate) membership: Arc<dyn Membership>,
    /// What it was before the swarms changed last; none for a network that never changes.
    pub(crate) former: Option<Arc<dyn Membership>>,
    pub(crate) checker: Checker,
    pub(crate) now: Time,
    pub(crate) rng: SeededEntropy,
    queue: VecDeque<(usize, usize, Vec<u8>)>,
    pub(crate) replies: BTreeMap<u64, Reply>,
    pub(crate) pushes: Vec<(Requester, Push)>,
    pub(crate) misbehaved: Vec<(usize, NodeId, &'static str)>,
    pub(crate) promised: Vec<(usize, Promise)>,
    pub(crate) tamper: Option<Tamper>,
    /// Messages of 1,000 that are lost, and as many that come twice; they come in any order then.
    pub(crate) loss: u64,
    /// A member that signs no receipts for others.
    pub(crate) stalled: Option<usize>,
    pub(crate) sent: BTreeMap<&'static str, usize>,
    sweep_every: Option<Span>,
    requests: u64,
    /// The item of each slot that each node signed for.
    slots: BTreeMap<(usize, InboxAddress, Digest), MessageId>,
}

fn encode(message: &PeerMessageOut) -> (&'static str, Vec<u8>) {
    match message {
        PeerMessageOut::Replicate(m) => ("replicate", Frame::encode(Kind::Replicate, m)),
        PeerMessageOut::Receipts(m) => ("receipts", Frame::encode(Kind::Receipt, m)),
        PeerMessageOut::Operations(m) => ("operations", Frame::encode(Kind::Operations, m)),
        PeerMessageOut::Sync(m) => ("sync", Frame::encode(Kind::Sync, m)),
        PeerMessageOut::Taken { epoch } => {
            ("taken", Frame::encode(Kind::Duty, &Duty::Taken { epoch: *epoch }))
        }
    }
}

fn configure(node: NodeId, membership: &Arc<dyn Membership>, sweep_every: Option<Span>) -> Config {
    let mut config = Config::new(node, Arc::clone(membership));
    config.sweep_every = sweep_every.unwrap_or(config.sweep_every);
    config
}

impl Cluster {
    pub(crate) fn new(members: usize, seed: u64) -> Self {
        Self::with_others(members, 0, seed)
    }

    /// `others` nodes belong to a swarm on the other side of the ring; they do not run.
    pub(crate) fn with_others(members: usize, others: usize, seed: u64) -> Self {
        Self::build(members, others, seed, None)
    }

    /// Members that compare nothing without an occasion.
    pub(crate) fn without_sweep(members: usize, seed: u64) -> Self {
        Self::build(members, 0, seed, Some(Span::from_days(1)))
    }

    fn build(members: usize, others: usize, seed: u64, sweep_every: Option<Span>) -> Self {
        let mut rng = SeededEntropy::new(seed);
        let keys: Vec<FakeIdentity> =
            (0..members + others).map(|_| FakeIdentity::generate(&mut rng)).collect();
        let records = keys.iter().enumerate().map(|(index, keys)| {
            let swarm = if index < members { OURS } else { SwarmId(1 << 63) };
            NodeRecord { swarm, ..record((index, keys)) }
        });
        let membership: Arc<dyn Membership> =
            Arc::new(StaticMembership::new("test", records).unwrap());
        let mut cluster = Self::of(keys, members, membership, rng, sweep_every);
        for index in 0..members {
            cluster.introduce(index);
        }
        cluster.run();
        cluster
    }

    /// The first `running` of the nodes, not connected yet.
    pub(crate) fn of(
        keys: Vec<FakeIdentity>,
        running: usize,
        membership: Arc<dyn Membership>,
        mut rng: SeededEntropy,
        sweep_every: Option<Span>,
    ) -> Self {
        let checker = Checker::new(Arc::clone(&membership), Arc::new(FakeVerifier));
        let nodes = keys
            .into_iter()
            .take(running)
            .map(|keys| {
                let id = keys.public().node_id();
                let config = configure(id, &membership, sweep_every);
                let swarm = Swarm::new(config);
                let store = MemoryStore::new(rng.next_u64());
                Node { id, keys, swarm, store, is_up: true, ahead: Span::ZERO }
            })
            .collect();
        Self {
            nodes,
            records: Vec::new(),
            links: BTreeSet::new(),
            membership,
            former: None,
            checker,
            now: Time::from_millis(1_700_000_000_000),
            rng,
            queue: VecDeque::new(),
            replies: BTreeMap::new(),
            pushes: Vec::new(),
            misbehaved: Vec::new(),
            promised: Vec::new(),
            tamper: None,
            loss: 0,
            stalled: None,
            sweep_every,
            sent: BTreeMap::new(),
            requests: 0,
            slots: BTreeMap::new(),
        }
    }

    // A fresh process on the disk that is there.
    pub(crate) fn begin(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let config = configure(node.id, &self.membership, self.sweep_every);
        node.swarm = Swarm::new(config);
        node.is_up = true;
        if self.former.is_some() {
            self.tell(index);
        }
    }

    // Tells all earlier nodes and `index` about each other.
    fn introduce(&mut self, index: usize) {
        for other in (0..self.nodes.len()).filter(|other| *other != index) {
            if self.nodes[other].is_up && (other < index || self.nodes[index].is_up) {
                let (id, other_id) = (self.nodes[index].id, self.nodes[other].id);
                self.feed(other, vec![Input::PeerUp { node: id }]);
                self.feed(index, vec![Input::PeerUp { node: other_id }]);
            }
        }
    }

    /// Stops a node: the others lose it, it loses everything but its disk.
    pub(crate) fn stop(&mut self, index: usize) {
        self.nodes[index].is_up = false;
        self.nodes[index].store.crash();
        self.queue.retain(|(from, to, _)| *from != index && *to != index);
        let node = self.nodes[index].id;
        for other in 0..self.nodes.len() {
            let link = (index.min(other), index.max(other));
            if self.nodes[other].is_up && (self.former.is_none() || self.links.remove(&link)) {
                self.feed(other, vec![Input::PeerDown { node }]);
            }
        }
    }

    /// Starts a stopped node, as a fresh process on its old disk.
    pub(crate) fn start(&mut self, index: usize) {
        self.begin(index);
        if self.former.is_some() {
            return self.connect();
        }
        for other in (0..self.nodes.len()).filter(|other| *other != index) {
            if self.nodes[other].is_up {
                let (id, other_id) = (self.nodes[index].id, self.nodes[other].id);
                self.feed(other, vec![Input::PeerUp { node: id }]);
                self.feed(index, vec![Input::PeerUp { node: other_id }]);
            }
        }
    }

    pub(crate) fn lose_disk(&mut self, index: usize) {
        self.nodes[index].store = MemoryStore::new(self.rng.next_u64());
    }

    pub(crate) fn network(&self) -> session_protocol::membership::NetworkId {
        self.membership.network()
    }

    pub(crate) fn now_of(&self, index: usize) -> Time {
        self.now + self.nodes[index].ahead
    }

    /// Runs one group of inputs on a node as the shell does: flush, commit, sign, perform.
    pub(crate) fn feed(&mut self, index: usize, mut inputs: Vec<Input>) {
        inputs.push(Input::Flush);
        let mut effects = self.call(index, inputs, false);
        while !effects.is_empty() {
            self.nodes[index].store.commit_now();
            let signed = self.perform(index, effects);
            effects = if signed.is_empty() { Vec::new() } else { self.call(index, signed, false) };
        }
    }

    fn call(&mut self, index: usize, inputs: Vec<Input>, tick: bool) -> Vec<Effect> {
        let now = self.now_of(index);
        let node = &mut self.nodes[index];
        let mut effects = Vec::new();
        let store: &mut (dyn Store + 'static) = &mut node.store;
        let mut cx = Context { now, store, rng: &mut self.rng, effects: &mut effects };
        if tick {
            node.swarm.tick(&mut cx);
        }
        for input in inputs {
            node.swarm.handle(&mut cx, input);
        }
        effects
    }

    fn perform(&mut self, index: usize, effects: Vec<Effect>) -> Vec<Input> {
        let mut tickets: Vec<(u64, Vec<StorageReceipt>)> = Vec::new();
        for effect in effects {
            match effect {
                Effect::Reply { to, reply } => {
                    assert!(Frame::encode(Kind::Reply, &reply).len() <= 1 << 20);
                    assert!(self.replies.insert(to.0, reply).is_none(), "answered twice");
                }
                Effect::Push { to, push } => self.pushes.push((to, push)),
                Effect::ToPeers { nodes, message, .. } => {
                    for node in nodes {
                        self.post(index, node, message.clone());
                    }
                }
                Effect::SignReceipts { ticket, receipts } => tickets.push((ticket, receipts)),
                Effect::Promised { promise } => self.promised.push((index, *promise)),
                Effect::Misbehaved { node, why } => self.misbehaved.push((index, node, why)),
            }
        }
        self.sign(index, tickets)
    }

    // One root over all receipts of the commit, as the shell makes it.
    fn sign(&mut self, index: usize, tickets: Vec<(u64, Vec<StorageReceipt>)>) -> Vec<Input> {
        let all: Vec<StorageReceipt> =
            tickets.iter().flat_map(|(_, receipts)| receipts.iter().copied()).collect();
        if all.is_empty() || self.stalled == Some(index) {
            return Vec::new();
        }
        for receipt in &all {
            let held = self.nodes[index].store.meta(&receipt.address, &receipt.message);
            assert!(held.is_some(), "a receipt without its item");
            self.check_slot(index, receipt);
        }
        let network = self.membership.network();
        let (root, proofs) = sign_receipts(network, &self.nodes[index].keys, &all, &mut self.rng);
        let mut proofs = proofs.into_iter();
        let mut inputs = Vec::new();
        for (ticket, receipts) in tickets {
            let proofs = proofs.by_ref().take(receipts.len()).collect();
            inputs.push(Input::ReceiptsSigned { ticket, root: root.clone(), proofs });
        }
        inputs
    }

    /// Asserts that a node signs for one item of a slot only, whatever happens to it.
    fn check_slot(&mut self, index: usize, receipt: &StorageReceipt) {
        let StorageReceipt { address, message, .. } = *receipt;
        let item = self.nodes[index].store.item(&address, &message).unwrap().unwrap();
        if item.meta.namespace == COMMITS {
            let slot = slot_of(&item.data).expect("no item is shorter");
            let first = *self.slots.entry((index, address, slot)).or_insert(message);
            assert_eq!(first, message, "a second item of a slot has a receipt");
        }
    }

    fn post(&mut self, from: usize, to: NodeId, message: PeerMessageOut) {
        let to = self.nodes.iter().position(|node| node.id == to).unwrap();
        let is_linked = self.links.contains(&(from.min(to), from.max(to)));
        if self.former.is_some() && !is_linked {
            return;
        }
        let message = match &mut self.tamper {
            Some(tamper) => tamper(from, to, message),
            None => Some(message),
        };
        let Some(message) = message else { return };
        let (kind, frame) = encode(&message);
        *self.sent.entry(kind).or_default() += 1;
        if self.loss > 0 && self.rng.below(1000) < self.loss {
            return;
        }
        if self.loss > 0 && self.rng.below(1000) < self.loss {
            self.queue.push_back((from, to, frame.clone()));
        }
        self.queue.push_back((from, to, frame));
    }

    /// Delivers messages until none is left.
    pub(crate) fn run(&mut self) {
        for _ in 0..5_000_000_u64 {
            let next = if self.loss == 0 {
                self.queue.pop_front()
            } else {
                let chosen = self.rng.below(self.queue.len() as u64) as usize;
                self.queue.swap_remove_back(chosen)
            };
            let Some((from, to, frame)) = next else { return };
            if !self.nodes[to].is_up {
                continue;
            }
            let message = match self.checker.check(&frame).expect("only signatures are faked") {
                Inbound::Replicate(message) => PeerMessage::Replicate(message),
                Inbound::Receipts(message) => PeerMessage::Receipts(message),
                Inbound::Operations(message) => PeerMessage::Operations(message),
                Inbound::Sync(message) => PeerMessage::Sync(message),
                Inbound::Duty(duty) => match *duty {
                    Duty::Taken { epoch } => PeerMessage::Taken { epoch },
                    other => panic!("{other:?} is not for the swarm"),
                },
                other => panic!("{other:?} is not for the swarm"),
            };
            let node = self.nodes[from].id;
            self.feed(to, vec![Input::FromPeer { node, message }]);
        }
        panic!("the members never stop talking");
    }

    /// Lets time pass, with every tick that falls due.
    pub(crate) fn advance(&mut self, span: Span) {
        self.run();
        let end = self.now + span;
        let mut ticks = 0_u64;
        loop {
            let due = |node: &Node| node.swarm.deadline().map(|at| at - node.ahead);
            let up = self.nodes.iter().filter(|node| node.is_up);
            let Some(next) = up.filter_map(due).min().filter(|at| *at <= end) else { break };
            assert!(next <= self.now || ticks < 10_000_000);
            ticks += 1;
            self.now = self.now.max(next);
            for index in 0..self.nodes.len() {
                let is_due = due(&self.nodes[index]).is_some_and(|at| at <= self.now);
                if self.nodes[index].is_up && is_due {
                    let effects = self.call(index, Vec::new(), true);
                    self.nodes[index].store.commit_now();
                    let signed = self.perform(index, effects);
                    assert!(signed.is_empty(), "a tick stores nothing");
                    let after = self.nodes[index].swarm.deadline();
                    assert!(after > Some(self.now_of(index)), "a tick leaves work that is due");
                }
            }
            self.connect();
            self.run();
        }
        self.now = end;
    }

    /// Sends a request to a node; returns the requester, whose number finds the reply.
    pub(crate) fn send(&mut self, index: usize, operations: Vec<Operation>) -> u64 {
        self.requests += 1;
        self.send_as(index, self.requests, operations)
    }

    pub(crate) fn send_as(
        &mut self,
        index: usize,
        requester: u64,
        operations: Vec<Operation>,
    ) -> u64 {
        let request = Request { id: 77, operations: List::new(operations).unwrap() };
        let request = self.checker.check_request(request);
        let from = Requester(requester);
        self.feed(index, vec![Input::Request { from, request }]);
        requester
    }

    /// Sends a request and returns the outcomes, waiting as long as a client would.
    pub(crate) fn ask(&mut self, index: usize, operations: Vec<Operation>) -> Reply {
        let requester = self.send(index, operations);
        self.run();
        if !self.replies.contains_key(&requester) {
            self.advance(Span::from_secs(6));
        }
        self.replies.remove(&requester).expect("every request is answered")
    }

    pub(crate) fn ask_one(&mut self, index: usize, operation: Operation) -> Outcome {
        let mut outcomes = self.ask(index, vec![operation]).outcomes.into_vec();
        assert_eq!(outcomes.len(), 1);
        outcomes.remove(0)
    }

    pub(crate) fn refused(&mut self, index: usize, operation: Operation) -> Refusal {
        match self.ask_one(index, operation) {
            Outcome::Refused { refusal } => refusal,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(crate) fn store_operation(&self, owner: &Owner, text: &str, ttl: Span) -> Operation {
        Operation::Store {
            address: owner.address(),
            namespace: session_protocol::inbox::MESSAGES,
            timestamp: self.now,
            ttl,
            data: ItemBytes::new(text.as_bytes()).unwrap(),
        }
    }

    /// Stores a message and returns its id.
    pub(crate) fn deposit(&mut self, index: usize, owner: &Owner, text: &str) -> MessageId {
        let operation = self.store_operation(owner, text, Span::from_days(1));
        match self.ask_one(index, operation) {
            Outcome::Stored { message, .. } => message,
            other => panic!("not stored: {other:?}"),
        }
    }

    pub(crate) fn signed(&mut self, owner: &Owner, action: OwnerAction) -> Operation {
        let network = self.membership.network();
        let operation = OwnerOperation::sign(network, &owner.keys, action, self.now, &mut self.rng);
        Operation::Owner { operation: Box::new(operation) }
    }

    /// Returns what a node keeps: live items with their expiry, and operations.
    pub(crate) fn contents(&self, index: usize) -> (BTreeSet<Kept>, BTreeSet<Vec<u8>>) {
        let mut items = BTreeSet::new();
        let store = &self.nodes[index].store;
        let all = InboxAddress::from([0; 32])..=InboxAddress::from([0xff; 32]);
        store.scan(all, &mut |address, meta| {
            if meta.expiry > self.now {
                items.insert((*address, meta.id, meta.expiry));
            }
        });
        let operations = store.records(Table::Operation, &[]);
        (items, operations.into_iter().map(|(key, _)| key).collect())
    }

    /// Asserts that all nodes keep the same.
    #[track_caller]
    pub(crate) fn assert_same(&self) {
        let first = self.contents(0);
        for index in 1..self.nodes.len() {
            let other = self.contents(index);
            assert_eq!(first.0, other.0, "items of node 0 and node {index}");
            assert_eq!(first.1, other.1, "operations of node 0 and node {index}");
        }
    }

    pub(crate) fn holders(&self, address: &InboxAddress, id: &MessageId) -> usize {
        let holds = |node: &&Node| node.store.meta(address, id).is_some();
        self.nodes.iter().filter(holds).count()
    }
}

/// Somebody with an inbox.
pub(crate) struct Owner {
    pub(crate) keys: FakeIdentity,
}

impl Owner {
    pub(crate) fn new(seed: u8) -> Self {
        Self { keys: FakeIdentity::new(&[seed; 32]) }
    }

    pub(crate) fn rule(&self) -> AccessRule {
        AccessRule::from(self.keys.public().account_id())
    }

    pub(crate) fn address(&self) -> InboxAddress {
        self.rule().address()
    }
}
