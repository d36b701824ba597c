//! The state at a million entries. `cargo bench -p session-vm --bench state`.
//!
//! Before the measurements it prints how much memory an entry takes.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use session_core::{Entropy, SeededEntropy};
use session_vm::state::State;

const ENTRIES: usize = 1_000_000;
const CHANGES: usize = 1_000;
const VALUE_BYTES: usize = 64;

type Entry = (Vec<u8>, Vec<u8>);

/// Entries of one tag and a random identifier, in order.
fn entries() -> Vec<Entry> {
    let mut rng = SeededEntropy::new(1);
    let mut entries: Vec<Entry> = (0..ENTRIES).map(|_| (key(&mut rng), value(&mut rng))).collect();
    entries.sort();
    entries
}

fn key(rng: &mut SeededEntropy) -> Vec<u8> {
    [&[0x10], rng.bytes32().as_slice()].concat()
}

fn value(rng: &mut SeededEntropy) -> Vec<u8> {
    let mut value = vec![0; VALUE_BYTES];
    rng.fill(&mut value);
    value
}

/// The memory of this process that is in use, in bytes.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<usize>().ok());
    kib.unwrap_or_default() * 1024
}

/// Half of the changes replace values, half add entries.
fn changes(entries: &[Entry], rng: &mut SeededEntropy) -> Vec<Entry> {
    let mut one = |n: usize| {
        let known = &entries[rng.below(ENTRIES as u64) as usize].0;
        let key = if n.is_multiple_of(2) { known.clone() } else { key(rng) };
        (key, value(rng))
    };
    (0..CHANGES).map(&mut one).collect()
}

fn build(entries: &[Entry]) -> State {
    State::from_entries(entries.iter().map(|(key, value)| (key, value)))
}

fn apply(state: &mut State, changes: Vec<Entry>) {
    for (key, value) in changes {
        state.put(&key, value);
    }
}

#[expect(clippy::print_stderr, reason = "a figure beside criterion's")]
fn state(c: &mut Criterion) {
    let entries = entries();
    let before = memory();
    let state = build(&entries);
    let root = state.root();
    let bytes = memory().saturating_sub(before) / ENTRIES;
    eprintln!("memory: {bytes} bytes for each entry of {} bytes", 33 + VALUE_BYTES);

    let mut rng = SeededEntropy::new(2);
    c.bench_function("state/block of 1000 changes on 1M entries, with root", |b| {
        b.iter_batched(
            || (state.clone(), changes(&entries, &mut rng)),
            |(mut state, changes)| {
                apply(&mut state, changes);
                (state.root(), state)
            },
            BatchSize::PerIteration,
        );
    });
    c.bench_function("state/block of 1000 changes on 1M entries, without root", |b| {
        b.iter_batched(
            || (state.clone(), changes(&entries, &mut rng)),
            |(mut state, changes)| {
                apply(&mut state, changes);
                state
            },
            BatchSize::PerIteration,
        );
    });
    let mut any = || entries[rng.below(ENTRIES as u64) as usize].0.as_slice();
    c.bench_function("state/get of 1M", |b| b.iter(|| black_box(state.get(any()))));
    c.bench_function("state/prove of 1M", |b| b.iter(|| state.prove(any())));
    let key = any();
    let proof = state.prove(key);
    c.bench_function("state/verify of 1M", |b| {
        b.iter(|| proof.verify(black_box(key), &root).is_ok());
    });
    c.bench_function("state/range over 1M", |b| b.iter(|| state.range(b"\x10").count()));

    let mut group = c.benchmark_group("state/1M entries");
    group.sample_size(10);
    group.bench_function("from_entries", |b| {
        b.iter_with_large_drop(|| build(&entries));
    });
    group.bench_function("from_entries, with root", |b| {
        b.iter_with_large_drop(|| {
            let state = build(&entries);
            (state.root(), state)
        });
    });
    group.finish();
}

criterion_group!(benches, state);
criterion_main!(benches);
