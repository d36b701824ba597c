//! The main road: messages and files through ten nodes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;

use crate::harness::{Network, Person, write_file};

#[test]
fn the_demo_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Person::new(dir.path(), "nobody", None);
    let steps = nobody.json(&["up", "--demo"]);
    assert!(steps.len() >= 9, "{steps:?}");
    for what in [
        "11 nodes registered",
        "nodes [7, 8, 9] killed with SIGKILL",
        "sequencer killed with SIGKILL",
        "is healthy",
        "checked with the genesis alone",
        "node 10, which lies, was caught",
    ] {
        let told = |step: &Value| step["what"].as_str().unwrap().contains(what);
        assert!(steps.iter().any(told), "{what}: {steps:?}");
    }
}

#[test]
fn messages_and_files_go_both_ways() {
    let network = Network::start(10);
    let (alice, alice_id) = network.person("alice");
    let (bob, bob_id) = network.person("bob");

    // Nobody can write to somebody who has not been there yet.
    let (code, said) = alice.fails(&["send", &bob_id, "too early"]);
    assert_eq!(code, 5, "{said}");
    assert!(said.contains("has not published"), "{said}");

    assert!(bob.json(&["inbox"]).is_empty());
    let sent = alice.json(&["send", &bob_id, "hello bob"]);
    assert!(sent[0]["message"]["receipts"].as_u64().unwrap() >= 7, "{sent:?}");
    let got = bob.json(&["inbox"]);
    assert_eq!(got.len(), 1);
    assert_eq!((&got[0]["text"], &got[0]["from"]), (&"hello bob".into(), &alice_id.into()));
    assert_eq!(got[0]["id"], sent[0]["message"]["id"]);
    assert!(bob.json(&["inbox"]).is_empty(), "what was shown is not new");
    assert_eq!(bob.json(&["inbox", "--all"]).len(), 1);

    let file = network.dir.path().join("photo.jpg");
    let bytes = write_file(&file, 300_000);
    alice.json(&["send", &bob_id, "--file", file.to_str().unwrap()]);
    let folder = network.dir.path().join("saved");
    let got = bob.json(&["inbox", "--save", folder.to_str().unwrap()]);
    assert_eq!(got[0]["file"], "photo.jpg");
    assert_eq!(fs::read(folder.join("photo.jpg")).unwrap(), bytes);

    // Deleted everywhere: nothing is left to read, on any node.
    bob.json(&["inbox", "--all", "--delete", "--no-files"]);
    assert!(bob.json(&["inbox", "--all"]).is_empty());
}

#[test]
fn strange_input_is_refused_or_made_harmless() {
    let network = Network::start(4);
    let (alice, _) = network.person("alice");
    let (bob, bob_id) = network.person("bob");
    bob.json(&["inbox"]);
    for empty in ["", "  \n"] {
        assert_eq!(alice.fails(&["send", &bob_id, empty]).0, 2);
    }
    let (code, said) = alice.fails(&["send", &bob_id, &"x".repeat(60_001)]);
    assert_eq!(code, 2);
    assert!(said.contains("60001") && said.contains("send it as a file"), "{said}");
    // Errors after the client has started must not end in a crash.
    let dir = network.dir.path().to_str().unwrap().to_owned();
    for _ in 0..5 {
        assert_eq!(alice.fails(&["send", &bob_id, "--file", &dir]).0, 2);
        assert_eq!(alice.fails(&["send", &bob_id, "--file", "/no/such/file"]).0, 1);
    }

    // The longest name a file system takes, and a text that would clear the screen.
    let name = format!("{}.txt", "n".repeat(251));
    let file = network.dir.path().join(&name);
    write_file(&file, 100);
    alice.json(&["send", &bob_id, "--file", file.to_str().unwrap()]);
    alice.json(&["send", &bob_id, "\u{1b}[2Jboo"]);
    let folder = network.dir.path().join("saved");
    let shown = bob.output(&["inbox", "--no-files"]);
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(text.contains("\\u{1b}[2Jboo") && !text.contains('\u{1b}'), "{text:?}");
    // Listed and left: the next reading fetches it.
    bob.json(&["inbox", "--save", folder.to_str().unwrap()]);
    assert_eq!(fs::read(folder.join(&name)).unwrap(), fs::read(&file).unwrap());
}

#[test]
fn followers_see_messages_as_they_arrive() {
    let network = Network::start(4);
    let (alice, _) = network.person("alice");
    let (bob, bob_id) = network.person("bob");
    let mut following =
        bob.command(&["--json", "inbox", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(following.stdout.take().unwrap()).lines();
    // The first message may be read or pushed: the follower publishes its keys before it listens.
    while alice.output(&["send", &bob_id, "one"]).status.code() == Some(5) {}
    let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(first["text"], "one");
    alice.json(&["send", &bob_id, "two"]);
    let second: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
    assert_eq!(second["text"], "two");
    following.kill().unwrap();
    following.wait().unwrap();
}

#[test]
fn a_simulation_repeats_itself() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Person::new(dir.path(), "nobody", None);
    let digest = |seed: &str| {
        nobody.json(&["sim", "--seed", seed, "--minutes", "1", "--scenario", "crashes"])[0]["digest"]
            .clone()
    };
    assert_eq!(digest("7"), digest("7"));
    assert_ne!(digest("7"), digest("8"));
    assert_eq!(nobody.fails(&["sim", "--scenario", "sunshine"]).0, 2);
}

#[test]
fn load_is_measured() {
    let network = Network::start(1);
    let nobody = Person::new(network.dir.path(), "nobody", Some(&network.file()));
    let node = network.nodes[0].pid.to_string();
    for more in [&["--batch", "4"][..], &["--read"]] {
        let mut args = vec!["load", "--clients", "2", "--seconds", "1", "--pid", &node];
        args.extend_from_slice(more);
        let measured = &nobody.json(&args)[0];
        assert!(measured["count"].as_u64().unwrap() > 0, "{measured}");
        assert!(measured["p99_us"].as_u64().unwrap() > 0, "{measured}");
        assert!(measured["node_memory_kib"].as_u64().unwrap() > 0, "{measured}");
    }
}

#[test]
fn nodes_are_listed_and_answer() {
    let network = Network::start(3);
    let nobody = Person::new(network.dir.path(), "nobody", Some(&network.file()));
    let nodes = nobody.json(&["node", "list"]);
    assert_eq!(nodes.len(), 3);
    assert!(nodes.iter().all(|node| node["up"] == true), "{nodes:?}");
    let start = &nodes[0]["node"].as_str().unwrap()[..12];
    assert_eq!(nobody.json(&["node", "ping", start, "--count", "2"]).len(), 2);
    assert_eq!(nobody.fails(&["node", "ping", "ffffffffffffffffffff"]).0, 5);
    network.kill(0);
    let nodes = nobody.json(&["node", "list"]);
    assert_eq!(nodes.iter().filter(|node| node["up"] == true).count(), 2);
}
