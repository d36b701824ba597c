//! Stands before a node's port and writes down every datagram, as who watches the line does.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

/// A datagram: who outside sent or got it, whether the node got it, and its bytes.
pub(crate) type Seen = (SocketAddr, bool, Vec<u8>);

/// A port that leads to a node.
#[derive(Clone)]
pub(crate) struct Tap {
    socket: Arc<UdpSocket>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    node: Option<SocketAddr>,
    seen: Vec<Seen>,
}

impl Tap {
    pub(crate) fn new() -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let tap = Self { socket, state: Arc::default() };
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
        loop {
            let Ok((length, from)) = self.socket.recv_from(&mut bytes) else { continue };
            let node = {
                let mut state = self.state.lock().unwrap();
                state.seen.push((from, true, bytes[..length].to_vec()));
                state.node
            };
            let port = ports.entry(from).or_insert_with(|| self.outward(from));
            // A node that is gone loses what is sent to it.
            let _ = node.map(|node| port.send_to(&bytes[..length], node));
        }
    }

    /// Carries what the node answers to one sender.
    fn outward(&self, to: SocketAddr) -> Arc<UdpSocket> {
        let port = Arc::new(UdpSocket::bind("127.0.0.1:0").unwrap());
        let (tap, reader) = (self.clone(), Arc::clone(&port));
        thread::spawn(move || {
            let mut bytes = [0; 65_536];
            loop {
                // Errors tell of a port that is closed for the moment.
                let Ok((length, _)) = reader.recv_from(&mut bytes) else { continue };
                tap.state.lock().unwrap().seen.push((to, false, bytes[..length].to_vec()));
                let _ = tap.socket.send_to(&bytes[..length], to);
            }
        });
        port
    }
}
