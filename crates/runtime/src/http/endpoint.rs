//! Where a client goes: `http://host:port/prefix`, and nothing else of what a URL may be.

use std::fmt;
use std::str::FromStr;

/// The longest text that is read as an endpoint.
const TEXT_BYTES_MAX: usize = 2048;

/// Where an HTTP server listens, and below which path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// A name, an IPv4 address, or an IPv6 address without its brackets.
    host: String,
    port: u16,
    /// Empty, or a path that starts with a slash and does not end with one.
    prefix: String,
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadEndpoint {
    /// TLS is not spoken here.
    #[error("{scheme} is not supported, only plain http: put a local proxy in front of the server")]
    Encrypted {
        /// The scheme.
        scheme: String,
    },
    /// It does not start with the scheme.
    #[error("it does not start with {expected}://")]
    Scheme {
        /// The scheme that it should have.
        expected: &'static str,
    },
    /// The host is missing, or holds what no host holds.
    #[error("the host is missing or malformed")]
    Host,
    /// The port is no number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// The path holds blanks, control characters or other than ASCII.
    #[error("the path holds a character that has to be escaped")]
    Path,
    /// There is a query or a fragment.
    #[error("a query or a fragment is not allowed here")]
    Query,
    /// A name and a password are not sent.
    #[error("a user name or a password is not allowed here")]
    User,
    /// The text is too long.
    #[error("it is {got} bytes long, the limit is {limit}")]
    TooLong {
        /// Its length.
        got: usize,
        /// The limit.
        limit: usize,
    },
}

impl Endpoint {
    /// Reads `http://host[:port][/prefix]`; the port is 80 when there is none.
    ///
    /// # Errors
    /// When the text is anything else; `https` is refused by name.
    pub fn parse(text: &str) -> Result<Self, BadEndpoint> {
        Self::parse_as(text, "http", "https")
    }

    /// Reads `plain://host[:port][/prefix]`.
    pub(super) fn parse_as(
        text: &str,
        plain: &'static str,
        encrypted: &'static str,
    ) -> Result<Self, BadEndpoint> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(BadEndpoint::TooLong { got: text.len(), limit: TEXT_BYTES_MAX });
        }
        let (scheme, rest) =
            text.split_once("://").ok_or(BadEndpoint::Scheme { expected: plain })?;
        if scheme.eq_ignore_ascii_case(encrypted) {
            return Err(BadEndpoint::Encrypted { scheme: encrypted.to_owned() });
        }
        if !scheme.eq_ignore_ascii_case(plain) {
            return Err(BadEndpoint::Scheme { expected: plain });
        }
        if rest.contains(['?', '#']) {
            return Err(BadEndpoint::Query);
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(BadEndpoint::User);
        }
        let (host, port) = split_authority(authority)?;
        if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadEndpoint::Path);
        }
        let prefix = path.trim_end_matches('/').to_owned();
        Ok(Self { host: host.to_owned(), port, prefix })
    }

    /// Returns the host; an IPv6 address has no brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns what a `Host` header says.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Returns a path below the prefix; `path` starts with a slash or is empty.
    #[must_use]
    pub fn path(&self, path: &str) -> String {
        match (self.prefix.as_str(), path) {
            ("", "") => "/".to_owned(),
            (prefix, path) => format!("{prefix}{path}"),
        }
    }
}

fn split_authority(authority: &str) -> Result<(&str, u16), BadEndpoint> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(BadEndpoint::Host)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| BadEndpoint::Host)?;
            match port.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None if port.is_empty() => (host, None),
                None => return Err(BadEndpoint::Port),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    if host.is_empty() || !(authority.starts_with('[') || host.bytes().all(allowed)) {
        return Err(BadEndpoint::Host);
    }
    let port = match port {
        None => 80,
        Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => {
            port.parse().ok().filter(|port| *port != 0).ok_or(BadEndpoint::Port)?
        }
        Some(_) => return Err(BadEndpoint::Port),
    };
    Ok((host, port))
}

impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        Self::parse(text)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "http://{}{}", self.authority(), self.prefix)
    }
}

#[cfg(test)]
mod tests;
