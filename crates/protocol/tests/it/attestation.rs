//! Votes and quorum certificates: one encoding, and worth nothing elsewhere.

use session_core::{Digest, Epoch, Inline, SeededEntropy};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{Identity, RealVerifier, Signature, Signer};
use session_protocol::attestation::{
    BadCertificate, Kind, QuorumCertificate, Scheme, Statement, Vote, committee_root, failure_root,
    outcome_root,
};
use session_protocol::chain::transaction::bitmap;

use crate::codec::{check, limit, tags};
use crate::values::{
    STATEMENT, blob, certificate, certificate_bytes, list, node, signature, statement,
};

type Member = (session_core::NodeId, session_crypto::DsaPublicKey);

#[test]
fn golden_bytes() {
    check(&statement(), STATEMENT);
    for (kind, tag) in [
        (Kind::OracleRead, "01"),
        (Kind::OracleWrite, "02"),
        (Kind::SessionComplete, "03"),
        (Kind::EpochBeacon, "04"),
    ] {
        check(&kind, tag);
    }
    tags::<Kind>("", 4);
    check(&Scheme::MlDsa65List, "01");
    tags::<Scheme>("", 1);
    let vote = Vote { statement: statement(), node: node(), signature: signature() };
    check(&vote, &format!("{STATEMENT} 0a*32 33*3309"));
    check(&certificate(), &certificate_bytes());
    limit::<QuorumCertificate>(&format!("01 {STATEMENT}"), 16);
    limit::<QuorumCertificate>(&format!("01 {STATEMENT} 00000000"), 128);
}

/// What is signed: chain, committee, and the seed's payload with its length.
#[test]
fn the_signed_bytes_are_fixed() {
    let payload = b"LUX:QuantumAttest:session/complete:v1";
    let mut expected = [[0xc1; 32], [0x0d; 32]].concat();
    expected.extend((payload.len() as u32 + 72).to_be_bytes());
    expected.extend(payload);
    expected.extend([[0x0e; 32], [0x0f; 32]].concat());
    expected.extend(5_u64.to_be_bytes());
    assert_eq!(statement().signed_bytes(), expected);
}

#[test]
fn roots_of_sessions() {
    let [a, b, c] = [[1; 32], [2; 32], [3; 32]];
    let joined = session_core::sha256(&[a, b, c].concat());
    assert_eq!(outcome_root(&a.into(), &b.into(), &c.into()), joined.into());
    assert_ne!(failure_root("a"), failure_root("b"));
}

/// A committee of seven and what it attests.
struct Committee {
    signers: Vec<FakeIdentity>,
    members: Vec<Member>,
    statement: Statement,
}

impl Committee {
    fn new(first: u8) -> Self {
        let signers: Vec<_> = (first..first + 7).map(|n| FakeIdentity::new(&[n; 32])).collect();
        let members: Vec<Member> = signers.iter().map(member).collect();
        let statement = Statement { committee: committee_root(&members), ..statement() };
        Self { signers, members, statement }
    }

    fn votes(&self, signers: &[usize]) -> Vec<Vote> {
        let rng = &mut SeededEntropy::new(1);
        signers.iter().map(|&n| self.statement.sign(&self.signers[n], rng)).collect()
    }

    /// A certificate as a careless or lying maker puts it together.
    fn forged(&self, named: &[usize], signers: &[usize]) -> QuorumCertificate {
        let signatures: Vec<Signature> =
            self.votes(signers).into_iter().map(|vote| vote.signature).collect();
        QuorumCertificate {
            scheme: Scheme::MlDsa65List,
            statement: self.statement,
            signers: blob(&bitmap(7, named.iter().copied())),
            signatures: list(signatures),
        }
    }

    fn good(&self) -> QuorumCertificate {
        self.forged(&[0, 2, 3, 5, 6], &[0, 2, 3, 5, 6])
    }

    fn verify(&self, certificate: &QuorumCertificate) -> Result<(), BadCertificate> {
        certificate.verify(&self.members, &FakeVerifier, &Inline)
    }
}

fn member(signer: &FakeIdentity) -> Member {
    (signer.public().node_id(), signer.public().dsa().clone())
}

#[test]
fn a_quorum_makes_the_one_certificate() {
    let committee = Committee::new(0);
    let Committee { statement, members, .. } = &committee;
    let assemble = |votes: &[Vote]| QuorumCertificate::assemble(statement, members, votes);
    assert_eq!(assemble(&committee.votes(&[6, 5, 0, 3, 2])), Some(committee.good()));
    assert_eq!(committee.verify(&committee.good()), Ok(()));
    assert_eq!(assemble(&committee.votes(&[0, 2, 3, 5])), None, "no quorum");
    assert_eq!(assemble(&committee.votes(&[0, 2, 3, 5, 5])), None, "one member twice");
    let all = assemble(&committee.votes(&[6, 5, 4, 3, 2, 1, 0])).unwrap();
    assert_eq!(all, committee.forged(&[0, 1, 2, 3, 4], &[0, 1, 2, 3, 4]), "the lowest five");

    let strangers = Committee { statement: *statement, ..Committee::new(50) };
    let mut votes = committee.votes(&[0, 1, 2, 3]);
    votes.extend(strangers.votes(&[0, 1, 2]));
    assert_eq!(assemble(&votes), None, "strangers are not counted");
    let other = Statement { root: [9; 32].into(), ..*statement };
    votes.extend(Committee { statement: other, ..Committee::new(0) }.votes(&[4, 5, 6]));
    assert_eq!(assemble(&votes), None, "votes for something else are not counted");
}

#[test]
fn exactly_a_quorum_is_needed() {
    let committee = Committee::new(0);
    let count =
        |named, signatures| Err(BadCertificate::Count { named, signatures, needed: 5, members: 7 });
    for (named, signers) in [
        (&[0, 1, 2, 3][..], &[0, 1, 2, 3][..]),
        (&[], &[]),
        (&[0, 1, 2, 3, 4, 5], &[0, 1, 2, 3, 4]),
    ] {
        let forged = committee.forged(named, signers);
        assert_eq!(committee.verify(&forged), count(named.len(), signers.len()));
    }
    let six = [0, 1, 2, 3, 4, 5];
    assert_eq!(committee.verify(&committee.forged(&six, &six)), count(6, 6), "more is not better");
    let missing = committee.forged(&[0, 1, 2, 3, 4], &[0, 1, 2, 3]);
    assert_eq!(committee.verify(&missing), count(5, 4));
}

#[test]
fn bitmaps_have_one_form() {
    let committee = Committee::new(0);
    let with = |bits: &[u8]| {
        let forged = QuorumCertificate { signers: blob(bits), ..committee.good() };
        committee.verify(&forged)
    };
    let bits = committee.good().signers[0];
    assert_eq!(with(&[bits]), Ok(()));
    assert_eq!(with(&[bits | 0x80]), Err(BadCertificate::Bitmap { bytes: 1, members: 7 }));
    assert_eq!(with(&[bits, 0]), Err(BadCertificate::Bitmap { bytes: 2, members: 7 }));
    assert_eq!(with(&[]), Err(BadCertificate::Bitmap { bytes: 0, members: 7 }));
}

#[test]
fn signatures_stand_in_the_order_of_members() {
    let committee = Committee::new(0);
    let swapped = committee.forged(&[0, 1, 2, 3, 4], &[0, 2, 1, 3, 4]);
    assert_eq!(committee.verify(&swapped), Err(BadCertificate::Signature { member: 1 }));
    let elsewhere = committee.forged(&[0, 1, 2, 3, 5], &[0, 1, 2, 3, 4]);
    assert_eq!(committee.verify(&elsewhere), Err(BadCertificate::Signature { member: 5 }));
    let repeated = committee.forged(&[0, 1, 2, 3, 4], &[0; 5]);
    assert_eq!(committee.verify(&repeated), Err(BadCertificate::Signature { member: 1 }));
}

#[test]
fn a_certificate_means_nothing_elsewhere() {
    let committee = Committee::new(0);
    let good = committee.good();
    let statement = committee.statement;
    for other in [
        Statement { chain: [9; 32].into(), ..statement },
        Statement { kind: Kind::OracleRead, ..statement },
        Statement { subject: [9; 32].into(), ..statement },
        Statement { root: [9; 32].into(), ..statement },
        Statement { epoch: Epoch(6), ..statement },
    ] {
        let relabelled = QuorumCertificate { statement: other, ..good.clone() };
        let verified = committee.verify(&relabelled);
        assert_eq!(verified, Err(BadCertificate::Signature { member: 0 }), "{other:?}");
        assert_eq!(good.check_statement(&other), Err(BadCertificate::Statement), "{other:?}");
    }
    assert_eq!(good.check_statement(&statement), Ok(()));
}

#[test]
fn another_committee_is_named() {
    let committee = Committee::new(0);
    let good = committee.good();
    let root = committee.statement.committee;
    let refused = |members: &[Member]| {
        let expected = committee_root(members);
        assert_ne!(expected, root);
        let verified = good.verify(members, &FakeVerifier, &Inline);
        assert_eq!(verified, Err(BadCertificate::Committee { got: root, expected }));
        expected
    };
    let mut reversed = committee.members.clone();
    reversed.reverse();
    let mut rekeyed = committee.members.clone();
    rekeyed[6].1 = member(&FakeIdentity::new(&[99; 32])).1;
    let mut renamed = committee.members.clone();
    renamed[6].0 = [9; 32].into();
    let roots: Vec<Digest> = [&reversed[..], &rekeyed, &renamed, &committee.members[..6], &[]]
        .into_iter()
        .map(refused)
        .collect();
    // Whoever relabels it too has the signatures of another statement.
    let relabelled = Statement { committee: roots[1], ..committee.statement };
    let forged = QuorumCertificate { statement: relabelled, ..good.clone() };
    assert_eq!(
        forged.verify(&rekeyed, &FakeVerifier, &Inline),
        Err(BadCertificate::Signature { member: 0 })
    );
    let nobody = Statement { committee: roots[4], ..committee.statement };
    let forged = QuorumCertificate {
        statement: nobody,
        signers: blob(&[]),
        signatures: list([]),
        ..good.clone()
    };
    assert!(matches!(
        forged.verify(&[], &FakeVerifier, &Inline),
        Err(BadCertificate::Count { members: 0, .. })
    ));
}

#[test]
fn real_signatures() {
    let rng = &mut SeededEntropy::new(7);
    let signers: Vec<Identity> = (0..4).map(|_| Identity::generate(rng)).collect();
    let members: Vec<Member> = signers
        .iter()
        .map(|signer| (signer.public().node_id(), signer.public().dsa().clone()))
        .collect();
    let statement = Statement { committee: committee_root(&members), ..statement() };
    let votes: Vec<Vote> = signers[1..].iter().map(|signer| statement.sign(signer, rng)).collect();
    assert!(
        votes.iter().zip(&members[1..]).all(|(vote, (_, key))| vote.verify(key, &RealVerifier))
    );
    assert!(!votes[0].verify(&members[0].1, &RealVerifier));
    let mut certificate = QuorumCertificate::assemble(&statement, &members, &votes).unwrap();
    assert_eq!(certificate.verify(&members, &RealVerifier, &Inline), Ok(()));
    certificate.statement.epoch = Epoch(6);
    assert_eq!(
        certificate.verify(&members, &RealVerifier, &Inline),
        Err(BadCertificate::Signature { member: 1 })
    );
}
