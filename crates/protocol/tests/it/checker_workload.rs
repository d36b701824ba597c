//! What the checker believes of messages about workload sessions.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::seed_ids::{Attempt, request_id};
use session_core::{
    ChainId, Digest, Encode as _, Epoch, RequestId, SeededEntropy, SessionId, SwarmId,
};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::attestation::{Kind as Attests, Statement, committee_root};
use session_protocol::chain::view::{OpenSession, SessionCommittee};
use session_protocol::inbound::Fault;
use session_protocol::membership::{NodeRecord, StaticMembership};
use session_protocol::workload::message::{
    Decision, Message, RecordOf, SessionCreate, Talk, VoteOf,
};
use session_protocol::workload::oracle::{Commit, Observation, RecordHead, SignedRecord};
use session_protocol::workload::round::{Advance, AdvanceHead, Ballot, Phase, Proposal, RoundVote};
use session_protocol::{Checker, Frame, Inbound, Kind};

use crate::values::{blob, certificate, list, signature, text, time};
use crate::workload::{commit, session};

const STEP: u32 = 1;
const RETRY: u32 = 2;

/// The first four are the committee, the fifth is a node of the network, the sixth is nobody.
fn signer(number: u8) -> FakeIdentity {
    FakeIdentity::new(&[number; 32])
}

fn chain() -> ChainId {
    [0xc1; 32].into()
}

fn open() -> OpenSession {
    let members: Vec<_> = (1..=4)
        .map(|number| {
            let keys = signer(number).public().clone();
            (keys.node_id(), keys.dsa().clone())
        })
        .collect();
    let committee = SessionCommittee { root: committee_root(&members), members: Arc::new(members) };
    OpenSession {
        service: [5; 32].into(),
        epoch: Epoch(3),
        tx: [6; 32].into(),
        program: [7; 32].into(),
        input: [8; 32].into(),
        committee: Arc::new(committee),
        randomness: [9; 32].into(),
        created: time(1),
        deadline: time(2),
        started: None,
    }
}

fn committee() -> Digest {
    open().committee.root
}

fn request(retry: u32) -> RequestId {
    let open = open();
    request_id(&open.service, &session(), Attempt { step: STEP, retry }, &open.tx)
}

fn without_chain() -> Checker {
    let nodes = (1..=5).map(|number| NodeRecord {
        keys: signer(number).public().clone(),
        address: text(&format!("h:{number}")),
        swarm: SwarmId(0),
    });
    let network = StaticMembership::new("test", nodes).expect("five nodes");
    Checker::new(Arc::new(network), Arc::new(FakeVerifier))
}

fn checker() -> Checker {
    let checker = without_chain();
    checker.set_sessions(chain(), Arc::new(BTreeMap::from([(session(), Arc::new(open()))])));
    checker
}

fn check(message: Message) -> Result<Inbound, Fault> {
    checker().check(&Frame::encode(message.kind(), &message))
}

fn record(by: u8, retry: u32, committee: Digest) -> SignedRecord {
    let observation = Observation::Value { bytes: blob(b"seen") };
    let signer = signer(by);
    let head = RecordHead {
        chain: chain(),
        committee,
        request: request(retry),
        submitter: signer.public().node_id(),
        data_hash: observation.data_hash(),
        pin: None,
        time: time(9),
    };
    SignedRecord::sign(head, observation, &signer, &mut SeededEntropy::new(1))
}

fn record_of(session: SessionId, by: u8, committee: Digest) -> Message {
    let record = record(by, RETRY, committee);
    let request = request(RETRY);
    Message::Record(Box::new(RecordOf {
        session,
        step: STEP,
        retry: RETRY,
        committee,
        request,
        record,
    }))
}

fn vote_of(session: SessionId, by: u8, chain: ChainId, committee: Digest) -> Message {
    let subject = Digest::from(*request(RETRY).as_bytes());
    let kind = Attests::OracleRead;
    let (root, epoch) = ([1; 32].into(), Epoch(3));
    let statement = Statement { chain, committee, kind, subject, root, epoch };
    let vote = statement.sign(&signer(by), &mut SeededEntropy::new(1));
    Message::Attestation(Box::new(VoteOf { session, step: STEP, retry: RETRY, vote }))
}

fn round_vote(session: SessionId, by: u8, chain: ChainId, committee: Digest) -> Message {
    let (request, root) = (request(RETRY), [1; 32].into());
    let ballot = Ballot { chain, committee, request, phase: Phase::Prepare, root };
    let vote = ballot.sign(&signer(by), &mut SeededEntropy::new(1));
    Message::Talk(Box::new(Talk::RoundVote { session, step: STEP, retry: RETRY, vote }))
}

fn advance(session: SessionId, by: u8, chain: ChainId, committee: Digest) -> Advance {
    let head = AdvanceHead { chain, committee, session, step: STEP, retry: RETRY, locked: None };
    head.sign(&signer(by), &mut SeededEntropy::new(1))
}

fn advances(session: SessionId, by: u8, chain: ChainId, committee: Digest) -> Message {
    let advance = advance(session, by, chain, committee);
    Message::Talk(Box::new(Talk::Advance { advance, lock: None }))
}

fn proposal(records: Vec<SignedRecord>, advances: Vec<Advance>) -> Proposal {
    Proposal {
        session: session(),
        step: STEP,
        // A commit of an earlier attempt keeps its own.
        retry: RETRY + 1,
        commit: Commit { retry: RETRY, records: list(records), ..commit() },
        advances: list(advances),
        lock: None,
        intent: None,
    }
}

#[test]
fn what_members_sign_is_let_in() {
    let proposal = proposal(
        vec![record(1, RETRY, committee()), record(2, RETRY, committee())],
        vec![advance(session(), 3, chain(), committee())],
    );
    for message in [
        record_of(session(), 1, committee()),
        vote_of(session(), 2, chain(), committee()),
        round_vote(session(), 3, chain(), committee()),
        advances(session(), 4, chain(), committee()),
        Message::Commit(Box::new(proposal)),
    ] {
        match check(message.clone()) {
            Ok(Inbound::Workload(checked)) => assert_eq!(checked.into_inner(), message),
            other => panic!("{message:?}: {other:?}"),
        }
    }
}

#[test]
fn who_has_no_say_is_at_fault() {
    for by in [5, 6] {
        let stranger = Fault::Stranger(signer(by).public().node_id());
        let records = vec![record(by, RETRY, committee())];
        let of = vec![advance(session(), by, chain(), committee())];
        for message in [
            record_of(session(), by, committee()),
            vote_of(session(), by, chain(), committee()),
            round_vote(session(), by, chain(), committee()),
            advances(session(), by, chain(), committee()),
            Message::Commit(Box::new(proposal(records, vec![]))),
            Message::Commit(Box::new(proposal(vec![], of))),
        ] {
            assert_eq!(check(message), Err(stranger.clone()));
        }
    }
}

/// Replaces who says it, and leaves the signature.
#[test]
fn what_a_member_did_not_sign_is_a_fault() {
    let victim = signer(2).public().node_id();
    let forged = Err(Fault::Signature(victim));

    let Message::Record(mut of) = record_of(session(), 1, committee()) else { unreachable!() };
    of.record.submitter = victim;
    let alone = of.record.clone();
    assert_eq!(check(Message::Record(of)), forged);

    let Message::Attestation(mut of) = vote_of(session(), 1, chain(), committee()) else {
        unreachable!()
    };
    of.vote.node = victim;
    assert_eq!(check(Message::Attestation(of)), forged);

    let Message::Talk(talk) = round_vote(session(), 1, chain(), committee()) else {
        unreachable!()
    };
    let Talk::RoundVote { session: id, step, retry, vote } = *talk else { unreachable!() };
    let vote = RoundVote { node: victim, ..vote };
    let talk = Talk::RoundVote { session: id, step, retry, vote };
    assert_eq!(check(Message::Talk(Box::new(talk))), forged);

    let advance = Advance { node: victim, ..advance(session(), 1, chain(), committee()) };
    let talk = Talk::Advance { advance: advance.clone(), lock: None };
    assert_eq!(check(Message::Talk(Box::new(talk))), forged);

    let good = record(1, RETRY, committee());
    for proposal in
        [proposal(vec![good.clone(), alone], vec![]), proposal(vec![good], vec![advance])]
    {
        assert_eq!(check(Message::Commit(Box::new(proposal))), forged);
    }
}

/// Records of one attempt do not stand in for those of another.
#[test]
fn records_are_of_the_attempt_that_is_named() {
    let old = record(1, RETRY - 1, committee());
    let message = Message::Commit(Box::new(proposal(vec![old], vec![])));
    assert_eq!(check(message), Err(Fault::Signature(signer(1).public().node_id())));

    let Message::Record(mut of) = record_of(session(), 1, committee()) else { unreachable!() };
    of.retry += 1;
    assert_eq!(check(Message::Record(of)), Err(Fault::Request(request(RETRY))));
}

#[test]
fn what_is_signed_for_another_chain_is_a_fault() {
    let got = [1; 32].into();
    let other = Err(Fault::Chain { got, chain: chain() });
    for message in [
        vote_of(session(), 1, got, committee()),
        round_vote(session(), 1, got, committee()),
        advances(session(), 1, got, committee()),
        Message::Commit(Box::new(proposal(vec![], vec![advance(session(), 1, got, committee())]))),
    ] {
        assert_eq!(check(message), other);
    }
    let elsewhere = advance([1; 32].into(), 1, chain(), committee());
    let message = Message::Commit(Box::new(proposal(vec![], vec![elsewhere])));
    assert_eq!(check(message), Err(Fault::Chain { got: chain(), chain: chain() }));
}

/// The keys of a member may have changed a block ago.
#[test]
fn another_committee_is_nobodys_fault() {
    let other = Digest::from([1; 32]);
    for message in [
        record_of(session(), 1, other),
        vote_of(session(), 1, chain(), other),
        round_vote(session(), 1, chain(), other),
        advances(session(), 1, chain(), other),
    ] {
        let kind = message.kind();
        assert_eq!(check(message), Ok(Inbound::NoSession(kind)));
    }
}

/// The sender may be a block ahead, and know a session that is not open here.
#[test]
fn of_a_session_that_is_not_open_the_networks_signatures_are_checked() {
    let ahead: SessionId = [2; 32].into();
    for by in [1, 5] {
        for message in [
            record_of(ahead, by, committee()),
            vote_of(ahead, by, chain(), committee()),
            round_vote(ahead, by, chain(), committee()),
            advances(ahead, by, chain(), committee()),
        ] {
            assert!(matches!(check(message), Ok(Inbound::Workload(_))));
        }
    }
    let stranger = Err(Fault::Stranger(signer(6).public().node_id()));
    assert_eq!(check(record_of(ahead, 6, committee())), stranger);
    let Message::Attestation(mut of) = vote_of(ahead, 1, chain(), committee()) else {
        unreachable!()
    };
    of.vote.signature = signature();
    assert_eq!(
        check(Message::Attestation(of)),
        Err(Fault::Signature(signer(1).public().node_id()))
    );
    // Without the session nobody can say what the records of a proposal are of.
    let proposal = Proposal { session: ahead, ..proposal(vec![], vec![]) };
    let dropped = Ok(Inbound::NoSession(Kind::OracleCommit));
    assert_eq!(check(Message::Commit(Box::new(proposal))), dropped);
}

#[test]
fn what_a_quorum_signed_is_left_to_whoever_needs_it() {
    let create =
        SessionCreate { session: session(), program: [1; 32].into(), input: [2; 32].into() };
    let decision =
        Decision { retry: 0, commit: commit(), certificate: certificate(), intent: None };
    let decided = Talk::Decided { session: session(), step: STEP, decision: Box::new(decision) };
    for message in [Message::Create(create), Message::Talk(Box::new(decided))] {
        assert!(matches!(check(message), Ok(Inbound::Workload(_))));
    }
}

#[test]
fn without_a_chain_there_are_no_sessions() {
    let message = vote_of(session(), 1, chain(), committee());
    let body = Frame::encode(Kind::Attestation, &message);
    assert_eq!(without_chain().check(&body), Ok(Inbound::NoHandler(Kind::Attestation)));
    assert!(matches!(without_chain().check_workload(message), Err(Fault::Chain { .. })));
}

#[test]
fn what_is_no_message_is_a_fault() {
    for kind in [
        Kind::SessionCreate,
        Kind::SessionStart,
        Kind::OracleRequest,
        Kind::OracleRecord,
        Kind::OracleCommit,
        Kind::Attestation,
        Kind::Session,
    ] {
        let refused = checker().check(&[1, kind.code(), 0xff]);
        assert!(matches!(refused, Err(Fault::Frame(_))), "{kind:?}: {refused:?}");
    }
    let mut trailing = Frame::encode(Kind::SessionStart, &session());
    trailing.extend(7_u8.to_bytes());
    assert!(matches!(checker().check(&trailing), Err(Fault::Frame(_))));
}
