//! What a backup holds, how it is collected and how it is added.

use std::collections::BTreeMap;

use session_core::{
    AccountId, Blob, Decode as _, DecodeError, Encode as _, List, Reader, Time, choice,
};

use super::file::Writer;
use super::{BackupError, Report};
use crate::say::SayId;
use crate::thread::record::{self, Found, Kept, Thread};
use crate::thread::{self, ThreadId};
use crate::vault::{self, Table, Vault};

/// Longest row that is copied as it is.
const ROW_BYTES_MAX: usize = 65_536;

/// Rows that are copied as they are: what a person decided. Nothing that must not exist twice.
const COPIED: [(Table, &[u8]); 2] = [(Table::Account, b"c"), (Table::Meta, b"setting/")];

choice! {
    /// A piece of a backup. Numbers of threads and audiences are those of the exporting device.
    #[derive(Debug)]
    enum Entry {
        1 => Thread {
            number: ThreadId,
            thread: Box<Thread>,
        },
        /// The accounts that messages were said to.
        2 => Audience {
            of: ThreadId,
            number: u32,
            accounts: List<AccountId, { record::AUDIENCE_MAX }>,
        },
        /// A message that was deleted.
        3 => Gone {
            from: ThreadId,
            id: SayId,
            author: AccountId,
            at: Time,
        },
        4 => Message {
            from: ThreadId,
            place: u64,
            kept: Box<Kept>,
        },
        5 => Row {
            key: Blob<256>,
            value: Blob<ROW_BYTES_MAX>,
        },
        6 => End,
    }
}

/// Writes everything worth keeping.
pub(super) fn gather(vault: &dyn Vault, now: Time, out: &mut Writer) {
    out.write(&now.to_bytes());
    for (table, prefix) in COPIED {
        vault.scan(&table.key(&[prefix]), &[], false, &mut |key, value| {
            if let (Ok(key), Ok(value)) = (Blob::new(key), Blob::new(value)) {
                write(out, &Entry::Row { key, value });
            }
            true
        });
    }
    for number in thread::ids(vault) {
        let Some(thread) = record::load_thread(vault, number) else { continue };
        let newest = thread.audience;
        write(out, &Entry::Thread { number, thread: Box::new(thread) });
        for audience in 1..=newest {
            let accounts = List::new(record::audience(vault, number, audience));
            let accounts = accounts.expect("it was kept within the same limit");
            write(out, &Entry::Audience { of: number, number: audience, accounts });
        }
        vault.scan(&record::index_prefix(number), &[], false, &mut |key, value| {
            if let (Some((id, author)), Ok(Found::Gone { at })) =
                (record::id_of(key), Found::decode_exact(value))
            {
                write(out, &Entry::Gone { from: number, id, author, at });
            }
            true
        });
        vault.scan(&record::messages_prefix(number), &[], false, &mut |key, value| {
            if let (Some((from, place)), Ok(kept)) =
                (record::place_of(key), Kept::decode_exact(value))
            {
                write(out, &Entry::Message { from, place, kept: Box::new(kept) });
            }
            true
        });
    }
    write(out, &Entry::End);
}

fn write(out: &mut Writer, entry: &Entry) {
    out.write(&zeroize::Zeroizing::new(entry.to_bytes()));
}

/// Reads a stream entry by entry.
struct Entries<'a> {
    reader: Reader<'a>,
    read: usize,
}

impl<'a> Entries<'a> {
    fn new(plain: &'a [u8]) -> Result<(Time, Self), BackupError> {
        let mut reader = Reader::new(plain);
        let made_at =
            Time::decode(&mut reader).map_err(|source| BackupError::Entry { entry: 0, source })?;
        Ok((made_at, Self { reader, read: 0 }))
    }

    /// Returns the next entry, or `None` at the end.
    fn next(&mut self) -> Result<Option<Entry>, BackupError> {
        let entry = self.read;
        let decoded = Entry::decode(&mut self.reader).and_then(|entry| match entry {
            Entry::Row { key, .. } if !is_copied(&key) => {
                Err(DecodeError::Invalid { field: "row", why: "of a table that is not copied" })
            }
            entry => Ok(entry),
        });
        self.read += 1;
        match decoded.map_err(|source| BackupError::Entry { entry, source })? {
            Entry::End => Ok(None),
            entry => Ok(Some(entry)),
        }
    }
}

fn is_copied(key: &[u8]) -> bool {
    COPIED.iter().any(|(table, prefix)| key.starts_with(&table.key(&[prefix])))
}

/// Reads all entries, so that nothing is taken of a stream that is not understood to its end.
pub(super) fn check(plain: &[u8]) -> Result<(), BackupError> {
    let (_, mut entries) = Entries::new(plain)?;
    while entries.next()?.is_some() {}
    Ok(())
}

/// Adds what is not here.
pub(super) fn merge(vault: &mut dyn Vault, now: Time, plain: &[u8]) -> Report {
    let mut merge = Merge {
        vault,
        now,
        report: Report::default(),
        threads: BTreeMap::new(),
        audiences: BTreeMap::new(),
    };
    let Ok((made_at, mut entries)) = Entries::new(plain) else { return merge.report };
    merge.report.made_at = made_at;
    while let Ok(Some(entry)) = entries.next() {
        merge.add(entry);
    }
    merge.report
}

struct Merge<'a> {
    vault: &'a mut dyn Vault,
    now: Time,
    report: Report,
    /// The numbers that threads have here.
    threads: BTreeMap<ThreadId, ThreadId>,
    audiences: BTreeMap<(ThreadId, u32), Vec<AccountId>>,
}

impl Merge<'_> {
    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Thread { number, thread } => self.add_thread(number, *thread),
            Entry::Audience { of, number, accounts } => {
                self.audiences.insert((of, number), accounts.into_vec());
            }
            Entry::Gone { from, id, author, at } => {
                let Some(&thread) = self.threads.get(&from) else { return };
                if id == SayId::default() {
                    return record::forget_lines(self.vault, thread, at.as_millis());
                }
                let key = record::index_key(thread, id, author);
                if self.vault.get(&key).is_none() {
                    vault::save(self.vault, &key, &Found::Gone { at });
                }
            }
            Entry::Message { from, place, kept } => self.add_message(from, place, *kept),
            Entry::Row { key, value } => {
                if self.vault.get(&key).is_none() {
                    self.vault.put(&key, &value);
                    self.report.rows += 1;
                }
            }
            Entry::End => {}
        }
    }

    fn add_thread(&mut self, number: ThreadId, thread: Thread) {
        let known = thread::thread_of(self.vault, &thread.peer);
        let here = thread::open_thread(self.vault, &thread.peer, thread.active);
        self.threads.insert(number, here);
        if known.is_none() {
            // Messages, and what is counted of them, come one by one.
            let empty = Thread { last: 0, unread: 0, early: 0, audience: 0, ..thread };
            record::save_thread(self.vault, here, &empty);
            self.report.threads += 1;
        }
    }

    fn add_message(&mut self, from: ThreadId, place: u64, mut kept: Kept) {
        let Some(&thread) = self.threads.get(&from) else { return };
        if let Some(progress) = &mut kept.progress {
            let accounts = self.audiences.get(&(from, progress.audience));
            let accounts = accounts.map(Vec::as_slice).unwrap_or_default();
            progress.audience = thread::import_audience(self.vault, thread, kept.author, accounts);
        }
        match thread::import(self.vault, self.now, thread, place, kept) {
            thread::Imported::New => self.report.messages += 1,
            thread::Imported::Known => self.report.known += 1,
            thread::Imported::Gone => self.report.gone += 1,
        }
    }
}
