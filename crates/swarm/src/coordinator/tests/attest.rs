//! Votes on beacons, certificates, and members that vote twice.

use session_core::{Epoch, Inline, Span};
use session_crypto::Signer as _;
use session_crypto::fake::FakeVerifier;
use session_protocol::attestation::Statement;
use session_protocol::duty::Duty;
use session_protocol::evidence::Evidence;
use session_protocol::schedule::Phase;
use session_storage::{Store as _, Table};

use super::world::World;
use crate::coordinator::{Input, Lie, Note};

#[test]
fn every_member_gets_the_same_certificate() {
    let mut world = World::new(5, 30);
    world.run_to(3, Phase::Ack);
    let committee: Vec<_> = world
        .chain
        .roster()
        .attesters()
        .iter()
        .map(|id| (*id, world.nodes[world.index(id)].keys.public().dsa().clone()))
        .collect();
    for index in 0..5 {
        let certificate = &world.certified[&(index, Epoch(3))];
        certificate.verify(&committee, &FakeVerifier, &Inline).unwrap();
        assert_eq!(certificate.statement.root, world.chain.randomnesses[&Epoch(3)]);
        assert_eq!(world.nodes[index].coordinator.status().certified, Some(Epoch(3)));
    }
    // A vote of each to each, once or twice.
    assert!(world.sent["voted"] <= 4 * 5 * 4 * 2, "{} votes", world.sent["voted"]);
}

#[test]
fn certificates_come_about_over_bad_links_and_without_a_third() {
    let mut world = World::new(7, 31);
    world.loss = 250;
    world.stop(6);
    world.stop(5);
    world.run_to(3, Phase::Deal);
    for index in 0..5 {
        for epoch in 0..3 {
            assert!(world.certified.contains_key(&(index, Epoch(epoch))), "node {index} {epoch}");
        }
    }
}

#[test]
fn members_that_vote_twice_are_accused() {
    let mut world = World::with_lies(5, 32, &[(4, Lie::Equivocate)]);
    world.run_to(1, Phase::Ack);
    let liar = world.nodes[4].id;
    assert!(!world.accused.is_empty());
    for (accuser, evidence) in &world.accused {
        assert_ne!(*accuser, 4);
        assert!(matches!(evidence, Evidence::Equivocation { .. }));
        assert_eq!(evidence.accused(), liar);
    }
    for index in 0..4 {
        assert!(world.certified.contains_key(&(index, Epoch(0))), "the others are a quorum");
    }
}

#[test]
fn two_votes_told_to_different_members_meet() {
    let mut world = World::new(4, 33);
    world.stop(3);
    world.run_to(0, Phase::Ack);
    let view = world.chain.view();
    let statement = Statement {
        chain: view.chain,
        committee: view.epoch.attesters,
        kind: session_protocol::attestation::Kind::EpochBeacon,
        subject: view.epoch.beacon,
        root: view.epoch.randomness,
        epoch: view.epoch.number,
    };
    let other = Statement { root: [9; 32].into(), ..statement };
    let liar = world.nodes[3].keys.clone();
    let mut rng = session_core::SeededEntropy::new(1);
    for (to, said) in [(0, statement), (1, other)] {
        let vote = Box::new(said.sign(&*liar, &mut rng));
        let node = liar.public().node_id();
        world.give(to, Input::FromPeer { node, duty: Box::new(Duty::Voted { vote }) });
    }
    world.run_to(0, Phase::Reveal);
    assert!(world.accused.iter().any(|(accuser, _)| *accuser == 0), "it was told the other vote");
}

#[test]
fn forged_votes_and_certificates_change_nothing() {
    let mut world = World::new(4, 34);
    world.stop(3);
    world.run_to(0, Phase::Ack);
    let forger = world.nodes[2].id;
    let mut vote = None;
    let mut certificate = world.certified[&(0, Epoch(0))].clone();
    certificate.statement.epoch = Epoch(0);
    certificate.statement.root = [8; 32].into();
    let (stopped, keys) = (world.nodes[3].id, world.nodes[2].keys.clone());
    let mut rng = session_core::SeededEntropy::new(1);
    let mut forged = certificate.statement.sign(&*keys, &mut rng);
    forged.node = stopped;
    vote.replace(forged);
    let duties = [
        Duty::Voted { vote: Box::new(vote.unwrap()) },
        Duty::Certified { certificate: Box::new(certificate) },
    ];
    let before = world.notes.len();
    for duty in duties {
        world.give(0, Input::FromPeer { node: forger, duty: Box::new(duty) });
    }
    assert_eq!(world.accused, vec![]);
    let faults = world.notes[before..].iter();
    let faults = faults.filter(|(_, note)| matches!(note, Note::PeerFault { .. })).count();
    assert_eq!(faults, 1, "the vote; an epoch that has its certificate needs no other");
}

#[test]
fn a_vote_is_stored_before_it_is_sent_and_never_contradicted() {
    let mut world = World::new(3, 35);
    world.run_to(1, Phase::Deal);
    world.stop(2);
    world.run_to(1, Phase::Ack);
    assert!(!world.nodes[2].store.records(Table::Meta, b"duty/attested/").is_empty());
    // The last vote that it can have made is one that the chain does not bear out.
    let key = world.nodes[2].store.records(Table::Meta, b"duty/attested/").remove(0).0;
    let value = world.nodes[2].store.record(Table::Meta, &key).unwrap().unwrap();
    let mut said: Statement = session_core::Decode::decode_exact(&value).unwrap();
    let view = world.chain.view();
    said.epoch = view.epoch.number;
    said.subject = view.epoch.beacon;
    said.root = [7; 32].into();
    let value = session_core::Encode::to_bytes(&said);
    world.nodes[2].store.put_record(Table::Meta, &key, &value, session_core::Time::MAX).unwrap();
    world.start(2);
    world.run_to(1, Phase::Reveal);
    let refused = |(index, note): &(usize, Note)| {
        *index == 2 && matches!(note, Note::VoteRefused { epoch: Epoch(1) })
    };
    assert!(world.notes.iter().any(refused));
    assert!(!world.certified.contains_key(&(0, Epoch(1))), "three of three are a quorum");
    world.run_to(2, Phase::Ack);
    assert!(world.certified.contains_key(&(2, Epoch(2))), "the next epoch is another matter");
}

#[test]
fn votes_about_two_beacons_of_one_epoch_are_evidence() {
    let mut world = World::new(4, 39);
    world.run_to(1, Phase::Ack);
    let honest = world.certified[&(0, Epoch(1))].statement;
    let liar = &world.nodes[3];
    let other = Statement { subject: [5; 32].into(), root: [6; 32].into(), ..honest };
    let vote = other.sign(&*liar.keys, &mut session_core::SeededEntropy::new(1));
    let (node, duty) = (liar.id, Box::new(Duty::Voted { vote: Box::new(vote) }));
    world.give(0, Input::FromPeer { node, duty });
    let [(0, evidence)] = &world.accused[..] else { panic!("{:?}", world.accused) };
    assert!(matches!(evidence, Evidence::Equivocation { .. }));
    assert_eq!(evidence.accused(), node);
}

#[test]
fn who_missed_the_votes_is_given_the_certificate_once() {
    let mut world = World::new(6, 40);
    world.run_to(1, Phase::Deal);
    world.stop(5);
    world.run_until(world.now + Span::from_secs(8));
    assert!((0..5).all(|index| world.certified.contains_key(&(index, Epoch(1)))));
    let before = world.sent.get("certified").copied().unwrap_or(0);
    let node = world.nodes[5].id;
    world.start(5);
    world.give(0, Input::PeerUp { node });
    for epoch in [Epoch(1), Epoch(0), Epoch(1), Epoch(9), Epoch(1)] {
        let duty = Box::new(Duty::WantCertificate { epoch });
        world.give(0, Input::FromPeer { node, duty });
    }
    assert_eq!(world.sent["certified"], before + 1, "once");
}

#[test]
fn those_who_do_not_attest_get_the_certificate_without_being_flooded() {
    let mut world = World::new(30, 41);
    world.run_to(1, Phase::Deal);
    let before = world.sent.get("certified").copied().unwrap_or(0);
    world.run_to(1, Phase::Recover);
    assert!((0..30).all(|index| world.certified.contains_key(&(index, Epoch(1)))));
    let sent = world.sent["certified"] - before;
    assert!((9..=30).contains(&sent), "{sent} certificates for nine nodes that do not attest");
}
