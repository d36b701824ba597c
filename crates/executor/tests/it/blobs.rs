//! Programs and inputs on their way.

use session_core::{Blob, Span};
use session_executor::Input;
use session_executor::report::SessionState;
use session_protocol::workload::message::{Answer, Question, SessionCreate, SessionRefusal, Talk};
use session_protocol::workload::{Message, blob_id};
use session_storage::{Store, Table};

use crate::program::echo;
use crate::world::World;

#[test]
fn a_session_begins_once_its_input_arrives() {
    let mut world = World::new(30, 4);
    let program = echo();
    let session = world.open(&program, b"late", Span::from_secs(300));
    world.block();
    world.run_for(Span::from_secs(30));
    assert_eq!(world.running(), [0; 5]);
    let missing = Answer::Refused {
        refusal: SessionRefusal::BlobMissing { blob: blob_id(&program.workload) },
    };
    assert_eq!(world.ask(0, Question::Start { session }), missing);
    // One member gets it: the others pull it from there without being told.
    world.upload(2, &program, b"late");
    world.run_to_end();
    let report = world.agreed(session);
    assert_eq!(report.output.as_deref(), Some(&b"late"[..]));
}

#[test]
fn large_inputs_travel_in_pieces() {
    let mut world = World::new(31, 4);
    let mut program = echo();
    // A module of almost 1 MiB: a custom section of zeros behind it.
    let padding = 900_000_usize;
    let mut length = padding + 3;
    program.module.push(0);
    while length >= 0x80 {
        program.module.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    program.module.push(u8::try_from(length).unwrap());
    program.module.extend_from_slice(&[2, b'p', b'd']);
    program.module.extend_from_slice(&vec![7; padding]);
    let mut workload: session_protocol::workload::Workload =
        session_core::Decode::decode_exact(&program.workload).unwrap();
    workload.module = blob_id(&program.module);
    program.workload = session_core::Encode::to_bytes(&workload);
    let session = world.create(4, &program, &[5; 1000]);
    world.run_to_end();
    assert_eq!(world.agreed(session).state, SessionState::Finalized);
}

#[test]
fn a_source_that_lies_is_left_for_another() {
    let mut world = World::new(32, 4);
    world.liars = true;
    world.nodes[4].tongue = Some(Box::new(|_, _, message| match message {
        Message::Talk(talk) => match *talk {
            Talk::Part { blob, total, offset, bytes } => {
                let mut bytes = bytes.into_vec();
                bytes[0] ^= 1;
                let bytes = Blob::new(bytes).unwrap();
                let talk = Talk::Part { blob, total, offset, bytes };
                vec![Message::Talk(Box::new(talk))]
            }
            other => vec![Message::Talk(Box::new(other))],
        },
        other => vec![other],
    }));
    let program = echo();
    let session = world.create(4, &program, b"true");
    world.run_for(Span::from_secs(5));
    assert_eq!(world.running(), [0; 5]);
    let liar = world.nodes[4].id;
    assert!(world.misbehaved.iter().all(|(node, _)| *node == liar));
    assert!(!world.misbehaved.is_empty());
    world.upload(0, &program, b"true");
    world.run_to_end();
    assert_eq!(world.agreed(session).output.as_deref(), Some(&b"true"[..]));
}

#[test]
fn uploads_are_forgotten_after_an_hour_and_programs_with_their_sessions() {
    let mut world = World::new(33, 4);
    let held = |world: &World, node: usize| world.nodes[node].store.records(Table::Blob, &[]).len();
    world.upload(4, &echo(), b"nobody asks for this");
    assert_eq!(held(&world, 4), 6);
    world.run_for(Span::from_secs(3601));
    assert_eq!(held(&world, 4), 0);

    let session = world.create(0, &echo(), b"in use");
    world.run_to_end();
    world.run_for(Span::from_days(6));
    assert_eq!(world.agreed(session).output.as_deref(), Some(&b"in use"[..]));
    assert!((0..4).all(|node| held(&world, node) == 6 && world.nodes[node].journal_records() > 0));
    world.run_for(Span::from_days(1));
    assert!((0..4).all(|node| world.nodes[node].journal_records() == 0));
    let unknown = Answer::Refused { refusal: SessionRefusal::NotFound };
    assert_eq!(world.ask(0, Question::Session { session }), unknown);
    world.run_for(Span::from_days(3));
    assert!((0..4).all(|node| held(&world, node) == 0));
}

#[test]
fn what_is_too_large_or_not_here_is_refused() {
    let mut world = World::new(34, 4);
    let program = echo();
    let (workload, input) = (blob_id(&program.workload), blob_id(b"x"));
    let session = world.open(&program, b"x", Span::from_secs(300));
    world.block();
    world.run_for(Span::from_millis(100));
    let create = |world: &mut World, program, input| {
        world.order(4, |id| Input::Create { id, session, program, input })
    };
    let missing = |blob| Answer::Refused { refusal: SessionRefusal::BlobMissing { blob } };
    assert_eq!(create(&mut world, workload, input), missing(workload));
    world.input(4, Input::Put { id: 1_000, bytes: program.workload.clone() });
    assert_eq!(create(&mut world, workload, input), missing(input));
    world.input(4, Input::Put { id: 1_001, bytes: b"x".to_vec() });
    assert_eq!(create(&mut world, workload, input), missing(blob_id(&program.module)));
    // The input is no workload.
    match create(&mut world, input, input) {
        Answer::Refused { refusal: SessionRefusal::BadWorkload { .. } } => {}
        other => panic!("{other:?}"),
    }
    world.input(4, Input::Put { id: 1_002, bytes: program.module.clone() });
    world.input(4, Input::Put { id: 1_003, bytes: b"y".to_vec() });
    match create(&mut world, workload, blob_id(b"y")) {
        Answer::Refused { refusal: SessionRefusal::Other { why } } => {
            assert_eq!(&*why, "the chain's session has another program or another input");
        }
        other => panic!("{other:?}"),
    }
    let unknown = SessionCreate { session: [8; 32].into(), program: workload, input };
    let answer = world.order(4, |id| Input::Create {
        id,
        session: unknown.session,
        program: workload,
        input,
    });
    assert_eq!(answer, Answer::Refused { refusal: SessionRefusal::NotFound });
}
