//! Packets whose answers are waited for.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{Entropy, NodeId, Time};
use session_network::onion::ReplyKeys;

/// Packets that are waited for at once, over all guards: what a node lets one client have.
pub(crate) const CIRCUITS_MAX: usize = 192;

/// What a packet was sent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A request of a task.
    Request {
        /// Its number.
        number: u64,
    },
    /// A request that the exit answers when there is something, or time is up.
    Wait {
        /// Its number.
        number: u64,
    },
    /// A question for hop keys.
    Keys {
        /// Its number.
        number: u64,
    },
    /// Cover: nobody waits.
    Cover,
}

/// A packet that is out.
#[derive(Debug)]
pub(crate) struct Circuit {
    pub(crate) purpose: Purpose,
    /// The guard first, the exit last.
    pub(crate) hops: Vec<NodeId>,
    pub(crate) sent: Time,
    /// When it takes longer than others do.
    pub(crate) late_at: Time,
    /// When it counts as lost.
    pub(crate) until: Time,
    /// Whether its hops were blamed for being late.
    pub(crate) blamed: bool,
}

impl Circuit {
    pub(crate) fn guard(&self) -> NodeId {
        self.hops[0]
    }

    pub(crate) fn exit(&self) -> NodeId {
        *self.hops.last().expect("a path has at least one hop")
    }
}

/// At most [`CIRCUITS_MAX`]; who wants more waits.
#[derive(Debug, Default)]
pub(crate) struct Circuits {
    out: BTreeMap<u64, (Circuit, ReplyKeys)>,
    ends: BTreeSet<(Time, u64)>,
    /// Those that are not late yet.
    lates: BTreeSet<(Time, u64)>,
}

impl Circuits {
    pub(crate) fn has_room(&self) -> bool {
        self.out.len() < CIRCUITS_MAX
    }

    /// Opens a circuit under a number that tells nobody how many there were.
    pub(crate) fn open(&mut self, circuit: Circuit, keys: ReplyKeys, rng: &mut dyn Entropy) -> u64 {
        loop {
            let number = rng.next_u64();
            if !self.out.contains_key(&number) {
                self.ends.insert((circuit.until, number));
                self.lates.insert((circuit.late_at, number));
                self.out.insert(number, (circuit, keys));
                return number;
            }
        }
    }

    /// Ends a circuit of a guard.
    pub(crate) fn close(&mut self, number: u64, guard: &NodeId) -> Option<(Circuit, ReplyKeys)> {
        if self.out.get(&number)?.0.guard() != *guard {
            return None;
        }
        let (circuit, keys) = self.out.remove(&number)?;
        self.ends.remove(&(circuit.until, number));
        self.lates.remove(&(circuit.late_at, number));
        Some((circuit, keys))
    }

    /// Ends every circuit over a guard.
    pub(crate) fn close_all(&mut self, guard: &NodeId) -> Vec<Circuit> {
        let over = self.out.iter().filter(|(_, (circuit, _))| circuit.guard() == *guard);
        let numbers: Vec<u64> = over.map(|(number, _)| *number).collect();
        let closed = numbers.into_iter().filter_map(|number| self.close(number, guard));
        closed.map(|(circuit, _)| circuit).collect()
    }

    /// Ends those whose time is over.
    pub(crate) fn expire(&mut self, now: Time) -> Vec<Circuit> {
        let mut expired = Vec::new();
        while let Some(&(until, number)) = self.ends.first().filter(|(until, _)| *until <= now) {
            self.ends.remove(&(until, number));
            if let Some((circuit, _)) = self.out.remove(&number) {
                self.lates.remove(&(circuit.late_at, number));
                expired.push(circuit);
            }
        }
        expired
    }

    /// Returns the hops of those that take longer than others do, once.
    pub(crate) fn late(&mut self, now: Time) -> Vec<Vec<NodeId>> {
        let mut late = Vec::new();
        while let Some(&(at, number)) = self.lates.first().filter(|(at, _)| *at <= now) {
            self.lates.remove(&(at, number));
            if let Some((circuit, _)) = self.out.get_mut(&number) {
                circuit.blamed = true;
                late.push(circuit.hops.clone());
            }
        }
        late
    }

    pub(crate) fn is_used(&self, guard: &NodeId) -> bool {
        self.out.values().any(|(circuit, _)| circuit.guard() == *guard)
    }

    /// Returns the hops of the packets that are out for a request.
    pub(crate) fn of_request(&self, request: u64) -> impl Iterator<Item = &Circuit> {
        let circuits = self.out.values().map(|(circuit, _)| circuit);
        circuits.filter(move |circuit| match circuit.purpose {
            Purpose::Request { number } | Purpose::Wait { number } => number == request,
            Purpose::Keys { .. } | Purpose::Cover => false,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn deadline(&self) -> Option<Time> {
        let first = |of: &BTreeSet<(Time, u64)>| of.first().map(|(at, _)| *at);
        [first(&self.ends), first(&self.lates)].into_iter().flatten().min()
    }
}
