//! How answers go back.

use std::collections::{BTreeMap, BTreeSet};

use session_core::{NodeId, Time};
use session_network::From;
use session_network::onion::BackKey;

use super::{CIRCUITS_MAX, CLIENT_CIRCUITS_MAX, NODE_CIRCUITS_MAX, Span};

/// A request that was sent on.
#[derive(Debug)]
pub(super) struct Circuit {
    /// The link that it came by, and the number that it has there.
    pub(super) from: From,
    pub(super) circuit: u64,
    /// What is laid over the answer.
    pub(super) back: BackKey,
    /// How long the answer waits: as long as the request did.
    pub(super) delay: Span,
    pub(super) until: Time,
}

/// The node that a request was sent to, and the number that it has on that link.
type Key = (NodeId, u64);

/// Requests whose answers have not come yet.
#[derive(Debug, Default)]
pub(super) struct Circuits {
    open: BTreeMap<Key, Circuit>,
    ends: BTreeSet<(Time, Key)>,
}

impl Circuits {
    /// Numbers are drawn from 2^64: that one comes twice at a time does not happen.
    pub(super) fn open(&mut self, key: Key, circuit: Circuit) {
        self.ends.insert((circuit.until, key));
        self.open.insert(key, circuit);
    }

    pub(super) fn close(&mut self, key: Key) -> Option<Circuit> {
        let circuit = self.open.remove(&key)?;
        self.ends.remove(&(circuit.until, key));
        Some(circuit)
    }

    /// Takes out those whose time is over.
    pub(super) fn expire(&mut self, now: Time) -> Vec<Circuit> {
        let mut expired = Vec::new();
        while let Some(&(until, key)) = self.ends.first().filter(|(until, _)| *until <= now) {
            self.ends.remove(&(until, key));
            expired.extend(self.open.remove(&key));
        }
        expired
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        self.ends.first().map(|(until, _)| *until)
    }
}

/// How much is open, and for whom.
#[derive(Debug, Default)]
pub(super) struct Load {
    all: usize,
    links: BTreeMap<From, usize>,
}

impl Load {
    /// Takes a place for a link, if it may have another one.
    pub(super) fn take(&mut self, from: From) -> bool {
        let limit = match from {
            From::Client(_) => CLIENT_CIRCUITS_MAX,
            From::Node(_) => NODE_CIRCUITS_MAX,
        };
        let of_link = self.links.get(&from).copied().unwrap_or_default();
        if self.all >= CIRCUITS_MAX || of_link >= limit {
            return false;
        }
        self.all += 1;
        self.links.insert(from, of_link + 1);
        true
    }

    /// Gives a place back.
    pub(super) fn give(&mut self, from: From) {
        let Some(of_link) = self.links.get_mut(&from) else { return };
        self.all -= 1;
        *of_link -= 1;
        if *of_link == 0 {
            self.links.remove(&from);
        }
    }

    pub(super) const fn all(&self) -> usize {
        self.all
    }
}

#[cfg(test)]
impl Circuits {
    pub(super) fn open_numbers(&self) -> Vec<Key> {
        self.open.keys().copied().collect()
    }
}
