//! People who talk, for a handful of seeds.

use session_sim::{Report, Scenario, Story, play};

fn tell(story: Story, seeds: impl IntoIterator<Item = u64>) -> Vec<Report> {
    let tell = |seed| {
        let scenario = Scenario { persons: 4, minutes: 2, ..Scenario::new(story) };
        play(&scenario, seed).unwrap_or_else(|violation| panic!("{violation}"))
    };
    let reports: Vec<Report> = seeds.into_iter().map(tell).collect();
    let sum = |what: fn(&session_sim::messaging::Summary) -> usize| -> usize {
        reports.iter().filter_map(|report| report.messaging.as_ref()).map(what).sum()
    };
    // Nothing holds more easily than a rule about nothing.
    assert!(sum(|it| it.said) > 25 * reports.len(), "too little was said");
    assert!(sum(|it| it.shown) > sum(|it| it.said), "too little was shown");
    assert!(sum(|it| it.excused) * 10 < sum(|it| it.shown), "too much was excused");
    assert!(sum(|it| it.groups) > 0 && sum(|it| it.linked) > 0);
    reports
}

#[test]
fn messaging() {
    let reports = tell(Story::Messaging, [2, 4, 5, 6]);
    assert!(reports.iter().all(|report| report.faults.crashes > 0));
    assert!(reports.iter().map(|report| report.faults.splits).sum::<u64>() > 0);
}

#[test]
fn messaging_liars() {
    let reports = tell(Story::MessagingLiars, [2, 4, 6]);
    assert!(reports.iter().all(|report| report.faults.byzantine == 3));
}

/// Seeds that found a fault: wishes were gone after a branch had been tried in vain.
#[test]
fn found_before() {
    for seed in [6, 7] {
        let scenario = Scenario { persons: 4, minutes: 3, ..Scenario::new(Story::Messaging) };
        play(&scenario, seed).unwrap_or_else(|violation| panic!("{violation}"));
    }
}

#[test]
fn the_same_seed_is_the_same_conversation() {
    let scenario = Scenario { persons: 3, minutes: 1, ..Scenario::new(Story::Messaging) };
    let once = play(&scenario, 9).unwrap_or_else(|violation| panic!("{violation}"));
    let again = play(&scenario, 9).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(once, again);
}
