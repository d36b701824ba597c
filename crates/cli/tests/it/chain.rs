//! The coordination chain as its users meet it: orders, refusals, proofs, followers.

use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use session_rpc::network_file::NetworkFile;

use crate::chains::{Chain, LUX, chain, path, until};
use crate::harness::{Network, Person};

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn balance(chain: &Chain, who: &Person) -> u64 {
    text(&chain.run(who, &["account"]), "balance").parse().unwrap()
}

#[test]
fn lux_is_transferred_and_every_refusal_says_why() {
    let chain = Chain::start();
    let (alice, alice_id) = chain.person("alice");
    let sent = chain.run(&chain.owner, &["tx", "transfer", &alice_id, "12.5"]);
    assert_eq!((text(&sent, "status"), text(&sent, "action")), ("accepted", "Transfer"));
    let fee: u64 = text(&sent, "fee").parse().unwrap();
    assert_eq!(balance(&chain, &alice), 12_500_000);
    assert_eq!(balance(&chain, &chain.owner), 1_000 * LUX - 12_500_000 - fee);

    let status = chain.run(&alice, &["status"]);
    assert_eq!((text(&status, "network"), &status["health"]["healthy"]), ("test", &true.into()));
    assert_eq!(text(&status, "sequencer"), chain.owner_id);
    let height = sent["height"].to_string();
    let block = chain.run(&alice, &["block", &height]);
    assert!(block["txs"].to_string().contains(text(&sent, "txId")), "{block}");
    let id = text(&block, "blockId");
    assert_eq!(text(&chain.run(&alice, &["block", id, "--raw"]), "blockId"), id);
    let shown = chain.run(&alice, &["tx", "show", text(&sent, "txId")]);
    assert_eq!(text(&shown["details"], "amount"), "12500000");
    let show = ["chain", "--url", &chain.node.url(), "tx", "show", text(&sent, "txId")];
    let said = String::from_utf8(chain.owner.output(&show).stdout).unwrap();
    assert!(said.contains("amount: 12.5 LUX"), "{said}");

    // The same bytes a second time, and bytes that are none.
    let file = chain.dir.path().join("tx");
    fs::write(&file, hex::decode(text(&shown, "bytes")).unwrap()).unwrap();
    assert_eq!(chain.fails(&alice, &["tx", "submit", path(&file)]).0, 4);
    fs::write(&file, b"nothing").unwrap();
    assert_eq!(chain.fails(&alice, &["tx", "submit", path(&file)]).0, 2);

    let refused = [
        (&["tx", "transfer", &alice_id, "13"][..], 4, "the sender has 12.5"),
        (&["tx", "transfer", &alice_id, "0"], 4, "nothing to transfer"),
        (&["tx", "transfer", &alice_id, "1", "--nonce", "7000"], 4, "nonce 7000"),
        (&["tx", "transfer", &alice_id, "1", "--fee-max", "0.0001"], 2, "--fee-max"),
        (&["tx", "transfer", &alice_id, "1", "--chain", &"ab".repeat(32)], 4, "nothing was signed"),
        (&["tx", "transfer", &alice_id, "0.0000001"], 2, "decimal LUX"),
        (&["tx", "transfer", "0511", "1"], 2, "account id"),
        (&["tx", "decommission", &"ab".repeat(32)], 4, "node not found"),
        (&["tx", "join-channel", &"ab".repeat(32)], 4, "unknown channel"),
        (&["tx", "start-session", &"ab".repeat(32)], 4, "session not found"),
        (&["tx", "show", &"ab".repeat(32)], 5, "unknown transaction"),
        (&["block", "1000000"], 5, "unknown block"),
        (&["block", "x"], 2, "neither a height nor an id"),
        (&["node", &"ab".repeat(32)], 5, "unknown node"),
        (&["node", &"ab".repeat(4)], 5, "no node's id begins with"),
        (&["node", "abc"], 2, "8 to 64 hex digits"),
        (&["network"], 5, "no active nodes"),
    ];
    for (args, code, why) in refused {
        let (got, said) = chain.fails(&alice, args);
        assert_eq!(got, code, "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }
    let session = ["--service", "--program", "--input"].map(|flag| [flag.into(), "22".repeat(32)]);
    let session: Vec<String> = session.concat();
    let session: Vec<&str> = session.iter().map(String::as_str).collect();
    let (code, said) = chain.fails(&alice, &[&["tx", "create-session"], &session[..]].concat());
    assert_eq!((code, said.contains("not enough eligible nodes")), (4, true), "{said}");
    let (code, said) = alice.fails(&["chain", "status", "--url", "http://127.0.0.1:1"]);
    assert_eq!((code, said.contains("session up")), (3, true), "{said}");
}

#[test]
fn a_node_is_registered_serves_changes_its_keys_and_leaves() {
    let chain = Chain::start();
    let (node, _) = chain.person("node");
    let key = node.home().join("identity.key");
    let register =
        ["tx", "register", "--keys", path(&key), "--endpoint", "127.0.0.1:7000", "--stake", "150"];
    let (code, said) =
        chain.fails(&chain.owner, &[&register[..6], &["--stake", "99"]].concat()[..]);
    assert_eq!((code, said.contains("the least is 100")), (4, true), "{said}");
    let made = chain.run(&chain.owner, &register);
    let id = text(&made, "nodeId");
    assert!(chain.fails(&chain.owner, &register).1.contains("already registered"));
    chain.until(&["node", id], |node| node["status"] == "active");
    assert_eq!(text(&chain.run(&node, &["node", &id[..8]]), "nodeId"), id);
    let table = node.output(&["chain", "--url", &chain.node.url(), "nodes"]);
    assert!(String::from_utf8(table.stdout).unwrap().contains(id));

    // What the chain knows is a network file, with this node in it.
    let file = chain.dir.path().join("network.toml");
    chain.run(&chain.owner, &["network", "--out", path(&file)]);
    let (network, unknown) = NetworkFile::parse(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!((network.network.as_str(), network.nodes.len(), unknown.len()), ("test", 1, 0));
    assert_eq!(network.nodes[0].id.to_string(), id);
    assert_eq!(network.nodes[0].address.to_string(), "127.0.0.1:7000");

    let (fresh, _) = chain.person("fresh");
    let key = fresh.home().join("identity.key");
    let (stranger, stranger_id) = chain.person("stranger");
    chain.run(&chain.owner, &["tx", "transfer", &stranger_id, "1"]);
    let rotate = ["tx", "rotate", id, "--keys", path(&key)];
    let (code, said) = chain.fails(&stranger, &rotate);
    assert_eq!((code, said.contains("only account")), (4, true), "{said}");
    let made = chain.run(&chain.owner, &rotate);
    let new_id = text(&made, "nodeId");
    assert_ne!(new_id, id);
    // The new id is the node's when the epoch turns.
    chain.until(&["node", id], |node| node["nodeId"] == new_id);

    chain.run(&chain.owner, &["tx", "decommission", new_id]);
    assert_eq!(chain.fails(&chain.owner, &["tx", "withdraw", new_id]).0, 4);
    chain.until(&["node", new_id], |node| node["status"] == "decommissioning");
    let (code, said) = chain.fails(&chain.owner, &["tx", "withdraw", new_id]);
    assert_eq!((code, said.contains("bound until")), (4, true), "{said}");
    let before = balance(&chain, &chain.owner);
    let started = std::time::Instant::now();
    let fee: u64 = loop {
        let url = chain.node.url();
        let args = ["--json", "chain", "--url", &url, "tx", "withdraw", new_id];
        let output = chain.owner.output(&args);
        if output.status.success() {
            let line: Value = serde_json::from_slice(&output.stdout).unwrap();
            break text(&line, "fee").parse().unwrap();
        }
        assert!(started.elapsed() < crate::harness::PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(100));
    };
    assert_eq!(balance(&chain, &chain.owner), before + 150 * LUX - fee);
    assert_eq!(text(&chain.run(&stranger, &["node", new_id]), "status"), "retired");
}

#[test]
fn conversations_and_channels_are_anchored() {
    let chain = Chain::start();
    let (alice, alice_id) = chain.person("alice");
    let (bob, bob_id) = chain.person("bob");
    for id in [&alice_id, &bob_id] {
        chain.run(&chain.owner, &["tx", "transfer", id, "1"]);
    }
    let open = ["tx", "open-conversation", "--participant", &alice_id, "--participant", &bob_id];
    let opened = chain.run(&chain.owner, &open);
    let id = text(&opened, "conversationId");
    let salt = |who: &str| {
        let mut participants = opened["participants"].as_array().unwrap().iter();
        text(participants.find(|one| one["account"] == who).unwrap(), "salt").to_owned()
    };
    // The opener is no participant, and nobody closes with the salt of another one.
    for (who, salt) in [(&chain.owner, salt(&alice_id)), (&bob, salt(&alice_id))] {
        let (code, said) = chain.fails(who, &["tx", "close-conversation", id, "--salt", &salt]);
        assert_eq!((code, said.contains("not shown to be a participant")), (4, true), "{said}");
    }
    let close = ["tx", "close-conversation", id, "--salt", &salt(&bob_id)];
    chain.run(&bob, &close);
    assert!(chain.fails(&bob, &close).1.contains("conversation closed"));
    assert_eq!(chain.fails(&bob, &["tx", "close-conversation", id, "--salt", "00ff"]).0, 2);
    let twice = ["tx", "open-conversation", "--participant", &bob_id, "--participant", &bob_id];
    assert_eq!(chain.fails(&alice, &twice).0, 2);

    let made = chain.run(&alice, &["tx", "create-channel", "lobby"]);
    let id = text(&made, "channelId");
    assert!(chain.fails(&bob, &["tx", "create-channel", "lobby"]).1.contains(id));
    chain.run(&bob, &["tx", "join-channel", id]);
    assert!(chain.fails(&bob, &["tx", "join-channel", id]).1.contains("member already"));
    chain.run(&alice, &["tx", "leave-channel", id]);
    assert!(chain.fails(&alice, &["tx", "leave-channel", id]).1.contains("not a member"));
    let exported = export(&chain, "channel", id);
    let proven = check(&chain, &exported, &[]);
    assert_eq!(
        (text(&proven["record"], "name"), &proven["record"]["members"]),
        ("lobby", &1.into())
    );
}

#[test]
fn an_order_can_be_handed_over_without_waiting() {
    let chain = Chain::start();
    let (_, alice_id) = chain.person("alice");
    for nonce in ["0", "1", "2"] {
        let args = ["tx", "transfer", &alice_id, "1", "--no-wait", "--nonce", nonce];
        let sent = chain.run(&chain.owner, &args);
        assert_eq!(text(&sent, "status"), "pending");
        let id = text(&sent, "txId").to_owned();
        chain.until(&["tx", "show", &id], |tx| tx["status"] == "accepted");
    }
    assert_eq!(text(&chain.run(&chain.owner, &["account", &alice_id]), "balance"), "3000000");

    // One that must wait for others says so at once, and that it is not safe where it waits.
    let early = ["tx", "transfer", &alice_id, "1", "--nonce", "5", "--wait", "1s"];
    let (code, said) = chain.fails(&chain.owner, &early);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("next nonce is 3") && said.contains("may still wait"), "{said}");
}

fn export(chain: &Chain, subject: &str, id: &str) -> PathBuf {
    let file = chain.dir.path().join(format!("{subject}.proof"));
    chain.run(&chain.owner, &["proof", subject, id, "--out", path(&file)]);
    file
}

fn check(chain: &Chain, file: &Path, args: &[&str]) -> Value {
    let genesis = chain.genesis();
    let trust = ["--genesis", path(&genesis)];
    let trust = if args.is_empty() { &trust[..] } else { args };
    // Whatever the address, nobody is asked.
    let nowhere = ["chain", "--url", "http://127.0.0.1:1", "check", path(file)];
    chain.owner.json(&[&nowhere[..], trust].concat()).remove(0)
}

#[test]
fn proofs_are_checked_without_a_network_and_tampering_is_found() {
    let mut chain = Chain::start();
    let (_, alice_id) = chain.person("alice");
    let nobody = format!("07{}", "ab".repeat(32));
    let first = export(&chain, "account", &nobody);
    let proven = check(&chain, &first, &[]);
    assert_eq!(proven["exists"], false, "{proven}");
    chain.run(&chain.owner, &["tx", "transfer", &alice_id, "2"]);
    let absent = export(&chain, "node", &"ab".repeat(32));
    let rules = export(&chain, "key", "02");
    let file = export(&chain, "account", &alice_id);
    chain.node.kill();

    let proven = check(&chain, &file, &[]);
    assert_eq!(text(&proven["record"], "balance"), "2000000");
    assert_eq!(text(&proven["of"], "account"), alice_id);
    assert_eq!(check(&chain, &absent, &[])["record"], Value::Null);
    assert_eq!(check(&chain, &rules, &[])["record"]["epochMs"], 1000);
    let root = text(&proven, "stateRoot").to_owned();
    check(&chain, &file, &["--root", &root]);
    let card = chain.dir.path().join("owner.card");
    check(&chain, &file, &["--sequencer", path(&card)]);

    // Whoever changes one digit of it proves nothing.
    let whole: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let altered = chain.dir.path().join("altered.proof");
    let refuse = |bundle: &Value, trust: &[&str], why: &str| {
        fs::write(&altered, bundle.to_string()).unwrap();
        let args = ["chain", "check", path(&altered)];
        let (code, said) = chain.owner.fails(&[&args[..], trust].concat());
        assert_eq!(code, 4, "{said}");
        assert!(said.contains("NOT PROVEN") && said.contains(why), "{why}: {said}");
    };
    let genesis = chain.genesis();
    let trust = ["--genesis", path(&genesis)];
    let flipped = |field: &str, at: usize| {
        let mut bundle = whole.clone();
        let mut digits = text(&whole, field).as_bytes().to_vec();
        digits[at] = if digits[at] == b'0' { b'1' } else { b'0' };
        bundle[field] = String::from_utf8(digits).unwrap().into();
        bundle
    };
    let last = |field: &str| text(&whole, field).len() - 1;
    // With another key it shows, if anything, that this other account is not there.
    fs::write(&altered, flipped("key", last("key")).to_string()).unwrap();
    let other = check(&chain, &altered, &[]);
    assert_eq!(other["exists"], false);
    assert_ne!(text(&other["of"], "account"), alice_id);
    refuse(&flipped("proof", last("proof")), &trust, "the state does not have this entry");
    refuse(&flipped("block", 2), &trust, "the block is of chain");
    refuse(&flipped("block", 0), &trust, "version");
    // Its parent, height, time, state root, and a transaction.
    for at in [70, 140, 150, 170, 300] {
        refuse(&flipped("block", at), &trust, "is not the sequencer's");
    }
    refuse(&flipped("block", 230), &trust, "malformed");
    refuse(&flipped("seal", 1000), &trust, "is not the sequencer's");
    refuse(&flipped("proof", 1), &["--root", &root], "the state does not have this entry");
    refuse(&whole, &["--root", &"ab".repeat(32)], "the state does not have this entry");
    for (field, why) in
        [("key", "key"), ("proof", "proof"), ("block", "no block"), ("seal", "sealed")]
    {
        let mut bundle = whole.clone();
        bundle.as_object_mut().unwrap().remove(field);
        refuse(&bundle, &trust, why);
        bundle[field] = json!("zz");
        refuse(&bundle, &trust, field);
    }
    refuse(&json!({ "format": "other" }), &trust, "format");
    refuse(&json!([]), &trust, "format");

    // Another chain: the same sequencer, one number different.
    let text_of = fs::read_to_string(&genesis).unwrap();
    let other = chain.dir.path().join("other.json");
    fs::write(&other, text_of.replace("\"epochSeconds\":1", "\"epochSeconds\":2")).unwrap();
    refuse(&whole, &["--genesis", path(&other)], "the block is of chain");
    // Another sequencer.
    let (stranger, _) = chain.person("stranger");
    let card = chain.dir.path().join("stranger.card");
    stranger.json(&["id", "export", path(&card), "--public"]);
    refuse(&whole, &["--sequencer", path(&card)], "is not the sequencer's");
    let missing = ["chain", "check", path(&file)];
    let (code, said) = chain.owner.fails(&missing);
    assert_eq!((code, said.contains("--url")), (2, false), "{said}");
    assert!(
        ["--genesis", "--sequencer", "--root"].iter().all(|flag| said.contains(flag)),
        "{said}"
    );
    let help = chain.owner.output(&["chain", "check", "--help"]);
    assert!(!String::from_utf8(help.stdout).unwrap().contains("--url"));

    // Whoever says what must be proven is not content with a proof of something else.
    let about = |id| [&trust[..], &["--subject", "account", "--id", id]].concat();
    check(&chain, &file, &[&about(&alice_id)[..], &["--present"]].concat());
    refuse(&whole, &about(&nobody), "another entry");
    let whole = serde_json::from_slice(&fs::read(&absent).unwrap()).unwrap();
    refuse(&whole, &[&trust[..], &["--present"]].concat(), "that the entry is there");
    let args = [&["chain", "check", path(&file)], &trust[..]].concat();
    let said = String::from_utf8(chain.owner.output(&args).stdout).unwrap();
    assert!(said.starts_with("PROVEN: account\n"), "{said}");
}

#[test]
fn a_follower_knows_the_same_chain_whoever_dies() {
    let mut chain_of = Chain::start();
    let (alice, alice_id) = chain_of.person("alice");
    chain_of.run(&chain_of.owner, &["tx", "transfer", &alice_id, "5"]);
    let mut follower = chain_of.follower("follower");
    let url = follower.url();
    until(&alice, &url, &["account"], |account| account["balance"] == "5000000");
    // An order that is given to the follower reaches the sequencer.
    chain(&alice, &url, &["tx", "transfer", &chain_of.owner_id, "1"]);

    follower.kill();
    let sent = chain_of.run(&chain_of.owner, &["tx", "transfer", &alice_id, "3"]);
    chain_of.node.kill();
    follower.run();
    chain_of.node.run();
    let height = sent["height"].as_u64().unwrap();
    let reaches = |block: &Value| block["height"].as_u64().unwrap() >= height;
    chain_of.until(&["block"], reaches);
    until(&alice, &url, &["block"], reaches);
    let at = height.to_string();
    let block = |url: &str| text(&chain(&alice, url, &["block", &at]), "blockId").to_owned();
    assert_eq!(block(&url), block(&chain_of.node.url()));
    // What a follower proves is proven by the sequencer's seal.
    let file = chain_of.dir.path().join("followed.proof");
    chain(&alice, &url, &["proof", "account", &alice_id, "--out", path(&file)]);
    let proven = check(&chain_of, &file, &[]);
    assert!(proven["height"].as_u64().unwrap() >= height, "{proven}");
}

#[test]
fn a_network_has_a_chain_that_goes_on_with_it() {
    let network = Network::start(4);
    let operator = Person::new(&network.dir.path().join("net"), "operator", None);
    let (_, alice_id) = network.person("alice");
    let url = network.chain.clone();
    // Whoever has the network file finds its chain; a node of the network is none.
    let (guest, _) = network.person("guest");
    assert_eq!(guest.json(&["chain", "status"])[0]["network"], "local");
    let other = format!("http://{}", network.nodes[0].http);
    let (_, said) = guest.fails(&["chain", "status", "--url", &other]);
    assert!(said.contains(&format!("{other} is not a chain (sessionvm)")), "{said}");
    let nodes = operator.json(&["chain", "--url", &url, "nodes", "--active"]);
    let file = fs::read_to_string(network.file()).unwrap();
    let (listed, _) = NetworkFile::parse(&file).unwrap();
    let ids: Vec<String> = listed.nodes.iter().map(|node| node.id.to_string()).collect();
    assert_eq!(nodes.iter().map(|node| text(node, "nodeId")).collect::<Vec<_>>(), ids);

    chain(&operator, &url, &["tx", "transfer", &alice_id, "7"]);
    let hash = "22".repeat(32);
    let order = ["tx", "create-session", "--service", &hash, "--program", &hash, "--input", &hash];
    let made = chain(&operator, &url, &[&order[..], &["--time-max", "4s"]].concat());
    let id = text(&made, "sessionId");
    chain(&operator, &url, &["tx", "start-session", id]);
    let exported = network.dir.path().join("session.proof");
    chain(&operator, &url, &["proof", "workload", id, "--out", path(&exported)]);
    let genesis = network.dir.path().join("net/genesis.json");
    let args = ["check", path(&exported), "--genesis", path(&genesis)];
    let proven = chain(&operator, "http://127.0.0.1:1", &args);
    assert_eq!(text(&proven["record"], "state"), "running");
    assert_eq!(proven["record"]["committee"].as_array().unwrap().len(), 4);
    // Its time is over soon; then anybody may say so.
    let started = std::time::Instant::now();
    while !operator.output(&["chain", "--url", &url, "tx", "fail-session", id]).status.success() {
        assert!(started.elapsed() < crate::harness::PATIENCE);
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let before = chain(&operator, &url, &["status"]);

    // The same network again: same chain, same nodes, nothing forgotten.
    let network = network.again(4);
    let after = chain(&operator, &network.chain, &["status"]);
    assert_eq!(after["health"]["chainId"], before["health"]["chainId"]);
    assert!(after["last"]["height"].as_u64() >= before["last"]["height"].as_u64());
    let account = chain(&operator, &network.chain, &["account", &alice_id]);
    assert_eq!(text(&account, "balance"), "7000000");
    assert_eq!(fs::read_to_string(network.file()).unwrap(), file);

    // A network that was made before networks had chains gets one that knows its nodes.
    let network = network.again_after(4, |dir| {
        fs::remove_file(dir.join("genesis.json")).unwrap();
        // Blocks without their genesis are no such network: nothing of them is replaced.
        let key = fs::read(dir.join("chain/sequencer.key")).unwrap();
        let (code, said) = operator.fails(&["up", "--dir", path(dir)]);
        assert_eq!((code, said.contains("without its genesis")), (2, true), "{said}");
        assert_eq!(fs::read(dir.join("chain/sequencer.key")).unwrap(), key);
        fs::remove_dir_all(dir.join("chain")).unwrap();
        fs::remove_dir_all(dir.join("operator")).unwrap();
        for node in 0..4 {
            fs::remove_dir_all(dir.join(format!("node-{node:02}/chain"))).unwrap();
        }
    });
    let status = chain(&operator, &network.chain, &["status"]);
    assert_ne!(status["health"]["chainId"], before["health"]["chainId"]);
    let (kept, _) = NetworkFile::parse(&fs::read_to_string(network.file()).unwrap()).unwrap();
    // The same nodes at the same places; their swarm is another one.
    let places = |network: &NetworkFile| -> Vec<(String, String)> {
        let nodes = network.nodes.iter();
        nodes.map(|node| (node.id.to_string(), node.address.to_string())).collect()
    };
    assert_eq!(places(&kept), places(&listed));
}

#[test]
fn programs_that_are_not_there_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let nobody = Person::new(dir.path(), "nobody", None);
    for flag in ["--sessionvm", "--sessiond"] {
        let net = dir.path().join("net");
        let (code, said) = nobody.fails(&["up", "--dir", path(&net), flag, "/no/such/program"]);
        assert_eq!((code, said.contains(flag) && said.contains("/no/such/program")), (5, true));
        assert!(!net.exists());
    }
}

#[test]
fn a_network_says_when_one_of_its_programs_ends() {
    let dir = tempfile::tempdir().unwrap();
    let net = dir.path().join("net");
    let nobody = Person::new(dir.path(), "nobody", None);
    let up = |nodes: &str| {
        Up::start(&mut nobody.command(&["up", "--dir", path(&net), "--nodes", nodes]))
    };
    let mut first = up("1");
    let table = first.until("Ctrl-C");
    let pid = table.lines().find(|line| line.starts_with("   0  ")).unwrap();
    let pid = pid.split_whitespace().last().unwrap().parse().unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    let said = first.until("ended");
    let log = net.join("node-00.log");
    assert!(said.contains("node 0 ended (signal: 9"), "{said}");
    assert!(said.contains(path(&log)), "{said}");
    drop(first);
    let said = up("3").until("Ctrl-C");
    assert!(
        said.contains("its number of nodes, 1:") && said.contains("--nodes and --bad"),
        "{said}"
    );
}

/// `session up` as people see it; it ends with the test.
struct Up {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Up {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, lines }
    }

    /// Returns what it says, up to the first line that has `word`.
    fn until(&mut self, word: &str) -> String {
        let mut said = String::new();
        for line in self.lines.by_ref() {
            said.push_str(&line.unwrap());
            said.push('\n');
            if said.lines().last().is_some_and(|line| line.contains(word)) {
                return said;
            }
        }
        panic!("session up ended before it said {word}: {said}");
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let _ = self.process.wait();
    }
}
