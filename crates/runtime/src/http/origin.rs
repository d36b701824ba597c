//! Which web pages may ask.

use std::net::IpAddr;

use super::Request;

/// Returns whether a page asks that may not: of another origin than this server's own, or one that
/// reached it under a name of its own making. Names can be made to lead to any address, this
/// machine's too; a page behind one is then of the "same" origin as the server. `allowed` are
/// origins that the operator trusts.
#[must_use]
pub fn is_foreign(request: &Request, allowed: &[String]) -> bool {
    let Some(origin) = request.header("origin") else { return false };
    if allowed.iter().any(|allowed| allowed == origin) {
        return false;
    }
    let own = origin.split_once("://").zip(request.header("host"));
    !own.is_some_and(|((_, page), host)| page.eq_ignore_ascii_case(host) && is_address(host))
}

/// Whether a host is an address, or this machine by its standing name.
fn is_address(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asks(host: &str, origin: Option<&str>) -> Request {
        let mut headers = vec![("host".to_owned(), host.to_owned())];
        headers.extend(origin.map(|origin| ("origin".to_owned(), origin.to_owned())));
        let remote = "127.0.0.1:1".parse().unwrap();
        Request::new("GET", "/", None, remote, headers, Vec::new())
    }

    #[test]
    fn only_pages_of_this_server_or_named_ones_may_ask() {
        assert!(!is_foreign(&asks("127.0.0.1:9653", None), &[]), "no page asks");
        assert!(!is_foreign(&asks("127.0.0.1:9653", Some("http://127.0.0.1:9653")), &[]));
        assert!(!is_foreign(&asks("localhost:9653", Some("http://localhost:9653")), &[]));
        assert!(!is_foreign(&asks("[::1]:9653", Some("http://[::1]:9653")), &[]));
        assert!(is_foreign(&asks("127.0.0.1:9653", Some("http://127.0.0.1:80")), &[]));
        assert!(is_foreign(
            &asks("rebound.example:9653", Some("http://rebound.example:9653")),
            &[]
        ));
        assert!(is_foreign(&asks("127.0.0.1:9653", Some("null")), &[]));
        let named = ["https://page.example".to_owned()];
        assert!(!is_foreign(&asks("127.0.0.1:9653", Some("https://page.example")), &named));
    }
}
