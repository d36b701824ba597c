//! What goes wrong on purpose.

use session_swarm::coordinator::Lie;

use crate::byzantine::Kind;
use crate::host::HostId;

/// One thing that goes wrong, or right again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node stops at once: what was not committed is lost, nobody is told.
    Crash {
        /// Which.
        node: HostId,
        /// Whether everything else is lost too.
        disk_lost: bool,
    },
    /// A node that is down starts over what is on its disk.
    Restart {
        /// Which.
        node: HostId,
    },
    /// Two groups of hosts no longer hear each other.
    Split {
        /// For each host, whether it is in the second group.
        apart: Vec<bool>,
    },
    /// All hosts hear each other again.
    Heal,
    /// Connections break, at both ends at once.
    Break {
        /// How many of 10,000.
        share: u64,
    },
    /// A disk forgets everything while its node runs on, and nobody is told. No story has it: it
    /// is there to show that the invariants find it.
    Rot {
        /// Whose.
        node: HostId,
    },
    /// A clock is set.
    Skew {
        /// Whose.
        host: HostId,
        /// How far ahead it is from now on; behind when negative.
        ahead_ms: i64,
    },
    /// A node stops following the protocol.
    Misbehave {
        /// Which.
        node: HostId,
        /// How.
        kind: Kind,
    },
    /// A node of a chain does not do its duties as it should.
    Lie {
        /// Which.
        node: HostId,
        /// How.
        lie: Lie,
    },
    /// A node starts for the first time and is registered.
    Join {
        /// Which.
        node: HostId,
    },
    /// The owner of a node takes it out of service.
    Leave {
        /// Which.
        node: HostId,
    },
}

impl Fault {
    pub(crate) const fn code(&self) -> u32 {
        match self {
            Self::Crash { .. } => 1,
            Self::Restart { .. } => 2,
            Self::Split { .. } => 3,
            Self::Heal => 4,
            Self::Break { .. } => 5,
            Self::Skew { .. } => 6,
            Self::Misbehave { .. } => 7,
            Self::Rot { .. } => 8,
            Self::Lie { .. } => 9,
            Self::Join { .. } => 10,
            Self::Leave { .. } => 11,
        }
    }
}

/// How often what went wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Nodes that crashed.
    pub crashes: u64,
    /// Disks that were lost with them.
    pub disks_lost: u64,
    /// Partitions.
    pub splits: u64,
    /// Connections broken.
    pub broken: u64,
    /// Clocks set.
    pub skews: u64,
    /// Nodes that stopped following the protocol.
    pub byzantine: u64,
    /// Nodes that were registered.
    pub joined: u64,
    /// Nodes that were taken out of service.
    pub left: u64,
}

impl FaultCounts {
    pub(crate) fn count(&mut self, fault: &Fault) {
        match fault {
            Fault::Crash { disk_lost, .. } => {
                self.crashes += 1;
                self.disks_lost += u64::from(*disk_lost);
            }
            Fault::Split { .. } => self.splits += 1,
            Fault::Skew { .. } => self.skews += 1,
            Fault::Misbehave { .. } | Fault::Lie { .. } => self.byzantine += 1,
            Fault::Join { .. } => self.joined += 1,
            Fault::Leave { .. } => self.left += 1,
            // Broken connections are counted one by one; healing is no fault, rot no story's.
            Fault::Break { .. } | Fault::Restart { .. } | Fault::Heal | Fault::Rot { .. } => {}
        }
    }
}
