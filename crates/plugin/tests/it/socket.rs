//! Calls and pushes over a WebSocket.

use std::time::Duration;

use serde_json::{Value, json};
use session_runtime::http::websocket::{Options, WebSocket, connect};
use session_vm::mailbox::signed::Action;

use crate::common::{Node, PATIENCE, Person, Place, Refusal, Talk, transfer};

struct Socket(WebSocket);

impl Socket {
    async fn open(node: &Node, path: &str) -> Self {
        let url = format!("ws://{}{path}", node.http);
        Self(connect(&url, Options::default()).await.unwrap())
    }

    async fn next(&mut self) -> Value {
        let text = tokio::time::timeout(PATIENCE, self.0.recv()).await.expect("a message in time");
        serde_json::from_str(&text.expect("an open connection")).unwrap()
    }

    /// Makes a call; pushes must not come before its answer.
    async fn call(&mut self, method: &str, params: Value) -> Value {
        let call = json!({"jsonrpc": "2.0", "id": 9, "method": method, "params": params});
        self.0.send(call.to_string()).await.unwrap();
        let answer = self.next().await;
        assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(9)), "{answer}");
        answer
    }

    async fn push(&mut self) -> Value {
        let push = self.next().await;
        let form = (&push["jsonrpc"], &push["method"]);
        assert_eq!(form, (&json!("2.0"), &json!("sessionvm.event")), "{push}");
        push["params"].clone()
    }

    async fn silent(&mut self) -> bool {
        tokio::time::timeout(Duration::from_millis(200), self.0.recv()).await.is_err()
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}

#[test]
fn new_messages_are_pushed_in_order_and_missed_ones_first() {
    let place = Place::new();
    let node = place.start(&[]);
    let (mut ann, bob) = (Person::new(1), Person::new(2));
    let talk = Talk::open(&node, &[&ann, &bob]);
    let id = talk.id.to_string();
    let mut send = |counter: u64| {
        let params = talk.message(&mut ann, counter, &counter.to_be_bytes(), counter == 0);
        node.ask("SendMessage", params);
    };
    (0..150).for_each(&mut send);
    run(async {
        let (mut fresh, mut late) =
            (Socket::open(&node, "/ws").await, Socket::open(&node, "/rpc").await);
        let answer = fresh.call("sessionvm.Subscribe", json!({"sessionId": id})).await;
        let fresh_number = answer["result"]["subscription"].clone();
        let answer = late.call("session.Subscribe", json!({"sessionId": id, "after": 9})).await;
        assert_eq!(answer["result"]["subscription"], 1);
        for sequence in 10..150_u64 {
            assert_eq!(late.push().await["message"]["sequence"], json!(sequence));
        }
        (150..153).for_each(&mut send);
        for sequence in 150..153_u64 {
            let push = fresh.push().await;
            assert_eq!(
                (&push["subscription"], &push["message"]["sequence"]),
                (&fresh_number, &json!(sequence))
            );
            let ciphertext = hex::encode(sequence.to_be_bytes());
            assert_eq!(push["message"]["ciphertext"], json!(ciphertext));
            assert_eq!(late.push().await["message"]["sequence"], json!(sequence));
        }
        let ended =
            fresh.call("sessionvm.Unsubscribe", json!({"subscription": fresh_number})).await;
        assert_eq!(ended["result"], json!({"success": true}));
        send(153);
        assert_eq!(late.push().await["message"]["sequence"], 153);
        assert!(fresh.silent().await);
        let again =
            fresh.call("sessionvm.Unsubscribe", json!({"subscription": fresh_number})).await;
        Refusal(again["error"].clone()).is(-32047, "unknown_subscription", json!({}));
    });
}

#[test]
fn blocks_are_pushed() {
    let place = Place::new();
    let node = place.start(&[]);
    let (owner, bob) = (place.owner(), Person::new(2));
    run(async {
        let mut socket = Socket::open(&node, "/ext/bc/2a/ws").await;
        socket.call("sessionvm.Subscribe", json!({"topic": "blocks"})).await;
        for nonce in 0..3 {
            let tx = node.issue(&transfer(node.chain(), &owner, nonce, bob.account(), 1));
            let push = socket.push().await;
            let block = &push["block"];
            assert_eq!(
                (&block["height"], &block["txs"][0]["txId"]),
                (&json!(nonce + 1), &json!(tx))
            );
            assert!(block["seal"].is_string() && push.get("message").is_none(), "{push}");
        }
    });
}

#[test]
fn other_calls_work_too_and_everything_is_checked() {
    let place = Place::new();
    let node = place.start(&[]);
    let (ann, mut eve) = (Person::new(1), Person::new(3));
    let talk = Talk::open(&node, &[&ann]);
    run(async {
        let mut socket = Socket::open(&node, "/ws").await;
        let health = socket.call("sessionvm.Health", json!({})).await;
        assert_eq!(health["result"]["healthy"], true);
        let unknown =
            socket.call("sessionvm.Subscribe", json!({"sessionId": "11".repeat(32)})).await;
        Refusal(unknown["error"].clone()).is(-32011, "unknown_session", json!({}));
        let stranger = talk.wish(&mut eve, Action::Read, true);
        let refused = socket.call("sessionvm.Subscribe", stranger).await;
        Refusal(refused["error"].clone()).is(
            -32014,
            "unauthorized",
            json!({"reason": "not_a_participant"}),
        );
        for _ in 0..64 {
            let answer = socket.call("sessionvm.Subscribe", json!({"topic": "blocks"})).await;
            assert!(answer["error"].is_null(), "{answer}");
        }
        let one_more = socket.call("sessionvm.Subscribe", json!({"topic": "blocks"})).await;
        Refusal(one_more["error"].clone()).is(
            -32046,
            "too_many_subscriptions",
            json!({"got": 65, "limit": 64}),
        );
        socket.0.send("{").await.unwrap();
        Refusal(socket.next().await["error"].clone()).is(-32700, "parse_error", json!({}));
    });
    assert_eq!(node.health()["healthy"], true);
}
