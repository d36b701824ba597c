//! A chain of one: each block holds one text, and any text makes a block.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use session_core::{BlockId, Time};
use session_runtime::http::{Request, Response};
use session_storage::kv::{Batch, Database};
use tokio::sync::Notify;

use crate::hosted::{
    AncestorLimits, BlockInfo, Event, Gossip, Health, Hosted, HostedError, Initialize, Pending,
    Phase, Result,
};

const HEADER_BYTES: usize = 32 + 8;

#[derive(Default)]
pub(crate) struct Toy {
    inner: Mutex<Inner>,
    arrived: Arc<Notify>,
    /// Calls of `wait_event` that are neither answered nor given up.
    pub(crate) waiting: Arc<AtomicUsize>,
    pub(crate) sick: Mutex<bool>,
}

#[derive(Default)]
struct Inner {
    database: Option<Box<dyn Database>>,
    gossip: Option<Arc<dyn Gossip>>,
    pending: Vec<Vec<u8>>,
    undecided: Vec<BlockInfo>,
    phases: Vec<Phase>,
    shut_down: bool,
}

impl Toy {
    pub(crate) fn submit(&self, text: &[u8]) {
        self.inner.lock().expect("no panic").pending.push(text.to_vec());
        self.arrived.notify_one();
    }

    pub(crate) fn phases(&self) -> Vec<Phase> {
        self.inner.lock().expect("no panic").phases.clone()
    }

    pub(crate) fn pending(&self) -> Vec<Vec<u8>> {
        self.inner.lock().expect("no panic").pending.clone()
    }

    pub(crate) fn is_shut_down(&self) -> bool {
        self.inner.lock().expect("no panic").shut_down
    }
}

/// A block's bytes are its parent, its height and its text.
fn read(bytes: &[u8]) -> Result<BlockInfo> {
    let refused = || HostedError::Refused("no block".to_owned());
    let (parent, rest) = bytes.split_first_chunk::<32>().ok_or_else(refused)?;
    let (height, _text) = rest.split_first_chunk::<8>().ok_or_else(refused)?;
    let height = u64::from_be_bytes(*height);
    Ok(BlockInfo {
        id: BlockId::from(session_core::sha256(bytes)),
        parent: BlockId::from(*parent),
        height,
        time: Time::from_millis(1_700_000_000_123 + height),
        bytes: bytes.to_vec(),
    })
}

fn block(parent: BlockId, height: u64, text: &[u8]) -> BlockInfo {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + text.len());
    bytes.extend_from_slice(parent.as_bytes());
    bytes.extend_from_slice(&height.to_be_bytes());
    bytes.extend_from_slice(text);
    read(&bytes).expect("long enough")
}

impl Inner {
    fn database(&mut self) -> Result<&mut Box<dyn Database>> {
        self.database.as_mut().ok_or(HostedError::NotRunning("not initialized"))
    }

    fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        self.database()?.get(key).map_err(|error| HostedError::Failed(error.to_string()))
    }

    fn last(&mut self) -> Result<BlockInfo> {
        let bytes = self.get(b"last")?.expect("written at the start");
        read(&bytes)
    }

    fn accept(&mut self, block: &BlockInfo) -> Result<()> {
        let mut batch = Batch::new();
        batch.put(b"last".as_slice(), block.bytes.clone());
        batch.put([b"id".as_slice(), block.id.as_bytes()].concat(), block.bytes.clone());
        batch.put([b"at".as_slice(), &block.height.to_be_bytes()].concat(), *block.id.as_bytes());
        self.database()?.write(&batch).map_err(|error| HostedError::Failed(error.to_string()))
    }

    fn take(&mut self, id: &BlockId) -> Result<BlockInfo> {
        let place = self.undecided.iter().position(|block| block.id == *id);
        place
            .map(|place| self.undecided.remove(place))
            .ok_or_else(|| HostedError::Refused("not verified".to_owned()))
    }
}

struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Hosted for Toy {
    fn version(&self) -> String {
        "toy".to_owned()
    }

    fn initialize(&self, with: Initialize) -> Result<BlockInfo> {
        let mut inner = self.inner.lock().expect("no panic");
        inner.database = with.database;
        inner.gossip = with.gossip;
        if inner.get(b"last")?.is_none() {
            let genesis = block(BlockId::from([0; 32]), 0, &with.genesis);
            inner.accept(&genesis)?;
        }
        inner.last()
    }

    fn set_phase(&self, phase: Phase) -> Result<BlockInfo> {
        let mut inner = self.inner.lock().expect("no panic");
        inner.phases.push(phase);
        inner.last()
    }

    fn shutdown(&self) -> Result<()> {
        let mut inner = self.inner.lock().expect("no panic");
        inner.database = None;
        inner.shut_down = true;
        Ok(())
    }

    fn build_block(&self) -> Result<BlockInfo> {
        let mut inner = self.inner.lock().expect("no panic");
        let last = inner.last()?;
        let Some(text) = inner.pending.first() else {
            return Err(HostedError::NothingToBuild("nothing pending".to_owned()));
        };
        Ok(block(last.id, last.height + 1, text))
    }

    fn parse_block(&self, bytes: &[u8]) -> Result<BlockInfo> {
        read(bytes)
    }

    fn block(&self, id: &BlockId) -> Result<Option<BlockInfo>> {
        let mut inner = self.inner.lock().expect("no panic");
        if let Some(block) = inner.undecided.iter().find(|block| block.id == *id) {
            return Ok(Some(block.clone()));
        }
        let found = inner.get(&[b"id".as_slice(), id.as_bytes()].concat())?;
        found.map(|bytes| read(&bytes)).transpose()
    }

    fn set_preference(&self, id: &BlockId) -> Result<()> {
        match self.block(id)? {
            Some(_) => Ok(()),
            None => Err(HostedError::Refused("unknown".to_owned())),
        }
    }

    fn verify_block(&self, bytes: &[u8]) -> Result<BlockInfo> {
        let block = read(bytes)?;
        self.inner.lock().expect("no panic").undecided.push(block.clone());
        Ok(block)
    }

    fn accept_block(&self, id: &BlockId) -> Result<()> {
        let mut inner = self.inner.lock().expect("no panic");
        let block = inner.take(id)?;
        inner.accept(&block)?;
        inner.pending.retain(|text| *text != block.bytes[HEADER_BYTES..]);
        Ok(())
    }

    fn reject_block(&self, id: &BlockId) -> Result<()> {
        self.inner.lock().expect("no panic").take(id).map(drop)
    }

    fn block_id_at_height(&self, height: u64) -> Result<Option<BlockId>> {
        let key = [b"at".as_slice(), &height.to_be_bytes()].concat();
        let found = self.inner.lock().expect("no panic").get(&key)?;
        Ok(found.map(|id| BlockId::from(<[u8; 32]>::try_from(id).expect("32 were written"))))
    }

    fn ancestors(&self, id: &BlockId, limits: AncestorLimits) -> Result<Vec<Vec<u8>>> {
        let (mut blocks, mut next) = (Vec::new(), *id);
        while blocks.len() < limits.blocks_max
            && let Some(block) = self.block(&next)?
        {
            next = block.parent;
            blocks.push(block.bytes);
        }
        Ok(blocks)
    }

    fn health(&self) -> Health {
        let healthy = !*self.sick.lock().expect("no panic");
        Health { healthy, details: vec![("mood".to_owned(), "\"fine\"".to_owned())] }
    }

    fn wait_event(&self) -> Pending<Event> {
        let pending = !self.inner.lock().expect("no panic").pending.is_empty();
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let (arrived, waiting) = (self.arrived.clone(), Waiting(self.waiting.clone()));
        Box::pin(async move {
            let _waiting = waiting;
            if !pending {
                arrived.notified().await;
            }
            Event::PendingTransactions
        })
    }

    /// Submits the body; answers with the path, or fails when the path says so.
    fn answer(&self, request: Request) -> Pending<Response> {
        let gossip = self.inner.lock().expect("no panic").gossip.clone();
        if !request.body.is_empty() {
            self.submit(&request.body);
        }
        let host = request.header("host").unwrap_or("none").to_owned();
        let text = format!("{} {} {:?} {host}", request.method, request.path, request.query);
        Box::pin(async move {
            if let Some(gossip) = gossip {
                gossip.push(request.body);
            }
            let status = if request.path.ends_with("/broken") { 500 } else { 200 };
            Response::text(status, text).with_header("x-two", "1").with_header("x-two", "2")
        })
    }

    fn gossip(&self, bytes: Vec<u8>) {
        assert!(bytes != b"panic", "asked to");
        self.submit(&bytes);
    }
}
