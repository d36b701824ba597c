//! What the node sees of each block: a snapshot for its machines, and the state for people.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as Lock, PoisonError};

use session_core::{Epoch, NodeId};
use session_protocol::chain::view::ChainView;
use session_vm::query;
use session_vm::view::chain_view;
use tokio::sync::{Mutex, mpsc, watch};

use super::{Local, Tip};

/// Snapshots that wait for the node's loop; then following waits.
const VIEWS_MAX: usize = 16;

/// Epochs whose attesters are remembered: certificates come soon after an epoch began.
const ATTESTERS_KEPT: usize = 4;

/// The chain after a block, as the node acts on it.
pub(crate) struct Seen {
    pub(crate) tip: Tip,
    pub(crate) view: Arc<ChainView>,
}

/// Makes snapshots and hands them out.
pub(crate) struct Publisher {
    seen: watch::Sender<Arc<Seen>>,
    attesters: Lock<BTreeMap<Epoch, Vec<NodeId>>>,
    // Held while a snapshot is made and handed on, which keeps them in order.
    node: Mutex<Option<mpsc::Sender<Arc<ChainView>>>>,
}

impl Publisher {
    pub(crate) fn new(local: &Local) -> Self {
        let tip = local.tip();
        let view = Arc::new(chain_view(&tip.state, *local.id(), &tip.block, None));
        let attesters = BTreeMap::from([(view.epoch.number, view.roster.attesters())]);
        let seen = watch::Sender::new(Arc::new(Seen { tip, view }));
        Self { seen, attesters: Lock::new(attesters), node: Mutex::new(None) }
    }

    /// Returns who attests the beacon of an epoch, if it is one of the last few.
    pub(crate) fn attesters(&self, epoch: Epoch) -> Option<Vec<NodeId>> {
        self.attesters.lock().unwrap_or_else(PoisonError::into_inner).get(&epoch).cloned()
    }

    fn remember(&self, view: &ChainView) {
        let mut attesters = self.attesters.lock().unwrap_or_else(PoisonError::into_inner);
        attesters.entry(view.epoch.number).or_insert_with(|| view.roster.attesters());
        while attesters.len() > ATTESTERS_KEPT {
            attesters.pop_first();
        }
    }

    /// Returns the last snapshot.
    pub(crate) fn last(&self) -> Arc<Seen> {
        Arc::clone(&self.seen.borrow())
    }

    /// Returns the last snapshot, and then that one and every one after it: none is left out.
    /// There is one reader.
    pub(crate) async fn subscribe(&self) -> (Arc<ChainView>, mpsc::Receiver<Arc<ChainView>>) {
        let mut node = self.node.lock().await;
        let (views, next) = mpsc::channel(VIEWS_MAX);
        let view = Arc::clone(&self.last().view);
        views.try_send(Arc::clone(&view)).expect("it is empty");
        *node = Some(views);
        (view, next)
    }

    /// Makes the snapshot of the last block. While blocks of the past are fetched, only those that
    /// begin an epoch are shown: nothing between them lets the node do a duty in time.
    pub(crate) async fn publish(&self, local: &Arc<Local>, behind: bool) {
        let mut node = self.node.lock().await;
        let (local, last) = (Arc::clone(local), self.last());
        let made = tokio::task::spawn_blocking(move || {
            let tip = local.tip();
            let (shown, view) = (last.tip.block.height, &last.view);
            let same_epoch = query::epoch(&tip.state).number == view.epoch.number;
            if tip.block.height <= shown || (behind && same_epoch) {
                return None;
            }
            let view = chain_view(&tip.state, *local.id(), &tip.block, Some(view));
            Some(Seen { tip, view: Arc::new(view) })
        });
        // A panic in there is our bug, and ends the process in release builds.
        let Ok(Some(seen)) = made.await else { return };
        let view = Arc::clone(&seen.view);
        self.remember(&view);
        self.seen.send_replace(Arc::new(seen));
        if let Some(views) = &*node {
            // The node has ended, and the program ends too.
            if views.send(view).await.is_err() {
                *node = None;
            }
        }
    }
}
