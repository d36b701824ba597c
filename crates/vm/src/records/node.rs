use core::fmt;

use session_core::{AccountId, Epoch, NodeId, SwarmId, Text, Time, choice, record};
use session_protocol::chain::Amount;
use session_protocol::membership::ADDRESS_BYTES_MAX;

choice! {
    /// Where a node is in its life. Tags 5 and 6 are kept for suspended and slashed nodes.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum NodeStatus {
        /// It waits for the next epoch.
        1 => Registered,
        /// It serves a swarm and can be chosen for committees.
        2 => Active {
            /// The swarm.
            swarm: SwarmId,
            /// The epoch in which it took its place there.
            since: Epoch,
        },
        /// It is out of service; its stake is not free yet.
        3 => Decommissioning {
            /// When the stake becomes free.
            until: Time,
        },
        /// It is gone, and so is its stake. It never comes back.
        4 => Retired {
            /// When the stake was withdrawn.
            at: Time,
        },
    }
}

record! {
    /// A node of the registry. Its keys are in [`NodeKeys`](super::NodeKeys).
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ServiceNode {
        /// Who registered it, and gets the stake back.
        pub operator: AccountId,
        /// Where it is reached: `host:port`.
        pub endpoint: Text<ADDRESS_BYTES_MAX>,
        /// What is left of the stake.
        pub stake: Amount,
        /// What was staked: penalties are shares of it.
        pub stake_original: Amount,
        /// Where it is in its life.
        pub status: NodeStatus,
        /// When it was registered.
        pub registered: Time,
        /// When its members last found it working; at first when it was registered.
        pub last_ping: Time,
        /// The share of the time that it was up, in 0..=10000.
        pub uptime_bps: u16,
        /// The id with which it was registered; another one since it rotated its keys.
        pub first: NodeId,
    }
}

/// The node states of the reference's registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeedStatus {
    /// Nobody registered it.
    Unknown,
    /// It waits to be activated.
    Registered,
    /// It serves.
    Active,
    /// It is out of service for a while.
    Suspended,
    /// It left.
    Exited,
    /// It lost stake and left.
    Slashed,
}

/// The node states of the service-node proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LpStatus {
    /// It is in service, or will be in the next epoch.
    Active,
    /// It is out of service, its stake is bound.
    Decommissioning,
    /// It is gone.
    Retired,
}

/// Every node starts as one that was always up.
const UPTIME_BPS_FULL: u16 = 10_000;

impl ServiceNode {
    /// Makes the record of a node that begins its life.
    #[must_use]
    pub const fn new(
        operator: AccountId,
        id: NodeId,
        endpoint: Text<ADDRESS_BYTES_MAX>,
        stake: Amount,
        now: Time,
    ) -> Self {
        Self {
            operator,
            endpoint,
            stake,
            stake_original: stake,
            status: NodeStatus::Registered,
            registered: now,
            last_ping: now,
            uptime_bps: UPTIME_BPS_FULL,
            first: id,
        }
    }
}

impl NodeStatus {
    /// Returns the name that people and tools use.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Registered => "registered",
            Self::Active { .. } => "active",
            Self::Decommissioning { .. } => "decommissioning",
            Self::Retired { .. } => "retired",
        }
    }

    /// Returns the state in the words of the reference's registry. Of a node that is not in the
    /// registry it is [`SeedStatus::Unknown`].
    #[must_use]
    pub const fn seed(status: Option<&Self>) -> SeedStatus {
        match status {
            None => SeedStatus::Unknown,
            Some(Self::Registered) => SeedStatus::Registered,
            Some(Self::Active { .. }) => SeedStatus::Active,
            Some(Self::Decommissioning { .. } | Self::Retired { .. }) => SeedStatus::Exited,
        }
    }

    /// Returns the state in the words of the service-node proposal, which knows no waiting.
    #[must_use]
    pub const fn lp(&self) -> LpStatus {
        match self {
            Self::Registered | Self::Active { .. } => LpStatus::Active,
            Self::Decommissioning { .. } => LpStatus::Decommissioning,
            Self::Retired { .. } => LpStatus::Retired,
        }
    }
}

impl fmt::Display for SeedStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "unknown",
            Self::Registered => "registered",
            Self::Active => "active",
            Self::Suspended => "suspended",
            Self::Exited => "exited",
            Self::Slashed => "slashed",
        })
    }
}

impl fmt::Display for LpStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "Active",
            Self::Decommissioning => "Decommissioning",
            Self::Retired => "Retired",
        })
    }
}
