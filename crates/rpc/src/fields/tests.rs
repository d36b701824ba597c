use serde_json::{Map, Value, json};
use session_core::AccountId;

use super::{Fields, identity_id};

fn table(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(table) => table,
        other => panic!("{other} is not a table"),
    }
}

#[test]
fn integers_come_as_numbers_or_digits() {
    let table = table(json!({
        "a": u64::MAX, "b": "18446744073709551615", "c": -1, "d": 1.5, "e": "0x10", "f": null,
        "g": 65536, "h": "18446744073709551616",
    }));
    let mut fields = Fields::new("", &table);
    assert_eq!(fields.integer("a"), Ok(Some(u64::MAX)));
    assert_eq!(fields.integer("b"), Ok(Some(u64::MAX)));
    for bad in ["c", "d", "e", "h"] {
        assert_eq!(fields.integer(bad).unwrap_err().field, bad);
    }
    assert_eq!(fields.integer("f"), Ok(None));
    let over = fields.small_integer("g").unwrap_err();
    assert_eq!((over.got, over.limit), (Some(65536), Some(65535)));
    assert!(fields.unknown().is_empty());
}

#[test]
fn bytes_come_in_hex_or_base64() {
    let table = table(json!({ "a": "00FFaa", "b": "0", "c": "AP+q", "d": "AP+q=", "e": 7 }));
    let mut fields = Fields::new("at", &table);
    assert_eq!(fields.hex("a"), Ok(Some(vec![0, 255, 170])));
    assert_eq!(fields.hex_of("a", 2).unwrap_err().why, "it holds 3 bytes, it must hold 2");
    assert_eq!(fields.hex("b").unwrap_err().field, "at.b");
    assert_eq!(fields.base64("c"), Ok(Some(vec![0, 255, 170])));
    assert!(fields.base64("d").is_err());
    assert_eq!(fields.text("e").unwrap_err().to_string(), "at.e: it must be a text");
}

#[test]
fn lists_name_the_bad_element_and_unknown_fields_are_listed() {
    let table = table(json!({ "ids": ["1", "x"], "other": 1, "another": 2 }));
    let mut fields = Fields::new("params", &table);
    let bad = fields.list_of("ids", str::parse::<u8>).unwrap_err();
    assert_eq!(bad.field, "params.ids[1]");
    assert_eq!(fields.unknown(), ["params.another", "params.other"]);
}

#[test]
fn an_account_has_three_forms() {
    let account = AccountId::from([7; 32]);
    for text in [format!("07{account}"), account.to_string(), account.to_cb58()] {
        assert_eq!(identity_id(&text), Ok(account));
    }
    assert!(identity_id::<AccountId>(&format!("05{account}")).is_err());
}
