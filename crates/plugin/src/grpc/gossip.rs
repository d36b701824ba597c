//! Gossip to other validators through the host (`appsender.AppSender`).

use tokio::sync::mpsc;

use super::endpoint;
use super::wire::appsender::SendAppGossipMsg;
use super::wire::appsender::app_sender_client::AppSenderClient;
use crate::hosted;

/// To how many validators the host sends one message. Only the scheduled proposer builds a block,
/// so a transaction should reach every validator in one hop; the host picks at random among those
/// connected, and chains of this kind have some tens of them.
const VALIDATORS: u64 = 100;

/// Messages that wait for the host. The chain sends a transaction at a time, of at most 64 KiB, so
/// this is 16 MiB; when it is full, new messages are dropped, and the chain sends them again.
const WAITING_MAX: usize = 256;

/// The host's gossip network.
pub(super) struct Gossip {
    waiting: mpsc::Sender<Vec<u8>>,
}

impl Gossip {
    /// Starts a task that hands messages to the host, until the last sender is dropped. The
    /// connection is made with the first message, and again after a failure.
    ///
    /// # Errors
    /// When the address is none.
    pub(super) fn start(address: &str) -> Result<Self, String> {
        let channel = endpoint(address)?.connect_lazy();
        let mut client = AppSenderClient::new(channel)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        let (waiting, mut messages) = mpsc::channel(WAITING_MAX);
        tokio::spawn(async move {
            while let Some(msg) = messages.recv().await {
                let message = SendAppGossipMsg {
                    node_ids: Vec::new(),
                    validators: VALIDATORS,
                    non_validators: 0,
                    peers: 0,
                    msg,
                };
                if let Err(status) = client.send_app_gossip(message).await {
                    tracing::debug!(%status, "the host did not take a message for validators");
                }
            }
        });
        Ok(Self { waiting })
    }
}

impl hosted::Gossip for Gossip {
    fn push(&self, bytes: Vec<u8>) {
        if self.waiting.try_send(bytes).is_err() {
            tracing::debug!("a message for validators was dropped: the host is too slow");
        }
    }
}
