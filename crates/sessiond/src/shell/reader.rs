//! What is done with a frame on the task of its connection.

use std::sync::{Arc, PoisonError, RwLock};

use session_daemon::relay::{self, Heard};
use session_network::onion::Opener;
use session_protocol::Checker;
use session_runtime::SystemClock;

/// Checks frames, and opens the onion packets in them.
pub(crate) struct Reader {
    checker: Arc<Checker>,
    clock: Arc<SystemClock>,
    /// The node's hop keys as they are now; nothing while it has none.
    opener: RwLock<Option<Arc<Opener>>>,
}

impl Reader {
    pub(crate) fn new(checker: Arc<Checker>, clock: Arc<SystemClock>) -> Self {
        Self { checker, clock, opener: RwLock::default() }
    }

    /// Opens packets with these keys from here on.
    pub(super) fn open_with(&self, opener: Arc<Opener>) {
        // Whoever panicked while it held the lock did not change half of a pointer.
        *self.opener.write().unwrap_or_else(PoisonError::into_inner) = Some(opener);
    }

    pub(crate) fn read(&self, body: &[u8]) -> Heard {
        let opener = self.opener.read().unwrap_or_else(PoisonError::into_inner).clone();
        relay::read(&self.checker, opener.as_deref(), self.clock.now(), body)
    }
}
