use super::{BadEndpoint, Endpoint, TEXT_BYTES_MAX};

#[test]
fn hosts_ports_and_prefixes_are_read() {
    for (text, shown, path) in [
        ("http://127.0.0.1:9650", "http://127.0.0.1:9650", "/x"),
        ("HTTP://node.example", "http://node.example:80", "/x"),
        ("http://[::1]:22099/", "http://[::1]:22099", "/x"),
        ("http://[::1]", "http://[::1]:80", "/x"),
        ("http://h:1/ext/bc/session/", "http://h:1/ext/bc/session", "/ext/bc/session/x"),
    ] {
        let endpoint = Endpoint::parse(text).unwrap();
        assert_eq!(endpoint.to_string(), shown);
        assert_eq!(endpoint.path("/x"), path);
        assert_eq!(Endpoint::parse(shown).unwrap(), endpoint, "what is shown is read again");
    }
    assert_eq!(Endpoint::parse("http://h:1").unwrap().path(""), "/");
    assert_eq!(Endpoint::parse("http://h:1/a").unwrap().path(""), "/a");
}

#[test]
fn everything_else_is_refused_by_name() {
    let scheme = || BadEndpoint::Scheme { expected: "http" };
    for (text, why) in [
        ("https://h:1", BadEndpoint::Encrypted { scheme: "https".to_owned() }),
        ("127.0.0.1:9650", scheme()),
        ("ftp://h", scheme()),
        ("http://", BadEndpoint::Host),
        ("http://:80", BadEndpoint::Host),
        ("http://[::1", BadEndpoint::Host),
        ("http://[h]:1", BadEndpoint::Host),
        ("http://h h:1", BadEndpoint::Host),
        ("http://::1", BadEndpoint::Host),
        ("http://h:", BadEndpoint::Port),
        ("http://h:0", BadEndpoint::Port),
        ("http://h:+1", BadEndpoint::Port),
        ("http://h:65536", BadEndpoint::Port),
        ("http://[::1]80", BadEndpoint::Port),
        ("http://me:secret@h:1", BadEndpoint::User),
        ("http://h:1/a?b", BadEndpoint::Query),
        ("http://h:1/a b", BadEndpoint::Path),
        ("http://h:1/\r\nx: y", BadEndpoint::Path),
    ] {
        assert_eq!(Endpoint::parse(text), Err(why), "{text}");
    }
    let long = format!("http://h/{}", "a".repeat(TEXT_BYTES_MAX));
    assert!(matches!(Endpoint::parse(&long), Err(BadEndpoint::TooLong { .. })));
}
