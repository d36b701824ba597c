//! Attestations: what members of a committee sign, and quorum certificates.
//!
//! A member signs the seed's payload (`LUX:QuantumAttest:<domain>:v1` ‖ subject ‖ root ‖ epoch)
//! together with the chain and the committee that it speaks for, so that a signature means nothing
//! elsewhere. Votes are kept one by one: two of one member for the same subject with different
//! roots are evidence ([`crate::evidence`]).
//!
//! *Provided:* a certificate has one encoding: exactly the quorum's signatures, those of the lowest
//! members, in the order of the committee. *Not provided:* short certificates: a signature is 3,309
//! bytes.

use session_core::committee::quorum;
use session_core::merkle::Tree;
use session_core::seed_ids::{AttestationDomain, Attested};
use session_core::{
    Blob, ChainId, Digest, Domain, Encode, Entropy, Epoch, List, NodeId, Workers, choice, digest,
    record,
};
use session_crypto::{DsaPublicKey, Signature, Signer, Verifier};

/// Most members of a committee that attests.
pub const ATTESTERS_MAX: usize = 128;

choice! {
    /// The seed's attestation domains, on the wire.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub enum Kind {
        /// `oracle/read`.
        1 => OracleRead,
        /// `oracle/write`.
        2 => OracleWrite,
        /// `session/complete`.
        3 => SessionComplete,
        /// `epoch/beacon`.
        4 => EpochBeacon,
    }

    /// How a certificate proves a quorum; others may come.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Scheme {
        /// One ML-DSA-65 signature for each member.
        1 => MlDsa65List,
    }
}

record! {
    /// What a member attests.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Statement {
        /// The chain.
        pub chain: ChainId,
        /// The committee: [`committee_root`].
        pub committee: Digest,
        /// What kind of statement it is.
        pub kind: Kind,
        /// The id that it is about.
        pub subject: Digest,
        /// What is committed to.
        pub root: Digest,
        /// The epoch of the committee.
        pub epoch: Epoch,
    }

    /// One member's attestation.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Vote {
        /// What it attests.
        pub statement: Statement,
        /// Who.
        pub node: NodeId,
        /// Of that node, over the statement.
        pub signature: Signature,
    }

    /// A quorum's attestation.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct QuorumCertificate {
        /// How it proves.
        pub scheme: Scheme,
        /// What is attested.
        pub statement: Statement,
        /// Bit i of byte i / 8, from the lowest: member i signed. As many bytes as members need.
        pub signers: Blob<{ ATTESTERS_MAX / 8 }>,
        /// Their signatures, in the order of members.
        pub signatures: List<Signature, ATTESTERS_MAX>,
    }

    /// A member of a committee, as its root binds it.
    struct Member {
        index: u16,
        node: NodeId,
        key: DsaPublicKey,
    }

    /// The bytes that one member signs.
    struct Signed {
        chain: ChainId,
        committee: Digest,
        payload: Blob<256>,
    }
}

/// Why a vote or a certificate proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadCertificate {
    /// It is of another committee.
    #[error("the certificate is of committee {got}, this is {expected}")]
    Committee {
        /// The committee it names.
        got: Digest,
        /// The committee given.
        expected: Digest,
    },
    /// It attests something else.
    #[error("the certificate attests something else")]
    Statement,
    /// The bitmap has another size, or bits behind its end.
    #[error("the bitmap of {bytes} bytes does not fit {members} members")]
    Bitmap {
        /// Its bytes.
        bytes: usize,
        /// Members of the committee.
        members: usize,
    },
    /// Not exactly a quorum signed, or a signature is missing or too many.
    #[error(
        "{named} members are named and {signatures} signed; exactly {needed} of {members} are needed"
    )]
    Count {
        /// Members named.
        named: usize,
        /// Signatures carried.
        signatures: usize,
        /// Signatures needed.
        needed: usize,
        /// Members of the committee.
        members: usize,
    },
    /// Somebody who is not a member.
    #[error("node {0} is not a member of the committee")]
    NotAMember(NodeId),
    /// A member did not sign this.
    #[error("the signature of member {member} does not verify")]
    Signature {
        /// The member.
        member: usize,
    },
}

/// Returns the root of a committee: a Merkle root over (index, node, signing key).
#[must_use]
pub fn committee_root(members: &[(NodeId, DsaPublicKey)]) -> Digest {
    let leaf = |(index, (node, key)): (usize, &(NodeId, DsaPublicKey))| {
        let index = u16::try_from(index).expect("a committee has far fewer members");
        Member { index, node: *node, key: key.clone() }.to_bytes()
    };
    Tree::new(members.iter().enumerate().map(leaf)).root()
}

/// Returns what is attested of a workload session that ended well: SHA-256 over output, oracle root
/// and receipts root, as the chain-side twins do.
#[must_use]
pub fn outcome_root(output: &Digest, oracle_root: &Digest, receipts_root: &Digest) -> Digest {
    let roots = [output, oracle_root, receipts_root].map(|root| *root.as_bytes());
    session_core::sha256(roots.as_flattened()).into()
}

/// Returns what is attested of a workload session that failed.
#[must_use]
pub fn failure_root(reason: &str) -> Digest {
    digest(Domain::SessionFailure, &[reason.as_bytes()])
}

impl From<Kind> for AttestationDomain {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::OracleRead => Self::OracleRead,
            Kind::OracleWrite => Self::OracleWrite,
            Kind::SessionComplete => Self::SessionComplete,
            Kind::EpochBeacon => Self::EpochBeacon,
        }
    }
}

impl Statement {
    /// Returns the bytes that a member signs.
    #[must_use]
    pub fn signed_bytes(&self) -> Vec<u8> {
        let attested = Attested {
            domain: self.kind.into(),
            subject: *self.subject.as_bytes(),
            commit_root: self.root,
            epoch: self.epoch,
        };
        let payload = Blob::new(attested.payload()).expect("separator and 72 bytes are within it");
        Signed { chain: self.chain, committee: self.committee, payload }.to_bytes()
    }

    /// Attests it as one member.
    pub fn sign(&self, member: &dyn Signer, rng: &mut dyn Entropy) -> Vote {
        let signature = member.sign(Domain::Attestation, &self.signed_bytes(), rng);
        Vote { statement: *self, node: member.public().node_id(), signature }
    }

    fn verify(&self, key: &DsaPublicKey, signature: &Signature, verifier: &dyn Verifier) -> bool {
        verifier.verify(key, Domain::Attestation, &self.signed_bytes(), signature).is_ok()
    }
}

impl Vote {
    /// Checks its signature.
    #[must_use]
    pub fn verify(&self, key: &DsaPublicKey, verifier: &dyn Verifier) -> bool {
        self.statement.verify(key, &self.signature, verifier)
    }

    /// Returns whether both speak of the same thing and contradict each other. An epoch has one
    /// beacon: two votes about it contradict each other even under different ids.
    #[must_use]
    pub fn contradicts(&self, other: &Self) -> bool {
        let (a, b) = (&self.statement, &other.statement);
        let same = self.node == other.node
            && (a.chain, a.committee, a.kind, a.epoch) == (b.chain, b.committee, b.kind, b.epoch);
        same && match a.kind {
            Kind::EpochBeacon => (a.subject, a.root) != (b.subject, b.root),
            _ => a.subject == b.subject && a.root != b.root,
        }
    }
}

impl QuorumCertificate {
    /// Makes a certificate out of checked votes for one statement; nothing below a quorum.
    #[must_use]
    pub fn assemble<'a>(
        statement: &Statement,
        committee: &[(NodeId, DsaPublicKey)],
        votes: impl IntoIterator<Item = &'a Vote>,
    ) -> Option<Self> {
        let votes = votes.into_iter().filter(|vote| vote.statement == *statement);
        let (bits, signatures) =
            lowest_quorum(committee, votes.map(|vote| (vote.node, &vote.signature)))?;
        Some(Self {
            scheme: Scheme::MlDsa65List,
            statement: *statement,
            signers: Blob::new(bits).ok()?,
            signatures: List::new(signatures).ok()?,
        })
    }

    /// Checks that it attests this and nothing else; who signed is checked apart.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_statement(&self, expected: &Statement) -> Result<(), BadCertificate> {
        let got = &self.statement;
        if got.committee != expected.committee {
            let (got, expected) = (got.committee, expected.committee);
            return Err(BadCertificate::Committee { got, expected });
        }
        if got == expected { Ok(()) } else { Err(BadCertificate::Statement) }
    }

    /// Checks that a quorum of the committee, given in order, signed it; signatures side by side.
    ///
    /// # Errors
    /// When it is of another committee, is not the one encoding of a certificate, or a signature
    /// does not verify.
    pub fn verify(
        &self,
        committee: &[(NodeId, DsaPublicKey)],
        verifier: &dyn Verifier,
        workers: &dyn Workers,
    ) -> Result<(), BadCertificate> {
        let expected = committee_root(committee);
        if self.statement.committee != expected {
            return Err(BadCertificate::Committee { got: self.statement.committee, expected });
        }
        check_quorum(committee, (&self.signers, &self.signatures), workers, &|key, signature| {
            self.statement.verify(key, signature, verifier)
        })
    }
}

/// Returns the bitmap and the signatures of the quorum of the lowest members that signed.
pub(crate) fn lowest_quorum<'a>(
    committee: &[(NodeId, DsaPublicKey)],
    signed: impl IntoIterator<Item = (NodeId, &'a Signature)>,
) -> Option<(Vec<u8>, Vec<Signature>)> {
    let needed = quorum(committee.len()).ok()?;
    let signed: std::collections::BTreeMap<NodeId, &Signature> = signed.into_iter().collect();
    let mut bits = vec![0_u8; committee.len().div_ceil(8)];
    let mut signatures = Vec::new();
    for (index, (node, _)) in committee.iter().enumerate() {
        let Some(signature) = signed.get(node).filter(|_| signatures.len() < needed) else {
            continue;
        };
        bits[index / 8] |= 1 << (index % 8);
        signatures.push((*signature).clone());
    }
    (signatures.len() == needed).then_some((bits, signatures))
}

/// Checks that exactly a quorum is named, in the one form that says so, and that each signed.
pub(crate) fn check_quorum(
    committee: &[(NodeId, DsaPublicKey)],
    (signers, signatures): (&[u8], &[Signature]),
    workers: &dyn Workers,
    verifies: &(dyn Fn(&DsaPublicKey, &Signature) -> bool + Sync),
) -> Result<(), BadCertificate> {
    let members = committee.len();
    let bit = |index: usize| signers.get(index / 8).is_some_and(|b| b >> (index % 8) & 1 == 1);
    let bytes = signers.len();
    if bytes != members.div_ceil(8) || (members..8 * bytes).any(bit) {
        return Err(BadCertificate::Bitmap { bytes, members });
    }
    let named: Vec<usize> = (0..members).filter(|index| bit(*index)).collect();
    let needed = quorum(members).unwrap_or(usize::MAX);
    if named.len() != needed || signatures.len() != needed {
        let (named, signatures) = (named.len(), signatures.len());
        return Err(BadCertificate::Count { named, signatures, needed, members });
    }
    let bad = std::sync::atomic::AtomicUsize::new(usize::MAX);
    workers.run(needed, &|job| {
        let (_, key) = &committee[named[job]];
        if !verifies(key, &signatures[job]) {
            bad.fetch_min(named[job], std::sync::atomic::Ordering::Relaxed);
        }
    });
    match bad.into_inner() {
        usize::MAX => Ok(()),
        member => Err(BadCertificate::Signature { member }),
    }
}
