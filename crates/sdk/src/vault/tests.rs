use session_core::SeededEntropy;
use session_messaging::vault::{MemoryVault, Table};

use super::*;

const KEY: [u8; 32] = [7; 32];

fn open(path: &Path) -> FileVault {
    FileVault::open(path, VaultKey::from(KEY)).unwrap()
}

/// Runs a transaction.
fn write(vault: &mut FileVault, change: impl FnOnce(&mut FileVault)) {
    vault.begin().unwrap();
    change(vault);
    vault.commit().unwrap();
}

/// All bytes of all files of a folder: what a thief finds.
fn raw(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        all.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    all
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    let (first, rest) = (needle[0], &needle[1..]);
    let mut places = haystack.iter().enumerate().filter(|(_, byte)| **byte == first);
    places.any(|(place, _)| haystack[place + 1..].starts_with(rest))
}

/// The sealed form of a value, as it lies in the file.
fn sealed(vault: &FileVault, key: &[u8]) -> Vec<u8> {
    vault.db.query_row("SELECT value FROM kv WHERE key = ?1", [key], |row| row.get(0)).unwrap()
}

fn all(vault: &dyn Vault) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut found = Vec::new();
    vault.scan(&[], &[], false, &mut |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        true
    });
    found
}

#[test]
fn what_was_committed_is_there_and_what_was_not_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let mut vault = open(&path);
    write(&mut vault, |vault| vault.put(b"\x01a", b"kept"));
    vault.begin().unwrap();
    vault.put(b"\x01a", b"changed");
    vault.put(b"\x01b", b"new");
    assert_eq!(vault.get(b"\x01b").as_deref(), Some(&b"new"[..]), "seen within its transaction");
    drop(vault); // the program dies

    let mut vault = open(&path);
    assert_eq!(all(&vault), [(b"\x01a".to_vec(), b"kept".to_vec())]);
    vault.begin().unwrap();
    vault.remove(b"\x01a");
    vault.rollback();
    assert_eq!(vault.get(b"\x01a").as_deref(), Some(&b"kept"[..]));
    write(&mut vault, |vault| vault.remove(b"\x01a"));
    assert_eq!(all(&vault), []);
    // Many more than fit into a row of secrets, taken back and written again.
    let fill = |vault: &mut FileVault| {
        for number in 0..1000u32 {
            vault.put(&Table::Message.key(&[&number.to_be_bytes()]), &number.to_be_bytes());
        }
    };
    vault.begin().unwrap();
    fill(&mut vault);
    vault.rollback();
    assert_eq!(vault.check().unwrap(), 0);
    write(&mut vault, fill);
    drop(vault);
    assert_eq!(open(&path).check().unwrap(), 1000);
}

#[test]
fn it_answers_as_the_one_in_memory_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = open(&folder.path().join("vault"));
    let mut memory = MemoryVault::new();
    let mut rng = SeededEntropy::new(1);
    file.begin().unwrap();
    for round in 0..2000u64 {
        // Short keys of few bytes, so that prefixes, equal keys and 0xFF occur.
        let length = 1 + rng.below(3) as usize;
        let key: Vec<u8> =
            (0..length).map(|_| [0, 1, 2, 254, 255][rng.below(5) as usize]).collect();
        if rng.below(4) == 0 {
            file.remove(&key);
            memory.remove(&key);
        } else {
            let value = vec![round as u8; rng.below(40) as usize];
            file.put(&key, &value);
            memory.put(&key, &value);
        }
        let prefix = &key[..rng.below(key.len() as u64 + 1) as usize];
        let from =
            if rng.below(2) == 0 { vec![] } else { [prefix, &[rng.below(256) as u8]].concat() };
        let (backwards, most) = (rng.below(2) == 0, 1 + rng.below(5) as usize);
        let show = |vault: &dyn Vault| {
            let mut found = Vec::new();
            vault.scan(prefix, &from, backwards, &mut |key, value| {
                found.push((key.to_vec(), value.to_vec()));
                found.len() < most
            });
            found
        };
        assert_eq!(show(&file), show(&memory), "{prefix:?} from {from:?} backwards {backwards}");
        assert_eq!(file.get(&key), memory.get(&key));
    }
    file.commit().unwrap();
    assert_eq!(all(&file), all(&memory));
    assert_eq!(file.check().unwrap(), all(&memory).len() as u64);
}

#[test]
fn nothing_of_a_value_lies_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut vault = open(&folder.path().join("vault"));
    let secret = b"nobody must find this sentence";
    write(&mut vault, |vault| vault.put(&Table::Meta.key(&[b"x"]), secret));
    assert!(!holds(&raw(folder.path()), secret));
    assert!(!holds(&raw(folder.path()), &KEY));
}

#[test]
fn what_was_deleted_or_replaced_cannot_be_opened_any_more() {
    let folder = tempfile::tempdir().unwrap();
    let mut vault = open(&folder.path().join("vault"));
    let mut rng = SeededEntropy::new(2);
    let key = |number: u32| Table::Message.key(&[&number.to_be_bytes()]);
    let mut of = std::collections::BTreeMap::new();
    // Small values share pages, large ones fill several; the pages split and merge.
    for number in 0..1500u32 {
        let size = if number % 40 == 0 { 20_000 } else { 30 + rng.below(400) as usize };
        vault.begin().unwrap();
        vault.put(&key(number), &vec![1; size]);
        vault.commit().unwrap();
        let slot = vault.slot_of(&key(number)).unwrap();
        of.insert(number, (*vault.slots.get(slot).unwrap(), sealed(&vault, &key(number))));
    }
    let before = raw(folder.path());
    assert!(of.values().all(|(secret, it)| holds(&before, secret) && holds(&before, &it[..24])));
    let mut gone = Vec::new();
    for number in 0..1500u32 {
        match number % 3 {
            0 => write(&mut vault, |vault| vault.remove(&key(number))),
            1 => write(&mut vault, |vault| vault.put(&key(number), b"replaced")),
            _ => continue,
        }
        gone.push(of.remove(&number).unwrap());
    }
    let after = raw(folder.path());
    // Without its secret a value is closed for good, wherever copies of it may be.
    let left = gone.iter().filter(|(secret, _)| holds(&after, &secret[..16])).count();
    assert_eq!(left, 0, "of {} secrets", gone.len());
    let copies = gone.iter().filter(|(_, it)| holds(&after, &it[..24])).count();
    assert!(copies < 20, "{copies} of {} sealed values are still there", gone.len());
    assert!(of.values().all(|(secret, it)| holds(&after, secret) && holds(&after, &it[..24])));
    assert_eq!(vault.check().unwrap(), 1000);
}

#[test]
fn one_program_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let first = open(&path);
    let second = FileVault::open(&path, VaultKey::from(KEY)).map(drop);
    let Err(error @ VaultError::InUse(_)) = second else { panic!("{second:?}") };
    assert!(error.to_string().ends_with("is in use by another session program"));
    drop(first);
    open(&path);
}

#[test]
fn another_key_opens_nothing_and_damages_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    write(&mut open(&path), |vault| vault.put(b"\x01a", b"kept"));
    let opened = FileVault::open(&path, VaultKey::from([8; 32])).map(drop);
    assert!(matches!(opened, Err(VaultError::WrongKey(_))), "{opened:?}");
    assert_eq!(open(&path).get(b"\x01a").as_deref(), Some(&b"kept"[..]));
}

#[test]
fn an_altered_byte_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    let mut rng = SeededEntropy::new(3);
    {
        let mut vault = open(&path);
        write(&mut vault, |vault| {
            for number in 0..200u32 {
                let mut value = vec![0; 100];
                rng.fill(&mut value);
                vault.put(&Table::Message.key(&[&number.to_be_bytes()]), &value);
            }
        });
    }
    let good = std::fs::read(&path).unwrap();
    let values = {
        let vault = open(&path);
        all(&vault)
    };
    let mut noticed = 0;
    for _ in 0..200 {
        let mut bad = good.clone();
        let place = rng.below(bad.len() as u64) as usize;
        bad[place] ^= 1 << rng.below(8);
        std::fs::write(&path, &bad).unwrap();
        // Whatever was hit: nothing panics, and no other value is ever shown.
        match FileVault::open(&path, VaultKey::from(KEY)) {
            Err(_) => noticed += 1,
            Ok(vault) => match vault.check() {
                Err(_) => noticed += 1,
                // The byte was of free space, or of a counter that says nothing.
                Ok(count) => {
                    assert_eq!(count, 200);
                    assert_eq!(all(&vault), values);
                }
            },
        }
    }
    assert!(noticed > 120, "{noticed} of 200");
}

#[test]
fn a_transaction_that_met_a_damaged_value_is_not_durable() {
    let folder = tempfile::tempdir().unwrap();
    let mut vault = open(&folder.path().join("vault"));
    write(&mut vault, |vault| {
        vault.put(b"\x01a", b"one");
        vault.put(b"\x01b", b"two");
    });
    // Sealed values that change places do not open: each is bound to its key.
    vault
        .db
        .execute_batch(
            "UPDATE kv SET (slot, value) = (SELECT slot, value FROM kv WHERE key = x'0161')
             WHERE key = x'0162'",
        )
        .unwrap();
    vault.begin().unwrap();
    vault.put(b"\x01c", b"three");
    assert_eq!(vault.get(b"\x01b"), None);
    assert!(vault.has_failed());
    let committed = vault.commit();
    assert!(matches!(committed, Err(VaultError::Damaged { .. })), "{committed:?}");
    assert_eq!(vault.get(b"\x01c"), None, "rolled back");
    write(&mut vault, |vault| vault.put(b"\x01c", b"three"));
    assert!(vault.get(b"\x01c").is_some(), "the next transaction starts anew");
}

#[test]
fn other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vault");
    std::fs::write(&path, vec![b'x'; 5000]).unwrap();
    let opened = FileVault::open(&path, VaultKey::from(KEY)).map(drop);
    assert!(matches!(opened, Err(VaultError::Damaged { .. })), "{opened:?}");

    let other = folder.path().join("other");
    let db = Connection::open(&other).unwrap();
    db.execute_batch("PRAGMA application_id = 5; CREATE TABLE t (a)").unwrap();
    drop(db);
    let opened = FileVault::open(&other, VaultKey::from(KEY)).map(drop);
    assert!(matches!(opened, Err(VaultError::Damaged { .. })), "{opened:?}");

    let newer = folder.path().join("newer");
    drop(open(&newer));
    Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 2").unwrap();
    let opened = FileVault::open(&newer, VaultKey::from(KEY)).map(drop);
    assert!(matches!(opened, Err(VaultError::NewerVersion { got: 2, .. })), "{opened:?}");
}

#[test]
fn the_files_are_private() {
    use std::os::unix::fs::MetadataExt as _;
    let folder = tempfile::tempdir().unwrap();
    let (path, key) = (folder.path().join("vault"), folder.path().join(KEY_FILE));
    let mut vault = FileVault::open(&path, VaultKey::create(&key, None).unwrap()).unwrap();
    write(&mut vault, |vault| vault.put(b"\x01a", b"kept"));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().mode() & 0o077, 0, "{:?}", entry.path());
    }
}

#[test]
fn the_key_comes_back_from_its_file_and_only_with_its_passphrase() {
    let folder = tempfile::tempdir().unwrap();
    let (path, file) = (folder.path().join("vault"), folder.path().join(KEY_FILE));
    let key = VaultKey::create(&file, Some(b"correct horse")).unwrap();
    assert!(VaultKey::needs_passphrase(&file).unwrap());
    write(&mut FileVault::open(&path, key).unwrap(), |vault| vault.put(b"\x01a", b"kept"));
    assert!(matches!(VaultKey::read(&file, None), Err(KeyError::Content { .. })));
    assert!(matches!(VaultKey::read(&file, Some(b"wrong")), Err(KeyError::Content { .. })));
    let key = VaultKey::read(&file, Some(b"correct horse")).unwrap();
    assert_eq!(FileVault::open(&path, key).unwrap().get(b"\x01a").as_deref(), Some(&b"kept"[..]));
    // A key is never replaced: what it opens would be lost.
    assert!(matches!(VaultKey::create(&file, None), Err(KeyError::File(_))));
}
