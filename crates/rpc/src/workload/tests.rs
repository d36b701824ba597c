use session_core::Span;

use super::{
    Aggregation, BadManifestText, Connector, EvmQuery, Limits, ManifestFile, Method, Rule,
};

const SMALL: &str = "name = \"price\"\n";

fn source(lines: &str) -> String {
    format!("{SMALL}[[source]]\nname = \"one\"\n{lines}")
}

fn read(lines: &str) -> super::SourceEntry {
    let mut file = ManifestFile::parse(&source(lines)).unwrap_or_else(|bad| panic!("{bad}"));
    file.sources.remove(0)
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    match ManifestFile::parse(text) {
        Err(bad) => assert_eq!(bad.to_string(), expected),
        Ok(file) => panic!("{file:?}"),
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let file = ManifestFile::parse(SMALL).unwrap();
    assert_eq!((file.name.as_str(), file.retries, file.development), ("price", 7, false));
    assert_eq!(file.limits, Limits::default());
    assert!(file.egress.is_empty() && file.sources.is_empty());
    let with = format!(
        "{SMALL}[limits]\nfuel = 5\n[[egress]]\nhost = \"a\"\n[[egress]]\nhost = \"b\"\nplain = true"
    );
    let file = ManifestFile::parse(&with).unwrap();
    assert_eq!((file.limits.fuel, file.limits.calls), (5, Limits::default().calls));
    assert_eq!((file.egress[0].port, file.egress[1].port), (443, 80));
}

#[test]
fn every_kind_is_read() {
    let http = read(
        "kind = \"http\"\nurl = \"u\"\nmethod = \"PUT\"\nheaders = { b = \"2\", a = \"1\" }\nkeep_headers = [\"etag\"]\nkeep_status = true\ntimeout = \"500ms\"\nfallback = \"x\"\nconfirm = \"c\"",
    );
    let Connector::Http { method, headers, .. } = http.connector else { panic!("http") };
    let sorted = [("a", "1"), ("b", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!((method, headers.as_slice()), (Method::Put, sorted.as_slice()));
    assert_eq!((http.timeout, http.fallback), (Span::from_millis(500), Some(b"x".to_vec())));
    assert!(http.keep_status && http.confirm.is_some_and(|confirm| !confirm.equals_body));

    let evm = read(
        "kind = \"evm\"\nurl = \"u\"\nquery = \"call\"\nto = \"t\"\nfunction = \"f\"\narguments = [\"1\"]",
    );
    let Connector::Evm { query: EvmQuery::Call { arguments, .. }, confirmations, .. } =
        evm.connector
    else {
        panic!("a call")
    };
    assert_eq!((arguments.len(), confirmations), (1, 64));

    let sql =
        read("kind = \"sql\"\ndatabase = \"d\"\nstatement = \"s\"\nparameters = [\"a\", \"b\"]");
    assert!(matches!(sql.connector, Connector::Sql { parameters, .. } if parameters.len() == 2));
    let get = read("kind = \"object-get\"\nstore = \"s\"\nkey = \"k\"\nfallback_base64 = \"AP8=\"");
    assert_eq!(get.fallback, Some(vec![0, 255]));
    let put = read("kind = \"object-put\"\nstore = \"s\"\nkey = \"k\"\nif_absent = true");
    assert!(matches!(put.connector, Connector::ObjectPut { if_absent: true, .. }));
    let message = read("kind = \"message\"\nto = \"x\"");
    assert_eq!(
        (message.connector, message.aggregation),
        (Connector::Message { to: "x".into() }, None)
    );
}

#[test]
fn every_aggregation_is_read() {
    let of = |lines: &str| {
        read(&format!("kind = \"message\"\nto = \"x\"\naggregation = {lines}")).aggregation.unwrap()
    };
    assert_eq!(of("\"identical\""), Aggregation::Identical);
    assert_eq!(of("\"median\""), Aggregation::Median { field: String::new() });
    assert_eq!(of("\"median\"\nfield = \"$.a\""), Aggregation::Median { field: "$.a".into() });
    assert_eq!(of("\"mode\""), Aggregation::Mode);
    assert_eq!(of("\"k_of_n\"\nk = 3"), Aggregation::KOfN { k: 3 });
    assert_eq!(of("\"single\""), Aggregation::Single);
    let fields = vec![("a".to_owned(), Rule::Mode), ("b".to_owned(), Rule::Median)];
    let by_fields = of("\"by_fields\"\nfields = { b = \"median\", a = \"mode\" }");
    assert_eq!(by_fields, Aggregation::ByFields { fields });
}

#[test]
fn what_is_wrong_is_named() {
    refused("", "name: it is missing");
    refused("name = 1", "name: it must be a text");
    refused(&format!("{SMALL}retrys = 1"), "retrys: nobody knows this key here");
    refused(&format!("{SMALL}retries = 256"), "retries: it is 256, the limit is 255");
    refused(&format!("{SMALL}limits = 1"), "limits: it must be a table, [limits]");
    refused(&format!("{SMALL}[limits]\nfule = 1"), "limits.fule: nobody knows this key here");
    let over = "limits.calls: it is 4294967296, the limit is 4294967295";
    refused(&format!("{SMALL}[limits]\ncalls = 4294967296"), over);
    let negative = "limits.fuel: it must be a whole number from 0 to 18446744073709551615";
    refused(&format!("{SMALL}[limits]\nfuel = -1"), negative);
    refused(&format!("{SMALL}[[egress]]\nport = 1"), "egress[0].host: it is missing");
    refused(&format!("{SMALL}source = [1]"), "source[0]: it must be a table, [[source]]");
    refused(&source(""), "source[0].kind: it is missing");
    let kinds = "source[0].kind: it must be http, evm, sql, object-get, object-put or message";
    refused(&source("kind = \"ftp\""), kinds);
    let stray = source("kind = \"message\"\nto = \"x\"\nurl = \"y\"");
    refused(&stray, "source[0].url: nobody knows this key here");
    let k = source("kind = \"message\"\nto = \"x\"\naggregation = \"k_of_n\"");
    refused(&k, "source[0].k: it is missing");
    let k = source("kind = \"message\"\nto = \"x\"\nk = 1");
    refused(&k, "source[0].k: nobody knows this key here");
    let timeout = "source[0].timeout: it must be a whole number and ms, s or m: \"10s\"";
    for bad in ["10", "s", "-1s", "1.5s", "1h", "99999999999999999999s", "18446744073709551615m"] {
        refused(&source(&format!("kind = \"message\"\nto = \"x\"\ntimeout = \"{bad}\"")), timeout);
    }
}

#[test]
fn broken_toml_is_shown_with_its_line() {
    let Err(BadManifestText::Syntax(text)) = ManifestFile::parse("name = \"a\"\nretries = = 1")
    else {
        panic!("not TOML")
    };
    assert!(text.contains("line 2"), "{text}");
    assert!(matches!(
        ManifestFile::parse("name = \"a\"\nname = \"b\""),
        Err(BadManifestText::Syntax(_))
    ));
}

#[test]
fn the_table_of_tools_is_skipped() {
    let text = format!("{SMALL}[build]\nsource = \"main.wat\"");
    assert!(ManifestFile::parse(&text).is_ok());
}
