use session_core::testing::check_round_trip;
use session_core::{
    Decode as _, Encode as _, Inline, List, SeededEntropy, Span, SwarmId, Text, Time,
};
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_crypto::{BadSignature, Signer as _};
use session_protocol::attestation::{Scheme, Statement, Vote};
use session_protocol::chain::Amount;
use session_protocol::chain::block::BLOCK_VERSION;
use session_protocol::roster::Roster;

use super::*;
use crate::genesis::GenesisNode;
use crate::ledger::{BlockContext, Ledger};
use crate::query;
use crate::records::{NodeKeys, Params, Seat, SwarmMembers};

const START: Time = Time::from_millis(1_700_000_000_000);

fn node(n: u8) -> FakeIdentity {
    FakeIdentity::new(&[n; 32])
}

fn sequencer() -> FakeIdentity {
    FakeIdentity::new(&[0xff; 32])
}

/// Four nodes in one swarm.
fn genesis() -> Genesis {
    let nodes = (1..=4).map(|n| GenesisNode {
        operator: node(9).public().account_id(),
        keys: node(n).public().clone(),
        endpoint: Text::new(format!("10.0.0.{n}:1")).unwrap(),
        stake: Amount::lux(100),
        swarm: SwarmId(1),
    });
    Genesis {
        name: Text::new("test").unwrap(),
        time: START,
        params: Params::default(),
        sequencer: Some(sequencer().public().clone()),
        accounts: Vec::new(),
        nodes: nodes.collect(),
        authority: None,
        supply: None,
    }
}

/// The committee of the state's current epoch.
fn attesters(state: &State) -> Vec<(NodeId, DsaPublicKey)> {
    let epoch = query::epoch(state);
    let seats: Vec<_> = state
        .range(&[SwarmMembers::TAG])
        .map(|(key, _)| Seat::decode_exact(&key[1..]).unwrap())
        .map(|seat| (seat.swarm, seat.node))
        .collect();
    let roster = Roster::new(&epoch.randomness, epoch.number, &seats, 10);
    let key = |node: &NodeId| NodeKeys::value(state.get(&NodeKeys::key(node)).unwrap());
    roster.attesters().iter().map(|node| (*node, key(node).dsa().clone())).collect()
}

fn certify(
    chain: ChainId,
    epoch: &EpochRecord,
    members: &[(NodeId, DsaPublicKey)],
) -> QuorumCertificate {
    let statement = Statement {
        chain,
        committee: epoch.attesters,
        kind: Kind::EpochBeacon,
        subject: epoch.beacon,
        root: epoch.randomness,
        epoch: epoch.number,
    };
    sign(&statement, members)
}

fn sign(statement: &Statement, members: &[(NodeId, DsaPublicKey)]) -> QuorumCertificate {
    let votes: Vec<Vote> =
        (1..=4).map(|n| statement.sign(&node(n), &mut SeededEntropy::new(1))).collect();
    QuorumCertificate::assemble(statement, members, &votes).expect("all of them signed")
}

/// A block with the root of a state, sealed.
fn sealed(chain: ChainId, height: u64, root: Digest) -> (Vec<u8>, Signature) {
    let block = Block {
        version: BLOCK_VERSION,
        chain,
        parent: BlockId::default(),
        height,
        time: START,
        state_root: root,
        transactions: List::default(),
    };
    let bytes = block.to_bytes();
    let sealed = Sealed { chain, height, block: block_id(&bytes) };
    let seal = sealed.sign(&sequencer(), &mut SeededEntropy::new(1));
    (bytes, seal)
}

fn verify(file: &CertificateFile) -> Result<Proven, BadCertificateFile> {
    file.verify(&genesis(), &FakeVerifier, &Inline)
}

/// The file of epoch 0, out of the genesis block itself.
fn of_genesis() -> CertificateFile {
    let genesis = genesis();
    let (chain, state) = (genesis.chain_id(), genesis.state().unwrap());
    let members = attesters(&state);
    let certificate = certify(chain, &query::epoch(&state), &members);
    let block = genesis.block(chain).unwrap().to_bytes();
    CertificateFile::new(certificate, &members, &state, (&block, None)).unwrap()
}

/// The file of epoch 0 or 1, out of a block in epoch 1.
fn of_turned(past: bool) -> CertificateFile {
    let genesis = genesis();
    let (chain, before) = (genesis.chain_id(), genesis.state().unwrap());
    let time = START + genesis.params.epoch + Span::from_secs(1);
    let (state, _) =
        Ledger::begin(&before, BlockContext { chain, parent: BlockId::default(), height: 1, time })
            .finish();
    assert_eq!(query::epoch(&state).number, Epoch(1));
    let of = if past { &before } else { &state };
    let members = attesters(of);
    let certificate = certify(chain, &query::epoch(of), &members);
    let (block, seal) = sealed(chain, 1, state.root());
    CertificateFile::new(certificate, &members, &state, (&block, Some(seal))).unwrap()
}

#[test]
fn a_file_proves_itself() {
    for (file, number, height) in
        [(of_genesis(), 0, 0), (of_turned(true), 0, 1), (of_turned(false), 1, 1)]
    {
        let proven = verify(&file).unwrap();
        assert_eq!((proven.epoch.number, proven.height), (Epoch(number), height));
        assert_eq!(proven.block, block_id(&file.block));
        assert_eq!(file.certificate.signatures.len(), 3, "three of four are the quorum");
        check_round_trip(&file);
    }
}

#[test]
fn a_file_begins_with_its_version() {
    let bytes = of_genesis().to_bytes();
    assert_eq!(bytes[..8], *b"LUXCERT\x01");
    for index in 0..8 {
        let mut other = bytes.clone();
        other[index] ^= 1;
        let refused = CertificateFile::decode_exact(&other);
        assert!(matches!(refused, Err(DecodeError::Invalid { .. })), "{refused:?}");
    }
}

/// Whatever is changed, it proves nothing.
#[test]
fn no_byte_can_be_changed() {
    // Every one of the one file; of the other, whose chain is built each time, some.
    for (file, step) in [(of_turned(true), 1), (of_genesis(), 37)] {
        let bytes = file.to_bytes();
        for index in (0..bytes.len()).step_by(step) {
            let mut altered = bytes.clone();
            altered[index] ^= 1;
            if let Ok(altered) = CertificateFile::decode_exact(&altered) {
                assert!(verify(&altered).is_err(), "byte {index} changed");
            }
        }
    }
}

#[test]
fn blocks_that_nobody_sealed_show_nothing() {
    let good = of_turned(true);
    let unsealed = CertificateFile { seal: None, ..good.clone() };
    assert_eq!(verify(&unsealed), Err(BadCertificateFile::SealMissing { height: 1 }));
    let by_other = Sealed { chain: genesis().chain_id(), height: 1, block: block_id(&good.block) }
        .sign(&node(1), &mut SeededEntropy::new(1));
    let forged = CertificateFile { seal: Some(by_other), ..good.clone() };
    assert_eq!(verify(&forged), Err(BadCertificateFile::Seal { height: 1 }));
    let genesis_sealed = CertificateFile { seal: good.seal.clone(), ..of_genesis() };
    assert_eq!(verify(&genesis_sealed), Err(BadCertificateFile::SealMissing { height: 0 }));

    let chain = genesis().chain_id();
    let root = Block::parse(&good.block, &chain).unwrap().state_root;
    let (first, _) = sealed(chain, 0, root);
    let other_start =
        CertificateFile { block: Blob::new(first).unwrap(), seal: None, ..good.clone() };
    assert!(matches!(verify(&other_start), Err(BadCertificateFile::NotGenesis { .. })));
    let hosted = Genesis { sequencer: None, ..genesis() };
    let refused = good.verify(&hosted, &FakeVerifier, &Inline);
    assert!(matches!(refused, Err(BadCertificateFile::Block(BadBlock::Chain { .. }))));
}

#[test]
fn another_chain_is_another() {
    let other = Genesis { name: Text::new("other").unwrap(), ..genesis() };
    let refused = of_turned(true).verify(&other, &FakeVerifier, &Inline);
    assert!(matches!(refused, Err(BadCertificateFile::Block(BadBlock::Chain { .. }))));
    let (state, chain) = (genesis().state().unwrap(), other.chain_id());
    let members = attesters(&state);
    let certificate = certify(chain, &query::epoch(&state), &members);
    let file = CertificateFile { certificate, ..of_genesis() };
    let chain = genesis().chain_id();
    assert_eq!(verify(&file), Err(BadCertificateFile::Chain { got: other.chain_id(), chain }));
}

#[test]
fn the_epoch_is_the_one_that_the_state_shows() {
    let (past, current) = (of_turned(true), of_turned(false));
    let exchanged = CertificateFile { proof: past.proof.clone(), ..current.clone() };
    assert_eq!(verify(&exchanged), Err(BadCertificateFile::NoEpoch { epoch: Epoch(1) }));
    let exchanged = CertificateFile { proof: current.proof, ..past.clone() };
    assert_eq!(verify(&exchanged), Err(BadCertificateFile::NoEpoch { epoch: Epoch(0) }));
    let state = genesis().state().unwrap();
    let absent = state.prove(&PastEpochs::key(&Epoch(0)));
    let shows_absence = CertificateFile { proof: absent, ..of_genesis() };
    assert_eq!(verify(&shows_absence), Err(BadCertificateFile::NoEpoch { epoch: Epoch(0) }));
}

#[test]
fn the_committee_is_the_epochs() {
    let good = of_genesis();
    let mut members = good.members.clone().into_vec();
    members.swap(0, 1);
    let swapped = CertificateFile { members: List::new(members.clone()).unwrap(), ..good.clone() };
    let refused = verify(&swapped).unwrap_err();
    assert!(
        matches!(refused, BadCertificateFile::Certificate(BadCertificate::Committee { .. })),
        "{refused}"
    );
    // Nodes that make up a committee of their own sign for it in vain.
    let own: Vec<_> = (5..=8).map(|n| node(n).public().clone()).collect();
    let own: Vec<_> = own.iter().map(|keys| (keys.node_id(), keys.dsa().clone())).collect();
    let state = genesis().state().unwrap();
    let certificate = good.certificate.clone();
    assert_eq!(CertificateFile::new(certificate, &own, &state, (&good.block, None)), None);
}

#[test]
fn a_quorum_that_lies_is_seen() {
    let good = of_genesis();
    let members: Vec<_> = good.members.iter().map(|m| (m.node, m.key.clone())).collect();
    let honest = good.certificate.statement;
    for statement in [
        Statement { subject: [9; 32].into(), ..honest },
        Statement { root: [9; 32].into(), ..honest },
    ] {
        let file = CertificateFile { certificate: sign(&statement, &members), ..good.clone() };
        assert_eq!(verify(&file), Err(BadCertificateFile::Beacon { epoch: Epoch(0) }));
    }
    let session = Statement { kind: Kind::SessionComplete, ..honest };
    let file = CertificateFile { certificate: sign(&session, &members), ..good.clone() };
    assert_eq!(verify(&file), Err(BadCertificateFile::Kind(Kind::SessionComplete)));
    let mut signatures = good.certificate.signatures.clone().into_vec();
    signatures.pop();
    let mut short = good;
    short.certificate.signatures = List::new(signatures).unwrap();
    assert!(matches!(
        verify(&short),
        Err(BadCertificateFile::Certificate(BadCertificate::Count { .. }))
    ));
    assert_eq!(short.certificate.scheme, Scheme::MlDsa65List);
}

/// A file can ask for as many checks as members need, not for more.
#[test]
fn every_signature_is_checked_once() {
    struct Counting(std::sync::atomic::AtomicUsize);
    impl Verifier for Counting {
        fn verify(
            &self,
            key: &DsaPublicKey,
            domain: session_core::Domain,
            message: &[u8],
            signature: &Signature,
        ) -> Result<(), BadSignature> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            FakeVerifier.verify(key, domain, message, signature)
        }
    }
    let counting = Counting(std::sync::atomic::AtomicUsize::new(0));
    of_turned(true).verify(&genesis(), &counting, &Inline).unwrap();
    assert_eq!(counting.0.into_inner(), 1 + 3, "the seal and the quorum");
}
