//! Connections to where a host says that it listens.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::time::Duration;

/// How much is read and thrown away at the end of a connection, in reads of a small buffer.
const DRAIN_READS_MAX: usize = 1024;
/// How long each of these reads may take.
const DRAIN_TIME: Duration = Duration::from_millis(250);

/// A blocking connection to a service of the host.
///
/// It ends with a FIN, never with a reset, for a reset makes luxd's reader spin: nothing is left
/// unread in it when it is closed.
#[derive(Debug)]
pub(super) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Connects to `host:port`, or to a unix socket when the address contains a slash or starts
    /// with an at sign. Every later read and write may take `patience`.
    pub(super) fn dial(address: &str, patience: Duration) -> io::Result<Self> {
        let stream = match address.strip_prefix('@') {
            Some(name) => Self::Unix(UnixStream::connect_addr(&abstract_address(name)?)?),
            None if address.contains('/') => Self::Unix(UnixStream::connect(address)?),
            None => Self::Tcp(dial_tcp(address, patience)?),
        };
        stream.be_patient(patience)?;
        Ok(stream)
    }

    fn be_patient(&self, patience: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))
            }
            Self::Unix(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.set_write_timeout(Some(patience))
            }
        }
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &str) -> io::Result<UnixAddr> {
    use std::os::linux::net::SocketAddrExt;
    UnixAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_name: &str) -> io::Result<UnixAddr> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "abstract unix sockets exist on Linux only"))
}

fn dial_tcp(address: &str, patience: Duration) -> io::Result<TcpStream> {
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, patience) {
            Ok(stream) => {
                // Requests are small and waited for; failing to say so costs only latency.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.flush(),
            Self::Unix(stream) => stream.flush(),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let ended = match self {
            Self::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Self::Unix(stream) => stream.shutdown(Shutdown::Write),
        };
        if ended.is_err() || self.be_patient(DRAIN_TIME).is_err() {
            return; // It is broken already.
        }
        let mut sink = [0; 4096];
        for _ in 0..DRAIN_READS_MAX {
            if !matches!(self.read(&mut sink), Ok(1..)) {
                break;
            }
        }
    }
}
