use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};

use serde_json::{Value, json};

use super::PATIENCE;

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Sends bytes as they are; `None` when there is no whole answer.
pub(crate) fn raw(to: SocketAddr, bytes: &[u8]) -> Option<Answer> {
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    stream.set_write_timeout(Some(PATIENCE)).ok()?;
    // A server that refuses early may stop reading.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    // It may also cut off a client that still writes, after it has answered.
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(answer[..end].to_vec()).ok()?.to_lowercase();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let body = answer.split_off(end + 4);
    // An answer that was cut off is none.
    let whole = length.is_none_or(|length| length.parse() == Ok(body.len()));
    whole.then_some(Answer { status, head, body })
}

/// Sends a request; `None` when there is no whole answer.
pub(crate) fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &str,
    body: &[u8],
) -> Option<Answer> {
    let mut bytes = format!(
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\
         content-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    raw(to, &bytes)
}

pub(crate) fn get(to: SocketAddr, path: &str) -> Answer {
    request(to, "GET", path, "", b"").unwrap_or_else(|| panic!("no answer to {path}"))
}

/// Posts a body to the calls.
pub(crate) fn post(to: SocketAddr, body: &[u8]) -> Answer {
    request(to, "POST", "/rpc", "content-type: application/json\r\n", body).expect("an answer")
}

/// Makes a call to a program that may end at any moment; `None` when it does. The response is
/// checked against JSON-RPC 2.0.
pub(crate) fn try_call(to: SocketAddr, method: &str, params: &Value) -> Option<Value> {
    let call = json!({"jsonrpc": "2.0", "id": method, "method": method, "params": params});
    let json = "content-type: application/json\r\n";
    let answer = request(to, "POST", "/rpc", json, call.to_string().as_bytes())?;
    assert_eq!(answer.status, 200, "{answer:?}");
    let response = answer.json();
    assert_eq!((&response["jsonrpc"], &response["id"]), (&json!("2.0"), &json!(method)));
    let members = response.as_object().unwrap();
    assert_eq!(members.len(), 3, "{response}");
    assert!(members.contains_key("result") != members.contains_key("error"), "{response}");
    Some(response)
}

/// Makes a call.
pub(crate) fn call(to: SocketAddr, method: &str, params: &Value) -> Value {
    try_call(to, method, params).expect("an answer")
}
