//! Which nodes are wanted, when to dial them, what follows the end of a connection.

use std::sync::Arc;

use session_core::{NodeId, Span};
use session_protocol::Membership;

use super::{Cx, Network, bounded};
use crate::connection::{Connection, Ending, Stage};
use crate::io::{ConnId, Effect, From};
use crate::limits::{DIAL_PATIENCE, DIAL_TIME_MAX, PENALTY, STABLE_AFTER};
use crate::peer::{Link, Peer, backoff};
use crate::timers::Timer;

impl Network {
    /// Of two nodes the lower id dials at once, so that they do not dial each other; the other one
    /// gives it time. Clients always dial.
    fn dials_to(&self, node: NodeId) -> bool {
        self.me.is_none_or(|me| me < node)
    }

    pub(super) fn connect(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        if self.me == Some(node) {
            return;
        }
        if !self.peers.contains_key(&node) && !self.make_room(cx) {
            self.stats.refused.peers += 1;
            cx.effects.push(Effect::Unreachable { node, why: "maximum peers reached".into() });
            return;
        }
        let peer = self.peers.entry(node).or_insert_with(|| Peer::new(false));
        let wanted_before = core::mem::replace(&mut peer.wanted, true);
        if wanted_before || peer.link != Link::Waiting {
            return;
        }
        if self.dials_to(node) {
            self.dial(cx, node);
        } else {
            self.settle(cx, node);
        }
    }

    /// Connects at once to a node that would be waited for. If both do so at the same moment both
    /// connections may end; they try again at different times.
    pub(super) fn dial_now(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        self.connect(cx, node);
        let Some(peer) = self.peers.get(&node) else { return };
        let first = peer.wanted && peer.attempts <= 1 && peer.barred_until <= cx.now;
        if first && peer.link == Link::Waiting {
            self.dial(cx, node);
        }
    }

    /// Gives up a node that came by itself, if the table is full, for one that is wanted.
    fn make_room(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.peers.len() < self.config.limits.peers_max {
            return true;
        }
        let guest = self.peers.values().filter(|peer| !peer.wanted).find_map(Peer::conn);
        let Some(guest) = guest else { return false };
        self.end(cx, guest, &Ending::Closed("maximum peers reached".into()));
        self.peers.len() < self.config.limits.peers_max
    }

    pub(super) fn forget(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        peer.wanted = false;
        match peer.link {
            Link::Up { conn, .. } | Link::Handshaking { conn } => {
                // What the other side opened, it may keep.
                if self.conns.get(&conn).is_some_and(|connection| !connection.inbound) {
                    self.end(cx, conn, &Ending::Closed("not wanted any more".into()));
                }
            }
            Link::Connecting { dial } => {
                self.dials.remove(&dial);
                self.settle(cx, node);
            }
            Link::Waiting | Link::BackingOff => self.settle(cx, node),
        }
    }

    pub(super) fn misbehaved(&mut self, cx: &mut Cx<'_>, node: NodeId, why: String) {
        if let Some(conn) = self.peers.get(&node).and_then(Peer::conn) {
            self.end(cx, conn, &Ending::Penalized(why));
        }
    }

    /// Who was taken out of the network is disconnected; whether it is wanted stays: it may return.
    pub(super) fn membership(&mut self, cx: &mut Cx<'_>, members: Arc<dyn Membership>) {
        self.config.membership = members;
        let gone = |connection: &Connection| {
            connection.node().is_some_and(|node| self.config.membership.node(&node).is_none())
        };
        let conns: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, connection)| gone(connection))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in conns {
            self.end(cx, conn, &Ending::Closed("not a node of this network any more".into()));
        }
    }

    fn dial(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        let Some(record) = self.config.membership.node(&node) else {
            return self.attempt_failed(cx, node, "not a node of this network");
        };
        self.dials_begun += 1;
        let dial = self.dials_begun;
        let (address, key) = (record.address.to_string(), record.keys.dsa().clone());
        cx.effects.push(Effect::Dial { dial, address, key });
        self.stats.dials += 1;
        self.dials.insert(dial, node);
        self.timers.set(Timer::Peer(node), cx.now + DIAL_TIME_MAX);
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.link = Link::Connecting { dial };
        }
    }

    pub(super) fn dial_failed(&mut self, cx: &mut Cx<'_>, dial: u64, why: &str) {
        if let Some(node) = self.dials.remove(&dial) {
            self.stats.dials_failed += 1;
            self.attempt_failed(cx, node, why);
        }
    }

    pub(super) fn attempt_failed(&mut self, cx: &mut Cx<'_>, node: NodeId, why: &str) {
        if self.peers.get(&node).is_some_and(|peer| peer.wanted) {
            cx.effects.push(Effect::Unreachable { node, why: bounded(why.to_owned()) });
        }
        self.settle(cx, node);
    }

    /// A wait or a dial is over.
    pub(super) fn peer_due(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        let Some(peer) = self.peers.get(&node) else { return };
        match peer.link {
            Link::Connecting { dial } => self.dial_failed(cx, dial, "dial timed out"),
            Link::Waiting | Link::BackingOff if peer.wanted => self.dial(cx, node),
            Link::Waiting | Link::BackingOff => self.settle(cx, node),
            Link::Handshaking { .. } | Link::Up { .. } => {}
        }
    }

    /// Decides what follows for a node without a connection.
    fn settle(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        let dials = self.dials_to(node);
        let Some(peer) = self.peers.get_mut(&node) else { return };
        let barred = peer.barred_until.since(cx.now);
        let (link, wait) = if peer.wanted {
            let wait = backoff(peer.attempts, cx.rng);
            peer.attempts = peer.attempts.saturating_add(1);
            if dials { (Link::BackingOff, wait) } else { (Link::Waiting, wait + DIAL_PATIENCE) }
        } else {
            (Link::BackingOff, Span::ZERO)
        };
        let wait = wait.max(barred);
        if wait == Span::ZERO {
            self.timers.cancel(Timer::Peer(node));
            self.peers.remove(&node);
        } else {
            peer.link = link;
            self.timers.set(Timer::Peer(node), cx.now + wait);
        }
    }

    pub(super) fn disconnected(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let Some(connection) = self.conns.get(&conn) else { return };
        if !matches!(connection.stage, Stage::Node(_) | Stage::Client) {
            self.stats.failures.disconnected += 1;
        }
        self.end(cx, conn, &Ending::Lost);
    }

    /// Takes a connection out of every table and says what that means.
    pub(super) fn end(&mut self, cx: &mut Cx<'_>, conn: ConnId, ending: &Ending) {
        let Some(connection) = self.conns.remove(&conn) else { return };
        self.timers.cancel(Timer::Connection(conn));
        if let Some(block) = connection.block {
            self.addresses.close(block);
        }
        if connection.is_handshaking_in() {
            self.handshaking -= 1;
        }
        let why = bounded(ending.why().to_owned());
        if *ending != Ending::Lost {
            cx.effects.push(Effect::Close { conn, why: why.clone() });
        }
        let penalized = matches!(ending, Ending::Penalized(_));
        if penalized {
            self.stats.refused.penalized += 1;
            let from = match connection.stage {
                Stage::Node(node) => Some(From::Node(node)),
                Stage::Client => Some(From::Client(conn)),
                _ => None,
            };
            cx.effects.extend(from.map(|from| Effect::Penalized { from, why: why.clone() }));
        }
        match &connection.stage {
            Stage::WaitingHello(_) | Stage::WaitingFinish(_) => {}
            Stage::WaitingWelcome(opening) => self.attempt_failed(cx, opening.to(), &why),
            Stage::WaitingWord(node) => self.attempt_failed(cx, *node, &why),
            Stage::Node(node) => self.peer_lost(cx, *node, &connection, penalized),
            Stage::Client => {
                self.clients -= 1;
                cx.effects.push(Effect::ClientDown { conn });
            }
        }
    }

    fn peer_lost(
        &mut self,
        cx: &mut Cx<'_>,
        node: NodeId,
        connection: &Connection,
        penalized: bool,
    ) {
        let Some(peer) = self.peers.get_mut(&node) else { return };
        if let Link::Up { since, .. } = peer.link
            && cx.now.since(since) >= STABLE_AFTER
        {
            peer.attempts = 0;
        }
        peer.traffic.add(&connection.traffic);
        peer.last_seen = Some(connection.last_seen);
        if penalized {
            peer.barred_until = cx.now + PENALTY;
        }
        self.stats.peers_lost += 1;
        cx.effects.push(Effect::PeerDown { node });
        self.settle(cx, node);
    }
}
