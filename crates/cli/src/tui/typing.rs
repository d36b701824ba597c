//! Who types: said now and then while one does, and shown for a moment. Off unless asked for.

use std::collections::BTreeMap;

use session_core::{AccountId, Span, Time};
use session_messaging::thread::ThreadId;

/// How often it is said again while somebody goes on typing: each time is an item in a swarm.
const AGAIN: Span = Span::from_secs(10);

/// How long it is shown without being said again.
const SHOWN: Span = Span::from_secs(15);

/// Accounts that are remembered; more type in no conversation that can be followed.
const TYPERS_MAX: usize = 64;

/// What was said and heard of typing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typing {
    /// Where it was last said that this account types, and when.
    said: Option<(ThreadId, Time)>,
    heard: BTreeMap<(ThreadId, AccountId), Time>,
}

impl Typing {
    /// Takes in where something is being written now, if anywhere. Returns what is to be said.
    pub(crate) fn writes(&mut self, now: Time, thread: Option<ThreadId>) -> Vec<(ThreadId, bool)> {
        match (self.said, thread) {
            (Some((before, at)), Some(thread)) if before == thread => {
                if now.since(at) < AGAIN {
                    return Vec::new();
                }
                self.said = Some((thread, now));
                vec![(thread, true)]
            }
            (before, thread) => {
                self.said = thread.map(|thread| (thread, now));
                let ended = before.map(|(before, _)| (before, false));
                ended.into_iter().chain(thread.map(|thread| (thread, true))).collect()
            }
        }
    }

    /// What was being written was sent: that says it already.
    pub(crate) const fn sent(&mut self) {
        self.said = None;
    }

    /// Forgets who has been shown long enough.
    pub(crate) fn forget(&mut self, now: Time) {
        self.heard.retain(|_, at| now.since(*at) < SHOWN);
    }

    /// Somebody types, or ceases to.
    pub(crate) fn hear(&mut self, now: Time, thread: ThreadId, account: AccountId, on: bool) {
        self.forget(now);
        if !on {
            self.heard.remove(&(thread, account));
        } else if self.heard.len() < TYPERS_MAX {
            self.heard.insert((thread, account), now);
        }
    }

    /// Returns who types in a thread.
    pub(crate) fn in_thread(&self, now: Time, thread: ThreadId) -> Vec<AccountId> {
        let here = self.heard.iter().filter(|((in_thread, _), _)| *in_thread == thread);
        let fresh = here.filter(|(_, at)| now.since(**at) < SHOWN);
        fresh.map(|((_, account), _)| *account).collect()
    }

    /// Returns when somebody has been shown long enough.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.heard.values().min().map(|at| *at + SHOWN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: ThreadId = ThreadId { number: 1 };
    const THERE: ThreadId = ThreadId { number: 2 };

    fn at(seconds: u64) -> Time {
        Time::from_millis(seconds * 1000)
    }

    #[test]
    fn it_is_said_now_and_then_and_once_at_the_end() {
        let mut typing = Typing::default();
        assert_eq!(typing.writes(at(0), None), []);
        assert_eq!(typing.writes(at(1), Some(HERE)), [(HERE, true)]);
        for second in 2..11 {
            assert_eq!(typing.writes(at(second), Some(HERE)), []);
        }
        assert_eq!(typing.writes(at(11), Some(HERE)), [(HERE, true)]);
        assert_eq!(typing.writes(at(12), Some(THERE)), [(HERE, false), (THERE, true)]);
        assert_eq!(typing.writes(at(13), None), [(THERE, false)]);
        assert_eq!(typing.writes(at(14), None), []);
        // The message itself says that it is over.
        assert_eq!(typing.writes(at(15), Some(HERE)), [(HERE, true)]);
        typing.sent();
        assert_eq!(typing.writes(at(16), None), []);
    }

    #[test]
    fn it_is_shown_for_a_moment_and_where_it_happens() {
        let (alice, bob) = (AccountId::from([1; 32]), AccountId::from([2; 32]));
        let mut typing = Typing::default();
        typing.hear(at(0), HERE, alice, true);
        typing.hear(at(5), HERE, bob, true);
        assert_eq!(typing.in_thread(at(6), HERE), [alice, bob]);
        assert_eq!(typing.in_thread(at(6), THERE), []);
        assert_eq!(typing.deadline(), Some(at(15)));
        assert_eq!(typing.in_thread(at(15), HERE), [bob]);
        typing.hear(at(16), HERE, bob, false);
        assert_eq!(typing.in_thread(at(16), HERE), []);
        assert_eq!(typing.deadline(), None);
        // Nobody fills the memory with it.
        for byte in 0..=255 {
            typing.hear(at(20), HERE, AccountId::from([byte; 32]), true);
        }
        assert_eq!(typing.in_thread(at(20), HERE).len(), TYPERS_MAX);
    }
}
