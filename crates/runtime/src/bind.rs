//! Why a socket could not be opened, in one line for an operator.

use std::io;
use std::net::SocketAddr;

use crate::quic::TlsError;

/// Why an address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// Another process holds the port.
    #[error("address {0} is in use")]
    InUse(SocketAddr),
    /// No interface of this machine has the address.
    #[error("address {0} does not belong to this machine")]
    NotOurs(SocketAddr),
    /// The port is reserved for a privileged user.
    #[error("no permission to listen on {0}")]
    NoPermission(SocketAddr),
    /// The operating system refused for another reason.
    #[error("cannot listen on {address}: {source}")]
    Io {
        /// The address asked for.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// The TLS configuration is impossible.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl BindError {
    pub(crate) fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::AddrNotAvailable => Self::NotOurs(address),
            io::ErrorKind::PermissionDenied => Self::NoPermission(address),
            _ => Self::Io { address, source },
        }
    }
}
