//! A block of signed transfers: verified, executed, built. `cargo bench -p session-vm --bench chain`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use session_core::{ChainId, Encode, Entropy, SeededEntropy, Span, Text, Time};
use session_crypto::{Identity, RealVerifier};
use session_protocol::Verified;
use session_protocol::chain::{Action, Amount, ReceivedTransaction, Transaction};
use session_storage::kv::MemoryDatabase;
use session_vm::chain::{Chain, Config, Workers};
use session_vm::genesis::{Genesis, GenesisAccount};
use session_vm::ledger::{BlockContext, Ledger};
use session_vm::records::Params;

const TRANSFERS: u64 = 300;
const START: Time = Time::from_millis(1_700_000_000_000);
const NOW: Time = Time::from_millis(1_700_000_001_000);

/// As many threads as it says, for each block anew.
struct Threads(usize);

impl Workers for Threads {
    fn run(&self, jobs: usize, job: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= jobs {
                    break;
                }
                job(number);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..self.0 {
                scope.spawn(work);
            }
            work();
        });
    }
}

struct Setup {
    genesis: Genesis,
    transfers: Vec<Verified<ReceivedTransaction>>,
    block: Arc<[u8]>,
}

impl Setup {
    fn new() -> Self {
        let mut rng = SeededEntropy::new(1);
        let people: Vec<_> = (0..TRANSFERS).map(|_| Identity::generate(&mut rng)).collect();
        let accounts = people.iter().map(|person| GenesisAccount {
            account: person.public().account_id(),
            balance: Amount::lux(1_000),
            keys: Some(person.public().clone()),
        });
        let genesis = Genesis {
            name: Text::new("bench").expect("short"),
            time: START,
            params: Params::default(),
            sequencer: None,
            accounts: accounts.collect(),
            nodes: Vec::new(),
            authority: None,
            supply: None,
        };
        let chain = genesis.chain_id();
        let transfers = people.iter().map(|person| transfer(person, chain, &mut rng)).collect();
        let mut setup = Self { genesis, transfers, block: Arc::default() };
        let block = setup.with_pool(1).build(NOW).expect("there are transfers");
        assert_eq!(block.transactions as u64, TRANSFERS, "all fit into one block");
        setup.block = block.bytes;
        setup
    }

    fn chain(&self, threads: usize) -> Chain<MemoryDatabase> {
        let config =
            Config { workers: Arc::new(Threads(threads)), ..Config::new(Arc::new(RealVerifier)) };
        let id = self.genesis.chain_id();
        Chain::open(MemoryDatabase::default(), &self.genesis, id, config).expect("it opens")
    }

    fn with_pool(&self, threads: usize) -> Chain<MemoryDatabase> {
        let mut chain = self.chain(threads);
        for transfer in &self.transfers {
            chain.submit_checked(transfer.clone(), NOW).expect("it is fine");
        }
        chain
    }
}

fn transfer(
    person: &Identity,
    chain: ChainId,
    rng: &mut SeededEntropy,
) -> Verified<ReceivedTransaction> {
    let body = Transaction {
        version: 1,
        chain,
        sender: person.public().account_id(),
        nonce: 0,
        fee_max: Amount::lux(1),
        expires: NOW + Span::from_secs(60),
        action: Action::Transfer { to: rng.bytes32().into(), amount: Amount::lux(1) },
    };
    let bytes = body.sign(person, false, rng).to_bytes();
    let received = ReceivedTransaction::parse(&bytes).expect("it was just made");
    received.check(&chain, Some(person.public()), &RealVerifier).expect("it was just signed")
}

fn blocks(c: &mut Criterion) {
    let setup = Setup::new();
    let mut group = c.benchmark_group("block of 300 transfers");
    group.throughput(Throughput::Elements(TRANSFERS));
    for threads in [1, 2] {
        group.bench_function(format!("verify, {threads} threads"), |b| {
            b.iter_batched_ref(
                || setup.chain(threads),
                |chain| chain.verify(&setup.block, NOW).expect("it is valid"),
                BatchSize::PerIteration,
            );
        });
    }
    group.bench_function("verify, signatures known", |b| {
        b.iter_batched_ref(
            || setup.with_pool(1),
            |chain| chain.verify(&setup.block, NOW).expect("it is valid"),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("execute and hash the state", |b| {
        let chain = setup.chain(1);
        let parent = chain.last_accepted().id;
        b.iter(|| {
            let context = BlockContext { chain: *chain.id(), parent, height: 1, time: NOW };
            let mut ledger = Ledger::begin(chain.state(), context);
            for transfer in &setup.transfers {
                ledger.execute(transfer, &RealVerifier).expect("it is fine");
            }
            ledger.finish().0.root()
        });
    });
    group.bench_function("build", |b| {
        b.iter_batched_ref(
            || setup.with_pool(1),
            |chain| chain.build(NOW).expect("there are transfers"),
            BatchSize::PerIteration,
        );
    });
    group.finish();
    c.bench_function("submit a transfer", |b| {
        let bytes = setup.transfers[0].signed.to_bytes();
        b.iter_batched_ref(
            || setup.chain(1),
            |chain| chain.submit(&bytes, NOW).expect("it is fine"),
            BatchSize::PerIteration,
        );
    });
}

criterion_group!(benches, blocks);
criterion_main!(benches);
