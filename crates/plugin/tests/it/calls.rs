//! The calls of the seed's documents, and the forms that calls may have.

use serde_json::{Value, json};

use crate::common::{Node, Person, Place, Refusal, Talk, call, get, post, raw, request};

/// The names under which a call is known.
fn names(call: &str, short: &str) -> [String; 3] {
    [format!("sessionvm.{call}"), format!("session.{call}"), format!("session.{short}")]
}

fn result(node: &Node, method: &str, params: &Value) -> Value {
    let response = call(node.http, method, params);
    assert!(response["error"].is_null(), "{method}: {response}");
    response["result"].clone()
}

#[test]
fn the_five_calls_of_the_seed_under_all_their_names() {
    let place = Place::new();
    let node = place.start(&[]);
    for (round, prefix) in (0..).zip(0..3) {
        let (mut ann, mut bob) = (Person::new(10 + round), Person::new(20 + round));
        let name = |call, short| names(call, short)[prefix].clone();

        let params = Talk::params(&[&ann, &bob]);
        let created = result(&node, &name("CreateSession", "create"), &params);
        let id = created["sessionId"].as_str().unwrap();
        assert_eq!((id.len(), &created["status"]), (64, &json!("pending")));
        let talk = Talk::read(&node, id);
        assert_eq!(created["expires"], json!(talk.expires.as_millis() / 1000));

        let found = result(&node, &name("GetSession", "get"), &json!({"sessionId": id}));
        let session = &found["session"];
        assert_eq!(
            (&session["id"], &session["participants"]),
            (&json!(id), &params["participants"])
        );
        assert_eq!(
            (&session["publicKeys"], &session["status"]),
            (&params["publicKeys"], &json!("pending"))
        );

        for (sequence, sender) in [&mut ann, &mut bob].into_iter().enumerate() {
            let message = talk.message(sender, 0, b"a ciphertext", true);
            let sent = result(&node, &name("SendMessage", "send"), &message);
            assert_eq!(sent["sequence"], json!(sequence));
            assert_eq!(sent["messageId"].as_str().unwrap().len(), 64);
        }
        let found = result(&node, &name("GetSession", "get"), &json!({"sessionId": id}));
        assert_eq!(found["session"]["status"], "active");
        assert_eq!(found["session"]["signingKeys"], json!([ann.dsa(), bob.dsa()]));

        let health = result(&node, &name("Health", "health"), &json!({}));
        assert_eq!((&health["healthy"], &health["sessions"]), (&json!(true), &json!(1)));
        assert_eq!((&health["channels"], &health["pending"]), (&json!(0), &json!(0)));
        assert!(health.get("compat").is_none() && health.get("fault").is_none(), "{health}");

        let close = talk.wish(&mut ann, session_vm::mailbox::signed::Action::Close, false);
        let closed = result(&node, &name("CloseSession", "close"), &close);
        assert_eq!(closed, json!({"success": true}));
    }
}

#[test]
fn calls_may_be_written_in_several_ways() {
    let place = Place::new();
    let node = place.start(&[]);
    let ask = |body: Value| post(node.http, body.to_string().as_bytes()).json();
    for (body, id) in [
        (json!({"jsonrpc": "2.0", "id": 7, "method": "sessionvm.Health", "params": {}}), json!(7)),
        (json!({"id": "x", "method": "sessionvm.Health", "params": [{}]}), json!("x")),
        (json!({"id": null, "method": "session.health", "params": []}), Value::Null),
        (json!({"id": 1.5, "method": "sessionvm.Health", "params": null}), json!(1.5)),
        (json!({"id": 0, "method": "sessionvm.Health"}), json!(0)),
    ] {
        let answer = ask(body.clone());
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &id), "{body}");
        assert_eq!(answer["result"]["healthy"], true, "{body}");
    }
    // The same calls below a host's prefix and at the root.
    for path in ["/", "/rpc/", "/ext/bc/2a/rpc", "/v1/bc/2a/rpc"] {
        let body = br#"{"id":1,"method":"sessionvm.Health"}"#;
        let answer = request(node.http, "POST", path, "content-type: application/json\r\n", body);
        assert_eq!(answer.unwrap().json()["result"]["healthy"], true, "{path}");
    }
}

#[test]
fn batches_are_answered_call_by_call() {
    let place = Place::new();
    let node = place.start(&[]);
    let health = |id: u64| json!({"id": id, "method": "sessionvm.Health"});
    let unknown = json!({"id": 3, "method": "sessionvm.Nothing"});
    let note = json!({"method": "sessionvm.Health"});
    let answer =
        post(node.http, json!([health(1), note, unknown, 5, health(2)]).to_string().as_bytes());
    let answers = answer.json();
    let ids: Vec<_> = answers.as_array().unwrap().iter().map(|one| one["id"].clone()).collect();
    assert_eq!(ids, [json!(1), json!(3), Value::Null, json!(2)]);
    Refusal(answers[1]["error"].clone()).is(-32601, "method_not_found", json!({}));
    Refusal(answers[2]["error"].clone()).is(-32600, "invalid_request", json!({"field": "call"}));

    let silent = post(node.http, json!([note, note]).to_string().as_bytes());
    assert_eq!((silent.status, silent.body.len()), (204, 0));
    let none = post(node.http, b"[]").json();
    Refusal(none["error"].clone()).is(-32600, "invalid_request", json!({}));
    let many: Vec<_> = (0..21).map(health).collect();
    let many = post(node.http, Value::from(many).to_string().as_bytes()).json();
    Refusal(many["error"].clone()).is(-32600, "invalid_request", json!({"got": 21, "limit": 20}));
}

#[test]
fn messages_of_a_batch_keep_their_order() {
    let place = Place::new();
    let node = place.start(&[]);
    let mut ann = Person::new(1);
    let talk = Talk::open(&node, &[&ann]);
    for round in 0..20 {
        let calls = (0..20).map(|index| {
            let counter = round * 20 + index;
            let params = talk.message(&mut ann, counter, &counter.to_be_bytes(), counter == 0);
            // Only whoever is in already needs no key.
            let params = if round == 0 { with_key(params, &ann) } else { params };
            json!({"id": index, "method": "sessionvm.SendMessage", "params": params})
        });
        let body = Value::from(calls.collect::<Vec<_>>()).to_string();
        let answers = post(node.http, body.as_bytes()).json();
        for (index, answer) in (0..).zip(answers.as_array().unwrap()) {
            assert_eq!(answer["result"]["sequence"], json!(round * 20 + index), "{answer}");
        }
    }
}

fn with_key(mut params: Value, person: &Person) -> Value {
    params["signingKey"] = person.dsa().into();
    params
}

#[test]
fn what_is_no_call_is_refused_in_words() {
    let place = Place::new();
    let node = place.start(&[]);
    let error = |body: &[u8]| Refusal(post(node.http, body).json()["error"].clone());
    error(b"").is(-32700, "parse_error", json!({}));
    error(b"{").is(-32700, "parse_error", json!({}));
    error(b"\xff\xfe").is(-32700, "parse_error", json!({}));
    error(br#"{"id":1}"#).is(-32600, "invalid_request", json!({"field": "method"}));
    error(br#"{"id":[],"method":"x"}"#).is(-32600, "invalid_request", json!({"field": "id"}));
    error(br#"{"jsonrpc":"1.0","id":1,"method":"sessionvm.Health"}"#).is(
        -32600,
        "invalid_request",
        json!({"field": "jsonrpc"}),
    );
    error(br#"{"id":1,"method":"sessionvm.Health","params":[1,2]}"#).is(
        -32600,
        "invalid_request",
        json!({"field": "params"}),
    );
    error(br#"{"id":1,"method":"sessionvm.Health","params":"x"}"#).is(
        -32600,
        "invalid_request",
        json!({"field": "params"}),
    );
    node.refuses("GetSession", json!({})).is(
        -32602,
        "invalid_params",
        json!({"field": "sessionId"}),
    );
    node.refuses("GetSession", json!({"sessionId": "07ab"})).is(
        -32602,
        "invalid_params",
        json!({"field": "sessionId"}),
    );
    node.refuses("Nothing", json!({})).is(-32601, "method_not_found", json!({}));
    node.refuses("Subscribe", json!({"topic": "blocks"})).is(-32045, "needs_websocket", json!({}));
    // A browser sends other kinds across origins without asking.
    let form = request(node.http, "POST", "/rpc", "content-type: text/plain\r\n", b"{}").unwrap();
    assert_eq!(form.status, 415);
    let read = get(node.http, "/rpc");
    assert_eq!(read.status, 405);
    assert!(read.head.contains("allow: post"), "{}", read.head);
    assert_eq!(get(node.http, "/nothing").status, 404);
}

#[test]
fn pages_of_other_origins_may_call_only_when_the_operator_says_so() {
    let place = Place::new();
    let body = br#"{"id":1,"method":"sessionvm.Health"}"#;
    let headers = "origin: https://wallet.example\r\ncontent-type: application/json\r\n";
    let asking = "origin: https://wallet.example\r\naccess-control-request-method: POST\r\n";
    let node = place.start(&[]);
    let answer = request(node.http, "POST", "/rpc", headers, body).unwrap();
    assert!(!answer.head.contains("access-control") && answer.status == 403, "{}", answer.head);
    let asked = request(node.http, "OPTIONS", "/rpc", asking, b"").unwrap();
    assert!(!asked.head.contains("access-control") && asked.status == 403, "{}", asked.head);
    // A name that leads to this machine makes a page of the same origin; an address does not lie.
    let as_host = |host: &str, path: &str, more: &str| {
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {host}\r\norigin: http://{host}\r\nconnection: close\r\n\
             {more}content-length: {}\r\n\r\n",
            body.len()
        );
        raw(node.http, &[head.as_bytes(), body].concat()).unwrap().status
    };
    let json = "content-type: application/json\r\n";
    let port = node.http.port();
    assert_eq!(as_host(&format!("rebound.example:{port}"), "/rpc", json), 403);
    assert_eq!(as_host("rebound.example", "/ws", json), 403);
    for own in [format!("127.0.0.1:{port}"), format!("localhost:{port}"), "[::1]".to_owned()] {
        assert_eq!(as_host(&own, "/rpc", json), 200, "{own}");
    }

    let config = place.file("cors.json", r#"{"corsOrigins": ["https://wallet.example"]}"#);
    let node = place_elsewhere(&place, &config);
    let answer = request(node.http, "POST", "/rpc", headers, body).unwrap();
    let allow = "access-control-allow-origin: https://wallet.example";
    assert!(answer.head.contains(allow), "{}", answer.head);
    let asked = request(node.http, "OPTIONS", "/rpc", asking, b"").unwrap();
    assert!(asked.head.contains(allow) && asked.status == 204, "{}", asked.head);
    let other = headers.replace("wallet", "other");
    let answer = request(node.http, "POST", "/rpc", &other, body).unwrap();
    assert!(!answer.head.contains("access-control") && answer.status == 403, "{}", answer.head);
}

fn place_elsewhere(place: &Place, config: &std::path::Path) -> Node {
    let dir = place.path().join("elsewhere");
    let args = ["--data-dir", dir.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let mut command = crate::common::sessionvm(&args);
    command.args(["--listen", "127.0.0.1:0", "--stop-with-stdin"]);
    Node::start(command)
}

#[test]
fn the_program_describes_all_its_calls() {
    let place = Place::new();
    let node = place.start(&[]);
    let document = call(node.http, "rpc.discover", &json!({}))["result"].clone();
    assert!(document["openrpc"].as_str().unwrap().starts_with("1."), "{document}");
    let described: Vec<_> = document["methods"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    for name in [
        "CreateSession",
        "AcceptSession",
        "GetSession",
        "SendMessage",
        "CloseSession",
        "Health",
        "GetMessages",
        "Subscribe",
        "Unsubscribe",
        "ListSessions",
        "CreateChannel",
        "JoinChannel",
        "LeaveChannel",
        "GetChannel",
        "ListChannels",
        "IssueTx",
        "GetTx",
        "GetBlock",
        "GetHeight",
        "GetNode",
        "ListNodes",
        "GetProof",
        "GetEpoch",
        "GetMarks",
        "GetCommitments",
        "GetSwarms",
        "GetCases",
        "GetCase",
        "GetAccount",
        "GetWorkload",
        "GetConversation",
    ] {
        let name = format!("sessionvm.{name}");
        assert!(described.contains(&name.as_str()), "{name} is not described");
    }
    // And none is described that is not served.
    for name in described {
        let answer = call(node.http, name, &json!({}));
        assert_ne!(answer["error"]["code"], json!(-32601), "{name} is not served");
    }
}
