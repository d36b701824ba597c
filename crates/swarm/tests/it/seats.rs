//! A cluster whose swarms change, and whose nodes are connected as far as they want to be.

use std::collections::BTreeSet;
use std::sync::Arc;

use session_core::{NodeId, SeededEntropy, SwarmId};
use session_crypto::fake::FakeIdentity;
use session_protocol::NodeRecord;
use session_protocol::chain::view::ChainMembership;
use session_protocol::membership::network_id;
use session_swarm::Input;

use crate::cluster::{Cluster, record};

/// The members of each swarm, by their places in the cluster.
pub(crate) type Seats = [(u64, Vec<usize>)];

impl Cluster {
    /// `count` nodes with seats that may change; connected are those that want to be.
    pub(crate) fn seated(count: usize, seats: &Seats, seed: u64) -> Self {
        let mut rng = SeededEntropy::new(seed);
        let keys: Vec<FakeIdentity> =
            (0..count).map(|_| FakeIdentity::generate(&mut rng)).collect();
        let records: Vec<NodeRecord> = keys.iter().enumerate().map(record).collect();
        let first = ChainMembership::new(network_id("test"), 1, records.clone(), None);
        let mut cluster = Self::of(keys, count, Arc::new(first), rng, None);
        cluster.records = records;
        cluster.move_to(seats);
        cluster.former = Some(Arc::clone(&cluster.membership));
        for index in 0..count {
            cluster.begin(index);
        }
        cluster.connect();
        cluster
    }

    /// Changes the network; nobody hears of it yet.
    pub(crate) fn move_to(&mut self, seats: &Seats) {
        self.move_without(seats, &[]);
    }

    /// The same; some are no nodes any more.
    pub(crate) fn move_without(&mut self, seats: &Seats, gone: &[usize]) {
        let height = self.membership.height() + 1;
        let seated = seats.iter().flat_map(|(swarm, members)| {
            members.iter().map(|index| (SwarmId(*swarm), self.nodes[*index].id))
        });
        let records = self.records.iter().enumerate();
        let records = records.filter(|(index, _)| !gone.contains(index));
        let records: Vec<NodeRecord> = records.map(|(_, record)| record.clone()).collect();
        let next = ChainMembership::new(network_id("test"), height, records, seated);
        self.former = Some(core::mem::replace(&mut self.membership, Arc::new(next)));
    }

    /// Tells a running node how the network is.
    pub(crate) fn tell(&mut self, index: usize) {
        let current = Arc::clone(&self.membership);
        let former = Arc::clone(self.former.as_ref().unwrap_or(&current));
        if self.nodes[index].is_up {
            self.feed(index, vec![Input::Membership { current, former }]);
        }
    }

    /// Changes the network, and tells everybody.
    pub(crate) fn turn(&mut self, seats: &Seats) {
        self.move_to(seats);
        self.tell_all();
    }

    pub(crate) fn tell_all(&mut self) {
        for index in 0..self.nodes.len() {
            self.tell(index);
        }
        self.connect();
    }

    /// Connects those of which one wants to be, and no others.
    pub(crate) fn connect(&mut self) {
        if self.former.is_none() {
            return;
        }
        let wants: Vec<BTreeSet<NodeId>> =
            self.nodes.iter().map(|node| node.swarm.partners().collect()).collect();
        for left in 0..self.nodes.len() {
            for right in left + 1..self.nodes.len() {
                let (one, other) = (&self.nodes[left], &self.nodes[right]);
                let are_up = one.is_up && other.is_up;
                let ids = [one.id, other.id];
                let is_wanted = wants[left].contains(&ids[1]) || wants[right].contains(&ids[0]);
                let wanted = are_up && is_wanted;
                if wanted && self.links.insert((left, right)) {
                    self.feed(left, vec![Input::PeerUp { node: ids[1] }]);
                    self.feed(right, vec![Input::PeerUp { node: ids[0] }]);
                } else if are_up && !wanted && self.links.remove(&(left, right)) {
                    self.feed(left, vec![Input::PeerDown { node: ids[1] }]);
                    self.feed(right, vec![Input::PeerDown { node: ids[0] }]);
                }
            }
        }
    }
}
