//! What is done with a frame on the task of its connection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use session_daemon::relay::{self, Heard};
use session_network::limits::onion_weight;
use session_network::onion::Opener;
use session_network::{Bucket, Rate};
use session_protocol::Checker;
use session_runtime::SystemClock;

/// Checks frames, and opens the onion packets in them.
///
/// Opening one is a hundred times the work of anything else with a frame. So each connection pays
/// before it is done, at the rate that the network machine counts with: what comes beyond it is
/// dropped there, and would be opened for nothing.
pub(crate) struct Reader {
    checker: Arc<Checker>,
    clock: Arc<SystemClock>,
    /// The node's hop keys as they are now; nothing while it has none.
    opener: RwLock<Option<Arc<Opener>>>,
    /// What a connection may send of packets if it is not a node's.
    rate: Rate,
    /// Of each open connection that has sent a packet, or is a node's, by its number.
    shares: Mutex<BTreeMap<u64, Share>>,
}

/// What one connection may still have opened.
struct Share {
    rate: Rate,
    bucket: Bucket,
}

impl Reader {
    pub(crate) fn new(checker: Arc<Checker>, clock: Arc<SystemClock>, rate: Rate) -> Self {
        Self { checker, clock, opener: RwLock::default(), rate, shares: Mutex::default() }
    }

    /// Opens packets with these keys from here on.
    pub(super) fn open_with(&self, opener: Arc<Opener>) {
        // Whoever panicked while it held the lock did not change half of a pointer.
        *self.opener.write().unwrap_or_else(PoisonError::into_inner) = Some(opener);
    }

    /// Opens packets of a connection at another rate from here on.
    pub(super) fn set_rate(&self, conn: impl Into<u64>, rate: Rate) {
        let share = Share { rate, bucket: Bucket::full(rate, self.clock.now()) };
        self.shares().insert(conn.into(), share);
    }

    /// Forgets a connection; nothing more comes over it.
    pub(super) fn forget(&self, conn: impl Into<u64>) {
        self.shares().remove(&conn.into());
    }

    pub(crate) fn read(&self, conn: impl Into<u64>, body: &[u8]) -> Heard {
        let opener = self.opener.read().unwrap_or_else(PoisonError::into_inner).clone();
        let pays = || self.pays(conn.into(), body.len());
        relay::read_within(&self.checker, opener.as_deref(), self.clock.now(), body, pays)
    }

    fn pays(&self, conn: u64, bytes: usize) -> bool {
        let (now, rate) = (self.clock.now(), self.rate);
        let mut shares = self.shares();
        let new = || Share { rate, bucket: Bucket::full(rate, now) };
        let Share { rate, bucket } = shares.entry(conn).or_insert_with(new);
        bucket.take(*rate, now, onion_weight(bytes)).is_ok()
    }

    fn shares(&self) -> MutexGuard<'_, BTreeMap<u64, Share>> {
        // A bucket is changed as a whole.
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
