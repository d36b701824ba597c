//! What a session is made of, the same for every member and for whoever checks it later.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::RequestId;
use session_core::{ChainId, Digest, Epoch, NodeId, ServiceId, SessionId, Time, TxId};
use session_crypto::DsaPublicKey;
use session_protocol::workload::oracle::Pin;
use session_protocol::workload::{OracleCall, OracleResult, Workload};

/// What a session is made of.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The chain.
    pub chain: ChainId,
    /// The session.
    pub session: SessionId,
    /// The service.
    pub service: ServiceId,
    /// The epoch in which it was created.
    pub epoch: Epoch,
    /// The transaction that created it.
    pub tx: TxId,
    /// The randomness of that epoch.
    pub randomness: Digest,
    /// When it was created: the time that the program sees first.
    pub created: Time,
    /// When it must have ended.
    pub deadline: Time,
    /// The root of the committee.
    pub committee: Digest,
    /// The members, in the order of the chain, with their keys.
    pub members: Arc<Vec<(NodeId, DsaPublicKey)>>,
    /// What is run.
    pub workload: Workload,
    /// The module.
    pub module: Arc<[u8]>,
    /// The input.
    pub input: Arc<[u8]>,
}

/// What the world answered, as the program sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What.
    pub result: OracleResult,
    /// The agreed time.
    pub time: Time,
}

/// What a program keeps between its steps.
pub type State = BTreeMap<Vec<u8>, Vec<u8>>;

/// What is to be asked of the world, once the transaction is committed.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The session.
    pub facts: Arc<Facts>,
    /// The step.
    pub step: u32,
    /// The attempt.
    pub retry: u32,
    /// Its id.
    pub request: RequestId,
    /// What.
    pub call: OracleCall,
    /// What for.
    pub purpose: Purpose,
    /// Bytes that the session may still receive here.
    pub bytes_left: u64,
}

/// What something is asked of the world for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An observation, at this block if there is one.
    Observe {
        /// The block.
        pin: Option<Pin>,
    },
    /// The block that everybody shall look at.
    Pin,
    /// A write, by its writer, with the key that stays the same for all attempts and writers.
    Write {
        /// The key.
        key: Digest,
    },
    /// Whether a write happened.
    Confirm,
}
