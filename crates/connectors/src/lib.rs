//! How a node reaches the outside world for workload sessions: HTTP, EVM chains, databases, object
//! stores.
//!
//! What it is: [`Connectors`] performs one request of a source and returns the raw answer. Every
//! address goes through one gate first, which refuses everything that is not public.
//!
//! What it does not do: it agrees on nothing, transforms nothing, and sends no messages of people:
//! for those a [`Messenger`] is handed in.
//!
//! | module | does |
//! |---|---|
//! | [`config`] | what the operator sets up |
//! | `gate` | names to checked addresses to connections |
//! | `http` | requests and answers, through the gate |
//! | `evm` | reads of chains, at one block |
//! | `object` | objects of S3 and its likes |
//! | [`sql`] | rows of databases |
//!
//! ```
//! use session_connectors::{Config, Connectors};
//! use session_protocol::workload::oracle::{Fault, RawAnswer};
//! use session_connectors::Request;
//!
//! async fn observe(connectors: &Connectors, request: Request<'_>) -> Result<RawAnswer, Fault> {
//!     connectors.ask(request).await
//! }
//! let connectors = Connectors::new(Config::default());
//! ```

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use session_core::Digest;
use session_protocol::workload::manifest::{Connector, Manifest, Name, Source};
use session_protocol::workload::oracle::{Fault, OracleCall, Pin as BlockPin, RawAnswer};
use session_protocol::workload::template::{Escape, render};
use tokio::sync::Semaphore;
use tokio::time::timeout;

pub mod config;
mod evm;
mod gate;
mod http;
mod object;
pub mod sql;

pub use config::{BadConfig, Config};
pub use gate::{Place, Resolver, Resolving, SystemResolver};
pub use http::ANSWER_BYTES_MAX;

use gate::Gate;
use http::{Http, Trouble};

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What the program may do.
    pub manifest: &'a Manifest,
    /// What is asked.
    pub source: &'a Source,
    /// With what.
    pub call: &'a OracleCall,
    /// The block at which everybody looks, for sources that pin one.
    pub pin: Option<BlockPin>,
    /// The key of a write: the same for every attempt and every writer.
    pub write_key: Option<Digest>,
    /// Bytes that the session may still receive.
    pub bytes_left: u64,
}

/// A future of a [`Messenger`].
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<RawAnswer, Fault>> + Send + 'a>>;

/// Sends messages of sessions.
pub trait Messenger: Send + Sync {
    /// Sends `body` to a public identity card or an account. A message with this key that was sent
    /// before is not sent again.
    fn send<'a>(&'a self, to: &'a str, body: &'a [u8], key: Digest) -> Sending<'a>;
}

/// Everything that reaches the outside world. See the [crate](self).
pub struct Connectors {
    http: Http,
    objects: object::Objects,
    databases: BTreeMap<String, sql::Database>,
    messenger: Option<Arc<dyn Messenger>>,
    running: Semaphore,
}

impl Connectors {
    /// Takes what the operator set up.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let roots = config.root_store();
        let gate = Gate::new(config.allow_private, Arc::new(SystemResolver));
        Self {
            http: Http::new(gate, roots, config.secrets),
            objects: object::Objects::new(config.stores),
            databases: config.databases,
            messenger: None,
            running: Semaphore::new(config.requests_max),
        }
    }

    /// Resolves names with another resolver than the system's.
    #[must_use]
    pub fn with_resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.http.gate_mut().set_resolver(resolver);
        self
    }

    /// Says where this node listens: nothing may be asked there.
    #[must_use]
    pub fn with_own(mut self, listeners: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.http.gate_mut().add_own(listeners);
        self
    }

    /// Sends messages with `messenger`.
    #[must_use]
    pub fn with_messenger(mut self, messenger: Arc<dyn Messenger>) -> Self {
        self.messenger = Some(messenger);
        self
    }

    /// Performs a request. Dropping the future ends the connection; whether a write happened is
    /// then not known.
    ///
    /// # Errors
    /// When there is no answer within the source's timeout, it is too large, or the request is not
    /// allowed or not set up here.
    pub async fn ask(&self, request: Request<'_>) -> Result<RawAnswer, Fault> {
        self.within(request.source, self.dispatch(&request)).await
    }

    /// Picks the block at which everybody is to look.
    ///
    /// # Errors
    /// As [`Connectors::ask`]; [`Fault::NotSetUp`] if the source pins nothing.
    pub async fn pin(&self, request: Request<'_>) -> Result<BlockPin, Fault> {
        let Connector::Evm { url, confirmations, .. } = &request.source.connector else {
            return Err(Fault::NotSetUp);
        };
        self.within(request.source, async {
            evm::pin(&self.http, &request, url, *confirmations).await.map_err(told)
        })
        .await
    }

    async fn dispatch(&self, request: &Request<'_>) -> Result<RawAnswer, Fault> {
        match &request.source.connector {
            Connector::Http { method, url, headers, redirects } => {
                self.http.ask(request, *method, url, headers, *redirects).await.map_err(told)
            }
            Connector::Evm { url, query, confirmations } => {
                evm::ask(&self.http, request, url, query, *confirmations).await.map_err(told)
            }
            Connector::Sql { database, statement, parameters } => {
                self.rows(request, database, statement, parameters).await
            }
            Connector::ObjectGet { store, key } => {
                self.objects.get(&self.http, request, store, key).await.map_err(told)
            }
            Connector::ObjectPut { store, key, content_type, if_absent } => {
                let put = object::Put { store, key, content_type, if_absent: *if_absent };
                self.objects.put(&self.http, request, put).await.map_err(told)
            }
            Connector::Message { to } => self.send(request, to).await,
        }
    }

    async fn rows(
        &self,
        request: &Request<'_>,
        database: &str,
        statement: &str,
        parameters: &[Name],
    ) -> Result<RawAnswer, Fault> {
        let database = self.databases.get(database).ok_or(Fault::NotSetUp)?;
        let given = &request.call.parameters;
        let value = |name: &Name| given.iter().find(|one| one.name == *name).map(|one| &*one.value);
        let values: Option<Vec<&str>> = parameters.iter().map(value).collect();
        let query = sql::Query {
            statement,
            values: &values.ok_or(Fault::Malformed)?,
            timeout: Duration::from_millis(request.source.timeout.as_millis()),
            bytes_max: ANSWER_BYTES_MAX.min(request.source.bytes_max as usize),
        };
        let answer = database.ask(query).await.map_err(|error| {
            tracing::debug!(%error, "a database gives no answer");
            Fault::from(&error)
        })?;
        if answer.received > request.bytes_left {
            return Err(Fault::Exhausted);
        }
        Ok(answer)
    }

    async fn send(&self, request: &Request<'_>, to: &str) -> Result<RawAnswer, Fault> {
        let messenger = self.messenger.as_ref().ok_or(Fault::NotSetUp)?;
        let key = request.write_key.ok_or(Fault::Malformed)?;
        let to = render(to, &request.call.parameters, Escape::None).map_err(|_| Fault::Denied)?;
        messenger.send(&to, &request.call.body, key).await
    }

    /// Waits for a turn and for the answer, both together as long as the source allows.
    async fn within<T>(
        &self,
        source: &Source,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let in_turn = async {
            // Never closed.
            let _turn = self.running.acquire().await.map_err(|_| Fault::NotSetUp)?;
            work.await
        };
        let limit = Duration::from_millis(source.timeout.as_millis());
        timeout(limit, in_turn).await.unwrap_or(Err(Fault::Timeout))
    }
}

/// Tells the operator why there is no answer, and returns what the committee is told.
fn told(trouble: Trouble) -> Fault {
    // Hosts and addresses of workloads are not for logs; what a gate refuses is no exception.
    let fault = trouble.fault();
    tracing::debug!(%fault, "a source gives no answer");
    fault
}
