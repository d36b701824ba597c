//! Puzzles of strangers: what a solution is worth, and what is looked at before it is.

use std::sync::Arc;

use session_core::{SeededEntropy, Span, SwarmId, Time};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::Checker;
use session_protocol::inbound::CheckedOperation;
use session_protocol::inbox::{INTRODUCTIONS, Mailbox, message_id};
use session_protocol::membership::{NodeRecord, StaticMembership, network_id};
use session_protocol::puzzle::{self, CHECKED_MAX, Puzzle, Solution, WINDOW, window_of};
use session_protocol::request::{Operation, Refusal, Request};

use crate::values::{blob, list, text};

/// In the middle of a window.
fn now() -> Time {
    Time::from_millis(1_800_000_000_000 / WINDOW.as_millis() * WINDOW.as_millis() + 300_000)
}

fn mailbox() -> Mailbox {
    Mailbox::derive(&[1; 32].into(), &[b"intro"])
}

fn puzzle(bits: u8) -> Puzzle {
    let address = mailbox().address();
    let message = message_id(&address, INTRODUCTIONS, b"hello");
    Puzzle { network: network_id("test"), address, message, window: window_of(now()), bits }
}

fn introduce(solution: Solution, data: &[u8]) -> Operation {
    let mailbox = mailbox();
    Operation::Introduce {
        rule: mailbox.rule(),
        token: mailbox.write,
        solution,
        timestamp: now(),
        ttl: Span::from_secs(60),
        data: blob(data),
    }
}

fn checked(operations: Vec<Operation>) -> Vec<Result<CheckedOperation, Refusal>> {
    let keys = FakeIdentity::generate(&mut SeededEntropy::new(1)).public().clone();
    let record = NodeRecord { keys, address: text("h:1"), swarm: SwarmId(0) };
    let network = StaticMembership::new("test", [record]).expect("one node");
    let checker = Checker::new(Arc::new(network), Arc::new(FakeVerifier));
    checker.check_request(Request { id: 1, operations: list(operations) }).operations
}

fn worth(operation: Operation) -> Result<u8, Refusal> {
    match checked(vec![operation]).remove(0)? {
        CheckedOperation::Deposit(deposit) => Ok(deposit.into_inner().solved),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_solution_is_for_one_item_mailbox_window_and_network() {
    let asked = puzzle(7);
    let solution = asked.solve().expect("in time");
    assert!(asked.bits_of(solution.nonce) >= 7);
    let others = [
        Puzzle { network: network_id("other"), ..asked },
        Puzzle { address: [9; 32].into(), ..asked },
        Puzzle { message: [9; 32].into(), ..asked },
        Puzzle { window: asked.window + 1, ..asked },
    ];
    assert!(others.iter().all(|other| other.bits_of(solution.nonce) < 7));

    assert!(worth(introduce(solution, b"hello")).expect("it is checked") >= 7);
    assert!(worth(introduce(solution, b"hullo")).expect("it is checked") < 7);
}

#[test]
fn what_costs_nothing_is_looked_at_first() {
    let solution = |window: u64| Solution { window, nonce: 0 };
    let window = window_of(now());
    for fine in [window, window - 1] {
        assert!(worth(introduce(solution(fine), b"hello")).is_ok());
    }
    for over in [0, window - 2, window + 1, u64::MAX] {
        let refused = worth(introduce(solution(over), b"hello"));
        let Err(Refusal::BadRequest { field, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(&*field, "solution");
    }
    let Operation::Introduce { rule, solution, timestamp, ttl, data, .. } =
        introduce(solution(window), b"hello")
    else {
        unreachable!()
    };
    let token = mailbox().read;
    let stolen = Operation::Introduce { rule, token, solution, timestamp, ttl, data };
    assert_eq!(worth(stolen), Err(Refusal::BadCapability));
}

#[test]
fn a_few_solutions_of_a_request_are_checked() {
    let solution = Solution { window: window_of(now()), nonce: 0 };
    let all = (0..CHECKED_MAX as u8 + 2).map(|data| introduce(solution, &[data])).collect();
    let checked = checked(all);
    let (taken, busy) = checked.split_at(CHECKED_MAX);
    assert!(taken.iter().all(Result::is_ok));
    assert!(busy.iter().all(|it| matches!(it, Err(Refusal::RateLimited { .. }))));
}

#[test]
fn nobody_solves_more_than_is_ever_asked_for() {
    assert_eq!(puzzle(puzzle::BITS_MAX + 1).solve(), None);
    assert_eq!(puzzle(0).solve(), Some(Solution { window: window_of(now()), nonce: 0 }));
}
