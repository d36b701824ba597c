//! Certificates in files: what a committee attested of an epoch, for somebody without a network.
//!
//! A file holds the certificate, the members of the committee with their keys, the path from the
//! epoch's record to the root of a state, and the sealed block with that root. Whoever has the
//! genesis needs nothing else: it names the chain and who seals its blocks, the block names the
//! state, the state the epoch, the epoch the committee, and the committee's keys check the votes.
//!
//! *Provided:* what [`CertificateFile::verify`] takes, a quorum of that epoch's committee signed,
//! and the chain says the same. *Not provided:* a proof on chains whose host decides the blocks;
//! there somebody must be asked for the root of a state ([`CertificateFile::verify_under`]).

use session_core::{
    Blob, BlockId, ChainId, Decode, DecodeError, Digest, Encode, Epoch, List, NodeId, Reader,
    Workers, record,
};
use session_crypto::{DsaPublicKey, Signature, Verifier};
use session_protocol::attestation::{
    ATTESTERS_MAX, BadCertificate, Kind, QuorumCertificate, committee_root,
};
use session_protocol::chain::Block;
use session_protocol::chain::block::{BLOCK_BYTES_MAX, BadBlock, Sealed, block_id};

use crate::genesis::{BadGenesis, Genesis};
use crate::records::{CurrentEpoch, EpochRecord, Only, PastEpochs, Table};
use crate::state::{BadProof, Proof, State};

/// What every file begins with; the last byte is the version.
const MAGIC: [u8; 8] = *b"LUXCERT\x01";

/// A certificate with all that proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFile {
    /// What was attested, and the signatures.
    pub certificate: QuorumCertificate,
    /// The committee, in its order.
    pub members: List<Attester, ATTESTERS_MAX>,
    /// Shows the epoch's record in the state.
    pub proof: Proof,
    /// The block with the root of that state.
    pub block: Blob<BLOCK_BYTES_MAX>,
    /// The sequencer's seal of the block; none for the genesis.
    pub seal: Option<Signature>,
}

record! {
    /// A member of a committee.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Attester {
        /// Its id.
        pub node: NodeId,
        /// Its signing key.
        pub key: DsaPublicKey,
    }
}

/// What a file proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The epoch that was attested, as the chain has it.
    pub epoch: EpochRecord,
    /// The block that shows it.
    pub block: BlockId,
    /// Its height.
    pub height: u64,
}

/// Why a file proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadCertificateFile {
    /// The genesis is none.
    #[error("the genesis: {0}")]
    Genesis(#[from] BadGenesis),
    /// The genesis names nobody whose seals count.
    #[error("the genesis names no sequencer: a host decided the blocks of this chain")]
    NoSequencer,
    /// It is for another chain.
    #[error("the certificate is for chain {got}, this is {chain}")]
    Chain {
        /// Its chain.
        got: ChainId,
        /// This chain.
        chain: ChainId,
    },
    /// It attests something that no epoch's record shows.
    #[error("a {0:?} is not attested by an epoch's committee")]
    Kind(Kind),
    /// The block is none of this chain.
    #[error(transparent)]
    Block(#[from] BadBlock),
    /// The block of height 0 is not that of the genesis.
    #[error("block {got} is not the genesis {expected}")]
    NotGenesis {
        /// The block.
        got: BlockId,
        /// The genesis.
        expected: BlockId,
    },
    /// Nobody sealed the block, or somebody the genesis.
    #[error("block {height} has no seal where one belongs, or one where none does")]
    SealMissing {
        /// The block's height.
        height: u64,
    },
    /// Somebody else sealed it.
    #[error("the seal of block {height} is not the sequencer's")]
    Seal {
        /// The block's height.
        height: u64,
    },
    /// The state does not show what it should.
    #[error("the state does not have the record of the epoch: {0}")]
    Proof(#[from] BadProof),
    /// The state has no record of the epoch.
    #[error("the state has no record of epoch {epoch}")]
    NoEpoch {
        /// The epoch.
        epoch: Epoch,
    },
    /// The entry is no record.
    #[error("the record of the epoch is malformed: {0}")]
    Record(#[from] DecodeError),
    /// The committee did not sign this.
    #[error(transparent)]
    Certificate(#[from] BadCertificate),
    /// A quorum signed what the chain says otherwise.
    #[error("the certificate of epoch {epoch} attests another beacon than the chain has")]
    Beacon {
        /// The epoch.
        epoch: Epoch,
    },
}

impl CertificateFile {
    /// Makes the file of an epoch that a state has a record of; nothing if it has none, or these
    /// are not the members of its committee.
    #[must_use]
    pub fn new(
        certificate: QuorumCertificate,
        members: &[(NodeId, DsaPublicKey)],
        state: &State,
        (block, seal): (&[u8], Option<Signature>),
    ) -> Option<Self> {
        let epoch = certificate.statement.epoch;
        let (key, record) =
            [CurrentEpoch::key(&Only {}), PastEpochs::key(&epoch)].into_iter().find_map(|key| {
                let record = EpochRecord::decode_exact(state.get(&key)?).ok()?;
                (record.number == epoch).then_some((key, record))
            })?;
        if committee_root(members) != record.attesters {
            return None;
        }
        let attester =
            |(node, key): &(NodeId, DsaPublicKey)| Attester { node: *node, key: key.clone() };
        let members: Vec<Attester> = members.iter().map(attester).collect();
        Some(Self {
            certificate,
            members: List::new(members).ok()?,
            proof: state.prove(&key),
            block: Blob::new(block).ok()?,
            seal,
        })
    }

    /// Checks everything against the genesis of a chain that runs alone.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn verify(
        &self,
        genesis: &Genesis,
        verifier: &dyn Verifier,
        workers: &dyn Workers,
    ) -> Result<Proven, BadCertificateFile> {
        let chain = genesis.chain_id();
        let block = Block::parse(&self.block, &chain)?;
        let (id, height) = (block_id(&self.block), block.height);
        match (&self.seal, height) {
            (None, 0) => {
                let expected = genesis.block(chain)?.id();
                if id != expected {
                    return Err(BadCertificateFile::NotGenesis { got: id, expected });
                }
            }
            (None, _) | (Some(_), 0) => return Err(BadCertificateFile::SealMissing { height }),
            (Some(seal), _) => {
                let sequencer =
                    genesis.sequencer.as_ref().ok_or(BadCertificateFile::NoSequencer)?;
                Sealed { chain, height, block: id }
                    .verify(sequencer.dsa(), seal, verifier)
                    .map_err(|_| BadCertificateFile::Seal { height })?;
            }
        }
        let epoch = self.verify_under(&chain, &block.state_root, verifier, workers)?;
        Ok(Proven { epoch, block: id, height })
    }

    /// Checks everything but the block, against the root of a state that is believed; returns the
    /// epoch's record.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn verify_under(
        &self,
        chain: &ChainId,
        root: &Digest,
        verifier: &dyn Verifier,
        workers: &dyn Workers,
    ) -> Result<EpochRecord, BadCertificateFile> {
        let statement = &self.certificate.statement;
        if statement.chain != *chain {
            return Err(BadCertificateFile::Chain { got: statement.chain, chain: *chain });
        }
        if statement.kind != Kind::EpochBeacon {
            return Err(BadCertificateFile::Kind(statement.kind));
        }
        let epoch = self.epoch(root)?;
        let members: Vec<(NodeId, DsaPublicKey)> =
            self.members.iter().map(|member| (member.node, member.key.clone())).collect();
        let (got, expected) = (committee_root(&members), epoch.attesters);
        if got != expected {
            return Err(BadCertificate::Committee { got, expected }.into());
        }
        self.certificate.verify(&members, verifier, workers)?;
        if (statement.subject, statement.root) != (epoch.beacon, epoch.randomness) {
            return Err(BadCertificateFile::Beacon { epoch: epoch.number });
        }
        Ok(epoch)
    }

    /// Returns the record of the epoch that the certificate is about, as the state shows it.
    fn epoch(&self, root: &Digest) -> Result<EpochRecord, BadCertificateFile> {
        let epoch = self.certificate.statement.epoch;
        let current = CurrentEpoch::key(&Only {});
        let shown = self.proof.leaf.as_ref().map(|leaf| &*leaf.key);
        // The current epoch has an entry of its own until it is over.
        let key = if shown == Some(&current) { current } else { PastEpochs::key(&epoch) };
        let value = self.proof.verify(&key, root)?.ok_or(BadCertificateFile::NoEpoch { epoch })?;
        let record = EpochRecord::decode_exact(value)?;
        if record.number == epoch { Ok(record) } else { Err(BadCertificateFile::NoEpoch { epoch }) }
    }
}

impl Encode for CertificateFile {
    fn encode(&self, out: &mut Vec<u8>) {
        MAGIC.encode(out);
        self.certificate.encode(out);
        self.members.encode(out);
        self.proof.encode(out);
        self.block.encode(out);
        self.seal.encode(out);
    }
}

impl Decode for CertificateFile {
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if <[u8; 8]>::decode(reader)? != MAGIC {
            let why = "it does not begin as version 1 of certificate files does";
            return Err(DecodeError::Invalid { field: "CertificateFile", why });
        }
        Ok(Self {
            certificate: Decode::decode(reader)?,
            members: Decode::decode(reader)?,
            proof: Decode::decode(reader)?,
            block: Decode::decode(reader)?,
            seal: Decode::decode(reader)?,
        })
    }
}

#[cfg(test)]
mod tests;
