use super::*;
use crate::run::{Options, run};

fn tell(story: Story, members: usize, minutes: u64, seed: u64) -> (Report, Summary) {
    let options = Options { seed, story, nodes: members, persons: 4, minutes };
    let report = run(&options).unwrap_or_else(|violation| panic!("{violation}"));
    let summary = report.workload.expect("it is a story of committees");
    // Nothing holds more easily than a rule about nothing.
    assert!(summary.finalized > 0 && summary.replayed > 0, "{report}");
    (report, summary)
}

fn sum(told: &[(Report, Summary)], what: impl Fn(&Summary) -> u64) -> u64 {
    told.iter().map(|(_, summary)| what(summary)).sum()
}

#[test]
fn committees_of_four() {
    let told: Vec<_> = (0..24).map(|seed| tell(Story::Workload, 4, 3, seed)).collect();
    assert!(sum(&told, |it| it.finalized as u64) > 100);
    assert!(sum(&told, |it| it.failed as u64) > 10, "programs fail, and members agree that");
    assert!(sum(&told, |it| it.deadline as u64) > 0, "some have too little time");
    assert!(sum(&told, |it| it.outside.effects) > 50);
    assert!(sum(&told, |it| it.outside.writes - it.outside.effects) > 5, "writes are repeated");
    assert!(sum(&told, |it| it.retries) > 50);
    assert_eq!(sum(&told, |it| it.evidence + it.contradictions), 0);
}

#[test]
fn committees_of_four_with_a_liar() {
    let seeds = (0..28).filter(|seed| seed % OVERRUN_EVERY != OVERRUN_EVERY - 1);
    let told: Vec<_> = seeds.map(|seed| tell(Story::WorkloadLiars, 4, 3, seed)).collect();
    assert!(sum(&told, |it| it.lies) > 500);
    assert!(sum(&told, |it| it.refused) > 50);
    assert!(sum(&told, |it| it.contradictions) > 20);
    assert!(sum(&told, |it| it.accused as u64) >= 3);
}

#[test]
fn committees_of_seven() {
    let told: Vec<_> = (104..110)
        .map(|seed| {
            let stories = [Story::Workload, Story::WorkloadLiars];
            tell(stories[seed as usize % 2], 7, 2, seed)
        })
        .collect();
    assert!(sum(&told, |it| it.finalized as u64) > 10);
}

#[test]
fn a_committee_of_twenty_one_with_six_liars() {
    let (report, summary) = tell(Story::WorkloadLiars, 21, 1, 200);
    assert_eq!(report.faults.byzantine, 6);
    assert!(summary.accused > 0, "{report}");
}

#[test]
fn more_liars_than_a_committee_can_bear_are_found_out() {
    let told: Vec<_> = (0..6)
        .map(|round| {
            let seed = round * OVERRUN_EVERY + OVERRUN_EVERY - 1;
            let nodes = if round % 2 == 0 { 4 } else { 7 };
            let story = Story::WorkloadLiars;
            let report = run(&Options { seed, story, nodes, persons: 4, minutes: 1 });
            let report = report.unwrap_or_else(|violation| panic!("{violation}"));
            assert!(report.faults.byzantine * 3 > report.nodes as u64);
            report.workload.expect("it is a story of committees")
        })
        .collect();
    assert!(told.iter().map(|it| it.accused).sum::<usize>() > 10);
}

/// `SESSION_WORKLOAD_SEEDS=1000` runs more seeds than a test has time for, of sizes in turn; all
/// that break a rule are named.
#[test]
fn many_seeds() {
    let seeds = std::env::var("SESSION_WORKLOAD_SEEDS").ok().and_then(|it| it.parse().ok());
    let mut broken = Vec::new();
    let mut sum = (0, 0, 0);
    for seed in 1_000..1_000 + seeds.unwrap_or(6) {
        let story = [Story::Workload, Story::WorkloadLiars][seed as usize % 2];
        let nodes = [4, 7, 5, 4, 10, 4, 6][seed as usize % 7];
        match run(&Options { seed, story, nodes, persons: 3, minutes: 2 }) {
            Ok(report) => {
                let told = report.workload.expect("it is a story of committees");
                sum.0 += told.finalized;
                sum.1 += told.failed;
                sum.2 += told.deadline;
            }
            Err(violation) => {
                let Violation { invariant, what, after, .. } = *violation;
                let what: String = what.chars().take(700).collect();
                broken.push(format!("{story} {nodes} {seed} at {after}: {invariant}: {what}"));
            }
        }
    }
    assert!(broken.is_empty(), "{sum:?}, {} broken:\n{}", broken.len(), broken.join("\n"));
    assert!(sum.0 > 0);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for story in [Story::Workload, Story::WorkloadLiars] {
        let (once, again) = (tell(story, 4, 1, 9), tell(story, 4, 1, 9));
        assert_eq!(once, again);
        assert_ne!(once.0.digest, tell(story, 4, 1, 8).0.digest);
    }
}

/// A quiet world with one session, of the program of that number.
fn one_session(program: usize) -> World {
    let plan = Plan { seed: 5, members: 4, people: 1, link: Link::good(), trouble: 0 };
    let mut world = World::new(&plan);
    world.only_errand(program);
    world
}

fn end(mut world: World) -> (Found, Vec<u64>) {
    let end = |world: &mut World| {
        world.run_until(Span::from_secs(40))?;
        world.heal();
        let mut after = 40;
        while let Some(unrest) = invariants::unrest(world) {
            if after > 600 {
                return Err(Box::new(world.violation("every_session_ends", unrest)));
            }
            after += 5;
            world.run_until(Span::from_secs(after))?;
        }
        let commits = world.nodes.iter().map(|node| node.commits).collect();
        let found = invariants::at_rest(world)
            .map_err(|(name, what)| Box::new(world.violation(name, what)))?;
        Ok((found, commits))
    };
    end(&mut world).unwrap_or_else(|violation: Box<Violation>| panic!("{violation}"))
}

/// Every commit of every member is once the last one before it dies.
#[test]
fn a_member_dies_after_every_commit() {
    for program in [1, 3, 4, 6] {
        let (expected, commits) = end(one_session(program));
        assert_eq!(expected.finalized + expected.failed, 1);
        for (node, commits) in commits.into_iter().take(4).enumerate() {
            for last in 1..=commits {
                let mut world = one_session(program);
                world.nodes[node].dies_after = Some(last);
                let (found, _) = end(world);
                assert_eq!(
                    (found.finalized, found.failed, found.steps),
                    (expected.finalized, expected.failed, expected.steps),
                    "program {program}: member {node} died after commit {last} of {commits}"
                );
                assert!(found.replayed >= 3);
            }
        }
    }
}

/// Runs small worlds in which a rule is broken until somebody notices, and says who.
fn noticed(break_it: impl Fn(&mut World)) -> Option<&'static str> {
    (0..30).find_map(|seed| {
        let plan = Plan { seed, members: 4, people: 4, link: Link::lossy(), trouble: 10 };
        let mut world = World::new(&plan);
        break_it(&mut world);
        world.run_until(Span::from_secs(120)).err().map(|violation| violation.invariant)
    })
}

#[test]
fn nothing_is_noticed_where_nothing_is_broken() {
    assert_eq!(noticed(|_| {}), None);
}

#[test]
fn a_target_that_does_not_know_its_keys_is_noticed() {
    assert_eq!(noticed(|world| world.outside.keyless = true), Some("writes_happen_once"));
}

#[test]
fn a_member_that_forgets_what_it_signed_is_noticed() {
    let forget = |world: &mut World| {
        world.forgetful = Some(0);
        for at in (10..120).step_by(5) {
            world.plan(Span::from_secs(at), Strike::Crash { node: 0, commits: 3 });
        }
    };
    assert_eq!(noticed(forget), Some("evidence_convicts_liars"));
}
