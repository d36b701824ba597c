use serde_json::json;
use session_core::{
    AccountId, InboxAddress, List, MessageId, Namespace, NodeId, Span, SwarmId, Text, Time,
};
use session_protocol::AccessRule;
use session_protocol::inbox::{Capability, Mailbox};
use session_protocol::membership::Member;
use session_protocol::owner::{OwnerAction, OwnerOperation};
use session_protocol::request::{Cursor, Operation, Push, Refusal, Reply, Select};
use session_rpc::api::{Encoding, Method};
use session_rpc::json_rpc::{Call, ErrorObject};

use super::{error, pushed, request, result};

fn operation(method: &str, params: serde_json::Value) -> Result<Operation, ErrorObject> {
    let serde_json::Value::Object(params) = params else { panic!("{params} is not a table") };
    let call = Call { id: None, method: method.to_owned(), params };
    let method = Method::parse(&call)?;
    let request = request(method, NodeId::from([8; 32]), Time::from_millis(5))?;
    Ok(request.operations.into_iter().next().expect("a call is one operation"))
}

#[test]
fn an_account_stands_for_its_inbox() {
    let account = AccountId::from([3; 32]);
    let expected = Operation::GetSwarm { address: AccessRule::from(account).address() };
    let call = operation("get_swarm", json!({"account": format!("07{account}")}));
    assert_eq!(call, Ok(expected));
}

#[test]
fn what_is_left_out_is_filled_in() {
    let address = InboxAddress::from([1; 32]).to_string();
    let store = operation("store", json!({"address": address, "ttl": 7, "data": "00"}));
    let Ok(Operation::Store { timestamp, namespace, .. }) = store else { panic!("{store:?}") };
    assert_eq!((timestamp, namespace), (Time::from_millis(5), Namespace(0)));

    let proof = json!({
        "account": AccountId::from([3; 32]).to_string(), "timestamp": 1, "nonce": 2,
        "signature": "00".repeat(3309),
    });
    let retrieve = operation("retrieve", proof);
    let Ok(Operation::Owner { operation }) = retrieve else { panic!("{retrieve:?}") };
    let OwnerOperation { action, authorization, .. } = *operation;
    let expected = OwnerAction::Retrieve {
        namespace: Namespace(0),
        select: Select::After { cursor: Cursor::default() },
        bytes_max: 768 * 1024,
        audience: NodeId::from([8; 32]),
    };
    assert_eq!((action, authorization.nonce(), authorization.keys()), (expected, 2, None));
}

#[test]
fn a_mailbox_takes_tokens() {
    let mailbox = Mailbox::derive(&[1; 32].into(), &[b"lane"]);
    let AccessRule::Mailbox { reader, writer, eraser } = mailbox.rule() else { panic!() };
    let params = |token: &Capability, more: serde_json::Value| {
        let mut params = json!({
            "reader": reader.to_string(), "writer": writer.to_string(),
            "eraser": eraser.to_string(), "token": hex::encode(token.as_bytes()),
        });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let more = json!({"namespace": 4, "ttl": 7, "data": "00"});
    let expected = Operation::Deposit {
        rule: mailbox.rule(),
        token: mailbox.write.clone(),
        namespace: Namespace(4),
        timestamp: Time::from_millis(5),
        ttl: Span::from_millis(7),
        data: session_core::Blob::new([0]).unwrap(),
    };
    assert_eq!(operation("store", params(&mailbox.write, more)), Ok(expected));

    let ids = json!([MessageId::from([1; 32]).to_string()]);
    for (method, token, more) in [
        ("retrieve", &mailbox.read, json!({"namespace": 4})),
        ("subscribe", &mailbox.read, json!({"namespaces": [4, 5]})),
        ("delete", &mailbox.erase, json!({ "ids": ids })),
        ("expire", &mailbox.erase, json!({"ids": ids, "expiry": 9, "mode": "shorten"})),
    ] {
        let asked = operation(method, params(token, more));
        let Ok(Operation::Owner { operation }) = asked else { panic!("{asked:?}") };
        assert_eq!(operation.authorization.timestamp(), Time::from_millis(5), "the node's clock");
        let network = session_protocol::membership::network_id("test");
        let checked = operation.verify(network, &session_crypto::RealVerifier, |_| None);
        assert!(checked.is_ok(), "{method}: {checked:?}");
    }
    let address = json!({"reader": reader.to_string(), "address": mailbox.address().to_string()});
    assert_eq!(
        operation("get_swarm", address),
        Ok(Operation::GetSwarm { address: mailbox.address() })
    );
}

#[test]
fn limits_of_the_protocol_hold() {
    let address = InboxAddress::from([1; 32]).to_string();
    let data = "00".repeat(76_801);
    let large = operation("store", json!({"address": address, "ttl": 7, "data": data}));
    let large = large.unwrap_err();
    assert_eq!((large.data.got, large.data.limit), (Some(76_801), Some(76_800)));
    let ids = vec![MessageId::from([1; 32]).to_string(); 257];
    let many = operation("retrieve", json!({"address": address, "ids": ids})).unwrap_err();
    assert_eq!((many.data.field.as_deref(), many.data.limit), (Some("ids"), Some(256)));
}

#[test]
fn every_refusal_has_its_code_and_name() {
    let text = |text: &str| Text::new(text).unwrap();
    let member = Member { node: NodeId::from([1; 32]), address: Text::new("a:1").unwrap() };
    let refusals = [
        Refusal::bad_request("f", "w"),
        Refusal::BadSignature { why: Text::new("w").unwrap() },
        Refusal::Clock {
            signed: Time::ZERO,
            server_time: Time::from_millis(9),
            tolerance: Span::from_secs(60),
        },
        Refusal::WrongSwarm { swarm: SwarmId(1), members: List::new(vec![member]).unwrap() },
        Refusal::too_large("f", 2, 1),
        Refusal::RateLimited { retry_after: Span::from_secs(1) },
        Refusal::not_ready("w"),
        Refusal::SignatureReused,
        Refusal::UnknownKeys,
        Refusal::UnknownNamespace { namespace: Namespace(9) },
        Refusal::TtlOutOfRange {
            got: Span::ZERO,
            min: Span::from_secs(10),
            max: Span::from_days(14),
        },
        Refusal::DiskFull,
        Refusal::NotEnoughReplicas { stored: 6, needed: 7 },
        Refusal::WrongNode { audience: NodeId::from([2; 32]) },
        Refusal::Unauthorized { namespace: Namespace(0) },
        Refusal::Deleted,
        Refusal::InboxFull { field: text("items"), limit: 100_000 },
        Refusal::internal("w"),
        Refusal::SlotTaken { holder: MessageId::from([1; 32]) },
        Refusal::BadCapability,
        Refusal::PuzzleNeeded { bits: 4, window: Span::from_secs(600) },
    ];
    for (index, refusal) in refusals.iter().enumerate() {
        let error = error(refusal);
        assert_eq!(error.code, -32001 - i32::try_from(index).unwrap());
        assert_eq!(
            (error.data.name.as_str(), error.message),
            (refusal.name(), refusal.to_string())
        );
    }
    let clock = serde_json::to_value(error(&refusals[2])).unwrap();
    assert_eq!(
        clock["data"],
        json!({
            "name": "clock", "field": "timestamp", "signed": 0, "server_time": 9, "tolerance": 60_000,
        })
    );
    let wrong = serde_json::to_value(error(&refusals[3])).unwrap();
    assert_eq!(wrong["data"]["members"], json!([{"node": "01".repeat(32), "address": "a:1"}]));
}

#[test]
fn a_push_is_an_item_with_its_address() {
    let item = session_protocol::request::Item {
        id: MessageId::from([1; 32]),
        namespace: Namespace(2),
        timestamp: Time::from_millis(1),
        expiry: Time::from_millis(2),
        arrival: 3,
        data: session_core::Blob::new([0xff]).unwrap(),
    };
    let push = Push { address: InboxAddress::from([4; 32]), incarnation: 5, item };
    assert_eq!(
        pushed(push, Encoding::Hex),
        json!({
            "address": "04".repeat(32), "id": "01".repeat(32), "namespace": 2, "timestamp": 1,
            "expiry": 2, "cursor": "00000000000000050000000000000003", "data": "ff",
        })
    );
}

#[test]
fn an_empty_reply_is_our_fault_not_a_panic() {
    let reply = Reply {
        id: 0,
        server_time: Time::ZERO,
        roots: List::new(vec![]).unwrap(),
        outcomes: List::new(vec![]).unwrap(),
    };
    assert_eq!(result(reply, Encoding::Hex).unwrap_err().data.name, "internal");
}
