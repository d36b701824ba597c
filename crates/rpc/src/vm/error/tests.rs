use std::collections::BTreeSet;

use super::ErrorCode;
use crate::json_rpc::{ErrorObject, Response};

#[test]
fn codes_and_names_are_unique_and_of_the_servers_range() {
    let codes: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.code()).collect();
    let names: BTreeSet<_> = ErrorCode::ALL.iter().map(|code| code.name()).collect();
    assert_eq!((codes.len(), names.len()), (ErrorCode::ALL.len(), ErrorCode::ALL.len()));
    assert!(codes.iter().all(|code| (-32099..=-32001).contains(code)));
}

#[test]
fn the_references_texts_stay() {
    let seed = [
        (ErrorCode::UnknownSession, -32011, "unknown session"),
        (ErrorCode::SessionExpired, -32012, "session expired"),
        (ErrorCode::SessionClosed, -32013, "session closed"),
        (ErrorCode::Unauthorized, -32014, "unauthorized"),
    ];
    for (code, number, text) in seed {
        assert_eq!((code.code(), code.message()), (number, text));
    }
}

#[test]
fn a_reason_does_not_change_the_message() {
    let error = ErrorCode::TransactionRefused.because("nonce 3 was used");
    assert_eq!(
        String::from_utf8(Response::new(1.into(), Err(error)).to_json()).unwrap(),
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":-32038,"message":"transaction refused","data":{"name":"transaction_refused","reason":"nonce 3 was used"}}}"#,
    );
    assert_eq!(ErrorObject::from(ErrorCode::Revision).data.name, "revision");
}
