use session_core::{SeededEntropy, Span, Time};

use super::{Latency, Peer, backoff};

#[test]
fn waits_double_from_a_fifth_of_a_second_to_fifteen() {
    let mut rng = SeededEntropy::new(3);
    for (attempt, longest) in
        [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 15_000, 15_000].into_iter().enumerate()
    {
        let waits: Vec<u64> = (0..200)
            .map(|_| backoff(u32::try_from(attempt).unwrap(), &mut rng).as_millis())
            .collect();
        assert!(waits.iter().all(|wait| (longest / 2..=longest).contains(wait)));
        // All of the upper half is used.
        assert!(waits.iter().any(|wait| *wait < longest * 6 / 10));
        assert!(waits.iter().any(|wait| *wait > longest * 9 / 10));
    }
    assert!(backoff(u32::MAX, &mut rng) <= Span::from_secs(15));
}

#[test]
fn latency_is_exact_and_saturates() {
    let mut latency = Latency::default();
    for (sample, expected) in [(100, 100_000), (20, 90_000), (20, 81_250), (0, 71_093)] {
        latency.sample(Span::from_millis(sample));
        assert_eq!(latency.0, Some(expected));
    }
    latency.sample(Span::from_millis(u64::MAX));
    assert_eq!(latency.0, Some(u32::MAX));
}

#[test]
fn any_clock_can_be_told() {
    let mut peer = Peer::new(true);
    let now = Time::from_millis(5_000);
    for (theirs, ahead) in [(Time::ZERO, -5_000), (now, 0), (Time::MAX, i64::MAX)] {
        peer.told_time(theirs, now);
        assert_eq!(peer.reported.clock_ahead_ms, ahead);
    }
}
