//! Waiting for something new over hops. Nobody can push to a client that no node knows: an exit is
//! asked to answer when something arrives, or after a minute; then it is asked again.

use session_core::{InboxAddress, NodeId, Span};
use session_protocol::onion::WAIT_MAX;

use super::{Client, Cx, Effect};
use crate::command::{Answer, Error, Page};
use crate::onion::answer_size;
use crate::subscription::Phase;
use crate::task::{Leg, Task, TaskId};
use crate::work::{Awaited, Waiting, Work};

/// Waits at once: a node lets one client have a bounded number of packets on their way. Watched
/// inboxes beyond that are read every now and then.
const WAITS_MAX: usize = 48;

/// An exit that answers with nothing before this part of the time is over does not wait.
const EARLY: u64 = 2;

impl Client {
    /// Waits for what is new in a watched inbox, unless that is done already.
    pub(super) fn wait_on(&mut self, cx: &mut Cx<'_>, address: InboxAddress) {
        let id = TaskId::Wait(address);
        let waits = self.tasks.keys().filter(|id| matches!(id, TaskId::Wait(_))).count();
        if self.routes.is_none() || self.tasks.contains_key(&id) || waits >= WAITS_MAX {
            return;
        }
        let Some(watched) = self.watch.get(&address).filter(|it| it.door.has_key()) else { return };
        let namespace = watched.namespace;
        let cursors = watched.reader.cursors(namespace);
        let door = watched.door.clone();
        let awaited = vec![Awaited { namespace, cursors }];
        self.wait(cx, id, &address, Waiting::new(door, awaited, WAIT_MAX), None);
    }

    // Whether nobody keeps the inbox is found out by whoever reads it.
    fn wait(
        &mut self,
        cx: &Cx<'_>,
        id: TaskId,
        address: &InboxAddress,
        waiting: Waiting,
        stay: Option<NodeId>,
    ) -> bool {
        let Ok(route) = self.keepers(address) else { return false };
        let legs = vec![Leg::new(stay)];
        let mut task = self.internal(cx, Work::Wait(waiting), route, legs);
        let span = task.span + task.work.waits().unwrap_or_default();
        (task.span, task.due) = (span, cx.now + span);
        self.tasks.insert(id, task);
        true
    }

    /// Ends the waits for inboxes that are not watched any more.
    pub(super) fn end_waits(&mut self, is_wanted: impl Fn(&InboxAddress) -> bool) {
        let waits = self
            .tasks
            .keys()
            .copied()
            .filter(|id| matches!(id, TaskId::Wait(address) if !is_wanted(address)));
        for id in waits.collect::<Vec<_>>() {
            self.drop_task(id);
        }
    }

    /// A wait for a watched inbox has come to its end.
    pub(super) fn waited(
        &mut self,
        cx: &mut Cx<'_>,
        address: InboxAddress,
        task: Option<&Task>,
        result: Result<Answer, Error>,
    ) {
        let Some(watched) = self.watch.get_mut(&address) else { return };
        let Ok(Answer::Pages(pages)) = result else {
            // Read by others, who are then waited for.
            return self.watch.read_soon(&address, 0, cx.now);
        };
        let more = pages.iter().any(|page| page.more);
        let (mut items, mut read) = (Vec::new(), 0);
        for page in pages {
            read += page.items.len();
            items.extend(watched.reader.absorb(page));
        }
        self.stats.duplicates += (read - items.len()) as u64;
        // Whatever did not fit a short answer is read with more room.
        let room = task.map_or(0, |task| task.room_bytes);
        let began = task.map(|task| task.due - task.span);
        let early = began.is_some_and(|at| {
            read == 0 && cx.now.since(at).as_millis() * EARLY < WAIT_MAX.as_millis()
        });
        self.arrived(cx, address, items);
        if more {
            self.watch.read_soon(&address, room.max(answer_size(0).answer_bytes_max() + 1), cx.now);
        } else if !early {
            self.wait_on(cx, address);
        }
    }

    /// Waits for what is new in a subscription; without a span, only until somebody has answered.
    pub(super) fn listen(&mut self, cx: &mut Cx<'_>, id: u64, wait: Span) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else { return };
        let stay = subscription.live();
        if stay.is_none() {
            subscription.phase = Phase::Asking;
        }
        let awaited = subscription.namespaces.iter().map(|&namespace| {
            let cursors = subscription.reader.cursors(namespace);
            Awaited { namespace, cursors }
        });
        let (awaited, door) = (awaited.collect(), subscription.door.clone());
        let address = door.address;
        let waiting = Waiting::new(door, awaited, wait);
        if !self.wait(cx, TaskId::Listen(id), &address, waiting, stay) {
            self.rest(cx, id);
        }
    }

    /// A wait for a subscription has come to its end.
    pub(super) fn listened(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        served: Option<NodeId>,
        result: Result<Answer, Error>,
    ) {
        let Some(subscription) = self.subscriptions.get(&id) else { return };
        let before = subscription.live();
        let (Ok(Answer::Pages(pages)), Some(node)) = (result, served) else {
            if before.is_some() {
                cx.effects.push(Effect::Lost { id });
            }
            return self.rest(cx, id);
        };
        self.take_pages(cx, id, pages);
        if before != Some(node) {
            self.went_live(cx, id, node);
        }
        self.listen(cx, id, WAIT_MAX);
    }

    fn take_pages(&mut self, cx: &mut Cx<'_>, id: u64, pages: Vec<Page>) {
        for page in pages {
            let namespace = page.namespace;
            self.swept(cx, id, namespace, vec![page]);
        }
    }
}
