//! Connections until both sides are proven.

use std::net::IpAddr;
use std::sync::Arc;

use session_core::{NodeId, Span};
use session_protocol::inbound::Fault;
use session_protocol::peer::{DeclineReason, Handshake};
use session_protocol::{Inbound, Kind};

use super::{Cx, Network};
use crate::addresses::{Block, NoRoom};
use crate::connection::{Connection, Ending, Stage};
use crate::handshake::{self, Channel};
use crate::io::{Class, ConnId, Effect};
use crate::limits::{
    CLIENT_SILENCE_MAX, EARLY_FRAMES_MAX, HANDSHAKE_TIME_MAX, HEARTBEAT_INTERVAL, HEARTBEAT_JITTER,
    REPLACE_AGE_MIN,
};
use crate::peer::{Link, Peer};
use crate::timers::Timer;

impl Network {
    /// Somebody connected to us.
    pub(super) fn accepted(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnId,
        remote: IpAddr,
        channel: Channel,
    ) {
        if self.me.is_none() {
            return self.refuse(cx, conn, "a client accepts no connections");
        }
        let limits = &self.config.limits;
        let node = channel.key.as_ref().and_then(|key| self.config.membership.node_of_key(key));
        // A flood of strangers leaves room for the nodes.
        let reserved = if node.is_some() { limits.peers_max } else { 0 };
        if self.handshaking >= limits.handshakes_max + reserved {
            return self.refuse(cx, conn, "too many handshakes at a time");
        }
        let barred = node.and_then(|node| self.peers.get(&node)).map(|peer| peer.barred_until);
        if barred.is_some_and(|until| until > cx.now) {
            return self.refuse(cx, conn, "kept out for breaking the rules");
        }
        // Nodes are few and known; everybody else pays per address, from the first connection on.
        let mut block = None;
        if node.is_none() {
            match self.pay_for_connection(cx, remote) {
                Ok(paid) => block = Some(paid),
                Err(why) => return self.refuse(cx, conn, why),
            }
        }
        let stage = Stage::WaitingHello(channel);
        let mut connection = Connection::new(true, remote, stage, &self.peer_budget, cx.now);
        connection.block = block;
        self.handshaking += 1;
        self.watch_handshake(cx, conn, connection);
    }

    /// A dial of ours succeeded.
    pub(super) fn dialled(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnId,
        remote: IpAddr,
        channel: Channel,
        dial: Option<u64>,
    ) {
        let Some(node) = dial.and_then(|dial| self.dials.remove(&dial)) else {
            return self.refuse(cx, conn, "not wanted any more");
        };
        self.timers.cancel(Timer::Peer(node));
        let membership = Arc::clone(&self.config.membership);
        let record = membership.node(&node);
        let Some(record) = record.filter(|record| channel.key.as_ref() == Some(record.keys.dsa()))
        else {
            self.stats.failures.count(&DeclineReason::NotRegistered);
            let why = DeclineReason::NotRegistered.to_string();
            cx.effects.push(Effect::Close { conn, why: why.clone() });
            return self.attempt_failed(cx, node, &why);
        };
        let (hello, opening) = handshake::hello(&self.local(), record, channel, cx.rng);
        let stage = Stage::WaitingWelcome(opening);
        let connection = Connection::new(false, remote, stage, &self.peer_budget, cx.now);
        self.watch_handshake(cx, conn, connection);
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.link = Link::Handshaking { conn };
        }
        self.send(cx, conn, Class::Interactive, Kind::Handshake, &hello);
    }

    fn watch_handshake(&mut self, cx: &Cx<'_>, conn: ConnId, connection: Connection) {
        self.conns.insert(conn, connection);
        self.timers.set(Timer::Connection(conn), cx.now + HANDSHAKE_TIME_MAX);
    }

    fn pay_for_connection(&mut self, cx: &Cx<'_>, remote: IpAddr) -> Result<Block, &'static str> {
        let block = Block::of(remote);
        match self.addresses.open(cx.now, block) {
            Ok(()) => Ok(block),
            Err(NoRoom::Connections) => Err("too many connections from this address"),
            Err(NoRoom::Rate(_)) => Err("rate limit of this address exceeded"),
        }
    }

    /// A frame came before both sides were proven.
    pub(super) fn early_frame(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnId,
        frame: Result<Inbound, Fault>,
    ) {
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        connection.early += 1;
        let too_many = connection.early > EARLY_FRAMES_MAX;
        match frame {
            Err(fault) => self.malformed(cx, conn, &fault),
            Ok(Inbound::Handshake(message)) => self.handshake(cx, conn, &message),
            // A ping on another stream may overtake the handshake; it is not answered.
            Ok(Inbound::Ping(_)) if !too_many => {}
            Ok(_) => self.decline(cx, conn, &DeclineReason::OutOfOrder),
        }
    }

    fn handshake(&mut self, cx: &mut Cx<'_>, conn: ConnId, message: &Handshake) {
        if let Handshake::Declined { reason } = message {
            return self.declined(cx, conn, reason);
        }
        let Some(connection) = self.conns.get(&conn) else { return };
        let outcome = match &connection.stage {
            Stage::WaitingHello(_) => self.said_hello(cx, conn, message),
            Stage::WaitingWelcome(_) => self.said_welcome(cx, conn, message),
            Stage::WaitingFinish(answering) => answering
                .finished(message)
                .and_then(|node| self.room_for(cx, node).map(|()| (node, answering.height())))
                .map(|(node, height)| {
                    self.handshaking -= 1;
                    self.proven(cx, conn, node);
                    self.told_height(node, height);
                }),
            Stage::WaitingWord(_) | Stage::Node(_) | Stage::Client => {
                Err(DeclineReason::OutOfOrder)
            }
        };
        if let Err(reason) = outcome {
            self.decline(cx, conn, &reason);
        }
    }

    fn said_hello(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnId,
        message: &Handshake,
    ) -> Result<(), DeclineReason> {
        let Some(Connection { stage: Stage::WaitingHello(channel), remote, block, .. }) =
            self.conns.get(&conn)
        else {
            return Err(DeclineReason::OutOfOrder);
        };
        let (channel, remote, unpaid) = (channel.clone(), *remote, block.is_none());
        match handshake::identify(&self.local(), &channel, message)? {
            Some(node) => self.room_for(cx, node)?,
            None if self.clients >= self.config.limits.clients_max => {
                return Err(DeclineReason::TooManyPeers);
            }
            // A registered key that comes as a client pays like one.
            None if unpaid => {
                let block =
                    self.pay_for_connection(cx, remote).map_err(|_| DeclineReason::TooManyPeers)?;
                if let Some(connection) = self.conns.get_mut(&conn) {
                    connection.block = Some(block);
                }
            }
            None => {}
        }
        let greeted = handshake::greet(&self.local(), &channel, message, cx.now, cx.rng)?;
        self.send(cx, conn, Class::Interactive, Kind::Handshake, &greeted.welcome);
        let Some(connection) = self.conns.get_mut(&conn) else { return Ok(()) };
        match greeted.answering {
            Some(answering) => connection.stage = Stage::WaitingFinish(answering),
            None => {
                connection.stage = Stage::Client;
                self.handshaking -= 1;
                self.clients += 1;
                self.stats.handshakes += 1;
                self.timers.set(Timer::Connection(conn), cx.now + CLIENT_SILENCE_MAX);
                cx.effects.push(Effect::ClientUp { conn, remote });
            }
        }
        Ok(())
    }

    fn said_welcome(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnId,
        message: &Handshake,
    ) -> Result<(), DeclineReason> {
        let Some(Connection { stage: Stage::WaitingWelcome(opening), .. }) = self.conns.get(&conn)
        else {
            return Err(DeclineReason::OutOfOrder);
        };
        let node = opening.to();
        let welcomed = opening.welcomed(&self.local(), message)?;
        self.told_height(node, welcomed.height);
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.told_time(welcomed.time, cx.now);
        }
        match welcomed.finish {
            None => self.proven(cx, conn, node),
            Some(finish) => {
                if let Some(connection) = self.conns.get_mut(&conn) {
                    connection.stage = Stage::WaitingWord(node);
                }
                self.send(cx, conn, Class::Interactive, Kind::Handshake, &finish);
            }
        }
        Ok(())
    }

    fn told_height(&mut self, node: NodeId, height: u64) {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.reported.height = height;
        }
    }

    /// Returns whether an inbound connection of this node may become the one we use.
    fn room_for(&self, cx: &Cx<'_>, node: NodeId) -> Result<(), DeclineReason> {
        let Some(peer) = self.peers.get(&node) else {
            let full = self.peers.len() >= self.config.limits.peers_max;
            return if full { Err(DeclineReason::TooManyPeers) } else { Ok(()) };
        };
        match peer.link {
            // Nobody dials a node that it is connected to: it was restarted, or the network broke in
            // its direction only.
            Link::Up { since, .. } if cx.now.since(since) >= REPLACE_AGE_MIN => Ok(()),
            // Ours is nearly there; if it fails, one of us tries again.
            Link::Up { .. } | Link::Handshaking { .. } => Err(DeclineReason::Duplicate),
            Link::Waiting | Link::Connecting { .. } | Link::BackingOff => Ok(()),
        }
    }

    /// A node has proven both keys.
    pub(super) fn proven(&mut self, cx: &mut Cx<'_>, conn: ConnId, node: NodeId) {
        self.stats.handshakes += 1;
        let before = self.peers.get(&node).and_then(Peer::conn);
        if let Some(before) = before {
            self.stats.replaced += 1;
            self.end(cx, before, &Ending::Closed("replaced by a newer connection".into()));
        }
        let peer = self.peers.entry(node).or_insert_with(|| Peer::new(false));
        if let Link::Connecting { dial } = peer.link {
            self.dials.remove(&dial);
        }
        peer.link = Link::Up { conn, since: cx.now };
        self.timers.cancel(Timer::Peer(node));
        cx.effects.push(Effect::PeerUp { node, conn });
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        connection.stage = Stage::Node(node);
        // The acceptor's ping is also the word that the dialer waits for: it must not get lost.
        let class = if connection.inbound { Class::Interactive } else { Class::Datagram };
        self.beat(cx, conn, class);
        let early = cx.rng.below(HEARTBEAT_JITTER.as_millis() + 1);
        let next = cx.now + HEARTBEAT_INTERVAL - Span::from_millis(early);
        self.beat_at(conn, next);
    }

    /// Ends a handshake that cannot go on; the acceptor says why.
    pub(super) fn decline(&mut self, cx: &mut Cx<'_>, conn: ConnId, reason: &DeclineReason) {
        self.stats.failures.count(reason);
        if self.conns.get(&conn).is_some_and(|connection| connection.inbound) {
            let declined = Handshake::Declined { reason: reason.clone() };
            self.send(cx, conn, Class::Interactive, Kind::Handshake, &declined);
        }
        self.end(cx, conn, &Ending::Closed(reason.to_string()));
    }

    /// The other side ended it.
    fn declined(&mut self, cx: &mut Cx<'_>, conn: ConnId, reason: &DeclineReason) {
        self.stats.failures.declined += 1;
        self.end(cx, conn, &Ending::Closed(format!("declined: {reason}")));
    }
}
