//! What happens when in an epoch.
//!
//! An epoch has four quarters. In each the beacon of the next epoch takes one step, and the duties
//! of this one are done beside it:
//!
//! | quarter | beacon | duties |
//! |---|---|---|
//! | 1 | dealers post their dealings | storage commitments |
//! | 2 | members acknowledge their shares | storage commitments again, after reconciling |
//! | 3 | dealers reveal | probes and audits end |
//! | 4 | members show the shares of silent dealers | examiners vote |

use session_core::{Epoch, Span, Time, record};

/// A quarter of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Dealings and storage commitments.
    Deal,
    /// Acknowledgements; storage commitments a second time.
    Ack,
    /// Reveals.
    Reveal,
    /// Shares of silent dealers; votes.
    Recover,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 4] = [Self::Deal, Self::Ack, Self::Reveal, Self::Recover];
}

record! {
    /// An epoch's place in time.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Schedule {
        /// When it begins.
        pub start: Time,
        /// How long it lasts.
        pub length: Span,
    }
}

impl Schedule {
    /// Returns the place of `epoch` in a chain that began at `genesis`.
    #[must_use]
    pub fn of(genesis: Time, length: Span, epoch: Epoch) -> Self {
        let passed = length.as_millis().saturating_mul(epoch.0);
        Self { start: genesis + Span::from_millis(passed), length }
    }

    /// Returns when the next epoch begins.
    #[must_use]
    pub fn end(&self) -> Time {
        self.start + self.length
    }

    /// Returns when a phase begins.
    #[must_use]
    pub fn begin(&self, phase: Phase) -> Time {
        let quarter = self.length.as_millis() / 4;
        self.start + Span::from_millis(quarter.saturating_mul(phase as u64))
    }

    /// Returns the phase that a time is in; the first before the epoch, the last after it.
    #[must_use]
    pub fn phase(&self, time: Time) -> Phase {
        let begun = Phase::ALL.into_iter().rev().find(|phase| self.begin(*phase) <= time);
        begun.unwrap_or(Phase::Deal)
    }
}
