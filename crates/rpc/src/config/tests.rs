use super::{BadConfig, Config};

#[test]
fn names_are_those_of_the_flags() {
    let text = "listen = \":9651\"\ndata-dir = \"/x\"\nmax_sessions = 7\nconnectors = \"c.toml\"\nbootstrap = [\"a:1\", \"b:2\"]\ncolour = 1";
    let (config, unknown) = Config::parse(text).unwrap();
    let expected = Config {
        listen: Some(":9651".into()),
        data_dir: Some("/x".into()),
        max_sessions: Some(7),
        connectors: Some("c.toml".into()),
        bootstrap: Some("a:1,b:2".into()),
        ..Config::default()
    };
    assert_eq!(config, expected);
    assert_eq!(unknown, ["colour"]);
}

#[test]
fn values_are_checked() {
    let refused = |text: &str| Config::parse(text).unwrap_err().to_string();
    assert!(refused("max-sessions = 0").starts_with("max_sessions: "));
    assert!(refused("max-sessions = -1").starts_with("max_sessions: "));
    assert!(refused("max-sessions = 1000001").contains("the limit is 1000000"));
    assert!(refused("data-bytes-max = 1").contains("at least 16777216"));
    assert!(refused("client-rate = 4294967296").contains("the limit is 4294967295"));
    assert!(refused("listen = 9651").starts_with("listen: it must be a text"));
    assert!(refused("data-dir = \"a\"\ndata_dir = \"b\"").contains("twice"));
    assert!(matches!(Config::parse("listen"), Err(BadConfig::Syntax(_))));
}
