//! The file that proves a session, made of its journal when somebody asks for it.

use std::sync::Arc;

use session_core::{Blob, Digest, Encode, List, SessionId};
use session_protocol::workload::message::{Answer, SessionRefusal};
use session_protocol::workload::{PART_BYTES_MAX, blob_id};

use super::answers::other;
use super::{Cx, Executor};
use crate::bundle::{BUNDLE_VERSION, Bundle, ShownStep};
use crate::journal::{self, Entry};
use crate::session::history::History;

/// The largest file that is made. A session whose records are larger is proven by its certificate.
const BUNDLE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The file that was asked for last: it is read piece by piece.
#[derive(Default)]
pub(super) struct Proofs {
    last: Option<(SessionId, Digest, Arc<[u8]>)>,
}

impl Executor {
    /// Returns a piece of the file that proves a session.
    pub(super) fn bundle(&mut self, cx: &mut Cx<'_>, session: SessionId, offset: u32) -> Answer {
        let refused = |refusal| Answer::Refused { refusal };
        if let Some(active) = self.active.get(&session) {
            let step = active.history().state.step();
            return refused(SessionRefusal::StepNotCompleted { step });
        }
        if !self.ended.has(&session) {
            return refused(SessionRefusal::NotRunning);
        }
        let known = self.proofs.last.take().filter(|(last, _, _)| *last == session);
        let made = match known {
            Some((_, id, bytes)) => Ok((id, bytes)),
            None => self.make(cx, session).map(|bytes| (blob_id(&bytes), bytes.into())),
        };
        let (id, bytes) = match made {
            Ok(made) => made,
            Err(why) => return refused(other(why)),
        };
        let start = (offset as usize).min(bytes.len());
        let end = (start + PART_BYTES_MAX).min(bytes.len());
        let total = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let piece = Blob::new(&bytes[start..end]).expect("it was cut to the bound");
        if end < bytes.len() {
            self.proofs.last = Some((session, id, bytes));
        }
        Answer::Bundle { total, id, bytes: piece }
    }

    fn make(&mut self, cx: &mut Cx<'_>, session: SessionId) -> Result<Vec<u8>, &'static str> {
        const GONE: &str = "the journal of the session is no longer whole";
        let mut size = 0;
        let mut decisions = Vec::new();
        for entry in journal::entries(cx.store, session) {
            if let Entry::Decided { step, decision, .. } = entry {
                size += decision.to_bytes().len();
                if size > BUNDLE_BYTES_MAX {
                    return Err("the records of the session are too large for one file");
                }
                decisions.push((step, decision));
            }
        }
        let Some(Entry::Created { facts: created }) = journal::read(cx.store, &session, 0) else {
            return Err(GONE);
        };
        let blobs = &mut self.blobs;
        let workload = self.cache.workload(blobs, cx.store, &created.program);
        let workload = workload.and_then(Result::ok).ok_or("its program is no longer here")?;
        let module = self.cache.blob(blobs, cx.store, &workload.module);
        let module = module.ok_or("its program is no longer here")?;
        let input = self.cache.blob(blobs, cx.store, &created.input);
        let input = input.ok_or("its input is no longer here")?;
        let history = History::read(journal::entries(cx.store, session), Some(&workload));
        let history = history.map_err(|_| GONE)?;
        let certificate = history.certificate().cloned();
        let certificate = certificate.ok_or("no quorum attests what came of the session")?;
        let (outcome, _) = history.outcome.clone().ok_or(GONE)?;
        if certificate.statement.root != outcome.root() {
            return Err("a quorum attests something else than was computed here");
        }
        let mut decisions = decisions.into_iter().peekable();
        let mut shown = |leaf: session_protocol::workload::step::StepLeaf| {
            let decision = decisions.next_if(|(step, _)| *step == leaf.index);
            ShownStep { leaf, decision: decision.map(|(_, decision)| decision) }
        };
        let steps: Vec<ShownStep> = history.leaves().into_iter().map(&mut shown).collect();
        const LARGE: &str = "the session is too large for one file";
        let bundle = Bundle {
            version: BUNDLE_VERSION,
            chain: created.chain,
            session,
            service: created.service,
            epoch: created.epoch,
            tx: created.tx,
            randomness: created.randomness,
            created: created.created,
            deadline: created.deadline,
            members: created.members,
            workload: (*workload).clone(),
            module: Blob::new(&*module).map_err(|_| LARGE)?,
            input: Blob::new(&*input).map_err(|_| LARGE)?,
            steps: List::new(steps).map_err(|_| LARGE)?,
            receipts: List::new(history.receipts).map_err(|_| LARGE)?,
            outcome,
            certificate,
            anchor: Blob::default(),
        };
        Ok(bundle.to_bytes())
    }
}
