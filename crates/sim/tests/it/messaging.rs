//! People who talk, for a handful of seeds.

use session_sim::{Report, Scenario, Story, play};

fn tell(story: Story, minutes: u64, seeds: impl IntoIterator<Item = u64>) -> Vec<Report> {
    let tell = |seed| {
        let scenario = Scenario { persons: 4, minutes, ..Scenario::new(story) };
        play(&scenario, seed).unwrap_or_else(|violation| panic!("{violation}"))
    };
    let reports: Vec<Report> = seeds.into_iter().map(tell).collect();
    let sum = |what: fn(&session_sim::messaging::Summary) -> usize| -> usize {
        reports.iter().filter_map(|report| report.messaging.as_ref()).map(what).sum()
    };
    // Nothing holds more easily than a rule about nothing.
    assert!(sum(|it| it.said) > 25 * reports.len(), "too little was said");
    let (excused, shown) = if story == Story::MessagingRestored { (1, 2) } else { (10, 1) };
    assert!(sum(|it| it.shown) * shown > sum(|it| it.said), "too little was shown");
    assert!(sum(|it| it.excused) * excused < sum(|it| it.shown), "too much was excused");
    assert!(sum(|it| it.groups) > 0 && sum(|it| it.linked) > 0);
    reports
}

#[test]
fn messaging() {
    let reports = tell(Story::Messaging, 2, [2, 4, 5, 6]);
    assert!(reports.iter().all(|report| report.faults.crashes > 0));
    assert!(reports.iter().map(|report| report.faults.splits).sum::<u64>() > 0);
}

#[test]
fn messaging_liars() {
    let reports = tell(Story::MessagingLiars, 2, [2, 4, 6]);
    assert!(reports.iter().all(|report| report.faults.byzantine == 3));
}

/// Devices that went back in time find what was said since, and never make a branch of their own.
#[test]
fn messaging_restored() {
    let reports = tell(Story::MessagingRestored, 5, [603, 604, 605]);
    let back = |report: &Report| report.messaging.as_ref().is_some_and(|it| it.rolled_back > 0);
    assert!(reports.iter().all(back));
}

/// Seeds that found a fault: wishes were gone after a branch had been tried in vain; sides saw another
/// time of the same commit; what came to the other branch was forgotten; a member had not seen the wish
/// to leave that another one granted.
#[test]
fn found_before() {
    let tell = |story, persons, minutes, seed| {
        let scenario = Scenario { persons, minutes, ..Scenario::new(story) };
        play(&scenario, seed).unwrap_or_else(|violation| panic!("{violation}"));
    };
    tell(Story::Messaging, 4, 3, 6);
    tell(Story::Messaging, 4, 3, 7);
    tell(Story::Messaging, 6, 4, 309);
    tell(Story::Messaging, 6, 4, 1851);
    tell(Story::MessagingLiars, 5, 3, 420);
}

#[test]
fn the_same_seed_is_the_same_conversation() {
    let scenario = Scenario { persons: 3, minutes: 1, ..Scenario::new(Story::Messaging) };
    let once = play(&scenario, 9).unwrap_or_else(|violation| panic!("{violation}"));
    let again = play(&scenario, 9).unwrap_or_else(|violation| panic!("{violation}"));
    assert_eq!(once, again);
}
