use super::{BadAddress, HostPort, Listen};

#[test]
fn hosts_of_every_kind_round_trip() {
    for text in ["127.0.0.1:9651", "node-1.example.org:1", "[::1]:65535", "localhost:9651"] {
        let parsed: HostPort = text.parse().unwrap();
        assert_eq!(parsed.to_string(), text);
    }
    let six: HostPort = "[::1]:7".parse().unwrap();
    assert_eq!((six.host(), six.port()), ("::1", 7));
}

#[test]
fn what_is_not_an_address_says_why() {
    let parse = |text: &str| text.parse::<HostPort>().unwrap_err();
    assert!(matches!(parse("localhost"), BadAddress::NoPort { .. }));
    assert!(matches!(parse("localhost:"), BadAddress::NoPort { .. }));
    assert!(matches!(parse("localhost:+80"), BadAddress::Port { .. }));
    assert!(matches!(parse("localhost:0"), BadAddress::Port { min: 1, .. }));
    assert!(matches!(parse("localhost:65536"), BadAddress::Port { .. }));
    assert!(matches!(parse(":9651"), BadAddress::Host { .. }));
    assert!(matches!(parse("::1:9651"), BadAddress::Host { .. }));
    assert!(matches!(parse("a b:9651"), BadAddress::Host { .. }));
    assert!(matches!(parse(&format!("{}:1", "a".repeat(254))), BadAddress::Host { .. }));
}

#[test]
fn a_port_alone_listens_on_all_interfaces() {
    assert_eq!(":9651".parse::<Listen>().unwrap().to_string(), "0.0.0.0:9651");
    assert_eq!("127.0.0.1:0".parse::<Listen>().unwrap().to_string(), "127.0.0.1:0");
    assert!("9651".parse::<Listen>().is_err());
}
