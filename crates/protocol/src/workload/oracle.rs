//! Requests to the world, what members observed, and what they agreed on.

use session_core::committee::MEMBERS_MAX;
use session_core::merkle::Tree;
use session_core::seed_ids::{Attempt, record_id, request_id};
use session_core::{
    Blob, ChainId, Digest, Domain, Encode, Entropy, List, NodeId, RequestId, ServiceId, SessionId,
    Text, Time, TxId, choice, digest, record,
};
use session_crypto::{DsaPublicKey, Signature, Signer, Verifier};

use super::manifest::{Name, PARAMETERS_MAX};
use super::{BODY_BYTES_MAX, OBSERVATION_BYTES_MAX};
use crate::attestation::Kind;

choice! {
    /// What an oracle request does. The tags are the seed's.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum RequestKind {
        /// Changes the world.
        0 => Write,
        /// Reads it.
        1 => Read,
    }

    /// What one member saw.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Observation {
        /// An answer, transformed.
        1 => Value {
            /// It.
            bytes: Blob<OBSERVATION_BYTES_MAX>,
        },
        /// No answer.
        2 => Failed {
            /// Why.
            fault: Fault,
        },
    }

    /// Why there is no answer.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
    pub enum Fault {
        /// Nobody answered.
        #[error("nobody answered")]
        1 => Unreachable,
        /// It took too long.
        #[error("it took too long")]
        2 => Timeout,
        /// An answer with a status that is none.
        #[error("the answer has status {code}")]
        3 => Status {
            /// The status.
            code: u16,
        },
        /// More than the source allows.
        #[error("the answer is larger than the source allows")]
        4 => TooLarge,
        /// An address that may not be reached.
        #[error("the address may not be reached")]
        5 => Denied,
        /// An answer of which the transform makes nothing.
        #[error("the answer is not what the transform expects")]
        6 => Malformed,
        /// The member is not set up for it.
        #[error("the connector is not set up")]
        7 => NotSetUp,
        /// What was written cannot be read back.
        #[error("the write is not confirmed")]
        8 => NotConfirmed,
        /// The session used up what it may receive.
        #[error("the session used up its bytes")]
        9 => Exhausted,
    }

    /// What the program gets.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum OracleResult {
        /// An answer.
        1 => Value {
            /// It.
            bytes: Blob<OBSERVATION_BYTES_MAX>,
        },
        /// A quorum saw the same failure.
        2 => Failed {
            /// Which.
            fault: Fault,
        },
        /// No agreement, however often it was tried.
        3 => NoConsensus,
    }
}

record! {
    /// What a program asks, the same in every attempt.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct OracleCall {
        /// The place of the source in the manifest.
        pub source: u16,
        /// Parameters, by name in ascending order.
        pub parameters: List<Parameter, PARAMETERS_MAX>,
        /// The body of a write.
        pub body: Blob<BODY_BYTES_MAX>,
    }

    /// A parameter.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Parameter {
        /// Its name.
        pub name: Name,
        /// Its value.
        pub value: Text<1024>,
    }

    /// One attempt at a request.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct OracleRequest {
        /// The service.
        pub service: ServiceId,
        /// The session.
        pub session: SessionId,
        /// The step.
        pub step: u32,
        /// The attempt.
        pub retry: u32,
        /// The transaction that created the session.
        pub tx: TxId,
        /// What it does.
        pub kind: RequestKind,
        /// What is asked.
        pub call: OracleCall,
    }

    /// The block of another chain at which everybody looks.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Pin {
        /// Its number.
        pub number: u64,
        /// Its hash.
        pub hash: [u8; 32],
    }

    /// What a member signs of its observation. One for each request: two are evidence.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct RecordHead {
        /// The chain.
        pub chain: ChainId,
        /// The committee: [`committee_root`](crate::attestation::committee_root).
        pub committee: Digest,
        /// The attempt.
        pub request: RequestId,
        /// Who.
        pub submitter: NodeId,
        /// SHA-256 of the observation's encoding.
        pub data_hash: Digest,
        /// What was looked at.
        pub pin: Option<Pin>,
        /// When.
        pub time: Time,
    }

    /// A signed head, as evidence carries it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SignedHead {
        /// It.
        pub head: RecordHead,
        /// Of the submitter.
        pub signature: Signature,
    }

    /// What a member observed, signed: the seed's `OracleRecord`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SignedRecord {
        /// Who.
        pub submitter: NodeId,
        /// What was looked at.
        pub pin: Option<Pin>,
        /// When.
        pub time: Time,
        /// What it saw.
        pub observation: Observation,
        /// Over the [`RecordHead`].
        pub signature: Signature,
    }

    /// What the committee agrees on: the seed's `OracleCommit`, with all that its root is made of.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Commit {
        /// The attempt in which the records were made; an attempt that takes over what an earlier
        /// one prepared keeps it.
        pub retry: u32,
        /// The records, in the ascending order of their ids.
        pub records: List<SignedRecord, MEMBERS_MAX>,
        /// What the program gets.
        pub result: OracleResult,
        /// The time that the program sees: the median of the records' times, of an even count the
        /// lower one; for [`OracleResult::NoConsensus`] the time of the step before.
        pub time: Time,
    }
}

impl OracleCall {
    /// Returns what stands for the call in steps: the same in every attempt.
    #[must_use]
    pub fn input_hash(&self) -> Digest {
        digest(Domain::OracleCall, &[&self.to_bytes()])
    }
}

impl OracleRequest {
    /// Returns its id, as the seed has it.
    #[must_use]
    pub fn id(&self) -> RequestId {
        let attempt = Attempt { step: self.step, retry: self.retry };
        request_id(&self.service, &self.session, attempt, &self.tx)
    }
}

impl RequestKind {
    /// Returns the domain in which the committee attests what came of it.
    #[must_use]
    pub const fn attested_as(self) -> Kind {
        match self {
            Self::Write => Kind::OracleWrite,
            Self::Read => Kind::OracleRead,
        }
    }
}

impl Observation {
    /// Returns the seed's `DataHash`.
    #[must_use]
    pub fn data_hash(&self) -> Digest {
        session_core::sha256(&self.to_bytes()).into()
    }
}

impl RecordHead {
    /// Signs it.
    pub fn sign(self, member: &dyn Signer, rng: &mut dyn Entropy) -> SignedHead {
        let signature = member.sign(Domain::OracleRecord, &self.to_bytes(), rng);
        SignedHead { head: self, signature }
    }
}

impl SignedHead {
    /// Checks the signature.
    #[must_use]
    pub fn verify(&self, key: &DsaPublicKey, verifier: &dyn Verifier) -> bool {
        let bytes = self.head.to_bytes();
        verifier.verify(key, Domain::OracleRecord, &bytes, &self.signature).is_ok()
    }

    /// Returns whether both are of one node for one request and say different things.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        let request = |it: &RecordHead| (it.chain, it.committee, it.request, it.submitter);
        request(&self.head) == request(&other.head) && self.head != other.head
    }
}

impl SignedRecord {
    /// Signs an observation.
    pub fn sign(
        head: RecordHead,
        observation: Observation,
        member: &dyn Signer,
        rng: &mut dyn Entropy,
    ) -> Self {
        debug_assert_eq!(head.data_hash, observation.data_hash());
        let SignedHead { head, signature } = head.sign(member, rng);
        let RecordHead { submitter, pin, time, .. } = head;
        Self { submitter, pin, time, observation, signature }
    }

    /// Returns what was signed.
    #[must_use]
    pub fn head(&self, chain: ChainId, committee: Digest, request: RequestId) -> SignedHead {
        let Self { submitter, pin, time, observation, signature } = self;
        let data_hash = observation.data_hash();
        let head = RecordHead {
            chain,
            committee,
            request,
            submitter: *submitter,
            data_hash,
            pin: *pin,
            time: *time,
        };
        SignedHead { head, signature: signature.clone() }
    }

    /// Returns the seed's `RecordID`.
    #[must_use]
    pub fn id(&self, request: &RequestId) -> Digest {
        record_id(request, &self.submitter, &self.observation.data_hash())
    }
}

impl Commit {
    /// Returns the root that is attested: over the ids of the records and, last, the result with
    /// its time. `request` is the attempt in which the records were made.
    #[must_use]
    pub fn root(&self, request: &RequestId) -> Digest {
        let result = digest(
            Domain::OracleResult,
            &[&self.result.to_bytes(), &self.time.to_bytes(), &self.retry.to_be_bytes()],
        );
        let ids = self.records.iter().map(|record| record.id(request));
        Tree::new(ids.chain([result])).root()
    }
}

/// An answer of the world as it arrived, before anything is made of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawAnswer {
    /// The status of HTTP; 200 for other connectors.
    pub status: u16,
    /// Headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, unpacked.
    pub body: Vec<u8>,
    /// Bytes that were received for it.
    pub received: u64,
}

/// Returns the key of a write, the same for every attempt and every writer.
#[must_use]
pub fn write_key(session: &SessionId, step: u32) -> Digest {
    digest(Domain::OracleWrite, &[session.as_bytes(), &step.to_be_bytes()])
}
