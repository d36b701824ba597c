//! One honest member among puppets: what it takes, and what it refuses.

use session_core::committee::MEMBERS_MAX;
use session_core::{Blob, Digest, Inline, List, NodeId, SeededEntropy, Span, Time};
use session_crypto::fake::FakeVerifier;
use session_protocol::attestation::QuorumCertificate;
use session_protocol::workload::message::Decision;
use session_protocol::workload::oracle::{Commit, Observation, RecordHead, SignedRecord};
use session_protocol::workload::round::{
    Advance, Ballot, Lock, LockedTo, Phase, Prepared, Proposal,
};

use super::super::{Cx, LEADER_SPAN, Round, RoundEffect, RoundEntry, RoundInput, Scene};
use super::world::{Asks, BEGAN, Plan, World};

const NOW: Time = Time::from_millis(BEGAN.as_millis() + 1000);

struct Stage {
    scenes: Vec<Scene>,
    rng: SeededEntropy,
    me: usize,
    round: Round,
    journal: Vec<RoundEntry>,
}

impl Stage {
    /// Sets up a committee of four in which the member that is tested leads neither of the first two
    /// attempts, nor those after the last.
    fn new(asks: Asks) -> Self {
        let scenes = World::new(Plan::new(1, 4, asks)).scenes();
        let leads = |scene: &Scene| [0, 1, 4].into_iter().any(|retry| scene.leads(retry));
        let me = scenes.iter().position(|scene| !leads(scene)).expect("three lead at most");
        let round = Round::new(scenes[me].clone());
        let mut stage = Self { scenes, rng: SeededEntropy::new(9), me, round, journal: Vec::new() };
        stage.step(|round, cx| round.start(cx));
        stage
    }

    fn step(&mut self, act: impl FnOnce(&mut Round, &mut Cx<'_>)) -> Vec<RoundEffect> {
        let mut out = Vec::new();
        act(&mut self.round, &mut Cx { now: NOW, rng: &mut self.rng, out: &mut out });
        self.journal.extend(out.iter().filter_map(|effect| match effect {
            RoundEffect::Journal(entry) => Some(entry.clone()),
            _ => None,
        }));
        out
    }

    fn hears(&mut self, input: RoundInput) -> Vec<RoundEffect> {
        self.step(|round, cx| round.handle(cx, input))
    }

    fn scene(&self) -> &Scene {
        &self.scenes[self.me]
    }

    fn puppets(&self) -> Vec<usize> {
        (0..4).filter(|member| *member != self.me).collect()
    }

    fn leader(&self, retry: u32) -> usize {
        self.scenes.iter().position(|scene| scene.leads(retry)).expect("somebody leads")
    }

    fn record(&mut self, of: usize, retry: u32, text: &str) -> SignedRecord {
        let observation = Observation::Value { bytes: Blob::new(text.as_bytes()).expect("short") };
        let scene = &self.scenes[of];
        let head = RecordHead {
            chain: scene.facts.chain,
            committee: scene.facts.committee,
            request: scene.request(retry),
            submitter: scene.me,
            data_hash: observation.data_hash(),
            pin: None,
            time: BEGAN + Span::from_millis(10 + of as u64),
        };
        SignedRecord::sign(head, observation, &*scene.keys, &mut self.rng)
    }

    fn in_order(
        &self,
        retry: u32,
        mut records: Vec<SignedRecord>,
    ) -> List<SignedRecord, MEMBERS_MAX> {
        let request = self.scene().request(retry);
        records.sort_by_key(|record| record.id(&request));
        List::new(records).expect("few")
    }

    fn commit_of(&self, retry: u32, records: Vec<SignedRecord>) -> Commit {
        let result = self.scene().decide(&records).expect("they agree");
        let time = self.scene().agreed_time(&records);
        Commit { retry, records: self.in_order(retry, records), result, time }
    }

    /// Returns a commit that holds, by the puppets or their leader.
    fn commit(&mut self, retry: u32, text: &str) -> Commit {
        let of = if self.scene().writes() { vec![self.leader(retry)] } else { self.puppets() };
        let records = of.into_iter().map(|of| self.record(of, retry, text)).collect();
        self.commit_of(retry, records)
    }

    fn given_up(&self, retry: u32) -> Commit {
        let records = List::new([]).expect("none");
        Commit { retry, records, result: self.scene().given_up(), time: BEGAN }
    }

    fn signed_by(&mut self, ballot: &Ballot, of: &[usize]) -> Prepared {
        let votes: Vec<_> =
            of.iter().map(|of| ballot.sign(&*self.scenes[*of].keys, &mut self.rng)).collect();
        Prepared::assemble(ballot, self.scene().members(), &votes).expect("a quorum")
    }

    fn prepared(&mut self, retry: u32, commit: &Commit) -> Prepared {
        let ballot = self.scene().ballot(retry, Phase::Prepare, self.scene().root(commit));
        let puppets = self.puppets();
        self.signed_by(&ballot, &puppets)
    }

    fn intent(&mut self) -> Option<Prepared> {
        let (ballot, puppets) = (self.scene().intent(), self.puppets());
        self.scene().writes().then(|| self.signed_by(&ballot, &puppets))
    }

    fn locked_to(&self, retry: u32, commit: &Commit) -> LockedTo {
        LockedTo { retry, root: self.scene().root(commit) }
    }

    fn advance(&mut self, of: usize, retry: u32, locked: Option<LockedTo>) -> Advance {
        let head = self.scene().advance_head(retry, locked);
        head.sign(&*self.scenes[of].keys, &mut self.rng)
    }

    /// Returns a proposal for which everything is there; of the three that move on to it, one is
    /// locked to the lock.
    fn proposal(&mut self, retry: u32, commit: Commit, lock: Option<(u32, &Commit)>) -> Proposal {
        let puppets = if retry == 0 { Vec::new() } else { self.puppets() };
        let mut advances = Vec::new();
        for (place, of) in puppets.into_iter().enumerate() {
            let locked = lock.filter(|_| place == 1);
            let locked = locked.map(|(retry, commit)| self.locked_to(retry, commit));
            advances.push(self.advance(of, retry, locked));
        }
        Proposal {
            session: self.scene().facts.session,
            step: self.scene().step,
            retry,
            commit,
            advances: List::new(advances).expect("few"),
            lock: lock.map(|(retry, commit)| self.prepared(retry, commit)),
            intent: self.intent(),
        }
    }

    fn proposed(&mut self, proposal: Proposal) -> Vec<RoundEffect> {
        let from = self.scenes[self.leader(proposal.retry)].me;
        self.hears(RoundInput::Proposal { from, proposal: Box::new(proposal) })
    }
}

fn prepares(effects: &[RoundEffect]) -> Vec<Digest> {
    let vote = |effect: &RoundEffect| match effect {
        RoundEffect::Journal(RoundEntry::Prepared { vote, .. }) => Some(vote.ballot.root),
        _ => None,
    };
    effects.iter().filter_map(vote).collect()
}

fn attests(effects: &[RoundEffect]) -> bool {
    let attested =
        |it: &RoundEffect| matches!(it, RoundEffect::Journal(RoundEntry::Attested { .. }));
    effects.iter().any(attested)
}

fn blamed(effects: &[RoundEffect]) -> Vec<&'static str> {
    let why = |effect: &RoundEffect| match effect {
        RoundEffect::Misbehaved { why, .. } => Some(*why),
        _ => None,
    };
    effects.iter().filter_map(why).collect()
}

/// Asserts that a proposal made by `make` is refused for a reason, with no vote.
#[track_caller]
fn refuses(asks: Asks, why: &str, make: impl FnOnce(&mut Stage) -> Proposal) {
    let mut stage = Stage::new(asks);
    let proposal = make(&mut stage);
    let effects = stage.proposed(proposal);
    assert_eq!((prepares(&effects), blamed(&effects)), (vec![], vec![why]));
}

/// Asserts that one is taken.
#[track_caller]
fn takes(asks: Asks, make: impl FnOnce(&mut Stage) -> Proposal) {
    let mut stage = Stage::new(asks);
    let proposal = make(&mut stage);
    let root = stage.scene().root(&proposal.commit);
    assert_eq!(prepares(&stage.proposed(proposal)), [root]);
}

#[test]
fn what_does_not_follow_from_its_records_is_refused() {
    takes(Asks::Read, |stage| {
        let commit = stage.commit(0, "a");
        stage.proposal(0, commit, None)
    });
    let altered = |why: &'static str, alter: fn(&mut Stage, &mut Commit)| {
        refuses(Asks::Read, why, |stage| {
            let mut commit = stage.commit(0, "a");
            alter(stage, &mut commit);
            stage.proposal(0, commit, None)
        });
    };
    altered("a commit whose result does not follow from its records", |stage, commit| {
        commit.result = stage.scene().given_up();
    });
    altered("a commit whose time does not follow from its records", |_, commit| {
        commit.time = commit.time + Span::from_millis(1);
    });
    altered("a commit with records out of order", |_, commit| {
        let reversed: Vec<_> = commit.records.iter().rev().cloned().collect();
        commit.records = List::new(reversed).expect("as many");
    });
    altered("a commit with records of strangers, or with two of one member", |stage, commit| {
        let mut records: Vec<_> = commit.records.iter().cloned().collect();
        let puppet = stage.puppets()[0];
        records.push(stage.record(puppet, 0, "b"));
        commit.records = stage.in_order(0, records);
    });
    altered("a commit with records of strangers, or with two of one member", |stage, commit| {
        let mut records: Vec<_> = commit.records.iter().cloned().collect();
        records[0].submitter = NodeId::default();
        commit.records = stage.in_order(0, records);
    });
    altered("a commit with records of different blocks", |_, commit| {
        let mut records: Vec<_> = commit.records.iter().cloned().collect();
        records[1].pin = Some(session_protocol::workload::oracle::Pin { number: 1, hash: [0; 32] });
        commit.records = List::new(records).expect("as many");
    });
    altered("a commit without records", |stage, commit| *commit = stage.given_up(0));
}

#[test]
fn only_the_leader_proposes_and_once() {
    let mut stage = Stage::new(Asks::Read);
    let (one, other) = (stage.commit(0, "a"), stage.commit(0, "b"));
    let [one, other] = [one, other].map(|commit| stage.proposal(0, commit, None));
    let leader = stage.leader(0);
    let from = stage.puppets().into_iter().find(|it| *it != leader).expect("two more");
    let from = stage.scenes[from].me;
    let proposal = Box::new(one.clone());
    let effects = stage.hears(RoundInput::Proposal { from, proposal });
    assert_eq!(blamed(&effects), ["a proposal of a member that does not lead"]);
    assert_eq!(prepares(&stage.proposed(one)).len(), 1);
    let effects = stage.proposed(other.clone());
    assert_eq!((prepares(&effects), blamed(&effects)), (vec![], vec!["proposes two commits"]));
    // Nor after a crash.
    let (scene, journal) = (stage.scene().clone(), stage.journal.clone());
    stage.round = Round::restore(scene, journal);
    stage.step(|round, cx| round.start(cx));
    let effects = stage.proposed(other);
    assert_eq!((prepares(&effects), blamed(&effects)), (vec![], vec!["proposes two commits"]));
}

#[test]
fn a_lock_is_never_passed_over() {
    // The latest lock is taken over, whoever proposes it.
    takes(Asks::Read, |stage| {
        let locked = stage.commit(0, "a");
        stage.proposal(1, locked.clone(), Some((0, &locked)))
    });
    takes(Asks::Read, |stage| {
        let fresh = stage.commit(1, "b");
        stage.proposal(1, fresh, None)
    });
    refuses(Asks::Read, "a proposal that passes over a lock", |stage| {
        let (locked, fresh) = (stage.commit(0, "a"), stage.commit(1, "b"));
        stage.proposal(1, fresh, Some((0, &locked)))
    });
    refuses(Asks::Read, "a proposal that passes over a lock", |stage| {
        let (locked, given_up) = (stage.commit(0, "a"), stage.given_up(4));
        stage.proposal(4, given_up, Some((0, &locked)))
    });
    takes(Asks::Read, |stage| {
        let given_up = stage.given_up(4);
        stage.proposal(4, given_up, None)
    });
    refuses(Asks::Read, "a proposal without the lock that it names", |stage| {
        let locked = stage.commit(0, "a");
        let proposal = stage.proposal(1, locked.clone(), Some((0, &locked)));
        Proposal { lock: None, ..proposal }
    });
    refuses(Asks::Read, "a lock that no quorum prepared", |stage| {
        let locked = stage.commit(0, "a");
        let mut proposal = stage.proposal(1, locked.clone(), Some((0, &locked)));
        let lock = proposal.lock.as_mut().expect("there is one");
        let mut signatures: Vec<_> = lock.signatures.iter().cloned().collect();
        signatures[2] = signatures[1].clone();
        lock.signatures = List::new(signatures).expect("as many");
        proposal
    });
    refuses(Asks::Read, "a proposal of an earlier attempt's", |stage| {
        let earlier = stage.commit(0, "a");
        stage.proposal(1, earlier, None)
    });
    refuses(Asks::Read, "a commit without records", |stage| {
        let given_up = stage.given_up(1);
        stage.proposal(1, given_up, None)
    });
}

#[test]
fn no_attempt_begins_without_a_quorum() {
    let altered = |why: &'static str, alter: fn(&mut Stage, &mut Vec<Advance>)| {
        refuses(Asks::Read, why, |stage| {
            let commit = stage.commit(1, "a");
            let mut proposal = stage.proposal(1, commit, None);
            let mut advances: Vec<_> = proposal.advances.iter().cloned().collect();
            alter(stage, &mut advances);
            proposal.advances = List::new(advances).expect("few");
            proposal
        });
    };
    let few = "an attempt to which no quorum moved on";
    altered(few, |_, advances| advances.truncate(2));
    altered(few, |_, advances| advances[0] = advances[1].clone());
    altered("an advance to another attempt", |stage, advances| {
        let of = stage.puppets()[0];
        advances[0] = stage.advance(of, 2, None);
    });
    altered("an advance locked to what comes after it", |stage, advances| {
        let of = stage.puppets()[0];
        let locked = LockedTo { retry: 1, root: Digest::default() };
        advances[0] = stage.advance(of, 1, Some(locked));
    });
}

#[test]
fn nothing_is_written_that_no_quorum_wants() {
    takes(Asks::Write, |stage| {
        let commit = stage.commit(0, "a");
        stage.proposal(0, commit, None)
    });
    refuses(Asks::Write, "a write that no quorum wants", |stage| {
        let commit = stage.commit(0, "a");
        Proposal { intent: None, ..stage.proposal(0, commit, None) }
    });
    refuses(Asks::Write, "a write that no quorum wants", |stage| {
        let commit = stage.commit(0, "a");
        let other = stage.scene().ballot(0, Phase::Intent, Digest::default());
        let puppets = stage.puppets();
        let intent = Some(stage.signed_by(&other, &puppets));
        Proposal { intent, ..stage.proposal(0, commit, None) }
    });
    refuses(Asks::Write, "a commit of a write that is not its writer's", |stage| {
        let leader = stage.leader(0);
        let other = stage.puppets().into_iter().find(|it| *it != leader).expect("two more");
        let record = stage.record(other, 0, "a");
        let commit = stage.commit_of(0, vec![record]);
        stage.proposal(0, commit, None)
    });
}

#[test]
fn a_move_is_only_counted_with_its_lock() {
    let mut stage = Stage::new(Asks::Read);
    let (locked, other) = (stage.commit(0, "a"), stage.commit(0, "b"));
    let of = stage.puppets()[0];
    let named = stage.locked_to(0, &locked);
    let prepared = stage.prepared(0, &other);
    let lies = [None, Some(Box::new(Lock { retry: 0, commit: locked.clone(), prepared }))];
    for (lock, why) in lies
        .into_iter()
        .zip(["an advance without the lock that it names", "a lock that no quorum prepared"])
    {
        let advance = stage.advance(of, 1, Some(named));
        let effects = stage.hears(RoundInput::Advance { advance, lock });
        assert_eq!(blamed(&effects), [why]);
    }
    let prepared = stage.prepared(0, &locked);
    let mut lock = Box::new(Lock { retry: 0, commit: locked, prepared });
    // Its root does not bind the signatures of its records.
    let mut records: Vec<_> = lock.commit.records.iter().cloned().collect();
    records[0].signature = records[1].signature.clone();
    let good = lock.commit.records.clone();
    lock.commit.records = List::new(records).expect("as many");
    let advance = stage.advance(of, 1, Some(named));
    let effects =
        stage.hears(RoundInput::Advance { advance: advance.clone(), lock: Some(lock.clone()) });
    assert_eq!(blamed(&effects), ["a record whose signature does not verify"]);
    lock.commit.records = good;
    let effects = stage.hears(RoundInput::Advance { advance, lock: Some(lock) });
    assert!(blamed(&effects).is_empty());
}

#[test]
fn a_leader_that_could_propose_is_not_waited_for_long() {
    let mut stage = Stage::new(Asks::Read);
    let ends = |stage: &Stage| stage.round.ends.expect("the attempt began");
    let whole = ends(&stage);
    for of in stage.puppets() {
        assert_eq!(ends(&stage), whole, "records that do not agree yet change nothing");
        let record = stage.record(of, 0, "a");
        let from = stage.scenes[of].me;
        let message = stage.scenes[of].observing(0, &record);
        let session_protocol::workload::Message::Record(of) = message else {
            unreachable!("that is how records travel")
        };
        stage.hears(RoundInput::Record { from, of });
    }
    assert_eq!(ends(&stage), NOW + LEADER_SPAN);
    assert!(ends(&stage) < whole);
    let moved = stage.step(|round, cx| {
        cx.now = NOW + LEADER_SPAN;
        round.tick(cx);
    });
    assert!(moved.iter().any(|it| matches!(it, RoundEffect::Journal(RoundEntry::Advanced { .. }))));
}

#[test]
fn a_writer_that_gives_up_is_followed_at_once() {
    let mut stage = Stage::new(Asks::Write);
    let writer = stage.leader(0);
    let other = stage.puppets().into_iter().find(|it| *it != writer).expect("three puppets");
    let moves = |effects: &[RoundEffect]| {
        effects.iter().any(|it| matches!(it, RoundEffect::Journal(RoundEntry::Advanced { .. })))
    };
    let advance = stage.advance(other, 1, None);
    let alone = stage.hears(RoundInput::Advance { advance, lock: None });
    assert!(!moves(&alone), "one member is no reason to move on");
    let mut stage = Stage::new(Asks::Write);
    let advance = stage.advance(writer, 1, None);
    let followed = stage.hears(RoundInput::Advance { advance, lock: None });
    assert!(moves(&followed));
}

#[test]
fn whoever_moved_on_has_no_vote_before() {
    for moves_on in [false, true] {
        let mut stage = Stage::new(Asks::Read);
        let commit = stage.commit(0, "a");
        let root = stage.scene().root(&commit);
        let proposal = stage.proposal(0, commit, None);
        assert_eq!(prepares(&stage.proposed(proposal)), [root]);
        if moves_on {
            for of in stage.puppets().into_iter().take(2) {
                let advance = stage.advance(of, 1, None);
                stage.hears(RoundInput::Advance { advance, lock: None });
            }
        }
        let mut attested = false;
        for of in stage.puppets() {
            let ballot = stage.scene().ballot(0, Phase::Prepare, root);
            let vote = ballot.sign(&*stage.scenes[of].keys, &mut stage.rng);
            attested |= attests(&stage.hears(RoundInput::RoundVote { retry: 0, vote }));
        }
        assert_eq!(attested, !moves_on);
    }
}

#[test]
fn a_decision_counts_only_with_all_its_proofs() {
    let mut stage = Stage::new(Asks::Write);
    let commit = stage.commit(0, "a");
    let statement = stage.scene().statement(0, stage.scene().root(&commit));
    let puppets = stage.puppets();
    let votes: Vec<_> =
        puppets.iter().map(|of| statement.sign(&*stage.scenes[*of].keys, &mut stage.rng)).collect();
    let members = stage.scene().members().to_vec();
    let certificate = QuorumCertificate::assemble(&statement, &members, &votes).expect("a quorum");
    certificate.verify(&members, &FakeVerifier, &Inline).expect("it holds");
    let intent = stage.intent();
    let good = Decision { retry: 0, commit, certificate, intent };
    let from = stage.scenes[puppets[0]].me;
    let mut refused = |why: &str, decision: Decision| {
        let effects = stage.hears(RoundInput::Decided { from, decision: Box::new(decision) });
        assert_eq!(blamed(&effects), [why]);
        assert!(stage.round.decided().is_none());
    };
    refused("a write that no quorum wants", Decision { intent: None, ..good.clone() });
    refused("a decision that no quorum attests", Decision { retry: 1, ..good.clone() });
    let mut altered = good.clone();
    let mut records: Vec<_> = altered.commit.records.iter().cloned().collect();
    records[0].signature = altered.certificate.signatures[0].clone();
    altered.commit.records = List::new(records).expect("as many");
    refused("a record whose signature does not verify", altered);
    let mut altered = good.clone();
    let twice = vec![altered.certificate.signatures[0].clone(); 3];
    altered.certificate.signatures = List::new(twice).expect("as many");
    refused("a decision that no quorum attests", altered);
    stage.hears(RoundInput::Decided { from, decision: Box::new(good.clone()) });
    assert_eq!(stage.round.decided(), Some(&good));
}
