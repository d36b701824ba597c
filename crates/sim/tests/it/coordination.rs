//! Swarms whose nodes live on a chain, for a handful of seeds each.

use session_core::Span;
use session_sim::coordination::Summary;
use session_sim::fault::Fault;
use session_sim::host::HostId;
use session_sim::{Options, Report, Scenario, Story, play, run};
use session_swarm::coordinator::Lie;

const EPOCHS: u64 = 5;

fn scenario(story: Story) -> Scenario {
    Scenario { nodes: 30, persons: 16, minutes: EPOCHS * 10, ..Scenario::new(story) }
}

fn tell(story: Story, seeds: std::ops::Range<u64>) -> Vec<(Report, Summary)> {
    let tell = |seed| {
        let report = play(&scenario(story), seed).unwrap_or_else(|violation| panic!("{violation}"));
        let summary = report.coordination.clone().expect("the nodes live on a chain");
        // Nothing holds more easily than a rule about nothing.
        assert!(summary.tally.epochs >= EPOCHS, "{report}");
        assert!(report.acknowledged > 200, "{report}");
        assert!(summary.tally.ballots * 10 > summary.tally.seats * 5, "{report}");
        assert!(summary.certified + 2 >= EPOCHS, "{report}");
        (report, summary)
    };
    seeds.map(tell).collect()
}

fn sum(told: &[(Report, Summary)], what: impl Fn(&Report, &Summary) -> u64) -> u64 {
    told.iter().map(|(report, summary)| what(report, summary)).sum()
}

#[test]
fn calm_epochs() {
    let told = tell(Story::Coordination, 0..1);
    for (report, summary) in &told {
        let tally = &summary.tally;
        assert!(tally.swarms_made > 0 && tally.swarms_gone > 0, "split and merge: {report}");
        assert!(tally.inboxes_moved > 0, "{report}");
        assert!(tally.seated > 0 && tally.unseated > 0, "{report}");
        assert_eq!(tally.undeserved_misses, 0, "{report}");
        assert_eq!(tally.honest_payments, 0, "{report}");
        assert!(summary.cases.is_empty(), "{report}");
    }
}

#[test]
fn faults() {
    let told = tell(Story::CoordinationFaults, 0..2);
    assert!(sum(&told, |report, _| report.faults.crashes) > 10);
    assert!(sum(&told, |report, _| report.faults.splits) > 4);
    assert!(sum(&told, |_, summary| summary.tally.honest_failings.values().sum()) > 0);
    assert!(sum(&told, |_, summary| summary.tally.inboxes_moved) > 0);
}

#[test]
fn liars() {
    let told = tell(Story::CoordinationLiars, 0..1);
    let of = |name: &str| {
        let liars = told.iter().filter_map(|(_, summary)| summary.liars.get(name));
        liars.fold((0, 0), |(all, caught), liars| (all + liars.count, caught + liars.caught))
    };
    // Those that leave in time are not.
    for name in ["silent dealer", "late reveal", "bad dealer", "commit else", "equivocate"] {
        let (all, caught) = of(name);
        assert!(all > 0, "nobody is a {name}");
        assert_eq!(caught, all, "{name}: {caught} of {all} were caught");
    }
    let (all, caught) = of("drop items");
    assert!(all > 0 && caught * 3 >= all * 2, "{caught} of {all} that drop items were caught");
    assert!(sum(&told, |_, summary| summary.tally.other_payments) > 0);
    assert_eq!(sum(&told, |_, summary| summary.tally.honest_payments), 0);
}

#[test]
fn the_same_seed_is_the_same_run() {
    let options = Options {
        story: Story::CoordinationFaults,
        nodes: 20,
        persons: 4,
        minutes: 10,
        ..Options::default()
    };
    let run = || run(&options).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(run(), run());
}

#[test]
fn a_majority_of_liars_makes_the_innocent_pay_and_is_noticed() {
    let mut world = scenario(Story::CoordinationLiars).world(1);
    for node in (0..26).map(HostId) {
        world.plan(Span::from_secs(1), Fault::Lie { node, lie: Lie::FalseFail });
    }
    let violation = world.run_until(Span::from_secs(5 * 600)).expect_err("it must be noticed");
    assert_eq!(violation.invariant, "no_honest_node_pays", "{violation}");
}

#[test]
fn whoever_is_away_for_epochs_pays_and_nobody_else() {
    let mut world = scenario(Story::Coordination).world(2);
    let node = HostId(3);
    world.plan(Span::from_secs(700), Fault::Crash { node, disk_lost: false });
    world.run_until(Span::from_secs(6 * 600)).unwrap_or_else(|violation| panic!("{violation}"));
    let tally = world.chain().expect("the nodes live on a chain").watch().tally();
    assert!(tally.honest_payments >= 2, "{tally:?}");
    assert!(tally.honest_failings["unreachable"] >= 3, "{tally:?}");
    assert_eq!(tally.undeserved_misses, 0, "{tally:?}");
}
