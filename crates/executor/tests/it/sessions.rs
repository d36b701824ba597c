//! Sessions from their creation to their end.

use session_core::{Span, Time, sha256};
use session_executor::Note;
use session_executor::report::SessionState;
use session_protocol::workload::message::{Answer, Question, SessionRefusal};
use session_protocol::workload::receipt::receipts_root;
use session_protocol::workload::step::{Step, StepKind, StepState, oracle_root};

use crate::program::{Program, echo, program};
use crate::world::{Fate, START, World};

#[test]
fn a_session_without_io_ends_with_its_output() {
    let mut world = World::new(1, 4);
    let session = world.create(4, &echo(), b"the input");
    world.run_to_end();
    let report = world.agreed(session);
    assert_eq!(report.state, SessionState::Finalized);
    assert_eq!(report.output.as_deref(), Some(&b"the input"[..]));
    assert_eq!(report.output_hash, Some(sha256(b"the input").into()));
    let leaves: Vec<_> = report.steps.iter().map(Step::leaf).collect();
    assert_eq!(report.oracle_root, Some(oracle_root(&leaves)));
    assert_ne!(report.receipts_root, Some(receipts_root(&[])), "it emitted a message");
    assert_eq!((report.receipts, report.log_lines, report.steps.len()), (1, 1, 1));
    let step = &report.steps[0];
    assert_eq!((step.index, step.kind, step.state), (0, StepKind::Compute, StepState::Completed));
    assert!(report.fuel > 0 && report.error.is_none());
    let fate = Fate::Finalized {
        output: sha256(b"the input").into(),
        oracle_root: report.oracle_root.unwrap(),
        receipts_root: report.receipts_root.unwrap(),
    };
    assert_eq!(world.fates[&session], fate);
    assert_eq!(world.running(), [0; 5]);
}

fn fails(program: &Program) -> (String, Fate) {
    let mut world = World::new(2, 4);
    let session = world.create(0, program, b"");
    world.run_to_end();
    let report = world.agreed(session);
    assert_eq!(report.state, SessionState::Failed);
    assert_eq!((report.output, report.oracle_root), (None, None));
    assert_eq!(report.steps.last().unwrap().state, StepState::Failed);
    assert_eq!(world.running(), [0; 5]);
    (report.error.unwrap().to_string(), world.fates.remove(&session).unwrap())
}

#[test]
fn a_trap_and_too_little_fuel_are_attested_failures() {
    for (body, says) in [("(unreachable)", "unreachable"), ("(loop $l (br $l))", "fuel")] {
        let (error, fate) = fails(&program("", body));
        assert!(error.contains(says), "{error}");
        assert_eq!(fate, Fate::Failed { reason: error, attested: true });
    }
}

#[test]
fn a_module_that_cannot_be_compiled_is_an_attested_failure() {
    let mut broken = echo();
    let good = program("", "(unreachable)");
    broken.module = good.module[..good.module.len() - 3].to_vec();
    let mut workload: session_protocol::workload::Workload =
        session_core::Decode::decode_exact(&broken.workload).unwrap();
    workload.module = session_protocol::workload::blob_id(&broken.module);
    broken.workload = session_core::Encode::to_bytes(&workload);
    let (_, fate) = fails(&broken);
    assert!(matches!(fate, Fate::Failed { attested: true, .. }));
}

#[test]
fn only_so_many_sessions_run_and_the_oldest_that_wait_come_first() {
    let mut world = World::with(3, 4, 2);
    // They ask the world, so that none ends at once.
    let program = crate::program::reads(1);
    world.upload(4, &program, b"");
    let mut sessions = Vec::new();
    for _ in 0..7 {
        sessions.push(world.open(&program, b"", Span::from_secs(300)));
        world.now = world.now + Span::from_millis(10);
    }
    for node in 0..4 {
        world.upload(node, &program, b"");
    }
    world.block();
    while world.nodes[0].exec.as_ref().unwrap().running() == 0 {
        world.step();
    }
    assert_eq!(world.nodes[0].exec.as_ref().unwrap().waiting(), 5);
    let full = Answer::Refused { refusal: SessionRefusal::Full };
    assert_eq!(world.ask(0, Question::Start { session: sessions[6] }), full);
    assert_eq!(full_text(&full), "maximum sessions reached");
    while !world.sessions.is_empty() {
        assert!(world.running().into_iter().all(|running| running <= 2));
        assert!(world.step());
    }
    for node in 0..4 {
        let started: Vec<_> = world.nodes[node]
            .notes
            .iter()
            .filter_map(|note| match note {
                Note::Started { session } => Some(*session),
                _ => None,
            })
            .collect();
        assert_eq!(started, sessions, "in the order of their creation");
    }
    assert_eq!(world.running(), [0; 5]);
    assert!(world.fates.values().all(|fate| matches!(fate, Fate::Finalized { .. })));
}

fn full_text(answer: &Answer) -> String {
    match answer {
        Answer::Refused { refusal } => refusal.to_string(),
        other => format!("{other:?}"),
    }
}

#[test]
fn a_session_that_nobody_brings_fails_at_its_deadline_and_frees_its_place() {
    let mut world = World::new(4, 4);
    let session = world.open(&echo(), b"", Span::from_secs(60));
    world.block();
    world.run_for(Span::from_millis(100));
    let waiting = |world: &World| -> Vec<usize> {
        world.nodes.iter().map(|node| node.exec.as_ref().unwrap().waiting()).collect()
    };
    assert_eq!(waiting(&world), [1, 1, 1, 1, 0]);
    assert_eq!(world.report(0, session).state, SessionState::Pending);
    // Blocks come now and then.
    while world.sessions.contains_key(&session) && world.now < START + Span::from_secs(120) {
        world.run_for(Span::from_secs(5));
        world.block();
    }
    world.run_for(Span::from_secs(1));
    let fate = Fate::Failed { reason: "deadline".to_owned(), attested: false };
    assert_eq!(world.fates[&session], fate);
    assert_eq!(waiting(&world), [0; 5]);
    let later: Time = START + Span::from_secs(60);
    assert!(world.now >= later);
}

#[test]
fn what_ended_stays_ended() {
    let mut world = World::new(5, 4);
    let program = echo();
    let session = world.create(4, &program, b"x");
    // A chain that forgets what it took: the session is open again, and pending.
    let open = world.sessions[&session].clone();
    world.run_to_end();
    let before = world.agreed(session);
    world.sessions.insert(session, open);
    world.block();
    world.run_for(Span::from_secs(5));
    assert_eq!(world.running(), [0; 5]);
    assert_eq!(world.agreed(session), before);
    let again = world.ask(0, Question::Start { session });
    assert_eq!(again, Answer::Refused { refusal: SessionRefusal::NotPending });
    let started = |note: &&Note| matches!(note, Note::Started { .. });
    for node in &world.nodes[..4] {
        assert_eq!(node.notes.iter().filter(started).count(), 1);
    }
}
