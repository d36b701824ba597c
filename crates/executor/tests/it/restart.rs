//! Members that die, wherever it hurts, and go on from their journals.

use session_core::Span;
use session_executor::report::{Report, SessionState};

use crate::program::{Program, checkpoints, echo, reads, writes};
use crate::world::World;

fn run(program: &Program, dies: Option<(usize, usize)>) -> (Report, Vec<usize>) {
    let mut world = World::new(20, 4);
    if let Some((node, records)) = dies {
        world.nodes[node].dies_at = Some(records);
    }
    let session = world.create(4, program, b"in");
    world.run_to_end();
    let records = world.nodes[..4].iter().map(|node| node.journal_records()).collect();
    (world.agreed(session), records)
}

/// Kills every member at every record of its journal, one at a time: it comes to the same.
fn dies_everywhere(program: &Program) {
    let (expected, records) = run(program, None);
    assert_eq!(expected.state, SessionState::Finalized);
    for (node, records) in records.into_iter().enumerate() {
        for record in 1..=records {
            let (report, _) = run(program, Some((node, record)));
            assert_eq!(report.output, expected.output, "member {node}, record {record}");
            assert_eq!(report.fuel, expected.fuel, "member {node}, record {record}");
            assert_eq!(report.receipts_root, expected.receipts_root);
            assert_eq!(report.state, SessionState::Finalized);
        }
    }
}

#[test]
fn a_member_dies_at_every_record_of_a_session_without_io() {
    dies_everywhere(&echo());
}

#[test]
fn a_member_dies_at_every_record_of_a_session_that_reads() {
    dies_everywhere(&reads(2));
}

#[test]
fn a_member_dies_at_every_record_of_a_session_that_writes() {
    dies_everywhere(&writes());
}

#[test]
fn a_member_dies_at_every_record_of_a_session_that_goes_on_as_new() {
    dies_everywhere(&checkpoints(1));
}

#[test]
fn all_members_die_and_come_back() {
    let mut world = World::new(21, 4);
    let session = world.create(4, &reads(5), b"");
    for round in 0..4 {
        world.run_for(Span::from_millis(150));
        for node in 0..4 {
            if (node + round) % 4 != 0 {
                world.kill(node);
            }
        }
        world.run_for(Span::from_secs(2));
    }
    world.run_to_end();
    let report = world.agreed(session);
    assert_eq!(report.output.as_deref(), Some(&b"\x0042"[..]));
}

#[test]
fn a_member_that_slept_through_it_catches_up() {
    let mut world = World::new(22, 4);
    world.nodes[1].deaf = true;
    let session = world.create(0, &reads(3), b"");
    // It has the program, and sees nothing of the rest.
    world.upload(1, &reads(3), b"");
    world.run_to_end();
    world.nodes[1].deaf = false;
    world.run_for(Span::from_secs(90));
    let report = world.agreed(session);
    assert_eq!(report.state, SessionState::Finalized);
}
