//! Signatures of owners that were used, so that none is used twice.
//!
//! A signature is remembered until its timestamp is too old to be accepted. The table is bounded,
//! and nobody may fill it for everybody: an account has a share, and a table that fills up narrows
//! the window of accepted timestamps instead of turning everybody away. First clocks that are
//! ahead are refused; then the oldest signatures are forgotten, and with them everything that is
//! not newer is refused from there on. So no signature works twice, whatever was forgotten.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{InboxAddress, Span, Time};
use session_protocol::limits::CLOCK_TOLERANCE;
use session_protocol::request::Refusal;

/// Signatures remembered: 546 a second for the two minutes that one can be fresh.
const REUSE_MAX: usize = 65_536;

/// Signatures remembered of one account: 68 a second.
const ACCOUNT_MAX: usize = REUSE_MAX / 8;

/// From here on timestamps must not be far ahead: they would be remembered the longest.
const CROWDED: usize = REUSE_MAX / 4 * 3;

/// What a clock may be ahead while the table is crowded.
const CROWDED_TOLERANCE: Span = Span::from_secs(5);

type Id = [u8; 32];

/// Signatures that were used, for as long as their timestamp is fresh.
#[derive(Debug, Default)]
pub(crate) struct Reuse {
    used: BTreeSet<Id>,
    by_age: BTreeSet<(Time, Id, InboxAddress)>,
    held: BTreeMap<InboxAddress, usize>,
    /// Signatures up to here may have been forgotten; none of them is accepted.
    floor: Time,
}

impl Reuse {
    /// Notes a signature whose timestamp is fresh, or refuses it when it was used before.
    pub(crate) fn note(
        &mut self,
        address: InboxAddress,
        id: Id,
        signed: Time,
        now: Time,
    ) -> Result<(), Refusal> {
        if self.used.contains(&id) {
            return Err(Refusal::SignatureReused);
        }
        let busy = Refusal::RateLimited { retry_after: Span::from_secs(1) };
        if self.held.get(&address).is_some_and(|held| *held >= ACCOUNT_MAX) {
            return Err(busy);
        }
        if self.used.len() >= CROWDED && signed > now + CROWDED_TOLERANCE {
            return Err(Refusal::Clock { signed, server_time: now, tolerance: CROWDED_TOLERANCE });
        }
        if self.used.len() >= REUSE_MAX {
            match self.by_age.first() {
                // A floor ahead of the clock would turn everybody away.
                Some((oldest, ..)) if *oldest < now => self.floor = self.floor.max(*oldest),
                _ => return Err(busy),
            }
            self.forget_until(self.floor);
        }
        if signed <= self.floor {
            let tolerance = now.since(self.floor);
            return Err(Refusal::Clock { signed, server_time: now, tolerance });
        }
        self.used.insert(id);
        self.by_age.insert((signed, id, address));
        *self.held.entry(address).or_default() += 1;
        Ok(())
    }

    /// Forgets signatures that are refused by their age.
    pub(crate) fn purge(&mut self, now: Time) {
        while let Some((signed, ..)) = self.by_age.first()
            && *signed + CLOCK_TOLERANCE < now
        {
            self.forget_oldest();
        }
    }

    fn forget_until(&mut self, floor: Time) {
        while self.by_age.first().is_some_and(|(signed, ..)| *signed <= floor) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((_, id, address)) = self.by_age.pop_first() else { return };
        self.used.remove(&id);
        if let Some(held) = self.held.get_mut(&address) {
            *held -= 1;
            if *held == 0 {
                self.held.remove(&address);
            }
        }
    }
}

#[cfg(test)]
mod tests;
