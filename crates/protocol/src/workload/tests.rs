//! Golden bytes of everything that members say, sign and keep of workload sessions. The byte tables
//! are in `docs/wire/workload.md`.

use session_core::testing::{check_codec, check_round_trip};
use session_core::{
    Blob, Decode, DecodeError, Digest, Encode, Epoch, List, NodeId, Span, Text, Time,
};
use session_crypto::Signature;

use super::manifest::{
    Aggregation, Confirm, Connector, Egress, EvmQuery, FieldRule, Header, HttpMethod, Limits,
    Manifest, Rule, Source, Transform, Workload,
};
use super::message::{
    Answer, Decision, OpenRequest, Question, RecordOf, SessionCreate, SessionRefusal, SessionStart,
    Talk, VoteOf,
};
use super::oracle::{
    Commit, Fault, Observation, OracleCall, OracleRequest, OracleResult, Parameter, Pin,
    RecordHead, RequestKind, SignedHead, SignedRecord,
};
use super::receipt::{Receipt, ReceiptCommit, ReceiptProof, SignedReceipt};
use super::round::{
    Advance, AdvanceHead, Ballot, Lock, LockedTo, Phase, Prepared, Proposal, RoundVote,
};
use super::step::{Step, StepKind, StepLeaf, StepState};
use crate::attestation::{Kind, QuorumCertificate, Scheme, Statement, Vote};

/// The hex of 32 times the same byte.
fn id(byte: u8) -> String {
    format!("{byte:02x}").repeat(32)
}

fn digest(byte: u8) -> Digest {
    [byte; 32].into()
}

fn node(byte: u8) -> NodeId {
    [byte; 32].into()
}

fn signature() -> Signature {
    Signature::from([0x51; session_crypto::dsa::SIGNATURE_SIZE])
}

/// The hex of [`signature`].
fn signed() -> String {
    "51".repeat(session_crypto::dsa::SIGNATURE_SIZE)
}

fn text<const MAX: usize>(text: &str) -> Text<MAX> {
    Text::new(text).unwrap()
}

fn list<T, const MAX: usize>(values: impl Into<Vec<T>>) -> List<T, MAX> {
    List::new(values).unwrap()
}

fn call() -> OracleCall {
    OracleCall {
        source: 2,
        parameters: list([Parameter { name: text("of"), value: text("BTC") }]),
        body: Blob::new(*b"hi").unwrap(),
    }
}

const CALL: &str = "0002                # the source
    00000001                            # one parameter
    00000002 6f66 00000003 425443       # of = BTC
    00000002 6869                       # the body";

fn pin() -> Pin {
    Pin { number: 7, hash: [8; 32] }
}

fn record() -> SignedRecord {
    SignedRecord {
        submitter: node(3),
        pin: None,
        time: Time::from_millis(9),
        observation: Observation::Value { bytes: Blob::new(*b"1").unwrap() },
        signature: signature(),
    }
}

fn record_hex() -> String {
    format!("{} 00 0000000000000009 01 00000001 31 {}", id(3), signed())
}

fn commit() -> Commit {
    Commit {
        retry: 1,
        records: list([record()]),
        result: OracleResult::NoConsensus,
        time: Time::from_millis(10),
    }
}

fn commit_hex() -> String {
    format!("00000001 00000001 {} 03 000000000000000a", record_hex())
}

fn ballot() -> Ballot {
    Ballot {
        chain: [1; 32].into(),
        committee: digest(2),
        request: [3; 32].into(),
        phase: Phase::Prepare,
        root: digest(4),
    }
}

fn ballot_hex() -> String {
    format!("{}{}{} 02 {}", id(1), id(2), id(3), id(4))
}

fn prepared() -> Prepared {
    Prepared { ballot: ballot(), signers: Blob::new([5]).unwrap(), signatures: list([signature()]) }
}

fn prepared_hex() -> String {
    format!("{} 00000001 05 00000001 {}", ballot_hex(), signed())
}

fn statement() -> Statement {
    Statement {
        chain: [1; 32].into(),
        committee: digest(2),
        kind: Kind::OracleRead,
        subject: digest(3),
        root: digest(4),
        epoch: Epoch(5),
    }
}

fn statement_hex() -> String {
    format!("{}{} 01 {}{} 0000000000000005", id(1), id(2), id(3), id(4))
}

fn certificate() -> QuorumCertificate {
    QuorumCertificate {
        scheme: Scheme::MlDsa65List,
        statement: statement(),
        signers: Blob::new([7]).unwrap(),
        signatures: list([signature()]),
    }
}

fn certificate_hex() -> String {
    format!("01 {} 00000001 07 00000001 {}", statement_hex(), signed())
}

fn vote() -> Vote {
    Vote { statement: statement(), node: node(6), signature: signature() }
}

fn head() -> AdvanceHead {
    AdvanceHead {
        chain: [1; 32].into(),
        committee: digest(2),
        session: [3; 32].into(),
        step: 4,
        retry: 5,
        locked: Some(LockedTo { retry: 6, root: digest(7) }),
    }
}

fn head_hex() -> String {
    format!("{}{}{} 00000004 00000005 01 00000006 {}", id(1), id(2), id(3), id(7))
}

fn advance() -> Advance {
    Advance { head: head(), node: node(8), signature: signature() }
}

fn advance_hex() -> String {
    format!("{} {} {}", head_hex(), id(8), signed())
}

fn receipt() -> Receipt {
    Receipt {
        session: [1; 32].into(),
        step: 2,
        message_hash: digest(3),
        sender: [4; 32],
        receiver: [5; 32],
        time: Time::from_millis(6),
    }
}

fn receipt_hex() -> String {
    format!("{} 00000002 {}{}{} 0000000000000006", id(1), id(3), id(4), id(5))
}

#[test]
fn calls_and_requests() {
    check_codec(&call(), CALL);
    let request = OracleRequest {
        service: [1; 32].into(),
        session: [2; 32].into(),
        step: 3,
        retry: 4,
        tx: [5; 32].into(),
        kind: RequestKind::Read,
        call: call(),
    };
    let head = format!("{}{} 00000003 00000004 {} 01 ", id(1), id(2), id(5));
    check_codec(&request, &(head + CALL));
    check_codec(&RequestKind::Write, "00");
}

#[test]
fn observations_and_results() {
    check_codec(&Observation::Value { bytes: Blob::new(*b"ab").unwrap() }, "01 00000002 6162");
    check_codec(&Observation::Failed { fault: Fault::Timeout }, "02 02");
    check_codec(&Fault::Unreachable, "01");
    check_codec(&Fault::Status { code: 404 }, "03 0194");
    for (fault, tag) in [
        (Fault::TooLarge, "04"),
        (Fault::Denied, "05"),
        (Fault::Malformed, "06"),
        (Fault::NotSetUp, "07"),
        (Fault::NotConfirmed, "08"),
        (Fault::Exhausted, "09"),
    ] {
        check_codec(&fault, tag);
    }
    check_codec(&OracleResult::Value { bytes: Blob::default() }, "01 00000000");
    check_codec(&OracleResult::Failed { fault: Fault::Denied }, "02 05");
    check_codec(&OracleResult::NoConsensus, "03");
    let unknown = DecodeError::UnknownTag { field: "Fault", got: 10 };
    assert_eq!(Fault::decode_exact(&[10]), Err(unknown));
}

#[test]
fn records_and_commits() {
    check_codec(&pin(), &format!("0000000000000007 {}", id(8)));
    let head = RecordHead {
        chain: [1; 32].into(),
        committee: digest(2),
        request: [3; 32].into(),
        submitter: node(4),
        data_hash: digest(5),
        pin: Some(pin()),
        time: Time::from_millis(6),
    };
    let ids: String = (1..6).map(id).collect();
    let hex = format!("{ids} 01 0000000000000007 {} 0000000000000006", id(8));
    check_codec(&head, &hex);
    let signed_head = SignedHead { head, signature: signature() };
    check_codec(&signed_head, &format!("{hex} {}", signed()));
    check_codec(&record(), &record_hex());
    check_codec(&commit(), &commit_hex());
}

#[test]
fn votes_locks_and_proposals() {
    check_codec(&ballot(), &ballot_hex());
    let intent = Ballot { phase: Phase::Intent, ..ballot() };
    assert_eq!(intent.to_bytes()[96], 1);
    let vote = RoundVote { ballot: ballot(), node: node(5), signature: signature() };
    check_codec(&vote, &format!("{} {} {}", ballot_hex(), id(5), signed()));
    check_codec(&prepared(), &prepared_hex());
    let lock = Lock { retry: 2, commit: commit(), prepared: prepared() };
    check_codec(&lock, &format!("00000002 {} {}", commit_hex(), prepared_hex()));
    check_codec(&head(), &head_hex());
    let unlocked = AdvanceHead { locked: None, ..head() };
    check_codec(&unlocked, &format!("{}{}{} 00000004 00000005 00", id(1), id(2), id(3)));
    check_codec(&advance(), &advance_hex());
    let proposal = Proposal {
        session: [1; 32].into(),
        step: 2,
        retry: 3,
        commit: commit(),
        advances: list([advance()]),
        lock: Some(prepared()),
        intent: None,
    };
    let hex = format!(
        "{} 00000002 00000003 {} 00000001 {} 01 {} 00",
        id(1),
        commit_hex(),
        advance_hex(),
        prepared_hex()
    );
    check_codec(&proposal, &hex);
}

#[test]
fn steps() {
    let leaf = StepLeaf {
        index: 1,
        kind: StepKind::ReadExternal,
        retry: 2,
        input_hash: digest(3),
        output_hash: digest(4),
        commit_root: digest(5),
    };
    check_codec(&leaf, &format!("00000001 02 00000002 {}{}{}", id(3), id(4), id(5)));
    let step = Step {
        index: 1,
        kind: StepKind::Compute,
        request: [2; 32].into(),
        retry: 3,
        tx: [4; 32].into(),
        input_hash: digest(5),
        output_hash: digest(6),
        commit_root: digest(7),
        attestation: digest(8),
        state: StepState::Completed,
        started: Time::from_millis(9),
        completed: Some(Time::from_millis(10)),
    };
    let hex = format!(
        "00000001 00 {} 00000003 {}{}{}{}{} 03 0000000000000009 01 000000000000000a",
        id(2),
        id(4),
        id(5),
        id(6),
        id(7),
        id(8)
    );
    check_codec(&step, &hex);
    for (kind, tag) in [(StepKind::WriteExternal, "01"), (StepKind::ReadExternal, "02")] {
        check_codec(&kind, tag);
    }
    for (state, tag) in [
        (StepState::Pending, "00"),
        (StepState::Executing, "01"),
        (StepState::Waiting, "02"),
        (StepState::Failed, "04"),
    ] {
        check_codec(&state, tag);
    }
}

#[test]
fn receipts() {
    check_codec(&receipt(), &receipt_hex());
    let signed_receipt =
        SignedReceipt { receipt: receipt(), node: node(7), stored: 8, signature: signature() };
    check_codec(&signed_receipt, &format!("{} {} 0008 {}", receipt_hex(), id(7), signed()));
    let commit =
        ReceiptCommit { session: [1; 32].into(), epoch: Epoch(2), count: 3, root: digest(4) };
    check_codec(&commit, &format!("{} 0000000000000002 00000003 {}", id(1), id(4)));
    let receipts = [receipt(), Receipt { step: 3, ..receipt() }];
    let proof: ReceiptProof = super::receipt::prove(&receipts, 1).unwrap();
    check_round_trip(&proof);
    assert_eq!(proof.verify(&super::receipt::receipts_root(&receipts)), Ok(()));
    let other = ReceiptProof { receipt: receipt(), ..proof };
    assert!(other.verify(&super::receipt::receipts_root(&receipts)).is_err());
}

#[test]
fn messages_between_members() {
    let create = SessionCreate { session: [1; 32].into(), program: digest(2), input: digest(3) };
    check_codec(&create, &format!("{}{}{}", id(1), id(2), id(3)));
    check_codec(&SessionStart { session: [1; 32].into() }, &id(1));
    let open = OpenRequest {
        session: [1; 32].into(),
        step: 2,
        retry: 3,
        input_hash: digest(4),
        pin: Some(pin()),
    };
    let hex = format!("{} 00000002 00000003 {} 01 0000000000000007 {}", id(1), id(4), id(8));
    check_codec(&open, &hex);
    let of = RecordOf {
        session: [1; 32].into(),
        step: 2,
        retry: 3,
        committee: digest(4),
        request: [5; 32].into(),
        record: record(),
    };
    let hex = format!("{} 00000002 00000003 {}{} {}", id(1), id(4), id(5), record_hex());
    check_codec(&of, &hex);
    let of = VoteOf { session: [1; 32].into(), step: 2, retry: 3, vote: vote() };
    let hex = format!("{} 00000002 00000003 {} {} {}", id(1), statement_hex(), id(6), signed());
    check_codec(&of, &hex);
    check_codec(&decision(), &decision_hex());
}

fn decision() -> Decision {
    Decision { retry: 1, commit: commit(), certificate: certificate(), intent: Some(prepared()) }
}

fn decision_hex() -> String {
    format!("00000001 {} {} 01 {}", commit_hex(), certificate_hex(), prepared_hex())
}

#[test]
fn talk_between_members() {
    let session = [1; 32].into();
    let vote = RoundVote { ballot: ballot(), node: node(5), signature: signature() };
    let hex = format!("01 {} 00000002 00000003 {} {} {}", id(1), ballot_hex(), id(5), signed());
    check_codec(&Talk::RoundVote { session, step: 2, retry: 3, vote }, &hex);
    let advance = Talk::Advance { advance: advance(), lock: None };
    check_codec(&advance, &format!("02 {} 00", advance_hex()));
    check_codec(&Talk::At { session, step: 2 }, &format!("03 {} 00000002", id(1)));
    let decided = Talk::Decided { session, step: 2, decision: Box::new(decision()) };
    check_codec(&decided, &format!("04 {} 00000002 {}", id(1), decision_hex()));
    let ended = Talk::Ended { session, certificate: Box::new(certificate()) };
    check_codec(&ended, &format!("05 {} {}", id(1), certificate_hex()));
    check_codec(&Talk::Want { blob: digest(1), offset: 2 }, &format!("06 {} 00000002", id(1)));
    let bytes = Blob::new(*b"ab").unwrap();
    let part = Talk::Part { blob: digest(1), total: 9, offset: 2, bytes };
    check_codec(&part, &format!("07 {} 00000009 00000002 00000002 6162", id(1)));
    check_codec(&Talk::Lacks { blob: digest(1) }, &format!("08 {}", id(1)));
    let ask = Talk::Ask { id: 1, question: Question::Start { session } };
    check_codec(&ask, &format!("09 0000000000000001 04 {}", id(1)));
    let answer = Talk::Answer { id: 1, answer: Answer::Done };
    check_codec(&answer, "0a 0000000000000001 04");
}

#[test]
fn questions_and_answers() {
    let session = [1; 32].into();
    check_codec(&Question::Session { session }, &format!("01 {}", id(1)));
    check_codec(&Question::Logs { session, from: 2 }, &format!("02 {} 00000002", id(1)));
    check_codec(&Question::Bundle { session, offset: 2 }, &format!("03 {} 00000002", id(1)));
    check_codec(&Question::Finalize { session }, &format!("05 {}", id(1)));
    let report = Answer::Session { report: Blob::new(*b"r").unwrap() };
    check_codec(&report, "01 00000001 72");
    let logs = Answer::Logs { lines: list([text("a")]), next: 5 };
    check_codec(&logs, "02 00000001 00000001 61 00000005");
    let bundle = Answer::Bundle { total: 9, id: digest(1), bytes: Blob::new(*b"b").unwrap() };
    check_codec(&bundle, &format!("03 00000009 {} 00000001 62", id(1)));
    let refused = Answer::Refused { refusal: SessionRefusal::NotFound };
    check_codec(&refused, "05 01");
}

#[test]
fn refusals_have_the_texts_of_the_seed() {
    for (refusal, tag, expected) in [
        (SessionRefusal::NotFound, "01", "session not found"),
        (SessionRefusal::NotPending, "02", "session not in pending state"),
        (SessionRefusal::NotRunning, "03", "session not running"),
        (SessionRefusal::StepNotCompleted { step: 3 }, "04 00000003", "step 3 not completed"),
        (SessionRefusal::StepOutOfRange, "05", "step index out of range"),
        (SessionRefusal::RequestNotFound, "06", "oracle request not found"),
        (SessionRefusal::Full, "07", "maximum sessions reached"),
        (SessionRefusal::Exists, "08", "session already exists"),
        (SessionRefusal::Other { why: text("x") }, "0c 00000001 78", "x"),
    ] {
        check_codec(&refusal, tag);
        assert_eq!(refusal.to_string(), expected);
    }
}

fn source() -> Source {
    Source {
        name: text("a"),
        connector: Connector::Message { to: text("b") },
        transform: Transform {
            headers: list([text("etag")]),
            status: true,
            paths: list([text("$.a")]),
            guest: Some(text("f")),
        },
        aggregation: Aggregation::Identical,
        records_min: 1,
        timeout: Span::from_millis(2),
        bytes_max: 3,
        fallback: Some(Blob::new(*b"x").unwrap()),
        confirm: Some(Confirm { source: text("c"), equals_body: true }),
    }
}

const SOURCE: &str = "00000001 61               # its name
    06 00000001 62                            # a message to b
    00000001 00000004 65746167 01             # headers that are kept, and the status
    00000001 00000003 242e61                  # paths
    01 00000001 66                            # a function of the module
    01                                        # identical
    01 0000000000000002 00000003              # records, time, bytes
    01 00000001 78                            # instead of an agreement
    01 00000001 63 01                         # confirmed by c, which must be equal";

#[test]
fn manifests() {
    check_codec(&source(), SOURCE);
    let manifest = Manifest {
        name: text("m"),
        egress: list([Egress { host: text("h"), port: 443, plain: false }]),
        sources: list([source()]),
        limits: Limits {
            fuel: 1,
            memory_pages: 2,
            state_bytes: 3,
            log_bytes: 4,
            calls: 5,
            egress_bytes: 6,
        },
        retries_max: 7,
    };
    let hex = format!(
        "00000001 6d 00000001 00000001 68 01bb 00 00000001 {SOURCE}
         0000000000000001 00000002 00000003 00000004 00000005 0000000000000006 07"
    );
    check_codec(&manifest, &hex);
    let workload = Workload { version: 1, module: digest(2), profile: digest(3), manifest };
    check_codec(&workload, &format!("01 {}{} {hex}", id(2), id(3)));
}

#[test]
fn connectors() {
    let http = Connector::Http {
        method: HttpMethod::Put,
        url: text("u"),
        headers: list([Header { name: text("n"), value: text("v") }]),
        redirects: 1,
    };
    check_codec(&http, "01 03 00000001 75 00000001 00000001 6e 00000001 76 01");
    let evm = |query| Connector::Evm { url: text("u"), query, confirmations: 2 };
    check_codec(&evm(EvmQuery::Block), "02 00000001 75 01 0002");
    let balance = EvmQuery::Balance { address: text("a") };
    check_codec(&evm(balance), "02 00000001 75 02 00000001 61 0002");
    let called =
        EvmQuery::Call { to: text("t"), function: text("f"), arguments: list([text("1")]) };
    let hex = "02 00000001 75 03 00000001 74 00000001 66 00000001 00000001 31 0002";
    check_codec(&evm(called), hex);
    let sql =
        Connector::Sql { database: text("d"), statement: text("s"), parameters: list([text("p")]) };
    check_codec(&sql, "03 00000001 64 00000001 73 00000001 00000001 70");
    let get = Connector::ObjectGet { store: text("s"), key: text("k") };
    check_codec(&get, "04 00000001 73 00000001 6b");
    let put = Connector::ObjectPut {
        store: text("s"),
        key: text("k"),
        content_type: text("c"),
        if_absent: true,
    };
    check_codec(&put, "05 00000001 73 00000001 6b 00000001 63 01");
    for (method, tag) in [
        (HttpMethod::Get, "01"),
        (HttpMethod::Post, "02"),
        (HttpMethod::Patch, "04"),
        (HttpMethod::Delete, "05"),
    ] {
        check_codec(&method, tag);
    }
}

#[test]
fn aggregations() {
    check_codec(&Aggregation::Median { field: text("$") }, "02 00000001 24");
    check_codec(&Aggregation::Mode, "03");
    let rules = [Rule::Identical, Rule::Median, Rule::Mode]
        .map(|rule| FieldRule { field: text("f"), rule });
    let hex = "04 00000003 00000001 66 01 00000001 66 02 00000001 66 03";
    check_codec(&Aggregation::ByFields { rules: list(rules) }, hex);
    check_codec(&Aggregation::KOfN { k: 3 }, "05 03");
    check_codec(&Aggregation::Single, "06");
}
