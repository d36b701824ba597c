//! The same operations on both engines have the same results, across reopenings and crashes.

use core::mem;

use session_core::{Entropy, InboxAddress, MessageId, Namespace, SeededEntropy, Time};
use session_storage::{
    DiskStore, ItemMeta, MemoryStore, NewItem, PageLimit, Put, Store, StoredItem, Table,
};
use tempfile::TempDir;

use crate::world::{DAY, HOUR, NOW, at, data, id, inbox, options};

const INBOXES: u64 = 7;
const IDS: u64 = 150;
const KEYS: u64 = 40;

/// Both engines, driven alike. Arrival numbers differ after a crash, so they are never compared,
/// only the order they make.
struct Pair {
    seed: u64,
    step: u64,
    rng: SeededEntropy,
    now: u64,
    dir: TempDir,
    memory: MemoryStore,
    disk: Option<DiskStore>,
    tables_seen: u64,
}

/// What of an item must be equal.
type Same = (MessageId, Namespace, Time, Time, u32);

fn same(meta: &ItemMeta) -> Same {
    (meta.id, meta.namespace, meta.timestamp, meta.expiry, meta.size)
}

fn same_item(item: &StoredItem) -> (Same, Vec<u8>) {
    (same(&item.meta), item.data.clone())
}

impl Pair {
    fn new(seed: u64) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let disk = DiskStore::open(dir.path(), options()).expect("a new store opens");
        Self {
            seed,
            step: 0,
            rng: SeededEntropy::new(seed),
            now: NOW,
            dir,
            memory: MemoryStore::new(1),
            disk: Some(disk),
            tables_seen: 0,
        }
    }

    fn disk(&mut self) -> &mut DiskStore {
        self.disk.as_mut().expect("open between steps")
    }

    fn some_inbox(&mut self) -> InboxAddress {
        inbox(u8::try_from(self.rng.below(INBOXES)).expect("small"))
    }

    fn some_id(&mut self) -> MessageId {
        id(self.rng.below(IDS))
    }

    fn some_expiry(&mut self) -> Time {
        let span = match self.rng.below(4) {
            0 => HOUR / 4,
            1 => 12 * HOUR,
            2 => 5 * DAY,
            _ => 20 * DAY,
        };
        at(self.now + self.rng.below(span) + 1)
    }

    fn put(&mut self) {
        let (address, number) = (self.some_inbox(), self.rng.below(IDS));
        let size =
            if self.rng.below(3) == 0 { self.rng.below(120_000) } else { self.rng.below(3000) };
        let bytes = data(number, usize::try_from(size).expect("small"));
        let new = NewItem {
            namespace: Namespace(u16::try_from(self.rng.below(2)).expect("small")),
            id: id(number),
            timestamp: at(self.now),
            expiry: self.some_expiry(),
            data: &bytes,
        };
        let expected = self.memory.put_item(&address, new).expect("memory takes it");
        let got = self.disk().put_item(&address, new).expect("the disk takes it");
        match (expected, got) {
            (Put::Stored { arrival: a }, Put::Stored { arrival: b }) => {
                assert_eq!(self.memory.latest_arrival(), a);
                assert_eq!(self.disk().latest_arrival(), b);
            }
            (Put::Deleted, Put::Deleted) => {}
            (Put::Duplicate { expiry: a, .. }, Put::Duplicate { expiry: b, .. }) => {
                assert_eq!(a, b);
            }
            other => panic!("{other:?}"),
        }
    }

    fn remove(&mut self) {
        let (address, id, until) = (self.some_inbox(), self.some_id(), self.some_expiry());
        let expected = self.memory.remove_item(&address, &id, until).expect("memory removes");
        assert_eq!(self.disk().remove_item(&address, &id, until), Ok(expected));
    }

    fn set_expiry(&mut self) {
        let (address, id, expiry) = (self.some_inbox(), self.some_id(), self.some_expiry());
        let expected = self.memory.set_expiry(&address, &id, expiry).expect("memory sets");
        assert_eq!(self.disk().set_expiry(&address, &id, expiry), Ok(expected));
    }

    fn record(&mut self) {
        let table = Table::ALL[usize::try_from(self.rng.below(6)).expect("small")];
        let number = self.rng.below(KEYS);
        let key = data(number, 1 + usize::try_from(number).expect("small"));
        if self.rng.below(4) == 0 {
            let expected = self.memory.remove_record(table, &key).expect("memory removes");
            assert_eq!(self.disk().remove_record(table, &key), Ok(expected));
        } else {
            let value = data(self.now, usize::try_from(self.rng.below(20_000)).expect("small"));
            let expiry = self.some_expiry();
            self.memory.put_record(table, &key, &value, expiry).expect("memory writes");
            self.disk().put_record(table, &key, &value, expiry).expect("the disk writes");
        }
    }

    fn page(&mut self) {
        let (address, namespace) = (self.some_inbox(), Namespace(0));
        let limit = PageLimit { items: 5, bytes: 100_000 };
        let now = at(self.now);
        let (mut after, mut after_disk) = (0, 0);
        loop {
            let expected =
                self.memory.items_after(&address, namespace, after, limit, now).expect("reads");
            let got = self
                .disk()
                .items_after(&address, namespace, after_disk, limit, now)
                .expect("the disk reads");
            assert_eq!(
                got.items.iter().map(same_item).collect::<Vec<_>>(),
                expected.items.iter().map(same_item).collect::<Vec<_>>()
            );
            assert_eq!(got.more, expected.more);
            let (Some(a), Some(b)) = (expected.items.last(), got.items.last()) else { break };
            (after, after_disk) = (a.meta.arrival, b.meta.arrival);
        }
    }

    fn purge(&mut self) {
        let now = at(self.now);
        let expected = self.memory.purge(now);
        assert_eq!(self.disk().purge(now), expected);
    }

    fn commit(&mut self) {
        self.memory.commit_now();
        self.disk().commit_sync().expect("commits");
    }

    /// Opens again; what expired while the store was open may be known again, so both purge.
    fn reopen(&mut self) {
        // A child that another test forks holds the lock until it runs its own program.
        let mut tries = 0;
        let disk = loop {
            match DiskStore::open(self.dir.path(), options()) {
                Ok(disk) => break disk,
                Err(error) if tries == 100 => panic!("does not reopen: {error}"),
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
            tries += 1;
        };
        assert_eq!(disk.report().corrupt, 0, "{:?}", disk.report());
        self.disk = Some(disk);
        let now = at(self.now);
        while self.memory.purge(now).more {}
        while self.disk().purge(now).more {}
        self.commit();
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..50 => self.put(),
            50..62 => self.remove(),
            62..70 => self.set_expiry(),
            70..80 => self.record(),
            80..84 => self.page(),
            84..90 => self.commit(),
            90..98 => {
                self.now += self.rng.below(8 * HOUR);
                self.purge();
            }
            98 => {
                self.commit();
                mem::take(&mut self.disk).expect("open").close().expect("closes");
                self.reopen();
            }
            _ => {
                self.memory.crash();
                drop(self.disk.take());
                self.reopen();
            }
        }
    }

    fn compare(&mut self) {
        let range = InboxAddress::from([0; 32])..=InboxAddress::from([255; 32]);
        let mut expected = Vec::new();
        self.memory.scan(range.clone(), &mut |address, meta| expected.push((*address, same(meta))));
        let mut got = Vec::new();
        self.disk().scan(range.clone(), &mut |address, meta| got.push((*address, same(meta))));
        assert_eq!(got, expected);
        for (address, (id, ..)) in expected {
            let a = self.memory.item(&address, &id).expect("memory reads").expect("scanned");
            let b = self.disk().item(&address, &id).expect("the disk reads").expect("scanned");
            assert_eq!(same_item(&a), same_item(&b));
            assert_eq!(
                self.disk().meta(&address, &id).map(|meta| same(&meta)),
                Some(same(&a.meta))
            );
        }

        let mut expected = Vec::new();
        self.memory.scan_tombstones(range.clone(), &mut |address, id, t| {
            expected.push((*address, *id, t))
        });
        let mut got = Vec::new();
        self.disk().scan_tombstones(range, &mut |address, id, t| got.push((*address, *id, t)));
        assert_eq!(got, expected);

        for table in Table::ALL {
            let keys = self.memory.records(table, &[]);
            assert_eq!(self.disk().records(table, &[]), keys);
            self.tables_seen += keys.len() as u64;
            for (key, _) in keys {
                let expected = self.memory.record(table, &key);
                assert_eq!(self.disk().record(table, &key), expected);
            }
        }
        for number in 0..8 {
            let address = inbox(number);
            for namespace in [0, 1].map(Namespace) {
                let expected = self.memory.inbox_usage(&address, namespace);
                assert_eq!(self.disk().inbox_usage(&address, namespace), expected);
            }
        }
        let (a, b) = (self.memory.stats(), self.disk().stats());
        assert_eq!(
            (a.items, a.item_bytes, a.tombstones, a.records),
            (b.items, b.item_bytes, b.tombstones, b.records)
        );
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}, step {}", self.seed, self.step);
        }
    }
}

#[test]
fn both_engines_answer_alike() {
    for seed in 0..8 {
        let mut pair = Pair::new(seed);
        for step in 0..600 {
            pair.step = step;
            pair.step();
            if step % 10 == 0 {
                pair.compare();
            }
        }
        pair.compare();
        assert!(pair.tables_seen > 0, "records were compared");
    }
}

#[test]
fn everything_expires_and_gives_its_space_back() {
    let mut pair = Pair::new(99);
    for _ in 0..600 {
        pair.step();
    }
    let full = pair.disk().stats();
    assert!(full.segments > 8 && full.disk_bytes > 1024 * 1024, "{full:?}");
    // Far beyond every expiry; a few calls seal, drop and commit in turn.
    for _ in 0..4 {
        pair.now += 30 * DAY;
        pair.purge();
        pair.commit();
    }
    pair.compare();
    let empty = pair.disk().stats();
    assert_eq!((empty.items, empty.tombstones, empty.records), (0, 0, 0));
    assert!(empty.disk_bytes < full.disk_bytes / 2, "{full:?} {empty:?}");
    assert!(empty.segments <= 8, "{empty:?}");
    drop(pair.disk.take());
    pair.reopen();
    pair.compare();
}
