//! The threads that make writes durable: one per shard, many commits per fsync.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::format::{GROUP_HEADER, GroupHeader};
use crate::error::StoreError;
use crate::store::Done;

/// Commits that may wait for one shard. When it is full, `commit` blocks: the disk is then the
/// bottleneck, and more memory would not help it.
const COMMITS_QUEUED_MAX: usize = 1024;

/// A segment's file, shared with the thread that writes it.
#[derive(Debug)]
pub(crate) struct SegmentFile {
    pub(crate) file: File,
    pub(crate) path: PathBuf,
    /// Bytes below this position can be read from the file.
    pub(crate) written: AtomicU32,
}

/// One thing to do on the way to durability, in order.
#[derive(Debug)]
pub(crate) enum Task {
    /// Writes bytes that nobody else writes.
    Write { file: Arc<SegmentFile>, at: u32, bytes: Arc<Vec<u8>> },
    /// Makes the name of a new segment durable.
    Created,
    /// Closes a segment, once everything in it is durable, and gives back what it did not use.
    Seal { file: Arc<SegmentFile>, tail: u32, seed: u32 },
    /// Removes a segment, once what replaces it is durable.
    Unlink { path: PathBuf },
}

struct Job {
    commit: u64,
    tasks: Vec<Task>,
}

/// The thread of one shard.
#[derive(Debug)]
pub(crate) struct Committer {
    sender: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Committer {
    pub(crate) fn start(shard: u16, dir: PathBuf, sequencer: Arc<Sequencer>) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(COMMITS_QUEUED_MAX);
        let thread = thread::Builder::new()
            .name(format!("store-{shard}"))
            .spawn(move || run(&dir, &receiver, &sequencer))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Hands tasks over. Fails when the thread is gone, which only a panicking callback does to it.
    pub(crate) fn send(&self, commit: u64, tasks: Vec<Task>) -> Result<(), StoreError> {
        let sent = self.sender.as_ref().map(|sender| sender.send(Job { commit, tasks }).is_ok());
        if sent == Some(true) {
            Ok(())
        } else {
            Err(StoreError::Closed { why: "a writing thread panicked".into() })
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

fn run(dir: &Path, receiver: &Receiver<Job>, sequencer: &Sequencer) {
    let mut jobs = Vec::new();
    while let Ok(job) = receiver.recv() {
        jobs.push(job);
        jobs.extend(receiver.try_iter());
        // After a failed write the state of the file is unknown: nothing is tried again.
        let result = match sequencer.failure() {
            None => perform(dir, jobs.iter().flat_map(|job| &job.tasks)),
            Some(error) => Err(error),
        };
        if let Err(error) = &result {
            sequencer.fail(error);
        }
        for job in jobs.drain(..) {
            sequencer.finish(job.commit, &result);
        }
    }
}

/// Writes everything, makes it durable, and only then does what relies on it.
fn perform<'a>(
    dir: &Path,
    tasks: impl Iterator<Item = &'a Task> + Clone,
) -> Result<(), StoreError> {
    let failed = |doing| move |error: io::Error| StoreError::io(doing, &error);
    let mut dirty: Vec<&Arc<SegmentFile>> = Vec::new();
    let mut names_changed = false;
    for task in tasks.clone() {
        match task {
            Task::Write { file, at, bytes } => {
                file.file
                    .write_all_at(bytes, u64::from(*at))
                    .map_err(failed("writing a segment"))?;
                let end = *at + u32::try_from(bytes.len()).expect("segments are below 4 GiB");
                file.written.fetch_max(end, Ordering::Release);
                if !dirty.iter().any(|known| Arc::ptr_eq(known, file)) {
                    dirty.push(file);
                }
            }
            Task::Created => names_changed = true,
            Task::Seal { .. } | Task::Unlink { .. } => {}
        }
    }
    for file in dirty {
        file.file.sync_data().map_err(failed("syncing a segment"))?;
    }
    if names_changed {
        sync_dir(dir).map_err(failed("syncing the directory"))?;
    }
    let mut unlinked = false;
    for task in tasks {
        match task {
            // Whether a seal survives does not matter: it only makes the next opening quicker. A
            // disk may be too full even for it.
            Task::Seal { file, tail, seed } => match seal(file, *tail, *seed) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {}
                sealed => sealed.map_err(failed("sealing a segment"))?,
            },
            Task::Unlink { path } => {
                std::fs::remove_file(path).map_err(failed("removing a segment"))?;
                unlinked = true;
            }
            Task::Write { .. } | Task::Created => {}
        }
    }
    if unlinked {
        // What comes later may rely on these segments being gone, such as dropping tombstones.
        sync_dir(dir).map_err(failed("syncing the directory"))?;
    }
    Ok(())
}

fn seal(file: &SegmentFile, tail: u32, seed: u32) -> io::Result<()> {
    file.file.write_all_at(&GroupHeader::Seal.encode(seed, tail), u64::from(tail))?;
    file.file.set_len(u64::from(tail + GROUP_HEADER))
}

pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Calls the callbacks of commits in their order.
#[derive(Default)]
pub(crate) struct Sequencer {
    waiting: Mutex<Waiting>,
    /// Held while callbacks run, so that two threads cannot swap their order.
    delivering: Mutex<()>,
    failed: AtomicBool,
    failure: Mutex<Option<StoreError>>,
}

#[derive(Default)]
struct Waiting {
    first: u64,
    commits: VecDeque<Commit>,
}

struct Commit {
    shards_left: usize,
    result: Result<(), StoreError>,
    done: Done,
}

impl Sequencer {
    /// Announces a commit that touches some shards and returns its number.
    pub(crate) fn begin(&self, shards: usize, done: Done) -> u64 {
        let mut waiting = locked(&self.waiting);
        waiting.commits.push_back(Commit { shards_left: shards, result: Ok(()), done });
        waiting.first + waiting.commits.len() as u64 - 1
    }

    /// Notes that one shard is done with a commit.
    pub(crate) fn finish(&self, commit: u64, result: &Result<(), StoreError>) {
        let ready = {
            let mut waiting = locked(&self.waiting);
            let index = usize::try_from(commit - waiting.first).expect("as many as are queued");
            let commit = &mut waiting.commits[index];
            commit.shards_left -= 1;
            if let (Ok(()), Err(error)) = (&commit.result, result) {
                commit.result = Err(error.clone());
            }
            index == 0 && commit.shards_left == 0
        };
        if ready {
            self.deliver();
        }
    }

    /// Calls every callback whose turn it is.
    pub(crate) fn deliver(&self) {
        let _turn = locked(&self.delivering);
        loop {
            let commit = {
                let mut waiting = locked(&self.waiting);
                if waiting.commits.front().is_none_or(|commit| commit.shards_left > 0) {
                    return;
                }
                waiting.first += 1;
                waiting.commits.pop_front()
            };
            let Some(commit) = commit else { return };
            // A commit that touched no shard must not claim success after an earlier one failed.
            (commit.done)(commit.result.and_then(|()| self.failure().map_or(Ok(()), Err)));
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        locked(&self.waiting).commits.len()
    }

    /// Closes the store to writes.
    pub(crate) fn fail(&self, error: &StoreError) {
        let mut failure = locked(&self.failure);
        if failure.is_none() {
            let why = error.to_string();
            *failure = Some(match error {
                StoreError::Closed { .. } => error.clone(),
                _ => StoreError::Closed { why },
            });
        }
        self.failed.store(true, Ordering::Release);
    }

    /// Returns why the store is closed to writes, if it is.
    pub(crate) fn failure(&self) -> Option<StoreError> {
        if !self.failed.load(Ordering::Acquire) {
            return None;
        }
        locked(&self.failure).clone()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The data is whole after every statement, so a panicking callback spoils nothing.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
