use serde_json::{Map, Value, json};
use session_core::{AccountId, Digest, InboxAddress, MessageId, Namespace, Span, Time};

use super::result::{Data, Item, to_json};
use super::{Cursor, Encoding, ExpireMode, Inbox, METHODS, Mailbox, Method, Proof, Select, Token};
use crate::json_rpc::{Call, ErrorObject, INVALID_PARAMS, METHOD_NOT_FOUND};

fn parse(method: &str, params: Value) -> Result<Method, ErrorObject> {
    let Value::Object(params) = params else { panic!("{params} is not a table") };
    Method::parse(&Call { id: Some(json!(1)), method: method.to_owned(), params })
}

fn refused(method: &str, params: Value) -> String {
    let error = parse(method, params).unwrap_err();
    assert_eq!(error.code, INVALID_PARAMS);
    error.data.field.expect("an error about parameters names one")
}

fn proof(mut params: Value) -> Value {
    let more =
        json!({ "timestamp": 5, "nonce": "18446744073709551615", "signature": "ab".repeat(3309) });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    params
}

#[test]
fn names_with_and_without_prefix() {
    for name in ["info", "session.info", "session_info"] {
        assert_eq!(parse(name, json!({})), Ok(Method::Info));
    }
    let unknown = parse("session.reboot", json!({})).unwrap_err();
    assert_eq!(unknown.code, METHOD_NOT_FOUND);
    let all = [&METHODS[..], &crate::session_api::METHODS[..]].concat();
    assert_eq!(unknown.data.more["methods"], json!(all));
    for name in METHODS {
        let known = Method::parse(&Call { id: None, method: name.into(), params: Map::new() });
        assert!(known.is_ok() || known.is_err_and(|error| error.code == INVALID_PARAMS), "{name}");
    }
}

#[test]
fn a_store_takes_hex_or_base64() {
    let address = InboxAddress::from([9; 32]);
    let expected = Method::Store {
        inbox: Inbox::Address(address),
        namespace: Namespace(2),
        timestamp: Some(Time::from_millis(7)),
        ttl: Span::from_secs(10),
        data: vec![0, 255],
        token: None,
    };
    let base = json!({"address": address.to_cb58(), "namespace": 2, "timestamp": 7, "ttl": 10000});
    for (field, text) in [("data", "00ff"), ("data_base64", "AP8=")] {
        let mut params = base.clone();
        params[field] = json!(text);
        assert_eq!(parse("store", params), Ok(expected.clone()));
    }
    assert_eq!(refused("store", base.clone()), "data");
    let mut both = base;
    both["data"] = json!("00");
    both["data_base64"] = json!("AA==");
    assert_eq!(refused("store", both), "data_base64");
    assert_eq!(refused("store", json!({"data": "", "ttl": 1})), "address");
    assert_eq!(refused("store", json!({"data": "", "address": "zz", "ttl": 1})), "address");
    assert_eq!(refused("store", json!({"data": "", "address": "zz"})), "address");
}

#[test]
fn a_retrieve_needs_a_proof_only_if_one_is_begun() {
    let account = AccountId::from([3; 32]);
    let cursor = Cursor { incarnation: u64::MAX, arrival: 258 };
    assert_eq!(cursor.to_string(), "ffffffffffffffff0000000000000102");
    let params = json!({"account": format!("07{account}"), "cursor": cursor.to_string(), "encoding": "base64"});
    let Ok(Method::Retrieve { inbox, select, proof, encoding, bytes_max, .. }) =
        parse("retrieve", params.clone())
    else {
        panic!("a retrieve without proof is a retrieve")
    };
    assert_eq!((inbox, select), (Inbox::Account(account), Select::After(cursor)));
    assert_eq!((proof, encoding, bytes_max), (None, Encoding::Base64, 768 * 1024));
    let mut cut = params.clone();
    cut["signature"] = json!("abcd");
    assert_eq!(refused("retrieve", cut), "signature");
    let mut both = params;
    both["ids"] = json!([MessageId::from([1; 32]).to_string()]);
    assert_eq!(refused("retrieve", both), "ids");
}

#[test]
fn owner_operations_name_what_is_missing() {
    let account = AccountId::from([3; 32]).to_string();
    let id = MessageId::from([1; 32]).to_string();
    let delete = json!({"account": account, "ids": [id]});
    assert_eq!(refused("delete", delete.clone()), "timestamp");
    let Ok(Method::Delete { proof: whole, ids, .. }) = parse("delete", proof(delete)) else {
        panic!("a whole delete is a delete")
    };
    let Proof::Signed { nonce, signature, .. } = whole else { panic!("{whole:?}") };
    assert_eq!((ids.len(), nonce, signature.len()), (1, u64::MAX, 3309));
    let expire = json!({"account": account, "ids": [id], "expiry": 5, "mode": "shorten"});
    assert!(matches!(
        parse("expire", proof(expire.clone())),
        Ok(Method::Expire { mode: ExpireMode::Shorten, .. })
    ));
    let mut sideways = expire;
    sideways["mode"] = json!("sideways");
    assert_eq!(refused("expire", proof(sideways)), "mode");
    let subscribe =
        |namespaces: Value| proof(json!({"account": account, "namespaces": namespaces}));
    assert!(parse("subscribe", subscribe(json!([0, 2]))).is_ok());
    assert_eq!(refused("subscribe", subscribe(json!([]))), "namespaces");
    assert_eq!(refused("subscribe", subscribe(json!([65536]))), "namespaces[0]");
}

#[test]
fn a_mailbox_is_named_by_its_rule_and_opened_by_a_token() {
    let [reader, writer, eraser] = [1, 2, 3].map(|byte| Digest::from([byte; 32]));
    let params = |more: Value| {
        let mut params = json!({
            "reader": reader.to_string(), "writer": writer.to_string(),
            "eraser": eraser.to_string(), "token": "04".repeat(32),
        });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let mailbox = Inbox::Mailbox(Mailbox { reader, writer, eraser });
    let store = parse("store", params(json!({"namespace": 4, "ttl": 10000, "data": "00"})));
    let Ok(Method::Store { inbox, token, .. }) = store else { panic!("{store:?}") };
    assert_eq!((inbox, token), (mailbox, Some(Token([4; 32]))));
    let retrieve = parse("retrieve", params(json!({"namespace": 4})));
    let Ok(Method::Retrieve { inbox, proof, .. }) = retrieve else { panic!("{retrieve:?}") };
    let expected = Proof::Token { token: Token([4; 32]), timestamp: None, nonce: 0 };
    assert_eq!((inbox, &proof), (mailbox, &Some(expected)));
    assert!(!format!("{proof:?}").contains("4, 4"), "a capability is not printed");
    let ids = json!([MessageId::from([1; 32]).to_string()]);
    let delete = json!({"ids": ids, "timestamp": 5, "nonce": 6});
    let Ok(Method::Delete { inbox, proof, .. }) = parse("delete", params(delete)) else { panic!() };
    let timestamp = Some(Time::from_millis(5));
    assert_eq!(
        (inbox, proof),
        (mailbox, Proof::Token { token: Token([4; 32]), timestamp, nonce: 6 })
    );
    assert!(parse("expire", params(json!({"ids": ids, "expiry": 5, "mode": "extend"}))).is_ok());
    assert!(parse("subscribe", params(json!({"namespaces": [4, 5]}))).is_ok());
    assert_eq!(parse("get_swarm", params(json!({}))), Ok(Method::GetSwarm { inbox: mailbox }));

    assert_eq!(refused("retrieve", params(json!({"token": "04"}))), "token");
    assert_eq!(refused("retrieve", params(json!({"eraser": null}))), "eraser");
    assert_eq!(refused("retrieve", params(json!({"signature": "ab".repeat(3309)}))), "signature");
    let account =
        json!({"account": AccountId::from([3; 32]).to_string(), "token": "04".repeat(32)});
    assert_eq!(refused("retrieve", account), "reader");
}

#[test]
fn items_are_written_as_asked() {
    let item = |encoding| Item {
        id: MessageId::from([1; 32]),
        namespace: 0,
        timestamp: Time::from_millis(1),
        expiry: Time::from_millis(2),
        cursor: Cursor { incarnation: 1, arrival: 2 },
        data: Data { bytes: vec![0, 255], encoding },
    };
    let expected = json!({
        "id": "01".repeat(32), "namespace": 0, "timestamp": 1, "expiry": 2,
        "cursor": "00000000000000010000000000000002", "data": "00ff",
    });
    assert_eq!(to_json(&item(Encoding::Hex)), expected);
    assert_eq!(to_json(&item(Encoding::Base64))["data_base64"], "AP8=");
}
