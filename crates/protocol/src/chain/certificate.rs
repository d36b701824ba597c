//! Quorum certificates: what enough members of a committee signed, each with its own key.
//!
//! Each member signs the seed's attestation payload together with the chain and the committee
//! that it speaks for, so that a signature means nothing elsewhere.

use session_core::committee::{MEMBERS_MAX, quorum};
use session_core::seed_ids::{AttestationDomain, Attested};
use session_core::{
    Blob, ChainId, Digest, Domain, Encode, Entropy, Epoch, List, NodeId, SessionId, digest, record,
    sha256,
};
use session_crypto::{DsaPublicKey, Signature, Signer, Verifier};

/// The longest attestation payload: separator and 72 bytes.
const PAYLOAD_BYTES_MAX: usize = 256;

record! {
    /// Individual signatures of members, and who they are.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Certificate {
        /// Bit i: member i of the committee signed.
        pub signers: u32,
        /// Their signatures, in the order of members.
        pub signatures: List<Signature, MEMBERS_MAX>,
    }

    /// The bytes that one member signs.
    struct Statement {
        chain: ChainId,
        committee: Digest,
        payload: Blob<PAYLOAD_BYTES_MAX>,
    }
}

/// Why a certificate proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadCertificate {
    /// It names members that the committee does not have.
    #[error("the certificate names member {member}, the committee has {members}")]
    NoSuchMember {
        /// The highest member named.
        member: u32,
        /// Members of the committee.
        members: usize,
    },
    /// As many signatures as members named, or something is missing.
    #[error("the certificate names {named} members and carries {signatures} signatures")]
    Count {
        /// Members named.
        named: u32,
        /// Signatures carried.
        signatures: usize,
    },
    /// Too few signed.
    #[error("{got} of {members} members signed, {needed} are needed")]
    NoQuorum {
        /// Members that signed.
        got: u32,
        /// Signatures needed.
        needed: usize,
        /// Members of the committee.
        members: usize,
    },
    /// A member did not sign this.
    #[error("the signature of member {member} does not verify")]
    Signature {
        /// The member.
        member: usize,
    },
}

/// How a workload session ended, as its committee attests it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionEnd {
    /// The chain.
    pub chain: ChainId,
    /// The committee: [`committee_digest`].
    pub committee: Digest,
    /// The session.
    pub session: SessionId,
    /// The epoch of the session.
    pub epoch: Epoch,
    /// [`outcome_root`] or [`failure_root`].
    pub root: Digest,
}

/// Returns the digest of a committee: its members in order.
#[must_use]
pub fn committee_digest(members: &[NodeId]) -> Digest {
    let parts: Vec<&[u8]> = members.iter().map(|member| member.as_bytes().as_slice()).collect();
    digest(Domain::Committee, &parts)
}

/// Returns what is attested of a session that ended well: SHA-256 over output, oracle root and
/// receipts root, as the chain-side twins do.
#[must_use]
pub fn outcome_root(output: &Digest, oracle_root: &Digest, receipts_root: &Digest) -> Digest {
    let mut joined = Vec::with_capacity(96);
    for part in [output, oracle_root, receipts_root] {
        joined.extend_from_slice(part.as_bytes());
    }
    sha256(&joined).into()
}

/// Returns what is attested of a session that failed.
#[must_use]
pub fn failure_root(reason: &str) -> Digest {
    digest(Domain::SessionFailure, &[reason.as_bytes()])
}

impl SessionEnd {
    fn statement(&self) -> Vec<u8> {
        let attested = Attested {
            domain: AttestationDomain::SessionComplete,
            subject: *self.session.as_bytes(),
            commit_root: self.root,
            epoch: self.epoch,
        };
        let payload = Blob::new(attested.payload()).expect("separator and 72 bytes are within it");
        Statement { chain: self.chain, committee: self.committee, payload }.to_bytes()
    }

    /// Signs it as one member.
    pub fn sign(&self, member: &dyn Signer, rng: &mut dyn Entropy) -> Signature {
        member.sign(Domain::SessionEnd, &self.statement(), rng)
    }

    /// Checks that a quorum of the committee, given by its keys in order, signed it.
    ///
    /// # Errors
    /// When the certificate contradicts itself, is short of a quorum, or a signature does not
    /// verify.
    pub fn verify(
        &self,
        certificate: &Certificate,
        committee: &[DsaPublicKey],
        verifier: &dyn Verifier,
    ) -> Result<(), BadCertificate> {
        let members = committee.len();
        let Certificate { signers, signatures } = certificate;
        let highest = 31_u32.saturating_sub(signers.leading_zeros());
        if *signers != 0 && highest as usize >= members {
            return Err(BadCertificate::NoSuchMember { member: highest, members });
        }
        let named = signers.count_ones();
        if named as usize != signatures.len() {
            return Err(BadCertificate::Count { named, signatures: signatures.len() });
        }
        let needed = quorum(members).unwrap_or(usize::MAX);
        if (named as usize) < needed {
            return Err(BadCertificate::NoQuorum { got: named, needed, members });
        }
        let statement = self.statement();
        let named = (0..members).filter(|member| signers >> member & 1 == 1);
        for (member, signature) in named.zip(signatures) {
            verifier
                .verify(&committee[member], Domain::SessionEnd, &statement, signature)
                .map_err(|_| BadCertificate::Signature { member })?;
        }
        Ok(())
    }
}
