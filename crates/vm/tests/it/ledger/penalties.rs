use std::collections::{BTreeMap, BTreeSet};

use session_core::{Entropy as _, Epoch, NodeId, SeededEntropy, Span};
use session_protocol::chain::{Action, Amount};
use session_protocol::roster::{Duty, Target};
use session_protocol::schedule::Phase;
use session_vm::query;
use session_vm::records::{
    Count, Failing, Mark, MarkAt, Marks, NodeStatus, Params, StorageCommitments,
};

use super::world::{World, genesis};

const NODES: usize = 12;

fn of<const N: usize>(nodes: [NodeId; N]) -> BTreeSet<NodeId> {
    nodes.into()
}

fn failed(mark: &Mark) -> Vec<Failing> {
    Failing::of(mark.failings)
}

#[test]
fn whoever_does_its_duties_loses_nothing() {
    let mut world = World::new(NODES);
    for _ in 0..30 {
        world.run_epoch(&of([]));
    }
    for id in world.roster().nodes() {
        let node = world.node(id);
        assert_eq!((node.stake, node.misses, node.uptime_bps), (Amount::lux(100), 0, 10_000));
        assert_eq!(node.last_ping, world.schedule().start);
        let mark = world.last_mark(id);
        assert_eq!(mark.reach, Count { assigned: 10, passed: 10, failed: 0 });
        assert_eq!(mark.keep, Count { assigned: 11, passed: 11, failed: 0 });
        assert!(mark.votes.is_empty());
        let marks = query::entries::<Marks>(&world.state).filter(|(at, _)| at.node == *id);
        assert_eq!(marks.count(), 24);
    }
    assert_eq!(query::treasury(&world.state), Amount::ZERO);
}

#[test]
fn a_dead_node_pays_half_a_percent_from_the_second_miss_on_and_is_out_after_half() {
    let mut world = World::new(NODES);
    let node = world.roster().nodes()[0];
    let dead = of([node]);
    // Nobody is judged in the epoch in which it took its seat.
    world.run_epoch(&dead);
    assert_eq!(world.last_mark(&node).failings, 0);
    let unit = Amount::lux(100).0 / 200;
    for miss in 1..=101_u64 {
        assert!(world.node(&node).status.seat().is_some(), "out after {miss} misses");
        world.run_epoch(&dead);
        let (record, mark) = (world.node(&node), world.last_mark(&node));
        assert_eq!((record.misses, mark.misses), (miss as u32, miss as u32));
        assert_eq!(mark.penalty, Amount(if miss == 1 { 0 } else { unit }));
        assert_eq!(record.stake, Amount(Amount::lux(100).0 - (miss - 1) * unit));
        assert_eq!(query::treasury(&world.state), Amount((miss - 1) * unit));
        assert!(mark.failed_at(Failing::Unreachable) && mark.failed_at(Failing::NoVote));
        // Ten of ten examiners say so, each in a transaction of its own.
        assert_eq!(mark.reach, Count { assigned: 10, passed: 0, failed: 10 });
        assert!(mark.votes.len() >= 10);
    }
    let end = world.schedule().start;
    let unbonding = query::params(&world.state).unbonding;
    let record = world.node(&node);
    assert_eq!(record.status, NodeStatus::Slashed { until: end + unbonding });
    assert_eq!(record.stake, Amount::lux(50));
    assert!(record.uptime_bps < 200, "{}", record.uptime_bps);
    assert_eq!(query::active_nodes(&world.state).count(), NODES - 1);

    // The operator gets the rest, after unbonding.
    let operator = world.balance(0);
    assert!(world.run(0, Action::Withdraw { node }).is_err());
    world.pass(unbonding);
    let withdraw = Action::Withdraw { node };
    world.run(0, withdraw).unwrap();
    assert!(world.balance(0).0 > operator.0 + Amount::lux(49).0);
    assert_eq!(world.node(&node).status, NodeStatus::Retired { at: world.now });
}

#[test]
fn one_good_epoch_ends_a_row_of_misses() {
    let mut world = World::new(NODES);
    let node = world.roster().nodes()[0];
    world.run_epoch(&of([]));
    for _ in 0..5 {
        world.run_epoch(&of([node]));
        world.run_epoch(&of([]));
    }
    let record = world.node(&node);
    assert_eq!((record.stake, record.misses), (Amount::lux(100), 0));
    assert!(record.uptime_bps < 10_000);
}

#[test]
fn stakes_that_do_not_divide_lose_half_to_the_unit() {
    let stake = Amount(100_000_007);
    let mut start = genesis(NODES);
    start.nodes[3].stake = stake;
    let node = start.nodes[3].keys.node_id();
    let mut world = World::of(&start, NODES, 1);
    for _ in 0..101 {
        world.run_epoch(&of([node]));
    }
    assert!(world.node(&node).status.seat().is_some());
    world.run_epoch(&of([node]));
    assert!(matches!(world.node(&node).status, NodeStatus::Slashed { .. }));
    assert_eq!(world.node(&node).stake, Amount(50_000_004));
}

#[test]
fn half_of_the_examiners_are_not_enough() {
    let mut world = World::new(NODES);
    world.run_epoch(&of([]));
    let node = world.roster().nodes()[0];
    for (liars, convicted) in [(5_usize, false), (6, true)] {
        let roster = world.roster();
        let lying: BTreeSet<NodeId> = roster.examiners(&node).into_iter().take(liars).collect();
        let commits = roster.nodes().iter().map(|id| world.commit(id)).collect();
        world.duties(commits);
        world.until(Phase::Recover);
        let votes = roster.nodes().iter().map(|id| {
            let lies = lying.contains(id);
            let about = |target: &Target| target.node == node && target.duty == Duty::Reach;
            // The others do not vote about it at all: silence protects.
            world.vote(&roster, id, |target| match about(target) {
                true => lies.then_some(false),
                false => Some(true),
            })
        });
        let votes = votes.collect();
        world.duties(votes);
        world.next_epoch();
        let mark = world.last_mark(&node);
        assert_eq!(mark.failed_at(Failing::Unreachable), convicted);
        assert_eq!(usize::from(mark.reach.failed), liars);
        let listed: BTreeSet<NodeId> = mark.votes.iter().map(|vote| vote.examiner).collect();
        assert_eq!(listed, if convicted { lying } else { of([]) });
        // Nobody reached it: it was not up, whoever is to blame.
        assert!(world.node(&node).uptime_bps < 10_000);
    }
}

#[test]
fn each_duty_that_was_not_done_is_named() {
    let mut world = World::new(NODES);
    world.run_epoch(&of([]));
    let [silent, idle, thin, odd] = [0, 1, 2, 3].map(|place| world.roster().nodes()[place]);
    for epoch in 0..3 {
        let roster = world.roster();
        let commits = roster.nodes().iter().filter(|id| **id != idle).map(|id| {
            let root = if *id == odd { [0xbb; 32] } else { super::network::ROOT };
            let commitment = world.commitment(id, root);
            (*id, Action::StorageCommitment { commitment })
        });
        let commits = commits.collect();
        world.duties(commits);
        world.until(Phase::Recover);
        let say = |target: &Target| Some(!(target.node == thin && target.duty == Duty::Keep));
        let votes = roster.nodes().iter().filter(|id| **id != silent);
        let votes = votes.map(|id| world.vote(&roster, id, say)).collect();
        world.duties(votes);
        world.next_epoch();
        assert_eq!(failed(&world.last_mark(&silent)), [Failing::NoVote]);
        assert_eq!(failed(&world.last_mark(&idle)), [Failing::NoCommitment]);
        assert_eq!(failed(&world.last_mark(&thin)), [Failing::Storage]);
        // Three epochs in a row; the others have two thirds.
        let expected: &[Failing] = if epoch == 2 { &[Failing::Deviant] } else { &[] };
        assert_eq!(failed(&world.last_mark(&odd)), expected);
        // Which alone costs nothing: others can bring it about.
        assert_eq!(world.last_mark(&odd).misses, 0);
    }
    // It had nothing to show in the last epochs: nobody can say that it kept nothing.
    let record = query::get::<StorageCommitments>(&world.state, &idle).unwrap();
    assert_eq!(record.previous, None);
}

#[test]
fn what_most_did_not_do_is_nobodys_failing() {
    let mut world = World::new(NODES);
    world.run_epoch(&of([]));
    // A year in which nobody could post anything.
    for _ in 0..20 {
        world.next_epoch();
    }
    world.pass(Span::from_days(300));
    // Five of twelve vote and commit: the chain was away for the others.
    let some: BTreeSet<NodeId> = world.roster().nodes().iter().skip(5).copied().collect();
    let roster = world.roster();
    let alive = |id: &&NodeId| !some.contains(id);
    let commits = roster.nodes().iter().filter(alive).map(|id| world.commit(id)).collect();
    world.duties(commits);
    world.until(Phase::Recover);
    let votes = roster.nodes().iter().filter(alive);
    let votes = votes.map(|id| world.vote(&roster, id, |_| None)).collect();
    world.duties(votes);
    world.next_epoch();
    for id in world.roster().nodes() {
        let node = world.node(id);
        assert_eq!((node.stake, node.misses, node.uptime_bps), (Amount::lux(100), 0, 10_000));
    }
}

#[test]
fn whoever_said_that_it_is_away_is_not_judged() {
    let mut world = World::new(NODES);
    world.run_epoch(&of([]));
    let node = world.roster().nodes()[0];
    world.run_epoch(&of([node]));
    assert_eq!(world.node(&node).misses, 1);
    world.duty(&node, Action::Drain { epochs: 2 }).unwrap();
    for _ in 0..2 {
        world.run_epoch(&of([node]));
        let mark = world.last_mark(&node);
        // Everybody saw that it was away; that is all.
        assert_eq!((mark.failings, mark.misses, mark.reach.failed), (0, 1, 10));
    }
    // The row of misses goes on where it was.
    world.run_epoch(&of([node]));
    assert_eq!(world.node(&node).misses, 2);
    assert!(world.node(&node).stake < Amount::lux(100));
}

#[test]
fn a_node_that_leaves_is_judged_until_it_is_gone() {
    let mut world = World::new(NODES);
    world.run_epoch(&of([]));
    let node = world.roster().nodes()[0];
    world.run_epoch(&of([node]));
    world.run(0, Action::Decommission { node }).unwrap();
    assert!(matches!(world.node(&node).status, NodeStatus::Leaving { .. }));
    assert_eq!(query::active_nodes(&world.state).count(), NODES);
    world.run_epoch(&of([node]));
    let until = world.schedule().start + query::params(&world.state).unbonding;
    assert_eq!(world.node(&node).status, NodeStatus::Decommissioning { until });
    assert_eq!(world.node(&node).stake, Amount(99_500_000));
    assert_eq!(query::active_nodes(&world.state).count(), NODES - 1);
}

/// Votes at random: a third of the nodes does and says what it wants.
struct Lottery {
    world: World,
    bad: BTreeSet<NodeId>,
    rng: SeededEntropy,
}

impl Lottery {
    fn new(seed: u64) -> Self {
        let mut rng = SeededEntropy::new(seed);
        let nodes = 4 + rng.below(12) as usize;
        let mut start = genesis(nodes);
        start.params.duties.examiners = 3 + rng.below(8) as u8;
        start.params = Params { penalty_bps: 1 + rng.below(900) as u16, ..start.params };
        let world = World::of(&start, nodes, seed);
        let bad = world.roster().nodes().iter().take((nodes - 1) / 3).copied().collect();
        Self { world, bad, rng }
    }

    fn epoch(&mut self) {
        let roster = self.world.roster();
        let mut commits = Vec::new();
        for id in roster.nodes() {
            let root = match self.bad.contains(id) {
                true if self.rng.below(4) == 0 => continue,
                true => [self.rng.below(3) as u8; 32],
                false => super::network::ROOT,
            };
            let commitment = self.world.commitment(id, root);
            commits.push((*id, Action::StorageCommitment { commitment }));
        }
        self.world.duties(commits);
        self.world.until(Phase::Recover);
        let mut votes = Vec::new();
        for id in roster.nodes() {
            let bad = self.bad.contains(id);
            if bad && self.rng.below(4) == 0 {
                continue;
            }
            let said: BTreeMap<Target, Option<bool>> = roster
                .targets(id)
                .into_iter()
                .map(|target| {
                    let lie = [None, Some(true), Some(false)][self.rng.below(3) as usize];
                    (target, if bad { lie } else { Some(!self.bad.contains(&target.node)) })
                })
                .collect();
            votes.push(self.world.vote(&roster, id, |target| said[target]));
        }
        self.world.duties(votes);
        self.world.next_epoch();
    }
}

#[test]
fn honest_nodes_are_safe_while_fewer_than_half_of_their_voters_lie() {
    let (mut safe, mut outvoted, mut caught) = (0, 0, 0);
    for seed in 0..40 {
        let mut it = Lottery::new(seed);
        let mut misses: BTreeMap<NodeId, u32> = BTreeMap::new();
        for _ in 0..12 {
            let roster = it.world.roster();
            it.epoch();
            for id in roster.nodes() {
                let mark = it.world.last_mark(id);
                if it.bad.contains(id) {
                    caught += u32::from(mark.penalty > Amount::ZERO);
                    continue;
                }
                let outvotes = |duty| {
                    let voters = roster.voters(&Target { node: *id, duty });
                    let lying = voters.iter().filter(|voter| it.bad.contains(voter)).count();
                    2 * lying > voters.len()
                };
                if outvotes(Duty::Reach) || outvotes(Duty::Keep) {
                    outvoted += 1;
                } else {
                    assert_eq!(failed(&mark), [], "seed {seed}, {id}");
                    assert_eq!(mark.penalty, Amount::ZERO, "seed {seed}, {id}");
                    safe += 1;
                }
                // Whatever others say, it pays only from the second miss in a row on.
                let row = misses.entry(*id).or_default();
                *row = if mark.failings == 0 { 0 } else { *row + 1 };
                assert_eq!(mark.penalty > Amount::ZERO, *row > 1, "seed {seed}, {id}");
            }
        }
    }
    assert!(safe > 1_000 && outvoted > 10 && caught > 100, "{safe} {outvoted} {caught}");
}

#[test]
fn the_same_votes_give_the_same_state() {
    let run = |seed| {
        let mut it = Lottery::new(seed);
        (0..6).for_each(|_| it.epoch());
        it.world.state.root()
    };
    for seed in 0..6 {
        assert_eq!(run(seed), run(seed));
    }
    assert_ne!(run(1), run(2));
}

#[test]
fn marks_are_kept_for_a_day_of_hours() {
    let mut world = World::new(4);
    for _ in 0..26 {
        world.run_epoch(&of([]));
    }
    let node = world.roster().nodes()[0];
    let kept = |epoch| query::get::<Marks>(&world.state, &MarkAt { node, epoch: Epoch(epoch) });
    assert!(kept(1).is_none() && kept(2).is_some() && kept(25).is_some());
}
