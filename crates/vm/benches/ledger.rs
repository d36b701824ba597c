//! Execution of transactions whose signatures were checked before: what the rules and the tables
//! cost alone.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use session_core::{AccountId, BlockId, Encode as _, SeededEntropy, Span, Text, Time};
use session_crypto::Signer as _;
use session_crypto::fake::{FakeIdentity, FakeVerifier};
use session_protocol::Verified;
use session_protocol::chain::transaction::{Possession, TRANSACTION_VERSION};
use session_protocol::chain::{Action, Amount, ReceivedTransaction, Transaction};
use session_vm::genesis::{Genesis, GenesisAccount};
use session_vm::ledger::{BlockContext, Ledger};
use session_vm::records::Params;
use session_vm::state::State;

/// As many transactions as a block of 2 MiB holds, roughly.
const TRANSACTIONS: usize = 500;
/// Accounts of a chain that is in use.
const ACCOUNTS: usize = 100_000;
const START: Time = Time::from_millis(1_700_000_000_000);
const NOW: Time = Time::from_millis(1_700_003_600_000);

fn person(number: usize) -> FakeIdentity {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_be_bytes());
    FakeIdentity::new(&seed)
}

struct Bench {
    genesis: Genesis,
    state: State,
    rng: SeededEntropy,
}

impl Bench {
    fn new() -> Self {
        // The senders have keys; the others only make the tables large.
        let entry = |number: usize| {
            let keys = (number < TRANSACTIONS).then(|| person(number).public().clone());
            let other = || session_core::sha256(&number.to_be_bytes()).into();
            let account: AccountId = keys.as_ref().map_or_else(other, |keys| keys.account_id());
            GenesisAccount { account, balance: Amount::lux(1_000), keys }
        };
        let genesis = Genesis {
            name: Text::new("bench").expect("short"),
            time: START,
            params: Params::default(),
            sequencer: None,
            accounts: (0..ACCOUNTS).map(entry).collect(),
            nodes: Vec::new(),
            authority: None,
            supply: None,
        };
        // In the founding epoch registrations would cost more: each changes seats.
        let (chain, parent) = (genesis.chain_id(), BlockId::default());
        let context = BlockContext { chain, parent, height: 1, time: NOW };
        let state = genesis.state().expect("a good genesis");
        let state = Ledger::begin(&state, context).finish().0;
        // Hashes are kept: a block pays only for what it touches.
        let _ = state.root();
        Self { genesis, state, rng: SeededEntropy::new(1) }
    }

    fn context(&self) -> BlockContext {
        let chain = self.genesis.chain_id();
        BlockContext { chain, parent: BlockId::default(), height: 2, time: NOW }
    }

    fn checked(&mut self, sender: usize, action: Action) -> Verified<ReceivedTransaction> {
        let (chain, signer) = (self.genesis.chain_id(), person(sender));
        let tx = Transaction {
            version: TRANSACTION_VERSION,
            chain,
            sender: signer.public().account_id(),
            nonce: 0,
            fee_max: Amount::lux(1),
            expires: NOW + Span::from_secs(60),
            action,
        };
        let bytes = tx.sign(&signer, false, &mut self.rng).to_bytes();
        let received = ReceivedTransaction::parse(&bytes).expect("just made");
        received.check(&chain, Some(signer.public()), &FakeVerifier).expect("just signed")
    }

    fn transfer(&mut self, sender: usize) -> Verified<ReceivedTransaction> {
        let to = person((sender + 1) % TRANSACTIONS).public().account_id();
        self.checked(sender, Action::Transfer { to, amount: Amount(1) })
    }

    fn register(&mut self, sender: usize) -> Verified<ReceivedTransaction> {
        let node = person(sender + ACCOUNTS);
        let endpoint = Text::new(format!("node{sender}:9651")).expect("short");
        let possession = Possession {
            chain: self.genesis.chain_id(),
            operator: person(sender).public().account_id(),
            node: node.public().node_id(),
            endpoint: endpoint.clone(),
        };
        let possession = possession.sign(&node, &mut self.rng);
        let (keys, stake) = (node.public().clone(), Amount::lux(100));
        self.checked(sender, Action::RegisterServiceNode { keys, endpoint, stake, possession })
    }
}

fn execute(state: &State, context: BlockContext, block: &[Verified<ReceivedTransaction>]) -> State {
    let mut ledger = Ledger::begin(state, context);
    for tx in block {
        ledger.execute(tx, &FakeVerifier).expect("a good transaction");
    }
    ledger.finish().0
}

fn ledger(c: &mut Criterion) {
    let mut bench = Bench::new();
    let blocks = [
        ("Transfer", (0..TRANSACTIONS).map(|sender| bench.transfer(sender)).collect::<Vec<_>>()),
        ("RegisterServiceNode", (0..TRANSACTIONS).map(|sender| bench.register(sender)).collect()),
    ];
    let (context, state) = (bench.context(), bench.state);
    let mut group = c.benchmark_group("ledger");
    group.throughput(Throughput::Elements(TRANSACTIONS as u64)).sample_size(20);
    for (name, block) in &blocks {
        group.bench_function(format!("{name}, executed"), |b| {
            b.iter(|| execute(&state, context, block));
        });
        group.bench_function(format!("{name}, executed with the root"), |b| {
            b.iter(|| execute(&state, context, block).root());
        });
    }
    group.finish();
}

criterion_group!(benches, ledger);
criterion_main!(benches);
