//! What comes back from a backup, and what is refused.

use session_core::{AccountId, SeededEntropy, Span, Text, Time};
use session_crypto::SymmetricKey;

use super::file::CHUNK_BYTES;
use super::{BackupError, Report, export, import};
use crate::messenger::api::Stored;
use crate::say::{DeviceId, Disappear, Peer, Said, Say, SayId, Standing};
use crate::thread::record::{Kept, message_key};
use crate::thread::{self, Message, SystemLine, ThreadId};
use crate::vault::{self, MemoryVault, Table, Vault as _};

const SEALED: usize = CHUNK_BYTES + 16;
const HEADER: usize = 41;

fn at(seconds: u64) -> Time {
    Time::from_millis(1_000_000_000) + Span::from_secs(seconds)
}

fn who(number: u8) -> AccountId {
    AccountId::from([number; 32])
}

fn peer(number: u8) -> Peer {
    Peer::Account { account: who(number) }
}

fn key() -> SymmetricKey {
    SymmetricKey::from([9; 32])
}

fn say(vault: &mut MemoryVault, now: Time, thread: ThreadId, by: u8, id: u8, body: &str) -> u64 {
    let body = Text::new(body).expect("short");
    let say = Say::Text { body, reply_to: None };
    let said = Said { id: SayId([id; 16]), sent_at: now, say };
    let audience = [who(1), who(2), who(3)];
    let applied =
        thread::apply(vault, now, thread, who(by), DeviceId([by; 16]), by == 1, &said, &audience);
    applied.places.first().copied().unwrap_or_default()
}

/// A device with two threads and everything that can be in them.
fn device() -> MemoryVault {
    let mut vault = MemoryVault::new();
    let [two, three] = [2, 3].map(|number| thread::open_thread(&mut vault, &peer(number), at(0)));
    thread::set_standing(&mut vault, two, Standing::Accepted);
    thread::set_name(&mut vault, two, "Two");
    let big = "words ".repeat(5000);
    for number in 10..20 {
        say(&mut vault, at(number.into()), two, number % 2 + 1, number, &big);
    }
    thread::mark_read(&mut vault, at(30), two, u64::MAX);
    say(&mut vault, at(31), two, 2, 31, "unread");
    say(&mut vault, at(32), two, 1, 32, "own");
    thread::sent(&mut vault, two, SayId([32; 16]), 1);
    let stored = Stored {
        item: session_core::MessageId::from([1; 32]),
        expiry: at(99_999),
        good: 4,
        needed: 3,
        of: 5,
        proof: b"a proof of storage".to_vec(),
    };
    thread::stored(&mut vault, at(33), two, SayId([32; 16]), &stored);
    let ids = session_core::List::new(vec![SayId([32; 16])]).expect("one");
    let read = Said { id: SayId([33; 16]), sent_at: at(34), say: Say::Read { ids } };
    let device = DeviceId([3; 16]);
    thread::apply(&mut vault, at(34), two, who(3), device, false, &read, &[]);
    thread::note(&mut vault, at(35), two, SystemLine::Gap);
    thread::forget(&mut vault, at(36), two, &[SayId([11; 16])]);
    let span = Span::from_secs(1000);
    thread::set_disappear(&mut vault, at(40), three, Disappear::AfterSend { span });
    say(&mut vault, at(50), three, 3, 50, "disappears");
    vault.put(&Table::Account.key(&[b"c", &[7; 32]]), b"a contact");
    vault.put(&Table::Meta.key(&[b"setting/theme"]), b"dark");
    for (table, name) in [
        (Table::Mls, &b"ratchet"[..]),
        (Table::Group, b"group"),
        (Table::Chain, b"chain"),
        (Table::Outbox, b"item"),
        (Table::Prekey, b"key"),
        (Table::Meta, b"account/own"),
    ] {
        vault.put(&table.key(&[name]), b"never in a backup");
    }
    vault
}

fn backup(vault: &MemoryVault) -> Vec<u8> {
    export(vault, &key(), &mut SeededEntropy::new(3), at(60))
}

fn everything(vault: &MemoryVault, number: u8) -> Vec<Message> {
    let thread = thread::thread_of(vault, &peer(number)).expect("it is there");
    thread::messages(vault, thread, None, 1000)
}

fn rows(vault: &MemoryVault) -> Vec<(Vec<u8>, Vec<u8>)> {
    vault.entries().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}

#[test]
fn an_empty_device_gets_everything_back() {
    let old = device();
    let bytes = backup(&old);
    assert_eq!((bytes.len() - HEADER) % SEALED, 0);
    let mut new = MemoryVault::new();
    // Numbers of threads differ from device to device.
    thread::open_thread(&mut new, &peer(77), at(55));
    let report = import(&mut new, &key(), at(61), &bytes).expect("it is whole");
    let expected = Report { made_at: at(60), threads: 2, messages: 13, known: 0, gone: 0, rows: 2 };
    assert_eq!(report, expected);
    assert_eq!(everything(&new, 2), everything(&old, 2));
    assert_eq!(everything(&new, 3), everything(&old, 3));
    let summaries = |vault: &MemoryVault| -> Vec<_> {
        let all = thread::threads(vault).into_iter().filter(|it| it.peer != peer(77));
        all.map(|it| thread::Summary { id: ThreadId::default(), ..it }).collect()
    };
    assert_eq!(summaries(&new), summaries(&old));
    let own = everything(&new, 2).into_iter().find(|it| it.id == SayId([32; 16]));
    let status = own.expect("it is there").status;
    assert_eq!((status.stored, status.delivered, status.read), (Some(at(33)), 1, 1));
    assert_eq!(new.get(&Table::Account.key(&[b"c", &[7; 32]])), Some(b"a contact".to_vec()));
    for (key, value) in new.entries() {
        assert_ne!(value, b"never in a backup", "{key:?}");
    }
    assert_eq!(thread::next_expiry(&new), Some(at(50 + 1000)));
}

/// Whatever is changed in a record of a thread or message changes this: then the version does, too.
#[test]
fn the_format_is_fixed() {
    let bytes = backup(&device());
    assert_eq!(bytes[..9], *b"LUXBACKP\x01");
    let hash = session_crypto::hash::blake3(&bytes);
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, "ec2230fd4ddb3963bccf19cdb053c46d92a432141a6e4b0cbe4d4348527c8378");
    import(&mut MemoryVault::new(), &key(), at(61), &bytes).expect("it is read");
}

#[test]
fn doing_it_twice_changes_nothing() {
    let bytes = backup(&device());
    let mut new = MemoryVault::new();
    import(&mut new, &key(), at(61), &bytes).expect("it is whole");
    let before = rows(&new);
    let report = import(&mut new, &key(), at(62), &bytes).expect("it is whole");
    assert_eq!((report.threads, report.messages, report.rows), (0, 0, 0));
    assert_eq!((report.known, report.gone), (13, 0));
    assert_eq!(rows(&new), before);
    // The same for the device that it came from.
    let mut old = device();
    let before = rows(&old);
    import(&mut old, &key(), at(62), &bytes).expect("it is whole");
    assert_eq!(rows(&old), before);
}

#[test]
fn what_was_deleted_does_not_come_back() {
    let mut old = device();
    let bytes = backup(&old);
    let two = thread::thread_of(&old, &peer(2)).expect("it is there");
    thread::forget(&mut old, at(63), two, &[SayId([31; 16])]);
    thread::expire(&mut old, at(2000));
    let report = import(&mut old, &key(), at(2000), &bytes).expect("it is whole");
    assert_eq!((report.messages, report.gone), (0, 2));
    assert!(everything(&old, 3).is_empty());
    // A new device learns what was deleted, and drops what has expired meanwhile.
    let mut new = MemoryVault::new();
    let report = import(&mut new, &key(), at(2000), &bytes).expect("it is whole");
    assert_eq!((report.messages, report.gone), (12, 1));
    let two = thread::thread_of(&new, &peer(2)).expect("it is there");
    assert_eq!(say(&mut new, at(2001), two, 2, 11, "again"), 0);
    assert!(everything(&new, 2).iter().all(|it| it.id != SayId([11; 16])));
}

#[test]
fn forgotten_lines_and_messages_without_a_name_stay_away() {
    let mut old = device();
    let two = thread::thread_of(&old, &peer(2)).expect("it is there");
    let Message { place, .. } = everything(&old, 2).pop().expect("it is there");
    // What a program may have kept that took any name.
    let own = thread::by_id(&old, two, SayId([32; 16])).expect("it is there");
    let mut kept: Kept = vault::load(&old, &message_key(two, own.place)).expect("it is there");
    kept.id = SayId::default();
    vault::save(&mut old, &message_key(two, place + 1), &kept);
    let bytes = backup(&old);
    let mut new = MemoryVault::new();
    let report = import(&mut new, &key(), at(61), &bytes).expect("it is whole");
    assert_eq!((report.messages, report.gone), (13, 1));

    let two = thread::thread_of(&new, &peer(2)).expect("it is there");
    thread::forget_all(&mut new, at(62), two);
    thread::note(&mut new, at(63), two, SystemLine::Gap);
    let report = import(&mut new, &key(), at(64), &bytes).expect("it is whole");
    assert_eq!((report.messages, report.known, report.gone), (0, 1, 13));
    assert_eq!(everything(&new, 2).len(), 1, "what happened since is not forgotten");
    // A device that learns of it from a backup does not take them either.
    let mut third = MemoryVault::new();
    for bytes in [backup(&new), bytes] {
        import(&mut third, &key(), at(65), &bytes).expect("it is whole");
    }
    assert_eq!(everything(&third, 2), everything(&new, 2));
}

#[test]
fn what_is_here_stays_and_older_messages_go_before_it() {
    let bytes = backup(&device());
    let mut here = MemoryVault::new();
    let two = thread::open_thread(&mut here, &peer(2), at(70));
    thread::set_name(&mut here, two, "renamed");
    say(&mut here, at(71), two, 2, 71, "newer");
    thread::mark_read(&mut here, at(72), two, u64::MAX);
    here.put(&Table::Meta.key(&[b"setting/theme"]), b"light");
    let report = import(&mut here, &key(), at(73), &bytes).expect("it is whole");
    assert_eq!((report.threads, report.messages, report.rows), (1, 13, 1));
    let all = everything(&here, 2);
    assert_eq!(all.last().map(|it| it.id), Some(SayId([71; 16])));
    assert!(all.iter().all(|it| it.read), "what lies before the read mark is no news");
    let summary = thread::summary(&here, two).expect("it is there");
    assert_eq!((summary.name.as_str(), summary.unread), ("renamed", 0));
    assert_eq!(here.get(&Table::Meta.key(&[b"setting/theme"])), Some(b"light".to_vec()));
}

#[test]
fn a_file_that_was_cut_is_refused() {
    let bytes = backup(&device());
    let chunks = (bytes.len() - HEADER) / SEALED;
    assert!(chunks >= 3, "the test needs several chunks");
    let refused = |bytes: &[u8]| {
        let mut vault = MemoryVault::new();
        let error = import(&mut vault, &key(), at(61), bytes).expect_err("it is not whole");
        assert_eq!(vault.entries().count(), 0, "something was taken of it");
        error
    };
    for got in 1..chunks {
        assert_eq!(refused(&bytes[..HEADER + got * SEALED]), BackupError::Cut { got });
    }
    for length in [9, HEADER, HEADER + 1, HEADER + SEALED - 1, bytes.len() - 1] {
        assert_eq!(refused(&bytes[..length]), BackupError::Length { got: length });
    }
    for length in 0..8 {
        assert_eq!(refused(&bytes[..length]), BackupError::NotABackup);
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(refused(&longer), BackupError::Length { got: longer.len() });
    let twice = [&bytes[..], &bytes[HEADER..]].concat();
    assert_eq!(refused(&twice), BackupError::Altered { chunk: chunks - 1 });
}

#[test]
fn a_file_that_was_altered_is_refused() {
    let bytes = backup(&device());
    let chunks = (bytes.len() - HEADER) / SEALED;
    let refused = |bytes: &[u8], key: &SymmetricKey| {
        let mut vault = MemoryVault::new();
        let error = import(&mut vault, key, at(61), bytes).expect_err("it was altered");
        assert_eq!(vault.entries().count(), 0, "something was taken of it");
        error
    };
    assert_eq!(refused(&bytes, &SymmetricKey::from([8; 32])), BackupError::WrongKey);
    for chunk in 0..chunks {
        for offset in [0, SEALED / 2, SEALED - 1] {
            let mut bytes = bytes.clone();
            bytes[HEADER + chunk * SEALED + offset] ^= 1;
            let expected =
                if chunk == 0 { BackupError::WrongKey } else { BackupError::Altered { chunk } };
            assert_eq!(refused(&bytes, &key()), expected);
        }
    }
    let mut swapped = bytes.clone();
    let (left, right) = swapped[HEADER + SEALED..HEADER + 3 * SEALED].split_at_mut(SEALED);
    left.swap_with_slice(right);
    assert_eq!(refused(&swapped, &key()), BackupError::Altered { chunk: 1 });
    // A chunk of another backup under the same key.
    let mut mixed = bytes.clone();
    let other = export(&device(), &key(), &mut SeededEntropy::new(4), at(60));
    mixed[HEADER + SEALED..HEADER + 2 * SEALED]
        .copy_from_slice(&other[HEADER + SEALED..HEADER + 2 * SEALED]);
    assert_eq!(refused(&mixed, &key()), BackupError::Altered { chunk: 1 });
    for (offset, expected) in [
        (0, BackupError::NotABackup),
        (8, BackupError::NotABackup),
        (9, BackupError::WrongKey),
        (40, BackupError::WrongKey),
    ] {
        let mut bytes = bytes.clone();
        bytes[offset] ^= 1;
        assert_eq!(refused(&bytes, &key()), expected, "byte {offset}");
    }
    let mut newer = bytes;
    newer[8] = 2;
    assert_eq!(refused(&newer, &key()), BackupError::NewerVersion { got: 2 });
}

#[test]
fn rows_of_other_tables_are_refused() {
    let mut out = super::file::Writer::new(&key(), &mut SeededEntropy::new(5));
    let row = [&[0; 8][..], &[5, 0, 0, 0, 2, 2, b'x', 0, 0, 0, 1, 1, 6]].concat();
    out.write(&row);
    let mut vault = MemoryVault::new();
    let error = import(&mut vault, &key(), at(61), &out.finish()).expect_err("of the ratchets");
    assert!(matches!(error, BackupError::Entry { entry: 0, .. }), "{error}");
    // A stream without its end.
    let mut out = super::file::Writer::new(&key(), &mut SeededEntropy::new(5));
    out.write(&[0; 8]);
    let error = import(&mut vault, &key(), at(61), &out.finish()).expect_err("it has no end");
    assert!(matches!(error, BackupError::Entry { entry: 0, .. }), "{error}");
    assert_eq!(vault.entries().count(), 0);
}
