use super::*;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

#[test]
fn addresses_are_read() {
    for (text, tls, host, port, target) in [
        ("https://a.example", true, "a.example", 443, "/"),
        ("http://a.example", false, "a.example", 80, "/"),
        ("HTTPS://A.Example:8443/P?q=/../x", true, "a.example", 8443, "/P?q=/../x"),
        ("https://a.example?q=1", true, "a.example", 443, "/?q=1"),
        ("https://1.2.3.4/a...b/..c/", true, "1.2.3.4", 443, "/a...b/..c/"),
        ("https://[2001:DB8:0::1]:1/", true, "2001:db8::1", 1, "/"),
        ("https://a.1b/", true, "a.1b", 443, "/"),
    ] {
        let place = Place { host: host.to_owned(), port };
        assert_eq!(url(text), Url { tls, place, target: target.to_owned() }, "{text}");
    }
}

#[test]
fn what_is_odd_is_refused() {
    for (text, error) in [
        ("a.example", BadUrl::Scheme),
        ("ftp://a.example/", BadUrl::Scheme),
        ("javascript://a.example/", BadUrl::Scheme),
        ("https:///x", BadUrl::Host),
        ("https://a..example/", BadUrl::Host),
        ("https://a.example./", BadUrl::Host),
        ("https://2130706433/", BadUrl::Host),
        ("https://0x7f.0x1/", BadUrl::Host),
        ("https://1.2.3.08/", BadUrl::Host),
        ("https://a.0x/", BadUrl::Host),
        ("https://[::1/", BadUrl::Port),
        ("https://[::1]x/", BadUrl::Host),
        ("https://u@a.example/", BadUrl::User),
        ("https://a.example:/", BadUrl::Port),
        ("https://a.example:0/", BadUrl::Port),
        ("https://a.example:65536/", BadUrl::Port),
        ("https://a.example:1:2/", BadUrl::Port),
        ("https://a.example/é", BadUrl::Character),
        ("https://a.example/\t", BadUrl::Character),
        ("https://a.example/a/..", BadUrl::Dots),
        ("https://a.example/%2E./b", BadUrl::Dots),
        ("https://a.example/x%5c..%5Cy", BadUrl::Dots),
    ] {
        assert_eq!(Url::parse(text), Err(error), "{text}");
    }
    assert_eq!(Url::parse(&format!("https://a/{}", "x".repeat(8192))), Err(BadUrl::TooLong));
}

#[test]
fn redirects_lead_where_they_should() {
    let from = url("https://a.example:444/one/two?q");
    for (location, to) in [
        ("https://b.example/x#y", "https://b.example/x"),
        ("//b.example/x", "https://b.example/x"),
        ("/x?z", "https://a.example:444/x?z"),
        ("x/y:z", "https://a.example:444/one/x/y:z"),
        ("?z", "https://a.example:444/one/two?z"),
        ("", "https://a.example:444/one/two"),
    ] {
        assert_eq!(from.join(location), Ok(url(to)), "{location}");
    }
    for bad in ["mailto:a@b", "../up", "https://u@b.example/", "/\\b.example"] {
        assert!(from.join(bad).is_err(), "{bad}");
    }
}

#[test]
fn hosts_are_written_as_servers_expect() {
    assert_eq!(url("https://a.example:443/").authority(), "a.example");
    assert_eq!(url("http://a.example:443/").authority(), "a.example:443");
    assert_eq!(url("http://[::1]:8080/").authority(), "[::1]:8080");
}
