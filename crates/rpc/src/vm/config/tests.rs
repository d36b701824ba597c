use session_core::Span;

use super::super::Profile;
use super::{BadConfig, Config, Limits, LimitsGiven};

const SEED: &str = r#"{
  "sessionTTL": 86400,      // Session lifetime in seconds (default: 24h)
  "maxMessages": 10000,      // Max messages per session
  "maxChannels": 1000,       // Max channels
  "retentionDays": 30,       // Message retention period
  "idPrefix": "07"           // Post-quantum session ID prefix
}"#;

fn field(text: &str) -> String {
    match Config::parse(text.as_bytes()) {
        Err(BadConfig::Field(bad)) => bad.field,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn the_seeds_text_with_its_comments_is_the_default() {
    let (config, unknown) = Config::parse(SEED.as_bytes()).unwrap();
    assert_eq!(Limits::default().with(&config.limits), Limits::default());
    assert_eq!(Config { limits: LimitsGiven::default(), ..config }, Config::default());
    assert!(unknown.is_empty());
    for empty in ["", " \n", "{}"] {
        assert_eq!(Config::parse(empty.as_bytes()), Ok((Config::default(), Vec::new())));
    }
}

#[test]
fn our_keys() {
    let text = r#"{"sessionTTL": "60", "maxSessions": 5, "compat": "go", "rateLimit": 0,
        "blockTimeMs": 250, "corsOrigins": ["https://example.org:8443"], "maxChanels": 1,
        "pqCrypto": {"keyExchange": "ML-KEM-768", "hash": "x"}}"#;
    let (config, unknown) = Config::parse(text.as_bytes()).unwrap();
    assert_eq!(config.limits.session_ttl, Some(Span::from_secs(60)));
    assert_eq!((config.sessions_max, config.client_rate), (5, 0));
    assert_eq!((config.profile, config.block_time), (Profile::Go, Span::from_millis(250)));
    assert_eq!(config.cors_origins, ["https://example.org:8443"]);
    assert_eq!(unknown, ["pqCrypto.hash", "maxChanels"]);
}

#[test]
fn every_value_is_checked() {
    let cases = [
        (r#"{"sessionTTL": -1}"#, "sessionTTL"),
        (r#"{"sessionTTL": 0}"#, "sessionTTL"),
        (r#"{"sessionTTL": 31536001}"#, "sessionTTL"),
        (r#"{"sessionTTL": "24h"}"#, "sessionTTL"),
        (r#"{"maxMessages": 1.5}"#, "maxMessages"),
        (r#"{"maxMessages": 0}"#, "maxMessages"),
        (r#"{"maxChannels": 1000001}"#, "maxChannels"),
        (r#"{"retentionDays": 0}"#, "retentionDays"),
        (r#"{"retentionDays": []}"#, "retentionDays"),
        (r#"{"idPrefix": "05"}"#, "idPrefix"),
        (r#"{"idPrefix": 7}"#, "idPrefix"),
        (r#"{"pqCrypto": "ML-KEM-768"}"#, "pqCrypto"),
        (r#"{"pqCrypto": {"keyExchange": "RSA"}}"#, "pqCrypto.keyExchange"),
        (r#"{"pqCrypto": {"signature": "ECDSA"}}"#, "pqCrypto.signature"),
        (r#"{"maxSessions": 0}"#, "maxSessions"),
        (r#"{"compat": "rust"}"#, "compat"),
        (r#"{"rateLimit": 4294967296}"#, "rateLimit"),
        (r#"{"blockTimeMs": 9}"#, "blockTimeMs"),
        (r#"{"corsOrigins": "https://example.org"}"#, "corsOrigins"),
        (r#"{"corsOrigins": ["*"]}"#, "corsOrigins[0]"),
        (r#"{"corsOrigins": ["https://a", "https://b/c"]}"#, "corsOrigins[1]"),
    ];
    for (text, name) in cases {
        assert_eq!(field(text), name, "{text}");
    }
    assert!(matches!(Config::parse(b"[]"), Err(BadConfig::Text(_))));
}
