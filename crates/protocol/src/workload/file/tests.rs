use super::super::manifest::{Aggregation, Connector};
use super::{BadFile, parse};

/// Everything that a manifest can hold, once.
const FULL: &str = r#"
name = "everything"
retries = 3

[limits]
fuel = 2_000_000_000
memory_pages = 128
state_bytes = 1000
log_bytes = 2000
calls = 10
egress_bytes = 1_000_000

[[egress]]
host = "api.example.com"

[[egress]]
host = "plain.example.com"
port = 8080
plain = true

[[source]]
name = "price"
kind = "http"
url = "https://api.example.com/{symbol}"
headers = { accept = "application/json" }
redirects = 2
paths = ["$.price"]
aggregation = "median"
records_min = 4
timeout = "5s"
bytes_max = 65536
fallback = "0"

[[source]]
name = "chain"
kind = "evm"
url = "http://plain.example.com:8080/"
query = "call"
to = "0x00000000000000000000000000000000000000ff"
function = "balanceOf(address)(uint256)"
arguments = ["{who}"]
confirmations = 12

[[source]]
name = "rows"
kind = "sql"
database = "sales"
statement = "SELECT day, sum(cents) FROM sales WHERE day >= $1 GROUP BY day ORDER BY day"
parameters = ["since"]

[[source]]
name = "report"
kind = "object-put"
store = "reports"
key = "{day}.csv"
content_type = "text/csv"
confirm = "written"
confirm_equals_body = true

[[source]]
name = "written"
kind = "object-get"
store = "reports"
key = "{day}.csv"

[[source]]
name = "tell"
kind = "message"
to = "{account}"
"#;

#[test]
fn a_file_becomes_a_manifest() {
    let manifest = parse(FULL).unwrap_or_else(|bad| panic!("{bad}"));
    assert_eq!((manifest.sources.len(), manifest.egress.len()), (6, 2));
    assert_eq!(manifest.limits.fuel, 2_000_000_000);
    let price = &manifest.sources[0];
    assert!(
        matches!(&price.connector, Connector::Http { redirects: 2, headers, .. } if headers.len() == 1)
    );
    assert!(matches!(&price.aggregation, Aggregation::Median { field } if field.is_empty()));
    assert_eq!(price.fallback.as_deref(), Some(&b"0"[..]));
    assert_eq!(manifest.sources[1].aggregation, Aggregation::Identical);
    assert_eq!(manifest.sources[3].aggregation, Aggregation::Single);
    assert!(manifest.sources[3].confirm.as_ref().is_some_and(|confirm| confirm.equals_body));
}

#[track_caller]
fn refused(from: &str, to: &str, expected: &str) {
    assert!(FULL.contains(from), "{from} is not in the file");
    let text = FULL.replacen(from, to, 1);
    let bad = parse(&text).map(drop).expect_err(to).to_string();
    assert!(bad.contains(expected), "{to}: {bad}");
}

#[test]
fn private_networks_are_for_development_only() {
    for host in [
        "10.0.0.0/8",
        "10.1.2.3",
        "127.0.0.1",
        "169.254.169.254",
        "192.168.1.1",
        "172.31.0.1",
        "100.64.0.1",
        "0.0.0.0",
        "::1",
        "fd00::1",
        "fe80::1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "localhost",
        "db.internal",
        "printer.local",
        "router.home.arpa",
        "224.0.0.1",
        "198.18.0.1",
    ] {
        let replaced = format!("host = \"{host}\"");
        refused("host = \"api.example.com\"", &replaced, "members reach public hosts only");
    }
    let text = FULL.replace("api.example.com", "127.0.0.1").replacen(
        "name =",
        "development = true\nname =",
        1,
    );
    assert!(parse(&text).is_ok());
    let range = text.replace("127.0.0.1", "10.0.0.0/8");
    let bad = parse(&range).map(drop).unwrap_err().to_string();
    assert!(bad.contains("ranges of addresses cannot be reached"), "{bad}");
}

#[test]
fn hosts_have_one_form() {
    for host in [
        "API.example.com",
        "",
        "a..b",
        "-a.com",
        "a_b.com",
        "1.2.3",
        "0x7f.1",
        "2130706433",
        "exämple.com",
        "a b",
        "api.example.com.",
        "example.com:443",
        "[2600::1]",
        "2600:0:0::1",
    ] {
        let replaced = format!("host = \"{host}\"");
        let text = FULL.replacen("host = \"api.example.com\"", &replaced, 1);
        let bad = parse(&text).map(drop).expect_err(host).to_string();
        assert!(bad.starts_with("egress[0].host: "), "{host}: {bad}");
    }
}

#[test]
fn addresses_must_lead_to_listed_hosts() {
    let url = "url = \"https://api.example.com/{symbol}\"";
    for (to, expected) in [
        ("https://other.example.com/{symbol}", "other.example.com:443 is not in egress"),
        ("https://api.example.com:8443/{symbol}", "api.example.com:8443 is not in egress"),
        ("http://api.example.com:443/{symbol}", "is reached without TLS"),
        ("ftp://api.example.com/{symbol}", "must begin with https:// or http://"),
        ("https://me:pw@api.example.com/{symbol}", "names and passwords"),
        ("https://api.example.com/{symbol}#part", "what follows # is never sent"),
        ("https://api.example.com:0/{symbol}", "the port must be a number"),
        ("https://api.example.com:/{symbol}", "the port is missing"),
        ("https://api.example.com/{symbol", "has no }"),
        ("https://api.example.com/a b{symbol}", "as %XX"),
        ("https://api.example.com\\\\@x/{symbol}", "as %XX"),
        ("https:///{symbol}", "is no host"),
        ("https://[::1/{symbol}", "the [ has no ]"),
    ] {
        refused(url, &format!("url = \"{to}\""), expected);
    }
    let dynamic = FULL.replacen(url, "url = \"https://{host}.example.com/\"", 1);
    assert!(parse(&dynamic).is_ok(), "who connects checks what it renders to");
}

#[test]
fn what_cannot_work_is_refused() {
    let put = "content_type = \"text/csv\"\n";
    for (from, to, expected) in [
        ("retries = 3", "retries = 33", "retries: it is 33, it must be from 0 to 32"),
        ("fuel = 2_000_000_000", "fuel = 0", "limits.fuel: it is 0"),
        ("memory_pages = 128", "memory_pages = 1025", "from 1 to 1024"),
        ("calls = 10", "calls = 1025", "limits.calls"),
        ("timeout = \"5s\"", "timeout = \"2m\"", "source[0].timeout"),
        ("bytes_max = 65536", "bytes_max = 0", "source[0].bytes_max"),
        ("records_min = 4", "records_min = 22", "source[0].records_min"),
        ("redirects = 2", "redirects = 6", "source[0].redirects"),
        ("redirects = 2", "redirects = 2\nmethod = \"POST\"", "only those of a GET are followed"),
        ("aggregation = \"median\"", "aggregation = \"single\"", "\"single\" is for writes"),
        (put, "content_type = \"text/csv\"\naggregation = \"median\"\n", "a write has one writer"),
        (put, "content_type = \"text/csv\"\nfallback = \"\"\n", "a write has none"),
        ("confirm = \"written\"", "confirm = \"gone\"", "there is no source \"gone\""),
        ("confirm = \"written\"", "confirm = \"tell\"", "what confirms a write is a read"),
        ("confirm = \"written\"", "confirm = \"rows\"", "a parameter that the write does not have"),
        ("confirm = \"written\"", "confirm = \"chain\"", "fixed block confirms nothing"),
        ("name = \"rows\"", "name = \"price\"", "\"price\" is there twice"),
        ("name = \"rows\"", "name = \"a b\"", "source[2].name"),
        ("ORDER BY day\"", "LIMIT 1\"", "without ORDER BY"),
        ("SELECT day", "DELETE day", "only a SELECT reads"),
        ("ORDER BY day\"", "ORDER BY day; DROP TABLE sales\"", "without ;"),
        ("day >= $1", "day >= $2", "number of one of parameters"),
        ("database = \"sales\"", "database = \"\"", "source[2].database"),
        (
            "key = \"{day}.csv\"\ncontent",
            "key = \"/x\"\ncontent",
            "must not be empty or begin with /",
        ),
        ("content_type = \"text/csv\"", "content_type = \"csv\"", "like text/plain"),
        ("0x00000000000000000000000000000000000000ff", "0xff", "0x and 40 hex digits"),
        ("balanceOf(address)(uint256)", "balanceOf", "like balanceOf(address)(uint256)"),
        ("accept = ", "host = ", "a header that the connector sets itself"),
        ("accept = ", "Accept = ", "in lower case"),
        ("paths = [\"$.price\"]", "paths = [\"price\"]", "a path begins with $"),
        (
            "aggregation = \"median\"",
            "aggregation = \"by_fields\"\nfields = {}",
            "at least one field",
        ),
        ("aggregation = \"median\"", "aggregation = \"k_of_n\"\nk = 0", "source[0].k"),
        ("to = \"{account}\"", "to = \"\"", "source[5].to"),
        ("name = \"everything\"", "name = \"\"", "name: "),
        ("port = 8080", "port = 0", "egress[1].port"),
    ] {
        refused(from, to, expected);
    }
}

#[test]
fn what_is_too_long_is_named() {
    let text = FULL.replacen("name = \"rows\"", &format!("name = \"{}\"", "x".repeat(65)), 1);
    let expected = "source[2].name: it holds 65, the limit is 64";
    assert_eq!(parse(&text).map(drop).unwrap_err().to_string(), expected);
    let hosts = |n: usize| format!("[[egress]]\nhost = \"h{n}.example.com\"\n");
    let many: String = (0..33).map(hosts).collect();
    let bad = parse(&format!("name = \"x\"\n{many}")).map(drop).unwrap_err();
    assert!(matches!(&bad, BadFile::Over { field, .. } if field == "egress"), "{bad}");
}

#[test]
fn a_program_that_asks_nothing_needs_only_a_name() {
    assert!(parse("name = \"alone\"").is_ok());
}
