//! Which hops a packet takes. How they are chosen is somebody else's business.

use session_core::{Epoch, NodeId, Span, Time};
use session_protocol::onion::HopKey;

use super::geometry::{HOPS_MAX, RETURN_HOPS_MAX};
use super::routing::DELAY_MAX;

/// Why hops are no path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadPath {
    /// No hop at all.
    #[error("a path has at least one hop")]
    Empty,
    /// More hops than there is room for.
    #[error("the path has {got} hops, the limit is {limit}")]
    TooLong {
        /// Hops given.
        got: usize,
        /// Most that are possible.
        limit: usize,
    },
    /// A node twice: it would know more than one hop should.
    #[error("{node:?} is in the path twice")]
    Repeated {
        /// The node.
        node: NodeId,
    },
    /// Keys of different epochs: the packet names one.
    #[error("{node:?} has a key of epoch {got}, the first hop one of epoch {expected}")]
    Epochs {
        /// The node whose key differs.
        node: NodeId,
        /// The epoch of its key.
        got: Epoch,
        /// The epoch of the first hop's key.
        expected: Epoch,
    },
    /// A key that is not valid now.
    #[error("the key of {node:?} is not valid at {now}")]
    NotValid {
        /// The node.
        node: NodeId,
        /// The time given.
        now: Time,
    },
    /// Not one delay for each hop, or one that is too long.
    #[error("a path of {hops} hops takes as many delays of at most {DELAY_MAX}")]
    Delays {
        /// Hops of the path.
        hops: usize,
    },
}

/// A hop, and how long it is to wait.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) key: HopKey,
    pub(super) delay_ms: u16,
}

/// Hops in the order in which a packet takes them: different nodes, keys of one epoch. Never
/// printed: who logs a path links both of its ends.
#[derive(Clone)]
pub struct Path(Vec<Step>);

impl Path {
    /// Makes a path of one to [`HOPS_MAX`] hops, without delays.
    ///
    /// # Errors
    /// When the number of hops is not possible, a node comes twice, epochs differ, or a key is not
    /// valid at `now`.
    pub fn new(hops: Vec<HopKey>, now: Time) -> Result<Self, BadPath> {
        let epoch = hops.first().ok_or(BadPath::Empty)?.epoch();
        if hops.len() > HOPS_MAX {
            return Err(BadPath::TooLong { got: hops.len(), limit: HOPS_MAX });
        }
        for (index, hop) in hops.iter().enumerate() {
            let node = hop.node();
            if hops[..index].iter().any(|before| before.node() == node) {
                return Err(BadPath::Repeated { node });
            }
            if hop.epoch() != epoch {
                return Err(BadPath::Epochs { node, got: hop.epoch(), expected: epoch });
            }
            if !hop.valid_at(now) {
                return Err(BadPath::NotValid { node, now });
            }
        }
        Ok(Self(hops.into_iter().map(|key| Step { key, delay_ms: 0 }).collect()))
    }

    /// Asks each hop to wait so long before it does what it is told.
    ///
    /// # Errors
    /// When there is not one delay for each hop, or one is longer than [`DELAY_MAX`].
    pub fn with_delays(mut self, delays: &[Span]) -> Result<Self, BadPath> {
        let bad = BadPath::Delays { hops: self.0.len() };
        if delays.len() != self.0.len() {
            return Err(bad);
        }
        for (step, delay) in self.0.iter_mut().zip(delays) {
            step.delay_ms = u16::try_from(delay.as_millis()).map_err(|_| bad)?;
        }
        Ok(self)
    }

    /// Returns how many hops there are, 1 to [`HOPS_MAX`].
    #[must_use]
    pub fn hops(&self) -> usize {
        self.0.len()
    }

    /// Returns the node that packets are given to.
    #[must_use]
    pub fn first(&self) -> NodeId {
        self.0[0].key.node()
    }

    /// Returns the epoch of the hops' keys.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.0[0].key.epoch()
    }

    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// Returns the steps if they fit into a reply block.
    pub(super) fn return_steps(&self) -> Result<&[Step], BadPath> {
        if self.0.len() > RETURN_HOPS_MAX {
            return Err(BadPath::TooLong { got: self.0.len(), limit: RETURN_HOPS_MAX });
        }
        Ok(&self.0)
    }
}
