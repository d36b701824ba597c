//! Joins the network side of a machine to the QUIC endpoint: the same things under two names.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use session_crypto::{DsaPublicKey, RealVerifier};
use session_network::{Class, ConnId, Input};
use session_protocol::inbound::Fault;
use session_protocol::puzzle::{Puzzle, Solution};
use session_protocol::{Checker, Inbound, Membership};
use session_runtime::BindError;
use session_runtime::quic::{self, Event, Options, PeerKey, Quic};
use tokio::net::lookup_host;
use tokio::sync::mpsc;

use crate::network::{Directory, Network};

/// What arrives in a frame.
type Payload = Result<Inbound, Fault>;

/// Addresses that were looked up, or views of the network, that wait for the task.
const NEWS_MAX: usize = 64;

/// How long the endpoint may take to say goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// How often the directory is asked who the nodes are.
const REFRESH: Duration = Duration::from_secs(60);

/// The endpoint of a client, as its machine sees it.
pub(crate) struct Link {
    quic: Quic<Payload>,
    conns: BTreeMap<ConnId, quic::ConnId>,
    checker: Arc<Checker>,
    directory: Option<Arc<dyn Directory>>,
    news: mpsc::Sender<News>,
}

/// What happened, for the machine.
pub(crate) enum Happened {
    /// On the network.
    Network(Input),
    /// The nodes are others now.
    Membership(Arc<dyn Membership>),
    /// The directory was asked, and nothing is new.
    SameMembership,
    /// A puzzle is solved, or was not in time.
    Solved { puzzle: Puzzle, solution: Option<Solution> },
}

/// Where what happened comes from.
pub(crate) struct Incoming {
    events: quic::Events<Payload>,
    news: mpsc::Receiver<News>,
    refresh: tokio::time::Interval,
}

/// What [`Incoming::next`] returns, for [`Link::take`].
pub(crate) enum Raw {
    Event(Event<Payload>),
    News(News),
    Refresh,
}

/// What was found out beside the task, so that a slow answer stops nothing else.
pub(crate) enum News {
    Resolved { dial: u64, address: Result<SocketAddr, String>, key: PeerKey },
    Asked(Option<Arc<dyn Membership>>),
    Solved { puzzle: Puzzle, solution: Option<Solution> },
}

impl Link {
    /// Opens an endpoint on a port of the system's choice. Must be called inside a tokio runtime.
    pub(crate) fn open(network: &Network) -> Result<(Self, Incoming), BindError> {
        let membership = network.membership.clone();
        let checker = Arc::new(Checker::new(membership, Arc::new(RealVerifier)));
        let options = Options::new(SocketAddr::from(([0, 0, 0, 0], 0)));
        let check = checker.clone();
        let decode: quic::Decode<Payload> = Arc::new(move |_, _, body| check.check(&body));
        let (quic, events) = Quic::bind(options, None, decode)?;
        let (news, incoming) = mpsc::channel(NEWS_MAX);
        let start = tokio::time::Instant::now() + REFRESH;
        let refresh = tokio::time::interval_at(start, REFRESH);
        let directory = network.directory.clone();
        let link = Self { quic, conns: BTreeMap::new(), checker, directory, news };
        Ok((link, Incoming { events, news: incoming, refresh }))
    }

    /// Turns what came in into what the machine is told; `None` if it is nothing to it.
    pub(crate) fn take(&mut self, raw: Raw) -> Option<Happened> {
        match raw {
            Raw::Event(event) => Some(Happened::Network(self.event(event))),
            Raw::News(News::Resolved { dial, address, key }) => {
                let dialed = address.and_then(|address| {
                    self.quic.dial(dial, address, Some(key)).map_err(|error| error.to_string())
                });
                let why = dialed.err()?;
                Some(Happened::Network(Input::DialFailed { dial, why }))
            }
            Raw::News(News::Asked(Some(membership))) => {
                self.checker.set_membership(membership.clone());
                Some(Happened::Membership(membership))
            }
            Raw::News(News::Solved { puzzle, solution }) => {
                Some(Happened::Solved { puzzle, solution })
            }
            Raw::News(News::Asked(None)) => Some(Happened::SameMembership),
            Raw::Refresh => {
                self.ask_directory();
                None
            }
        }
    }

    fn event(&mut self, event: Event<Payload>) -> Input {
        match event {
            Event::Connected { conn, inbound, remote, peer_key, exporter, dial } => {
                let name = ConnId(conn.into());
                self.conns.insert(name, conn);
                let peer_key = peer_key.map(|key| DsaPublicKey::from(*key));
                let remote = remote.ip();
                Input::Connected { conn: name, inbound, remote, peer_key, exporter, dial }
            }
            Event::Frame { conn, class, size, payload } => {
                let class = class_in(class);
                Input::Frame { conn: ConnId(conn.into()), class, size, frame: payload }
            }
            Event::Disconnected { conn, .. } => {
                let conn = ConnId(conn.into());
                self.conns.remove(&conn);
                Input::Disconnected { conn }
            }
            Event::DialFailed { dial, why } => Input::DialFailed { dial, why: why.to_string() },
        }
    }

    /// Asks who the nodes are; tells whether there is anybody to ask.
    pub(crate) fn ask_directory(&self) -> bool {
        let Some(directory) = self.directory.clone() else { return false };
        let news = self.news.clone();
        tokio::spawn(async move {
            let asked = directory.ask().await;
            // Nobody is left to tell when the program ends.
            let _ = news.send(News::Asked(asked)).await;
        });
        true
    }

    pub(crate) fn dial(&self, dial: u64, address: String, key: &DsaPublicKey) {
        let (news, key) = (self.news.clone(), Box::new(*key.as_bytes()));
        tokio::spawn(async move {
            let address = match lookup_host(&address).await {
                Ok(mut found) => found.next().ok_or_else(|| format!("{address} has no address")),
                Err(error) => Err(format!("{address}: {error}")),
            };
            // Nobody is left to tell when the program ends.
            let _ = news.send(News::Resolved { dial, address, key }).await;
        });
    }

    /// Solves a puzzle, one after another: seconds of work, and 4 MiB.
    pub(crate) fn solve(&self, puzzle: Puzzle) {
        static ONE: Mutex<()> = Mutex::new(());
        let news = self.news.clone();
        tokio::task::spawn_blocking(move || {
            let _turn = ONE.lock().unwrap_or_else(PoisonError::into_inner);
            let solution = puzzle.solve();
            // Nobody is left to tell when the program ends.
            let _ = news.blocking_send(News::Solved { puzzle, solution });
        });
    }

    pub(crate) fn send(&self, conn: ConnId, class: Class, frame: Vec<u8>) {
        if let Some(conn) = self.conns.get(&conn) {
            // A full queue closes the connection, which is an event of its own.
            let _ = self.quic.send(*conn, class_out(class), frame);
        }
    }

    pub(crate) fn close(&self, conn: ConnId, why: String) {
        if let Some(conn) = self.conns.get(&conn) {
            self.quic.close(*conn, why);
        }
    }

    /// Closes everything; waits a moment so that the nodes hear of it.
    pub(crate) async fn shutdown(self) {
        self.quic.shutdown(GOODBYE).await;
    }
}

impl Incoming {
    /// Waits for what comes next; dropping the future loses nothing. `None` once the endpoint is gone.
    pub(crate) async fn next(&mut self) -> Option<Raw> {
        tokio::select! {
            event = self.events.recv() => event.map(Raw::Event),
            Some(news) = self.news.recv() => Some(Raw::News(news)),
            _ = self.refresh.tick() => Some(Raw::Refresh),
        }
    }

    /// Returns what came in already.
    pub(crate) fn try_next(&mut self) -> Option<Raw> {
        self.events.try_recv().map(Raw::Event)
    }
}

const fn class_in(class: quic::Class) -> Class {
    match class {
        quic::Class::Interactive => Class::Interactive,
        quic::Class::Bulk => Class::Bulk,
        quic::Class::Datagram => Class::Datagram,
    }
}

const fn class_out(class: Class) -> quic::Class {
    match class {
        Class::Interactive => quic::Class::Interactive,
        Class::Bulk => quic::Class::Bulk,
        Class::Datagram => quic::Class::Datagram,
    }
}
