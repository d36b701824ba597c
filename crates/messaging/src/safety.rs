//! The number that two people compare to know that nobody stands between them.
//!
//! *Provided:* whoever wants another pair of accounts to show the same number needs about 2^99 tries.
//! *Not provided:* anything about devices: those of an account are vouched for by its manifest, and
//! the number stays as it is when they change.

use session_core::{Domain, Encode as _, digest};
use session_crypto::PublicIdentity;

/// Digits of a number.
pub const DIGITS: usize = 60;

/// Digits that are shown together.
pub const GROUP: usize = 5;

/// Bytes that become one group: so many that the remainder shows no bias.
const GROUP_BYTES: usize = 5;

/// Returns the number of two accounts, the same for both of them.
#[must_use]
pub fn number(one: &PublicIdentity, other: &PublicIdentity) -> String {
    let sort = |identity: &PublicIdentity| (identity.account_id(), identity.to_bytes());
    let (low, high) = (sort(one).min(sort(other)), sort(one).max(sort(other)));
    let half = |number: u8| {
        let parts = [low.0.as_ref(), &low.1, high.0.as_ref(), &high.1, &[number]];
        digest(Domain::SafetyNumber, &parts)
    };
    let bytes = [*half(0).as_bytes(), *half(1).as_bytes()].concat();
    let groups = bytes.chunks_exact(GROUP_BYTES).take(DIGITS / GROUP);
    groups.map(|group| format!("{:05}", big_endian(group) % 100_000)).collect()
}

/// Returns a number as people read it: groups of digits with spaces between.
#[must_use]
pub fn in_groups(number: &str) -> String {
    let digits: Vec<char> = number.chars().collect();
    let groups: Vec<String> = digits.chunks(GROUP).map(|group| group.iter().collect()).collect();
    groups.join(" ")
}

fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests;
