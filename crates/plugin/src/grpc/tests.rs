//! The driver between a host and a toy chain, over real connections.

mod database;
#[path = "../../tests/it/grpc_host/host.rs"]
mod host;
mod http;
mod lifecycle;
mod starting;
mod toy;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::{PROTOCOL, ServeError, serve_for, wire};
use crate::life::Life;
use host::{Host, PATIENCE, Plugin, Store};
use toy::Toy;
use wire::vm::InitializeRequest;

/// A toy chain that is being served to a host.
struct Served {
    host: Host,
    plugin: Plugin,
    toy: Arc<Toy>,
    ended: JoinHandle<Result<(), ServeError>>,
}

impl Served {
    async fn start(store: Store) -> Self {
        let mut host = Host::start(PROTOCOL, store).await;
        let toy = Arc::new(Toy::default());
        let (engine, vm) = (host.engine.address.to_string(), toy.clone());
        let ended =
            tokio::spawn(
                async move { serve_for(Life::undisturbed(), &engine, PROTOCOL, vm).await },
            );
        let plugin = host.plugin().await;
        Self { host, plugin, toy, ended }
    }

    fn initialize_request(&self) -> InitializeRequest {
        InitializeRequest {
            network_id: 1,
            chain_id: vec![7; 32],
            node_id: vec![8; 20],
            genesis_bytes: b"genesis".to_vec(),
            db_server_addr: self.host.database.address.to_string(),
            server_addr: self.host.network.address.to_string(),
            ..InitializeRequest::default()
        }
    }

    /// Says `Shutdown`, hangs up, and waits for the plugin's end.
    async fn end(mut self) {
        self.plugin.vm.shutdown(()).await.expect("shut down");
        assert!(self.toy.is_shut_down());
        drop(self.plugin);
        let ended = timeout(PATIENCE, self.ended).await.expect("an end").expect("no panic");
        ended.expect("a good end");
    }
}

/// Waits until a counter has a value.
async fn reaches(counter: &AtomicUsize, value: usize) {
    let waiting = async {
        while counter.load(Ordering::SeqCst) != value {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.expect("the counter gets there");
}
