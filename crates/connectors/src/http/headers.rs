//! Which headers a request may carry.

use hyper::header::{HeaderName, HeaderValue};
use session_protocol::workload::manifest::Header;
use session_protocol::workload::oracle::Parameter;
use session_protocol::workload::template::{Escape, render};

use crate::gate::Denied;

/// Headers that a manifest may set.
const ALLOWED: &[&str] = &[
    "accept",
    "accept-language",
    "api-version",
    "cache-control",
    "content-language",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "prefer",
    "user-agent",
];

/// Headers `x-…` that servers and their proxies believe more than they should.
const FORGED: &[&str] = &[
    "x-amz-",
    "x-aws-",
    "x-client-",
    "x-cluster-client-",
    "x-envoy-",
    "x-forwarded",
    "x-goog-",
    "x-google-",
    "x-host",
    "x-http-",
    "x-method-",
    "x-ms-",
    "x-original-",
    "x-real-ip",
    "x-remote-",
    "x-rewrite-",
];

/// Renders the headers of a manifest.
pub(super) fn render_all(
    headers: &[Header],
    parameters: &[Parameter],
) -> Result<Vec<(HeaderName, HeaderValue)>, Denied> {
    headers.iter().map(|header| render_one(header, parameters)).collect()
}

fn render_one(
    header: &Header,
    parameters: &[Parameter],
) -> Result<(HeaderName, HeaderValue), Denied> {
    let refused = || Denied::Header(header.name.to_string());
    if !is_allowed(&header.name) {
        return Err(refused());
    }
    let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| refused())?;
    let value = render(&header.value, parameters, Escape::None);
    let value = value.map_err(|error| Denied::Template(error.to_string()))?;
    // Refuses line breaks: nobody adds a header by a value.
    let value = HeaderValue::from_str(&value).map_err(|_| refused())?;
    Ok((name, value))
}

/// Returns whether a header, in lower case, may be set by a manifest.
fn is_allowed(name: &str) -> bool {
    let extension = name.starts_with("x-") && !FORGED.iter().any(|start| name.starts_with(start));
    ALLOWED.contains(&name) || extension
}

/// Returns whether a header may go to another host than the one that it was meant for.
pub(super) fn follows_everywhere(name: &HeaderName) -> bool {
    matches!(name.as_str(), "accept" | "accept-language" | "accept-encoding" | "user-agent")
}

#[cfg(test)]
mod tests;
