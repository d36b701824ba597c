//! `host:port` texts.

use core::fmt;
use core::str::FromStr;

/// Longest host name of the DNS.
const HOST_CHARACTERS_MAX: usize = 253;

/// Why a text is not `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadAddress {
    /// No colon, or nothing after it.
    #[error("{text:?} has no port: write host:port")]
    NoPort {
        /// The refused text.
        text: String,
    },
    /// The port is not a number in range.
    #[error("{text:?}: the port must be a number from {min} to 65535")]
    Port {
        /// The refused text.
        text: String,
        /// The lowest port.
        min: u16,
    },
    /// The host is empty, too long, or has characters that no host has.
    #[error("{text:?}: the host must be a name, an IPv4 address, or an IPv6 address in brackets")]
    Host {
        /// The refused text.
        text: String,
    },
}

/// A host and a port where something can be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// Returns the host, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Returns the port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for HostPort {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let (host, port) = split(text, 1)?;
        if host.is_empty() {
            return Err(BadAddress::Host { text: text.to_owned() });
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

/// Where to listen: `host:port`, or `:port` for all IPv4 interfaces, as in Go. Port 0 lets the
/// system choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    host: String,
    port: u16,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl FromStr for Listen {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let (host, port) = split(text, 0)?;
        let host = if host.is_empty() { "0.0.0.0" } else { host };
        Ok(Self { host: host.to_owned(), port })
    }
}

fn split(text: &str, min: u16) -> Result<(&str, u16), BadAddress> {
    let no_port = || BadAddress::NoPort { text: text.to_owned() };
    let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
    if port.is_empty() {
        return Err(no_port());
    }
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|port| digits && *port >= min);
    let port = port.ok_or_else(|| BadAddress::Port { text: text.to_owned(), min })?;
    if is_host(host) { Ok((host, port)) } else { Err(BadAddress::Host { text: text.to_owned() }) }
}

// An empty host is the caller's business.
fn is_host(host: &str) -> bool {
    if let Some(inner) = host.strip_prefix('[') {
        return inner.strip_suffix(']').is_some_and(|ip| ip.parse::<core::net::Ipv6Addr>().is_ok());
    }
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    host.len() <= HOST_CHARACTERS_MAX && host.bytes().all(named)
}

#[cfg(test)]
mod tests;
