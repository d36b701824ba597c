//! The database that luxd offers: it survives the plugin, and counts how the plugin treats it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use session_storage::kv::{Batch, Database, MemoryDatabase};
use sessionvm::zap::database::{
    CodeResponse, Entry, GetResponse, IterNewRequest, IterNextResponse, Iteration, KeyRequest,
    WriteBatchRequest, kind,
};
use sessionvm::zap::frame::{Frame, FrameError};
use sessionvm::zap::message::code;
use sessionvm::zap::wire::{Bytes, Message};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Entries in one answer of an iteration: few, so that several are needed.
const PAGE: usize = 3;

/// What goes wrong, from when it is set on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Trouble {
    #[default]
    Nothing,
    /// Every write is answered with "closed", and not done.
    RefuseWrites,
    /// The connection ends instead of the answer to a write.
    HangUpOnWrites,
    /// The connection ends instead of the answer to the next read.
    HangUpOnce,
    /// An iteration gives keys that were not asked for.
    WrongPrefix,
}

#[derive(Default)]
struct State {
    entries: MemoryDatabase,
    iterators: BTreeMap<u64, Vec<Entry>>,
    last_iterator: u64,
    trouble: Trouble,
}

/// How connections ended so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    /// With a FIN between two frames.
    pub(super) clean: usize,
    /// In any other way.
    pub(super) broken: usize,
}

/// A database server.
#[derive(Clone)]
pub(super) struct HostDatabase {
    address: String,
    state: Arc<Mutex<State>>,
    ends: watch::Receiver<Ends>,
}

impl HostDatabase {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let (count, ends) = watch::channel(Ends::default());
        let state = Arc::new(Mutex::new(State::default()));
        let database = Self { address, state, ends };
        let serving = database.clone();
        let count = Arc::new(count);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (serving, count) = (serving.clone(), count.clone());
                tokio::spawn(async move {
                    let clean = serving.serve(stream).await;
                    count.send_modify(|ends| match clean {
                        true => ends.clean += 1,
                        false => ends.broken += 1,
                    });
                });
            }
        });
        database
    }

    pub(super) fn address(&self) -> &str {
        &self.address
    }

    pub(super) fn make(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    /// Returns what is stored.
    pub(super) fn entries(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        entries(&self.state().entries, b"", b"")
    }

    /// Iterations that were started and not ended.
    pub(super) fn open_iterators(&self) -> usize {
        self.state().iterators.len()
    }

    /// Waits until this many connections ended.
    pub(super) async fn ended(&self, count: usize) -> Ends {
        let mut ends = self.ends.clone();
        let ends = ends.wait_for(|ends| ends.clean + ends.broken >= count).await;
        *ends.expect("the server runs")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while it was held")
    }

    /// Returns whether the other side ended it as it should.
    async fn serve(&self, mut stream: TcpStream) -> bool {
        loop {
            let frame = match Frame::read(&mut stream).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return true,
                Err(FrameError::Io(_)) => return false,
                Err(error) => panic!("the plugin sent a malformed frame: {error}"),
            };
            let Some(body) = self.state().answer(frame.kind, &frame.body) else {
                return false; // We end it: the plugin does not count.
            };
            let answer = Frame::response(frame.kind, frame.request, body);
            let bytes = answer.to_bytes().expect("pages are short");
            if stream.write_all(&bytes).await.is_err() {
                return false;
            }
        }
    }
}

impl State {
    fn answer(&mut self, kind: u8, body: &[u8]) -> Option<Vec<u8>> {
        let ok = CodeResponse { err: code::OK }.encode();
        if self.trouble == Trouble::HangUpOnce {
            self.trouble = Trouble::Nothing;
            return None;
        }
        Some(match kind {
            kind::GET => {
                let KeyRequest { key } = decode(body);
                let value = self.entries.get(&key.0).expect("memory");
                let err = if value.is_some() { code::OK } else { code::NOT_FOUND };
                GetResponse { value: value.unwrap_or_default().into(), err }.encode()
            }
            kind::WRITE_BATCH => match self.trouble {
                Trouble::RefuseWrites => CodeResponse { err: code::CLOSED }.encode(),
                Trouble::HangUpOnWrites => return None,
                _ => {
                    self.write(decode(body));
                    ok
                }
            },
            kind::ITER_NEW => {
                let IterNewRequest { start, prefix } = decode(body);
                let prefix = if self.trouble == Trouble::WrongPrefix { &[] } else { &prefix.0[..] };
                let entries = entries(&self.entries, prefix, &start.0);
                let entry = |(key, value)| Entry { key: Bytes(key), value: Bytes(value) };
                self.last_iterator += 1;
                let entries = entries.into_iter().rev().map(entry).collect();
                self.iterators.insert(self.last_iterator, entries);
                Iteration { id: self.last_iterator }.encode()
            }
            kind::ITER_NEXT => {
                let Iteration { id } = decode(body);
                let left = self.iterators.get_mut(&id).expect("the iteration was started");
                let entries = (0..PAGE).map_while(|_| left.pop()).collect();
                IterNextResponse { entries }.encode()
            }
            kind::ITER_ERROR => ok,
            kind::ITER_RELEASE => {
                let Iteration { id } = decode(body);
                self.iterators.remove(&id).expect("the iteration was started");
                ok
            }
            other => panic!("the plugin asked the database for type {other}"),
        })
    }

    fn write(&mut self, request: WriteBatchRequest) {
        let mut batch = Batch::new();
        for Entry { key, value } in request.puts {
            batch.put(key.0, value.0);
        }
        for key in request.deletes {
            batch.delete(key.0);
        }
        self.entries.write(&batch).expect("memory");
    }
}

fn decode<M: Message>(body: &[u8]) -> M {
    M::decode(body).expect("the plugin's body is well-formed")
}

fn entries(database: &MemoryDatabase, prefix: &[u8], start: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut entries = Vec::new();
    let mut keep = |key: &[u8], value: &[u8]| {
        if key >= start {
            entries.push((key.to_vec(), value.to_vec()));
        }
        true
    };
    database.visit(prefix, &mut keep).expect("memory");
    entries
}
