//! avalanchego as a plugin sees it: its runtime, its database and its network, and how it calls.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_storage::kv::{Batch, Database, MemoryDatabase};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tonic::transport::server::{Router, TcpIncoming};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, async_trait};

use super::wire::appsender::SendAppGossipMsg;
use super::wire::appsender::app_sender_server::{AppSender, AppSenderServer};
use super::wire::http::http_client::HttpClient;
use super::wire::rpcdb::database_server::{self, DatabaseServer};
use super::wire::rpcdb::{self as db, PutRequest};
use super::wire::vm::runtime::InitializeRequest;
use super::wire::vm::runtime::runtime_server::{Runtime, RuntimeServer};
use super::wire::vm::vm_client::VmClient;

/// How long any step may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Entries of an iterator come in batches of this size.
const ITERATOR_BATCH_BYTES: usize = 128 << 10;

/// A server that ends with its owner.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves on a port of the loopback interface.
pub(crate) async fn listen(router: Router) -> Listening {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let task = tokio::spawn(async move {
        router.serve_with_incoming(TcpIncoming::from(listener)).await.expect("serving");
    });
    Listening { address, task }
}

/// A host.
pub(crate) struct Host {
    pub(crate) engine: Listening,
    pub(crate) database: Listening,
    pub(crate) network: Listening,
    /// What plugins said in the handshake, also when it was refused.
    pub(crate) introductions: mpsc::Receiver<InitializeRequest>,
    /// What plugins gave to the network.
    pub(crate) gossip: mpsc::Receiver<SendAppGossipMsg>,
}

impl Host {
    /// Starts a host that accepts one protocol number.
    pub(crate) async fn start(protocol: u32, store: Store) -> Self {
        let (introduced, introductions) = mpsc::channel(16);
        let (gossiped, gossip) = mpsc::channel(1024);
        let engine = RuntimeServer::new(Engine { protocol, introduced });
        let database = DatabaseServer::new(store)
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        let network = AppSenderServer::new(Network { gossiped });
        Self {
            engine: listen(Server::builder().add_service(engine)).await,
            database: listen(Server::builder().add_service(database)).await,
            network: listen(Server::builder().add_service(network)).await,
            introductions,
            gossip,
        }
    }

    /// Waits for a plugin's handshake and connects to it.
    pub(crate) async fn plugin(&mut self) -> Plugin {
        let introduction = timeout(PATIENCE, self.introductions.recv())
            .await
            .expect("a handshake in time")
            .expect("the engine runs");
        Plugin::connect(&introduction.addr).await
    }
}

/// A plugin as the host calls it.
pub(crate) struct Plugin {
    pub(crate) vm: VmClient<Channel>,
}

impl Plugin {
    pub(crate) async fn connect(address: &str) -> Self {
        Self {
            vm: VmClient::new(dial(address).await)
                .max_decoding_message_size(usize::MAX)
                .max_encoding_message_size(usize::MAX),
        }
    }

    /// Connects to one of the plugin's HTTP servers.
    pub(crate) async fn http(address: &str) -> HttpClient<Channel> {
        HttpClient::new(dial(address).await)
    }
}

pub(crate) async fn dial(address: &str) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect().await.expect("the plugin listens")
}

struct Engine {
    protocol: u32,
    introduced: mpsc::Sender<InitializeRequest>,
}

#[async_trait]
impl Runtime for Engine {
    async fn initialize(
        &self,
        request: Request<InitializeRequest>,
    ) -> Result<Response<()>, Status> {
        let request = request.into_inner();
        let theirs = request.protocol_version;
        self.introduced.send(request).await.expect("the test listens");
        if theirs != self.protocol {
            return Err(Status::unknown(format!(
                "handshake failed: expected protocol version {} but got {theirs}",
                self.protocol
            )));
        }
        Ok(Response::new(()))
    }
}

struct Network {
    gossiped: mpsc::Sender<SendAppGossipMsg>,
}

#[async_trait]
impl AppSender for Network {
    async fn send_app_gossip(
        &self,
        request: Request<SendAppGossipMsg>,
    ) -> Result<Response<()>, Status> {
        self.gossiped.send(request.into_inner()).await.expect("the test listens");
        Ok(Response::new(()))
    }
}

type Entries = Vec<PutRequest>;

/// The host's database, which outlives plugins.
#[derive(Clone, Default)]
pub(crate) struct Store {
    pub(crate) entries: Arc<Mutex<MemoryDatabase>>,
    /// Whether writes are refused.
    pub(crate) broken: Arc<AtomicBool>,
    iterators: Arc<Mutex<BTreeMap<u64, Entries>>>,
    last_iterator: Arc<AtomicU64>,
}

impl Store {
    /// Returns the number of iterators that nobody released.
    pub(crate) fn open_iterators(&self) -> usize {
        self.iterators.lock().expect("no panic").len()
    }
}

#[async_trait]
impl database_server::Database for Store {
    async fn get(
        &self,
        request: Request<db::GetRequest>,
    ) -> Result<Response<db::GetResponse>, Status> {
        let found = self.entries.lock().expect("no panic").get(&request.into_inner().key);
        Ok(Response::new(match found.expect("memory does not fail") {
            Some(value) => db::GetResponse { value, err: db::Error::Unspecified.into() },
            None => db::GetResponse { value: Vec::new(), err: db::Error::NotFound.into() },
        }))
    }

    async fn write_batch(
        &self,
        request: Request<db::WriteBatchRequest>,
    ) -> Result<Response<db::WriteBatchResponse>, Status> {
        if self.broken.load(Ordering::SeqCst) {
            return Ok(Response::new(db::WriteBatchResponse { err: db::Error::Closed.into() }));
        }
        let request = request.into_inner();
        let mut batch = Batch::new();
        for put in request.puts {
            batch.put(put.key, put.value);
        }
        for delete in request.deletes {
            batch.delete(delete.key);
        }
        self.entries.lock().expect("no panic").write(&batch).expect("memory does not fail");
        Ok(Response::new(db::WriteBatchResponse { err: db::Error::Unspecified.into() }))
    }

    async fn new_iterator_with_start_and_prefix(
        &self,
        request: Request<db::NewIteratorWithStartAndPrefixRequest>,
    ) -> Result<Response<db::NewIteratorWithStartAndPrefixResponse>, Status> {
        let request = request.into_inner();
        let mut entries = Vec::new();
        let visited =
            self.entries.lock().expect("no panic").visit(&request.prefix, &mut |key, value| {
                if key >= request.start.as_slice() {
                    entries.push(PutRequest { key: key.to_vec(), value: value.to_vec() });
                }
                true
            });
        visited.expect("memory does not fail");
        entries.reverse();
        let id = self.last_iterator.fetch_add(1, Ordering::SeqCst);
        self.iterators.lock().expect("no panic").insert(id, entries);
        Ok(Response::new(db::NewIteratorWithStartAndPrefixResponse { id }))
    }

    async fn iterator_next(
        &self,
        request: Request<db::IteratorNextRequest>,
    ) -> Result<Response<db::IteratorNextResponse>, Status> {
        let mut iterators = self.iterators.lock().expect("no panic");
        let left = iterators
            .get_mut(&request.into_inner().id)
            .ok_or_else(|| Status::unknown("unknown iterator"))?;
        let (mut data, mut size) = (Vec::new(), 0);
        while size < ITERATOR_BATCH_BYTES
            && let Some(entry) = left.pop()
        {
            size += entry.key.len() + entry.value.len();
            data.push(entry);
        }
        Ok(Response::new(db::IteratorNextResponse { data }))
    }

    async fn iterator_error(
        &self,
        request: Request<db::IteratorErrorRequest>,
    ) -> Result<Response<db::IteratorErrorResponse>, Status> {
        if !self.iterators.lock().expect("no panic").contains_key(&request.into_inner().id) {
            return Err(Status::unknown("unknown iterator"));
        }
        Ok(Response::new(db::IteratorErrorResponse { err: db::Error::Unspecified.into() }))
    }

    async fn iterator_release(
        &self,
        request: Request<db::IteratorReleaseRequest>,
    ) -> Result<Response<db::IteratorReleaseResponse>, Status> {
        self.iterators.lock().expect("no panic").remove(&request.into_inner().id);
        Ok(Response::new(db::IteratorReleaseResponse { err: db::Error::Unspecified.into() }))
    }
}
