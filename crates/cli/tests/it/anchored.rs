//! Receipts and manifests that the chain shows to everybody.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use session_crypto::{Identity, Phrase, identity_file};

use crate::chains::{chain, path};
use crate::harness::{Network, Person, text};
use crate::talking::{friends, person};
use crate::terminal::Screen;

fn said(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn receipts_convince_without_a_network() {
    let network = Network::start(10);
    let ((alice, _), (_, bob_id)) = friends(&network);
    let sent = alice.json(&["chat", "send", &bob_id, "for the record"]);
    let id = sent[0]["id"].as_str().expect("an id");
    let file = network.dir.path().join("receipt");
    let exported = alice.json(&["receipt", "export", &bob_id, id, "--out", path(&file)]);
    assert_eq!(exported[0]["anchored"], true, "{exported:?}");

    let nobody = Person::new(network.dir.path(), "nobody", None);
    let (nodes, genesis) = (network.file(), network.genesis());
    let check = |file: &Path, flag: &str, believed: &Path| {
        nobody.output(&["--json", "verify", "receipt", path(file), flag, path(believed)])
    };
    // The genesis is enough; so are the nodes for whoever believes them.
    let by_chain = said(&check(&file, "--genesis", &genesis));
    assert!(by_chain["signed_by"].as_u64() >= Some(7), "{by_chain}");
    assert_eq!((&by_chain["against"], &by_chain["swarm"]), (&"chain".into(), &10.into()));
    assert!(by_chain["height"].as_u64() > Some(0), "{by_chain}");
    let by_nodes = said(&check(&file, "--nodes", &nodes));
    assert_eq!((&by_nodes["against"], &by_nodes["item"]), (&"nodes".into(), &by_chain["item"]));
    assert_eq!(nobody.fails(&["verify", "receipt", path(&file)]).0, 2, "nothing is believed");

    // Any byte that is another one is noticed.
    let bytes = fs::read(&file).expect("it was written");
    let tampered = network.dir.path().join("tampered");
    for place in (0..bytes.len()).step_by(bytes.len() / 60) {
        let mut wrong = bytes.clone();
        wrong[place] ^= 1;
        fs::write(&tampered, &wrong).expect("it is written");
        let code = check(&tampered, "--genesis", &genesis).status.code();
        assert_eq!(code, Some(4), "byte {place} of {}", bytes.len());
    }
    // The same nodes on another chain are no proof, and neither is a file that shows no chain.
    let other = fs::read_to_string(&genesis).expect("it is there");
    let mut other: Value = serde_json::from_str(&other).expect("JSON");
    other["epochSeconds"] = (other["epochSeconds"].as_u64().expect("seconds") + 1).into();
    let elsewhere = network.dir.path().join("elsewhere.json");
    fs::write(&elsewhere, other.to_string()).expect("it is written");
    assert_eq!(check(&file, "--genesis", &elsewhere).status.code(), Some(4));
    let bare = network.dir.path().join("bare");
    let mut command = alice.command(&["receipt", "export", &bob_id, id, "--out", path(&bare)]);
    let output = command.env("SESSION_CHAIN", "http://127.0.0.1:1").output().expect("it starts");
    assert!(output.status.success() && text(&output.stderr).contains("does not show"));
    let refused = check(&bare, "--genesis", &genesis);
    assert_eq!(refused.status.code(), Some(4), "{}", text(&refused.stderr));
    said(&check(&bare, "--nodes", &nodes));
}

/// The seed of a classical account, and its id.
const SEED: &str = "0102030405060708090a0b0c0d0e0f10";

fn link05(who: &Person, seed: &str) -> Output {
    let mut command = who.command(&["--json", "account", "link05", "-"]);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("session starts");
    child.stdin.take().expect("piped").write_all(seed.as_bytes()).expect("it reads");
    child.wait_with_output().expect("it ends")
}

#[test]
fn manifests_are_anchored_and_what_contradicts_is_found() {
    let network = Network::start(4);
    let ((alice, alice_id), (bob, _)) = friends(&network);
    let audit = || alice.json(&["account", "audit"])[0].clone();
    assert_eq!(audit()["anchor"]["state"], "none");
    // It costs a fee, which alice does not have yet.
    assert_eq!(alice.fails(&["account", "anchor"]).0, 4);
    let operator = Person::new(&network.dir.path().join("net"), "operator", None);
    chain(&operator, &network.chain, &["tx", "transfer", &alice_id, "1"]);
    let anchored = alice.json(&["account", "anchor"]);
    assert_eq!(
        (&anchored[0]["already"], audit()["anchor"]["state"].as_str()),
        (&false.into(), Some("same"))
    );
    assert_eq!(alice.json(&["account", "anchor"])[0]["already"], true);

    // A classical account is linked: everybody sees it, and the anchor is of an earlier manifest.
    let refused = link05(&alice, "0102");
    assert_eq!(refused.status.code(), Some(2));
    assert!(!text(&refused.stderr).contains("0102"), "a seed is not repeated");
    let linked = said(&link05(&alice, SEED))["legacy"].as_str().expect("an id").to_owned();
    assert!(linked.starts_with("05") && linked.len() == 66, "{linked}");
    assert_eq!(alice.json(&["account", "show"])[0]["legacy"], linked.as_str());
    assert_eq!(audit()["anchor"]["state"], "earlier");
    assert_eq!(bob.json(&["contact", "show", &alice_id])[0]["legacy"], linked.as_str());
    // To whom nothing post-quantum can be sent, nothing is sent.
    for args in [
        &["contact", "add", &linked][..],
        &["contact", "safety", &linked],
        &["chat", "send", &linked, "hello"],
        &["group", "create", "friends", &linked],
        &["group", "invite", "group:abcd", &linked],
        &["device", "request", &linked],
        &["send", &linked, "hello"],
    ] {
        let (code, said) = bob.fails(args);
        assert_eq!(code, 2, "{args:?}: {said}");
        assert!(said.contains("it has no post-quantum keys"), "{args:?}: {said}");
    }
    alice.json(&["account", "anchor"]);
    let shown = bob.json(&["contact", "show", &alice_id]);
    assert_eq!(shown[0]["anchor"]["state"], "same", "{shown:?}");

    // Somebody else has the keys, and the chain a manifest that nobody is shown.
    let words = alice.json(&["account", "words", "--show"])[0]["words"].clone();
    let words: Vec<_> = words.as_array().expect("words").iter().filter_map(Value::as_str).collect();
    let phrase: Phrase = words.join(" ").parse().expect("words");
    let thief = Person::new(network.dir.path(), "thief", None);
    fs::create_dir(thief.home()).expect("a directory");
    let key = thief.home().join("identity.key");
    fs::write(&key, &*identity_file::encode_plain(&Identity::from_seed(&phrase.seed())))
        .expect("it is written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let digest = "ab".repeat(32);
    let order = ["tx", "anchor-manifest", "--seq", "1000", "--manifest", &digest];
    chain(&thief, &network.chain, &order);
    let (code, said) = alice.fails(&["account", "audit"]);
    assert_eq!(code, 4, "{said}");
    let output = alice.output(&["account", "audit"]);
    assert!(text(&output.stdout).contains("the anchor contradicts"), "{}", text(&output.stdout));
    let (code, said) = bob.fails(&["contact", "safety", &alice_id]);
    assert_eq!((code, said.contains("the anchor contradicts")), (4, true), "{said}");
    assert_eq!(alice.fails(&["account", "anchor"]).0, 4);
    // Without a chain there is nothing to compare with.
    let mut command = bob.command(&["contact", "safety", &alice_id]);
    let output = command.env("SESSION_CHAIN", "http://127.0.0.1:1").output().expect("it starts");
    assert!(output.status.success() && text(&output.stderr).contains("not compared"));
    let (carol, carol_id) = person(&network, "carol");
    let shown = bob.json(&["contact", "show", &carol_id]);
    assert_eq!(shown[0]["anchor"]["state"], "none", "{shown:?}");
    // Nobody is written to for the first time whom the chain contradicts.
    let (code, said) = carol.fails(&["chat", "send", &alice_id, "hello"]);
    assert_eq!((code, said.contains("the anchor contradicts")), (4, true), "{said}");
    let screen = Screen::open(&carol);
    screen.wait("nobody yet");
    screen.press("n");
    screen.wait("New chat");
    screen.paste(&alice_id);
    screen.press("\r");
    screen.wait("the anchor contradicts");
    drop(screen);
    bob.json(&["chat", "send", &alice_id, "we have talked before"]);
}
