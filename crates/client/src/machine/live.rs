//! Subscriptions: see the module `subscription`.

use session_core::{Namespace, NodeId, Span};
use session_network::Class;
use session_protocol::request::{Item, Operation, Push};

use super::{Client, Cx, Effect};
use crate::command::{Answer, Error, Page};
use crate::subscription::Phase;
use crate::task::{Leg, TaskId};
use crate::work::{One, Reading, Wish, Work, is_genuine, request};

/// Wait after a subscription that nobody took.
const REST: Span = Span::from_secs(2);

/// Nodes that a sweep reads from: the live one, and one that may know better.
const SWEEP_NODES: usize = 2;

impl Client {
    pub(super) fn ask_to_subscribe(&mut self, cx: &mut Cx<'_>, id: u64) {
        if self.routes.is_some() {
            return self.listen(cx, id, Span::ZERO);
        }
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.phase = Phase::Asking;
        let namespaces = subscription.namespaces.clone();
        let from = subscription.door.clone();
        match self.keepers(&from.address) {
            Ok(route) => {
                let work = Work::One(One::new(Wish::Subscribe { from, namespaces }));
                let task = self.internal(cx, work, route, vec![Leg::new(None)]);
                self.tasks.insert(TaskId::Subscribe(id), task);
            }
            Err(_) => self.rest(cx, id),
        }
    }

    pub(super) fn rest(&mut self, cx: &Cx<'_>, id: u64) {
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.phase = Phase::Resting { until: cx.now + REST };
        }
    }

    /// A task of a subscription has come to its end.
    pub(super) fn subscription_task_ended(
        &mut self,
        cx: &mut Cx<'_>,
        task: TaskId,
        served: Option<NodeId>,
        result: Result<Answer, Error>,
    ) {
        match (task, result) {
            (TaskId::Subscribe(id), Ok(_)) => match served {
                Some(node) => self.went_live(cx, id, node),
                None => self.rest(cx, id),
            },
            (TaskId::Subscribe(id), Err(_)) => self.rest(cx, id),
            (TaskId::Sweep(id, namespace), result) => {
                if let Some(subscription) = self.subscriptions.get_mut(&id) {
                    subscription.sweeping.remove(&namespace);
                }
                // What failed is read again with the next sweep.
                if let Ok(Answer::Pages(pages)) = result {
                    self.swept(cx, id, namespace, pages);
                }
            }
            _ => {}
        }
    }

    pub(super) fn went_live(&mut self, cx: &mut Cx<'_>, id: u64, node: NodeId) {
        let sweep_at = cx.now + self.config.limits.sweep_interval;
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        subscription.phase = Phase::Live { node, sweep_at };
        cx.effects.push(Effect::Live { id, node });
        self.sweep(cx, id);
    }

    /// Reads everything that came since the last reading, in every namespace.
    fn sweep(&mut self, cx: &Cx<'_>, id: u64) {
        let namespaces = self.subscriptions.get(&id).map(|sub| sub.namespaces.clone());
        for namespace in namespaces.into_iter().flatten() {
            self.sweep_namespace(cx, id, namespace);
        }
    }

    fn sweep_namespace(&mut self, cx: &Cx<'_>, id: u64, namespace: Namespace) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let Some(live) = subscription.live() else { return };
        if !subscription.sweeping.insert(namespace) {
            return;
        }
        let door = subscription.door.clone();
        let cursors = subscription.reader.cursors(namespace);
        let Ok(route) = self.keepers(&door.address) else { return };
        let work = Work::Read(Reading::new(door, namespace, cursors));
        let legs = (0..SWEEP_NODES).map(|leg| Leg::new((leg == 0).then_some(live))).collect();
        let task = self.internal(cx, work, route, legs);
        self.tasks.insert(TaskId::Sweep(id, namespace), task);
    }

    pub(super) fn swept(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        namespace: Namespace,
        pages: Vec<Page>,
    ) {
        let mut more = false;
        for page in pages {
            let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
            more |= page.more;
            let (node, incarnation) = (page.node, page.cursor.incarnation);
            let read = page.items.len() as u64;
            let new = subscription.reader.absorb(page);
            self.stats.duplicates += read - new.len() as u64;
            for item in new {
                self.report(cx, id, node, incarnation, item);
            }
        }
        if more {
            self.sweep_namespace(cx, id, namespace);
        }
    }

    /// An item was pushed.
    pub(super) fn pushed(&mut self, cx: &mut Cx<'_>, node: NodeId, push: Push) {
        self.nodes.heard(node);
        if self.watches(&push.address) {
            return self.pushed_to_watch(cx, node, push);
        }
        let Push { address, incarnation, item } = push;
        let ids: Vec<u64> = self
            .subscriptions
            .iter()
            .filter(|(_, sub)| sub.live() == Some(node) && sub.door.address == address)
            .filter(|(_, sub)| sub.namespaces.contains(&item.namespace))
            .map(|(id, _)| *id)
            .collect();
        if !ids.is_empty() && !is_genuine(&address, item.namespace, &item) {
            self.nodes.lied(node);
            self.stats.lies += 1;
            return self.resubscribe_from(cx, node);
        }
        for id in ids {
            let Some(subscription) = self.subscriptions.get_mut(&id) else { continue };
            if subscription.reader.absorb_pushed(&item) {
                self.report(cx, id, node, incarnation, item.clone());
            } else {
                self.stats.duplicates += 1;
            }
        }
    }

    fn report(&mut self, cx: &mut Cx<'_>, id: u64, node: NodeId, incarnation: u64, item: Item) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let address = subscription.door.address;
        self.stats.pushed += 1;
        cx.effects.push(Effect::Pushed { id, address, node, incarnation, item });
    }

    /// A node does not push any more, or must not: finds others for those who listened to it.
    pub(super) fn resubscribe_from(&mut self, cx: &mut Cx<'_>, node: NodeId) {
        self.watch_lost(cx, node);
        let listening = self.subscriptions.iter().filter(|(_, sub)| sub.live() == Some(node));
        let ids: Vec<u64> = listening.map(|(id, _)| *id).collect();
        for id in ids {
            self.stop_pushes(cx, id, node);
            cx.effects.push(Effect::Lost { id });
            self.ask_to_subscribe(cx, id);
        }
    }

    /// Ends a subscription.
    pub(super) fn unsubscribe(&mut self, cx: &mut Cx<'_>, id: u64) {
        if let Some(node) =
            self.subscriptions.get(&id).and_then(crate::subscription::Subscription::live)
        {
            self.stop_pushes(cx, id, node);
        }
        let Some(subscription) = self.subscriptions.remove(&id) else { return };
        self.drop_task(TaskId::Subscribe(id));
        self.drop_task(TaskId::Listen(id));
        for namespace in subscription.namespaces {
            self.drop_task(TaskId::Sweep(id, namespace));
        }
    }

    // Tells the node, if it is still there and nobody else listens; its answer does not matter.
    fn stop_pushes(&mut self, cx: &mut Cx<'_>, id: u64, node: NodeId) {
        let others = self.subscriptions.iter();
        let shared =
            others.filter(|(other, _)| **other != id).any(|(_, sub)| sub.live() == Some(node));
        let Some(address) = self.subscriptions.get(&id).map(|sub| sub.door.address) else { return };
        if !shared && self.routes.is_none() && self.nodes.is_up(&node) {
            let number = self.next_request();
            let request = request(number, vec![Operation::Unsubscribe { address }]);
            self.send(cx, node, Class::Interactive, &request);
        }
    }

    /// Does what is due in subscriptions.
    pub(super) fn subscriptions_due(&mut self, cx: &mut Cx<'_>) {
        let due: Vec<u64> = self
            .subscriptions
            .iter()
            .filter(|(_, subscription)| subscription.deadline() <= cx.now)
            .map(|(id, _)| *id)
            .collect();
        for id in due {
            let Some(subscription) = self.subscriptions.get_mut(&id) else { continue };
            match subscription.phase {
                Phase::Live { node, .. } => {
                    let sweep_at = cx.now + self.config.limits.sweep_interval;
                    subscription.phase = Phase::Live { node, sweep_at };
                    self.sweep(cx, id);
                }
                Phase::Resting { .. } => self.ask_to_subscribe(cx, id),
                Phase::Asking => {}
            }
        }
    }
}
