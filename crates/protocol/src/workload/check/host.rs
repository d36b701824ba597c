//! Hosts and addresses as manifests write them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Wrong;

/// Where an address leads, as far as its template says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// Whether it is reached without TLS.
    pub plain: bool,
    /// The host without brackets, unless a parameter decides it.
    pub host: Option<&'a str>,
    /// The port.
    pub port: u16,
}

/// Checks the name of a host: labels of lower-case letters, digits and `-`, or an address in its
/// usual form.
pub(super) fn check(host: &str) -> Result<(), Wrong> {
    let bad = |why| Err(Wrong::Host { host: host.to_owned(), why });
    if let Ok(address) = host.parse::<IpAddr>() {
        let usual = address.to_string() == host;
        return if usual { Ok(()) } else { bad("an address has one form: the shortest") };
    }
    if host.contains('/') {
        return bad("ranges of addresses cannot be reached, only hosts");
    }
    if host.is_empty() || host.len() > 253 {
        return bad("it must have 1 to 253 characters");
    }
    for label in host.split('.') {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let edge = label.starts_with('-') || label.ends_with('-');
        if label.is_empty() || label.len() > 63 || edge || !label.bytes().all(good) {
            return bad("labels have lower-case letters, digits and -, with dots between them");
        }
    }
    let last = host.rsplit('.').next().unwrap_or_default();
    if last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x") {
        return bad("a name that ends with a number is taken for an address");
    }
    Ok(())
}

/// Returns why a host is not one of the public internet, if its text tells.
pub(super) fn private(host: &str) -> Option<&'static str> {
    let host = host.split('/').next().unwrap_or(host);
    match host.parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => private_v4(address),
        Ok(IpAddr::V6(address)) => private_v6(address),
        Err(_) => {
            let last = host.rsplit('.').next().unwrap_or_default();
            let home = host == "home.arpa" || host.ends_with(".home.arpa");
            let local = ["localhost", "local", "internal", "lan", "onion", "test", "invalid"];
            (home || local.contains(&last)).then_some("a name of a local network")
        }
    }
}

fn private_v4(address: Ipv4Addr) -> Option<&'static str> {
    match address.octets() {
        [127, ..] => Some("the machine itself"),
        [10, ..] | [192, 168, ..] => Some("a private network"),
        [172, second, ..] if second & 0xf0 == 16 => Some("a private network"),
        [169, 254, ..] => Some("the local link, where clouds keep their metadata"),
        [100, second, ..] if second & 0xc0 == 64 => Some("a provider's network"),
        [0, ..] | [192, 0, 0, _] | [240..=255, ..] => Some("reserved"),
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Some("reserved for examples"),
        [198, 18 | 19, ..] => Some("reserved for measurements"),
        [192, 88, 99, _] => Some("a way into other networks"),
        [224..=239, ..] => Some("many hosts at once"),
        _ => None,
    }
}

fn private_v6(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some("the machine itself"),
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Some("reserved for examples"),
        [0x2001, 0..=0x01ff, ..] | [0x2002, ..] => Some("a way into other networks"),
        [0x2000..=0x3fff, ..] => None,
        [0xfc00..=0xfdff, ..] => Some("a private network"),
        [0xfe80..=0xfebf, ..] => Some("the local link"),
        [0xff00..=0xffff, ..] => Some("many hosts at once"),
        _ => Some("not of the public internet"),
    }
}

/// Takes the template of an address apart.
pub(super) fn place(url: &str) -> Result<Place<'_>, Wrong> {
    let bad = |why| Wrong::Url { url: url.to_owned(), why };
    if url.bytes().any(|byte| byte <= b' ' || byte == b'\\' || byte >= 0x7f) {
        return Err(bad("write white space, \\ and what is not ASCII as %XX"));
    }
    let (plain, rest) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (false, rest),
        (None, Some(rest)) => (true, rest),
        (None, None) => return Err(bad("it must begin with https:// or http://")),
    };
    if rest.contains('#') {
        return Err(bad("what follows # is never sent"));
    }
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    if authority.contains('@') {
        return Err(bad("names and passwords are the operators' to set up"));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(inside) => {
            let (host, after) = inside.split_once(']').ok_or_else(|| bad("the [ has no ]"))?;
            (host, after.strip_prefix(':').or(after.is_empty().then_some("")))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("")),
        },
    };
    let port = match port.ok_or_else(|| bad("only a port can follow a ]"))? {
        "" if authority.ends_with(':') => return Err(bad("the port is missing")),
        "" => {
            if plain {
                80
            } else {
                443
            }
        }
        digits => digits
            .parse()
            .ok()
            .filter(|port| *port != 0 && !digits.starts_with(['0', '+']))
            .ok_or_else(|| bad("the port must be a number from 1 to 65535"))?,
    };
    if host.contains(['{', '}']) {
        return Ok(Place { plain, host: None, port });
    }
    check(host)?;
    Ok(Place { plain, host: Some(host), port })
}
