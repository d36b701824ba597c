use std::os::unix::fs::PermissionsExt;

use super::*;

const FULL: &str = r#"
allow_private = ["localhost:8080", "[::1]:9000", "minio.lan:9000"]
requests_max = 8

[[secret]]
host = "API.example.com"
header = "X-Api-Key"
value = "hush"
paths = ["/v1/"]
writes = true

[[secret]]
host = "eth.example.com"
port = 8443
value = "Bearer hush"

[databases.prices]
address = "sqlite:/var/lib/prices.db"

[stores.archive]
endpoint = "https://s3.example.com"
region = "eu-central-1"
bucket = "results"
access_key = "AKID"
secret_key = "hush"
writes = true

[stores.local]
endpoint = "http://minio.lan:9000"
region = "us-east-1"
bucket = "results"
access_key = "AKID"
secret_key = "hush"
"#;

fn parse(text: &str) -> Result<Config, BadConfig> {
    Config::parse(text, Path::new(""))
}

#[test]
fn a_file_is_read() {
    let config = parse(FULL).unwrap();
    assert_eq!(config.allow_private.len(), 3);
    assert_eq!(config.requests_max, 8);
    let [first, second] = &config.secrets[..] else { panic!("two secrets") };
    assert_eq!(first.place.to_string(), "api.example.com:443");
    assert_eq!((first.header.as_str(), first.value.expose()), ("x-api-key", "hush"));
    assert!(first.is_for(&first.place, "/v1/a", true));
    assert!(!first.is_for(&first.place, "/v2/a", false));
    assert!(!first.is_for(&second.place, "/v1/a", false));
    assert_eq!((second.header.as_str(), second.place.port), ("authorization", 8443));
    assert!(second.is_for(&second.place, "/", false) && !second.is_for(&second.place, "/", true));
    assert_eq!(config.databases.len(), 1);
    assert!(config.stores["archive"].tls && config.stores["archive"].writes);
    assert!(!config.stores["local"].tls && !config.stores["local"].writes);
    assert_eq!(parse("").unwrap().requests_max, REQUESTS_DEFAULT);
}

#[test]
fn secrets_are_not_printed() {
    let printed = format!("{:?}", parse(FULL).unwrap());
    assert!(!printed.contains("hush"), "{printed}");
    // Nor by an error about the line that they stand in.
    let error = parse("[[secret]]\nhost = \"a\"\nvalue = \"hush\" hush\n").unwrap_err().to_string();
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn errors_name_the_field() {
    let store = |line: &str| {
        let lines = [
            "endpoint = \"https://s3.example.com\"",
            "region = \"r\"",
            "bucket = \"abc\"",
            "access_key = \"a\"",
            "secret_key = \"s\"",
        ];
        let name = line.split(' ').next().unwrap();
        let others = lines.iter().filter(|other| !other.starts_with(name));
        let others: Vec<_> = others.copied().collect();
        format!("[stores.one]\n{}\n{line}", others.join("\n"))
    };
    for (text, error) in [
        ("x = 1", "x: it is unknown"),
        ("allow_private = \"a:1\"", "allow_private: it must be a list"),
        ("allow_private = [\"a\"]", "allow_private[0]: it must be host:port"),
        ("allow_private = [\"0x7f.1:1\"]", "allow_private[0]: it must be host:port"),
        ("requests_max = 0", "requests_max: it must be at least 1"),
        ("requests_max = 9999", "requests_max: it is 9999, the limit is 1024"),
        ("[[secret]]\nvalue = \"v\"", "secret[0].host: it is missing"),
        ("[[secret]]\nhost = \"a\"", "secret[0].value: it is missing"),
        ("[[secret]]\nhost = \"a/b\"\nvalue = \"v\"", "secret[0].host: it is no host"),
        ("[[secret]]\nhost = \"a\"\nvalue = \"v\\nw\"", "secret[0].value: no header can hold it"),
        ("[[secret]]\nhost = \"a\"\nvalue = \"v\"\nheader = \"Host\"", "secret[0].header: no such"),
        (
            "[[secret]]\nhost = \"a\"\nvalue = \"v\"\npaths = [\"v1\"]",
            "secret[0].paths[0]: it must",
        ),
        ("[[secret]]\nhost = \"a\"\nvalue = \"v\"\nx = 1", "secret[0].x: it is unknown"),
        ("[databases.\"a b\"]\naddress = \"sqlite:x\"", "databases: \"a b\" is no name"),
        ("[databases.a]\naddress = \"mysql://x\"", "databases.a.address: it must begin with"),
        (&store("endpoint = \"http://s3.example.com\""), "stores.one.endpoint: it must be https"),
        (&store("endpoint = \"https://s3.example.com/x\""), "stores.one.endpoint: it must have no"),
        (&store("bucket = \"A\""), "stores.one.bucket: it is no name"),
        (&store("bucket = \"a/../b\""), "stores.one.bucket: it is no name"),
        (&store("secret_key = \"\""), "stores.one.secret_key: it holds blanks or nothing"),
        (&store("writes = 1"), "stores.one.writes: it must be true or false"),
    ] {
        let got = parse(text).unwrap_err().to_string();
        assert!(got.starts_with(error), "{text}: {got}");
    }
}

#[test]
fn a_file_with_secrets_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connectors.toml");
    let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    std::fs::write(&path, FULL).unwrap();
    mode(0o644);
    assert!(matches!(Config::load(&path), Err(BadConfig::File(FileError::Loose { .. }))));
    mode(0o600);
    assert!(Config::load(&path).is_ok());
    // One without secrets is anybody's to read.
    std::fs::write(&path, "allow_private = [\"localhost:1\"]").unwrap();
    mode(0o644);
    assert!(Config::load(&path).is_ok());
}

#[test]
fn roots_are_read_from_beside_the_file() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("none.pem"), "nothing").unwrap();
    let bad = Config::parse("roots = [\"none.pem\"]", folder.path()).unwrap_err().to_string();
    assert!(bad.starts_with("roots: ") && bad.contains("none.pem"), "{bad}");
    let missing = Config::parse("roots = [\"missing.pem\"]", folder.path());
    assert!(matches!(missing, Err(BadConfig::File(_))));
    let certified = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let text = {
        use base64ct::{Base64, Encoding as _};
        let body = Base64::encode_string(certified.cert.der());
        let lines: Vec<_> =
            body.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    std::fs::write(folder.path().join("root.pem"), text).unwrap();
    let config = Config::parse("roots = [\"root.pem\"]", folder.path()).unwrap();
    assert_eq!(config.root_store().len(), webpki_roots::TLS_SERVER_ROOTS.len() + 1);
}
