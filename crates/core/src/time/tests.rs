use core::time::Duration;

use super::{Span, Time};
use crate::testing::check_codec;

const SECOND: Span = Span::from_secs(1);
const FOREVER: Span = Span::from_millis(u64::MAX);

#[test]
fn arithmetic_stops_at_both_ends() {
    assert_eq!(Time::MAX + SECOND, Time::MAX);
    assert_eq!(Time::from_millis(5) + FOREVER, Time::MAX);
    assert_eq!(Time::ZERO - SECOND, Time::ZERO);
    assert_eq!(Time::MAX - FOREVER, Time::ZERO);
    assert_eq!(FOREVER + SECOND, FOREVER);
    assert_eq!(Span::from_secs(u64::MAX), FOREVER);
    assert_eq!(Span::from_days(u64::MAX), FOREVER);
}

#[test]
fn arithmetic_between_the_ends_is_exact() {
    let noon = Time::from_millis(43_200_000);
    assert_eq!((noon + SECOND).as_millis(), 43_201_000);
    assert_eq!((noon - SECOND).as_millis(), 43_199_000);
    assert_eq!(SECOND + SECOND, Span::from_millis(2000));
    assert_eq!(Span::from_days(14).as_millis(), 1_209_600_000);
    assert_eq!(Duration::from(Span::from_millis(1500)), Duration::from_millis(1500));
}

#[test]
fn spans_between_times() {
    let (early, late) = (Time::from_millis(10), Time::from_millis(25));
    assert_eq!(late.since(early), Span::from_millis(15));
    assert_eq!(early.since(late), Span::ZERO);
    assert_eq!(early.distance(late), Span::from_millis(15));
    assert_eq!(late.distance(early), Span::from_millis(15));
    assert_eq!(Time::MAX.distance(Time::ZERO), FOREVER);
}

#[test]
fn golden_bytes_and_text() {
    check_codec(&Time::from_millis(0x0102), "0000000000000102");
    check_codec(&Span::from_millis(0x0102), "0000000000000102");
    assert_eq!(Time::from_millis(3).to_string(), "3 ms");
    assert_eq!(Span::from_secs(3).to_string(), "3000 ms");
}
