//! The chain below the swarms: blocks, views, orders, and nodes that come and go.

use std::sync::Arc;

use session_core::{Entropy, Epoch, InboxAddress, NodeId, Span};
use session_crypto::Signer;
use session_protocol::attestation::QuorumCertificate;
use session_protocol::chain::Action;
use session_swarm::coordinator::Lie;

use super::{Broken, Event, World, host_id};
use crate::coordination::checks;
use crate::host::{Arrival, HostId};
use crate::node::Node;
use crate::person::Person;
use crate::trace::What;

/// How long a node takes at most to notice a block: it asks its source once a second.
const POLL: Span = Span::from_secs(1);

impl World {
    pub(super) fn has_begun(&self, host: HostId) -> bool {
        self.seats.get(host.index()).is_some_and(|seat| seat.begun)
    }

    /// Takes down whether a host is there, and hears the chain.
    pub(super) fn watch_one(&mut self, host: HostId) {
        let Some(chain) = &mut self.chain else { return };
        let Some(node) = self.nodes.get(host.index()) else { return };
        let away = !node.is_up() || self.net.is_cut_off(host);
        let begun = self.seats[host.index()].begun;
        chain.watch.set_away(host, begun && away, self.now);
    }

    pub(super) fn watch_all(&mut self) {
        if self.chain.is_some() {
            (0..self.nodes.len()).for_each(|index| self.watch_one(host_id(index)));
        }
    }

    /// Shows a node the last view of the chain, after a while, if it hears the chain.
    pub(super) fn show(&mut self, host: HostId) {
        let Some(chain) = &self.chain else { return };
        if self.net.is_cut_off(host)
            || self.nodes.get(host.index()).is_none_or(|node| !node.is_up())
        {
            return;
        }
        let arrival = Arrival::View(Arc::clone(chain.blocks().view()));
        let poll = Span::from_millis(self.net.rng().below(POLL.as_millis()));
        let at = self.now + poll + self.net.delay_to_chain(host);
        let epoch = self.seats[host.index()].epoch;
        self.queue.plan(at, Event::FromChain { host, epoch, arrival });
    }

    pub(super) fn show_all(&mut self) {
        if self.chain.is_some() {
            (0..self.nodes.len()).for_each(|index| self.show(host_id(index)));
            self.spread_rumours();
        }
    }

    /// Tells persons who is a node now: some hear of it late.
    fn spread_rumours(&mut self) {
        let Some(chain) = &self.chain else { return };
        let (rumour, view) = (chain.rumour, Arc::clone(chain.blocks().view()));
        for index in self.nodes.len()..self.seats.len() {
            let host = host_id(index);
            let late = Span::from_millis(self.net.rng().below(rumour.as_millis()));
            let at = self.now + late + self.net.delay_to_chain(host);
            let epoch = self.seats[index].epoch;
            let arrival = Arrival::View(Arc::clone(&view));
            self.queue.plan(at, Event::FromChain { host, epoch, arrival });
        }
    }

    /// The chain makes a block, if there is anything to put into one.
    pub(super) fn block(&mut self) -> Result<(), Broken> {
        let Some(chain) = &mut self.chain else { return Ok(()) };
        self.queue.plan(self.now + chain.block_every, Event::Block);
        let last = Arc::clone(chain.blocks.view());
        let Some(turned) = chain.blocks.produce(self.now, self.net.rng()) else { return Ok(()) };
        let view = Arc::clone(chain.blocks.view());
        if turned || !Arc::ptr_eq(&last.membership, &view.membership) {
            chain.look();
        }
        let height = view.height;
        self.record(What::Accepted, HostId(0), height, view.block.as_bytes());
        if turned {
            self.checks += 1;
            let inboxes: Vec<InboxAddress> = self.persons.iter().map(Person::address).collect();
            let Some(chain) = &mut self.chain else { return Ok(()) };
            checks::turned(chain, &self.nodes, &inboxes, &last, self.now)?;
        }
        (0..self.nodes.len()).for_each(|index| self.show(host_id(index)));
        if !Arc::ptr_eq(&last.membership, &view.membership) {
            self.spread_rumours();
        }
        Ok(())
    }

    /// A host hears from the chain, unless it was restarted or cut off in the meantime.
    pub(super) fn told_by_chain(
        &mut self,
        host: HostId,
        epoch: u32,
        arrival: Arrival,
    ) -> Result<(), Broken> {
        if self.seats[host.index()].epoch != epoch || self.net.is_cut_off(host) {
            return Ok(());
        }
        if let Arrival::View(view) = &arrival {
            let height = view.height;
            self.record(What::Viewed, host, height, &[]);
        }
        self.arrive(host, arrival)
    }

    pub(super) fn submit(&mut self, host: HostId, action: Box<Action>) {
        // Who does not reach the chain loses its order; it asks again.
        if self.chain.is_some() && !self.net.is_cut_off(host) {
            let at = self.now + self.net.delay_to_chain(host);
            self.queue.plan(at, Event::Order { host, action });
        }
    }

    pub(super) fn ordered(&mut self, host: HostId, action: Action) {
        let Some(id) = self.nodes.get(host.index()).map(Node::id) else { return };
        self.record(What::Ordered, host, 0, action.name().as_bytes());
        if let Some(chain) = &mut self.chain {
            chain.blocks.order(&id, action);
        }
    }

    pub(super) fn fetch(&mut self, host: HostId, node: NodeId, epoch: Epoch) {
        let Some(chain) = &self.chain else { return };
        let Some(bytes) = chain.blocks.commitment(node, epoch).cloned() else { return };
        let at = self.now + self.net.delay_to_chain(host) + self.net.delay_to_chain(host);
        let arrival = Arrival::CommitmentTx { node, epoch, bytes };
        let life = self.seats[host.index()].epoch;
        self.queue.plan(at, Event::FromChain { host, epoch: life, arrival });
    }

    /// Every certificate of an epoch's beacon attests what the chain says.
    pub(super) fn certified(&mut self, certificate: &QuorumCertificate) -> Result<(), Broken> {
        let Some(chain) = &mut self.chain else { return Ok(()) };
        let statement = &certificate.statement;
        let (epoch, view) = (statement.epoch, &chain.blocks.view().epoch);
        *chain.certified.entry(epoch).or_default() += 1;
        if epoch == view.number && statement.subject != view.beacon {
            let why = format!("a certificate of {epoch} is about {:?}", statement.subject);
            return Err(("certificates_attest_the_chain", why));
        }
        Ok(())
    }

    pub(super) fn make_lie(&mut self, host: HostId, lie: Lie) {
        let Some(node) = self.nodes.get_mut(host.index()) else { return };
        node.set_lie(lie);
        if let Some(chain) = &mut self.chain {
            chain.watch.get_mut(host).lie = Some(lie);
        }
        self.stop(host);
        self.restart(host);
    }

    /// A node starts for the first time, and its owner registers it.
    pub(super) fn join(&mut self, host: HostId) {
        let (Some(chain), Some(node)) = (&mut self.chain, self.nodes.get(host.index())) else {
            return;
        };
        let endpoint = format!("{}:9651", host.ip());
        chain.blocks.register(node.identity(), &endpoint, self.net.rng());
        self.seats[host.index()].begun = true;
        self.restart(host);
    }

    /// The owner of a node takes it out of service; the node runs on.
    pub(super) fn leave(&mut self, host: HostId) {
        let (Some(chain), Some(node)) = (&mut self.chain, self.nodes.get(host.index())) else {
            return;
        };
        let node = node.identity().public().node_id();
        chain.blocks.order_as_operator(Action::Decommission { node });
    }

    /// Says which node still has inboxes on their way.
    pub(crate) fn handing_over(&self) -> Option<String> {
        self.chain.as_ref()?;
        let under_way = |node: &Node| node.handing_over().map(|progress| (node.id(), progress));
        let (node, progress) = self.nodes.iter().find_map(under_way)?;
        Some(format!("{node:?} hands over: {progress:?}"))
    }

    /// Takes down how long inboxes have been on their way.
    pub(super) fn watch_hand_over(&mut self) {
        let moving = self.nodes.iter().any(|node| node.handing_over().is_some());
        if let Some(chain) = self.chain.as_mut().filter(|_| moving) {
            let since = self.now.since(chain.watch.epoch_began());
            chain.watch.tally.hand_over = chain.watch.tally.hand_over.max(since);
        }
    }
}
