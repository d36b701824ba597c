use core::fmt;

use session_core::{AccountId, Epoch, List, NodeId, SwarmId, Text, Time, choice, record};
use session_protocol::chain::Amount;
use session_protocol::membership::ADDRESS_BYTES_MAX;

/// Epochs that marks and announced absences are kept for.
pub const EPOCHS_KEPT: u64 = 24;

choice! {
    /// Where a node is in its life.
    ///
    /// The same states in the words of the reference's registry ([`SeedStatus`]) and of the
    /// service-node proposal ([`LpStatus`]):
    ///
    /// | ours | reference | proposal | has a seat | next |
    /// |---|---|---|---|---|
    /// | no entry | unknown | | no | registered |
    /// | registered | registered | Active | no | active, decommissioning |
    /// | active | active | Active | yes | suspended, leaving, slashed |
    /// | suspended | suspended | Active | yes | active, leaving, slashed |
    /// | leaving | exited | Decommissioning | yes | decommissioning, slashed |
    /// | decommissioning | exited | Decommissioning | no | retired, slashed |
    /// | retired | exited | Retired | no | |
    /// | slashed | slashed | Decommissioning | no | retired |
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum NodeStatus {
        /// It waits for an epoch in which it gets a seat.
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
        /// It keeps its seat and said that it is away.
        5 => Suspended {
            /// The swarm.
            swarm: SwarmId,
            /// The epoch in which it took its place there.
            since: Epoch,
            /// The first epoch in which it serves again.
            until: Epoch,
        },
        /// It lost stake and is out for ever.
        6 => Slashed {
            /// When the rest of the stake becomes free.
            until: Time,
        },
        /// It keeps its seat until the epoch ends, and is out then.
        7 => Leaving {
            /// The swarm.
            swarm: SwarmId,
            /// The epoch in which it took its place there.
            since: Epoch,
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
        /// When its examiners last found it working; at first when it was registered.
        pub last_ping: Time,
        /// The share of the time that it was up, in 0..=10000.
        pub uptime_bps: u16,
        /// The id with which it was registered; another one since it rotated its keys.
        pub first: NodeId,
        /// Epochs in a row, up to the last one it was judged for, in which it failed at something.
        pub misses: u32,
        /// What it lost, in ten-thousandths of the original stake.
        pub lost_bps: u16,
        /// Epochs for which it said that it is away, ascending; those that still count.
        pub drained: List<Epoch, { EPOCHS_KEPT as usize }>,
        /// Storage commitments that it posted in this epoch.
        pub posted: u8,
        /// How often it said in this epoch that it is away, or back.
        pub drains: u8,
        /// The id that it takes when the epoch ends, if it rotates its keys.
        pub next: Option<NodeId>,
    }
}

/// A node's place, and since when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatOf {
    /// The swarm.
    pub swarm: SwarmId,
    /// The epoch in which it took the place.
    pub since: Epoch,
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
    pub fn new(
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
            misses: 0,
            lost_bps: 0,
            drained: List::default(),
            posted: 0,
            drains: 0,
            next: None,
        }
    }

    /// Returns whether it said that it is away in an epoch.
    #[must_use]
    pub fn is_away(&self, epoch: Epoch) -> bool {
        self.drained.contains(&epoch)
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
            Self::Suspended { .. } => "suspended",
            Self::Slashed { .. } => "slashed",
            Self::Leaving { .. } => "leaving",
        }
    }

    /// Returns the node's place in a swarm, if it has one.
    #[must_use]
    pub const fn seat(&self) -> Option<SeatOf> {
        match *self {
            Self::Active { swarm, since }
            | Self::Suspended { swarm, since, .. }
            | Self::Leaving { swarm, since } => Some(SeatOf { swarm, since }),
            Self::Registered
            | Self::Decommissioning { .. }
            | Self::Retired { .. }
            | Self::Slashed { .. } => None,
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
            Some(Self::Suspended { .. }) => SeedStatus::Suspended,
            Some(Self::Slashed { .. }) => SeedStatus::Slashed,
            Some(Self::Leaving { .. } | Self::Decommissioning { .. } | Self::Retired { .. }) => {
                SeedStatus::Exited
            }
        }
    }

    /// Returns the state in the words of the service-node proposal, which knows no waiting.
    #[must_use]
    pub const fn lp(&self) -> LpStatus {
        match self {
            Self::Registered | Self::Active { .. } | Self::Suspended { .. } => LpStatus::Active,
            Self::Leaving { .. } | Self::Decommissioning { .. } | Self::Slashed { .. } => {
                LpStatus::Decommissioning
            }
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
