//! What nodes compute for certificates, beacons and audits. `cargo bench -p session-protocol`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use session_core::{Digest, Entropy as _, Epoch, Inline, NodeId, SeededEntropy, SwarmId};
use session_crypto::{Identity, RealVerifier};
use session_protocol::attestation::{Kind, QuorumCertificate, Statement, Vote, committee_root};
use session_protocol::beacon::{Dealt, ONE_TIME_SECRETS, OneTimeSecrets, threshold};
use session_protocol::roster::Roster;

fn certificates(c: &mut Criterion) {
    let rng = &mut SeededEntropy::new(1);
    let members: Vec<Identity> = (0..21).map(|_| Identity::generate(rng)).collect();
    let committee: Vec<_> = members
        .iter()
        .map(|member| (member.public().node_id(), member.public().dsa().clone()))
        .collect();
    let statement = Statement {
        chain: [1; 32].into(),
        committee: committee_root(&committee),
        kind: Kind::EpochBeacon,
        subject: [2; 32].into(),
        root: [3; 32].into(),
        epoch: Epoch(4),
    };
    let votes: Vec<Vote> = members.iter().map(|member| statement.sign(member, rng)).collect();
    let certificate = QuorumCertificate::assemble(&statement, &committee, &votes);
    let certificate = certificate.expect("all of them signed");
    c.bench_function("certificate/verify 15 of 21, one core", |b| {
        b.iter(|| black_box(&certificate).verify(&committee, &RealVerifier, &Inline));
    });
}

fn beacon(c: &mut Criterion) {
    for dealers in [21, 64] {
        c.bench_function(&format!("beacon/deal among {dealers}"), |b| {
            b.iter(|| Dealt::new(black_box(&[7; 32]), dealers).dealing());
        });
        let dealt = Dealt::new(&[7; 32], dealers);
        let dealing = dealt.dealing();
        let shares: Vec<(usize, [u8; 32])> = (dealers - threshold(dealers)..dealers)
            .map(|place| (place, dealt.share(place).expect("a place").value))
            .collect();
        c.bench_function(&format!("beacon/reconstruct among {dealers}"), |b| {
            b.iter(|| dealing.reconstruct(black_box(&shares), dealers).expect("enough shares"));
        });
    }
    let identity = Identity::generate(&mut SeededEntropy::new(2));
    let mut group = c.benchmark_group("beacon");
    group.sample_size(10);
    group.bench_function("one-time secrets of 65,536 epochs", |b| {
        b.iter(|| {
            OneTimeSecrets::new(&identity, &[1; 32].into(), Epoch(1), ONE_TIME_SECRETS).key()
        });
    });
}

fn rosters(c: &mut Criterion) {
    let rng = &mut SeededEntropy::new(3);
    let seats: Vec<(SwarmId, NodeId)> =
        (0..1_000).map(|n| (SwarmId(n % 100), rng.bytes32().into())).collect();
    c.bench_function("roster/1,000 nodes, one node's targets", |b| {
        b.iter(|| {
            let randomness = Digest::from([4; 32]);
            Roster::new(black_box(&randomness), Epoch(5), &seats, 10).targets(&seats[0].1)
        });
    });
}

criterion_group!(benches, certificates, beacon, rosters);
criterion_main!(benches);
