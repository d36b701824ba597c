//! Nodes of a chain: they register, get seats, do their duties, go and come back.

use rustix::process::Signal;
use serde_json::{Value, json};
use session_core::{Decode as _, Inline, NodeId, SeededEntropy, Text};
use session_crypto::{Identity, RealVerifier};
use session_protocol::chain::transaction::Possession;
use session_protocol::chain::{Action, Amount};
use session_vm::bundle::CertificateFile;
use session_vm::genesis_file;

use crate::support::{Chain, Liar, Member, Node, Owner, eventually, post, read_all, request};

fn epoch(health: &Value) -> u64 {
    health["chain"]["epoch"]["number"].as_u64().unwrap()
}

fn registered<'a>(health: &'a Value, field: &str) -> &'a Value {
    &health["chain"]["registered"][field]
}

fn id(node: &Node) -> String {
    node.health()["node"].as_str().unwrap().to_owned()
}

fn is_serving(health: &Value) -> bool {
    health["status"] == "ok" && health["swarm"].is_string()
}

/// What the chain says of a node, as another node has it.
fn seen_by(node: &Node, id: &str) -> Value {
    let network = request(node.http, "GET", "/network.json", "", b"").json();
    let nodes = network["nodes"].as_array().unwrap();
    nodes.iter().find(|node| node["node"] == id).cloned().unwrap_or_default()
}

fn failed(node: &Value) -> usize {
    let marks = node["marks"].as_array().unwrap();
    marks.iter().filter(|mark| !mark["failed"].as_array().unwrap().is_empty()).count()
}

fn wait_for_epoch(node: &Node, number: u64) {
    node.becomes("an epoch", |health| epoch(health) >= number);
}

fn store(node: &Node, owner: &Owner, data: &[u8]) {
    let params = json!({
        "account": owner.account().to_string(), "ttl": 3_600_000, "data": hex::encode(data),
    });
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "store", "params": params});
    eventually("a store", || {
        let answer = post(node.http, &call);
        answer["result"]["id"].is_string().then_some(())
    });
}

fn has(node: &Node, owner: &mut Owner, data: &[u8]) -> bool {
    let audience: NodeId = id(node).parse().unwrap();
    let params = owner.prove(read_all(audience));
    let call = json!({"jsonrpc": "2.0", "id": 7, "method": "retrieve", "params": params});
    let answer = post(node.http, &call);
    let items = answer["result"]["items"].as_array();
    items.is_some_and(|items| items.iter().any(|item| item["data"] == hex::encode(data)))
}

#[test]
fn nodes_of_a_chain_serve_vote_and_leave() {
    let chain = Chain::start();
    let members: Vec<_> = (0..5).map(|number| chain.member(&format!("node-{number}"))).collect();
    let mut nodes: Vec<Node> = members.iter().map(|member| member.start()).collect();
    for node in &nodes {
        let health = node.becomes("a seat", is_serving);
        assert_eq!(health["network"], "test");
        assert_eq!(registered(&health, "seed_status"), "active");
    }
    let mut owner = Owner::new(1);
    store(&nodes[0], &owner, b"kept by all");
    eventually("a copy at another node", || {
        has(&nodes[3], &mut owner, b"kept by all").then_some(())
    });

    certificates_verify_offline(&chain, &nodes[0]);
    one_that_was_killed_misses_and_comes_back(&members, &mut nodes);
    one_that_drained_is_not_punished(&members, &mut nodes);
    one_that_leaves_hands_over(&chain, &members, &nodes, &mut owner);
}

fn certificates_verify_offline(chain: &Chain, node: &Node) {
    let health = node.becomes("a certificate", |health| health["chain"]["certificate"].is_u64());
    let path = format!("/certificate/{}", health["chain"]["certificate"]);
    let answer = request(node.http, "GET", &path, "", b"");
    assert_eq!(answer.status, 200);
    let file = CertificateFile::decode_exact(&answer.body).unwrap();
    let text = std::fs::read(chain.genesis()).unwrap();
    let (genesis, _) = session_rpc::vm::Genesis::parse(&text).unwrap();
    let genesis = genesis_file::from_file(&genesis).unwrap();
    let proven = file.verify(&genesis, &RealVerifier, &Inline).unwrap();
    assert_eq!(json!(proven.epoch.number.0), health["chain"]["certificate"]);
    assert_eq!(request(node.http, "GET", "/certificate/999999", "", b"").status, 404);
    // The page draws from one answer, and loads nothing else.
    let page = request(node.http, "GET", "/", "", b"");
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert!(!page.text().contains("http://") || page.text().contains("www.w3.org"));
}

fn one_that_was_killed_misses_and_comes_back(members: &[Member], nodes: &mut [Node]) {
    let victim = id(&nodes[1]);
    let begun = epoch(&nodes[0].health());
    nodes[1].signal(Signal::KILL);
    nodes[1].wait();
    // One epoch to die in, two whole ones away.
    wait_for_epoch(&nodes[0], begun + 4);
    let seen = seen_by(&nodes[0], &victim);
    assert!(failed(&seen) >= 2, "{seen}");
    assert!(seen["misses"].as_u64().unwrap() >= 2, "{seen}");
    assert_ne!(seen["stake"], seen["stake_original"], "the second miss costs: {seen}");
    nodes[1] = members[1].start();
    let back = nodes[1].becomes("service", is_serving);
    assert!(back["chain"]["height"].as_u64().unwrap() > 0);
    let begun = epoch(&back);
    wait_for_epoch(&nodes[0], begun + 3);
    let seen = seen_by(&nodes[0], &victim);
    assert_eq!((&seen["status"], &seen["misses"]), (&json!("active"), &json!(0)), "{seen}");
    let network = request(nodes[0].http, "GET", "/network.json", "", b"").json();
    assert_eq!(network["cases"], json!([]), "nobody is accused");
}

fn one_that_drained_is_not_punished(members: &[Member], nodes: &mut [Node]) {
    let away = id(&nodes[2]);
    let before = failed(&seen_by(&nodes[0], &away));
    let output = members[2].drain(&nodes[2], &["--epochs", "2"]);
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("safe to stop the node now"), "{said}");
    let seen = seen_by(&nodes[0], &away);
    assert_eq!(seen["seed_status"], "suspended", "{seen}");
    nodes[2].signal(Signal::TERM);
    assert!(nodes[2].wait().0.success());
    let begun = epoch(&nodes[0].health());
    wait_for_epoch(&nodes[0], begun + 1);
    nodes[2] = members[2].start();
    nodes[2].becomes("the chain", |health| health["chain"]["synced"] == true);
    wait_for_epoch(&nodes[0], begun + 3);
    let seen = seen_by(&nodes[0], &away);
    assert_eq!((failed(&seen), &seen["stake"]), (before, &seen["stake_original"]), "{seen}");
    assert_eq!(seen["status"], "active", "{seen}");
}

fn one_that_leaves_hands_over(
    chain: &Chain,
    members: &[Member],
    nodes: &[Node],
    owner: &mut Owner,
) {
    let output = members[4].decommission(&chain.operator_key());
    assert!(output.status.success(), "{output:?}");
    let health = nodes[4].becomes("no seat", |health| health["swarm"].is_null());
    assert_eq!(registered(&health, "lp_status"), "Decommissioning");
    assert_eq!(health["status"], "waiting");
    assert!(health["reasons"].to_string().contains("decommissioned"), "{health}");
    for node in &nodes[..4] {
        assert!(has(node, owner, b"kept by all"));
    }
    let status = members[4].status(&nodes[4]);
    let said = String::from_utf8(status.stdout).unwrap();
    assert!(
        said.contains("decommissioning (reference: exited, proposal: Decommissioning)"),
        "{said}"
    );
}

#[test]
fn a_node_that_lies_is_accused_and_slashed_and_nobody_else() {
    let chain = Chain::start();
    let members: Vec<_> = (0..5).map(|number| chain.member(&format!("node-{number}"))).collect();
    let honest: Vec<Node> = members[..4].iter().map(Member::start).collect();
    let liar = members[4].start_with(&chain.url(), &["--lie", "equivocate"]);
    assert_eq!(liar.health()["lie"], "Equivocate");
    let accused = id(&liar);
    eventually("the penalty", || {
        let seen = seen_by(&honest[0], &accused);
        (seen["status"] == "slashed").then_some(())
    });
    let network = request(honest[0].http, "GET", "/network.json", "", b"").json();
    for case in network["cases"].as_array().unwrap() {
        let told = (&case["accused"], &case["kind"]);
        assert_eq!(told, (&json!(accused), &json!("equivocation")), "{case}");
    }
    let case = network["cases"][0]["case"].as_str().unwrap();
    let kept = |member: &Member| member.dir().join(format!("evidence/{case}.evidence")).exists();
    assert!(members[..4].iter().any(kept), "whoever accuses keeps the evidence");
    // Accusing keeps nobody from duties.
    let now = epoch(&honest[0].health());
    wait_for_epoch(&honest[0], now + 2);
    for node in &honest {
        let seen = seen_by(&honest[0], &id(node));
        assert_eq!((&seen["status"], failed(&seen)), (&json!("active"), 0), "{seen}");
    }
}

#[test]
fn a_source_that_lies_is_named_and_not_believed() {
    let chain = Chain::start();
    let liar = Liar::start(chain.http);
    let place = chain.place("node");
    let both = format!("http://{},{}", liar.http, chain.url());
    let mut node = place.start_with(&both, &[]);
    // The first epoch's turn makes the first block.
    let health = node.becomes("blocks", |health| {
        health["chain"]["height"].as_u64() > Some(0)
            && health["chain"]["sources"][0]["lied"] == true
    });
    let sources = &health["chain"]["sources"];
    assert_eq!(sources[0]["at"], liar.http.to_string());
    assert!(sources[0]["fault"].is_string(), "{sources}");
    assert_eq!((&sources[1]["fault"], &sources[1]["lied"]), (&Value::Null, &json!(false)));
    assert_eq!((&health["status"], &health["swarm"]), (&json!("waiting"), &Value::Null));
    assert!(health["reasons"].to_string().contains("not registered"), "{health}");

    // What was executed is there after a power cut, whatever the only source says then.
    let height = health["chain"]["height"].as_u64().unwrap();
    node.signal(Signal::KILL);
    node.wait();
    let node = place.start_with(&format!("http://{}", liar.http), &[]);
    let health =
        node.becomes("the liar's name", |health| health["chain"]["sources"][0]["lied"] == true);
    assert!(health["chain"]["height"].as_u64().unwrap() >= height);
    let named = health["reasons"].to_string();
    assert!(named.contains(&liar.http.to_string()), "{health}");
    drop(node);
    // And it goes on where it was with one that tells the truth.
    let node = place.start();
    let before = epoch(&node.health());
    wait_for_epoch(&node, before + 1);
}

#[test]
fn a_node_is_registered_with_its_own_keys_only_and_then_found_healthy() {
    let chain = Chain::start();
    let health = request(chain.http, "GET", "/health", "", b"").json();
    let (node, other) = (Identity::from_seed(&[8; 32]), Identity::from_seed(&[9; 32]));
    let endpoint = Text::new("127.0.0.1:1".to_owned()).unwrap();
    let possession = Possession {
        chain: health["chainId"].as_str().unwrap().parse().unwrap(),
        operator: chain.operator.public().account_id(),
        node: node.public().node_id(),
        endpoint: endpoint.clone(),
    };
    // Somebody else signed that the keys are the operator's.
    let possession = possession.sign(&other, &mut SeededEntropy::new(1));
    let (keys, stake) = (node.public().clone(), Amount::lux(100));
    let answer = chain.issue(Action::RegisterServiceNode { keys, endpoint, stake, possession });
    let why = answer["error"]["data"]["reason"].as_str().unwrap_or_default();
    assert!(why.contains("has not signed that it holds its keys"), "{answer}");

    // It waits, says for what, and begins by itself.
    let member = chain.place("node");
    let node = member.start();
    let health = node.becomes("the chain", |health| health["status"] == "waiting");
    assert!(health["reasons"].to_string().contains("not registered"), "{health}");
    let output = member.register(&chain.operator_key());
    assert!(output.status.success(), "{output:?}");
    node.becomes("service", is_serving);

    let again = member.register(&chain.operator_key());
    let said = String::from_utf8(again.stderr).unwrap();
    assert!(!again.status.success() && said.contains("already registered"), "{said}");

    let output = member.doctor(&node);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success(), "{found}");
    assert_eq!(found["running"], true);
    for check in found["checks"].as_array().unwrap() {
        // Of a busy machine's disk nothing is known.
        let fine = check["verdict"] == "good" || check["check"] == "disk write";
        assert!(fine, "{check}");
    }
}
