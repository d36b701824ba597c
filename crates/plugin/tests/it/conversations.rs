//! Conversations: their life, everything that is refused, and what a crash leaves of them.

use serde_json::{Value, json};
use session_core::Text;
use session_vm::mailbox::signed::{Action, ChannelAction};

use crate::common::{Node, Person, Place, Talk, eventually, keys, post, request, try_call};

const UNAUTHORIZED: i32 = -32014;

#[test]
fn a_conversation_from_its_opening_to_its_end() {
    let place = Place::new();
    let node = place.start(&[]);
    let (mut ann, mut bob) = (Person::new(1), Person::new(2));
    let talk = Talk::open(&node, &[&ann, &bob]);
    let id = talk.id.to_string();

    let accepted = node.ask("AcceptSession", talk.wish(&mut ann, Action::Accept, true));
    assert_eq!(accepted["session"]["status"], "pending");
    assert_eq!(accepted["session"]["accepted"], json!([ann.id()]));
    // Sending proves whose key it is as well as accepting does.
    let sent = node.ask("SendMessage", talk.message(&mut bob, 0, b"zero", true));
    assert_eq!(sent["sequence"], 0);
    let session = node.ask("GetSession", json!({"sessionId": id}))["session"].clone();
    assert_eq!((&session["status"], &session["counters"]), (&json!("active"), &json!([0, 1])));

    assert_eq!(node.ask("SendMessage", talk.message(&mut ann, 0, b"one", false))["sequence"], 1);
    assert_eq!(node.ask("SendMessage", talk.message(&mut ann, 1, b"two", false))["sequence"], 2);
    let page = node.ask("GetMessages", json!({"sessionId": id, "limit": 2}));
    assert_eq!(texts(&page), ["zero", "one"]);
    assert_eq!((&page["next"], &page["nextSequence"]), (&json!(1), &json!(3)));
    let page = node.ask("GetMessages", json!({"sessionId": id, "limit": 2, "after": page["next"]}));
    assert_eq!(texts(&page), ["two"]);
    assert!(page.get("next").is_none(), "{page}");
    let message = &page["messages"][0];
    assert_eq!((&message["sender"], &message["counter"]), (&json!(ann.id()), &json!(1)));

    // Whoever signs the question is checked.
    let mut reading = talk.wish(&mut ann, Action::Read, false);
    reading["limit"] = json!(1);
    assert_eq!(texts(&node.ask("GetMessages", reading.clone())), ["zero"]);
    reading["participant"] = bob.id().into();
    node.refuses("GetMessages", reading).is(
        UNAUTHORIZED,
        "unauthorized",
        json!({"reason": "signature"}),
    );

    let listed = node.ask("ListSessions", json!({"participant": bob.id(), "status": "active"}));
    assert_eq!(listed["sessions"][0]["id"], json!(id));
    let closed = node.ask("CloseSession", talk.wish(&mut bob, Action::Close, false));
    assert_eq!(closed, json!({"success": true}));
    node.refuses("SendMessage", talk.message(&mut ann, 2, b"late", false)).is(
        -32013,
        "session_closed",
        json!({}),
    );
    node.refuses("CloseSession", json!({"sessionId": id})).is(-32013, "session_closed", json!({}));
    node.refuses("AcceptSession", talk.wish(&mut ann, Action::Accept, false)).is(
        -32013,
        "session_closed",
        json!({}),
    );
    // What was said can still be read.
    assert_eq!(texts(&node.ask("GetMessages", json!({"sessionId": id}))), ["zero", "one", "two"]);
    assert_eq!(node.ask("GetSession", json!({"sessionId": id}))["session"]["status"], "closed");
}

fn texts(page: &Value) -> Vec<String> {
    let text = |message: &Value| hex::decode(message["ciphertext"].as_str().unwrap()).unwrap();
    let messages = page["messages"].as_array().unwrap().iter();
    messages.map(|message| String::from_utf8(text(message)).unwrap()).collect()
}

#[test]
fn whoever_is_not_entitled_is_refused() {
    let place = Place::new();
    let node = place.start(&[]);
    let (mut ann, mut bob, mut eve) = (Person::new(1), Person::new(2), Person::new(3));
    let talk = Talk::open(&node, &[&ann, &bob]);
    let id = talk.id.to_string();
    let refused = |method: &str, params: Value, reason: &str| {
        node.refuses(method, params).is(UNAUTHORIZED, "unauthorized", json!({"reason": reason}));
    };

    node.refuses("SendMessage", talk.message(&mut ann, 0, b"x", false)).is(
        -32027,
        "key_needed",
        json!({"field": "signingKey"}),
    );
    let mut wrong = talk.message(&mut ann, 0, b"x", true);
    wrong["ciphertext"] = "00".into();
    refused("SendMessage", wrong, "signature");
    let mut wrong = talk.message(&mut ann, 0, b"x", false);
    wrong["signingKey"] = eve.dsa().into();
    refused("SendMessage", wrong, "wrong_key");
    refused("SendMessage", talk.message(&mut eve, 0, b"x", true), "not_a_participant");
    let other = Talk { scope: session_core::Digest::default(), ..talk };
    refused("SendMessage", other.message(&mut ann, 0, b"x", true), "signature");

    node.ask("SendMessage", talk.message(&mut ann, 0, b"x", true));
    refused(
        "CloseSession",
        json!({"sessionId": id}),
        "closing needs a participant and its signature",
    );
    refused("CloseSession", talk.wish(&mut eve, Action::Close, true), "not_a_participant");
    refused("CloseSession", talk.wish(&mut ann, Action::Accept, true), "signature");
    refused("AcceptSession", talk.wish(&mut bob, Action::Close, true), "signature");
    let session = node.ask("GetSession", json!({"sessionId": id}))["session"].clone();
    assert_eq!((&session["status"], &session["nextSequence"]), (&json!("pending"), &json!(1)));
}

#[test]
fn counters_are_used_once_and_in_order() {
    let place = Place::new();
    let node = place.start(&[]);
    let mut ann = Person::new(1);
    let talk = Talk::open(&node, &[&ann]);
    let first = talk.message(&mut ann, 0, b"first", true);
    node.ask("SendMessage", first.clone());
    node.refuses("SendMessage", first).is(
        -32017,
        "replayed_counter",
        json!({"expected": 1, "got": 0}),
    );
    node.refuses("SendMessage", talk.message(&mut ann, 2, b"third", false)).is(
        -32026,
        "counter_gap",
        json!({"expected": 1, "got": 2}),
    );
    node.refuses("SendMessage", talk.message(&mut ann, 1000, b"far", false)).is(
        -32026,
        "counter_gap",
        json!({"expected": 1, "got": 1000}),
    );
    assert_eq!(node.ask("SendMessage", talk.message(&mut ann, 1, b"second", false))["sequence"], 1);
}

#[test]
fn what_does_not_exist_or_is_too_much_is_refused() {
    let place = Place::new();
    let config = place.file("config.json", r#"{"maxMessages": 2, "maxChannels": 1}"#);
    let node = place.start(&["--config", config.to_str().unwrap()]);
    let (mut ann, bob) = (Person::new(1), Person::new(2));
    let unknown = json!({"sessionId": "11".repeat(32)});
    for method in ["GetSession", "GetMessages", "CloseSession"] {
        node.refuses(method, unknown.clone()).is(-32011, "unknown_session", json!({}));
    }
    let talk = Talk::open(&node, &[&ann]);
    let nowhere = Talk { id: "11".repeat(32).parse().unwrap(), ..talk };
    node.refuses("SendMessage", nowhere.message(&mut ann, 0, b"x", true)).is(
        -32011,
        "unknown_session",
        json!({}),
    );

    for counter in 0..2 {
        node.ask("SendMessage", talk.message(&mut ann, counter, b"x", counter == 0));
    }
    node.refuses("SendMessage", talk.message(&mut ann, 2, b"x", false)).is(
        -32018,
        "session_full",
        json!({"got": 3, "limit": 2}),
    );
    node.refuses("SendMessage", talk.message(&mut ann, 2, &vec![0; 65_537], false)).is(
        -32602,
        "invalid_params",
        json!({"field": "ciphertext", "limit": 65_536}),
    );
    node.refuses("SendMessage", talk.message(&mut ann, 2, b"", false)).is(
        -32602,
        "invalid_params",
        json!({"field": "ciphertext"}),
    );

    let create = |params: Value| node.refuses("CreateSession", params);
    let field = |name: &str| json!({"field": name});
    create(json!({"participants": [], "publicKeys": []})).is(
        -32602,
        "invalid_params",
        field("participants"),
    );
    create(Talk::params(&[&ann, &bob, &ann])).is(
        -32602,
        "invalid_params",
        field("participants[2]"),
    );
    let many = json!({"participants": vec![ann.id(); 1001], "publicKeys": vec![""; 0]});
    create(many).is(
        -32602,
        "invalid_params",
        json!({"field": "participants", "got": 1001, "limit": 1000}),
    );
    let mut short = Talk::params(&[&ann]);
    short["publicKeys"] = json!(["00".repeat(16)]);
    create(short).is(-32602, "invalid_params", field("publicKeys[0]"));
    let mut fewer = Talk::params(&[&ann, &bob]);
    fewer["publicKeys"] = json!([ann.kem()]);
    create(fewer).is(-32602, "invalid_params", field("publicKeys"));
    let mut malformed = Talk::params(&[&ann]);
    malformed["publicKeys"] = json!(["ff".repeat(1184)]);
    create(malformed).is(-32016, "bad_key", field("publicKeys[0]"));
    let mut elsewhere = Talk::params(&[&ann]);
    elsewhere["channelId"] = json!("22".repeat(32));
    create(elsewhere).is(-32020, "unknown_channel", json!({}));
    let mut older = Talk::params(&[&ann]);
    older["participants"] = json!([format!("05{}", &ann.id()[2..])]);
    create(older).is(-32602, "invalid_params", field("participants[0]"));

    let scope = node.scope();
    let mut channel = |name: &str| {
        let action = ChannelAction::Create { name: Text::new(name).unwrap() };
        let signature = ann.channel(scope, action);
        json!({"name": name, "owner": ann.id(), "ownerKeys": keys(ann.identity.public()), "signature": signature})
    };
    node.ask("CreateChannel", channel("one"));
    node.refuses("CreateChannel", channel("two")).is(
        -32021,
        "too_many_channels",
        json!({"got": 2, "limit": 1}),
    );
}

#[test]
fn a_thousand_may_take_part() {
    let place = Place::new();
    let node = place.start(&[]);
    let ann = Person::new(1);
    let ids: Vec<_> = (1..=1000_u32).map(|number| format!("07{number:064x}")).collect();
    let params = json!({"participants": ids, "publicKeys": vec![ann.kem(); 1000]});
    let created = node.ask("CreateSession", params);
    let session = node.ask("GetSession", json!({"sessionId": created["sessionId"]}));
    assert_eq!(session["session"]["participants"].as_array().unwrap().len(), 1000);
}

#[test]
fn conversations_expire() {
    let place = Place::new();
    let config = place.file("config.json", r#"{"sessionTTL": 1}"#);
    let node = place.start(&["--config", config.to_str().unwrap()]);
    let mut ann = Person::new(1);
    let talk = Talk::open(&node, &[&ann]);
    node.ask("SendMessage", talk.message(&mut ann, 0, b"x", true));
    let id = json!({"sessionId": talk.id.to_string()});
    eventually("the end of its time", || {
        let session = node.ask("GetSession", id.clone());
        (session["session"]["status"] == "expired").then_some(())
    });
    node.refuses("SendMessage", talk.message(&mut ann, 1, b"x", false)).is(
        -32012,
        "session_expired",
        json!({}),
    );
    node.refuses("CloseSession", talk.wish(&mut ann, Action::Close, false)).is(
        -32012,
        "session_expired",
        json!({}),
    );
    node.refuses("CloseSession", id.clone()).is(-32012, "session_expired", json!({}));
    assert_eq!(texts(&node.ask("GetMessages", id)), ["x"]);
    eventually("nothing is open", || (node.health()["sessions"] == 0).then_some(()));
}

#[test]
fn channels_change_hands_by_signatures_over_their_revision() {
    let place = Place::new();
    let node = place.start(&[]);
    let scope = node.scope();
    let (mut ann, mut bob, eve) = (Person::new(1), Person::new(2), Person::new(3));
    let action = ChannelAction::Create { name: Text::new("lobby").unwrap() };
    let signature = ann.channel(scope, action);
    let make = json!({
        "name": "lobby", "owner": ann.id(), "ownerKeys": keys(ann.identity.public()),
        "signature": signature,
    });
    let made = node.ask("CreateChannel", make.clone())["channel"].clone();
    node.refuses("CreateChannel", make).is(-32022, "channel_exists", json!({}));
    let id = made["id"].as_str().unwrap();
    let channel: session_core::ChannelId = id.parse().unwrap();
    let revision = made["revision"].as_u64().unwrap();

    let join = |bob: &mut Person, revision: u64| {
        let signature = bob.channel(scope, ChannelAction::Join { channel, revision });
        json!({
            "channelId": id, "member": bob.id(), "publicKey": bob.kem(), "signingKey": bob.dsa(),
            "revision": revision, "signature": signature,
        })
    };
    let joining = join(&mut bob, revision);
    let mut stolen = joining.clone();
    stolen["member"] = eve.id().into();
    node.refuses("JoinChannel", stolen).is(
        UNAUTHORIZED,
        "unauthorized",
        json!({"reason": "wrong_key"}),
    );
    let joined = node.ask("JoinChannel", joining.clone())["channel"].clone();
    assert_eq!(joined["members"].as_array().unwrap().len(), 2);
    let now = joined["revision"].as_u64().unwrap();
    node.refuses("JoinChannel", joining).is(
        -32028,
        "revision",
        json!({"expected": now, "got": revision}),
    );
    node.refuses("JoinChannel", join(&mut bob, now)).is(-32023, "already_member", json!({}));

    let mut params = Talk::params(&[&ann, &bob]);
    params["channelId"] = id.into();
    node.ask("CreateSession", params);
    let mut params = Talk::params(&[&ann, &eve]);
    params["channelId"] = id.into();
    node.refuses("CreateSession", params).is(
        UNAUTHORIZED,
        "unauthorized",
        json!({"reason": "not_a_member"}),
    );

    let signature = bob.channel(scope, ChannelAction::Leave { channel, revision: now });
    let leave = json!({
        "channelId": id, "member": bob.id(), "memberKeys": keys(bob.identity.public()),
        "revision": now, "signature": signature,
    });
    assert_eq!(node.ask("LeaveChannel", leave), json!({"success": true}));
    let channels = node.ask("ListChannels", json!({"member": ann.id()}));
    assert_eq!(channels["channels"][0]["members"], json!([ann.id()]));
    assert_eq!(node.ask("ListChannels", json!({"member": bob.id()}))["channels"], json!([]));
    node.refuses("GetChannel", json!({"channelId": "33".repeat(32)})).is(
        -32020,
        "unknown_channel",
        json!({}),
    );
}

#[test]
fn the_references_own_calls_work_under_its_profile_only() {
    let place = Place::new();
    let node = place.start(&["--compat", "go"]);
    assert_eq!(node.health()["compat"], "go");
    let ids = [format!("07{}", "01".repeat(32)), format!("07{}", "02".repeat(32))];
    let create = json!({"participants": ids, "publicKeys": ["0a".repeat(16), "0b".repeat(16)]});
    let created = node.ask("CreateSession", create.clone());
    assert_eq!(created["status"], "active");
    let id = created["sessionId"].clone();
    for (sequence, signature) in ["", "00", "deadbeef"].into_iter().enumerate() {
        let send = json!({"sessionId": id, "sender": ids[0], "ciphertext": "c0ffee", "signature": signature});
        assert_eq!(node.ask("SendMessage", send)["sequence"], json!(sequence), "{signature:?}");
    }
    let session = node.ask("GetSession", json!({"sessionId": id}));
    assert_eq!(session["session"]["compat"], true);
    let stranger =
        json!({"sessionId": id, "sender": "03".repeat(32), "ciphertext": "00", "signature": ""});
    node.refuses("SendMessage", stranger).is(
        UNAUTHORIZED,
        "unauthorized",
        json!({"reason": "not_a_participant"}),
    );
    assert_eq!(node.ask("CloseSession", json!({"sessionId": id})), json!({"success": true}));
    let late = json!({"sessionId": id, "sender": ids[0], "ciphertext": "00", "signature": ""});
    node.refuses("SendMessage", late).is(-32013, "session_closed", json!({}));

    // A verified conversation stays one.
    let mut ann = Person::new(1);
    let talk = Talk::open(&node, &[&ann]);
    let mut forged = talk.message(&mut ann, 0, b"x", true);
    forged["signature"] = "".into();
    node.refuses("SendMessage", forged).is(
        UNAUTHORIZED,
        "unauthorized",
        json!({"reason": "other_profile"}),
    );
    node.refuses("CloseSession", json!({"sessionId": talk.id.to_string()})).is(
        UNAUTHORIZED,
        "unauthorized",
        json!({"reason": "other_profile"}),
    );
    node.ask("SendMessage", talk.message(&mut ann, 0, b"x", true));

    drop(node);
    let strict = place.start(&[]);
    assert!(strict.health().get("compat").is_none());
    strict.refuses("CreateSession", create).is(
        -32602,
        "invalid_params",
        json!({"field": "publicKeys[0]"}),
    );
    let send = json!({"sessionId": id, "sender": ids[0], "ciphertext": "00", "signature": ""});
    strict.refuses("SendMessage", send).is(-32602, "invalid_params", json!({"field": "signature"}));
}

/// Sends until the program ends; returns how many messages it acknowledged.
fn send_until_the_end(node: &Node, talk: Talk, sender: &mut Person, begin: u64) -> u64 {
    let mut counter = begin;
    loop {
        let params = talk.message(sender, counter, &counter.to_be_bytes(), true);
        let Some(answer) = try_call(node.http, "sessionvm.SendMessage", &params) else {
            return counter;
        };
        assert_eq!(answer["result"]["sequence"], json!(counter), "{answer}");
        counter += 1;
    }
}

#[test]
fn acknowledged_messages_survive_a_kill() {
    let place = Place::new();
    let mut node = place.start(&[]);
    let mut ann = Person::new(1);
    let talk = Talk::open(&node, &[&ann]);
    let id = talk.id.to_string();
    let mut acknowledged = 0;
    for round in 0..4 {
        let pause = std::time::Duration::from_millis(150 + 70 * round);
        acknowledged = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(pause);
                node.signal(rustix::process::Signal::KILL);
            });
            send_until_the_end(&node, talk, &mut ann, acknowledged)
        });
        node.wait();
        node = place.start(&[]);
        let session = node.ask("GetSession", json!({"sessionId": id}))["session"].clone();
        let next = session["nextSequence"].as_u64().unwrap();
        // The one that was on its way may be there or not.
        assert!(next == acknowledged || next == acknowledged + 1, "{next}, not {acknowledged}");
        assert_eq!(session["counters"], json!([next]));
        acknowledged = next;
    }
    assert!(acknowledged > 20, "only {acknowledged} messages");
    let mut seen = 0;
    while seen < acknowledged {
        let after = seen.checked_sub(1);
        let page = node.ask("GetMessages", json!({"sessionId": id, "after": after, "limit": 200}));
        for message in page["messages"].as_array().unwrap() {
            assert_eq!(message["sequence"], json!(seen));
            assert_eq!(message["ciphertext"], json!(hex::encode(seen.to_be_bytes())));
            seen += 1;
        }
    }
    assert_eq!(
        node.ask("SendMessage", talk.message(&mut ann, seen, b"on", false))["sequence"],
        json!(seen)
    );
}

#[test]
fn a_proxy_on_this_machine_does_not_open_the_list_to_others() {
    let place = Place::new();
    let node = place.start(&[]);
    let body = br#"{"id": 1, "method": "sessionvm.ListSessions"}"#;
    let own = post(node.http, body);
    assert!(own.json().get("result").is_some(), "{}", own.text());
    for name in ["x-forwarded-for", "forwarded", "x-real-ip", "via"] {
        let headers = format!("content-type: application/json\r\n{name}: 192.0.2.7\r\n");
        let answer = request(node.http, "POST", "/rpc", &headers, body).expect("an answer");
        assert_eq!(answer.json()["error"]["data"]["name"], "unauthorized", "{name}");
    }
}
