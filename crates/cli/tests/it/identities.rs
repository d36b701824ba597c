//! Identities without a network.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::harness::Person;

#[test]
fn an_identity_is_made_shown_exported_and_imported() {
    let dir = tempfile::tempdir().unwrap();
    let alice = Person::new(dir.path(), "alice", None);
    let made = alice.json(&["id", "new", "--plain"]);
    let id = made[0]["id"].as_str().unwrap();
    assert_eq!(id.len(), 66);
    assert!(id.starts_with("07"));
    assert_eq!(alice.json(&["id", "show"])[0]["id"], id);
    let mode = fs::metadata(alice.home().join("identity.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let backup = dir.path().join("backup");
    alice.json(&["id", "export", backup.to_str().unwrap(), "--plain"]);
    assert_eq!(fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    let elsewhere = Person::new(dir.path(), "elsewhere", None);
    elsewhere.json(&["id", "import", backup.to_str().unwrap(), "--plain"]);
    assert_eq!(elsewhere.json(&["id", "show"])[0]["id"], id);

    // Public keys are a contact, not an identity.
    let card = dir.path().join("card");
    alice.json(&["id", "export", card.to_str().unwrap(), "--public"]);
    let bob = Person::new(dir.path(), "bob", None);
    assert_eq!(bob.json(&["id", "import", card.to_str().unwrap()])[0]["contact"], id);
    assert_eq!(bob.fails(&["id", "show"]).0, 5);
}

#[test]
fn a_second_identity_does_not_replace_the_first_by_accident() {
    let dir = tempfile::tempdir().unwrap();
    let alice = Person::new(dir.path(), "alice", None);
    let first = alice.json(&["id", "new", "--plain"])[0]["id"].clone();
    let (code, said) = alice.fails(&["id", "new", "--plain"]);
    assert_eq!(code, 2);
    assert!(said.contains("--force"), "{said}");
    assert_eq!(alice.json(&["id", "show"])[0]["id"], first);
    assert_ne!(alice.json(&["id", "new", "--plain", "--force"])[0]["id"], first);
}

#[test]
fn a_passphrase_is_asked_for_and_checked() {
    let dir = tempfile::tempdir().unwrap();
    let alice = Person::new(dir.path(), "alice", None);
    // Nobody is there to type, and nothing says that the keys may lie in the clear.
    let (code, said) = alice.fails(&["id", "new"]);
    assert_eq!(code, 2);
    assert!(said.contains("SESSION_PASSPHRASE") && said.contains("--plain"), "{said}");

    let with = |passphrase: &str, args: &[&str]| {
        alice.command(args).env("SESSION_PASSPHRASE", passphrase).output().unwrap()
    };
    assert!(with("correct horse", &["id", "new"]).status.success());
    assert!(with("correct horse", &["id", "show"]).status.success());
    let wrong = with("battery staple", &["id", "show"]);
    assert_eq!(wrong.status.code(), Some(1));
    let said = String::from_utf8(wrong.stderr).unwrap();
    assert!(said.contains("passphrase"), "{said}");
    let file = fs::read(alice.home().join("identity.key")).unwrap();
    assert!(file.starts_with(b"LUXIDENT"));
}

#[test]
fn a_damaged_identity_file_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let alice = Person::new(dir.path(), "alice", None);
    alice.json(&["id", "new", "--plain"]);
    let path = alice.home().join("identity.key");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (code, said) = alice.fails(&["id", "show"]);
    assert_eq!(code, 1);
    assert!(said.contains("identity.key"), "{said}");
    fs::write(&path, b"not a key").unwrap();
    assert!(alice.fails(&["id", "show"]).1.contains("identity.key"));
}

#[test]
fn wrong_use_has_exit_code_two_and_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let alice = Person::new(dir.path(), "alice", None);
    alice.json(&["id", "new", "--plain"]);
    let (code, said) = alice.fails(&["send", "07ab", "hello"]);
    assert_eq!(code, 2);
    assert!(said.contains("07ab"), "{said}");
    let legacy = format!("05{}", "ab".repeat(32));
    assert_eq!(alice.fails(&["send", &legacy, "hello"]).0, 2);
    let id = format!("07{}", "ab".repeat(32));
    let (code, said) = alice.fails(&["send", &id, "hello"]);
    assert_eq!(code, 2);
    assert!(said.contains("network file"), "{said}");
    assert_eq!(alice.fails(&["send", &id, "hello", "--ttl", "15d"]).0, 2);
    assert_eq!(alice.fails(&["send", &id]).0, 2);
    assert_eq!(alice.fails(&["no-such-command"]).0, 2);

    let network = dir.path().join("broken.toml");
    fs::write(&network, "network = \"x\"\n[[node]]\nid = \"zz\"\n").unwrap();
    let (code, said) = alice.fails(&["--network", network.to_str().unwrap(), "node", "list"]);
    assert_eq!(code, 2);
    assert!(said.contains("node[0].id"), "{said}");
}
