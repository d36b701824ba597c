use session_core::committee::Committee;
use session_core::seed_ids::{AttestationDomain, Attested, session_id};
use session_core::{Digest, Epoch, NodeId, ServiceId, SessionId, Span, Text};
use session_crypto::Signer as _;
use session_protocol::attestation::{
    BadCertificate, QuorumCertificate, committee_root, failure_root, outcome_root,
};
use session_protocol::chain::Action;
use session_vm::ledger::Rejection;
use session_vm::query;
use session_vm::records::{
    NotAllowed, OpenAnchor, OpenSessions, SessionEvent, SessionPhase, SessionState,
};

use super::world::{HOUR, World};

const CREATOR: usize = 3;
/// Operates all nodes of genesis.
const OPERATOR: usize = 0;

const OUTPUT: [u8; 32] = [1; 32];
const ORACLE: [u8; 32] = [2; 32];
const RECEIPTS: [u8; 32] = [3; 32];

fn service() -> ServiceId {
    [5; 32].into()
}

fn create(time_max: Span) -> Action {
    let (program, input) = ([6; 32].into(), [7; 32].into());
    Action::CreateSession { service: service(), program, input, time_max }
}

fn finalize(session: SessionId, certificate: QuorumCertificate) -> Action {
    Action::FinalizeSession {
        session,
        output: OUTPUT.into(),
        oracle_root: ORACLE.into(),
        receipts_root: RECEIPTS.into(),
        certificate,
    }
}

fn fail(session: SessionId, reason: &str, certificate: Option<QuorumCertificate>) -> Action {
    Action::FailSession { session, reason: Text::new(reason).unwrap(), certificate }
}

fn outcome() -> Digest {
    outcome_root(&OUTPUT.into(), &ORACLE.into(), &RECEIPTS.into())
}

/// Four nodes and a session that is pending.
fn pending() -> (World, SessionId) {
    let mut world = World::new(4);
    // The epoch ends before the session does.
    world.pass(Span::from_secs(1));
    let tx = world.run(CREATOR, create(HOUR)).unwrap();
    let id = session_id(&service(), Epoch(0), &tx);
    (world, id)
}

fn running() -> (World, SessionId) {
    let (mut world, id) = pending();
    world.run(OPERATOR, Action::StartSession { session: id }).unwrap();
    (world, id)
}

fn phase(world: &World, id: &SessionId) -> SessionPhase {
    query::session(&world.state, id).unwrap().state.phase()
}

#[test]
fn the_chain_chooses_the_committee() {
    let (world, id) = pending();
    let session = query::session(&world.state, &id).unwrap();
    let nodes: Vec<NodeId> = world.nodes.keys().copied().collect();
    let randomness = query::epoch(&world.state).randomness;
    let expected = Committee::assign(&randomness, &service(), Epoch(0), &nodes).unwrap();
    assert_eq!(*session.committee, *expected.members());
    assert_eq!(session.creator, world.id(CREATOR));
    assert_eq!(session.deadline, session.created + HOUR);
    assert_eq!(session.state, SessionState::Pending);
}

#[test]
fn two_nodes_are_no_committee() {
    let mut world = World::new(2);
    let refused = world.run(CREATOR, create(HOUR)).unwrap_err();
    assert_eq!(refused, Rejection::NotEnoughNodes { got: 2, min: 3 });
    assert_eq!(refused.to_string(), "not enough eligible nodes");
}

#[test]
fn a_session_has_an_end() {
    let mut world = World::new(3);
    let max = query::params(&world.state).session_time_max;
    for got in [Span::ZERO, max + Span::from_millis(1)] {
        assert_eq!(world.run(CREATOR, create(got)), Err(Rejection::SessionTime { got, max }));
    }
    world.run(CREATOR, create(max)).unwrap();
}

#[test]
fn a_session_runs_and_ends_well() {
    let (mut world, id) = pending();
    let start = Action::StartSession { session: id };
    assert_eq!(world.run(CREATOR, start.clone()), Err(Rejection::NotInCommittee));
    world.run(OPERATOR, start).unwrap();
    world.pass(Span::from_secs(10));

    let certificate = world.certify(&id, outcome(), 3);
    // Anybody may bring the certificate.
    world.run(4, finalize(id, certificate)).unwrap();
    let session = query::session(&world.state, &id).unwrap();
    let SessionState::Finalized { started, ended, output, attestation, .. } = session.state else {
        panic!("{session:?}")
    };
    assert_eq!((started, ended), (session.created, world.now));
    assert_eq!(output, OUTPUT.into());
    let attested = Attested {
        domain: AttestationDomain::SessionComplete,
        subject: *id.as_bytes(),
        commit_root: outcome(),
        epoch: Epoch(0),
    };
    assert_eq!(attestation, attested.id());
}

/// The nodes that the chain chose, by the ids that they have now.
fn members(world: &World, id: &SessionId) -> Vec<NodeId> {
    let session = query::session(&world.state, id).unwrap();
    query::session_members(&world.state, &session).collect()
}

#[test]
fn members_begin_and_end_a_session_for_free() {
    let (mut world, id) = pending();
    let members = members(&world, &id);
    let fees = query::treasury(&world.state);
    world.duty(&members[2], Action::StartSession { session: id }).unwrap();
    assert_eq!(phase(&world, &id), SessionPhase::Running);
    let certificate = world.certify(&id, outcome(), 3);
    world.duty(&members[0], finalize(id, certificate)).unwrap();
    assert_eq!(phase(&world, &id), SessionPhase::Finalized);
    assert_eq!(query::treasury(&world.state), fees);

    let (mut world, id) = pending();
    let fees = query::treasury(&world.state);
    let certificate = world.certify(&id, failure_root("broken"), 3);
    world.duty(&members[1], fail(id, "broken", Some(certificate))).unwrap();
    assert_eq!(query::treasury(&world.state), fees);

    let (mut world, id) = running();
    let fees = query::treasury(&world.state);
    world.pass(HOUR);
    world.duty(&members[1], fail(id, "deadline", None)).unwrap();
    assert_eq!((phase(&world, &id), query::treasury(&world.state)), (SessionPhase::Failed, fees));
}

#[test]
fn a_session_begins_before_it_ends_be_it_in_one_block() {
    let (mut world, id) = pending();
    let members = members(&world, &id);
    let certificate = world.certify(&id, outcome(), 3);
    let end = finalize(id, certificate);
    let refused = NotAllowed { phase: SessionPhase::Pending, event: "finalized" };
    let early = world.duty(&members[0], end.clone());
    assert_eq!(early, Err(Rejection::SessionPhase(refused)));
    world.duties(vec![(members[1], Action::StartSession { session: id }), (members[0], end)]);
    assert_eq!(phase(&world, &id), SessionPhase::Finalized);
}

/// Others may do the same, but not for nothing.
#[test]
fn who_is_not_in_the_committee_pays() {
    let mut world = World::of(&super::world::genesis(30), 30, 1);
    world.pass(Span::from_secs(1));
    let tx = world.run(CREATOR, create(HOUR)).unwrap();
    let id = session_id(&service(), Epoch(0), &tx);
    let members = members(&world, &id);
    assert_eq!(members.len(), 21);
    let other = *world.nodes.keys().find(|node| !members.contains(node)).unwrap();
    let start = Action::StartSession { session: id };
    let refused = world.duty(&other, start.clone()).unwrap_err();
    assert!(matches!(refused, Rejection::Fee { .. }), "{refused}");
    // A member that is out of service has nothing to lose.
    world.run(OPERATOR, Action::Decommission { node: members[0] }).unwrap();
    world.next_epoch();
    let tx = world.run(CREATOR, create(HOUR)).unwrap();
    let later = session_id(&service(), Epoch(1), &tx);
    let refused = world.duty(&members[0], start.clone()).unwrap_err();
    assert!(matches!(refused, Rejection::Fee { .. }), "{refused}");
    assert!(!self::members(&world, &later).contains(&members[0]));

    let before = query::treasury(&world.state);
    world.run(OPERATOR, Action::StartSession { session: later }).unwrap();
    assert!(query::treasury(&world.state) > before, "the operator pays");
}

/// Whoever took new keys is the same member.
#[test]
fn a_member_with_new_keys_is_a_member() {
    let (mut world, id) = pending();
    let old = members(&world, &id)[1];
    let new = world.make_node();
    let action = world.rotate(OPERATOR, old, &new);
    world.run(OPERATOR, action).unwrap();
    let tx = world.run(CREATOR, create(HOUR + HOUR)).unwrap();
    let id = session_id(&service(), Epoch(0), &tx);
    world.next_epoch();
    assert_eq!(members(&world, &id).iter().filter(|member| **member == new).count(), 1);
    let session = query::session(&world.state, &id).unwrap();
    assert!(session.committee.contains(&old), "the record keeps the id of then");
    let keys = world.nodes[&new].public().dsa().clone();
    assert!(query::session_committee(&world.state, &session).contains(&(new, keys)));
    let start = Action::StartSession { session: id };
    assert!(matches!(world.duty(&old, start.clone()), Err(Rejection::Fee { .. })));
    world.duty(&new, start).unwrap();
}

#[test]
fn open_sessions_are_listed_until_they_end() {
    let listed = |world: &World, id: &SessionId| query::get::<OpenSessions>(&world.state, id);
    let (mut world, id) = pending();
    let randomness = query::epoch(&world.state).randomness;
    assert_eq!(listed(&world, &id), Some(OpenAnchor { randomness, started: None }));
    world.run(OPERATOR, Action::StartSession { session: id }).unwrap();
    let started = Some(world.now);
    assert_eq!(listed(&world, &id), Some(OpenAnchor { randomness, started }));
    world.pass(HOUR);
    assert_ne!(query::epoch(&world.state).randomness, randomness);
    assert_eq!(listed(&world, &id), Some(OpenAnchor { randomness, started }), "of its epoch");
    world.run(5, fail(id, "deadline", None)).unwrap();
    assert_eq!(listed(&world, &id), None);
}

#[test]
fn roots_without_a_quorum_are_refused() {
    let (mut world, id) = running();
    let few = world.certify(&id, outcome(), 2);
    let no_quorum = BadCertificate::Count { named: 2, signatures: 2, needed: 3, members: 4 };
    assert_eq!(world.run(4, finalize(id, few)), Err(Rejection::Certificate(no_quorum)));

    let mut of_other_roots = world.certify(&id, [9; 32].into(), 3);
    let refused = world.run(4, finalize(id, of_other_roots.clone())).unwrap_err();
    assert_eq!(refused, Rejection::Certificate(BadCertificate::Statement));
    of_other_roots.statement.root = outcome();
    let refused = world.run(4, finalize(id, of_other_roots)).unwrap_err();
    assert_eq!(refused, Rejection::Certificate(BadCertificate::Signature { member: 0 }));

    let of_failure = world.certify(&id, failure_root("broken"), 3);
    let refused = world.run(4, finalize(id, of_failure)).unwrap_err();
    assert_eq!(refused, Rejection::Certificate(BadCertificate::Statement));
    assert_eq!(phase(&world, &id), SessionPhase::Running);
}

#[test]
fn members_sign_with_the_keys_they_have_now() {
    let (mut world, id) = running();
    let old = world.certify(&id, outcome(), 3);
    let member = query::session(&world.state, &id).unwrap().committee[1];
    let new = world.make_node();
    let action = world.rotate(OPERATOR, member, &new);
    world.run(OPERATOR, action).unwrap();
    // A node with a seat takes its new keys when the epoch ends.
    world.next_epoch();

    let session = query::session(&world.state, &id).unwrap();
    let expected = committee_root(&query::session_committee(&world.state, &session));
    let got = old.statement.committee;
    assert_ne!(got, expected, "the root of a committee binds its keys");
    let refused = world.run(4, finalize(id, old.clone())).unwrap_err();
    assert_eq!(refused, Rejection::Certificate(BadCertificate::Committee { got, expected }));
    let mut relabelled = old;
    relabelled.statement.committee = expected;
    let refused = world.run(4, finalize(id, relabelled)).unwrap_err();
    assert_eq!(refused, Rejection::Certificate(BadCertificate::Signature { member: 0 }));
    let certificate = world.certify(&id, outcome(), 3);
    world.run(4, finalize(id, certificate)).unwrap();
}

#[test]
fn time_ends_a_session_that_nobody_ends() {
    for started in [false, true] {
        let (mut world, id) = if started { running() } else { pending() };
        let deadline = query::session(&world.state, &id).unwrap().deadline;
        let certificate = world.certify(&id, outcome(), 3);
        world.pass(Span::from_millis(deadline.since(world.now).as_millis() - 1));
        let time = world.now;
        let early = Err(Rejection::SessionNotOver { deadline, time });
        assert_eq!(world.run(5, fail(id, "deadline", None)), early);

        world.pass(Span::from_millis(1));
        let time = world.now;
        let over = Err(Rejection::SessionOver { deadline, time });
        if started {
            assert_eq!(world.run(5, finalize(id, certificate)), over);
        } else {
            assert_eq!(world.run(OPERATOR, Action::StartSession { session: id }), over);
        }
        assert_eq!(world.run(5, fail(id, "slow", None)), Err(Rejection::Reason));
        world.run(5, fail(id, "deadline", None)).unwrap();
        let state = query::session(&world.state, &id).unwrap().state;
        let SessionState::Failed { started: began, ended, reason } = state else {
            panic!("{state:?}")
        };
        assert_eq!((began.is_some(), ended, &*reason), (started, time, "deadline"));
    }
}

#[test]
fn a_committee_can_give_up_at_any_time() {
    let (mut world, id) = pending();
    let of_other_reason = world.certify(&id, failure_root("other"), 3);
    let refused = world.run(5, fail(id, "broken", Some(of_other_reason))).unwrap_err();
    assert_eq!(refused, Rejection::Certificate(BadCertificate::Statement));
    let certificate = world.certify(&id, failure_root("broken"), 3);
    world.run(5, fail(id, "broken", Some(certificate))).unwrap();
    assert_eq!(phase(&world, &id), SessionPhase::Failed);
}

#[test]
fn what_ended_never_begins_again() {
    let (mut world, id) = running();
    let good = world.certify(&id, outcome(), 3);
    world.run(4, finalize(id, good.clone())).unwrap();
    let bad = world.certify(&id, failure_root("broken"), 3);
    for (event, action) in [
        ("started", Action::StartSession { session: id }),
        ("finalized", finalize(id, good)),
        ("failed", fail(id, "broken", Some(bad))),
        ("failed", fail(id, "deadline", None)),
    ] {
        let refused = NotAllowed { phase: SessionPhase::Finalized, event };
        assert_eq!(world.run(OPERATOR, action), Err(Rejection::SessionPhase(refused)));
    }
    let session = [8; 32].into();
    assert_eq!(
        world.run(OPERATOR, Action::StartSession { session }),
        Err(Rejection::UnknownSession { session })
    );
}

#[test]
fn the_table_of_phases_and_events() {
    let at = session_core::Time::from_millis(1);
    let zero = Digest::default();
    let states = [
        SessionState::Pending,
        SessionState::Running { started: at },
        SessionState::Finalized {
            started: at,
            ended: at,
            output: zero,
            oracle_root: zero,
            receipts_root: zero,
            attestation: zero,
        },
        SessionState::Failed { started: None, ended: at, reason: Text::default() },
    ];
    let events = [
        SessionEvent::Started { at },
        SessionEvent::Finalized {
            at,
            output: zero,
            oracle_root: zero,
            receipts_root: zero,
            attestation: zero,
        },
        SessionEvent::Failed { at, reason: Text::default() },
    ];
    let mut table = String::from("| phase | started | finalized | failed |\n|---|---|---|---|\n");
    for state in states {
        table += &format!("| {}", state.phase());
        for event in &events {
            table += &match state.clone().after(event.clone()) {
                Ok(next) => format!(" | {}", next.phase()),
                Err(refused) => {
                    assert_eq!(refused.phase, state.phase());
                    assert_eq!(refused.event, event.name());
                    " | refused".to_owned()
                }
            };
        }
        table += " |\n";
    }
    assert_eq!(
        table,
        "| phase | started | finalized | failed |\n\
         |---|---|---|---|\n\
         | pending | running | refused | failed |\n\
         | running | refused | finalized | failed |\n\
         | finalized | refused | refused | refused |\n\
         | failed | refused | refused | refused |\n"
    );
    let published = include_str!("../../../../../docs/wire/chain-state.md");
    assert!(published.contains(&table), "docs/wire/chain-state.md lacks\n{table}");
}
