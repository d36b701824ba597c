//! The host's database, over a connection of its own.

use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use session_storage::kv::{Batch, Database, KV_KEY_BYTES_MAX, KvError};

use super::dial::Stream;
use super::frame::{ERROR, Frame, FrameError, RESPONSE};
use super::message::code;
use super::wire::{Bytes, Message, messages, write_bytes, write_length};

/// Message types of the database service that a chain needs; their numbers are its own.
pub mod kind {
    /// The value of a key.
    pub const GET: u8 = 2;
    /// Changes several keys at once.
    pub const WRITE_BATCH: u8 = 5;
    /// Starts an iteration.
    pub const ITER_NEW: u8 = 9;
    /// The next entries of an iteration.
    pub const ITER_NEXT: u8 = 10;
    /// Whether an iteration failed.
    pub const ITER_ERROR: u8 = 11;
    /// Ends an iteration.
    pub const ITER_RELEASE: u8 = 12;
}

messages! {
    /// Something about a key.
    pub KeyRequest {
        /// The key.
        key: Bytes,
    }

    /// A key and its value.
    pub Entry {
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    }

    /// Changes that happen together.
    pub WriteBatchRequest {
        /// Entries to set.
        puts: Vec<Entry>,
        /// Keys to remove.
        deletes: Vec<Bytes>,
    }

    /// The value of a key.
    pub GetResponse {
        /// The value; empty when there is none.
        value: Bytes,
        /// A result code.
        err: u8,
    }

    /// How it went.
    pub CodeResponse {
        /// A result code.
        err: u8,
    }

    /// Starts an iteration.
    pub IterNewRequest {
        /// The first key.
        start: Bytes,
        /// What every key starts with.
        prefix: Bytes,
    }

    /// An iteration.
    pub Iteration {
        /// Its number.
        id: u64,
    }

    /// The next entries; none at the end.
    pub IterNextResponse {
        /// The entries, ordered by key.
        entries: Vec<Entry>,
    }
}

/// How long the host may take for one call.
const CALL_TIME: Duration = Duration::from_secs(30);

/// The longest batch: a frame holds 16 MiB, and the host's copy of a batch has overhead of its own.
pub const BATCH_BYTES_MAX: usize = 15 << 20;

/// The host's database.
///
/// *Provided:* calls from several threads, one after the other. A read that finds the connection
/// gone is tried once more on a new one. *Not provided:* writing after a failed write: whether the
/// host has the batch is not known then, so the database is closed.
#[derive(Debug)]
pub struct ZapDatabase {
    address: String,
    line: Mutex<Line>,
}

/// The connection, if there is one.
#[derive(Debug)]
struct Line {
    last_request: u32,
    state: LineState,
}

#[derive(Debug)]
enum LineState {
    Open(Stream),
    Lost,
    Closed { why: String },
}

/// Whether a call may be made once more when the connection was lost under it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Again {
    Yes,
    No,
}

fn words(error: &FrameError) -> String {
    match error {
        FrameError::Io(error) => match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => {
                format!("the host did not answer within {} s", CALL_TIME.as_secs())
            }
            io::ErrorKind::UnexpectedEof => "the host closed the connection".to_owned(),
            _ => error.to_string(),
        },
        other => other.to_string(),
    }
}

impl Line {
    /// Sends a frame and reads the answer, on a new connection if there is none.
    fn exchange(&mut self, address: &str, bytes: &[u8]) -> Result<Frame, FrameError> {
        if !matches!(self.state, LineState::Open(_)) {
            self.state = LineState::Open(Stream::dial(address, CALL_TIME)?);
        }
        let LineState::Open(stream) = &mut self.state else { unreachable!("opened above") };
        let answer = match stream.write_all(bytes) {
            Ok(()) => Frame::receive(stream),
            Err(error) => Err(error.into()),
        };
        if answer.is_err() {
            self.state = LineState::Lost;
        }
        answer
    }
}

impl ZapDatabase {
    /// Connects to the host's database. Blocks.
    ///
    /// # Errors
    /// When nobody answers at the address.
    pub fn connect(address: &str) -> Result<Self, KvError> {
        let stream = Stream::dial(address, CALL_TIME).map_err(|error| KvError::Failed {
            doing: "opening",
            why: format!("{address}: {}", words(&error.into())),
        })?;
        let line = Line { last_request: 0, state: LineState::Open(stream) };
        Ok(Self { address: address.to_owned(), line: Mutex::new(line) })
    }

    fn call<M: Message>(
        &self,
        doing: &'static str,
        again: Again,
        kind: u8,
        body: Vec<u8>,
    ) -> Result<M, KvError> {
        let failed = |why| KvError::Failed { doing, why };
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let LineState::Closed { why } = &line.state {
            return Err(KvError::Closed { why: why.clone() });
        }
        line.last_request = line.last_request.wrapping_add(1);
        let request = line.last_request;
        let frame = Frame { kind, request, body }.to_bytes();
        let frame = frame.map_err(|error| failed(error.to_string()))?;
        let mut answer = line.exchange(&self.address, &frame);
        if answer.is_err() && again == Again::Yes {
            answer = line.exchange(&self.address, &frame);
        }
        let answer = answer.map_err(|error| failed(words(&error)))?;
        if answer.request != request || answer.kind & !ERROR != kind | RESPONSE {
            line.state = LineState::Lost;
            return Err(failed("the host answered something else".to_owned()));
        }
        if answer.kind & ERROR != 0 {
            return Err(failed(String::from_utf8_lossy(&answer.body).into_owned()));
        }
        M::decode(&answer.body).map_err(|error| failed(format!("the host's answer: {error}")))
    }

    fn read<M: Message>(&self, kind: u8, body: Vec<u8>) -> Result<M, KvError> {
        self.call("reading", Again::Yes, kind, body)
    }

    /// Goes through an iteration; what was lost on the way is not asked for again, for the visitor
    /// would see entries twice or not at all.
    fn iterate(
        &self,
        iterator: &Iteration,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        let id = || iterator.encode();
        loop {
            let next: IterNextResponse = self.call("reading", Again::No, kind::ITER_NEXT, id())?;
            if next.entries.is_empty() {
                let end: CodeResponse = self.call("reading", Again::No, kind::ITER_ERROR, id())?;
                return checked("reading", end.err);
            }
            for Entry { key, value } in &next.entries {
                if !key.0.starts_with(prefix) {
                    let why = "the host iterates over keys that were not asked for".to_owned();
                    return Err(KvError::Failed { doing: "reading", why });
                }
                if !visitor(&key.0, &value.0) {
                    return Ok(());
                }
            }
        }
    }
}

fn checked(doing: &'static str, err: u8) -> Result<(), KvError> {
    match err {
        code::OK => Ok(()),
        code::CLOSED => Err(KvError::Closed { why: "the host says so".to_owned() }),
        other => Err(KvError::Failed { doing, why: format!("the host says error {other}") }),
    }
}

impl Database for ZapDatabase {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        let key = KeyRequest { key: key.to_vec().into() };
        let answer: GetResponse = self.read(kind::GET, key.encode())?;
        if answer.err == code::NOT_FOUND {
            return Ok(None);
        }
        checked("reading", answer.err)?;
        Ok(Some(answer.value.0))
    }

    fn write(&mut self, batch: &Batch) -> Result<(), KvError> {
        if batch.is_empty() {
            return Ok(());
        }
        let body = batch_body(batch)?;
        let written = self
            .call("writing", Again::No, kind::WRITE_BATCH, body)
            .and_then(|answer: CodeResponse| checked("writing", answer.err));
        written.inspect_err(|error| {
            // The host may have the batch or not: nothing may be built on either.
            let line = self.line.get_mut().unwrap_or_else(PoisonError::into_inner);
            if !matches!(line.state, LineState::Closed { .. }) {
                line.state = LineState::Closed { why: format!("an earlier failure: {error}") };
            }
        })
    }

    fn visit(
        &self,
        prefix: &[u8],
        visitor: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        let new = IterNewRequest { start: Bytes::default(), prefix: prefix.to_vec().into() };
        let iterator: Iteration = self.read(kind::ITER_NEW, new.encode())?;
        let visited = self.iterate(&iterator, prefix, visitor);
        let released: Result<CodeResponse, _> = self.read(kind::ITER_RELEASE, iterator.encode());
        visited.and(released).and_then(|answer| checked("reading", answer.err))
    }
}

/// Returns the body of a [`WriteBatchRequest`] without copying the batch into one first.
fn batch_body(batch: &Batch) -> Result<Vec<u8>, KvError> {
    let longest = batch.changes().map(|(key, _)| key.len()).max().unwrap_or_default();
    if longest > KV_KEY_BYTES_MAX {
        return Err(KvError::KeyTooLong { got: longest, limit: KV_KEY_BYTES_MAX });
    }
    let bytes = |(key, value): (&[u8], Option<&[u8]>)| {
        4 + key.len() + value.map_or(0, |value| 4 + value.len())
    };
    let length = 8 + batch.changes().map(bytes).sum::<usize>();
    if length > BATCH_BYTES_MAX {
        let why = format!("a batch of {length} bytes is over the limit of {BATCH_BYTES_MAX}");
        return Err(KvError::Failed { doing: "writing", why });
    }
    let puts = || batch.changes().filter_map(|(key, value)| Some((key, value?)));
    let deletes = || batch.changes().filter_map(|(key, value)| value.is_none().then_some(key));
    let mut body = Vec::with_capacity(length);
    write_length(puts().count(), &mut body);
    for (key, value) in puts() {
        write_bytes(key, &mut body);
        write_bytes(value, &mut body);
    }
    write_length(deletes().count(), &mut body);
    for key in deletes() {
        write_bytes(key, &mut body);
    }
    Ok(body)
}
