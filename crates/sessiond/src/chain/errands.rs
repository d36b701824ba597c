//! What the node's machines want done with the chain, off the node's own thread.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use session_core::{Decode as _, Digest, Encode as _, Epoch, NodeId};
use session_crypto::{RealVerifier, Signer};
use session_protocol::attestation::QuorumCertificate;
use session_protocol::chain::{Action, Block, ReceivedTransaction};
use session_protocol::evidence::{BadEvidence, Evidence, Ground};
use session_protocol::membership::network_id;
use session_protocol::schedule::Schedule;
use session_runtime::files::{self, Existing};
use session_vm::bundle::CertificateFile;
use session_vm::chain::ReadError;
use session_vm::records::Cases;
use session_vm::{query, solo};
use tokio::sync::mpsc;
use tokio::time::MissedTickBehavior;

use super::certificates::Certificates;
use super::follow::{EVIDENCE_MODE, Following};
use super::submit::Submitter;
use super::{Local, Tip};

/// Errands that wait; more are dropped, and wanted again later.
pub(crate) const ERRANDS_MAX: usize = 256;
/// How often waiting transactions are looked at.
const MEND_EVERY: Duration = Duration::from_millis(250);
/// The directory of accusations, below the node's.
const EVIDENCE: &str = "evidence";

/// One thing to do.
pub(crate) enum Errand {
    /// Post a transaction of the node's.
    Submit(Box<Action>),
    /// Keep evidence, and post it.
    Accuse(Box<Evidence>),
    /// Keep a certificate.
    Certified(Box<QuorumCertificate>),
    /// Find the signed transaction of a storage commitment.
    FetchCommitment { node: NodeId, epoch: Epoch },
}

/// What was found for [`Errand::FetchCommitment`].
pub(crate) struct Found {
    pub(crate) node: NodeId,
    pub(crate) epoch: Epoch,
    pub(crate) bytes: Vec<u8>,
}

/// What errands are done with.
pub(crate) struct Runner {
    pub(crate) following: Arc<Following>,
    pub(crate) keys: Arc<dyn Signer>,
    pub(crate) certificates: Arc<Certificates>,
    /// Where evidence is kept.
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) found: mpsc::Sender<Found>,
}

impl Runner {
    /// Does errands until nobody has any more.
    pub(crate) async fn run(self, mut errands: mpsc::Receiver<Errand>) {
        let mut submitter = Submitter::new(Arc::clone(&self.following), Arc::clone(&self.keys));
        let mut mend = tokio::time::interval(MEND_EVERY);
        mend.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                errand = errands.recv() => match errand {
                    // What became of it is in the log; the machine sees it in the chain.
                    Some(Errand::Submit(action)) => drop(submitter.submit(*action).await),
                    Some(Errand::Accuse(evidence)) => self.accuse(evidence, &mut submitter).await,
                    Some(Errand::Certified(certificate)) => self.keep(*certificate).await,
                    Some(Errand::FetchCommitment { node, epoch }) => self.find(node, epoch).await,
                    None => return,
                },
                _ = mend.tick(), if submitter.waits() => submitter.mend().await,
            }
        }
    }

    async fn accuse(&self, evidence: Box<Evidence>, submitter: &mut Submitter) {
        let local = Arc::clone(self.following.local());
        match case(&local, &evidence) {
            Ok(Case { known: true, .. }) => {}
            Ok(Case { id, .. }) => {
                if let Some(dir) = &self.data_dir {
                    keep_evidence(dir, &id, &evidence);
                }
                drop(submitter.submit(Action::Accuse { evidence }).await);
            }
            Err(error) => tracing::error!(%error, "evidence against a node proves nothing"),
        }
    }

    async fn keep(&self, certificate: QuorumCertificate) {
        let (following, kept) = (Arc::clone(&self.following), Arc::clone(&self.certificates));
        let keeping =
            tokio::task::spawn_blocking(move || keep_certificate(&following, &kept, certificate));
        // A panic in there is our bug, and ends the process in release builds.
        drop(keeping.await);
    }

    async fn find(&self, node: NodeId, epoch: Epoch) {
        let local = Arc::clone(self.following.local());
        let search = move || commitment(&local, &node, epoch);
        match tokio::task::spawn_blocking(search).await {
            Ok(Ok(Some(bytes))) => drop(self.found.send(Found { node, epoch, bytes }).await),
            Ok(Ok(None)) => tracing::warn!(?node, %epoch, "the chain has no storage commitment"),
            Ok(Err(error)) => tracing::error!(%error, "cannot read the chain"),
            Err(_) => {}
        }
    }
}

fn keep_evidence(dir: &Path, case: &Digest, evidence: &Evidence) {
    let dir = dir.join(EVIDENCE);
    let path = dir.join(format!("{case}.evidence"));
    let kept = files::create_private_directory(&dir).and_then(|()| {
        files::write_atomic(&path, &evidence.to_bytes(), EVIDENCE_MODE, Existing::Replace)
    });
    match kept {
        Ok(()) => tracing::warn!("evidence against a node is kept: {}", path.display()),
        Err(error) => tracing::error!(%error, "evidence against a node is not kept"),
    }
}

/// What evidence makes of the accused.
struct Case {
    id: Digest,
    /// Whether the chain has it: somebody else was faster.
    known: bool,
}

fn case(local: &Local, evidence: &Evidence) -> Result<Case, BadEvidence> {
    let state = local.tip().state;
    let (record, params) = (query::chain(&state), query::params(&state));
    let ground = Ground {
        chain: *local.id(),
        network: network_id(&record.name),
        genesis: record.genesis,
        epoch: params.epoch,
        settle: params.duties.settle,
        verifier: &RealVerifier,
    };
    let accused = evidence.accused();
    let keys = query::node_keys(&state, &accused).ok_or(BadEvidence::UnknownNode(accused))?;
    let id = evidence.verify(&keys, &ground)?.case;
    Ok(Case { id, known: query::get::<Cases>(&state, &id).is_some() })
}

fn keep_certificate(
    following: &Following,
    certificates: &Certificates,
    certificate: QuorumCertificate,
) {
    let epoch = certificate.statement.epoch;
    let kept = match certificate_file(following, certificate) {
        Ok(Some(file)) => {
            certificates.keep(epoch, file.to_bytes()).map_err(|error| error.to_string())
        }
        Ok(None) => Err("the chain does not show its committee".to_owned()),
        Err(error) => Err(error.to_string()),
    };
    match kept {
        Ok(()) => tracing::debug!(%epoch, "kept a certificate"),
        Err(error) => tracing::error!(%epoch, "a certificate is not kept: {error}"),
    }
}

/// Puts what proves a certificate beside it.
fn certificate_file(
    following: &Following,
    certificate: QuorumCertificate,
) -> Result<Option<CertificateFile>, ReadError> {
    let Some(attesters) = following.publisher().attesters(certificate.statement.epoch) else {
        return Ok(None);
    };
    let (tip, seal) = {
        let chain = following.local().chain();
        let block = chain.last_accepted().clone();
        let seal = solo::seal_at(&chain, block.height)?;
        (Tip { block, state: chain.state().clone() }, seal)
    };
    let keys = |node: &NodeId| query::node_keys(&tip.state, node).map(|keys| keys.dsa().clone());
    let members: Option<Vec<_>> =
        attesters.iter().map(|node| keys(node).map(|key| (*node, key))).collect();
    Ok(members.and_then(|members| {
        CertificateFile::new(certificate, &members, &tip.state, (&tip.block.bytes, seal))
    }))
}

/// Returns the transaction of the last storage commitment of a node in an epoch.
fn commitment(local: &Local, node: &NodeId, epoch: Epoch) -> Result<Option<Vec<u8>>, ReadError> {
    let tip = local.tip();
    let begun = {
        let (chain, params) = (query::chain(&tip.state), query::params(&tip.state));
        Schedule::of(chain.genesis, params.epoch, epoch).start
    };
    let mut next = Some(tip.block.id);
    while let Some(id) = next {
        let Some(block) = local.chain().block(&id)? else { break };
        if block.time < begun || block.height == 0 {
            break;
        }
        next = Some(block.parent);
        let Ok(parsed) = Block::decode_exact(&block.bytes) else { break };
        for bytes in parsed.transactions.into_iter().rev() {
            let Ok(transaction) = ReceivedTransaction::parse(&bytes) else { continue };
            let body = &transaction.signed.transaction;
            let is_of_epoch = matches!(
                &body.action,
                Action::StorageCommitment { commitment } if commitment.epoch == epoch
            );
            if is_of_epoch && body.sender.as_bytes() == node.as_bytes() {
                return Ok(Some(bytes.into_vec()));
            }
        }
    }
    Ok(None)
}
