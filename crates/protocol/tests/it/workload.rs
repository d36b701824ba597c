//! Messages about workload sessions: golden bytes, sizes, and what the checker believes.

use session_core::committee::MEMBERS_MAX;
use session_core::{Encode, RequestId, SessionId};
use session_protocol::attestation::Vote;
use session_protocol::limits::FRAME_BYTES_MAX;
use session_protocol::workload::message::{
    ANSWER_BYTES_MAX, Answer, Decision, Message, OpenRequest, Question, RecordOf, SessionCreate,
    SessionRefusal, SessionStart, Talk, VoteOf,
};
use session_protocol::workload::oracle::{
    Commit, Fault, Observation, OracleResult, Pin, SignedRecord,
};
use session_protocol::workload::round::{
    Advance, AdvanceHead, Ballot, Lock, LockedTo, Phase, Prepared, Proposal, RoundVote,
};
use session_protocol::workload::{OBSERVATION_BYTES_MAX, PART_BYTES_MAX};
use session_protocol::{Frame, Kind};

use crate::codec::{check, limit, tags};
use crate::values::{
    STATEMENT, blob, certificate, certificate_bytes, list, node, signature, statement, text, time,
};

/// `a1*32` on the wire.
pub(crate) fn session() -> SessionId {
    [0xa1; 32].into()
}

/// `a2*32` on the wire.
fn request() -> RequestId {
    [0xa2; 32].into()
}

pub(crate) fn pin() -> Pin {
    Pin { number: 7, hash: [0xa3; 32] }
}

pub(crate) fn record() -> SignedRecord {
    SignedRecord {
        submitter: node(),
        pin: Some(pin()),
        time: time(9),
        observation: Observation::Value { bytes: blob(b"v") },
        signature: signature(),
    }
}

const RECORD: &str = "
    0a*32 01 0000000000000007 a3*32 # submitter, pin
    0000000000000009                # time
    01 00000001 76                  # a value
    33*3309
";

pub(crate) fn commit() -> Commit {
    Commit {
        retry: 2,
        records: list([record()]),
        result: OracleResult::Failed { fault: Fault::Status { code: 404 } },
        time: time(10),
    }
}

fn commit_bytes() -> String {
    format!("00000002 00000001 {RECORD} 02 03 0194 000000000000000a")
}

fn ballot() -> Ballot {
    Ballot {
        chain: [0xc1; 32].into(),
        committee: [0x0d; 32].into(),
        request: request(),
        phase: Phase::Prepare,
        root: [0x0f; 32].into(),
    }
}

const BALLOT: &str = "c1*32 0d*32 a2*32 02 0f*32\n";

fn prepared() -> Prepared {
    Prepared { ballot: ballot(), signers: blob(&[1]), signatures: list([signature()]) }
}

fn prepared_bytes() -> String {
    format!("{BALLOT} 00000001 01 00000001 33*3309\n")
}

fn advance() -> Advance {
    let head = AdvanceHead {
        chain: [0xc1; 32].into(),
        committee: [0x0d; 32].into(),
        session: session(),
        step: 1,
        retry: 3,
        locked: Some(LockedTo { retry: 2, root: [0x0f; 32].into() }),
    };
    Advance { head, node: node(), signature: signature() }
}

const ADVANCE: &str = "
    c1*32 0d*32 a1*32 00000001 00000003 # chain, committee, session, step, attempt
    01 00000002 0f*32                   # locked to
    0a*32 33*3309
";

fn decision() -> Decision {
    Decision { retry: 2, commit: commit(), certificate: certificate(), intent: Some(prepared()) }
}

#[test]
fn messages_with_a_kind_of_their_own() {
    let (session, step, retry) = (session(), 1, 2);
    let create = SessionCreate { session, program: [0xb1; 32].into(), input: [0xb2; 32].into() };
    check(&create, "a1*32 b1*32 b2*32");
    check(&SessionStart { session }, "a1*32");
    let open =
        OpenRequest { session, step, retry, input_hash: [0xb3; 32].into(), pin: Some(pin()) };
    check(&open, "a1*32 00000001 00000002 b3*32 01 0000000000000007 a3*32");
    let committee = [0x0d; 32].into();
    let of = RecordOf { session, step, retry, committee, request: request(), record: record() };
    check(&of, &format!("a1*32 00000001 00000002 0d*32 a2*32 {RECORD}"));
    let proposal = Proposal {
        session,
        step,
        retry,
        commit: commit(),
        advances: list([advance()]),
        lock: Some(prepared()),
        intent: None,
    };
    let expected = format!(
        "a1*32 00000001 00000002 {} 00000001 {ADVANCE} 01 {} 00",
        commit_bytes(),
        prepared_bytes()
    );
    check(&proposal, &expected);
    let vote = Vote { statement: statement(), node: node(), signature: signature() };
    let of = VoteOf { session, step, retry, vote };
    check(&of, &format!("a1*32 00000001 00000002 {STATEMENT} 0a*32 33*3309"));
}

#[test]
fn talk() {
    let (session, step, retry) = (session(), 1, 2);
    let vote = RoundVote { ballot: ballot(), node: node(), signature: signature() };
    let lock = Lock { retry: 2, commit: commit(), prepared: prepared() };
    let decided = format!(
        "04 a1*32 00000001 00000002 {} {} 01 {}",
        commit_bytes(),
        certificate_bytes(),
        prepared_bytes()
    );
    let blob_id = [0xb1; 32].into();
    let cases = [
        (
            Talk::RoundVote { session, step, retry, vote },
            format!("01 a1*32 00000001 00000002 {BALLOT} 0a*32 33*3309"),
        ),
        (
            Talk::Advance { advance: advance(), lock: Some(Box::new(lock)) },
            format!("02 {ADVANCE} 01 00000002 {} {}", commit_bytes(), prepared_bytes()),
        ),
        (Talk::At { session, step }, "03 a1*32 00000001".to_owned()),
        (Talk::Decided { session, step, decision: Box::new(decision()) }, decided),
        (
            Talk::Ended { session, certificate: Box::new(certificate()) },
            format!("05 a1*32 {}", certificate_bytes()),
        ),
        (Talk::Want { blob: blob_id, offset: 3 }, "06 b1*32 00000003".to_owned()),
        (
            Talk::Part { blob: blob_id, total: 4, offset: 3, bytes: blob(b"x") },
            "07 b1*32 00000004 00000003 00000001 78".to_owned(),
        ),
        (Talk::Lacks { blob: blob_id }, "08 b1*32".to_owned()),
        (
            Talk::Ask { id: 5, question: Question::Session { session } },
            "09 0000000000000005 01 a1*32".to_owned(),
        ),
        (Talk::Answer { id: 5, answer: Answer::Done }, "0a 0000000000000005 04".to_owned()),
    ];
    for (talk, golden) in cases {
        check(&talk, &golden);
    }
    tags::<Talk>("", 10);
    limit::<Talk>("07 b1*32 00000004 00000003", PART_BYTES_MAX);
}

#[test]
fn questions_and_answers() {
    let session = session();
    for (question, golden) in [
        (Question::Session { session }, "01 a1*32"),
        (Question::Logs { session, from: 2 }, "02 a1*32 00000002"),
        (Question::Bundle { session, offset: 3 }, "03 a1*32 00000003"),
        (Question::Start { session }, "04 a1*32"),
        (Question::Finalize { session }, "05 a1*32"),
    ] {
        check(&question, golden);
    }
    tags::<Question>("", 5);
    let id = [0xb1; 32].into();
    for (answer, golden) in [
        (Answer::Session { report: blob(b"r") }, "01 00000001 72"),
        (Answer::Logs { lines: list([text("l")]), next: 9 }, "02 00000001 00000001 6c 00000009"),
        (Answer::Bundle { total: 4, id, bytes: blob(b"b") }, "03 00000004 b1*32 00000001 62"),
        (Answer::Done, "04"),
        (
            Answer::Refused { refusal: SessionRefusal::StepNotCompleted { step: 1 } },
            "05 04 00000001",
        ),
        (Answer::Refused { refusal: SessionRefusal::BlobMissing { blob: id } }, "05 0a b1*32"),
        (
            Answer::Refused { refusal: SessionRefusal::BadWorkload { why: text("w") } },
            "05 0b 00000001 77",
        ),
    ] {
        check(&answer, golden);
    }
    tags::<Answer>("", 5);
    tags::<SessionRefusal>("", 12);
    limit::<Answer>("01", ANSWER_BYTES_MAX);
}

#[track_caller]
fn fits(message: &Message) {
    let size = Frame::encode(message.kind(), message).len();
    assert!(size <= FRAME_BYTES_MAX, "{:?} of {size} bytes", message.kind());
}

/// Everything at its limit at once: the largest committee, and every member signed.
#[test]
fn the_longest_messages_fit_into_a_frame() {
    let longest = SignedRecord {
        observation: Observation::Value { bytes: blob(&vec![1; OBSERVATION_BYTES_MAX]) },
        ..record()
    };
    let commit = Commit {
        records: list(vec![longest; MEMBERS_MAX]),
        result: OracleResult::Value { bytes: blob(&vec![1; OBSERVATION_BYTES_MAX]) },
        ..commit()
    };
    let all = || list(vec![signature(); MEMBERS_MAX]);
    let prepared = Prepared { signers: blob(&[1; 3]), signatures: all(), ..prepared() };
    let (session, step, retry) = (session(), 1, 2);
    fits(&Message::Commit(Box::new(Proposal {
        session,
        step,
        retry,
        commit: commit.clone(),
        advances: list(vec![advance(); MEMBERS_MAX]),
        lock: Some(prepared.clone()),
        intent: Some(prepared.clone()),
    })));
    let lock = Lock { retry, commit: commit.clone(), prepared: prepared.clone() };
    let talk = |talk| Message::Talk(Box::new(talk));
    fits(&talk(Talk::Advance { advance: advance(), lock: Some(Box::new(lock)) }));
    let mut certificate = certificate();
    certificate.signatures = list(vec![signature(); MEMBERS_MAX]);
    let decision = Decision { retry, commit, certificate, intent: Some(prepared) };
    fits(&talk(Talk::Decided { session, step, decision: Box::new(decision) }));
    let bytes = blob(&vec![1; PART_BYTES_MAX]);
    fits(&talk(Talk::Part { blob: [0; 32].into(), total: 0, offset: 0, bytes }));
    let report = blob(&vec![1; ANSWER_BYTES_MAX]);
    fits(&talk(Talk::Answer { id: 0, answer: Answer::Session { report } }));
}

#[test]
fn every_message_has_its_kind_and_its_weight() {
    let (session, step, retry) = (session(), 1, 2);
    let start = Message::Start(SessionStart { session });
    assert_eq!((start.kind(), start.weight(), start.is_bulk()), (Kind::SessionStart, 1, false));
    let proposal = Message::Commit(Box::new(Proposal {
        session,
        step,
        retry,
        commit: commit(),
        advances: list([advance(), advance()]),
        lock: None,
        intent: None,
    }));
    assert_eq!((proposal.kind(), proposal.weight()), (Kind::OracleCommit, 4));
    let part = Talk::Part { blob: [0; 32].into(), total: 1, offset: 0, bytes: blob(b"x") };
    let part = Message::Talk(Box::new(part));
    assert_eq!((part.kind(), part.is_bulk()), (Kind::Session, true));
    assert_eq!(part.to_bytes()[0], 7, "a frame holds the message itself");
}
