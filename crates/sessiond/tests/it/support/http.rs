use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A whole response.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
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

/// Sends a request and reads the response to the end of the connection.
pub(crate) fn request(
    to: SocketAddr,
    method: &str,
    path: &str,
    content: &str,
    body: &[u8],
) -> Answer {
    let mut reader = open(to, method, path, content, body);
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a response has a head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap();
    Answer { status, head: head.to_lowercase(), body: bytes[end + 4..].to_vec() }
}

/// Sends a request and returns the connection, to be read as it comes.
pub(crate) fn open(
    to: SocketAddr,
    method: &str,
    path: &str,
    content: &str,
    body: &[u8],
) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-type: {content}\r\n\
         content-length: {length}\r\n\r\n"
    )
    .unwrap();
    // A server that refuses early may stop reading.
    let _ = stream.write_all(body);
    let mut reader = BufReader::new(stream);
    reader.fill_buf().unwrap();
    reader
}

/// Makes a JSON-RPC call to a node that may end at any moment; `None` when it does.
pub(crate) fn try_post(to: SocketAddr, call: &Value) -> Option<Value> {
    let body = call.to_string();
    let mut stream = TcpStream::connect(to).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    let length = body.len();
    let head = "POST / HTTP/1.1\r\nhost: test\r\nconnection: close";
    write!(
        stream,
        "{head}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .ok()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).ok()?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    // An answer that was cut off is none.
    serde_json::from_slice(&bytes[end + 4..]).ok()
}

/// Makes a JSON-RPC call.
pub(crate) fn post(to: SocketAddr, call: &Value) -> Value {
    let answer = request(to, "POST", "/rpc", "application/json", call.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}
