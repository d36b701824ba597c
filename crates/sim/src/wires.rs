//! Connections between hosts: ordered per stream class, with two ends that learn of the end of a
//! connection at different times.

use std::collections::BTreeSet;

use session_core::Time;
use session_network::{Class, ConnId};

use crate::host::HostId;

/// One of the two ends of a wire: 0 dialled, 1 accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct End {
    pub(crate) wire: u32,
    pub(crate) side: u8,
}

impl End {
    pub(crate) const fn other(self) -> Self {
        Self { wire: self.wire, side: 1 - self.side }
    }

    /// The number under which the host at this end knows the connection.
    pub(crate) const fn conn(self) -> ConnId {
        ConnId(self.wire as u64 * 2 + self.side as u64)
    }

    /// Returns the end that a number stands for; hosts only know numbers that they were given.
    pub(crate) const fn of(conn: ConnId) -> Self {
        Self { wire: (conn.0 / 2) as u32, side: (conn.0 % 2) as u8 }
    }
}

/// What travels to an end.
pub(crate) enum Parcel {
    Frame {
        class: Class,
        body: Vec<u8>,
    },
    /// The other side closed, after everything that it sent before.
    Fin,
}

pub(crate) struct Wire {
    hosts: [HostId; 2],
    open: [bool; 2],
    /// When the last parcel of each stream class arrives at each end.
    arrives: [[Time; 2]; 2],
    /// When the last byte towards each end has left.
    leaves: [Time; 2],
    /// What waits for a partition to heal, in order.
    pub(crate) stalled: Vec<(End, Parcel)>,
}

/// Every connection of a run.
#[derive(Default)]
pub(crate) struct Wires {
    wires: Vec<Wire>,
    of_host: Vec<BTreeSet<End>>,
}

impl Wires {
    pub(crate) fn for_hosts(hosts: usize) -> Self {
        Self { wires: Vec::new(), of_host: vec![BTreeSet::new(); hosts] }
    }

    /// Connects two hosts and returns the dialler's end.
    pub(crate) fn connect(&mut self, dialer: HostId, acceptor: HostId) -> End {
        let wire = u32::try_from(self.wires.len()).expect("fewer than 2^32 connections in a run");
        self.wires.push(Wire {
            hosts: [dialer, acceptor],
            open: [true; 2],
            arrives: [[Time::ZERO; 2]; 2],
            leaves: [Time::ZERO; 2],
            stalled: Vec::new(),
        });
        let end = End { wire, side: 0 };
        self.of_host[dialer.index()].insert(end);
        self.of_host[acceptor.index()].insert(end.other());
        end
    }

    pub(crate) fn host(&self, end: End) -> HostId {
        self.wires[end.wire as usize].hosts[usize::from(end.side)]
    }

    pub(crate) fn is_open(&self, end: End) -> bool {
        self.wires.get(end.wire as usize).is_some_and(|wire| wire.open[usize::from(end.side)])
    }

    /// Closes one end. Returns whether it was open.
    pub(crate) fn close(&mut self, end: End) -> bool {
        let Some(wire) = self.wires.get_mut(end.wire as usize) else { return false };
        let was_open = std::mem::replace(&mut wire.open[usize::from(end.side)], false);
        if was_open {
            let host = wire.hosts[usize::from(end.side)];
            if wire.open == [false; 2] {
                wire.stalled = Vec::new();
            }
            self.of_host[host.index()].remove(&end);
        }
        was_open
    }

    /// Returns the open ends of a host.
    pub(crate) fn ends_of(&self, host: HostId) -> Vec<End> {
        self.of_host[host.index()].iter().copied().collect()
    }

    /// Returns the dialler's end of every wire with an open end, in order.
    pub(crate) fn all(&self) -> Vec<End> {
        (0u32..)
            .zip(&self.wires)
            .filter(|(_, wire)| wire.open != [false; 2])
            .map(|(wire, _)| End { wire, side: 0 })
            .collect()
    }

    /// Takes bandwidth for `bytes` towards `end`; returns when the last of them has left.
    pub(crate) fn leave(&mut self, end: End, now: Time, takes: session_core::Span) -> Time {
        let leaves = &mut self.wires[end.wire as usize].leaves[usize::from(end.side)];
        *leaves = now.max(*leaves) + takes;
        *leaves
    }

    /// Keeps the order within a stream class: returns when a parcel that could be there at `at`
    /// really arrives. A fin arrives after everything else.
    pub(crate) fn in_order(&mut self, end: End, class: Option<Class>, at: Time) -> Time {
        let arrives = &mut self.wires[end.wire as usize].arrives[usize::from(end.side)];
        match class {
            Some(Class::Datagram) => at,
            Some(Class::Interactive) => {
                arrives[0] = arrives[0].max(at);
                arrives[0]
            }
            Some(Class::Bulk) => {
                arrives[1] = arrives[1].max(at);
                arrives[1]
            }
            None => at.max(arrives[0]).max(arrives[1]),
        }
    }

    pub(crate) fn stall(&mut self, end: End, parcel: Parcel) {
        self.wires[end.wire as usize].stalled.push((end, parcel));
    }

    pub(crate) fn take_stalled(&mut self, end: End) -> Vec<(End, Parcel)> {
        std::mem::take(&mut self.wires[end.wire as usize].stalled)
    }
}
