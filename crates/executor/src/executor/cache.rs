//! Programs in memory: those that were used last, once for all sessions that run them.

use std::collections::VecDeque;
use std::sync::Arc;

use session_core::{Decode, Digest};
use session_protocol::workload::{Workload, check};
use session_storage::Store;

use crate::blobs::Blobs;
use crate::engine;

/// Modules and inputs that are kept, each at most 1 MiB.
const BLOBS_MAX: usize = 16;
/// Workloads that are kept.
const WORKLOADS_MAX: usize = 64;

/// Programs in memory.
#[derive(Default)]
pub(super) struct Cache {
    blobs: VecDeque<(Digest, Arc<[u8]>)>,
    workloads: VecDeque<(Digest, Result<Arc<Workload>, String>)>,
}

impl Cache {
    /// Returns the bytes of a blob that is here.
    pub(super) fn blob(
        &mut self,
        blobs: &mut Blobs,
        store: &dyn Store,
        id: &Digest,
    ) -> Option<Arc<[u8]>> {
        if let Some((_, bytes)) = self.blobs.iter().find(|(known, _)| known == id) {
            return Some(Arc::clone(bytes));
        }
        let bytes: Arc<[u8]> = blobs.read(store, id)?.into();
        if self.blobs.len() >= BLOBS_MAX {
            self.blobs.pop_front();
        }
        self.blobs.push_back((*id, Arc::clone(&bytes)));
        Some(bytes)
    }

    /// Returns a workload that is here, or why it cannot be run; nothing if it is not here.
    pub(super) fn workload(
        &mut self,
        blobs: &mut Blobs,
        store: &dyn Store,
        id: &Digest,
    ) -> Option<Result<Arc<Workload>, String>> {
        if let Some((_, workload)) = self.workloads.iter().find(|(known, _)| known == id) {
            return Some(workload.clone());
        }
        let read = workload(&blobs.read(store, id)?).map(Arc::new);
        if self.workloads.len() >= WORKLOADS_MAX {
            self.workloads.pop_front();
        }
        self.workloads.push_back((*id, read.clone()));
        Some(read)
    }
}

fn workload(bytes: &[u8]) -> Result<Workload, String> {
    let workload = Workload::decode_exact(bytes)
        .map_err(|error| format!("the program is no workload: {error}"))?;
    check::check(&workload).map_err(|error| error.to_string())?;
    crate::transform::check(&workload.manifest).map_err(|error| error.to_string())?;
    if workload.profile != engine::profile() {
        let (got, here) = (workload.profile, engine::profile());
        return Err(format!("it is made for engine profile {got}, this node has {here}"));
    }
    Ok(workload)
}
