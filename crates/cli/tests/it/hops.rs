//! Requests over hops: letters, files and conversations, guards that stay, hops that die.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::{Network, Person, write_file};
use crate::talking::{is_text, person, read_until};

/// Shows how requests of somebody travel, after some that are measured.
fn paths(person: &Person, mode: &str, probes: &str) -> Value {
    person.json(&["--mode", mode, "path", "show", "--probes", probes]).remove(0)
}

fn guards(shown: &Value) -> Vec<String> {
    let guards = shown["guards"].as_array().expect("guards");
    guards.iter().map(|guard| guard["node"].as_str().expect("an id").to_owned()).collect()
}

#[test]
fn letters_and_files_go_over_hops_and_a_dead_hop_stops_nobody() {
    let network = Network::start(10);
    let (alice, _) = network.person("alice");
    let (bob, bob_id) = network.person("bob");
    for person in [&alice, &bob] {
        assert_eq!(person.json(&["profile", "mode"])[0]["mode"], "onion:3");
    }
    let (careless, _) = network.person("careless");
    careless.json(&["profile", "mode", "direct"]);
    assert_eq!(careless.json(&["profile", "mode"])[0]["mode"], "direct");
    assert!(!careless.home().join("hop-keys").exists());
    assert!(bob.json(&["inbox"]).is_empty());
    let sent = alice.json(&["send", &bob_id, "hello bob"]);
    assert!(sent[0]["message"]["receipts"].as_u64().unwrap() >= 7, "{sent:?}");
    assert_eq!(bob.json(&["inbox"])[0]["text"], "hello bob");

    let file = network.dir.path().join("photo.jpg");
    let bytes = write_file(&file, 300_000);
    alice.json(&["send", &bob_id, "--file", file.to_str().unwrap()]);
    let folder = network.dir.path().join("saved");
    bob.json(&["inbox", "--save", folder.to_str().unwrap()]);
    assert_eq!(fs::read(folder.join("photo.jpg")).unwrap(), bytes);

    // Two guards, the same ones in every command; three hops, each time others behind the guard.
    let shown = paths(&alice, "onion", "8");
    let kept = guards(&shown);
    assert_eq!((kept.len(), &shown["hop_keys"]), (2, &10.into()), "{shown}");
    assert_eq!(guards(&paths(&alice, "onion", "0")), kept);
    let taken = shown["paths"].as_array().expect("paths");
    assert!(taken.len() >= 6, "{shown}");
    for path in taken {
        let hops = path["hops"].as_array().expect("hops");
        assert_eq!(hops.len(), 3);
        assert!(kept.iter().any(|guard| hops[0] == guard.as_str()));
    }
    assert_eq!(paths(&alice, "onion:5", "1")["paths"][0]["hops"].as_array().unwrap().len(), 5);
    assert_eq!(paths(&alice, "direct", "0")["mode"], "direct");

    // Hop keys and guards are kept; what is broken is said, and found out again.
    for name in ["guards", "hop-keys", "hops"] {
        assert!(alice.home().join(name).exists(), "{name}");
    }
    fs::write(alice.home().join("hop-keys"), b"nothing").unwrap();
    let output = alice.output(&["path", "show", "--probes", "1"]);
    let said = crate::harness::text(&output.stderr);
    assert!(output.status.success() && said.contains("hop keys are read anew"), "{said}");
    assert_eq!(guards(&paths(&alice, "onion", "0")), kept);

    // Two nodes that are no guards die: they are in every third path, until they are avoided.
    let ids: Vec<String> = network.health_of_all("node");
    let victims: Vec<usize> = (0..10).filter(|node| !kept.contains(&ids[*node])).take(2).collect();
    for victim in victims {
        network.kill(victim);
    }
    let mut took = Vec::new();
    for number in 0..8 {
        let text = format!("letter {number}");
        let started = Instant::now();
        alice.json(&["send", &bob_id, &text]);
        took.push(started.elapsed());
    }
    crate::harness::remark(&format!(
        "with two of ten nodes dead, one letter after another took {took:?}"
    ));
    // Who is dead is known after the first ones. The limit is for busy machines; a command that found
    // everything out for itself would take several times as long.
    let rest: Duration = took[4..].iter().sum();
    assert!(rest < Duration::from_secs(16), "{took:?}");
    let got = bob.json(&["inbox"]);
    assert_eq!(got.len(), 8, "{got:?}");
    let avoided = paths(&alice, "onion", "3")["avoided"].as_u64();
    assert!(avoided >= Some(1), "what was found out is kept");
}

#[test]
fn people_talk_over_hops() {
    let network = Network::start(10);
    let (alice, alice_id) = person(&network, "alice");
    let (bob, bob_id) = person(&network, "bob");
    alice.json(&["chat", "send", &bob_id, "hello"]);
    read_until(&bob, is_text("hello"));
    bob.json(&["contact", "accept", &alice_id]);
    bob.json(&["chat", "send", &alice_id, "and back"]);
    read_until(&alice, is_text("and back"));
    for person in [&alice, &bob] {
        assert!(person.home().join("guards").exists(), "it went over hops");
        person.json(&["profile", "mode", "direct"]);
    }
    alice.json(&["chat", "send", &bob_id, "to the nodes themselves"]);
    read_until(&bob, is_text("to the nodes themselves"));
}

#[test]
fn people_talk_over_hops_that_wait() {
    let network = Network::start(10);
    let ((alice, alice_id), (bob, bob_id)) = (person(&network, "alice"), person(&network, "bob"));
    alice.json(&["chat", "send", &bob_id, "hello"]);
    read_until(&bob, is_text("hello"));
    for person in [&alice, &bob] {
        person.json(&["profile", "mode", "mix"]);
    }
    let mut took = Vec::new();
    let mut timed = |what: &'static str, person: &Person, args: &[&str]| {
        let started = Instant::now();
        let said = person.json(args);
        took.push((what, started.elapsed()));
        said
    };
    timed("accept", &bob, &["contact", "accept", &alice_id]);
    timed("answer", &bob, &["chat", "send", &alice_id, "and back"]);
    read_until(&alice, is_text("and back"));
    timed("send", &alice, &["chat", "send", &bob_id, "again"]);
    read_until(&bob, is_text("again"));
    crate::harness::remark(&format!("over hops that wait: {took:?}"));
    // Sent within one command each, which waits for the swarm. On an idle machine it is a third.
    assert!(took.iter().all(|(_, took)| *took < Duration::from_secs(40)), "{took:?}");
    let shown = paths(&alice, "mix", "3");
    assert!(shown["expected_delay_ms"].as_u64() >= Some(1_200), "{shown}");
    assert_eq!(shown["cover_bytes_per_second"], 81_920, "{shown}");
}

#[test]
fn a_network_without_enough_hops_says_what_to_do() {
    let network = Network::start(10);
    let (_, bob_id) = network.person("bob");
    let whole = fs::read_to_string(network.file()).unwrap();
    let mut parts = whole.split("[[node]]");
    let head = parts.next().unwrap();
    let two: String = parts.take(2).map(|part| format!("[[node]]{part}")).collect();
    let small = network.dir.path().join("small");
    fs::create_dir(&small).unwrap();
    let file = small.join("network.toml");
    fs::write(&file, format!("{head}{two}")).unwrap();
    let (alice, _) = Person::with_identity(&small, "alice", &file);
    let (code, said) = alice.fails(&["--mode", "onion", "send", &bob_id, "hello"]);
    assert_eq!(code, 3, "{said}");
    for what in ["needs 3 nodes", "there are 2", "--mode direct"] {
        assert!(said.contains(what), "{what}: {said}");
    }
    // Nobody is asked over hops here, and nobody needs to be.
    assert!(alice.json(&["--mode", "direct", "inbox"]).is_empty());
    let (code, said) = alice.fails(&["--mode", "tor", "inbox"]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("direct, onion or mix"), "{said}");
}
