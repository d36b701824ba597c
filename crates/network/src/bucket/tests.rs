use session_core::{Span, Time};

use super::{Bucket, Meter};
use crate::limits::{Budget, Rate};

const RATE: Rate = Rate { per_second: 3, burst: 10 };

fn at(millis: u64) -> Time {
    Time::from_millis(1_000_000 + millis)
}

#[test]
fn a_bucket_gives_its_burst_and_then_its_rate() {
    let mut bucket = Bucket::full(RATE, at(0));
    assert_eq!(bucket.take(RATE, at(0), 11), Err(Span::from_millis(334)));
    assert_eq!(bucket.take(RATE, at(0), 10), Ok(()));
    assert_eq!(bucket.take(RATE, at(333), 1), Err(Span::from_millis(1)));
    assert_eq!(bucket.take(RATE, at(334), 1), Ok(()));
    // Rest fills it to the brim and no further.
    assert_eq!(bucket.take(RATE, at(1_000_000), 11), Err(Span::from_millis(334)));
}

#[test]
fn a_clock_that_steps_back_gives_nothing() {
    let mut bucket = Bucket::full(RATE, at(10_000));
    assert_eq!(bucket.take(RATE, at(10_000), 10), Ok(()));
    assert_eq!(bucket.take(RATE, at(0), 1), Err(Span::from_millis(334)));
    assert_eq!(bucket.take(RATE, at(10_333), 1), Err(Span::from_millis(1)));
}

#[test]
fn extreme_rates_do_not_overflow() {
    for rate in [Rate::UNLIMITED, Rate { per_second: u64::MAX, burst: u64::MAX }] {
        let mut bucket = Bucket::full(rate, Time::ZERO);
        assert_eq!(bucket.take(rate, Time::MAX, 1 << 40), Ok(()));
        assert_eq!(bucket.take(rate, Time::MAX, 1 << 40), Ok(()));
    }
    let never = Rate { per_second: 0, burst: 1 };
    let mut bucket = Bucket::full(never, Time::ZERO);
    assert_eq!(bucket.take(never, at(0), 1), Ok(()));
    assert!(bucket.take(never, Time::MAX, 1).is_err());
}

#[test]
fn a_meter_takes_from_both_or_from_none() {
    let budget = Budget {
        frames: Rate { per_second: 1, burst: 5 },
        bytes: Rate { per_second: 100, burst: 1_000 },
    };
    let mut meter = Meter::full(&budget, at(0));
    assert_eq!(meter.take(&budget, at(0), 1, 1_200), Err(Span::from_secs(2)));
    // The refusal cost no frame: five are left.
    for _ in 0..5 {
        assert_eq!(meter.take(&budget, at(0), 1, 100), Ok(()));
    }
    assert_eq!(meter.take(&budget, at(0), 1, 0), Err(Span::from_secs(1)));
    assert_eq!(meter.full_at(&budget), at(5_000));
}
