//! The stories of the chain, for dozens of seeds each.

use session_sim::chain::Summary;
use session_sim::{Options, Report, Story, run};

fn tell(story: Story, seeds: std::ops::Range<u64>) -> Vec<(Report, Summary)> {
    let tell = |seed| {
        let options = Options { seed, story, nodes: 6, persons: 10, minutes: 1 };
        let report = run(&options).unwrap_or_else(|violation| panic!("{violation}"));
        let summary = report.chain.expect("it is a story of the chain");
        // Nothing holds more easily than a rule about nothing.
        assert!(summary.height > 10 && summary.transactions > 40, "{report}");
        assert!(report.faults.skews > 0 && report.traffic.repeated > 0, "{report}");
        (report, summary)
    };
    seeds.map(tell).collect()
}

fn sum(told: &[(Report, Summary)], what: impl Fn(&Report, &Summary) -> u64) -> u64 {
    told.iter().map(|(report, summary)| what(report, summary)).sum()
}

#[test]
fn a_chain_that_runs_alone() {
    let told = tell(Story::Chain, 0..18);
    assert!(sum(&told, |report, _| report.faults.crashes) > 100);
    assert!(sum(&told, |report, _| report.faults.splits) > 18);
    assert!(sum(&told, |_, chain| chain.died) > 100, "writes must have failed");
    assert_eq!(sum(&told, |_, chain| chain.stopped), 0);
    for (report, chain) in &told {
        assert_eq!(report.retrieved, chain.transactions, "{report}");
        assert!(chain.people.seen <= chain.transactions as u64, "{report}");
    }
    // All that anybody can order was ordered and done.
    assert!(told.iter().any(|(_, chain)| chain.kinds >= 12));
}

#[test]
fn liars_stop_followers_but_deceive_none() {
    let told = tell(Story::ChainLiars, 0..18);
    assert!(sum(&told, |_, chain| chain.meddled) > 1_000);
    let of = |lie: u64| told.iter().filter(move |(report, _)| report.seed % 3 == lie);
    // 0: two blocks for a height. 1: blocks that cannot follow. 2: no blocks.
    // In a minute nobody may come to see both blocks.
    assert!(of(0).filter(|(_, chain)| chain.forks > 0).count() >= 5);
    assert!(of(1).map(|(_, chain)| chain.stopped - chain.forks).sum::<u64>() > 4);
    assert_eq!(of(2).map(|(_, chain)| chain.stopped).sum::<u64>(), 0);
}

#[test]
fn the_same_seed_is_the_same_run() {
    for story in [Story::Chain, Story::ChainLiars] {
        let options = |seed| Options { seed, story, nodes: 5, minutes: 1, ..Options::default() };
        let run = |seed| run(&options(seed)).unwrap_or_else(|violation| panic!("{violation}"));
        let (once, again, other) = (run(3), run(3), run(4));
        assert_eq!(once, again);
        assert_ne!(once.digest, other.digest);
        assert!(once.to_string().contains("transactions of"), "{once}");
    }
}
