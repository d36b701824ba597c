//! Where things lie: the mailboxes that the members of a conversation derive from one seed.
//!
//! *Provided:* to those who keep them, mailboxes of one conversation look like those of many; a day's
//! mailbox does not tell the next day's. *Not provided:* hiding who stores and reads at which time,
//! which the network sees; secrecy of the mailboxes from a former member, until the seed changes.

use core::ops::RangeInclusive;

use session_core::{AccountId, Span, Time};
use session_protocol::inbox::Mailbox;

use crate::secret::Secret;

/// Clocks of people who talk to each other differ by less.
pub const SKEW: Span = Span::from_secs(2 * 3600);

/// Days after which nothing is kept any more: the longest life of an item.
pub const DAYS_BACK_MAX: u64 = 14;

const DAY: Span = Span::from_days(1);

/// Which of the boxes of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Those of everyone: groups, and the devices of one account.
    All,
    /// Of a conversation of two: those to this account.
    To(AccountId),
}

/// Returns the mailbox of a lane on a day.
#[must_use]
pub fn lane(seed: &Secret, lane: &Lane, day: u64) -> Mailbox {
    let day = day.to_be_bytes();
    match lane {
        Lane::All => Mailbox::derive(&seed.key(), &[b"lane/all", &day]),
        Lane::To(account) => Mailbox::derive(&seed.key(), &[b"lane/to", account.as_ref(), &day]),
    }
}

/// Returns the mailbox of the commits that end an epoch.
#[must_use]
pub fn commits(seed: &Secret, epoch: u64) -> Mailbox {
    Mailbox::derive(&seed.key(), &[b"commits", &epoch.to_be_bytes()])
}

/// Returns the mailbox of the pieces of a file, from a seed of its own.
#[must_use]
pub fn of_file(seed: &Secret) -> Mailbox {
    Mailbox::derive(&seed.key(), &[b"file"])
}

/// Returns the number of the day that a time belongs to, counted from the Unix epoch, in UTC.
#[must_use]
pub const fn day_of(time: Time) -> u64 {
    time.as_millis() / DAY.as_millis()
}

/// Returns the days whose mailboxes may hold what was stored after `since`: that day to today, at most
/// [`DAYS_BACK_MAX`] back; near midnight also the day before or after, because clocks differ by up to
/// [`SKEW`].
///
/// Who could not store an item on its day seals it again for another one, soon after [`SKEW`] is over;
/// twice that, a mailbox is looked at.
#[must_use]
pub fn days_to_watch(now: Time, since: Time) -> RangeInclusive<u64> {
    let first = day_of(since.min(now) - SKEW - SKEW).max(day_of(now).saturating_sub(DAYS_BACK_MAX));
    first..=day_of(now + SKEW)
}

#[cfg(test)]
mod tests;
