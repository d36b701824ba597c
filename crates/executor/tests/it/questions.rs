//! Questions, asked of members and of nodes that are none.

use session_core::{Decode, Inline, Span};
use session_crypto::fake::FakeVerifier;
use session_executor::bundle::{self, Bundle, Ground};
use session_executor::report::SessionState;
use session_protocol::workload::blob_id;
use session_protocol::workload::message::{Answer, Question, SessionRefusal};

use crate::program::{checkpoints, echo, reads};
use crate::world::World;

#[test]
fn a_node_that_is_no_member_asks_one() {
    let mut world = World::new(40, 4);
    let session = world.create(4, &reads(1), b"");
    let pending = world.report(4, session);
    assert!(pending.state <= SessionState::WaitingIo);
    world.run_to_end();
    // Also once the chain no longer shows it.
    let (own, relayed) = (world.report(0, session), world.report(4, session));
    assert_eq!((own.output, own.oracle_root), (relayed.output, relayed.oracle_root));
    // A member that is silent is passed over.
    for node in 0..3 {
        world.nodes[node].deaf = true;
    }
    assert_eq!(world.report(4, session).state, SessionState::Finalized);
    world.nodes[3].deaf = true;
    match world.ask(4, Question::Session { session }) {
        Answer::Refused { refusal } => {
            assert_eq!(refusal.to_string(), "no member of the session answers");
        }
        other => panic!("{other:?}"),
    }
    let unknown = world.ask(4, Question::Session { session: [1; 32].into() });
    assert_eq!(unknown, Answer::Refused { refusal: SessionRefusal::NotFound });
}

#[test]
fn logs_are_read_from_a_line_on() {
    let mut world = World::new(41, 4);
    let session = world.create(0, &echo(), b"");
    world.run_to_end();
    let Answer::Logs { lines, next } = world.ask(4, Question::Logs { session, from: 0 }) else {
        panic!("no logs");
    };
    assert_eq!((lines.iter().map(|line| &**line).collect::<Vec<_>>(), next), (vec!["hello"], 1));
    let after = world.ask(0, Question::Logs { session, from: 1 });
    assert!(matches!(after, Answer::Logs { lines, next: 1 } if lines.is_empty()));
}

fn fetch(world: &mut World, at: usize, session: session_core::SessionId) -> Bundle {
    let mut bytes = Vec::new();
    loop {
        let offset = u32::try_from(bytes.len()).unwrap();
        match world.ask(at, Question::Bundle { session, offset }) {
            Answer::Bundle { total, id, bytes: piece } => {
                bytes.extend_from_slice(&piece);
                if bytes.len() == total as usize {
                    assert_eq!(blob_id(&bytes), id);
                    return Bundle::decode_exact(&bytes).unwrap();
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn the_bundle_of_a_session_proves_it() {
    let programs = [echo(), reads(3), checkpoints(2), crate::program::writes()];
    for (seed, program) in (42..).zip(programs) {
        let mut world = World::new(seed, 4);
        let session = world.create(0, &program, b"the input");
        let early = world.ask(0, Question::Bundle { session, offset: 0 });
        assert!(matches!(early, Answer::Refused { .. }));
        world.run_to_end();
        let report = world.agreed(session);
        for at in [1, 4] {
            let bundle = fetch(&mut world, at, session);
            let ground = Ground { verifier: &FakeVerifier, workers: &Inline, known: None };
            let verdict = bundle::verify(&bundle, &ground).unwrap();
            assert_eq!((verdict.steps, verdict.fuel), (report.current_step + 1, report.fuel));
            match verdict.outcome {
                bundle::Outcome::Finished { output, oracle_root, receipts_root } => {
                    assert_eq!(Some(output), report.output);
                    assert_eq!(Some(oracle_root), report.oracle_root);
                    assert_eq!(Some(receipts_root), report.receipts_root);
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn finalize_tells_the_chain_again() {
    let mut world = World::new(46, 4);
    let session = world.create(0, &echo(), b"");
    world.run_for(Span::from_millis(50));
    while world.report(1, session).state != SessionState::Finalized {
        world.run_for(Span::from_millis(1));
    }
    assert_eq!(world.ask(1, Question::Finalize { session }), Answer::Done);
    world.run_to_end();
    assert!(world.fates.contains_key(&session));
}
