//! Swarms whose nodes live on a chain: they register and leave, epochs turn, inboxes move, and
//! whoever does not do its duties pays.
//!
//! One ledger in memory executes what nodes order, as if a host with consensus ran below; its
//! views reach each node after a delay, and not at all across a partition. Everything else is the
//! world of [`crate::world`].
//!
//! | module | holds |
//! |---|---|
//! | [`blocks`] | the chain |
//! | [`watch`] | who was disturbed when, who paid for what, who was caught |
//! | [`summary`] | what it all came to |
//! | `checks` | what must hold when an epoch has turned |

use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::{Epoch, InboxAddress, NodeId, Span, SwarmId};
use session_protocol::Membership;
use session_swarm::placement;

use crate::host::HostId;

pub mod blocks;
pub(crate) mod checks;
pub mod summary;
pub mod watch;

pub use summary::Summary;

use blocks::Blocks;
use watch::Watch;

/// The chain of a world, and what is known about its nodes.
pub struct Coordination {
    pub(crate) blocks: Blocks,
    pub(crate) watch: Watch,
    pub(crate) hosts: BTreeMap<NodeId, HostId>,
    pub(crate) swarms: Swarms,
    /// The swarms of the epoch before.
    pub(crate) former: Swarms,
    /// Time between two attempts to make a block.
    pub(crate) block_every: Span,
    /// How late persons may hear of a change.
    pub(crate) rumour: Span,
    /// Beacons with a certificate, and at how many nodes.
    pub(crate) certified: BTreeMap<Epoch, u64>,
}

/// Swarms and who is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Swarms {
    pub(crate) ids: Vec<SwarmId>,
    pub(crate) members: BTreeMap<SwarmId, Vec<HostId>>,
}

impl Swarms {
    pub(crate) fn of(membership: &dyn Membership, hosts: &BTreeMap<NodeId, HostId>) -> Self {
        let ids = membership.swarms();
        let host = |node: &NodeId| hosts.get(node).copied();
        let members = ids
            .iter()
            .map(|id| (*id, membership.members(*id).iter().filter_map(host).collect()))
            .collect();
        Self { ids, members }
    }

    /// Returns the members of the swarm that keeps an inbox.
    pub(crate) fn keepers(&self, address: &InboxAddress) -> &[HostId] {
        let swarm = placement::nearest(address, &self.ids);
        swarm.and_then(|swarm| self.members.get(&swarm)).map_or(&[], Vec::as_slice)
    }
}

impl Coordination {
    /// Returns the chain.
    #[must_use]
    pub const fn blocks(&self) -> &Blocks {
        &self.blocks
    }

    /// Returns what is known about the nodes.
    #[must_use]
    pub const fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Returns the members of the swarm that keeps an inbox, and those of the swarm that did in
    /// the epoch before.
    #[must_use]
    pub fn keepers(&self, address: &InboxAddress) -> (&[HostId], &[HostId]) {
        (self.swarms.keepers(address), self.former.keepers(address))
    }

    /// Returns whether one of these took its seat in this epoch or the one before.
    #[must_use]
    pub fn is_new(&self, members: &[HostId]) -> bool {
        let view = self.blocks.view();
        let recent = view.epoch.number.0.saturating_sub(1);
        view.seats.iter().any(|(node, seat)| {
            let host = self.hosts.get(node);
            recent > 0 && seat.since.0 >= recent && host.is_some_and(|host| members.contains(host))
        })
    }

    /// Says what does not go on though nothing hinders it.
    pub(crate) fn stuck(&self) -> Option<String> {
        let view = self.blocks.view();
        let (epoch, length) = (view.epoch.number, view.epoch.schedule.length);
        let behind = self.watch.epoch_began().since(view.epoch.schedule.start);
        if behind.as_millis() > length.as_millis() / 4 {
            return Some(format!("epoch {epoch} began {behind} late"));
        }
        let (ballots, seats) = self.watch.last_turnout();
        (ballots * 3 < seats * 2)
            .then(|| format!("{ballots} of {seats} nodes voted in the epoch before {epoch}"))
    }

    pub(crate) fn look(&mut self) {
        let view = Arc::clone(self.blocks.view());
        self.swarms = Swarms::of(&*view.membership, &self.hosts);
        self.former = Swarms::of(&*view.former, &self.hosts);
    }
}
