//! What a node does because it follows a chain: views, duties, and connections to whoever takes
//! part in them.

use std::sync::Arc;

use session_core::{Machine as _, NodeId};
use session_network::{Class, From};
use session_protocol::chain::view::{ChainMembership, ChainView};
use session_protocol::duty::Duty;
use session_protocol::{Kind, Membership};
use session_swarm::coordinator::{Effect as Coordinated, Input as Coordinate};
use session_swarm::{PeerMessage, coordinator};

use super::{Cx, Daemon, Effect, Links, Report, relay};
use crate::health::ChainHealth;

impl Daemon {
    /// The chain has another block.
    pub(super) fn view(&mut self, cx: &mut Cx<'_>, view: Arc<ChainView>) {
        let last = self.chain.replace(Arc::clone(&view));
        let moved = last.is_none_or(|last| {
            !Arc::ptr_eq(&last.membership, &view.membership)
                || !Arc::ptr_eq(&last.former, &view.former)
        });
        if moved {
            let shared =
                |members: &Arc<ChainMembership>| Arc::clone(members) as Arc<dyn Membership>;
            let (current, former) = (shared(&view.membership), shared(&view.former));
            // First the connections: whoever is no node any more is down before others take over.
            let input = session_network::Input::Membership(Arc::clone(&current));
            self.network(cx, |network, cx| network.handle(cx, input));
            self.swarm(cx, session_swarm::Input::Membership { current, former });
            let current = shared(&view.membership);
            self.relay(cx, relay::Input::Membership(current));
        }
        self.coordinate(cx, Coordinate::View(Arc::clone(&view)));
        let (epoch, schedule) = (view.epoch.number, view.epoch.schedule);
        self.execute(cx, session_executor::Input::View(view));
        self.relay(cx, relay::Input::Epoch { epoch, schedule });
        if moved {
            self.keep_links(cx);
        }
    }

    /// A node said something about the duties of an epoch.
    pub(super) fn duty(&mut self, cx: &mut Cx<'_>, node: NodeId, duty: Box<Duty>) {
        if let Duty::Taken { epoch } = *duty {
            let message = PeerMessage::Taken { epoch };
            return self.swarm(cx, session_swarm::Input::FromPeer { node, message });
        }
        self.coordinate(cx, Coordinate::FromPeer { node, duty });
    }

    /// Tells the coordinator, if there is one, and follows what it leaves behind.
    pub(super) fn coordinate(&mut self, cx: &mut Cx<'_>, input: Coordinate) {
        let Some(coordinator) = &mut self.coordinator else { return };
        let mut effects = Vec::new();
        coordinator.handle(&mut cx.lend(&mut effects), input);
        self.coordinated(cx, effects);
    }

    /// Says on the chain that the node will be away, or is back.
    pub(super) fn announce(&mut self, cx: &mut Cx<'_>, epochs: u8) {
        let Some(coordinator) = &mut self.coordinator else { return };
        let mut effects = Vec::new();
        coordinator.drain(&mut cx.lend(&mut effects), epochs);
        self.coordinated(cx, effects);
    }

    pub(super) fn tick_coordinator(&mut self, cx: &mut Cx<'_>) {
        let Some(coordinator) = &mut self.coordinator else { return };
        let mut effects = Vec::new();
        coordinator.tick(&mut cx.lend(&mut effects));
        self.coordinated(cx, effects);
    }

    fn coordinated(&mut self, cx: &mut Cx<'_>, effects: Vec<Coordinated>) {
        for effect in effects {
            match effect {
                Coordinated::Send { node, bulk, duty } => {
                    let class = if bulk { Class::Bulk } else { Class::Interactive };
                    self.send(cx, From::Node(node), class, Kind::Duty, &duty);
                }
                Coordinated::Connect { node } => {
                    self.links.duties.insert(node);
                    self.keep_link(cx, node);
                }
                Coordinated::Forget { node } => {
                    self.links.duties.remove(&node);
                    self.keep_link(cx, node);
                }
                Coordinated::Submit { action } => {
                    cx.effects.push(Effect::Submit { action });
                }
                Coordinated::Compare { nodes } => {
                    self.swarm(cx, session_swarm::Input::Compare { nodes });
                }
                Coordinated::Accuse { evidence } => cx.effects.push(Effect::Accuse { evidence }),
                Coordinated::Certified { certificate } => {
                    cx.effects.push(Effect::Certified { certificate });
                }
                Coordinated::FetchCommitment { node, epoch } => {
                    cx.effects.push(Effect::FetchCommitment { node, epoch });
                }
                Coordinated::Note(note) => cx.effects.push(Effect::Report(Report::Duty(note))),
            }
        }
    }

    /// Connects to whom the swarm, a duty or a session needs now, and forgets whom none does.
    pub(super) fn keep_links(&mut self, cx: &mut Cx<'_>) {
        let partners = self.swarm.partners().collect();
        if partners == self.links.partners {
            return;
        }
        let before = std::mem::replace(&mut self.links.partners, partners);
        let changed: Vec<NodeId> =
            before.symmetric_difference(&self.links.partners).copied().collect();
        for node in changed {
            self.keep_link(cx, node);
        }
    }

    pub(super) fn keep_link(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        let Links { partners, duties, sessions, onions } = &self.links;
        let wanted = [partners, duties, sessions, onions].into_iter().any(|of| of.contains(&node));
        let input = if wanted {
            session_network::Input::Connect { node }
        } else {
            session_network::Input::Forget { node }
        };
        self.network(cx, |network, cx| network.handle(cx, input));
    }

    pub(super) fn chain_health(&self) -> Option<ChainHealth> {
        let view = self.chain.as_ref()?;
        let node = self.node;
        let seat = view.seats.get(&node);
        Some(ChainHealth {
            height: view.height,
            time: view.time,
            epoch: view.epoch.number,
            swarm: seat.map(|seat| seat.swarm),
            draining: seat.is_some_and(|seat| seat.draining),
            leaving: seat.is_some_and(|seat| seat.leaving),
            handing_over: self.swarm.handing_over(),
            duties: self.coordinator.as_ref().map(coordinator::Coordinator::status),
        })
    }
}
