//! A thread that signs storage receipts: all that became durable meanwhile, with one signature.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::{io, thread};

use session_core::merkle::Proof;
use session_protocol::NetworkId;
use session_protocol::receipt::{SignedRoot, StorageReceipt, sign_receipts};
use session_runtime::entropy::OsEntropy;
use tokio::sync::mpsc;

/// Receipts under one root: their Merkle paths stay short, and the first of them need not wait
/// for thousands of others.
const RECEIPTS_MAX: usize = 4096;

/// Receipts that were asked for together.
pub(super) struct Ticket {
    pub(super) number: u64,
    pub(super) receipts: Vec<StorageReceipt>,
}

/// The answer to one ticket.
pub(super) struct Signed {
    pub(super) number: u64,
    pub(super) root: SignedRoot,
    pub(super) proofs: Vec<Proof>,
}

/// The shell's end of the thread.
pub(super) struct Signer {
    jobs: SyncSender<Vec<Ticket>>,
    answers: mpsc::Receiver<Vec<Signed>>,
    waiting: Vec<Ticket>,
    busy: bool,
}

impl Signer {
    /// Starts the thread; it ends when this value is dropped.
    pub(super) fn start(
        network: NetworkId,
        keys: Arc<dyn session_crypto::Signer>,
    ) -> io::Result<Self> {
        // One job is under way at a time, so one place in each direction is enough.
        let (jobs, todo) = sync_channel(1);
        let (done, answers) = mpsc::channel(1);
        let mut rng = OsEntropy::new().map_err(io::Error::other)?;
        thread::Builder::new()
            .name("receipts".into())
            .spawn(move || work(network, &*keys, &mut rng, &todo, &done))?;
        Ok(Self { jobs, answers, waiting: Vec::new(), busy: false })
    }

    /// Asks for the receipts of one ticket. Their items must be durable.
    pub(super) fn add(&mut self, number: u64, receipts: Vec<StorageReceipt>) {
        self.waiting.push(Ticket { number, receipts });
    }

    /// Hands everything that waits to the thread, unless it is at work.
    pub(super) fn submit(&mut self) {
        if self.busy || self.waiting.is_empty() {
            return;
        }
        let mut receipts = 0;
        let fits = self.waiting.iter().take_while(|ticket| {
            receipts += ticket.receipts.len();
            receipts <= RECEIPTS_MAX
        });
        let count = fits.count().max(1);
        let job = self.waiting.drain(..count).collect();
        self.busy = self.jobs.send(job).is_ok();
    }

    /// Waits for the answer to the last job; for ever when there is none.
    ///
    /// Dropping the future loses nothing.
    pub(super) async fn answer(&mut self) -> Vec<Signed> {
        match self.answers.recv().await {
            Some(answer) => {
                self.busy = false;
                answer
            }
            // The thread ends only with us, or in a panic, which ends the process.
            None => std::future::pending().await,
        }
    }

    /// Tells whether receipts are still to be signed.
    pub(super) fn is_idle(&self) -> bool {
        !self.busy && self.waiting.is_empty()
    }
}

fn work(
    network: NetworkId,
    keys: &dyn session_crypto::Signer,
    rng: &mut OsEntropy,
    todo: &Receiver<Vec<Ticket>>,
    done: &mpsc::Sender<Vec<Signed>>,
) {
    while let Ok(job) = todo.recv() {
        let receipts: Vec<StorageReceipt> =
            job.iter().flat_map(|ticket| ticket.receipts.iter().copied()).collect();
        let (root, proofs) = sign_receipts(network, keys, &receipts, rng);
        let mut proofs = proofs.into_iter();
        let answer = job.into_iter().map(|ticket| Signed {
            number: ticket.number,
            root: root.clone(),
            proofs: proofs.by_ref().take(ticket.receipts.len()).collect(),
        });
        if done.blocking_send(answer.collect()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
