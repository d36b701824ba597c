//! Transactions of a follower's clients, on their way to the sequencer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use session_protocol::chain::ReceivedTransaction;
use session_rpc::vm::ErrorCode;
use session_runtime::http::client::{Client, Endpoint};
use tokio::sync::mpsc;

use super::{PAUSE, client};
use crate::engine::Engine;
use crate::hosted::Gossip;

/// How often a transaction is offered to a sequencer that does not take it: five minutes or more.
const ATTEMPTS_MAX: u32 = 600;
/// Transactions that wait to be handed on; more are dropped, their senders see them expire.
const QUEUE_MAX: usize = 1024;
/// Transactions handed on that are remembered, in case the sequencer forgets them.
const HANDED_MAX: usize = 4096;

/// Hands transactions on to the sequencer.
pub(crate) struct Forward {
    queue: mpsc::Sender<Vec<u8>>,
    handed: Arc<Mutex<VecDeque<Vec<u8>>>>,
}

impl Forward {
    /// Starts the task that does it.
    pub(crate) fn start(upstream: Endpoint) -> Self {
        let (queue, mut waiting) = mpsc::channel::<Vec<u8>>(QUEUE_MAX);
        let handed = Arc::new(Mutex::new(VecDeque::new()));
        let remember = Arc::clone(&handed);
        tokio::spawn(async move {
            let client = client(upstream, Duration::from_secs(10));
            while let Some(bytes) = waiting.recv().await {
                hand_on(&client, &bytes).await;
                let mut handed = remember.lock().unwrap_or_else(PoisonError::into_inner);
                if handed.len() >= HANDED_MAX {
                    handed.pop_front();
                }
                handed.push_back(bytes);
            }
        });
        Self { queue, handed }
    }

    /// Hands on once more what is still waiting.
    pub(crate) fn again(&self, engine: &Engine) {
        let handed =
            std::mem::take(&mut *self.handed.lock().unwrap_or_else(PoisonError::into_inner));
        let chain = engine.chain();
        for bytes in handed {
            let waits = ReceivedTransaction::parse(&bytes)
                .is_ok_and(|transaction| chain.waiting(&transaction.id).is_some());
            if waits {
                self.push(bytes);
            }
        }
    }
}

impl Gossip for Forward {
    fn push(&self, bytes: Vec<u8>) {
        if self.queue.try_send(bytes).is_err() {
            tracing::warn!("too many transactions wait for the sequencer; one is not handed on");
        }
    }
}

async fn hand_on(client: &Client, bytes: &[u8]) {
    let call = format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"sessionvm.IssueTx","params":{{"tx":"{}"}}}}"#,
        hex::encode(bytes)
    );
    for _ in 0..ATTEMPTS_MAX {
        if let Ok((200, answer)) = client.post("/rpc", "application/json", call.clone()).await {
            match refusal(&answer) {
                None => return,
                Some((code, why)) if !may_pass(code) => {
                    // It may have it already.
                    tracing::debug!("the sequencer refused a transaction: {why}");
                    return;
                }
                Some(_) => {}
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    tracing::warn!("the sequencer was away too long; a transaction was not handed on");
}

/// Returns the code and the text of an answer that is none of a transaction taken.
fn refusal(answer: &[u8]) -> Option<(i64, String)> {
    let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
    if answer["result"].is_object() {
        return None;
    }
    let error = &answer["error"];
    Some((error["code"].as_i64().unwrap_or_default(), error["data"].to_string()))
}

/// Whether the sequencer may take later what it refused with this code.
fn may_pass(code: i64) -> bool {
    code != i64::from(ErrorCode::TransactionRefused.code())
}
