//! Makes conversations on disk, and says what opening them again costs.
//!
//! `cargo run --release -p session-vm --example conversations_on_disk -- DIR [COUNT]`
//!
//! `DIR` must not exist; it is left in place. Two participants each, out of 2,000 people. The
//! reopening runs in a process of its own, so that its memory is its own.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for people that measures time"
)]

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Instant;

use session_core::{Entropy, SeededEntropy, Time};
use session_crypto::fake::FakeIdentity;
use session_crypto::{PublicIdentity, Signer};
use session_storage::{DiskStore, Durable, Options};
use session_vm::mailbox::{Config, Cx, Invitation, Mailbox, NewConversation};

const NOW: Time = Time::from_millis(1_700_000_000_000);
const PEOPLE: u64 = 2000;
/// Conversations in one commit.
const GROUP: u64 = 512;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: conversations_on_disk DIR [COUNT]";
    match arguments.next().as_deref() {
        None => Err(usage.into()),
        Some("reopen") => reopen(Path::new(&arguments.next().ok_or(usage)?)),
        Some(dir) => {
            let count = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
            let dir = Path::new(dir);
            if dir.exists() {
                return Err(format!("{} exists already", dir.display()).into());
            }
            make(dir, count)?;
            let program = std::env::current_exe()?;
            let status = Command::new(program).arg("reopen").arg(dir).status()?;
            if status.success() { Ok(()) } else { Err("reopening failed".into()) }
        }
    }
}

fn make(dir: &Path, count: u64) -> Result<(), Failure> {
    let mut store = DiskStore::open(dir, Options::default())?;
    let (mut mailbox, _) = Mailbox::load(Config::default(), &mut store, NOW)?;
    let people: Vec<PublicIdentity> = (0..PEOPLE).map(person).collect();
    let (mut rng, mut events) = (SeededEntropy::new(1), Vec::new());
    let started = Instant::now();
    for number in 0..count {
        let first = rng.below(PEOPLE);
        let second = (first + 1 + rng.below(PEOPLE - 1)) % PEOPLE;
        let invite = |index: u64| {
            let person = &people[usize::try_from(index).unwrap_or(0)];
            Invitation { account: person.account_id(), kem: person.kem().clone(), signing: None }
        };
        let participants = vec![invite(first), invite(second)];
        let mut cx = Cx { now: NOW, store: &mut store, rng: &mut rng, effects: &mut events };
        mailbox.create(&mut cx, NewConversation { participants, ..Default::default() })?;
        events.clear();
        if number % GROUP == GROUP - 1 {
            commit(&mut store)?;
        }
    }
    commit(&mut store)?;
    let took = started.elapsed().as_secs_f64();
    println!("made {count} in {took:.1} s, {:.0} a second", count as f64 / took);
    Ok(())
}

fn reopen(dir: &Path) -> Result<(), Failure> {
    let before = resident_mib();
    let started = Instant::now();
    let mut store = DiskStore::open(dir, Options::default())?;
    let opened = started.elapsed().as_secs_f64();
    let with_store = resident_mib();
    let (mailbox, report) = Mailbox::load(Config::default(), &mut store, NOW)?;
    let loaded = started.elapsed().as_secs_f64() - opened;
    let with_mailbox = resident_mib();
    let count = mailbox.counts().conversations;
    println!("opened the store in {opened:.2} s, {count} conversations in {loaded:.2} s more");
    println!(
        "memory: store {:.0} MiB, conversations {:.0} MiB; {} damaged",
        with_store - before,
        with_mailbox - with_store,
        report.damaged
    );
    Ok(())
}

fn person(number: u64) -> PublicIdentity {
    FakeIdentity::new(&SeededEntropy::new(number).bytes32()).public().clone()
}

fn commit(store: &mut DiskStore) -> Result<(), Failure> {
    let (done, ended) = mpsc::channel();
    store.commit(Box::new(move |result| {
        let _ = done.send(result);
    }));
    Ok(ended.recv()??)
}

fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0");
    let kib: f64 = line.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0.0);
    kib / 1024.0
}
