//! Group commit: effects wait until what they promise is durable.

use std::collections::VecDeque;

use session_storage::{Durable, StoreError};
use tokio::sync::mpsc;

/// Commits under way at once. While all are, inputs gather in the open group, so groups grow with
/// the load by themselves.
const COMMITS_MAX: usize = 2;

/// Calls in one group; beyond it inputs wait in their queues.
const CALLS_MAX: usize = 4096;

/// The groups of calls whose effects have not been performed yet.
pub(super) struct Pipeline<E> {
    /// Effects of the group that is being filled.
    pub(super) open: Vec<E>,
    calls: usize,
    committing: VecDeque<Vec<E>>,
    done: mpsc::Sender<Result<(), StoreError>>,
    completed: mpsc::Receiver<Result<(), StoreError>>,
}

impl<E> Pipeline<E> {
    pub(super) fn new() -> Self {
        let (done, completed) = mpsc::channel(COMMITS_MAX);
        Self { open: Vec::new(), calls: 0, committing: VecDeque::new(), done, completed }
    }

    /// Notes that a call was made whose effects went to `open`.
    pub(super) const fn called(&mut self) {
        self.calls += 1;
    }

    /// Tells whether the open group takes another call.
    pub(super) const fn has_room(&self) -> bool {
        self.calls < CALLS_MAX
    }

    /// Tells whether the open group can be committed now.
    pub(super) fn may_commit(&self) -> bool {
        self.calls > 0 && self.committing.len() < COMMITS_MAX
    }

    /// Tells whether every effect has been handed out.
    pub(super) fn is_idle(&self) -> bool {
        self.calls == 0 && self.committing.is_empty()
    }

    /// Commits the open group and begins the next.
    pub(super) fn commit(&mut self, store: &mut impl Durable) {
        self.calls = 0;
        self.committing.push_back(std::mem::take(&mut self.open));
        let done = self.done.clone();
        // There is a place for every commit under way; a refusal means that the shell is gone.
        store.commit(Box::new(move |result| drop(done.try_send(result))));
    }

    /// Waits for the oldest commit and returns the effects that it allows.
    ///
    /// Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Result<Vec<E>, StoreError> {
        match self.completed.recv().await {
            Some(result) => self.finish(result),
            None => std::future::pending().await,
        }
    }

    /// As [`Pipeline::next`], without waiting.
    pub(super) fn try_next(&mut self) -> Option<Result<Vec<E>, StoreError>> {
        let result = self.completed.try_recv().ok()?;
        Some(self.finish(result))
    }

    fn finish(&mut self, result: Result<(), StoreError>) -> Result<Vec<E>, StoreError> {
        result?;
        Ok(self.committing.pop_front().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
