use session_core::{Encode, Span, Text};
use session_protocol::workload::Manifest;
use session_protocol::workload::file;
use session_protocol::workload::oracle::RequestKind;

use super::{BadCall, REQUEST_BYTES_MAX, parse};

const FILE: &str = r#"
    name = "test"
    [[egress]]
    host = "api.example.com"
    [[source]]
    name = "price"
    kind = "http"
    url = "https://api.example.com/{symbol}?in={currency}"
    timeout = "2s"
    [[source]]
    name = "save"
    kind = "http"
    method = "PUT"
    url = "https://api.example.com/{id}"
    confirm = "saved"
    [[source]]
    name = "saved"
    kind = "http"
    url = "https://api.example.com/{id}"
    [[source]]
    name = "rows"
    kind = "sql"
    database = "db"
    statement = "SELECT a FROM t WHERE b > $1 ORDER BY a"
    parameters = ["least"]
"#;

fn manifest() -> Manifest {
    file::parse(FILE).unwrap()
}

fn read(request: &str) -> Result<session_protocol::workload::OracleCall, BadCall> {
    parse(&manifest(), RequestKind::Read, request.as_bytes())
}

fn write(request: &str) -> Result<session_protocol::workload::OracleCall, BadCall> {
    parse(&manifest(), RequestKind::Write, request.as_bytes())
}

fn refused(request: &str) -> String {
    read(request).expect_err(request).to_string()
}

#[test]
fn parameters_are_sorted_and_numbers_stay_as_they_are_written() {
    let request = r#"{"source":"price","params":{"symbol":"BTC","currency":1.50}}"#;
    let call = read(request).unwrap();
    let shown: Vec<(&str, &str)> =
        call.parameters.iter().map(|one| (&*one.name, &*one.value)).collect();
    assert_eq!(shown, [("currency", "1.50"), ("symbol", "BTC")]);
    assert_eq!((call.source, call.body.len()), (0, 0));
    let other = r#" { "params" : {"currency":"1.50" , "symbol":"BTC"}, "source":"price" } "#;
    assert_eq!(read(other).unwrap().to_bytes(), call.to_bytes());
    assert_eq!(manifest().sources[0].timeout, Span::from_secs(2));
}

#[test]
fn bodies_are_text_or_base64_never_both() {
    let call = write(r#"{"source":"save","params":{"id":"1"},"body":"hällo"}"#).unwrap();
    assert_eq!(&*call.body, "hällo".as_bytes());
    let call = write(r#"{"source":"save","params":{"id":"1"},"body_base64":"AP8="}"#).unwrap();
    assert_eq!(&*call.body, [0, 255]);
    let both = r#"{"source":"save","params":{"id":"1"},"body":"","body_base64":""}"#;
    assert!(matches!(write(both), Err(BadCall::Field { field, .. }) if field == "body"));
    for bad in ["AP8", "AP8=\\n", "_-8="] {
        let request = format!(r#"{{"source":"save","params":{{"id":"1"}},"body_base64":"{bad}"}}"#);
        assert!(matches!(write(&request), Err(BadCall::Field { .. })), "{bad}");
    }
    let long = "x".repeat(32 * 1024 + 1);
    let request = format!(r#"{{"source":"save","params":{{"id":"1"}},"body":"{long}"}}"#);
    let text = write(&request).unwrap_err().to_string();
    assert!(text.contains("32769 is over the limit of 32768"), "{text}");
    let request = format!(r#"{{"source":"save","params":{{"id":"1"}},"body":"{}"}}"#, &long[1..]);
    assert_eq!(write(&request).unwrap().body.len(), 32 * 1024);
}

#[test]
fn who_reads_what_writes_is_told_what_to_call() {
    let text = refused(r#"{"source":"save","params":{"id":"1"}}"#);
    assert_eq!(text, "source \"save\" writes: call `write`");
    let text = write(r#"{"source":"price"}"#).unwrap_err().to_string();
    assert_eq!(text, "source \"price\" reads: call `read`");
    let body = r#"{"source":"price","params":{"symbol":"a","currency":"b"},"body":"x"}"#;
    assert_eq!(refused(body), "field \"body\" of the request: a read has none");
}

#[test]
fn what_does_not_fit_the_manifest_is_named() {
    assert_eq!(refused(r#"{"source":"gone"}"#), "the manifest has no source \"gone\"");
    let missing = r#"{"source":"price","params":{"symbol":"BTC"}}"#;
    assert_eq!(refused(missing), "source \"price\" needs parameter \"currency\"");
    let unknown = r#"{"source":"price","params":{"symbol":"BTC","currency":"x","more":"y"}}"#;
    assert_eq!(refused(unknown), "source \"price\" has no parameter \"more\"");
    let dots = r#"{"source":"price","params":{"symbol":"..","currency":"x"}}"#;
    assert!(refused(dots).starts_with("source \"price\": parameter \"symbol\" is all dots"));
    assert!(read(r#"{"source":"rows","params":{"least":"5"}}"#).is_ok());
    assert_eq!(refused(r#"{"source":"rows"}"#), "source \"rows\" needs parameter \"least\"");
}

#[test]
fn a_confirmed_write_renders_what_confirms_it() {
    let call = write(r#"{"source":"save","params":{"id":"a b"}}"#).unwrap();
    assert_eq!(call.parameters[0].value, Text::new("a b").unwrap());
    let control = r#"{"source":"save","params":{"id":"a\nb"}}"#;
    assert!(matches!(write(control), Err(BadCall::Template { .. })));
}

#[test]
fn json_is_strict() {
    for (request, expected) in [
        ("", "not JSON at byte 0: no value"),
        ("[]", "the request is not an object"),
        (r#"{"source":"price"} x"#, "something follows"),
        (r#"{"source":"price","source":"price"}"#, "a name is there twice"),
        (r#"{"source":"price","params":{"symbol":"1","symbol":"2"}}"#, "a name is there twice"),
        (r#"{"source":"price","sourc":1}"#, "field \"sourc\" of the request: nobody knows it"),
        (r#"{"params":{}}"#, "field \"source\""),
        (r#"{"source":1}"#, "field \"source\""),
        (r#"{"source":"price","params":[]}"#, "field \"params\""),
        (r#"{"source":"price","params":{"symbol":true}}"#, "field \"params.symbol\""),
        (r#"{"source":"price","body":1}"#, "field \"body\""),
        ("{\"source\":\"\u{1}\"}", "a control character in a text"),
        (r#"{"source":"\ud800"}"#, "half of a surrogate pair"),
    ] {
        let text = refused(request);
        assert!(text.contains(expected), "{request}: {text}");
    }
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    assert!(refused(&format!(r#"{{"source":"price","x":{deep}}}"#)).contains("nested too deeply"));
    let long = " ".repeat(REQUEST_BYTES_MAX + 1);
    assert!(matches!(read(&long), Err(BadCall::TooLong { .. })));
}

#[test]
fn parameters_beyond_their_limits_are_refused() {
    let long = "x".repeat(1025);
    let request = format!(r#"{{"source":"price","params":{{"symbol":"{long}","currency":""}}}}"#);
    assert!(refused(&request).contains("params.symbol"));
    let many: Vec<String> = (0..17).map(|n| format!(r#""p{n}":"""#)).collect();
    let request = format!(r#"{{"source":"price","params":{{{}}}}}"#, many.join(","));
    assert!(refused(&request).contains("17 is over the limit of 16"));
    let name = "n".repeat(65);
    let request = format!(r#"{{"source":"price","params":{{"{name}":""}}}}"#);
    assert!(refused(&request).contains("65 is over the limit of 64"));
}

#[test]
fn reasons_are_short_whatever_the_program_says() {
    let name = "ü".repeat(10_000);
    let text = refused(&format!(r#"{{"source":"price","{name}":1}}"#));
    assert!(text.len() < 256, "{}", text.len());
    let text = refused(&format!(r#"{{"source":"{name}"}}"#));
    assert!(text.len() < 256, "{}", text.len());
}
