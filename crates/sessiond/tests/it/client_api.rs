//! The JSON-RPC client API of a node that is a whole network.

use std::io::BufRead as _;
use std::net::SocketAddr;

use rustix::process::Signal;
use serde_json::{Value, json};
use session_core::{Decode as _, List, MessageId, Namespace, Time};
use session_protocol::owner::{ExpireMode, OwnerAction};
use session_protocol::request::{Cursor, Select};

use crate::support::{Node, Owner, Place, now, open, post, read_all, request, try_post};

fn call(node: &Node, method: &str, params: Value) -> Value {
    post(node.http, &json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}))
}

fn store(node: &Node, owner: &Owner, data: &[u8]) -> Value {
    let params = json!({
        "account": owner.account().to_string(), "ttl": 60_000, "data": hex::encode(data),
    });
    let answer = call(node, "store", params);
    assert_eq!(answer["id"], 7);
    assert!(answer["result"]["id"].is_string(), "{answer}");
    answer["result"].clone()
}

fn retrieve(node: &Node, place: &Place, owner: &mut Owner) -> Vec<Value> {
    let answer = call(node, "session.retrieve", owner.prove(read_all(place.node_id())));
    let items = answer["result"]["items"].as_array();
    items.unwrap_or_else(|| panic!("no items in {answer}")).clone()
}

fn ids(of: &Value) -> List<MessageId, 256> {
    List::new(vec![of["id"].as_str().unwrap().parse().unwrap()]).unwrap()
}

#[test]
fn what_is_stored_is_read_and_survives_restarts() {
    let (place, mut owner) = (Place::new(), Owner::new(1));
    let mut node = place.start();
    let first = store(&node, &owner, b"hello");
    assert_eq!((&first["duplicate"], &first["receipts"][0]["root"]), (&json!(false), &json!(0)));
    assert_eq!(first["roots"][0]["node"], place.node_id().to_string());
    assert_eq!(store(&node, &owner, b"hello")["duplicate"], true);

    let items = retrieve(&node, &place, &mut owner);
    assert_eq!(
        (items.len(), &items[0]["id"], &items[0]["data"]),
        (1, &first["id"], &json!("68656c6c6f"))
    );

    node.signal(Signal::TERM);
    assert_eq!(node.wait().0.code(), Some(0));
    let mut node = place.start();
    store(&node, &owner, b"and more");
    node.signal(Signal::KILL);
    node.wait();
    let node = place.start();
    let items = retrieve(&node, &place, &mut owner);
    let data: Vec<_> = items.iter().map(|item| item["data"].as_str().unwrap()).collect();
    assert_eq!(data, [hex::encode("hello"), hex::encode("and more")]);
    let health = request(node.http, "GET", "/health", "", b"").json();
    assert_eq!(health["items"], 2);
}

#[test]
fn what_is_deleted_stays_deleted() {
    let (place, mut owner) = (Place::new(), Owner::new(2));
    let node = place.start();
    let stored = store(&node, &owner, b"to be forgotten");
    let mut params = owner.prove(OwnerAction::Delete { ids: ids(&stored) });
    params["ids"] = json!([stored["id"]]);
    let answer = call(&node, "session_delete", params);
    assert_eq!(answer["result"]["deleted"], json!([stored["id"]]), "{answer}");
    assert_eq!(answer["result"]["nodes"], 1);
    assert!(retrieve(&node, &place, &mut owner).is_empty());
    let again = call(
        &node,
        "store",
        json!({
            "account": owner.account().to_string(), "ttl": 60_000, "data": hex::encode("to be forgotten"),
        }),
    );
    assert_eq!(
        (&again["error"]["code"], &again["error"]["data"]["name"]),
        (&json!(-32016), &json!("deleted"))
    );
}

#[test]
fn an_expiry_is_shortened() {
    let (place, mut owner) = (Place::new(), Owner::new(3));
    let node = place.start();
    let stored = store(&node, &owner, b"shorter");
    let expiry = Time::from_millis(stored["expiry"].as_u64().unwrap() - 30_000);
    let action = OwnerAction::Expire { ids: ids(&stored), expiry, mode: ExpireMode::Shorten };
    let mut params = owner.prove(action);
    params["ids"] = json!([stored["id"]]);
    params["expiry"] = json!(expiry.as_millis());
    params["mode"] = json!("shorten");
    let answer = call(&node, "expire", params);
    assert_eq!(answer["result"]["expiries"][0]["expiry"], expiry.as_millis(), "{answer}");
}

#[test]
fn a_subscriber_is_told_what_arrives() {
    let (place, mut owner) = (Place::new(), Owner::new(4));
    let node = place.start();
    let namespaces = List::new(vec![Namespace(0)]).unwrap();
    let audience = place.node_id();
    let mut params = owner.prove(OwnerAction::Subscribe { namespaces, audience });
    params["namespaces"] = json!([0]);
    params["encoding"] = json!("base64");
    let body = json!({"id": "s", "method": "subscribe", "params": params}).to_string();
    let reader = open(node.http, "POST", "/", "application/json", body.as_bytes());
    let mut events = reader.lines().map(Result::unwrap).filter(|line| line.contains(": "));
    let mut next = |expected: &str| -> Value {
        let event =
            events.by_ref().find_map(|line| line.strip_prefix("event: ").map(str::to_owned));
        assert_eq!(event.as_deref(), Some(expected));
        let data = events.next().unwrap();
        serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap()
    };
    let subscribed = next("subscribed");
    assert_eq!((&subscribed["id"], subscribed["error"].is_null()), (&json!("s"), true));
    let stored = store(&node, &owner, b"news");
    let item = next("item");
    assert_eq!((&item["id"], &item["data_base64"]), (&stored["id"], &json!("bmV3cw==")));
}

#[test]
fn refusals_name_field_and_limit() {
    let (place, mut owner) = (Place::new(), Owner::new(5));
    let node = place.start();
    let account = owner.account().to_string();
    let base = json!({"account": account, "ttl": 60_000, "data": "00"});
    let refused = |changes: Value| {
        let mut params = base.clone();
        params.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        call(&node, "store", params)["error"].clone()
    };
    let error = refused(json!({"data": "00".repeat(76_801)}));
    assert_eq!((&error["code"], &error["data"]["limit"]), (&json!(-32005), &json!(76_800)));
    let error = refused(json!({"ttl": 9_999}));
    assert_eq!((&error["code"], &error["data"]["field"]), (&json!(-32011), &json!("ttl")));
    let error = refused(json!({"namespace": 99}));
    assert_eq!((&error["code"], &error["data"]["namespace"]), (&json!(-32010), &json!(99)));
    let late = now().as_millis() - 61_000;
    let error = refused(json!({"timestamp": late, "ttl": 600_000}));
    assert_eq!(error["code"], -32003);
    assert!(error["data"]["server_time"].as_u64().unwrap() > late + 60_000);
    let error = refused(json!({"data": "0"}));
    assert_eq!((&error["code"], &error["data"]["field"]), (&json!(-32602), &json!("data")));

    // Somebody else's signature, a used one, one for another node, and none at all.
    let read = read_all(place.node_id());
    let mut stolen = Owner::new(6).prove(read.clone());
    stolen["account"] = json!(account);
    assert_eq!(call(&node, "retrieve", stolen)["error"]["code"], -32002);
    let proof = owner.prove(read.clone());
    assert!(call(&node, "retrieve", proof.clone())["result"].is_object());
    assert_eq!(call(&node, "retrieve", proof)["error"]["code"], -32008);
    let mut elsewhere = owner.prove(read_all([9; 32].into()));
    elsewhere["audience"] = json!("09".repeat(32));
    assert_eq!(call(&node, "retrieve", elsewhere)["error"]["code"], -32014);
    assert_eq!(call(&node, "retrieve", json!({"account": account}))["error"]["code"], -32015);
    let mut no_keys = Owner::new(7).prove(read);
    no_keys.as_object_mut().unwrap().remove("keys");
    assert_eq!(call(&node, "retrieve", no_keys)["error"]["code"], -32009);
}

#[test]
fn batches_are_answered_in_order() {
    let (place, owner) = (Place::new(), Owner::new(8));
    let node = place.start();
    let account = owner.account().to_string();
    let answer = post(
        node.http,
        &json!([
            {"id": 1, "method": "store", "params": {"account": account, "ttl": 60_000, "data": "01"}},
            {"method": "store", "params": {"account": account, "ttl": 60_000, "data": "02"}},
            {"id": 2, "method": "session.info"},
            {"id": 3, "method": "nonsense"},
            7,
            {"id": 4, "method": "get_swarm", "params": [{"account": account}]},
            {"id": 5, "method": "subscribe", "params": {"account": account, "namespaces": [0],
                "timestamp": 1, "nonce": 1, "signature": "00".repeat(3309)}},
        ]),
    );
    let codes: Vec<_> = answer
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["id"].clone(), one["error"]["code"].clone()))
        .collect();
    let none = Value::Null;
    assert_eq!(
        codes,
        [
            (json!(1), none.clone()),
            (json!(2), none.clone()),
            (json!(3), json!(-32601)),
            (none.clone(), json!(-32600)),
            (json!(4), none),
            (json!(5), json!(-32600)),
        ]
    );
    assert_eq!(answer[4]["result"]["members"][0]["node"], place.node_id().to_string());
    let info = call(&node, "info", json!({}));
    assert_eq!(info["result"]["items"], 2, "the notification was performed: {info}");
}

#[test]
fn what_is_not_a_call_gets_a_clear_error() {
    let place = Place::new();
    let mut node = place.start();
    let json = "application/json";
    let large = vec![b' '; (4 << 20) + 1];
    let cases: [(&str, &str, &str, &[u8], u16); 9] = [
        ("GET", "/nothing", "", b"", 404),
        ("GET", "/rpc", "", b"", 405),
        ("POST", "/health", "", b"", 405),
        ("POST", "/rpc", "text/plain", b"{}", 415),
        ("POST", "/rpc", json, b"", 400),
        ("POST", "/rpc", json, b"\xff\x00", 400),
        ("POST", "/rpc", json, b"[]", 400),
        ("POST", "/rpc", json, b"{}", 200),
        ("POST", "/rpc", json, &large, 413),
    ];
    for (method, path, content, body, expected) in cases {
        let answer = request(node.http, method, path, content, body);
        assert_eq!(answer.status, expected, "{method} {path}: {}", answer.head);
        if expected != 413 {
            let error = &answer.json()["error"];
            assert!(error["code"].is_i64() && error["data"]["name"].is_string(), "{error}");
        }
    }
    let silent = request(node.http, "POST", "/", json, br#"{"method": "info"}"#);
    assert_eq!((silent.status, silent.body.len()), (204, 0));
    assert!(node.is_running());
}

#[test]
fn one_address_cannot_ask_without_end() {
    let place = Place::new();
    let node = place.start();
    let batch = Value::from(vec![json!({"id": 1, "method": "info"}); 20]).to_string();
    let ask = |to: SocketAddr| request(to, "POST", "/rpc", "application/json", batch.as_bytes());
    // 2,000 calls at once, then 500 a second: 400 batches of 20 cannot all be within that.
    let limited = (0..400).map(|_| ask(node.http)).find(|answer| answer.status == 429);
    let limited = limited.expect("some batch is over the limit");
    assert!(limited.head.contains("retry-after: "), "{}", limited.head);
    assert_eq!(limited.json()["error"]["data"]["name"], "rate_limited");
}

#[test]
fn a_wrong_clock_is_corrected_with_the_nodes_time() {
    let (place, mut owner) = (Place::new(), Owner::new(11));
    let node = place.start();
    let hour = session_core::Span::from_secs(3600);
    let read = read_all(place.node_id());
    for wrong in [now() - hour, now() + hour] {
        let refused = call(&node, "retrieve", owner.prove_at(read.clone(), wrong));
        assert_eq!(refused["error"]["data"]["name"], "clock", "{refused}");
        let told = refused["error"]["data"]["server_time"].as_u64().unwrap();
        let again = owner.prove_at(read.clone(), Time::from_millis(told));
        assert!(call(&node, "retrieve", again)["result"].is_object());
    }
}

#[test]
fn a_kill_during_load_loses_nothing_that_was_acknowledged() {
    let (place, mut owner) = (Place::new(), Owner::new(12));
    let mut node = place.start_with(&["-client-rate", "0"]);
    let (http, account) = (node.http, owner.account().to_string());
    let loaders: Vec<_> = (0..4_u8)
        .map(|loader| {
            let account = account.clone();
            std::thread::spawn(move || acknowledged_until_it_dies(http, &account, loader))
        })
        .collect();
    std::thread::sleep(std::time::Duration::from_millis(400));
    node.signal(Signal::KILL);
    node.wait();
    let acknowledged: Vec<Value> =
        loaders.into_iter().flat_map(|loader| loader.join().unwrap()).collect();
    assert!(acknowledged.len() > 20, "{} stores before the kill", acknowledged.len());

    let node = place.start_with(&["-client-rate", "0"]);
    let mut kept = std::collections::BTreeSet::new();
    let mut select = Select::After { cursor: Cursor::default() };
    let mut cursor = Value::Null;
    loop {
        let audience = place.node_id();
        let (namespace, bytes_max) = (Namespace(0), 768 * 1024);
        let read = OwnerAction::Retrieve { namespace, select, bytes_max, audience };
        let mut params = owner.prove(read);
        params["cursor"] = cursor;
        let page = call(&node, "retrieve", params)["result"].clone();
        let items = page["items"].as_array().unwrap_or_else(|| panic!("no items in {page}"));
        kept.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
        if page["more"] != true {
            break;
        }
        cursor = page["cursor"].clone();
        let bytes = hex::decode(cursor.as_str().unwrap()).unwrap();
        select = Select::After { cursor: Cursor::decode_exact(&bytes).unwrap() };
    }
    let lost = acknowledged.iter().filter(|id| !kept.contains(id.as_str().unwrap()));
    assert_eq!(lost.count(), 0, "of {} acknowledged, {} kept", acknowledged.len(), kept.len());
}

/// Stores batches until the node is gone, and returns the ids of what it acknowledged.
fn acknowledged_until_it_dies(http: SocketAddr, account: &str, loader: u8) -> Vec<Value> {
    let mut acknowledged = Vec::new();
    for round in 0_u32.. {
        let calls: Vec<_> = (0..5_u8)
            .map(|number| {
                let mut data = vec![loader; 2048];
                data[..4].copy_from_slice(&round.to_be_bytes());
                data[4] = number;
                let data = hex::encode(data);
                let params = json!({"account": account, "ttl": 600_000, "data": data});
                json!({"id": number, "method": "store", "params": params})
            })
            .collect();
        let Some(answer) = try_post(http, &Value::from(calls)) else { break };
        let results = answer.as_array().unwrap().iter();
        acknowledged.extend(results.filter_map(|one| one["result"].get("id").cloned()));
    }
    acknowledged
}

#[test]
fn a_full_disk_refuses_new_items_and_serves_the_others() {
    let (place, mut owner) = (Place::new(), Owner::new(9));
    let node = place.start_with(&["-data-bytes-max", "16777216", "-client-rate", "0"]);
    let account = owner.account().to_string();
    let mut acknowledged = 0;
    let refusal = (0..400_u32).find_map(|number| {
        let mut data = vec![0; 60_000];
        data[..4].copy_from_slice(&number.to_be_bytes());
        let params = json!({"account": account, "ttl": 600_000, "data": hex::encode(data)});
        let answer = call(&node, "store", params);
        acknowledged += u64::from(answer["error"].is_null());
        answer.get("error").cloned()
    });
    let refusal = refusal.expect("400 items of 60 kB do not fit into 16 MiB");
    assert_eq!((&refusal["code"], &refusal["data"]["name"]), (&json!(-32012), &json!("disk_full")));
    assert!(acknowledged > 20, "{acknowledged}");

    let health = request(node.http, "GET", "/health", "", b"");
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("degraded")));
    let items = retrieve(&node, &place, &mut owner);
    assert!(items.len() >= 10, "a page of {} items", items.len());
    // Its owner can still tidy up.
    let mut params = owner.prove(OwnerAction::Delete { ids: ids(&items[0]) });
    params["ids"] = json!([items[0]["id"]]);
    let answer = call(&node, "delete", params);
    assert_eq!(answer["result"]["deleted"], json!([items[0]["id"]]), "{answer}");
}

#[test]
fn a_flipped_byte_on_disk_is_found_and_not_served() {
    let (place, mut owner) = (Place::new(), Owner::new(10));
    let mut node = place.start();
    let marker = [0xa5; 64];
    store(&node, &owner, &marker);
    store(&node, &owner, b"whole");
    node.signal(Signal::TERM);
    node.wait();
    flip_in_files(&place.data_dir().join("store"), &marker);
    let node = place.start();
    let items = retrieve(&node, &place, &mut owner);
    let data: Vec<_> = items.iter().map(|item| item["data"].as_str().unwrap()).collect();
    assert_eq!(data, [hex::encode("whole")]);
    // It is taken again, as anything that the node does not have.
    assert_eq!(store(&node, &owner, &marker)["duplicate"], false);
}

/// Changes one bit inside every copy of `marker` in the files below `dir`.
fn flip_in_files(dir: &std::path::Path, marker: &[u8]) {
    let mut flipped = 0;
    let mut left = vec![dir.to_owned()];
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let mut bytes = std::fs::read(&path).unwrap();
        let found = bytes.windows(marker.len()).position(|window| window == marker);
        if let Some(at) = found {
            bytes[at + 7] ^= 1;
            std::fs::write(&path, bytes).unwrap();
            flipped += 1;
        }
    }
    assert!(flipped > 0, "the item is on disk somewhere");
}
