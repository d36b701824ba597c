//! Chains: a JSON-RPC server with a chain that can be reorganised.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use session_protocol::workload::manifest::{Connector, EvmQuery};
use session_protocol::workload::oracle::{Fault, Pin, RawAnswer};

use crate::ask::{Ask, list, node_for, text};
use crate::server::{Act, Seen, Server, answer, ok};

const ACCOUNT: &str = "0x00000000000000000000000000000000DeaDBeef";

/// What the server has.
#[derive(Clone)]
struct Chain {
    head: u64,
    /// A block from here on has another hash than it had before.
    fork_from: u64,
    /// Whether the server knows EIP-1898.
    by_hash: bool,
    /// Reorganised as soon as state was read by number.
    reorg_after_read: bool,
    /// What `eth_call` returns.
    returned: String,
}

impl Default for Chain {
    fn default() -> Self {
        let returned = format!("0x{:064x}", 1234);
        Self { head: 1000, fork_from: u64::MAX, by_hash: true, reorg_after_read: false, returned }
    }
}

impl Chain {
    fn hash(&self, number: u64) -> [u8; 32] {
        let mut hash = [if number >= self.fork_from { 0xff } else { 0xaa }; 32];
        hash[..8].copy_from_slice(&number.to_be_bytes());
        hash
    }

    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, (i64, &'static str)> {
        match method {
            "eth_blockNumber" => Ok(json!(format!("{:#x}", self.head))),
            "eth_getBlockByNumber" => {
                let number = params[0].as_str().unwrap().strip_prefix("0x").unwrap();
                let number = u64::from_str_radix(number, 16).unwrap();
                if number > self.head {
                    return Ok(Value::Null);
                }
                Ok(json!({
                    "number": format!("{number:#x}"),
                    "hash": format!("0x{}", hex::encode(self.hash(number))),
                    "timestamp": format!("{:#x}", 1_700_000_000 + number),
                    "transactions": [],
                }))
            }
            "eth_getBalance" | "eth_call" => {
                match params[1]["blockHash"].as_str() {
                    Some(_) if !self.by_hash => return Err((-32602, "invalid argument 1")),
                    Some(hash) => {
                        let hash = hex::decode(&hash[2..]).unwrap();
                        let number = u64::from_be_bytes(hash[..8].try_into().unwrap());
                        if hash != self.hash(number) {
                            return Err((-32000, "hash is not currently canonical"));
                        }
                    }
                    None if self.reorg_after_read => self.fork_from = 0,
                    None => {}
                }
                if method == "eth_call" {
                    Ok(json!(self.returned))
                } else {
                    Ok(json!("0xde0b6b3a7640000"))
                }
            }
            _ => Err((-32601, "unknown method")),
        }
    }
}

struct World {
    chain: Arc<Mutex<Chain>>,
    server: Server,
}

impl World {
    async fn new(chain: Chain) -> Self {
        let chain = Arc::new(Mutex::new(chain));
        let shared = chain.clone();
        let server = Server::start(move |seen: &Seen| {
            let question: Value = serde_json::from_slice(&seen.body).unwrap();
            let mut chain = shared.lock().unwrap();
            let method = question["method"].as_str().unwrap();
            let mut reply = json!({ "jsonrpc": "2.0", "id": question["id"] });
            match chain.answer(method, &question["params"]) {
                Ok(result) => reply["result"] = result,
                Err((code, message)) => {
                    reply["error"] = json!({ "code": code, "message": message })
                }
            }
            ok(reply.to_string())
        })
        .await;
        Self { chain, server }
    }

    fn ask(&self, query: EvmQuery) -> Ask {
        source(&self.server, query)
    }

    async fn pin(&self, ask: &Ask) -> Result<Pin, Fault> {
        node_for(self.server.port()).pin(ask.request()).await
    }

    /// Pins, and asks at the pin.
    async fn read(&self, query: EvmQuery) -> Result<Value, Fault> {
        let mut ask = self.ask(query);
        ask.pin = Some(self.pin(&ask).await.unwrap());
        self.read_at(&ask).await
    }

    async fn read_at(&self, ask: &Ask) -> Result<Value, Fault> {
        let answer: RawAnswer = ask.to(&node_for(self.server.port())).await?;
        assert_eq!(answer.status, 200);
        Ok(serde_json::from_slice(&answer.body).unwrap())
    }

    fn methods(&self) -> Vec<String> {
        let method = |seen: Seen| {
            let question: Value = serde_json::from_slice(&seen.body).unwrap();
            question["method"].as_str().unwrap().to_owned()
        };
        self.server.seen().into_iter().map(method).collect()
    }
}

fn source(server: &Server, query: EvmQuery) -> Ask {
    let url = text(format!("http://api.test:{}/rpc", server.port()));
    Ask::new(Connector::Evm { url, query, confirmations: 12 }).egress(
        "api.test",
        server.port(),
        true,
    )
}

fn balance() -> EvmQuery {
    EvmQuery::Balance { address: text(ACCOUNT) }
}

fn call(function: &str, arguments: &[&str]) -> EvmQuery {
    let arguments: Vec<_> = arguments.iter().map(|argument| text(*argument)).collect();
    EvmQuery::Call { to: text(ACCOUNT), function: text(function), arguments: list(arguments) }
}

#[tokio::test]
async fn the_pin_has_its_confirmations() {
    let world = World::new(Chain::default()).await;
    let pin = world.pin(&world.ask(EvmQuery::Block)).await.unwrap();
    assert_eq!(pin, Pin { number: 988, hash: Chain::default().hash(988) });
    let young = World::new(Chain { head: 11, ..Chain::default() }).await;
    assert_eq!(young.pin(&young.ask(EvmQuery::Block)).await, Err(Fault::Malformed));
}

#[tokio::test]
async fn a_block_is_read() {
    let world = World::new(Chain::default()).await;
    let hash = format!("0x{}", hex::encode(Chain::default().hash(988)));
    let block = world.read(EvmQuery::Block).await.unwrap();
    assert_eq!(block, json!({ "hash": hash, "number": "988", "time": "1700000988" }));
}

#[tokio::test]
async fn a_balance_is_read_by_the_hash_of_the_block() {
    let world = World::new(Chain::default()).await;
    let value = world.read(balance()).await.unwrap();
    assert_eq!(value, json!({ "balance": "1000000000000000000" }));
    let question: Value =
        serde_json::from_slice(&world.server.seen().last().unwrap().body).unwrap();
    let hash = format!("0x{}", hex::encode(Chain::default().hash(988)));
    assert_eq!(
        question["params"],
        json!([ACCOUNT.to_lowercase(), { "blockHash": hash, "requireCanonical": true }])
    );
}

#[tokio::test]
async fn a_contract_is_called() {
    let world = World::new(Chain::default()).await;
    let query = call("balanceOf(address)(uint256)", &["{who}"]);
    let mut ask = world.ask(query).with("who", "0x1111111111111111111111111111111111111111");
    ask.pin = Some(world.pin(&ask).await.unwrap());
    assert_eq!(world.read_at(&ask).await.unwrap(), json!({ "values": ["1234"] }));
    let question: Value =
        serde_json::from_slice(&world.server.seen().last().unwrap().body).unwrap();
    let data = format!("0x70a08231{}{}", "0".repeat(24), "1".repeat(40));
    assert_eq!(question["params"][0], json!({ "data": data, "to": ACCOUNT.to_lowercase() }));
}

#[tokio::test]
async fn a_reorganised_chain_gives_no_answer() {
    for query in [EvmQuery::Block, balance()] {
        let world = World::new(Chain::default()).await;
        let mut ask = world.ask(query);
        ask.pin = Some(world.pin(&ask).await.unwrap());
        assert!(world.read_at(&ask).await.is_ok());
        world.chain.lock().unwrap().fork_from = 980;
        assert_eq!(world.read_at(&ask).await, Err(Fault::Malformed));
        // The leader of the next attempt picks a block of the new chain.
        let pin = world.pin(&ask).await.unwrap();
        assert_ne!(Some(pin), ask.pin);
        ask.pin = Some(pin);
        assert!(world.read_at(&ask).await.is_ok());
    }
}

#[tokio::test]
async fn servers_without_eip_1898_are_asked_by_number() {
    let world = World::new(Chain { by_hash: false, ..Chain::default() }).await;
    assert_eq!(world.read(balance()).await.unwrap(), json!({ "balance": "1000000000000000000" }));
    let methods = world.methods();
    let last = &methods[methods.len() - 3..];
    assert_eq!(last, ["eth_getBalance", "eth_getBalance", "eth_getBlockByNumber"]);
}

#[tokio::test]
async fn a_reorganisation_between_two_questions_is_noticed() {
    let chain = Chain { by_hash: false, reorg_after_read: true, ..Chain::default() };
    let world = World::new(chain).await;
    assert_eq!(world.read(balance()).await, Err(Fault::Malformed));
}

#[tokio::test]
async fn a_leader_cannot_pick_an_old_or_an_unconfirmed_block() {
    let world = World::new(Chain::default()).await;
    let mut ask = world.ask(balance()).timeout_ms(300);
    let hash = |number| Chain::default().hash(number);
    ask.pin = Some(Pin { number: 1000 - 12 - 257, hash: hash(1000 - 12 - 257) });
    assert_eq!(world.read_at(&ask).await, Err(Fault::Malformed), "old");
    ask.pin = Some(Pin { number: 989, hash: hash(989) });
    assert_eq!(world.read_at(&ask).await, Err(Fault::Timeout), "unconfirmed");
    ask.pin = None;
    assert_eq!(world.read_at(&ask).await, Err(Fault::Malformed), "none");
}

#[tokio::test]
async fn a_server_that_is_behind_is_waited_for() {
    let world = World::new(Chain { head: 998, ..Chain::default() }).await;
    let mut ask = world.ask(balance());
    ask.pin = Some(Pin { number: 988, hash: Chain::default().hash(988) });
    let chain = world.chain.clone();
    let grows = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        chain.lock().unwrap().head = 1000;
    });
    assert!(world.read_at(&ask).await.is_ok());
    grows.await.unwrap();
}

#[tokio::test]
async fn data_that_is_not_of_the_functions_types_is_malformed() {
    for returned in ["0x", "0x01", "1234", "0xzz", &format!("0x{}", "ff".repeat(32))] {
        let world = World::new(Chain { returned: returned.to_owned(), ..Chain::default() }).await;
        let read = world.read(call("name()(string)", &[])).await;
        assert_eq!(read, Err(Fault::Malformed), "{returned}");
    }
}

#[tokio::test]
async fn functions_and_arguments_that_make_no_sense_are_asked_of_nobody() {
    let world = World::new(Chain::default()).await;
    let pin = world.pin(&world.ask(EvmQuery::Block)).await.unwrap();
    let before = world.server.connections();
    for (function, arguments) in [
        ("balanceOf", [].as_slice()),
        ("balanceOf(address)(uint256)", &[]),
        ("balanceOf(address)(uint256)", &["0x12"]),
        ("f(uint8)(uint256)", &["256"]),
        ("f(uint8)(uint9)", &["1"]),
        ("f()(string[])", &[]),
    ] {
        let ask = Ask { pin: Some(pin), ..world.ask(call(function, arguments)) };
        assert_eq!(world.read_at(&ask).await, Err(Fault::Malformed), "{function}");
    }
    let bad = EvmQuery::Balance { address: text("vitalik.eth") };
    let ask = Ask { pin: Some(pin), ..world.ask(bad) };
    assert_eq!(world.read_at(&ask).await, Err(Fault::Malformed));
    assert_eq!(world.server.connections(), before);
}

#[tokio::test]
async fn replies_that_are_no_json_rpc_are_refused() {
    let cases: [(Vec<Act>, Fault); 5] = [
        (ok("no"), Fault::Malformed),
        (ok(r#"{"jsonrpc":"2.0","id":9,"result":"0x1"}"#), Fault::Malformed),
        (ok(r#"{"jsonrpc":"2.0","id":1}"#), Fault::Malformed),
        (ok(r#"{"jsonrpc":"2.0","id":1,"result":"1000"}"#), Fault::Malformed),
        (answer(429, "", "slow down"), Fault::Status { code: 429 }),
    ];
    for (acts, fault) in cases {
        let server = Server::start(move |_| acts.clone()).await;
        let ask = source(&server, EvmQuery::Block);
        assert_eq!(node_for(server.port()).pin(ask.request()).await, Err(fault));
    }
}
