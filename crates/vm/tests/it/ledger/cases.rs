//! Accusations, from the evidence to the penalty.

use std::sync::Arc;

use session_core::{Blob, Digest, Encode as _, Epoch, InboxAddress, List, MessageId, NodeId, Span};
use session_crypto::Signer as _;
use session_crypto::fake::FakeIdentity;
use session_protocol::attestation::{Kind, Statement, Vote};
use session_protocol::chain::view::OpenCase;
use session_protocol::chain::{Action, Amount};
use session_protocol::commitment::{Absence, Commitment, Leaf, Place, Window, tree};
use session_protocol::evidence::{BadEvidence, Evidence};
use session_protocol::inbox::AccessRule;
use session_protocol::membership::{NetworkId, network_id};
use session_protocol::owner::{Authorization, ExpireMode, OwnerAction, OwnerOperation};
use session_protocol::receipt::{StorageReceipt, sign_receipts};
use session_protocol::workload::oracle::RecordHead;
use session_protocol::workload::round::{Ballot, Phase};
use session_vm::ledger::{OPEN_CASES_MAX, Rejection};
use session_vm::query;
use session_vm::records::{Case, CaseKind, CaseStatus, Cases, NodeStatus};

use super::view::view;
use super::world::{HOUR, PEOPLE, START, World, genesis, person};

const NODES: usize = 12;
const JUDGE: usize = 5;
const DAY: Span = Span::from_days(1);

fn world() -> World {
    let mut start = genesis(NODES);
    start.authority = Some(person(JUDGE).public().account_id());
    World::of(&start, NODES, 1)
}

fn network() -> NetworkId {
    network_id("test")
}

fn owner() -> FakeIdentity {
    FakeIdentity::new(&[0x70; 32])
}

fn inbox() -> InboxAddress {
    AccessRule::from(owner().public().account_id()).address()
}

/// Votes of a node for two roots of one subject.
fn equivocation(world: &mut World, node: &NodeId, subject: u8) -> Evidence {
    let statement = |root: u8| Statement {
        chain: world.chain,
        committee: [1; 32].into(),
        kind: Kind::SessionComplete,
        subject: [subject; 32].into(),
        root: [root; 32].into(),
        epoch: Epoch(0),
    };
    let [first, second] = [statement(1), statement(2)];
    let signer = &world.nodes[node];
    let mut sign = |statement: Statement| Box::new(statement.sign(signer, &mut world.rng));
    Evidence::Equivocation { first: sign(first), second: sign(second) }
}

/// Two records of a node for one request.
fn two_records(world: &mut World, node: &NodeId, request: u8) -> Evidence {
    let head = |data: u8| RecordHead {
        chain: world.chain,
        committee: [1; 32].into(),
        request: [request; 32].into(),
        submitter: *node,
        data_hash: [data; 32].into(),
        pin: None,
        time: world.now,
    };
    let [first, second] = [head(1), head(2)];
    let signer = &world.nodes[node];
    let mut sign = |head: RecordHead| Box::new(head.sign(signer, &mut world.rng));
    Evidence::Records { first: sign(first), second: sign(second) }
}

/// Votes of a node for two roots in one attempt.
fn two_round_votes(world: &mut World, node: &NodeId, request: u8) -> Evidence {
    let ballot = |root: u8| Ballot {
        chain: world.chain,
        committee: [1; 32].into(),
        request: [request; 32].into(),
        phase: Phase::Prepare,
        root: [root; 32].into(),
    };
    let [first, second] = [ballot(1), ballot(2)];
    let signer = &world.nodes[node];
    let mut sign = |ballot: Ballot| Box::new(ballot.sign(signer, &mut world.rng));
    Evidence::RoundVotes { first: sign(first), second: sign(second) }
}

fn accuse(evidence: Evidence) -> Action {
    Action::Accuse { evidence: Box::new(evidence) }
}

/// Until the cases of now are due.
fn wait(world: &mut World) {
    world.pass(DAY);
    world.next_epoch();
}

fn cases(world: &World) -> Vec<(Digest, Case)> {
    query::entries::<Cases>(&world.state).collect()
}

/// A node's receipt for an item, and its commitment of this epoch to two others.
struct Lie {
    node: NodeId,
    leaf: Leaf,
    receipt: StorageReceipt,
    commitment: Commitment,
    leaves: [Leaf; 2],
}

impl Lie {
    fn new(world: &World) -> Self {
        let node = world.roster().nodes()[0];
        let swarm = world.node(&node).status.seat().unwrap().swarm;
        let leaf = |message: u8| Leaf { address: inbox(), message: MessageId::from([message; 32]) };
        let (missing, leaves) = (leaf(5), [leaf(1), leaf(9)]);
        let stored_at = START + Span::from_secs(60);
        let receipt = StorageReceipt {
            node,
            swarm,
            address: missing.address,
            message: missing.message,
            expiry: stored_at + DAY,
            stored_at,
        };
        let (epoch, root) = (world.epoch(), tree(&leaves).root());
        let commitment = Commitment { epoch, swarm, count: 2, bytes: 2, root };
        Self { node, leaf: missing, receipt, commitment, leaves }
    }

    fn evidence(&self, world: &mut World) -> Evidence {
        let action = Action::StorageCommitment { commitment: self.commitment };
        let tx = world.duty_of(&self.node, 7, action);
        let signer = &world.nodes[&self.node];
        let commitment = tx.sign(signer, false, &mut world.rng).to_bytes();
        let (root, mut paths) = sign_receipts(network(), signer, &[self.receipt], &mut world.rng);
        let tree = tree(&self.leaves);
        let place =
            |at: usize| Some(Place { leaf: self.leaves[at], path: tree.prove(at as u64).unwrap() });
        Evidence::FalseReceipt {
            receipt: self.receipt,
            root: Box::new(root),
            path: paths.remove(0),
            commitment: Blob::new(commitment).unwrap(),
            absence: Box::new(Absence { before: place(0), after: place(1) }),
        }
    }

    fn order(&self, world: &mut World, action: OwnerAction) -> Box<OwnerOperation> {
        let now = world.now;
        Box::new(OwnerOperation::sign(network(), &owner(), action, now, &mut world.rng))
    }
}

/// A world in its second epoch, whose first node has lost an item.
fn lying() -> (World, Lie) {
    let mut world = world();
    world.next_epoch();
    let lie = Lie::new(&world);
    (world, lie)
}

#[test]
fn what_contradicts_itself_inside_a_session_costs_the_same() {
    type Lies = fn(&mut World, &NodeId, u8) -> Evidence;
    let kinds: [(CaseKind, Lies); 2] =
        [(CaseKind::Records, two_records), (CaseKind::RoundVotes, two_round_votes)];
    for (kind, evidence) in kinds {
        let mut world = world();
        world.next_epoch();
        let [node, accuser] = world.roster().nodes()[..2] else { panic!("twelve nodes") };
        let evidence = evidence(&mut world, &node, 1);
        assert_eq!(evidence.name(), kind.name());
        world.duty(&accuser, accuse(evidence.clone())).unwrap();
        let [(id, case)] = &cases(&world)[..] else { panic!("one case") };
        assert_eq!((case.accused, case.kind, case.missing), (node, kind, None));
        assert_eq!(case.epoch, world.epoch(), "what was signed names none");
        let known = Rejection::CaseKnown { case: *id, status: "open" };
        assert_eq!(world.run(2, accuse(evidence)), Err(known));
        wait(&mut world);
        let amount = Amount::lux(50);
        assert!(
            matches!(cases(&world)[0].1.status, CaseStatus::Paid { amount: paid, .. } if paid == amount)
        );
        assert!(matches!(world.node(&node).status, NodeStatus::Slashed { .. }));
    }
}

#[test]
fn evidence_of_sessions_is_for_this_chain() {
    let mut world = world();
    let node = world.roster().nodes()[0];
    let chain = std::mem::replace(&mut world.chain, [9; 32].into());
    let elsewhere = [two_records(&mut world, &node, 1), two_round_votes(&mut world, &node, 1)];
    world.chain = chain;
    for evidence in elsewhere {
        let refused = world.run(1, accuse(evidence));
        assert_eq!(refused, Err(Rejection::Evidence(BadEvidence::Chain)));
    }
}

#[test]
fn a_node_that_votes_twice_pays_half_and_is_out() {
    let mut world = world();
    let node = world.roster().nodes()[0];
    let evidence = equivocation(&mut world, &node, 1);
    let tx = world.run(1, accuse(evidence.clone())).unwrap();
    let [(id, case)] = &cases(&world)[..] else { panic!("one case") };
    let (opened, until) = (world.now, world.now + DAY);
    assert_eq!((case.accused, case.kind, case.tx), (node, CaseKind::Equivocation, tx));
    assert_eq!((case.opened, case.until, case.status), (opened, until, CaseStatus::Open));

    // The same deed again, by somebody else, the other way round.
    let Evidence::Equivocation { first, second } = evidence else { panic!("it is one") };
    let again = Evidence::Equivocation { first: second, second: first };
    let known = Rejection::CaseKnown { case: *id, status: "open" };
    assert_eq!(world.run(2, accuse(again)), Err(known));

    world.pass(Span::from_millis(DAY.as_millis() - 1));
    // It is due at the end of an epoch in which it could still be answered.
    assert_eq!(world.node(&node).stake, Amount::lux(100));
    world.next_epoch();
    let at = START + DAY;
    let amount = Amount::lux(50);
    assert_eq!(cases(&world)[0].1.status, CaseStatus::Paid { at, amount });
    let record = world.node(&node);
    let unbonding = query::params(&world.state).unbonding;
    assert_eq!(
        (record.stake, record.status),
        (amount, NodeStatus::Slashed { until: at + unbonding })
    );
    assert!(query::treasury(&world.state) > amount, "the penalty and the fees");
    assert_eq!(query::active_nodes(&world.state).count(), NODES - 1);

    // It pays once, whatever else comes up.
    let evidence = equivocation(&mut world, &node, 2);
    world.run(1, accuse(evidence)).unwrap();
    wait(&mut world);
    assert_eq!(world.node(&node).stake, amount);
    let paid = cases(&world).into_iter().map(|(_, case)| case.status);
    assert!(paid.into_iter().all(|status| matches!(status, CaseStatus::Paid { .. })));
    world.pass(unbonding);
    world.run(0, Action::Withdraw { node }).unwrap();
    assert_eq!(world.node(&node).stake, Amount::ZERO);
}

#[test]
fn a_node_out_of_service_still_pays_while_its_stake_is_bound() {
    let mut world = world();
    let [node, gone] = [0, 1].map(|place| world.roster().nodes()[place]);
    for id in [node, gone] {
        world.run(0, Action::Decommission { node: id }).unwrap();
    }
    world.next_epoch();
    let evidence = equivocation(&mut world, &node, 1);
    world.run(1, accuse(evidence)).unwrap();
    wait(&mut world);
    assert!(matches!(world.node(&node).status, NodeStatus::Slashed { .. }));
    assert_eq!(world.node(&node).stake, Amount::lux(50));

    // From one that is gone there is nothing to take.
    world.pass(Span::from_days(15));
    world.run(0, Action::Withdraw { node: gone }).unwrap();
    let evidence = equivocation(&mut world, &gone, 1);
    world.run(1, accuse(evidence)).unwrap();
    wait(&mut world);
    assert!(matches!(world.node(&gone).status, NodeStatus::Retired { .. }));
    let amount = Amount::ZERO;
    let nothing = |(_, case): &(Digest, Case)| {
        case.accused == gone
            && matches!(case.status, CaseStatus::Paid { amount: paid, .. } if paid == amount)
    };
    assert!(cases(&world).iter().any(nothing));
}

#[test]
fn former_keys_do_not_hide_a_deed() {
    let mut world = world();
    let node = world.roster().nodes()[0];
    let evidence = equivocation(&mut world, &node, 1);
    let new = world.make_node();
    let action = world.rotate(0, node, &new);
    world.run(0, action).unwrap();
    world.next_epoch();
    world.run(1, accuse(evidence)).unwrap();
    wait(&mut world);
    assert_eq!(query::current_id(&world.state, &node), Some(new));
    assert!(matches!(world.node(&new).status, NodeStatus::Slashed { .. }));
}

#[test]
fn evidence_with_a_forged_half_opens_nothing() {
    let mut world = world();
    let [node, other] = [0, 1].map(|place| world.roster().nodes()[place]);
    let Evidence::Equivocation { first, second } = equivocation(&mut world, &node, 1) else {
        panic!("it is one")
    };
    let forged = |change: &dyn Fn(&mut Vote)| {
        let mut second = second.clone();
        change(&mut second);
        Evidence::Equivocation { first: first.clone(), second }
    };
    let foreign = second.statement.sign(&world.nodes[&other], &mut world.rng).signature;
    for (evidence, why) in [
        (forged(&|vote| vote.signature = foreign.clone()), BadEvidence::Signature(node)),
        (forged(&|vote| vote.statement.root = [3; 32].into()), BadEvidence::Signature(node)),
        (forged(&|vote| *vote = (*first).clone()), BadEvidence::NoContradiction),
        (forged(&|vote| vote.node = other), BadEvidence::NoContradiction),
        (forged(&|vote| vote.statement.epoch = Epoch(1)), BadEvidence::NoContradiction),
    ] {
        assert_eq!(world.run(1, accuse(evidence)), Err(Rejection::Evidence(why)));
    }
    let nobody = world.make_node();
    let evidence = equivocation(&mut world, &nobody, 1);
    let refused = world.run(1, accuse(evidence)).unwrap_err();
    assert_eq!(refused, Rejection::UnknownNode { node: nobody });
    assert_eq!(refused.to_string(), "node not found");
    assert!(cases(&world).is_empty());
}

#[test]
fn nodes_accuse_for_free_and_others_pay() {
    let mut world = world();
    let [node, mate] = [0, 1].map(|place| world.roster().nodes()[place]);
    let evidence = equivocation(&mut world, &node, 1);
    let mut tx = world.draft(1, accuse(evidence.clone()));
    tx.fee_max = Amount::ZERO;
    assert!(matches!(world.try_tx(1, tx), Err(Rejection::Fee { .. })));
    world.duty(&mate, accuse(evidence)).unwrap();
    assert_eq!(query::treasury(&world.state), Amount::ZERO);
}

#[test]
fn only_so_many_cases_wait() {
    let mut world = world();
    let [node, mate] = [0, 1].map(|place| world.roster().nodes()[place]);
    for subject in 0..OPEN_CASES_MAX {
        let evidence = equivocation(&mut world, &node, subject as u8);
        world.duty(&mate, accuse(evidence)).unwrap();
    }
    let evidence = equivocation(&mut world, &node, 200);
    assert_eq!(world.duty(&mate, accuse(evidence)), Err(Rejection::TooManyCases { node }));
    let evidence = equivocation(&mut world, &mate, 200);
    world.duty(&node, accuse(evidence)).unwrap();
}

#[test]
fn the_authority_drops_a_case_and_nobody_else() {
    let mut world = world();
    let node = world.roster().nodes()[0];
    let evidence = equivocation(&mut world, &node, 1);
    world.run(1, accuse(evidence.clone())).unwrap();
    let case = cases(&world)[0].0;
    assert_eq!(world.run(0, Action::Veto { case }), Err(Rejection::NotAuthority));
    let unknown = [9; 32].into();
    let refused = world.run(JUDGE, Action::Veto { case: unknown });
    assert_eq!(refused, Err(Rejection::UnknownCase { case: unknown }));
    world.run(JUDGE, Action::Veto { case }).unwrap();
    assert_eq!(cases(&world)[0].1.status, CaseStatus::Vetoed { at: world.now });
    let closed = Rejection::CaseClosed { status: "vetoed" };
    assert_eq!(world.run(JUDGE, Action::Veto { case }), Err(closed));
    let known = Rejection::CaseKnown { case, status: "vetoed" };
    assert_eq!(world.run(1, accuse(evidence)), Err(known));
    wait(&mut world);
    assert_eq!(world.node(&node).stake, Amount::lux(100));

    let mut nobody = World::new(NODES);
    let evidence = equivocation(&mut nobody, &node, 1);
    nobody.run(1, accuse(evidence)).unwrap();
    let case = cases(&nobody)[0].0;
    assert_eq!(nobody.run(JUDGE, Action::Veto { case }), Err(Rejection::NotAuthority));
}

#[test]
fn a_false_receipt_is_refuted_by_the_owners_order() {
    let (mut world, lie) = lying();
    let evidence = lie.evidence(&mut world);
    world.run(1, accuse(evidence)).unwrap();
    let [(case, record)] = &cases(&world)[..] else { panic!("one case") };
    let (case, accused) = (*case, record.accused);
    assert_eq!(
        (accused, record.kind, record.missing),
        (lie.node, CaseKind::FalseReceipt, Some(lie.leaf))
    );
    assert_eq!(record.epoch, Epoch(1));

    let ids = List::new([lie.leaf.message]).unwrap();
    let other = List::new([MessageId::from([8; 32])]).unwrap();
    let shorten =
        |expiry| OwnerAction::Expire { ids: ids.clone(), expiry, mode: ExpireMode::Shorten };
    for action in [
        OwnerAction::Delete { ids: other },
        OwnerAction::Expire { ids: ids.clone(), expiry: START, mode: ExpireMode::Extend },
        // It should still have been there.
        shorten(START + DAY),
    ] {
        let operation = lie.order(&mut world, action);
        let refused = world.run(2, Action::Refute { case, operation });
        assert!(matches!(refused, Err(Rejection::Order(_))), "{refused:?}");
    }
    // Somebody else's order, and one that somebody else signed.
    let delete = OwnerAction::Delete { ids: ids.clone() };
    let stranger = FakeIdentity::new(&[0x71; 32]);
    let now = world.now;
    let foreign = OwnerOperation::sign(network(), &stranger, delete.clone(), now, &mut world.rng);
    let mut forged = lie.order(&mut world, delete.clone());
    let Authorization::Signed { signature, .. } = &mut forged.authorization else { panic!() };
    let Authorization::Signed { signature: other, .. } = &foreign.authorization else { panic!() };
    *signature = other.clone();
    for operation in [Box::new(foreign), forged] {
        let refused = world.run(2, Action::Refute { case, operation });
        assert!(matches!(refused, Err(Rejection::Order(_))), "{refused:?}");
    }

    // The accused answers for itself, and pays nothing for it.
    let operation = lie.order(&mut world, delete);
    world.duty(&lie.node, Action::Refute { case, operation: operation.clone() }).unwrap();
    assert_eq!(cases(&world)[0].1.status, CaseStatus::Refuted { at: world.now });
    let closed = Rejection::CaseClosed { status: "refuted" };
    assert_eq!(world.run(2, Action::Refute { case, operation }), Err(closed));
    wait(&mut world);
    assert_eq!(world.node(&lie.node).stake, Amount::lux(100));
}

#[test]
fn a_false_receipt_that_nobody_explains_is_paid_for() {
    let (mut world, lie) = lying();
    let mate = world.roster().nodes()[1];
    let evidence = lie.evidence(&mut world);
    world.duty(&mate, accuse(evidence)).unwrap();
    wait(&mut world);
    let status = cases(&world)[0].1.status;
    let CaseStatus::Paid { amount, .. } = status else { panic!("{status:?}") };
    assert_eq!(amount, Amount::lux(50));
    assert!(matches!(world.node(&lie.node).status, NodeStatus::Slashed { .. }));
    // Too late.
    let case = cases(&world)[0].0;
    let ids = List::new([lie.leaf.message]).unwrap();
    let operation = lie.order(&mut world, OwnerAction::Delete { ids });
    let refused = world.run(2, Action::Refute { case, operation });
    assert_eq!(refused, Err(Rejection::CaseClosed { status: "paid" }));
    let refused = world.run(JUDGE, Action::Veto { case });
    assert_eq!(refused, Err(Rejection::CaseClosed { status: "paid" }));
}

#[test]
fn an_order_answers_accusations_about_items_only() {
    let (mut world, lie) = lying();
    let evidence = equivocation(&mut world, &lie.node, 1);
    world.run(1, accuse(evidence)).unwrap();
    let case = cases(&world)[0].0;
    let ids = List::new([lie.leaf.message]).unwrap();
    let operation = lie.order(&mut world, OwnerAction::Delete { ids });
    let refused = world.run(2, Action::Refute { case, operation });
    assert_eq!(refused, Err(Rejection::NotAboutItem { kind: "equivocation" }));
}

#[test]
fn a_receipt_binds_the_seat_that_it_was_given_for() {
    let moved = |world: &mut World, lie: &Lie| {
        let evidence = lie.evidence(world);
        let refused = world.run(1, accuse(evidence)).unwrap_err();
        assert!(matches!(refused, Rejection::InboxMoved { .. }), "{refused:?}");
    };
    // Before the node took its seat.
    let (mut world, mut lie) = lying();
    lie.receipt.stored_at = START;
    moved(&mut world, &lie);
    // In another swarm than the one it serves.
    let (mut world, mut lie) = lying();
    lie.receipt.swarm = session_core::SwarmId(8);
    lie.commitment.swarm = session_core::SwarmId(8);
    moved(&mut world, &lie);
    // By a node that is gone.
    let (mut world, lie) = lying();
    world.run(0, Action::Decommission { node: lie.node }).unwrap();
    world.next_epoch();
    moved(&mut world, &lie);

    // While the swarms were others: sixteen more nodes make two of one.
    let mut world = self::world();
    for number in 0..16 {
        let node = world.make_node();
        let action = world.register(1, &node, &format!("new{number}:1"));
        world.run(1, action).unwrap();
    }
    world.next_epoch();
    assert!(query::epoch(&world.state).swarms_since > Epoch(0));
    let staying = |world: &World| {
        let mut nodes = world.nodes.keys().copied();
        nodes.find(|id| world.node(id).status.seat().is_some_and(|seat| seat.since == Epoch(0)))
    };
    let mut lie = Lie::new(&world);
    lie.node = staying(&world).unwrap();
    let swarm = world.node(&lie.node).status.seat().unwrap().swarm;
    lie.receipt = StorageReceipt { node: lie.node, swarm, ..lie.receipt };
    lie.commitment.swarm = swarm;
    moved(&mut world, &lie);
}

#[test]
fn receipts_and_commitments_must_belong_together() {
    let (mut world, lie) = lying();
    let other = world.roster().nodes()[1];
    // A commitment that another node signed.
    let Evidence::FalseReceipt { receipt, root, path, absence, .. } = lie.evidence(&mut world)
    else {
        panic!("it is one")
    };
    let tx = world.duty_of(&other, 0, Action::StorageCommitment { commitment: lie.commitment });
    let commitment = tx.sign(&world.nodes[&other], false, &mut world.rng).to_bytes();
    let commitment = Blob::new(commitment).unwrap();
    let evidence = Evidence::FalseReceipt { receipt, root, path, commitment, absence };
    let refused = world.run(1, accuse(evidence)).unwrap_err();
    assert!(matches!(refused, Rejection::Evidence(BadEvidence::Unrelated(_))), "{refused:?}");
    // A commitment that holds the item.
    let holding = Lie { leaves: [lie.leaves[0], lie.leaf], ..lie };
    let evidence = holding.evidence(&mut world);
    let refused = world.run(1, accuse(evidence)).unwrap_err();
    assert!(matches!(refused, Rejection::Evidence(BadEvidence::NotAbsent(_))), "{refused:?}");
    // An item that the commitment need not hold yet, and one that it need not hold any more.
    for (stored_at, expiry) in [
        (world.now - Span::from_secs(600), world.now + DAY),
        (START + Span::from_secs(60), world.now + HOUR),
    ] {
        let receipt = StorageReceipt { stored_at, expiry, ..lie.receipt };
        let evidence = Lie { receipt, ..lie }.evidence(&mut world);
        let refused = world.run(1, accuse(evidence)).unwrap_err();
        let outside = matches!(refused, Rejection::Evidence(BadEvidence::OutsideWindow(_)));
        assert!(outside, "{refused:?}");
    }
    assert!(cases(&world).is_empty());
}

#[test]
fn nobody_leaves_with_its_stake_while_it_is_accused() {
    let mut world = world();
    let node = world.roster().nodes()[0];
    world.run(0, Action::Decommission { node }).unwrap();
    world.next_epoch();
    world.pass(query::params(&world.state).unbonding);
    let evidence = equivocation(&mut world, &node, 1);
    world.run(1, accuse(evidence)).unwrap();
    let case = cases(&world)[0].0;
    let withdraw = Action::Withdraw { node };
    assert_eq!(world.run(0, withdraw.clone()), Err(Rejection::Accused { case }));
    world.run(JUDGE, Action::Veto { case }).unwrap();
    world.run(0, withdraw).unwrap();
    assert_eq!(world.node(&node).status, NodeStatus::Retired { at: world.now });
}

#[test]
fn nodes_see_the_cases_that_wait() {
    let (mut world, lie) = lying();
    let quiet = view(&world, None);
    assert_eq!(*quiet.accused, []);
    let evidence = lie.evidence(&mut world);
    world.run(1, accuse(evidence)).unwrap();
    let accused = view(&world, Some(&quiet));
    let (case, _) = cases(&world)[0];
    let schedule = quiet.epoch.schedule;
    let lives_until = Window::of(&schedule, quiet.params.settle).expire_after;
    let open = OpenCase { case, accused: lie.node, missing: Some(lie.leaf), lives_until };
    assert_eq!(*accused.accused, [open]);
    world.pass(Span::from_secs(1));
    assert!(Arc::ptr_eq(&accused.accused, &view(&world, Some(&accused)).accused));

    // New keys, the same node.
    let new = world.make_node();
    let operator = (0..PEOPLE).find(|who| world.id(*who) == world.node(&lie.node).operator);
    let action = world.rotate(operator.unwrap(), lie.node, &new);
    world.run(operator.unwrap(), action).unwrap();
    world.next_epoch();
    let rotated = view(&world, Some(&accused));
    assert_eq!(*rotated.accused, [OpenCase { accused: new, ..open }]);

    world.run(JUDGE, Action::Veto { case }).unwrap();
    assert_eq!(*view(&world, Some(&rotated)).accused, []);
}
