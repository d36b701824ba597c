//! What key agreement costs, in bytes and time. `cargo bench -p session-messaging --bench mls`.
//!
//! Times are medians of 15 rounds. *Cold*: the group is read from the vault for the call, as after
//! a start. *Warm*: it stayed in memory.
//!
//! Two states of a group are measured. *Fresh*: one member has added everybody and nobody else has
//! committed yet, so a commit is encrypted to each leaf. *Settled*: everybody has committed, so it
//! is encrypted to one node on each level of the tree.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "the tables are what the bench is for, and it measures time"
)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use session_core::{AccountId, Digest, List, SeededEntropy, Text};
use session_messaging::Secret;
use session_messaging::group::{Agreed, Kind};
use session_messaging::mls::{
    Change, Credential, DeviceKey, Doors, KeyAgreement as _, Made, OpenMls, Processed,
};
use session_messaging::say::{Disappear, GroupId};
use session_messaging::vault::{MemoryVault, Vault};

const GROUP: GroupId = GroupId { bytes: [7; 32] };
const SIZES: [u16; 4] = [2, 10, 100, 250];
/// How many are added with one commit.
const BATCH: usize = 5;
const ROUNDS: usize = 15;

/// A vault that counts what is written.
#[derive(Clone, Default)]
struct Counted {
    vault: MemoryVault,
    written: usize,
}

impl Vault for Counted {
    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.vault.get(key)
    }

    fn put(&mut self, key: &[u8], value: &[u8]) {
        self.written += value.len();
        self.vault.put(key, value);
    }

    fn remove(&mut self, key: &[u8]) {
        self.vault.remove(key);
    }

    fn scan(
        &self,
        prefix: &[u8],
        from: &[u8],
        backwards: bool,
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) {
        self.vault.scan(prefix, from, backwards, visit);
    }
}

struct Device {
    number: u16,
    mls: OpenMls,
    warm: bool,
    vault: Counted,
    rng: SeededEntropy,
}

/// A copy has the vault only.
impl Clone for Device {
    fn clone(&self) -> Self {
        let (vault, rng) = (self.vault.clone(), self.rng.clone());
        Self { number: self.number, mls: OpenMls::new(), warm: self.warm, vault, rng }
    }
}

impl Device {
    fn new(number: u16) -> Self {
        let rng = SeededEntropy::new(number.into());
        Self { number, mls: OpenMls::new(), warm: true, vault: Counted::default(), rng }
    }

    fn key(&self) -> DeviceKey {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&self.number.to_be_bytes());
        DeviceKey::from_seed(&Secret::from(seed))
    }

    fn call<T>(&mut self, call: impl FnOnce(&OpenMls, &mut Doors<'_>, &DeviceKey) -> T) -> T {
        let key = self.key();
        if !self.warm {
            self.mls = OpenMls::new();
        }
        call(&self.mls, &mut Doors { vault: &mut self.vault, rng: &mut self.rng }, &key)
    }

    fn who(&self) -> Credential {
        let mut account = [1; 32];
        account[..2].copy_from_slice(&self.number.to_be_bytes());
        let device = self.key().id();
        let (account, manifest) = (AccountId::from(account), Digest::from([3; 32]));
        Credential { account, device, manifest, again: None }
    }

    fn package(&mut self) -> Vec<u8> {
        let who = self.who();
        self.call(|mls, d, key| mls.key_package(d, key, &who)).unwrap().0
    }

    fn commit(&mut self, add: Vec<Vec<u8>>) -> Made {
        let change = Change { add, ..Change::default() };
        self.call(|mls, d, key| mls.commit(d, key, &GROUP, &change)).unwrap()
    }

    fn merge(&mut self) {
        self.call(|mls, d, _| mls.merge(d, &GROUP)).unwrap();
    }

    fn follow(&mut self, message: &[u8]) {
        let processed = self.call(|mls, d, _| mls.process(d, &GROUP, message)).unwrap();
        assert!(matches!(processed, Processed::Commit(_)));
        self.call(|mls, d, _| mls.accept(d, &GROUP)).unwrap();
    }

    fn join(&mut self, made: &Made) {
        let welcome = made.welcome.as_ref().unwrap();
        self.call(|mls, d, _| mls.join(d, welcome, &made.tree)).unwrap();
    }

    fn say(&mut self) -> Vec<u8> {
        self.call(|mls, d, key| mls.encrypt(d, key, &GROUP, &[0x5a; 100])).unwrap()
    }

    fn hear(&mut self, message: &[u8]) {
        self.call(|mls, d, _| mls.process(d, &GROUP, message)).unwrap();
    }

    fn stored(&self) -> usize {
        self.vault.vault.entries().map(|(key, value)| key.len() + value.len()).sum()
    }
}

fn founder() -> Device {
    let mut alice = Device::new(0);
    let agreed = Agreed {
        version: 1,
        kind: Kind::Group,
        name: Text::new("bench").unwrap(),
        admins: List::new(vec![alice.who().account]).unwrap(),
        disappear: Disappear::Never,
        history: 0,
    };
    let who = alice.who();
    alice.call(|mls, d, key| mls.create(d, key, &who, &GROUP, &agreed)).unwrap();
    alice
}

/// A group in which only the first member has committed. Returns the first and the last.
fn fresh(members: u16) -> (Device, Device) {
    let mut alice = founder();
    let mut last = Device::new(members - 1);
    let mut packages: Vec<_> = (1..members - 1).map(|n| Device::new(n).package()).collect();
    packages.push(last.package());
    for batch in packages.chunks(BATCH) {
        let made = alice.commit(batch.to_vec());
        alice.merge();
        if batch.last() == packages.last() {
            last.join(&made);
        }
    }
    (alice, last)
}

/// A group in which everybody has committed. Returns the first and the last.
fn settled(members: u16) -> (Device, Device) {
    let mut alice = founder();
    let mut last = alice.clone();
    for number in 1..members {
        last = Device::new(number);
        let made = alice.commit(vec![last.package()]);
        alice.merge();
        last.join(&made);
        let made = last.commit(Vec::new());
        last.merge();
        alice.follow(&made.message);
    }
    (alice, last)
}

fn bytes(members: u16, (mut alice, last): (Device, Device), state: &str) {
    let rekey = alice.clone().commit(Vec::new()).message.len();
    let made = alice.clone().commit(vec![Device::new(members).package()]);
    println!(
        "| {members} | {state} | {rekey} | {} | {} | {} | {} | {} |",
        made.message.len(),
        made.welcome.unwrap().len(),
        made.tree.len(),
        alice.say().len() - 100,
        last.stored(),
    );
}

fn sizes() {
    println!("key package: {} bytes", Device::new(1).package().len());
    println!("| n | state | rekey | add one | welcome | tree | message over content | vault |");
    println!("|---|---|---|---|---|---|---|---|");
    for members in SIZES {
        bytes(members, fresh(members), "fresh");
        bytes(members, settled(members), "settled");
    }
}

/// Takes the time of a call, and what it writes.
struct Clock(Vec<(Duration, usize)>);

impl Clock {
    fn time<T>(&mut self, device: &mut Device, call: impl FnOnce(&mut Device) -> T) -> T {
        device.vault.written = 0;
        let start = Instant::now();
        let result = black_box(call(device));
        self.0.push((start.elapsed(), device.vault.written));
        result
    }

    fn row(mut self, what: &str, members: u16, how: &str) {
        self.0.sort();
        let (time, written) = self.0[self.0.len() / 2];
        let ms = time.as_secs_f64() * 1000.0;
        println!("| {what} | {members} | {how} | {ms:.2} | {written} |");
    }
}

/// Everybody talks and commits by turns, so that there are as many past epochs as are kept.
fn talk(members: u16, pair: &(Device, Device), warm: bool) {
    let (mut alice, mut bob) = pair.clone();
    (alice.warm, bob.warm) = (warm, warm);
    let mut clocks: [Clock; 5] = std::array::from_fn(|_| Clock(Vec::new()));
    let [rekey, merge, follow, encrypt, decrypt] = &mut clocks;
    for round in 0..ROUNDS + 4 {
        let made = rekey.time(&mut alice, |it| it.commit(Vec::new()));
        merge.time(&mut alice, Device::merge);
        follow.time(&mut bob, |it| it.follow(&made.message));
        let said = encrypt.time(&mut alice, Device::say);
        decrypt.time(&mut bob, |it| it.hear(&said));
        if round < 4 {
            for clock in [&mut *rekey, merge, follow, encrypt, decrypt] {
                clock.0.clear();
            }
        }
    }
    let names = ["rekey", "merge", "process and accept", "encrypt", "decrypt"];
    for (name, clock) in names.into_iter().zip(clocks) {
        clock.row(name, members, if warm { "warm" } else { "cold" });
    }
}

fn times() {
    println!("| what | n | state | ms | bytes written |");
    println!("|---|---|---|---|---|");
    for members in SIZES {
        let pair = settled(members);
        talk(members, &pair, false);
        talk(members, &pair, true);
        let mut new = Device::new(members);
        let package = new.package();
        let (mut add, mut join) = (Clock(Vec::new()), Clock(Vec::new()));
        for _ in 0..ROUNDS {
            let mut alice = pair.0.clone();
            let added = add.time(&mut alice, |it| it.commit(vec![package.clone()]));
            join.time(&mut new.clone(), |it| it.join(&added));
        }
        add.row("add one", members, "cold");
        join.row("join", members, "cold");
    }
}

fn main() {
    // `cargo test` runs benches, too.
    if std::env::args().any(|it| it == "--bench") {
        sizes();
        times();
    }
}
