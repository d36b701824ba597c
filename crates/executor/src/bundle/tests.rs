use core::ops::Range;
use std::sync::{Arc, LazyLock};

use session_core::committee::quorum;
use session_core::seed_ids::{Attempt, request_id, session_id};
use session_core::testing::check_round_trip;
use session_core::{
    Blob, Decode, Digest, Encode, Epoch, Inline, List, NodeId, SeededEntropy, Span, Text, Time,
    sha256,
};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{DsaPublicKey, Signer};
use session_protocol::attestation::{Kind, QuorumCertificate, Statement, Vote, committee_root};
use session_protocol::workload::message::{Decision, leaders};
use session_protocol::workload::oracle::{Commit, Observation, RecordHead, RequestKind};
use session_protocol::workload::receipt::receipts_root;
use session_protocol::workload::round::{Ballot, Phase, Prepared};
use session_protocol::workload::step::oracle_root;
use session_protocol::workload::{
    OracleCall, OracleResult, Receipt, SignedRecord, Workload, blob_id, file,
};

use super::{
    BadText, Bundle, Ground, Known, Member, Outcome, ShownStep, Verdict, Wrong, from_json, to_json,
    verify,
};
use crate::aggregate;
use crate::engine::{Job, Runner, Stop, profile};
use crate::facts::{Answer, Facts, State};

const CREATED: Time = Time::from_millis(1_700_000_000_000);

const MANIFEST: &str = r#"
    name = "prices"
    retries = 2
    [limits]
    fuel = 10_000_000
    memory_pages = 2
    [[egress]]
    host = "example.com"
    [[source]]
    name = "price"
    kind = "http"
    url = "https://example.com/{of}"
    aggregation = "median"
    [[source]]
    name = "tell"
    kind = "message"
    to = "somebody"
"#;

/// Reads a price, logs it, emits, sends a message, makes a checkpoint, asks again, and puts out the
/// last answer; fails at the end if its input begins with `f`.
const PROGRAM: &str = r#"
(module
  (import "lux_session_v1" "read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "lux_session_v1" "write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "lux_session_v1" "state_get" (func $state_get (param i32 i32 i32 i32) (result i32)))
  (import "lux_session_v1" "emit" (func $emit (param i32 i32 i32)))
  (import "lux_session_v1" "log" (func $log (param i32 i32)))
  (import "lux_session_v1" "random" (func $random (param i32 i32)))
  (import "lux_session_v1" "now" (func $now (result i64)))
  (import "lux_session_v1" "abort" (func $abort (param i32 i32)))
  (import "lux_session_v1" "input" (func $input (param i32 i32) (result i32)))
  (import "lux_session_v1" "output" (func $output (param i32 i32)))
  (import "lux_session_v1" "checkpoint" (func $checkpoint (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "{\"source\":\"price\",\"params\":{\"of\":\"BTC\"}}")
  (data (i32.const 100) "{\"source\":\"tell\",\"body\":\"hello\"}")
  (func (export "run") (local $length i32)
    (if (i32.eq (call $state_get (i32.const 0) (i32.const 0) (i32.const 512) (i32.const 16))
                (i32.const -1))
      (then
        (local.set $length
          (call $read (i32.const 0) (i32.const 40) (i32.const 1024) (i32.const 1024)))
        (call $log (i32.const 1025) (i32.sub (local.get $length) (i32.const 1)))
        (call $random (i32.const 2048) (i32.const 32))
        (i64.store (i32.const 600) (call $now))
        (call $emit (i32.const 2048) (i32.const 600) (i32.const 8))
        (drop (call $write (i32.const 100) (i32.const 32) (i32.const 4096) (i32.const 32768)))
        (call $checkpoint (i32.const 600) (i32.const 8))))
    (local.set $length
      (call $read (i32.const 0) (i32.const 40) (i32.const 1024) (i32.const 1024)))
    (drop (call $input (i32.const 700) (i32.const 64)))
    (if (i32.eq (i32.load8_u (i32.const 700)) (i32.const 102))
      (then (call $abort (i32.const 700) (i32.const 4))))
    (call $output (i32.const 1024) (local.get $length))))
"#;

/// A committee of four, and what it needs to run a session without a network.
struct World {
    members: Vec<FakeIdentity>,
    facts: Arc<Facts>,
    rng: SeededEntropy,
}

impl World {
    fn new(input: &[u8]) -> Self {
        let members: Vec<FakeIdentity> = (1..5).map(|n| FakeIdentity::new(&[n; 32])).collect();
        let keys: Vec<(NodeId, DsaPublicKey)> = members
            .iter()
            .map(|member| (member.public().node_id(), member.public().dsa().clone()))
            .collect();
        let module = wat::parse_str(PROGRAM).unwrap();
        let (service, epoch, tx) = ([3; 32].into(), Epoch(4), [5; 32].into());
        let facts = Facts {
            chain: [1; 32].into(),
            session: session_id(&service, epoch, &tx),
            service,
            epoch,
            tx,
            randomness: [6; 32].into(),
            created: CREATED,
            deadline: CREATED + Span::from_secs(300),
            committee: committee_root(&keys),
            members: Arc::new(keys),
            workload: Workload {
                version: 1,
                module: blob_id(&module),
                profile: profile(),
                manifest: file::parse(MANIFEST).unwrap(),
            },
            module: module.into(),
            input: input.into(),
        };
        Self { members, facts: Arc::new(facts), rng: SeededEntropy::new(1) }
    }

    fn request(&self, step: u32, retry: u32) -> session_core::RequestId {
        let Facts { service, session, tx, .. } = &*self.facts;
        request_id(service, session, Attempt { step, retry }, tx)
    }

    fn certificate(&mut self, kind: Kind, subject: Digest, root: Digest) -> QuorumCertificate {
        let facts = &self.facts;
        let statement = Statement {
            chain: facts.chain,
            committee: facts.committee,
            kind,
            subject,
            root,
            epoch: facts.epoch,
        };
        let votes: Vec<Vote> =
            self.members.iter().map(|member| statement.sign(member, &mut self.rng)).collect();
        QuorumCertificate::assemble(&statement, &facts.members, &votes).unwrap()
    }

    fn record(&mut self, member: usize, at: (u32, u32), time: Time, bytes: &[u8]) -> SignedRecord {
        let observation = Observation::Value { bytes: Blob::new(bytes).unwrap() };
        let head = RecordHead {
            chain: self.facts.chain,
            committee: self.facts.committee,
            request: self.request(at.0, at.1),
            submitter: self.facts.members[member].0,
            data_hash: observation.data_hash(),
            pin: None,
            time,
        };
        SignedRecord::sign(head, observation, &self.members[member], &mut self.rng)
    }

    /// Decides a step in this attempt, on these records.
    fn decision(
        &mut self,
        (step, retry): (u32, u32),
        (kind, call): (RequestKind, &OracleCall),
        mut records: Vec<SignedRecord>,
        before: Time,
    ) -> Decision {
        let request = self.request(step, retry);
        records.sort_by_key(|record| record.id(&request));
        let refs: Vec<&SignedRecord> = records.iter().collect();
        let source = &self.facts.workload.manifest.sources[usize::from(call.source)];
        let result = aggregate::decide(source, 4, &refs).unwrap_or(OracleResult::NoConsensus);
        let mut times: Vec<Time> = records.iter().map(|record| record.time).collect();
        times.sort_unstable();
        let middle = times.len().saturating_sub(1) / 2;
        let time = times.get(middle).copied().unwrap_or(before).max(before);
        let records = List::new(records).unwrap();
        let commit = Commit { retry, records, result, time };
        let intent = (kind == RequestKind::Write).then(|| {
            let ballot = Ballot {
                chain: self.facts.chain,
                committee: self.facts.committee,
                request: self.request(step, 0),
                phase: Phase::Intent,
                root: call.input_hash(),
            };
            let votes: Vec<_> =
                self.members.iter().map(|one| ballot.sign(one, &mut self.rng)).collect();
            Prepared::assemble(&ballot, &self.facts.members, &votes).unwrap()
        });
        let subject = Digest::from(*request.as_bytes());
        let certificate = self.certificate(kind.attested_as(), subject, commit.root(&request));
        Decision { retry, commit, certificate, intent }
    }

    /// What the committee makes of the request at a step: a median in the second attempt, a message
    /// by its writer, no agreement at all in the end.
    fn answer(
        &mut self,
        step: u32,
        kind: RequestKind,
        call: &OracleCall,
        before: Time,
    ) -> Decision {
        let later = |seconds: u64| CREATED + Span::from_secs(seconds);
        match step {
            1 => {
                let records = (0..3).map(|member| {
                    let seen = ["3.5", "\"1\"", "2.50"][member];
                    self.record(member, (1, 1), later(member as u64), seen.as_bytes())
                });
                let records = records.collect();
                self.decision((1, 1), (kind, call), records, before)
            }
            3 => {
                let nodes = self.facts.members.iter().map(|(node, _)| *node);
                let order = leaders(&self.facts.randomness, &self.request(3, 0), nodes);
                let is_writer = |(node, _): &(NodeId, DsaPublicKey)| *node == order[0];
                let writer = self.facts.members.iter().position(is_writer).unwrap();
                let receipt = Receipt {
                    session: self.facts.session,
                    step: 3,
                    message_hash: sha256(b"hello").into(),
                    sender: *order[0].as_bytes(),
                    receiver: [9; 32],
                    time: later(7),
                };
                let signed =
                    receipt.sign(self.facts.chain, 5, &self.members[writer], &mut self.rng);
                let record = self.record(writer, (3, 0), later(8), &signed.to_bytes());
                self.decision((3, 0), (kind, call), vec![record], before)
            }
            _ => self.decision((step, 3), (kind, call), Vec::new(), before),
        }
    }

    /// Runs the session as its members do.
    fn bundle(&mut self) -> Bundle {
        let mut runner = Runner::new(1);
        let mut job = Job {
            facts: Arc::clone(&self.facts),
            segment: 0,
            state: Arc::new(State::new()),
            began: CREATED,
            first_step: 0,
            answers: Arc::default(),
        };
        let (mut steps, mut receipts) = (Vec::new(), Vec::new());
        let mut clock = CREATED;
        let outcome = loop {
            let index = steps.len() as u32;
            let ran = runner.run(&job);
            steps.push(ShownStep { leaf: ran.leaf(&job, index), decision: None });
            receipts.extend(ran.emitted.iter().map(|sent| Receipt {
                session: self.facts.session,
                step: index,
                message_hash: sent.message_hash,
                sender: *self.facts.service.as_bytes(),
                receiver: sent.receiver,
                time: clock,
            }));
            match ran.stop {
                Stop::Asks { kind, call } => {
                    let decision = self.answer(index + 1, kind, &call, clock);
                    clock = decision.commit.time;
                    let result = decision.commit.result.clone();
                    let signed =
                        session_protocol::workload::SignedReceipt::decode_exact(match &result {
                            OracleResult::Value { bytes } => bytes,
                            _ => &[],
                        });
                    receipts.extend(signed.ok().map(|signed| signed.receipt));
                    let leaf = decision.leaf(index + 1, kind, call.input_hash());
                    steps.push(ShownStep { leaf, decision: Some(Box::new(decision)) });
                    Arc::make_mut(&mut job.answers).push(Answer { result, time: clock });
                }
                Stop::Checkpoint { state } => {
                    job.segment += 1;
                    job.state = state;
                    job.began = clock;
                    job.first_step = steps.len() as u32;
                    job.answers = Arc::default();
                }
                Stop::Finished { output } => {
                    let leaves: Vec<_> = steps.iter().map(|step| step.leaf).collect();
                    break Outcome::Finished {
                        output: Blob::new(output).unwrap(),
                        oracle_root: oracle_root(&leaves),
                        receipts_root: receipts_root(&receipts),
                    };
                }
                Stop::Failed { reason } => {
                    break Outcome::Failed { reason: Text::new(reason).unwrap() };
                }
            }
        };
        self.close(steps, receipts, outcome)
    }

    fn close(&mut self, steps: Vec<ShownStep>, receipts: Vec<Receipt>, outcome: Outcome) -> Bundle {
        let facts = Arc::clone(&self.facts);
        let subject = Digest::from(*facts.session.as_bytes());
        let certificate = self.certificate(Kind::SessionComplete, subject, outcome.root());
        let member =
            |(node, key): &(NodeId, DsaPublicKey)| Member { node: *node, key: key.clone() };
        Bundle {
            version: 1,
            chain: facts.chain,
            session: facts.session,
            service: facts.service,
            epoch: facts.epoch,
            tx: facts.tx,
            randomness: facts.randomness,
            created: facts.created,
            deadline: facts.deadline,
            members: List::new(facts.members.iter().map(member).collect::<Vec<_>>()).unwrap(),
            workload: facts.workload.clone(),
            module: Blob::new(&*facts.module).unwrap(),
            input: Blob::new(&*facts.input).unwrap(),
            steps: List::new(steps).unwrap(),
            receipts: List::new(receipts).unwrap(),
            outcome,
            certificate,
            anchor: Blob::default(),
        }
    }
}

static BUNDLE: LazyLock<Bundle> = LazyLock::new(|| World::new(b"go").bundle());

fn known() -> Known {
    let facts = World::new(b"go").facts;
    Known {
        chain: facts.chain,
        service: facts.service,
        epoch: facts.epoch,
        tx: facts.tx,
        program: blob_id(&facts.workload.to_bytes()),
        input: blob_id(&facts.input),
        created: facts.created,
        deadline: facts.deadline,
        randomness: facts.randomness,
        members: facts.members.to_vec(),
        shown_by: "a test".to_owned(),
    }
}

fn check(bundle: &Bundle, known: Option<&Known>) -> Result<Verdict, super::BadBundle> {
    verify(bundle, &Ground { verifier: &FakeVerifier, workers: &Inline, known })
}

fn altered(change: impl FnOnce(&mut Bundle)) -> super::BadBundle {
    let mut bundle = BUNDLE.clone();
    change(&mut bundle);
    check(&bundle, None).expect_err("it was altered")
}

/// Alters one step, and what was decided in it.
fn altered_step(index: usize, change: impl FnOnce(&mut ShownStep)) -> Wrong {
    let bad = altered(|bundle| {
        let mut steps = bundle.steps.to_vec();
        change(&mut steps[index]);
        bundle.steps = List::new(steps).unwrap();
    });
    assert_eq!(bad.step, Some(index as u32), "{bad}");
    assert!(bad.to_string().starts_with(&format!("step {index}: ")), "{bad}");
    bad.wrong
}

fn altered_decision(index: usize, change: impl FnOnce(&mut Decision)) -> Wrong {
    altered_step(index, |step| change(step.decision.as_mut().unwrap()))
}

fn altered_records(index: usize, change: impl FnOnce(&mut Vec<SignedRecord>)) -> Wrong {
    altered_decision(index, |decision| {
        let mut records = decision.commit.records.to_vec();
        change(&mut records);
        decision.commit.records = List::new(records).unwrap();
    })
}

#[test]
fn a_session_is_proven_with_all_its_steps() {
    let verdict = check(&BUNDLE, None).unwrap();
    assert_eq!((verdict.steps, verdict.requests, verdict.records), (8, 3, 4));
    assert_eq!(verdict.retries, 1 + 3);
    assert_eq!(verdict.logs, ["2.5"]);
    let Outcome::Finished { output, .. } = &verdict.outcome else { panic!("it ended well") };
    assert_eq!((output[0], &output[1..]), (1, &b"no consensus"[..]));
    let signed: Vec<Option<bool>> = verdict.receipts.iter().map(|(_, signed)| *signed).collect();
    assert_eq!(signed, [None, Some(true)]);
    // 4 records, a receipt, three decisions, an intent and the end with three signatures each.
    assert_eq!(verdict.signatures, 4 + 1 + 5 * 3);
    assert!(verdict.trusted[0].starts_with("the bundle itself"), "{:?}", verdict.trusted);
    assert!(verdict.trusted[1].contains("at most 1 of its 4 members lie"));
    assert!(verdict.checked[0].contains("8 steps"), "{:?}", verdict.checked);
    let verdict = check(&BUNDLE, Some(&known())).unwrap();
    assert!(verdict.trusted[0].contains("shown by a test"), "{:?}", verdict.trusted);
}

#[test]
fn a_session_that_failed_is_proven_alike() {
    let bundle = World::new(b"fail").bundle();
    let verdict = check(&bundle, None).unwrap();
    assert_eq!(verdict.outcome, Outcome::Failed { reason: Text::new("aborted: fail").unwrap() });
    let mut altered = bundle.clone();
    altered.outcome = Outcome::Failed { reason: Text::new("aborted: FAIL").unwrap() };
    let bad = check(&altered, None).unwrap_err();
    assert!(bad.to_string().contains("the reason is aborted: FAIL"), "{bad}");
    altered.outcome = BUNDLE.outcome.clone();
    assert_eq!(
        check(&altered, None).unwrap_err().to_string(),
        "the program failed, but the bundle has an output"
    );
}

#[test]
fn decisions_are_listed_with_their_steps() {
    let steps: Vec<u32> = BUNDLE.decisions().map(|(step, _)| step).collect();
    assert_eq!(steps, [1, 3, 6]);
}

#[test]
fn what_is_wrong_is_named_with_its_step() {
    let zeros = Digest::default();
    let hash = altered_step(0, |step| step.leaf.output_hash = zeros);
    assert!(matches!(hash, Wrong::Differs { what: "its output hash", .. }));
    let hash = altered_step(4, |step| step.leaf.input_hash = zeros);
    assert!(matches!(hash, Wrong::Differs { what: "its input hash", .. }));
    let hash = altered_step(3, |step| step.leaf.commit_root = zeros);
    assert!(matches!(hash, Wrong::Differs { what: "its commit root", .. }));
    assert!(matches!(altered_step(1, |step| step.decision = None), Wrong::Course { .. }));
    let decided = BUNDLE.steps[1].decision.clone();
    assert!(matches!(altered_step(2, |step| step.decision = decided), Wrong::Course { .. }));

    let value = Observation::Value { bytes: Blob::new(*b"9").unwrap() };
    let lie = altered_records(1, |records| records[1].observation = value.clone());
    assert_eq!(lie, Wrong::Record { submitter: decision(1).commit.records[1].submitter });
    let late = altered_records(1, |records| records[2].time = Time::ZERO);
    assert!(matches!(late, Wrong::Record { .. }));
    let few = altered_records(1, |records| records.truncate(2));
    assert_eq!(few, Wrong::Result);
    let order = altered_records(1, |records| records.swap(0, 1));
    assert_eq!(order, Wrong::Commit("the records are out of order"));
    let twice = altered_records(1, |records| records[1] = records[0].clone());
    assert_eq!(twice, Wrong::Commit("two records of one member"));
    let stranger = altered_records(1, |records| records[0].submitter = [8; 32].into());
    assert_eq!(stranger, Wrong::Commit("a record of a stranger"));

    let result = OracleResult::Value { bytes: Blob::new(*b"9").unwrap() };
    let other = altered_decision(1, |decision| decision.commit.result = result.clone());
    assert_eq!(other, Wrong::Result);
    let time = altered_decision(1, |decision| decision.commit.time = CREATED);
    assert!(matches!(time, Wrong::Differs { what: "the agreed time", .. }));
    let retry = altered_decision(1, |decision| decision.retry = 2);
    assert!(matches!(retry, Wrong::Certificate(_)));
    let retry = altered_decision(1, |decision| decision.retry = 0);
    assert!(matches!(retry, Wrong::Commit(_)));
    let of_another = decision(3).certificate.clone();
    let certificate = altered_decision(1, |decision| decision.certificate = of_another);
    assert!(matches!(certificate, Wrong::Certificate(_)));
}

#[test]
fn writes_need_an_intent_and_their_writer() {
    let none = altered_decision(3, |decision| decision.intent = None);
    assert_eq!(none, Wrong::Commit("a write without an intent"));
    let intent = decision(3).intent.clone();
    let read = altered_decision(1, |decision| decision.intent = intent);
    assert_eq!(read, Wrong::Commit("a read needs no intent"));
    let other = altered_decision(3, |decision| {
        decision.intent.as_mut().unwrap().ballot.root = Digest::default();
    });
    assert!(matches!(other, Wrong::Intent(_)));
    let empty = altered_records(3, Vec::clear);
    assert!(matches!(empty, Wrong::Commit(_)));

    let mut world = World::new(b"go");
    let writer = decision(3).commit.records[0].clone();
    let other = (0..4).find(|one| world.facts.members[*one].0 != writer.submitter).unwrap();
    let Observation::Value { bytes } = &writer.observation else { panic!("it was written") };
    let record = world.record(other, (3, 0), writer.time, bytes);
    let not_the_writer = altered_records(3, |records| records[0] = record);
    assert_eq!(not_the_writer, Wrong::Commit("the record is not the writer's"));
}

#[test]
fn giving_up_needs_attempts() {
    let early = altered_decision(6, |decision| decision.commit.retry = 2);
    assert!(matches!(early, Wrong::Commit(_)));
    let made_up = OracleResult::Value { bytes: Blob::default() };
    let other = altered_decision(6, |decision| decision.commit.result = made_up);
    assert_eq!(other, Wrong::Result);
    let time = altered_decision(6, |decision| decision.commit.time = CREATED);
    assert!(matches!(time, Wrong::Differs { what: "the agreed time", .. }));
}

#[test]
fn the_end_must_follow_from_the_steps() {
    let cut = altered(|bundle| {
        bundle.steps = List::new(&bundle.steps[..7]).unwrap();
    });
    assert_eq!((cut.step, matches!(cut.wrong, Wrong::Course { .. })), (Some(7), true));
    let more = altered(|bundle| {
        let mut steps = bundle.steps.to_vec();
        steps.push(steps[0].clone());
        bundle.steps = List::new(steps).unwrap();
    });
    assert_eq!(more.to_string(), "the program ended, but the bundle has further steps");
    let outcome = |change: fn(&mut Outcome)| altered(|bundle| change(&mut bundle.outcome));
    let roots = outcome(|outcome| {
        let Outcome::Finished { oracle_root, .. } = outcome else { panic!("it ended well") };
        *oracle_root = Digest::default();
    });
    assert!(roots.to_string().starts_with("the oracle root is"), "{roots}");
    let output = outcome(|outcome| {
        let Outcome::Finished { output, .. } = outcome else { panic!("it ended well") };
        *output = Blob::default();
    });
    assert!(output.to_string().starts_with("the output's hash is"), "{output}");
    let failed = outcome(|outcome| *outcome = Outcome::Failed { reason: Text::default() });
    assert_eq!(failed.to_string(), "the program ended well, but the bundle has a failure");
    let receipts = altered(|bundle| bundle.receipts = List::new([]).unwrap());
    assert_eq!(receipts.to_string(), "the number of receipts is 0, the steps make it 2");
}

#[test]
fn what_the_chain_shows_must_be_what_the_bundle_says() {
    type Change = fn(&mut Known);
    let changes: [(&str, Change); 9] = [
        ("the chain ", |known| known.chain = [0; 32].into()),
        ("the program ", |known| known.program = Digest::default()),
        ("the input ", |known| known.input = Digest::default()),
        ("the time of creation ", |known| known.created = Time::ZERO),
        ("the deadline ", |known| known.deadline = Time::ZERO),
        ("the randomness ", |known| known.randomness = Digest::default()),
        ("the number of members ", |known| known.members.truncate(3)),
        ("member 0 of the committee ", |known| known.members.swap(0, 1)),
        ("the epoch ", |known| known.epoch = Epoch(5)),
    ];
    for (expected, change) in changes {
        let mut known = known();
        change(&mut known);
        let bad = check(&BUNDLE, Some(&known)).unwrap_err();
        assert!(bad.step.is_none() && bad.to_string().starts_with(expected), "{bad}");
    }
}

fn decision(index: usize) -> &'static Decision {
    BUNDLE.steps[index].decision.as_ref().unwrap()
}

#[test]
fn bundles_survive_their_encoding() {
    let mut small = BUNDLE.clone();
    small.steps = List::new(&small.steps[..1]).unwrap();
    small.members = List::new([]).unwrap();
    small.certificate.signatures = List::new([]).unwrap();
    check_round_trip(&small);
    assert_eq!(Bundle::decode_exact(&BUNDLE.to_bytes()).as_ref(), Ok(&*BUNDLE));
}

/// Where a signature or a key is: long, and the same all over.
fn uniform(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut all: Vec<Vec<u8>> = BUNDLE.members.iter().map(|one| one.key.to_bytes()).collect();
    let mut add = |signature: &session_crypto::Signature| all.push(signature.to_bytes());
    BUNDLE.certificate.signatures.iter().for_each(&mut add);
    for (_, decision) in BUNDLE.decisions() {
        decision.certificate.signatures.iter().for_each(&mut add);
        decision.commit.records.iter().for_each(|record| add(&record.signature));
        decision.intent.iter().flat_map(|intent| &intent.signatures).for_each(&mut add);
    }
    for one in all {
        let place = bytes.windows(64).position(|window| *window == one[..64]).unwrap();
        found.push(place..place + one.len());
    }
    found
}

/// One altered byte is refused, wherever it is. Of a signature or a key a byte in 331 is altered.
#[test]
fn one_altered_byte_is_refused_wherever_it_is() {
    let known = known();
    let bytes = BUNDLE.to_bytes();
    let uniform = uniform(&bytes);
    assert_eq!(uniform.len(), 4 + 4 + 5 * quorum(4).unwrap());
    let (mut tried, mut not_read) = (0, 0);
    let mut place = 0;
    while place < bytes.len() {
        let mut altered = bytes.clone();
        altered[place] ^= 1 << (place % 8);
        match Bundle::decode_exact(&altered) {
            Ok(bundle) => {
                let verdict = check(&bundle, Some(&known));
                assert!(verdict.is_err(), "byte {place} of {} may be altered", bytes.len());
            }
            Err(_) => not_read += 1,
        }
        tried += 1;
        let end = uniform.iter().find(|one| one.contains(&place)).map(|one| one.end);
        place = end.map_or(place + 1, |end| if place + 331 < end { place + 331 } else { end });
    }
    assert!(tried > 2000 && not_read > 100, "{tried} tried, {not_read} not read");
}

#[test]
fn the_text_says_what_the_bytes_say() {
    let text = to_json(&BUNDLE);
    assert_eq!(from_json(&text).as_ref(), Ok(&*BUNDLE));
    let parsed: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(parsed["format"], "lux-session-bundle");
    assert_eq!(parsed["session"], BUNDLE.session.to_string());
    assert_eq!(parsed["steps"].as_array().unwrap().len(), 8);
    assert_eq!(parsed["steps"][1]["result"]["value"]["text"], "2.5");
    assert_eq!(parsed["steps"][1]["records"].as_array().unwrap().len(), 3);
    assert_eq!(parsed["steps"][6]["result"]["failed"], "no consensus");
    assert_eq!(parsed["receipts"].as_array().unwrap().len(), 2);
    assert_eq!(parsed["input"]["text"], "go");
}

/// One altered character is refused, in what is read by people and in the bytes.
#[test]
fn one_altered_character_is_refused() {
    let text = to_json(&BUNDLE);
    let bytes_at = text.find("\"bytes\"").unwrap();
    let places = (0..bytes_at + 20).step_by(3).chain((bytes_at..text.len()).step_by(4999));
    let mut named = 0;
    for place in places {
        let mut altered = text.clone().into_bytes();
        altered[place] ^= 1;
        let Ok(altered) = String::from_utf8(altered) else { continue };
        let refused = from_json(&altered).and_then(|bundle| {
            let bad = |_| BadText::Hex;
            check(&bundle, Some(&known())).map_err(bad).map(drop)
        });
        named += usize::from(matches!(refused, Err(BadText::Altered { .. })));
        assert!(refused.is_err(), "character {place}: {:?}", &altered[place..place + 1]);
    }
    assert!(named > 1000, "{named} were named by their line");
    for end in ["", "{}", "{\n  \"bytes\": \"\"\n}\n", &text[..text.len() - 1]] {
        assert!(from_json(end).is_err());
    }
    assert!(from_json(&format!("{text} ")).is_err());
}

#[test]
fn an_altered_line_is_named() {
    let text = to_json(&BUNDLE).replacen("\"epoch\": 4", "\"epoch\": 5", 1);
    let Err(BadText::Altered { line, expected }) = from_json(&text) else { panic!("altered") };
    assert_eq!((line, expected.as_str()), (7, "  \"epoch\": 4,"));
}
