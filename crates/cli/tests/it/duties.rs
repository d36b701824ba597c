//! Swarm coordination as its users meet it: epochs, swarms, marks, accusations, evidence.

use std::fs;
use std::time::Duration;

use serde_json::Value;
use session_core::{ChainId, Decode, Digest, Epoch, SeededEntropy};
use session_crypto::{Identity, identity_file};
use session_protocol::attestation::{Kind, Statement};
use session_protocol::evidence::Evidence;

use crate::chains::{Chain, path, until};
use crate::harness::{Network, http_get};

/// Some epochs, on a busy machine.
const EPOCHS: Duration = Duration::from_secs(240);

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// Two votes of one node that contradict each other.
fn equivocation(node: &Identity, chain: ChainId, epoch: u64) -> Evidence {
    let vote = |root: u8| {
        let statement = Statement {
            chain,
            committee: Digest::from([1; 32]),
            kind: Kind::EpochBeacon,
            subject: Digest::from([2; 32]),
            root: Digest::from([root; 32]),
            epoch: Epoch(epoch),
        };
        Box::new(statement.sign(node, &mut SeededEntropy::new(root.into())))
    };
    Evidence::Equivocation { first: vote(3), second: vote(4) }
}

#[test]
fn an_accused_node_pays_unless_the_authority_drops_it() {
    let chain = Chain::start();
    let mut nodes = Vec::new();
    for (name, port) in [("one", "7001"), ("two", "7002")] {
        let (node, _) = chain.person(name);
        let key = node.home().join("identity.key");
        let endpoint = format!("127.0.0.1:{port}");
        let register = ["tx", "register", "--keys", path(&key), "--endpoint", &endpoint];
        let id = text(&chain.run(&chain.owner, &register), "nodeId").to_owned();
        chain.until(&["node", &id], |node| node["status"] == "active");
        nodes.push((identity_file::decode(&fs::read(&key).unwrap(), None).unwrap(), id));
    }
    let epoch = chain.run(&chain.owner, &["epoch"]);
    assert_eq!(
        epoch["dealers"].as_array().unwrap().len(),
        epoch["nodes"].as_u64().unwrap() as usize
    );
    let number = epoch["epoch"].as_u64().unwrap();
    let past = chain.run(&chain.owner, &["epoch", &(number - 1).to_string()]);
    assert_eq!(past["beacon"], epoch["previousBeacon"]);
    let (code, said) = chain.fails(&chain.owner, &["epoch", "1000000000"]);
    assert_eq!((code, said.contains("unknown epoch")), (5, true), "{said}");
    let swarms = chain.run(&chain.owner, &["swarms"]);
    assert_eq!(swarms["swarms"][0]["sharePerMillion"], 1_000_000);
    assert_eq!(swarms["swarms"][0]["members"].as_array().unwrap().len(), 2);

    // Evidence is checked before anything is opened.
    let status = chain.run(&chain.owner, &["status"]);
    let id: ChainId = text(&status["health"], "chainId").parse().unwrap();
    let file = chain.dir.path().join("evidence");
    let accuse = |evidence: &Evidence| fs::write(&file, session_core::Encode::to_bytes(evidence));
    accuse(&equivocation(&nodes[0].0, ChainId::default(), number)).unwrap();
    let order = ["tx", "accuse", path(&file)];
    let (code, said) = chain.fails(&chain.owner, &order);
    assert_eq!((code, said.contains("another chain")), (4, true), "{said}");

    let mut cases = Vec::new();
    for (node, accused) in &nodes {
        accuse(&equivocation(node, id, number)).unwrap();
        let made = chain.run(&chain.owner, &order);
        assert_eq!(text(&made, "accused"), accused);
        let found = chain.owner.json(&["chain", "--url", &chain.node.url(), "cases"]);
        let case = found.iter().find(|case| text(case, "accused") == accused).unwrap();
        let case = text(case, "caseId").to_owned();
        if cases.is_empty() {
            chain.run(&chain.owner, &["tx", "veto", &case]);
            let (stranger, _) = chain.person("stranger");
            assert_eq!(chain.fails(&stranger, &["tx", "veto", &case]).0, 4);
        }
        cases.push(case);
    }
    chain.until(&["cases", &cases[1]], |case| case["status"] == "paid");
    let dropped = chain.run(&chain.owner, &["cases", &cases[0]]);
    assert_eq!(text(&dropped, "status"), "vetoed");
    chain.until(&["node", &nodes[1].1], |node| node["status"] == "slashed");
    let kept = chain.run(&chain.owner, &["node", &nodes[0].1]);
    assert_eq!((&kept["status"], &kept["stake"]), (&"active".into(), &kept["originalStake"]));

    // Why it paid, verified here; and the same from a file, with the genesis alone.
    let url = chain.node.url();
    let why = chain.owner.json(&["node", "why", &nodes[1].1, "--url", &url]);
    assert_eq!(why[0]["bad"], 0, "{why:?}");
    assert!(why[0]["entries"].to_string().contains(&cases[1]), "{why:?}");
    let said = chain.owner.output(&["node", "why", &nodes[1].1[..10], "--url", &url]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("ACCUSED of equivocation") && said.contains("[verified]"), "{said}");
    let file = chain.dir.path().join("evidence.json");
    chain.run(&chain.owner, &["cases", &cases[1], "--out", path(&file)]);
    let genesis = chain.genesis();
    let verify = ["verify", "evidence", path(&file), "--genesis", path(&genesis)];
    let proven = &chain.owner.json(&verify)[0];
    assert_eq!((text(proven, "accused"), text(proven, "caseId")), (&*nodes[1].1, &*cases[1]));
    let live = &chain.owner.json(&["verify", "evidence", path(&file), "--url", &url])[0];
    assert_eq!(live, proven);

    // One digit changed, other keys, another chain: it proves nothing.
    let whole: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let refuse = |file: &Value, code: i32| {
        let altered = chain.dir.path().join("altered.json");
        fs::write(&altered, file.to_string()).unwrap();
        let args = ["verify", "evidence", path(&altered), "--genesis", path(&genesis)];
        let (got, said) = chain.owner.fails(&args);
        assert_eq!(got, code, "{said}");
    };
    let mut altered = whole.clone();
    let digits = text(&whole, "evidence");
    let flipped = if digits.ends_with('0') { "1" } else { "0" };
    altered["evidence"] = format!("{}{flipped}", &digits[..digits.len() - 1]).into();
    refuse(&altered, 4);
    altered = whole.clone();
    altered["keys"] = fs::read_to_string(chain.dir.path().join("owner.card"))
        .unwrap()
        .lines()
        .nth(1)
        .unwrap()
        .into();
    refuse(&altered, 4);
    altered.as_object_mut().unwrap().remove("keys");
    refuse(&altered, 2);
    assert_eq!(chain.owner.fails(&["verify", "evidence", path(&file)]).0, 2);
}

#[test]
fn nodes_that_lie_are_caught_and_pay_on_screen() {
    let network = Network::start_lying(5, 2, "8s");
    let (guest, _) = network.person("guest");
    let case =
        network.wait_said(EPOCHS, |said| said["event"] == "case" && said["of"]["status"] == "paid");
    assert_eq!(text(&case["of"], "kind"), "equivocation");
    let liar = text(&case["of"], "accused").to_owned();
    assert!(text(&case, "what").contains("node 5 "), "{case}");
    let why = guest.json(&["node", "why", &liar]);
    assert!(why[0]["verified"].as_u64().unwrap() > 0 && why[0]["bad"] == 0, "{why:?}");
    until(&guest, &network.chain, &["node", &liar], |node| node["status"] == "slashed");

    // The other one throws messages away: its mates say so, again and again.
    let missed = network.wait_said(EPOCHS, |said| {
        let penalty = said["of"]["penalty"].as_str().is_some_and(|penalty| penalty != "0");
        said["event"] == "missed" && penalty && text(said, "what").contains("node 6 ")
    });
    assert!(missed["of"]["failings"].to_string().contains("storage"), "{missed}");
    let lossy = text(&missed["of"], "nodeId").to_owned();
    let why = guest.json(&["node", "why", &lossy]);
    assert!(why[0]["verified"].as_u64().unwrap() >= 3 && why[0]["bad"] == 0, "{why:?}");

    // A table in every epoch, with what the honest ones committed to.
    let table = network.wait_said(EPOCHS, |said| {
        let agreed = said["nodes"].as_array().into_iter().flatten();
        agreed.filter(|node| node["commitment"] == "agreed").count() >= 5
    });
    assert_eq!(table["nodes"].as_array().unwrap().len(), 7, "{table}");
    for index in 0..5 {
        let id = network.health(index).unwrap()["node"].as_str().unwrap().to_owned();
        let node = &guest.json(&["chain", "node", &id])[0];
        assert_eq!((&node["status"], &node["stake"]), (&"active".into(), &node["originalStake"]));
    }

    // The beacon of an epoch is certified, for whoever has the genesis.
    let epoch = guest.json(&["chain", "epoch"])[0]["epoch"].as_u64().unwrap();
    let certificate = (1..=epoch).rev().find_map(|epoch| {
        let body = http_get(&network.nodes[0].http, &format!("/certificate/{epoch}"))?;
        session_vm::bundle::CertificateFile::decode_exact(&body).ok().map(|_| body)
    });
    let file = network.dir.path().join("epoch.cert");
    fs::write(&file, certificate.expect("a certificate of an epoch")).unwrap();
    let genesis = network.genesis();
    let verify = ["verify", "certificate", path(&file), "--genesis", path(&genesis)];
    let proven = &guest.json(&verify)[0];
    assert!(proven["signatures"].as_u64().unwrap() >= 3, "{proven}");
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).unwrap();
    assert_eq!(guest.fails(&verify).0, 4);
}

#[test]
fn a_large_network_has_two_swarms_and_clients_find_them() {
    let network = Network::start_lying(20, 0, "10s");
    let (alice, _) = network.person("alice");
    let (bob, bob_id) = network.person("bob");
    let swarms = until(&alice, &network.chain, &["swarms"], |answer| {
        answer["swarms"].as_array().unwrap().len() == 2
    });
    let shares = swarms["swarms"].as_array().unwrap().iter();
    let sum: u64 = shares.map(|swarm| swarm["sharePerMillion"].as_u64().unwrap()).sum();
    assert!(sum.abs_diff(1_000_000) <= 2, "{swarms}");
    let moves = &swarms["moves"]["added"];
    assert!(moves["nearestPerMillion"].as_u64() < moves["seedPerMillion"].as_u64(), "{swarms}");
    bob.json(&["inbox"]);
    alice.json(&["send", &bob_id, "over the border"]);
    assert_eq!(bob.json(&["inbox"])[0]["text"], "over the border");
}

#[test]
fn the_doctor_finds_what_is_wrong_with_a_node() {
    let network = Network::start(3);
    let (guest, _) = network.person("guest");
    let data = network.data(0);
    let genesis = network.genesis();
    let flags = [
        "node",
        "doctor",
        "--",
        "--data-dir",
        path(&data),
        "--chain",
        &network.chain,
        "--genesis",
        path(&genesis),
    ];
    let checks = guest.json(
        &[&flags[..], &["--listen", &network.nodes[0].listen, "--http", &network.nodes[0].http]]
            .concat(),
    );
    assert!(
        checks.len() >= 4 && checks.iter().all(|check| check["verdict"] != "bad"),
        "{checks:?}"
    );
    // A chain that is not there.
    let nowhere = [
        "node",
        "doctor",
        "--",
        "--data-dir",
        path(&data),
        "--genesis",
        path(&genesis),
        "--chain",
        "http://127.0.0.1:1",
    ];
    let (code, said) = guest.fails(&nowhere);
    assert_eq!(code, 1, "{said}");
}
