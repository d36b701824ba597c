//! Sessions of a committee in one process: computing time only. The network and the world answer at
//! once in it, and signatures cost nothing; what those take comes on top.
//!
//! The last lines are measured once: memory of sessions that wait, and going on after a crash.

#![allow(dead_code, reason = "the harness of the tests has more than is measured here")]
#![allow(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(clippy::print_stdout, reason = "the figures that criterion does not take")]
#![allow(clippy::disallowed_methods, reason = "a benchmark measures time")]

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use session_core::{Context, Machine, Span};
use session_executor::engine::Runner;
use session_executor::{Effect, Executor, Note};
use session_storage::Store;

#[path = "../tests/it/program.rs"]
mod program;
#[path = "../tests/it/world.rs"]
mod world;

use program::{echo, reads};
use world::World;

/// Runs one session from its creation to the chain's word that it ended.
fn session(world: &mut World, program: &program::Program) {
    world.create(4, program, b"in");
    while !world.sessions.is_empty() {
        assert!(world.step(), "nothing happens any more");
    }
}

fn whole_sessions(c: &mut Criterion) {
    let mut world = World::new(1, 4);
    let (plain, asking) = (echo(), reads(1));
    c.bench_function("create to finalize, 4 members, no I/O", |b| {
        b.iter(|| session(&mut world, &plain));
    });
    c.bench_function("create to finalize, 4 members, one read", |b| {
        b.iter(|| session(&mut world, &asking));
    });
}

fn percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100];
    println!("{what}: p50 {:?}, p99 {:?}, {} times", at(50), at(99), times.len());
}

/// Returns how long each round took all four members together.
fn rounds() {
    let mut world = World::new(2, 4);
    world.create(0, &reads(500), b"in");
    let decided = |world: &World| {
        let of = |note: &&Note| matches!(note, Note::Decided { .. });
        world.nodes[0].notes.iter().filter(of).count()
    };
    let (mut times, mut before, mut began) = (Vec::new(), 0, Instant::now());
    while before < 490 {
        assert!(world.step(), "nothing happens any more");
        let now = decided(&world);
        if now > before {
            times.push(began.elapsed());
            (before, began) = (now, Instant::now());
        }
    }
    percentiles("one round of reading, 4 members together", times);
    replay(&mut world);
}

/// Takes up a session of almost 1,000 steps from its journal.
fn replay(world: &mut World) {
    let config = world.config(0);
    let began = Instant::now();
    let mut exec = Executor::new(config);
    let mut effects = Vec::new();
    let (now, node) = (world.now, &mut world.nodes[0]);
    let store: &mut dyn Store = &mut node.store;
    let mut cx = Context { now, store, rng: &mut world.rng, effects: &mut effects };
    exec.tick(&mut cx);
    let read = began.elapsed();
    let mut runner = Runner::new(1);
    for effect in effects {
        if let Effect::Run(job) = effect {
            let answers = runner.run(&job).answers;
            println!(
                "replay of {} steps: journal {read:?}, all {:?}",
                2 * answers,
                began.elapsed()
            );
        }
    }
}

fn resident_bytes() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let resident = pages.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    resident.unwrap_or(0) * 4096
}

/// Has a chain open so many sessions to four members and a fifth node; returns what the members
/// hold beyond the chain's view, in bytes for each session and member, and how long all took.
fn open_many(world: &mut World, program: &program::Program, count: usize) -> (usize, Duration) {
    for node in 0..4 {
        world.upload(node, program, b"in");
    }
    for _ in 0..count {
        world.open(program, b"in", Span::from_days(1));
    }
    let (before, began) = (resident_bytes(), Instant::now());
    world.block();
    world.run_for(Span::from_millis(300));
    (resident_bytes().saturating_sub(before) / (4 * count), began.elapsed())
}

/// Sessions that wait for a place, and sessions that wait for the world; the latter with their
/// journals, which these members keep in memory, too.
fn waiting() {
    let count = 10_000;
    let mut world = World::with(3, 4, 0);
    let (each, took) = open_many(&mut world, &echo(), count);
    assert_eq!(world.nodes[0].exec.as_ref().map(Executor::waiting), Some(count));
    let took = took / 5;
    println!("{count} sessions wait for a place: {each} bytes each, the view taken in in {took:?}");
    let count = 1_000;
    let mut world = World::with(3, 4, count);
    world.answers_after = 60_000;
    let (each, _) = open_many(&mut world, &reads(1), count);
    assert_eq!(world.nodes[0].exec.as_ref().map(Executor::running), Some(count));
    println!(
        "{count} sessions wait for the world: {each} bytes each, with journal and test harness"
    );
}

fn figures(_: &mut Criterion) {
    // First, while nothing was given back that could be taken again.
    waiting();
    rounds();
    let mut world = World::new(4, 4);
    let plain = echo();
    let mut times = Vec::new();
    for _ in 0..200 {
        let began = Instant::now();
        session(&mut world, &plain);
        times.push(began.elapsed());
    }
    let each = times.iter().sum::<Duration>() / 200 / 4;
    println!("one member: {:.0} sessions without I/O per second", 1.0 / each.as_secs_f64());
    percentiles("create to finalize without I/O, 4 members together", times);
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(3));
    targets = figures, whole_sessions
}
criterion_main!(benches);
