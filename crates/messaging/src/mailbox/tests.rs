use std::collections::BTreeSet;

use session_core::testing::check_round_trip;

use super::*;

const HOUR: Span = Span::from_secs(3600);

fn seed(byte: u8) -> Secret {
    Secret::from([byte; 32])
}

/// The beginning of a day.
fn midnight(day: u64) -> Time {
    Time::ZERO + Span::from_days(day)
}

#[test]
fn no_two_are_the_same() {
    let (alice, bob) = (AccountId::from([1; 32]), AccountId::from([2; 32]));
    let mut all = Vec::new();
    for seed in [seed(1), seed(2)] {
        for number in [0, 1, 20_000, u64::MAX] {
            all.push(lane(&seed, &Lane::All, number));
            all.push(lane(&seed, &Lane::To(alice), number));
            all.push(lane(&seed, &Lane::To(bob), number));
            all.push(commits(&seed, number));
        }
        all.push(of_file(&seed));
    }
    let addresses: BTreeSet<_> = all.iter().map(|mailbox| mailbox.address()).collect();
    assert_eq!(addresses.len(), all.len());
    let capabilities = all.iter().flat_map(|it| [&it.read, &it.write, &it.erase]);
    let capabilities: BTreeSet<_> = capabilities.map(|it| *it.as_bytes()).collect();
    assert_eq!(capabilities.len(), 3 * all.len());
    check_round_trip(&all[0]);
}

#[test]
fn both_ends_derive_the_same() {
    let to = Lane::To(AccountId::from([1; 32]));
    assert_eq!(lane(&seed(1), &to, 7), lane(&seed(1), &to, 7));
    // Fixed: who updates the program still finds the mailboxes of today.
    assert_eq!(
        [
            lane(&seed(1), &Lane::All, 20_000).address().to_string(),
            lane(&seed(1), &to, 20_000).address().to_string(),
            commits(&seed(1), 3).address().to_string(),
            of_file(&seed(1)).address().to_string(),
        ],
        [
            "1052ec1d78ea4960904004ffb5a1368af1eda6f7a0938991b53d8d92bdff1414",
            "ef6220833d98c4a83a08383bfe0a019b8feb5bc31337abd098d41fecef21ee4f",
            "942907bb6879408af193cbf3fb6e9e5f5e0e483c4686e97b149777bdc9976fdd",
            "a5098dc487b3a7f2fc6f893a560fc85daa4808e9ff61d7b1963dda601d007368",
        ]
    );
}

#[test]
fn days_begin_at_midnight() {
    assert_eq!(day_of(Time::ZERO), 0);
    assert_eq!(day_of(midnight(20_000) - Span::from_millis(1)), 19_999);
    assert_eq!(day_of(midnight(20_000)), 20_000);
}

#[test]
fn days_around_midnight_and_back() {
    let noon = midnight(100) + Span::from_secs(12 * 3600);
    assert_eq!(days_to_watch(noon, noon), 100..=100);
    assert_eq!(days_to_watch(midnight(100) + HOUR, midnight(100) + HOUR), 99..=100);
    assert_eq!(days_to_watch(midnight(100) - HOUR, midnight(100) - HOUR), 99..=100);
    assert_eq!(days_to_watch(noon, midnight(97) + HOUR), 96..=100);
    assert_eq!(days_to_watch(noon, midnight(97) + SKEW + SKEW), 97..=100);
    // Nothing is kept longer.
    assert_eq!(days_to_watch(noon, Time::ZERO), 86..=100);
    // A clock that went back, and the beginning of time.
    assert_eq!(days_to_watch(noon, midnight(300)), 100..=100);
    assert_eq!(days_to_watch(Time::ZERO, Time::ZERO), 0..=0);
    assert!(days_to_watch(Time::MAX, Time::MAX).contains(&day_of(Time::MAX)));
}

/// Whoever stores within the skew of the clocks stores where the others look.
#[test]
fn what_is_stored_is_watched() {
    for hours in 0..72 {
        let reader = midnight(100) + Span::from_secs(hours * 3600);
        for sender in [reader - SKEW, reader, reader + SKEW] {
            assert!(days_to_watch(reader, reader).contains(&day_of(sender)), "at hour {hours}");
        }
    }
}
