//! luxd's part of the protocol: the engine address, and the calls.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_core::BlockId;
use sessionvm::zap::frame::{ERROR, Frame, RESPONSE};
use sessionvm::zap::message::*;
use sessionvm::zap::wire::{Bytes, Message, PlatformHeight};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

/// Longer than anything takes that works.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// Where plugins say hello.
pub(super) struct Engine {
    listener: TcpListener,
}

impl Engine {
    pub(super) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.expect("a free port") }
    }

    pub(super) fn address(&self) -> String {
        self.listener.local_addr().expect("bound").to_string()
    }

    /// Takes a handshake and answers it with these bytes; returns protocol and listen address.
    pub(super) async fn shake_hands(&self, answer: &[u8]) -> (u32, String) {
        let accepted = timeout(PATIENCE, self.listener.accept()).await.expect("a plugin dials");
        let (mut stream, _) = accepted.expect("a connection");
        let length = stream.read_u32().await.expect("a length");
        let protocol = stream.read_u32().await.expect("a protocol");
        let mut address = vec![0; length as usize - 4];
        stream.read_exact(&mut address).await.expect("an address");
        stream.write_all(answer).await.expect("the plugin waits");
        (protocol, String::from_utf8(address).expect("an address is text"))
    }

    /// Takes a handshake, agrees, and dials the plugin.
    pub(super) async fn meet(&self) -> Host {
        let (protocol, address) = self.shake_hands(&[1]).await;
        assert_eq!(protocol, 42);
        Host::dial(&address).await
    }
}

/// What a call ends with: a body, or the words of an error frame.
pub(super) type Answer = Result<Vec<u8>, String>;

/// A connection to a plugin; as many calls at once as one likes.
#[derive(Clone)]
pub(super) struct Host {
    address: String,
    writing: Arc<tokio::sync::Mutex<OwnedWriteHalf>>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    last: u32,
    calls: BTreeMap<u32, (u8, oneshot::Sender<Answer>)>,
}

impl Host {
    pub(super) async fn dial(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("the plugin listens");
        let (mut reading, writing) = stream.into_split();
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let answered = waiting.clone();
        tokio::spawn(async move {
            while let Ok(Some(frame)) = Frame::read(&mut reading).await {
                let call = answered.lock().expect("no panic").calls.remove(&frame.request);
                let (kind, call) = call.expect("the plugin answers what was asked, once");
                assert_eq!(frame.kind & !ERROR, kind | RESPONSE, "the type is the request's");
                let error = frame.kind & ERROR != 0;
                let words = || String::from_utf8(frame.body.clone()).expect("errors are text");
                let _ = call.send(if error { Err(words()) } else { Ok(frame.body) });
            }
            // What still waits learns that nothing comes.
            answered.lock().expect("no panic").calls.clear();
        });
        let writing = Arc::new(tokio::sync::Mutex::new(writing));
        Self { address: address.to_owned(), writing, waiting }
    }

    /// Returns where the plugin listens.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// Sends a request and returns what its answer will come through.
    pub(super) async fn send(&self, kind: u8, body: Vec<u8>) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        let request = {
            let mut waiting = self.waiting.lock().expect("no panic");
            waiting.last += 1;
            let request = waiting.last;
            waiting.calls.insert(request, (kind, answer));
            request
        };
        let frame = Frame { kind, request, body }.to_bytes().expect("short");
        self.write(&frame).await;
        answered
    }

    /// Sends bytes as they are.
    pub(super) async fn write(&self, bytes: &[u8]) {
        self.writing.lock().await.write_all(bytes).await.expect("the plugin reads");
    }

    /// Registers a request whose bytes are sent by hand.
    pub(super) fn expect(&self, kind: u8, request: u32) -> oneshot::Receiver<Answer> {
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().expect("no panic").calls.insert(request, (kind, answer));
        answered
    }

    pub(super) async fn call(&self, kind: u8, body: Vec<u8>) -> Answer {
        let answer = self.send(kind, body).await;
        let answer = timeout(PATIENCE, answer).await.unwrap_or_else(|_| panic!("{kind} hangs"));
        answer.unwrap_or_else(|_| panic!("the connection ended instead of an answer to {kind}"))
    }

    /// Ends our direction of the connection.
    pub(super) async fn hang_up(&self) {
        let _ = self.writing.lock().await.shutdown().await;
    }

    async fn ask<M: Message>(&self, kind: u8, body: Vec<u8>) -> Result<M, String> {
        let body = self.call(kind, body).await?;
        Ok(M::decode(&body).unwrap_or_else(|error| panic!("answer to {kind}: {error}")))
    }

    async fn tell(&self, kind: u8, body: Vec<u8>) -> Result<(), String> {
        self.call(kind, body).await.map(|body| assert_eq!(body, b"", "answer to {kind}"))
    }

    pub(super) async fn version(&self) -> String {
        let answer: VersionResponse = self.ask(kind::VERSION, Vec::new()).await.expect("a version");
        answer.version
    }

    pub(super) async fn shutdown(&self) -> Result<(), String> {
        self.tell(kind::SHUTDOWN, Vec::new()).await
    }

    pub(super) async fn initialize(
        &self,
        request: &InitializeRequest,
    ) -> Result<LastAccepted, String> {
        let answer: InitializeResponse = self.ask(kind::INITIALIZE, request.encode()).await?;
        assert_eq!(answer.capabilities, 0);
        Ok(answer.last_accepted)
    }

    pub(super) async fn set_state(&self, state: u8) -> Result<LastAccepted, String> {
        self.ask(kind::SET_STATE, SetStateRequest { state }.encode()).await
    }

    pub(super) async fn create_handlers(&self) -> Vec<Handler> {
        let answer = self.ask(kind::CREATE_HANDLERS, Vec::new()).await;
        let answer: CreateHandlersResponse = answer.expect("handlers");
        answer.handlers
    }

    /// Waits for something to do.
    pub(super) async fn wait_for_event(&self) -> u8 {
        let answer: WaitForEventResponse =
            self.ask(kind::WAIT_FOR_EVENT, Vec::new()).await.expect("an event");
        answer.event
    }

    pub(super) async fn build_block(&self) -> Result<BlockResponse, String> {
        self.ask(kind::BUILD_BLOCK, Vec::new()).await
    }

    pub(super) async fn parse_block(&self, bytes: &[u8]) -> Result<BlockResponse, String> {
        let body = BytesRequest { bytes: bytes.to_vec().into() };
        self.ask(kind::PARSE_BLOCK, body.encode()).await
    }

    pub(super) async fn batched_parse(
        &self,
        blocks: Vec<Bytes>,
    ) -> Result<Vec<BlockResponse>, String> {
        let answer = self.ask(kind::BATCHED_PARSE_BLOCK, Blocks { blocks }.encode()).await;
        answer.map(|answer: BatchedParseBlockResponse| answer.blocks)
    }

    /// Returns the block, or its error code.
    pub(super) async fn block(&self, id: BlockId) -> Result<BlockResponse, u8> {
        let answer = self.ask(kind::GET_BLOCK, IdRequest { id }.encode()).await;
        let answer: BlockResponse = answer.expect("not found is no error frame");
        if answer.err == code::OK { Ok(answer) } else { Err(answer.err) }
    }

    pub(super) async fn set_preference(&self, id: BlockId) -> Result<(), String> {
        self.tell(kind::SET_PREFERENCE, IdRequest { id }.encode()).await
    }

    pub(super) async fn verify(&self, bytes: &[u8]) -> Result<i64, String> {
        let p_chain_height = PlatformHeight(None);
        let body = BlockVerifyRequest { bytes: bytes.to_vec().into(), p_chain_height };
        let answer = self.ask(kind::BLOCK_VERIFY, body.encode()).await;
        answer.map(|answer: BlockVerifyResponse| answer.timestamp)
    }

    pub(super) async fn accept(&self, id: BlockId) -> Result<(), String> {
        self.tell(kind::BLOCK_ACCEPT, IdRequest { id }.encode()).await
    }

    pub(super) async fn reject(&self, id: BlockId) -> Result<(), String> {
        self.tell(kind::BLOCK_REJECT, IdRequest { id }.encode()).await
    }

    pub(super) async fn id_at_height(&self, height: u64) -> Result<BlockId, u8> {
        let body = HeightRequest { height }.encode();
        let answer = self.ask(kind::GET_BLOCK_ID_AT_HEIGHT, body).await;
        let answer: GetBlockIdAtHeightResponse = answer.expect("not found is no error frame");
        if answer.err == code::OK { Ok(id(&answer.id)) } else { Err(answer.err) }
    }

    pub(super) async fn ancestors(&self, id: BlockId, max_num: i32, max_size: i32) -> Vec<Bytes> {
        let max_nanos = 1_000_000_000;
        let body = GetAncestorsRequest { blk_id: id, max_num, max_size, max_nanos };
        let answer: Blocks =
            self.ask(kind::GET_ANCESTORS, body.encode()).await.expect("never an error");
        answer.blocks
    }

    /// Returns the details as luxd reads them.
    pub(super) async fn health(&self) -> Result<BTreeMap<String, String>, String> {
        let answer: HealthResponse = self.ask(kind::HEALTH, Vec::new()).await?;
        let mut left = &answer.details.0[..];
        let number = |left: &mut &[u8]| {
            let (number, rest) = left.split_first_chunk().expect("a number");
            *left = rest;
            u32::from_le_bytes(*number) as usize
        };
        let count = number(&mut left);
        let text = |left: &mut &[u8]| {
            let length = number(left);
            let (text, rest) = left.split_at(length);
            *left = rest;
            String::from_utf8(text.to_vec()).expect("text")
        };
        let details = (0..count).map(|_| (text(&mut left), text(&mut left))).collect();
        assert!(left.is_empty());
        Ok(details)
    }
}

/// Reads an id out of an answer.
pub(super) fn id(bytes: &Bytes) -> BlockId {
    <[u8; 32]>::try_from(&bytes.0[..]).expect("an id has 32 bytes").into()
}

/// Asks an HTTP server; returns status and body.
pub(super) async fn http(address: &str, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.expect("the plugin serves HTTP");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.expect("the plugin reads");
    let mut answer = String::new();
    let read = timeout(PATIENCE, stream.read_to_string(&mut answer)).await;
    read.expect("HTTP answers").expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.expect("a status"), body.to_owned())
}
