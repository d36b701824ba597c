//! What the tests of the program alone share: programs, requests, people, chains, false sequencers.

mod http;
mod impostor;
mod people;
mod program;

pub(crate) use http::{call, get, post, raw, request, try_call};
pub(crate) use impostor::Impostor;
pub(crate) use people::{Person, Talk, keys, transfer};
pub(crate) use program::{Node, Place, Refusal, sessionvm};

use std::time::{Duration, Instant};

/// Far above what anything here takes; a hang must not hang the tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `check` gives something.
#[allow(clippy::disallowed_methods)] // a stopwatch
pub(crate) fn eventually<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
