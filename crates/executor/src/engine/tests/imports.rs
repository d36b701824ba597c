//! What each import does.

use std::sync::Arc;

use session_core::{Domain, Span, digest, sha256};
use session_protocol::workload::oracle::{Fault, RequestKind};
use session_protocol::workload::{OUTPUT_BYTES_MAX, OracleResult};

use super::super::{Emitted, Job, Runner, Stop};
use super::{
    BEGAN, LIMITS, facts, fails, job, job_of, module, output, run, run_module, run_with, value,
};
use crate::facts::Answer;

const REQUEST: &str = r#"(data (i32.const 0) "{\"source\":\"price\"}")"#;
const READ: &str = "(call $read (i32.const 0) (i32.const 18) (i32.const 100) (i32.const 50))";

/// A module whose `run` is this, behind a request for `price` at 0.
fn asking(body: &str) -> Vec<u8> {
    module(&format!("{REQUEST} (func (export \"run\") {body})"))
}

fn answered(body: &str, answers: Vec<Answer>) -> super::Ran {
    Runner::new(1).run(&job_of(facts(&asking(body), b"", LIMITS), answers))
}

/// Stores an `i32` result at 0 and outputs so many bytes from 0 on.
fn shown(call: &str, bytes: u32) -> String {
    format!("(i32.store (i32.const 0) {call}) (call $output (i32.const 0) (i32.const {bytes}))")
}

#[test]
fn input_tells_its_length_and_fills_what_there_is_room_for() {
    let ran = run(&shown("(call $input (i32.const 4) (i32.const 5))", 16));
    assert_eq!(output(&ran), b"\x09\0\0\0the i\0\0\0\0\0\0\0");
    let ran = run(&shown("(call $input (i32.const 0) (i32.const 0))", 4));
    assert_eq!(output(&ran), b"\x09\0\0\0");
}

#[test]
fn the_last_output_counts_and_none_is_empty() {
    let ran = run("(i32.store8 (i32.const 1) (i32.const 65))
        (call $output (i32.const 0) (i32.const 9)) (call $output (i32.const 1) (i32.const 1))");
    assert_eq!(output(&ran), b"A");
    assert_eq!(output(&run("")), b"");
}

#[test]
fn outputs_are_bounded() {
    let whole = format!("(call $output (i32.const 0) (i32.const {OUTPUT_BYTES_MAX}))");
    assert_eq!(output(&run(&whole)).len(), OUTPUT_BYTES_MAX);
    let gigabyte = "(call $output (i32.const 0) (i32.const 1073741824))";
    assert_eq!(fails(gigabyte), "an output of 1073741824 bytes, the limit is 32768");
}

#[test]
fn pointers_that_lead_nowhere_end_the_program() {
    let outside = "an address outside of the memory was used";
    for body in [
        "(call $output (i32.const 131071) (i32.const 2))",
        "(call $output (i32.const -1) (i32.const 2))",
        "(call $log (i32.const -1) (i32.const 1))",
        "(call $abort (i32.const 131072) (i32.const 1))",
        "(call $random (i32.const 131070) (i32.const 3))",
        "(call $emit (i32.const 131041) (i32.const 0) (i32.const 1))",
        "(call $state_put (i32.const 0) (i32.const 1) (i32.const 131072) (i32.const 1))",
        "(call $checkpoint (i32.const 131072) (i32.const 1))",
        "(drop (call $input (i32.const 131071) (i32.const 2)))",
        "(drop (call $input (i32.const 0) (i32.const -1)))",
        "(drop (call $read (i32.const 131071) (i32.const 2) (i32.const 0) (i32.const 0)))",
    ] {
        assert_eq!(fails(body), outside, "{body}");
    }
    // The buffer of an answer is looked at before the world is asked.
    let ran = answered(
        "(drop (call $read (i32.const 0) (i32.const 18) (i32.const 131071) (i32.const 2)))",
        vec![],
    );
    assert_eq!(ran.stop, Stop::Failed { reason: outside.into() });
}

#[test]
fn read_asks_and_takes_the_answer() {
    let body = shown(READ, 108);
    let ran = answered(&body, Vec::new());
    let Stop::Asks { kind: RequestKind::Read, call } = &ran.stop else { panic!("{:?}", ran.stop) };
    assert_eq!((call.source, call.body.len()), (0, 0));
    assert_eq!(ran.answers, 0);
    let ran = answered(&body, vec![value(b"42", 1)]);
    assert_eq!(ran.answers, 1);
    assert_eq!(output(&ran)[..4], 3_u32.to_le_bytes());
    assert_eq!(&output(&ran)[100..], b"\x0042\0\0\0\0\0");
}

#[test]
fn failures_of_the_world_are_answers() {
    let answer = |result| Answer { result, time: BEGAN };
    let body = format!("(drop {READ}) (call $output (i32.const 100) (i32.const 32))");
    let ran = answered(&body, vec![answer(OracleResult::NoConsensus)]);
    assert_eq!(
        output(&ran).trim_ascii_end(),
        b"\x01no consensus\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
    );
    let failed = OracleResult::Failed { fault: Fault::Status { code: 503 } };
    let ran = answered(&body, vec![answer(failed)]);
    assert_eq!(&output(&ran)[..30], b"\x01the answer has status 503\0\0\0\0");
}

#[test]
fn an_answer_can_be_fetched_again() {
    let again = "(call $read (i32.const 0) (i32.const 0) (i32.const 200) (i32.const 10))";
    let short = "(call $read (i32.const 0) (i32.const 18) (i32.const 100) (i32.const 2))";
    let body = format!(
        "(drop {short}) (i32.store (i32.const 4) {again}) (call $output (i32.const 0) (i32.const 210))"
    );
    let ran = answered(&body, vec![value(b"abcdef", 1)]);
    assert_eq!(ran.answers, 1);
    let output = output(&ran);
    assert_eq!(output[4..8], 7_u32.to_le_bytes());
    assert_eq!(&output[100..104], b"\0a\0\0");
    assert_eq!(&output[200..210], b"\0abcdef\0\0\0");
    // Before the first answer there is none.
    assert_eq!(super::output(&run(&shown(again, 4))), [0; 4]);
}

#[test]
fn bad_requests_end_the_program() {
    let reason =
        fails("(drop (call $read (i32.const 0) (i32.const 3) (i32.const 0) (i32.const 0)))");
    assert!(reason.starts_with("a bad request: "), "{reason}");
    // A source that reads cannot be written.
    let write = READ.replace("$read", "$write");
    let ran = answered(&format!("(drop {write})"), vec![]);
    assert!(
        matches!(&ran.stop, Stop::Failed { reason } if reason.starts_with("a bad request: ")),
        "{ran:?}"
    );
    let long =
        fails("(drop (call $read (i32.const 0) (i32.const 131073) (i32.const 0) (i32.const 0)))");
    assert_eq!(long, "a request of 131073 bytes, the limit is 131072");
}

#[test]
fn requests_are_counted_over_checkpoints() {
    let module = asking(&format!("(drop {READ}) (drop {READ})"));
    let mut facts = facts(&module, b"", LIMITS);
    facts.workload.manifest.limits.calls = 3;
    let run = |segment, first_step, answers| {
        let job = Job { segment, first_step, ..job_of(facts.clone(), answers) };
        Runner::new(1).run(&job).stop
    };
    assert!(matches!(run(0, 0, vec![value(b"", 1)]), Stop::Asks { .. }));
    // Two segments with one request each have six steps.
    assert!(matches!(run(2, 6, vec![]), Stop::Asks { .. }));
    let reason = "more than 3 requests to the world".to_owned();
    assert_eq!(run(2, 6, vec![value(b"", 1)]), Stop::Failed { reason });
}

#[test]
fn state_is_kept_removed_and_bounded() {
    let put = |value: &str| {
        format!("(call $state_put (i32.const 0) (i32.const 3) (i32.const 0) (i32.const {value}))")
    };
    let get = "(call $state_get (i32.const 0) (i32.const 3) (i32.const 8) (i32.const 4))";
    assert_eq!(output(&run(&shown(get, 4))), [255; 4], "nothing is there");
    let ran = run(&format!(
        "(i32.store (i32.const 0) (i32.const 0x434241)) {} {}",
        put("5"),
        shown(get, 12)
    ));
    assert_eq!(output(&ran), b"\x05\0\0\0\0\0\0\0ABC\0");
    let kept = super::State::from([(b"ABC".to_vec(), b"ABC\0\0".to_vec())]);
    assert_eq!(ran.state, super::super::state_digest(&kept));
    let ran = run(&format!("{} {} {}", put("5"), put("-1"), shown(get, 4)));
    assert_eq!(output(&ran), [255; 4]);
    assert_eq!(ran.state, super::super::state_digest(&super::State::new()));
    assert_eq!(output(&run(&put("4093"))), b"");
    assert_eq!(fails(&put("4094")), "a state of 4097 bytes, the limit is 4096");
    assert_eq!(fails(&put("4097")), "a value of 4097 bytes, the limit is 4096");
    // A value that replaces another is not counted twice.
    assert_eq!(output(&run(&format!("{} {}", put("4093"), put("4092")))), b"");
    let key = "(call $state_put (i32.const 0) (i32.const 257) (i32.const 0) (i32.const 0))";
    assert_eq!(fails(key), "a key of 257 bytes, the limit is 256");
}

#[test]
fn a_checkpoint_keeps_the_state_and_begins_anew() {
    // Grows what is under the empty key by one byte; ends when it is three long.
    let body = "(local $n i32)
        (local.set $n (call $state_get (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 8)))
        (if (i32.eq (local.get $n) (i32.const -1)) (then (local.set $n (i32.const 0))))
        (if (i32.eq (local.get $n) (i32.const 3))
            (then (call $output (i32.const 0) (i32.const 3)) return))
        (i32.store8 (local.get $n) (i32.add (i32.const 65) (local.get $n)))
        (call $random (i32.const 50) (i32.const 4))
        (call $state_put (i32.const 50) (i32.const 4) (i32.const 0) (i32.const 0))
        (call $checkpoint (i32.const 0) (i32.add (local.get $n) (i32.const 1)))
        unreachable";
    let mut job = job(&run_module(body));
    let mut runner = Runner::new(4);
    let mut fuel = Vec::new();
    for segment in 0..3 {
        let ran = runner.run(&job);
        let Stop::Checkpoint { state } = &ran.stop else { panic!("{:?}", ran.stop) };
        assert_eq!((ran.segment, state[&vec![]].len()), (segment, segment as usize + 1));
        assert_eq!(runner.live(), 0, "nothing waits");
        fuel.push(ran.fuel);
        job =
            Job { segment: segment + 1, first_step: segment + 1, state: Arc::clone(state), ..job };
    }
    let ran = runner.run(&job);
    assert_eq!(output(&ran), b"ABC");
    assert_eq!(job.state.len(), 4, "randomness is not repeated behind a checkpoint");
    assert!(fuel.iter().all(|used| *used < 20_000), "each segment has its own fuel: {fuel:?}");
}

#[test]
fn emitted_messages_are_named_by_their_hash() {
    let emit = "(call $emit (i32.const 0) (i32.const 32) (i32.const 5))";
    let ran = run(&format!("(i32.store8 (i32.const 0) (i32.const 7)) {emit}"));
    let mut receiver = [0; 32];
    receiver[0] = 7;
    assert_eq!(ran.emitted, [Emitted { receiver, message_hash: sha256(&[0; 5]).into() }]);
    let many = format!(
        "(local $i i32) (loop $again {emit}
        (local.set $i (i32.add (local.get $i) (i32.const 1))) (br $again))"
    );
    assert_eq!(fails(&many), "more than 1024 messages");
    let long = "(call $emit (i32.const 0) (i32.const 0) (i32.const 32769))";
    assert_eq!(fails(long), "a message of 32769 bytes, the limit is 32768");
}

#[test]
fn lines_are_cut_and_a_full_log_takes_no_more() {
    let module = module(
        r#"(data (i32.const 0) "h\c3\a9llo \ff")
        (func (export "run")
            (call $log (i32.const 0) (i32.const 8)) (call $log (i32.const 0) (i32.const 0))
            (call $log (i32.const 0) (i32.const 100000))
            (call $log (i32.const 0) (i32.const 1)))"#,
    );
    let log = |log_bytes| {
        let limits = super::Limits { log_bytes, ..LIMITS };
        Runner::new(1).run(&job_of(facts(&module, b"", limits), Vec::new())).logs
    };
    let full = "(the rest of the log is left out)";
    assert_eq!(log(100), ["héllo \u{fffd}", "", full]);
    let lines = log(10_000);
    assert_eq!(lines.len(), 4);
    assert_eq!((lines[2].len(), lines[3].as_str()), (1024, "h"));
    assert_eq!(log(0), [full]);
}

#[test]
fn random_is_the_beacon_and_a_counter() {
    let ran = run(
        "(call $random (i32.const 0) (i32.const 40)) (call $random (i32.const 40) (i32.const 8))
        (call $output (i32.const 0) (i32.const 48))",
    );
    let block =
        |counter: u64| digest(Domain::SessionRandom, &[&[6; 32], &[2; 32], &counter.to_be_bytes()]);
    let [first, second, third] = [0, 1, 2].map(block);
    let parts = [&first.as_bytes()[..], &second.as_bytes()[..8], &third.as_bytes()[..8]];
    assert_eq!(output(&ran), parts.concat());
}

#[test]
fn now_is_the_agreed_time_and_never_goes_back() {
    let now = |at: u32| format!("(i64.store (i32.const {at}) (call $now))");
    let body = format!(
        "{} (drop {READ}) {} (drop {READ}) {} (call $output (i32.const 1000) (i32.const 24))",
        now(1000),
        now(1008),
        now(1016)
    );
    let ran = answered(&body, vec![value(b"", 9), value(b"", 4)]);
    let times: Vec<_> = output(&ran)
        .chunks(8)
        .map(|time| u64::from_le_bytes(time.try_into().expect("8 bytes")))
        .collect();
    let second = (BEGAN + Span::from_secs(9)).as_millis();
    assert_eq!(times, [BEGAN.as_millis(), second, second]);
}

#[test]
fn abort_tells_why() {
    assert_eq!(
        fails(
            "(call $input (i32.const 0) (i32.const 9)) drop
        (call $abort (i32.const 0) (i32.const 9))"
        ),
        "aborted: the input"
    );
    let reason = fails(
        "(memory.fill (i32.const 0) (i32.const 255) (i32.const 300))
        (call $abort (i32.const 0) (i32.const 300))",
    );
    assert!(reason.len() <= 256 && reason.starts_with("aborted: \u{fffd}"), "{reason}");
}

#[test]
fn steps_report_what_was_new_in_them() {
    let body = format!("(call $log (i32.const 0) (i32.const 1)) (drop {READ})
        (call $log (i32.const 0) (i32.const 2)) (call $emit (i32.const 0) (i32.const 0) (i32.const 1))
        (drop {READ}) (call $log (i32.const 0) (i32.const 3))");
    let module = asking(&body);
    let mut runner = Runner::new(1);
    let mut answers = Vec::new();
    let steps: Vec<_> = (0..3)
        .map(|second| {
            let ran = runner.run(&job_of(facts(&module, b"", LIMITS), answers.clone()));
            answers.push(value(b"x", second));
            (ran.logs.concat(), ran.emitted.len())
        })
        .collect();
    assert_eq!(steps, [("{".into(), 0), ("{\"".into(), 1), ("{\"s".into(), 0)]);
}

#[test]
fn transforms_have_their_input_only() {
    let module: Arc<[u8]> = module(
        r#"(func (export "run"))
        (func (export "double")
            (local $n i32)
            (local.set $n (call $input (i32.const 0) (i32.const 100)))
            (memory.copy (local.get $n) (i32.const 0) (local.get $n))
            (call $log (i32.const 0) (local.get $n))
            (call $output (i32.const 0) (i32.mul (local.get $n) (i32.const 2))))
        (func (export "peek") (drop (call $now)))
        (func (export "fail") (call $abort (i32.const 0) (i32.const 0)))
        (func (export "spin") (loop (br 0)))"#,
    )
    .into();
    let mut runner = Runner::new(1);
    let mut transform = |name: &str| runner.transform(&module, &LIMITS, name, b"ab");
    assert_eq!(transform("double"), Ok(b"abab".to_vec()));
    assert_eq!(transform("double"), Ok(b"abab".to_vec()), "nothing is left of the first");
    assert_eq!(transform("peek"), Err("a transform has its input only".into()));
    assert_eq!(transform("fail"), Err("aborted: ".into()));
    assert_eq!(transform("spin"), Err("the fuel is used up".into()));
    assert!(transform("none").is_err_and(|error| error.contains("does not export `none`")));
}

#[test]
fn asked_twice_the_program_asks_the_same() {
    let one = run_with("", Vec::new());
    assert_eq!(one, run_with("", Vec::new()));
    let ran = answered(&format!("(drop {READ})"), vec![value(b"", 1), value(b"", 2)]);
    assert_eq!(
        (ran.answers, output(&ran).len()),
        (1, 0),
        "an answer too many is told by the count"
    );
}
