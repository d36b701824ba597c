//! Loads a disk store and prints what it costs.
//!
//! `cargo run --release -p session-storage --example storage_load -- DIR [ITEMS [FLIGHT]]`
//!
//! `DIR` must not exist; it is left in place. Items are 2 KiB, a hundred to an inbox, `FLIGHT` of
//! them in flight (64). The reopening runs in a process of its own, after the loading one ended
//! without closing its store, so that its memory is its own.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for people that measures time"
)]

use std::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use session_core::{Entropy, InboxAddress, MessageId, Namespace, SeededEntropy, Time};
use session_storage::{DiskStore, Durable, NewItem, Options, PageLimit, Store, StoreError};

const SIZE: usize = 2048;
const PER_INBOX: u64 = 100;
const NOW: u64 = 1_750_000_000_000;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: storage_load DIR [ITEMS [FLIGHT]]")?;
    if dir == "reopen" {
        let dir = arguments.next().ok_or("usage: storage_load reopen DIR")?;
        return reopen(Path::new(&dir));
    }
    let items = arguments.next().map_or(Ok(100_000), |text| text.parse())?;
    let flight = arguments.next().map_or(Ok(64), |text| text.parse())?;
    let dir = Path::new(&dir);
    if dir.exists() {
        return Err(format!("{} exists already", dir.display()).into());
    }
    load(dir, items, flight)?;
    drop_cache_hint(dir, false)?;
    child(dir, "reopen, files in the page cache")?;
    drop_cache_hint(dir, true)?;
    child(dir, "reopen, files not in the page cache")
}

fn inbox(number: u64) -> InboxAddress {
    InboxAddress::from(SeededEntropy::new(number).bytes32())
}

fn load(dir: &Path, items: u64, flight: u64) -> Result<(), Failure> {
    let mut store = DiskStore::open(dir, Options::default())?;
    store.purge(Time::from_millis(NOW));
    let inboxes: Vec<_> = (0..items.div_ceil(PER_INBOX)).map(inbox).collect();
    let mut rng = SeededEntropy::new(0);
    let mut data = vec![0; SIZE];
    rng.fill(&mut data);
    let ids: Vec<MessageId> = (0..items).map(|_| MessageId::from(rng.bytes32())).collect();

    let (done, finished): (Sender<Finished>, Receiver<Finished>) = mpsc::channel();
    let mut latencies = Vec::new();
    let (started, cpu) = (Instant::now(), cpu_time()?);
    let (mut put, mut acknowledged) = (0, 0);
    while acknowledged < items {
        let group = (flight - (put - acknowledged)).min(items - put);
        let begun = Instant::now();
        for number in put..put + group {
            let inbox = &inboxes[usize::try_from(number % inboxes.len() as u64)?];
            let item = NewItem {
                namespace: Namespace(0),
                id: ids[usize::try_from(number)?],
                timestamp: Time::from_millis(NOW),
                expiry: Time::from_millis(NOW + 14 * 86_400_000 + number),
                data: &data,
            };
            store.put_item(inbox, item)?;
        }
        put += group;
        if group > 0 {
            let done = done.clone();
            store.commit(Box::new(move |result| {
                // The receiver lives as long as the loop.
                let _ = done.send(Finished { group, begun, result });
            }));
        }
        let first = finished.recv()?;
        for Finished { group, begun, result } in core::iter::once(first).chain(finished.try_iter())
        {
            result?;
            acknowledged += group;
            latencies.push(begun.elapsed());
        }
    }
    let (wall, cpu) = (started.elapsed(), cpu_time()? - cpu);
    latencies.sort_unstable();
    let stats = store.stats();
    println!("items                         {items} of {SIZE} bytes in {} inboxes", inboxes.len());
    println!("durable stores/s              {:.0} ({flight} in flight)", per_second(items, wall));
    println!("CPU per store                 {:.1} µs", micros_per(cpu, items));
    println!("commits                       {}", latencies.len());
    println!(
        "commit latency p50 / p99      {:?} / {:?}",
        part(&latencies, 50),
        part(&latencies, 99)
    );
    println!("bytes on disk per item        {:.1} beyond its data", beyond(allocated(dir)?, items));
    println!(
        "of these, allocated ahead     {:.1}",
        beyond(allocated(dir)?, items) - used(dir, items)?
    );
    println!("segments                      {}", stats.segments);
    println!("resident memory after load    {} MiB", resident_kib()? / 1024);
    fetch(&store, &inboxes)?;
    Ok(())
}

struct Finished {
    group: u64,
    begun: Instant,
    result: Result<(), StoreError>,
}

fn fetch(store: &DiskStore, inboxes: &[InboxAddress]) -> Result<(), Failure> {
    let limit = PageLimit { items: 50, bytes: 1 << 20 };
    let started = Instant::now();
    let mut fetched = 0;
    for inbox in inboxes.iter().take(2000) {
        let page = store.items_after(inbox, Namespace(0), 0, limit, Time::from_millis(NOW))?;
        fetched += page.items.len() as u64;
    }
    println!(
        "fetched items/s               {:.0} (pages of 50)",
        per_second(fetched, started.elapsed())
    );
    Ok(())
}

fn reopen(dir: &Path) -> Result<(), Failure> {
    let started = Instant::now();
    let store = DiskStore::open(dir, Options::default())?;
    let took = started.elapsed();
    println!("  {took:.2?}, {} MiB resident, {:?}", resident_kib()? / 1024, store.report());
    Ok(())
}

fn child(dir: &Path, title: &str) -> Result<(), Failure> {
    println!("{title}");
    let status = Command::new(std::env::current_exe()?).arg("reopen").arg(dir).status()?;
    if status.success() { Ok(()) } else { Err("the reopening failed".into()) }
}

/// Asks the kernel to forget the files, or to have them all in memory.
fn drop_cache_hint(dir: &Path, forget: bool) -> Result<(), Failure> {
    for path in segments(dir)? {
        let file = fs::File::open(path)?;
        let advice =
            if forget { rustix::fs::Advice::DontNeed } else { rustix::fs::Advice::WillNeed };
        rustix::fs::fadvise(&file, 0, None, advice)?;
    }
    Ok(())
}

fn segments(dir: &Path) -> Result<Vec<std::path::PathBuf>, Failure> {
    let mut found = Vec::new();
    for shard in fs::read_dir(dir)? {
        let shard = shard?;
        if shard.file_type()?.is_dir() {
            for file in fs::read_dir(shard.path())? {
                found.push(file?.path());
            }
        }
    }
    Ok(found)
}

/// Returns the bytes that the files take on the disk.
fn allocated(dir: &Path) -> Result<u64, Failure> {
    let sizes = segments(dir)?.into_iter().map(|path| Ok(fs::metadata(path)?.blocks() * 512));
    sizes.sum()
}

/// Returns the bytes per item, beyond its data, that records take in their segments.
fn used(dir: &Path, items: u64) -> Result<f64, Failure> {
    let mut tails = 0;
    for path in segments(dir)? {
        tails += u64::from(session_storage::disk::decode_segment(&fs::read(path)?)?.scanned.tail);
    }
    Ok(beyond(tails, items))
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn beyond(bytes: u64, items: u64) -> f64 {
    bytes as f64 / items as f64 - SIZE as f64
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn per_second(count: u64, wall: Duration) -> f64 {
    count as f64 / wall.as_secs_f64()
}

#[allow(clippy::cast_precision_loss, reason = "figures for people")]
fn micros_per(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

fn part(sorted: &[Duration], percent: usize) -> Duration {
    sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default()
}

/// Returns the processor time of all threads so far.
fn cpu_time() -> Result<Duration, Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |index: usize| -> Result<u64, Failure> {
        Ok(fields.get(index).ok_or("/proc/self/stat is short")?.parse()?)
    };
    // User and system time, in hundredths of a second.
    Ok(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

fn resident_kib() -> Result<u64, Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS")).ok_or("no VmRSS")?;
    Ok(line.split_whitespace().nth(1).ok_or("no VmRSS")?.parse()?)
}
