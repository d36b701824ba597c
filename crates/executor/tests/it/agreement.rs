//! Sessions that ask the world, and members that lie.

use session_core::{Span, Text};
use session_crypto::Signer;
use session_executor::Outcome;
use session_executor::facts::Purpose;
use session_executor::report::SessionState;
use session_protocol::attestation::{Kind, Vote};
use session_protocol::evidence::Evidence;
use session_protocol::workload::Message;
use session_protocol::workload::message::VoteOf;
use session_protocol::workload::oracle::write_key;
use session_protocol::workload::step::{StepKind, StepState};

use crate::program::{checkpoints, echo, reads, writes};
use crate::world::{Fate, World, value};

#[test]
fn a_read_is_agreed_on_and_given_to_the_program() {
    for members in [4, 7] {
        let mut world = World::new(10, members);
        let session = world.create(0, &reads(3), b"");
        world.run_to_end();
        let report = world.agreed(session);
        assert_eq!(report.output.as_deref(), Some(&b"\x0042"[..]));
        let kinds: Vec<_> = report.steps.iter().map(|step| (step.kind, step.state)).collect();
        let (compute, read) = (StepKind::Compute, StepKind::ReadExternal);
        let order = [compute, read, compute, read, compute, read, compute];
        assert_eq!(kinds, order.map(|kind| (kind, StepState::Completed)));
        assert!(matches!(world.fates[&session], Fate::Finalized { .. }));
    }
}

#[test]
fn a_write_is_done_once_with_one_key() {
    let mut world = World::new(11, 4);
    let session = world.create(0, &writes(), b"");
    world.run_to_end();
    let report = world.agreed(session);
    assert_eq!(report.output.as_deref(), Some(&b"\x0042"[..]));
    assert_eq!(report.steps[1].kind, StepKind::WriteExternal);
    let writes: Vec<_> = world
        .fetched
        .iter()
        .filter_map(|(_, fetch)| match fetch.purpose {
            Purpose::Write { key } => Some(key),
            _ => None,
        })
        .collect();
    assert_eq!(writes, [write_key(&session, 1)]);
}

#[test]
fn a_program_goes_on_as_new_with_what_it_keeps() {
    let mut world = World::new(12, 4);
    let session = world.create(0, &checkpoints(3), b"");
    world.run_to_end();
    let report = world.agreed(session);
    assert_eq!(report.output.as_deref(), Some(&[3, 0, 0, 0][..]));
    assert_eq!((report.checkpoints, report.current_step, report.steps.len()), (3, 11, 12));
    let compute = |step: usize| report.steps[step].kind == StepKind::Compute;
    // Compute steps and requests take turns, but for the two compute steps around a checkpoint.
    assert!((0..12).all(|step| compute(step) == (step % 3 != 1)));
}

#[test]
fn no_agreement_is_told_to_the_program() {
    let mut world = World::new(13, 4);
    world.outside = Box::new(|node, _| value(format!("member {node}").as_bytes()));
    let session = world.create(0, &reads(1), b"");
    world.run_to_end();
    let report = world.agreed(session);
    assert_eq!(report.state, SessionState::Finalized);
    assert_eq!(report.output.as_deref(), Some(&b"\x01no consensus"[..]));
    assert!(report.retries > 2, "{} retries", report.retries);
}

#[test]
fn one_member_that_sees_something_else_changes_nothing() {
    let mut world = World::new(14, 4);
    world.outside = Box::new(|node, _| value(if node == 2 { b"13" } else { b"42" }));
    let session = world.create(0, &reads(2), b"");
    world.run_to_end();
    assert_eq!(world.agreed(session).output.as_deref(), Some(&b"\x0042"[..]));
}

#[test]
fn bytes_from_the_world_are_counted() {
    let mut world = World::new(15, 4);
    world.outside = Box::new(|_, _| Outcome::Observed {
        observation: session_protocol::workload::Observation::Value {
            bytes: session_core::Blob::new("42").unwrap(),
        },
        received: 1000,
    });
    world.create(0, &reads(3), b"");
    world.run_to_end();
    let mut left: Vec<u64> = world
        .fetched
        .iter()
        .filter(|(node, _)| *node == 1)
        .map(|(_, fetch)| fetch.bytes_left)
        .collect();
    left.dedup();
    let whole = 1 << 20;
    assert_eq!(left, [whole, whole - 1000, whole - 2000]);
}

/// Makes a member attest another end, too.
fn second_vote(of: &VoteOf, keys: &dyn Signer) -> VoteOf {
    let mut statement = of.vote.statement;
    statement.root = [9; 32].into();
    let mut rng = session_core::SeededEntropy::new(1);
    VoteOf { vote: statement.sign(keys, &mut rng), ..of.clone() }
}

fn is_end(vote: &Vote) -> bool {
    vote.statement.kind == Kind::SessionComplete
}

#[test]
fn two_different_votes_about_the_end_are_evidence() {
    let mut world = World::new(16, 4);
    world.nodes[3].tongue = Some(Box::new(|keys, _, message| match &message {
        Message::Attestation(of) if is_end(&of.vote) => {
            let other = Message::Attestation(Box::new(second_vote(of, keys)));
            vec![message, other]
        }
        _ => vec![message],
    }));
    // Who hears both before it ends keeps evidence: the last honest member to end does.
    world.nodes[0].deaf = true;
    let session = world.create(1, &echo(), b"");
    world.run_for(Span::from_secs(1));
    world.nodes[0].deaf = false;
    let liar = world.nodes[3].id;
    world.run_for(Span::from_secs(15));
    assert!(world.fates.contains_key(&session));
    let accused = world.accused.iter().filter(|evidence| match evidence {
        Evidence::Equivocation { first, second } => {
            assert!(first.contradicts(second) && is_end(first));
            first.node == liar
        }
        _ => false,
    });
    assert!(accused.count() > 0);
}

#[test]
fn a_liar_is_not_believed() {
    let mut world = World::new(17, 4);
    world.liars = true;
    let others: Vec<_> = world.ids().into_iter().collect();
    // It says that others voted, attests another end only, and makes up its records.
    world.nodes[2].tongue = Some(Box::new(move |keys, _, message| match &message {
        Message::Attestation(of) => {
            let mut forged = (**of).clone();
            forged.vote.node = others[0];
            let own = match is_end(&of.vote) {
                true => Message::Attestation(Box::new(second_vote(of, keys))),
                false => message.clone(),
            };
            vec![Message::Attestation(Box::new(forged)), own]
        }
        Message::Record(of) => {
            let mut of = of.clone();
            of.record.time = of.record.time + Span::from_secs(60);
            vec![Message::Record(of)]
        }
        _ => vec![message],
    }));
    let session = world.create(0, &reads(2), b"");
    world.run_to_end();
    let output = [0, 1, 3].map(|node| world.report(node, session).output);
    assert!(output.iter().all(|output| output.as_deref() == Some(&b"\x0042"[..])));
    assert!(matches!(world.fates[&session], Fate::Finalized { .. }));
}

#[test]
fn who_is_no_member_has_no_say() {
    let mut world = World::new(18, 4);
    world.liars = true;
    let session = world.create(0, &reads(1), b"");
    while world.running()[1] == 0 {
        world.step();
    }
    let stranger = world.nodes[4].id;
    let at =
        Message::Talk(Box::new(session_protocol::workload::message::Talk::At { session, step: 1 }));
    let membership = std::sync::Arc::clone(&world.membership);
    let verifier = std::sync::Arc::new(session_crypto::fake::FakeVerifier);
    let checker = session_protocol::inbound::Checker::new(membership as _, verifier);
    let message = Box::new(checker.check_workload(at).unwrap());
    world.input(1, session_executor::Input::FromPeer { node: stranger, message });
    let why = "it speaks in a session of which it is no member";
    assert_eq!(world.misbehaved, [(stranger, why)]);
    world.run_to_end();
    assert_eq!(world.agreed(session).error, None::<Text<1024>>);
}
