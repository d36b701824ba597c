//! What key agreement costs, in bytes and time. `cargo bench -p session-messaging --bench mls`.
//!
//! Two states of a group are measured. *Fresh*: one member has added everybody and nobody else has
//! committed yet, so a commit is encrypted to each leaf. *Settled*: everybody has committed, so it
//! is encrypted to one node on each level of the tree.
#![allow(clippy::print_stdout, reason = "the table of bytes is what the bench is for")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use session_core::{AccountId, Digest, List, SeededEntropy, Text};
use session_messaging::Secret;
use session_messaging::group::{Agreed, Kind};
use session_messaging::mls::{
    Change, Credential, DeviceKey, Doors, KeyAgreement as _, Made, OpenMls, Processed,
};
use session_messaging::say::{Disappear, GroupId};
use session_messaging::vault::MemoryVault;

const MLS: OpenMls = OpenMls {};
const GROUP: GroupId = GroupId { bytes: [7; 32] };
const SIZES: [u16; 4] = [2, 10, 100, 250];
/// How many are added with one commit.
const BATCH: usize = 5;

#[derive(Clone)]
struct Device {
    number: u16,
    vault: MemoryVault,
    rng: SeededEntropy,
}

impl Device {
    fn new(number: u16) -> Self {
        Self { number, vault: MemoryVault::new(), rng: SeededEntropy::new(number.into()) }
    }

    fn key(&self) -> DeviceKey {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&self.number.to_be_bytes());
        DeviceKey::from_seed(&Secret::from(seed))
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Doors<'_>, &DeviceKey) -> T) -> T {
        let key = self.key();
        call(&mut Doors { vault: &mut self.vault, rng: &mut self.rng }, &key)
    }

    fn who(&self) -> Credential {
        let mut account = [1; 32];
        account[..2].copy_from_slice(&self.number.to_be_bytes());
        let device = self.key().id();
        Credential { account: AccountId::from(account), device, manifest: Digest::from([3; 32]) }
    }

    fn package(&mut self) -> Vec<u8> {
        let who = self.who();
        self.call(|d, key| MLS.key_package(d, key, &who)).unwrap().0
    }

    fn commit(&mut self, add: Vec<Vec<u8>>) -> Made {
        let change = Change { add, ..Change::default() };
        self.call(|d, key| MLS.commit(d, key, &GROUP, &change)).unwrap()
    }

    fn merge(&mut self) {
        self.call(|d, _| MLS.merge(d, &GROUP)).unwrap();
    }

    fn follow(&mut self, message: &[u8]) {
        let processed = self.call(|d, _| MLS.process(d, &GROUP, message)).unwrap();
        assert!(matches!(processed, Processed::Commit(_)));
        self.call(|d, _| MLS.accept(d, &GROUP)).unwrap();
    }

    fn join(&mut self, made: &Made) {
        let welcome = made.welcome.as_ref().unwrap();
        self.call(|d, _| MLS.join(d, welcome, &made.tree)).unwrap();
    }

    fn say(&mut self) -> Vec<u8> {
        self.call(|d, key| MLS.encrypt(d, key, &GROUP, &[0x5a; 100])).unwrap()
    }

    fn stored(&self) -> usize {
        self.vault.entries().map(|(key, value)| key.len() + value.len()).sum()
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
    alice.call(|d, key| MLS.create(d, key, &who, &GROUP, &agreed)).unwrap();
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

fn table(_: &mut Criterion) {
    println!("key package: {} bytes", Device::new(1).package().len());
    println!("| n | state | rekey | add one | welcome | tree | message over content | vault |");
    println!("|---|---|---|---|---|---|---|---|");
    for members in SIZES {
        bytes(members, fresh(members), "fresh");
        bytes(members, settled(members), "settled");
    }
}

fn times(c: &mut Criterion) {
    let mut group = c.benchmark_group("mls");
    group.sample_size(10).measurement_time(Duration::from_secs(1));
    group.warm_up_time(Duration::from_millis(200));
    group.bench_function("key package", |b| {
        b.iter_batched_ref(|| Device::new(1), Device::package, BatchSize::LargeInput);
    });
    for members in SIZES {
        let (mut alice, mut bob) = settled(members);
        let mut merging = alice.clone();
        let made = merging.commit(Vec::new());
        let said = alice.say();
        let mut run = |name: &str, device: &Device, call: &mut dyn FnMut(&mut Device)| {
            group.bench_function(format!("{name}, n = {members}"), |b| {
                b.iter_batched_ref(|| device.clone(), &mut *call, BatchSize::LargeInput);
            });
        };
        run("rekey", &alice, &mut |it| drop(black_box(it.commit(Vec::new()))));
        run("merge", &merging, &mut Device::merge);
        run("process and accept", &bob, &mut |it| it.follow(&made.message));
        run("encrypt", &alice, &mut |it| drop(black_box(it.say())));
        run("decrypt", &bob, &mut |it| {
            black_box(it.call(|d, _| MLS.process(d, &GROUP, &said)).unwrap());
        });
        let mut new = Device::new(members);
        let package = new.package();
        let added = alice.clone().commit(vec![package.clone()]);
        run("add one", &alice, &mut |it| drop(black_box(it.commit(vec![package.clone()]))));
        run("join", &new, &mut |it| it.join(&added));
        black_box(&mut bob);
    }
    group.finish();
}

criterion_group!(benches, table, times);
criterion_main!(benches);
