//! JSON-RPC over a WebSocket: the same calls, and subscriptions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use session_core::ConversationId;
use session_rpc::json_rpc::{self, Call, ErrorObject, Incoming};
use session_rpc::vm::ErrorCode;
use session_rpc::vm::api::{self, Method};
use session_rpc::vm::group::Topic;
use session_rpc::vm::result::{self, Shape as _};
use session_runtime::http::websocket::WebSocket;
use session_runtime::http::{Request, Response};
use session_vm::chain::Accepted;
use session_vm::mailbox::Event;
use tokio::sync::broadcast::{self, error::RecvError};

use crate::api::{self as calls, Caller};
use crate::http::App;

/// Subscriptions of one connection: a person's conversations.
const SUBSCRIPTIONS_MAX: usize = 64;
/// Messages that are read at a time to catch up.
const CATCH_UP: usize = 100;
/// The method of pushes.
const PUSH: &str = "sessionvm.event";

/// Takes a WebSocket handshake.
pub(crate) fn accept(app: App, request: &Request) -> Response {
    let caller = Caller::of(request);
    Response::websocket(request, move |socket| async move {
        app.metrics().sockets.add(1);
        let mut session = Session {
            events: app.engine().post().events(),
            blocks: app.engine().accepted(),
            app: app.clone(),
            caller,
            socket,
            subscriptions: BTreeMap::new(),
            last: 0,
        };
        // It ends when the connection does.
        let _ = session.run().await;
        app.metrics().sockets.add(-1);
    })
}

/// What a subscription pushes.
enum Subscription {
    /// Messages from this sequence number on.
    Messages {
        conversation: ConversationId,
        next: u64,
    },
    Blocks,
}

struct Session {
    app: App,
    caller: Caller,
    socket: WebSocket,
    events: broadcast::Receiver<Event>,
    blocks: broadcast::Receiver<Arc<Accepted>>,
    subscriptions: BTreeMap<u64, Subscription>,
    last: u64,
}

/// The connection is over.
struct Gone;

impl Session {
    async fn run(&mut self) -> Result<(), Gone> {
        loop {
            tokio::select! {
                text = self.socket.recv() => match text {
                    None => return Err(Gone),
                    Some(text) => self.take(&text).await?,
                },
                event = self.events.recv() => match event {
                    Ok(Event::Message { conversation, .. }) => {
                        self.push_messages(Some(conversation)).await?;
                    }
                    // Nothing is lost by being behind: messages are read from the store.
                    Err(RecvError::Lagged(_)) => self.push_messages(None).await?,
                    Ok(_) => {}
                    Err(RecvError::Closed) => return Err(Gone),
                },
                block = self.blocks.recv() => match block {
                    Ok(block) => self.push_block(&block).await?,
                    // A gap in the heights tells the subscriber, who asks for what it missed.
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return Err(Gone),
                },
            }
        }
    }

    async fn take(&mut self, text: &str) -> Result<(), Gone> {
        // Calls that concern this connection come alone; everything else goes the usual way.
        if let Ok(Incoming::Single(Ok(call))) = json_rpc::parse(text.as_bytes()) {
            let profile = self.app.engine().config().profile;
            let answer = match Method::parse(&call, profile) {
                Ok(Method::Subscribe(subscribe)) => Some(self.subscribe(subscribe).await),
                Ok(Method::Unsubscribe(end)) => Some(self.unsubscribe(&end)),
                _ => None,
            };
            if let Some(answer) = answer {
                return self.answer(call, answer).await;
            }
        }
        match calls::respond(&self.app, self.caller, text.as_bytes()).await {
            None => Ok(()),
            Some(body) => self.send(body).await,
        }
    }

    async fn answer(
        &mut self,
        call: Call,
        answer: Result<(Value, Option<u64>), ErrorObject>,
    ) -> Result<(), Gone> {
        self.app.metrics().count(answer.is_ok());
        let fresh = answer.as_ref().ok().and_then(|(_, fresh)| *fresh);
        if let Some(id) = call.id {
            let response = json_rpc::Response::new(id, answer.map(|(value, _)| value));
            self.send(response.to_json()).await?;
        }
        // The answer first: whoever asked learns the number before it is used.
        match fresh {
            None => Ok(()),
            Some(number) => self.catch_up(number).await,
        }
    }

    async fn subscribe(
        &mut self,
        call: api::Subscribe,
    ) -> Result<(Value, Option<u64>), ErrorObject> {
        self.app.admit(self.caller.ip, 1)?;
        if self.subscriptions.len() >= SUBSCRIPTIONS_MAX {
            let count = self.subscriptions.len() as u64;
            return Err(ErrorCode::TooManySubscriptions
                .error()
                .limit(count + 1, SUBSCRIPTIONS_MAX as u64));
        }
        let subscription = match call.topic {
            Topic::Blocks => Subscription::Blocks,
            Topic::Session(conversation) => {
                calls::prove_reader(&self.app, conversation, call.asker).await?;
                let next = match call.after {
                    Some(after) => after.saturating_add(1),
                    None => self.next_sequence(conversation).await?,
                };
                Subscription::Messages { conversation, next }
            }
        };
        self.last += 1;
        self.subscriptions.insert(self.last, subscription);
        Ok((result::Subscribed { subscription: self.last }.to_json(), Some(self.last)))
    }

    fn unsubscribe(
        &mut self,
        call: &api::Unsubscribe,
    ) -> Result<(Value, Option<u64>), ErrorObject> {
        self.subscriptions
            .remove(&call.subscription)
            .ok_or_else(|| ErrorCode::UnknownSubscription.error())?;
        Ok((result::Success { success: true }.to_json(), None))
    }

    async fn next_sequence(&self, conversation: ConversationId) -> Result<u64, ErrorObject> {
        let read = self.app.engine().post().read(move |desk| {
            desk.mailbox.get(&conversation, desk.cx.now).map(|view| view.next_sequence())
        });
        read.await.map_err(calls::refused)
    }

    async fn push_messages(&mut self, only: Option<ConversationId>) -> Result<(), Gone> {
        let numbers: Vec<u64> = self
            .subscriptions
            .iter()
            .filter(|(_, subscription)| match subscription {
                Subscription::Messages { conversation, .. } => {
                    only.is_none_or(|only| only == *conversation)
                }
                Subscription::Blocks => false,
            })
            .map(|(number, _)| *number)
            .collect();
        for number in numbers {
            self.catch_up(number).await?;
        }
        Ok(())
    }

    /// Pushes everything that a subscription has not seen.
    async fn catch_up(&mut self, number: u64) -> Result<(), Gone> {
        loop {
            let Some(Subscription::Messages { conversation, next }) =
                self.subscriptions.get(&number)
            else {
                return Ok(());
            };
            let (conversation, next) = (*conversation, *next);
            let read = self.app.engine().post().read(move |desk| {
                let after = next.checked_sub(1);
                let now = desk.cx.now;
                desk.mailbox.messages(desk.cx.store, now, &conversation, after, CATCH_UP)
            });
            // A conversation that was forgotten has nothing more to push.
            let Ok(page) = read.await else { return Ok(()) };
            let Some(last) = page.messages.last().map(|message| message.sequence) else {
                return Ok(());
            };
            for message in page.messages {
                let message = Some(calls::message_result(conversation, message));
                self.push(result::Event { subscription: number, message, block: None }).await?;
            }
            if let Some(Subscription::Messages { next, .. }) = self.subscriptions.get_mut(&number) {
                *next = last + 1;
            }
            if !page.more {
                return Ok(());
            }
        }
    }

    async fn push_block(&mut self, accepted: &Accepted) -> Result<(), Gone> {
        let numbers: Vec<u64> = self
            .subscriptions
            .iter()
            .filter(|(_, subscription)| matches!(subscription, Subscription::Blocks))
            .map(|(number, _)| *number)
            .collect();
        if numbers.is_empty() {
            return Ok(());
        }
        let Ok(block) = calls::block_result(self.app.engine(), &accepted.block) else {
            return Ok(());
        };
        for subscription in numbers {
            let block = Some(block.clone());
            self.push(result::Event { subscription, message: None, block }).await?;
        }
        Ok(())
    }

    async fn push(&mut self, event: result::Event) -> Result<(), Gone> {
        let push = json!({"jsonrpc": "2.0", "method": PUSH, "params": event.to_json()});
        self.send(push.to_string().into_bytes()).await
    }

    async fn send(&mut self, body: Vec<u8>) -> Result<(), Gone> {
        // What serde writes is UTF-8.
        let text = String::from_utf8(body).map_err(|_| Gone)?;
        self.socket.send(text).await.map_err(|_| Gone)
    }
}
