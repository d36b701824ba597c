//! Addresses of the web, read so strictly that everybody reads them alike.
//!
//! What URL parsers disagree about is refused: user names, backslashes, white space, dot segments,
//! hosts of other letters than ASCII, and numbers that some take for an IPv4 address.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The longest address: what the longest template can become.
const BYTES_MAX: usize = 8192;
/// The longest name of a host.
const HOST_BYTES_MAX: usize = 253;

/// Why a text is no address that can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BadUrl {
    #[error("it is longer than {BYTES_MAX} bytes")]
    TooLong,
    #[error("it holds a character that has to be escaped")]
    Character,
    #[error("it starts with neither https:// nor http://")]
    Scheme,
    #[error("it holds a user name")]
    User,
    #[error("the host is missing, or not a name or an address in its usual form")]
    Host,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("the path holds . or ..")]
    Dots,
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// A name in lower case, or an address; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// An address that can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whether TLS is spoken.
    pub(crate) tls: bool,
    pub(crate) place: Place,
    /// Path and query.
    pub(crate) target: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self, BadUrl> {
        if text.len() > BYTES_MAX {
            return Err(BadUrl::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\' && byte != b'#') {
            return Err(BadUrl::Character);
        }
        let (scheme, rest) = text.split_once("://").ok_or(BadUrl::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(BadUrl::Scheme),
        };
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(BadUrl::User);
        }
        let place = authority_of(authority, if tls { 443 } else { 80 })?;
        let target = match target.starts_with('/') {
            true => target.to_owned(),
            false => format!("/{target}"),
        };
        let path = target.split_once('?').map_or(target.as_str(), |(path, _)| path);
        if path.split('/').any(is_dots) {
            return Err(BadUrl::Dots);
        }
        Ok(Self { tls, place, target })
    }

    /// Reads where a redirect leads.
    pub(crate) fn join(&self, location: &str) -> Result<Self, BadUrl> {
        let location = location.split_once('#').map_or(location, |(location, _)| location);
        let scheme = if self.tls { "https" } else { "http" };
        let path = self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path);
        let start = location.find(['/', '?', ':']).unwrap_or(location.len());
        if location[start..].starts_with(':') {
            Self::parse(location)
        } else if location.starts_with("//") {
            Self::parse(&format!("{scheme}:{location}"))
        } else if location.starts_with('/') {
            Self::parse(&format!("{self}{location}"))
        } else if location.starts_with('?') || location.is_empty() {
            Self::parse(&format!("{self}{path}{location}"))
        } else {
            let folder = &path[..path.rfind('/').map_or(0, |at| at + 1)];
            Self::parse(&format!("{self}{folder}{location}"))
        }
    }

    /// Returns the path without the query.
    pub(crate) fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// Returns what a `Host` header says.
    pub(crate) fn authority(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        match self.place.port == usual {
            true => self.place.bracketed(),
            false => self.place.to_string(),
        }
    }
}

/// Scheme and place, as they go before a path.
impl fmt::Display for Url {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", if self.tls { "https" } else { "http" }, self.place)
    }
}

impl Place {
    /// Reads `host:port`, with an IPv6 address in brackets. Returns `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        Self::new(host, port_of(port).ok()?)
    }

    /// Takes a host as an address of the web has it.
    pub(crate) fn new(host: &str, port: u16) -> Option<Self> {
        host_of(host).ok().map(|host| Self { host, port })
    }

    fn bracketed(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.bracketed(), self.port)
    }
}

fn authority_of(text: &str, usual: u16) -> Result<Place, BadUrl> {
    let after_host = text.find(']').unwrap_or(0);
    let (host, port) = match text[after_host..].find(':') {
        Some(colon) => {
            let (host, port) = text.split_at(after_host + colon);
            (host, port_of(&port[1..])?)
        }
        None => (text, usual),
    };
    Ok(Place { host: host_of(host)?, port })
}

fn port_of(text: &str) -> Result<u16, BadUrl> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.then(|| text.parse().ok()).flatten();
    port.filter(|port| *port != 0).ok_or(BadUrl::Port)
}

fn host_of(text: &str) -> Result<String, BadUrl> {
    if let Some(inside) = text.strip_prefix('[') {
        let inside = inside.strip_suffix(']').ok_or(BadUrl::Host)?;
        let address: Ipv6Addr = inside.parse().map_err(|_| BadUrl::Host)?;
        return Ok(address.to_string());
    }
    let host = text.to_ascii_lowercase();
    if host.len() > HOST_BYTES_MAX || !host.split('.').all(is_label) {
        return Err(BadUrl::Host);
    }
    // Resolvers take 2130706433, 0x7f.1, 0177.0.0.1 and 127.1 for addresses. No public name ends in
    // a number.
    let last = host.rsplit('.').next().unwrap_or_default();
    if !is_number(last) {
        return Ok(host);
    }
    let address: Ipv4Addr = host.parse().map_err(|_| BadUrl::Host)?;
    Ok(address.to_string())
}

fn is_label(label: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len()) && label.bytes().all(good)
}

fn is_number(label: &str) -> bool {
    let hexadecimal = label.strip_prefix("0x");
    hexadecimal.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
        || label.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_dots(segment: &str) -> bool {
    // Some servers take escaped slashes and backslashes for slashes.
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    plain.split("%2f").flat_map(|part| part.split("%5c")).any(|part| part == "." || part == "..")
}

#[cfg(test)]
mod tests;
