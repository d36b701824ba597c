//! Frames waiting for one stream: bounded in bytes and in count, never blocking the sender.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

/// Frames waiting on one stream. More would be seconds of work for any peer.
pub const QUEUE_FRAMES_MAX: usize = 4096;

/// Bytes waiting on the interactive stream: four of the largest frames.
pub const INTERACTIVE_BYTES_MAX: usize = 4 << 20;

/// Bytes waiting on the bulk stream: sixteen of the largest frames.
pub const BULK_BYTES_MAX: usize = 16 << 20;

/// What a connection may have waiting while the endpoint as a whole is above its bound: enough for
/// a peer that reads, too little for one that does not.
pub const TIGHT_BYTES: usize = 64 << 10;

/// Bytes handed to the stream in one go.
const BATCH_BYTES: usize = 256 << 10;

/// Why a frame was not queued.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The bound was reached: the peer reads too slowly.
    Full {
        /// The bytes that waited.
        waiting: usize,
    },
    /// The queue takes nothing more.
    Closed,
}

/// All queues of an endpoint together.
pub(super) struct Total {
    bytes: AtomicUsize,
    max: usize,
}

impl Total {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { bytes: AtomicUsize::new(0), max })
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }
}

pub(super) struct Queue {
    state: Mutex<State>,
    wake: Notify,
    bytes_max: usize,
    total: Arc<Total>,
}

#[derive(Default)]
struct State {
    frames: VecDeque<Bytes>,
    /// Bytes in `frames` and in the batch that is being written.
    bytes: usize,
    /// Bytes of the batch that is being written.
    taken: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(bytes_max: usize, total: Arc<Total>) -> Self {
        Self { state: Mutex::default(), wake: Notify::new(), bytes_max, total }
    }

    /// Appends a frame, or refuses it.
    pub(super) fn push(&self, frame: Bytes) -> Result<(), Refused> {
        self.push_within(frame, 1)
    }

    /// Appends a frame that may be lost: half of the queue stays free for those that may not.
    pub(super) fn offer(&self, frame: Bytes) -> Result<(), Refused> {
        self.push_within(frame, 2)
    }

    /// Appends a frame while no more than one part in `parts` is taken.
    fn push_within(&self, frame: Bytes, parts: usize) -> Result<(), Refused> {
        let size = frame.len();
        let mut state = self.lock();
        if state.closed {
            return Err(Refused::Closed);
        }
        let crowded = self.total.bytes() > self.total.max;
        let bytes_max = if crowded { TIGHT_BYTES.min(self.bytes_max) } else { self.bytes_max };
        let fits = state.bytes == 0 || state.bytes + size <= bytes_max / parts;
        if !fits || state.frames.len() >= QUEUE_FRAMES_MAX / parts {
            return Err(Refused::Full { waiting: state.bytes });
        }
        state.bytes += size;
        self.total.bytes.fetch_add(size, Ordering::Relaxed);
        state.frames.push_back(frame);
        drop(state);
        self.wake.notify_one();
        Ok(())
    }

    /// Waits for frames and takes a batch; `None` once the queue is closed and empty.
    ///
    /// Asking for the next batch says that the previous one was written. One taker only.
    pub(super) async fn take(&self) -> Option<Vec<Bytes>> {
        self.settle();
        loop {
            if let Some(batch) = self.try_take() {
                return (!batch.is_empty()).then_some(batch);
            }
            self.wake.notified().await;
        }
    }

    /// Takes nothing more; what waits is still handed out.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_one();
    }

    /// Bytes that wait or are being written.
    pub(super) fn waiting(&self) -> usize {
        self.lock().bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        let state = self.lock();
        state.frames.is_empty() && state.taken == 0
    }

    /// A batch, an empty one when closed, or `None` to wait.
    fn try_take(&self) -> Option<Vec<Bytes>> {
        let mut state = self.lock();
        if state.frames.is_empty() && !state.closed {
            return None;
        }
        let mut batch = Vec::new();
        while state.taken < BATCH_BYTES {
            let Some(frame) = state.frames.pop_front() else { break };
            state.taken += frame.len();
            batch.push(frame);
        }
        Some(batch)
    }

    fn settle(&self) {
        let mut state = self.lock();
        let taken = std::mem::take(&mut state.taken);
        state.bytes -= taken;
        self.total.bytes.fetch_sub(taken, Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock can leave the state half-changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        let bytes = self.lock().bytes;
        self.total.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
