//! Certificate files are canonical, and a true one altered anywhere proves nothing.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_core::{Decode as _, Encode as _, Inline, SeededEntropy, SwarmId, Text, Time};
use session_crypto::fake::{CredulousVerifier, FakeIdentity, FakeVerifier};
use session_crypto::{Signer as _, Verifier};
use session_protocol::attestation::{Kind, QuorumCertificate, Statement, Vote};
use session_protocol::chain::Amount;
use session_protocol::roster::Roster;
use session_vm::bundle::{BadCertificateFile, CertificateFile, Proven};
use session_vm::genesis::{Genesis, GenesisNode};
use session_vm::query;
use session_vm::records::Params;

static NODES: LazyLock<[FakeIdentity; 4]> =
    LazyLock::new(|| [1, 2, 3, 4].map(|seed| FakeIdentity::new(&[seed; 32])));

static GENESIS: LazyLock<Genesis> = LazyLock::new(|| Genesis {
    name: Text::default(),
    time: Time::from_millis(1_700_000_000_000),
    params: Params::default(),
    sequencer: Some(NODES[0].public().clone()),
    accounts: Vec::new(),
    nodes: NODES
        .iter()
        .zip(0..)
        .map(|(node, n)| GenesisNode {
            operator: node.public().account_id(),
            keys: node.public().clone(),
            endpoint: Text::new(format!("node{n}:1")).expect("short"),
            stake: Amount::lux(100),
            swarm: SwarmId(1),
        })
        .collect(),
    authority: None,
    supply: None,
});

/// The certificate of the first epoch, shown by the genesis block.
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let (chain, state) = (GENESIS.chain_id(), GENESIS.state().expect("a good genesis"));
    let epoch = query::epoch(&state);
    let seats: Vec<_> = NODES.iter().map(|node| (SwarmId(1), node.public().node_id())).collect();
    let roster = Roster::new(&epoch.randomness, epoch.number, &seats, 3);
    let signer = |id| NODES.iter().find(|node| node.public().node_id() == id).expect("one of them");
    let committee: Vec<_> =
        roster.attesters().into_iter().map(|id| (id, signer(id).public().dsa().clone())).collect();
    let statement = Statement {
        chain,
        committee: epoch.attesters,
        kind: Kind::EpochBeacon,
        subject: epoch.beacon,
        root: epoch.randomness,
        epoch: epoch.number,
    };
    let rng = &mut SeededEntropy::new(1);
    let votes: Vec<Vote> = NODES.iter().map(|node| statement.sign(node, rng)).collect();
    let certificate = QuorumCertificate::assemble(&statement, &committee, &votes);
    let block = GENESIS.block(chain).expect("a good genesis").to_bytes();
    let certificate = certificate.expect("all of them signed");
    let file = CertificateFile::new(certificate, &committee, &state, (&block, None));
    file.expect("the epoch is there").to_bytes()
});

fn verify(file: &CertificateFile, verifier: &dyn Verifier) -> Result<Proven, BadCertificateFile> {
    file.verify(&GENESIS, verifier, &Inline)
}

fn any(bytes: &[u8]) -> Option<CertificateFile> {
    let file = CertificateFile::decode_exact(bytes).ok()?;
    assert_eq!(file.to_bytes(), bytes, "accepted, but not what encoding produces");
    if let Ok(proven) = verify(&file, &CredulousVerifier) {
        let statement = &file.certificate.statement;
        assert_eq!(statement.epoch, proven.epoch.number);
        assert_eq!(statement.root, proven.epoch.randomness);
    }
    Some(file)
}

fn altered(changes: &[u8]) {
    let mut bytes = BYTES.clone();
    for [high, low, change] in changes.as_chunks::<3>().0 {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
        bytes[place] ^= change;
    }
    let Some(file) = any(&bytes) else { return };
    let proven = verify(&file, &FakeVerifier);
    assert_eq!(proven.is_ok(), bytes == *BYTES, "{proven:?}");
}

fuzz_target!(|input: &[u8]| {
    match input.split_first() {
        Some((kind, bytes)) if kind % 2 == 0 => {
            any(bytes);
        }
        Some((_, bytes)) => altered(bytes),
        None => {}
    }
});
