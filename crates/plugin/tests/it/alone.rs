//! The chain of one sequencer: transactions, blocks, proofs, and what is shown of them.

use serde_json::{Value, json};
use session_core::{Decode as _, Digest, Encode as _, Text};
use session_protocol::chain::block::Sealed;
use session_protocol::chain::transaction::Possession;
use session_protocol::chain::{Action, Amount, Block, SealedBlock, Transaction};
use session_vm::state::Proof;

use crate::common::{Node, Person, Place, get, sessionvm, transfer};

/// What one transfer costs at most.
const FEE_MAX: u64 = 1_000_000;

fn balance(node: &Node, account: &str) -> u64 {
    let account = node.ask("GetAccount", json!({"account": account}))["account"].clone();
    account["balance"].as_str().unwrap().parse().unwrap()
}

#[test]
fn a_transfer_from_the_mempool_into_a_block() {
    let place = Place::new();
    // Slow enough to see it wait.
    let node = place.start(&["--block-time", "1500"]);
    let (owner, bob) = (place.owner(), Person::new(2));
    let first = node.issue(&transfer(node.chain(), &owner, 0, bob.account(), 1));
    node.accepted(&first);
    let before = balance(&node, &owner.public().account_ref().to_string());

    let bytes = transfer(node.chain(), &owner, 1, bob.account(), 5);
    let tx = node.issue(&bytes);
    let waiting = node.ask("GetTx", json!({"txId": tx}))["tx"].clone();
    assert_eq!((&waiting["status"], &waiting["action"]), (&json!("pending"), &json!("Transfer")));
    assert!(waiting.get("height").is_none() && waiting.get("fee").is_none(), "{waiting}");
    assert_eq!(node.health()["mempool"], 1);
    let accepted = node.accepted(&tx);
    assert_eq!((&accepted["height"], &accepted["nonce"]), (&json!(2), &json!(1)));
    assert_eq!(accepted["details"], json!({"to": bob.id(), "amount": "5000000"}));
    assert_eq!(accepted["bytes"], json!(hex::encode(bytes)));
    let fee: u64 = accepted["fee"].as_str().unwrap().parse().unwrap();
    assert!(fee > 0 && fee <= FEE_MAX, "{fee}");
    assert_eq!(balance(&node, &bob.id()), 6_000_000);
    assert_eq!(balance(&node, &owner.public().account_ref().to_string()), before - 5_000_000 - fee);
    assert_eq!(node.health()["mempool"], 0);
    node.refuses("GetTx", json!({"txId": "11".repeat(32)})).is(
        -32031,
        "unknown_transaction",
        json!({}),
    );
}

#[test]
fn transactions_that_cannot_be_executed_are_refused_with_the_reason() {
    let place = Place::new();
    let node = place.start(&[]);
    let (chain, owner) = (node.chain(), place.owner());
    let (ann, bob) = (Person::new(1), Person::new(2));
    let first = transfer(chain, &owner, 0, bob.account(), 1);
    node.accepted(&node.issue(&first));
    let refused = |bytes: &[u8], rejection: Option<&str>, needle: &str| {
        let refusal = node.refuses("IssueTx", json!({"tx": hex::encode(bytes)}));
        let data = rejection.map_or_else(|| json!({}), |code| json!({"rejection": code}));
        refusal.is(-32038, "transaction_refused", data);
        let reason = refusal.0["data"]["reason"].as_str().unwrap();
        assert!(reason.contains(needle), "{reason}");
    };
    refused(&first, None, "was accepted at height 1");
    refused(&transfer(chain, &owner, 0, bob.account(), 2), Some("nonce"), "nonce");
    refused(&transfer(chain, &owner, 1_000_000, bob.account(), 1), None, "nonce");
    refused(&transfer(chain, &owner, 1, bob.account(), 2_000_000), Some("funds"), "LUX are needed");
    refused(&transfer(chain, &ann.identity, 0, bob.account(), 1), Some("funds"), "LUX are needed");
    refused(&transfer(chain, &bob.identity, 0, ann.account(), 0), None, "keys");
    let other = session_core::ChainId::from([9; 32]);
    refused(&transfer(other, &owner, 1, bob.account(), 1), None, "chain");
    let mut forged = transfer(chain, &owner, 1, bob.account(), 1);
    *forged.last_mut().unwrap() ^= 1;
    refused(&forged, None, "signature");
    refused(b"\x01nothing", None, "malformed");
    refused(b"\x02", None, "version");
    assert_eq!(node.tip().0, 1);
    assert_eq!(node.health()["mempool"], 0);
}

#[test]
fn blocks_are_found_by_height_and_id_and_are_what_they_say() {
    let place = Place::new();
    let node = place.start(&[]);
    let (chain, owner, bob) = (node.chain(), place.owner(), Person::new(2));
    let tx = node.issue(&transfer(chain, &owner, 0, bob.account(), 1));
    node.accepted(&tx);
    let (height, id, root) = node.tip();
    let last = node.ask("GetBlock", json!({}))["block"].clone();
    assert_eq!(
        (&last["height"], &last["blockId"], &last["stateRoot"]),
        (&json!(height), &id, &root)
    );
    assert_eq!((last["txs"].as_array().unwrap().len(), &last["txs"][0]["txId"]), (1, &json!(tx)));
    for at in [json!({"height": height}), json!({"height": "1"}), json!({"blockId": id})] {
        assert_eq!(node.ask("GetBlock", at)["block"], last);
    }
    let genesis = node.ask("GetBlock", json!({"height": 0}))["block"].clone();
    assert_eq!((&genesis["blockId"], &genesis["txs"]), (&last["parentId"], &json!([])));
    assert!(genesis.get("seal").is_none(), "{genesis}");

    let hexed = node.ask("GetBlock", json!({"height": 1, "encoding": "hex"}));
    let bytes = hex::decode(hexed["bytes"].as_str().unwrap()).unwrap();
    let block = Block::parse(&bytes, &chain).unwrap();
    assert_eq!(json!(block.id().to_string()), id);
    assert_eq!(json!(bytes.len()), last["size"]);

    let served = get(node.http, "/blocks/1");
    let sealed = SealedBlock::decode_exact(&served.body).unwrap();
    assert_eq!(&*sealed.block, &bytes[..]);
    assert_eq!(last["seal"], json!(hex::encode(sealed.seal.as_ref())));
    let (key, verifier) = (owner.public().dsa(), session_crypto::RealVerifier);
    let signed = Sealed { chain, height: 1, block: block.id() };
    signed.verify(key, &sealed.seal, &verifier).unwrap();

    node.refuses("GetBlock", json!({"height": 99})).is(-32032, "unknown_block", json!({}));
    node.refuses("GetBlock", json!({"blockId": "11".repeat(32)})).is(
        -32032,
        "unknown_block",
        json!({}),
    );
    node.refuses("GetBlock", json!({"height": 1, "blockId": id})).is(
        -32602,
        "invalid_params",
        json!({"field": "blockId"}),
    );
    assert_eq!(get(node.http, "/blocks/99").status, 204);
    assert_eq!(get(node.http, "/blocks/0").status, 404);
    assert_eq!(get(node.http, "/blocks/x").status, 400);
}

#[test]
fn the_state_is_proved_offline() {
    let place = Place::new();
    let node = place.start(&[]);
    let (owner, bob) = (place.owner(), Person::new(2));
    let absent = node.ask("GetProof", json!({"table": "account", "id": bob.id()}));
    node.accepted(&node.issue(&transfer(node.chain(), &owner, 0, bob.account(), 7)));
    let there = node.ask("GetProof", json!({"table": "account", "id": bob.id()}));
    let bytes = |value: &Value| hex::decode(value.as_str().unwrap()).unwrap();
    for (reply, exists) in [(&absent, false), (&there, true)] {
        let block = node.ask("GetBlock", json!({"blockId": reply["blockId"]}))["block"].clone();
        assert_eq!(block["stateRoot"], reply["stateRoot"]);
        let root: Digest = block["stateRoot"].as_str().unwrap().parse().unwrap();
        let key = bytes(&reply["key"]);
        let proof = Proof::decode_exact(&bytes(&reply["proof"])).unwrap();
        let value = proof.verify(&key, &root).unwrap();
        assert_eq!((value.is_some(), &reply["exists"]), (exists, &json!(exists)));
        assert_eq!(value.map(hex::encode), reply["value"].as_str().map(str::to_owned));
        // It proves nothing else.
        let mut other = key.clone();
        other[5] ^= 1;
        assert!(!matches!(proof.verify(&other, &root), Ok(Some(_))));
        assert!(proof.verify(&key, &Digest::default()).is_err());
    }
    let raw = node.ask("GetProof", json!({"key": there["key"]}));
    assert_eq!(raw["value"], there["value"]);
}

#[test]
fn nodes_are_registered_and_listed() {
    let place = Place::new();
    let node = place.start(&[]);
    let (chain, owner) = (node.chain(), place.owner());
    let mut ids = Vec::new();
    for nonce in 0..3 {
        let machine = Person::new(100 + nonce);
        let keys = machine.identity.public().clone();
        let endpoint: Text<_> = Text::new(format!("192.0.2.1:{}", 9000 + nonce)).unwrap();
        let (operator, id) = (owner.public().account_id(), keys.node_id());
        let possession = Possession { chain, operator, node: id, endpoint: endpoint.clone() };
        let mut rng = session_core::SeededEntropy::new(nonce);
        let possession = possession.sign(&machine.identity, &mut rng);
        let action =
            Action::RegisterServiceNode { keys, endpoint, stake: Amount::lux(200), possession };
        let now = session_runtime::SystemClock::new().now();
        let transaction = Transaction {
            version: 1,
            chain,
            sender: operator,
            nonce,
            fee_max: Amount(FEE_MAX),
            expires: now + session_core::Span::from_secs(60),
            action,
        };
        node.accepted(&node.issue(&transaction.sign(&owner, false, &mut rng).to_bytes()));
        ids.push(id.to_string());
    }
    ids.sort();
    let listed = |params: Value| {
        let page = node.ask("ListNodes", params);
        let nodes = page["nodes"].as_array().unwrap();
        let ids: Vec<_> =
            nodes.iter().map(|node| node["nodeId"].as_str().unwrap().to_owned()).collect();
        (ids, page["next"].clone())
    };
    assert_eq!(listed(json!({})), (ids.clone(), Value::Null));
    let (page, next) = listed(json!({"limit": 2}));
    assert_eq!((&page[..], &next), (&ids[..2], &json!(ids[1])));
    assert_eq!(listed(json!({"limit": 2, "after": next})), (ids[2..].to_vec(), Value::Null));
    assert_eq!(listed(json!({"status": "retired"})).0.len(), 0);
    // In the epoch in which a chain begins, whoever registers has a place at once.
    assert_eq!(listed(json!({"status": "registered"})).0.len(), 0);
    assert_eq!(listed(json!({"status": "active"})).0.len(), 3);

    let found = node.ask("GetNode", json!({"nodeId": ids[0]}))["node"].clone();
    assert_eq!((&found["status"], &found["stake"]), (&json!("active"), &json!("200000000")));
    assert_eq!(found["operator"], json!(owner.public().account_ref().to_string()));
    node.refuses("GetNode", json!({"nodeId": "11".repeat(32)})).is(
        -32033,
        "unknown_node",
        json!({}),
    );
    let epoch = node.ask("GetEpoch", json!({}));
    assert!(
        epoch["end"].is_string() && epoch["endAt"].as_u64() > epoch["startAt"].as_u64(),
        "{epoch}"
    );
    assert_eq!((&epoch["mode"], &epoch["nodes"]), (&json!("genesis"), &json!(3)), "{epoch}");
    assert_eq!(epoch["phasesMs"][0], epoch["startMs"]);
    let swarms = node.ask("GetSwarms", json!({}));
    let swarm = &swarms["swarms"][0];
    assert_eq!(swarm["sharePerMillion"], 1_000_000, "{swarms}");
    let members = swarm["members"].as_array().unwrap().iter();
    let members: Vec<_> = members.map(|one| one["nodeId"].as_str().unwrap().to_owned()).collect();
    assert_eq!(members, ids);
    let said = node.ask("GetCommitments", json!({"swarm": swarm["swarmId"], "limit": 2}));
    assert_eq!((said["commitments"].as_array().unwrap().len(), &said["next"]), (2, &json!(ids[1])));
    assert!(said["commitments"][0].get("agrees").is_none(), "{said}");
    let marks = node.ask("GetMarks", json!({"nodeId": ids[0]}));
    assert_eq!(marks, json!({"nodeId": ids[0], "marks": []}));
    assert_eq!(node.ask("GetCases", json!({"status": "open"})), json!({"cases": []}));
    let supply: u64 = epoch["supply"].as_str().unwrap().parse().unwrap();
    assert_eq!(supply, Amount::lux(1_000_000).0);
    for (method, params, code, name) in [
        ("GetEpoch", json!({"epoch": 1_000_000}), -32048, "unknown_epoch"),
        ("GetMarks", json!({"nodeId": "11".repeat(32)}), -32033, "unknown_node"),
        ("GetCase", json!({"caseId": "11".repeat(32)}), -32049, "unknown_case"),
        ("GetCommitments", json!({"swarm": "11"}), -32050, "unknown_swarm"),
        ("GetWorkload", json!({"sessionId": "11".repeat(32)}), -32035, "unknown_workload"),
        (
            "GetConversation",
            json!({"conversationId": "11".repeat(32)}),
            -32036,
            "unknown_conversation",
        ),
    ] {
        node.refuses(method, params).is(code, name, json!({}));
    }
}

#[test]
fn an_epoch_turns_in_a_block_without_transactions() {
    let place = Place::new();
    let now = session_runtime::SystemClock::new().now();
    let (keys, rng) = (place.path().join("key"), &mut session_core::SeededEntropy::new(4));
    let owner = session_crypto::Identity::generate(rng);
    let bytes = session_crypto::identity_file::encode_plain(&owner);
    session_runtime::files::write_atomic(
        &keys,
        &bytes,
        0o600,
        session_runtime::files::Existing::Keep,
    )
    .unwrap();
    let mut genesis = session_vm::genesis_file::of_one("turning", now, owner.public());
    genesis.epoch = session_core::Span::from_secs(1);
    let genesis = place.file("genesis.json", genesis.to_json());
    let node = place.start(&[
        "--genesis",
        genesis.to_str().unwrap(),
        "--sequencer-key",
        keys.to_str().unwrap(),
    ]);
    node.reaches(2);
    let block = node.ask("GetBlock", json!({"height": 2}))["block"].clone();
    assert_eq!(block["txs"], json!([]));
    assert!(node.ask("GetEpoch", json!({}))["epoch"].as_u64().unwrap() >= 1);
}

#[test]
fn what_is_shown_of_it() {
    let place = Place::new();
    let node = place.start(&[]);
    let (owner, bob) = (place.owner(), Person::new(2));
    node.accepted(&node.issue(&transfer(node.chain(), &owner, 0, bob.account(), 1)));
    let (_, id, root) = node.tip();

    let health = get(node.http, "/health");
    assert_eq!((health.status, &health.json()["healthy"]), (200, &json!(true)));
    assert_eq!((&health.json()["height"], &health.json()["phase"]), (&json!(1), &json!("ready")));
    assert_eq!(health.json()["version"], env!("CARGO_PKG_VERSION"));

    let metrics = get(node.http, "/metrics");
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.head);
    for line in metrics.text().lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').expect("a sample is a name and a value");
        assert!(name.starts_with("sessionvm_") && value.parse::<f64>().is_ok(), "{line}");
    }
    for sample in ["sessionvm_height 1", "sessionvm_healthy 1", "sessionvm_mempool_transactions 0"]
    {
        assert!(metrics.text().contains(&format!("\n{sample}\n")), "{sample}\n{}", metrics.text());
    }

    let page = get(node.http, "/");
    assert!(page.head.contains("content-type: text/html"), "{}", page.head);
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    for shown in
        [id.as_str().unwrap(), root.as_str().unwrap(), &node.chain().to_string(), "sequencer"]
    {
        assert!(page.text().contains(shown), "{shown}");
    }
    for outside in ["<script", "src=", "href=", "http://", "https://", "url(", "@import"] {
        assert!(!page.text().contains(outside), "{outside}");
    }

    let genesis = get(node.http, "/genesis");
    assert_eq!(genesis.body, std::fs::read(place.genesis()).unwrap());
    let head =
        crate::common::request(node.http, "HEAD", "/health", "", b"").map(|answer| answer.status);
    // The length of a HEAD's body is that of the GET's: our reader calls it cut off.
    assert!(head.is_none_or(|status| status == 200));
}

#[test]
fn without_any_flag_it_is_a_chain_in_memory_where_the_environment_says() {
    let mut command = sessionvm(&["--stop-with-stdin"]);
    command.env("SESSIONVM_ADDR", "127.0.0.1:0");
    let node = Node::start(command);
    assert_eq!((node.tip().0, &node.health()["healthy"]), (0, &json!(true)));
    let mut ann = Person::new(1);
    let talk = crate::common::Talk::open(&node, &[&ann]);
    node.ask("SendMessage", talk.message(&mut ann, 0, b"x", true));
    crate::common::eventually("it says so", || node.said().contains("no genesis").then_some(()));
}

#[test]
fn the_configuration_sets_the_time_between_blocks() {
    let place = Place::new();
    let config = place.file("config.json", r#"{"blockTimeMs": 600000}"#);
    let mut command = sessionvm(&["--listen", "127.0.0.1:0", "--stop-with-stdin", "--config"]);
    command.arg(config).arg("--data-dir").arg(place.path().join("chain"));
    let node = Node::start(command);
    let (owner, bob) = (place.owner(), Person::new(2));
    node.accepted(&node.issue(&transfer(node.chain(), &owner, 0, bob.account(), 1)));
    node.issue(&transfer(node.chain(), &owner, 1, bob.account(), 1));
    std::thread::sleep(std::time::Duration::from_millis(1500));
    assert_eq!((node.tip().0, &node.health()["mempool"]), (1, &json!(1)));
}

#[test]
fn a_refused_start_leaves_nothing_behind() {
    let place = Place::new();
    let sequencer = place.start(&[]);
    let follower = place.follow("copy", sequencer.http, &[]);
    let copy = place.path().join("copy");
    let made = || ["sequencer.key", "genesis.json"].map(|name| copy.join(name).exists());
    // Flags forgotten while the follower runs, and after it ended.
    let (code, said) = place.fails("copy", &[]);
    assert!(code == 2 && said.contains("in use"), "{said}");
    assert_eq!(made(), [false, false]);
    follower.kill();
    let (code, said) = place.fails("copy", &[]);
    assert!(code == 2 && said.contains("--genesis"), "{said}");
    assert_eq!(made(), [false, false]);
    // Another's genesis, without the sequencer's key.
    let genesis = place.genesis();
    let (code, said) = place.fails("fresh", &["--genesis", genesis.to_str().unwrap()]);
    assert!(code == 2 && said.contains("sequencer.key is not there"), "{said}");
    assert!(!place.path().join("fresh/sequencer.key").exists());
}

#[test]
fn a_genesis_of_the_future_is_refused() {
    let place = Place::new();
    let mut genesis: Value = {
        let node = place.start(&[]);
        get(node.http, "/genesis").json()
    };
    genesis["time"] = json!(4_070_908_800_000_u64);
    genesis["sequencer"].take();
    genesis.as_object_mut().unwrap().remove("sequencer");
    let file = place.file("future.json", genesis.to_string());
    let (code, said) = place.fails("future", &["--genesis", file.to_str().unwrap()]);
    assert!(code == 2 && said.contains("in the future"), "{said}");
}
