//! Onion packets: the way of what their machine says to connections and to the swarm.

use std::sync::Arc;

use session_core::{Blob, Context, List, Machine as _, NodeId, Time};
use session_network::onion::{Opener, Packet, Size};
use session_network::{ConnId, From};
use session_protocol::Kind;
use session_protocol::inbound::{CheckedOperation, CheckedRequest};
use session_protocol::onion::Onion;
use session_protocol::request::{Operation, Outcome, Refusal, Reply};
use session_swarm::Requester;

use super::{Class, Cx, Daemon, Effect, onion, relay};

impl Daemon {
    /// Returns what opens onion packets until [`Effect::OpenOnions`] brings another; nothing if
    /// the node is no hop.
    #[must_use]
    pub fn opener(&self) -> Option<Arc<Opener>> {
        self.relay.as_ref().map(relay::Relay::opener)
    }

    /// Tells the relay, if there is one, and follows what it leaves behind.
    pub(super) fn relay(&mut self, cx: &mut Cx<'_>, input: relay::Input) {
        self.call_relay(cx, |relay, cx| relay.handle(cx, input));
    }

    pub(super) fn tick_relay(&mut self, cx: &mut Cx<'_>) {
        self.call_relay(cx, |relay, cx| relay.tick(cx));
    }

    fn call_relay(
        &mut self,
        cx: &mut Cx<'_>,
        call: impl FnOnce(&mut relay::Relay, &mut Context<'_, (), relay::Effect>),
    ) {
        let Some(relay) = &mut self.relay else { return };
        let mut effects = Vec::new();
        let mut inner =
            Context { now: cx.now, store: &mut (), rng: &mut *cx.rng, effects: &mut effects };
        call(relay, &mut inner);
        self.relayed(cx, effects);
    }

    /// A node has proved itself: its packets are opened at another rate.
    pub(super) fn note_rate(&self, cx: &mut Cx<'_>, node: NodeId, conn: ConnId) {
        if self.relay.is_some() {
            let rate = self.network.limits().onions(From::Node(node));
            cx.effects.push(Effect::OnionRate { conn, rate });
        }
    }

    /// A packet came; what opens one was done beside the machines.
    pub(super) fn onion(&mut self, cx: &mut Cx<'_>, from: From, message: Onion) {
        let input = match self.arrived.take() {
            Some(packet) => relay::Input::Packet { from, packet: *packet },
            None => {
                let Onion { circuit, packet } = message;
                relay::Input::Answer { from, circuit, packet }
            }
        };
        self.relay(cx, input);
    }

    fn relayed(&mut self, cx: &mut Cx<'_>, effects: Vec<relay::Effect>) {
        for effect in effects {
            match effect {
                relay::Effect::Packet { to, circuit, packet } => {
                    self.send_onion(cx, to, circuit, packet);
                }
                relay::Effect::Keys { node, message } => {
                    self.send(cx, From::Node(node), Class::Bulk, Kind::HopKeys, &message);
                }
                relay::Effect::Connect { node, now } => {
                    self.links.onions.insert(node);
                    self.keep_link(cx, node);
                    if now {
                        let dial = session_network::Input::Dial { node };
                        self.network(cx, |network, cx| network.handle(cx, dial));
                    }
                }
                relay::Effect::Forget { node } => {
                    self.links.onions.remove(&node);
                    self.keep_link(cx, node);
                }
                relay::Effect::Ask { id, request } => self.request(cx, onion(id), request),
                relay::Effect::Gone { id } => {
                    let from = onion(id);
                    self.swarm(cx, session_swarm::Input::RequesterGone { from });
                }
                relay::Effect::Opener(opener) => cx.effects.push(Effect::OpenOnions(opener)),
            }
        }
    }

    fn send_onion(&mut self, cx: &mut Cx<'_>, to: From, circuit: u64, packet: Packet) {
        // What is long must not keep back what is short.
        let class = match packet.size() {
            Size::Small => Class::Interactive,
            Size::Bulk | Size::Large => Class::Bulk,
        };
        let packet = Blob::new(packet.into_bytes()).expect("packets have one of three lengths");
        self.send(cx, to, class, Kind::Onion, &Onion { circuit, packet });
    }

    /// Somebody asks, over a connection, beside the node or at the end of a path.
    pub(super) fn request(&mut self, cx: &mut Cx<'_>, from: Requester, request: CheckedRequest) {
        match self.hop_keys(cx.now, &request) {
            Some(reply) => self.reply(cx, from, reply),
            None => self.swarm(cx, session_swarm::Input::Request { from, request }),
        }
    }

    /// Answers a request for hop keys, which stands alone: a page of them fills a reply.
    fn hop_keys(&self, now: Time, request: &CheckedRequest) -> Option<Reply> {
        let [Ok(CheckedOperation::Open(operation))] = &request.operations[..] else { return None };
        let &Operation::HopKeys { bits, bucket, after, bytes_max } = operation else { return None };
        let page = match &self.relay {
            Some(relay) => relay.directory().page((bits, bucket), after, bytes_max, now),
            None => Err(Refusal::not_ready("the node is no hop: it knows no keys of hops")),
        };
        let outcome = page.unwrap_or_else(|refusal| Outcome::Refused { refusal });
        let outcomes = List::new([outcome]).expect("one outcome");
        let roots = List::new([]).expect("none are");
        Some(Reply { id: request.id, server_time: now, roots, outcomes })
    }
}
