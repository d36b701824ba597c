//! Local callers: whoever asks over HTTP, and waits for a reply or for pushes.

use std::collections::BTreeMap;
use std::sync::Arc;

use session_core::{NodeId, Time};
use session_protocol::Checker;
use session_protocol::inbound::CheckedRequest;
use session_protocol::request::{Push, Reply, Request};
use session_runtime::clock::SystemClock;
use tokio::sync::{mpsc, oneshot};

use super::Status;
use crate::workload::{Caller, Given, Wish};

/// Calls that wait for the shell; more are told to come back.
pub(super) const ASKS_MAX: usize = 1024;

/// Calls that wait for their reply.
const WAITING_MAX: usize = 4096;

/// Callers with a subscription.
const SUBSCRIBERS_MAX: usize = 256;

/// Pushes that wait for one subscriber; one who reads more slowly is cut off and starts again from
/// its cursor.
const PUSHES_MAX: usize = 256;

/// What a local caller wants.
pub(super) enum Ask {
    /// A request, and where its reply goes.
    Call(Call),
    /// How the node is.
    Status(oneshot::Sender<Status>),
    /// Something about workload sessions.
    Session(Wish, Caller),
}

/// A request of a local caller.
pub(super) struct Call {
    request: CheckedRequest,
    reply: oneshot::Sender<Result<Reply, NoReply>>,
    pushes: Option<mpsc::Sender<Push>>,
}

/// Why a call got no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReply {
    /// Too many calls wait.
    #[error("too many calls wait")]
    Busy,
    /// The node stops.
    #[error("the node is stopping")]
    Stopping,
    /// The node has not begun yet.
    #[error("the node is starting")]
    Starting,
}

/// A cheap handle on the shell.
#[derive(Clone)]
pub struct Handle {
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) checker: Arc<Checker>,
    pub(super) clock: Arc<SystemClock>,
    pub(super) node: NodeId,
}

/// A request that the shell has, and will perform after those before it.
pub struct Submitted(oneshot::Receiver<Result<Reply, NoReply>>);

impl Submitted {
    /// Waits for the reply. Dropping the future does not undo the request.
    ///
    /// # Errors
    /// When the node is too busy or stops.
    pub async fn reply(self) -> Result<Reply, NoReply> {
        self.0.await.unwrap_or(Err(NoReply::Stopping))
    }
}

/// Something about workload sessions that the shell has.
pub(crate) struct Wished(oneshot::Receiver<Result<Given, NoReply>>);

impl Wished {
    /// Waits for what comes of it.
    pub(crate) async fn given(self) -> Result<Given, NoReply> {
        self.0.await.unwrap_or(Err(NoReply::Stopping))
    }
}

impl Handle {
    /// Returns the node's id.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// Returns the node's clock.
    #[must_use]
    pub fn now(&self) -> Time {
        self.clock.now()
    }

    /// Hands a request over; requests are performed in the order in which they are submitted.
    ///
    /// # Errors
    /// When the node is too busy or stops.
    pub fn submit(&self, request: Request) -> Result<Submitted, NoReply> {
        let (reply, answer) = oneshot::channel();
        let request = self.checker.check_request(request);
        self.send(Ask::Call(Call { request, reply, pushes: None }))?;
        Ok(Submitted(answer))
    }

    /// Performs a request whose operations may subscribe; the pushes end when the receiver is
    /// dropped, or when it does not keep up.
    ///
    /// # Errors
    /// When the node is too busy or stops.
    pub async fn subscribe(
        &self,
        request: Request,
    ) -> Result<(Reply, mpsc::Receiver<Push>), NoReply> {
        let (reply, answer) = oneshot::channel();
        let (pushes, pushed) = mpsc::channel(PUSHES_MAX);
        let request = self.checker.check_request(request);
        self.send(Ask::Call(Call { request, reply, pushes: Some(pushes) }))?;
        Ok((Submitted(answer).reply().await?, pushed))
    }

    /// Returns how the node is; asking goes through its main loop, so an answer shows that it runs.
    ///
    /// # Errors
    /// When the node is too busy or stops.
    pub async fn status(&self) -> Result<Status, NoReply> {
        let (status, answer) = oneshot::channel();
        self.send(Ask::Status(status))?;
        answer.await.map_err(|_| NoReply::Stopping)
    }

    /// Hands over what somebody wants of workload sessions.
    ///
    /// # Errors
    /// When the node is too busy or stops.
    pub(crate) fn wish(&self, wish: Wish) -> Result<Wished, NoReply> {
        let (caller, answer) = oneshot::channel();
        self.send(Ask::Session(wish, caller))?;
        Ok(Wished(answer))
    }

    fn send(&self, ask: Ask) -> Result<(), NoReply> {
        self.asks.try_send(ask).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NoReply::Busy,
            mpsc::error::TrySendError::Closed(_) => NoReply::Stopping,
        })
    }
}

/// The local callers that the machine knows.
#[derive(Default)]
pub(super) struct Calls {
    last: u64,
    replies: BTreeMap<u64, oneshot::Sender<Result<Reply, NoReply>>>,
    subscribers: BTreeMap<u64, mpsc::Sender<Push>>,
}

impl Calls {
    /// Numbers a caller. Returns `None` when there are too many, and tells the caller.
    pub(super) fn begin(&mut self, call: Call) -> Option<(u64, CheckedRequest)> {
        let Call { request, reply, pushes } = call;
        let crowded = pushes.is_some() && self.subscribers.len() >= SUBSCRIBERS_MAX;
        if crowded || self.replies.len() >= WAITING_MAX {
            drop(reply.send(Err(NoReply::Busy)));
            return None;
        }
        self.last += 1;
        self.replies.insert(self.last, reply);
        if let Some(pushes) = pushes {
            self.subscribers.insert(self.last, pushes);
        }
        Some((self.last, request))
    }

    /// Hands a reply to its caller. Returns whether the machine may forget the caller.
    pub(super) fn reply(&mut self, id: u64, reply: Reply) -> bool {
        let Some(waiting) = self.replies.remove(&id) else { return true };
        // A caller that is gone has missed nothing that it could still use.
        drop(waiting.send(Ok(reply)));
        !self.subscribers.contains_key(&id)
    }

    /// Hands a push to its subscriber. Returns whether the machine may forget the subscriber.
    pub(super) fn push(&mut self, id: u64, push: Push) -> bool {
        let taken = self.subscribers.get(&id).is_some_and(|pushes| pushes.try_send(push).is_ok());
        if !taken {
            self.subscribers.remove(&id);
        }
        !taken
    }

    /// Forgets subscribers that are gone, and returns their numbers.
    pub(super) fn gone(&mut self) -> Vec<u64> {
        let mut gone = Vec::new();
        self.subscribers.retain(|id, pushes| {
            let closed = pushes.is_closed();
            if closed {
                gone.push(*id);
            }
            !closed
        });
        gone
    }

    /// Ends every subscription; who waits for a reply still gets it.
    pub(super) fn end_subscriptions(&mut self) {
        self.subscribers.clear();
    }

    /// Returns how many wait for a reply.
    pub(super) fn waiting(&self) -> usize {
        self.replies.len()
    }

    /// Returns how many are subscribed.
    pub(super) fn subscribers(&self) -> usize {
        self.subscribers.len()
    }
}
