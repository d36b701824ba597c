//! The order of the calls of a batch.

use tokio::sync::oneshot;

/// The place of a call in its batch. What is costly runs as it comes; messages are then queued one
/// behind the other, or a sender's counters would come out of order.
pub(crate) struct Turn {
    before: Option<oneshot::Receiver<()>>,
    /// Dropped when the turn passes.
    after: Option<oneshot::Sender<()>>,
}

impl Turn {
    /// The place of a call that comes alone.
    pub(crate) const fn alone() -> Self {
        Self { before: None, after: None }
    }

    /// The places of so many calls.
    pub(crate) fn line(calls: usize) -> Vec<Self> {
        let mut before = None;
        let places = (0..calls).map(|_| {
            let (after, next) = oneshot::channel();
            Self { before: before.replace(next), after: Some(after) }
        });
        places.collect()
    }

    /// Waits until the turn of the calls before has passed.
    pub(crate) async fn come(&mut self) {
        if let Some(before) = self.before.take() {
            // It comes by being dropped.
            let _ = before.await;
        }
    }

    /// Passes the turn on, as its end does.
    pub(crate) fn pass(&mut self) {
        self.after = None;
    }
}
