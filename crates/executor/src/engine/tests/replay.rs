//! A program that waits and one that is run again give the same.

use std::sync::Arc;

use session_core::{Blob, Entropy as _, SeededEntropy, Span};
use session_protocol::workload::OracleResult;
use session_protocol::workload::oracle::Fault;

use super::super::{Job, Ran, Runner, Stop, decode_state, encode_state};
use super::{BEGAN, LIMITS, State, facts, job_of, module, value};
use crate::facts::{Answer, Facts};

/// Uses every import in every round; asks as often as the first byte of the input says, in turns by
/// a direct and an indirect call from inside another function, and makes a checkpoint when the
/// second byte says so.
const BUSY: &str = r#"
    (data (i32.const 0) "{\"source\":\"price\"}")
    (data (i32.const 32) "{\"source\":\"post\",\"body\":\"x\"}")
    (type $ask (func (param i32 i32 i32 i32) (result i32)))
    (table 2 funcref)
    (elem (i32.const 0) $read $write)
    (global $sum (mut i64) (i64.const 0))

    (func $indirectly (param $write i32) (result i32)
        (i32.add (i32.const 1)
            (call_indirect (type $ask)
                (select (i32.const 32) (i32.const 0) (local.get $write))
                (select (i32.const 28) (i32.const 18) (local.get $write))
                (i32.const 4096) (i32.const 100)
                (local.get $write))))

    (func $spin (param $n i32)
        (loop $again
            (global.set $sum (i64.add (i64.mul (global.get $sum) (i64.const 31))
                (i64.load8_u (i32.add (i32.const 4096) (i32.and (local.get $n) (i32.const 63))))))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))

    (func (export "run")
        (local $i i32) (local $length i32)
        (drop (call $input (i32.const 1024) (i32.const 64)))
        (block $done
            (loop $again
                (br_if $done (i32.ge_u (local.get $i) (i32.load8_u (i32.const 1024))))
                (call $random (i32.const 2048) (i32.const 40))
                (call $state_put (i32.const 2048) (i32.const 1) (i32.const 2052) (i32.const 20))
                (call $log (i32.const 2050) (i32.const 12))
                (local.set $length
                    (if (result i32) (i32.and (local.get $i) (i32.const 2))
                        (then (call $indirectly (i32.and (local.get $i) (i32.const 1))))
                        (else (call $read
                            (i32.const 0) (i32.const 18) (i32.const 4096) (i32.const 64)))))
                (call $spin (i32.add (local.get $length) (i32.const 1)))
                (i64.store (i32.const 3000) (call $now))
                (i64.store (i32.const 3008) (global.get $sum))
                (call $emit (i32.const 2048) (i32.const 3000) (i32.const 16))
                (call $log (i32.const 4096) (local.get $length))
                (drop (call $state_get
                    (i32.const 2048) (i32.const 1) (i32.const 3016) (i32.const 20)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br $again)))
        (if (i32.load8_u (i32.const 1025)) (then
            (if (i32.eq (i32.const -1) (call $state_get
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)))
                (then (call $checkpoint (i32.const 3000) (i32.const 36))))))
        (call $output (i32.const 3000) (i32.const 36)))
"#;

/// Runs a session to its end; `before` is asked for the runner of each step.
fn session(facts: &Facts, answers: &[Answer], mut run: impl FnMut(&Job) -> Ran) -> Vec<Ran> {
    let mut job = job_of(facts.clone(), Vec::new());
    let mut world = answers.iter().cycle();
    let mut steps = Vec::new();
    loop {
        let ran = run(&job);
        steps.push(ran);
        match &steps.last().expect("one was pushed").stop {
            Stop::Asks { .. } => {
                Arc::make_mut(&mut job.answers).extend(world.next().cloned());
            }
            Stop::Checkpoint { state } => {
                let state = decode_state(&encode_state(state)).expect("it is what was encoded");
                job.segment += 1;
                job.first_step = steps.len() as u32;
                job.began = job.answers.last().map_or(job.began, |answer| answer.time);
                job.state = Arc::new(state);
                job.answers = Arc::default();
            }
            Stop::Finished { .. } | Stop::Failed { .. } => return steps,
        }
    }
}

fn answers(rng: &mut SeededEntropy) -> Vec<Answer> {
    let mut time = BEGAN;
    let answers = (0..=rng.below(12)).map(|_| {
        time = time + Span::from_millis(rng.below(5000));
        let mut bytes = vec![0; rng.below(150) as usize];
        rng.fill(&mut bytes);
        let result = match rng.below(5) {
            0 => OracleResult::NoConsensus,
            1 => OracleResult::Failed { fault: Fault::Timeout },
            _ => OracleResult::Value { bytes: Blob::new(bytes).expect("short") },
        };
        Answer { result, time }
    });
    answers.collect()
}

#[test]
fn waiting_and_running_again_give_the_same() {
    let busy = module(BUSY);
    let mut replays = 0;
    for seed in 0..60 {
        let mut rng = SeededEntropy::new(seed);
        let answers = answers(&mut rng);
        let input = [rng.below(10) as u8, rng.below(2) as u8];
        let mut facts = facts(&busy, &input, LIMITS);
        if rng.below(4) == 0 {
            // Some run out of fuel in the middle.
            facts.workload.manifest.limits.fuel = rng.below(60_000);
        }
        let mut live = Runner::new(1);
        let expected = session(&facts, &answers, |job| live.run(job));
        // Always from the start of the segment.
        let again = session(&facts, &answers, |job| Runner::new(0).run(job));
        assert_eq!(again, expected, "seed {seed}");
        // Forgotten at random, with answers that came in bunches.
        let mut runner = Runner::new(1);
        let mixed = session(&facts, &answers, |job| {
            if rng.below(3) == 0 {
                runner.forget(&job.facts.session);
                replays += 1;
            }
            let ran = runner.run(job);
            if rng.below(4) == 0 {
                assert_eq!(runner.run(job), ran, "seed {seed}: asked again");
            }
            ran
        });
        assert_eq!(mixed, expected, "seed {seed}");
    }
    assert!(replays > 50, "{replays}");
}

#[test]
fn answers_in_bunches_are_as_good() {
    let facts = facts(&module(BUSY), &[6, 0], LIMITS);
    let answers: Vec<_> = (0..6).map(|n| value(&[n; 20], n.into())).collect();
    let whole = Runner::new(0).run(&job_of(facts.clone(), answers.clone()));
    for first in 0..6 {
        let mut runner = Runner::new(1);
        let ran = runner.run(&job_of(facts.clone(), answers[..first].to_vec()));
        assert!(matches!(ran.stop, Stop::Asks { .. }), "{ran:?}");
        assert_eq!(runner.run(&job_of(facts.clone(), answers.clone())), whole, "from {first} on");
    }
}

#[test]
fn another_history_is_not_continued() {
    let facts = facts(&module(BUSY), &[3, 0], LIMITS);
    let mut runner = Runner::new(1);
    runner.run(&job_of(facts.clone(), vec![value(b"one", 1)]));
    let other = job_of(facts, vec![value(b"two", 1), value(b"x", 2)]);
    assert_eq!(runner.run(&other), Runner::new(0).run(&other));
}

#[test]
fn the_longest_waiting_goes_first() {
    let module = module(BUSY);
    let job = |name: u8| {
        let mut facts = facts(&module, &[2, 0], LIMITS);
        facts.session = [name; 32].into();
        job_of(facts, Vec::new())
    };
    let mut runner = Runner::new(2);
    for name in [1, 2, 3] {
        runner.run(&job(name));
        assert!(runner.live() <= 2);
    }
    assert_eq!(runner.live(), 2);
    runner.forget(&job(1).facts.session);
    assert_eq!(runner.live(), 2, "the first was dropped for the third");
    runner.forget(&job(3).facts.session);
    assert_eq!(runner.live(), 1);
}

#[test]
fn leaves_bind_what_was_given_and_done() {
    let facts = facts(&module(BUSY), &[2, 0], LIMITS);
    let mut runner = Runner::new(1);
    let first = job_of(facts.clone(), Vec::new());
    let second = job_of(facts.clone(), vec![value(b"a", 1)]);
    let other = job_of(facts, vec![value(b"b", 1)]);
    let leaf = |runner: &mut Runner, job: &Job, index| runner.run(job).leaf(job, index);
    let leaves =
        [leaf(&mut runner, &first, 0), leaf(&mut runner, &second, 2), leaf(&mut runner, &other, 2)];
    assert_eq!(leaves.map(|leaf| leaf.index), [0, 2, 2]);
    for [one, two] in [[0, 1], [1, 2], [0, 2]] {
        assert_ne!(leaves[one].input_hash, leaves[two].input_hash);
        assert_ne!(leaves[one].output_hash, leaves[two].output_hash);
    }
    assert_eq!(leaves[1], leaf(&mut runner, &second, 2));
}

#[test]
fn stops_and_states_have_their_own_digests() {
    let bytes = b"x".to_vec();
    let state = Arc::new(State::from([(Vec::new(), bytes.clone())]));
    let stops = [
        Stop::Finished { output: bytes.clone() },
        Stop::Failed { reason: "x".into() },
        Stop::Checkpoint { state },
        Stop::Finished { output: encode_state(&State::from([(Vec::new(), bytes)])) },
    ];
    let ids: std::collections::BTreeSet<_> = stops.iter().map(Stop::id).collect();
    assert_eq!(ids.len(), stops.len());
}

#[test]
fn states_have_one_encoding() {
    let state = State::from([(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), Vec::new())]);
    let bytes = encode_state(&state);
    assert_eq!(bytes, b"\0\0\0\x02\0\0\0\x01a\0\0\0\x011\0\0\0\x01b\0\0\0\0");
    assert_eq!(decode_state(&bytes), Ok(state));
    for length in 0..bytes.len() {
        assert!(decode_state(&bytes[..length]).is_err(), "{length}");
    }
    assert!(decode_state(&[&bytes[..], &[0]].concat()).is_err());
    let twice = b"\0\0\0\x02\0\0\0\x01a\0\0\0\0\0\0\0\x01a\0\0\0\0";
    assert!(decode_state(twice).is_err());
    assert!(decode_state(&[255; 8]).is_err());
}
