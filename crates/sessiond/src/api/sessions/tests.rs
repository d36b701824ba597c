use serde_json::json;
use session_core::{Blob, Digest, Encode as _, Epoch, List, SessionId, Text, Time, seed_ids};
use session_executor::report::{Report, SessionState};
use session_protocol::workload::message::{Answer, Question, SessionRefusal};
use session_rpc::api::Encoding;
use session_rpc::session_api::Method;

use super::{Form, Given, Wish, refused, result, wish};

fn report() -> Report {
    Report {
        session: [1; 32].into(),
        service: [2; 32].into(),
        epoch: Epoch(3),
        tx: [4; 32].into(),
        program: [5; 32].into(),
        input: [6; 32].into(),
        committee: List::new([[7; 32].into()]).unwrap(),
        state: SessionState::WaitingIo,
        current_step: 1,
        steps_left_out: 0,
        steps: List::new([]).unwrap(),
        output_hash: None,
        output: Some(Blob::new([0xff]).unwrap()),
        oracle_root: None,
        receipts_root: Some([8; 32].into()),
        created: Time::from_millis(9),
        deadline: Time::from_millis(10),
        finalized: None,
        error: Some(Text::new("why").unwrap()),
        fuel: 11,
        retries: 12,
        checkpoints: 13,
        receipts: 14,
        log_lines: 15,
    }
}

#[test]
fn every_refusal_has_its_own_code_and_the_seeds_text() {
    let text = |text: &str| Text::new(text).unwrap();
    let blob = Digest::from([1; 32]);
    let refusals = [
        SessionRefusal::NotFound,
        SessionRefusal::NotPending,
        SessionRefusal::NotRunning,
        SessionRefusal::StepNotCompleted { step: 3 },
        SessionRefusal::StepOutOfRange,
        SessionRefusal::RequestNotFound,
        SessionRefusal::Full,
        SessionRefusal::Exists,
        SessionRefusal::NoChain,
        SessionRefusal::BlobMissing { blob },
        SessionRefusal::BadWorkload { why: text("w") },
        SessionRefusal::Other { why: text("w") },
    ];
    let mut names = std::collections::BTreeSet::new();
    for (index, refusal) in refusals.iter().enumerate() {
        let error = refused(refusal);
        // The code is that of the binary protocol: the tag is the first byte.
        assert_eq!(error.code, -32_100 - i32::from(refusal.to_bytes()[0]));
        assert_eq!(error.code, -32_101 - i32::try_from(index).unwrap());
        assert_eq!(error.message, refusal.to_string());
        assert!(names.insert(error.data.name.clone()), "{} is there twice", error.data.name);
    }
    assert_eq!(refused(&SessionRefusal::Full).message, "maximum sessions reached");
    assert_eq!(refused(&SessionRefusal::NotFound).message, "session not found");
    let missing = refused(&SessionRefusal::BlobMissing { blob });
    assert_eq!(missing.data.more["blob"], blob.to_string());
}

#[test]
fn a_new_session_is_known_by_the_seeds_id() {
    let (service, epoch, tx) = ([1; 32].into(), Epoch(2), [3; 32].into());
    let (program, input) = ([4; 32].into(), [5; 32].into());
    let method = Method::CreateSession { service, epoch, tx, program, input };
    let (wished, form) = wish(method).unwrap();
    let Wish::Create { session, .. } = wished else { panic!("it creates") };
    assert_eq!(session, seed_ids::session_id(&service, epoch, &tx));
    let created = result(Given::Answer(Answer::Done), form).unwrap();
    assert_eq!(created, json!({"sessionId": session.to_string(), "state": "pending"}));
}

#[test]
fn a_report_is_a_session_with_the_seeds_fields() {
    let bytes = Blob::new(report().to_bytes()).unwrap();
    let json = result(Given::Answer(Answer::Session { report: bytes }), Form::Session).unwrap();
    assert_eq!(
        json["session"],
        json!({
            "id": "01".repeat(32), "serviceId": "02".repeat(32), "epoch": 3, "txId": "04".repeat(32),
            "program": "05".repeat(32), "input": "06".repeat(32), "committee": ["07".repeat(32)],
            "state": "waiting_io", "currentStep": 1, "stepsLeftOut": 0, "steps": [],
            "outputHash": null, "output": "ff", "oracleRoot": null,
            "receiptsRoot": "08".repeat(32), "createdAt": 9, "deadline": 10, "finalizedAt": null,
            "error": "why", "fuel": 11, "retries": 12, "checkpoints": 13, "receipts": 14,
            "logLines": 15,
        })
    );
}

#[test]
fn what_a_member_should_not_answer_is_an_error_and_no_panic() {
    let garbage = Blob::new([0xff; 9]).unwrap();
    let session = SessionId::from([1; 32]);
    let (_, form) = wish(Method::GetSession { session }).unwrap();
    let answers = [
        (Given::Answer(Answer::Session { report: garbage }), form),
        (Given::Answer(Answer::Done), form),
        (Given::Stored(Ok([0; 32].into())), form),
        (Given::Answer(Answer::Done), Form::Logs),
        (Given::Answer(Answer::Done), Form::Bundle(0, Encoding::Hex)),
    ];
    for (given, form) in answers {
        assert_eq!(result(given, form).unwrap_err().data.name, "session_refused");
    }
    let (wished, _) = wish(Method::GetLogs { session, from: 7 }).unwrap();
    let Wish::Ask(Question::Logs { from, .. }) = wished else { panic!("it asks for logs") };
    assert_eq!(from, 7);
}
