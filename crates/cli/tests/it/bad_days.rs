//! What happens to real networks: nodes die under load, stall, lose their disk, fill it.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Network, Person, http_get, rpc, write_file};

#[test]
fn every_acknowledged_message_survives_kills_under_load() {
    let mut network = Network::start(10);
    let (bob, bob_id) = network.person("bob");
    assert!(bob.json(&["inbox"]).is_empty());
    let senders: Vec<Person> =
        (0..4).map(|index| network.person(&format!("sender-{index}")).0).collect();
    let acknowledged: BTreeSet<String> = std::thread::scope(|scope| {
        let threads: Vec<_> = senders
            .iter()
            .map(|sender| {
                let bob_id = &bob_id;
                scope.spawn(move || {
                    (0..8)
                        .map(|number| {
                            let sent = sender.json(&["send", bob_id, &format!("{number}")]);
                            sent[0]["message"]["id"].as_str().unwrap().to_owned()
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        for index in [1, 4, 9] {
            std::thread::sleep(Duration::from_millis(150));
            network.kill(index);
        }
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(acknowledged.len(), 32);
    let received = |all: bool| -> BTreeSet<String> {
        let args: &[&str] = if all { &["inbox", "--all"] } else { &["inbox"] };
        let got = bob.json(args);
        got.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(received(false), acknowledged);

    // The dead come back from their disks and catch up; then three others may die.
    let items = network.items(0).unwrap().max(network.items(2).unwrap());
    for index in [1, 4, 9] {
        network.restart(index);
    }
    for index in [1, 4, 9] {
        network.wait_items(index, items);
    }
    for index in [0, 2, 3] {
        network.kill(index);
    }
    assert_eq!(received(true), acknowledged);
}

#[test]
fn a_node_that_lost_its_disk_is_refilled() {
    let mut network = Network::start(4);
    let (alice, _) = network.person("alice");
    let (bob, bob_id) = network.person("bob");
    bob.json(&["inbox"]);
    for number in 0..5 {
        alice.json(&["send", &bob_id, &format!("{number}")]);
    }
    let items = (0..4).filter_map(|index| network.items(index)).max().unwrap();
    network.kill(2);
    let key = fs::read(network.data(2).join("node.key")).unwrap();
    fs::remove_dir_all(network.data(2)).unwrap();
    fs::create_dir(network.data(2)).unwrap();
    fs::write(network.data(2).join("node.key"), key).unwrap();
    let owner_only = fs::Permissions::from_mode(0o600);
    fs::set_permissions(network.data(2).join("node.key"), owner_only).unwrap();
    network.restart(2);
    network.wait_items(2, items);
}

#[test]
fn deleted_messages_do_not_come_back_with_a_node_that_slept() {
    let mut network = Network::start(4);
    let (alice, _) = network.person("alice");
    let (bob, bob_id) = network.person("bob");
    bob.json(&["inbox"]);
    alice.json(&["send", &bob_id, "forget this"]);
    network.wait_items(3, 3);
    network.kill(3);
    assert_eq!(bob.json(&["inbox", "--delete"]).len(), 1);
    network.restart(3);
    let started = Instant::now();
    // Two identity cards stay; the message goes from the node that slept.
    while network.items(3) != Some(2) {
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", network.items(3));
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(bob.json(&["inbox", "--all"]).is_empty());
}

#[test]
fn reading_goes_on_when_nothing_can_be_stored() {
    let network = Network::start(7);
    let (alice, _) = network.person("alice");
    let (bob, bob_id) = network.person("bob");
    bob.json(&["inbox"]);
    alice.json(&["send", &bob_id, "still here"]);
    // Four of seven make no quorum, but a path, and the message is on two of them at least.
    for node in 0..3 {
        network.kill(node);
    }
    let got = bob.json(&["inbox"]);
    assert_eq!(got[0]["text"], "still here");
    let (code, _) = alice.fails(&["send", &bob_id, "too late"]);
    assert!([3, 4].contains(&code), "{code}");
}

#[test]
fn a_stalled_peer_delays_nobody() {
    let network = Network::start(10);
    let (alice, _) = network.person("alice");
    let (bob, bob_id) = network.person("bob");
    bob.json(&["inbox"]);
    network.signal(5, Signal::STOP);
    network.signal(6, Signal::STOP);
    let started = Instant::now();
    for number in 0..5 {
        alice.json(&["send", &bob_id, &format!("{number}")]);
    }
    let took = started.elapsed();
    assert_eq!(bob.json(&["inbox"]).len(), 5);
    network.signal(5, Signal::CONT);
    network.signal(6, Signal::CONT);
    // Each command may meet a stalled node first and must leave it; none waits for it to wake.
    assert!(took < Duration::from_secs(45), "{took:?}");
    network.wait_items(5, network.items(0).unwrap());
}

#[test]
fn a_client_with_a_wrong_clock_is_told_the_time() {
    let network = Network::start(1);
    let hour = 3_600_000;
    let now = network.health(0).unwrap()["time_ms"].as_u64().unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        u64::try_from(now.as_millis()).unwrap()
    });
    for wrong in [now - hour, now + hour] {
        let params = json!({ "address": "ab".repeat(32), "namespace": 0, "timestamp": wrong,
                             "ttl": 60_000, "data": "00" });
        let answer = rpc(&network.nodes[0].http, "store", &params);
        assert_eq!(answer["error"]["data"]["name"], "clock", "{answer}");
        let server = answer["error"]["data"]["server_time"].as_u64().expect("the node's time");
        assert!(server.abs_diff(now) < 60_000);
    }
    assert_eq!(network.items(0), Some(0));
}

#[test]
fn a_file_that_was_interrupted_goes_on_where_it_was() {
    let network = Network::start(4);
    let (alice, _) = network.person("alice");
    let (bob, bob_id) = network.person("bob");
    bob.json(&["inbox"]);
    let file = network.dir.path().join("film.mkv");
    let bytes = write_file(&file, 24 * 1024 * 1024);
    let args = ["--json", "send", &bob_id, "--file", file.to_str().unwrap()];
    let mut sending = alice.command(&args).spawn().unwrap();
    // Some chunks are acknowledged: their number is written down in alice's home.
    let state = alice.home().join("sending");
    let started = Instant::now();
    let written = || {
        // Names with a dot are still being written.
        let names = fs::read_dir(&state).into_iter().flatten().flatten();
        names.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.')).count()
    };
    while written() == 0 {
        assert!(started.elapsed() < Duration::from_secs(30));
        std::thread::sleep(Duration::from_millis(5));
    }
    sending.kill().unwrap();
    sending.wait().unwrap();
    let sent = alice.json(&args[1..]);
    assert!(sent[0]["resumed_at_chunk"].as_u64().unwrap() > 0, "{sent:?}");
    let folder = network.dir.path().join("saved");
    bob.json(&["inbox", "--save", folder.to_str().unwrap()]);
    assert_eq!(fs::read(folder.join("film.mkv")).unwrap(), bytes);
}

#[test]
fn a_node_stops_within_five_seconds_when_asked() {
    let network = Network::start(1);
    let started = Instant::now();
    network.signal(0, Signal::TERM);
    while http_get(&network.nodes[0].http, "/health").is_some() {
        assert!(started.elapsed() < Duration::from_secs(5));
        std::thread::sleep(Duration::from_millis(20));
    }
}
