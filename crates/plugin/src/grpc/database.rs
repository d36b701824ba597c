//! The host's database (`rpcdb.Database`), called from threads that may block.

use std::sync::mpsc;

use session_runtime::failure::chain;
use session_storage::kv::{Batch, Database, KvError};
use tokio::runtime::{Builder, Runtime};
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::endpoint;
use super::wire::rpcdb::database_client::DatabaseClient;
use super::wire::rpcdb::{
    DeleteRequest, Error, GetRequest, IteratorErrorRequest, IteratorNextRequest,
    IteratorReleaseRequest, NewIteratorWithStartAndPrefixRequest, PutRequest, WriteBatchRequest,
};

/// The host's database over gRPC.
///
/// Its connection is driven by a thread of its own. The callers wait, sometimes holding locks of
/// the chain; whatever other threads then wait for those locks, also all threads of the program's
/// runtime, the answer still comes in. (Waiting on the program's own runtime would deadlock there,
/// and panic when called from a task.)
pub(super) struct GrpcDatabase {
    /// `None` only while being dropped.
    driver: Option<Runtime>,
    client: DatabaseClient<Channel>,
    /// Why nothing works any more.
    closed: Option<String>,
}

impl GrpcDatabase {
    /// Connects to the host's database.
    ///
    /// # Errors
    /// When it does not answer.
    pub(super) fn connect(address: &str) -> Result<Self, KvError> {
        let failed = |why| KvError::Failed { doing: "opening", why };
        let driver = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("rpcdb")
            .enable_all()
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let endpoint = endpoint(address).map_err(failed)?;
        let (answer, answered) = mpsc::sync_channel(1);
        driver.spawn(async move {
            // A caller always waits.
            let _ = answer.send(endpoint.connect().await);
        });
        let channel = answered
            .recv()
            .map_err(|_| failed("the connecting task ended".to_owned()))?
            .map_err(|error| failed(format!("{address}: {}", chain(&error))))?;
        let client = DatabaseClient::new(channel)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        Ok(Self { driver: Some(driver), client, closed: None })
    }

    fn open(&self) -> Result<(), KvError> {
        match &self.closed {
            None => Ok(()),
            Some(why) => Err(KvError::Closed { why: why.clone() }),
        }
    }

    /// Makes a call and waits for its answer.
    fn ask<T, F>(
        &self,
        doing: &'static str,
        call: impl FnOnce(DatabaseClient<Channel>) -> F,
    ) -> Result<T, KvError>
    where
        T: Send + 'static,
        F: Future<Output = Result<Response<T>, Status>> + Send + 'static,
    {
        let ended = || KvError::Closed { why: "its connection ended".to_owned() };
        let driver = self.driver.as_ref().ok_or_else(ended)?;
        let call = call(self.client.clone());
        let (answer, answered) = mpsc::sync_channel(1);
        driver.spawn(async move {
            // A caller always waits.
            let _ = answer.send(call.await);
        });
        let outcome = answered.recv().map_err(|_| ended())?;
        let failed = |status: Status| KvError::Failed { doing, why: status.message().to_owned() };
        outcome.map(Response::into_inner).map_err(failed)
    }

    fn visit_all(
        &self,
        iterator: u64,
        visitor: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        loop {
            let next = self.ask("reading", |mut client| async move {
                client.iterator_next(IteratorNextRequest { id: iterator }).await
            })?;
            if next.data.is_empty() {
                // The end looks like a failure; this call tells them apart.
                let end = self.ask("reading", |mut client| async move {
                    client.iterator_error(IteratorErrorRequest { id: iterator }).await
                })?;
                return judge("reading", end.err);
            }
            for PutRequest { key, value } in next.data {
                if !visitor(&key, &value) {
                    return Ok(());
                }
            }
        }
    }
}

impl Database for GrpcDatabase {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.open()?;
        let request = GetRequest { key: key.to_vec() };
        let answer = self.ask("reading", |mut client| async move { client.get(request).await })?;
        if answer.err == i32::from(Error::NotFound) {
            return Ok(None);
        }
        judge("reading", answer.err)?;
        Ok(Some(answer.value))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), KvError> {
        self.open()?;
        let mut request = WriteBatchRequest::default();
        for (key, value) in batch.changes() {
            let key = key.to_vec();
            match value {
                Some(value) => request.puts.push(PutRequest { key, value: value.to_vec() }),
                None => request.deletes.push(DeleteRequest { key }),
            }
        }
        let outcome = self
            .ask("writing", |mut client| async move { client.write_batch(request).await })
            .and_then(|answer| judge("writing", answer.err));
        if let Err(error) = &outcome {
            // Whether it was written is not known, so nothing read from now on means anything.
            self.closed = Some(format!("an earlier write failed: {error}"));
        }
        outcome
    }

    fn visit(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        self.open()?;
        let request =
            NewIteratorWithStartAndPrefixRequest { start: Vec::new(), prefix: prefix.to_vec() };
        let iterator = self
            .ask("reading", |mut client| async move {
                client.new_iterator_with_start_and_prefix(request).await
            })?
            .id;
        let outcome = self.visit_all(iterator, visitor);
        let released = self.ask("reading", |mut client| async move {
            client.iterator_release(IteratorReleaseRequest { id: iterator }).await
        });
        if let Err(error) = released {
            // All that was wanted has been read; the host forgets iterators with the connection.
            tracing::debug!(%error, "an iterator of the host was not released");
        }
        outcome
    }
}

impl Drop for GrpcDatabase {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.take() {
            // Waiting for its thread is not allowed everywhere, and nothing is in progress.
            driver.shutdown_background();
        }
    }
}

/// Turns the error number of an answer into an outcome.
fn judge(doing: &'static str, number: i32) -> Result<(), KvError> {
    match Error::try_from(number) {
        Ok(Error::Unspecified) => Ok(()),
        Ok(Error::Closed) => Err(KvError::Closed { why: "the host closed it".to_owned() }),
        Ok(Error::NotFound) => {
            Err(KvError::Failed { doing, why: "the host answers \"not found\"".to_owned() })
        }
        Err(_) => Err(KvError::Failed { doing, why: format!("the host's error {number}") }),
    }
}
