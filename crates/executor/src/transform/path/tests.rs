use super::super::json::Json;
use super::{Path, Shape, tree};

fn select(path: &str, text: &str) -> Option<String> {
    let json = Json::parse(text.as_bytes()).unwrap();
    Path::parse(path).unwrap().select(&json, &tree(&json)).map(|found| found.to_text())
}

#[test]
fn a_path_to_one_value_selects_it_and_any_other_a_list() {
    let text = r#"{"a":{"b":[1,2,{"c":"x"}]},"d'e":null}"#;
    for (path, expected) in [
        ("$", Some(r#"{"a":{"b":[1,2,{"c":"x"}]},"d'e":null}"#)),
        ("$.a.b[0]", Some("1")),
        ("$.a.b[-1].c", Some("\"x\"")),
        ("$['a']['b'][1]", Some("2")),
        ("$[\"d'e\"]", Some("null")),
        ("$.a.b[0:2]", Some("[1,2]")),
        ("$.a.b[*]", Some(r#"[1,2,{"c":"x"}]"#)),
        ("$..c", Some("[\"x\"]")),
        ("$.a.b[?@ > 1]", Some("[2]")),
        ("$.a.b[0,0]", Some("[1,1]")),
        ("$.none", None),
        ("$.a.b[9]", None),
        ("$.none[*]", Some("[]")),
    ] {
        assert_eq!(select(path, text).as_deref(), expected, "{path}");
    }
}

#[test]
fn numbers_stay_as_they_are_written() {
    let long = "0.1000000000000000055511151231257827021181583404541015625";
    let text = format!("[1.0,1e2,-0,{long},123456789012345678901234567890,1E-400]");
    assert_eq!(select("$", &text).unwrap(), text);
    assert_eq!(select("$[3]", &text).unwrap(), long);
    assert_eq!(select("$[?@ > 100]", &text).unwrap(), "[123456789012345678901234567890]");
}

#[test]
fn names_with_every_character_are_found() {
    let text = r#"{"a/b~c.d*[0]?":1,"\u0000\ud83d\ude00":2}"#;
    assert_eq!(select("$['a/b~c.d*[0]?']", text).unwrap(), "1");
    assert_eq!(select("$[?@ == 2]", text).unwrap(), "[2]");
}

#[test]
fn what_costs_too_much_selects_nothing() {
    let text = format!("[{}]", vec!["1"; 5000].join(","));
    assert!(select("$[*]", &text).is_some());
    assert!(select("$[?@ > 0]", &text).is_some());
    assert!(select("$..[*]", &text).is_some());
    // 5000 values, each compared with a query over 5000 values, each of these again.
    assert!(select("$[?$[?$[*]]]", &text).is_none());
    let doubled = format!("${}", "[0,0]".repeat(30));
    let deep = format!("{}1{}", "[".repeat(30), "]".repeat(30));
    assert!(select(&doubled, &deep).is_none());
    assert!(select("$..*..*..*..*..*..*..*..*", &text).is_none());
    assert!(select("$[?match(@, '.*') || search(@, 'a') || match(@, 'b')]", &text).is_none());
}

#[test]
fn what_is_between_quotes_costs_nothing() {
    assert!(Shape::of("$['..*?,:']").single);
    assert!(Shape::of(r#"$["\"..*"].a"#).single);
    assert!(!Shape::of("$['a','b']").single);
}

#[test]
fn what_is_no_path_is_refused() {
    for text in
        ["", "a", "$.", "$[", "$['a]", "$[?", "@.a", "$.a b", "$[01]", "$[9007199254740992]"]
    {
        assert!(Path::parse(text).is_err(), "{text}");
    }
}
