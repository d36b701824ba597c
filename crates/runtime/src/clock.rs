//! The system clock, made safe to reckon with: it never goes back.
#![allow(clippy::disallowed_methods)] // this is the one place that reads a clock

use std::future::pending;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use session_core::{Span, Time};

/// How long one sleep lasts before the clock is read again: a suspended machine or a corrected
/// clock is noticed within it.
const SLICE: Duration = Duration::from_secs(1);

/// The clock of a process.
///
/// It reports the system's time. When the system's clock is set back, it does not follow: it goes
/// on at half speed until the system has caught up, and says by how much it is [`ahead`].
///
/// [`ahead`]: SystemClock::ahead
#[derive(Debug)]
pub struct SystemClock {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What was reported last, in microseconds: slow progress must not round to none.
    reported: u64,
    /// When that was, on the clock that nobody sets.
    at: Instant,
    /// How far the report was ahead of the system's clock.
    ahead: u64,
}

impl SystemClock {
    /// Starts at the system's time.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State { reported: system_micros(), at: Instant::now(), ahead: 0 }),
        }
    }

    /// Returns the time.
    #[must_use]
    pub fn now(&self) -> Time {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.advance(system_micros(), Instant::now());
        Time::from_millis(state.reported / 1000)
    }

    /// Returns by how much the reported time was ahead of the system's at the last reading.
    #[must_use]
    pub fn ahead(&self) -> Span {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Span::from_millis(state.ahead / 1000)
    }

    /// Waits until `time`; for ever when it is [`Time::MAX`]. Dropping the future is safe.
    pub async fn sleep_until(&self, time: Time) {
        if time == Time::MAX {
            pending::<()>().await;
        }
        loop {
            let left = time.since(self.now());
            if left == Span::ZERO {
                return;
            }
            tokio::time::sleep(Duration::from(left).min(SLICE)).await;
        }
    }

    /// As [`SystemClock::sleep_until`]; without a time, for ever.
    pub async fn until(&self, time: Option<Time>) {
        self.sleep_until(time.unwrap_or(Time::MAX)).await;
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl State {
    fn advance(&mut self, system: u64, at: Instant) {
        if system >= self.reported {
            self.reported = system;
        } else {
            let passed = at.saturating_duration_since(self.at).as_micros() / 2;
            self.reported += u64::try_from(passed).unwrap_or(0);
        }
        self.ahead = self.reported.saturating_sub(system);
        self.at = at;
    }
}

/// Microseconds since the Unix epoch; 0 for a clock before it.
fn system_micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
