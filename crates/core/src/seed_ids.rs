//! Identifiers whose bytes are fixed by the reference, exactly.
//!
//! Each is SHA-256 over a text label and fields of fixed width, without length prefixes. Fixed
//! widths make that unambiguous; anything of ours with a variable part goes through
//! [`digest`](crate::digest) instead.
//!
//! | id | hashed bytes |
//! |---|---|
//! | [`session_id`] | `LUX:Session:v1` ‖ service ‖ epoch u64 ‖ tx |
//! | [`request_id`] | `LUX:OracleRequest:v1` ‖ service ‖ session ‖ step u32 ‖ retry u32 ‖ tx |
//! | [`record_id`] | request ‖ submitter ‖ data hash (no label) |
//! | [`receipt_id`] | `LUX:Receipt:v1` ‖ session ‖ step u32 ‖ message hash ‖ sender ‖ receiver |
//! | [`beacon_id`] | `LUX:EpochBeacon:v1` ‖ epoch u64 ‖ randomness ‖ previous beacon |
//! | [`Attested::id`] | the signed payload: separator ‖ subject ‖ commit root ‖ epoch u64 |

use core::fmt;
use core::str::FromStr;

use crate::domain::{sha256, sha256_parts};
use crate::id::{Digest, Epoch, NodeId, RequestId, ServiceId, SessionId, TxId};

/// Which try at which step of a workload session an oracle request belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Attempt {
    /// The step, from 0.
    pub step: u32,
    /// How often the step was tried before.
    pub retry: u32,
}

/// What a delivery receipt says: in a session, at a step, a message went from one to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The session, or the seed session id that stands for a storage swarm.
    pub session: SessionId,
    /// The step, from 0.
    pub step: u32,
    /// Hash of the message.
    pub message_hash: Digest,
    /// The 32-byte id of who sent it.
    pub sender: [u8; 32],
    /// The 32-byte id of who received it.
    pub receiver: [u8; 32],
}

/// Returns the id of the session that `tx` creates for `service` in `epoch`.
#[must_use]
pub fn session_id(service: &ServiceId, epoch: Epoch, tx: &TxId) -> SessionId {
    let epoch = epoch.0.to_be_bytes();
    sha256_parts(&[b"LUX:Session:v1", service.as_bytes(), &epoch, tx.as_bytes()]).into()
}

/// Returns the id of the oracle request that one attempt at a step makes.
#[must_use]
pub fn request_id(
    service: &ServiceId,
    session: &SessionId,
    attempt: Attempt,
    tx: &TxId,
) -> RequestId {
    let (step, retry) = (attempt.step.to_be_bytes(), attempt.retry.to_be_bytes());
    sha256_parts(&[
        b"LUX:OracleRequest:v1",
        service.as_bytes(),
        session.as_bytes(),
        &step,
        &retry,
        tx.as_bytes(),
    ])
    .into()
}

/// Returns the id of what `submitter` observed for a request.
#[must_use]
pub fn record_id(request: &RequestId, submitter: &NodeId, data_hash: &Digest) -> Digest {
    sha256_parts(&[request.as_bytes(), submitter.as_bytes(), data_hash.as_bytes()]).into()
}

/// Returns the id of a delivery receipt.
#[must_use]
pub fn receipt_id(delivery: &Delivery) -> Digest {
    sha256_parts(&[
        b"LUX:Receipt:v1",
        delivery.session.as_bytes(),
        &delivery.step.to_be_bytes(),
        delivery.message_hash.as_bytes(),
        &delivery.sender,
        &delivery.receiver,
    ])
    .into()
}

/// Returns the id of an epoch's beacon; `previous` is the id of the beacon before it.
#[must_use]
pub fn beacon_id(epoch: Epoch, randomness: &Digest, previous: &Digest) -> Digest {
    let epoch = epoch.0.to_be_bytes();
    sha256_parts(&[b"LUX:EpochBeacon:v1", &epoch, randomness.as_bytes(), previous.as_bytes()])
        .into()
}

/// What a committee attests. There are these four; an unknown name is refused, never mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttestationDomain {
    /// The observations read from an oracle.
    OracleRead,
    /// A write through an oracle.
    OracleWrite,
    /// The end of a session.
    SessionComplete,
    /// The beacon of an epoch.
    EpochBeacon,
}

/// A text is not the name of an attestation domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an attestation domain is oracle/read, oracle/write, session/complete or epoch/beacon")]
pub struct UnknownAttestationDomain;

impl AttestationDomain {
    /// Every domain.
    pub const ALL: [Self; 4] =
        [Self::OracleRead, Self::OracleWrite, Self::SessionComplete, Self::EpochBeacon];

    /// Returns the name inside the separator.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OracleRead => "oracle/read",
            Self::OracleWrite => "oracle/write",
            Self::SessionComplete => "session/complete",
            Self::EpochBeacon => "epoch/beacon",
        }
    }

    /// Returns the text that starts every payload of this domain.
    #[must_use]
    pub fn separator(self) -> String {
        format!("LUX:QuantumAttest:{}:v1", self.name())
    }
}

impl fmt::Display for AttestationDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AttestationDomain {
    type Err = UnknownAttestationDomain;
    fn from_str(name: &str) -> Result<Self, UnknownAttestationDomain> {
        Self::ALL.into_iter().find(|domain| domain.name() == name).ok_or(UnknownAttestationDomain)
    }
}

/// What the members of a committee sign.
///
/// # Security
/// The reference's bytes name neither network nor committee: a signature over them alone can be
/// replayed on another network. Whoever signs them binds both besides, in the signature's context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attested {
    /// What kind of statement it is.
    pub domain: AttestationDomain,
    /// The 32 bytes of the id that it is about.
    pub subject: [u8; 32],
    /// What is committed to.
    pub commit_root: Digest,
    /// The epoch of the committee.
    pub epoch: Epoch,
}

impl Attested {
    /// Returns the bytes that are signed.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        let mut payload = self.domain.separator().into_bytes();
        payload.extend_from_slice(&self.subject);
        payload.extend_from_slice(self.commit_root.as_bytes());
        payload.extend_from_slice(&self.epoch.0.to_be_bytes());
        payload
    }

    /// Returns the id: SHA-256 of the payload.
    #[must_use]
    pub fn id(&self) -> Digest {
        sha256(&self.payload()).into()
    }
}

#[cfg(test)]
mod tests;
