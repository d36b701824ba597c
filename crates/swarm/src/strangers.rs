//! How many strangers wrote to each inbox lately, and what the next one has to solve for that.
//!
//! Counted in memory: a node that was restarted asks for nothing until many have written again.

use std::collections::BTreeMap;

use session_core::{InboxAddress, Span, Time};
use session_protocol::puzzle::BITS_MAX;

/// Inboxes that are counted. Of more, those where the least came are forgotten first.
const INBOXES_MAX: usize = 4096;

/// Items of an hour that cost nothing: an introduction into a large group has up to 64.
pub(crate) const FREE: u32 = 64;

/// What the first one above that costs; twice as many cost two bits more, four times the work.
const BITS_FIRST: u32 = 4;

/// An hour is counted in so many parts.
const PARTS: usize = 12;
const PART: Span = Span::from_secs(300);

/// What came in the last hour, part by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Hour {
    /// The newest part.
    newest: u64,
    counts: [u32; PARTS],
}

impl Hour {
    /// Forgets what is over.
    fn advance(&mut self, part: u64) {
        let gone = part.saturating_sub(self.newest).min(PARTS as u64);
        for ahead in 1..=gone {
            self.counts[((self.newest + ahead) % PARTS as u64) as usize] = 0;
        }
        // Where more was forgotten than there is, the parts that are over are zero all the same.
        self.newest = self.newest.max(part);
    }

    fn count(mut self, part: u64) -> u32 {
        self.advance(part);
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    fn add(&mut self, part: u64) {
        self.advance(part);
        let count = &mut self.counts[(self.newest % PARTS as u64) as usize];
        *count = count.saturating_add(1);
    }
}

/// What strangers stored here in the last hour.
#[derive(Debug, Default)]
pub(crate) struct Strangers {
    inboxes: BTreeMap<InboxAddress, Hour>,
}

impl Strangers {
    /// An item of a stranger was stored.
    pub(crate) fn came(&mut self, address: &InboxAddress, now: Time) {
        if !self.inboxes.contains_key(address) && self.inboxes.len() >= INBOXES_MAX {
            self.forget(part_of(now));
        }
        self.inboxes.entry(*address).or_default().add(part_of(now));
    }

    /// Returns the bits that the next item has to be worth.
    pub(crate) fn bits(&self, address: &InboxAddress, now: Time) -> u8 {
        let came = self.inboxes.get(address).map_or(0, |hour| hour.count(part_of(now)));
        match came.checked_div(FREE).and_then(u32::checked_ilog2) {
            None => 0,
            Some(doublings) => {
                let bits = BITS_FIRST + 2 * doublings;
                u8::try_from(bits).map_or(BITS_MAX, |bits| bits.min(BITS_MAX))
            }
        }
    }

    /// Makes room: what is over goes, or else the quarter where the least came.
    fn forget(&mut self, part: u64) {
        self.inboxes.retain(|_, hour| hour.count(part) > 0);
        if self.inboxes.len() < INBOXES_MAX {
            return;
        }
        let mut counts: Vec<_> =
            self.inboxes.iter().map(|(address, hour)| (hour.count(part), *address)).collect();
        counts.sort_unstable();
        for (_, address) in counts.into_iter().take(INBOXES_MAX / 4) {
            self.inboxes.remove(&address);
        }
    }
}

const fn part_of(now: Time) -> u64 {
    now.as_millis() / PART.as_millis()
}

#[cfg(test)]
mod tests;
