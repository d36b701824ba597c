use super::*;

fn why(address: &str) -> Option<Special> {
    special(address.parse().unwrap())
}

#[test]
fn each_range_ends_where_it_should() {
    // First and last address of each range, and the neighbours that are public.
    for (first, last, why_not, before, after) in [
        ("0.0.0.0", "0.255.255.255", Special::Unspecified, None, Some("1.0.0.0")),
        ("10.0.0.0", "10.255.255.255", Special::Private, Some("9.255.255.255"), Some("11.0.0.0")),
        (
            "100.64.0.0",
            "100.127.255.255",
            Special::Shared,
            Some("100.63.255.255"),
            Some("100.128.0.0"),
        ),
        (
            "127.0.0.0",
            "127.255.255.255",
            Special::Loopback,
            Some("126.255.255.255"),
            Some("128.0.0.0"),
        ),
        (
            "169.254.0.0",
            "169.254.255.255",
            Special::LinkLocal,
            Some("169.253.255.255"),
            Some("169.255.0.0"),
        ),
        (
            "172.16.0.0",
            "172.31.255.255",
            Special::Private,
            Some("172.15.255.255"),
            Some("172.32.0.0"),
        ),
        ("192.0.0.0", "192.0.0.255", Special::Reserved, Some("191.255.255.255"), Some("192.0.1.0")),
        (
            "192.0.2.0",
            "192.0.2.255",
            Special::Documentation,
            Some("192.0.1.255"),
            Some("192.0.3.0"),
        ),
        (
            "192.88.99.0",
            "192.88.99.255",
            Special::Embedded,
            Some("192.88.98.255"),
            Some("192.88.100.0"),
        ),
        (
            "192.168.0.0",
            "192.168.255.255",
            Special::Private,
            Some("192.167.255.255"),
            Some("192.169.0.0"),
        ),
        (
            "198.18.0.0",
            "198.19.255.255",
            Special::Benchmark,
            Some("198.17.255.255"),
            Some("198.20.0.0"),
        ),
        (
            "198.51.100.0",
            "198.51.100.255",
            Special::Documentation,
            Some("198.51.99.255"),
            Some("198.51.101.0"),
        ),
        (
            "203.0.113.0",
            "203.0.113.255",
            Special::Documentation,
            Some("203.0.112.255"),
            Some("203.0.114.0"),
        ),
        ("224.0.0.0", "239.255.255.255", Special::Multicast, Some("223.255.255.255"), None),
        ("240.0.0.0", "255.255.255.254", Special::Reserved, None, None),
        ("255.255.255.255", "255.255.255.255", Special::Broadcast, None, None),
        (
            "168.63.129.16",
            "168.63.129.16",
            Special::Metadata,
            Some("168.63.129.15"),
            Some("168.63.129.17"),
        ),
        ("::", "::", Special::Unspecified, None, None),
        ("::1", "::1", Special::Loopback, None, None),
        ("::2", "::ffff:ffff:ffff", Special::Embedded, None, None),
        ("64:ff9b::", "64:ff9b::ffff:ffff", Special::Embedded, None, None),
        ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", Special::Embedded, None, None),
        ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", Special::Embedded, None, None),
        (
            "2001:1::",
            "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
            Special::Reserved,
            None,
            Some("2001:200::"),
        ),
        (
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            Special::Documentation,
            Some("2001:db7::"),
            Some("2001:db9::"),
        ),
        (
            "2002::",
            "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Special::Embedded,
            None,
            Some("2003::"),
        ),
        (
            "3fff::",
            "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            Special::Documentation,
            Some("3ffe::"),
            Some("3fff:1000::"),
        ),
        ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Special::Reserved, None, None),
        ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Special::Private, None, None),
        ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Special::LinkLocal, None, None),
        ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Special::Reserved, None, None),
        ("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Special::Multicast, None, None),
    ] {
        assert_eq!(why(first), Some(why_not), "{first}");
        assert_eq!(why(last), Some(why_not), "{last}");
        for public in before.into_iter().chain(after) {
            assert_eq!(why(public), None, "{public}");
        }
    }
}

#[test]
fn public_addresses_are_public() {
    for address in
        ["1.1.1.1", "8.8.8.8", "93.184.216.34", "2606:4700::1111", "2a00:1450::1", "2000::"]
    {
        assert_eq!(why(address), None, "{address}");
    }
}

#[test]
fn operators_open_only_what_is_theirs() {
    for opened in ["127.0.0.1", "10.0.0.1", "192.168.0.1", "100.64.0.1", "::1", "fd00::1"] {
        assert!(why(opened).unwrap().may_be_opened(), "{opened}");
    }
    for closed in [
        "169.254.169.254",
        "168.63.129.16",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::ffff:127.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "fe80::1",
        "192.0.2.1",
    ] {
        assert!(!why(closed).unwrap().may_be_opened(), "{closed}");
    }
}
