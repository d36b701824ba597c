//! Messages about duties are canonical, and what they carry opens, verifies or reconstructs to
//! nothing but what was dealt and kept.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use session_core::{
    Decode as _, Digest, Encode as _, Epoch, List, NodeId, SeededEntropy, SwarmId, Time,
};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::beacon::{
    BeaconKey, Dealt, OneTimeSecrets, Reveal, Round, SealedShare, Share,
};
use session_protocol::commitment::{Absence, Commitment, Leaf, Place, Window, tree};
use session_protocol::duty::Duty;
use session_protocol::membership::network_id;
use session_protocol::{Frame, Kind};

const EPOCH: Epoch = Epoch(5);
const DEALERS: usize = 7;

static SIGNERS: LazyLock<[FakeIdentity; 2]> =
    LazyLock::new(|| [1, 2].map(|seed| FakeIdentity::new(&[seed; 32])));
static IDS: LazyLock<Vec<NodeId>> =
    LazyLock::new(|| SIGNERS.iter().map(|signer| signer.public().node_id()).collect());
static DEALT: LazyLock<Dealt> = LazyLock::new(|| Dealt::new(&[7; 32], DEALERS));
static SECRETS: LazyLock<OneTimeSecrets> =
    LazyLock::new(|| OneTimeSecrets::new(&SIGNERS[0], &[0xc1; 32].into(), EPOCH, 8));

fn round() -> Round<'static> {
    Round { chain: [0xc1; 32].into(), epoch: EPOCH, previous: Digest::default(), dealers: &IDS }
}

/// The share for the second place, sealed for the second signer.
static SEALED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let share = DEALT.share(1).expect("there are seven");
    let holder = (&IDS[1], SIGNERS[1].public().kem());
    round().seal(&SIGNERS[0], holder, &share, &mut SeededEntropy::new(1)).to_bytes()
});

/// Leaves with room between them.
static LEAVES: LazyLock<Vec<Leaf>> = LazyLock::new(|| {
    (0..5_u8).map(|n| Leaf { address: [1; 32].into(), message: [2 * n + 1; 32].into() }).collect()
});

fn altered(bytes: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for [high, low, change] in changes.as_chunks::<3>().0 {
        let place = usize::from(u16::from_be_bytes([*high, *low])) % bytes.len();
        bytes[place] ^= change;
    }
    bytes
}

/// Accepted bytes are the bytes that the message encodes to.
fn message(bytes: &[u8]) {
    let Ok(duty) = Duty::decode_exact(bytes) else { return };
    assert_eq!(duty.to_bytes(), bytes, "accepted, but not what encoding produces");
    let body = Frame::encode(Kind::Duty, &duty);
    assert_eq!(Frame::split(&body), Ok((Kind::Duty, bytes)));
    match &duty {
        Duty::Share { share, .. } => {
            let _ = round().open(&SIGNERS[1], &IDS[0], share);
        }
        Duty::Opened { answer } => {
            let root = Digest::default();
            let commitment =
                Commitment { epoch: EPOCH, swarm: SwarmId(1), count: 1, bytes: 0, root };
            let window = Window { sent_until: Time::ZERO, expire_after: Time::ZERO };
            for opening in &answer.openings {
                let network = network_id("fuzz");
                let checked = opening.verify(&commitment, &window, network, &FakeVerifier);
                assert!(checked.is_err(), "nothing leads to the root of zeros");
            }
            let key = (IDS[0], SIGNERS[0].public().dsa());
            let _ = answer.verify(&[0xc1; 32].into(), &commitment, key, &FakeVerifier);
            let _ = answer.signed(IDS[0], 0);
        }
        Duty::Absent { leaf, absence, .. } => shows_absence(leaf, absence),
        _ => {}
    }
}

/// A proof of absence never passes for a leaf that is there.
fn shows_absence(leaf: &Leaf, absence: &Absence) {
    let root = tree(&LEAVES).root();
    for wanted in LEAVES.iter().chain([leaf]) {
        if absence.verify(wanted, &root).is_ok() {
            assert!(!LEAVES.contains(wanted), "{wanted:?} is there");
        }
    }
}

/// True neighbours, put together by the input.
fn neighbours(choice: &[u8], changes: &[u8]) {
    let tree = tree(&LEAVES);
    let place = |choice: u8| {
        let index = usize::from(choice % 6);
        let leaf = *LEAVES.get(index)?;
        Some(Place { leaf, path: tree.prove(index as u64)? })
    };
    let [before, after, wanted] = [0, 1, 2].map(|n| choice.get(n).copied().unwrap_or(5));
    let absence = Absence { before: place(before), after: place(after) };
    let wanted = Leaf { address: [1; 32].into(), message: [wanted % 12; 32].into() };
    shows_absence(&wanted, &absence);
    if let Ok(absence) = Absence::decode_exact(&altered(&absence.to_bytes(), changes)) {
        shows_absence(&wanted, &absence);
    }
}

/// A sealed share opens as it is, or not at all.
fn sealed(changes: &[u8]) {
    let bytes = altered(&SEALED, changes);
    let Ok(sealed) = SealedShare::decode_exact(&bytes) else { return };
    let opened = round().open(&SIGNERS[1], &IDS[0], &sealed);
    assert_eq!(opened.is_ok(), bytes == *SEALED, "{opened:?}");
}

/// Shares and secrets that pass are those that were dealt and registered.
fn shown(place: u8, changes: &[u8]) {
    let place = usize::from(place) % DEALERS;
    let true_share = DEALT.share(place).expect("there are seven");
    let dealing = DEALT.dealing();
    if let Ok(share) = Share::decode_exact(&altered(&true_share.to_bytes(), changes)) {
        let passes = dealing.verify_share(place, &share).is_ok();
        assert_eq!(passes, share == true_share);
    }
    let epoch = Epoch(EPOCH.0 + place as u64);
    let true_reveal = SECRETS.reveal(epoch).expect("there are eight");
    let key: BeaconKey = SECRETS.key();
    if let Ok(reveal) = Reveal::decode_exact(&altered(&true_reveal.to_bytes(), changes)) {
        assert_eq!(key.verify(epoch, &reveal).is_ok(), reveal == true_reveal);
    }
}

/// Whatever shares are put together, they make what was dealt or nothing.
fn reconstruct(bytes: &[u8]) {
    let shares: Vec<(usize, [u8; 32])> = bytes
        .chunks(2)
        .map(|chunk| {
            let place = usize::from(chunk[0]);
            let mut value = DEALT.share(place).map_or([0; 32], |share| share.value);
            value[0] ^= chunk.get(1).copied().unwrap_or_default() & 1;
            (place, value)
        })
        .collect();
    if let Some(secret) = DEALT.dealing().reconstruct(&shares, DEALERS) {
        assert_eq!(secret, [7; 32]);
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 6 {
        0 => message(bytes),
        1 => neighbours(bytes, bytes.get(3..).unwrap_or_default()),
        2 => sealed(bytes),
        3 => shown(kind / 6, bytes),
        4 => reconstruct(bytes),
        _ => {
            let audit = List::new(bytes.iter().take(32).map(|n| u64::from(*n)).collect::<Vec<_>>());
            let duty = Duty::Audit { epoch: EPOCH, leaves: audit.expect("32 at most") };
            message(&altered(&duty.to_bytes(), bytes));
        }
    }
});
