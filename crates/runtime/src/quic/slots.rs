//! How many connections there may be, in all and from one address.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of an endpoint.
pub(super) struct Slots {
    max: usize,
    per_ip_max: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    per_ip: BTreeMap<IpAddr, usize>,
}

/// One taken place; dropping it gives it back.
pub(super) struct Slot {
    slots: Arc<Slots>,
    ip: IpAddr,
}

impl Slots {
    pub(super) fn new(max: usize, per_ip_max: usize) -> Arc<Self> {
        Arc::new(Self { max, per_ip_max, taken: Mutex::default() })
    }

    /// Takes a place, or returns `None` when all, or all for this address, are taken.
    pub(super) fn take(self: &Arc<Self>, ip: IpAddr) -> Option<Slot> {
        let ip = network_of(ip);
        let mut taken = self.lock();
        let here = taken.per_ip.get(&ip).copied().unwrap_or(0);
        if taken.total >= self.max || here >= self.per_ip_max {
            return None;
        }
        taken.total += 1;
        taken.per_ip.insert(ip, here + 1);
        Some(Slot { slots: self.clone(), ip })
    }

    pub(super) fn total(&self) -> usize {
        self.lock().total
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut taken = self.slots.lock();
        taken.total = taken.total.saturating_sub(1);
        if let Some(here) = taken.per_ip.get_mut(&self.ip) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                taken.per_ip.remove(&self.ip);
            }
        }
    }
}

/// One subscriber owns a whole IPv6 /64, so that is what one address is.
fn network_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests;
