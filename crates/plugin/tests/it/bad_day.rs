//! Wrong files, wrong flags, hostile requests, full disks, stops.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::common::{
    Impostor, Node, Person, Place, Refusal, Talk, get, post, raw, request, sessionvm, transfer,
};

/// The VM id of another document of the seed.
const OTHER_VMID: &str = "2ZbQaVuXHtT7vfJt8FmWEQKAT4NgtPqWEZHg5m3tUvEiSMnQNt";
const VMID: &str = "speKUgLBX6WRD5cfGeEfLa43LxTXUBckvtv4td6F3eTXvRP48";

#[test]
fn a_taken_port_is_named() {
    let place = Place::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (code, said) = place.fails("chain", &["--listen", &address]);
    assert_eq!(code, 1);
    assert!(said.contains(&address) && said.contains("in use"), "{said}");
}

#[test]
fn a_wrong_genesis_is_refused_in_words() {
    let place = Place::new();
    drop(place.start(&[]));
    let good: Value = serde_json::from_slice(&std::fs::read(place.genesis()).unwrap()).unwrap();
    let with = |change: &dyn Fn(&mut Value)| {
        let mut genesis = good.clone();
        change(&mut genesis);
        genesis.to_string()
    };
    let own = |entry: &str| format!("accounts[0]{entry}");
    for (name, text, needle) in [
        ("sums", with(&|genesis| genesis["supply"] = "1".into()), "supply".to_owned()),
        ("vmid", with(&|genesis| genesis["vmID"] = OTHER_VMID.into()), VMID.to_owned()),
        (
            "other",
            json!({"vmID": OTHER_VMID, "config": {}, "timestamp": 1}).to_string(),
            VMID.to_owned(),
        ),
        ("form", "{}".to_owned(), "version".to_owned()),
        ("text", "{".to_owned(), "EOF".to_owned()),
        (
            "account",
            with(&|genesis| genesis["accounts"][0]["account"] = "07".into()),
            own(".account"),
        ),
        ("keys", with(&|genesis| genesis["accounts"][0]["keys"] = "00".into()), own(".keys")),
        ("sequencer", with(&|genesis| genesis["sequencer"] = "00".into()), "sequencer".to_owned()),
        (
            "prefix",
            with(&|genesis| genesis["config"] = json!({"idPrefix": "05"})),
            "idPrefix".to_owned(),
        ),
    ] {
        let file = place.file("wrong.json", text);
        let (code, said) = place.fails(name, &["--genesis", file.to_str().unwrap()]);
        assert_eq!(code, 2, "{name}: {said}");
        assert!(said.contains(&needle), "{name}: {said}");
        assert!(!place.path().join(name).join("chain.redb").exists(), "{name}: a chain was begun");
    }
    let (code, said) = place.fails("missing", &["--genesis", "/nowhere/genesis.json"]);
    assert!(code == 2 && said.contains("/nowhere/genesis.json"), "{said}");
}

#[test]
fn unknown_keys_are_only_warned_of() {
    let place = Place::new();
    drop(place.start(&[]));
    let mut genesis: Value =
        serde_json::from_slice(&std::fs::read(place.genesis()).unwrap()).unwrap();
    genesis["colour"] = "blue".into();
    let genesis = place.file("more.json", genesis.to_string());
    let config = place.file("config.json", "{\n// what for?\n\"sessionTtl\": 5}");
    let node = place.start(&[
        "--genesis",
        genesis.to_str().unwrap(),
        "--config",
        config.to_str().unwrap(),
    ]);
    crate::common::eventually("warnings", || {
        let said = node.said();
        (said.contains("colour") && said.contains("sessionTtl")).then_some(())
    });
    let wrong = place.file("config.json", r#"{"maxMessages": 0}"#);
    let (code, said) = place.fails("other", &["--config", wrong.to_str().unwrap()]);
    assert!(code == 2 && said.contains("maxMessages"), "{said}");
}

#[test]
fn the_genesis_of_the_wild_makes_a_chain() {
    let place = Place::new();
    let wild = json!({
        "vmID": VMID,
        "config": {
            "sessionTTL": 60, "maxMessages": 5, "maxChannels": 2, "retentionDays": 1,
            "idPrefix": "07", "pqCrypto": {"keyExchange": "ML-KEM-768", "signature": "ML-DSA-65"},
        },
        "timestamp": 1_735_689_600,
    });
    let wild = place.file("wild.json", wild.to_string());
    let node = place.start(&["--genesis", wild.to_str().unwrap()]);
    let block = node.ask("GetBlock", json!({"height": 0}))["block"].clone();
    assert_eq!(block["builtAt"], 1_735_689_600);
    let mut ann = Person::new(1);
    let talk = Talk::open(&node, &[&ann]);
    for counter in 0..5 {
        node.ask("SendMessage", talk.message(&mut ann, counter, b"x", counter == 0));
    }
    node.refuses("SendMessage", talk.message(&mut ann, 5, b"x", false)).is(
        -32018,
        "session_full",
        json!({"limit": 5}),
    );
}

#[test]
fn a_data_directory_belongs_to_one_chain_and_one_process() {
    let (place, other) = (Place::new(), Place::new());
    let node = place.start(&[]);
    let (code, said) = place.fails("chain", &[]);
    assert!(code == 2 && said.contains("in use by another process"), "{said}");
    assert_eq!(node.health()["healthy"], true);
    drop(node);
    drop(other.start(&[]));
    let (genesis, key) = (other.genesis(), other.path().join("chain/sequencer.key"));
    let args = ["--genesis", genesis.to_str().unwrap(), "--sequencer-key", key.to_str().unwrap()];
    let (code, said) = place.fails("chain", &args);
    assert!(code == 2 && said.contains("chain"), "{said}");
    // Another's genesis with the own key is no chain of ours to make blocks for.
    let (code, said) = place.fails("chain", &args[..2]);
    assert!(code == 2 && said.contains("another sequencer"), "{said}");
    assert_eq!(place.start(&[]).health()["healthy"], true);
}

#[test]
fn a_damaged_database_is_refused() {
    let place = Place::new();
    drop(place.start(&[]));
    let database = place.path().join("chain/chain.redb");
    std::fs::write(&database, b"something else").unwrap();
    let (code, said) = place.fails("chain", &[]);
    assert!(code == 2 && said.contains("not a database"), "{said}");
}

#[test]
fn installing_warns_of_what_hosts_trip_over() {
    let place = Place::new();
    let plugins = place.path().join("plugins");
    let install = || sessionvm(&["install", plugins.to_str().unwrap()]).output().unwrap();
    let missing = install();
    assert_eq!(missing.status.code(), Some(2));
    std::fs::create_dir(&plugins).unwrap();
    for sidecar in [format!("{VMID}.sha256"), "README.md".to_owned()] {
        std::fs::write(plugins.join(sidecar), "x").unwrap();
    }
    let output = install();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("{VMID}.sha256")) && said.contains("README.md"), "{said}");
    let version = std::process::Command::new(plugins.join(VMID)).arg("version").output().unwrap();
    assert!(String::from_utf8(version.stdout).unwrap().starts_with("sessionvm "));
    let left: Vec<_> = std::fs::read_dir(&plugins).unwrap().flatten().collect();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn bombs_and_garbage_change_nothing() {
    let place = Place::new();
    let mut node = place.start(&[]);
    let (owner, bob) = (place.owner(), Person::new(2));
    node.accepted(&node.issue(&transfer(node.chain(), &owner, 0, bob.account(), 1)));
    let tip = node.tip();

    let deep = "[".repeat(500_000);
    let error = post(node.http, deep.as_bytes()).json();
    Refusal(error["error"].clone()).is(-32700, "parse_error", json!({}));
    let nested = format!("{{\"id\":1,\"method\":\"x\",\"params\":{}", "{\"a\":".repeat(100_000));
    let error = post(node.http, nested.as_bytes()).json();
    Refusal(error["error"].clone()).is(-32700, "parse_error", json!({}));
    let batch = format!("[{}{{}}]", "{},".repeat(400_000));
    let error = post(node.http, batch.as_bytes()).json();
    Refusal(error["error"].clone()).is(
        -32600,
        "invalid_request",
        json!({"got": 400_001, "limit": 20}),
    );
    let large = request(
        node.http,
        "POST",
        "/rpc",
        "content-type: application/json\r\n",
        &vec![b' '; 9 << 20],
    );
    assert!(large.is_none_or(|answer| answer.status == 413));
    let number = format!(
        r#"{{"id":1,"method":"sessionvm.GetBlock","params":{{"height":{}}}}}"#,
        "9".repeat(300)
    );
    let error = post(node.http, number.as_bytes()).json();
    assert!(error["error"].is_object(), "{error}");
    let tx = json!({"id": 1, "method": "sessionvm.IssueTx", "params": {"tx": "00".repeat(65_537)}});
    let error = post(node.http, tx.to_string().as_bytes()).json();
    Refusal(error["error"].clone()).is(
        -32602,
        "invalid_params",
        json!({"field": "tx", "limit": 65_536}),
    );

    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
        b"POST /rpc HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"POST /rpc HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\nx",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(node.http).unwrap();
        stream.write_all(garbage).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = String::new();
        // The connection may also just be cut off.
        let _ = stream.read_to_string(&mut answer);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{garbage:?}: {answer}");
    }
    // Who says no host is answered or refused, and nothing else happens.
    for version in ["1.0", "1.1"] {
        let head = format!("GET /health HTTP/{version}\r\nconnection: close\r\n\r\n");
        let without = raw(node.http, head.as_bytes()).unwrap();
        assert!([200, 400].contains(&without.status), "{without:?}");
    }
    // Whoever says half and waits holds nobody up.
    let mut half = TcpStream::connect(node.http).unwrap();
    half.write_all(b"POST /rpc HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{").unwrap();

    let health = node.health();
    assert_eq!((&health["healthy"], node.tip()), (&json!(true), tip));
    assert!(node.is_running());
}

#[test]
fn a_client_that_calls_too_often_is_told_when_to_come_back() {
    let place = Place::new();
    let node = place.start(&[]);
    drop(node);
    let dir = place.path().join("chain");
    let mut command =
        sessionvm(&["--listen", "127.0.0.1:0", "--client-rate", "5", "--stop-with-stdin"]);
    command.arg("--data-dir").arg(dir);
    let node = Node::start(command);
    let body = br#"{"id":1,"method":"sessionvm.Health"}"#;
    let refused = (0..100).find_map(|_| {
        let answer = post(node.http, body).json();
        answer.get("error").cloned()
    });
    let refused = refused.expect("a hundred calls at once are too many");
    Refusal(refused).is(-32042, "rate_limited", json!({"retry_after": 1}));
    // Operators still see how it is.
    assert_eq!(get(node.http, "/health").status, 200);
    std::thread::sleep(Duration::from_millis(1100));
    assert_eq!(post(node.http, body).json()["result"]["healthy"], true);
}

#[test]
fn it_stops_when_asked_to() {
    let place = Place::new();
    for how in ["TERM", "INT", "stdin"] {
        let mut node = place.start(&[]);
        let sequencer = node.http;
        let mut follower = place.follow("one", sequencer, &[]);
        // An open WebSocket, a request that waits for a block, half a request.
        let mut held = Vec::new();
        for request in [
            "GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            "GET /blocks/99?wait=25000 HTTP/1.1\r\nhost: x\r\n\r\n",
            "POST /rpc HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{",
        ] {
            let mut stream = TcpStream::connect(sequencer).unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            held.push(stream);
        }
        std::thread::sleep(Duration::from_millis(100));
        for stopped in [&mut node, &mut follower] {
            match how {
                "TERM" => stopped.signal(Signal::TERM),
                "INT" => stopped.signal(Signal::INT),
                _ => stopped.close_stdin(),
            }
            let (status, took) = stopped.wait();
            assert_eq!(status.code(), Some(0), "{how}: {}", stopped.said());
            assert!(took < Duration::from_secs(5), "{how}: {took:?}");
        }
    }
}

#[test]
fn a_follower_of_nobody_serves_what_it_has() {
    let place = Place::new();
    let sequencer = place.start(&[]);
    let (owner, bob) = (place.owner(), Person::new(2));
    let follower = place.follow("one", sequencer.http, &[]);
    let tx = sequencer.issue(&transfer(sequencer.chain(), &owner, 0, bob.account(), 1));
    follower.accepted(&tx);
    sequencer.kill();
    let fault = crate::common::eventually("it says so", || {
        follower.health()["fault"].as_str().map(str::to_owned)
    });
    assert!(fault.contains("connect") || fault.contains("connection"), "{fault}");
    assert_eq!(follower.accepted(&tx)["height"], 1);
    let chain = follower.chain();
    drop(follower);
    // And it starts without one.
    let impostor = Impostor::new(chain);
    let follower = place.follow("one", impostor.address, &[]);
    assert_eq!(follower.tip().0, 1);
}

/// Starts the chain with room for files of so many KiB only.
fn start_cramped(place: &Place, kibibytes: u32) -> Node {
    let mut command = std::process::Command::new("bash");
    let limit = format!("trap '' XFSZ; ulimit -f {kibibytes}; exec \"$@\"");
    command.args(["-c", &limit, "bash", env!("CARGO_BIN_EXE_sessionvm")]);
    command.args(["--listen", "127.0.0.1:0", "--stop-with-stdin", "--client-rate", "0"]);
    command.args(["--block-time", "20", "--data-dir"]).arg(place.path().join("chain"));
    Node::start(command)
}

#[test]
fn a_chain_whose_disk_is_full_ends_in_words_and_goes_on_later() {
    let place = Place::new();
    let mut node = start_cramped(&place, 4096);
    let (chain, owner, bob) = (node.chain(), place.owner(), Person::new(2));
    let mut seen = node.tip();
    for nonce in 0..2000 {
        let bytes = transfer(chain, &owner, nonce, bob.account(), 1);
        let Some(answer) = node.try_issue(&bytes) else { break };
        if answer["error"].is_object() {
            break;
        }
        let tip = crate::common::try_call(node.http, "sessionvm.GetHeight", &json!({}));
        let Some(tip) = tip else { break };
        let tip = &tip["result"];
        seen = (tip["height"].as_u64().unwrap(), tip["blockId"].clone(), tip["stateRoot"].clone());
    }
    let (status, _) = node.wait();
    assert_eq!(status.code(), Some(1), "{}", node.said());
    assert!(node.said().contains("cannot accept an own block"), "{}", node.said());
    assert!(seen.0 > 5, "{seen:?}");
    let node = place.start(&[]);
    let block = node.ask("GetBlock", json!({"height": seen.0}))["block"].clone();
    assert_eq!((&block["blockId"], &block["stateRoot"]), (&seen.1, &seen.2));
    let nonce =
        node.ask("GetAccount", json!({"account": owner.public().account_ref().to_string()}));
    let nonce = nonce["account"]["nonce"].as_u64().unwrap();
    node.accepted(&node.issue(&transfer(chain, &owner, nonce, bob.account(), 1)));
}

#[test]
fn messages_that_the_disk_does_not_take_are_refused_and_leave_no_gap() {
    let place = Place::new();
    let node = start_cramped(&place, 4096);
    let mut ann = Person::new(1);
    let talk = Talk::open(&node, &[&ann]);
    let id = json!({"sessionId": talk.id.to_string(), "limit": 200});
    let mut taken = 0;
    let refusal = (0..400).find_map(|counter| {
        let message = talk.message(&mut ann, counter, &vec![7; 60_000], true);
        let answer = crate::common::call(node.http, "sessionvm.SendMessage", &message);
        if answer["error"].is_null() {
            assert_eq!(answer["result"]["sequence"], json!(counter));
            taken = counter + 1;
        }
        answer.get("error").cloned()
    });
    Refusal(refusal.expect("24 MB do not fit")).is(-32603, "internal", json!({}));
    assert!(
        node.health()["fault"].as_str().unwrap().contains("closed to writes"),
        "{}",
        node.health()
    );
    assert_eq!(get(node.http, "/health").status, 503);
    let page = node.ask("GetMessages", id);
    assert_eq!(page["messages"][0]["sequence"], 0);
    drop(node);
    let node = place.start(&[]);
    assert_eq!(node.health()["healthy"], true);
    let session =
        node.ask("GetSession", json!({"sessionId": talk.id.to_string()}))["session"].clone();
    let next = session["nextSequence"].as_u64().unwrap();
    assert!(next == taken || next == taken + 1, "{next}, not {taken}");
    let sent = node.ask("SendMessage", talk.message(&mut ann, next, b"on", false));
    assert_eq!(sent["sequence"], json!(next));
}
