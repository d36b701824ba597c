//! Stands before a node's port: writes down every datagram, as who watches the line does, or makes
//! the line as long as wanted.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A datagram: who outside sent or got it, whether the node got it, and its bytes.
pub(crate) type Seen = (SocketAddr, bool, Vec<u8>);

/// A port that leads to a node.
#[derive(Clone)]
pub(crate) struct Tap {
    socket: Arc<UdpSocket>,
    state: Arc<Mutex<State>>,
    /// How long each datagram takes, either way; then nothing is written down.
    delay: Option<Duration>,
}

#[derive(Default)]
struct State {
    node: Option<SocketAddr>,
    seen: Vec<Seen>,
}

/// A datagram on its way: when it arrives, over which socket, and where.
type Flying = (Instant, Arc<UdpSocket>, SocketAddr, Vec<u8>);

impl Tap {
    pub(crate) fn new() -> Self {
        Self::start(None)
    }

    /// A line on which every datagram takes so long, either way.
    #[allow(dead_code)] // the example uses it
    pub(crate) fn slow(delay: Duration) -> Self {
        Self::start(Some(delay))
    }

    fn start(delay: Option<Duration>) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let tap = Self { socket, state: Arc::default(), delay };
        let inward = tap.clone();
        // Ends with the process.
        thread::spawn(move || inward.inward());
        tap
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    /// Says where the node listens.
    pub(crate) fn leads_to(&self, node: SocketAddr) {
        self.state.lock().unwrap().node = Some(node);
    }

    /// Returns what was seen so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Carries datagrams to the node, those of each sender from a port of its own.
    fn inward(&self) {
        let (mut bytes, mut ports) = ([0; 65_536], BTreeMap::<SocketAddr, Arc<UdpSocket>>::new());
        let line = self.delay.map(|_| line());
        loop {
            let Ok((length, from)) = self.socket.recv_from(&mut bytes) else { continue };
            let node = self.note(from, true, &bytes[..length]);
            let port = ports.entry(from).or_insert_with(|| self.outward(from));
            // A node that is gone loses what is sent to it.
            let _ = node.map(|node| self.carry(line.as_ref(), port, node, &bytes[..length]));
        }
    }

    /// Carries what the node answers to one sender.
    fn outward(&self, to: SocketAddr) -> Arc<UdpSocket> {
        let port = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let (tap, reader) = (self.clone(), Arc::clone(&port));
        thread::spawn(move || {
            let mut bytes = [0; 65_536];
            let line = tap.delay.map(|_| line());
            loop {
                // Errors tell of a port that is closed for the moment.
                let Ok((length, _)) = reader.recv_from(&mut bytes) else { continue };
                tap.note(to, false, &bytes[..length]);
                tap.carry(line.as_ref(), &tap.socket, to, &bytes[..length]);
            }
        });
        port
    }

    /// Writes a datagram down; returns where the node is.
    fn note(&self, outside: SocketAddr, inward: bool, bytes: &[u8]) -> Option<SocketAddr> {
        let mut state = self.state.lock().unwrap();
        if self.delay.is_none() {
            state.seen.push((outside, inward, bytes.to_vec()));
        }
        state.node
    }

    #[allow(clippy::disallowed_methods)] // a stopwatch
    fn carry(
        &self,
        line: Option<&Sender<Flying>>,
        socket: &Arc<UdpSocket>,
        to: SocketAddr,
        bytes: &[u8],
    ) {
        match (line, self.delay) {
            (Some(line), Some(delay)) => {
                let flying = (Instant::now() + delay, Arc::clone(socket), to, bytes.to_vec());
                // The other end stays for as long as this one.
                let _ = line.send(flying);
            }
            // Lost on the way, as it may be.
            _ => drop(socket.send_to(bytes, to)),
        }
    }
}

/// A thread that hands over datagrams when they have flown long enough.
#[allow(clippy::disallowed_methods)] // a stopwatch
fn line() -> Sender<Flying> {
    let (sender, flying): (_, Receiver<Flying>) = channel();
    thread::spawn(move || {
        for (at, socket, to, bytes) in flying {
            thread::sleep(at.saturating_duration_since(Instant::now()));
            // Lost on the way, as it may be.
            let _ = socket.send_to(&bytes, to);
        }
    });
    sender
}
