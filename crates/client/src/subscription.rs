//! Live pushes, and the gaps between them.
//!
//! A subscription is live with one node. Pushes may be dropped on the way, and nothing is pushed
//! while there is no connection: so after every (re)subscription, and every so often, everything
//! since the last reading is read in pages, from the live node and from another one. What comes
//! both ways is reported once.

use std::collections::BTreeSet;

use session_core::{List, Namespace, NodeId, Time};
use session_protocol::limits::SUBSCRIBED_NAMESPACES_MAX;

use crate::reader::InboxReader;
use crate::work::Door;

/// Named by what it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// A node's consent to push.
    Asking,
    /// Pushes from this node; the time of the next reading.
    Live { node: NodeId, sweep_at: Time },
    /// A moment to pass before somebody is asked again.
    Resting { until: Time },
}

pub(crate) struct Subscription {
    pub(crate) door: Door,
    pub(crate) namespaces: List<Namespace, SUBSCRIBED_NAMESPACES_MAX>,
    pub(crate) reader: InboxReader,
    pub(crate) phase: Phase,
    /// Namespaces that are being read.
    pub(crate) sweeping: BTreeSet<Namespace>,
}

impl Subscription {
    pub(crate) const fn new(
        door: Door,
        namespaces: List<Namespace, SUBSCRIBED_NAMESPACES_MAX>,
        reader: InboxReader,
    ) -> Self {
        Self { door, namespaces, reader, phase: Phase::Asking, sweeping: BTreeSet::new() }
    }

    /// Returns the node that pushes.
    pub(crate) const fn live(&self) -> Option<NodeId> {
        match self.phase {
            Phase::Live { node, .. } => Some(node),
            Phase::Asking | Phase::Resting { .. } => None,
        }
    }

    pub(crate) const fn deadline(&self) -> Time {
        match self.phase {
            Phase::Asking => Time::MAX,
            Phase::Live { sweep_at: at, .. } | Phase::Resting { until: at } => at,
        }
    }
}
