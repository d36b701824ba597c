//! Everything that goes over the loopback interface, read from a packet socket.

use std::io::Read as _;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::thread;

use socket2::{Domain, Protocol, Socket, Type};

/// Of all that a packet socket could bring, IPv4, in the order of the wire.
const ETH_P_IP: u16 = 0x0800;

/// A UDP datagram: the ports that it came from and went to, and its bytes.
pub(crate) type Datagram = (u16, u16, Vec<u8>);

/// What was seen so far.
#[derive(Clone)]
pub(crate) struct Capture(Arc<Mutex<Vec<Datagram>>>);

impl Capture {
    /// Begins to read. Fails where the process may not open packet sockets.
    pub(crate) fn start() -> std::io::Result<Self> {
        let protocol = Protocol::from(i32::from(ETH_P_IP.to_be()));
        // From the IP header on; each packet once, when it is received.
        let mut socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(protocol))?;
        socket.set_recv_buffer_size(64 << 20)?;
        let capture = Self(Arc::default());
        let seen = Arc::clone(&capture.0);
        // Ends with the process.
        thread::spawn(move || {
            let mut bytes = [0; 65_536];
            while let Ok(length) = socket.read(&mut bytes) {
                seen.lock().unwrap().extend(datagram(&bytes[..length]));
            }
        });
        Ok(capture)
    }

    /// Returns the datagrams so far.
    pub(crate) fn seen(&self) -> Vec<Datagram> {
        self.0.lock().unwrap().clone()
    }
}

/// Takes a datagram out of an IPv4 packet.
fn datagram(packet: &[u8]) -> Option<Datagram> {
    let header = usize::from(packet.first()? & 0x0f) * 4;
    let udp = packet.get(header..).filter(|_| packet.get(9) == Some(&17))?;
    let word = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    let (from, to, length) = (word(0)?, word(2)?, usize::from(word(4)?));
    Some((from, to, udp.get(8..length)?.to_vec()))
}

/// Makes the loopback interface like a line of the internet: 1,500 bytes at a time, and each datagram
/// by itself, where the kernel would hand several over as one.
const LINE: &str = "ip link set lo up mtu 1500 gso_max_segs 1";

/// Runs a test of this program again in a network of its own, where nothing is but what it starts,
/// with a variable set. `None` where that cannot be had.
pub(crate) fn alone(test: &str, variable: &str) -> Option<ExitStatus> {
    let unshare = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--net", "sh", "-c", script]);
        command
    };
    let possible = unshare(LINE).output().is_ok_and(|output| output.status.success());
    let script = format!("{LINE} && exec \"$0\" \"$@\"");
    possible.then(|| {
        let mut command = unshare(&script);
        command.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--nocapture"]);
        command.env(variable, "1").status().unwrap()
    })
}
