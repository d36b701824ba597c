//! Web pages: which may call.

use session_runtime::http::{Method, Request, Response};

/// Returns the origin of a request, if it is one of those that may call.
pub(super) fn allowed(request: &Request, origins: &[String]) -> Option<String> {
    let origin = request.header("origin")?;
    origins.iter().find(|allowed| *allowed == origin).cloned()
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
