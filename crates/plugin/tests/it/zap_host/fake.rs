//! A chain that is only what a driver needs of one: blocks that count.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use session_core::{BlockId, Time, sha256};
use session_runtime::http::{Request, Response};
use session_storage::kv::{Batch, Database};
use sessionvm::hosted::{
    AncestorLimits, BlockInfo, Event, Health, Hosted, HostedError, Initialize, Pending, Phase,
    Result,
};
use tokio::sync::watch;

/// A genesis that is refused.
pub(super) const BAD_GENESIS: &[u8] = b"bad";
/// A block at which the chain breaks.
pub(super) const PANIC: &[u8] = b"panic";

#[derive(Default)]
struct State {
    chain: Option<Chain>,
    phases: Vec<Phase>,
    shutdowns: usize,
    gossip: Vec<Vec<u8>>,
}

struct Chain {
    database: Box<dyn Database>,
    last: BlockInfo,
    preferred: BlockInfo,
    verified: BTreeMap<BlockId, BlockInfo>,
}

pub(super) struct Fake {
    state: Mutex<State>,
    /// Transactions that wait for a block.
    waiting: watch::Sender<u64>,
}

/// Makes the block on another one.
pub(super) fn block(parent: BlockId, height: u64, transactions: u64) -> BlockInfo {
    let mut bytes = height.to_be_bytes().to_vec();
    bytes.extend_from_slice(parent.as_ref());
    bytes.extend_from_slice(&transactions.to_be_bytes());
    read(&bytes).expect("just written")
}

fn read(bytes: &[u8]) -> Result<BlockInfo> {
    let refused = || HostedError::Refused("a block has 48 bytes".to_owned());
    let (height, rest) = bytes.split_first_chunk().ok_or_else(refused)?;
    let (parent, transactions) = rest.split_first_chunk::<32>().ok_or_else(refused)?;
    <[u8; 8]>::try_from(transactions).map_err(|_| refused())?;
    let height = u64::from_be_bytes(*height);
    Ok(BlockInfo {
        id: sha256(bytes).into(),
        parent: (*parent).into(),
        height,
        time: Time::from_millis(1000 * height),
        bytes: bytes.to_vec(),
    })
}

fn failed(error: impl std::fmt::Display) -> HostedError {
    HostedError::Failed(error.to_string())
}

impl Fake {
    pub(super) fn new() -> Self {
        Self { state: Mutex::default(), waiting: watch::Sender::new(0) }
    }

    pub(super) fn phases(&self) -> Vec<Phase> {
        self.state().phases.clone()
    }

    pub(super) fn shutdowns(&self) -> usize {
        self.state().shutdowns
    }

    pub(super) fn gossiped(&self) -> Vec<Vec<u8>> {
        self.state().gossip.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it is held")
    }

    fn chain<T>(&self, call: impl FnOnce(&mut Chain) -> Result<T>) -> Result<T> {
        match &mut self.state().chain {
            Some(chain) => call(chain),
            None => Err(HostedError::NotRunning("not initialized")),
        }
    }
}

impl Chain {
    fn block(&self, id: &BlockId) -> Result<Option<BlockInfo>> {
        if let Some(block) = self.verified.get(id) {
            return Ok(Some(block.clone()));
        }
        let bytes = self.database.get(&[b"block", id.as_ref()].concat()).map_err(failed)?;
        bytes.map(|bytes| read(&bytes)).transpose()
    }

    fn keep(&mut self, block: &BlockInfo) -> Result<()> {
        let mut batch = Batch::new();
        batch.put([b"block", block.id.as_ref()].concat(), block.bytes.clone());
        batch.put([&b"height"[..], &block.height.to_be_bytes()].concat(), block.id.as_ref());
        batch.put(*b"last", block.id.as_ref());
        self.database.write(&batch).map_err(failed)
    }
}

impl Hosted for Fake {
    fn version(&self) -> String {
        "1.2.3".to_owned()
    }

    fn initialize(&self, with: Initialize) -> Result<BlockInfo> {
        if with.genesis == BAD_GENESIS {
            return Err(HostedError::Refused("genesis: bad".to_owned()));
        }
        assert_eq!(with.node_id.len(), 20);
        let database = with.database.ok_or(HostedError::Refused("no database".to_owned()))?;
        let genesis = block(with.chain_id.as_bytes().to_owned().into(), 0, 0);
        let (last, preferred) = (genesis.clone(), genesis.clone());
        let mut chain = Chain { database, last, preferred, verified: BTreeMap::new() };
        // Through an iteration, because a real chain reads its state so.
        let mut last = None;
        let mut visitor = |_: &[u8], value: &[u8]| {
            last = <[u8; 32]>::try_from(value).ok();
            true
        };
        chain.database.visit(b"last", &mut visitor).map_err(failed)?;
        match last {
            None => chain.keep(&genesis)?,
            Some(last) => chain.last = chain.block(&last.into())?.ok_or(failed("no last block"))?,
        }
        chain.preferred = chain.last.clone();
        let last = chain.last.clone();
        self.state().chain = Some(chain);
        Ok(last)
    }

    fn set_phase(&self, phase: Phase) -> Result<BlockInfo> {
        self.state().phases.push(phase);
        self.chain(|chain| Ok(chain.last.clone()))
    }

    fn shutdown(&self) -> Result<()> {
        let mut state = self.state();
        state.shutdowns += 1;
        state.chain = None; // And with it the connection to the host's database.
        Ok(())
    }

    fn build_block(&self) -> Result<BlockInfo> {
        let waiting = *self.waiting.borrow();
        self.chain(|chain| {
            if waiting == 0 {
                return Err(HostedError::NothingToBuild("no transactions".to_owned()));
            }
            Ok(block(chain.preferred.id, chain.preferred.height + 1, waiting))
        })
    }

    fn parse_block(&self, bytes: &[u8]) -> Result<BlockInfo> {
        assert_ne!(bytes, PANIC, "as the test wants it");
        self.chain(|_| read(bytes))
    }

    fn block(&self, id: &BlockId) -> Result<Option<BlockInfo>> {
        self.chain(|chain| chain.block(id))
    }

    fn set_preference(&self, id: &BlockId) -> Result<()> {
        self.chain(|chain| {
            let block = chain.block(id)?;
            chain.preferred = block.ok_or(HostedError::Refused("unknown block".to_owned()))?;
            Ok(())
        })
    }

    fn verify_block(&self, bytes: &[u8]) -> Result<BlockInfo> {
        self.chain(|chain| {
            let block = read(bytes)?;
            let parent = chain.block(&block.parent)?;
            match parent {
                Some(parent) if parent.height + 1 == block.height => {}
                _ => return Err(HostedError::Refused("no such parent".to_owned())),
            }
            chain.verified.insert(block.id, block.clone());
            Ok(block)
        })
    }

    fn accept_block(&self, id: &BlockId) -> Result<()> {
        self.chain(|chain| {
            let block = chain.verified.remove(id);
            let block = block.ok_or(HostedError::Refused("not verified".to_owned()))?;
            chain.keep(&block)?;
            chain.last = block;
            Ok(())
        })?;
        self.waiting.send_replace(0);
        Ok(())
    }

    fn reject_block(&self, id: &BlockId) -> Result<()> {
        self.chain(|chain| {
            chain.verified.remove(id);
            Ok(())
        })
    }

    fn block_id_at_height(&self, height: u64) -> Result<Option<BlockId>> {
        self.chain(|chain| {
            let key = [&b"height"[..], &height.to_be_bytes()].concat();
            let id = chain.database.get(&key).map_err(failed)?;
            Ok(id.and_then(|id| <[u8; 32]>::try_from(id).ok()).map(BlockId::from))
        })
    }

    fn ancestors(&self, id: &BlockId, limits: AncestorLimits) -> Result<Vec<Vec<u8>>> {
        self.chain(|chain| {
            let mut blocks = Vec::new();
            let mut next = chain.block(id)?;
            // Of the limits only the number: the driver has to hold to the others itself.
            while let Some(block) = next.filter(|_| blocks.len() < limits.blocks_max) {
                blocks.push(block.bytes);
                next = chain.block(&block.parent)?;
            }
            Ok(blocks)
        })
    }

    fn health(&self) -> Health {
        let height = self.chain(|chain| Ok(chain.last.height.to_string()));
        let healthy = height.is_ok();
        let value = height.unwrap_or_else(|error| error.to_string());
        Health { healthy, details: vec![("height".to_owned(), value)] }
    }

    fn wait_event(&self) -> Pending<Event> {
        let mut waiting = self.waiting.subscribe();
        Box::pin(async move {
            // The sender is gone with the chain; then nothing ever happens.
            if waiting.wait_for(|waiting| *waiting > 0).await.is_err() {
                std::future::pending::<()>().await;
            }
            Event::PendingTransactions
        })
    }

    fn answer(&self, request: Request) -> Pending<Response> {
        let response = if request.path.ends_with("/rpc") {
            self.waiting.send_modify(|waiting| *waiting += 1);
            Response::json(200, request.body)
        } else if request.path.ends_with("/health") {
            Response::text(200, "fine")
        } else {
            Response::text(404, "no such page")
        };
        Box::pin(async { response })
    }

    fn gossip(&self, bytes: Vec<u8>) {
        self.state().gossip.push(bytes);
    }
}
