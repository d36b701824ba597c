//! What each client address has used up.
//!
//! An address keeps its entry until its buckets would be full again: reconnecting gains nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use session_core::{Span, Time};

use crate::bucket::Meter;
use crate::limits::{Budget, CONNECTION_FRAMES, Limits};

/// An IPv4 address or the `/64` of an IPv6 address: what one customer usually has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Block([u8; 16]);

impl Block {
    pub(crate) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => {
                let mut octets = v6.octets();
                octets[8..].fill(0);
                Self(octets)
            }
        }
    }
}

/// Why an address gets no further connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    /// It has as many as are allowed.
    Connections,
    /// It opens them too fast.
    Rate(Span),
}

struct Address {
    connections: u32,
    meter: Meter,
}

/// The table; bounded by `addresses_max`, which is above the number of connections.
pub(crate) struct Addresses {
    budget: Budget,
    connections_max: u32,
    entries_max: usize,
    entries: BTreeMap<Block, Address>,
    // Entries without a connection, by when they can be forgotten.
    resting: BTreeSet<(Time, Block)>,
}

impl Addresses {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            budget: limits.client.normalized(),
            connections_max: limits.address_connections_max,
            entries_max: limits.addresses_max.max(limits.clients_max + limits.handshakes_max + 1),
            entries: BTreeMap::new(),
            resting: BTreeSet::new(),
        }
    }

    /// Counts one more connection.
    pub(crate) fn open(&mut self, now: Time, block: Block) -> Result<(), NoRoom> {
        self.forget_rested(now);
        let fresh = Address { connections: 0, meter: Meter::full(&self.budget, now) };
        let entry = self.entries.entry(block).or_insert(fresh);
        if entry.connections == 0 {
            self.resting.remove(&(entry.meter.full_at(&self.budget), block));
        }
        let opened = if entry.connections >= self.connections_max {
            Err(NoRoom::Connections)
        } else {
            entry.meter.take(&self.budget, now, CONNECTION_FRAMES, 0).map_err(NoRoom::Rate)
        };
        match opened {
            Ok(()) => entry.connections += 1,
            Err(_) if entry.connections == 0 => {
                self.resting.insert((entry.meter.full_at(&self.budget), block));
            }
            Err(_) => {}
        }
        opened
    }

    /// Counts one connection less.
    pub(crate) fn close(&mut self, block: Block) {
        let Some(entry) = self.entries.get_mut(&block) else { return };
        entry.connections = entry.connections.saturating_sub(1);
        if entry.connections == 0 {
            self.resting.insert((entry.meter.full_at(&self.budget), block));
        }
    }

    /// Pays for what came over one of its connections.
    pub(crate) fn take(
        &mut self,
        now: Time,
        block: Block,
        frames: u64,
        bytes: usize,
    ) -> Result<(), Span> {
        match self.entries.get_mut(&block) {
            Some(entry) => entry.meter.take(&self.budget, now, frames, bytes),
            None => Ok(()),
        }
    }

    fn forget_rested(&mut self, now: Time) {
        while let Some(&(full_at, block)) = self.resting.first() {
            // Even a full table has room: those with a connection are fewer than its bound.
            if full_at > now && self.entries.len() < self.entries_max {
                break;
            }
            self.resting.pop_first();
            self.entries.remove(&block);
        }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.len()
    }
}

#[cfg(test)]
mod tests;
