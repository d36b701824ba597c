//! What conversations cost a device, from what is said to the item and back.
//! `cargo bench -p session-sdk --bench conversations [-- MEASUREMENT…]`.
//!
//! The swarm is a map in memory: no network, no node's signature. Vaults are in memory or, as those
//! of programs are, SQLite on the disk with an fsync for each transaction. Beside the time stands
//! what of it the CPU worked: on a busy machine only that tells something.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "the figures are what the bench is for, and it measures time"
)]

mod world;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use session_core::{AccountId, Entropy as _, SeededEntropy, Text, Time};
use session_messaging::messenger::api::{Answer, Command};
use session_messaging::messenger::{Config, Messenger};
use session_messaging::say::{DeviceId, Peer, Said, Say, SayId};
use session_messaging::thread;

use world::{Device, Kind, Post, Store, World};

/// What is said: as long as people's messages are.
const TEXT: &str =
    "The train leaves at seven on Thursday, maybe we should meet at the café before.";

/// Messages of a measurement.
const MESSAGES: usize = 640;
/// Commands that share a transaction, as the SDK's owner lets them.
const TOGETHER: usize = 64;

const CONVERSATIONS: usize = 1000;
const HISTORY: u64 = 100_000;
const THREADS: u8 = 50;

fn text() -> Say {
    Say::Text { body: Text::new(TEXT).expect("short"), reply_to: None }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|it| it != "--bench").collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let scratch = tempfile::tempdir().expect("a directory for temporary files");
    match args[..] {
        ["open-conversations", home] => return open_conversations(Path::new(home)),
        ["open-history", home] => return open_history(Path::new(home)),
        // `cargo test` runs benches, too.
        [] if !std::env::args().any(|it| it == "--bench") => return,
        _ => {}
    }
    let wanted = |name| args.is_empty() || args.contains(&name);
    if wanted("first-contact") {
        first_contact(scratch.path());
    }
    if wanted("messages") {
        messages(scratch.path());
    }
    if wanted("history") {
        history(&scratch.path().join("history"));
    }
    if wanted("conversations") {
        conversations(&scratch.path().join("conversations"));
    }
}

/// Runs a measurement in a process of its own: its memory is fresh.
fn alone(what: &str, home: &Path) {
    let program = std::env::current_exe().expect("this program");
    let ended = std::process::Command::new(program).arg(what).arg(home).status();
    assert!(ended.is_ok_and(|it| it.success()), "{what}");
}

fn first_contact(scratch: &Path) {
    let mut world = World::new(Post::default());
    let alice = world.join(1, Kind::Memory, scratch);
    let bob = world.join(2, Kind::Memory, scratch);
    world.run();
    println!("first contact, bytes of items:");
    println!("  each has published {}", world.sizes(alice));
    world.clear_sizes();
    let peer = world.peer(bob);
    world.order(alice, Command::Say { to: peer, say: text() });
    println!("  the first message: alice stored {}", world.sizes(alice));
    println!("  alice read {}, bob read {}", world.reads(alice), world.reads(bob));
    println!("  bob stored {}", world.sizes(bob));
    world.clear_sizes();
    world.order(alice, Command::Say { to: peer, say: text() });
    println!("  the second message: alice stored {}", world.sizes(alice));
}

/// Makes a conversation: of two people, or a group.
fn talkers(world: &mut World, people: usize, kind: Kind, scratch: &Path) -> Peer {
    for number in 0..people {
        world.join(number + 1, kind, scratch);
    }
    world.run();
    if people == 2 {
        let peer = world.peer(1);
        world.order(0, Command::Say { to: peer, say: text() });
        let back = world.peer(0);
        world.order(1, Command::Say { to: back, say: text() });
        return peer;
    }
    let members = (1..people).map(|it| world.devices[it].account()).collect();
    let made = Command::CreateGroup { name: "bench".into(), members, history: 0 };
    let Answer::Group { group, missing, .. } = world.order(0, made) else { panic!("not a group") };
    assert_eq!(missing, []);
    let peer = Peer::Group { group };
    for who in 0..people {
        world.order(who, Command::Say { to: peer, say: text() });
    }
    peer
}

fn messages(scratch: &Path) {
    println!(
        "| vault | people | in a transaction | sent | of it CPU | received | of it CPU | sent/s |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for (kind, name) in [(Kind::Memory, "memory"), (Kind::File, "SQLite")] {
        for people in [2, 10] {
            let home = scratch.join(format!("{name}-{people}"));
            std::fs::create_dir_all(&home).expect("a directory");
            let mut world = World::new(Post::default());
            let peer = talkers(&mut world, people, kind, &home);
            for together in [1, TOGETHER] {
                let (sent, received) = exchange(&mut world, &peer, together);
                let each = |time: Duration| time.as_secs_f64() * 1e6 / MESSAGES as f64;
                println!(
                    "| {name} | {people} | {together} | {} | {:.0} |",
                    [sent.time, sent.cpu, received.time, received.cpu]
                        .map(|it| format!("{:.0} µs", each(it)))
                        .join(" | "),
                    1e6 / each(sent.time)
                );
            }
        }
    }
}

/// What something took: time, and work of this thread.
#[derive(Default)]
struct Took {
    time: Duration,
    cpu: Duration,
}

impl Took {
    fn take<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let (start, cpu) = (Instant::now(), cpu());
        let result = work();
        self.time += start.elapsed();
        self.cpu += self::cpu().saturating_sub(cpu);
        result
    }
}

/// Returns how long this thread has worked.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux");
    let nanoseconds = stat.split(' ').next().and_then(|it| it.parse().ok());
    Duration::from_nanos(nanoseconds.expect("a number"))
}

/// Says a lot; returns what it took until all is known to be stored, and until another has it all
/// in its history.
fn exchange(world: &mut World, peer: &Peer, together: usize) -> (Took, Took) {
    let (mut sent, mut received) = (Took::default(), Took::default());
    let before = world.devices[1].shown();
    for _ in 0..MESSAGES / together {
        let now = world.now;
        let commands = (0..together).map(|_| Command::Say { to: *peer, say: text() }).collect();
        let mut effects = sent.take(|| world.devices[0].say(now, commands));
        loop {
            let inputs = world.post(0, effects);
            if inputs.is_empty() {
                break;
            }
            effects = sent.take(|| world.devices[0].handle(now, inputs));
        }
        let inputs = world.arrived(1);
        let effects = received.take(|| world.devices[1].handle(now, inputs));
        world.keep(1, effects);
    }
    world.run();
    assert_eq!(world.devices[1].shown() - before, MESSAGES, "all are shown");
    (sent, received)
}

/// Says a hundred thousand things in fifty threads, half of them in one.
fn history(home: &Path) {
    std::fs::create_dir_all(home).expect("a directory");
    let mut store = Store::open(Kind::File, home);
    let mut rng = SeededEntropy::new(1);
    store.transaction(|vault| world::create(vault, 1));
    let peer = |number| Peer::Account { account: AccountId::from([number; 32]) };
    let mut threads = Vec::new();
    store.transaction(|vault| {
        threads.extend((0..THREADS).map(|it| thread::open_thread(vault, &peer(it), Time::ZERO)));
    });
    let start = Instant::now();
    for first in (0..HISTORY).step_by(1000) {
        store.transaction(|vault| {
            for number in first..first + 1000 {
                let which = rng.below(2 * u64::from(THREADS));
                let thread = threads.get(which as usize).copied().unwrap_or(threads[0]);
                let now = Time::from_millis(1_000_000 + number * 1000);
                let said = Said { id: SayId::generate(&mut rng), sent_at: now, say: text() };
                let (own, other) = (number % 2 == 0, AccountId::from([9; 32]));
                let author = AccountId::from([u8::from(own); 32]);
                let device = DeviceId::default();
                thread::apply(vault, now, thread, author, device, own, &said, &[other]);
            }
        });
    }
    drop(store);
    let bytes = std::fs::metadata(home.join(world::VAULT)).expect("a vault").len();
    println!(
        "{HISTORY} messages: taken in {:.1} s, {} MB",
        start.elapsed().as_secs_f64(),
        bytes / 1_000_000
    );
    alone("open-history", home);
    alone("open-history", home);
}

fn open_history(home: &Path) {
    let began = Instant::now();
    let mut last = began;
    let mut step = |what: &str| {
        let now = Instant::now();
        println!("  {what}: {:.1} ms", (now - last).as_secs_f64() * 1000.0);
        last = now;
    };
    let store = Store::open(Kind::File, home);
    step("open the vault");
    let _messenger = Messenger::open(store.vault(), Config::default()).expect("an account");
    step("open the messenger");
    let threads = thread::threads(store.vault());
    step("list of threads");
    let page = thread::messages(store.vault(), threads[0].id, None, 50);
    step("page of 50");
    assert_eq!((threads.len(), page.len()), (usize::from(THREADS), 50));
    println!("  together: {:.1} ms, {:.1} MB", began.elapsed().as_secs_f64() * 1000.0, resident());
}

fn conversations(home: &Path) {
    std::fs::create_dir_all(home).expect("a directory");
    let mut world = World::new(Post::default());
    let alice = world.join(1, Kind::File, home);
    world.run();
    let start = Instant::now();
    for number in 0..CONVERSATIONS {
        let bob = world.join(number + 2, Kind::Memory, home);
        world.run();
        let peer = world.peer(bob);
        world.order(alice, Command::Say { to: peer, say: text() });
        let back = world.peer(alice);
        world.order(bob, Command::Say { to: back, say: text() });
        world.devices.pop();
    }
    println!("{CONVERSATIONS} conversations: begun in {:.0} s", start.elapsed().as_secs_f64());
    drop(world);
    alone("open-conversations", home);
}

fn open_conversations(home: &Path) {
    let before = resident();
    let start = Instant::now();
    let mut device = Device::open(Kind::File, home);
    device.handle(world::BEGIN, Vec::new());
    let threads = thread::threads(device.vault());
    assert_eq!(threads.len(), CONVERSATIONS);
    let opened = start.elapsed().as_secs_f64() * 1000.0;
    println!("  open, all watched: {opened:.0} ms; {before:.1} MB before, {:.1} MB", resident());
    let start = Instant::now();
    for summary in &threads {
        device.say(world::BEGIN, vec![Command::Say { to: summary.peer, say: text() }]);
    }
    let each = start.elapsed().as_secs_f64() * 1e6 / CONVERSATIONS as f64;
    println!("  a message to each: {each:.0} µs for one; {:.1} MB", resident());
}

/// Returns what of this process is in memory, in MB.
fn resident() -> f64 {
    let statm = std::fs::read_to_string(PathBuf::from("/proc/self/statm")).expect("Linux");
    let pages = statm.split(' ').nth(1).and_then(|it| it.parse::<f64>().ok()).expect("a number");
    pages * 4096.0 / 1e6
}
