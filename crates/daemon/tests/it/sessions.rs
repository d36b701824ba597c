//! Workload sessions inside of nodes: who asks is answered, and what is said finds its way.

use session_core::Span;
use session_daemon::Input;
use session_protocol::workload::blob_id;
use session_protocol::workload::message::{Answer, Message, Question, SessionRefusal, Talk};

use crate::world::World;

fn ask(id: u64) -> Input {
    Input::AskSession { id, question: Question::Session { session: [1; 32].into() } }
}

fn create(id: u64) -> Input {
    let (program, input) = ([2; 32].into(), [3; 32].into());
    Input::CreateSession { id, session: [1; 32].into(), program, input }
}

#[test]
fn a_node_without_a_chain_refuses_sessions() {
    let mut world = World::new(4);
    world.feed(0, vec![Input::PutBlob { id: 1, bytes: b"program".to_vec() }], false);
    assert_eq!(world.blobs, [(1, Err(SessionRefusal::NoChain))]);
    world.feed(0, vec![create(2), ask(3)], false);
    let refused = |id| (id, Answer::Refused { refusal: SessionRefusal::NoChain });
    assert_eq!(world.answers, [refused(2), refused(3)]);
}

#[test]
fn what_is_brought_to_one_node_another_one_gets() {
    let mut world = World::with_sessions(4);
    world.advance(Span::from_secs(1));
    let bytes = b"program".to_vec();
    let blob = blob_id(&bytes);
    world.feed(0, vec![Input::PutBlob { id: 1, bytes: bytes.clone() }], false);
    assert_eq!(world.blobs, [(1, Ok(blob))]);

    world.talk.clear();
    let want = |blob| Message::Talk(Box::new(Talk::Want { blob, offset: 0 }));
    world.say(1, 0, &want(blob));
    let part = world.talk.iter().find_map(|talk| match talk {
        Talk::Part { blob: of, total, offset: 0, bytes } if *of == blob => Some((*total, bytes)),
        _ => None,
    });
    let (total, got) = part.expect("node 0 sends what it has");
    assert_eq!((total as usize, &**got), (bytes.len(), &bytes[..]));

    let missing = [9; 32].into();
    world.say(1, 0, &want(missing));
    assert!(world.talk.contains(&Talk::Lacks { blob: missing }), "{:?}", world.talk);
}

#[test]
fn a_local_caller_is_answered_once() {
    let mut world = World::with_sessions(4);
    world.advance(Span::from_secs(1));
    world.feed(2, vec![ask(7)], false);
    world.advance(Span::from_secs(60));
    assert!(matches!(&world.answers[..], [(7, Answer::Refused { .. })]), "{:?}", world.answers);
}
