//! The one HTTP request this program makes: GET on a node's local API.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const TIMEOUT: Duration = Duration::from_secs(2);

/// Answers are small; more than this is not one of ours.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;

/// Returns the body of a successful answer.
pub(crate) async fn get(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    tokio::time::timeout(TIMEOUT, exchange(address, path)).await?
}

async fn exchange(address: SocketAddr, path: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
    match head {
        Some(end) if answer.starts_with(b"HTTP/1.1 200") => Ok(answer.split_off(end + 4)),
        _ => Err(io::Error::other("not a successful answer")),
    }
}
