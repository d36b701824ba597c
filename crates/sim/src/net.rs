//! The network between the hosts: dials, frames, partitions, broken connections.

use std::collections::BTreeMap;

use session_core::{Entropy, SeededEntropy, Span, Time};
use session_crypto::DsaPublicKey;
use session_network::{Class, ConnId};

use crate::host::HostId;
use crate::link::Link;
use crate::queue::Queue;
use crate::wires::{End, Parcel, Wires};
use crate::world::Event;

/// How long a connection lives on which nothing arrives; the runtime's idle timeout.
const IDLE: Span = Span::from_secs(60);

/// When a dial that nobody answers is given up; the runtime's handshake timeout.
const DIAL_TIMEOUT: Span = Span::from_secs(5);

/// Two groups of hosts that do not hear each other.
struct Split {
    number: u64,
    apart: Vec<bool>,
}

/// What the network has done to its traffic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Frames handed to it.
    pub frames: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Datagrams it lost.
    pub lost: u64,
    /// Datagrams it delivered twice.
    pub repeated: u64,
    /// Stream frames that came late because packets of them were lost.
    pub resent: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// Dials that failed.
    pub dials_failed: u64,
}

pub(crate) struct Net {
    pub(crate) link: Link,
    pub(crate) wires: Wires,
    pub(crate) traffic: Traffic,
    places: Vec<u16>,
    by_address: BTreeMap<String, HostId>,
    split: Option<Split>,
    splits: u64,
    rng: SeededEntropy,
}

/// A dial on its way.
pub(crate) struct Dial {
    pub(crate) from: HostId,
    pub(crate) epoch: u32,
    pub(crate) number: u64,
    pub(crate) to: HostId,
    pub(crate) key: Box<DsaPublicKey>,
}

impl Net {
    pub(crate) fn new(link: Link, hosts: usize, mut rng: SeededEntropy) -> Self {
        Self {
            link,
            wires: Wires::for_hosts(hosts),
            traffic: Traffic::default(),
            places: (0..hosts).map(|_| (rng.next_u64() % 1024) as u16).collect(),
            by_address: BTreeMap::new(),
            split: None,
            splits: 0,
            rng,
        }
    }

    /// Makes a host reachable under an address.
    pub(crate) fn listen(&mut self, address: String, host: HostId) {
        self.by_address.insert(address, host);
    }

    pub(crate) const fn rng(&mut self) -> &mut SeededEntropy {
        &mut self.rng
    }

    /// Sends a frame from an end to the other one.
    pub(crate) fn send(
        &mut self,
        queue: &mut Queue<Event>,
        now: Time,
        conn: ConnId,
        class: Class,
        body: Vec<u8>,
    ) {
        let from = End::of(conn);
        if !self.wires.is_open(from) {
            return;
        }
        self.traffic.frames += 1;
        self.traffic.bytes += body.len() as u64;
        let to = from.other();
        if class != Class::Datagram {
            return self.dispatch(queue, now, to, Parcel::Frame { class, body });
        }
        if self.link.loses(&mut self.rng) {
            self.traffic.lost += 1;
            return;
        }
        if self.link.repeats(&mut self.rng) {
            self.traffic.repeated += 1;
            self.dispatch(queue, now, to, Parcel::Frame { class, body: body.clone() });
        }
        self.dispatch(queue, now, to, Parcel::Frame { class, body });
    }

    /// Closes an end; the other one hears of it after what was sent before.
    pub(crate) fn close(&mut self, queue: &mut Queue<Event>, now: Time, conn: ConnId) {
        let end = End::of(conn);
        if self.wires.close(end) && self.wires.is_open(end.other()) {
            self.dispatch(queue, now, end.other(), Parcel::Fin);
        }
    }

    /// Puts a parcel on its way to an end, or aside until a partition heals.
    fn dispatch(&mut self, queue: &mut Queue<Event>, now: Time, to: End, parcel: Parcel) {
        let (here, there) = (self.wires.host(to.other()), self.wires.host(to));
        let class = match &parcel {
            Parcel::Frame { class, .. } => Some(*class),
            Parcel::Fin => None,
        };
        if self.are_apart(here, there) {
            if class != Some(Class::Datagram) {
                self.wires.stall(to, parcel);
            }
            return;
        }
        let (from, place) = (self.places[here.index()], self.places[there.index()]);
        let mut at = now;
        if let Parcel::Frame { body, .. } = &parcel {
            let takes = Span::from_millis(body.len() as u64 / self.link.bytes_per_ms.max(1));
            at = self.wires.leave(to, now, takes);
        }
        at = at + self.link.delay(from, place, &mut self.rng);
        if class != Some(Class::Datagram) {
            let late = self.link.recovery(from, place, &mut self.rng);
            self.traffic.resent += u64::from(late > Span::ZERO);
            at = at + late;
        }
        let at = self.wires.in_order(to, class, at);
        queue.plan(at, Event::Parcel { to, parcel });
    }

    /// Plans how a dial goes on. `up` tells whether a host runs.
    pub(crate) fn dial(
        &mut self,
        queue: &mut Queue<Event>,
        now: Time,
        (from, epoch): (HostId, u32),
        (number, address, key): (u64, &str, DsaPublicKey),
        up: impl Fn(HostId) -> bool,
    ) {
        let failed = |why| Event::DialFailed { from, epoch, number, why };
        let Some(&to) = self.by_address.get(address) else {
            return queue.plan(now + DIAL_TIMEOUT, failed("no such host"));
        };
        if self.are_apart(from, to) {
            return queue.plan(now + DIAL_TIMEOUT, failed("handshake timed out"));
        }
        let (here, there) = (self.places[from.index()], self.places[to.index()]);
        let mut at = now;
        for _ in 0..2 {
            at = at + self.link.delay(here, there, &mut self.rng);
            at = at + self.link.recovery(here, there, &mut self.rng);
        }
        if !up(to) {
            return queue.plan(at, failed("connection refused"));
        }
        let dial = Dial { from, epoch, number, to, key: Box::new(key) };
        queue.plan(at, Event::Dialed(dial));
    }

    /// The host at `end` is told after a while that its connection is no more: it reached a host
    /// that does not know the connection.
    pub(crate) fn reset(&mut self, queue: &mut Queue<Event>, now: Time, end: End) {
        let (here, there) = (self.wires.host(end.other()), self.wires.host(end));
        if !self.are_apart(here, there) {
            let (from, to) = (self.places[here.index()], self.places[there.index()]);
            let delay = self.link.delay(from, to, &mut self.rng);
            queue.plan(now + delay, Event::Lost { end });
        }
    }

    /// Drops the connections of a host that crashed: nobody is told, the others time out.
    pub(crate) fn vanish(&mut self, queue: &mut Queue<Event>, now: Time, host: HostId) {
        for end in self.wires.ends_of(host) {
            self.wires.close(end);
            if self.wires.is_open(end.other()) {
                queue.plan(now + IDLE, Event::Lost { end: end.other() });
            }
        }
    }

    /// Breaks a share of all connections, of 10,000, at both ends.
    pub(crate) fn break_some(&mut self, queue: &mut Queue<Event>, now: Time, share: u64) -> u64 {
        let mut broken = 0;
        for end in self.wires.all() {
            if self.rng.below(10_000) < share {
                broken += 1;
                queue.plan(now, Event::Lost { end });
                queue.plan(now, Event::Lost { end: end.other() });
            }
        }
        broken
    }

    /// Splits the hosts in two; connections across go quiet, and break when it lasts.
    pub(crate) fn split(&mut self, queue: &mut Queue<Event>, now: Time, apart: Vec<bool>) {
        self.splits += 1;
        self.split = Some(Split { number: self.splits, apart });
        for end in self.wires.all() {
            if self.are_apart(self.wires.host(end), self.wires.host(end.other())) {
                queue.plan(now + IDLE, Event::Idle { end, split: self.splits });
            }
        }
    }

    /// Tells whether the split of that number still stands.
    pub(crate) fn is_split(&self, number: u64) -> bool {
        self.split.as_ref().is_some_and(|split| split.number == number)
    }

    /// Joins the hosts again; what waited is sent.
    pub(crate) fn heal(&mut self, queue: &mut Queue<Event>, now: Time) {
        self.split = None;
        for end in self.wires.all() {
            for (to, parcel) in self.wires.take_stalled(end) {
                self.dispatch(queue, now, to, parcel);
            }
        }
    }

    /// Tells whether a host is on the side of a split where the chain is not.
    pub(crate) fn is_cut_off(&self, host: HostId) -> bool {
        self.split.as_ref().is_some_and(|split| split.apart.get(host.index()) == Some(&true))
    }

    /// Returns how long something takes between a host and the chain.
    pub(crate) fn delay_to_chain(&mut self, host: HostId) -> Span {
        let place = self.places[host.index()];
        self.link.delay(place, place / 2, &mut self.rng)
    }

    fn are_apart(&self, one: HostId, other: HostId) -> bool {
        self.split
            .as_ref()
            .is_some_and(|split| split.apart.get(one.index()) != split.apart.get(other.index()))
    }
}

#[cfg(test)]
mod tests;
