//! What storage proofs cost a node: `cargo bench -p session-swarm --bench commitment`.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use session_core::{
    ChainId, Entropy as _, Epoch, InboxAddress, List, SeededEntropy, Span, SwarmId, Time,
};
use session_crypto::{Identity, RealVerifier};
use session_protocol::NetworkId;
use session_protocol::beacon::OneTimeSecrets;
use session_protocol::commitment::{Commitment, Leaf, Opening, Shown, Window, answer, tree};
use session_protocol::inbox::{MESSAGES, message_id};
use session_protocol::membership::{NodeRecord, StaticMembership};
use session_protocol::request::ItemBytes;
use session_protocol::roster::{AUDIT_LEAVES, audit_leaves};
use session_protocol::schedule::Schedule;
use session_storage::{MemoryStore, NewItem, Store as _};
use session_swarm::coordinator::scan;

const ITEMS: u64 = 100_000;
const ITEM_BYTES: usize = 1024;
const SWARM: SwarmId = SwarmId(7);
const CHAIN: [u8; 32] = [3; 32];
const LIFE: Span = Span::from_days(14);
const SCHEDULE: Schedule =
    Schedule { start: Time::from_millis(1_700_000_000_000), length: Span::from_secs(3600) };

fn store(items: u64, bytes: usize) -> MemoryStore {
    let mut store = MemoryStore::new(1);
    let mut rng = SeededEntropy::new(1);
    for _ in 0..items {
        // A hundred items in each inbox.
        let mut address = [0; 32];
        address[..8].copy_from_slice(&rng.below(items / 100 + 1).to_be_bytes());
        let address = InboxAddress::from(address);
        let mut data = vec![0; bytes];
        rng.fill(&mut data);
        let id = message_id(&address, MESSAGES, &data);
        let (timestamp, expiry) = (SCHEDULE.start - Span::from_secs(3600), SCHEDULE.start + LIFE);
        let item = NewItem { namespace: MESSAGES, id, timestamp, expiry, data: &data };
        store.put_item(&address, item).expect("it is small");
    }
    store
}

fn membership(keys: &Identity) -> StaticMembership {
    let record = NodeRecord {
        keys: keys.public().clone(),
        address: session_core::Text::new("192.0.2.1:7").expect("it is short"),
        swarm: SWARM,
    };
    StaticMembership::new("bench", vec![record]).expect("one node is a network")
}

fn commit(criterion: &mut Criterion) {
    let keys = Identity::generate(&mut SeededEntropy::new(2));
    let membership = membership(&keys);
    let window = Window::of(&SCHEDULE, Span::from_secs(600));
    let store = store(ITEMS, 32);
    let mut group = criterion.benchmark_group("commitment");
    group.throughput(Throughput::Elements(ITEMS)).sample_size(10);
    group.bench_function("scan of 100,000 items", |bencher| {
        bencher.iter(|| scan(&store, &membership, SWARM, &window));
    });
    let (leaves, _) = scan(&store, &membership, SWARM, &window);
    assert_eq!(leaves.len() as u64, ITEMS);
    group.bench_function("tree over 100,000 items", |bencher| {
        bencher.iter(|| tree(black_box(&leaves)));
    });
    group.finish();
}

fn audit(criterion: &mut Criterion) {
    let mut rng = SeededEntropy::new(3);
    let keys = Identity::generate(&mut rng);
    let membership = membership(&keys);
    let window = Window::of(&SCHEDULE, Span::from_secs(600));
    let store = store(10_000, ITEM_BYTES);
    let (leaves, bytes) = scan(&store, &membership, SWARM, &window);
    let tree = tree(&leaves);
    let count = tree.count();
    let (epoch, root) = (Epoch(5), tree.root());
    let commitment = Commitment { epoch, swarm: SWARM, count, bytes, root };
    let node = keys.public().node_id();
    let wanted = audit_leaves(&root, &node, count);
    let chain = ChainId::from(CHAIN);
    let open = |index: u64| {
        let leaf: Leaf = leaves[usize::try_from(index).expect("it is small")];
        let item = store.item(&leaf.address, &leaf.message).expect("memory does not fail");
        let data = ItemBytes::new(item.expect("it is there").data).expect("it is small");
        let shown = Shown::Item { namespace: MESSAGES, data };
        Opening { leaf, path: tree.prove(index).expect("it is below the count"), shown }
    };
    let make = |rng: &mut SeededEntropy| {
        let openings: List<Opening, AUDIT_LEAVES> =
            List::new(wanted.iter().map(|index| open(*index)).collect::<Vec<_>>()).expect("32");
        answer(&chain, &commitment, openings, &keys, rng)
    };
    let mut group = criterion.benchmark_group("audit");
    group.bench_function("answer with 32 leaves of 1 KiB", |bencher| {
        bencher.iter(|| make(&mut rng));
    });
    let answer = make(&mut rng);
    let network = NetworkId::default();
    group.bench_function("check of 32 leaves of 1 KiB", |bencher| {
        bencher.iter(|| {
            let who = (node, keys.public().dsa());
            answer.verify(&chain, &commitment, who, &RealVerifier).expect("it is signed");
            for opening in &answer.openings {
                opening.verify(&commitment, &window, network, &RealVerifier).expect("it fits");
            }
        });
    });
    group.finish();
}

fn secrets(criterion: &mut Criterion) {
    let keys = Identity::generate(&mut SeededEntropy::new(4));
    let chain = ChainId::from(CHAIN);
    let mut group = criterion.benchmark_group("beacon");
    group.sample_size(10);
    group.bench_function("one-time secrets for 65,536 epochs", |bencher| {
        bencher.iter(|| OneTimeSecrets::new(&keys, &chain, Epoch(2), 65_536));
    });
    group.finish();
}

criterion_group!(benches, commit, audit, secrets);
criterion_main!(benches);
