//! The loop's side towards the chain: snapshots in, errands out, and the room on the disk.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use session_daemon::{Effect, Input};
use session_protocol::chain::view::ChainView;
use session_swarm::coordinator::{Note, Verdict};
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior};

use crate::chain::errands::{Errand, Found};

/// How often the room on the disk is looked at.
const ROOM_EVERY: Duration = Duration::from_secs(30);

/// What the loop needs of the chain.
pub(crate) struct ChainSide {
    views: mpsc::Receiver<Arc<ChainView>>,
    found: mpsc::Receiver<Found>,
    errands: mpsc::Sender<Errand>,
    room: Room,
    look: Interval,
}

/// Where the room for items comes from.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    /// Where the store is; nothing for memory.
    pub(crate) path: Option<PathBuf>,
    /// Bytes that it may take.
    pub(crate) bytes_max: Option<u64>,
}

/// What the chain's side woke the loop for.
pub(crate) enum News {
    /// Another block.
    View(Arc<ChainView>),
    /// A transaction that was looked up.
    Found(Found),
    /// It is time to look at the disk.
    Look,
}

impl Room {
    /// Returns how many bytes the store can take when it has `used` so many.
    pub(crate) fn free(&self, used: u64) -> u64 {
        let allowed = self.bytes_max.map_or(u64::MAX, |max| max.saturating_sub(used));
        let Some(path) = &self.path else { return allowed };
        match session_runtime::disk::free_bytes(path) {
            Ok(free) => free.min(allowed),
            Err(error) => {
                tracing::error!(%error, "the disk does not say how much room it has");
                0
            }
        }
    }
}

impl ChainSide {
    pub(crate) fn new(
        views: mpsc::Receiver<Arc<ChainView>>,
        found: mpsc::Receiver<Found>,
        errands: mpsc::Sender<Errand>,
        room: Room,
    ) -> Self {
        let mut look = tokio::time::interval(ROOM_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { views, found, errands, room, look }
    }

    /// Waits for news. Dropping the future loses nothing.
    pub(super) async fn news(side: Option<&mut Self>) -> News {
        let Some(Self { views, found, look, .. }) = side else {
            return std::future::pending().await;
        };
        tokio::select! {
            Some(view) = views.recv() => News::View(view),
            Some(found) = found.recv() => News::Found(found),
            _ = look.tick() => News::Look,
        }
    }

    /// Returns the room as an input of the machine.
    pub(super) fn room(&self, used: u64) -> Input {
        Input::FreeBytes(self.room.free(used))
    }

    /// Gives an effect of the machine to whoever runs errands; returns it if it is none.
    pub(super) fn run(&self, effect: Effect) -> Option<Effect> {
        let errand = match effect {
            Effect::Submit { action } => Errand::Submit(Box::new(action)),
            Effect::Accuse { evidence } => Errand::Accuse(evidence),
            Effect::Certified { certificate } => Errand::Certified(certificate),
            Effect::FetchCommitment { node, epoch } => Errand::FetchCommitment { node, epoch },
            other => return Some(other),
        };
        if self.errands.try_send(errand).is_err() {
            tracing::warn!("too much waits to be done with the chain; it is wanted again later");
        }
        None
    }
}

/// Writes what the node tells of duties into the log: misses loudly, what went well quietly.
pub(super) fn log(note: &Note) {
    match note {
        Note::Examined { epoch, target, verdict: Verdict::Failed(fault) } => {
            let (node, duty) = (target.node, target.duty);
            tracing::warn!(%epoch, ?node, ?duty, "found a miss: {}", fault.name());
        }
        Note::Accused { node, kind } => tracing::warn!(?node, kind, "accuses a node"),
        Note::PeerFault { node, why } => tracing::warn!(?node, why, "a node broke the rules"),
        Note::StoreFailed { doing } => tracing::error!(doing, "the store failed a duty"),
        Note::Differs { epoch, root } => {
            tracing::warn!(%epoch, ?root, "two thirds of the swarm keep something else");
        }
        Note::Refuted { case, node } => {
            tracing::warn!(?case, ?node, "answered an accusation with the owner's order");
        }
        Note::EpochBegan { epoch } => tracing::info!(%epoch, "an epoch began"),
        other => tracing::debug!(note = ?other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_what_is_left_of_the_limit_and_of_the_disk() {
        let memory = Room { path: None, bytes_max: Some(100) };
        assert_eq!((memory.free(0), memory.free(40), memory.free(200)), (100, 60, 0));
        assert_eq!(Room { path: None, bytes_max: None }.free(5), u64::MAX);
        let dir = tempfile::TempDir::new().unwrap();
        let disk = Room { path: Some(dir.path().to_owned()), bytes_max: Some(10) };
        assert_eq!(disk.free(3), 7);
        let gone = Room { path: Some(dir.path().join("gone")), bytes_max: None };
        assert_eq!(gone.free(0), 0, "an unknown disk is no room");
    }
}
