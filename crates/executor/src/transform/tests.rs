use session_core::{Entropy, List, SeededEntropy, Text};
use session_protocol::workload::file;
use session_protocol::workload::manifest::{Aggregation, Manifest, Transform};
use session_protocol::workload::oracle::{Fault, Observation, RawAnswer};

use super::json::{DEPTH_MAX, Json};
use super::{check, observe};

const FILE: &str = r#"
    name = "test"
    [[egress]]
    host = "example.com"
    [[source]]
    name = "one"
    kind = "http"
    url = "https://example.com/"
    bytes_max = 100_000
"#;

fn manifest(change: impl FnOnce(&mut Transform)) -> Manifest {
    let mut manifest = file::parse(FILE).unwrap();
    let mut source = manifest.sources[0].clone();
    change(&mut source.transform);
    manifest.sources = List::new([source]).unwrap();
    manifest
}

fn answer(status: u16, body: &str) -> RawAnswer {
    let headers = [("etag", "\"1\""), ("vary", "a"), ("vary", "b"), ("date", "now")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
    RawAnswer { status, headers: headers.into(), body: body.into(), received: 1 }
}

fn seen(change: impl FnOnce(&mut Transform), raw: RawAnswer) -> Result<String, Fault> {
    let manifest = manifest(change);
    let mut guest = |function: &str, bytes: &[u8]| match function {
        "fails" => Err("it trapped".to_owned()),
        "grows" => Ok(bytes.repeat(40_000)),
        _ => Ok([b"guest:", bytes].concat()),
    };
    match observe(&manifest, &manifest.sources[0], Ok(raw), &mut guest) {
        Observation::Value { bytes } => Ok(String::from_utf8(bytes.to_vec()).unwrap()),
        Observation::Failed { fault } => Err(fault),
    }
}

fn paths(paths: &[&str]) -> impl FnOnce(&mut Transform) {
    let paths: Vec<_> = paths.iter().map(|path| Text::new(*path).unwrap()).collect();
    move |transform| transform.paths = List::new(paths).unwrap()
}

fn nothing(_: &mut Transform) {}

#[test]
fn without_a_transform_it_is_the_body() {
    assert_eq!(seen(nothing, answer(200, " as it is\n")).unwrap(), " as it is\n");
    assert_eq!(seen(nothing, answer(204, "")).unwrap(), "");
    for code in [199, 301, 404, 500] {
        assert_eq!(seen(nothing, answer(code, "x")), Err(Fault::Status { code }));
    }
}

#[test]
fn paths_make_canonical_json() {
    let body = r#" { "b" : 1.50, "a" : {"z":1, "y":[true,null]}, "t":"\u00fc\/\u0001" } "#;
    assert_eq!(seen(paths(&["$.b"]), answer(200, body)).unwrap(), "1.50");
    assert_eq!(seen(paths(&["$.a"]), answer(200, body)).unwrap(), r#"{"y":[true,null],"z":1}"#);
    assert_eq!(seen(paths(&["$.t"]), answer(200, body)).unwrap(), r#""ü/\u0001""#);
    assert_eq!(seen(paths(&["$.b", "$.a.z"]), answer(200, body)).unwrap(), "[1.50,1]");
    assert_eq!(seen(paths(&["$.gone"]), answer(200, body)), Err(Fault::Malformed));
    assert_eq!(seen(paths(&["$.b"]), answer(200, "<html>")), Err(Fault::Malformed));
    assert_eq!(seen(paths(&["$.b"]), answer(404, body)), Err(Fault::Status { code: 404 }));
}

#[test]
fn status_and_headers_stand_around_the_body() {
    let head = |transform: &mut Transform| {
        transform.status = true;
        let names = ["vary", "etag", "absent"].map(|name| Text::new(name).unwrap());
        transform.headers = List::new(names).unwrap();
    };
    let expected = r#"{"body":"hi","headers":{"etag":"\"1\"","vary":"a, b"},"status":404}"#;
    assert_eq!(seen(head, answer(404, "hi")).unwrap(), expected);
    let mut binary = answer(200, "");
    binary.body = vec![0, 255];
    let only_status = |transform: &mut Transform| transform.status = true;
    assert_eq!(seen(only_status, binary).unwrap(), r#"{"body_base64":"AP8=","status":200}"#);
    let both = |transform: &mut Transform| {
        transform.status = true;
        paths(&["$.a"])(transform);
    };
    assert_eq!(seen(both, answer(200, r#"{"a":7}"#)).unwrap(), r#"{"body":7,"status":200}"#);
    assert_eq!(seen(both, answer(500, "oh no")).unwrap(), r#"{"body":null,"status":500}"#);
    assert_eq!(seen(both, answer(200, "oh no")), Err(Fault::Malformed));
}

#[test]
fn a_guest_makes_the_rest() {
    let guest = |name: &'static str| {
        move |transform: &mut Transform| transform.guest = Some(Text::new(name).unwrap())
    };
    assert_eq!(seen(guest("f"), answer(200, "x")).unwrap(), "guest:x");
    assert_eq!(seen(guest("fails"), answer(200, "x")), Err(Fault::Malformed));
    assert_eq!(seen(guest("grows"), answer(200, "x")), Err(Fault::TooLarge));
    assert_eq!(seen(guest("f"), answer(500, "x")), Err(Fault::Status { code: 500 }));
}

#[test]
fn what_is_too_large_is_a_failure_of_its_own() {
    let long = "x".repeat(32 * 1024);
    assert_eq!(seen(nothing, answer(200, &long)).unwrap().len(), 32 * 1024);
    assert_eq!(seen(nothing, answer(200, &(long.clone() + "x"))), Err(Fault::TooLarge));
    assert_eq!(seen(nothing, answer(200, &"x".repeat(100_001))), Err(Fault::TooLarge));
    let body = format!(r#"{{"a":"{long}","b":1}}"#);
    assert_eq!(seen(paths(&["$.b"]), answer(200, &body)).unwrap(), "1");
    assert_eq!(seen(paths(&["$.a"]), answer(200, &body)), Err(Fault::TooLarge));
    let ten: Vec<&str> = vec!["$"; 10];
    let body = format!("\"{}\"", "x".repeat(5000));
    assert_eq!(seen(paths(&ten), answer(200, &body)), Err(Fault::TooLarge));
}

#[test]
fn failures_of_connectors_stay_what_they_are() {
    let manifest = manifest(paths(&["$"]));
    for fault in [Fault::Timeout, Fault::Denied, Fault::Status { code: 9 }] {
        let observed = observe(&manifest, &manifest.sources[0], Err(fault), &mut |_, _| {
            panic!("nothing to transform")
        });
        assert_eq!(observed, Observation::Failed { fault });
    }
}

#[test]
fn depth_and_number_of_values_are_bounded() {
    let nested = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Json::parse(nested(DEPTH_MAX).as_bytes()).is_ok());
    let error = Json::parse(nested(DEPTH_MAX + 1).as_bytes()).unwrap_err();
    assert_eq!((error.at, error.why), (DEPTH_MAX, "nested too deeply"));
    assert!(Json::parse("[".repeat(1_000_000).as_bytes()).is_err());
    let many = format!("[{}]", vec!["1"; 100_000].join(","));
    assert_eq!(Json::parse(many.as_bytes()).unwrap_err().why, "too many values");
}

#[test]
fn json_is_read_as_its_standard_has_it() {
    for good in [
        "0",
        "-0",
        "-1.5e+10",
        "1E9",
        "\"\\ud83d\\ude00\"",
        " [ ] ",
        "{}",
        "true",
        "null",
        "[1 ,2\t,\n3]",
    ] {
        assert!(Json::parse(good.as_bytes()).is_ok(), "{good}");
    }
    for bad in [
        "",
        " ",
        "01",
        "1.",
        ".5",
        "+1",
        "1e",
        "--1",
        "0x1",
        "NaN",
        "Infinity",
        "tru",
        "nul",
        "'a'",
        "\"a",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\t\"",
        "[1,]",
        "[,1]",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "1 2",
        "\u{feff}1",
    ] {
        assert!(Json::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    assert!(Json::parse(&[b'"', 0xff, b'"']).is_err());
}

#[test]
fn canonical_json_is_a_fixed_point() {
    let mut rng = SeededEntropy::new(4);
    for _ in 0..500 {
        let text = random(&mut rng, 0).to_text();
        assert_eq!(Json::parse(text.as_bytes()).unwrap().to_text(), text);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
    }
}

fn random(rng: &mut SeededEntropy, depth: u64) -> Json {
    let word = |rng: &mut SeededEntropy| {
        let character = |rng: &mut SeededEntropy| char::from_u32(rng.below(0x300) as u32).unwrap();
        (0..rng.below(6)).map(|_| character(rng)).collect::<String>()
    };
    match rng.below(if depth > 4 { 4 } else { 6 }) {
        0 => Json::Null,
        1 => Json::Bool(rng.below(2) == 1),
        2 => Json::Number(format!("-{}.{}e{}", rng.below(100), rng.next_u64(), rng.below(100))),
        3 => Json::Text(word(rng)),
        4 => Json::List((0..rng.below(5)).map(|_| random(rng, depth + 1)).collect()),
        _ => Json::Object((0..rng.below(5)).map(|_| (word(rng), random(rng, depth + 1))).collect()),
    }
}

#[test]
fn every_path_of_a_manifest_is_checked() {
    assert_eq!(check(&manifest(paths(&["$.a[*]"]))), Ok(()));
    let bad = check(&manifest(paths(&["$.a", "$.["]))).unwrap_err();
    assert_eq!(bad.path, "$.[");
    for (field, good) in [("", true), ("$.a['b'][0]", true), ("$..a", false), ("$.", false)] {
        let mut manifest = manifest(|_| {});
        let mut source = manifest.sources[0].clone();
        source.aggregation = Aggregation::Median { field: Text::new(field).unwrap() };
        manifest.sources = List::new([source]).unwrap();
        assert_eq!(check(&manifest).is_ok(), good, "{field}");
    }
}
