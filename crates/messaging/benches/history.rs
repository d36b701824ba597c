//! What a long history costs: 100,000 messages in 50 threads, in memory.

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use session_core::{AccountId, Entropy as _, SeededEntropy, Text, Time};
use session_crypto::SymmetricKey;
use session_messaging::backup;
use session_messaging::say::{DeviceId, Peer, Said, Say, SayId};
use session_messaging::thread::{self, ThreadId};
use session_messaging::vault::MemoryVault;

const MESSAGES: u64 = 100_000;
const THREADS: u8 = 50;

/// Words that make texts of about a hundred bytes, some of them beyond ASCII.
const WORDS: [&str; 16] = [
    "the", "train", "leaves", "at", "seven", "Thursday", "maybe", "we", "should", "meet", "café",
    "before", "naïve", "question", "and", "bring",
];

fn texts(rng: &mut SeededEntropy) -> String {
    let words = (0..16).map(|_| WORDS[rng.below(16) as usize]);
    words.collect::<Vec<_>>().join(" ")
}

fn say(vault: &mut MemoryVault, rng: &mut SeededEntropy, number: u64, thread: ThreadId) {
    let body = Text::new(texts(rng)).expect("short");
    let now = Time::from_millis(1_000_000 + number * 1000);
    let say = Say::Text { body, reply_to: None };
    let said = Said { id: SayId::generate(rng), sent_at: now, say };
    let own = number.is_multiple_of(2);
    let author = AccountId::from([u8::from(own); 32]);
    let device = DeviceId::default();
    thread::apply(vault, now, thread, author, device, own, &said, &[AccountId::from([9; 32])]);
}

fn history() -> (MemoryVault, Vec<ThreadId>) {
    let mut rng = SeededEntropy::new(1);
    let mut vault = MemoryVault::new();
    let peer = |number| Peer::Account { account: AccountId::from([number; 32]) };
    let threads: Vec<_> = (0..THREADS)
        .map(|number| thread::open_thread(&mut vault, &peer(number), Time::ZERO))
        .collect();
    for number in 0..MESSAGES {
        // Half of everything is said in one thread.
        let which = rng.below(2 * u64::from(THREADS)) as usize;
        let thread = threads.get(which).copied().unwrap_or(threads[0]);
        say(&mut vault, &mut rng, number, thread);
    }
    (vault, threads)
}

fn bench(criterion: &mut Criterion) {
    let (mut vault, threads) = history();
    let mut rng = SeededEntropy::new(2);
    let mut group = criterion.benchmark_group("history of 100,000 messages");
    group.sample_size(10);
    group.bench_function("everything from the beginning", |bencher| bencher.iter(history));
    group.bench_function("list of threads", |bencher| bencher.iter(|| thread::threads(&vault)));
    group.bench_function("page of 50", |bencher| {
        bencher.iter(|| thread::messages(&vault, threads[1], None, 50));
    });
    for (name, query) in [
        ("search, in every third message", "thursday ca"),
        ("search, in no message, all words common", "naive cafe the tuesday"),
        ("search, no such word", "zeppelin"),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| thread::search(&vault, query, 50));
        });
    }
    group.bench_function("read 1,000 at once", |bencher| {
        let later = Time::from_millis(u64::MAX / 4);
        bencher.iter_batched(
            || {
                let mut vault = MemoryVault::new();
                let peer = Peer::Account { account: AccountId::default() };
                let thread = thread::open_thread(&mut vault, &peer, Time::ZERO);
                (0..1000).for_each(|number| say(&mut vault, &mut rng, 2 * number + 1, thread));
                (vault, thread)
            },
            |(mut vault, thread)| thread::mark_read(&mut vault, later, thread, u64::MAX),
            BatchSize::LargeInput,
        );
    });
    let key = SymmetricKey::from([1; 32]);
    let export = |vault| backup::export(vault, &key, &mut SeededEntropy::new(3), Time::ZERO);
    group.bench_function("backup", |bencher| bencher.iter(|| export(&vault)));
    let bytes = export(&vault);
    group.bench_function("restore on an empty device", |bencher| {
        bencher.iter(|| {
            backup::import(&mut MemoryVault::new(), &key, Time::ZERO, &bytes).expect("it is whole")
        });
    });
    let mut number = MESSAGES;
    group.bench_function("one more message", |bencher| {
        bencher.iter(|| {
            number += 1;
            say(&mut vault, &mut rng, number, threads[0]);
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
