//! Web pages: which may call.

use std::net::IpAddr;

use session_runtime::http::{Method, Request, Response};

/// Returns the origin of a request, if it is one of those that may call.
pub(super) fn allowed(request: &Request, origins: &[String]) -> Option<String> {
    let origin = request.header("origin")?;
    origins.iter().find(|allowed| *allowed == origin).cloned()
}

/// Returns whether a page asks that may not: of another origin than this server's own, or one that
/// reached it under a name of its own making. Names can be made to lead to any address, this
/// machine's too; a page behind one is then of the "same" origin as the server.
pub(super) fn is_refused(request: &Request, origins: &[String]) -> bool {
    let Some(origin) = request.header("origin") else { return false };
    if origins.iter().any(|allowed| allowed == origin) {
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

/// Answers a page that may not call.
pub(super) fn refuse() -> Response {
    Response::text(
        403,
        "pages of this origin may not call: the operator names some in corsOrigins\n",
    )
}

/// Returns whether a browser asks what it may send.
pub(super) fn is_preflight(request: &Request) -> bool {
    request.method == Method::OPTIONS && request.header("access-control-request-method").is_some()
}

/// Answers what a page may send.
pub(super) fn preflight() -> Response {
    Response::new(204, "text/plain", "")
        .with_header("access-control-allow-methods", "GET, POST")
        .with_header("access-control-allow-headers", "content-type")
        .with_header("access-control-max-age", "600")
}

/// Lets the page of `origin` read a response.
pub(super) fn open(response: Response, origin: String) -> Response {
    response.with_header("access-control-allow-origin", origin).with_header("vary", "origin")
}
