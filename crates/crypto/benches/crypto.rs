//! The operations that the rest of the system pays for. `cargo bench -p session-crypto`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use session_core::{Domain, SeededEntropy};
use session_crypto::{Identity, PreparedKemKey, RealVerifier, Signer, Verifier, envelope, seed};

const KIB: [u8; 1024] = [0x5a; 1024];

fn identities(c: &mut Criterion) {
    let mut rng = SeededEntropy::new(1);
    c.bench_function("identity/generate", |b| b.iter(|| Identity::generate(&mut rng)));
}

fn kem(c: &mut Criterion) {
    let mut rng = SeededEntropy::new(2);
    let bob = Identity::generate(&mut rng);
    c.bench_function("kem/encapsulate+decapsulate, keys as bytes", |b| {
        b.iter(|| {
            let (ciphertext, _) = bob.public().kem().encapsulate(&mut rng);
            bob.kem_secret().decapsulate(black_box(&ciphertext))
        });
    });
    let prepared = PreparedKemKey::new(bob.public().kem());
    c.bench_function("kem/encapsulate+decapsulate, keys prepared", |b| {
        b.iter(|| {
            let (ciphertext, _) = prepared.encapsulate(&mut rng);
            bob.decapsulate(black_box(&ciphertext))
        });
    });
}

fn signatures(c: &mut Criterion) {
    let mut rng = SeededEntropy::new(3);
    let alice = Identity::generate(&mut rng);
    let key = alice.public().dsa();
    // How often signing starts over depends on the message: every round signs another one.
    let mut round = 0u64;
    c.bench_function("dsa/sign+verify", |b| {
        b.iter(|| {
            round += 1;
            let message = round.to_be_bytes();
            let signature = alice.sign(Domain::OwnerOperation, &message, &mut rng);
            RealVerifier.verify(key, Domain::OwnerOperation, &message, black_box(&signature))
        });
    });
    let signature = alice.sign(Domain::OwnerOperation, &KIB, &mut rng);
    c.bench_function("dsa/verify", |b| {
        b.iter(|| RealVerifier.verify(key, Domain::OwnerOperation, &KIB, black_box(&signature)));
    });
}

fn messages(c: &mut Criterion) {
    let mut rng = SeededEntropy::new(4);
    let (alice, bob) = (Identity::generate(&mut rng), Identity::generate(&mut rng));
    c.bench_function("envelope/seal+open 1 KiB", |b| {
        b.iter(|| {
            let sealed = envelope::seal(&alice, bob.public(), b"", &KIB, &mut rng).expect("fits");
            envelope::open(&bob, b"", black_box(&sealed)).expect("opens")
        });
    });
    c.bench_function("seed/encrypt+decrypt 1 KiB", |b| {
        b.iter(|| {
            let sealed = seed::encrypt_to(bob.public(), &KIB, &mut rng);
            seed::decrypt_from_sender(&bob, black_box(&sealed)).expect("opens")
        });
    });
}

criterion_group!(benches, identities, kem, signatures, messages);
criterion_main!(benches);
