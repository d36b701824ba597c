use std::time::{Duration, Instant};

use session_core::{Span, Time};

use super::{State, SystemClock};

const SECOND: u64 = 1_000_000;

#[test]
fn follows_the_system_forward_and_never_back() {
    let start = Instant::now();
    let mut state = State { reported: 100 * SECOND, at: start, ahead: 0 };
    let mut read = |system, seconds| {
        state.advance(system, start + Duration::from_secs(seconds));
        (state.reported / SECOND, state.ahead / SECOND)
    };
    assert_eq!(read(101 * SECOND, 1), (101, 0));
    assert_eq!(read(3600 * SECOND, 2), (3600, 0), "forward jumps are followed");
    assert_eq!(read(3590 * SECOND, 4), (3601, 11), "set back: half speed");
    assert_eq!(read(3600 * SECOND, 14), (3606, 6));
    assert_eq!(read(3612 * SECOND, 26), (3612, 0), "caught up");
}

#[test]
fn frequent_readings_still_make_progress() {
    let start = Instant::now();
    let mut state = State { reported: 100 * SECOND, at: start, ahead: 0 };
    for nth in 1..=1000 {
        state.advance(0, start + Duration::from_micros(100 * nth));
    }
    assert_eq!(state.reported, 100 * SECOND + 50_000);
}

#[tokio::test]
async fn sleeps_until_the_time_and_not_for_the_past() {
    let clock = SystemClock::new();
    let goal = clock.now() + Span::from_millis(30);
    clock.sleep_until(goal).await;
    assert!(clock.now() >= goal);
    clock.sleep_until(Time::ZERO).await;
    let forever = clock.until(None);
    assert!(tokio::time::timeout(Duration::from_millis(20), forever).await.is_err());
}
