//! A client that makes its packets by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use session_core::{Decode as _, Encode as _, Entropy as _, List, NodeId, SeededEntropy};
use session_network::onion::{Order, Packet, Path, Service, Size};
use session_network::{Class, From};
use session_protocol::onion::{ExitAnswer, service};
use session_protocol::request::{Operation, Reply, Request};
use session_protocol::{Inbound, Kind, Membership};

use super::line::{Heard, Line};

/// A client with a connection to one node.
pub(crate) struct Asker {
    line: Line,
    node: NodeId,
}

impl Asker {
    /// Connects to a node.
    pub(crate) async fn connect(membership: Arc<dyn Membership>, node: NodeId) -> Self {
        let mut line = Line::client(membership);
        line.connected(node).await;
        Self { line, node }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.line.address()
    }

    pub(crate) fn rng(&mut self) -> &mut SeededEntropy {
        &mut self.line.rng
    }

    /// Asks the node itself.
    pub(crate) async fn ask(&mut self, request: &Request) -> Reply {
        let to = From::Node(self.node);
        assert!(self.line.send(to, Class::Bulk, Kind::Request, request), "the node is there");
        loop {
            let heard = self.line.next(Duration::from_millis(100)).await;
            if let Some(Heard::Message(_, Inbound::Reply(reply))) = heard {
                return reply;
            }
        }
    }

    /// Has the last node of a path do something; `None` if nothing comes back in time.
    pub(crate) async fn ask_over(
        &mut self,
        path: &Path,
        operation: Operation,
        patience: Duration,
    ) -> Option<Reply> {
        let payload = batch(operation).to_bytes();
        let fits = payload.len() <= Size::Small.payload_bytes_max(path.hops());
        let (size, answer) = (if fits { Size::Small } else { Size::Bulk }, Size::Bulk);
        let order = Order { size, answer, service: Service(service::REQUEST), payload: &payload };
        let (packet, keys) = Packet::build(&mut self.line.rng, path, &order).unwrap();
        let answer = self.carry(packet, patience).await?;
        match ExitAnswer::decode_exact(&keys.open(&answer).unwrap()).unwrap() {
            ExitAnswer::Reply { reply } => Some(reply),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a packet and returns what comes back within a time.
    pub(crate) async fn carry(&mut self, packet: Packet, patience: Duration) -> Option<Packet> {
        let circuit = self.line.rng.next_u64();
        assert!(self.line.send_packet(From::Node(self.node), circuit, packet), "the node is there");
        let step = Duration::from_millis(20);
        let mut waited = Duration::ZERO;
        while waited < patience {
            match self.line.next(step).await {
                Some(Heard::Message(_, Inbound::Onion(onion))) if onion.circuit == circuit => {
                    return Some(Packet::try_from(onion.packet.into_vec()).unwrap());
                }
                Some(_) => {}
                None => waited += step,
            }
        }
        None
    }
}

/// A request of one operation.
pub(crate) fn batch(operation: Operation) -> Request {
    Request { id: 7, operations: List::new([operation]).unwrap() }
}
