use std::net::SocketAddr;

use super::{Request, Response};

#[test]
fn a_request_keeps_what_http_allows() {
    let headers = [("X-One", "1"), ("bad name", "2"), ("x-bad", "a\r\nb"), ("x-one", "3")];
    let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let remote = SocketAddr::from(([127, 0, 0, 1], 1));
    let request = Request::new("PATCH", "/a", Some("b".into()), remote, headers, vec![7]);
    assert_eq!((request.method.as_str(), request.path.as_str()), ("PATCH", "/a"));
    assert_eq!(request.header("x-ONE"), Some("1"));
    assert_eq!(request.headers().collect::<Vec<_>>(), [("x-one", "1"), ("x-one", "3")]);
    assert_eq!((request.query.as_deref(), request.body.as_slice()), (Some("b"), &[7][..]));
    let request = Request::new("G T", "/", None, remote, Vec::new(), Vec::new());
    assert_eq!(request.method.as_str(), "INVALID");
}

#[test]
fn a_response_can_be_taken_apart() {
    let response = Response::json(201, "{}").with_header("x", "1").with_header("x", "2");
    assert_eq!((response.status(), response.content_type()), (201, "application/json"));
    assert_eq!(response.headers().collect::<Vec<_>>(), [("x", "1"), ("x", "2")]);
    assert_eq!(response.into_body().into_bytes().as_deref(), Some(&b"{}"[..]));
    let (_sender, pieces) = tokio::sync::mpsc::channel(1);
    assert_eq!(Response::stream("text/plain", pieces).into_body().into_bytes(), None);
}
