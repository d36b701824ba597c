//! What a thousand nodes cost those who follow the chain: the turn of an epoch, and the view that
//! nodes act on, after each block.

use std::sync::Arc;

use criterion::{Criterion, criterion_group, criterion_main};
use session_core::{BlockId, SeededEntropy, Span, SwarmId, Text, Time};
use session_crypto::Signer as _;
use session_crypto::fake::FakeIdentity;
use session_protocol::chain::Amount;
use session_vm::chain::BlockInfo;
use session_vm::genesis::{Genesis, GenesisNode};
use session_vm::ledger::{BlockContext, Ledger};
use session_vm::records::Params;
use session_vm::state::State;
use session_vm::view::chain_view;

const NODES: u64 = 1_000;
const START: Time = Time::from_millis(1_700_000_000_000);
const HOUR: Span = Span::from_secs(3600);

fn genesis() -> Genesis {
    let mut rng = SeededEntropy::new(1);
    let mut node = |number: u64| {
        let keys = FakeIdentity::generate(&mut rng).public().clone();
        GenesisNode {
            operator: keys.account_id(),
            keys,
            endpoint: Text::new(format!("node{number}:9651")).expect("short"),
            stake: Amount::lux(100),
            swarm: SwarmId((number / 10) << 54),
        }
    };
    Genesis {
        name: Text::new("bench").expect("short"),
        time: START,
        params: Params::default(),
        sequencer: None,
        accounts: Vec::new(),
        nodes: (0..NODES).map(&mut node).collect(),
        authority: None,
        supply: None,
    }
}

fn turn(genesis: &Genesis, state: &State, epoch: u64) -> State {
    let context = BlockContext {
        chain: genesis.chain_id(),
        parent: BlockId::default(),
        height: epoch,
        time: START + Span::from_millis(HOUR.as_millis() * epoch),
    };
    Ledger::begin(state, context).finish().0
}

fn info(state: &State, height: u64) -> BlockInfo {
    BlockInfo {
        id: BlockId::default(),
        parent: BlockId::default(),
        height,
        time: START,
        state_root: state.root(),
        transactions: 0,
        bytes: Arc::from([]),
    }
}

fn nodes(c: &mut Criterion) {
    let genesis = genesis();
    let chain = genesis.chain_id();
    let first = genesis.state().expect("a good genesis");
    let second = turn(&genesis, &first, 1);
    let (before, after) = (info(&first, 0), info(&second, 1));
    let last = chain_view(&first, chain, &before, None);
    let mut group = c.benchmark_group("1,000 nodes");
    group.sample_size(20);
    group.bench_function("view, nothing changed", |b| {
        b.iter(|| chain_view(&first, chain, &before, Some(&last)));
    });
    group.bench_function("view, the epoch turned", |b| {
        b.iter(|| chain_view(&second, chain, &after, Some(&last)));
    });
    group.bench_function("view, read anew", |b| {
        b.iter(|| chain_view(&second, chain, &after, None));
    });
    group.bench_function("turn of an epoch, with the root", |b| {
        b.iter(|| turn(&genesis, &second, 2).root());
    });
    group.finish();
}

criterion_group!(benches, nodes);
criterion_main!(benches);
