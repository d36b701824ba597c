//! Reads of EVM chains over JSON-RPC, all at one block.
//!
//! The leader picks a block with enough confirmations; every member checks that its own server has
//! this block in its chain, and reads the state after it. State is asked for by the block's hash
//! (EIP-1898); from servers that do not know that, by its number, with the hash checked before and
//! after. Where the hash differs the chain was reorganised, or somebody lies: no answer.
//!
//! *Provided:* answers in one form, at one block. *Not provided:* proofs: a member believes its
//! server, and the committee the members.

use std::time::Duration;

use alloy_primitives::{Address, U256};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use serde_json::{Value, json};
use session_protocol::workload::manifest::{EvmQuery, Template};
use session_protocol::workload::oracle::{Pin, RawAnswer};
use session_protocol::workload::template::{Escape, render};
use tokio::time::sleep;

use crate::Request;
use crate::gate::{Denied, Url};
use crate::http::{Bounds, Http, Order, Trouble, render_url};

mod abi;

use abi::Function;

/// How many blocks too old a pin may be: on the fastest chains a minute. A leader must not choose
/// among the prices of last year.
const PIN_AGE_MAX: u64 = 256;
/// A block with the hashes of its transactions: what comes besides the answer.
const BLOCK_BYTES_MAX: u32 = 2 << 20;
/// How long to wait for a server that is behind, before it is asked again.
const BEHIND_WAIT: Duration = Duration::from_millis(500);
/// JSON-RPC's "invalid params".
const INVALID_PARAMS: i64 = -32602;

/// Picks the block at which everybody looks.
pub(crate) async fn pin(
    http: &Http,
    request: &Request<'_>,
    url: &str,
    confirmations: u16,
) -> Result<Pin, Trouble> {
    let mut rpc = Rpc::new(http, request, url)?;
    let head = rpc.head().await?;
    let number = head.checked_sub(confirmations.into());
    let number = number.ok_or(Trouble::Malformed("the chain has not that many blocks"))?;
    Ok(rpc.block(number).await?.pin)
}

/// Reads at the block of the request.
pub(crate) async fn ask(
    http: &Http,
    request: &Request<'_>,
    url: &str,
    query: &EvmQuery,
    confirmations: u16,
) -> Result<RawAnswer, Trouble> {
    let pin = request.pin.ok_or(Trouble::Malformed("no block is given"))?;
    // Before anybody is asked: what cannot be asked is the same fault everywhere.
    let prepared = Prepared::new(query, request)?;
    let mut rpc = Rpc::new(http, request, url)?;
    rpc.check_age(pin, confirmations).await?;
    let block = rpc.block(pin.number).await?;
    block.must_be(pin)?;
    let value = match &prepared {
        Prepared::Block => json!({
            "hash": format!("0x{}", hex::encode(pin.hash)),
            "number": pin.number.to_string(),
            "time": block.time.to_string(),
        }),
        Prepared::Balance { address } => {
            let balance = rpc.state("eth_getBalance", json!(address), pin).await?;
            json!({ "balance": quantity(&balance)?.to_string() })
        }
        Prepared::Call { call, function } => {
            let data = rpc.state("eth_call", call.clone(), pin).await?;
            let data = bytes_of(&data)?;
            let values = function.decode(&data);
            json!({ "values": values.map_err(|_| Trouble::Malformed("not the function's types"))? })
        }
    };
    let body = value.to_string().into_bytes();
    if body.len() > request.source.bytes_max as usize {
        return Err(Trouble::TooLarge);
    }
    Ok(RawAnswer { status: 200, headers: Vec::new(), body, received: rpc.received })
}

/// A query with its parameters in it.
enum Prepared {
    Block,
    Balance { address: String },
    Call { call: Value, function: Box<Function> },
}

impl Prepared {
    fn new(query: &EvmQuery, request: &Request<'_>) -> Result<Self, Trouble> {
        Ok(match query {
            EvmQuery::Block => Self::Block,
            EvmQuery::Balance { address } => Self::Balance { address: account(address, request)? },
            EvmQuery::Call { to, function, arguments } => {
                let bad = |_| Trouble::Malformed("the function or its arguments");
                let function = Box::new(Function::parse(function).map_err(bad)?);
                let rendered = arguments.iter().map(|argument| text(argument, request));
                let data = function.encode(&rendered.collect::<Result<Vec<_>, _>>()?);
                let data = format!("0x{}", hex::encode(data.map_err(bad)?));
                let call = json!({ "data": data, "to": account(to, request)? });
                Self::Call { call, function }
            }
        })
    }
}

fn text(template: &Template, request: &Request<'_>) -> Result<String, Denied> {
    let text = render(template, &request.call.parameters, Escape::None);
    text.map_err(|error| Denied::Template(error.to_string()))
}

fn account(template: &Template, request: &Request<'_>) -> Result<String, Trouble> {
    let text = text(template, request)?;
    let address = text.starts_with("0x").then(|| text.parse::<Address>().ok()).flatten();
    let address = address.ok_or(Trouble::Malformed("the account is no address"))?;
    Ok(format!("0x{}", hex::encode(address)))
}

/// A block as far as anything here needs it.
struct Block {
    pin: Pin,
    time: U256,
}

impl Block {
    fn must_be(&self, pin: Pin) -> Result<(), Trouble> {
        let same = self.pin == pin;
        same.then_some(()).ok_or(Trouble::Malformed("the chain has another block at this number"))
    }
}

/// What a server answered: a result, or the code of its error.
type Reply = Result<Value, i64>;

/// Questions to one server, with what they have cost so far.
struct Rpc<'a> {
    http: &'a Http,
    request: &'a Request<'a>,
    url: Url,
    asked: u64,
    received: u64,
}

impl<'a> Rpc<'a> {
    fn new(http: &'a Http, request: &'a Request<'a>, url: &str) -> Result<Self, Trouble> {
        Ok(Self { http, request, url: render_url(url, request)?, asked: 0, received: 0 })
    }

    /// Returns the number of the newest block.
    async fn head(&mut self) -> Result<u64, Trouble> {
        let bytes_max = self.request.source.bytes_max;
        number(&good(self.call("eth_blockNumber", json!([]), bytes_max).await?)?)
    }

    /// Waits until a pin has its confirmations here, and refuses one that is too old.
    async fn check_age(&mut self, pin: Pin, confirmations: u16) -> Result<(), Trouble> {
        let needed = pin.number.saturating_add(confirmations.into());
        loop {
            let head = self.head().await?;
            if head > needed.saturating_add(PIN_AGE_MAX) {
                return Err(Trouble::Malformed("the block is too old"));
            }
            if head >= needed {
                return Ok(());
            }
            // The source's timeout ends this.
            sleep(BEHIND_WAIT).await;
        }
    }

    /// Returns the block at a number; waits for a server that does not have it yet.
    async fn block(&mut self, at: u64) -> Result<Block, Trouble> {
        let params = json!([format!("{at:#x}"), false]);
        let bytes_max = BLOCK_BYTES_MAX.max(self.request.source.bytes_max);
        loop {
            let reply = self.call("eth_getBlockByNumber", params.clone(), bytes_max).await?;
            let block = good(reply)?;
            if block.is_null() {
                sleep(BEHIND_WAIT).await;
                continue;
            }
            let hash = bytes_of(&block["hash"])?.try_into();
            let hash = hash.map_err(|_| Trouble::Malformed("the hash has not 32 bytes"))?;
            if number(&block["number"])? != at {
                return Err(Trouble::Malformed("it is another block"));
            }
            let time = quantity(&block["timestamp"])?;
            return Ok(Block { pin: Pin { number: at, hash }, time });
        }
    }

    /// Asks for something of the state after a block.
    async fn state(&mut self, method: &str, what: Value, pin: Pin) -> Result<Value, Trouble> {
        let bytes_max = self.request.source.bytes_max;
        let hash = format!("0x{}", hex::encode(pin.hash));
        let by_hash = json!([what, { "blockHash": hash, "requireCanonical": true }]);
        match self.call(method, by_hash, bytes_max).await? {
            Err(INVALID_PARAMS) => {
                let by_number = json!([what, format!("{:#x}", pin.number)]);
                let value = good(self.call(method, by_number, bytes_max).await?)?;
                self.block(pin.number).await?.must_be(pin)?;
                Ok(value)
            }
            reply => good(reply),
        }
    }

    async fn call(
        &mut self,
        method: &str,
        params: Value,
        bytes_max: u32,
    ) -> Result<Reply, Trouble> {
        self.asked += 1;
        let question =
            json!({ "jsonrpc": "2.0", "id": self.asked, "method": method, "params": params });
        let left = self.request.bytes_left.saturating_sub(self.received);
        let order = Order {
            method: Method::POST,
            url: self.url.clone(),
            headers: vec![(CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body: Bytes::from(question.to_string()),
            writes: false,
            egress: &self.request.manifest.egress,
            redirects: 0,
            bounds: Bounds::new(bytes_max, left),
            packed: true,
            secrets: true,
        };
        let answer = self.http.perform(order).await?;
        self.received += answer.received;
        if answer.status != 200 {
            return Err(Trouble::Status(answer.status));
        }
        let mut reply: Value = serde_json::from_slice(&answer.body)
            .map_err(|_| Trouble::Malformed("it is no JSON"))?;
        if reply["id"] != self.asked {
            return Err(Trouble::Malformed("it answers another question"));
        }
        if let Some(error) = reply.get("error").filter(|error| !error.is_null()) {
            return Ok(Err(error["code"].as_i64().unwrap_or_default()));
        }
        let result = reply.get_mut("result").map(Value::take);
        result.map(Ok).ok_or(Trouble::Malformed("it has neither result nor error"))
    }
}

fn good(reply: Reply) -> Result<Value, Trouble> {
    // Among them calls that revert, and blocks that a server has pruned.
    reply.map_err(|_| Trouble::Malformed("the server answers with an error"))
}

/// Reads a quantity: `0x` and hex digits.
fn quantity(value: &Value) -> Result<U256, Trouble> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    let good = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let number = good.filter(|digits| !digits.is_empty());
    let number = number.and_then(|digits| U256::from_str_radix(digits, 16).ok());
    number.ok_or(Trouble::Malformed("it is no quantity"))
}

fn number(value: &Value) -> Result<u64, Trouble> {
    u64::try_from(quantity(value)?).map_err(|_| Trouble::Malformed("the number is too large"))
}

fn bytes_of(value: &Value) -> Result<Vec<u8>, Trouble> {
    let digits = value.as_str().and_then(|text| text.strip_prefix("0x"));
    let bytes = digits.and_then(|digits| hex::decode(digits).ok());
    bytes.ok_or(Trouble::Malformed("they are no bytes"))
}
