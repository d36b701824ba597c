//! What a message of two people, and a first contact, cost. `cargo bench -p session-messaging --bench boxes`.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use session_core::{Blob, Encode as _, List, SeededEntropy, Time};
use session_crypto::fake::FakeIdentity;
use session_crypto::{Signer as _, SymmetricKey, XWingSecret};
use session_messaging::boxes::{self, Place};
use session_messaging::chain::Chain;
use session_messaging::intro::{self, Intro, IntroBody};
use session_messaging::say::{DeviceId, GroupId};
use session_messaging::{Secret, mailbox};
use session_protocol::inbox::Mailbox;
use session_protocol::manifest::{Directory, IntroRoute, Manifest};

/// What fills a box of 1 KiB.
const KIB: [u8; 1024 - boxes::OVERHEAD] = [0x5a; 1024 - boxes::OVERHEAD];

fn place() -> Place {
    Place { address: [1; 32].into(), group: GroupId { bytes: [2; 32] }, epoch: 3 }
}

fn start() -> Chain {
    Chain::start(&SymmetricKey::from([4; 32]), &place(), 0)
}

fn chains(c: &mut Criterion) {
    let mut rng = SeededEntropy::new(1);
    let mut sender = start();
    c.bench_function("chain/seal 1 KiB", |b| {
        b.iter(|| sender.seal(&place(), black_box(&KIB), &mut rng).expect("fits"));
    });

    let first = start().seal(&place(), &KIB, &mut rng).expect("fits");
    c.bench_function("chain/open 1 KiB", |b| {
        let open = |mut chain: Chain| chain.open(&place(), black_box(&first)).expect("opens");
        b.iter_batched(start, open, BatchSize::SmallInput);
    });

    let (mut sender, mut last) = (start(), first.clone());
    for _ in 0..=1001 {
        last = sender.seal(&place(), &KIB, &mut rng).expect("fits");
    }
    let mut chain = start();
    c.bench_function("chain/refuse a box of another chain", |b| {
        b.iter(|| chain.open(&place(), black_box(&last)).expect_err("too far ahead"));
    });

    let key = SymmetricKey::from([5; 32]);
    for size in [1 << 10, 16 << 10, 64 << 10] {
        let content = vec![0x5a; size - boxes::OVERHEAD];
        c.bench_function(&format!("header/seal+open {} KiB", size >> 10), |b| {
            b.iter(|| {
                let item = boxes::seal_header(&key, &place(), &content, &mut rng).expect("fits");
                boxes::open_header(&key, &place(), black_box(&item)).expect("opens")
            });
        });
    }
    let seed = Secret::from([6; 32]);
    c.bench_function("mailbox/derive with address", |b| {
        b.iter(|| mailbox::lane(&seed, &mailbox::Lane::All, black_box(20_000)).address());
    });
}

fn xwing(c: &mut Criterion) {
    let mut rng = SeededEntropy::new(2);
    c.bench_function("xwing/key from seed", |b| {
        b.iter(|| XWingSecret::from_seed(black_box(&[9; 32])).public());
    });
    let secret = XWingSecret::from_seed(&[9; 32]);
    let public = secret.public();
    c.bench_function("xwing/encapsulate", |b| b.iter(|| public.encapsulate(&mut rng)));
    let (ciphertext, _) = public.encapsulate(&mut rng);
    c.bench_function("xwing/decapsulate", |b| {
        b.iter(|| secret.decapsulate(black_box(&ciphertext)));
    });
}

fn intros(c: &mut Criterion) {
    let mut rng = SeededEntropy::new(3);
    let secret = XWingSecret::from_seed(&[9; 32]);
    let mailbox = Mailbox::derive(&SymmetricKey::from([1; 32]), &[b"intro"]);
    let key = Blob::new(secret.public().as_ref()).expect("the size of a key");
    let route = IntroRoute { key_id: 1, key, rule: mailbox.rule(), write: mailbox.write.clone() };
    let identity = FakeIdentity::new(&[1; 32]);
    let manifest = Manifest {
        version: 1,
        network: [0x4e; 32].into(),
        keys: identity.public().clone(),
        seq: 1,
        previous: [0; 32].into(),
        made: Time::from_millis(1),
        expiry: Time::from_millis(2),
        intro: route.clone(),
        directory: Directory { rule: mailbox.rule(), read: mailbox.read.clone() },
        devices: List::new([]).expect("none"),
        legacy: None,
    };
    // A first contact: two devices in the tree.
    let intro = Intro {
        version: 1,
        sender: manifest.sign(&identity, &mut rng),
        device: DeviceId([1; 16]),
        body: IntroBody::Welcome {
            group: GroupId { bytes: [2; 32] },
            epoch: 1,
            route: Secret::from([3; 32]),
            welcome: Blob::new(vec![4; 4776]).expect("short"),
            tree: Blob::new(vec![5; 14_309]).expect("short"),
            history: List::new([]).expect("none"),
        },
    };
    c.bench_function("intro/seal", |b| {
        b.iter(|| intro::seal(black_box(&intro), &route, &mut rng).expect("fits"));
    });
    let item = intro::seal(&intro, &route, &mut rng).expect("fits").remove(0);
    assert_eq!(item.len(), 32 << 10, "a first contact is one item: {}", intro.to_bytes().len());
    c.bench_function("intro/open", |b| {
        b.iter(|| intro::open(&secret, &mailbox.address(), black_box(&item)).expect("opens"));
    });
}

criterion_group!(benches, chains, xwing, intros);
criterion_main!(benches);
