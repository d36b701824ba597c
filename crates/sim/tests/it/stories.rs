//! Every story, for a handful of seeds each.

use session_core::Span;
use session_sim::byzantine::Kind;
use session_sim::fault::Fault;
use session_sim::person::Habits;
use session_sim::{Options, Report, Scenario, Story, play, run};

fn tell(story: Story, seeds: std::ops::Range<u64>) -> Vec<Report> {
    let tell = |seed| {
        let scenario = Scenario { minutes: 3, ..Scenario::new(story) };
        play(&scenario, seed).unwrap_or_else(|violation| panic!("{violation}"))
    };
    let reports: Vec<Report> = seeds.map(tell).collect();
    for report in &reports {
        // Nothing holds more easily than a rule about nothing.
        assert!(report.acknowledged > 50 && report.deleted > 0, "{report}");
        assert!(report.tally.sent >= report.acknowledged as u64, "{report}");
        // Some are deleted or gone before their sender is shown that they were stored.
        assert!(report.acknowledged as u64 * 10 > report.tally.sent * 7, "{report}");
        assert_eq!(report.tally.given_up, 0, "{report}");
    }
    reports
}

fn sum(reports: &[Report], what: impl Fn(&Report) -> u64) -> u64 {
    reports.iter().map(what).sum()
}

#[test]
fn calm() {
    let reports = tell(Story::Calm, 0..4);
    assert_eq!(sum(&reports, |report| report.tally.retried), 0);
    assert_eq!(sum(&reports, |report| report.penalties), 0);
}

#[test]
fn lossy() {
    let reports = tell(Story::Lossy, 0..6);
    assert!(sum(&reports, |report| report.traffic.lost) > 100);
    assert!(sum(&reports, |report| report.traffic.repeated) > 10);
    assert!(sum(&reports, |report| report.faults.broken) > 50);
}

#[test]
fn crashes() {
    assert!(sum(&tell(Story::Crashes, 0..8), |report| report.faults.crashes) > 10);
}

#[test]
fn outage() {
    let reports = tell(Story::Outage, 0..8);
    assert!(sum(&reports, |report| report.tally.retried) > 0, "no command ever failed");
}

#[test]
fn partition() {
    assert!(sum(&tell(Story::Partition, 0..8), |report| report.faults.splits) >= 8);
}

#[test]
fn byzantine() {
    assert_eq!(sum(&tell(Story::Byzantine, 0..6), |report| report.faults.byzantine), 18);
}

#[test]
fn skewed() {
    assert!(sum(&tell(Story::Skewed, 0..6), |report| report.faults.skews) > 100);
}

#[test]
fn disk_loss() {
    assert!(sum(&tell(Story::DiskLoss, 0..8), |report| report.faults.disks_lost) >= 8);
}

#[test]
fn everything() {
    tell(Story::Everything, 0..8);
}

#[test]
fn siege() {
    tell(Story::Siege, 0..6);
}

#[test]
fn three_swarms() {
    let scenario = Scenario { nodes: 30, ..Scenario::new(Story::Everything) };
    let report = play(&scenario, 5).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(report.nodes, 30);
    assert!(report.acknowledged > 50, "{report}");
}

#[test]
fn short_lives_end() {
    let habits = Habits { ttl: Span::from_secs(20), expires: 0, ..Habits::default() };
    let scenario = Scenario { habits, minutes: 4, ..Scenario::new(Story::Calm) };
    let mut world = scenario.world(3);
    world.run_until(Span::from_secs(240)).unwrap_or_else(|violation| panic!("{violation}"));
    assert!(world.ledger().messages().count() > 50);
    world.fall_silent();
    world.run_until(Span::from_secs(420)).unwrap_or_else(|violation| panic!("{violation}"));
    for node in world.nodes() {
        assert_eq!(node.health().expect("nobody crashes").store.items, 0);
    }
}

#[test]
fn each_misbehaviour_in_three_of_ten_nodes() {
    for kind in Kind::ALL {
        let scenario = Scenario::new(Story::Calm);
        let mut world = scenario.world(11);
        for node in world.members(world.swarms()[0]).to_vec().into_iter().take(3) {
            world.plan(Span::ZERO, Fault::Misbehave { node, kind });
        }
        world
            .run_until(Span::from_secs(180))
            .and_then(|()| session_sim::run::settle(&mut world).map_err(|violation| *violation))
            .unwrap_or_else(|violation| panic!("{kind:?}: {violation}"));
        assert!(world.ledger().messages().count() > 50, "{kind:?}");
        // Whose lies leave traces is found out.
        let traceable = matches!(kind, Kind::Liar | Kind::Flooder);
        assert!(!traceable || world.penalties() > 0, "{kind:?} was never found out");
    }
}

#[test]
fn over_hops_that_crash_or_do_harm_nothing_is_lost() {
    for (seed, story) in [(1, Story::Onion), (2, Story::Onion), (3, Story::OnionLiars)] {
        let options = Options { seed, story, minutes: 3, ..Options::default() };
        let report = run(&options).unwrap_or_else(|violation| panic!("{violation}"));
        assert!(report.acknowledged > 50 && report.retrieved > 50, "{report:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for story in [Story::Everything, Story::Byzantine] {
        let options = |seed| Options { seed, story, minutes: 2, ..Options::default() };
        let run = |seed| run(&options(seed)).unwrap_or_else(|violation| panic!("{violation}"));
        let (once, again, other) = (run(1), run(1), run(2));
        assert_eq!(once, again);
        assert_ne!(once.digest, other.digest);
    }
}

#[test]
fn stories_have_names() {
    for story in Story::ALL {
        assert_eq!(story.name().parse(), Ok(story));
    }
    assert!("calmly".parse::<Story>().is_err());
}
