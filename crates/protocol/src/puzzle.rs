//! What it costs a stranger to be heard where many strangers write: a puzzle for each item.
//!
//! *Provided:* a solution is for one item of one mailbox of one network, and for twenty minutes at
//! most. *Not provided:* that it was solved then: who knows early what he will send, and when, can
//! solve early.

use std::sync::atomic::{AtomicUsize, Ordering};

use session_core::{Domain, InboxAddress, MessageId, Span, Time, digest, record};
use session_crypto::puzzle::Attempts;

use crate::membership::NetworkId;

/// How long a window is: a solution counts in its own and in the next one.
pub const WINDOW: Span = Span::from_secs(600);

/// Most bits that are asked for: some 4,096 attempts, of a few milliseconds each.
pub const BITS_MAX: u8 = 12;

/// Solutions of one request that are checked; the others are to come again.
pub const CHECKED_MAX: usize = 4;

/// Solutions that one node checks at the same time, 4 MiB and a few milliseconds each.
const AT_ONCE_MAX: usize = 4;

/// So many times as often as usually is needed, a solution is looked for: one search in nine
/// million finds none.
const PATIENCE: u64 = 16;

record! {
    /// A solved puzzle.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Solution {
        /// For which window.
        pub window: u64,
        /// What solves it.
        pub nonce: u64,
    }

    /// What is to be solved.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Puzzle {
        /// The network.
        pub network: NetworkId,
        /// The mailbox.
        pub address: InboxAddress,
        /// The item.
        pub message: MessageId,
        /// The window.
        pub window: u64,
        /// Zero bits that are asked for.
        pub bits: u8,
    }
}

/// Returns the number of the window that a time is in.
#[must_use]
pub const fn window_of(time: Time) -> u64 {
    time.as_millis() / WINDOW.as_millis()
}

impl Solution {
    /// Whether it counts for what is sent at a time; costs nothing.
    #[must_use]
    pub const fn is_current(&self, sent: Time) -> bool {
        matches!(window_of(sent).checked_sub(self.window), Some(0 | 1))
    }
}

impl Puzzle {
    fn challenge(&self) -> [u8; 32] {
        let window = self.window.to_be_bytes();
        let parts: [&[u8]; 4] =
            [self.network.as_ref(), self.address.as_ref(), self.message.as_ref(), &window];
        *digest(Domain::Puzzle, &parts).as_bytes()
    }

    /// Solves it: some `2^bits` attempts of a few milliseconds. Nothing after sixteen times as many,
    /// and nothing for more bits than are ever asked for.
    #[must_use]
    pub fn solve(&self) -> Option<Solution> {
        if self.bits > BITS_MAX {
            return None;
        }
        let tries = PATIENCE << self.bits;
        let nonce = Attempts::default().solve(&self.challenge(), self.bits.into(), tries)?;
        Some(Solution { window: self.window, nonce })
    }

    /// Returns how many bits a nonce is worth: one attempt.
    #[must_use]
    pub fn bits_of(&self, nonce: u64) -> u8 {
        u8::try_from(Attempts::default().bits(&self.challenge(), nonce)).unwrap_or(u8::MAX)
    }
}

/// Bounds how many solutions are checked at the same time.
#[derive(Debug, Default)]
pub(crate) struct Desk(AtomicUsize);

impl Desk {
    /// Checks a solution, unless too many are being checked.
    pub(crate) fn check(&self, puzzle: &Puzzle, nonce: u64) -> Option<u8> {
        let _seat = Seat::take(&self.0)?;
        Some(puzzle.bits_of(nonce))
    }
}

/// Given back also by whoever panics.
struct Seat<'a>(&'a AtomicUsize);

impl<'a> Seat<'a> {
    fn take(taken: &'a AtomicUsize) -> Option<Self> {
        let seat = Self(taken);
        (taken.fetch_add(1, Ordering::Relaxed) < AT_ONCE_MAX).then_some(seat)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
