use super::{BadText, table};

#[test]
fn comments_end_with_the_line_and_do_not_begin_in_texts() {
    let text = br#"{ // one
        "a": "http://x \" // no comment \\", // two { " }
        // three
        "b": 1 }"#;
    let table = table(text, 1000).unwrap();
    assert_eq!(table["a"], "http://x \" // no comment \\");
    assert_eq!(table["b"], 1);
}

#[test]
fn a_slash_alone_is_no_comment() {
    assert!(matches!(table(b"{} / {}", 100), Err(BadText::Syntax(_))));
    assert!(matches!(table(b"//{}", 100), Err(BadText::Syntax(_))));
    assert!(table(b"{}//", 100).is_ok());
}

#[test]
fn bombs_are_refused() {
    assert_eq!(table(b"{}", 1), Err(BadText::TooLarge { got: 2, limit: 1 }));
    assert_eq!(table(b"[]", 10), Err(BadText::NoTable));
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(matches!(table(deep.as_bytes(), 1 << 20), Err(BadText::Syntax(_))));
    assert!(matches!(table(b"\xff", 10), Err(BadText::Syntax(_))));
}
