//! A committee, a network that loses and mixes messages, members that crash and lie, and the outside
//! world that they ask.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use session_core::{
    Blob, ChainId, Decode as _, Digest, Encode as _, Entropy as _, Epoch, List, NodeId, RequestId,
    SeededEntropy, ServiceId, SessionId, Span, Text, Time, TxId,
};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{PublicIdentity, Signer};
use session_protocol::attestation::{Vote, committee_root};
use session_protocol::evidence::{Evidence, Ground};
use session_protocol::membership::NetworkId;
use session_protocol::workload::manifest::{
    Aggregation, Confirm, Connector, EvmQuery, HttpMethod, Limits, Manifest, Name, Source,
    Template, Transform, WORKLOAD_VERSION, Workload,
};
use session_protocol::workload::message::{Decision, Message, Talk};
use session_protocol::workload::oracle::{
    Fault, Observation, OracleCall, OracleResult, Pin, RecordHead, RequestKind,
};
use session_protocol::workload::round::{AdvanceHead, Phase};

use super::super::{Cx, Round, RoundEffect, RoundEntry, RoundInput, Scene};
use super::liars::{Liar, Lie};
use crate::executor::Outcome;
use crate::facts::{Facts, Purpose};

pub(super) const BEGAN: Time = Time::from_millis(1_700_000_000_000);
/// By when every run must have ended.
const END: Time = Time::from_millis(1_700_000_000_000 + 3_600_000);

/// What the step asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    Read,
    Median,
    PinnedRead,
    Write,
    ConfirmedWrite,
}

/// A run.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) members: usize,
    pub(super) asks: Asks,
    /// Of a hundred messages so many are lost, and so many come twice.
    pub(super) lost: u64,
    pub(super) twice: u64,
    /// A message takes up to so long.
    pub(super) delay: Span,
    /// The world takes up to so long.
    pub(super) world: Span,
    /// Members come to the step within this.
    pub(super) spread: Span,
    /// Until then the network is cut in two, anew every three seconds.
    pub(super) cut_until: Span,
    pub(super) liars: Vec<(usize, Lie)>,
    /// The world tells everybody something else.
    pub(super) diverges: bool,
    /// Members whose writes fail; of every second the effect happens all the same.
    pub(super) broken: Vec<usize>,
    pub(super) fallback: bool,
    pub(super) retries_max: u8,
    pub(super) crash: Option<Crash>,
    /// Of a hundred entries of every member so many are followed by a crash.
    pub(super) crashes: u64,
}

/// One member is killed at an entry of its journal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crash {
    pub(super) member: usize,
    pub(super) entry: usize,
    /// Whether the entry was written down.
    pub(super) durable: bool,
    pub(super) away: Span,
}

impl Plan {
    pub(super) fn new(seed: u64, members: usize, asks: Asks) -> Self {
        Self {
            seed,
            members,
            asks,
            lost: 0,
            twice: 0,
            delay: Span::from_millis(60),
            world: Span::from_millis(400),
            spread: Span::from_millis(300),
            cut_until: Span::ZERO,
            liars: Vec::new(),
            diverges: false,
            broken: Vec::new(),
            fallback: false,
            retries_max: 3,
            crash: None,
            crashes: 0,
        }
    }

    pub(super) fn rough(mut self) -> Self {
        (self.lost, self.twice, self.delay) = (15, 10, Span::from_millis(400));
        self
    }
}

enum Event {
    Deliver { to: usize, from: usize, message: Arc<Message> },
    Fetched { to: usize, life: u32, request: RequestId, outcome: Outcome },
    Tick { to: usize },
    Restart { to: usize },
}

struct Member {
    scene: Scene,
    round: Option<Round>,
    /// Encoded: what comes back after a crash went through bytes.
    journal: Vec<Vec<u8>>,
    decided: Option<Box<Decision>>,
    liar: Option<Liar>,
    life: u32,
    ticks_at: Option<Time>,
}

/// All that honest members ever signed, by what it must be unique for.
#[derive(Default)]
struct Signed {
    records: BTreeMap<(NodeId, RequestId), RecordHead>,
    ballots: BTreeMap<(NodeId, RequestId, Phase), Digest>,
    votes: BTreeMap<(NodeId, Digest), Digest>,
    advances: BTreeMap<(NodeId, u32), AdvanceHead>,
    /// Who wants the write: liars, too.
    intents: BTreeSet<NodeId>,
}

pub(super) struct World {
    pub(super) plan: Plan,
    now: Time,
    rng: SeededEntropy,
    members: Vec<Member>,
    events: BTreeMap<(Time, u64), Event>,
    next: u64,
    signed: Signed,
    /// Keys of writes, and how often they came.
    ledger: BTreeMap<Digest, u32>,
    identities: Vec<PublicIdentity>,
    pub(super) evidence: Vec<Evidence>,
    pub(super) attempts: u32,
    pub(super) messages: u64,
    pub(super) bytes: u64,
}

fn none<T, const MAX: usize>() -> List<T, MAX> {
    List::new([]).expect("nothing is within every bound")
}

fn name(text: &str) -> Name {
    Name::new(text).expect("short")
}

fn source(plan: &Plan) -> Source {
    let url = Template::new("https://example.org").expect("short");
    let http = |method| Connector::Http { method, url: url.clone(), headers: none(), redirects: 0 };
    let (connector, aggregation) = match plan.asks {
        Asks::Read => (http(HttpMethod::Get), Aggregation::Identical),
        Asks::Median => {
            let field = Text::new("").expect("short");
            (http(HttpMethod::Get), Aggregation::Median { field })
        }
        Asks::PinnedRead => {
            let (url, query) = (url, EvmQuery::Block);
            (Connector::Evm { url, query, confirmations: 1 }, Aggregation::Identical)
        }
        Asks::Write | Asks::ConfirmedWrite => (http(HttpMethod::Post), Aggregation::Single),
    };
    let confirm = Confirm { source: name("it"), equals_body: false };
    Source {
        name: name("it"),
        connector,
        transform: Transform::default(),
        aggregation,
        records_min: 0,
        timeout: Span::from_secs(2),
        bytes_max: 1000,
        fallback: plan.fallback.then(|| Blob::new(*b"fallback").expect("short")),
        confirm: (plan.asks == Asks::ConfirmedWrite).then_some(confirm),
    }
}

fn facts(plan: &Plan, identities: &[FakeIdentity], rng: &mut SeededEntropy) -> Facts {
    let limits = Limits {
        fuel: 1,
        memory_pages: 1,
        state_bytes: 1,
        log_bytes: 1,
        calls: 1,
        egress_bytes: 1,
    };
    let manifest = Manifest {
        name: name("test"),
        egress: none(),
        sources: List::new([source(plan)]).expect("one"),
        limits,
        retries_max: plan.retries_max,
    };
    let key = |it: &FakeIdentity| (it.public().node_id(), it.public().dsa().clone());
    let members: Vec<_> = identities.iter().map(key).collect();
    Facts {
        chain: ChainId::from(rng.bytes32()),
        session: SessionId::from(rng.bytes32()),
        service: ServiceId::from(rng.bytes32()),
        epoch: Epoch(7),
        tx: TxId::from(rng.bytes32()),
        randomness: Digest::from(rng.bytes32()),
        created: BEGAN,
        deadline: END,
        committee: committee_root(&members),
        members: Arc::new(members),
        workload: Workload {
            version: WORKLOAD_VERSION,
            module: Digest::default(),
            profile: Digest::default(),
            manifest,
        },
        module: Arc::from([]),
        input: Arc::from([]),
    }
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        let mut rng = SeededEntropy::new(plan.seed);
        let identities: Vec<FakeIdentity> =
            (0..plan.members).map(|_| FakeIdentity::generate(&mut rng)).collect();
        let facts = Arc::new(facts(&plan, &identities, &mut rng));
        let kind = match plan.asks {
            Asks::Write | Asks::ConfirmedWrite => RequestKind::Write,
            _ => RequestKind::Read,
        };
        let call = OracleCall { source: 0, parameters: none(), body: Blob::default() };
        let member = |(index, identity): (usize, &FakeIdentity)| {
            let scene = Scene {
                facts: Arc::clone(&facts),
                me: identity.public().node_id(),
                keys: Arc::new(identity.clone()),
                verifier: Arc::new(FakeVerifier),
                step: 1,
                kind,
                call: call.clone(),
                before: BEGAN,
            };
            let lie = plan.liars.iter().find(|(liar, _)| *liar == index).map(|(_, lie)| *lie);
            let liar = lie.map(|lie| Liar::new(lie, scene.clone()));
            let round = Some(Round::new(scene.clone()));
            let (journal, decided) = (Vec::new(), None);
            Member { scene, round, journal, decided, liar, life: 0, ticks_at: None }
        };
        let members = identities.iter().enumerate().map(member).collect();
        Self {
            now: BEGAN,
            rng,
            members,
            events: BTreeMap::new(),
            next: 0,
            signed: Signed::default(),
            ledger: BTreeMap::new(),
            identities: identities.iter().map(|it| it.public().clone()).collect(),
            evidence: Vec::new(),
            attempts: 0,
            messages: 0,
            bytes: 0,
            plan,
        }
    }

    /// Runs until every honest member decided.
    ///
    /// # Panics
    /// When one of them never does, or anything else is not as it must be.
    pub(super) fn run(mut self) -> Self {
        for member in 0..self.members.len() {
            // Programs take their time to come to a step.
            let at = self.now + Span::from_millis(self.rng.below(self.plan.spread.as_millis()));
            self.schedule(at, Event::Restart { to: member });
            self.members[member].round = None;
        }
        while let Some(((at, _), event)) = self.events.pop_first() {
            assert!(at < END, "{:?}: some member never decides", self.plan);
            self.now = at;
            self.happen(event);
            if self.honest().all(|member| member.decided.is_some()) {
                self.finish();
                return self;
            }
        }
        panic!("{:?}: nothing happens any more", self.plan)
    }

    fn honest(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.liar.is_none())
    }

    fn schedule(&mut self, at: Time, event: Event) {
        self.next += 1;
        self.events.insert((at, self.next), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Restart { to } => self.restart(to),
            Event::Tick { to } => {
                if self.members[to].ticks_at == Some(self.now) {
                    self.members[to].ticks_at = None;
                    self.call(to, |round, cx| round.tick(cx));
                }
            }
            Event::Fetched { to, life, request, outcome } => {
                if self.members[to].life == life {
                    let input = RoundInput::Fetched { request, outcome };
                    self.call(to, |round, cx| round.handle(cx, input));
                }
            }
            Event::Deliver { to, from, message } => self.deliver(to, from, &message),
        }
    }

    fn restart(&mut self, to: usize) {
        let member = &mut self.members[to];
        if member.decided.is_some() {
            return;
        }
        let entries = member.journal.iter().map(|bytes| {
            RoundEntry::decode_exact(bytes).expect("what was written down can be read")
        });
        let entries: Vec<_> = entries.collect();
        let scene = member.scene.clone();
        member.round = Some(Round::restore(scene, entries));
        self.call(to, |round, cx| round.start(cx));
    }

    fn deliver(&mut self, to: usize, from: usize, message: &Message) {
        let node = self.members[from].scene.me;
        if let Some(liar) = &mut self.members[to].liar {
            liar.hears(message);
        }
        // Whoever decided has left the step, and answers those who are still at it.
        if let Some(decision) = &self.members[to].decided {
            if matches!(message, Message::Talk(talk) if matches!(**talk, Talk::At { .. })) {
                let answer = self.members[to].scene.settled(decision);
                self.send(to, from, Arc::new(answer));
            }
            return;
        }
        if let Some(input) = admit(&self.members[to].scene, node, message) {
            self.call(to, |round, cx| round.handle(cx, input));
        }
    }

    fn call(&mut self, of: usize, act: impl FnOnce(&mut Round, &mut Cx<'_>)) {
        let mut out = Vec::new();
        let member = &mut self.members[of];
        let Some(round) = &mut member.round else { return };
        act(round, &mut Cx { now: self.now, rng: &mut self.rng, out: &mut out });
        if member.liar.is_none() {
            self.attempts = self.attempts.max(round.pace.current);
            assert!(round.attempts.len() <= 4, "attempts that are far off are kept");
        }
        for effect in out {
            if !self.perform(of, effect) {
                self.kill(of, self.plan.crash.map_or(Span::from_secs(2), |crash| crash.away));
                return;
            }
        }
        let member = &mut self.members[of];
        let deadline = member.round.as_ref().and_then(Round::deadline);
        if let Some(at) = deadline.filter(|at| member.ticks_at.is_none_or(|set| *at < set)) {
            let at = at.max(self.now + Span::from_millis(1));
            member.ticks_at = Some(at);
            self.schedule(at, Event::Tick { to: of });
        }
    }

    fn kill(&mut self, of: usize, away: Span) {
        let member = &mut self.members[of];
        member.round = None;
        member.life += 1;
        member.ticks_at = None;
        self.schedule(self.now + away, Event::Restart { to: of });
    }

    /// Does one thing that a member wants; false if the member was killed at it.
    fn perform(&mut self, of: usize, effect: RoundEffect) -> bool {
        match effect {
            RoundEffect::Journal(entry) => return self.journal(of, &entry),
            RoundEffect::Decided(decision) => return self.decided(of, decision),
            RoundEffect::ToAll(message) => {
                let others = (0..self.members.len()).filter(|to| *to != of).collect();
                self.says(of, others, message);
            }
            RoundEffect::To(node, message) => {
                let to = self.members.iter().position(|it| it.scene.me == node).expect("a member");
                self.says(of, vec![to], message);
            }
            RoundEffect::Fetch { request, purpose, .. } => self.fetch(of, request, purpose),
            RoundEffect::Accuse(evidence) => self.accused(of, *evidence),
            RoundEffect::Misbehaved { node, why } => {
                let honest = self.honest().any(|member| member.scene.me == node);
                let unjust = honest && self.members[of].liar.is_none();
                assert!(!unjust, "{:?}: an honest member is said to misbehave: {why}", self.plan);
            }
        }
        true
    }

    fn journal(&mut self, of: usize, entry: &RoundEntry) -> bool {
        let count = self.members[of].journal.len();
        let crash = self.plan.crash.filter(|it| it.member == of && it.entry == count);
        if let Some(crash) = crash {
            // It is killed there once.
            self.plan.crash = Some(Crash { entry: usize::MAX, ..crash });
            if !crash.durable {
                return false;
            }
        }
        self.note_entry(of, entry);
        let bytes = entry.to_bytes();
        assert_eq!(RoundEntry::decode_exact(&bytes).as_ref(), Ok(entry));
        self.members[of].journal.push(bytes);
        let honest = self.members[of].liar.is_none();
        let chance = honest && self.plan.crashes > 0 && self.rng.below(100) < self.plan.crashes;
        crash.is_none() && !chance
    }

    fn decided(&mut self, of: usize, decision: Box<Decision>) -> bool {
        let member = &mut self.members[of];
        assert!(member.decided.is_none(), "a decision comes once");
        if member.liar.is_none() {
            member.scene.check_decision(&decision).expect("a decision proves itself");
        }
        member.decided = Some(decision);
        member.round = None;
        self.check_agreement();
        true
    }

    fn check_agreement(&self) {
        let content = |decision: &Decision| {
            let commit = &decision.commit;
            (decision.certificate.statement.root, commit.result.clone(), commit.time)
        };
        let mut decisions = self.honest().filter_map(|member| member.decided.as_deref());
        if let Some(first) = decisions.next() {
            for other in decisions {
                assert_eq!(content(first), content(other), "{:?}: two decisions", self.plan);
            }
        }
    }

    fn says(&mut self, of: usize, to: Vec<usize>, message: Message) {
        self.note_message(of, &message);
        let said: Vec<(usize, Span, Message)> = match &mut self.members[of].liar {
            None => to.into_iter().map(|to| (to, Span::ZERO, message.clone())).collect(),
            Some(liar) => liar.says(&mut self.rng, to, message),
        };
        for (to, late, message) in said {
            self.send_late(of, to, late, Arc::new(message));
        }
    }

    fn send(&mut self, from: usize, to: usize, message: Arc<Message>) {
        self.send_late(from, to, Span::ZERO, message);
    }

    fn send_late(&mut self, from: usize, to: usize, late: Span, message: Arc<Message>) {
        self.messages += 1;
        self.bytes += message.to_bytes().len() as u64;
        let copies = 1 + u64::from(self.rng.below(100) < self.plan.twice);
        for _ in 0..copies {
            if self.rng.below(100) < self.plan.lost || self.is_cut(from, to) {
                continue;
            }
            let delay = Span::from_millis(1 + self.rng.below(self.plan.delay.as_millis()));
            let message = Arc::clone(&message);
            self.schedule(self.now + late + delay, Event::Deliver { to, from, message });
        }
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        let since = self.now.since(BEGAN);
        if since >= self.plan.cut_until {
            return false;
        }
        let phase = since.as_millis() / 3000;
        let bits = SeededEntropy::new(self.plan.seed ^ phase << 20).next_u64();
        if bits & 1 << 63 == 0 {
            let alone = (bits % self.plan.members as u64) as usize;
            return a == alone || b == alone;
        }
        (bits >> a & 1) != (bits >> b & 1)
    }

    fn fetch(&mut self, of: usize, request: RequestId, purpose: Purpose) {
        let outcome = match purpose {
            Purpose::Pin => {
                Outcome::Pinned(Ok(Pin { number: self.now.as_millis(), hash: [7; 32] }))
            }
            Purpose::Observe { pin } => {
                let text = match (self.plan.asks, pin) {
                    (_, Some(pin)) => pin.number.to_string(),
                    (Asks::Median, None) => (100 + self.rng.below(9)).to_string(),
                    (_, None) if self.plan.diverges => format!("{of}"),
                    (_, None) => "100".to_owned(),
                };
                let bytes = Blob::new(text.into_bytes()).expect("short");
                Outcome::Observed { observation: Observation::Value { bytes }, received: 1 }
            }
            Purpose::Write { key } => self.write(of, key),
            Purpose::Confirm => Outcome::Confirmed(if self.ledger.is_empty() {
                Err(Fault::NotConfirmed)
            } else {
                Ok(())
            }),
        };
        let at = self.now + Span::from_millis(20 + self.rng.below(self.plan.world.as_millis()));
        let life = self.members[of].life;
        self.schedule(at, Event::Fetched { to: of, life, request, outcome });
    }

    fn write(&mut self, of: usize, key: Digest) -> Outcome {
        if self.members[of].liar.is_none() {
            let wanted = self.signed.intents.len();
            assert!(wanted >= self.members[of].scene.quorum(), "a write that no quorum wants");
            let intent = self.members[of].round.as_ref().and_then(|round| round.intent.clone());
            assert!(intent.is_some(), "a write without its proof");
        }
        let broken = self.plan.broken.contains(&of);
        if !broken || of.is_multiple_of(2) {
            *self.ledger.entry(key).or_insert(0) += 1;
        }
        let observation = if broken {
            Observation::Failed { fault: Fault::Timeout }
        } else {
            Observation::Value { bytes: Blob::new(*b"written").expect("short") }
        };
        Outcome::Observed { observation, received: 1 }
    }

    fn accused(&mut self, of: usize, evidence: Evidence) {
        if self.members[of].liar.is_some() {
            return;
        }
        let accused = evidence.accused();
        let index = self.members.iter().position(|it| it.scene.me == accused).expect("a member");
        assert!(self.members[index].liar.is_some(), "{:?}: an honest one accused", self.plan);
        let ground = Ground {
            chain: self.members[of].scene.facts.chain,
            network: NetworkId::default(),
            genesis: BEGAN,
            epoch: Span::from_secs(60),
            settle: Span::ZERO,
            verifier: &FakeVerifier,
        };
        evidence.verify(&self.identities[index], &ground).expect("evidence proves itself");
        self.evidence.push(evidence);
    }

    fn finish(&self) {
        let written = matches!(self.plan.asks, Asks::Write | Asks::ConfirmedWrite);
        assert!(self.ledger.len() <= 1, "one step writes under one key");
        let decision = self.decision();
        let gave_up = decision.commit.records.is_empty();
        if written && !gave_up {
            let honest_writer = self.honest().any(|member| {
                Some(member.scene.me) == decision.commit.records.first().map(|it| it.submitter)
            });
            assert!(
                !honest_writer || self.ledger.len() == 1,
                "it is said to be written, and is not"
            );
            assert!(decision.intent.is_some());
        }
        if gave_up {
            let expected = match self.plan.fallback {
                true => OracleResult::Value { bytes: Blob::new(*b"fallback").expect("short") },
                false => OracleResult::NoConsensus,
            };
            assert_eq!(decision.commit.result, expected);
            assert!(decision.commit.retry > u32::from(self.plan.retries_max));
        }
    }

    pub(super) fn decision(&self) -> &Decision {
        self.honest().find_map(|member| member.decided.as_deref()).expect("it is decided")
    }

    pub(super) fn writes(&self) -> u32 {
        self.ledger.values().sum()
    }

    pub(super) fn entries(&self, member: usize) -> usize {
        self.members[member].journal.len()
    }

    pub(super) fn scenes(&self) -> Vec<Scene> {
        self.members.iter().map(|member| member.scene.clone()).collect()
    }

    pub(super) fn leader(&self, retry: u32) -> usize {
        let leader = self.members[0].scene.leader(retry);
        self.members.iter().position(|it| it.scene.me == leader).expect("a member")
    }

    /// Returns what happened, in short: the same for the same seed.
    pub(super) fn trace(&self) -> (Time, u64, Digest) {
        (self.now, self.next, self.decision().certificate.statement.root)
    }

    fn note_entry(&mut self, of: usize, entry: &RoundEntry) {
        if self.members[of].liar.is_some() {
            return;
        }
        let scene = self.members[of].scene.clone();
        match entry {
            RoundEntry::Intended { vote } => self.note_message(of, &scene.voting(0, vote)),
            RoundEntry::Record { retry, record } => {
                let message = scene.observing(*retry, record);
                self.note_message(of, &message);
            }
            RoundEntry::Prepared { retry, vote, .. } => {
                self.note_message(of, &scene.voting(*retry, vote));
            }
            RoundEntry::Attested { retry, vote } => {
                self.note_message(of, &scene.attesting(*retry, vote));
            }
            RoundEntry::Advanced { advance } => {
                self.note_message(of, &scene.moving(advance, None));
            }
            _ => {}
        }
    }

    /// An honest member never contradicts itself, not even in what it only wrote down.
    fn note_message(&mut self, of: usize, message: &Message) {
        let me = self.members[of].scene.me;
        let facts = Arc::clone(&self.members[of].scene.facts);
        if let Message::Talk(talk) = message
            && let Talk::RoundVote { vote, .. } = &**talk
            && vote.ballot.phase == Phase::Intent
        {
            self.signed.intents.insert(me);
        }
        if self.members[of].liar.is_some() {
            return;
        }
        let signed = &mut self.signed;
        let same = match message {
            Message::Record(of) => {
                let head = of.record.head(facts.chain, facts.committee, of.request).head;
                *signed.records.entry((me, of.request)).or_insert(head) == head
            }
            Message::Attestation(of) => {
                let statement = of.vote.statement;
                *signed.votes.entry((me, statement.subject)).or_insert(statement.root)
                    == statement.root
            }
            Message::Talk(talk) => match &**talk {
                Talk::RoundVote { vote, .. } => {
                    let ballot = vote.ballot;
                    let key = (me, ballot.request, ballot.phase);
                    *signed.ballots.entry(key).or_insert(ballot.root) == ballot.root
                }
                Talk::Advance { advance, .. } => {
                    let head = advance.head;
                    *signed.advances.entry((me, head.retry)).or_insert(head) == head
                }
                _ => true,
            },
            _ => true,
        };
        assert!(same, "{:?}: member {of} contradicts itself", self.plan);
    }
}

/// Checks what the protocol's checker checks, and nothing else.
fn admit(scene: &Scene, from: NodeId, message: &Message) -> Option<RoundInput> {
    let facts = &scene.facts;
    let key = |node: &NodeId| scene.key(node);
    Some(match message.clone() {
        Message::Record(of) => {
            let head = of.record.head(facts.chain, of.committee, of.request);
            head.verify(key(&of.record.submitter)?, &FakeVerifier).then_some(())?;
            RoundInput::Record { from, of }
        }
        Message::Request(request) => RoundInput::Open { from, request },
        Message::Commit(proposal) => {
            let request = scene.request(proposal.commit.retry);
            for record in &proposal.commit.records {
                let head = record.head(facts.chain, facts.committee, request);
                head.verify(key(&record.submitter)?, &FakeVerifier).then_some(())?;
            }
            for advance in &proposal.advances {
                advance.verify(key(&advance.node)?, &FakeVerifier).then_some(())?;
            }
            RoundInput::Proposal { from, proposal }
        }
        Message::Attestation(of) => {
            let vote: Vote = of.vote;
            vote.verify(key(&vote.node)?, &FakeVerifier).then_some(())?;
            RoundInput::Vote { retry: of.retry, vote }
        }
        Message::Talk(talk) => match *talk {
            Talk::RoundVote { retry, vote, .. } => {
                vote.verify(key(&vote.node)?, &FakeVerifier).then_some(())?;
                RoundInput::RoundVote { retry, vote }
            }
            Talk::Advance { advance, lock } => {
                advance.verify(key(&advance.node)?, &FakeVerifier).then_some(())?;
                RoundInput::Advance { advance, lock }
            }
            Talk::At { .. } => RoundInput::At { from },
            Talk::Decided { decision, .. } => RoundInput::Decided { from, decision },
            _ => return None,
        },
        Message::Create(_) | Message::Start(_) => return None,
    })
}
