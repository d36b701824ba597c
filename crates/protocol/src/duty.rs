//! What nodes say to each other about the duties of an epoch: shares of the beacon, probes, audits
//! and attestations.

use session_core::{Epoch, List, Text, Time, choice};

use crate::attestation::{QuorumCertificate, Vote};
use crate::beacon::SealedShare;
use crate::commitment::{Absence, Answer, Leaf};
use crate::roster::AUDIT_LEAVES;

/// Longest version text.
pub const VERSION_BYTES_MAX: usize = 32;

choice! {
    /// One message about a duty.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Duty {
        /// A share of the sender's dealing, for the receiver.
        1 => Share {
            /// The epoch whose randomness is made.
            epoch: Epoch,
            /// The share.
            share: Box<SealedShare>,
        },
        /// Asks a dealer for its share once more.
        2 => WantShare {
            /// The epoch whose randomness is made.
            epoch: Epoch,
        },
        /// Asks how the receiver is.
        3 => Probe {
            /// The epoch.
            epoch: Epoch,
            /// Repeated in the answer.
            nonce: u64,
        },
        /// Answers a probe.
        4 => Alive {
            /// The epoch.
            epoch: Epoch,
            /// The probe's.
            nonce: u64,
            /// The node's clock.
            time: Time,
            /// Bytes that it can still take.
            free_bytes: u64,
            /// Blocks of the chain that it has.
            height: u64,
            /// Its version.
            version: Text<VERSION_BYTES_MAX>,
        },
        /// Asks for leaves of the receiver's storage commitment.
        5 => Audit {
            /// The epoch of the commitment.
            epoch: Epoch,
            /// Which ones.
            leaves: List<u64, AUDIT_LEAVES>,
        },
        /// Answers an audit, or a part of it.
        6 => Opened {
            /// The leaves.
            answer: Box<Answer>,
        },
        /// An attestation.
        7 => Voted {
            /// It.
            vote: Box<Vote>,
        },
        /// A quorum's attestation.
        8 => Certified {
            /// It.
            certificate: Box<QuorumCertificate>,
        },
        /// Asks whether the receiver's storage commitment holds an item.
        9 => Holds {
            /// The epoch of the commitment.
            epoch: Epoch,
            /// The item.
            leaf: Leaf,
        },
        /// It does not; if it does, the answer is [`Duty::Opened`].
        10 => Absent {
            /// The epoch of the commitment.
            epoch: Epoch,
            /// The item.
            leaf: Leaf,
            /// Shows it.
            absence: Box<Absence>,
        },
        /// The range of inboxes that the receiver kept until this epoch is here now, completely.
        11 => Taken {
            /// The epoch in which the range moved.
            epoch: Epoch,
        },
        /// Asks for the certificate of a beacon.
        12 => WantCertificate {
            /// The epoch.
            epoch: Epoch,
        },
    }
}
