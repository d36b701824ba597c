//! The chain inside a host: what the drivers call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use session_core::BlockId;
use session_rpc::vm::{Config as ChainConfig, Genesis as GenesisFile};
use session_runtime::http::{Request, Response};
use session_storage::kv::{Batch, DiskDatabase};
use session_vm::chain::AcceptError;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::engine::{AnyDatabase, Engine, Parts, info};
use crate::hosted::{
    AncestorLimits, BlockInfo, Event, Health, Hosted, HostedError, Initialize, Pending, Phase,
    Result,
};
use crate::http::{App, Role};

/// Our own database, below the host's directory, when the host offers none.
const DATABASE: &str = "sessionvm/chain.redb";

/// A chain that a host will initialize, drive and shut down.
pub struct Plugin {
    app: RwLock<Option<App>>,
    /// Initializing takes long, and hosts may ask twice.
    initializing: Mutex<()>,
    running: watch::Sender<bool>,
}

impl Default for Plugin {
    fn default() -> Self {
        Self {
            app: RwLock::new(None),
            initializing: Mutex::new(()),
            running: watch::Sender::new(false),
        }
    }
}

impl Plugin {
    fn app(&self) -> Result<App> {
        let app = self.app.read().unwrap_or_else(PoisonError::into_inner).clone();
        app.ok_or(HostedError::NotRunning("it was not initialized, or it was shut down"))
    }

    fn engine(&self) -> Result<Arc<Engine>> {
        self.app().map(|app| Arc::clone(app.engine()))
    }

    fn once(&self) -> MutexGuard<'_, ()> {
        self.initializing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hosted for Plugin {
    fn version(&self) -> String {
        crate::VERSION.to_owned()
    }

    fn initialize(&self, with: Initialize) -> Result<BlockInfo> {
        let _once = self.once();
        if self.app().is_ok() {
            return Err(HostedError::Refused("the chain is initialized already".to_owned()));
        }
        let refused = |what: &str, error: &dyn core::fmt::Display| {
            HostedError::Refused(format!("the {what}: {error}"))
        };
        let (genesis, unknown) =
            GenesisFile::parse(&with.genesis).map_err(|error| refused("genesis", &error))?;
        for warning in unknown {
            tracing::warn!("the genesis: nobody knows the key {warning}");
        }
        let config = if with.config.trim_ascii().is_empty() {
            ChainConfig::default()
        } else {
            let (config, unknown) = ChainConfig::parse(&with.config)
                .map_err(|error| refused("configuration", &error))?;
            for warning in unknown {
                tracing::warn!("the configuration: nobody knows the key {warning}");
            }
            config
        };
        let database = match (with.database, &with.data_dir) {
            (Some(database), _) => database,
            (None, Some(dir)) => own_database(&dir.join(DATABASE))?,
            (None, None) => {
                let why = "the host offers neither a database nor a directory";
                return Err(HostedError::Refused(why.to_owned()));
            }
        };
        let engine = Engine::open(Parts {
            chain_id: Some(with.chain_id),
            database,
            data_dir: with.data_dir,
            genesis,
            config,
            gossip: with.gossip,
        })?;
        let last = engine.last_accepted();
        // Hosts forward everything from one address: they limit their clients themselves.
        let app = App::new(engine, Role::Hosted, Some(0));
        *self.app.write().unwrap_or_else(PoisonError::into_inner) = Some(app);
        self.running.send_replace(true);
        Ok(last)
    }

    fn set_phase(&self, phase: Phase) -> Result<BlockInfo> {
        Ok(self.engine()?.set_phase(phase))
    }

    fn shutdown(&self) -> Result<()> {
        let _once = self.once();
        self.running.send_replace(false);
        let app = self.app.write().unwrap_or_else(PoisonError::into_inner).take();
        // The chain itself is durable with every accepted block.
        if let Some(app) = app {
            app.engine().post().stop();
        }
        Ok(())
    }

    fn build_block(&self) -> Result<BlockInfo> {
        self.engine()?.build()
    }

    fn parse_block(&self, bytes: &[u8]) -> Result<BlockInfo> {
        let block = self.engine()?.chain().parse(bytes);
        block.map(|block| info(&block)).map_err(|error| HostedError::Refused(error.to_string()))
    }

    fn block(&self, id: &BlockId) -> Result<Option<BlockInfo>> {
        let block = self.engine()?.chain().block(id).map_err(failed)?;
        Ok(block.map(|block| info(&block)))
    }

    fn set_preference(&self, id: &BlockId) -> Result<()> {
        let engine = self.engine()?;
        let set = engine.chain().set_preference(id);
        set.map_err(|error| HostedError::Refused(error.to_string()))?;
        engine.touch();
        Ok(())
    }

    fn verify_block(&self, bytes: &[u8]) -> Result<BlockInfo> {
        let engine = self.engine()?;
        let verified = engine.chain().verify(bytes, engine.now());
        verified.map(|block| info(&block)).map_err(|error| HostedError::Refused(error.to_string()))
    }

    fn accept_block(&self, id: &BlockId) -> Result<()> {
        match self.engine()?.accept(id, Batch::new()) {
            Ok(_) => Ok(()),
            // A host that crashed between our write and its own says it again.
            Err(AcceptError::Already { .. }) => Ok(()),
            Err(error) => Err(failed(error)),
        }
    }

    fn reject_block(&self, id: &BlockId) -> Result<()> {
        let engine = self.engine()?;
        let now = engine.now();
        engine.chain().reject(id, now).map_err(failed)?;
        engine.touch();
        Ok(())
    }

    fn block_id_at_height(&self, height: u64) -> Result<Option<BlockId>> {
        self.engine()?.chain().id_at_height(height).map_err(failed)
    }

    fn ancestors(&self, id: &BlockId, limits: AncestorLimits) -> Result<Vec<Vec<u8>>> {
        let started = Instant::now();
        let mut in_time = || started.elapsed() < limits.time_max;
        let AncestorLimits { blocks_max, bytes_max, .. } = limits;
        let engine = self.engine()?;
        let blocks = engine.chain().ancestors_while(id, blocks_max, bytes_max, &mut in_time);
        blocks.map_err(failed)
    }

    fn health(&self) -> Health {
        match self.engine() {
            Ok(engine) => engine.health(),
            Err(error) => {
                let details = vec![("fault".to_owned(), error.to_string())];
                Health { healthy: false, details }
            }
        }
    }

    fn wait_event(&self) -> Pending<Event> {
        let engine = self.engine();
        let mut running = self.running.subscribe();
        Box::pin(async move {
            match engine {
                Ok(engine) => {
                    engine.wait_pending().await;
                    Event::PendingTransactions
                }
                Err(_) => {
                    // The host asks again after it has initialized the chain.
                    let _ = running.wait_for(|running| *running).await;
                    std::future::pending().await
                }
            }
        })
    }

    fn answer(&self, request: Request) -> Pending<Response> {
        let app = self.app();
        Box::pin(async move {
            match app {
                Ok(app) => app.answer(request).await,
                Err(error) => Response::text(503, format!("{error}\n")),
            }
        })
    }

    fn gossip(&self, bytes: Vec<u8>) {
        if let Ok(engine) = self.engine() {
            // Others' garbage is no event.
            if let Err(error) = engine.submit_quietly(&bytes) {
                tracing::debug!(%error, "a transaction of a peer was not taken");
            }
        }
    }
}

fn own_database(path: &std::path::Path) -> Result<AnyDatabase> {
    let database = DiskDatabase::open(path).map_err(|error| {
        HostedError::Failed(format!("the database: {}", session_runtime::failure::chain(&error)))
    })?;
    Ok(Box::new(database))
}

fn failed(error: impl core::fmt::Display) -> HostedError {
    HostedError::Failed(error.to_string())
}
