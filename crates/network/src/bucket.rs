//! Token buckets in integer arithmetic.

use session_core::{Span, Time};

use crate::limits::{Budget, Rate};

// A thousandth of a token is what one token per second gains in a millisecond.
const MILLI: u64 = 1000;

/// A bucket that fills at a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    milli: u64,
    at: Time,
}

impl Bucket {
    /// Makes a rested one.
    #[must_use]
    pub const fn full(rate: Rate, now: Time) -> Self {
        Self { milli: rate.burst.saturating_mul(MILLI), at: now }
    }

    /// Takes `tokens`.
    ///
    /// # Errors
    /// When they are not there: how long it takes until they are.
    pub fn take(&mut self, rate: Rate, now: Time, tokens: u64) -> Result<(), Span> {
        let wait = self.wait(rate, now, tokens);
        if wait > Span::ZERO {
            return Err(wait);
        }
        self.milli -= tokens.saturating_mul(MILLI);
        Ok(())
    }

    /// Fills up to `now` and returns how long it takes until `tokens` are there.
    fn wait(&mut self, rate: Rate, now: Time, tokens: u64) -> Span {
        let gained = now.since(self.at).as_millis().saturating_mul(rate.per_second);
        self.milli = self.milli.saturating_add(gained).min(rate.burst.saturating_mul(MILLI));
        // A clock that steps back neither fills nor empties anything.
        self.at = self.at.max(now);
        let missing = tokens.saturating_mul(MILLI).saturating_sub(self.milli);
        Span::from_millis(missing.div_ceil(rate.per_second.max(1)))
    }

    /// Returns when it will be full if nothing is taken.
    fn full_at(&self, rate: Rate) -> Time {
        let missing = rate.burst.saturating_mul(MILLI).saturating_sub(self.milli);
        self.at + Span::from_millis(missing.div_ceil(rate.per_second.max(1)))
    }
}

/// Frames and bytes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meter {
    frames: Bucket,
    bytes: Bucket,
}

impl Meter {
    pub(crate) const fn full(budget: &Budget, now: Time) -> Self {
        Self { frames: Bucket::full(budget.frames, now), bytes: Bucket::full(budget.bytes, now) }
    }

    /// Takes from both buckets or from none, and then says how long to wait.
    pub(crate) fn take(
        &mut self,
        budget: &Budget,
        now: Time,
        frames: u64,
        bytes: usize,
    ) -> Result<(), Span> {
        let bytes = bytes as u64;
        let wait = self.frames.wait(budget.frames, now, frames).max(self.bytes.wait(
            budget.bytes,
            now,
            bytes,
        ));
        if wait > Span::ZERO {
            return Err(wait);
        }
        self.frames.take(budget.frames, now, frames)?;
        self.bytes.take(budget.bytes, now, bytes)
    }

    /// Returns when both will be full: from then on forgetting it changes nothing.
    pub(crate) fn full_at(&self, budget: &Budget) -> Time {
        self.frames.full_at(budget.frames).max(self.bytes.full_at(budget.bytes))
    }
}

#[cfg(test)]
mod tests;
