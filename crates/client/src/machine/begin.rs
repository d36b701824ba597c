//! Commands, checked and turned into tasks.

use session_core::{InboxAddress, List, NodeId, Span};
use session_protocol::AccessRule;
use session_protocol::inbox::{Capability, Policy, policy};
use session_protocol::limits::{TTL_MAX, TTL_MIN, TTL_OWNER_MAX};
use session_protocol::placement;
use session_protocol::request::Refusal;

use super::{Client, Cx, Effect};
use crate::command::{Answer, Command, Error, Inbox, NewItem, READ_NODES_MAX, STORE_ITEMS_MAX};
use crate::onion::Routes;
use crate::subscription::Subscription;
use crate::task::{Leg, Route, Task, TaskId};
use crate::work::{Door, Fetching, One, Reading, Storing, Wish, Work};

impl Client {
    pub(super) fn begin(&mut self, cx: &mut Cx<'_>, id: u64, command: Command) {
        self.stats.commands += 1;
        let limit = self.config.limits.commands_max;
        let in_use = self.tasks.contains_key(&TaskId::Command(id));
        if let Command::Paths = command {
            let paths = self.paths(cx.now).map(Box::new);
            self.stats.answered += 1;
            return cx.effects.push(Effect::Done { id, result: Ok(Answer::Paths(paths)) });
        }
        let begun = if in_use || self.subscriptions.contains_key(&id) {
            Err(Error::Running(id))
        } else if self.running() >= limit {
            Err(Error::Busy { limit })
        } else if let Some(error) = self.no_path_ever() {
            Err(error)
        } else if let Command::Subscribe { from, namespaces, reader } = command {
            self.subscription(from, namespaces, *reader).map(|subscription| {
                self.subscriptions.insert(id, subscription);
                self.ask_to_subscribe(cx, id);
            })
        } else {
            self.task(cx, command).map(|task| {
                self.tasks.insert(TaskId::Command(id), task);
            })
        };
        if let Err(error) = begun {
            self.stats.failed += 1;
            cx.effects.push(Effect::Done { id, result: Err(error) });
        }
    }

    pub(super) fn cancel(&mut self, cx: &mut Cx<'_>, id: u64) {
        let was_running = if self.subscriptions.contains_key(&id) {
            self.unsubscribe(cx, id);
            true
        } else {
            self.drop_task(TaskId::Command(id)).is_some()
        };
        if was_running {
            cx.effects.push(Effect::Done { id, result: Err(Error::Cancelled) });
        }
    }

    /// Takes a task out, with the requests that are out for it; their replies come late then.
    pub(super) fn drop_task(&mut self, id: TaskId) -> Option<Task> {
        let mut task = self.tasks.remove(&id)?;
        for trying in task.legs.iter_mut().flat_map(Leg::end_tries) {
            self.release(trying);
        }
        Some(task)
    }

    fn task(&self, cx: &Cx<'_>, command: Command) -> Result<Task, Error> {
        let (work, route, parts) = match command {
            Command::Store { address, item } => self.store(address, vec![item])?,
            Command::StoreMany { address, items } => self.store(address, items)?,
            Command::Deposit { rule, token, items } => self.deposit(rule, token, items)?,
            Command::Retrieve { from, namespace, cursors, nodes } => {
                if !(1..=READ_NODES_MAX).contains(&nodes) {
                    return Err(invalid("nodes", "1 to 4 can be asked at once"));
                }
                let door = self.door(from)?;
                let route = self.keepers(&door.address)?;
                (Work::Read(Reading::new(door, namespace, cursors)), route, nodes)
            }
            Command::RetrieveFrom { node, from, namespace, cursor } => {
                let cursors = cursor.map(|cursor| (node, cursor)).into_iter().collect();
                let reading = Reading::new(self.door(from)?, namespace, cursors);
                self.at(node, Work::Read(reading))?
            }
            Command::Fetch { from, namespace, ids } => {
                if ids.is_empty() {
                    return Err(invalid("ids", "none are given"));
                }
                let door = self.door(from)?;
                let route = self.keepers(&door.address)?;
                (Work::Fetch(Fetching::new(door, namespace, ids)), route, 1)
            }
            Command::Delete { from, ids } => {
                let from = self.keyed(from)?;
                let route = self.keepers(&from.address)?;
                (Work::One(One::new(Wish::Delete { from, ids })), route, 1)
            }
            Command::Expire { from, ids, expiry, mode } => {
                let from = self.keyed(from)?;
                let route = self.keepers(&from.address)?;
                (Work::One(One::new(Wish::Expire { from, ids, expiry, mode })), route, 1)
            }
            Command::GetCard { account } => {
                let address = AccessRule::from(account).address();
                (Work::One(One::new(Wish::Card { account })), self.keepers(&address)?, 1)
            }
            Command::GetSwarm { address } => {
                (Work::One(One::new(Wish::Swarm { address })), self.keepers(&address)?, 1)
            }
            Command::Info { node } => self.at(node, Work::One(One::new(Wish::Info)))?,
            Command::Ping { node } => self.at(node, Work::One(One::new(Wish::Ping)))?,
            Command::Subscribe { .. } | Command::Paths => {
                unreachable!("subscriptions are not tasks, and paths are told at once")
            }
        };
        let legs = (0..parts).map(|_| Leg::new(None)).collect();
        Ok(Task::new(work, route, legs, self.command_span(), cx.now))
    }

    fn store(
        &self,
        address: InboxAddress,
        items: Vec<NewItem>,
    ) -> Result<(Work, Route, usize), Error> {
        check(&items)?;
        Ok((Work::Store(Storing::new(address, items)), self.keepers(&address)?, 1))
    }

    fn deposit(
        &self,
        rule: AccessRule,
        token: Capability,
        items: Vec<NewItem>,
    ) -> Result<(Work, Route, usize), Error> {
        check(&items)?;
        let route = self.keepers(&rule.address())?;
        Ok((Work::Store(Storing::deposit(rule, token, items)), route, 1))
    }

    fn at(&self, node: NodeId, work: Work) -> Result<(Work, Route, usize), Error> {
        if self.config.membership.node(&node).is_none() {
            return Err(Error::UnknownNode(node));
        }
        Ok((work, Route::Node(node), 1))
    }

    fn subscription(
        &self,
        from: Inbox,
        namespaces: Vec<session_core::Namespace>,
        reader: crate::InboxReader,
    ) -> Result<Subscription, Error> {
        let door = self.keyed(from)?;
        self.keepers(&door.address)?;
        match List::new(namespaces) {
            Ok(namespaces) if !namespaces.is_empty() => {
                Ok(Subscription::new(door, namespaces, reader))
            }
            _ => Err(invalid("namespaces", "1 to 8 can be subscribed to")),
        }
    }

    pub(super) fn door(&self, inbox: Inbox) -> Result<Door, Error> {
        Door::new(inbox, self.inbox())
    }

    // For what not everyone may do.
    fn keyed(&self, inbox: Inbox) -> Result<Door, Error> {
        let door = self.door(inbox)?;
        if door.has_key() { Ok(door) } else { Err(Error::NotPublic) }
    }

    /// Returns the swarm that keeps an inbox, by our view of the network.
    pub(super) fn keepers(&self, address: &InboxAddress) -> Result<Route, Error> {
        let swarm = placement::nearest(address, &self.config.membership.swarms());
        swarm.map(Route::Swarm).ok_or(Error::NoSwarm(*address))
    }

    /// Makes a task of a subscription.
    pub(super) fn internal(&self, cx: &Cx<'_>, work: Work, route: Route, legs: Vec<Leg>) -> Task {
        Task::new(work, route, legs, self.command_span(), cx.now)
    }

    /// Returns how long a command may go without progress; longer, where packets wait on purpose.
    fn command_span(&self) -> Span {
        let delays = self.routes.as_ref().map_or(Span::ZERO, Routes::expected_delay);
        self.config.limits.command_time + Span::from_millis(delays.as_millis() * 3)
    }
}

fn invalid(field: &str, why: &str) -> Error {
    Error::Invalid(Refusal::bad_request(field, why))
}

fn check(items: &[NewItem]) -> Result<(), Error> {
    if !(1..=STORE_ITEMS_MAX).contains(&items.len()) {
        return Err(invalid("items", "1 to 256 can be stored with one command"));
    }
    items.iter().try_for_each(|item| check_one(item).map_err(Error::Invalid))
}

// What every node would refuse is not sent; the rest is the node's to judge.
fn check_one(item: &NewItem) -> Result<(), Refusal> {
    let NewItem { namespace, ttl: got, .. } = *item;
    let Some(policy) = policy(namespace) else {
        return Err(Refusal::UnknownNamespace { namespace });
    };
    let owners = matches!(policy, Policy::Card | Policy::Manifest);
    let (min, max) = (TTL_MIN, if owners { TTL_OWNER_MAX } else { TTL_MAX });
    if (min..=max).contains(&got) { Ok(()) } else { Err(Refusal::TtlOutOfRange { got, min, max }) }
}
