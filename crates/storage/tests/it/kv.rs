//! The databases: what every engine does, what faults do, and what a crash leaves of the file.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use session_core::{Entropy, SeededEntropy};
use session_storage::kv::{
    Batch, Database, DiskDatabase, Fault, FaultyDatabase, KV_KEY_BYTES_MAX, KvError,
    MemoryDatabase, OpenError,
};
use tempfile::TempDir;

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

fn visited(database: &dyn Database, prefix: &[u8], entries_max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    let visitor = &mut |key: &[u8], value: &[u8]| {
        found.push((key.to_vec(), value.to_vec()));
        found.len() < entries_max
    };
    database.visit(prefix, visitor).expect("visited");
    found
}

fn fresh() -> (TempDir, PathBuf, DiskDatabase) {
    let dir = TempDir::new().expect("a temporary directory");
    let path = dir.path().join("chain").join("db");
    let database = DiskDatabase::open(&path).expect("a new database opens");
    (dir, path, database)
}

fn put(key: &[u8], value: &[u8]) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, value);
    batch
}

/// Keys of few letters, so that they meet each other, with the bytes at both ends among them.
fn some_key(rng: &mut SeededEntropy, length_max: u64) -> Vec<u8> {
    let length = rng.below(length_max + 1);
    (0..length).map(|_| [0, 1, b'k', 0xfe, 0xff][rng.below(5) as usize]).collect()
}

fn agrees_with_a_map(database: &mut dyn Database, seed: u64, rounds: u64) -> Entries {
    let (mut rng, mut model) = (SeededEntropy::new(seed), Entries::new());
    for round in 0..rounds {
        let mut batch = Batch::new();
        for _ in 0..rng.below(8) {
            let key = some_key(&mut rng, 4);
            if rng.below(3) == 0 {
                batch.delete(key.clone());
                model.remove(&key);
            } else {
                let mut value = vec![0; rng.below(40) as usize];
                rng.fill(&mut value);
                batch.put(key.clone(), value.clone());
                model.insert(key, value);
            }
        }
        database.write(&batch).expect("written");
        let (prefix, key) = (some_key(&mut rng, 2), some_key(&mut rng, 4));
        assert_eq!(database.get(&key).expect("read").as_ref(), model.get(&key), "{seed} {round}");
        let expected = model.iter().filter(|(key, _)| key.starts_with(&prefix));
        let expected: Vec<_> = expected.map(|(key, value)| (key.clone(), value.clone())).collect();
        let entries_max = 1 + rng.below(50) as usize;
        let taken = &expected[..expected.len().min(entries_max)];
        assert_eq!(visited(database, &prefix, entries_max), taken, "{seed} {round} {prefix:?}");
    }
    model
}

#[test]
fn every_engine_agrees_with_a_map() {
    for seed in 0..50 {
        agrees_with_a_map(&mut MemoryDatabase::default(), seed, 40);
        agrees_with_a_map(&mut FaultyDatabase::new(MemoryDatabase::default()), seed, 40);
    }
    for seed in 0..5 {
        let (_dir, path, mut database) = fresh();
        let model = agrees_with_a_map(&mut database, seed, 40);
        drop(database);
        let again = DiskDatabase::open(&path).expect("opens again");
        assert_eq!(visited(&again, &[], usize::MAX), Vec::from_iter(model));
    }
}

#[test]
fn the_last_prefixes_have_an_end_too() {
    let (_dir, _, disk) = fresh();
    let engines: [Box<dyn Database>; 2] = [Box::new(MemoryDatabase::default()), Box::new(disk)];
    for mut database in engines {
        let mut batch = Batch::new();
        for key in [&[][..], &[0xfe], &[0xff], &[0xff, 0], &[0xff, 0xff], &[0xff, 0xff, 1]] {
            batch.put(key, key);
        }
        database.write(&batch).expect("written");
        let keys = |prefix: &[u8]| visited(&*database, prefix, 100).len();
        assert_eq!([keys(&[]), keys(&[0xfe]), keys(&[0xff])], [6, 1, 4]);
        assert_eq!([keys(&[0xff, 0xff]), keys(&[0xff, 0xff, 0xff])], [2, 0]);
    }
}

#[test]
fn a_later_change_in_a_batch_replaces_an_earlier_one() {
    let (_dir, _, mut database) = fresh();
    let mut batch = put(b"a", b"1");
    batch.delete(b"a".as_slice());
    batch.delete(b"b".as_slice());
    batch.put(b"b".as_slice(), b"2".as_slice());
    database.write(&batch).expect("written");
    assert_eq!(database.get(b"a"), Ok(None));
    assert_eq!(database.get(b"b"), Ok(Some(b"2".to_vec())));
}

#[test]
fn long_keys_are_refused_with_their_batch() {
    let (_dir, _, disk) = fresh();
    let engines: [Box<dyn Database>; 2] = [Box::new(MemoryDatabase::default()), Box::new(disk)];
    for mut database in engines {
        let mut batch = put(b"short", b"");
        batch.put(vec![7; KV_KEY_BYTES_MAX], b"fits".as_slice());
        database.write(&batch).expect("written");
        let mut batch = put(b"other", b"");
        batch.put(vec![7; KV_KEY_BYTES_MAX + 1], b"".as_slice());
        let error = KvError::KeyTooLong { got: KV_KEY_BYTES_MAX + 1, limit: KV_KEY_BYTES_MAX };
        assert_eq!(database.write(&batch), Err(error));
        assert_eq!(database.get(b"other"), Ok(None));
        database.write(&put(b"other", b"")).expect("the database goes on");
    }
}

#[test]
fn the_file_is_its_owners_and_alone_in_its_directory() {
    let (_dir, path, mut database) = fresh();
    database.write(&put(b"a", b"1")).expect("written");
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    let parent = path.parent().expect("a directory");
    assert_eq!(mode(parent), 0o700);
    assert_eq!(fs::read_dir(parent).expect("listed").count(), 1);
}

#[test]
fn only_one_may_have_it_open() {
    let (_dir, path, database) = fresh();
    let error = DiskDatabase::open(&path).expect_err("in use");
    assert!(matches!(error, OpenError::InUse { .. }), "{error}");
    drop(database);
    DiskDatabase::open(&path).expect("free again");
}

#[test]
fn other_files_are_left_alone() {
    let dir = TempDir::new().expect("a temporary directory");
    let path = dir.path().join("other");
    for bytes in [&b""[..], b"redb", b"a letter to a friend", &[0; 5000]] {
        fs::write(&path, bytes).expect("written");
        let error = DiskDatabase::open(&path).expect_err("not ours");
        assert!(matches!(error, OpenError::NotADatabase { .. }), "{error}");
        assert_eq!(fs::read(&path).expect("read"), bytes);
    }
    let error = DiskDatabase::open(dir.path()).expect_err("a directory");
    assert!(matches!(error, OpenError::Io { .. }), "{error}");
    // Of the same engine, but of another program, or of a later version of this one.
    for (name, table, format) in [
        ("another", "theirs", 1),
        ("damaged", "session-database", 0),
        ("later", "session-database", 7),
    ] {
        let path = dir.path().join(name);
        let engine = redb::Database::create(&path).expect("made");
        let transaction = engine.begin_write().expect("begun");
        let table = redb::TableDefinition::<&str, u64>::new(table);
        let key = if format == 0 { "else" } else { "format" };
        transaction.open_table(table).expect("made").insert(key, format).expect("put");
        transaction.commit().expect("committed");
        drop(engine);
        let error = DiskDatabase::open(&path).expect_err("not ours");
        match (format, error) {
            (7, OpenError::Newer { got: 7, known: 1, .. }) => {}
            (0 | 1, OpenError::NotADatabase { .. }) => {}
            (_, other) => panic!("{name}: {other}"),
        }
    }
}

#[test]
fn damage_is_reported_when_it_is_opened() {
    let (dir, path, mut database) = fresh();
    for nth in 0..40_u8 {
        let mut batch = Batch::new();
        for entry in 0..20_u8 {
            batch.put(vec![nth, entry], vec![nth ^ entry; 500]);
        }
        database.write(&batch).expect("written");
    }
    let before = visited(&database, &[], usize::MAX);
    drop(database);
    let whole = fs::read(&path).expect("read");
    let copy = dir.path().join("copy");
    let mut rng = SeededEntropy::new(1);
    let mut reported = 0;
    for _ in 0..60 {
        let mut bytes = whole.clone();
        // The file starts with what is used; the rest of it is free pages.
        let at = rng.below(bytes.len() as u64 / 2) as usize;
        bytes[at] ^= 1 << rng.below(8);
        fs::write(&copy, &bytes).expect("written");
        match DiskDatabase::open(&copy) {
            Ok(database) => {
                assert_eq!(visited(&database, &[], usize::MAX), before, "a flip at {at}");
            }
            Err(OpenError::Damaged { .. } | OpenError::NotADatabase { .. }) => reported += 1,
            Err(other) => panic!("a flip at {at}: {other}"),
        }
    }
    assert!(reported > 0);
    for length in [10, 4096, whole.len() / 2, whole.len() - 4096] {
        fs::write(&copy, &whole[..length]).expect("written");
        if let Ok(database) = DiskDatabase::open(&copy) {
            assert_eq!(visited(&database, &[], usize::MAX), before, "cut at {length}");
        }
    }
}

#[test]
fn faults_come_when_they_are_planned() {
    let database = FaultyDatabase::new(MemoryDatabase::default());
    let mut machine = database.clone();
    database.plan(2, Fault::Fail);
    database.plan(3, Fault::Lose);
    database.plan(5, Fault::StopBefore);
    machine.write(&put(b"1", b"")).expect("no fault yet");
    let failed = machine.write(&put(b"2", b""));
    assert!(matches!(failed, Err(KvError::Failed { .. })), "{failed:?}");
    machine.write(&put(b"3", b"")).expect("a lie");
    machine.write(&put(b"4", b"")).expect("no fault");
    assert!(matches!(machine.write(&put(b"5", b"")), Err(KvError::Closed { .. })));
    assert!(database.stopped());
    assert!(matches!(machine.get(b"1"), Err(KvError::Closed { .. })));
    assert!(matches!(machine.write(&put(b"6", b"")), Err(KvError::Closed { .. })));
    database.restart();
    database.plan(1, Fault::StopAfter);
    assert!(matches!(machine.write(&put(b"7", b"")), Err(KvError::Closed { .. })));
    database.restart();
    let keys: Vec<_> = visited(&database, &[], 10).into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, [b"1", b"4", b"7"]);
    assert_eq!(database.writes(), 6);
}

/// Entries in one batch of the writer that is killed.
const ENTRIES: u64 = 20;

/// Batches that the writer keeps; it deletes those before.
const KEPT: u64 = 5;

const WRITER: &str = "SESSION_KV_WRITER_FILE";

fn entry_key(batch: u64, entry: u64) -> Vec<u8> {
    [b"e".as_slice(), &batch.to_be_bytes(), &entry.to_be_bytes()].concat()
}

fn entry_value(batch: u64, entry: u64) -> Vec<u8> {
    let mut value = vec![0; 1024];
    SeededEntropy::new(batch * ENTRIES + entry).fill(&mut value);
    value
}

fn last_batch(database: &dyn Database) -> u64 {
    let last = database.get(b"last").expect("read");
    last.map_or(0, |last| u64::from_be_bytes(last.try_into().expect("eight bytes")))
}

/// Not a test of its own: what the next one starts, and kills. It says each batch that is durable.
#[test]
fn killed_writer() {
    let Some(path) = std::env::var_os(WRITER) else { return };
    let mut database = DiskDatabase::open(Path::new(&path)).expect("opens");
    let mut out = std::io::stdout().lock();
    writeln!(out).expect("the parent listens");
    for number in last_batch(&database) + 1.. {
        let mut batch = Batch::new();
        for entry in 0..ENTRIES {
            batch.put(entry_key(number, entry), entry_value(number, entry));
            if number > KEPT {
                batch.delete(entry_key(number - KEPT, entry));
            }
        }
        batch.put(b"last".as_slice(), number.to_be_bytes());
        database.write(&batch).expect("written");
        writeln!(out, "durable {number}").expect("the parent listens");
        out.flush().expect("the parent listens");
    }
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs the writer until it said so many batches, kills it, and returns the last that it said.
fn write_and_kill(path: &Path, batches: u64) -> u64 {
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "kv::killed_writer", "--nocapture", "--test-threads=1"])
        .env(WRITER, path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut child = Killed(child);
    let said = BufReader::new(child.0.stdout.take().expect("piped")).lines();
    let mut durable = said.map_while(Result::ok).filter_map(|line| {
        line.strip_prefix("durable ").map(|number| number.parse::<u64>().expect("a number"))
    });
    if batches == 0 {
        drop(child);
        return durable.last().unwrap_or_default();
    }
    let last = durable.by_ref().take(batches as usize).last().expect("a writer that writes");
    drop(child);
    // It went on while it was killed, and may have said more.
    durable.last().unwrap_or(last)
}

#[test]
fn a_killed_writer_leaves_whole_batches() {
    let dir = TempDir::new().expect("a temporary directory");
    let path = dir.path().join("db");
    let (mut rng, mut acknowledged) = (SeededEntropy::new(0), 0);
    for round in 0..15 {
        let batches = if round < 3 { 0 } else { 1 + rng.below(12) };
        acknowledged = write_and_kill(&path, batches).max(acknowledged);
        let database = DiskDatabase::open(&path).expect("opens after a kill");
        let last = last_batch(&database);
        assert!(last >= acknowledged, "{acknowledged} was durable, {last} is the last");
        let kept = (last.saturating_sub(KEPT) + 1).max(1)..=last;
        let expected = kept.flat_map(|batch| (0..ENTRIES).map(move |entry| (batch, entry)));
        let expected: Vec<_> = expected
            .map(|(batch, entry)| (entry_key(batch, entry), entry_value(batch, entry)))
            .collect();
        assert!(visited(&database, b"e", usize::MAX) == expected, "round {round}, batch {last}");
    }
    assert!(acknowledged > KEPT);
}
