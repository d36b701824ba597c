use serde_json::{Map, Value, json};
use session_core::{AccountId, BlockId, ConversationId};

use super::super::Profile;
use super::super::group::{Asker, BlockAt, Key, KeyPair, StateTable, Topic};
use super::super::openrpc::sample;
use super::{
    CIPHERTEXT_BYTES_MAX, CreateSession, Encoding, Method, PARTICIPANTS_MAX, SIGNATURE_BYTES,
    entries, full_name,
};
use crate::json_rpc::{self, Call, ErrorObject, INVALID_PARAMS, Incoming, METHOD_NOT_FOUND};

fn parse_as(profile: Profile, method: &str, params: &Value) -> Result<Method, ErrorObject> {
    let Value::Object(params) = params.clone() else { panic!("{params} is not a table") };
    let call = Call { id: Some(json!(1)), method: method.to_owned(), params };
    Method::parse(&call, profile)
}

fn parse(method: &str, params: &Value) -> Result<Method, ErrorObject> {
    parse_as(Profile::Strict, &format!("sessionvm.{method}"), params)
}

fn refused(method: &str, params: &Value) -> (String, String) {
    let error = parse(method, params).unwrap_err();
    assert_eq!(error.code, INVALID_PARAMS);
    (error.data.field.expect("an error about parameters names one"), error.message)
}

fn field(method: &str, params: &Value) -> String {
    refused(method, params).0
}

fn with(params: &Value, field: &str, value: Value) -> Value {
    let mut params = params.clone();
    params[field] = value;
    params
}

fn sample_of(name: &str) -> Value {
    let entries = entries();
    sample(entries.iter().find(|entry| entry.name == name).unwrap()).into()
}

#[test]
fn every_method_takes_its_sample_under_each_of_its_names() {
    for entry in entries() {
        let params: Value = sample(&entry).into();
        let whole = parse_as(Profile::Strict, &full_name(entry.name), &params).unwrap();
        assert_eq!(whole.name(), entry.name);
        assert_eq!(parse_as(Profile::Go, &full_name(entry.name), &params), Ok(whole.clone()));
        if entry.name.starts_with("rpc.") {
            continue;
        }
        for name in [Some(entry.name), entry.alias].into_iter().flatten() {
            for prefix in ["sessionvm.", "session."] {
                let name = format!("{prefix}{name}");
                assert_eq!(parse_as(Profile::Strict, &name, &params), Ok(whole.clone()), "{name}");
            }
        }
    }
}

#[test]
fn the_references_names_are_there() {
    for name in ["create", "get", "close", "send", "health"] {
        let full = format!("session.{name}");
        let outcome = parse_as(Profile::Strict, &full, &json!({}));
        assert!(outcome.is_ok() || outcome.is_err_and(|error| error.code == INVALID_PARAMS));
    }
}

#[test]
fn each_parameter_of_another_type_is_named() {
    let mut checked = 0;
    for entry in entries() {
        for (parameter, _) in &entry.parameters {
            // A parameter that excludes others is tried alone.
            let params = if parameter.sample.is_null() {
                json!({parameter.name: true})
            } else {
                with(&sample(&entry).into(), parameter.name, json!(true))
            };
            let before = if parameter.sample.is_null() && entry.name.ends_with("Channel") {
                sample(&entry).into_iter().filter(|(name, _)| !name.ends_with("Keys")).collect()
            } else {
                Map::new()
            };
            let mut params = params;
            for (name, value) in before {
                params[name] = value;
            }
            assert_eq!(field(entry.name, &params), parameter.name, "{}", entry.name);
            checked += 1;
        }
    }
    assert!(checked > 60, "{checked}");
}

#[test]
fn each_required_parameter_is_missed_and_null_is_missing() {
    for entry in entries() {
        for (parameter, _) in entry.parameters.iter().filter(|(parameter, _)| parameter.required) {
            let params: Value = sample(&entry).into();
            let null = with(&params, parameter.name, Value::Null);
            let mut missing = params;
            missing.as_object_mut().unwrap().remove(parameter.name);
            for params in [null, missing] {
                let (field, why) = refused(entry.name, &params);
                assert_eq!(field, parameter.name, "{}", entry.name);
                assert!(why.contains("missing"), "{why}");
            }
        }
    }
}

#[test]
fn unknown_names_are_answered_with_the_known_ones() {
    let long = "x".repeat(10_000);
    let names = [
        "CreateSession",
        "sessionvm.createsession",
        "sessionvm.rpc.discover",
        "rpc.Health",
        "sessionvm.",
        "",
        "session_health",
        &long,
    ];
    for name in names {
        let error = parse_as(Profile::Strict, name, &json!({})).unwrap_err();
        assert_eq!(error.code, METHOD_NOT_FOUND, "{name}");
        assert_eq!(error.data.more["methods"].as_array().unwrap().len(), Method::NAMES.len());
        assert!(error.message.len() < 100);
    }
}

#[test]
fn ids_in_every_form() {
    let id = AccountId::from([9; 32]);
    let (hex, cb58) = (id.to_string(), id.to_cb58());
    for text in
        [hex.clone(), cb58.clone(), format!("07{hex}"), format!("0x07{hex}"), format!("0x{hex}")]
    {
        let Ok(Method::GetAccount(call)) = parse("GetAccount", &json!({"account": text})) else {
            panic!("{text} is an account")
        };
        assert_eq!(call.account, id);
    }
    let (name, why) = refused("GetAccount", &json!({"account": format!("05{hex}")}));
    assert_eq!(name, "account");
    assert!(why.contains("classical (05)"), "{why}");
    for text in [hex.clone(), cb58.clone(), format!("0x{hex}")] {
        assert!(parse("GetSession", &json!({"sessionId": text})).is_ok(), "{text}");
    }
    // Only people and nodes have the prefix.
    for text in [format!("07{hex}"), cb58[1..].to_owned(), hex[1..].to_owned(), String::new()] {
        assert_eq!(field("GetSession", &json!({"sessionId": text})), "sessionId");
    }
}

#[test]
fn participants_and_keys_are_counted() {
    let params = sample_of("CreateSession");
    let account = |byte: u8| json!(AccountId::from([byte; 32]).to_string());
    let two = with(&params, "participants", json!([account(1), account(2)]));
    assert_eq!(field("CreateSession", &two), "publicKeys");
    let key = params["publicKeys"][0].clone();
    let two = with(&two, "publicKeys", json!([key, key]));
    assert_eq!(field("CreateSession", &two), "signingKeys");
    assert!(parse("CreateSession", &with(&two, "signingKeys", Value::Null)).is_ok());
    let twice = with(&two, "participants", json!([account(1), account(1)]));
    assert_eq!(field("CreateSession", &twice), "participants[1]");
    assert_eq!(field("CreateSession", &with(&params, "participants", json!([]))), "participants");
    let many = json!(vec![0; PARTICIPANTS_MAX + 1]);
    let error = parse("CreateSession", &with(&params, "participants", many)).unwrap_err();
    assert_eq!((error.data.got, error.data.limit), (Some(1001), Some(1000)));
    let bad = with(&two, "publicKeys", json!([key, "00"]));
    let (name, why) = refused("CreateSession", &bad);
    assert_eq!(name, "publicKeys[1]");
    assert_eq!(why, "publicKeys[1]: it holds 1 bytes, it must hold 1184");
}

#[test]
fn the_references_own_calls_are_taken_only_when_asked_for() {
    let participants = [[1; 32], [2; 32]].map(|id| AccountId::from(id).to_cb58());
    let create = json!({"participants": participants, "publicKeys": ["00".repeat(16), ""]});
    assert_eq!(field("CreateSession", &create), "publicKeys[0]");
    let Ok(Method::CreateSession(CreateSession { public_keys, .. })) =
        parse_as(Profile::Go, "sessionvm.CreateSession", &create)
    else {
        panic!("the reference takes it")
    };
    assert_eq!(public_keys, [vec![0; 16], vec![]]);
    let id = ConversationId::from([3; 32]).to_cb58();
    for signature in ["", "deadbeef"] {
        let send = json!({
            "sessionId": id, "sender": participants[0], "ciphertext": "00ff", "signature": signature,
        });
        assert_eq!(field("SendMessage", &send), "signature");
        assert!(parse_as(Profile::Go, "sessionvm.SendMessage", &send).is_ok());
    }
    // Refusing it is the business of whoever knows the conversation.
    assert!(parse("CloseSession", &json!({"sessionId": id})).is_ok());
    let long = with(&create, "publicKeys", json!(["00", "00".repeat(4097)]));
    let error = parse_as(Profile::Go, "sessionvm.CreateSession", &long).unwrap_err();
    assert_eq!((error.data.got, error.data.limit), (Some(4097), Some(4096)));
}

#[test]
fn hex_is_bounded_before_it_is_decoded() {
    let params = sample_of("SendMessage");
    let text = |bytes: usize| json!(format!("0x{}", "Ab".repeat(bytes)));
    for bytes in [1, CIPHERTEXT_BYTES_MAX] {
        assert!(parse("SendMessage", &with(&params, "ciphertext", text(bytes))).is_ok());
    }
    let over = with(&params, "ciphertext", text(CIPHERTEXT_BYTES_MAX + 1));
    let error = parse("SendMessage", &over).unwrap_err();
    assert_eq!((error.data.got, error.data.limit), (Some(65_537), Some(65_536)));
    for text in ["", "0x", "0", "zz", "0x0x00", "00 "] {
        assert_eq!(field("SendMessage", &with(&params, "ciphertext", json!(text))), "ciphertext");
    }
    let short = with(&params, "signature", text(SIGNATURE_BYTES - 1));
    let error = parse("SendMessage", &short).unwrap_err();
    assert_eq!((error.data.got, error.data.limit), (Some(3308), Some(3309)));
}

#[test]
fn metadata_and_names_are_bounded() {
    let params = sample_of("CreateSession");
    let metadata = |value: Value| with(&params, "metadata", value);
    let many: Map<_, _> = (0..17).map(|at| (at.to_string(), json!("x"))).collect();
    assert_eq!(field("CreateSession", &metadata(many.into())), "metadata");
    assert_eq!(field("CreateSession", &metadata(json!({"a": 1}))), "metadata.a");
    assert_eq!(field("CreateSession", &metadata(json!({"a": "x".repeat(257)}))), "metadata.a");
    assert_eq!(field("CreateSession", &metadata(json!({"": "x"}))), "metadata.");
    let (name, why) = refused("CreateSession", &metadata(json!({"k".repeat(100_000): "x"})));
    assert!(name.len() < 100 && why.len() < 200);
    let channel = sample_of("CreateChannel");
    for name in [json!(""), json!("x".repeat(65)), json!("a\nb")] {
        assert_eq!(field("CreateChannel", &with(&channel, "name", name)), "name");
    }
}

#[test]
fn numbers_and_pages() {
    let id = ConversationId::from([3; 32]).to_string();
    let messages = |more: Value| {
        let params = with(&json!({"sessionId": id}), "after", more["after"].clone());
        with(&params, "limit", more["limit"].clone())
    };
    let Ok(Method::GetMessages(call)) = parse("GetMessages", &messages(json!({}))) else {
        panic!("the beginning is asked for")
    };
    assert_eq!((call.after, call.limit), (None, 50));
    let far = messages(json!({"after": u64::MAX.to_string(), "limit": 200}));
    let Ok(Method::GetMessages(call)) = parse("GetMessages", &far) else { panic!("a page") };
    assert_eq!((call.after, call.limit), (Some(u64::MAX), 200));
    for limit in [json!(0), json!(201), json!(-1), json!(1.5), json!("ten"), json!("")] {
        assert_eq!(field("GetMessages", &messages(json!({"limit": limit}))), "limit");
    }
    assert_eq!(field("ListSessions", &json!({"status": "open"})), "status");
    assert_eq!(field("ListNodes", &json!({"status": "Active"})), "status");
}

#[test]
fn one_of_several_parameters() {
    let id = ConversationId::from([3; 32]);
    let topic = |params: &Value| match parse("Subscribe", params) {
        Ok(Method::Subscribe(call)) => call.topic,
        other => panic!("{other:?}"),
    };
    assert_eq!(topic(&json!({"topic": "blocks"})), Topic::Blocks);
    assert_eq!(topic(&json!({"sessionId": id.to_string()})), Topic::Session(id));
    assert_eq!(field("Subscribe", &json!({})), "sessionId");
    assert_eq!(field("Subscribe", &json!({"sessionId": id.to_cb58(), "topic": "blocks"})), "topic");
    assert_eq!(field("Subscribe", &json!({"topic": "rain"})), "topic");

    let block = |params: &Value| match parse("GetBlock", params) {
        Ok(Method::GetBlock(call)) => (call.block, call.encoding),
        other => panic!("{other:?}"),
    };
    let hash = BlockId::from([4; 32]);
    assert_eq!(block(&json!({})), (BlockAt::Last, Encoding::Json));
    assert_eq!(
        block(&json!({"height": 0, "encoding": "hex"})),
        (BlockAt::Height(0), Encoding::Hex)
    );
    assert_eq!(block(&json!({"blockId": hash.to_cb58()})).0, BlockAt::Id(hash));
    assert_eq!(field("GetBlock", &json!({"height": 1, "blockId": hash.to_string()})), "blockId");

    let key = |params: &Value| match parse("GetProof", params) {
        Ok(Method::GetProof(call)) => call.key,
        other => panic!("{other:?}"),
    };
    assert_eq!(key(&json!({"key": "0x01ff"})), Key::Raw(vec![1, 255]));
    let account = json!({"table": "account", "id": format!("07{id}")});
    assert_eq!(key(&account), Key::Of { table: StateTable::Account, id: [3; 32] });
    for (params, name) in [
        (json!({}), "key"),
        (json!({"table": "account"}), "id"),
        (json!({"id": id.to_string()}), "table"),
        (with(&account, "key", json!("00")), "key"),
    ] {
        assert_eq!(field("GetProof", &params), name);
    }
}

#[test]
fn keys_come_in_one_piece_or_two() {
    let whole = sample_of("JoinChannel");
    let bare = with(&whole, "memberKeys", Value::Null);
    let kem = with(&bare, "publicKey", json!("01".repeat(1184)));
    let both = with(&kem, "signingKey", json!("02".repeat(1952)));
    let Ok(Method::JoinChannel(call)) = parse("JoinChannel", &both) else { panic!("both keys") };
    assert_eq!(call.keys, KeyPair { kem: vec![1; 1184], dsa: vec![2; 1952] });
    let piece = "01".repeat(1184) + &"02".repeat(1952);
    let Ok(Method::JoinChannel(again)) =
        parse("JoinChannel", &with(&bare, "memberKeys", json!(piece)))
    else {
        panic!("both keys in one")
    };
    assert_eq!(again, call);
    assert_eq!(field("JoinChannel", &bare), "memberKeys");
    assert_eq!(field("JoinChannel", &kem), "signingKey");
    assert_eq!(field("JoinChannel", &with(&both, "publicKey", Value::Null)), "publicKey");
    assert_eq!(field("JoinChannel", &with(&both, "memberKeys", json!(piece))), "memberKeys");
}

#[test]
fn whoever_asks_gives_a_name_and_a_signature() {
    let whole = sample_of("GetMessages");
    let Ok(Method::GetMessages(call)) = parse("GetMessages", &whole) else { panic!("signed") };
    let expected = Asker {
        participant: AccountId::from([0x5e; 32]),
        signature: vec![0xc0; SIGNATURE_BYTES],
        signing_key: Some(vec![0xc0; 1952]),
    };
    assert_eq!(call.asker, Some(expected));
    for left_out in ["participant", "signature"] {
        assert_eq!(field("GetMessages", &with(&whole, left_out, Value::Null)), left_out);
    }
    let key = json!({"sessionId": whole["sessionId"], "signingKey": whole["signingKey"]});
    assert_eq!(field("GetMessages", &key), "participant");
    let Ok(Method::CloseSession(call)) =
        parse("CloseSession", &json!({"sessionId": whole["sessionId"]}))
    else {
        panic!("the seed's form")
    };
    assert_eq!(call.asker, None);
}

#[test]
fn positional_batched_and_old_calls() {
    let body = br#"[{"method":"sessionvm.Health","params":[{}],"id":1},
        {"jsonrpc":"2.0","method":"session.health","id":2},
        {"method":"sessionvm.GetBlock","params":[{"height":"7"}],"id":3},
        {"method":"sessionvm.GetBlock","params":[1,2],"id":4}]"#;
    let Ok(Incoming::Batch(calls)) = json_rpc::parse(body) else { panic!("a batch") };
    let methods: Vec<_> =
        calls.iter().flatten().map(|call| Method::parse(call, Profile::Strict)).collect();
    assert_eq!(calls.len(), 4);
    assert_eq!(methods.len(), 3);
    assert_eq!(methods[0], methods[1]);
    assert!(matches!(&methods[2], Ok(Method::GetBlock(call)) if call.block == BlockAt::Height(7)));
    assert_eq!(calls[3].as_ref().unwrap_err().error.data.field.as_deref(), Some("params"));
}

#[test]
fn bombs_are_answered() {
    let deep = format!(r#"{{"method":"sessionvm.Health","params":{}"#, "[".repeat(1_000_000));
    assert_eq!(json_rpc::parse(deep.as_bytes()).unwrap_err().code, json_rpc::PARSE_ERROR);
    let deep = format!("{}{}", r#"{"a":"#.repeat(200), "1".to_owned() + &"}".repeat(200));
    assert_eq!(json_rpc::parse(deep.as_bytes()).unwrap_err().code, json_rpc::PARSE_ERROR);
    let wide = json!({"participants": vec![0; 1_000_000], "publicKeys": []});
    assert_eq!(field("CreateSession", &wide), "participants");
    let wide = json!({"tx": "00".repeat(4 << 20)});
    assert_eq!(field("IssueTx", &wide), "tx");
    let long = json!({"account": "1".repeat(4 << 20)});
    let (name, why) = refused("GetAccount", &long);
    assert!(name == "account" && why.len() < 200, "{why}");
    let number = json!({"height": "9".repeat(4 << 20)});
    assert_eq!(field("GetBlock", &number), "height");
}
