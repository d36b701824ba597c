//! The gate: the only way to a socket.
//!
//! A name is resolved once, every address that comes is checked, and the connection goes to an
//! address that was checked: a name that changes its mind in between changes nothing.
//!
//! *Provided:* no connection to what is not public, unless the operator named the host; none to the
//! node itself. *Not provided:* a judgement about public hosts, or about what they are asked.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use session_protocol::workload::manifest::Egress;
use tokio::net::TcpStream;
use tokio::time::timeout;

mod address;
mod url;

pub use url::Place;

pub(crate) use address::{Special, special};
pub(crate) use url::{BadUrl, Url};

/// Most addresses of one name that are looked at; a name with more is refused.
const ADDRESSES_MAX: usize = 32;
/// How long one address may take to take a connection, before the next is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A future of a [`Resolver`].
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Turns names into addresses.
pub trait Resolver: Send + Sync {
    /// Returns all addresses of a host.
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a>;
}

/// The resolver of the operating system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve<'a>(&'a self, host: &'a str) -> Resolving<'a> {
        Box::pin(async move {
            let addresses = tokio::net::lookup_host((host, 0)).await?;
            Ok(addresses.map(|address| address.ip()).collect())
        })
    }
}

/// Why something may not be reached.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Denied {
    #[error("the address is malformed: {0}")]
    Url(#[from] BadUrl),
    #[error("{0} is not in the manifest's egress list")]
    NotListed(Place),
    #[error("{0} may be reached by TLS only")]
    Plain(Place),
    #[error("{address} is special: {why:?}")]
    Special { address: IpAddr, why: Special },
    #[error("{0} is this node")]
    Own(SocketAddr),
    #[error("the name has more than {ADDRESSES_MAX} addresses")]
    TooManyAddresses,
    #[error("the redirect leads from https to http")]
    Downgrade,
    #[error("the header {0:?} may not be set")]
    Header(String),
    #[error("a secret for {0} would go out in the clear")]
    SecretInClear(Place),
    #[error("the template does not render: {0}")]
    Template(String),
    #[error("the operator does not let this store be written")]
    ReadOnly,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoWay {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("no address takes a connection")]
    Unreachable(#[source] io::Error),
}

/// See the [module](self).
pub(crate) struct Gate {
    /// Hosts that the operator opened although they are not public.
    opened: BTreeSet<Place>,
    /// Where this node listens.
    own: Vec<SocketAddr>,
    resolver: Arc<dyn Resolver>,
}

impl Gate {
    pub(crate) fn new(opened: BTreeSet<Place>, resolver: Arc<dyn Resolver>) -> Self {
        Self { opened, own: Vec::new(), resolver }
    }

    pub(crate) fn set_resolver(&mut self, resolver: Arc<dyn Resolver>) {
        self.resolver = resolver;
    }

    pub(crate) fn add_own(&mut self, own: impl IntoIterator<Item = SocketAddr>) {
        self.own.extend(own);
    }

    /// Returns whether the operator opened a host.
    pub(crate) fn is_open(&self, place: &Place) -> bool {
        self.opened.contains(place)
    }

    /// Checks an address of the web against what the manifest lists, before anything is asked of
    /// anybody.
    pub(crate) fn admit(&self, url: &Url, egress: &[Egress]) -> Result<(), Denied> {
        let of = |entry: &&Egress| *entry.host == url.place.host && entry.port == url.place.port;
        let mut entries = egress.iter().filter(of).peekable();
        if entries.peek().is_none() {
            return Err(Denied::NotListed(url.place.clone()));
        }
        if !url.tls && !entries.any(|entry| entry.plain) {
            return Err(Denied::Plain(url.place.clone()));
        }
        Ok(())
    }

    /// Resolves a host, checks all its addresses, and connects to one of them.
    pub(crate) async fn connect(&self, place: &Place) -> Result<TcpStream, NoWay> {
        let addresses = self.resolve(place).await?;
        let mut failed = io::Error::from(io::ErrorKind::NotFound);
        for address in addresses {
            let late = |_| io::Error::from(io::ErrorKind::TimedOut);
            let connected = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
            match connected.map_err(late).and_then(|connected| connected) {
                Ok(stream) => {
                    // Requests are small and whole; failing to say so costs only latency.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => failed = error,
            }
        }
        Err(NoWay::Unreachable(failed))
    }

    async fn resolve(&self, place: &Place) -> Result<Vec<SocketAddr>, NoWay> {
        let addresses = match place.host.parse::<IpAddr>() {
            Ok(literal) => vec![literal],
            Err(_) => self.resolver.resolve(&place.host).await.map_err(NoWay::Unreachable)?,
        };
        if addresses.len() > ADDRESSES_MAX {
            return Err(Denied::TooManyAddresses.into());
        }
        // One bad address among good ones is an attack, or a mistake that becomes one.
        for &address in &addresses {
            self.check(address, place)?;
        }
        Ok(addresses.into_iter().map(|address| (address, place.port).into()).collect())
    }

    fn check(&self, address: IpAddr, place: &Place) -> Result<(), Denied> {
        let opened = self.is_open(place);
        match special(address) {
            Some(why) if !(opened && why.may_be_opened()) => {
                return Err(Denied::Special { address, why });
            }
            _ => {}
        }
        let at = SocketAddr::new(address, place.port);
        let listens = |own: &SocketAddr| {
            own.port() == at.port()
                && (own.ip() == address || own.ip().is_unspecified() && is_this_machine(address))
        };
        // Other ports of this machine are as private as loopback: what runs there trusts it.
        if self.own.iter().any(listens) || !opened && is_this_machine(address) {
            return Err(Denied::Own(at));
        }
        Ok(())
    }
}

/// Returns whether an address is one of this machine's: what is sent there comes from there. Asks
/// only the routing table; nothing is sent.
fn is_this_machine(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let route = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((address, 9))?;
        socket.local_addr()
    });
    // No route: nobody is there.
    address.is_loopback() || route.is_ok_and(|route| route.ip() == address)
}

#[cfg(test)]
mod tests;
