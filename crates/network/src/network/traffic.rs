//! Frames of proven connections, limits, heartbeats.

use session_core::Time;
use session_protocol::inbound::Fault;
use session_protocol::peer::{DeclineReason, Heartbeat, Ping, Pong};
use session_protocol::{Inbound, Kind};

use super::{Cx, Network};
use crate::bucket::Bucket;
use crate::connection::{Ending, Stage};
use crate::io::{Class, ConnId, Effect, From};
use crate::limits::{
    CLIENT_SILENCE_MAX, DUTIES, HEARTBEAT_INTERVAL, OVERRUNS, SESSIONS, SILENCE_MAX, UNHANDLED_MAX,
    onion_weight,
};
use crate::timers::Timer;

impl Network {
    pub(super) fn frame(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnId,
        class: Class,
        size: usize,
        frame: Result<Inbound, Fault>,
    ) {
        let Some(connection) = self.conns.get_mut(&conn) else {
            self.stats.refused.stale += 1;
            return;
        };
        self.stats.traffic.received(size);
        connection.traffic.received(size);
        connection.last_seen = cx.now;
        if let Stage::WaitingWord(node) = connection.stage
            && matches!(&frame, Ok(message) if !matches!(message, Inbound::Handshake(_)))
        {
            self.proven(cx, conn, node);
        }
        let from = match self.conns.get(&conn).map(|connection| &connection.stage) {
            Some(Stage::Node(node)) => From::Node(*node),
            Some(Stage::Client) => From::Client(conn),
            _ => return self.early_frame(cx, conn, frame),
        };
        match frame {
            Err(fault) => self.malformed(cx, conn, &fault),
            Ok(message) if self.within_limits(cx, conn, from, size, &message) => {
                self.message(cx, conn, class, from, message);
            }
            Ok(_) => {}
        }
    }

    /// The first malformed frame ends a connection: nothing after it can be trusted to be in step.
    pub(super) fn malformed(&mut self, cx: &mut Cx<'_>, conn: ConnId, fault: &Fault) {
        self.stats.refused.malformed += 1;
        self.end(cx, conn, &Ending::Penalized(fault.to_string()));
    }

    /// Pays for a frame; otherwise answers for it.
    fn within_limits(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnId,
        from: From,
        size: usize,
        message: &Inbound,
    ) -> bool {
        let Some(connection) = self.conns.get_mut(&conn) else { return false };
        // Twenty operations are twenty times the work of one, in however many frames.
        let frames = match message {
            Inbound::Request(request) => request.operations.len().max(1) as u64,
            _ => 1,
        };
        let paid = match connection.block {
            Some(block) => self.addresses.take(cx.now, block, frames, size),
            None => connection.meter.take(&self.peer_budget, cx.now, frames, size),
        };
        let paid = paid.and_then(|()| match message {
            Inbound::Duty(_) => connection.duties.take(DUTIES, cx.now, 1),
            Inbound::Workload(message) => {
                connection.sessions.take(SESSIONS, cx.now, message.weight() as u64)
            }
            Inbound::NoSession(_) => connection.sessions.take(SESSIONS, cx.now, 1),
            Inbound::Onion(_) => {
                let rate = self.config.limits.onions(from);
                let onions = connection.onions.get_or_insert(Bucket::full(rate, cx.now));
                onions.take(rate, cx.now, onion_weight(size))
            }
            _ => Ok(()),
        });
        let Err(retry_after) = paid else { return true };
        // What others made a node send is not its fault.
        if matches!((from, message), (From::Node(_), Inbound::Onion(_))) {
            self.stats.refused.over_limit += 1;
            return false;
        }
        let patience = connection.overruns.take(OVERRUNS, cx.now, 1);
        match (from, message) {
            (From::Client(_), Inbound::Request(request)) => {
                self.stats.refused.limited += 1;
                let (request_id, operations) = (request.id, request.operations.len());
                cx.effects.push(Effect::Limited { from, request_id, operations, retry_after });
            }
            _ => self.stats.refused.over_limit += 1,
        }
        if patience.is_err() {
            let why = "too many frames over the limits".to_owned();
            self.end(cx, conn, &Ending::Penalized(why));
        }
        false
    }

    fn message(
        &mut self,
        cx: &mut Cx<'_>,
        conn: ConnId,
        class: Class,
        from: From,
        message: Inbound,
    ) {
        match (from, message) {
            (_, Inbound::Handshake(_)) => self.decline(cx, conn, &DeclineReason::OutOfOrder),
            (_, Inbound::Ping(Ping { nonce })) => {
                self.send(cx, conn, class, Kind::Pong, &Pong { nonce });
            }
            (From::Node(_), Inbound::Pong(pong)) => self.answered(cx, conn, from, pong),
            (From::Node(node), Inbound::Heartbeat(heartbeat)) if self.me.is_some() => {
                let Some(peer) = self.peers.get_mut(&node) else { return };
                peer.reported.writable = heartbeat.writable;
                peer.reported.items = heartbeat.items;
                peer.told_time(heartbeat.time, cx.now);
            }
            // Whoever is a block ahead of us, or behind, breaks no rule.
            (From::Node(_), Inbound::NoSession(_)) if self.me.is_some() => {}
            (_, message) if self.has_handler(from, &message) => {
                cx.effects.push(Effect::Message { from, message });
            }
            (_, message) => self.unhandled(cx, conn, &message),
        }
    }

    /// Says which kinds the layers above handle from whom; what they say is not looked at.
    fn has_handler(&self, from: From, message: &Inbound) -> bool {
        match from {
            From::Client(_) => matches!(message, Inbound::Request(_) | Inbound::Onion(_)),
            From::Node(_) if self.me.is_none() => {
                matches!(message, Inbound::Reply(_) | Inbound::Push(_) | Inbound::Onion(_))
            }
            From::Node(_) => matches!(
                message,
                Inbound::Replicate(_)
                    | Inbound::Receipts(_)
                    | Inbound::Operations(_)
                    | Inbound::Sync(_)
                    | Inbound::Duty(_)
                    | Inbound::Workload(_)
                    | Inbound::HopKeys(_)
                    | Inbound::Onion(_)
            ),
        }
    }

    fn unhandled(&mut self, cx: &mut Cx<'_>, conn: ConnId, message: &Inbound) {
        self.stats.refused.unhandled += 1;
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        connection.unhandled += 1;
        if connection.unhandled > UNHANDLED_MAX {
            let why = format!("no handler for message type {:?}", kind(message));
            self.end(cx, conn, &Ending::Penalized(why));
        }
    }

    fn answered(&mut self, cx: &Cx<'_>, conn: ConnId, from: From, pong: Pong) {
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        // Late and invented answers count for nothing.
        let Some((_, sent)) = connection.ping.take_if(|(nonce, _)| *nonce == pong.nonce) else {
            return;
        };
        if let From::Node(node) = from
            && let Some(peer) = self.peers.get_mut(&node)
        {
            peer.latency.sample(cx.now.since(sent));
        }
    }

    /// A handshake took too long, a heartbeat is due, or the other side is silent.
    pub(super) fn connection_due(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        let Some(connection) = self.conns.get(&conn) else { return };
        let silent = cx.now.since(connection.last_seen);
        match connection.stage {
            Stage::Node(_) if silent >= SILENCE_MAX => {
                self.end(cx, conn, &Ending::Closed("no heartbeat for 30 s".into()));
            }
            Stage::Node(_) if cx.now >= connection.next_beat => {
                self.beat(cx, conn, Class::Datagram);
                self.beat_at(conn, cx.now + HEARTBEAT_INTERVAL);
            }
            Stage::Node(_) => self.beat_at(conn, connection.next_beat),
            Stage::Client if silent >= CLIENT_SILENCE_MAX => {
                self.end(cx, conn, &Ending::Closed("silent for 60 s".into()));
            }
            Stage::Client => {
                let at = connection.last_seen + CLIENT_SILENCE_MAX;
                self.timers.set(Timer::Connection(conn), at);
            }
            _ => {
                self.stats.failures.timeout += 1;
                self.end(cx, conn, &Ending::Closed("handshake not through after 5 s".into()));
            }
        }
    }

    /// Sends what a living peer sends every ten seconds.
    pub(super) fn beat(&mut self, cx: &mut Cx<'_>, conn: ConnId, ping: Class) {
        if self.me.is_some() {
            let heartbeat = Heartbeat {
                time: cx.now,
                writable: self.health.writable,
                items: self.health.items,
            };
            self.send(cx, conn, Class::Datagram, Kind::Heartbeat, &heartbeat);
        }
        let nonce = cx.rng.next_u64();
        if let Some(connection) = self.conns.get_mut(&conn) {
            connection.ping = Some((nonce, cx.now));
        }
        self.send(cx, conn, ping, Kind::Ping, &Ping { nonce });
    }

    /// Wakes for the next heartbeat, or earlier if silence has lasted too long by then.
    pub(super) fn beat_at(&mut self, conn: ConnId, next: Time) {
        let Some(connection) = self.conns.get_mut(&conn) else { return };
        connection.next_beat = next;
        let at = next.min(connection.last_seen + SILENCE_MAX);
        self.timers.set(Timer::Connection(conn), at);
    }
}

fn kind(message: &Inbound) -> Kind {
    match message {
        Inbound::Handshake(_) => Kind::Handshake,
        Inbound::Heartbeat(_) => Kind::Heartbeat,
        Inbound::Ping(_) => Kind::Ping,
        Inbound::Pong(_) => Kind::Pong,
        Inbound::Request(_) => Kind::Request,
        Inbound::Reply(_) => Kind::Reply,
        Inbound::Push(_) => Kind::Push,
        Inbound::Replicate(_) => Kind::Replicate,
        Inbound::Receipts(_) => Kind::Receipt,
        Inbound::Operations(_) => Kind::Operations,
        Inbound::Sync(_) => Kind::Sync,
        Inbound::Duty(_) => Kind::Duty,
        Inbound::HopKeys(_) => Kind::HopKeys,
        Inbound::Onion(_) => Kind::Onion,
        Inbound::Workload(message) => message.kind(),
        Inbound::NoHandler(kind) | Inbound::NoSession(kind) => *kind,
        _ => Kind::Unknown,
    }
}
