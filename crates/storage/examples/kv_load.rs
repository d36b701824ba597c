//! Loads a disk database as a chain would and prints what it costs.
//!
//! `cargo run --release -p session-storage --example kv_load -- DIR [BATCHES [ENTRIES]]`
//!
//! `DIR` must not exist; it is left in place. First durable batches of twenty entries of 1 KiB
//! (2,000 of them), then a database with many small entries (1,000,000 of about 100 bytes) that is
//! opened again and read from one end to the other: after an orderly end, and after a kill.

#![allow(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for people that measures time"
)]

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use session_core::{Entropy, SeededEntropy};
use session_storage::kv::{Batch, Database, DiskDatabase};

/// Entries of the large database that come in one batch.
const PER_BATCH: u64 = 10_000;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: kv_load DIR [BATCHES [ENTRIES]]")?;
    if dir == "write-and-die" {
        let path = arguments.next().ok_or("usage: kv_load write-and-die FILE")?;
        return write_and_die(Path::new(&path));
    }
    let batches = arguments.next().map_or(Ok(2_000), |text| text.parse())?;
    let entries = arguments.next().map_or(Ok(1_000_000), |text| text.parse())?;
    let dir = Path::new(&dir);
    if dir.exists() {
        return Err(format!("{} exists already", dir.display()).into());
    }
    durable_batches(&dir.join("batches"), batches)?;
    let large = dir.join("large");
    fill(&large, entries)?;
    reopen(&large, "an orderly end")?;
    let program = std::env::current_exe()?;
    // It ends by aborting, so the status is of no interest.
    std::process::Command::new(program).arg("write-and-die").arg(&large).status()?;
    reopen(&large, "a crash")
}

fn durable_batches(path: &Path, batches: u64) -> Result<(), Failure> {
    let mut database = DiskDatabase::open(path)?;
    let mut rng = SeededEntropy::new(1);
    let mut latencies = Vec::new();
    let start = Instant::now();
    for _ in 0..batches {
        let mut batch = Batch::new();
        for _ in 0..20 {
            let mut value = vec![0; 1024];
            rng.fill(&mut value);
            batch.put(rng.bytes32(), value);
        }
        let begun = Instant::now();
        database.write(&batch)?;
        latencies.push(begun.elapsed());
    }
    let rate = batches as f64 / start.elapsed().as_secs_f64();
    latencies.sort();
    let at = |part: usize| latencies.get(latencies.len() * part / 100).copied().unwrap_or_default();
    println!("{batches} durable batches of 20 entries of 1 KiB: {rate:.0} a second");
    println!("  50% within {:?}, 99% within {:?}", at(50), at(99));
    println!("  {} of file", size(path)?);
    Ok(())
}

fn fill(path: &Path, entries: u64) -> Result<(), Failure> {
    let mut database = DiskDatabase::open(path)?;
    let mut rng = SeededEntropy::new(2);
    let start = Instant::now();
    for first in (0..entries).step_by(PER_BATCH as usize) {
        let mut batch = Batch::new();
        for _ in first..entries.min(first + PER_BATCH) {
            let mut value = vec![0; 68];
            rng.fill(&mut value);
            batch.put(rng.bytes32(), value);
        }
        database.write(&batch)?;
    }
    println!("{entries} entries of 100 bytes: filled in {:?}", start.elapsed());
    println!("  {} of file", size(path)?);
    Ok(())
}

fn reopen(path: &Path, after: &str) -> Result<(), Failure> {
    let start = Instant::now();
    let database = DiskDatabase::open(path)?;
    let opened = start.elapsed();
    let mut entries = 0;
    let start = Instant::now();
    database.visit(&[], &mut |_, _| {
        entries += 1;
        true
    })?;
    println!("opened after {after} in {opened:?}, read {entries} entries in {:?}", start.elapsed());
    let (mut rng, start) = (SeededEntropy::new(2), Instant::now());
    for _ in 0..10_000 {
        rng.fill(&mut [0; 68]);
        if database.get(&rng.bytes32())?.is_none() {
            return Err("an entry is gone".into());
        }
    }
    println!("  a read takes {:?}", start.elapsed() / 10_000);
    Ok(())
}

fn write_and_die(path: &Path) -> Result<(), Failure> {
    let mut database = DiskDatabase::open(path)?;
    let mut batch = Batch::new();
    batch.put(b"one more".as_slice(), b"entry".as_slice());
    database.write(&batch)?;
    std::process::abort()
}

fn size(path: &Path) -> Result<String, Failure> {
    Ok(format!("{} MiB", std::fs::metadata(path)?.len() >> 20))
}
