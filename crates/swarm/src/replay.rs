//! Owner operations are applied once more after a start.
//!
//! A commit is not atomic: a crash may keep the record of a deletion and lose the deletion. The
//! other members then agree with this one on the operation, and nobody sends it again. So
//! before anything of a bucket is served or compared, its operations are applied again from
//! their records; the first ticks do so for the buckets that nobody asked for.

use session_core::{Decode as _, Span, Time};
use session_protocol::limits::TOMBSTONE_TTL;
use session_protocol::owner::OwnerOperation;
use session_protocol::request::Refusal;
use session_storage::{Store, StoreError, Table};

use crate::items;
use crate::machine::{Cx, Swarm};
use crate::operations::perform;

/// Operations that one tick applies before it leaves the rest to the next.
const PER_TICK: usize = 256;

/// When to go on with more to do, so that other work has its turn.
const PAUSE: Span = Span::from_millis(1);

/// When to go on after the store failed.
const RETRY: Span = Span::from_secs(1);

/// Which buckets were replayed since the start.
#[derive(Debug)]
pub(crate) struct Replay {
    done: [bool; 256],
    left: usize,
    next: Time,
}

impl Default for Replay {
    fn default() -> Self {
        Self { done: [false; 256], left: 256, next: Time::ZERO }
    }
}

impl Replay {
    /// Returns when to go on, if there is anything left.
    pub(crate) fn deadline(&self) -> Option<Time> {
        (self.left > 0).then_some(self.next)
    }
}

impl Swarm {
    /// Makes sure that the operations of a bucket were applied since the start.
    pub(crate) fn replay(&mut self, cx: &mut Cx<'_>, bucket: u8) -> Result<(), Refusal> {
        if self.replay.done[usize::from(bucket)] {
            return Ok(());
        }
        self.replay_bucket(cx, bucket).map(drop).map_err(|error| items::refusal(&error))
    }

    /// Goes on with the buckets that nobody asked for.
    pub(crate) fn tick_replay(&mut self, cx: &mut Cx<'_>) {
        if self.replay.left == 0 || self.replay.next > cx.now {
            return;
        }
        let (mut applied, mut failed) = (0, false);
        for bucket in 0..=u8::MAX {
            if self.replay.done[usize::from(bucket)] {
                continue;
            }
            match self.replay_bucket(cx, bucket) {
                Ok(operations) => applied += operations,
                Err(_) => failed = true,
            }
            if applied >= PER_TICK {
                break;
            }
        }
        self.replay.next = cx.now + if failed { RETRY } else { PAUSE };
    }

    fn replay_bucket(&mut self, cx: &mut Cx<'_>, bucket: u8) -> Result<usize, StoreError> {
        let mut operations = 0;
        for (key, expiry) in cx.store.records(Table::Operation, &[bucket]) {
            if expiry > cx.now {
                operations += 1;
                self.replay_record(cx.store, &key).inspect_err(|_| self.stats.store_errors += 1)?;
            }
        }
        self.replay.done[usize::from(bucket)] = true;
        self.replay.left -= 1;
        Ok(operations)
    }

    fn replay_record(&mut self, store: &mut dyn Store, key: &[u8]) -> Result<(), StoreError> {
        let value = match store.record(Table::Operation, key) {
            Err(StoreError::Corrupt { .. }) => None,
            value => value?,
        };
        let Some(operation) = value.and_then(|value| OwnerOperation::decode_exact(&value).ok())
        else {
            // Without its record the others see that it is missing here, and send it again.
            self.stats.store_errors += 1;
            return store.remove_record(Table::Operation, key).map(drop);
        };
        let until = operation.authorization.timestamp() + TOMBSTONE_TTL;
        perform(store, &operation.rule.address(), &operation.action, until).map(drop)
    }
}
