//! How a run fails.

use std::fmt;

use session_core::Span;

/// An invariant that does not hold, and how to see it again.
#[derive(Clone, Debug, thiserror::Error)]
pub struct Violation {
    /// The invariant.
    pub invariant: &'static str,
    /// What contradicts it.
    pub what: String,
    /// The seed of the run.
    pub seed: u64,
    /// Simulated time since the beginning.
    pub after: Span,
    /// The last events.
    pub events: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { invariant, what, seed, after, events } = self;
        writeln!(f, "{invariant} does not hold: {what}")?;
        writeln!(f, "seed {seed}, {after} after the beginning; the last events were:")?;
        f.write_str(events)
    }
}
